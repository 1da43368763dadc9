/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>
#include <time.h>

#include "template.h"
#include "test.h"
#include "value-json.h"

/* One arena for each test: what is read from JSON, rendered and reported. */
static Arena arena;

static int setup(_unused_ void **state) {
        return arena_map(&arena, GIB(1), NULL);
}

static int teardown(_unused_ void **state) {
        arena_unmap(&arena);
        return 0;
}

#undef RUN
#define RUN(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

/* A scope over any value, as the specification's suite has them, that remembers what was read. */
typedef struct World {
        Value root;
        const char *noted; /* each followed by a blank */
} World;

static const Value *world_lookup(void *userdata, const char *name, size_t size) {
        World *world = userdata;
        Member *member;

        if (size == 1 && name[0] == '.')
                return world->root.type == VALUE_TABLE ? NULL : &world->root;
        member = value_find(&world->root, name, size);
        return member ? &member->value : NULL;
}

static const char *world_nth(void *userdata, size_t n) {
        World *world = userdata;

        return world->root.type == VALUE_TABLE ? scope_table_nth(&world->root, n) : NULL;
}

static void world_noted(void *userdata, const char *name, size_t size) {
        World *world = userdata;

        world->noted = arena_printf(&arena, "%s%.*s ", world->noted, (int) size, name);
}

static Scope world_scope(World *world) {
        return (Scope){ .lookup = world_lookup, .nth = world_nth, .noted = world_noted, .userdata = world };
}

static World world_new(const char *text) {
        json_auto_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

        ASSERT_NOT_NULL(json);
        return (World){ .root = value_from_json(&arena, json), .noted = "" };
}

/* Partials from a table of strings; its files are called as its keys. */
static int table_partial(void *userdata, const char *name, TemplateSource *ret_source) {
        const Value *text = userdata ? value_get(userdata, name) : NULL;

        if (streq(name, "broken"))
                return -EIO;
        if (!text)
                return -ENOENT;
        *ret_source = template_source_file(arena_strdup(&arena, name), text->text, text->size);
        ret_source->tainted = text->tainted;
        return 0;
}

/* What came of it: the text, or the message as a compiler prints it. */
static const char *render_source(
        const TemplateOptions *options, const TemplateSource *source, World *world, Value *ret_text) {
        Value text = value_integer(42);
        Scope scope = world_scope(world);
        Diagnostic e = { .message = "unset" };
        int r;

        r = template_render(&arena, options, source, &scope, &text, &e);
        if (r < 0) {
                _cleanup_free_ char *message = diagnostic_format(&e);

                ASSERT_TRUE(r == -EINVAL || r == -E2BIG);
                ASSERT_EQ(text.integer, 42); /* a failing call leaves its output alone */
                ASSERT_TRUE(utf8_is_valid(message, strlen(message)));
                return arena_strdup(&arena, message);
        }
        ASSERT_STREQ(e.message, "unset");
        ASSERT_EQ(text.type, VALUE_STRING);
        ASSERT_EQ(text.text[text.size], 0);
        if (ret_text)
                *ret_text = text;
        return text.text;
}

static const char *render(const TemplateOptions *options, const char *text, World *world) {
        TemplateSource source = template_source_file("t", text, strlen(text));

        return render_source(options, &source, world, NULL);
}

/* The public suite */

static size_t run_suite(const char *name, size_t *failed) {
        const char *data = getenv("TEST_DATA");
        json_auto_t *json = NULL;
        json_error_t error;
        json_t *tests, *test;
        size_t i;

        ASSERT_NOT_NULL(data);
        json = json_load_file(arena_printf(&arena, "%s/mustache-spec/%s.json", data, name), 0, &error);
        ASSERT_NOT_NULL(json);
        tests = json_object_get(json, "tests");

        json_array_foreach(tests, i, test) {
                json_t *given = json_object_get(test, "partials");
                Value partials = given ? value_from_json(&arena, given) : value_table();
                const char *expected = json_string_value(json_object_get(test, "expected"));
                TemplateOptions options = {
                        .escape_html = true, .partial = table_partial, .userdata = &partials
                };
                World world = { .root = value_from_json(&arena, json_object_get(test, "data")),
                        .noted = "" };
                const char *text;

                text = render(&options, json_string_value(json_object_get(test, "template")), &world);
                if (!streq(text, expected)) {
                        print_message("# %s: %s: expected '%s', not '%s'\n", name,
                                json_string_value(json_object_get(test, "name")), expected, text);
                        (*failed)++;
                }
        }
        return json_array_size(tests);
}

TEST(specification) {
        static const struct {
                const char *name;
                size_t n;
        } suites[] = {
                { "comments", 12 },
                { "delimiters", 14 },
                { "interpolation", 42 },
                { "inverted", 22 },
                { "partials", 12 },
                { "sections", 34 },
                { "~inheritance", 27 },
                { "~dynamic-names", 21 },
        };
        size_t failed = 0;

        FOREACH_ELEMENT(s, suites)
                ASSERT_EQ(run_suite(s->name, &failed), s->n);
        ASSERT_EQ(failed, 0);
}

