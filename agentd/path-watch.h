/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Watches paths by one inotify descriptor. Watches are armed by a child, which inherits the descriptor, since
 * inotify_add_watch(2) hangs on a dead mount: the engine never looks at a path itself.
 *
 * Watch is dumb: whoever is told looks for himself. A word too many is fine, one missing is not. So a path is reported
 * also when it was different at arming from what was seen before, when a directory above it or a link on the way to it
 * appears, goes, is moved or mounted over, and (as `overflow`) when the kernel's queue overflowed, or when a watch that
 * there was is lost. What never had a watch is told by on_armed() only: else whoever sets the list anew at each report
 * would do so for ever.
 */

#include <systemd/sd-event.h>

#include "util.h"

/* How long the child may take to arm, before it is given up for a path that hangs and the rest is armed without it. */
#define PATH_WATCH_ARM_USEC (5 * USEC_PER_SEC)

/* What was seen of a path; all 0: it was not there. As in an ImageFile. */
typedef struct PathIdentity {
        uint64_t device, inode, size;
        int64_t mtime_nsec, ctime_nsec;
} PathIdentity;

typedef struct PathToWatch {
        const char *path;             /* absolute; copied. Need not exist: it is reported when it appears */
        const PathIdentity *identity; /* NULL: not known, so a difference at arming is not told */
        bool entries;                 /* a directory: whatever happens to its entries counts as well */
        bool tree;                    /* … and to all that lies below it, on the same file system */
        unsigned depth;               /* of a tree: levels below the path; 0: all */
        const char *
                exclude; /* of a tree: what is not looked into, as agentd_watch_tree() has it, a line each; NULL: all is;
                              * copied */
} PathToWatch;

typedef struct PathWatch PathWatch;

typedef struct PathWatchHandlers {
        /* Something happened to paths of the list. From the event loop; once for many events. indices: which of the list, n of
         * them, each once; good until this returns. overflow: nobody knows which; indices then may lack some. */
        void (*on_changed)(void *userdata, const uint32_t *indices, size_t n, bool overflow);

        /* All are armed, or as many as could be; error: one line, or NULL. Once for each list; again if what cannot be
         * watched changes. */
        void (*on_armed)(void *userdata, const char *error);
} PathWatchHandlers;

/* Return: 0; -EMFILE if the host has no inotify instance left; other -errno. */
int path_watch_new(sd_event *event, const PathWatchHandlers *handlers, void *userdata, PathWatch **ret);
PathWatch *path_watch_free(PathWatch *watch);
DEFINE_CLEANUP(PathWatch *, path_watch_free)

/*
 * path_watch_set() - replaces the list of paths
 * @paths: n of them; if one is there twice, only one of its indices is told
 * @max: watches that the kernel is asked for at most
 *
 * What was watched before and is in the new list stays watched all the time. Events between the old arming and the new are
 * not lost. Return: 0; -errno if the child could not be started: then the old list stays.
 */
int path_watch_set(PathWatch *watch, const PathToWatch *paths, size_t n, size_t max);

/* Whether on_armed() of the list is still to come. Until then what has changed may not have been noticed. */
bool path_watch_is_arming(const PathWatch *watch);

/* Tells now what has happened up to now, and not when the event loop comes to it. */
void path_watch_look(PathWatch *watch);

/* Watches that the kernel holds for us now. */
size_t path_watch_count(const PathWatch *watch);
