/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Why a state is as it is: what the roles say of it, from a loader of its own, and what the engine knows. */

#include "api-internal.h"

/* What the loader says is only handed on: this process takes nothing apart that a child has made. */
static void answer_explained(Api *api, HttpRequest *request, const char *text, size_t size) {
        const char *id = http_request_part(request);
        json_t *status = api_state_status(api, id), *json = api_text(id);
        _cleanup_free_ char *answer = NULL, *first = NULL, *second = NULL;
        int n = -1;

        first = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        second = status ? json_dumps(status, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        json_decref(json);
        json_decref(status);
        if (size > 0 && text[size - 1] == '\n')
                size--;
        if (first && second)
                n = asprintf(&answer, "{\"state\":%s,\"status\":%s,\"explanation\":%.*s}", first, second,
                        (int) size, text);
        if (n < 0) {
                answer = NULL;
                http_answer_problem(request, 500, "internal", "out of memory");
                return;
        }
        http_answer_text(request, 200, "application/json", answer, (size_t) n);
}

static void on_explained(
        void *userdata, const char *text, size_t size, bool found, const json_t *diagnostics) {
        Api *api = ((ApiWait *) userdata)->client.api;
        HttpRequest *request = api_wait_over(userdata);
        size_t n = json_array_size(diagnostics);

        if (text && found)
                answer_explained(api, request, text, size);
        else if (text)
                http_answer_problem(request, 404, "not-found", "%.*s", (int) size, text);
        else if (n == 0)
                api_answer_loader_failed(api, request);
        else
                http_answer_problem_with(request, 422, "invalid-roles", "diagnostics",
                        json_incref((json_t *) diagnostics),
                        "the roles have %zu error%s; states are explained by roles that load", n,
                        n == 1 ? "" : "s");
}

void api_explain(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        ApiWait *wait = api_wait_new(api, request);
        int r;

        if (!wait)
                return;
        r = engine_explain(api->engine, http_request_part(request), on_explained, wait);
        if (r < 0)
                api_wait_refused(api, wait, r);
}
