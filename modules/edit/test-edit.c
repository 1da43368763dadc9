/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Texts before and after, and what cannot be. The states are written as in a role. */

#include "edit.h"
#include "test.h"

typedef struct Row {
        Edit edit;
        const char *in, *out; /* out: NULL if it fails … */
        const char *error;    /* … and this is in the message */
} Row;

static void check_row(const Row *row) {
        _cleanup_free_ char *error = NULL;
        Part part = { .edit = &row->edit, .id = "edit:x" };
        Buffer result = {};

        ASSERT_OK(edit_compose(&part, 1, row->in, strlen(row->in), &result));
        if (row->out) {
                if (part.error)
                        print_message("# %s\n", part.error);
                ASSERT_NULL(part.error);
                buffer_add(&result, "", 1);
                ASSERT_STREQ(result.data, row->out);
                ASSERT_EQ(part.changes, !streq(row->in, row->out));
        } else {
                ASSERT_NOT_NULL(part.error);
                if (!strstr(part.error, row->error))
                        print_message("# %s\n", part.error);
                ASSERT_NOT_NULL(strstr(part.error, row->error));
                ASSERT_FALSE(part.changes);
        }
        edit_parts_done(&part, 1);
        buffer_done(&result);
}

#define CHECK_ROWS(rows)           \
        FOREACH_ELEMENT(row, rows) \
        check_row(row)

TEST(line) {
        static const Row rows[] = {
                { { .line = "b" }, "a\n", "a\nb\n" },
                { { .line = "b" }, "a\nb\nc\n", "a\nb\nc\n" },
                { { .line = "b" }, "", "b\n" },
                { { .line = "b" }, "a", "a\nb\n" },
                { { .line = "b" }, "a\nb", "a\nb" },
                { { .line = "b" }, "a\r\nc\r\n", "a\r\nc\r\nb\r\n" },
                { { .line = "b" }, "a\r\nb\r\n", "a\r\nb\r\n" },
                { { .line = "b" },
                        "\xef\xbb\xbf"
                        "a\n",
                        "\xef\xbb\xbf"
                        "a\nb\n" },
                { { .line = "a" },
                        "\xef\xbb\xbf"
                        "a\n",
                        "\xef\xbb\xbf"
                        "a\n" },
                { { .line = " b" }, "b\n", "b\n b\n" },
                { { .line = "b" }, "\xff\xfe\xff\n", NULL, "UTF-16" },
                { { .line = "b" }, "\xff\n", "\xff\nb\n" },
                { { .line = "b", .before = "BOF" }, "a\n", "b\na\n" },
                { { .line = "b", .before = "BOF" }, "", "b\n" },
                { { .line = "b", .after = "EOF" }, "a\n", "a\nb\n" },
                { { .line = "b", .after = "^a" }, "a\na\nc\n", "a\na\nb\nc\n" },
                { { .line = "b", .before = "^c" }, "a\nc\nc\n", "a\nb\nc\nc\n" },
                { { .line = "b", .before = "^x" }, "a\n", "a\nb\n" },
                { { .line = "b", .after = "^a" }, "a", "a\nb\n" },
                { { .line = "b", .absent = true }, "a\nb\nb\nbb\n", "a\nbb\n" },
                { { .line = "b", .absent = true }, "a\nb", "a\n" },
                { { .match = "^b", .absent = true }, "a\nb\nbb\nc", "a\nc" },
                { { .match = "^b", .absent = true }, "", "" },
                { { .line = "K no", .match = "^#?K\\b" }, "#K yes\nx\n", "K no\nx\n" },
                { { .line = "K no", .match = "^#?K\\b" }, "K yes\nK yes\n", "K no\nK yes\n" },
                { { .line = "K no", .match = "^#?K\\b", .every = true }, "K yes\nK yes\n", "K no\nK no\n" },
                { { .line = "K no", .match = "^#?K\\b" }, "x\n", "x\nK no\n" },
                { { .line = "K no", .match = "^#?K\\b" }, "K yes", "K no" },
                { { .line = "K no", .match = "^#?K\\b" }, "K yes\r\n", "K no\r\n" },
                { { .line = "K no", .match = "^#K$" }, "#K\n#K\n", "K no\n#K\n" },
                { { .line = "a $1", .match = "^b (.*)" }, "b x\n", "a x\n" },
                { { .line = "a $1", .match = "^b (.*)" }, "c\n", "c\n" },
                { { .line = "a $1", .match = "^b (.*)", .every = true }, "b x\nb y\n", "a x\na y\n" },
                { { .line = "a $1", .match = "^b (.*)" }, "b x\nb y\n", NULL, "once more" },
                { { .line = "a ${n}$$1", .match = "^b (?<n>.*)" }, "b x\n", "a x$1\n" },
                { { .line = "x$1", .match = "^(x.*)" }, "x\n", NULL, "once more" },
                { { .line = "x", .match = "^(x+)+$" }, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx!\n",
                        NULL, "too much" },
                { { .line = "é", .match = "^.$" }, "ü\n", "é\n" },
        };

        CHECK_ROWS(rows);
}

