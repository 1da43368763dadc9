/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "manifest.h"

#define HEAD "agentd-manifest 1"

static const char kinds[] = "fdl"; /* by EntryKind */

enum {
        F_KIND,
        F_MODE,
        F_SIZE,
        F_OWNER,
        F_GROUP,
        F_HASH,
        F_INODE,
        F_CTIME,
        F_PATH,
        F_TARGET,
        N_FIELDS,
};

/* ---- Paths ----------------------------------------------------------------------------------------------------- */

/* No name has bytes below that of the space, so the '/' can be the smallest. */
static int rank(char c) {
        return c == '/' ? 1 : (unsigned char) c;
}

int manifest_compare(const char *a, const char *b) {
        while (*a && *a == *b) {
                a++;
                b++;
        }
        return rank(*a) - rank(*b);
}

static bool is_control(char c) {
        return (unsigned char) c < 0x20 || c == 0x7f;
}

bool manifest_path_is_clean(const char *path) {
        size_t depth = 0, length = strlen(path);

        if (length == 0 || length >= MANIFEST_PATH_MAX)
                return false;
        for (size_t i = 0; i < length; i++)
                if (is_control(path[i]))
                        return false;
        for (;;) {
                size_t n = strcspn(path, "/");

                if (n == 0 || n > NAME_MAX || ++depth > MANIFEST_DEPTH_MAX || (n == 1 && path[0] == '.') ||
                        (n == 2 && path[0] == '.' && path[1] == '.'))
                        return false;
                path += n;
                if (!*path)
                        return true;
                path++;
        }
}

/* ---- Writing --------------------------------------------------------------------------------------------------- */

static void write_text(FILE *file, const char *text) {
        if (!text) {
                (void) fputc('-', file);
                return;
        }
        /* A lone "-" means something, and so does nothing at all. */
        if (!*text || strcmp(text, "-") == 0) {
                (void) fputs(*text ? "\\2d" : "\\", file);
                return;
        }
        for (; *text; text++) {
                unsigned char c = (unsigned char) *text;

                if (c <= 0x20 || c >= 0x7f || c == '\\')
                        (void) fprintf(file, "\\%02x", c);
                else
                        (void) fputc(c, file);
        }
}

static void write_line(FILE *file, const char *key, const char *value) {
        if (!value)
                return;
        (void) fprintf(file, "%s ", key);
        write_text(file, value);
        (void) fputc('\n', file);
}

void manifest_write_head(FILE *file, const char *destination, const char *archive, const char *parameters) {
        (void) fputs(HEAD "\n", file);
        write_line(file, "destination", destination);
        write_line(file, "archive", archive);
        write_line(file, "parameters", parameters);
}

void manifest_write_entry(FILE *file, const ManifestEntry *entry) {
        (void) fprintf(file, "%c %04o %" PRIu64 " ", kinds[entry->kind], entry->mode, entry->size);
        write_text(file, entry->owner);
        (void) fputc(' ', file);
        write_text(file, entry->group);
        (void) fputc(' ', file);
        if (entry->kind == ENTRY_FILE)
                for (size_t i = 0; i < MANIFEST_HASH_SIZE; i++)
                        (void) fprintf(file, "%02x", entry->hash[i]);
        else
                (void) fputc('-', file);
        (void) fprintf(file, " %" PRIu64 " %" PRId64 " ", entry->inode, entry->ctime_nsec);
        write_text(file, entry->path);
        (void) fputc(' ', file);
        write_text(file, entry->target);
        (void) fputc('\n', file);
}

void manifest_write_end(FILE *file, size_t n_entries) {
        (void) fprintf(file, "end %zu\n", n_entries);
}

/* ---- Reading --------------------------------------------------------------------------------------------------- */

static int digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes write_text() in place. Return: 0; -EBADMSG. */
static int read_text(char *field, const char **ret) {
        char *to = field;

        if (strcmp(field, "-") == 0) {
                *ret = NULL;
                return 0;
        }
        if (strcmp(field, "\\") == 0) {
                *field = 0;
                *ret = field;
                return 0;
        }
        for (const char *from = field; *from; from++) {
                if ((unsigned char) *from <= 0x20 || (unsigned char) *from >= 0x7f)
                        return -EBADMSG;
                if (*from == '\\') {
                        int high = digit(from[1]), low = high < 0 ? -1 : digit(from[2]);

                        /* A NUL is never written, and would hide what comes after it. */
                        if (low < 0 || high * 16 + low == 0)
                                return -EBADMSG;
                        *to++ = (char) (high * 16 + low);
                        from += 2;
                } else
                        *to++ = *from;
        }
        *to = 0;
        *ret = field;
        return 0;
}

