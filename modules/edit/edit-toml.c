/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * TOML, changed in place, so that comments and order stay. What the text means is for the parser to say; here only the places
 * of keys and values are found. One value is changed at a time, and the text parsed again: what came out wrong is not written.
 */

#include <ctype.h>
#include <math.h>

#include "edit.h"
#include "toml.h"

#define DOCUMENT_MAX MIB(192)
#define SEPARATOR    '\x1f' /* between the parts of a path */

typedef enum EntryKind {
        ENTRY_KEY,
        ENTRY_INLINE, /* a member of an inline table */
        ENTRY_TABLE,  /* [header] */
        ENTRY_ARRAY,  /* [[header]] */
} EntryKind;

typedef struct Entry {
        EntryKind kind;
        char *path;        /* whole, parts with SEPARATOR */
        size_t start, end; /* of its lines */
        size_t value, value_end;
        size_t header; /* index of the entry that it stands under; SIZE_MAX: none */
        bool in_array; /* below [[header]]: its path is not the only one */
} Entry;

typedef struct Scan {
        const char *text;
        size_t size, i;
        Entry *entries;
        size_t n;
        size_t header;
        bool failed;
} Scan;

/* ---- Scanning, of what is known to be TOML --------------------------------------------------------------------- */

static char at(const Scan *s) {
        return s->i < s->size ? s->text[s->i] : 0;
}

static void skip_blanks(Scan *s) {
        while (at(s) == ' ' || at(s) == '\t')
                s->i++;
}

static void skip_line(Scan *s) {
        while (s->i < s->size && s->text[s->i] != '\n')
                s->i++;
        if (s->i < s->size)
                s->i++;
}

static void skip_string(Scan *s) {
        char quote = at(s);
        bool three = s->size - s->i >= 3 && s->text[s->i + 1] == quote && s->text[s->i + 2] == quote;

        s->i += three ? 3 : 1;
        while (s->i < s->size) {
                if (at(s) == '\\' && quote == '"')
                        s->i += 2;
                else if (at(s) != quote)
                        s->i++;
                else if (!three) {
                        s->i++;
                        return;
                } else if (s->size - s->i >= 3 && s->text[s->i + 1] == quote && s->text[s->i + 2] == quote) {
                        s->i += 3;
                        while (at(s) == quote) /* up to two belong to the string */
                                s->i++;
                        return;
                } else
                        s->i++;
        }
}

static void scan_value(Scan *s, const char *path);

/* Adds an entry that begins here; path is taken. */
static Entry *add_entry(Scan *s, EntryKind kind, char *path) {
        Entry *entries = reallocarray(s->entries, s->n + 1, sizeof(Entry));

        if (!entries || !path) {
                s->failed = true;
                if (entries)
                        s->entries = entries;
                free(path);
                return NULL;
        }
        s->entries = entries;
        entries[s->n] = (Entry){
                .kind = kind,
                .path = path,
                .header = s->header,
                .in_array = s->header != SIZE_MAX &&
                            (entries[s->header].kind == ENTRY_ARRAY || entries[s->header].in_array),
        };
        return &entries[s->n++];
}

/* A dotted key behind a prefix, as a path; NULL if out of memory or it is none. */
static char *scan_key(Scan *s, const char *prefix) {
        Buffer path = {};

        buffer_puts(&path, prefix);
        for (;;) {
                skip_blanks(s);
                if (path.size > 0)
                        buffer_add(&path, (const char[]){ SEPARATOR }, 1);
                if (at(s) == '"' || at(s) == '\'') {
                        bool escapes = at(s) == '"';
                        size_t start = s->i + 1;

                        skip_string(s);
                        for (size_t i = start; i + 1 < s->i; i++) {
                                /* Of escapes only these: others are found to be wrong when the result is compared. */
                                if (escapes && s->text[i] == '\\' && strchr("\"\\", s->text[i + 1]))
                                        i++;
                                buffer_add(&path, s->text + i, 1);
                        }
                } else {
                        size_t start = s->i;

                        while (isalnum((unsigned char) at(s)) || at(s) == '_' || at(s) == '-')
                                s->i++;
                        if (s->i == start)
                                break;
                        buffer_add(&path, s->text + start, s->i - start);
                }
                skip_blanks(s);
                if (at(s) != '.')
                        break;
                s->i++;
        }
        buffer_add(&path, "", 1);
        if (path.failed) {
                buffer_done(&path);
                return NULL;
        }
        return path.data;
}

