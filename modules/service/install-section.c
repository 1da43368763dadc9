/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "install-section.h"

#define BLANK " \t\r\n"

typedef struct Parser {
        Pool *pool;
        const InstallUnit *unit;
        InstallSection *section;
        bool in_install;
} Parser;

static bool is_blank(char c) {
        return c != '\0' && strchr(BLANK, c);
}

/* ---- Words ----------------------------------------------------------------------------------------------------- */

/*
 * The next word, taken out of the text in place. Quotes hold words together and are dropped; in Also= they are
 * characters like any other, but a backslash makes the next character one.
 *
 * Return: 1; 0: there is none; -EINVAL: a quote is not closed, or a backslash is the last.
 */
static int next_word(char **text, bool quotes, char **ret) {
        char *from = *text + strspn(*text, BLANK), *to = from, quote = '\0';

        if (!*from)
                return 0;
        *ret = from;
        for (; *from && (quote || !is_blank(*from)); from++) {
                if (quote && *from == quote)
                        quote = '\0';
                else if (quotes && !quote && (*from == '"' || *from == '\''))
                        quote = *from;
                else if (!quotes && *from == '\\') {
                        if (!*++from)
                                return -EINVAL;
                        *to++ = *from;
                } else
                        *to++ = *from;
        }
        if (quote)
                return -EINVAL;
        *text = from + (*from != '\0');
        *to = '\0';
        return 1;
}

static size_t count(const InstallSection *s) {
        return s->aliases.n + s->wanted_by.n + s->required_by.n + s->also.n;
}

/* ---- Assignments ----------------------------------------------------------------------------------------------- */

/* Nothing of a value that is wrong is taken. */
static int set_list(Parser *p, Names *names, char *value) {
        Names added = {};
        char *word;
        int r;

        if (!*value) {
                *names = (Names){};
                return 0;
        }
        while ((r = next_word(&value, true, &word)) > 0) {
                const char *copy;

                if (count(p->section) + added.n >= INSTALL_NAMES_MAX)
                        return -E2BIG;
                copy = pool_dup(p->pool, word);
                if (!copy || names_add(p->pool, &added, copy) < 0)
                        return -ENOMEM;
        }
        for (size_t i = 0; r == 0 && i < added.n; i++)
                r = names_add(p->pool, names, added.list[i]);
        return r == -ENOMEM ? r : 0;
}

/* Unlike the others it is not reset by an empty value, and what is wrong makes the whole file so. */
static int set_also(Parser *p, char *value) {
        char name[UNIT_NAME_SIZE];
        char *word;
        int r;

        while ((r = next_word(&value, false, &word)) > 0) {
                const char *copy;

                r = install_specifiers(p->unit, p->section->default_instance, word, name);
                if (r < 0)
                        return r;
                if (unit_name_kind(name) == UNIT_NAME_INVALID)
                        return -EINVAL;
                if (count(p->section) >= INSTALL_NAMES_MAX)
                        return -E2BIG;
                copy = pool_dup(p->pool, name);
                if (!copy || names_add(p->pool, &p->section->also, copy) < 0)
                        return -ENOMEM;
        }
        return r;
}

static int set_default_instance(Parser *p, const char *value) {
        char name[UNIT_NAME_SIZE];
        int r;

        /* An instance is what it is; for others it makes no sense. */
        if (unit_name_kind(p->unit->name) != UNIT_NAME_TEMPLATE)
                return 0;
        r = install_specifiers(p->unit, p->section->default_instance, value, name);
        if (r < 0)
                return r;
        if (!*name) {
                p->section->default_instance = NULL;
                return 0;
        }
        if (!unit_instance_is_valid(name))
                return -EINVAL;
        p->section->default_instance = pool_dup(p->pool, name);
        return p->section->default_instance ? 0 : -ENOMEM;
}

static int assign(Parser *p, const char *key, char *value) {
        if (strcmp(key, "WantedBy") == 0)
                return set_list(p, &p->section->wanted_by, value);
        if (strcmp(key, "RequiredBy") == 0)
                return set_list(p, &p->section->required_by, value);
        if (strcmp(key, "Alias") == 0)
                return unit_type_may_alias(unit_name_type(p->unit->name))
                               ? set_list(p, &p->section->aliases, value)
                               : 0;
        if (strcmp(key, "Also") == 0)
                return set_also(p, value);
        if (strcmp(key, "DefaultInstance") == 0)
                return set_default_instance(p, value);
        return 0;
}

