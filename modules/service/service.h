/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the type `service` share: service.c (what a state says), check.c, apply.c, explain.c. */

#include <agentd/module.h>

#include "units.h"

/* What a role may leave open. */
typedef enum Wish { OPEN = -1, NO = 0, YES = 1 } Wish;

/* A file that the state owns. */
typedef struct ServiceFile {
        const char *path;
        const char *text;   /* what is to be in it … */
        const char *source; /* … or the file whose content that is */
        const char *what;   /* the attribute, in differences: "unit", "dropin" */
} ServiceFile;

#define SERVICE_FILES_MAX 2

/* What a change of its own files does to a unit that runs. */
typedef enum OnChange {
        ON_CHANGE_RESTART,
        ON_CHANGE_RELOAD,
        ON_CHANGE_NOTHING,
} OnChange;

/* What prepare makes of a state; lies in the image. */
typedef struct Service {
        const char *unit; /* its full name */
        const char *user; /* of whose systemd it is; NULL: the host's */
        int8_t linger;    /* Wish */
        ServiceFile files[SERVICE_FILES_MAX];
        unsigned n_files;
        bool verify; /* systemd-analyze knows such files */
        bool absent; /* the files are not to be there, and the unit not to run or be enabled */
        OnChange on_change;
        bool is_template;
        int8_t running, enabled, masked, preset; /* Wish */
        bool wait;                               /* until jobs are over */
        uint64_t healthy_usec;                   /* it has to stay active for so long after a start */
        const char *const
                *calendars; /* of a timer: its times as systemd is to read them, ended by NULL; NULL: none */
} Service;

static inline const Service *service_of(const AgentdState *state) {
        return state->data;
}

/* ---- service.c: what the types of units have in common, in prepare ------------------------------------------------- */

/* Fills in what it is called, claims it, and comes after what it is made of. Return: 0; -EINVAL after agentd_prepare_error(). */
int service_init(
        AgentdPrepare *prepare, Service *service, const char *name, const char *suffix, const char *user);
/* A file that the state owns; all strings are copied. */
void service_own(AgentdPrepare *prepare, Service *service, const ServiceFile *file);
/* restart, reload, nothing; what is best for such a unit if it is not given. */
OnChange service_on_change(const Service *service, const AgentdValue *value);
/* What else cannot be. Return: as above. */
int service_check_wishes(
        AgentdPrepare *prepare, const Service *service, int p_running, int p_healthy_after, int p_wait);
int service_watch(AgentdWatch *watch, const AgentdState *state, unsigned flags);

extern const char *const service_on_change_words[];
extern const char *const service_ensure_words[];

extern const AgentdStateType timer_type, quadlet_type;

/* ---- In workers ------------------------------------------------------------------------------------------------- */

/* check.c */
int service_check(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags);

/* apply.c */
int service_apply(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags);

/* Whether the state is of the systemd of that user; NULL: of the host's. */
bool service_is_of(const AgentdState *state, const char *user);

/* Calls the function once for each user that states are of. Return: 0; the first error. */
int service_each_user(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags,
        int (*function)(AgentdContext *context, const AgentdState *states, size_t n, const char *user,
                unsigned flags));

/* True if it runs since before its own files were last changed. */
bool service_is_outdated(AgentdContext *context, Units *units, const Service *service);

/*
 * explain.c: why a unit is not as it should be: its result, how its process ended, the last lines that it has written since
 * @unit:       its name proper
 * @user:       of whose systemd it is; NULL: the host's
 * @begin:      of a sentence: "it did not start"
 * @since_usec: CLOCK_REALTIME
 *
 * Return: one line, to be freed; NULL if memory is short.
 */
char *service_explain(Units *units, const char *unit, const uid_t *user, const char *begin,
        uint64_t since_usec, unsigned flags);

/* For those below and the one above: what is on its way to the journal is not waited for until the time of the state is over. */
void service_explain_in_time(AgentdContext *context, size_t i);

enum {
        EXPLAIN_STOP = 1 << 0, /* it was to be stopped */
        EXPLAIN_LATE = 1 << 1, /* our time for it was over */
};

/* Likewise, of a unit that could not be started because of another: which one, and why that. */
char *service_explain_dependency(
        Units *units, const char *unit, const uid_t *user, const char *begin, uint64_t since_usec);

/* Likewise, of a unit that systemd does not take: with what it has to say against it. wait: that may come only now. */
char *service_explain_refusal(
        const char *unit, const uid_t *user, const char *begin, uint64_t since_usec, bool wait);
