/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/resource.h>
#include <sys/wait.h>

#include "content.h"
#include "test-store.h"

static void assert_json(json_t *json, const char *expected) {
        char *dump = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        ASSERT_STREQ(dump ?: "NULL", expected);
        free(dump);
        json_decref(json);
}

static void execute(const char *path, const char *sql) {
        sqlite3 *db = NULL;

        ASSERT_OK(sqlite3_open(path, &db));
        ASSERT_OK(sqlite3_busy_timeout(db, 5000));
        ASSERT_OK(sqlite3_exec(db, sql, NULL, NULL, NULL));
        ASSERT_OK(sqlite3_close(db));
}

/* The first column of the first row. */
static int64_t ask(const char *path, const char *sql) {
        sqlite3_stmt *statement;
        int64_t answer;
        sqlite3 *db;

        ASSERT_OK(sqlite3_open(path, &db));
        ASSERT_OK(sqlite3_busy_timeout(db, 5000));
        ASSERT_OK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL));
        ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
        answer = sqlite3_column_int64(statement, 0);
        ASSERT_OK(sqlite3_finalize(statement));
        ASSERT_OK(sqlite3_close(db));
        return answer;
}

static void put_run(Fixture *f, int64_t id, const char *mode, usec_t started) {
        const StoreRun run = { .id = id,
                .mode = mode,
                .cause = "interval",
                .started_usec = started,
                .finished_usec = started + 1 };

        store_put_run(f->store, &run);
}

static void put_result(Fixture *f, int64_t run, const char *state, const char *result) {
        const StoreResult r = { .run = run,
                .time_usec = 1,
                .state = state,
                .type = "file",
                .role = "web",
                .result = result,
                .duration_usec = 412 };

        store_put_result(f->store, &r);
}

static void put_status(Fixture *f, const char *state, const char *result) {
        store_put_status(f->store, &(StoreStatus){ .state = state, .result = result, .since_usec = 5 });
}

static int count_status(void *userdata, const StoreStatus *status) {
        ++*(unsigned *) userdata;
        return 0;
}

static unsigned n_status(Fixture *f) {
        unsigned n = 0;

        ASSERT_OK(store_each_status(f->store, count_status, &n));
        return n;
}

/* ---- Written and read ------------------------------------------------------------------------------------------ */

TEST(runs_are_read_newest_first) {
        json_t *summary = json_pack("{s:i}", "ok", 40), *vars = json_pack("[s, s]", "port", "name");
        StoreRun run = { .id = 7,
                .mode = "apply",
                .cause = "boot",
                .started_usec = 1764768000123456,
                .summary = summary,
                .error = NULL };
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        assert_json(store_runs(f.store, 0, NULL, 10), "[]");
        store_put_run(f.store, &run);
        assert_json(store_run(f.store, 7), "{\"run\":7,\"mode\":\"apply\",\"cause\":\"boot\",\"started\":"
                                           "\"2025-12-03T13:20:00.123456Z\","
                                           "\"finished\":null,\"summary\":{\"ok\":40},\"error\":null,"
                                           "\"vars\":[]}");
        run.finished_usec = 1764768001000000;
        run.summary = NULL;
        run.error = "it was stopped";
        run.vars = vars;
        store_put_run(f.store, &run);
        assert_json(store_run(f.store, 7), "{\"run\":7,\"mode\":\"apply\",\"cause\":\"boot\",\"started\":"
                                           "\"2025-12-03T13:20:00.123456Z\","
                                           "\"finished\":\"2025-12-03T13:20:01.000000Z\",\"summary\":null,"
                                           "\"error\":\"it was stopped\",\"vars\":[\"port\",\"name\"]}");
        json_decref(vars);
        ASSERT_NULL(store_run(f.store, 8));

        for (int64_t id = 8; id < 20; id++)
                put_run(&f, id, id % 2 ? "plan" : "apply", 1);
        for (unsigned i = 0; i < 4; i++) {
                static const struct {
                        int64_t before;
                        const char *mode;
                        unsigned limit;
                        size_t n;
                        int64_t first;
                } cases[] = {
                        { 0, NULL, 100, 13, 19 },
                        { 19, NULL, 3, 3, 18 },
                        { 0, "plan", 100, 6, 19 },
                        { 7, NULL, 100, 0, 0 },
                };
                json_t *runs = store_runs(f.store, cases[i].before, cases[i].mode, cases[i].limit);

                ASSERT_EQ(json_array_size(runs), cases[i].n);
                ASSERT_EQ(
                        json_integer_value(json_object_get(json_array_get(runs, 0), "run")), cases[i].first);
                json_decref(runs);
        }
        json_decref(summary);
        fixture_done(&f);
}

TEST(results_are_read_page_by_page) {
        json_t *differences = json_pack("[{s:s, s:s, s:n}]", "attribute", "mode", "is", "0600", "should");
        StoreResult result = { .run = 3,
                .time_usec = 1000000,
                .state = "file:/etc/a:b",
                .type = "file",
                .role = "web",
                .result = "failed",
                .differences = differences,
                .undo = differences,
                .error = "no \xff space",
                .duration_usec = 412,
                .removal = true };
        int64_t last = 42;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        store_put_result(f.store, &result);
        put_result(&f, 4, "file:other run", "changed");
        put_result(&f, 3, "odd", "changed");
        assert_json(store_results(f.store, 3, 0, 1, &last),
                "[{\"state\":\"file:/etc/a:b\",\"type\":\"file\",\"name\":\"/etc/a:b\",\"role\":\"web\","
                "\"removal\":true,\"result\":\"failed\",\"differences\":[{\"attribute\":\"mode\",\"is\":"
                "\"0600\",\"should\":"
                "null}],"
                "\"undo\":[{\"attribute\":\"mode\",\"is\":\"0600\",\"should\":null}],"
                "\"error\":\"no \xef\xbf\xbd space\",\"duration_usec\":412}]");
        ASSERT_EQ(last, 1);
        assert_json(store_results(f.store, 3, last, 10, &last),
                "[{\"state\":\"odd\",\"type\":\"file\",\"name\":\"odd\",\"role\":\"web\","
                "\"removal\":false,\"result\":\"changed\","
                "\"differences\":[],\"undo\":[],\"error\":null,\"duration_usec\":412}]");
        ASSERT_EQ(last, 3);
        assert_json(store_results(f.store, 3, last, 10, &last), "[]");
        ASSERT_EQ(last, 3);

        for (unsigned i = 0; i < 5; i++)
                put_result(&f, 5, "file:/h", i % 2 ? "skipped" : i == 4 ? "changed" : "failed");
        put_result(&f, 6, "file:/h", "ok");
        assert_json(store_history(f.store, "file:/h", 2),
                "[{\"run\":5,\"time\":\"1970-01-01T00:00:00.000001Z\",\"result\":\"changed\","
                "\"differences\":[],\"undo\":[],"
                "\"error\":null},{\"run\":5,\"time\":\"1970-01-01T00:00:00.000001Z\",\"result\":\"failed\","
                "\"differences\":[],\"undo\":[],\"error\":null}]");
        json_decref(differences);
        fixture_done(&f);
}

TEST(statuses_are_replaced_and_removed) {
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        put_status(&f, "file:/a", "ok");
        put_status(&f, "file:/b", "ok");
        put_status(&f, "file:/a", "failed");
        ASSERT_EQ(n_status(&f), 2);
        store_remove_status(f.store, "file:/b");
        store_remove_status(f.store, "file:/never");
        ASSERT_EQ(n_status(&f), 1);
        fixture_close(&f);
        fixture_open(&f);
        ASSERT_EQ(n_status(&f), 1);
        fixture_done(&f);
}

static int stop_at_once(void *userdata, const StoreStatus *status) {
        ++*(unsigned *) userdata;
        return -ECANCELED;
}

static int remove_and_flush(void *userdata, const StoreStatus *status) {
        store_remove_status(userdata, status->state);
        ASSERT_EQ(store_flush(userdata), -EBUSY);
        return 0;
}

TEST(a_reader_may_write_and_stop) {
        unsigned n = 0;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        put_status(&f, "file:/a", "ok");
        put_status(&f, "file:/b", "ok");
        ASSERT_EQ(store_each_status(f.store, stop_at_once, &n), -ECANCELED);
        ASSERT_EQ(n, 1);
        ASSERT_OK(store_each_status(f.store, remove_and_flush, f.store));
        ASSERT_EQ(n_status(&f), 0);
        fixture_done(&f);
}

TEST(runs_without_an_end_get_one) {
        json_t *vars = json_pack("[s]", "port");
        StoreRun run = { .id = 1, .mode = "apply", .cause = "boot", .started_usec = 1000000, .vars = vars };
        json_t *runs;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        store_put_run(f.store, &run);
        put_run(&f, 2, "apply", 1);
        runs = store_end_unfinished(f.store, "agentd was killed");
        ASSERT_EQ(json_array_size(runs), 1);
        ASSERT_STREQ(
                json_string_value(json_object_get(json_array_get(runs, 0), "error")), "agentd was killed");
        ASSERT_TRUE(json_is_string(json_object_get(json_array_get(runs, 0), "finished")));
        json_decref(runs);
        assert_json(store_end_unfinished(f.store, "again"), "[]");
        runs = store_run(f.store, 1);
        assert_json(json_incref(json_object_get(runs, "vars")), "[\"port\"]");
        json_decref(runs);
        json_decref(vars);
        fixture_done(&f);
}

