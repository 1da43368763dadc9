/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "agentctl.h"
#include "client.h"
#include "json.h"
#include "log.h"

/* How often the loop looks up, when a line of progress may have to be drawn. */
#define TICK_MSEC 100

typedef struct Transfer {
        Client *client;
        char *data; /* what has come, and is not handed over yet */
        size_t size, n_allocated;
        bool stream; /* asked for, and it has begun */
        const StreamHandlers *handlers;
        void *userdata;
        usec_t heard_usec;
        unsigned n_objects;
        int result; /* of a handler */
        bool too_large;
        char error[CURL_ERROR_SIZE];
} Transfer;

static int fail(Client *client, const char *format, ...) _printf_(2, 3);

static int fail(Client *client, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        if (client->progress)
                progress_hide(client->progress);
        if (client->silent)
                return EXIT_UNREACHABLE;
        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        log_error("%s", text ?: "Out of memory");
        return EXIT_UNREACHABLE;
}

int client_nonsense(Client *client, const char *what) {
        return fail(client, "What answers at '%s' is no agentd that this agentctl understands: %s",
                client->socket, what);
}

/* ---- What comes ------------------------------------------------------------------------------------------------ */

static long status_of(const Client *client) {
        long status = 0;

        (void) curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
        return status;
}

static int handle_line(Transfer *t, const char *line, size_t size) {
        json_t *object;
        int r;

        if (size == 0)
                return 0;
        object = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
        if (!json_is_object(object)) {
                json_decref(object);
                return client_nonsense(t->client, "a line of the stream is no JSON object");
        }
        if (startswith(get_text(object, "type") ?: "", "urn:agentd:") && json_object_get(object, "status"))
                r = client_tell_problem(t->client, (unsigned) get_integer(object, "status"), object);
        else
                r = t->handlers->on_object(t->userdata, object);
        json_decref(object);
        t->n_objects++;
        return r;
}

/* Hands complete lines over. The part from `searched` on is new. */
static int handle_lines(Transfer *t, size_t searched) {
        size_t begin = 0;
        char *newline;

        while ((newline = memchr(t->data + MAX(begin, searched), '\n', t->size - MAX(begin, searched)))) {
                size_t end = (size_t) (newline - t->data);
                int r = handle_line(t, t->data + begin, end - begin);

                if (r != 0)
                        return r;
                begin = end + 1;
        }
        t->size -= begin;
        memmove(t->data, t->data + begin, t->size);
        /* What came together is seen together, and at once. */
        (void) fflush(stdout);
        return 0;
}

/* The answer has begun, even if nothing follows for hours. */
static size_t on_header(char *data, size_t one, size_t size, void *userdata) {
        Transfer *t = userdata;

        t->heard_usec = now_usec(CLOCK_MONOTONIC);
        if (t->handlers && size > 0 && data[0] == '\r' && status_of(t->client) == 200)
                t->stream = t->client->was_stream = true;
        return size * one;
}

static size_t on_data(char *data, size_t one, size_t size, void *userdata) {
        Transfer *t = userdata;
        size_t searched = t->size;

        t->heard_usec = now_usec(CLOCK_MONOTONIC);
        if (t->size + size > CLIENT_BYTES_MAX) {
                t->too_large = true;
                return CURL_WRITEFUNC_ERROR;
        }
        if (t->size + size > t->n_allocated) {
                size_t n = MAX((t->size + size) * 2, KIB(4));
                char *more = realloc(t->data, n);

                if (!more)
                        return CURL_WRITEFUNC_ERROR;
                t->data = more;
                t->n_allocated = n;
        }
        memcpy(t->data + t->size, data, size);
        t->size += size;
        if (t->stream) {
                t->result = handle_lines(t, searched);
                if (t->result != 0)
                        return CURL_WRITEFUNC_ERROR;
        }
        return size * one;
}

/* ---- The request ----------------------------------------------------------------------------------------------- */

