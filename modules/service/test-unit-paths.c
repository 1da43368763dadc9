/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-tree.h"
#include "unit-paths.h"

static void check_paths(int root_fd, const UnitOwner *owner, const char *const *expected,
        const char *persistent, const char *runtime) {
        UnitPaths paths;
        size_t n = 0;

        ASSERT_OK(unit_paths_init(&paths, root_fd, owner));
        for (; expected[n]; n++) {
                ASSERT_TRUE(n < paths.n);
                ASSERT_STREQ(paths.list[n].path, expected[n]);
        }
        ASSERT_EQ(paths.n, n);
        ASSERT_STREQ(paths.persistent, persistent);
        ASSERT_TRUE(!paths.runtime == !runtime);
        if (runtime)
                ASSERT_STREQ(paths.runtime, runtime);
        unit_paths_done(&paths);
}

/* systemd-analyze unit-paths, of 252. */
TEST(search_path_of_the_system) {
        static const char *const expected[] = { "/etc/systemd/system.control", "/run/systemd/system.control",
                "/run/systemd/transient", "/run/systemd/generator.early", "/etc/systemd/system",
                "/etc/systemd/system.attached", "/run/systemd/system", "/run/systemd/system.attached",
                "/run/systemd/generator", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                "/run/systemd/generator.late", NULL };
        static const char *const split[] = { "/etc/systemd/system.control", "/run/systemd/system.control",
                "/run/systemd/transient", "/run/systemd/generator.early", "/etc/systemd/system",
                "/etc/systemd/system.attached", "/run/systemd/system", "/run/systemd/system.attached",
                "/run/systemd/generator", "/usr/local/lib/systemd/system", "/lib/systemd/system",
                "/usr/lib/systemd/system", "/run/systemd/generator.late", NULL };
        const UnitOwner owner = { .scope = UNIT_SCOPE_SYSTEM };
        Tree tree = tree_make((const TreeFile[]){ { "/usr/lib/x", "" }, {} });

        check_paths(tree.fd, &owner, expected, "/etc/systemd/system", "/run/systemd/system");
        tree_put(&tree, "/lib", "-> usr/lib");
        check_paths(tree.fd, &owner, expected, "/etc/systemd/system", "/run/systemd/system");
        tree_put(&tree, "/lib", "/");
        check_paths(tree.fd, &owner, split, "/etc/systemd/system", "/run/systemd/system");
        tree_done(&tree);
}

/* Likewise, with --global and --user. */
TEST(search_paths_of_users) {
        static const char *const global[] = { "/etc/systemd/user", "/run/systemd/user",
                "/usr/local/share/systemd/user", "/usr/share/systemd/user", "/usr/local/lib/systemd/user",
                "/usr/lib/systemd/user", NULL };
        static const char *const usual[] = { "/home/ada/.config/systemd/user.control",
                "/home/ada/.config/systemd/user", "/etc/xdg/systemd/user", "/etc/systemd/user",
                "/run/systemd/user", "/home/ada/.local/share/systemd/user", "/usr/local/share/systemd/user",
                "/usr/share/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user", NULL };
        static const char *const others[] = { "/c/systemd/user.control", "/run/user/7/systemd/user.control",
                "/run/user/7/systemd/transient", "/run/user/7/systemd/generator.early", "/c/systemd/user",
                "/x/systemd/user", "/y/z/systemd/user", "/etc/systemd/user", "/run/user/7/systemd/user",
                "/run/systemd/user", "/run/user/7/systemd/generator", "/d/systemd/user",
                "/usr/share/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user",
                "/run/user/7/systemd/generator.late", NULL };
        const UnitOwner usual_owner = { .scope = UNIT_SCOPE_USER, .home = "/home/ada" };
        const UnitOwner other_owner = {
                .scope = UNIT_SCOPE_USER,
                .home = "/home/ada",
                .runtime_dir = "/run/user/7",
                .config_home = "/c",
                .data_home = "/d",
                .config_dirs = "/x:relative::/y/z/",
                .data_dirs = "/usr/share:/d",
        };

        check_paths(-1, &(UnitOwner){ .scope = UNIT_SCOPE_GLOBAL }, global, "/etc/systemd/user",
                "/run/systemd/user");
        check_paths(-1, &usual_owner, usual, "/home/ada/.config/systemd/user", NULL);
        check_paths(-1, &other_owner, others, "/c/systemd/user", "/run/user/7/systemd/user");
}

TEST(search_paths_that_cannot_be) {
        char many[1024] = "";
        UnitPaths paths;

        ASSERT_EQ(unit_paths_init(&paths, -1, &(UnitOwner){ .scope = UNIT_SCOPE_USER }), -EINVAL);
        ASSERT_EQ(unit_paths_init(&paths, -1, &(UnitOwner){ .scope = UNIT_SCOPE_USER, .home = "ada" }),
                -EINVAL);
        ASSERT_EQ(unit_paths_init(&paths, -1, &(UnitOwner){ .scope = (UnitScope) 7 }), -EINVAL);
        for (size_t i = 0; i < UNIT_PATHS_MAX; i++)
                sprintf(many + strlen(many), "/dir/%zu:", i);
        ASSERT_EQ(unit_paths_init(&paths, -1,
                          &(UnitOwner){ .scope = UNIT_SCOPE_USER, .home = "/home/ada", .data_dirs = many }),
                -E2BIG);
        ASSERT_EQ(paths.n, 0);
}

