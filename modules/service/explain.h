/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What explain.c and explain-journal.c share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of what was said: lines that are told, and bytes of each. */
#define EXPLAIN_LINES      3
#define EXPLAIN_LINE_BYTES 200

typedef struct Lines {
        char text[EXPLAIN_LINES][EXPLAIN_LINE_BYTES + 1];
        size_t n; /* ever */
} Lines;

/* What systemd has said of a unit. */
typedef struct UnitSaid {
        bool has_exit; /* a process of it has failed: the first one */
        bool by_signal;
        int status;       /* or signal */
        char command[24]; /* ExecStartPre, …; "n/a" */
        bool has_ended;   /* without a failure */
        bool is_skipped;  /* since its ExecCondition= says so */
        char reason[EXPLAIN_LINE_BYTES + 1];
} UnitSaid;

/* Nothing is waited for after that, CLOCK_MONOTONIC. */
void journal_wait_until(uint64_t usec);

/* Of each: user: of whose systemd the unit is, NULL: the host's; since_usec: CLOCK_REALTIME. What cannot be read was not said. */

/*
 * All that journald was told by now is in the journal when this returns true. Else it may be on its way: to be waited for by the calls
 * below, for a while.
 */
bool journal_sync(uint64_t max_usec);

/* The last lines that processes of the unit have written. */
void journal_read_own(const char *unit, const uid_t *user, uint64_t since_usec, bool wait, Lines *lines);

enum {
        JOURNAL_WAIT = 1 << 0,    /* it may be on its way */
        JOURNAL_PATIENT = 1 << 1, /* there surely is something */
};

void journal_read_systemd(
        const char *unit, const uid_t *user, uint64_t since_usec, unsigned flags, UnitSaid *said);

/* What systemd has to say against the unit itself: its file, its order. */
void journal_read_complaints(
        const char *unit, const uid_t *user, uint64_t since_usec, bool wait, Lines *lines);
