/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-tree.h"
#include "unit-change.h"

static const UnitOwner system_owner = { .scope = UNIT_SCOPE_SYSTEM };

static size_t count(const char *const *names) {
        size_t n = 0;

        while (names[n])
                n++;
        return n;
}

/* Plans, and if apply, does it. Returns what planning said; ret_open: how many changes there were to make. */
static int run(const Tree *tree, UnitVerb verb, const char *const *names, unsigned flags, bool apply,
        size_t *ret_open, char error[static UNIT_CHANGE_ERROR_MAX]) {
        UnitChanges *changes = NULL;
        Presets *presets = NULL;
        UnitFiles *files;
        int r;

        ASSERT_OK(unit_files_new(tree->fd, &system_owner, &files));
        ASSERT_OK(presets_new(tree->fd, UNIT_SCOPE_SYSTEM, &presets));
        r = unit_changes_plan(files, presets, verb, names, count(names), flags, &changes, error);
        if (r == 0) {
                if (ret_open)
                        *ret_open = changes->n_open;
                if (apply)
                        ASSERT_OK(unit_changes_apply(files, changes, error));
                unit_changes_free(changes);
        } else
                ASSERT_TRUE(*error);
        presets_free(presets);
        unit_files_free(files);
        return r;
}

static void check_links(const Tree *tree, const TreeFile *expected) {
        char buffer[512];

        for (; expected->path; expected++) {
                const char *is = tree_link(tree, expected->path, buffer);

                if (!expected->content) {
                        if (tree_has(tree, expected->path))
                                print_error("%s is still there\n", expected->path);
                        ASSERT_FALSE(tree_has(tree, expected->path));
                } else {
                        if (!is || !streq(is, expected->content))
                                print_error("%s is %s, not %s\n", expected->path, is ? is : "no link",
                                        expected->content);
                        ASSERT_NOT_NULL(is);
                        ASSERT_STREQ(is, expected->content);
                }
        }
}

#define WANTS ETC "multi-user.target.wants/"

