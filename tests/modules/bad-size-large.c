/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The size of its description is beyond reason. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-size-large");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = {
        .abi = AGENTD_ABI, .size = 1 << 20, .state_types = types
};
