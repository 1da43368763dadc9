/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"
#include "unit-name.h"

TEST(kinds) {
        static const struct {
                const char *name;
                UnitNameKind kind;
        } cases[] = {
                { "a.service", UNIT_NAME_PLAIN },
                { "a-b_c:d\\x2d.e.socket", UNIT_NAME_PLAIN },
                { "a@.service", UNIT_NAME_TEMPLATE },
                { "a@b.service", UNIT_NAME_INSTANCE },
                { "a@b@c.service", UNIT_NAME_INSTANCE },
                { "a@@.service", UNIT_NAME_INSTANCE },
                { "a.b@c.service", UNIT_NAME_INSTANCE },
                { "-.mount", UNIT_NAME_PLAIN },
                { "-.slice", UNIT_NAME_PLAIN },
                { "", UNIT_NAME_INVALID },
                { "a", UNIT_NAME_INVALID },
                { "a.", UNIT_NAME_INVALID },
                { ".service", UNIT_NAME_INVALID },
                { "@.service", UNIT_NAME_INVALID },
                { "@b.service", UNIT_NAME_INVALID },
                { "a.Service", UNIT_NAME_INVALID },
                { "a.services", UNIT_NAME_INVALID },
                { "a.snapshot", UNIT_NAME_INVALID },
                { "a b.service", UNIT_NAME_INVALID },
                { "a/b.service", UNIT_NAME_INVALID },
                { "../a.service", UNIT_NAME_INVALID },
                { "a\nb.service", UNIT_NAME_INVALID },
                { "\xc3\xa4.service", UNIT_NAME_INVALID },
                { "a%i.service", UNIT_NAME_INVALID },
                { "a@b.service.d", UNIT_NAME_INVALID },
        };
        char name[300];

        FOREACH_ELEMENT(c, cases)
                ASSERT_EQ(unit_name_kind(c->name), c->kind);
        memset(name, 'a', sizeof(name));
        strcpy(name + 255 - strlen(".service"), ".service");
        ASSERT_EQ(unit_name_kind(name), UNIT_NAME_PLAIN);
        memset(name, 'a', sizeof(name));
        strcpy(name + 256 - strlen(".service"), ".service");
        ASSERT_EQ(unit_name_kind(name), UNIT_NAME_INVALID);
}

TEST(complete) {
        static const struct {
                const char *text;
                int r;
                const char *name;
        } cases[] = {
                { "nginx", 0, "nginx.service" },
                { "nginx.service", 0, "nginx.service" },
                { "backup.timer", 0, "backup.timer" },
                { "org.example.daemon", 0, "org.example.daemon.service" },
                { "getty@tty1", 0, "getty@tty1.service" },
                { "getty@", 0, "getty@.service" },
                { "", -EINVAL, "-" },
                { ".service", -EINVAL, "-" },
                { "@x", -EINVAL, "-" },
                { "a b", -EINVAL, "-" },
                { "a b.service", -EINVAL, "-" },
                { "/dev/sda", -EINVAL, "-" },
                { "a*", -EINVAL, "-" },
        };

        FOREACH_ELEMENT(c, cases) {
                char name[UNIT_NAME_SIZE] = "-";

                ASSERT_EQ(unit_name_complete(c->text, name), c->r);
                ASSERT_STREQ(name, c->name);
        }
}

TEST(parts) {
        static const struct {
                const char *name, *template, *instance, *prefix;
        } cases[] = {
                { "a-b.service", NULL, "", "a-b" },
                { "a@.service", "a@.service", "", "a" },
                { "a@b.c.service", "a@.service", "b.c", "a" },
                { "a@b@c.timer", "a@.timer", "b@c", "a" },
                { "a", NULL, NULL, NULL },
                { "@b.service", NULL, NULL, NULL },
        };
        char ret[UNIT_NAME_SIZE];

        FOREACH_ELEMENT(c, cases) {
                ASSERT_EQ(unit_name_template(c->name, ret), c->template ? 0 : -EINVAL);
                if (c->template)
                        ASSERT_STREQ(ret, c->template);
                ASSERT_EQ(unit_name_instance(c->name, ret), c->instance ? 0 : -EINVAL);
                if (c->instance)
                        ASSERT_STREQ(ret, c->instance);
                ASSERT_EQ(unit_name_prefix(c->name, ret), c->prefix ? 0 : -EINVAL);
                if (c->prefix)
                        ASSERT_STREQ(ret, c->prefix);
        }
}

TEST(with_instance) {
        static const struct {
                const char *name, *instance;
                int r;
                const char *is;
        } cases[] = {
                { "a@.service", "x", 0, "a@x.service" },
                { "a@y.service", "x.y", 0, "a@x.y.service" },
                { "a@.service", "x@y", 0, "a@x@y.service" },
                { "a@.service", "", -EINVAL, "-" },
                { "a@.service", "x/y", -EINVAL, "-" },
                { "a@.service", "x y", -EINVAL, "-" },
                { "a.service", "x", -EINVAL, "-" },
                { "a", "x", -EINVAL, "-" },
        };
        char name[UNIT_NAME_SIZE], instance[UNIT_NAME_SIZE];

        FOREACH_ELEMENT(c, cases) {
                strcpy(name, "-");
                ASSERT_EQ(unit_name_with_instance(c->name, c->instance, name), c->r);
                ASSERT_STREQ(name, c->is);
        }
        /* In place, and as long as may be. */
        strcpy(name, "a@b.service");
        memset(instance, 'x', sizeof(instance));
        instance[255 - strlen("a@.service")] = '\0';
        ASSERT_OK(unit_name_with_instance(name, instance, name));
        ASSERT_EQ(strlen(name), 255);
        instance[255 - strlen("a@.service")] = 'x';
        instance[256 - strlen("a@.service")] = '\0';
        ASSERT_EQ(unit_name_with_instance(name, instance, name), -EINVAL);
}

