/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of a run share: run.c (graph, batches, dispatch), run-answer.c, run-listen.c, run-lost.c, run-hook.c,
 * run-attempt.c, run-detail.c. */

#include "run.h"

#define NO_NODE UINT32_MAX

typedef enum Step {
        STEP_WAITING,    /* for its dependencies */
        STEP_READY,      /* in a queue */
        STEP_ASKED,      /* a worker has it */
        STEP_TO_APPLY,   /* found to differ; its batch is not back yet */
        STEP_TO_RECHECK, /* applied; its batch is not back yet */
        STEP_HOOK,       /* a hook of it runs, or is to be */
        STEP_PAUSED,     /* it has failed, and is tried again later */
        STEP_DONE,
} Step;

typedef struct Node {
        uint32_t n_waiting; /* dependencies that are not done */
        uint32_t batch;     /* id of the batch that it was sent with */
        uint32_t cause;     /* the node that blocks it, or NO_NODE */
        uint32_t duration_usec;
        uint8_t step;
        uint8_t result;
        uint8_t attempts; /* that have failed, if it may have several */
        uint8_t owed;     /* IMAGE_LISTEN_…: what it is given, since what it listens to has changed */
        uint8_t late;     /* … and what came up again while a worker had it */
        bool pending : 1; /* in a plan: something that it depends on would change first */
        bool held : 1;    /* it has been begun */
        bool keyed : 1;   /* it counts in Run.keys */
        bool inside : 1;  /* part of the run; all that is not is 0, and its memory was never touched */
        bool looked : 1;  /* its before_check was over, in this batch */
        bool applied : 1; /* in this attempt an apply was sent, or what goes before it is done */
        bool touched : 1; /* … or in one before */
        bool given : 1;   /* it was given to be changed */
        bool made : 1;    /* … and was as declared after that, in one attempt at least */
        RunDetail *detail;
} Node;

typedef struct Queue {
        bool keyed;    /* some have a batch key */
        bool unsorted; /* some came since those were last put together */
        uint32_t *states;
        uint32_t first, n, allocated;
} Queue;

/* Of states with the same batch key: they share a file, so that no two batches of them are under way at once. */
typedef struct Key {
        uint32_t n_begun;   /* states that were cut into a batch and are not done */
        uint32_t in_flight; /* id of the batch that a worker has; 0: none */
} Key;

/* A hook that the engine runs, or is to run. */
typedef struct RunHook RunHook;

/* Tried again at a time of CLOCK_MONOTONIC. */
typedef struct Paused {
        uint32_t state;
        usec_t when_usec;
} Paused;

struct Run {
        sd_event *event;
        Image *image;
        RunOptions options;
        const RunHandlers *handlers;
        void *userdata;
        WorkerPool *pool; /* not owned */
        WorkerListener listener;
        sd_event_source *dispatch_event;
        Node *nodes;
        uint32_t n_nodes, n_states, n_done;
        uint32_t *selected; /* states that are part of it: most runs are over a handful of thousands */
        uint32_t n_selected;
        Queue *queues; /* ready states by type; then those that are checked as root, by type */
        uint32_t n_queues;
        Batch *batches, **last_batch; /* made already: applies, checks after, halves */
        uint32_t n_in_flight, last_batch_id;
        Batch *in_flight;
        Key *keys;       /* by batch key; NULL if there are none */
        uint32_t *stack; /* for finish(): nodes that are done but not announced */
        uint32_t counts[_RESULT_MAX];
        usec_t started_usec, finished_usec;
        uint32_t *parked; /* states that another run holds */
        uint32_t n_parked, n_parked_allocated;
        RunHook *hooks, **last_hook;
        unsigned n_hooks_begun;
        Paused *paused;
        uint32_t n_paused, n_paused_allocated;
        usec_t next_attempt_usec; /* the first of these */
        sd_event_source *timer;   /* NULL as long as nobody has waited */
        bool stopped, finished;
        bool probing; /* the first of two passes, in which nothing is told: how much would change? */
        bool refused;
        char error[128];
};

/* Only says what would change. */
static inline bool run_plans(const Run *run) {
        return run->options.mode == RUN_PLAN || run->probing || run->refused;
}

/* The state is looked at, but never changed. */
static inline bool run_audits(const Run *run, uint32_t state) {
        return run->options.audit || image_state(run->image, state)->flags & IMAGE_STATE_AUDIT;
}

