/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine-internal.h"
#include "engine-select.h"
#include "test-image.h"
#include "test-store.h"

typedef struct Declared {
        const char *id;
        uint8_t hash;
        uint32_t flags, batch_key, when;
        const char *tag, *hook; /* NULL: none */
} Declared;

typedef struct Edge {
        uint32_t from, to; /* who requires whom: `to` waits for `from` */
} Edge;

/* States that are called a … f in what follows; nodes beyond them are groups. */
static Image *make_image(const Declared *declared, uint32_t n, const Edge *edges, uint32_t n_edges,
        uint32_t n_groups, const char *const *paths, uint8_t build) {
        ImageModule *modules;
        ImageState *states;
        ImageNode *nodes;
        ImageType *types;
        ImageRole *roles;
        ImagePath *owned;
        ImageExtra *extras;
        ImageText *texts;
        uint32_t *dependents, position = 0, n_paths = 0;
        ImageHeader *h;
        Image *image;
        Arena arena;

        while (paths && paths[n_paths])
                n_paths++;
        ASSERT_OK(image_new(&image));
        ASSERT_OK(image_open_arena(image, &arena));
        h = (ImageHeader *) arena.base;
        modules = test_image_array(&arena, &h->modules, 2, sizeof(ImageModule));
        types = test_image_array(&arena, &h->types, 1, sizeof(ImageType));
        roles = test_image_array(&arena, &h->roles, 1, sizeof(ImageRole));
        states = test_image_array(&arena, &h->states, n, sizeof(ImageState));
        nodes = test_image_array(&arena, &h->nodes, n + n_groups, sizeof(ImageNode));
        dependents = test_image_array(&arena, &h->dependents, n_edges, sizeof(uint32_t));
        owned = test_image_array(&arena, &h->paths, n_paths, sizeof(ImagePath));
        extras = test_image_array(&arena, &h->extras, n, sizeof(ImageExtra));
        texts = test_image_array(&arena, &h->texts, 2 * n + 1, sizeof(ImageText));
        modules[0] = (ImageModule){ .path = test_image_text(&arena, "/m/file.so"), .build_id_size = 20 };
        modules[1] = (ImageModule){ .path = test_image_text(&arena, "/m/helpers.so"), .build_id_size = 20 };
        memset(modules[1].build_id, build, 20);
        types[0] = (ImageType){ .name = test_image_text(&arena, "t") };
        roles[0] = (ImageRole){ .name = test_image_text(&arena, "web"),
                .path = test_image_text(&arena, "/web.toml"),
                .tags = { .offset = 2 * n, .n = 1 } };
        texts[2 * n] = test_image_text(&arena, "site");
        for (uint32_t i = 0; i < n; i++) {
                states[i] = (ImageState){
                        .id = test_image_text(&arena, declared[i].id),
                        .flags = declared[i].flags,
                        .batch_key = declared[i].batch_key,
                        .when = declared[i].when,
                        .timeout_usec = USEC_PER_SEC,
                };
                h->n_batch_keys = MAX(h->n_batch_keys, declared[i].batch_key);
                memset(states[i].hash, declared[i].hash, sizeof(states[i].hash));
                if (!declared[i].tag && !declared[i].hook)
                        continue;
                states[i].extra = i + 1;
                extras[i].tags = (ImageArray){ .offset = 2 * i, .n = declared[i].tag != NULL };
                extras[i].hooks[HOOK_AFTER_CHANGE] =
                        (ImageArray){ .offset = 2 * i + 1, .n = declared[i].hook != NULL };
                texts[2 * i] = test_image_text(&arena, declared[i].tag ?: "");
                texts[2 * i + 1] = test_image_text(&arena, declared[i].hook ?: "");
        }
        for (uint32_t i = 0; i < n + n_groups; i++) {
                nodes[i].dependents.offset = position;
                for (uint32_t k = 0; k < n_edges; k++)
                        if (edges[k].from == i)
                                dependents[position++] = edges[k].to;
                nodes[i].dependents.n = position - nodes[i].dependents.offset;
        }
        for (uint32_t i = 0; i < n_paths; i++)
                owned[i].path = test_image_text(&arena, paths[i]);
        image->header = h;
        return image;
}

/* What is selected, as the letters of states; freed by the next call. Of the results "w" is one that is ok and owed something. */
static const char *changed(Image *old, const char *results, Image *image, const char *due, uint32_t *ret_n) {
        static const char letters[] = "?ocdufsb";
        static char text[64];
        uint8_t *selected = calloc(image_n_states(image) + 1, 1);
        StatusTable *before, *table;
        char *p = text;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(old, NULL, f.store, &before));
        for (uint32_t i = 0; results[i]; i++)
                (void) status_set(before, f.store, i,
                        (Result) (strchr(letters, results[i] == 'w' ? 'o' : results[i]) - letters), NULL);
        ASSERT_OK(status_table_new(image, before, f.store, &table));
        for (uint32_t i = 0; results[i]; i++)
                if (results[i] == 'w')
                        table->states[status_find(table, image_state_id(old, i))].owed =
                                IMAGE_LISTEN_RESTART;
        for (uint32_t i = 0; due && due[i]; i++)
                selected[status_find(table, (const char[]){ 't', ':', due[i], 0 })] = 1;
        ASSERT_OK(select_changed(table, old, selected, ret_n));
        ASSERT_EQ(select_count(image, selected), *ret_n);
        for (uint32_t i = 0; i < image_n_states(image); i++)
                if (selected[i])
                        *p++ = image_state_name(image, i)[0];
        *p = '\0';
        status_table_free(before);
        status_table_free(table);
        fixture_done(&f);
        free(selected);
        return text;
}

