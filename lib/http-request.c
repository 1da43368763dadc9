/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>

#include "diagnostic.h"
#include "http-internal.h"

/* ---- Coming and going ------------------------------------------------------------------------------------------ */

int request_new(Connection *connection, const char *target, HttpRequest **ret) {
        _cleanup_(request_freep) HttpRequest *r = NULL;

        r = malloc(sizeof(*r));
        if (!r)
                return -ENOMEM;
        /* Not all of it: there are many parameters. */
        memset(r, 0, offsetof(HttpRequest, parameters));
        memset(&r->n_parameters, 0, sizeof(*r) - offsetof(HttpRequest, n_parameters));
        r->server = connection->server;
        r->connection = connection;
        r->peer = connection->peer;

        r->target = strdup(target);
        if (!r->target)
                return -ENOMEM;

        *ret = TAKE_PTR(r);
        return 0;
}

static void request_unlink(HttpRequest *request) {
        HttpServer *server = request->server;

        if (request->previous)
                request->previous->next = request->next;
        else if (server->requests == request)
                server->requests = request->next;
        if (request->next)
                request->next->previous = request->previous;
        request->previous = request->next = NULL;
}

HttpRequest *request_free(HttpRequest *request) {
        if (!request)
                return NULL;

        if (request->connection)
                request->connection->request = NULL;
        request_unlink(request);
        if (request->response)
                MHD_destroy_response(request->response);
        json_decref(request->json);
        free(request->body);
        free(request->part);
        free(request->target);
        free(request);
        return NULL;
}

void request_orphan(HttpRequest *request) {
        request->connection->request = NULL;
        request->connection = NULL;
        /* The handler still has it. */
        if (request->state != REQUEST_HANDLED)
                request_free(request);
}

void request_answer(HttpRequest *request, unsigned status, struct MHD_Response *response) {
        assert(request->state != REQUEST_ANSWERED);

        request_unlink(request);
        request->state = REQUEST_ANSWERED;
        request->status = status;
        request->response = response;
        if (!request->connection)
                request_free(request);
        else if (!request->calling)
                connection_resume(request->connection);
}

/* ---- Body ------------------------------------------------------------------------------------------------------ */

int request_add_body(HttpRequest *request, const char *data, size_t size) {
        if (size > HTTP_BODY_MAX - request->body_size)
                return -E2BIG;
        if (size > request->body_allocated - request->body_size) {
                size_t wanted = MAX(2 * request->body_allocated, request->body_size + size);
                char *body;

                wanted = MIN(wanted, HTTP_BODY_MAX);
                body = realloc(request->body, wanted);

                if (!body)
                        return -ENOMEM;
                request->body = body;
                request->body_allocated = wanted;
        }
        memcpy(request->body + request->body_size, data, size);
        request->body_size += size;
        return 0;
}