TEST(block) {
#define BLOCK(text, ...) \
        { .operation = EDIT_BLOCK, .block = (text), .begin = "# BEGIN", .end = "# END", __VA_ARGS__ }
        static const Row rows[] = {
                { BLOCK("x\ny\n"), "a\n", "a\n# BEGIN\nx\ny\n# END\n" },
                { BLOCK("x\ny"), "a", "a\n# BEGIN\nx\ny\n# END\n" },
                { BLOCK("x\n"), "", "# BEGIN\nx\n# END\n" },
                { BLOCK(""), "", "# BEGIN\n# END\n" },
                { BLOCK("x\n"), "a\n# BEGIN\nold\n# END\nb\n", "a\n# BEGIN\nx\n# END\nb\n" },
                { BLOCK("x\n"), "a\n# BEGIN\nx\n# END", "a\n# BEGIN\nx\n# END" },
                { BLOCK("x\n"), "a\r\n", "a\r\n# BEGIN\r\nx\r\n# END\r\n" },
                { BLOCK("x\n", .absent = true), "a\n# BEGIN\nold\n# END\nb\n", "a\nb\n" },
                { BLOCK("", .absent = true), "a\n", "a\n" },
                { BLOCK("x\n", .before = "BOF"), "a\n", "# BEGIN\nx\n# END\na\n" },
                { BLOCK("x\n", .after = "^a"), "a\nb\n", "a\n# BEGIN\nx\n# END\nb\n" },
                { BLOCK("x\n"), "# BEGIN\na\n", NULL, "has no end" },
                { BLOCK("x\n"), "# END\n", NULL, "without having begun" },
                { BLOCK("x\n"), "# BEGIN\n# BEGIN\n# END\n", NULL, "again in line 2" },
                { BLOCK("x\n"), "# BEGIN\n# END\n# END\n", NULL, "without having begun" },
        };

        CHECK_ROWS(rows);
}

