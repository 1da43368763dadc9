/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "fact-internal.h"
#include "paths.h"

bool root_is_host(int root_fd) {
        struct stat a, b;

        return fstat(root_fd, &a) >= 0 && stat("/", &b) >= 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int root_open(int root_fd, const char *path, int flags) {
        struct open_how how = { .resolve = RESOLVE_IN_ROOT };
        int fd;

        /* openat2() refuses flags that do not go with O_PATH. */
        flags |= flags & O_PATH ? O_CLOEXEC : O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
        how.flags = (unsigned) flags;
        path += strspn(path, "/");
        fd = path_openat2(root_fd, path, &how);
        /* Missing in kernels before 5.6, and refused by old sandboxes. The host's own root needs no confinement. */
        if ((fd == -ENOSYS || fd == -EPERM) && root_is_host(root_fd)) {
                fd = openat(root_fd, path, flags);
                if (fd < 0)
                        return -errno;
        }
        return fd;
}

ssize_t file_read(int fd, char *buffer, size_t size) {
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;

        n = read_full(fd, buffer, size - 1);
        if (n >= 0)
                buffer[n] = 0;
        return n;
}

ssize_t root_read(int root_fd, const char *path, char *buffer, size_t size) {
        _cleanup_close_ int fd = root_open(root_fd, path, O_RDONLY);

        return fd < 0 ? fd : file_read(fd, buffer, size);
}

bool root_exists(int root_fd, const char *path) {
        _cleanup_close_ int fd = root_open(root_fd, path, O_PATH);

        return fd >= 0;
}
