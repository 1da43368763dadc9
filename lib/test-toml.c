/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <jansson.h>
#include <math.h>
#include <time.h>

#include "test.h"
#include "toml.h"

static void full(Arena *arena, size_t wanted) {
        fail_msg("arena is full");
}

static void arena_setup(Arena *arena) {
        ASSERT_OK(arena_map(arena, GIB(4), full));
}

static void arena_unmapp(Arena *arena) {
        arena_unmap(arena);
}

#define _cleanup_arena_ _cleanup_(arena_unmapp)

static Value parse_sized(Arena *arena, const char *text, size_t size) {
        Diagnostic error = {};
        Value value;
        int r;

        r = toml_parse(arena, "x.toml", text, size, &value, &error);
        if (r != 0) {
                _cleanup_free_ char *line = diagnostic_format(&error);

                fail_msg("%s", line);
        }
        return value;
}

static Value parse(Arena *arena, const char *text) {
        return parse_sized(arena, text, strlen(text));
}

/* All of a value on one line: `key@line:column=value@line:column`, so that order and places can be compared. */
static void show(FILE *f, const Value *value) {
        const char *separator = "";

        switch (value->type) {
        case VALUE_TABLE:
                fputc('{', f);
                VALUE_FOREACH_MEMBER(member, value) {
                        ASSERT_EQ(strlen(member->key), member->key_size);
                        ASSERT_STREQ(member->place.file, "x.toml");
                        fprintf(f, "%s%s@%u:%u=", separator, member->key, member->place.line,
                                member->place.column);
                        show(f, &member->value);
                        separator = " ";
                }
                fputc('}', f);
                break;
        case VALUE_ARRAY:
                fputc('[', f);
                VALUE_FOREACH_ITEM(item, value) {
                        fputs(separator, f);
                        show(f, item);
                        separator = " ";
                }
                fputc(']', f);
                break;
        case VALUE_INTEGER: fprintf(f, "%lli", (long long) value->integer); break;
        case VALUE_BOOLEAN: fputs(value->boolean ? "true" : "false", f); break;
        case VALUE_FLOAT: fprintf(f, "%g", value->real); break;
        case VALUE_STRING: fprintf(f, value->multiline ? "'''%s'''" : "'%s'", value->text); break;
        default: fputs(value->text, f);
        }
        ASSERT_STREQ(value->place.file, "x.toml");
        fprintf(f, "@%u:%u", value->place.line, value->place.column);
}

