/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "archive-internal.h"

/* A descriptor each. What lies deeper is moved up first. */
#define DEPTH_MAX 32

typedef struct Removal {
        int top_fd;
        unsigned n_moved;
        bool again;
} Removal;

/* What is in a directory. Goes on after an error, so that as much as can be is gone. */
static int remove_content(Removal *removal, int fd, unsigned depth) {
        _cleanup_closedir_ DIR *dir = NULL;
        /* No duplicate, which would begin where the last round has ended. */
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
        struct dirent *d;

        dir = copy >= 0 ? fdopendir(copy) : NULL;
        if (!dir) {
                closep(&copy);
                return -errno;
        }
        while (errno = 0, (d = readdir(dir))) {
                _cleanup_close_ int below = -1;
                int r = 0;

                if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
                        continue;
                /* A directory answers EISDIR; root could unlink it on some file systems that we do not meet. */
                if (d->d_type != DT_DIR && unlinkat(fd, d->d_name, 0) == 0)
                        continue;
                if (d->d_type != DT_DIR && errno != EISDIR) {
                        result = errno == ENOENT ? result : -errno;
                        continue;
                }
                if (unlinkat(fd, d->d_name, AT_REMOVEDIR) == 0)
                        continue;
                if (depth >= DEPTH_MAX) {
                        char name[32];

                        (void) snprintf(name, sizeof(name), ".deep-%u", removal->n_moved++);
                        if (renameat(fd, d->d_name, removal->top_fd, name) < 0)
                                result = -errno;
                        else
                                removal->again = true;
                        continue;
                }
                below = open_strict(fd, d->d_name, O_RDONLY | O_DIRECTORY);
                if (below < 0)
                        r = below == -EXDEV ? -EBUSY : below;
                else
                        r = remove_content(removal, below, depth + 1);
                if (r == 0 && unlinkat(fd, d->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                        r = -errno;
                if (r < 0)
                        result = r;
        }
        return errno != 0 && result == 0 ? -errno : result;
}

int remove_tree(int dir_fd, const char *name) {
        _cleanup_close_ int fd = -1;
        Removal removal;
        int r;

        fd = open_strict(dir_fd, name, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd == -EXDEV ? -EBUSY : fd;
        removal = (Removal){ .top_fd = fd };
        do {
                removal.again = false;
                r = remove_content(&removal, fd, 0);
        } while (removal.again && r == 0);
        /* What is moved up in the last round may have been listed in it already. */
        if (r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                r = -errno;
        return r;
}

int remove_left_over(int dir_fd, const char *prefix) {
        _cleanup_closedir_ DIR *dir = NULL;
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
        struct dirent *d;

        dir = fd >= 0 ? fdopendir(fd) : NULL;
        if (!dir) {
                closep(&fd);
                return -errno;
        }
        while ((d = readdir(dir)))
                if (strncmp(d->d_name, prefix, strlen(prefix)) == 0) {
                        int r = remove_tree(dir_fd, d->d_name);

                        if (r < 0)
                                result = r;
                }
        return result;
}
