/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unit-paths.h"

/* As the kernel has it, of which MAXSYMLINKS of libc knows nothing. */
#define LINKS_MAX 40

/* ---- Below the root -------------------------------------------------------------------------------------------- */

static int open_below(int root_fd, const char *path, int flags, uint64_t resolve) {
        struct open_how how = {
                .flags = (uint64_t) (flags | O_CLOEXEC),
                .resolve = resolve,
        };

        for (unsigned i = 0;; i++) {
                long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

                if (fd >= 0)
                        return (int) fd;
                /* EAGAIN: something was renamed meanwhile, and the kernel cannot tell whether it is still below. */
                if ((errno != EAGAIN && errno != EINTR) || i >= 10000)
                        return -errno;
        }
}

int unit_root_open(int root_fd, const char *path, int flags) {
        return open_below(root_fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* What somebody has put there may be a device, which does things when it is opened, and be another thing a moment later. */
int unit_root_open_file(int root_fd, const char *path, int flags, struct stat *ret) {
        int fd CLOSED = unit_root_open(root_fd, path, O_PATH | (flags & O_NOFOLLOW)), open_fd;
        char again[32];

        if (fd < 0)
                return fd;
        if (fstat(fd, ret) < 0)
                return -errno;
        if (S_ISLNK(ret->st_mode))
                return -ELOOP;
        if (S_ISSOCK(ret->st_mode))
                return -ENXIO;
        if (S_ISREG(ret->st_mode)) {
                (void) snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
                open_fd = open(again, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
                /* A tree that is entered by chroot(2) may have no /proc; nobody else is there. */
                if (open_fd < 0 && errno == ENOENT && access("/proc/self/fd", F_OK) < 0)
                        return unit_root_open(
                                root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | (flags & O_NOFOLLOW));
                return open_fd < 0 ? -errno : open_fd;
        }
        open_fd = fd;
        fd = -EBADF;
        return open_fd;
}

/* What a symlink says. Return: its length; -EINVAL: it is none; -errno. */
static ssize_t read_link(int root_fd, const char *path, char *target, size_t size) {
        int fd CLOSED =
                open_below(root_fd, path, O_PATH | O_NOFOLLOW, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
        struct stat st;
        ssize_t n;

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISLNK(st.st_mode))
                return -EINVAL;
        n = readlinkat(fd, "", target, size);
        if (n < 0)
                return -errno;
        if ((size_t) n >= size)
                return -ENAMETOOLONG;
        target[n] = '\0';
        return n;
}

int unit_root_resolve(int root_fd, const char *path, bool follow, UnitIsGone is_gone, void *userdata,
        char ret[static PATH_MAX]) {
        char rest[2 * PATH_MAX], target[PATH_MAX], done[PATH_MAX] = "";
        size_t n_done = 0, size = strnlen(path, PATH_MAX), at = 0;
        unsigned n_links = 0;
        bool missing = false;

        if (*path != '/')
                return -EINVAL;
        if (size >= PATH_MAX)
                return -ENAMETOOLONG;
        memcpy(rest, path, size + 1);

        for (;;) {
                const char *part;
                size_t n, left;
                ssize_t length;

                at += strspn(rest + at, "/");
                n = strcspn(rest + at, "/");
                if (n == 0)
                        break;
                part = rest + at;
                at += n;
                if (n == 1 && part[0] == '.')
                        continue;
                if (n == 2 && part[0] == '.' && part[1] == '.') {
                        while (n_done > 0 && done[--n_done] != '/')
                                ;
                        done[n_done] = '\0';
                        missing = false;
                        continue;
                }
                if (n_done + 1 + n >= PATH_MAX)
                        return -ENAMETOOLONG;
                done[n_done] = '/';
                memcpy(done + n_done + 1, part, n);
                done[n_done + 1 + n] = '\0';

                /* Below what is not there nothing is a symlink. */
                if (missing || (!follow && rest[at + strspn(rest + at, "/")] == '\0')) {
                        n_done += 1 + n;
                        continue;
                }
                length = read_link(root_fd, done, target, sizeof(target));
                if (length == -EINVAL || (length >= 0 && is_gone && is_gone(done, userdata))) {
                        n_done += 1 + n;
                        continue;
                }
                if (length == -ENOENT || length == -ENOTDIR) {
                        missing = true;
                        n_done += 1 + n;
                        continue;
                }
                if (length < 0)
                        return (int) length;
                if (++n_links > LINKS_MAX)
                        return -ELOOP;
                left = strlen(rest + at);
                if ((size_t) length + left >= PATH_MAX)
                        return -ENAMETOOLONG;
                memmove(rest + length, rest + at, left + 1);
                memcpy(rest, target, (size_t) length);
                at = 0;
                if (target[0] == '/')
                        n_done = 0;
                done[n_done] = '\0';
        }
        if (n_done == 0)
                done[n_done++] = '/';
        done[n_done] = '\0';
        memcpy(ret, done, n_done + 1);
        return 0;
}

/* ---- Paths as text --------------------------------------------------------------------------------------------- */

const char *unit_path_below(const char *path, const char *directory) {
        size_t n = strlen(directory);

        return strncmp(path, directory, n) == 0 && path[n] == '/' && path[n + 1] ? path + n + 1 : NULL;
}

int unit_paths_find_parent(const UnitPaths *paths, const char *path) {
        const char *slash = strrchr(path, '/');

        for (size_t i = 0; slash && i < paths->n; i++)
                if (strlen(paths->list[i].path) == (size_t) (slash - path) &&
                        memcmp(paths->list[i].path, path, (size_t) (slash - path)) == 0)
                        return (int) i;
        return -1;
}

bool unit_paths_contain(const UnitPaths *paths, const char *path) {
        for (size_t i = 0; i < paths->n; i++)
                if (unit_path_below(path, paths->list[i].path))
                        return true;
        return false;
}

/* ---- The search path ------------------------------------------------------------------------------------------- */

/* Takes over what pool_format() has made. The same directory is not there twice. */
static int add(UnitPaths *paths, const char *path, unsigned flags) {
        if (!path)
                return -ENOMEM;
        for (size_t i = 0; i < paths->n; i++)
                if (strcmp(paths->list[i].path, path) == 0)
                        return 0;
        if (paths->n == UNIT_PATHS_MAX)
                return -E2BIG;
        if (unit_path_below(path, "/run"))
                flags |= UNIT_PATH_RUNTIME;
        if (flags & UNIT_PATH_CONFIG) {
                if (flags & UNIT_PATH_RUNTIME)
                        paths->runtime = path;
                else
                        paths->persistent = path;
        }
        paths->list[paths->n++] = (UnitPath){ .path = path, .flags = flags };
        return 0;
}

/* Merged, it is a symlink; without it there is nothing to be found. */
static bool has_split_lib(int root_fd) {
        int fd CLOSED = unit_root_open(root_fd, "/lib", O_PATH | O_NOFOLLOW);
        struct stat st;

        return fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

typedef struct Fixed {
        const char *path;
        unsigned flags;
} Fixed;

static int add_all(UnitPaths *paths, const Fixed *list, size_t n) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = add(paths, list[i].path, list[i].flags);
        return r;
}

#define ADD_ALL(paths, list) add_all(paths, list, sizeof(list) / sizeof((list)[0]))

static int init_system(UnitPaths *paths, int root_fd) {
        static const Fixed before[] = {
                { "/etc/systemd/system.control", UNIT_PATH_CONTROL },
                { "/run/systemd/system.control", UNIT_PATH_CONTROL },
                { "/run/systemd/transient", UNIT_PATH_TRANSIENT },
                { "/run/systemd/generator.early", UNIT_PATH_GENERATOR },
                { "/etc/systemd/system", UNIT_PATH_CONFIG },
                { "/etc/systemd/system.attached", UNIT_PATH_ATTACHED },
                { "/run/systemd/system", UNIT_PATH_CONFIG },
                { "/run/systemd/system.attached", UNIT_PATH_ATTACHED },
                { "/run/systemd/generator", UNIT_PATH_GENERATOR },
                { "/usr/local/lib/systemd/system", 0 },
        };
        static const Fixed after[] = {
                { "/usr/lib/systemd/system", 0 },
                { "/run/systemd/generator.late", UNIT_PATH_GENERATOR },
        };
        int r = ADD_ALL(paths, before);

        /* Debian was the last to have it, and has it first. */
        if (r == 0 && has_split_lib(root_fd))
                r = add(paths, "/lib/systemd/system", 0);
        return r < 0 ? r : ADD_ALL(paths, after);
}

static int init_global(UnitPaths *paths) {
        static const Fixed list[] = {
                { "/etc/systemd/user", UNIT_PATH_CONFIG },
                { "/run/systemd/user", UNIT_PATH_CONFIG },
                { "/usr/local/share/systemd/user", 0 },
                { "/usr/share/systemd/user", 0 },
                { "/usr/local/lib/systemd/user", 0 },
                { "/usr/lib/systemd/user", 0 },
        };

        return ADD_ALL(paths, list);
}

/* For each of a list that is separated by colons. What is not absolute is passed over, as the XDG specification has it. */
static int add_each(UnitPaths *paths, const char *list) {
        for (const char *p = list; *p;) {
                size_t n = strcspn(p, ":");
                int r = 0;

                while (n > 1 && p[n - 1] == '/')
                        n--;
                if (*p == '/')
                        r = add(paths, pool_format(&paths->pool, "%.*s/systemd/user", (int) n, p), 0);
                if (r < 0)
                        return r;
                p += strcspn(p, ":");
                p += *p == ':';
        }
        return 0;
}

static int add_below(UnitPaths *paths, const char *directory, const char *name, unsigned flags) {
        return directory ? add(paths, pool_format(&paths->pool, "%s/systemd/%s", directory, name), flags)
                         : 0;
}

static int init_user(UnitPaths *paths, const UnitOwner *owner) {
        static const Fixed usual[] = {
                { "/usr/local/lib/systemd/user", 0 },
                { "/usr/lib/systemd/user", 0 },
        };
        const unsigned run = UNIT_PATH_RUNTIME;
        const char *config, *data, *runtime = owner->runtime_dir;
        int r;

        if (!owner->home || *owner->home != '/')
                return -EINVAL;
        config = owner->config_home ? owner->config_home
                                    : pool_format(&paths->pool, "%s/.config", owner->home);
        data = owner->data_home ? owner->data_home
                                : pool_format(&paths->pool, "%s/.local/share", owner->home);
        if (!config || !data)
                return -ENOMEM;

        if ((r = add_below(paths, config, "user.control", UNIT_PATH_CONTROL)) < 0 ||
                (r = add_below(paths, runtime, "user.control", UNIT_PATH_CONTROL | run)) < 0 ||
                (r = add_below(paths, runtime, "transient", UNIT_PATH_TRANSIENT | run)) < 0 ||
                (r = add_below(paths, runtime, "generator.early", UNIT_PATH_GENERATOR | run)) < 0 ||
                (r = add_below(paths, config, "user", UNIT_PATH_CONFIG)) < 0 ||
                (r = add_each(paths, owner->config_dirs ? owner->config_dirs : "/etc/xdg")) < 0 ||
                (r = add(paths, "/etc/systemd/user", UNIT_PATH_GLOBAL)) < 0 ||
                (r = add_below(paths, runtime, "user", UNIT_PATH_CONFIG | run)) < 0 ||
                (r = add(paths, "/run/systemd/user", 0)) < 0 ||
                (r = add_below(paths, runtime, "generator", UNIT_PATH_GENERATOR | run)) < 0 ||
                (r = add_below(paths, data, "user", 0)) < 0 ||
                (r = add_each(paths, owner->data_dirs ? owner->data_dirs : "/usr/local/share:/usr/share")) <
                        0 ||
                (r = ADD_ALL(paths, usual)) < 0)
                return r;
        return add_below(paths, runtime, "generator.late", UNIT_PATH_GENERATOR | run);
}

int unit_paths_init(UnitPaths *paths, int root_fd, const UnitOwner *owner) {
        int r = -EINVAL;

        *paths = (UnitPaths){};
        if (owner->scope == UNIT_SCOPE_SYSTEM)
                r = init_system(paths, root_fd);
        else if (owner->scope == UNIT_SCOPE_GLOBAL)
                r = init_global(paths);
        else if (owner->scope == UNIT_SCOPE_USER)
                r = init_user(paths, owner);
        if (r < 0)
                unit_paths_done(paths);
        return r;
}

void unit_paths_done(UnitPaths *paths) {
        pool_done(&paths->pool);
        *paths = (UnitPaths){};
}
