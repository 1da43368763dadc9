/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Programs that modules run. In apply the engine is asked to (context-command-unit.c), in check they are children in the
 * sandbox (context-command-sandbox.c).
 */

#include "context.h"

int agentd_run_command(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret) {
        if (context->phase == PHASE_APPLY)
                return -EOPNOTSUPP;
        return context_run_in_sandbox(context, i, command, ret);
}
