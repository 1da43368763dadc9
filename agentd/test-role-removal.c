/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-load.h"

static const char *recipe_of(const char *id) {
        const ImageExtra *extra = image_extra(image, index_of(id));

        return extra && extra->removal.n > 0 ? image_text(image, extra->removal) : NULL;
}

#define DIRECTORY(path) "[file.\"" path "\"]\nensure = \"directory\"\non_removal = \"absent\"\n"
#define FILE_(path)     "[file.\"" path "\"]\ncontent = \"x\"\non_removal = \"absent\"\n"
#define RECIPE(path) \
        "{\"type\":\"file\",\"name\":\"" path "\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\"}}"

/* ---- What is written down -------------------------------------------------------------------------------------- */

TEST(how_a_state_is_removed_is_in_the_image) {
        role_loads("[vars]\nx = \"\\\"$1\"\n"
                   "[file.\"/a\"]\ncontent = \"x\"\nmode = \"0600\"\non_removal = \"absent\"\n"
                   "[file.\"/b\"]\ncontent = \"x\"\non_removal = \"keep\"\n"
                   "[file.\"/c\"]\nensure = \"directory\"\nforce = true\non_removal = \"absent\"\n"
                   "[file.\"/d\"]\nensure = \"absent\"\non_removal = \"absent\"\n"
                   "[file.\"/e\"]\ncontent = \"x\"\nimmutable = true\nsensitive = true\non_removal = "
                   "\"absent\"\ncheck_as_root = true\n"
                   "[edit.\"line\"]\npath = \"/f//g\"\nline = \"{{vars.x}}\"\non_removal = "
                   "\"absent\"\nvalidate = [\"/bin/true\", \"%s\"]\n"
                   "[edit.\"block\"]\npath = \"/f\"\nblock = \"x\"\ncomment = \"<!--\"\non_removal = "
                   "\"absent\"\n"
                   "[edit.\"mark\"]\npath = \"/f\"\nblock = \"x\"\nmarker = \"! {mark}\"\non_removal = "
                   "\"absent\"\n");
        ASSERT_STREQ(recipe_of("file:/a"), RECIPE("/a"));
        ASSERT_NULL(recipe_of("file:/b"));
        ASSERT_STREQ(recipe_of("file:/c"),
                "{\"type\":\"file\",\"name\":\"/c\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"force\":true}}");
        ASSERT_NULL(recipe_of("file:/d"));
        ASSERT_STREQ(recipe_of("file:/e"),
                "{\"type\":\"file\",\"name\":\"/e\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"immutable\":false,\"sensitive\":true,\"check_as_root\":true}}");
        ASSERT_STREQ(recipe_of("edit:line"),
                "{\"type\":\"edit\",\"name\":\"line\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/f/g\",\"line\":\"\\\"$1\",\"validate\":[\"/bin/true\",\"%s\"]}}");
        ASSERT_STREQ(recipe_of("edit:block"),
                "{\"type\":\"edit\",\"name\":\"block\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/f\",\"block\":\"\",\"marker\":\"<!-- {mark} agentd: block -->\"}}");
        ASSERT_STREQ(recipe_of("edit:mark"),
                "{\"type\":\"edit\",\"name\":\"mark\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/f\",\"block\":\"\",\"marker\":\"! {mark}\"}}");
}

TEST(a_tree_goes_with_what_is_below) {
        (void) in("conf/files/x");
        role_loads("[file.\"/t\"]\nensure = \"directory\"\npurge = true\non_removal = \"absent\"\n");
        ASSERT_STREQ(recipe_of("file:/t"),
                "{\"type\":\"file\",\"name\":\"/t\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"force\":true}}");
}

TEST(what_cannot_be_removed) {
        static const Case cases[] = {
                { "[hosts-entry.x]\naddress = \"192.0.2.1\"\non_removal = \"absent\"\n",
                        "a.toml:3:14: error: 'on_removal' is for types with ensure = \"absent\", and "
                        "hosts-entry has "
                        "none" },
                { "[edit.x]\npath = \"/x\"\nset = { a = 1 }\non_removal = \"absent\"\n",
                        "a.toml:1:7: error: on_removal = \"absent\" is for 'block' and for a 'line' as it "
                        "is; nobody "
                        "knows what was there before" },
                { "[edit.x]\npath = \"/x\"\nline = '$1 b'\nmatch = '^(a) c'\non_removal = \"absent\"\n",
                        "a.toml:1:7: error: on_removal = \"absent\" is for 'block' and for a 'line' as it "
                        "is; nobody "
                        "knows what was there before" },
                /* What is written down is read by whoever reads the store. */
                { "[edit.x]\npath = \"/x\"\nline = \"password\"\nsensitive = true\non_removal = "
                  "\"absent\"\n",
                        "a.toml:5:14: error: 'on_removal' would have to write 'line' down in clear, and the "
                        "state is "
                        "sensitive" },
                { "[file.\"/a\"]\non_removal = 1\n", "a.toml:2:14: error: 'on_removal' is an integer; it "
                                                     "must be \"keep\" or \"absent\"" },
        };

        ALL_FAIL(cases);
}

/* The first path that a state watches. */
static const char *watched(const char *id) {
        const ImageState *state = state_of(id);

        ASSERT_TRUE(state->watches.n > 0);
        return image_text(image, image_array(image, watches, ImageWatch)[state->watches.offset].what);
}

/* ---- What is removed ------------------------------------------------------------------------------------------- */

/* With what was written down: ids and recipes, ended by NULL. explain: a state; NULL: none. In conf there may be other roles. */
static void load_with_recipes(const char *explain, const char *role, const char *const *recipes) {
        LoadOptions options = usual();
        json_t *removals = json_object();

        put("conf/a.toml", role);
        for (size_t i = 0; recipes[i]; i += 2)
                ASSERT_OK(json_object_set_new(removals, recipes[i], json_string(recipes[i + 1])));
        options.removals = removals;
        options.explain = explain;
        load_with(&options);
        json_decref(removals);
        if (*errors || !image)
                fail_msg("not loaded:\n%s\n%s", errors, logged);
}