static const char data[] = "{\"vars\": {\"port\": 8080, \"name\": \"web\", \"on\": true, \"off\": false, "
                           "\"none\": null, \"empty\": [],"
                           "          \"text\": \"\", \"zero\": 0, \"html\": \"<&>\", \"which\": \"line\", "
                           "\"lines\": \"1\\n2\","
                           "          \"users\": [{\"name\": \"ada\", \"shell\": \"sh\"}, {\"name\": "
                           "\"bob\"}], \"list\": [1, 2]},"
                           " \"facts\": {\"os\": {\"id\": \"debian\"}, \"cpus\": 4}}";

static const char partials[] =
        "{\"line\": \"a {{vars.port}}\\nb\\n\", \"wrong\": \"x\\n  {{vars.prot}}\", \"open\": \"\\n{{#x}}\","
        " \"self\": \"{{>self}}\", \"twice\": \"{{>twice}}{{>twice}}\", \"blank\": "
        "\"a\\n\\nb\\r\\n\\r\\nc\","
        " \"blocks\": \"<\\n  {{$a}}\\n    A\\n  {{/a}}\\n{{$b}}B{{/b}}>\\n\","
        " \"again\": \" {{<line}}{{/line}}\\n\", \"inline\": \"x {{$a}}A{{/a}} y\\n\", \"tags\": "
        "\"{{vars.lines}}\\n{{#vars.on}}on{{/vars.on}}\\n\"}";

static void run_cases(bool strict, const char *const (*cases)[2], size_t n) {
        World world = world_new(data), files = world_new(partials);
        TemplateOptions options = { .strict = strict, .partial = table_partial, .userdata = &files.root };

        for (size_t i = 0; i < n; i++)
                ASSERT_STREQ(render(&options, cases[i][0], &world), cases[i][1]);
}

TEST(rendering) {
        static const char *const cases[][2] = {
                { "", "" },
                { "no tags }} here", "no tags }} here" },
                { "{{vars.port}}", "8080" },
                { "{{ vars.html }}{{{vars.html}}}{{& vars.html}}",
                        "<&><&><&>" }, /* no escaping unless asked for */
                { "{{facts.os.id}}/{{#facts.os}}{{id}}{{/facts.os}}", "debian/debian" },
                { "{{#vars.users}}{{name}}:{{vars.port}};{{/vars.users}}", "ada:8080;bob:8080;" },
                { "{{#vars.list}}{{.}},{{/vars.list}}", "1,2," },
                { "{{#vars.on}}y{{/vars.on}}{{^vars.on}}n{{/vars.on}}", "y" },
                { "{{#vars.off}}y{{/vars.off}}{{^vars.off}}n{{/vars.off}}", "n" },
                { "{{#vars.none}}y{{/vars.none}}{{^vars.none}}n{{/vars.none}}", "n" },
                { "{{#vars.empty}}y{{/vars.empty}}{{^vars.empty}}n{{/vars.empty}}", "n" },
                { "{{#vars.text}}y{{/vars.text}}{{^vars.text}}n{{/vars.text}}", "y" },
                { "{{#vars.zero}}y{{/vars.zero}}{{^vars.zero}}n{{/vars.zero}}", "y" },
                { "{{vars.none}}", "" },
                /* Items and entries. */
                { "{{vars.users.0.name}}{{vars.list.1}}{{#vars.users.1}}{{name}}{{/vars.users.1}}",
                        "ada2bob" },
                { "{{#facts.os.*}}{{key}}={{value}},{{/facts.os.*}}", "id=debian," },
                { "{{#facts}}{{#os.*}}{{key}}={{value}},{{/os.*}}{{/facts}}", "id=debian," },
                { "{{#vars.nope.*}}y{{/vars.nope.*}}{{^vars.nope.*}}n{{/vars.nope.*}}", "n" },
                /* Optional keys. */
                { "{{#vars.feature}}y{{/vars.feature}}{{^vars.feature}}n{{/vars.feature}}", "n" },
                { "{{#vars.users}}{{name}}{{#shell}} {{shell}}{{/shell}};{{/vars.users}}", "ada sh;bob;" },
                { "{{#vars.users}}{{^shell}}{{name}}{{/shell}}{{/vars.users}}", "bob" },
                /* Partials. */
                { "<\n  {{>line}}\n>", "<\n  a 8080\n  b\n>" },
                { "< {{>line}} >", "< a 8080\nb\n >" },
                { "\t{{>*vars.which}}\n", "\ta 8080\n\tb\n" },
                { "  {{>blank}}\n", "  a\n\n  b\r\n\r\n  c" }, /* no blanks on empty lines */
                { "  {{>tags}}\n", "  1\n2\n  on\n" },         /* lines of values stay as they are */
                /* Inheritance. */
                { "{{<blocks}}{{/blocks}}\n", "<\n    A\nB>\n" },
                { "{{<blocks}}\n{{$a}}\n  1\n    2\n\n3\n{{/a}}\n{{/blocks}}",
                        "<\n    1\n      2\n\n    3\nB>\n" },
                { "{{<blocks}}{{$a}}1\n 2{{/a}}{{/blocks}}", "<\n    1\n     2B>\n" },
                { "{{<blocks}}{{$a}}{{/a}}{{/blocks}}", "<\nB>\n" },
                { "  {{<blocks}}\n  {{$a}}\n  1\n  {{/a}}\n  {{/blocks}}\n", "  <\n      1\n  B>\n" },
                { "{{<inline}}\n{{$a}}\n  1\n  2\n{{/a}}\n{{/inline}}", "x 1\n2\n y\n" },
                { " {{<inline}}{{/inline}}|", " x A y\n|" },
                { "{{<blocks}}{{$b}}{{$b}}deeper{{/b}}{{/b}}{{/blocks}}", "<\n    A\ndeeper>\n" },
                { "  {{>again}}\n", "   a 8080\n   b\n" },
                { "{{<*vars.which}}{{/ * vars.which}}", "a 8080\nb\n" },
                { "{{<line}}{{#x}}{{y}}{{>z}}{{<v}}{{/v}}{{/x}}{{y}}{{>z}}{{/line}}", "a 8080\nb\n" },
                /* Other syntax. */
                { "{{! {{ }}|{{!\n}}|", "||" },
                { "{{=<% %>=}}<%vars.port%>{{vars.port}}<%={{ }}=%>{{vars.port}}", "8080{{vars.port}}8080" },
                { "{{=<% %>=}}<%{vars.port}%>", "8080" },
                { "{{ # vars.on }}{{\nvars.port\n}}{{ /\tvars.on }}", "8080" },
                { "{{vars.port}}}", "8080}" },
                { "\xff{{vars.port}}\xfe", "\xff"
                                           "8080\xfe" },
        };

        run_cases(true, cases, ELEMENTSOF(cases));
        run_cases(false, cases, ELEMENTSOF(cases));
}

