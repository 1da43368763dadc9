/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "progress.h"
#include "test.h"

static void update(Progress *progress, const char *json) {
        json_t *object = json_loads(json, 0, NULL);

        ASSERT_NOT_NULL(object);
        progress_update(progress, object);
        json_decref(object);
}

static void expect(const Progress *progress, usec_t now, size_t width, const char *expected) {
        _cleanup_free_ char *text = progress_text(progress, now, width);

        ASSERT_STREQ(text, expected);
}

TEST(what_is_waited_for) {
        Progress progress = { .wanted = true };

        progress_begin(&progress, "Waiting for agentd");
        expect(&progress, progress.begun_usec, 80, "Waiting for agentd (0s)");
        expect(&progress, progress.begun_usec + 12 * USEC_PER_SEC, 80, "Waiting for agentd (12s)");
        expect(&progress, progress.begun_usec, 10, "Waiting f…");
        /* Nothing is drawn before a second is over. */
        progress_tick(&progress);
        ASSERT_FALSE(progress.shown);
        progress_done(&progress);
}

TEST(how_far_a_run_is) {
        Progress progress = {};
        usec_t now;

        progress_begin(&progress, "Waiting");
        update(&progress, "{\"done\": 12, \"total\": 41, \"running\": [\"file:/a\", \"file:/\\u001bb\"]}");
        now = now_usec(CLOCK_MONOTONIC);
        expect(&progress, now, 80, "12 of 41 states · file:/a, file:/?b");
        expect(&progress, now, 20, "12 of 41 states · f…");
        progress.running[0].since_usec = now - 3 * USEC_PER_SEC;

        /* What goes on has gone on since. */
        update(&progress, "{\"done\": 13, \"total\": 41, \"running\": [\"file:/c\", \"file:/a\"]}");
        expect(&progress, now, 80, "13 of 41 states · file:/c, file:/a (3s)");
        update(&progress, "{\"done\": 41, \"total\": 41, \"running\": []}");
        expect(&progress, now, 80, "41 of 41 states");
        progress_done(&progress);
}

TEST(nonsense) {
        Progress progress = {};

        progress_begin(&progress, "Waiting");
        update(&progress, "{}");
        update(&progress, "{\"done\": \"x\", \"total\": [], \"running\": {\"a\": 1}}");
        update(&progress, "{\"running\": [1, null, \"a\", [], \"b\"]}");
        expect(&progress, progress.begun_usec, 80, "Waiting (0s) · a, b");
        update(&progress,
                "{\"running\": [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\"]}");
        ASSERT_EQ(progress.n_running, PROGRESS_SHOWN_MAX);
        progress_done(&progress);
}

RUN_TESTS(RUN(what_is_waited_for), RUN(how_far_a_run_is), RUN(nonsense))