TEST(replace) {
#define REPLACE(match_, with_, ...) \
        { .operation = EDIT_REPLACE, .match = (match_), .with = (with_), __VA_ARGS__ }
        static const Row rows[] = {
                { REPLACE("a", "b"), "aXa\n", "bXb\n" },
                { REPLACE("a", "b", .count = 1), "a\n", "b\n" },
                { REPLACE("a", "b", .count = 1), "aa\n", NULL, "once more" },
                { REPLACE("a", "aa"), "a", NULL, "once more" },
                { REPLACE("^port (\\d+)$", "listen $1"), "port 1\nport 2\n", "listen 1\nlisten 2\n" },
                { REPLACE("^port$", "x"), "port\r\n", "x\r\n" },
                { REPLACE("x", "1\n2"), "x\r\n", "1\r\n2\r\n" },
                { REPLACE("\n+\\z", "\n"), "a\n\n\n", "a\n" },
                { REPLACE("a", "b", .from = "^\\[s\\]", .to = "^\\["), "a\n[s]\na\n[t]\na\n",
                        "a\n[s]\nb\n[t]\na\n" },
                { REPLACE("a", "b", .from = "^\\[s\\]"), "a\n[s]\na\n", "a\n[s]\nb\n" },
                { REPLACE("a", "b", .from = "^\\[u\\]"), "a\n", "a\n" },
                { REPLACE("a", "b", .to = "^\\["), "a\n[s]\na\n", "b\n[s]\na\n" },
                { REPLACE("^", "> "), "a\n", NULL, "once more" },
                { REPLACE("(?<!x)y", "xy"), "y xy\n", "xy xy\n" },
                { REPLACE("a", ""), "", "" },
                { REPLACE("^(a+)+$", "x"), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", NULL,
                        "too much" },
                { REPLACE("\xc3\xa9", "e"), "\xc3\xa9\n", "e\n" },
                { REPLACE("a", "b"),
                        "\xff"
                        "a\n",
                        "\xff"
                        "b\n" },
        };

        CHECK_ROWS(rows);
}

/* ---- With tables ----------------------------------------------------------------------------------------------- */

#define STRING(text) \
        { .type = AGENTD_STRING, .string = (text), .size = sizeof(text) - 1 }
#define INTEGER(value) \
        { .type = AGENTD_INTEGER, .integer = (value) }
#define TABLE(...)                                                                        \
        {                                                                                 \
                .type = AGENTD_TABLE, .members = (const AgentdMember[]){ __VA_ARGS__ },   \
                .n = sizeof((const AgentdMember[]){ __VA_ARGS__ }) / sizeof(AgentdMember) \
        }
#define LIST(...)                                                                       \
        {                                                                               \
                .type = AGENTD_LIST, .items = (const AgentdValue[]){ __VA_ARGS__ },     \
                .n = sizeof((const AgentdValue[]){ __VA_ARGS__ }) / sizeof(AgentdValue) \
        }

static const AgentdValue key_no = TABLE({ "Key", STRING("no") });
static const AgentdValue key_words = TABLE({ "KEY", STRING("two words") });
static const AgentdValue key_comment = TABLE({ "Key", STRING("a #b") });
static const AgentdValue key_list = TABLE({ "Key", LIST(STRING("1"), STRING("2")) });
static const AgentdValue two_keys = TABLE({ "A", INTEGER(1) }, { "B", STRING("x") });
static const AgentdValue names = LIST(STRING("Key"));

#define KEYS(table_, ...) \
        { .operation = EDIT_KEYS, .table = (table_), __VA_ARGS__ }

