/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs that are asked for: what is wanted, what has to come first, and who follows. */

#include "api-internal.h"
#include "engine-run.h"

static const char *const modes[] = { "apply", "plan" };

/* ---- Starting one ----------------------------------------------------------------------------------------------- */

/* Who follows a run. */
typedef struct Follow {
        ApiClient client;
        HttpStream *stream;
} Follow;

static void follow_free(Follow *follow) {
        api_client_remove(&follow->client);
        free(follow);
}

static void follow_stop(ApiClient *client) {
        Follow *follow = (Follow *) client;

        engine_run_unfollow(client->api->engine, follow);
        follow_free(follow);
}

static void on_line(void *userdata, const json_t *line) {
        Follow *follow = userdata;

        http_stream_push(follow->stream, line);
}

static void on_end(void *userdata) {
        Follow *follow = userdata;

        http_stream_end(follow->stream);
        follow_free(follow);
}

/* The run goes on without him. */
static void on_gone(void *userdata, _unused_ HttpStream *stream) {
        follow_stop(userdata);
}

static void refuse(Api *api, HttpRequest *request, const RunRequest *run, size_t pattern, int r) {
        const Image *image = run->image ?: engine_image(api->engine);
        char buffer[1024];
        json_t *disabled;

        switch (r) {
        case -ENOENT:
                http_answer_problem(request, 404, "not-found", "there is no state '%s'%s",
                        run->patterns[pattern],
                        image ? api_suggest_state(image, run->patterns[pattern], buffer, sizeof(buffer))
                              : "");
                break;
        case -ENXIO: api_answer_no_tag(request, 404, image, run->tags[pattern]); break;
        case -EPERM:
                disabled = engine_disabled(api->engine);
                http_answer_problem(request, 409, "conflict", "the host is disabled by %s: %s",
                        json_string_value(json_object_get(disabled, "by")) ?: "somebody",
                        json_string_value(json_object_get(disabled, "reason")) ?: "no reason given");
                json_decref(disabled);
                break;
        case -EAGAIN:
        case -ESHUTDOWN: api_answer_not_ready(api, request); break;
        case -EUSERS:
                http_answer_problem(request, 429, "too-many",
                        "%i runs with variables of their own are going on or waiting already; try again "
                        "when one is over",
                        ENGINE_APART_RUNS_MAX);
                break;
        case -EBUSY:
                http_answer_problem(request, 429, "too-many",
                        "%i runs are going on or waiting already; try again when one is over",
                        ENGINE_RUNS_MAX);
                break;
        default: http_answer_problem(request, 500, "internal", "failed to start a run: %s", strerror(-r));
        }
}

/* ---- What is wanted --------------------------------------------------------------------------------------------- */

/* The ids and globs of the body. Return: their number; -EINVAL, and it has been answered. */
static int read_patterns(HttpRequest *request, const char **patterns) {
        const json_t *states = json_object_get(http_request_body(request), "states");
        size_t n = json_array_size(states), i;
        json_t *item;

        if (!states || json_is_null(states))
                return 0;
        if (!json_is_array(states) || n == 0 || n > API_PATTERNS_MAX) {
                http_answer_problem(request, 400, "bad-request",
                        "'states' is not a list of 1 to %i ids or globs; leave it out for all states",
                        API_PATTERNS_MAX);
                return -EINVAL;
        }
        json_array_foreach((json_t *) states, i, item) {
                patterns[i] = json_string_value(item);
                if (!patterns[i] || !*patterns[i]) {
                        http_answer_problem(request, 400, "bad-request",
                                "'states' has an item that is no id of a state, nor a glob");
                        return -EINVAL;
                }
                if (api_check_glob(request, "states", patterns[i]) < 0)
                        return -EINVAL;
        }
        return (int) n;
}

/* Return: as read_patterns(). */
static int read_tags(HttpRequest *request, const char **ret) {
        const json_t *tags = json_object_get(http_request_body(request), "tags");
        size_t n = json_array_size(tags), i;
        json_t *item;

        if (!tags || json_is_null(tags))
                return 0;
        if (!json_is_array(tags) || n == 0 || n > API_TAGS_MAX) {
                http_answer_problem(request, 400, "bad-request",
                        "'tags' is not a list of 1 to %i tags; leave it out for states with whatever tags",
                        API_TAGS_MAX);
                return -EINVAL;
        }
        json_array_foreach((json_t *) tags, i, item) {
                ret[i] = json_string_value(item);
                if (!ret[i] || !*ret[i]) {
                        http_answer_problem(
                                request, 400, "bad-request", "'tags' has an item that is no tag");
                        return -EINVAL;
                }
        }
        return (int) n;
}

