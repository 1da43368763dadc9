/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the engine's side of path-watch.h (path-watch.c), the child's (path-watch-arm.c) and their tree of names
 * (path-watch-tree.c) share.
 *
 * The tree has a node for each part of each place. A place is a path without links: that of the caller's, and, where a
 * link is met on the way, the one that it leads to. Every directory on the way to a place is watched, so that an event
 * is one look-up: of the watch, then of the name below its node. The child inherits the tree by the fork and adds to its
 * copy; the engine adds the same from the child's records, in the same order, so that both call a node by one number.
 */

#include "path-watch.h"

/* ---- The tree -------------------------------------------------------------------------------------------------- */

#define NODE_NONE 0u
#define NODE_ROOT 1u

enum {
        NODE_LISTED = 1u << 0,  /* a path of the caller's */
        NODE_ENTRIES = 1u << 1, /* … that counts with its entries */
        NODE_END = 1u << 2,     /* a place: listed, or what a link on the way leads to */
        NODE_HOLDS_END =
                1u << 3,        /* directly: it is watched for everything, not only for comings and goings */
        NODE_WHOLE = 1u << 4,   /* whatever happens to its entries counts */
        NODE_ARMED = 1u << 5,   /* listed, and was walked to its end once */
        NODE_DIRTY = 1u << 6,   /* listed, to be walked (again) */
        NODE_WORKING = 1u << 7, /* listed, in the list of the child that runs */
        NODE_KNOWN = 1u << 8,   /* an armed place is here or below: other than before is a change */
        NODE_SPREAD = 1u << 9,  /* all below is dirty already */
        NODE_LEFT_OUT = 1u << 10,  /* listed: it hung, or the child died of it */
        NODE_DEAD = 1u << 11,      /* a mount point that hangs: nobody goes there */
        NODE_MOUNT = 1u << 12,     /* listed: what is there is mounted there */
        NODE_FULL = 1u << 13,      /* child only: watched for everything */
        NODE_IDENTITY = 1u << 14,  /* listed: there is an identity to compare with */
        NODE_UNWATCHED = 1u << 15, /* listed: some watch could not be had */
};

/* 36 bytes: there are two for a path in a directory of its own. */
typedef struct WatchNode {
        uint32_t parent, first_child, next_sibling;
        uint32_t name;      /* offset in the names */
        uint32_t hash_next; /* of the same bucket of (parent, name) */
        uint32_t wd_next;   /* of the same bucket of wd */
        uint32_t links;     /* the first WatchLink from or to it */
        int32_t wd;         /* -1: not watched */
        uint16_t flags;
        uint8_t name_length;
} WatchNode;

/* The way to a listed path leads, by a link, through this place as well. */
typedef struct WatchLink {
        uint32_t from, to;           /* from == NODE_NONE: dead */
        uint32_t next_from, next_to; /* the lists that begin in the nodes */
        bool confirmed;              /* by the walk that is under way */
} WatchLink;

typedef struct WatchTree {
        WatchNode *nodes;
        uint32_t n_nodes, n_nodes_allocated;
        char *names;
        uint32_t n_names, n_names_allocated;
        uint32_t *buckets;    /* of (parent, name); a power of two */
        uint32_t *wd_buckets; /* a power of two */
        uint32_t n_buckets, n_wd_buckets;
        WatchLink *links;
        uint32_t n_links, n_links_allocated; /* the first is never used */
        uint32_t n_links_dead;
        uint32_t n_mapped;  /* nodes with a watch */
        uint32_t n_watches; /* … different ones */
} WatchTree;

int watch_tree_new(WatchTree **ret);
WatchTree *watch_tree_free(WatchTree *tree);
DEFINE_CLEANUP(WatchTree *, watch_tree_free)

/* Gives back what was allocated ahead. */
void watch_tree_trim(WatchTree *tree);

size_t watch_tree_size(const WatchTree *tree); /* bytes */

/* The node of a normalised path, made if need be. Return: 0; -ENOMEM; -E2BIG. */
int watch_tree_get(WatchTree *tree, const char *path, uint32_t *ret);

/* NODE_NONE if there is none. */
uint32_t watch_tree_child(const WatchTree *tree, uint32_t parent, const char *name, size_t length);

