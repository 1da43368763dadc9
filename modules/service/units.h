/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Units by D-Bus: what systemd says of many at once, and jobs for many at once. All functions block, with a deadline; they are for
 * workers. Sources: org.freedesktop.systemd1(5) of systemd 252.
 *
 * Errors are negative errnos; a text for people is in Units.error, valid until the next call. If the bus or PID 1 goes away in the
 * middle (-ECONNRESET, -ENOTCONN, …), the next call makes a new connection.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Calls that are under way at a time: dbus-daemon allows some 400 that wait for an answer, and others want to ask, too. */
#define UNITS_WINDOW 64

#define UNITS_ERROR_SIZE 512

typedef struct Units {
        /* Gives a connection that works, not a reference; called again when one has broken. Return: 0; -errno. */
        int (*connect)(void *userdata, sd_bus **ret);
        void *userdata;

        sd_bus *bus;           /* of connect; NULL before */
        sd_bus_slot *removed;  /* the match of JobRemoved */
        struct UnitJob *jobs;  /* of the call of units_run_jobs() that goes on */
        size_t n_jobs, n_open; /* … of which so many are not over */
        size_t n_calls;        /* … of which systemd has so many not answered yet */
        void *userdata_jobs;   /* likewise */
        char error[UNITS_ERROR_SIZE];
} Units;

void units_done(Units *units);

/* ---- Looking --------------------------------------------------------------------------------------------------- */

typedef enum UnitActive {
        UNIT_INACTIVE, /* also what is not there */
        UNIT_ACTIVE,
        UNIT_RELOADING,
        UNIT_FAILED,
        UNIT_ACTIVATING,
        UNIT_DEACTIVATING,
        UNIT_MAINTENANCE,
        UNIT_ACTIVE_OTHER, /* a word that we do not know */
} UnitActive;

/* One row of ListUnitsByNames. */
typedef struct UnitStatus {
        char id[256];  /* its name proper, which may be another one than it was asked by */
        char load[24]; /* loaded, not-found, bad-setting, error, masked */
        char sub[32];
        UnitActive active;
        char job[24]; /* the job that it has: start, stop, restart, …; "": none */
} UnitStatus;

const char *unit_active_to_string(UnitActive active);

/*
 * units_list() - what systemd says of these units, in one call
 * @names: valid names of units that are no templates; each is loaded if it was not
 * @ret:   room for n
 *
 * Return: 0; -errno.
 */
int units_list(Units *units, const char *const *names, size_t n, UnitStatus *ret);

/* Why a unit is as it is, as far as systemd knows. Texts are "" where there is nothing to say. */
typedef struct UnitDetails {
        char result[32];      /* success, exit-code, signal, timeout, start-limit-hit, … */
        char load_error[200]; /* why it cannot be loaded */
        char fragment[256];   /* its file */
        char invocation[33];  /* of its last start, hexadecimal */
        int32_t exit_code;    /* CLD_EXITED, CLD_KILLED, …; 0: it has not ended, or is no service */
        int32_t exit_status;  /* status or signal */
        char type[16];        /* of a service: simple, notify, … */
        char failed
                [24]; /* the command of the unit that failed first since it was last begun: ExecStartPre, … */
        int32_t failed_code; /* of that, likewise */
        int32_t failed_status;
        uint64_t failed_usec;    /* CLOCK_REALTIME: when that was over */
        uint32_t restarts;       /* by systemd itself, since it was last started by somebody */
        uint64_t state_usec;     /* CLOCK_REALTIME: when it came into the state in which it is */
        uint64_t started_usec;   /* likewise: when it last began to start; 0: never */
        uint64_t condition_usec; /* likewise: when that was last looked at; 0: never */
        bool conditions_hold;    /* when that was last looked at */
        bool conditions_fail;    /* it was not started since its conditions did not hold */
        bool needs_reload;       /* its files have changed since systemd has read them */
} UnitDetails;

/* Return: 0; -ENOENT: it is not loaded; -errno. */
int units_get_details(Units *units, const char *name, UnitDetails *ret);

/* Of what a unit requires (Requires=, Requisite=, BindsTo=), the one that failed, or else one that is not active. Return: 1; 0: there is
 * none; -errno. */
int units_find_culprit(Units *units, const char *name, UnitStatus *ret);

/*
 * units_find_socket_user() - the unit that keeps a socket from being started: the one that it starts, which runs
 *
 * Not one that is restarted together with it, as it requires the socket, or is a part of it. Return: 1; 0: there is none; -errno.
 */
int units_find_socket_user(Units *units, const char *socket, UnitStatus *ret);