TEST(keys) {
        static const Row rows[] = {
                { KEYS(&key_no), "Key yes\n", "Key no\n" },
                { KEYS(&key_no), "Key yes # why\n", "Key no # why\n" },
                { KEYS(&key_no), "  Key\tyes  \nb c\n", "  Key\tno  \nb c\n" },
                { KEYS(&key_no), "a = 1\nKey = yes\n", "a = 1\nKey = no\n" },
                { KEYS(&key_no), "a: 1\nKey: yes\n", "a: 1\nKey: no\n" },
                { KEYS(&key_no), "a = 1\n", "a = 1\nKey = no\n" },
                { KEYS(&key_no), "a=1", "a=1\nKey=no\n" },
                { KEYS(&key_no), "", "Key=no\n" },
                { KEYS(&key_no), "# of it all\n#Port 22\n", "# of it all\n#Port 22\nKey no\n" },
                { KEYS(&key_no), "#a = 1\n", "#a = 1\nKey = no\n" },
                { KEYS(&key_no), "# a b\n", "# a b\nKey=no\n" },
                { KEYS(&key_no, .separator = " "), "", "Key no\n" },
                { KEYS(&key_no), "Key yes\nb 1\nKey x\n", "Key no\nb 1\nKey no\n" },
                { KEYS(&key_no), "#Key yes\nb 1\n", "#Key yes\nb 1\nKey no\n" },
                { KEYS(&key_no, .uncomment = true), "#Key yes\nb 1\n", "Key no\nb 1\n" },
                { KEYS(&key_no, .uncomment = true), "# Key is\nb 1\n", "# Key is\nb 1\nKey no\n" },
                { KEYS(&key_no, .uncomment = true), "# Key = x\nb = 1\n", "Key = no\nb = 1\n" },
                { KEYS(&key_no, .uncomment = true), "#Key yes\nKey x\n", "#Key yes\nKey no\n" },
                { KEYS(&key_no), "KeyX yes\na b\n", "KeyX yes\na b\nKey no\n" },
                { KEYS(&key_no), "key yes\n", "key yes\nKey no\n" },
                { KEYS(&key_no, .ignore_case = true), "key yes\n", "key no\n" },
                { KEYS(&key_no), "Key = \"no\"\n", "Key = \"no\"\n" },
                { KEYS(&key_no), "Key = \"yes\"\n", "Key = \"no\"\n" },
                { KEYS(&key_no), "Key='yes' # x\n", "Key='no' # x\n" },
                { KEYS(&key_no), "export Key=yes\n", "export Key=no\n" },
                { KEYS(&key_no), "Key\na b\n", "Key no\na b\n" },
                { KEYS(&key_no), "Key=\n", "Key=no\n" },
                { KEYS(&key_no), "Key =\n", "Key = no\n" },
                { KEYS(&key_no), "Key = \n", "Key = no\n" },
                { KEYS(&key_no, .uncomment = true), "a = 1\n#Key =\n", "a = 1\nKey = no\n" },
                { KEYS(&key_no), "Key=yes\r\n", "Key=no\r\n" },
                { KEYS(&key_no, .before = "^Match "), "a b\nMatch x\n", "a b\nKey no\nMatch x\n" },
                { KEYS(&key_words), "A=\"x\"\n", "A=\"x\"\nKEY=\"two words\"\n" },
                { KEYS(&key_words), "KEY=\"old\"\n", "KEY=\"two words\"\n" },
                { KEYS(&key_words), "a = 1\n", "a = 1\nKEY = two words\n" },
                { KEYS(&key_comment), "Key a #b\n", "Key a #b\n" },
                { KEYS(&key_comment), "Key a #c\n", "Key a #b\n" },
                { KEYS(&key_list), "Key 1\nx y\n", "Key 1\nKey 2\nx y\n" },
                { KEYS(&key_list), "Key 0\nKey 2\nKey 3\n", "Key 1\nKey 2\n" },
                { KEYS(&key_list), "a b\n", "a b\nKey 1\nKey 2\n" },
                { KEYS(&two_keys), "B = y\n", "B = x\nA = 1\n" },
                { KEYS(NULL, .unset = &names), "Key 1\na b\nKey 2\n", "a b\n" },
                { KEYS(NULL, .unset = &names), "a b", "a b" },
                { KEYS(&key_no, .section = "s"), "[s]\nKey = yes\n[t]\nKey = yes\n",
                        "[s]\nKey = no\n[t]\nKey = yes\n" },
                { KEYS(&key_no, .section = "s"), "[s]\na=1\n\n[t]\n", "[s]\na=1\nKey=no\n\n[t]\n" },
                { KEYS(&key_no, .section = "s"), "[t]\na = 1\n", "[t]\na = 1\n\n[s]\nKey = no\n" },
                { KEYS(&key_no, .section = "s"), "", "[s]\nKey = no\n" },
                { KEYS(&key_no, .section = "s"), "[s]\n\tx = 1\n", "[s]\n\tx = 1\n\tKey = no\n" },
                { KEYS(&key_no, .section = "s", .uncomment = true), "[s]\n;Key = 1\n", "[s]\nKey = no\n" },
                { KEYS(&key_no, .section = ""), "[s]\nKey=1\n", "Key=no\n[s]\nKey=1\n" },
                { KEYS(&key_no, .section = ""), "a=1\n[s]\nKey=1\n", "a=1\nKey=no\n[s]\nKey=1\n" },
                { KEYS(NULL, .section = "s", .unset = &names), "[s]\nKey=1\nb=2\n", "[s]\nb=2\n" },
                { KEYS(NULL, .section = "s", .absent = true), "[r]\na=1\n[s]\nb=1\n# c\n[t]\n",
                        "[r]\na=1\n[t]\n" },
        };

        CHECK_ROWS(rows);
}

