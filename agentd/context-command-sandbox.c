/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Commands that decide: run in a check, beside the worker (runner.h), in a sandbox like its own. */

#include <inttypes.h>
#include <syslog.h>
#include <time.h>

#include "command.h"
#include "context.h"
#include "runner.h"

/* What of a state's time is left to tell of a command that took too long, before the engine kills the worker. */
#define MARGIN_USEC USEC_PER_SEC

/* Of the last line of standard error, in an explanation. */
#define LINE_MAX_SHOWN 200

int context_start_runner(const WorkerSetup *setup, Runner **ret) {
        const Image *image = setup->image;
        const ImageHeader *header = image->header;

        for (uint32_t i = 0; i < header->types.n; i++)
                if (image_type(image, i)->flags & AGENTD_CHECK_RUNS)
                        return runner_new(&setup->options->sandbox, setup->options->root, ret);
        return 0;
}

void context_stop_runner(AgentdContext *context) {
        context->runner = runner_free(context->runner);
        free(TAKE_PTR(context->output));
        free(TAKE_PTR(context->errors));
        free(TAKE_PTR(context->explanation));
}

/* One that is there already, or one in the place where this worker is. */
static int get_runner(AgentdContext *context, Runner **ret) {
        bool sandboxed = context->kind == WORKER_CHECK && !context->options->unsandboxed;
        int r;

        if (!context->runner) {
                if (sandboxed && !context->root_is_host) {
                        context_log(context, LOG_ERR,
                                "The type '%s' runs commands in a check without having said so, which is "
                                "not possible with --root",
                                context->type->name);
                        return -EOPNOTSUPP;
                }
                r = runner_new(NULL, context->options->root, &context->runner);
                if (r < 0)
                        return r;
        }
        *ret = context->runner;
        return 0;
}

/* The command's time, or what is left of the state's. */
static usec_t timeout_of(const AgentdContext *context, size_t i, const AgentdCommand *command) {
        usec_t all = image_state(context->image, context->states[i])->timeout_usec;
        usec_t gone = now_usec(CLOCK_MONOTONIC) - context->since_usec;
        usec_t left = all > gone ? all - gone : 0;

        left -= MIN(left / 10, MARGIN_USEC);
        left = MAX(left, USEC_PER_MSEC);
        return command->timeout_usec > 0 ? MIN(left, command->timeout_usec) : left;
}

/* The last line that says something, for people, or its begin; to be freed. */
static char *last_line(const char *text, size_t size) {
        size_t begin;

        while (size > 0 && (unsigned char) text[size - 1] <= ' ')
                size--;
        begin = size;
        while (begin > 0 && text[begin - 1] != '\n')
                begin--;
        return strndup(text + begin, MIN(size - begin, (size_t) LINE_MAX_SHOWN));
}

static char *explain(
        const AgentdCommand *command, const RunnerResult *result, bool secret, usec_t timeout_usec) {
        _cleanup_free_ char *last = secret ? NULL : last_line(result->errors, result->errors_size);
        char detail[256];

        if (result->end == AGENTD_COMMAND_NOT_RUN)
                (void) snprintf(
                        detail, sizeof(detail), "could not %s: %s", result->step, strerror(result->code));
        return command_explain(&(CommandEnding){
                .end = result->end,
                .code = result->code,
                .timeout_usec = timeout_usec,
                .program = command->argv[0],
                .detail = result->end == AGENTD_COMMAND_NOT_RUN && !streq(result->step, RUNNER_STEP_EXECUTE)
                                  ? detail
                                  : NULL,
                .last = last,
        });
}

int context_run_in_sandbox(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret) {
        RunnerResult result = {};
        const char *step = NULL;
        usec_t timeout_usec;
        Runner *runner;
        bool secret;
        int r;

        /* All that would need rights which a check has not. */
        if (command->user || command->group || command->unit || (command->flags & AGENTD_COMMAND_OUTPUT_FD))
                return -EOPNOTSUPP;
        if (i >= context->n)
                return -EINVAL;
        r = get_runner(context, &runner);
        if (r < 0)
                return r;

        /* What is finished is told, so that the time of this state begins where we think it does. */
        (void) message_flush(&context->writer);
        timeout_usec = timeout_of(context, i, command);
        r = runner_run(runner, command, timeout_usec, &result, &step);
        if (r < 0) {
                context_log(context, LOG_WARNING, "A command of a check could not be run%s%s: %s",
                        step ? ": could not " : "", step ?: "", strerror(-r));
                /* It is somewhere in the middle, if it is there at all. */
                context->runner = runner_free(context->runner);
                return r;
        }

        free(context->output);
        free(context->errors);
        free(context->explanation);
        context->output = result.output;
        context->errors = result.errors;
        secret = command->flags & AGENTD_COMMAND_SECRET || context_is_sensitive(context, i);
        context->explanation = explain(command, &result, secret, timeout_usec);
        *ret = (AgentdCommandResult){
                .size = sizeof(*ret),
                .status = result.status,
                .output = context->output,
                .output_size = result.output_size,
                .errors = context->errors,
                .errors_size = result.errors_size,
                .end = result.end,
                .code = result.code,
                .truncated = result.truncated,
                .duration_usec = result.duration_usec,
                .cpu_usec = result.cpu_usec,
                .memory_max_bytes = UINT64_MAX,
                .explanation = context->explanation ?: "out of memory",
        };
        return 0;
}
