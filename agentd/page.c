/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <sys/ioctl.h>

#include "output.h"
#include "page.h"

#define WIDTH_DEFAULT 80
#define WIDTH_MIN     40
#define WIDTH_MAX     100

#define NAME_INDENT "    "
#define TEXT_INDENT "        "

#define BOLD     "\033[1m"
#define BOLD_OFF "\033[0m"

int reference_style_from_string(const char *name, ReferenceStyle *ret) {
        static const char *const names[] = {
                [REFERENCE_TEXT] = "text",
                [REFERENCE_MARKDOWN] = "markdown",
                [REFERENCE_ROFF] = "roff",
                [REFERENCE_TOML] = "toml",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(names[i], name)) {
                        *ret = (ReferenceStyle) i;
                        return 0;
                }
        return -EINVAL;
}

void page_init(Page *page, FILE *f, ReferenceStyle style) {
        struct winsize size;

        *page = (Page){ .f = f, .style = style, .width = WIDTH_DEFAULT };
        if (style != REFERENCE_TEXT || !isatty(fileno(f)))
                return;
        page->bold = output_wants_colour(f);
        if (ioctl(fileno(f), TIOCGWINSZ, &size) >= 0 && size.ws_col > 0)
                page->width = MIN(
                        size.ws_col < WIDTH_MIN ? (unsigned) WIDTH_MIN : size.ws_col, (unsigned) WIDTH_MAX);
}

static unsigned columns(const char *text, size_t n) {
        unsigned count = 0;

        for (size_t i = 0; i < n; i++)
                count += ((unsigned char) text[i] & 0xc0) != 0x80 && text[i] != '`';
        return count;
}

/* Words, from column `at` on; further lines begin with the prefix. Backticks are for the other styles. */
static void put_wrapped(Page *page, const char *prefix, unsigned at, const char *text) {
        bool first = true;

        for (;;) {
                size_t n;
                unsigned width;

                text += strspn(text, " ");
                n = strcspn(text, " ");
                if (n == 0)
                        break;
                width = columns(text, n);
                if (!first && at + 1 + width > page->width) {
                        (void) fprintf(page->f, "\n%s", prefix);
                        at = (unsigned) strlen(prefix);
                } else if (!first) {
                        (void) fputc(' ', page->f);
                        at++;
                }
                for (size_t i = 0; i < n; i++)
                        if (text[i] != '`')
                                (void) fputc(text[i], page->f);
                at += width;
                text += n;
                first = false;
        }
        (void) fputc('\n', page->f);
}

/* A line of roff: none of it is a request or an escape; what is in backticks is bold. */
static void put_roff(FILE *f, const char *text) {
        bool bold = false;

        if (*text == '.' || *text == '\'')
                (void) fputs("\\&", f);
        for (; *text; text++)
                switch (*text) {
                case '\\': (void) fputs("\\e", f); break;
                case '-': (void) fputs("\\-", f); break;
                case '`':
                        bold = !bold;
                        (void) fputs(bold ? "\\fB" : "\\fR", f);
                        break;
                default: (void) fputc(*text, f);
                }
        (void) fputc('\n', f);
}

/* The line of a declaration as a sentence. */
static char *sentence(const char *text) {
        char *copy = NULL;

        if (asprintf(&copy, "%s%s", text, endswith(text, ".") ? "" : ".") < 0)
                return NULL;
        *copy = (char) toupper((unsigned char) *copy);
        return copy;
}

void page_title(Page *page, const char *name, const char *summary) {
        switch (page->style) {
        case REFERENCE_TEXT:
                (void) fprintf(
                        page->f, "%s%s%s: ", page->bold ? BOLD : "", name, page->bold ? BOLD_OFF : "");
                put_wrapped(page, TEXT_INDENT, columns(name, strlen(name)) + 2, summary);
                break;
        case REFERENCE_MARKDOWN: (void) fprintf(page->f, "# %s\n\n%s\n", name, summary); break;
        case REFERENCE_ROFF:
                (void) fprintf(page->f, ".TH \"%s\" 7 \"\" agentd\n.SH NAME\n", name);
                (void) fprintf(page->f, "%s \\- ", name);
                put_roff(page->f, summary);
                break;
        case REFERENCE_TOML: (void) fprintf(page->f, "# %s: %s\n", name, summary); break;
        }
}

void page_heading(Page *page, const char *text) {
        switch (page->style) {
        case REFERENCE_TEXT:
                (void) fprintf(
                        page->f, "\n%s%s%s\n", page->bold ? BOLD : "", text, page->bold ? BOLD_OFF : "");
                break;
        case REFERENCE_MARKDOWN: (void) fprintf(page->f, "\n## %s\n", text); break;
        case REFERENCE_ROFF:
                (void) fputs(".SH \"", page->f);
                for (; *text; text++)
                        (void) fputc(toupper((unsigned char) *text), page->f);
                (void) fputs("\"\n", page->f);
                break;
        case REFERENCE_TOML: (void) fprintf(page->f, "\n# %s\n", text); break;
        }
}

void page_paragraph(Page *page, const char *text) {
        switch (page->style) {
        case REFERENCE_TEXT:
                (void) fputc('\n', page->f);
                put_wrapped(page, "", 0, text);
                break;
        case REFERENCE_MARKDOWN: (void) fprintf(page->f, "\n%s\n", text); break;
        case REFERENCE_ROFF:
                (void) fputs(".PP\n", page->f);
                put_roff(page->f, text);
                break;
        case REFERENCE_TOML:
                (void) fputs("# ", page->f);
                put_wrapped(page, "# ", 2, text);
                break;
        }
}

void page_item(Page *page, const char *name, const char *value, const char *summary, const char *text) {
        _cleanup_free_ char *line = sentence(summary), *body = NULL, *head = NULL;

        if (!line || asprintf(&head, "`%s` (%s)", name, value) < 0 ||
                asprintf(&body, "%s%s%s", line, text ? " " : "", text ?: "") < 0)
                return;
        switch (page->style) {
        case REFERENCE_MARKDOWN:
        case REFERENCE_TEXT:
                (void) fprintf(page->f, "\n" NAME_INDENT "%s%s%s  ", page->bold ? BOLD : "", name,
                        page->bold ? BOLD_OFF : "");
                put_wrapped(page, TEXT_INDENT,
                        (unsigned) strlen(NAME_INDENT) + columns(name, strlen(name)) + 2, value);
                (void) fputs(TEXT_INDENT, page->f);
                put_wrapped(page, TEXT_INDENT, (unsigned) strlen(TEXT_INDENT), body);
                break;
        case REFERENCE_ROFF:
                (void) fputs(".TP\n", page->f);
                put_roff(page->f, head);
                put_roff(page->f, body);
                break;
        case REFERENCE_TOML: break;
        }
}