TEST(verbs) {
        static const struct {
                UnitVerb verb;
                unsigned flags;
                const char *names[4];
                TreeFile files[7];
                TreeFile links[7]; /* afterwards; NULL: there is nothing of this name */
        } cases[] = {
                /* Enable. */
                { UNIT_VERB_ENABLE, 0, { "a.service" }, { { LIB "a.service", WANTED } },
                        { { WANTS "a.service", LIB "a.service" } } },
                { UNIT_VERB_ENABLE, UNIT_CHANGE_RUNTIME, { "a.service" }, { { LIB "a.service", WANTED } },
                        { { RUNTIME "multi-user.target.wants/a.service", LIB "a.service" },
                                { WANTS "a.service", NULL } } },
                { UNIT_VERB_ENABLE, 0, { "a.service" }, { { LIB "a.service", "x" } }, { { "/etc", NULL } } },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=b.service %p-c.service "
                                             "a.service\nRequiredBy=x.target\n" } },
                        { { ETC "b.service", LIB "a.service" }, { ETC "a-c.service", LIB "a.service" },
                                { ETC "a.service", NULL },
                                { ETC "x.target.requires/a.service", LIB "a.service" } } },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service",
                                  "[Install]\nAlso=b.socket nobody.service masked.service a.service\n" },
                                { LIB "b.socket", "[Install]\nWantedBy=s.target\nAlso=a.service\n" },
                                { LIB "masked.service", "" } },
                        { { ETC "s.target.wants/b.socket", LIB "b.socket" } } },
                { UNIT_VERB_ENABLE, 0, { "a@x.service" },
                        { { LIB "a@.service", WANTED "Alias=b@.service\n" } },
                        { { WANTS "a@x.service", LIB "a@.service" },
                                { ETC "b@x.service", LIB "a@.service" } } },
                { UNIT_VERB_ENABLE, 0, { "a@.service" },
                        { { LIB "a@.service", WANTED "DefaultInstance=x\n" } },
                        { { WANTS "a@x.service", LIB "a@.service" }, { WANTS "a@.service", NULL } } },
                { UNIT_VERB_ENABLE, 0, { "a@.service" },
                        { { LIB "a@.service", "[Install]\nWantedBy=w@.target w@x.target\n" } },
                        { { ETC "w@.target.wants/a@.service", LIB "a@.service" },
                                { ETC "w@x.target.wants/a@.service", LIB "a@.service" } } },
                { UNIT_VERB_ENABLE, 0, { "b.service" },
                        { { LIB "a.service", WANTED }, { LIB "b.service", "-> a.service" } },
                        { { WANTS "a.service", LIB "a.service" } } },
                { UNIT_VERB_ENABLE, 0, { "/opt/a.service" }, { { "/opt/a.service", WANTED } },
                        { { ETC "a.service", "/opt/a.service" }, { WANTS "a.service", "/opt/a.service" } } },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { "/opt/a.service", WANTED }, { ETC "a.service", "-> ../../../opt/a.service" } },
                        { { ETC "a.service", "../../../opt/a.service" },
                                { WANTS "a.service", "/opt/a.service" } } },
                { UNIT_VERB_ENABLE, 0, { LIB "a.service" }, { { LIB "a.service", WANTED } },
                        { { WANTS "a.service", LIB "a.service" }, { ETC "a.service", NULL } } },
                /* What means the same stays, another link is replaced. */
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", WANTED },
                                { WANTS "a.service", "-> /lib/systemd/system/a.service" },
                                { "/lib", "-> usr/lib" } },
                        { { WANTS "a.service", "/lib/systemd/system/a.service" } } },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", WANTED },
                                { WANTS "a.service", "-> ../../../../run/systemd/system/a.service" } },
                        { { WANTS "a.service", "../../../../run/systemd/system/a.service" } } },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", WANTED }, { WANTS "a.service", "-> /opt/a.service" } },
                        { { WANTS "a.service", LIB "a.service" } } },
                { UNIT_VERB_ENABLE, UNIT_CHANGE_FORCE, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=b.service\n" },
                                { ETC "b.service", "-> /opt/x.service" } },
                        { { ETC "b.service", LIB "a.service" } } },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=x.target.wants/a.service\n" } },
                        { { ETC "x.target.wants/a.service", LIB "a.service" } } },

                /* Disable. */
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { LIB "a.service", WANTED }, { WANTS "a.service", "-> " LIB "a.service" },
                                { ETC "x.target.requires/a.service", "-> x" },
                                { WANTS "b.service", "-> x" } },
                        { { WANTS "a.service", NULL }, { ETC "x.target.requires", NULL },
                                { WANTS "b.service", "x" } } },
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { LIB "a.service", "x" }, { ETC "b.service", "-> " LIB "a.service" },
                                { ETC "c.service", "-> b.service" },
                                { ETC "d.service", "-> " LIB "d.service" } },
                        { { ETC "b.service", NULL }, { ETC "c.service", NULL },
                                { ETC "d.service", LIB "d.service" } } },
                { UNIT_VERB_DISABLE, 0, { "b.service" },
                        { { LIB "a.service", WANTED }, { ETC "b.service", "-> " LIB "a.service" },
                                { WANTS "a.service", "-> " LIB "a.service" } },
                        { { ETC "b.service", NULL }, { WANTS "a.service", NULL } } },
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlso=b.socket\n" }, { LIB "b.socket", "x" },
                                { ETC "s.target.wants/b.socket", "-> x" } },
                        { { ETC "s.target.wants", NULL } } },
                { UNIT_VERB_DISABLE, 0, { "a@.service" },
                        { { LIB "a@.service", WANTED }, { WANTS "a@x.service", "-> x" },
                                { WANTS "a@y.service", "-> x" }, { WANTS "b@y.service", "-> x" } },
                        { { WANTS "a@x.service", NULL }, { WANTS "a@y.service", NULL },
                                { WANTS "b@y.service", "x" } } },
                { UNIT_VERB_DISABLE, 0, { "a@x.service" },
                        { { LIB "a@.service", WANTED }, { WANTS "a@x.service", "-> x" },
                                { WANTS "a@y.service", "-> x" } },
                        { { WANTS "a@x.service", NULL }, { WANTS "a@y.service", "x" } } },
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { "/opt/a.service", WANTED }, { ETC "a.service", "-> /opt/a.service" },
                                { WANTS "a.service", "-> /opt/a.service" } },
                        { { ETC "a.service", NULL }, { WANTS "a.service", NULL } } },
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { WANTS "a.service", "-> " LIB "a.service" },
                                { ETC "b.service", "-> " LIB "a.service" } },
                        { { WANTS "a.service", NULL }, { ETC "b.service", NULL } } },
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { LIB "a.service", WANTED }, { ETC "a.service", "-> /dev/null" },
                                { WANTS "a.service", "-> x" } },
                        { { ETC "a.service", "/dev/null" }, { WANTS "a.service", "x" } } },
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { LIB "a.service", WANTED },
                                { RUNTIME "multi-user.target.wants/a.service", "-> x" } },
                        { { RUNTIME "multi-user.target.wants/a.service", "x" } } },
                { UNIT_VERB_DISABLE, UNIT_CHANGE_RUNTIME, { "a.service" },
                        { { LIB "a.service", WANTED },
                                { RUNTIME "multi-user.target.wants/a.service", "-> x" } },
                        { { RUNTIME "multi-user.target.wants", NULL } } },
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { LIB "a.service", WANTED }, { ETC "x.service", "-> y.service" },
                                { ETC "y.service", "-> x.service" } },
                        { { ETC "x.service", "y.service" } } },

                { UNIT_VERB_DISABLE, 0, { "b.service" },
                        { { LIB "b.service", "x" }, { LIB "c.service", "x" },
                                { ETC "b.service", "-> " LIB "c.service" },
                                { ETC "c.service", "-> " LIB "b.service" }, { WANTS "c.service", "-> x" } },
                        { { ETC "multi-user.target.wants", NULL }, { ETC "b.service", NULL },
                                { ETC "c.service", NULL } } },

                /* What led to a link that goes, wherever in the directory it is. */
                { UNIT_VERB_DISABLE, 0, { "a.service" },
                        { { "/opt/q", "x" }, { ETC "0.service", "-> a.service" },
                                { ETC "a.service", "-> /opt/q" }, { ETC "z.service", "-> a.service" } },
                        { { ETC "0.service", NULL }, { ETC "a.service", NULL },
                                { ETC "z.service", NULL } } },

                /* Mask and unmask. */
                { UNIT_VERB_MASK, 0, { "a.service", "nobody.service" }, { { LIB "a.service", WANTED } },
                        { { ETC "a.service", "/dev/null" }, { ETC "nobody.service", "/dev/null" } } },
                { UNIT_VERB_MASK, UNIT_CHANGE_RUNTIME, { "a.service" }, { { LIB "a.service", WANTED } },
                        { { RUNTIME "a.service", "/dev/null" } } },
                { UNIT_VERB_MASK, UNIT_CHANGE_FORCE, { "a.service" },
                        { { ETC "a.service", "-> /opt/a.service" } }, { { ETC "a.service", "/dev/null" } } },
                { UNIT_VERB_UNMASK, 0, { "a.service" },
                        { { ETC "a.service", "-> /dev/null" }, { ETC "b.service", "-> a.service" },
                                { RUNTIME "a.service", "-> /dev/null" } },
                        { { ETC "a.service", NULL }, { ETC "b.service", NULL },
                                { RUNTIME "a.service", "/dev/null" } } },
                { UNIT_VERB_UNMASK, 0, { "a.service" }, { { ETC "a.service", "" } },
                        { { ETC "a.service", NULL } } },
                { UNIT_VERB_UNMASK, 0, { "a.service" },
                        { { ETC "a.service", "-> /opt/a.service" }, { "/opt/a.service", "x" } },
                        { { ETC "a.service", "/opt/a.service" } } },
                { UNIT_VERB_UNMASK, 0, { "a.service" }, { { LIB "a.service", "-> /dev/null" } },
                        { { LIB "a.service", "/dev/null" } } },

                /* Preset. */
                { UNIT_VERB_PRESET, 0, { "a.service", "b.service", "c.service" },
                        { { LIB "a.service", WANTED }, { LIB "b.service", WANTED },
                                { LIB "c.service", WANTED }, { WANTS "b.service", "-> " LIB "b.service" },
                                { WANTS "c.service", "-> " LIB "c.service" },
                                { "/usr/lib/systemd/system-preset/1.preset",
                                        "enable a*\nignore c*\ndisable *\n" } },
                        { { WANTS "a.service", LIB "a.service" }, { WANTS "b.service", NULL },
                                { WANTS "c.service", LIB "c.service" } } },
                { UNIT_VERB_PRESET, 0, { "a@.service" },
                        { { LIB "a@.service", WANTED },
                                { "/etc/systemd/system-preset/1.preset", "enable a@.service x y\n" } },
                        { { WANTS "a@x.service", LIB "a@.service" },
                                { WANTS "a@y.service", LIB "a@.service" } } },
                { UNIT_VERB_PRESET, 0, { "a@.service" }, { { LIB "a@.service", WANTED } },
                        { { "/etc", NULL } } },
                { UNIT_VERB_PRESET, 0, { "b.service" },
                        { { LIB "a.service", WANTED }, { LIB "b.service", "-> a.service" } },
                        { { "/etc", NULL } } },
                /* A name goes from one to the other. */
                { UNIT_VERB_PRESET, 0, { "a.service", "b.service" },
                        { { LIB "a.service", "[Install]\nAlias=x.service\n" },
                                { LIB "b.service", "[Install]\nAlias=x.service\n" },
                                { ETC "x.service", "-> " LIB "a.service" },
                                { "/etc/systemd/system-preset/1.preset", "disable a.service\n" } },
                        { { ETC "x.service", LIB "b.service" } } },

                /* Link. */
                { UNIT_VERB_LINK, 0, { "/opt/a.service" }, { { "/opt/a.service", WANTED } },
                        { { ETC "a.service", "/opt/a.service" }, { WANTS "a.service", NULL } } },
                { UNIT_VERB_LINK, 0, { LIB "a.service" }, { { LIB "a.service", WANTED } },
                        { { "/etc", NULL } } },
        };
        char error[UNIT_CHANGE_ERROR_MAX];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Tree tree = tree_make(cases[i].files);
                size_t n_open = SIZE_MAX;
                int r;

                r = run(&tree, cases[i].verb, cases[i].names, cases[i].flags, true, NULL, error);
                if (r < 0)
                        print_error("case %zu: %s\n", i, error);
                ASSERT_OK(r);
                check_links(&tree, cases[i].links);
                /* Again there is nothing to do. */
                ASSERT_OK(run(&tree, cases[i].verb, cases[i].names, cases[i].flags, false, &n_open, error));
                ASSERT_EQ(n_open, 0);
                tree_done(&tree);
        }
}

