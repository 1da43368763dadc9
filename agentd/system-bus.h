/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A connection of the engine to PID 1, over the system bus. Nothing of it waits. It may be lost at any time (dbus is
 * restarted), and so may every answer (PID 1 executes itself anew): it is made again by itself, later each time that fails,
 * and who has it is told, to ask again for what he wants to know.
 */

#include <systemd/sd-bus.h>

#include "util.h"

#define SYSTEMD            "org.freedesktop.systemd1"
#define SYSTEMD_PATH       "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER    SYSTEMD ".Manager"
#define SYSTEMD_UNIT       SYSTEMD ".Unit"
#define SYSTEMD_SERVICE    SYSTEMD ".Service"
#define SYSTEMD_UNITS_PATH SYSTEMD_PATH "/unit"
#define DBUS_PROPERTIES    "org.freedesktop.DBus.Properties"

typedef enum SystemBusNews {
        SYSTEM_BUS_CONNECTED,
        SYSTEM_BUS_LOST,    /* the old connection is closed after this: its slots are to be let go */
        SYSTEMD_APPEARED,   /* on the bus: it was not there before, or is another process now */
        SYSTEMD_GONE,       /* from the bus */
        SYSTEMD_RELOADING,  /* it reads all units anew, and answers nobody */
        SYSTEMD_RELOADED,   /* it has done so */
        SYSTEMD_UNREACHABLE /* it was asked for signals, and this has failed */
} SystemBusNews;

typedef struct SystemBusHandlers {
        /* There is a new connection: matches and filters may be added, nothing is sent yet. Optional. Return: 0; -errno, as if
         * it could not be made. */
        int (*on_open)(void *userdata, sd_bus *bus);
        void (*on_news)(void *userdata, SystemBusNews news);
} SystemBusHandlers;

typedef struct SystemBus SystemBus;

/* Makes no connection yet. description: of it, for debugging; stays the caller's, as do the handlers. Return: 0; -errno. */
int system_bus_new(sd_event *event, const char *description, const SystemBusHandlers *handlers,
        void *userdata, SystemBus **ret);
SystemBus *system_bus_free(SystemBus *system);
DEFINE_CLEANUP(SystemBus *, system_bus_free)

/* From now on there is to be one; once is enough. Or there is none any more, which is no news. */
void system_bus_open(SystemBus *system);
void system_bus_close(SystemBus *system);

/* NULL unless it is connected. No reference is given. */
sd_bus *system_bus_get(const SystemBus *system);

/* How often it was tried in vain to connect since that last worked, and what came of it the last time, a negative errno. */
unsigned system_bus_failures(const SystemBus *system, int *ret_error);

/* True if PID 1 has sent it. Anybody may send us a signal that looks like one of its own. */
bool system_bus_from_systemd(const SystemBus *system, sd_bus_message *m);

/* The other side is gone, or too busy: whether it has done what it was asked for is not known. */
bool system_bus_is_lost(const sd_bus_error *error);
