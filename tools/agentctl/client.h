/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Requests to agentd: HTTP over its socket, as docs/api.md says. What goes wrong is told on standard error, once, unless the
 * client is silent. Functions return 0, or the exit status that follows.
 */

#include <curl/curl.h>
#include <jansson.h>

#include "progress.h"
#include "util.h"

#define CLIENT_SOCKET "/run/agentd/agentd.sock"

/* Of an answer, and of a line in a stream. What agentd sends is far below. */
#define CLIENT_BYTES_MAX MIB(64)

/* Pages of a list that have nothing on them, one after the other. */
#define CLIENT_EMPTY_PAGES_MAX 10000

/* How long agentd may be silent before it answers; with a load of roles in it. */
#define CLIENT_TIMEOUT_USEC      (30 * USEC_PER_SEC)
#define CLIENT_LOAD_TIMEOUT_USEC (5 * USEC_PER_MINUTE)

typedef struct Client {
        const char *socket;
        Progress *progress;  /* NULL: none */
        usec_t timeout_usec; /* of requests that are no streams */
        bool silent;
        bool lost;       /* the last failure was that agentd could not be reached, or broke off */
        bool was_stream; /* the last request was answered with a stream */
        unsigned
                problem; /* the HTTP status of the problem that the last request was answered with; 0: none */
        CURL *curl;
        CURLM *multi;
} Client;

void client_done(Client *client);

/* An answer that is no error. ret: a new reference, the body; NULL: it had none. May be NULL. */
int client_call(Client *client, const char *method, const char *path, const json_t *body, json_t **ret);
int client_get(Client *client, const char *path, json_t **ret); /* and which is an object */

/* The same, but a problem (RFC 9457) is handed over and not told, with its HTTP status. */
int client_request(Client *client, const char *method, const char *path, const json_t *body,
        unsigned *ret_status, json_t **ret);

/* Tells a problem. Return: the exit status that it means. */
int client_tell_problem(Client *client, unsigned status, const json_t *problem);

/* All items of a list, page by page; path may have a query. on_item: anything but 0 ends it and is returned. after: where to
 * begin; NULL. */
int client_pages(Client *client, const char *path, const char *after,
        int (*on_item)(void *userdata, json_t *item), void *userdata);

/* What agentd was about to say, but said something else. Return: EXIT_UNREACHABLE. */
int client_nonsense(Client *client, const char *what);

typedef struct StreamHandlers {
        /* An object of the stream; no problem among them. Anything but 0 ends the stream and is returned. */
        int (*on_object)(void *userdata, json_t *object);

        /* The descriptor can be read. Likewise. */
        int (*on_signal)(void *userdata);
        int signal_fd; /* -EBADF: none */
} StreamHandlers;

/*
 * client_stream() - follows a stream of lines until it ends
 *
 * There is no time limit once it has begun: runs may be silent for long, and systemd's watchdog looks after an agentd that
 * hangs. Return: 0; the exit status that follows; CLIENT_BROKEN: it broke off in the middle, which was not told.
 */
#define CLIENT_BROKEN (-1)
int client_stream(Client *client, const char *method, const char *path, const json_t *body,
        const StreamHandlers *handlers, void *userdata);
