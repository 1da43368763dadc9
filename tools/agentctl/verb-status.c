/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "agentctl.h"
#include "format.h"
#include "json.h"
#include "log.h"
#include "terminal.h"

/* Failed states that are listed; the rest is counted. */
#define FAILED_SHOWN_MAX 20

static const char *paint(const Invocation *invocation, const char *colour) {
        return invocation->style.colour ? colour : "";
}

static void print_text(const char *text) {
        output_clean(stdout, text, strlen(text));
}

static void print_key(const char *key) {
        (void) printf("%12s: ", key);
}

static const char *plural(json_int_t n) {
        return n == 1 ? "" : "s";
}

static void print_roles(const Invocation *invocation, const json_t *roles, usec_t now) {
        json_int_t n_roles = get_integer(roles, "n_roles"), n_states = get_integer(roles, "n_states");
        usec_t loaded = get_time(roles, "loaded");
        size_t n_errors = json_array_size(json_object_get(roles, "errors"));

        print_key("Roles");
        if (loaded == 0)
                (void) printf("none are loaded");
        else
                (void) printf("%" JSON_INTEGER_FORMAT " role%s, %" JSON_INTEGER_FORMAT " state%s, loaded %s",
                        n_roles, plural(n_roles), n_states, plural(n_states), FORMAT_RELATIVE(loaded, now));
        if (n_errors > 0)
                (void) printf("%s; the last load failed with %zu error%s%s", paint(invocation, COLOUR_RED),
                        n_errors, plural((json_int_t) n_errors), paint(invocation, COLOUR_OFF));
        (void) fputc('\n', stdout);
}

static void print_states(const Invocation *invocation, const json_t *states) {
        static const char *const order[] = { "ok", "changed", "drifted", "unknown", "failed", "skipped",
                "blocked", "none" };
        bool first = true;

        print_key("States");
        FOREACH_ELEMENT(result, order) {
                json_int_t n = get_integer(states, *result);
                const char *colour =
                        streq(*result, "ok") ? "" : paint(invocation, result_text_colour(*result));

                if (n == 0)
                        continue;
                (void) printf("%s%s%" JSON_INTEGER_FORMAT " %s%s", first ? "" : ", ", colour, n,
                        streq(*result, "none") ? "not looked at yet" : *result, *colour ? COLOUR_OFF : "");
                first = false;
        }
        (void) printf("%s\n", first ? "none" : "");
}

static void print_run_name(const json_t *run) {
        (void) printf("%" JSON_INTEGER_FORMAT " (", get_integer(run, "run"));
        print_text(get_text(run, "mode") ?: "?");
        (void) fputs(", ", stdout);
        print_text(get_text(run, "cause") ?: "?");
        (void) fputs(")", stdout);
}

/* Only if there is something to say. */
static void print_watches(const Invocation *invocation, const json_t *watches) {
        const json_t *errors = json_object_get(watches, "errors"), *error;
        size_t i;

        json_array_foreach(errors, i, error) {
                print_key("Watches");
                (void) fputs(paint(invocation, COLOUR_YELLOW), stdout);
                print_text(json_string_value(error) ?: "?");
                (void) printf("%s\n", paint(invocation, COLOUR_OFF));
        }
}

static void print_last_run(const Invocation *invocation, const json_t *run, usec_t now) {
        const char *error = get_text(run, "error");

        print_key("Last run");
        if (!json_is_object(run)) {
                (void) printf("none since it started\n");
                return;
        }
        print_run_name(run);
        (void) printf(", %s: ", FORMAT_RELATIVE(get_time(run, "finished"), now));
        result_text_print_counts(stdout, json_object_get(run, "summary"), &invocation->style);
        if (error) {
                (void) printf("; %s", paint(invocation, COLOUR_RED));
                print_text(error);
                (void) fputs(paint(invocation, COLOUR_OFF), stdout);
        }
        (void) fputc('\n', stdout);
}

static void print_active_runs(const json_t *runs, usec_t now) {
        json_t *run;
        size_t i;

        json_array_foreach(runs, i, run) {
                const json_t *progress = json_object_get(run, "progress");
                usec_t started = get_time(run, "started");

                print_key(started == 0 ? "Waiting" : "Running");
                print_run_name(run);
                if (started != 0)
                        (void) printf(", since %s", FORMAT_SPAN(now > started ? now - started : 0));
                if (json_is_object(progress))
                        (void) printf(", %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " states",
                                get_integer(progress, "done"), get_integer(progress, "total"));
                (void) fputc('\n', stdout);
        }
}

