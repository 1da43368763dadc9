/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "install-section.h"
#include "test.h"

static const char *join(const Names *names, char buffer[static 1024]) {
        *buffer = '\0';
        for (size_t i = 0; i < names->n; i++) {
                if (i > 0)
                        strcat(buffer, "|");
                strcat(buffer, names->list[i]);
        }
        return buffer;
}

TEST(lists) {
        static const struct {
                const char *text, *wanted_by;
        } cases[] = {
                { "", "" },
                { "[Install]\nWantedBy=a.target\n", "a.target" },
                { "[Install]\nWantedBy=a.target", "a.target" },
                { "\xef\xbb\xbf[Install]\nWantedBy=a.target", "a.target" },
                { "[Install]\r\nWantedBy=a.target\r\n", "a.target" },
                { "  [Install]  \n  WantedBy  =  a.target  b.target  \n", "a.target|b.target" },
                { "[Install]\nWantedBy=a.target\nWantedBy=b.target\n", "a.target|b.target" },
                { "[Install]\nWantedBy=a.target\nWantedBy=\nWantedBy=b.target\n", "b.target" },
                { "[Install]\nWantedBy=a.target\nWantedBy=\n", "" },
                { "[Install]\nWantedBy=a.target \\\n  b.target\n", "a.target|b.target" },
                { "[Install]\nWantedBy=a.target \\\n# no\n; no\n b.target\n", "a.target|b.target" },
                { "[Install]\nWantedBy=a.target \\\n\nb.target\n", "a.target" },
                { "[Install]\nWantedBy=a.tar\\\nget\n", "a.tar|get" },
                { "[Install]\nWantedBy=a.target \\", "a.target" },
                { "[Install]\n# WantedBy=a.target \\\nWantedBy=b.target\n", "b.target" },
                { "[Install]\nWantedBy=a\\\\\nWantedBy=b\n", "a\\\\|b" },
                { "[Install]\nWantedBy='a.target b'\"c\"d\n", "a.target bcd" },
                { "[Install]\nWantedBy=''\n", "" },
                { "[Install]\nWantedBy=a \"b\n", "" },
                { "[Install]\nWantedBy=a\nWantedBy=b 'c\nWantedBy=d\n", "a|d" },
                { "[Install]\nWantedBy=a\\x20b\n", "a\\x20b" },
                { "[Install]\nWantedBy=%i.target %\n", "%i.target|%" },
                { "[install]\nWantedBy=a\n", "" },
                { "[ Install]\nWantedBy=a\n", "" },
                { "[Unit]\nWantedBy=a\n[Install]\nwantedby=b\nWantedBy = c\n[Service]\nWantedBy=d\n", "c" },
                { "[X-Install]\nWantedBy=a\n", "" },
                { "WantedBy=a\n", "" },
                { "[Install]\nWantedBy\n=a\nWantedBy=b=c\n", "b=c" },
                { "[Unit]\nWantedBy=a\n[Install]\nWantedBy=b\n[Unit]\nWantedBy=c\n[Install]\nWantedBy=d\n",
                        "b|d" },
        };
        const InstallUnit unit = { .name = "a.service", .root_fd = -1 };

        FOREACH_ELEMENT(c, cases) {
                InstallSection section = {};
                char buffer[1024];
                Pool pool = {};

                ASSERT_OK(install_section_parse(&pool, &unit, c->text, strlen(c->text), &section));
                /* What '' is, an empty word, can only be seen in the number. */
                ASSERT_STREQ(join(&section.wanted_by, buffer), c->wanted_by);
                pool_done(&pool);
        }
}

