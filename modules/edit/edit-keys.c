/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files of `key = value`, with sections or without. One key after the other, each a pass over the text. */

#include <ctype.h>
#include <strings.h>

#include "edit.h"

/* How the file writes assignments. */
typedef struct Style {
        char sign;          /* '=', ':', or ' ': nothing but blanks */
        char separator[16]; /* what a new one has between key and value */
        char quote; /* values of a shell are quoted like this; 0: they are not, or this is no shell */
        const char *comments; /* signs that begin one */
        bool ignore_case;
} Style;

/* An assignment in a line. */
typedef struct Assignment {
        size_t indent;           /* bytes before the key */
        size_t value, value_end; /* without a comment behind it, with quotes */
        size_t rest_end;         /* of all, without blanks at the end */
        bool bare;               /* there is no separator */
} Assignment;

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static size_t skip_blanks(const char *p, size_t i, size_t n) {
        while (i < n && is_blank(p[i]))
                i++;
        return i;
}

static bool is_comment(const Line *line, const Style *style) {
        size_t i = skip_blanks(line->text, 0, line->size);

        return i < line->size && strchr(style->comments, line->text[i]) != NULL;
}

static bool is_empty(const Line *line) {
        return skip_blanks(line->text, 0, line->size) == line->size;
}

/* The name in "[name]". */
static bool is_header(const Line *line, const char **ret_name, size_t *ret_size) {
        size_t i = skip_blanks(line->text, 0, line->size), end;

        if (i == line->size || line->text[i] != '[')
                return false;
        end = line->size;
        while (end > i && line->text[end - 1] != ']')
                end--;
        if (end <= i + 1)
                return false;
        i = skip_blanks(line->text, i + 1, end - 1);
        end--;
        while (end > i && is_blank(line->text[end - 1]))
                end--;
        *ret_name = line->text + i;
        *ret_size = end - i;
        return true;
}

static bool is_name(const char *name, size_t size, const char *wanted, bool ignore_case) {
        return strlen(wanted) == size &&
               (ignore_case ? strncasecmp(name, wanted, size) == 0 : memcmp(name, wanted, size) == 0);
}

static size_t skip_export(const char *p, size_t i, size_t n) {
        return n - i > 7 && memcmp(p + i, "export", 6) == 0 && is_blank(p[i + 6]) ? skip_blanks(p, i + 6, n)
                                                                                  : i;
}

/* ---- Style ----------------------------------------------------------------------------------------------------- */

/* What stands behind the first word of a line that assigns. Return: its sign, or 0. */
static char separator_of(const Line *line, size_t *ret_start, size_t *ret_end) {
        const char *p = line->text;
        size_t i = skip_blanks(p, 0, line->size), start, k;

        i = skip_export(p, i, line->size);
        k = i;
        while (k < line->size && (isalnum((unsigned char) p[k]) || strchr("_.-/*@+", p[k])) && p[k])
                k++;
        if (k == i)
                return 0;
        start = k;
        k = skip_blanks(p, k, line->size);
        *ret_start = start;
        if (k < line->size && (p[k] == '=' || p[k] == ':')) {
                *ret_end = skip_blanks(p, k + 1, line->size);
                return p[k];
        }
        *ret_end = k;
        return k > start && k < line->size ? ' ' : 0;
}

/* The signs of assignments, and for each the first line that has it. */
#define N_SIGNS 3
static const char signs[] = "=: ";

typedef struct Count {
        Line first[N_SIGNS];
        size_t n[N_SIGNS];
} Count;

