/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A new content for a file that is there, which is the same in all else. */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "context.h"

#define XATTR_VALUE_MAX \
        65536 /* source: XATTR_SIZE_MAX of the kernel, linux/limits.h; so large is the list, too */

/* Those that are about the content, which is another one, or that a file system has for itself. */
static bool stays_behind(const char *name) {
        return streq(name, "security.ima") || streq(name, "security.evm") ||
               startswith(name, "trusted.overlay.");
}

static int copy_xattr(int from, int to, const char *name, char *value) {
        ssize_t size = fgetxattr(from, name, value, XATTR_VALUE_MAX);

        if (size < 0)
                return errno == ENODATA ? 0 : -errno;
        if (fsetxattr(to, name, value, (size_t) size, 0) == 0)
                return 0;
        /* A policy labels new files by itself. */
        return errno == EOPNOTSUPP && !startswith(name, "system.") ? 0 : -errno;
}

static int copy_xattrs(int from, int to) {
        _cleanup_free_ char *names = malloc(XATTR_VALUE_MAX), *value = malloc(XATTR_VALUE_MAX);
        ssize_t size;

        if (!names || !value)
                return -ENOMEM;
        size = flistxattr(from, names, XATTR_VALUE_MAX);
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                int r = stays_behind(name) ? 0 : copy_xattr(from, to, name, value);

                if (r < 0)
                        return r;
        }
        return 0;
}

int context_take_attributes(AgentdReplacement *replacement, struct stat *ret_old) {
        if (fstat(replacement->old_fd, ret_old) < 0)
                return -errno;
        if (!S_ISREG(ret_old->st_mode))
                return -EINVAL;
        replacement->attributes = (AgentdAttributes){
                .mode = ret_old->st_mode & 07777,
                .uid = ret_old->st_uid,
                .gid = ret_old->st_gid,
        };
        return 0;
}

int context_copy_attributes(const PathReplacement *p, int old_fd, const AgentdAttributes *attributes) {
        int r;

        /* The owner first: a change of it takes away file capabilities, which are an attribute; and the mode after the access
         * control list, which brings one along. */
        if (fchown(p->fd, attributes->uid, attributes->gid) < 0)
                return -errno;
        r = copy_xattrs(old_fd, p->fd);
        if (r < 0)
                return r;
        return fchmod(p->fd, attributes->mode) < 0 ? -errno : 0;
}

int context_is_still(const PathReplacement *p, const struct stat *old) {
        struct stat now;

        if (fstatat(p->dir_fd, p->name, &now, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? -ESTALE : -errno;
        return now.st_dev != old->st_dev || now.st_ino != old->st_ino || now.st_size != old->st_size ||
                               now.st_mtim.tv_sec != old->st_mtim.tv_sec ||
                               now.st_mtim.tv_nsec != old->st_mtim.tv_nsec
                       ? -ESTALE
                       : 0;
}

int agentd_rewrite_file(AgentdContext *context, const char *path, int fd, const void *content, size_t size) {
        return context_replace(context, path,
                &(AgentdReplacement){
                        .content = content,
                        .content_size = size,
                        .fd = -1,
                        .flags = AGENTD_REPLACE_REWRITE,
                        .old_fd = fd,
                });
}
