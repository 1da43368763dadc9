/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "settle.h"
#include "test.h"

#define DEADLINE_USEC (20 * USEC_PER_SEC)

static sd_event *event;
static Settle *settle;
static unsigned n_settled;
static usec_t settled_usec;
static bool free_in_handler, poke_in_handler;

static void on_settled(_unused_ void *userdata) {
        n_settled++;
        settled_usec = now_usec(CLOCK_MONOTONIC);
        if (poke_in_handler) {
                poke_in_handler = false;
                settle_poke(settle);
        }
        if (free_in_handler)
                settle = settle_free(settle);
}

static int setup(_unused_ void **state) {
        n_settled = 0;
        settled_usec = 0;
        free_in_handler = poke_in_handler = false;
        ASSERT_OK(sd_event_new(&event));
        return 0;
}

static int teardown(_unused_ void **state) {
        settle = settle_free(settle);
        event = sd_event_unref(event);
        return 0;
}

static void run_until_settled(unsigned n) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        while (n_settled < n) {
                ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) < deadline);
                ASSERT_TRUE(sd_event_run(event, USEC_PER_SEC) >= 0);
        }
}

TEST(bad_times) {
        static const struct {
                usec_t quiet_usec, longest_usec;
                int r;
        } cases[] = {
                { 2, 1, -EINVAL },
                { USEC_INFINITY, USEC_INFINITY, -EINVAL },
                { 0, 0, 0 },
                { 1, 1, 0 },
                { 1, USEC_INFINITY, 0 },
        };

        FOREACH_ELEMENT(c, cases) {
                Settle *s = NULL;

                ASSERT_EQ(settle_new(event, c->quiet_usec, c->longest_usec, on_settled, NULL, &s), c->r);
                ASSERT_EQ(s != NULL, c->r == 0);
                settle_free(s);
        }
}

TEST(nothing_without_a_poke) {
        ASSERT_OK(settle_new(event, 0, 0, on_settled, NULL, &settle));
        ASSERT_FALSE(settle_is_pending(settle));
        ASSERT_EQ(sd_event_run(event, 0), 0);
        ASSERT_EQ(n_settled, 0);
}

TEST(once_after_quiet) {
        usec_t begin = now_usec(CLOCK_MONOTONIC);

        ASSERT_OK(settle_new(event, 20 * USEC_PER_MSEC, USEC_PER_SEC, on_settled, NULL, &settle));
        for (int i = 0; i < 1000; i++)
                settle_poke(settle);
        ASSERT_TRUE(settle_is_pending(settle));
        run_until_settled(1);
        ASSERT_TRUE(settled_usec >= begin + 20 * USEC_PER_MSEC);
        ASSERT_FALSE(settle_is_pending(settle));
        ASSERT_EQ(sd_event_run(event, 0), 0);
        ASSERT_EQ(n_settled, 1);

        settle_poke(settle);
        run_until_settled(2);
}

/* Poked without end, it is told after the longest time; and not before the quiet one has passed since the last poke. */
TEST(at_most_the_longest) {
        usec_t begin = now_usec(CLOCK_MONOTONIC), last = begin;

        ASSERT_OK(settle_new(event, 100 * USEC_PER_MSEC, 300 * USEC_PER_MSEC, on_settled, NULL, &settle));
        while (n_settled == 0) {
                last = now_usec(CLOCK_MONOTONIC);
                ASSERT_TRUE(last < begin + DEADLINE_USEC);
                settle_poke(settle);
                ASSERT_TRUE(sd_event_run(event, 5 * USEC_PER_MSEC) >= 0);
        }
        ASSERT_TRUE(
                settled_usec >= begin + 300 * USEC_PER_MSEC || settled_usec >= last + 100 * USEC_PER_MSEC);
}

TEST(a_poke_puts_it_off) {
        usec_t last, deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        ASSERT_OK(settle_new(event, 50 * USEC_PER_MSEC, USEC_INFINITY, on_settled, NULL, &settle));
        do {
                last = now_usec(CLOCK_MONOTONIC);
                ASSERT_TRUE(last < deadline);
                n_settled = 0;
                settle_poke(settle);
                ASSERT_TRUE(sd_event_run(event, 25 * USEC_PER_MSEC) >= 0);
        } while (n_settled > 0); /* we were held up for so long */
        last = now_usec(CLOCK_MONOTONIC);
        settle_poke(settle);
        run_until_settled(1);
        ASSERT_TRUE(settled_usec >= last + 50 * USEC_PER_MSEC);
}

TEST(cancelled) {
        ASSERT_OK(settle_new(event, 0, 0, on_settled, NULL, &settle));
        settle_poke(settle);
        settle_cancel(settle);
        ASSERT_FALSE(settle_is_pending(settle));
        ASSERT_EQ(sd_event_run(event, 0), 0);
        ASSERT_EQ(n_settled, 0);

        settle_poke(settle);
        run_until_settled(1);
}

TEST(poked_and_freed_by_the_handler) {
        poke_in_handler = true;
        ASSERT_OK(settle_new(event, 1, 1, on_settled, NULL, &settle));
        settle_poke(settle);
        run_until_settled(1);
        free_in_handler = true;
        run_until_settled(2);
        ASSERT_NULL(settle);
        ASSERT_EQ(sd_event_run(event, 0), 0);
}

#define RUN_WITH_LOOP(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_WITH_LOOP(bad_times), RUN_WITH_LOOP(nothing_without_a_poke), RUN_WITH_LOOP(once_after_quiet),
        RUN_WITH_LOOP(at_most_the_longest), RUN_WITH_LOOP(a_poke_puts_it_off), RUN_WITH_LOOP(cancelled),
        RUN_WITH_LOOP(poked_and_freed_by_the_handler))
