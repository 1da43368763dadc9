/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "disable.h"
#include "test.h"

static char directory[] = "/tmp/test-disable-XXXXXX";

static int setup(_unused_ void **state) {
        return mkdtemp(directory) ? 0 : -1;
}

static int teardown(_unused_ void **state) {
        char path[128];

        (void) snprintf(path, sizeof(path), "%s/%s", directory, DISABLE_FILE);
        (void) unlink(path);
        return rmdir(directory);
}

static void write_file(const char *text) {
        char path[128];
        FILE *f;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, DISABLE_FILE);
        f = fopen(path, "we");
        assert_non_null(f);
        (void) fputs(text, f);
        assert_int_equal(fclose(f), 0);
}

static void test_written_and_read(_unused_ void **state) {
        _cleanup_(disabled_freep) Disabled *disabled = NULL, *back = NULL;

        assert_int_equal(disabled_read(directory, &back), 0);
        assert_null(back);
        assert_int_equal(
                disabled_new("a reason,\nwith \"all\" kinds: é", "root", USEC_INFINITY, &disabled), 0);
        assert_int_equal(disabled_write(directory, disabled), 0);
        assert_int_equal(disabled_read(directory, &back), 1);
        assert_string_equal(back->reason, "a reason, with \"all\" kinds: é");
        assert_string_equal(back->by, "root");
        assert_true(disabled_left(back) == USEC_INFINITY);
        assert_true(back->since_usec == disabled->since_usec);

        assert_int_equal(disabled_write(directory, NULL), 0);
        assert_int_equal(disabled_write(directory, NULL), 0);
        back = disabled_free(back);
        assert_int_equal(disabled_read(directory, &back), 0);
}

static void test_time_is_over(_unused_ void **state) {
        _cleanup_(disabled_freep) Disabled *disabled = NULL, *back = NULL;

        assert_int_equal(disabled_new("x", "y", USEC_PER_MINUTE, &disabled), 0);
        assert_true(disabled_left(disabled) > 50 * USEC_PER_SEC);
        assert_true(disabled_left(disabled) <= USEC_PER_MINUTE);

        /* In this boot the wall clock does not count. */
        disabled->until_usec = 1;
        assert_true(disabled_left(disabled) > 50 * USEC_PER_SEC);
        disabled->until_usec = now_usec(CLOCK_REALTIME) + USEC_PER_MINUTE;
        disabled->until_boottime_usec = 1;
        assert_true(disabled_left(disabled) == 0);

        /* In another boot it is all there is. */
        disabled->boot_id[0] = disabled->boot_id[0] == 'a' ? 'b' : 'a';
        assert_true(disabled_left(disabled) > 50 * USEC_PER_SEC);
        disabled->until_usec = 1;
        assert_int_equal(disabled_write(directory, disabled), 0);
        assert_int_equal(disabled_read(directory, &back), 0);
        assert_null(back);
}

/* Whoever wanted the host to be left alone gets that, whatever became of the file. */
static void test_bad_files_mean_disabled(_unused_ void **state) {
        static const char good[] =
                "reason x\nby y\nsince 1\nuntil 18446744073709551615\n"
                "boot 0123456789abcdef0123456789abcdef\nuntil-boottime 18446744073709551615\n";
        static const char *const bad[] = {
                "",
                "\n",
                "reason",
                "reason x\n",
                "reason x\nby y\nsince\n",
                "reason x\nby y\nsince 1\nuntil x\n",
                "reason x\nby y\nsince 1\nuntil -1\n",
                "reason x\nby y\nsince 1\nuntil 99999999999999999999999\nboot "
                "0123456789abcdef0123456789abcdef\n"
                "until-boottime 1\n",
                "reason x\nby y\nsince 1\nuntil 1\nboot short\nuntil-boottime 1\n",
                "reason x\nby y\nsince 1\nuntil 1\nboot 0123456789abcdef0123456789abcdef\nuntil-boottime "
                "1\nmore\n",
                "reason \xff\nby y\nsince 1\nuntil 1\nboot 0123456789abcdef0123456789abcdef\nuntil-boottime "
                "1\n",
        };
        _cleanup_(disabled_freep) Disabled *disabled = NULL;

        write_file(good);
        assert_int_equal(disabled_read(directory, &disabled), 1);
        assert_string_equal(disabled->reason, "x");
        FOREACH_ELEMENT(text, bad) {
                disabled = disabled_free(disabled);
                write_file(*text);
                assert_int_equal(disabled_read(directory, &disabled), 1);
                assert_non_null(strstr(disabled->reason, "cannot be read"));
                assert_true(disabled_left(disabled) == USEC_INFINITY);
        }
}

static void test_directory_that_is_not_there(_unused_ void **state) {
        _cleanup_(disabled_freep) Disabled *disabled = NULL, *back = NULL;

        assert_int_equal(disabled_new("x", "y", USEC_INFINITY, &disabled), 0);
        assert_int_equal(disabled_read("/nonexistent", &back), 0);
        assert_int_equal(disabled_write("/nonexistent", disabled), -ENOENT);
        assert_int_equal(disabled_write("/proc/self", disabled), -ENOENT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_written_and_read),
                cmocka_unit_test(test_time_is_over),
                cmocka_unit_test(test_bad_files_mean_disabled),
                cmocka_unit_test(test_directory_that_is_not_there),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
