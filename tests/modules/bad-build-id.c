/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It is linked without a build id. */

#include "bad.h"

static const AgentdStateType type = GOOD_TYPE("bad-build-id");
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-build-id", types) };
