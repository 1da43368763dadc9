/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes the path as declared, after recording what undoes it. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/validate.h"
#include "file.h"

void record_undo(AgentdContext *c, size_t i, const File *file, const Look *look) {
        const char *kind = kind_names[look->kind];
        bool lost = look->kind != kind_on_disk(file->kind);
        AgentdValue value = { .type = AGENTD_STRING, .string = kind, .size = strlen(kind) };

        agentd_undo(c, i, "ensure", &value);
        if (look->kind == KIND_ABSENT)
                return;
        value = (AgentdValue){ .type = AGENTD_INTEGER, .integer = look->st.stx_mode & 07777 };
        agentd_undo(c, i, "mode", &value);
        value.integer = look->st.stx_uid;
        agentd_undo(c, i, "uid", &value);
        value.integer = look->st.stx_gid;
        agentd_undo(c, i, "gid", &value);

        if (look->kind == KIND_SYMLINK && (look->target_differs || lost)) {
                char target[PATH_MAX];
                ssize_t n = readlinkat(look->dir_fd, look->name, target, sizeof(target) - 1);

                if (n >= 0) {
                        target[n] = 0;
                        value = (AgentdValue){ .type = AGENTD_STRING, .string = target, .size = (size_t) n };
                        agentd_undo(c, i, "target", &value);
                }
        }
        if (look->kind == KIND_FILE && (look->content_differs || look->target_differs || lost)) {
                int fd CLOSED = open_regular(look->dir_fd, look->name);

                if (fd >= 0)
                        agentd_keep_file(c, i, "content", fd);
        }
        /* A new owner does not get all that the old one had. */
        record_extended_undo(c, i, file, look,
                lost || look->target_differs || look->owner_differs || look->group_differs);
}

/* The mode that what is there keeps. A new owner or group has not agreed to its set-id bits: they go, as the kernel has
 * it with chown(). */
