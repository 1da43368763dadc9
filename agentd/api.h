/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The local interface: what docs/api.md promises, and docs/openapi.json describes, over lib/http.h. It looks at the engine and
 * asks it for things; nothing is kept here but who waits for an answer or follows.
 */

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "engine.h"

/* Who may; see docs/api.md. */
#define API_READER_GROUP "agentd"
#define API_WRITER_GROUP "agentd-admin"

typedef struct ApiOptions {
        const char *state_directory; /* as the engine's, for what is shown; must stay */

        /* Groups whose members may read, and write. 0: API_READER_GROUP and API_WRITER_GROUP as /etc/group has them now;
         * (gid_t) -1: none. */
        gid_t reader_gid, writer_gid;
} ApiOptions;

typedef struct Api Api;

/* The engine must stay. Return: 0; -errno, logged. */
int api_new(sd_event *event, Engine *engine, const ApiOptions *options, Api **ret);

/* Ends all connections; to be called before engine_free(). */
Api *api_free(Api *api);
DEFINE_CLEANUP(Api *, api_free)

/* Takes connections from a listening Unix socket, which stays the caller's. Return: 0; -errno. */
int api_listen(Api *api, int fd);

/* Takes no more connections: they wait for whoever listens next. */
void api_close(Api *api);

/* True while answers are on their way: whoever ends agentd waits for them, if only for a moment. */
bool api_is_sending(const Api *api);
