/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the engine is told to do, and what it has to find out first. */

#include <inttypes.h>

#include "api-internal.h"
#include "log.h"
#include "paths.h"
#include "userdb.h"

/* ---- Answers that take time ------------------------------------------------------------------------------------- */

static void wait_stop(ApiClient *client) {
        engine_forget(client->api->engine, client);
        api_client_remove(client);
        free(client);
}

ApiWait *api_wait_new(Api *api, HttpRequest *request) {
        ApiWait *wait = malloc(sizeof(*wait));

        if (!wait) {
                http_answer_problem(request, 500, "internal", "out of memory");
                return NULL;
        }
        *wait = (ApiWait){ .request = request };
        api_client_add(api, &wait->client, wait_stop);
        return wait;
}

HttpRequest *api_wait_over(ApiWait *wait) {
        HttpRequest *request = wait->request;

        api_client_remove(&wait->client);
        free(wait);
        return request;
}

void api_wait_refused(Api *api, ApiWait *wait, int r) {
        HttpRequest *request = api_wait_over(wait);

        if (r == -ESHUTDOWN)
                api_answer_not_ready(api, request);
        else if (r == -EBUSY)
                http_answer_problem(request, 429, "too-many",
                        "too many requests like this one are under way; try again");
        else
                http_answer_problem(request, 500, "internal", "%s", strerror(-r));
}

static void on_reloaded(void *userdata, const json_t *outcome, const json_t *diagnostics) {
        Api *api = ((ApiWait *) userdata)->client.api;
        HttpRequest *request = api_wait_over(userdata);
        size_t n = json_array_size(diagnostics);
        json_t *body;

        if (outcome) {
                body = json_copy((json_t *) outcome);
                if (body && !json_object_get(body, "diagnostics"))
                        (void) json_object_set_new(body, "diagnostics", json_array());
                if (body && !json_object_get(body, "warnings"))
                        (void) json_object_set_new(body, "warnings", json_array());
                http_answer_json(request, 200, body);
        } else if (n == 0)
                api_answer_loader_failed(api, request);
        else
                http_answer_problem_with(request, 422, "invalid-roles", "diagnostics",
                        json_incref((json_t *) diagnostics),
                        "the roles have %zu error%s; what was in force still is", n, n == 1 ? "" : "s");
}

void api_reload(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        ApiWait *wait;
        int r;

        if (api_body_keys(request, NULL, 0) < 0)
                return;
        wait = api_wait_new(api, request);
        if (!wait)
                return;
        r = engine_reload(api->engine, on_reloaded, wait);
        if (r < 0)
                api_wait_refused(api, wait, r);
}

static void on_validated(void *userdata, const json_t *outcome, const json_t *diagnostics) {
        Api *api = ((ApiWait *) userdata)->client.api;
        HttpRequest *request = api_wait_over(userdata);
        json_t *warnings = json_object_get(outcome, "warnings");

        if (!outcome && json_array_size(diagnostics) == 0) {
                api_answer_loader_failed(api, request);
                return;
        }
        http_answer_json(request, 200,
                json_pack("{s:b, s:O, s:O, s:O, s:o}", "valid", !!outcome, "n_roles",
                        json_object_get(outcome, "n_roles") ?: json_null(), "n_states",
                        json_object_get(outcome, "n_states") ?: json_null(), "diagnostics",
                        (json_t *) diagnostics, "warnings",
                        warnings ? json_incref(warnings) : json_array()));
}

void api_validate(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        ApiWait *wait;
        int r;

        if (api_body_keys(request, NULL, 0) < 0)
                return;
        wait = api_wait_new(api, request);
        if (!wait)
                return;
        r = engine_validate(api->engine, on_validated, wait);
        if (r < 0)
                api_wait_refused(api, wait, r);
}

static void on_facts(void *userdata, const char *json, size_t size, const char *error) {
        Api *api = ((ApiWait *) userdata)->client.api;
        HttpRequest *request = api_wait_over(userdata);

        if (json)
                http_answer_text(request, 200, "application/json", json, size);
        else if (engine_state(api->engine) == ENGINE_STOPPING)
                api_answer_not_ready(api, request);
        else
                http_answer_problem(request, 500, "internal", "the facts could not be gathered: %s", error);
}