TEST(both_matchers_of_events_agree) {
        static const char *const states[] = { NULL, "file:/a", "file:/a/b", "file:[x]", "file:x", "file:\\*",
                "service:a", "" };
        static const char *const globs[] = { NULL, "*", "file:*", "file:/a", "file:/a*", "file:[x]",
                "file:\\[x]", "file:\\\\*", "*:a", "?*", "", "[", "file:[!x]", "FILE:/a", "file:%" };
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                for (int64_t run = 0; run < 3; run++) {
                        const StoreEvent event = { .time_usec = 1,
                                .run = run,
                                .kind = run == 2 ? "state-failed" : "state-changed",
                                .message = "m",
                                .state = states[i] };

                        (void) store_put_event(f.store, &event);
                }
        for (size_t i = 0; i < ELEMENTSOF(globs); i++)
                for (int64_t run = 0; run < 3; run++)
                        for (unsigned kind = 0; kind < 3; kind++) {
                                const EventFilter filter = { .run = run,
                                        .state = globs[i],
                                        .kind = kind == 0   ? NULL
                                                : kind == 1 ? "state-failed"
                                                            : "no-such" };
                                json_t *found = events_after(f.store, 0, &filter, 100),
                                       *all = events_after(f.store, 0, NULL, 100), *event;
                                size_t k, n = 0;

                                json_array_foreach(all, k, event) if (event_filter_matches(&filter, event))
                                        ASSERT_TRUE(json_equal(event, json_array_get(found, n++)));
                                ASSERT_EQ(json_array_size(found), n);
                                json_decref(found);
                                json_decref(all);
                        }
        {
                const EventFilter filter = { .state = "file:*" };
                json_t *page = events_after(f.store, 4, &filter, 3);

                ASSERT_EQ(json_array_size(page), 3);
                ASSERT_EQ(json_integer_value(json_object_get(json_array_get(page, 0), "event")), 5);
                json_decref(page);
        }
        fixture_done(&f);
}

/* Nobody who asks for much, or for what there is not, holds the engine up. */
TEST(what_is_read_at_a_time_is_bounded) {
        static const EventFilter rare[] = {
                { .state = "*nowhere*" },
                { .state = "file:/x", .kind = "disabled" },
                { .run = 7, .kind = "disabled" },
                { .run = 7, .state = "*nowhere*", .kind = "disabled" },
        };
        _cleanup_free_ char *large = NULL;
        json_t *data, *page, *differences;
        int64_t after, first, last = 0;
        bool more;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        first = store_last_event(f.store) + 1;
        for (int i = 0; i < 3 * STORE_READ_ROWS; i++)
                (void) store_put_event(f.store, &(StoreEvent){ .time_usec = 1,
                                                        .kind = "state-changed",
                                                        .message = "m",
                                                        .run = 7,
                                                        .state = "file:/x" });
        FOREACH_ELEMENT(filter, rare) {
                after = 0;
                for (int i = 1; i <= 3; i++) {
                        page = store_events(f.store, &after, filter, 10, &more);
                        ASSERT_EQ(json_array_size(page), 0);
                        ASSERT_EQ(after, first - 1 + i * STORE_READ_ROWS);
                        ASSERT_EQ(more, i < 3);
                        json_decref(page);
                }
        }

        large = malloc(KIB(300) + 1);
        ASSERT_NOT_NULL(large);
        memset(large, 'x', KIB(300));
        large[KIB(300)] = 0;
        data = json_pack("{s:s}", "is", large);
        differences = json_pack("[{s:s}]", "is", large);
        after = store_last_event(f.store);
        for (int i = 0; i < 10; i++) {
                (void) store_put_event(f.store,
                        &(StoreEvent){
                                .time_usec = 1, .kind = "state-changed", .message = "m", .data = data });
                store_put_result(f.store, &(StoreResult){ .run = 1,
                                                  .time_usec = 1,
                                                  .state = "file:/x",
                                                  .type = "file",
                                                  .role = "web",
                                                  .result = "failed",
                                                  .differences = differences });
        }
        json_decref(data);
        json_decref(differences);
        for (int i = 0; i < 5; i++) {
                page = store_events(f.store, &after, NULL, 1000, &more);
                ASSERT_EQ(json_array_size(page), 2);
                ASSERT_EQ(more, i < 4);
                json_decref(page);
                page = store_results(f.store, 1, last, 1000, &last);
                ASSERT_EQ(json_array_size(page), 2);
                json_decref(page);
        }
        page = store_results(f.store, 1, last, 1000, &last);
        ASSERT_EQ(json_array_size(page), 0);
        json_decref(page);
        page = store_history(f.store, "file:/x", 20);
        ASSERT_EQ(json_array_size(page), 2);
        json_decref(page);
        fixture_done(&f);
}

TEST(a_nul_in_a_value_is_kept) {
        json_t *differences = json_pack("[{s:s, s:o}]", "attribute", "text", "is", json_stringn("a\0b", 3));
        int64_t after = 0;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        store_put_result(f.store, &(StoreResult){ .run = 1,
                                          .time_usec = 1,
                                          .state = "file:/x",
                                          .type = "file",
                                          .role = "web",
                                          .result = "failed",
                                          .differences = differences });
        (void) store_put_event(f.store,
                &(StoreEvent){
                        .time_usec = 1, .kind = "state-changed", .message = "m", .data = differences });
        json_t *history = store_history(f.store, "file:/x", 1),
               *events = store_events(f.store, &after, NULL, 1, NULL);
        ASSERT_TRUE(json_equal(json_object_get(json_array_get(history, 0), "differences"), differences));
        ASSERT_TRUE(json_equal(json_object_get(json_array_get(events, 0), "data"), differences));
        json_decref(history);
        json_decref(events);
        json_decref(differences);
        fixture_done(&f);
}

TEST(events_have_the_form_of_the_api) {
        json_t *data = json_pack("{s:i}", "n", 1);
        const StoreEvent full = { .time_usec = 1,
                .kind = "state-changed",
                .message = "Changed",
                .run = 7,
                .state = "file:/a",
                .role = "web",
                .result = "changed",
                .data = data },
                         bare = { .time_usec = 1, .kind = "started", .message = "Started" };
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_EQ(store_last_event(f.store), 0);
        ASSERT_EQ(store_put_event(f.store, &full), 1);
        ASSERT_EQ(store_put_event(f.store, &bare), 2);
        ASSERT_EQ(store_last_event(f.store), 2);
        assert_json(events_after(f.store, 0, NULL, 10),
                "[{\"event\":1,\"time\":\"1970-01-01T00:00:00.000001Z\",\"kind\":\"state-changed\","
                "\"message\":\"Changed\",\"run\":7,\"state\":\"file:/"
                "a\",\"role\":\"web\",\"result\":\"changed\","
                "\"data\":{\"n\":1}},{\"event\":2,\"time\":\"1970-01-01T00:00:00.000001Z\",\"kind\":"
                "\"started\","
                "\"message\":\"Started\",\"run\":null,\"state\":null,\"role\":null,\"result\":null,\"data\":"
                "null}]");
        json_decref(data);
        fixture_done(&f);
}

/* ---- The event loop -------------------------------------------------------------------------------------------- */

TEST(nothing_queued_wakes_nobody) {
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        fixture_settle(&f);
        ASSERT_FALSE(fixture_turn(&f));
        put_status(&f, "file:/a", "ok");
        FIXTURE_UNTIL(&f, !f.store->first);
        fixture_settle(&f);
        ASSERT_EQ(sd_event_run(f.event, 50 * USEC_PER_MSEC), 0);
        ASSERT_FALSE(f.store->scheduled);
        fixture_done(&f);
}

TEST(events_are_told_when_they_are_written) {
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_EQ(fixture_put_event(&f, "one"), 1);
        ASSERT_EQ(f.events, 0);
        FIXTURE_UNTIL(&f, f.events == 1);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM events"), 1);

        /* All of a burst at once. */
        for (unsigned i = 0; i < 100; i++)
                (void) fixture_put_event(&f, "burst");
        FIXTURE_UNTIL(&f, f.events == 101);
        ASSERT_EQ(f.n_events, 2);

        /* Not from within a call. */
        (void) fixture_put_event(&f, "flushed");
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(f.events, 101);
        FIXTURE_UNTIL(&f, f.events == 102);
        fixture_done(&f);
}

TEST(much_in_one_turn_is_written_meanwhile) {
        char *text = malloc(KIB(64));
        Fixture f;

        memset(text, 'x', KIB(64));
        text[KIB(64) - 1] = 0;
        fixture_init(&f);
        fixture_open(&f);
        for (unsigned i = 0; i < 512; i++) {
                (void) fixture_put_event(&f, text);
                ASSERT_TRUE(f.store->queue_bytes <= STORE_INLINE_BYTES);
        }
        ASSERT_EQ(fixture_n_events(&f), 512);
        ASSERT_EQ(store_n_lost(f.store), 0);
        free(text);
        fixture_done(&f);
}

/* ---- Numbers --------------------------------------------------------------------------------------------------- */

