/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The engine's runs: those that wait, that go on, and the last that are over. Several may go on at once; no two of them
 * hold one state at the same time.
 */

#include "engine.h"
#include "run.h"

/* Runs that wait or go on, and of those over that are remembered. */
#define ENGINE_RUNS_MAX      16
#define ENGINE_RUNS_REMEMBER 50

/* Of those that wait or go on, with variables of their own: each keeps a whole image. */
#define ENGINE_APART_RUNS_MAX 4

typedef struct EngineRun EngineRun;

/* Who follows a run. Lines are objects as docs/api.md says: results, progress if asked for, at last the run; on_end follows,
 * once. All are called from the event loop, on_line not before the request has returned. */
typedef struct RunFollower {
        void (*on_line)(void *userdata, const json_t *line);
        void (*on_end)(void *userdata);
        void *userdata;
        bool progress;
} RunFollower;

typedef struct RunRequest {
        RunMode mode;
        const char *cause;           /* "request"; must be a literal */
        const char *const *patterns; /* ids or globs of states, n of them; none: all */
        size_t n_patterns;
        const char *const *tags; /* … and which have one of these, n of them; none: with whatever tags */
        size_t n_tags;
        bool only_failed;
        bool diff;
        Image *image; /* to go over in place of that in force, which engine_load_vars() has made; NULL */
        const char *const *vars; /* … with these: NAME=VALUE, ended by NULL. Only the names are remembered */
        const RunFollower *follower; /* copied; NULL: nobody */
} RunRequest;

/*
 * engine_run_request() - starts a run, now or when its turn comes
 * @ret:            the run, which is the engine's; may be NULL
 * @reterr_pattern: with -ENOENT, the index of the pattern that no state matches; with -ENXIO, that of the tag that none has
 *
 * Return: 0; -ENOENT; -ENXIO; -EPERM: the host is disabled; -EAGAIN: no roles are loaded; -EBUSY: too many runs; -EUSERS: too many
 * with an image of their own; -ESHUTDOWN; -ENOMEM.
 */
int engine_run_request(Engine *engine, const RunRequest *request, EngineRun **ret, size_t *reterr_pattern);

/* Whoever follows with this userdata does so no longer. */
void engine_run_unfollow(Engine *engine, void *userdata);

/* That waits, goes on or is remembered; NULL. */
EngineRun *engine_run_find(Engine *engine, int64_t id);

/* Stops it; does nothing if it is over. */
void engine_run_stop(Engine *engine, EngineRun *run);

int64_t engine_run_id(const EngineRun *run);
bool engine_run_is_over(const EngineRun *run);

/* The run as docs/api.md says; a new reference. */
json_t *engine_run_to_json(EngineRun *run, bool progress);

/* Runs that wait or go on, oldest first; those over that are remembered but not in the store, newest first; the last one that
 * is over, null if there is none. New references; runs with their progress. */
json_t *engine_runs_active(const Engine *engine);
json_t *engine_runs_remembered(const Engine *engine, int64_t before, const char *mode);
json_t *engine_runs_last(const Engine *engine);

/* Results of a run that is remembered, as a list; NULL if they are in the store. No reference is given. */
const json_t *engine_run_results(const EngineRun *run);
