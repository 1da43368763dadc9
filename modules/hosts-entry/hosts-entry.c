/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * hosts-entry: keeps a line of /etc/hosts. The example module: small, whole, and safe to copy from.
 *
 *      [hosts-entry."db.example.org"]
 *      address = "192.0.2.7"
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <agentd/module.h>

#define HOSTS     "/etc/hosts"
#define HOSTS_MAX (1024 * 1024)

/* By index in the list of parameters. */
enum { P_ADDRESS };

static const AgentdParameter parameters[] = {
        [P_ADDRESS] = { .name = "address",
                .type = AGENTD_STRING,
                .flags = AGENTD_REQUIRED,
                .documentation = "the address that the name stands for" },
        {},
};

static const char *wanted_address(const AgentdState *state) {
        return ((const AgentdValue *) state->data)[P_ADDRESS].string;
}

/* The file as a string, to be freed; "" if there is none. */
static char *read_hosts(AgentdContext *c, struct stat *ret_stat) {
        char *text = calloc(1, HOSTS_MAX + 1);
        const char *name;
        int dir_fd, fd = -1;

        *ret_stat = (struct stat){ .st_mode = 0644 };
        if (agentd_open_parent(c, HOSTS, &dir_fd, &name) == 0)
                fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) {
                if (text && (fstat(fd, ret_stat) < 0 || read(fd, text, HOSTS_MAX) < 0))
                        text[0] = 0;
                (void) close(fd);
        }
        return text;
}

/* The address of a name, in buffer; NULL if no line has it. */
static const char *find_address(const char *text, const char *host, char buffer[64]) {
        char line[1024], *save, *address, *name;

        for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
                (void) snprintf(line, sizeof(line), "%.*s", (int) strcspn(text, "#\n"), text);
                address = strtok_r(line, " \t", &save);
                while (address && (name = strtok_r(NULL, " \t", &save)))
                        if (strcmp(name, host) == 0) {
                                (void) snprintf(buffer, 64, "%s", address);
                                return buffer;
                        }
        }
        return NULL;
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        struct stat st;
        char *text = read_hosts(c, &st);

        if (!text)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                char buffer[64];
                const char *is = find_address(text, states[i].name, buffer),
                           *should = wanted_address(&states[i]);

                if (!is || strcmp(is, should) != 0)
                        agentd_differs_string(c, i, "address", is, should);
                agentd_done(c, i);
        }
        free(text);
        return 0;
}

/* Leaves out the lines that have the name, and adds one of its own. */
static int apply_one(AgentdContext *c, const AgentdState *state) {
        struct stat st;
        char *text = read_hosts(c, &st), *new = NULL, buffer[64];
        size_t size;
        FILE *f = open_memstream(&new, &size);
        int r = -ENOMEM;

        if (text && f) {
                for (const char *line = text; *line;) {
                        size_t length = strcspn(line, "\n") + 1;
                        char one[1024];

                        (void) snprintf(one, sizeof(one), "%.*s", (int) length - 1, line);
                        if (!find_address(one, state->name, buffer))
                                (void) fprintf(f, "%.*s\n", (int) length - 1, line);
                        line += length - (line[length - 1] == 0);
                }
                (void) fprintf(f, "%s\t%s\n", wanted_address(state), state->name);
        }
        if (f && fclose(f) == 0 && text) {
                const AgentdAttributes attributes = {
                        .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid
                };

                r = agentd_replace_file(c, HOSTS, new, size, &attributes);
        }
        free(new);
        free(text);
        return r;
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                int r = apply_one(c, &states[i]);

                if (r < 0)
                        agentd_failed(c, i, "Failed to write '%s': %s", HOSTS, strerror(-r));
                else
                        agentd_done(c, i);
        }
        return 0;
}

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        agentd_watch_path(w, HOSTS);
        return 0;
}

static const AgentdStateType hosts_entry = {
        .name = "hosts-entry",
        .documentation = "Keeps the address of one name in /etc/hosts",
        .parameters = parameters,
        .watch = watch,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("hosts-entry", "1", &hosts_entry);
