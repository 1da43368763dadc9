/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The rooms of the module `file`, which keeps what is at a path as declared:
 *
 *      file.c     parameters, and the callbacks: prepare, watch, check, apply
 *      look.c     what is there now
 *      compare.c  what of it differs, and says so
 *      make.c     what undoes the change, and the change
 *      tree*.c    the same for what lies below a directory; see tree.h
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
        const struct Tree *tree; /* what lies below; NULL: not managed. See tree.h */
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
        bool sync_later; /* the caller syncs the file system */
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

/* Return: 1 equal; 0 not; -errno of reading. size: of fd, as far as it is known. */
int compare_with_file(int fd, off_t size, int source);

/* ---- make.c ---------------------------------------------------------------------------------------------------- */

void record_undo(AgentdContext *c, size_t i, const File *file, const Look *look);

#define STAGED 1

/*
 * @ret_error: for people, where the errno does not say it
 *
 * Return: 0; STAGED if agentd finishes the state; -errno.
 */
int file_make(AgentdContext *c, size_t i, const AgentdState *state, Look *look, const char **ret_error);

/* Of what is there: sets what differs. */
int set_attributes(const File *file, const Look *look, const char **ret_error);

/* The mode that what is there keeps. */
mode_t kept_mode(const Look *look, mode_t mode);

/* With an access control list the group's bits are its mask: kept as a mode they would let the group in. */
bool has_acl(const Look *look);
