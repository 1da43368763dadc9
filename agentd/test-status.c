/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "status.h"
#include "test-image.h"
#include "test-store.h"

/* An image with these states, all of one type; hash and build id are made of one byte each. */
static Image *make_image_with(const char *const *ids, size_t n, uint8_t hash, uint8_t build,
        const ImageListener *listeners, uint32_t n_listeners) {
        ImageModule *modules;
        ImageState *states;
        ImageType *types;
        ImageRole *roles;
        ImageHeader *h;
        Image *image;
        Arena arena;

        ASSERT_OK(image_new(&image));
        ASSERT_OK(image_open_arena(image, &arena));
        h = (ImageHeader *) arena.base;
        modules = test_image_array(&arena, &h->modules, 1, sizeof(ImageModule));
        types = test_image_array(&arena, &h->types, 1, sizeof(ImageType));
        roles = test_image_array(&arena, &h->roles, 1, sizeof(ImageRole));
        states = test_image_array(&arena, &h->states, (uint32_t) n, sizeof(ImageState));
        modules[0] = (ImageModule){ .path = test_image_text(&arena, "/m/file.so"), .build_id_size = 20 };
        memset(modules[0].build_id, build, 20);
        types[0] = (ImageType){ .name = test_image_text(&arena, "file") };
        roles[0] = (ImageRole){ .name = test_image_text(&arena, "web"),
                .path = test_image_text(&arena, "/web.toml") };
        for (size_t i = 0; i < n; i++) {
                states[i] =
                        (ImageState){ .id = test_image_text(&arena, ids[i]), .timeout_usec = USEC_PER_SEC };
                memset(states[i].hash, hash, sizeof(states[i].hash));
        }
        if (n_listeners > 0)
                memcpy(test_image_array(&arena, &h->listeners, n_listeners, sizeof(ImageListener)),
                        listeners, n_listeners * sizeof(ImageListener));
        image->header = h;
        return image;
}

/* The i-th state says that it was known as that; it is done for one state only. */
static void say_former(Image *image, uint32_t state, const char *const *was, uint32_t n) {
        Arena arena = { .base = image->base, .limit = IMAGE_SIZE_MAX, .used = KIB(512) };
        ImageHeader *h = (ImageHeader *) image->base;
        ImageExtra *extra = test_image_array(&arena, &h->extras, 1, sizeof(ImageExtra));
        ImageText *texts = test_image_array(&arena, &h->texts, n, sizeof(ImageText));

        *extra = (ImageExtra){ .state = state, .retry_delay_usec = 1, .was = { .n = n } };
        for (uint32_t i = 0; i < n; i++)
                texts[i] = test_image_text(&arena, was[i]);
        ((ImageState *) (image->base + h->states.offset))[state].extra = 1;
}

static Image *make_image(const char *const *ids, size_t n, uint8_t hash, uint8_t build) {
        return make_image_with(ids, n, hash, build, NULL, 0);
}

static const char *const abc[] = { "file:/a", "file:/b", "file:/c" };

/* How many rows wait; they are written. */
static unsigned n_queued(Fixture *f) {
        unsigned n = 0;

        for (const Row *row = f->store->first; row; row = row->next)
                n++;
        ASSERT_OK(store_flush(f->store));
        return n;
}

static void assert_counts(const StatusTable *t) {
        uint32_t counts[_RESULT_MAX] = {};

        for (uint32_t i = 0; i < image_n_states(t->image); i++)
                counts[t->states[i].result]++;
        assert_memory_equal(counts, t->counts, sizeof(counts));
}

TEST(states_are_found_by_id) {
        enum { N = 5000 };
        char **ids = calloc(N, sizeof(*ids));
        StatusTable *t;
        Image *image;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        for (unsigned i = 0; i < N; i++)
                ASSERT_TRUE(asprintf(&ids[i], "file:/%u", i) > 0);
        image = make_image((const char *const *) ids, N, 1, 1);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(n_queued(&f), 0);
        for (unsigned i = 0; i < N; i++)
                ASSERT_EQ(status_find(t, ids[i]), i);
        ASSERT_EQ(status_find(t, "file:/5000"), UINT32_MAX);
        ASSERT_EQ(status_find(t, ""), UINT32_MAX);
        ASSERT_EQ(t->counts[RESULT_NONE], N);
        ASSERT_TRUE(sizeof(StateStatus) + (t->slots_mask + 1) * sizeof(*t->slots) / N <= 56);
        status_table_free(t);
        image_unref(image);

        /* None at all. */
        image = make_image(NULL, 0, 1, 1);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(status_find(t, "file:/1"), UINT32_MAX);
        status_table_free(t);
        image_unref(image);
        for (unsigned i = 0; i < N; i++)
                free(ids[i]);
        free(ids);
        fixture_done(&f);
}

