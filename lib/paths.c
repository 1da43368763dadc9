/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "hash.h"
#include "paths.h"

#define MAKE_TRIES 8 /* how often a name that appears and vanishes is tried again before giving up */
/* Some milliseconds: who renames may have lost its processor in the middle of it, if that is a virtual one. */
#define OPEN_TRIES 10000

int path_openat2(int dir_fd, const char *path, const struct open_how *how) {
        for (unsigned i = 0;; i++) {
                long fd = syscall(SYS_openat2, dir_fd, path, how, sizeof(*how));

                if (fd >= 0)
                        return (int) fd;
                if ((errno != EAGAIN && errno != EINTR) || i >= OPEN_TRIES)
                        return -errno;
        }
}

/* The next part of a path: skips slashes, returns its length, 0 at the end. */
static size_t next_part(const char **path) {
        *path += strspn(*path, "/");
        return strcspn(*path, "/");
}

static bool part_is(const char *part, size_t length, const char *name) {
        return strlen(name) == length && memcmp(part, name, length) == 0;
}

int path_normalise(const char *path, char **ret) {
        _cleanup_free_ char *result = NULL;
        size_t length, n = 0;

        assert(path);
        assert(ret);

        if (path[0] != '/')
                return -EINVAL;
        length = strlen(path);
        if (length >= PATH_MAX)
                return -ENAMETOOLONG;

        result = malloc(length + 1);
        if (!result)
                return -ENOMEM;

        while ((length = next_part(&path)) > 0) {
                if (part_is(path, length, ".."))
                        return -EINVAL;
                if (length > NAME_MAX)
                        return -ENAMETOOLONG;
                if (!part_is(path, length, ".")) {
                        result[n++] = '/';
                        memcpy(result + n, path, length);
                        n += length;
                }
                path += length;
        }
        if (n == 0)
                result[n++] = '/';
        result[n] = '\0';

        *ret = TAKE_PTR(result);
        return 0;
}

/* Refuses what path_normalise() would change; says where the last part begins (1 for "/"). */
static int check_normalised(const char *path, size_t *ret_name) {
        const char *part = path + 1;

        if (path[0] != '/')
                return -EINVAL;

        for (;;) {
                size_t length = (size_t) (strchrnul(part, '/') - part);

                if (length > NAME_MAX)
                        return -ENAMETOOLONG;
                if (part[0] == '.' && (length == 1 || (length == 2 && part[1] == '.')))
                        return -EINVAL;
                if (length == 0 && part != path + 1)
                        return -EINVAL;
                if (!part[length])
                        break;
                if (length == 0)
                        return -EINVAL;
                part += length + 1;
        }
        if (part - path >= PATH_MAX || part - path + (ptrdiff_t) strlen(part) >= PATH_MAX)
                return -ENAMETOOLONG;

        *ret_name = (size_t) (part - path);
        return 0;
}

int path_open_root(const char *path, int *ret_fd) {
        int fd;

        assert(path);
        assert(ret_fd);

        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        *ret_fd = fd;
        return 0;
}

/*
 * The walk part by part. There is no stack of descriptors for "..", which only targets of links have: the walk keeps
 * the names it went through, all of them plain directories, drops the last and starts again at the root. That needs
 * no descriptors, cannot be led outside by moving a directory, and is rare.
 */
typedef struct Walk {
        int root_fd; /* not owned */
        int fd;      /* where it is */
        unsigned flags;
        const PathCreate *create;
        uid_t euid;
        struct stat stat; /* of fd */
        bool safe;        /* only safe entries led here, see the header */
        unsigned n_links;
        const char *refused;     /* why it ended with -ELOOP, with the name of the part */
        char at[PATH_MAX];       /* "" at the root, else "/a/b" */
        char todo[PATH_MAX];     /* what remains */
        char name[NAME_MAX + 1]; /* the part in hand */
} Walk;

static void walk_done(Walk *w) {
        w->fd = safe_close(w->fd);
}

