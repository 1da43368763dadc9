/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What systemd alone takes for units, asked by a bare client over the system bus. Prints microseconds of wall time, a line a round.
 *
 *      floor-units list ROUNDS UNIT…            one ListUnitsByNames over all of them
 *      floor-units StartUnit|StopUnit|… UNIT…   all jobs submitted, and waited for until the last is removed; one round
 */

#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "floor.h"

#define SYSTEMD   "org.freedesktop.systemd1"
#define MANAGER   "/org/freedesktop/systemd1"
#define INTERFACE "org.freedesktop.systemd1.Manager"

static unsigned n_removed;

static void check(int r, const char *what) {
        if (r < 0)
                errx(1, "Failed to %s: %s", what, strerror(-r));
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        (void) m;
        (void) userdata;
        (void) error;
        n_removed++;
        return 0;
}

static void list(sd_bus *bus, char **names) {
        sd_bus_message *message = NULL, *reply = NULL;
        const char *s[6], *path, *job_path, *type;
        uint32_t job;

        check(sd_bus_message_new_method_call(bus, &message, SYSTEMD, MANAGER, INTERFACE, "ListUnitsByNames"),
                "ask");
        check(sd_bus_message_append_strv(message, names), "ask");
        check(sd_bus_call(bus, message, 0, NULL, &reply), "list units");
        check(sd_bus_message_enter_container(reply, 'a', "(ssssssouso)"), "read");
        while (sd_bus_message_read(reply, "(ssssssouso)", &s[0], &s[1], &s[2], &s[3], &s[4], &s[5], &path,
                       &job, &type, &job_path) > 0)
                ;
        sd_bus_message_unref(message);
        sd_bus_message_unref(reply);
}

static void run_jobs(sd_bus *bus, const char *method, char **names, unsigned n) {
        check(sd_bus_match_signal(bus, NULL, SYSTEMD, MANAGER, INTERFACE, "JobRemoved", on_removed, NULL),
                "match");
        check(sd_bus_call_method(bus, SYSTEMD, MANAGER, INTERFACE, "Subscribe", NULL, NULL, NULL),
                "subscribe");
        for (unsigned i = 0; i < n; i++)
                check(sd_bus_call_method_async(bus, NULL, SYSTEMD, MANAGER, INTERFACE, method, on_removed,
                              NULL, "ss", names[i], "replace"),
                        "submit");
        /* An answer and a signal for each. */
        while (n_removed < 2 * n) {
                int r = sd_bus_process(bus, NULL);

                check(r, "process");
                if (r == 0)
                        check(sd_bus_wait(bus, 60 * UINT64_C(1000000)), "wait");
        }
}

int main(int argc, char **argv) {
        sd_bus *bus = NULL;
        double begun;

        if (argc < 4)
                errx(2, "usage: floor-units list ROUNDS UNIT… | METHOD UNIT…");
        check(sd_bus_open_system(&bus), "connect");
        if (strcmp(argv[1], "list") == 0)
                for (int i = 0; i < atoi(argv[2]); i++) {
                        begun = wall_usec();
                        list(bus, argv + 3);
                        (void) printf("%.0f\n", wall_usec() - begun);
                }
        else {
                begun = wall_usec();
                run_jobs(bus, argv[1], argv + 2, (unsigned) argc - 2);
                (void) printf("%.0f\n", wall_usec() - begun);
        }
        sd_bus_flush_close_unref(bus);
        return 0;
}