TEST(strict_errors) {
        static const char *const cases[][2] = {
                /* Undefined names. */
                { "{{vars.prot}}", "t:1:1: error: undefined name 'vars.prot'; did you mean 'vars.port'?" },
                { "\n\n  {{{vars.prot}}}",
                        "t:3:3: error: undefined name 'vars.prot'; did you mean 'vars.port'?" },
                { "{{port}}", "t:1:1: error: undefined name 'port'; did you mean 'vars.port'?" },
                { "{{prot}}", "t:1:1: error: undefined name 'prot'; did you mean 'vars.port'?" },
                { "{{cpus}}", "t:1:1: error: undefined name 'cpus'; did you mean 'facts.cpus'?" },
                { "{{vras}}", "t:1:1: error: undefined name 'vras'; did you mean 'vars'?" },
                { "{{vras.prot}}", "t:1:1: error: undefined name 'vras.prot'; did you mean 'vars.port'?" },
                { "{{facts.so.ID}}",
                        "t:1:1: error: undefined name 'facts.so.ID'; did you mean 'facts.os.id'?" },
                { "{{vars.qqqq}}", "t:1:1: error: undefined name 'vars.qqqq'" },
                { "{{qqqqqqqq}}", "t:1:1: error: undefined name 'qqqqqqqq'" },
                { "{{qqqq.port}}", "t:1:1: error: undefined name 'qqqq.port'" },
                { "{{vars.port.x}}",
                        "t:1:1: error: undefined name 'vars.port.x': 'vars.port' is an integer" },
                { "{{vars.none.x}}", "t:1:1: error: undefined name 'vars.none.x': 'vars.none' is null" },
                { "{{vars.users.9}}",
                        "t:1:1: error: undefined name 'vars.users.9': 'vars.users' is an array of 2 items" },
                { "{{vars.users.00}}", "t:1:1: error: undefined name 'vars.users.00': 'vars.users' is an "
                                       "array of 2 items" },
                { "{{vars.users.-1}}", "t:1:1: error: undefined name 'vars.users.-1': 'vars.users' is an "
                                       "array of 2 items" },
                { "{{vars.users.18446744073709551616}}",
                        "t:1:1: error: undefined name 'vars.users.18446744073709551616': 'vars.users' is an "
                        "array of 2 items" },
                { "{{.}}", "t:1:1: error: '.' is undefined outside of sections" },
                { "\xc3\xa4\xc3\xb6{{#vars.users}}{{nmae}}{{/vars.users}}",
                        "t:1:18: error: undefined name 'nmae'; did you mean 'name'?" },
                { "{{#vars.list}}{{port}}{{/vars.list}}",
                        "t:1:15: error: undefined name 'port'; did you mean 'vars.port'?" },
                /* Sections. */
                { "{{#vras.feature}}{{/vras.feature}}",
                        "t:1:1: error: undefined name 'vras.feature'; did you mean 'vars.feature'?" },
                { "{{^vras.feature}}{{/vras.feature}}",
                        "t:1:1: error: undefined name 'vras.feature'; did you mean 'vars.feature'?" },
                { "{{#feature}}{{/feature}}", "t:1:1: error: undefined name 'feature'" },
                { "{{#vars.list}}{{#feature}}{{/feature}}{{/vars.list}}",
                        "t:1:15: error: undefined name 'feature'" },
                { "{{#vars.a.b}}{{/vars.a.b}}", "t:1:1: error: undefined name 'vars.a.b'" },
                { "{{^vars.port.x}}{{/vars.port.x}}",
                        "t:1:1: error: undefined name 'vars.port.x': 'vars.port' is an integer" },
                { "{{#vars.users.*}}{{/vars.users.*}}",
                        "t:1:1: error: undefined name 'vars.users.*': 'vars.users' is an array of 2 items" },
                { "{{#facts.os}}{{key}}{{/facts.os}}",
                        "t:1:14: error: undefined name 'key'; a section goes through a "
                        "table if '.*' follows its name" },
                /* Not text. */
                { "{{facts.os.*}}", "t:1:1: error: 'facts.os.*' is an array and cannot be written as text" },
                { "{{vars.users}}", "t:1:1: error: 'vars.users' is an array and cannot be written as text" },
                { "{{&facts}}", "t:1:1: error: 'facts' is a table and cannot be written as text" },
                /* Partials. */
                { " {{>none}}", "t:1:2: error: there is no partial 'none'" },
                { "{{<none}}{{/none}}", "t:1:1: error: there is no partial 'none'" },
                { "{{>*vars.name}}",
                        "t:1:1: error: there is no partial of the name that 'vars.name' holds" },
                { "{{>*vars.port}}", "t:1:1: error: 'vars.port' is an integer, not the name of a partial" },
                { "{{>*vars.wihch}}",
                        "t:1:1: error: undefined name 'vars.wihch'; did you mean 'vars.which'?" },
                { "{{>broken}}", "t:1:1: error: failed to read the partial 'broken': Input/output error" },
                { "\n{{>wrong}}",
                        "wrong:2:3: error: undefined name 'vars.prot'; did you mean 'vars.port'?" },
                { "{{>open}}", "open:2:1: error: section 'x' opened at line 2 is not closed" },
                /* What was given for a block is looked at where it stands. */
                { "{{<inline}}\n{{$a}}{{vars.prot}}{{/a}}{{/inline}}",
                        "t:2:7: error: undefined name 'vars.prot'; did you mean 'vars.port'?" },
        };

        run_cases(true, cases, ELEMENTSOF(cases));
}

