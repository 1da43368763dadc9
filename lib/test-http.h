/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A server with a few routes and clients of it, all in one event loop. */

#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "http.h"

#define DEADLINE_USEC (30 * USEC_PER_SEC)

static sd_event *event;
static HttpServer *server;
static char directory[64];
static struct sockaddr_un address;
static int listening = -EBADF;

/* ---- Waiting --------------------------------------------------------------------------------------------------- */

static void turn(void) {
        ASSERT_TRUE(sd_event_run(event, 2 * USEC_PER_MSEC) >= 0);
}

#define WAIT_FOR(condition)                                                    \
        do {                                                                   \
                usec_t _until = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;     \
                                                                               \
                while (!(condition)) {                                         \
                        if (now_usec(CLOCK_MONOTONIC) > _until)                \
                                fail_msg("waited in vain for %s", #condition); \
                        turn();                                                \
                }                                                              \
        } while (0)

/* All that can be done now is done. */
_unused_ static void settle(void) {
        for (unsigned i = 0;; i++) {
                int r = sd_event_run(event, 0);

                ASSERT_TRUE(r >= 0);
                if (r == 0)
                        return;
                ASSERT_TRUE(i < 100000);
        }
}

/* ---- Clients --------------------------------------------------------------------------------------------------- */

typedef struct Client {
        int fd;
        char *in; /* NUL after it */
        size_t size, allocated;
        bool eof;
        bool reset;
} Client;

static Client client_new(void) {
        Client c = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };

        ASSERT_TRUE(c.fd >= 0);
        ASSERT_OK(connect(c.fd, (struct sockaddr *) &address, sizeof(address)));
        return c;
}

static void client_done(Client *c) {
        c->fd = safe_close(c->fd);
        free(TAKE_PTR(c->in));
        c->size = c->allocated = 0;
}
#define _client_ _cleanup_(client_done) Client

/* Return: true if there was something, or the end. */
static bool client_receive(Client *c) {
        ssize_t n;

        if (c->eof)
                return false;
        if (c->allocated - c->size < KIB(64)) {
                c->allocated = 2 * c->allocated + KIB(64) + 1;
                c->in = realloc(c->in, c->allocated);
                ASSERT_NOT_NULL(c->in);
        }
        n = recv(c->fd, c->in + c->size, c->allocated - c->size - 1, 0);
        if (n < 0 && errno == EAGAIN)
                n = 0;
        else if (n <= 0) {
                c->eof = true;
                c->reset = n < 0;
                n = 0;
        }
        c->size += (size_t) n;
        c->in[c->size] = '\0';
        return n > 0 || c->eof;
}

static void client_send(Client *c, const char *data, size_t size) {
        usec_t until = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        while (size > 0) {
                ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);

                if (n < 0 && errno == EPIPE)
                        return;
                if (n < 0 && errno != EAGAIN)
                        fail_msg("send: %s", strerror(errno));
                if (n > 0) {
                        data += n;
                        size -= (size_t) n;
                }
                ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) < until);
                turn();
        }
}

#define SAY(client, text) client_send((client), (text), strlen(text))

/* ---- Answers --------------------------------------------------------------------------------------------------- */

typedef struct Answer {
        int status;
        char *head, *body;
        size_t size;
} Answer;

static void answer_done(Answer *a) {
        free(a->head);
        free(a->body);
        *a = (Answer){};
}
#define _answer_ _cleanup_(answer_done) Answer

/* Undoes chunks. Return: bytes used up; 0: there is more to come. */
static size_t unchunk(const char *text, size_t size, char *out, size_t *ret_size) {
        const char *p = text, *end = text + size;

        *ret_size = 0;
        for (;;) {
                const char *line = memmem(p, (size_t) (end - p), "\r\n", 2);
                size_t n;

                if (!line)
                        return 0;
                n = strtoul(p, NULL, 16);
                p = line + 2;
                if ((size_t) (end - p) < n + 2)
                        return 0;
                memcpy(out + *ret_size, p, n);
                *ret_size += n;
                p += n;
                ASSERT_EQ(memcmp(p, "\r\n", 2), 0);
                p += 2;
                if (n == 0)
                        return (size_t) (p - text);
        }
}

