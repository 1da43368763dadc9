/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"
#include "toml-scan.h"
#include "toml.h"

/* A document made of repeated pieces: head, then n times piece, then tail. */
typedef struct Text {
        const char *head;
        const char *piece;
        size_t n;
        const char *tail;
} Text;

static char *text_build(const Text *text, size_t *ret_size) {
        size_t head = strlen(text->head), piece = strlen(text->piece ?: ""), tail = strlen(text->tail ?: "");
        char *built = malloc(head + piece * text->n + tail + 1), *p = built;

        p = mempcpy(p, text->head, head);
        for (size_t i = 0; i < text->n; i++)
                p = mempcpy(p, text->piece, piece);
        p = mempcpy(p, text->tail ?: "", tail);
        *p = 0;
        *ret_size = (size_t) (p - built);
        return built;
}

static void full(Arena *arena, size_t wanted) {
        fail_msg("arena is full");
}

static int scan_built(Arena *arena, const Text *text, TomlScan *ret, Diagnostic *reterr) {
        _cleanup_free_ char *built = NULL;
        size_t size;

        built = text_build(text, &size);
        return toml_scan(arena, "x.toml", built, size, ret, reterr);
}

#define TOO_LARGE      "file is too large: it may have 8 MiB"
#define TOO_DEEP       "nested too deeply: at most 64 levels are possible"
#define TOO_LONG       "key is too long: it may have 4096 bytes"
#define TOO_MANY_PARTS "dotted key has too many parts: it may have 32"
#define TOO_MANY_LINKS "too many dotted keys and tables: one file may have 65536"

