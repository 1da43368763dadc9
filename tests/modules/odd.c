/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* State types that do in prepare what none should: for tests of the loader. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bad.h"

static const AgentdParameter one_required[] = {
        { .name = "one", .type = AGENTD_STRING, .flags = AGENTD_REQUIRED },
        { .name = "two", .type = AGENTD_STRING },
        {},
};

static const AgentdParameter bad_default[] = {
        { .name = "mode", .type = AGENTD_MODE, .default_value = "rwx" },
        {},
};

/* ---- Misbehaviour ---------------------------------------------------------------------------------------------- */

static int sleep_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        for (;;)
                (void) pause();
        return 0;
}

/* On a file system that is frozen this hangs so that no signal helps. */
static int write_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        (void) open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        return 0;
}

static int crash_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        (void) signal(SIGABRT, SIG_DFL);
        abort();
}

static int exit_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        _exit(strcmp(name, "well") == 0 ? 0 : 7);
}

/* A child that lives on has the image mapped for writing. */
static int fork_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        if (fork() == 0) {
                (void) alarm(5);
                for (;;)
                        (void) pause();
        }
        return 0;
}

/* The socket to agentd is not for modules. */
static int talk_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        (void) !write(3, "nonsense", 8);
        return 0;
}

static int eat_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        (void) agentd_alloc(prepare, (size_t) 2 << 30);
        return 0;
}

static int heap_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        *ret_data = strcmp(name, "stack") == 0 ? __builtin_frame_address(0) : malloc(16);
        return 0;
}

static int silent_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        return -EINVAL;
}

/* Errors count, whatever it returns; a parameter that was not given is shown at the state. */
static int loud_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        agentd_prepare_error(prepare, 0, "the first is '%s'", parameters[0].string);
        agentd_prepare_error(prepare, 1, "the second is missing");
        agentd_prepare_error(prepare, -1, "the state as such");
        agentd_prepare_error(prepare, 99, "no such parameter");
        return 0;
}

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        agentd_watch_path(w, "/watched");
        agentd_watch_unit(w, "watched.service");
        agentd_watch_bus(w, "type='signal'");
        return strcmp(state->name, "bad") == 0 ? -ENOSYS : 0;
}

#define TYPE(identifier, name_, ...)                                         \
        static const AgentdStateType identifier = {                          \
                .name = (name_), .check = check, .apply = check, __VA_ARGS__ \
        }

TYPE(type_default, "odd-default", .parameters = bad_default);
TYPE(type_sleep, "odd-sleep", .prepare = sleep_prepare);
TYPE(type_write, "odd-write", .prepare = write_prepare);
TYPE(type_crash, "odd-crash", .prepare = crash_prepare);
TYPE(type_exit, "odd-exit", .prepare = exit_prepare);
TYPE(type_fork, "odd-fork", .prepare = fork_prepare);
TYPE(type_talk, "odd-talk", .prepare = talk_prepare);
TYPE(type_eat, "odd-eat", .prepare = eat_prepare);
TYPE(type_heap, "odd-heap", .prepare = heap_prepare);
TYPE(type_silent, "odd-silent", .prepare = silent_prepare);
TYPE(type_loud, "odd-loud", .parameters = one_required, .prepare = loud_prepare);
TYPE(type_watch, "odd-watch", .watch = watch);

AGENTD_MODULE("odd", "1", &type_default, &type_sleep, &type_write, &type_crash, &type_exit, &type_fork,
        &type_talk, &type_eat, &type_heap, &type_silent, &type_loud, &type_watch);