TEST(lenient_misses) {
        static const char *const cases[][2] = {
                { "[{{x}}{{x.y}}{{vars.x}}{{vars.port.x}}{{.}}]", "[]" },
                { "[{{vars.users}}{{facts}}]", "[]" },
                { "[{{#x}}y{{/x}}{{^x}}n{{/x}}]", "[n]" },
                { "[{{>none}}{{>*vars.port}}{{>*x}}{{<none}}{{$a}}a{{/a}}{{/none}}]", "[]" },
                { "{{>broken}}", "t:1:1: error: failed to read the partial 'broken': Input/output error" },
        };

        run_cases(false, cases, ELEMENTSOF(cases));
}

TEST(syntax_errors) {
        static const char *const cases[][2] = {
                { "a\n{{#x}}b", "t:2:1: error: section 'x' opened at line 2 is not closed" },
                { "{{^x}}", "t:1:1: error: section 'x' opened at line 1 is not closed" },
                { "{{$x}}", "t:1:1: error: block 'x' opened at line 1 is not closed" },
                { "{{<x}}", "t:1:1: error: parent 'x' opened at line 1 is not closed" },
                { "{{<*x}}", "t:1:1: error: parent '*x' opened at line 1 is not closed" },
                { "{{#x}}{{#y}}", "t:1:7: error: section 'y' opened at line 1 is not closed" },
                { "x{{/x}}", "t:1:2: error: 'x' is closed but not open" },
                { "{{#a}}\n{{/b}}",
                        "t:2:1: error: 'b' is closed where section 'a' opened at line 1 is still open" },
                { "{{<*a}}{{/a}}",
                        "t:1:8: error: 'a' is closed where parent '*a' opened at line 1 is still open" },
                { "{{#a}}{{#b}}{{/a}}{{/b}}",
                        "t:1:13: error: 'a' is closed where section 'b' opened at line 1 is still open" },
                { " {{x", "t:1:2: error: the tag is not closed: '}}' is missing" },
                { " {{x}", "t:1:2: error: the tag is not closed: '}}' is missing" },
                { "{{{x}}", "t:1:1: error: the tag is not closed: '}}}' is missing" },
                { "{{", "t:1:1: error: the tag is not closed: '}}' is missing" },
                { "{{=<% %>}}", "t:1:1: error: the tag is not closed: '=}}' is missing" },
                { "{{! x", "t:1:1: error: the tag is not closed: '}}' is missing" },
                { "{{=x=}}", "t:1:1: error: 'x' is not a pair of delimiters; write two words without '=', "
                             "such as {{=<% %>=}}" },
                { "{{=a b c=}}", "t:1:1: error: 'a b c' is not a pair of delimiters; write two words "
                                 "without '=', such as {{=<% %>=}}" },
                { "{{==a b=}}", "t:1:1: error: '=a b' is not a pair of delimiters; write two words without "
                                "'=', such as {{=<% %>=}}" },
                { "{{==}}", "t:1:1: error: '' is not a pair of delimiters; write two words without '=', "
                            "such as {{=<% %>=}}" },
                { "{{}}", "t:1:1: error: the tag has no name" },
                { "{{# }}", "t:1:1: error: the tag has no name" },
                { "{{>}}", "t:1:1: error: the tag has no name" },
                { "{{>*}}", "t:1:1: error: the tag has no name" },
                { "{{/}}", "t:1:1: error: the tag has no name" },
                { "{{{ }}}", "t:1:1: error: the tag has no name" },
                { "{{if x}}", "t:1:1: error: the name 'if x' has a blank in it; a tag is one name and ends "
                              "in two braces" },
                { "{{#a\nb}}", "t:1:1: error: the name 'a?b' has a blank in it; a tag is one name and ends "
                               "in two braces" },
                { "{{a..b}}", "t:1:1: error: the name 'a..b' has an empty part" },
                { "{{.a}}", "t:1:1: error: the name '.a' has an empty part" },
                { "{{#a.}}", "t:1:1: error: the name 'a.' has an empty part" },
                { "{{>*..}}", "t:1:1: error: the name '..' has an empty part" },
                { "{{\xff a}}", "t:1:1: error: the name '? a' has a blank in it; a tag is one name and ends "
                                "in two braces" },
                { "{{123456789012345678901234567890123456789012345678901234567890123\xc3\xa4 }}{{#"
                  "123456789012345678901234567890123456789012345678901234567890123\xc3\xa4}}",
                        "t:1:70: error: section '"
                        "123456789012345678901234567890123456789012345678901234567890123…' opened at line 1 "
                        "is not closed" },
        };

        run_cases(false, cases, ELEMENTSOF(cases));
        run_cases(true, cases, ELEMENTSOF(cases) - 1);
}

