/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The routes, as a client sees them. */

#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>

#include "test-api.h"

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

TEST(endpoints_are_listed) {
        json_t *page = get_json("/v1/");
        _cleanup_free_ char *paths = list(page, "path");

        ASSERT_NOT_NULL(strstr(paths, "/v1/states/{id}"));
        assert_json(json_object_get(page, "next"), "null");
        json_decref(page);
        expect_problem("GET", "/v1/sttus", NULL, 404, "not-found", "did you mean '/v1/status'");
        expect_problem("PUT", "/v1/status", NULL, 405, "method-not-allowed", "GET");
        expect_problem("GET", "/v1/status?verbose=1", NULL, 400, "bad-request", "verbose");
}

TEST(status_says_all) {
        _cleanup_answer_ Answer answer = {};
        json_t *status;

        engine.state = ENGINE_RUNNING;
        (void) status_set(engine.status, engine.store, 1, RESULT_FAILED, "broken");
        engine.runs[engine.n_runs++] = (EngineRun){ .id = store_next_run(engine.store), .over = true };
        engine.runs[engine.n_runs++] = (EngineRun){ .id = store_next_run(engine.store), .mode = RUN_PLAN };
        status = get_json("/v1/status");
        ASSERT_STREQ(json_string_value(json_object_get(status, "state")), "running");
        ASSERT_STREQ(json_string_value(json_object_get(status, "mode")), "apply");
        ASSERT_STREQ(json_string_value(json_object_get(status, "started")), "2026-11-21T13:32:00.123456Z");
        assert_json(json_object_get(status, "roles"),
                "{\"loaded\":\"2026-11-21T13:32:01.000001Z\",\"n_roles\":1,\"n_states\":3,\"errors\":[]}");
        assert_json(json_object_get(status, "states"),
                "{\"none\":2,\"ok\":0,\"changed\":0,\"drifted\":0,\"unknown\":0,\"failed\":1,\"skipped\":0,"
                "\"blocked\":0}");
        assert_json(json_object_get(status, "disabled"), "null");
        assert_json(json_object_get(status, "watches"),
                "{\"paths\":3,\"units\":2,\"signals\":1,"
                "\"errors\":[\"the system bus cannot be reached: Connection refused\"]}");
        ASSERT_EQ(json_array_size(json_object_get(status, "runs")), 1);
        ASSERT_EQ(json_integer_value(json_object_get(json_object_get(status, "last_run"), "run")),
                engine.runs[0].id);
        json_decref(status);

        /* Before the first load, and with errors. */
        adopt(NULL);
        engine.failed = true;
        engine.settings.audit = 1;
        (void) json_array_append_new(engine.errors, json_pack("{s:s, s:i, s:n, s:s}", "file", "/x.toml",
                                                            "line", 3, "column", "message", "it is wrong"));
        status = get_json("/v1/status");
        ASSERT_STREQ(json_string_value(json_object_get(status, "mode")), "audit");
        assert_json(json_object_get(json_object_get(status, "roles"), "loaded"), "null");
        ASSERT_EQ(json_array_size(json_object_get(json_object_get(status, "roles"), "errors")), 1);
        json_decref(status);
}

TEST(what_does_not_change_is_not_sent_again) {
        _cleanup_answer_ Answer first = get("/v1/states"), second = {}, third = {};
        _cleanup_free_ char *header = NULL;
        const char *tag = strcasestr(first.head, "\r\nETag: ");

        ASSERT_NOT_NULL(tag);
        assert_true(asprintf(&header, "If-None-Match: %.*s\r\n", (int) strcspn(tag + 8, "\r"), tag + 8) > 0);
        second = ask_with("GET", "/v1/states", header, NULL);
        ASSERT_EQ(second.status, 304);
        ASSERT_STREQ(second.text, "");
        (void) status_set(engine.status, engine.store, 0, RESULT_OK, NULL);
        third = ask_with("GET", "/v1/states", header, NULL);
        ASSERT_EQ(third.status, 200);
}

TEST(health) {
        _cleanup_answer_ Answer answer = get("/healthz");

        ASSERT_EQ(answer.status, 200);
        assert_json(answer.json, "{\"healthy\":true,\"reason\":null}");
        answer_done(&answer);

        adopt(NULL);
        answer = get("/healthz");
        ASSERT_EQ(answer.status, 503);
        assert_json(answer.json, "{\"healthy\":false,\"reason\":\"no roles have been loaded yet\"}");
        answer_done(&answer);

        /* Old roles are in force, and the new ones are wrong. */
        adopt(make_image(0, test_image_build));
        engine.failed = true;
        (void) json_array_append_new(engine.errors, json_pack("{s:s, s:i, s:n, s:s}", "file", "/x.toml",
                                                            "line", 3, "column", "message", "it is wrong"));
        answer = get("/healthz");
        ASSERT_EQ(answer.status, 503);
        assert_json(answer.json,
                "{\"healthy\":false,\"reason\":\"the last load failed: /x.toml:3: it is wrong\"}");
}

TEST(metrics_are_what_prometheus_reads) {
        _cleanup_answer_ Answer answer = {};
        const char *line, *end;
        char declared[128] = "";
        size_t n = 0;

        engine.counts.n_results[RESULT_CHANGED] = 7;
        engine.counts.load_usec = 1500;
        engine.runs[engine.n_runs++] = (EngineRun){ .id = store_next_run(engine.store), .over = true };
        (void) status_set(engine.status, engine.store, 1, RESULT_FAILED, "broken");
        answer = get("/metrics");
        ASSERT_EQ(answer.status, 200);
        ASSERT_NOT_NULL(strstr(answer.head, "text/plain; version=0.0.4"));
        ASSERT_NOT_NULL(strstr(answer.text, "\nagentd_states{result=\"failed\"} 1\n"));
        ASSERT_NOT_NULL(strstr(answer.text, "\nagentd_results_total{result=\"changed\"} 7\n"));
        ASSERT_NOT_NULL(strstr(answer.text, "\nagentd_last_load_duration_seconds 0.001500\n"));
        ASSERT_NOT_NULL(strstr(answer.text, "\nagentd_last_run_timestamp_seconds 1795267921.000000\n"));
        ASSERT_NOT_NULL(strstr(answer.text, "\nagentd_http_connections 1\n"));
        /* Each sample belongs to the family that was declared last, whose lines come in one piece. */
        for (line = answer.text; *line; line = end + 1) {
                const char *p = startswith(line, "# TYPE ");

                end = strchr(line, '\n');
                ASSERT_NOT_NULL(end);
                if (p)
                        (void) snprintf(declared, sizeof(declared), "%.*s", (int) strcspn(p, " "), p);
                else if (*line != '#') {
                        ASSERT_TRUE(strncmp(line, declared, strcspn(line, "{ ")) == 0);
                        ASSERT_EQ(strcspn(line, "{ "), strlen(declared));
                        n++;
                }
        }
        assert_true(n > 30);
}

