/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the type `service` share: service.c (what a state says), check.c, apply.c, explain.c. */

#include <agentd/module.h>

#include "units.h"

/* What a role may leave open. */
typedef enum Wish { OPEN = -1, NO = 0, YES = 1 } Wish;

/* What prepare makes of a state; lies in the image. */
typedef struct Service {
        const char *unit; /* its full name */
        bool is_template;
        int8_t running, enabled, masked, preset; /* Wish */
        bool wait;                               /* until jobs are over */
        uint64_t healthy_usec;                   /* it has to stay active for so long after a start */
} Service;

static inline const Service *service_of(const AgentdState *state) {
        return state->data;
}

/* check.c */
int service_check(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags);

/* apply.c */
int service_apply(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags);

/* Of Units: the bus of the worker. */
int service_connect(void *userdata, sd_bus **ret);

/*
 * explain.c: why a unit is not as it should be: its result, how its process ended, the last lines that it has written since
 * @begin:      of a sentence: "it did not start"
 * @since_usec: CLOCK_REALTIME
 *
 * Return: one line, to be freed; NULL if memory is short.
 */
char *service_explain(Units *units, const char *unit, const char *begin, uint64_t since_usec);
