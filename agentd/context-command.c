/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Programs that modules run. In apply the engine is asked to (context-command-unit.c), in check they are children in the
 * sandbox (context-command-sandbox.c).
 */

#include "command.h"
#include "context.h"

#define FLAGS_ALL                                                                 \
        (AGENTD_COMMAND_SECRET | AGENTD_COMMAND_QUIET | AGENTD_COMMAND_INPUT_FD | \
                AGENTD_COMMAND_OUTPUT_FD | AGENTD_COMMAND_UMASK)

/* The structs as the first header had them. */
#define COMMAND_SIZE_FIRST (offsetof(AgentdCommand, timeout_usec) + sizeof(uint64_t))
#define RESULT_SIZE_FIRST  (offsetof(AgentdCommandResult, errors_size) + sizeof(size_t))

/* What a newer header has behind what we know is all zero, or asks for something that we cannot do. */
static bool is_zero(const void *data, size_t size) {
        const uint8_t *bytes = data;

        for (size_t i = 0; i < size; i++)
                if (bytes[i] != 0)
                        return false;
        return true;
}

static int take_command(const AgentdCommand *given, AgentdCommand *ret) {
        if (!given || given->size < COMMAND_SIZE_FIRST)
                return -EINVAL;
        if (given->size > sizeof(*ret) &&
                !is_zero((const uint8_t *) given + sizeof(*ret), given->size - sizeof(*ret)))
                return -EINVAL;
        *ret = (AgentdCommand){};
        memcpy(ret, given, MIN(given->size, sizeof(*ret)));
        ret->size = sizeof(*ret);
        if (!(ret->flags & AGENTD_COMMAND_INPUT_FD))
                ret->input_fd = -EBADF;
        if (!(ret->flags & AGENTD_COMMAND_OUTPUT_FD))
                ret->output_fd = -EBADF;
        return 0;
}

static int check_command(const AgentdCommand *command) {
        static const AgentdValue nothing = { .type = AGENTD_TABLE };
        const AgentdValue *unit = command->unit ?: &nothing;

        if (command->flags & ~FLAGS_ALL || (!command->input && command->input_size > 0))
                return -EINVAL;
        if (command->flags & AGENTD_COMMAND_INPUT_FD && (command->input || command->input_fd < 0))
                return -EINVAL;
        if (command->flags & AGENTD_COMMAND_OUTPUT_FD && command->output_fd < 0)
                return -EINVAL;
        if (unit->type != AGENTD_TABLE && unit->type != AGENTD_NONE)
                return -EINVAL;
        return command_spec_check(&(CommandSpec){
                .argv = command->argv,
                .environment = command->environment,
                .input_fd = -EBADF,
                .output_fd = -EBADF,
                .output_max = command->output_max,
                .timeout_usec = command->timeout_usec ?: USEC_INFINITY,
                .user = command->user,
                .group = command->group,
                .umask = command->umask,
                .directory = command->directory,
        });
}

int agentd_run_command(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret) {
        AgentdCommandResult result = { .size = sizeof(result) };
        AgentdCommand today;
        size_t size;
        int r;

        r = take_command(command, &today);
        if (r >= 0)
                r = check_command(&today);
        if (r < 0)
                return r;
        if (i >= context->n || !ret || ret->size < RESULT_SIZE_FIRST)
                return -EINVAL;

        if (context->phase == PHASE_APPLY) {
                context_will_change(context);
                r = context_run_in_unit(context, i, &today, &result);
        } else
                r = context_run_in_sandbox(context, i, &today, &result);
        if (r < 0)
                return r;
        result.output = result.output ?: "";
        result.errors = result.errors ?: "";
        result.explanation = result.explanation ?: "";

        /* The caller's size stays; what it has room for beyond what we know is left alone. */
        size = MIN(ret->size, sizeof(result));
        result.size = ret->size;
        memcpy(ret, &result, size);
        return 0;
}
