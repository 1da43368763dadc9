/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It calls itself by the beginning of its file's name only. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-name-prefix");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-name", types) };