TEST(errors) {
        static const struct {
                UnitVerb verb;
                unsigned flags;
                const char *names[3];
                TreeFile files[4];
                int r;
                const char *error;
        } cases[] = {
                { UNIT_VERB_ENABLE, 0, { "a" }, { { LIB "a", "x" } }, -EINVAL,
                        "'a' is not the name of a unit" },
                { UNIT_VERB_ENABLE, 0, { "../a.service" }, { { LIB "a", "x" } }, -EINVAL,
                        "'../a.service' is not the name of a unit" },
                { UNIT_VERB_ENABLE, 0, { "a.service", "b.service" }, { { LIB "a.service", WANTED } },
                        -ENOENT, "There is no unit 'b.service'" },
                { UNIT_VERB_ENABLE, 0, { "/opt/a.service" }, { { LIB "a.service", WANTED } }, -ENOENT,
                        "There is no unit '/opt/a.service'" },
                { UNIT_VERB_ENABLE, 0, { "a.service" }, { { ETC "a.service", "-> /dev/null" } }, -ERFKILL,
                        "Unit 'a.service' is masked by '" ETC "a.service'" },
                { UNIT_VERB_ENABLE, 0, { "a.service" }, { { "/run/systemd/generator/a.service", WANTED } },
                        -EADDRNOTAVAIL, "Unit 'a.service' is transient or generated" },
                { UNIT_VERB_ENABLE, 0, { "b.service" },
                        { { LIB "a.service", WANTED }, { ETC "b.service", "-> " LIB "a.service" } }, -ELOOP,
                        "'b.service' is an alias of 'a.service': enable that" },
                { UNIT_VERB_ENABLE, 0, { "b.service" }, { { ETC "b.service", "-> " LIB "a.service" } },
                        -ENOLINK, "Unit 'b.service' is an alias of one that does not exist" },
                { UNIT_VERB_ENABLE, 0, { "a.service" }, { { LIB "a.service", "[Install\n" } }, -EBADMSG,
                        "Failed to read unit 'a.service': Bad message" },
                { UNIT_VERB_ENABLE, 0, { "a.service" }, { { LIB "a.service", "[Install]\nWantedBy=x\n" } },
                        -EUCLEAN, "'" LIB "a.service' wants to be enabled for 'x', which is no unit" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nWantedBy=../../x.target\n" } }, -EUCLEAN,
                        "'" LIB "a.service' wants to be enabled for '../../x.target', which is no unit" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nWantedBy=%Z.target\n" } }, -EBADSLT,
                        "Cannot resolve the specifiers of '%Z.target' in '" LIB "a.service'" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=b.socket\n" } }, -EXDEV,
                        "'" LIB "a.service' cannot have the alias 'b.socket'" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=../../etc/b.service\n" } }, -EXDEV,
                        "'" LIB "a.service' cannot have the alias '../../etc/b.service'" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=x.target.wants/b.service\n" } }, -EXDEV,
                        "'" LIB "a.service' cannot have the alias 'x.target.wants/b.service'" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=../x.target.wants/a.service\n" } }, -EXDEV,
                        "'" LIB "a.service' cannot have the alias '../x.target.wants/a.service'" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=b.service\n" }, { ETC "b.service", "x" } },
                        -EEXIST, "'" ETC "b.service' is there already, and not a link" },
                { UNIT_VERB_ENABLE, UNIT_CHANGE_FORCE, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=b.service\n" }, { ETC "b.service", "x" } },
                        -EEXIST, "'" ETC "b.service' is there already, and not a link" },
                { UNIT_VERB_ENABLE, 0, { "a.service" },
                        { { LIB "a.service", "[Install]\nAlias=b.service\n" },
                                { ETC "b.service", "-> " LIB "c.service" } },
                        -EEXIST, "'" ETC "b.service' is there already, and leads to '" LIB "c.service'" },
                { UNIT_VERB_ENABLE, 0, { "a.service", "c.service" },
                        { { LIB "a.service", "[Install]\nAlias=b.service\n" },
                                { LIB "c.service", "[Install]\nAlias=b.service\n" } },
                        -EEXIST,
                        "Both '" LIB "a.service' and '" LIB "c.service' want the link '" ETC "b.service'" },
                { UNIT_VERB_ENABLE, 0, { "a@.service" }, { { LIB "a@.service", WANTED } }, -EIDRM,
                        "'a@.service' is a template, and 'multi-user.target' is none: an instance has to be "
                        "named, as a@NAME.service" },
                { UNIT_VERB_DISABLE, 0, { "a" }, { { LIB "a", "x" } }, -EINVAL,
                        "'a' is not the name of a unit" },
                { UNIT_VERB_MASK, 0, { "a" }, { { LIB "a", "x" } }, -EINVAL,
                        "'a' is not the name of a unit" },
                { UNIT_VERB_MASK, 0, { "a.service" }, { { ETC "a.service", "x" } }, -EEXIST,
                        "'" ETC "a.service' is there already, and not a link" },
                { UNIT_VERB_MASK, 0, { "a.service" }, { { ETC "a.service", "-> /opt/a.service" } }, -EEXIST,
                        "'" ETC "a.service' is there already, and leads to '/opt/a.service'" },
                { UNIT_VERB_UNMASK, 0, { "a" }, { { LIB "a", "x" } }, -EINVAL,
                        "'a' is not the name of a unit" },
                { UNIT_VERB_PRESET, 0, { "a.service" }, { { LIB "b.service", "x" } }, -ENOENT,
                        "There is no unit 'a.service'" },
                { UNIT_VERB_PRESET, 0, { "a.service" }, { { ETC "a.service", "-> /dev/null" } }, -ERFKILL,
                        "Unit 'a.service' is masked by '" ETC "a.service'" },
                { UNIT_VERB_LINK, 0, { "a.service" }, { { LIB "a.service", "x" } }, -EINVAL,
                        "'a.service' is not the absolute path of a unit" },
                { UNIT_VERB_LINK, 0, { "/opt/a" }, { { "/opt/a", "x" } }, -EINVAL,
                        "'/opt/a' is not the absolute path of a unit" },
                { UNIT_VERB_LINK, 0, { "/opt/a.service" }, { { "/opt/b.service", "x" } }, -ENOENT,
                        "Failed to open '/opt/a.service': No such file or directory" },
                { UNIT_VERB_LINK, 0, { "/opt/a.service" }, { { "/opt/a.service", "-> b.service" } }, -EBADFD,
                        "'/opt/a.service' is not a regular file" },
        };
        char error[UNIT_CHANGE_ERROR_MAX];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Tree tree = tree_make(cases[i].files);
                int r = run(&tree, cases[i].verb, cases[i].names, cases[i].flags, true, NULL, error);

                if (r != cases[i].r || !streq(error, cases[i].error))
                        print_error("case %zu: %i: %s\n", i, r, error);
                ASSERT_EQ(r, cases[i].r);
                ASSERT_STREQ(error, cases[i].error);
                tree_done(&tree);
        }
}

