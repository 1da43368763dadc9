/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "preset.h"
#include "unit-name.h"

#define BLANK " \t\r\n"

typedef struct Rule {
        struct Rule *next;
        const char *pattern;
        Names instances; /* of an "enable" of a template */
        PresetAction action;
} Rule;

struct Presets {
        Pool pool;
        Rule *first, **last;
        size_t n_rules;
};

/* ---- Rules ----------------------------------------------------------------------------------------------------- */

/* The next word of a line; *text is moved behind it. Return: its length. */
static size_t next_word(const char **text, const char *end, const char **ret) {
        const char *p = *text;

        while (p < end && strchr(BLANK, *p))
                p++;
        *ret = p;
        while (p < end && !strchr(BLANK, *p))
                p++;
        *text = p;
        return (size_t) (p - *ret);
}

static bool is_word(const char *word, size_t n, const char *is) {
        return n == strlen(is) && memcmp(word, is, n) == 0;
}

/* Return: 1: it was added; 0: it is no rule; -ENOMEM, -E2BIG. */
static int add_rule(Presets *presets, const char *line, const char *end) {
        const char *word;
        size_t n = next_word(&line, end, &word);
        Rule *rule;

        if (presets->n_rules == PRESET_RULES_MAX)
                return -E2BIG;
        rule = pool_alloc(&presets->pool, sizeof(Rule));
        if (!rule)
                return -ENOMEM;
        if (is_word(word, n, "enable"))
                rule->action = PRESET_ENABLE;
        else if (is_word(word, n, "disable"))
                rule->action = PRESET_DISABLE;
        else if (is_word(word, n, "ignore"))
                rule->action = PRESET_IGNORE;
        else
                return 0;
        n = next_word(&line, end, &word);
        if (n == 0)
                return 0;
        rule->pattern = pool_copy(&presets->pool, word, n);
        if (!rule->pattern)
                return -ENOMEM;
        while ((n = next_word(&line, end, &word)) > 0) {
                const char *instance;

                /* Only enabling makes instances. */
                if (rule->action != PRESET_ENABLE || unit_name_kind(rule->pattern) != UNIT_NAME_TEMPLATE)
                        return 0;
                instance = pool_copy(&presets->pool, word, n);
                if (!instance || names_add(&presets->pool, &rule->instances, instance) < 0)
                        return -ENOMEM;
        }
        *presets->last = rule;
        presets->last = &rule->next;
        presets->n_rules++;
        return 1;
}

