/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A run: one convergence over all states of an image. It keeps who waits for whom, makes batches of what is ready,
 * gives them to the workers, and decides what their answers mean:
 *
 *      waiting ─▶ ready ─▶ check ─┬▶ ok, skipped, failed, unknown
 *                                 └▶ drifted ─▶ apply ─▶ check again ─▶ changed, failed
 *
 * In a plan the line ends at drifted. Hooks lie between these steps, and what has failed may be tried again: run-hook.c.
 */

#include <jansson.h>

#include "worker.h"

typedef enum Result {
        RESULT_NONE, /* not known yet */
        RESULT_OK,
        RESULT_CHANGED,
        RESULT_DRIFTED,
        RESULT_UNKNOWN,
        RESULT_FAILED,
        RESULT_SKIPPED,
        RESULT_BLOCKED,
        _RESULT_MAX,
} Result;

const char *result_to_string(Result result);

typedef enum RunMode {
        RUN_APPLY,
        RUN_PLAN,
} RunMode;

const char *run_mode_to_string(RunMode mode);

/* What is known of a state that is not simply `ok`, until its result was told. */
typedef struct RunDetail {
        json_t *differences; /* array of { attribute, is, should, diff }; NULL if there are none */
        json_t *left;        /* those that the check after the apply found */
        json_t *undo;        /* array of { what, old } */
        char *error;         /* UTF-8 on one line; NULL if there is none */
        json_t *differences_before, *undo_before; /* of attempts before this one, until the last is over */
        size_t bytes;                             /* of records about it */
} RunDetail;

typedef struct Run Run;

/* That has failed, while others are left. */
typedef struct RunAttempt {
        unsigned n, max; /* the nth of so many */
        usec_t delay_usec;
} RunAttempt;

typedef struct RunHandlers {
        /* A state has its result. In order of execution. Its details are given up when this returns. */
        void (*on_result)(void *userdata, Run *run, uint32_t state);

        /* All are done, or the run was stopped and the batches that were under way are back. */
        void (*on_finished)(void *userdata, Run *run);

        /* A state is about to be looked at. False: another run holds it, so it has to wait for run_retry(). NULL: always
         * true. */
        bool (*may_begin)(void *userdata, Run *run, uint32_t state);

        /* What the state is owed from before this run, when it is about to be looked at: IMAGE_LISTEN_…. NULL: nothing. */
        uint32_t (*owed)(void *userdata, Run *run, uint32_t state);

        /* The state has dealt with what it was given of that, run_owed(), though it has no result yet and may still fail. NULL:
         * likewise. */
        void (*has_paid)(void *userdata, Run *run, uint32_t state);

        /* These are about to be changed, each of them once. NULL: nobody wants to know. */
        void (*will_apply)(void *userdata, Run *run, const uint32_t *states, uint32_t n);

        /* The number of the run, for what it starts. NULL: that of its options. */
        int64_t (*number)(void *userdata, Run *run);

        /* A state has failed, is tried again later, and is held no longer until then. Its details say why. NULL: nobody
         * wants to know. */
        void (*on_attempt_failed)(void *userdata, Run *run, uint32_t state, const RunAttempt *attempt);

        /* A hook went wrong which decides nothing. NULL: likewise. */
        void (*on_hook_failed)(void *userdata, Run *run, uint32_t state, Hook hook, const char *explanation);
} RunHandlers;

typedef struct RunOptions {
        int64_t id;
        RunMode mode;
        const char *cause; /* "once", "boot", … */
        bool diff;         /* make text diffs */
        bool audit;        /* check only, whatever the states say */
        bool urgent; /* something has changed, and is likely to be repaired: have an apply worker ready */

        /* A run that would change more states than this is refused: it then is told as a plan. UINT64_MAX: no limit. To
         * know beforehand, all states are checked once more. */
        uint64_t max_changes;

        /* One byte for each state, not 0 if it is part of the run; copied. NULL: all are. What a state requires counts only if
         * it is part of the run itself. */
        const uint8_t *selected;
} RunOptions;

/*
 * run_new() - prepares a run over the image, of which it takes a reference
 *
 * The pool and the cause must outlive the run. Return: 0; -ENOMEM; other -errno.
 */
int run_new(sd_event *event, Image *image, WorkerPool *pool, const RunOptions *options,
        const RunHandlers *handlers, void *userdata, Run **ret);

/* Of a run that is not over: kills the workers that are at its states. Hooks go on, as far as the commands' manager does. */
Run *run_free(Run *run);
DEFINE_CLEANUP(Run *, run_free)

/* Begins. The handlers are called from the event loop only. */
int run_start(Run *run);

/* No new batch; those under way are let finish, with the hooks that belong to what was done. States without a result stay so. */
void run_stop(Run *run);

/* States that had to wait since another run held them may be free now. */
void run_retry(Run *run);

/* True if nothing goes on, and nothing will but for states that are tried again later. */
bool run_only_waits(const Run *run);

/* True while a worker has the state, a hook of it runs, or what was found is about to be acted upon. */
bool run_holds(const Run *run, uint32_t state);

/* True if the state is part of the run and waits for what it requires. */
bool run_waits(const Run *run, uint32_t state);

/* True if the state is part of the run and has no result yet. */
bool run_is_open(const Run *run, uint32_t state);

/* True if the state was given to be changed. */
bool run_has_applied(const Run *run, uint32_t state);

/* True if the change went well, even if a hook after it did not: others may have to do something on account of it. */
bool run_has_changed(const Run *run, uint32_t state);

/* What the state was given of all that it is owed, IMAGE_LISTEN_…, less what came up again meanwhile; for on_result. */
uint32_t run_owed(const Run *run, uint32_t state);

/* What a state listens to has changed in another run: if a worker has it now, it may have come too early. */
void run_notice(Run *run, uint32_t state, uint32_t what);

/* The states that workers have now, or whose hooks run; then those that are tried again later; `max` at most. Returns how
 * many. */
uint32_t run_under_way(const Run *run, uint32_t *ret, uint32_t max);

uint32_t run_n_selected(const Run *run); /* states that are part of it */
uint32_t run_n_done(const Run *run);     /* of which so many have a result */

Image *run_image(const Run *run);
const RunOptions *run_options(const Run *run);
bool run_is_interrupted(const Run *run); /* it was stopped before all was done */
bool run_is_refused(const Run *run);     /* it would have changed more than max_changes */
const char *run_error(const Run *run);   /* why it did not go through; NULL if it did, or goes on */
usec_t run_started(const Run *run);      /* CLOCK_REALTIME */
usec_t run_finished(const Run *run);     /* likewise; 0 while it runs */

Result run_result(const Run *run, uint32_t state);
usec_t run_duration(const Run *run, uint32_t state);         /* time that workers spent on it */
const RunDetail *run_detail(const Run *run, uint32_t state); /* NULL: nothing to tell */

/* How many states have that result. */
uint32_t run_count(const Run *run, Result result);
