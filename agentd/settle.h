/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * "Call me when it has been quiet": gathers what comes in bursts. A timer runs only while there is something to tell.
 */

#include <systemd/sd-event.h>

#include "util.h"

typedef struct Settle Settle;

/* From the event loop. May poke, cancel and free. */
typedef void (*SettleHandler)(void *userdata);

/**
 * settle_new()
 * @quiet_usec:   must pass after the last poke
 * @longest_usec: … but at most so much after the first one; at least quiet_usec, USEC_INFINITY: no limit
 *
 * The clock is CLOCK_MONOTONIC: it stands still while the host sleeps, as do those who poke.
 *
 * Return: 0; -EINVAL; other -errno.
 */
int settle_new(sd_event *event, usec_t quiet_usec, usec_t longest_usec, SettleHandler on_settled,
        void *userdata, Settle **ret);
Settle *settle_free(Settle *settle);
DEFINE_CLEANUP(Settle *, settle_free)

/* Something happened. */
void settle_poke(Settle *settle);

/* It need not be told any more. */
void settle_cancel(Settle *settle);

bool settle_is_pending(const Settle *settle);