TEST(limits_are_kept) {
        static const struct {
                Text text;
                const char *message; /* NULL: accepted */
                uint32_t line, column;
        } cases[] = {
                /* Depth, in the limit and beyond. */
                { { "a = ", "[", 63, "" }, NULL, 0, 0 },
                { { "a = ", "[", 64, "" }, TOO_DEEP, 1, 68 },
                { { "a = ", "[", 100000, "" }, TOO_DEEP, 1, 68 },
                { { "\n\xc3\xa4 = ", "[", 100000, "" }, TOO_DEEP, 2, 68 },
                { { "\xef\xbb\xbf"
                    "a = ",
                          "[", 100000, "" },
                        TOO_DEEP, 1, 68 },
                { { "a = [[1], [2], ", "[", 100, "" }, TOO_DEEP, 1, 78 },
                { { "a = ", "{a=", 31, "" }, NULL, 0, 0 },
                { { "a = ", "{a=", 100000, "" }, TOO_DEEP, 1, 99 },
                { { "a = ", "[{a=", 100000, "" }, TOO_DEEP, 1, 89 },
                { { "a = [\n", "[\n", 100, "" }, TOO_DEEP, 64, 1 },
                { { "a = [", "[[]],", 100000, "]" }, NULL, 0, 0 },
                { { "a = [", "{a={b=1},c=2},", 100000, "]" }, NULL, 0, 0 },
                { { "[a.b]\nc.d = ", "[", 60, "" }, NULL, 0, 0 },
                { { "[a.b]\nc.d = ", "[", 61, "" }, TOO_DEEP, 2, 67 },
                { { "[a.b]\nc.d = {e.f.g = ", "[", 57, "" }, TOO_DEEP, 2, 72 },
                { { "[[a.b]]\n[c]\nd = ", "[", 63, "" }, TOO_DEEP, 3, 67 },
                /* Keys with many parts. */
                { { "a", ".a", 31, " = 1" }, NULL, 0, 0 },
                { { "a", ".a", 32, " = 1" }, TOO_MANY_PARTS, 1, 65 },
                { { "a", ".a", 50000, " = 1" }, TOO_MANY_PARTS, 1, 65 },
                { { "a", " . a", 50000, " = 1" }, TOO_MANY_PARTS, 1, 129 },
                { { "a", ".'.'", 50000, " = 1" }, TOO_MANY_PARTS, 1, 127 },
                { { "[a", ".a", 31, "]" }, NULL, 0, 0 },
                { { "\n[a", ".a", 50000, "]" }, TOO_MANY_PARTS, 2, 66 },
                { { "[[a", ".a", 50000, "]]" }, TOO_MANY_PARTS, 1, 67 },
                { { "a = {b = [1], c", ".a", 50000, " = 1}" }, TOO_MANY_PARTS, 1, 79 },
                { { "a = [[], {c", ".a", 50000, " = 1}]" }, TOO_MANY_PARTS, 1, 75 },
                { { "\"a", ".a", 50000, "\" = 1" }, TOO_LONG, 1, 1 },
                { { "a = 1", ".1", 50000, "" }, NULL, 0, 0 },
                { { "a = [1, 1", ".1", 50000, "]" }, NULL, 0, 0 },
                /* Long ones; the quotes count. */
                { { "", "a", 4096, " = 1" }, NULL, 0, 0 },
                { { "", "a", 4097, " = 1" }, TOO_LONG, 1, 1 },
                { { "'", "a", 4094, "' = 1" }, NULL, 0, 0 },
                { { "b . '", "a", 4095, "' = 1" }, TOO_LONG, 1, 5 },
                { { "[b.\"", "a", 100000, "\"]" }, TOO_LONG, 1, 4 },
                { { "c = {b.\"", "a", 100000, "\" = 1}" }, TOO_LONG, 1, 8 },
                { { "a = '", "a", 100000, "'" }, NULL, 0, 0 },
                /* Many: what costs the parser a search each is counted. */
                { { "", "[a]\n", 200000, "" }, NULL, 0, 0 },
                { { "", "a=1\n", 200000, "" }, NULL, 0, 0 },
                { { "", "[a.b]\n", 65536, "" }, NULL, 0, 0 },
                { { "", "[a.b]\n", 200000, "" }, TOO_MANY_LINKS, 65537, 1 },
                { { "", "[[a]]\n", 200000, "" }, TOO_MANY_LINKS, 65537, 1 },
                { { "", "[[a.b]]\n", 200000, "" }, TOO_MANY_LINKS, 32769, 1 },
                { { "", "a.b=1\n", 200000, "" }, TOO_MANY_LINKS, 65537, 1 },
                { { "", "a.b.c=1\n", 200000, "" }, TOO_MANY_LINKS, 32769, 1 },
                { { "a = [", "{b.c=1},", 200000, "" }, TOO_MANY_LINKS, 1, 524295 },
                /* Size. */
                { { "#", " ", (8 << 20) - 1, "" }, NULL, 0, 0 },
                { { "#", " ", 8 << 20, "" }, TOO_LARGE, 0, 0 },
                /* Brackets and dots that are none. */
                { { "# ", "[", 100000, "" }, NULL, 0, 0 },
                { { "a = 1 # ", "[", 100000, "" }, NULL, 0, 0 },
                { { "a = [ # ", "[", 100000, "\n]" }, NULL, 0, 0 },
                { { "a = \"\\\"", "[", 100000, "\"" }, NULL, 0, 0 },
                { { "a = '\\", "[", 100000, "'" }, NULL, 0, 0 },
                { { "a = \"\"\"\n\\\"\"", "\"[", 100000, "\"\"\"" }, NULL, 0, 0 },
                { { "a = '''\n''", "[", 100000, "'''" }, NULL, 0, 0 },
                { { "['a", "[", 4000, "']" }, NULL, 0, 0 },
                { { "\"a\\\"", "[", 4000, "\" = 1" }, NULL, 0, 0 },
                /* Brackets that are some, after what looks like strings. */
                { { "a = [\"\", ", "[", 100, "" }, TOO_DEEP, 1, 72 },
                { { "a = ['', ", "[", 100, "" }, TOO_DEEP, 1, 72 },
                { { "a = ['\\', ", "[", 100, "" }, TOO_DEEP, 1, 73 },
                { { "a = [\"\\\\\", ", "[", 100, "" }, TOO_DEEP, 1, 74 },
                { { "a = ['''''', ", "[", 100, "" }, TOO_DEEP, 1, 76 },
                { { "a = [''''''''', ", "[", 100, "" }, NULL, 0, 0 }, /* eight, and a string that is open */
                { { "a = ['''''''', ", "[", 100, "" }, TOO_DEEP, 1, 78 },
                { { "a = [\"\"\"\\\"\"\"\"\", ", "[", 100, "" }, TOO_DEEP, 1, 79 },
                { { "a = [ # '\n", "[", 100, "" }, TOO_DEEP, 2, 63 },
                /* What is a syntax error before the limit is the parser's. */
                { { "a b = ", "[", 100000, "" }, NULL, 0, 0 },
                { { "a = 'x\nb = ", "[", 100000, "" }, NULL, 0, 0 },
                { { "a = ]", "[", 100000, "" }, NULL, 0, 0 },
                { { "a = 1,", "[", 100000, "" }, NULL, 0, 0 },
                { { "= ", "[", 100000, "" }, NULL, 0, 0 },
                { { "", "[", 100000, "" }, NULL, 0, 0 },
                { { "a = {b = 1,", "[", 100000, "" }, NULL, 0, 0 },
        };
        Arena arena = {};
        unsigned n_failed = 0;

        ASSERT_OK(arena_map(&arena, MIB(1), full));

        FOREACH_ELEMENT(c, cases) {
                TomlScan scan;
                Diagnostic error = {};
                int r = scan_built(&arena, &c->text, &scan, &error);

                if (r != (c->message ? -EINVAL : 0) || !streq_ptr(error.message, c->message) ||
                        error.place.line != c->line || error.place.column != c->column) {
                        print_message("case %zu %s: got %i, %u:%u %s\n", (size_t) (c - cases), c->text.head,
                                r, error.place.line, error.place.column, error.message ?: "-");
                        n_failed++;
                        continue;
                }
                if (c->message)
                        ASSERT_STREQ(error.place.file, "x.toml");
                toml_scan_done(&scan);
        }

        ASSERT_EQ(n_failed, 0);
        arena_unmap(&arena);
}

