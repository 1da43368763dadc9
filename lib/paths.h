/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "util.h"

/*
 * Path operations for a root process that manages files below directories which others may own. A path is walked to
 * a directory descriptor once; everything after that happens by descriptor and single name, so that nobody who
 * renames things on the way can send a write elsewhere.
 *
 * All functions return 0 or -errno unless they say otherwise, log nothing, and leave ret_ parameters untouched when
 * they fail. Directory descriptors that they return are O_PATH; those that they take may be of either kind.
 *
 * The symlink rule. A symlink met on the way (the last part of path_open_directory() included) is followed only if
 * root or the effective uid decided where it leads, and that no one else can exchange it:
 *
 *   - an entry of a directory is safe if the directory belongs to root or to the effective uid, and is either not
 *     writable by group and others, or is sticky and the entry itself belongs to root or to the effective uid (a
 *     link must then have one name only, as a hard link to a link of root's costs an attacker nothing);
 *   - and the directory was itself reached through safe entries only, since who can rename a directory on the way
 *     chooses which links are found below it.
 *
 * Everything else gives -ELOOP. The write bit of the group also stands for the mask of an ACL, so an ACL that lets
 * anyone write counts. systemd's chase(CHASE_SAFE) judges each step by owners alone: from a directory of root's to
 * anything, from a user's only to what the same user owns. This rule is laxer in that files of root's below a user's
 * directory can be managed, as long as no link is involved, and stricter in that a user's links are never followed,
 * even to the user's own files. A FUSE file system that a user mounted with allow_other can claim any owner; like
 * CHASE_SAFE, the rule believes it.
 *
 * Links are resolved within root_fd: absolute ones start again there, and ".." in a target never leaves it, even if
 * directories are moved meanwhile. At most PATH_LINKS_MAX links are followed, and those of /proc that the kernel would
 * follow by other means than their text are not.
 */

#define PATH_LINKS_MAX      40 /* source: MAXSYMLINKS of the kernel, include/linux/namei.h */
#define PATH_CACHE_MAX      16 /* directories */
#define PATH_TEMPORARY_SIZE sizeof(".agentd-0123456789abcdef")

enum {
        PATH_NO_SYMLINKS = 1u << 0,       /* walks: any link on the way is -ELOOP */
        PATH_NO_SYNC_FILE = 1u << 1,      /* changes: do not fsync() the file */
        PATH_NO_SYNC_DIRECTORY = 1u << 2, /* changes and made directories: do not fsync() the directory */
        PATH_NO_SYNC = PATH_NO_SYNC_FILE | PATH_NO_SYNC_DIRECTORY,
};

/* What missing directories are made like. */
typedef struct PathCreate {
        mode_t mode; /* exact, the umask does not count */
        uid_t uid;   /* (uid_t) -1 leaves it as the kernel made it */
        gid_t gid;   /* (gid_t) -1 likewise */

        /* Told each directory that was made, outermost first, also if the walk fails later on. The path is absolute
         * below the root, without links, and lives for the call only. May be NULL. */
        void (*made)(void *userdata, const char *path);
        void *userdata;
} PathCreate;

/**
 * path_normalise() - the one spelling of an absolute path, by text alone
 * @path: collapses "//", "/./" and trailing slashes; links are not looked at
 * @ret:  malloc'ed, the caller frees
 *
 * Return: 0; -EINVAL if it is empty, relative or has a ".." part; -ENAMETOOLONG if it does not fit into PATH_MAX bytes
 *         with its NUL, or has a part longer than NAME_MAX; -ENOMEM.
 */
int path_normalise(const char *path, char **ret);

/**
 * path_open_root() - opens the directory that paths are resolved in, "/" or that of --root
 * @path:   taken from the operator: links in it are followed as usual
 * @ret_fd: O_PATH; the caller closes
 */
int path_open_root(const char *path, int *ret_fd);

struct open_how;

/**
 * path_openat2() - openat2(2) for what is to stay below a directory
 *
 * On the way through a ".." the kernel gives up with EAGAIN if something was renamed or mounted meanwhile, be it elsewhere: it
 * cannot tell then that it has not left the directory. That says nothing about the path, so it is tried again.
 *
 * Return: a descriptor, which the caller closes; -errno.
 */
int path_openat2(int dir_fd, const char *path, const struct open_how *how);

