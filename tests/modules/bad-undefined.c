/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It calls what this agentd does not have. */

#include "bad.h"

int agentd_of_tomorrow(AgentdContext *c);

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        return agentd_of_tomorrow(c);
}

static const AgentdStateType type = { .name = "bad-undefined", .check = check, .apply = apply };
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-undefined", types) };