static void skip_space(Scan *s) {
        while (s->i < s->size) {
                if (at(s) == '#')
                        skip_line(s);
                else if (at(s) == ' ' || at(s) == '\t' || at(s) == '\r' || at(s) == '\n')
                        s->i++;
                else
                        return;
        }
}

static void scan_inline(Scan *s, const char *path) {
        s->i++;
        for (;;) {
                char *key;
                size_t index, start;

                skip_space(s);
                if (at(s) == ',')
                        s->i++;
                skip_space(s);
                if (at(s) == '}' || s->i >= s->size || s->failed)
                        break;
                start = s->i;
                key = scan_key(s, path ?: "");
                if (at(s) != '=') {
                        free(key);
                        break;
                }
                s->i++;
                skip_blanks(s);
                if (path) {
                        if (!add_entry(s, ENTRY_INLINE, key))
                                return;
                        index = s->n - 1;
                        s->entries[index].start = start;
                        s->entries[index].value = s->i;
                        scan_value(s, s->entries[index].path);
                        s->entries[index].value_end = s->entries[index].end = s->i;
                } else {
                        free(key);
                        scan_value(s, NULL);
                }
        }
        if (at(s) == '}')
                s->i++;
}

/* path: NULL within arrays, where members are not told apart. */
static void scan_value(Scan *s, const char *path) {
        if (at(s) == '"' || at(s) == '\'')
                skip_string(s);
        else if (at(s) == '{')
                scan_inline(s, path);
        else if (at(s) == '[') {
                s->i++;
                for (;;) {
                        size_t before;

                        skip_space(s);
                        if (at(s) == ',') {
                                s->i++;
                                continue;
                        }
                        if (at(s) == ']' || s->i >= s->size)
                                break;
                        before = s->i;
                        scan_value(s, NULL);
                        if (s->i == before) {
                                s->failed = true;
                                return;
                        }
                }
                s->i++;
        } else
                while (s->i < s->size && !strchr(",]}#\r\n", at(s)))
                        s->i++;
        /* A date may have a blank in it; blanks before a comment do not belong to the value. */
        s->i = MIN(s->i, s->size);
        while (s->i > 0 && (s->text[s->i - 1] == ' ' || s->text[s->i - 1] == '\t'))
                s->i--;
}

static int scan(const char *text, size_t size, Scan *s) {
        *s = (Scan){ .text = text, .size = size, .header = SIZE_MAX };
        while (s->i < s->size && !s->failed) {
                size_t start = s->i, index;
                Entry *entry;

                skip_blanks(s);
                if (at(s) == '[') {
                        bool array = s->i + 1 < s->size && s->text[s->i + 1] == '[';

                        s->i += array ? 2 : 1;
                        s->header = SIZE_MAX;
                        entry = add_entry(s, array ? ENTRY_ARRAY : ENTRY_TABLE, scan_key(s, ""));
                        if (!entry)
                                break;
                        s->header = s->n - 1;
                        /* [a.b] below [[a]] */
                        for (size_t i = 0; i + 1 < s->n; i++) {
                                size_t n = strlen(s->entries[i].path);

                                if (s->entries[i].kind == ENTRY_ARRAY &&
                                        strncmp(entry->path, s->entries[i].path, n) == 0 &&
                                        entry->path[n] == SEPARATOR)
                                        entry->in_array = true;
                        }
                        skip_line(s);
                        entry->start = start;
                        entry->end = s->i;
                } else if (at(s) == '#' || at(s) == '\r' || at(s) == '\n' || s->i >= s->size)
                        skip_line(s);
                else {
                        size_t under = s->header;
                        char *key = scan_key(s, under != SIZE_MAX ? s->entries[under].path : "");

                        if (at(s) != '=') {
                                free(key);
                                s->failed = true;
                                break;
                        }
                        if (!add_entry(s, ENTRY_KEY, key))
                                break;
                        index = s->n - 1;
                        s->i++;
                        skip_blanks(s);
                        s->entries[index].start = start;
                        s->entries[index].value = s->i;
                        scan_value(s, s->entries[index].path);
                        s->entries[index].value_end = s->i;
                        skip_line(s);
                        s->entries[index].end = s->i;
                }
        }
        return s->failed ? -EINVAL : 0;
}

