/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where units are looked for, and walking there without leaving the root.
 *
 * All paths here are absolute and mean what they mean inside a root directory that is given as a descriptor: symlinks
 * and ".." do not lead out of it (openat2(2), RESOLVE_IN_ROOT). The descriptor stays the caller's and has to outlive
 * what is made with it.
 *
 * Source: systemd.unit(5), "Unit File Load Path", of systemd 252, tables 1 and 2, with the attached directories of
 * portablectl(1) that the table leaves out; `systemd-analyze unit-paths` prints the same.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "pool.h"

/* Of one search path: they are bits of a word. */
#define UNIT_PATHS_MAX 32

typedef enum UnitScope {
        UNIT_SCOPE_SYSTEM, /* the system's manager */
        UNIT_SCOPE_GLOBAL, /* what all users' managers have: systemctl --global */
        UNIT_SCOPE_USER,   /* one user's manager */
} UnitScope;

/* Whose manager it is. All strings stay the caller's and are only read in the call, unless it is said otherwise. */
typedef struct UnitOwner {
        UnitScope scope;

        /* For UNIT_SCOPE_USER; home is required. NULL: the usual place. */
        const char *home;
        const char *runtime_dir; /* $XDG_RUNTIME_DIR, "/run/user/1000"; NULL: there is none now */
        const char *config_home; /* $XDG_CONFIG_HOME */
        const char *data_home;   /* $XDG_DATA_HOME */
        const char *config_dirs; /* $XDG_CONFIG_DIRS, separated by colons */
        const char *data_dirs;   /* $XDG_DATA_DIRS, likewise */

        /* What %u, %U, %g and %G are. NULL: root, as for the system. */
        const char *user, *group;
        uid_t uid;
        gid_t gid;
} UnitOwner;

enum {
        UNIT_PATH_CONFIG = 1 << 0, /* where links are made: the persistent one, or with UNIT_PATH_RUNTIME */
        UNIT_PATH_RUNTIME =
                1 << 1, /* gone with the next boot: below /run or the runtime directory of the user */
        UNIT_PATH_CONTROL = 1 << 2,   /* of systemctl set-property */
        UNIT_PATH_TRANSIENT = 1 << 3, /* of systemd-run */
        UNIT_PATH_GENERATOR = 1 << 4, /* of generators */
        UNIT_PATH_GLOBAL = 1 << 5,    /* a user's, but what it enables is so for all: /etc/systemd/user */
        UNIT_PATH_ATTACHED = 1 << 6,  /* of portablectl */
};

typedef struct UnitPath {
        const char *path;
        unsigned flags;
} UnitPath;

typedef struct UnitPaths {
        Pool pool;
        UnitPath list[UNIT_PATHS_MAX]; /* the first that has a unit wins */
        size_t n;
        const char *persistent; /* one of the list: where enable makes its links */
        const char *runtime;    /* likewise, with --runtime; NULL: a user without a runtime directory */
} UnitPaths;

/*
 * unit_paths_init() - the search path
 * @root_fd: where it is seen whether /lib is a directory of its own; where it is a link to /usr/lib, or is not there,
 *           only
 *           /usr/lib is in the search path
 *
 * The directories need not exist.
 *
 * Return: 0; -EINVAL: a user without an absolute home; -E2BIG: more than UNIT_PATHS_MAX; -ENOMEM. On failure there is
 * nothing to free.
 */
int unit_paths_init(UnitPaths *paths, int root_fd, const UnitOwner *owner);
void unit_paths_done(UnitPaths *paths);

/* Which of the list is, as text, the directory that a path lies directly in. Return: its index; -1: none. */
int unit_paths_find_parent(const UnitPaths *paths, const char *path);

/* Whether a path, as text, is anywhere below one of the list. */
bool unit_paths_contain(const UnitPaths *paths, const char *path);

/* What path is below directory, as text: without the slash. NULL: it is not, or the same. */
const char *unit_path_below(const char *path, const char *directory);

/* ---- Below the root -------------------------------------------------------------------------------------------- */

/* Opens a path below the root; flags are those of open(2), O_CLOEXEC is added. Return: a descriptor; -errno. */
int unit_root_open(int root_fd, const char *path, int flags);

/*
 * Opens a file below the root to read it. What is no regular file is not opened, as a device does things when it is: the descriptor
 * then is good for fstat() alone.
 * @flags: O_NOFOLLOW, or 0
 * @ret:   what it is
 *
 * Return: a descriptor; -ELOOP: with O_NOFOLLOW it is a symlink; -ENXIO: it is a socket; -errno.
 */
int unit_root_open_file(int root_fd, const char *path, int flags, struct stat *ret);

/* Whether a path that was found to lead elsewhere is to be taken for one that does not exist. */
typedef bool (*UnitIsGone)(const char *path, void *userdata);

/*
 * unit_root_resolve() - where a path leads, as a path
 * @follow:   follow the last part as well, if it is a symlink
 * @is_gone:  asked for each symlink; NULL: nothing is gone
 * @ret:      without symlinks, "." and ".."; parts that do not exist stay as they are
 *
 * Return: 0; -ELOOP; -ENAMETOOLONG; -EINVAL: not absolute; other -errno.
 */
int unit_root_resolve(int root_fd, const char *path, bool follow, UnitIsGone is_gone, void *userdata,
        char ret[static PATH_MAX]);
