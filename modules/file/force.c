/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * With `force`: one kind of thing in the place of another, and the removal of what is in a directory.
 *
 * The new thing is made under a name beside the path. Then the two change places, in one step, and what was there is removed
 * under that name. If that is cut short the next check finds the name and says so, and its removal goes on. In a directory
 * that others than root can write the name is a random one, and not looked for: somebody could have put there what root is
 * then to remove.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "file.h"

/* Each level takes a descriptor. */
#define LEVELS_MAX 128

/* Entries of a directory that are noted before they are removed. */
#define NOTED_MAX 400

#define ASIDE_FORMAT ".agentd-%016llx.old"

/* FNV-1a, as for the names of other temporary files, so that they fit however long the name is. */
static unsigned long long hash_of(const char *name) {
        unsigned long long hash = 0xcbf29ce484222325ull;

        for (; *name; name++)
                hash = (hash ^ (unsigned char) *name) * 0x100000001b3ull;
        return hash;
}

void aside_name(const char *name, char ret[static 32]) {
        (void) snprintf(ret, 32, ASIDE_FORMAT, hash_of(name));
}

void link_name(const char *name, char ret[static 32]) {
        (void) snprintf(ret, 32, ".agentd-%016llx", hash_of(name));
}

static bool is_roots_alone(int dir_fd) {
        struct stat st;

        return fstat(dir_fd, &st) == 0 && st.st_uid == 0 && (st.st_mode & 022) == 0;
}

bool force_has_remains(const Look *look) {
        char aside[32];
        struct stat st;

        aside_name(look->name, aside);
        return fstatat(look->dir_fd, aside, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_roots_alone(look->dir_fd);
}

/* ---- Walking ---------------------------------------------------------------------------------------------------- */

typedef struct Walk {
        AgentdContext *context;
        size_t state;
        bool note;
        size_t n_noted, n_more;
        uint64_t device;
        char path[PATH_MAX]; /* relative to the directory */
        const char *error;
} Walk;

static AgentdMember member(const char *key, int64_t value) {
        return (AgentdMember){ .key = key, .value = { .type = AGENTD_INTEGER, .integer = value } };
}

static AgentdMember text_member(const char *key, const char *text) {
        return (AgentdMember){ .key = key,
                .value = { .type = AGENTD_STRING, .string = text, .size = strlen(text) } };
}

/* What undoes the removal of one entry. */
static void note(Walk *walk, int dir_fd, const char *name, const struct statx *st) {
        char what[PATH_MAX + 16], target[PATH_MAX];
        AgentdMember members[] = {
                text_member("ensure", kind_names[kind_of(st->stx_mode)]),
                member("mode", st->stx_mode & 07777),
                member("uid", st->stx_uid),
                member("gid", st->stx_gid),
                {},
        };
        AgentdValue value = { .type = AGENTD_TABLE, .n = 4, .members = members };
        ssize_t n;

        if (!walk->note)
                return;
        if (walk->n_noted >= NOTED_MAX) {
                walk->n_more++;
                return;
        }
        walk->n_noted++;
        if (S_ISLNK(st->stx_mode)) {
                n = readlinkat(dir_fd, name, target, sizeof(target) - 1);
                if (n >= 0) {
                        target[n] = 0;
                        members[value.n++] = text_member("target", target);
                }
        }
        (void) snprintf(what, sizeof(what), "tree/%s", walk->path);
        agentd_undo(walk->context, walk->state, what, &value);
        if (S_ISREG(st->stx_mode) || S_ISDIR(st->stx_mode)) {
                int fd CLOSED = open_for_attributes(dir_fd, name, kind_of(st->stx_mode));

                if (fd < 0)
                        return;
                if (S_ISREG(st->stx_mode)) {
                        (void) snprintf(what, sizeof(what), "content/%s", walk->path);
                        agentd_keep_file(walk->context, walk->state, what, fd);
                }
                walk->n_noted += record_lost(walk->context, walk->state, fd, walk->path);
        }
}

static uint64_t device_of(const struct statx *st) {
        return (uint64_t) st->stx_dev_major << 32 | st->stx_dev_minor;
}

/* The device is compared for directories only: overlayfs shows files with that of the layer below. */
static bool is_mounted(const struct statx *st, uint64_t device) {
        return (st->stx_attributes & STATX_ATTR_MOUNT_ROOT) ||
               (S_ISDIR(st->stx_mode) && device_of(st) != device);
}

static const char *refusal(const Walk *walk, const struct statx *st) {
        if (is_mounted(st, walk->device))
                return "a mount point";
        if (st->stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))
                return "immutable, or can only be appended to";
        return NULL;
}

