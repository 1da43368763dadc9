/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Facts gathered by a child, on an event loop, with programs that do what none should. */

#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "fact-task.h"
#include "fact.h"
#include "test-image.h"
#include "test.h"

static char directory[64], marks[80];
static const char *directories[2];
static sd_event *event;

/* What on_facts was told. */
static struct {
        unsigned n;
        char *json, *error;
        bool changed;
} told;

static int setup(_unused_ void **state) {
        sigset_t child;

        (void) sigemptyset(&child);
        (void) sigaddset(&child, SIGCHLD);
        ASSERT_OK(sigprocmask(SIG_BLOCK, &child, NULL));
        (void) snprintf(directory, sizeof(directory), "/tmp/test-fact-task-XXXXXX");
        assert_non_null(mkdtemp(directory));
        (void) snprintf(marks, sizeof(marks), "%s/marks", directory);
        ASSERT_OK(mkdir(marks, 0755));
        directories[0] = directory;
        ASSERT_OK(sd_event_new(&event) < 0);
        return 0;
}

static int on_remove(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static void forget(void) {
        free(TAKE_PTR(told.json));
        free(TAKE_PTR(told.error));
        told.n = 0;
}

static int teardown(_unused_ void **state) {
        forget();
        event = sd_event_unref(event);
        (void) nftw(directory, on_remove, 16, FTW_DEPTH | FTW_PHYS);
        return 0;
}

static void put(const char *name, const char *text, mode_t mode) {
        char path[128];
        _cleanup_close_ int fd = -EBADF;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        ASSERT_OK(write_full(fd, text, strlen(text)));
        ASSERT_OK(fchmod(fd, mode));
}

/* A program with "$M" for the directory of marks. */
static void put_program(const char *name, const char *script) {
        _cleanup_free_ char *text = NULL;

        assert_true(asprintf(&text, "#!/bin/sh\nM=%s\n%s", marks, script) > 0);
        put(name, text, 0755);
}

static void on_facts(void *userdata, const char *json, size_t size, bool changed, const char *error) {
        told.n++;
        told.changed = changed;
        if (json) {
                ASSERT_EQ(strlen(json), size);
                told.json = strdup(json);
        }
        if (error)
                told.error = strdup(error);
        if (userdata)
                *(FactTask **) userdata = fact_task_free(*(FactTask **) userdata);
        ASSERT_OK(sd_event_exit(event, 0));
}

static const FactTaskHandlers handlers = { .on_facts = on_facts };

/* Runs a task to its end. Without an outcome within a minute the test has failed. */
static void gather(const FactTaskOptions *options) {
        _cleanup_(fact_task_freep) FactTask *task = NULL;

        forget();
        event = sd_event_unref(event);
        ASSERT_OK(sd_event_new(&event) < 0);
        ASSERT_OK(fact_task_start(event, options, &handlers, NULL, &task));
        ASSERT_OK(sd_event_loop(event));
        ASSERT_EQ(told.n, 1);
}

static FactTaskOptions usual(void) {
        return (FactTaskOptions){ .root = "/", .directories = directories, .want_json = true };
}

static json_t *gathered(void) {
        json_t *json;

        if (told.error)
                fail_msg("%s", told.error);
        assert_non_null(told.json);
        json = json_loads(told.json, 0, NULL);
        assert_non_null(json);
        return json;
}

/* Waits for a file in the directory of marks. Return: the number that is in it. */
static long wait_for_mark(const char *name) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + 20 * USEC_PER_SEC;
        char path[128], text[32] = "";

        (void) snprintf(path, sizeof(path), "%s/%s", marks, name);
        while (now_usec(CLOCK_MONOTONIC) < deadline) {
                _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

                if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 1 && strchr(text, '\n'))
                        return strtol(text, NULL, 10);
                (void) usleep(1000);
        }
        fail_msg("'%s' is not there", name);
        return 0;
}

/* True once a process is gone, or a zombie that nobody has reaped yet. */
static bool ends(long pid) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + 20 * USEC_PER_SEC;
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
        while (now_usec(CLOCK_MONOTONIC) < deadline) {
                _cleanup_fclose_ FILE *f = fopen(path, "re");
                char status;

                if (!f || fscanf(f, "%*d (%*[^)]) %c", &status) != 1 || status == 'Z')
                        return true;
                (void) usleep(1000);
        }
        return false;
}

