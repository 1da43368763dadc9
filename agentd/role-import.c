/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What roles import. A role is found by its name in directories of roles, is there once however often it is imported, and
 * is known by its file: one that conf.d applies by a link and another imports is the same one.
 */

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "role.h"

/* Source: DESIGN "The role language"; precedence from first to last. */
static const char *const role_directories[] = {
        "/etc/agentd/roles",
        "/run/agentd/roles",
        "/var/lib/agentd/bundle/roles", /* signed */
        "/usr/lib/agentd/roles",
};

#define NAMES_MAX 512 /* names that a suggestion is looked for among */

/* ---- Where ----------------------------------------------------------------------------------------------------- */

static void add_directory(Loader *loader, const char *path, bool in_root) {
        RoleDirectory *directory;
        struct stat st;

        for (uint32_t i = 0; i < loader->n_directories; i++)
                if (streq(loader->directories[i].path, path))
                        return;
        loader->directories = arena_grow(&loader->scratch, loader->directories, loader->n_directories,
                &loader->n_directories_allocated, sizeof(RoleDirectory));
        directory = &loader->directories[loader->n_directories++];
        *directory = (RoleDirectory){ .path = path, .in_root = in_root };
        directory->fd = loader_open(loader, in_root, path, O_RDONLY | O_DIRECTORY);
        if (directory->fd == -ENOENT)
                return;
        /* /var/lib/agentd is root's; who only validates does without. */
        if (directory->fd == -EACCES && geteuid() != 0)
                return;
        if (directory->fd < 0) {
                loader_remember_file(loader, path, NULL);
                diagnostics_add(&loader->diagnostics, (Place){ .file = path },
                        "the directory of roles cannot be read: %s", strerror(-directory->fd));
        } else if (fstat(directory->fd, &st) >= 0 && (st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX)) {
                loader_remember_file(loader, path, &st);
                diagnostics_add(&loader->diagnostics, (Place){ .file = path },
                        "anybody can put roles into it; its mode must be like 0755");
                directory->fd = safe_close(directory->fd);
        }
}

/* Of a file that was named: roles/ beside it; in a tree like that of /etc/agentd, roles/ beside its conf.d. */
static const char *directory_beside(Loader *loader, const char *file) {
        const char *slash = strrchr(file, '/'), *base, *directory;

        if (!slash)
                return "roles";
        directory = arena_strndup(&loader->scratch, file, (size_t) (slash - file));
        base = strrchr(directory, '/');
        base = base ? base + 1 : directory;
        if (streq(base, "roles"))
                return directory;
        if (streq(base, "conf.d"))
                return arena_printf(&loader->scratch, "%.*sroles", (int) (base - directory), directory);
        return arena_printf(&loader->scratch, "%s/roles", directory);
}

/* Done when the first import comes up: most hosts may have none. */
static void find_directories(Loader *loader) {
        const LoadOptions *options = loader->options;
        const char *last = NULL;

        if (loader->n_directories > 0)
                return;
        if (options->conf_dir)
                add_directory(loader, arena_printf(&loader->scratch, "%s/roles", options->conf_dir), false);
        for (const char *const *file = options->role_files; file && *file; file++) {
                const char *beside = directory_beside(loader, *file);

                if (!last || !streq(last, beside))
                        add_directory(loader, beside, false);
                last = beside;
        }
        FOREACH_ELEMENT(directory, role_directories)
                add_directory(loader, *directory, true);
}

static const char *path_in(Loader *loader, const RoleDirectory *directory, const char *file) {
        return arena_printf(&loader->scratch, "%s/%s", directory->path, file);
}

/* So that a mask that goes away is noticed. */
static void remember_mask(Loader *loader, const RoleDirectory *directory, const char *path) {
        _cleanup_close_ int fd = loader_open(loader, directory->in_root, path, O_RDONLY);
        struct stat st;

        loader_remember_file(loader, path, fd >= 0 && fstat(fd, &st) >= 0 ? &st : NULL);
}

