/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Programs that modules run while they check: children of the worker, in its sandbox. */

#include "context.h"

int context_run_in_sandbox(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret) {
        return -EOPNOTSUPP;
}