/* run-detail.c: kept details of a state, made if there are none; NULL if out of memory. */
RunDetail *run_detail_of(Run *run, uint32_t state);
void run_set_error(Run *run, uint32_t state, const char *format, ...) _printf_(3, 4);
void run_drop_detail(Node *node);
/* A check begins anew. What attempts before it have done stays. */
void run_begin_detail(Node *node);
/* The attempt is over, and another one follows. */
void run_keep_detail(Node *node);
/* It was the last one: what all of them have found and done is put together. */
void run_join_detail(Node *node);

/* run.c */

/* Sets a result and everything that follows from it alone: what is blocked, what has become ready, groups. */
void run_finish_state(Run *run, uint32_t state, Result result);

/* It waits for a worker to check it. */
void run_enqueue(Run *run, uint32_t state);

/* States of one type, before_change of which is done, to be applied together. */
void run_push_begun(Run *run, const uint32_t *states, uint32_t n);

/* Queues states as a batch that is like another one; does nothing if there are none. */
void run_push_states(
        Run *run, Phase phase, const Batch *from, const uint32_t *states, uint32_t n, bool retry);

/* Collects the batch's states that stand at a step. Returns how many; they are put at the front of `ret`. */
uint32_t run_collect(const Run *run, const Batch *batch, Step step, uint32_t *ret);

/* What differs goes on to be applied, what was applied to be checked again. */
void run_hand_on(Run *run, const Batch *batch);

/* The batch is back from its worker. */
void run_take_from_flight(Run *run, Batch *batch);

/* Dispatches at the next turn of the event loop. */
void run_schedule(Run *run);

/* The front of a queue as a batch, or NULL: all that is left waits for others with the same key. */
Batch *run_cut_batch(Run *run, uint32_t q);

/* False if another run holds the state; then it is put aside. */
bool run_may_begin(Run *run, uint32_t state);

/* Results that need no worker. True if the state has one now. */
bool run_finish_without_asking(Run *run, uint32_t state);

Batch *run_batch_new(Run *run, Phase phase, uint32_t type, const uint32_t *states, uint32_t n, bool as_root);

/* run-cut.c: of batch keys */
void run_key_begin(Run *run, uint32_t state);
void run_key_end(Run *run, uint32_t state);
bool run_keys_are_free(const Run *run, const Batch *batch);
void run_keys_take(Run *run, const Batch *batch);
void run_keys_release(Run *run, const Batch *batch);

/*
 * run-hook.c
 *
 * run_settle() - what was found out of a state, or done to it, is this: its result, after what is left of its hooks, unless it
 *                is tried again
 */
void run_settle(Run *run, uint32_t state, Result result);

/* The same, but what belongs to an attempt is over, and there is no other. */
void run_end_attempts(Run *run, uint32_t state, Result result);

/* True if the state is not to be applied yet, as something goes before that. */
bool run_before_change(Run *run, uint32_t state);

void run_dispatch_hooks(Run *run);
uint32_t run_hooks_under_way(const Run *run, uint32_t *ret, uint32_t max);
void run_free_hooks(Run *run);

/* run-attempt.c: true if the state that has failed is tried again. */
bool run_try_later(Run *run, uint32_t state);
void run_dispatch_attempts(Run *run);
/* Of a run that was stopped, when nothing of it goes on: what has failed and did not come to its next attempt has failed. True if
 * there was any. */
bool run_end_all_attempts(Run *run);
uint32_t run_paused(const Run *run, uint32_t *ret, uint32_t max);
/* Dispatches again after a while. */
void run_wake_in(Run *run, usec_t delay);

/* run-answer.c: of WorkerHandlers */
int run_on_record(void *userdata, Batch *batch, MessageKind kind, MessageReader *reader);
void run_on_end(void *userdata, Batch *batch);

/* run-listen.c */

/* A state has its result: those that listen to it, and come later in the run, are given what they listen for. */
void run_tell_listeners(Run *run, uint32_t state, Result result);

/* The state is about to be looked at: what it is owed from before is given to it. */
void run_take_owed(Run *run, uint32_t state);

/* It was changed, and is as declared: what it was given is done with, whatever its hooks say. */
void run_has_made(Run *run, uint32_t state);

/* The batch goes to be applied. */
void run_tell_apply(Run *run, const Batch *batch);

/* Of WorkerHandlers. */
uint32_t run_flags_of(void *userdata, const Batch *batch, uint32_t state);

/* run-lost.c: likewise */
void run_on_lost(void *userdata, Batch *batch, WorkerLoss loss, const char *detail, pid_t stuck_pid);
void run_on_slow(void *userdata, Batch *batch);

/* Fails the state if it lies on a file system that hangs. True if it did. */
bool run_fail_if_hung(Run *run, uint32_t state);

/* The same for many; returns how many are left, at the front. */
uint32_t run_drop_hung(Run *run, uint32_t *states, uint32_t n);
