/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "result-text.h"
#include "terminal.h"
#include "test.h"

typedef void (*Print)(FILE *f, const json_t *json, const OutputStyle *style);

static void print_result(FILE *f, const json_t *json, const OutputStyle *style) {
        result_text_print(f, json, "/etc/agentd/conf.d/web.toml:5:1", style);
}

static void print_run(FILE *f, const json_t *json, const OutputStyle *style) {
        result_text_print_summary(f, json, NULL, style);
}

static void print_interrupted_run(FILE *f, const json_t *json, const OutputStyle *style) {
        result_text_print_summary(f, json, "interrupted", style);
}

static void expect(Print print, const char *json, const OutputStyle *style, const char *expected) {
        json_t *object = json_loads(json, JSON_DECODE_ANY, NULL);
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        ASSERT_NOT_NULL(f);
        ASSERT_NOT_NULL(object);
        print(f, object, style);
        ASSERT_OK(fclose(f));
        ASSERT_STREQ(text, expected);
        free(text);
        json_decref(object);
}

TEST(a_result_is_lines) {
        static const struct {
                const char *json;
                OutputStyle style;
                const char *text;
        } cases[] = {
                { "{\"state\": \"file:/a\", \"result\": \"ok\"}", {}, "" },
                { "{\"state\": \"file:/a\", \"result\": \"skipped\"}", {}, "" },
                { "{\"state\": \"file:/a\", \"result\": \"ok\"}", { .verbose = true },
                        "ok       file:/a\n" },
                { "{\"state\": \"file:/a\", \"result\": \"changed\", \"error\": null, \"differences\": "
                  "[{\"attribute\": \"mode\", \"is\": null, \"should\": \"0644\"}]}",
                        {}, "changed  file:/a\n    mode: nothing → 0644\n" },
                { "{\"state\": \"x:a\", \"result\": \"changed\", \"differences\": "
                  "[{\"attribute\": \"text\", \"is\": \"a\\nb\\n\", \"should\": \"\\n\"}]}",
                        {}, "changed  x:a\n    text: a\\nb\\n → \\n\n" },
                /* Of a hash at the end the beginning will do; what only looks like one is shown as it is. */
                { "{\"state\": \"x:a\", \"result\": \"changed\", \"differences\": "
                  "[{\"attribute\": \"text\", \"is\": \"3 bytes, "
                  "sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4\", \"should\": "
                  "\"sha256:98ea6e4f216f2fb4\"}]}",
                        {},
                        "changed  x:a\n    text: 3 bytes, sha256:98ea6e4f216f… → "
                        "sha256:98ea6e4f216f2fb4\n" },
                { "{\"state\": \"x:a\", \"result\": \"changed\", \"differences\": "
                  "[{\"attribute\": \"text\", \"is\": \"\", \"should\": "
                  "\"sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4!\"}]}",
                        {},
                        "changed  x:a\n    text: \"\" → "
                        "sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5…\n" },
                { "{\"state\": \"file:/a\", \"result\": \"drifted\", \"removal\": true}", {},
                        "drifted  file:/a (to be removed: no longer in any role)\n" },
                { "{\"state\": \"file:/a\", \"result\": \"changed\", \"removal\": true}", {},
                        "changed  file:/a (removed: no longer in any role)\n" },
                { "{\"state\": \"file:/a\", \"result\": \"drifted\", \"removal\": \"yes\"}", {},
                        "drifted  file:/a\n" },
                { "{\"state\": \"file:/a\", \"result\": \"failed\", \"error\": \"no\"}", {},
                        "failed   file:/a\n    /etc/agentd/conf.d/web.toml:5:1\n    no\n" },
                { "{\"state\": \"file:/a\", \"result\": \"blocked\", \"error\": \"no\"}", {},
                        "blocked  file:/a\n    no\n" },
                { "{\"state\": \"file:/a\", \"result\": \"drifted\", \"differences\": "
                  "[{\"attribute\": \"content\", \"is\": 1, \"should\": [true], \"diff\": "
                  "\"@@\\n-a\\n+b\"}]}",
                        { .diff = true },
                        "drifted  file:/a\n    content: 1 → [true]\n    @@\n    -a\n    +b\n" },
                { "{\"state\": \"file:/a\", \"result\": \"changed\"}", { .colour = true },
                        COLOUR_GREEN "changed " COLOUR_OFF " file:/a\n" },
                /* What a terminal would obey. */
                { "{\"state\": \"file:\\u001b[2J\\n\", \"result\": \"failed\", \"error\": "
                  "\"a\\u009bb\\u007f\", "
                  "\"differences\": [{\"attribute\": \"\\r\", \"is\": \"\\u0007\", \"should\": "
                  "\"\\u0008\"}]}",
                        {},
                        "failed   file:?[2J?\n    /etc/agentd/conf.d/web.toml:5:1\n    a?b?\n    ?: ? → "
                        "?\n" },
                { "{\"state\": \"file:/a\", \"result\": \"\\u001bc\"}", {}, "?c       file:/a\n" },
                /* Nonsense. */
                { "{}", {}, "?        ?\n" },
                { "[]", {}, "?        ?\n" },
                { "null", {}, "?        ?\n" },
                { "{\"state\": 1, \"result\": [], \"error\": 7, \"differences\": \"x\"}", {},
                        "?        ?\n" },
                { "{\"state\": \"a:b\", \"result\": \"far too long a word\", \"differences\": [1, {}]}", {},
                        "far too long a word a:b\n    ?: nothing → nothing\n    ?: nothing → nothing\n" },
        };

        FOREACH_ELEMENT(c, cases)
                expect(print_result, c->json, &c->style, c->text);
}

