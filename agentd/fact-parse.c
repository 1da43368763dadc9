/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <inttypes.h>
#include <strings.h>

#include "fact-internal.h"

static const char white[] = " \t\r\n\v\f";

Value text_value(Arena *arena, const char *text, size_t size) {
        Value value = value_string(arena, text, size);
        char *copy = (char *) value.text;

        for (size_t i = 0; (i += utf8_valid_prefix(copy + i, size - i)) < size; i++)
                copy[i] = '?';
        return value;
}

/* Takes the quotes off a value that ends at `end`, into `out`, which has room for it. Returns the size, or -1 if the
 * quotes do not match. What follows a closing quote is joined, as a shell does; an unquoted blank ends the value. */
static ssize_t unquote(const char *p, const char *end, char *out) {
        size_t n = 0;

        while (p < end && !strchr(white, *p)) {
                char quote = *p;

                if (quote == '\\') {
                        if (++p == end)
                                return -1;
                        out[n++] = *p++;
                        continue;
                }
                if (quote != '\'' && quote != '"') {
                        out[n++] = *p++;
                        continue;
                }

                for (p++; p < end && *p != quote; p++) {
                        /* Between double quotes a backslash only escapes what is special there. */
                        if (quote == '"' && *p == '\\' && p + 1 < end && strchr("\"$`\\", p[1]))
                                p++;
                        out[n++] = *p;
                }
                if (p == end)
                        return -1;
                p++;
        }

        return (ssize_t) n;
}

Value env_file_parse(Arena *arena, const char *text, size_t size) {
        Value table = value_table();
        const char *end = text + size;

        for (const char *line = text, *next; line < end; line = next) {
                const char *stop = memchr(line, '\n', (size_t) (end - line)), *key;
                _cleanup_free_ char *buffer = NULL;
                size_t key_size;
                ssize_t n;

                next = stop ? stop + 1 : end;
                if (!stop)
                        stop = end;

                for (key = line; key < stop && strchr(white, *key); key++)
                        ;
                for (line = key; line < stop && (isalnum((unsigned char) *line) || *line == '_'); line++)
                        ;
                key_size = (size_t) (line - key);
                if (key_size == 0 || line == stop || *line != '=')
                        continue;
                line++;

                buffer = malloc((size_t) (stop - line) + 1);
                n = buffer ? unquote(line, stop, buffer) : -1;
                if (n >= 0) {
                        Value value = text_value(arena, buffer, (size_t) n);
                        Member *known = value_find(&table, key, key_size);

                        if (known)
                                known->value = value;
                        else
                                (void) value_add(arena, &table, key, key_size, &value);
                }
        }

        return table;
}

Value os_facts(Arena *arena, const char *text, size_t size) {
        static const struct {
                const char *fact, *key, *missing;
        } strings[] = {
                { "id", "ID", "linux" },
                { "version_id", "VERSION_ID", "" },
                { "name", "NAME", "Linux" },
                { "pretty_name", "PRETTY_NAME", "Linux" },
                { "version_codename", "VERSION_CODENAME", "" },
        };
        Value env = env_file_parse(arena, text, size), os = value_table(), like = value_array();
        const Value *value;

        FOREACH_ELEMENT(s, strings) {
                Value missing = value_string(arena, s->missing, strlen(s->missing));

                value = value_get(&env, s->key);
                (void) value_set(arena, &os, s->fact, value && value->size > 0 ? value : &missing);
        }

        value = value_get(&env, "ID_LIKE");
        for (const char *p = value ? value->text : ""; *(p += strspn(p, white));) {
                size_t n = strcspn(p, white);
                Value id = value_string(arena, p, n);

                (void) value_append(arena, &like, &id);
                p += n;
        }
        (void) value_set(arena, &os, "id_like", &like);

        return os;
}

static bool name_is(const char *name, size_t size, const char *expected) {
        return strlen(expected) == size && strncasecmp(name, expected, size) == 0;
}

/* True for "a.b": a dot that stands between. */
static bool name_is_dotted(const char *name, size_t size) {
        return size > 2 && memchr(name + 1, '.', size - 2) != NULL;
}

/* True for "HOSTNAME.something". */
static bool name_extends(const char *name, size_t size, const char *hostname) {
        size_t n = strlen(hostname);

        return size > n + 1 && strncasecmp(name, hostname, n) == 0 && name[n] == '.';
}

const char *hosts_find_fqdn(Arena *arena, const char *text, size_t size, const char *hostname) {
        const char *end = text + size, *canonical = NULL;

        if (!*hostname)
                return NULL;

        for (const char *line = text, *next; line < end; line = next) {
                const char *stop = memchr(line, '\n', (size_t) (end - line)), *comment;
                const char *first = NULL, *extended = NULL;
                size_t first_size = 0, extended_size = 0, fields = 0;
                bool here = false;

                next = stop ? stop + 1 : end;
                if (!stop)
                        stop = end;
                comment = memchr(line, '#', (size_t) (stop - line));
                if (comment)
                        stop = comment;

                for (const char *p = line; p < stop;) {
                        size_t n = 0;

                        if (strchr(white, *p)) {
                                p++;
                                continue;
                        }
                        while (p + n < stop && !strchr(white, p[n]))
                                n++;
                        if (fields++ > 0) { /* the address comes first */
                                if (!first) {
                                        first = p;
                                        first_size = n;
                                }
                                if (name_is(p, n, hostname))
                                        here = true;
                                if (!extended && name_extends(p, n, hostname)) {
                                        extended = p;
                                        extended_size = n;
                                }
                        }
                        p += n;
                }

                if (!here)
                        continue;
                if (extended)
                        return text_value(arena, extended, extended_size).text;
                /* The host may be an alias of another name: "192.0.2.1 db1.example.org web1". */
                if (!canonical && name_is_dotted(first, first_size) &&
                        !name_extends(first, first_size, "localhost"))
                        canonical = text_value(arena, first, first_size).text;
        }

        return canonical;
}

int systemd_version_from_name(const char *name) {
        const char *rest = startswith(name, "libsystemd-shared-");
        long version;
        char *end;

        if (!rest || !isdigit((unsigned char) *rest) || !endswith(name, ".so"))
                return 0;
        version = strtol(rest, &end, 10);
        return version > 0 && version < 100000 ? (int) version : 0;
}

int64_t meminfo_total(const char *text) {
        const char *line = strstr(text, "MemTotal:");
        uint64_t kib;

        /* Source: proc(5): the unit is always kB, meaning KiB. */
        if (!line || sscanf(line, "MemTotal: %" SCNu64 " kB", &kib) != 1 || kib > INT64_MAX / 1024)
                return 0;
        return (int64_t) (kib * 1024);
}

char *first_line(char *text) {
        char *line = text + strspn(text, white);
        size_t n;

        while (*line == '#') {
                line += strcspn(line, "\n");
                line += strspn(line, white);
        }

        n = strcspn(line, "\n");
        while (n > 0 && strchr(white, line[n - 1]))
                n--;
        line[n] = 0;
        return line;
}
