/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "log-journal.h"
#include "log.h"
#include "test.h"

/* A journald of our own: it reads when it is told to. */
static char directory[] = "/tmp/test-log-journal-XXXXXX", path[100];
static int journald = -EBADF;
static char entry[JOURNAL_ENTRY_MAX];

static void journald_start(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void) unlink(path);
        journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(journald >= 0);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        ASSERT_OK(bind(journald, (const struct sockaddr *) &address, sizeof(address)));
}

static int setup(_unused_ void **state) {
        (void) snprintf(path, sizeof(path), "%s/socket", directory);
        journald_start();
        journal_set_socket(path);
        return 0;
}

static int teardown(_unused_ void **state) {
        journald = safe_close(journald);
        journal_set_socket(NULL);
        return unlink(path);
}

static ssize_t journald_read(void) {
        ssize_t n = recv(journald, entry, sizeof(entry) - 1, 0);

        entry[n >= 0 ? n : 0] = 0;
        return n;
}

static int send_text(const char *text) {
        return journal_send(&(struct iovec){ (void *) (uintptr_t) text, strlen(text) }, 1);
}

TEST(fields_are_lines_and_values_with_line_ends_have_a_size) {
        const struct iovec fields[] = {
                { (void *) "MESSAGE=hello", 13 },
                { (void *) "AGENTD_STATE=file:/a\nb", 22 },
                { (void *) "EMPTY=", 6 },
        };
        static const char expected[] = "MESSAGE=hello\nAGENTD_STATE\n\x09\0\0\0\0\0\0\0file:/a\nb\nEMPTY=\n";

        ASSERT_OK(journal_send(fields, ELEMENTSOF(fields)));
        ASSERT_EQ(journald_read(), sizeof(expected) - 1);
        assert_memory_equal(entry, expected, sizeof(expected) - 1);
}

TEST(what_is_no_field_or_too_large_is_refused) {
        static char large[JOURNAL_ENTRY_MAX + 1];

        memset(large, 'x', sizeof(large) - 1);
        large[1] = '=';
        ASSERT_EQ(send_text("no field"), -EMSGSIZE);
        ASSERT_EQ(send_text(large), -EMSGSIZE);
        ASSERT_EQ(journald_read(), -1);
}

TEST(a_journald_that_does_not_read_is_waited_for_once) {
        usec_t begin = now_usec(CLOCK_MONOTONIC), took;
        unsigned n = 0, lost = 0;

        /* Room for some; then one waits, and thousands do not. */
        for (; n < 20000; n++)
                if (send_text("MESSAGE=hello") == -EAGAIN)
                        lost++;
        took = now_usec(CLOCK_MONOTONIC) - begin;
        assert_true(lost > 1000);
        assert_true(journal_is_stuck());
        assert_true(took >= JOURNAL_WAIT_MSEC * USEC_PER_MSEC);
        assert_true(took < 100 * JOURNAL_WAIT_MSEC * USEC_PER_MSEC);

        while (journald_read() > 0)
                n--;
        ASSERT_EQ(n, lost);
        ASSERT_OK(send_text("MESSAGE=again"));
        ASSERT_FALSE(journal_is_stuck());
        assert_true(journald_read() > 0);
        ASSERT_STREQ(entry, "MESSAGE=again\n");
        assert_true(journald_read() > 0);
        ASSERT_TRUE(startswith(entry, "MESSAGE="));
        ASSERT_EQ(strtoul(entry + strlen("MESSAGE="), NULL, 10), lost);
        ASSERT_EQ(journald_read(), -1);
}

TEST(a_journald_that_was_started_anew_is_found) {
        ASSERT_OK(send_text("MESSAGE=one"));
        journald = safe_close(journald);
        assert_true(send_text("MESSAGE=nobody") < 0);
        journald_start();
        ASSERT_OK(send_text("MESSAGE=two"));
        assert_true(journald_read() > 0);
        ASSERT_STREQ(entry, "MESSAGE=two\n");
}

TEST(without_journald_it_is_an_error) {
        journald = safe_close(journald);
        ASSERT_OK(unlink(path));
        ASSERT_EQ(send_text("MESSAGE=nobody"), -ENOENT);
        journald_start();
        ASSERT_OK(send_text("MESSAGE=somebody"));
}

static int make(_unused_ void **state) {
        return mkdtemp(directory) ? 0 : -1;
}

static int clean(_unused_ void **state) {
        return rmdir(directory);
}

int main(void) {
#define RUN_WITH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
        const struct CMUnitTest tests[] = {
                RUN_WITH(fields_are_lines_and_values_with_line_ends_have_a_size),
                RUN_WITH(what_is_no_field_or_too_large_is_refused),
                RUN_WITH(a_journald_that_does_not_read_is_waited_for_once),
                RUN_WITH(a_journald_that_was_started_anew_is_found),
                RUN_WITH(without_journald_it_is_an_error),
        };

        return cmocka_run_group_tests(tests, make, clean);
}