TEST(places_in_strings_of_a_role) {
        static const struct {
                const char *text;
                bool multiline;
                Place place;
                const char *expected;
                bool inline_;
        } cases[] = {
                /* content = "a {{x}}" at 7:11 */
                { "a {{x}}", false, { "web.toml", 7, 11 }, "web.toml:7:14: error: undefined name 'x'" },
                { "\xc3\xa4{{x}}", false, { "web.toml", 7, 11 },
                        "web.toml:7:13: error: undefined name 'x'" },
                { "a\nb{{x}}", false, { "web.toml", 7, 11 }, "web.toml:7:16: error: undefined name 'x'" },
                { "a\n b{{x}}", true, { "web.toml", 7, 11 }, "web.toml:9:3: error: undefined name 'x'" },
                { "{{x}}", true, { "web.toml", 7, 11 }, "web.toml:8:1: error: undefined name 'x'" },
                { "{{x}}", true, { "web.toml", 7, 11 }, "web.toml:7:14: error: undefined name 'x'", true },
                { "a\n b{{x}}", true, { "web.toml", 7, 11 }, "web.toml:8:3: error: undefined name 'x'",
                        true },
                { "\n{{x}}", true, { "web.toml", 0, 0 }, "web.toml: error: undefined name 'x'" },
                { "\n{{x}}", false, {}, "error: undefined name 'x'" },
                { "\n{{#x}}", false, {}, "error: section 'x' is not closed" },
                { "\n{{#x}}", false, { "web.toml", 7, 0 },
                        "web.toml:7: error: section 'x' opened at line 7 is not closed" },
        };
        World world = world_new("{}");
        TemplateOptions options = { .strict = true };

        FOREACH_ELEMENT(c, cases) {
                Value string = value_string(&arena, c->text, strlen(c->text));
                TemplateSource source;

                string.place = c->place;
                string.multiline = c->multiline;
                string.inline_ = c->inline_;
                source = template_source_value(&string);
                ASSERT_STREQ(render_source(&options, &source, &world, NULL), c->expected);
        }
}

TEST(values_as_text) {
        static const struct {
                double real;
                const char *text;
        } floats[] = {
                { 1.0, "1.0" },
                { -0.0, "-0.0" },
                { 1.21, "1.21" },
                { 0.1, "0.1" },
                { 0.1 + 0.2, "0.30000000000000004" },
                { 1e22, "1e+22" },
                { 123456.0, "123456.0" },
                { 1.7976931348623157e308, "1.7976931348623157e+308" },
                { 5e-324, "5e-324" },
                { INFINITY, "inf" },
                { -INFINITY, "-inf" },
                { NAN, "nan" },
                { -NAN, "nan" },
        };
        World world = world_new("{\"i\": -9223372036854775808, \"t\": true, \"f\": false, \"n\": null}");
        Value date = value_string(&arena, "2026-01-02T03:04:05Z", 20), nul = value_string(&arena, "a\0b", 3),
              text;
        TemplateOptions strict = { .strict = true }, html = { .escape_html = true };
        TemplateSource source;

        ASSERT_STREQ(
                render(&strict, "{{i}} {{t}} {{f}} {{n}}.", &world), "-9223372036854775808 true false .");

        FOREACH_ELEMENT(c, floats) {
                Value value = value_float(c->real);

                (void) value_set(&arena, &world.root, "x", &value);
                ASSERT_STREQ(render(&strict, "{{x}}", &world), c->text);
        }

        for (ValueType type = VALUE_OFFSET_DATETIME; type <= VALUE_LOCAL_TIME; type++) {
                date.type = type;
                (void) value_set(&arena, &world.root, "x", &date);
                ASSERT_STREQ(render(&strict, "{{x}}", &world), "2026-01-02T03:04:05Z");
        }

        (void) value_set(&arena, &world.root, "x", &nul);
        source = template_source_file("t", "\0{{x}}\0{{#t}}\0{{/t}}", 20);
        (void) render_source(&html, &source, &world, &text);
        ASSERT_EQ(text.size, 6);
        assert_memory_equal(text.text, "\0a\0b\0\0", 7);
}