static void explain_recipes(const char *explain, const char *role, const char *const *recipes) {
        clear("conf");
        load_with_recipes(explain, role, recipes);
}

static void load_recipes(const char *role, const char *const *recipes) {
        explain_recipes(NULL, role, recipes);
}

#define EXPLAIN(id, role, ...) \
        explain_recipes((id), (role), (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })
#define LOAD(role, ...) load_recipes((role), (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static bool is_removal(const char *id) {
        return state_of(id)->flags & IMAGE_STATE_REMOVAL;
}

static bool comes_after(const char *id, const char *other) {
        const ImageNode *node = image_node(image, index_of(other));

        for (uint32_t i = 0; i < node->dependents.n; i++)
                if (image_dependents(image, node)[i] == index_of(id))
                        return true;
        return false;
}

static bool is_forgotten(const char *id) {
        for (size_t i = 0; i < json_array_size(forgotten); i++)
                if (streq(json_string_value(json_array_get(forgotten, i)), id))
                        return true;
        return false;
}

TEST(what_nobody_declares_is_a_state_again) {
        LOAD("mode = \"audit\"\n" FILE_("/b"), "file:/a", RECIPE("/a"), "file:/b", RECIPE("/b"), "file:/c",
                "{\"type\":\"file\",\"name\":\"/c\",\"role\":\"gone\",\"parameters\":{\"ensure\":\"absent\","
                "\"force\":true,\"sensitive\":true}}");
        ASSERT_EQ(image_n_states(image), 3);
        ASSERT_TRUE(is_removal("file:/a"));
        ASSERT_FALSE(is_removal("file:/b"));
        ASSERT_TRUE(is_removal("file:/c"));
        /* Its role counts, if there is one. */
        ASSERT_STREQ(image_state_role(image, index_of("file:/a")), "a");
        ASSERT_TRUE(state_of("file:/a")->flags & IMAGE_STATE_AUDIT);
        ASSERT_STREQ(image_state_role(image, index_of("file:/c")), "gone");
        ASSERT_FALSE(state_of("file:/c")->flags & IMAGE_STATE_AUDIT);
        ASSERT_TRUE(state_of("file:/c")->flags & IMAGE_STATE_SENSITIVE);
        ASSERT_EQ(image_n_roles(image), 1);
        ASSERT_EQ(image->header->roles.n, 2);
        ASSERT_EQ(state_of("file:/a")->watches.n, 1);
        ASSERT_EQ(json_array_size(forgotten), 0);
}

TEST(what_was_written_down_is_not_rendered_again) {
        LOAD("", "edit:x",
                "{\"type\":\"edit\",\"name\":\"x\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/f\",\"line\":\"{{vars.none}} {{\"}}",
                "edit:{{y}}",
                "{\"type\":\"edit\",\"name\":\"{{y}}\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/f\",\"line\":\"y\"}}");
        ASSERT_TRUE(is_removal("edit:x"));
        ASSERT_TRUE(is_removal("edit:{{y}}"));
}

TEST(what_is_in_something_goes_first) {
        LOAD("[file.\"/d\"]\nensure = \"directory\"\n[file.\"/gone\"]\nensure = \"absent\"\n"
             "[file.\"/g\"]\n[file.\"/h\"]\nrequires = [\"file:/d/*\"]\n",
                "file:/d/e", RECIPE("/d/e"), "file:/d/e/f/g", RECIPE("/d/e/f/g"), "file:/gone/a",
                RECIPE("/gone/a"), "edit:x",
                "{\"type\":\"edit\",\"name\":\"x\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/g\",\"line\":\"y\"}}",
                "edit:y",
                "{\"type\":\"edit\",\"name\":\"y\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/d/e/f/g\",\"line\":\"y\"}}");
        ASSERT_TRUE(comes_after("file:/d/e", "file:/d"));
        ASSERT_TRUE(comes_after("file:/d/e", "file:/d/e/f/g"));
        ASSERT_TRUE(comes_after("file:/gone", "file:/gone/a"));
        ASSERT_TRUE(comes_after("edit:x", "file:/g"));
        ASSERT_TRUE(comes_after("file:/d/e/f/g", "edit:y"));
        /* Nobody waits for them by a glob. */
        ASSERT_FALSE(comes_after("file:/h", "file:/d/e"));
}

TEST(nobody_can_refer_to_them) {
        LoadOptions options = usual();
        json_t *removals = json_pack("{s:s}", "file:/a", RECIPE("/a"));

        clear("conf");
        put("conf/a.toml", "[file.\"/b\"]\nrequires = [\"file:/a\"]\n");
        options.removals = removals;
        load_with(&options);
        json_decref(removals);
        ASSERT_STREQ(errors, "a.toml:2:13: error: there is no state 'file:/a'; did you mean 'file:/b'?");
}

#define EDIT(name, more)                      \
        "{\"type\":\"edit\",\"name\":\"" name \
        "\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\",\"path\":\"/f\"," more "}}"

