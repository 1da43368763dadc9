/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "enablement-internal.h"

/* As systemctl has it. */
#define FOLLOW_MAX 64

/* A unit at a path that is not followed further, or a link that leads on. */
typedef enum Found {
        FOUND_FILE,
        FOUND_MASK,
        FOUND_ALIAS,  /* the target is in the search path */
        FOUND_LINKED, /* … outside */
} Found;

static int follow_unit(UnitFiles *files, UnitFile *unit, Found found, unsigned depth);

static const char *last_part(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

/* As a mask is one: an empty file, or a device, which /dev/null is. */
static bool is_null_or_empty(const struct stat *st) {
        return (S_ISREG(st->st_mode) && st->st_size <= 0) || S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
}

static int read_all(int fd, size_t size, char *buffer) {
        size_t n = 0;

        while (n < size) {
                ssize_t k = read(fd, buffer + n, size - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        return (int) n;
}

static int parse_open(UnitFiles *files, UnitFile *unit, int fd, const struct stat *st) {
        const InstallUnit subject = {
                .name = unit->name,
                .root_fd = files->root_fd,
                .owner = &files->owner,
        };
        char small[8192];
        char *buffer = small;
        int r;

        if (!S_ISREG(st->st_mode))
                return S_ISDIR(st->st_mode) ? -EISDIR : -EBADFD;
        if (st->st_size > (off_t) UNIT_FILE_SIZE_MAX)
                return -E2BIG;
        if ((size_t) st->st_size > sizeof(small)) {
                buffer = malloc((size_t) st->st_size);
                if (!buffer)
                        return -ENOMEM;
        }
        r = read_all(fd, (size_t) st->st_size, buffer);
        if (r >= 0)
                r = install_section_parse(&files->pool, &subject, buffer, (size_t) r, &unit->install);
        if (buffer != small)
                free(buffer);
        return r;
}

/* ---- Links ----------------------------------------------------------------------------------------------------- */

/* Whether what a link leads to masks. Return: 1; 0; -errno. */
static int target_is_mask(UnitFiles *files, const char *target) {
        int fd CLOSED = -EBADF;
        struct stat st;
        int r;

        if (strcmp(target, "/dev/null") == 0)
                return 1;
        fd = unit_root_open(files->root_fd, target, O_PATH);
        if (fd == -ENOENT)
                return index_saw(files, -1, target, NULL);
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        r = index_saw(files, -1, target, &st);
        return r < 0 ? r : is_null_or_empty(&st);
}

/*
 * Whether a path is in the search path, and if so, its name there. Mostly this can be told from the text; else it is
 * resolved, but for its last part.
 */
static int classify_target(
        UnitFiles *files, const char *from, const char *says, char path[static PATH_MAX], bool *ret_inside) {
        char full[PATH_MAX];
        const char *slash = strrchr(from, '/');
        int r;

        if (says[0] != '/') {
                size_t n = (size_t) (slash - from) + 1, m = strlen(says);

                if (n + m >= sizeof(full))
                        return -ENAMETOOLONG;
                memcpy(full, from, n);
                memcpy(full + n, says, m + 1);
        } else {
                size_t m = strlen(says);

                if (m >= sizeof(full))
                        return -ENAMETOOLONG;
                memcpy(full, says, m + 1);
        }
        if (unit_paths_find_parent(&files->paths, full) >= 0 || strcmp(full, "/dev/null") == 0)
                memcpy(path, full, strlen(full) + 1);
        else {
                r = unit_root_resolve(files->root_fd, full, false, NULL, NULL, path);
                if (r < 0)
                        return r;
        }
        *ret_inside = unit_paths_contain(&files->paths, path);
        return 0;
}

/* Return: a Found; -errno. */
static int read_target(UnitFiles *files, UnitFile *unit, const char *path, const char *says) {
        char target[PATH_MAX];
        bool inside;
        int r;

        r = classify_target(files, path, says, target, &inside);
        if (r < 0)
                return r;
        if (inside) {
                r = unit_name_alias_check(last_part(path), last_part(target));
                if (r < 0)
                        return r;
        }
        r = target_is_mask(files, target);
        if (r < 0)
                return r;
        unit->target = pool_dup(&files->pool, target);
        if (!unit->target)
                return -ENOMEM;
        return r > 0 ? FOUND_MASK : inside ? FOUND_ALIAS : FOUND_LINKED;
}

/*
 * Reads what is at a path: name in a directory of the search path, or, with directory -1, path below the root.
 * Return: a Found; -ENOENT, …
 */
static int look(UnitFiles *files, UnitFile *unit, int directory, const char *path) {
        const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
        const char *name = last_part(path);
        char says[PATH_MAX];
        int fd CLOSED = -EBADF;
        struct stat st;
        int r;

        if (directory >= 0) {
                /* Cheaper than to run into -ELOOP, and what it says is in the index. */
                fd = openat(files->fds[directory], name, flags);
                if (fd < 0)
                        fd = -errno;
        } else
                fd = unit_root_open_file(files->root_fd, path, O_NOFOLLOW, &st);
        if (fd == -ELOOP) {
                ssize_t n;
                int link CLOSED =
                        directory >= 0 ? openat(files->fds[directory], name, O_PATH | O_NOFOLLOW | O_CLOEXEC)
                                       : unit_root_open(files->root_fd, path, O_PATH | O_NOFOLLOW);

                if (link < 0)
                        return directory >= 0 ? -errno : link;
                n = readlinkat(link, "", says, sizeof(says) - 1);
                if (n < 0)
                        return errno == EINVAL || errno == ENOENT ? -ELOOP : -errno;
                says[n] = '\0';
                if (fstat(link, &st) < 0)
                        return -errno;
                /* A link in the search path is as old as its directory says, which was seen. */
                return read_target(files, unit, path, says);
        }
        /* Nothing to be had of what is no file; a socket cannot even be opened. */
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        r = index_saw(files, directory, directory >= 0 ? name : path, &st);
        if (r < 0)
                return r;
        if (is_null_or_empty(&st))
                return FOUND_MASK;
        r = parse_open(files, unit, fd, &st);
        return r < 0 ? r : FOUND_FILE;
}

/* ---- Drop-ins -------------------------------------------------------------------------------------------------- */

typedef struct Dropin {
        const char *name, *path;
} Dropin;

typedef struct Dropins {
        Dropin list[UNIT_DROPINS_MAX];
        size_t n;
} Dropins;

static int add_dropin(UnitFiles *files, Dropins *dropins, const char *directory, const char *name) {
        size_t size = strlen(name);

        if (size < strlen(".conf") || strcmp(name + size - strlen(".conf"), ".conf") != 0 || name[0] == '.')
                return 0;
        for (size_t i = 0; i < dropins->n; i++)
                if (strcmp(dropins->list[i].name, name) == 0)
                        return 0;
        if (dropins->n == UNIT_DROPINS_MAX)
                return -E2BIG;
        dropins->list[dropins->n] = (Dropin){
                .name = pool_dup(&files->pool, name),
                .path = pool_format(&files->pool, "%s/%s", directory, name),
        };
        if (!dropins->list[dropins->n].name || !dropins->list[dropins->n].path)
                return -ENOMEM;
        dropins->n++;
        return 0;
}

/* One directory of drop-ins, wherever it is: symlinks to such are usual. */
static int list_dropins(UnitFiles *files, Dropins *dropins, const char *directory) {
        int fd = unit_root_open(files->root_fd, directory, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
        struct stat st;
        DIR *dir;
        int r;

        if (fd == -ENOENT || fd == -ENOTDIR)
                return index_saw(files, -1, directory, NULL);
        if (fd < 0)
                return fd;
        dir = fdopendir(fd);
        if (!dir) {
                r = -errno;
                (void) close(fd);
                return r;
        }
        r = fstat(fd, &st) < 0 ? -errno : index_saw(files, -1, directory, &st);
        while (r == 0) {
                const struct dirent *d;

                errno = 0;
                d = readdir(dir);
                if (!d) {
                        r = -errno;
                        break;
                }
                r = add_dropin(files, dropins, directory, d->d_name);
        }
        (void) closedir(dir);
        return r;
}

static int list_dropins_of(UnitFiles *files, Dropins *dropins, const char *name) {
        char directory[UNIT_NAME_SIZE + 2];
        const Entry *e;
        size_t n = strlen(name);

        memcpy(directory, name, n);
        memcpy(directory + n, ".d", 3);
        e = entry_get(files, directory, false);
        for (size_t i = 0; e && i < files->paths.n; i++) {
                const char *path;
                int r;

                if (!(e->present & UINT32_C(1) << i))
                        continue;
                path = pool_format(&files->pool, "%s/%s", files->paths.list[i].path, directory);
                r = path ? list_dropins(files, dropins, path) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int compare_dropins(const void *a, const void *b) {
        return strcmp(((const Dropin *) a)->name, ((const Dropin *) b)->name);
}

static int read_dropin(UnitFiles *files, UnitFile *unit, const char *path) {
        char target[PATH_MAX];
        struct stat st;
        int fd CLOSED = unit_root_open_file(files->root_fd, path, 0, &st);
        int r;

        if (fd < 0) {
                /* A root that has no /dev has masks all the same. */
                r = unit_root_resolve(files->root_fd, path, true, NULL, NULL, target);
                return r == 0 && strcmp(target, "/dev/null") == 0 ? 0 : fd == -ENOENT ? -ESTALE : fd;
        }
        r = index_saw(files, -1, path, &st);
        if (r < 0 || is_null_or_empty(&st))
                return r;
        return parse_open(files, unit, fd, &st);
}

/* Of all directories the first that has a name counts; then they are read in the order of their names. */
static int read_dropins(UnitFiles *files, UnitFile *unit, const char *template) {
        Dropins dropins;
        int r;

        dropins.n = 0;
        r = list_dropins_of(files, &dropins, unit->name);
        if (r == 0 && template)
                r = list_dropins_of(files, &dropins, template);
        if (r == 0 && dropins.n > 1)
                qsort(dropins.list, dropins.n, sizeof(Dropin), compare_dropins);
        for (size_t i = 0; r == 0 && i < dropins.n; i++)
                r = read_dropin(files, unit, dropins.list[i].path);
        return r;
}

/* ---- Units ----------------------------------------------------------------------------------------------------- */

/* In all directories, in their order. Return: a Found; -ENOENT; … */
static int search_name(UnitFiles *files, UnitFile *unit, const char *name) {
        const Entry *e = entry_get(files, name, false);

        for (size_t i = 0; e && i < files->paths.n; i++) {
                const char *path;
                int r;

                if (!(e->present & UINT32_C(1) << i))
                        continue;
                path = pool_format(&files->pool, "%s/%s", files->paths.list[i].path, name);
                if (!path)
                        return -ENOMEM;
                r = look(files, unit, (int) i, path);
                if (r == -ENOENT || r == -ENOTDIR || r == -EACCES)
                        continue;
                if (r < 0)
                        return r;
                unit->found = unit->path = path;
                unit->in_config = (r == FOUND_ALIAS || r == FOUND_LINKED) &&
                                  (files->paths.list[i].flags & UNIT_PATH_CONFIG);
                return r;
        }
        return -ENOENT;
}

static int search(UnitFiles *files, UnitFile *unit) {
        UnitNameKind kind = unit_name_kind(unit->name);
        char template[UNIT_NAME_SIZE];
        bool has_template = kind == UNIT_NAME_INSTANCE;
        int found, r;

        if (kind != UNIT_NAME_PLAIN && !unit_type_may_template(unit_name_type(unit->name)))
                return -EINVAL;
        found = search_name(files, unit, unit->name);
        if (has_template) {
                (void) unit_name_template(unit->name, template);
                if (found == -ENOENT)
                        found = search_name(files, unit, template);
        }
        if (found < 0 || found == FOUND_MASK)
                return found;
        /* Before a link is followed, so that an empty assignment in what it leads to takes away what they say: as systemctl
         * has it. */
        r = read_dropins(files, unit, has_template ? template : NULL);
        return r < 0 ? r : found;
}

static void set_error(UnitFile *unit, int error) {
        unit->error = error;
        unit->mode = UNIT_FILE_MODE_NONE;
        unit->real = NULL;
}

static int load(UnitFiles *files, const char *name, unsigned depth, UnitFile **ret) {
        Entry *e = entry_get(files, name, true);
        UnitFile *unit;
        int r;

        if (!e)
                return -ENOMEM;
        *ret = e->unit;
        if (e->unit)
                return 0;
        unit = pool_alloc(&files->pool, sizeof(UnitFile));
        if (!unit)
                return -ENOMEM;
        unit->name = e->name;
        unit->is_loading = true;
        e->unit = unit;

        r = search(files, unit);
        if (r >= 0)
                r = follow_unit(files, unit, (Found) r, depth);
        if (r < 0)
                set_error(unit, r);
        unit->is_loading = false;
        if (r == -ENOMEM) {
                /* Nothing that is to be remembered. */
                e->unit = NULL;
                return r;
        }
        *ret = unit;
        return 0;
}

/* Where an alias leads to another unit. */
static int follow_alias(UnitFiles *files, UnitFile *unit, const char *name, unsigned depth) {
        UnitFile *other;
        int r;

        r = load(files, name, depth + 1, &other);
        if (r < 0)
                return r;
        unit->leads_to = other;
        if (other->is_loading)
                return -ELOOP;
        if (!other->real)
                /* That it leads nowhere is something else than that it is not there. */
                return other->error == -ENOENT && !other->found ? -ENOLINK : other->error;
        unit->mode = UNIT_FILE_MODE_ALIAS;
        unit->real = other->real;
        return 0;
}

static int follow_unit(UnitFiles *files, UnitFile *unit, Found found, unsigned depth) {
        for (; found == FOUND_ALIAS || found == FOUND_LINKED; depth++) {
                const char *target = unit->target, *name = last_part(target);
                char instance[UNIT_NAME_SIZE], filled[UNIT_NAME_SIZE];
                int r;

                if (depth >= FOLLOW_MAX)
                        return -ELOOP;
                /* The name of a file outside does not matter. */
                if (found == FOUND_ALIAS && strcmp(name, unit->name) != 0) {
                        if (unit_name_kind(unit->name) == UNIT_NAME_INSTANCE &&
                                unit_name_kind(name) == UNIT_NAME_TEMPLATE) {
                                (void) unit_name_instance(unit->name, instance);
                                r = unit_name_with_instance(name, instance, filled);
                                if (r < 0)
                                        return r;
                                name = filled;
                        }
                        if (strcmp(name, unit->name) != 0)
                                return follow_alias(files, unit, name, depth);
                }
                unit->is_linked = unit->is_linked || found == FOUND_LINKED;
                unit->path = target;
                r = look(files, unit, -1, target);
                if (r < 0)
                        return r;
                found = (Found) r;
        }
        unit->mode = found == FOUND_MASK ? UNIT_FILE_MODE_MASKED : UNIT_FILE_MODE_REGULAR;
        unit->real = unit;
        return 0;
}

int unit_load(UnitFiles *files, const char *name, UnitFile **ret) {
        return load(files, name, 0, ret);
}

int unit_load_at(UnitFiles *files, const char *path, UnitFile **ret) {
        UnitFile *unit = pool_alloc(&files->pool, sizeof(UnitFile));
        int r;

        if (!unit)
                return -ENOMEM;
        unit->path = unit->found = pool_dup(&files->pool, path);
        if (!unit->path)
                return -ENOMEM;
        unit->name = last_part(unit->path);
        r = unit_name_kind(unit->name) != UNIT_NAME_PLAIN &&
                            !unit_type_may_template(unit_name_type(unit->name))
                    ? -EINVAL
                    : look(files, unit, -1, unit->path);
        if (r >= 0)
                r = follow_unit(files, unit, (Found) r, 0);
        if (r < 0)
                set_error(unit, r);
        *ret = unit;
        return r == -ENOMEM ? r : 0;
}
