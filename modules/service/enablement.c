/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "enablement-internal.h"

const char *unit_file_state_name(UnitFileState state) {
        static const char *const names[] = {
                [UNIT_FILE_NOT_FOUND] = "not-found",
                [UNIT_FILE_BAD] = "bad",
                [UNIT_FILE_ENABLED] = "enabled",
                [UNIT_FILE_ENABLED_RUNTIME] = "enabled-runtime",
                [UNIT_FILE_LINKED] = "linked",
                [UNIT_FILE_LINKED_RUNTIME] = "linked-runtime",
                [UNIT_FILE_ALIAS] = "alias",
                [UNIT_FILE_MASKED] = "masked",
                [UNIT_FILE_MASKED_RUNTIME] = "masked-runtime",
                [UNIT_FILE_STATIC] = "static",
                [UNIT_FILE_INDIRECT] = "indirect",
                [UNIT_FILE_DISABLED] = "disabled",
                [UNIT_FILE_GENERATED] = "generated",
                [UNIT_FILE_TRANSIENT] = "transient",
        };

        return names[state];
}

bool unit_file_has_rules(const UnitFile *unit) {
        return unit->install.wanted_by.n + unit->install.required_by.n + unit->install.aliases.n > 0;
}

/* ---- States ---------------------------------------------------------------------------------------------------- */

/* The unit by its name, or one that enabling it would give it. */
static bool is_known_name(const UnitFile *unit, const char *name) {
        char instance[UNIT_NAME_SIZE];

        if (strcmp(name, unit->name) == 0)
                return true;
        for (size_t i = 0; i < unit->install.aliases.n; i++)
                if (strcmp(unit->install.aliases.list[i], name) == 0)
                        return true;
        return unit->install.default_instance && unit_name_kind(unit->name) == UNIT_NAME_TEMPLATE &&
               unit_name_with_instance(unit->name, unit->install.default_instance, instance) == 0 &&
               strcmp(instance, name) == 0;
}

static uint32_t wanted_as(UnitFiles *files, const char *name) {
        const Entry *e = entry_get(files, name, false);

        return e ? e->wanted : 0;
}

/* In which directories a link in *.wants/ or *.requires/ means the unit. */
static uint32_t wanted_in(UnitFiles *files, const UnitFile *unit, const Entry *entry, bool known_names) {
        uint32_t mask = entry->wanted;
        char name[UNIT_NAME_SIZE];

        if (unit_name_kind(unit->name) != UNIT_NAME_TEMPLATE || !entry->instances)
                return mask;
        if (!known_names)
                return mask | entry->instances;
        if (unit->install.default_instance &&
                unit_name_with_instance(unit->name, unit->install.default_instance, name) == 0)
                mask |= wanted_as(files, name);
        for (size_t i = 0; i < unit->install.aliases.n; i++)
                if (unit_name_template(unit->install.aliases.list[i], name) == 0 &&
                        strcmp(name, unit->name) == 0)
                        mask |= wanted_as(files, unit->install.aliases.list[i]);
        return mask;
}

typedef struct TopLinks {
        bool other; /* a link to the unit, by a name that counts */
        bool same;  /* a link of the unit's name to a file of this name: it is linked */
} TopLinks;

/*
 * Links directly in a directory. below: the directory comes after that of the unit, where its own name means nothing
 * any more.
 */
static TopLinks top_links(
        const UnitFile *unit, const Entry *entry, unsigned directory, bool known_names, bool below) {
        TopLinks found = {};

        for (const TopLink *l = entry->to; l; l = l->next_to) {
                if (l->directory != directory)
                        continue;
                if (!below && l->own == entry)
                        found.same = true;
                else if (!known_names || is_known_name(unit, l->own->name))
                        found.other = true;
        }
        for (const TopLink *l = entry->own; l && !below; l = l->next_own)
                if (l->directory == directory && l->to != entry)
                        found.other = true;
        return found;
}

/*
 * Whether links enable the unit. known_names: only those which enabling would make.
 * Return: 1 and the state; 0.
 */
static int find_links(UnitFiles *files, const UnitFile *unit, bool known_names, UnitFileState *ret) {
        const Entry *entry = entry_get(files, unit->name, false);
        bool runtime = false, anywhere = false, same_config = false, same_runtime = false, below = false;
        uint32_t wanted;

        if (!entry)
                return 0;
        wanted = wanted_in(files, unit, entry, known_names);
        for (unsigned i = 0; i < files->paths.n; i++) {
                const UnitPath *path = &files->paths.list[i];
                TopLinks top = {};

                if (wanted & UINT32_C(1) << i)
                        top.other = true;
                else if (entry->to || entry->own)
                        top = top_links(unit, entry, i, known_names, below);
                if (top.other) {
                        if (path->path == files->paths.persistent || (path->flags & UNIT_PATH_GLOBAL)) {
                                *ret = UNIT_FILE_ENABLED;
                                return 1;
                        }
                        if (path->flags & UNIT_PATH_RUNTIME)
                                runtime = true;
                        else
                                anywhere = true;
                } else if (top.same) {
                        if (path->path == files->paths.persistent)
                                same_config = true;
                        else if (path->flags & UNIT_PATH_RUNTIME)
                                same_runtime = true;
                }
                if (unit_path_below(unit->path, path->path))
                        below = true;
        }

        if (runtime)
                *ret = UNIT_FILE_ENABLED_RUNTIME;
        else if (anywhere && unit_name_kind(unit->name) == UNIT_NAME_INSTANCE)
                /* A package that brings an instance means it; another name is only a name. */
                *ret = UNIT_FILE_STATIC;
        else if (same_config)
                *ret = UNIT_FILE_LINKED;
        else if (same_runtime)
                *ret = UNIT_FILE_LINKED_RUNTIME;
        else
                return 0;
        return 1;
}