TEST(what_is_another_ones_by_now_is_forgotten) {
        LOAD("[edit.new]\npath = \"/f\"\nline = \"x\"\n[edit.block]\npath = \"/f\"\nblock = \"x\"\n"
             "[file.\"/w\"]\ncontent = \"x\"\n[file.\"/n\"]\nwas = \"file:/o\"\n",
                "edit:old", EDIT("old", "\"line\":\"x\""), "edit:other", EDIT("other", "\"line\":\"y\""),
                "edit:marked", EDIT("marked", "\"block\":\"\",\"marker\":\"# {mark} agentd: marked\""),
                "edit:whole",
                "{\"type\":\"edit\",\"name\":\"whole\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\","
                "\"path\":\"/w\",\"line\":\"x\"}}",
                "file:/o", RECIPE("/o"));
        ASSERT_FALSE(has_state("edit:old"));
        ASSERT_TRUE(is_forgotten("edit:old"));
        ASSERT_TRUE(is_removal("edit:other"));
        ASSERT_TRUE(is_removal("edit:marked"));
        ASSERT_FALSE(has_state("edit:whole"));
        ASSERT_TRUE(is_forgotten("edit:whole"));
        /* It has another name now. The engine sees that for itself. */
        ASSERT_FALSE(has_state("file:/o"));
}

TEST(what_cannot_be_made_is_told_and_waits) {
        LOAD(FILE_("/d/x") "[edit.e]\npath = \"/d2/e\"\nline = \"x\"\n"
                           "[edit.gone]\npath = \"/d3\"\nmatch = \"x\"\nensure = \"absent\"\n",
                "file:/d2", RECIPE("/d2"), "file:/d2/e", RECIPE("/d2/e"), "file:/d3", RECIPE("/d3"),
                "nosuch:x",
                "{\"type\":\"nosuch\",\"name\":\"x\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\"}}",
                "file:/d", RECIPE("/d"), "edit:x", EDIT("x", "\"nonsense\":1"), "file:relative",
                "{\"type\":\"file\",\"name\":\"relative\",\"role\":\"a\",\"parameters\":{\"ensure\":"
                "\"absent\"}"
                "}",
                "hosts-entry:x",
                "{\"type\":\"hosts-entry\",\"name\":\"x\",\"role\":\"a\",\"parameters\":{\"address\":\"::"
                "1\"}}");
        ASSERT_EQ(image_n_states(image), 4);
        ASSERT_TRUE(is_removal("file:/d3"));
        ASSERT_EQ(json_array_size(forgotten), 0);
        ASSERT_NOT_NULL(strstr(logged, "file:/d2 is declared no more, and is removed once"));
        ASSERT_NOT_NULL(strstr(logged,
                "file:/d2/e is declared no more, and is removed once nothing is declared in it: edit:e is"));
        ASSERT_NOT_NULL(strstr(logged,
                "nosuch:x is declared no more, and cannot be removed: there is no state type 'nosuch' that "
                "can be absent"));
        ASSERT_NOT_NULL(strstr(logged,
                "hosts-entry:x is declared no more, and cannot be removed: there is no state type "
                "'hosts-entry' that can be absent"));
        ASSERT_NOT_NULL(strstr(logged,
                "file:/d is declared no more, and is removed once nothing is declared in it: file:/d/x is"));
        ASSERT_NOT_NULL(strstr(logged,
                "edit:x is declared no more, and cannot be removed: unknown key 'nonsense' in edit"));
        ASSERT_NOT_NULL(strstr(logged,
                "file:relative is declared no more, and cannot be removed: 'relative' is a relative path"));
}

TEST(what_is_wrong_with_one_is_told_of_each) {
        LOAD("", "edit:x", EDIT("x", "\"block\":\"\",\"match\":\"y\""), "edit:y",
                EDIT("y", "\"block\":\"\",\"match\":\"y\""), "edit:z", EDIT("z", "\"nonsense\":1"),
                "edit:zz", EDIT("zz", "\"nonsense\":1"));
        ASSERT_EQ(image_n_states(image), 0);
        ASSERT_NOT_NULL(strstr(
                logged, "edit:x is declared no more, and cannot be removed: 'match' makes no sense here"));
        ASSERT_NOT_NULL(strstr(
                logged, "edit:y is declared no more, and cannot be removed: 'match' makes no sense here"));
        ASSERT_NOT_NULL(strstr(logged, "edit:z is declared no more, and cannot be removed: unknown key"));
        ASSERT_NOT_NULL(strstr(logged, "edit:zz is declared no more, and cannot be removed: unknown key"));
}

/* ---- Units and jobs ---------------------------------------------------------------------------------------------- */

#define GONE(type, name, more)                    \
        "{\"type\":\"" type "\",\"name\":\"" name \
        "\",\"role\":\"a\",\"parameters\":{\"ensure\":\"absent\"" more "}}"

TEST(what_is_written_down_of_units_and_jobs) {
        static const Case cases[] = {
                { "[service.a]\nrunning = true\non_removal = \"absent\"\n",
                        "a.toml:1:10: error: on_removal = \"absent\" is for a unit whose file is part of "
                        "the "
                        "state: give 'unit', 'template' or 'source'" },
                { "[service.a]\ndropin = { Service = { Nice = 5 } }\non_removal = \"absent\"\n",
                        "a.toml:1:10: error: on_removal = \"absent\" is for a unit whose file is part of "
                        "the "
                        "state: give 'unit', 'template' or 'source'" },
                /* The host may have one of that name. */
                { "[service.a]\nrunning = true\nuser = \"u\"\non_removal = \"absent\"\n",
                        "a.toml:1:10: error: on_removal = \"absent\" is for a unit whose file is part of "
                        "the "
                        "state: give 'unit', 'template' or 'source'" },
        };

        ALL_FAIL(cases);
        role_loads("[service.a]\nunit = { Service = { ExecStart = \"/bin/a\" } }\ndropin_name = \"x.conf\"\n"
                   "dropin = { Service = { Nice = 5 } }\nrunning = true\non_removal = \"absent\"\n"
                   "[timer.b]\nevery = 60\nshell = \"true\"\non_removal = \"absent\"\n"
                   "[quadlet.\"c.volume\"]\nunit = { Volume = {} }\non_removal = \"absent\"\n"
                   "[cron.d]\nuser = \"u\"\nspecial = \"daily\"\ncommand = \"x\"\non_removal = \"absent\"\n"
                   "[cron.e]\nfile = \"/etc/cron.d/e\"\nspecial = \"daily\"\ncommand = \"x\"\n"
                   "on_removal = \"absent\"\n");
        ASSERT_STREQ(recipe_of("service:a"), GONE("service", "a", ",\"dropin_name\":\"x.conf\""));
        ASSERT_STREQ(recipe_of("timer:b"), GONE("timer", "b", ));
        ASSERT_STREQ(recipe_of("quadlet:c.volume"), GONE("quadlet", "c.volume", ));
        ASSERT_STREQ(recipe_of("cron:d"), GONE("cron", "d", ",\"user\":\"u\""));
        ASSERT_STREQ(recipe_of("cron:e"), GONE("cron", "e", ",\"file\":\"/etc/cron.d/e\""));
}