static const AgentdValue mysqld = TABLE({ "mysqld", TABLE({ "port", INTEGER(3306) }) });
static const AgentdValue two_sections = TABLE(
        { "g", INTEGER(1) }, { "a", TABLE({ "x", INTEGER(1) }) }, { "b", TABLE({ "y", STRING("2") }) });
static const AgentdValue a_path = LIST(STRING("a.x"));

TEST(ini) {
#define INI(table_, ...) \
        { .operation = EDIT_INI, .table = (table_), __VA_ARGS__ }
        static const Row rows[] = {
                { INI(&mysqld), "[mysqld]\nport = 1\n# c\n", "[mysqld]\nport = 3306\n# c\n" },
                { INI(&mysqld), "", "[mysqld]\nport = 3306\n" },
                { INI(&mysqld), "[mysqld]\nport=3306\n", "[mysqld]\nport=3306\n" },
                { INI(&mysqld, .exact = true), "; c\n[x]\na=1\n[mysqld]\nport=3306\nb=1\n",
                        "; c\n[mysqld]\nport=3306\n" },
                { INI(&two_sections), "[a]\nx=0\n", "g=1\n[a]\nx=1\n\n[b]\ny=2\n" },
                { INI(&mysqld, .unset = &a_path), "[a]\nx=1\n[mysqld]\nport=3306\n",
                        "[a]\n[mysqld]\nport=3306\n" },
                { INI(&mysqld), "[mysqld]\r\nport=1\r\n", "[mysqld]\r\nport=3306\r\n" },
        };

        CHECK_ROWS(rows);
}

static const AgentdValue simple = TABLE({ "a", INTEGER(1) });
static const AgentdValue nested = TABLE({ "t", TABLE({ "x", STRING("y") }) });
static const AgentdValue deep = TABLE({ "t", TABLE({ "u", TABLE({ "v", INTEGER(1) }) }) });
static const AgentdValue list = TABLE({ "l", LIST(INTEGER(1), INTEGER(2)) });
static const AgentdValue none = LIST(STRING("t.x"));
static const AgentdValue none_whole = LIST(STRING("t"));

