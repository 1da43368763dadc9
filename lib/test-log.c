/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>

#include "log.h"
#include "test.h"

/* Standard error is a pipe between capture_start() and capture_end(). */
static int saved_stderr = -EBADF, reader = -EBADF;
static char captured[65536];

static void capture_start(void) {
        int fds[2];

        ASSERT_OK(pipe2(fds, O_CLOEXEC));
        saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
        assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
        safe_close(fds[1]);
        reader = fds[0];
}

static const char *capture_end(void) {
        ssize_t n;

        assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
        saved_stderr = safe_close(saved_stderr);
        n = read_full(reader, captured, sizeof(captured) - 1);
        reader = safe_close(reader);
        assert_true(n >= 0);
        captured[n] = 0;
        return captured;
}

static int setup(_unused_ void **state) {
        log_set_max_level(LOG_DEBUG);
        log_set_identifier("agentd");
        log_open_journal(false);
        return 0;
}

TEST(only_warnings_and_errors_carry_their_level) {
        capture_start();
        log_error("Failed to %s", "stand");
        log_warning("Leaning");
        log_notice("Standing");
        log_info("Walked %d", 3);
        log_debug("Thought");
        ASSERT_STREQ(capture_end(), "agentd: error: Failed to stand\n"
                                    "agentd: warning: Leaning\n"
                                    "agentd: Standing\n"
                                    "agentd: Walked 3\n"
                                    "agentd: Thought\n");
}

TEST(messages_above_the_level_are_dropped) {
        log_set_max_level(LOG_WARNING);
        capture_start();
        log_notice("Standing");
        log_fields(LOG_INFO, NULL, 0, "Walked");
        ASSERT_EQ(log_debug_errno(-EIO, "Thought"), -EIO);
        log_warning("Leaning");
        ASSERT_STREQ(capture_end(), "agentd: warning: Leaning\n");
}

TEST(errors_are_returned_and_named) {
        capture_start();
        errno = EBUSY;
        ASSERT_EQ(log_error_errno(-ENOENT, "Failed to open '%s': %m", "/x"), -ENOENT);
        ASSERT_EQ(log_warning_errno(EACCES, "Failed to read: %m"), -EACCES);
        ASSERT_EQ(log_oom(), -ENOMEM);
        ASSERT_EQ(errno, EBUSY);
        log_info("%m");
        ASSERT_STREQ(capture_end(), "agentd: error: Failed to open '/x': No such file or directory\n"
                                    "agentd: warning: Failed to read: Permission denied\n"
                                    "agentd: error: Out of memory\n"
                                    "agentd: Device or resource busy\n");
}

TEST(fields_do_not_show_on_standard_error) {
        const LogField fields[] = { { "AGENTD_RUN", "12" }, { "AGENTD_STATE", NULL } };

        capture_start();
        log_fields(LOG_NOTICE, fields, ELEMENTSOF(fields), "Run %d finished", 12);
        ASSERT_STREQ(capture_end(), "agentd: Run 12 finished\n");
}

TEST(a_message_is_one_clean_line) {
        static const struct {
                const char *in, *out;
        } cases[] = {
                { "a\nagentd: error: forged", "agentd: a?agentd: error: forged\n" },
                { "\033[2J", "agentd: ?[2J\n" },
                { "\xc2\x9b"
                  "2J",
                        "agentd: ??2J\n" },
                { "tab\tstays", "agentd: tab\tstays\n" },
                { "gr\xc3\xbc\xc3\x9f"
                  "e",
                        "agentd: gr\xc3\xbc\xc3\x9f"
                        "e\n" },
                { "\xff"
                  "a\xc3",
                        "agentd: ?a?\n" },
                { "", "agentd: \n" },
        };

        FOREACH_ELEMENT(c, cases) {
                capture_start();
                log_info("%s", c->in);
                ASSERT_STREQ(capture_end(), c->out);
        }
}

TEST(a_long_message_is_cut_between_characters) {
        for (size_t pad = 0; pad < 4; pad++) {
                _cleanup_free_ char *text = NULL;
                const char *out;
                size_t n;

                assert_true(asprintf(&text, "%.*s", (int) pad, "xxxx") >= 0);
                text = realloc(text, pad + 3 * LOG_MESSAGE_MAX + 1);
                assert_non_null(text);
                for (size_t i = 0; i < LOG_MESSAGE_MAX; i++)
                        memcpy(text + pad + 3 * i, "\xe2\x82\xac", 4);

                capture_start();
                log_info("%s", text);
                out = capture_end();
                n = strlen(out);
                assert_true(n > LOG_MESSAGE_MAX - 8 && n < LOG_MESSAGE_MAX + 16);
                assert_true(endswith(out, "\xe2\x82\xac…\n"));
                assert_null(strchr(out, '?'));
        }
}

