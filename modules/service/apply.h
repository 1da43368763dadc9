/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of apply share: apply.c (the order of it all, jobs, health), apply-files.c. */

#include "look.h"

typedef struct Item {
        const AgentdState *state;
        const Service *service;
        bool over;                /* done or failed */
        UnitFilesMethod change;   /* what is to be done to its files … */
        bool has_change, unmask;  /* … if anything; and before that */
        bool outdated;            /* it runs since before its own files were changed */
        bool restarted;           /* it was, though we were not told */
        UnitStatus status;        /* when it was last looked at */
        UnitJob *job;             /* NULL: none */
        uint64_t begun_usec;      /* CLOCK_REALTIME */
        uint64_t healthy_at_usec; /* CLOCK_MONOTONIC; 0: it need not be waited for */
        uint32_t restarts;        /* by systemd, when it had been started */
} Item;

typedef struct Apply {
        AgentdContext *context;
        Manager *manager;
        Units *units; /* of that */
        Item *items;
        size_t n;
        UnitJob *jobs;
        size_t n_jobs;
        uint64_t deadline_usec;
        bool reload;  /* systemd has to read its units anew */
        bool offline; /* with --root: there is no systemd that these units are of */
} Apply;

/* The state is finished: as it should be, or not. Does nothing if it was already. */
void apply_done(Apply *a, Item *item);
#define apply_fail(a, item, ...)                                                                  \
        do {                                                                                      \
                if (!(item)->over)                                                                \
                        agentd_failed((a)->context, (size_t) ((item) - (a)->items), __VA_ARGS__); \
                (item)->over = true;                                                              \
        } while (0)

/* ---- apply-files.c --------------------------------------------------------------------------------------------- */

/* Lets systemd look at new files: the states of those that it would not take have failed. */
void apply_verify(Apply *a);

/* Puts files in place, unmasks, disables, enables, masks; sets `reload` if systemd has to know. */
void apply_files(Apply *a);

/* Takes away the files of what is to be absent, and runs no more by now. */
void apply_remove_files(Apply *a);

/* Whether somebody else has changed files of units that are about to be started. */
bool apply_needs_reload(Apply *a);
