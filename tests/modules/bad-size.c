/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The size of its description is too small to hold what every version has. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-size");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { .abi = AGENTD_ABI, .size = 24, .state_types = types };