static int client_open(Client *client) {
        if (client->curl)
                return 0;
        if (strlen(client->socket) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
                return fail(client, "The path of the socket '%s' is too long", client->socket);
        /* Nothing but the socket is used. Calls are counted. */
        if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
                return fail(client, "Failed to set up libcurl");
        client->multi = curl_multi_init();
        client->curl = curl_easy_init();
        if (!client->multi || !client->curl)
                return fail(client, "Failed to set up libcurl");
        return 0;
}

void client_done(Client *client) {
        if (client->curl)
                curl_easy_cleanup(client->curl);
        if (client->multi)
                (void) curl_multi_cleanup(client->multi);
        if (client->curl || client->multi)
                curl_global_cleanup();
        client->curl = NULL;
        client->multi = NULL;
}

/* Why there is no answer. */
static int tell_failure(Transfer *t, CURLcode code) {
        Client *client = t->client;
        long error = 0;

        if (t->result != 0)
                return t->result;
        if (t->too_large)
                return client_nonsense(client, "it sends too much");
        client->lost = true;
        switch (code) {
        case CURLE_COULDNT_CONNECT:
                (void) curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &error);
                switch (error) {
                case ENOENT:
                        return fail(client,
                                "agentd cannot be reached: there is no socket '%s'. 'systemctl start "
                                "agentd' starts it",
                                client->socket);
                case ECONNREFUSED:
                        return fail(client,
                                "agentd cannot be reached: nobody listens on the socket '%s'. 'systemctl "
                                "start agentd' starts it",
                                client->socket);
                case EACCES:
                case EPERM:
                        client->lost = false;
                        return fail(client, "You may not use the socket '%s': %s", client->socket,
                                strerror((int) error));
                default:
                        return fail(client, "agentd cannot be reached at the socket '%s': %s",
                                client->socket, error != 0 ? strerror((int) error) : t->error);
                }
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_BAD_CONTENT_ENCODING:
                client->lost = false;
                return client_nonsense(client, "it does not speak HTTP");
        case CURLE_OPERATION_TIMEDOUT:
                client->lost = false;
                return fail(client, "agentd does not answer at '%s', for %s now", client->socket,
                        FORMAT_TIMESPAN(client->timeout_usec));
        case CURLE_OUT_OF_MEMORY: client->lost = false; return fail(client, "Out of memory");
        default:
                if (t->stream)
                        return CLIENT_BROKEN;
                return fail(client, "agentd broke off before it had answered (%s)",
                        t->error[0] ? t->error : curl_easy_strerror(code));
        }
}

/* Goes on until the transfer is over. */
static CURLcode run_transfer(Transfer *t) {
        Client *client = t->client;
        struct curl_waitfd extra = {
                .fd = t->handlers ? t->handlers->signal_fd : -EBADF,
                .events = CURL_WAIT_POLLIN,
        };
        bool watch = extra.fd >= 0, ticks = client->progress && client->progress->wanted;

        t->heard_usec = now_usec(CLOCK_MONOTONIC);
        for (;;) {
                int running, n_left, wait = ticks ? TICK_MSEC : 1000;
                CURLMsg *message;

                if (curl_multi_perform(client->multi, &running) != CURLM_OK)
                        return CURLE_OUT_OF_MEMORY;
                message = curl_multi_info_read(client->multi, &n_left);
                if (message)
                        return message->data.result;
                if (running == 0)
                        return CURLE_RECV_ERROR;

                if (client->progress)
                        progress_tick(client->progress);
                if (!t->stream) {
                        usec_t silent = now_usec(CLOCK_MONOTONIC) - t->heard_usec;

                        if (silent >= client->timeout_usec)
                                return CURLE_OPERATION_TIMEDOUT;
                        wait = (int) MIN((usec_t) wait, (client->timeout_usec - silent) / USEC_PER_MSEC + 1);
                }
                extra.revents = 0;
                if (curl_multi_poll(client->multi, &extra, watch ? 1 : 0, wait, NULL) != CURLM_OK)
                        return CURLE_OUT_OF_MEMORY;
                if (watch && extra.revents != 0) {
                        t->result = t->handlers->on_signal(t->userdata);
                        if (t->result != 0)
                                return CURLE_ABORTED_BY_CALLBACK;
                }
        }
}