static int read_number(const char *field, int base, uint64_t max, uint64_t *ret) {
        uint64_t value = 0;

        if (!*field)
                return -EBADMSG;
        for (; *field; field++) {
                int d = digit(*field);

                if (d < 0 || d >= base || value > (max - (uint64_t) d) / (uint64_t) base)
                        return -EBADMSG;
                value = value * (uint64_t) base + (uint64_t) d;
        }
        *ret = value;
        return 0;
}

static int read_hash(const char *field, uint8_t ret[static MANIFEST_HASH_SIZE]) {
        if (strlen(field) != 2 * MANIFEST_HASH_SIZE)
                return -EBADMSG;
        for (size_t i = 0; i < MANIFEST_HASH_SIZE; i++) {
                int high = digit(field[2 * i]), low = digit(field[2 * i + 1]);

                if (high < 0 || low < 0)
                        return -EBADMSG;
                ret[i] = (uint8_t) (high * 16 + low);
        }
        return 0;
}

/* Cuts a line at single spaces. Return: whether there are just n fields. */
static bool split(char *line, char **fields, size_t n) {
        for (size_t i = 0; i < n; i++) {
                char *space = strchr(line, ' ');

                fields[i] = line;
                if (!space)
                        return i == n - 1;
                *space = 0;
                line = space + 1;
        }
        return false;
}

static int read_entry(char *line, ManifestEntry *ret, const char **reterr_why) {
        char *fields[N_FIELDS];
        ManifestEntry entry = {};
        uint64_t mode, ctime;

        if (!split(line, fields, N_FIELDS) || strlen(fields[F_KIND]) != 1 ||
                !strchr(kinds, *fields[F_KIND])) {
                *reterr_why = "a line is not well-formed";
                return -EBADMSG;
        }
        entry.kind = (uint8_t) (strchr(kinds, *fields[F_KIND]) - kinds);
        if (read_number(fields[F_MODE], 8, 0777, &mode) < 0 ||
                read_number(fields[F_SIZE], 10, INT64_MAX, &entry.size) < 0 ||
                read_number(fields[F_INODE], 10, UINT64_MAX, &entry.inode) < 0 ||
                read_number(fields[F_CTIME], 10, INT64_MAX, &ctime) < 0) {
                *reterr_why = "a line has a number that cannot be";
                return -EBADMSG;
        }
        entry.mode = (uint16_t) mode;
        entry.ctime_nsec = (int64_t) ctime;
        if (entry.kind == ENTRY_FILE ? read_hash(fields[F_HASH], entry.hash) < 0
                                     : strcmp(fields[F_HASH], "-") != 0 || entry.size != 0) {
                *reterr_why = "a line has a hash that cannot be";
                return -EBADMSG;
        }
        if (read_text(fields[F_OWNER], &entry.owner) < 0 || read_text(fields[F_GROUP], &entry.group) < 0 ||
                read_text(fields[F_PATH], &entry.path) < 0 ||
                read_text(fields[F_TARGET], &entry.target) < 0) {
                *reterr_why = "a line has a text that is not well-formed";
                return -EBADMSG;
        }
        if (!entry.path || !manifest_path_is_clean(entry.path)) {
                *reterr_why = "a path is not clean";
                return -EBADMSG;
        }
        if ((entry.kind == ENTRY_SYMLINK) != (entry.target != NULL) ||
                (entry.target && (!*entry.target || strlen(entry.target) >= MANIFEST_PATH_MAX))) {
                *reterr_why = "a target is wrong";
                return -EBADMSG;
        }
        *ret = entry;
        return 0;
}

/* Whether there is a directory for the path: its parent must be listed, and all since then lie in that. */
static bool has_parent(
        const Manifest *m, size_t stack[static MANIFEST_DEPTH_MAX], size_t *depth, const char *path) {
        const char *slash = strrchr(path, '/');
        size_t length = slash ? (size_t) (slash - path) : 0;

        while (*depth > 0) {
                const char *top = m->entries[stack[*depth - 1]].path;

                if (strlen(top) <= length && strncmp(top, path, strlen(top)) == 0 &&
                        path[strlen(top)] == '/')
                        break;
                (*depth)--;
        }
        if (length == 0)
                return *depth == 0;
        return *depth > 0 && strlen(m->entries[stack[*depth - 1]].path) == length;
}

