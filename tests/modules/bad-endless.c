/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The end of its list of parameters is missing. Enough follow that reading on does no harm. */

#include "bad.h"

#define ONE \
        { .name = "one", .type = AGENTD_STRING }
#define EIGHT      ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE
#define SIXTY_FOUR EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT

static const AgentdParameter parameters[] = { SIXTY_FOUR, SIXTY_FOUR, SIXTY_FOUR, SIXTY_FOUR, SIXTY_FOUR };
static const AgentdStateType type = {
        .name = "bad-endless", .parameters = parameters, .check = check, .apply = check
};
static const AgentdStateType *const types[] = { &type, NULL };

AGENTD_EXPORT const AgentdModule agentd_module = { GOOD_MODULE("bad-endless", types) };
