/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a result: status, store, events, followers. */

#include <inttypes.h>
#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-interval.h"
#include "engine-run-internal.h"
#include "output.h"

/* Of a plan, whose results no store has, so many are remembered. */
#define RESULTS_REMEMBER       1000
#define RESULTS_REMEMBER_BYTES MIB(8)

/* The state of that id in the image that is in force; NO_STATE if there is none. */
uint32_t engine_run_id_now(const EngineRun *run, uint32_t state) {
        if (run->image == run->engine->image)
                return state;
        return run->now ? run->now[state] : NO_STATE;
}

/* Likewise, and NO_STATE if it is declared otherwise. */
uint32_t engine_run_state_now(const EngineRun *run, uint32_t state) {
        uint32_t now = engine_run_id_now(run, state);

        if (now != NO_STATE && run->image != run->engine->image &&
                memcmp(image_state(run->engine->image, now)->hash, image_state(run->image, state)->hash,
                        IMAGE_HASH_SIZE) != 0)
                return NO_STATE;
        return now;
}

static bool is_notable(Result result) {
        return result != RESULT_OK && result != RESULT_SKIPPED;
}

/* It is told of: from now on it has a number. */
static int64_t number(EngineRun *run) {
        if (run->id == 0)
                run->id = store_next_run(run->engine->store);
        return run->id;
}

int64_t engine_run_number(void *userdata, _unused_ Run *r) {
        return number(userdata);
}

static json_t *with_vars(json_t *json, const EngineRun *run) {
        if (json)
                (void) json_object_set_new(json, "vars", run->vars ? json_incref(run->vars) : json_array());
        return json;
}

json_t *engine_run_json(EngineRun *run) {
        json_t *json;

        if (run->json)
                return json_incref(run->json);
        (void) number(run);
        if (run->run) {
                json = output_run(run->run);
                if (json)
                        (void) json_object_set_new(json, "run", json_integer(run->id));
                return with_vars(json, run);
        }
        json = json_pack("{s:I, s:s, s:s, s:n, s:n, s:{}, s:n}", "run", (json_int_t) run->id, "mode",
                run_mode_to_string(run->mode), "cause", run->cause, "started", "finished", "summary",
                "error");
        for (Result r = RESULT_OK; json && r < _RESULT_MAX; r++)
                (void) json_object_set_new(
                        json_object_get(json, "summary"), result_to_string(r), json_integer(0));
        return with_vars(json, run);
}

void engine_run_store(EngineRun *run, usec_t finished, const char *error) {
        json_t *json = engine_run_json(run);

        store_put_run(run->engine->store,
                &(StoreRun){
                        .id = run->id,
                        .mode = run_mode_to_string(run->mode),
                        .cause = run->cause,
                        .started_usec = run->run ? run_started(run->run) : now_usec(CLOCK_REALTIME),
                        .finished_usec = finished,
                        .summary = json_object_get(json, "summary"),
                        .error = error,
                        .vars = run->vars,
                });
        run->stored = true;
        json_decref(json);
}

static void store_result_row(EngineRun *run, uint32_t state, const json_t *json) {
        const RunDetail *detail = run_detail(run->run, state);
        const json_t *undo = json_object_get(json, "undo");
        /* The run first, unfinished: if agentd is killed, its next start finds it. */
        if (!run->stored)
                engine_run_store(run, 0, NULL);
        store_put_result(run->engine->store,
                &(StoreResult){
                        .run = run->id,
                        .time_usec = now_usec(CLOCK_REALTIME),
                        .state = image_state_id(run->image, state),
                        .type = image_state_type(run->image, state),
                        .role = image_state_role(run->image, state),
                        .result = result_to_string(run_result(run->run, state)),
                        .differences = json_object_get(json, "differences"),
                        .undo = json_array_size(undo) > 0 ? undo : NULL,
                        .error = detail ? detail->error : NULL,
                        .duration_usec = run_duration(run->run, state),
                        .removal = image_state(run->image, state)->flags & IMAGE_STATE_REMOVAL,
                });
}

