/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loading roles: a child does the work, under a deadline and limits; the engine gets an image, or a list of errors. */

#include <jansson.h>
#include <systemd/sd-event.h>

#include "image.h"
#include "path-watch.h"

/* How long a load may take, and what it may allocate. */
#define LOAD_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define LOAD_MEMORY_BYTES GIB(4)

/* Files that the engine is told of when a load fails; what is beyond is not watched then. */
#define LOAD_FILES_MAX       100000
#define LOAD_FILES_BYTES_MAX MIB(8)

/* Bytes of an explanation. */
#define LOAD_EXPLANATION_MAX MIB(4)

typedef struct LoadOptions {
        const char *root;              /* "/" or that of --root */
        const char *conf_dir;          /* replaces all conf.d directories; NULL: the usual ones */
        const char *module_dir;        /* searched before the usual ones; NULL: none */
        const char *const *role_files; /* load just these, ended by NULL; NULL: what is in conf.d */
        const char *const *vars;       /* NAME=VALUE, ended by NULL: over those of the host; NULL: none */
        const char *explain;           /* the id of a state that is to be explained; NULL: none */
        bool explain_glob;             /* it may be a glob, for all that match */
        usec_t timeout_usec;           /* 0: LOAD_TIMEOUT_USEC */
        const json_t *
                removals; /* what is to be made of states that are declared no more: id → text, see ImageExtra.removal;
                                 * or NULL */
} LoadOptions;

/* A file or directory that a load read, or looked for in vain: then the identity is all 0. */
typedef struct LoadFile {
        const char *path;
        bool is_directory; /* its entries were looked through */
        PathIdentity identity;
} LoadFile;

typedef struct LoadHandlers {
        /*
         * The load is over. image: the new one, to be referenced if it is kept; or NULL if there were errors.
         * diagnostics: array of { file, line, column, message }, each null if unknown, sorted; may be empty if the
         * loader itself failed, which was logged then.
         */
        void (*on_loaded)(void *userdata, Image *image, json_t *diagnostics);
} LoadHandlers;

typedef struct Load Load;

/* Starts a load. The options must stay until it is over. Return: 0; -EBUSY: too many loaders hang in the kernel; other
 * -errno. */
int load_start(sd_event *event, const LoadOptions *options, const LoadHandlers *handlers, void *userdata,
        Load **ret);

/* Ends it, killing the child if it still runs. One that hangs in the kernel is left to the event loop after a second. */
Load *load_free(Load *load);
DEFINE_CLEANUP(Load *, load_free)

/*
 * For the handler: what is to be watched if the load failed; of one that went well, all of it is in the image. If the
 * loader did not come to its end, it is what it had got to. Valid until load_free(). Returns how many there are.
 */
size_t load_files(const Load *load, const LoadFile **ret);

/* For the handler: what was logged as a warning, an array of strings. No reference is given. */
const json_t *load_warnings(const Load *load);

/*
 * load_former_id() - under which id that is removed which a state was about before, while it is declared about something else
 * @recipe: for that, as in `removals`
 *
 * Return: to be freed; NULL: no memory.
 */
char *load_former_id(const char *id, const char *recipe);

/*
 * For the handler: ids of `removals` that are to be forgotten, an array; once the image is adopted. Of a state of which the recipe
 * is another one now, but that is still about the same, it has load_former_id(). No reference is given.
 */
const json_t *load_forgotten(const Load *load);

/*
 * For the handler: what the loader says of the state that the options ask about, not NUL-terminated; NULL if there were errors.
 * JSON as of docs/api.md, a line for each state; if *ret_found is false there is none, and it is a message that says why.
 * Valid until load_free().
 */
const char *load_explanation(const Load *load, size_t *ret_size, bool *ret_found);

/* ---- The other side: role-load.c ------------------------------------------------------------------------------- */

/* The life of the loader, from the fork to its end. */
_noreturn_ void loader_main(const LoadOptions *options, Image *image, int fd, pid_t engine);

/* "FILE:LINE:COLUMN: error: MESSAGE", allocated. */
char *load_diagnostic_to_string(const json_t *diagnostic);
