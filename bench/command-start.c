/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How long a command takes as a transient unit, from the wish until its output and its end are known: by agentd's engine, and
 * beside it by a bare client, which asks PID 1 for a unit with two pipes, waits for the first signal that says how it ended, and reads.
 * Prints microseconds of wall time: the floor's, then agentd's; a line for each round, by turns.
 *
 *      command-start ROUNDS PROGRAM [ARGUMENT…]
 */

#include <fcntl.h>
#include <signal.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "command.h"
#include "floor.h"

#define SYSTEMD "org.freedesktop.systemd1"

/* ---- The floor -------------------------------------------------------------------------------------------------- */

static bool ended;

/* How the process ended is known from the first signal that has it; the unit is not inactive before some time later. */
static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *interface, *name;
        int code;

        if (sd_bus_message_read(m, "s", &interface) < 0 ||
                sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
                return 0;
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                if (sd_bus_message_read(m, "s", &name) < 0)
                        return 0;
                if (strcmp(name, "ExecMainCode") == 0) {
                        if (sd_bus_message_read(m, "v", "i", &code) < 0)
                                return 0;
                        ended = ended || code != 0;
                } else
                        (void) sd_bus_message_skip(m, "v");
                (void) sd_bus_message_exit_container(m);
        }
        return 0;
}

static void check(int r, const char *what) {
        if (r < 0)
                errx(1, "Failed to %s: %s", what, strerror(-r));
}

static double run_floor(sd_bus *bus, char **argv) {
        static unsigned n;
        char unit[64], match[256], buffer[4096], *path;
        double begun = wall_usec();
        sd_bus_message *m = NULL;
        sd_bus_slot *slot = NULL;
        int output[2], errors[2];

        if (pipe2(output, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0)
                err(1, "Failed to make pipes");
        (void) snprintf(unit, sizeof(unit), "floor-%d-%u.service", (int) getpid(), n++);
        check(sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path), "name the unit");
        (void) snprintf(match, sizeof(match),
                "type='signal',sender='" SYSTEMD "',path='%s',"
                "interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'",
                path);
        ended = false;
        check(sd_bus_add_match_async(bus, &slot, match, on_changed, NULL, NULL), "add a match");
        check(sd_bus_message_new_method_call(bus, &m, SYSTEMD, "/org/freedesktop/systemd1",
                      SYSTEMD ".Manager", "StartTransientUnit"),
                "make the call");
        check(sd_bus_message_append(m, "ssa(sv)", unit, "fail", 5, "Type", "s", "exec", "CollectMode", "s",
                      "inactive-or-failed", "StandardOutputFileDescriptor", "h", output[1],
                      "StandardErrorFileDescriptor", "h", errors[1], "ExecStart", "a(sasb)", 1, argv[0], 1,
                      argv[0], false),
                "write the call");
        check(sd_bus_message_append(m, "a(sa(sv))", 0), "write the call");
        check(sd_bus_call_async(bus, NULL, m, NULL, NULL, 0), "send the call");
        sd_bus_message_unref(m);
        while (!ended) {
                int r = sd_bus_process(bus, NULL);

                check(r, "read the bus");
                if (r == 0)
                        check(sd_bus_wait(bus, UINT64_MAX), "wait for the bus");
        }
        while (read(output[0], buffer, sizeof(buffer)) > 0 || read(errors[0], buffer, sizeof(buffer)) > 0)
                ;
        sd_bus_slot_unref(slot);
        free(path);
        for (int i = 0; i < 2; i++) {
                (void) close(output[i]);
                (void) close(errors[i]);
        }
        return wall_usec() - begun;
}

/* ---- agentd ------------------------------------------------------------------------------------------------------ */

static void on_finished(void *userdata, Command *command, const CommandResult *result) {
        if (result->end != AGENTD_COMMAND_EXITED)
                errx(1, "%s", result->explanation);
        *(bool *) userdata = true;
}

static double run_agentd(sd_event *event, Commands *commands, char **argv) {
        static const CommandHandlers handlers = { .on_finished = on_finished };
        const CommandSpec spec = {
                .run = 1,
                .state = "bench:command",
                .role = "bench",
                .argv = (const char *const *) argv,
                .input_fd = -EBADF,
                .output_fd = -EBADF,
                .timeout_usec = USEC_PER_MINUTE,
        };
        double begun = wall_usec();
        bool finished = false;

        check(command_start(commands, &spec, &handlers, &finished, NULL), "start a command");
        while (!finished)
                check(sd_event_run(event, UINT64_MAX), "run the event loop");
        return wall_usec() - begun;
}

/* Long enough for what is let go to be let go: it is nobody's time. */
static void settle(sd_event *event, sd_bus *bus) {
        double until = wall_usec() + 20000;

        while (wall_usec() < until) {
                check(sd_event_run(event, 5000), "run the event loop");
                while (sd_bus_process(bus, NULL) > 0)
                        ;
        }
}

int main(int argc, char **argv) {
        Commands *commands = NULL;
        sd_event *event = NULL;
        sd_bus *bus = NULL;
        sigset_t mask;

        if (argc != 3)
                errx(2, "usage: command-start ROUNDS PROGRAM");
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);
        check(sd_event_new(&event), "make an event loop");
        check(commands_new(
                      event, &(CommandsOptions){ .backend = COMMAND_BACKEND_UNIT, .root = "/" }, &commands),
                "set up commands");
        check(sd_bus_open_system(&bus), "connect to the bus");
        check(sd_bus_call_method(bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "Subscribe",
                      NULL, NULL, NULL),
                "subscribe");
        /* The first ones read what the others have in memory. */
        (void) run_floor(bus, argv + 2);
        (void) run_agentd(event, commands, argv + 2);
        for (long i = strtol(argv[1], NULL, 10); i > 0; i--) {
                double floor;

                settle(event, bus);
                floor = run_floor(bus, argv + 2);
                settle(event, bus);
                (void) printf("%.1f %.1f\n", floor, run_agentd(event, commands, argv + 2));
        }
        commands_free(commands);
        sd_bus_flush_close_unref(bus);
        sd_event_unref(event);
        return 0;
}
