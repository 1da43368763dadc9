/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "preset.h"
#include "test-tree.h"

TEST(rules) {
        static const struct {
                const char *text, *name;
                int r;
                PresetAction action;
                const char *instances;
        } cases[] = {
                { "", "a.service", 0, PRESET_ENABLE, "" },
                { "disable *", "a.service", 0, PRESET_DISABLE, "" },
                { "disable *\n", "a.service", 0, PRESET_DISABLE, "" },
                { "enable a.service\ndisable *\n", "a.service", 0, PRESET_ENABLE, "" },
                { "disable *\nenable a.service\n", "a.service", 0, PRESET_DISABLE, "" },
                { "ignore a.*\ndisable *\n", "a.service", 0, PRESET_IGNORE, "" },
                { "  disable\t a.service  \r\n", "a.service", 0, PRESET_DISABLE, "" },
                { "# disable a.service\n;disable a.service\n  # disable *\n", "a.service", 0, PRESET_ENABLE,
                        "" },
                { "disable [ab].service\n", "b.service", 0, PRESET_DISABLE, "" },
                { "disable ?.service\n", "bb.service", 0, PRESET_ENABLE, "" },
                { "disable a\\*\n", "a*", -EINVAL, PRESET_IGNORE, "" },
                { "disable a@\\x2d.service\n", "a@\\x2d.service", 0, PRESET_DISABLE, "" },
                { "disable\ndisabled *\nDisable *\ndisable* a\nnothing *\n", "a.service", 0, PRESET_ENABLE,
                        "" },
                { "disable a.service b\n", "a.service", 0, PRESET_ENABLE, "" },
                { "enable a.service b\ndisable *\n", "a.service", 0, PRESET_DISABLE, "" },
                { "enable a@.service x y\ndisable *\n", "a@.service", 0, PRESET_ENABLE,
                        "a@x.service|a@y.service|" },
                { "enable a@.service x y\ndisable *\n", "a@y.service", 0, PRESET_ENABLE, "" },
                { "enable a@.service x y\ndisable *\n", "a@z.service", 0, PRESET_DISABLE, "" },
                { "enable a@.service x y\ndisable *\n", "b@x.service", 0, PRESET_DISABLE, "" },
                { "enable a@*.service x y\ndisable *\n", "a@x.service", 0, PRESET_DISABLE, "" },
                { "enable a@.service x/y\n", "a@.service", -EINVAL, PRESET_IGNORE, "" },
                { "disable a\n", "a", -EINVAL, PRESET_IGNORE, "" },
        };

        FOREACH_ELEMENT(c, cases) {
                PresetAction action = PRESET_IGNORE;
                char instances[256] = "";
                Names names = {};
                Presets *presets;
                Pool pool = {};

                ASSERT_OK(presets_new_empty(&presets));
                ASSERT_OK(presets_parse(presets, c->text, strlen(c->text)));
                ASSERT_EQ(presets_query(presets, c->name, &pool, &names, &action), c->r);
                ASSERT_EQ(action, c->action);
                for (size_t i = 0; i < names.n; i++) {
                        strcat(instances, names.list[i]);
                        strcat(instances, "|");
                }
                ASSERT_STREQ(instances, c->instances);
                if (c->r == 0) {
                        ASSERT_OK(presets_query(presets, c->name, NULL, NULL, &action));
                        ASSERT_EQ(action, c->action);
                }
                pool_done(&pool);
                presets_free(presets);
        }
}

TEST(files) {
        Tree tree = tree_make((const TreeFile[]){
                { "/usr/lib/systemd/system-preset/10-a.preset", "disable a.service\n" },
                { "/etc/systemd/system-preset/20-b.preset", "enable a.service\ndisable b.service\n" },
                { "/usr/lib/systemd/system-preset/20-b.preset", "disable c.service\n" },
                { "/run/systemd/system-preset/30-c.preset", "enable b.service\ndisable d.service\n" },
                { "/usr/lib/systemd/system-preset/40-d.preset", "disable e.service\n" },
                { "/etc/systemd/system-preset/40-d.preset", "-> /dev/null" },
                { "/usr/lib/systemd/system-preset/50-e.conf", "disable f.service\n" },
                { "/usr/local/lib/systemd/system-preset/60-f.preset", "-> ../../../../../opt/f" },
                { "/opt/f", "disable g.service\n" },
                { "/usr/lib/systemd/user-preset/10-a.preset", "disable h.service\n" },
                {},
        });
        static const struct {
                const char *name;
                PresetAction action;
        } cases[] = {
                { "a.service", PRESET_DISABLE },
                { "b.service", PRESET_DISABLE },
                { "c.service", PRESET_ENABLE },
                { "d.service", PRESET_DISABLE },
                { "e.service", PRESET_ENABLE },
                { "f.service", PRESET_ENABLE },
                { "g.service", PRESET_DISABLE },
                { "h.service", PRESET_ENABLE },
        };
        PresetAction action;
        Presets *presets;

        ASSERT_OK(presets_new(tree.fd, UNIT_SCOPE_SYSTEM, &presets));
        FOREACH_ELEMENT(c, cases) {
                ASSERT_OK(presets_query(presets, c->name, NULL, NULL, &action));
                ASSERT_EQ(action, c->action);
        }
        presets_free(presets);
        ASSERT_OK(presets_new(tree.fd, UNIT_SCOPE_GLOBAL, &presets));
        ASSERT_OK(presets_query(presets, "h.service", NULL, NULL, &action));
        ASSERT_EQ(action, PRESET_DISABLE);
        presets_free(presets);

        tree_put(&tree, "/etc/systemd/system-preset/99-x.preset", "/");
        ASSERT_EQ(presets_new(tree.fd, UNIT_SCOPE_SYSTEM, &presets), -EISDIR);
        tree_done(&tree);
}

TEST(too_many_rules) {
        Presets *presets;

        ASSERT_OK(presets_new_empty(&presets));
        for (size_t i = 0; i < PRESET_RULES_MAX; i++)
                ASSERT_OK(presets_parse(presets, "disable a\n", 10));
        ASSERT_EQ(presets_parse(presets, "disable a\n", 10), -E2BIG);
        presets_free(presets);
}

RUN_TESTS(RUN(rules), RUN(files), RUN(too_many_rules))
