/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The end of its list of state types is missing. */

#include "bad.h"

#define ONE        &type
#define EIGHT      ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE
#define SIXTY_FOUR EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT

static const AgentdStateType type = GOOD_TYPE("bad-type-endless");
static const AgentdStateType *const types[] = { SIXTY_FOUR, SIXTY_FOUR, SIXTY_FOUR, SIXTY_FOUR, SIXTY_FOUR };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-type-endless", types) };
