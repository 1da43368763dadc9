/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Old content that is to be kept, and checksums.
 */

#include "context.h"

void agentd_keep(AgentdContext *context, size_t i, const char *what, const void *content, size_t size) {
        agentd_undo(context, i, what, NULL);
}

void agentd_keep_file(AgentdContext *context, size_t i, const char *what, int fd) {
        agentd_undo(context, i, what, NULL);
}

int agentd_has_checksum(AgentdContext *context, int fd, const char *checksum) {
        return -EOPNOTSUPP;
}
