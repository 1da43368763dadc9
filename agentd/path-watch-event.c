/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <limits.h>
#include <sys/inotify.h>
#include <time.h>

#include "mount-table.h"
#include "path-watch-internal.h"

#define READ_BYTES       KIB(64)
#define READ_BURST       16 /* reads before others get their turn */
#define HELD_BYTES_MAX   MIB(1)
#define HUNG_RETRY_USEC  USEC_PER_MINUTE
#define STRUCTURE_EVENTS (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE)
#define SELF_EVENTS      (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

/* An event that may concern what the child has found but not told yet. */
typedef struct HeldEvent {
        uint32_t mask;
        int32_t wd;
        uint32_t n_matched; /* nodes that it concerned already */
        uint32_t length;    /* of the name that follows, padded to 4 bytes */
} HeldEvent;
/* ---- What is dirty --------------------------------------------------------------------------------------------- */

static void make_dirty(PathWatch *watch, uint32_t node) {
        uint16_t *flags = &watch->tree->nodes[node].flags;

        if (((*flags & NODE_LISTED) && !(*flags & NODE_LEFT_OUT)) || watch->tree->nodes[node].below)
                *flags |= NODE_DIRTY;
}

/* All paths that lead through a node are to be walked again. */
static void spread_dirt(PathWatch *watch, uint32_t top) {
        WatchTree *tree = watch->tree;

        if (tree->nodes[top].flags & NODE_SPREAD)
                return;
        for (uint32_t node = top; node != NODE_NONE; node = watch_tree_next(tree, top, node)) {
                tree->nodes[node].flags |= NODE_SPREAD;
                /* Who walks a tree comes to all that is in it. */
                if (node == top || !tree->nodes[node].below || (tree->nodes[node].flags & NODE_LISTED))
                        make_dirty(watch, node);
                for (uint32_t link = 0; (link = watch_tree_next_link(tree, node, link)) != 0;)
                        make_dirty(watch, tree->links[link].from);
        }
        path_watch_schedule(watch);
}

/* What hung may answer now; but while somebody hangs there, nobody else is sent. */
void path_watch_try_again(PathWatch *watch) {
        WatchTree *tree = watch->tree;

        if (watch_child_count_stuck(watch) > 0)
                return;
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint16_t *flags = &tree->nodes[i].flags;

                if (*flags & NODE_LEFT_OUT)
                        *flags |= NODE_DIRTY;
                *flags &= (uint16_t) ~(NODE_DEAD | NODE_LEFT_OUT);
        }
        path_watch_schedule(watch);
}

void path_watch_add_orphan(PathWatch *watch, int32_t wd) {
        int32_t *orphans;

        if (wd < 0)
                return;
        if (watch->n_orphans >= watch->n_orphans_allocated) {
                size_t n = MAX(watch->n_orphans_allocated * 2, (size_t) 16);

                orphans = realloc(watch->orphans, n * sizeof(*orphans));
                if (!orphans) {
                        watch->sweep = true;
                        return;
                }
                watch->orphans = orphans;
                watch->n_orphans_allocated = n;
        }
        watch->orphans[watch->n_orphans++] = wd;
}

/* ---- Events ---------------------------------------------------------------------------------------------------- */

static void forget_wd(PathWatch *watch, int32_t wd) {
        uint32_t node;

        while ((node = watch_tree_first_with(watch->tree, wd)) != NODE_NONE) {
                (void) watch_tree_set_wd(watch->tree, node, -1);
                if (watch->tree->nodes[node].below && (watch->no_space || watch->limited)) {
                        watch->room = true;
                        path_watch_schedule(watch);
                }
        }
}

/* The node below a watched one that an event is about; NODE_NONE if it is about none that matters. */
static uint32_t child_of_event(
        const WatchTree *tree, uint32_t node, uint32_t mask, const char *name, size_t length) {
        uint32_t child = watch_tree_child(tree, node, name, length);

        /* Of what is only on the way it matters whether it comes or goes. */
        if (child != NODE_NONE && !(mask & STRUCTURE_EVENTS) && !(tree->nodes[child].flags & NODE_END))
                return NODE_NONE;
        return child;
}

