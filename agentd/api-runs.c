/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs: those remembered, those in the store, and those asked for here. */

#include "api-internal.h"
#include "engine-run.h"

static const char *const modes[] = { "apply", "plan" };

static int64_t id_of(const json_t *run) {
        return json_integer_value(json_object_get(run, "run"));
}

/* ---- The list --------------------------------------------------------------------------------------------------- */

typedef struct Candidate {
        int64_t id;
        json_t *run; /* no reference of its own */
        int rank;    /* of those with one id, the lowest counts */
} Candidate;

static int compare_candidates(const void *a, const void *b) {
        const Candidate *x = a, *y = b;

        return x->id != y->id ? (x->id < y->id ? 1 : -1) : x->rank - y->rank;
}

/* Newest first and each once, from lists of which an earlier one knows better. NULL if out of memory. */
static json_t *merge(json_t *const *lists, size_t n_lists, int64_t before, const char *mode) {
        _cleanup_free_ Candidate *candidates = NULL;
        json_t *merged = json_array(), *run;
        size_t n = 0, i;

        for (size_t l = 0; l < n_lists; l++)
                n += json_array_size(lists[l]);
        candidates = calloc(MAX(n, (size_t) 1), sizeof(*candidates));
        if (!candidates || !merged) {
                json_decref(merged);
                return NULL;
        }
        n = 0;
        for (size_t l = 0; l < n_lists; l++)
                json_array_foreach(lists[l], i, run) candidates[n++] =
                        (Candidate){ .id = id_of(run), .run = run, .rank = (int) l };
        qsort(candidates, n, sizeof(*candidates), compare_candidates);
        for (i = 0; i < n; i++) {
                run = candidates[i].run;
                if ((i > 0 && candidates[i].id == candidates[i - 1].id) ||
                        (before > 0 && candidates[i].id >= before))
                        continue;
                if (mode && !streq_ptr(mode, json_string_value(json_object_get(run, "mode"))))
                        continue;
                (void) json_array_append(merged, api_with_progress(run));
        }
        return merged;
}

void api_list_runs(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        const char *mode = http_request_query(request, "mode");
        json_t *lists[3], *items, *next = json_null();
        uint64_t before = 0;
        unsigned limit;

        if (api_limit(request, &limit) < 0 ||
                http_request_query_u64(request, "after", 1, INT64_MAX, &before) < 0 ||
                (mode && api_word(request, "mode", mode, modes, ELEMENTSOF(modes)) < 0))
                return;

        lists[0] = engine_runs_active(api->engine);
        lists[1] = engine_runs_remembered(api->engine, (int64_t) before, mode);
        /* The store has no plans; to find that out it would look at all it has. */
        lists[2] = streq_ptr(mode, modes[1])
                           ? NULL
                           : store_runs(engine_store(api->engine), (int64_t) before, mode, limit + 1);
        items = merge(lists, ELEMENTSOF(lists), (int64_t) before, mode);
        FOREACH_ELEMENT(list, lists)
                json_decref(*list);

        if (json_array_size(items) > limit) {
                while (json_array_size(items) > limit)
                        (void) json_array_remove(items, json_array_size(items) - 1);
                next = json_sprintf(
                        "%" JSON_INTEGER_FORMAT, (json_int_t) id_of(json_array_get(items, limit - 1)));
        }
        api_answer_page(request, items, next);
}

/* ---- One of them ------------------------------------------------------------------------------------------------ */

/* A new reference; NULL: there is none, and the request has been answered. */
static json_t *find(Api *api, HttpRequest *request, EngineRun **ret) {
        const char *part = http_request_part(request);
        EngineRun *run = NULL;
        json_t *json = NULL;
        int64_t id;

        if (api_parse_id(part, &id) == 0) {
                run = engine_run_find(api->engine, id);
                json = run ? engine_run_to_json(run, true) : store_run(engine_store(api->engine), id);
        }
        if (!json)
                http_answer_problem(request, 404, "not-found", "there is no run '%s'", part);
        else
                *ret = run;
        return api_with_progress(json);
}

void api_get_run(void *userdata, HttpRequest *request) {
        EngineRun *run;
        json_t *json = find(userdata, request, &run);

        if (json)
                http_answer_json(request, 200, json);
}

