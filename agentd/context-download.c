/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Downloads, by a program of their own.
 */

#include "context.h"

int agentd_download(AgentdContext *context, size_t i, const AgentdDownload *download, int *ret_fd) {
        return -EOPNOTSUPP;
}

const char *agentd_download_error(AgentdContext *context) {
        return "";
}
