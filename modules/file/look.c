/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is at the path, and the ids that the state's names stand for. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "file.h"

const char *const kind_names[] = { "file", "directory", "symlink", "absent", "special file" };

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

int file_look(AgentdContext *c, size_t i, const AgentdState *state, Look *look) {
        const File *file = state->data;
        bool pending = state->flags & AGENTD_STATE_PENDING;
        int r;

        *look = (Look){ .path = state->name, .kind = KIND_ABSENT, .dir_fd = -1 };
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

        if (statx(look->dir_fd, look->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
                    &look->st) < 0) {
                if (errno == ENOENT)
                        return 0;
                agentd_failed(c, i, "Failed to look at '%s': %s", state->name, explain(-errno));
                return -1;
        }
        look->kind = kind_of(look->st.stx_mode);

        if (look->kind != file->kind && file->kind != KIND_ABSENT) {
                agentd_failed(c, i, "'%s' is a %s and should be a %s; it is not replaced, remove it first",
                        state->name, kind_names[look->kind], kind_names[file->kind]);
                return -1;
        }
        return 0;
}

int open_regular(int dir_fd, const char *name) {
        int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

        return fd < 0 ? -errno : fd;
}

int open_source(AgentdContext *c, const File *file) {
        int fd, r = agentd_open_source(c, file->source, &fd);

        return r < 0 ? r : fd;
}
