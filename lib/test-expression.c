/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "expression.h"
#include "test.h"

/* What the expressions below can see. */
typedef struct World {
        Arena arena;
        Value names;
        Scope scope;
        HelperSet helpers;
        ExpressionContext context;
        char noted[1024]; /* each name with a space after it */
} World;

static const Value *world_lookup(void *userdata, const char *name, size_t size) {
        return scope_table_lookup(&((World *) userdata)->names, name, size);
}

static const char *world_nth(void *userdata, size_t n) {
        return scope_table_nth(&((World *) userdata)->names, n);
}

static void world_noted(void *userdata, const char *name, size_t size) {
        World *w = userdata;
        size_t n = strlen(w->noted);

        ASSERT_EQ(strlen(name), size);
        (void) snprintf(w->noted + n, sizeof(w->noted) - n, "%s ", name);
}

static Value text(Arena *arena, const char *s) {
        return value_string(arena, s, strlen(s));
}

static void set(Arena *arena, Value *table, const char *key, Value value) {
        (void) value_set(arena, table, key, &value);
}

static void world_init(World *w) {
        Value vars = value_table(), os = value_table(), facts = value_table(), secrets = value_table();
        Value admins = value_array(), like = value_array(), local = value_table(), table = value_table();

        *w = (World){};
        ASSERT_OK(arena_map(&w->arena, MIB(256), NULL));
        Arena *a = &w->arena;

        set(a, &os, "id", text(a, "debian"));
        set(a, &os, "version_id", text(a, "12"));
        set(a, &os, "nothing", (Value){});
        (void) value_append(a, &like, &(Value){ .type = VALUE_STRING, .text = "linux", .size = 5 });
        (void) value_append(a, &like, &(Value){ .type = VALUE_STRING, .text = "unix", .size = 4 });
        set(a, &os, "like", like);
        set(a, &local, "my key", value_integer(3));
        set(a, &local, "3com", value_integer(4));
        set(a, &local, "in", value_integer(5));
        set(a, &facts, "os", os);
        set(a, &facts, "local", local);

        for (int i = 0; i < 2; i++) {
                Value admin = value_table();

                set(a, &admin, "name", text(a, i == 0 ? "ada" : "bob"));
                set(a, &admin, "uid", value_integer(1000 + i));
                (void) value_append(a, &admins, &admin);
        }
        set(a, &vars, "port", value_integer(8080));
        set(a, &vars, "my-port", value_integer(81));
        set(a, &vars, "ratio", value_float(1.5));
        set(a, &vars, "on", value_boolean(true));
        set(a, &vars, "name", text(a, "wäb"));
        set(a, &vars, "admins", admins);
        set(a, &vars, "empty", value_array());
        set(a, &table, "b", value_integer(1));
        set(a, &table, "a", value_integer(2));
        set(a, &vars, "table", table);
        Value people = value_table(), ada = value_table(), groups = value_array(), adm = text(a, "adm"),
              sudo = text(a, "sudo");
        (void) value_append(a, &groups, &adm);
        (void) value_append(a, &groups, &sudo);
        set(a, &ada, "groups", groups);
        set(a, &ada, "files", table);
        set(a, &people, "ada", ada);
        set(a, &people, "bob", value_table());
        set(a, &vars, "people", people);
        set(a, &vars, "date",
                (Value){ .type = VALUE_LOCAL_DATE, .text = arena_strdup(a, "2024-02-29"), .size = 10 });

        Value db = text(a, "hunter2"), pair = value_array(), one = value_integer(1);
        db.tainted = true;
        (void) value_append(a, &pair, &one);
        (void) value_append(a, &pair, &db);
        set(a, &vars, "pair", pair);
        set(a, &secrets, "db", db);
        Value vault = value_table();
        set(a, &vault, "inner", text(a, "deep"));
        vault.tainted = true;
        set(a, &secrets, "vault", vault);

        w->names = value_table();
        set(a, &w->names, "vars", vars);
        set(a, &w->names, "facts", facts);
        set(a, &w->names, "secrets", secrets);
        w->scope = (Scope){
                .lookup = world_lookup,
                .noted = world_noted,
                .nth = world_nth,
                .userdata = w,
        };
        w->helpers = helper_set(-1);
        w->context = (ExpressionContext){
                .scratch = &w->arena,
                .scope = &w->scope,
                .helpers = &w->helpers,
        };
}

static void world_done(World *w) {
        arena_unmap(&w->arena);
}

/* A value as an expression would be written. */
static const char *render(Arena *a, const Value *v) {
        const char *s = "", *comma = "";

        switch (v->type) {
        case VALUE_NULL: return "null";
        case VALUE_BOOLEAN: return v->boolean ? "true" : "false";
        case VALUE_INTEGER: return arena_printf(a, "%lld", (long long) v->integer);
        case VALUE_FLOAT: return arena_printf(a, "%.17gf", v->real);
        case VALUE_ARRAY:
                VALUE_FOREACH_ITEM(item, v) {
                        s = arena_printf(a, "%s%s%s", s, comma, render(a, item));
                        comma = ", ";
                }
                return arena_printf(a, "[%s]", s);
        case VALUE_TABLE:
                VALUE_FOREACH_MEMBER(member, v) {
                        s = arena_printf(a, "%s%s%s=%s", s, comma, member->key, render(a, &member->value));
                        comma = ", ";
                }
                return arena_printf(a, "{%s}", s);
        default: ASSERT_EQ(strlen(v->text), v->size); return arena_printf(a, "'%s'", v->text);
        }
}

static const Place PLACE = { "web.toml", 7, 8 };

static int evaluate(World *w, const char *source, Value *ret, Diagnostic *reterr) {
        Expression *e;
        int r;

        r = expression_parse(&w->arena, PLACE, source, strlen(source), &e, reterr);
        if (r < 0)
                return r;
        return expression_evaluate(&w->context, e, ret, reterr);
}

/* Parse, fold, and what is left, or else the value. */
static int fold(World *w, const char *source, unsigned flags, Expression **ret, Diagnostic *reterr) {
        Expression *e;
        int r;

        r = expression_parse(&w->arena, PLACE, source, strlen(source), &e, reterr);
        if (r < 0)
                return r;
        return expression_fold(&w->context, e, flags, &w->arena, ret, reterr);
}

