/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lies about its parameters in a way that cannot be told from a header to come: their size is too large, so that the name
 * of the second one is taken from its flags. Whoever looks at that crashes. */

#include "bad.h"

static const AgentdParameter parameters[] = {
        { .name = "one", .type = AGENTD_STRING },
        { .name = "two", .type = AGENTD_STRING, .flags = AGENTD_REQUIRED },
        {},
};
static const AgentdStateType type = {
        .name = "bad-stride", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = {
        .abi = AGENTD_ABI,
        .size = sizeof(AgentdModule),
        .state_type_size = sizeof(AgentdStateType),
        .parameter_size = sizeof(AgentdParameter) + sizeof(void *),
        .name = "bad-stride",
        .version = "1",
        .state_types = types,
};