/* NAME=VALUE, ended by NULL. Return: as read_patterns(). */
static int read_vars(HttpRequest *request, const char **ret) {
        const json_t *vars = json_object_get(http_request_body(request), "vars");
        size_t n = json_array_size(vars), i;
        json_t *item;

        ret[0] = NULL;
        if (!vars || json_is_null(vars))
                return 0;
        if (!json_is_array(vars) || n > API_VARS_MAX) {
                http_answer_problem(request, 400, "bad-request",
                        "'vars' is not a list of at most %i texts NAME=VALUE", API_VARS_MAX);
                return -EINVAL;
        }
        json_array_foreach((json_t *) vars, i, item) {
                const char *text = json_string_value(item);

                /* The value may be a secret, which is in no message. */
                if (!text || !strchr(text, '=') || text[0] == '=') {
                        http_answer_problem(request, 400, "bad-request",
                                "'vars' has an item that is not NAME=VALUE, number %zu", i + 1);
                        return -EINVAL;
                }
                ret[i] = text;
        }
        ret[n] = NULL;
        return (int) n;
}

/* The body, understood. It points into the request. */
typedef struct Wanted {
        RunRequest run;
        const char *patterns[API_PATTERNS_MAX];
        const char *tags[API_TAGS_MAX];
        const char *vars[API_VARS_MAX + 1];
        bool follow, progress;
} Wanted;

/* Return: 0; -EINVAL, and it has been answered. */
static int read_wanted(HttpRequest *request, Wanted *ret) {
        static const char *const keys[] = { "mode", "states", "only_failed", "diff", "progress", "vars",
                "tags" };
        static const RunMode run_modes[] = { RUN_APPLY, RUN_PLAN };
        const char *mode = modes[0];
        int r;

        *ret = (Wanted){ .run = { .cause = "request", .patterns = ret->patterns, .tags = ret->tags } };
        if (http_request_query_bool(request, "follow", &ret->follow) < 0 ||
                api_body_keys(request, keys, ELEMENTSOF(keys)) < 0 ||
                api_body_string(request, "mode", &mode) < 0 ||
                api_body_bool(request, "only_failed", &ret->run.only_failed) < 0 ||
                api_body_bool(request, "diff", &ret->run.diff) < 0 ||
                api_body_bool(request, "progress", &ret->progress) < 0)
                return -EINVAL;
        r = api_word(request, "mode", mode, modes, ELEMENTSOF(modes));
        if (r < 0)
                return -EINVAL;
        ret->run.mode = run_modes[r];
        r = read_patterns(request, ret->patterns);
        if (r < 0)
                return -EINVAL;
        ret->run.n_patterns = (size_t) r;
        r = read_tags(request, ret->tags);
        if (r < 0)
                return -EINVAL;
        ret->run.n_tags = (size_t) r;
        r = read_vars(request, ret->vars);
        if (r < 0)
                return -EINVAL;
        if (r > 0)
                ret->run.vars = ret->vars;
        return 0;
}

/* ---- Starting one ----------------------------------------------------------------------------------------------- */

/* What the load with variables of its own has warned of, before all results. */
static void tell_warnings(HttpStream *stream, const json_t *warnings) {
        json_t *line;

        if (json_array_size(warnings) == 0)
                return;
        line = json_pack("{s:O}", "warnings", (json_t *) warnings);
        if (line)
                http_stream_push(stream, line);
        json_decref(line);
}

