/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * TOML, changed in place, so that comments and order stay. What the text means is for the parser to say; where keys and values are,
 * edit-toml-scan.c finds. One value is changed at a time, and the text parsed again: what came out wrong is not written.
 */

#include <ctype.h>
#include <math.h>

#include "edit-toml.h"
#include "toml.h"

#define DOCUMENT_MAX MIB(192)

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
        _cleanup_(edit_toml_scan_done) Scan s = {};
        _cleanup_free_ char *name = shown(path);

        if (edit_toml_scan(text, size, &s) < 0)
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
        _cleanup_(edit_toml_scan_done) Scan s = {};

        if (edit_toml_scan(text, size, &s) < 0)
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
