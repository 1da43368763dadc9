/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What happened: told to the journal in entries with fields, so that `journalctl AGENTD_STATE=file:/etc/motd` finds it, kept
 * in the store, and sent to those who listen. Each kind has a name, a message id and a text in the catalogue
 * (units/agentd.catalog); event_kinds[] is the one list of them.
 */

#include <jansson.h>

#include "run.h"
#include "store.h"

typedef enum EventKind {
        EVENT_STARTED,
        EVENT_STOPPED,
        EVENT_ROLES_LOADED,
        EVENT_ROLES_REFUSED,
        EVENT_RUN_FINISHED,    /* something was not ok */
        EVENT_RUN_INTERRUPTED, /* stopped, or found unfinished at start */
        EVENT_RUN_REFUSED,     /* it would have changed more than max_changes */
        EVENT_STATE_CHANGED,
        EVENT_STATE_DRIFTED,
        EVENT_STATE_FAILED,
        EVENT_STATE_BLOCKED,
        EVENT_STATE_RECOVERED,
        EVENT_STATE_RETRIED, /* it has failed, and is tried again in the same run */
        EVENT_HOOK_FAILED,   /* one that decides nothing */
        EVENT_FIGHT_BEGUN,   /* it has to be repaired again and again */
        EVENT_FIGHT_OVER,
        EVENT_TRIGGER_FIRED,
        EVENT_COMMAND_FINISHED, /* that was begun before agentd was started */
        EVENT_DISABLED,
        EVENT_ENABLED,
        EVENT_STORE_RESET,
        EVENT_STORE_FAILED,
        EVENT_STORE_RECOVERED,
        _EVENT_KIND_MAX,
} EventKind;

typedef struct EventKindInfo {
        const char *name;       /* "state-changed" */
        const char *message_id; /* 32 hexadecimal digits. Source: made with systemd-id128 new */
        int level;              /* LOG_ERR … LOG_INFO */
} EventKindInfo;

extern const EventKindInfo event_kinds[_EVENT_KIND_MAX];

/* The kind of that name; _EVENT_KIND_MAX: there is none. */
EventKind event_kind_from_string(const char *name);

typedef struct EventLog EventLog;

typedef struct EventDetails {
        int64_t run;                       /* 0: none */
        const char *state, *role, *result; /* NULL: none */
        const char *trigger;               /* for the journal alone; NULL */
        const json_t *data;                /* NULL */
} EventDetails;

/* Return: 0; -ENOMEM. The store stays the caller's; event_log_written() is to be called by its on_events. */
int event_log_new(Store *store, EventLog **ret);
EventLog *event_log_free(EventLog *log);
DEFINE_CLEANUP(EventLog *, event_log_free)

/*
 * event_emit() - something has happened
 * @log:     NULL: only the journal is told
 * @details: NULL: none
 * @format:  a line for people
 *
 * Listeners hear of it when the store has it, so that nothing which they were told is lost.
 */
void event_emit(EventLog *log, EventKind kind, const EventDetails *details, const char *format, ...)
        _printf_(4, 5);

/* Events up to that id may be told. */
void event_log_written(EventLog *log, int64_t id);

typedef struct EventListener {
        /* An event in the form of docs/api.md that passes the filter. Unlistening from within is fine. */
        void (*on_event)(void *userdata, const json_t *event);
        void *userdata;
        EventFilter filter; /* strings are copied */
} EventListener;

/* Listens to what is written from now on. Return: 0; -ENOMEM. */
int event_listen(EventLog *log, const EventListener *listener);
/* Those with this userdata do not listen any more. */
void event_unlisten(EventLog *log, const void *userdata);

/* A state has a result: an entry, if it is worth one (changed, failed, blocked; drifted outside of a plan). For single runs,
 * which have no status table to compare with. */
void event_state_result(const Run *run, uint32_t state);

/* RunHandlers' on_attempt_failed and on_hook_failed, told to the journal and, if there is one, the log. run: its number, if it has
 * another than its options say; 0. */
void event_attempt_failed(
        EventLog *log, const Run *run, int64_t id, uint32_t state, const RunAttempt *attempt);
void event_hook_failed(
        EventLog *log, const Run *run, int64_t id, uint32_t state, Hook hook, const char *explanation);

/* Likewise: a run is over, and anything happened in it. */
void event_run_finished(const Run *run);

/* "mode, owner": the attributes of differences, for a line to people, in buffer; "" if there are none. */
const char *event_attributes(const json_t *differences, char *buffer, size_t size);
