/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What agentd is doing, and how the host is. */

#include <limits.h>

#include "api-internal.h"
#include "engine-run.h"
#include "value-json.h"

static json_t *roles_to_json(const Engine *engine) {
        const Image *image = engine_image(engine);

        return json_pack("{s:o, s:I, s:I, s:O}", "loaded", json_from_time(engine_loaded(engine)), "n_roles",
                (json_int_t) (image ? image_n_roles(image) : 0), "n_states",
                (json_int_t) (image ? image_n_states(image) : 0), "errors", engine_load_errors(engine));
}

static json_t *counts_to_json(const Engine *engine) {
        const StatusTable *table = engine_status(engine);
        json_t *counts = json_object();

        for (Result result = 0; result < _RESULT_MAX; result++)
                (void) json_object_set_new(
                        counts, result_to_string(result), json_integer(table ? table->counts[result] : 0));
        return counts;
}

static json_t *store_to_json(const Api *api) {
        const Store *store = engine_store(api->engine);
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "%s/%s", api->options.state_directory, STORE_FILE) < 0) {
                path = NULL;
                return NULL;
        }
        return json_pack("{s:o, s:o, s:I}", "path", api_text(path), "error", api_text(store_error(store)),
                "size_bytes", (json_int_t) store_size(store));
}

void api_get_status(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        Engine *engine = api->engine;
        char hostname[HOST_NAME_MAX + 1] = "";

        (void) gethostname(hostname, sizeof(hostname) - 1);
        http_answer_json(request, 200,
                json_pack("{s:s, s:o, s:i, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                        "version", AGENTD_VERSION, "hostname", api_text(hostname), "pid", (int) getpid(),
                        "started", json_from_time(engine_started(engine)), "state",
                        engine_state_to_string(engine_state(engine)), "mode",
                        engine_settings(engine)->audit ? "audit" : "apply", "roles", roles_to_json(engine),
                        "states", counts_to_json(engine), "last_run",
                        api_with_progress(engine_runs_last(engine)), "next_run",
                        json_from_time(engine_next_run(engine)), "runs", engine_runs_active(engine),
                        "disabled", engine_disabled(engine), "watches", engine_watches(engine), "store",
                        store_to_json(api)));
}

void api_get_health(void *userdata, HttpRequest *request) {
        const Api *api = userdata;
        char buffer[1024];
        const char *illness = api_illness(api->engine, buffer, sizeof(buffer));

        http_answer_json(request, illness ? 503 : 200,
                json_pack("{s:b, s:o}", "healthy", !illness, "reason", api_text(illness)));
}
