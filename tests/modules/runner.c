/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * runner: runs what it is told, and writes what came of it where its name says.
 *
 *      [runner."/tmp/outcome"]
 *      argv = ["/bin/echo", "hello"]
 *
 * The file is lines "key=value", then an empty line, the output, a line "--", the errors. A state is as declared when it
 * is there. `times` runs the program so often.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <agentd/module.h>

enum {
        P_ARGV,
        P_ENVIRONMENT,
        P_INPUT,
        P_USER,
        P_GROUP,
        P_DIRECTORY,
        P_DEADLINE,
        P_OUTPUT_MAX,
        P_UMASK,
        P_SECRET,
        P_QUIET,
        P_UNIT,
        P_TO_FILE,
        P_TIMES,
        P_DIES,
};

static const AgentdParameter parameters[] = {
        [P_ARGV] = { .name = "argv",
                .type = AGENTD_LIST,
                .flags = AGENTD_REQUIRED,
                .documentation = "what is run" },
        [P_ENVIRONMENT] = { .name = "environment", .type = AGENTD_LIST, .documentation = "NAME=value" },
        [P_INPUT] = { .name = "input", .type = AGENTD_STRING, .documentation = "standard input" },
        [P_USER] = { .name = "user", .type = AGENTD_STRING, .documentation = "who runs it" },
        [P_GROUP] = { .name = "group", .type = AGENTD_STRING, .documentation = "likewise" },
        [P_DIRECTORY] = { .name = "directory", .type = AGENTD_STRING, .documentation = "where" },
        [P_DEADLINE] = { .name = "deadline", .type = AGENTD_TIMESPAN, .documentation = "its time" },
        [P_OUTPUT_MAX] = { .name = "output_max", .type = AGENTD_INTEGER, .documentation = "bytes kept" },
        [P_UMASK] = { .name = "umask", .type = AGENTD_MODE, .documentation = "umask" },
        [P_SECRET] = { .name = "secret",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "flag" },
        [P_QUIET] = { .name = "quiet",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "flag" },
        [P_UNIT] = { .name = "unit", .type = AGENTD_TABLE, .documentation = "unit properties" },
        [P_TO_FILE] = { .name = "to_file", .type = AGENTD_STRING, .documentation = "gets the output" },
        [P_TIMES] = { .name = "times",
                .type = AGENTD_INTEGER,
                .default_value = "1",
                .documentation = "so often" },
        [P_DIES] = { .name = "dies",
                .type = AGENTD_STRING,
                .documentation = "the worker kills itself once this is there" },
        {},
};

static const char *string(const AgentdValue *value) {
        return value->type == AGENTD_STRING ? value->string : NULL;
}

static const char **list(const AgentdValue *value) {
        const char **copy = calloc(value->n + 1, sizeof(char *));

        for (uint32_t i = 0; copy && i < value->n; i++)
                copy[i] = value->items[i].string;
        return copy;
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                if (access(states[i].name, F_OK) < 0)
                        agentd_differs_string(c, i, "outcome", NULL, "there");
                agentd_done(c, i);
        }
        return 0;
}

static int write_outcome(const AgentdState *state, int r, const AgentdCommandResult *result) {
        static const char *const ends[] = { "exited", "killed", "timed-out", "not-run" };
        const char *base = strrchr(state->name, '/') + 1;
        char path[4096];
        FILE *f;

        /* Who waits for the file is to find all of it. */
        (void) snprintf(path, sizeof(path), "%.*s.%s.new", (int) (base - state->name), state->name, base);
        f = fopen(path, "we");
        if (!f)
                return -errno;
        if (r < 0)
                (void) fprintf(f, "error=%s\n", strerrorname_np(-r));
        else {
                (void) fprintf(f, "end=%s\ncode=%d\nstatus=%d\ntruncated=%u\n", ends[result->end],
                        result->code, result->status, result->truncated);
                (void) fprintf(f,
                        "output_size=%zu\nerrors_size=%zu\nduration=%" PRIu64 "\ncpu=%" PRIu64 "\n",
                        result->output_size, result->errors_size, result->duration_usec, result->cpu_usec);
                (void) fprintf(f, "memory=%" PRIu64 "\nexplanation=%s\n\n", result->memory_max_bytes,
                        result->explanation);
                (void) fwrite(
                        result->output, 1, result->output_size < 65536 ? result->output_size : 65536, f);
                (void) fputs("\n--\n", f);
                (void) fwrite(
                        result->errors, 1, result->errors_size < 65536 ? result->errors_size : 65536, f);
        }
        return fclose(f) == 0 && rename(path, state->name) == 0 ? 0 : -errno;
}

static int run_once(AgentdContext *c, const AgentdState *state, size_t i) {
        const AgentdValue *values = state->data;
        const char **argv = list(&values[P_ARGV]), **environment = list(&values[P_ENVIRONMENT]);
        AgentdCommandResult result = { .size = sizeof(result) };
        const char *to_file = string(&values[P_TO_FILE]);
        AgentdCommand command = {
                .size = sizeof(command),
                .argv = argv,
                .environment = environment,
                .input = string(&values[P_INPUT]),
                .input_size = values[P_INPUT].size,
                .timeout_usec = values[P_DEADLINE].type == AGENTD_INTEGER
                                        ? (uint64_t) values[P_DEADLINE].integer
                                        : 0,
                .flags = (values[P_SECRET].boolean ? AGENTD_COMMAND_SECRET : 0) |
                         (values[P_QUIET].boolean ? AGENTD_COMMAND_QUIET : 0) |
                         (values[P_UMASK].type == AGENTD_INTEGER ? AGENTD_COMMAND_UMASK : 0) |
                         (to_file ? AGENTD_COMMAND_OUTPUT_FD : 0),
                .umask = values[P_UMASK].type == AGENTD_INTEGER ? (uint32_t) values[P_UMASK].integer : 0,
                .directory = string(&values[P_DIRECTORY]),
                .user = string(&values[P_USER]),
                .group = string(&values[P_GROUP]),
                .unit = values[P_UNIT].type == AGENTD_TABLE ? &values[P_UNIT] : NULL,
                .output_max = values[P_OUTPUT_MAX].type == AGENTD_INTEGER
                                      ? (size_t) values[P_OUTPUT_MAX].integer
                                      : 0,
        };
        FILE *file = to_file ? fopen(to_file, "we") : NULL;
        int r;

        if (file)
                command.output_fd = fileno(file);
        r = agentd_run_command(c, i, &command, &result);
        if (file)
                (void) fclose(file);
        free(argv);
        free(environment);
        return write_outcome(state, r, &result);
}

/* Somebody who has died before does not die again. */
static void die(const AgentdState *state) {
        const char *path = string(&((const AgentdValue *) state->data)[P_DIES]);
        pid_t me = getpid();

        if (!path || fork() != 0)
                return;
        while (access(path, F_OK) < 0)
                (void) usleep(1000);
        (void) unlink(path);
        (void) kill(me, 9);
        _exit(0);
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                int64_t times = ((const AgentdValue *) states[i].data)[P_TIMES].integer;
                int r = 0;

                die(&states[i]);
                while (r >= 0 && times-- > 0)
                        r = run_once(c, &states[i], i);
                if (r < 0)
                        agentd_failed(c, i, "it could not be written down: %s", strerror(-r));
                else
                        agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType type = {
        .name = "runner",
        .documentation = "Runs a program and tells of it",
        .parameters = parameters,
        .flags = AGENTD_NAME_IS_PATH,
        .batch_max = 1,
        .check = check,
        .apply = apply,
};
AGENTD_MODULE("runner", "1", &type);