/* ---- What is gathered ------------------------------------------------------------------------------------------ */

TEST(facts_are_one_object) {
        FactTaskOptions options = usual();
        json_t *json;

        put("rack.json", "{\"row\": 4}", 0644);
        put_program("answer", "echo 42\n");
        gather(&options);
        json = gathered();
        ASSERT_TRUE(json_is_string(json_object_get(json, "hostname")));
        ASSERT_EQ(json_integer_value(json_object_get(json_object_get(json, "local"), "answer")), 42);
        ASSERT_EQ(json_integer_value(
                          json_object_get(json_object_get(json_object_get(json, "local"), "rack"), "row")),
                4);
        ASSERT_FALSE(told.changed);
        json_decref(json);

        options.want_json = false;
        gather(&options);
        ASSERT_NULL(told.json);
        ASSERT_NULL(told.error);
}

TEST(large_facts_come_whole) {
        FactTaskOptions options = usual();
        json_t *json;

        put_program("large", "printf '\"'; head -c 1000000 /dev/zero | tr '\\0' x; printf '\"'\n");
        gather(&options);
        json = gathered();
        ASSERT_EQ(json_string_length(json_object_get(json_object_get(json, "local"), "large")), 1000000);
        json_decref(json);

        for (char name[] = "large-a"; name[6] <= 'd'; name[6]++)
                put_program(name, "printf '\"'; head -c 1000000 /dev/zero | tr '\\0' x; printf '\"'\n");
        gather(&options);
        ASSERT_NULL(told.json);
        ASSERT_STREQ(told.error, "the facts are larger than 4 MiB; those in facts.d must be shorter");
}

TEST(programs_that_misbehave_are_absent) {
        FactTaskOptions options = usual();
        usec_t start = now_usec(CLOCK_MONOTONIC);
        json_t *json;

        options.deadline_usec = 3 * USEC_PER_SEC;
        put_program("hangs", "exec sleep 1000\n");
        put_program("deaf", "trap '' TERM INT HUP\nwhile :; do sleep 1; done\n");
        put_program("garbage", "head -c 10000 /dev/urandom\n");
        put_program("endless", "exec cat /dev/zero\n");
        put_program("fails", "echo '{}'; exit 1\n");
        put_program("dies", "kill -9 $$\n");
        put_program("parent", "kill -STOP $PPID & sleep 0.01; kill -CONT $PPID; echo 1\n");
        put("broken.json", "{", 0644);
        put_program("good", "echo '\"yes\"'\n");
        gather(&options);
        json = gathered();
        ASSERT_STREQ(json_string_value(json_object_get(json_object_get(json, "local"), "good")), "yes");
        ASSERT_EQ(json_object_size(json_object_get(json, "local")), 2); /* `parent` as well */
        json_decref(json);
        ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) - start < 20 * USEC_PER_SEC);
}

TEST(a_root_that_is_not_there) {
        FactTaskOptions options = usual();

        options.root = "/nowhere/at/all";
        gather(&options);
        ASSERT_NULL(told.json);
        ASSERT_STREQ(told.error, "No such file or directory");
}

/* ---- What has changed ------------------------------------------------------------------------------------------ */

/* An image that has noted these facts, with what they are now. */
static Image noted(Arena *arena, const char *const *names, uint32_t n) {
        const FactsOptions options = { .directories = directories };
        Diagnostics diagnostics = {};
        ImageHeader *header;
        ImageFact *facts;
        Arena scratch;
        Value values;
        int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

        ASSERT_OK(arena_map(&scratch, MIB(16), NULL));
        diagnostics.arena = &scratch;
        ASSERT_OK(facts_gather(&scratch, fd, &options, &values, &diagnostics));
        ASSERT_OK(arena_map(arena, MIB(1), NULL));
        header = arena_new(arena, ImageHeader);
        facts = test_image_array(arena, &header->facts, n, sizeof(ImageFact));
        for (uint32_t i = 0; i < n; i++) {
                facts[i].name = test_image_text(arena, names[i]);
                fact_hash(&values, names[i], facts[i].hash);
        }
        arena_unmap(&scratch);
        (void) close(fd);
        return (Image){ .n_ref = 1, .base = arena->base, .header = header };
}

