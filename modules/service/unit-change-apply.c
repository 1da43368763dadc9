/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "unit-change-internal.h"

/* ---- Directories ----------------------------------------------------------------------------------------------- */

/* Opens a directory below the root, and makes what is missing of it. Return: a descriptor; -errno. */
static int open_made(int root_fd, const char *path) {
        const int flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK;
        char part[PATH_MAX];
        int fd = unit_root_open(root_fd, path, flags), parent;

        if (fd != -ENOENT)
                return fd;
        parent = unit_root_open(root_fd, "/", flags);
        for (const char *p = path; parent >= 0 && *p;) {
                size_t n = 0, size;

                p += strspn(p, "/");
                size = strcspn(p, "/");
                if (size == 0)
                        break;
                n = (size_t) (p - path) + size;
                if (n >= sizeof(part))
                        fd = -ENAMETOOLONG;
                else {
                        memcpy(part, path, n);
                        part[n] = '\0';
                        fd = unit_root_open(root_fd, part, flags);
                }
                if (fd == -ENOENT) {
                        if (mkdirat(parent, part + (p - path), 0755) < 0 && errno != EEXIST)
                                fd = -errno;
                        else {
                                /* The name of what was made, as well as what will be in it. */
                                (void) fsync(parent);
                                fd = unit_root_open(root_fd, part, flags);
                        }
                }
                (void) close(parent);
                parent = fd;
                p += size;
        }
        return parent;
}

static int open_parent(int root_fd, const char *path, bool make, const char **ret_name) {
        const char *slash = strrchr(path, '/');
        char directory[PATH_MAX];
        size_t n = (size_t) (slash - path);

        if (n >= sizeof(directory))
                return -ENAMETOOLONG;
        memcpy(directory, path, n);
        directory[n] = '\0';
        *ret_name = slash + 1;
        return make ? open_made(root_fd, directory)
                    : unit_root_open(root_fd, directory, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
}

/* Directories that have become empty, up to the one of all links. */
static void remove_empty_parents(int root_fd, const char *path, const char *up_to) {
        char directory[PATH_MAX];
        char *slash;
        int n = snprintf(directory, sizeof(directory), "%s", path);

        if (n < 0 || (size_t) n >= sizeof(directory))
                return;
        while ((slash = strrchr(directory, '/'))) {
                const char *name;
                int fd CLOSED = -EBADF;

                *slash = '\0';
                if (!unit_path_below(directory, up_to))
                        return;
                fd = open_parent(root_fd, directory, false, &name);
                if (fd < 0 || unlinkat(fd, name, AT_REMOVEDIR) < 0)
                        return;
                (void) fsync(fd);
        }
}

/* ---- Changes --------------------------------------------------------------------------------------------------- */

/* Whether what is there is what the plan is about. Return: 1; 0: there is nothing; -ESTALE; other -errno. */
static int check_was(int fd, const char *name, const char *was) {
        char says[PATH_MAX];
        ssize_t n = readlinkat(fd, name, says, sizeof(says) - 1);
        struct stat st;

        if (n >= 0) {
                says[n] = '\0';
                return was && strcmp(says, was) == 0 ? 1 : -ESTALE;
        }
        if (errno == ENOENT)
                return 0;
        if (errno != EINVAL)
                return -errno;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        return !was && S_ISREG(st.st_mode) && st.st_size == 0 ? 1 : -ESTALE;
}

/* In one step: whoever looks sees the old link or the new one. */
static int replace_link(int fd, const char *name, const char *target) {
        char temporary[64];
        uint64_t random;
        int r;

        for (unsigned i = 0;; i++) {
                if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                        return -EIO;
                (void) snprintf(
                        temporary, sizeof(temporary), ".#agentd-%016llx", (unsigned long long) random);
                if (symlinkat(target, fd, temporary) == 0)
                        break;
                if (errno != EEXIST || i >= 16)
                        return -errno;
        }
        if (renameat(fd, temporary, fd, name) == 0)
                return 0;
        r = -errno;
        (void) unlinkat(fd, temporary, 0);
        return r;
}

static int apply_link(int root_fd, const UnitChange *change) {
        const char *name;
        int r, fd CLOSED = open_parent(root_fd, change->path, true, &name);

        if (fd < 0)
                return fd;
        if (symlinkat(change->target, fd, name) < 0) {
                if (errno != EEXIST)
                        return -errno;
                r = check_was(fd, name, change->target);
                if (r == 1)
                        return 0;
                r = check_was(fd, name, change->was);
                /* An empty file that masks is never replaced. */
                if (r > 0 && !change->was)
                        r = -ESTALE;
                if (r >= 0)
                        r = replace_link(fd, name, change->target);
                if (r < 0)
                        return r;
        }
        return fsync(fd) < 0 ? -errno : 0;
}

static int apply_unlink(int root_fd, const UnitChange *change) {
        const char *name;
        int r, fd CLOSED = open_parent(root_fd, change->path, false, &name);

        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        r = check_was(fd, name, change->was);
        if (r <= 0)
                return r;
        if (unlinkat(fd, name, 0) < 0)
                return errno == ENOENT ? 0 : -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

int unit_changes_apply(
        UnitFiles *files, const UnitChanges *changes, char reterr[static UNIT_CHANGE_ERROR_MAX]) {
        int root_fd = unit_files_root(files), r = 0;

        *reterr = '\0';
        for (size_t i = 0; r == 0 && i < changes->n; i++) {
                const UnitChange *c = &changes->list[i];

                if (c->done)
                        continue;
                r = c->kind == UNIT_CHANGE_LINK ? apply_link(root_fd, c) : apply_unlink(root_fd, c);
                if (r < 0)
                        (void) snprintf(reterr, UNIT_CHANGE_ERROR_MAX, "Failed to %s '%s': %s",
                                c->kind == UNIT_CHANGE_LINK ? "link" : "remove link", c->path, strerror(-r));
        }
        /* Only now: what was taken from a directory may have been put back. */
        for (size_t i = 0; i < changes->n; i++)
                if (changes->list[i].kind == UNIT_CHANGE_UNLINK)
                        remove_empty_parents(root_fd, changes->list[i].path, changes->directory);
        return r;
}