/* A directory on the way that leads elsewhere leads there only inside the root. */
TEST(nothing_is_made_outside_of_the_root) {
        Tree outside = tree_make((const TreeFile[]){ { "/keep/a.service", "-> x" }, {} });
        const char *names[] = { "a.service", NULL };
        char error[UNIT_CHANGE_ERROR_MAX], link[256], buffer[512];
        Tree tree = tree_make((const TreeFile[]){ { LIB "a.service", WANTED }, {} });

        snprintf(link, sizeof(link), "-> %s/keep", outside.path);
        tree_put(&tree, ETC "multi-user.target.wants", link);
        tree_put(&tree, ETC "x.target.wants", link);
        {
                UnitChanges *changes;
                UnitFiles *files;

                ASSERT_OK(unit_files_new(tree.fd, &system_owner, &files));
                ASSERT_OK(unit_changes_plan(files, NULL, UNIT_VERB_ENABLE, names, 1, 0, &changes, error));
                ASSERT_EQ(changes->n_open, 1);
                ASSERT_TRUE(unit_changes_apply(files, changes, error) < 0);
                unit_changes_free(changes);
                unit_files_free(files);
        }
        ASSERT_OK(run(&tree, UNIT_VERB_DISABLE, names, 0, true, NULL, error));
        ASSERT_STREQ(tree_link(&outside, "/keep/a.service", buffer), "x");
        tree_done(&tree);
        tree_done(&outside);
}

