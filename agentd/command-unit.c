/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Commands as transient units. PID 1 is asked over a connection of its own, which is there as long as there are commands, and
 * a little longer. It may be lost at any time (dbus is restarted), and so may every answer (PID 1 executes itself anew): what
 * is to be known is asked for again then. A unit stays, with its result, until we have let it go, so that an agentd which
 * begins meanwhile finds it.
 */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "command-internal.h"
#include "log.h"
#include "notify.h"

#define CGROUP_DIRECTORY "/sys/fs/cgroup"

/* So often it is asked how they are, in case that a signal was lost; without commands the connection is closed then. */
#define SWEEP_USEC (10 * USEC_PER_SEC)
/* … and so soon when an answer was lost. */
#define SWEEP_SOON_USEC (200 * USEC_PER_MSEC)

/* How long it is tried to reach systemd, if the command has so much time; and for how long, if it cannot be reached at start,
 * it is waited for what it knows of commands before. */
#define REACH_USEC USEC_PER_MINUTE
#define HOLD_USEC  USEC_PER_MINUTE

/* How much later than it should PID 1 may end it, before we do. */
#define LATE_USEC (COMMAND_STOP_USEC + 10 * USEC_PER_SEC)

static void ask_start(Command *command);
static void query(Command *command);

static void sweep_in(Commands *commands, usec_t usec) {
        (void) sd_event_source_set_time_relative(commands->sweep_timer, usec);
        (void) sd_event_source_set_enabled(commands->sweep_timer, SD_EVENT_ONESHOT);
}

/* ---- Calls that need no answer ------------------------------------------------------------------------------------ */

static int on_released(_unused_ sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Commands *commands = userdata;

        commands->n_releasing--;
        return 0;
}

static void call_manager(Commands *commands, const char *method, const char *types, ...) {
        sd_bus *bus = system_bus_get(commands->system);
        sd_bus_message *m = NULL;
        va_list args;
        int r;

        if (!bus)
                return;
        va_start(args, types);
        r = sd_bus_message_new_method_call(bus, &m, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, method);
        if (r >= 0)
                r = sd_bus_message_appendv(m, types, args);
        va_end(args);
        if (r >= 0)
                r = sd_bus_call_async(bus, NULL, m, on_released, commands, 0);
        if (r >= 0)
                commands->n_releasing++;
        sd_bus_message_unref(m);
}

void unit_release(Command *command) {
        Commands *commands = command->commands;
        bool failed = streq(command->unit.sub_state, "failed");

        if (command->stored) {
                notify_drop_descriptor(command->output_name);
                notify_drop_descriptor(command->errors_name);
        }
        if (command->step == UNIT_WAITING || streq(command->unit.load_state, "not-found"))
                return;
        if (!failed && !streq(command->unit.sub_state, "dead"))
                call_manager(commands, "StopUnit", "ss", command->unit_name, "replace");
        if (failed)
                call_manager(commands, "ResetFailedUnit", "s", command->unit_name);
}

void unit_cancel(Command *command) {
        if (command->step == UNIT_WAITING) {
                command_finish_later(command, ECANCELED, "it was cancelled");
                return;
        }
        call_manager(command->commands, "StopUnit", "ss", command->unit_name, "replace");
}

/* ---- Its end ------------------------------------------------------------------------------------------------------ */

static int read_cgroup(const Command *command, const char *file, char *buffer, size_t size) {
        char path[PATH_MAX];
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;

        (void) snprintf(path, sizeof(path), CGROUP_DIRECTORY "/%s/%s/%s", command->slice ?: COMMAND_SLICE,
                command->unit_name, file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, buffer, size - 1);
        if (n < 0)
                return -errno;
        buffer[n] = 0;
        return 0;
}

/*
 * The status is one that systemd gives what it could not start, and the program as well may have: one that is very short has ended
 * before systemd has seen that it was started, and that is not counted then.
 */
static bool was_run(Command *command) {
        command_stream_finish(&command->output);
        command_stream_finish(&command->errors);
        if (unit_exec_failed(command))
                return false;
        return command->unit.active_usec != 0 || command->output.used > 0 || command->errors.used > 0 ||
               command->output.truncated || command->errors.truncated ||
               (!command->found &&
                       !unit_step_is_taken(command->unit.status, json_object_size(command->properties) > 0,
                               command->directory, command->user || command->group));
}

