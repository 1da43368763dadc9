/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>

#include "edit-toml.h"

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

int edit_toml_scan(const char *text, size_t size, Scan *s) {
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
                        for (size_t i = 0; i + 1 < s->n && s->n_arrays > 0; i++) {
                                size_t n;

                                if (s->entries[i].kind != ENTRY_ARRAY)
                                        continue;
                                n = strlen(s->entries[i].path);
                                if (strncmp(entry->path, s->entries[i].path, n) == 0 &&
                                        entry->path[n] == SEPARATOR)
                                        entry->in_array = true;
                        }
                        s->n_arrays += array;
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

void edit_toml_scan_done(Scan *s) {
        for (size_t i = 0; i < s->n; i++)
                free(s->entries[i].path);
        free(s->entries);
}
