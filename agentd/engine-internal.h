/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the engine share: engine.c (its life, what it does by itself), engine-ask.c, engine-load.c, engine-run.c. */

#include "disable.h"
#include "engine-run.h"
#include "fact-task.h"
#include "loader.h"
#include "path-watch.h"
#include "settle.h"
#include "worker.h"

/* What an answer waits for. */
#define ENGINE_VALIDATIONS_MAX 4
#define ENGINE_FACTS_MAX       4

/* Roles are loaded when nothing has changed for so long; under constant change at last after this. */
#define ENGINE_SETTLE_USEC         (200 * USEC_PER_MSEC)
#define ENGINE_SETTLE_LONGEST_USEC (5 * USEC_PER_SEC)

/* When so many loads in a row have found nothing new, somebody touches files all the time, or a file system tells another
 * identity each time: then it is waited for longer. */
#define ENGINE_IDLE_LOADS               10
#define ENGINE_SETTLE_SLOW_USEC         (10 * USEC_PER_SEC)
#define ENGINE_SETTLE_SLOW_LONGEST_USEC USEC_PER_MINUTE

typedef enum LoadCause {
        /* A run over all states follows the first and the last; of the others, over what is not known to be as declared now. */
        LOAD_BOOT,
        LOAD_ROLES,    /* what the last load has read is no longer the same */
        LOAD_RELOAD,   /* somebody asked */
        LOAD_INTERVAL, /* a fact has changed before a run, or the interval was over while roles were loaded */
} LoadCause;

/* Somebody waits for the outcome of a load. */
typedef struct LoadWaiter {
        struct LoadWaiter *next;
        EngineLoaded on_loaded;
        void *userdata;
} LoadWaiter;

/* A load that is taken over by nobody. */
typedef struct Validation {
        Engine *engine;
        Load *load;
        LoadOptions options;
        char **vars;            /* of the options; NULL: none */
        char *explain;          /* likewise: the state that is explained */
        EngineLoaded on_loaded; /* all NULL: no longer wanted */
        EngineImage on_image;
        EngineExplained on_explained;
        void *userdata;
} Validation;

typedef struct FactsRequest {
        Engine *engine;
        FactTask *task;
        EngineFacts on_facts; /* NULL: no longer wanted */
        void *userdata;
} FactsRequest;

struct Engine {
        sd_event *event;
        const EngineOptions *options;
        LoadOptions load_options;
        Settings settings;
        usec_t started_usec;
        bool ready; /* the first load is over */

        /* engine-load.c */
        Image *image;
        StatusTable *status;
        Load *load;
        LoadCause load_cause;
        bool load_over;         /* of it all is told; it is freed in the next turn */
        usec_t load_begin_usec; /* CLOCK_MONOTONIC */
        usec_t loaded_usec;
        bool load_again;
        LoadCause load_again_cause;
        LoadWaiter *waiters, *waiters_again;
        LoadWaiter *waiters_watch; /* who has to know whether a load is due: until all is watched */
        bool load_failed;
        json_t *load_errors;
        sd_event_source *load_event; /* deferred: the next load begins, the last one is freed */
        PathWatch *watch;
        Settle *settle, *settle_slow;
        unsigned n_idle_loads; /* that found nothing new, in a row */
        Validation *validations[ENGINE_VALIDATIONS_MAX];
        FactsRequest *facts[ENGINE_FACTS_MAX];

        Commands *commands; /* engine-command.c */

        /* engine-removal.c */
        json_t *removals;     /* id → recipe, as the store has them */
        bool removals_unread; /* it could not be opened, and may have more */
        bool removed;         /* the next load has another state of these, or one less */
        bool noted;           /* one was written down since the load began */

        /* engine-run.c */
        WorkerPool *pool;
        struct Heal *heal;
        struct Intervals *intervals;
        struct Triggers *triggers;
        EngineRun *runs;   /* those that wait or go on, oldest first */
        EngineRun *ending; /* its followers are being told */
        EngineRun *over;   /* those that are remembered, newest first */
        bool refused;      /* the last run that could have changed too much has not been let through */
        json_t *last_run;
        sd_event_source *progress_timer;
        sd_event_source *run_event; /* deferred: what waits is begun */