static void finish(Command *command) {
        const UnitProperties *unit = &command->unit;
        CommandResult *result = &command->result;
        const char *step = unit_step_failed(unit->status);
        bool dumped = unit->code == CLD_DUMPED;

        if (unit->exit_usec > unit->start_usec && unit->start_usec > 0)
                result->duration_usec = unit->exit_usec - unit->start_usec;
        if (result->memory_max_bytes == UINT64_MAX)
                result->memory_max_bytes = unit->memory_peak;
        if (unit->code == CLD_EXITED)
                result->status = unit->status << 8;
        else if (unit->code == CLD_KILLED || dumped)
                result->status = unit->status | (dumped ? 0x80 : 0);

        if (command->timed_out || streq(unit->result, "timeout"))
                command_finish(command, AGENTD_COMMAND_TIMED_OUT,
                        unit->code == CLD_EXITED ? SIGTERM : unit->status);
        else if (unit->code == CLD_EXITED && step && !was_run(command)) {
                (void) snprintf(command->detail, sizeof(command->detail),
                        "systemd could not %s; 'journalctl -u %s' says why", step, command->unit_name);
                command_finish(command, AGENTD_COMMAND_NOT_RUN,
                        unit->status == 203                          ? ENOEXEC
                        : unit->status == 216 || unit->status == 217 ? ESRCH
                        : unit->status == 200                        ? ENOENT
                                                                     : EINVAL);
        } else if (unit->code == CLD_EXITED)
                command_finish(command, AGENTD_COMMAND_EXITED, unit->status);
        else if (unit->code == CLD_KILLED || dumped) {
                if (streq(unit->result, "oom-kill"))
                        (void) snprintf(command->detail, sizeof(command->detail),
                                "it was killed, as it used more memory than it may");
                command_finish(command, AGENTD_COMMAND_KILLED, unit->status);
        } else if (command->cancelled)
                command_finish(command, AGENTD_COMMAND_NOT_RUN, ECANCELED);
        else {
                (void) snprintf(command->detail, sizeof(command->detail),
                        "systemd could not start it (%s); 'journalctl -u %s' says why",
                        unit->result[0] ? unit->result : "no reason was given", command->unit_name);
                command_finish(command, AGENTD_COMMAND_NOT_RUN, EAGAIN);
        }
}

static int on_usage(sd_bus_message *m, Command *command, uint64_t *ret) {
        uint64_t value;

        if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "v", "t", &value) >= 0)
                *ret = value;
        if (--command->n_asking == 0 && command->step == UNIT_ENDED)
                finish(command);
        return 0;
}

static int on_cpu(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Command *command = userdata;
        uint64_t nsec = UINT64_MAX;

        if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "v", "t", &nsec) >= 0 &&
                nsec != UINT64_MAX)
                command->result.cpu_usec = nsec / NSEC_PER_USEC;
        if (--command->n_asking == 0 && command->step == UNIT_ENDED)
                finish(command);
        return 0;
}

static int on_memory(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Command *command = userdata;

        return on_usage(m, command, &command->unit.memory_peak);
}

/* From the cgroup, which is still there, as no main process has failed its unit. */
static void read_usage(Command *command) {
        CommandResult *result = &command->result;
        char text[512], *end;
        const char *usage;

        if (read_cgroup(command, "cpu.stat", text, sizeof(text)) >= 0) {
                usage = startswith(text, "usage_usec ");
                if (usage)
                        result->cpu_usec = strtoull(usage, NULL, 10);
        }
        if (read_cgroup(command, "memory.peak", text, sizeof(text)) >= 0) {
                result->memory_max_bytes = strtoull(text, &end, 10);
                if (end == text)
                        result->memory_max_bytes = UINT64_MAX;
        }
}

