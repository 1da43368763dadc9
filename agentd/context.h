/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a module's check and apply are given: the worker's side of <agentd/module.h>. One context lives as long as the
 * worker; context_begin() and context_end() bracket each call of a module.
 */

#include <systemd/sd-bus.h>

#include "content.h"
#include "identity.h"
#include "message.h"
#include "module-load.h"
#include "paths.h"
#include "userdb.h"
#include "worker.h"

/* What was read and is to be remembered. */
typedef struct FoundIdentity {
        Identity identity;
        uint32_t good_for_sec; /* 0: nothing */
} FoundIdentity;

/* Starts the commands that decide. */
typedef struct Runner Runner;

/* Files of a tree that are noted one after the other. */
typedef struct Notes {
        size_t state; /* index in the batch */
        size_t n;
        Identity so_far; /* of all that were noted */
        uint32_t good_for_sec;
        bool bad; /* one of them cannot be relied on */
} Notes;

/* Files that take their places together. */
typedef struct Stage Stage;

/* What came of the last command that was a unit: command-message.h. */
typedef struct ReceivedResult ReceivedResult;

struct AgentdContext {
        Stage *stage;
        ReceivedResult *command_result;
        Image *image; /* not owned */
        WorkerKind kind;
        const WorkerPoolOptions *options;    /* not owned */
        Runner *runner;                      /* NULL: none yet */
        char *output, *errors, *explanation; /* of the last command that decided */
        int root_fd;
        bool root_is_host; /* paths are resolved in "/" */
        MessageWriter writer;
        sd_bus *bus;
        UserDb *userdb;
        const char *content_directory; /* below which old content is kept; NULL: none is. Not owned */
        ContentStore *content;         /* NULL before the first */
        PathCache paths;
        PathCache sources; /* in the host's root, whatever is managed */
        int host_fd;       /* that one, if it is not root_fd; opened when needed */
        char name[64];     /* of the user or group that was looked up last */
        char *download_error;

        /* Of the call that is under way. */
        const Module *module; /* that is called, and … */
        const AgentdStateType *type;
        Phase phase;
        unsigned flags;
        bool careful; /* send each result at once */
        size_t n;
        const uint32_t *states; /* indices into the image, by index in the batch */
        bool *finished;
        uint32_t *differences;     /* how many were told; of undo records, in an apply */
        size_t *bytes;             /* … and how large they were */
        bool undo_waits;           /* an undo record was not sent yet */
        usec_t since_usec;         /* when the last state was finished */
        usec_t flushed_usec;       /* when results were sent last */
        int64_t began_nsec;        /* CLOCK_REALTIME_COARSE, by which files are stamped */
        uint32_t began_sec;        /* CLOCK_BOOTTIME */
        FoundIdentity *identities; /* by index in the batch; NULL: nothing yet */
        Notes notes;
        uint64_t device; /* the last that was asked whether its identities can be relied on … */
        bool device_is_known, device_is_good;
};

int context_init(AgentdContext *context, const WorkerSetup *setup, int root_fd);
void context_done(AgentdContext *context);

/* context-stage.c: what is staged takes its place, and its states are finished; or is given up; or is freed. */
void context_flush_stage(AgentdContext *context);
void context_drop_stage(AgentdContext *context);
void context_free_stage(AgentdContext *context);

/* context-edit.c: for AGENTD_REPLACE_REWRITE. Attributes of the old file, which are told; the new one is given all of them; the old
 * one is still there, as it was (or -ESTALE). */
int context_take_attributes(AgentdReplacement *replacement, struct stat *ret_old);
int context_copy_attributes(const PathReplacement *p, int old_fd, const AgentdAttributes *attributes);
int context_is_still(const PathReplacement *p, const struct stat *old);

/* context-paths.c: writes the new file beside the old one, and lets the module finish it. Return: as agentd_replace(). */
int context_fill_replacement(AgentdContext *context, PathReplacement *p, int dir_fd, const char *path,
        const char *name, const AgentdReplacement *replacement);

/* The whole of it, at once. */
int context_replace(AgentdContext *context, const char *path, const AgentdReplacement *replacement);

void context_begin(AgentdContext *context, Phase phase, unsigned flags, const uint32_t *states, size_t n,
        bool *finished, uint32_t *differences, size_t *bytes);

/* Nothing of the state is to be shown. */
bool context_is_sensitive(const AgentdContext *context, size_t i);

/* context-content.c: whether undo data is taken now; sends a record of it as it is. */
bool context_may_undo(const AgentdContext *context, size_t i);
void context_put_undo(AgentdContext *context, size_t i, const char *what, const AgentdValue *old);

/* Before anything is changed: sends what undoes it, so that it is known even if this worker dies in the middle. */
void context_will_change(AgentdContext *context);

/* Fails what the module did not speak of. r: what its callback returned. */
void context_end(AgentdContext *context, int r);

/*
 * context-command-unit.c, context-command-sandbox.c: run a command that context-command.c has found to be well-formed. Both
 * structs are those of today's header, whatever the module was built with; *ret is all zero but for its size, and what it is
 * made to point to stays until the next command. i: index in the batch. Return: as agentd_run_command().
 *
 * context_start_runner() is called before the worker enters its sandbox, and does nothing where no check runs commands.
 *
 * context_before_check() runs that hook of a state, by its index in the image. True: it is to be checked; false: it has its
 * result.
 */
int context_run_in_unit(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret);
int context_run_in_sandbox(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret);
bool context_before_check(AgentdContext *context, uint32_t state, uint64_t run);
int context_start_runner(const WorkerSetup *setup, Runner **ret);
void context_stop_runner(AgentdContext *context);
void context_free_command(AgentdContext *context);

/* context-command-probe.c: whether the program of a command, as its user and in its directory, can be executed. It is not run. */
bool context_can_execute(AgentdContext *context, const AgentdCommand *command);

/* Sends a result that needs no module: of a state by its index in the image. */
void context_result(AgentdContext *context, uint32_t state, Verdict verdict, const char *error);

/* A LOG record. */
void context_log(AgentdContext *context, int level, const char *format, ...) _printf_(3, 4);
