/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its parameters are too short. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-parameter-size");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { .abi = AGENTD_ABI,
        .size = sizeof(AgentdModule),
        .state_type_size = sizeof(AgentdStateType),
        .parameter_size = 8,
        .name = "bad-parameter-size",
        .version = "1",
        .state_types = types };
