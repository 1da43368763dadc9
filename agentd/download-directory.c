/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "download-directory.h"
#include "download.h"
#include "paths.h"

int download_directory_open(int root_fd, bool make, int *ret) {
        const PathCreate public = { .mode = 0755 }, private = { .mode = 0700 };
        _cleanup_close_ int parent = -EBADF, path_fd = -EBADF, fd = -EBADF;
        struct stat st;
        int r;

        if (make) {
                r = path_open_directory(root_fd, "/var/lib", 0, &public, &parent);
                if (r < 0)
                        return r;
        }
        r = path_open_directory(root_fd, DOWNLOAD_DIRECTORY, 0, make ? &private : NULL, &path_fd);
        if (r < 0)
                return r;
        fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (make && st.st_uid != geteuid())
                return -EPERM;
        if (make && (st.st_mode & 0077) != 0 && fchmod(fd, 0700) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

/* ---- What goes ------------------------------------------------------------------------------------------------------- */

typedef struct Left {
        char name[DOWNLOAD_NAME_MAX];
        uint64_t size;
        struct timespec time;
} Left;

static int compare_age(const void *a, const void *b) {
        const struct timespec *x = &((const Left *) a)->time, *y = &((const Left *) b)->time;

        if (x->tv_sec != y->tv_sec)
                return x->tv_sec < y->tv_sec ? -1 : 1;
        return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* A part that nobody writes. The directory is locked, so that nobody begins to. */
static bool remove_part(int dir_fd, const char *name) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

        return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(dir_fd, name, 0) == 0;
}

static void remove_oldest(int dir_fd, uint64_t max_bytes, const char *keep_part, Left *parts, size_t n) {
        uint64_t sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += parts[i].size;
        if (sum <= max_bytes || flock(dir_fd, LOCK_EX) < 0)
                return;
        qsort(parts, n, sizeof(*parts), compare_age);
        for (size_t i = 0; i < n && sum > max_bytes; i++)
                if (!streq(parts[i].name, keep_part) && remove_part(dir_fd, parts[i].name))
                        sum -= parts[i].size;
        (void) flock(dir_fd, LOCK_UN);
}

static bool is_too_old(const struct stat *st, usec_t limit) {
        return (int64_t) (now_usec(CLOCK_REALTIME) / USEC_PER_SEC) - (int64_t) st->st_mtime >
               (int64_t) (limit / USEC_PER_SEC);
}

void download_directory_clean(int dir_fd, uint64_t max_bytes, const char *keep, const char *keep_part) {
        _cleanup_close_ int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
        _cleanup_free_ Left *parts = NULL;
        size_t n = 0;

        if (!dir)
                return;
        copy = -EBADF;
        for (struct dirent *entry; (entry = readdir(dir));) {
                bool part = download_name_is(entry->d_name, DOWNLOAD_PART);
                bool signature = download_name_is(entry->d_name, DOWNLOAD_SIGNATURE);
                struct stat st;
                Left *more;

                if (!part && !signature && !download_name_is(entry->d_name, DOWNLOAD_VALIDATOR))
                        continue;
                if (streq(entry->d_name, keep) ||
                        fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (is_too_old(&st, signature ? DOWNLOAD_SIGNATURE_AGE_MAX : DOWNLOAD_AGE_MAX)) {
                        (void) unlinkat(dir_fd, entry->d_name, 0);
                        continue;
                }
                if (!part || !S_ISREG(st.st_mode))
                        continue;
                more = reallocarray(parts, n + 1, sizeof(*parts));
                if (!more)
                        break;
                parts = more;
                parts[n] = (Left){ .size = (uint64_t) st.st_size, .time = st.st_mtim };
                memcpy(parts[n++].name, entry->d_name,
                        strlen(entry->d_name) + 1); /* as long as all of ours */
        }
        (void) closedir(dir);
        remove_oldest(dir_fd, max_bytes, keep_part, parts, n);
}
