/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The half of paths.h that works on one name in a directory; paths.c has the walk that leads there. */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>
#include <sys/sendfile.h>

#include "hash.h"
#include "paths.h"

#define TEMPORARY_TRIES \
        8 /* how often the temporary's name is cleared before giving up on who keeps taking it */
#define BLOCK_SIZE KIB(64)
#define COPY_CHUNK MIB(256)

/* A single name that the functions on one directory entry accept. */
static int check_name(const char *name) {
        if (name[0] == '\0' || streq(name, ".") || streq(name, "..") || strchr(name, '/'))
                return -EINVAL;
        return strlen(name) > NAME_MAX ? -ENAMETOOLONG : 0;
}

int path_sync(int dir_fd) {
        _cleanup_close_ int fd = -EBADF;

        /* fsync() refuses O_PATH. */
        fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fsync(fd) < 0 && errno != EINVAL && errno != EOPNOTSUPP)
                return -errno;
        return 0;
}

static void temporary_name(const char *name, char ret[static PATH_TEMPORARY_SIZE]) {
        (void) snprintf(ret, PATH_TEMPORARY_SIZE, ".agentd-%016" PRIx64, hash_fnv1a(name, strlen(name)));
}

static void random_name(char ret[static PATH_TEMPORARY_SIZE]) {
        uint64_t number = 0;

        (void) getrandom(&number, sizeof(number), 0);
        (void) snprintf(ret, PATH_TEMPORARY_SIZE, ".agentd-%016" PRIx64, number);
}

static int unlink_any(int dir_fd, const char *name) {
        if (unlinkat(dir_fd, name, 0) == 0)
                return 0;
        /* Linux says EISDIR for a directory, POSIX EPERM, which also an immutable file gives. */
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
                return 0;
        return errno == ENOTDIR ? -EPERM : -errno;
}

/* Makes room for a temporary: removes a stale one, or, if somebody keeps the name occupied, takes another name, of which
 * nothing is known after a kill. */
static int make_room(int dir_fd, char temporary[static PATH_TEMPORARY_SIZE]) {
        int r;

        r = unlink_any(dir_fd, temporary);
        if (r == -ENOTEMPTY || r == -EPERM || r == -EACCES || r == -EBUSY) {
                random_name(temporary);
                return 0;
        }
        return r == -ENOENT ? 0 : r;
}

void path_replace_abort(PathReplacement *p) {
        int saved = errno;

        assert(p);

        if (p->temporary[0]) {
                (void) unlinkat(p->dir_fd, p->temporary, 0);
                p->temporary[0] = '\0';
                p->fd = safe_close(p->fd);
                p->dir_fd = safe_close(p->dir_fd);
                if (p->error == 0)
                        p->error = -ECANCELED;
        }
        errno = saved;
}

static int replace_fail(PathReplacement *p, int error) {
        p->error = error;
        path_replace_abort(p);
        return error;
}

