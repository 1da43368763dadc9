/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "context.h"
#include "download.h"

/*
 * fetch_run() - starts agentd-fetch, and waits for its end
 * @i:            index of the state in the batch
 * @request:      JSON for its standard input; a secret
 * @fd:           the file that it writes
 * @timeout_usec: after which it is killed
 *
 * When this returns nobody has the file open through it any more.
 *
 * Return: 0; -EINVAL: it cannot be run, which *reterr says, malloc'ed; -ETIMEDOUT; -EPROTO: it said nothing sensible; other
 * -errno.
 */
int fetch_run(AgentdContext *context, size_t i, const char *request, int fd, usec_t timeout_usec,
        DownloadAnswer *ret, char **reterr);