TEST(states_are_listed) {
        static const struct {
                const char *query, *ids;
        } good[] = {
                { "", "file:/a file:/a/b service:c" },
                { "?limit=1000", "file:/a file:/a/b service:c" },
                { "?limit=2", "file:/a file:/a/b" },
                { "?result=none", "service:c" },
                { "?result=failed", "file:/a" },
                { "?result=changed", "" },
                { "?type=file", "file:/a file:/a/b" },
                { "?type=file&result=ok", "file:/a/b" },
                { "?role=web", "file:/a file:/a/b service:c" },
                { "?match=file:*", "file:/a file:/a/b" },
                { "?match=*:/a/*", "file:/a/b" },
                { "?match=file:/a", "file:/a" },
                { "?match=%5B", "" },
                { "?match=", "" },
                { "?after=0:file:/a", "file:/a/b service:c" },
                /* Where the id stands counts; the index where it is gone. */
                { "?after=2:file:/a", "file:/a/b service:c" },
                { "?after=1:file:/gone", "file:/a/b service:c" },
                { "?after=2:service:c", "" },
                { "?after=77:file:/gone", "" },
        };
        static const struct {
                const char *query, *detail;
        } bad[] = {
                { "?result=faild", "did you mean 'failed'" },
                { "?result=", "is not one of none, ok," },
                { "?type=fil", "did you mean 'file'" },
                { "?role=wbe", "did you mean 'web'" },
                { "?tag=nothing", "no state has the tag 'nothing'" },
                { "?role=", "is not one of web" },
                { "?limit=0", "limit" },
                { "?limit=1001", "limit" },
                { "?limit=x", "limit" },
                { "?limit=-1", "limit" },
                { "?limit=18446744073709551617", "limit" },
                { "?after=", "is no cursor" },
                { "?after=1", "is no cursor" },
                { "?after=1:", "is no cursor" },
                { "?after=x:file:/a", "is no cursor" },
                { "?after=-1:file:/a", "is no cursor" },
                { "?after=4294967295:file:/a", "is no cursor" },
                { "?after=99999999999999999999:file:/a", "is no cursor" },
                { "?after=file:/a", "is no cursor" },
                { "?kind=file", "kind" },
        };
        char target[128];

        (void) status_set(engine.status, engine.store, 0, RESULT_FAILED, "broken");
        (void) status_set(engine.status, engine.store, 1, RESULT_OK, NULL);
        FOREACH_ELEMENT(c, good) {
                (void) snprintf(target, sizeof(target), "/v1/states%s", c->query);
                expect_list(target, "state", c->ids);
        }
        FOREACH_ELEMENT(c, bad) {
                (void) snprintf(target, sizeof(target), "/v1/states%s", c->query);
                expect_problem("GET", target, NULL, 400, "bad-request", c->detail);
        }
        expect_pages("/v1/states", "state", "file:/a file:/a/b service:c");
        expect_pages("/v1/states?type=file", "state", "file:/a file:/a/b");

        adopt(NULL);
        expect_problem("GET", "/v1/states", NULL, 503, "not-ready", "no roles have been loaded yet");
        engine.state = ENGINE_STOPPING;
        expect_problem("GET", "/v1/states/file:%2Fa", NULL, 503, "not-ready", "agentd is stopping");
}

TEST(a_state_is_shown_with_its_neighbours) {
        json_t *shown,
                *differences = json_pack("[{s:s, s:s, s:n}]", "attribute", "mode", "is", "0600", "should");

        store_put_result(engine.store, &(StoreResult){ .run = 7,
                                               .time_usec = UINT64_C(1795267920123456),
                                               .state = "file:/a/b",
                                               .type = "file",
                                               .role = "web",
                                               .result = "changed",
                                               .differences = differences,
                                               .duration_usec = 3 });
        json_decref(differences);
        (void) status_set(engine.status, engine.store, 1, RESULT_FAILED, "broken");
        shown = get_json("/v1/states/file:%2Fa%2Fb");
        assert_json(json_object_get(shown, "state"), "\"file:/a/b\"");
        assert_json(json_object_get(shown, "name"), "\"/a/b\"");
        assert_json(json_object_get(shown, "result"), "\"failed\"");
        assert_json(json_object_get(shown, "error"), "\"broken\"");
        assert_json(json_object_get(shown, "file"), "\"/etc/agentd/conf.d/web.toml\"");
        assert_json(json_object_get(shown, "line"), "2");
        assert_json(json_object_get(shown, "timeout_usec"), "1000000");
        assert_json(json_object_get(shown, "requires"), "[\"file:/a\"]");
        assert_json(json_object_get(shown, "required_by"), "[\"service:c\"]");
        assert_json(json_object_get(shown, "watches"), "[{\"kind\":\"bus\",\"what\":\"\"}]");
        assert_json(json_object_get(shown, "interval_usec"), "60000000");
        assert_json(json_object_get(shown, "retries"), "0");
        assert_json(json_object_get(shown, "retry_delay_usec"), "null");
        assert_json(json_object_get(shown, "hooks"),
                "[{\"hook\":\"on_success\",\"command\":[\"/nonexistent/hook\"]}]");
        assert_json(json_object_get(shown, "check_on"), "[\"file:/a\"]");
        assert_json(json_object_get(shown, "reload_on"), "[]");
        assert_json(json_object_get(shown, "restart_on"), "[]");
        assert_json(json_object_get(shown, "history"),
                "[{\"run\":7,\"time\":\"2026-11-21T13:32:00.123456Z\",\"result\":\"changed\","
                "\"differences\":[{\"attribute\":\"mode\",\"is\":\"0600\",\"should\":null}],\"undo\":[],"
                "\"error\":null}"
                "]");
        json_decref(shown);

        shown = get_json("/v1/states/service:c");
        assert_json(json_object_get(shown, "result"), "null");
        assert_json(json_object_get(shown, "since"), "null");
        assert_json(json_object_get(shown, "requires"), "[\"file:/a/b\"]");
        assert_json(json_object_get(shown, "required_by"), "[]");
        assert_json(json_object_get(shown, "interval_usec"), "null");
        assert_json(json_object_get(shown, "hooks"), "[]");
        assert_json(json_object_get(shown, "check_on"), "[]");
        json_decref(shown);

        /* Encoded or not. */
        json_decref(get_json("/v1/states/file:/a/b"));
        expect_problem(
                "GET", "/v1/states/file:%2Fa%2Fc", NULL, 404, "not-found", "did you mean 'file:/a/b'?");
        expect_problem("GET", "/v1/states/servce:c", NULL, 404, "not-found", "did you mean 'service:c'?");
        expect_problem("GET", "/v1/states/package:nginx", NULL, 404, "not-found",
                "there is no state 'package:nginx'");
}

TEST(large_images_are_bounded) {
        json_t *shown, *list_;
        usec_t begin;

        adopt(make_image(1, build_large));
        shown = get_json("/v1/states/service:all");
        list_ = json_object_get(shown, "requires");
        ASSERT_EQ(json_array_size(list_), 1000);
        ASSERT_STREQ(json_string_value(json_array_get(list_, 0)), "file:/s/00000");
        ASSERT_STREQ(json_string_value(json_array_get(list_, 999)), "file:/s/00999");
        json_decref(shown);

        shown = get_json("/v1/states/service:x");
        ASSERT_EQ(json_array_size(json_object_get(shown, "required_by")), 1000);
        assert_json(json_object_get(shown, "requires"), "[]");
        json_decref(shown);

        shown = get_json("/v1/states/file:%2Fs%2F11999");
        assert_json(json_object_get(shown, "requires"), "[\"service:x\"]");
        assert_json(json_object_get(shown, "required_by"), "[\"service:all\"]");
        json_decref(shown);

        begin = now_usec(CLOCK_PROCESS_CPUTIME_ID);
        expect_problem(
                "GET", "/v1/states/file:%2Fs%2F1199x", NULL, 404, "not-found", "did you mean 'file:/s/1199");
        expect_problem(
                "GET", "/v1/states/file:%2Fs%2F11x99", NULL, 404, "not-found", "did you mean 'file:/s/11");
        expect_problem("GET", "/v1/states/fiel:%2Fs%2F11234", NULL, 404, "not-found",
                "did you mean 'file:/s/11234'");
        /* Even of the longest id that is nearly like all of them. */
        for (int i = 0; i < 50; i++)
                expect_problem(
                        "GET", "/v1/states/file:%2Fs%2Fxxxxx", NULL, 404, "not-found", "there is no state");
        assert_true(now_usec(CLOCK_PROCESS_CPUTIME_ID) - begin < 2 * USEC_PER_SEC);
        /* A glob that tries all ways to match. */
        expect_list("/v1/states?match=*s*s*s*1*1*1*9*9*9*0*x*x*y", "state", "");
        assert_true(now_usec(CLOCK_PROCESS_CPUTIME_ID) - begin < 5 * USEC_PER_SEC);
}

