/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the files of the HTTP server share. A request belongs to its connection while it is read and sent; while a handler
 * has it, to nobody: the client may go, and it must stay until it is answered. A stream belongs to its user and to its
 * response, and is freed when both have done with it.
 */

#include <microhttpd.h>

#include "http-target.h"
#include "http.h"

typedef struct Connection Connection;
typedef struct Listener Listener;
typedef struct Refusal Refusal;

struct HttpServer {
        sd_event *event;
        HttpServerOptions options;
        struct MHD_Daemon *daemon;
        sd_event_source *io;    /* of libmicrohttpd's epoll */
        sd_event_source *timer; /* of its timeouts; off if there are none */
        sd_event_source *run;   /* deferred: it has something to do without any descriptor being ready */
        usec_t timer_usec;      /* CLOCK_MONOTONIC; USEC_INFINITY: off */
        int gone_fd;            /* an epoll of all connections, which tells whose client has gone */
        sd_event_source *gone;
        Listener *listeners;
        sd_event_source *retry; /* of accept(), after it failed */
        Connection *connections;
        unsigned n_connections, n_others; /* others than root's */
        Connection *adding;               /* handed to libmicrohttpd, which has not told of them yet */
        unsigned most_connections;        /* since there were none */
        Refusal *refusals;
        unsigned n_refusals;
        HttpRequest *requests; /* that handlers have, and have not answered */
        HttpStream *streams;
        size_t streams_bytes;
        HttpStream *pending; /* streams whose users have to be told something */
        uint64_t n_requests;
        bool running; /* in libmicrohttpd */
        bool ending;  /* requests and streams are cut off */
};

struct Connection {
        HttpServer *server;
        Connection *previous, *next, *next_adding;
        struct MHD_Connection *mhd;
        int fd; /* libmicrohttpd's */
        HttpPeer peer;
        HttpRequest *request; /* NULL: between two */
        bool suspended;
        bool served; /* it has had an answer */
        bool gone;   /* the client closed it; not: said that it will send nothing more */
};

typedef enum RequestState {
        REQUEST_NEW,
        REQUEST_BODY,
        REQUEST_HANDLED, /* the handler has it */
        REQUEST_ANSWERED,
} RequestState;

struct HttpRequest {
        HttpServer *server;
        Connection *connection; /* NULL: the client has gone */
        HttpRequest *previous, *next;
        RequestState state;
        bool calling; /* the handler is being called */
        bool get;     /* or HEAD */
        bool head;
        const HttpRoute *route;
        HttpPeer peer;
        char *target; /* as sent, then cut up and decoded */
        char *part;
        HttpParameter parameters[HTTP_PARAMETERS_MAX];
        size_t n_parameters;
        char *body;
        size_t body_size, body_allocated;
        json_t *json;
        unsigned status;
        struct MHD_Response *response;
};

/* ---- http.c ---- */

/* libmicrohttpd gets on from the event loop, soon: never from within its own callbacks. */
void server_run_soon(HttpServer *server);
void connection_suspend(Connection *connection);
void connection_resume(Connection *connection);

/* ---- http-accept.c ---- */

/* Takes over the descriptor: a fixed answer, and the end. */
void server_refuse(HttpServer *server, int fd, unsigned status, const char *type, const char *detail);
void server_stop_accepting(HttpServer *server);
void server_start_accepting(HttpServer *server);
void server_free_listeners(HttpServer *server);
/* The peer has looked at: a connection for libmicrohttpd. Takes the descriptor over. */
void server_add_connection(HttpServer *server, int fd, const HttpPeer *peer);

/* ---- http-request.c ---- */

int request_new(Connection *connection, const char *target, HttpRequest **ret);
HttpRequest *request_free(HttpRequest *request);
DEFINE_CLEANUP(HttpRequest *, request_free)
/* Return: 0; -E2BIG: the body is too large; -ENOMEM. */
int request_add_body(HttpRequest *request, const char *data, size_t size);
/* The request is complete: to its handler, or a problem. */
void request_handle(HttpRequest *request, const char *method);
/* Its connection has ended. */
void request_orphan(HttpRequest *request);

/* ---- http-answer.c ---- */

/* Takes the response over; NULL: there is no memory for one, and the connection ends. */
void request_answer(HttpRequest *request, unsigned status, struct MHD_Response *response);
struct MHD_Response *response_new(
        char *text, size_t size, const char *content_type, const char *cache); /* text is taken over */
bool response_add(struct MHD_Response *response, const char *header, const char *value);
/* A problem as JSON with a newline at its end; to be freed. NULL if out of memory. value: taken over. */
char *problem_format(unsigned status, const char *type, const char *detail, const char *key, json_t *value);
/* 405, and what is allowed. */
void answer_not_allowed(HttpRequest *request, const char *allow);

/* ---- http-stream.c ---- */

/* Tells users what has happened to their streams. */
void streams_dispatch(HttpServer *server);
void streams_free(HttpServer *server);

/* The stream that goes over a connection, or NULL; whether anything of it is still to go out. */
const HttpStream *stream_of(const Connection *connection);
bool stream_is_sending(const HttpStream *stream);
