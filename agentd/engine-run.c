/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's runs: who may begin, who follows, what is left of them. */

#include <inttypes.h>
#include <limits.h>
#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-run-internal.h"
#include "engine-select.h"
#include "log.h"
#include "value-json.h"

/* Runs that go on at a time; others wait. */
#define RUNS_AT_ONCE 8

/* Plans, whose results no store has: those of so many are remembered. */
#define RESULTS_REMEMBER_RUNS 3

/* What a run over so many leaves in the heap is not worth giving back. */
#define FEW_STATES 64

#define PROGRESS_EVERY_USEC (500 * USEC_PER_MSEC)

static EngineRun *engine_run_free(EngineRun *run) {
        if (!run)
                return NULL;
        run_free(run->run);
        for (Follower *follower = run->followers, *next; follower; follower = next) {
                next = follower->next;
                free(follower);
        }
        free(run->selected);
        free(run->now);
        free(run->before);
        json_decref(run->vars);
        json_decref(run->json);
        json_decref(run->results);
        image_unref(run->image);
        free(run);
        return NULL;
}
DEFINE_CLEANUP(EngineRun *, engine_run_free)

/* ---- Who follows ---------------------------------------------------------------------------------------------------- */

void engine_run_tell_followers(EngineRun *run, const json_t *line) {
        for (Follower *follower = run->followers; line && follower; follower = follower->next)
                if (!follower->gone)
                        follower->how.on_line(follower->how.userdata, line);
}

static void unfollow(const EngineRun *run, const void *userdata) {
        for (Follower *follower = run->followers; follower; follower = follower->next)
                if (follower->how.userdata == userdata)
                        follower->gone = true;
}

void engine_run_unfollow(Engine *engine, void *userdata) {
        /* It may be one of theirs that is being told, also of its end. */
        for (EngineRun *run = engine->runs; run; run = run->next)
                unfollow(run, userdata);
        if (engine->ending)
                unfollow(engine->ending, userdata);
}

/* Nothing goes on but the time until states are tried again. */
static bool only_waits(const EngineRun *run) {
        return run->run && run_only_waits(run->run);
}