/* What somebody has put there since is not touched. */
TEST(what_changed_since_it_was_planned) {
        static const struct {
                UnitVerb verb;
                const char *path, *now;
                int r;
        } cases[] = {
                { UNIT_VERB_ENABLE, ETC "b.service", "-> /other", -ESTALE },
                { UNIT_VERB_ENABLE, ETC "b.service", "", -ESTALE },
                { UNIT_VERB_ENABLE, ETC "b.service", "-> " LIB "a.service", 0 },
                { UNIT_VERB_DISABLE, WANTS "a.service", "-> /other", -ESTALE },
                { UNIT_VERB_DISABLE, WANTS "a.service", "a file", -ESTALE },
                { UNIT_VERB_DISABLE, WANTS "a.service", "/", -ESTALE },
        };
        const char *names[] = { "a.service" };
        char error[UNIT_CHANGE_ERROR_MAX];

        FOREACH_ELEMENT(c, cases) {
                Tree tree = tree_make((const TreeFile[]){ { LIB "a.service", WANTED "Alias=b.service\n" },
                        { WANTS "a.service", "-> " LIB "a.service" }, {} });
                UnitChanges *changes;
                UnitFiles *files;

                ASSERT_OK(unit_files_new(tree.fd, &system_owner, &files));
                ASSERT_OK(unit_changes_plan(files, NULL, c->verb, names, 1, 0, &changes, error));
                tree_put(&tree, c->path, c->now);
                ASSERT_EQ(unit_changes_apply(files, changes, error), c->r);
                ASSERT_TRUE(!*error == (c->r == 0));
                ASSERT_TRUE(tree_has(&tree, c->path));
                unit_changes_free(changes);
                unit_files_free(files);
                tree_done(&tree);
        }
}

