/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whose systemd: that of the host, or of a user. What a worker knows of them it keeps, as it does not live for long. */

#include <agentd/module.h>

#include "enablement.h"
#include "units.h"

typedef struct Manager {
        struct Manager *next;
        AgentdContext *context; /* of the call that goes on */
        Units units;
        UnitFiles *files; /* NULL: not read yet */
        char *user;       /* NULL: the host's */
        uid_t uid;
        gid_t gid;
        char *home;
        sd_bus *bus;     /* of a user's; NULL: none */
        char error[256]; /* why there is no connection; "" */
} Manager;

/*
 * manager_get() - that of the host (user NULL), or of a user
 *
 * Return: 0; -ESRCH: there is no such user; other -errno.
 */
int manager_get(AgentdContext *context, const char *user, Manager **ret);

/* At the end of what is done with it for now. */
void manager_let_go(Manager *manager);

/* The unit files as they are now; good until the next call. Return: 0; -errno. */
int manager_files(Manager *manager, UnitFiles **ret);

/* Whether a user's manager runs, and whether it does so without the user being logged in. */
bool manager_is_there(const Manager *manager);
bool manager_lingers(const Manager *manager);

/* Changes that, by logind; starts it, by the host's systemd. Return: 0; -errno, and units.error. */
int manager_set_linger(Manager *manager, bool linger);
int manager_start(Manager *manager, uint64_t deadline_usec);
