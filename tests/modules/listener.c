/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * listener: a module whose states can be reloaded and restarted.
 *
 *      [listener.app]
 *      restart_on = ["file:/etc/app.conf"]
 *
 * What apply is told goes to /run/listener, a line each: "app restart". With /run/listener.fail it fails instead, and it waits as long
 * as there is /run/listener.wait, before and after; which it does is told by /run/listener.waits.
 */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <agentd/module.h>

#define PATH "/run/listener"

enum { P_ABSENT };

static const AgentdParameter parameters[] = {
        [P_ABSENT] = { .name = "absent",
                .type = AGENTD_STRING,
                .documentation = "a path that must not exist; apply removes it" },
        {},
};

static const char *absent(const AgentdState *state) {
        const AgentdValue *value = &((const AgentdValue *) state->data)[P_ABSENT];

        return value->type == AGENTD_STRING ? value->string : NULL;
}

static const char *flags_of(const AgentdState *state) {
        if (state->flags & AGENTD_STATE_RESTART)
                return state->flags & AGENTD_STATE_RELOAD ? "restart and reload" : "restart";
        if (state->flags & AGENTD_STATE_RELOAD)
                return "reload";
        return state->flags & AGENTD_STATE_NOTICED ? "notice" : "nothing";
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        (void) flags;
        for (size_t i = 0; i < n; i++) {
                const char *path = absent(&states[i]);

                agentd_log(c, LOG_INFO, "checked %s: %s%s", states[i].name, flags_of(&states[i]),
                        states[i].flags & AGENTD_STATE_PENDING ? ", pending" : "");
                if (path && access(path, F_OK) == 0)
                        agentd_differs_string(c, i, "absent", path, NULL);
                agentd_done(c, i);
        }
        return 0;
}

static void tell(const AgentdState *state) {
        int fd = open(PATH, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

        (void) dprintf(fd, "%s %s\n", state->name, flags_of(state));
        (void) close(fd);
}

static void wait_a_while(void) {
        while (access(PATH ".wait", F_OK) == 0) {
                (void) close(open(PATH ".waits", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
                (void) nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
        }
        (void) unlink(PATH ".waits");
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        (void) flags;
        for (size_t i = 0; i < n; i++) {
                const char *path = absent(&states[i]);

                wait_a_while();
                if (access(PATH ".fail", F_OK) == 0) {
                        agentd_failed(c, i, "as it was told");
                        continue;
                }
                if (path)
                        (void) unlink(path);
                tell(&states[i]);
                agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType listener = {
        .name = "listener",
        .documentation = "Tells what it is to do",
        .parameters = parameters,
        .flags = AGENTD_RELOADS | AGENTD_RESTARTS,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("listener", "1", &listener);
