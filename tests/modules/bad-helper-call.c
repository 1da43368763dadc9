/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its helper has no callback. */

#include <agentd/module.h>

__attribute__((unused)) static int call(AgentdCall *c, const AgentdValue *args, size_t n, AgentdValue *ret) {
        return 0;
}

__attribute__((unused)) static const AgentdType types[] = { AGENTD_STRING, AGENTD_MODE, AGENTD_NONE };
static const AgentdBuiltin helper = { .size = sizeof(AgentdBuiltin), .name = "bad_helper_call" };
static const AgentdBuiltin *const helpers[] = { &helper, NULL };

AGENTD_MODULE_BUILTINS("bad-helper-call", "1", helpers);
