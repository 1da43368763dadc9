/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a module need not read again, of <agentd/module.h>; identity.h says why that is right. */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "context.h"
#include "identity.h"

bool agentd_unchanged(AgentdContext *context, size_t i, const struct statx *files, size_t n_files) {
        const IdentityTable *table = context->image->identities;
        Identity identity;

        /* The check after an apply is to see for itself. */
        if (!table || context->phase != PHASE_CHECK || i >= context->n || context->finished[i])
                return false;
        return identity_make(table, files, n_files, &identity) >= 0 &&
               identity_holds(table, context->states[i], &identity, context->began_sec);
}

static bool file_system_is_good(AgentdContext *context, int fd, const struct statx *file) {
        uint64_t device = (uint64_t) file->stx_dev_major << 32 | file->stx_dev_minor;
        struct statfs fs;

        if (!context->device_is_known || context->device != device) {
                if (fstatfs(fd, &fs) < 0)
                        return false;
                context->device = device;
                context->device_is_known = true;
                context->device_is_good = identity_file_system_is_good((uint64_t) fs.f_type);
        }
        return context->device_is_good;
}

void agentd_remember_seen(
        AgentdContext *context, size_t i, const int *fds, const struct statx *files, size_t n) {
        const IdentityTable *table = context->image->identities;
        uint32_t good_for_sec = UINT32_MAX;
        Identity identity;

        if (!table || context->phase == PHASE_APPLY || i >= context->n || context->finished[i])
                return;
        for (size_t k = 0; k < n; k++) {
                if (!file_system_is_good(context, fds[k], &files[k]))
                        return;
                good_for_sec = MIN(good_for_sec, identity_good_for(&files[k], context->began_nsec));
        }
        if (good_for_sec == 0)
                return;
        if (identity_make(table, files, n, &identity) < 0)
                return;

        if (!context->identities)
                context->identities = calloc(context->n, sizeof(*context->identities));
        if (context->identities)
                context->identities[i] =
                        (FoundIdentity){ .identity = identity, .good_for_sec = good_for_sec };
}

void agentd_remember(AgentdContext *context, size_t i, const int *fds, size_t n_fds) {
        struct statx files[IDENTITY_FILES_MAX];

        if (n_fds > IDENTITY_FILES_MAX)
                return;
        for (size_t k = 0; k < n_fds; k++)
                if (statx(fds[k], "", AT_EMPTY_PATH, STATX_BASIC_STATS, &files[k]) < 0)
                        return;
        agentd_remember_seen(context, i, fds, files, n_fds);
}
