/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Which files are roles. A role's name is its file's without .toml, or that of a directory with a main.toml. Of one
 * name in several directories the first counts; a link to /dev/null there masks the others.
 */

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "role.h"

/* Source: DESIGN "Where things live"; precedence from first to last. */
static const char *const conf_directories[] = {
        "/etc/agentd/conf.d",
        "/run/agentd/conf.d",
        "/usr/lib/agentd/conf.d",
};

Role *loader_add_role(Loader *loader, const char *name, const char *path, bool in_root) {
        Role *role = arena_new(&loader->scratch, Role);

        *role = (Role){
                .name = name,
                .path = path,
                .in_root = in_root,
                .table = value_table(),
                .vars = value_table(),
        };
        loader->list = arena_grow(
                &loader->scratch, loader->list, loader->n_roles, &loader->n_roles_allocated, sizeof(Role *));
        return loader->list[loader->n_roles++] = role;
}

static void apply_role(Loader *loader, const char *name, const char *path, bool in_root) {
        loader_add_role(loader, name, path, in_root)->applied = true;
}

bool loader_is_masked(int dir_fd, const char *name) {
        char target[16];
        ssize_t n = readlinkat(dir_fd, name, target, sizeof(target));

        return n == 9 && memcmp(target, "/dev/null", 9) == 0;
}

/* What an entry of a conf.d directory is called as a role, or NULL if it is none. */
static const char *role_name(
        Loader *loader, int dir_fd, const char *entry, const char *directory, const char **ret_path) {
        struct stat st;
        size_t n = strlen(entry);

        if (*entry == '.' || entry[n - 1] == '~')
                return NULL;
        if (n > 5 && endswith(entry, ".toml")) {
                *ret_path = arena_printf(&loader->scratch, "%s/%s", directory, entry);
                return arena_strndup(&loader->scratch, entry, n - 5);
        }

        /* Other directories hold templates and the like of the roles beside them. */
        if (fstatat(dir_fd, entry, &st, 0) < 0 || !S_ISDIR(st.st_mode) ||
                fstatat(dir_fd, arena_printf(&loader->scratch, "%s/main.toml", entry), &st,
                        AT_SYMLINK_NOFOLLOW) < 0)
                return NULL;
        *ret_path = arena_printf(&loader->scratch, "%s/%s/main.toml", directory, entry);
        return arena_strdup(&loader->scratch, entry);
}

DIR *loader_open_directory(
        Loader *loader, const char *directory, bool in_root, bool required, const char *what) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        DIR *dir;

        fd = loader_open(loader, in_root, directory, O_RDONLY | O_DIRECTORY);
        if (fd < 0 || fstat(fd, &st) < 0) {
                if (fd == -ENOENT && !required)
                        loader_remember_file(loader, directory, NULL);
                else
                        diagnostics_add(&loader->diagnostics, (Place){ .file = directory },
                                "the directory of %s cannot be read: %s", what,
                                strerror(fd < 0 ? -fd : errno));
                return NULL;
        }
        loader_remember_file(loader, directory, &st);
        if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX)) {
                diagnostics_add(&loader->diagnostics, (Place){ .file = directory },
                        "anybody can put %s into it; its mode must be like 0755", what);
                return NULL;
        }

        dir = fdopendir(fd);
        if (dir)
                (void) TAKE_FD(fd);
        return dir;
}

static void find_in(Loader *loader, const char *directory, bool in_root, bool required, Map *seen) {
        struct dirent *entry;
        DIR *dir;

        dir = loader_open_directory(loader, directory, in_root, required, "roles");
        if (!dir)
                return;
        while ((entry = readdir(dir))) {
                const char *path, *name;

                name = role_name(loader, dirfd(dir), entry->d_name, directory, &path);
                if (!name)
                        continue;
                if (!utf8_is_valid(name, strlen(name))) {
                        diagnostics_add(&loader->diagnostics, (Place){ .file = path },
                                "the role cannot be used: its name is not UTF-8; rename the file");
                        continue;
                }
                if (map_get(seen, name) != MAP_NOT_FOUND) {
                        /* Of one directory: NAME.toml and NAME/main.toml. */
                        for (uint32_t i = 0; i < loader->n_roles; i++)
                                if (streq(loader->list[i]->name, name) &&
                                        startswith(loader->list[i]->path, directory)) {
                                        const char *other = loader->list[i]->path;
                                        /* In whichever order the directory has them. */
                                        bool after = strcmp(path, other) > 0;

                                        diagnostics_add(&loader->diagnostics,
                                                (Place){ .file = after ? other : path },
                                                "role '%s' is also '%s'; remove one of them", name,
                                                after ? path : other);
                                }
                        continue;
                }
                map_put(seen, &loader->scratch, name, 0);
                if (loader_is_masked(dirfd(dir), entry->d_name))
                        continue;
                apply_role(loader, name, path, in_root);
        }
        (void) closedir(dir);
}

static int compare_roles(const void *a, const void *b) {
        const Role *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

void roles_find(Loader *loader) {
        const LoadOptions *options = loader->options;
        Map seen = {};

        if (options->role_files) {
                for (const char *const *file = options->role_files; *file; file++) {
                        const char *base = strrchr(*file, '/'), *name;

                        if (settings_is_file(*file) || vars_is_file(*file))
                                continue;
                        base = base ? base + 1 : *file;
                        name = endswith(base, ".toml")
                                       ? arena_strndup(&loader->scratch, base, strlen(base) - 5)
                                       : base;
                        if (!utf8_is_valid(name, strlen(name)))
                                diagnostics_add(&loader->diagnostics, (Place){ .file = *file },
                                        "the role cannot be used: its name is not UTF-8; rename the file");
                        apply_role(loader, name, *file, false);
                }
        } else if (options->conf_dir)
                find_in(loader, options->conf_dir, false, true, &seen);
        else
                FOREACH_ELEMENT(directory, conf_directories)
                        find_in(loader, *directory, true, false, &seen);

        if (loader->n_roles > 0)
                qsort(loader->list, loader->n_roles, sizeof(Role *), compare_roles);
}
