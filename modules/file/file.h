/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The rooms of the module `file`, which keeps what is at a path as declared:
 *
 *      file.c     parameters, and the callbacks: prepare, watch, check, apply
 *      look.c     what is there now
 *      compare.c  what of it differs, and says so
 *      make.c     what undoes the change, and the change
 *      download.c content from a server
 *
 * check and apply both look and compare, since the host may have changed in between; apply then makes.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <agentd/module.h>

typedef enum Kind {
        KIND_FILE,
        KIND_DIRECTORY,
        KIND_SYMLINK,
        KIND_ABSENT,
        KIND_OTHER, /* of what is there only */
} Kind;

extern const char *const kind_names[];

#define KEEP (-1)

typedef struct File {
        Kind kind;
        const char *content; /* NULL: not managed, or in source */
        size_t content_size;
        const char *source; /* absolute path, NULL: none */
        const char *target;
        int64_t mode; /* KEEP: not managed */
        const char *owner, *group;
        bool make_parents;
        mode_t parents_mode;
        const AgentdDownload *download; /* has the content; NULL: none */
} File;

/* What is at the path, and what should be, once names are ids. */
typedef struct Look {
        const char *path;
        Kind kind;
        struct statx st; /* unless it is absent */
        int dir_fd;      /* -1: the directory is missing */
        const char *name;
        uid_t uid; /* KEEP: not managed */
        gid_t gid;
        bool owner_to_come, group_to_come; /* does not exist yet, a state before this one makes it */
        bool content_differs, mode_differs, owner_differs, group_differs, target_differs;
} Look;

static inline void close_fd(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}

/* Of an int that is initialised: closed at the end of its block, unless it is negative. */
#define CLOSED __attribute__((cleanup(close_fd)))

/* ---- look.c ---------------------------------------------------------------------------------------------------- */

Kind kind_of(mode_t mode);

/* What is wrong with getting at a path, for people. r: -errno. */
const char *explain(int r);

/* Finds ids and what is there. Return: 0; -1 if the state is finished, as it cannot be. */
int file_look(AgentdContext *c, size_t i, const AgentdState *state, Look *look);

/* For reading; a link is not followed. Return: a descriptor; -errno. */
int open_regular(int dir_fd, const char *name);
int open_source(AgentdContext *c, const File *file);

/* ---- compare.c ------------------------------------------------------------------------------------------------- */

/* Reports what differs. Return: 0; -1 if the state is finished. */
int file_compare(AgentdContext *c, size_t i, const File *file, Look *look);

/* Reads what will be shown, malloc'ed; NULL if it is too large. */
char *read_shown(int fd, size_t *ret_size);

/* ---- make.c ---------------------------------------------------------------------------------------------------- */

void record_undo(AgentdContext *c, size_t i, const File *file, const Look *look);

#define STAGED 1

/*
 * @ret_error: for people, where the errno does not say it
 *
 * Return: 0; STAGED if agentd finishes the state; -errno.
 */
int file_make(AgentdContext *c, size_t i, const AgentdState *state, Look *look, const char **ret_error);

/* ---- download.c -------------------------------------------------------------------------------------------------- */

extern const AgentdParameter download_fields[];

/* The parameters, and their indices, for errors. */
typedef struct DownloadValues {
        const AgentdValue *url, *checksum, *sha256, *signature, *public_keys, *fields;
        int url_index, signature_index, fields_index;
} DownloadValues;

/* Return: 0, with NULL in *ret if nothing is to be fetched; -EINVAL: the error was told. */
int download_prepare(AgentdPrepare *prepare, const DownloadValues *values, const AgentdDownload **ret);

/* Compares the content with what is promised of the URL's, and reports it. Return: 0; -1 if the state is finished. */
int compare_download(AgentdContext *c, size_t i, const File *file, Look *look);

/* Fetches it, and puts it in place. @ret_error: valid until the next download. Return: 0; -errno. */
int make_download(AgentdContext *c, size_t i, const char *path, const File *file,
        const AgentdAttributes *attributes, const char **ret_error);