static void tell_event(EngineRun *run, uint32_t state, StatusChange change, const json_t *json) {
        const char *id = image_state_id(run->image, state), *error = NULL;
        const RunDetail *detail = run_detail(run->run, state);
        Result result = run_result(run->run, state);
        const EventDetails details = {
                .run = run->id,
                .state = id,
                .role = image_state_role(run->image, state),
                .result = result_to_string(result),
                .data = json,
        };
        EventLog *log = run->engine->events;
        char attributes[256];

        error = detail && detail->error ? detail->error : "no reason was given";
        (void) event_attributes(detail ? detail->differences : NULL, attributes, sizeof(attributes));
        if (result == RESULT_CHANGED)
                event_emit(log, EVENT_STATE_CHANGED, &details, "Changed %s: %s", id, attributes);
        else if (change == STATUS_RECOVERED)
                event_emit(log, EVENT_STATE_RECOVERED, &details, "%s is as declared again", id);
        else if (change != STATUS_WORSE)
                return;
        else if (result == RESULT_DRIFTED)
                event_emit(log, EVENT_STATE_DRIFTED, &details, "%s differs and is only audited: %s", id,
                        attributes);
        else if (result == RESULT_FAILED)
                event_emit(log, EVENT_STATE_FAILED, &details, "%s failed: %s", id, error);
        else if (result == RESULT_BLOCKED)
                event_emit(log, EVENT_STATE_BLOCKED, &details, "%s blocked: %s", id, error);
}

static void remember_result(EngineRun *run, json_t *json) {
        if (!run->results)
                run->results = json_array();
        if (json_array_size(run->results) >= RESULTS_REMEMBER ||
                run->results_bytes >= RESULTS_REMEMBER_BYTES)
                return;
        run->results_bytes += json_dumpb(json, NULL, 0, JSON_COMPACT);
        (void) json_array_append(run->results, json);
}

/* ---- Listeners ------------------------------------------------------------------------------------------------------ */

uint32_t engine_run_owed(void *userdata, Run *r, uint32_t state) {
        const EngineRun *run = userdata;
        uint32_t now = engine_run_id_now(run, state);

        /* Of one that the roles in force do not have only the run itself knows. */
        return now != NO_STATE ? run->engine->status->states[now].owed : run_owed(r, state);
}

/*
 * What others will have to do is written down before the change, not after: if agentd is killed in between, the next one finds the
 * change done and all in order, and nobody would ever tell them.
 */
void engine_run_will_apply(void *userdata, _unused_ Run *r, const uint32_t *states, uint32_t n) {
        const EngineRun *run = userdata;
        Engine *engine = run->engine;
        bool any = false;

        for (uint32_t i = 0; i < n; i++) {
                uint32_t n_listeners;
                const ImageListener *listeners = image_listeners(run->image, states[i], &n_listeners);

                for (uint32_t k = 0; k < n_listeners; k++) {
                        uint32_t now = engine_run_id_now(run, listeners[k].state);

                        if (now != NO_STATE &&
                                status_may_owe(engine->status, engine->store, now, listeners[k].what,
                                        image_state_id(run->image, states[i])))
                                any = true;
                }
        }
        if (any)
                (void) store_flush(engine->store);
}

/* Whoever has the listener now may have begun before the change. */
static void notice_others(const EngineRun *run, uint32_t now, uint32_t what) {
        const Engine *engine = run->engine;

        for (const EngineRun *other = engine->runs; other; other = other->next) {
                uint32_t theirs = now;

                if (other == run || !other->run || other->mode != RUN_APPLY)
                        continue;
                if (other->image != engine->image)
                        theirs = other->before ? other->before[now] : NO_STATE;
                if (theirs != NO_STATE)
                        run_notice(other->run, theirs, what);
        }
}

/* A state has its result: who listens to it is owed something, or not after all. What was changed was changed, also if a hook has
 * failed after it: the next run finds the state as declared, and would tell nobody. */
static void tell_listeners(EngineRun *run, uint32_t state, Result result) {
        Engine *engine = run->engine;
        bool changed = run_has_changed(run->run, state);
        uint32_t n;
        const ImageListener *listeners = image_listeners(run->image, state, &n);

        for (uint32_t i = 0; i < n; i++) {
                uint32_t what = listeners[i].what, now = engine_run_id_now(run, listeners[i].state);

                if (now == NO_STATE)
                        continue;
                if (!changed) {
                        if (run_has_applied(run->run, state))
                                status_is_known(engine->status, engine->store, now);
                        continue;
                }
                status_owe(engine->status, engine->store, now, what, image_state_id(run->image, state));
                if (run_has_applied(run->run, state))
                        status_is_known(engine->status, engine->store, now);
                notice_others(run, now, what);
                /* Who is part of the run comes later in it. */
                if (result == RESULT_CHANGED && !run_is_open(run->run, listeners[i].state))
                        heal_look_at(engine->heal, now, HEAL_DRIFT);
        }
}

