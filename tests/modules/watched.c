/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * watched: says how a unit is, each time that it is checked: "looks at NAME: active" in the log.
 *
 *      [watched.a]
 *      units = ["a.service"]
 *      signals = ["type='signal',interface='org.example.Changed'"]
 *      running = true                  # is it not active, it is started, which is waited for
 */

#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include <agentd/module.h>

#define SYSTEMD "org.freedesktop.systemd1"
#define PATH    "/org/freedesktop/systemd1"
#define MANAGER SYSTEMD ".Manager"

#define WAIT_USEC 2000
#define WAITS_MAX 5000

enum { P_UNITS, P_SIGNALS, P_RUNNING };

static const AgentdParameter parameters[] = {
        [P_UNITS] = { .name = "units", .type = AGENTD_LIST, .documentation = "that it watches" },
        [P_SIGNALS] = { .name = "signals", .type = AGENTD_LIST, .documentation = "likewise" },
        [P_RUNNING] = { .name = "running", .type = AGENTD_BOOLEAN, .documentation = "whether it is to run" },
        {},
};

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        const AgentdValue *values = state->data;

        for (uint32_t i = 0; values[P_UNITS].type == AGENTD_LIST && i < values[P_UNITS].n; i++)
                agentd_watch_unit(w, values[P_UNITS].items[i].string);
        for (uint32_t i = 0; values[P_SIGNALS].type == AGENTD_LIST && i < values[P_SIGNALS].n; i++)
                agentd_watch_bus(w, values[P_SIGNALS].items[i].string);
        return 0;
}

static const char *unit_of(const AgentdState *state) {
        const AgentdValue *values = state->data;

        return values[P_UNITS].type == AGENTD_LIST && values[P_UNITS].n > 0 ? values[P_UNITS].items[0].string
                                                                            : NULL;
}

/*
 * As modules do it: a call that loads the unit, if it is not. ret_job: 0 if nothing is about to be done with it. Until a job has
 * begun, a unit that has failed is still one.
 */
static int read_state(AgentdContext *c, const char *unit, char *buffer, size_t size, uint32_t *ret_job) {
        sd_bus_message *reply = NULL;
        const char *text = "unknown";
        sd_bus *bus;
        int r;

        r = agentd_bus(c, &bus);
        if (r >= 0)
                r = sd_bus_call_method(
                        bus, SYSTEMD, PATH, MANAGER, "ListUnitsByNames", NULL, &reply, "as", 1, unit);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
        if (r >= 0)
                r = sd_bus_message_read(reply, "(ssssssouso)", NULL, NULL, NULL, &text, NULL, NULL, NULL,
                        ret_job, NULL, NULL);
        if (r >= 0) {
                strncpy(buffer, text, size - 1);
                buffer[size - 1] = 0;
        }
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                const AgentdValue *values = states[i].data;
                char is[32] = "nothing";
                int r = 0;

                if (unit_of(&states[i]) && !strstr(unit_of(&states[i]), "@."))
                        r = read_state(c, unit_of(&states[i]), is, sizeof(is), NULL);
                agentd_log(c, LOG_NOTICE, "looks at %s: %s", states[i].name, is);
                if (r < 0) {
                        agentd_failed(c, i, "Failed to ask how it is: %s", strerror(-r));
                        continue;
                }
                if (values[P_RUNNING].type == AGENTD_BOOLEAN && values[P_RUNNING].boolean &&
                        strcmp(is, "active") != 0 && strcmp(is, "activating") != 0)
                        agentd_differs_string(c, i, "state", is, "active");
                agentd_done(c, i);
        }
        return 0;
}

static int apply_one(AgentdContext *c, const char *unit) {
        char is[32] = "inactive";
        uint32_t job;
        sd_bus *bus;
        int r;

        r = agentd_bus(c, &bus);
        if (r >= 0)
                r = sd_bus_call_method(
                        bus, SYSTEMD, PATH, MANAGER, "StartUnit", NULL, NULL, "ss", unit, "replace");
        for (unsigned k = 0; r >= 0 && k < WAITS_MAX; k++) {
                r = read_state(c, unit, is, sizeof(is), &job);
                if (r < 0 || job == 0)
                        break;
                (void) usleep(WAIT_USEC);
        }
        return r;
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                int r = apply_one(c, unit_of(&states[i]));

                if (r < 0)
                        agentd_failed(c, i, "Failed to start it: %s", strerror(-r));
                else
                        agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType watched_type = {
        .name = "watched",
        .documentation = "Says how a unit is, each time that it is checked",
        .parameters = parameters,
        .watch = watch,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("watched", "1", &watched_type);
