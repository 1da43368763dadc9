/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Watches units, and signals on the system bus, by one connection, which is there only if anything is watched. PID 1 is asked
 * for the signals of all units at once, as the bus allows only so many match rules; those of units that nobody watches are
 * dropped by the path, before they are read.
 *
 * Watch is dumb, as that of paths is: whoever is told looks for himself. A unit is reported when it comes to rest (active,
 * inactive or failed, without a job) otherwise than it was before, or came from being on its way; not while it is on its
 * way. What the signals do not tell (unit files, enablement, masks) is reported as `all`: when unit files have changed, PID 1
 * has read them again, or the connection was lost.
 */

#include <systemd/sd-event.h>

#include "util.h"

/* How long it is waited for others to change as well, which are then told together: a little; and longer in a burst, while others
 * come to rest one after the other: if some were told of just now, or have set out not long ago. */
#define UNIT_WATCH_QUIET_USEC   (2 * USEC_PER_MSEC)
#define UNIT_WATCH_NEWS_USEC    (20 * USEC_PER_MSEC)
#define UNIT_WATCH_SET_OUT_USEC (2 * USEC_PER_SEC)
#define UNIT_WATCH_LONGEST_USEC (100 * USEC_PER_MSEC)

/* Signals that modules name, and unit files: they come in flocks, and nothing hangs on a moment. */
#define UNIT_WATCH_SLOW_USEC (100 * USEC_PER_MSEC)

/* How long it is waited for PID 1 to have read its units again. */
#define UNIT_WATCH_RELOAD_USEC (5 * USEC_PER_SEC)

/* Match rules of modules, at most; the bus allows a connection 512. */
#define UNIT_WATCH_MATCHES_MAX 64

typedef struct UnitWatch UnitWatch;

typedef struct UnitWatchHandlers {
        /* Something happened to units or matches of the list; from the event loop. indices: which, n of them, each once, good
         * until this returns: units first, then matches. all: any of them may be different. */
        void (*on_changed)(void *userdata, const uint32_t *indices, size_t n, bool all);

        /* From now on nothing is missed; or, with an error, one line, something may be. Once for each list; again if that is
         * different, and after a connection was lost. */
        void (*on_armed)(void *userdata, const char *error);
} UnitWatchHandlers;

/* Return: 0; -errno. */
int unit_watch_new(sd_event *event, const UnitWatchHandlers *handlers, void *userdata, UnitWatch **ret);
UnitWatch *unit_watch_free(UnitWatch *watch);
DEFINE_CLEANUP(UnitWatch *, unit_watch_free)

/*
 * unit_watch_set() - replaces the list
 * @units:   full names, each once: "a.service", also an alias; "a@b.service"; "a@.service" for all instances
 * @matches: rules as of the D-Bus specification, each once
 *
 * What was watched before and is in the new list stays watched all the time. Nothing at all closes the connection.
 * Return: 0; -ENOMEM: then the old list stays.
 */
int unit_watch_set(UnitWatch *watch, const char *const *units, size_t n_units, const char *const *matches,
        size_t n_matches);