TEST(no_runtime_directory) {
        const UnitOwner owner = { .scope = UNIT_SCOPE_USER, .home = "/home/ada" };
        Tree tree = tree_make((const TreeFile[]){ { "/usr/lib/systemd/user/a.service", WANTED }, {} });
        const char *names[] = { "a.service" };
        char error[UNIT_CHANGE_ERROR_MAX], buffer[512];
        UnitChanges *changes;
        UnitFiles *files;

        ASSERT_OK(unit_files_new(tree.fd, &owner, &files));
        ASSERT_EQ(unit_changes_plan(
                          files, NULL, UNIT_VERB_ENABLE, names, 1, UNIT_CHANGE_RUNTIME, &changes, error),
                -ENXIO);
        ASSERT_OK(unit_changes_plan(files, NULL, UNIT_VERB_ENABLE, names, 1, 0, &changes, error));
        ASSERT_OK(unit_changes_apply(files, changes, error));
        ASSERT_STREQ(
                tree_link(&tree, "/home/ada/.config/systemd/user/multi-user.target.wants/a.service", buffer),
                "/usr/lib/systemd/user/a.service");
        unit_changes_free(changes);
        unit_files_free(files);
        tree_done(&tree);
}

RUN_TESTS(RUN(verbs), RUN(errors), RUN(nothing_is_made_outside_of_the_root),
        RUN(what_changed_since_it_was_planned), RUN(no_runtime_directory))