/* in_comments: counts what is commented out instead. */
static void count_signs(const Lines *lines, Style *style, bool in_comments, Count *count) {
        for (size_t i = 0; i < lines->n; i++) {
                Line line = lines->lines[i];
                const char *name, *at;
                size_t size, start, end;
                char sign;

                if (is_header(&line, &name, &size) || is_comment(&line, style) != in_comments)
                        continue;
                if (in_comments) {
                        size_t skip = skip_blanks(line.text, 0, line.size) + 1;

                        /* "#Port 22", and not "# Which port". */
                        line = (Line){ .text = line.text + skip, .size = line.size - skip };
                        if (line.size == 0 || is_blank(line.text[0]))
                                continue;
                }
                sign = separator_of(&line, &start, &end);
                if (sign == 0)
                        continue;
                at = strchr(signs, sign);
                if (count->n[at - signs]++ == 0)
                        count->first[at - signs] = line;
                if (sign == '=' && end == start + 1 && !style->quote && end < line.size &&
                        (line.text[end] == '"' || line.text[end] == '\''))
                        style->quote = line.text[end];
        }
}

static void find_style(const Edit *edit, const Lines *lines, bool sections, Style *ret) {
        size_t best = 0, start, end;
        Count count = {};

        *ret = (Style){ .comments = sections ? "#;" : "#", .ignore_case = edit->ignore_case };
        if (edit->comment)
                ret->comments = edit->comment;
        count_signs(lines, ret, false, &count);
        if (count.n[0] + count.n[1] + count.n[2] == 0)
                count_signs(lines, ret, true, &count);
        for (size_t k = 1; k < (sections ? 2 : N_SIGNS); k++)
                if (count.n[k] > count.n[best])
                        best = k;
        ret->sign = signs[best];
        (void) snprintf(ret->separator, sizeof(ret->separator), "%s", sections ? " = " : "=");
        if (edit->separator) {
                size_t i = strspn(edit->separator, " \t");

                ret->sign = edit->separator[i] ?: ' ';
                (void) snprintf(ret->separator, sizeof(ret->separator), "%s", edit->separator);
        } else if (count.n[best] > 0) {
                const Line *first = &count.first[best];

                (void) separator_of(first, &start, &end);
                /* Without a value, blanks at the end are no style. */
                if (end == first->size)
                        while (end > start + 1 && is_blank(first->text[end - 1]))
                                end--;
                if (end - start < sizeof(ret->separator)) {
                        memcpy(ret->separator, first->text + start, end - start);
                        ret->separator[end - start] = 0;
                }
        }
        if (sections || ret->sign != '=' || !streq(ret->separator, "="))
                ret->quote = 0;
}

/* ---- Assignments ----------------------------------------------------------------------------------------------- */

static size_t end_of_value(const char *p, size_t value, size_t end, const Style *style) {
        if (value < end && (p[value] == '"' || p[value] == '\'')) {
                size_t i = value + 1;

                while (i < end && p[i] != p[value])
                        i += p[i] == '\\' && p[value] == '"' && i + 1 < end ? 2 : 1;
                if (i < end) {
                        size_t after = skip_blanks(p, i + 1, end);

                        if (after == end || (after > i + 1 && strchr(style->comments, p[after])))
                                return i + 1;
                }
        }
        for (size_t i = value; i < end; i++)
                if (p[i] != 0 && strchr(style->comments, p[i]) && (i == value || is_blank(p[i - 1]))) {
                        /* A value that begins so is one: "color = #fff". */
                        if (i == value)
                                continue;
                        while (i > value && is_blank(p[i - 1]))
                                i--;
                        return i;
                }
        return end;
}

/* Whether the line, from `from` on, assigns to the key. */
static bool assigns(const Line *line, size_t from, const char *key, const Style *style, Assignment *ret) {
        const char *p = line->text;
        size_t n = line->size, i, size = strlen(key), start;

        while (n > from && is_blank(p[n - 1]))
                n--;
        i = skip_blanks(p, from, n);
        *ret = (Assignment){ .indent = i };
        if (!(n - i >= size && is_name(p + i, size, key, style->ignore_case)))
                i = skip_export(p, i, n);
        if (n - i < size || !is_name(p + i, size, key, style->ignore_case))
                return false;
        i += size;
        start = i;
        i = skip_blanks(p, i, n);
        if (style->sign == ' ') {
                if (i == start && i < n)
                        return false;
                ret->bare = i == n;
        } else {
                if (i == n || p[i] != style->sign)
                        return false;
                i = skip_blanks(p, i + 1, n);
        }
        ret->value = i;
        ret->rest_end = n;
        ret->value_end = end_of_value(p, i, n, style);
        return true;
}

