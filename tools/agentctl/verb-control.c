/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* reload, disable, enable, log-level: what steers agentd. */

#include <time.h>

#include "agentctl.h"
#include "format.h"
#include "json.h"
#include "log.h"
#include "terminal.h"

int verb_reload(Invocation *invocation) {
        Client *client = &invocation->client;
        json_t *answer = NULL;
        json_int_t n_states, n_roles, run;
        unsigned status;
        int r;

        /* Roles take as long as they take; somebody who set a limit wants that one. */
        if (!getenv("AGENTD_TIMEOUT"))
                client->timeout_usec = CLIENT_LOAD_TIMEOUT_USEC;
        progress_begin(&invocation->progress, "Loading the roles");
        r = client_request(client, "POST", "/v1/reload", NULL, &status, &answer);
        if (r != 0)
                return r;

        if (status == 422 && json_array_size(json_object_get(answer, "diagnostics")) > 0) {
                if (invocation->json)
                        print_json(answer);
                else
                        print_diagnostics(stderr, json_object_get(answer, "diagnostics"));
                json_decref(answer);
                return EXIT_INVALID;
        }
        if (status != 200)
                r = client_tell_problem(client, status, answer);
        else if (!json_is_object(answer))
                r = client_nonsense(client, "what it sends is no JSON object");
        else if (invocation->json)
                print_json(answer);
        else if (!invocation->quiet) {
                print_warnings(stderr, json_object_get(answer, "warnings"));
                n_states = get_integer(answer, "n_states");
                n_roles = get_integer(answer, "n_roles");
                run = get_integer(answer, "run");
                (void) printf("%" JSON_INTEGER_FORMAT " state%s in %" JSON_INTEGER_FORMAT " role%s, %s",
                        n_states, n_states == 1 ? "" : "s", n_roles, n_roles == 1 ? "" : "s",
                        json_is_true(json_object_get(answer, "changed")) ? "in force"
                                                                         : "nothing is different");
                if (run > 0)
                        (void) printf("; run %" JSON_INTEGER_FORMAT " looks at %" JSON_INTEGER_FORMAT
                                      " of them",
                                run, get_integer(answer, "n_run_states"));
                (void) fputc('\n', stdout);
        }
        json_decref(answer);
        return r;
}

int verb_disable(Invocation *invocation) {
        const char *span = option_value(invocation, "for"), *shown;
        _cleanup_free_ char *reason = NULL;
        json_t *body, *answer = NULL;
        usec_t usec, until;
        size_t size;
        FILE *f;
        int r;

        if (span && parse_timespan(span, &usec) < 0)
                return usage(invocation->verb, "--for '%s' is no time span such as 2h or '1h 30min'", span);

        f = open_memstream(&reason, &size);
        for (size_t i = 0; f && i < invocation->n_words; i++)
                (void) fprintf(f, "%s%s", i == 0 ? "" : " ", invocation->words[i]);
        if (!f || fclose(f) != 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        body = json_pack("{s:s, s:s?}", "reason", reason, "for", span);
        if (!body)
                return usage(invocation->verb, "The reason is not UTF-8");
        r = client_call(&invocation->client, "POST", "/v1/disable", body, &answer);
        json_decref(body);
        if (r != 0)
                return r;

        if (invocation->json)
                print_json(answer);
        else if (!invocation->quiet) {
                until = get_time(answer, "until");
                shown = get_text(answer, "reason") ?: reason;
                (void) printf("Disabled until %s: ", until != 0 ? FORMAT_TIME(until) : "it is enabled");
                output_clean(stdout, shown, strlen(shown));
                (void) fputc('\n', stdout);
        }
        json_decref(answer);
        return 0;
}

int verb_enable(Invocation *invocation) {
        json_t *answer = NULL;
        int r;

        r = client_call(&invocation->client, "POST", "/v1/enable", NULL, &answer);
        if (r != 0)
                return r;
        if (invocation->json && answer)
                print_json(answer);
        else if (!invocation->json && !invocation->quiet)
                (void) printf("Enabled\n");
        json_decref(answer);
        return 0;
}

int verb_log_level(Invocation *invocation) {
        json_t *body = NULL, *answer = NULL;
        const char *level;
        int r;

        if (invocation->n_words > 0) {
                body = json_pack("{s:s}", "level", invocation->words[0]);
                if (!body)
                        return usage(invocation->verb, "The level is not UTF-8");
        }
        r = client_call(&invocation->client, body ? "PUT" : "GET", "/v1/log-level", body, &answer);
        json_decref(body);
        if (r != 0)
                return r;
        level = get_text(answer, "level");
        if (!level)
                r = client_nonsense(&invocation->client, "a level of logging that is no text");
        else if (invocation->json)
                print_json(answer);
        else if (!invocation->quiet || invocation->n_words == 0) {
                output_clean(stdout, level, strlen(level));
                (void) fputc('\n', stdout);
        }
        json_decref(answer);
        return r;
}
