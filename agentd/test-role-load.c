/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The loader as it runs: a child for each load, on an event loop, with roles and modules in directories. */

#include "test-load.h"

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

TEST(keys_that_are_not) {
        static const Case cases[] = {
                { "[file.\"/x\"]\ncontnet = \"a\"\n",
                        "a.toml:2:1: error: unknown key 'contnet' in file state; did you mean 'content'?" },
                { "[file.\"/x\"]\nzzzzzzzz = \"a\"\n",
                        "a.toml:2:1: error: unknown key 'zzzzzzzz' in file state" },
                { "[file.\"/x\"]\nrequire = []\n",
                        "a.toml:2:1: error: unknown key 'require' in file state; did you mean 'requires'?" },
                { "[file.\"/x\"]\nsrc = \"a\"\nuser = \"a\"\nno_log = true\n",
                        "a.toml:2:1: error: unknown key 'src' in file state; did you mean 'source'?\n"
                        "a.toml:3:1: error: unknown key 'user' in file state; did you mean 'owner'?\n"
                        "a.toml:4:1: error: unknown key 'no_log' in file state; did you mean 'sensitive'?" },
                { "[copy.\"/x\"]\n", "a.toml:1:2: error: 'copy' is neither a key of roles nor a state type; "
                                     "did you mean 'file'?" },
                { "[lineinfile.x]\n",
                        "a.toml:1:2: error: 'lineinfile' is neither a key of roles nor a state "
                        "type (no module provides it)" },
                { "[file.\"/x\"]\n\"mode\\u0000\" = \"0644\"\n",
                        "a.toml:2:1: error: a key has a NUL in it, which no name can have" },
                { "[fiel.\"/x\"]\n", "a.toml:1:2: error: 'fiel' is neither a key of roles nor a state type; "
                                     "did you mean 'file'?" },
                { "[zzzzzzzz.x]\n", "a.toml:1:2: error: 'zzzzzzzz' is neither a key of roles nor a state "
                                    "type (no module provides it)" },
                { "[\"file\\u0000\".\"/x\"]\n",
                        "a.toml:1:2: error: a key has a NUL in it, which no name can have" },
                { "\"vars\\u0000\" = 1\n\"trigger\\u0000\" = 1\n",
                        "a.toml:1:1: error: a key has a NUL in it, which no name can have" },
                { "contents = 1\n", "a.toml:1:1: error: 'contents' is neither a key of roles nor a state "
                                    "type (no module provides it)" },
                { "descriptoin = \"x\"\n", "a.toml:1:1: error: 'descriptoin' is neither a key of roles nor "
                                           "a state type; did you mean 'description'?" },
                { "[sink.x]\n[job.y]\n[test.z]\n",
                        "a.toml:1:2: error: 'sink' is not supported by this version of agentd\n"
                        "a.toml:2:2: error: 'job' is not supported by this version of agentd\n"
                        "a.toml:3:2: error: 'test' is not supported by this version of agentd" },
                { "[secrets]\n[alarm.x]\n[notifier.x]\n[sink.x]\n",
                        "a.toml:1:2: error: 'secrets' is not supported by this version of agentd\n"
                        "a.toml:2:2: error: 'alarm' is not supported by this version of agentd\n"
                        "a.toml:3:2: error: 'notifier' is not supported by this version of agentd\n"
                        "a.toml:4:2: error: 'sink' is not supported by this version of agentd" },
                { "file = 1\n",
                        "a.toml:1:1: error: 'file' is a state type, and wants a name: [file.\"…\"]" },
                { "[file]\n\"/x\" = 1\n\"/y\" = \"z\"\n\"/z\" = []\n",
                        "a.toml:2:1: error: state 'file:/x' is an integer; it must be a table: "
                        "[file.\"/x\"]\n"
                        "a.toml:3:1: error: state 'file:/y' is a string; it must be a table: [file.\"/y\"]\n"
                        "a.toml:4:1: error: state 'file:/z' is an array; it must be a table: "
                        "[file.\"/z\"]" },
                { "[[file.\"/x\"]]\n", "a.toml:1:8: error: state 'file:/x' is an array; it must be a table: "
                                       "[file.\"/x\"]" },
                { "[[file]]\n",
                        "a.toml:1:3: error: 'file' is a state type, and wants a name: [file.\"…\"]" },
                { "[plain.a.b.c]\none = \"x\"\n",
                        "a.toml:1:10: error: unknown key 'b' in plain state 'a'; a "
                        "name with dots wants quotes: [plain.\"a.b.c\"]" },
                { "[plain.a.b]\none = \"x\"\n", "a.toml:1:10: error: unknown key 'b' in plain state 'a'; a "
                                                "name with dots wants quotes: [plain.\"a.b\"]" },
        };

        ALL_FAIL(cases);
}

TEST(settings_of_the_wrong_type) {
        static const Case cases[] = {
                { "[file.\"/x\"]\ncontent = 1\n",
                        "a.toml:2:11: error: 'content' is an integer; it must be a string" },
                { "[file.\"/x\"]\nmode = 644\n", "a.toml:2:8: error: 'mode' is an integer; it must be a "
                                                 "string of octal digits: \"1204\" or \"0644\"?" },
                { "[file.\"/x\"]\nmode = 0o644\n", "a.toml:2:8: error: 'mode' is an integer; it must be a "
                                                   "string of octal digits: \"0644\" or \"0420\"?" },
                { "[file.\"/x\"]\nmode = 4755\n", "a.toml:2:8: error: 'mode' is an integer; it must be a "
                                                  "string of octal digits: \"4755\"?" },
                { "[file.\"/x\"]\nmode = 699\n", "a.toml:2:8: error: 'mode' is an integer; it must be a "
                                                 "string of octal digits: \"1273\"?" },
                { "[file.\"/x\"]\nmode = 7\n", "a.toml:2:8: error: 'mode' is an integer; it must be a "
                                               "string of octal digits: \"0007\"?" },
                { "[file.\"/x\"]\nmode = 9999\n", "a.toml:2:8: error: 'mode' is an integer; it must be a "
                                                  "string of octal digits like \"0644\"" },
                { "[file.\"/x\"]\nmode = -1\n", "a.toml:2:8: error: 'mode' is an integer; it must be a "
                                                "string of octal digits like \"0644\"" },
                { "[file.\"/x\"]\nmode = \"0689\"\n", "a.toml:2:8: error: 'mode' is '0689'; it must be a "
                                                      "string of octal digits like \"0644\"" },
                { "[file.\"/x\"]\nmode = \"rw-r--r--\"\n", "a.toml:2:8: error: 'mode' is 'rw-r--r--'; it "
                                                           "must be octal digits like \"0644\", or "
                                                           "symbolic like \"u=rw,go=r\"" },
                { "[file.\"/x\"]\nparents = { mode = \"u=rw\" }\n",
                        "a.toml:2:20: error: 'mode' is 'u=rw'; it must be a string of octal digits like "
                        "\"0644\"" },
                { "[file.\"/x\"]\nmode = \"17777\"\n", "a.toml:2:8: error: 'mode' is '17777'; it must be a "
                                                       "string of octal digits like \"0644\"" },
                { "[file.\"/x\"]\nmode = \"0644\\u0000\"\n",
                        "a.toml:2:8: error: 'mode' has a NUL in it; it must be a string of octal digits "
                        "like \"0644\"" },
                { "[file.\"/x\"]\nmode = \"\"\n", "a.toml:2:8: error: 'mode' is ''; it must be a string of "
                                                  "octal digits like \"0644\"" },
                { "[file.\"/x\"]\nmode = true\n", "a.toml:2:8: error: 'mode' is a boolean; it must be a "
                                                  "string of octal digits like \"0644\"" },
                { "[file.\"/x\"]\nensure = \"presnt\"\n",
                        "a.toml:2:10: error: 'ensure' is 'presnt'; it must be one of file, directory, "
                        "symlink, hardlink, absent" },
                { "[file.\"/x\"]\nensure = \"direktory\"\n",
                        "a.toml:2:10: error: 'ensure' is 'direktory'; did you mean 'directory'? (one of "
                        "file, directory, symlink, hardlink, absent)" },
                { "[file.\"/x\"]\nensure = \"file\\u0000\"\n",
                        "a.toml:2:10: error: 'ensure' has a NUL in it; it must be one of file, directory, "
                        "symlink, hardlink, absent" },
                { "[file.\"/x\"]\nowner = \"\"\ngroup = \"a:b\"\n",
                        "a.toml:2:9: error: 'owner' is '', which is no name of a user\n"
                        "a.toml:3:9: error: 'group' is 'a:b', which is no name of a group" },
                { "[file.\"/x\"]\nowner = \"a\\u0000b\"\n",
                        "a.toml:2:9: error: 'owner' is 'a', which is no name of a user" },
                { "[file.\"/x\"]\nparents = true\n", "a.toml:2:11: error: 'parents' is a boolean; it must "
                                                     "be a table like { create = … }" },
                { "[file.\"/x\"]\nparents = { crate = true, mode = 755 }\n",
                        "a.toml:2:13: error: unknown key 'crate' in 'parents'; did you mean 'create'?\n"
                        "a.toml:2:34: error: 'mode' is an integer; it must be a string of octal digits: "
                        "\"1363\" or \"0755\"?" },
                { "[file.\"/x\"]\nrequires = \"file:/y\"\n",
                        "a.toml:2:12: error: 'requires' is a string; it must be an array of states like "
                        "[\"file:/etc/motd\", \"user:*\"]" },
                { "[file.\"/x\"]\nbefore = [1, \"y\"]\n",
                        "a.toml:2:11: error: 'before' is an integer; it must be an array of strings\n"
                        "a.toml:2:14: error: 'y' is no state; write TYPE:NAME, like \"file:/etc/motd\"" },
                { "[file.\"/x\"]\nrequires = [\"file:/y\\u0000\"]\n",
                        "a.toml:2:13: error: 'file:/y' is no state; write TYPE:NAME, like "
                        "\"file:/etc/motd\"" },
                { "[file.\"/x\"]\ntimeout = \"soon\"\n", "a.toml:2:11: error: 'timeout' must be a time span "
                                                         "above 0 like \"2min 30s\", or \"infinity\"" },
                { "[file.\"/x\"]\ntimeout = 0\n", "a.toml:2:11: error: 'timeout' must be a time span above "
                                                  "0 like \"2min 30s\", or \"infinity\"" },
                { "[file.\"/x\"]\ntimeout = \"0s\"\n", "a.toml:2:11: error: 'timeout' must be a time span "
                                                       "above 0 like \"2min 30s\", or \"infinity\"" },
                { "[file.\"/x\"]\ntimeout = 1.5\n", "a.toml:2:11: error: 'timeout' must be a time span "
                                                    "above 0 like \"2min 30s\", or \"infinity\"" },
                { "[file.\"/x\"]\naudit = \"true\"\nsensitive = 1\ncheck_as_root = []\n",
                        "a.toml:2:9: error: 'audit' is a string; it must be true or false\n"
                        "a.toml:3:13: error: 'sensitive' is an integer; it must be true or false\n"
                        "a.toml:4:17: error: 'check_as_root' is an array; it must be true or false" },
                { "description = 1\nvars = 2\n",
                        "a.toml:1:15: error: 'description' is an integer; it must be a string\n"
                        "a.toml:2:8: error: 'vars' is an integer; it must be a table" },
                { "[kinds.x]\nboolean = \"true\"\ninteger = \"1\"\nreal = \"1.5\"\nstring = 1\nlist = "
                  "\"x\"\n"
                  "table = []\npoint = []\nspan = \"1 fortnight\"\nbytes = \"1X\"\n",
                        "a.toml:2:11: error: 'boolean' is a string; it must be true or false\n"
                        "a.toml:3:11: error: 'integer' is a string; it must be an integer\n"
                        "a.toml:4:8: error: 'real' is a string; it must be a number\n"
                        "a.toml:5:10: error: 'string' is an integer; it must be a string\n"
                        "a.toml:6:8: error: 'list' is 'x'; it must be an array of strings\n"
                        "a.toml:7:9: error: 'table' is an array; it must be a table\n"
                        "a.toml:8:9: error: 'point' is an array; it must be a table like { x = … }\n"
                        "a.toml:9:8: error: 'span' is '1 fortnight'; it must be a time span like \"2min "
                        "30s\"\n"
                        "a.toml:10:9: error: 'bytes' is '1X'; it must be a size like \"64M\"" },
                { "[kinds.x]\ninteger = 1.0\nreal = true\nspan = -1\nbytes = \"16E\"\nlist = [\"a\", 1]\n",
                        "a.toml:2:11: error: 'integer' is a float; it must be an integer\n"
                        "a.toml:3:8: error: 'real' is a boolean; it must be a number\n"
                        "a.toml:4:8: error: 'span' is no number of seconds that can be; it must be a time "
                        "span like \"2min 30s\"\n"
                        "a.toml:5:9: error: 'bytes' is '16E', which is more than can be\n"
                        "a.toml:6:14: error: 'list' is an integer; it must be a string" },
                { "[kinds.x]\npoint = { y = 1 }\n", "a.toml:2:9: error: 'point' needs 'x'" },
                { "[vars]\nt = { y = 1 }\n[kinds.x]\npoint = \"{{vars.t}}\"\n",
                        "a.toml:4:9: error: 'point' needs 'x'" },
                { "[vars]\nn = 1\ns = \"x\"\n[kinds.n]\npoint = \"{{vars.n}}\"\n[kinds.s]\npoint = "
                  "\"{{vars.s}}\"\n[kinds.t]\npoint = \"x\"\n",
                        "a.toml:5:9: error: 'point' is an integer; it must be a table like { x = … }\n"
                        "a.toml:7:9: error: 'point' is 'x'; it must be a table\n"
                        "a.toml:9:9: error: 'point' is a string; it must be a table like { x = … }" },
                { "[kinds.x]\npoint = { x = \"1\", z = 1, xx = 2 }\n",
                        "a.toml:2:15: error: 'x' is a string; it must be an integer\n"
                        "a.toml:2:20: error: unknown key 'z' in 'point'\n"
                        "a.toml:2:27: error: unknown key 'xx' in 'point'; did you mean 'x'?" },
                { "[kinds.x]\ncolour = \"redd\"\ncolours = [\"red\", \"gren\", \"zzzzzz\"]\n",
                        "a.toml:2:10: error: 'colour' is 'redd'; did you mean 'red'? (one of red, green, "
                        "blue)\n"
                        "a.toml:3:19: error: 'colours' is 'gren'; did you mean 'green'? (one of red, green, "
                        "blue)\n"
                        "a.toml:3:27: error: 'colours' is 'zzzzzz'; it must be one of red, green, blue" },
                { "[kinds.x]\npassword = 1\npin = \"1234\"\n",
                        "a.toml:2:12: error: 'password' is an integer; it must be a string\n"
                        "a.toml:3:7: error: 'pin' is a string; it must be an integer" },
                { "[plain.x]\n", "a.toml:1:8: error: plain state 'x' needs 'one'" },
                { "[plain.x]\ntwo = \"x\"\n", "a.toml:1:8: error: plain state 'x' needs 'one'" },
                { "[odd-default.x]\n", "error: the module declares a default for 'mode', 'rwx', that is not "
                                       "a string of octal digits like \"0644\"" },
        };

        ALL_FAIL(cases);
}