/* The path of a node into a buffer of PATH_MAX bytes, which always suffices, as only normalised paths come in. */
const char *watch_tree_path(const WatchTree *tree, uint32_t node, char *buffer);

/* Makes a node a place, and one of the caller's. */
void watch_tree_list(WatchTree *tree, uint32_t node, bool entries);

/*
 * watch_tree_link() - a listed path leads through another place as well
 *
 * Return: 1 it is new; 0 it was known; -ENOMEM.
 */
int watch_tree_link(WatchTree *tree, uint32_t from, uint32_t to, bool whole);

/* The walk is over: links of the path that were not confirmed by it are dead. */
void watch_tree_settle_links(WatchTree *tree, uint32_t from);

/* The next link of a node; link: the one before, 0 at first. Dead ones are left out. 0: no more. */
uint32_t watch_tree_next_link(const WatchTree *tree, uint32_t node, uint32_t link);

/* Notes a watch; -1: none. Return: the one that was there before if no node has it any more; else -1. */
int32_t watch_tree_set_wd(WatchTree *tree, uint32_t node, int32_t wd);

/* The first node with this watch, and the one after it; NODE_NONE. */
uint32_t watch_tree_first_with(const WatchTree *tree, int32_t wd);
uint32_t watch_tree_next_with(const WatchTree *tree, uint32_t node);

/* The next node below top (which comes first), parents before their children; NODE_NONE: no more. */
uint32_t watch_tree_next(const WatchTree *tree, uint32_t top, uint32_t node);

/* Takes over from another tree what is in both: watches, links, what is known. Return: 0; -ENOMEM. */
int watch_tree_adopt(WatchTree *tree, const WatchTree *old);

/* ---- The child ------------------------------------------------------------------------------------------------- */

#define ARM_DATAGRAM_MAX KIB(16)

typedef enum ArmRecordKind {
        ARM_PLACE =
                1, /* node (listed) leads through the place in the text, whose node is value; extra: its length; flags */
        ARM_WATCH, /* node is watched by value, or by none (-1) */
        ARM_DONE,  /* node (listed) is walked; flags; extra: errno */
        ARM_END,
} ArmRecordKind;

enum {
        ARM_DIFFERS = 1u << 0,  /* DONE: from its identity */
        ARM_MOUNT = 1u << 1,    /* DONE: it is a mount point */
        ARM_NO_SPACE = 1u << 2, /* DONE: the host has no more watches for us */
        ARM_LIMITED = 1u << 3,  /* DONE: … nor the caller */
        ARM_DEAD = 1u << 4,     /* DONE: it lies where things hang */
        ARM_FAILED = 1u << 5,   /* DONE: something else, see extra */
        ARM_GONE = 1u << 6,     /* WATCH: it is not there, and so nothing below it */
        ARM_WHOLE = 1u << 7,    /* PLACE: its entries count */
};

/* A datagram is a row of these; text is padded to 4 bytes. */
typedef struct ArmRecord {
        uint32_t kind, node, flags, extra;
        int32_t value;
} ArmRecord;

/* A page that both sides see: where the child is, and since when. Outlives it. */
typedef struct ArmProgress {
        volatile uint32_t node;
        volatile uint64_t since_usec; /* CLOCK_MONOTONIC */
        char place[4096];             /* if it is not the node's own */
} ArmProgress;

typedef struct ArmSetup {
        WatchTree *tree;
        const PathIdentity *identities; /* by node */
        size_t max;
        int inotify_fd, socket_fd;
        bool sweep; /* watches may be left that nobody knows */
        ArmProgress *progress;
        pid_t engine;
} ArmSetup;

_noreturn_ void path_watch_arm_main(const ArmSetup *setup);

/* ---- For tests ------------------------------------------------------------------------------------------------- */

/* Called in the child before each listed path; NULL. */
extern void (*path_watch_arm_hook)(const char *path);

/* PATH_WATCH_ARM_USEC. */
extern usec_t path_watch_arm_usec;

/* The child that runs; 0. */
pid_t path_watch_child_pid(const PathWatch *watch);

/* No child, no timer, nothing to be told. */
bool path_watch_is_idle(const PathWatch *watch);

/* Bytes of the tree. */
size_t path_watch_size(const PathWatch *watch);