/* What cannot be read PID 1 may know: it has looked before it took the cgroup away. */
static void ask_usage(Command *command) {
        Commands *commands = command->commands;
        const CommandResult *result = &command->result;
        sd_bus *bus = system_bus_get(commands->system);

        read_usage(command);
        if (!bus)
                return;
        if (result->cpu_usec == UINT64_MAX &&
                sd_bus_call_method_async(bus, &command->call_cpu, SYSTEMD, command->path, DBUS_PROPERTIES,
                        "Get", on_cpu, command, "ss", SYSTEMD_SERVICE, "CPUUsageNSec") >= 0)
                command->n_asking++;
        /* From systemd 254 on. */
        if (result->memory_max_bytes == UINT64_MAX &&
                sd_bus_call_method_async(bus, &command->call_memory, SYSTEMD, command->path, DBUS_PROPERTIES,
                        "Get", on_memory, command, "ss", SYSTEMD_SERVICE, "MemoryPeak") >= 0)
                command->n_asking++;
}

bool unit_is_populated(const Command *command) {
        char text[128];

        return read_cgroup(command, "cgroup.events", text, sizeof(text)) >= 0 && strstr(text, "populated 1");
}

/* Looks at what is known of the unit. */
static void look(Command *command) {
        const UnitProperties *unit = &command->unit;
        bool dead = streq(unit->sub_state, "dead") || streq(unit->sub_state, "failed");

        /* A unit that is just being made is dead as well. */
        if (streq(unit->sub_state, "dead") && unit->exit_usec == 0 && unit->code == 0)
                return;
        if (!dead && !streq(unit->sub_state, "exited"))
                return;
        switch (command->step) {
        case UNIT_ENDED: return;
        case UNIT_CLEARING:
                if (!dead)
                        return;
                break;
        default:
                ask_usage(command);
                /* Its main process has ended, and others of it are still there. */
                if (!dead && unit_is_populated(command)) {
                        command->step = UNIT_CLEARING;
                        call_manager(command->commands, "KillUnit", "ssi", command->unit_name, "all",
                                (int32_t) SIGKILL);
                        call_manager(command->commands, "StopUnit", "ss", command->unit_name, "replace");
                        return;
                }
        }
        command->step = UNIT_ENDED;
        if (command->n_asking == 0)
                finish(command);
}

/* ---- What PID 1 says ---------------------------------------------------------------------------------------------- */

static int on_changed(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Command *command = userdata;
        const char *interface;
        int r;

        /* Others can send us what looks like it. */
        if (!system_bus_from_systemd(command->commands->system, m))
                return 0;
        r = sd_bus_message_read(m, "s", &interface);
        if (r >= 0 && (streq(interface, SYSTEMD_UNIT) || streq(interface, SYSTEMD_SERVICE)))
                r = unit_read_properties(command, m);
        if (r < 0) {
                log_debug_errno(r, "Failed to read a signal about '%s', ignoring: %m", command->unit_name);
                return 0;
        }
        /* That about the service comes first. Source: bus_unit_send_change_signal() of systemd. */
        if (streq(interface, SYSTEMD_UNIT) && (!command->found || command->known))
                look(command);
        return 0;
}

static int on_match(_unused_ sd_bus_message *m, _unused_ void *userdata, _unused_ sd_bus_error *error) {
        return 0; /* if it was refused, the sweep sees to it */
}

static void add_match(Command *command) {
        char match[512];

        if (command->match)
                return;
        (void) snprintf(match, sizeof(match),
                "type='signal',sender='" SYSTEMD "',path='%s',interface='" DBUS_PROPERTIES
                "',member='PropertiesChanged'",
                command->path);
        (void) sd_bus_add_match_async(system_bus_get(command->commands->system), &command->match, match,
                on_changed, on_match, command);
}

static void know(Command *command) {
        Commands *commands = command->commands;

        command->known = true;
        command_stream_resume(&command->output);
        command_stream_resume(&command->errors);
        commands->n_unread--;
        command->step = UNIT_RUNNING;
        if (commands->n_unread == 0 && commands->options.on_released)
                commands->options.on_released(commands->options.userdata);
}

/* There is no such unit. */
static void lose(Command *command) {
        if (command->found && !command->known) {
                Commands *commands = command->commands;

                commands->n_unread--;
                command_finish(command, AGENTD_COMMAND_NOT_RUN, ESRCH);
                return;
        }
        if (command->step == UNIT_UNSURE) {
                command->step = UNIT_WAITING;
                if (command->cancelled)
                        command_finish(command, AGENTD_COMMAND_NOT_RUN, ECANCELED);
                else
                        ask_start(command);
                return;
        }
        (void) snprintf(
                command->detail, sizeof(command->detail), "its unit is gone, and how it ended is not known");
        command_finish(command, AGENTD_COMMAND_KILLED, SIGKILL);
}

