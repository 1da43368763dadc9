/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Several roles: what they import, override and give to each other, and which hosts they are for. */

#include "test-load.h"

#define PLACES \
        "roles, /etc/agentd/roles, /run/agentd/roles, /var/lib/agentd/bundle/roles, /usr/lib/agentd/roles"

/* Files of one case: path, text, path, text …; those in conf/. */
static void put_all(const char *const *files) {
        clear("conf");
        (void) mkdir(in("conf"), 0755);
        for (; *files; files += 2) {
                char path[PATH_MAX];

                (void) snprintf(path, sizeof(path), "conf/%s", files[0]);
                put(path, files[1]);
        }
}

#define PUT(...)            put_all((const char *const[]){ __VA_ARGS__, NULL })
#define LOADS(...)          (PUT(__VA_ARGS__), loads())
#define FAILS(errors_, ...) (PUT(__VA_ARGS__), fails(errors_))

static void has_states(const char *const *ids, uint32_t n) {
        for (uint32_t i = 0; i < n; i++)
                if (!has_state(ids[i]))
                        fail_msg("there is no %s", ids[i]);
        ASSERT_EQ(image_n_states(image), n);
}

#define HAS(...)                                         \
        has_states((const char *const[]){ __VA_ARGS__ }, \
                sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* Whether the state is what it would be if it were declared by this text. */
static void is_like(const char *id, const char *text) {
        uint8_t hash[IMAGE_HASH_SIZE];

        memcpy(hash, state_of(id)->hash, sizeof(hash));
        clear("conf");
        put("conf/like.toml", text);
        loads();
        assert_memory_equal(state_of(id)->hash, hash, sizeof(hash));
}

static bool depends_on_file(const char *path, bool there) {
        const ImageFile *files = image_array(image, files, ImageFile);

        for (uint32_t i = 0; i < image->header->files.n; i++)
                if (streq(image_text(image, files[i].path), in(path)))
                        return there == (files[i].inode != 0);
        return false;
}

/* ---- Imports --------------------------------------------------------------------------------------------------- */

TEST(imports_are_found) {
        LOADS("a.toml", "import = [\"b\", { role = \"c\" }]\n[file.\"/a\"]\n", "roles/b.toml",
                "import = [\"c\"]\n[file.\"/b\"]\n", "roles/c/main.toml",
                "[file.\"/c\"]\ntemplate = \"c.mustache\"\n", "roles/c/c.mustache", "x", "roles/d.toml",
                "nobody = reads this\n");
        HAS("file:/a", "file:/b", "file:/c");
        ASSERT_EQ(image->header->roles.n, 3);
        ASSERT_TRUE(depends_on_file("conf/roles/b.toml", true));
        ASSERT_TRUE(depends_on_file("conf/roles/c/main.toml", true));
        ASSERT_TRUE(depends_on_file("conf/roles/c/c.mustache", true));
        /* This one would come first. */
        ASSERT_TRUE(depends_on_file("conf/roles/c.toml", false));
}

TEST(each_role_is_there_once) {
        LOADS("a.toml", "import = [\"b\", \"c\", \"b\"]\n", "d.toml", "import = [\"b\"]\n", "roles/b.toml",
                "import = [\"c\"]\n[file.\"/b\"]\n", "roles/c.toml", "[file.\"/c\"]\n");
        HAS("file:/b", "file:/c");

        /* Also if it is applied by a link and imported, under whatever names. */
        PUT("a.toml", "import = [\"b\"]\n", "roles/b.toml", "[file.\"/b\"]\n");
        ASSERT_OK(symlink("roles/b.toml", in("conf/link.toml")));
        ASSERT_OK(symlink("b.toml", in("conf/roles/c.toml")));
        put("conf/d.toml", "import = [\"c\"]\n");
        loads();
        HAS("file:/b");
        /* A role may have the name of one that it imports. */
        LOADS("b.toml", "import = [\"b\"]\n", "roles/b.toml", "[file.\"/b\"]\n");
        HAS("file:/b");
}

TEST(masked_roles) {
        PUT("a.toml", "import = [\"b\", \"c\"]\n[file.\"/a\"]\n", "roles/d", "");
        ASSERT_OK(symlink("/dev/null", in("conf/roles/b.toml")));
        ASSERT_OK(symlink("/dev/null", in("conf/roles/c")));
        loads();
        HAS("file:/a");
        ASSERT_TRUE(depends_on_file("conf/roles/b.toml", true));
        ASSERT_TRUE(depends_on_file("conf/roles/c", true));
}

TEST(precedence_of_directories) {
        LoadOptions options = usual();
        char root[PATH_MAX];

        (void) snprintf(root, sizeof(root), "%s", in("root"));
        put("root/etc/agentd/conf.d/a.toml", "import = [\"b\", \"c\", \"d\", \"e\", \"f\"]\n");
        put("root/etc/agentd/roles/b.toml", "[file.\"/etc-b\"]\n");
        put("root/run/agentd/roles/b.toml", "[file.\"/run-b\"]\n");
        put("root/run/agentd/roles/c/main.toml", "[file.\"/run-c\"]\n");
        put("root/var/lib/agentd/bundle/roles/c.toml", "[file.\"/bundle-c\"]\n");
        put("root/var/lib/agentd/bundle/roles/d.toml", "[file.\"/bundle-d\"]\n");
        put("root/usr/lib/agentd/roles/d.toml", "[file.\"/usr-d\"]\n");
        put("root/usr/lib/agentd/roles/e.toml", "[file.\"/usr-e\"]\n");
        put("root/usr/lib/agentd/roles/f.toml", "[file.\"/usr-f\"]\n");
        ASSERT_OK(symlink("/dev/null", in("root/etc/agentd/roles/f.toml")));
        options.root = root;
        options.conf_dir = NULL;
        load_with(&options);
        ASSERT_STREQ(errors, "");
        HAS("file:/etc-b", "file:/run-c", "file:/bundle-d", "file:/usr-e");

        /* Before these comes the one of --conf-dir. */
        put("conf/a.toml", "import = [\"b\", \"c\"]\n");
        put("conf/roles/b.toml", "[file.\"/conf-b\"]\n");
        options.conf_dir = in("conf");
        load_with(&options);
        ASSERT_STREQ(errors, "");
        HAS("file:/conf-b", "file:/run-c");
}

TEST(imports_that_cannot_be) {
        static const Case cases[] = {
                { "import = \"b\"\n",
                        "a.toml:1:10: error: 'import' is a string; it must be an array of roles "
                        "like [\"base\", { role = \"tls\", vars = { … } }]" },
                { "import = [1, []]\n",
                        "a.toml:1:11: error: 'import' is an integer; it must be an array of names and of "
                        "tables with 'role'\n"
                        "a.toml:1:14: error: 'import' is an array; it must be an array of names and of "
                        "tables with 'role'" },
                { "import = [{ rol = \"b\" }, { role = 1 }]\n",
                        "a.toml:1:11: error: an import needs 'role', the name of what is imported\n"
                        "a.toml:1:13: error: unknown key 'rol' in an import; did you mean 'role'?\n"
                        "a.toml:1:35: error: 'role' is an integer; it must be a string" },
                { "import = [{ role = \"b\", vars = 1 }]\n",
                        "a.toml:1:20: error: there is no role 'b' (looked for b.toml and b/main.toml "
                        "in " PLACES ")\n"
                        "a.toml:1:32: error: 'vars' is an integer; it must be a table" },
                { "import = [\"\", \"../b\", \".b\", \"b\\u0000c\"]\n",
                        "a.toml:1:11: error: '' is no name of a role: that is the file's in roles/, without "
                        "'.toml'\n"
                        "a.toml:1:15: error: '../b' is no name of a role: that is the file's in roles/, "
                        "without '.toml'\n"
                        "a.toml:1:23: error: '.b' is no name of a role: that is the file's in roles/, "
                        "without '.toml'\n"
                        "a.toml:1:29: error: 'b' is no name of a role: that is the file's in roles/, "
                        "without "
                        "'.toml'" },
                { "import = [\"a\"]\n",
                        "a.toml:1:11: error: there is no role 'a'; a.toml is applied by itself, and only "
                        "what "
                        "lies in a directory of roles can be imported (looked for a.toml and a/main.toml "
                        "in " PLACES ")" },
        };

        ALL_FAIL(cases);
        FAILS("a.toml:1:11: error: there is no role 'bsae'; did you mean 'base'? (looked for bsae.toml and "
              "bsae/main.toml in " PLACES ")",
                "a.toml", "import = [\"bsae\"]\n", "roles/base.toml", "");
        /* Neither what has no main.toml nor the name itself is meant. */
        FAILS("a.toml:1:11: error: there is no role 'base' (looked for base.toml and base/main.toml "
              "in " PLACES ")",
                "a.toml", "import = [\"base\"]\n", "roles/base/page.mustache", "", "roles/bare/x.toml", "");
        FAILS("roles/b.toml: error: role 'b' is also 'roles/b/main.toml'; remove one of them", "a.toml",
                "import = [\"b\"]\n", "roles/b.toml", "", "roles/b/main.toml", "");

        PUT("a.toml", "import = [\"b\"]\n", "roles/x.toml", "");
        ASSERT_OK(symlink("nowhere", in("conf/roles/b.toml")));
        fails("roles/b.toml: error: the role cannot be used: it is a symlink to 'nowhere', which does not "
              "exist");
        PUT("a.toml", "import = [\"x\"]\n", "roles/x.toml", "");
        ASSERT_OK(chmod(in("conf/roles"), 0777));
        load();
        ASSERT_TRUE(startswith(errors, "roles: error: anybody can put roles into it; its mode must be "
                                       "like 0755\n") ||
                    startswith(errors, "a.toml"));
        ASSERT_NULL(image);
}

TEST(import_cycles) {
        FAILS("roles/d.toml:2:9: error: the roles import each other in a cycle: b imports c imports d "
              "imports b",
                "a.toml", "import = [\"b\"]\n", "roles/b.toml", "import = [\"c\"]\n", "roles/c.toml",
                "import = [\"d\"]\n", "roles/d.toml", "import = [\n        \"b\", \"e\"]\n", "roles/e.toml",
                "");
        FAILS("roles/b.toml:1:11: error: the roles import each other in a cycle: b imports b", "a.toml",
                "import = [\"b\"]\n", "roles/b.toml", "import = [\"b\"]\n");
        /* Two circles. */
        FAILS("roles/c.toml:1:11: error: the roles import each other in a cycle: b imports c imports b\n"
              "roles/d.toml:1:11: error: the roles import each other in a cycle: d imports d",
                "a.toml", "import = [\"b\", \"d\"]\n", "roles/b.toml", "import = [\"c\"]\n", "roles/c.toml",
                "import = [\"b\"]\n", "roles/d.toml", "import = [\"d\"]\n");
}

TEST(roles_that_are_off) {
        LOADS("a.toml", "when = \"false\"\nimport = [\"b\", \"c\"]\n[file.\"/a\"]\n", "d.toml",
                "import = [\"c\"]\n[file.\"/d\"]\nrequires = [\"file:/b\", \"file:/a\"]\n", "roles/b.toml",
                "[file.\"/b\"]\ncontent = \"{{vars.nowhere}}\"\n", "roles/c.toml", "[file.\"/c\"]\n");
        HAS("file:/c", "file:/d");
        /* What is imported may be off by itself. */
        LOADS("a.toml", "import = [\"b\"]\n[vars]\non = false\n[override.\"file:/b\"]\nmode = \"0600\"\n",
                "roles/b.toml", "when = \"vars.on\"\nimport = [\"c\"]\n[vars]\non = true\n[file.\"/b\"]\n",
                "roles/c.toml", "[file.\"/c\"]\n");
        ASSERT_EQ(image_n_states(image), 0);
        /* What names a template would make cannot be told. */
        LOADS("a.toml",
                "import = [\"b\"]\n[override.\"file:/b/one\"]\nmode = \"0600\"\n"
                "[file.\"/a\"]\nrequires = [\"file:/b/two\", \"file:/c/x\"]\n",
                "roles/b.toml",
                "when = \"false\"\n[vars]\nc = \"/c\"\n[file.\"/b/{{item}}\"]\nfor_each = \"vars.nothing\"\n"
                "[file.\"{{vars.c}}/x\"]\n");
        HAS("file:/a");
}

TEST(audited_roles) {
        LOADS("a.toml", "mode = \"audit\"\nimport = [\"b\", \"c\"]\n", "d.toml", "import = [\"c\"]\n",
                "roles/b.toml", "[file.\"/b\"]\n", "roles/c.toml", "[file.\"/c\"]\n");
        ASSERT_TRUE(state_of("file:/b")->flags & IMAGE_STATE_AUDIT);
        ASSERT_FALSE(state_of("file:/c")->flags & IMAGE_STATE_AUDIT);
}

/* ---- Variables ------------------------------------------------------------------------------------------------- */

TEST(precedence_of_variables) {
        static const char own[] = "[vars]\na = \"own\"\nb = \"{{vars.a}}+\"\n[file.\"/{{vars.a}}\"]\n"
                                  "[file.\"/{{vars.b}}\"]\n";
        LoadOptions options;

        LOADS("a.toml", "import = [\"b\"]\n", "roles/b.toml", own);
        HAS("file:/own", "file:/own+");
        LOADS("a.toml", "import = [\"b\"]\n[vars]\na = \"importer\"\n", "roles/b.toml", own);
        HAS("file:/importer", "file:/importer+");
        LOADS("a.toml",
                "import = [{ role = \"b\", vars = { a = \"{{vars.a}}'s import\" } }]\n[vars]\na = "
                "\"importer\"\n",
                "roles/b.toml", own);
        HAS("file:/importer's import", "file:/importer's import+");
        LOADS("a.toml", "import = [{ role = \"b\", vars = { a = \"import\" } }]\n[vars]\na = \"importer\"\n",
                "roles/b.toml", own, "vars.d/10.toml", "a = \"host\"\nc = 1\n");
        HAS("file:/host", "file:/host+");
        put("conf/vars.d/20.toml", "a = \"{{vars.a}}2\"\n");
        loads();
        HAS("file:/host2", "file:/host2+");
        put("conf/vars.d/hosts/elsewhere.toml", "a = \"elsewhere\"\n");
        loads();
        HAS("file:/host2", "file:/host2+");

        options = usual();
        options.vars = (const char *const[]){ "a=line", "unknown=1", NULL };
        load_with(&options);
        ASSERT_STREQ(errors, "");
        HAS("file:/line", "file:/line+");
}

/* What of the command line nobody reads is most likely a slip. */
TEST(arguments_that_no_role_reads) {
        static const char *const read[] = { "port=2", "proxy=1", "q.r=false", "unread.b=1", "table.x=1",
                NULL };
        LoadOptions options = usual();

        PUT("a.toml", "[vars]\nport = 1\nunread = { a = 1 }\n[file.\"/a\"]\ncontent = "
                      "\"{{vars.port}}{{#vars.proxy}}x"
                      "{{/vars.proxy}}{{#vars.table.*}}{{key}}{{/vars.table.*}}\"\n[file.\"/b\"]\nwhen = "
                      "\"default("
                      "vars.q.r, true)\"\n");
        options.vars = read;
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_NULL(strstr(logged, "--var"));

        options.vars = (const char *const[]){ "prot=1", "q.s=1", "q.r.s=true", "xyz=1", NULL };
        load_with(&options);
        ASSERT_STREQ(errors, "a.toml:7:9: error: a condition must be a boolean; this is a table");
        options.vars = (const char *const[]){ "prot=1", "q.s=1", "xyz=1", "vars.port=1", NULL };
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_NOT_NULL(strstr(logged, "--var prot: no role reads it; did you mean 'port'?"));
        ASSERT_NOT_NULL(strstr(logged, "--var q.s: no role reads it"));
        ASSERT_NOT_NULL(strstr(logged, "--var xyz: no role reads it"));
        ASSERT_NOT_NULL(strstr(logged, "--var vars.port: no role reads it; did you mean 'port'?"));
}

TEST(variables_of_the_importer_of_the_importer) {
        LOADS("a.toml", "import = [\"b\"]\n[vars]\nx = \"x\"\n", "roles/b.toml",
                "import = [{ role = \"c\", vars = { y = \"y\" } }]\n[file.\"/{{vars.x}}\"]\n",
                "roles/c.toml", "import = [\"d\"]\n", "roles/d.toml", "[file.\"/{{vars.x}}{{vars.y}}\"]\n");
        HAS("file:/x", "file:/xy");
        /* Siblings, and those that import, see nothing of them. */
        FAILS("a.toml:3:9: error: undefined name 'vars.own'\n"
              "roles/c.toml:1:10: error: undefined name 'vars.own'",
                "a.toml", "import = [\"b\", \"c\"]\n\n[file.\"/{{vars.own}}\"]\n", "roles/b.toml",
                "[vars]\nown = 1\n", "roles/c.toml", "[file.\"/c{{vars.own}}\"]\n");
}

TEST(tables_of_variables_are_merged) {
        LoadOptions options;

        LOADS("a.toml", "import = [{ role = \"b\", vars = { t.c.d = 4 } }]\n[vars.t]\na = 2\nlist = [9]\n",
                "roles/b.toml",
                "[vars.t]\na = 1\nb = 1\nlist = [1, 2]\n[vars.t.c]\nd = 1\ne = 1\n"
                "[file.\"/{{vars.t.a}}{{vars.t.b}}{{vars.t.c.d}}{{vars.t.c.e}}{{#vars.t.list}}-{{.}}{{/"
                "vars.t.list}}\"]\n",
                "vars.d/x.toml", "t.c.e = 5\n");
        HAS("file:/2145-9");
        options = usual();
        options.vars = (const char *const[]){ "t.c.d=7", "t.list=[8, \"x\"]", "t.b=1.10", NULL };
        load_with(&options);
        ASSERT_STREQ(errors, "");
        HAS("file:/21.1075-8-x");

        FAILS("a.toml:3:1: error: 'vars.t' is a string here, and a table at roles/b.toml:1:7; a table and "
              "another value cannot replace each other",
                "a.toml", "import = [\"b\"]\n[vars]\nt = \"x\"\n", "roles/b.toml", "[vars.t]\na = 1\n");
        FAILS("vars.d/x.toml:1:3: error: 'vars.t.a' is a table here, and an integer at a.toml:2:1; a table "
              "and another value cannot replace each other",
                "a.toml", "[vars.t]\na = 1\n[file.\"/x\"]\n", "vars.d/x.toml", "t.a.b = 1\n");
}

TEST(files_of_variables) {
        FAILS("vars.d/x.toml:1:2: error: a file in vars.d holds nothing but variables: leave [vars] out",
                "a.toml", "", "vars.d/x.toml", "[vars]\na = 1\n");
        FAILS("vars.d/x.toml:1:6: error: undefined name 'vars.nowhere'\n"
              "vars.d/y.toml:1:5: error: expected value, saw '\\n'",
                "a.toml", "", "vars.d/x.toml", "a = \"{{vars.nowhere}}\"\n", "vars.d/y.toml", "a = \n");
}

TEST(files_that_are_named) {
        LoadOptions options = usual();

        PUT("etc/conf.d/a.toml", "import = [\"b\", \"c\"]\n[file.\"/{{vars.x}}\"]\n", "etc/roles/b.toml",
                "[file.\"/b\"]\n", "etc/vars.d/x.toml", "x = \"x\"\n", "etc/vars.d/hosts/h.toml",
                "x = \"h\"\n", "elsewhere/c.toml", "[file.\"/c\"]\n");
        options.conf_dir = NULL;
        options.role_files = (const char *const[]){
                in("conf/etc/conf.d/a.toml"),
                in("conf/elsewhere/c.toml"),
                in("conf/etc/vars.d/x.toml"),
                in("conf/etc/vars.d/hosts/h.toml"),
                NULL,
        };
        load_with(&options);
        ASSERT_STREQ(errors, "");
        HAS("file:/b", "file:/c", "file:/h");
        ASSERT_EQ(image->header->roles.n, 3);
        options.role_files = (const char *const[]){ in("conf/etc/vars.d/x.toml"), NULL };
        put("conf/etc/vars.d/x.toml", "x = \"{{vars.y}}\"\n");
        load_with(&options);
        ASSERT_STREQ(errors, "etc/vars.d/x.toml:1:6: error: undefined name 'vars.y'");
}

TEST(words_of_the_command_line) {
        static const struct {
                const char *word, *errors;
        } cases[] = {
                { "a.=1", "--var a.: error: a part of the variable's name is empty" },
                { "a..b=1", "--var a..b: error: a part of the variable's name is empty" },
                { "a=[1", "--var a: error: '[1' is not a value of TOML; a string that begins like one wants "
                          "quotes" },
                { "a='x'\nb=2",
                        "--var a: error: ''x'?b=2' is not a value of TOML; a string that begins like "
                        "one wants quotes" },
        };
        LoadOptions options = usual();

        put("conf/a.toml", "[file.\"/a\"]\n");
        FOREACH_ELEMENT(c, cases) {
                options.vars = (const char *const[]){ c->word, NULL };
                load_with(&options);
                ASSERT_STREQ(errors, c->errors);
        }
        put("conf/a.toml",
                "[file.\"/{{vars.a}}\"]\nfor_each = [true]\nwhen = \"vars.b and vars.c == 12\"\n");
        options.vars = (const char *const[]){ "a=x=y", "b=true", "c=12", NULL };
        load_with(&options);
        ASSERT_STREQ(errors, "");
        HAS("file:/x=y");
}

TEST(imported_twice) {
        FAILS("b.toml:2:12: error: role 'tls' is imported with other vars than at a.toml:1:20; a role is "
              "there "
              "once, with the same vars for all",
                "a.toml", "import = [{ role = \"tls\", vars = { domain = \"a\" } }]\n", "b.toml",
                "import = [\n  { role = \"tls\", vars = { domain = \"b\" } }]\n", "roles/tls.toml",
                "[file.\"/{{vars.domain}}\"]\n");
        /* With and without. */
        FAILS("b.toml:1:11: error: role 'tls' is imported with other vars than at a.toml:1:20; a role is "
              "there "
              "once, with the same vars for all",
                "a.toml", "import = [{ role = \"tls\", vars = { domain = \"a\" } }]\n", "b.toml",
                "import = [\"tls\"]\n", "roles/tls.toml", "");
        LOADS("a.toml", "import = [{ role = \"tls\", vars = { domain = \"x\", n = { a = 1, b = 2 } } }]\n",
                "b.toml",
                "import = [{ role = \"tls\", vars = { n = { b = 2, a = 1 }, domain = \"{{vars.x}}\" } "
                "}]\n[vars]\nx = \"x\"\n",
                "roles/tls.toml", "[file.\"/{{vars.domain}}\"]\n");
        HAS("file:/x");
        /* That of a role that is off does not count. */
        LOADS("a.toml", "when = \"false\"\nimport = [{ role = \"tls\", vars = { domain = \"a\" } }]\n",
                "b.toml", "import = [{ role = \"tls\", vars = { domain = \"b\" } }]\n", "roles/tls.toml",
                "[file.\"/{{vars.domain}}\"]\n");
        HAS("file:/b");
}

TEST(importers_that_do_not_agree) {
        static const char a[] =
                "import = [\"base\"]\n[vars]\nport = 1\nsame = \"s\"\nt = { x = 1, y = 1 }\n";
        static const char b[] =
                "import = [\"base\"]\n[vars]\nport = 2\nsame = \"s\"\nt = { x = 1, y = 2 }\n";

        /* Where nobody asks it is no matter. */
        LOADS("a.toml", a, "b.toml", b, "roles/base.toml", "[file.\"/{{vars.same}}{{vars.t.x}}\"]\n");
        HAS("file:/s1");
        FAILS("roles/base.toml:2:7: error: the roles that import 'base' do not agree on 'vars.port': "
              "a.toml:3:8, b.toml:3:8; give it with the import\n"
              "roles/base.toml:4:9: error: the roles that import 'base' do not agree on 'vars.t.y': "
              "a.toml:5:18, b.toml:5:18; give it with the import\n"
              "roles/more.toml:1:7: error: the roles that import 'more' do not agree on 'vars.port': "
              "a.toml:3:8, b.toml:3:8; give it with the import",
                "a.toml", a, "b.toml", b, "roles/base.toml",
                "import = [\"more\"]\n[file.\"/{{vars.port}}\"]\n[file.\"/x\"]\nwhen = \"vars.t == 1\"\n",
                "roles/more.toml", "[file.\"/{{vars.port}}\"]\n");
        /* What is written otherwise comes out otherwise. */
        FAILS("roles/base.toml:1:7: error: the roles that import 'base' do not agree on 'vars.x': "
              "a.toml:3:5, "
              "b.toml:3:5; give it with the import",
                "a.toml", "import = [\"base\"]\n[vars]\nx = 1\n", "b.toml",
                "import = [\"base\"]\n[vars]\nx = 1.0\n", "roles/base.toml", "[file.\"/{{vars.x}}\"]\n");
        LOADS("a.toml", "import = [\"base\"]\n[vars]\nx = nan\n", "b.toml",
                "import = [\"base\"]\n[vars]\nx = nan\n", "roles/base.toml", "[file.\"/{{vars.x}}\"]\n");
        HAS("file:/nan");
}

/* Where the whole of a string is {{name}}, in variables and in parameters. */
TEST(values_go_as_they_are) {
        /* Tables and lists through an import, and into parameters. */
        LOADS("a.toml",
                "import = [{ role = \"b\", vars = { all = \"{{vars.mine}}\", n = \"{{vars.number}}\" } }]\n"
                "[vars]\nmine = { x = [\"1\", \"2\"], y = [] }\nnumber = 7\n",
                "roles/b.toml",
                "[vars]\nall = {}\nn = 1\nagain = \"{{vars.all.x}}\"\n"
                "[file.\"/{{item}}\"]\nfor_each = \"vars.again\"\n"
                "[file.\"/{{item.key}}\"]\nfor_each = \"vars.all\"\nwhen = \"vars.n < 8\"\n"
                "[kinds.k]\nlist = \"{{vars.all.x}}\"\ntable = { a = \"{{vars.all}}\", n = [\"{{vars.n}}\"] "
                "}\n"
                "any = [\"{{vars.n}}\"]\nspan = \"{{vars.n}}\"\n");
        HAS("file:/1", "file:/2", "file:/x", "file:/y", "kinds:k");
        is_like("kinds:k",
                "[kinds.k]\nlist = [\"1\", \"2\"]\ntable = { a = { x = [\"1\", \"2\"], y = [] }, n = [7] }\n"
                "any = [\"7\"]\nspan = \"7\"\n");

        /* What looks like a template in a value is text: nobody else's words are evaluated. */
        LOADS("a.toml", "[vars]\nx = [\"{{=<% %>=}}{{facts.nope}}\"]\nt = { a = \"{{=<% %>=}}{{b}}\" }\n"
                        "[kinds.k]\nlist = \"{{vars.x}}\"\nany = \"{{vars.t}}\"\n");
        is_like("kinds:k",
                "[kinds.k]\nlist = [\"{{=<% %>=}}{{facts.nope}}\"]\nany = { a = \"{{=<% %>=}}{{b}}\" }\n");

        FAILS("a.toml:2:6: error: 'list' is an integer; it must be a string\n"
              "a.toml:5:8: error: 'list' is an integer; it must be an array of strings\n"
              "a.toml:8:9: error: 'table' is an array; it must be a table\n"
              "a.toml:11:10: error: 'vars.x' is an array and cannot be written as text",
                "a.toml",
                "[vars]\nx = [1]\nn = 1\n[kinds.a]\nlist = \"{{vars.n}}\"\n[kinds.b]\nlist = "
                "\"{{vars.x}}\"\ntable = \"{{vars.x}}\"\n[kinds.c]\n\nlist = [\"{{vars.x}}\"]\n");
}

/* ---- Overrides ------------------------------------------------------------------------------------------------- */

TEST(overrides) {
        LOADS("a.toml",
                "import = [\"b\"]\n[vars]\nwhat = \"a\"\n[override.\"file:/etc//motd\"]\ncontent = "
                "\"{{vars.what}}\"\nmode = \"0600\"\n",
                "roles/b.toml", "[file.\"/etc/motd\"]\ncontent = \"b\"\nowner = \"root\"\n[file.\"/x\"]\n");
        is_like("file:/etc/motd",
                "[file.\"/etc/motd\"]\ncontent = \"a\"\nmode = \"0600\"\nowner = \"root\"\n");

        /* What excludes it goes; and a template is that of the role that names it. */
        LOADS("a.toml", "import = [\"b\"]\n[override.\"file:/x\"]\ntemplate = \"t\"\n", "t", "of a",
                "roles/b.toml", "[file.\"/x\"]\ncontent = \"b\"\n", "roles/t", "of b");
        put("t", "of a");
        is_like("file:/x", "[file.\"/x\"]\ntemplate = \"../t\"\n");

        /* Settings that all states have. */
        LOADS("a.toml",
                "import = [\"b\"]\n[override.\"file:/x\"]\nwhen = \"exists('/a')\"\nremove = "
                "[\"requires\"]\n",
                "roles/b.toml", "[file.\"/x\"]\nrequires = [\"file:/y\"]\n[file.\"/y\"]\nbefore = []\n");
        ASSERT_EQ(image->header->dependents.n, 0);
        ASSERT_TRUE(state_of("file:/x")->when != 0);

        /* One of a loop; its item is known. */
        LOADS("a.toml", "import = [\"b\"]\n[override.\"file:/2\"]\ncontent = \"{{item}}!\"\n",
                "roles/b.toml", "[file.\"/{{item}}\"]\nfor_each = [1, 2]\ncontent = \"\"\n");
        HAS("file:/1", "file:/2");
        is_like("file:/2", "[file.\"/2\"]\ncontent = \"2!\"\n");
}

TEST(the_nearest_override_counts) {
        static const char c[] = "[file.\"/x\"]\ncontent = \"c\"\n";

        LOADS("a.toml", "import = [\"b\"]\n[override.\"file:/x\"]\ncontent = \"a\"\nmode = \"0600\"\n",
                "roles/b.toml", "import = [\"c\"]\n[override.\"file:/x\"]\ncontent = \"b\"\n",
                "roles/c.toml", c);
        is_like("file:/x", "[file.\"/x\"]\ncontent = \"b\"\nmode = \"0600\"\n");
        /* Two that are as near, and of one mind. */
        LOADS("a.toml", "import = [\"c\"]\n[override.\"file:/x\"]\ncontent = \"a\"\n", "b.toml",
                "import = [\"c\"]\n[override.\"file:/x\"]\ncontent = \"a\"\nmode = \"0600\"\n",
                "roles/c.toml", c);
        is_like("file:/x", "[file.\"/x\"]\ncontent = \"a\"\nmode = \"0600\"\n");
        FAILS("b.toml:3:11: error: 'content' of file:/x is overridden at a.toml:3:11 as well, by a role "
              "that is "
              "as near",
                "a.toml", "import = [\"c\"]\n[override.\"file:/x\"]\ncontent = \"a\"\n", "b.toml",
                "import = [\"c\"]\n[override.\"file:/x\"]\ncontent = \"b\"\n", "roles/c.toml", c);
        /* That of a role that is off is none. */
        LOADS("a.toml", "import = [\"c\"]\nwhen = \"false\"\n[override.\"file:/x\"]\ncontent = \"a\"\n",
                "b.toml", "import = [\"c\"]\n", "roles/c.toml", c);
        is_like("file:/x", c);
}

/* Also where one setting excludes another, and of what is taken out. */
TEST(the_nearest_override_counts_for_what_it_excludes) {
        static const char c[] = "[file.\"/x\"]\ncontent = \"c\"\n";

        LOADS("a.toml", "import = [\"b\"]\n[override.\"file:/x\"]\ntemplate = \"t\"\nmode = \"0600\"\n", "t",
                "t", "roles/b.toml", "import = [\"c\"]\n[override.\"file:/x\"]\ncontent = \"b\"\n",
                "roles/c.toml", c);
        is_like("file:/x", "[file.\"/x\"]\ncontent = \"b\"\nmode = \"0600\"\n");

        LOADS("a.toml", "import = [\"b\"]\n[override.\"file:/x\"]\nmode = \"0600\"\n", "roles/b.toml",
                "import = [\"c\"]\n[override.\"file:/x\"]\nremove = [\"mode\"]\n", "roles/c.toml", c);
        is_like("file:/x", c);

        FAILS("b.toml:3:12: error: both 'content' and 'template' are given; only one of them can be",
                "a.toml", "import = [\"c\"]\n[override.\"file:/x\"]\ncontent = \"a\"\n", "b.toml",
                "import = [\"c\"]\n[override.\"file:/x\"]\ntemplate = \"t\"\n", "t", "t", "roles/c.toml", c);
}

TEST(what_is_taken_out) {
        LOADS("a.toml",
                "import = [\"b\"]\n[override.\"file:/x\"]\nremove = true\n[override.\"file:/y\"]\nremove = "
                "[\"content\"]\n",
                "roles/b.toml",
                "[file.\"/x\"]\n[file.\"/y\"]\ncontent = \"\"\nmode = \"0600\"\nrequires = [\"file:/x\"]\n");
        HAS("file:/y");
        is_like("file:/y", "[file.\"/y\"]\nmode = \"0600\"\n");
        /* The nearer one wants it. */
        LOADS("a.toml", "import = [\"b\"]\n[override.\"file:/x\"]\nremove = true\n", "roles/b.toml",
                "import = [\"c\"]\n[override.\"file:/x\"]\nremove = false\n", "roles/c.toml",
                "[file.\"/x\"]\n");
        HAS("file:/x");
}

TEST(overrides_that_cannot_be) {
        static const struct {
                const char *text, *errors;
        } cases[] = {
                { "[override.\"file:/b\"]\ncontent = 1\nmode = \"9\"\n",
                        "a.toml:3:11: error: 'content' is an integer; it must be a string\n"
                        "a.toml:4:8: error: 'mode' is '9'; it must be a string of octal digits like "
                        "\"0644\"" },
                { "[override.\"file:/b\"]\ncontnet = \"\"\n",
                        "a.toml:3:1: error: unknown key 'contnet' in file state; did you mean 'content'?" },
                { "[override.\"file:/b\"]\nfor_each = []\n", "a.toml:3:1: error: 'for_each' cannot be "
                                                             "overridden: the states are there already; a "
                                                             "variable could be" },
                { "[override.\"file:/d\"]\nmode = \"0600\"\n",
                        "a.toml:2:11: error: there is no state 'file:/d' to override; did you mean "
                        "'file:/b'?" },
                { "[override.\"nothing:like-it\"]\nmode = \"0600\"\n",
                        "a.toml:2:11: error: there is no state 'nothing:like-it' to override" },
                { "[override.file.\"/b\"]\nmode = \"0600\"\n",
                        "a.toml:2:11: error: 'file' is no state; write [override.\"TYPE:NAME\"], like "
                        "[override.\"file:/etc/motd\"]" },
                { "[override]\n\"file:/b\" = 1\n",
                        "a.toml:3:13: error: 'file:/b' is an integer; it must be a table of settings" },
                { "override = 1\n",
                        "a.toml:2:12: error: 'override' is an integer; it must be a table of states: "
                        "[override.\"file:/etc/motd\"]" },
                { "[override.\"file:/a\"]\nmode = \"0600\"\n[file.\"/a\"]\n",
                        "a.toml:2:11: error: file:/a is a state of this role; change it there: a.toml:4:7" },
                { "[override.\"file:/c\"]\nmode = \"0600\"\n", "a.toml:2:11: error: file:/c is a state of "
                                                               "role 'c' (c.toml:1:7), which this role does "
                                                               "not import" },
                { "[override.\"file:/b\"]\nremove = 1\n", "a.toml:3:10: error: 'remove' is an integer; it "
                                                          "must be true, for the whole state, or "
                                                          "an array of settings like [\"content\"]" },
                { "[override.\"file:/b\"]\nremove = [1]\n",
                        "a.toml:3:11: error: 'remove' is an integer; it must be an array of strings" },
                { "[override.\"file:/b\"]\nremove = [\"contnet\"]\n",
                        "a.toml:3:11: error: file:/b has no setting 'contnet' that could be taken out; did "
                        "you "
                        "mean 'content'?" },
                { "[override.\"plain:b\"]\nremove = [\"one\"]\n",
                        "a.toml:3:11: error: 'one' cannot be taken out: a plain state needs it" },
                { "[override.\"file:/b\"]\ncontent = \"x\"\n[override.\"file:/b/\"]\ncontent = \"y\"\n",
                        "a.toml:5:11: error: 'content' of file:/b is overridden twice in this role; first "
                        "at "
                        "a.toml:3:11" },
                { "[override.\"file:/b\"]\nremove = [\"content\"]\ncontent = \"\"\n",
                        "a.toml:4:11: error: 'content' of file:/b is both taken out and set" },
                { "[override.\"file:{{vars.x}}\"]\n", "a.toml:2:17: error: undefined name 'vars.x'" },
                { "[file.\"/b\"]\n",
                        "roles/b.toml:1:7: error: file:/b is declared twice; first at a.toml:2:7; what an "
                        "import brings is changed by [override.\"file:/b\"]" },
        };

        FOREACH_ELEMENT(c, cases) {
                char text[512];

                (void) snprintf(text, sizeof(text), "import = [\"b\"]\n%s", c->text);
                FAILS(c->errors, "a.toml", text, "c.toml", "[file.\"/c\"]\n", "roles/b.toml",
                        "[file.\"/b\"]\ncontent = \"\"\n[plain.b]\none = \"\"\n");
        }
}

/* ---- Hosts ----------------------------------------------------------------------------------------------------- */

TEST(hosts) {
        static const struct {
                const char *hosts;
                bool on;
        } cases[] = {
                { "['web-1']", true },
                { "['web-2']", false },
                { "['web-*.example.org']", true },
                { "['WEB-?.Example.org']", true },
                { "['db', 'web-[0-9]']", true },
                { "['0123456789abcdef0123456789abcdef']", true },
                { "['!web-1']", false },
                { "['!web-2']", true },
                { "['web-*', '!web-1.example.org']", false },
                { "['!db', 'web-*']", true },
                { "['!db', 'mail']", false },
                { "['{{vars.prefix}}-*']", true },
                { "['example.org']", false },
        };
        LoadOptions options = usual();
        char root[PATH_MAX];

        (void) snprintf(root, sizeof(root), "%s", in("root"));
        options.root = root;
        put("root/etc/hostname", "web-1\n");
        put("root/etc/hosts", "192.0.2.1 web-1.example.org web-1\n");
        put("root/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        FOREACH_ELEMENT(c, cases) {
                char text[256];

                (void) snprintf(
                        text, sizeof(text), "hosts = %s\n[vars]\nprefix = 'web'\n[file.\"/x\"]\n", c->hosts);
                put("conf/a.toml", text);
                load_with(&options);
                ASSERT_STREQ(errors, "");
                if (has_state("file:/x") != c->on)
                        fail_msg("%s", c->hosts);
                ASSERT_TRUE(image->header->facts.n >= 1);
        }

        /* What it reads need not be on other hosts. */
        put("conf/a.toml", "hosts = ['db']\nwhen = \"facts.local.db.nowhere\"\n[file.\"/x\"]\n");
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_EQ(image_n_states(image), 0);

        /* Nor is it known what its loops would make; who refers to that need not know whether the role is on. */
        put("conf/a.toml",
                "hosts = ['db']\n[file.\"/srv//{{item}}/x\"]\nfor_each = \"facts.local.db.nowhere\"\n"
                "[file.\"/{{vars.y}}-[1]\"]\n");
        put("conf/b.toml", "import = ['c']\n[file.\"/b\"]\nrequires = ['file:/srv/a/x']\n"
                           "before = ['file:/srv/b/x']\ncheck_on = ['file:/srv/c//x']\n"
                           "[override.\"file:/opt/a\"]\nmode = '0600'\n");
        put("conf/roles/c.toml", "hosts = ['db']\n[file.\"/opt/{{item}}\"]\nfor_each = ['a']\n");
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_EQ(image_n_states(image), 1);
        /* What does not look like them is still a mistake. */
        put("conf/b.toml",
                "import = ['c']\n[file.\"/b\"]\nrequires = ['file:/srv/a/y', 'file:/y-2', 'exec:/srv/a/x']\n"
                "[override.\"file:/op/a\"]\nmode = '0600'\n");
        load_with(&options);
        ASSERT_STREQ(errors, "b.toml:3:13: error: there is no state 'file:/srv/a/y'\n"
                             "b.toml:3:30: error: there is no state 'file:/y-2'; did you mean 'file:/b'?\n"
                             "b.toml:3:43: error: there is no state 'exec:/srv/a/x'\n"
                             "b.toml:4:11: error: there is no state 'file:/op/a' to override");
        /* Patterns are not taken for one of them. */
        put("conf/b.toml", "[file.\"/srv/z/x\"]\n[file.\"/b\"]\nrequires = ['file:/srv/?/x']\n");
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_EQ(image_node(image, index_of("file:/srv/z/x"))->dependents.n, 1);
        clear("conf/roles");

        /* Variables of this host, the more a name tells the later. */
        clear("conf");
        put("conf/a.toml", "[file.\"/{{vars.a}}{{vars.b}}{{vars.c}}\"]\n");
        put("conf/vars.d/z.toml", "a = 1\nb = 1\nc = 1\n");
        put("conf/vars.d/hosts/web-1.toml", "b = 2\nc = 2\n");
        put("conf/vars.d/hosts/web-1.example.org.toml", "c = 3\n");
        put("conf/vars.d/hosts/web-2.toml", "broken\n");
        load_with(&options);
        ASSERT_STREQ(errors, "");
        HAS("file:/123");
}

TEST(hosts_that_are_none) {
        static const Case cases[] = {
                { "hosts = \"all\"\n",
                        "a.toml:1:9: error: 'hosts' is a string; it must be an array of patterns like "
                        "[\"web-*.example.org\", \"!web-9.example.org\"]" },
                { "hosts = []\n",
                        "a.toml:1:9: error: 'hosts' is empty, so that the role would be for no host; write "
                        "when = \"false\" if that is meant" },
                { "hosts = [1, \"\", \"!\"]\n",
                        "a.toml:1:10: error: 'hosts' is an integer; it must be an array of strings\n"
                        "a.toml:1:13: error: '' is no pattern for the name of a host\n"
                        "a.toml:1:17: error: '!' is no pattern for the name of a host" },
        };

        ALL_FAIL(cases);
}

/* ---- All together ---------------------------------------------------------------------------------------------- */

TEST(all_errors_in_one_go) {
        FAILS("a.toml:1:11: error: there is no role 'nowhere' (looked for nowhere.toml and "
              "nowhere/main.toml in " PLACES ")\n"
              "a.toml:3:1: error: unknown key 'contnet' in file state; did you mean 'content'?\n"
              "b.toml:1:9: error: undefined name 'vars.x'\n"
              "roles/c.toml:1:1: error: 'fiel' is neither a key of roles nor a state type; did you mean "
              "'file'?\n"
              "roles/d.toml:2:8: error: 'mode' is '9'; it must be a string of octal digits like \"0644\"",
                "a.toml",
                "import = [\"nowhere\", \"c\", \"d\"]\n[file.\"/a\"]\ncontnet = 1\n[override.\"file:/c\"]\n",
                "b.toml", "[file.\"/{{vars.x}}\"]\n", "roles/c.toml", "fiel = 1\n", "roles/d.toml",
                "[file.\"/d\"]\nmode = \"9\"\n");
}

TEST(many_roles) {
        _cleanup_free_ char *list = NULL;
        size_t size;
        FILE *f = open_memstream(&list, &size);

        /* A long chain and a wide one. */
        (void) fputs("import = [\"r0\"", f);
        for (unsigned i = 0; i < 1000; i++) {
                char path[64], text[256];

                (void) fprintf(f, ", \"r%u\"", i);
                (void) snprintf(path, sizeof(path), "conf/roles/r%u.toml", i);
                (void) snprintf(text, sizeof(text), "%s%u%s[file.\"/%u\"]\n",
                        i < 999 ? "import = [\"r" : "# ", i + 1, i < 999 ? "\"]\n" : "\n", i);
                put(path, text);
        }
        (void) fputs("]\n", f);
        (void) fclose(f);
        put("conf/a.toml", list);
        loads();
        ASSERT_EQ(image_n_states(image), 1000);
        ASSERT_EQ(image->header->roles.n, 1001);
}

RUN_TESTS(RUN_FRESH(imports_are_found), RUN_FRESH(each_role_is_there_once), RUN_FRESH(masked_roles),
        RUN_FRESH(precedence_of_directories), RUN_FRESH(imports_that_cannot_be), RUN_FRESH(import_cycles),
        RUN_FRESH(roles_that_are_off), RUN_FRESH(audited_roles), RUN_FRESH(precedence_of_variables),
        RUN_FRESH(arguments_that_no_role_reads), RUN_FRESH(variables_of_the_importer_of_the_importer),
        RUN_FRESH(tables_of_variables_are_merged), RUN_FRESH(files_of_variables),
        RUN_FRESH(files_that_are_named), RUN_FRESH(words_of_the_command_line), RUN_FRESH(imported_twice),
        RUN_FRESH(importers_that_do_not_agree), RUN_FRESH(values_go_as_they_are), RUN_FRESH(overrides),
        RUN_FRESH(the_nearest_override_counts), RUN_FRESH(the_nearest_override_counts_for_what_it_excludes),
        RUN_FRESH(what_is_taken_out), RUN_FRESH(overrides_that_cannot_be), RUN_FRESH(hosts),
        RUN_FRESH(hosts_that_are_none), RUN_FRESH(all_errors_in_one_go), RUN_FRESH(many_roles))