TEST(json) {
#define JSON(table_, ...) \
        { .operation = EDIT_JSON, .table = (table_), __VA_ARGS__ }
        static const Row rows[] = {
                { JSON(&simple), "", "{\n  \"a\": 1\n}\n" },
                { JSON(&simple), "{}\n", "{\n  \"a\": 1\n}\n" },
                { JSON(&simple), "{\"b\": 0.10, \"a\": 2}", "{\"b\": 0.10, \"a\": 1}" },
                { JSON(&simple), "{\"b\":1}", "{\"b\":1,\"a\":1}" },
                { JSON(&simple), "{\"b\": 1}", "{\"b\": 1, \"a\": 1}" },
                { JSON(&simple), "{\n\t\"b\": 1.50\n}\n", "{\n\t\"b\": 1.50,\n\t\"a\": 1\n}\n" },
                { JSON(&simple), "{\r\n    \"b\": 1\r\n}\r\n",
                        "{\r\n    \"b\": 1,\r\n    \"a\": 1\r\n}\r\n" },
                { JSON(&simple), "{\"a\": 1, \"c\": [1,  2]}", "{\"a\": 1, \"c\": [1,  2]}" },
                { JSON(&two_keys), "{\n \"z\": 1\n}\n", "{\n \"z\": 1,\n \"A\": 1,\n \"B\": \"x\"\n}\n" },
                { JSON(&nested), "{\n    \"b\": 1\n}\n",
                        "{\n    \"b\": 1,\n    \"t\": {\n        \"x\": \"y\"\n    }\n}\n" },
                { JSON(&nested), "{\n  \"t\": {},\n  \"b\": 1\n}\n",
                        "{\n  \"t\": {\n    \"x\": \"y\"\n  },\n  \"b\": 1\n}\n" },
                { JSON(&nested), "{\"t\": {\"x\": \"z\"}}", "{\"t\": {\"x\": \"y\"}}" },
                { JSON(&nested), "{\"t\": 5}", "{\"t\": {\"x\": \"y\"}}" },
                { JSON(&nested), "{\"\\u0074\": {\"x\": \"z\"}}", "{\"\\u0074\": {\"x\": \"y\"}}" },
                { JSON(&deep), "{\"t\": {}}", "{\"t\": {\"u\": {\"v\": 1}}}" },
                { JSON(&list), "{\"l\": [1, 2]}", "{\"l\": [1, 2]}" },
                { JSON(&list), "{\"l\": [1]}", "{\"l\": [1, 2]}" },
                { JSON(&simple, .exact = true), "{\"a\":1}", "{\"a\":1}" },
                { JSON(&simple, .exact = true), "{\n \"b\": 2\n}\n", "{\n \"a\": 1\n}\n" },
                { JSON(NULL, .unset = &none), "{\"t\": {\"w\": 1, \"x\": 2, \"y\": 3}}",
                        "{\"t\": {\"w\": 1, \"y\": 3}}" },
                { JSON(NULL, .unset = &none), "{\"t\": {\"w\": 1, \"x\": 2}}", "{\"t\": {\"w\": 1}}" },
                { JSON(NULL, .unset = &none), "{\"t\": {\"x\": 2}}", "{\"t\": {}}" },
                { JSON(NULL, .unset = &none), "{\"t\": 1}", "{\"t\": 1}" },
                { JSON(&simple), "[1]", NULL, "no object" },
                { JSON(&simple), "{", NULL, "no JSON" },
                { JSON(&simple), "{\"a\": 1, \"a\": 2}", NULL, "duplicate" },
                { JSON(&simple), "{\"b\": \"\xff\"}", NULL, "no JSON" },
        };

        CHECK_ROWS(rows);
}

static const AgentdMember date_member = { "d",
        { .type = AGENTD_STRING, .n = AGENTD_DATE, .string = "2026-01-02", .size = 10 } };
static const AgentdValue date = { .type = AGENTD_TABLE, .members = &date_member, .n = 1 };
static const AgentdValue date_text = TABLE({ "d", STRING("2026-01-02") });

