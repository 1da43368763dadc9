/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <time.h>

#include "diff.h"

TEST(writes_what_diff_writes) {
        static const struct {
                const char *old, *new,
                        *diff; /* without the two lines of labels; NULL for no output at all */
        } cases[] = {
                { "", "", NULL },
                { "a\n", "a\n", NULL },
                { NULL, "", NULL },
                { NULL, NULL, NULL },
                { "a\n", "b\n", "@@ -1 +1 @@\n-a\n+b\n" },
                { "", "a\n", "@@ -0,0 +1 @@\n+a\n" },
                { "", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n" },
                { "a\n", "", "@@ -1 +0,0 @@\n-a\n" },
                { "a", "a\n", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n" },
                { "a\n", "a", "@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n" },
                { "a", "b",
                        "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of "
                        "file\n" },
                { "x\na", "y\na", "@@ -1,2 +1,2 @@\n-x\n+y\n a\n\\ No newline at end of file\n" },
                { "a", "a\nb",
                        "@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of "
                        "file\n" },
                { "\n", "\n\n", "@@ -1 +1,2 @@\n \n+\n" },
                { "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
                        "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n" },
                { "1\n2\n3\n4\n5\n", "0\n1\n2\n3\n4\n5\n", "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n" },
                { "1\n2\n3\n4\n5\n", "1\n2\n3\n4\n", "@@ -2,4 +2,3 @@\n 2\n 3\n 4\n-5\n" },
                /* Six lines between two changes are one hunk, seven are two. */
                { "a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
                        "@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n" },
                { "a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
                        "@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n" },
                /* A block that was added is shown with its own end, not with that of the one before. */
                { "a {\n x\n}\nc {\n}\n", "a {\n x\n}\nb {\n x\n}\nc {\n}\n",
                        "@@ -1,5 +1,8 @@\n a {\n  x\n }\n+b {\n+ x\n+}\n c {\n }\n" },
                /* A change is not split for the sake of an equal empty line. */
                { "p\n\nf\n", "p\n}\n\ns\n}\n\n\nf\n", "@@ -1,3 +1,8 @@\n p\n+}\n+\n+s\n+}\n+\n \n f\n" },
                { "p\n}\n\ns\n}\n\n\nf\n", "p\n\nf\n", "@@ -1,8 +1,3 @@\n p\n-}\n-\n-s\n-}\n-\n \n f\n" },
                /* What could stand in several places. */
                { "1\n2\nz\n", "1\na\nz\na\nz\n", "@@ -1,3 +1,5 @@\n 1\n-2\n+a\n+z\n+a\n z\n" },
                { "{\n{\n{\n", "x\n{\n}\n", "@@ -1,3 +1,3 @@\n+x\n {\n-{\n-{\n+}\n" },
                { "{\nx\n}\n", "x\n}\n}\n", "@@ -1,3 +1,3 @@\n-{\n x\n }\n+}\n" },
                { "}\n{\n{\n", "{\nx\n", "@@ -1,3 +1,2 @@\n-}\n-{\n {\n+x\n" },
                { "a\r\n", "a\n", "@@ -1 +1 @@\n-a\r\n+a\n" },
                { "ä\n", "ö\n", "@@ -1 +1 @@\n-ä\n+ö\n" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *diff = NULL;
                char expected[512] = "";
                size_t size = 42;

                ASSERT_OK(diff_unified("a/f", "b/f", c->old, c->old ? strlen(c->old) : 0, c->new,
                        c->new ? strlen(c->new) : 0, SIZE_MAX, &diff, &size));
                if (c->diff)
                        (void) snprintf(expected, sizeof(expected), "--- a/f\n+++ b/f\n%s", c->diff);
                ASSERT_STREQ(diff, expected);
                ASSERT_EQ(size, strlen(expected));
        }
}

TEST(labels) {
        static const struct {
                const char *label, *line;
        } cases[] = {
                { "/etc/motd", "--- /etc/motd\n" },
                { "/a b/ä", "--- /a b/ä\n" },
                { "/a\n+++ b", "--- \"/a\\012+++ b\"\n" },
                { "/a\"b\\c\x7f", "--- \"/a\\\"b\\\\c\\177\"\n" },
                { "", "--- \n" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *diff = NULL;

                ASSERT_OK(diff_unified(c->label, "new", "a\n", 2, "b\n", 2, SIZE_MAX, &diff, NULL));
                ASSERT_TRUE(startswith(diff, c->line));
                ASSERT_STREQ(diff + strlen(c->line), "+++ new\n@@ -1 +1 @@\n-a\n+b\n");
        }

        {
                _cleanup_free_ char *made = NULL, *gone = NULL;

                ASSERT_OK(diff_unified(NULL, "new", NULL, 0, "b\n", 2, SIZE_MAX, &made, NULL));
                ASSERT_STREQ(made, "--- /dev/null\n+++ new\n@@ -0,0 +1 @@\n+b\n");
                ASSERT_OK(diff_unified("old", NULL, "b\n", 2, NULL, 0, SIZE_MAX, &gone, NULL));
                ASSERT_STREQ(gone, "--- old\n+++ /dev/null\n@@ -1 +0,0 @@\n-b\n");
        }
}

TEST(binary_content_is_one_line) {
        static char late[9000];
        static const struct {
                const char *old;
                size_t old_size;
                const char *new;
                size_t new_size;
                const char *out;
        } cases[] = {
                { "a\0b", 3, "ab", 2, "binary content differs: 3 → 2 bytes\n" },
                { "ab", 2, "a\0b", 3, "binary content differs: 2 → 3 bytes\n" },
                { "\xff", 1, "", 0, "binary content differs: 1 → 0 bytes\n" },
                { NULL, 0, "\xc3", 1, "binary content differs: 0 → 1 bytes\n" },
                { "\xff", 1, "\xff", 1, "" },
                { "a\0b", 3, "a\0c", 3, "binary content differs: 3 → 3 bytes\n" },
                { late, 8193, "", 0, NULL }, /* a NUL behind the first 8 KiB */
                { late + 1, 8192, "", 0, "binary content differs: 8192 → 0 bytes\n" },
        };

        memset(late, '\n', sizeof(late));
        late[8192] = '\0';
        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *diff = NULL;

                ASSERT_OK(diff_unified(
                        "a", "b", c->old, c->old_size, c->new, c->new_size, SIZE_MAX, &diff, NULL));
                if (c->out)
                        ASSERT_STREQ(diff, c->out);
                else
                        ASSERT_TRUE(startswith(diff, "--- a\n"));
        }
}

TEST(output_is_limited) {
        static const char old[] = "1\n2\n3\n4\n5\nlast", new[] = "one\n2\n3\nfour\n5\nend";
        _cleanup_free_ char *whole = NULL;
        size_t whole_size;

        ASSERT_OK(diff_unified(
                "a", "b", old, sizeof(old) - 1, new, sizeof(new) - 1, SIZE_MAX, &whole, &whole_size));
        for (size_t limit = 0; limit <= whole_size + 1; limit++) {
                _cleanup_free_ char *diff = NULL;
                char last[64];
                size_t size, kept;

                ASSERT_OK(diff_unified(
                        "a", "b", old, sizeof(old) - 1, new, sizeof(new) - 1, limit, &diff, &size));
                ASSERT_EQ(strlen(diff), size);
                if (limit >= whole_size) {
                        ASSERT_STREQ(diff, whole);
                        continue;
                }

                (void) snprintf(last, sizeof(last), "… diff cut at %zu bytes\n", limit);
                ASSERT_TRUE(endswith(diff, last));
                kept = size - strlen(last);
                ASSERT_TRUE(kept <= limit);
                ASSERT_TRUE(kept == 0 || diff[kept - 1] == '\n');
                ASSERT_EQ(memcmp(diff, whole, kept), 0);
        }
}

/* Reads a number and moves on. */
static size_t number(const char **p) {
        char *end;
        size_t n = strtoul(*p, &end, 10);

        ASSERT_TRUE(end > *p);
        *p = end;
        return n;
}

static size_t line_size(const char *p) {
        const char *newline = strchr(p, '\n');

        return newline ? (size_t) (newline + 1 - p) : strlen(p);
}

/*
 * Applies a diff strictly, checking all that it says on the way. Returns the number of lines that it inserts and
 * deletes; the result goes into out.
 */
static size_t patch(const char *old, const char *diff, char *out) {
        size_t old_line = 1, new_line = 1, n_changes = 0;

        *out = '\0';
        if (!*diff) {
                strcpy(out, old);
                return 0;
        }
        ASSERT_TRUE(startswith(diff, "--- a\n+++ b\n"));
        diff += strlen("--- a\n+++ b\n");
        ASSERT_TRUE(*diff);

        while (*diff) {
                size_t old_begin, old_count = 1, new_begin, new_count = 1, context = 0;
                bool changed = false;

                ASSERT_TRUE(startswith(diff, "@@ -"));
                diff += 4;
                old_begin = number(&diff);
                if (*diff == ',') {
                        diff++;
                        old_count = number(&diff);
                }
                ASSERT_TRUE(startswith(diff, " +"));
                diff += 2;
                new_begin = number(&diff);
                if (*diff == ',') {
                        diff++;
                        new_count = number(&diff);
                }
                ASSERT_TRUE(startswith(diff, " @@\n"));
                diff += 4;

                for (; old_line < old_begin + (old_count == 0); old_line++, new_line++) {
                        size_t n = line_size(old);

                        ASSERT_TRUE(n > 0);
                        strncat(out, old, n);
                        old += n;
                }
                ASSERT_EQ(new_line, new_begin + (new_count == 0));

                while (old_count > 0 || new_count > 0) {
                        char kind = *diff++;
                        size_t n = line_size(diff), bare = n;

                        if (startswith(diff + n, "\\ No newline at end of file\n"))
                                bare--;
                        if (kind == ' ') {
                                context++;
                                ASSERT_TRUE(context <= (changed ? 2 * DIFF_CONTEXT : DIFF_CONTEXT));
                        } else {
                                ASSERT_TRUE(kind == '-' || kind == '+');
                                changed = true;
                                context = 0;
                                n_changes++;
                        }
                        if (kind != '+') {
                                ASSERT_TRUE(old_count-- > 0);
                                ASSERT_EQ(line_size(old), bare);
                                ASSERT_EQ(strncmp(old, diff, bare), 0);
                                old += bare;
                                old_line++;
                        }
                        if (kind != '-') {
                                ASSERT_TRUE(new_count-- > 0);
                                strncat(out, diff, bare);
                                new_line++;
                        }
                        diff += n;
                        if (bare < n)
                                diff += strlen("\\ No newline at end of file\n");
                }
                ASSERT_TRUE(changed);
                ASSERT_TRUE(context <= DIFF_CONTEXT);
                if (*old && *diff)
                        ASSERT_EQ(context, DIFF_CONTEXT);
        }

        strcat(out, old);
        return n_changes;
}

/* What the shortest difference is, by the textbook. */
static size_t distance(const char *a, const char *b) {
        static unsigned table[64][64];
        const char *lines[2][64];
        size_t sizes[2][64], n[2] = {};

        for (int side = 0; side < 2; side++)
                for (const char *p = side ? b : a; *p; p += line_size(p)) {
                        lines[side][n[side]] = p;
                        sizes[side][n[side]++] = line_size(p);
                }
        for (size_t i = 0; i <= n[0]; i++)
                for (size_t j = 0; j <= n[1]; j++)
                        if (i == 0 || j == 0)
                                table[i][j] = (unsigned) (i + j);
                        else if (sizes[0][i - 1] == sizes[1][j - 1] &&
                                 memcmp(lines[0][i - 1], lines[1][j - 1], sizes[0][i - 1]) == 0)
                                table[i][j] = table[i - 1][j - 1];
                        else
                                table[i][j] = 1 + MIN(table[i - 1][j], table[i][j - 1]);
        return table[n[0]][n[1]];
}

static unsigned seed = 20240229;

static unsigned chance(unsigned n) {
        return (unsigned) rand_r(&seed) / 7 % n;
}

static void random_text(char *out, unsigned n_lines, unsigned n_kinds) {
        static const char *const kinds[] = { "", "{", "}", "x = 1", "y", "- minus", "+ plus",
                "\\ No newline" };

        *out = '\0';
        for (unsigned i = 0; i < n_lines; i++) {
                strcat(out, kinds[chance(n_kinds)]);
                if (i + 1 < n_lines || chance(4) > 0)
                        strcat(out, "\n");
        }
}

/* Copies lines, leaving some out and putting others in. */
static void random_edit(const char *old, char *out, unsigned n_kinds) {
        *out = '\0';
        for (; *old; old += line_size(old)) {
                char line[64];

                if (chance(8) == 0) {
                        random_text(line, 1, n_kinds);
                        strcat(out, line);
                        if (!endswith(line, "\n"))
                                strcat(out, "\n");
                }
                if (chance(8) > 0)
                        strncat(out, old, line_size(old));
        }
}

TEST(any_diff_applies_and_is_shortest) {
        for (unsigned i = 0; i < 3000; i++) {
                char old[2048], new[2048], out[8192];
                unsigned n_kinds = 1 + chance(8);

                random_text(old, chance(30), n_kinds);
                if (i % 3 == 0)
                        random_text(new, chance(30), n_kinds);
                else
                        random_edit(old, new, n_kinds);

                for (int back = 0; back < 2; back++) {
                        _cleanup_free_ char *diff = NULL;
                        const char *from = back ? new : old, *to = back ? old : new;

                        ASSERT_OK(diff_unified(
                                "a", "b", from, strlen(from), to, strlen(to), SIZE_MAX, &diff, NULL));
                        ASSERT_EQ(patch(from, diff, out), distance(from, to));
                        ASSERT_STREQ(out, to);
                        ASSERT_EQ(*diff == '\0', streq(from, to));
                }
        }
}

/* strncat() from the beginning each time is too slow for these, so only their shape is looked at. */
static void count(const char *diff, size_t *ret_added, size_t *ret_removed) {
        size_t added = 0, removed = 0;

        for (const char *p = diff; *p; p += line_size(p)) {
                added += *p == '+';
                removed += *p == '-';
        }
        *ret_added = added - 1;
        *ret_removed = removed - 1;
}

typedef struct Large {
        char *text;
        size_t size;
} Large;

static void large_done(Large *l) {
        free(l->text);
}

static Large large(unsigned n_lines, unsigned (*line)(unsigned i)) {
        Large l = {};
        FILE *file = open_memstream(&l.text, &l.size);

        ASSERT_NOT_NULL(file);
        for (unsigned i = 0; i < n_lines; i++)
                fprintf(file, "%u\n", line(i));
        ASSERT_OK(fclose(file));
        return l;
}

static unsigned as_is(unsigned i) {
        return i;
}

static unsigned every_100th_other(unsigned i) {
        return i % 100 == 50 ? i + 1000000 : i;
}

static unsigned swapped_in_pairs(unsigned i) {
        return i > 0 && i < 49999 ? ((i - 1) ^ 1) + 1 : i;
}

static unsigned backwards(unsigned i) {
        return 50000 - i;
}

static unsigned noise(unsigned i) {
        return i * 2654435761u >> 31;
}

static unsigned other_noise(unsigned i) {
        return i * 2246822519u >> 31;
}

static unsigned all_the_same(_unused_ unsigned i) {
        return 7;
}

/* Long runs on each diagonal, at a distance that would be found in the end. */
static unsigned zeros(unsigned i) {
        return i % 900 == 10;
}

static unsigned other_zeros(unsigned i) {
        return i % 901 == 20;
}

TEST(large_texts_take_bounded_time) {
        static const struct {
                unsigned (*old)(unsigned i);
                unsigned n_old;
                unsigned (*new)(unsigned i);
                unsigned n_new;
                size_t added, removed; /* 0: not looked at */
        } cases[] = {
                { as_is, 50000, every_100th_other, 50000, 500,
                        500 }, /* lines of one text only cost nothing */
                { as_is, 300000, every_100th_other, 300000, 3000, 3000 }, /* however many there are */
                { as_is, 50000, swapped_in_pairs, 50000, 49998,
                        49998 }, /* coarse: all but the first and last */
                { as_is, 50000, backwards, 50000, 0, 0 },
                { noise, 200000, other_noise, 200000, 0, 0 },
                { all_the_same, 200000, all_the_same, 199500, 0, 500 },
                { as_is, 50000, as_is, 50400, 400, 0 },
                { zeros, 400000, other_zeros, 400000, 0, 0 },
                { as_is, 1000000, as_is, 999999, 0, 1 },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_(large_done) Large old = large(c->n_old, c->old), new = large(c->n_new, c->new);
                _cleanup_free_ char *diff = NULL;
                usec_t begin = now_usec(CLOCK_MONOTONIC), took;
                size_t size, added, removed;

                ASSERT_OK(diff_unified(
                        "a", "b", old.text, old.size, new.text, new.size, SIZE_MAX, &diff, &size));
                took = now_usec(CLOCK_MONOTONIC) - begin;
                count(diff, &added, &removed);
                print_message(
                        "# case %td: %s, +%zu -%zu\n", c - cases, FORMAT_TIMESPAN(took), added, removed);
                if (c->added + c->removed > 0) {
                        ASSERT_EQ(added, c->added);
                        ASSERT_EQ(removed, c->removed);
                }
                ASSERT_EQ((long) added - (long) removed, (long) c->n_new - (long) c->n_old);
                ASSERT_TRUE(
                        took < 10 * USEC_PER_SEC); /* the bound is 0.2 s, sanitizers and a busy host aside */
        }
}

TEST(very_large_texts_are_not_taken_apart) {
        static const size_t size = MIB(17);
        _cleanup_free_ char *old = malloc(size), *new = malloc(size);
        _cleanup_free_ char *coarse = NULL, *refused = NULL;

        ASSERT_TRUE(old && new);
        memset(old, 'x', size);
        for (size_t i = 99; i < size; i += 100)
                old[i] = '\n';
        memcpy(new, old, size);
        new[100] = new[1000] = 'y';
        ASSERT_OK(diff_unified("a", "b", old, size, new, size, SIZE_MAX, &coarse, NULL));
        ASSERT_TRUE(startswith(coarse, "--- a\n+++ b\n@@ -1,14 +1,14 @@\n xxx"));

        memset(old, '\n', size);
        ASSERT_OK(diff_unified("a", "b", old, size, new, size, SIZE_MAX, &refused, NULL));
        ASSERT_STREQ(refused, "content differs: 17825792 → 17825792 bytes, too many lines to compare\n");
}

RUN_TESTS(RUN(writes_what_diff_writes), RUN(labels), RUN(binary_content_is_one_line), RUN(output_is_limited),
        RUN(any_diff_applies_and_is_shortest), RUN(large_texts_take_bounded_time),
        RUN(very_large_texts_are_not_taken_apart))
