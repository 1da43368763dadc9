/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of units.h share: units.c (the connection, lists, jobs, files), units-details.c. */

#include <stdio.h>

#include "units.h"

#define SYSTEMD   "org.freedesktop.systemd1"
#define MANAGER   "/org/freedesktop/systemd1"
#define INTERFACE "org.freedesktop.systemd1.Manager"

#define USEC_PER_SEC UINT64_C(1000000)

/* systemd answers at once, but for when it reads its units anew, or executes itself anew. */
#define CALL_USEC (90 * USEC_PER_SEC)

static inline void copy_text(char *to, size_t size, const char *from) {
        (void) snprintf(to, size, "%s", from ? from : "");
}

/* Sets Units.bus. Return: 0; -errno. */
int units_connect(Units *units);

/* A call of a method of the manager. Return: 0; -errno. */
int units_new_call(Units *units, const char *method, sd_bus_message **ret);

/* Takes the message. Return: 0; -errno, with Units.error. */
int units_call(Units *units, sd_bus_message *message, uint64_t usec, sd_bus_message **ret);
/* A method of the manager that takes the name of a unit. Return: likewise. */
int units_call_by_name(Units *units, const char *method, const char *name, sd_bus_message **ret);