static void put_run(int64_t id, const char *mode) {
        json_t *summary = summary_to_json();

        store_put_run(engine.store, &(StoreRun){ .id = id,
                                            .mode = mode,
                                            .cause = "interval",
                                            .started_usec = 5,
                                            .finished_usec = 6,
                                            .summary = summary });
        json_decref(summary);
}

TEST(runs_are_merged) {
        static const char *const bad_ids[] = { "0", "x", "-1", "1x", "01", "99999999999999999999",
                "77777777777" };
        char expected[128], target[64];
        int64_t id[6];

        FOREACH_ELEMENT(i, id)
                *i = store_next_run(engine.store);
        /* Stored, remembered (a plan), stored, remembered and stored, active and stored, active. */
        put_run(id[0], "apply");
        engine.runs[0] = (EngineRun){ .id = id[1], .mode = RUN_PLAN, .over = true };
        put_run(id[2], "apply");
        engine.runs[1] = (EngineRun){ .id = id[3], .over = true };
        put_run(id[3], "apply");
        engine.runs[2] = (EngineRun){ .id = id[4] };
        put_run(id[4], "apply");
        engine.runs[3] = (EngineRun){ .id = id[5], .mode = RUN_PLAN };
        engine.n_runs = 4;

        (void) snprintf(expected, sizeof(expected),
                "%" PRIi64 " %" PRIi64 " %" PRIi64 " %" PRIi64 " %" PRIi64 " %" PRIi64, id[5], id[4], id[3],
                id[2], id[1], id[0]);
        expect_list("/v1/runs", "run", expected);
        expect_pages("/v1/runs", "run", expected);
        (void) snprintf(expected, sizeof(expected), "%" PRIi64 " %" PRIi64, id[5], id[1]);
        expect_list("/v1/runs?mode=plan", "run", expected);
        expect_pages("/v1/runs?mode=plan", "run", expected);
        (void) snprintf(expected, sizeof(expected), "%" PRIi64 " %" PRIi64 " %" PRIi64 " %" PRIi64, id[4],
                id[3], id[2], id[0]);
        expect_pages("/v1/runs?mode=apply", "run", expected);
        /* What is known best of the one that goes on. */
        (void) snprintf(target, sizeof(target), "/v1/runs?after=%" PRIi64 "&limit=1", id[5]);
        json_t *page = get_json(target);
        ASSERT_TRUE(json_is_object(
                json_object_get(json_array_get(json_object_get(page, "items"), 0), "progress")));
        json_decref(page);

        FOREACH_ELEMENT(i, id) {
                (void) snprintf(target, sizeof(target), "/v1/runs/%" PRIi64, *i);
                json_decref(get_json(target));
        }
        expect_problem("GET", "/v1/runs?mode=pln", NULL, 400, "bad-request", "did you mean 'plan'");
        expect_problem("GET", "/v1/runs?after=0", NULL, 400, "bad-request", "after");
        expect_problem("GET", "/v1/runs?after=x", NULL, 400, "bad-request", "after");
        FOREACH_ELEMENT(bad, bad_ids) {
                (void) snprintf(target, sizeof(target), "/v1/runs/%s", *bad);
                expect_problem("GET", target, NULL, 404, "not-found", "there is no run");
        }
}

TEST(runs_are_stopped) {
        _cleanup_answer_ Answer answer = {};
        char target[64];

        engine.runs[engine.n_runs++] = (EngineRun){ .id = store_next_run(engine.store) };
        engine.runs[engine.n_runs++] = (EngineRun){ .id = store_next_run(engine.store), .mode = RUN_PLAN };
        (void) snprintf(target, sizeof(target), "/v1/runs/%" PRIi64, engine.runs[0].id);
        answer = ask_with("DELETE", target, NULL, NULL);
        ASSERT_EQ(answer.status, 202);
        answer_done(&answer);
        (void) snprintf(target, sizeof(target), "/v1/runs/%" PRIi64, engine.runs[1].id);
        for (int i = 0; i < 2; i++) {
                answer = ask_with("DELETE", target, NULL, NULL);
                ASSERT_EQ(answer.status, 200);
                assert_json(json_object_get(answer.json, "progress"), "null");
                answer_done(&answer);
        }
        expect_problem("DELETE", "/v1/runs/99", NULL, 404, "not-found", "there is no run '99'");
}

TEST(results_are_listed) {
        static const char *const states[] = { "file:/3", "file:/1", "file:/2" };
        static const char *const words[] = { "drifted", "ok", "unknown", "ok" };
        char target[64];
        int64_t id = store_next_run(engine.store), plan = store_next_run(engine.store);
        json_t *differences = json_array();

        put_run(id, "apply");
        FOREACH_ELEMENT(id_, states)
                store_put_result(engine.store, &(StoreResult){ .run = id,
                                                       .time_usec = 5,
                                                       .state = *id_,
                                                       .type = "file",
                                                       .role = "web",
                                                       .result = "failed",
                                                       .differences = differences,
                                                       .error = "broken" });
        json_decref(differences);
        (void) snprintf(target, sizeof(target), "/v1/runs/%" PRIi64 "/results", id);
        expect_list(target, "state", "file:/3 file:/1 file:/2");
        expect_pages(target, "state", "file:/3 file:/1 file:/2");

        engine.runs[engine.n_runs++] = (EngineRun){ .id = plan, .mode = RUN_PLAN, .results = json_array() };
        (void) snprintf(target, sizeof(target), "/v1/runs/%" PRIi64 "/results", plan);
        expect_list(target, "state", "");
        FOREACH_ELEMENT(result, words)
                (void) json_array_append_new(engine.runs[0].results, result_of("file:/a", *result));
        expect_list(target, "result", "drifted unknown");
        expect_pages(target, "result", "drifted unknown");
        expect_problem("GET", "/v1/runs/99/results", NULL, 404, "not-found", "there is no run '99'");
        expect_problem("GET", "/v1/runs/1/results?after=0", NULL, 400, "bad-request", "after");
}

