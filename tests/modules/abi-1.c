/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A module of the first version of the interface, built against the header as it was then: abi-1/module.h is never
 * changed. It uses every function and every member that there was, and must be opened, linked and run by every later
 * agentd of AGENTD_ABI 1.
 *
 *      [abi-1."/run/abi-1"]
 *      text = "hello"
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "abi-1/module.h"

enum { P_TEXT, P_MODE, P_WORD, P_PAIR, P_OTHER };

static const char *const words[] = { "yes", "no", NULL };
static const AgentdParameter fields[] = {
        { .name = "x", .type = AGENTD_INTEGER, .default_value = "7" },
        { .name = "y", .type = AGENTD_BOOLEAN },
        {},
};
static const AgentdParameter parameters[] = {
        [P_TEXT] = { .name = "text",
                .type = AGENTD_STRING,
                .flags = AGENTD_REQUIRED,
                .documentation = "the text" },
        [P_MODE] = { .name = "mode",
                .type = AGENTD_MODE,
                .default_value = "0644",
                .documentation = "its mode" },
        [P_WORD] = { .name = "word", .type = AGENTD_STRING, .choices = words, .exclusive = "words" },
        [P_PAIR] = { .name = "pair", .type = AGENTD_RECORD, .fields = fields },
        [P_OTHER] = { .name = "other", .type = AGENTD_LIST, .exclusive = "words" },
        {},
};

typedef struct Data {
        const char *text;
        const AgentdValue *values;
} Data;

static int prepare(AgentdPrepare *p, const char *name, const AgentdValue *values, const void **ret_data,
        unsigned flags) {
        Data *data = agentd_alloc(p, sizeof(*data));

        if (values[P_TEXT].type != AGENTD_STRING || values[P_MODE].type != AGENTD_INTEGER ||
                (values[P_PAIR].type == AGENTD_RECORD && values[P_PAIR].items[0].integer == 0))
                agentd_prepare_error(p, P_TEXT, "the values are not as declared");
        data->text = agentd_strdup(p, values[P_TEXT].string);
        data->values = values;
        agentd_prepare_after(p, "file:/run/abi-1.before");
        agentd_prepare_path_kind(p, AGENTD_PATH_LEAF);
        *ret_data = data;
        return 0;
}

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        agentd_watch_path(w, state->name);
        agentd_watch_unit(w, "abi-1.service");
        agentd_watch_bus(w, "type='signal',interface='org.example.Abi1'");
        return 0;
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                const Data *data = states[i].data;
                mode_t mode = (mode_t) data->values[P_MODE].integer;
                const char *name;
                char is[256] = "";
                struct stat st = {};
                uid_t uid;
                gid_t gid;
                int dir_fd, fd = -1;

                if (agentd_open_parent(c, states[i].name, &dir_fd, &name) == 0)
                        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                if (fd < 0) {
                        agentd_differs_string(c, i, "text", NULL, data->text);
                        agentd_done(c, i);
                        continue;
                }
                (void) fstat(fd, &st);
                if (read(fd, is, sizeof(is) - 1) < 0)
                        agentd_failed(c, i, "Failed to read '%s': %s", states[i].name, strerror(errno));
                (void) close(fd);
                if (strcmp(is, data->text) != 0)
                        agentd_differs_text(c, i, "text", is, strlen(is), data->text, strlen(data->text));
                if ((st.st_mode & 07777) != mode)
                        agentd_differs_mode(c, i, "mode", st.st_mode, mode);
                if (agentd_user_id(c, "root", &uid) < 0 || uid != 0 ||
                        agentd_group_id(c, "root", &gid) < 0 || gid != 0)
                        agentd_unknown(c, i, "nobody knows root");
                if (strcmp(agentd_user_name(c, 0), "root") != 0 ||
                        strcmp(agentd_group_name(c, 0), "root") != 0)
                        agentd_unknown(c, i, "nobody knows 0");
                agentd_done(c, i);
        }
        return 0;
}

/* What nobody asks for here, but which has to be there. */
static void everything_else(AgentdContext *c, size_t i) {
        const AgentdValue value = { .type = AGENTD_INTEGER, .integer = 1 };
        const AgentdAttributes attributes = { .mode = 0755 };
        const AgentdCommand command = { .size = sizeof(command) };
        AgentdCommandResult result = { .size = sizeof(result) };
        struct sd_bus *bus;
        int fd;

        agentd_differs(c, i, "value", &value, NULL);
        agentd_differs_integer(c, i, "integer", 1, 2);
        agentd_differs_boolean(c, i, "boolean", true, false);
        (void) agentd_bus(c, &bus);
        (void) agentd_open_source(c, "/dev/null", &fd);
        (void) agentd_replace_file_from(c, "/dev/null", -1, &attributes);
        (void) agentd_replace_symlink(c, "/run/abi-1.link", "/nowhere", 0, 0);
        (void) agentd_make_directory(c, "/run/abi-1.directory", &attributes);
        (void) agentd_remove(c, "/run/abi-1.directory");
        (void) agentd_remove(c, "/run/abi-1.link");
        (void) agentd_run_command(c, i, &command, &result);
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                const Data *data = states[i].data;
                const AgentdAttributes attributes = { .mode = (mode_t) data->values[P_MODE].integer };
                const AgentdValue old = { .type = AGENTD_STRING, .string = "old", .size = 3 };
                int r;

                agentd_log(c, LOG_NOTICE, "applying %s", states[i].id);
                agentd_undo(c, i, "text", &old);
                r = agentd_make_parents(c, states[i].name, &attributes);
                if (r == 0)
                        r = agentd_replace_file(
                                c, states[i].name, data->text, strlen(data->text), &attributes);
                everything_else(c, i);
                if (r < 0)
                        agentd_failed(c, i, "Failed to write '%s': %s", states[i].name, strerror(-r));
                agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType type = {
        .name = "abi-1",
        .documentation = "Keeps a text, as modules of the first version did",
        .parameters = parameters,
        .flags = AGENTD_NAME_IS_PATH,
        .batch_max = 5,
        .timeout_usec = 20000000,
        .prepare = prepare,
        .watch = watch,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("abi-1", "1", &type);