static const Declared three[] = { { "t:a", 1 }, { "t:b", 1 }, { "t:c", 1 } };
static const Declared three_with_a_changed[] = { { "t:a", 2 }, { "t:b", 1 }, { "t:c", 1 } };

#define SIMPLE(declared) make_image(declared, ELEMENTSOF(declared), NULL, 0, 0, NULL, 1)

static void assert_changed(Image *old, const char *results, Image *image, const char *expected) {
        const char *selected;
        uint32_t n = 99;

        selected = changed(old, results, image, NULL, &n);
        assert_string_equal(selected, expected);
        ASSERT_EQ(n, strlen(expected));
        image_unref(old);
        image_unref(image);
}

TEST(only_what_is_declared_otherwise) {
        static const Declared two[] = { { "t:c", 1 }, { "t:a", 1 } };

        assert_changed(SIMPLE(three), "ocs", SIMPLE(three), "");
        assert_changed(SIMPLE(three), "ooo", SIMPLE(three_with_a_changed), "a");
        /* One is gone, and the others stand elsewhere. */
        assert_changed(SIMPLE(three), "ooo", SIMPLE(two), "");
        /* One is new. */
        assert_changed(SIMPLE(two), "oo", SIMPLE(three), "b");
        assert_changed(SIMPLE(three), "ooo", make_image(NULL, 0, NULL, 0, 0, NULL, 1), "");
}

TEST(what_was_not_right_is_tried_again) {
        static const struct {
                const char *results, *selected;
        } rows[] = { { "ofo", "b" }, { "obo", "b" }, { "odo", "b" }, { "ouo", "b" }, { "o?o", "b" },
                { "owo", "b" }, { "fff", "abc" }, { "csc", "" } };

        FOREACH_ELEMENT(row, rows)
                assert_changed(SIMPLE(three), row->results, SIMPLE(three), row->selected);
}

TEST(flags_count) {
        static const uint32_t flags[] = { IMAGE_STATE_AUDIT, IMAGE_STATE_UNWATCHED, IMAGE_STATE_SENSITIVE,
                IMAGE_STATE_CHECK_AS_ROOT };

        FOREACH_ELEMENT(flag, flags) {
                Declared with[] = { { "t:a", 1 }, { "t:b", 1, *flag }, { "t:c", 1 } };

                assert_changed(SIMPLE(three), "ooo", SIMPLE(with), "b");
                assert_changed(SIMPLE(with), "ooo", SIMPLE(three), "b");
                assert_changed(SIMPLE(with), "ooo", SIMPLE(with), "");
        }
}

TEST(what_depends_on_it_comes_along) {
        /* c waits for a; f for a group of b and c. */
        static const Edge edges[] = { { 0, 2 }, { 1, 6 }, { 2, 6 }, { 6, 5 } };
        static const Declared old[] = { { "t:a", 1 }, { "t:b", 1 }, { "t:c", 1 }, { "t:d", 1 }, { "t:e", 1 },
                { "t:f", 1 } };
        static const struct {
                const char *results, *selected;
        } rows[] = { { "oooooo", "" }, { "fooooo", "acf" }, { "ofoooo", "bf" }, { "oofooo", "cf" },
                { "ooofoo", "d" }, { "ooooof", "f" } };

        FOREACH_ELEMENT(row, rows)
                assert_changed(make_image(old, 6, edges, 4, 1, NULL, 1), row->results,
                        make_image(old, 6, edges, 4, 1, NULL, 1), row->selected);
}

TEST(those_that_edit_one_file_come_together) {
        static const Declared edits[] = { { "t:a", 1, .batch_key = 1 }, { "t:b", 1, .batch_key = 2 },
                { "t:c", 1, .batch_key = 1 }, { "t:d", 1 }, { "t:e", 1, .batch_key = 2 }, { "t:f", 1 } };
        /* What waits for one of a file leads to those of another file. */
        static const Edge edges[] = { { 2, 1 } };

        assert_changed(SIMPLE(edits), "oooofo", SIMPLE(edits), "be");
        assert_changed(SIMPLE(edits), "ooofoo", SIMPLE(edits), "d");
        assert_changed(make_image(edits, 6, edges, 1, 0, NULL, 1), "fooooo",
                make_image(edits, 6, edges, 1, 0, NULL, 1), "abce");
}

