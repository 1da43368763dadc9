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
        for (uint32_t i = 0; i < header->extras.n; i++)
                if (image_array(image, extras, ImageExtra)[i].hooks[HOOK_BEFORE_CHECK].n > 0)
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
static usec_t timeout_of(const AgentdContext *context, uint32_t state, const AgentdCommand *command) {
        usec_t all = image_state(context->image, state)->timeout_usec;
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

/* state: by its index in the image. */
static int run_command(
        AgentdContext *context, uint32_t state, const AgentdCommand *command, AgentdCommandResult *ret) {
        RunnerResult result = {};
        const char *step = NULL;
        usec_t timeout_usec;
        Runner *runner;
        bool secret;
        int r;

        r = get_runner(context, &runner);
        if (r < 0)
                return r;

        /* What is finished is told, so that the time of this state begins where we think it does. */
        (void) message_flush(&context->writer);
        timeout_usec = timeout_of(context, state, command);
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
        secret = command->flags & AGENTD_COMMAND_SECRET ||
                 image_state(context->image, state)->flags & IMAGE_STATE_SENSITIVE;
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

int context_run_in_sandbox(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret) {
        /* All that would need rights which a check has not. */
        if (command->user || command->group || command->unit || (command->flags & AGENTD_COMMAND_OUTPUT_FD))
                return -EOPNOTSUPP;
        if (i >= context->n)
                return -EINVAL;
        return run_command(context, context->states[i], command, ret);
}

/* ---- The hook before a check ------------------------------------------------------------------------------------- */

/* Return: as runner_run(), and -ENOMEM. *ret_explanation: what is wrong, if anything is; not to be freed. */
static int run_hook(AgentdContext *context, uint32_t state, uint64_t run, const char **ret_explanation) {
        const Image *image = context->image;
        const ImageArray *hook = image_hook(image, state, HOOK_BEFORE_CHECK);
        _cleanup_free_ const char **argv = calloc((size_t) hook->n + 1, sizeof(char *));
        _cleanup_free_ char *of_state = NULL, *of_run = NULL;
        const char *environment[] = { NULL, NULL, "AGENTD_HOOK=before_check", NULL };
        AgentdCommandResult result = {};
        int r;

        if (asprintf(&of_state, "AGENTD_STATE=%s", image_state_id(image, state)) < 0)
                of_state = NULL;
        if (asprintf(&of_run, "AGENTD_RUN=%" PRIu64, run) < 0)
                of_run = NULL;
        if (!argv || !of_state || !of_run)
                return -ENOMEM;
        environment[0] = of_state;
        environment[1] = of_run;
        for (uint32_t k = 0; k < hook->n; k++)
                argv[k] = image_list_text(image, *hook, k);
        r = run_command(context, state,
                &(AgentdCommand){
                        .size = sizeof(AgentdCommand),
                        .argv = argv,
                        .environment = environment,
                        .output_max = KIB(64),
                        .input_fd = -EBADF,
                        .output_fd = -EBADF,
                },
                &result);
        if (r >= 0 && (result.end != AGENTD_COMMAND_EXITED || result.code != 0))
                *ret_explanation = result.explanation;
        return r;
}

bool context_before_check(AgentdContext *context, uint32_t state, uint64_t run) {
        const char *explanation = NULL;
        char error[128], text[1024];
        usec_t now;
        int r;

        if (!image_hook(context->image, state, HOOK_BEFORE_CHECK))
                return true;

        /* The conditions of those before it are not its time. */
        context->since_usec = now_usec(CLOCK_MONOTONIC);
        r = run_hook(context, state, run, &explanation);
        if (r < 0) {
                (void) snprintf(error, sizeof(error), "it could not be run: %s", strerror(-r));
                explanation = error;
        }
        if (explanation) {
                (void) snprintf(text, sizeof(text), "its before_check: %s", explanation);
                context_result(context, state, VERDICT_BLOCKED, text);
                (void) message_flush(&context->writer);
                return false;
        }

        /* A sign of life: many of them, one after the other, may take longer than any of their states has time. */
        now = now_usec(CLOCK_MONOTONIC);
        message_begin(&context->writer, MESSAGE_PROGRESS);
        message_put_u32(&context->writer, state);
        message_put_u64(&context->writer, now - context->since_usec);
        (void) message_end(&context->writer);
        (void) message_flush(&context->writer);
        context->since_usec = context->flushed_usec = now;
        return true;
}
