/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "http-internal.h"
#include "log.h"

/* Of those that libmicrohttpd holds per connection while there is one: it bounds what stands before the body. */
#define CONNECTION_MEMORY KIB(32)

/* It counts a closed connection until it has cleaned up. */
#define CONNECTIONS_SLACK 64

/* After so many at a time, memory is given back when there are none. */
#define TRIM_CONNECTIONS 32

/* ---- Running libmicrohttpd ------------------------------------------------------------------------------------- */

void server_run_soon(HttpServer *server) {
        (void) sd_event_source_set_enabled(server->run, SD_EVENT_ONESHOT);
}

static void timer_set(HttpServer *server, usec_t usec) {
        if (usec == server->timer_usec)
                return;

        server->timer_usec = usec;
        if (usec == USEC_INFINITY) {
                (void) sd_event_source_set_enabled(server->timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time(server->timer, usec);
        (void) sd_event_source_set_enabled(server->timer, SD_EVENT_ONESHOT);
}

static void arm_timer(HttpServer *server) {
        MHD_UNSIGNED_LONG_LONG timeout_msec;
        usec_t usec;

        if (server->n_connections == 0 || MHD_get_timeout(server->daemon, &timeout_msec) != MHD_YES) {
                timer_set(server, USEC_INFINITY);
                return;
        }
        if (timeout_msec == 0) {
                server_run_soon(server);
                return;
        }

        /* Each request moves timeouts away. A timer that rings too early costs less than setting it each time. */
        usec = now_usec(CLOCK_MONOTONIC) + timeout_msec * USEC_PER_MSEC;
        if (usec < server->timer_usec)
                timer_set(server, usec);
}

static void server_run(HttpServer *server) {
        assert(!server->running);

        server->running = true;
        (void) MHD_run(server->daemon);
        server->running = false;

        streams_dispatch(server);
        arm_timer(server);

        /* Memory of connections is scattered over the heap, which does not shrink by itself. */
        if (server->n_connections == 0 && server->most_connections >= TRIM_CONNECTIONS) {
                server->most_connections = 0;
                (void) malloc_trim(0);
        }
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        server_run(userdata);
        return 0;
}

static int on_run(sd_event_source *source, void *userdata) {
        server_run(userdata);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        HttpServer *server = userdata;

        server->timer_usec = USEC_INFINITY; /* one shot */
        server_run(server);
        return 0;
}

/* ---- Connections ----------------------------------------------------------------------------------------------- */

void connection_suspend(Connection *connection) {
        assert(!connection->suspended);

        connection->suspended = true;
        MHD_suspend_connection(connection->mhd);
}

void connection_resume(Connection *connection) {
        if (!connection->suspended)
                return;

        connection->suspended = false;
        MHD_resume_connection(connection->mhd);
        server_run_soon(connection->server);
}

static void connection_free(Connection *connection) {
        HttpServer *server = connection->server;

        if (connection->request)
                request_orphan(connection->request);

        if (connection->previous)
                connection->previous->next = connection->next;
        else
                server->connections = connection->next;
        if (connection->next)
                connection->next->previous = connection->previous;
        if (connection->peer.uid != 0)
                server->n_others--;
        free(connection);

        if (server->n_connections-- == HTTP_CONNECTIONS_MAX)
                server_start_accepting(server);
}

static Connection *connection_of(struct MHD_Connection *mhd) {
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

/* The one of this descriptor, out of those that were handed over and not heard of since. In 0.9.75 there is just one, and it
 * is heard of at once; later versions may put them into a queue. */
static Connection *take_adding(HttpServer *server, struct MHD_Connection *mhd) {
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

        for (Connection **c = &server->adding; info && *c; c = &(*c)->next_adding)
                if ((*c)->fd == info->connect_fd) {
                        Connection *found = *c;

                        *c = found->next_adding;
                        return found;
                }
        return NULL;
}

static void on_connection(void *userdata, struct MHD_Connection *mhd, void **context,
        enum MHD_ConnectionNotificationCode code) {
        HttpServer *server = userdata;
        Connection *connection;

        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                connection = take_adding(server, mhd);
                if (!connection)
                        return;
                connection->mhd = mhd;
                *context = connection;
                return;
        }

        connection = TAKE_PTR(*context);
        if (!connection)
                return;
        /* Not left to close(): a forked child may still have the socket, and the epoll would go on to tell of it. */
        (void) epoll_ctl(server->gone_fd, EPOLL_CTL_DEL, connection->fd, NULL);
        connection_free(connection);
}

void server_add_connection(HttpServer *server, int fd, const HttpPeer *peer) {
        static const struct sockaddr_un address = { .sun_family = AF_UNIX };
        Connection *connection;
        struct epoll_event event;

        connection = malloc(sizeof(*connection));
        if (!connection) {
                safe_close(fd);
                return;
        }
        *connection = (Connection){ .server = server, .fd = fd, .peer = *peer, .next = server->connections };
        if (connection->next)
                connection->next->previous = connection;
        server->connections = connection;
        server->n_connections++;
        server->most_connections = MAX(server->most_connections, server->n_connections);
        if (peer->uid != 0)
                server->n_others++;

        /* Nothing but EPOLLHUP, which is always told: both directions are shut. A client that has shut its own only
         * (EPOLLRDHUP) waits for the answer. */
        event = (struct epoll_event){ .events = EPOLLET, .data.ptr = connection };
        if (epoll_ctl(server->gone_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
                safe_close(fd);
                connection_free(connection);
                return;
        }

        /* It closes the descriptor if it fails, and then has told of the connection's end if it had told of its start. */
        connection->next_adding = server->adding;
        server->adding = connection;
        if (MHD_add_connection(server->daemon, fd, (const struct sockaddr *) &address, sizeof(address)) !=
                        MHD_YES &&
                server->adding == connection) {
                log_debug("Failed to add an HTTP connection, closing it");
                server->adding = connection->next_adding;
                connection_free(connection);
        }
        arm_timer(server);
}

/* ---- Clients that go ------------------------------------------------------------------------------------------- */

/* libmicrohttpd does not look at connections that are suspended. It is told to go on, and finds the end by itself. */
static int on_gone(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct epoll_event events[64];
        int n;

        n = epoll_wait(fd, events, ELEMENTSOF(events), 0);
        for (int i = 0; i < n; i++) {
                Connection *connection = events[i].data.ptr;

                connection->gone = true;
                connection_resume(connection);
        }
        return 0;
}

/* ---- Requests, as libmicrohttpd tells of them ------------------------------------------------------------------ */

static void *on_uri(void *userdata, const char *uri, struct MHD_Connection *mhd) {
        Connection *connection = connection_of(mhd);

        if (connection->request)
                request_orphan(connection->request);
        if (request_new(connection, uri, &connection->request) < 0)
                return NULL;
        return connection->request;
}

/* What comes of the body is thrown away, by somebody else: libmicrohttpd would read it all. */
static void refuse_body(HttpServer *server, Connection *connection) {
        int fd;

        fd = fcntl(connection->fd, F_DUPFD_CLOEXEC, 3);
        if (fd >= 0)
                server_refuse(server, fd, 413, "too-large", "the body must not be larger than 64 KiB");
        server->n_requests++;
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *mhd, const char *url,
        const char *method, const char *version, const char *upload, size_t *upload_size, void **context) {
        HttpServer *server = userdata;
        HttpRequest *request = *context;
        Connection *connection;
        int r;

        if (!request || server->ending)
                return MHD_NO;
        connection = request->connection;

        switch (request->state) {
        case REQUEST_NEW: {
                const char *length =
                        MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

                if (length && strtoull(length, NULL, 10) > HTTP_BODY_MAX) {
                        refuse_body(server, connection);
                        return MHD_NO;
                }
                request->state = REQUEST_BODY;
                return MHD_YES;
        }

        case REQUEST_BODY:
                if (*upload_size > 0) {
                        r = request_add_body(request, upload, *upload_size);
                        if (r < 0) {
                                if (r == -E2BIG)
                                        refuse_body(server, connection);
                                return MHD_NO;
                        }
                        *upload_size = 0;
                        return MHD_YES;
                }
                request_handle(request, method);
                break;

        case REQUEST_HANDLED:
        case REQUEST_ANSWERED: break;
        }

        if (request->state == REQUEST_ANSWERED) {
                struct MHD_Response *response = TAKE_PTR(request->response);
                enum MHD_Result result;

                if (!response)
                        return MHD_NO;
                server->n_requests++;
                result = MHD_queue_response(mhd, request->status, response);
                MHD_destroy_response(response);
                return result;
        }

        if (connection->gone)
                return MHD_NO;
        connection_suspend(connection);
        return MHD_YES;
}

static void on_completed(
        void *userdata, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code) {
        Connection *connection = connection_of(mhd);

        *context = NULL;
        if (connection)
                connection->served = true;
        if (connection && connection->request)
                request_orphan(connection->request);
}

/* The whole target reaches us by on_uri(), and is decoded by ourselves. */
static size_t on_unescape(void *userdata, struct MHD_Connection *mhd, char *text) {
        return strlen(text);
}

_printf_(2, 0) static void on_log(void *userdata, const char *format, va_list ap) {
        char message[256];

        (void) vsnprintf(message, sizeof(message), format, ap);
        message[strcspn(message, "\n")] = '\0';
        log_debug("HTTP: %s", message);
}

/* ---- The server ------------------------------------------------------------------------------------------------ */

int http_server_new(sd_event *event, const HttpServerOptions *options, HttpServer **ret) {
        _cleanup_(http_server_freep) HttpServer *s = NULL;
        const union MHD_DaemonInfo *info;
        int r;

        assert(event);
        assert(options);
        assert(ret);

        s = malloc(sizeof(*s));
        if (!s)
                return -ENOMEM;
        *s = (HttpServer){
                .event = sd_event_ref(event),
                .options = *options,
                .timer_usec = USEC_INFINITY,
                .gone_fd = -EBADF,
        };

        s->daemon = MHD_start_daemon(
                MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
                NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                MHD_OPTION_CONNECTION_LIMIT, (unsigned) (HTTP_CONNECTIONS_MAX + CONNECTIONS_SLACK),
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
                options->idle_sec ?: HTTP_IDLE_SEC, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s,
                MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, s, MHD_OPTION_END);
        if (!s->daemon)
                return -ENOMEM;
        info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info)
                return -EOPNOTSUPP;

        s->gone_fd = epoll_create1(EPOLL_CLOEXEC);
        if (s->gone_fd < 0)
                return -errno;

        r = sd_event_add_io(event, &s->io, info->epoll_fd, EPOLLIN, on_io, s);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &s->gone, s->gone_fd, EPOLLIN, on_gone, s);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &s->run, on_run, s);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(s->run, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = sd_event_add_time(event, &s->timer, CLOCK_MONOTONIC, 0, USEC_PER_SEC, on_timer, s);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

HttpServer *http_server_free(HttpServer *server) {
        if (!server)
                return NULL;

        assert(!server->running);
        server_free_listeners(server);

        if (server->daemon) {
                /* It aborts the program if it is stopped with suspended connections. These are told to go on, find that
                 * all is ending, and end. */
                server->ending = true;
                for (Connection *c = server->connections; c; c = c->next)
                        connection_resume(c);
                (void) MHD_run(server->daemon);
                MHD_stop_daemon(server->daemon);
        }
        /* Those that it had not told of. */
        while (server->connections)
                connection_free(server->connections);

        while (server->requests)
                request_free(server->requests);
        streams_free(server);

        sd_event_source_disable_unref(server->io);
        sd_event_source_disable_unref(server->gone);
        sd_event_source_disable_unref(server->run);
        sd_event_source_disable_unref(server->timer);
        safe_close(server->gone_fd);
        sd_event_unref(server->event);
        free(server);
        return NULL;
}

bool http_server_is_sending(const HttpServer *server) {
        for (const Connection *connection = server->connections; connection; connection = connection->next) {
                const HttpStream *stream;

                if (connection->gone)
                        continue;
                if (!connection->served &&
                        (!connection->request || connection->request->state < REQUEST_HANDLED))
                        return true;
                if (!connection->request || connection->request->state != REQUEST_ANSWERED)
                        continue;
                stream = stream_of(connection);
                if (!stream || stream_is_sending(stream))
                        return true;
        }
        return false;
}

unsigned http_server_connections(const HttpServer *server) {
        return server->n_connections;
}

uint64_t http_server_requests(const HttpServer *server) {
        return server->n_requests;
}
