/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It was built for a module interface to come. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-abi");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = {
        .abi = 2, .size = sizeof(AgentdModule), .name = "bad-abi", .version = "1", .state_types = types
};