static void scan_done(Scan *s) {
        for (size_t i = 0; i < s->n; i++)
                free(s->entries[i].path);
        free(s->entries);
}

/* ---- Writing values -------------------------------------------------------------------------------------------- */

static void put_string(Buffer *out, const char *text, size_t size) {
        buffer_puts(out, "\"");
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char) text[i];

                if (c == '"' || c == '\\')
                        buffer_puts(out, "\\");
                if (c == '\n')
                        buffer_puts(out, "\\n");
                else if (c == '\t')
                        buffer_puts(out, "\\t");
                else if (c < ' ' || c == 0x7f)
                        buffer_printf(out, "\\u%04x", c);
                else
                        buffer_add(out, text + i, 1);
        }
        buffer_puts(out, "\"");
}

static void put_key(Buffer *out, const char *key, size_t size) {
        bool bare = size > 0;

        for (size_t i = 0; i < size && bare; i++)
                bare = isalnum((unsigned char) key[i]) || key[i] == '_' || key[i] == '-';
        if (bare)
                buffer_add(out, key, size);
        else
                put_string(out, key, size);
}

/* A path, or what is left of one, as a dotted key. */
static void put_path(Buffer *out, const char *path) {
        for (;;) {
                const char *end = strchrnul(path, SEPARATOR);

                put_key(out, path, (size_t) (end - path));
                if (!*end)
                        return;
                buffer_puts(out, ".");
                path = end + 1;
        }
}

static void put_float(Buffer *out, double real) {
        char text[64];

        if (isnan(real))
                (void) snprintf(text, sizeof(text), "nan");
        else if (isinf(real))
                (void) snprintf(text, sizeof(text), real < 0 ? "-inf" : "inf");
        else {
                (void) snprintf(text, sizeof(text), "%.15g", real);
                if (strtod(text, NULL) != real)
                        (void) snprintf(text, sizeof(text), "%.17g", real);
                if (!strpbrk(text, ".e"))
                        (void) strcat(text, ".0");
        }
        buffer_puts(out, text);
}

static void put_value(Buffer *out, const AgentdValue *value) {
        switch (value->type) {
        case AGENTD_BOOLEAN: buffer_puts(out, value->boolean ? "true" : "false"); break;
        case AGENTD_INTEGER: buffer_printf(out, "%lld", (long long) value->integer); break;
        case AGENTD_FLOAT: put_float(out, value->real); break;
        case AGENTD_STRING:
                if (value->n == AGENTD_DATE)
                        buffer_puts(out, value->string);
                else
                        put_string(out, value->string, value->size);
                break;
        case AGENTD_LIST:
                buffer_puts(out, "[");
                for (uint32_t i = 0; i < value->n; i++) {
                        if (i > 0)
                                buffer_puts(out, ", ");
                        put_value(out, &value->items[i]);
                }
                buffer_puts(out, "]");
                break;
        case AGENTD_TABLE:
                buffer_puts(out, value->n > 0 ? "{ " : "{");
                for (uint32_t i = 0; i < value->n; i++) {
                        if (i > 0)
                                buffer_puts(out, ", ");
                        put_key(out, value->members[i].key, strlen(value->members[i].key));
                        buffer_puts(out, " = ");
                        put_value(out, &value->members[i].value);
                }
                buffer_puts(out, value->n > 0 ? " }" : "}");
                break;
        default: buffer_puts(out, "\"\""); break;
        }
}