static int walk_to_root(Walk *w) {
        w->fd = safe_close(w->fd);
        w->fd = fcntl(w->root_fd, F_DUPFD_CLOEXEC, 3);
        if (w->fd < 0 || fstat(w->fd, &w->stat) < 0)
                return -errno;
        w->at[0] = '\0';
        w->safe = true;
        return 0;
}

static bool owner_is_safe(const Walk *w, uid_t uid) {
        return uid == 0 || uid == w->euid;
}

/* Whether nobody but root and we could have chosen this entry of the directory that the walk is in. */
static bool entry_is_safe(const Walk *w, const struct stat *entry) {
        if (!w->safe || !owner_is_safe(w, w->stat.st_uid))
                return false;
        if (!(w->stat.st_mode & (S_IWGRP | S_IWOTH)))
                return true;
        return (w->stat.st_mode & S_ISVTX) && owner_is_safe(w, entry->st_uid) &&
               (!S_ISLNK(entry->st_mode) || entry->st_nlink == 1);
}

static int walk_enter(Walk *w, int fd, const struct stat *st) {
        size_t n = strlen(w->at), m = strlen(w->name);

        if (n + 1 + m >= sizeof(w->at)) {
                safe_close(fd);
                return -ENAMETOOLONG;
        }
        w->at[n] = '/';
        memcpy(w->at + n + 1, w->name, m + 1);

        w->safe = entry_is_safe(w, st);
        w->stat = *st;
        safe_close(w->fd);
        w->fd = fd;
        return 0;
}

