/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* triggers; trigger fire NAME. */

#include <inttypes.h>
#include <time.h>

#include "agentctl.h"
#include "format.h"
#include "json.h"
#include "log.h"
#include "table.h"
#include "terminal.h"

static const TableColumn columns[] = {
        { .heading = "TRIGGER", .whole = true },
        { .heading = "TYPE", .whole = true },
        { .heading = "WHAT" },
        { .heading = "FIRED", .whole = true },
        { .heading = "TIMES", .right = true, .whole = true },
        { .heading = "STATES" },
        {},
};

typedef struct List {
        const Invocation *invocation;
        Table *table;
} List;

/* "/srv/app, and all below", "15min"; to be freed. */
static char *describe(const json_t *trigger) {
        const char *path = get_text(trigger, "path");
        json_int_t every = get_integer(trigger, "every_usec");
        char *text = NULL;
        int n;

        if (path)
                n = asprintf(&text, "%s%s", path,
                        json_is_true(json_object_get(trigger, "recursive")) ? ", and all below" : "");
        else
                n = asprintf(&text, "%s", FORMAT_SPAN(every > 0 ? (usec_t) every : 0));
        return n < 0 ? NULL : text;
}

/* "exec:a, exec:b"; to be freed. */
static char *list_states(const json_t *trigger) {
        json_t *state;
        char *text = NULL;
        size_t size, i;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        json_array_foreach(json_object_get(trigger, "states"), i, state)(void)
                fprintf(f, "%s%s", i > 0 ? ", " : "", json_string_value(state) ?: "?");
        return fclose(f) == 0 ? text : NULL;
}

static int on_trigger(void *userdata, json_t *trigger) {
        List *list = userdata;
        usec_t fired = get_time(trigger, "fired");
        _cleanup_free_ char *what = NULL, *states = NULL;

        if (list->invocation->json) {
                print_json(trigger);
                return 0;
        }
        what = describe(trigger);
        states = list_states(trigger);
        table_add(list->table, NULL, get_text(trigger, "trigger"));
        table_add(list->table, NULL, get_text(trigger, "type"));
        table_add(list->table, NULL, what);
        table_add(list->table, NULL, fired > 0 ? FORMAT_TIME(fired) : "never");
        table_addf(list->table, NULL, "%" JSON_INTEGER_FORMAT, get_integer(trigger, "n_fired"));
        table_add(list->table, NULL, states);
        return 0;
}

int verb_triggers(Invocation *invocation) {
        List list = { .invocation = invocation };
        int r;

        if (table_new(columns, &list.table) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        r = client_pages(&invocation->client, "/v1/triggers", NULL, on_trigger, &list);
        if (r == 0 && !invocation->json) {
                if (table_n_rows(list.table) > 0) {
                        if (table_print(list.table, stdout, !invocation->quiet, invocation->style.colour,
                                    terminal_width(stdout)) < 0) {
                                (void) log_oom();
                                r = EXIT_STATE_FAILED;
                        }
                } else if (!invocation->quiet)
                        log_notice("There are no triggers");
        }
        table_free(list.table);
        return r;
}

int verb_trigger(Invocation *invocation) {
        _cleanup_free_ char *path = NULL, *whole = NULL;
        json_t *answer = NULL;
        size_t n;
        int r;

        if (!streq(invocation->words[0], "fire"))
                return usage(invocation->verb, "What is to be done with a trigger is 'fire', and not '%s'",
                        invocation->words[0]);
        path = path_with("/v1/triggers/", invocation->words[1]);
        if (!path || asprintf(&whole, "%s/fire", path) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        r = client_call(&invocation->client, "POST", whole, NULL, &answer);
        if (r != 0)
                return r;
        n = json_array_size(json_object_get(answer, "states"));
        if (invocation->json)
                print_json(answer);
        else if (!invocation->quiet)
                (void) printf(
                        "Fired; %zu state%s %s looked at\n", n, n == 1 ? "" : "s", n == 1 ? "is" : "are");
        json_decref(answer);
        return 0;
}
