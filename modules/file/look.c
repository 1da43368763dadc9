/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is at the path, and the ids that the state's names stand for. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "file.h"

const char *const kind_names[] = { "file", "directory", "symlink", "hard link", "absent", "special file" };

Kind kind_of(mode_t mode) {
        if (S_ISREG(mode))
                return KIND_FILE;
        if (S_ISDIR(mode))
                return KIND_DIRECTORY;
        return S_ISLNK(mode) ? KIND_SYMLINK : KIND_OTHER;
}

const char *explain(int r) {
        switch (r) {
        case -ELOOP: return "a symlink on the way could have been put there by somebody other than root";
        case -EACCES:
                return "permission denied; if the file system refuses the user that checks run as, "
                       "check_as_root = true helps";
        case -EPERM: return "operation not permitted; lsattr(1) tells if it, or its directory, is immutable";
        default: return strerror(-r);
        }
}

/* Finds the ids of owner and group. Return: 0; -1 if the state is finished. */
static int look_up_ids(AgentdContext *c, size_t i, const File *file, bool pending, Look *look) {
        int r;

        look->uid = (uid_t) KEEP;
        look->gid = (gid_t) KEEP;
        if (file->owner) {
                r = agentd_user_id(c, file->owner, &look->uid);
                if (r == -ESRCH && pending)
                        look->owner_to_come = true;
                else if (r < 0) {
                        agentd_failed(c, i,
                                r == -ESRCH ? "there is no user '%s'" : "Failed to look up user '%s': %s",
                                file->owner, strerror(-r));
                        return -1;
                }
        }
        if (file->group) {
                r = agentd_group_id(c, file->group, &look->gid);
                if (r == -ESRCH && pending)
                        look->group_to_come = true;
                else if (r < 0) {
                        agentd_failed(c, i,
                                r == -ESRCH ? "there is no group '%s'" : "Failed to look up group '%s': %s",
                                file->group, strerror(-r));
                        return -1;
                }
        }
        return 0;
}

int64_t file_mode(const File *file, Kind kind, mode_t mode) {
        mode_t result;

        if (!extras_of(file)->symbolic)
                return file->mode;
        return mode_apply(extras_of(file)->symbolic, kind == KIND_DIRECTORY, mode, &result) < 0
                       ? KEEP
                       : (int64_t) result;
}

/* With an access control list the group's bits are its mask: what the group may is in the list. */
static int look_at_mode(AgentdContext *c, size_t i, const File *file, Look *look) {
        int fd CLOSED = -1;
        int r = 0;
        Acl acl;

        look->seen_mode = look->st.stx_mode & 07777;
        if (extras_of(file)->has_acl) {
                fd = open_for_attributes(look->dir_fd, look->name, look->kind);
                r = fd < 0 ? fd : acl_read(fd, false, &acl);
                if (r < 0 && r != -EOPNOTSUPP && r != -ERANGE) {
                        agentd_failed(c, i, "Failed to read the access control list of '%s': %s", look->path,
                                explain(r));
                        return -1;
                }
                if (r >= 0)
                        look->seen_mode = acl_mode(&acl, look->seen_mode);
        }
        look->mode = file_mode(file, look->kind, look->seen_mode);
        return 0;
}

/* What is of another kind than it should be. Return: 0 if it is replaced; -1 if the state is finished. */
static int look_at_wrong_kind(AgentdContext *c, size_t i, const File *file, const Look *look) {
        if (!file->force) {
                if (file->kind == KIND_ABSENT)
                        return 0;
                agentd_failed(c, i,
                        "'%s' is a %s and should be a %s; it is not replaced without force = true",
                        look->path, kind_names[look->kind], kind_names[file->kind]);
                return -1;
        }
        return look->kind == KIND_DIRECTORY ? force_look(c, i, look) : 0;
}

int file_look(AgentdContext *c, size_t i, const AgentdState *state, Look *look) {
        const File *file = state->data;
        bool pending = state->flags & AGENTD_STATE_PENDING;
        int r;

        *look = (Look){ .path = state->name, .kind = KIND_ABSENT, .dir_fd = -1, .pending = pending };
        look->mode = file_mode(file, file->kind, file->kind == KIND_DIRECTORY ? 0755 : 0644);
        if (look_up_ids(c, i, file, pending, look) < 0)
                return -1;

        r = agentd_open_parent(c, state->name, &look->dir_fd, &look->name);
        if (r == -ENOENT || (r == -ENOTDIR && file->kind == KIND_ABSENT)) {
                look->dir_fd = -1;
                if (file->kind == KIND_ABSENT || file->make_parents || pending)
                        return 0;
                agentd_failed(c, i,
                        "the directory of '%s' does not exist; parents = { create = true } makes it",
                        state->name);
                return -1;
        }
        if (r < 0) {
                agentd_failed(c, i, "Failed to open the directory of '%s': %s", state->name, explain(r));
                return -1;
        }

        look->has_remains = file->force && force_has_remains(look);
        if (statx(look->dir_fd, look->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
                    &look->st) < 0) {
                if (errno == ENOENT)
                        return 0;
                agentd_failed(c, i, "Failed to look at '%s': %s", state->name, explain(-errno));
                return -1;
        }
        look->kind = kind_of(look->st.stx_mode);
        if (look->kind != kind_on_disk(file->kind))
                return look_at_wrong_kind(c, i, file, look);
        return look_at_mode(c, i, file, look);
}

int open_regular(int dir_fd, const char *name) {
        int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

        return fd < 0 ? -errno : fd;
}

int open_for_attributes(int dir_fd, const char *name, Kind kind) {
        int fd = openat(dir_fd, name,
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY |
                        (kind == KIND_DIRECTORY ? O_DIRECTORY : 0));

        return fd < 0 ? -errno : fd;
}

int open_source(AgentdContext *c, const File *file) {
        int fd, r = agentd_open_source(c, file->source, &fd);

        return r < 0 ? r : fd;
}
