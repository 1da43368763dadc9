/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <math.h>
#include <sys/socket.h>

#include "message.h"
#include "test.h"

static int fds[2] = { -EBADF, -EBADF };
static MessageWriter writer;
static uint8_t datagram[MESSAGE_MAX];

static int setup(_unused_ void **state) {
        int size = 4 * MESSAGE_MAX;

        ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
        (void) setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        ASSERT_OK(fcntl(fds[1], F_SETFL, O_NONBLOCK));
        ASSERT_OK(message_writer_init(&writer, fds[0]));
        return 0;
}

static int teardown(_unused_ void **state) {
        message_writer_done(&writer);
        for (size_t i = 0; i < 2; i++)
                fds[i] = safe_close(fds[i]);
        return 0;
}

/* The next datagram; false if there is none. */
static bool receive(MessageReader *ret) {
        ssize_t n = recv(fds[1], datagram, sizeof(datagram), 0);

        *ret = (MessageReader){ .data = datagram, .size = n > 0 ? (size_t) n : 0 };
        return n > 0;
}

/* Sends what is collected and reads it, one record. */
static void receive_record(MessageReader *ret, MessageKind expected) {
        MessageKind kind;

        ASSERT_OK(message_end(&writer));
        ASSERT_OK(message_flush(&writer));
        ASSERT_TRUE(receive(ret));
        ASSERT_EQ(message_next(ret, &kind), 1);
        ASSERT_EQ(kind, expected);
}

static void at_end(MessageReader *reader) {
        MessageKind kind = _MESSAGE_KIND_MAX;

        ASSERT_FALSE(reader->bad);
        ASSERT_EQ(message_next(reader, &kind), 0);
        ASSERT_EQ(kind, _MESSAGE_KIND_MAX);
}

TEST(numbers_and_text) {
        MessageReader reader;
        char *string;
        const char *text;
        size_t size;

        message_begin(&writer, MESSAGE_RESULT);
        message_put_u32(&writer, UINT32_MAX);
        message_put_u64(&writer, UINT64_MAX - 1);
        message_put_string(&writer, "grün");
        message_put_string(&writer, NULL);
        message_put_text(&writer, "a\0b", 3, 100);
        message_put_u32(&writer, 7);
        receive_record(&reader, MESSAGE_RESULT);

        ASSERT_EQ(reader.size % 8, 0);
        ASSERT_EQ(message_get_u32(&reader), UINT32_MAX);
        ASSERT_TRUE(message_get_u64(&reader) == UINT64_MAX - 1);
        string = message_get_string(&reader);
        ASSERT_STREQ(string, "grün");
        free(string);
        string = message_get_string(&reader);
        ASSERT_STREQ(string, "");
        free(string);
        text = message_get_text(&reader, &size);
        ASSERT_EQ(size, 3);
        assert_memory_equal(text, "a\0b", 3);
        ASSERT_EQ(message_get_u32(&reader), 7);
        at_end(&reader);
}

/* Memory of a size that both know may follow, or not: what fills a record up is not taken for it. */
TEST(bytes_at_the_end_may_be_missing) {
        static const struct {
                const char *text;
                size_t n_bytes;
                bool has;
        } cases[] = {
                { "", 0, false },
                { "", 16, true },
                { "a", 0, false },
                { "abc", 16, true },
                { "abcdefgh", 0, false },
                { "abcdefgh", 16, true },
                { "", 8, false },
                { "abc", 13, true }, /* with the padding 16, of whatever */
                { "abcd", 8, false },
        };
        static const uint8_t bytes[16] = "0123456789abcdef";

        FOREACH_ELEMENT(c, cases) {
                MessageReader reader;
                uint8_t copy[16] = "untouched";
                char *string;

                message_begin(&writer, MESSAGE_RESULT);
                message_put_string(&writer, c->text);
                message_put_bytes(&writer, bytes, c->n_bytes);
                receive_record(&reader, MESSAGE_RESULT);
                string = message_get_string(&reader);
                ASSERT_STREQ(string, c->text);
                free(string);
                ASSERT_EQ(message_has(&reader, 16), c->has);
                ASSERT_FALSE(reader.bad);
                ASSERT_EQ(message_get_bytes(&reader, copy, 16), c->has);
                ASSERT_EQ(reader.bad, !c->has);
                ASSERT_FALSE(message_has(&reader, 16));
                if (c->has)
                        assert_memory_equal(copy, bytes, c->n_bytes);
                else
                        ASSERT_STREQ((char *) copy, "untouched");
        }
}

