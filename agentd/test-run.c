/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs with real workers, and hooks as children: the way from a check to a result, and what happens when it is left in the
 * middle. With systemd it is tested where that is: tests/box/test_hooks.py, test_retries.py.
 */

#include "command.h"
#include "run-internal.h"
#include "test-load.h"

#define DEADLINE_USEC (60 * USEC_PER_SEC)

static sd_event *event;
static Commands *commands;
static WorkerPool *pool;
static Run *run;
static WorkerPoolOptions workers = { .n_workers = 2, .root = "/", .unsandboxed = true };
static bool over;
static char told[4096]; /* what handlers were told, one a line */

/* ---- A run ------------------------------------------------------------------------------------------------------ */

static void tell(const char *format, ...) _printf_(1, 2);
static void tell(const char *format, ...) {
        size_t used = strlen(told);
        va_list args;

        va_start(args, format);
        (void) vsnprintf(told + used, sizeof(told) - used, format, args);
        va_end(args);
}

static const char *name_of(uint32_t state) {
        const char *id = image_state_id(image, state), *slash = strrchr(id, '/');

        return slash ? slash + 1 : id;
}

static const char *error_of(const Run *r, uint32_t state) {
        const RunDetail *detail = run_detail(r, state);

        return detail && detail->error ? detail->error : "";
}

static void on_result(_unused_ void *userdata, Run *r, uint32_t state) {
        tell("%s %s%s%s\n", name_of(state), result_to_string(run_result(r, state)),
                *error_of(r, state) ? ": " : "", error_of(r, state));
        ASSERT_TRUE(run_result(r, state) != RESULT_CHANGED || run_duration(r, state) > 0);
}

static void on_finished(_unused_ void *userdata, _unused_ Run *r) {
        over = true;
}

static void on_attempt_failed(_unused_ void *userdata, Run *r, uint32_t state, const RunAttempt *attempt) {
        ASSERT_FALSE(run_holds(r, state));
        ASSERT_TRUE(*error_of(r, state));
        tell("%s attempt %u of %u\n", name_of(state), attempt->n, attempt->max);
}

static void on_hook_failed(
        _unused_ void *userdata, _unused_ Run *r, uint32_t state, Hook hook, const char *explanation) {
        tell("%s %s: %s\n", name_of(state), hook_to_string(hook), explanation);
}

/* What states without a path as their name are owed from before. */
static uint32_t owed;

static uint32_t on_owed(_unused_ void *userdata, Run *r, uint32_t state) {
        return strchr(image_state_id(run_image(r), state), '/') ? 0 : owed;
}

static void on_paid(_unused_ void *userdata, Run *r, uint32_t state) {
        ASSERT_EQ(run_owed(r, state), owed);
        tell("%s paid\n", name_of(state));
        owed = 0;
}

static const RunHandlers handlers = {
        .owed = on_owed,
        .has_paid = on_paid,
        .on_result = on_result,
        .on_finished = on_finished,
        .on_attempt_failed = on_attempt_failed,
        .on_hook_failed = on_hook_failed,
};

static int on_deadline(_unused_ sd_event_source *source, _unused_ uint64_t usec, _unused_ void *userdata) {
        fail_msg("not within a minute; so far:\n%s", told);
        return 0;
}

static void leave(void) {
        run = run_free(run);
        pool = worker_pool_free(pool);
        commands = commands_free(commands);
        event = sd_event_unref(event);
}

/* Of one role, in which each % is the test's directory. */
static void begin(RunMode mode, const char *text) {
        _cleanup_free_ char *role = NULL;
        size_t size;
        FILE *f = open_memstream(&role, &size);

        for (; *text; text++)
                (void) (*text == '%' ? fputs(directory, f) : fputc(*text, f));
        (void) fclose(f);
        role_loads(role);

        leave();
        over = false;
        owed = 0;
        told[0] = 0;
        ASSERT_TRUE(sd_event_new(&event) >= 0);
        ASSERT_OK(commands_new(
                event, &(CommandsOptions){ .backend = COMMAND_BACKEND_SPAWN, .root = "/" }, &commands));
        workers.commands = commands;
        workers.sandbox.memory_bytes = WORKER_MEMORY_BYTES;
        ASSERT_OK(worker_pool_new(event, &workers, &pool));
        ASSERT_OK(run_new(event, image, pool,
                &(RunOptions){ .id = 7, .mode = mode, .cause = "test", .max_changes = UINT64_MAX },
                &handlers, NULL, &run));
        ASSERT_OK(run_start(run));
}

