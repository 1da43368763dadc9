/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "enablement-internal.h"

/* Clocks of file systems go by ticks, of 10 ms at most; twice that. */
#define YOUNG_NSEC 20000000

/* ---- Entries --------------------------------------------------------------------------------------------------- */

/* FNV-1a, as names are short. Those of a user's directories could be such as all have the same hash: nobody knows where it begins. */
static uint32_t hash_name(const UnitFiles *files, const char *name) {
        uint32_t hash = files->seed;

        for (; *name; name++)
                hash = (hash ^ (unsigned char) *name) * 16777619u;
        return hash;
}

static int grow(UnitFiles *files) {
        size_t n = files->n_buckets > 0 ? 4 * files->n_buckets : 2048;
        Entry **table = pool_alloc(&files->pool, n * sizeof(Entry *)), *next;

        if (!table)
                return -ENOMEM;
        for (size_t i = 0; i < files->n_buckets; i++)
                for (Entry *e = files->table[i]; e; e = next) {
                        next = e->next;
                        e->next = table[e->hash & (n - 1)];
                        table[e->hash & (n - 1)] = e;
                }
        files->table = table;
        files->n_buckets = n;
        return 0;
}

Entry *entry_get(UnitFiles *files, const char *name, bool make) {
        uint32_t hash = hash_name(files, name);
        size_t size;
        Entry *e;

        if (files->n_buckets > 0)
                for (e = files->table[hash & (files->n_buckets - 1)]; e; e = e->next)
                        if (e->hash == hash && strcmp(e->name, name) == 0)
                                return e;
        if (!make || (files->n_entries >= files->n_buckets && grow(files) < 0))
                return NULL;
        size = strlen(name) + 1;
        e = pool_alloc(&files->pool, sizeof(Entry) + size);
        if (!e)
                return NULL;
        e->hash = hash;
        memcpy(e->name, name, size);
        e->next = files->table[hash & (files->n_buckets - 1)];
        files->table[hash & (files->n_buckets - 1)] = e;
        files->n_entries++;
        return e;
}

/* ---- What was seen --------------------------------------------------------------------------------------------- */

static Identity identify(const struct stat *st) {
        return (Identity){
                .device = st->st_dev,
                .inode = st->st_ino,
                .size = (uint64_t) st->st_size,
                .mtime = st->st_mtim,
                .ctime = st->st_ctim,
        };
}