TEST(what_a_result_means) {
        static const struct {
                Result result;
                const char *error;
                StatusChange change;
                unsigned n_rows;
        } steps[] = {
                { RESULT_NONE, NULL, STATUS_SAME, 0 },
                { RESULT_OK, NULL, STATUS_OTHER, 1 },
                { RESULT_OK, NULL, STATUS_SAME, 0 },
                { RESULT_CHANGED, NULL, STATUS_OTHER, 1 },
                { RESULT_CHANGED, NULL, STATUS_OTHER, 1 }, /* again: it changed later */
                { RESULT_OK, NULL, STATUS_OTHER, 1 },
                { RESULT_FAILED, "a", STATUS_WORSE, 1 },
                { RESULT_FAILED, "a", STATUS_SAME, 0 },
                { RESULT_FAILED, "b", STATUS_WORSE, 1 },
                { RESULT_FAILED, NULL, STATUS_WORSE, 1 },
                { RESULT_BLOCKED, "c", STATUS_WORSE, 1 },
                { RESULT_NONE, NULL, STATUS_SAME, 0 }, /* cut short */
                { RESULT_BLOCKED, "c", STATUS_SAME, 0 },
                { RESULT_DRIFTED, NULL, STATUS_WORSE, 1 },
                { RESULT_CHANGED, NULL, STATUS_RECOVERED, 1 },
                { RESULT_DRIFTED, NULL, STATUS_WORSE, 1 },
                { RESULT_SKIPPED, NULL, STATUS_RECOVERED, 1 },
                { RESULT_UNKNOWN, "d", STATUS_OTHER, 1 },
                { RESULT_UNKNOWN, "e", STATUS_OTHER, 1 },
                { RESULT_OK, NULL, STATUS_OTHER, 1 },
        };
        Image *image = make_image(abc, 3, 1, 1);
        StatusTable *t;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        FOREACH_ELEMENT(step, steps) {
                StateStatus before = t->states[1];
                bool other = step->result != RESULT_NONE && step->result != before.result;

                ASSERT_EQ(status_set(t, f.store, 1, step->result, step->error), step->change);
                ASSERT_EQ(n_queued(&f), step->n_rows);
                assert_counts(t);
                if (step->result == RESULT_NONE)
                        continue;
                ASSERT_EQ(t->states[1].result, step->result);
                ASSERT_TRUE(streq_ptr(t->states[1].error, step->error));
                ASSERT_TRUE(
                        t->states[1].checked_usec >= before.checked_usec && t->states[1].checked_usec > 0);
                if (!other)
                        ASSERT_EQ(t->states[1].since_usec, before.since_usec);
                else
                        ASSERT_EQ(t->states[1].since_usec, t->states[1].checked_usec);
                if (step->result == RESULT_CHANGED)
                        ASSERT_EQ(t->states[1].changed_usec, t->states[1].checked_usec);
                else
                        ASSERT_EQ(t->states[1].changed_usec, before.changed_usec);
        }
        status_table_free(t);
        image_unref(image);
        fixture_done(&f);
}

TEST(what_is_forgotten_has_not_been_looked_at) {
        Image *image = make_image(abc, 3, 1, 1);
        StatusTable *t;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        status_forget(t, f.store, 1);
        ASSERT_EQ(n_queued(&f), 0);
        (void) status_set(t, f.store, 1, RESULT_CHANGED, NULL);
        (void) status_set(t, f.store, 1, RESULT_FAILED, "a");
        (void) n_queued(&f);
        status_forget(t, f.store, 1);
        ASSERT_EQ(n_queued(&f), 1);
        assert_counts(t);
        ASSERT_EQ(t->counts[RESULT_NONE], 3);
        ASSERT_NULL(t->states[1].error);
        ASSERT_EQ(t->states[1].checked_usec + t->states[1].since_usec, 0);
        ASSERT_TRUE(t->states[1].changed_usec > 0);
        status_table_free(t);

        /* And is so after a restart. */
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(t->states[1].result, RESULT_NONE);
        ASSERT_TRUE(t->states[1].changed_usec > 0);
        ASSERT_EQ(status_set(t, f.store, 1, RESULT_OK, NULL), STATUS_OTHER);
        status_table_free(t);
        image_unref(image);
        fixture_done(&f);
}