TEST(toml) {
#define TOML(table_, ...) \
        { .operation = EDIT_TOML, .table = (table_), __VA_ARGS__ }
        static const Row rows[] = {
                { TOML(&simple), "", "a = 1\n" },
                { TOML(&simple), "# c\n", "# c\na = 1\n" },
                { TOML(&simple), "a = 2 # c\n", "a = 1 # c\n" },
                { TOML(&simple), "a=0x01 # c\n", "a=0x01 # c\n" },
                { TOML(&simple), "b = 1 # c\n# d\n\n[t]\n", "b = 1 # c\na = 1\n# d\n\n[t]\n" },
                { TOML(&simple), "# d\n[t]\na = 2\n", "a = 1\n# d\n[t]\na = 2\n" },
                { TOML(&simple), "b = 1\r\n", "b = 1\r\na = 1\r\n" },
                { TOML(&simple), "b = 1", "b = 1\na = 1\n" },
                { TOML(&nested), "a = 1\n", "a = 1\n\n[t]\nx = \"y\"\n" },
                { TOML(&nested), "[t]\n# c\n  x = 'z' # d\n[u]\n", "[t]\n# c\n  x = \"y\" # d\n[u]\n" },
                { TOML(&nested), "[t]\n  w = 1\n\n[u]\n", "[t]\n  w = 1\n  x = \"y\"\n\n[u]\n" },
                { TOML(&nested), "[t]\n[u]\n", "[t]\nx = \"y\"\n[u]\n" },
                { TOML(&nested), "t.w = 1\n", "t.w = 1\nt.x = \"y\"\n" },
                { TOML(&nested), "t = { w = 1 }\n", "t = { w = 1, x = \"y\" }\n" },
                { TOML(&nested), "t = {}\n", "t = { x = \"y\" }\n" },
                { TOML(&nested), "t = { x = 1, w = 2 }\n", "t = { x = \"y\", w = 2 }\n" },
                { TOML(&nested), "[t.s]\na = 1\n", "[t.s]\na = 1\n\n[t]\nx = \"y\"\n" },
                { TOML(&nested), "\"t\".'x' = 1\n", "\"t\".'x' = \"y\"\n" },
                { TOML(&deep), "[t]\nx = 1\n", "[t]\nx = 1\n\n[t.u]\nv = 1\n" },
                { TOML(&date), "", "d = 2026-01-02\n" },
                { TOML(&date), "d = \"2026-01-02\"\n", "d = 2026-01-02\n" },
                { TOML(&date), "d = 2026-01-03 # c\n", "d = 2026-01-02 # c\n" },
                { TOML(&date), "d = 2026-01-02 # c\n", "d = 2026-01-02 # c\n" },
                { TOML(&date_text), "d = 2026-01-02 # c\n", "d = 2026-01-02 # c\n" },
                { TOML(&date_text), "", "d = \"2026-01-02\"\n" },
                { TOML(&list), "l = [\n  1, # one\n]\n", "l = [1, 2]\n" },
                { TOML(&list), "l = [1, # c\n 2]\n", "l = [1, # c\n 2]\n" },
                { TOML(&list), "[[l]]\na = 1 # c\n", NULL, "array of tables" },
                { TOML(&simple), "[a]\nb = 1\n", NULL, "as a table" },
                { TOML(&simple), "s = '''\na = 2\n'''\n", "s = '''\na = 2\n'''\na = 1\n" },
                { TOML(&simple), "[[x]]\na = 5\n[[x]]\na = 6\n", "a = 1\n[[x]]\na = 5\n[[x]]\na = 6\n" },
                { TOML(&simple), "a = \n", NULL, "no TOML" },
                { TOML(&simple), "a = 1\na = 2\n", NULL, "no TOML" },
                { TOML(&simple, .exact = true), "# c\na = 1\n", "# c\na = 1\n" },
                { TOML(&nested, .exact = true), "# c\na = 1\n", "[t]\nx = \"y\"\n" },
                { TOML(NULL, .unset = &none), "[t]\nw = 1\nx = 2 # c\n", "[t]\nw = 1\n" },
                { TOML(NULL, .unset = &none), "t = { w = 1, x = 2 }\n", "t = { w = 1 }\n" },
                { TOML(NULL, .unset = &none), "t = { x = 2, w = 1 }\n", "t = { w = 1 }\n" },
                { TOML(NULL, .unset = &none_whole), "a = 1\n[t]\nx = 2\n[t.u]\n[v]\n", "a = 1\n[v]\n" },
        };

        CHECK_ROWS(rows);
}

/* ---- Several --------------------------------------------------------------------------------------------------- */

