/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Commands as children, and what is asked for. As units they are tested where systemd is: tests/box/test_commands.py. */

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "command-internal.h"
#include "log-journal.h"
#include "test.h"

#define DEADLINE_USEC (30 * USEC_PER_SEC)

typedef struct Told {
        unsigned n;
        AgentdCommandEnd end;
        int code, status;
        char output[256], errors[256], explanation[256];
        size_t output_size, errors_size;
        bool truncated;
} Told;

static sd_event *event;
static Commands *commands;

static int setup(_unused_ void **state) {
        sigset_t mask;

        /* No socket of the host's journal. */
        journal_set_socket("/nonexistent/journal");
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        ASSERT_OK(sigprocmask(SIG_BLOCK, &mask, NULL));
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(commands_new(
                event, &(CommandsOptions){ .backend = COMMAND_BACKEND_SPAWN, .root = "/" }, &commands));
        ASSERT_FALSE(commands_are_units(commands));
        return 0;
}

static int teardown(_unused_ void **state) {
        commands = commands_free(commands);
        event = sd_event_unref(event);
        return 0;
}

static void on_finished(void *userdata, _unused_ Command *command, const CommandResult *result) {
        Told *told = userdata;

        told->n++;
        told->end = result->end;
        told->code = result->code;
        told->status = result->status;
        told->output_size = result->output_size;
        told->errors_size = result->errors_size;
        told->truncated = result->truncated;
        ASSERT_EQ(result->output[result->output_size], 0);
        ASSERT_EQ(result->errors[result->errors_size], 0);
        memcpy(told->output, result->output, MIN(result->output_size + 1, sizeof(told->output)));
        memcpy(told->errors, result->errors, MIN(result->errors_size + 1, sizeof(told->errors)));
        (void) snprintf(told->explanation, sizeof(told->explanation), "%s", result->explanation);
        (void) sd_event_exit(event, 0);
}

static const CommandHandlers handlers = { .on_finished = on_finished };

static int on_deadline(_unused_ sd_event_source *source, _unused_ uint64_t usec, _unused_ void *userdata) {
        return -ETIMEDOUT;
}

/* Until it is told how the command ended. */
static void wait_told(const Told *told) {
        sd_event_source *timer = NULL;

        ASSERT_OK(sd_event_add_time_relative(
                event, &timer, CLOCK_MONOTONIC, DEADLINE_USEC, 0, on_deadline, NULL));
        while (told->n == 0) {
                ASSERT_TRUE(sd_event_run(event, UINT64_MAX) >= 0);
                ASSERT_TRUE(sd_event_get_state(event) != SD_EVENT_FINISHED || told->n > 0);
        }
        sd_event_source_disable_unref(timer);
        ASSERT_EQ(told->n, 1);
        /* It has been left: a new one for whoever comes next. */
        (void) teardown(NULL);
        (void) setup(NULL);
}

static CommandSpec shell(const char *text) {
        static const char *argv[4];

        argv[0] = "/bin/sh";
        argv[1] = "-c";
        argv[2] = text;
        return (CommandSpec){
                .argv = argv,
                .input_fd = -EBADF,
                .output_fd = -EBADF,
                .timeout_usec = DEADLINE_USEC,
        };
}

static Told run(const CommandSpec *spec) {
        Told told = {};

        ASSERT_OK(command_start(commands, spec, &handlers, &told, NULL));
        ASSERT_EQ(told.n, 0);
        wait_told(&told);
        return told;
}

