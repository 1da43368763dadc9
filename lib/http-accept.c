/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "http-internal.h"
#include "log.h"

/* Connections taken before others in the event loop get their turn. */
#define ACCEPT_BURST 32

/* After accept() failed for want of descriptors or memory. */
#define RETRY_USEC (500 * USEC_PER_MSEC)

struct Listener {
        HttpServer *server; /* not a reference */
        Listener *next;
        sd_event_source *source;
};

/* Somebody who gets a fixed answer. */
struct Refusal {
        HttpServer *server;
        Refusal *previous, *next;
        int fd;
        size_t discarded;
        sd_event_source *io, *timer;
};

/* ---- Rights ---------------------------------------------------------------------------------------------------- */

static bool is_member(gid_t wanted, gid_t gid, const gid_t *groups, size_t n) {
        if (wanted == (gid_t) -1)
                return false;
        if (gid == wanted)
                return true;
        for (size_t i = 0; i < n; i++)
                if (groups[i] == wanted)
                        return true;
        return false;
}

HttpRight http_right_of(
        const HttpServerOptions *options, uid_t uid, gid_t gid, const gid_t *groups, size_t n) {
        if (uid == 0 || is_member(options->writer_gid, gid, groups, n))
                return HTTP_WRITE;
        if (is_member(options->reader_gid, gid, groups, n))
                return HTTP_READ;
        return HTTP_NOTHING;
}

/* SO_PEERGROUPS has no primary group. Return: 0; -errno: nothing is known of the peer. */
static int peer_find(const HttpServerOptions *options, int fd, HttpPeer *ret) {
        _cleanup_free_ gid_t *more = NULL;
        gid_t few[64], *groups = few;
        struct ucred ucred;
        socklen_t size = sizeof(ucred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &size) < 0)
                return -errno;
        if (ucred.uid == (uid_t) -1 || ucred.gid == (gid_t) -1)
                return -ENODATA;

        size = sizeof(few);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &size) < 0) {
                if (errno != ERANGE)
                        return -errno;
                /* The size that it needs has been put in place. */
                groups = more = malloc(size);
                if (!more)
                        return -ENOMEM;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, more, &size) < 0)
                        return -errno;
        }

        *ret = (HttpPeer){
                .uid = ucred.uid,
                .pid = ucred.pid,
                .right = http_right_of(options, ucred.uid, ucred.gid, groups, size / sizeof(gid_t)),
        };
        return 0;
}

/* ---- Those who are refused ------------------------------------------------------------------------------------- */

static Refusal *refusal_free(Refusal *refusal) {
        HttpServer *server;

        if (!refusal)
                return NULL;

        server = refusal->server;
        if (refusal->previous)
                refusal->previous->next = refusal->next;
        else
                server->refusals = refusal->next;
        if (refusal->next)
                refusal->next->previous = refusal->previous;
        server->n_refusals--;

        sd_event_source_disable_unref(refusal->io);
        sd_event_source_disable_unref(refusal->timer);
        safe_close(refusal->fd);
        free(refusal);
        return NULL;
}
DEFINE_CLEANUP(Refusal *, refusal_free)

/* What the client still sends is read: it would be told that the connection was reset, before it has the answer. */
static int on_refused_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Refusal *refusal = userdata;
        char buffer[4096];
        ssize_t n;

        n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n > 0)
                refusal->discarded += (size_t) n;
        if (n <= 0 || refusal->discarded >= HTTP_DISCARD_BYTES)
                refusal_free(refusal);
        return 0;
}

static int on_refused_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        refusal_free(userdata);
        return 0;
}

void server_refuse(HttpServer *server, int fd, unsigned status, const char *type, const char *detail) {
        _cleanup_(refusal_freep) Refusal *refusal = NULL;
        _cleanup_free_ char *body = NULL, *text = NULL;
        int n;

        if (server->n_refusals >= HTTP_DISCARD_MAX) {
                safe_close(fd);
                return;
        }
        refusal = malloc(sizeof(*refusal));
        if (!refusal) {
                safe_close(fd);
                return;
        }
        *refusal = (Refusal){ .server = server, .fd = fd, .next = server->refusals };
        if (refusal->next)
                refusal->next->previous = refusal;
        server->refusals = refusal;
        server->n_refusals++;

        body = problem_format(status, type, detail, NULL, NULL);
        if (!body)
                return;
        n = asprintf(&text,
                "HTTP/1.1 %u %s\r\n"
                "Content-Type: application/problem+json\r\n"
                "Content-Length: %zu\r\n"
                "Cache-Control: no-store\r\n"
                "Connection: close\r\n"
                "\r\n"
                "%s",
                status, MHD_get_reason_phrase_for(status), strlen(body), body);
        if (n < 0) {
                text = NULL;
                return;
        }
        /* It fits into any socket that was not written to before. */
        if (send(fd, text, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL) != n || shutdown(fd, SHUT_WR) < 0)
                return;

        if (sd_event_add_io(server->event, &refusal->io, fd, EPOLLIN, on_refused_io, refusal) < 0 ||
                sd_event_add_time_relative(server->event, &refusal->timer, CLOCK_MONOTONIC,
                        HTTP_DISCARD_USEC, HTTP_DISCARD_USEC / 10, on_refused_timer, refusal) < 0)
                return;
        TAKE_PTR(refusal);
}