TEST(compose) {
        static const Edit one = { .line = "b" }, two = { .line = "c", .match = "^b" },
                          bad = { .line = "x", .match = "^(x+)+$" }, three = { .line = "d" };
        Part parts[] = { { .edit = &one, .id = "edit:1" }, { .edit = &bad, .id = "edit:2" },
                { .edit = &three, .id = "edit:3" } };
        Part fight[] = { { .edit = &one, .id = "edit:1" }, { .edit = &three, .id = "edit:3" },
                { .edit = &two, .id = "edit:2" } };
        const char *text = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx!\n";
        Buffer result = {};

        /* One that fails does not stop the others; each has its own part. */
        ASSERT_OK(edit_compose(parts, 3, text, strlen(text), &result));
        ASSERT_TRUE(result.size == strlen(text) + 4 && memcmp(result.data + strlen(text), "b\nd\n", 4) == 0);
        ASSERT_NULL(parts[0].error);
        ASSERT_NOT_NULL(parts[1].error);
        ASSERT_NULL(parts[2].error);
        ASSERT_EQ(parts[2].before_size, strlen(text) + 2);
        ASSERT_EQ(parts[2].after_size, strlen(text) + 4);
        edit_parts_done(parts, 3);
        buffer_done(&result);

        /* Two that undo each other fail, and name each other; what is between them is done. */
        ASSERT_OK(edit_compose(fight, 3, "a\n", 2, &result));
        ASSERT_TRUE(result.size == 4 && memcmp(result.data, "a\nd\n", 4) == 0);
        ASSERT_NOT_NULL(strstr(fight[0].error, "edit:2"));
        ASSERT_NULL(fight[1].error);
        ASSERT_NOT_NULL(strstr(fight[2].error, "edit:1"));
        edit_parts_done(fight, 3);
        buffer_done(&result);

        /* Also if the text is as the first one wants it. */
        fight[0] = (Part){ .edit = &one, .id = "edit:1" };
        fight[1] = (Part){ .edit = &two, .id = "edit:2" };
        ASSERT_OK(edit_compose(fight, 2, "b\n", 2, &result));
        ASSERT_TRUE(result.size == 2 && memcmp(result.data, "b\n", 2) == 0);
        ASSERT_NOT_NULL(fight[0].error);
        ASSERT_NOT_NULL(fight[1].error);
        edit_parts_done(fight, 2);
        buffer_done(&result);
}

/* Texts between the edits are not kept then. */
TEST(edits_of_a_large_text_that_fight) {
        static const Edit edits[] = { { .line = "1" }, { .line = "2" }, { .line = "3" }, { .line = "4" },
                { .line = "5" }, { .line = "b" }, { .line = "c", .match = "^b" } };
        Part parts[ELEMENTSOF(edits)];
        size_t size = MIB(15);
        _cleanup_free_ char *text = malloc(size);
        Buffer result = {};

        ASSERT_NOT_NULL(text);
        memset(text, 'x', size);
        for (size_t i = 0; i < ELEMENTSOF(edits); i++)
                parts[i] = (Part){ .edit = &edits[i], .id = "edit:x" };
        ASSERT_OK(edit_compose(parts, ELEMENTSOF(edits), text, size, &result));
        ASSERT_NOT_NULL(parts[5].error);
        for (size_t i = 0; i < 5; i++)
                ASSERT_NULL(parts[i].error);
        edit_parts_done(parts, ELEMENTSOF(edits));
        buffer_done(&result);
}

TEST(patterns) {
        static const char *const wrong[] = { "(", "[a", "a{2,1}", "(?<n>a)(?<n>b)", "\\C", "*a" };
        Regex regex;

        FOREACH_ELEMENT(pattern, wrong) {
                _cleanup_free_ char *error = NULL;

                ASSERT_EQ(regex_new(*pattern, REGEX_UTF, &regex, &error), -EINVAL);
                ASSERT_NOT_NULL(strstr(error, "wrong at character"));
        }
}

RUN_TESTS(RUN(line), RUN(block), RUN(replace), RUN(keys), RUN(ini), RUN(json), RUN(toml), RUN(compose),
        RUN(edits_of_a_large_text_that_fight), RUN(patterns))
