/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A parameter is of no type. */

#include "bad.h"

static const AgentdParameter parameters[] = {
        { .name = "one" },
        {},
};
static const AgentdStateType type = {
        .name = "bad-parameter-none", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-parameter-none", types) };