TEST(a_run_is_a_line) {
        static const struct {
                const char *json, *text;
        } cases[] = {
                { "{\"started\": \"2026-11-21T13:32:00.000000Z\", \"finished\": "
                  "\"2026-11-21T13:32:00.034000Z\", "
                  "\"summary\": {\"ok\": 10, \"changed\": 2}, \"error\": null}",
                        "12 states: 10 ok, 2 changed (34ms)\n" },
                { "{\"started\": \"2026-11-21T13:32:00Z\", \"finished\": \"2026-11-21T13:32:01Z\", "
                  "\"summary\": {\"blocked\": 1}, \"error\": \"interrupted\"}",
                        "1 state: 1 blocked (1s)\n" },
                { "{\"started\": \"2026-11-21T13:32:02Z\", \"finished\": \"2026-11-21T13:32:01Z\"}",
                        "0 states: 0 ok (0us)\n" },
                { "{\"started\": null, \"finished\": null, \"error\": \"a\\u001bb\"}", "0 states: 0 ok\n" },
                { "{\"started\": 5, \"summary\": [3]}", "0 states: 0 ok\n" },
                { "7", "0 states: 0 ok\n" },
        };

        FOREACH_ELEMENT(c, cases)
                expect(print_run, c->json, &(OutputStyle){}, c->text);
        expect(print_interrupted_run, "{}", &(OutputStyle){}, "0 states: 0 ok, interrupted\n");
}

TEST(times) {
        static const struct {
                const char *in;
                int r;
                usec_t usec;
        } cases[] = {
                { "1970-01-01T00:00:01Z", 0, USEC_PER_SEC },
                { "1970-01-01T00:00:00.000007Z", 0, 7 },
                { "1970-01-01T00:00:00.5Z", 0, USEC_PER_SEC / 2 },
                { "2026-11-21T13:32:00.123456789Z", 0, UINT64_C(1795267920123456) },
                { NULL, -EINVAL, 42 },
                { "", -EINVAL, 42 },
                { "Z", -EINVAL, 42 },
                { "2026-11-21", -EINVAL, 42 },
                { "2026-11-21T13:32:00", -EINVAL, 42 },
                { "2026-11-21T13:32:00+01:00", -EINVAL, 42 },
                { "2026-11-21T13:32:00.12xZ", -EINVAL, 42 },
                { "2026-13-21T13:32:00Z", -EINVAL, 42 },
                { "1960-01-01T00:00:00Z", -EINVAL, 42 },
        };

        FOREACH_ELEMENT(c, cases) {
                usec_t usec = 42;

                ASSERT_EQ(result_text_parse_time(c->in, &usec), c->r);
                ASSERT_EQ(usec, c->usec);
        }
}

RUN_TESTS(RUN(a_result_is_lines), RUN(a_run_is_a_line), RUN(times))
