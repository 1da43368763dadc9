/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether the host is disabled: nothing is changed on it until somebody enables it, or the time is over. A small file in the
 * state directory, so that it holds over restarts and reboots, whatever becomes of the store.
 *
 * A file that cannot be understood means: disabled. To change a host that somebody wanted to be left alone is the worse
 * mistake.
 */

#include <jansson.h>

#include "util.h"

/* Where agentd keeps what is to outlive it. */
#define STATE_DIRECTORY "/var/lib/agentd"

#define DISABLE_FILE       "disabled"
#define DISABLE_REASON_MAX 1000 /* bytes */

typedef struct Disabled {
        char *reason, *by;
        usec_t since_usec; /* CLOCK_REALTIME */
        usec_t until_usec; /* likewise; USEC_INFINITY: until it is enabled */

        /* In the boot in which it was said, this counts instead, on CLOCK_BOOTTIME: the wall clock may be set. */
        char boot_id[33];
        usec_t until_boottime_usec;
} Disabled;

Disabled *disabled_free(Disabled *disabled);
DEFINE_CLEANUP(Disabled *, disabled_free)

/* Return: 0; -ENOMEM. */
int disabled_new(const char *reason, const char *by, usec_t for_usec, Disabled **ret);

/*
 * Reads what is in the directory. Return: 1 and the object; 0 if the host is enabled, also if the time is over; -ENOMEM.
 * Where the directory or the file cannot be read it is 1 with a reason that says so.
 */
int disabled_read(const char *directory, Disabled **ret);

/* Writes it down, or (NULL) removes it; on disk when this returns. Return: 0; -errno, and what was there still holds. */
int disabled_write(const char *directory, const Disabled *disabled);

/* How long it still lasts; 0: the time is over; USEC_INFINITY. */
usec_t disabled_left(const Disabled *disabled);

/* As docs/api.md says; a new reference, null for NULL. */
json_t *disabled_to_json(const Disabled *disabled);
