/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It has no version. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-version");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { .abi = AGENTD_ABI,
        .size = sizeof(AgentdModule),
        .state_type_size = sizeof(AgentdStateType),
        .parameter_size = sizeof(AgentdParameter),
        .name = "bad-version",
        .state_types = types };