TEST(numbers_are_given_once) {
        int64_t run, event;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_EQ(store_next_run(f.store), 1);
        ASSERT_EQ(store_next_run(f.store), 2);
        ASSERT_EQ(fixture_put_event(&f, "a"), 1);
        fixture_close(&f);

        /* In order: none is left out. */
        fixture_open(&f);
        ASSERT_EQ(store_next_run(f.store), 3);
        ASSERT_EQ(fixture_put_event(&f, "b"), 2);

        /* Killed, with some given that were never written. */
        for (unsigned i = 0; i < 1000; i++)
                ASSERT_EQ(store_next_run(f.store), 4 + i);
        run = store_next_run(f.store);
        for (unsigned i = 0; i < 30000; i++)
                event = fixture_put_event(&f, "c");
        fixture_crash(&f);
        fixture_open(&f);
        ASSERT_TRUE(store_next_run(f.store) > run);
        ASSERT_TRUE(fixture_put_event(&f, "d") > event);
        ASSERT_TRUE(store_next_run(f.store) < run + 3 * STORE_RUNS_BLOCK);

        /* One that was written is in the way, whatever the store has written down. */
        fixture_close(&f);
        execute(fixture_path(&f, STORE_FILE),
                "UPDATE meta SET next_run = -5, next_event = 9223372036854775807;"
                "INSERT INTO runs VALUES (100000, 'apply', 'x', 1, 1, NULL, NULL, NULL)");
        fixture_open(&f);
        ASSERT_EQ(store_next_run(f.store), 100001);
        ASSERT_TRUE(fixture_put_event(&f, "e") > event);
        ASSERT_TRUE(fixture_put_event(&f, "e") < INT64_C(1) << 53);
        fixture_done(&f);
}

TEST(numbers_grow_while_the_store_is_in_trouble) {
        int64_t now = (int64_t) (now_usec(CLOCK_REALTIME) / USEC_PER_MSEC), event, run;
        char nowhere[128];
        Fixture f;

        fixture_init(&f);
        (void) snprintf(nowhere, sizeof(nowhere), "%s/a/b", f.directory);
        {
                const StoreOptions options = { .directory = nowhere };

                ASSERT_OK(store_new(f.event, &options, &fixture_handlers, &f, &f.store));
        }
        run = store_next_run(f.store);
        event = fixture_put_event(&f, "a");
        ASSERT_TRUE(run >= now && event >= now);
        ASSERT_EQ(store_next_run(f.store), run + 1);
        ASSERT_EQ(fixture_put_event(&f, "b"), event + 1);
        fixture_settle(&f);
        ASSERT_EQ(f.n_told[STORE_FAILED], 1);
        ASSERT_NOT_NULL(store_error(f.store));
        /* They are never going to be written sooner: told at once. */
        ASSERT_EQ(f.events, event + 1);
        ASSERT_NULL(store_runs(f.store, 0, NULL, 1));

        (void) snprintf(nowhere, sizeof(nowhere), "%s/a", f.directory);
        ASSERT_OK(mkdir(nowhere, 0700));
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_RECOVERED], 1);
        ASSERT_NULL(store_error(f.store));
        ASSERT_EQ(fixture_n_events(&f), 2);
        ASSERT_EQ(store_next_run(f.store), run + 2);
        fixture_close(&f);

        (void) snprintf(nowhere, sizeof(nowhere), "%s/a/b", f.directory);
        fixture_remove_all(nowhere);
        (void) snprintf(nowhere, sizeof(nowhere), "%s/a", f.directory);
        fixture_remove_all(nowhere);
        fixture_done(&f);
}

/* ---- Trouble --------------------------------------------------------------------------------------------------- */

TEST(the_directory_is_made_for_root_alone) {
        struct stat st;
        Fixture f;

        fixture_init(&f);
        ASSERT_OK(rmdir(f.directory));
        fixture_open(&f);
        ASSERT_NULL(store_error(f.store));
        ASSERT_OK(stat(f.directory, &st));
        ASSERT_EQ(st.st_mode & 07777, 0700);
        static const char *const names[] = { STORE_FILE, STORE_FILE "-wal", STORE_FILE "-shm" };
        FOREACH_ELEMENT(name, names) {
                ASSERT_OK(stat(fixture_path(&f, *name), &st));
                ASSERT_EQ(st.st_mode & 07777, 0600);
        }
        ASSERT_EQ(st.st_uid, geteuid());
        fixture_done(&f);
}

/* Each is set aside, told once, and a fresh store is there that works and counts from a late number on. */
TEST(what_is_no_store_is_set_aside) {
        enum { GARBAGE, SHORT, DIRECTORY, FIFO, NEWER, NEGATIVE, HALF, N };

        for (unsigned what = 0; what < N; what++) {
                const char *aside =
                        what == NEWER || what == NEGATIVE ? STORE_FILE ".newer-" : STORE_FILE ".corrupt-";
                int64_t now = (int64_t) (now_usec(CLOCK_REALTIME) / USEC_PER_MSEC);
                Fixture f;
                FILE *file;

                fixture_init(&f);
                switch (what) {
                case GARBAGE:
                case SHORT:
                        file = fopen(fixture_path(&f, STORE_FILE), "we");
                        for (unsigned i = 0; i < (what == SHORT ? 1 : 10000); i++)
                                (void) fprintf(file, "this is no database\n");
                        ASSERT_OK(fclose(file));
                        break;
                case DIRECTORY: ASSERT_OK(mkdir(fixture_path(&f, STORE_FILE), 0700)); break;
                case FIFO: ASSERT_OK(mkfifo(fixture_path(&f, STORE_FILE), 0600)); break;
                case NEWER:
                        execute(fixture_path(&f, STORE_FILE),
                                "CREATE TABLE a (b); PRAGMA user_version = 99");
                        break;
                case NEGATIVE:
                        execute(fixture_path(&f, STORE_FILE),
                                "CREATE TABLE a (b); PRAGMA user_version = -1");
                        break;
                case HALF:
                        fixture_open(&f);
                        for (unsigned i = 0; i < 1000; i++)
                                (void) fixture_put_event(&f, "a");
                        fixture_close(&f);
                        ASSERT_OK(truncate(fixture_path(&f, STORE_FILE), 3000));
                        break;
                default: break;
                }

                fixture_open(&f);
                ASSERT_EQ(f.n_told[STORE_RESET], 0); /* not from within */
                fixture_settle(&f);
                ASSERT_EQ(f.n_told[STORE_RESET], 1);
                ASSERT_EQ(f.n_told[STORE_FAILED], 0);
                ASSERT_NOT_NULL(strstr(f.detail, aside));
                ASSERT_NULL(store_error(f.store));
                ASSERT_EQ(fixture_n_files(&f, aside), 1);
                ASSERT_TRUE(store_next_run(f.store) >= now);
                ASSERT_TRUE(fixture_put_event(&f, "fresh") >= now);
                ASSERT_EQ(fixture_n_events(&f), 1);
                fixture_done(&f);
        }
}

TEST(a_fresh_store_beside_one_set_aside_begins_late) {
        int64_t now = (int64_t) (now_usec(CLOCK_REALTIME) / USEC_PER_MSEC);
        Fixture f;

        /* As when it was killed in between. */
        fixture_init(&f);
        execute(fixture_path(&f, STORE_FILE ".corrupt-1"), "CREATE TABLE a (b)");
        fixture_open(&f);
        ASSERT_TRUE(store_next_run(f.store) >= now);
        fixture_done(&f);
}

TEST(three_are_kept_aside) {
        Fixture f;

        fixture_init(&f);
        for (unsigned i = 0; i < 6; i++) {
                FILE *file = fopen(fixture_path(&f, STORE_FILE), "we");

                for (unsigned k = 0; k < 100; k++)
                        (void) fprintf(file, "garbage number %u\n", i);
                ASSERT_OK(fclose(file));
                fixture_open(&f);
                (void) fixture_put_event(&f, "a");
                fixture_close(&f);
                ASSERT_EQ(fixture_n_files(&f, STORE_FILE ".corrupt-"), MIN(i + 1, 3U));
        }
        fixture_done(&f);
}

/* Page after page: whatever is hit, the store works on, and what is queued is written. */
TEST(corruption_is_noticed_while_it_is_in_use) {
        static const char *const garbage = "\xde\xad\xbe\xef";
        unsigned n_resets = 0;

        for (off_t page = 0; page < 12; page++) {
                struct stat st;
                Fixture f;
                int fd;

                fixture_init(&f);
                fixture_open(&f);
                for (unsigned i = 0; i < 600; i++) {
                        char id[32];

                        (void) snprintf(id, sizeof(id), "file:/%u", i);
                        put_status(&f, id, "ok");
                        put_result(&f, 1, id, "changed");
                        (void) fixture_put_event(&f, "before");
                }
                fixture_close(&f);
                fixture_open(&f);

                fd = open(fixture_path(&f, STORE_FILE), O_RDWR | O_CLOEXEC);
                ASSERT_OK(fstat(fd, &st));
                ASSERT_TRUE(st.st_size >= 12 * 4096);
                for (off_t i = 0; i < 4096; i += 4)
                        ASSERT_EQ(pwrite(fd, garbage, 4, page * 4096 + i), 4);
                /* Closing it must not take the engine's locks away, which it would in its own process: it stays open. */

                (void) fixture_put_event(&f, "after");
                put_status(&f, "file:/after", "ok");
                (void) store_flush(f.store);
                json_decref(events_after(f.store, 0, NULL, 1000));
                json_decref(store_results(f.store, 1, 0, 1000, NULL));
                (void) store_each_status(f.store, count_status, &(unsigned){ 0 });
                (void) fixture_put_event(&f, "later");
                (void) store_flush(f.store);
                fixture_settle(&f);
                n_resets += f.n_told[STORE_RESET];
                ASSERT_TRUE(f.n_told[STORE_RESET] <= 1);
                ASSERT_NULL(store_error(f.store));
                if (f.n_told[STORE_RESET] > 0) {
                        ASSERT_TRUE(fixture_n_events(&f) >= 1);
                        ASSERT_EQ(fixture_n_files(&f, STORE_FILE ".corrupt-"), 1);
                }
                /* Numbers go on. */
                ASSERT_TRUE(fixture_put_event(&f, "last") == 603);
                fixture_done(&f);
                safe_close(fd);
        }
        /* Not all of them are read. */
        ASSERT_TRUE(n_resets >= 4);
}