/* Looks at all there is in a directory. Return: 0; -errno, with the path at which it was. */
static int look_through(Walk *walk, int dir_fd, const char *name, unsigned level) {
        size_t length = strlen(walk->path);
        const struct dirent *entry;
        DIR *directory;
        int fd, r = 0;

        if (level > LEVELS_MAX) {
                walk->error = "deeper than can be looked at";
                return -ELOOP;
        }
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        directory = fdopendir(fd);
        if (!directory) {
                (void) close(fd);
                return -ENOMEM;
        }
        while (r >= 0 && (entry = readdir(directory))) {
                struct statx st;
                size_t room = sizeof(walk->path) - length;

                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                if ((size_t) snprintf(walk->path + length, room, "%s%s", length > 0 ? "/" : "",
                            entry->d_name) >= room) {
                        r = -ENAMETOOLONG;
                        break;
                }
                if (statx(fd, entry->d_name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) <
                        0) {
                        r = errno == ENOENT ? 0 : -errno;
                        continue;
                }
                walk->error = refusal(walk, &st);
                if (walk->error)
                        r = -EBUSY;
                if (r >= 0)
                        note(walk, fd, entry->d_name, &st);
                if (r >= 0 && S_ISDIR(st.stx_mode))
                        r = look_through(walk, fd, entry->d_name, level + 1);
                if (r >= 0)
                        walk->path[length] = 0;
        }
        (void) closedir(directory);
        return r;
}

static int walk_begin(AgentdContext *c, size_t i, const Look *look, bool take_note, Walk *walk) {
        *walk = (Walk){
                .context = c,
                .state = i,
                .note = take_note,
                .device = device_of(&look->st),
        };
        if (look->st.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
                walk->error = "a mount point";
                return -EBUSY;
        }
        return look_through(walk, look->dir_fd, look->name, 0);
}

int force_look(AgentdContext *c, size_t i, const Look *look) {
        Walk walk;
        int r;

        r = walk_begin(c, i, look, false, &walk);
        if (r >= 0 || r == -ENOENT)
                return 0;
        agentd_failed(c, i, "Failed to look through '%s%s%s', which is to be removed: %s%s", look->path,
                walk.path[0] ? "/" : "", walk.path, walk.error ? "it is " : "",
                walk.error ? walk.error : explain(r));
        return -1;
}

/* ---- Removing --------------------------------------------------------------------------------------------------- */

/* Empties a directory. What others put there meanwhile is met by the removal of the directory itself. */
static int empty(int dir_fd, const char *name, uint64_t device, unsigned level) {
        const struct dirent *entry;
        struct statx st;
        DIR *directory;
        int fd, r = 0;

        if (level > LEVELS_MAX)
                return -ELOOP;
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
        if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0)
                r = -errno;
        else if (is_mounted(&st, device))
                r = -EBUSY;
        directory = r >= 0 ? fdopendir(fd) : NULL;
        if (!directory) {
                (void) close(fd);
                return r < 0 ? r : -ENOMEM;
        }
        while (r >= 0 && (entry = readdir(directory))) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
                        continue;
                if (errno != EISDIR && errno != EPERM) {
                        r = -errno;
                        break;
                }
                r = empty(fd, entry->d_name, device, level + 1);
                if (r >= 0 && unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                        r = errno == ENOTDIR ? -EPERM : -errno;
        }
        (void) closedir(directory);
        return r;
}