TEST(what_was_noted_is_compared) {
        static const struct {
                const char *fact;
                const char *file, *text; /* what becomes of it */
                bool changed;
        } cases[] = {
                { "facts.os.id", "a.json", "2", false },
                { "facts.local.a", "a.json", "1", false },
                { "facts.local.a", "a.json", " 1 ", false },
                { "facts.local.a", "a.json", "2", true },
                { "facts.local.a", "a.json", "\"1\"", true },
                { "facts.local.a", "a.json", "{", true }, /* absent */
                { "facts.local.a", "b.json", "2", false },
                { "facts.local.b", "b.json", "2", true }, /* it was absent */
                { "facts.local.b", "b.json", "null", true },
                { "facts.local", "b.json", "2", true },
                { "facts", "b.json", "2", true },
                { "facts.local.t.x", "t.json", "{\"x\": 1, \"y\": 2}", false },
                { "facts.local.t.x", "t.json", "{\"x\": {\"z\": 1}}", true },
                { "facts.local.t", "t.json", "{\"y\": 1, \"x\": 1}", false }, /* order is nothing */
                { "facts.local.l.0", "l.json", "[1, 3]", true },              /* of an array all counts */
                { "facts.local.l", "l.json", "[2, 1]", true },
        };

        FOREACH_ELEMENT(c, cases) {
                FactTaskOptions options = usual();
                Arena arena;
                Image image;

                (void) nftw(directory, on_remove, 16, FTW_DEPTH | FTW_PHYS);
                ASSERT_OK(mkdir(directory, 0755));
                put("a.json", "1", 0644);
                put("t.json", "{\"x\": 1, \"y\": 1}", 0644);
                put("l.json", "[1, 2]", 0644);
                image = noted(&arena, &c->fact, 1);
                options.image = &image;
                options.want_json = false;
                put(c->file, c->text, 0644);
                gather(&options);
                ASSERT_NULL(told.error);
                if (told.changed != c->changed)
                        fail_msg("%s, %s: %s", c->fact, c->file, c->text);
                arena_unmap(&arena);
        }
}

TEST(any_of_what_was_noted_counts) {
        static const char *const names[] = { "facts.os.id", "facts.local.b", "facts.local.a" };
        FactTaskOptions options = usual();
        json_t *json;
        Arena arena;
        Image image;

        image = noted(&arena, names, 3);
        options.image = &image;
        gather(&options);
        ASSERT_FALSE(told.changed);
        put_program("a", "echo 1\n");
        gather(&options);
        ASSERT_TRUE(told.changed);
        json = gathered();
        json_decref(json);
        arena_unmap(&arena);
}

/* ---- The end --------------------------------------------------------------------------------------------------- */

/* A program whose child is in the way, too; both tell who they are. */
#define HANGS "echo $$ >$M/one\n(echo $(sh -c 'echo $PPID') >$M/two; while :; do sleep 1; done) &\nwait\n"

TEST(a_task_has_a_deadline_and_takes_everything_with_it) {
        FactTaskOptions options = usual();
        long one, two;

        options.deadline_usec = 1000 * USEC_PER_SEC;
        options.timeout_usec = 3 * USEC_PER_SEC;
        put_program("hangs", HANGS);
        gather(&options);
        ASSERT_STREQ(told.error, "the facts were not gathered in time");
        ASSERT_NULL(told.json);
        one = wait_for_mark("one");
        two = wait_for_mark("two");
        ASSERT_TRUE(ends(one) && ends(two));
}