TEST(resets_do_not_follow_each_other_without_end) {
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_EQ(store_handle_error(f.store, SQLITE_CORRUPT), -EUCLEAN);
        (void) fixture_put_event(&f, "a");
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(store_handle_error(f.store, SQLITE_NOTADB), -EUCLEAN);
        fixture_settle(&f);
        ASSERT_EQ(f.n_told[STORE_RESET], 1);
        ASSERT_EQ(f.n_told[STORE_FAILED], 1);
        ASSERT_EQ(fixture_n_files(&f, STORE_FILE ".corrupt-"), 1);
        fixture_done(&f);
}

TEST(files_that_go_away_are_noticed) {
        static const char *const names[] = { STORE_FILE, STORE_FILE "-wal", STORE_FILE "-shm" };

        FOREACH_ELEMENT(name, names) {
                bool database = streq(*name, STORE_FILE);
                int64_t id;
                Fixture f;

                fixture_init(&f);
                fixture_open(&f);
                (void) fixture_put_event(&f, "before");
                ASSERT_OK(store_flush(f.store));
                ASSERT_OK(unlink(fixture_path(&f, *name)));
                id = fixture_put_event(&f, "after");
                ASSERT_EQ(id, 2);
                ASSERT_OK(store_flush(f.store));
                fixture_settle(&f);
                ASSERT_EQ(f.n_told[STORE_FAILED], 1);
                ASSERT_EQ(f.n_told[STORE_RECOVERED], 1);
                ASSERT_EQ(f.n_told[STORE_RESET], 0);
                /* A log without its name was moved into the database. */
                ASSERT_EQ(fixture_n_events(&f), database ? 1 : 2);
                ASSERT_EQ(fixture_put_event(&f, "last"), 3);
                fixture_close(&f);
                fixture_open(&f);
                ASSERT_EQ(fixture_n_events(&f), database ? 2 : 3);
                fixture_done(&f);
        }
}

TEST(a_database_put_in_its_place_is_taken) {
        char other[256];
        Fixture f, g;

        fixture_init(&f);
        fixture_init(&g);
        fixture_open(&g);
        for (unsigned i = 0; i < 10; i++)
                (void) fixture_put_event(&g, "old");
        fixture_close(&g);

        fixture_open(&f);
        (void) fixture_put_event(&f, "a");
        ASSERT_OK(store_flush(f.store));
        (void) snprintf(other, sizeof(other), "%s", fixture_path(&g, STORE_FILE));
        ASSERT_OK(rename(other, fixture_path(&f, STORE_FILE)));
        ASSERT_OK(unlink(fixture_path(&f, STORE_FILE "-wal")));
        ASSERT_OK(unlink(fixture_path(&f, STORE_FILE "-shm")));
        (void) fixture_put_event(&f, "b");
        ASSERT_OK(store_flush(f.store));
        ASSERT_TRUE(fixture_n_events(&f) >= 10);
        ASSERT_TRUE(fixture_put_event(&f, "c") > 10);
        fixture_done(&g);
        fixture_done(&f);
}

/* A file may not grow beyond so much: what the disk says when it is full. */
static void limit_files(rlim_t size) {
        struct rlimit limit;

        (void) signal(SIGXFSZ, SIG_IGN);
        ASSERT_OK(getrlimit(RLIMIT_FSIZE, &limit));
        limit.rlim_cur = size;
        ASSERT_OK(setrlimit(RLIMIT_FSIZE, &limit));
}

TEST(a_full_disk_is_told_once_and_waited_for) {
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        (void) fixture_put_event(&f, "before");
        ASSERT_OK(store_flush(f.store));

        limit_files((rlim_t) store_size(f.store) + 100);
        for (unsigned i = 0; i < 100; i++)
                (void) fixture_put_event(&f, "while it is full");
        ASSERT_TRUE(store_flush(f.store) < 0);
        ASSERT_TRUE(store_flush(f.store) < 0);
        fixture_settle(&f);
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_FAILED], 1);
        ASSERT_EQ(f.events, 101);
        ASSERT_EQ(fixture_n_events(&f), 1); /* which can be read still */
        /* It is not tried all the time. */
        ASSERT_TRUE(f.store->hold_usec > now_usec(CLOCK_MONOTONIC) + STORE_RETRY_USEC / 2);
        ASSERT_FALSE(fixture_turn(&f));

        limit_files(RLIM_INFINITY);
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_RECOVERED], 1);
        ASSERT_EQ(fixture_n_events(&f), 101);
        ASSERT_EQ(store_n_lost(f.store), 0);
        fixture_done(&f);
}

TEST(what_is_too_much_to_wait_is_given_up_oldest_first) {
        char *text = malloc(KIB(16));
        json_t *events;
        int64_t last = 0;
        Fixture f;

        memset(text, 'x', KIB(16));
        text[KIB(16) - 1] = 0;
        fixture_init(&f);
        fixture_open(&f);
        limit_files(1);
        for (unsigned i = 0; i < 1000; i++)
                last = fixture_put_event(&f, text);
        ASSERT_TRUE(f.store->queue_bytes <= STORE_QUEUE_BYTES);
        ASSERT_TRUE(store_n_lost(f.store) > 450 && store_n_lost(f.store) < 550);
        fixture_settle(&f);
        ASSERT_EQ(f.events, last);
        limit_files(RLIM_INFINITY);
        fixture_retry(&f);
        ASSERT_OK(store_flush(f.store));
        events = events_after(f.store, 0, NULL, 10000);
        ASSERT_EQ(json_array_size(events), 1000 - store_n_lost(f.store));
        ASSERT_EQ(json_integer_value(
                          json_object_get(json_array_get(events, json_array_size(events) - 1), "event")),
                last);
        json_decref(events);

        /* What can never be written does not stand in the way. */
        {
                char *huge = malloc(STORE_QUEUE_BYTES + 1);
                uint64_t n_lost = store_n_lost(f.store);

                memset(huge, 'x', STORE_QUEUE_BYTES);
                huge[STORE_QUEUE_BYTES] = 0;
                last = fixture_put_event(&f, huge);
                store_put_status(f.store, &(StoreStatus){ .state = "file:/a", .result = NULL });
                put_status(&f, "file:/b", "ok");
                ASSERT_OK(store_flush(f.store));
                ASSERT_EQ(store_n_lost(f.store), n_lost + 2);
                ASSERT_EQ(n_status(&f), 1);
                FIXTURE_UNTIL(&f, f.events == last);
                ASSERT_NULL(store_error(f.store));
                free(huge);
        }
        free(text);
        fixture_done(&f);
}

TEST(no_permission_is_waited_for) {
        uid_t uid = geteuid();
        Fixture f;

        fixture_init(&f);
        ASSERT_OK(chmod(f.directory, 0555));
        if (uid == 0)
                ASSERT_OK(seteuid(65534));
        fixture_open(&f);
        (void) fixture_put_event(&f, "a");
        fixture_settle(&f);
        ASSERT_EQ(f.n_told[STORE_FAILED], 1);
        ASSERT_NOT_NULL(strstr(f.detail, "Permission denied"));
        if (uid == 0)
                ASSERT_OK(seteuid(uid));
        ASSERT_OK(chmod(f.directory, 0700));
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_RECOVERED], 1);
        ASSERT_EQ(fixture_n_events(&f), 1);

        /* A file that may only be read. */
        fixture_close(&f);
        ASSERT_OK(chmod(f.directory, 0777));
        ASSERT_OK(chmod(fixture_path(&f, STORE_FILE), 0444));
        if (uid == 0)
                ASSERT_OK(seteuid(65534));
        fixture_open(&f);
        fixture_settle(&f);
        ASSERT_EQ(f.n_told[STORE_FAILED], 1);
        ASSERT_EQ(f.n_told[STORE_RESET], 0);
        if (uid == 0)
                ASSERT_OK(seteuid(uid));
        ASSERT_OK(chmod(fixture_path(&f, STORE_FILE), 0600));
        (void) fixture_put_event(&f, "b");
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_RECOVERED], 1);
        ASSERT_EQ(fixture_n_events(&f), 2);
        fixture_done(&f);
}

