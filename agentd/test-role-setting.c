/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-load.h"

static const ImageExtra *extra_of(const char *id) {
        return image_extra(image, index_of(id));
}

static void assert_list(ImageArray list, const char *const *expected) {
        uint32_t n = 0;

        for (; expected[n]; n++) {
                ASSERT_TRUE(n < list.n);
                ASSERT_STREQ(image_list_text(image, list, n), expected[n]);
        }
        ASSERT_EQ(list.n, n);
}

#define LIST(...)                 \
        (const char *const[]) {   \
                __VA_ARGS__, NULL \
        }

TEST(most_states_have_no_extras) {
        role_loads("[file.\"/a\"]\n[file.\"/b\"]\ntags = [\"x\"]\n");
        ASSERT_NULL(extra_of("file:/a"));
        ASSERT_NOT_NULL(extra_of("file:/b"));
        ASSERT_EQ(image->header->extras.n, 1);
}

TEST(tags) {
        role_loads("tags = [\"web\", \"{{vars.x}}\"]\n[vars]\nx = \"tls\"\n"
                   "[file.\"/a\"]\n[file.\"/b\"]\ntags = [\"b-1\", \"{{vars.x}}.2\"]\n");
        assert_list(extra_of("file:/b")->tags, LIST("b-1", "tls.2"));
        ASSERT_TRUE(image_state_has_tag(image, index_of("file:/a"), "web"));
        ASSERT_TRUE(image_state_has_tag(image, index_of("file:/a"), "tls"));
        ASSERT_FALSE(image_state_has_tag(image, index_of("file:/a"), "b-1"));
        ASSERT_TRUE(image_state_has_tag(image, index_of("file:/b"), "tls.2"));
        ASSERT_TRUE(image_state_has_tag(image, index_of("file:/b"), "web"));
        ASSERT_FALSE(image_state_has_tag(image, index_of("file:/b"), "we"));
}

TEST(times_and_counts) {
        role_loads("[file.\"/a\"]\ninterval = \"5min\"\nretries = 3\n"
                   "[file.\"/b\"]\ninterval = 90\nretries = 1\nretry_delay = \"100ms\"\n");
        ASSERT_EQ(extra_of("file:/a")->interval_usec, 5 * USEC_PER_MINUTE);
        ASSERT_EQ(extra_of("file:/a")->retries, 3);
        ASSERT_EQ(extra_of("file:/a")->retry_delay_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(extra_of("file:/b")->interval_usec, 90 * USEC_PER_SEC);
        ASSERT_EQ(extra_of("file:/b")->retry_delay_usec, 100 * USEC_PER_MSEC);
}

TEST(hooks) {
        role_loads("[vars]\nx = \"a b\"\n[file.\"/a\"]\nbefore_check = [\"/bin/test\", \"{{vars.x}}\"]\n"
                   "on_success = \"echo {{vars.x}} | cat\"\n");
        assert_list(extra_of("file:/a")->hooks[HOOK_BEFORE_CHECK], LIST("/bin/test", "a b"));
        assert_list(extra_of("file:/a")->hooks[HOOK_ON_SUCCESS], LIST("/bin/sh", "-c", "echo a b | cat"));
        ASSERT_EQ(extra_of("file:/a")->hooks[HOOK_AFTER_CHECK].n, 0);
        ASSERT_EQ(extra_of("file:/a")->hooks[HOOK_ON_FAILURE].n, 0);
}

static uint32_t listens(const char *id, const char *to) {
        uint32_t n;
        const ImageListener *list = image_listeners(image, index_of(to), &n);

        for (uint32_t i = 0; i < n; i++)
                if (list[i].state == index_of(id))
                        return list[i].what;
        return 0;
}

TEST(listeners) {
        role_loads("[file.\"/a\"]\ncheck_on = [\"file:/d/*\", \"file:/c\", \"file:/c\"]\n"
                   "[file.\"/b\"]\ncheck_on = [\"file:/x{{item}}\"]\n[file.\"/c\"]\n"
                   "[file.\"/x{{item}}\"]\nfor_each = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
                   "[file.\"/d/{{item}}\"]\nfor_each = [1, 2]\n");
        ASSERT_EQ(listens("file:/a", "file:/d/1"), IMAGE_LISTEN_CHECK);
        ASSERT_EQ(listens("file:/a", "file:/d/2"), IMAGE_LISTEN_CHECK);
        ASSERT_EQ(listens("file:/a", "file:/c"), IMAGE_LISTEN_CHECK);
        ASSERT_EQ(listens("file:/a", "file:/b"), 0);
        for (unsigned i = 1; i <= 10; i++) {
                char id[16];

                (void) snprintf(id, sizeof(id), "file:/x%u", i);
                ASSERT_EQ(listens("file:/b", id), IMAGE_LISTEN_CHECK);
        }
        ASSERT_EQ(image->header->listeners.n, 13);
        /* It requires what it listens to. */
        ASSERT_TRUE(image_node(image, index_of("file:/c"))->dependents.n > 0);
}

TEST(former_ids) {
        role_loads("[file.\"/a\"]\nwas = \"file://old//name\"\n[file.\"/b\"]\nwas = [\"plain:x\", "
                   "\"gone:y\"]\n");
        assert_list(extra_of("file:/a")->was, LIST("file:/old/name"));
        assert_list(extra_of("file:/b")->was, LIST("plain:x", "gone:y"));
}

static const ImageTrigger *trigger_of(const char *name) {
        for (uint32_t i = 0; i < image_n_triggers(image); i++)
                if (streq(image_text(image, image_trigger(image, i)->name), name))
                        return image_trigger(image, i);
        return NULL;
}

/* Its states, "file:/a file:/b". */
static const char *states_of(const ImageTrigger *trigger) {
        const uint32_t *states = image_array(image, triggered, uint32_t) + trigger->states.offset;
        static char text[256];
        size_t used = 0;

        text[0] = 0;
        for (uint32_t i = 0; i < trigger->states.n; i++)
                used += (size_t) snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? " " : "",
                        image_state_id(image, states[i]));
        return text;
}