static int on_service(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Command *command = userdata;

        command->call = sd_bus_slot_unref(command->call);
        if (!sd_bus_message_is_method_error(m, NULL))
                (void) unit_read_properties(command, m);
        return 0;
}

/* Neither at its end nor on the way to it. */
static bool is_active(const Command *command) {
        return streq(command->unit.active_state, "active") ||
               streq(command->unit.active_state, "activating");
}

static int on_unit(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Command *command = userdata;
        Commands *commands = command->commands;

        command->call_unit = sd_bus_slot_unref(command->call_unit);
        if (sd_bus_message_is_method_error(m, NULL)) {
                if (!system_bus_is_lost(sd_bus_message_get_error(m)))
                        lose(command);
                return 0;
        }
        if (unit_read_properties(command, m) < 0)
                return 0;
        if (streq(command->unit.load_state, "not-found")) {
                lose(command);
                return 0;
        }
        if (command->step == UNIT_UNSURE)
                command->step = UNIT_RUNNING;
        if (command->found && !command->known)
                know(command);
        /* That it is to be stopped may have been said to nobody: the bus was away. Twice is once. */
        if ((command->cancelled || command->timed_out) && is_active(command))
                call_manager(commands, "StopUnit", "ss", command->unit_name, "replace");
        look(command);
        return 0;
}

static void query(Command *command) {
        sd_bus *bus = system_bus_get(command->commands->system);

        if (!bus)
                return;
        add_match(command);
        if (command->call || command->call_unit)
                return;
        (void) sd_bus_call_method_async(bus, &command->call, SYSTEMD, command->path, DBUS_PROPERTIES,
                "GetAll", on_service, command, "s", SYSTEMD_SERVICE);
        (void) sd_bus_call_method_async(bus, &command->call_unit, SYSTEMD, command->path, DBUS_PROPERTIES,
                "GetAll", on_unit, command, "s", SYSTEMD_UNIT);
}

/* ---- Its start ---------------------------------------------------------------------------------------------------- */

static int on_started(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        Command *command = userdata;
        const sd_bus_error *error = sd_bus_message_get_error(m);
        int error_number;

        command->call = sd_bus_slot_unref(command->call);
        if (command->step != UNIT_ASKED)
                return 0;
        if (!error) {
                command->step = UNIT_RUNNING;
                for (size_t i = 0; i < ELEMENTSOF(command->write_ends); i++)
                        command->write_ends[i] = safe_close(command->write_ends[i]);
                command->input_fd = safe_close(command->input_fd);
                command->output_fd = safe_close(command->output_fd);
                return 0;
        }
        if (system_bus_is_lost(error)) {
                command->step = UNIT_UNSURE;
                sweep_in(command->commands, SWEEP_SOON_USEC);
                return 0;
        }
        /* We have asked twice. */
        if (sd_bus_error_has_name(error, SYSTEMD ".UnitExists")) {
                command->step = UNIT_RUNNING;
                query(command);
                return 0;
        }
        error_number = sd_bus_message_get_errno(m);
        (void) snprintf(command->detail, sizeof(command->detail), "systemd refuses it: %s",
                error->message ?: error->name);
        command->step = UNIT_WAITING; /* there is nothing to let go */
        command_finish(command, AGENTD_COMMAND_NOT_RUN, error_number > 0 ? error_number : EINVAL);
        return 0;
}

void unit_store_descriptors(Command *command) {
        /* Only a service has somebody who keeps them. */
        if (!command->commands->options.keep_descriptors || command->stored)
                return;
        (void) snprintf(command->output_name, sizeof(command->output_name), "command-%s-out", command->id);
        (void) snprintf(command->errors_name, sizeof(command->errors_name), "command-%s-err", command->id);
        if (command->output.fd >= 0)
                notify_store_descriptor(command->output_name, command->output.fd);
        notify_store_descriptor(command->errors_name, command->errors.fd);
        command->stored = true;
}

