/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Without a sandbox, which takes root: tests/box/test_deciding.py. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "runner.h"
#include "test.h"

#define LONG_USEC (30 * USEC_PER_SEC)

static void run(Runner *runner, AgentdCommand *command, usec_t timeout_usec, RunnerResult *ret) {
        const char *step;

        command->size = sizeof(*command);
        ASSERT_OK(runner_run(runner, command, timeout_usec, ret, &step));
}

static void run_shell(Runner *runner, const char *script, usec_t timeout_usec, RunnerResult *ret) {
        const char *const argv[] = { "/bin/sh", "-c", script, NULL };
        AgentdCommand command = { .argv = argv };

        run(runner, &command, timeout_usec, ret);
}

static Runner *start(void) {
        Runner *runner = NULL;

        (void) signal(SIGPIPE, SIG_IGN); /* as in a worker */
        ASSERT_OK(runner_new(NULL, "/", &runner));
        return runner;
}

TEST(how_it_ended) {
        static const struct {
                const char *script, *output, *errors;
                AgentdCommandEnd end;
                int code;
        } cases[] = {
                { "true", "", "", AGENTD_COMMAND_EXITED, 0 },
                { "exit 3", "", "", AGENTD_COMMAND_EXITED, 3 },
                { "exit 255", "", "", AGENTD_COMMAND_EXITED, 255 },
                { "echo out; echo err >&2; exit 1", "out\n", "err\n", AGENTD_COMMAND_EXITED, 1 },
                { "kill -TERM $$", "", "", AGENTD_COMMAND_KILLED, SIGTERM },
                { "kill -KILL $$", "", "", AGENTD_COMMAND_KILLED, SIGKILL },
                { "cat", "", "", AGENTD_COMMAND_EXITED, 0 },
                { "exec 1>&- 2>&-; exit 4", "", "", AGENTD_COMMAND_EXITED, 4 },
                { "pwd; umask; echo $PATH $LANG $HOME",
                        "/\n0022\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin C.UTF-8\n",
                        "", AGENTD_COMMAND_EXITED, 0 },
                { "ls /proc/self/fd | wc -l", "4\n", "", AGENTD_COMMAND_EXITED, 0 },
                { "grep -c 'SigBlk:.0000000000000000' /proc/self/status", "1\n", "", AGENTD_COMMAND_EXITED,
                        0 },
                { "grep -c 'SigIgn:.0000000000000000' /proc/self/status", "1\n", "", AGENTD_COMMAND_EXITED,
                        0 },
        };
        _cleanup_(runner_freep) Runner *runner = start();

        FOREACH_ELEMENT(c, cases) {
                _cleanup_(runner_result_done) RunnerResult result = {};

                run_shell(runner, c->script, LONG_USEC, &result);
                ASSERT_STREQ(result.errors, c->errors);
                ASSERT_STREQ(result.output, c->output);
                ASSERT_EQ(result.end, c->end);
                ASSERT_EQ(result.code, c->code);
                ASSERT_EQ(result.output_size, strlen(c->output));
                ASSERT_FALSE(result.truncated);
        }
}

TEST(not_run) {
        static const struct {
                const char *program, *directory;
                int code;
                const char *step;
        } cases[] = {
                { "/nonexistent/program", NULL, ENOENT, "execute it" },
                { "/etc", NULL, EACCES, "execute it" },
                { "/etc/passwd", NULL, EACCES, "execute it" },
                { "/bin/true", "/nonexistent", ENOENT, "change to its directory" },
                { "/bin/true", "/etc/passwd", ENOTDIR, "change to its directory" },
        };
        _cleanup_(runner_freep) Runner *runner = start();

        FOREACH_ELEMENT(c, cases) {
                const char *const argv[] = { c->program, NULL };
                AgentdCommand command = { .argv = argv, .directory = c->directory };
                _cleanup_(runner_result_done) RunnerResult result = {};

                run(runner, &command, LONG_USEC, &result);
                ASSERT_EQ(result.end, AGENTD_COMMAND_NOT_RUN);
                ASSERT_EQ(result.code, c->code);
                ASSERT_STREQ(result.step, c->step);
                ASSERT_STREQ(result.output, "");
        }
}

