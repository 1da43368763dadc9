/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <time.h>

#include "log.h"
#include "system-bus.h"

#define BUS_ADDRESS "unix:path=/run/dbus/system_bus_socket"
#define LOCAL       "org.freedesktop.DBus.Local"
#define DAEMON      "org.freedesktop.DBus"
#define DAEMON_PATH "/org/freedesktop/DBus"

#define RECONNECT_USEC         (50 * USEC_PER_MSEC)
#define RECONNECT_LONGEST_USEC (5 * USEC_PER_SEC)

struct SystemBus {
        sd_event *event;
        const char *description;
        const SystemBusHandlers *handlers;
        void *userdata;
        sd_bus *bus;
        char *systemd; /* PID 1's unique name on it; NULL: not known yet */
        bool wanted, ready;
        sd_event_source *timer; /* the lost connection is let go, and made again */
        unsigned n_failures;
        int error;
};

static void tell(SystemBus *system, SystemBusNews news) {
        system->handlers->on_news(system->userdata, news);
}

bool system_bus_is_lost(const sd_bus_error *error) {
        static const char *const names[] = {
                SD_BUS_ERROR_NO_REPLY,
                SD_BUS_ERROR_DISCONNECTED,
                SD_BUS_ERROR_TIMEOUT,
                SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                SD_BUS_ERROR_SERVICE_UNKNOWN,
                "org.freedesktop.DBus.Error.TimedOut",
        };
        int error_number = sd_bus_error_get_errno(error);

        FOREACH_ELEMENT(name, names)
                if (sd_bus_error_has_name(error, *name))
                        return true;
        return error_number == ECONNRESET || error_number == ENOTCONN || error_number == ETIMEDOUT;
}

bool system_bus_from_systemd(const SystemBus *system, sd_bus_message *m) {
        return system->systemd && streq_ptr(sd_bus_message_get_sender(m), system->systemd);
}

/* ---- PID 1 ---------------------------------------------------------------------------------------------------------- */

static void set_systemd(SystemBus *system, const char *name) {
        free(system->systemd);
        /* Without it no signal is believed, and none is heard. */
        system->systemd = name && name[0] == ':' ? strdup(name) : NULL;
}

static int on_subscribed(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        SystemBus *system = userdata;

        if (sd_bus_message_is_method_error(m, NULL) &&
                !sd_bus_message_is_method_error(m, SYSTEMD ".AlreadySubscribed"))
                tell(system, SYSTEMD_UNREACHABLE);
        return 0;
}

/* The bus itself says this, so that it is known however long PID 1 takes to answer. */
static int on_owner(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        const char *name;

        if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "s", &name) >= 0)
                set_systemd(userdata, name);
        return 0;
}

static void subscribe(SystemBus *system) {
        (void) sd_bus_call_method_async(system->bus, NULL, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER,
                "Subscribe", on_subscribed, system, NULL);
}

static int on_owner_changed(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        SystemBus *system = userdata;
        const char *name, *new;

        if (!system->ready || !streq_ptr(sd_bus_message_get_sender(m), DAEMON) ||
                sd_bus_message_read(m, "sss", &name, NULL, &new) < 0 || !streq(name, SYSTEMD))
                return 0;
        set_systemd(system, new);
        if (new[0])
                subscribe(system);
        tell(system, new[0] ? SYSTEMD_APPEARED : SYSTEMD_GONE);
        return 0;
}

/* What it has said meanwhile may be lost. */
static int on_reloading(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        SystemBus *system = userdata;
        int active;

        if (!system->ready || !system_bus_from_systemd(system, m) ||
                sd_bus_message_read(m, "b", &active) < 0)
                return 0;
        if (!active)
                subscribe(system);
        tell(system, active ? SYSTEMD_RELOADING : SYSTEMD_RELOADED);
        return 0;
}

/* ---- The connection ------------------------------------------------------------------------------------------------- */

static void drop(SystemBus *system) {
        system->ready = false;
        set_systemd(system, NULL);
        system->bus = sd_bus_close_unref(system->bus);
}

static void retry(SystemBus *system) {
        usec_t usec = RECONNECT_USEC << MIN(system->n_failures, 10U);

        system->ready = false;
        (void) sd_event_source_set_time_relative(system->timer, MIN(usec, RECONNECT_LONGEST_USEC));
        (void) sd_event_source_set_enabled(system->timer, SD_EVENT_ONESHOT);
        system->n_failures++;
}