static CURLcode perform(Transfer *t, const char *method, const char *path, const char *body) {
        static const char *const protocols = "http";
        Client *client = t->client;
        CURL *curl = client->curl;
        _cleanup_free_ char *url = NULL;
        struct curl_slist *headers = NULL;
        CURLcode code;

        if (asprintf(&url, "http://localhost%s", path) < 0)
                return CURLE_OUT_OF_MEMORY;
        /* No Expect: it would cost a second of waiting where it is not answered. */
        headers = curl_slist_append(NULL, "Content-Type: application/json");
        if (!headers || !curl_slist_append(headers, "Expect:"))
                return CURLE_OUT_OF_MEMORY;

        curl_easy_reset(curl);
        (void) curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
        (void) curl_easy_setopt(curl, CURLOPT_URL, url);
        (void) curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
        (void) curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
        (void) curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
        (void) curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void) curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        (void) curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
        (void) curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
        (void) curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
        (void) curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
        (void) curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->error);
        if (body) {
                (void) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
                (void) curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        }
        if (!streq(method, "GET"))
                (void) curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);

        if (curl_multi_add_handle(client->multi, curl) == CURLM_OK) {
                code = run_transfer(t);
                (void) curl_multi_remove_handle(client->multi, curl);
        } else
                code = CURLE_OUT_OF_MEMORY;
        curl_slist_free_all(headers);
        return code;
}

/* ---- Answers --------------------------------------------------------------------------------------------------- */

/* Return: 0 there is an answer, in the transfer; or the exit status. */
static int transfer(Transfer *t, const char *method, const char *path, const json_t *body) {
        _cleanup_free_ char *text = NULL;
        CURLcode code;
        int r;

        t->client->lost = t->client->was_stream = false;
        t->client->problem = 0;
        r = client_open(t->client);
        if (r != 0)
                return r;
        if (body || streq(method, "POST") || streq(method, "PUT")) {
                text = body ? json_dumps(body, JSON_COMPACT) : strdup("");
                if (!text)
                        return fail(t->client, "Out of memory");
        }
        code = perform(t, method, path, text);
        if (t->client->progress)
                progress_hide(t->client->progress);
        return code == CURLE_OK ? 0 : tell_failure(t, code);
}

