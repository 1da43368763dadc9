/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "table.h"
#include "terminal.h"
#include "test.h"

static const TableColumn columns[] = {
        { .heading = "RUN", .right = true, .whole = true },
        { .heading = "STATE" },
        { .heading = "ERROR" },
        {},
};

static const TableColumn one_column[] = {
        { .heading = "X" },
        {},
};

static void expect(Table *table, bool headings, bool colour, size_t width, const char *expected) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        ASSERT_NOT_NULL(f);
        ASSERT_OK(table_print(table, f, headings, colour, width));
        ASSERT_OK(fclose(f));
        ASSERT_STREQ(text, expected);
        free(text);
}

TEST(widths) {
        static const struct {
                const char *text;
                size_t width, fits; /* bytes in 4 cells */
        } cases[] = {
                { "", 0, 0 },
                { "abc", 3, 3 },
                { "abcdef", 6, 4 },
                { "größe", 5, 6 },
                { "日本語", 6, 6 },
                { "a日本", 5, 4 },
                { "e\xcc\x81x", 2, 4 }, /* a combining accent */
                { "\xff\xfe", 2, 2 },   /* not UTF-8 */
                { "a\xe6\x97", 3, 3 },  /* cut off */
                { "\xf0\x9f\x98\x80", 2, 4 },
                { "\xed\xa0\x80", 3, 3 }, /* a surrogate */
                { "\xc0\x80\x80\x80\x80", 5, 4 },
        };

        FOREACH_ELEMENT(c, cases) {
                ASSERT_EQ(text_width(c->text), c->width);
                ASSERT_EQ(text_fit(c->text, 4), c->fits);
                ASSERT_EQ(text_fit(c->text, 0), 0);
        }
}

TEST(columns_are_as_wide_as_what_is_in_them) {
        _cleanup_(table_freep) Table *table = NULL;

        ASSERT_OK(table_new(columns, &table));
        expect(table, true, false, SIZE_MAX, "RUN  STATE  ERROR\n");
        expect(table, false, false, SIZE_MAX, "");
        table_addf(table, NULL, "%d", 7);
        table_add(table, COLOUR_RED, "file:/日本");
        table_add(table, NULL, NULL);
        table_addf(table, NULL, "%d", 12345);
        table_add(table, NULL, "a\tb\n\033[2J\xc2\x9b");
        table_add(table, NULL, "no");
        ASSERT_EQ(table_n_rows(table), 2);
        expect(table, true, false, SIZE_MAX,
                "  RUN  STATE       ERROR\n"
                "    7  file:/日本  -\n"
                "12345  a b??[2J?   no\n");
        expect(table, false, true, SIZE_MAX,
                "    7  " COLOUR_RED "file:/日本" COLOUR_OFF "  -\n"
                "12345  a b??[2J?   no\n");
}

TEST(what_does_not_fit_is_cut) {
        static const struct {
                size_t width;
                const char *text;
        } cases[] = {
                { 60, "12345678  file:/very/long/path  an error that is long too\n" },
                { 40, "12345678  file:/very/lo…  an error that…\n" },
                { 24, "12345678  file:…  an er…\n" },
                /* No narrower than that. */
                { 10, "12345678  file:…  an er…\n" },
                { 0, "12345678  file:…  an er…\n" },
        };
        _cleanup_(table_freep) Table *table = NULL, *wide = NULL;

        ASSERT_OK(table_new(columns, &table));
        table_add(table, NULL, "12345678");
        table_add(table, NULL, "file:/very/long/path");
        table_add(table, NULL, "an error that is long too");
        FOREACH_ELEMENT(c, cases)
                expect(table, false, false, c->width, c->text);

        /* A character of two cells does not fit into one. */
        ASSERT_OK(table_new(one_column, &wide));
        table_add(wide, NULL, "日本語日本語");
        expect(wide, false, false, 8, "日本語…\n");
        expect(wide, false, false, 7, "日本語…\n");
        expect(wide, false, false, 12, "日本語日本語\n");
}

RUN_TESTS(RUN(widths), RUN(columns_are_as_wide_as_what_is_in_them), RUN(what_does_not_fit_is_cut))
