/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The routes of the local interface. */

#include "api-internal.h"
#include "log.h"
#include "paths.h"
#include "userdb.h"

typedef struct Endpoint {
        HttpRoute route;
        const char *description;
} Endpoint;

#define QUERY(...)                              \
        (const char *const[]) {                 \
                __VA_ARGS__ __VA_OPT__(, ) NULL \
        }
#define GET(path, handle, query, description) \
        { { "GET", path, false, handle, query }, description }
#define CHANGE(method, path, handle, query, description) \
        { { method, path, true, handle, query }, description }

/* Also read by tests/test-openapi.py: one line each. */
/* clang-format off */
static const Endpoint endpoints[] = {
        GET("/v1/", api_list_routes, QUERY(), "this list"),
        GET("/healthz", api_get_health, QUERY(), "200 if roles are in force and the last load was fine, else 503"),
        GET("/metrics", api_get_metrics, QUERY(), "numbers, in the text format of Prometheus"),
        GET("/v1/status", api_get_status, QUERY(), "what agentd is doing, and how the host is"),
        GET("/v1/states", api_list_states, QUERY("limit", "after", "result", "type", "role", "match", "tag"), "all states"),
        GET("/v1/states/{id}", api_get_state, QUERY(), "one state, with what it requires, what requires it, and its history"),
        GET("/v1/states/{id}/explain", api_explain, QUERY(), "where all that is said of a state comes from, and why it is as it is"),
        GET("/v1/runs", api_list_runs, QUERY("limit", "after", "mode"), "runs, newest first"),
        CHANGE("POST", "/v1/runs", api_start_run, QUERY("follow"), "starts a run"),
        GET("/v1/runs/{run}", api_get_run, QUERY(), "one run"),
        CHANGE("DELETE", "/v1/runs/{run}", api_stop_run, QUERY(), "stops a run: what is under way is let finish"),
        GET("/v1/runs/{run}/results", api_list_results, QUERY("limit", "after"), "results of a run, but for those that are ok"),
        GET("/v1/triggers", api_list_triggers, QUERY("limit", "after"), "triggers, and when they fired"),
        CHANGE("POST", "/v1/triggers/{trigger}/fire", api_fire_trigger, QUERY(), "fires one: its states are looked at"),
        GET("/v1/facts", api_get_facts, QUERY(), "what is known about the host"),
        GET("/v1/events", api_list_events, QUERY("limit", "after", "kind", "state", "run", "follow"), "what happened"),
        CHANGE("POST", "/v1/validate", api_validate, QUERY(), "loads what is in conf.d, and says what is wrong with it"),
        CHANGE("POST", "/v1/reload", api_reload, QUERY(), "loads what is in conf.d, and takes it over"),
        CHANGE("POST", "/v1/disable", api_disable, QUERY(), "nothing is changed on this host until it is enabled"),
        CHANGE("POST", "/v1/enable", api_enable, QUERY(), "the host is kept as declared again"),
        GET("/v1/log-level", api_get_log_level, QUERY(), "how much agentd logs"),
        CHANGE("PUT", "/v1/log-level", api_put_log_level, QUERY(), "how much agentd logs, until it ends"),
};
/* clang-format on */

void api_list_routes(_unused_ void *userdata, HttpRequest *request) {
        json_t *items = json_array();

        FOREACH_ELEMENT(endpoint, endpoints)
                (void) json_array_append_new(
                        items, json_pack("{s:s, s:s, s:s}", "method", endpoint->route.method, "path",
                                       endpoint->route.path, "description", endpoint->description));
        api_answer_page(request, items, json_null());
}

void api_client_add(Api *api, ApiClient *client, void (*stop)(ApiClient *client)) {
        *client = (ApiClient){ .api = api, .stop = stop, .next = api->clients };
        if (api->clients)
                api->clients->previous = client;
        api->clients = client;
}

void api_client_remove(ApiClient *client) {
        if (client->previous)
                client->previous->next = client->next;
        else
                client->api->clients = client->next;
        if (client->next)
                client->next->previous = client->previous;
}

/* From the files alone: what NSS asks may take its time. */
static gid_t find_group(const char *name, const char *what) {
        _cleanup_(userdb_freep) UserDb *db = NULL;
        _cleanup_close_ int root = -EBADF;
        gid_t gid;
        int r;

        r = path_open_root("/", &root);
        if (r >= 0)
                r = userdb_new(root, USERDB_NO_NSS, &db);
        if (r >= 0)
                r = userdb_group_id(db, name, &gid);
        if (r >= 0)
                return gid;
        if (r == -ESRCH)
                log_warning("Group '%s' does not exist, only root may %s", name, what);
        else
                log_warning_errno(r, "Failed to look up group '%s', only root may %s: %m", name, what);
        return (gid_t) -1;
}

int api_new(sd_event *event, Engine *engine, const ApiOptions *options, Api **ret) {
        _cleanup_(api_freep) Api *api = NULL;
        int r;

        api = malloc(sizeof(*api));
        if (!api)
                return log_oom();
        *api = (Api){ .event = sd_event_ref(event), .engine = engine, .options = *options };
        api->routes = calloc(ELEMENTSOF(endpoints), sizeof(HttpRoute));
        if (!api->routes)
                return log_oom();
        for (size_t i = 0; i < ELEMENTSOF(endpoints); i++)
                api->routes[i] = endpoints[i].route;
        if (options->reader_gid == 0)
                api->options.reader_gid = find_group(API_READER_GROUP, "read");
        if (options->writer_gid == 0)
                api->options.writer_gid = find_group(API_WRITER_GROUP, "write");

        r = http_server_new(event,
                &(HttpServerOptions){ .routes = api->routes,
                        .n_routes = ELEMENTSOF(endpoints),
                        .reader_gid = api->options.reader_gid,
                        .writer_gid = api->options.writer_gid,
                        .readers = API_READER_GROUP,
                        .writers = API_WRITER_GROUP,
                        .userdata = api },
                &api->server);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the HTTP server: %m");

        *ret = TAKE_PTR(api);
        return 0;
}

Api *api_free(Api *api) {
        if (!api)
                return NULL;
        /* First, so that no stream tells those that are freed below. */
        http_server_free(api->server);
        while (api->clients)
                api->clients->stop(api->clients);
        free(api->routes);
        sd_event_unref(api->event);
        free(api);
        return NULL;
}

int api_listen(Api *api, int fd) {
        return http_server_listen(api->server, fd);
}

void api_close(Api *api) {
        http_server_close(api->server);
}

bool api_is_sending(const Api *api) {
        return http_server_is_sending(api->server);
}