/* Whether an event of the watch of a node concerns it, or (child) one below. */
static bool event_concerns(
        const WatchTree *tree, uint32_t node, uint32_t mask, const char *name, uint32_t *ret_child) {
        uint16_t flags = tree->nodes[node].flags;

        *ret_child = NODE_NONE;
        if (!*name)
                return (mask & SELF_EVENTS) || (flags & (NODE_WHOLE | NODE_END));
        *ret_child = child_of_event(tree, node, mask, name, strlen(name));
        return *ret_child != NODE_NONE || (flags & NODE_WHOLE);
}

/* What is noted is told; what moved is walked again. */
static void note_event(PathWatch *watch, uint32_t node, uint32_t child, uint32_t mask, bool self) {
        bool whole = watch->tree->nodes[node].flags & NODE_WHOLE;

        if (self && (mask & SELF_EVENTS))
                path_watch_note_below(watch, node);
        else if (self || whole)
                path_watch_note(watch, node);
        if (child == NODE_NONE)
                return;
        if (mask & STRUCTURE_EVENTS)
                path_watch_note_below(watch, child);
        else
                path_watch_note(watch, child);
}

/*
 * A directory that is new in a tree is to be watched. While a child runs no node can be made, as it numbers its own: then the one
 * that it lies in is walked again.
 */
static void add_directory(PathWatch *watch, uint32_t node, const char *name) {
        uint32_t child;

        if (watch->child || watch_tree_get_below(watch->tree, node, name, strlen(name), &child) < 0)
                child = node;
        make_dirty(watch, child);
        path_watch_schedule(watch);
}

/*
 * Return: how many nodes it concerns.
 * @done: if these are no more than before, it was told already
 */
static uint32_t handle_event(PathWatch *watch, int32_t wd, uint32_t mask, const char *name, uint32_t done) {
        WatchTree *tree = watch->tree;
        uint32_t n = 0, child;

        for (uint32_t node = watch_tree_first_with(tree, wd); node != NODE_NONE;
                node = watch_tree_next_with(tree, node)) {
                if (!event_concerns(tree, node, mask, name, &child))
                        continue;
                if (!*name && (mask & SELF_EVENTS))
                        spread_dirt(watch, node);
                if (child != NODE_NONE && (mask & STRUCTURE_EVENTS))
                        spread_dirt(watch, child);
                if (*name && (mask & (IN_CREATE | IN_MOVED_TO)) && (mask & IN_ISDIR) &&
                        (tree->nodes[node].tree || tree->nodes[node].below))
                        add_directory(watch, node, name);
                n++;
        }
        if (n > done)
                for (uint32_t node = watch_tree_first_with(tree, wd); node != NODE_NONE;
                        node = watch_tree_next_with(tree, node))
                        if (event_concerns(tree, node, mask, name, &child))
                                note_event(watch, node, child, mask, !*name);
        if (mask & IN_IGNORED)
                forget_wd(watch, wd);
        return n;
}

static void hold_event(PathWatch *watch, int32_t wd, uint32_t mask, const char *name, uint32_t n_matched) {
        size_t length = strlen(name), size = sizeof(HeldEvent) + ((length + 4) & ~(size_t) 3);
        HeldEvent event = { .mask = mask, .wd = wd, .n_matched = n_matched, .length = (uint32_t) length };

        if (watch->held_size + size > watch->held_allocated) {
                size_t n = MAX(watch->held_allocated * 2, KIB(4));
                uint8_t *p = n <= HELD_BYTES_MAX ? realloc(watch->held, n) : NULL;

                /* Then it is as if the kernel's queue had overflowed. */
                if (!p) {
                        spread_dirt(watch, NODE_ROOT);
                        path_watch_note_overflow(watch);
                        watch->held_size = 0;
                        return;
                }
                watch->held = p;
                watch->held_allocated = n;
        }
        memset(watch->held + watch->held_size, 0, size);
        memcpy(watch->held + watch->held_size, &event, sizeof(event));
        memcpy(watch->held + watch->held_size + sizeof(event), name, length);
        watch->held_size += size;
}