TEST(status_outlives_the_daemon) {
        static const char *const others[] = { "file:/new", "file:/c", "file:/a" };
        Image *image = make_image(abc, 3, 1, 1);
        StateStatus a, c;
        StatusTable *t;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        (void) status_set(t, f.store, 0, RESULT_CHANGED, NULL);
        (void) status_set(t, f.store, 0, RESULT_FAILED, "no \xff space");
        (void) status_set(t, f.store, 1, RESULT_OK, NULL);
        (void) status_set(t, f.store, 2, RESULT_OK, NULL);
        a = t->states[0];
        c = t->states[2];
        a.error = NULL;
        status_table_free(t);
        image_unref(image);
        fixture_close(&f);

        fixture_open(&f);
        store_put_status(f.store, &(StoreStatus){ .state = "file:/new",
                                          .result = "of a later version",
                                          .since_usec = 5,
                                          .changed_usec = 7,
                                          .error = "e" });
        image = make_image(others, 3, 2, 2); /* the store does not know how they were declared */
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(n_queued(&f), 1); /* b is gone */
        ASSERT_EQ(t->states[2].result, RESULT_FAILED);
        ASSERT_EQ(t->states[2].since_usec, a.since_usec);
        ASSERT_EQ(t->states[2].changed_usec, a.changed_usec);
        ASSERT_EQ(t->states[2].checked_usec, 0);
        ASSERT_STREQ(t->states[2].error, "no \xef\xbf\xbd space");
        ASSERT_EQ(t->states[1].result, RESULT_OK);
        ASSERT_EQ(t->states[1].since_usec, c.since_usec);
        ASSERT_EQ(t->states[0].result, RESULT_NONE);
        ASSERT_EQ(t->states[0].changed_usec, 7);
        ASSERT_NULL(t->states[0].error);
        assert_counts(t);

        /* Nothing new: nothing is written. */
        ASSERT_EQ(status_set(t, f.store, 1, RESULT_OK, NULL), STATUS_SAME);
        ASSERT_EQ(n_queued(&f), 0);
        status_table_free(t);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(n_queued(&f), 0);
        status_table_free(t);
        image_unref(image);
        fixture_done(&f);
}

TEST(status_is_carried_over) {
        static const struct {
                uint8_t hash, build;
                bool same;
        } cases[] = { { 1, 1, true }, { 2, 1, false }, { 1, 2, false } };
        static const char *const others[] = { "file:/c", "file:/d", "file:/a" };

        FOREACH_ELEMENT(c, cases) {
                Image *image = make_image(abc, 3, 1, 1), *next = make_image(others, 3, c->hash, c->build);
                StatusTable *old, *t;
                Fixture f;

                fixture_init(&f);
                fixture_open(&f);
                ASSERT_OK(status_table_new(image, NULL, f.store, &old));
                (void) status_set(old, f.store, 0, RESULT_CHANGED, NULL);
                (void) status_set(old, f.store, 0, RESULT_FAILED, "error");
                (void) status_set(old, f.store, 1, RESULT_OK, NULL);
                (void) n_queued(&f);

                ASSERT_OK(status_table_new(next, old, f.store, &t));
                /* b is removed; a is not what it was. */
                ASSERT_EQ(n_queued(&f), c->same ? 1 : 2);
                ASSERT_EQ(t->states[2].changed_usec, old->states[0].changed_usec);
                if (c->same) {
                        ASSERT_EQ(t->states[2].result, RESULT_FAILED);
                        ASSERT_EQ(t->states[2].since_usec, old->states[0].since_usec);
                        ASSERT_EQ(t->states[2].checked_usec, old->states[0].checked_usec);
                        ASSERT_STREQ(t->states[2].error, "error");
                } else {
                        ASSERT_EQ(t->states[2].result, RESULT_NONE);
                        ASSERT_EQ(t->states[2].since_usec, 0);
                        ASSERT_EQ(t->states[2].checked_usec, 0);
                        ASSERT_NULL(t->states[2].error);
                }
                ASSERT_EQ(t->states[0].result, RESULT_NONE);
                assert_counts(t);
                status_table_free(old);

                /* The same image once more: nothing to write. */
                old = t;
                ASSERT_OK(status_table_new(next, old, f.store, &t));
                ASSERT_EQ(n_queued(&f), 0);
                status_table_free(old);
                status_table_free(t);
                image_unref(image);
                image_unref(next);
                fixture_done(&f);
        }
}

