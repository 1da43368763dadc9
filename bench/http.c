/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How fast the HTTP server answers: usage: http CONNECTIONS REQUESTS [fresh]
 *
 * A child asks on so many connections at once, each waiting for its answer before it asks again; with "fresh" each request
 * has a connection of its own.
 */

#include <err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "http.h"

static const char request_kept[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";
static const char request_fresh[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

static void handle(void *userdata, HttpRequest *request) {
        http_answer_json(request, 200, json_pack("{s:s, s:i, s:b}", "state", "idle", "n", 41, "fine", 1));
}

static const HttpRoute routes[] = { { .method = "GET", .path = "/v1/status", .handle = handle } };
static const HttpServerOptions options = {
        .routes = routes,
        .n_routes = ELEMENTSOF(routes),
        .reader_gid = (gid_t) -1,
        .writer_gid = (gid_t) -1,
};

static int on_child(sd_event_source *source, const siginfo_t *info, void *userdata) {
        return sd_event_exit(userdata, info->si_status);
}

static void ask(int epoll, const struct sockaddr_un *address, int *fd, bool fresh) {
        const char *request = fresh ? request_fresh : request_kept;

        if (*fd < 0) {
                struct epoll_event event = { .events = EPOLLIN, .data.ptr = fd };

                *fd = socket(AF_UNIX, SOCK_STREAM, 0);
                if (*fd < 0 || connect(*fd, (const struct sockaddr *) address, sizeof(*address)) < 0 ||
                        epoll_ctl(epoll, EPOLL_CTL_ADD, *fd, &event) < 0)
                        err(1, "Failed to connect");
        }
        if (write_full(*fd, request, strlen(request)) < 0)
                err(1, "Failed to ask");
}

static int client(
        const struct sockaddr_un *address, unsigned n_connections, unsigned n_requests, bool fresh) {
        int epoll = epoll_create1(EPOLL_CLOEXEC), *fds = calloc(n_connections, sizeof(*fds));
        unsigned n_asked = 0, n_answered = 0;
        usec_t start = now_usec(CLOCK_MONOTONIC), usec;

        if (epoll < 0 || !fds)
                err(1, "Failed to begin");
        for (unsigned i = 0; i < n_connections; i++) {
                fds[i] = -EBADF;
                ask(epoll, address, &fds[i], fresh);
                n_asked++;
        }
        while (n_answered < n_requests) {
                struct epoll_event events[64];
                int n = epoll_wait(epoll, events, ELEMENTSOF(events), -1);

                for (int i = 0; i < n; i++) {
                        int *fd = events[i].data.ptr;
                        char buffer[4096];

                        /* An answer comes in one piece. */
                        if (read(*fd, buffer, sizeof(buffer)) <= 0)
                                errx(1, "The server has gone");
                        n_answered++;
                        if (fresh)
                                *fd = safe_close(*fd);
                        if (n_asked < n_requests) {
                                ask(epoll, address, fd, fresh);
                                n_asked++;
                        }
                }
        }

        usec = now_usec(CLOCK_MONOTONIC) - start;
        printf("%u requests, %u at a time: %.3f s, %.0f a second\n", n_requests, n_connections,
                (double) usec / 1e6, n_requests * 1e6 / (double) usec);
        return 0;
}

int main(int argc, char **argv) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct timespec cpu;
        HttpServer *server;
        sd_event *event;
        sigset_t mask;
        int fd, r;
        pid_t pid;

        if (argc < 3)
                errx(2, "usage: http CONNECTIONS REQUESTS [fresh]");

        (void) snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "bench-http-%i", (int) getpid());
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 4096) < 0)
                err(1, "Failed to listen");
        pid = fork();
        if (pid < 0)
                err(1, "Failed to fork");
        if (pid == 0)
                exit(client(&address, (unsigned) atoi(argv[1]), (unsigned) atoi(argv[2]), argc > 3));

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);
        if (sd_event_new(&event) < 0 || http_server_new(event, &options, &server) < 0 ||
                http_server_listen(server, fd) < 0 ||
                sd_event_add_child(event, NULL, pid, WEXITED, on_child, event) < 0)
                errx(1, "Failed to serve");
        r = sd_event_loop(event);
        (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
        printf("server: %.1f us of CPU time a request\n",
                ((double) cpu.tv_sec * 1e6 + (double) cpu.tv_nsec / 1e3) / atoi(argv[2]));
        http_server_free(server);
        sd_event_unref(event);
        return r;
}