TEST(a_lock_of_others_is_waited_for_without_blocking) {
        usec_t began;
        sqlite3 *db;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(sqlite3_open(fixture_path(&f, STORE_FILE), &db));
        ASSERT_OK(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
        (void) fixture_put_event(&f, "a");
        began = now_usec(CLOCK_MONOTONIC);
        ASSERT_EQ(store_flush(f.store), -EBUSY);
        ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) - began < USEC_PER_SEC);
        ASSERT_NULL(store_error(f.store));
        fixture_settle(&f);
        ASSERT_EQ(f.events, 0);
        ASSERT_EQ(fixture_n_events(&f), 0); /* readers see what there is */

        ASSERT_OK(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
        FIXTURE_UNTIL(&f, f.events == 1);
        ASSERT_EQ(f.n_told[STORE_FAILED], 0);

        /* For long: that is trouble. */
        ASSERT_OK(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
        (void) fixture_put_event(&f, "b");
        ASSERT_EQ(store_flush(f.store), -EBUSY);
        f.store->busy_since_usec -= STORE_RETRY_USEC;
        FIXTURE_UNTIL(&f, f.n_told[STORE_FAILED] == 1);
        FIXTURE_UNTIL(&f, f.events == 2);
        ASSERT_OK(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_RECOVERED], 1);
        ASSERT_EQ(fixture_n_events(&f), 2);
        ASSERT_OK(sqlite3_close(db));
        fixture_done(&f);
}

/* ---- The Nth write fails --------------------------------------------------------------------------------------- */

/* What SQLite calls for a file, and what is called in the end. */
typedef struct FailingMethods {
        sqlite3_io_methods methods;
        const sqlite3_io_methods *real;
} FailingMethods;

static sqlite3_vfs real_vfs;
static FailingMethods failing[4];    /* databases and journals have different ones */
static int writes_left, write_error; /* < 0: none fails */
static bool fails_for_good;

static bool fails_now(void) {
        if (writes_left < 0)
                return false;
        if (writes_left > 0) {
                writes_left--;
                return false;
        }
        if (!fails_for_good)
                writes_left = -1;
        return true;
}

static const sqlite3_io_methods *real(const sqlite3_file *file) {
        return ((const FailingMethods *) file->pMethods)->real;
}

static int failing_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
        return fails_now() ? write_error : real(file)->xWrite(file, data, size, offset);
}

static int failing_sync(sqlite3_file *file, int flags) {
        return fails_now() ? SQLITE_IOERR_FSYNC : real(file)->xSync(file, flags);
}

static int failing_truncate(sqlite3_file *file, sqlite3_int64 size) {
        return fails_now() ? SQLITE_IOERR_TRUNCATE : real(file)->xTruncate(file, size);
}

static int failing_open(
        sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags) {
        FailingMethods *f = failing;
        int rc;

        file->pMethods = NULL;
        if (fails_now())
                return SQLITE_CANTOPEN;
        rc = real_vfs.xOpen(&real_vfs, name, file, flags, ret_flags);
        if (rc != SQLITE_OK || !file->pMethods)
                return rc;
        while (f->real && f->real != file->pMethods)
                f++;
        ASSERT_TRUE(f < failing + ELEMENTSOF(failing));
        f->real = file->pMethods;
        f->methods = *file->pMethods;
        f->methods.xWrite = failing_write;
        f->methods.xSync = failing_sync;
        f->methods.xTruncate = failing_truncate;
        file->pMethods = &f->methods;
        return SQLITE_OK;
}

static void fail_writes(void) {
        sqlite3_vfs *vfs = sqlite3_vfs_find(store_vfs());

        if (real_vfs.xOpen)
                return;
        real_vfs = *vfs;
        vfs->xOpen = failing_open;
}

TEST(every_write_may_fail_once_or_for_long) {
        static const int errors[] = { SQLITE_FULL, SQLITE_IOERR_WRITE };
        unsigned n_failures = 0;

        fail_writes();
        for (unsigned kind = 0; kind < 4; kind++)
                for (int n = 0;; n++) {
                        int64_t last = 0;
                        bool failed;
                        Fixture f;

                        fixture_init(&f);
                        write_error = errors[kind % 2];
                        fails_for_good = kind / 2;
                        writes_left = n;
                        fixture_open(&f);
                        for (unsigned i = 0; i < 3; i++) {
                                (void) store_next_run(f.store);
                                put_status(&f, "file:/a", i % 2 ? "ok" : "failed");
                                last = fixture_put_event(&f, "a");
                                (void) store_flush(f.store);
                                fixture_settle(&f);
                        }
                        failed = writes_left < 0 || (fails_for_good && writes_left == 0);
                        writes_left = -1;
                        if (f.n_told[STORE_FAILED] > 0) {
                                ASSERT_EQ(f.n_told[STORE_FAILED], 1);
                                ASSERT_EQ(f.events, last);
                                fixture_retry(&f);
                        }
                        n_failures += failed;
                        ASSERT_EQ(f.n_told[STORE_RESET], 0);
                        ASSERT_EQ(store_n_lost(f.store), 0);
                        ASSERT_EQ(fixture_n_events(&f), 3);
                        ASSERT_EQ(n_status(&f), 1);
                        ASSERT_TRUE(f.events == last || f.store->scheduled);
                        fixture_close(&f);
                        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT closed FROM meta"), 1);
                        fixture_done(&f);
                        if (!failed)
                                break;
                }
        ASSERT_TRUE(n_failures > 60);
}

/* ---- Schema ---------------------------------------------------------------------------------------------------- */

TEST(a_schema_is_brought_up_step_by_step) {
        static const char *const steps[] = {
                "CREATE TABLE a (b); INSERT INTO a VALUES (1)",
                "INSERT INTO a SELECT b + 1 FROM a",
                "CREATE TABLE c (d); INSERT INTO nowhere VALUES (1)",
        };
        char *error = NULL;
        sqlite3 *db;

        ASSERT_OK(sqlite3_open(":memory:", &db));
        ASSERT_OK(store_schema_migrate(db, steps, 1, &error));
        ASSERT_EQ(store_schema_read_version(db), 1);
        ASSERT_OK(store_schema_migrate(db, steps, 2, &error));
        ASSERT_EQ(store_schema_read_version(db), 2);
        ASSERT_NULL(error);

        /* All of a step, or nothing. */
        ASSERT_EQ(store_schema_migrate(db, steps, 3, &error), SQLITE_ERROR);
        ASSERT_STREQ(error, "it cannot be brought from version 2 to 3: no such table: nowhere");
        ASSERT_EQ(store_schema_read_version(db), 2);
        ASSERT_EQ(sqlite3_get_autocommit(db), 1);
        ASSERT_EQ(sqlite3_exec(db, "SELECT * FROM c", NULL, NULL, NULL), SQLITE_ERROR);
        ASSERT_OK(sqlite3_exec(db, "SELECT * FROM a", NULL, NULL, NULL));
        free(error);
        ASSERT_OK(sqlite3_close(db));
}

/* What version 1 held is there after it. */
TEST(a_file_of_version_1_is_migrated) {
        char *error = NULL;
        sqlite3 *db;
        Fixture f;

        fixture_init(&f);
        ASSERT_OK(sqlite3_open(fixture_path(&f, STORE_FILE), &db));
        ASSERT_OK(sqlite3_exec(
                db, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL", NULL, NULL, NULL));
        ASSERT_OK(store_schema_migrate(db, store_schema_steps, 1, &error));
        ASSERT_OK(sqlite3_exec(db,
                "INSERT INTO runs VALUES (1, 'apply', 'boot', 1, 2, NULL, NULL);"
                "INSERT INTO results VALUES (1, 1, 1, 'file:/a', 'file', 'web', 'changed', NULL,"
                " '[{\"what\":\"mode\",\"old\":384}]', NULL, 3);"
                "UPDATE meta SET next_run = 2",
                NULL, NULL, NULL));
        ASSERT_OK(sqlite3_close(db));

        fixture_open(&f);
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "PRAGMA user_version"), store_schema_version);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM contents"), 0);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM runs WHERE vars IS NULL"), 1);
        assert_json(store_results(f.store, 1, 0, 10, NULL),
                "[{\"state\":\"file:/a\",\"type\":\"file\",\"name\":\"/a\",\"role\":\"web\",\"removal\":"
                "false,\"result\":\"changed\",\"differences\":[],\"undo\":[{\"what\":\"mode\",\"old\":384}],"
                "\"error\":null,"
                "\"duration_usec\":3}]");
        ASSERT_EQ(f.n_told[STORE_RESET] + f.n_told[STORE_FAILED], 0);
        fixture_done(&f);
}

TEST(a_file_of_version_0_is_migrated) {
        Fixture f;

        fixture_init(&f);
        execute(fixture_path(&f, STORE_FILE), "CREATE TABLE mine (a); INSERT INTO mine VALUES (7)");
        fixture_open(&f);
        (void) fixture_put_event(&f, "a");
        ASSERT_OK(store_flush(f.store));
        fixture_settle(&f);
        ASSERT_EQ(f.n_told[STORE_RESET] + f.n_told[STORE_FAILED], 0);
        fixture_close(&f);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT a FROM mine"), 7);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "PRAGMA user_version"), store_schema_version);
        fixture_done(&f);
}

