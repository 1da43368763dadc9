/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Removing old contents, in the housekeeper. Others write meanwhile, and it may be killed at any instant. */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "content-internal.h"
#include "log.h"

/* What was written so far ahead of the clock was written with another one. */
#define FUTURE_USEC (24 * 60 * USEC_PER_MINUTE)

typedef struct Found {
        uint8_t hash[CONTENT_HASH_SIZE];
        uint64_t bytes;
        struct timespec mtime;
} Found;

typedef struct Collection {
        int fd; /* content/ */
        usec_t now;
        Found *found;
        size_t n, allocated;
        uint64_t bytes; /* of all that is found */
} Collection;

static void collection_done(Collection *c) {
        safe_close(c->fd);
        free(c->found);
}

static void dirp_close(DIR **dir) {
        if (*dir)
                (void) closedir(*dir);
}

static DIR *open_directory(int fd, const char *name) {
        int opened = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *dir = opened >= 0 ? fdopendir(opened) : NULL;

        if (!dir)
                safe_close(opened);
        return dir;
}

static bool is_old(const Collection *c, const struct timespec *mtime) {
        usec_t t = mtime->tv_sec < 0
                           ? 0
                           : (usec_t) mtime->tv_sec * USEC_PER_SEC + (usec_t) mtime->tv_nsec / NSEC_PER_USEC;

        return t + CONTENT_GRACE_USEC < c->now || t > c->now + FUTURE_USEC;
}

/* What writers that were killed have left. */
static void remove_temporaries(const Collection *c, int fd, const char *prefix) {
        _cleanup_(dirp_close) DIR *dir = open_directory(fd, ".");

        if (!dir)
                return;
        for (const struct dirent *entry; (entry = readdir(dir));) {
                struct stat st;

                if (startswith(entry->d_name, prefix) &&
                        fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_old(c, &st.st_mtim))
                        (void) unlinkat(fd, entry->d_name, 0);
        }
}

static int add(Collection *c, int fd, const char *name) {
        struct stat st;
        Found *found;

        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return 0;
        if (c->n == c->allocated) {
                size_t allocated = MAX(2 * c->allocated, (size_t) 256);

                found = reallocarray(c->found, allocated, sizeof(Found));
                if (!found)
                        return -ENOMEM;
                c->found = found;
                c->allocated = allocated;
        }
        found = &c->found[c->n++];
        /* What was just written has no blocks yet. */
        *found = (Found){ .bytes = ((uint64_t) st.st_size + 4095) & ~UINT64_C(4095), .mtime = st.st_mtim };
        (void) sodium_hex2bin(found->hash, sizeof(found->hash), name, strlen(name), NULL, NULL, NULL);
        c->bytes += found->bytes;
        return 0;
}

static int find_all(Collection *c) {
        for (unsigned i = 0; i < 256; i++) {
                _cleanup_(dirp_close) DIR *dir = NULL;
                char name[3];

                (void) snprintf(name, sizeof(name), "%02x", i);
                dir = open_directory(c->fd, name);
                if (!dir)
                        continue;
                for (const struct dirent *entry; (entry = readdir(dir));)
                        if (content_name_is_valid(entry->d_name) && startswith(entry->d_name, name)) {
                                int r = add(c, dirfd(dir), entry->d_name);

                                if (r < 0)
                                        return r;
                        }
        }
        return 0;
}

static void name_of(const Found *found, char name[static CONTENT_NAME_SIZE]) {
        (void) sodium_bin2hex(name, CONTENT_NAME_SIZE, found->hash, sizeof(found->hash));
}

/*
 * A writer that wants to keep the very content renews its time, and then looks whether it still has its name (content.c). So
 * the name goes first, and then it is looked whether the time is still the old one: if not it is given back.
 */
static void remove_found(Collection *c, Found *found) {
        char name[CONTENT_NAME_SIZE], path[CONTENT_NAME_SIZE + 3], temporary[48];
        uint64_t random;
        struct stat st;

        name_of(found, name);
        content_path(path, name);
        randombytes_buf(&random, sizeof(random));
        (void) snprintf(
                temporary, sizeof(temporary), CONTENT_TEMPORARY "%016llx", (unsigned long long) random);
        c->bytes -= found->bytes;
        found->bytes = 0;
        if (renameat(c->fd, path, c->fd, temporary) < 0) {
                if (errno != ENOENT)
                        log_debug_errno(errno, "Failed to remove content '%s': %m", name);
                return;
        }
        if (fstatat(c->fd, temporary, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                (st.st_mtim.tv_sec != found->mtime.tv_sec || st.st_mtim.tv_nsec != found->mtime.tv_nsec) &&
                renameat2(c->fd, temporary, c->fd, path, RENAME_NOREPLACE) == 0)
                return;
        (void) unlinkat(c->fd, temporary, 0);
}

static int remove_unwanted(Collection *c, ContentIsWanted is_wanted, void *userdata) {
        for (size_t i = 0; i < c->n; i++) {
                char name[CONTENT_NAME_SIZE];
                int r;

                if (!is_old(c, &c->found[i].mtime))
                        continue;
                name_of(&c->found[i], name);
                r = is_wanted(userdata, name);
                if (r < 0)
                        return r;
                if (r == 0)
                        remove_found(c, &c->found[i]);
        }
        return 0;
}

static int compare_age(const void *a, const void *b) {
        const struct timespec *x = &((const Found *) a)->mtime, *y = &((const Found *) b)->mtime;

        if (x->tv_sec != y->tv_sec)
                return x->tv_sec < y->tv_sec ? -1 : 1;
        return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

static void remove_what_is_too_much(Collection *c, uint64_t max_bytes) {
        uint64_t limit = max_bytes;

        if (c->bytes <= limit)
                return;
        /* Once begun a little more goes, so that it is not begun again at once. */
        limit -= limit / 10;
        qsort(c->found, c->n, sizeof(Found), compare_age);
        for (size_t i = 0; i < c->n && c->bytes > limit; i++)
                if (c->found[i].bytes > 0)
                        remove_found(c, &c->found[i]);
}

int content_collect(
        const char *directory, uint64_t max_bytes, usec_t now, ContentIsWanted is_wanted, void *userdata) {
        _cleanup_(collection_done) Collection c = { .fd = -EBADF, .now = now };
        _cleanup_close_ int fd = -EBADF;
        int r;

        assert(directory);
        assert(is_wanted);

        fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        remove_temporaries(&c, fd, "." CONTENT_KEY "-");
        c.fd = openat(fd, CONTENT_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (c.fd < 0)
                return errno == ENOENT ? 0 : -errno;
        remove_temporaries(&c, c.fd, CONTENT_TEMPORARY);

        r = find_all(&c);
        if (r < 0)
                return r;
        r = remove_unwanted(&c, is_wanted, userdata);
        if (r < 0)
                return r;
        remove_what_is_too_much(&c, max_bytes);
        return 0;
}
