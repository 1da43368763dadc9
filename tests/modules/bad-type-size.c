/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its state types are too short to have an apply. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-type-size");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { .abi = AGENTD_ABI,
        .size = sizeof(AgentdModule),
        .state_type_size = offsetof(AgentdStateType, apply),
        .parameter_size = sizeof(AgentdParameter),
        .name = "bad-type-size",
        .version = "1",
        .state_types = types };
