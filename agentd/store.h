/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The store: what is to outlive the daemon, in SQLite (WAL). Runs, results that are not ok, the last status of each state,
 * events.
 *
 * Writing never fails and never blocks: rows are queued, and written in one transaction when the event loop has done its
 * turn. While they cannot be written (no space, read-only, the housekeeper holds the lock) they wait, up to
 * STORE_QUEUE_BYTES; then the oldest are given up, and counted. A store that is corrupt is kept aside, as
 * store.db.corrupt-TIME, and a fresh one begun. The agent never refuses to work.
 *
 * What stalls (checkpoints, deletion of what is old, the check for corruption) does the housekeeper, a process of its own.
 *
 * Schema versions are listed in store-schema.c.
 */

#include <jansson.h>
#include <systemd/sd-event.h>

#include "util.h"

#define STORE_FILE        "store.db"
#define STORE_QUEUE_BYTES MIB(8)

/* After a failure it is tried again when there is something to write, and so long has passed. */
#define STORE_RETRY_USEC (10 * USEC_PER_SEC)
/* Somebody else holds the lock: again after so long. */
#define STORE_BUSY_USEC (20 * USEC_PER_MSEC)

/* Pages in the WAL that make a checkpoint worth while. */
#define STORE_WAL_PAGES 1000

typedef struct Store Store;

typedef enum StoreTrouble {
        STORE_RESET,     /* it was corrupt, or of a newer version that cannot be read, and was kept aside */
        STORE_FAILED,    /* rows cannot be written; told once */
        STORE_RECOVERED, /* they can again */
} StoreTrouble;

typedef struct StoreHandlers {
        /* Called from the event loop, never from within store_…(). detail: one line. */
        void (*on_trouble)(void *userdata, StoreTrouble trouble, const char *detail);

        /* Events up to that id are written (or never will be, since the store is in trouble): they may be shown. */
        void (*on_events)(void *userdata, int64_t id);
} StoreHandlers;

typedef struct StoreOptions {
        const char *directory; /* copied */
        const char *
                housekeeper; /* program to exec with "--housekeeper DIRECTORY BYTES AGE_USEC CONTENT_BYTES"; NULL: none */
} StoreOptions;

/* Limits, which the housekeeper keeps: oldest runs with their results, and oldest events, go first. */
typedef struct StoreLimits {
        uint64_t size_bytes;
        usec_t age_usec;
        uint64_t content_bytes; /* of old contents (content.h) */
} StoreLimits;

/* Return: 0, also if there is trouble; -ENOMEM and other -errno of the event loop. */
int store_new(sd_event *event, const StoreOptions *options, const StoreHandlers *handlers, void *userdata,
        Store **ret);

/* Writes what is queued, notes that it was closed in order, and closes. Ends a housekeeper that is under way. */
Store *store_free(Store *store);
DEFINE_CLEANUP(Store *, store_free)

void store_set_limits(Store *store, const StoreLimits *limits);

/* Now, instead of at the end of the turn. Return: 0; -errno if it could not be written (it stays queued). */
int store_flush(Store *store);

/* NULL, or what is wrong. */
const char *store_error(const Store *store);
uint64_t store_size(const Store *store);   /* bytes of the files on disk */
uint64_t store_n_lost(const Store *store); /* rows given up so far */

/* The housekeeper's process, while it runs; 0. */
pid_t store_housekeeper(const Store *store);

/* The life of the housekeeper. Return: its exit status. */
int housekeeper_main(
        const char *directory, const char *size_bytes, const char *age_usec, const char *content_bytes);

/* ---- Numbers --------------------------------------------------------------------------------------------------- */

/* The next number of a run, of an event: > 0, growing, never given twice, also over crashes and resets (after a SIGKILL
 * some may be left out; a fresh store in place of one that cannot be read begins at the number of milliseconds since
 * 1970, and so does what is given while no store can be opened). */
int64_t store_next_run(Store *store);

/* ---- Writing --------------------------------------------------------------------------------------------------- */

typedef struct StoreRun {
        int64_t id;
        const char *mode, *cause;
        usec_t started_usec, finished_usec; /* CLOCK_REALTIME; finished 0: it goes on */
        const json_t *summary;              /* "ok", "changed", … */
        const char *error;                  /* NULL */
        const json_t *vars;                 /* names; NULL: none */
} StoreRun;

/* Adds, or replaces. */
void store_put_run(Store *store, const StoreRun *run);

typedef struct StoreResult {
        int64_t run;
        usec_t time_usec;
        const char *state, *type, *role, *result;
        const json_t *differences; /* array, or NULL */
        const json_t *undo;        /* likewise; contents that it refers to are kept as long as the run */
        const char *error;         /* NULL */
        usec_t duration_usec;
        bool removal; /* of what no role declares any more */
} StoreResult;