#define UNIT(name) "[service.\"" name "\"]\nunit = { Service = { ExecStart = \"/bin/a\" } }\n"
#define UNITS      "/etc/systemd/system"

TEST(what_another_one_claims_is_forgotten) {
        LOAD(UNIT("app.service") "[file.\"" UNITS
                                 "/c.timer\"]\ncontent = \"x\"\n[cron.k]\nspecial = \"daily\"\n"
                                 "command = \"x\"\n",
                "service:app", GONE("service", "app", ), "timer:c", GONE("timer", "c", ), "timer:d",
                GONE("timer", "d", ), "cron:j", GONE("cron", "j", ));
        ASSERT_EQ(image_n_states(image), 5);
        ASSERT_TRUE(is_forgotten("service:app"));
        ASSERT_TRUE(is_forgotten("timer:c"));
        ASSERT_NOT_NULL(strstr(logged,
                "service:app is declared no more, and not removed, as it is now what service:app.service is "
                "about"));
        ASSERT_NOT_NULL(
                strstr(logged, "timer:c is declared no more, and not removed, as it is now what file:" UNITS
                               "/c.timer is about"));
        ASSERT_TRUE(is_removal("timer:d"));
        /* In the same crontab, and yet another job. */
        ASSERT_TRUE(is_removal("cron:j"));
}

TEST(who_is_not_removed_leaves_nothing_behind) {
        /* What lies below its drop-ins would come before it. */
        LOAD(UNIT("a.service") "[file.\"" UNITS "/a.service.d/x.conf\"]\ncontent = \"x\"\n[file.\"/x\"]\n",
                "service:a", GONE("service", "a", ), "file:/o", RECIPE("/o"));
        ASSERT_TRUE(is_forgotten("service:a"));
        ASSERT_TRUE(is_removal("file:/o"));
        ASSERT_FALSE(comes_after("file:/o", "file:" UNITS "/a.service.d/x.conf"));
        LOAD(UNIT("a.service") "[file.\"" UNITS "/a.service.d/x.conf\"]\ncontent = \"x\"\n", "service:a",
                GONE("service", "a", ));
        ASSERT_EQ(image_n_states(image), 2);
}

TEST(what_it_claims_is_in_directories) {
        LOAD("[file.\"" UNITS "\"]\nensure = \"directory\"\n[timer.t]\nevery = 60\nshell = \"x\"\n"
             "[quadlet.\"k.volume\"]\nunit = { Volume = {} }\n",
                "service:a", GONE("service", "a", ), "file:" UNITS "/a.service.d",
                RECIPE(UNITS "/a.service.d"), "file:/etc/containers/systemd",
                RECIPE("/etc/containers/systemd"));
        ASSERT_TRUE(comes_after("service:a", "file:" UNITS));
        ASSERT_TRUE(comes_after("file:" UNITS "/a.service.d", "service:a"));
        ASSERT_FALSE(has_state("file:/etc/containers/systemd"));
        ASSERT_NOT_NULL(strstr(logged, "file:/etc/containers/systemd is declared no more, and is removed "
                                       "once nothing is declared in "
                                       "it: quadlet:k.volume is"));
}

TEST(programs_are_asked_about_all_of_them) {
        put("modules/gone",
                "#!/bin/sh\nread -r hello\necho "
                "'{\"name\":\"gone\",\"version\":\"1\",\"protocol\":1,\"types\":[{"
                "\"name\":\"gone\",\"prepare\":true,\"parameters\":[{\"name\":\"ensure\",\"choices\":["
                "\"present\",\"absent\"],\"default\":\"present\"}]}]}'\n"
                "while read -r line; do case $line in *gone:a*) echo "
                "'{\"results\":[{\"index\":0,\"errors\":["
                "{\"message\":\"no\"}]},{\"index\":1}]}' ;; *) exit 1 ;; esac; done\n");
        ASSERT_OK(chmod(in("modules/gone"), 0755));
        LOAD("", "gone:a", GONE("gone", "a", ), "service:s", GONE("service", "s", ), "gone:b",
                GONE("gone", "b", ), "file:" UNITS "/s.service.d/x", RECIPE(UNITS "/s.service.d/x"));
        ASSERT_EQ(image_n_states(image), 3);
        ASSERT_TRUE(is_removal("gone:b"));
        ASSERT_TRUE(comes_after("service:s", "file:" UNITS "/s.service.d/x"));
        ASSERT_NOT_NULL(strstr(logged, "gone:a is declared no more, and cannot be removed: no\n"));
        LOAD("", "gone:c", GONE("gone", "c", ), "gone:d", GONE("gone", "d", ));
        ASSERT_EQ(image_n_states(image), 0);
        ASSERT_NOT_NULL(strstr(logged,
                "gone:d is declared no more, and cannot be removed: the program was asked about it, and "));
        ASSERT_EQ(json_array_size(forgotten), 0);
        ASSERT_OK(unlink(in("modules/gone")));
}

