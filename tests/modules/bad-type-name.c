/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its state type has a name that no role could write. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad_type");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-type-name", types) };
