/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Numbers for Prometheus. Source: its text-based exposition format, version 0.0.4. */

#include <inttypes.h>

#include "api-internal.h"
#include "engine-run.h"

static void declare(FILE *f, const char *name, const char *type, const char *help) {
        (void) fprintf(f, "# HELP agentd_%s %s\n# TYPE agentd_%s %s\n", name, help, name, type);
}

static void number(FILE *f, const char *name, const char *type, const char *help, uint64_t value) {
        declare(f, name, type, help);
        (void) fprintf(f, "agentd_%s %" PRIu64 "\n", name, value);
}

static void seconds(FILE *f, const char *name, const char *help, usec_t usec) {
        declare(f, name, "gauge", help);
        (void) fprintf(
                f, "agentd_%s %" PRIu64 ".%06" PRIu64 "\n", name, usec / USEC_PER_SEC, usec % USEC_PER_SEC);
}

static void print_states(FILE *f, const Engine *engine) {
        const StatusTable *table = engine_status(engine);
        const Image *image = engine_image(engine);

        declare(f, "states", "gauge", "States, by what they were last found to be.");
        for (Result result = 0; result < _RESULT_MAX; result++)
                (void) fprintf(f, "agentd_states{result=\"%s\"} %" PRIu32 "\n", result_to_string(result),
                        table ? table->counts[result] : 0);
        number(f, "roles", "gauge", "Roles in force.", image ? image_n_roles(image) : 0);
}

static void print_runs(FILE *f, const Engine *engine) {
        const EngineCounts *counts = engine_counts(engine);
        json_t *last = engine_runs_last(engine), *active = engine_runs_active(engine);

        declare(f, "runs_total", "counter", "Runs that are over, by mode.");
        for (RunMode mode = RUN_APPLY; mode <= RUN_PLAN; mode++)
                (void) fprintf(f, "agentd_runs_total{mode=\"%s\"} %" PRIu64 "\n", run_mode_to_string(mode),
                        counts->n_runs[mode]);
        declare(f, "results_total", "counter", "Results of states in runs that were no plans.");
        for (Result result = RESULT_OK; result < _RESULT_MAX; result++)
                (void) fprintf(f, "agentd_results_total{result=\"%s\"} %" PRIu64 "\n",
                        result_to_string(result), counts->n_results[result]);
        number(f, "runs_active", "gauge", "Runs that go on or wait.", json_array_size(active));
        seconds(f, "last_run_duration_seconds", "How long the last run took.", counts->run_usec);
        seconds(f, "last_run_timestamp_seconds", "When the last run was over; 0: never.",
                api_time_parse(json_string_value(json_object_get(last, "finished"))));
        seconds(f, "next_run_timestamp_seconds", "When the next run is due; 0: never.",
                engine_next_run(engine));
        json_decref(last);
        json_decref(active);
}

static void print_loads(FILE *f, const Engine *engine) {
        const EngineCounts *counts = engine_counts(engine);

        number(f, "loads_total", "counter", "Loads of roles, those that failed as well.", counts->n_loads);
        number(f, "loads_failed_total", "counter", "Loads of roles that failed.", counts->n_loads_failed);
        seconds(f, "last_load_duration_seconds", "How long the last load took.", counts->load_usec);
        seconds(f, "roles_timestamp_seconds", "When the roles in force were loaded; 0: never.",
                engine_loaded(engine));
}

void api_get_metrics(void *userdata, HttpRequest *request) {
        const Api *api = userdata;
        const Engine *engine = api->engine;
        Store *store = engine_store(engine);
        _cleanup_free_ char *text = NULL;
        char buffer[1024];
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f) {
                http_answer_problem(request, 500, "internal", "out of memory");
                return;
        }
        declare(f, "build_info", "gauge", "Which agentd this is; always 1.");
        (void) fputs("agentd_build_info{version=\"" AGENTD_VERSION "\"} 1\n", f);
        seconds(f, "start_timestamp_seconds", "When agentd was started.", engine_started(engine));
        number(f, "memory_bytes", "gauge", "Memory that the engine has in use.", api_memory());
        number(f, "healthy", "gauge", "1 if roles are in force and the last load was fine.",
                !api_illness(engine, buffer, sizeof(buffer)));
        number(f, "disabled", "gauge", "1 while nothing is changed on this host.",
                engine_is_disabled(engine));
        print_states(f, engine);
        print_runs(f, engine);
        print_loads(f, engine);
        number(f, "last_event", "gauge", "Number of the newest event; 0: none.",
                (uint64_t) store_last_event(store));
        number(f, "store_ok", "gauge", "1 if the store can be written.", !store_error(store));
        number(f, "store_size_bytes", "gauge", "Size of the store on disk.", store_size(store));
        number(f, "store_rows_lost_total", "counter", "Rows that could not be written, and were given up.",
                store_n_lost(store));
        number(f, "http_connections", "gauge", "Connections to the local interface.",
                http_server_connections(api->server));
        number(f, "http_requests_total", "counter", "Requests to the local interface that were answered.",
                http_server_requests(api->server));
        if (fclose(f) != 0)
                http_answer_problem(request, 500, "internal", "out of memory");
        else
                http_answer_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", text, size);
}