/* ---- Comparing ------------------------------------------------------------------------------------------------- */

static bool equal(const Value *is, const AgentdValue *should) {
        switch (should->type) {
        case AGENTD_BOOLEAN: return is->type == VALUE_BOOLEAN && is->boolean == should->boolean;
        case AGENTD_INTEGER: return is->type == VALUE_INTEGER && is->integer == should->integer;
        case AGENTD_FLOAT:
                return is->type == VALUE_FLOAT &&
                       (is->real == should->real || (isnan(is->real) && isnan(should->real)));
        case AGENTD_STRING:
                /* Who writes a date as text in a role need not mean text. */
                return is->type >= (should->n == AGENTD_DATE ? VALUE_OFFSET_DATETIME : VALUE_STRING) &&
                       is->type <= VALUE_LOCAL_TIME && is->size == should->size &&
                       memcmp(is->text, should->string, is->size) == 0;
        case AGENTD_LIST:
                if (is->type != VALUE_ARRAY || is->n_items != should->n)
                        return false;
                for (uint32_t i = 0; i < should->n; i++)
                        if (!equal(&is->items[i], &should->items[i]))
                                return false;
                return true;
        case AGENTD_TABLE:
                if (is->type != VALUE_TABLE || is->n_members != should->n)
                        return false;
                for (uint32_t i = 0; i < should->n; i++) {
                        const Value *member = value_get(is, should->members[i].key);

                        if (!member || !equal(member, &should->members[i].value))
                                return false;
                }
                return true;
        default: return false;
        }
}