TEST(ends_are_told) {
        static const struct {
                const char *text;
                AgentdCommandEnd end;
                int code;
                const char *output, *errors, *explanation;
        } cases[] = {
                { "exit 0", AGENTD_COMMAND_EXITED, 0, "", "", "it succeeded" },
                { "exit 255", AGENTD_COMMAND_EXITED, 255, "", "", "it exited with status 255" },
                { "echo a; echo b >&2; echo c >&2; exit 3", AGENTD_COMMAND_EXITED, 3, "a\n", "b\nc\n",
                        "it exited with status 3: c" },
                { "printf 'no end\\n \\n' >&2; exit 1", AGENTD_COMMAND_EXITED, 1, "", "no end\n \n",
                        "it exited with status 1: no end" },
                { "printf 'a\\001\\033b\\377' >&2; exit 1", AGENTD_COMMAND_EXITED, 1, "", "a\1\033b\377",
                        "it exited with status 1: a  b\xef\xbf\xbd" },
                { "kill -SEGV $$", AGENTD_COMMAND_KILLED, SIGSEGV, "", "", "it was killed by SIGSEGV" },
                { "kill -PIPE $$", AGENTD_COMMAND_KILLED, SIGPIPE, "", "", "it was killed by SIGPIPE" },
                { "cat", AGENTD_COMMAND_EXITED, 0, "", "", "it succeeded" },
                { "pwd; umask; echo $PATH | cut -c1-10; echo $LANG", AGENTD_COMMAND_EXITED, 0,
                        "/\n0022\n/usr/local\nC.UTF-8\n", "", "it succeeded" },
        };

        FOREACH_ELEMENT(c, cases) {
                CommandSpec spec = shell(c->text);
                Told told = run(&spec);

                ASSERT_EQ(told.end, c->end);
                ASSERT_EQ(told.code, c->code);
                ASSERT_STREQ(told.output, c->output);
                ASSERT_STREQ(told.errors, c->errors);
                ASSERT_STREQ(told.explanation, c->explanation);
                ASSERT_FALSE(told.truncated);
        }
}

TEST(what_cannot_be_run_is_a_result) {
        static const struct {
                const char *program, *user, *directory;
                int code;
        } cases[] = {
                { "/nonexistent/program", NULL, NULL, ENOENT },
                { "/etc", NULL, NULL, EACCES },
                { "/etc/passwd", NULL, NULL, EACCES },
                { "/bin/true", NULL, "/nonexistent", ENOENT },
                { "/bin/true", NULL, "/etc/passwd", ENOTDIR },
                { "/bin/true", "no-such-user", NULL, ESRCH },
        };

        FOREACH_ELEMENT(c, cases) {
                CommandSpec spec = shell("");
                Told told;

                if (c->user && geteuid() != 0)
                        continue;
                spec.argv = (const char *const[]){ c->program, NULL };
                spec.user = c->user;
                spec.directory = c->directory;
                told = run(&spec);
                ASSERT_EQ(told.end, AGENTD_COMMAND_NOT_RUN);
                ASSERT_EQ(told.code, c->code);
                ASSERT_EQ(told.status, 0);
                ASSERT_NOT_NULL(strstr(told.explanation, "could not be executed"));
        }
}

TEST(a_deadline_ends_it_and_what_it_has_started) {
        CommandSpec spec = shell("sleep 1000 & echo $!; wait");
        Told told;

        spec.timeout_usec = 200 * USEC_PER_MSEC;
        told = run(&spec);
        ASSERT_EQ(told.end, AGENTD_COMMAND_TIMED_OUT);
        ASSERT_EQ(told.code, SIGTERM);
        ASSERT_NOT_NULL(strstr(told.explanation, "did not end within 200ms"));
}