TEST(a_run_is_started) {
        static const char *const targets[] = { "/v1/runs", "/v1/runs?follow=true" };
        static const struct {
                const char *body, *detail;
        } bad[] = {
                { "[]", "JSON object" },
                { "{", "JSON" },
                { "{\"mod\": \"plan\"}", "did you mean 'mode'" },
                { "{\"mode\": \"pln\"}", "did you mean 'plan'" },
                { "{\"mode\": 1}", "'mode' is not a string" },
                { "{\"mode\": null}", "'mode' is not a string" },
                { "{\"states\": \"file:/a\"}", "'states' is not a list" },
                { "{\"states\": []}", "'states' is not a list" },
                { "{\"states\": [1]}", "'states' has an item" },
                { "{\"states\": [\"\"]}", "'states' has an item" },
                { "{\"diff\": 1}", "'diff' is neither true nor false" },
                { "{\"only_failed\": \"yes\"}", "'only_failed' is neither true nor false" },
                { "{\"progress\": []}", "'progress' is neither true nor false" },
                { "{\"tags\": \"web\"}", "'tags' is not a list of 1 to 64 tags" },
                { "{\"tags\": []}", "'tags' is not a list of 1 to 64 tags" },
                { "{\"tags\": [1]}", "'tags' has an item that is no tag" },
                { "{\"tags\": [\"a\", \"\"]}", "'tags' has an item that is no tag" },
                { "{\"vars\": \"a=b\"}", "'vars' is not a list of at most 64 texts NAME=VALUE" },
                { "{\"vars\": [1]}", "'vars' has an item that is not NAME=VALUE, number 1" },
                { "{\"vars\": [\"a=b\", \"secret\"]}",
                        "'vars' has an item that is not NAME=VALUE, number 2" },
                { "{\"vars\": [\"=b\"]}", "'vars' has an item that is not NAME=VALUE, number 1" },
                { "{\"vars\": [\"a\\u0000=b\"]}", "" },
        };
        _cleanup_answer_ Answer answer = ask_with("POST", "/v1/runs", NULL, NULL);
        _cleanup_free_ char *many = NULL;
        char location[64];
        size_t size;
        FILE *f;

        ASSERT_EQ(answer.status, 202);
        ASSERT_EQ(engine.request.mode, RUN_APPLY);
        ASSERT_STREQ(engine.request.cause, "request");
        ASSERT_EQ(engine.n_patterns, 0);
        ASSERT_NULL(engine.request.follower);
        (void) snprintf(
                location, sizeof(location), "\r\nLocation: /v1/runs/%" PRIi64 "\r\n", engine.runs[0].id);
        ASSERT_NOT_NULL(strcasestr(answer.head, location));
        answer_done(&answer);

        answer = ask_with("POST", "/v1/runs", NULL,
                "{\"mode\": \"plan\", \"states\": [\"file:/*\"], \"only_failed\": true, \"diff\": true, "
                "\"progress\": true}");
        ASSERT_EQ(answer.status, 202);
        ASSERT_EQ(engine.request.mode, RUN_PLAN);
        ASSERT_TRUE(engine.request.only_failed && engine.request.diff);
        ASSERT_EQ(engine.n_patterns, 1);
        ASSERT_STREQ(engine.pattern, "file:/*");

        FOREACH_ELEMENT(c, bad)
                expect_problem("POST", "/v1/runs", c->body, 400, "bad-request", c->detail);
        expect_problem("POST", "/v1/runs?follow=perhaps", NULL, 400, "bad-request", "follow");
        f = open_memstream(&many, &size);
        (void) fputs("{\"states\": [\"a\"", f);
        for (int i = 0; i < API_PATTERNS_MAX; i++)
                (void) fputs(", \"a\"", f);
        (void) fputs("]}", f);
        (void) fclose(f);
        expect_problem("POST", "/v1/runs", many, 400, "bad-request", "1 to 256");
        ASSERT_EQ(engine.n_runs, 2);

        FOREACH_ELEMENT(target, targets) {
                engine.r = -ENOENT;
                expect_problem("POST", *target, "{\"states\": [\"file:/a/c\"]}", 404, "not-found",
                        "there is no state 'file:/a/c'; did you mean 'file:/a/b'?");
                engine.r = -EAGAIN;
                expect_problem("POST", *target, "{}", 503, "not-ready", "no roles");
                engine.r = -EBUSY;
                expect_problem("POST", *target, "{}", 429, "too-many", "16 runs");
                engine.r = -ESHUTDOWN;
                expect_problem("POST", *target, "{}", 503, "not-ready", "");
                engine.r = -ENOMEM;
                expect_problem("POST", *target, "{}", 500, "internal", "failed to start a run");
                engine.r = 0;
                ASSERT_OK(engine_disable(&engine, "holidays", "ada", 0));
                engine.r = -EPERM;
                expect_problem("POST", *target, "{}", 409, "conflict", "disabled by ada: holidays");
                engine.r = 0;
                ASSERT_OK(engine_enable(&engine, "ada"));
        }
}

TEST(a_run_is_followed) {
        Client client;
        json_t *line = result_of("file:/a", "changed");

        client_init(&client);
        client_send(&client, "POST", "/v1/runs?follow=true", NULL, "{\"progress\": true}");
        while (!engine.follower.userdata)
                turn(&client);
        ASSERT_TRUE(engine.follower.progress);
        engine.follower.on_line(engine.follower.userdata, line);
        json_decref(line);
        line = next_line(&client, "/v1/runs");
        ASSERT_STREQ(json_string_value(json_object_get(line, "result")), "changed");
        ASSERT_NOT_NULL(strstr(client.data, "application/x-ndjson"));
        json_decref(line);

        line = json_pack(
                "{s:{s:i, s:i, s:i, s:[]}}", "progress", "run", 7, "done", 1, "total", 3, "running");
        engine.follower.on_line(engine.follower.userdata, line);
        json_decref(line);
        engine.runs[0].over = true;
        line = engine_run_to_json(&engine.runs[0], false);
        engine.follower.on_line(engine.follower.userdata, line);
        json_decref(line);
        engine.follower.on_end(engine.follower.userdata);
        json_decref(next_line(&client, "/v1/runs"));
        json_decref(next_line(&client, "/v1/runs"));
        ASSERT_NULL(next_line(&client, "/v1/runs"));
        ASSERT_NULL(api->clients);
        ASSERT_EQ(engine.n_unfollowed, 0);
        client_done(&client);
}

TEST(who_goes_away_follows_no_longer) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;
        Client client;

        client_init(&client);
        client_send(&client, "POST", "/v1/runs?follow=true", NULL, NULL);
        while (!engine.follower.userdata)
                turn(&client);
        client_done(&client);
        while (engine.n_unfollowed == 0 && now_usec(CLOCK_MONOTONIC) < deadline)
                turn(NULL);
        ASSERT_EQ(engine.n_unfollowed, 1);
        ASSERT_NULL(api->clients);
}

TEST(events_are_listed) {
        char target[128], expected[128];
        int64_t first;

        emit(EVENT_STARTED, 0, NULL);
        first = store_last_event(engine.store);
        emit(EVENT_STATE_CHANGED, 7, "file:/a");
        emit(EVENT_STATE_FAILED, 7, "file:/a/b");
        emit(EVENT_STATE_CHANGED, 8, "service:c");
        (void) snprintf(expected, sizeof(expected), "%" PRIi64 " %" PRIi64 " %" PRIi64 " %" PRIi64, first,
                first + 1, first + 2, first + 3);
        expect_list("/v1/events", "event", expected);
        expect_pages("/v1/events", "event", expected);
        (void) snprintf(target, sizeof(target), "/v1/events?after=%" PRIi64, first);
        expect_list(target, "kind", "state-changed state-failed state-changed");
        expect_list("/v1/events?kind=state-changed", "state", "file:/a service:c");
        expect_pages("/v1/events?kind=state-changed", "state", "file:/a service:c");
        expect_list("/v1/events?kind=started,state-failed", "kind", "started state-failed");
        expect_pages("/v1/events?kind=started,state-failed", "kind", "started state-failed");
        expect_list("/v1/events?state=file:*", "state", "file:/a file:/a/b");
        expect_list("/v1/events?run=8", "state", "service:c");
        expect_list("/v1/events?run=7&kind=state-failed,state-changed&state=*b", "state", "file:/a/b");
        expect_list("/v1/events?kind=stopped,enabled", "event", "");
        expect_list("/v1/events?after=9223372036854775807", "event", "");

        expect_problem("GET", "/v1/events?kind=state-chnged", NULL, 400, "bad-request",
                "did you mean 'state-changed'");
        expect_problem("GET", "/v1/events?kind=", NULL, 400, "bad-request", "kind ''");
        expect_problem("GET", "/v1/events?kind=started,", NULL, 400, "bad-request", "kind ''");
        expect_problem("GET", "/v1/events?kind=started,,stopped", NULL, 400, "bad-request", "kind ''");
        expect_problem(
                "GET", "/v1/events?kind=started%20", NULL, 400, "bad-request", "did you mean 'started'");
        expect_problem("GET", "/v1/events?run=0", NULL, 400, "bad-request", "run");
        expect_problem("GET", "/v1/events?after=x", NULL, 400, "bad-request", "after");
        expect_problem("GET", "/v1/events?after=9223372036854775808", NULL, 400, "bad-request", "after");
        expect_problem("GET", "/v1/events?follow=maybe", NULL, 400, "bad-request", "follow");
}

