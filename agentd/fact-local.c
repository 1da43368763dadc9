/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "fact-internal.h"
#include "value-json.h"

typedef enum LocalKind {
        LOCAL_JSON,
        LOCAL_TOML,
        LOCAL_OTHER, /* a program, if it may be run */
        LOCAL_MASK,  /* a link to /dev/null: the fact of that name is absent */
} LocalKind;

typedef struct Local {
        const char *name; /* of the fact */
        const char *path; /* inside the root */
        LocalKind kind;
        size_t directory; /* its place in the list */
        bool trusted;     /* nobody but the owner can put programs into the directory */
        bool found;
        Value value;
} Local;

typedef struct LocalList {
        Arena *arena;
        Diagnostics *diagnostics;
        Local *list;
        uint32_t n, n_allocated;
        bool full;
} LocalList;

static Place place_of(const char *path) {
        return (Place){ .file = path };
}

/* what: "" for a file, words for the output of a program, whose lines and columns nobody can look up. */
static bool parse_json(Local *local, const char *text, size_t size, bool output, LocalList *all) {
        json_error_t error;
        json_t *json =
                json_loadb(text, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

        if (!json) {
                Place place = place_of(local->path);

                if (output)
                        diagnostics_add(all->diagnostics, place,
                                "local fact '%s': the program must print one JSON value: line %d, column %d "
                                "of its "
                                "output: %s",
                                local->name, error.line, error.column, error.text);
                else {
                        place.line = error.line > 0 ? (uint32_t) error.line : 0;
                        place.column = error.column > 0 ? (uint32_t) error.column : 0;
                        diagnostics_add(all->diagnostics, place, "local fact '%s': not valid JSON: %s",
                                local->name, error.text);
                }
                return false;
        }

        local->value = value_from_json(all->arena, json);
        local->found = true;
        json_decref(json);
        return true;
}

/* The fact's name, or NULL if the file is not meant as one. */
static const char *name_of_file(Arena *arena, const char *file, LocalKind *ret_kind) {
        static const char *const leftovers[] = { "~", ".bak", ".orig", ".rej", ".swp", ".tmp", ".dpkg-old",
                ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".ucf-dist", ".ucf-old", ".ucf-new", ".rpmsave",
                ".rpmnew", ".rpmorig", ".pacnew", ".pacsave" };
        const char *dot;

        if (*file == '.' || startswith(file, "README"))
                return NULL;
        FOREACH_ELEMENT(l, leftovers)
                if (endswith(file, *l))
                        return NULL;

        *ret_kind = endswith(file, ".json")   ? LOCAL_JSON
                    : endswith(file, ".toml") ? LOCAL_TOML
                                              : LOCAL_OTHER;
        dot = strrchr(file, '.');
        return dot ? arena_strndup(arena, file, (size_t) (dot - file)) : file;
}

static bool name_is_valid(const char *name) {
        if (!isalpha((unsigned char) *name) && *name != '_')
                return false;
        for (; *name; name++)
                if (!isalnum((unsigned char) *name) && *name != '_' && *name != '-')
                        return false;
        return true;
}

static bool owner_only(const struct stat *st) {
        return (st->st_uid == 0 || st->st_uid == geteuid()) && (st->st_mode & 022) == 0;
}

static void scan_directory(LocalList *all, int root_fd, const char *path, size_t index) {
        int fd = root_open(root_fd, path, O_RDONLY | O_DIRECTORY);
        struct dirent *entry;
        struct stat st;
        DIR *dir;

        if (fd < 0) {
                if (fd != -ENOENT)
                        diagnostics_add(all->diagnostics, place_of(path),
                                "cannot read the local facts here: %s", strerror(-fd));
                return;
        }
        if (fstat(fd, &st) < 0 || !(dir = fdopendir(fd))) {
                safe_close(fd);
                return;
        }

        while (!all->full && (entry = readdir(dir))) {
                Local local = { .directory = index, .trusted = owner_only(&st) };
                char target[16];

                local.name = name_of_file(all->arena, entry->d_name, &local.kind);
                if (!local.name)
                        continue;
                local.path = arena_printf(all->arena, "%s/%s", path, entry->d_name);
                if (!name_is_valid(local.name)) {
                        diagnostics_add(all->diagnostics, place_of(local.path),
                                "a local fact is named after its file, by letters, digits, '_' and '-', "
                                "beginning "
                                "with a letter; ignored");
                        continue;
                }
                /* entry->d_name goes with the next readdir(). */
                local.name = arena_strdup(all->arena, local.name);

                if (readlinkat(fd, entry->d_name, target, sizeof(target)) == 9 &&
                        memcmp(target, "/dev/null", 9) == 0)
                        local.kind = LOCAL_MASK;

                if (all->n == FACTS_LOCAL_MAX) {
                        diagnostics_add(all->diagnostics, place_of(path),
                                "there are more than %d local facts; the rest are ignored", FACTS_LOCAL_MAX);
                        all->full = true;
                        break;
                }
                all->list = arena_grow(all->arena, all->list, all->n, &all->n_allocated, sizeof(Local));
                all->list[all->n++] = local;
        }

        closedir(dir);
}

static int compare_locals(const void *x, const void *y) {
        const Local *a = x, *b = y;
        int r = strcmp(a->name, b->name);

        if (r == 0 && a->directory != b->directory)
                r = a->directory < b->directory ? -1 : 1;
        return r != 0 ? r : strcmp(a->path, b->path);
}

static void read_data(LocalList *all, int root_fd, Local *local, char **buffer) {
        const size_t buffer_size = FACTS_OUTPUT_MAX + 2;
        ssize_t n;

        if (!*buffer && !(*buffer = malloc(buffer_size))) {
                diagnostics_add(all->diagnostics, place_of(local->path), "local fact '%s': out of memory",
                        local->name);
                return;
        }

        n = root_read(root_fd, local->path, *buffer, buffer_size);
        if (n < 0) {
                diagnostics_add(all->diagnostics, place_of(local->path), "local fact '%s': %s", local->name,
                        n == -EINVAL || n == -EISDIR ? "must be a regular file" : strerror((int) -n));
                return;
        }
        if ((size_t) n > FACTS_OUTPUT_MAX) {
                diagnostics_add(all->diagnostics, place_of(local->path),
                        "local fact '%s': the file must not be larger than %zu KiB", local->name,
                        (size_t) FACTS_OUTPUT_MAX / 1024);
                return;
        }

        if (local->kind == LOCAL_TOML) {
                Diagnostic error = {};

                if (fact_parse_toml(all->arena, local->path, *buffer, (size_t) n, &local->value, &error) >=
                        0)
                        local->found = true;
                else
                        diagnostics_add(all->diagnostics,
                                error.place.file ? error.place : place_of(local->path),
                                "local fact '%s': %s", local->name, error.message ?: "not valid TOML");
        } else
                (void) parse_json(local, *buffer, (size_t) n, false, all);
}

/* Whether the file may be run with our rights; says why if not. */
static bool program_is_safe(LocalList *all, int root_fd, const Local *local) {
        _cleanup_close_ int fd = root_open(root_fd, local->path, O_PATH);
        const char *problem = NULL;
        struct stat st;

        if (fd < 0)
                problem = strerror(-fd);
        else if (fstat(fd, &st) < 0)
                problem = strerror(errno);
        else if (!S_ISREG(st.st_mode))
                problem = "must be a regular file";
        else if ((st.st_mode & 0111) == 0)
                problem = "is neither named .json or .toml nor executable; a program needs 'chmod 755'";
        else if (st.st_uid != 0 && st.st_uid != geteuid())
                problem = "is not run: it must belong to root";
        else if ((st.st_mode & 022) != 0)
                problem = "is not run: group and others can write it; 'chmod 755' it";
        else if (!local->trusted)
                problem = "is not run: its directory must belong to root, and not be writable by group and "
                          "others";

        if (problem)
                diagnostics_add(all->diagnostics, place_of(local->path), "local fact '%s': %s", local->name,
                        problem);
        return !problem;
}

typedef struct ProgramList {
        LocalList *all;
        FactProgram *programs;
        Local **locals; /* of each program */
} ProgramList;

static void on_program_done(FactProgram *program, void *userdata) {
        ProgramList *list = userdata;
        Local *local = list->locals[program - list->programs];

        if (program->problem)
                diagnostics_add(list->all->diagnostics, place_of(local->path),
                        "local fact '%s': the program %s", local->name, program->problem);
        else
                (void) parse_json(local, program->output, program->output_size, true, list->all);
        free(TAKE_PTR(program->output));
}

Value local_facts(Arena *arena, int root_fd, const FactsOptions *options, Diagnostics *diagnostics) {
        static const char *const standard[] = { "/etc/agentd/facts.d", "/run/agentd/facts.d",
                "/usr/lib/agentd/facts.d", NULL };
        const char *const *directories = options->directories ?: standard;
        const bool run_programs = !options->no_programs && root_is_host(root_fd);
        LocalList all = { .arena = arena, .diagnostics = diagnostics };
        ProgramList programs = { .all = &all };
        _cleanup_free_ char *buffer = NULL;
        Value table = value_table();
        size_t n_programs = 0;

        for (size_t i = 0; directories[i]; i++)
                scan_directory(&all, root_fd, directories[i], i);
        if (all.n == 0)
                return table;

        qsort(all.list, all.n, sizeof(Local), compare_locals);
        programs.programs = arena_new_array(arena, FactProgram, all.n);
        programs.locals = arena_new_array(arena, Local *, all.n);

        for (uint32_t i = 0; i < all.n; i++) {
                Local *local = &all.list[i], *winner = i > 0 ? local - 1 : NULL;

                if (winner && streq(winner->name, local->name)) {
                        if (winner->directory == local->directory)
                                diagnostics_add(diagnostics, place_of(local->path),
                                        "local fact '%s' is also given by %s, which is used; keep one of "
                                        "them",
                                        local->name, winner->path);
                        continue;
                }
                if (local->kind == LOCAL_MASK)
                        continue;
                if (local->kind != LOCAL_OTHER) {
                        read_data(&all, root_fd, local, &buffer);
                        continue;
                }
                if (run_programs && program_is_safe(&all, root_fd, local)) {
                        programs.programs[n_programs] = (FactProgram){ .path = local->path };
                        programs.locals[n_programs++] = local;
                }
        }

        fact_programs_run(arena, programs.programs, n_programs,
                options->deadline_usec ?: FACTS_DEADLINE_USEC, on_program_done, &programs);

        for (uint32_t i = 0; i < all.n; i++)
                if (all.list[i].found)
                        (void) value_add(arena, &table, all.list[i].name, strlen(all.list[i].name),
                                &all.list[i].value);
        return table;
}
