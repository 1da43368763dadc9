/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "sandbox.h"
#include "util.h"

/* Bytes of an answer's line at most. */
#define FOREIGN_LINE_MAX MIB(8)

/* Bytes of a line on standard error that are shown, and lines for each request; what is more is counted only. */
#define FOREIGN_ERROR_LINE_MAX  1000
#define FOREIGN_ERROR_LINES_MAX 100

/* Addresses that a program may use, unless the process that starts it has less itself. */
#define FOREIGN_MEMORY_BYTES GIB(1)

/* Where a program runs. */
typedef struct ForeignHost {
        const char *root; /* "/" or that of --root */
        const SandboxOptions
                *sandbox; /* to be entered before the program is; NULL: what starts it is what it gets */
        void (*log)(void *userdata, int level, const char *text); /* one line; NULL: to nobody */
        void *userdata;
        const uint8_t *build_id; /* the one that the program must have to be started; NULL: any */
} ForeignHost;

typedef struct ForeignProcess ForeignProcess;

/*
 * foreign_process_start() - executes a program with pipes for its standard input, output and error
 * @path: as it was found; relative ones are of the current directory
 * @host: not copied
 *
 * It gets a minimal environment, "/" as its directory, and dies with this process. If this process has
 * CAP_DAC_READ_SEARCH and is not root, so has the program.
 *
 * Return: 0; -errno.
 */
int foreign_process_start(const char *path, const ForeignHost *host, ForeignProcess **ret);

/* Kills it. */
ForeignProcess *foreign_process_free(ForeignProcess *process);
DEFINE_CLEANUP(ForeignProcess *, foreign_process_free)

/* Lines on standard error may hold what a state must not show: from now on they are only counted, or shown again. */
void foreign_process_hide_errors(ForeignProcess *process, bool hide);

/*
 * foreign_process_exchange() - writes a request and reads lines until the answer is whole
 * @on_line: is given each line, NUL-terminated, without its end; 1: that was the last one, 0: go on, negative: stop,
 *           with that
 * @deadline_usec: for the request and each line; USEC_INFINITY: none
 *
 * Lines on standard error go to the log.
 * Return: 0; what on_line returned; -EPIPE: the program has ended, *reterr says how; -ETIMEDOUT; -EMSGSIZE: a line is too
 *         long; -EBADMSG: it spoke without being asked; other -errno. *reterr: see foreign_ask(); not set if on_line
 *         failed.
 */
int foreign_process_exchange(ForeignProcess *process, const char *request, size_t size,
        int (*on_line)(void *userdata, const char *line, size_t size), void *userdata, usec_t deadline_usec,
        char **reterr);