static UnitFileState state_of(UnitFiles *files, const UnitFile *asked) {
        const UnitFile *unit = asked->real;
        const char *slash;
        UnitFileState state;
        int parent;

        if (!unit)
                return asked->error == -ENOENT ? UNIT_FILE_NOT_FOUND : UNIT_FILE_BAD;
        parent = unit_paths_find_parent(&files->paths, unit->path);
        if (unit->mode == UNIT_FILE_MODE_MASKED)
                return unit_path_below(unit->path, "/run") ||
                                       (parent >= 0 && (files->paths.list[parent].flags & UNIT_PATH_RUNTIME))
                               ? UNIT_FILE_MASKED_RUNTIME
                               : UNIT_FILE_MASKED;

        slash = strrchr(unit->path, '/');
        if (strcmp(asked->name, slash + 1) != 0 && unit_name_kind(unit->name) != UNIT_NAME_INSTANCE)
                return UNIT_FILE_ALIAS;
        if (parent >= 0 && (files->paths.list[parent].flags & UNIT_PATH_GENERATOR))
                return UNIT_FILE_GENERATED;
        if (parent >= 0 && (files->paths.list[parent].flags & UNIT_PATH_TRANSIENT))
                return UNIT_FILE_TRANSIENT;

        if (find_links(files, unit, true, &state) > 0)
                return state;
        /* Something else than enabling it has made links: it may be in use. */
        if (find_links(files, unit, false, &state) > 0)
                return UNIT_FILE_INDIRECT;
        if (unit_file_has_rules(unit))
                return UNIT_FILE_DISABLED;
        return unit->install.also.n > 0 ? UNIT_FILE_INDIRECT : UNIT_FILE_STATIC;
}

int unit_files_states(UnitFiles *files, const char *const *names, size_t n, UnitFileState *ret) {
        for (size_t i = 0; i < n; i++) {
                const UnitFile *unit;
                int r = unit_files_find(files, names[i], &unit);

                if (r < 0 && r != -EINVAL)
                        return r;
                ret[i] = r < 0 ? UNIT_FILE_BAD : state_of(files, unit);
        }
        return 0;
}

/* ---- The object ------------------------------------------------------------------------------------------------ */

int unit_files_find(UnitFiles *files, const char *name, const UnitFile **ret) {
        UnitFile *unit;
        int r;

        if (unit_name_kind(name) == UNIT_NAME_INVALID)
                return -EINVAL;
        if (!files->is_read)
                return -ESTALE;
        if (files->n_entries >= UNIT_FILES_ENTRIES_MAX)
                return -E2BIG;
        r = unit_load(files, name, &unit);
        if (r < 0)
                return r;
        *ret = unit;
        return 0;
}

int unit_files_find_at(UnitFiles *files, const char *path, const UnitFile **ret) {
        const char *slash = strrchr(path, '/');
        UnitFile *unit;
        int r;

        if (*path != '/' || unit_name_kind(slash + 1) == UNIT_NAME_INVALID)
                return -EINVAL;
        if (unit_paths_find_parent(&files->paths, path) >= 0)
                return unit_files_find(files, slash + 1, ret);
        if (!files->is_read)
                return -ESTALE;
        r = unit_load_at(files, path, &unit);
        if (r < 0)
                return r;
        *ret = unit;
        return 0;
}

int unit_files_list(UnitFiles *files, Pool *pool, Names *ret) {
        for (size_t i = 0; i < files->n_buckets; i++)
                for (const Entry *e = files->table[i]; e; e = e->next) {
                        const char *name;

                        if (!e->present || unit_name_kind(e->name) == UNIT_NAME_INVALID)
                                continue;
                        name = pool_dup(pool, e->name);
                        if (!name || names_add(pool, ret, name) < 0)
                                return -ENOMEM;
                }
        return 0;
}

const UnitPaths *unit_files_paths(const UnitFiles *files) {
        return &files->paths;
}

int unit_files_root(const UnitFiles *files) {
        return files->root_fd;
}

const UnitOwner *unit_files_owner(const UnitFiles *files) {
        return &files->owner;
}

UnitFiles *unit_files_free(UnitFiles *files) {
        if (!files)
                return NULL;
        index_clear(files);
        unit_paths_done(&files->paths);
        free(files);
        return NULL;
}

int unit_files_new(int root_fd, const UnitOwner *owner, UnitFiles **ret) {
        UnitFiles *files = calloc(1, sizeof(UnitFiles));
        int r;

        if (!files)
                return -ENOMEM;
        /* Early in the boot there may be no numbers yet, and no user either. */
        if (getrandom(&files->seed, sizeof(files->seed), GRND_NONBLOCK) < 0)
                files->seed = 2166136261u;
        files->root_fd = root_fd;
        files->owner = (UnitOwner){
                .scope = owner->scope,
                .user = owner->user,
                .group = owner->group,
                .uid = owner->uid,
                .gid = owner->gid,
        };
        for (size_t i = 0; i < UNIT_PATHS_MAX; i++)
                files->fds[i] = -EBADF;
        r = unit_paths_init(&files->paths, root_fd, owner);
        if (r == 0)
                r = index_read(files);
        if (r < 0) {
                (void) unit_files_free(files);
                return r;
        }
        *ret = files;
        return 0;
}

int unit_files_refresh(UnitFiles *files) {
        int r;

        if (index_is_fresh(files))
                return 0;
        r = index_read(files);
        return r < 0 ? r : 1;
}
