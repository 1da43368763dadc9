/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the engine's side of path-watch.h (path-watch.c), the child's (path-watch-arm*.c) and their tree of names
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
        bool changed : 1; /* listed, and among what is to be told */
        bool tree : 1;    /* a place: all that lies below it counts */
        bool below : 1;   /* a directory in such a tree, found by a child */
        bool unseen : 1;  /* child only: below, and not found again yet */
} WatchNode;

/* The way to a listed path leads, by a link, through this place as well. */
typedef struct WatchLink {
        uint32_t from, to;           /* from == NODE_NONE: dead */
        uint32_t next_from, next_to; /* the lists that begin in the nodes */
        bool confirmed;              /* by the walk that is under way */
} WatchLink;

/* What of a tree is looked into. */
typedef struct WatchScope {
        uint32_t node; /* listed */
        unsigned depth;
        char *exclude;       /* owned: patterns, each ended by a NUL; NULL: none */
        size_t exclude_size; /* with the last NUL */
} WatchScope;

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
        uint32_t n_below;   /* nodes that are below, also of what is there no more */
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
void watch_tree_list(WatchTree *tree, uint32_t node, bool entries, bool all);

/*
 * The node of a directory in a tree, made if need be. parent: the tree's own place, or below it.
 * Return: 0; -ENOMEM; -E2BIG; -EINVAL: it is no name.
 */
int watch_tree_get_below(WatchTree *tree, uint32_t parent, const char *name, size_t length, uint32_t *ret);

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
        ARM_BELOW, /* a directory in a tree: node is the one that it lies in, value its own, the text its name; extra: its length */
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
        const WatchScope *scopes;       /* by node, in this order */
        size_t n_scopes;
        size_t max;
        int inotify_fd, socket_fd;
        bool sweep; /* watches may be left that nobody knows */
        ArmProgress *progress;
        pid_t engine;
} ArmSetup;

_noreturn_ void path_watch_arm_main(const ArmSetup *setup);

/* Whether a directory in a tree is to be watched, for any of the trees that it lies in. */
bool watch_scopes_admit(const WatchTree *tree, const WatchScope *scopes, size_t n_scopes, uint32_t node);

/* ---- The engine ------------------------------------------------------------------------------------------------ */

typedef struct WatchChild WatchChild;

struct WatchChild {
        PathWatch *watch; /* not a reference */
        WatchChild *next; /* of those that are killed */
        pid_t pid;
        int fd;
        ArmProgress *progress;
        usec_t started_usec, killed_usec;
        bool finished; /* it said so */
        bool sweeps;   /* what those before it have left */
        bool hung;
        sd_event_source *io, *exit, *timer;
};
struct PathWatch {
        sd_event *event;
        const PathWatchHandlers *handlers;
        void *userdata;
        int fd, mounts_fd;
        sd_event_source *io, *mounts, *rearm;
        sd_event_source *tell; /* a deferred one: calls the handlers */

        WatchTree *tree;
        PathIdentity *identities; /* by node, until they are compared; NULL */
        uint32_t *indices;        /* in the caller's list, by node */
        WatchScope *scopes;       /* by node, in this order */
        size_t n_scopes;
        uint32_t *changed_nodes; /* that are to be told */
        uint32_t n_changed, n_changed_allocated;
        size_t max, n_invalid;

        WatchChild *child;  /* that arms */
        WatchChild *killed; /* … that did and have not ended yet */
        usec_t started_usec, took_usec;
        uint32_t died_at; /* the path at which a child died last, and how often */
        unsigned n_deaths;
        usec_t left_out_usec; /* when something was left out last */
        bool sweep;
        bool no_space, limited;
        bool room; /* … and then a directory of a tree went */
        int other_error;
        uint32_t other_node;

        uint8_t *held;
        size_t held_size, held_allocated;
        size_t heard;     /* bytes that the child told since events were replayed */
        int32_t *orphans; /* watches without a node, to be removed when no child runs */
        size_t n_orphans, n_orphans_allocated;

        bool announce;        /* the list is new: on_armed() is to be called */
        bool overflow, armed; /* to be told, as is what changed_nodes holds */
        char *error, *told_error;
};

/* Something is to be told, from the event loop: path-watch.c. */

/* What is at a node is different: all paths that lead there. */
void path_watch_note(PathWatch *watch, uint32_t node);
/* A directory in a tree could not be watched, or can be again: the tree is to be walked as a whole. */
void path_watch_dirty_trees(PathWatch *watch, uint32_t node);
/* … or may be, there and anywhere below. */
void path_watch_note_below(PathWatch *watch, uint32_t top);
/* Nobody knows what is different. */
void path_watch_note_overflow(PathWatch *watch);
void path_watch_set_armed(PathWatch *watch);

/* Events: path-watch-event.c. */
int path_watch_on_inotify(sd_event_source *source, int fd, uint32_t revents, void *userdata);
int path_watch_on_mounts(sd_event_source *source, int fd, uint32_t revents, void *userdata);
/* Those that came while a child ran, once more: what it has told meanwhile may be what they are about. */
void path_watch_replay(PathWatch *watch);
void path_watch_drop_events(PathWatch *watch);
/* A watch has lost its node; it is removed when no child runs, which may just have found it to be another's. */
void path_watch_add_orphan(PathWatch *watch, int32_t wd);
/* What was left out as it hung may answer now. */
void path_watch_try_again(PathWatch *watch);

/* The child from outside: path-watch-child.c. */
WatchChild *watch_child_free(WatchChild *child);
DEFINE_CLEANUP(WatchChild *, watch_child_free)
/* Starts one for what is NODE_WORKING. It waits to be let go. Return: 0; -errno. */
int watch_child_fork(PathWatch *watch, WatchChild **ret);
void watch_child_let_go(WatchChild *child);
/* Hears all that it has said so far. Return: 0; -errno. */
int watch_child_drain(PathWatch *watch, WatchChild *child);
/* Kills the one that arms, if there is one; its end is waited for by the event loop. */
void watch_child_give_up(PathWatch *watch);
/* Children that were killed since they hung, and do not end. */
size_t watch_child_count_stuck(const PathWatch *watch);
/* What is dirty becomes work. Return: whether there is any. */
bool watch_tree_take_work(WatchTree *tree);
/* No child runs, and all that was to be done is done. */
void path_watch_finish(PathWatch *watch);
/* Removes the watches that another tree has and ours has not. Return: whether there were any. */
bool path_watch_remove_unused(PathWatch *watch, const WatchTree *old);
/* Lets a child walk what is dirty, in a while. */
void path_watch_schedule(PathWatch *watch);
int path_watch_on_rearm(sd_event_source *source, uint64_t usec, void *userdata);

/* ---- For tests ------------------------------------------------------------------------------------------------- */

/* Called in the child before it looks at a place, or enters a directory on the way to one; NULL. */
extern void (*path_watch_arm_hook)(const char *path);

/* PATH_WATCH_ARM_USEC. */
extern usec_t path_watch_arm_usec;

/* The child that runs; 0. */
pid_t path_watch_child_pid(const PathWatch *watch);

/* No child, no timer, nothing to be told. */
bool path_watch_is_idle(const PathWatch *watch);

/* Bytes of the tree. */
size_t path_watch_size(const PathWatch *watch);