int presets_parse(Presets *presets, const char *text, size_t size) {
        for (const char *line = text, *end = text + size, *next; line < end; line = next) {
                const char *stop = memchr(line, '\n', (size_t) (end - line));
                int r;

                if (!stop)
                        stop = end;
                next = stop < end ? stop + 1 : end;
                while (line < stop && *line && strchr(BLANK, *line))
                        line++;
                /* A NUL is in no line that means something. */
                if (line == stop || *line == '#' || *line == ';' ||
                        memchr(line, '\0', (size_t) (stop - line)))
                        continue;
                r = add_rule(presets, line, stop);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

typedef struct PresetFile {
        const char *name, *path;
} PresetFile;

typedef struct PresetFiles {
        PresetFile list[PRESET_FILES_MAX];
        size_t n;
} PresetFiles;

static int add_file(Presets *presets, PresetFiles *files, const char *directory, const char *name) {
        static const char suffix[] = ".preset";
        size_t size = strlen(name);
        PresetFile *file;

        if (name[0] == '.' || size < strlen(suffix) || strcmp(name + size - strlen(suffix), suffix) != 0)
                return 0;
        for (size_t i = 0; i < files->n; i++)
                if (strcmp(files->list[i].name, name) == 0)
                        return 0;
        if (files->n == PRESET_FILES_MAX)
                return -E2BIG;
        file = &files->list[files->n];
        *file = (PresetFile){
                .name = pool_dup(&presets->pool, name),
                .path = pool_format(&presets->pool, "%s/%s", directory, name),
        };
        if (!file->name || !file->path)
                return -ENOMEM;
        files->n++;
        return 0;
}

static int list_directory(Presets *presets, PresetFiles *files, int root_fd, const char *directory) {
        int fd = unit_root_open(root_fd, directory, O_RDONLY | O_DIRECTORY | O_NONBLOCK), r = 0;
        DIR *dir;

        if (fd == -ENOENT || fd == -ENOTDIR)
                return 0;
        if (fd < 0)
                return fd;
        dir = fdopendir(fd);
        if (!dir) {
                r = -errno;
                (void) close(fd);
                return r;
        }
        while (r == 0) {
                const struct dirent *d;

                errno = 0;
                d = readdir(dir);
                if (!d) {
                        r = -errno;
                        break;
                }
                r = add_file(presets, files, directory, d->d_name);
        }
        (void) closedir(dir);
        return r;
}

static int read_file(Presets *presets, int root_fd, const char *path) {
        int fd CLOSED = unit_root_open(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        char *text;
        size_t n = 0;
        int r = 0;

        /* Gone meanwhile; or a link to /dev/null below a root that has none: nothing, which it is meant to be. */
        if (fd == -ENOENT)
                return 0;
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISCHR(st.st_mode))
                return 0;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EBADFD;
        if (st.st_size > (off_t) PRESET_FILE_SIZE_MAX)
                return -E2BIG;
        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        while (n < (size_t) st.st_size) {
                ssize_t k = read(fd, text + n, (size_t) st.st_size - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        r = -errno;
                if (k <= 0)
                        break;
                n += (size_t) k;
        }
        if (r == 0)
                r = presets_parse(presets, text, n);
        free(text);
        return r;
}

static int compare_files(const void *a, const void *b) {
        return strcmp(((const PresetFile *) a)->name, ((const PresetFile *) b)->name);
}

static int read_files(Presets *presets, int root_fd, UnitScope scope) {
        static const char *const system[] = {
                "/etc/systemd/system-preset", "/run/systemd/system-preset",
                "/usr/local/lib/systemd/system-preset", "/usr/lib/systemd/system-preset",
                "/lib/systemd/system-preset", /* where merged, the same again, and nothing new */
        };
        static const char *const user[] = {
                "/etc/systemd/user-preset",
                "/run/systemd/user-preset",
                "/usr/local/lib/systemd/user-preset",
                "/usr/lib/systemd/user-preset",
        };
        const char *const *list = scope == UNIT_SCOPE_SYSTEM ? system : user;
        size_t n =
                scope == UNIT_SCOPE_SYSTEM ? sizeof(system) / sizeof(*system) : sizeof(user) / sizeof(*user);
        PresetFiles files;
        int r = 0;

        files.n = 0;
        for (size_t i = 0; r == 0 && i < n; i++)
                r = list_directory(presets, &files, root_fd, list[i]);
        if (r == 0 && files.n > 1)
                qsort(files.list, files.n, sizeof(PresetFile), compare_files);
        for (size_t i = 0; r == 0 && i < files.n; i++)
                r = read_file(presets, root_fd, files.list[i].path);
        return r;
}

/* ---- The object ------------------------------------------------------------------------------------------------ */

int presets_new_empty(Presets **ret) {
        Presets *presets = calloc(1, sizeof(Presets));

        if (!presets)
                return -ENOMEM;
        presets->last = &presets->first;
        *ret = presets;
        return 0;
}

int presets_new(int root_fd, UnitScope scope, Presets **ret) {
        Presets *presets;
        int r;

        r = presets_new_empty(&presets);
        if (r < 0)
                return r;
        r = read_files(presets, root_fd, scope);
        if (r < 0) {
                (void) presets_free(presets);
                return r;
        }
        *ret = presets;
        return 0;
}

Presets *presets_free(Presets *presets) {
        if (!presets)
                return NULL;
        pool_done(&presets->pool);
        free(presets);
        return NULL;
}

/* Return: 1: the rule is about the unit; 0; -errno. */
static int matches(const Rule *rule, const char *name, Pool *pool, Names *instances) {
        UnitNameKind kind = unit_name_kind(name);
        char text[UNIT_NAME_SIZE];

        if (rule->instances.n > 0 && unit_name_template(name, text) == 0 &&
                strcmp(text, rule->pattern) == 0) {
                if (kind == UNIT_NAME_INSTANCE) {
                        (void) unit_name_instance(name, text);
                        for (size_t i = 0; i < rule->instances.n; i++)
                                if (strcmp(rule->instances.list[i], text) == 0)
                                        return 1;
                        return 0;
                }
                for (size_t i = 0; instances && i < rule->instances.n; i++) {
                        const char *copy;
                        int r = unit_name_with_instance(name, rule->instances.list[i], text);

                        if (r < 0)
                                return r;
                        copy = pool_dup(pool, text);
                        if (!copy || names_add(pool, instances, copy) < 0)
                                return -ENOMEM;
                }
                return 1;
        }
        return fnmatch(rule->pattern, name, FNM_NOESCAPE) == 0;
}

int presets_query(
        const Presets *presets, const char *name, Pool *pool, Names *ret_instances, PresetAction *ret) {
        if (unit_name_kind(name) == UNIT_NAME_INVALID)
                return -EINVAL;
        for (const Rule *rule = presets->first; rule; rule = rule->next) {
                int r = matches(rule, name, pool, ret_instances);

                if (r < 0)
                        return r;
                if (r > 0) {
                        *ret = rule->action;
                        return 0;
                }
        }
        *ret = PRESET_ENABLE;
        return 0;
}
