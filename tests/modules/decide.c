/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * decide: runs a command in each check and reports what came of it, as differences. Built twice; decide-quietly does not say
 * beforehand that its checks run something.
 *
 *      [decide.tmp]
 *      shell = "touch /tmp/x"
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <agentd/module.h>

#ifdef QUIETLY
#define NAME  "decide-quietly"
#define FLAGS 0
#else
#define NAME  "decide"
#define FLAGS AGENTD_CHECK_RUNS
#endif

enum { P_SHELL, P_COMMAND, P_INPUT, P_USER, P_DIRECTORY, P_OUTPUT_MAX, P_TIMEOUT };

static const AgentdParameter parameters[] = {
        [P_SHELL] = { .name = "shell", .type = AGENTD_STRING, .documentation = "what /bin/sh runs" },
        [P_COMMAND] = { .name = "command",
                .type = AGENTD_LIST,
                .documentation = "or a program and its arguments" },
        [P_INPUT] = { .name = "input", .type = AGENTD_STRING, .documentation = "its standard input" },
        [P_USER] = { .name = "as", .type = AGENTD_STRING, .documentation = "the user it runs as" },
        [P_DIRECTORY] = { .name = "directory", .type = AGENTD_STRING, .documentation = "where it runs" },
        [P_OUTPUT_MAX] = { .name = "output_max",
                .type = AGENTD_INTEGER,
                .default_value = "0",
                .documentation = "bytes of output" },
        [P_TIMEOUT] = { .name = "limit",
                .type = AGENTD_TIMESPAN,
                .default_value = "0",
                .documentation = "its own timeout" },
        {},
};

static void decide(AgentdContext *c, const AgentdState *state, size_t i) {
        const AgentdValue *values = state->data;
        const char *argv[64] = { "/bin/sh", "-c", values[P_SHELL].string };
        AgentdCommandResult result = { .size = sizeof(result) };
        AgentdCommand command = {
                .size = sizeof(command),
                .argv = argv,
                .input = values[P_INPUT].type == AGENTD_STRING ? values[P_INPUT].string : NULL,
                .input_size = values[P_INPUT].type == AGENTD_STRING ? values[P_INPUT].size : 0,
                .user = values[P_USER].type == AGENTD_STRING ? values[P_USER].string : NULL,
                .directory = values[P_DIRECTORY].type == AGENTD_STRING ? values[P_DIRECTORY].string : NULL,
                .output_max = (size_t) values[P_OUTPUT_MAX].integer,
                .timeout_usec = (uint64_t) values[P_TIMEOUT].integer,
        };
        int r;

        if (values[P_COMMAND].type == AGENTD_LIST) {
                for (uint32_t k = 0; k < values[P_COMMAND].n && k < 63; k++)
                        argv[k] = values[P_COMMAND].items[k].string;
                argv[values[P_COMMAND].n] = NULL;
        }
        r = agentd_run_command(c, i, &command, &result);
        if (r < 0) {
                agentd_failed(c, i, "agentd_run_command() says %s", strerrorname_np(-r));
                return;
        }
        agentd_differs_integer(c, i, "end", result.end, result.code);
        agentd_differs_string(c, i, "output", result.output, result.errors);
        agentd_differs_string(
                c, i, "explanation", result.explanation, result.truncated ? "truncated" : "whole");
        agentd_done(c, i);
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                decide(c, &states[i], i);
        return 0;
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                agentd_done(c, i);
        return 0;
}

static const AgentdStateType decide_type = {
        .name = NAME,
        .documentation = "Tells what comes of a command in a check",
        .parameters = parameters,
        .flags = FLAGS,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE(NAME, "1", &decide_type);
