/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its helper takes at least more than at most. */

#include <agentd/module.h>

__attribute__((unused)) static int call(AgentdCall *c, const AgentdValue *args, size_t n, AgentdValue *ret) {
        return 0;
}

__attribute__((unused)) static const AgentdType types[] = { AGENTD_STRING, AGENTD_MODE, AGENTD_NONE };
static const AgentdBuiltin helper = {
        .size = sizeof(AgentdBuiltin), .name = "bad_helper_arity", .call = call, .min_args = 2, .max_args = 1
};
static const AgentdBuiltin *const helpers[] = { &helper, NULL };

AGENTD_MODULE_BUILTINS("bad-helper-arity", "1", helpers);
