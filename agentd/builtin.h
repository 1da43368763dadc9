/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Helpers of expressions that modules bring along: AgentdBuiltin of <agentd/module.h>, as the language sees it. */

#include "expression.h"
#include "module-load.h"

#define BUILTIN_ARGUMENTS_MAX 16 /* whose types can be declared */

struct ModuleHelper {
        Helper helper;         /* first: what the evaluator hands back */
        AgentdBuiltin builtin; /* in our layout */
        const Module *module;
        char types[BUILTIN_ARGUMENTS_MAX + 1];
};

/* Checks what the module declares, and fills module->helpers. Return: 0; -EINVAL, -ENOMEM. */
int builtins_take(Module *module, char **reterr);

/* The helper of that name, or NULL. */
const Helper *module_find_helper(const Module *module, const char *name);

/* Whether a module of that name ("my-thing") may have the helper: my_thing(), or my_thing_WORD(). */
bool module_may_have_helper(const char *module, size_t size, const char *helper);
