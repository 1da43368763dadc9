/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Facts outside of a load, gathered by a child with a deadline: to show them, or to tell whether those that the roles have
 * read are still the same. The engine does not parse what it says: it is handed on as it is.
 */

#include <systemd/sd-event.h>

#include "image.h"

#define FACT_TASK_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define FACT_TASK_OUTPUT_MAX   MIB(4)

typedef struct FactTask FactTask;

typedef struct FactTaskHandlers {
        /*
         * json: size bytes of one JSON object, NUL-terminated; NULL if there is none, or it was not wanted; error: one line, NULL if all went well.
         * changed: a fact that the image has noted is no longer the same.
         * The task may be freed from here.
         */
        void (*on_facts)(void *userdata, const char *json, size_t size, bool changed, const char *error);
} FactTaskHandlers;

typedef struct FactTaskOptions {
        const char *root;               /* "/" */
        usec_t deadline_usec;           /* of each local program; 0: the default */
        const char *const *directories; /* of local facts, as in FactsOptions; NULL: the usual ones */
        usec_t timeout_usec;            /* of all of it; 0: FACT_TASK_TIMEOUT_USEC */
        const Image *image;             /* whose noted facts are compared; NULL: none */
        bool want_json;
} FactTaskOptions;

/* Options need to stay only during the call. Return: 0; -errno. */
int fact_task_start(sd_event *event, const FactTaskOptions *options, const FactTaskHandlers *handlers,
        void *userdata, FactTask **ret);

/* Ends it: the child is told to go, which takes what it has started with it, and is reaped by the event loop. */
FactTask *fact_task_free(FactTask *task);
DEFINE_CLEANUP(FactTask *, fact_task_free)
