/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The engine: what the daemon is when nobody talks to it. It loads roles when they change, starts runs (engine-run.h), knows
 * what each state was last found to be (status.h), and tells what happens (event.h). Who wants something of it (api-*.c,
 * signals) calls these functions; answers that take time come by callback, from the event loop.
 */

#include <jansson.h>
#include <systemd/sd-event.h>

#include "command.h"
#include "event.h"
#include "image.h"
#include "settings.h"
#include "status.h"
#include "store.h"

typedef struct Engine Engine;

typedef struct EngineOptions {
        const char *conf_dir;        /* replaces all conf.d directories; NULL: the usual ones */
        const char *module_dir;      /* searched first; NULL */
        const char *state_directory; /* "/var/lib/agentd" */
        int log_level;               /* counts more than agentd.toml; -1: that counts */
        const char *executable;      /* of agentd itself, for the housekeeper and after an upgrade */

        bool units;                     /* systemd runs commands */
        CommandDescriptor *descriptors; /* of commands that a former agentd has begun; taken */
        size_t n_descriptors;

        /* Nothing goes on any more, and agentd ends: the next one may take over clients. NULL: nobody. */
        void (*on_leave)(void *userdata);

        /* True while somebody is being told something: the end waits for that, for ENGINE_TELL_USEC at most. NULL: nobody. */
        bool (*is_telling)(void *userdata);
        void *userdata;
} EngineOptions;

/* The options must stay. Return: 0; -errno, logged. */
int engine_new(sd_event *event, const EngineOptions *options, Engine **ret);

/* All children are ended, the store closed. */
Engine *engine_free(Engine *engine);
DEFINE_CLEANUP(Engine *, engine_free)

/* Begins: the first load, then the run at boot. */
int engine_start(Engine *engine);

/* Nothing new begins; what is under way has ENGINE_STOP_USEC. Then the event loop is left, with `code`. */
#define ENGINE_STOP_USEC (20 * USEC_PER_SEC)
#define ENGINE_TELL_USEC (2 * USEC_PER_SEC)
void engine_stop(Engine *engine, int code);

/* The code that says: the program was replaced, exec it. */
#define ENGINE_EXIT_REPLACED 77

/* Before engine_free(), if another program follows in this process: what it needs of commands that go on. The caller's. Return:
 * 0; -ENOMEM. */
int engine_take_descriptors(Engine *engine, CommandDescriptor **ret, size_t *ret_n);

/* ---- Looking --------------------------------------------------------------------------------------------------- */

typedef enum EngineState {
        ENGINE_STARTING, /* the first load is not over */
        ENGINE_IDLE,
        ENGINE_LOADING,
        ENGINE_RUNNING,
        ENGINE_STOPPING,
        _ENGINE_STATE_MAX,
} EngineState;

const char *engine_state_to_string(EngineState state);
EngineState engine_state(const Engine *engine);

const Settings *engine_settings(const Engine *engine);
Image *engine_image(const Engine *engine); /* in force; NULL before one was loaded. No reference is given */
Store *engine_store(const Engine *engine);
StatusTable *engine_status(const Engine *engine); /* of the states in the image, by index; NULL before */
EventLog *engine_events(const Engine *engine);
struct Triggers *engine_triggers(const Engine *engine);

usec_t engine_started(const Engine *engine); /* CLOCK_REALTIME, as all that follow; 0: never */
usec_t engine_loaded(const Engine *engine);
usec_t engine_next_run(const Engine *engine);

/* Diagnostics of the last load if it failed; an empty array otherwise. No reference is given. */
const json_t *engine_load_errors(const Engine *engine);
/* True if the last load failed, with or without diagnostics. */
bool engine_load_failed(const Engine *engine);

typedef struct EngineCounts {
        uint64_t n_loads, n_loads_failed;
        uint64_t n_runs[2];              /* by RunMode, finished */
        uint64_t n_results[_RESULT_MAX]; /* of applies */
        usec_t load_usec, run_usec;      /* what the last one took */
} EngineCounts;

const EngineCounts *engine_counts(const Engine *engine);

/* ---- Steering -------------------------------------------------------------------------------------------------- */

/*
 * The outcome of a load. outcome: as docs/api.md says, not yours; NULL if the roles were refused, or if the load itself
 * failed; diagnostics: then what is wrong with them (may be empty), else an empty array.
 */
typedef void (*EngineLoaded)(void *userdata, const json_t *outcome, const json_t *diagnostics);

/* Loads and takes over. If a load is under way already, another one follows it. Return: 0; -ESHUTDOWN; -ENOMEM. */
int engine_reload(Engine *engine, EngineLoaded on_loaded, void *userdata);

/*
 * What was changed on disk until now is to be in force: a load that would begin when the files have been left alone begins at
 * once, and until all is watched that the last one has read nobody knows whether one is due. Return: 1: on_loaded is told when
 * that is over, perhaps before this returns, and with NULL as outcome if nothing was to be loaded; 0: nothing is to be loaded,
 * and nobody is told; -ESHUTDOWN; -ENOMEM.
 */
int engine_catch_up(Engine *engine, EngineLoaded on_loaded, void *userdata);

/* Loads and throws away. outcome is then { "n_roles", "n_states" }. Return: 0; -EBUSY: too many at a time; -errno. */
int engine_validate(Engine *engine, EngineLoaded on_loaded, void *userdata);

/*
 * Loads with these variables (NAME=VALUE, ended by NULL; copied) over all others, for a run of its own. image: to be
 * referenced if it is kept; NULL: as outcome above. warnings: lines of text, as of load_warnings(); NULL: none. Return: as
 * engine_validate().
 */
typedef void (*EngineImage)(void *userdata, Image *image, const json_t *diagnostics, const json_t *warnings);
int engine_load_vars(Engine *engine, const char *const *vars, EngineImage on_image, void *userdata);

/*
 * Loads, says where all that is said of a state comes from, and throws away. text: JSON as of docs/api.md ("explanation"), or if
 * !found why there is no such state, in a few words; NULL if the roles were refused or the load failed, as of EngineLoaded.
 * Counted with validations. Return: 0; -EBUSY: too many at a time; -errno.
 */
typedef void (*EngineExplained)(
        void *userdata, const char *text, size_t size, bool found, const json_t *diagnostics);
int engine_explain(Engine *engine, const char *id, EngineExplained on_explained, void *userdata);

/* Whether a state is repaired again and again, as somebody changes it each time. */
bool engine_is_fighting(const Engine *engine, uint32_t state);

/* Facts as JSON text; NULL and an error in one line. Return: 0; -EBUSY: too many at a time; -errno. */
typedef void (*EngineFacts)(void *userdata, const char *json, size_t size, const char *error);
int engine_facts(Engine *engine, EngineFacts on_facts, void *userdata);

/* The answer to these requests is no longer wanted. */
void engine_forget(Engine *engine, void *userdata);

/* What is watched, as docs/api.md says under "watches"; a new reference. */
json_t *engine_watches(const Engine *engine);

/* As docs/api.md says under "disabled"; a new reference, null if it is enabled. */
json_t *engine_disabled(const Engine *engine);
bool engine_is_disabled(const Engine *engine);

/* Return: 0; -EROFS, -ENOSPC and others if it could not be written down: then nothing has changed. */
int engine_disable(
        Engine *engine, const char *reason, const char *by, usec_t for_usec); /* USEC_INFINITY: for ever */
int engine_enable(Engine *engine, const char *by);
