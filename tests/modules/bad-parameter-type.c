/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A parameter is of a type to come. */

#include "bad.h"

static const AgentdParameter parameters[] = {
        { .name = "one", .type = (AgentdType) 99 },
        {},
};
static const AgentdStateType type = {
        .name = "bad-parameter-type", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-parameter-type", types) };
