/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It has two state types of one name. */

#include "bad.h"

static const AgentdStateType one = GOOD_TYPE("bad-type-twice"), two = GOOD_TYPE("bad-type-twice");
static const AgentdStateType *const types[] = { &one, &two, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-type-twice", types) };