static const char *const renamed[] = { "file:/new", "file:/b", "file:/c" };

TEST(what_was_known_under_another_name_is_carried_over) {
        static const char *const was[] = { "file:/older", "file:/a" };

        for (unsigned restarted = 0; restarted < 2; restarted++) {
                Image *image = make_image(abc, 3, 1, 1), *next = make_image(renamed, 3, 1, 1);
                StatusTable *old, *t;
                usec_t changed;
                Fixture f;

                say_former(next, 0, was, 2);
                fixture_init(&f);
                fixture_open(&f);
                ASSERT_OK(status_table_new(image, NULL, f.store, &old));
                (void) status_set(old, f.store, 0, RESULT_CHANGED, NULL);
                (void) status_set(old, f.store, 1, RESULT_OK, NULL);
                changed = old->states[0].changed_usec;
                (void) n_queued(&f);

                if (restarted) {
                        fixture_close(&f);
                        fixture_open(&f);
                }
                ASSERT_OK(status_table_new(next, restarted ? NULL : old, f.store, &t));
                /* It has not been looked at, as it is not what it was. */
                ASSERT_EQ(t->states[0].result, RESULT_NONE);
                ASSERT_EQ(t->states[0].changed_usec, changed);
                ASSERT_EQ(t->states[1].result, RESULT_OK);
                assert_counts(t);
                /* The old status goes, the new one comes; two rows each for the two names. */
                ASSERT_EQ(n_queued(&f), 2 + 4);
                status_table_free(old);

                /* Once. */
                old = t;
                ASSERT_OK(status_table_new(next, old, f.store, &t));
                ASSERT_EQ(n_queued(&f), 0);
                status_table_free(old);
                status_table_free(t);
                ASSERT_OK(status_table_new(next, NULL, f.store, &t));
                ASSERT_EQ(n_queued(&f), 0);
                ASSERT_EQ(t->states[0].changed_usec, changed);
                status_table_free(t);
                image_unref(image);
                image_unref(next);
                fixture_done(&f);
        }
}

TEST(a_history_of_its_own_counts_more) {
        static const char *const was[] = { "file:/a" };
        static const char *const both[] = { "file:/a", "file:/new" };
        Image *image = make_image(both, 2, 1, 1), *next = make_image(renamed, 3, 1, 1);
        StatusTable *old, *t;
        usec_t changed;
        Fixture f;

        say_former(next, 0, was, 1);
        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &old));
        (void) status_set(old, f.store, 1, RESULT_CHANGED, NULL);
        changed = old->states[1].changed_usec;
        (void) status_set(old, f.store, 0, RESULT_CHANGED, NULL);
        (void) n_queued(&f);
        ASSERT_OK(status_table_new(next, old, f.store, &t));
        ASSERT_EQ(t->states[0].result, RESULT_CHANGED);
        ASSERT_EQ(t->states[0].changed_usec, changed);
        ASSERT_EQ(n_queued(&f), 1); /* a is gone */
        status_table_free(old);
        status_table_free(t);
        image_unref(image);
        image_unref(next);
        fixture_done(&f);
}

TEST(a_store_that_cannot_be_read_is_no_obstacle) {
        Image *image = make_image(abc, 3, 1, 1);
        StatusTable *t;
        Fixture f;

        fixture_init(&f);
        ASSERT_OK(rmdir(f.directory));
        ASSERT_OK(mknod(f.directory, S_IFREG | 0600, 0));
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(t->counts[RESULT_NONE], 3);
        ASSERT_EQ(status_set(t, f.store, 0, RESULT_OK, NULL), STATUS_OTHER);
        ASSERT_OK(unlink(f.directory));
        fixture_retry(&f);
        ASSERT_NULL(store_error(f.store));
        status_table_free(t);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(t->counts[RESULT_OK], 1);
        status_table_free(t);
        image_unref(image);
        fixture_done(&f);
}