/* Opens w->name, whatever it is. */
static int walk_open(Walk *w, int *ret_fd, struct stat *ret_stat) {
        _cleanup_close_ int fd = -EBADF;

        /* O_DIRECTORY first: without it the kernel does not trigger an automount point. */
        fd = openat(w->fd, w->name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
                fd = openat(w->fd, w->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, ret_stat) < 0)
                return -errno;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int directory_is_empty(int fd) {
        _Alignas(8) char buffer[1024];
        ssize_t n;

        while ((n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0)
                for (ssize_t i = 0; i < n;) {
                        /* Source: struct linux_dirent64 in getdents(2). */
                        const char *name = buffer + i + 19;
                        uint16_t length;

                        if (!streq(name, ".") && !streq(name, ".."))
                                return 0;
                        memcpy(&length, buffer + i + 16, sizeof(length));
                        i += length;
                }

        return n < 0 ? -errno : 1;
}

/* Gives the directory that w->name was made as its attributes. */
static int walk_dress(Walk *w, int *ret_fd, struct stat *ret_stat) {
        _cleanup_close_ int fd = -EBADF, path_fd = -EBADF;
        const PathCreate *c = w->create;
        struct stat st;
        int r;

        fd = openat(w->fd, w->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -ESTALE : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;

        /* Others who can write here may have put another directory in its place, to have that one's mode widened.
         * To them it is no gain if it is an empty one of ours. */
        if (!entry_is_safe(w, &st)) {
                if (st.st_uid != w->euid)
                        return -ESTALE;
                r = directory_is_empty(fd);
                if (r < 0)
                        return r;
                if (r == 0)
                        return -ESTALE;
        }

        if ((c->uid != (uid_t) -1 && c->uid != st.st_uid) || (c->gid != (gid_t) -1 && c->gid != st.st_gid))
                if (fchown(fd, c->uid, c->gid) < 0)
                        return -errno;
        if ((st.st_mode & 07777) != (c->mode & 07777) && fchmod(fd, c->mode & 07777) < 0)
                return -errno;

        if (!(w->flags & PATH_NO_SYNC_DIRECTORY)) {
                r = path_sync(fd);
                if (r < 0)
                        return r;
                r = path_sync(w->fd);
                if (r < 0)
                        return r;
        }

        path_fd = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (path_fd < 0 || fstat(path_fd, ret_stat) < 0)
                return -errno;

        *ret_fd = TAKE_FD(path_fd);
        return 0;
}

/* The mode to make it with. Whoever is killed before he can dress it leaves it behind for good, so it is the final one. But
 * as long as it has another owner or group than it gets, those of the present group can do no more than all can, and
 * all no more than those of the group to come. */
static mode_t first_mode(const Walk *w) {
        const PathCreate *c = w->create;
        gid_t gid = w->stat.st_mode & S_ISGID ? w->stat.st_gid : getegid();
        mode_t mode = c->mode & 01777, common;

        if ((c->uid == (uid_t) -1 || c->uid == w->euid) && (c->gid == (gid_t) -1 || c->gid == gid))
                return mode;
        common = mode >> 3 & mode & 07;
        return (mode & 01700) | common << 3 | common;
}

/* Return: also -EAGAIN if it is there now. */
static int walk_make(Walk *w, int *ret_fd, struct stat *ret_stat) {
        mode_t mask;
        int r;

        mask = umask(0);
        r = mkdirat(w->fd, w->name, first_mode(w)) < 0 ? -errno : 0;
        (void) umask(mask);
        if (r < 0)
                return r == -EEXIST ? -EAGAIN : r;

        r = walk_dress(w, ret_fd, ret_stat);
        if (r < 0) {
                if (r != -ESTALE)
                        (void) unlinkat(w->fd, w->name, AT_REMOVEDIR);
                return r;
        }

        if (w->create->made) {
                char path[PATH_MAX + NAME_MAX + 2];

                (void) snprintf(path, sizeof(path), "%s/%s", w->at, w->name);
                w->create->made(w->create->userdata, path);
        }
        return 0;
}

static int walk_open_or_make(Walk *w, int *ret_fd, struct stat *ret_stat) {
        for (unsigned i = 0; i < MAKE_TRIES; i++) {
                int r;

                r = walk_open(w, ret_fd, ret_stat);
                if (r != -ENOENT || !w->create)
                        return r;
                r = walk_make(w, ret_fd, ret_stat);
                if (r != -EAGAIN)
                        return r;
        }
        return -ESTALE;
}

static int walk_refuse(Walk *w, const char *why) {
        w->refused = why;
        return -ELOOP;
}

/* Puts the target of a link before what remains. */
static int walk_follow(Walk *w, int fd, const struct stat *st, size_t done) {
        char target[PATH_MAX];
        size_t rest = strlen(w->todo + done);
        struct statfs fs;
        ssize_t n;

        if (w->flags & PATH_NO_SYMLINKS)
                return walk_refuse(w, "where none is allowed");
        if (!entry_is_safe(w, st))
                return walk_refuse(w, "in a directory that others can write");
        if (++w->n_links > PATH_LINKS_MAX)
                return walk_refuse(w, "after too many others");

        /* By descriptor: this is the link whose owner was looked at. */
        n = readlinkat(fd, "", target, sizeof(target));
        if (n < 0)
                return -errno;
        if (n == 0)
                return -ENOENT;
        if ((size_t) n >= sizeof(target) || (size_t) n + 1 + rest >= sizeof(w->todo))
                return -ENAMETOOLONG;

        /* Links of /proc that are what they say ("self", "mounts", "net") are relative. The others have an absolute
         * path, which need not lead to the same place, or "pipe:[1]". */
        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if ((unsigned long) fs.f_type == PROC_SUPER_MAGIC &&
                (target[0] == '/' || memchr(target, ':', (size_t) n)))
                return walk_refuse(w, "that is magic");

        memmove(w->todo + n + 1, w->todo + done, rest + 1);
        memcpy(w->todo, target, (size_t) n);
        w->todo[n] = '/';

        return target[0] == '/' ? walk_to_root(w) : 0;
}

/* Goes to w->at again after parts were dropped from it. All of them were plain directories, and have to be still. */
static int walk_again(Walk *w) {
        char path[PATH_MAX];
        const char *part = path;
        size_t length;
        int r;

        memcpy(path, w->at, strlen(w->at) + 1);
        r = walk_to_root(w);
        if (r < 0)
                return r;

        for (; (length = next_part(&part)) > 0; part += length) {
                struct stat st;
                int fd;

                memcpy(w->name, part, length);
                w->name[length] = '\0';
                r = walk_open(w, &fd, &st);
                if (r < 0)
                        return r;
                if (!S_ISDIR(st.st_mode)) {
                        safe_close(fd);
                        return S_ISLNK(st.st_mode) ? walk_refuse(w, "where a directory was just before")
                                                   : -ENOTDIR;
                }
                r = walk_enter(w, fd, &st);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int walk(
        Walk *w, int root_fd, const char *path, size_t length, unsigned flags, const PathCreate *create) {
        int r;

        w->root_fd = root_fd;
        w->fd = -EBADF;
        w->flags = flags;
        w->create = create;
        w->euid = geteuid();
        w->n_links = 0;
        w->refused = NULL;
        memcpy(w->todo, path, length);
        w->todo[length] = '\0';

        r = walk_to_root(w);
        if (r < 0)
                return r;

        for (;;) {
                const char *part = w->todo;
                bool up = false;
                struct stat st;
                size_t n;
                int fd;

                while ((n = next_part(&part)) > 0) {
                        if (part_is(part, n, "..")) {
                                char *slash = strrchr(w->at, '/');

                                if (slash)
                                        *slash = '\0';
                                up = true;
                        } else if (!part_is(part, n, "."))
                                break;
                        part += n;
                }
                if (up) {
                        r = walk_again(w);
                        if (r < 0)
                                return r;
                }
                if (n == 0)
                        return 0;
                if (n > NAME_MAX)
                        return -ENAMETOOLONG;

                memcpy(w->name, part, n);
                w->name[n] = '\0';
                r = walk_open_or_make(w, &fd, &st);
                if (r < 0)
                        return r;

                n += (size_t) (part - w->todo);
                if (S_ISDIR(st.st_mode)) {
                        r = walk_enter(w, fd, &st);
                        memmove(w->todo, w->todo + n, strlen(w->todo + n) + 1);
                } else {
                        r = S_ISLNK(st.st_mode) ? walk_follow(w, fd, &st, n) : -ENOTDIR;
                        safe_close(fd);
                }
                if (r < 0)
                        return r;
        }
}

/* One call where no link is on the way. Return: also -EAGAIN if the long way must be gone. */
static int open_quickly(int root_fd, const char *path, unsigned flags, bool create, int *ret_fd) {
        struct open_how how = {
                .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
        };
        long fd;

        fd = syscall(SYS_openat2, root_fd, path[1] ? path + 1 : ".", &how, sizeof(how));
        if (fd >= 0) {
                *ret_fd = (int) fd;
                return 0;
        }

        switch (errno) {
        case ELOOP: return flags & PATH_NO_SYMLINKS ? -ELOOP : -EAGAIN;
        case ENOENT: return create ? -EAGAIN : -ENOENT;
        case ENOTDIR:
        case EACCES:
        case EMFILE:
        case ENFILE:
        case ENOMEM: return -errno;
        default: return -EAGAIN; /* ENOSYS before 5.6, EPERM of a filter that does not know it, … */
        }
}

static int open_directory(int root_fd, const char *path, size_t length, unsigned flags,
        const PathCreate *create, int *ret_fd) {
        char head[PATH_MAX];
        Walk w;
        int r;

        memcpy(head, path, length);
        head[length] = '\0';
        r = open_quickly(root_fd, head, flags, create != NULL, ret_fd);
        if (r != -EAGAIN)
                return r;

        r = walk(&w, root_fd, path, length, flags, create);
        if (r >= 0)
                *ret_fd = TAKE_FD(w.fd);
        walk_done(&w);
        return r;
}

int path_open_directory(
        int root_fd, const char *path, unsigned flags, const PathCreate *create, int *ret_fd) {
        size_t name;
        int r;

        assert(path);
        assert(ret_fd);

        r = check_normalised(path, &name);
        if (r < 0)
                return r;
        return open_directory(root_fd, path, strlen(path), flags, create, ret_fd);
}

/* Splits a normalised path; the parent of "/a" has length 1. */
static int split(const char *path, size_t *ret_length, const char **ret_name) {
        size_t name = 0;
        int r;

        r = check_normalised(path, &name);
        if (r < 0)
                return r;
        if (!path[name])
                return -EISDIR;

        *ret_length = name == 1 ? 1 : name - 1;
        *ret_name = path + name;
        return 0;
}

int path_open_parent(int root_fd, const char *path, unsigned flags, const PathCreate *create, int *ret_fd,
        const char **ret_name) {
        const char *name;
        size_t length;
        int r;

        assert(path);
        assert(ret_fd);
        assert(ret_name);

        r = split(path, &length, &name);
        if (r < 0)
                return r;
        r = open_directory(root_fd, path, length, flags, create, ret_fd);
        if (r < 0)
                return r;

        *ret_name = name;
        return 0;
}

int path_explain_refusal(int root_fd, const char *path, unsigned flags, char **ret) {
        size_t name;
        char *text;
        Walk w;
        int r;

        assert(path);
        assert(ret);

        r = check_normalised(path, &name);
        if (r < 0)
                return -ENOENT;
        r = walk(&w, root_fd, path, strlen(path), flags, NULL);
        walk_done(&w);
        if (r != -ELOOP || !w.refused)
                return -ENOENT;
        if (asprintf(&text, "symlink '%s/%s' %s", w.at, w.name, w.refused) < 0)
                return -ENOMEM;

        *ret = text;
        return 0;
}

void path_cache_init(PathCache *cache, int root_fd, unsigned flags) {
        assert(cache);

        *cache = (PathCache){ .root_fd = root_fd, .flags = flags };
        for (size_t i = 0; i < PATH_CACHE_MAX; i++)
                cache->entries[i].fd = -EBADF;
}

void path_cache_clear(PathCache *cache) {
        assert(cache);

        for (size_t i = 0; i < PATH_CACHE_MAX; i++)
                if (cache->entries[i].path) {
                        free(TAKE_PTR(cache->entries[i].path));
                        cache->entries[i].fd = safe_close(cache->entries[i].fd);
                        cache->entries[i].used = 0;
                }
}

void path_cache_done(PathCache *cache) {
        path_cache_clear(cache);
}

int path_cache_parent(
        PathCache *cache, const char *path, const PathCreate *create, int *ret_fd, const char **ret_name) {
        _cleanup_free_ char *copy = NULL;
        const char *name;
        size_t length, oldest = 0;
        uint64_t hash;
        int fd, r;

        assert(cache);
        assert(path);
        assert(ret_fd);
        assert(ret_name);

        r = split(path, &length, &name);
        if (r < 0)
                return r;

        /* Sorted by path, a batch asks for the same parent most of the time. */
        if (cache->entries[cache->last].path && cache->entries[cache->last].length == length &&
                memcmp(cache->entries[cache->last].path, path, length) == 0) {
                cache->entries[cache->last].used = ++cache->clock;
                *ret_fd = cache->entries[cache->last].fd;
                *ret_name = name;
                return 0;
        }

        hash = hash_fnv1a(path, length);
        for (size_t i = 0; i < PATH_CACHE_MAX; i++) {
                if (cache->entries[i].path && cache->entries[i].hash == hash &&
                        cache->entries[i].length == length &&
                        memcmp(cache->entries[i].path, path, length) == 0) {
                        cache->last = i;
                        cache->entries[i].used = ++cache->clock;
                        *ret_fd = cache->entries[i].fd;
                        *ret_name = name;
                        return 0;
                }
                if (cache->entries[i].used < cache->entries[oldest].used)
                        oldest = i;
        }

        copy = strndup(path, length);
        if (!copy)
                return -ENOMEM;
        r = open_directory(cache->root_fd, path, length, cache->flags, create, &fd);
        if (r < 0)
                return r;

        free(cache->entries[oldest].path);
        safe_close(cache->entries[oldest].fd);
        cache->entries[oldest].path = TAKE_PTR(copy);
        cache->entries[oldest].length = length;
        cache->entries[oldest].hash = hash;
        cache->entries[oldest].used = ++cache->clock;
        cache->entries[oldest].fd = fd;
        cache->last = oldest;

        *ret_fd = fd;
        *ret_name = name;
        return 0;
}