TEST(what_cannot_be_migrated_is_kept) {
        Fixture f;

        fixture_init(&f);
        execute(fixture_path(&f, STORE_FILE), "CREATE TABLE events (a); INSERT INTO events VALUES (7)");
        fixture_open(&f);
        (void) fixture_put_event(&f, "a");
        fixture_settle(&f);
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_FAILED], 1);
        ASSERT_EQ(f.n_told[STORE_RESET], 0);
        ASSERT_STREQ(store_error(f.store),
                "it cannot be brought from version 0 to 1: table events already exists");
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT a FROM events"), 7);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "PRAGMA user_version"), 0);
        ASSERT_EQ(fixture_n_files(&f, STORE_FILE "."), 0);

        /* Somebody has put it right. */
        execute(fixture_path(&f, STORE_FILE), "DROP TABLE events");
        fixture_retry(&f);
        ASSERT_EQ(f.n_told[STORE_RECOVERED], 1);
        ASSERT_EQ(fixture_n_events(&f), 1);
        fixture_done(&f);
}

TEST(a_table_that_is_missing_is_trouble) {
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        fixture_close(&f);
        execute(fixture_path(&f, STORE_FILE), "DROP TABLE status");
        fixture_open(&f);
        put_status(&f, "file:/a", "ok");
        fixture_settle(&f);
        ASSERT_EQ(f.n_told[STORE_FAILED], 1);
        ASSERT_NOT_NULL(strstr(store_error(f.store), "status"));
        fixture_done(&f);
}

/* ---- SIGKILL --------------------------------------------------------------------------------------------------- */

/* Says which events were told. */
static void report(void *userdata, int64_t id) {
        if (write(*(int *) userdata, &id, sizeof(id)) != sizeof(id))
                _exit(1);
}

static _noreturn_ void write_for_ever(Fixture *f, int fd) {
        f->on_events = report;
        f->userdata = &fd;
        fixture_open(f);
        for (uint64_t i = 0;; i++) {
                char id[32];

                (void) snprintf(id, sizeof(id), "file:/%u", (unsigned) (i % 100));
                put_status(f, id, i % 3 ? "ok" : "failed");
                put_run(f, store_next_run(f->store), "apply", i + 1);
                put_result(f, (int64_t) i, id, "changed");
                for (unsigned k = 0; k < i % 7; k++)
                        (void) fixture_put_event(f, "an event with some text that takes its place");
                /* Written now, or in its own time. */
                if (i % 16 == 0)
                        (void) store_flush(f->store);
                fixture_settle(f);
        }
}

static unsigned random_number(unsigned *seed) {
        *seed = *seed * 1103515245U + 12345U;
        return *seed >> 16;
}

TEST(what_was_told_is_there_after_sigkill) {
        unsigned seed = 42;
        Fixture f;

        fixture_init(&f);
        for (unsigned round = 0; round < 50; round++) {
                unsigned n = 1 + random_number(&seed) % 60;
                int64_t told = 0, id;
                json_t *events;
                int pipes[2];
                pid_t pid;

                ASSERT_OK(pipe2(pipes, O_CLOEXEC));
                pid = fork();
                ASSERT_TRUE(pid >= 0);
                if (pid == 0) {
                        safe_close(pipes[0]);
                        (void) sd_event_unref(TAKE_PTR(f.event));
                        (void) sd_event_new(&f.event);
                        write_for_ever(&f, pipes[1]);
                }
                safe_close(pipes[1]);
                for (unsigned i = 0; i < n; i++) {
                        ASSERT_EQ(read_full(pipes[0], &id, sizeof(id)), sizeof(id));
                        told = id;
                }
                /* Some more work, so that it is not always told when it is hit. */
                for (volatile unsigned i = 0; i < random_number(&seed) * 4; i++)
                        ;
                ASSERT_OK(kill(pid, SIGKILL));
                ASSERT_EQ(waitpid(pid, NULL, 0), pid);
                while (read_full(pipes[0], &id, sizeof(id)) == sizeof(id))
                        told = id;
                safe_close(pipes[0]);

                fixture_open(&f);
                fixture_settle(&f);
                ASSERT_NULL(store_error(f.store));
                ASSERT_EQ(f.n_told[STORE_RESET] + f.n_told[STORE_FAILED], 0);
                ASSERT_TRUE(store_last_event(f.store) >= told);
                events = events_after(f.store, told - 1, NULL, 1);
                ASSERT_EQ(json_integer_value(json_object_get(json_array_get(events, 0), "event")), told);
                json_decref(events);
                fixture_crash(&f);
        }

        /* None is missing in between, but where it was killed. */
        fixture_open(&f);
        {
                json_t *events = events_after(f.store, 0, NULL, UINT32_MAX), *event;
                int64_t before = 0;
                unsigned n_gaps = 0;
                size_t i;

                json_array_foreach(events, i, event) {
                        int64_t id = json_integer_value(json_object_get(event, "event"));

                        n_gaps += id != before + 1;
                        before = id;
                }
                ASSERT_TRUE(n_gaps <= 50);
                json_decref(events);
        }
        fixture_close(&f);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE),
                          "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
                0);
        fixture_done(&f);
}

/* ---- The housekeeper ------------------------------------------------------------------------------------------- */

static pid_t start_housekeeper(const Fixture *f, const char *size, const char *age) {
        pid_t pid = fork();

        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                (void) execl("/proc/self/exe", "test-store", "--housekeeper", f->directory, size, age,
                        "1000000000", NULL);
                _exit(127);
        }
        return pid;
}

static int end_of(pid_t pid) {
        int status;

        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void fill(Fixture *f, unsigned n, usec_t first, usec_t step) {
        for (unsigned i = 0; i < n; i++) {
                const StoreEvent event = { .time_usec = first + i * step,
                        .kind = "started",
                        .message = "an event that is not very long, but not very short either" };
                const StoreResult result = { .run = i + 1,
                        .time_usec = 1,
                        .state = "file:/etc/some/file",
                        .type = "file",
                        .role = "web",
                        .result = "changed",
                        .error = "a text of some length that explains what was wrong with it" };

                put_run(f, i + 1, "apply", first + i * step);
                store_put_result(f->store, &result);
                store_put_result(f->store, &result);
                (void) store_put_event(f->store, &event);
        }
        put_status(f, "file:/a", "ok");
        ASSERT_OK(store_flush(f->store));
}

#define NO_LIMIT "18446744073709551615"

TEST(the_housekeeper_deletes_what_is_old) {
        usec_t now = now_usec(CLOCK_REALTIME);
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        fill(&f, 1000, now - 1000 * USEC_PER_MINUTE, USEC_PER_MINUTE);
        put_result(&f, 5000, "file:/without a run", "changed");
        store_put_run(
                f.store, &(StoreRun){ .id = 0, .mode = "apply", .cause = "goes on", .started_usec = 1 });
        put_result(&f, 0, "file:/goes on", "changed");
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(end_of(start_housekeeper(&f, NO_LIMIT, "6030000000")), 0); /* 100.5 minutes */
        ASSERT_EQ(fixture_n_events(&f), 100);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM runs WHERE id > 0"), 100);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT min(id) FROM runs WHERE id > 0"), 901);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM results"), 202);
        ASSERT_EQ(n_status(&f), 1);
        /* What is free is given back, and the log is empty but for the housekeeper's own last word. */
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "PRAGMA freelist_count"), 0);
        ASSERT_TRUE(store_size(f.store) < KIB(128));
        ASSERT_EQ(fixture_put_event(&f, "later"), 1001);
        ASSERT_OK(store_flush(f.store));

        ASSERT_EQ(end_of(start_housekeeper(&f, NO_LIMIT, "0")), 0);
        ASSERT_EQ(fixture_n_events(&f), 0);
        ASSERT_EQ(store_last_event(f.store), 1001);
        fixture_close(&f);
        fixture_open(&f);
        ASSERT_EQ(fixture_put_event(&f, "much later"), 1002);
        fixture_done(&f);
}

TEST(the_housekeeper_keeps_to_the_size) {
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        fill(&f, 4000, now_usec(CLOCK_REALTIME) - USEC_PER_MINUTE, 1000);
        ASSERT_TRUE(store_size(f.store) > MIB(2));
        ASSERT_EQ(end_of(start_housekeeper(&f, "1000000", NO_LIMIT)), 0);
        ASSERT_TRUE(store_size(f.store) <= 1000000);
        ASSERT_TRUE(store_size(f.store) >= 500000);
        /* The oldest went, of both kinds alike. */
        ASSERT_TRUE(ask(fixture_path(&f, STORE_FILE), "SELECT min(id) FROM runs") > 1500);
        ASSERT_TRUE(llabs(ask(fixture_path(&f, STORE_FILE),
                            "SELECT (SELECT min(id) FROM runs) - (SELECT min(id) FROM events)")) < 1000);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT max(id) FROM runs"), 4000);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE),
                          "SELECT count(*) FROM results WHERE run NOT IN (SELECT id FROM runs)"),
                0);

        /* It ends where nothing is left to delete. */
        ASSERT_EQ(end_of(start_housekeeper(&f, "1", NO_LIMIT)), 0);
        ASSERT_EQ(n_status(&f), 1);
        ASSERT_EQ(fixture_n_events(&f), 0);
        fixture_done(&f);
}