/* ---- Accepting ------------------------------------------------------------------------------------------------- */

static unsigned connections_of(const HttpServer *server, uid_t uid) {
        unsigned n = 0;

        for (const Connection *c = server->connections; c; c = c->next)
                n += c->peer.uid == uid;
        return n;
}

static void set_accepting(HttpServer *server, int enabled) {
        for (Listener *listener = server->listeners; listener; listener = listener->next)
                (void) sd_event_source_set_enabled(listener->source, enabled);
}

void server_stop_accepting(HttpServer *server) {
        set_accepting(server, SD_EVENT_OFF);
}

void server_start_accepting(HttpServer *server) {
        set_accepting(server, SD_EVENT_ON);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        HttpServer *server = userdata;

        if (server->n_connections < HTTP_CONNECTIONS_MAX)
                server_start_accepting(server);
        return 0;
}

/* The connection stays in the kernel's queue, and would wake us up again at once. */
static void accept_later(HttpServer *server) {
        server_stop_accepting(server);
        if (server->retry) {
                (void) sd_event_source_set_time_relative(server->retry, RETRY_USEC);
                (void) sd_event_source_set_enabled(server->retry, SD_EVENT_ONESHOT);
        } else if (sd_event_add_time_relative(server->event, &server->retry, CLOCK_MONOTONIC, RETRY_USEC, 0,
                           on_retry, server) < 0)
                server_start_accepting(server);
}

/* Of the peer nothing has been read yet. */
static void admit(HttpServer *server, int fd) {
        HttpPeer peer;
        int r;

        r = peer_find(&server->options, fd, &peer);
        if (r < 0) {
                log_warning_errno(r, "Failed to find out who connects, closing the connection: %m");
                safe_close(fd);
                return;
        }
        if (peer.right == HTTP_NOTHING) {
                char detail[128];

                (void) snprintf(detail, sizeof(detail),
                        "only root and members of the groups '%s' and '%s' may",
                        server->options.readers ?: "?", server->options.writers ?: "?");
                server_refuse(server, fd, 403, "forbidden", detail);
                return;
        }
        if (peer.uid != 0 && (server->n_others >= HTTP_CONNECTIONS_MAX - HTTP_CONNECTIONS_ROOT ||
                                     connections_of(server, peer.uid) >= HTTP_CONNECTIONS_USER)) {
                server_refuse(server, fd, 429, "too-many", "too many connections are open");
                return;
        }
        server_add_connection(server, fd, &peer);
}

static int on_listener(sd_event_source *source, int listening, uint32_t events, void *userdata) {
        HttpServer *server = ((Listener *) userdata)->server;

        for (unsigned i = 0; i < ACCEPT_BURST; i++) {
                int fd;

                if (server->n_connections >= HTTP_CONNECTIONS_MAX) {
                        server_stop_accepting(server);
                        break;
                }
                fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd >= 0) {
                        admit(server, fd);
                        continue;
                }
                if (errno == EAGAIN)
                        break;
                if (errno == EINTR || errno == ECONNABORTED)
                        continue;
                log_warning_errno(errno, "Failed to accept a connection, trying again in a moment: %m");
                accept_later(server);
                break;
        }
        return 0;
}

int http_server_listen(HttpServer *server, int fd) {
        Listener *listener;
        int r;

        listener = malloc(sizeof(*listener));
        if (!listener)
                return -ENOMEM;
        *listener = (Listener){ .server = server };

        r = sd_event_add_io(server->event, &listener->source, fd, EPOLLIN, on_listener, listener);
        if (r < 0) {
                free(listener);
                return r;
        }
        listener->next = server->listeners;
        server->listeners = listener;
        return 0;
}

void http_server_close(HttpServer *server) {
        while (server->listeners) {
                Listener *listener = server->listeners;

                server->listeners = listener->next;
                sd_event_source_disable_unref(listener->source);
                free(listener);
        }
}

void server_free_listeners(HttpServer *server) {
        http_server_close(server);
        while (server->refusals)
                refusal_free(server->refusals);
        server->retry = sd_event_source_disable_unref(server->retry);
}
