/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It declares a parameter twice. */

#include "bad.h"

static const AgentdParameter parameters[] = {
        { .name = "one", .type = AGENTD_STRING },
        { .name = "two", .type = AGENTD_STRING },
        { .name = "one", .type = AGENTD_INTEGER },
        {},
};
static const AgentdStateType type = {
        .name = "bad-twice", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-twice", types) };
