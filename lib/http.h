/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An HTTP/1.1 server on Unix sockets, in an sd_event loop: libmicrohttpd with an epoll of its own, whose descriptor is
 * one event source. Who connects is looked at before a byte is read.
 *
 * A handler gets a request and answers it exactly once, at once or later. Nothing here blocks.
 */

#include <jansson.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "util.h"

#define HTTP_BODY_MAX         KIB(64)
#define HTTP_STREAM_MAX       MIB(8)  /* bytes that wait for the reader of one stream */
#define HTTP_STREAMS_MAX      MIB(64) /* of all streams together */
#define HTTP_CONNECTIONS_MAX  512     /* at a time; beyond, they wait in the kernel's queue */
#define HTTP_CONNECTIONS_USER 64      /* of one user other than root; beyond, a fixed 429 and the end */
#define HTTP_CONNECTIONS_ROOT \
        64               /* of those at a time, kept for root: others get a 429 before it comes to them */
#define HTTP_IDLE_SEC 30 /* half a request, or nothing, for so long: the end */

/* Of those who may not: their answer is written, and what they send is thrown away, so much and so long. */
#define HTTP_DISCARD_BYTES KIB(64)
#define HTTP_DISCARD_USEC  USEC_PER_SEC
#define HTTP_DISCARD_MAX   64 /* connections at a time; beyond, closed at once */

typedef enum HttpRight {
        HTTP_NOTHING, /* a fixed 403 */
        HTTP_READ,    /* routes that do not write */
        HTTP_WRITE,
} HttpRight;

typedef struct HttpPeer {
        uid_t uid;
        pid_t pid;
        HttpRight right;
} HttpPeer;

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;
typedef struct HttpStream HttpStream;

typedef struct HttpRoute {
        const char *method; /* "GET"; HEAD is answered likewise */
        const char *
                path; /* "/v1/states/{id}": one part may be variable; it is percent-decoded after the split at '/',
                             * and may contain encoded slashes, at the end of a path others as well. Literal paths win. */
        bool write; /* needs HTTP_WRITE */
        void (*handle)(void *userdata, HttpRequest *request);
        const char *const *
                parameters; /* names in the query that it knows, NULL at the end; others are a 400. NULL: none */
} HttpRoute;

typedef struct HttpServerOptions {
        const HttpRoute *routes; /* n_routes; must stay */
        size_t n_routes;
        /* Groups whose members may read, and write; (gid_t) -1: no such group. uid 0 may write always. */
        gid_t reader_gid, writer_gid;
        /* What these groups are called, for those who are refused; must stay. */
        const char *readers, *writers;
        void *userdata;    /* of the handlers */
        unsigned idle_sec; /* 0: HTTP_IDLE_SEC. For tests */
} HttpServerOptions;

/* Return: 0; -errno. */
int http_server_new(sd_event *event, const HttpServerOptions *options, HttpServer **ret);

/* Ends all connections. Requests that were not answered yet and streams must not be touched afterwards. */
HttpServer *http_server_free(HttpServer *server);
DEFINE_CLEANUP(HttpServer *, http_server_free)

/* Takes connections from a listening Unix socket, which stays the caller's. Return: 0; -errno. */
int http_server_listen(HttpServer *server, int fd);

/* What rights a peer of these ids has; groups: n of them besides gid. For tests. */
HttpRight http_right_of(
        const HttpServerOptions *options, uid_t uid, gid_t gid, const gid_t *groups, size_t n);

/* Takes no more connections: they wait in the kernel's queue for whoever listens next. */
void http_server_close(HttpServer *server);

/* True while answers, or the ends of streams, are on their way to clients, or clients have connected and not yet been
 * answered anything: what ends soon may wait for them. Requests that wait for their handler do not count, nor do streams
 * that go on with nothing to send. */
bool http_server_is_sending(const HttpServer *server);

/* Connections that are open now, and requests answered so far, for statistics. */
unsigned http_server_connections(const HttpServer *server);
uint64_t http_server_requests(const HttpServer *server);

/* ---- Requests -------------------------------------------------------------------------------------------------- */

const HttpPeer *http_request_peer(const HttpRequest *request);

/* The client has gone while the request was waiting: nobody reads the answer, which is to be given nevertheless. */
bool http_request_is_gone(const HttpRequest *request);

/* The variable part of the path, decoded; "" if the route has none. UTF-8 without control characters. */
const char *http_request_part(const HttpRequest *request);

/* A parameter of the query, decoded; NULL if it was not given. The last one wins. */
const char *http_request_query(const HttpRequest *request, const char *name);

/* A parameter that is a boolean ("true", "1", "" / "false", "0") or a number. Return: 1 given; 0 not given, *ret is left
 * alone; -EINVAL: nonsense, and the request has been answered with 400. */
int http_request_query_bool(HttpRequest *request, const char *name, bool *ret);
int http_request_query_u64(
        HttpRequest *request, const char *name, uint64_t min, uint64_t max, uint64_t *ret);

/* The body, which is a JSON object; NULL if there is none. Belongs to the request. A body that is something else was
 * answered with 400 before the handler was called. */
const json_t *http_request_body(const HttpRequest *request);

/* ---- Answers: each ends the request, which must not be used afterwards ------------------------------------------------ */

/* Takes the reference; NULL is answered as out of memory. GET and 200: with an ETag, and 304 if the client has it. */
void http_answer_json(HttpRequest *request, unsigned status, json_t *body);

/* The same with a Location header. */
void http_answer_created(HttpRequest *request, unsigned status, const char *location, json_t *body);

/* Likewise. The text is copied. */
void http_answer_text(
        HttpRequest *request, unsigned status, const char *content_type, const char *text, size_t size);

/* A problem (RFC 9457) of type "urn:agentd:TYPE"; the title follows from the status. */
void http_answer_problem(HttpRequest *request, unsigned status, const char *type, const char *format, ...)
        _printf_(4, 5);

/* The same with one member more, whose reference is taken. */
void http_answer_problem_with(HttpRequest *request, unsigned status, const char *type, const char *key,
        json_t *value, const char *format, ...) _printf_(6, 7);

/* ---- Streams --------------------------------------------------------------------------------------------------- */

typedef struct HttpStreamHandlers {
        /* The reader has gone, or was too slow: the stream must not be used from now on. Called from the event loop, never
         * from within http_stream_…(). Not called after http_stream_end(). */
        void (*on_gone)(void *userdata, HttpStream *stream);

        /* All that was pushed has gone out: more may follow, so that a long list is not held in memory at once. Likewise from
         * the event loop only. May be NULL. */
        void (*on_drained)(void *userdata, HttpStream *stream);
} HttpStreamHandlers;

/*
 * http_answer_stream() - answers 200 with application/x-ndjson, whose lines follow
 *
 * A reader that goes away is noticed also while nothing is sent. Return: the stream, which belongs to the server; NULL if
 * out of memory: then the request has been answered.
 */
HttpStream *http_answer_stream(HttpRequest *request, const HttpStreamHandlers *handlers, void *userdata);

/* Adds a line. A reader too slow gets a problem as its last line, and on_gone follows. */
void http_stream_push(HttpStream *stream, const json_t *line);

/* The last line was pushed: closes when the reader has it. The stream must not be used afterwards. */
void http_stream_end(HttpStream *stream);
