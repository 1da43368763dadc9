/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* explain: why a state is as it is, and where all that is said of it comes from. */

#include <time.h>

#include "agentctl.h"
#include "explain-text.h"
#include "format.h"
#include "json.h"
#include "log.h"
#include "terminal.h"

static void print_text(const char *text) {
        output_clean(stdout, text ?: "?", strlen(text ?: "?"));
}

/* "failed: no space left", or the result alone. */
static void print_result(const char *result, const char *error, const OutputStyle *style) {
        (void) fputs(style->colour ? result_text_colour(result ?: "") : "", stdout);
        print_text(result);
        (void) fputs(style->colour ? COLOUR_OFF : "", stdout);
        if (error) {
                (void) fputs(": ", stdout);
                print_text(error);
        }
}

static void print_blockers(const json_t *blockers, const OutputStyle *style) {
        json_t *blocker;
        size_t i;

        json_array_foreach(blockers, i, blocker) {
                explain_text_print_key(stdout, i == 0 ? "Blocked by" : "");
                print_text(get_text(blocker, "state"));
                (void) fputs(", ", stdout);
                print_result(get_text(blocker, "result"), get_text(blocker, "error"), style);
                (void) fputc('\n', stdout);
        }
}

static void print_status(const json_t *status, const OutputStyle *style) {
        const json_t *disabled = json_object_get(status, "disabled");
        const char *result = get_text(status, "result");
        usec_t now = now_usec(CLOCK_REALTIME);

        explain_text_print_key(stdout, "Result");
        if (!json_is_object(status)) {
                (void) printf("not in force: no run has looked at these roles yet\n");
                return;
        }
        if (result) {
                const char *error = get_text(status, "error");

                print_result(result, NULL, style);
                (void) printf(", since %s", FORMAT_RELATIVE(get_time(status, "since"), now));
                if (error) {
                        (void) fputs(": ", stdout);
                        print_text(error);
                }
                (void) fputc('\n', stdout);
        } else
                (void) printf("not looked at yet\n");
        print_blockers(json_object_get(status, "blocked_by"), style);
        explain_text_print_key(stdout, "Checked");
        (void) printf("%s\n", FORMAT_RELATIVE(get_time(status, "checked"), now));
        explain_text_print_key(stdout, "Changed");
        (void) printf("%s\n", FORMAT_RELATIVE(get_time(status, "changed"), now));
        if (json_is_true(json_object_get(status, "fight"))) {
                explain_text_print_key(stdout, "Fight");
                (void) printf("it has to be repaired again and again, so it is repaired less often\n");
        }
        if (json_is_object(disabled)) {
                explain_text_print_key(stdout, "Disabled");
                (void) fputs("nothing is changed on this host: ", stdout);
                print_text(get_text(disabled, "reason"));
                (void) fputs(" (", stdout);
                print_text(get_text(disabled, "by"));
                (void) fputs(")\n", stdout);
        }
}

static int explain(Invocation *invocation, const char *id, bool *first) {
        const OutputStyle style = { .colour = invocation->style.colour };
        _cleanup_free_ char *path = path_with("/v1/states/", id), *whole = NULL;
        Client *client = &invocation->client;
        const json_t *explanation, *status;
        json_t *answer = NULL;
        unsigned code;
        int r;

        if (!path || asprintf(&whole, "%s/explain", path) < 0) {
                whole = NULL;
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        r = client_request(client, "GET", whole, NULL, &code, &answer);
        if (r != 0)
                return r;

        explanation = json_object_get(answer, "explanation");
        status = json_object_get(answer, "status");
        if (code == 422 && json_array_size(json_object_get(answer, "diagnostics")) > 0) {
                if (invocation->json)
                        print_json(answer);
                else
                        print_diagnostics(stderr, json_object_get(answer, "diagnostics"));
                r = EXIT_INVALID;
        } else if (code != 200)
                r = client_tell_problem(client, code, answer);
        else if (!json_is_object(explanation))
                r = client_nonsense(client, "what it sends has no explanation");
        else if (invocation->json)
                print_json(answer);
        else {
                (void) fputs(*first ? "" : "\n", stdout);
                explain_text_print_head(stdout, explanation, get_text(status, "result"), &style);
                print_status(status, &style);
                explain_text_print_settings(stdout, explanation, &style);
                *first = false;
        }
        json_decref(answer);
        return r;
}

static int on_match(void *userdata, json_t *state) {
        json_t *id = json_object_get(state, "state");

        return !json_is_string(id) || json_array_append(userdata, id) < 0 ? EXIT_STATE_FAILED : 0;
}

/* Globs are of those that are in force: each is a question of its own. */
static int explain_matches(Invocation *invocation, const char *pattern, bool *first) {
        _cleanup_free_ char *path = strdup("/v1/states");
        json_t *ids = json_array(), *id;
        size_t i;
        int r;

        if (!path || !ids || query_add(&path, "match", pattern) < 0) {
                json_decref(ids);
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        r = client_pages(&invocation->client, path, NULL, on_match, ids);
        if (r == 0 && json_array_size(ids) == 0)
                /* Then it is an id, or this is what says why there is nothing. */
                r = explain(invocation, pattern, first);
        json_array_foreach(ids, i, id) {
                if (r != 0)
                        break;
                r = explain(invocation, json_string_value(id), first);
        }
        json_decref(ids);
        return r;
}

int verb_explain(Invocation *invocation) {
        bool first = true;
        int worst = EXIT_FINE;

        /* As long as roles take to load. */
        if (!getenv("AGENTD_TIMEOUT"))
                invocation->client.timeout_usec = CLIENT_LOAD_TIMEOUT_USEC;
        for (size_t i = 0; i < invocation->n_words; i++) {
                const char *word = invocation->words[i];
                int r = strpbrk(word, "*?[") ? explain_matches(invocation, word, &first)
                                             : explain(invocation, word, &first);

                worst = MAX(worst, r);
                if (invocation->client.lost || r == EXIT_UNREACHABLE)
                        break;
        }
        return worst;
}
