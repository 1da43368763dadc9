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

int agentd_rewrite_file(AgentdContext *context, const char *path, int fd, const void *content, size_t size) {
        _cleanup_(path_replace_abort) PathReplacement replacement = {};
        struct stat st, now;
        const char *name;
        int dir_fd, r;

        context_will_change(context);
        r = agentd_open_parent(context, path, &dir_fd, &name);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        r = path_replace_begin(&replacement, dir_fd, name);
        if (r < 0)
                return r;
        r = path_replace_write(&replacement, content, size);
        if (r < 0)
                return r;
        /* The owner first: a change of it takes away file capabilities, which are an attribute. */
        if (fchown(replacement.fd, st.st_uid, st.st_gid) < 0)
                return -errno;
        r = copy_xattrs(fd, replacement.fd);
        if (r < 0)
                return r;
        if (fstatat(dir_fd, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? -ESTALE : -errno;
        if (now.st_dev != st.st_dev || now.st_ino != st.st_ino || now.st_size != st.st_size ||
                now.st_mtim.tv_sec != st.st_mtim.tv_sec || now.st_mtim.tv_nsec != st.st_mtim.tv_nsec)
                return -ESTALE;
        return path_replace_commit(&replacement, (uid_t) -1, (gid_t) -1, st.st_mode & 07777, 0);
}