TEST(taint) {
        static const struct {
                const char *text;
                bool tainted;
        } cases[] = {
                { "{{vars.x}}", false },
                { "{{secrets.db}}", true },
                { "{{{secrets.db}}}", true },
                { "{{#secrets.db}}x{{/secrets.db}}", true },
                { "{{^secrets.db}}x{{/secrets.db}}", true },
                { "{{#secrets}}{{x}}{{/secrets}}", false }, /* which secrets there are is none */
                { "{{#secrets}}{{db}}{{/secrets}}", true },
                { "{{^vars.x}}{{secrets.db}}{{/vars.x}}", false }, /* not gone into */
                { "{{#vars.list}}{{/vars.list}}", true },          /* one item is */
                { "{{deep.a.b}}", true },                          /* the table is */
                { "{{#deep}}{{#a}}{{b}}{{/a}}{{/deep}}", true },
                { "{{^deep.a.c}}{{/deep.a.c}}", true },
                { "{{>plain}}", false },
                { "{{>tainted}}", true },
                { "{{>*secrets.file}}", true },
                { "{{!secrets.db}}", false },
        };
        World world = world_new(
                "{\"vars\": {\"x\": 1, \"list\": [1, 2]}, \"deep\": {\"a\": {\"b\": 1}},"
                " \"secrets\": {\"db\": \"hunter2\", \"x\": 1, \"file\": \"plain\", \"nope\": \"zzz\"}}");
        World files = world_new("{\"plain\": \"p\", \"tainted\": \"q\"}");
        TemplateOptions options = { .partial = table_partial, .userdata = &files.root }, strict = options;
        Value *secrets = &value_find(&world.root, "secrets", 7)->value, text;
        TemplateSource source;

        value_find(secrets, "db", 2)->value.tainted = true;
        value_find(secrets, "file", 4)->value.tainted = true;
        value_find(secrets, "nope", 4)->value.tainted = true;
        value_find(&world.root.members[0].value, "list", 4)->value.items[1].tainted = true;
        value_find(&world.root.members[1].value, "a", 1)->value.tainted = true;
        value_find(&files.root, "tainted", 7)->value.tainted = true;

        FOREACH_ELEMENT(c, cases) {
                source = template_source_file("t", c->text, strlen(c->text));
                text = (Value){};
                (void) render_source(&options, &source, &world, &text);
                ASSERT_EQ(text.type, VALUE_STRING);
                ASSERT_EQ(text.tainted, c->tainted);
        }

        /* No message shows a secret. */
        strict.strict = true;
        ASSERT_STREQ(render(&strict, "{{>*secrets.nope}}", &world),
                "t:1:1: error: there is no partial of the name that 'secrets.nope' holds");
        source = template_source_file("t", "{{vars.prot}}", 13);
        source.tainted = true;
        ASSERT_STREQ(
                render_source(&strict, &source, &world, NULL), "t:1:1: error: undefined name '<sensitive>'");
        source = template_source_file("t", "{{#prot}}", 9);
        source.tainted = true;
        ASSERT_STREQ(render_source(&strict, &source, &world, NULL),
                "t:1:1: error: section '<sensitive>' opened at line 1 is not closed");

        /* Without any tag as well. */
        source = template_source_file("t", "x", 1);
        source.tainted = true;
        (void) render_source(&options, &source, &world, &text);
        ASSERT_TRUE(text.tainted);
}

TEST(what_was_read_is_noted) {
        static const char *const cases[][2] = {
                { "{{facts.os.id}}{{facts.cpus}}", "facts.os.id facts.cpus " },
                { "{{#facts.os}}{{id}}{{/facts.os}}", "facts.os " },
                { "{{#facts.os}}{{id}}{{facts.cpus}}{{/facts.os}}", "facts.os facts.cpus " },
                { "{{^facts.nope.x}}{{/facts.nope.x}}", "facts.nope.x " },
                { "{{#vars.off}}{{facts.cpus}}{{/vars.off}}", "vars.off " },
                { "{{#vars.list}}{{vars.port}}{{.}}{{/vars.list}}", "vars.list vars.port vars.port " },
                { "{{>*vars.which}}", "vars.which vars.port " },
                { "{{vars.users.0.name}}{{vars.list.7}}", "vars.users vars.list.7 " },
                { "{{#facts.os.*}}{{/facts.os.*}}", "facts.os " },
                { "{{nowhere}}{{!vars.port}}", "" },
        };
        World files = world_new(partials);
        TemplateOptions options = { .partial = table_partial, .userdata = &files.root };

        FOREACH_ELEMENT(c, cases) {
                World world = world_new(data);

                (void) render(&options, (*c)[0], &world);
                ASSERT_STREQ(world.noted, (*c)[1]);
        }
}

TEST(values_come_back_with_their_place) {
        Value table = value_table(), port = value_integer(80), plain = value_string(&arena, "plain", 5);
        Value tagged = value_string(&arena, "p{{port}}", 9), text;
        Scope scope;
        Diagnostic e;

        (void) value_set(&arena, &table, "port", &port);
        scope = scope_from_table(&table);
        plain.place = tagged.place = (Place){ "r.toml", 3, 4 };
        plain.tainted = tagged.multiline = true;

        ASSERT_OK(template_render_value(&arena, NULL, &plain, &scope, &text, &e));
        ASSERT_TRUE(text.text == plain.text);
        ASSERT_TRUE(text.tainted);

        ASSERT_OK(template_render_value(&arena, NULL, &tagged, &scope, &text, &e));
        ASSERT_STREQ(text.text, "p80");
        ASSERT_EQ(text.place.column, 4);
        ASSERT_TRUE(text.multiline);
        ASSERT_FALSE(text.tainted);

        ASSERT_TRUE(template_has_tags("a{{", 3));
        ASSERT_FALSE(template_has_tags("a{{", 2));
        ASSERT_FALSE(template_has_tags("{ {", 3));
}

