/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "explain-text.h"
#include "terminal.h"

#define VALUE_SHOWN_MAX 100 /* code points of a value */
#define KEY_WIDTH       12
#define LEFT_WIDTH      44 /* of what has its origin on the right */

static const char *get(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

static void clean(FILE *f, const char *text) {
        output_clean(f, text ?: "?", strlen(text ?: "?"));
}

/* An expression may have several lines; white space does not count in it, but for that of strings, which are on one line. */
static void clean_expression(FILE *f, const char *text) {
        _cleanup_free_ char *line = strdup(text ?: "?");
        char *to = line;

        for (const char *p = line; p && *p; p++) {
                size_t n = strspn(p, " \t\r\n");

                if (n > 0 && memchr(p, '\n', n)) {
                        p += n - 1;
                        if (to > line && p[1])
                                *to++ = ' ';
                } else
                        *to++ = *p;
        }
        if (line)
                *to = 0;
        clean(f, line ? line + strspn(line, " \t") : NULL);
}

void explain_text_print_key(FILE *f, const char *key) {
        (void) fprintf(f, "%*s%c ", KEY_WIDTH, key, *key ? ':' : ' ');
}

/* ---- Texts that are collected, to know how wide they are --------------------------------------------------------- */

typedef struct Text {
        char *text;
        size_t size;
        FILE *f;
} Text;

static FILE *text_begin(Text *text) {
        *text = (Text){};
        return text->f = open_memstream(&text->text, &text->size);
}

static void text_done(Text *text) {
        free(text->text);
}

/* What is on the left, and what it is about on the right. */
static void print_row(FILE *f, unsigned indent, Text *left, Text *right) {
        size_t width = indent;

        (void) fclose(left->f);
        (void) fclose(right->f);
        for (const char *p = left->text; p && *p; p++)
                width += ((unsigned char) *p & 0xc0) != 0x80;
        (void) fprintf(f, "%*s%s", (int) indent, "", left->text ?: "?");
        if (right->text && *right->text)
                (void) fprintf(
                        f, "%*s  %s", width < LEFT_WIDTH ? (int) (LEFT_WIDTH - width) : 0, "", right->text);
        (void) fputc('\n', f);
        text_done(left);
        text_done(right);
}

/* ---- Values and places ------------------------------------------------------------------------------------------ */

static void print_value(FILE *f, const json_t *value) {
        _cleanup_free_ char *dump = NULL;
        size_t n = 0, end = 0;

        if (json_is_string(value) && streq(json_string_value(value), "<sensitive>")) {
                (void) fputs("<sensitive>", f);
                return;
        }
        /* As JSON: line ends and what a terminal would obey are seen as such. */
        dump = json_dumps(value, JSON_ENCODE_ANY);
        while (dump && dump[end] && (((unsigned char) dump[end] & 0xc0) == 0x80 || ++n <= VALUE_SHOWN_MAX))
                end++;
        output_clean(f, dump ?: "?", dump ? end : 1);
        if (dump && dump[end])
                (void) fputs("…", f);
}

static void print_place(FILE *f, const json_t *place) {
        json_int_t line = json_integer_value(json_object_get(place, "line")),
                   column = json_integer_value(json_object_get(place, "column"));

        clean(f, get(place, "file"));
        if (line > 0)
                (void) fprintf(f, ":%" JSON_INTEGER_FORMAT, line);
        if (line > 0 && column > 0)
                (void) fprintf(f, ":%" JSON_INTEGER_FORMAT, column);
}

/* ", FILE:1:2" after something; FILE:1:2 alone. */
static void print_also_place(FILE *f, const char *before, const json_t *object) {
        const json_t *place = json_object_get(object, "place");

        if (!json_is_object(place))
                return;
        (void) fputs(before, f);
        print_place(f, place);
}

/* Who says it: of settings, conditions and audits. */
static void print_by(FILE *f, const json_t *object) {
        const char *by = get(object, "by") ?: "?", *role = get(object, "role");

        if (streq(by, "default"))
                (void) fputs("default", f);
        else if (streq(by, "module"))
                (void) fputs("set by the module", f);
        else if (streq(by, "settings"))
                (void) fputs("mode of agentd.toml", f);
        else if (streq(by, "override") || streq(by, "role")) {
                (void) fputs(*by == 'o' ? "overridden by role '" : "mode of role '", f);
                clean(f, role);
                (void) fputc('\'', f);
                print_also_place(f, ", ", object);
        } else
                print_also_place(f, "", object);
}

/* Who says what a name is. */
static void print_origin(FILE *f, const json_t *name) {
        static const struct {
                const char *by, *text;
        } words[] = {
                { "role", "[vars] of role" },
                { "importer", "[vars] of the importing role" },
                { "import", "vars of the import by role" },
                { "vars.d", "variable of this host" },
                { "vars.d/hosts", "variable of this host, by its name" },
                { "--var", "--var" },
                { "fact", "fact" },
                { "item", "item of the loop" },
                { "nothing", "not set" },
        };
        const char *by = get(name, "by") ?: "?", *role = get(name, "role");

        FOREACH_ELEMENT(word, words)
                if (streq(word->by, by))
                        (void) fputs(word->text, f);
        if (role) {
                (void) fputs(" '", f);
                clean(f, role);
                (void) fputc('\'', f);
        }
        print_also_place(f, ", ", name);
}

static void print_names(FILE *f, unsigned indent, const json_t *names) {
        json_t *name;
        size_t i;

        json_array_foreach(names, i, name) {
                const json_t *value = json_object_get(name, "value");
                const char *kind = get(name, "kind");
                Text left, right;

                if (!text_begin(&left) || !text_begin(&right))
                        return;
                clean(left.f, get(name, "name"));
                if (!json_is_null(value)) {
                        (void) fputs(" = ", left.f);
                        print_value(left.f, value);
                } else if (kind) {
                        (void) fputs(": ", left.f);
                        clean(left.f, kind);
                }
                print_origin(right.f, name);
                print_row(f, indent, &left, &right);
                print_names(f, indent + 2, json_object_get(name, "names"));
        }
}

/* Of the name of a state; which item it is of is said with the loop. */
static void print_id_names(FILE *f, const json_t *names) {
        json_t *others = json_array(), *name;
        size_t i;

        json_array_foreach(names, i, name) if (!streq(get(name, "by") ?: "", "item"))(void)
                json_array_append(others, name);
        print_names(f, KEY_WIDTH + 2, others);
        json_decref(others);
}

/* ---- What it is ------------------------------------------------------------------------------------------------- */

static void print_role(FILE *f, const json_t *role) {
        json_t *chain, *step;
        size_t i, k;

        explain_text_print_key(f, "Role");
        clean(f, get(role, "name"));
        (void) fputs(" (", f);
        clean(f, get(role, "path"));
        (void) fputs(")\n", f);
        json_array_foreach(json_object_get(role, "imported"), i, chain) {
                explain_text_print_key(f, i == 0 ? "Imported by" : "");
                json_array_foreach(chain, k, step) {
                        (void) fputs(k == 0 ? "" : " → ", f);
                        clean(f, get(step, "role"));
                        print_also_place(f, " at ", step);
                }
                (void) fputc('\n', f);
        }
}

static void print_loop(FILE *f, const json_t *loop) {
        const json_t *number = json_object_get(loop, "number");
        const char *text = get(loop, "text"), *key = get(loop, "key");

        if (!json_is_object(loop))
                return;
        explain_text_print_key(f, "Loop");
        if (text)
                clean_expression(f, text);
        print_also_place(f, text ? ", " : "", loop);
        (void) fputc('\n', f);
        explain_text_print_key(f, "");
        if (key) {
                (void) fputs("item '", f);
                clean(f, key);
                (void) fputc('\'', f);
        } else
                (void) fprintf(f, "item %" JSON_INTEGER_FORMAT, json_integer_value(number));
        if (!json_is_null(json_object_get(loop, "value"))) {
                (void) fputs(" = ", f);
                print_value(f, json_object_get(loop, "value"));
        }
        if (json_is_object(json_object_get(loop, "item_place"))) {
                (void) fputs(", ", f);
                print_place(f, json_object_get(loop, "item_place"));
        }
        (void) fputc('\n', f);
        print_names(f, KEY_WIDTH + 2, json_object_get(loop, "names"));
}

static void print_when(FILE *f, const json_t *when) {
        const json_t *value = json_object_get(when, "value");
        const char *becomes = get(when, "becomes");

        if (!json_is_object(when))
                return;
        explain_text_print_key(f, "When");
        clean_expression(f, get(when, "text"));
        (void) fputs(" (", f);
        print_by(f, when);
        (void) fputs(")\n", f);
        explain_text_print_key(f, "");
        if (json_is_boolean(value))
                (void) fputs(json_is_true(value) ? "is true\n" : "is false: the state is skipped\n", f);
        else {
                (void) fputs("is told at each check: ", f);
                clean(f, becomes);
                (void) fputc('\n', f);
        }
        print_names(f, KEY_WIDTH + 2, json_object_get(when, "names"));
}

void explain_text_print_head(
        FILE *f, const json_t *explanation, const char *result, const OutputStyle *style) {
        const json_t *audit = json_object_get(explanation, "audit");
        const char *off = style->colour ? COLOUR_OFF : "";

        (void) fprintf(f, "%s●%s %s", style->colour ? result_text_colour(result ?: "") : "", off,
                style->colour ? COLOUR_BOLD : "");
        clean(f, get(explanation, "state"));
        (void) fprintf(f, "%s\n", off);
        explain_text_print_key(f, "Declared");
        print_also_place(f, "", explanation);
        (void) fputc('\n', f);
        print_id_names(f, json_object_get(explanation, "names"));
        print_role(f, json_object_get(explanation, "role"));
        print_loop(f, json_object_get(explanation, "for_each"));
        print_when(f, json_object_get(explanation, "when"));
        if (json_is_object(audit)) {
                explain_text_print_key(f, "Audited");
                (void) fputs("only checked, never repaired: ", f);
                print_by(f, audit);
                (void) fputc('\n', f);
        }
}

/* ---- Settings and order ----------------------------------------------------------------------------------------- */

static void print_heading(FILE *f, const OutputStyle *style, const char *text) {
        (void) fprintf(
                f, "\n%s%s%s\n", style->colour ? COLOUR_BOLD : "", text, style->colour ? COLOUR_OFF : "");
}

static void print_setting(FILE *f, const json_t *setting) {
        Text left, right;

        if (!text_begin(&left) || !text_begin(&right))
                return;
        clean(left.f, get(setting, "name"));
        (void) fputs(" = ", left.f);
        print_value(left.f, json_object_get(setting, "value"));
        print_by(right.f, setting);
        print_row(f, 2, &left, &right);
        print_names(f, 6, json_object_get(setting, "names"));
}

static void print_neighbour(FILE *f, const json_t *entry, bool after) {
        const char *why = get(entry, "why") ?: "?", *text = get(entry, "text");
        Text left, right;

        if (!text_begin(&left) || !text_begin(&right))
                return;
        clean(left.f, get(entry, "state"));
        if (streq(why, "setting")) {
                /* Each says what comes before it, but for this one. */
                if (streq(get(entry, "setting") ?: "", "before"))
                        (void) fputs(after ? "its " : "this one's ", right.f);
                clean(right.f, get(entry, "setting"));
                if (text && !streq(text, get(entry, "state") ?: "") && strpbrk(text, "*?[{")) {
                        (void) fputs(" \"", right.f);
                        clean(right.f, text);
                        (void) fputc('"', right.f);
                }
                print_also_place(right.f, ", ", entry);
        } else if (streq(why, "parent"))
                (void) fputs(after ? "it is the directory above" : "it is below", right.f);
        else if (streq(why, "content"))
                (void) fputs(
                        after ? "it is below, and goes first" : "it is the directory above, and goes after",
                        right.f);
        else if (streq(why, "edited"))
                (void) fputs(after ? "it makes the file that is edited" : "it edits the file", right.f);
        else
                (void) fputs(after ? "the module says so" : "its module says so", right.f);
        print_row(f, 2, &left, &right);
}

static void print_order(FILE *f, const json_t *explanation, const char *key, const char *n_key,
        const char *heading, const OutputStyle *style) {
        const json_t *list = json_object_get(explanation, key);
        json_int_t n = json_integer_value(json_object_get(explanation, n_key));
        json_t *entry;
        size_t i;

        if (json_array_size(list) == 0)
                return;
        print_heading(f, style, heading);
        json_array_foreach(list, i, entry) print_neighbour(f, entry, streq(key, "requires"));
        if (n > (json_int_t) i)
                (void) fprintf(f, "  … and %" JSON_INTEGER_FORMAT " more\n", n - (json_int_t) i);
}

void explain_text_print_settings(FILE *f, const json_t *explanation, const OutputStyle *style) {
        json_t *setting;
        size_t i;

        print_heading(f, style, "Settings");
        json_array_foreach(json_object_get(explanation, "settings"), i, setting) print_setting(f, setting);
        print_order(f, explanation, "requires", "n_requires", "Waits for", style);
        print_order(f, explanation, "required_by", "n_required_by", "Is waited for by", style);
}