TEST(a_reader_that_does_not_read_does_not_block_for_ever) {
        usec_t start = now_usec(CLOCK_MONOTONIC), taken;

        capture_start();
        /* A pipe holds 64 KiB; the first line that finds no room waits, the others do not. */
        for (int i = 0; i < 200; i++)
                log_info("%02000d", i);
        taken = now_usec(CLOCK_MONOTONIC) - start;
        (void) capture_end();
        assert_true(taken >= LOG_STDERR_WAIT_MSEC * USEC_PER_MSEC);
        assert_true(taken < 50 * LOG_STDERR_WAIT_MSEC * USEC_PER_MSEC); /* some hundred did not */
}

TEST(a_closed_standard_error_is_harmless) {
        int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);

        assert_true(saved >= 0);
        (void) close(STDERR_FILENO);
        log_error("Nobody hears this");
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        safe_close(saved);
}

TEST(a_child_logs_as_its_parent_does) {
        int status;
        pid_t pid;

        capture_start();
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                log_info("Child");
                _exit(0);
        }
        assert_true(waitpid(pid, &status, 0) == pid);
        log_info("Parent");
        ASSERT_EQ(status, 0);
        ASSERT_STREQ(capture_end(), "agentd: Child\nagentd: Parent\n");
}

/* Where there is no journal the messages come out on standard error; where there is one, nowhere else. */
TEST(the_journal_is_tried_first) {
        const LogField fields[] = {
                { "AGENTD_RUN", "12" },
                { "AGENTD_STATE", NULL },
                { "AGENTD_TEXT", "two\nlines" },
        };
        LogField many[LOG_FIELDS_MAX + 5];

        FOREACH_ELEMENT(f, many)
                *f = (LogField){ "AGENTD_TEST", "x" };

        log_open_journal(true);
        capture_start();
        log_fields(LOG_DEBUG, fields, ELEMENTSOF(fields), "Testing the journal");
        log_fields(LOG_DEBUG, many, ELEMENTSOF(many), "Testing the journal");
        ASSERT_EQ(log_debug_errno(-EIO, "Testing the journal: %m"), -EIO);
        (void) capture_end();
        /* The socket may be there and nobody behind it. */
        if (access("/run/systemd/journal/socket", F_OK) < 0 || *captured)
                ASSERT_STREQ(captured, "agentd: Testing the journal\nagentd: Testing the journal\n"
                                       "agentd: Testing the journal: Input/output error\n");
}

TEST(levels_have_names) {
        static const struct {
                const char *name;
                int r, level;
        } cases[] = {
                { "error", 0, LOG_ERR },
                { "err", 0, LOG_ERR },
                { "warning", 0, LOG_WARNING },
                { "debug", 0, LOG_DEBUG },
                { "Debug", -EINVAL, 42 },
                { "", -EINVAL, 42 },
                { "7", -EINVAL, 42 },
        };

        FOREACH_ELEMENT(c, cases) {
                int level = 42;

                ASSERT_EQ(log_level_from_string(c->name, &level), c->r);
                ASSERT_EQ(level, c->level);
        }
        ASSERT_STREQ(log_level_to_string(LOG_ERR), "error");
        ASSERT_STREQ(log_level_to_string(LOG_NOTICE), "notice");
}

#define LOG_TEST(name) cmocka_unit_test_setup(test_##name, setup)
RUN_TESTS(LOG_TEST(only_warnings_and_errors_carry_their_level),
        LOG_TEST(messages_above_the_level_are_dropped), LOG_TEST(errors_are_returned_and_named),
        LOG_TEST(fields_do_not_show_on_standard_error), LOG_TEST(a_message_is_one_clean_line),
        LOG_TEST(a_long_message_is_cut_between_characters),
        LOG_TEST(a_reader_that_does_not_read_does_not_block_for_ever),
        LOG_TEST(a_closed_standard_error_is_harmless), LOG_TEST(a_child_logs_as_its_parent_does),
        LOG_TEST(the_journal_is_tried_first), LOG_TEST(levels_have_names))