TEST(names_and_paths) {
        static const Case cases[] = {
                { "[file.\"x\"]\n", "a.toml:1:7: error: 'x' is a relative path; the name of a file state is "
                                    "an absolute one" },
                { "[file.\"./x\"]\n", "a.toml:1:7: error: './x' is a relative path; the name of a file "
                                      "state is an absolute one" },
                { "[file.\"\"]\n", "a.toml:1:7: error: a state's name is empty" },
                { "[file.\"/a/../b\"]\n",
                        "a.toml:1:7: error: '/a/../b' has a '..' in it; write the path that it leads to" },
                { "[file.\"/a/..\"]\n",
                        "a.toml:1:7: error: '/a/..' has a '..' in it; write the path that it leads to" },
                { "[file.\"/a\\u0000b\"]\n",
                        "a.toml:1:7: error: a key has a NUL in it, which no name can have" },
                { "[plain.\"a\\nb\"]\none = \"x\"\n",
                        "a.toml:1:8: error: a state's name has a NUL or a line end in it" },
                { "[kinds.x]\npath = \"y\"\npaths = [\"/ok\", \"/a/../b\", \"\"]\n",
                        "a.toml:2:8: error: 'path' is 'y', which is relative; a path begins with '/'\n"
                        "a.toml:3:17: error: 'paths' is '/a/../b', which has a '..' in it; write the path "
                        "that it leads to\n"
                        "a.toml:3:28: error: 'paths' is '', which is relative; a path begins with '/'" },
                { "[kinds.x]\nchecksum = \"sha1:12\"\n[kinds.y]\nchecksum = \"sha256:"
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a\"\n"
                  "[kinds.z]\nchecksum = "
                  "\"BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n"
                  "[kinds.secret]\nsensitive = true\nchecksum = \"x\\u0000\"\n",
                        "a.toml:2:12: error: 'checksum' is 'sha1:12', which is no checksum; it must be "
                        "sha256: and 64 hex "
                        "digits, sha512: and 128, or blake2b: and 64 or 128; or 64 hex digits of SHA-256 "
                        "alone\n"
                        "a.toml:4:12: error: 'checksum' is 'sha256:"
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a', which is no "
                        "checksum; it must be "
                        "sha256: and 64 hex digits, sha512: and 128, or blake2b: and 64 or 128; or 64 hex "
                        "digits of SHA-256 alone\n"
                        "a.toml:9:12: error: 'checksum' is '<sensitive>', which is no checksum; it must be "
                        "sha256: and 64 hex "
                        "digits, sha512: and 128, or blake2b: and 64 or 128; or 64 hex digits of SHA-256 "
                        "alone" },
                { "[file.\"/x\"]\nsource = \"https://a/b\"\n",
                        "a.toml:2:10: error: 'source' is 'https://a/b', a URL; the name of a file is "
                        "wanted, "
                        "and 'url' is for such" },
                { "[kinds.x]\npath = \"/a\\u0000b\"\n",
                        "a.toml:2:8: error: 'path' has a NUL in it, which no path can have" },
                { "[file.\"/x\"]\nsource = \"a\\u0000b\"\n", "a.toml:2:10: error: 'source' is empty or has "
                                                             "a NUL in it; the name of a file is wanted" },
                { "[file.\"/x\"]\nsource = \"\"\n", "a.toml:2:10: error: 'source' is empty or has a NUL in "
                                                    "it; the name of a file is wanted" },
                { "[file.\"/\"]\n", "a.toml:1:7: error: '/' is a directory, and cannot be anything else" },
                { "[file.\"/x\"]\nensure = \"symlink\"\ntarget = \"a\\u0000b\"\n",
                        "a.toml:3:10: error: 'target' must be a path: not empty, without NUL, not longer "
                        "than 4095 bytes" },
        };
        char name[5000], text[6000];

        ALL_FAIL(cases);

        memset(name, 'a', sizeof(name));
        (void) snprintf(text, sizeof(text), "[kinds.x]\npath = \"/%.4999s\"\n", name);
        role_fails(text, strlen(text), "a.toml:2:8: error: 'path' is longer than a path can be");
        (void) snprintf(text, sizeof(text), "[file.\"{{vars.x}}\"]\n[vars]\nx = \"/%.4999s\"\n", name);
        role_fails(text, strlen(text),
                "a.toml:1:7: error: "
                "'/"
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaaaaaaaaaaaaa' is longer than a path can be");
        (void) snprintf(text, sizeof(text), "[file.\"/%.4999s\"]\n", name);
        role_fails(text, strlen(text), "a.toml:1:7: error: key is too long: it may have 4096 bytes");
}

TEST(what_the_file_module_refuses) {
        static const Case cases[] = {
                { "[file.\"/x\"]\ncontent = \"a\"\nsource = \"b\"\n",
                        "a.toml:3:10: error: both 'content' and 'source' are given; only one of them can "
                        "be" },
                { "[file.\"/x\"]\nensure = \"symlink\"\n", "a.toml:1:7: error: a symlink needs 'target'" },
                { "[file.\"/x\"]\nensure = \"symlink\"\ntarget = \"\"\n",
                        "a.toml:3:10: error: 'target' must be a path: not empty, without NUL, not longer "
                        "than 4095 bytes" },
                { "[file.\"/x\"]\ntarget = \"/y\"\n",
                        "a.toml:2:10: error: 'target' makes no sense with ensure = \"file\"; did you mean "
                        "ensure = \"symlink\"?" },
                { "[file.\"/x\"]\nensure = \"directory\"\ncontent = \"x\"\n",
                        "a.toml:3:11: error: 'content' makes no sense with ensure = \"directory\"" },
                { "[file.\"/x\"]\nensure = \"absent\"\nmode = \"0644\"\nowner = \"root\"\n",
                        "a.toml:3:8: error: 'mode' makes no sense with ensure = \"absent\"\n"
                        "a.toml:4:9: error: 'owner' makes no sense with ensure = \"absent\"" },
        };

        ALL_FAIL(cases);
}

TEST(declared_twice) {
        static const Case cases[] = {
                { "[file.\"/x\"]\n[file.\"//x/\"]\n",
                        "a.toml:2:7: error: file:/x is declared twice; first at a.toml:1:7" },
                { "[file.\"/x/y\"]\n\n[file.\"/x/./y\"]\n",
                        "a.toml:3:7: error: file:/x/y is declared twice; first at a.toml:1:7" },
                { "[plain.x]\none = \"1\"\n[plain.\"{{vars.n}}\"]\none = \"1\"\n[vars]\nn = \"x\"\n",
                        "a.toml:3:8: error: plain:x is declared twice; first at a.toml:1:8" },
                { "[file.\"{{item}}\"]\nfor_each = [\"/a\", \"/b\", \"/a/\"]\n",
                        "a.toml:1:7: error: items 0 and 2 of the loop both make file:/a" },
                { "[file.\"{{item.value}}\"]\nfor_each = { one = \"/a\", two = \"/b\", three = \"/b\" }\n",
                        "a.toml:1:7: error: items 'two' and 'three' of the loop both make file:/b" },
                { "[plain.\"{{item}}\"]\none = \"\"\nfor_each = [\"a\", \"b\", \"a\", \"b\", \"a\"]\n",
                        "a.toml:1:8: error: items 0 and 2 of the loop both make plain:a\n"
                        "a.toml:1:8: error: items 1 and 3 of the loop both make plain:b" },
                { "[file.\"/a\"]\n[file.\"/{{item}}\"]\nfor_each = [\"b\", \"a\"]\n",
                        "a.toml:2:7: error: file:/a is declared twice; first at a.toml:1:7" },
                { "[file.\"/a\"]\nfor_each = [1, 2, 3]\n",
                        "a.toml:1:7: error: items 0 and 1 of the loop both make file:/a" },
                { "[file.\"/x\"]\n[file.\"/x\"]\n", "a.toml:2:1: error: cannot redefine existing table: "
                                                    "[file.\"/x\"]; it may be written only once" },
                { "[file.\"/x\"]\nmode = \"0644\"\nmode = \"0600\"\n",
                        "a.toml:3:8: error: cannot redefine existing string 'mode'; it may be written only "
                        "once" },
        };

        ALL_FAIL(cases);

        clear("conf");
        put("conf/a.toml", "[file.\"/x\"]\n");
        put("conf/b.toml", "\n  [file.\"/x/\"]\n");
        fails("b.toml:2:9: error: file:/x is declared twice; first at a.toml:1:7");
}

TEST(references) {
        static const Case cases[] = {
                { "[file.\"/x\"]\nrequires = [\"file:/y\"]\n",
                        "a.toml:2:13: error: there is no state 'file:/y'; did you mean 'file:/x'?" },
                { "[file.\"/etc/motd\"]\n[file.\"/x\"]\nrequires = [\"file:/etc/mtod\"]\n",
                        "a.toml:3:13: error: there is no state 'file:/etc/mtod'; did you mean "
                        "'file:/etc/motd'?" },
                { "[file.\"/x\"]\nrequires = [\"motd\"]\n",
                        "a.toml:2:13: error: 'motd' is no state; write TYPE:NAME, like \"file:/etc/motd\"" },
                { "[file.\"/x\"]\nrequires = [\"fiel:/x\"]\n",
                        "a.toml:2:13: error: there is no state 'fiel:/x'; did you mean 'file:/x'?" },
                { "[file.\"/x\"]\nrequires = [\"file:/x\"]\n",
                        "a.toml:2:13: error: file:/x refers to itself" },
                { "[file.\"/x\"]\nbefore = [\"file://x/\"]\n",
                        "a.toml:2:11: error: file:/x refers to itself" },
                { "[file.\"/x\"]\nrequires = [\"zzzzzz:*\"]\n",
                        "a.toml:2:13: error: 'zzzzzz:*' matches no state, and there is no type 'zzzzzz'" },
                { "[file.\"/x\"]\nrequires = [\"fil:*\", \"file:/none/*\", \"*:none\", \"f*:none\"]\n",
                        "a.toml:2:13: error: 'fil:*' matches no state, and there is no type 'fil'" },
                { "[file.\"/x\"]\nrequires = [\"file:/{{vars.nope}}\"]\n",
                        "a.toml:2:20: error: undefined name 'vars.nope'" },
        };

        ALL_FAIL(cases);
}

/* What can never be, whatever the host is like. */
TEST(paths_that_contradict_each_other) {
        static const Case cases[] = {
                { "[file.\"/x\"]\n[file.\"/x/y\"]\n", "a.toml:2:7: error: file:/x/y lies below file:/x "
                                                      "(a.toml:1:7), which is to be no directory" },
                { "[file.\"/x\"]\nensure = \"absent\"\n[file.\"/x/y/z\"]\n",
                        "a.toml:3:7: error: file:/x/y/z lies below file:/x (a.toml:1:7), which is to be "
                        "absent" },
                { "[file.\"/x\"]\ncontent = \"\"\n[kinds.a]\nedits = \"/x\"\n",
                        "a.toml:3:8: error: kinds:a edits '/x', which file:/x (a.toml:1:7) says the whole "
                        "content of" },
                { "[file.\"/x\"]\nensure = \"absent\"\n[kinds.a]\nedits = \"/x/\"\n",
                        "a.toml:3:8: error: kinds:a edits '/x', which file:/x (a.toml:1:7) wants to be "
                        "absent" },
                { "[file.\"/x\"]\nensure = \"directory\"\n[kinds.a]\nedits = \"/x\"\n",
                        "a.toml:3:8: error: kinds:a edits '/x', which file:/x (a.toml:1:7) makes a "
                        "directory" },
                { "[file.\"/x\"]\n[kinds.a]\nedits = \"/x/y\"\n",
                        "a.toml:2:8: error: kinds:a lies below file:/x (a.toml:1:7), which is to be no "
                        "directory" },
        };

        ALL_FAIL(cases);
}

TEST(a_sensitive_state_shows_nothing_in_errors) {
        static const Case cases[] = {
                { "[file.\"/x\"]\nmode = \"2hunters\"\nsensitive = true\n",
                        "a.toml:2:8: error: 'mode' is '<sensitive>'; it must be a string of octal digits "
                        "like "
                        "\"0644\"" },
                { "[file.\"/x\"]\nmode = \"hunter2\"\nsensitive = true\n",
                        "a.toml:2:8: error: module 'file' refuses it; why is not shown, as the state is "
                        "sensitive" },
        };

        ALL_FAIL(cases);
}

TEST(cycles) {
        static const Case cases[] = {
                { "[file.\"/x\"]\nrequires = [\"file:/y\"]\n[file.\"/y\"]\nrequires = [\"file:/x\"]\n",
                        "a.toml:1:7: error: the states wait for each other in a cycle: file:/x requires "
                        "file:/y requires file:/x" },
                { "[file.\"/x\"]\nbefore = [\"file:/y\"]\nrequires = [\"file:/y\"]\n[file.\"/y\"]\n",
                        "a.toml:1:7: error: the states wait for each other in a cycle: file:/x requires "
                        "file:/y requires file:/x" },
                /* By what is implied. */
                { "[file.\"/x\"]\nensure = \"directory\"\nrequires = [\"file:/x/y\"]\n[file.\"/x/y\"]\n",
                        "a.toml:1:7: error: the states wait for each other in a cycle: file:/x requires "
                        "file:/x/y requires file:/x" },
                /* Through a group. */
                { "[plain.\"{{item}}\"]\none = \"x\"\nfor_each = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", "
                  "\"7\", "
                  "\"8\", \"9\"]\n"
                  "requires = [\"file:/x\"]\n[file.\"/x\"]\nrequires = [\"plain:*\"]\n",
                        "a.toml:1:8: error: the states wait for each other in a cycle: plain:9 requires "
                        "file:/x requires plain:* requires plain:9" },
                /* Two of them, and one that only waits for them. */
                { "[plain.a]\none = \"\"\nrequires = [\"plain:b\"]\n[plain.b]\none = \"\"\nrequires = "
                  "[\"plain:a\"]\n"
                  "[plain.c]\none = \"\"\nrequires = [\"plain:a\"]\n"
                  "[plain.d]\none = \"\"\nrequires = [\"plain:e\"]\n[plain.e]\none = \"\"\nrequires = "
                  "[\"plain:d\"]\n",
                        "a.toml:1:8: error: the states wait for each other in a cycle: plain:a requires "
                        "plain:b requires plain:a\n"
                        "a.toml:10:8: error: the states wait for each other in a cycle: plain:d requires "
                        "plain:e requires plain:d" },
        };

        ALL_FAIL(cases);

        clear("conf");
        put("conf/a.toml", "[plain.a]\none = \"1\"\nrequires = [\"plain:b\"]\n"
                           "[plain.c]\none = \"1\"\nrequires = [\"plain:a\"]\n");
        put("conf/b.toml", "[plain.b]\none = \"1\"\nrequires = [\"plain:c\"]\n");
        fails("a.toml:1:8: error: the states wait for each other in a cycle: plain:a requires plain:b "
              "requires plain:c requires plain:a");
}

TEST(conditions) {
        static const Case cases[] = {
                { "[file.\"/x\"]\nwhen = true\n",
                        "a.toml:2:8: error: an expression is written as a string, not as a boolean" },
                { "[file.\"/x\"]\nwhen = \"1\"\n",
                        "a.toml:2:9: error: a condition must be a boolean; this is an integer" },
                { "[file.\"/x\"]\nwhen = \"'a'\"\n",
                        "a.toml:2:9: error: a condition must be a boolean; this is a string" },
                { "[file.\"/x\"]\nwhen = \"\"\n", "a.toml:2:9: error: the expression is empty" },
                { "[file.\"/x\"]\nwhen = \"1 ==\"\n",
                        "a.toml:2:13: error: expected a value, found the end" },
                { "[file.\"/x\"]\nwhen = \"(1 == 1\"\n", "a.toml:2:16: error: expected ')', found the end" },
                { "[file.\"/x\"]\nwhen = \"1 = 1\"\n",
                        "a.toml:2:11: error: unexpected '='; write '==' to compare" },
                { "[vars]\nport = 1\n[file.\"/x\"]\nwhen = \"vars.prot == 1\"\n",
                        "a.toml:4:14: error: undefined name 'vars.prot'; did you mean 'vars.port'?" },
                { "[file.\"/x\"]\nwhen = \"fact.os.id == 'debian'\"\n",
                        "a.toml:2:9: error: undefined name 'fact'; did you mean 'facts'?" },
                { "[file.\"/x\"]\nwhen = \"item == 1\"\n", "a.toml:2:9: error: undefined name 'item'" },
                { "[file.\"/x\"]\nwhen = \"exist('/x')\"\n",
                        "a.toml:2:9: error: there is no helper 'exist'; did you mean 'exists'?" },
                { "[file.\"/x\"]\nwhen = \"facts.uptime > 5\"\n",
                        "a.toml:2:15: error: 'facts.uptime' changes all the time, so roles cannot read it; "
                        "what depends on it belongs into a trigger or a job" },
                { "[file.\"/x\"]\ncontent = \"{{facts.uptime}}\"\n",
                        "a.toml:2:12: error: 'facts.uptime' changes all the time, so roles cannot read it; "
                        "what depends on it belongs into a trigger or a job" },
                { "[file.\"/x\"]\ncontent = \"{{facts.boot_id}}\"\n",
                        "a.toml:2:12: error: 'facts.boot_id' changes all the time, so roles cannot read it; "
                        "what depends on it belongs into a trigger or a job" },
                { "when = \"exists('/x')\"\n", "a.toml:1:9: error: exists() looks at the host; it can be "
                                               "used only in a state's 'when'" },
                { "when = \"1 == 1 and exists('/x')\"\n[file.\"/x\"]\n",
                        "a.toml:1:20: error: exists() looks at the host; it can be used only in a state's "
                        "'when'" },
                { "when = \"vars.x\"\n[file.\"/x\"]\n", "a.toml:1:14: error: undefined name 'vars.x'" },
                { "when = 1\n",
                        "a.toml:1:8: error: an expression is written as a string, not as an integer" },
                { "[file.\"/x\"]\nfor_each = \"'text'\"\n", "a.toml:2:12: error: 'for_each' is over a "
                                                            "string; it must be over an array or a table" },
                { "[file.\"/x\"]\nfor_each = \"vars.n\"\n[vars]\nn = 1\n",
                        "a.toml:2:12: error: 'for_each' is over an integer; it must be over an array or a "
                        "table" },
                { "[file.\"/x\"]\nfor_each = \"vars.admins\"\n[vars]\nadmin = [1]\n",
                        "a.toml:2:18: error: undefined name 'vars.admins'; did you mean 'vars.admin'?" },
                { "[file.\"/x\"]\nfor_each = 1\n",
                        "a.toml:2:12: error: an expression is written as a string, not as an integer" },
                { "[file.\"/x\"]\nfor_each = \"[exists('/x')]\"\n",
                        "a.toml:2:14: error: exists() looks at the host; it can be used only in a state's "
                        "'when'" },
        };
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f;

        ALL_FAIL(cases);

        /* Over the limit of steps. */
        f = open_memstream(&text, &size);
        (void) fputs("[vars]\nlong = [", f);
        for (unsigned i = 0; i < 20000; i++)
                (void) fputs("0,", f);
        (void) fputs("]\n[file.\"/x\"]\nwhen = \"1 in vars.long\"\n", f);
        (void) fclose(f);
        role_fails(text, size, "a.toml:4:9: error: the expression takes more than 10000 steps");
}

TEST(templates) {
        static const Case cases[] = {
                { "[file.\"/x\"]\ncontent = \"{{vars.nope}}\"\n",
                        "a.toml:2:12: error: undefined name 'vars.nope'" },
                { "[file.\"/x\"]\ncontent = \"ab{{#vars}}\"\n",
                        "a.toml:2:14: error: section 'vars' opened at line 2 is not closed" },
                { "[file.\"/x\"]\ncontent = \"\"\"\none\n two {{nope}}\"\"\"\n",
                        "a.toml:4:6: error: undefined name 'nope'" },
                { "[file.\"/{{nope}}\"]\n", "a.toml:1:9: error: undefined name 'nope'" },
                { "[file.\"/x\"]\ntemplate = \"nope.mustache\"\n",
                        "a.toml:2:12: error: template 'DIR/roles/nope.mustache' cannot be used: it cannot "
                        "be opened: No such file or directory" },
                { "[file.\"/x\"]\ntemplate = \"t/unclosed\"\n",
                        "DIR/roles/t/unclosed:2:1: error: section 'vars' opened at line 2 is not closed" },
                { "[file.\"/x\"]\ntemplate = \"t/unknown\"\n",
                        "DIR/roles/t/unknown:3:3: error: undefined name 'vars.nope'" },
                { "[file.\"/x\"]\ntemplate = \"t/volatile\"\n",
                        "DIR/roles/t/volatile:1:1: error: 'facts.uptime' changes all the time, so roles "
                        "cannot read it; what depends on it belongs into a trigger or a job" },
                { "[file.\"/x\"]\ntemplate = \"t/absent\"\n",
                        "DIR/roles/t/absent: error: 'facts.uptime' changes all the time, so roles cannot "
                        "read it; what depends on it belongs into a trigger or a job" },
                { "[file.\"/x\"]\ncontent = \"{{^facts.uptime}}x{{/facts.uptime}}\"\n",
                        "a.toml:2:11: error: 'facts.uptime' changes all the time, so roles cannot read it; "
                        "what depends on it belongs into a trigger or a job" },
                { "[file.\"/x\"]\nwhen = \"not defined(facts.uptime)\"\n",
                        "a.toml:2:9: error: 'facts.uptime' changes all the time, so roles cannot read it; "
                        "what depends on it belongs into a trigger or a job" },
                { "[file.\"/x\"]\ntemplate = \"t\"\n",
                        "a.toml:2:12: error: template 'DIR/roles/t' cannot be used: it is a directory; a "
                        "regular file is wanted" },
                { "[file.\"/x\"]\ntemplate = \"t/fifo\"\n",
                        "a.toml:2:12: error: template 'DIR/roles/t/fifo' cannot be used: it is a FIFO; a "
                        "regular file is wanted" },
                { "[file.\"/x\"]\ntemplate = \"t/partial\"\n",
                        "DIR/roles/t/partial:1:1: error: there is no partial 'missing'" },
                { "[file.\"/x\"]\ntemplate = \"t/outer\"\n",
                        "DIR/roles/t/inner.mustache:1:3: error: undefined name 'nope'" },
                { "[vars]\na = \"{{vars.b}}\"\nb = \"x\"\n",
                        "a.toml:2:6: error: 'vars.b' is not there yet: a variable can use those above it, "
                        "and that is at a.toml:3:1" },
                { "[vars]\na = \"{{vars.a}}\"\n", "a.toml:2:6: error: 'vars.a' is not there yet: a variable "
                                                  "can use those above it, and that is at a.toml:2:1" },
                { "[vars]\na = [{ b = \"{{nope}}\" }]\n", "a.toml:2:13: error: undefined name 'nope'" },
                { "[vars]\nn = \"x\"\n[kinds.x]\ninteger = \"{{vars.n}}\"\nboolean = \"{{vars.n}}\"\n"
                  "mode = \"{{vars.n}}\"\n",
                        "a.toml:4:11: error: 'integer' is 'x'; it must be an integer\n"
                        "a.toml:5:11: error: 'boolean' is 'x'; it must be true or false\n"
                        "a.toml:6:8: error: 'mode' is 'x'; it must be a string of octal digits like "
                        "\"0644\"" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                clear("conf");
                put("t/unclosed", "one\n{{#vars}}\n");
                put("t/unknown", "one\n\n  {{vars.nope}}\n");
                put("t/volatile", "{{facts.uptime}}\n");
                put("t/absent", "one\n{{^facts.uptime}}two{{/facts.uptime}}\n");
                put("t/partial", "{{>missing}}\n");
                put("t/outer", "x\n{{>t/inner}}\n");
                put("t/inner.mustache", "x {{nope}}\n");
                (void) mkfifo(in("t/fifo"), 0600);
                put("roles/a.toml", cases[i].text);
                /* By a link, as no directory but those of roles can lie in conf.d. */
                (void) symlink(in("t"), in("roles/t"));
                (void) mkdir(in("conf"), 0755);
                ASSERT_OK(symlink(in("roles/a.toml"), in("conf/a.toml")));
                fails(cases[i].errors);
        }
}

TEST(files_that_cannot_be_read) {
        static const Case cases[] = {
                { "[file", "a.toml:1:6: error: unexpected end of file in table header: the closing ']' is "
                           "missing" },
                { "a = \"\n", "a.toml:1:7: error: unexpected end of file in a string: the closing quotes "
                              "are missing" },
                { "\xff", "a.toml:1:1: error: not UTF-8: unexpected byte 0xff" },
        };

        ALL_FAIL(cases);

        clear("conf");
        ASSERT_OK(mkfifo(in("conf/fifo.toml"), 0600));
        ASSERT_OK(mkdir(in("conf/directory.toml"), 0755));
        ASSERT_OK(symlink("/nowhere", in("conf/dangling.toml")));
        ASSERT_OK(mkdir(in("conf/empty"), 0755));
        put("conf/twice.toml", "");
        put("conf/twice/main.toml", "");
        put("conf/large.toml", "");
        ASSERT_OK(truncate(in("conf/large.toml"), MIB(8) + 1));
        fails("dangling.toml: error: the role cannot be used: it is a symlink to '/nowhere', which does not "
              "exist\n"
              "directory.toml: error: the role cannot be used: it is a directory; a regular file is wanted\n"
              "fifo.toml: error: the role cannot be used: it is a FIFO; a regular file is wanted\n"
              "large.toml: error: the role cannot be used: it has 8.0 MiB; 8 MiB is the limit\n"
              "twice.toml: error: role 'twice' is also 'twice/main.toml'; remove one of them");

        /* Results are told with the name of the role. */
        clear("conf");
        put("conf/caf\xe9.toml", "");
        fails("caf\xef\xbf\xbd.toml: error: the role cannot be used: its name is not UTF-8; rename the "
              "file");

        clear("conf");
        put("conf", "");
        fails("DIR/conf: error: the directory of roles cannot be read: Not a directory");
}

TEST(all_errors_in_one_go) {
        put("conf/a.toml", "[file.\"/x\"]\nmode = 1\ncontnet = 2\n[file.y]\nzzz = 1\n");
        put("conf/b.toml",
                "[file.\"/x\"]\n[file.\"/z\"]\nrequires = [\"file:/nope\"]\ncontent = \"{{nope}}\"\n");
        put("conf/c.toml", "[file.\"/c\n");
        put("conf/d.toml",
                "[plain.d]\none = \"x\"\nrequires = [\"plain:d\"]\n[file.\"/d\"]\nensure = \"symlink\"\n");
        fails("a.toml:2:8: error: 'mode' is an integer; it must be a string of octal digits: \"0001\"?\n"
              "a.toml:3:1: error: unknown key 'contnet' in file state; did you mean 'content'?\n"
              "a.toml:4:7: error: 'y' is a relative path; the name of a file state is an absolute one\n"
              "b.toml:1:7: error: file:/x is declared twice; first at a.toml:1:7\n"
              "b.toml:3:13: error: there is no state 'file:/nope'\n"
              "b.toml:4:12: error: undefined name 'nope'\n"
              "c.toml:1:10: error: unexpected end of line in a string: the closing quote is missing\n"
              "d.toml:3:13: error: plain:d refers to itself\n"
              "d.toml:4:7: error: a symlink needs 'target'");
}

TEST(modules_that_do_what_none_should) {
        static const Case cases[] = {
                { "[odd-heap.x]\n", "a.toml:1:11: error: module 'DIR/modules/odd.so' gives private data for "
                                    "odd-heap:x that was not made with agentd_alloc()" },
                { "[odd-heap.stack]\n", "a.toml:1:11: error: module 'DIR/modules/odd.so' gives private data "
                                        "for odd-heap:stack "
                                        "that was not made with agentd_alloc()" },
                { "[odd-silent.x]\n", "a.toml:1:13: error: module 'DIR/modules/odd.so' refuses odd-silent:x "
                                      "without a word (Invalid argument)" },
                { "[odd-loud.x]\none = \"1\"\n", "a.toml:1:11: error: the second is missing\n"
                                                 "a.toml:1:11: error: the state as such\n"
                                                 "a.toml:1:11: error: no such parameter\n"
                                                 "a.toml:2:7: error: the first is '1'" },
                { "[odd-watch.bad]\n", "a.toml:1:12: error: module 'DIR/modules/odd.so' cannot say what "
                                       "odd-watch:bad watches: Function not implemented" },
                { "[odd-eat.x]\n", "error: the roles need more memory than a load may take" },
        };

        ALL_FAIL(cases);
}

TEST(modules_that_cannot_be_used) {
        put("modules/text.so", "I am no shared object, whatever my name says, and long enough to have the "
                               "header of one.\n");
        link_module("TEST_MODULE_DIR", "bad-abi");
        put("conf/a.toml", "[file.\"/x\"]\n");
        loads(); /* nobody needs them */
        put("conf/b.toml", "[text.x]\n[bad-abi.x]\n[text.y]\n");
        fails("b.toml:1:2: error: 'text' is neither a key of roles nor a state type (no module provides "
              "it)\n"
              "b.toml:2:2: error: 'bad-abi' is neither a key of roles nor a state type (no module provides "
              "it)\n"
              "DIR/modules/bad-abi.so: error: the module cannot be used: it was built for module interface "
              "2, this agentd has 1; rebuild it with this agentd's <agentd/module.h>\n"
              "DIR/modules/text.so: error: the module cannot be used: invalid ELF header");
}

TEST(types_of_two_modules) {
        link_module("TEST_MODULE_DIR", "layout-long");
        put("conf/a.toml", "[layout-long-second.x]\n[layout-long.y]\nthree = \"0600\"\n");
        loads();
        ASSERT_EQ(image->header->modules.n, 1);
        ASSERT_EQ(image->header->types.n, 2);
        ASSERT_EQ(image_type(image, image_state(image, 1)->type)->batch_max, 3);
}

/* ---- The end of the loader ------------------------------------------------------------------------------------- */

static void dies(const char *text, const LoadOptions *options, const char *expected_log) {
        clear("conf");
        put("conf/a.toml", text);
        load_with(options);
        ASSERT_STREQ(errors, "");
        ASSERT_NULL(image);
        ASSERT_STREQ(logged, expected_log);
}

TEST(loaders_that_do_not_come_back) {
        LoadOptions options = usual();

        dies("[odd-crash.x]\n", &options,
                "test-role-load: error: Failed to load the roles: the loader died of signal 6 (Aborted)\n");
        dies("[odd-exit.x]\n", &options,
                "test-role-load: error: Failed to load the roles: the loader exited with status 7\n");
        dies("[odd-exit.well]\n", &options,
                "test-role-load: error: Failed to load the roles: the loader exited with status 0\n");
        dies("[odd-fork.x]\n", &options,
                "test-role-load: error: Failed to take over the image: a process that a module left behind "
                "still has it mapped for writing: Device or resource busy\n");
        dies("[odd-talk.x]\n", &options,
                "test-role-load: error: Failed to understand the loader, killing it: Bad message\n");
        options.timeout_usec = 200 * USEC_PER_MSEC;
        dies("[odd-sleep.x]\n", &options,
                "test-role-load: error: Failed to load the roles: not finished within the deadline\n");
}

TEST(a_load_can_be_ended) {
        static const LoadHandlers handlers = { .on_loaded = on_loaded };
        const LoadOptions options = usual();
        sd_event *event = NULL;
        Load *load_;

        put("conf/a.toml", "[odd-sleep.x]\n");
        ASSERT_OK(sd_event_new(&event) < 0);
        ASSERT_OK(load_start(event, &options, &handlers, event, &load_));
        ASSERT_NULL(load_free(load_));
        ASSERT_NULL(load_free(NULL));
        sd_event_unref(event);
}

/* ---- What is loaded -------------------------------------------------------------------------------------------- */

static bool leads_to(uint32_t from, uint32_t to) {
        const ImageNode *node = image_node(image, from);

        for (uint32_t k = 0; k < node->dependents.n; k++)
                if (image_dependents(image, node)[k] == to)
                        return true;
        return false;
}

/* True if `id` waits for `other` directly. */
static bool waits_for(const char *id, const char *other) {
        return leads_to(index_of(other), index_of(id));
}

static uint32_t n_dependencies(const char *id) {
        return image_node(image, index_of(id))->n_dependencies;
}

static bool watches_path(const char *id, const char *path) {
        const ImageState *watching = state_of(id);
        const ImageWatch *watch = image_array(image, watches, ImageWatch) + watching->watches.offset;

        for (uint32_t i = 0; i < watching->watches.n; i++)
                if (watch[i].kind == IMAGE_WATCH_PATH && streq(image_text(image, watch[i].what), path))
                        return true;
        return false;
}

TEST(nothing_is_fine) {
        loads();
        ASSERT_EQ(image_n_states(image), 0);
        role_loads("");
        role_loads("description = \"x\"\n[vars]\na = 1\n[file]\n");
        ASSERT_EQ(image_n_states(image), 0);
        ASSERT_EQ(image->header->types.n, 0);
        ASSERT_EQ(image->header->roles.n, 1);
}

TEST(edges) {
        role_loads("[plain.a]\none = \"x\"\nrequires = [\"plain:b\", \"file://x//y/\"]\n"
                   "[plain.b]\none = \"x\"\nbefore = [\"plain:c\"]\n"
                   "[plain.c]\none = \"x\"\n[file.\"/x/y\"]\n");
        ASSERT_TRUE(waits_for("plain:a", "plain:b"));
        ASSERT_TRUE(waits_for("plain:a", "file:/x/y"));
        ASSERT_TRUE(waits_for("plain:c", "plain:b"));
        ASSERT_EQ(n_dependencies("plain:a"), 2);
        ASSERT_EQ(n_dependencies("plain:b"), 0);
        ASSERT_EQ(n_dependencies("plain:c"), 1);
        ASSERT_EQ(image->header->dependents.n, 3);
        ASSERT_EQ(image->header->nodes.n, 4);
}

TEST(implied_edges) {
        role_loads("[file.\"/\"]\nensure = \"directory\"\n"
                   "[file.\"/a/b\"]\nensure = \"directory\"\n"
                   "[file.\"/a/b/c/d\"]\nowner = \"ada\"\n"
                   "[file.\"/ab\"]\nowner = \"root\"\n"
                   "[user.ada]\n"
                   "[kinds.k]\nuser = \"ada\"\nafter = \"file:/ab\"\n"
                   "[kinds.l]\nuser = \"*\"\nafter = \"file:/nope\"\n");
        ASSERT_TRUE(waits_for("file:/a/b", "file:/"));
        ASSERT_TRUE(waits_for("file:/a/b/c/d", "file:/a/b"));
        ASSERT_FALSE(waits_for("file:/a/b/c/d", "file:/"));
        ASSERT_TRUE(waits_for("file:/a/b/c/d", "user:ada"));
        ASSERT_EQ(n_dependencies("file:/a/b/c/d"), 2);
        ASSERT_TRUE(waits_for("file:/ab", "file:/"));
        ASSERT_EQ(n_dependencies("file:/ab"), 1);
        ASSERT_EQ(n_dependencies("file:/"), 0);
        ASSERT_TRUE(waits_for("kinds:k", "user:ada"));
        ASSERT_TRUE(waits_for("kinds:k", "file:/ab"));
        ASSERT_EQ(n_dependencies("kinds:l"), 0);
}

/* States that edit one file come after its owner, and have a key in common. */
TEST(edits) {
        role_loads("[kinds.b]\nedits = \"/d/x\"\n[file.\"/d/x\"]\n[kinds.a]\nedits = \"/d//x\"\n"
                   "[kinds.c]\nedits = \"/d/y\"\n[kinds.d]\n[file.\"/d\"]\nensure = \"directory\"\n");
        ASSERT_TRUE(waits_for("kinds:a", "file:/d/x"));
        ASSERT_TRUE(waits_for("kinds:b", "file:/d/x"));
        ASSERT_TRUE(waits_for("kinds:c", "file:/d"));
        ASSERT_EQ(n_dependencies("kinds:c"), 1);
        ASSERT_EQ(n_dependencies("kinds:d"), 0);
        ASSERT_EQ(image->header->n_batch_keys, 2);
        ASSERT_EQ(image_state(image, index_of("kinds:b"))->batch_key, 1);
        ASSERT_EQ(image_state(image, index_of("kinds:a"))->batch_key, 1);
        ASSERT_EQ(image_state(image, index_of("kinds:c"))->batch_key, 2);
        ASSERT_EQ(image_state(image, index_of("kinds:d"))->batch_key, 0);
}

/* A diff of one edit would show what another one hides. */
TEST(edits_of_a_file_with_a_secret_are_hidden) {
        role_loads("[kinds.a]\nedits = \"/d/x\"\n[kinds.b]\nedits = \"/d/x\"\nsensitive = true\n"
                   "[kinds.c]\nedits = \"/d/y\"\n[kinds.d]\n[kinds.e]\nsensitive = true\n");
        ASSERT_TRUE(image_state(image, index_of("kinds:a"))->flags & IMAGE_STATE_SENSITIVE);
        ASSERT_TRUE(image_state(image, index_of("kinds:b"))->flags & IMAGE_STATE_SENSITIVE);
        ASSERT_FALSE(image_state(image, index_of("kinds:c"))->flags & IMAGE_STATE_SENSITIVE);
        ASSERT_FALSE(image_state(image, index_of("kinds:d"))->flags & IMAGE_STATE_SENSITIVE);
}

TEST(globs) {
        /* Few: an edge each; itself is left out. */
        role_loads("[plain.\"{{item}}\"]\none = \"\"\nfor_each = [\"a1\", \"a2\", \"b1\"]\n"
                   "[file.\"/x\"]\nrequires = [\"plain:a*\"]\n"
                   "[file.\"/y\"]\nbefore = [\"plain:b?\"]\n"
                   "[file.\"/z\"]\nrequires = [\"file:*\", \"plain:none*\"]\n");
        ASSERT_EQ(image->header->nodes.n, image_n_states(image));
        ASSERT_TRUE(waits_for("file:/x", "plain:a1"));
        ASSERT_TRUE(waits_for("file:/x", "plain:a2"));
        ASSERT_EQ(n_dependencies("file:/x"), 2);
        ASSERT_TRUE(waits_for("plain:b1", "file:/y"));
        ASSERT_EQ(n_dependencies("file:/z"), 2);

        /* Many: groups, one for all that use it in a direction. */
        role_loads("[plain.\"{{item}}\"]\none = \"\"\nfor_each = [\"a1\", \"a2\", \"a3\", \"a4\", \"a5\", "
                   "\"a6\", "
                   "\"a7\", \"a8\", \"b\"]\n"
                   "[file.\"/x\"]\nrequires = [\"plain:a*\"]\n"
                   "[file.\"/y\"]\nrequires = [\"plain:a*\"]\n"
                   "[file.\"/w\"]\nbefore = [\"plain:a*\"]\n"
                   "[file.\"/v\"]\nbefore = [\"plain:a*\"]\n");
        {
                uint32_t n = image_n_states(image), after = UINT32_MAX, before = UINT32_MAX;

                ASSERT_EQ(n, 13);
                ASSERT_EQ(image->header->nodes.n, n + 2);
                for (uint32_t i = n; i < n + 2; i++)
                        if (image_node(image, i)->n_dependencies == 8)
                                after = i;
                        else
                                before = i;
                assert_true(after != UINT32_MAX && before != UINT32_MAX);
                ASSERT_TRUE(leads_to(after, index_of("file:/x")));
                ASSERT_TRUE(leads_to(after, index_of("file:/y")));
                ASSERT_EQ(image_node(image, after)->dependents.n, 2);
                ASSERT_EQ(image_node(image, before)->n_dependencies, 2);
                ASSERT_EQ(image_node(image, before)->dependents.n, 8);
                ASSERT_TRUE(leads_to(index_of("file:/w"), before));
                ASSERT_TRUE(leads_to(index_of("plain:a8"), after));
                ASSERT_TRUE(leads_to(before, index_of("plain:a1")));
                ASSERT_EQ(n_dependencies("file:/x"), 1);
                ASSERT_EQ(n_dependencies("plain:a1"), 1);
                ASSERT_EQ(n_dependencies("plain:b"), 0);
        }
}

TEST(loops_as_a_whole) {
        /* By the name as it is written: what the loop makes, and nothing else that a glob would match. */
        role_loads("[plain.\"p-{{item}}\"]\none = \"\"\nfor_each = [\"a\", \"b\"]\n"
                   "[plain.p-c]\none = \"\"\n"
                   "[plain.\"{{ item.key }}-x\"]\none = \"\"\nfor_each = { k = 1, l = 2 }\n"
                   "[plain.\"none-{{item}}\"]\none = \"\"\nfor_each = []\n"
                   "[file.\"/x\"]\nrequires = [\"plain:p-{{item}}\", \"plain:none-{{item}}\"]\n"
                   "[file.\"/y\"]\nbefore = [\"plain:{{ item.key }}-x\"]\n");
        ASSERT_EQ(n_dependencies("file:/x"), 2);
        ASSERT_TRUE(waits_for("file:/x", "plain:p-a"));
        ASSERT_TRUE(waits_for("file:/x", "plain:p-b"));
        ASSERT_TRUE(waits_for("plain:k-x", "file:/y"));
        ASSERT_TRUE(waits_for("plain:l-x", "file:/y"));
        ASSERT_EQ(n_dependencies("plain:p-a"), 0);

        /* What an item holds, in the name and in what it requires. */
        role_loads("[vars.hosts]\na = { name = \"x\", more = { up = \"y\" } }\ny = { name = \"z\", more = { "
                   "up = \"w\" } }\n"
                   "[plain.\"{{item.key}}-{{item.value.name}}\"]\nfor_each = \"vars.hosts\"\none = "
                   "\"{{item.value.more.up}}\"\n"
                   "when = \"item.value.more.up != 'w'\"\nrequires = [\"plain:{{item.value.more.up}}\"]\n"
                   "[plain.y]\none = \"\"\n[plain.w]\none = \"\"\n");
        ASSERT_TRUE(waits_for("plain:a-x", "plain:y"));
        ASSERT_TRUE(waits_for("plain:y-z", "plain:w"));
        ASSERT_EQ(image_state(image, index_of("plain:a-x"))->when, 0);
        ASSERT_TRUE(image_state(image, index_of("plain:y-z"))->when != 0);

        /* Within a loop it is the state of the same item. */
        role_loads("[plain.\"p-{{item}}\"]\none = \"\"\nfor_each = [\"a\", \"b\"]\n"
                   "[file.\"/{{item}}\"]\nfor_each = [\"b\", \"a\"]\nrequires = [\"plain:p-{{item}}\"]\n");
        ASSERT_EQ(n_dependencies("file:/a"), 1);
        ASSERT_TRUE(waits_for("file:/a", "plain:p-a"));
        ASSERT_TRUE(waits_for("file:/b", "plain:p-b"));

        /* Many: a group, one for all. */
        role_loads("[plain.\"{{item}}\"]\none = \"\"\nfor_each = \"split('a b c d e f g h i', ' ')\"\n"
                   "[file.\"/x\"]\nrequires = [\"plain:{{item}}\"]\n"
                   "[file.\"/y\"]\nrequires = [\"plain:{{item}}\"]\n");
        ASSERT_EQ(image->header->nodes.n, image_n_states(image) + 1);
        ASSERT_EQ(n_dependencies("file:/x"), 1);
        ASSERT_TRUE(leads_to(image_n_states(image), index_of("file:/x")));
        ASSERT_TRUE(leads_to(image_n_states(image), index_of("file:/y")));

        /* Two roles that are written alike mean their own. */
        clear("conf");
        put("conf/a.toml", "[plain.\"{{item}}\"]\none = \"\"\nfor_each = [\"a\"]\n"
                           "[file.\"/a\"]\nrequires = [\"plain:{{item}}\"]\n");
        put("conf/b.toml", "[plain.\"{{item}}\"]\none = \"\"\nfor_each = [\"b\"]\n"
                           "[file.\"/b\"]\nrequires = [\"plain:{{item}}\"]\n");
        loads();
        ASSERT_EQ(n_dependencies("file:/a"), 1);
        ASSERT_TRUE(waits_for("file:/a", "plain:a"));
        ASSERT_EQ(n_dependencies("file:/b"), 1);
        ASSERT_TRUE(waits_for("file:/b", "plain:b"));
}

/* Helpers of a module: pure ones are called here, those that look at the host are left for the worker. */
TEST(helpers_of_modules) {
        static const Case bad[] = {
                { "[file.\"/x\"]\nwhen = \"helpers_double('x') == 1\"\n",
                        "a.toml:2:24: error: helpers_double(): wants an integer here, not a string" },
                { "[file.\"/x\"]\nwhen = \"helpers_double(1000001) == 1\"\n",
                        "a.toml:2:24: error: helpers_double(): 1000001 is too much" },
                { "[file.\"/x\"]\nwhen = \"helpers_fail()\"\n",
                        "a.toml:2:9: error: helpers_fail(): module 'helpers' says: No such file or "
                        "directory" },
                { "[file.\"/x\"]\nwhen = \"helpers_fail('x')\"\n",
                        "a.toml:2:9: error: helpers_fail(): it is 'x'" },
                { "[file.\"/x\"]\nwhen = \"helpers_record()\"\n",
                        "a.toml:2:9: error: helpers_record(): what module 'helpers' returns is no value" },
                { "[file.\"/x\"]\nwhen = \"helpers_bytes()\"\n",
                        "a.toml:2:9: error: helpers_bytes(): what module 'helpers' returns is no value" },
                { "[file.\"/x\"]\nwhen = \"helpers_deep()\"\n",
                        "a.toml:2:9: error: helpers_deep(): what module 'helpers' returns is no value" },
                { "[file.\"/x\"]\nwhen = \"helpers_peek('/')\"\n",
                        "a.toml:2:9: error: helpers_peek(): module 'helpers' says: Operation not "
                        "permitted" },
                { "[file.\"/x\"]\nwhen = \"helpers_size()\"\n",
                        "a.toml:2:9: error: helpers_size() takes 1 argument (path), not 0" },
                { "[file.\"/x\"]\nfor_each = \"[helpers_size('/')]\"\n",
                        "a.toml:2:14: error: helpers_size() looks at the host; it can be used only in a "
                        "state's 'when'" },
                { "[file.\"/x\"]\nwhen = \"helpers_none()\"\n",
                        "a.toml:2:9: error: there is no helper 'helpers_none'; did you mean "
                        "'helpers_rows'?" },
                { "[file.\"/x\"]\nwhen = \"helpers_nothing()\"\n",
                        "a.toml:2:9: error: there is no helper 'helpers_nothing'" },
                { "[file.\"/x\"]\nwhen = \"help_ers()\"\n",
                        "a.toml:2:9: error: there is no helper 'help_ers'" },
                { "[file.\"/x\"]\nwhen = \"bad_helper_call()\"\n",
                        "a.toml:2:9: error: there is no helper 'bad_helper_call'\n"
                        "DIR/modules/bad-helper-call.so: error: the module cannot be used: helper "
                        "'bad_helper_call' has no callback" },
        };

        link_module("TEST_MODULE_DIR", "helpers");
        role_loads("[plain.\"{{item.name}}\"]\none = \"\"\nfor_each = \"helpers_rows('a', 'b')\"\n"
                   "[file.\"/on\"]\nwhen = \"helpers_double(21) == 42 and helpers_echo([1, facts]) == [1, "
                   "facts]\"\n"
                   "[file.\"/look\"]\nwhen = \"helpers_size('/etc/x') == helpers_double(2)\"\n");
        ASSERT_EQ(n_dependencies("plain:b"), 0);
        ASSERT_EQ(image_state(image, index_of("file:/on"))->when, 0);
        ASSERT_TRUE(image_state(image, index_of("file:/look"))->flags & IMAGE_STATE_WHEN_LOOKS);
        /* That it has no state type is no reason to leave it out: the worker will ask for it. */
        ASSERT_EQ(image->header->types.n, 2);
        ASSERT_EQ(image->header->modules.n, 3);

        link_module("TEST_MODULE_DIR", "bad-helper-call");
        ALL_FAIL(bad);
}

TEST(loops_that_are_not) {
        static const Case cases[] = {
                { "[plain.\"{{item}}\"]\none = \"\"\nfor_each = [\"a\"]\n"
                  "[file.\"/x\"]\nrequires = [\"plain:{{item.name}}\"]\n",
                        "a.toml:5:20: error: undefined name 'item.name'" },
                { "[plain.a]\none = \"\"\n[file.\"/x\"]\nrequires = [\"plain:{{item}}\"]\n",
                        "a.toml:4:20: error: undefined name 'item'" },
                { "[plain.\"{{item}}\"]\none = \"\"\nfor_each = [\"a\"]\nrequires = [\"file:/x\"]\n"
                  "[file.\"/x\"]\nrequires = [\"plain:{{item}}\"]\n",
                        "a.toml:1:8: error: the states wait for each other in a cycle: plain:a requires "
                        "file:/x requires plain:a" },
        };

        ALL_FAIL(cases);
}

TEST(which_item_is_wrong) {
        static const Case cases[] = {
                /* One of them. */
                { "[kinds.\"{{item.n}}\"]\nstring = \"{{item.s}}\"\n"
                  "for_each = [{ n = 1, s = \"x\" }, { n = 2 }, { n = 3 }]\n",
                        "a.toml:2:11: error: undefined name 'item.s' (item 1 of the loop, a.toml:3:33)" },
                { "[kinds.\"{{item.key}}\"]\ninteger = \"{{item.value}}\"\n"
                  "for_each = { a = 1, \"b c\" = \"x\" }\n",
                        "a.toml:2:11: error: 'integer' is 'x'; it must be an integer (item 'b c' of the "
                        "loop, "
                        "a.toml:3:21)" },
                { "[plain.\"{{item.value.a}}\"]\none = \"\"\nfor_each = { \"a\\nb\" = 1, c = { a = 1 } }\n",
                        "a.toml:1:9: error: undefined name 'item.value.a': 'item.value' is an integer (item "
                        "'a?b' of the loop, a.toml:3:14)" },
                /* Those of an expression are nowhere written. */
                { "[kinds.\"{{item}}\"]\ninteger = \"{{item}}\"\nfor_each = \"split('1,b', ',')\"\n",
                        "a.toml:2:11: error: 'integer' is 'b'; it must be an integer (item 1 of the loop)" },
                /* All of them; all that came so far. */
                { "[kinds.\"{{item}}\"]\nstrin = \"x\"\nfor_each = [1, 2]\n",
                        "a.toml:2:1: error: unknown key 'strin' in kinds state; did you mean 'string'?" },
                { "[kinds.\"{{item.n}}\"]\nstrin = \"x\"\nfor_each = [{ n = 1 }, { n = 2 }, { m = 3 }]\n",
                        "a.toml:1:9: error: undefined name 'item.n' (item 2 of the loop, a.toml:3:35)\n"
                        "a.toml:2:1: error: unknown key 'strin' in kinds state; did you mean 'string'?" },
                /* The only one. */
                { "[kinds.\"{{item.n}}\"]\nfor_each = [1]\n",
                        "a.toml:1:9: error: undefined name 'item.n': 'item' is an integer" },
        };

        ALL_FAIL(cases);
}

TEST(roles_that_are_off) {
        put("conf/a.toml",
                "when = \"1 == 2\"\n[plain.off]\none = \"x\"\n[nonsense.x]\n[file.\"/off//x\"]\nmode = 1\n");
        put("conf/b.toml",
                "when = \"1 == 1\"\n[plain.on]\none = \"x\"\nrequires = [\"plain:off\", \"file:/off/x\"]\n");
        loads();
        ASSERT_EQ(image_n_states(image), 1);
        ASSERT_EQ(n_dependencies("plain:on"), 0);
        ASSERT_STREQ(image_state_role(image, 0), "b");
}

TEST(directories_and_masks) {
        put("conf/b/main.toml", "[file.\"/b\"]\ntemplate = \"t.mustache\"\n[vars]\nx = 1\n");
        put("conf/b/t.mustache", "x = {{vars.x}}\n");
        put("conf/a.toml", "[file.\"/a\"]\nsource = \"../files/x\"\n");
        put("files/x", "");
        put("conf/.hidden.toml", "nonsense");
        put("conf/backup.toml~", "nonsense");
        put("conf/README", "nonsense");
        ASSERT_OK(symlink("/dev/null", in("conf/masked.toml")));
        put("roles/linked.toml", "[file.\"/linked\"]\nsource = \"here\"\n");
        ASSERT_OK(symlink("../roles/linked.toml", in("conf/other.toml")));
        loads();
        ASSERT_EQ(image->header->roles.n, 3);
        ASSERT_STREQ(image_state_role(image, index_of("file:/a")), "a");
        ASSERT_STREQ(image_state_role(image, index_of("file:/b")), "b");
        ASSERT_STREQ(image_state_role(image, index_of("file:/linked")), "other");
        ASSERT_EQ(state_of("file:/b")->line, 1);
        ASSERT_EQ(state_of("file:/b")->column, 7);

        /* What a file is made of is watched: itself, and a source, which lies beside the role that a link leads to. */
        ASSERT_EQ(state_of("file:/linked")->watches.n, 2);
        ASSERT_TRUE(watches_path("file:/linked", in("roles/here")));
        ASSERT_TRUE(watches_path("file:/linked", "/linked"));
        ASSERT_TRUE(watches_path("file:/a", in("files/x")));
}

TEST(precedence_below_a_root) {
        LoadOptions options = usual();
        char root[PATH_MAX];

        (void) snprintf(root, sizeof(root), "%s", in("root"));
        put("root/etc/agentd/conf.d/one.toml", "[file.\"/etc-one\"]\n");
        put("root/run/agentd/conf.d/one.toml", "[file.\"/run-one\"]\n");
        put("root/run/agentd/conf.d/two.toml", "[file.\"/run-two\"]\n");
        put("root/usr/lib/agentd/conf.d/one/main.toml", "[file.\"/usr-one\"]\n");
        put("root/usr/lib/agentd/conf.d/two.toml", "[file.\"/usr-two\"]\n");
        put("root/usr/lib/agentd/conf.d/three.toml", "[file.\"/usr-three\"]\n");
        put("root/usr/lib/agentd/conf.d/masked.toml", "[file.\"/usr-masked\"]\n");
        ASSERT_OK(symlink("/dev/null", in("root/etc/agentd/conf.d/masked.toml")));
        /* Links are resolved in there. */
        put("root/roles/linked.toml", "[file.\"/linked\"]\n");
        ASSERT_OK(symlink("/roles/linked.toml", in("root/etc/agentd/conf.d/linked.toml")));
        put("root/etc/os-release", "ID=testos\nVERSION_ID=7\n");
        put("root/etc/agentd/conf.d/source.toml",
                "[file.\"/beside\"]\nsource = \"x\"\n[file.\"/above\"]\nsource = \"../x\"\n");
        put("root/etc/agentd/x", "");
        put("root/etc/agentd/conf.d/x", "");
        put("root/etc/agentd/conf.d/facts.toml",
                "when = \"facts.os.id == 'testos'\"\n[file.\"/{{facts.os.version_id}}\"]\n");
        options.root = root;
        options.conf_dir = NULL;
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_NOT_NULL(image);
        ASSERT_EQ(image_n_states(image), 7);
        ASSERT_TRUE(has_state("file:/etc-one"));
        ASSERT_TRUE(has_state("file:/run-two"));
        ASSERT_TRUE(has_state("file:/usr-three"));
        ASSERT_TRUE(has_state("file:/linked"));
        ASSERT_TRUE(has_state("file:/7"));

        /* What lies beside a role lies in there as well. */
        ASSERT_TRUE(watches_path("file:/beside", in("root/etc/agentd/conf.d/x")));
        ASSERT_TRUE(watches_path("file:/above", in("root/etc/agentd/x")));

        /* The facts that were looked at, with what they were. */
        {
                const ImageFact *facts = image_array(image, facts, ImageFact);
                uint8_t was[2][IMAGE_HASH_SIZE];

                ASSERT_EQ(image->header->facts.n, 2);
                ASSERT_STREQ(image_text(image, facts[0].name), "facts.os.id");
                ASSERT_STREQ(image_text(image, facts[1].name), "facts.os.version_id");
                memcpy(was[0], facts[0].hash, IMAGE_HASH_SIZE);
                memcpy(was[1], facts[1].hash, IMAGE_HASH_SIZE);
                assert_memory_not_equal(was[0], was[1], IMAGE_HASH_SIZE);
                put("root/etc/os-release", "ID=testos\nVERSION_ID=8\n");
                load_with(&options);
                ASSERT_NOT_NULL(image);
                facts = image_array(image, facts, ImageFact);
                assert_memory_equal(was[0], facts[0].hash, IMAGE_HASH_SIZE);
                assert_memory_not_equal(was[1], facts[1].hash, IMAGE_HASH_SIZE);
        }

        options.root = "/nowhere/at/all";
        load_with(&options);
        ASSERT_STREQ(errors,
                "/nowhere/at/all: error: the root directory cannot be opened: No such file or directory");
        ASSERT_NULL(image);
}

TEST(files_that_were_read) {
        static const char *const wanted[] = { "conf", "conf/a.toml", "conf/t.mustache",
                "conf/inner.mustache" };
        const ImageFile *files;
        struct stat st;

        put("conf/a.toml", "[file.\"/a\"]\ntemplate = \"t.mustache\"\n");
        put("conf/t.mustache", "{{>inner}}");
        put("conf/inner.mustache", "x");
        loads();
        files = image_array(image, files, ImageFile);
        FOREACH_ELEMENT(path, wanted) {
                bool found = false;

                ASSERT_OK(stat(in(*path), &st));
                for (uint32_t i = 0; i < image->header->files.n; i++)
                        if (streq(image_text(image, files[i].path), in(*path))) {
                                found = true;
                                ASSERT_EQ(files[i].inode, st.st_ino);
                                ASSERT_EQ(files[i].device, st.st_dev);
                                ASSERT_EQ(files[i].size, st.st_size);
                                ASSERT_EQ(files[i].mtime_nsec,
                                        st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
                        }
                ASSERT_TRUE(found);
        }
        /* And one that was looked for first: {{>inner}} is also "inner". */
        for (uint32_t i = 0; i < image->header->files.n; i++)
                if (streq(image_text(image, files[i].path), in("conf/inner"))) {
                        ASSERT_TRUE(files[i].inode == 0 && files[i].device == 0 && files[i].mtime_nsec == 0);
                        return;
                }
        fail();
}

TEST(flags) {
        role_loads("[kinds.plain]\nstring = \"x\"\n"
                   "[kinds.password]\npassword = \"x\"\n"
                   "[kinds.pin]\npin = 1234\n"
                   "[kinds.said]\nsensitive = true\n"
                   "[kinds.audit]\naudit = true\nsensitive = false\n"
                   "[kinds.root]\ncheck_as_root = true\ntimeout = \"2min\"\n"
                   "[kinds.looks]\nwhen = \"exists('/x')\"\ntimeout = 7\n"
                   "[kinds.never]\nwhen = \"1 == 2\"\n"
                   "[kinds.always]\nwhen = \"1 == 1\"\ntimeout = \"infinity\"\n");
        ASSERT_EQ(state_of("kinds:plain")->flags, 0);
        ASSERT_EQ(state_of("kinds:password")->flags, IMAGE_STATE_SENSITIVE);
        ASSERT_EQ(state_of("kinds:pin")->flags, IMAGE_STATE_SENSITIVE);
        ASSERT_EQ(state_of("kinds:said")->flags, IMAGE_STATE_SENSITIVE);
        ASSERT_EQ(state_of("kinds:audit")->flags, IMAGE_STATE_AUDIT);
        ASSERT_EQ(state_of("kinds:root")->flags, IMAGE_STATE_CHECK_AS_ROOT);
        ASSERT_EQ(state_of("kinds:looks")->flags, IMAGE_STATE_WHEN_LOOKS);
        ASSERT_TRUE(state_of("kinds:looks")->when > 0);
        ASSERT_EQ(state_of("kinds:never")->flags, 0);
        ASSERT_TRUE(state_of("kinds:never")->when > 0);
        ASSERT_EQ(state_of("kinds:always")->when, 0);

        ASSERT_EQ(state_of("kinds:plain")->timeout_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(state_of("kinds:root")->timeout_usec, 2 * USEC_PER_MINUTE);
        ASSERT_EQ(state_of("kinds:looks")->timeout_usec, 7 * USEC_PER_SEC);
        ASSERT_TRUE(state_of("kinds:always")->timeout_usec == USEC_INFINITY);
        role_loads("[plain.x]\none = \"1\"\n");
        ASSERT_EQ(state_of("plain:x")->timeout_usec, USEC_PER_MINUTE);
        ASSERT_EQ(image_type(image, 0)->flags, AGENTD_NO_PLAN);
        ASSERT_EQ(image_type(image, 0)->batch_max, 7);
}

TEST(hashes) {
        static const char *const same[] = { "[kinds.x]\nstring = \"a\"\nmode = \"0640\"\n",
                "# a comment\n[kinds.x]\nmode=\"640\"\nstring = \"{{vars.a}}\"\n[vars]\na = \"a\"\n",
                /* A condition that is true is none. */
                "[kinds.x]\nstring = \"a\"\nmode = \"0640\"\nwhen = \"true\"\n" };
        static const char *const other[] = { "[kinds.x]\nstring = \"b\"\n", "[kinds.x]\nliteral = \"a\"\n",
                "[kinds.x]\nstring = \"a\"\nsensitive = true\n", "[kinds.x]\nstring = \"a\"\nlist = []\n",
                "[kinds.x]\nstring = \"a\"\nlist = [\"\"]\n", "[kinds.x]\n", "[kinds.y]\nstring = \"a\"\n",
                "[kinds.x]\nstring = \"a\"\nwhen = \"false\"\n",
                "[kinds.x]\nstring = \"a\"\nwhen = \"exists('/a')\"\n",
                "[vars]\na = \"/b\"\n[kinds.x]\nstring = \"a\"\nwhen = \"exists(vars.a)\"\n",
                "[vars]\na = \"/c\"\n[kinds.x]\nstring = \"a\"\nwhen = \"exists(vars.a)\"\n",
                "[kinds.x]\nstring = \"a\"\nwhen = \"not exists('/a')\"\n" };
        uint8_t hashes[ELEMENTSOF(other) + 1][IMAGE_HASH_SIZE];

        for (size_t i = 0; i < ELEMENTSOF(same); i++) {
                role_loads(same[i]);
                if (i == 0)
                        memcpy(hashes[0], image_state(image, 0)->hash, IMAGE_HASH_SIZE);
                assert_memory_equal(hashes[0], image_state(image, 0)->hash, IMAGE_HASH_SIZE);
        }
        for (size_t i = 0; i < ELEMENTSOF(other); i++) {
                role_loads(other[i]);
                memcpy(hashes[i + 1], image_state(image, 0)->hash, IMAGE_HASH_SIZE);
                for (size_t k = 0; k <= i; k++)
                        assert_memory_not_equal(hashes[k], hashes[i + 1], IMAGE_HASH_SIZE);
        }
}

/* By index in the declarations of type `kinds` in tests/modules/kinds.c. */
enum {
        K_BOOLEAN,
        K_INTEGER,
        K_REAL,
        K_STRING,
        K_LIST,
        K_TABLE,
        K_POINT,
        K_MODE,
        K_SPAN,
        K_BYTES,
        K_ANY,
        K_COLOUR,
        K_COLOURS,
        K_PATH,
        K_PATHS,
        K_PASSWORD,
        K_PIN,
        K_LITERAL,
        _K_MAX = 20,
};

static const AgentdValue *values_of(const char *id) {
        return image_at(image, state_of(id)->data);
}

TEST(values) {
        const AgentdValue *v;

        role_loads("[vars]\nn = 42\nyes = true\npath = \"/a//b/\"\np = { x = 4 }\n"
                   "[kinds.none]\n"
                   "[kinds.all]\nboolean = false\ninteger = -9223372036854775808\nreal = 2\nstring = "
                   "\"a\\u0000b\"\n"
                   "list = [\"x\", \"{{vars.n}}\"]\ntable = { a = 1, b = { c = [true, 1.5, \"{{vars.n}}\"] "
                   "} }\n"
                   "point = { x = 3 }\nmode = \"4755\"\nspan = \"1h 30min\"\nbytes = \"64M\"\n"
                   "any = [1, \"x\", 1979-05-27]\ncolour = \"green\"\ncolours = [\"blue\", \"red\"]\n"
                   "path = \"{{vars.path}}\"\npaths = [\"/./x\"]\nliteral = \"{{vars.n}}\"\n"
                   "[kinds.rendered]\nboolean = \"{{vars.yes}}\"\ninteger = \"{{vars.n}}\"\nreal = "
                   "\"{{vars.n}}.5\"\n"
                   "mode = \"0{{vars.n}}0\"\nspan = \"{{vars.n}}s\"\nbytes = \"{{vars.n}}KiB\"\n"
                   "point = \"{{vars.p}}\"\n"
                   "[kinds.numbers]\nspan = 90\nbytes = 0\n");

        v = values_of("kinds:none");
        ASSERT_TRUE(v[K_BOOLEAN].type == AGENTD_BOOLEAN && v[K_BOOLEAN].boolean);
        ASSERT_TRUE(v[K_MODE].type == AGENTD_INTEGER && v[K_MODE].integer == 0640);
        ASSERT_TRUE(v[K_SPAN].type == AGENTD_INTEGER && v[K_SPAN].integer == (int64_t) USEC_PER_MINUTE);
        for (unsigned i = 0; i < _K_MAX; i++)
                if (i != K_BOOLEAN && i != K_MODE && i != K_SPAN)
                        ASSERT_EQ(v[i].type, AGENTD_NONE);

        v = values_of("kinds:all");
        ASSERT_TRUE(v[K_BOOLEAN].type == AGENTD_BOOLEAN && !v[K_BOOLEAN].boolean);
        ASSERT_TRUE(v[K_INTEGER].integer == INT64_MIN);
        ASSERT_TRUE(v[K_REAL].type == AGENTD_FLOAT && v[K_REAL].real == 2);
        ASSERT_EQ(v[K_STRING].size, 3);
        assert_memory_equal(v[K_STRING].string, "a\0b", 4);
        ASSERT_EQ(v[K_LIST].n, 2);
        ASSERT_STREQ(v[K_LIST].items[1].string, "42");
        ASSERT_TRUE(v[K_TABLE].type == AGENTD_TABLE && v[K_TABLE].n == 2);
        ASSERT_STREQ(v[K_TABLE].members[1].key, "b");
        ASSERT_EQ(v[K_TABLE].members[1].value.members[0].value.items[2].integer, 42);
        ASSERT_TRUE(v[K_POINT].type == AGENTD_RECORD && v[K_POINT].n == 2);
        ASSERT_EQ(v[K_POINT].items[0].integer, 3);
        ASSERT_EQ(v[K_POINT].items[1].integer, -1);
        ASSERT_EQ(v[K_MODE].integer, 04755);
        ASSERT_EQ(v[K_SPAN].integer, 90 * USEC_PER_MINUTE);
        ASSERT_EQ(v[K_BYTES].integer, MIB(64));
        ASSERT_EQ(v[K_ANY].n, 3);
        ASSERT_STREQ(v[K_ANY].items[2].string, "1979-05-27");
        ASSERT_STREQ(v[K_COLOUR].string, "green");
        ASSERT_STREQ(v[K_COLOURS].items[1].string, "red");
        ASSERT_STREQ(v[K_PATH].string, "/a/b");
        ASSERT_STREQ(v[K_PATHS].items[0].string, "/x");
        ASSERT_STREQ(v[K_LITERAL].string, "{{vars.n}}");

        v = values_of("kinds:rendered");
        ASSERT_TRUE(v[K_POINT].type == AGENTD_RECORD && v[K_POINT].n == 2);
        ASSERT_EQ(v[K_POINT].items[0].integer, 4);
        ASSERT_EQ(v[K_POINT].items[1].integer, -1);
        ASSERT_TRUE(v[K_BOOLEAN].boolean);
        ASSERT_EQ(v[K_INTEGER].integer, 42);
        ASSERT_TRUE(v[K_REAL].real == 42.5);
        ASSERT_EQ(v[K_MODE].integer, 0420);
        ASSERT_EQ(v[K_SPAN].integer, 42 * USEC_PER_SEC);
        ASSERT_EQ(v[K_BYTES].integer, KIB(42));

        v = values_of("kinds:numbers");
        ASSERT_EQ(v[K_SPAN].integer, 90 * USEC_PER_SEC);
        ASSERT_EQ(v[K_BYTES].integer, 0);
}

TEST(loops) {
        role_loads("[vars]\nadmins = [{ name = \"ada\", id = 1 }, { name = \"bob\", id = 2 }]\n"
                   "ports = { http = 80, https = 443 }\n"
                   "[kinds.\"{{item.name}}\"]\nfor_each = \"vars.admins\"\ninteger = \"{{item.id}}\"\n"
                   "when = \"item.id == 2\"\n"
                   "[kinds.\"port-{{item.key}}\"]\nfor_each = \"vars.ports\"\ninteger = \"{{item.value}}\"\n"
                   "[kinds.\"none-{{item}}\"]\nfor_each = []\n");
        ASSERT_EQ(image_n_states(image), 4);
        ASSERT_EQ(values_of("kinds:ada")[K_INTEGER].integer, 1);
        ASSERT_EQ(values_of("kinds:bob")[K_INTEGER].integer, 2);
        ASSERT_TRUE(state_of("kinds:ada")->when > 0);
        ASSERT_EQ(state_of("kinds:bob")->when, 0);
        ASSERT_EQ(values_of("kinds:port-http")[K_INTEGER].integer, 80);
        ASSERT_EQ(values_of("kinds:port-https")[K_INTEGER].integer, 443);
        /* What is written there are strings of the role like all others. */
        role_loads("[vars]\na = \"x\"\nports = { https = 443 }\n"
                   "[kinds.\"{{item}}\"]\nfor_each = [\"{{vars.a}}\", \"{{facts.os.id}}-b\"]\n"
                   "[kinds.\"{{item.key}}\"]\nfor_each = { c = { n = \"{{vars.ports.https}}\" } }\n"
                   "integer = \"{{item.value.n}}\"\n");
        ASSERT_EQ(image_n_states(image), 3);
        ASSERT_TRUE(has_state("kinds:x"));
        ASSERT_EQ(values_of("kinds:c")[K_INTEGER].integer, 443);
}

TEST(watches) {
        const ImageWatch *watches;

        role_loads("[odd-watch.good]\n");
        ASSERT_EQ(state_of("odd-watch:good")->watches.n, 3);
        watches = image_array(image, watches, ImageWatch) + state_of("odd-watch:good")->watches.offset;
        ASSERT_EQ(watches[0].kind, IMAGE_WATCH_PATH);
        ASSERT_STREQ(image_text(image, watches[0].what), "/watched");
        ASSERT_EQ(watches[1].kind, IMAGE_WATCH_UNIT);
        ASSERT_STREQ(image_text(image, watches[1].what), "watched.service");
        ASSERT_EQ(watches[2].kind, IMAGE_WATCH_BUS);
        ASSERT_STREQ(image_text(image, watches[2].what), "type='signal'");
}

TEST(given_files) {
        LoadOptions options = usual();
        const char *const files[] = { in("elsewhere/b.toml"), in("elsewhere/a"), NULL };

        put("conf/x.toml", "nonsense");
        put("elsewhere/b.toml", "[plain.b]\none = \"1\"\n");
        put("elsewhere/a", "[plain.a]\none = \"1\"\n");
        options.role_files = files;
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_NOT_NULL(image);
        ASSERT_EQ(image_n_states(image), 2);
        ASSERT_STREQ(image_state_role(image, index_of("plain:a")), "a");
        ASSERT_STREQ(image_state_role(image, index_of("plain:b")), "b");
}

TEST(many_states) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        for (unsigned i = 0; i < 5000; i++)
                (void) fprintf(f,
                        "[file.\"/srv/%u\"]\nrequires = [\"plain:*\"]\n[plain.\"%u\"]\none = \"\"\n", i, i);
        (void) fclose(f);
        role_loads(text);
        ASSERT_EQ(image_n_states(image), 10000);
        ASSERT_EQ(image->header->nodes.n, 10001);
        ASSERT_EQ(image->header->dependents.n, 10000);
}

RUN_TESTS(RUN_FRESH(keys_that_are_not), RUN_FRESH(settings_of_the_wrong_type), RUN_FRESH(names_and_paths),
        RUN_FRESH(what_the_file_module_refuses), RUN_FRESH(declared_twice), RUN_FRESH(references),
        RUN_FRESH(paths_that_contradict_each_other), RUN_FRESH(a_sensitive_state_shows_nothing_in_errors),
        RUN_FRESH(cycles), RUN_FRESH(conditions), RUN_FRESH(templates), RUN_FRESH(files_that_cannot_be_read),
        RUN_FRESH(all_errors_in_one_go), RUN_FRESH(modules_that_do_what_none_should),
        RUN_FRESH(modules_that_cannot_be_used), RUN_FRESH(types_of_two_modules),
        RUN_FRESH(loaders_that_do_not_come_back), RUN_FRESH(a_load_can_be_ended), RUN_FRESH(nothing_is_fine),
        RUN_FRESH(edges), RUN_FRESH(implied_edges), RUN_FRESH(edits),
        RUN_FRESH(edits_of_a_file_with_a_secret_are_hidden), RUN_FRESH(globs), RUN_FRESH(helpers_of_modules),
        RUN_FRESH(loops_as_a_whole), RUN_FRESH(loops_that_are_not), RUN_FRESH(which_item_is_wrong),
        RUN_FRESH(roles_that_are_off), RUN_FRESH(directories_and_masks), RUN_FRESH(precedence_below_a_root),
        RUN_FRESH(files_that_were_read), RUN_FRESH(flags), RUN_FRESH(hashes), RUN_FRESH(values),
        RUN_FRESH(loops), RUN_FRESH(watches), RUN_FRESH(given_files), RUN_FRESH(many_states))