/* ---- Lines ----------------------------------------------------------------------------------------------------- */

/* Without surrogates and over-long forms, as systemd has it. */
static bool is_utf8(const char *text) {
        for (const unsigned char *p = (const unsigned char *) text; *p;) {
                unsigned n = *p < 0x80                 ? 0
                             : *p >= 0xc2 && *p < 0xe0 ? 1
                             : (*p & 0xf0) == 0xe0     ? 2
                             : *p >= 0xf0 && *p < 0xf5 ? 3
                                                       : 4;
                uint32_t c = *p;

                if (n == 4)
                        return false;
                if (n > 0)
                        c &= 0x3fu >> n;
                for (unsigned i = 1; i <= n; i++) {
                        if ((p[i] & 0xc0) != 0x80)
                                return false;
                        c = c << 6 | (p[i] & 0x3f);
                }
                if ((n == 2 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
                        (n == 3 && (c < 0x10000 || c > 0x10ffff)))
                        return false;
                p += n + 1;
        }
        return true;
}

static char *strip(char *text) {
        size_t n;

        text += strspn(text, BLANK);
        n = strlen(text);
        while (n > 0 && is_blank(text[n - 1]))
                n--;
        text[n] = '\0';
        return text;
}

static int parse_line(Parser *p, char *line) {
        char *equals;

        line = strip(line);
        if (!*line)
                return 0;
        if (!is_utf8(line))
                return -EINVAL;
        if (*line == '[') {
                size_t n = strlen(line);

                if (line[n - 1] != ']')
                        return -EBADMSG;
                line[n - 1] = '\0';
                p->in_install = strcmp(line + 1, "Install") == 0;
                return 0;
        }
        equals = p->in_install ? strchr(line, '=') : NULL;
        if (!equals)
                return 0;
        *equals = '\0';
        return assign(p, strip(line), strip(equals + 1));
}

/* A backslash that is not itself behind one. */
static bool is_continued(const char *line, size_t n) {
        size_t i = n;

        while (i > 0 && line[i - 1] == '\\')
                i--;
        return (n - i) % 2 == 1;
}

/*
 * Lines are put together in a buffer as large as the text, so that this costs no more however many there are. A line
 * may end with a newline, a return, a NUL, or two of these.
 */
static int parse_lines(Parser *p, const char *text, size_t size, char *buffer) {
        size_t n = 0;
        bool continued = false;

        for (size_t at = 0; at < size;) {
                const char *line = text + at;
                size_t length = 0, blank = 0;
                int r;

                while (at + length < size && line[length] != '\n' && line[length] != '\r' &&
                        line[length] != '\0')
                        length++;
                at += length;
                if (at < size) {
                        char end = text[at++];

                        if (at < size && text[at] != end &&
                                (text[at] == '\n' || text[at] == '\r' || text[at] == '\0'))
                                at++;
                }
                while (blank < length && is_blank(line[blank]))
                        blank++;
                /* A comment is none of the lines that it is between. */
                if (blank < length && (line[blank] == '#' || line[blank] == ';'))
                        continue;
                memcpy(buffer + n, line, length);
                n += length;
                continued = is_continued(buffer + n - length, length);
                if (continued) {
                        buffer[n - 1] = ' ';
                        continue;
                }
                buffer[n] = '\0';
                r = parse_line(p, buffer);
                if (r < 0)
                        return r;
                n = 0;
        }
        if (!continued)
                return 0;
        buffer[n] = '\0';
        return parse_line(p, buffer);
}

int install_section_parse(
        Pool *pool, const InstallUnit *unit, const char *text, size_t size, InstallSection *section) {
        Parser p = {
                .pool = pool,
                .unit = unit,
                .section = section,
        };
        char *buffer;
        int r;

        if (size > UNIT_FILE_SIZE_MAX)
                return -E2BIG;
        /* The byte order mark of those who write it on other systems. */
        if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
                text += 3;
                size -= 3;
        }
        buffer = malloc(size + 1);
        if (!buffer)
                return -ENOMEM;
        r = parse_lines(&p, text, size, buffer);
        free(buffer);
        return r;
}