/* A result of a run that refers to contents: stored hashes, ended by NULL. */
static void put_referring(Fixture *f, int64_t run, usec_t started, const char *const *hashes) {
        json_t *undo = json_array();

        for (; *hashes; hashes++)
                (void) json_array_append_new(undo, json_pack("{s:s, s:{s:s, s:i}}", "what", "content", "old",
                                                           "stored", *hashes, "size", 5));
        put_run(f, run, "apply", started);
        store_put_result(f->store, &(StoreResult){ .run = run,
                                           .time_usec = 1,
                                           .state = "file:/a",
                                           .type = "file",
                                           .role = "web",
                                           .result = "changed",
                                           .undo = undo });
        json_decref(undo);
}

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

TEST(references_to_contents_live_as_long_as_the_run) {
        static const char *const both[] = { HASH_A, HASH_B, HASH_A, "no hash", "", NULL }, *const one[] = {
                HASH_A, NULL
        };
        usec_t now = now_usec(CLOCK_REALTIME);
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        put_referring(&f, 1, now - 100 * USEC_PER_MINUTE, both);
        put_referring(&f, 2, now - USEC_PER_MINUTE, one);
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM contents"), 3);
        ASSERT_EQ(end_of(start_housekeeper(&f, NO_LIMIT, "3000000000")), 0); /* 50 minutes */
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM contents"), 1);
        ASSERT_EQ(
                ask(fixture_path(&f, STORE_FILE), "SELECT run FROM contents WHERE hash = '" HASH_A "'"), 2);
        ASSERT_EQ(end_of(start_housekeeper(&f, NO_LIMIT, "0")), 0);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM contents"), 0);
        fixture_done(&f);
}

TEST(old_contents_are_collected) {
        static const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
        const char *why, *hashes[] = { NULL, NULL };
        ContentKept wanted, unwanted, young;
        ContentStore *contents = NULL;
        char path[256];
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(content_store_open(f.directory, true, &contents));
        ASSERT_OK(content_put(contents, "wanted", 6, false, &wanted));
        ASSERT_OK(content_put(contents, "unwanted", 8, false, &unwanted));
        ASSERT_OK(content_put(contents, "young", 5, false, &young));
        (void) snprintf(path, sizeof(path), "%s/content/%.2s/%s", f.directory, wanted.name, wanted.name);
        ASSERT_OK(utimensat(AT_FDCWD, path, old, 0));
        (void) snprintf(path, sizeof(path), "%s/content/%.2s/%s", f.directory, unwanted.name, unwanted.name);
        ASSERT_OK(utimensat(AT_FDCWD, path, old, 0));
        hashes[0] = wanted.name;
        put_referring(&f, 1, now_usec(CLOCK_REALTIME), hashes);
        ASSERT_OK(store_flush(f.store));

        ASSERT_EQ(end_of(start_housekeeper(&f, NO_LIMIT, NO_LIMIT)), 0);
        ASSERT_OK(content_get(contents, wanted.name, NULL, NULL, NULL, &why));
        ASSERT_OK(content_get(contents, young.name, NULL, NULL, NULL, &why));
        ASSERT_EQ(content_get(contents, unwanted.name, NULL, NULL, NULL, &why), -ENOENT);

        /* Until the limit is known none is kept to. */
        store_keep_house(f.store);
        ASSERT_TRUE(f.store->limits.content_bytes == UINT64_MAX);
        contents = content_store_free(contents);
        fixture_done(&f);
        (void) snprintf(path, sizeof(path), "rm -r %s", f.directory);
        ASSERT_OK(system(path));
}

static int collect_removal(void *userdata, const char *state, const char *recipe) {
        (void) json_object_set_new(userdata, state, json_string(recipe));
        return 0;
}

static json_t *removals_of(Fixture *f) {
        json_t *removals = json_object();

        ASSERT_OK(store_each_removal(f->store, collect_removal, removals));
        return removals;
}

TEST(recipes_of_removals_are_kept) {
        json_t *removals;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        store_put_removal(f.store, "file:/a", "{}");
        store_put_removal(f.store, "file:/b", "{\"b\":1}");
        store_put_removal(f.store, "file:/a", "{\"a\":2}");
        store_put_removal(f.store, "file:/c", "{}");
        store_forget_removal(f.store, "file:/c");
        store_forget_removal(f.store, "file:/d");
        fixture_close(&f);
        fixture_open(&f);
        removals = removals_of(&f);
        ASSERT_EQ(json_object_size(removals), 2);
        ASSERT_STREQ(json_string_value(json_object_get(removals, "file:/a")), "{\"a\":2}");
        ASSERT_STREQ(json_string_value(json_object_get(removals, "file:/b")), "{\"b\":1}");
        json_decref(removals);
        fixture_done(&f);
}

/* With as many as a host has at most, and more than go into one step. */
TEST(the_housekeeper_renames_what_is_known_of_a_state) {
        enum { N = 1000 };
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        fill(&f, N, now_usec(CLOCK_REALTIME) - USEC_PER_MINUTE, 1);
        put_result(&f, 1, "file:/other", "changed");
        (void) store_put_event(f.store,
                &(StoreEvent){ .kind = "state-changed", .message = "m", .state = "file:/etc/some/file" });
        ASSERT_OK(store_flush(f.store));
        execute(fixture_path(&f, STORE_FILE), "INSERT INTO owed VALUES ('file:/etc/some/file', 1, 'x')");
        /* There is nothing of it. */
        store_rename_state(f.store, "file:/nobody", "file:/somebody");
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM renames"), 0);

        store_rename_state(f.store, "file:/etc/some/file", "file:/new");
        store_rename_state(f.store, "file:/etc/some/file", "file:/new");
        /* What comes later is another's. */
        put_result(&f, 2, "file:/etc/some/file", "failed");
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(
                ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM owed WHERE state = 'file:/new'"), 1);
        for (unsigned round = 0; round < 3; round++) {
                pid_t pid = start_housekeeper(&f, NO_LIMIT, NO_LIMIT);

                /* It may be killed. */
                if (round == 0)
                        ASSERT_OK(kill(pid, SIGKILL));
                (void) end_of(pid);
        }
        ASSERT_EQ(
                ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM results WHERE state = 'file:/new'"),
                2 * N);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE),
                          "SELECT count(*) FROM results WHERE state = 'file:/etc/some/file'"),
                1);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE),
                          "SELECT count(*) FROM results WHERE state = 'file:/other'"),
                1);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM events WHERE state = 'file:/new'"),
                1);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT count(*) FROM renames"), 0);

        /* Twice in a row. */
        store_rename_state(f.store, "file:/new", "file:/newer");
        store_rename_state(f.store, "file:/newer", "file:/newest");
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(end_of(start_housekeeper(&f, NO_LIMIT, NO_LIMIT)), 0);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE),
                          "SELECT count(*) FROM results WHERE state = 'file:/newer'"),
                2 * N);
        fixture_done(&f);
}

TEST(a_rename_starts_the_housekeeper) {
        Fixture f;

        fixture_init(&f);
        fixture_open_with(&f, "/proc/self/exe");
        put_result(&f, 1, "file:/a", "changed");
        store_rename_state(f.store, "file:/a", "file:/b");
        FIXTURE_UNTIL(&f, store_housekeeper(f.store) == 0 &&
                                  ask(fixture_path(&f, STORE_FILE),
                                          "SELECT count(*) FROM results WHERE state = 'file:/b'") == 1);
        fixture_done(&f);
}

TEST(the_housekeeper_refuses_nonsense) {
        static const struct {
                const char *size, *age;
        } cases[] = { { "", "1" }, { "1", "" }, { "-1", "1" }, { "1x", "1" }, { " 1", "1" }, { "1", "1e9" },
                { "99999999999999999999999", "1" } };
        Fixture f;

        fixture_init(&f);
        FOREACH_ELEMENT(c, cases)
                ASSERT_EQ(end_of(start_housekeeper(&f, c->size, c->age)), 2);
        /* No store: nothing to do, and none is made. */
        ASSERT_EQ(end_of(start_housekeeper(&f, "1", "1")), 1);
        ASSERT_EQ(fixture_n_files(&f, STORE_FILE), 0);
        fixture_done(&f);
}

TEST(two_housekeepers_and_a_writer_get_along) {
        pid_t pids[3];
        int64_t last = 0;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        fill(&f, 2000, now_usec(CLOCK_REALTIME) - USEC_PER_MINUTE, 1000);
        for (unsigned i = 0; i < ELEMENTSOF(pids); i++)
                pids[i] = start_housekeeper(&f, "100000", NO_LIMIT);
        for (unsigned n_gone = 0; n_gone < ELEMENTSOF(pids);) {
                last = fixture_put_event(&f, "while they work");
                FIXTURE_UNTIL(&f, f.events == last);
                for (unsigned i = 0; i < ELEMENTSOF(pids); i++) {
                        siginfo_t info = {};

                        if (pids[i] > 0 && waitid(P_PID, (id_t) pids[i], &info, WEXITED | WNOHANG) == 0 &&
                                info.si_pid == pids[i]) {
                                ASSERT_EQ(info.si_status, 0);
                                pids[i] = 0;
                                n_gone++;
                        }
                }
        }
        ASSERT_EQ(f.n_told[STORE_FAILED] + f.n_told[STORE_RESET], 0);
        ASSERT_EQ(store_last_event(f.store), last);
        fixture_close(&f);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE),
                          "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
                0);
        fixture_done(&f);
}