mode_t kept_mode(const Look *look, mode_t mode) {
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
 * Whether an open file is the one that is meant, before its mode, owner or flags are set by descriptor, so that nothing can be
 * put in its place meanwhile. In a directory that others can write, a file with several names may be a hard link to somebody
 * else's file: hands off.
 *
 * Return: 0; -errno, and for people why.
 */
static int may_change(int dir_fd, Kind kind, int fd, const char **ret_error) {
        struct stat st, dir;

        if (fstat(fd, &st) < 0 || fstat(dir_fd, &dir) < 0)
                return -errno;
        if (kind_of(st.st_mode) != kind) {
                *ret_error = "it was replaced in the meantime";
                return -EBUSY;
        }
        if (kind == KIND_DIRECTORY || ((dir.st_mode & 022) == 0 && dir.st_uid == 0))
                return 0;
        if (st.st_nlink > 1) {
                *ret_error = "it has other hard links, in a directory that others can write";
                return -EPERM;
        }
        if (has_lost_name(fd)) {
                /* The one name that was counted is another one. In this order: a name that is still there now was among those
                 * that were counted. */
                *ret_error = "it was replaced in the meantime";
                return -EBUSY;
        }
        return 0;
}

/* Of an open file or directory; a link has an owner only, and nothing to sync by its descriptor. */
static int set_open_attributes(
        AgentdContext *c, const File *file, const Look *look, int fd, const char **ret_error) {
        bool owner = look->owner_differs || look->group_differs;
        mode_t mode = 0;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (extras_of(file)->has_acl)
                r = mode_with_acl(c, file,
                        look->mode != KEEP ? (mode_t) look->mode : kept_mode(look, look->seen_mode), &mode,
                        ret_error);
        else {
                mode = look->mode != KEEP ? (mode_t) look->mode : kept_mode(look, st.st_mode);
                r = 0;
        }
        if (r < 0)
                return r;
        /* The owner first: changing it clears set-uid bits. */
        if (owner && fchownat(fd, "", look->uid, look->gid, AT_EMPTY_PATH) < 0)
                return -errno;
        if (file->kind == KIND_SYMLINK)
                return 0;
        r = set_extended(c, file, look, fd, ret_error);
        if (r < 0)
                return r;
        /* After the list, of which it sets the mask. */
        if ((look->mode != KEEP || owner || extras_of(file)->has_acl) && fchmod(fd, mode) < 0)
                return -errno;
        return 0;
}

/* Takes the flags from what is there, so that it can be changed. Return: 0; -errno. */
static int take_flags(const Look *look, int fd, const char **ret_error) {
        int r = may_change(look->dir_fd, look->kind, fd, ret_error);

        return r < 0 ? r : clear_flags(fd);
}

static bool wants_flags(const File *file, const Look *look) {
        return has_flags(look) || extras_of(file)->immutable == 1 || extras_of(file)->append_only == 1;
}

int set_attributes(AgentdContext *c, const File *file, const Look *look, const char **ret_error) {
        bool link = file->kind == KIND_SYMLINK, flags = !link && wants_flags(file, look);
        int fd CLOSED = -1;
        int r, s = 0;

        fd = link ? openat(look->dir_fd, look->name, O_PATH | O_NOFOLLOW | O_CLOEXEC)
                  : open_for_attributes(look->dir_fd, look->name, file->kind);
        if (fd < 0)
                return link ? -errno : fd;
        agentd_will_change(c);
        r = may_change(look->dir_fd, kind_on_disk(file->kind), fd, ret_error);
        if (r < 0)
                return r;
        if (has_flags(look))
                r = clear_flags(fd);
        if (r >= 0)
                r = set_open_attributes(c, file, look, fd, ret_error);
        if (flags)
                s = set_flags(file, look, fd);
        if (r >= 0)
                r = s;
        if (r >= 0 && !link && !look->sync_later && fsync(fd) < 0)
                r = -errno;
        return r;
}

/* ---- Making ---------------------------------------------------------------------------------------------------- */

typedef struct Making {
        AgentdContext *context;
        size_t i;
        const File *file;
        Look *look;
        AgentdAttributes attributes;
        int fetched; /* has the content; -1: it was not fetched */
        int old_fd;  /* of the file that is replaced; -1: none, or its attributes are of no interest */
        bool at_once;
        bool flags_are_off; /* of the old one */
        const char *error;
} Making;

/* The new file, before it takes its place. */
static int finish_file(AgentdContext *c, int fd, const char *path, void *userdata) {
        Making *making = userdata;
        struct stat st;
        int r = 0;

        if (making->old_fd >= 0)
                r = keep_extended(making->file, making->look, making->old_fd, fd, &making->error);
        if (r >= 0)
                r = set_extended(c, making->file, making->look, fd, &making->error);
        if (r < 0)
                return r;
        /* A list brings a mode along: the command is to see the one that the file will have. */
        if (fstat(fd, &st) < 0 ||
                ((st.st_mode & 07777) != making->attributes.mode && fchmod(fd, making->attributes.mode) < 0))
                return -errno;
        if (extras_of(making->file)->validate) {
                static char error[VALIDATE_ERROR_MAX];

                r = validate_run(c, making->i, extras_of(making->file)->validate, path, error);
                if (r < 0) {
                        making->error = error;
                        return r;
                }
        }
        if (making->old_fd < 0 || !has_flags(making->look))
                return 0;
        r = take_flags(making->look, making->old_fd, &making->error);
        making->flags_are_off = r >= 0;
        return r;
}

/* Return: as agentd_replace(). */
static int make_file(Making *making, const char *path) {
        const File *file = making->file;
        int source CLOSED = -1;
        AgentdReplacement replacement = {
                .size = sizeof(replacement),
                .content = file->content ? file->content : "",
                .content_size = file->content_size,
                .fd = -1,
                .flags = making->at_once ? 0 : AGENTD_REPLACE_STAGED,
                .attributes = making->attributes,
                .userdata = making,
        };

        replacement.fd = making->fetched;
        if (file->source) {
                source = open_source(making->context, file);
                if (source < 0)
                        return source;
                replacement.fd = source;
        }
        if (making->old_fd >= 0 || extras_of(file)->has_extended || extras_of(file)->validate)
                replacement.finish = finish_file;
        return agentd_replace(making->context, making->i, path, &replacement);
}

static int make_directory(Making *making, const char *path) {
        int r = agentd_make_directory(making->context, path, &making->attributes);
        int fd CLOSED = -1;
        const char *name;
        int dir_fd;

        if (r < 0 || !extras_of(making->file)->has_extended)
                return r;
        r = agentd_open_parent(making->context, path, &dir_fd, &name);
        if (r < 0)
                return r;
        fd = open_for_attributes(dir_fd, name, KIND_DIRECTORY);
        if (fd < 0)
                return fd;
        r = set_extended(making->context, making->file, making->look, fd, &making->error);
        if (r >= 0 && (fchmod(fd, making->attributes.mode) < 0 || fsync(fd) < 0))
                r = -errno;
        return r;
}

/* A further name for a file, in place of whatever file is there. */
static int make_hardlink(Making *making, const char *path) {
        int target CLOSED = -1, dir CLOSED = -1;
        const char *name;
        char temporary[32];
        struct stat st;
        int fd, r;

        r = agentd_open_parent(making->context, making->file->target, &fd, &name);
        if (r < 0)
                return r;
        target = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (target < 0 || fstat(target, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode)) {
                making->error = "the target was replaced in the meantime";
                return -EBUSY;
        }
        r = agentd_open_parent(making->context, path, &fd, &name);
        if (r < 0)
                return r;
        dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
                return -errno;

        agentd_will_change(making->context);
        link_name(name, temporary);
        (void) unlinkat(dir, temporary, 0);
        if (linkat(target, "", dir, temporary, AT_EMPTY_PATH) < 0) {
                r = -errno;
                if (r == -EXDEV)
                        making->error = "the target is on another file system";
                return r;
        }
        r = renameat(dir, temporary, dir, name) < 0 ? -errno : 0;
        /* Nothing happens if the old one is a name of the same file already. */
        (void) unlinkat(dir, temporary, 0);
        if (r >= 0 && fsync(dir) < 0 && errno != EINVAL && errno != EOPNOTSUPP)
                r = -errno;
        return r;
}

/* What is missing, or of another kind, or to be replaced as a whole. Return: 0; STAGED; -errno. */
static int make_at(const char *path, void *userdata) {
        Making *making = userdata;
        int r;

        switch (making->file->kind) {
        case KIND_FILE: r = make_file(making, path); return r >= 0 && !making->at_once ? STAGED : r;
        case KIND_DIRECTORY: return make_directory(making, path);
        case KIND_SYMLINK:
                return agentd_replace_symlink(making->context, path, making->file->target,
                        making->attributes.uid, making->attributes.gid);
        case KIND_HARDLINK: return make_hardlink(making, path);
        default: return -EINVAL;
        }
}

/* Flags are set when all else is done: with them nothing can be. */
static int set_flags_of_new(Making *making) {
        const char *name;
        int fd CLOSED = -1;
        int dir_fd, r;

        r = agentd_open_parent(making->context, making->look->path, &dir_fd, &name);
        if (r < 0)
                return r;
        fd = open_for_attributes(dir_fd, name, making->file->kind);
        r = fd < 0 ? fd : may_change(dir_fd, making->file->kind, fd, &making->error);
        return r < 0 ? r : set_flags(making->file, making->look, fd);
}

static int remove_it(
        AgentdContext *c, size_t i, const File *file, const Look *look, const char **ret_error) {
        int fd CLOSED = -1;
        int r = 0;

        if (has_flags(look)) {
                fd = open_for_attributes(look->dir_fd, look->name, look->kind);
                agentd_will_change(c);
                r = fd < 0 ? fd : take_flags(look, fd, ret_error);
        }
        if (r < 0)
                return r;
        if (file->force && look->kind == KIND_DIRECTORY)
                return force_make(c, i, file, look, NULL, NULL, ret_error);
        return agentd_remove(c, look->path);
}

/* Owner and mode of what is made. */
static int find_attributes(Making *making, bool new) {
        const File *file = making->file;
        const Look *look = making->look;
        mode_t mode = look->mode != KEEP         ? (mode_t) look->mode
                      : new                      ? (file->kind == KIND_DIRECTORY ? 0755 : 0644)
                      : extras_of(file)->has_acl ? kept_mode(look, look->seen_mode)
                                                 : kept_mode(look, look->st.stx_mode);

        making->attributes = (AgentdAttributes){
                .mode = mode,
                .uid = look->uid != (uid_t) KEEP ? look->uid
                       : new                     ? 0
                                                 : look->st.stx_uid,
                .gid = look->gid != (gid_t) KEEP ? look->gid
                       : new                     ? 0
                                                 : look->st.stx_gid,
        };
        return mode_with_acl(making->context, file, mode, &making->attributes.mode, &making->error);
}

static int make(Making *making, bool new) {
        const File *file = making->file;
        Look *look = making->look;
        bool wrong = new && look->kind != KIND_ABSENT;
        int fetched CLOSED = -1, old_fd CLOSED = -1;
        int r;

        r = find_attributes(making, new);
        if (r < 0)
                return r;
        /* Before anything is changed. */
        if (extras_of(file)->download) {
                fetched = fetch_download(making->context, making->i, file, &making->error);
                if (fetched < 0)
                        return fetched;
                making->fetched = fetched;
        }
        if (look->dir_fd < 0) {
                const AgentdAttributes parents = { .mode = file->parents_mode };

                r = agentd_make_parents(making->context, look->path, &parents);
                if (r < 0)
                        return r;
        }

        if (!new && file->kind == KIND_FILE) {
                old_fd = open_regular(look->dir_fd, look->name);
                if (old_fd < 0)
                        return old_fd;
                making->old_fd = old_fd;
        }
        /* Who waits for a download does not also wait for those of others. */
        making->at_once = wrong || extras_of(file)->download || wants_flags(file, look);
        if (wrong && has_flags(look)) {
                old_fd = open_for_attributes(look->dir_fd, look->name, look->kind);
                r = old_fd < 0 ? old_fd : take_flags(look, old_fd, &making->error);
                if (r < 0)
                        return r;
        }

        /* One file, or link, takes the place of another by a rename; of a directory, or a directory, it does not. */
        if (wrong && (look->kind == KIND_DIRECTORY || file->kind == KIND_DIRECTORY))
                r = force_make(making->context, making->i, file, look, make_at, making, &making->error);
        else
                r = make_at(look->path, making);
        if (r < 0 && making->flags_are_off)
                (void) set_flags(file, look, making->old_fd);
        if (r == 0 && (extras_of(file)->immutable == 1 || extras_of(file)->append_only == 1))
                r = set_flags_of_new(making);
        return r;
}

int file_make(AgentdContext *c, size_t i, const AgentdState *state, Look *look, const char **ret_error) {
        const File *file = state->data;
        bool new = look->kind != kind_on_disk(file->kind);
        Making making = { .context = c, .i = i, .file = file, .look = look, .fetched = -1, .old_fd = -1 };
        int r;

        *ret_error = is_protected(file, look);
        if (*ret_error)
                return -EPERM;
        if (look->has_remains) {
                r = force_clean(c, look);
                if (r < 0) {
                        *ret_error = "what was there before could not be removed";
                        return r;
                }
                /* Which also closed the directory. */
                if (file_look(c, i, state, look) < 0 || file_compare(c, i, file, look) < 0)
                        return FINISHED;
                new = look->kind != kind_on_disk(file->kind);
        }
        if (file->kind == KIND_ABSENT)
                return remove_it(c, i, file, look, ret_error);
        if (!new && !look->content_differs && !look->target_differs)
                return file->kind == KIND_HARDLINK ? 0 : set_attributes(c, file, look, ret_error);
        r = make(&making, new);
        *ret_error = making.error;
        return r;
}