TEST(what_is_left_behind_is_killed) {
        static const struct {
                const char *text;
                usec_t timeout_usec;
                AgentdCommandEnd end;
        } cases[] = {
                { "echo $( (trap '' TERM HUP; sh -c 'echo $$; exec sleep 1000 >&-') &)", DEADLINE_USEC,
                        AGENTD_COMMAND_EXITED },
                /* In a session of its own, as daemons have one. */
                { "echo $(setsid sh -c 'echo $$; exec sleep 1000 >&-' &)", DEADLINE_USEC,
                        AGENTD_COMMAND_EXITED },
                { "echo $(setsid sh -c '(setsid sh -c \"echo \\$\\$; exec sleep 1000 >&-\") & exec sleep "
                  "1000 >&-' &)",
                        DEADLINE_USEC, AGENTD_COMMAND_EXITED },
                { "echo $(setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000 >&-' &); kill -9 $$",
                        DEADLINE_USEC, AGENTD_COMMAND_KILLED },
                { "echo $(setsid sh -c 'echo $$; exec sleep 1000 >&-' &); exec sleep 1000", 3 * USEC_PER_SEC,
                        AGENTD_COMMAND_TIMED_OUT },
        };

        FOREACH_ELEMENT(c, cases) {
                CommandSpec spec = shell(c->text);
                Told told;
                char *end;
                pid_t pid;

                spec.timeout_usec = c->timeout_usec;
                told = run(&spec);
                pid = (pid_t) strtol(told.output, &end, 10);
                ASSERT_EQ(told.end, c->end);
                ASSERT_TRUE(end > told.output && pid > 1);
                /* It was reaped as well. */
                ASSERT_EQ(kill(pid, 0), -1);
                ASSERT_EQ(errno, ESRCH);
        }
}

TEST(nothing_is_begun_at_the_end) {
        CommandSpec spec = shell("exit 0");
        Told told = {};

        ASSERT_OK(command_start(commands, &spec, &handlers, &told, NULL));
        commands_stop(commands);
        ASSERT_EQ(command_start(commands, &spec, &handlers, &told, NULL), -ECANCELED);
        wait_told(&told);
        ASSERT_EQ(told.end, AGENTD_COMMAND_EXITED);
}

TEST(it_can_be_cancelled_and_forgotten) {
        CommandSpec spec = shell("echo begun; exec sleep 1000");
        Told told = {}, never = {};
        Command *command, *forgotten;

        ASSERT_OK(command_start(commands, &spec, &handlers, &never, &forgotten));
        ASSERT_OK(command_start(commands, &spec, &handlers, &told, &command));
        ASSERT_STREQ(command_program(command), "sh");
        ASSERT_EQ(strlen(command_id(command)), COMMAND_ID_SIZE - 1);
        ASSERT_TRUE(!streq(command_id(command), command_id(forgotten)));
        command_forget(forgotten);
        command_cancel(forgotten);
        command_cancel(command);
        command_cancel(command);
        wait_told(&told);
        ASSERT_EQ(told.end, AGENTD_COMMAND_KILLED);
        ASSERT_STREQ(told.explanation, "it was stopped");
        ASSERT_EQ(never.n, 0);
}

TEST(input_and_output_may_be_descriptors) {
        _cleanup_close_ int input = open("/dev/zero", O_RDONLY | O_CLOEXEC), pipe_read = -EBADF,
                            pipe_write = -EBADF;
        CommandSpec spec = shell("head -c 10 | tr '\\0' x; echo err >&2");
        char buffer[32];
        int ends[2];
        Told told;

        ASSERT_OK(pipe2(ends, O_CLOEXEC));
        pipe_read = ends[0];
        pipe_write = ends[1];
        spec.input_fd = input;
        spec.output_fd = pipe_write;
        told = run(&spec);
        ASSERT_EQ(told.output_size, 0);
        ASSERT_STREQ(told.errors, "err\n");
        ASSERT_EQ(read(pipe_read, buffer, sizeof(buffer)), 10);
        ASSERT_EQ(memcmp(buffer, "xxxxxxxxxx", 10), 0);
}

TEST(of_much_output_the_start_is_kept) {
        CommandSpec spec = shell("head -c 3000000 /dev/zero; head -c 100 /dev/zero >&2; exit 5");
        Told told;

        spec.output_max = 5000;
        told = run(&spec);
        ASSERT_EQ(told.end, AGENTD_COMMAND_EXITED);
        ASSERT_EQ(told.code, 5);
        ASSERT_EQ(told.output_size, 5000);
        ASSERT_EQ(told.errors_size, 100);
        ASSERT_TRUE(told.truncated);
        spec.output_max = COMMAND_OUTPUT_MAX;
        told = run(&spec);
        ASSERT_EQ(told.output_size, 3000000);
        ASSERT_FALSE(told.truncated);
}

