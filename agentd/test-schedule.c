/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "schedule.h"
#include "test.h"

#define DEADLINE_USEC (20 * USEC_PER_SEC)
#define N             1000

static sd_event *event;
static Schedule *schedule;
static uint32_t seen[N];
static uint32_t n_seen;
static usec_t again_usec; /* that each gets; 0: none */

static void on_due(_unused_ void *userdata, uint32_t index) {
        if (n_seen < N)
                seen[n_seen] = index;
        n_seen++;
        ASSERT_EQ(schedule_get(schedule, index), USEC_INFINITY);
        if (again_usec > 0)
                schedule_set(schedule, index, again_usec);
}

static int setup(_unused_ void **state) {
        n_seen = 0;
        again_usec = 0;
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(schedule_new(event, on_due, NULL, &schedule));
        return 0;
}

static int teardown(_unused_ void **state) {
        schedule = schedule_free(schedule);
        event = sd_event_unref(event);
        return 0;
}

static void run_until_seen(uint32_t n) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        while (n_seen < n) {
                ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) < deadline);
                ASSERT_TRUE(sd_event_run(event, USEC_PER_SEC) >= 0);
        }
}

TEST(in_the_order_of_their_times) {
        usec_t now = now_usec(CLOCK_BOOTTIME);

        ASSERT_OK(schedule_resize(schedule, N));
        /* Some of them more than once: the last word counts. */
        for (uint32_t i = 0; i < N; i++)
                schedule_set(schedule, i, now + USEC_PER_SEC + i);
        for (uint32_t i = 0; i < N; i++)
                schedule_set(schedule, (i * 7) % N, now - N + (i * 7 * 13) % N);
        run_until_seen(N);
        ASSERT_EQ(n_seen, N);
        for (uint32_t i = 0; i < N; i++)
                ASSERT_EQ(seen[i] * 13 % N, i);
}

TEST(what_has_no_time_any_more_does_not_come) {
        usec_t now = now_usec(CLOCK_BOOTTIME);

        ASSERT_OK(schedule_resize(schedule, 4));
        for (uint32_t i = 0; i < 4; i++) {
                ASSERT_EQ(schedule_get(schedule, i), USEC_INFINITY);
                schedule_set(schedule, i, now + i);
                ASSERT_EQ(schedule_get(schedule, i), now + i);
        }
        schedule_set(schedule, 0, USEC_INFINITY);
        schedule_set(schedule, 2, USEC_INFINITY);
        schedule_set(schedule, 2, USEC_INFINITY);
        run_until_seen(2);
        ASSERT_EQ(seen[0], 1);
        ASSERT_EQ(seen[1], 3);
        /* Nothing is left that could wake anybody. */
        ASSERT_EQ(sd_event_run(event, 0), 0);
        ASSERT_EQ(n_seen, 2);
}

TEST(who_is_late_again_does_not_keep_the_others) {
        ASSERT_OK(schedule_resize(schedule, 3));
        again_usec = 1;
        for (uint32_t i = 0; i < 3; i++)
                schedule_set(schedule, i, 1);
        run_until_seen(9);
        for (uint32_t i = 0; i < 9; i += 3)
                ASSERT_EQ(seen[i] + seen[i + 1] + seen[i + 2], 0 + 1 + 2);
}

TEST(another_size_is_a_new_beginning) {
        ASSERT_OK(schedule_resize(schedule, 2));
        schedule_set(schedule, 0, 1);
        ASSERT_OK(schedule_resize(schedule, 0));
        ASSERT_EQ(sd_event_run(event, 0), 0);
        ASSERT_OK(schedule_resize(schedule, 1));
        ASSERT_EQ(sd_event_run(event, 0), 0);
        schedule_set(schedule, 0, 1);
        run_until_seen(1);
}

#define RUN_FRESH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_FRESH(in_the_order_of_their_times), RUN_FRESH(what_has_no_time_any_more_does_not_come),
        RUN_FRESH(who_is_late_again_does_not_keep_the_others), RUN_FRESH(another_size_is_a_new_beginning))