TEST(triggers) {
        const ImageTrigger *trigger;

        role_loads("[vars]\nx = \"app\"\nt = \"15min\"\n"
                   "[trigger.deploy]\npath = \"/srv//{{vars.x}}/\"\nrecursive = true\nexclude = "
                   "[\"cache/\", \"*.{{vars.x}}\"]\n"
                   "[trigger.one]\npath = \"/srv/one\"\n"
                   "[trigger.often]\nevery = \"{{vars.t}}\"\n[trigger.seconds]\nevery = 90\n"
                   "[file.\"/a\"]\ntriggers = [\"trigger:deploy\", "
                   "\"trigger:{{vars.x}}\"]\n[trigger.app]\nevery = 1\n"
                   "[file.\"/b{{item}}\"]\nfor_each = [1, 2]\ntriggers = [\"trigger:deploy\", "
                   "\"trigger:deploy\"]\n"
                   "[file.\"/c\"]\ntriggers = []\n");
        ASSERT_EQ(image_n_triggers(image), 5);
        trigger = trigger_of("deploy");
        ASSERT_EQ(trigger->kind, IMAGE_TRIGGER_PATH);
        ASSERT_STREQ(image_text(image, trigger->path), "/srv/app");
        ASSERT_EQ(trigger->recursive, 1);
        ASSERT_STREQ(image_text(image, trigger->exclude), "cache\n*.app\n");
        ASSERT_EQ(trigger->line, 4);
        ASSERT_STREQ(states_of(trigger), "file:/a file:/b1 file:/b2");
        trigger = trigger_of("one");
        ASSERT_EQ(trigger->recursive, 0);
        ASSERT_STREQ(states_of(trigger), "");
        trigger = trigger_of("often");
        ASSERT_EQ(trigger->kind, IMAGE_TRIGGER_EVERY);
        ASSERT_EQ(trigger->every_usec, 15 * USEC_PER_MINUTE);
        ASSERT_EQ(trigger_of("seconds")->every_usec, 90 * USEC_PER_SEC);
        ASSERT_STREQ(states_of(trigger_of("app")), "file:/a");
}