static int on_progress_timer(sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Engine *engine = userdata;
        bool more = false;

        for (EngineRun *run = engine->runs; run; run = run->next)
                for (Follower *follower = run->followers; follower; follower = follower->next) {
                        json_t *line;

                        if (follower->gone || !follower->how.progress)
                                continue;
                        more = true;
                        line = json_pack("{s:o}", "progress", engine_run_progress_to_json(run, true));
                        if (line)
                                follower->how.on_line(follower->how.userdata, line);
                        json_decref(line);
                }
        engine_touch(engine);
        /* One of those that go on may only wait by now, so that another has room, and nobody waits for what it has left. */
        (void) sd_event_source_set_enabled(engine->run_event, SD_EVENT_ONESHOT);
        heal_retry(engine->heal);
        for (EngineRun *run = engine->runs; run; run = run->next)
                more = more || !only_waits(run);
        if (!more)
                return 0;
        (void) sd_event_source_set_time_relative(source, PROGRESS_EVERY_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- Who may begin -------------------------------------------------------------------------------------------------- */

/* A state of one run in the image of another; NO_STATE. */
static uint32_t state_of_other(const EngineRun *run, uint32_t state, const EngineRun *other) {
        uint32_t now;

        if (run->image == other->image)
                return state;
        now = engine_run_id_now(run, state);
        if (now != NO_STATE && other->image == run->engine->image)
                return now;
        if (now == NO_STATE && other->image == run->engine->image)
                return NO_STATE;
        if (now != NO_STATE && other->before)
                return other->before[now];
        /* Only roles that are not in force have it, which is rare. */
        return select_find(run->engine, other->image, image_state_id(run->image, state));
}

/* Whether another run holds the state, or a command of before. */
static bool may_begin(void *userdata, _unused_ Run *r, uint32_t state) {
        const EngineRun *run = userdata;

        if (commands_holds(run->engine->commands, image_state_id(run->image, state)))
                return false;
        for (const EngineRun *other = run->engine->runs; other; other = other->next) {
                uint32_t theirs;

                if (other == run || !other->run || other->mode != RUN_APPLY)
                        continue;
                theirs = state_of_other(run, state, other);
                if (theirs != NO_STATE && run_holds(other->run, theirs))
                        return false;
        }
        return true;
}

/* ---- The end -------------------------------------------------------------------------------------------------------- */

static void forget_over(Engine *engine) {
        unsigned n = 0, n_results = 0;

        for (EngineRun **o = &engine->over; *o;) {
                EngineRun *run = *o;

                if (++n > ENGINE_RUNS_REMEMBER) {
                        *o = run->next;
                        engine_run_free(run);
                        continue;
                }
                if (run->results && ++n_results > RESULTS_REMEMBER_RUNS) {
                        json_decref(run->results);
                        run->results = NULL;
                }
                o = &run->next;
        }
}

static void tell_end(EngineRun *run, const char *error) {
        const Run *r = run->run;
        bool refused = r && run_is_refused(r);
        uint32_t changed = r ? run_count(r, RESULT_CHANGED) : 0,
                 failed = r ? run_count(r, RESULT_FAILED) : 0,
                 blocked = r ? run_count(r, RESULT_BLOCKED) : 0;
        const EventDetails details = { .run = run->id, .data = run->json };
        EventLog *log = run->engine->events;

        if (run->mode == RUN_PLAN)
                return;
        if (refused)
                event_emit(log, EVENT_RUN_REFUSED, &details, "Run %" PRId64 " (%s) changed nothing: %s",
                        run->id, run->cause, error);
        else if (error)
                event_emit(log, EVENT_RUN_INTERRUPTED, &details, "Run %" PRId64 " (%s) is not complete: %s",
                        run->id, run->cause, error);
        else if (changed + failed + blocked > 0)
                event_emit(log, EVENT_RUN_FINISHED, &details,
                        "Run %" PRId64 " (%s) finished: %u changed, %u failed, %u blocked", run->id,
                        run->cause, changed, failed, blocked);
}

static void wake_others(Engine *engine) {
        for (EngineRun *other = engine->runs; other; other = other->next)
                if (other->run)
                        run_retry(other->run);
        (void) sd_event_source_set_enabled(engine->run_event, SD_EVENT_ONESHOT);
        engine_removal_run_over(engine);
        engine_touch(engine);
}

/* All that had changed was as declared nevertheless, mostly since it was ourselves who changed it. */
static void end_silently(EngineRun *run) {
        Engine *engine = run->engine;

        if (run->run)
                engine->counts.n_runs[run->mode]++;
        engine_run_free(run);
        wake_others(engine);
        heal_run_over(engine->heal);
}

/* The run is over, by itself or (error) not. */
static void finish(EngineRun *run, const char *error) {
        Engine *engine = run->engine;
        usec_t now = now_usec(CLOCK_REALTIME);

        for (EngineRun **o = &engine->runs; *o; o = &(*o)->next)
                if (*o == run) {
                        *o = run->next;
                        break;
                }
        run->next = NULL;
        engine->is_fat = engine->is_fat || !run->heal || (run->run && run_n_selected(run->run) > FEW_STATES);
        if (run->heal && run->n_notable == 0 && !run->followers) {
                end_silently(run);
                return;
        }
        run->json = engine_run_json(run);
        if (error) {
                (void) json_object_set_new(run->json, "error", json_string(error));
                if (json_is_null(json_object_get(run->json, "finished")))
                        (void) json_object_set_new(run->json, "finished", json_from_time(now));
        }
        if (run->stored || (error && run->mode == RUN_APPLY))
                engine_run_store(run, now, error);
        tell_end(run, error);
        if (run->run) {
                engine->counts.n_runs[run->mode]++;
                engine->counts.run_usec = now > run_started(run->run) ? now - run_started(run->run) : 0;
        }
        if (run->mode == RUN_APPLY && run->run && !run->apart && (run->all || run_is_refused(run->run)))
                engine->refused = run_is_refused(run->run);
        if (run->mode == RUN_APPLY) {
                json_decref(engine->last_run);
                engine->last_run = json_incref(run->json);
        }

        engine->ending = run;
        engine_run_tell_followers(run, run->json);
        for (Follower *follower; (follower = run->followers);) {
                run->followers = follower->next;
                if (!follower->gone)
                        follower->how.on_end(follower->how.userdata);
                free(follower);
        }
        engine->ending = NULL;

        run->run = run_free(run->run);
        run->image = image_unref(run->image);
        free(TAKE_PTR(run->now));
        free(TAKE_PTR(run->before));
        free(TAKE_PTR(run->selected));
        run->next = engine->over;
        engine->over = run;
        forget_over(engine);

        wake_others(engine);
        if (run->heal)
                heal_run_over(engine->heal);
        else
                heal_retry(engine->heal);
}

static void on_finished(void *userdata, Run *r) {
        EngineRun *run = userdata;
        const char *why = run_is_interrupted(r) && run->why ? run->why : run_error(r);
        _cleanup_free_ char *error = why ? strdup(why) : NULL;

        finish(run, error);
}

/* ---- The beginning -------------------------------------------------------------------------------------------------- */

static const RunHandlers run_handlers = {
        .on_result = engine_run_on_result,
        .on_finished = on_finished,
        .may_begin = may_begin,
        .owed = engine_run_owed,
        .has_paid = engine_run_has_paid,
        .will_apply = engine_run_will_apply,
        .number = engine_run_number,
        .on_attempt_failed = engine_run_on_attempt_failed,
        .on_hook_failed = engine_run_on_hook_failed,
};

/* What it makes otherwise than the roles in force say is not to be put back at once. */
static int pass_over(const EngineRun *run) {
        const Image *now = run->engine->image;
        _cleanup_free_ uint8_t *states = calloc(MAX(image_n_states(now), 1U), 1);
        bool purges = false;

        if (!states)
                return -ENOMEM;
        for (uint32_t i = 0; i < image_n_states(run->image); i++) {
                uint32_t k = run->now[i];

                if (run->selected && !run->selected[i])
                        continue;
                purges = purges || image_state(run->image, i)->flags & IMAGE_STATE_LOOKS_AT_PATHS;
                if (k == NO_STATE)
                        continue;
                if (image_state(now, k)->flags != image_state(run->image, i)->flags ||
                        engine_run_state_now(run, i) == NO_STATE)
                        states[k] = 1;
        }
        /* A directory that is purged, say, would lose what is there for the first time; and what it takes away, since these roles
         * do not have it, would come back. */
        if (select_paths_differ(now, run->image))
                for (uint32_t k = 0; k < image_n_states(now); k++)
                        states[k] |= image_state(now, k)->flags & IMAGE_STATE_LOOKS_AT_PATHS ||
                                     (purges && run->before[k] == NO_STATE);
        heal_pass_over(run->engine->heal, states);
        return 0;
}

static int start(EngineRun *run) {
        Engine *engine = run->engine;
        const RunOptions options = {
                .id = run->id,
                .mode = run->mode,
                .cause = run->cause,
                .diff = run->diff,
                .audit = engine->settings.audit,
                .urgent = run->heal,
                .max_changes = engine->settings.max_changes,
                .selected = run->selected,
        };
        int r;

        r = run_new(engine->event, run->image, engine->pool, &options, &run_handlers, run, &run->run);
        if (r < 0)
                return r;
        free(TAKE_PTR(run->selected));
        return run_start(run->run);
}

/* Nobody else is at what is left of it, or has made that right by now: it has failed, and that is news. */
static bool may_end(EngineRun *run) {
        const StatusTable *status = run->engine->status;

        for (uint32_t i = 0; i < image_n_states(run->image); i++) {
                const StateStatus *s = &status->states[i];

                if (!run_is_open(run->run, i))
                        continue;
                if (!may_begin(run, run->run, i) ||
                        (s->checked_usec >= run_started(run->run) &&
                                (s->result == RESULT_OK || s->result == RESULT_CHANGED ||
                                        s->result == RESULT_SKIPPED)))
                        return false;
        }
        return true;
}

/*
 * A run over everything tries again what others wait to try, so these need not go on: otherwise they would be more with each
 * interval. But somebody who has asked for one is told how it ends. Return: whether there were any; this one waits for their end.
 */
static bool take_over(const EngineRun *run) {
        bool any = false;

        if (run->image != run->engine->image || run->apart || !run->all || run->mode != RUN_APPLY)
                return false;
        for (EngineRun *other = run->engine->runs; other; other = other->next)
                if (other->own && other->image == run->image && !other->followers && only_waits(other) &&
                        may_end(other)) {
                        engine_run_stop(run->engine, other);
                        any = true;
                }
        return any;
}

static int on_run_event(_unused_ sd_event_source *source, void *userdata) {
        Engine *engine = userdata;
        unsigned n = 0;

        for (EngineRun *run = engine->runs, *next; run; run = next) {
                int r;

                next = run->next;
                if (run->run) {
                        n += !run->heal && !only_waits(run);
                        continue;
                }
                /* Those that heal have a limit of their own. */
                if (!run->heal && n >= RUNS_AT_ONCE)
                        continue;
                if ((run->all || run->some) && run->mode == RUN_APPLY) {
                        if (heal_is_arming(engine->heal) || take_over(run))
                                continue;
                        heal_run_begun(engine->heal, run->selected);
                }
                n += !run->heal;
                r = run->apart && run->mode == RUN_APPLY ? pass_over(run) : 0;
                if (r >= 0)
                        r = start(run);
                if (r < 0) {
                        log_error_errno(r, "Failed to start a run (%s): %m", run->cause);
                        finish(run, strerror(-r));
                        /* The list may be another one now. */
                        return sd_event_source_set_enabled(engine->run_event, SD_EVENT_ONESHOT);
                }
        }
        engine_touch(engine);
        return 0;
}

static int follow(EngineRun *run, const RunFollower *how) {
        Follower *follower = malloc(sizeof(*follower));

        if (!follower)
                return -ENOMEM;
        *follower = (Follower){ .how = *how };
        run->followers = follower;
        return 0;
}

/* The values may be secrets. */
static json_t *names_of(const char *const *vars) {
        json_t *names = json_array();

        for (; names && vars && *vars; vars++)
                (void) json_array_append_new(names, json_stringn(*vars, strcspn(*vars, "=")));
        return names;
}

static int map_states(EngineRun *run) {
        const Engine *engine = run->engine;
        uint32_t n = image_n_states(run->image), n_now = image_n_states(engine->image);

        free(run->now);
        free(run->before);
        run->now = malloc(MAX(n, 1U) * sizeof(uint32_t));
        run->before = malloc(MAX(n_now, 1U) * sizeof(uint32_t));
        if (!run->now || !run->before)
                return -ENOMEM;
        memset(run->before, 0xff, n_now * sizeof(uint32_t));
        for (uint32_t i = 0; i < n; i++) {
                run->now[i] = status_find(engine->status, image_state_id(run->image, i));
                if (run->now[i] != NO_STATE)
                        run->before[run->now[i]] = i;
        }
        return 0;
}

/* selected: in place of what the request names; taken. */
static int add_run(Engine *engine, const RunRequest *request, unsigned max, uint8_t *selected,
        EngineRun **ret, size_t *reterr_pattern) {
        _cleanup_free_ uint8_t *some = selected;
        _cleanup_(engine_run_freep) EngineRun *run = NULL;
        EngineRun **last = &engine->runs;
        unsigned n = 0, n_apart = 0;
        size_t pattern = 0;
        int r;

        if (engine->stopping)
                return -ESHUTDOWN;
        if (!engine->image)
                return -EAGAIN;
        if (request->mode == RUN_APPLY && engine->disabled)
                return -EPERM;
        if (request->mode == RUN_PLAN && worker_pool_options(engine->pool)->unsandboxed)
                return -EOPNOTSUPP;
        for (; *last; last = &(*last)->next) {
                n++;
                n_apart += (*last)->apart;
        }
        if (n >= max)
                return -EBUSY;
        if (request->image && n_apart >= ENGINE_APART_RUNS_MAX)
                return -EUSERS;

        run = calloc(1, sizeof(*run));
        if (!run)
                return -ENOMEM;
        *run = (EngineRun){
                .engine = engine,
                .mode = request->mode,
                .cause = request->cause,
                .all = !some && !request->image && request->n_patterns == 0 && request->n_tags == 0 &&
                       !request->only_failed,
                .some = some,
                .apart = request->image,
                .diff = request->diff,
                .image = image_ref(request->image ?: engine->image),
        };
        if (run->apart) {
                run->vars = names_of(request->vars);
                r = run->vars ? map_states(run) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        run->selected = TAKE_PTR(some);
        r = run->some ? 0 : select_states(engine, request, &run->selected, &pattern);
        if (r == -ENOENT || r == -ENXIO)
                *reterr_pattern = pattern;
        if (r < 0)
                return r;
        if (request->follower) {
                r = follow(run, request->follower);
                if (r < 0)
                        return r;
        }
        run->id = store_next_run(engine->store);

        *last = run;
        if (ret)
                *ret = run;
        run = NULL;
        (void) sd_event_source_set_enabled(engine->run_event, SD_EVENT_ONESHOT);
        (void) sd_event_source_set_time_relative(engine->progress_timer, PROGRESS_EVERY_USEC);
        (void) sd_event_source_set_enabled(engine->progress_timer, SD_EVENT_ONESHOT);
        engine_touch(engine);
        return 0;
}

int engine_run_request(Engine *engine, const RunRequest *request, EngineRun **ret, size_t *reterr_pattern) {
        return add_run(engine, request, ENGINE_RUNS_MAX, NULL, ret, reterr_pattern);
}

int engine_run_heal(Engine *engine, uint8_t *selected, const char *cause) {
        EngineRun *run, **last = &engine->runs;

        run = calloc(1, sizeof(*run));
        if (!run) {
                free(selected);
                return -ENOMEM;
        }
        *run = (EngineRun){
                .engine = engine,
                .mode = RUN_APPLY,
                .cause = cause,
                .heal = true,
                .own = true,
                .image = image_ref(engine->image),
                .selected = selected,
        };
        while (*last)
                last = &(*last)->next;
        *last = run;
        (void) sd_event_source_set_enabled(engine->run_event, SD_EVENT_ONESHOT);
        return 0;
}

unsigned engine_run_n_healing(const Engine *engine) {
        unsigned n = 0;

        for (const EngineRun *run = engine->runs; run; run = run->next)
                n += run->heal && !only_waits(run);
        return n;
}

/* However many others have asked for: one of these waits at most. */
static int64_t add_own(Engine *engine, const char *cause, uint8_t *selected) {
        EngineRun *run;
        int r;

        r = add_run(
                engine, &(RunRequest){ .mode = RUN_APPLY, .cause = cause }, UINT_MAX, selected, &run, NULL);
        if (r == -EPERM || r == -ESHUTDOWN || r == -EAGAIN)
                return 0;
        if (r < 0) {
                log_warning_errno(r, "Failed to start a run (%s): %m", cause);
                return 0;
        }
        run->own = true;
        return run->id;
}

int64_t engine_run_all(Engine *engine, const char *cause) {
        /* One that has not begun sees all that this one would. One that goes on may have passed it already; but the
         * interval need not overtake itself. */
        for (const EngineRun *run = engine->runs; run; run = run->next)
                if (run->mode == RUN_APPLY && run->all && run->image == engine->image &&
                        (!run->run ||
                                (streq(cause, "interval") && streq(run->cause, cause) && !only_waits(run))))
                        return run->id;
        return add_own(engine, cause, NULL);
}

int64_t engine_run_some(Engine *engine, const char *cause, uint8_t *selected, uint32_t *ret_n) {
        uint32_t n = image_n_states(engine->image);
        int64_t id;

        *ret_n = 0;
        for (EngineRun *run = engine->runs; run; run = run->next) {
                if (run->mode != RUN_APPLY || run->run || run->image != engine->image ||
                        !(run->all || run->some))
                        continue;
                /* One that has not begun takes these along. */
                for (uint32_t i = 0; run->some && i < n; i++)
                        run->selected[i] |= selected[i];
                *ret_n = run->all ? n : select_count(run->image, run->selected);
                free(selected);
                return run->id;
        }
        n = select_count(engine->image, selected);
        id = n > 0 ? add_own(engine, cause, selected) : 0;
        if (n == 0)
                free(selected);
        if (id > 0)
                *ret_n = n;
        return id;
}

/* A run that waits takes the new image: what was selected, as far as it is still there, with what that requires now. */
static int move_to_image(EngineRun *run, Image *image) {
        _cleanup_free_ uint8_t *selected = NULL;
        int r;

        if (!run->all) {
                selected = calloc(MAX(image_n_states(image), 1U), 1);
                if (!selected)
                        return -ENOMEM;
                for (uint32_t i = 0; i < image_n_states(run->image); i++)
                        if (run->selected[i] && run->now[i] != NO_STATE)
                                selected[run->now[i]] = 1;
                r = run->heal || run->some ? 0 : select_required(image, selected);
                if (r < 0)
                        return r;
        }
        free(run->selected);
        run->selected = TAKE_PTR(selected);
        free(TAKE_PTR(run->now));
        free(TAKE_PTR(run->before));
        image_unref(run->image);
        run->image = image_ref(image);
        return 0;
}

/* Something that it has still to do is declared otherwise now. What that is, is added to `left` if it is so. */
static bool is_outdated(const EngineRun *run, uint8_t *left) {
        const Image *now = run->engine->image;
        bool outdated = false;

        for (uint32_t i = 0; i < image_n_states(run->image) && !outdated; i++) {
                uint32_t k;

                if (!run_is_open(run->run, i))
                        continue;
                k = engine_run_state_now(run, i);
                /* Whether it is only looked at is no part of the hash. */
                outdated = k == NO_STATE || image_state(now, k)->flags != image_state(run->image, i)->flags;
        }
        for (uint32_t i = 0; outdated && i < image_n_states(run->image); i++)
                if (run_is_open(run->run, i) && engine_run_id_now(run, i) != NO_STATE)
                        left[engine_run_id_now(run, i)] = 1;
        return outdated;
}

void engine_run_image_changed(Engine *engine, bool different, uint8_t *left) {
        for (EngineRun *run = engine->runs, *next; run; run = next) {
                int r;

                next = run->next;
                if (run->image == engine->image)
                        continue;
                r = map_states(run);
                if (r >= 0 && !run->run && !run->apart)
                        r = move_to_image(run, engine->image);
                if (r < 0) {
                        log_oom();
                        engine_run_stop(engine, run);
                } else if (run->apart) {
                        /* A plan may say what would have been. */
                        if (run->mode == RUN_APPLY && different) {
                                run->why = "other roles are in force now than those it was asked for";
                                engine_run_stop(engine, run);
                        }
                } else if (run->run && run->mode == RUN_APPLY && is_outdated(run, left)) {
                        /* It would undo what the run over the new roles does, which does the rest as well. */
                        run->why = "other roles are in force now, over which another run goes";
                        engine_run_stop(engine, run);
                }
        }
}

/* ---- Stopping ------------------------------------------------------------------------------------------------------- */

void engine_run_stop(Engine *engine, EngineRun *run) {
        if (run->json)
                return;
        if (run->run)
                run_stop(run->run);
        else
                finish(run, run->why ?: "it was stopped before it began");
        (void) engine;
}

void engine_run_retry(EngineRun *run) {
        if (run->run)
                run_retry(run->run);
}

void engine_run_stop_all(Engine *engine) {
        for (EngineRun *run = engine->runs, *next; run; run = next) {
                next = run->next;
                engine_run_stop(engine, run);
        }
}

void engine_run_give_up(Engine *engine) {
        while (engine->runs)
                finish(engine->runs, "agentd was stopped before what was under way had finished");
}

void engine_run_look_again(Engine *engine) {
        int enabled;

        if (sd_event_source_get_enabled(engine->progress_timer, &enabled) > 0)
                return;
        (void) sd_event_source_set_time_relative(engine->progress_timer, PROGRESS_EVERY_USEC);
        (void) sd_event_source_set_enabled(engine->progress_timer, SD_EVENT_ONESHOT);
}

void engine_run_stop_waiting(Engine *engine) {
        for (EngineRun *run = engine->runs, *next; run; run = next) {
                next = run->next;
                if (only_waits(run))
                        engine_run_stop(engine, run);
        }
}

/* The host was disabled. */
void engine_run_stop_applies(Engine *engine) {
        for (EngineRun *run = engine->runs, *next; run; run = next) {
                next = run->next;
                if (run->mode == RUN_APPLY)
                        engine_run_stop(engine, run);
        }
}

bool engine_run_will_come_to(const Engine *engine, uint32_t state) {
        unsigned n = 0;

        for (const EngineRun *run = engine->runs; run; run = run->next) {
                bool begins = run->heal || n < RUNS_AT_ONCE;
                uint32_t theirs = run->image == engine->image ? state
                                  : run->before               ? run->before[state]
                                                              : NO_STATE;

                /* It may be hours until it comes to anything else. */
                if (only_waits(run))
                        continue;
                n += !run->heal;
                if (run->mode != RUN_APPLY || theirs == NO_STATE)
                        continue;
                if (run->run ? run_waits(run->run, theirs)
                             : begins && (!run->selected || run->selected[theirs]))
                        return true;
        }
        return false;
}

/* ---- The object ----------------------------------------------------------------------------------------------------- */

int engine_run_init(Engine *engine) {
        int r;

        r = sd_event_add_time(
                engine->event, &engine->progress_timer, CLOCK_MONOTONIC, 0, 0, on_progress_timer, engine);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(engine->progress_timer, SD_EVENT_OFF);
        r = sd_event_add_defer(engine->event, &engine->run_event, on_run_event, engine);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(engine->run_event, SD_EVENT_OFF);
        return 0;
}

void engine_run_done(Engine *engine) {
        sd_event_source_disable_unref(engine->progress_timer);
        sd_event_source_disable_unref(engine->run_event);
        for (EngineRun *run = engine->runs, *next; run; run = next) {
                next = run->next;
                engine_run_free(run);
        }
        for (EngineRun *run = engine->over, *next; run; run = next) {
                next = run->next;
                engine_run_free(run);
        }
        json_decref(engine->last_run);
        worker_pool_free(engine->pool);
}