/* "STATE why, STATE why" of a list of the explanation. */
static const char *order(const char *list) {
        static char text[1024];
        json_t *json = json_loads(explained, 0, NULL), *entry;
        size_t i;

        ASSERT_NOT_NULL(json);
        *text = 0;
        json_array_foreach(json_object_get(json, list), i, entry)(void)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %s", i > 0 ? ", " : "",
                        json_string_value(json_object_get(entry, "state")),
                        json_string_value(json_object_get(entry, "why")));
        json_decref(json);
        return text;
}

TEST(what_comes_before_and_after_is_explained) {
        static const char roles[] =
                "[file.\"" UNITS "\"]\nensure = \"directory\"\n[service.a]\nunit = { Service = { "
                "ExecStart = \"/bin/a\" } }\ncheck_on = [\"file:/x\"]\n"
                "[file.\"" UNITS "/a.service.d/x.conf\"]\ncontent = \"x\"\n[file.\"/x\"]\n";

        EXPLAIN("service:a", roles, "file:" UNITS "/a.service.d/o.conf",
                RECIPE(UNITS "/a.service.d/o.conf"));
        ASSERT_STREQ(order("requires"),
                "file:/x setting, file:" UNITS " parent, file:" UNITS
                "/a.service.d/x.conf module, file:" UNITS "/a.service.d/o.conf content");
        ASSERT_STREQ(order("required_by"), "");
        EXPLAIN("file:" UNITS "/a.service.d/x.conf", roles);
        ASSERT_STREQ(order("required_by"), "service:a module");
        EXPLAIN("file:" UNITS, roles, "timer:t", GONE("timer", "t", ));
        ASSERT_STREQ(order("required_by"),
                "file:" UNITS "/a.service.d/x.conf parent, service:a parent, timer:t parent");
        /* What is removed says nothing of others any more. */
        EXPLAIN("file:" UNITS "/t.timer.d/x", "[file.\"" UNITS "/t.timer.d/x\"]\n", "timer:t",
                GONE("timer", "t", ));
        ASSERT_STREQ(order("required_by"), "timer:t parent");
        EXPLAIN("timer:t", roles, "timer:t", GONE("timer", "t", ));
        ASSERT_STREQ(explained,
                "there is no state 'timer:t': no role declares it any more, and it is to be removed");
}

TEST(no_cycle_is_theirs) {
        LOAD(UNIT("a.service") "[file.\"" UNITS "/a.service.d\"]\nensure = \"directory\"\nrequires = "
                               "[\"service:a.service\"]\n",
                "file:" UNITS "/a.service.d/x.conf", RECIPE(UNITS "/a.service.d/x.conf"), "file:/o",
                RECIPE("/o"), "file:/o/p", RECIPE("/o/p"));
        ASSERT_TRUE(is_removal("file:" UNITS "/a.service.d/x.conf"));
        ASSERT_TRUE(comes_after("file:/o", "file:/o/p"));
}

TEST(what_is_no_recipe_is_forgotten) {
        static const char *const bad[] = { "", "{", "[]", "{}", "1",
                "{\"type\":1,\"name\":\"/a\",\"role\":\"a\",\"parameters\":{}}",
                "{\"type\":\"file\",\"name\":\"/a\",\"role\":\"a\",\"parameters\":[]}",
                "{\"type\":\"file\",\"name\":\"/a\",\"parameters\":{}}", RECIPE("/b") };

        FOREACH_ELEMENT(text, bad) {
                LOAD("", "file:/a", *text);
                ASSERT_EQ(image_n_states(image), 0);
                ASSERT_TRUE(is_forgotten("file:/a"));
        }
}

TEST(many_of_them) {
        enum { N = 2000 };
        char *recipes[2 * N + 1] = {};

        for (unsigned i = 0; i < N; i++) {
                ASSERT_TRUE(asprintf(&recipes[2 * i], "file:/d/%u/x", i) > 0);
                ASSERT_TRUE(asprintf(&recipes[2 * i + 1], RECIPE("/d/%u/x"), i) > 0);
        }
        load_recipes(DIRECTORY("/d"), (const char *const *) recipes);
        ASSERT_EQ(image_n_states(image), N + 1);
        ASSERT_EQ(image_node(image, index_of("file:/d"))->dependents.n, N);
        for (unsigned i = 0; i < 2 * N; i++)
                free(recipes[i]);
}

/* Under which id that is removed; good until the next call but three. */
static const char *former(const char *id, const char *recipe) {
        static char ids[4][256];
        static unsigned n;
        char *text = load_former_id(id, recipe), *ret = ids[n++ % 4];

        ASSERT_NOT_NULL(text);
        (void) snprintf(ret, sizeof(ids[0]), "%s", text);
        free(text);
        return ret;
}

/* ---- Who listens -------------------------------------------------------------------------------------------------- */

/* What a state is told if another changes: IMAGE_LISTEN_…; 0 if it does not come after that. */
static uint32_t told_of(const char *id, const char *other) {
        uint32_t n, what = 0;
        const ImageListener *listeners = image_listeners(image, index_of(other), &n);

        for (uint32_t i = 0; i < n; i++)
                if (listeners[i].state == index_of(id))
                        what |= listeners[i].what;
        return comes_after(id, other) ? what : 0;
}

