/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It provides a trigger type, which is for an agentd to come. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-trigger");
static const AgentdStateType *const types[] = { &type, NULL };
static const AgentdTriggerType *const triggers[] = { (const AgentdTriggerType *) &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = {
        GOOD_MODULE("bad-trigger", types),
        .trigger_types = triggers,
};
