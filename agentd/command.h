/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Programs that agentd runs: the one way, whoever wants them. With systemd each is a transient unit that PID 1 starts,
 * watches and limits (command-unit.c), so that it outlives agentd; without, as in images and containers, a child of ours
 * (command-spawn.c). What comes of them is the same: output, how they ended, what they took.
 *
 * Nothing here blocks, but for the child of command-spawn.c between fork and exec.
 */

#include <jansson.h>
#include <systemd/sd-event.h>

#include "module.h"
#include "util.h"

/* Of units: COMMAND_UNIT_PREFIX ID COMMAND_UNIT_SUFFIX. */
#define COMMAND_UNIT_PREFIX "agentd-command-"
#define COMMAND_UNIT_SUFFIX ".service"
#define COMMAND_SLICE       "agentd.slice"
#define COMMAND_ID_SIZE     17 /* 16 hexadecimal digits, random, and NUL */

/* Limits, over which command_start() refuses. */
#define COMMANDS_MAX           256 /* that run or wait at a time */
#define COMMAND_ARGUMENTS_MAX  4096
#define COMMAND_OUTPUT_DEFAULT MIB(1)
#define COMMAND_OUTPUT_MAX     MIB(16)

/* How long it has after SIGTERM. */
#define COMMAND_STOP_USEC (5 * USEC_PER_SEC)

/* What is read of it, and its place in the journal, is bounded: in lines, and in bytes of one. */
#define COMMAND_LOG_LINE_MAX 2048
#define COMMAND_LOG_BURST    4096 /* lines at once; what is beyond is counted */
#define COMMAND_LOG_PER_SEC  200  /* that it may have more with each second */

/* What it always has in its environment. */
#define COMMAND_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define COMMAND_LANG "LANG=C.UTF-8"

typedef enum CommandFlags {
        COMMAND_SECRET =
                1
                << 0, /* arguments are not shown by us (units can be looked at by everybody), output is not logged */
        COMMAND_QUIET = 1 << 1, /* output is not logged */
        COMMAND_UMASK = 1 << 2, /* umask is given */
        COMMAND_LATE =
                1 << 3, /* it belongs to what has been done, and is begun after commands_stop() as well */
        _COMMAND_FLAGS_ALL = COMMAND_SECRET | COMMAND_QUIET | COMMAND_UMASK | COMMAND_LATE,
} CommandFlags;

/* What is to be run. All is copied, descriptors too; they stay the caller's. */
typedef struct CommandSpec {
        int64_t run;                    /* that it is part of; 0: none */
        const char *state, *role;       /* likewise; NULL */
        const char *description;        /* of the unit; NULL: made of argv */
        const char *const *argv;        /* ended by NULL; argv[0] is an absolute path */
        const char *const *environment; /* "NAME=value", ended by NULL; or NULL */
        int input_fd;                   /* negative: /dev/null */
        int output_fd;                  /* standard output; negative: captured */
        size_t output_max;        /* bytes kept, of output and errors each; 0: COMMAND_OUTPUT_DEFAULT */
        usec_t timeout_usec;      /* USEC_INFINITY: none */
        const char *user, *group; /* name or number; NULL: root, and the user's */
        mode_t umask;
        const char *directory; /* NULL: / */
        const json_t *unit;    /* table of unit properties; NULL: none */
        unsigned flags;        /* CommandFlags */
} CommandSpec;

/* How it ended. Strings and memory are the command's. */
typedef struct CommandResult {
        AgentdCommandEnd end;
        int code;   /* exit status, signal, errno: see AgentdCommandEnd */
        int status; /* as of waitpid(2); if it was not run that which systemd gave it, or 0 */
        const char *output, *errors; /* ended by a NUL that is not counted */
        size_t output_size, errors_size;
        bool truncated;
        usec_t duration_usec;
        uint64_t cpu_usec; /* UINT64_MAX: not known; so is */
        uint64_t memory_max_bytes;
        const char *
                explanation; /* one line of valid UTF-8 for people: "it exited with status 3: cannot open 'x'" */
} CommandResult;

typedef struct Commands Commands;
typedef struct Command Command;

typedef struct CommandHandlers {
        /*
         * It is over, and so is all that it has started. Called from the event loop, once, never from within
         * command_start(). The command is freed when this returns.
         */
        void (*on_finished)(void *userdata, Command *command, const CommandResult *result);
} CommandHandlers;

/* ---- The manager ----------------------------------------------------------------------------------------------- */

