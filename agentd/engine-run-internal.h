/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What engine-run.c (runs as a whole), engine-run-look.c (what is told of them) and engine-run-result.c (their results) share. */

#include "engine-run.h"

#define NO_STATE UINT32_MAX

typedef struct Follower {
        struct Follower *next;
        RunFollower how;
        bool gone;
} Follower;

struct EngineRun {
        Engine *engine;
        EngineRun *next;
        int64_t id;
        RunMode mode;
        const char *cause;
        bool all;     /* no selection */
        bool apart;   /* over an image of its own, which was never in force */
        json_t *vars; /* the names of those that made it; NULL: none */
        bool some;    /* after a load: what is not known to be as declared */
        bool heal; /* of what has changed: it has a number, and is remembered, only if there is something to tell */
        bool diff;
        bool own;    /* nobody has asked for it */
        bool stored; /* the store has a row of it */
        Image *image;
        uint8_t *selected; /* until it begins */
        uint32_t *
                now; /* over an image that is no longer in force: index there → that of the same id now; NULL */
        uint32_t *before; /* … and the other way round */
        const char *why;  /* it was stopped; NULL: somebody wanted so */
        Run *run;         /* while it goes on */
        Follower *followers;
        uint32_t n_notable; /* results worth a row in the store */
        json_t *json;       /* when it is over */
        json_t *results;
        size_t results_bytes;
};

/* engine-run.c */

/* A line for all who follow; NULL: none. */
void engine_run_tell_followers(EngineRun *run, const json_t *line);

/* engine-run-look.c */

/* How far it is; with_run: and of which run that is said. */
json_t *engine_run_progress_to_json(const EngineRun *run, bool with_run);

/* engine-run-result.c: of RunHandlers. */
int64_t engine_run_number(void *userdata, Run *run);
void engine_run_on_result(void *userdata, Run *run, uint32_t state);
void engine_run_on_attempt_failed(void *userdata, Run *run, uint32_t state, const RunAttempt *attempt);
void engine_run_on_hook_failed(void *userdata, Run *run, uint32_t state, Hook hook, const char *explanation);
uint32_t engine_run_owed(void *userdata, Run *run, uint32_t state);
void engine_run_has_paid(void *userdata, Run *run, uint32_t state);
void engine_run_will_apply(void *userdata, Run *run, const uint32_t *states, uint32_t n);

/* The state of that id in the image that is in force; NO_STATE. */
uint32_t engine_run_id_now(const EngineRun *run, uint32_t state);
/* Likewise, if it is declared as it was. */
uint32_t engine_run_state_now(const EngineRun *run, uint32_t state);

/* The run without its progress, a new reference. From now on it has a number. */
json_t *engine_run_json(EngineRun *run);

/* Its row in the store; finished 0: it goes on. */
void engine_run_store(EngineRun *run, usec_t finished, const char *error);