int client_request(Client *client, const char *method, const char *path, const json_t *body,
        unsigned *ret_status, json_t **ret) {
        Transfer t = { .client = client };
        json_t *json = NULL;
        int r;

        r = transfer(&t, method, path, body);
        if (r == 0) {
                long status = status_of(client);

                if (t.size > 0)
                        json = json_loadb(t.data, t.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
                if (t.size > 0 && !json && status < 400)
                        r = client_nonsense(client, "what it sends is not JSON");
                else {
                        *ret_status = (unsigned) status;
                        *ret = json;
                }
        }
        free(t.data);
        return r;
}

int client_tell_problem(Client *client, unsigned status, const json_t *problem) {
        /* Source: docs/api.md, "Errors". */
        static const struct {
                unsigned status;
                int exit_status;
        } kinds[] = {
                { 400, EXIT_INVALID },
                { 403, EXIT_UNREACHABLE },
                { 404, EXIT_INVALID },
                { 405, EXIT_UNREACHABLE },
                { 409, EXIT_STATE_FAILED },
                { 413, EXIT_INVALID },
                { 422, EXIT_INVALID },
                { 429, EXIT_STATE_FAILED },
                { 500, EXIT_STATE_FAILED },
                { 503, EXIT_UNREACHABLE },
        };
        const char *detail = get_text(problem, "detail") ?: get_text(problem, "title");
        const json_t *diagnostics = json_object_get(problem, "diagnostics");

        client->lost = status == 503;
        client->problem = status;
        if (json_array_size(diagnostics) > 0 && !client->silent)
                print_diagnostics(stderr, diagnostics);
        else if (detail)
                (void) fail(client, "%s", detail);
        else
                (void) fail(client, "agentd refuses, with HTTP status %u and no reason", status);
        FOREACH_ELEMENT(kind, kinds)
                if (kind->status == status)
                        return kind->exit_status;
        return EXIT_UNREACHABLE;
}

int client_call(Client *client, const char *method, const char *path, const json_t *body, json_t **ret) {
        json_t *json = NULL;
        unsigned status;
        int r;

        r = client_request(client, method, path, body, &status, &json);
        if (r != 0)
                return r;
        if (status < 200 || status >= 300)
                r = client_tell_problem(client, status, json);
        if (r == 0 && ret)
                *ret = json;
        else
                json_decref(json);
        return r;
}

int client_get(Client *client, const char *path, json_t **ret) {
        json_t *json = NULL;
        int r;

        r = client_call(client, "GET", path, NULL, &json);
        if (r != 0)
                return r;
        if (!json_is_object(json)) {
                json_decref(json);
                return client_nonsense(client, "what it sends is no JSON object");
        }
        *ret = json;
        return 0;
}

int client_pages(Client *client, const char *path, const char *after,
        int (*on_item)(void *userdata, json_t *item), void *userdata) {
        _cleanup_free_ char *cursor = after ? strdup(after) : NULL;
        unsigned n_empty = 0;

        for (;;) {
                _cleanup_free_ char *url = strdup(path);
                json_t *page = NULL, *items, *item;
                const json_t *next;
                const char *text;
                size_t i;
                int r;

                if (!url || query_add(&url, "limit", "1000") < 0 || query_add(&url, "after", cursor) < 0)
                        return fail(client, "Out of memory");
                r = client_get(client, url, &page);
                if (r != 0)
                        return r;
                items = json_object_get(page, "items");
                next = json_object_get(page, "next");
                text = json_string_value(next);
                if (!json_is_array(items) || !(json_is_null(next) || text))
                        r = client_nonsense(client, "what it sends is no page of a list");
                json_array_foreach(items, i, item) {
                        if (r == 0 && !json_is_object(item))
                                r = client_nonsense(client, "an item of its list is no object");
                        if (r == 0)
                                r = on_item(userdata, item);
                }
                /* A list that begins anew would never end. A page without anything is one that took long to look for it. */
                n_empty = json_array_size(items) == 0 ? n_empty + 1 : 0;
                if (r == 0 && text && (n_empty > CLIENT_EMPTY_PAGES_MAX || streq_ptr(text, cursor)))
                        r = client_nonsense(client, "its list has no end");
                free(cursor);
                cursor = r == 0 && text ? strdup(text) : NULL;
                if (r == 0 && text && !cursor)
                        r = fail(client, "Out of memory");
                json_decref(page);
                if (r != 0 || !cursor)
                        return r;
        }
}

int client_stream(Client *client, const char *method, const char *path, const json_t *body,
        const StreamHandlers *handlers, void *userdata) {
        Transfer t = { .client = client, .handlers = handlers, .userdata = userdata };
        int r;

        r = transfer(&t, method, path, body);
        if (r == 0) {
                long status = status_of(client);

                if (status != 200) {
                        json_t *problem = json_loadb(t.data ?: "", t.size, JSON_ALLOW_NUL, NULL);

                        r = client_tell_problem(client, (unsigned) status, problem);
                        json_decref(problem);
                } else {
                        client->lost = true;
                        if (!t.stream)
                                r = fail(client, "agentd broke off before it had answered");
                        else if (t.size > 0)
                                r = CLIENT_BROKEN;
                }
        }
        free(t.data);
        return r;
}
