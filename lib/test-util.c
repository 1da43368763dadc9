/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/mman.h>
#include <sys/wait.h>

#include "test.h"

TEST(timespan_parses_what_systemd_parses) {
        static const struct {
                const char *in;
                int r;
                usec_t usec;
        } cases[] = {
                { "5s", 0, 5 * USEC_PER_SEC },
                { "5", 0, 5 * USEC_PER_SEC },
                { "2min 30s", 0, 150 * USEC_PER_SEC },
                { "2min30s", 0, 150 * USEC_PER_SEC },
                { "1.5h", 0, 90 * USEC_PER_MINUTE },
                { "500ms", 0, 500 * USEC_PER_MSEC },
                { "0", 0, 0 },
                { "infinity", 0, USEC_INFINITY },
                { "1 week", 0, 7 * 24 * 60 * USEC_PER_MINUTE },
                { "", -EINVAL, 42 },
                { "s", -EINVAL, 42 },
                { "5 parsecs", -EINVAL, 42 },
                { "1e3", -EINVAL, 42 },
                { "0x10", -EINVAL, 42 },
                { "-1s", -ERANGE, 42 },
                { "999999999999y", -ERANGE, 42 },
                { "5s, 6s", -EINVAL, 42 },
        };

        FOREACH_ELEMENT(c, cases) {
                usec_t usec = 42;

                ASSERT_EQ(parse_timespan(c->in, &usec), c->r);
                ASSERT_EQ(usec, c->usec);
        }
}

TEST(utf8_validation) {
        static const struct {
                const char *text;
                size_t size, prefix;
        } cases[] = {
                { "", 0, 0 },
                { "abc", 3, 3 },
                { "\xc3\xa4", 2, 2 },
                { "a\xc3", 2, 1 },
                { "\xc0\x80", 2, 0 },         /* over-long */
                { "\xed\xa0\x80", 3, 0 },     /* surrogate */
                { "\xf4\x90\x80\x80", 4, 0 }, /* beyond Unicode */
                { "\xf0\x9f\x98\x80", 4, 4 },
                { "a\0b", 3, 3 },
                { "\xff", 1, 0 },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_EQ(utf8_valid_prefix(c->text, c->size), c->prefix);
}

TEST(timespan_is_shown_without_what_is_nothing) {
        ASSERT_STREQ(FORMAT_TIMESPAN(300 * USEC_PER_SEC), "5min");
        ASSERT_STREQ(FORMAT_TIMESPAN(150 * USEC_PER_SEC), "2min 30s");
        ASSERT_STREQ(FORMAT_TIMESPAN(1500 * USEC_PER_MSEC), "1.5s");
}

TEST(pages_are_zeroed_and_not_the_childs) {
        size_t size = KIB(64);
        uint8_t *pages = pages_new(size);
        int status;
        pid_t pid;

        ASSERT_NOT_NULL(pages);
        for (size_t i = 0; i < size; i++)
                ASSERT_EQ(pages[i], 0);
        pages[0] = pages[size - 1] = 1;
        ASSERT_OK(msync(pages, size, MS_ASYNC));
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0)
                _exit(msync(pages, size, MS_ASYNC) < 0 && errno == ENOMEM ? 0 : 1);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        pages_free(pages, size);
        pages_free(NULL, size);
        /* Tables may be empty. */
        pages = pages_new(0);
        ASSERT_NOT_NULL(pages);
        pages_free(pages, 0);
}

RUN_TESTS(RUN(timespan_parses_what_systemd_parses), RUN(timespan_is_shown_without_what_is_nothing),
        RUN(utf8_validation), RUN(pages_are_zeroed_and_not_the_childs))