static int on_connected(_unused_ sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        SystemBus *system = userdata;

        system->ready = true;
        system->n_failures = 0;
        (void) sd_bus_call_method_async(system->bus, NULL, DAEMON, DAEMON_PATH, DAEMON, "GetNameOwner",
                on_owner, system, "s", SYSTEMD);
        subscribe(system);
        tell(system, SYSTEM_BUS_CONNECTED);
        return 0;
}

static int on_disconnected(_unused_ sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        SystemBus *system = userdata;

        log_debug("The connection to the bus was lost");
        system->error = -ECONNRESET;
        retry(system);
        return 0;
}

static int on_match(_unused_ sd_bus_message *m, _unused_ void *userdata, _unused_ sd_bus_error *error) {
        return 0; /* if it was refused, whoever has the connection looks from time to time, or hears of fewer things */
}

static int open_bus(SystemBus *system) {
        sd_bus *bus;
        int r;

        r = sd_bus_new(&bus);
        if (r < 0)
                return r;
        system->bus = bus;
        r = sd_bus_set_address(bus, secure_getenv("DBUS_SYSTEM_BUS_ADDRESS") ?: BUS_ADDRESS);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_set_connected_signal(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_set_description(bus, system->description);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = sd_bus_match_signal_async(
                        bus, NULL, LOCAL, NULL, LOCAL, "Connected", on_connected, on_match, system);
        if (r >= 0)
                r = sd_bus_match_signal_async(
                        bus, NULL, LOCAL, NULL, LOCAL, "Disconnected", on_disconnected, on_match, system);
        if (r >= 0)
                r = sd_bus_add_match_async(bus, NULL,
                        "type='signal',sender='" DAEMON "',interface='" DAEMON
                        "',member='NameOwnerChanged',arg0='" SYSTEMD "'",
                        on_owner_changed, on_match, system);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "Reloading",
                        on_reloading, on_match, system);
        if (r >= 0 && system->handlers->on_open)
                r = system->handlers->on_open(system->userdata, bus);
        return r < 0 ? r : sd_bus_attach_event(bus, system->event, SD_EVENT_PRIORITY_NORMAL);
}

static void connect_bus(SystemBus *system) {
        int r;

        r = open_bus(system);
        if (r >= 0)
                return;
        log_full_errno(system->n_failures == 0 ? LOG_WARNING : LOG_DEBUG, r,
                "Failed to connect to the system bus, trying again: %m");
        system->error = r;
        retry(system);
}

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        SystemBus *system = userdata;

        tell(system, SYSTEM_BUS_LOST);
        drop(system);
        if (system->wanted)
                connect_bus(system);
        return 0;
}

void system_bus_open(SystemBus *system) {
        system->wanted = true;
        if (!system->bus)
                connect_bus(system);
}

void system_bus_close(SystemBus *system) {
        system->wanted = false;
        system->n_failures = 0;
        (void) sd_event_source_set_enabled(system->timer, SD_EVENT_OFF);
        drop(system);
}

sd_bus *system_bus_get(const SystemBus *system) {
        return system->ready ? system->bus : NULL;
}

unsigned system_bus_failures(const SystemBus *system, int *ret_error) {
        *ret_error = system->error;
        return system->n_failures;
}

int system_bus_new(sd_event *event, const char *description, const SystemBusHandlers *handlers,
        void *userdata, SystemBus **ret) {
        _cleanup_(system_bus_freep) SystemBus *system = NULL;
        int r;

        assert(handlers->on_news);

        system = malloc(sizeof(*system));
        if (!system)
                return -ENOMEM;
        *system = (SystemBus){
                .event = event,
                .description = description,
                .handlers = handlers,
                .userdata = userdata,
        };
        r = sd_event_add_time(
                event, &system->timer, CLOCK_MONOTONIC, USEC_INFINITY, USEC_PER_MSEC, on_timer, system);
        if (r >= 0)
                r = sd_event_source_set_enabled(system->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(system);
        return 0;
}

SystemBus *system_bus_free(SystemBus *system) {
        if (!system)
                return NULL;
        drop(system);
        sd_event_source_disable_unref(system->timer);
        free(system);
        return NULL;
}
