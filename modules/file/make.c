/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes the path as declared, after recording what undoes it. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "file.h"

void record_undo(AgentdContext *c, size_t i, const File *file, const Look *look) {
        const AgentdValue absent = { .type = AGENTD_STRING, .string = "absent", .size = 6 };
        AgentdValue value;

        if (look->kind == KIND_ABSENT) {
                agentd_undo(c, i, "ensure", &absent);
                return;
        }
        value = (AgentdValue){ .type = AGENTD_INTEGER, .integer = look->st.stx_mode & 07777 };
        agentd_undo(c, i, "mode", &value);
        value.integer = look->st.stx_uid;
        agentd_undo(c, i, "uid", &value);
        value.integer = look->st.stx_gid;
        agentd_undo(c, i, "gid", &value);

        if (look->kind == KIND_SYMLINK && (look->target_differs || file->kind == KIND_ABSENT)) {
                char target[PATH_MAX];
                ssize_t n = readlinkat(look->dir_fd, look->name, target, sizeof(target) - 1);

                if (n >= 0) {
                        target[n] = 0;
                        value = (AgentdValue){ .type = AGENTD_STRING, .string = target, .size = (size_t) n };
                        agentd_undo(c, i, "target", &value);
                }
        }
        if (look->kind == KIND_FILE && (look->content_differs || file->kind == KIND_ABSENT)) {
                int fd CLOSED = open_regular(look->dir_fd, look->name);
                size_t size;
                char *text = fd >= 0 ? read_shown(fd, &size) : NULL;

                if (text) {
                        value = (AgentdValue){ .type = AGENTD_STRING, .string = text, .size = size };
                        agentd_undo(c, i, "content", &value);
                }
                free(text);
        }
}

/* The mode that what is there keeps. A new owner or group has not agreed to its set-id bits: they go, as the kernel has
 * it with chown(). */
static mode_t kept_mode(const Look *look, mode_t mode) {
        bool gone = (look->owner_differs || look->group_differs) && !S_ISDIR(look->st.stx_mode);

        return mode & (gone ? 01777 : 07777);
}

/* Whether what was opened has lost the name by which it was opened; also if that cannot be told. */
static bool has_lost_name(int fd) {
        static const char deleted[] = " (deleted)";
        char link[64], path[PATH_MAX];
        size_t length = sizeof(deleted) - 1;
        ssize_t n;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path));
        return n < 0 || (size_t) n == sizeof(path) ||
               ((size_t) n >= length && memcmp(path + n - length, deleted, length) == 0);
}

/*
 * Sets mode and owner of what is there, by descriptor, so that nothing can be put in its place meanwhile. In a
 * directory that others can write, a file with several names may be a hard link to somebody else's file: hands off.
 */
static int set_attributes(const File *file, const Look *look, const char **ret_error) {
        bool link = file->kind == KIND_SYMLINK;
        struct stat st, dir;
        int fd, r = 0;

        fd = openat(look->dir_fd, look->name,
                link ? O_PATH | O_NOFOLLOW | O_CLOEXEC
                     : O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY |
                                (file->kind == KIND_DIRECTORY ? O_DIRECTORY : 0));
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || fstat(look->dir_fd, &dir) < 0)
                r = -errno;
        else if (kind_of(st.st_mode) != file->kind) {
                *ret_error = "it was replaced in the meantime";
                r = -EBUSY;
        } else if (file->kind != KIND_DIRECTORY && ((dir.st_mode & 022) != 0 || dir.st_uid != 0)) {
                if (st.st_nlink > 1) {
                        *ret_error = "it has other hard links, in a directory that others can write";
                        r = -EPERM;
                } else if (has_lost_name(fd)) {
                        /* The one name that was counted is another one. In this order: a name that is still there now
                         * was among those that were counted. */
                        *ret_error = "it was replaced in the meantime";
                        r = -EBUSY;
                }
        }
        /* The owner first: changing it clears set-uid bits. */
        if (r == 0 && (look->owner_differs || look->group_differs) &&
                fchownat(fd, "", look->uid, look->gid, AT_EMPTY_PATH) < 0)
                r = -errno;
        /* A link has no mode, and nothing to sync by its descriptor. */
        if (r == 0 && !link && (file->mode != KEEP || look->owner_differs || look->group_differs) &&
                fchmod(fd, file->mode != KEEP ? (mode_t) file->mode : kept_mode(look, st.st_mode)) < 0)
                r = -errno;
        if (r == 0 && !link && fsync(fd) < 0)
                r = -errno;
        (void) close(fd);
        return r;
}

/* With an access control list the group's bits are its mask: kept as a mode they would let the group in. */
static bool has_acl(const Look *look) {
        int fd CLOSED = open_regular(look->dir_fd, look->name);

        return fd >= 0 && fgetxattr(fd, "system.posix_acl_access", NULL, 0) > 0;
}

int file_make(AgentdContext *c, size_t i, const AgentdState *state, Look *look, const char **ret_error) {
        const File *file = state->data;
        bool new = look->kind == KIND_ABSENT;
        const AgentdAttributes attributes = {
                .mode = file->mode != KEEP        ? (mode_t) file->mode
                        : !new                    ? kept_mode(look, look->st.stx_mode)
                        : file->kind == KIND_FILE ? 0644
                                                  : 0755,
                .uid = look->uid != (uid_t) KEEP ? look->uid
                       : new                     ? 0
                                                 : look->st.stx_uid,
                .gid = look->gid != (gid_t) KEEP ? look->gid
                       : new                     ? 0
                                                 : look->st.stx_gid,
        };
        int r;

        if (file->kind == KIND_ABSENT)
                return agentd_remove(c, state->name);

        if (look->dir_fd < 0) {
                const AgentdAttributes parents = { .mode = file->parents_mode };

                r = agentd_make_parents(c, state->name, &parents);
                if (r < 0)
                        return r;
        }

        if (file->kind == KIND_SYMLINK && look->target_differs)
                return agentd_replace_symlink(c, state->name, file->target, attributes.uid, attributes.gid);
        if (file->kind == KIND_DIRECTORY && new)
                return agentd_make_directory(c, state->name, &attributes);
        if (file->kind == KIND_FILE && (new || look->content_differs)) {
                if (!new && file->mode == KEEP && has_acl(look)) {
                        *ret_error = "it has an access control list, which would be lost; give 'mode' to go "
                                     "without";
                        return -EOPNOTSUPP;
                }
                if (file->download)
                        return make_download(c, i, state->name, file, &attributes, ret_error);
                if (file->source) {
                        int source CLOSED = open_source(c, file);

                        if (source < 0)
                                return source;
                        r = agentd_stage_file_from(c, i, state->name, source, &attributes);
                } else
                        r = agentd_stage_file(c, i, state->name, file->content ? file->content : "",
                                file->content_size, &attributes);
                return r < 0 ? r : STAGED;
        }
        return set_attributes(file, look, ret_error);
}