/* Return: 1: it is there, *ret says where, NULL if it is masked; 0: it is not. */
static int look_in(Loader *loader, const RoleDirectory *directory, const char *name, const char **ret) {
        const char *file = arena_printf(&loader->scratch, "%s.toml", name);
        const char *main_file = arena_printf(&loader->scratch, "%s/main.toml", name);
        const char *path = path_in(loader, directory, file);
        const char *main_path = path_in(loader, directory, main_file);
        bool is_file, is_directory;
        struct stat st;

        is_file = directory->fd >= 0 && fstatat(directory->fd, file, &st, AT_SYMLINK_NOFOLLOW) >= 0;
        is_directory =
                directory->fd >= 0 && fstatat(directory->fd, main_file, &st, AT_SYMLINK_NOFOLLOW) >= 0;
        if (is_file && is_directory)
                diagnostics_add(&loader->diagnostics, (Place){ .file = path },
                        "role '%s' is also '%s'; remove one of them", name, main_path);
        *ret = NULL;
        if (is_file) {
                if (loader_is_masked(directory->fd, file))
                        remember_mask(loader, directory, path);
                else
                        *ret = path;
                return 1;
        }
        loader_remember_file(loader, path, NULL);
        if (is_directory) {
                *ret = main_path;
                return 1;
        }
        if (directory->fd >= 0 && loader_is_masked(directory->fd, name)) {
                remember_mask(loader, directory, path_in(loader, directory, name));
                return 1;
        }
        loader_remember_file(loader, main_path, NULL);
        return 0;
}

/* A role of that name which is there by itself, and which nobody can import; NULL: there is none. */
static const Role *find_applied(const Loader *loader, const char *name) {
        for (uint32_t i = 0; i < loader->n_roles; i++)
                if (loader->list[i]->applied && streq(loader->list[i]->name, name))
                        return loader->list[i];
        return NULL;
}

/* Whether what is called so in a directory of roles is one; *ret: its name. */
static bool is_role_entry(Loader *loader, int dir_fd, const char *entry, const char **ret) {
        if (*entry == '.' || !utf8_is_valid(entry, strlen(entry)))
                return false;
        if (endswith(entry, ".toml")) {
                *ret = arena_strndup(&loader->scratch, entry, strlen(entry) - 5);
                return true;
        }
        *ret = arena_strdup(&loader->scratch, entry);
        return faccessat(dir_fd, arena_printf(&loader->scratch, "%s/main.toml", entry), F_OK, 0) >= 0;
}

static void not_found(Loader *loader, const Value *name) {
        const Role *applied = find_applied(loader, name->text);
        const char *names[NAMES_MAX], *meant = NULL, *places = "", *hint = "";
        uint32_t n = 0;

        for (uint32_t i = 0; i < loader->n_directories; i++) {
                const RoleDirectory *directory = &loader->directories[i];
                int fd = directory->fd < 0 ? -EBADF : fcntl(directory->fd, F_DUPFD_CLOEXEC, 3);
                DIR *dir = fd < 0 ? NULL : fdopendir(fd);
                struct dirent *entry;

                places =
                        arena_printf(&loader->scratch, "%s%s%s", places, i > 0 ? ", " : "", directory->path);
                if (!dir) {
                        safe_close(fd);
                        continue;
                }
                rewinddir(dir);
                while ((entry = readdir(dir)) && n < NAMES_MAX)
                        n += is_role_entry(loader, dirfd(dir), entry->d_name, &names[n]);
                (void) closedir(dir);
        }
        if (!applied)
                meant = suggest(name->text, names, n);
        if (applied)
                hint = arena_printf(&loader->scratch,
                        "; %s is applied by itself, and only what lies in a directory of roles can be "
                        "imported",
                        applied->path);
        else if (meant)
                hint = arena_printf(&loader->scratch, "; did you mean '%s'?", meant);
        diagnostics_add(&loader->diagnostics, name->place,
                "there is no role '%s'%s (looked for %s.toml and %s/main.toml in %s)", name->text, hint,
                name->text, name->text, places);
}