/* Finds what differs first. Return: 1, its path and value; 0; -ENOMEM. */
static int find_difference(const Value *is, const AgentdValue *should, const char *path, char **ret_path,
        const AgentdValue **ret_value) {
        for (uint32_t i = 0; i < should->n; i++) {
                const AgentdMember *member = &should->members[i];
                const Value *value = is ? value_get(is, member->key) : NULL;
                bool table = member->value.type == AGENTD_TABLE && member->value.n > 0 &&
                             (!value || value->type == VALUE_TABLE);
                char *below = NULL;
                int r;

                if (member->value.type == AGENTD_TABLE && member->value.n == 0 && value &&
                        value->type == VALUE_TABLE)
                        continue;
                if (!table && value && equal(value, &member->value))
                        continue;
                if (asprintf(&below, "%s%s%s", path, *path ? (const char[]){ SEPARATOR, 0 } : "",
                            member->key) < 0)
                        return -ENOMEM;
                if (!table) {
                        *ret_path = below;
                        *ret_value = &member->value;
                        return 1;
                }
                r = find_difference(value, &member->value, below, ret_path, ret_value);
                free(below);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* ---- Changing -------------------------------------------------------------------------------------------------- */

static const char *end_of_line(const char *text, size_t size) {
        const char *newline = memchr(text, '\n', size);

        return newline && newline > text && newline[-1] == '\r' ? "\r\n" : "\n";
}

static void put_around(const Scan *s, size_t start, size_t end, const Buffer *new, Buffer *ret) {
        buffer_add(ret, s->text, start);
        buffer_add(ret, new->data ?: "", new->size);
        buffer_add(ret, s->text + end, s->size - end);
        ret->failed = ret->failed || new->failed;
}

/* A path below another one, or NULL: what is left of it. */
static const char *below(const char *path, const char *above) {
        size_t n = strlen(above);

        if (n == 0)
                return path;
        return strncmp(path, above, n) == 0 && path[n] == SEPARATOR ? path + n + 1 : NULL;
}

/* A line behind an entry, with its indentation; without one at the start. */
static void put_line_after(
        const Scan *s, const Entry *entry, const char *key, const AgentdValue *value, Buffer *ret) {
        const char *end = end_of_line(s->text, s->size);
        size_t position = entry ? entry->end : 0;
        Buffer line = {};

        if (entry && position > 0 && s->text[position - 1] != '\n')
                buffer_puts(&line, end);
        if (entry)
                for (size_t i = entry->start; s->text[i] == ' ' || s->text[i] == '\t'; i++)
                        buffer_add(&line, s->text + i, 1);
        put_path(&line, key);
        buffer_puts(&line, " = ");
        put_value(&line, value);
        buffer_puts(&line, end);
        put_around(s, position, position, &line, ret);
        buffer_done(&line);
}

static void put_into_inline(
        const Scan *s, const Entry *entry, const char *key, const AgentdValue *value, Buffer *ret) {
        size_t brace = entry->value_end - 1, position = brace;
        Buffer text = {};

        while (position > entry->value && strchr(" \t\r\n", s->text[position - 1]))
                position--;
        buffer_puts(&text, s->text[position - 1] == '{' ? " " : ", ");
        put_path(&text, key);
        buffer_puts(&text, " = ");
        put_value(&text, value);
        if (position == brace)
                buffer_puts(&text, s->text[position - 1] == '{' ? " " : "");
        put_around(s, position, position, &text, ret);
        buffer_done(&text);
}

static void put_new_table(const Scan *s, const char *path, const AgentdValue *value, Buffer *ret) {
        const char *end = end_of_line(s->text, s->size), *last = strrchr(path, SEPARATOR);
        _cleanup_free_ char *table = strndup(path, (size_t) (last - path));

        if (!table) {
                ret->failed = true;
                return;
        }
        buffer_add(ret, s->text, s->size);
        if (s->size > 0 && s->text[s->size - 1] != '\n')
                buffer_puts(ret, end);
        if (s->size > 0)
                buffer_puts(ret, end);
        buffer_puts(ret, "[");
        put_path(ret, table);
        buffer_puts(ret, "]");
        buffer_puts(ret, end);
        put_path(ret, last + 1);
        buffer_puts(ret, " = ");
        put_value(ret, value);
        buffer_puts(ret, end);
}

/* Where a key goes that is not there yet. */
static void put_new(const Scan *s, const char *path, const AgentdValue *value, Buffer *ret) {
        const char *last = strrchr(path, SEPARATOR);
        _cleanup_free_ char *parent = strndup(path, last ? (size_t) (last - path) : 0);
        const Entry *table = NULL, *after = NULL, *container = NULL, *first = NULL;

        if (!parent) {
                ret->failed = true;
                return;
        }
        for (size_t i = 0; i < s->n; i++) {
                const Entry *entry = &s->entries[i];
                bool key = entry->kind == ENTRY_KEY || entry->kind == ENTRY_INLINE;

                if (!key && !first)
                        first = entry;
                if (entry->in_array || entry->kind == ENTRY_ARRAY)
                        continue;
                if (key && below(path, entry->path) && entry->value < s->size &&
                        s->text[entry->value] == '{' &&
                        (!container || strlen(entry->path) > strlen(container->path)))
                        container = entry;
                if (entry->kind == ENTRY_TABLE && streq(entry->path, parent))
                        table = entry;
        }
        if (container) {
                put_into_inline(s, container, below(path, container->path), value, ret);
                return;
        }
        /* Behind the last one of its table; or beside those that make the table by dotted keys. */
        for (size_t i = 0; i < s->n; i++) {
                const Entry *entry = &s->entries[i];
                bool root = entry->header == SIZE_MAX;

                if (entry->kind != ENTRY_KEY || entry->in_array)
                        continue;
                if (table         ? !root && &s->entries[entry->header] == table
                        : *parent ? below(entry->path, parent) &&
                                            (root || !below(s->entries[entry->header].path, parent)) &&
                                            (root || !streq(s->entries[entry->header].path, parent))
                                  : root)
                        after = entry;
        }
        if (after) {
                const char *prefix = after->header != SIZE_MAX ? s->entries[after->header].path : "";

                put_line_after(s, after, below(path, prefix) ?: path, value, ret);
        } else if (table)
                put_line_after(s, table, last + 1, value, ret);
        else if (*parent)
                put_new_table(s, path, value, ret);
        else if (first)
                put_line_after(s, NULL, path, value, ret);
        else {
                Entry end = { .start = s->size, .end = s->size };
                Scan copy = *s;

                /* Nothing but comments. */
                copy.text = s->text;
                if (s->size == 0)
                        put_line_after(&copy, NULL, path, value, ret);
                else {
                        const char *newline = end_of_line(s->text, s->size);

                        buffer_add(ret, s->text, end.end);
                        if (s->text[s->size - 1] != '\n')
                                buffer_puts(ret, newline);
                        put_path(ret, path);
                        buffer_puts(ret, " = ");
                        put_value(ret, value);
                        buffer_puts(ret, newline);
                }
        }
}

static void replace_dots(char *path, char sign) {
        for (; *path; path++)
                if (*path == sign)
                        *path = SEPARATOR;
}

/* For people. */
static char *shown(const char *path) {
        char *text = strdup(path);

        for (char *p = text; p && *p; p++)
                if (*p == SEPARATOR)
                        *p = '.';
        return text;
}

static int set_value(const char *text, size_t size, const char *path, const AgentdValue *value, Buffer *ret,
        char **reterr) {
        _cleanup_(scan_done) Scan s = {};
        _cleanup_free_ char *name = shown(path);

        if (scan(text, size, &s) < 0)
                return edit_error(reterr, -EINVAL, "it is written in a way that cannot be edited");
        for (size_t i = 0; i < s.n; i++) {
                const Entry *entry = &s.entries[i];

                if (!streq(entry->path, path) && !(below(path, entry->path) && entry->kind == ENTRY_ARRAY))
                        continue;
                if (entry->kind == ENTRY_TABLE || entry->kind == ENTRY_ARRAY)
                        return edit_error(reterr, -EINVAL,
                                "'%s' is written as %s; it is not replaced, since comments in it would be "
                                "lost",
                                name, entry->kind == ENTRY_TABLE ? "a table" : "an array of tables");
                if (!entry->in_array) {
                        Buffer new = {};

                        put_value(&new, value);
                        put_around(&s, entry->value, entry->value_end, &new, ret);
                        buffer_done(&new);
                        return 0;
                }
        }
        put_new(&s, path, value, ret);
        return 0;
}

/* Takes out one entry of that path, or below it. Return: 1; 0: there is none; negative. */
static int remove_one(const char *text, size_t size, const char *path, Buffer *ret, char **reterr) {
        _cleanup_(scan_done) Scan s = {};

        if (scan(text, size, &s) < 0)
                return edit_error(reterr, -EINVAL, "it is written in a way that cannot be edited");
        for (size_t i = 0; i < s.n; i++) {
                const Entry *entry = &s.entries[i];
                size_t start = entry->start, end = entry->end;
                const Buffer none = {};

                if (!streq(entry->path, path) && !below(entry->path, path))
                        continue;
                if (entry->kind == ENTRY_INLINE) {
                        /* With the comma before it, or else that behind. */
                        while (start > 0 && strchr(" \t\r\n", s.text[start - 1]))
                                start--;
                        if (start > 0 && s.text[start - 1] == ',')
                                start--;
                        else {
                                start = entry->start;
                                while (end < s.size && strchr(" \t\r\n", s.text[end]))
                                        end++;
                                if (end < s.size && s.text[end] == ',')
                                        end++;
                                while (end < s.size && strchr(" \t\r\n", s.text[end]))
                                        end++;
                        }
                } else if (entry->kind != ENTRY_KEY)
                        for (size_t k = i + 1; k <= s.n; k++) {
                                end = k < s.n ? s.entries[k].start : s.size;
                                if (k < s.n && s.entries[k].kind != ENTRY_KEY &&
                                        s.entries[k].kind != ENTRY_INLINE)
                                        break;
                        }
                put_around(&s, start, end, &none, ret);
                return 1;
        }
        return 0;
}

/* ---- The whole ------------------------------------------------------------------------------------------------- */

static void put_document(Buffer *out, const AgentdValue *table, const char *path, const char *end) {
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];

                if (member->value.type == AGENTD_TABLE)
                        continue;
                put_key(out, member->key, strlen(member->key));
                buffer_puts(out, " = ");
                put_value(out, &member->value);
                buffer_puts(out, end);
        }
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];
                _cleanup_free_ char *name = NULL;

                if (member->value.type != AGENTD_TABLE)
                        continue;
                if (asprintf(&name, "%s%s%s", path, *path ? (const char[]){ SEPARATOR, 0 } : "",
                            member->key) < 0) {
                        name = NULL;
                        out->failed = true;
                        return;
                }
                if (out->size > 0)
                        buffer_puts(out, end);
                buffer_puts(out, "[");
                put_path(out, name);
                buffer_puts(out, "]");
                buffer_puts(out, end);
                put_document(out, &member->value, name, end);
        }
}