/* b listens to a, for all there is. */
static const ImageListener b_to_a[] = { { .to = 0, .state = 1, .what = _IMAGE_LISTEN_ALL } };

static void assert_owed(const StatusTable *t, uint32_t i, uint32_t owed, const char *because) {
        ASSERT_EQ(t->states[i].owed, owed);
        if (because)
                ASSERT_STREQ(status_owed_because(t, i), because);
        else
                ASSERT_NULL(status_owed_because(t, i));
}

TEST(what_is_owed_is_written_when_it_is_another) {
        enum { CHECK = IMAGE_LISTEN_CHECK, RELOAD = IMAGE_LISTEN_RELOAD, RESTART = IMAGE_LISTEN_RESTART };
        Image *image = make_image_with(abc, 3, 1, 1, b_to_a, 1);
        StatusTable *t;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        assert_owed(t, 1, 0, NULL);

        status_owe(t, f.store, 1, RELOAD, "file:/a");
        assert_owed(t, 1, RELOAD, "file:/a");
        ASSERT_EQ(n_queued(&f), 1);
        status_owe(t, f.store, 1, RELOAD, "file:/a");
        ASSERT_EQ(n_queued(&f), 0);
        status_owe(t, f.store, 1, RELOAD, "file:/c");
        assert_owed(t, 1, RELOAD, "file:/c");
        ASSERT_EQ(n_queued(&f), 1);
        status_owe(t, f.store, 1, CHECK, "file:/c");
        assert_owed(t, 1, RELOAD | CHECK, "file:/c");
        ASSERT_EQ(n_queued(&f), 1);

        /* Only what was given. */
        status_pay(t, f.store, 1, CHECK);
        assert_owed(t, 1, RELOAD, "file:/c");
        ASSERT_EQ(n_queued(&f), 1);
        status_pay(t, f.store, 1, RESTART);
        ASSERT_EQ(n_queued(&f), 0);

        /* What may come: nobody is told, but it is known to the store. */
        ASSERT_TRUE(status_may_owe(t, f.store, 1, RESTART | RELOAD, "file:/a"));
        ASSERT_EQ(t->states[1].owed, RELOAD);
        ASSERT_EQ(n_queued(&f), 1);
        ASSERT_FALSE(status_may_owe(t, f.store, 1, RESTART, "file:/c"));
        ASSERT_EQ(n_queued(&f), 0);
        status_pay(t, f.store, 1, RELOAD | RESTART);
        ASSERT_EQ(t->states[1].owed, 0);
        ASSERT_EQ(t->states[1].maybe_owed, RELOAD | RESTART);
        ASSERT_EQ(n_queued(&f), 1);
        /* Of two that are being changed one is over; the other may still. */
        status_is_known(t, f.store, 1);
        ASSERT_EQ(t->states[1].maybe_owed, RELOAD | RESTART);
        ASSERT_EQ(n_queued(&f), 0);
        status_is_known(t, f.store, 1);
        assert_owed(t, 1, 0, NULL);
        ASSERT_EQ(t->states[1].maybe_owed, 0);
        ASSERT_EQ(n_queued(&f), 1);
        status_is_known(t, f.store, 1);
        ASSERT_EQ(n_queued(&f), 0);
        /* And one that did change. */
        ASSERT_TRUE(status_may_owe(t, f.store, 1, RESTART, "file:/a"));
        ASSERT_EQ(n_queued(&f), 1);
        status_owe(t, f.store, 1, RESTART, "file:/a");
        status_is_known(t, f.store, 1);
        ASSERT_EQ(t->states[1].maybe_owed, 0);
        assert_owed(t, 1, RESTART, "file:/a");
        ASSERT_EQ(n_queued(&f), 0);

        status_table_free(t);
        image_unref(image);
        fixture_done(&f);
}