TEST(nothing_of_ours_is_left_open) {
        CommandSpec spec = shell("ls /proc/self/fd");
        Told told = run(&spec);

        ASSERT_STREQ(told.output, "0\n1\n2\n3\n"); /* 3 is that directory */
}

TEST(variables_replace_those_that_are_always_there) {
        CommandSpec spec = shell("echo $LANG $A");
        Told told;

        spec.environment = (const char *const[]){ "LANG=x", "A=1", "A=2", NULL };
        told = run(&spec);
        ASSERT_STREQ(told.output, "x 2\n");
}

TEST(specs_that_are_refused) {
        static char long_text[200000];
        static const char *many[COMMAND_ARGUMENTS_MAX + 2];
        json_t *list = json_array(), *unit = json_pack("{s:b}", "PrivateTmp", true);
        const CommandSpec good = {
                .argv = (const char *const[]){ "/bin/true", NULL },
                .input_fd = -EBADF,
                .output_fd = -EBADF,
                .timeout_usec = 1,
        };
#define WITH(...)                         \
        ({                                \
                CommandSpec spec_ = good; \
                CommandSpec *s = &spec_;  \
                __VA_ARGS__;              \
                command_spec_check(s);    \
        })
#define ARGV(...)        WITH(s->argv = (const char *const[]){ __VA_ARGS__, NULL })
#define ENVIRONMENT(...) WITH(s->environment = (const char *const[]){ __VA_ARGS__, NULL })

        memset(long_text, 'x', sizeof(long_text) - 1);
        for (size_t i = 0; i < ELEMENTSOF(many) - 1; i++)
                many[i] = "/x";

        ASSERT_OK(command_spec_check(&good));
        ASSERT_EQ(WITH(s->argv = NULL), -EINVAL);
        ASSERT_EQ(ARGV(NULL), -EINVAL);
        ASSERT_EQ(ARGV(""), -EINVAL);
        ASSERT_EQ(ARGV("true"), -EINVAL);
        ASSERT_EQ(ARGV("./true"), -EINVAL);
        ASSERT_EQ(ARGV("/bin/"), -EINVAL);
        ASSERT_EQ(ARGV("/bin/\xff"), -EINVAL);
        ASSERT_EQ(ARGV("/bin/true", "\xc3"), -EINVAL);
        ASSERT_OK(ARGV("/bin/true", ""));
        ASSERT_EQ(ARGV("/bin/true", long_text), -E2BIG);
        ASSERT_EQ(WITH(s->argv = many), -E2BIG);
        ASSERT_OK(ENVIRONMENT("A=", "_b1=="));
        ASSERT_EQ(ENVIRONMENT("A"), -EINVAL);
        ASSERT_EQ(ENVIRONMENT("=A"), -EINVAL);
        ASSERT_EQ(ENVIRONMENT("1A=x"), -EINVAL);
        ASSERT_EQ(ENVIRONMENT("A-B=x"), -EINVAL);
        ASSERT_EQ(ENVIRONMENT("A=\xff"), -EINVAL);
        ASSERT_EQ(ENVIRONMENT(""), -EINVAL);
        ASSERT_EQ(WITH(s->user = ""), -EINVAL);
        ASSERT_EQ(WITH(s->user = "a b"), -EINVAL);
        ASSERT_EQ(WITH(s->user = "-x"), -EINVAL);
        ASSERT_EQ(WITH(s->group = "a:b"), -EINVAL);
        ASSERT_EQ(WITH(s->directory = ""), -EINVAL);
        ASSERT_EQ(WITH(s->directory = "tmp"), -EINVAL);
        ASSERT_EQ(WITH(s->directory = "/\xff"), -EINVAL);
        ASSERT_EQ(WITH(s->timeout_usec = 0), -EINVAL);
        ASSERT_EQ(WITH(s->flags = 1u << 20), -EINVAL);
        ASSERT_EQ(WITH(s->umask = 01000), -EINVAL);
        ASSERT_EQ(WITH(s->output_max = COMMAND_OUTPUT_MAX + 1), -EINVAL);
        ASSERT_EQ(WITH(s->unit = list), -EINVAL);
        ASSERT_OK(WITH(s->unit = unit));

        /* Where there is no systemd. */
        {
                CommandSpec spec = good;

                spec.unit = unit;
                ASSERT_EQ(command_start(commands, &spec, &handlers, NULL, NULL), -EOPNOTSUPP);
        }
        json_decref(list);
        json_decref(unit);
}