static void print_disabled(const Invocation *invocation, const json_t *disabled, usec_t now) {
        usec_t until = get_time(disabled, "until");

        if (!json_is_object(disabled))
                return;
        print_key("Disabled");
        (void) fputs(paint(invocation, COLOUR_YELLOW), stdout);
        print_text(get_text(disabled, "reason") ?: "?");
        (void) fputs(" (by ", stdout);
        print_text(get_text(disabled, "by") ?: "?");
        (void) printf(", %s, until %s)%s\n", FORMAT_RELATIVE(get_time(disabled, "since"), now),
                until != 0 ? FORMAT_TIME(until) : "it is enabled", paint(invocation, COLOUR_OFF));
}

static void print_status(const Invocation *invocation, const json_t *status) {
        const json_t *roles = json_object_get(status, "roles"), *states = json_object_get(status, "states"),
                     *store = json_object_get(status, "store"),
                     *disabled = json_object_get(status, "disabled");
        bool bad = get_integer(states, "failed") + get_integer(states, "blocked") > 0 ||
                   json_array_size(json_object_get(roles, "errors")) > 0;
        usec_t now = now_usec(CLOCK_REALTIME), next = get_time(status, "next_run");
        json_int_t size = get_integer(store, "size_bytes");

        (void) printf("%s●%s %sagentd ",
                paint(invocation, bad                        ? COLOUR_RED
                                  : json_is_object(disabled) ? COLOUR_YELLOW
                                                             : COLOUR_GREEN),
                paint(invocation, COLOUR_OFF), paint(invocation, COLOUR_BOLD));
        print_text(get_text(status, "version") ?: "?");
        (void) fputs(" on ", stdout);
        print_text(get_text(status, "hostname") ?: "?");
        (void) printf("%s\n", paint(invocation, COLOUR_OFF));

        print_key("State");
        print_text(get_text(status, "state") ?: "?");
        (void) printf("%s (started %s, pid %" JSON_INTEGER_FORMAT ")\n",
                streq_ptr(get_text(status, "mode"), "audit") ? ", audits only" : "",
                FORMAT_RELATIVE(get_time(status, "started"), now), get_integer(status, "pid"));
        print_disabled(invocation, disabled, now);
        print_roles(invocation, roles, now);
        print_states(invocation, states);
        print_active_runs(json_object_get(status, "runs"), now);
        print_last_run(invocation, json_object_get(status, "last_run"), now);
        print_key("Next run");
        (void) printf("%s\n", next != 0 ? FORMAT_RELATIVE(next, now) : "none is due");
        print_watches(invocation, json_object_get(status, "watches"));
        print_key("Store");
        print_text(get_text(store, "path") ?: "?");
        (void) printf(" (%s)", FORMAT_SIZE(size > 0 ? (uint64_t) size : 0));
        if (get_text(store, "error")) {
                (void) printf(", %s", paint(invocation, COLOUR_RED));
                print_text(get_text(store, "error"));
                (void) fputs(paint(invocation, COLOUR_OFF), stdout);
        }
        (void) fputc('\n', stdout);
}

typedef struct FailedList {
        const Invocation *invocation;
        size_t n;
} FailedList;

static int on_failed_state(void *userdata, json_t *state) {
        FailedList *list = userdata;

        if (list->n++ == 0)
                (void) fputc('\n', stdout);
        if (list->n <= FAILED_SHOWN_MAX)
                result_text_print(stdout, state, NULL, &list->invocation->style);
        return 0;
}

static int print_failed(Invocation *invocation, const json_t *states) {
        FailedList list = { .invocation = invocation };
        int r = 0;

        if (get_integer(states, "failed") > 0)
                r = client_pages(
                        &invocation->client, "/v1/states?result=failed", NULL, on_failed_state, &list);
        if (r == 0 && get_integer(states, "blocked") > 0)
                r = client_pages(
                        &invocation->client, "/v1/states?result=blocked", NULL, on_failed_state, &list);
        if (list.n > FAILED_SHOWN_MAX)
                (void) printf("… and %zu more; see agentctl states --failed\n", list.n - FAILED_SHOWN_MAX);
        return r;
}

int verb_status(Invocation *invocation) {
        json_t *status = NULL, *errors;
        int r;

        r = client_get(&invocation->client, "/v1/status", &status);
        if (r != 0)
                return r;
        if (invocation->json)
                print_json(status);
        else if (!invocation->quiet) {
                print_status(invocation, status);
                errors = json_object_get(json_object_get(status, "roles"), "errors");
                if (json_array_size(errors) > 0) {
                        (void) printf("\n%s", paint(invocation, COLOUR_RED));
                        print_diagnostics(stdout, errors);
                        (void) fputs(paint(invocation, COLOUR_OFF), stdout);
                }
                r = print_failed(invocation, json_object_get(status, "states"));
        }
        json_decref(status);
        return r;
}
