/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its name has letters that no name has. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-name-letters");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("Bad Name", types) };