TEST(aliases) {
        static const struct {
                const char *alias, *target;
                int r;
        } cases[] = {
                { "a.service", "b.service", 0 },
                { "a@.service", "b@.service", 0 },
                { "a@x.service", "b@x.service", 0 },
                { "a@x.service", "b@.service", 0 },
                { "a@x.service", "a@.service", 0 },
                { "a.device", "b.device", 0 },
                { "a.service", "a.service", -ELOOP },
                { "a@x.service", "b@y.service", -EXDEV },
                { "a@.service", "b@x.service", -EXDEV },
                { "a@x.service", "b.service", -EXDEV },
                { "a.service", "b@x.service", -EXDEV },
                { "a.service", "b@.service", -EXDEV },
                { "a.service", "b.socket", -EXDEV },
                { "a.service", "b", -EXDEV },
                { "a.service", "null", -EXDEV },
                { "a", "b.service", -EINVAL },
                { "a.mount", "b.mount", -EINVAL },
                { "a.slice", "b.slice", -EINVAL },
                { "a.swap", "b.swap", -EINVAL },
                { "a.automount", "b.automount", -EINVAL },
                { "a@x.device", "b@x.device", -EINVAL },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_EQ(unit_name_alias_check(c->alias, c->target), c->r);
}

TEST(escapes) {
        static const struct {
                const char *text;
                bool path;
                int r;
                const char *escaped;
                int back;
        } cases[] = {
                { "", false, 0, "", 0 },
                { "foo", false, 0, "foo", 0 },
                { "a-b/c", false, 0, "a\\x2db-c", 0 },
                { ".a.b", false, 0, "\\x2ea.b", 0 },
                { "a\\b", false, 0, "a\\x5cb", 0 },
                { "\xc3\xa4", false, 0, "\\xc3\\xa4", 0 },
                { "a@b:c_d", false, 0, "a\\x40b:c_d", 0 },
                { "/", false, 0, "-", 0 },
                { "/", true, 0, "-", 0 },
                { "/a/b", true, 0, "a-b", 0 },
                { "/.a/.b", true, 0, "\\x2ea-.b", 0 },
                { "/a-b", true, 0, "a\\x2db", 0 },
                { "", true, -EINVAL, "", -EINVAL },
                { "a/b", true, -EINVAL, "", -EINVAL },
                { "/a/../b", true, -EINVAL, "", -EINVAL },
        };
        static const struct {
                const char *text;
                bool path;
                const char *is;
        } back[] = {
                { "a\\x2Fb", false, "a/b" },
                { "a@b \xc3\xa4", false, "a@b \xc3\xa4" },
                { "a\\x00", false, NULL },
                { "a\\x2", false, NULL },
                { "a\\", false, NULL },
                { "a\\n", false, NULL },
                { "a\\xzz", false, NULL },
                { "", true, NULL },
                { "-a", true, NULL },
                { "a-", true, NULL },
                { "a--b", true, NULL },
                { "..", true, NULL },
                { "a-..-b", true, NULL },
                { "a-.-b", true, NULL },
                { "a\\x2f\\x2fb", true, NULL },
        };
        char text[64], again[64];

        FOREACH_ELEMENT(c, cases) {
                ASSERT_EQ(unit_escape(c->text, c->path, text, sizeof(text)), c->r);
                if (c->r < 0)
                        continue;
                ASSERT_STREQ(text, c->escaped);
                ASSERT_EQ(unit_unescape(text, c->path, again, sizeof(again)), c->back);
                ASSERT_STREQ(again, c->text);
        }
        ASSERT_OK(unit_escape("//a/.///b/./", true, text, sizeof(text)));
        ASSERT_STREQ(text, "a-b");
        FOREACH_ELEMENT(c, back) {
                ASSERT_EQ(unit_unescape(c->text, c->path, text, sizeof(text)), c->is ? 0 : -EINVAL);
                if (c->is)
                        ASSERT_STREQ(text, c->is);
        }
        ASSERT_EQ(unit_escape("abc", false, text, 3), -ENAMETOOLONG);
        ASSERT_EQ(unit_escape("ab-", false, text, 4), -ENAMETOOLONG);
        ASSERT_EQ(unit_escape("abc", false, text, 0), -ENAMETOOLONG);
        ASSERT_OK(unit_escape("abc", false, text, 4));
        ASSERT_EQ(unit_unescape("abc", true, text, 4), -ENAMETOOLONG);
        ASSERT_EQ(unit_unescape("-", true, text, 1), -ENAMETOOLONG);
}

RUN_TESTS(RUN(kinds), RUN(complete), RUN(parts), RUN(with_instance), RUN(aliases), RUN(escapes))