/* Return: true if the request can go on; else it was answered. */
static bool parse_body(HttpRequest *request) {
        json_error_t error;

        if (request->body_size == 0)
                return true;

        request->json = json_loadb(
                request->body, request->body_size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
        if (!request->json) {
                http_answer_problem(request, 400, "bad-request",
                        "the body must be a JSON object; line %i, column %i: %s", error.line, error.column,
                        error.text);
                return false;
        }
        if (!json_is_object(request->json)) {
                http_answer_problem(request, 400, "bad-request", "the body must be a JSON object");
                return false;
        }
        free(request->body);
        request->body = NULL;
        return true;
}

/* ---- Routing --------------------------------------------------------------------------------------------------- */

static void answer_not_found(HttpRequest *request, const char *path) {
        HttpServer *server = request->server;
        _cleanup_free_ const char **candidates = NULL;
        const char *better = NULL;

        candidates = calloc(server->options.n_routes, sizeof(*candidates));
        if (candidates) {
                for (size_t i = 0; i < server->options.n_routes; i++)
                        candidates[i] = server->options.routes[i].path;
                /* A distance is quadratic: nothing long has a chance anyway. */
                if (strlen(path) < 256)
                        better = suggest(path, candidates, server->options.n_routes);
        }
        http_answer_problem(request, 404, "not-found", "there is no '%.256s'%s%s%s", path,
                better ? "; did you mean '" : "", better ?: "", better ? "'?" : "");
}

/* Return: true if it found one and the request may; else the request was answered. */
static bool find_route(HttpRequest *request, const char *method, const char *path) {
        const HttpServerOptions *options = &request->server->options;
        const char *wanted = streq(method, "HEAD") ? "GET" : method, *part = NULL;
        size_t part_size = 0;
        unsigned best = 0;
        char allow[128] = "";
        int r;

        for (size_t i = 0; i < options->n_routes; i++) {
                const HttpRoute *route = &options->routes[i];
                const char *p;
                size_t p_size, n;
                unsigned literal = http_path_match(route->path, path, &p, &p_size);

                if (literal == 0 || literal < best)
                        continue;
                if (literal > best) {
                        best = literal;
                        request->route = NULL;
                        allow[0] = '\0';
                }
                n = strlen(allow);
                (void) snprintf(allow + n, sizeof(allow) - n, "%s%s%s", n > 0 ? ", " : "", route->method,
                        streq(route->method, "GET") ? ", HEAD" : "");
                if (streq(route->method, wanted)) {
                        request->route = route;
                        part = p;
                        part_size = p_size;
                }
        }

        if (best == 0) {
                answer_not_found(request, path);
                return false;
        }
        if (!request->route) {
                answer_not_allowed(request, allow);
                return false;
        }
        request->get = streq(wanted, "GET");
        request->head = streq(method, "HEAD");
        if (request->route->write && request->peer.right != HTTP_WRITE) {
                http_answer_problem(request, 403, "forbidden",
                        "only root and members of the group '%s' may do that, others of '%s' may look",
                        request->server->options.writers ?: "?", request->server->options.readers ?: "?");
                return false;
        }

        if (part) {
                request->part = strndup(part, part_size);
                if (!request->part) {
                        http_answer_problem(request, 500, "internal", "out of memory");
                        return false;
                }
                r = http_decode(request->part, false);
                if (r < 0) {
                        http_answer_problem(request, 400, "bad-request",
                                r == -EINVAL ? "the path has a '%%' without two hexadecimal digits"
                                             : "the path must be UTF-8 without control characters");
                        return false;
                }
        }
        return true;
}

static bool parse_query(HttpRequest *request, char *query) {
        static const char *const none[] = { NULL };
        const char *const *known = request->route->parameters ?: none;
        size_t n_known = 0;
        int r;

        r = http_query_parse(query, request->parameters, &request->n_parameters);
        if (r < 0) {
                http_answer_problem(request, 400, "bad-request",
                        r == -EINVAL  ? "the query has a '%%' without two hexadecimal digits"
                        : r == -E2BIG ? "the query has more than 32 parameters"
                                      : "the query must be UTF-8 without control characters");
                return false;
        }

        while (known[n_known])
                n_known++;
        for (size_t i = 0; i < request->n_parameters; i++) {
                const char *name = request->parameters[i].name, *better = NULL;
                bool found = false;

                for (size_t k = 0; k < n_known && !found; k++)
                        found = streq(name, known[k]);
                if (found)
                        continue;
                if (strlen(name) < 256)
                        better = suggest(name, known, n_known);
                http_answer_problem(request, 400, "bad-request", "unknown parameter '%.256s'%s%s%s", name,
                        better ? "; did you mean '" : "", better ?: "", better ? "'?" : "");
                return false;
        }
        return true;
}

void request_handle(HttpRequest *request, const char *method) {
        HttpServer *server = request->server;
        char *path, *query;

        request->state = REQUEST_HANDLED;
        request->next = server->requests;
        if (request->next)
                request->next->previous = request;
        server->requests = request;

        request->calling = true;
        if (http_target_split(request->target, &path, &query) < 0)
                http_answer_problem(request, 400, "bad-request", "what is asked for must be a path");
        else if (find_route(request, method, path) && parse_query(request, query) && parse_body(request))
                request->route->handle(server->options.userdata, request);
        request->calling = false;
}

/* ---- What handlers see ----------------------------------------------------------------------------------------- */

bool http_request_is_gone(const HttpRequest *request) {
        return !request->connection || request->connection->gone;
}

const HttpPeer *http_request_peer(const HttpRequest *request) {
        return &request->peer;
}

const char *http_request_part(const HttpRequest *request) {
        return request->part ?: "";
}

const char *http_request_query(const HttpRequest *request, const char *name) {
        for (size_t i = request->n_parameters; i > 0; i--)
                if (streq(request->parameters[i - 1].name, name))
                        return request->parameters[i - 1].value;
        return NULL;
}

int http_request_query_bool(HttpRequest *request, const char *name, bool *ret) {
        const char *value = http_request_query(request, name);

        if (!value)
                return 0;
        if (streq(value, "true") || streq(value, "1") || streq(value, ""))
                *ret = true;
        else if (streq(value, "false") || streq(value, "0"))
                *ret = false;
        else {
                http_answer_problem(request, 400, "bad-request",
                        "the parameter '%s' must be true or false, not '%.256s'", name, value);
                return -EINVAL;
        }
        return 1;
}

int http_request_query_u64(
        HttpRequest *request, const char *name, uint64_t min, uint64_t max, uint64_t *ret) {
        const char *value = http_request_query(request, name);
        unsigned long long number = 0;
        bool valid;
        char *end;

        if (!value)
                return 0;
        /* strtoull() would take spaces and signs. */
        valid = *value >= '0' && *value <= '9';
        if (valid) {
                errno = 0;
                number = strtoull(value, &end, 10);
                valid = errno == 0 && !*end && number >= min && number <= max;
        }
        if (!valid) {
                http_answer_problem(request, 400, "bad-request",
                        "the parameter '%s' must be a number from %" PRIu64 " to %" PRIu64 ", not '%.256s'",
                        name, min, max, value);
                return -EINVAL;
        }
        *ret = number;
        return 1;
}

const json_t *http_request_body(const HttpRequest *request) {
        return request->json;
}
