/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Between the two sides of a runner, which are of one program and one boot: structs as they lie in memory. */

#include "runner.h"

#define RUNNER_STEP_MAX 64

/* Comes with three descriptors, for standard input, output and errors, and is followed by the strings, each with its NUL:
 * arguments, variables, directory. */
typedef struct RunnerRequest {
        uint64_t timeout_usec;
        uint32_t n_arguments, n_variables;
        uint32_t strings_size;
        uint32_t umask;
} RunnerRequest;

typedef struct RunnerReply {
        int32_t error; /* an errno: nothing was tried, because of the step */
        uint32_t end;  /* AgentdCommandEnd */
        int32_t code, status;
        uint64_t duration_usec, cpu_usec;
        char step[RUNNER_STEP_MAX];
} RunnerReply;

/* runner-main.c: its life. own_ids: it is the first process of a namespace of ids. */
_noreturn_ void runner_main(int fd, const SandboxOptions *sandbox, const char *root, bool own_ids);
