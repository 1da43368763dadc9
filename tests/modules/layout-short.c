/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Built with a header that ended with the state types, before there was anything else to provide. */

#include <string.h>

#include "bad.h"

static const AgentdParameter parameters[] = {
        { .name = "one", .type = AGENTD_STRING, .default_value = "1" },
        { .name = "two", .type = AGENTD_BOOLEAN },
        {},
};
static const AgentdStateType type = {
        .name = "layout-short", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

/* What follows in memory is none of agentd's business. */
typedef struct ShortModule {
        uint32_t abi, size, state_type_size, parameter_size;
        const char *name, *version;
        const AgentdStateType *const *state_types;
        const AgentdStateType *const *garbage[4];
} ShortModule;

AGENTD_EXPORT const ShortModule short_module __asm__("agentd_module");
AGENTD_EXPORT const ShortModule short_module = {
        .abi = AGENTD_ABI,
        .size = offsetof(ShortModule, garbage),
        .state_type_size = sizeof(AgentdStateType),
        .parameter_size = sizeof(AgentdParameter),
        .name = "layout-short",
        .version = "1",
        .state_types = types,
        .garbage = { types, types, types, types },
};