TEST(triggers_that_cannot_be) {
        static const Case cases[] = {
                { "[trigger.x]\n", "a.toml:1:10: error: trigger 'x' does not say when it fires; give it "
                                   "'path' or 'every'" },
                { "[trigger.x]\npath = \"/a\"\nevery = 5\n",
                        "a.toml:3:1: error: both 'path' and 'every' are given; a trigger has one of them" },
                { "[trigger.x]\npath = \"a\"\n[trigger.y]\npath = 1\n[trigger.z]\npath = \"\"\n",
                        "a.toml:2:8: error: 'a' is no absolute path\n"
                        "a.toml:4:8: error: 'path' is an integer; it must be a string\n"
                        "a.toml:6:8: error: 'path' is empty" },
                { "[trigger.x]\nevery = \"soon\"\n[trigger.y]\nevery = \"100ms\"\n[trigger.z]\nevery = "
                  "\"infinity\"\n",
                        "a.toml:2:9: error: 'every' must be a time span like \"15min\", one second at "
                        "least\n"
                        "a.toml:4:9: error: 'every' must be a time span like \"15min\", one second at "
                        "least\n"
                        "a.toml:6:9: error: 'every' must be a time span like \"15min\", one second at "
                        "least" },
                { "[trigger.x]\njournal = { unit = \"a.service\" }\n[trigger.y]\ncalendar = \"daily\"\n"
                  "[trigger.z]\nevery = 5\nrate = \"3 in 10min\"\n",
                        "a.toml:2:1: error: the key 'journal' of triggers is not supported by this version "
                        "of agentd\n"
                        "a.toml:4:1: error: the key 'calendar' of triggers is not supported by this version "
                        "of agentd\n"
                        "a.toml:7:1: error: the key 'rate' of triggers is not supported by this version of "
                        "agentd" },
                { "[trigger.x]\npaht = \"/a\"\n",
                        "a.toml:2:1: error: unknown key 'paht' in trigger 'x'; did you mean 'path'?" },
                { "[trigger.x]\nevery = 5\nrecursive = true\n",
                        "a.toml:1:10: error: 'recursive' goes with 'path'" },
                { "[trigger.x]\npath = \"/a\"\nexclude = [\"b\"]\n",
                        "a.toml:3:11: error: 'exclude' goes with 'recursive = true': else nothing is looked "
                        "into" },
                { "[trigger.\"a b\"]\nevery = 5\n", "a.toml:1:10: error: 'a b' is no name for a trigger: "
                                                    "letters, digits, '_', '.' and '-' are what one is "
                                                    "made of" },
                { "trigger = 1\n",
                        "a.toml:1:1: error: 'trigger' is an integer; it must be a table: [trigger.NAME]" },
                { "[trigger]\nx = \"5min\"\n",
                        "a.toml:2:1: error: trigger 'x' is a string; it must be a table: [trigger.x]" },
                { "[trigger.deploy]\nevery = 5\n[file.\"/a\"]\n"
                  "triggers = [\"trigger:deplyo\", \"zzz\", \"trigger:\"]\n[file.\"/b\"]\ntriggers = \"x\"\n"
                  "[file.\"/c\"]\ntriggers = [\"trigger:zzzzzz\"]\n",
                        "a.toml:4:13: error: there is no trigger 'deplyo'; did you mean 'trigger:deploy'?\n"
                        "a.toml:4:31: error: 'zzz' is no trigger; write trigger:NAME\n"
                        "a.toml:4:38: error: 'trigger:' is no trigger; write trigger:NAME\n"
                        "a.toml:6:12: error: 'triggers' is a string; it must be an array of triggers like "
                        "[\"trigger:deploy\"]\n"
                        "a.toml:8:13: error: there is no trigger 'zzzzzz'" },
        };

        ALL_FAIL(cases);
}