void api_stop_run(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        EngineRun *run;
        json_t *json = find(api, request, &run), *stopped;
        bool over = true;
        int64_t id;

        if (!json)
                return;
        if (run && !engine_run_is_over(run)) {
                engine_run_stop(api->engine, run);
                /* One that was waiting may be gone. */
                id = id_of(json);
                run = engine_run_find(api->engine, id);
                stopped = run ? engine_run_to_json(run, true) : store_run(engine_store(api->engine), id);
                over = !run || engine_run_is_over(run);
                if (stopped) {
                        json_decref(json);
                        json = api_with_progress(stopped);
                }
        }
        http_answer_json(request, over ? 200 : 202, json);
}

/* ---- Its results ------------------------------------------------------------------------------------------------ */

/* Of a run that is remembered: the cursor is the position in its list. */
static void list_remembered(HttpRequest *request, const json_t *results, size_t after, unsigned limit) {
        json_t *items = json_array(), *next = json_null(), *result;
        size_t bytes = 0;

        for (size_t i = after; i < json_array_size(results); i++) {
                result = json_array_get(results, i);
                if (streq_ptr(json_string_value(json_object_get(result, "result")), "ok"))
                        continue;
                if (json_array_size(items) == limit || bytes >= API_PAGE_BYTES) {
                        next = json_sprintf("%zu", i);
                        break;
                }
                (void) json_array_append(items, result);
                bytes += json_dumpb(result, NULL, 0, JSON_COMPACT);
        }
        api_answer_page(request, items, next);
}

static void list_stored(Api *api, HttpRequest *request, int64_t run, int64_t after, unsigned limit) {
        Store *store = engine_store(api->engine);
        json_t *items, *further, *next = json_null();
        int64_t last = after, end = 0;

        items = store_results(store, run, after, limit, &last);
        if (!items) {
                http_answer_problem(request, 500, "internal", "the store cannot be read: %s",
                        store_error(store) ?: "out of memory");
                return;
        }
        if (json_array_size(items) > 0) {
                further = store_results(store, run, last, 1, &end);
                if (json_array_size(further) > 0)
                        next = json_sprintf("%" JSON_INTEGER_FORMAT, (json_int_t) last);
                json_decref(further);
        }
        api_answer_page(request, items, next);
}

void api_list_results(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        const json_t *results;
        uint64_t after = 0;
        unsigned limit;
        EngineRun *run;
        json_t *json;
        int64_t id;

        if (api_limit(request, &limit) < 0 ||
                http_request_query_u64(request, "after", 1, INT64_MAX, &after) < 0)
                return;
        json = find(api, request, &run);
        if (!json)
                return;
        id = id_of(json);
        json_decref(json);

        results = run ? engine_run_results(run) : NULL;
        if (results)
                list_remembered(request, results, (size_t) after, limit);
        else
                list_stored(api, request, id, (int64_t) after, limit);
}

/* ---- Starting one ----------------------------------------------------------------------------------------------- */

/* Who follows a run. */
typedef struct Follow {
        ApiClient client;
        HttpStream *stream;
} Follow;

static void follow_free(Follow *follow) {
        api_client_remove(&follow->client);
        free(follow);
}

static void follow_stop(ApiClient *client) {
        Follow *follow = (Follow *) client;

        engine_run_unfollow(client->api->engine, follow);
        follow_free(follow);
}

static void on_line(void *userdata, const json_t *line) {
        Follow *follow = userdata;

        http_stream_push(follow->stream, line);
}

static void on_end(void *userdata) {
        Follow *follow = userdata;

        http_stream_end(follow->stream);
        follow_free(follow);
}

/* The run goes on without him. */
static void on_gone(void *userdata, _unused_ HttpStream *stream) {
        follow_stop(userdata);
}

