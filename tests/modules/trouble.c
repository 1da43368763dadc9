/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * trouble: a module that goes wrong on demand.
 *
 *      [trouble.bad]
 *      do = "crash-in-check"
 *
 * Each check of a state is told by a log line "checked NAME", each apply by one in /run/trouble/applied. A state is as
 * declared if /run/trouble/NAME is there, which its apply makes; `do = "good"` needs no such thing.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <agentd/module.h>

#define DIRECTORY "/run/trouble"

enum { P_DO, P_INDEX, P_PATH, P_TELL };

static const AgentdParameter parameters[] = {
        [P_DO] = { .name = "do",
                .type = AGENTD_STRING,
                .default_value = "good",
                .documentation = "what goes wrong" },
        [P_INDEX] = { .name = "index",
                .type = AGENTD_INTEGER,
                .default_value = "0",
                .documentation = "lie: the state that is lied about; slow: milliseconds" },
        [P_PATH] = { .name = "path",
                .type = AGENTD_STRING,
                .default_value = "/",
                .documentation =
                        "is opened and held; wait: until it is there; stay: as long as it is there" },
        [P_TELL] = { .name = "tell",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "log each check" },
        {},
};

static const char *what(const AgentdState *state) {
        return ((const AgentdValue *) state->data)[P_DO].string;
}

static bool is(const AgentdState *state, const char *word) {
        return strcmp(what(state), word) == 0;
}

static void milliseconds(int64_t n) {
        (void) nanosleep(&(struct timespec){ .tv_sec = n / 1000, .tv_nsec = n % 1000 * 1000000 }, NULL);
}

/* What has to be in the middle of it for as long as a test takes: until the test has made the path, or removed it. */
static void wait_while(const AgentdState *state, bool there) {
        const AgentdValue *values = state->data;

        while ((access(values[P_PATH].string, F_OK) == 0) == there)
                milliseconds(5);
}

__attribute__((noinline)) static int eat_stack(volatile char *above) {
        volatile char mine[65536];

        mine[0] = above ? above[0] : 0;
        if (mine[0] == 77)
                return 0;
        return eat_stack(mine) + mine[0];
}

static void eat_memory(void) {
        for (;;) {
                char *p = malloc(1 << 20);

                if (!p)
                        abort();
                memset(p, 1, 1 << 20);
        }
}

static void send_garbage(void) {
        char noise[1024];

        for (size_t i = 0; i < sizeof(noise); i++)
                noise[i] = (char) (i * 37 + 11);
        for (int i = 0; i < 10; i++)
                (void) send(3, noise, sizeof(noise), MSG_NOSIGNAL);
}

/* A RESULT as agentd itself writes it: "ok". */
static void lie(uint32_t state) {
        struct {
                uint32_t size, kind, state, verdict;
                uint64_t duration;
                uint32_t text, padding;
        } record = { .size = sizeof(record), .kind = 2, .state = state, .verdict = 1 };

        (void) send(3, &record, sizeof(record), MSG_NOSIGNAL);
}

static void leave_a_child(bool daemon) {
        if (fork() == 0) {
                if (daemon)
                        (void) setsid();
                milliseconds(30000);
                _exit(0);
        }
}