static void ask_start(Command *command) {
        sd_bus *bus = system_bus_get(command->commands->system);
        sd_bus_message *m = NULL;
        int r;

        add_match(command);
        r = unit_start_message(command, bus, &m, command->detail, sizeof(command->detail));
        /* Before it is asked for: if we are killed in between, what is stored is dropped by the next agentd; the other way round
         * the command would have nobody who reads what it says, and die of it. */
        if (r >= 0)
                unit_store_descriptors(command);
        if (r >= 0)
                r = sd_bus_call_async(bus, &command->call, m, on_started, command, 0);
        sd_bus_message_unref(m);
        if (r < 0) {
                command_finish_later(command, r, "%s", strerror(-r));
                return;
        }
        command->step = UNIT_ASKED;
}

int unit_name(Command *command) {
        if (asprintf(&command->unit_name, COMMAND_UNIT_PREFIX "%s" COMMAND_UNIT_SUFFIX, command->id) < 0) {
                command->unit_name = NULL;
                return -ENOMEM;
        }
        return sd_bus_path_encode(SYSTEMD_PATH "/unit", command->unit_name, &command->path);
}

/* "agentd-a-b.slice" is in agentd-a.slice, and that in agentd.slice. Source: systemd.slice(5). */
int unit_set_slice(Command *command, const char *slice) {
        char path[PATH_MAX];
        size_t n = 0;

        for (const char *p = slice; *p; p++)
                if (*p == '-' && n < sizeof(path) - 256)
                        n += (size_t) snprintf(
                                path + n, sizeof(path) - n, "%.*s.slice/", (int) MIN(p - slice, 255), slice);
        (void) snprintf(path + n, sizeof(path) - n, "%s", slice);
        free(command->slice);
        command->slice = strdup(path);
        return command->slice ? 0 : -ENOMEM;
}

int unit_start(Command *command) {
        const char *slice = json_string_value(json_object_get(command->properties, "Slice"));
        Commands *commands = command->commands;
        int r;

        r = unit_name(command);
        if (r >= 0 && slice)
                r = unit_set_slice(command, slice);
        if (r < 0)
                return r;
        command->step = UNIT_WAITING;
        system_bus_open(commands->system);
        if (system_bus_get(commands->system))
                ask_start(command);
        sweep_in(commands, SWEEP_USEC);
        return 0;
}

/* ---- The connection ----------------------------------------------------------------------------------------------- */

static void forget_calls(Commands *commands) {
        for (Command *command = commands->commands; command; command = command->next) {
                command->match = sd_bus_slot_unref(command->match);
                command->call = sd_bus_slot_unref(command->call);
                command->call_unit = sd_bus_slot_unref(command->call_unit);
                command->call_cpu = sd_bus_slot_unref(command->call_cpu);
                command->call_memory = sd_bus_slot_unref(command->call_memory);
                command->n_asking = 0;
                if (command->step == UNIT_ASKED)
                        command->step = UNIT_UNSURE;
                if (command->step == UNIT_ENDED || command->step == UNIT_CLEARING)
                        command->step = UNIT_RUNNING; /* it is looked at again */
        }
        commands->n_releasing = 0;
}

static void look_at_all(Commands *commands) {
        if (!system_bus_get(commands->system))
                return;
        for (Command *command = commands->commands, *next; command; command = next) {
                next = command->next;
                if (command->over)
                        continue;
                if (command->step == UNIT_WAITING)
                        ask_start(command);
                else if (command->step != UNIT_ASKED && command->step != UNIT_ENDED)
                        query(command);
        }
}

static void on_news(void *userdata, SystemBusNews news) {
        Commands *commands = userdata;

        switch (news) {
        case SYSTEM_BUS_LOST:
                forget_calls(commands);
                if (commands->n == 0)
                        system_bus_close(commands->system);
                break;
        case SYSTEMD_UNREACHABLE: sweep_in(commands, SWEEP_SOON_USEC); break;
        default: look_at_all(commands);
        }
}

static const SystemBusHandlers system_handlers = { .on_news = on_news };

/* ---- The sweep ---------------------------------------------------------------------------------------------------- */

static bool is_too_late(const Command *command, usec_t now) {
        usec_t limit = MIN(command->timeout_usec, REACH_USEC);

        return (command->step == UNIT_WAITING || command->step == UNIT_UNSURE) && !command->found &&
               now > command->asked_usec + limit;
}

