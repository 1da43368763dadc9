/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Foreign modules: programs that speak lines on standard input and output, docs/foreign-modules.md says which. To the
 * rest of agentd they are modules like all others, with declarations made of what the program says of itself.
 *
 *      foreign-protocol.c      what reading its lines has in common; no processes
 *      foreign-hello.c         lines of a program → declarations
 *      foreign-answer.c        … → reports about states, in JSON; foreign-shell.c: of shells
 *      foreign-request.c       requests and parameters → lines for a program
 *      foreign-process.c       the program: starts it, writes to it, reads lines of it
 *      foreign.c               opens a module; check and apply
 *      foreign-prepare.c       prepare and watch, in the loader
 *
 * What a program says is parsed in the loader and in workers, never in the engine.
 */

#include "foreign-process.h"
#include "foreign-protocol.h"
#include "module-load.h"

/* How long a program may take to say what it is. */
#define FOREIGN_HELLO_USEC (5 * USEC_PER_SEC)

/* … and for each word while states are prepared. In check and apply the timeouts of the states hold. */
#define FOREIGN_PREPARE_USEC (10 * USEC_PER_SEC)

struct Foreign {
        Arena arena; /* of the declarations */
        ForeignHost host;
        ForeignEncoding encoding;
        ForeignType *types;      /* by index of the module's types */
        ForeignProcess *process; /* NULL: not running */
};

/* A state's private data, in the image. */
typedef struct ForeignData {
        uint32_t encoding;
        uint32_t size;
        char parameters[]; /* as foreign_write_parameters() wrote them, without a terminator */
} ForeignData;

/* True if a file of this name can be such a module: that of a module, without an ending. */
bool foreign_name_is_good(const char *file);

/*
 * foreign_open() - starts a program and asks what it declares
 * @host:   copied; what it points to must outlive the module
 * @reterr: allocated: why it is refused, in one line without the path
 *
 * Return: as module_open(); -ESTALE, without a word, if it is not the one that the host wants; -ETIMEDOUT, -EPIPE, -EBADMSG if it does not answer as it should.
 */
int foreign_open(const char *path, const ForeignHost *host, Module **ret, char **reterr);

/* Ends the program, if it runs; for module_close(). */
Foreign *foreign_free(Foreign *foreign);

/* module_open() or foreign_open(), by the name of the file. */
int module_open_any(const char *path, const ForeignHost *host, Module **ret, char **reterr);

/* What is particular about one of the module's types. */
const ForeignType *foreign_type(const Module *module, const AgentdStateType *type);

/*
 * foreign_ask() - sends one request, starting the program if it does not run, and reads the answer
 * @answer:   is told each line
 * @deadline_usec: for each line of the answer; USEC_INFINITY: none
 *
 * Return: 0 the answer is whole; -EPIPE the program has ended; -ETIMEDOUT; -EBADMSG; other -errno. On failure *reterr
 *         says what happened, as what follows "program 'PATH' ", and the program does not run any more.
 */
int foreign_ask(const Module *module, const char *request, size_t size, ForeignAnswer *answer,
        usec_t deadline_usec, char **reterr);