TEST(a_housekeeper_may_be_killed_at_any_instant) {
        unsigned seed = 7;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        for (unsigned round = 0; round < 20; round++) {
                usec_t end = now_usec(CLOCK_MONOTONIC) + random_number(&seed) % 20000;
                pid_t pid;

                fill(&f, 300, 1, 1);
                pid = start_housekeeper(&f, "50000", "0");
                while (now_usec(CLOCK_MONOTONIC) < end)
                        (void) fixture_turn(&f);
                ASSERT_OK(kill(pid, SIGKILL));
                (void) end_of(pid);
                (void) fixture_put_event(&f, "after");
                ASSERT_OK(store_flush(f.store));
        }
        ASSERT_EQ(f.n_told[STORE_FAILED] + f.n_told[STORE_RESET], 0);
        fixture_close(&f);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE),
                          "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
                0);
        fixture_done(&f);
}

TEST(the_log_is_moved_by_the_housekeeper) {
        struct stat st;
        Fixture f;

        fixture_init(&f);
        fixture_open_with(&f, "/proc/self/exe");
        ASSERT_EQ(store_housekeeper(f.store), 0);
        for (unsigned i = 0; i < 20000 && store_housekeeper(f.store) == 0; i++) {
                (void) fixture_put_event(&f, "an event");
                if (i % 10 == 0)
                        ASSERT_OK(store_flush(f.store));
        }
        ASSERT_TRUE(store_housekeeper(f.store) > 0);
        FIXTURE_UNTIL(&f, store_housekeeper(f.store) == 0);
        ASSERT_OK(stat(fixture_path(&f, STORE_FILE "-wal"), &st));
        ASSERT_TRUE(st.st_size < (off_t) MIB(1));
        (void) fixture_put_event(&f, "afterwards");
        FIXTURE_UNTIL(&f, !f.store->first);
        ASSERT_EQ(store_housekeeper(f.store), 0);

        /* A lower limit is kept at once; ending the store ends the housekeeper. */
        store_set_limits(f.store, &(StoreLimits){ .size_bytes = 100000, .age_usec = USEC_INFINITY });
        ASSERT_TRUE(store_housekeeper(f.store) > 0);
        FIXTURE_UNTIL(&f, store_housekeeper(f.store) == 0);
        ASSERT_TRUE(store_size(f.store) <= 100000);
        store_set_limits(f.store, &(StoreLimits){ .size_bytes = 1, .age_usec = USEC_INFINITY });
        ASSERT_TRUE(store_housekeeper(f.store) > 0);
        fixture_done(&f);
        ASSERT_EQ(waitpid(-1, NULL, WNOHANG), -1);
        ASSERT_EQ(errno, ECHILD);
}

TEST(a_clock_that_was_wrong_does_not_keep_the_housekeeper_away) {
        Fixture f;

        fixture_init(&f);
        fixture_open_with(&f, "/proc/self/exe");
        fixture_close(&f);
        execute(fixture_path(&f, STORE_FILE), "UPDATE meta SET kept = 4000000000000000"); /* 2096 */
        fixture_open_with(&f, "/proc/self/exe");
        ASSERT_TRUE(store_housekeeper(f.store) > 0);
        FIXTURE_UNTIL(&f, store_housekeeper(f.store) == 0);
        (void) fixture_put_event(&f, "afterwards");
        FIXTURE_UNTIL(&f, !f.store->first);
        ASSERT_EQ(store_housekeeper(f.store), 0);
        fixture_done(&f);
}

TEST(without_a_housekeeper_the_log_does_not_grow_for_ever) {
        struct stat st;
        Fixture f;

        fixture_init(&f);
        fixture_open_with(&f, "/nonexistent");
        for (unsigned i = 0; i < 12000; i++) {
                (void) fixture_put_event(&f, "an event");
                (void) put_status(&f, "file:/a", i % 2 ? "ok" : "failed");
                ASSERT_OK(store_flush(f.store));
                if (i % 1000 == 0)
                        fixture_settle(&f);
        }
        ASSERT_OK(stat(fixture_path(&f, STORE_FILE "-wal"), &st));
        ASSERT_TRUE(st.st_size < (STORE_WAL_PAGES_ALONE + 2000) * (off_t) 4200);
        ASSERT_NULL(store_error(f.store));
        fixture_done(&f);
}

TEST(a_store_that_was_not_closed_is_looked_through) {
        Fixture f;
        int fd;

        fixture_init(&f);
        fixture_open(&f);
        fill(&f, 1000, now_usec(CLOCK_REALTIME) - USEC_PER_MINUTE, 1);
        fixture_close(&f);
        fixture_open(&f);
        fixture_crash(&f);
        fixture_open_with(&f, "/proc/self/exe");
        ASSERT_TRUE(store_housekeeper(f.store) > 0);
        FIXTURE_UNTIL(&f, store_housekeeper(f.store) == 0);
        ASSERT_EQ(f.n_told[STORE_RESET], 0);
        ASSERT_EQ(ask(fixture_path(&f, STORE_FILE), "SELECT check_wanted FROM meta"), 0);
        fixture_close(&f);

        /* In order: nobody looks. */
        fixture_open_with(&f, "/proc/self/exe");
        ASSERT_EQ(store_housekeeper(f.store), 0);
        fixture_crash(&f);

        /* What nobody has read since is found. Closed only after the store is, whose locks are this process's. */
        fd = open(fixture_path(&f, STORE_FILE), O_RDWR | O_CLOEXEC);
        ASSERT_TRUE(fd >= 0);
        for (off_t page = 10; page < 40; page++)
                ASSERT_EQ(pwrite(fd, "garbage", 7, page * 4096), 7);
        safe_close(fd);
        fixture_open_with(&f, "/proc/self/exe");
        ASSERT_TRUE(store_housekeeper(f.store) > 0);
        FIXTURE_UNTIL(&f, f.n_told[STORE_RESET] == 1);
        ASSERT_EQ(fixture_n_files(&f, STORE_FILE ".corrupt-"), 1);
        (void) fixture_put_event(&f, "fresh");
        ASSERT_OK(store_flush(f.store));
        ASSERT_EQ(fixture_n_events(&f), 1);
        fixture_done(&f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                RUN(runs_are_read_newest_first),
                RUN(results_are_read_page_by_page),
                RUN(statuses_are_replaced_and_removed),
                RUN(a_reader_may_write_and_stop),
                RUN(runs_without_an_end_get_one),
                RUN(both_matchers_of_events_agree),
                RUN(a_nul_in_a_value_is_kept),
                RUN(what_is_read_at_a_time_is_bounded),
                RUN(events_have_the_form_of_the_api),
                RUN(nothing_queued_wakes_nobody),
                RUN(events_are_told_when_they_are_written),
                RUN(much_in_one_turn_is_written_meanwhile),
                RUN(numbers_are_given_once),
                RUN(numbers_grow_while_the_store_is_in_trouble),
                RUN(the_directory_is_made_for_root_alone),
                RUN(what_is_no_store_is_set_aside),
                RUN(a_fresh_store_beside_one_set_aside_begins_late),
                RUN(three_are_kept_aside),
                RUN(corruption_is_noticed_while_it_is_in_use),
                RUN(resets_do_not_follow_each_other_without_end),
                RUN(files_that_go_away_are_noticed),
                RUN(a_database_put_in_its_place_is_taken),
                RUN(a_full_disk_is_told_once_and_waited_for),
                RUN(what_is_too_much_to_wait_is_given_up_oldest_first),
                RUN(no_permission_is_waited_for),
                RUN(a_lock_of_others_is_waited_for_without_blocking),
                RUN(a_schema_is_brought_up_step_by_step),
                RUN(a_file_of_version_1_is_migrated),
                RUN(references_to_contents_live_as_long_as_the_run),
                RUN(old_contents_are_collected),
                RUN(a_file_of_version_0_is_migrated),
                RUN(what_cannot_be_migrated_is_kept),
                RUN(a_table_that_is_missing_is_trouble),
                RUN(what_was_told_is_there_after_sigkill),
                RUN(the_housekeeper_deletes_what_is_old),
                RUN(the_housekeeper_keeps_to_the_size),
                RUN(recipes_of_removals_are_kept),
                RUN(the_housekeeper_renames_what_is_known_of_a_state),
                RUN(a_rename_starts_the_housekeeper),
                RUN(the_housekeeper_refuses_nonsense),
                RUN(two_housekeepers_and_a_writer_get_along),
                RUN(a_housekeeper_may_be_killed_at_any_instant),
                RUN(the_log_is_moved_by_the_housekeeper),
                RUN(a_clock_that_was_wrong_does_not_keep_the_housekeeper_away),
                RUN(without_a_housekeeper_the_log_does_not_grow_for_ever),
                RUN(a_store_that_was_not_closed_is_looked_through),
                /* Last: from then on writes go through it. */
                RUN(every_write_may_fail_once_or_for_long),
        };

        if (argc == 6 && streq(argv[1], "--housekeeper"))
                return housekeeper_main(argv[2], argv[3], argv[4], argv[5]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