TEST(what_is_owed_outlives_the_daemon_and_other_roles) {
        static const ImageListener less[] = { { .to = 0, .state = 1, .what = IMAGE_LISTEN_RELOAD } };
        static const char *const without_b[] = { "file:/a", "file:/c" };
        Image *image = make_image_with(abc, 3, 1, 1, b_to_a, 1),
              *next = make_image_with(abc, 3, 2, 2, b_to_a, 1),
              *reload_only = make_image_with(abc, 3, 1, 1, less, 1), *gone = make_image(without_b, 2, 1, 1);
        StatusTable *old, *t;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        status_owe(t, f.store, 1, IMAGE_LISTEN_RESTART | IMAGE_LISTEN_RELOAD, "file:/a");
        (void) status_may_owe(t, f.store, 1, IMAGE_LISTEN_CHECK, "file:/c");
        ASSERT_OK(store_flush(f.store));
        status_table_free(t);

        /* What was about to come when it was killed may have come. */
        fixture_crash(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        ASSERT_EQ(n_queued(&f), 0);
        assert_owed(t, 1, _IMAGE_LISTEN_ALL, "file:/a");

        /* Declared otherwise, but listening. */
        old = t;
        ASSERT_OK(status_table_new(next, old, f.store, &t));
        assert_owed(t, 1, _IMAGE_LISTEN_ALL, "file:/a");
        ASSERT_EQ(n_queued(&f), 0);
        status_table_free(old);

        old = t;
        ASSERT_OK(status_table_new(reload_only, old, f.store, &t));
        assert_owed(t, 1, IMAGE_LISTEN_RELOAD, "file:/a");
        ASSERT_EQ(n_queued(&f), 1);
        status_table_free(old);

        old = t;
        ASSERT_OK(status_table_new(gone, old, f.store, &t));
        ASSERT_EQ(n_queued(&f), 1);
        status_table_free(old);
        status_table_free(t);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        assert_owed(t, 1, 0, NULL);
        status_owe(t, f.store, 1, IMAGE_LISTEN_RESTART, "file:/a");
        (void) n_queued(&f);
        status_table_free(t);

        /* Nor does a start keep what nobody listens for. */
        ASSERT_OK(status_table_new(reload_only, NULL, f.store, &t));
        assert_owed(t, 1, 0, NULL);
        status_table_free(t);
        ASSERT_OK(status_table_new(image, NULL, f.store, &t));
        assert_owed(t, 1, 0, NULL);
        status_table_free(t);
        image_unref(image);
        image_unref(next);
        image_unref(reload_only);
        image_unref(gone);
        fixture_done(&f);
}

/* What is due to who has another name now is due under that: in the table at once, and in the store. */
TEST(what_is_owed_goes_with_a_name) {
        static const char *const was[] = { "file:/b" };
        static const char *const other[] = { "file:/a", "file:/new", "file:/c" };

        for (unsigned restarted = 0; restarted < 2; restarted++) {
                Image *image = make_image_with(abc, 3, 1, 1, b_to_a, 1),
                      *next = make_image_with(other, 3, 1, 1, b_to_a, 1);
                StatusTable *old, *t;
                Fixture f;

                say_former(next, 1, was, 1);
                fixture_init(&f);
                fixture_open(&f);
                ASSERT_OK(status_table_new(image, NULL, f.store, &old));
                status_owe(old, f.store, 1, IMAGE_LISTEN_RESTART, "file:/a");
                (void) n_queued(&f);

                ASSERT_OK(status_table_new(next, restarted ? NULL : old, f.store, &t));
                assert_owed(t, 1, IMAGE_LISTEN_RESTART, "file:/a");
                (void) n_queued(&f);
                status_table_free(old);
                status_table_free(t);

                fixture_crash(&f);
                fixture_open(&f);
                ASSERT_OK(status_table_new(next, NULL, f.store, &t));
                assert_owed(t, 1, IMAGE_LISTEN_RESTART, "file:/a");
                status_pay(t, f.store, 1, IMAGE_LISTEN_RESTART);
                (void) n_queued(&f);
                status_table_free(t);
                ASSERT_OK(status_table_new(next, NULL, f.store, &t));
                assert_owed(t, 1, 0, NULL);
                status_table_free(t);
                image_unref(image);
                image_unref(next);
                fixture_done(&f);
        }
}

RUN_TESTS(RUN(states_are_found_by_id), RUN(what_a_result_means),
        RUN(what_is_forgotten_has_not_been_looked_at), RUN(status_outlives_the_daemon),
        RUN(status_is_carried_over), RUN(what_was_known_under_another_name_is_carried_over),
        RUN(a_history_of_its_own_counts_more), RUN(a_store_that_cannot_be_read_is_no_obstacle),
        RUN(what_is_owed_is_written_when_it_is_another),
        RUN(what_is_owed_outlives_the_daemon_and_other_roles), RUN(what_is_owed_goes_with_a_name))