TEST(what_cannot_be) {
        static const Case cases[] = {
                { "[file.\"/a\"]\ntags = \"x\"\n", "a.toml:2:8: error: 'tags' is a string; it must be an "
                                                   "array of words like [\"web\", \"tls\"]" },
                { "tags = [\"ok\", \"a b\"]\n", "a.toml:1:15: error: 'a b' is no tag: letters, digits, '_', "
                                                "'.' and '-' are what one is made of" },
                { "tags = [1]\n",
                        "a.toml:1:9: error: 'tags' is an integer; it must be an array of strings" },
                { "[file.\"/a\"]\ninterval = \"100ms\"\nretries = -1\nretry_delay = 0\n",
                        "a.toml:2:12: error: 'interval' must be a time span like \"5min\", one second at "
                        "least\n"
                        "a.toml:3:11: error: 'retries' must be a number from 0 to 100\n"
                        "a.toml:4:15: error: 'retry_delay' must be a time span above 0 like \"10s\"" },
                { "[file.\"/a\"]\nbefore_check = [\"true\"]\nafter_change = []\non_success = 1\non_failure "
                  "= \"\"\n",
                        "a.toml:2:16: error: 'true' is no absolute path; write where the program is, or all "
                        "as one "
                        "string for the shell\n"
                        "a.toml:3:16: error: 'after_change' names no program\n"
                        "a.toml:4:14: error: 'on_success' is an integer; it must be a program with its "
                        "arguments like "
                        "[\"/usr/bin/systemctl\", \"daemon-reload\"], or a string for the shell\n"
                        "a.toml:5:14: error: 'on_failure' has an empty string" },
                { "[vars]\np = \"hush\"\n[file.\"/a\"]\non_failure = [\"{{vars.p}}\"]\nsensitive = true\n",
                        "a.toml:4:14: error: '<sensitive>' is no absolute path; write where the program is, "
                        "or all as one string for the shell" },
                { "[file.\"/a\"]\nwas = [\"x\"]\non_removal = \"revert\"\n",
                        "a.toml:2:7: error: 'x' is no state; write TYPE:NAME, like \"file:/etc/motd\"\n"
                        "a.toml:3:14: error: 'on_removal' is 'revert'; it must be one of keep, absent" },
                { "[file.\"/a\"]\ntries = 3\ntry_sleep = 5\nuntil = \"x\"\nonfail = \"x\"\n",
                        "a.toml:2:1: error: unknown key 'tries' in file state; did you mean 'retries'?\n"
                        "a.toml:3:1: error: unknown key 'try_sleep' in file state; did you mean "
                        "'retry_delay'?\n"
                        "a.toml:4:1: error: unknown key 'until' in file state; did you mean 'retries'?\n"
                        "a.toml:5:1: error: unknown key 'onfail' in file state; did you mean "
                        "'on_failure'?" },
                { "[file.\"/a\"]\nrestart_on = [\"file:/b\"]\nreload_on = []\ncheck_on = [\"file:/b\", "
                  "\"file:/a\"]\n",
                        "a.toml:2:14: error: 'restart_on' is for types that can be restarted, and file "
                        "cannot; "
                        "'check_on' looks at a state again\n"
                        "a.toml:3:13: error: 'reload_on' is for types that can be reloaded, and file "
                        "cannot; "
                        "'check_on' looks at a state again\n"
                        "a.toml:4:13: error: there is no state 'file:/b'; did you mean 'file:/a'?\n"
                        "a.toml:4:24: error: file:/a refers to itself" },
        };

        ALL_FAIL(cases);
}

TEST(not_all_listen_to_all) {
        enum { N = 1100 };
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        (void) fputs("[vars]\nn = [0", f);
        for (unsigned i = 1; i < N; i++)
                (void) fprintf(f, ", %u", i);
        (void) fputs("]\n[file.\"/a/{{item}}\"]\nfor_each = \"vars.n\"\n[file.\"/b/{{item}}\"]\nfor_each = "
                     "\"vars.n\"\n"
                     "check_on = [\"file:/a/*\"]\n[file.\"/c\"]\ncheck_on = [\"file:/a/*\"]\n",
                f);
        assert_true(fclose(f) == 0);
        role_fails(text, size,
                "a.toml:7:13: error: more than 1000000 pairs of states listen to each other; let one state "
                "stand for many, and others listen to that one");
        free(text);
}

RUN_TESTS(RUN_FRESH(most_states_have_no_extras), RUN_FRESH(tags), RUN_FRESH(times_and_counts),
        RUN_FRESH(hooks), RUN_FRESH(listeners), RUN_FRESH(former_ids), RUN_FRESH(triggers),
        RUN_FRESH(triggers_that_cannot_be), RUN_FRESH(what_cannot_be), RUN_FRESH(not_all_listen_to_all))