/* What is looked at for one page is bounded, whatever the filter. */
TEST(rare_events_are_found) {
        json_t *page;

        for (int i = 0; i < 5000; i++)
                emit(i == 4500 ? EVENT_DISABLED : EVENT_STATE_CHANGED, 7, "file:/a");
        page = get_json("/v1/events?state=nowhere*");
        ASSERT_EQ(json_array_size(json_object_get(page, "items")), 0);
        ASSERT_TRUE(json_is_string(json_object_get(page, "next")));
        json_decref(page);
        expect_pages("/v1/events?kind=disabled,enabled", "kind", "disabled");
        expect_pages("/v1/events?kind=disabled,enabled&state=file:*", "kind", "disabled");
        expect_pages("/v1/events?state=nowhere*", "kind", "");
}

/* fnmatch() looks for the end of a bracket again and again. */
TEST(globs_are_bounded) {
        static const char *const targets[] = { "/v1/states?match=*", "/v1/events?state=*",
                "/v1/events?follow=true&state=*" };
        char target[9000], body[9000];
        json_t *page;
        usec_t begin;

        FOREACH_ELEMENT(t, targets)
                for (int i = 0; i < 2; i++) {
                        (void) snprintf(target, sizeof(target), "%s%s%0*d", *t, i == 0 ? "" : "[]",
                                i == 0 ? API_GLOB_MAX : API_BRACKET_MAX, 1);
                        expect_problem("GET", target, NULL, 400, "bad-request", "too long for a glob");
                }
        (void) snprintf(body, sizeof(body), "{\"states\": [\"*%0*d\"]}", API_GLOB_MAX, 1);
        expect_problem("POST", "/v1/runs", body, 400, "bad-request", "too long for a glob");

        /* The worst that is allowed is done a part at a time. */
        adopt(make_image(1, build_large));
        begin = now_usec(CLOCK_PROCESS_CPUTIME_ID);
        (void) snprintf(target, sizeof(target), "/v1/states?match=*[]%0*d", API_BRACKET_MAX - 3, 1);
        page = get_json(target);
        ASSERT_EQ(json_array_size(json_object_get(page, "items")), 0);
        ASSERT_TRUE(json_is_string(json_object_get(page, "next")));
        json_decref(page);
        expect_pages(target, "state", "");
        expect_pages("/v1/states?match=*[s]:/s/1199[89]", "state", "");
        expect_pages("/v1/states?match=*/1199[89]", "state", "file:/s/11999 file:/s/11998");
        assert_true(now_usec(CLOCK_PROCESS_CPUTIME_ID) - begin < 5 * USEC_PER_SEC);
}

TEST(pages_are_bounded) {
        _cleanup_free_ char *large = malloc(KIB(300) + 1);
        json_t *results = json_array(), *page;

        memset(large, 'x', KIB(300));
        large[KIB(300)] = 0;
        for (int i = 0; i < 5; i++) {
                json_t *result = result_of("file:/a", "drifted");

                (void) json_object_set_new(result, "error", json_string(large));
                (void) json_array_append_new(results, result);
        }
        engine.runs[engine.n_runs++] =
                (EngineRun){ .id = store_next_run(engine.store), .mode = RUN_PLAN, .results = results };
        page = get_json("/v1/runs/1/results?limit=1000");
        ASSERT_EQ(json_array_size(json_object_get(page, "items")), 2);
        ASSERT_STREQ(json_string_value(json_object_get(page, "next")), "2");
        json_decref(page);
        expect_pages("/v1/runs/1/results", "result", "drifted drifted drifted drifted drifted");
}

TEST(events_are_followed_without_gap_and_without_double) {
        Client client;
        int64_t id;

        for (int i = 0; i < 100; i++)
                emit(EVENT_STATE_CHANGED, 7, "file:/a");
        id = store_last_event(engine.store) - 100;
        client_init(&client);
        client_send(&client, "GET", "/v1/events?follow=true&after=0", NULL, NULL);
        /* More come while it reads what was there, and after that. */
        for (int i = 0; i < 100; i++) {
                if (i % 10 == 0)
                        emit(EVENT_STATE_FAILED, 7, "file:/a/b");
                expect_event(&client, ++id);
        }
        for (int i = 0; i < 10; i++)
                expect_event(&client, ++id);
        for (int i = 0; i < 5; i++) {
                expect_quiet(&client);
                emit(EVENT_STATE_CHANGED, 7, "file:/a");
                expect_event(&client, ++id);
        }
        client_done(&client);

        /* From where the first one stopped. */
        char target[64];
        (void) snprintf(target, sizeof(target), "/v1/events?follow=true&after=%" PRIi64, id - 2);
        client_init(&client);
        client_send(&client, "GET", target, NULL, NULL);
        expect_event(&client, id - 1);
        expect_event(&client, id);
        expect_quiet(&client);
        client_done(&client);

        /* From now on. */
        client_init(&client);
        client_send(&client, "GET", "/v1/events?follow=true", NULL, NULL);
        while (!api->clients)
                turn(&client);
        expect_quiet(&client);
        emit(EVENT_STATE_CHANGED, 7, "file:/a");
        expect_event(&client, id + 1);
        client_done(&client);
}

/* The disk is full: what happens while a stream still reads what was there is in no store for it to find. */
TEST(events_that_cannot_be_stored_are_followed) {
        struct rlimit limit, full;
        FILE *kept = TAKE_PTR(answers);
        Client client;
        int64_t id;

        for (int i = 0; i < 2000; i++)
                emit(EVENT_STATE_CHANGED, 7, "file:/a");
        ASSERT_OK(store_flush(engine.store));
        id = store_last_event(engine.store) - 2000;
        client_init(&client);
        client_send(&client, "GET", "/v1/events?follow=true&after=0", NULL, NULL);
        expect_event(&client, ++id);

        trouble_expected = true;
        (void) signal(SIGXFSZ, SIG_IGN);
        ASSERT_OK(getrlimit(RLIMIT_FSIZE, &limit));
        full = (struct rlimit){ .rlim_cur = 1, .rlim_max = limit.rlim_max };
        ASSERT_OK(setrlimit(RLIMIT_FSIZE, &full));
        for (int i = 0; i < 5; i++)
                emit(EVENT_STATE_FAILED, 7, "file:/a/b");
        assert_true(store_flush(engine.store) < 0);
        for (int i = 0; i < 2004; i++)
                expect_event(&client, ++id);
        expect_quiet(&client);
        ASSERT_NOT_NULL(store_error(engine.store));
        ASSERT_OK(setrlimit(RLIMIT_FSIZE, &limit));
        client_done(&client);
        answers = kept;
}

TEST(events_are_followed_through_filters) {
        Client client;
        int64_t id;

        for (int i = 0; i < 2500; i++)
                emit(EVENT_STATE_CHANGED, 7, "file:/a");
        emit(EVENT_STATE_FAILED, 7, "file:/a");
        id = store_last_event(engine.store);
        client_init(&client);
        client_send(&client, "GET", "/v1/events?follow=true&after=0&kind=state-failed,stopped&state=file:*",
                NULL, NULL);
        expect_event(&client, id);
        emit(EVENT_STATE_FAILED, 7, "service:c");
        emit(EVENT_STATE_CHANGED, 7, "file:/a");
        emit(EVENT_STATE_FAILED, 7, "file:/a");
        expect_event(&client, id + 3);
        expect_quiet(&client);
        client_done(&client);
}