static const char *repeat(const char *text, size_t n) {
        size_t size = strlen(text);
        char *all = arena_alloc_text(&arena, size * n + 1);

        for (size_t i = 0; i < n; i++)
                memcpy(all + i * size, text, size);
        return all;
}

TEST(a_string_that_is_a_name_is_its_value) {
        static const struct {
                const char *text;
                ValueType type;
                const char *expected; /* of a string; or the error */
        } cases[] = {
                { "{{vars.port}}", VALUE_INTEGER, NULL },
                { "{{{vars.port}}}", VALUE_INTEGER, NULL },
                { "{{& vars.port }}", VALUE_INTEGER, NULL },
                { "{{ vars.list }}", VALUE_ARRAY, NULL },
                { "{{vars.list.0}}", VALUE_INTEGER, NULL },
                { "{{facts}}", VALUE_TABLE, NULL },
                { "{{facts.os.*}}", VALUE_ARRAY, NULL },
                { "{{vars.on}}", VALUE_BOOLEAN, NULL },
                { "{{vars.text}}", VALUE_STRING, "" },
                { "{{vars.html}}", VALUE_STRING, "<&>" },
                { "{{vars.port}} ", VALUE_STRING, "8080 " },
                { "{{vars.port}}{{vars.port}}", VALUE_STRING, "80808080" },
                { "{{#vars.port}}x{{/vars.port}}", VALUE_STRING, "x" },
                { "{{!x}}", VALUE_STRING, "" },
                { "{{=<% %>=}}", VALUE_STRING, "" },
                { "{{vars.prot}}", _VALUE_TYPE_MAX,
                        "undefined name 'vars.prot'; did you mean 'vars.port'?" },
                { "{{vars.}}", _VALUE_TYPE_MAX, "the name 'vars.' has an empty part" },
                { "{{vars..port}}", _VALUE_TYPE_MAX, "the name 'vars..port' has an empty part" },
                { "{{vars. port}}", _VALUE_TYPE_MAX,
                        "the name 'vars. port' has a blank in it; a tag is one name and ends in two "
                        "braces" },
                { "{{}}", _VALUE_TYPE_MAX, "the tag has no name" },
                { "{{.}}", _VALUE_TYPE_MAX, "'.' is undefined outside of sections" },
                { "{{vars.list}} ", _VALUE_TYPE_MAX,
                        "'vars.list' is an array and cannot be written as text" },
        };
        World world = world_new(data);
        const TemplateOptions options = { .strict = true };
        const Scope scope = world_scope(&world);

        FOREACH_ELEMENT(c, cases) {
                Value string = value_string(&arena, c->text, strlen(c->text)), value = {};
                Diagnostic e = {};
                int r;

                string.place = (Place){ "r.toml", 3, 4 };
                r = template_evaluate_value(&arena, &options, &string, &scope, &value, &e);
                if (c->type == _VALUE_TYPE_MAX) {
                        ASSERT_EQ(r, -EINVAL);
                        ASSERT_STREQ(e.message, c->expected);
                        ASSERT_EQ(e.place.column, 5);
                        continue;
                }
                ASSERT_OK(r);
                ASSERT_EQ(value.type, c->type);
                ASSERT_EQ(value.place.column, 4);
                if (c->expected)
                        ASSERT_STREQ(value.text, c->expected);
        }
}