TEST(who_listens_is_told_of_what_is_removed) {
        static const char role[] =
                "[file.\"/glob\"]\ncheck_on = [\"file:/d/*\", \"file:/[d]/a\"]\n"
                "[file.\"/other\"]\ncheck_on = [\"file:/e/*\"]\nrequires = [\"file:/d/*\"]\n"
                "[file.\"/d/{{item}}\"]\nfor_each = [\"b\"]\n"
                "[file.\"/loop\"]\ncheck_on = [\"file:/d/{{item}}\"]\n"
                "[service.s]\nreload_on = [\"file:/d/a\", \"file:/d/b\"]\n"
                "restart_on = [\"file:/d/*\"]\n";

        clear("conf");
        put("conf/off.toml", "hosts = [\"other\"]\n[file.\"/d/a\"]\n");
        load_with_recipes(NULL, role,
                (const char *const[]){ "file:/d/a", RECIPE("/d/a"), "file:/d/c",
                        "{\"type\":\"file\",\"name\":\"/d/c\",\"role\":\"other\","
                        "\"parameters\":{\"ensure\":\"absent\"}}",
                        NULL });
        ASSERT_TRUE(is_removal("file:/d/a"));
        ASSERT_EQ(told_of("file:/glob", "file:/d/a"), IMAGE_LISTEN_CHECK);
        ASSERT_EQ(told_of("file:/glob", "file:/d/c"), IMAGE_LISTEN_CHECK);
        ASSERT_EQ(told_of("file:/loop", "file:/d/a"), IMAGE_LISTEN_CHECK);
        /* Of another role's loop that was not an item. */
        ASSERT_EQ(told_of("file:/loop", "file:/d/c"), 0);
        ASSERT_EQ(told_of("service:s", "file:/d/a"), IMAGE_LISTEN_RELOAD | IMAGE_LISTEN_RESTART);
        ASSERT_EQ(told_of("service:s", "file:/d/c"), IMAGE_LISTEN_RESTART);
        ASSERT_FALSE(comes_after("file:/other", "file:/d/a"));
        /* What is owed is not forgotten since there is nothing left to listen to. */
        ASSERT_EQ(state_of("file:/other")->listens, IMAGE_LISTEN_CHECK);
        ASSERT_EQ(state_of("service:s")->listens, IMAGE_LISTEN_RELOAD | IMAGE_LISTEN_RESTART);
        ASSERT_EQ(state_of("file:/d/b")->listens, 0);
}

TEST(who_listens_is_told_of_what_was_before) {
        const char *before = EDIT("x", "\"line\":\"b\""), *id = former("edit:x", before);

        LOAD("[edit.x]\npath = \"/f\"\nline = \"a\"\non_removal = \"absent\"\n"
             "[service.s]\nrestart_on = [\"edit:x\"]\n",
                "edit:x", before);
        ASSERT_EQ(told_of("service:s", id), IMAGE_LISTEN_RESTART);
        ASSERT_EQ(told_of("service:s", "edit:x"), IMAGE_LISTEN_RESTART);
}

TEST(who_cannot_come_after_it_is_not_told) {
        static const char role[] = "[file.\"/d\"]\nensure = \"directory\"\ncheck_on = [\"file:/d/*\"]\n";

        LOAD(role, "file:/d/a", RECIPE("/d/a"));
        ASSERT_TRUE(is_removal("file:/d/a"));
        ASSERT_EQ(image->header->listeners.n, 0);
        /* Nor does a state wait for itself. */
        LOAD("[edit.x]\npath = \"/f\"\nline = \"a\"\non_removal = \"absent\"\ncheck_on = [\"edit:x*\"]\n",
                "edit:x", EDIT("x", "\"line\":\"b\""));
        ASSERT_EQ(image_n_states(image), 2);
        ASSERT_EQ(image->header->listeners.n, 0);
}

TEST(who_is_told_is_explained) {
        EXPLAIN("file:/w", "[file.\"/w\"]\ncheck_on = [\"file:/d/*\"]\n", "file:/d/a", RECIPE("/d/a"));
        ASSERT_STREQ(order("requires"), "file:/d/a setting");
}

/* ---- What a state was about before ------------------------------------------------------------------------------ */

#define CRON(user)         "[cron.d]\nuser = \"" user "\"\n" CRON_
#define CRON_              "special = \"daily\"\ncommand = \"x\"\non_removal = \"absent\"\n"
#define CRON_OF(user)      GONE("cron", "d", ",\"user\":\"" user "\"")
#define LINE(path, more)   "[edit.x]\npath = \"" path "\"\n" more "on_removal = \"absent\"\n"
#define EDIT_X(path, more) GONE("edit", "x", ",\"path\":\"" path "\"" more)

TEST(what_a_state_was_about_before_is_removed) {
        static const struct {
                const char *id, *role, *recipe;
        } others[] = {
                { "cron:d", CRON("v"), CRON_OF("u") },
                { "cron:d", CRON("v"), GONE("cron", "d", ) }, /* that of root */
                { "cron:d", "[cron.d]\n" CRON_, CRON_OF("u") },
                { "cron:d", "[cron.d]\nfile = \"/etc/cron.d/d\"\n" CRON_, CRON_OF("root") },
                { "cron:d", "[cron.d]\nfile = \"/etc/cron.d/d\"\n" CRON_,
                        GONE("cron", "d", ",\"file\":\"/etc/cron.d/e\"") },
                { "edit:x", LINE("/f", "line = \"a\"\n"), EDIT_X("/f", ",\"line\":\"b\"") },
                { "edit:x", LINE("/f", "line = \"a\"\n"), EDIT_X("/g", ",\"line\":\"a\"") },
                { "edit:x", LINE("/f", "block = \"a\"\n"), EDIT_X("/f", ",\"line\":\"a\"") },
                { "edit:x", LINE("/f", "line = \"a\"\n"),
                        EDIT_X("/f", ",\"block\":\"\",\"marker\":\"# {mark} agentd: x\"") },
                { "edit:x", LINE("/f", "block = \"a\"\ncomment = \";\"\n"),
                        EDIT_X("/f", ",\"block\":\"\",\"marker\":\"# {mark} agentd: x\"") },
        };

        FOREACH_ELEMENT(other, others) {
                const char *id = former(other->id, other->recipe);

                LOAD(other->role, other->id, other->recipe);
                ASSERT_EQ(image_n_states(image), 2);
                ASSERT_FALSE(is_removal(other->id));
                ASSERT_TRUE(is_removal(id));
                /* It is the new one that has taken the place of a line, and not the other way round. */
                ASSERT_TRUE(comes_after(id, other->id));
                ASSERT_STREQ(image_state_name(image, index_of(id)), strchr(other->id, ':') + 1);
                ASSERT_EQ(json_array_size(forgotten), 0);
                ASSERT_STREQ(logged, "");
        }
        /* It has its own path. */
        LOAD(CRON("v"), "cron:d", CRON_OF("u"));
        ASSERT_STREQ(watched(former("cron:d", CRON_OF("u"))), "/var/spool/cron/crontabs/u");
        ASSERT_STREQ(watched("cron:d"), "/var/spool/cron/crontabs/v");
}

