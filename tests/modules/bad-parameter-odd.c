/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Says a size of parameters that none can have: the pointers of the second one would lie between two. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-parameter-odd");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = {
        .abi = AGENTD_ABI,
        .size = sizeof(AgentdModule),
        .state_type_size = sizeof(AgentdStateType),
        .parameter_size = sizeof(AgentdParameter) + 4,
        .name = "bad-parameter-odd",
        .version = "1",
        .state_types = types,
};
