/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs as others see them, while they go on and afterwards. */

#include "engine-internal.h"
#include "engine-run-internal.h"

#define PROGRESS_RUNNING 10

/* ---- Which there are ------------------------------------------------------------------------------------------------ */

EngineRun *engine_run_find(Engine *engine, int64_t id) {
        for (EngineRun *run = engine->runs; run; run = run->next)
                if (run->id == id)
                        return run;
        for (EngineRun *run = engine->over; run; run = run->next)
                if (run->id == id)
                        return run;
        return NULL;
}

EngineRun *engine_run_next(const EngineRun *run) {
        return run->next;
}

int64_t engine_run_id(const EngineRun *run) {
        return run->id;
}

bool engine_run_is_over(const EngineRun *run) {
        return run->json;
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

json_t *engine_run_progress_to_json(const EngineRun *run, bool with_run) {
        uint32_t states[PROGRESS_RUNNING], n;
        json_t *running = json_array(), *json;

        n = run->run ? run_under_way(run->run, states, PROGRESS_RUNNING) : 0;
        for (uint32_t i = 0; i < n; i++)
                (void) json_array_append_new(running, json_string(image_state_id(run->image, states[i])));
        json = json_pack("{s:I, s:I, s:o}", "done", (json_int_t) (run->run ? run_n_done(run->run) : 0),
                "total", (json_int_t) (run->run ? run_n_selected(run->run) : 0), "running", running);
        if (json && with_run)
                (void) json_object_set_new(json, "run", json_integer(run->id));
        return json;
}

json_t *engine_run_to_json(EngineRun *run, bool progress) {
        json_t *json = run->json ? json_copy(run->json) : engine_run_json(run);

        if (json && progress)
                (void) json_object_set_new(
                        json, "progress", run->json ? json_null() : engine_run_progress_to_json(run, false));
        return json;
}

json_t *engine_runs_active(const Engine *engine) {
        json_t *array = json_array();

        for (EngineRun *run = engine->runs; run; run = run->next)
                (void) json_array_append_new(array, engine_run_to_json(run, true));
        return array;
}

json_t *engine_runs_remembered(const Engine *engine, int64_t before, const char *mode) {
        json_t *array = json_array();

        for (EngineRun *run = engine->over; run; run = run->next)
                if (!run->stored && (before == 0 || run->id < before) &&
                        (!mode || streq(mode, run_mode_to_string(run->mode))))
                        (void) json_array_append_new(array, engine_run_to_json(run, true));
        return array;
}

json_t *engine_runs_last(const Engine *engine) {
        json_t *json = engine->last_run ? json_copy(engine->last_run) : json_null();

        if (engine->last_run && json)
                (void) json_object_set_new(json, "progress", json_null());
        return json;
}

const json_t *engine_run_results(const EngineRun *run) {
        /* Of a run that was refused the store has no results: nothing was done. What it would have done is remembered. */
        return run->results;
}