TEST(who_asks_what_others_own_is_asked_again) {
        static const Declared asking[] = { { "t:a", 1 }, { "t:b", 1, IMAGE_STATE_LOOKS_AT_PATHS },
                { "t:c", 1 } };
        static const char *const some[] = { "/a", "/c", NULL }, *const more[] = { "/a", "/b", "/c", NULL },
                                 *const others[] = { "/a", "/d", NULL };

        assert_changed(make_image(asking, 3, NULL, 0, 0, some, 1), "ooo",
                make_image(asking, 3, NULL, 0, 0, some, 1), "");
        assert_changed(make_image(asking, 3, NULL, 0, 0, some, 1), "ooo",
                make_image(asking, 3, NULL, 0, 0, more, 1), "b");
        assert_changed(make_image(asking, 3, NULL, 0, 0, more, 1), "ooo",
                make_image(asking, 3, NULL, 0, 0, some, 1), "b");
        assert_changed(make_image(asking, 3, NULL, 0, 0, some, 1), "ooo",
                make_image(asking, 3, NULL, 0, 0, others, 1), "b");
}

TEST(new_helpers_are_asked_again) {
        static const Declared conditional[] = { { "t:a", 1 }, { "t:b", 1, .when = 8 }, { "t:c", 1 } };

        assert_changed(make_image(conditional, 3, NULL, 0, 0, NULL, 1), "ooo",
                make_image(conditional, 3, NULL, 0, 0, NULL, 1), "");
        assert_changed(make_image(conditional, 3, NULL, 0, 0, NULL, 1), "oso",
                make_image(conditional, 3, NULL, 0, 0, NULL, 2), "b");
}

TEST(hooks_count_and_tags_do_not) {
        static const Declared hook[] = { { "t:a", 1 }, { "t:b", 1, .hook = "/bin/true" }, { "t:c", 1 } },
                              other[] = { { "t:a", 1 }, { "t:b", 1, .hook = "/bin/false" }, { "t:c", 1 } },
                              tag[] = { { "t:a", 1 }, { "t:b", 1, .tag = "web" }, { "t:c", 1 } };

        assert_changed(SIMPLE(three), "ooo", SIMPLE(hook), "b");
        assert_changed(SIMPLE(hook), "ooo", SIMPLE(three), "b");
        assert_changed(SIMPLE(hook), "ooo", SIMPLE(other), "b");
        assert_changed(SIMPLE(hook), "ooo", SIMPLE(hook), "");
        assert_changed(SIMPLE(three), "ooo", SIMPLE(tag), "");
}

TEST(tags) {
        static const Declared tagged[] = { { "t:a", 1, .tag = "web" }, { "t:b", 1 },
                { "t:c", 1, .tag = "database" }, { "t:d", 1, .tag = "web" } };
        static const struct {
                const char *tags[3];
                size_t n_tags;
                const char *among, *selected;
                int r;
                size_t bad;
        } rows[] = {
                { { "web" }, 1, "abcd", "ad" },
                { { "database", "web" }, 2, "abcd", "acd" },
                { { "web" }, 1, "abc", "a" },
                { { "web" }, 1, "b", "" },
                { { "site" }, 1, "abcd", "abcd" },
                { { "wbe" }, 1, "abcd", "", -ENXIO, 0 },
                { { "web", "we" }, 2, "abcd", "", -ENXIO, 1 },
                { { "web", "" }, 2, "abcd", "", -ENXIO, 1 },
        };
        Image *image = SIMPLE(tagged);

        FOREACH_ELEMENT(row, rows) {
                uint8_t selected[4] = {};
                char text[5] = "", *p = text;
                size_t bad = 99;

                for (const char *c = row->among; *c; c++)
                        selected[*c - 'a'] = 1;
                ASSERT_EQ(select_tagged(image, row->tags, row->n_tags, selected, &bad), row->r);
                if (row->r < 0) {
                        ASSERT_EQ(bad, row->bad);
                        continue;
                }
                for (uint32_t i = 0; i < 4; i++)
                        if (selected[i])
                                *p++ = (char) ('a' + i);
                *p = '\0';
                assert_string_equal(text, row->selected);
        }
        assert_string_equal(select_suggest_tag(image, "wbe"), "web");
        assert_string_equal(select_suggest_tag(image, "sites"), "site");
        ASSERT_NULL(select_suggest_tag(image, "something else"));
        image_unref(image);
}

TEST(what_is_due_anyway_stays) {
        Image *old = SIMPLE(three), *image = SIMPLE(three_with_a_changed);
        uint32_t n;

        assert_string_equal(changed(old, "ooo", image, "c", &n), "ac");
        image_unref(old);
        image_unref(image);
}

RUN_TESTS(RUN(only_what_is_declared_otherwise), RUN(what_was_not_right_is_tried_again), RUN(flags_count),
        RUN(what_depends_on_it_comes_along), RUN(those_that_edit_one_file_come_together),
        RUN(who_asks_what_others_own_is_asked_again), RUN(new_helpers_are_asked_again),
        RUN(hooks_count_and_tags_do_not), RUN(tags), RUN(what_is_due_anyway_stays))