/**
 * path_open_directory() - walks to a directory
 * @root_fd: see path_open_root()
 * @path:    normalised, see path_normalise()
 * @flags:   PATH_NO_SYMLINKS, PATH_NO_SYNC_DIRECTORY
 * @create:  how to make what is missing; NULL does not. A link that dangles has its target made.
 * @ret_fd:  O_PATH; the caller closes
 *
 * Costs one openat2() where there is no link on the way, and three calls for each part otherwise.
 *
 * Return: 0; -EINVAL or -ENAMETOOLONG if the path is not normalised; -ENOENT; -ENOTDIR if a part is something else;
 *         -ELOOP if a link was refused (see path_explain_refusal()) or there are too many; -ESTALE if somebody
 *         exchanged a directory while it was being made; other -errno of openat(2), mkdirat(2), fchown(2), fsync(2).
 */
int path_open_directory(
        int root_fd, const char *path, unsigned flags, const PathCreate *create, int *ret_fd);

/**
 * path_open_parent() - walks to the directory that holds the last part, which is not looked at
 * @ret_name: the last part, pointing into path
 *
 * The other parameters and errors are those of path_open_directory(). Return: also -EISDIR if path is "/".
 */
int path_open_parent(int root_fd, const char *path, unsigned flags, const PathCreate *create, int *ret_fd,
        const char **ret_name);

/**
 * path_explain_refusal() - says in words why a walk to a directory gave -ELOOP
 * @ret: malloc'ed, e.g. "symlink '/srv/www/x' in a directory that others can write"
 *
 * Walks again. Return: 0; -ENOENT if the walk is not refused any more; -ENOMEM.
 */
int path_explain_refusal(int root_fd, const char *path, unsigned flags, char **ret);

/*
 * The parents that were walked to last, for a batch of files that is sorted by path. A directory that is renamed or
 * removed meanwhile stays what the descriptor says, so keep a cache no longer than one batch.
 */
typedef struct PathCache {
        int root_fd;    /* not owned */
        unsigned flags; /* of path_open_directory() */
        uint64_t clock;
        size_t last; /* index of the entry that was found last */
        struct {
                char *path; /* NULL if unused */
                size_t length;
                uint64_t hash;
                uint64_t used; /* clock of the last use */
                int fd;
        } entries[PATH_CACHE_MAX];
} PathCache;

/* root_fd is borrowed and must stay open as long as the cache lives. */
void path_cache_init(PathCache *cache, int root_fd, unsigned flags);
void path_cache_done(PathCache *cache);

/**
 * path_cache_parent() - path_open_parent() through the cache
 * @create: as there; looked at only when the parent is not in the cache
 * @ret_fd: O_PATH, owned by the cache; valid until the next call with this cache
 *
 * A hit makes no system call. Failures are not remembered.
 */
int path_cache_parent(
        PathCache *cache, const char *path, const PathCreate *create, int *ret_fd, const char **ret_name);

/*
 * Forgets all directories: call it after removing, renaming or replacing a directory within the batch. All, since a
 * link can spell any of them in another way.
 */
void path_cache_clear(PathCache *cache);

/*
 * An atomic replacement of a file: the new content is written into a temporary beside it, which then takes the name.
 * The temporary's name is ".agentd-" and 16 hexadecimal digits of the FNV-1a hash of the target's name, so that one
 * left by a killed process is removed by the next attempt; where somebody keeps that name occupied, random digits. Two
 * replacements of one target must not run at once.
 *
 * Until path_replace_commit() renames, and after any failure before that, the old file is as it was and the temporary
 * is gone. A zeroed object is one that was never begun.
 *
 *      _cleanup_(path_replace_abort) PathReplacement p = {};
 *
 *      r = path_replace_begin(&p, dir_fd, name);
 *      …
 *      r = path_replace_write(&p, data, size);
 *      …
 *      return path_replace_commit(&p, uid, gid, 0644, 0);
 */
typedef struct PathReplacement {
        int fd;     /* the temporary, write-only; for extended attributes and the like */
        int dir_fd; /* a duplicate */
        int error;  /* the -errno that ended it */
        char temporary[PATH_TEMPORARY_SIZE]; /* empty if nothing is to be removed */
        char name[NAME_MAX + 1];
} PathReplacement;

