/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A process beside a worker that starts the commands which decide: `unless` and the like, what a module asks in a check.
 *
 * The worker cannot do it itself: what can be done only with privileges, which it has given up, is a /tmp that no other check
 * sees, a root, and process ids of one's own. With the latter one kill ends all that a command has started, however it tries to
 * get away, and nothing else: the worker has children as well that must live on. It is therefore forked before the worker enters
 * its sandbox, and enters one of its own, if the image has a state type with AGENTD_CHECK_RUNS; otherwise when it is first needed,
 * and then commands can write nowhere.
 *
 * It ends with the worker, and all commands end with it.
 */

#include "module.h"
#include "sandbox.h"
#include "util.h"

typedef struct Runner Runner;

/* The step at which a program itself is what is wrong. */
#define RUNNER_STEP_EXECUTE "execute it"

/*
 * runner_new() - forks it
 * @sandbox: that it is to enter, by one who may; NULL: it stays where it is
 * @root:    of paths; without a sandbox another one than "/" takes CAP_SYS_CHROOT
 *
 * Return: 0; -errno. That it could not set itself up is said when it is first asked.
 */
int runner_new(const SandboxOptions *sandbox, const char *root, Runner **ret);

Runner *runner_free(Runner *runner);
DEFINE_CLEANUP(Runner *, runner_free)

/* What runner_run() tells; the texts are the caller's, to be freed, and ended by a NUL that is not counted. */
typedef struct RunnerResult {
        AgentdCommandEnd end;
        int code, status;
        char *output, *errors;
        size_t output_size, errors_size;
        bool truncated;
        usec_t duration_usec, cpu_usec;
        const char *step; /* if it was not run: what could not be done, RUNNER_STEP_EXECUTE above all */
} RunnerResult;

void runner_result_done(RunnerResult *result);

/*
 * runner_run() - runs a program and waits until it, and all that it has started, is gone
 * @environment: PATH and LANG are added where it lacks them
 * @input_fd:    its standard input, if not negative, instead of the bytes
 * @output_max:  bytes that are kept of its output and its errors each
 *
 * Return: 0; -E2BIG: too long; -ECONNRESET: the runner is gone; other -errno: it could not set itself up, or not be asked. For
 * the last *ret_step says what went wrong, and may be NULL.
 */
int runner_run(Runner *runner, const AgentdCommand *command, usec_t timeout_usec, RunnerResult *ret,
        const char **ret_step);