static int on_sweep(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Commands *commands = userdata;
        usec_t now = now_usec(CLOCK_MONOTONIC);
        bool unsure = false;

        if (commands->n == 0 && commands->n_releasing == 0) {
                forget_calls(commands);
                system_bus_close(commands->system);
                return 0;
        }
        for (Command *command = commands->commands; command; command = command->next) {
                if (command->over)
                        continue;
                if (is_too_late(command, now)) {
                        /* The answer to its start was lost, and it does run: its end is to be waited for. */
                        if (command->step == UNIT_UNSURE && unit_is_populated(command))
                                continue;
                        command_finish_later(command, ETIMEDOUT, "systemd could not be reached%s",
                                command->step == UNIT_UNSURE ? ", and whether it was run is not known" : "");
                } else if (command->timeout_usec < USEC_INFINITY - LATE_USEC - command->asked_usec &&
                           now > command->asked_usec + command->timeout_usec + LATE_USEC &&
                           !command->timed_out) {
                        command->timed_out = true;
                        unit_cancel(command);
                }
                unsure = unsure || command->step == UNIT_UNSURE;
        }
        if (commands->n_unread > 0 && now >= commands->hold_until_usec && commands->options.on_released)
                commands->options.on_released(commands->options.userdata);
        look_at_all(commands);
        sweep_in(commands, unsure ? SWEEP_SOON_USEC : SWEEP_USEC);
        return 0;
}

/* ---- The manager's part ------------------------------------------------------------------------------------------- */

/* PID 1 asks the bus who we are, so we have to be there until it has done what it was asked for. */
static void wait_released(Commands *commands) {
        usec_t now = now_usec(CLOCK_MONOTONIC), deadline = now + COMMANDS_LET_GO_USEC;

        /* The daemon has waited for it without standing still. */
        if (commands->stopping && commands->options.keep_descriptors)
                return;
        while (commands_is_letting_go(commands) && now < deadline) {
                sd_bus *bus = system_bus_get(commands->system);
                int r = sd_bus_process(bus, NULL);

                if (r < 0)
                        break;
                if (r == 0 && sd_bus_wait(bus, deadline - now) < 0)
                        break;
                now = now_usec(CLOCK_MONOTONIC);
        }
}

/* The event loop is left. After us, by its priority, sd-bus closes the connection. */
static int on_exit_event(_unused_ sd_event_source *source, void *userdata) {
        Commands *commands = userdata;

        wait_released(commands);
        system_bus_close(commands->system);
        return 0;
}

int units_init(Commands *commands) {
        int r;

        r = system_bus_new(commands->event, "commands", &system_handlers, commands, &commands->system);
        if (r >= 0)
                r = sd_event_add_time(commands->event, &commands->sweep_timer, CLOCK_MONOTONIC,
                        USEC_INFINITY, USEC_PER_MSEC, on_sweep, commands);
        if (r >= 0)
                r = sd_event_add_exit(commands->event, &commands->exit_event, on_exit_event, commands);
        if (r < 0)
                return r;
        (void) sd_event_source_set_priority(commands->exit_event, SD_EVENT_PRIORITY_IMPORTANT);
        (void) sd_event_source_set_enabled(commands->sweep_timer, SD_EVENT_OFF);
        if (!commands->options.on_found)
                return 0;
        r = units_find(commands);
        if (r < 0)
                log_warning_errno(r, "Failed to look for commands that still run, going on without: %m");
        /* What belongs to no unit any more. */
        for (size_t i = 0; i < commands->options.n_descriptors; i++)
                if (commands->options.descriptors[i].fd >= 0)
                        notify_drop_descriptor(commands->options.descriptors[i].name);
        if (commands->n == 0)
                return 0;
        log_notice(
                "%u commands of before still run, or have ended meanwhile; what they are for is not begun "
                "with before that is known",
                commands->n);
        commands->hold_until_usec = now_usec(CLOCK_MONOTONIC) + HOLD_USEC;
        system_bus_open(commands->system);
        sweep_in(commands, SWEEP_USEC);
        return 0;
}

void units_done(Commands *commands) {
        wait_released(commands);
        if (commands->system)
                forget_calls(commands);
        sd_event_source_disable_unref(commands->exit_event);
        commands->system = system_bus_free(commands->system);
        sd_event_source_disable_unref(commands->sweep_timer);
}