typedef enum CommandBackend {
        COMMAND_BACKEND_AUTO, /* units where systemd and its bus are there, otherwise children */
        COMMAND_BACKEND_UNIT,
        COMMAND_BACKEND_SPAWN,
} CommandBackend;

/* A read end that a former agentd had: "command-ID-out" or "command-ID-err". */
typedef struct CommandDescriptor {
        char *name;
        int fd;
} CommandDescriptor;

typedef struct CommandsOptions {
        CommandBackend backend;
        const char *root; /* that children are confined to; "/" */

        /* We are a service, so that the service manager keeps the read ends over a restart. */
        bool keep_descriptors;

        /*
         * Units of a former agentd that still run, or have ended meanwhile, are looked for and taken over: see
         * commands_holds(). on_found is called at the end of each. NULL: they are left alone.
         */
        void (*on_found)(void *userdata, Command *command, const CommandResult *result);

        /* A state that was held is so no longer; or all are known by now. */
        void (*on_released)(void *userdata);
        void *userdata;

        /* Their output; taken, also those that fit to nothing. */
        CommandDescriptor *descriptors;
        size_t n_descriptors;
} CommandsOptions;

/* Return: 0; -errno. The options' root must stay. */
int commands_new(sd_event *event, const CommandsOptions *options, Commands **ret);

/*
 * Commands that are units go on without us, and the next agentd finds them; children are killed. No handler is called.
 */
Commands *commands_free(Commands *commands);
DEFINE_CLEANUP(Commands *, commands_free)

/*
 * We are stopping: no further one is begun (but with COMMAND_LATE), those that run go on. Whoever leaves the event loop after that is not to do so while
 * commands_is_letting_go(), for COMMANDS_LET_GO_USEC at most: units that have ended are being let go. Without commands_stop() it
 * is waited for that when the loop is left, for as long.
 */
#define COMMANDS_LET_GO_USEC (10 * USEC_PER_SEC)
void commands_stop(Commands *commands);
bool commands_is_letting_go(const Commands *commands);

/* True if units are what runs them. */
bool commands_are_units(const Commands *commands);

/*
 * True if a command that was found still runs for this state, so that nobody may begin with it; or if that is not known
 * yet. on_released follows.
 */
bool commands_holds(const Commands *commands, const char *state);

/* So many were found and have not ended. */
unsigned commands_n_found(const Commands *commands);

/*
 * The read ends of commands that go on, for the next program in this process; the caller's. commands_free() is to follow.
 * Return: 0; -ENOMEM.
 */
int commands_take_descriptors(Commands *commands, CommandDescriptor **ret, size_t *ret_n);
void command_descriptors_free(CommandDescriptor *descriptors, size_t n);

/* ---- One command ----------------------------------------------------------------------------------------------- */

/*
 * command_start() - runs a program
 * @ret: is the manager's, valid until on_finished has returned
 *
 * That it cannot be run (no such program, no such user, systemd refuses a property) is a result, not an error.
 *
 * Return: 0; -EINVAL: the spec is not well-formed; -EOPNOTSUPP: unit properties without systemd; -EBUSY: COMMANDS_MAX; -E2BIG:
 *         the arguments are too large; -ECANCELED: after commands_stop(), without COMMAND_LATE; other -errno.
 */
int command_start(Commands *commands, const CommandSpec *spec, const CommandHandlers *handlers,
        void *userdata, Command **ret);

/* Ends it, with all that it has started: SIGTERM, SIGKILL after COMMAND_STOP_USEC. on_finished follows. */
void command_cancel(Command *command);

/* Nobody wants to know its end any more: on_finished is not called. It goes on. */
void command_forget(Command *command);

const char *command_id(const Command *command);
int64_t command_run(const Command *command);         /* 0: none */
const char *command_state(const Command *command);   /* NULL: none */
const char *command_role(const Command *command);    /* likewise */
const char *command_program(const Command *command); /* the basename of argv[0] */

/* How a command ended, for people; command-explain.c. */
typedef struct CommandEnding {
        AgentdCommandEnd end;
        int code;
        bool cancelled;
        usec_t timeout_usec;
        const char *program;
        const char *detail; /* why it was not run or was killed; NULL: the code says it */
        const char *last;   /* the last line of its errors; NULL: there is none, or it is secret */
} CommandEnding;

/* "it exited with status 3: cannot open 'x'": one line of valid UTF-8, to be freed. NULL: out of memory. */
char *command_explain(const CommandEnding *ending);

/* 0; -EINVAL, -E2BIG: what command_start() would say of it. Looks at the spec only. */
int command_spec_check(const CommandSpec *spec);