static void turn(void) {
        ASSERT_TRUE(sd_event_run(event, UINT64_MAX) >= 0);
}

static void wait_over(void) {
        sd_event_source *timer = NULL;

        ASSERT_TRUE(sd_event_add_time_relative(
                            event, &timer, CLOCK_MONOTONIC, DEADLINE_USEC, 0, on_deadline, NULL) >= 0);
        while (!over)
                turn();
        sd_event_source_disable_unref(timer);
}

static void wait_told(const char *what) {
        while (!strstr(told, what) && !over)
                turn();
        ASSERT_NOT_NULL(strstr(told, what));
}

static void wait_file(const char *path) {
        while (access(in(path), F_OK) < 0) {
                ASSERT_FALSE(over);
                /* Nobody tells of a file: looked for at each turn, and after a while. */
                ASSERT_TRUE(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
        }
}

static void runs(const char *text, const char *expected) {
        begin(RUN_APPLY, text);
        wait_over();
        if (!streq(told, expected))
                fail_msg("expected:\n%s\n  but got:\n%s", expected, told);
}

static void expect_log(const char *expected) {
        _cleanup_free_ char *text = calloc(1, KIB(4));
        _cleanup_close_ int fd = open(in("log"), O_RDONLY | O_CLOEXEC);

        if (fd >= 0)
                ASSERT_TRUE(read_full(fd, text, KIB(4) - 1) >= 0);
        (void) unlink(in("log"));
        ASSERT_STREQ(text, expected);
}

/* ---- Hooks ------------------------------------------------------------------------------------------------------ */

#define SAY(hook)   hook " = \"echo $AGENTD_RUN $AGENTD_HOOK $AGENTD_RESULT >> %/log\"\n"
#define FILE_A      "[file.\"%/a\"]\ncontent = \"x\"\n"
#define AFTERWARDS  SAY("after_change") SAY("on_success") SAY("on_failure") SAY("after_check")
#define ALL_OF_THEM SAY("before_check") SAY("before_change") AFTERWARDS

TEST(all_hooks_in_their_order) {
        runs(FILE_A ALL_OF_THEM, "a changed\n");
        expect_log("7 before_check\n7 before_change\n7 after_change changed\n7 on_success changed\n"
                   "7 after_check changed\n");
        runs(FILE_A ALL_OF_THEM, "a ok\n");
        expect_log("7 before_check\n7 after_check ok\n");
}

TEST(hooks_that_fail) {
        static const struct {
                const char *role, *told, *log;
        } cases[] = {
                { FILE_A AFTERWARDS "before_check = \"false\"\n",
                        "a blocked: its before_check: it exited with status 1\n", "" },
                { FILE_A AFTERWARDS "before_change = \"echo why >&2; exit 2\"\n",
                        "a failed: its before_change: it exited with status 2: why\n",
                        "7 on_failure failed\n7 after_check failed\n" },
                { FILE_A SAY("on_failure") "before_change = [\"/nonexistent/x\"]\n",
                        "a failed: its before_change: '/nonexistent/x' could not be executed: No such file "
                        "or directory\n",
                        "7 on_failure failed\n" },
                { FILE_A SAY("on_failure") "before_change = \"sleep 1000\"\ntimeout = \"3s\"\n",
                        "a failed: its before_change: it did not end within 3s and was killed\n",
                        "7 on_failure failed\n" },
                { FILE_A SAY("on_failure") "after_change = \"exit 3\"\non_success = \"false\"\n",
                        "a failed: its after_change: it exited with status 3\n", "7 on_failure failed\n" },
                { FILE_A "on_success = \"exit 3\"\nafter_check = \"exit 4\"\n",
                        "a on_success: it exited with status 3\na after_check: it exited with status 4\n"
                        "a changed\n",
                        "" },
                { FILE_A "sensitive = true\nbefore_change = \"echo secret >&2; exit 3\"\n",
                        "a failed: its before_change: it exited with status 3\n", "" },
                { FILE_A "sensitive = true\nbefore_check = \"echo secret >&2; exit 3\"\n",
                        "a blocked: its before_check: it exited with status 3\n", "" },
                { FILE_A "before_change = \"false\"\n[file.\"%/b\"]\nrequires = [\"file:%/a\"]\n"
                         "content = \"\"\n" AFTERWARDS,
                        "a failed: its before_change: it exited with status 1\n"
                        "b blocked: required file:@/a failed\n",
                        "" },
        };

        FOREACH_ELEMENT(c, cases) {
                char *place;

                begin(RUN_APPLY, c->role);
                wait_over();
                while ((place = strstr(told, directory))) {
                        *place = '@';
                        memmove(place + 1, place + strlen(directory), strlen(place + strlen(directory)) + 1);
                }
                ASSERT_STREQ(told, c->told);
                expect_log(c->log);
                (void) unlink(in("a"));
        }
}

TEST(a_plan_has_only_the_first) {
        begin(RUN_PLAN, FILE_A AFTERWARDS SAY("before_change") "before_check = \"true\"\n");
        wait_over();
        ASSERT_STREQ(told, "a drifted\n");
        expect_log("");
}

TEST(who_depends_on_it_waits_and_others_do_not) {
        runs("[file.\"%/a\"]\ncontent = \"x\"\nbefore_change = \"while ! test -e %/c; do sleep 0.05; "
             "done\"\n"
             "on_success = \"! test -e %/b\"\n"
             "[file.\"%/b\"]\ncontent = \"x\"\nrequires = [\"file:%/a\"]\n"
             "[file.\"%/c\"]\ncontent = \"x\"\n",
                "c changed\na changed\nb changed\n");
}

TEST(a_state_whose_hook_runs_is_held_and_shown) {
        uint32_t under_way[4], a;

        begin(RUN_APPLY,
                FILE_A "on_success = \"touch %/begun; while ! test -e %/go; do sleep 0.05; done\"\n");
        wait_file("begun");
        a = index_of(image_state_id(image, 0));
        ASSERT_TRUE(run_holds(run, a));
        ASSERT_TRUE(run_is_open(run, a));
        ASSERT_EQ(run_under_way(run, under_way, 4), 1);
        ASSERT_EQ(under_way[0], a);
        put("go", "");
        wait_over();
        ASSERT_FALSE(run_holds(run, a));
        ASSERT_EQ(run_under_way(run, under_way, 4), 0);
}

TEST(many_wait_for_each_other) {
        _cleanup_free_ char *role = NULL;
        size_t size;
        FILE *f = open_memstream(&role, &size);

        for (unsigned i = 0; i < 60; i++)
                (void) fprintf(f,
                        "[file.\"%%/f%u\"]\ncontent = \"x\"\nbefore_change = \"true\"\non_success = "
                        "\"true\"\n",
                        i);
        (void) fclose(f);
        begin(RUN_APPLY, role);
        wait_over();
        ASSERT_EQ(run_count(run, RESULT_CHANGED), 60);
}

/* ---- The end in the middle -------------------------------------------------------------------------------------- */

#define SLOW_START "before_change = \"touch %/begun; while ! test -e %/go; do sleep 0.05; done\"\n"

TEST(a_stop_completes_what_was_begun) {
        begin(RUN_APPLY, FILE_A SLOW_START AFTERWARDS);
        wait_file("begun");
        run_stop(run);
        commands_stop(commands);
        put("go", "");
        wait_over();
        ASSERT_STREQ(told, "a changed\n");
        expect_log("7 after_change changed\n7 on_success changed\n7 after_check changed\n");
        ASSERT_FALSE(run_is_interrupted(run));
}

TEST(a_stop_begins_no_change) {
        begin(RUN_APPLY, FILE_A SAY("before_change") "before_check = \"touch %/begun; while ! test -e %/go; "
                                                     "do sleep 0.05; done\"\n");
        wait_file("begun");
        run_stop(run);
        put("go", "");
        wait_over();
        ASSERT_STREQ(told, "");
        expect_log("");
        ASSERT_TRUE(run_is_interrupted(run));
}

TEST(a_run_is_given_up_while_hooks_run) {
        begin(RUN_APPLY, FILE_A SLOW_START "[file.\"%/b\"]\ncontent = \"x\"\nbefore_change = \"true\"\n"
                                           "requires = [\"file:%/a\"]\n");
        wait_file("begun");
        run = run_free(run);
        /* The command goes on, and nobody is told. */
        put("go", "");
        for (unsigned i = 0; i < 10; i++)
                ASSERT_TRUE(sd_event_run(event, 50 * USEC_PER_MSEC) >= 0);
        ASSERT_STREQ(told, "");
}

/* ---- Attempts --------------------------------------------------------------------------------------------------- */

#define COUNT(n) "echo x >> %/n; test $(wc -l < %/n) -ge " n

TEST(the_third_attempt) {
        runs(FILE_A "retries = 5\nretry_delay = \"10ms\"\nbefore_change = \"" COUNT("3") "\"\n" AFTERWARDS,
                "a attempt 1 of 6\na attempt 2 of 6\na changed\n");
        expect_log("7 after_change changed\n7 on_success changed\n7 after_check changed\n");
}

TEST(what_was_changed_before_is_changed) {
        const RunDetail *detail;

        begin(RUN_APPLY, FILE_A "retries = 5\nretry_delay = \"10ms\"\nafter_change = \"" COUNT(
                                 "3") "\"\n" SAY("on_success"));
        wait_told("attempt 1");
        detail = run_detail(run, 0);
        ASSERT_NOT_NULL(detail);
        ASSERT_TRUE(json_array_size(detail->differences_before) > 0);
        wait_over();
        ASSERT_STREQ(told, "a attempt 1 of 6\na attempt 2 of 6\na changed\n");
        expect_log("7 on_success changed\n");
}

TEST(what_was_changed_before_is_not_skipped) {
        runs(FILE_A
                "when = \"not exists('%/a')\"\nretries = 5\nretry_delay = \"10ms\"\nafter_change = \"" COUNT(
                        "3") "\"\n" SAY("on_success"),
                "a attempt 1 of 6\na attempt 2 of 6\na changed\n");
        expect_log("7 on_success changed\n");
        runs(FILE_A "when = \"not exists('%/a')\"\nretries = 5\n", "a skipped\n");
}

TEST(all_attempts_fail) {
        runs(FILE_A "retries = 2\nretry_delay = \"10ms\"\nbefore_change = \"false\"\n" SAY("on_failure"),
                "a attempt 1 of 3\na attempt 2 of 3\n"
                "a failed: its before_change: it exited with status 1 (3 attempts)\n");
        expect_log("7 on_failure failed\n");
}

TEST(what_is_blocked_is_not_tried_again) {
        runs(FILE_A "retries = 2\nretry_delay = \"10ms\"\nbefore_check = \"false\"\n",
                "a blocked: its before_check: it exited with status 1\n");
}

TEST(a_stop_ends_the_waiting) {
        uint32_t under_way[4];

        begin(RUN_APPLY,
                FILE_A "retries = 2\nretry_delay = \"1d\"\nbefore_change = \"false\"\n" SAY("on_failure"));
        ASSERT_FALSE(run_only_waits(run));
        wait_told("attempt 1");
        while (!run_only_waits(run))
                ASSERT_TRUE(sd_event_run(event, 30 * USEC_PER_SEC) > 0);
        ASSERT_EQ(run_under_way(run, under_way, 4), 1);
        run_stop(run);
        ASSERT_FALSE(run_only_waits(run));
        wait_over();
        ASSERT_STREQ(told, "a attempt 1 of 3\na failed: its before_change: it exited with status 1\n");
        expect_log("7 on_failure failed\n");
}

TEST(a_run_does_not_only_wait_while_another_state_is_worked_on) {
        begin(RUN_APPLY, FILE_A "retries = 2\nretry_delay = \"1d\"\nbefore_change = \"false\"\n"
                                "[file.\"%/b\"]\ncontent = \"x\"\nbefore_change = \"touch %/begun; while ! "
                                "test -e %/go; do sleep 0.05; done\"\n");
        wait_told("attempt 1");
        wait_file("begun");
        ASSERT_FALSE(run_only_waits(run));
        put("go", "");
        while (!run_only_waits(run))
                ASSERT_TRUE(sd_event_run(event, 30 * USEC_PER_SEC) > 0);
        ASSERT_NOT_NULL(strstr(told, "b changed\n"));
        run_stop(run);
        wait_over();
}

TEST(a_run_is_given_up_while_a_state_waits) {
        begin(RUN_APPLY, FILE_A "retries = 2\nretry_delay = \"1d\"\nbefore_change = \"false\"\n");
        wait_told("attempt 1");
        run = run_free(run);
        ASSERT_TRUE(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
        ASSERT_STREQ(told, "a attempt 1 of 3\n");
}

TEST(a_stop_begins_no_other_attempt) {
        begin(RUN_APPLY,
                FILE_A "retries = 2\nretry_delay = \"10ms\"\nbefore_change = \"touch %/n; false\"\n"
                       "before_check = \"! test -e %/n || { touch %/begun; while ! test -e %/go; do sleep "
                       "0.05; done; }\"\n" SAY("on_failure"));
        wait_file("begun");
        run_stop(run);
        put("go", "");
        wait_over();
        ASSERT_STREQ(told, "a attempt 1 of 3\na failed: it was not tried again, as the run was stopped\n");
        expect_log("7 on_failure failed\n");
}

TEST(a_stop_before_the_next_attempt) {
        begin(RUN_APPLY,
                FILE_A "retries = 2\nretry_delay = \"10ms\"\nbefore_change = \"false\"\n" SAY("on_failure"));
        wait_told("attempt 1");
        /* It is in its queue by then, or a worker has it. */
        while (!run_holds(run, 0))
                turn();
        run_stop(run);
        wait_over();
        ASSERT_STREQ(told, "a attempt 1 of 3\na failed: it was not tried again, as the run was stopped\n");
        expect_log("7 on_failure failed\n");
}

/* ---- Listeners --------------------------------------------------------------------------------------------------- */

#define EXEC_B "[exec.b]\nshell = \"true\"\ncheck_on = [\"file:%/a\"]\n"

TEST(a_change_whose_after_change_fails_is_a_change) {
        uint32_t a;

        begin(RUN_APPLY, FILE_A "retries = 1\nretry_delay = \"10ms\"\nafter_change = \"false\"\n" EXEC_B);
        wait_over();
        ASSERT_NOT_NULL(strstr(told,
                "a attempt 1 of 2\na failed: its after_change: it exited with status 1 (2 attempts)\n"));
        ASSERT_NOT_NULL(strstr(told, "exec:b blocked: "));
        a = index_of(image_state_id(image, 0));
        ASSERT_TRUE(run_has_changed(run, a));
        runs(FILE_A "before_change = \"false\"\n", "a ok\n");
        ASSERT_FALSE(run_has_changed(run, 0));
        (void) unlink(in("a"));
        runs(FILE_A "before_change = \"false\"\n", "a failed: its before_change: it exited with status 1\n");
        ASSERT_FALSE(run_has_changed(run, 0));
}

TEST(what_was_done_is_not_owed_to_the_next_attempt) {
        begin(RUN_APPLY,
                FILE_A "[exec.b]\nshell = \"echo did >> %/log\"\ncheck_on = [\"file:%/a\"]\nretries = 5\n"
                       "retry_delay = \"10ms\"\nafter_change = \"" COUNT("3") "\"\n");
        owed = IMAGE_LISTEN_CHECK;
        wait_over();
        ASSERT_NOT_NULL(
                strstr(told, "exec:b paid\nexec:b attempt 1 of 6\nexec:b attempt 2 of 6\nexec:b changed\n"));
        expect_log("did\n");
}

TEST(what_came_late_is_in_time_for_the_next_attempt) {
        uint32_t b;

        begin(RUN_APPLY,
                FILE_A EXEC_B "retries = 5\nretry_delay = \"10ms\"\nbefore_change = \"test -e %/begun || { "
                              "touch %/begun; while ! test -e %/go; do sleep 0.05; done; false; }\"\n");
        owed = IMAGE_LISTEN_CHECK;
        wait_file("begun");
        b = index_of("exec:b");
        run_notice(run, b, IMAGE_LISTEN_CHECK);
        ASSERT_EQ(run_owed(run, b), 0);
        put("go", "");
        wait_over();
        ASSERT_EQ(run_owed(run, b), IMAGE_LISTEN_CHECK);
        ASSERT_EQ(owed, 0);
}

/* ---- Batches ---------------------------------------------------------------------------------------------------- */

/* Two workers, and a type that takes 512 in a batch. */
TEST(batches_are_large_where_there_are_many) {
        static const uint32_t sizes[] = { 512, 394, 256, 138 };
        _cleanup_free_ char *role = NULL;
        size_t size;
        FILE *f = open_memstream(&role, &size);

        for (unsigned i = 0; i < 1300; i++)
                (void) fprintf(f, "[file.\"%%/%u\"]\n", i);
        (void) fclose(f);
        begin(RUN_APPLY, role);
        ASSERT_EQ(run->queues[0].n, 1300);
        FOREACH_ELEMENT(n, sizes) {
                _cleanup_free_ Batch *batch = run_cut_batch(run, 0);

                ASSERT_NOT_NULL(batch);
                ASSERT_EQ(batch->n, *n);
        }
        ASSERT_NULL(run_cut_batch(run, 0));
}

static int begin_test(void **state) {
        (void) setup(state);
        link_module("MODULE_DIR", "exec");
        return 0;
}

static int done(void **state) {
        leave();
        return teardown(state);
}

#define RUN_IT(name) cmocka_unit_test_setup_teardown(test_##name, begin_test, done)

RUN_TESTS(RUN_IT(all_hooks_in_their_order), RUN_IT(hooks_that_fail), RUN_IT(a_plan_has_only_the_first),
        RUN_IT(who_depends_on_it_waits_and_others_do_not), RUN_IT(a_state_whose_hook_runs_is_held_and_shown),
        RUN_IT(many_wait_for_each_other), RUN_IT(a_stop_completes_what_was_begun),
        RUN_IT(a_stop_begins_no_change), RUN_IT(a_run_is_given_up_while_hooks_run),
        RUN_IT(the_third_attempt), RUN_IT(what_was_changed_before_is_changed),
        RUN_IT(what_was_changed_before_is_not_skipped), RUN_IT(all_attempts_fail),
        RUN_IT(what_is_blocked_is_not_tried_again), RUN_IT(a_stop_ends_the_waiting),
        RUN_IT(a_run_does_not_only_wait_while_another_state_is_worked_on),
        RUN_IT(a_run_is_given_up_while_a_state_waits), RUN_IT(a_stop_begins_no_other_attempt),
        RUN_IT(a_stop_before_the_next_attempt), RUN_IT(a_change_whose_after_change_fails_is_a_change),
        RUN_IT(what_was_done_is_not_owed_to_the_next_attempt),
        RUN_IT(what_came_late_is_in_time_for_the_next_attempt),
        RUN_IT(batches_are_large_where_there_are_many))
