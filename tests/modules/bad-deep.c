/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its record holds itself. */

#include "bad.h"

static const AgentdParameter parameters[] = {
        { .name = "one", .type = AGENTD_RECORD, .fields = parameters },
        {},
};
static const AgentdStateType type = {
        .name = "bad-deep", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-deep", types) };
