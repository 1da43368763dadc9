/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its helper says a size that cannot be. */

#include <agentd/module.h>

__attribute__((unused)) static int call(AgentdCall *c, const AgentdValue *args, size_t n, AgentdValue *ret) {
        return 0;
}

__attribute__((unused)) static const AgentdType types[] = { AGENTD_STRING, AGENTD_MODE, AGENTD_NONE };
static const AgentdBuiltin helper = { .size = 8, .name = "bad_helper_size", .call = call };
static const AgentdBuiltin *const helpers[] = { &helper, NULL };

AGENTD_MODULE_BUILTINS("bad-helper-size", "1", helpers);