static int add_entry(Manifest *m, size_t *allocated, size_t entries_max, const ManifestEntry *entry) {
        if (m->n_entries >= entries_max)
                return -E2BIG;
        if (m->n_entries == *allocated) {
                size_t n = *allocated ? *allocated * 2 : 64;
                ManifestEntry *p = realloc(m->entries, n * sizeof(*p));

                if (!p)
                        return -ENOMEM;
                m->entries = p;
                *allocated = n;
        }
        m->entries[m->n_entries++] = *entry;
        return 0;
}

static int read_head(Manifest *m, char *line, const char **reterr_why) {
        const struct {
                const char *key;
                const char **value;
        } keys[] = {
                { "destination ", &m->destination },
                { "archive ", &m->archive },
                { "parameters ", &m->parameters },
        };

        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
                size_t n = strlen(keys[i].key);

                if (strncmp(line, keys[i].key, n) != 0)
                        continue;
                if (*keys[i].value || m->n_entries > 0 || read_text(line + n, keys[i].value) < 0) {
                        *reterr_why = "its head is wrong";
                        return -EBADMSG;
                }
                return 1;
        }
        return 0;
}

static int parse(Manifest *m, size_t size, size_t entries_max, const char **reterr_why) {
        size_t allocated = 0, depth = 0, stack[MANIFEST_DEPTH_MAX];
        char *line = m->text, *end = m->text + size;

        for (bool first = true;; first = false) {
                char *newline = memchr(line, '\n', (size_t) (end - line));
                ManifestEntry entry;
                int r;

                if (!newline || memchr(line, 0, (size_t) (newline - line))) {
                        *reterr_why = newline ? "it has a NUL" : "it has no end";
                        return -EBADMSG;
                }
                *newline = 0;

                if (first) {
                        if (strcmp(line, HEAD) != 0) {
                                *reterr_why = "it does not begin like one of this version";
                                return -EBADMSG;
                        }
                } else if (strncmp(line, "end ", 4) == 0) {
                        uint64_t n;

                        if (read_number(line + 4, 10, SIZE_MAX, &n) < 0 || n != m->n_entries ||
                                newline + 1 != end) {
                                *reterr_why = "its end is wrong";
                                return -EBADMSG;
                        }
                        return 0;
                } else if ((r = read_head(m, line, reterr_why)) != 0) {
                        if (r < 0)
                                return r;
                } else {
                        r = read_entry(line, &entry, reterr_why);
                        if (r < 0)
                                return r;
                        if ((m->n_entries > 0 &&
                                    manifest_compare(m->entries[m->n_entries - 1].path, entry.path) >= 0) ||
                                !has_parent(m, stack, &depth, entry.path)) {
                                *reterr_why = "a path is out of order";
                                return -EBADMSG;
                        }
                        r = add_entry(m, &allocated, entries_max, &entry);
                        if (r < 0) {
                                *reterr_why = "it has too many paths";
                                return r;
                        }
                        if (entry.kind == ENTRY_DIRECTORY)
                                stack[depth++] = m->n_entries - 1;
                }
                line = newline + 1;
        }
}

int manifest_parse(char *text, size_t size, size_t entries_max, Manifest *ret, const char **reterr_why) {
        Manifest m = { .text = text };
        int r;

        r = parse(&m, size, entries_max, reterr_why);
        if (r < 0) {
                free(m.entries);
                return r;
        }
        *ret = m;
        return 0;
}

void manifest_done(Manifest *manifest) {
        free(manifest->entries);
        free(manifest->text);
        *manifest = (Manifest){};
}

static int compare_with_entry(const void *path, const void *entry) {
        return manifest_compare(path, ((const ManifestEntry *) entry)->path);
}

ManifestEntry *manifest_find(const Manifest *manifest, const char *path) {
        if (manifest->n_entries == 0)
                return NULL;
        return bsearch(
                path, manifest->entries, manifest->n_entries, sizeof(ManifestEntry), compare_with_entry);
}