static int remove_all(AgentdContext *c, int dir_fd, const char *name, const char *path) {
        struct statx st;
        int r = 0;

        if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
                return -EBUSY;
        if (S_ISDIR(st.stx_mode))
                r = empty(dir_fd, name, device_of(&st), 0);
        /* Which also syncs, and forgets the directories that it had open. */
        return r < 0 ? r : agentd_remove(c, path);
}

static int aside_path(const Look *look, const char *aside, char ret[static PATH_MAX]) {
        int n = snprintf(ret, PATH_MAX, "%.*s%s", (int) (look->name - look->path), look->path, aside);

        return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int force_clean(AgentdContext *c, const Look *look) {
        int dir_fd CLOSED = fcntl(look->dir_fd, F_DUPFD_CLOEXEC, 3);
        char aside[32], path[PATH_MAX];
        int r;

        if (dir_fd < 0)
                return -errno;
        aside_name(look->name, aside);
        r = aside_path(look, aside, path);
        return r < 0 ? r : remove_all(c, dir_fd, aside, path);
}

/* ---- Replacing -------------------------------------------------------------------------------------------------- */

static int record_tree(AgentdContext *c, size_t i, const Look *look, const char **ret_error) {
        Walk walk;
        int r;

        if (look->kind != KIND_DIRECTORY)
                return 0;
        r = walk_begin(c, i, look, true, &walk);
        if (r < 0) {
                *ret_error = walk.error ? "what is in it cannot be removed" : NULL;
                return r;
        }
        if (walk.n_more > 0)
                agentd_undo(c, i, "tree_more",
                        &(AgentdValue){ .type = AGENTD_INTEGER, .integer = (int64_t) walk.n_more });
        return 0;
}

int force_make(AgentdContext *c, size_t i, const File *file, const Look *look,
        int (*make)(const char *path, void *userdata), void *userdata, const char **ret_error) {
        int dir_fd CLOSED = fcntl(look->dir_fd, F_DUPFD_CLOEXEC, 3);
        char aside[32], path[PATH_MAX];
        unsigned long long number = 0;
        int r;

        if (dir_fd < 0)
                return -errno;
        if (is_roots_alone(dir_fd))
                aside_name(look->name, aside);
        else {
                (void) getrandom(&number, sizeof(number), 0);
                (void) snprintf(aside, sizeof(aside), ASIDE_FORMAT, number);
        }
        r = aside_path(look, aside, path);
        if (r >= 0)
                r = record_tree(c, i, look, ret_error);
        if (r < 0)
                return r;

        agentd_will_change(c);
        if (file->kind == KIND_ABSENT) {
                if (renameat(dir_fd, look->name, dir_fd, aside) < 0)
                        return errno == ENOENT ? 0 : -errno;
                return remove_all(c, dir_fd, aside, path);
        }

        r = make(path, userdata);
        if (r < 0) {
                /* Something may be there, without all that it should have. */
                if (r != -EEXIST)
                        (void) remove_all(c, dir_fd, aside, path);
                return r;
        }
        r = renameat2(dir_fd, aside, dir_fd, look->name, RENAME_EXCHANGE) < 0 ? -errno : 0;
        if (r == -EINVAL || r == -ENOSYS || r == -ENOENT) {
                /* The file system cannot do that in one step; or there is nothing left to change places with. */
                r = remove_all(c, dir_fd, look->name, look->path);
                if (r >= 0 && renameat(dir_fd, aside, dir_fd, look->name) < 0)
                        r = -errno;
        }
        if (r < 0) {
                (void) remove_all(c, dir_fd, aside, path);
                return r;
        }
        r = remove_all(c, dir_fd, aside, path);
        if (r < 0)
                *ret_error = "it is made, but what was there before could not be removed";
        return r;
}