/* Where the key of a line begins that is commented out; 0 if it is none. */
static size_t commented(const Line *line, const Style *style) {
        const char *p = line->text;
        size_t i = skip_blanks(p, 0, line->size), start = i;

        while (i < line->size && p[i] != 0 && strchr(style->comments, p[i]))
                i++;
        if (i == start || i == line->size)
                return 0;
        /* "# Port is the …" is prose. */
        return style->sign == ' ' && is_blank(p[i]) ? 0 : i;
}

static bool is_quoted(const char *p, size_t n) {
        return n >= 2 && (p[0] == '"' || p[0] == '\'') && p[n - 1] == p[0];
}

static bool has_value(const Line *line, const Assignment *a, const char *value) {
        const char *p = line->text + a->value;
        size_t n = strlen(value), size = a->value_end - a->value;

        if (a->bare)
                return false;
        if (n == a->rest_end - a->value && memcmp(p, value, n) == 0)
                return true;
        if (n == size && memcmp(p, value, n) == 0)
                return true;
        return is_quoted(p, size) && n == size - 2 && memcmp(p + 1, value, n) == 0;
}

static bool wants_quotes(const char *value) {
        for (const char *p = value; *p; p++)
                if (!isalnum((unsigned char) *p) && !strchr("_./:,@%+=-", *p))
                        return true;
        return false;
}

static void put_value(Buffer *buffer, const char *value, char quote) {
        if (quote && (strchr(value, quote) || is_quoted(value, strlen(value))))
                quote = 0;
        if (quote)
                buffer_add(buffer, &quote, 1);
        buffer_puts(buffer, value);
        if (quote)
                buffer_add(buffer, &quote, 1);
}

/* "key =" without a value: what comes there stands off as the key does. */
static bool is_open(const char *p, size_t from, const Assignment *a) {
        return a->value_end == a->value && a->value >= from + 2 && !is_blank(p[a->value - 1]) &&
               is_blank(p[a->value - 2]);
}

/* The line with another value; from: where what is kept of it begins, after its indentation. */
static void put_assignment(const Line *line, const Assignment *a, size_t from, const char *value,
        const Style *style, Buffer *ret) {
        const char *p = line->text;
        bool quoted = is_quoted(p + a->value, a->value_end - a->value), keep = true;

        for (const char *c = value; *c && keep; c++)
                keep = !(strchr(style->comments, *c) && c > value && is_blank(c[-1]));
        buffer_add(ret, p + from, a->value - from);
        if (a->bare)
                buffer_puts(ret, style->separator);
        else if (*value && is_open(p, from, a))
                buffer_puts(ret, " ");
        put_value(ret, value, quoted ? p[a->value] : style->quote && wants_quotes(value) ? style->quote : 0);
        /* Blanks behind nothing are not kept behind something. */
        if (keep && (a->value_end > a->value || skip_blanks(p, a->value_end, line->size) < line->size))
                buffer_add(ret, p + a->value_end, line->size - a->value_end);
        buffer_add(ret, p + line->size, line->full - line->size);
}

/* ---- One key --------------------------------------------------------------------------------------------------- */

