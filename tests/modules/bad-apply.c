/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its state type has no apply. */

#include "bad.h"

static const AgentdStateType type = { .name = "bad-apply", .check = check };
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-apply", types) };