/* Return: 1; 0: it is masked; -ENOENT, which was told. */
static int find_role(Loader *loader, const Value *name, Role **ret) {
        uint32_t known = map_get(&loader->named, name->text);
        const char *path;
        Role *role;

        if (known != MAP_NOT_FOUND) {
                *ret = loader->list[known];
                return 1;
        }
        find_directories(loader);
        for (uint32_t i = 0; i < loader->n_directories; i++) {
                if (look_in(loader, &loader->directories[i], name->text, &path) == 0)
                        continue;
                if (!path)
                        return 0;
                role = loader_add_role(loader, name->text, path, loader->directories[i].in_root);
                role_locate(loader, role);
                known = map_get(&loader->real_map, role->real);
                if (known != MAP_NOT_FOUND)
                        loader->n_roles--;
                else {
                        known = loader->n_roles - 1;
                        map_put(&loader->real_map, &loader->scratch, role->real, known);
                }
                map_put(&loader->named, &loader->scratch, name->text, known);
                *ret = loader->list[known];
                return 1;
        }
        not_found(loader, name);
        return -ENOENT;
}

/* ---- What ------------------------------------------------------------------------------------------------------ */

static bool is_role_name(const Value *name) {
        return name->size > 0 && *name->text != '.' && strlen(name->text) == name->size &&
               !strchr(name->text, '/');
}

static void add_import(Loader *loader, Role *importer, Role *role, Place place, const Value *given) {
        Import *import = arena_new(&loader->scratch, Import);

        *import = (Import){
                .importer = importer,
                .role = role,
                .place = place,
                .given = given,
                .vars = value_table(),
        };
        importer->imports = arena_grow(&loader->scratch, importer->imports, importer->n_imports,
                &importer->n_imports_allocated, sizeof(Import *));
        importer->imports[importer->n_imports++] = import;
        role->importers = arena_grow(&loader->scratch, role->importers, role->n_importers,
                &role->n_importers_allocated, sizeof(Import *));
        role->importers[role->n_importers++] = import;
}

static void read_import(Loader *loader, Role *importer, const Value *item) {
        static const char *const keys[] = { "role", "vars" };
        const Value *name = item, *given = NULL;
        Role *role;
        int r;

        if (item->type == VALUE_TABLE) {
                VALUE_FOREACH_MEMBER(member, item) {
                        const char *meant;

                        if (streq(member->key, "role") || streq(member->key, "vars"))
                                continue;
                        meant = suggest(member->key, keys, ELEMENTSOF(keys));
                        diagnostics_add(&loader->diagnostics, member->place,
                                "unknown key '%s' in an import%s%s%s", member->key,
                                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
                }
                name = value_get(item, "role");
                given = value_get(item, "vars");
                if (!name) {
                        diagnostics_add(&loader->diagnostics, item->place,
                                "an import needs 'role', the name of what is imported");
                        return;
                }
                if (given && !loader_wants(loader, given, VALUE_TABLE, "vars", "a table"))
                        given = NULL;
        }
        if (!loader_wants(loader, name, VALUE_STRING, item == name ? "import" : "role",
                    item == name ? "an array of names and of tables with 'role'" : "a string"))
                return;
        /* Nobody calls a file x.toml.toml. */
        if (!is_role_name(name) || endswith(name->text, ".toml")) {
                diagnostics_add(&loader->diagnostics, name->place,
                        "'%.200s' is no name of a role: that is the file's in roles/, without '.toml'",
                        name->text);
                return;
        }
        r = find_role(loader, name, &role);
        if (r > 0)
                add_import(loader, importer, role, name->place, given);
        importer->is_incomplete = importer->is_incomplete || r < 0;
}

static void read_imports(Loader *loader, Role *role) {
        const Value *imports = value_get(&role->table, "import");

        if (!imports || !loader_wants(loader, imports, VALUE_ARRAY, "import",
                                "an array of roles like [\"base\", { role = \"tls\", vars = { … } }]"))
                return;
        VALUE_FOREACH_ITEM(item, imports)
                read_import(loader, role, item);
}

/* ---- In which order -------------------------------------------------------------------------------------------- */

/* One circle that the role is in or that leads to it, told at the import that closes it. */
static void report_cycle(
        Loader *loader, Role *role, const uint32_t *waiting, uint32_t *seen, uint32_t mark, Import **steps) {
        uint32_t n = 0, first = 0;
        const char *text;

        /* Backwards: each that is left is imported by another that is. */
        while (seen[role->index] == 0) {
                Import *step = NULL;

                seen[role->index] = mark;
                for (uint32_t i = 0; i < role->n_importers && !step; i++)
                        if (waiting[role->importers[i]->importer->index] > 0)
                                step = role->importers[i];
                steps[n++] = step;
                role = step->importer;
        }
        if (seen[role->index] != mark)
                return;
        while (steps[first]->role != role)
                first++;

        /* From the first that was found, which is the nearest to conf.d. */
        {
                uint32_t top = first;

                for (uint32_t i = first; i < n; i++)
                        if (steps[i]->importer->index < steps[top]->importer->index)
                                top = i;
                text = steps[top]->importer->name;
                for (uint32_t i = 0, k = top; i < n - first; i++, k = k == first ? n - 1 : k - 1) {
                        if (i == 50) {
                                text = arena_printf(&loader->scratch, "%s imports …", text);
                                break;
                        }
                        text = arena_printf(&loader->scratch, "%s imports %s", text, steps[k]->role->name);
                }
                diagnostics_add(&loader->diagnostics, steps[top == n - 1 ? first : top + 1]->place,
                        "the roles import each other in a cycle: %s", text);
        }
}

static void order_roles(Loader *loader) {
        uint32_t n = loader->n_roles, n_done = 0, mark = 0;
        uint32_t *waiting = arena_new_array(&loader->scratch, uint32_t, n), *seen;
        Import **steps;

        loader->order = arena_new_array(&loader->scratch, Role *, n);
        for (uint32_t i = 0; i < n; i++) {
                loader->list[i]->index = i;
                waiting[i] = loader->list[i]->n_importers;
                if (waiting[i] == 0)
                        loader->order[n_done++] = loader->list[i];
        }
        for (uint32_t i = 0; i < n_done; i++)
                for (uint32_t k = 0; k < loader->order[i]->n_imports; k++) {
                        Role *role = loader->order[i]->imports[k]->role;

                        if (--waiting[role->index] == 0)
                                loader->order[n_done++] = role;
                }
        if (n_done == n)
                return;

        seen = arena_new_array(&loader->scratch, uint32_t, n);
        steps = arena_new_array(&loader->scratch, Import *, n);
        for (uint32_t i = 0; i < n; i++)
                if (waiting[i] > 0) {
                        report_cycle(loader, loader->list[i], waiting, seen, ++mark, steps);
                        loader->order[n_done++] = loader->list[i];
                }
}

static int compare_roles(const void *a, const void *b) {
        const Role *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name) ?: strcmp((*x)->path, (*y)->path);
}

