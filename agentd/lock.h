/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One agentd at a time changes this host. */

#define RUN_DIRECTORY "/run/agentd"
#define LOCK_FILE     RUN_DIRECTORY "/lock"

/* Return: a descriptor, which holds the lock as long as it is open; -EWOULDBLOCK: somebody else has it; other -errno. */
int lock_take(void);