TEST(strings_are_made_valid) {
        static const struct {
                const char *in;
                size_t size;
                const char *string; /* what message_get_string() makes of it */
                const char *json;
        } cases[] = {
                { "plain", 5, "plain", "\"plain\"" },
                { "", 0, "", "null" },
                { "a\nb\tc\x7f", 6, "a?b?c?", "\"a\\nb\\tc\x7f\"" },
                { "a\0b", 3, "a?b", "\"a\\u0000b\"" },
                { "\xff", 1, "\xef\xbf\xbd", "\"\xef\xbf\xbd\"" },
                { "x\xc3", 2, "x\xef\xbf\xbd", "\"x\xef\xbf\xbd\"" },
                { "\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
                        "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* a surrogate */
                { "\xc0\x80y", 3, "\xef\xbf\xbd\xef\xbf\xbdy",
                        "\"\xef\xbf\xbd\xef\xbf\xbdy\"" }, /* overlong */
                { "€", 3, "€", "\"€\"" },
        };

        FOREACH_ELEMENT(c, cases) {
                MessageReader reader;
                char *string, *dump;
                json_t *json;

                message_begin(&writer, MESSAGE_DIFFERENCE);
                message_put_text(&writer, c->in, c->size, 100);
                message_put_text(&writer, c->in, c->size, 100);
                receive_record(&reader, MESSAGE_DIFFERENCE);
                string = message_get_string(&reader);
                ASSERT_STREQ(string, c->string);
                json = message_get_text_json(&reader);
                dump = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
                ASSERT_STREQ(dump, c->json);
                at_end(&reader);
                free(string);
                free(dump);
                json_decref(json);
        }
}

/* What arrives of a value, as JSON text to be freed. */
static char *round_trip(const AgentdValue *value) {
        MessageReader reader;
        json_t *json;
        char *dump;

        message_begin(&writer, MESSAGE_UNDO);
        message_put_value(&writer, value);
        message_put_u32(&writer, 4711);
        receive_record(&reader, MESSAGE_UNDO);
        json = message_get_value(&reader);
        ASSERT_NOT_NULL(json);
        ASSERT_EQ(message_get_u32(&reader), 4711);
        at_end(&reader);
        dump = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
        json_decref(json);
        return dump;
}

TEST(values) {
        static const AgentdValue items[] = {
                { .type = AGENTD_INTEGER, .integer = -1 },
                { .type = AGENTD_NONE },
        };
        static const AgentdMember members[] = {
                { .key = "one", .value = { .type = AGENTD_LIST, .n = 2, .items = items } },
                { .key = "zwei\xff", .value = { .type = AGENTD_BOOLEAN, .boolean = true } },
        };
        static const struct {
                AgentdValue value;
                const char *json;
        } cases[] = {
                { {}, "null" },
                { { .type = AGENTD_BOOLEAN, .boolean = true }, "true" },
                { { .type = AGENTD_BOOLEAN }, "false" },
                { { .type = AGENTD_INTEGER, .integer = INT64_MIN }, "-9223372036854775808" },
                { { .type = AGENTD_FLOAT, .real = 0.5 }, "0.5" },
                { { .type = AGENTD_FLOAT, .real = INFINITY }, "null" },
                { { .type = AGENTD_FLOAT, .real = NAN }, "null" },
                { { .type = AGENTD_STRING, .string = "", .size = 0 }, "\"\"" },
                { { .type = AGENTD_STRING, .string = "a\0\xff", .size = 3 }, "\"a\\u0000\xef\xbf\xbd\"" },
                { { .type = AGENTD_LIST }, "[]" },
                { { .type = AGENTD_RECORD, .n = 2, .items = items }, "[-1,null]" },
                { { .type = AGENTD_TABLE }, "{}" },
                { { .type = AGENTD_TABLE, .n = 2, .members = members },
                        "{\"one\":[-1,null],\"zwei\xef\xbf\xbd\":true}" },
                /* Types that a value cannot have: a module's mistake, and nothing to be killed for. */
                { { .type = AGENTD_MODE, .integer = 0644 }, "null" },
                { { .type = 4711 }, "null" },
        };
        char *dump;

        FOREACH_ELEMENT(c, cases) {
                dump = round_trip(&c->value);
                ASSERT_STREQ(dump, c->json);
                free(dump);
        }
        dump = round_trip(NULL);
        ASSERT_STREQ(dump, "null");
        free(dump);
}

/* What is too deep is cut by the writer where the reader can still follow. */
TEST(deep_values_are_cut) {
        AgentdValue levels[2 * MESSAGE_VALUE_DEPTH_MAX];

        for (size_t n = 1; n <= ELEMENTSOF(levels); n++) {
                char *dump;

                for (size_t i = 0; i < n; i++)
                        levels[i] = (AgentdValue){
                                .type = AGENTD_LIST, .n = i + 1 < n, .items = &levels[i + 1]
                        };
                dump = round_trip(&levels[0]);
                ASSERT_EQ(strspn(dump, "["), MIN(n, (size_t) MESSAGE_VALUE_DEPTH_MAX));
                ASSERT_EQ(strstr(dump, "null") != NULL, n > MESSAGE_VALUE_DEPTH_MAX);
                free(dump);
        }
}

TEST(text_is_cut_at_characters) {
        static const struct {
                const char *in;
                size_t limit;
                const char *out;
        } cases[] = {
                { "0123456789", 10, "0123456789" },
                { "0123456789", 9, "012345…" },
                { "ääääääääää", 20, "ääääääääää" },
                { "ääääääääää", 11, "ääää…" },
                { "ääääääääää", 12, "ääää…" },
                { "ääääääääää", 13, "äääää…" },
                { "\x80\x80\x80\x80\x80\x80", 5, "…" },
                { "0123456789", 3, "…" },
        };

        FOREACH_ELEMENT(c, cases) {
                MessageReader reader;
                const char *text;
                size_t size;

                message_begin(&writer, MESSAGE_LOG);
                message_put_text(&writer, c->in, strlen(c->in), c->limit);
                receive_record(&reader, MESSAGE_LOG);
                text = message_get_text(&reader, &size);
                ASSERT_EQ(size, strlen(c->out));
                ASSERT_TRUE(size <= c->limit);
                assert_memory_equal(text, c->out, size);
                at_end(&reader);
        }
}

TEST(long_strings_are_cut) {
        _cleanup_free_ char *text = malloc(3 * MESSAGE_TEXT_MAX);
        MessageReader reader;
        json_t *json;
        char *string;

        memset(text, 'x', 3 * MESSAGE_TEXT_MAX);
        message_begin(&writer, MESSAGE_UNDO);
        message_put_value(&writer,
                &(AgentdValue){ .type = AGENTD_STRING, .string = text, .size = 3 * MESSAGE_TEXT_MAX });
        text[3 * MESSAGE_TEXT_MAX - 1] = 0;
        message_put_string(&writer, text);
        receive_record(&reader, MESSAGE_UNDO);

        json = message_get_value(&reader);
        ASSERT_EQ(json_string_length(json), MESSAGE_TEXT_MAX);
        ASSERT_STREQ(json_string_value(json) + MESSAGE_TEXT_MAX - 4, "x…");
        json_decref(json);
        string = message_get_string(&reader);
        ASSERT_EQ(strlen(string), MESSAGE_TEXT_MAX);
        free(string);
        at_end(&reader);
}

TEST(many_records_fill_datagrams) {
        _cleanup_free_ char *text = malloc(KIB(10));
        MessageReader reader;
        uint32_t n = 0, n_datagrams = 0;

        /* Full datagrams are sent by themselves, each with whole records only. */
        memset(text, 'x', KIB(10));
        for (uint32_t i = 0; i < 30; i++) {
                message_begin(&writer, MESSAGE_UNDO);
                message_put_u32(&writer, i);
                message_put_text(&writer, text, KIB(10), MESSAGE_DIFF_MAX);
                ASSERT_OK(message_end(&writer));
        }
        while (receive(&reader)) {
                MessageKind kind;

                n_datagrams++;
                while (message_next(&reader, &kind) > 0) {
                        size_t size;

                        ASSERT_EQ(message_get_u32(&reader), n++);
                        ASSERT_NOT_NULL(message_get_text(&reader, &size));
                        ASSERT_EQ(size, KIB(10));
                        ASSERT_FALSE(reader.bad);
                }
        }
        ASSERT_EQ(n_datagrams, 2);
        ASSERT_EQ(n, 24);

        ASSERT_OK(message_flush(&writer));
        ASSERT_TRUE(receive(&reader));
        ASSERT_OK(message_flush(&writer)); /* nothing is left: no empty datagram */
        ASSERT_FALSE(receive(&reader));
}

TEST(a_record_that_is_too_large_is_dropped_alone) {
        _cleanup_free_ char *text = malloc(2 * MESSAGE_MAX);
        MessageReader reader;
        MessageKind kind;
        size_t size;

        memset(text, 'x', 2 * MESSAGE_MAX);
        message_begin(&writer, MESSAGE_END);
        message_put_u32(&writer, 1);
        ASSERT_OK(message_end(&writer));

        message_begin(&writer, MESSAGE_UNDO);
        message_put_u32(&writer, 2);
        message_put_text(&writer, text, 2 * MESSAGE_MAX, 2 * MESSAGE_MAX);
        message_put_u32(&writer, 3);
        ASSERT_EQ(message_end(&writer), -EMSGSIZE);

        message_begin(&writer, MESSAGE_END);
        message_put_u32(&writer, 4);
        ASSERT_OK(message_end(&writer));
        ASSERT_OK(message_flush(&writer));

        ASSERT_TRUE(receive(&reader));
        ASSERT_EQ(message_next(&reader, &kind), 1);
        ASSERT_EQ(message_get_u32(&reader), 1);
        at_end(&reader);
        ASSERT_TRUE(receive(&reader));
        ASSERT_EQ(message_next(&reader, &kind), 1);
        ASSERT_EQ(message_get_u32(&reader), 4);
        at_end(&reader);

        /* The largest that fits, and one byte more. */
        for (size_t more = 0; more < 2; more++) {
                size_t most = MESSAGE_MAX - 8 - 4 - 4 + more;

                message_begin(&writer, MESSAGE_UNDO);
                message_put_u32(&writer, 5);
                message_put_text(&writer, text, most, most);
                ASSERT_EQ(message_end(&writer), more ? -EMSGSIZE : 0);
        }
        ASSERT_OK(message_flush(&writer));
        ASSERT_TRUE(receive(&reader));
        ASSERT_EQ(reader.size, MESSAGE_MAX);
        ASSERT_EQ(message_next(&reader, &kind), 1);
        ASSERT_EQ(message_get_u32(&reader), 5);
        ASSERT_NOT_NULL(message_get_text(&reader, &size));
        at_end(&reader);
}

TEST(the_other_side_is_gone) {
        fds[1] = safe_close(fds[1]);
        message_begin(&writer, MESSAGE_END);
        message_put_u32(&writer, 1);
        ASSERT_OK(message_end(&writer));
        ASSERT_EQ(message_flush(&writer), -EPIPE);
        message_begin(&writer, MESSAGE_END);
        ASSERT_EQ(message_end(&writer), -EPIPE);
        ASSERT_EQ(message_flush(&writer), -EPIPE);
}

TEST(bad_records) {
        static const struct {
                const char *what;
                uint32_t words[8];
                size_t size;
                uint32_t n_good; /* records before the bad one */
        } cases[] = {
                { "half a header", { 8, MESSAGE_END }, 4, 0 },
                { "seven bytes", { 8, MESSAGE_END }, 7, 0 },
                { "smaller than its header", { 0, MESSAGE_END }, 8, 0 },
                { "likewise", { 7, MESSAGE_END }, 8, 0 },
                { "larger than the datagram", { 16, MESSAGE_END, 0 }, 12, 0 },
                { "much larger", { UINT32_MAX - 7, MESSAGE_END }, 8, 0 },
                { "not a multiple of 8", { 12, MESSAGE_END, 0 }, 12, 0 },
                { "kind 0", { 8, 0 }, 8, 0 },
                { "unknown kind", { 8, _MESSAGE_KIND_MAX }, 8, 0 },
                { "kind beyond 8 bits", { 8, 0x100 + MESSAGE_END }, 8, 0 },
                { "rest after a good one", { 8, MESSAGE_END, 8 }, 12, 1 },
                { "second one lies", { 16, MESSAGE_END, 1, 0, 16, MESSAGE_END }, 24, 1 },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ uint8_t *copy = malloc(c->size);
                MessageReader reader = { .data = copy, .size = c->size };
                MessageKind kind;

                memcpy(copy, c->words, c->size);
                for (uint32_t i = 0; i < c->n_good; i++)
                        ASSERT_EQ(message_next(&reader, &kind), 1);
                kind = _MESSAGE_KIND_MAX;
                if (message_next(&reader, &kind) != -EBADMSG)
                        fail_msg("%s: accepted", c->what);
                ASSERT_EQ(kind, _MESSAGE_KIND_MAX);
        }
}

TEST(bad_fields) {
        enum { D = MESSAGE_VALUE_DEPTH_MAX };
        static const struct {
                const char *what;
                const char *
                        fields; /* u: u32, U: u64, t: text, s: string, j: text as JSON, v: value; the last is bad */
                uint32_t words[12];
                uint32_t n;
        } cases[] = {
                { "no u32", "u", {}, 0 },
                { "no second u32", "uu", { 1 }, 1 },
                { "half a u64", "U", { 1 }, 1 },
                { "no text", "t", {}, 0 },
                { "text beyond the record", "t", { 5, 0 }, 2 },
                { "text of 4 GiB", "t", { UINT32_MAX, 0 }, 2 },
                { "string beyond the record", "s", { 5, 0 }, 2 },
                { "JSON text beyond the record", "j", { 5, 0 }, 2 },
                { "no value", "v", {}, 0 },
                { "value of unknown type", "v", { 8, 0, 0, 0 }, 4 },
                { "value of a parameter's type", "v", { AGENTD_MODE, 0, 0, 0 }, 4 },
                { "value of type 4711", "v", { 4711, 0, 0, 0 }, 4 },
                { "boolean without value", "v", { AGENTD_BOOLEAN }, 1 },
                { "half an integer", "v", { AGENTD_INTEGER, 0 }, 2 },
                { "half a float", "v", { AGENTD_FLOAT, 0 }, 2 },
                { "string without size", "v", { AGENTD_STRING }, 1 },
                { "string too long", "v", { AGENTD_STRING, 9, 0, 0 }, 4 },
                { "list without count", "v", { AGENTD_LIST }, 1 },
                { "list of too many", "v", { AGENTD_LIST, 3, AGENTD_NONE, AGENTD_NONE }, 4 },
                { "list of 2^32 - 1", "v", { AGENTD_LIST, UINT32_MAX, AGENTD_NONE }, 3 },
                { "list with a bad item", "v", { AGENTD_LIST, 2, AGENTD_NONE, 99 }, 4 },
                { "record of too many", "v", { AGENTD_RECORD, 1 }, 2 },
                { "table of too many", "v", { AGENTD_TABLE, 2, 0, AGENTD_NONE }, 4 },
                { "table with a bad key", "v", { AGENTD_TABLE, 1, 100, AGENTD_NONE }, 4 },
                { "table with a bad value", "v", { AGENTD_TABLE, 1, 0, 99 }, 4 },
                { "what follows something bad", "vu", { 99, 0, 0, 0 }, 4 },
        };
        uint32_t deep[2 + 2 * (D + 2)];
        MessageReader reader;
        MessageKind kind;

        FOREACH_ELEMENT(c, cases) {
                size_t size = 8 + c->n * 4;
                _cleanup_free_ uint8_t *copy = malloc(size);
                bool bad = false;

                /* The size need not be a multiple of 8 here: the fields are what is tried. */
                reader = (MessageReader){ .data = copy, .size = size, .position = 8, .end = size };
                memcpy(copy + 8, c->words, c->n * 4);
                for (const char *f = c->fields; *f; f++) {
                        char *string = NULL;
                        json_t *json = NULL;
                        size_t n = 4711;

                        switch (*f) {
                        case 'u': bad = message_get_u32(&reader) == 0; break;
                        case 'U': bad = message_get_u64(&reader) == 0; break;
                        case 't': bad = !message_get_text(&reader, &n) && n == 4711; break;
                        case 's': bad = !(string = message_get_string(&reader)); break;
                        case 'j': bad = !(json = message_get_text_json(&reader)); break;
                        default: bad = !(json = message_get_value(&reader)); break;
                        }
                        free(string);
                        json_decref(json);
                }
                if (!bad || !reader.bad)
                        fail_msg("%s: accepted", c->what);
        }

        /* Lists in lists: as deep as is allowed, and one more. */
        for (uint32_t depth = D; depth <= D + 1; depth++) {
                json_t *json;

                deep[0] = 8 + 8 * depth + 8;
                deep[1] = MESSAGE_UNDO;
                for (uint32_t i = 0; i < depth; i++) {
                        deep[2 + 2 * i] = AGENTD_LIST;
                        deep[3 + 2 * i] = 1;
                }
                deep[2 + 2 * depth] = AGENTD_NONE;
                deep[3 + 2 * depth] = 0;
                reader = (MessageReader){ .data = (const uint8_t *) deep, .size = deep[0] };
                ASSERT_EQ(message_next(&reader, &kind), 1);
                json = message_get_value(&reader);
                ASSERT_EQ(json != NULL, depth <= D);
                ASSERT_EQ(reader.bad, depth > D);
                json_decref(json);
        }

        /* A record's fields end where it ends, though the datagram goes on; and a bad one does no harm to the next. */
        {
                static const uint32_t two[] = { 8, MESSAGE_END, 16, MESSAGE_END, 5, 0 };

                reader = (MessageReader){ .data = (const uint8_t *) two, .size = sizeof(two) };
                ASSERT_EQ(message_next(&reader, &kind), 1);
                ASSERT_EQ(message_get_u32(&reader), 0);
                ASSERT_TRUE(reader.bad);
                ASSERT_EQ(message_next(&reader, &kind), 1);
                ASSERT_FALSE(reader.bad);
                ASSERT_EQ(message_get_u32(&reader), 5);
                ASSERT_FALSE(reader.bad);
        }
}

#define RUN_FRESH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN_FRESH(numbers_and_text),
                RUN_FRESH(bytes_at_the_end_may_be_missing),
                RUN_FRESH(strings_are_made_valid),
                RUN_FRESH(values),
                RUN_FRESH(deep_values_are_cut),
                RUN_FRESH(text_is_cut_at_characters),
                RUN_FRESH(long_strings_are_cut),
                RUN_FRESH(many_records_fill_datagrams),
                RUN_FRESH(a_record_that_is_too_large_is_dropped_alone),
                RUN_FRESH(the_other_side_is_gone),
                RUN(bad_records),
                RUN(bad_fields),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
