/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/inotify.h>

#include "enablement-internal.h"
#include "test-tree.h"

static const UnitOwner system_owner = { .scope = UNIT_SCOPE_SYSTEM };

static UnitFiles *read_tree(const Tree *tree) {
        UnitFiles *files = NULL;

        ASSERT_OK(unit_files_new(tree->fd, &system_owner, &files));
        return files;
}

static const char *state_of(UnitFiles *files, const char *name) {
        UnitFileState state;

        ASSERT_OK(unit_files_states(files, &name, 1, &state));
        return unit_file_state_name(state);
}

/* One tree each, and the state of one unit in it. */
TEST(states) {
        static const struct {
                const char *name, *state;
                TreeFile files[6];
        } cases[] = {
                { "a.service", "not-found", { { "/etc/hosts", "" } } },
                { "a", "bad", { { LIB "a", WANTED } } },
                { "../a.service", "bad", { { LIB "a.service", WANTED } } },
                { "a.service", "disabled", { { LIB "a.service", WANTED } } },
                { "a.service", "static", { { LIB "a.service", "[Unit]\n" } } },
                { "a.service", "static", { { LIB "a.service", "[Install]\nWantedBy=\n" } } },
                { "a.service", "indirect", { { LIB "a.service", "[Install]\nAlso=b.socket\n" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", "[Install]\nAlso=b.socket\nRequiredBy=x.target\n" } } },
                { "a.service", "disabled", { { LIB "a.service", "[Install]\nAlias=b.service\n" } } },
                { "a.mount", "static", { { LIB "a.mount", "[Install]\nAlias=b.mount\n" } } },

                /* Links in *.wants/ and *.requires/: only their names count. */
                { "a.service", "enabled",
                        { { LIB "a.service", WANTED },
                                { ETC "multi-user.target.wants/a.service", "-> " LIB "a.service" } } },
                { "a.service", "enabled",
                        { { LIB "a.service", "x" },
                                { ETC "other.target.requires/a.service", "-> nowhere" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", WANTED },
                                { ETC "multi-user.target.wants/a.service", "a file" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", WANTED },
                                { ETC "multi-user.target.d/a.service", "-> " LIB "a.service" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", WANTED },
                                { ETC "multi-user.target.wants/b.service", "-> " LIB "a.service" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", WANTED }, { ETC "multi-user.target.wants", "-> other" },
                                { ETC "other/a.service", "-> " LIB "a.service" } } },
                { "a.service", "enabled-runtime",
                        { { LIB "a.service", WANTED },
                                { RUNTIME "multi-user.target.wants/a.service", "-> " LIB "a.service" } } },
                { "a.service", "enabled",
                        { { LIB "a.service", WANTED }, { RUNTIME "x.target.wants/a.service", "-> x" },
                                { ETC "x.target.wants/a.service", "-> x" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", WANTED }, { LIB "x.target.wants/a.service", "-> x" } } },
                { "a.service", "static",
                        { { LIB "a.service", "x" }, { LIB "x.target.wants/a.service", "-> x" } } },

                /* Aliases. */
                { "b.service", "alias",
                        { { LIB "a.service", WANTED }, { ETC "b.service", "-> " LIB "a.service" } } },
                { "b.service", "alias",
                        { { LIB "a.service", WANTED }, { LIB "b.service", "-> a.service" } } },
                { "b.service", "alias",
                        { { LIB "a.service", WANTED },
                                { ETC "b.service", "-> ../../../usr/lib/systemd/system/a.service" } } },
                { "b.service", "alias",
                        { { LIB "a.service", WANTED },
                                { ETC "b.service", "-> /lib/systemd/system/a.service" },
                                { "/lib", "-> usr/lib" } } },
                { "b.service", "alias",
                        { { LIB "a.service", WANTED }, { ETC "b.service", "-> " ETC "a.service" } } },
                { "a.service", "enabled",
                        { { LIB "a.service", "[Install]\nAlias=b.service\n" },
                                { ETC "b.service", "-> " LIB "a.service" } } },
                { "a.service", "indirect",
                        { { LIB "a.service", "[Install]\nAlias=c.service\n" },
                                { ETC "b.service", "-> " LIB "a.service" } } },
                { "c.service", "alias",
                        { { LIB "a.service", "x" }, { LIB "b.service", "-> a.service" },
                                { ETC "c.service", "-> " LIB "b.service" } } },
                { "b.service", "bad", { { ETC "b.service", "-> " LIB "a.service" } } },
                { "b.service", "bad",
                        { { ETC "b.service", "-> c.service" }, { ETC "c.service", "-> b.service" } } },
                { "b.service", "bad", { { ETC "b.service", "-> b.service" } } },
                { "a.service", "bad",
                        { { LIB "a.service", "x" }, { ETC "a.service", "-> " LIB "a.service" } } },
                { "b.service", "bad",
                        { { LIB "a.socket", "x" }, { ETC "b.service", "-> " LIB "a.socket" } } },
                { "b.service", "bad",
                        { { LIB "a@.service", "x" }, { ETC "b.service", "-> " LIB "a@.service" } } },
                { "b.mount", "bad", { { LIB "a.mount", "x" }, { ETC "b.mount", "-> " LIB "a.mount" } } },

                /* Linked. */
                { "a.service", "linked",
                        { { "/opt/a.service", "x" }, { ETC "a.service", "-> /opt/a.service" } } },
                { "a.service", "linked-runtime",
                        { { "/opt/a.service", "x" }, { RUNTIME "a.service", "-> /opt/a.service" } } },
                { "a.service", "enabled",
                        { { "/opt/a.service", WANTED }, { ETC "a.service", "-> /opt/a.service" },
                                { ETC "x.target.wants/a.service", "-> /opt/a.service" } } },
                { "b.service", "alias",
                        { { "/opt/a.service", "x" }, { ETC "b.service", "-> /opt/a.service" } } },
                { "a.service", "not-found", { { ETC "a.service", "-> /opt/a.service" } } },
                { "a.service", "linked",
                        { { "/opt/a.service", "x" },
                                { ETC "a.service", "-> ../../../../../../../../opt/a.service" } } },

                /* Masks. */
                { "a.service", "masked",
                        { { ETC "a.service", "-> /dev/null" }, { LIB "a.service", WANTED } } },
                { "a.service", "masked", { { ETC "a.service", "-> ../../../dev/null" } } },
                { "a.service", "masked", { { ETC "a.service", "" } } },
                { "a.service", "masked", { { ETC "a.service", "-> /opt/empty" }, { "/opt/empty", "" } } },
                { "a.service", "masked-runtime",
                        { { RUNTIME "a.service", "-> /dev/null" }, { LIB "a.service", WANTED } } },
                { "a.service", "masked", { { LIB "a.service", "-> /dev/null" } } },
                { "a.service", "disabled",
                        { { ETC "a.service", WANTED }, { RUNTIME "a.service", "-> /dev/null" } } },
                { "a.service", "masked",
                        { { ETC "a.service", "-> /dev/null" },
                                { ETC "x.target.wants/a.service", "-> " LIB "a.service" } } },
                { "b.service", "masked",
                        { { ETC "a.service", "-> /dev/null" }, { ETC "b.service", "-> a.service" } } },

                /* Where they come from. */
                { "a.service", "generated", { { "/run/systemd/generator/a.service", WANTED } } },
                { "a.service", "generated", { { "/run/systemd/generator.late/a.service", "x" } } },
                { "a.service", "disabled",
                        { { "/run/systemd/generator.late/a.service", "x" }, { LIB "a.service", WANTED } } },
                { "a.service", "generated",
                        { { "/run/systemd/generator.early/a.service", "x" }, { ETC "a.service", WANTED } } },
                { "a.service", "masked-runtime",
                        { { "/run/systemd/generator.early/a.service", "-> /dev/null" },
                                { ETC "a.service", WANTED } } },
                { "a.service", "transient", { { "/run/systemd/transient/a.service", "x" } } },
                { "a.service", "static", { { "/etc/systemd/system.control/a.service", "x" } } },
                { "a.service", "static",
                        { { "/etc/systemd/system.attached/a.service", "x" }, { LIB "a.service", WANTED } } },
                { "a.service", "disabled",
                        { { "/usr/local/lib/systemd/system/a.service", WANTED },
                                { LIB "a.service", "x" } } },
                { "a.service", "disabled",
                        { { "/lib/systemd/system/a.service", WANTED }, { LIB "a.service", "x" } } },

                /* Templates and instances. */
                { "a@.service", "disabled", { { LIB "a@.service", WANTED } } },
                { "a@x.service", "disabled", { { LIB "a@.service", WANTED } } },
                { "a@x.service", "static", { { LIB "a@.service", "x" } } },
                { "a@x.service", "enabled",
                        { { LIB "a@.service", WANTED }, { ETC "x.target.wants/a@x.service", "-> x" } } },
                { "a@y.service", "disabled",
                        { { LIB "a@.service", WANTED }, { ETC "x.target.wants/a@x.service", "-> x" } } },
                { "a@.service", "indirect",
                        { { LIB "a@.service", WANTED }, { ETC "x.target.wants/a@x.service", "-> x" } } },
                { "a@.service", "enabled",
                        { { LIB "a@.service", WANTED "DefaultInstance=x\n" },
                                { ETC "x.target.wants/a@x.service", "-> x" } } },
                { "a@.service", "indirect",
                        { { LIB "a@.service", WANTED "DefaultInstance=y\n" },
                                { ETC "x.target.wants/a@x.service", "-> x" } } },
                { "a@x.service", "static",
                        { { LIB "a@.service", WANTED }, { LIB "x.target.wants/a@x.service", "-> x" } } },
                { "b@x.service", "enabled",
                        { { LIB "a@.service", WANTED }, { ETC "b@.service", "-> " LIB "a@.service" },
                                { ETC "x.target.wants/a@x.service", "-> x" } } },
                { "a@x.service", "disabled", { { LIB "a@x.service", WANTED }, { LIB "a@.service", "x" } } },
                { "a@x.mount", "bad", { { LIB "a@.mount", "x" } } },
                { "a@x.mount", "bad", { { "/etc/hosts", "" } } },

                /* Drop-ins. */
                { "a.service", "disabled",
                        { { LIB "a.service", "x" }, { ETC "a.service.d/1.conf", WANTED } } },
                { "a.service", "static",
                        { { LIB "a.service", WANTED },
                                { ETC "a.service.d/1.conf", "[Install]\nWantedBy=\n" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", "x" }, { LIB "a.service.d/1.conf", "x" },
                                { LIB "a.service.d/2.conf", WANTED } } },
                { "a.service", "static",
                        { { LIB "a.service", "x" }, { LIB "a.service.d/1.conf", WANTED },
                                { ETC "a.service.d/1.conf", "-> /dev/null" } } },
                { "a.service", "static",
                        { { LIB "a.service", "x" }, { LIB "a.service.d/1.conf", WANTED },
                                { ETC "a.service.d/1.conf", "" } } },
                { "a.service", "static",
                        { { LIB "a.service", "x" }, { LIB "a.service.d/1.con", WANTED },
                                { LIB "a.service.d/.1.conf", WANTED },
                                { LIB "service.d/1.conf", WANTED } } },
                { "a.service", "bad",
                        { { LIB "a.service", "x" }, { LIB "a.service.d/1.conf", "-> nowhere" } } },
                { "a.service", "disabled",
                        { { LIB "a.service", "x" }, { LIB "a.service.d/1.conf", "-> /opt/1" },
                                { "/opt/1", WANTED } } },
                { "a.service", "disabled",
                        { { LIB "a.service", "x" }, { LIB "a.service.d", "-> /opt/d" },
                                { "/opt/d/1.conf", WANTED } } },
                { "a@x.service", "disabled",
                        { { LIB "a@.service", "x" }, { LIB "a@.service.d/1.conf", WANTED } } },
                { "a@x.service", "static",
                        { { LIB "a@.service", "x" }, { LIB "a@.service.d/1.conf", WANTED },
                                { LIB "a@x.service.d/1.conf", "x" } } },

                /* What is no unit file, or a bad one. */
                { "a.service", "bad", { { LIB "a.service", "/" } } },
                { "a.service", "bad", { { LIB "a.service", "[Install\n" } } },
                { "a.service", "bad", { { LIB "a.service", "[Install]\nAlso=b\n" } } },
                { "a.service", "bad", { { ETC "a.service", "/" }, { LIB "a.service", WANTED } } },
                { "a.service", "bad", { { LIB "a.service", "x" }, { LIB "a.service.d/1.conf", "/" } } },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Tree tree = tree_make(cases[i].files);
                UnitFiles *files = read_tree(&tree);

                if (!streq(state_of(files, cases[i].name), cases[i].state))
                        print_error("case %zu: '%s' is not %s\n", i, cases[i].name, cases[i].state);
                ASSERT_STREQ(state_of(files, cases[i].name), cases[i].state);
                /* Asked again it is told from memory. */
                ASSERT_STREQ(state_of(files, cases[i].name), cases[i].state);
                unit_files_free(files);
                tree_done(&tree);
        }
}

TEST(nothing_leads_out_of_the_root) {
        Tree outside = tree_make((const TreeFile[]){ { "/a.service", WANTED }, {} });
        char up[256], absolute[256];
        UnitFiles *files;
        Tree tree;

        snprintf(absolute, sizeof(absolute), "-> %s/a.service", outside.path);
        snprintf(up, sizeof(up), "-> ../../../../../../../../../../..%s/a.service", outside.path);
        tree = tree_make((const TreeFile[]){
                { ETC "a.service", absolute },
                { ETC "b.service", up },
                { LIB "c.service", "x" },
                { LIB "c.service.d/1.conf", absolute },
                { LIB "e.service", "x" },
                { "/run/x", "x" },
                {},
        });
        snprintf(absolute, sizeof(absolute), "-> %s", outside.path);
        tree_put(&tree, LIB "e.service.d", absolute);
        tree_put(&tree, "/run/systemd", absolute);
        files = read_tree(&tree);
        ASSERT_STREQ(state_of(files, "a.service"), "not-found");
        ASSERT_STREQ(state_of(files, "b.service"), "not-found");
        ASSERT_STREQ(state_of(files, "c.service"), "bad");
        ASSERT_STREQ(state_of(files, "e.service"), "static");
        unit_files_free(files);
        tree_done(&tree);
        tree_done(&outside);
}

TEST(what_is_known_of_a_unit) {
        Tree tree = tree_make((const TreeFile[]){
                { LIB "a@.service", WANTED "DefaultInstance=x\n" },
                { ETC "b@.service", "-> " LIB "a@.service" },
                { "/opt/c.service", "x" },
                { ETC "c.service", "-> /opt/c.service" },
                {},
        });
        UnitFiles *files = read_tree(&tree);
        const UnitFile *unit = NULL;
        Names names = {};
        Pool pool = {};

        ASSERT_OK(unit_files_find(files, "b@y.service", &unit));
        ASSERT_EQ(unit->mode, UNIT_FILE_MODE_ALIAS);
        ASSERT_TRUE(unit->in_config);
        ASSERT_STREQ(unit->found, ETC "b@.service");
        ASSERT_STREQ(unit->real->name, "a@y.service");
        ASSERT_STREQ(unit->real->path, LIB "a@.service");
        ASSERT_TRUE(unit_file_has_rules(unit->real));
        ASSERT_NULL(unit->real->install.default_instance);

        ASSERT_OK(unit_files_find(files, "c.service", &unit));
        ASSERT_EQ(unit->mode, UNIT_FILE_MODE_REGULAR);
        ASSERT_STREQ(unit->path, "/opt/c.service");
        ASSERT_STREQ(unit->found, ETC "c.service");

        ASSERT_OK(unit_files_find(files, "nobody.service", &unit));
        ASSERT_EQ(unit->mode, UNIT_FILE_MODE_NONE);
        ASSERT_EQ(unit->error, -ENOENT);
        ASSERT_NULL(unit->real);
        ASSERT_EQ(unit_files_find(files, "nobody", &unit), -EINVAL);

        ASSERT_OK(unit_files_find_at(files, "/opt/c.service", &unit));
        ASSERT_STREQ(unit->path, "/opt/c.service");
        ASSERT_OK(unit_files_find_at(files, ETC "c.service", &unit));
        ASSERT_STREQ(unit->found, ETC "c.service");
        ASSERT_OK(unit_files_find_at(files, "/opt/d.service", &unit));
        ASSERT_EQ(unit->error, -ENOENT);
        ASSERT_EQ(unit_files_find_at(files, "/opt/d", &unit), -EINVAL);
        ASSERT_EQ(unit_files_find_at(files, "d.service", &unit), -EINVAL);

        ASSERT_OK(unit_files_list(files, &pool, &names));
        ASSERT_EQ(names.n, 3);
        pool_done(&pool);
        unit_files_free(files);
        tree_done(&tree);
}

/* Each thing that can change is seen, and nothing is read again without need. */
TEST(refresh) {
        static const TreeFile changes[] = {
                { LIB "b.service", WANTED },
                { LIB "a.service", "[Unit]\n" },
                { LIB "a.service.d/2.conf", WANTED },
                { LIB "a.service.d/1.conf", "[Install]\n" },
                { "/opt/l.service", "[Install]\nWantedBy=x.target\n" },
                { "/opt/via", "-> l2.service" },
                { LIB "x.target.wants/a.service", "-> x" },
                { ETC "y.target.wants/a.service", "-> x" },
                { "/run/systemd/generator/a.service", "x" },
                { ETC "mask.service", "-> /dev/null" },
                { "/opt/missing.service", "x" },
        };

        FOREACH_ELEMENT(change, changes) {
                Tree tree = tree_make((const TreeFile[]){
                        { LIB "a.service", WANTED },
                        { LIB "a.service.d/1.conf", "x" },
                        { LIB "x.target.wants/b.service", "-> x" },
                        { "/opt/l.service", "x" },
                        { "/opt/l2.service", "xx" },
                        { "/opt/via", "-> l.service" },
                        { LIB "l.service", "-> /opt/via" },
                        { LIB "m.service", "-> /opt/missing.service" },
                        {},
                });
                UnitFiles *files;

                tree_wait_until_old();
                files = read_tree(&tree);
                ASSERT_STREQ(state_of(files, "a.service"), "disabled");
                ASSERT_STREQ(state_of(files, "l.service"), "static");
                ASSERT_STREQ(state_of(files, "m.service"), "not-found");
                ASSERT_EQ(unit_files_refresh(files), 0);
                ASSERT_EQ(unit_files_refresh(files), 0);
                tree_put(&tree, change->path, change->content);
                ASSERT_EQ(unit_files_refresh(files), 1);
                (void) state_of(files, "a.service");
                unit_files_free(files);
                tree_done(&tree);
        }
}

/* What was changed in the same tick of the clock looks the same. */
TEST(what_is_young_is_read_again) {
        Tree tree = tree_make((const TreeFile[]){ { LIB "a.service", WANTED }, {} });
        int r = 0;

        /* On a slow machine it may not be young any more. Not for long: seconds that pass would be seen anyhow. */
        for (unsigned i = 0; r == 0 && i < 50; i++) {
                UnitFiles *files;

                tree_put(&tree, LIB "a.service", WANTED);
                files = read_tree(&tree);
                r = unit_files_refresh(files);
                unit_files_free(files);
        }
        ASSERT_EQ(r, 1);
        tree_done(&tree);
}

TEST(users) {
        static const struct {
                UnitScope scope;
                const char *runtime_dir, *name, *state;
        } cases[] = {
                { UNIT_SCOPE_USER, "/run/user/7", "a.service", "enabled" },
                { UNIT_SCOPE_USER, "/run/user/7", "b.service", "enabled" },
                { UNIT_SCOPE_USER, "/run/user/7", "c.service", "enabled-runtime" },
                { UNIT_SCOPE_USER, NULL, "c.service", "disabled" },
                { UNIT_SCOPE_USER, NULL, "d.service", "static" },
                { UNIT_SCOPE_GLOBAL, NULL, "a.service", "disabled" },
                { UNIT_SCOPE_GLOBAL, NULL, "b.service", "enabled" },
                { UNIT_SCOPE_GLOBAL, NULL, "d.service", "not-found" },
        };
        Tree tree = tree_make((const TreeFile[]){
                { "/usr/lib/systemd/user/a.service", WANTED },
                { "/usr/lib/systemd/user/b.service", WANTED },
                { "/usr/lib/systemd/user/c.service", WANTED },
                { "/home/ada/.local/share/systemd/user/d.service", "x" },
                { "/home/ada/.config/systemd/user/x.target.wants/a.service", "-> x" },
                { "/etc/systemd/user/x.target.wants/b.service", "-> x" },
                { "/run/user/7/systemd/user/x.target.wants/c.service", "-> x" },
                {},
        });

        FOREACH_ELEMENT(c, cases) {
                const UnitOwner owner = {
                        .scope = c->scope,
                        .home = "/home/ada",
                        .runtime_dir = c->runtime_dir,
                };
                UnitFiles *files;

                ASSERT_OK(unit_files_new(tree.fd, &owner, &files));
                ASSERT_STREQ(state_of(files, c->name), c->state);
                unit_files_free(files);
        }
        tree_done(&tree);
}

/* A drop-in of ada's leads to a pipe, as it could to a device that does something when it is opened. */
TEST(what_is_no_file_is_not_opened) {
        static const UnitOwner owner = { .scope = UNIT_SCOPE_USER, .home = "/home/ada" };
        Tree tree = tree_make((const TreeFile[]){
                { "/home/ada/.config/systemd/user/a.service", WANTED },
                { "/home/ada/.config/systemd/user/a.service.d/x.conf", "-> /home/ada/pipe" },
                { "/home/ada/.config/systemd/user/b.service", "-> /home/ada/pipe" },
                {},
        });
        _cleanup_close_ int inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        struct inotify_event event;
        UnitFiles *files;
        char path[512];

        (void) snprintf(path, sizeof(path), "%s/home/ada/pipe", tree.path);
        ASSERT_OK(mkfifo(path, 0600));
        ASSERT_TRUE(inotify_add_watch(inotify_fd, path, IN_OPEN) >= 0);
        ASSERT_OK(unit_files_new(tree.fd, &owner, &files));
        ASSERT_STREQ(state_of(files, "a.service"), "bad");
        ASSERT_STREQ(state_of(files, "b.service"), "bad");
        ASSERT_EQ(read(inotify_fd, &event, sizeof(event)), -1);
        ASSERT_EQ(errno, EAGAIN);
        unit_files_free(files);
        tree_done(&tree);
}

/* Of names that are all in one chain 90000 took half a minute. */
TEST(nobody_knows_the_hash_of_a_name) {
        Tree tree = tree_make((const TreeFile[]){ { LIB "a.service", WANTED }, {} });
        UnitFiles *one = read_tree(&tree), *other = read_tree(&tree);
        const Entry *a = entry_get(one, "a.service", false), *b = entry_get(other, "a.service", false);

        ASSERT_NOT_NULL(a);
        ASSERT_NOT_NULL(b);
        ASSERT_TRUE(one->seed != other->seed);
        ASSERT_TRUE(a->hash != b->hash);
        unit_files_free(one);
        unit_files_free(other);
        tree_done(&tree);
}

RUN_TESTS(RUN(what_is_no_file_is_not_opened), RUN(nobody_knows_the_hash_of_a_name), RUN(states),
        RUN(nothing_leads_out_of_the_root), RUN(what_is_known_of_a_unit), RUN(refresh),
        RUN(what_is_young_is_read_again), RUN(users))