/* A value as text, to be freed; NULL if out of memory. Lists and tables are not values. */
static char *value_text(const AgentdValue *value) {
        char *text = NULL;
        int r = -1;

        switch (value->type) {
        case AGENTD_BOOLEAN: r = asprintf(&text, "%s", value->boolean ? "true" : "false"); break;
        case AGENTD_INTEGER: r = asprintf(&text, "%lld", (long long) value->integer); break;
        case AGENTD_FLOAT: r = asprintf(&text, "%.15g", value->real); break;
        case AGENTD_STRING: r = asprintf(&text, "%s", value->string); break;
        default: break;
        }
        return r < 0 ? NULL : text;
}

/* Lines that a key is looked for in: those of a section, all of them if it is NULL; "": before the first header. */
typedef struct Scope {
        const char *section;
        bool there;       /* the section is */
        size_t last;      /* after which line one is added; SIZE_MAX: at the beginning */
        const Line *like; /* the last assignment in it, for its indentation */
} Scope;

/* Marks lines outside of the scope as `gone`, until they are written. */
static void find_scope(const Lines *lines, const char *section, const Style *style, Scope *ret) {
        bool inside = !section || *section == 0;

        *ret = (Scope){ .section = section, .there = inside, .last = SIZE_MAX };
        for (size_t i = 0; i < lines->n; i++) {
                Line *line = &lines->lines[i];
                const char *name;
                size_t size;

                line->gone = !inside;
                if (section && is_header(line, &name, &size)) {
                        inside = *section && is_name(name, size, section, style->ignore_case);
                        line->gone = true;
                        if (inside) {
                                ret->there = true;
                                ret->last = i;
                                ret->like = NULL;
                        }
                } else if (inside && section && !is_comment(line, style) && !is_empty(line)) {
                        ret->last = i;
                        ret->like = line;
                }
        }
        if (!section)
                ret->last = lines->n - 1; /* SIZE_MAX of an empty text */
}

static void put_new(const Lines *lines, const Scope *scope, const char *key, const char *value,
        const Style *style, Buffer *ret) {
        Buffer line = {};
        size_t n = scope->like ? skip_blanks(scope->like->text, 0, scope->like->size) : 0;

        if (n > 0)
                buffer_add(&line, scope->like->text, n);
        buffer_puts(&line, key);
        buffer_puts(&line, style->separator);
        put_value(&line, value, style->quote && wants_quotes(value) ? style->quote : 0);
        buffer_new_line(ret, lines, line.data ?: "", line.size);
        ret->failed = ret->failed || line.failed;
        buffer_done(&line);
}

/* Values that are left when all occurrences were looked at, as new lines. */
static int put_missing(const Edit *edit, const Lines *lines, const Scope *scope, const char *key,
        char **values, size_t n, size_t last_seen, const Style *style, Buffer *out, Buffer *ret,
        char **reterr) {
        size_t position = scope->last + 1; /* 0 after SIZE_MAX */
        int r;

        if (last_seen != SIZE_MAX)
                position = last_seen + 1;
        else if (!scope->section) {
                r = edit_position(edit, lines, &position, reterr);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i <= lines->n; i++) {
                if (i == position && scope->there)
                        for (size_t k = 0; k < n; k++)
                                put_new(lines, scope, key, values[k], style, ret);
                if (i < lines->n)
                        buffer_add(ret, out[i].data ?: "", out[i].size);
        }
        if (!scope->there) {
                if (lines->n > 0 && !is_empty(&lines->lines[lines->n - 1]))
                        buffer_new_line(ret, lines, "", 0);
                {
                        _cleanup_free_ char *header = NULL;

                        if (asprintf(&header, "[%s]", scope->section) < 0)
                                return -ENOMEM;
                        buffer_new_line(ret, lines, header, strlen(header));
                }
                for (size_t k = 0; k < n; k++)
                        put_new(lines, scope, key, values[k], style, ret);
        }
        return 0;
}