/* What it was given it has dealt with, unless it has failed or was not touched. */
static void pay(EngineRun *run, uint32_t state, Result result) {
        uint32_t now = engine_run_id_now(run, state), what = run_owed(run->run, state);

        if (now != NO_STATE && what != 0 &&
                (result == RESULT_OK || result == RESULT_CHANGED || result == RESULT_SKIPPED))
                status_pay(run->engine->status, run->engine->store, now, what);
}

void engine_run_has_paid(void *userdata, _unused_ Run *r, uint32_t state) {
        pay(userdata, state, RESULT_CHANGED);
}

/* ---- Results -------------------------------------------------------------------------------------------------------- */

/* A state that other runs may be waiting for. */
static void release(const EngineRun *run) {
        for (EngineRun *other = run->engine->runs; other; other = other->next)
                if (other != run && other->run)
                        run_retry(other->run);
}

/* Whether a state is as the roles in force say is not known once it was made as others do. */
static void forget_status(const EngineRun *run, uint32_t state, Result result) {
        uint32_t now = engine_run_id_now(run, state);

        if (now != NO_STATE && result != RESULT_NONE && result != RESULT_SKIPPED && result != RESULT_BLOCKED)
                status_forget(run->engine->status, run->engine->store, now);
}

void engine_run_on_result(void *userdata, Run *r, uint32_t state) {
        EngineRun *run = userdata;
        Engine *engine = run->engine;
        Result result = run_result(r, state);
        const RunDetail *detail = run_detail(r, state);
        bool applies = run->mode == RUN_APPLY && !run_is_refused(r), notable = is_notable(result);
        StatusChange change = STATUS_SAME;
        uint32_t now = engine_run_state_now(run, state);
        json_t *json = NULL;

        if (applies) {
                /* Before its own result, and so in the store. */
                tell_listeners(run, state, result);
                pay(run, state, result);
                engine->counts.n_results[result]++;
                if (now != NO_STATE) {
                        intervals_looked_at(engine->intervals, now);
                        change = status_set(
                                engine->status, engine->store, now, result, detail ? detail->error : NULL);
                } else if (run->apart)
                        forget_status(run, state, result);
                /* What is made by variables of a single run is not the roles' to remove. */
                if (!run->apart)
                        engine_removal_result(run, state, result);
        }
        /* That it was restarted since another has changed is nobody's doing. */
        if (applies && run->heal && now != NO_STATE &&
                ((result == RESULT_CHANGED && run_owed(r, state) == 0) || result == RESULT_FAILED))
                heal_state_tried(engine->heal, now, result == RESULT_CHANGED);
        /* What is as wrong as before is no news, however often it is touched. */
        if (run->heal && change == STATUS_SAME && result != RESULT_CHANGED)
                notable = false;
        /* What is fine is worth words only if somebody listens. */
        if (notable || change == STATUS_RECOVERED || run->followers) {
                (void) number(run);
                json = output_result(r, state, run->diff);
        }
        if (json) {
                if (applies && notable) {
                        store_result_row(run, state, json);
                        run->n_notable++;
                } else if (notable)
                        remember_result(run, json);
                if (applies)
                        tell_event(run, state, change, json);
                engine_run_tell_followers(run, json);
        }
        json_decref(json);
        if (engine->runs->next)
                release(run);
}

void engine_run_on_attempt_failed(void *userdata, Run *r, uint32_t state, const RunAttempt *attempt) {
        EngineRun *run = userdata;
        uint32_t now = run->heal && attempt->n == 1 ? engine_run_state_now(run, state) : NO_STATE;

        event_attempt_failed(run->engine->events, r, number(run), state, attempt);
        /* It waits now, and so would a further run each time that the state is touched. */
        if (now != NO_STATE)
                heal_state_tried(run->engine->heal, now, false);
        /* It may only wait soon. */
        engine_run_look_again(run->engine);
        /* Until it is tried again others may have it. */
        if (run->engine->runs->next)
                release(run);
}

void engine_run_on_hook_failed(void *userdata, Run *r, uint32_t state, Hook hook, const char *explanation) {
        EngineRun *run = userdata;

        event_hook_failed(run->engine->events, r, number(run), state, hook, explanation);
}
