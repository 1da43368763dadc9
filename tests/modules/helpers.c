/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Helpers of expressions: good ones, ones that fail, and ones that return what is no value. No state types. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <agentd/module.h>

static int call_echo(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        *ret = args[0];
        return 0;
}

static int call_double(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        if (args[0].integer > 1000000)
                return agentd_call_error(call, 0, "%lld is too much", (long long) args[0].integer);
        *ret = (AgentdValue){ .type = AGENTD_INTEGER, .integer = 2 * args[0].integer };
        return 0;
}

/* A list of tables, one for each argument. */
static int call_rows(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        AgentdValue *rows = agentd_call_alloc(call, n * sizeof(*rows));
        AgentdMember *members = agentd_call_alloc(call, n * sizeof(*members));

        for (size_t i = 0; i < n; i++) {
                members[i] = (AgentdMember){ .key = "name", .value = args[i] };
                rows[i] = (AgentdValue){ .type = AGENTD_TABLE, .n = 1, .members = &members[i] };
        }
        *ret = (AgentdValue){ .type = AGENTD_LIST, .n = (uint32_t) n, .items = rows };
        return 0;
}

static int call_fail(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        return n == 0 ? -ENOENT : agentd_call_error(call, -1, "it is '%s'", args[0].string);
}

static int call_record(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        *ret = (AgentdValue){ .type = AGENTD_RECORD };
        return 0;
}

static int call_bytes(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        *ret = (AgentdValue){ .type = AGENTD_STRING, .string = "\xff", .size = 1 };
        return 0;
}

/* A list that is its own item. */
static int call_deep(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        AgentdValue *item = agentd_call_alloc(call, sizeof(*item));

        *item = *ret = (AgentdValue){ .type = AGENTD_LIST, .n = 1, .items = item };
        return 0;
}

static int call_crash(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        abort();
}

/* Whether there is such a file, and how large it is. */
static int call_size(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        int fd = agentd_call_open(call, args[0].string, 0);
        struct stat st;

        if (fd == -ENOENT)
                return 0;
        if (fd < 0 || fstat(fd, &st) < 0)
                return fd < 0 ? fd : -errno;
        (void) close(fd);
        *ret = (AgentdValue){ .type = AGENTD_INTEGER, .integer = st.st_size };
        return 0;
}

/* Whether the file can be made: not in a sandbox. */
static int call_write(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret) {
        int fd = open(args[0].string, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        *ret = (AgentdValue){ .type = AGENTD_BOOLEAN, .boolean = fd >= 0 };
        if (fd >= 0)
                (void) close(fd);
        return 0;
}

static const AgentdType string[] = { AGENTD_STRING, AGENTD_NONE };
static const AgentdType integer[] = { AGENTD_INTEGER, AGENTD_NONE };

#define HELPER(word, min, max, ...)                                                  \
        static const AgentdBuiltin builtin_##word = { .size = sizeof(AgentdBuiltin), \
                .name = "helpers_" #word,                                            \
                .min_args = (min),                                                   \
                .max_args = (max),                                                   \
                .call = call_##word,                                                 \
                __VA_ARGS__ }

HELPER(echo, 1, 1, .arguments = "value", .documentation = "the value");
HELPER(double, 1, 1, .arguments = "number", .types = integer);
HELPER(rows, 0, AGENTD_ANY_NUMBER, .arguments = "name, …");
HELPER(fail, 0, 1, .types = string);
HELPER(record, 0, 0);
HELPER(bytes, 0, 0);
HELPER(deep, 0, 0);
HELPER(crash, 0, 0);
/* The same where a worker calls it. */
static const AgentdBuiltin builtin_die = {
        .size = sizeof(AgentdBuiltin),
        .name = "helpers_die",
        .flags = AGENTD_BUILTIN_HOST,
        .call = call_crash,
};
HELPER(size, 1, 1, .arguments = "path", .types = string, .flags = AGENTD_BUILTIN_HOST);
HELPER(write, 1, 1, .arguments = "path", .types = string, .flags = AGENTD_BUILTIN_HOST);
/* Not told to look at the host, and so it cannot. */
static const AgentdBuiltin builtin_peek = {
        .size = sizeof(AgentdBuiltin),
        .name = "helpers_peek",
        .min_args = 1,
        .max_args = 1,
        .types = string,
        .call = call_size,
};

static const AgentdBuiltin *const helpers[] = { &builtin_echo, &builtin_double, &builtin_rows, &builtin_fail,
        &builtin_record, &builtin_bytes, &builtin_deep, &builtin_crash, &builtin_size, &builtin_write,
        &builtin_peek, &builtin_die, NULL };

AGENTD_MODULE_BUILTINS("helpers", "1", helpers);
