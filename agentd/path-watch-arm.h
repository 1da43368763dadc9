/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the two halves of the child share: path-watch-arm.c walks to places, path-watch-arm-tree.c through what lies below
 * some.
 */

#include <limits.h>
#include <sys/stat.h>

#include "path-watch-internal.h"

#define STACKS    4
#define DEPTH_MAX (PATH_MAX / 2 + 1)

/* A directory that is open, and what keeps it or one above it from being watched. */
typedef struct Level {
        uint32_t node;
        uint32_t problems; /* ARM_NO_SPACE, ARM_LIMITED, ARM_FAILED */
        int fd;
} Level;

/* The directories from the root to the place that was walked to last. Paths come in the order of the tree, so that each
 * directory is opened once; where links lead has stacks of its own, so as not to disturb that. */
typedef struct Stack {
        Level levels[DEPTH_MAX];
        size_t n;
} Stack;

typedef enum FoundKind {
        FOUND_NOTHING,
        FOUND_SOMETHING,
        FOUND_LINK, /* at `node`, on the way or at its end */
} FoundKind;

typedef struct Found {
        FoundKind kind;
        uint32_t node;
        struct statx st;       /* of what is at the end of the way; also of a link there */
        bool at_end;           /* st is set */
        char target[PATH_MAX]; /* of the link */
} Found;

typedef struct Arm {
        const ArmSetup *setup;
        WatchTree *tree;
        uint32_t listed;   /* the path that is walked */
        uint32_t problems; /* of its walk */
        bool in_tree;      /* what is walked is below it */
        int error;         /* the first of ARM_FAILED */
        usec_t flushed_usec;
        size_t used;
        uint8_t buffer[ARM_DATAGRAM_MAX] __attribute__((aligned(8)));
        Stack stacks[STACKS];
} Arm;

/* A record for the engine, with its text, if there is one. */
void arm_say(Arm *arm, const ArmRecord *record, const char *text);

/* Notes that the walk of the path does not see all; error: an errno. */
void arm_fail(Arm *arm, int error);

/* There is no directory at the node. What was below has gone with it. */
void arm_set_gone(Arm *arm, uint32_t top);

/*
 * Goes into the directory of a node, whose name is in the one on top of the stack, and watches it.
 *
 * Return: 1; 0 it is no directory (see found); -errno.
 */
int arm_enter(Arm *arm, Stack *stack, uint32_t node, Found *found);

/* All directories below the one on top of the stack. */
void arm_walk_tree(Arm *arm, Stack *stack);