TEST(environment_directory_and_umask_are_as_given) {
        static const char *const argv[] = { "/bin/sh", "-c", "echo $A $PATH $LANG; pwd; umask", NULL };
        static const char *const environment[] = { "A=b=c", "PATH=/bin", NULL };
        AgentdCommand command = {
                .argv = argv,
                .environment = environment,
                .directory = "/usr",
                .flags = AGENTD_COMMAND_UMASK,
                .umask = 0077,
        };
        _cleanup_(runner_freep) Runner *runner = start();
        _cleanup_(runner_result_done) RunnerResult result = {};

        run(runner, &command, LONG_USEC, &result);
        ASSERT_STREQ(result.output, "b=c /bin C.UTF-8\n/usr\n0077\n");
}

TEST(input_is_passed_on_however_long) {
        static const char *const argv[] = { "/bin/cat", NULL };
        static char input[MIB(3) / 2];
        AgentdCommand command = {
                .argv = argv, .input = input, .input_size = sizeof(input), .output_max = MIB(4)
        };
        _cleanup_(runner_freep) Runner *runner = start();
        _cleanup_(runner_result_done) RunnerResult result = {};

        for (size_t i = 0; i < sizeof(input); i++)
                input[i] = (char) (i * 7 + i / 251);
        run(runner, &command, LONG_USEC, &result);
        ASSERT_EQ(result.output_size, sizeof(input));
        assert_memory_equal(result.output, input, sizeof(input));
        ASSERT_FALSE(result.truncated);
}

TEST(input_that_is_not_read_is_no_error) {
        static const char *const argv[] = { "/bin/true", NULL };
        static char input[MIB(1)];
        AgentdCommand command = { .argv = argv, .input = input, .input_size = sizeof(input) };
        _cleanup_(runner_freep) Runner *runner = start();
        _cleanup_(runner_result_done) RunnerResult result = {};

        run(runner, &command, LONG_USEC, &result);
        ASSERT_EQ(result.end, AGENTD_COMMAND_EXITED);
        ASSERT_EQ(result.code, 0);
}

TEST(input_from_a_descriptor) {
        static const char *const argv[] = { "/usr/bin/head", "-c", "4", NULL };
        AgentdCommand command = { .argv = argv, .flags = AGENTD_COMMAND_INPUT_FD };
        _cleanup_(runner_freep) Runner *runner = start();
        _cleanup_(runner_result_done) RunnerResult result = {};
        _cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

        ASSERT_TRUE(fd >= 0);
        command.input_fd = fd;
        run(runner, &command, LONG_USEC, &result);
        ASSERT_STREQ(result.output, "\177ELF");
}

TEST(output_beyond_the_limit_is_cut) {
        static const char *const argv[] = { "/bin/sh", "-c",
                "yes | head -c 300000; yes no | head -c 300001 >&2", NULL };
        AgentdCommand command = { .argv = argv, .output_max = 1001 };
        _cleanup_(runner_freep) Runner *runner = start();
        _cleanup_(runner_result_done) RunnerResult result = {};

        run(runner, &command, LONG_USEC, &result);
        ASSERT_EQ(result.code, 0);
        ASSERT_EQ(result.output_size, 1001);
        ASSERT_EQ(strlen(result.output), 1001);
        ASSERT_EQ(result.errors_size, 1001);
        ASSERT_TRUE(result.truncated);
}

TEST(one_that_takes_too_long_is_killed) {
        _cleanup_(runner_freep) Runner *runner = start();
        _cleanup_(runner_result_done) RunnerResult result = {}, next = {};

        run_shell(runner, "trap '' TERM INT HUP; echo begun; while :; do sleep 100; done", 3 * USEC_PER_SEC,
                &result);
        ASSERT_EQ(result.end, AGENTD_COMMAND_TIMED_OUT);
        ASSERT_EQ(result.code, SIGKILL);
        ASSERT_STREQ(result.output, "begun\n");

        run_shell(runner, "echo next", LONG_USEC, &next);
        ASSERT_STREQ(next.output, "next\n");
}

/* They hold our end of the pipe: if one were left, this would not return. */
TEST(what_it_leaves_behind_is_killed) {
        static const char *const scripts[] = {
                "sleep 1000 & echo done",
                "(sleep 1000 & sleep 1000 &) & echo done",
                "setsid sleep 1000 & echo done",
                "setsid sh -c 'sleep 1000 & setsid sleep 1000 & wait' & echo done",
                "nohup sh -c 'trap \"\" TERM; sleep 1000' 2>/dev/null & echo done",
        };
        _cleanup_(runner_freep) Runner *runner = start();

        FOREACH_ELEMENT(script, scripts) {
                _cleanup_(runner_result_done) RunnerResult result = {};

                run_shell(runner, *script, LONG_USEC, &result);
                ASSERT_EQ(result.end, AGENTD_COMMAND_EXITED);
                ASSERT_STREQ(result.output, "done\n");
        }
}

