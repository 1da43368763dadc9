/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "agentctl.h"
#include "format.h"
#include "json.h"
#include "log.h"
#include "table.h"
#include "terminal.h"

static const TableColumn columns[] = {
        { .heading = "RESULT", .whole = true },
        { .heading = "SINCE", .whole = true },
        { .heading = "CHECKED", .whole = true },
        { .heading = "ROLE" },
        { .heading = "STATE" },
        { .heading = "ERROR" },
        {},
};

typedef struct List {
        const Invocation *invocation;
        Table *table;
        json_t *seen; /* ids: patterns may overlap */
        usec_t now;
} List;

static int on_state(void *userdata, json_t *state) {
        List *list = userdata;
        const char *id = get_text(state, "state"), *result = get_text(state, "result"),
                   *error = get_text(state, "error");
        _cleanup_free_ char *removal = NULL;

        if (json_is_true(json_object_get(state, "removal")) &&
                asprintf(&removal, "%s (to be removed)", id ?: "?") < 0)
                removal = NULL;
        if (list->seen && id) {
                if (json_object_get(list->seen, id))
                        return 0;
                (void) json_object_set_new(list->seen, id, json_true());
        }
        if (list->invocation->json) {
                print_json(state);
                return 0;
        }
        table_add(list->table, result_text_colour(result ?: ""), result);
        table_add(list->table, NULL, result ? FORMAT_RELATIVE(get_time(state, "since"), list->now) : NULL);
        table_add(list->table, NULL, FORMAT_RELATIVE(get_time(state, "checked"), list->now));
        table_add(list->table, NULL, get_text(state, "role"));
        table_add(list->table, NULL, removal ?: id);
        table_add(list->table, COLOUR_RED, error);
        return 0;
}

/* The server takes one pattern and one result at a time. */
static int ask(Invocation *invocation, List *list, const char *pattern, const char *result) {
        _cleanup_free_ char *path = strdup("/v1/states");

        if (!path || query_add(&path, "match", pattern) < 0 || query_add(&path, "result", result) < 0 ||
                query_add(&path, "type", option_value(invocation, "type")) < 0 ||
                query_add(&path, "role", option_value(invocation, "role")) < 0 ||
                query_add(&path, "tag", option_value(invocation, "tag")) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        return client_pages(&invocation->client, path, NULL, on_state, list);
}

int verb_states(Invocation *invocation) {
        static const char *const bad[] = { "failed", "blocked" };
        const char *result = option_value(invocation, "result"), *const none[] = { NULL };
        bool failed = option_value(invocation, "failed");
        bool asked = failed || result || invocation->n_words > 0 || option_value(invocation, "type") ||
                     option_value(invocation, "role") || option_value(invocation, "tag");
        const char *const *results = failed ? bad : &result;
        const char *const *patterns = invocation->n_words > 0 ? invocation->words : none;
        size_t n_results = failed ? ELEMENTSOF(bad) : 1, n_patterns = MAX(invocation->n_words, (size_t) 1);
        List list = { .invocation = invocation, .now = now_usec(CLOCK_REALTIME) };
        int r;

        if (failed && result)
                return usage(invocation->verb, "--failed and --result exclude each other");
        r = table_new(columns, &list.table);
        if (r < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        if (n_patterns > 1)
                list.seen = json_object();

        r = 0;
        for (size_t p = 0; r == 0 && p < n_patterns; p++)
                for (size_t i = 0; r == 0 && i < n_results; i++)
                        r = ask(invocation, &list, patterns[p], results[i]);

        if (r == 0 && !invocation->json) {
                if (table_n_rows(list.table) > 0) {
                        if (table_print(list.table, stdout, !invocation->quiet, invocation->style.colour,
                                    terminal_width(stdout)) < 0) {
                                (void) log_oom();
                                r = EXIT_STATE_FAILED;
                        }
                } else if (!invocation->quiet)
                        log_notice("%s", !asked   ? "There are no states: no role declares one"
                                         : failed ? "No such state has failed, or is blocked"
                                                  : "There are no such states");
        }
        json_decref(list.seen);
        table_free(list.table);
        return r;
}
