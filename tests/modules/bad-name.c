/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It calls itself otherwise than its file. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-name");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("other", types) };