void roles_read(Loader *loader) {
        for (uint32_t i = 0; i < loader->n_roles; i++) {
                Role *role = loader->list[i];

                role_locate(loader, role);
                if (map_get(&loader->real_map, role->real) == MAP_NOT_FOUND)
                        map_put(&loader->real_map, &loader->scratch, role->real, i);
                if (loader->options->role_files)
                        map_put(&loader->named, &loader->scratch, role->name, i);
        }
        /* The list grows meanwhile. */
        for (uint32_t i = 0; i < loader->n_roles; i++)
                if (role_read(loader, loader->list[i]) >= 0)
                        read_imports(loader, loader->list[i]);
        for (uint32_t i = 0; i < loader->n_directories; i++)
                loader->directories[i].fd = safe_close(loader->directories[i].fd);

        order_roles(loader);
        if (loader->n_roles > 0)
                qsort(loader->list, loader->n_roles, sizeof(Role *), compare_roles);
        for (uint32_t i = 0; i < loader->n_roles; i++)
                loader->list[i]->index = i;
}

uint32_t role_distance(Loader *loader, const Role *from, const Role *to) {
        Role *role = loader->list[from->index];

        if (!role->distances) {
                Role **queue = arena_new_array(&loader->scratch, Role *, loader->n_roles);
                uint32_t n = 0;

                role->distances = arena_new_array(&loader->scratch, uint32_t, loader->n_roles);
                memset(role->distances, 0xff, loader->n_roles * sizeof(uint32_t));
                role->distances[role->index] = 0;
                queue[n++] = role;
                for (uint32_t i = 0; i < n; i++)
                        for (uint32_t k = 0; k < queue[i]->n_imports; k++) {
                                Role *next = queue[i]->imports[k]->role;

                                /* What a role that is off imports is not there by it. */
                                if (queue[i]->off || role->distances[next->index] != UINT32_MAX)
                                        continue;
                                role->distances[next->index] = role->distances[queue[i]->index] + 1;
                                queue[n++] = next;
                        }
        }
        return role->distances[to->index];
}