TEST(requests_wait_for_the_engine) {
        static const struct {
                const char *method, *target;
        } requests[] = { { "POST", "/v1/reload" }, { "POST", "/v1/validate" }, { "GET", "/v1/facts" } };
        json_t *none = json_array(),
               *errors = json_pack(
                       "[{s:s, s:i, s:i, s:s}]", "file", "/x", "line", 1, "column", 2, "message", "wrong"),
               *counts = json_pack("{s:i, s:i}", "n_roles", 1, "n_states", 3),
               *loaded = json_pack("{s:i, s:i, s:b, s:n, s:i, s:[]}", "n_roles", 1, "n_states", 3, "changed",
                       1, "run", "n_run_states", 0, "diagnostics");
        Client clients[ELEMENTSOF(requests)];

        for (int round = 0; round < 3; round++) {
                for (size_t i = 0; i < ELEMENTSOF(requests); i++) {
                        _cleanup_answer_ Answer answer = {};
                        Request request;

                        client_init(&clients[i]);
                        client_send(&clients[i], requests[i].method, requests[i].target, NULL, NULL);
                        while (engine.n_waiting == 0)
                                turn(&clients[i]);
                        request = engine.waiting[--engine.n_waiting];
                        if (request.on_facts)
                                request.on_facts(request.userdata, round == 0 ? "{\"os\":{}}" : NULL, 9,
                                        round == 0 ? NULL : "the loader was killed");
                        else
                                request.on_loaded(request.userdata,
                                        round > 0 ? NULL
                                        : i == 0  ? loaded
                                                  : counts,
                                        round == 1 ? errors : none);
                        answer = finish(&clients[i], requests[i].method, requests[i].target);
                        client_done(&clients[i]);
                        if (round == 0) {
                                ASSERT_EQ(answer.status, 200);
                                ASSERT_EQ(!strcasestr(answer.head, "\r\nETag:"), i < 2);
                        } else if (round == 1 && i == 0) {
                                assert_problem(&answer, 422, "invalid-roles", "1 error;");
                                ASSERT_EQ(json_array_size(json_object_get(answer.json, "diagnostics")), 1);
                        } else if (round == 1 && i == 1) {
                                ASSERT_EQ(answer.status, 200);
                                assert_json(json_object_get(answer.json, "valid"), "false");
                                assert_json(json_object_get(answer.json, "n_roles"), "null");
                        } else
                                assert_problem(&answer, 500, "internal", "");
                }
        }
        json_decref(none);
        json_decref(errors);
        json_decref(counts);
        json_decref(loaded);

        engine.r = -EBUSY;
        expect_problem("POST", "/v1/validate", NULL, 429, "too-many", "try again");
        expect_problem("GET", "/v1/facts", NULL, 429, "too-many", "try again");
        engine.r = -ESHUTDOWN;
        expect_problem("POST", "/v1/reload", NULL, 503, "not-ready", "");
        expect_problem("POST", "/v1/reload", "{\"force\": true}", 400, "bad-request", "unknown key 'force'");
}

static void wait_for_waiting(Client *client) {
        while (engine.n_waiting == 0)
                turn(client);
}

TEST(a_run_waits_for_roles_that_are_due) {
        Request request;
        Client client;
        Answer answer;

        engine.is_due = true;
        /* What is wrong by itself need not wait. */
        expect_problem("POST", "/v1/runs", "{\"mode\": \"undo\"}", 400, "bad-request", "undo");
        for (int round = 0; round < 2; round++) {
                client_init(&client);
                client_send(&client, "POST", "/v1/runs", NULL,
                        "{\"mode\": \"plan\", \"states\": [\"file:/a\"]}");
                wait_for_waiting(&client);
                ASSERT_EQ(engine.n_runs, (unsigned) round);
                request = engine.waiting[--engine.n_waiting];
                /* Also if the load has failed: it is over the roles of before. */
                request.on_loaded(request.userdata, round == 0 ? json_true() : NULL, json_null());
                ASSERT_EQ(engine.n_runs, (unsigned) round + 1);
                ASSERT_EQ(engine.request.mode, RUN_PLAN);
                assert_string_equal(engine.pattern, "file:/a");
                answer = finish(&client, "POST", "/v1/runs");
                ASSERT_EQ(answer.status, 202);
                answer_done(&answer);
                client_done(&client);
        }

        /* Who has gone meanwhile does not want it any more. */
        client_init(&client);
        client_send(&client, "POST", "/v1/runs?follow=true", NULL, NULL);
        wait_for_waiting(&client);
        client_done(&client);
        settle();
        request = engine.waiting[--engine.n_waiting];
        request.on_loaded(request.userdata, json_true(), json_null());
        settle();
        ASSERT_EQ(engine.n_runs, 2);
        ASSERT_NULL(api->clients);
        engine.r = -ESHUTDOWN;
        expect_problem("POST", "/v1/runs", NULL, 503, "not-ready", "");
}

TEST(a_run_with_variables_waits_for_a_load_of_its_own) {
        static const char body[] = "{\"vars\": [\"port=81\", \"name=x=y\"]}";
        json_t *errors = json_pack(
                       "[{s:s, s:i, s:i, s:s}]", "file", "/x", "line", 1, "column", 2, "message", "wrong"),
               *none = json_array(), *warnings = json_pack("[s, s]", "--var prot: no role reads it", "b"),
               *line;
        Request request;
        Client client;
        Answer answer;

        for (int round = 0; round < 4; round++) {
                client_init(&client);
                client_send(&client, "POST", round == 3 ? "/v1/runs?follow=true" : "/v1/runs", NULL, body);
                wait_for_waiting(&client);
                ASSERT_STREQ(engine.vars, "port=81|name=x=y");
                request = engine.waiting[--engine.n_waiting];
                if (round == 3) {
                        /* Who has gone does not want it any more. */
                        client_done(&client);
                        settle();
                }
                request.on_image(request.userdata, round == 0 || round == 3 ? engine.image : NULL,
                        round == 1 ? errors : none, round == 0 ? warnings : NULL);
                if (round == 3) {
                        settle();
                        break;
                }
                answer = finish(&client, "POST", "/v1/runs");
                if (round == 0) {
                        ASSERT_EQ(answer.status, 202);
                        ASSERT_TRUE(engine.request.image == engine.image);
                        assert_json(json_object_get(answer.json, "warnings"),
                                "[\"--var prot: no role reads it\",\"b\"]");
                } else if (round == 1) {
                        assert_problem(&answer, 422, "invalid-roles",
                                "with these variables the roles have 1 error;");
                        ASSERT_EQ(json_array_size(json_object_get(answer.json, "diagnostics")), 1);
                } else
                        assert_problem(&answer, 500, "internal", "the loader failed");
                answer_done(&answer);
                client_done(&client);
        }
        ASSERT_EQ(engine.n_runs, 1);
        ASSERT_NULL(api->clients);

        /* Who follows is warned first, and not at all if there is nothing to say. */
        for (int round = 0; round < 2; round++) {
                client_init(&client);
                client_send(&client, "POST", "/v1/runs?follow=true", NULL, body);
                wait_for_waiting(&client);
                request = engine.waiting[--engine.n_waiting];
                request.on_image(request.userdata, engine.image, none, round == 0 ? warnings : none);
                line = result_of("file:/a", "changed");
                engine.follower.on_line(engine.follower.userdata, line);
                json_decref(line);
                engine.follower.on_end(engine.follower.userdata);
                line = next_line(&client, "/v1/runs");
                if (round == 0) {
                        assert_json(line, "{\"warnings\":[\"--var prot: no role reads it\",\"b\"]}");
                        json_decref(line);
                        line = next_line(&client, "/v1/runs");
                }
                ASSERT_STREQ(json_string_value(json_object_get(line, "result")), "changed");
                json_decref(line);
                ASSERT_NULL(next_line(&client, "/v1/runs"));
                client_done(&client);
        }
        json_decref(errors);
        json_decref(none);
        json_decref(warnings);

        engine.r = -EBUSY;
        expect_problem("POST", "/v1/runs", body, 429, "too-many", "too many loads");
        engine.r = -ESHUTDOWN;
        expect_problem("POST", "/v1/runs", body, 503, "not-ready", "");
        engine.r = 0;
        /* Nothing is loaded for what is refused anyway. */
        ASSERT_OK(engine_disable(&engine, "holidays", "ada", 0));
        expect_problem("POST", "/v1/runs", body, 409, "conflict", "disabled by ada: holidays");
        ASSERT_EQ(engine.n_waiting, 0);
        engine.r = -EUSERS;
        expect_problem("POST", "/v1/runs", "{\"mode\": \"plan\"}", 429, "too-many",
                "4 runs with variables of their own");
}