TEST(others) {
        static const struct {
                const char *unit, *text;
                int r;
                const char *aliases, *also, *instance;
        } cases[] = {
                { "a.service", "Alias=b.service c.socket\n", 0, "b.service|c.socket", "", NULL },
                { "a.mount", "Alias=b.mount\n", 0, "", "", NULL },
                { "a.service", "Also=b.service %p.socket\nAlso=\n", 0, "", "b.service|a.socket", NULL },
                { "a.service", "Also=b\\.service\n", 0, "", "b.service", NULL },
                { "a.service", "Also=\"b.service\"\n", -EINVAL, "", "", NULL },
                { "a.service", "Also=b.service c\n", -EINVAL, "", "b.service", NULL },
                { "a.service", "Also=b.service \\a\\ \n", -EINVAL, "", "b.service", NULL },
                { "a.service", "Also=/etc/passwd\n", -EINVAL, "", "", NULL },
                { "a.service", "Also=%m.service\n", -EUNATCH, "", "", NULL },
                { "a.service", "DefaultInstance=x\n", 0, "", "", NULL },
                { "a@.service", "DefaultInstance=x\n", 0, "", "", "x" },
                { "a@.service", "DefaultInstance=x\nDefaultInstance=\n", 0, "", "", NULL },
                { "a@.service", "DefaultInstance=%p-1\n", 0, "", "", "a-1" },
                { "a@.service", "DefaultInstance=x y\n", -EINVAL, "", "", NULL },
                { "a@.service", "DefaultInstance=x/y\n", -EINVAL, "", "", NULL },
                { "a@b.service", "DefaultInstance=x/y\n", 0, "", "", NULL },
                { "a@.service", "DefaultInstance=x\nAlso=%n\n", 0, "", "a@x.service", "x" },
                { "a.service", "[Install\n", -EBADMSG, "", "", NULL },
                { "a.service", "\xff\n", -EINVAL, "", "", NULL },
                { "a.service", "\xed\xa0\x80\n", -EINVAL, "", "", NULL },
                { "a.service", "\xc0\xaf\n", -EINVAL, "", "", NULL },
                { "a.service", "\xf4\x90\x80\x80\n", -EINVAL, "", "", NULL },
                { "a.service", "# \xff\nAlias=\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n", 0,
                        "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "", NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                const InstallUnit unit = { .name = c->unit, .root_fd = -1 };
                InstallSection section = {};
                char text[256], buffer[1024];
                Pool pool = {};

                snprintf(text, sizeof(text), "[Install]\n%s", c->text);
                ASSERT_EQ(install_section_parse(&pool, &unit, text, strlen(text), &section), c->r);
                ASSERT_STREQ(join(&section.aliases, buffer), c->aliases);
                ASSERT_STREQ(join(&section.also, buffer), c->also);
                ASSERT_TRUE(!section.default_instance == !c->instance);
                if (c->instance)
                        ASSERT_STREQ(section.default_instance, c->instance);
                pool_done(&pool);
        }
}

TEST(what_drop_ins_add) {
        const InstallUnit unit = { .name = "a.service", .root_fd = -1 };
        static const char first[] = "[Install]\nWantedBy=a\nAlso=x.service\n",
                          second[] = "[Install]\nWantedBy=\nWantedBy=b\nRequiredBy=c\n";
        InstallSection section = {};
        char buffer[1024];
        Pool pool = {};

        ASSERT_OK(install_section_parse(&pool, &unit, first, strlen(first), &section));
        ASSERT_OK(install_section_parse(&pool, &unit, second, strlen(second), &section));
        ASSERT_STREQ(join(&section.wanted_by, buffer), "b");
        ASSERT_STREQ(join(&section.required_by, buffer), "c");
        ASSERT_STREQ(join(&section.also, buffer), "x.service");
        pool_done(&pool);
}

TEST(limits) {
        const InstallUnit unit = { .name = "a.service", .root_fd = -1 };
        size_t size = UNIT_FILE_SIZE_MAX + 1, n;
        InstallSection section = {};
        Pool pool = {};
        char *text = malloc(size);

        ASSERT_NOT_NULL(text);
        memset(text, '\\', size);
        ASSERT_EQ(install_section_parse(&pool, &unit, text, size, &section), -E2BIG);
        memset(text, '\n', size);
        ASSERT_OK(install_section_parse(&pool, &unit, text, size - 1, &section));
        /* One line, put together of very many. */
        for (size_t i = 0; i + 1 < size; i += 2)
                memcpy(text + i, "\\\n", 2);
        ASSERT_OK(install_section_parse(&pool, &unit, text, size - 1, &section));

        memset(text, ' ', size);
        n = (size_t) snprintf(text, size, "[Install]\nWantedBy=");
        for (size_t i = 0; i <= INSTALL_NAMES_MAX; i++, n += 2)
                memcpy(text + n, "a ", 2);
        ASSERT_EQ(install_section_parse(&pool, &unit, text, n, &section), -E2BIG);
        ASSERT_EQ(section.wanted_by.n, 0);
        free(text);
        pool_done(&pool);
}

TEST(specifiers) {
        const UnitOwner owner = {
                .scope = UNIT_SCOPE_USER, .user = "ada", .group = "users", .uid = 1000, .gid = 100
        };
        static const struct {
                const char *unit, *instance, *word;
                int r;
                const char *is;
        } cases[] = {
                { "a-b.service", NULL, "%p/%N/%n/%j/%i.", 0, "a-b/a-b/a-b.service/b/." },
                { "a-b@.service", NULL, "%p/%N/%n/%j/%i.", 0, "a-b/a-b@/a-b@.service/b/." },
                { "a-b@.service", "x", "%p/%N/%n/%j/%i.", 0, "a-b/a-b@x/a-b@x.service/b/x." },
                { "a-b@y-z.service", "x", "%p/%N/%n/%j/%i.", 0, "a-b/a-b@y-z/a-b@y-z.service/b/y-z." },
                { "a.service", NULL, "%%p%", 0, "%p%" },
                { "a.service", NULL, "%-%.", 0, "%-%." },
                { "a.service", NULL, "%Z", -EBADSLT, "untouched" },
                { "a.service", NULL, "%h", -EBADSLT, "untouched" },
                { "a.service", NULL, "%1", -EBADSLT, "untouched" },
                { "a.service", NULL, "", 0, "" },
                { "a.service", NULL, "%u:%U:%g:%G", 0, "ada:1000:users:100" },
                { "a.service", NULL, "%m", -EUNATCH, "untouched" },
                { "a.service", NULL, "%o", -EUNATCH, "untouched" },
        };
        char word[2 * UNIT_NAME_SIZE], ret[UNIT_NAME_SIZE];
        const InstallUnit root = { .name = "a.service", .root_fd = -1 };

        FOREACH_ELEMENT(c, cases) {
                const InstallUnit unit = { .name = c->unit, .root_fd = -1, .owner = &owner };

                strcpy(ret, "untouched");
                ASSERT_EQ(install_specifiers(&unit, c->instance, c->word, ret), c->r);
                ASSERT_STREQ(ret, c->is);
        }
        ASSERT_OK(install_specifiers(&root, NULL, "%u%U%g%G", ret));
        ASSERT_STREQ(ret, "root0root0");
        memset(word, 'a', UNIT_NAME_SIZE);
        word[UNIT_NAME_SIZE] = '\0';
        ASSERT_EQ(install_specifiers(&root, NULL, word, ret), -ENAMETOOLONG);
        word[UNIT_NAME_SIZE - 1] = '\0';
        ASSERT_OK(install_specifiers(&root, NULL, word, ret));
        for (size_t i = 0; i + 1 < sizeof(word); i++)
                word[i] = i % 2 ? 'n' : '%';
        word[sizeof(word) - 1] = '\0';
        ASSERT_EQ(install_specifiers(&root, NULL, word, ret), -ENAMETOOLONG);
}

RUN_TESTS(RUN(lists), RUN(others), RUN(what_drop_ins_add), RUN(limits), RUN(specifiers))