/* Sets a key to values: one for all its occurrences, or (list) one for each; none: it is removed. */
static int set_key(const Edit *edit, const char *text, size_t size, bool sections, const char *section,
        const char *key, char **values, size_t n, bool list, Buffer *ret, char **reterr) {
        _cleanup_(lines_done) Lines lines = {};
        Buffer *out = NULL;
        size_t n_seen = 0, last_seen = SIZE_MAX;
        Assignment a;
        Scope scope;
        Style style;
        int r;

        r = lines_split(text, size, &lines);
        if (r < 0)
                return r;
        find_style(edit, &lines, sections, &style);
        find_scope(&lines, section, &style, &scope);
        out = calloc(lines.n + 1, sizeof(Buffer));
        if (!out)
                return -ENOMEM;
        for (size_t i = 0; i < lines.n; i++) {
                const Line *line = &lines.lines[i];

                if (line->gone || !assigns(line, 0, key, &style, &a)) {
                        buffer_line(&out[i], line);
                        continue;
                }
                if (n == 0 || (list && n_seen >= n))
                        continue;
                if (has_value(line, &a, values[list ? n_seen : 0]))
                        buffer_line(&out[i], line);
                else
                        put_assignment(line, &a, 0, values[list ? n_seen : 0], &style, &out[i]);
                n_seen++;
                last_seen = i;
        }
        for (size_t i = 0; edit->uncomment && n > 0 && n_seen == 0 && i < lines.n; i++) {
                const Line *line = &lines.lines[i];
                size_t from = line->gone ? 0 : commented(line, &style);

                if (from == 0 || !assigns(line, from, key, &style, &a))
                        continue;
                out[i].size = 0;
                buffer_add(&out[i], line->text, skip_blanks(line->text, 0, line->size));
                put_assignment(line, &a, a.indent, values[0], &style, &out[i]);
                n_seen++;
                last_seen = i;
        }
        if (!list && n_seen > 0)
                n_seen = n;
        if (n_seen < n)
                r = put_missing(edit, &lines, &scope, key, values + n_seen, n - n_seen, last_seen, &style,
                        out, ret, reterr);
        else
                for (size_t i = 0; i < lines.n; i++)
                        buffer_add(ret, out[i].data ?: "", out[i].size);
        for (size_t i = 0; i < lines.n; i++) {
                ret->failed = ret->failed || out[i].failed;
                buffer_done(&out[i]);
        }
        free(out);
        return r;
}

/* Replaces *text by what set_key() makes of it. */
static int step(const Edit *edit, Buffer *text, bool sections, const char *section, const char *key,
        const AgentdValue *value, char **reterr) {
        bool list = value && value->type == AGENTD_LIST;
        size_t n = !value ? 0 : list ? value->n : 1;
        char **values = calloc(n + 1, sizeof(char *));
        Buffer new = {};
        int r = values ? 0 : -ENOMEM;

        for (size_t i = 0; i < n && r == 0; i++) {
                values[i] = value_text(list ? &value->items[i] : value);
                if (!values[i])
                        r = -ENOMEM;
        }
        if (r == 0)
                r = set_key(edit, text->data ?: "", text->size, sections, section, key, values, n, list,
                        &new, reterr);
        for (size_t i = 0; values && i < n; i++)
                free(values[i]);
        free(values);
        if (r == 0 && new.failed)
                r = -ENOMEM;
        if (r < 0) {
                buffer_done(&new);
                return r;
        }
        buffer_done(text);
        *text = new;
        return 0;
}

/* ---- Sections -------------------------------------------------------------------------------------------------- */

static bool names_section(const Edit *edit, const char *name, size_t size) {
        for (uint32_t i = 0; edit->table && i < edit->table->n; i++)
                if (edit->table->members[i].value.type == AGENTD_TABLE &&
                        is_name(name, size, edit->table->members[i].key, edit->ignore_case))
                        return true;
        return false;
}

