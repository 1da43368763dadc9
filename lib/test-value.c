/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "diagnostic.h"
#include "test.h"

TEST(tables_keep_order_and_find) {
        Arena arena = {};
        Value table = value_table();

        ASSERT_OK(arena_map(&arena, MIB(1), NULL));
        for (int i = 99; i >= 0; i--) {
                char key[16];
                Value v = value_integer(i);

                (void) snprintf(key, sizeof(key), "k%d", i);
                (void) value_set(&arena, &table, key, &v);
        }
        ASSERT_EQ(table.n_members, 100);
        ASSERT_STREQ(table.members[0].key, "k99");
        ASSERT_EQ(value_get(&table, "k7")->integer, 7);
        ASSERT_NULL(value_get(&table, "k100"));

        Value copy = value_copy(&arena, &table);
        ASSERT_TRUE(value_equal(&copy, &table));
        copy.members[3].value.integer = -1;
        ASSERT_FALSE(value_equal(&copy, &table));
        arena_unmap(&arena);
}

TEST(what_says_the_same_is_equal) {
        const Value one = value_integer(1), real = { .type = VALUE_FLOAT, .real = 1 },
                    zero = { .type = VALUE_FLOAT, .real = 0 }, minus = { .type = VALUE_FLOAT, .real = -0.0 },
                    nan = { .type = VALUE_FLOAT, .real = __builtin_nan("") };

        ASSERT_TRUE(value_equal(&one, &one));
        ASSERT_FALSE(value_equal(&one, &real));
        ASSERT_FALSE(value_equal(&real, &one));
        ASSERT_TRUE(value_equal(&real, &real));
        ASSERT_FALSE(value_equal(&zero, &minus));
        ASSERT_TRUE(value_equal(&nan, &nan));
}

TEST(suggestions) {
        static const char *const words[] = { "content", "source", "mode", "owner" };

        ASSERT_STREQ(suggest("contnet", words, 4), "content");
        ASSERT_STREQ(suggest("Mode", words, 4), "mode");
        ASSERT_STREQ(suggest("onwer", words, 4), "owner");
        ASSERT_NULL(suggest("xyz", words, 4));
        ASSERT_NULL(suggest("", words, 4));
}

TEST(diagnostics_sort_and_format) {
        Arena arena = {};
        Diagnostics d = { .arena = &arena };

        ASSERT_OK(arena_map(&arena, MIB(1), NULL));
        diagnostics_add(&d, (Place){ "b", 1, 1 }, "third");
        diagnostics_add(&d, (Place){}, "last");
        diagnostics_add(&d, (Place){ "a", 2, 1 }, "second");
        diagnostics_add(&d, (Place){ "a", 2, 1 }, "second");
        diagnostics_add(&d, (Place){ "a", 1, 9 }, "first\nline");
        diagnostics_sort(&d);

        _cleanup_free_ char *text = diagnostic_format(&d.list[0]);
        ASSERT_STREQ(text, "a:1:9: error: first?line");
        ASSERT_STREQ(d.list[1].message, "second");
        ASSERT_STREQ(d.list[2].message, "third");
        ASSERT_STREQ(d.list[3].message, "last");
        ASSERT_EQ(d.n, 4); /* the same twice is once */

        /* Thousands that say the same leave room for one that does not. */
        for (int i = 0; i < 5 * DIAGNOSTICS_MAX; i++) {
                diagnostics_add(&d, (Place){ "a", 1, 9 }, "x");
                diagnostics_add(&d, (Place){ "a", 1, 8 }, "x");
                diagnostics_add(&d, (Place){ "b", 1, 9 }, "x");
                diagnostics_add(&d, (Place){}, "x");
        }
        ASSERT_EQ(d.n, 8);
        for (int i = 0; i < 2 * DIAGNOSTICS_MAX; i++)
                diagnostics_add(&d, (Place){}, "%d", i);
        ASSERT_EQ(d.n, DIAGNOSTICS_MAX + 1);
        diagnostics_sort(&d);
        ASSERT_STREQ(d.list[DIAGNOSTICS_MAX].message, "too many errors; the rest are not shown");
        arena_unmap(&arena);
}

RUN_TESTS(RUN(tables_keep_order_and_find), RUN(what_says_the_same_is_equal), RUN(suggestions),
        RUN(diagnostics_sort_and_format))
