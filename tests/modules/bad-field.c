/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A field of a record has a type to come; another record before it is fine. */

#include "bad.h"

static const AgentdParameter good[] = { { .name = "x", .type = AGENTD_STRING }, {} };
static const AgentdParameter bad[] = { { .name = "x", .type = (AgentdType) 99 }, {} };
static const AgentdParameter parameters[] = {
        { .name = "fine", .type = AGENTD_RECORD, .fields = good },
        { .name = "one", .type = AGENTD_RECORD, .fields = bad },
        {},
};
static const AgentdStateType type = {
        .name = "bad-field", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-field", types) };