static int parse(Arena *arena, const Buffer *text, bool ours, Value *ret, char **reterr) {
        Diagnostic diagnostic = {};
        int r;

        arena->used = 0;
        r = toml_parse(arena, NULL, text->data ?: "", text->size, ret, &diagnostic);
        if (r == -EINVAL)
                return edit_error(reterr, r,
                        ours ? "it is written in a way that cannot be edited (line %u: %s)"
                             : "it is no TOML that can be edited: line %u: %s",
                        diagnostic.place.line, diagnostic.message ?: "");
        return r;
}

static int merge(Arena *arena, const Edit *edit, Buffer *text, char **reterr) {
        _cleanup_free_ char *previous = NULL;

        for (;;) {
                _cleanup_free_ char *path = NULL;
                const AgentdValue *value = NULL;
                Buffer new = {};
                Value is;
                int r;

                r = parse(arena, text, previous != NULL, &is, reterr);
                if (r == 0)
                        r = find_difference(&is, edit->table, "", &path, &value);
                if (r <= 0)
                        return r;
                if (previous && streq(previous, path))
                        return edit_error(reterr, -EINVAL, "it is written in a way that cannot be edited");
                free(previous);
                previous = strdup(path);
                r = previous ? set_value(text->data ?: "", text->size, path, value, &new, reterr) : -ENOMEM;
                if (r == 0 && new.failed)
                        r = -ENOMEM;
                if (r < 0) {
                        buffer_done(&new);
                        return r;
                }
                buffer_done(text);
                *text = new;
        }
}