TEST(places_and_order_are_those_of_the_source) {
        static const struct {
                const char *text, *shown;
        } cases[] = {
                { "", "{}@1:1" },
                { "\n# nothing\n", "{}@1:1" },
                { "b = 1\na = 2\n", "{b@1:1=1@1:5 a@2:1=2@2:5}@1:1" },
                { "\xef\xbb\xbf"
                  "b=1",
                        "{b@1:1=1@1:3}@1:1" },
                { "  b =\t1\r\n\ta= 2 # x\r\n", "{b@1:3=1@1:7 a@2:2=2@2:5}@1:1" },
                { "'\xc3\xa4' = '\xf0\x9f\x98\x80' # x", "{\xc3\xa4@1:1='\xf0\x9f\x98\x80'@1:7}@1:1" },
                { "z = ['\xc3\xa4', 2, [3.5, true], {}]\n",
                        "{z@1:1=['\xc3\xa4'@1:6 2@1:11 [3.5@1:15 true@1:20]@1:14 {}@1:27]@1:5}@1:1" },
                { "a = [\n  1, # one\n  2,\n]", "{a@1:1=[1@2:3 2@3:3]@1:5}@1:1" },
                { "t = { b = 1, a.z = 2, c = 3, a.y = 4 }", "{t@1:1={b@1:7=1@1:11 a@1:14={z@1:16=2@1:20 "
                                                            "y@1:32=4@1:36}@1:14 c@1:23=3@1:27}@1:5}@1:1" },
                /* Headers. */
                { "[b]\n[a]\n", "{b@1:2={}@1:1 a@2:2={}@2:1}@1:1" },
                { "x = 1\n [ b . a ]\ny=2", "{x@1:1=1@1:5 b@2:4={a@2:8={y@3:1=2@3:3}@2:2}@2:2}@1:1" },
                { "[f.\"/b\"]\n[s.x]\n[f.\"/a\"]\n[s.w]\n[f.\"/c\"]\n",
                        "{f@1:2={/b@1:4={}@1:1 /a@3:4={}@3:1 /c@5:4={}@5:1}@1:1"
                        " s@2:2={x@2:4={}@2:1 w@4:4={}@4:1}@2:1}@1:1" },
                /* A table whose header comes after that of one within it: in the order of names, placed at its own. */
                { "[a.b]\n[c]\n[a]\nz = 1\n", "{a@1:2={b@1:4={}@1:1 z@4:1=1@4:5}@3:1 c@2:2={}@2:1}@1:1" },
                { "[a.b.c]\n[a.b]\n", "{a@1:2={b@1:4={c@1:6={}@1:1}@2:1}@1:1}@1:1" },
                { "[z]\nz = 1\n[z.y]\n[z.a]\n", "{z@1:2={z@2:1=1@2:5 y@3:4={}@3:1 a@4:4={}@4:1}@1:1}@1:1" },
                /* Dotted keys. */
                { "b.y = 1\na = 2\nb.x = 3\n", "{b@1:1={y@1:3=1@1:7 x@3:3=3@3:7}@1:1 a@2:1=2@2:5}@1:1" },
                { "[t]\nb . y.z = 1\n", "{t@1:2={b@2:1={y@2:5={z@2:7=1@2:11}@2:5}@2:1}@1:1}@1:1" },
                /* Arrays of tables. */
                { "[[b]]\nx = 1\n[[a]]\n[[b]]\ny = 2\n",
                        "{b@1:3=[{x@2:1=1@2:5}@1:1 {y@5:1=2@5:5}@4:1]@1:1 a@3:3=[{}@3:1]@3:1}@1:1" },
                { "[[b]]\n[b.z]\n[[b.y]]\n[[b]]\n[b.z.a]\n", "{b@1:3=[{z@2:4={}@2:1 y@3:5=[{}@3:1]@3:1}@1:1 "
                                                             "{z@5:4={a@5:6={}@5:1}@5:1}@4:1]@1:1}@1:1" },
                /* Strings. */
                { "a = \"\"\"x\"\"\"\nb = \"\"\nc = '''x\n'''\nd = ['', '''y''', 'z', \"\"\"\"\"\"]",
                        "{a@1:1='''x'''@1:5 b@2:1=''@2:5 c@3:1='''x\n'''@3:5"
                        " d@5:1=[''@5:6 '''y'''@5:10 'z'@5:19 ''''''@5:24]@5:5}@1:1" },
                /* Visited out of the order of the source. */
                { "t = { a.z = '''1''', b = '''2''', a.y = '''3''', c = '''4''', d = '5' }",
                        "{t@1:1={a@1:7={z@1:9='''1'''@1:13 y@1:37='''3'''@1:41}@1:7 b@1:22='''2'''@1:26"
                        " c@1:50='''4'''@1:54 d@1:63='5'@1:67}@1:5}@1:1" },
                /* Date-times. */
                { "a = 1979-05-27t07:32:00z\n", "{a@1:1=1979-05-27T07:32:00Z@1:5}@1:1" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_arena_ Arena arena = {};
                _cleanup_free_ char *shown = NULL;
                Value value;
                size_t size;
                FILE *f;

                arena_setup(&arena);
                value = parse(&arena, c->text);
                f = open_memstream(&shown, &size);
                show(f, &value);
                fclose(f);
                ASSERT_STREQ(shown, c->shown);
        }
}

TEST(date_times_are_normalised) {
        static const struct {
                const char *text;
                ValueType type;
                const char *normalised;
        } cases[] = {
                { "1979-05-27T07:32:00Z", VALUE_OFFSET_DATETIME, "1979-05-27T07:32:00Z" },
                { "1979-05-27 07:32:00z", VALUE_OFFSET_DATETIME, "1979-05-27T07:32:00Z" },
                { "1979-05-27t00:32:00.999999-07:00", VALUE_OFFSET_DATETIME,
                        "1979-05-27T00:32:00.999999-07:00" },
                { "1979-05-27T00:32:00.500+05:30", VALUE_OFFSET_DATETIME, "1979-05-27T00:32:00.5+05:30" },
                { "1979-05-27T00:32:00.000-00:00", VALUE_OFFSET_DATETIME, "1979-05-27T00:32:00Z" },
                { "1979-05-27T00:32:00-00:30", VALUE_OFFSET_DATETIME, "1979-05-27T00:32:00-00:30" },
                { "1979-05-27T00:32:00+23:59", VALUE_OFFSET_DATETIME, "1979-05-27T00:32:00+23:59" },
                { "1979-05-27T07:32:00", VALUE_LOCAL_DATETIME, "1979-05-27T07:32:00" },
                { "1979-05-27 07:32:00.000000001", VALUE_LOCAL_DATETIME, "1979-05-27T07:32:00.000000001" },
                { "0001-01-01", VALUE_LOCAL_DATE, "0001-01-01" },
                { "9999-12-31", VALUE_LOCAL_DATE, "9999-12-31" },
                { "07:32:00", VALUE_LOCAL_TIME, "07:32:00" },
                { "00:00:00.10", VALUE_LOCAL_TIME, "00:00:00.1" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_arena_ Arena arena = {};
                char text[64];
                Value value;
                const Value *a;

                arena_setup(&arena);
                snprintf(text, sizeof(text), "a = %s", c->text);
                value = parse(&arena, text);
                a = value_get(&value, "a");
                ASSERT_EQ(a->type, c->type);
                ASSERT_STREQ(a->text, c->normalised);
                ASSERT_EQ(a->size, strlen(c->normalised));
        }
}

TEST(scalars) {
        _cleanup_arena_ Arena arena = {};
        Value value;
        const Value *s;
        Member *m;

        arena_setup(&arena);
        value = parse(&arena, "inf = inf\nminf = -inf\nnan = nan\nmax = 9223372036854775807\n"
                              "min = -9223372036854775808\nhex = 0xff\nf = 1e3\nt = true\n"
                              "s = \"a\\u0000b\"\n\"k\\u0000\" = 1\n\"k\" = 2\n");

        ASSERT_TRUE(isinf(value_get(&value, "inf")->real) && value_get(&value, "inf")->real > 0);
        ASSERT_TRUE(isinf(value_get(&value, "minf")->real) && value_get(&value, "minf")->real < 0);
        ASSERT_TRUE(isnan(value_get(&value, "nan")->real));
        ASSERT_TRUE(value_get(&value, "max")->integer == INT64_MAX);
        ASSERT_TRUE(value_get(&value, "min")->integer == INT64_MIN);
        ASSERT_EQ(value_get(&value, "hex")->integer, 255);
        ASSERT_EQ(value_get(&value, "f")->type, VALUE_FLOAT);
        ASSERT_TRUE(value_get(&value, "f")->real == 1000);
        ASSERT_TRUE(value_get(&value, "t")->boolean);

        s = value_get(&value, "s");
        ASSERT_EQ(s->size, 3);
        assert_memory_equal(s->text, "a\0b", 4);
        m = value_find(&value, "k\0", 2);
        ASSERT_NOT_NULL(m);
        ASSERT_EQ(m->value.integer, 1);
        ASSERT_EQ(value_get(&value, "k")->integer, 2);
}

TEST(errors_tell_where_and_what) {
        static const struct {
                const char *text;
                const char *error;
        } cases[] = {
                { "a = ", "x.toml:1:5: error: unexpected end of file: expected a key, '=' and a value" },
                { "a", "x.toml:1:2: error: unexpected end of file: expected a key, '=' and a value" },
                { "a = '''\nx", "x.toml:2:2: error: unexpected end of file in a string: the closing quotes "
                                "are missing" },
                { "a = [1",
                        "x.toml:1:7: error: unexpected end of file in array: the closing ']' is missing" },
                { "[a", "x.toml:1:3: error: unexpected end of file in table header: the closing ']' is "
                        "missing" },
                { "a = {b=1", "x.toml:1:9: error: unexpected end of file in inline table: the closing '}' "
                              "is missing" },
                { "a = {b = 1\n}", "x.toml:1:11: error: an inline table must be on one line: expected '}' "
                                   "or more of it" },
                { "a = 1\nb = \"x\r\nc = 1", "x.toml:2:7: error: unexpected end of line in a string: the "
                                             "closing quote is missing" },
                { "a = 1\nmode = 0644\n", "x.toml:2:8: error: a number may not begin with 0; was a string "
                                          "in quotes meant, as in mode = \"0644\"?" },
                { "\xef\xbb\xbf"
                  "a = -00",
                        "x.toml:1:5: error: a number may not begin with 0; was a string in quotes meant, as "
                        "in mode = \"0644\"?" },
                { "'\xc3\xa4' = [00]", "x.toml:1:8: error: a number may not begin with 0; was a string in "
                                       "quotes meant, as in mode = \"0644\"?" },
                { "ensure = present\n",
                        "x.toml:1:10: error: expected a value (strings are written in quotes)" },
                { "a = 1\na = 2\n", "x.toml:2:5: error: cannot redefine existing integer 'a'; it may be "
                                    "written only once" },
                { "[a]\nb = 1\n[c]\n[a]\n", "x.toml:4:1: error: cannot redefine existing table 'a'; it may "
                                            "be written only once" },
                { "a = [1, 2\nb = 3\n", "x.toml:2:1: error: expected comma or closing ']', saw 'b'" },
                { "a = 1 b = 2", "x.toml:1:7: error: expected a comment or the end of the line, saw 'b'" },
                { "a = \"\\q\"", "x.toml:1:7: error: unknown escape sequence '\\q'" },
                { "[]", "x.toml:1:2: error: expected the table's name between the brackets" },
                { "\xc3\xa4 = 1",
                        "x.toml:1:1: error: expected a key, a [table] or a comment, saw '\xc3\xa4'" },
                { "a = \"\xc3\xa4\xff\"", "x.toml:1:7: error: not UTF-8: unexpected byte 0xff" },
                { "a = 2000-13-01\n",
                        "x.toml:1:12: error: expected month between 1 and 12 (inclusive), saw 13" },
                { "a = tru\n", "x.toml:1:8: error: expected 'true', saw 'tru'" },
                { "a = 99999999999999999999",
                        "x.toml:1:25: error: '99999999999999999999' is not representable in 64 bits" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_arena_ Arena arena = {};
                _cleanup_free_ char *line = NULL;
                Diagnostic error = {};
                Value value = { .type = VALUE_BOOLEAN };

                arena_setup(&arena);
                ASSERT_EQ(toml_parse(&arena, "x.toml", c->text, strlen(c->text), &value, &error), -EINVAL);
                ASSERT_EQ(value.type, VALUE_BOOLEAN); /* a failing call leaves its output alone */
                line = diagnostic_format(&error);
                ASSERT_STREQ(line, c->error);
        }
}

/* The message quotes the key, of which the library keeps 512 bytes: the cut may be within a character. */
TEST(long_keys_in_errors_stay_utf8) {
        for (size_t n = 200; n < 260; n++) {
                _cleanup_arena_ Arena arena = {};
                _cleanup_free_ char *key = calloc(n + 1, 3), *text = NULL;
                Diagnostic error = {};
                Value value;

                for (size_t i = 0; i < n; i++)
                        strcpy(key + i * 3, "\xe2\x82\xac");
                ASSERT_TRUE(asprintf(&text, "%s'%s' = 1\n'%s' = 2\n", n % 2 ? "'a'." : "", key, key) > 0);
                if (n % 2)
                        strcat(strcpy(strchr(text, '\n'), "\n"), "'a' = 1\n");

                arena_setup(&arena);
                ASSERT_EQ(toml_parse(&arena, NULL, text, strlen(text), &value, &error), -EINVAL);
                ASSERT_EQ(error.place.line, 2);
                ASSERT_TRUE(utf8_is_valid(error.message, strlen(error.message)));
                ASSERT_NULL(strchr(error.message, '\n'));
        }
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static char *repeat(const char *format, size_t n) {
        size_t size;
        char *text;
        FILE *f = open_memstream(&text, &size);

        for (size_t i = 0; i < n; i++)
                fprintf(f, format, (int) (n - i), (int) i);
        fclose(f);
        return text;
}
#pragma GCC diagnostic pop

/* None of these takes more than a second or two, the sanitizers included; quadratic ones would take minutes. */
TEST(large_documents_are_near_linear) {
        static const struct {
                const char *format;
                size_t n;
        } cases[] = {
                { "k%d = %d\n", 200000 },
                { "[k%d]\na = %d\n", 100000 },
                { "[file.\"/etc/%d\"]\na = %d\n", 60000 },
                { "[[a]]\nk%d = %d\n", 60000 },
                { "k%d.a = %d\n", 20000 },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_arena_ Arena arena = {};
                _cleanup_free_ char *text = repeat(c->format, c->n);
                usec_t start = now_usec(CLOCK_PROCESS_CPUTIME_ID), took;
                Value value;

                arena_setup(&arena);
                value = parse(&arena, text);
                ASSERT_TRUE(value.n_members > 0);
                took = now_usec(CLOCK_PROCESS_CPUTIME_ID) - start;
                if (took > 20 * USEC_PER_SEC)
                        fail_msg("%s took %s", c->format, FORMAT_TIMESPAN(took));
        }

        /* One line, many strings, visited out of order. */
        {
                _cleanup_arena_ Arena arena = {};
                _cleanup_free_ char *first = repeat("a%d.x='''%d''',", 20000),
                                    *second = repeat("a%d.y='''%d''',", 20000), *text = NULL;
                Value value;

                ASSERT_TRUE(asprintf(&text, "t = {%s%sz = 1}", first, second) > 0);
                arena_setup(&arena);
                value = parse(&arena, text);
                ASSERT_EQ(value.members[0].value.n_members, 20001);
                VALUE_FOREACH_MEMBER(member, &value.members[0].value)
                        if (member->value.type == VALUE_TABLE) {
                                ASSERT_EQ(member->value.n_members, 2);
                                VALUE_FOREACH_MEMBER(leaf, &member->value)
                                        ASSERT_TRUE(leaf->value.multiline);
                        }
        }
}

TEST(hostile_nesting_is_refused) {
        static const struct {
                const char *head, *piece;
                size_t n;
        } cases[] = {
                { "a = ", "[", 100000 },
                { "a = ", "{a=", 100000 },
                { "a", ".a", 50000 },
                { "[a", ".a", 50000 },
                { "[[a", ".a", 50000 },
                { "a = [\n", "[\n", 1000000 },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_arena_ Arena arena = {};
                _cleanup_free_ char *pieces = repeat(c->piece, c->n), *text = NULL;
                usec_t start = now_usec(CLOCK_PROCESS_CPUTIME_ID);
                Diagnostic error = {};
                Value value;

                ASSERT_TRUE(asprintf(&text, "%s%s", c->head, pieces) > 0);
                arena_setup(&arena);
                ASSERT_EQ(toml_parse(&arena, "x.toml", text, strlen(text), &value, &error), -EINVAL);
                ASSERT_TRUE(error.place.line > 0 && error.place.column > 0);
                ASSERT_TRUE(now_usec(CLOCK_PROCESS_CPUTIME_ID) - start < 5 * USEC_PER_SEC);
        }
}

/* As deep as the limits let it be, the library and our walk must not overflow a stack. */
TEST(deepest_documents_are_read) {
        _cleanup_arena_ Arena arena = {};
        FILE *f;
        _cleanup_free_ char *text = NULL;
        size_t size, depth = 0;
        Value value;

        f = open_memstream(&text, &size);
        fputs("[[a", f);
        for (int i = 1; i < TOML_KEY_PARTS_MAX; i++) {
                /* [[a]] [[a.a]] … so that each part is an array of tables */
                fputs("]]\n[[a", f);
                for (int k = 0; k < i; k++)
                        fputs(".a", f);
        }
        fputs("]]\na = ", f);
        for (int i = 0; i < TOML_DEPTH_MAX - TOML_KEY_PARTS_MAX - 1; i++)
                fputc('[', f);
        for (int i = 0; i < TOML_DEPTH_MAX - TOML_KEY_PARTS_MAX - 1; i++)
                fputc(']', f);
        fclose(f);

        arena_setup(&arena);
        value = parse(&arena, text);
        for (const Value *v = &value; v; depth++)
                if (v->type == VALUE_TABLE)
                        v = v->n_members > 0 ? &v->members[0].value : NULL;
                else
                        v = v->n_items > 0 ? &v->items[0] : NULL;
        ASSERT_EQ(depth, 1 + 2 * TOML_KEY_PARTS_MAX + TOML_DEPTH_MAX - TOML_KEY_PARTS_MAX - 1);
        ASSERT_TRUE(depth <= 2 * TOML_DEPTH_MAX);
}

/*
 * The conformance suite: documents with the tagged JSON that they must decode to ({"type": "integer", "value": "1"}
 * for each scalar), and documents that must be refused.
 */

static char *read_whole(const char *path, size_t *ret_size) {
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        char *text = NULL;
        size_t size = 0;

        if (!f)
                fail_msg("Failed to open '%s'", path);
        if (getdelim(&text, &size, EOF, f) < 0) { /* an empty one */
                *ret_size = 0;
                return text;
        }
        *ret_size = (size_t) ftell(f);
        return text;
}

/*
 * jansson takes no NUL in keys: there and in our values it becomes U+F8FF, which no document of the suite has.
 */
static char *without_nul(char *text) {
        for (char *p = text; (p = strchr(p, '\\')); p += 2)
                if (startswith(p, "\\u0000"))
                        memcpy(p, "\\uf8ff", 6);
        return text;
}

static bool same_text(const char *is, size_t is_size, const char *should) {
        for (size_t i = 0; i < is_size; i++)
                if (is[i] != 0) {
                        if (is[i] != *should++)
                                return false;
                } else {
                        should = startswith(should, "\xef\xa3\xbf");
                        if (!should)
                                return false;
                }
        return *should == 0;
}

/* Fractions of seconds without trailing zeros: the suite writes .600, as do some implementations. */
static char *without_trailing_zeros(const char *text) {
        char *copy = strdup(text), *dot = strchr(copy, '.'), *end, *zeros;

        if (dot) {
                end = dot + 1 + strspn(dot + 1, "0123456789");
                for (zeros = end; zeros[-1] == '0'; zeros--)
                        ;
                if (zeros[-1] == '.')
                        zeros--;
                memmove(zeros, end, strlen(end) + 1);
        }
        return copy;
}

static bool matches(const Value *value, const json_t *expected) {
        static const struct {
                const char *name;
                ValueType type;
        } types[] = {
                { "string", VALUE_STRING },
                { "integer", VALUE_INTEGER },
                { "float", VALUE_FLOAT },
                { "bool", VALUE_BOOLEAN },
                { "datetime", VALUE_OFFSET_DATETIME },
                { "datetime-local", VALUE_LOCAL_DATETIME },
                { "date-local", VALUE_LOCAL_DATE },
                { "time-local", VALUE_LOCAL_TIME },
        };
        const json_t *tag, *text;

        if (json_is_array(expected)) {
                if (value->type != VALUE_ARRAY || value->n_items != json_array_size(expected))
                        return false;
                for (uint32_t i = 0; i < value->n_items; i++)
                        if (!matches(&value->items[i], json_array_get(expected, i)))
                                return false;
                return true;
        }

        tag = json_object_get(expected, "type");
        text = json_object_get(expected, "value");
        if (!json_is_string(tag) || !json_is_string(text)) {
                const char *key;
                json_t *item;

                if (value->type != VALUE_TABLE || value->n_members != json_object_size(expected))
                        return false;
                json_object_foreach((json_t *) expected, key, item) {
                        Member *member = NULL;

                        VALUE_FOREACH_MEMBER(m, value)
                                if (same_text(m->key, m->key_size, key))
                                        member = m;
                        if (!member || !matches(&member->value, item))
                                return false;
                }
                return true;
        }

        FOREACH_ELEMENT(t, types)
                if (streq(json_string_value(tag), t->name) && value->type != t->type)
                        return false;

        switch (value->type) {
        case VALUE_STRING: return same_text(value->text, value->size, json_string_value(text));
        case VALUE_INTEGER: return value->integer == strtoll(json_string_value(text), NULL, 10);
        case VALUE_FLOAT: {
                double d = strtod(json_string_value(text), NULL);

                return isnan(d) ? isnan(value->real) : value->real == d;
        }
        case VALUE_BOOLEAN: return streq(json_string_value(text), value->boolean ? "true" : "false");
        case VALUE_ARRAY:
        case VALUE_TABLE:
        case VALUE_NULL: return false;
        default: {
                _cleanup_free_ char *is = without_trailing_zeros(value->text),
                                    *should = without_trailing_zeros(json_string_value(text));

                return streq(is, should);
        }
        }
}

/* "" if the document does what the suite says, else what is wrong. */
static const char *conformance_case(const char *directory, const char *name) {
        _cleanup_arena_ Arena arena = {};
        _cleanup_free_ char *path = NULL, *text = NULL, *json = NULL;
        Diagnostic error = {};
        json_t *expected;
        Value value;
        size_t size;
        bool ok;
        int r;

        ASSERT_TRUE(asprintf(&path, "%s/%s", directory, name) > 0);
        text = read_whole(path, &size);
        arena_setup(&arena);
        r = toml_parse(&arena, name, text, size, &value, &error);

        if (startswith(name, "invalid/")) {
                if (r == 0)
                        return "accepted";
                if (r != -EINVAL || error.place.line == 0 || error.place.column == 0 || !error.message ||
                        !utf8_is_valid(error.message, strlen(error.message)))
                        return "refused without a proper error";
                return "";
        }

        if (r != 0)
                return "refused";
        strcpy(path + strlen(path) - strlen(".toml"), ".json");
        json = read_whole(path, &size);
        expected = json_loads(without_nul(json), 0, NULL);
        if (!expected)
                return "its JSON cannot be read";
        ok = matches(&value, expected);
        json_decref(expected);
        return ok ? "" : "decoded to something else";
}

TEST(conformance_suite_passes) {
        _cleanup_free_ char *directory = NULL, *list = NULL, *line = NULL;
        _cleanup_fclose_ FILE *f = NULL;
        unsigned n_valid = 0, n_invalid = 0, n_failed = 0;
        size_t allocated = 0;
        ssize_t n;

        ASSERT_NOT_NULL(getenv("TEST_DATA"));
        ASSERT_TRUE(asprintf(&directory, "%s/toml-test/tests", getenv("TEST_DATA")) > 0);
        ASSERT_TRUE(asprintf(&list, "%s/files-toml-1.0.0", directory) > 0);
        f = fopen(list, "re");
        ASSERT_NOT_NULL(f);

        while ((n = getline(&line, &allocated, f)) > 0) {
                const char *problem;

                line[strcspn(line, "\n")] = 0;
                if (!endswith(line, ".toml"))
                        continue;
                if (startswith(line, "valid/"))
                        n_valid++;
                else
                        n_invalid++;

                problem = conformance_case(directory, line);
                if (!streq(problem, "")) {
                        print_message("# %s: %s\n", line, problem);
                        n_failed++;
                }
        }

        ASSERT_EQ(n_valid, 210);
        ASSERT_EQ(n_invalid, 499);
        ASSERT_EQ(n_failed, 0);
}

RUN_TESTS(RUN(places_and_order_are_those_of_the_source), RUN(date_times_are_normalised), RUN(scalars),
        RUN(errors_tell_where_and_what), RUN(long_keys_in_errors_stay_utf8),
        RUN(large_documents_are_near_linear), RUN(hostile_nesting_is_refused),
        RUN(deepest_documents_are_read), RUN(conformance_suite_passes))
