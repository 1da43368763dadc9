/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What lies below a directory: laid down from a source, given attributes, or removed.
 *
 *      tree-prepare.c   parameters
 *      tree.c           walks both trees side by side, and says what differs
 *      tree-make.c      changes one entry
 */

#include "../common/walk.h"
#include "file.h"

typedef struct Tree {
        const char *source; /* absolute path, NULL: none */
        bool recurse;       /* what is there keeps attributes */
        bool purge;
        bool force;
        int64_t file_mode, directory_mode;              /* KEEP: not managed, or … */
        const char *file_symbolic, *directory_symbolic; /* … said like this */
        uint32_t depth;                                 /* levels below the top */
        uint32_t max_files;
        const char *const *include, *const *exclude; /* NULL: none */
} Tree;

/* Of these many differences paths are shown; a state is told 1000 by agentd. The same of what is undone, where a path takes two
 * records. */
#define LISTED_MAX       900
#define LISTED_BYTES_MAX (128 * 1024)

/* What one walk is for. */
typedef enum Pass {
        PASS_COUNT,     /* nothing but whether it can be done; before an apply */
        PASS_STRUCTURE, /* all but contents, of which it is noted which files they are of */
        PASS_CONTENT,   /* only these */
        PASS_ALL,       /* both */
        PASS_APPLY,     /* looks at an entry, and changes it */
} Pass;

typedef struct TreeWalk {
        AgentdContext *c;
        size_t i;
        const AgentdState *state;
        const File *file;
        const Tree *tree;
        const Look *look; /* at the top, with the ids of owner and group */
        Pass pass;
        bool asks_owner; /* other states own something below */
        bool differs;
        bool changed;
        bool failed; /* the state is finished */
        int64_t now_sec;
        size_t n_seen, n_source;
        size_t n_listed, listed_bytes, n_more;
        char *undone; /* what is removed beyond what is listed: a line each */
        size_t undone_size, undone_allocated;
        size_t n_undone;
        WalkPath path;
} TreeWalk;

/* An entry of the tree, as it is and as the source has it. */
typedef struct TreeEntry {
        const char *name;
        int dir_fd;    /* -1: the directory is missing */
        int source_fd; /* the directory in the source; -1: none */
        Kind is;       /* KIND_ABSENT: it is missing */
        Kind should;   /* KIND_ABSENT: the source has none */
        struct statx st, source_st;
} TreeEntry;

/* Indices in the list of parameters. */
struct TreeParameters {
        int recurse, purge, force, file_mode, directory_mode, max_depth, max_files, include, exclude, source;
};

/* tree-prepare.c. *ret is NULL if nothing is said of what lies below. Return: 0; -EINVAL, which was said. */
int tree_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const struct TreeParameters *at, const Tree **ret);

void tree_watch(AgentdWatch *watch, const char *name, const Tree *tree);

/* tree.c: as the callbacks of the type, for one state of which the top was looked at. The state is finished afterwards. */
void tree_check(AgentdContext *c, size_t i, const AgentdState *state, Look *look);
void tree_apply(AgentdContext *c, size_t i, const AgentdState *state, Look *look);

/* Fails the state. Return: -1. */
int tree_fail(TreeWalk *w, const char *what, int error);
int tree_fail_words(TreeWalk *w, const char *what, const char *why);

/* The mode that is declared for what has this mode; KEEP. */
int64_t tree_mode(const Tree *tree, Kind kind, mode_t mode);

/* tree-make.c. Return: 0; -1 if the state is finished. */
int tree_make_directory(TreeWalk *w, const TreeEntry *entry);
int tree_make_file(TreeWalk *w, const TreeEntry *entry, int source_fd);
int tree_make_symlink(TreeWalk *w, const TreeEntry *entry, const char *target);
int tree_set_attributes(TreeWalk *w, const TreeEntry *entry);
int tree_remove(TreeWalk *w, const TreeEntry *entry);
