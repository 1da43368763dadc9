/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs: those remembered, and those in the store. */

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