static bool is_same(const Identity *a, const Identity *b) {
        return a->device == b->device && a->inode == b->inode && a->size == b->size &&
               a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
               a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static bool is_young(const UnitFiles *files, const struct timespec *changed) {
        struct timespec t = files->began;

        t.tv_nsec -= YOUNG_NSEC;
        if (t.tv_nsec < 0) {
                t.tv_nsec += 1000000000;
                t.tv_sec--;
        }
        return changed->tv_sec > t.tv_sec || (changed->tv_sec == t.tv_sec && changed->tv_nsec >= t.tv_nsec);
}

int index_saw(UnitFiles *files, int directory, const char *path, const struct stat *st) {
        Seen *seen = pool_alloc(&files->pool, sizeof(Seen));

        if (!seen)
                return -ENOMEM;
        *seen = (Seen){
                .next = files->seen,
                .path = pool_dup(&files->pool, path),
                .directory = directory,
        };
        if (!seen->path)
                return -ENOMEM;
        if (st) {
                seen->is_there = true;
                seen->identity = identify(st);
                if (is_young(files, &st->st_ctim))
                        files->is_young = true;
        }
        files->seen = seen;
        return 0;
}

static bool is_as_seen(const UnitFiles *files, const Seen *seen) {
        struct stat st;
        Identity now;
        int r;

        if (seen->directory >= 0)
                r = fstatat(files->fds[seen->directory], seen->path, &st, AT_SYMLINK_NOFOLLOW);
        else {
                int fd CLOSED = unit_root_open(files->root_fd, seen->path, O_PATH);

                r = fd < 0 ? -1 : fstat(fd, &st);
        }
        if (r < 0)
                return !seen->is_there;
        now = identify(&st);
        return seen->is_there && is_same(&seen->identity, &now);
}

bool index_is_fresh(const UnitFiles *files) {
        if (!files->is_read || files->is_young)
                return false;
        for (const Seen *s = files->seen; s; s = s->next)
                if (!is_as_seen(files, s))
                        return false;
        return true;
}

/* ---- Directories ----------------------------------------------------------------------------------------------- */

static const char *last_part(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static unsigned char entry_type(int fd, const struct dirent *d) {
        struct stat st;

        if (d->d_type != DT_UNKNOWN)
                return d->d_type;
        if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return DT_UNKNOWN;
        return IFTODT(st.st_mode);
}

static int add_top_link(UnitFiles *files, unsigned directory, Entry *own) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(files->fds[directory], own->name, target, sizeof(target) - 1);
        TopLink *link;

        /* Gone again, or of a length that leads nowhere. */
        if (n < 0)
                return 0;
        target[n] = '\0';
        link = pool_alloc(&files->pool, sizeof(TopLink));
        if (!link)
                return -ENOMEM;
        *link = (TopLink){
                .own = own,
                .to = entry_get(files, last_part(target), true),
                .directory = directory,
        };
        if (!link->to)
                return -ENOMEM;
        link->next_own = own->own;
        own->own = link;
        link->next_to = link->to->to;
        link->to->to = link;
        return 0;
}

static bool has_suffix(const char *name, const char *suffix) {
        const char *dot = strrchr(name, '.');

        return dot && strcmp(dot, suffix) == 0;
}

/* Opens a directory once more, so that its position is its own. */
static DIR *open_again(int fd, const char *name) {
        int again = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        DIR *dir = again < 0 ? NULL : fdopendir(again);

        if (!dir && again >= 0)
                (void) close(again);
        return dir;
}

static inline void closedir_cleanup(DIR **dir) {
        if (*dir)
                (void) closedir(*dir);
}

#define CLOSED_DIR __attribute__((cleanup(closedir_cleanup)))

/* The next entry but "." and "..". Return: 1; 0: there is none; -errno. */
static int next_entry(UnitFiles *files, DIR *dir, const struct dirent **ret) {
        do {
                errno = 0;
                *ret = readdir(dir);
                if (!*ret)
                        return -errno;
        } while (strcmp((*ret)->d_name, ".") == 0 || strcmp((*ret)->d_name, "..") == 0);
        return files->n_entries >= UNIT_FILES_ENTRIES_MAX ? -E2BIG : 1;
}

/* A directory *.wants or *.requires: only what its links are called counts. */
static int read_wants(UnitFiles *files, unsigned directory, const char *name) {
        DIR *dir CLOSED_DIR = open_again(files->fds[directory], name);
        char template[UNIT_NAME_SIZE];
        const struct dirent *d;
        struct stat st;
        int r;

        /* One that cannot be read has no links, as for systemctl. */
        if (!dir || fstat(dirfd(dir), &st) < 0)
                return index_saw(files, directory, name, NULL);
        r = index_saw(files, directory, name, &st);
        if (r < 0)
                return r;
        while ((r = next_entry(files, dir, &d)) > 0) {
                Entry *e;

                if (entry_type(dirfd(dir), d) != DT_LNK)
                        continue;
                e = entry_get(files, d->d_name, true);
                if (!e)
                        return -ENOMEM;
                e->wanted |= UINT32_C(1) << directory;
                if (!strchr(d->d_name, '@') || unit_name_template(d->d_name, template) < 0)
                        continue;
                e = entry_get(files, template, true);
                if (!e)
                        return -ENOMEM;
                e->instances |= UINT32_C(1) << directory;
        }
        return r;
}

static int read_directory(UnitFiles *files, unsigned directory) {
        const char *path = files->paths.list[directory].path;
        int fd = unit_root_open(files->root_fd, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
        DIR *dir CLOSED_DIR = NULL;
        const struct dirent *d;
        struct stat st;
        int r;

        files->fds[directory] = fd < 0 ? -EBADF : fd;
        if (fd == -ENOENT || fd == -ENOTDIR)
                return index_saw(files, -1, path, NULL);
        if (fd < 0)
                return fd;
        dir = open_again(fd, ".");
        if (!dir || fstat(fd, &st) < 0)
                return -errno;
        r = index_saw(files, -1, path, &st);
        if (r < 0)
                return r;

        while ((r = next_entry(files, dir, &d)) > 0) {
                unsigned char type = entry_type(fd, d);
                Entry *e;

                if (type == DT_DIR &&
                        (has_suffix(d->d_name, ".wants") || has_suffix(d->d_name, ".requires"))) {
                        r = read_wants(files, directory, d->d_name);
                        if (r < 0)
                                return r;
                        continue;
                }
                e = entry_get(files, d->d_name, true);
                if (!e)
                        return -ENOMEM;
                e->present |= UINT32_C(1) << directory;
                if (type == DT_LNK) {
                        r = add_top_link(files, directory, e);
                        if (r < 0)
                                return r;
                }
        }
        return r;
}

void index_clear(UnitFiles *files) {
        for (size_t i = 0; i < UNIT_PATHS_MAX; i++) {
                close_cleanup(&files->fds[i]);
                files->fds[i] = -EBADF;
        }
        pool_done(&files->pool);
        files->table = NULL;
        files->n_buckets = files->n_entries = 0;
        files->seen = NULL;
        files->is_young = files->is_read = false;
}

int index_read(UnitFiles *files) {
        index_clear(files);
        if (clock_gettime(CLOCK_REALTIME, &files->began) < 0)
                return -errno;
        for (unsigned i = 0; i < files->paths.n; i++) {
                int r = read_directory(files, i);

                if (r < 0) {
                        index_clear(files);
                        return r;
                }
        }
        files->is_read = true;
        return 0;
}