/* A worker that is killed, as it took too long, while what it has run is in a session of its own. */
TEST(commands_end_with_the_worker) {
        char directory[] = "/tmp/agentd-test-runner-XXXXXX", path[64], script[256], proc[64], line[256];
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + LONG_USEC;
        pid_t worker, pid = 0;

        ASSERT_NOT_NULL(mkdtemp(directory));
        (void) snprintf(path, sizeof(path), "%s/pid", directory);
        (void) snprintf(script, sizeof(script),
                "setsid sh -c 'echo $$ >%s/new; mv %s/new %s; exec sleep 1000' & sleep 1000", directory,
                directory, path);
        worker = fork();
        ASSERT_TRUE(worker >= 0);
        if (worker == 0) {
                const char *const argv[] = { "/bin/sh", "-c", script, NULL };
                Runner *runner;
                RunnerResult result;
                const char *step;

                (void) setpgid(0, 0);
                if (runner_new(NULL, "/", &runner) >= 0)
                        (void) runner_run(runner,
                                &(AgentdCommand){ .size = sizeof(AgentdCommand), .argv = argv },
                                USEC_INFINITY, &result, &step);
                _exit(EXIT_FAILURE);
        }
        while (pid == 0 && now_usec(CLOCK_MONOTONIC) < deadline) {
                _cleanup_fclose_ FILE *f = fopen(path, "re");

                if (f && fgets(line, sizeof(line), f))
                        pid = (pid_t) strtol(line, NULL, 10);
                else
                        (void) poll(NULL, 0, 5);
        }
        ASSERT_TRUE(pid > 1);
        ASSERT_OK(kill(-worker, SIGKILL));
        ASSERT_EQ(waitpid(worker, NULL, 0), worker);

        (void) snprintf(proc, sizeof(proc), "/proc/%d/stat", (int) pid);
        for (bool gone = false; !gone;) {
                _cleanup_fclose_ FILE *f = fopen(proc, "re");

                /* A zombie is gone: whoever reaps orphans here need not be quick about it. */
                gone = !f || !fgets(line, sizeof(line), f) || strstr(line, ") Z ");
                if (!gone) {
                        ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) < deadline);
                        (void) poll(NULL, 0, 5);
                }
        }
        ASSERT_OK(unlink(path));
        ASSERT_OK(rmdir(directory));
}

TEST(too_many_words_are_refused) {
        static char large[MIB(2)];
        const char *const argv[] = { "/bin/echo", large, NULL };
        AgentdCommand command = { .size = sizeof(command), .argv = argv };
        _cleanup_(runner_freep) Runner *runner = start();
        RunnerResult result = {};
        const char *step;

        memset(large, 'x', sizeof(large) - 1);
        ASSERT_EQ(runner_run(runner, &command, LONG_USEC, &result, &step), -E2BIG);
        /* More than the kernel takes. */
        large[MIB(1)] = '\0';
        ASSERT_OK(runner_run(runner, &command, LONG_USEC, &result, &step));
        ASSERT_EQ(result.end, AGENTD_COMMAND_NOT_RUN);
        ASSERT_EQ(result.code, E2BIG);
        runner_result_done(&result);
}

TEST(a_root_that_is_not_there_is_told) {
        static const char *const argv[] = { "/bin/true", NULL };
        AgentdCommand command = { .size = sizeof(command), .argv = argv };
        _cleanup_(runner_freep) Runner *runner = NULL;
        RunnerResult result = {};
        const char *step = NULL;
        int r;

        ASSERT_OK(runner_new(NULL, "/nonexistent", &runner));
        r = runner_run(runner, &command, LONG_USEC, &result, &step);
        ASSERT_TRUE(r == -ENOENT || r == -EPERM);
        ASSERT_STREQ(step, "change to the root directory");
}

RUN_TESTS(RUN(how_it_ended), RUN(not_run), RUN(environment_directory_and_umask_are_as_given),
        RUN(input_is_passed_on_however_long), RUN(input_that_is_not_read_is_no_error),
        RUN(input_from_a_descriptor), RUN(output_beyond_the_limit_is_cut),
        RUN(one_that_takes_too_long_is_killed), RUN(what_it_leaves_behind_is_killed),
        RUN(commands_end_with_the_worker), RUN(too_many_words_are_refused),
        RUN(a_root_that_is_not_there_is_told))
