/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The path operations of <agentd/module.h>, over lib/paths.h. */

#include <fcntl.h>
#include <sys/stat.h>

#include "context.h"

int agentd_open_parent(AgentdContext *context, const char *path, int *ret_fd, const char **ret_name) {
        /* The root has no parent within itself. */
        if (path[0] == '/' && path[1] == 0) {
                *ret_fd = context->root_fd;
                *ret_name = ".";
                return 0;
        }
        return path_cache_parent(&context->paths, path, NULL, ret_fd, ret_name);
}

static int open_source_root(AgentdContext *context) {
        int r;

        if (context->sources.root_fd >= 0)
                return 0;
        r = path_open_root("/", &context->host_fd);
        if (r < 0)
                return r;
        context->sources.root_fd = context->host_fd;
        return 0;
}

/* The directory that holds a source: a path of the host, whatever is managed. */
static int open_source_parent(AgentdContext *context, const char *path, int *ret_fd, const char **ret_name) {
        int r;

        r = open_source_root(context);
        return r < 0 ? r : path_cache_parent(&context->sources, path, NULL, ret_fd, ret_name);
}

int agentd_open_source(AgentdContext *context, const char *path, int *ret_fd) {
        _cleanup_close_ int directory = -EBADF, fd = -EBADF;
        const char *name;
        struct stat st;
        int dir_fd, r;

        r = open_source_parent(context, path, &dir_fd, &name);
        if (r < 0)
                return r;
        r = path_open_file(dir_fd, name, ret_fd, NULL);
        if (r != -ELOOP)
                return r;

        /* A link. If only root could have put it there, and those that it leads to, the walk ends at "no directory". */
        r = path_open_directory(context->sources.root_fd, path, 0, NULL, &directory);
        if (r != -ENOTDIR)
                return r < 0 ? r : -EISDIR;
        fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -ENXIO;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int agentd_open_source_directory(AgentdContext *context, const char *path, int *ret_fd) {
        _cleanup_close_ int found = -EBADF;
        int fd, r;

        r = open_source_root(context);
        if (r < 0)
                return r;
        r = path_open_directory(context->sources.root_fd, path, 0, NULL, &found);
        if (r < 0)
                return r;
        fd = openat(found, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int agentd_stat_source(AgentdContext *context, const char *path, struct statx *ret) {
        struct statx file;
        const char *name;
        int dir_fd, r;

        r = open_source_parent(context, path, &dir_fd, &name);
        if (r < 0)
                return r;
        if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &file) < 0)
                return -errno;
        if (S_ISLNK(file.stx_mode))
                return -ELOOP;
        if (!S_ISREG(file.stx_mode))
                return S_ISDIR(file.stx_mode) ? -EISDIR : -ENXIO;
        *ret = file;
        return 0;
}

int agentd_make_parents(AgentdContext *context, const char *path, const AgentdAttributes *attributes) {
        const PathCreate create = {
                .mode = attributes->mode,
                .uid = attributes->uid,
                .gid = attributes->gid,
        };
        const char *name;
        int fd;

        context_will_change(context);
        return path_cache_parent(&context->paths, path, &create, &fd, &name);
}

/* Shows the new file to the module, as it is going to be, under the name that it has for the moment. */
static int finish(AgentdContext *context, const PathReplacement *p, const char *path, const char *name,
        const AgentdReplacement *replacement) {
        const AgentdAttributes *attributes = &replacement->attributes;
        char temporary[PATH_MAX];
        struct stat st;
        int n;

        n = snprintf(temporary, sizeof(temporary), "%.*s%s", (int) (name - path), path, p->temporary);
        if (n < 0 || (size_t) n >= sizeof(temporary))
                return -ENAMETOOLONG;
        if (fstat(p->fd, &st) < 0)
                return -errno;
        /* The owner first: changing it clears set-id bits. */
        if ((st.st_uid != attributes->uid || st.st_gid != attributes->gid) &&
                fchown(p->fd, attributes->uid, attributes->gid) < 0)
                return -errno;
        if ((st.st_mode & 07777) != (attributes->mode & 07777) &&
                fchmod(p->fd, attributes->mode & 07777) < 0)
                return -errno;
        return replacement->finish(context, p->fd, temporary, replacement->userdata);
}

int context_fill_replacement(AgentdContext *context, PathReplacement *p, int dir_fd, const char *path,
        const char *name, const AgentdReplacement *replacement) {
        int r;

        if (replacement->fd >= 0 && lseek(replacement->fd, 0, SEEK_SET) < 0)
                return -errno;
        r = path_replace_begin(p, dir_fd, name);
        if (r < 0)
                return r;
        r = replacement->fd >= 0 ? path_replace_copy(p, replacement->fd, UINT64_MAX, NULL)
                                 : path_replace_write(p, replacement->content, replacement->content_size);
        if (r >= 0 && replacement->flags & AGENTD_REPLACE_REWRITE)
                r = context_copy_attributes(p, replacement->old_fd, &replacement->attributes);
        if (r >= 0 && replacement->finish)
                r = finish(context, p, path, name, replacement);
        if (r < 0)
                path_replace_abort(p);
        return r;
}

int context_replace(AgentdContext *context, const char *path, const AgentdReplacement *wanted) {
        bool rewrite = wanted->flags & AGENTD_REPLACE_REWRITE;
        _cleanup_(path_replace_abort) PathReplacement p = {};
        AgentdReplacement replacement = *wanted;
        struct stat old;
        const char *name;
        int fd, r = 0;

        if (rewrite)
                r = context_take_attributes(&replacement, &old);
        if (r < 0)
                return r;
        context_will_change(context);
        r = agentd_open_parent(context, path, &fd, &name);
        if (r < 0)
                return r;
        r = context_fill_replacement(context, &p, fd, path, name, &replacement);
        if (r >= 0 && rewrite)
                r = context_is_still(&p, &old);
        if (r < 0)
                return r;
        /* Owners that are set once more would take away file capabilities. */
        return path_replace_commit(&p, rewrite ? (uid_t) -1 : replacement.attributes.uid,
                rewrite ? (gid_t) -1 : replacement.attributes.gid, replacement.attributes.mode, 0);
}

int agentd_replace_file(AgentdContext *context, const char *path, const void *content, size_t size,
        const AgentdAttributes *attributes) {
        return context_replace(context, path,
                &(AgentdReplacement){
                        .content = content,
                        .content_size = size,
                        .fd = -1,
                        .attributes = *attributes,
                });
}

int agentd_replace_file_from(
        AgentdContext *context, const char *path, int source, const AgentdAttributes *attributes) {
        return context_replace(
                context, path, &(AgentdReplacement){ .fd = source, .attributes = *attributes });
}

int agentd_replace_symlink(
        AgentdContext *context, const char *path, const char *target, uid_t uid, gid_t gid) {
        const char *name;
        int fd, r;

        context_will_change(context);
        r = agentd_open_parent(context, path, &fd, &name);
        return r < 0 ? r : path_make_symlink(fd, name, target, uid, gid, 0);
}

int agentd_remove(AgentdContext *context, const char *path) {
        const char *name;
        int fd, r;

        context_will_change(context);
        r = agentd_open_parent(context, path, &fd, &name);
        if (r >= 0) {
                r = path_remove(fd, name, 0);
                path_cache_clear(&context->paths);
                path_cache_clear(&context->sources);
        }
        return r == -ENOENT ? 0 : r;
}

int agentd_make_directory(AgentdContext *context, const char *path, const AgentdAttributes *attributes) {
        const PathCreate create = {
                .mode = attributes->mode,
                .uid = attributes->uid,
                .gid = attributes->gid,
        };
        _cleanup_close_ int made = -EBADF;
        const char *name;
        struct stat st;
        int fd, r;

        context_will_change(context);
        r = agentd_open_parent(context, path, &fd, &name);
        if (r < 0)
                return r;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0)
                return -EEXIST;
        return path_open_directory(context->root_fd, path, 0, &create, &made);
}