/* When systemd has last read all units, CLOCK_REALTIME. Return: 0; -errno. */
int units_get_reload_time(Units *units, uint64_t *ret_usec);

/* ---- Changing -------------------------------------------------------------------------------------------------- */

/* Methods of the manager that make a job, with mode "replace". */
typedef enum UnitMethod {
        UNIT_START,
        UNIT_STOP,
        UNIT_RESTART,
        UNIT_TRY_RESTART,
        UNIT_RELOAD_OR_RESTART,
        UNIT_RELOAD_OR_TRY_RESTART,
} UnitMethod;

typedef enum UnitJobResult {
        JOB_OPEN = 0,
        JOB_DONE,
        JOB_SKIPPED,    /* there was nothing to do, as for a unit whose conditions do not hold */
        JOB_REFUSED,    /* systemd did not take it: see error */
        JOB_FAILED,     /* the unit failed */
        JOB_DEPENDENCY, /* something that the unit requires did */
        JOB_TIMEOUT,    /* systemd's own deadline */
        JOB_CANCELED,   /* by another job */
        JOB_LATE,       /* our deadline: the job was cancelled by us */
        JOB_LOST,       /* the connection broke: look at the unit */
} UnitJobResult;

const char *unit_job_result_to_string(UnitJobResult result);

typedef struct UnitJob {
        const char *name;
        UnitMethod method;
        bool no_wait; /* it is enough that systemd has taken it */

        /* Out: */
        UnitJobResult result;
        char word[24];        /* as systemd says it: of JOB_FAILED also assert, unsupported, … */
        char error[200];      /* of JOB_REFUSED: what systemd says */
        char error_name[96];  /* of JOB_REFUSED: "org.freedesktop.systemd1.NoSuchUnit" */
        char waited_for[256]; /* of JOB_LATE, if it had not begun: the unit whose job had to be over first */

        void *userdata; /* the caller's */

        /* Inside: */
        struct Units *units;
        sd_bus_slot *call;
        uint32_t id;    /* 0: not known yet */
        bool cancelled; /* by us */
} UnitJob;

/* Who waits for jobs. */
typedef struct UnitJobsOwner {
        /* Optional: a job is over. In the middle of what comes from systemd, which must not be asked for anything. */
        void (*on_over)(void *userdata, UnitJob *job);
        /* Optional: nothing else has come for now, and jobs are over since the last call. May ask systemd. Returns the deadline from now
         * on. Not called for the last ones. */
        uint64_t (*on_pause)(void *userdata);
        void *userdata;
} UnitJobsOwner;

/*
 * units_run_jobs() - asks for jobs, and waits until all are over
 * @deadline_usec: CLOCK_MONOTONIC; jobs that are not over by then are cancelled
 * @owner:         NULL: nobody wants to know
 *
 * UNITS_WINDOW calls are under way at a time; any number of jobs: one that hangs keeps no other from beginning. What goes wrong with one
 * is its result.
 *
 * Return: 0; -errno: the connection could not be had, or memory is short. Jobs that were not begun then are JOB_LOST.
 */
int units_run_jobs(
        Units *units, UnitJob *jobs, size_t n, uint64_t deadline_usec, const UnitJobsOwner *owner);

/* systemd reads its units anew. deadline_usec: CLOCK_MONOTONIC. Return: 0; -errno. */
int units_reload(Units *units, uint64_t deadline_usec);

/* A link that was made or removed. */
typedef struct UnitLink {
        char type[16]; /* symlink, unlink, … */
        char path[256], target[256];
} UnitLink;

typedef enum UnitFilesMethod {
        UNIT_FILES_ENABLE,
        UNIT_FILES_DISABLE,
        UNIT_FILES_MASK,
        UNIT_FILES_UNMASK,
        UNIT_FILES_PRESET,
} UnitFilesMethod;

/* "enable", … */
const char *units_files_method_to_string(UnitFilesMethod method);

/*
 * units_change_files() - enables, disables, … units: all in one call. systemd has to read them anew after that
 * @runtime:   until the next boot; of disabling and unmasking, what is so
 * @on_change: called for each link; NULL
 *
 * Return: 0; -errno, and nothing is told of which of the names it was about: then ask for each alone.
 */
int units_change_files(Units *units, UnitFilesMethod method, bool runtime, const char *const *names,
        size_t n, void (*on_change)(void *userdata, const UnitLink *change), void *userdata);

/* Takes "failed" from a unit, with its count of starts. Return: 0; -errno. */
int units_reset_failed(Units *units, const char *name);