TEST(text_must_be_utf8) {
        static const struct {
                const char *text;
                const char *message;
                uint32_t line, column;
        } cases[] = {
                { "a = '\xc3\xa4'", NULL, 0, 0 },
                { "\xff", "not UTF-8: unexpected byte 0xff", 1, 1 },
                { "\xef\xbb\xbf\xff", "not UTF-8: unexpected byte 0xff", 1, 1 },
                { "a = 1\r\nb = '\xe4'", "not UTF-8: unexpected byte 0xe4", 2, 6 },
                { "a = '\xc3\xa4\xf0\x9f\x98\x80\xc0\x80'", "not UTF-8: unexpected byte 0xc0", 1, 8 },
                { "# \xed\xa0\x80", "not UTF-8: unexpected byte 0xed", 1, 3 },
                { "# \xe2\x82", "not UTF-8: unexpected byte 0xe2", 1, 3 },
                { "a = ]\n\xfe", "not UTF-8: unexpected byte 0xfe", 2, 1 },
        };
        Arena arena = {};

        ASSERT_OK(arena_map(&arena, MIB(1), full));

        FOREACH_ELEMENT(c, cases) {
                TomlScan scan;
                Diagnostic error = {};

                ASSERT_EQ(toml_scan(&arena, "x.toml", c->text, strlen(c->text), &scan, &error),
                        c->message ? -EINVAL : 0);
                assert_true(streq_ptr(error.message, c->message));
                ASSERT_EQ(error.place.line, c->line);
                ASSERT_EQ(error.place.column, c->column);
                toml_scan_done(&scan);
        }

        arena_unmap(&arena);
}

TEST(strings_in_triple_quotes_are_noted) {
        static const char text[] = "a = \"\"\"x\"\"\"\n"
                                   "b = \"\" # \"\"\"\n"
                                   "c = ['', '\xc3\xa4', '''x\n"
                                   "''''', \"\"\"\"a\\\"\"\"\"\"\"]\n"
                                   "[d]\n"
                                   "e = { f = \"x\", g = '''x''' }\n"
                                   "h = \"\"\"\nx\"\"\"\n"
                                   "h = '''\r\nx'''\n"
                                   "h = \"\"\"\\\n  x\"\"\"\n"
                                   "h = '''\\\nx'''\n"
                                   "h = ]\n"
                                   "i = '''x'''\n";
        static const uint64_t expected[] = {
                TOML_POSITION(1, 5) | TOML_POSITION_INLINE,
                TOML_POSITION(3, 15) | TOML_POSITION_INLINE,
                TOML_POSITION(4, 8) | TOML_POSITION_INLINE,
                TOML_POSITION(6, 20) | TOML_POSITION_INLINE,
                TOML_POSITION(7, 5),
                TOML_POSITION(9, 5),
                TOML_POSITION(11, 5),
                TOML_POSITION(13, 5) | TOML_POSITION_INLINE,
        };
        Arena arena = {};
        Diagnostic error = {};
        TomlScan scan;

        ASSERT_OK(arena_map(&arena, MIB(1), full));
        ASSERT_OK(toml_scan(&arena, "x.toml", text, sizeof(text) - 1, &scan, &error));
        ASSERT_EQ(scan.n_multiline, ELEMENTSOF(expected));
        assert_memory_equal(scan.multiline, expected, sizeof(expected));
        toml_scan_done(&scan);
        ASSERT_NULL(scan.multiline);
        arena_unmap(&arena);
}

/* The text ends where its buffer does, wherever that is: a sanitizer sees reads beyond. */
TEST(every_prefix_is_safe) {
        static const char text[] =
                "[ a . 'b' ]\n[[\"\\\"c\"]]\n'd'.e = [1, '''\n''''', \"\"\"\\\"\"\"\"] # x\r\n"
                "f = { g.h = \"\\\\\", i = {}, j = [{}] }\nk = 1.5\n";

        for (size_t size = 0; size < sizeof(text); size++) {
                _cleanup_free_ char *copy = malloc(size + (size == 0));
                Diagnostic error = {};
                Arena arena = {};
                TomlScan scan;

                memcpy(copy, text, size);
                ASSERT_OK(arena_map(&arena, MIB(1), full));
                ASSERT_OK(toml_scan(&arena, NULL, copy, size, &scan, &error));
                toml_scan_done(&scan);
                arena_unmap(&arena);
        }
}

RUN_TESTS(RUN(limits_are_kept), RUN(text_must_be_utf8), RUN(strings_in_triple_quotes_are_noted),
        RUN(every_prefix_is_safe))
