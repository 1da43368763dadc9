/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "format.h"
#include "test.h"

#define MINUTE USEC_PER_MINUTE
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

TEST(spans) {
        static const struct {
                usec_t span;
                const char *text;
        } cases[] = {
                { 0, "0us" },
                { 412, "412us" },
                { 12 * USEC_PER_MSEC, "12ms" },
                { 2500 * USEC_PER_MSEC, "2.5s" },
                { MINUTE - 1, "60s" },
                { MINUTE, "1min" },
                { MINUTE + 5 * USEC_PER_SEC, "1min 5s" },
                { 3 * MINUTE + 5 * USEC_PER_SEC, "3min" },
                { 59 * MINUTE + 59 * USEC_PER_SEC, "59min" },
                { HOUR, "1h" },
                { HOUR + 5 * MINUTE, "1h 5min" },
                { 12 * HOUR + 5 * MINUTE, "12h" },
                { DAY, "1 day" },
                { DAY + HOUR, "1 day 1h" },
                { 3 * DAY + HOUR, "3 days" },
                { 30 * DAY, "1 month" },
                { 65 * DAY, "2 months" },
                { 365 * DAY, "1 year" },
                { 396 * DAY, "1 year 1 month" },
                { 730 * DAY + 90 * DAY, "2 years 3 months" },
                { 3650 * DAY + 90 * DAY, "10 years" },
                { USEC_INFINITY, "infinity" },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_STREQ(FORMAT_SPAN(c->span), c->text);
}

TEST(relative_times) {
        static const usec_t now = 1000 * DAY;
        static const struct {
                usec_t usec;
                const char *text;
        } cases[] = {
                { 0, "never" },
                { 1000 * DAY, "now" },
                { 1000 * DAY - 999 * USEC_PER_MSEC, "now" },
                { 1000 * DAY + 999 * USEC_PER_MSEC, "now" },
                { 1000 * DAY - 1500 * USEC_PER_MSEC, "1s ago" },
                { 1000 * DAY - 3 * MINUTE, "3min ago" },
                { 1000 * DAY + 27 * MINUTE, "in 27min" },
                { 998 * DAY, "2 days ago" },
                { 1, "2 years 8 months ago" },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_STREQ(FORMAT_RELATIVE(c->usec, now), c->text);
}

TEST(times) {
        ASSERT_OK(setenv("TZ", "UTC", 1));
        ASSERT_STREQ(FORMAT_TIME(0), "-");
        ASSERT_STREQ(FORMAT_TIME(UINT64_C(1795267920123456)), "2026-11-21 13:32:00");
}

TEST(sizes) {
        static const struct {
                uint64_t bytes;
                const char *text;
        } cases[] = {
                { 0, "0B" },
                { 1023, "1023B" },
                { 1024, "1.0K" },
                { 81920, "80.0K" },
                { 1024 * 1024 - 1, "1.0M" },
                { UINT64_C(1610612736), "1.5G" },
                { UINT64_MAX, "16.0E" },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_STREQ(FORMAT_SIZE(c->bytes), c->text);
}

RUN_TESTS(RUN(spans), RUN(relative_times), RUN(times), RUN(sizes))