static int unset(Arena *arena, const Edit *edit, Buffer *text, char **reterr) {
        Value is;

        for (uint32_t i = 0; edit->unset && i < edit->unset->n; i++) {
                const char *name = edit->unset->items[i].string;
                _cleanup_free_ char *path = strdup(name + (*name == '/'));
                int r;

                if (!path)
                        return -ENOMEM;
                replace_dots(path, *name == '/' ? '/' : '.');
                for (;;) {
                        Buffer new = {};

                        r = remove_one(text->data ?: "", text->size, path, &new, reterr);
                        if (r == 1 && new.failed)
                                r = -ENOMEM;
                        if (r <= 0) {
                                buffer_done(&new);
                                break;
                        }
                        buffer_done(text);
                        *text = new;
                }
                if (r < 0)
                        return r;
        }
        return edit->unset ? parse(arena, text, true, &is, reterr) : 0;
}

int edit_toml(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        Arena arena = {};
        Value is;
        int r;

        r = arena_map(&arena, DOCUMENT_MAX, NULL);
        if (r < 0)
                return r;
        buffer_add(ret, text, size);
        r = parse(&arena, ret, false, &is, reterr);
        if (r == 0 && edit->exact) {
                if (!equal(&is, edit->table)) {
                        ret->size = 0;
                        put_document(ret, edit->table, "", end_of_line(text, size));
                }
        } else if (r == 0) {
                if (edit->table)
                        r = merge(&arena, edit, ret, reterr);
                if (r == 0)
                        r = unset(&arena, edit, ret, reterr);
        }
        arena_unmap(&arena);
        return r;
}