/* Takes one answer out of what has come. */
static bool take_answer(Client *c, bool head_only, Answer *ret) {
        const char *blank, *header;
        size_t n_head, used, size = 0;
        Answer a = {};

        blank = c->in ? strstr(c->in, "\r\n\r\n") : NULL;
        if (!blank)
                return false;
        n_head = (size_t) (blank + 4 - c->in);
        a.head = strndup(c->in, n_head);
        ASSERT_NOT_NULL(a.head);
        ASSERT_EQ(strncmp(a.head, "HTTP/1.1 ", 9), 0);
        a.status = atoi(a.head + 9);
        a.body = calloc(1, c->size + 1);
        ASSERT_NOT_NULL(a.body);

        header = strcasestr(a.head, "\r\nContent-Length:");
        if (head_only || a.status == 304 || a.status == 100)
                used = n_head;
        else if (strcasestr(a.head, "\r\nTransfer-Encoding: chunked")) {
                used = unchunk(c->in + n_head, c->size - n_head, a.body, &size);
                if (used == 0) {
                        answer_done(&a);
                        return false;
                }
                used += n_head;
        } else {
                ASSERT_NOT_NULL(header);
                size = strtoul(header + strlen("\r\nContent-Length:"), NULL, 10);
                if (c->size - n_head < size) {
                        answer_done(&a);
                        return false;
                }
                memcpy(a.body, c->in + n_head, size);
                used = n_head + size;
        }
        a.size = size;
        memmove(c->in, c->in + used, c->size - used + 1);
        c->size -= used;
        *ret = a;
        return true;
}

static bool poll_answer(Client *c, bool head_only, Answer *ret) {
        if (take_answer(c, head_only, ret))
                return true;
        while (client_receive(c))
                if (take_answer(c, head_only, ret))
                        return true;
        return false;
}

static Answer read_answer(Client *c) {
        Answer a;

        WAIT_FOR(poll_answer(c, false, &a));
        return a;
}

/* One request on a connection of its own. */
_unused_ static Answer request(const char *text) {
        _client_ c = client_new();

        SAY(&c, text);
        return read_answer(&c);
}

_unused_ static const char *header_of(const Answer *a, const char *name, char *buffer, size_t size) {
        char line[128];
        const char *found;

        (void) snprintf(line, sizeof(line), "\r\n%s: ", name);
        found = strcasestr(a->head, line);
        if (!found)
                return NULL;
        found += strlen(line);
        (void) snprintf(buffer, size, "%.*s", (int) strcspn(found, "\r"), found);
        return buffer;
}
#define HEADER(answer, name) header_of((answer), (name), (char[256]){}, 256)

#define HOST           " HTTP/1.1\r\nHost: x\r\n"
#define GET(target)    "GET " target HOST "\r\n"
#define DELETE(target) "DELETE " target HOST "\r\n"

/* ---- The server ------------------------------------------------------------------------------------------------ */

static int group_setup(_unused_ void **state) {
        struct rlimit limit;

        /* Tests of many connections hold both ends. */
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
        (void) snprintf(directory, sizeof(directory), "/tmp/test-http-XXXXXX");
        if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
                return -1;
        address.sun_family = AF_UNIX;
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
        return 0;
}

static int group_teardown(_unused_ void **state) {
        return rmdir(directory);
}

static void server_start(const HttpServerOptions *options) {
        listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(listening >= 0);
        ASSERT_OK(bind(listening, (struct sockaddr *) &address, sizeof(address)));
        ASSERT_OK(chmod(address.sun_path, 0666));
        ASSERT_OK(listen(listening, 4096));
        ASSERT_TRUE(sd_event_new(&event) >= 0);
        ASSERT_OK(http_server_new(event, options, &server));
        ASSERT_OK(http_server_listen(server, listening));
}

static void server_stop(void) {
        server = http_server_free(server);
        listening = safe_close(listening);
        (void) unlink(address.sun_path);
        event = sd_event_unref(event);
}