/* warnings: an array, or NULL for none. */
static void start(Api *api, HttpRequest *request, Wanted *wanted, const json_t *warnings) {
        static const HttpStreamHandlers handlers = { .on_gone = on_gone };
        RunFollower follower = { .on_line = on_line, .on_end = on_end, .progress = wanted->progress };
        EngineRun *started = NULL;
        Follow *follow = NULL;
        char location[64];
        size_t bad = 0;
        json_t *json;
        int r;

        if (wanted->follow) {
                follow = malloc(sizeof(*follow));
                if (!follow) {
                        http_answer_problem(request, 500, "internal", "out of memory");
                        return;
                }
                *follow = (Follow){};
                api_client_add(api, &follow->client, follow_stop);
                follower.userdata = follow;
                wanted->run.follower = &follower;
        }
        r = engine_run_request(api->engine, &wanted->run, &started, &bad);
        if (r < 0) {
                if (follow)
                        follow_free(follow);
                refuse(api, request, &wanted->run, bad, r);
                return;
        }
        if (!follow) {
                (void) snprintf(location, sizeof(location), "/v1/runs/%" JSON_INTEGER_FORMAT,
                        (json_int_t) engine_run_id(started));
                json = api_with_progress(engine_run_to_json(started, true));
                if (json)
                        (void) json_object_set_new(json, "warnings",
                                warnings ? json_incref((json_t *) warnings) : json_array());
                http_answer_created(request, 202, location, json);
                return;
        }
        /* Nothing is told before this returns, so the stream is there when it is needed. */
        follow->stream = http_answer_stream(request, &handlers, follow);
        if (!follow->stream)
                follow_stop(&follow->client);
        else
                tell_warnings(follow->stream, warnings);
}

/* ---- What has to come first ------------------------------------------------------------------------------------- */

/* A request that waits for the roles it is about. */
typedef struct Pending {
        ApiClient client;
        HttpRequest *request;
} Pending;

static void pending_free(Pending *pending) {
        api_client_remove(&pending->client);
        free(pending);
}

static void pending_stop(ApiClient *client) {
        engine_forget(client->api->engine, client);
        pending_free((Pending *) client);
}

/* The waiting is over. Return: the request; NULL: nobody wants the run any more. */
static HttpRequest *pending_over(Pending *pending) {
        HttpRequest *request = pending->request;

        pending_free(pending);
        if (!http_request_is_gone(request))
                return request;
        http_answer_problem(request, 503, "not-ready", "the client has gone");
        return NULL;
}

/* The roles with the variables of the request; NULL: there is an error. */
static void on_image(void *userdata, Image *image, const json_t *diagnostics, const json_t *warnings) {
        Api *api = ((Pending *) userdata)->client.api;
        HttpRequest *request = pending_over(userdata);
        size_t n = json_array_size(diagnostics);
        Wanted wanted;

        if (!request)
                return;
        if (image && read_wanted(request, &wanted) >= 0) {
                wanted.run.image = image;
                start(api, request, &wanted, warnings);
        } else if (!image && n > 0)
                http_answer_problem_with(request, 422, "invalid-roles", "diagnostics",
                        json_incref((json_t *) diagnostics),
                        "with these variables the roles have %zu error%s; nothing was done", n,
                        n == 1 ? "" : "s");
        else if (!image)
                api_answer_loader_failed(api, request);
}

/* The roles in force are those on disk, or those of before if these have errors. */
static void go_on(Pending *pending, Wanted *wanted) {
        Api *api = pending->client.api;
        HttpRequest *request = pending->request;
        int r;

        if (!wanted->run.vars) {
                pending_free(pending);
                start(api, request, wanted, NULL);
                return;
        }
        r = engine_load_vars(api->engine, wanted->run.vars, on_image, pending);
        if (r >= 0)
                return;
        pending_free(pending);
        if (r == -EBUSY)
                http_answer_problem(request, 429, "too-many",
                        "too many loads with variables of their own are under way; try again");
        else
                refuse(api, request, &wanted->run, 0, r);
}

static void on_caught_up(
        void *userdata, _unused_ const json_t *outcome, _unused_ const json_t *diagnostics) {
        Pending *pending = userdata;
        Wanted wanted;

        if (http_request_is_gone(pending->request))
                (void) pending_over(pending);
        else if (read_wanted(pending->request, &wanted) < 0)
                pending_free(pending);
        else
                go_on(pending, &wanted);
}

void api_start_run(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        Pending *pending;
        Wanted wanted;
        int r;

        if (read_wanted(request, &wanted) < 0)
                return;
        /* No load changes that. */
        if (wanted.run.mode == RUN_APPLY && engine_is_disabled(api->engine)) {
                refuse(api, request, &wanted.run, 0, -EPERM);
                return;
        }
        pending = malloc(sizeof(*pending));
        if (!pending) {
                http_answer_problem(request, 500, "internal", "out of memory");
                return;
        }
        *pending = (Pending){ .request = request };
        api_client_add(api, &pending->client, pending_stop);
        r = engine_catch_up(api->engine, on_caught_up, pending);
        if (r == 0)
                go_on(pending, &wanted);
        else if (r < 0) {
                pending_free(pending);
                refuse(api, request, &wanted.run, 0, r);
        }
}