void api_get_facts(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        ApiWait *wait = api_wait_new(api, request);
        int r;

        if (!wait)
                return;
        r = engine_facts(api->engine, on_facts, wait);
        if (r < 0)
                api_wait_refused(api, wait, r);
}

/* ---- Disabling -------------------------------------------------------------------------------------------------- */

/* Who asks, for people: a name as /etc/passwd has it, else the number. NSS is not asked, it may take its time. */
static const char *name_of_peer(const HttpRequest *request, char *buffer, size_t size) {
        _cleanup_(userdb_freep) UserDb *db = NULL;
        _cleanup_close_ int root = -EBADF;
        uid_t uid = http_request_peer(request)->uid;
        const char *name = NULL;

        if (path_open_root("/", &root) >= 0 && userdb_new(root, USERDB_NO_NSS, &db) >= 0)
                name = userdb_user_name(db, uid);
        if (name && utf8_is_valid(name, strlen(name)))
                (void) snprintf(buffer, size, "%s", name);
        else
                (void) snprintf(buffer, size, "%u", (unsigned) uid);
        return buffer;
}

static void answer_not_written(HttpRequest *request, int r) {
        http_answer_problem(request, 500, "internal",
                "it cannot be written down, so nothing has changed: %s", strerror(-r));
}

/* One line for people that fits where it is shown. */
static bool reason_is_good(const char *reason) {
        size_t n = strlen(reason);

        if (strspn(reason, " ") == n || n > API_REASON_MAX)
                return false;
        for (const char *p = reason; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f ||
                        ((unsigned char) *p == 0xc2 && (unsigned char) p[1] < 0xa0))
                        return false;
        return true;
}

void api_disable(void *userdata, HttpRequest *request) {
        static const char *const keys[] = { "reason", "for" };
        Api *api = userdata;
        const char *reason = NULL, *span = NULL;
        usec_t usec = USEC_INFINITY;
        char name[256];
        int r;

        if (api_body_keys(request, keys, ELEMENTSOF(keys)) < 0 ||
                api_body_string(request, "reason", &reason) < 0 ||
                (!json_is_null(json_object_get(http_request_body(request), "for")) &&
                        api_body_string(request, "for", &span) < 0))
                return;
        if (!reason || !reason_is_good(reason)) {
                http_answer_problem(request, 400, "bad-request",
                        "'reason' is missing, or is not one line of at most %i bytes: it says to others why",
                        API_REASON_MAX);
                return;
        }
        if (span && (parse_timespan(span, &usec) < 0 || usec == 0)) {
                http_answer_problem(request, 400, "bad-request",
                        "'for' '%s' is no time span like \"2h\" or \"1d 12h\"; null is until it is enabled",
                        span);
                return;
        }
        r = engine_disable(api->engine, reason, name_of_peer(request, name, sizeof(name)), usec);
        if (r < 0)
                answer_not_written(request, r);
        else
                http_answer_json(request, 200, engine_disabled(api->engine));
}

void api_enable(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        char name[256];
        int r;

        if (api_body_keys(request, NULL, 0) < 0)
                return;
        r = engine_enable(api->engine, name_of_peer(request, name, sizeof(name)));
        if (r < 0)
                answer_not_written(request, r);
        else
                http_answer_json(request, 200, json_pack("{s:n}", "disabled"));
}

/* ---- The log ---------------------------------------------------------------------------------------------------- */

static void answer_log_level(HttpRequest *request) {
        http_answer_json(
                request, 200, json_pack("{s:s}", "level", log_level_to_string(log_get_max_level())));
}

void api_get_log_level(_unused_ void *userdata, HttpRequest *request) {
        answer_log_level(request);
}

void api_put_log_level(_unused_ void *userdata, HttpRequest *request) {
        static const char *const keys[] = { "level" };
        static const char *const names[] = { "error", "warning", "notice", "info", "debug" };
        const char *name = NULL;
        char who[256];
        int level = LOG_INFO, r;

        if (api_body_keys(request, keys, ELEMENTSOF(keys)) < 0 ||
                api_body_string(request, "level", &name) < 0)
                return;
        r = api_word(request, "level", name ?: "", names, ELEMENTSOF(names));
        if (r < 0)
                return;
        (void) log_level_from_string(names[r], &level);
        if (level != log_get_max_level()) {
                log_set_max_level(level);
                log_notice("Log level set to %s by %s", names[r], name_of_peer(request, who, sizeof(who)));
        }
        answer_log_level(request);
}