static bool names_key(const Edit *edit, const char *section, const Line *line, const Style *style) {
        Assignment a;

        for (uint32_t i = 0; i < edit->table->n; i++) {
                const AgentdMember *member = &edit->table->members[i];

                if (member->value.type != AGENTD_TABLE) {
                        if (!*section && assigns(line, 0, member->key, style, &a))
                                return true;
                        continue;
                }
                if (!is_name(section, strlen(section), member->key, edit->ignore_case))
                        continue;
                for (uint32_t k = 0; k < member->value.n; k++)
                        if (assigns(line, 0, member->value.members[k].key, style, &a))
                                return true;
        }
        return false;
}

/* Leaves out what is not named: with `only`, that section as a whole; else other keys and sections. */
static int drop(const Edit *edit, Buffer *text, const char *only) {
        _cleanup_(lines_done) Lines lines = {};
        _cleanup_free_ char *section = strdup("");
        Buffer new = {};
        bool gone = false;
        Style style;
        int r;

        r = lines_split(text->data ?: "", text->size, &lines);
        if (r < 0 || !section)
                return -ENOMEM;
        find_style(edit, &lines, true, &style);
        for (size_t i = 0; i < lines.n; i++) {
                const Line *line = &lines.lines[i];
                const char *name;
                size_t size;

                if (is_header(line, &name, &size)) {
                        free(section);
                        section = strndup(name, size);
                        if (!section) {
                                buffer_done(&new);
                                return -ENOMEM;
                        }
                        gone = only ? is_name(name, size, only, edit->ignore_case)
                                    : !names_section(edit, name, size);
                } else if (!gone && !only && !is_comment(line, &style) && !is_empty(line) &&
                           !names_key(edit, section, line, &style))
                        continue;
                if (!gone)
                        buffer_line(&new, line);
        }
        if (new.failed) {
                buffer_done(&new);
                return -ENOMEM;
        }
        buffer_done(text);
        *text = new;
        return 0;
}

static int unset_keys(const Edit *edit, Buffer *text, bool sections, const char *section, char **reterr) {
        int r = 0;

        for (uint32_t i = 0; edit->unset && i < edit->unset->n && r == 0; i++)
                r = step(edit, text, sections, section, edit->unset->items[i].string, NULL, reterr);
        return r;
}

int edit_keys(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        int r = 0;

        buffer_add(ret, text, size);
        if (edit->absent)
                return drop(edit, ret, edit->section);
        for (uint32_t i = 0; edit->table && i < edit->table->n && r == 0; i++)
                r = step(edit, ret, edit->section != NULL, edit->section, edit->table->members[i].key,
                        &edit->table->members[i].value, reterr);
        return r < 0 ? r : unset_keys(edit, ret, edit->section != NULL, edit->section, reterr);
}

/* "section.key" of unset, the key being what follows the last dot. */
static int unset_path(const Edit *edit, Buffer *text, const char *path, char **reterr) {
        const char *dot = strrchr(path, '.');
        _cleanup_free_ char *section = strndup(path, dot ? (size_t) (dot - path) : 0);

        if (!section)
                return -ENOMEM;
        return step(edit, text, true, section, dot ? dot + 1 : path, NULL, reterr);
}

int edit_ini(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        int r = 0;

        buffer_add(ret, text, size);
        for (uint32_t i = 0; i < edit->table->n && r == 0; i++) {
                const AgentdMember *member = &edit->table->members[i];

                if (member->value.type != AGENTD_TABLE) {
                        r = step(edit, ret, true, "", member->key, &member->value, reterr);
                        continue;
                }
                for (uint32_t k = 0; k < member->value.n && r == 0; k++)
                        r = step(edit, ret, true, member->key, member->value.members[k].key,
                                &member->value.members[k].value, reterr);
        }
        for (uint32_t i = 0; edit->unset && i < edit->unset->n && r == 0; i++)
                r = unset_path(edit, ret, edit->unset->items[i].string, reterr);
        /* Last, as what is there says how new lines look. */
        return r == 0 && edit->exact ? drop(edit, ret, NULL) : r;
}
