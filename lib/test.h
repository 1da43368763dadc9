/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What every unit test includes: cmocka in the order that it wants, and short names. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "util.h"

#define TEST(name) static void test_##name(_unused_ void **state)
#define RUN(name)  cmocka_unit_test(test_##name)
#define RUN_TESTS(...)                                             \
        int main(void) {                                           \
                const struct CMUnitTest tests[] = { __VA_ARGS__ }; \
                return cmocka_run_group_tests(tests, NULL, NULL);  \
        }

#define ASSERT_EQ(a, b)    assert_int_equal((a), (b))
#define ASSERT_OK(r)       assert_int_equal((r), 0)
#define ASSERT_TRUE(x)     assert_true(x)
#define ASSERT_FALSE(x)    assert_false(x)
#define ASSERT_STREQ(a, b) assert_string_equal((a), (b))
#define ASSERT_NULL(x)     assert_null(x)
#define ASSERT_NOT_NULL(x) assert_non_null(x)