/* What goes wrong in either callback. Return: 1 the state has been dealt with. */
static int misbehave(AgentdContext *c, const AgentdState *state, size_t i) {
        const AgentdValue *values = state->data;

        if (is(state, "exit"))
                exit(7);
        if (is(state, "exit-as-setup"))
                _exit(3);
        if (is(state, "abort"))
                abort();
        if (is(state, "eat-memory"))
                eat_memory();
        if (is(state, "eat-stack"))
                (void) eat_stack(NULL);
        if (is(state, "garbage"))
                send_garbage();
        if (is(state, "lie")) {
                lie((uint32_t) values[P_INDEX].integer);
                milliseconds(200);
        }
        if (is(state, "close-socket"))
                (void) close(3);
        if (is(state, "close-standard")) {
                (void) close(0);
                (void) close(1);
                (void) close(2);
        }
        if (is(state, "print"))
                (void) printf("not for you\n"), (void) fflush(stdout), (void) fprintf(stderr, "nor this\n");
        if (is(state, "slow"))
                milliseconds(values[P_INDEX].integer);
        if (is(state, "wait") || is(state, "stay"))
                wait_while(state, is(state, "stay"));
        if (is(state, "leave-a-child") || is(state, "leave-a-daemon"))
                leave_a_child(is(state, "leave-a-daemon"));
        if (is(state, "block-signals")) {
                sigset_t all;

                (void) sigfillset(&all);
                (void) sigprocmask(SIG_SETMASK, &all, NULL);
                milliseconds(60000);
        }
        if (is(state, "unknown")) {
                agentd_unknown(c, i, "who knows");
                return 1;
        }
        if (is(state, "failed")) {
                agentd_failed(c, i, "it is broken");
                return 1;
        }
        if (is(state, "silent"))
                return 1;
        while (is(state, "talk"))
                agentd_log(c, LOG_DEBUG, "still here");
        if (is(state, "out-of-range")) {
                agentd_done(c, 1u << 30);
                agentd_differs_string(c, 1u << 30, "nothing", "a", "b");
        }
        return 0;
}

static void differ_big(AgentdContext *c, size_t i) {
        size_t size = 100 << 20;
        char *text = malloc(size + 1);

        if (!text)
                return;
        memset(text, 'x', size);
        text[size] = 0;
        agentd_differs_string(c, i, "big", text, "small");
        free(text);
}

static bool is_applied(const AgentdState *state) {
        char path[512];

        (void) snprintf(path, sizeof(path), DIRECTORY "/%s", state->name);
        return access(path, F_OK) == 0;
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                const AgentdState *state = &states[i];
                const AgentdValue *values = state->data;

                if (values[P_TELL].boolean)
                        agentd_log(c, LOG_NOTICE, "checked %s", state->name);
                if (strcmp(values[P_PATH].string, "/") != 0 && strncmp(what(state), "wait", 4) != 0)
                        (void) open(values[P_PATH].string, O_RDONLY | O_CLOEXEC);
                if (is(state, "error"))
                        return -EIO;
                if (is(state, "crash-in-check"))
                        raise(SIGSEGV);
                if (is(state, "hang-in-check"))
                        milliseconds(3600000);
                if (misbehave(c, state, i) > 0)
                        continue;
                if (is(state, "big-difference"))
                        differ_big(c, i);
                else if (is(state, "many-differences"))
                        for (int k = 0; k < 1000; k++)
                                agentd_differs_integer(c, i, "count", k, -k);
                else if (is(state, "still-differs"))
                        agentd_differs_integer(c, i, "answer", 41, 42);
                else if ((is(state, "apply") || strstr(what(state), "-in-apply")) && !is_applied(state))
                        agentd_differs_boolean(c, i, "applied", false, true);
                agentd_done(c, i);
        }
        return 0;
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        (void) mkdir(DIRECTORY, 0755);
        for (size_t i = 0; i < n; i++) {
                const AgentdState *state = &states[i];
                char path[512];
                int fd = open(DIRECTORY "/applied", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

                (void) dprintf(fd, "%s\n", state->name);
                (void) close(fd);
                if (is(state, "crash-in-apply"))
                        raise(SIGSEGV);
                if (is(state, "hang-in-apply"))
                        milliseconds(3600000);
                if (is(state, "slow-in-apply"))
                        milliseconds(((const AgentdValue *) state->data)[P_INDEX].integer);
                if (is(state, "wait-in-apply") || is(state, "stay-in-apply"))
                        wait_while(state, is(state, "stay-in-apply"));
                if (is(state, "error-in-apply"))
                        return -EIO;
                if (is(state, "exit-in-apply"))
                        exit(7);

                (void) snprintf(path, sizeof(path), DIRECTORY "/%s", state->name);
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
                if (fd >= 0)
                        (void) close(fd);
                agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType trouble = {
        .name = "trouble",
        .documentation = "Goes wrong on demand",
        .parameters = parameters,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("trouble", "1", &trouble);