TEST(hostile_templates_end) {
        const struct {
                const char *text;
                const char *expected;
        } cases[] = {
                { repeat("{{#a}}", KIB(1024) / 6),
                        "t:1:769: error: sections are nested more than 128 deep" },
                { repeat("{{<a}}", KIB(1024) / 6),
                        "t:1:769: error: sections are nested more than 128 deep" },
                { repeat("{{x}}", KIB(1024)),
                        "t:1:4999996: error: the template takes more than 1000000 steps" },
                { repeat("{{a", KIB(350)), "t:1:1: error: the tag is not closed: '}}' is missing" },
                { repeat("{", KIB(1024)), "t:1:1: error: the tag is not closed: '}}}' is missing" },
                { arena_printf(&arena, "{{%s}}", repeat("a.", KIB(512))),
                        arena_printf(&arena, "t:1:1: error: the name '%s…' has an empty part",
                                repeat("a.", 32)) },
                { arena_printf(&arena, "{{%sa}}", repeat("a.", KIB(512))), "" },
                { arena_printf(&arena, "{{=%s %s=}}", repeat("<", KIB(512)), repeat(">", KIB(512))), "" },
                { "{{>self}}", "self:1:1: error: partials are nested more than 32 deep" },
                { "{{>twice}}", "twice:1:1: error: partials are nested more than 32 deep" },
                { "{{>p0}}", "p28:1:9: error: the template takes more than 1000000 steps" },
                { "{{#l}}{{#l}}{{#l}}{{#l}}{{/l}}{{/l}}{{/l}}{{/l}}",
                        "t:1:19: error: the template takes more than 1000000 steps" },
                { "{{#l}}{{#l}}{{#l}}{{big}}{{/l}}{{/l}}{{/l}}",
                        "t:1:19: error: the output is larger than 16777216 bytes" },
                { "{{<p}}{{$a}}{{<p}}{{$a}}{{$a}}x{{/a}}{{/a}}{{/p}}{{/a}}{{/p}}", "x" },
                { "{{<loop}}{{$a}}{{$a}}{{>loop}}{{/a}}{{/a}}{{/loop}}",
                        "loop:1:1: error: partials are nested more than 32 deep" },
                { "{{<p}}{{$a}}{{>deep}}{{/a}}{{/p}}",
                        "deep:1:751: error: sections are nested more than 128 deep" },
                /* Thousands of arguments, thousands of blocks. */
                { arena_printf(&arena, "{{<many}}%s{{/many}}", repeat("{{$x}}{{/x}}", 20000)),
                        "many:1:553: error: the template takes more than 1000000 steps" },
                /* An indentation of many bytes, stripped again and again. */
                { arena_printf(&arena, "{{<many}}{{$m}}\n%s.\n{{/m}}{{/many}}", repeat(" ", KIB(256))),
                        "t:2:1: error: the template takes more than 1000000 steps" },
        };
        Value files = value_table(), file, root = value_table(), list = value_array(),
              zero = value_integer(0);
        TemplateOptions options = { .partial = table_partial, .userdata = &files };
        World world = { .noted = "" };
        const char *names[][2] = {
                { "self", "{{>self}}" },
                { "twice", "{{>twice}}{{>twice}}" },
                { "p", "{{$a}}{{/a}}" },
                { "loop", "{{<loop}}{{$a}}{{$a}}{{/a}}{{/a}}{{/loop}}" },
                { "deep", arena_printf(&arena, "%s%s", repeat("{{^a}}", 126), repeat("{{/a}}", 126)) },
                { "many", repeat("{{$m}}{{/m}}", 50000) },
        };

        FOREACH_ELEMENT(n, names) {
                file = value_string(&arena, (*n)[1], strlen((*n)[1]));
                (void) value_set(&arena, &files, (*n)[0], &file);
        }
        /* 2^30 times nothing. */
        for (int i = 0; i < 31; i++) {
                const char *text = i < 30 ? arena_printf(&arena, "{{>p%d}}{{>p%d}}", i + 1, i + 1) : "";

                file = value_string(&arena, text, strlen(text));
                (void) value_set(&arena, &files, arena_printf(&arena, "p%d", i), &file);
        }
        for (int i = 0; i < 1000; i++)
                (void) value_append(&arena, &list, &zero);
        file = value_string(&arena, repeat("x", KIB(64)), KIB(64));
        (void) value_set(&arena, &root, "l", &list);
        (void) value_set(&arena, &root, "big", &file);
        world.root = root;

        FOREACH_ELEMENT(c, cases) {
                usec_t before = now_usec(CLOCK_MONOTONIC);
                const char *text = render(&options, c->text, &world);

                ASSERT_STREQ(text, c->expected);
                /* Milliseconds, in truth; room for sanitizers and busy machines. */
                ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) - before < 5 * USEC_PER_SEC);
        }
}

TEST(limits_can_be_set) {
        static const struct {
                const char *text;
                TemplateOptions options;
                const char *expected;
        } cases[] = {
                { "12345", { .size_max = 5 }, "12345" },
                { "123456", { .size_max = 5 }, "t:1:1: error: the template is larger than 5 bytes" },
                { "{{vars.port}}{{vars.port}}", { .size_max = 30 }, "80808080" },
                { "{{#vars.list}}abcdefgh{{/vars.list}}-----", { .size_max = 41 }, "abcdefghabcdefgh-----" },
                { "{{#x}}{{#x}}{{/x}}{{/x}}", { .nesting_max = 2 }, "" },
                { "{{#x}}{{#x}}{{/x}}{{/x}}", { .nesting_max = 1 },
                        "t:1:7: error: sections are nested more than 1 deep" },
                { "{{>line}}", { .partial_depth_max = 1 }, "a 8080\nb\n" },
                { "{{>wrong}}{{>self}}", { .partial_depth_max = 1 },
                        "self:1:1: error: partials are nested more than 1 deep" },
                { "{{>self}}", { .nesting_max = 2 },
                        "self:1:1: error: sections are nested more than 2 deep" },
                { "a{{x}}b{{x}}", { .steps_max = 9 }, "ab" },
                { "a{{x}}b{{x}}", { .steps_max = 7 }, "t:1:8: error: the template takes more than 7 steps" },
                { "a{{x}}b{{x}}", { .steps_max = 3 }, "t:1:8: error: the template takes more than 3 steps" },
        };
        World world = world_new(data), files = world_new(partials);

        FOREACH_ELEMENT(c, cases) {
                TemplateOptions options = c->options;

                options.partial = table_partial;
                options.userdata = &files.root;
                ASSERT_STREQ(render(&options, c->text, &world), c->expected);
        }
}

RUN_TESTS(RUN(specification), RUN(rendering), RUN(strict_errors), RUN(lenient_misses), RUN(syntax_errors),
        RUN(places_in_strings_of_a_role), RUN(values_as_text), RUN(taint), RUN(what_was_read_is_noted),
        RUN(values_come_back_with_their_place), RUN(a_string_that_is_a_name_is_its_value),
        RUN(hostile_templates_end), RUN(limits_can_be_set))