TEST(values) {
        static const struct {
                const char *source, *value;
        } cases[] = {
                /* literals */
                { "true", "true" },
                { "null", "null" },
                { "12", "12" },
                { "-12", "-12" },
                { "0", "0" },
                { "9223372036854775807", "9223372036854775807" },
                { "-9223372036854775808", "-9223372036854775808" },
                { "1.5", "1.5f" },
                { "-0.5", "-0.5f" },
                { "1e3", "1000f" },
                { "1.25e-2", "0.012500000000000001f" },
                { "''", "''" },
                { "'a\"b'", "'a\"b'" },
                { "\"a'b\"", "'a'b'" },
                { "'\\n\\t\\r\\\\\\'\\\"'", "'\n\t\r\\'\"'" },
                { "'\\u00e4\\U0001F600'", "'ä😀'" },
                { "[]", "[]" },
                { "[1, 'a', [true],]", "[1, 'a', [true]]" },
                { " \n\t ( 1 ) ", "1" },

                /* names */
                { "facts.os.id", "'debian'" },
                { "facts['os'].id", "'debian'" },
                { "facts [ \"os\" ] . id", "'debian'" },
                { "facts.local['my key']", "3" },
                { "facts.local.3com", "4" },
                { "facts.local.in", "5" },
                { "vars.my-port", "81" },
                { "vars.admins[0].name", "'ada'" },
                { "vars.admins[-1].name", "'bob'" },
                { "vars.admins[-2].name", "'ada'" },
                { "['a', 'b'][1]", "'b'" },
                { "vars", NULL },

                /* and, or, not, and who binds closer */
                { "true or false and false", "true" },
                { "(true or false) and false", "false" },
                { "not true or true", "true" },
                { "not (true or true)", "false" },
                { "not not true", "true" },
                { "not 1 == 2", "true" },
                { "not 1 in [1]", "false" },
                { "1 == 1 and 2 == 2 and 3 == 3", "true" },
                { "false or false or 1 < 2", "true" },
                { "false and vars.typo", "false" },
                { "true or vars.typo or 1", "true" },
                { "1 == (not true)", "false" },

                /* equality */
                { "1 == 1.0", "true" },
                { "1 == '1'", "false" },
                { "1 != '1'", "true" },
                { "null == null", "true" },
                { "null == false", "false" },
                { "[1, [2]] == [1.0, [2]]", "true" },
                { "[1] == [1, 2]", "false" },
                { "vars.table == vars.table", "true" },
                { "vars.table == vars.admins[0]", "false" },
                { "9007199254740993 == 9007199254740992.0", "false" },
                { "9007199254740993 > 9007199254740992.0", "true" },
                { "9223372036854775807 < 9223372036854775808.0", "true" },
                { "-9223372036854775808 == -9223372036854775808.0", "true" },

                /* order */
                { "1 < 2", "true" },
                { "2 <= 2", "true" },
                { "2 > 2.5", "false" },
                { "2.5 >= 2", "true" },
                { "-1 < -0.5", "true" },
                { "'a' < 'b'", "true" },
                { "'a' < 'aa'", "true" },
                { "'Z' < 'a'", "true" },
                { "'z' < 'ä'", "true" },
                { "vars.date <= vars.date", "true" },

                /* in */
                { "facts.os.id in ['debian', 'ubuntu']", "true" },
                { "facts.os.id not in ['debian', 'ubuntu']", "false" },
                { "1 in [1.0]", "true" },
                { "'1' in [1]", "false" },
                { "[1] in [[1]]", "true" },
                { "'eb' in 'debian'", "true" },
                { "'' in ''", "true" },
                { "'a' in 'b'", "false" },
                { "'os' in facts", "true" },
                { "'so' not in facts", "true" },

                /* helpers */
                { "len('wäb')", "3" },
                { "len([1, 2])", "2" },
                { "len(vars.table)", "2" },
                { "lower('AbÄ')", "'abÄ'" },
                { "upper('aBz@`{')", "'ABZ@`{'" },
                { "trim(' \\t a b \\n')", "'a b'" },
                { "trim('  ')", "''" },
                { "startswith('abc', 'ab')", "true" },
                { "startswith('a', 'ab')", "false" },
                { "endswith('abc', 'bc')", "true" },
                { "endswith('c', 'bc')", "false" },
                { "contains([1, 2], 2)", "true" },
                { "contains('abc', 'd')", "false" },
                { "matches('web12.example.org', 'web[0-9]*.example.org')", "true" },
                { "matches('xweb', 'web')", "false" },
                { "matches('a/b', '*')", "true" },
                { "split('a,b,,c', ',')", "['a', 'b', '', 'c']" },
                { "split('', ',')", "['']" },
                { "split('aaa', 'aa')", "['', 'a']" },
                { "join(['a', 'b'], ', ')", "'a, b'" },
                { "join([], ', ')", "''" },
                { "keys(vars.table)", "['b', 'a']" },
                { "values(vars.table)", "[1, 2]" },
                { "has(vars.table, 'a')", "true" },
                { "has(vars.table, 'c')", "false" },
                { "first([3, 4])", "3" },
                { "last([3, 4])", "4" },
                { "first([])", "null" },
                { "min(3, 1.5, 2)", "1.5f" },
                { "max(['a', 'c', 'b'])", "'c'" },
                { "max([])", "null" },
                { "unique([1, 2, 1.0, '1', 2])", "[1, 2, '1']" },
                { "sorted([3, 1, 2.5, -1, 2])", "[-1, 1, 2, 2.5f, 3]" },
                { "sorted(['b', 'a', 'B'])", "['B', 'a', 'b']" },
                { "sorted([])", "[]" },
                { "basename('/a/b/')", "'b'" },
                { "basename('b')", "'b'" },
                { "basename('///')", "'/'" },
                { "basename('')", "''" },
                { "dirname('/a/b/')", "'/a'" },
                { "dirname('/a//b')", "'/a'" },
                { "dirname('/a')", "'/'" },
                { "dirname('/')", "'/'" },
                { "dirname('a')", "'.'" },
                { "dirname('')", "'.'" },
                { "int('-012')", "-12" },
                { "int(3.9)", "3" },
                { "int(-3.9)", "-3" },
                { "string(12)", "'12'" },
                { "string(true)", "'true'" },
                { "string(0.1)", "'0.1'" },
                { "string(2.0)", "'2.0'" },
                { "string(1e300)", "'1e+300'" },
                { "string(vars.date)", "'2024-02-29'" },
                { "bool('yes')", "true" },
                { "bool('0')", "false" },
                { "bool(1)", "true" },
                { "version_compare('1.10', '1.9')", "1" },
                { "version_compare('1.0~rc1', '1.0')", "-1" },
                { "version_compare('1.0~~', '1.0~')", "-1" },
                { "version_compare('1.0', '1.0')", "0" },
                { "version_compare('1.0', '1.00')", "0" },
                { "version_compare('1:0.1', '9')", "1" },
                { "version_compare('0:1', '1')", "0" },
                { "version_compare('1.0-2', '1.0-10')", "-1" },
                { "version_compare('1.0', '1.0-0')", "0" },
                { "version_compare('1.0a', '1.0+')", "-1" },
                { "version_compare('1.0a', '1.0')", "1" },
                { "version_compare('99999999999999999999', '100000000000000000000')", "-1" },
                { "version_compare('\\u0000', '')", "1" },
                { "version_compare('', '')", "0" },
                { "version_compare('1.10', '>=', '1.9')", "true" },
                { "version_compare('1.10', '<', '1.9')", "false" },
                { "version_compare('2:1.0', '>', '1:9')", "true" },
                { "version_compare('1.0~rc1', '<', '1.0')", "true" },
                { "version_compare('1.0', '==', '1.00')", "true" },
                { "version_compare('1.0', '!=', '1.00')", "false" },
                { "version_compare('1.0', '<=', '1.0')", "true" },
                { "replace('a-b-c', '-', '')", "'abc'" },
                { "replace('aaa', 'aa', 'b')", "'ba'" },
                { "replace('aa', 'a', 'aa')", "'aaaa'" },
                { "replace('abc', 'd', 'e')", "'abc'" },
                { "replace('', 'd', 'e')", "''" },
                { "replace('ab', 'ab', 'ä')", "'ä'" },
                { "any([false, true])", "true" },
                { "any([false])", "false" },
                { "any([])", "false" },
                { "all([true, 1 < 2])", "true" },
                { "all([true, false])", "false" },
                { "all([])", "true" },
                { "concat([1], [], ['a', [2]])", "[1, 'a', [2]]" },
                { "concat([])", "[]" },
                { "pluck(vars.admins, 'name')", "['ada', 'bob']" },
                { "pluck([], 'name')", "[]" },
                { "pluck(nested(vars.people, 'groups'), 'inner')", "['adm', 'sudo']" },
                { "pluck(pluck(nested(vars.people, 'groups'), 'outer'), 'key')", "['ada', 'ada']" },
                { "pluck(pluck(nested(values(vars.people), 'files'), 'inner'), 'key')", "['b', 'a']" },
                { "nested(values(vars.people), 'files')[1].outer.groups", "['adm', 'sudo']" },
                { "nested(vars.people, 'no')", "[]" },
                { "nested([], 'l')", "[]" },
                { "nested([], 'l')", "[]" },
                { "where(vars.admins, 'uid', 1001)[0].name", "'bob'" },
                { "where(vars.admins, 'uid', 1001.0)[0].name", "'bob'" },
                { "where(vars.admins, 'none', null)", "[]" },
                { "len(where(vars.admins, 'name', 'ada'))", "1" },

                /* what is not there */
                { "default(vars.port, 1)", "8080" },
                { "default(vars.typo, 1)", "1" },
                { "default(vars.typo.more['x'][3].y, 1)", "1" },
                { "default(vars.admins[7].name, 'none')", "'none'" },
                { "default(facts.os.nothing, 'null')", "'null'" },
                { "default(facts.os.nothing.more, 'null')", "'null'" },
                { "default(first(vars.empty), 2)", "2" },
                { "default(vars.port, vars.typo)", "8080" },
                { "default(default(vars.x, vars.y.z) , 3)", NULL },
                { "defined(facts.os.id)", "true" },
                { "defined(facts.gpu)", "false" },
                { "defined(facts.gpu.name)", "false" },
                { "defined(facts.os.nothing)", "false" },
                { "defined(facts.gpu) and facts.gpu.name == 'x'", "false" },
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(c, cases) {
                Value value = {}, folded = {};
                Diagnostic d = {};
                Expression *e;
                const Value *constant;
                int r = evaluate(&w, c->source, &value, &d);

                if (!c->value)
                        continue;
                if (r < 0)
                        fail_msg("%s: %s", c->source, d.message);
                if (!streq(render(&w.arena, &value), c->value))
                        fail_msg("%s is %s, not %s", c->source, render(&w.arena, &value), c->value);
                ASSERT_FALSE(value.tainted);

                /* Folding comes to the same. */
                ASSERT_OK(fold(&w, c->source, EXPRESSION_NO_HOST, &e, &d));
                ASSERT_TRUE(expression_is_constant(e, &constant));
                ASSERT_STREQ(render(&w.arena, constant), c->value);
                ASSERT_OK(expression_evaluate(&w.context, e, &folded, &d));
                ASSERT_STREQ(render(&w.arena, &folded), c->value);
        }
        world_done(&w);
}

TEST(errors) {
        static const struct {
                const char *source;
                uint32_t column; /* in the source, from 1 */
                const char *message;
        } cases[] = {
                /* words */
                { "", 1, "the expression is empty" },
                { "  ", 1, "the expression is empty" },
                { "'abc", 1, "the string that begins here is not closed" },
                { "1 == 'abc\\'", 6, "the string that begins here is not closed" },
                { "'a\nb'", 1, "the string that begins here is not closed" },
                { "'", 1, "the string that begins here is not closed" },
                { "'\\", 1, "the string that begins here is not closed" },
                { "'ä\\q'", 3,
                        "unknown escape; there are \\n \\r \\t \\\\ \\' \\\" \\uXXXX and \\UXXXXXXXX" },
                { "'\\u12'", 2, "'\\u' wants 4 hexadecimal digits" },
                { "'\\ud800'", 2, "U+D800 is no character" },
                { "'\\U00110000'", 2, "U+110000 is no character" },
                { "010", 1, "a number must not begin with 0" },
                { "-00", 1, "a number must not begin with 0" },
                { "1.", 1, "digits are missing after the decimal point" },
                { "1e", 1, "digits are missing in the exponent" },
                { "1x", 1, "malformed number" },
                { "0x10", 1, "malformed number" },
                { "1_000", 1, "malformed number" },
                { "1.2.3", 1, "malformed number" },
                { "1e999", 1, "the number is too large" },
                { "9223372036854775808", 1, "the integer does not fit into 64 bits" },
                { "1111111111111111111111111111111111111111111111111111111111111111111", 1,
                        "the number has too many digits" },
                { "a && b", 3, "unexpected '&&'; write 'and'" },
                { "a || b", 3, "unexpected '||'; write 'or'" },
                { "!a", 1, "unexpected '!'; write 'not'" },
                { "a = b", 3, "unexpected '='; write '==' to compare" },
                { "1 + 2", 3,
                        "unexpected '+'; there is no arithmetic, and join(['a', name], '') makes one string "
                        "of several" },
                { "1 - 2", 3, "unexpected '-'; there is no arithmetic" },
                { "exists('/etc/{{vars.x}}')", 14,
                        "'{{' is not replaced in an expression; names are written without braces, and "
                        "join(['a', name], "
                        "'') makes one string of several" },
                { "{{vars.port}}", 1, "unexpected '{{'; names are written without braces" },
                { "keys({ a = 1 })", 6,
                        "unexpected '{'; a table cannot be written here, and a variable can be one" },
                { "a § b", 3, "unexpected character '§'" },
                { "a \x01", 3, "unexpected character U+0001" },
                { "'ä' \xff", 5, "the text is not UTF-8" },

                /* grammar */
                { "1 2", 3, "expected an operator or the end, found '2'" },
                { "1 'a'", 3, "expected an operator or the end, found 'a'" },
                { "1 'a very long string that nobody wants to see in a message'", 3,
                        "expected an operator or the end, found a long literal" },
                { "1 ==", 5, "expected a value, found the end" },
                { "and", 1, "expected a value, found 'and'" },
                { "not", 4, "expected a value, found the end" },
                { "1 == not true", 6, "'not' cannot stand here without parentheses" },
                { "1 not 2", 7, "expected 'in' after 'not', found '2'" },
                { "1 < 2 < 3", 7, "comparisons cannot be chained; join two with 'and'" },
                { "1 == 2 == 3", 8, "comparisons cannot be chained; join two with 'and'" },
                { "1 in [1] not in [2]", 10, "comparisons cannot be chained; join two with 'and'" },
                { "(1", 3, "expected ')', found the end" },
                { "(1]", 3, "expected ')', found ']'" },
                { ")", 1, "expected a value, found ')'" },
                { "()", 2, "expected a value, found ')'" },
                { "[1 2]", 4, "expected ',' or ']', found '2'" },
                { "[,]", 2, "expected a value, found ','" },
                { "[1,,2]", 4, "expected a value, found ','" },
                { "[1", 3, "expected ',' or ']', found the end" },
                { "len(1", 6, "expected ',' or ')', found the end" },
                { "len(1,)", 7, "expected a value, found ')'" },
                { "vars.port[", 11, "expected a value, found the end" },
                { "vars.port[1", 12, "expected ']', found the end" },
                { "vars.", 6, "expected the name of a member after '.', found the end" },
                { "vars.'a'", 6, "expected the name of a member after '.', found 'a'" },
                { "vars.-1", 6, "expected the name of a member after '.', found '-1'" },
                { ".5", 1, "expected a value, found '.'" },
                { "vars.f(1)", 7, "this cannot be called; only helpers can, by their name" },
                { "len('a')('b')", 9, "this cannot be called; only helpers can, by their name" },

                /* names */
                { "fatcs.os", 1, "undefined name 'fatcs'; did you mean 'facts'?" },
                { "True", 1, "undefined name 'True'; did you mean 'true'?" },
                { "quux", 1, "undefined name 'quux'" },
                { "facts.os.idd", 10, "undefined name 'facts.os.idd'; did you mean 'facts.os.id'?" },
                { "1 == facts.ös", 12, "unexpected character 'ö'" },
                { "facts['os']['idd']", 13, "undefined name 'facts.os.idd'; did you mean 'facts.os.id'?" },
                { "facts.so.id", 7, "undefined name 'facts.so'; did you mean 'facts.os'?" },
                { "facts.gpu.name", 7, "undefined name 'facts.gpu'" },
                { "facts.local['my kay']", 13, "the table has no key 'my kay'; did you mean 'my key'?" },
                { "vars.admins[0].nam", 16, "the table has no key 'nam'; did you mean 'name'?" },
                { "vars.port.x", 11, "only tables have members; '.x' is taken of an integer" },
                { "vars.admins.name", 13, "only tables have members; '.name' is taken of an array" },
                { "facts.os.nothing.x", 18, "only tables have members; '.x' is taken of null" },
                { "default(vars.port.x, 1)", 19, "only tables have members; '.x' is taken of an integer" },
                { "vars.port[0]", 11, "only tables and arrays can be indexed; this is an integer" },
                { "vars.admins['a']", 13, "an array is indexed by an integer; this is a string" },
                { "vars.table[0]", 12, "a table is indexed by a string; this is an integer" },
                { "vars.admins[2]", 13, "the index is out of range; the array has 2 items" },
                { "vars.admins[-3]", 13, "the index is out of range; the array has 2 items" },
                { "[1][-9223372036854775808]", 5, "the index is out of range; the array has 1 item" },
                { "default(fatcs.os, 1)", 9, "undefined name 'fatcs'; did you mean 'facts'?" },
                { "defined(fatcs)", 9, "undefined name 'fatcs'; did you mean 'facts'?" },
                { "defined('a')", 9, "defined() wants a name" },
                { "default(vars.x, vars.y)", 22, "undefined name 'vars.y'" },

                /* Also where evaluation does not come by. */
                { "false and fatcs.os", 11, "undefined name 'fatcs'; did you mean 'facts'?" },
                { "true or exits('/')", 9, "there is no helper 'exits'; did you mean 'exists'?" },
                { "true or len()", 9, "len() takes 1 argument (value), not 0" },

                /* types */
                { "'a' and true", 1, "'and' wants booleans; the left side is a string" },
                { "true and vars.port", 10, "'and' wants booleans; the right side is an integer" },
                { "false or false or null", 19, "'or' wants booleans; the right side is null" },
                { "not 'a'", 5, "'not' wants a boolean; this is a string" },
                { "not vars.admins[0].name", 5, "'not' wants a boolean; this is a string" },
                { "1 < 'a'", 3, "'<' wants two numbers or two strings; these are an integer and a string" },
                { "vars.on >= true", 9,
                        "'>=' wants two numbers or two strings; these are a boolean and a boolean" },
                { "[1] <= [2]", 5,
                        "'<=' wants two numbers or two strings; these are an array and an array" },
                { "1 in 1", 3, "'in' wants an array, a string or a table on the right; this is an integer" },
                { "'a' not in null", 5,
                        "'in' wants an array, a string or a table on the right; this is null" },
                { "1 in 'a1'", 3, "'in' looks for a string in a string, not for an integer" },
                { "null in facts", 6, "'in' looks for a string in a table, not for null" },

                /* helpers */
                { "startswith('a')", 1, "startswith() takes 2 arguments (text, prefix), not 1" },
                { "1 == len('a', 'b')", 6, "len() takes 1 argument (value), not 2" },
                { "min()", 1, "min() takes at least 1 argument (array | a, b, …), not 0" },
                { "foo(1)", 1, "there is no helper 'foo'" },
                { "vars('a')", 1, "there is no helper 'vars'" },
                { "startswith('a', 1)", 17, "startswith(): wants a string here, not an integer" },
                { "first('a')", 7, "first(): wants an array here, not a string" },
                { "keys([])", 6, "keys(): wants a table here, not an array" },
                { "len(1)", 5, "len(): wants a string, an array or a table, not an integer" },
                { "join(['a', 1], ',')", 6, "join(): wants an array of strings; there is an integer in it" },
                { "split('a', '')", 12, "split(): the separator is empty" },
                { "contains(1, 2)", 1, "contains(): cannot look for an integer in an integer" },
                { "any([true, 1])", 5, "any(): wants an array of booleans; there is an integer in it" },
                { "all(['a', true])", 5, "all(): wants an array of booleans; there is a string in it" },
                { "any(true)", 5, "any(): wants an array here, not a boolean" },
                { "concat([1], 2)", 13, "concat(): wants an array here, not an integer" },
                { "nested(1, 'a')", 8, "nested(): wants an array or a table here, not an integer" },
                { "nested([1], 'a')", 8, "nested(): wants tables in it; there is an integer" },
                { "nested(vars.admins, 'name')", 21,
                        "nested(): wants the key of arrays or tables; there is a string" },
                { "nested(vars.people, 1)", 21, "nested(): wants a string here, not an integer" },
                { "pluck([1], 'a')", 7, "pluck(): wants an array of tables; there is an integer in it" },
                { "pluck(vars.admins, 'nam')", 7, "pluck(): item 0 has no key 'nam'" },
                { "where(['a'], 'a', 1)", 7, "where(): wants an array of tables; there is a string in it" },
                { "where([], 'a')", 1, "where() takes 3 arguments (array, key, value), not 2" },
                { "replace('a', '', 'b')", 14, "replace(): what is to be replaced is empty" },
                { "version_compare('1', '=', '2')", 22,
                        "version_compare(): the operator is none of ==, !=, <, <=, >, >=" },
                { "version_compare('1', '2', '3', '4')", 1,
                        "version_compare() takes at most 3 arguments (a, b | a, operator, b), not 4" },
                { "starts_with('a', 'b')", 1,
                        "there is no helper 'starts_with'; did you mean 'startswith'?" },
                { "min(1)", 5, "min(): a single argument must be an array, not an integer" },
                { "min(1, 'a')", 1,
                        "min(): wants only numbers or only strings; there are a string and an integer" },
                { "sorted([true])", 1,
                        "sorted(): wants only numbers or only strings; there are a boolean and a boolean" },
                { "int('')", 5, "int(): the string is not a decimal integer" },
                { "int(' 1')", 5, "int(): the string is not a decimal integer" },
                { "int('1x1')", 5, "int(): the string is not a decimal integer" },
                { "int('99999999999999999999')", 5, "int(): the integer does not fit into 64 bits" },
                { "int(1e30)", 5, "int(): the float does not fit into 64 bits" },
                { "int(true)", 5, "int(): wants an integer, a float or a string, not a boolean" },
                { "string([])", 8, "string(): there is no text for an array" },
                { "bool(2)", 6, "bool(): of the integers it takes 0 and 1 only" },
                { "bool('maybe')", 6, "bool(): the string is none of true, yes, on, 1, false, no, off, 0" },
                { "bool(null)", 6, "bool(): wants a boolean, an integer or a string, not null" },
                { "matches('a\\u0000', 'a')", 9, "matches(): the string holds a NUL" },
                { "exists('etc')", 8, "exists(): wants an absolute path" },
                { "exists('')", 8, "exists(): wants an absolute path" },
                { "exists('/\\u0000')", 8, "exists(): the path holds a NUL" },
                { "exists(1)", 8, "exists(): wants a string here, not an integer" },
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(c, cases) {
                Value value = value_integer(42);
                Diagnostic d = {};
                Expression *e = (Expression *) 42;

                if (evaluate(&w, c->source, &value, &d) != -EINVAL)
                        fail_msg("%s is not refused but %s", c->source, render(&w.arena, &value));
                if (!streq(d.message, c->message) || d.place.column != c->column + 8)
                        fail_msg("%s: %u: %s", c->source, d.place.column - 8, d.message);
                ASSERT_STREQ(d.place.file, "web.toml");
                ASSERT_EQ(d.place.line, 7);
                ASSERT_EQ(value.integer, 42); /* a failing call leaves its output alone */

                /* All of them show at load already. */
                d = (Diagnostic){};
                ASSERT_EQ(fold(&w, c->source, 0, &e, &d), -EINVAL);
                ASSERT_STREQ(d.message, c->message);
                ASSERT_EQ(d.place.column, c->column + 8);
                ASSERT_TRUE(e == (Expression *) 42);
        }
        world_done(&w);
}

TEST(places) {
        static const struct {
                const char *source;
                Place start;
                bool multiline, inline_;
                uint32_t line, column;
        } cases[] = {
                { "x", { "f", 3, 5 }, false, false, 3, 6 },
                { "'ä' == x", { "f", 3, 5 }, false, false, 3, 13 },
                { "true and\n x", { "f", 3, 5 }, false, false, 4, 2 },
                { "x", { "f", 3, 5 }, true, true, 3, 8 },
                { "x", { "f", 3, 5 }, true, false, 4, 1 },
                { "true and\n x\n", { "f", 3, 5 }, true, false, 5, 2 },
                { "true and\n x\n", { "f", 3, 5 }, true, true, 4, 2 },
                { "x", { NULL, 0, 0 }, false, false, 1, 1 },
                { "\n x", { NULL, 0, 0 }, true, false, 2, 2 },
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(c, cases) {
                Value source = text(&w.arena, c->source), value;
                Diagnostic d = {};
                Expression *e;

                source.place = c->start;
                source.multiline = c->multiline;
                source.inline_ = c->inline_;
                ASSERT_OK(expression_parse_value(&w.arena, &source, &e, &d));
                ASSERT_EQ(expression_evaluate(&w.context, e, &value, &d), -EINVAL);
                ASSERT_STREQ(d.message, "undefined name 'x'");
                ASSERT_EQ(d.place.line, c->line);
                ASSERT_EQ(d.place.column, c->column);
        }

        Value number = value_integer(1);
        Diagnostic d = {};
        Expression *e;
        ASSERT_EQ(expression_parse_value(&w.arena, &number, &e, &d), -EINVAL);
        ASSERT_STREQ(d.message, "an expression is written as a string, not as an integer");
        world_done(&w);
}

TEST(conditions_are_booleans) {
        World w;
        Diagnostic d = {};
        Expression *e;
        bool truth = false;

        world_init(&w);
        ASSERT_OK(expression_parse(&w.arena, PLACE, "1 < 2", 5, &e, &d));
        ASSERT_OK(expression_truth(&w.context, e, &truth, &d));
        ASSERT_TRUE(truth);

        ASSERT_OK(expression_parse(&w.arena, PLACE, "vars.port", 9, &e, &d));
        ASSERT_EQ(expression_truth(&w.context, e, &truth, &d), -EINVAL);
        ASSERT_STREQ(d.message, "a condition must be a boolean; this is an integer");
        ASSERT_EQ(d.place.column, 9);

        ASSERT_EQ(fold(&w, "vars.port", EXPRESSION_CONDITION, &e, &d), -EINVAL);
        ASSERT_EQ(fold(&w, "[exists('/')]", EXPRESSION_CONDITION, &e, &d), -EINVAL);
        ASSERT_STREQ(d.message, "a condition must be a boolean; this is an array");
        ASSERT_OK(fold(&w, "exists('/')", EXPRESSION_CONDITION, &e, &d));
        world_done(&w);
}

TEST(what_is_left_is_printed) {
        static const struct {
                const char *source, *text;
        } cases[] = {
                { "1 == 1", "true" },
                { "exists('/a') and vars.on", "exists('/a')" },
                { "env('A') == \"it's\\n\\\\\"", "env('A') == 'it\\'s\\n\\\\'" },
                { "not exists('/a') and (exists('/b') or exists('/c'))",
                        "not exists('/a') and (exists('/b') or exists('/c'))" },
                { "exists('/a') and exists('/b') or exists('/c')",
                        "exists('/a') and exists('/b') or exists('/c')" },
                { "not (exists('/a') or exists('/b'))", "not (exists('/a') or exists('/b'))" },
                { "not (exists('/a') == true)", "not exists('/a') == true" },
                { "(exists('/a') == true) == false", "(exists('/a') == true) == false" },
                { "env('A') in ['x', vars.name, null, 1.5]", "env('A') in ['x', 'wäb', null, 1.5]" },
                { "env('A') in [0.1, 2.0, 1e300, -0.5]", "env('A') in [0.1, 2.0, 1e+300, -0.5]" },
                { "env('A') not in [env('B')]", "env('A') not in [env('B')]" },
                { "env(lower('A'))[vars.port].x", "env('a')[8080].x" },
                { "env('A') == secrets.db", "env('A') == <sensitive>" },
                { "env('A') in [1,2,3,4,5,6,7,8,9]", "env('A') in [1, 2, 3, 4, 5, 6, 7, 8, …]" },
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(c, cases) {
                Diagnostic d = {};
                Expression *e;

                if (fold(&w, c->source, 0, &e, &d) < 0)
                        fail_msg("%s: %s", c->source, d.message);
                ASSERT_STREQ(expression_format(&w.arena, e), c->text);
        }
        world_done(&w);
}

TEST(names_are_noted) {
        static const struct {
                const char *source, *noted;
        } cases[] = {
                { "1 == 1", "" }, { "facts.os.id", "facts.os.id " },
                { "facts['os'][\"id\"] == vars.name", "facts.os.id vars.name " },
                { "vars.admins[0].name", "vars.admins " }, { "facts.local['my key']", "facts.local " },
                { "facts[vars.name] == 1", "vars.name facts " }, /* an error follows, but it was read */
                { "facts[trim(' os ')].id", "facts.os.id " },
                { "vars.on or facts.os.id == 'a'", "vars.on " },
                { "defined(facts.gpu.name)", "facts.gpu.name " },
                { "default(facts.gpu.name, vars.port)", "facts.gpu.name vars.port " },
                { "default(vars.port, facts.os.id)", "vars.port " },
                { "first(vars.admins).name", "vars.admins " }, { "exists('/x') and vars.on", "vars.on " },
                { "facts.os.idd", "facts.os.idd " }, { "fatcs", "" },
                { "vars.port in [vars.port, secrets.db]", "vars.port vars.port secrets.db " },
                { "vars.table[secrets.db]", "secrets.db vars.table " }, /* not with the secret as key */
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(c, cases) {
                Diagnostic d = {};
                Expression *e;

                *w.noted = 0;
                (void) fold(&w, c->source, 0, &e, &d);
                if (!streq(w.noted, c->noted))
                        fail_msg("%s notes %s", c->source, w.noted);
        }
        world_done(&w);
}

TEST(taint) {
        static const struct {
                const char *source;
                bool tainted;
        } cases[] = {
                { "secrets.db", true }, { "secrets['db']", true }, { "secrets.vault.inner", true },
                { "secrets.db == 'a'", true }, { "secrets.db < 'a'", true }, { "'a' in secrets.db", true },
                { "'inner' in secrets.vault", true }, { "1 in vars.pair", true }, { "vars.pair[0]", false },
                { "vars.pair[1]", true }, { "len(secrets.db)", true }, { "upper(secrets.db)", true },
                { "join(['a', secrets.db], ',')", true }, { "not (secrets.db == 'a')", true },
                { "true and secrets.db == 'hunter2'", true }, { "secrets.db == 'hunter2' and false", true },
                { "false and secrets.db == 'hunter2'", false }, { "default(secrets.db, 'a')", true },
                { "default(secrets.vault.nothing, 'a')", true }, { "default(secrets.nothing, 'a')", false },
                { "default(vars.nothing, secrets.db)", true }, { "default(vars.port, secrets.db)", false },
                { "['a', 'b'][len(secrets.db) == 7 and true == false]", false }, /* an error */
                { "[1, 2, 3, 4, 5, 6, 7, 8][len(secrets.db)]", true }, { "first(['a', secrets.db])", true },
                { "exists('/') and secrets.db == 'hunter2'", true },
                { "secrets.db == 'hunter2' and exists('/')", true },
                { "exists('/') or secrets.db == 'hunter2'", true },
                { "exists(lower(secrets.vault.inner)) ", false }, /* an error */
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(c, cases) {
                Value value = {};
                Diagnostic d = {};
                Expression *e;
                int r = fold(&w, c->source, 0, &e, &d);

                if (r >= 0)
                        r = expression_evaluate(&w.context, e, &value, &d);
                if (r < 0)
                        ASSERT_NULL(strstr(d.message, "hunter"));
                else if (value_is_tainted(&value) != c->tainted)
                        fail_msg("%s is %s", c->source, c->tainted ? "not tainted" : "tainted");
        }

        /* What lies in something tainted is marked, too, for who takes it out later. */
        Diagnostic d = {};
        Value value = {};
        ASSERT_OK(evaluate(&w, "[secrets.vault, vars.port]", &value, &d));
        ASSERT_TRUE(value.items[0].members[0].value.tainted);
        ASSERT_FALSE(value.items[1].tainted);

        /* No message shows a secret. */
        static const char *const errors[] = {
                "int(secrets.db)",
                "vars.table[secrets.db]",
                "bool(secrets.db)",
                "exists(secrets.db)",
        };
        FOREACH_ELEMENT(source, errors) {
                ASSERT_EQ(evaluate(&w, *source, &value, &d), -EINVAL);
                ASSERT_NULL(strstr(d.message, "hunter"));
        }
        world_done(&w);
}

TEST(folding_keeps_what_looks_at_the_host) {
        static const struct {
                const char *source;
                const char *constant; /* NULL: something is left */
        } cases[] = {
                { "exists('/')", NULL },
                { "vars.on and exists('/')", NULL },
                { "not vars.on and exists('/')", "false" },
                { "exists('/') and not vars.on", "false" },
                { "exists('/') or vars.on", "true" },
                { "vars.on or exists('/')", "true" },
                { "exists('/') and false and vars.typo", "false" },
                { "exists('/') == (vars.port == 8080)", NULL },
                { "exists(lower('/ETC')) in [vars.on]", NULL },
                { "[exists('/'), vars.on][0]", NULL },
                { "default(vars.typo, exists('/'))", NULL },
                { "default([vars.on][len([exists('/')])], vars.on)", NULL },
                { "default(vars.on, exists('/'))", "true" },
                { "not exists('/')", NULL },
                { "defined(vars.port) and is_dir('/')", NULL },
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(c, cases) {
                ExpressionContext no_names = w.context;
                Diagnostic d = {};
                const Value *constant;
                Expression *e;
                bool truth;

                if (fold(&w, c->source, 0, &e, &d) < 0)
                        fail_msg("%s: %s", c->source, d.message);
                ASSERT_EQ(expression_is_constant(e, &constant), c->constant != NULL);
                if (c->constant)
                        ASSERT_STREQ(render(&w.arena, constant), c->constant);

                no_names.scope = NULL;
                if (expression_truth(&no_names, e, &truth, &d) < 0)
                        fail_msg("%s: %s", c->source, d.message);

                if (strstr(c->source, "exists")) {
                        ASSERT_EQ(fold(&w, c->source, EXPRESSION_NO_HOST, &e, &d), -EINVAL);
                        ASSERT_STREQ(d.message,
                                "exists() looks at the host; it can be used only in a state's 'when'");
                        ASSERT_EQ(d.place.column, 9 + (strstr(c->source, "exists") - c->source));
                }
        }
        world_done(&w);
}

/* The image is mapped by processes that have nothing else of what was there when it was made. */
TEST(folded_trees_need_only_their_arena) {
        static const char source[] =
                "exists(dirname(vars.path)) and facts.os.id in ['debian', 'x'] and "
                "vars.list[len([exists('/')])].a "
                "== 'b' and 'c' in [is_dir('/'), 'c'] and default(vars.t[lower('X')], is_file('/')) and "
                "[vars, exists('/')][0].list[1].a == 'b'";
        Arena image = {}, scratch = {};
        Diagnostic d = {};
        Expression *e, *folded;
        bool truth = false;

        ASSERT_OK(arena_map(&image, MIB(1), NULL));
        {
                Arena load = {};
                ASSERT_OK(arena_map(&load, MIB(1), NULL));
                Value names = value_table(), vars = value_table(), list = value_array(),
                      item = value_table(), t = value_table(), os = value_table(), facts = value_table();
                set(&load, &item, "a", text(&load, "b"));
                item.place = (Place){ arena_strdup(&load, "vars.toml"), 1, 2 };
                (void) value_append(&load, &list, &item);
                (void) value_append(&load, &list, &item);
                list.items[1].members[0].place.file = arena_strdup(&load, "more.toml");
                set(&load, &t, "x", value_boolean(true));
                set(&load, &vars, "path", text(&load, "/x"));
                set(&load, &vars, "list", list);
                set(&load, &vars, "t", t);
                set(&load, &os, "id", text(&load, "debian"));
                set(&load, &facts, "os", os);
                set(&load, &names, "vars", vars);
                set(&load, &names, "facts", facts);

                Value *kept = arena_memdup(&load, &names, sizeof(names));
                Scope scope = scope_from_table(kept);
                HelperSet helpers = helper_set(-1);
                ExpressionContext context = { .scratch = &load, .scope = &scope, .helpers = &helpers };
                char *copy = arena_strdup(&load, source);
                Place place = { arena_strdup(&load, "web.toml"), 1, 1 };

                if (expression_parse(&load, place, copy, strlen(copy), &e, &d) < 0 ||
                        expression_fold(&context, e, 0, &image, &folded, &d) < 0)
                        fail_msg("%s", d.message);
                ASSERT_FALSE(expression_is_constant(folded, NULL));
                arena_unmap(&load);
        }

        /* Nothing of the arena points out of it: each aligned word that looks like an address is one of it. The
         * probes are addresses of what a mistake would most likely leave behind. */
        uintptr_t low = (uintptr_t) image.base, high = low + image.used;
        for (size_t i = 0; i + sizeof(uintptr_t) <= image.used; i += sizeof(uintptr_t)) {
                uintptr_t word;

                memcpy(&word, image.base + i, sizeof(word));
                if (word >> 40 == low >> 40 || word >> 40 == (uintptr_t) source >> 40)
                        ASSERT_TRUE(word >= low && word <= high);
        }
        ASSERT_TRUE((uintptr_t) folded >= low && (uintptr_t) folded < high);

        /* And it is not written to. */
        ASSERT_OK(mprotect(image.base, image.limit, PROT_READ));
        ASSERT_OK(arena_map(&scratch, MIB(1), NULL));
        HelperSet helpers = helper_set(-1);
        ExpressionContext context = { .scratch = &scratch, .helpers = &helpers };
        if (expression_truth(&context, folded, &truth, &d) < 0)
                fail_msg("%s", d.message);
        ASSERT_TRUE(truth);
        arena_unmap(&scratch);
        arena_unmap(&image);
}

static const char *repeat(Arena *arena, const char *before, const char *part, size_t n, const char *after) {
        size_t size = strlen(before) + n * strlen(part) + strlen(after);
        char *s = arena_alloc_text(arena, size + 1), *p = stpcpy(s, before);

        for (size_t i = 0; i < n; i++)
                p = stpcpy(p, part);
        (void) stpcpy(p, after);
        return s;
}

TEST(limits) {
        World w;

        world_init(&w);
        Arena *a = &w.arena;
        Value huge = value_array(), wide = value_table(), digits = value_array();
        for (int i = 0; i < 20000; i++) {
                Value v = value_integer(i);
                char key[16];

                (void) value_append(a, &huge, &v);
                if (i < 2000) {
                        (void) snprintf(key, sizeof(key), "k%d", i);
                        (void) value_add(a, &wide, key, strlen(key), &v);
                }
                if (i < 900)
                        (void) value_append(a, &digits, &v);
        }
        Value hosts = value_array();
        for (int i = 0; i < 20000; i++) {
                Value host = value_table();

                for (int j = 0; j < 10; j++) {
                        Value v = value_string(a, "some value of a host", 20);

                        (void) value_add(a, &host, "some-key", 8, &v);
                }
                (void) value_append(a, &hosts, &host);
        }
        set(a, &w.names, "hosts", hosts);

        char *big = memset(arena_alloc_text(a, MIB(1)), 'a', MIB(1) - 1);
        set(a, &w.names, "huge", huge);
        set(a, &w.names, "wide", wide);
        set(a, &w.names, "digits", digits);
        set(a, &w.names, "big", value_string(a, big, MIB(1) - 1));
        set(a, &w.names, "line", value_string(a, big, 6000));

        /* Values that nest deeper than any parser makes them. */
        Value deep = value_array();
        for (int i = 0; i < 2000; i++) {
                Value outer = value_array();

                (void) value_append(a, &outer, &deep);
                deep = outer;
        }
        set(a, &w.names, "deep", deep);

        const struct {
                const char *source, *message;
        } cases[] = {
                { repeat(a, "", "(", 63, "1"), "expected ')', found the end" },
                { repeat(a, "", "(", 64, "1"), "the expression nests deeper than 64 levels" },
                { repeat(a, "", "(", 16000, ""), "the expression nests deeper than 64 levels" },
                { repeat(a, "", "[", 16000, ""), "the expression nests deeper than 64 levels" },
                { repeat(a, "", "len(", 4000, ""), "the expression nests deeper than 64 levels" },
                { repeat(a, "", "not ", 4000, "true"), "the expression nests deeper than 64 levels" },
                { repeat(a, "vars", ".a", 8000, ""), "the expression nests deeper than 64 levels" },
                { repeat(a, "vars", "[0]", 64, ""), "the expression nests deeper than 64 levels" },
                { repeat(a, "", "(vars.a.b.c.d.e.f[", 60, "0"),
                        "the expression nests deeper than 64 levels" },
                { repeat(a, "true", " and true", 1000, " and true"), NULL },
                { repeat(a, "true", " ", KIB(16) - 4, ""), NULL },
                { repeat(a, "true", " ", KIB(16) - 3, ""), "the expression is longer than 16384 bytes" },
                { "5000 in huge", NULL },
                { "-1 in huge", "the expression takes more than 10000 steps" },
                { "huge == huge", "the expression takes more than 10000 steps" },
                { "wide == wide", "the expression takes more than 10000 steps" },
                { "huge", NULL },
                { "len(huge)", NULL },
                { "huge[-1]", NULL },
                { "'b' in big", "the expression takes more than 10000 steps" },
                { "upper(big)", "the expression takes more than 10000 steps" },
                { "upper(line)", NULL },
                { "big", NULL },
                { "hosts", NULL },
                { repeat(a, "[", "big,", 50, "]"), "the expression takes more than 10000 steps" },
                { "split(line, 'a')", NULL },
                { "split(join([line, line], ''), 'a')", "the expression takes more than 10000 steps" },
                { repeat(a, "join([", "line,", 200, "], '')"),
                        "the expression takes more than 10000 steps" },
                { repeat(a, "len([", "huge,", 100, "])"), "the expression takes more than 10000 steps" },
                { "matches(line, '*a*a*a*a*a*a*a*a*a*a*a*a*b')", NULL },
                { "matches(line, line)", "the expression takes more than 10000 steps" },
                { "sorted(huge)", "the expression takes more than 10000 steps" },
                { "unique(digits)", NULL },
                { "unique(huge)", "the expression takes more than 10000 steps" },
                { "max(huge)", "the expression takes more than 10000 steps" },
                { "deep", "a value nests deeper than 512 levels" },
                { "deep == deep", "a value nests deeper than 512 levels" },
                { "len(deep)", "a value nests deeper than 512 levels" },
        };
        FOREACH_ELEMENT(c, cases) {
                Value value = {};
                Diagnostic d = {};
                Expression *e;
                size_t used = a->used;
                int r = evaluate(&w, c->source, &value, &d);

                if (r < 0 ? !c->message || !streq(c->message, d.message) : c->message != NULL)
                        fail_msg("%.60s: %s", c->source, r < 0 ? d.message : "no error");
                if (c->message && strstr(c->message, "expression nests"))
                        ASSERT_EQ(expression_parse(a, PLACE, c->source, strlen(c->source), &e, &d), -E2BIG);
                if (r < 0 && !strstr(d.message, "expected"))
                        ASSERT_EQ(r, -E2BIG);
                ASSERT_TRUE(a->used - used < MIB(48));
                memset(a->base + used, 0, a->used - used);
                a->used = used;
        }

        /* The limit can be set. */
        Value value;
        Diagnostic d = {};
        w.context.steps_max = 3;
        ASSERT_OK(evaluate(&w, "1 != 1", &value, &d) == -E2BIG ? 0 : 1);
        ASSERT_STREQ(d.message, "the expression takes more than 3 steps");
        world_done(&w);
}

TEST(paths_are_resolved_below_the_root) {
        static const struct {
                const char *source;
                bool truth;
        } cases[] = {
                { "exists('/file')", true },
                { "exists('/none')", false },
                { "exists('/file/x')", false },
                { "exists('/dir/../file')", true },
                { "exists('/../../../file')", true },
                { "exists('/up')", true },       /* -> ../../file, which stays inside */
                { "exists('/absolute')", true }, /* -> /file */
                { "exists('/dangling')", false },
                { "is_symlink('/dangling')", true },
                { "is_symlink('/file')", false },
                { "is_symlink('/none')", false },
                { "is_file('/file')", true },
                { "is_file('/absolute')", true },
                { "is_file('/dir')", false },
                { "is_dir('/dir')", true },
                { "is_dir('/')", true },
                { "is_dir('/file')", false },
                { "exists('/etc/passwd')", false },
        };
        char root[] = "/tmp/test-expression-XXXXXX";
        World w;

        ASSERT_NOT_NULL(mkdtemp(root));
        _cleanup_close_ int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ASSERT_TRUE(fd >= 0);
        _cleanup_close_ int file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_TRUE(file >= 0);
        ASSERT_OK(mkdirat(fd, "dir", 0700));
        ASSERT_OK(symlinkat("../../file", fd, "up"));
        ASSERT_OK(symlinkat("/file", fd, "absolute"));
        ASSERT_OK(symlinkat("/nowhere", fd, "dangling"));
        ASSERT_OK(symlinkat("loop", fd, "loop"));

        world_init(&w);
        w.helpers.root_fd = fd;
        Diagnostic d = {};
        Value value = {};
        FOREACH_ELEMENT(c, cases) {
                if (evaluate(&w, c->source, &value, &d) < 0)
                        fail_msg("%s: %s", c->source, d.message);
                if (value.boolean != c->truth)
                        fail_msg("%s is wrong", c->source);
        }

        ASSERT_EQ(evaluate(&w, "exists('/loop')", &value, &d), -ELOOP);
        ASSERT_STREQ(d.message, "exists(): Failed to look at '/loop': Too many levels of symbolic links");
        w.helpers.root_fd = -1;
        ASSERT_OK(evaluate(&w, "exists('/proc/self/status')", &value, &d));
        ASSERT_TRUE(value.boolean);

        static const char *const names[] = { "file", "up", "absolute", "dangling", "loop" };
        FOREACH_ELEMENT(name, names)
                ASSERT_OK(unlinkat(fd, *name, 0));
        ASSERT_OK(unlinkat(fd, "dir", AT_REMOVEDIR));
        ASSERT_OK(rmdir(root));
        world_done(&w);
}

static void feed_buffer(void *userdata, const void *data, size_t size) {
        (void) fwrite(data, 1, size, userdata);
}

static char *fed(World *w, const char *expression, size_t *ret_size) {
        Diagnostic d;
        Expression *e;
        char *buffer = NULL;
        FILE *f = open_memstream(&buffer, ret_size);

        ASSERT_NOT_NULL(f);
        ASSERT_OK(expression_parse(&w->arena, (Place){}, expression, strlen(expression), &e, &d));
        ASSERT_OK(expression_fold(&w->context, e, 0, &w->arena, &e, &d));
        expression_feed(e, feed_buffer, f);
        ASSERT_EQ(fclose(f), 0);
        return buffer;
}

TEST(what_says_the_same_hashes_the_same) {
        static const struct {
                const char *a, *b;
                bool same;
        } rows[] = {
                { "exists('/a')", "  exists( \"/a\" )", true },
                { "exists('/a')", "exists('/b')", false },
                { "exists('/a')", "is_dir('/a')", false },
                { "exists('/a')", "not exists('/a')", false },
                { "exists('/a') and exists('/b')", "exists('/b') and exists('/a')", false },
                { "exists('/a') or exists('/b')", "exists('/a') and exists('/b')", false },
                { "exists('/a') == vars.on", "exists('/a') == true", true },
                { "exists('/a') == true", "exists('/a') == false", false },
                { "exists('/a') in [true, false]", "exists('/a') in [true]", false },
                { "exists('/a') in [['a', 'b']]", "exists('/a') in [['ab', '']]", false },
                { "1", "1.0", false },
                { "vars.table", "vars.table", true },
                { "vars.date", "'2024-02-29'", false },
                { "vars.name", "'wäb'", true },
                { "true", "false", false },
        };
        World w;

        world_init(&w);
        FOREACH_ELEMENT(row, rows) {
                size_t n_a, n_b;
                _cleanup_free_ char *a = fed(&w, row->a, &n_a), *b = fed(&w, row->b, &n_b);

                if ((n_a == n_b && memcmp(a, b, n_a) == 0) != row->same)
                        fail_msg("%s and %s", row->a, row->b);
        }
        world_done(&w);
}

/* The table is looked up by bisection, and each of its rows is in the reference. */
TEST(helpers_are_sorted_and_documented) {
        HelperSet set = helper_set(-1);
        _cleanup_free_ char *path = NULL;
        static char page[KIB(64)];

        ASSERT_TRUE(asprintf(&path, "%s/../../docs/expressions.md", getenv("TEST_DATA")) > 0);
        _cleanup_fclose_ FILE *file = fopen(path, "re");
        ASSERT_NOT_NULL(file);
        ASSERT_TRUE(fread(page, 1, sizeof(page) - 1, file) > 0);

        for (size_t i = 0; i < set.n; i++) {
                const Helper *helper = &set.helpers[i];
                const char *arguments = helper->arguments, *bar = strstr(arguments, " | ");
                _cleanup_free_ char *row = NULL;
                int n;

                ASSERT_TRUE(helper_set_find(&set, helper->name) == helper);
                if (i > 0)
                        ASSERT_TRUE(strcmp(helper[-1].name, helper->name) < 0);

                /* A bar would end the cell. */
                n = bar ? asprintf(&row, "| `%s(%.*s)`, `%s(%s)` | %s |\n", helper->name,
                                  (int) (bar - arguments), arguments, helper->name, bar + 3,
                                  helper->documentation)
                        : asprintf(&row, "| `%s(%s)` | %s |\n", helper->name, arguments,
                                  helper->documentation);
                ASSERT_TRUE(n > 0);
                if (!strstr(page, row))
                        fail_msg("not in docs/expressions.md: %s", row);
        }
        ASSERT_NULL(helper_set_find(&set, "nothing"));
}

RUN_TESTS(RUN(values), RUN(errors), RUN(places), RUN(conditions_are_booleans), RUN(what_is_left_is_printed),
        RUN(names_are_noted), RUN(taint), RUN(folding_keeps_what_looks_at_the_host),
        RUN(folded_trees_need_only_their_arena), RUN(limits), RUN(what_says_the_same_hashes_the_same),
        RUN(paths_are_resolved_below_the_root), RUN(helpers_are_sorted_and_documented))
