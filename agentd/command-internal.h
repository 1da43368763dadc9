/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of commands share: command.c (what they are), command-output.c (what they say), command-unit.c and
 * command-unit-*.c (as units), command-spawn.c (as children). */

#include <systemd/sd-bus.h>

#include "command.h"
#include "system-bus.h"

/* One of the two pipes. */
typedef struct CommandStream {
        Command *command; /* that it is part of */
        int fd;           /* read end; negative: not captured, or at its end */
        sd_event_source *io;
        bool errors;
        char *data; /* what is kept; its last byte is for the NUL */
        size_t used, allocated;
        bool truncated;
        char line[COMMAND_LOG_LINE_MAX]; /* that has no end yet … */
        size_t line_used;
        bool line_cut;
        char last[256]; /* the last one that says something */
} CommandStream;

/* How far a unit is. */
typedef enum UnitStep {
        UNIT_WAITING, /* for the bus */
        UNIT_ASKED,   /* PID 1 was asked to start it */
        UNIT_UNSURE,  /* … but the answer was lost */
        UNIT_RUNNING,
        UNIT_CLEARING, /* it has ended, and what it has left behind is being killed */
        UNIT_ENDED,    /* what it took is being asked for */
} UnitStep;

/* What PID 1 says of it. */
typedef struct UnitProperties {
        char active_state[24], sub_state[24], load_state[24], result[32];
        int32_t code, status;                        /* as of waitid(2) */
        uint64_t start_usec, exit_usec, active_usec; /* CLOCK_MONOTONIC; 0: never */
        uint64_t memory_peak;
} UnitProperties;

struct Command {
        Commands *commands; /* not a reference */
        Command *next;
        char id[COMMAND_ID_SIZE];
        char *unit_name, *path; /* of the unit, and its object */

        /* Of the spec. */
        int64_t run;
        char *state, *role, *description, *program;
        char **argv, **environment;
        char *user, *group, *directory;
        mode_t umask;
        unsigned flags;
        int input_fd, output_fd;
        size_t output_max;
        usec_t timeout_usec;
        json_t *properties;

        const CommandHandlers *handlers; /* NULL: it was found, or nobody wants to know */
        void *userdata;
        bool found;     /* of a former agentd */
        bool cancelled; /* somebody wants its end */
        bool over;      /* on_finished is being called, or was */
        usec_t asked_usec;

        CommandStream output, errors;
        int write_ends[2]; /* until it runs */
        unsigned log_left; /* lines that may be logged now */
        usec_t log_usec;   /* when that was counted */
        unsigned n_unlogged;
        CommandResult result;
        char *explanation;
        char detail[256]; /* why it could not be run */
        bool stored;      /* the service manager keeps the read ends, under these names: */
        char output_name[32], errors_name[32];

        /* As a unit. */
        UnitStep step;
        bool told;         /* found: its file says what it is for */
        bool known;        /* found: PID 1 says how it is */
        char *slice;       /* "agentd.slice/agentd-backup.slice"; NULL: COMMAND_SLICE */
        unsigned n_asking; /* answers at the end */
        UnitProperties unit;
        sd_bus_slot *match, *call, *call_unit, *call_cpu, *call_memory;

        /* As a child. */
        pid_t pid;
        int error_fd;
        sd_event_source *child, *timer;
        bool timed_out, terminated;
};

struct Commands {
        sd_event *event;
        CommandsOptions options;
        bool units;
        bool stopping; /* none is begun any more */
        Command *commands;
        unsigned n;
        sd_event_source *finish_event; /* deferred: those that are over without anybody having been asked */

        /* As units. */
        SystemBus *system;
        sd_event_source *sweep_timer, *exit_event;
        unsigned n_unread;    /* found, and not known yet */
        unsigned n_releasing; /* answers that nobody needs, but PID 1 needs us for */
        usec_t hold_until_usec;
};

/* command.c */
Command *command_free(Command *command);
DEFINE_CLEANUP(Command *, command_free)

/* Made of nothing but an id; is in the list. */
int command_new(Commands *commands, const char *id, Command **ret);

/* It is over: what is left of its output is read, the result completed and told, the command freed. */
void command_finish(Command *command, AgentdCommandEnd end, int code);

/* The same at the next turn of the event loop. */
void command_finish_later(Command *command, int error, const char *format, ...) _printf_(3, 4);

/* command-output.c */
int command_stream_open(CommandStream *stream, Command *command, int fd, bool errors);
/* Likewise, but nothing is read for now. */
int command_stream_open_paused(CommandStream *stream, Command *command, int fd, bool errors);
void command_stream_resume(CommandStream *stream);
void command_stream_done(CommandStream *stream);
/* Reads what is there now, and says the last words. */
void command_stream_finish(CommandStream *stream);
void command_log_unlogged(Command *command);

/* command-unit.c */
int units_init(Commands *commands);
void units_done(Commands *commands);
int unit_start(Command *command);
void unit_cancel(Command *command);
/* It was told: the unit need not be kept. */
void unit_release(Command *command);

int unit_name(Command *command);
int unit_set_slice(Command *command, const char *slice);
void unit_store_descriptors(Command *command);

/* Something of it runs. */
bool unit_is_populated(const Command *command);

/* command-unit-found.c */

/* Takes over all that there are. Return: 0; -errno. */
int units_find(Commands *commands);

/* A command that was found may still run for the state. */
bool unit_holds(const Command *command, const char *state, usec_t now);

/* Undoes what systemd does to a setting that it writes. */
void unit_unescape(char *text);

/* command-unit-start.c */

/* The call that starts it. Return: 0; -errno, and why for people in the command's detail. */
int unit_start_message(const Command *command, sd_bus *bus, sd_bus_message **ret, char *detail, size_t size);

/* True if agentd-exec has said that it cannot execute the program. */
bool unit_exec_failed(const Command *command);

/* What the exit status means that systemd gives when it could not start a program; NULL: none of these. */
const char *unit_step_failed(int status);

/* Whether there is such a step at all for a command that has properties, a directory, a user or group. */
bool unit_step_is_taken(int status, bool has_properties, bool has_directory, bool has_user);

/* command-unit-read.c */

/* "AGENTD_STATE=…", as in a unit's fields. */
void unit_take_field(Command *command, const char *field, size_t size);

/* Takes what is known of a dictionary of properties: a{sv}. For a command that was found also what it is for. */
int unit_read_properties(Command *command, sd_bus_message *m);

/* command-spawn.c */
int child_start(Command *command);
void child_cancel(Command *command);
/* Kills it without a word. */
void child_kill(Command *command);
