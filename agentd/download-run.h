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
 * @ret_gone:     set in any case: systemd has seen the end of all that it was. PID 1 and the engine, who handed the file on, may
 *                have it open for another moment. If false, only the program itself is known to have ended.
 *
 * Return: 0; -EINVAL: it cannot be run, which *reterr says, malloc'ed; -ETIMEDOUT; -EPROTO: it said nothing sensible; other
 * -errno.
 */
int fetch_run(AgentdContext *context, size_t i, const char *request, int fd, usec_t timeout_usec,
        DownloadAnswer *ret, bool *ret_gone, char **reterr);