/* What the child has told meanwhile may be what they are about. */
void path_watch_replay(PathWatch *watch) {
        watch->heard = 0;
        for (size_t i = 0; i < watch->held_size;) {
                HeldEvent event;

                memcpy(&event, watch->held + i, sizeof(event));
                event.n_matched = handle_event(watch, event.wd, event.mask,
                        (const char *) watch->held + i + sizeof(event), event.n_matched);
                /* The kernel does not use the number again for long, so who has it now is wrong. */
                if (event.mask & IN_IGNORED)
                        event.n_matched = 0;
                memcpy(watch->held + i, &event, sizeof(event));
                i += sizeof(event) + ((event.length + 4) & ~3u);
        }
}

void path_watch_drop_events(PathWatch *watch) {
        free(watch->held);
        watch->held = NULL;
        watch->held_size = watch->held_allocated = 0;
}

static void take_event(PathWatch *watch, const struct inotify_event *event) {
        char name[NAME_MAX + 1] = "";
        uint32_t n;

        if (event->mask & IN_Q_OVERFLOW) {
                spread_dirt(watch, NODE_ROOT);
                path_watch_note_overflow(watch);
                return;
        }
        if (event->len > 0)
                (void) snprintf(
                        name, sizeof(name), "%.*s", (int) MIN(event->len, (uint32_t) NAME_MAX), event->name);

        n = handle_event(watch, event->wd, event->mask, name, 0);
        if (watch->child)
                hold_event(watch, event->wd, event->mask, name, event->mask & IN_IGNORED ? 0 : n);
        else if (watch_tree_first_with(watch->tree, event->wd) == NODE_NONE && !(event->mask & IN_IGNORED))
                /* Of a child that was killed. */
                (void) inotify_rm_watch(watch->fd, event->wd);
}

int path_watch_on_inotify(
        _unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata) {
        static uint8_t buffer[READ_BYTES] __attribute__((aligned(8)));
        PathWatch *watch = userdata;

        for (unsigned i = 0; i < READ_BURST; i++) {
                ssize_t n = read(watch->fd, buffer, sizeof(buffer));
                size_t size = n > 0 ? (size_t) n : 0;

                if (size == 0)
                        break;
                for (size_t at = 0; at + sizeof(struct inotify_event) <= size;) {
                        const struct inotify_event *event = (const void *) (buffer + at);

                        at += sizeof(*event) + event->len;
                        if (at <= size)
                                take_event(watch, event);
                }
        }
        return 0;
}

/* Not each time that something is mounted: whoever tries may hang for seconds. */
static bool may_try_again(const PathWatch *watch) {
        const WatchTree *tree = watch->tree;
        char path[PATH_MAX];

        if (now_usec(CLOCK_MONOTONIC) >= watch->left_out_usec + HUNG_RETRY_USEC)
                return true;
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++)
                if (tree->nodes[i].flags & NODE_DEAD) {
                        _cleanup_free_ char *mount = NULL;

                        /* What hung is mounted no more. */
                        if (mount_point_of(NULL, watch_tree_path(tree, i, path), &mount) >= 0 &&
                                !streq(mount, path))
                                return true;
                }
        return false;
}

/* Nothing of inotify tells that something was mounted over a directory. */
int path_watch_on_mounts(
        _unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata) {
        PathWatch *watch = userdata;

        if (may_try_again(watch))
                path_watch_try_again(watch);
        watch->tree->nodes[NODE_ROOT].flags &= (uint16_t) ~NODE_SPREAD;
        spread_dirt(watch, NODE_ROOT);
        return 0;
}