int path_replace_begin(PathReplacement *p, int dir_fd, const char *name) {
        _cleanup_close_ int fd = -EBADF, dup_fd = -EBADF;
        char temporary[PATH_TEMPORARY_SIZE];
        int r;

        assert(p);
        assert(name);

        *p = (PathReplacement){ .fd = -EBADF, .dir_fd = -EBADF, .error = -EBADF };
        r = check_name(name);
        if (r < 0)
                return p->error = r;
        temporary_name(name, temporary);

        dup_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
        if (dup_fd < 0)
                return p->error = -errno;

        for (unsigned i = 0;; i++) {
                fd = openat(dup_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
                if (fd >= 0)
                        break;
                if (errno != EEXIST || i >= TEMPORARY_TRIES)
                        return p->error = -errno;
                r = make_room(dup_fd, temporary);
                if (r < 0)
                        return p->error = r;
        }

        p->fd = TAKE_FD(fd);
        p->dir_fd = TAKE_FD(dup_fd);
        p->error = 0;
        memcpy(p->temporary, temporary, sizeof(temporary));
        memcpy(p->name, name, strlen(name) + 1);
        return 0;
}

int path_replace_write(PathReplacement *p, const void *data, size_t size_bytes) {
        int r;

        assert(p);
        assert(data || size_bytes == 0);

        if (p->error < 0)
                return p->error;
        r = write_full(p->fd, data, size_bytes);
        return r < 0 ? replace_fail(p, r) : 0;
}

/* Return: bytes, 0 at the end of the file, -errno. */
static ssize_t copy_block(int to_fd, int from_fd, size_t wanted, char *buffer) {
        ssize_t n;
        int r;

        n = read_full(from_fd, buffer, MIN(wanted, BLOCK_SIZE));
        if (n <= 0)
                return n;
        r = write_full(to_fd, buffer, (size_t) n);
        return r < 0 ? r : n;
}

int path_replace_copy(PathReplacement *p, int source_fd, uint64_t limit_bytes, uint64_t *ret_bytes) {
        enum { SHARE, SEND, READ } way = SHARE;
        _cleanup_free_ char *buffer = NULL;
        uint64_t total = 0;

        assert(p);

        if (p->error < 0)
                return p->error;

        for (;;) {
                /* One byte beyond the limit tells a file that fits from one that does not. */
                size_t wanted = (size_t) MIN(limit_bytes - total, (uint64_t) COPY_CHUNK - 1) + 1;
                ssize_t n;

                if (way == READ) {
                        if (!buffer) {
                                buffer = malloc(BLOCK_SIZE);
                                if (!buffer)
                                        return replace_fail(p, -ENOMEM);
                        }
                        n = copy_block(p->fd, source_fd, wanted, buffer);
                        if (n < 0)
                                return replace_fail(p, (int) n);
                        if (n == 0)
                                break;
                } else {
                        n = way == SHARE ? copy_file_range(source_fd, NULL, p->fd, NULL, wanted, 0)
                                         : sendfile(p->fd, source_fd, NULL, wanted);
                        if (n < 0 && errno == EINTR)
                                continue;
                        if (n < 0) {
                                switch (errno) {
                                case EXDEV: /* before 5.3, and some file systems still */
                                case EINVAL:
                                case ENOSYS:
                                case EOPNOTSUPP:
                                case EPERM:
                                case EOVERFLOW: way = way == SHARE ? SEND : READ; continue;
                                default: return replace_fail(p, -errno);
                                }
                        }
                        /* Kernels before 5.19 say 0 for files of /proc: believe only read(). */
                        if (n == 0)
                                way = READ;
                }

                total += (uint64_t) n;
                if (total > limit_bytes)
                        return replace_fail(p, -EFBIG);
        }

        if (ret_bytes)
                *ret_bytes = total;
        return 0;
}

int path_replace_commit(PathReplacement *p, uid_t uid, gid_t gid, mode_t mode, unsigned flags) {
        struct stat st, named;
        int r = 0;

        assert(p);

        if (p->error < 0)
                return p->error;

        if (fstat(p->fd, &st) < 0)
                return replace_fail(p, -errno);
        if ((uid != (uid_t) -1 && uid != st.st_uid) || (gid != (gid_t) -1 && gid != st.st_gid))
                if (fchown(p->fd, uid, gid) < 0)
                        return replace_fail(p, -errno);
        if ((mode & 07777) != (st.st_mode & 07777) && fchmod(p->fd, mode & 07777) < 0)
                return replace_fail(p, -errno);
        if (!(flags & PATH_NO_SYNC_FILE) && fsync(p->fd) < 0)
                return replace_fail(p, -errno);

        /* Another process at the same target would have removed our temporary as stale, and the name now be that of
         * its half-written one. Callers must not do that; this keeps it from going unnoticed. */
        if (fstatat(p->dir_fd, p->temporary, &named, AT_SYMLINK_NOFOLLOW) < 0)
                return replace_fail(p, errno == ENOENT ? -ESTALE : -errno);
        if (named.st_ino != st.st_ino || named.st_dev != st.st_dev) {
                p->temporary[0] = '\0'; /* not ours to remove */
                p->fd = safe_close(p->fd);
                p->dir_fd = safe_close(p->dir_fd);
                return p->error = -ESTALE;
        }

        if (renameat(p->dir_fd, p->temporary, p->dir_fd, p->name) < 0)
                return replace_fail(p, -errno);
        p->temporary[0] = '\0';

        if (!(flags & PATH_NO_SYNC_DIRECTORY))
                r = path_sync(p->dir_fd);
        p->fd = safe_close(p->fd);
        p->dir_fd = safe_close(p->dir_fd);
        p->error = r < 0 ? r : -EBADF;
        return r;
}

/* Gives the link that was made as temporary its owner: by descriptor, so that no one has another file chowned. */
static int dress_symlink(int dir_fd, const char *temporary, const char *target, uid_t uid, gid_t gid) {
        _cleanup_close_ int fd = -EBADF;
        char found[PATH_MAX];
        struct stat st;
        ssize_t n;

        fd = openat(dir_fd, temporary, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ESTALE : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISLNK(st.st_mode) || st.st_nlink != 1)
                return -ESTALE;
        n = readlinkat(fd, "", found, sizeof(found));
        if (n < 0)
                return -errno;
        if ((size_t) n != strlen(target) || memcmp(found, target, (size_t) n) != 0)
                return -ESTALE;

        if ((uid != (uid_t) -1 && uid != st.st_uid) || (gid != (gid_t) -1 && gid != st.st_gid))
                if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
                        return -errno;
        return 0;
}

int path_make_symlink(
        int dir_fd, const char *name, const char *target, uid_t uid, gid_t gid, unsigned flags) {
        char temporary[PATH_TEMPORARY_SIZE];
        int r;

        assert(name);
        assert(target);

        r = check_name(name);
        if (r < 0)
                return r;
        temporary_name(name, temporary);

        for (unsigned i = 0; symlinkat(target, dir_fd, temporary) < 0; i++) {
                if (errno != EEXIST || i >= TEMPORARY_TRIES)
                        return -errno;
                r = make_room(dir_fd, temporary);
                if (r < 0)
                        return r;
        }

        r = dress_symlink(dir_fd, temporary, target, uid, gid);
        if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
                r = -errno;
        if (r < 0) {
                if (r != -ESTALE)
                        (void) unlinkat(dir_fd, temporary, 0);
                return r;
        }

        return flags & PATH_NO_SYNC_DIRECTORY ? 0 : path_sync(dir_fd);
}

int path_remove(int dir_fd, const char *name, unsigned flags) {
        int r;

        assert(name);

        r = check_name(name);
        if (r < 0)
                return r;
        r = unlink_any(dir_fd, name);
        if (r < 0)
                return r;
        return flags & PATH_NO_SYNC_DIRECTORY ? 0 : path_sync(dir_fd);
}

static int refuse_irregular(mode_t mode) {
        switch (mode & S_IFMT) {
        case S_IFREG: return 0;
        case S_IFDIR: return -EISDIR;
        case S_IFLNK: return -ELOOP;
        default: return -ENXIO;
        }
}

int path_open_file(int dir_fd, const char *name, int *ret_fd, struct stat *ret_stat) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        assert(name);
        assert(ret_fd);

        r = check_name(name);
        if (r < 0)
                return r;

        /* Looked at first, since opening alone can act: a watchdog starts, a tape rewinds. */
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        r = refuse_irregular(st.st_mode);
        if (r < 0)
                return r;

        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        r = refuse_irregular(st.st_mode);
        if (r < 0)
                return r;

        if (ret_stat)
                *ret_stat = st;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int path_read_file(int dir_fd, const char *name, size_t limit_bytes, char **ret, size_t *ret_size,
        struct stat *ret_stat) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *data = NULL;
        size_t allocated, size = 0;
        struct stat st;
        int r;

        assert(ret);

        r = path_open_file(dir_fd, name, &fd, &st);
        if (r < 0)
                return r;
        if ((uint64_t) st.st_size > limit_bytes)
                return -EFBIG;

        /* One byte for the NUL, one to see the end of the file. What is in /proc has no size. */
        allocated = (st.st_size > 0 ? (size_t) st.st_size : KIB(4) - 2) + 2;
        for (;;) {
                ssize_t n;
                char *grown;

                grown = realloc(data, allocated);
                if (!grown)
                        return -ENOMEM;
                data = grown;

                n = read_full(fd, data + size, allocated - 1 - size);
                if (n < 0)
                        return (int) n;
                size += (size_t) n;
                if (size > limit_bytes)
                        return -EFBIG;
                if (size < allocated - 1)
                        break;
                allocated *= 2;
        }
        data[size] = '\0';

        *ret = TAKE_PTR(data);
        if (ret_size)
                *ret_size = size;
        if (ret_stat)
                *ret_stat = st;
        return 0;
}

static ssize_t pread_full(int fd, char *buffer, size_t size, off_t offset) {
        size_t done = 0;

        while (done < size) {
                ssize_t n = pread(fd, buffer + done, size - done, offset + (off_t) done);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                done += (size_t) n;
        }
        return (ssize_t) done;
}

int path_compare_file(int fd, const void *content, size_t size_bytes) {
        char block[BLOCK_SIZE];
        size_t done = 0;

        assert(content || size_bytes == 0);

        for (;;) {
                size_t rest = size_bytes - done;
                /* Past the last byte one more is asked for, which must not be there. */
                size_t wanted = MIN(rest + 1, sizeof(block));
                ssize_t n;

                n = pread_full(fd, block, wanted, (off_t) done);
                if (n < 0)
                        return (int) n;
                if ((size_t) n > rest || memcmp(block, (const char *) content + done, (size_t) n) != 0)
                        return 0;
                done += (size_t) n;
                if ((size_t) n < wanted)
                        return done == size_bytes;
        }
}
