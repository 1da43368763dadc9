/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "test.h"
#include "value-json.h"

static Arena arena;

static int setup(_unused_ void **state) {
        return arena_map(&arena, MIB(16), NULL);
}

static int teardown(_unused_ void **state) {
        arena_unmap(&arena);
        return 0;
}

static Value parse(const char *text, size_t size) {
        json_auto_t *json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

        ASSERT_NOT_NULL(json);
        return value_from_json(&arena, json);
}

static void assert_dump(const Value *value, const char *expected) {
        json_auto_t *json = value_to_json(value);
        _cleanup_free_ char *text = NULL;

        ASSERT_NOT_NULL(json);
        text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
        ASSERT_NOT_NULL(text);
        ASSERT_STREQ(text, expected);
}

TEST(there_and_back) {
        static const char *const cases[] = {
                "null",
                "true",
                "false",
                "0",
                "-9223372036854775808",
                "9223372036854775807",
                "1.5",
                "1.0",
                "\"\"",
                "\"\xc3\xa4\xf0\x9f\x98\x80\"",
                "\"a\\u0000b\"",
                "[]",
                "{}",
                "[[],{},[{}],null]",
                "{\"z\":1,\"a\":{\"y\":[1,2.5,\"x\"],\"b\":null},\"m\":true,\"\":0}",
        };

        FOREACH_ELEMENT(c, cases) {
                Value value = parse(*c, strlen(*c));

                assert_dump(&value, *c);
        }
}

TEST(types_from_json) {
        static const char text[] =
                "{\"n\":null,\"t\":true,\"f\":false,\"i\":-3,\"r\":2.0,\"s\":\"a\\u0000b\"}";
        Value table = parse(text, strlen(text));

        ASSERT_EQ(table.type, VALUE_TABLE);
        ASSERT_EQ(table.n_members, 6);
        ASSERT_EQ(value_get(&table, "n")->type, VALUE_NULL);
        ASSERT_EQ(value_get(&table, "t")->type, VALUE_BOOLEAN);
        ASSERT_TRUE(value_get(&table, "t")->boolean);
        ASSERT_FALSE(value_get(&table, "f")->boolean);
        ASSERT_EQ(value_get(&table, "i")->type, VALUE_INTEGER);
        ASSERT_EQ(value_get(&table, "i")->integer, -3);
        ASSERT_EQ(value_get(&table, "r")->type, VALUE_FLOAT);
        ASSERT_EQ(value_get(&table, "s")->size, 3);
        assert_memory_equal(value_get(&table, "s")->text, "a\0b", 4);
        ASSERT_FALSE(value_is_tainted(&table));
}

TEST(invalid_utf8_is_replaced) {
        static const struct {
                const char *text;
                size_t size;
                const char *expected;
        } cases[] = {
                { "\xff", 1, "\"\xef\xbf\xbd\"" },
                { "ab\xff", 3, "\"ab\xef\xbf\xbd\"" },
                { "\xff\xfe", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
                { "a\xc3z", 3, "\"a\xef\xbf\xbdz\"" },
                { "\xc3\xa4\x80\xc3\xa4", 5, "\"\xc3\xa4\xef\xbf\xbd\xc3\xa4\"" },
                { "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
                { "\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
                { "\x80\0\x80", 3, "\"\xef\xbf\xbd\\u0000\xef\xbf\xbd\"" },
                { "\xf0\x9f\x98", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
        };

        FOREACH_ELEMENT(c, cases) {
                Value value = value_string(&arena, c->text, c->size);
                Value table = value_table();

                assert_dump(&value, c->expected);

                /* As keys as well. */
                value = value_integer(1);
                (void) value_add(&arena, &table, c->text, c->size, &value);
                (void) value_add(&arena, &table, "b", 1, &value);
                assert_dump(&table, arena_printf(&arena, "{%s:1,\"b\":1}", c->expected));
        }
}

TEST(what_json_must_not_have_is_replaced) {
        Value secret = value_string(&arena, "hunter2", 7), table = value_table(), array = value_array();
        Value date = value_string(&arena, "2026-01-02", 10), nan = value_float(NAN),
              inf = value_float(-INFINITY);

        secret.tainted = true;
        date.type = VALUE_LOCAL_DATE;
        (void) value_append(&arena, &array, &nan);
        (void) value_append(&arena, &array, &inf);
        (void) value_append(&arena, &array, &date);
        (void) value_append(&arena, &array, &secret);
        (void) value_set(&arena, &table, "list", &array);
        assert_dump(&table, "{\"list\":[null,null,\"2026-01-02\",\"<sensitive>\"]}");

        table.tainted = true;
        assert_dump(&table, "\"<sensitive>\"");

        secret = value_integer(42);
        secret.tainted = true;
        assert_dump(&secret, "\"<sensitive>\"");
        for (ValueType type = VALUE_OFFSET_DATETIME; type <= VALUE_LOCAL_TIME; type++) {
                date.type = type;
                assert_dump(&date, "\"2026-01-02\"");
        }
}

TEST(times_are_rfc_3339) {
        static const struct {
                usec_t usec;
                const char *expected;
        } cases[] = {
                { 0, "null" },
                { 1, "\"1970-01-01T00:00:00.000001Z\"" },
                { 1764768000123456, "\"2025-12-03T13:20:00.123456Z\"" },
                { 4102444799999999, "\"2099-12-31T23:59:59.999999Z\"" },
        };

        FOREACH_ELEMENT(c, cases) {
                json_t *json = json_from_time(c->usec);
                char *dump = json_dumps(json, JSON_ENCODE_ANY);

                ASSERT_STREQ(dump, c->expected);
                free(dump);
                json_decref(json);
        }
        json_decref(json_from_time(USEC_INFINITY));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN(there_and_back),
                RUN(types_from_json),
                RUN(invalid_utf8_is_replaced),
                RUN(what_json_must_not_have_is_replaced),
                RUN(times_are_rfc_3339),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
