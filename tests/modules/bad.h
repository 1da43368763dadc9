/* SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

/* What the modules here have in common: they differ from one that could be used by one mistake each. */

#include <agentd/module.h>

__attribute__((unused)) static int check(
        AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                agentd_done(c, i);
        return 0;
}

/* A state type without parameters. */
#define GOOD_TYPE(name_) \
        { .name = (name_), .check = check, .apply = check }

/* Members of a module that are right, to be followed by those that are not. */
#define GOOD_MODULE(name_, types)                                                                    \
        .abi = AGENTD_ABI, .size = sizeof(AgentdModule), .state_type_size = sizeof(AgentdStateType), \
        .parameter_size = sizeof(AgentdParameter), .name = (name_), .version = "1", .state_types = (types)

extern const AgentdModule agentd_module;
