/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What states about whole trees need, of <agentd/module.h>: who owns what, and changes in an open directory. */

#include <fcntl.h>
#include <sys/stat.h>

#include "context.h"

/* ---- Owners ---------------------------------------------------------------------------------------------------------- */

/* The first of the sorted paths that is not before this one. */
static uint32_t lower_bound(const Image *image, const char *path) {
        const ImagePath *paths = image_array(image, paths, ImagePath);
        uint32_t first = 0, n = image->header->paths.n;

        while (n > 0) {
                uint32_t half = n / 2;

                if (path_compare(image_text(image, paths[first + half].path), path) < 0) {
                        first += half + 1;
                        n -= half + 1;
                } else
                        n = half;
        }
        return first;
}

AgentdOwned agentd_owned(AgentdContext *context, size_t i, const char *path) {
        const Image *image = context->image;
        const ImagePath *paths = image_array(image, paths, ImagePath);
        AgentdOwned owned = AGENTD_OWNED_NOT;

        for (uint32_t k = lower_bound(image, path); k < image->header->paths.n; k++) {
                const char *rest = startswith(image_text(image, paths[k].path), path);

                /* "/" ends with the slash that goes before what is below. */
                if (!rest || (*rest && *rest != '/' && path[1] != 0))
                        break;
                if (paths[k].state == context->states[i])
                        continue;
                if (*rest)
                        return owned == AGENTD_OWNED_NOT ? AGENTD_OWNED_BELOW : owned;
                if (paths[k].kind != AGENTD_PATH_DIRECTORY)
                        return AGENTD_OWNED_WHOLE;
                owned = AGENTD_OWNED_PATH;
        }
        return owned;
}

/* ---- In an open directory -------------------------------------------------------------------------------------------- */

int agentd_make_directory_at(
        AgentdContext *context, int dir_fd, const char *name, const AgentdAttributes *attributes) {
        const PathCreate create = {
                .mode = attributes->mode,
                .uid = attributes->uid,
                .gid = attributes->gid,
        };
        char path[1 + NAME_MAX + 1];
        _cleanup_close_ int made = -EBADF;
        struct stat st;

        if (strlen(name) > NAME_MAX || strchr(name, '/'))
                return -EINVAL;
        context_will_change(context);
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0)
                return -EEXIST;
        (void) snprintf(path, sizeof(path), "/%s", name);
        return path_open_directory(dir_fd, path, PATH_NO_SYMLINKS | PATH_NO_SYNC, &create, &made);
}

int agentd_replace_symlink_at(
        AgentdContext *context, int dir_fd, const char *name, const char *target, uid_t uid, gid_t gid) {
        context_will_change(context);
        return path_make_symlink(dir_fd, name, target, uid, gid, PATH_NO_SYNC_DIRECTORY);
}

int agentd_remove_at(AgentdContext *context, int dir_fd, const char *name, bool directory) {
        if (!*name || strchr(name, '/') || streq(name, ".") || streq(name, ".."))
                return -EINVAL;
        context_will_change(context);
        if (unlinkat(dir_fd, name, directory ? AT_REMOVEDIR : 0) < 0)
                return errno == ENOENT ? 0 : -errno;
        return 0;
}
