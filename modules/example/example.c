/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * example: a whole module, to begin one's own from. It keeps one line of text in /run/example/NAME:
 *
 *      [example.greeting]
 *      text = "hello"
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <agentd/module.h>

enum { P_TEXT };

static const AgentdParameter parameters[] = {
        [P_TEXT] = { .name = "text",
                .type = AGENTD_STRING,
                .flags = AGENTD_REQUIRED,
                .documentation = "the line" },
        {},
};

/* Without a prepare callback, the private data of a state are the values of its parameters. */
static const char *text_of(const AgentdState *state) {
        return ((const AgentdValue *) state->data)[P_TEXT].string;
}

static const char *path_of(const AgentdState *state, char path[static 300]) {
        (void) snprintf(path, 300, "/run/example/%.255s", state->name);
        return path;
}

static int prepare(AgentdPrepare *p, const char *name, const AgentdValue *values, const void **ret_data,
        unsigned flags) {
        *ret_data = values;
        if (!strchr(name, '/'))
                return 0;
        agentd_prepare_error(p, -1, "the name of an example is that of a file, without '/'");
        return -EINVAL;
}

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        char path[300];

        agentd_watch_path(w, path_of(state, path));
        return 0;
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                char path[300], line[1024] = "";
                const char *name;
                int dir_fd, fd = -1;
                ssize_t size = -1;

                if (agentd_open_parent(c, path_of(&states[i], path), &dir_fd, &name) == 0)
                        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                if (fd >= 0) {
                        size = read(fd, line, sizeof(line) - 1);
                        (void) close(fd);
                }
                if (size < 0 || strcmp(line, text_of(&states[i])) != 0)
                        agentd_differs_string(c, i, "text", size < 0 ? NULL : line, text_of(&states[i]));
                agentd_done(c, i);
        }
        return 0;
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        const AgentdAttributes directory = { .mode = 0755 }, file = { .mode = 0644 };

        for (size_t i = 0; i < n; i++) {
                const char *text = text_of(&states[i]);
                char path[300];
                int r = agentd_make_parents(c, path_of(&states[i], path), &directory);

                if (r == 0)
                        r = agentd_replace_file(c, path, text, strlen(text), &file);
                if (r < 0)
                        agentd_failed(c, i, "Failed to write '%s': %s", path, strerror(-r));
                else
                        agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType example = {
        .name = "example",
        .documentation = "Keeps a line of text in a file of /run/example",
        .parameters = parameters,
        .prepare = prepare,
        .watch = watch,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("example", "1", &example);