TEST(a_task_that_is_given_up_takes_everything_with_it) {
        FactTaskOptions options = usual();
        FactTask *task;
        long one, two;

        options.deadline_usec = 1000 * USEC_PER_SEC;
        put_program("hangs", HANGS);
        ASSERT_OK(fact_task_start(event, &options, &handlers, NULL, &task));
        one = wait_for_mark("one");
        two = wait_for_mark("two");
        ASSERT_NULL(fact_task_free(task));
        ASSERT_NULL(fact_task_free(NULL));
        ASSERT_TRUE(ends(one) && ends(two));
        ASSERT_EQ(told.n, 0);

        /* The loop reaps it, some time. */
        while (waitid(P_ALL, 0, &(siginfo_t){}, WEXITED | WNOHANG | WNOWAIT) >= 0)
                assert_true(sd_event_run(event, 20 * USEC_PER_SEC) > 0);
        ASSERT_EQ(errno, ECHILD);
        ASSERT_EQ(told.n, 0);
}

TEST(a_task_may_be_freed_by_its_handler) {
        FactTaskOptions options = usual();
        FactTask *task;

        ASSERT_OK(fact_task_start(event, &options, &handlers, &task, &task));
        ASSERT_OK(sd_event_loop(event));
        ASSERT_EQ(told.n, 1);
        ASSERT_NULL(task);
        ASSERT_NULL(told.error);

        event = sd_event_unref(event);
        ASSERT_OK(sd_event_new(&event) < 0);
        put_program("hangs", "exec sleep 1000\n");
        options.deadline_usec = 1000 * USEC_PER_SEC;
        options.timeout_usec = 50 * USEC_PER_MSEC;
        ASSERT_OK(fact_task_start(event, &options, &handlers, &task, &task));
        ASSERT_OK(sd_event_loop(event));
        ASSERT_EQ(told.n, 2);
        ASSERT_NULL(task);
}

TEST(programs_do_not_outlive_an_engine_that_is_killed) {
        FactTaskOptions options = usual();
        FactTask *task;
        long one, two;
        pid_t engine;

        options.deadline_usec = 1000 * USEC_PER_SEC;
        put_program("hangs", HANGS);
        engine = fork();
        assert_true(engine >= 0);
        if (engine == 0) {
                if (sd_event_new(&event) >= 0 &&
                        fact_task_start(event, &options, &handlers, NULL, &task) == 0)
                        for (;;)
                                (void) pause();
                _exit(EXIT_FAILURE);
        }
        one = wait_for_mark("one");
        two = wait_for_mark("two");
        ASSERT_OK(kill(engine, SIGKILL));
        ASSERT_TRUE(waitpid(engine, NULL, 0) == engine);
        ASSERT_TRUE(ends(one) && ends(two));
}

static void killed_child(int signal_, const char *expected) {
        _cleanup_(fact_task_freep) FactTask *task = NULL;
        FactTaskOptions options = usual();
        _cleanup_free_ char *script = NULL;

        forget();
        event = sd_event_unref(event);
        ASSERT_OK(sd_event_new(&event) < 0);
        assert_true(asprintf(&script, "kill -%d $PPID\n", signal_) > 0);
        put_program("kills", script);
        options.deadline_usec = 1000 * USEC_PER_SEC;
        ASSERT_OK(fact_task_start(event, &options, &handlers, NULL, &task));
        ASSERT_OK(sd_event_loop(event));
        ASSERT_STREQ(told.error, expected);
        ASSERT_NULL(told.json);
}

TEST(a_child_that_dies_is_reported) {
        killed_child(SIGSEGV, "the process that gathers facts died of signal 11 (Segmentation fault)");
        killed_child(SIGTERM, "the process that gathers facts exited with status 1");
}

#define RUN_FRESH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_FRESH(facts_are_one_object), RUN_FRESH(large_facts_come_whole),
        RUN_FRESH(programs_that_misbehave_are_absent), RUN_FRESH(a_root_that_is_not_there),
        RUN_FRESH(what_was_noted_is_compared), RUN_FRESH(any_of_what_was_noted_counts),
        RUN_FRESH(a_task_has_a_deadline_and_takes_everything_with_it),
        RUN_FRESH(a_task_that_is_given_up_takes_everything_with_it),
        RUN_FRESH(a_task_may_be_freed_by_its_handler),
        RUN_FRESH(programs_do_not_outlive_an_engine_that_is_killed),
        RUN_FRESH(a_child_that_dies_is_reported))