TEST(what_is_only_declared_otherwise_is_not_removed) {
        static const struct {
                const char *id, *role, *recipe;
        } others[] = {
                { "file:/a",
                        "[file.\"/a\"]\nensure = \"directory\"\nforce = true\non_removal = \"absent\"\n",
                        RECIPE("/a") },
                { "cron:d", "[cron.d]\n" CRON_, CRON_OF("root") },
                /* Whose job it is, is a word in the file. */
                { "cron:d", "[cron.d]\nfile = \"/etc/cron.d/d\"\nuser = \"v\"\n" CRON_,
                        GONE("cron", "d", ",\"file\":\"/etc/cron.d/d\",\"user\":\"u\"") },
                { "edit:x", LINE("/f", "line = \"a\"\nvalidate = [\"/bin/true\", \"%s\"]\n"),
                        EDIT_X("/f", ",\"line\":\"a\"") },
                { "edit:x", LINE("/f", "block = \"a\"\nmarker = \"# {mark} agentd: x\"\n"),
                        EDIT_X("/f", ",\"marker\":\"# {mark} agentd: x\",\"block\":\"\"") },
                { "service:a",
                        "[service.a]\nunit = { Service = { ExecStart = \"/bin/a\" } }\ndropin = { Service = "
                        "{ Nice = 5 } }\n"
                        "dropin_name = \"x.conf\"\non_removal = \"absent\"\n",
                        GONE("service", "a", ",\"dropin_name\":\"y.conf\"") },
        };

        FOREACH_ELEMENT(other, others) {
                LOAD(other->role, other->id, other->recipe);
                ASSERT_EQ(image_n_states(image), 1);
                /* The engine is told that nothing is left behind. */
                ASSERT_EQ(json_array_size(forgotten), 1);
                ASSERT_TRUE(is_forgotten(former(other->id, other->recipe)));
                ASSERT_STREQ(logged, "");
        }
}

TEST(what_was_before_waits_under_an_id_of_its_own) {
        const char *of_u = former("cron:d", CRON_OF("u")), *of_v = former("cron:d", CRON_OF("v"));

        LOAD(CRON("w"), of_u, CRON_OF("u"), of_v, CRON_OF("v"), "cron:d", CRON_OF("w"));
        ASSERT_EQ(image_n_states(image), 3);
        ASSERT_TRUE(is_removal(of_u));
        ASSERT_TRUE(is_removal(of_v));
        ASSERT_EQ(json_array_size(forgotten), 0);
        /* When agentd is killed between writing the one and forgetting the other. */
        LOAD(CRON("w"), of_u, CRON_OF("u"), "cron:d", CRON_OF("u"));
        ASSERT_EQ(image_n_states(image), 2);
        /* When nobody declares it any more. */
        LOAD("", of_u, CRON_OF("u"), "cron:d", CRON_OF("w"));
        ASSERT_EQ(image_n_states(image), 2);
        ASSERT_TRUE(is_removal(of_u));
        ASSERT_TRUE(is_removal("cron:d"));
        ASSERT_STREQ(image_state_name(image, index_of(of_u)), "d");
        /* It is about that again. Until it was found so, that is not forgotten. */
        LOAD(CRON("u"), of_u, CRON_OF("u"));
        ASSERT_EQ(image_n_states(image), 1);
        ASSERT_EQ(json_array_size(forgotten), 0);
        LOAD(CRON("u"), of_u, CRON_OF("u"), "cron:d", CRON_OF("u"));
        ASSERT_EQ(image_n_states(image), 1);
        ASSERT_TRUE(is_forgotten(of_u));
        ASSERT_FALSE(is_forgotten("cron:d"));
        /* All of it is to be kept; what the engine has under the id itself it sees. */
        LOAD("[cron.d]\nspecial = \"daily\"\ncommand = \"x\"\n", of_u, CRON_OF("u"), "cron:d", CRON_OF("w"));
        ASSERT_EQ(image_n_states(image), 1);
        ASSERT_EQ(json_array_size(forgotten), 1);
        ASSERT_TRUE(is_forgotten(of_u));
        /* No state has made that. */
        LOAD("", "cron:d (before 00000000)", CRON_OF("u"));
        ASSERT_EQ(image_n_states(image), 0);
        ASSERT_TRUE(is_forgotten("cron:d (before 00000000)"));
}

TEST(what_was_before_is_let_alone_as_the_state_is) {
        const char *of_u = former("cron:d", CRON_OF("u"));

        LOAD(CRON("v") "audit = true\nwhen = \"exists('/x')\"\n", "cron:d", CRON_OF("u"));
        ASSERT_TRUE(state_of(of_u)->flags & IMAGE_STATE_AUDIT);
        ASSERT_TRUE(state_of(of_u)->flags & IMAGE_STATE_WHEN_LOOKS);
        ASSERT_EQ(state_of(of_u)->when, state_of("cron:d")->when);
        ASSERT_TRUE(state_of(of_u)->when != 0);
        LOAD(CRON("v"), "cron:d", CRON_OF("u"));
        ASSERT_FALSE(state_of(of_u)->flags & IMAGE_STATE_AUDIT);
        ASSERT_EQ(state_of(of_u)->when, 0);
}