void store_put_result(Store *store, const StoreResult *result);

/* What a state was last found to be. Written when it becomes another. */
typedef struct StoreStatus {
        const char *state, *result;
        usec_t since_usec, changed_usec; /* 0: never */
        const char *error;               /* NULL */
} StoreStatus;

void store_put_status(Store *store, const StoreStatus *status);
/* There is no such state any more. */
void store_remove_status(Store *store, const char *state);

/* What is to be made of a state when it is declared no more: any text. Adds, or replaces. */
void store_put_removal(Store *store, const char *state, const char *recipe);
void store_forget_removal(Store *store, const char *state);

/* Results and events of a state are those of another from now on. The housekeeper sees to it, as there may be many; what comes
 * later is not touched. */
void store_rename_state(Store *store, const char *from, const char *to);

/* What a state has still to do since another one, that it listens to, has changed. */
typedef struct StoreOwed {
        const char *state;
        uint32_t what;       /* IMAGE_LISTEN_… */
        const char *because; /* id of the other */
} StoreOwed;

/* Adds, or replaces. */
void store_put_owed(Store *store, const StoreOwed *owed);
void store_remove_owed(Store *store, const char *state);

typedef struct StoreEvent {
        usec_t time_usec;
        const char *kind, *message;
        int64_t run;                       /* 0: none */
        const char *state, *role, *result; /* NULL: none */
        const json_t *data;                /* NULL */
} StoreEvent;

/* Return: its id. */
int64_t store_put_event(Store *store, const StoreEvent *event);

/* ---- Reading: what was queued is flushed before. Objects are in the form of docs/api.md ----------------------------- */

/* Each status there is. A negative return of the function ends it. */
int store_each_status(
        Store *store, int (*on_status)(void *userdata, const StoreStatus *status), void *userdata);

/* Likewise, for what was put by store_put_removal(). */
int store_each_removal(Store *store,
        int (*on_removal)(void *userdata, const char *state, const char *recipe), void *userdata);

/* Likewise, what is owed. */
int store_each_owed(Store *store, int (*on_owed)(void *userdata, const StoreOwed *owed), void *userdata);

/* Runs newest first, those with an id below `before` (0: all), of a mode (NULL: any), `limit` at most.
 * Return: a new array; NULL if the store cannot be read, or memory is short. */
json_t *store_runs(Store *store, int64_t before, const char *mode, unsigned limit);

/* One; NULL if there is none. */
json_t *store_run(Store *store, int64_t id);

/* Runs that were begun and have no end, as when agentd was killed: they get `error` and `finished`. Returns a new array of
 * them; NULL likewise. */
json_t *store_end_unfinished(Store *store, const char *error);

/* What one reading may cost, so that nobody who asks holds up the event loop or fills the memory. A page ends also where
 * that is used up; one item is always read, however large. */
#define STORE_READ_ROWS  2000     /* looked at */
#define STORE_READ_BYTES KIB(512) /* of text in what is returned */

/* Results of a run in their order, from position `after` (0) on. *ret_last: the position of the last one. Fewer than limit
 * does not mean that there are no more; none does. */
json_t *store_results(Store *store, int64_t run, int64_t after, unsigned limit, int64_t *ret_last);

/* The last results of a state, newest first, as docs/api.md says under "history"; skipped ones left out. Fewer, if they are
 * large. */
json_t *store_history(Store *store, const char *state, unsigned limit);

typedef struct EventFilter {
        const char *kind;  /* NULL: any */
        const char *state; /* a glob; NULL: any, also events without a state */
        int64_t run;       /* 0: any */
} EventFilter;

/*
 * store_events() - reads events, oldest first
 * @after:    those with a higher id; then the id of the last one that was looked at, whether it passed or not
 * @filter:   NULL: all
 * @limit:    at most so many
 * @ret_more: there are more to look at, or may be; NULL if that does not matter
 *
 * Return: a new array, which may be empty though there are more; NULL if the store cannot be read, or memory is short.
 */
json_t *store_events(
        Store *store, int64_t *after, const EventFilter *filter, unsigned limit, bool *ret_more);
/* The id of the newest; 0 if there is none. */
int64_t store_last_event(Store *store);

/* Up to this id events are in the store (or never will be): on_events has told so, or is about to. */
int64_t store_settled_event(const Store *store);

/* An event in the form of docs/api.md; NULL if memory is short. */
json_t *store_event_to_json(int64_t id, const StoreEvent *event);

/* True if an event in the form of docs/api.md passes. */
bool event_filter_matches(const EventFilter *filter, const json_t *event);