static void refuse(Api *api, HttpRequest *request, const RunRequest *run, size_t pattern, int r) {
        const Image *image = engine_image(api->engine);
        char buffer[1024];

        switch (r) {
        case -ENOENT:
                http_answer_problem(request, 404, "not-found", "there is no state '%s'%s",
                        run->patterns[pattern],
                        image ? api_suggest_state(image, run->patterns[pattern], buffer, sizeof(buffer))
                              : "");
                break;
        case -EPERM: api_answer_disabled(api, request); break;
        case -EAGAIN:
        case -ESHUTDOWN: api_answer_not_ready(api, request); break;
        case -EBUSY:
                http_answer_problem(request, 429, "too-many",
                        "%i runs are going on or waiting already; try again when one is over",
                        ENGINE_RUNS_MAX);
                break;
        default: http_answer_problem(request, 500, "internal", "failed to start a run: %s", strerror(-r));
        }
}

/* The ids and globs of the body. Return: their number; -EINVAL, and it has been answered. */
static int read_patterns(HttpRequest *request, const char **patterns) {
        const json_t *states = json_object_get(http_request_body(request), "states");
        size_t n = json_array_size(states), i;
        json_t *item;

        if (!states || json_is_null(states))
                return 0;
        if (!json_is_array(states) || n == 0 || n > API_PATTERNS_MAX) {
                http_answer_problem(request, 400, "bad-request",
                        "'states' is not a list of 1 to %i ids or globs; leave it out for all states",
                        API_PATTERNS_MAX);
                return -EINVAL;
        }
        json_array_foreach((json_t *) states, i, item) {
                patterns[i] = json_string_value(item);
                if (!patterns[i] || !*patterns[i]) {
                        http_answer_problem(request, 400, "bad-request",
                                "'states' has an item that is no id of a state, nor a glob");
                        return -EINVAL;
                }
                if (api_check_glob(request, "states", patterns[i]) < 0)
                        return -EINVAL;
        }
        return (int) n;
}

void api_start_run(void *userdata, HttpRequest *request) {
        static const char *const keys[] = { "mode", "states", "only_failed", "diff", "progress" };
        static const HttpStreamHandlers handlers = { .on_gone = on_gone };
        static const RunMode run_modes[] = { RUN_APPLY, RUN_PLAN };
        Api *api = userdata;
        const char *patterns[API_PATTERNS_MAX], *mode = modes[0];
        RunRequest run = { .cause = "request", .patterns = patterns };
        bool follow = false, progress = false;
        RunFollower follower = { .on_line = on_line, .on_end = on_end };
        Follow *follow_this = NULL;
        size_t bad = 0;
        EngineRun *started = NULL;
        char location[64];
        int r;

        if (http_request_query_bool(request, "follow", &follow) < 0 ||
                api_body_keys(request, keys, ELEMENTSOF(keys)) < 0 ||
                api_body_string(request, "mode", &mode) < 0 ||
                api_body_bool(request, "only_failed", &run.only_failed) < 0 ||
                api_body_bool(request, "diff", &run.diff) < 0 ||
                api_body_bool(request, "progress", &progress) < 0)
                return;
        r = api_word(request, "mode", mode, modes, ELEMENTSOF(modes));
        if (r < 0)
                return;
        run.mode = run_modes[r];
        r = read_patterns(request, patterns);
        if (r < 0)
                return;
        run.n_patterns = (size_t) r;

        if (follow) {
                follow_this = malloc(sizeof(*follow_this));
                if (!follow_this) {
                        http_answer_problem(request, 500, "internal", "out of memory");
                        return;
                }
                *follow_this = (Follow){};
                api_client_add(api, &follow_this->client, follow_stop);
                follower.userdata = follow_this;
                follower.progress = progress;
                run.follower = &follower;
        }
        r = engine_run_request(api->engine, &run, &started, &bad);
        if (r < 0) {
                if (follow_this)
                        follow_free(follow_this);
                refuse(api, request, &run, bad, r);
                return;
        }
        if (!follow_this) {
                (void) snprintf(location, sizeof(location), "/v1/runs/%" JSON_INTEGER_FORMAT,
                        (json_int_t) engine_run_id(started));
                http_answer_created(
                        request, 202, location, api_with_progress(engine_run_to_json(started, true)));
                return;
        }
        /* Nothing is told before this returns, so the stream is there when it is needed. */
        follow_this->stream = http_answer_stream(request, &handlers, follow_this);
        if (!follow_this->stream)
                follow_stop(&follow_this->client);
}