/* What the engine says to who asks for an explanation of file:/a/b. */
static Answer explain(const char *text, bool found, const json_t *diagnostics) {
        static const char target[] = "/v1/states/file:%2fa%2fb/explain";
        Client client;
        Request request;
        Answer answer;

        client_init(&client);
        client_send(&client, "GET", target, NULL, NULL);
        while (engine.n_waiting == 0)
                turn(&client);
        ASSERT_STREQ(engine.pattern, "file:/a/b");
        request = engine.waiting[--engine.n_waiting];
        request.on_explained(request.userdata, text, text ? strlen(text) : 0, found, diagnostics);
        answer = finish(&client, "GET", target);
        client_done(&client);
        return answer;
}

TEST(states_are_explained) {
        static const char text[] =
                "{\"state\":\"file:/a/b\",\"type\":\"file\",\"name\":\"/a/"
                "b\",\"role\":{\"name\":\"web\",\"path\":"
                "\"/w\",\"applied\":true,\"imported\":[]},\"place\":null,\"names\":[],\"module\":\"/"
                "m\",\"sensitive\":false,"
                "\"audit\":null,\"for_each\":null,\"when\":null,\"settings\":[],"
                "\"requires\":[],\"n_requires\":0,"
                "\"required_by\":[],\"n_required_by\":0}\n";
        _cleanup_answer_ Answer answer = {};
        json_t *none = json_array(),
               *errors = json_pack(
                       "[{s:s, s:i, s:i, s:s}]", "file", "/x", "line", 1, "column", 2, "message", "wrong"),
               *status;

        /* Each requires the one before; the group in between is none that could fail. */
        (void) status_set(engine.status, engine.store, 0, RESULT_FAILED, "no room");
        (void) status_set(engine.status, engine.store, 1, RESULT_BLOCKED, "file:/a failed");
        engine.fighting = true;
        answer = explain(text, true, none);
        ASSERT_EQ(answer.status, 200);
        ASSERT_STREQ(json_string_value(json_object_get(answer.json, "state")), "file:/a/b");
        assert_json(json_object_get(json_object_get(answer.json, "explanation"), "place"), "null");
        status = json_object_get(answer.json, "status");
        ASSERT_STREQ(json_string_value(json_object_get(status, "result")), "blocked");
        assert_json(json_object_get(status, "blocked_by"),
                "[{\"state\":\"file:/a\",\"result\":\"failed\",\"error\":\"no room\"}]");
        assert_json(json_object_get(status, "fight"), "false");
        assert_json(json_object_get(status, "disabled"), "null");
        answer_done(&answer);

        /* One that is in the roles by now, and not in force. */
        adopt(NULL);
        answer = explain(text, true, none);
        assert_json(json_object_get(answer.json, "status"), "null");
        answer_done(&answer);

        answer = explain("there is no state 'x'; did you mean 'y'?", false, none);
        assert_problem(&answer, 404, "not-found", "there is no state 'x'; did you mean 'y'?");
        answer_done(&answer);
        answer = explain(NULL, false, errors);
        assert_problem(&answer, 422, "invalid-roles",
                "the roles have 1 error; states are explained by roles that load");
        ASSERT_EQ(json_array_size(json_object_get(answer.json, "diagnostics")), 1);
        answer_done(&answer);
        answer = explain(NULL, false, none);
        assert_problem(&answer, 500, "internal", "the loader failed");
        json_decref(none);
        json_decref(errors);

        engine.r = -EBUSY;
        expect_problem("GET", "/v1/states/a:b/explain", NULL, 429, "too-many", "try again");
        engine.r = -ESHUTDOWN;
        expect_problem("GET", "/v1/states/a:b/explain", NULL, 503, "not-ready", "");
        engine.r = 0;
        expect_problem("GET", "/v1/states/a:b/explain?x=1", NULL, 400, "bad-request", "x");
}

/* A chain leads to what failed, whatever else is blocked. */
TEST(a_chain_of_blocked_states_ends_where_it_began) {
        json_t *status;

        (void) status_set(engine.status, engine.store, 0, RESULT_FAILED, "no room");
        (void) status_set(engine.status, engine.store, 1, RESULT_BLOCKED, NULL);
        (void) status_set(engine.status, engine.store, 2, RESULT_BLOCKED, NULL);
        status = api_state_status(api, "service:c");
        assert_json(json_object_get(status, "blocked_by"),
                "[{\"state\":\"file:/a/b\",\"result\":\"blocked\",\"error\":null},{\"state\":\"file:/"
                "a\",\"result\":"
                "\"failed\",\"error\":\"no room\"}]");
        json_decref(status);

        engine.fighting = true;
        status = api_state_status(api, "file:/a");
        assert_json(json_object_get(status, "blocked_by"), "[]");
        assert_json(json_object_get(status, "fight"), "true");
        json_decref(status);
}

TEST(who_waits_when_it_ends_is_forgotten) {
        Client clients[3];

        client_init(&clients[0]);
        client_send(&clients[0], "POST", "/v1/reload", NULL, NULL);
        client_init(&clients[1]);
        client_send(&clients[1], "GET", "/v1/events?follow=true&after=0", NULL, NULL);
        client_init(&clients[2]);
        client_send(&clients[2], "POST", "/v1/runs?follow=true", NULL, NULL);
        while (engine.n_waiting == 0 || !engine.follower.userdata || !api->clients->next ||
                !api->clients->next->next)
                turn(&clients[0]);
        api = api_free(api);
        ASSERT_EQ(engine.n_forgotten, 1);
        ASSERT_EQ(engine.n_unfollowed, 1);
        /* Nobody listens any more. */
        emit(EVENT_STARTED, 0, NULL);
        settle();
        FOREACH_ELEMENT(client, clients)
                client_done(client);
}

