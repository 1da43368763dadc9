/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One line on the terminal's standard error, for what takes longer than a second: what is waited for, or how far a run is. */

#include <jansson.h>

#include "util.h"

#define PROGRESS_AFTER_USEC USEC_PER_SEC
#define PROGRESS_EVERY_USEC (200 * USEC_PER_MSEC)
#define PROGRESS_SHOWN_MAX  10

typedef struct ProgressState {
        char *id;
        usec_t since_usec;
} ProgressState;

typedef struct Progress {
        bool wanted;
        bool shown;
        const char *what; /* "Waiting for agentd"; not owned */
        usec_t begun_usec, drawn_usec;
        json_int_t done, total; /* of a run; total 0: not known yet */
        ProgressState running[PROGRESS_SHOWN_MAX];
        size_t n_running;
} Progress;

/* Something begins that may take long. The text must stay. */
void progress_begin(Progress *progress, const char *what);

/* The run is so far: the object under "progress" of docs/api.md. */
void progress_update(Progress *progress, const json_t *object);

/* To be called often: draws when it is time. */
void progress_tick(Progress *progress);

/* Before anything else is printed. */
void progress_hide(Progress *progress);

void progress_done(Progress *progress);

/* The line as it would be drawn, cut to the width, without control characters; to be freed. NULL if out of memory. */
char *progress_text(const Progress *progress, usec_t now, size_t width);