TEST(what_systemd_has_escaped_is_read) {
        static const struct {
                const char *in, *out;
        } cases[] = {
                { "", "" },
                { "AGENTD_STATE=file:/a b", "AGENTD_STATE=file:/a b" },
                { "/tmp/a b%%h/x\\\"\\'$\\303\\204\\\\\\\\d", "/tmp/a b%h/x\"'$\303\204\\\\d" },
                { "%%%%%", "%%%" },
                { "a\\n\\t\\x41\\x4g\\s\\", "a\n\tA\004gs\\" },
                { "\\1012\\7", "A2\007" },
        };

        FOREACH_ELEMENT(c, cases) {
                char text[128];

                (void) snprintf(text, sizeof(text), "%s", c->in);
                unit_unescape(text);
                ASSERT_STREQ(text, c->out);
        }
}

TEST(slices_lie_in_each_other) {
        static const struct {
                const char *slice, *path;
        } cases[] = {
                { "agentd.slice", "agentd.slice" },
                { "agentd-backup.slice", "agentd.slice/agentd-backup.slice" },
                { "agentd-a-b.slice", "agentd.slice/agentd-a.slice/agentd-a-b.slice" },
        };

        FOREACH_ELEMENT(c, cases) {
                Command command = {};

                ASSERT_OK(unit_set_slice(&command, c->slice));
                ASSERT_STREQ(command.slice, c->path);
                free(command.slice);
        }
}

TEST(steps_that_a_command_has) {
        static const struct {
                int status;
                bool properties, directory, user, taken;
        } cases[] = {
                { 203, false, false, false, true },
                { 200, false, false, false, false },
                { 200, false, true, false, true },
                { 217, false, true, false, false },
                { 217, false, false, true, true },
                { 226, false, true, true, false },
                { 226, true, false, false, true },
                { 243, false, false, false, false },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_EQ(unit_step_is_taken(c->status, c->properties, c->directory, c->user), c->taken);
}

TEST(so_many_and_no_more) {
        CommandSpec spec = shell("exec sleep 1000");

        for (unsigned i = 0; i < COMMANDS_MAX; i++)
                ASSERT_OK(command_start(commands, &spec, &handlers, NULL, NULL));
        ASSERT_EQ(command_start(commands, &spec, &handlers, NULL, NULL), -EBUSY);
        /* The teardown kills them. */
}

#define RUN_IT(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_IT(ends_are_told), RUN_IT(what_cannot_be_run_is_a_result),
        RUN_IT(a_deadline_ends_it_and_what_it_has_started), RUN_IT(what_is_left_behind_is_killed),
        RUN_IT(nothing_is_begun_at_the_end), RUN_IT(it_can_be_cancelled_and_forgotten),
        RUN_IT(input_and_output_may_be_descriptors), RUN_IT(of_much_output_the_start_is_kept),
        RUN_IT(nothing_of_ours_is_left_open), RUN_IT(variables_replace_those_that_are_always_there),
        RUN_IT(specs_that_are_refused), RUN_IT(what_systemd_has_escaped_is_read),
        RUN_IT(slices_lie_in_each_other), RUN_IT(steps_that_a_command_has), RUN_IT(so_many_and_no_more))