TEST(what_was_before_may_be_another_ones_by_now) {
        const char *recipe = EDIT_X("/f", ",\"line\":\"b\""), *bad = EDIT_X("/f", ",\"nonsense\":1");

        LOAD(LINE("/f", "line = \"a\"\n") "[edit.y]\npath = \"/f\"\nline = \"b\"\n", "edit:x", recipe);
        ASSERT_EQ(image_n_states(image), 2);
        ASSERT_TRUE(is_forgotten("edit:x"));
        ASSERT_NOT_NULL(strstr(logged, former("edit:x", recipe)));
        ASSERT_NOT_NULL(
                strstr(logged, "is declared no more, and not removed, as it is now what edit:y is about"));
        LOAD(LINE("/f", "line = \"a\"\n"), "edit:x", bad);
        ASSERT_EQ(image_n_states(image), 1);
        ASSERT_EQ(json_array_size(forgotten), 0);
        ASSERT_NOT_NULL(strstr(logged, former("edit:x", bad)));
        ASSERT_NOT_NULL(
                strstr(logged, "is declared no more, and cannot be removed: unknown key 'nonsense'"));
}

TEST(what_was_before_is_explained) {
        const char *of_u = former("cron:d", CRON_OF("u"));
        char expected[256];

        EXPLAIN("cron:d", CRON("v"), "cron:d", CRON_OF("u"));
        (void) snprintf(expected, sizeof(expected), "%s former", of_u);
        ASSERT_STREQ(order("required_by"), expected);
        EXPLAIN(of_u, CRON("v"), "cron:d", CRON_OF("u"));
        (void) snprintf(expected, sizeof(expected),
                "there is no state '%s': no role declares it any more, and it is to be removed", of_u);
        ASSERT_STREQ(explained, expected);
}

/* ---- Former ids ------------------------------------------------------------------------------------------------ */

TEST(a_former_id_is_nobodys_now) {
        static const Case cases[] = {
                { "[file.\"/a\"]\nwas = \"file:/b\"\n[file.\"/b\"]\n",
                        "a.toml:2:7: error: 'file:/b' is still declared at a.toml:3:7" },
                { "[file.\"/a\"]\nwas = [\"file://a/\"]\n",
                        "a.toml:2:7: error: 'file:/a' is the name that it has now" },
                { "[file.\"/a\"]\nwas = \"file:/o\"\n[file.\"/b\"]\nwas = [\"file:/p\", \"file:/o\"]\n",
                        "a.toml:4:7: error: both file:/a and file:/b say that they were 'file:/o'; the "
                        "other one does "
                        "at a.toml:2:7" },
                { "[file.\"/a{{item}}\"]\nfor_each = [1, 2]\nwas = \"file:/o\"\n",
                        "a.toml:3:7: error: both file:/a1 and file:/a2 say that they were 'file:/o'; the "
                        "other one "
                        "does at a.toml:3:7" },
        };

        ALL_FAIL(cases);
        role_loads("[file.\"/a{{item}}\"]\nfor_each = [1, 2]\nwas = [\"file:/o{{item}}\", "
                   "\"file:/o{{item}}\"]\n");
}

/* ---------------------------------------------------------------------------------------------------------------- */

static int setup_with_edit(void **state) {
        int r = setup(state);

        link_module("MODULE_DIR", "edit/edit");
        link_module("MODULE_DIR", "service/service");
        return r;
}

#define RUN_EDIT(name) cmocka_unit_test_setup_teardown(test_##name, setup_with_edit, teardown)

RUN_TESTS(RUN_EDIT(how_a_state_is_removed_is_in_the_image), RUN_EDIT(a_tree_goes_with_what_is_below),
        RUN_EDIT(what_cannot_be_removed), RUN_EDIT(what_nobody_declares_is_a_state_again),
        RUN_EDIT(what_was_written_down_is_not_rendered_again), RUN_EDIT(what_is_in_something_goes_first),
        RUN_EDIT(nobody_can_refer_to_them), RUN_EDIT(what_is_another_ones_by_now_is_forgotten),
        RUN_EDIT(what_cannot_be_made_is_told_and_waits), RUN_EDIT(what_is_no_recipe_is_forgotten),
        RUN_EDIT(what_is_wrong_with_one_is_told_of_each), RUN_EDIT(what_is_written_down_of_units_and_jobs),
        RUN_EDIT(what_another_one_claims_is_forgotten), RUN_EDIT(who_is_not_removed_leaves_nothing_behind),
        RUN_EDIT(what_it_claims_is_in_directories), RUN_EDIT(what_comes_before_and_after_is_explained),
        RUN_EDIT(no_cycle_is_theirs), RUN_EDIT(programs_are_asked_about_all_of_them), RUN_EDIT(many_of_them),
        RUN_EDIT(who_listens_is_told_of_what_is_removed), RUN_EDIT(who_listens_is_told_of_what_was_before),
        RUN_EDIT(who_cannot_come_after_it_is_not_told), RUN_EDIT(who_is_told_is_explained),
        RUN_EDIT(what_a_state_was_about_before_is_removed),
        RUN_EDIT(what_is_only_declared_otherwise_is_not_removed),
        RUN_EDIT(what_was_before_waits_under_an_id_of_its_own),
        RUN_EDIT(what_was_before_is_let_alone_as_the_state_is),
        RUN_EDIT(what_was_before_may_be_another_ones_by_now), RUN_EDIT(what_was_before_is_explained),
        RUN_EDIT(a_former_id_is_nobodys_now))