TEST(the_host_is_disabled_and_enabled) {
        static const char *const bad[] = {
                "{}",
                "{\"reason\": \"\"}",
                "{\"reason\": \"  \"}",
                "{\"reason\": null}",
                "{\"reason\": 1}",
                "{\"reason\": \"two\\nlines\"}",
                "{\"reason\": \"\\u001b[31m\"}",
                "{\"reason\": \"\\u009b31m\"}",
                "{\"reason\": \"x\", \"for\": \"\"}",
                "{\"reason\": \"x\", \"for\": \"soon\"}",
                "{\"reason\": \"x\", \"for\": \"0\"}",
                "{\"reason\": \"x\", \"for\": \"-1h\"}",
                "{\"reason\": \"x\", \"for\": 5}",
                "{\"reason\": \"x\", \"until\": \"2h\"}",
        };
        _cleanup_answer_ Answer answer = {};
        _cleanup_free_ char *body = NULL;
        char reason[API_REASON_MAX + 2];

        FOREACH_ELEMENT(b, bad)
                expect_problem("POST", "/v1/disable", *b, 400, "bad-request", "");
        expect_problem("POST", "/v1/disable", NULL, 400, "bad-request", "'reason' is missing");
        memset(reason, 'x', sizeof(reason) - 1);
        reason[sizeof(reason) - 1] = 0;
        assert_true(asprintf(&body, "{\"reason\": \"%s\"}", reason) > 0);
        expect_problem("POST", "/v1/disable", body, 400, "bad-request", "500 bytes");
        ASSERT_NULL(engine.disabled);

        answer = ask_with("POST", "/v1/disable", NULL, "{\"reason\": \"testing by hand\", \"for\": \"2h\"}");
        ASSERT_EQ(answer.status, 200);
        ASSERT_TRUE(engine.for_usec == 120 * USEC_PER_MINUTE);
        assert_json(json_object_get(answer.json, "reason"), "\"testing by hand\"");
        answer_done(&answer);
        answer = ask_with("POST", "/v1/disable", NULL, "{\"reason\": \"für länger\", \"for\": null}");
        ASSERT_EQ(answer.status, 200);
        ASSERT_TRUE(engine.for_usec == USEC_INFINITY);
        if (getuid() == 0)
                assert_json(json_object_get(answer.json, "by"), "\"root\"");
        answer_done(&answer);
        answer = ask_with("POST", "/v1/enable", NULL, NULL);
        ASSERT_EQ(answer.status, 200);
        assert_json(answer.json, "{\"disabled\":null}");

        engine.r = -EROFS;
        expect_problem("POST", "/v1/disable", "{\"reason\": \"x\"}", 500, "internal", "nothing has changed");
        expect_problem("POST", "/v1/enable", NULL, 500, "internal", "Read-only");
}

TEST(triggers_are_listed_and_fired) {
        _cleanup_answer_ Answer answer = get("/v1/triggers");

        ASSERT_EQ(json_array_size(json_object_get(answer.json, "items")), 2);
        assert_json(json_object_get(answer.json, "next"), "null");
        answer_done(&answer);
        answer = get("/v1/triggers?limit=1");
        ASSERT_EQ(json_array_size(json_object_get(answer.json, "items")), 1);
        assert_json(json_object_get(answer.json, "next"), "\"deploy\"");
        answer_done(&answer);
        answer = get("/v1/triggers?limit=1&after=deploy");
        assert_json(json_object_get(json_array_get(json_object_get(answer.json, "items"), 0), "trigger"),
                "\"often\"");
        assert_json(json_object_get(answer.json, "next"), "null");
        answer_done(&answer);
        expect_problem("GET", "/v1/triggers?after=x", NULL, 400, "bad-request", "after 'x' is no cursor");
        expect_problem("GET", "/v1/triggers?limit=0", NULL, 400, "bad-request", "limit");

        answer = ask_with("POST", "/v1/triggers/deploy/fire", NULL, NULL);
        ASSERT_EQ(answer.status, 200);
        ASSERT_EQ(engine.n_fired, 1);
        assert_json(json_object_get(answer.json, "n_fired"), "1");
        answer_done(&answer);
        expect_problem(
                "POST", "/v1/triggers/deplyo/fire", NULL, 404, "not-found", "there is no trigger 'deplyo'");
        expect_problem("POST", "/v1/triggers/deploy/fire", "{\"x\": 1}", 400, "bad-request", "x");
        engine.r = -EPERM;
        engine.disabled = json_pack("{s:s, s:s}", "by", "root", "reason", "testing");
        expect_problem("POST", "/v1/triggers/deploy/fire", NULL, 409, "conflict",
                "the host is disabled by root: testing");
        engine.r = -ESHUTDOWN;
        expect_problem("POST", "/v1/triggers/deploy/fire", NULL, 503, "not-ready", "");
        ASSERT_EQ(engine.n_fired, 1);
        adopt(NULL);
        expect_problem("GET", "/v1/triggers", NULL, 503, "not-ready", "");
        expect_problem("POST", "/v1/triggers/deploy/fire", NULL, 503, "not-ready", "");
}

TEST(the_log_level_is_set) {
        _cleanup_answer_ Answer answer = get("/v1/log-level");
        int level = log_get_max_level();

        assert_json(answer.json, "{\"level\":\"info\"}");
        answer_done(&answer);
        answer = ask_with("PUT", "/v1/log-level", NULL, "{\"level\": \"error\"}");
        assert_json(answer.json, "{\"level\":\"error\"}");
        ASSERT_EQ(log_get_max_level(), LOG_ERR);
        expect_problem("PUT", "/v1/log-level", "{\"level\": \"debgu\"}", 400, "bad-request",
                "did you mean 'debug'");
        expect_problem("PUT", "/v1/log-level", "{\"level\": 7}", 400, "bad-request", "not a string");
        expect_problem("PUT", "/v1/log-level", "{}", 400, "bad-request", "is not one of error, warning");
        expect_problem("PUT", "/v1/log-level", NULL, 400, "bad-request", "is not one of error, warning");
        expect_problem("POST", "/v1/log-level", "{}", 405, "method-not-allowed", "");
        log_set_max_level(level);
}

TEST(cursors_and_times) {
        static const struct {
                const char *text;
                usec_t usec;
        } times[] = {
                { "2026-11-21T13:32:00.123456Z", UINT64_C(1795267920123456) },
                { "1970-01-01T00:00:00.000000Z", 0 },
                { "2026-11-21T13:32:00Z", 0 },
                { "2026-11-21T13:32:00.123456", 0 },
                { "2026-11-21T13:32:00.123456Zx", 0 },
                { "", 0 },
                { NULL, 0 },
        };
        const char *bad;
        uint32_t kinds;
        size_t size;

        FOREACH_ELEMENT(c, times)
                ASSERT_TRUE(api_time_parse(c->text) == c->usec);
        ASSERT_OK(api_parse_kinds("stopped,started,stopped", &kinds, &bad, &size));
        ASSERT_EQ(kinds, 1u << EVENT_STARTED | 1u << EVENT_STOPPED);
        ASSERT_EQ(api_parse_kinds("stopped,start", &kinds, &bad, &size), -EINVAL);
        ASSERT_STREQ(bad, "start");
        ASSERT_EQ(size, 5);
}

#define HOSTED(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                HOSTED(endpoints_are_listed),
                HOSTED(status_says_all),
                HOSTED(what_does_not_change_is_not_sent_again),
                HOSTED(health),
                HOSTED(metrics_are_what_prometheus_reads),
                HOSTED(states_are_listed),
                HOSTED(a_state_is_shown_with_its_neighbours),
                HOSTED(large_images_are_bounded),
                HOSTED(runs_are_merged),
                HOSTED(runs_are_stopped),
                HOSTED(results_are_listed),
                HOSTED(a_run_is_started),
                HOSTED(a_run_is_followed),
                HOSTED(who_goes_away_follows_no_longer),
                HOSTED(events_are_listed),
                HOSTED(rare_events_are_found),
                HOSTED(globs_are_bounded),
                HOSTED(pages_are_bounded),
                HOSTED(events_are_followed_without_gap_and_without_double),
                HOSTED(events_that_cannot_be_stored_are_followed),
                HOSTED(events_are_followed_through_filters),
                HOSTED(requests_wait_for_the_engine),
                HOSTED(a_run_waits_for_roles_that_are_due),
                HOSTED(a_run_with_variables_waits_for_a_load_of_its_own),
                HOSTED(states_are_explained),
                HOSTED(a_chain_of_blocked_states_ends_where_it_began),
                HOSTED(who_waits_when_it_ends_is_forgotten),
                HOSTED(the_host_is_disabled_and_enabled),
                HOSTED(triggers_are_listed_and_fired),
                HOSTED(the_log_level_is_set),
                RUN(cursors_and_times),
        };
        const char *path = getenv("API_ANSWERS");

        if (sodium_init() < 0)
                return 1;
        if (path) {
                answers = fopen(path, "we");
                assert_non_null(answers);
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
