/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It provides nothing. */

#include "bad.h"

static const AgentdStateType *const types[] = { NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-empty", types) };