TEST(resolve) {
        static const struct {
                const char *path;
                bool follow;
                int r;
                const char *is;
        } cases[] = {
                { "/", true, 0, "/" },
                { "//a/./b/../c//", true, 0, "/a/c" },
                { "/../../a", true, 0, "/a" },
                { "/nowhere/x/../y", true, 0, "/nowhere/y" },
                { "/file/x", true, 0, "/file/x" },
                { "/absolute/x", true, 0, "/dir/x" },
                { "/relative/x", true, 0, "/dir/x" },
                { "/out/x", true, 0, "/dir/x" },
                { "/chain/x", true, 0, "/dir/x" },
                { "/relative", true, 0, "/dir" },
                { "/relative", false, 0, "/relative" },
                { "/relative//", false, 0, "/relative" },
                { "/dangling", true, 0, "/nowhere/x" },
                { "/dangling/../y", true, 0, "/nowhere/y" },
                { "/dir/up/x", true, 0, "/x" },
                { "/loop/x", true, -ELOOP, "-" },
                { "/gone", true, 0, "/gone" },
                { "relative", true, -EINVAL, "-" },
                { "", true, -EINVAL, "-" },
        };
        Tree tree = tree_make((const TreeFile[]){ { "/dir/file", "" }, { "/file", "" },
                { "/absolute", "-> /dir" }, { "/relative", "-> ./dir/." }, { "/out", "-> ../../../dir" },
                { "/chain", "-> absolute" }, { "/dangling", "-> /nowhere/x" }, { "/dir/up", "-> .." },
                { "/loop", "-> /loop2" }, { "/loop2", "-> loop" }, { "/gone", "-> dir" }, {} });
        char ret[PATH_MAX], *path;

        FOREACH_ELEMENT(c, cases) {
                strcpy(ret, "-");
                ASSERT_EQ(unit_root_resolve(tree.fd, c->path, c->follow, NULL, NULL, ret),
                        streq(c->path, "/gone") ? 0 : c->r);
                if (!streq(c->path, "/gone"))
                        ASSERT_STREQ(ret, c->is);
        }
        path = malloc(2 * PATH_MAX);
        ASSERT_NOT_NULL(path);
        memset(path, '/', 2 * PATH_MAX);
        path[2 * PATH_MAX - 1] = '\0';
        ASSERT_EQ(unit_root_resolve(tree.fd, path, true, NULL, NULL, ret), -ENAMETOOLONG);
        free(path);
        tree_done(&tree);
}

static bool is_gone(const char *path, void *userdata) {
        return streq(path, userdata);
}

TEST(resolve_what_is_gone) {
        Tree tree = tree_make((const TreeFile[]){ { "/b", "-> a" }, { "/c", "-> b" }, {} });
        char ret[PATH_MAX], gone[] = "/b";

        ASSERT_OK(unit_root_resolve(tree.fd, "/c", true, NULL, NULL, ret));
        ASSERT_STREQ(ret, "/a");
        ASSERT_OK(unit_root_resolve(tree.fd, "/c", true, is_gone, gone, ret));
        ASSERT_STREQ(ret, "/b");
        tree_done(&tree);
}

TEST(texts) {
        const UnitOwner owner = { .scope = UNIT_SCOPE_SYSTEM };
        UnitPaths paths;

        ASSERT_OK(unit_paths_init(&paths, -1, &owner));
        ASSERT_EQ(unit_paths_find_parent(&paths, "/etc/systemd/system/a"), 4);
        ASSERT_EQ(unit_paths_find_parent(&paths, "/etc/systemd/system/a/b"), -1);
        ASSERT_EQ(unit_paths_find_parent(&paths, "/etc/systemd/system.attached/a"), 5);
        ASSERT_EQ(unit_paths_find_parent(&paths, "/a"), -1);
        ASSERT_TRUE(unit_paths_contain(&paths, "/etc/systemd/system/a/b"));
        ASSERT_FALSE(unit_paths_contain(&paths, "/etc/systemd/system"));
        ASSERT_FALSE(unit_paths_contain(&paths, "/etc/systemd/systemx/a"));
        ASSERT_STREQ(unit_path_below("/a/b/c", "/a"), "b/c");
        ASSERT_NULL(unit_path_below("/a/", "/a"));
        ASSERT_NULL(unit_path_below("/ab", "/a"));
        unit_paths_done(&paths);
}

RUN_TESTS(RUN(search_path_of_the_system), RUN(search_paths_of_users), RUN(search_paths_that_cannot_be),
        RUN(resolve), RUN(resolve_what_is_gone), RUN(texts))