        /* engine.c */
        Store *store;
        EventLog *events;
        sd_event_source *interval_timer;
        usec_t next_run_usec;   /* CLOCK_BOOTTIME; 0: none */
        FactTask *facts_before; /* of an interval run */
        Disabled *disabled;
        sd_event_source *disabled_timer;
        EngineCounts counts;
        bool replaced; /* the program is another one now */
        bool stopping;
        bool is_fat; /* a run over more than a few states has left its traces in the heap */
        int exit_code;
        sd_event_source *stop_timer;
        sd_event_source *leave_timer;
        usec_t leave_usec; /* CLOCK_MONOTONIC: the last moment to leave, once nothing goes on; 0: something does */
        sd_event_source *idle_event; /* deferred: nothing goes on any more */
};

/* engine.c */

/* Something has begun or ended: status line, timers, what was put off until nothing goes on. */
void engine_touch(Engine *engine);

/* The interval begins anew. */
void engine_schedule(Engine *engine);

void engine_apply_settings(Engine *engine, const Settings *settings);

/* engine-ask.c: somebody waits for a load of his own, or for facts; as of engine_load_…(). */
bool engine_is_asked(const Engine *engine);
void engine_ask_forget(Engine *engine, const void *userdata);
void engine_ask_stop(Engine *engine);
void engine_ask_done(Engine *engine);

/* engine-load.c */
int engine_load_init(Engine *engine);
void engine_load_done(Engine *engine);
int engine_load(Engine *engine, LoadCause cause);
/* What has been loaded so far is thrown away; those who wait for it, or for facts, are told that it failed. */
void engine_load_stop(Engine *engine);

/* engine-command.c */
int engine_command_init(Engine *engine);

/* engine-removal.c */
int engine_removal_init(Engine *engine);
void engine_removal_done(Engine *engine);
/* Another image was adopted. */
void engine_removal_adopted(Engine *engine, const Load *load);
/* The store is a fresh one. */
void engine_removal_store_reset(Engine *engine);
void engine_removal_read_late(Engine *engine);
/* A run that applies has found this of one of its states. */
void engine_removal_result(EngineRun *run, uint32_t state, Result result);
void engine_removal_run_over(Engine *engine);

/* engine-run.c */
EngineRun *engine_run_next(const EngineRun *run);
/* States that it could not begin with may be free now. */
void engine_run_retry(EngineRun *run);
int engine_run_init(Engine *engine);
void engine_run_done(Engine *engine);

/* A full run, unless one of the same cause waits or goes on already. Return: its number; 0: none. */
int64_t engine_run_all(Engine *engine, const char *cause);

/* A run over some states, one byte for each, after a load; takes the array. ret_n: over how many it is, together with what it
 * was about to look at anyway. Return: its number; 0: none. */
int64_t engine_run_some(Engine *engine, const char *cause, uint8_t *selected, uint32_t *ret_n);

/* A run over states that may have drifted, one byte for each; takes the array. cause: a literal. Beyond all limits. */
int engine_run_heal(Engine *engine, uint8_t *selected, const char *cause);
/* How many of these go on, beside those that only wait for a state to be tried again. */
unsigned engine_run_n_healing(const Engine *engine);

/* Whether a run comes to a state of the image in force when what that requires is done: then nobody else need look at it now. */
bool engine_run_will_come_to(const Engine *engine, uint32_t state);
void engine_run_stop_all(Engine *engine);
/* Ends runs that only wait for a state to be tried again. */
void engine_run_stop_waiting(Engine *engine);
/* engine_touch() is called again in a moment. */
void engine_run_look_again(Engine *engine);
void engine_run_stop_applies(Engine *engine);
/* Those that are still there when there is no more time. */
void engine_run_give_up(Engine *engine);

/* Another image was adopted, and says something else if `different`. Of runs that are stopped for it, what they had still to do is added to `left`: one byte for each
 * state in force. */
void engine_run_image_changed(Engine *engine, bool different, uint8_t *left);