/**
 * path_replace_begin() - makes the temporary, mode 0600, removing a stale one
 * @dir_fd: directory, may be closed afterwards
 * @name:   single part, copied
 *
 * Return: 0; -EINVAL if name is empty, ".", ".." or has a slash; -ENAMETOOLONG; -EEXIST if somebody
 *         races to occupy each name that is tried; -ENOENT if the directory was removed; -EROFS, -ENOSPC, -EDQUOT, ….
 */
int path_replace_begin(PathReplacement *p, int dir_fd, const char *name);

/* Appends. A failure ends the replacement: the temporary is removed, and later calls return the same error. */
int path_replace_write(PathReplacement *p, const void *data, size_t size_bytes);

/**
 * path_replace_copy() - appends the rest of a file, from its current offset
 * @limit_bytes: -EFBIG and the end of the replacement if there is more; UINT64_MAX for no limit
 * @ret_bytes:   what was copied; may be NULL
 *
 * Shares blocks where the file system can. Fails as path_replace_write() does.
 */
int path_replace_copy(PathReplacement *p, int source_fd, uint64_t limit_bytes, uint64_t *ret_bytes);

/**
 * path_replace_commit() - owner, then mode (chown clears set-id bits), fsync, rename, fsync of the directory
 * @uid, @gid: -1 leaves it
 * @mode:      permission bits, exact
 * @flags:     PATH_NO_SYNC_FILE, PATH_NO_SYNC_DIRECTORY; who leaves them out syncs later (syncfs(), path_sync())
 *
 * Ends the replacement in any case. A link of the target's name is replaced, not followed.
 *
 * Return: 0; -EISDIR if the target is a directory; -ESTALE if the temporary is not ours any more; other -errno. All of
 *         these leave the old file, except for an error of the directory's fsync (-EIO), which comes after the rename.
 */
int path_replace_commit(PathReplacement *p, uid_t uid, gid_t gid, mode_t mode, unsigned flags);

/* Removes the temporary, if there is one. Takes a zeroed, a committed and a failed object; keeps errno. */
void path_replace_abort(PathReplacement *p);

/**
 * path_make_symlink() - makes or replaces a symlink atomically, by way of the same temporary
 * @target:    any text, not looked at
 * @uid, @gid: owner of the link itself; -1 leaves it
 * @flags:     PATH_NO_SYNC_DIRECTORY
 *
 * Return: 0; the errors of path_replace_begin() and path_replace_commit().
 */
int path_make_symlink(
        int dir_fd, const char *name, const char *target, uid_t uid, gid_t gid, unsigned flags);

/**
 * path_remove() - removes a file, a link (not what it points to), or an empty directory
 * @flags: PATH_NO_SYNC_DIRECTORY
 *
 * Return: 0; -EINVAL for a bad name; -ENOENT; -ENOTEMPTY; -EBUSY for a mount point; other -errno.
 */
int path_remove(int dir_fd, const char *name, unsigned flags);

/* fsync() of a directory, also by an O_PATH descriptor. File systems that cannot sync directories are forgiven. */
int path_sync(int dir_fd);

/**
 * path_open_file() - opens a regular file for reading, and nothing else
 * @ret_fd:   blocking as ever, since it is a regular file; the caller closes
 * @ret_stat: of the open file; may be NULL
 *
 * Nothing that is not a regular file is opened, unless it is put there within the call: opening a device may act.
 *
 * Return: 0; -EINVAL for a bad name; -ENOENT; -EISDIR for a directory; -ELOOP for a symlink; -ENXIO for a device, FIFO
 *         or socket; -EAGAIN if another process holds a lease on it; other -errno.
 */
int path_open_file(int dir_fd, const char *name, int *ret_fd, struct stat *ret_stat);

/**
 * path_read_file() - reads a whole regular file
 * @limit_bytes: -EFBIG if there is more
 * @ret:         malloc'ed, with a NUL after the content; the caller frees
 * @ret_size:    bytes, without that NUL; may be NULL
 * @ret_stat:    as it was before reading; may be NULL
 *
 * Reads to the end whatever st_size says, so files of /proc and /sys work. Return: also -ENOMEM, and the errors of
 * path_open_file().
 */
int path_read_file(int dir_fd, const char *name, size_t limit_bytes, char **ret, size_t *ret_size,
        struct stat *ret_stat);

/*
 * Compares a file from its beginning, in blocks of 64 KiB, up to the first difference; the offset does not move.
 * Return: 1 if it has exactly this content, 0 if not, -errno of pread(2).
 */
int path_compare_file(int fd, const void *content, size_t size_bytes);
