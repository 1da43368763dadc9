/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A parameter has a name that nobody would write. */

#include "bad.h"

static const AgentdParameter parameters[] = {
        { .name = "One", .type = AGENTD_STRING },
        {},
};
static const AgentdStateType type = {
        .name = "bad-parameter-name", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-parameter-name", types) };
