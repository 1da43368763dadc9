/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "log.h"
#include "mount-table.h"
#include "path-watch-internal.h"
#include "paths.h"

#define REARM_USEC       (50 * USEC_PER_MSEC) /* between the starts of two children */
#define REARM_USEC_MAX   USEC_PER_SEC         /* … if each works for long */
#define REARM_SHARE      4                    /* of the time, they work one part in so many */
#define RETRY_USEC       USEC_PER_SEC         /* if one could not be started */
#define STUCK_MAX        4                    /* children that do not end; then what hangs is left alone */
#define STUCK_USEC       USEC_PER_SEC         /* who takes that long to die was stuck */
#define FREE_USEC        USEC_PER_SEC         /* how long children are waited for in the end */
#define DEATHS_MAX       3                    /* of children, before they have begun */
#define READ_BYTES       KIB(64)
#define READ_BURST       16 /* reads before others get their turn */
#define HELD_BYTES_MAX   MIB(1)
#define STRUCTURE_EVENTS (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE)
#define SELF_EVENTS      (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

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

/* An event that may concern what the child has found but not told yet. */
typedef struct HeldEvent {
        uint32_t mask;
        int32_t wd;
        uint32_t n_matched; /* nodes that it concerned already */
        uint32_t length;    /* of the name that follows, padded to 4 bytes */
} HeldEvent;

struct PathWatch {
        sd_event *event;
        const PathWatchHandlers *handlers;
        void *userdata;
        int fd, mounts_fd;
        sd_event_source *io, *mounts, *rearm;
        sd_event_source *tell; /* a deferred one: calls the handlers */

        WatchTree *tree;
        PathIdentity *identities; /* by node, until they are compared; NULL */
        size_t max, n_invalid;

        WatchChild *child;  /* that arms */
        WatchChild *killed; /* … that did and have not ended yet */
        usec_t started_usec, took_usec;
        uint32_t died_at; /* the path at which a child died last, and how often */
        unsigned n_deaths;
        bool sweep;
        bool no_space, limited;
        int other_error;
        uint32_t other_node;

        uint8_t *held;
        size_t held_size, held_allocated;
        size_t heard;     /* bytes that the child told since events were replayed */
        int32_t *orphans; /* watches without a node, to be removed when no child runs */
        size_t n_orphans, n_orphans_allocated;

        bool announce;                 /* the list is new: on_armed() is to be called */
        bool changed, overflow, armed; /* to be told */
        char *error, *told_error;
};

usec_t path_watch_arm_usec = PATH_WATCH_ARM_USEC;

static void schedule(PathWatch *watch);

/* ---- Telling --------------------------------------------------------------------------------------------------- */

static void tell(PathWatch *watch) {
        (void) sd_event_source_set_enabled(watch->tell, SD_EVENT_ONESHOT);
}

static void set_changed(PathWatch *watch, bool overflow) {
        watch->changed = true;
        watch->overflow |= overflow;
        tell(watch);
}

static int on_tell(_unused_ sd_event_source *source, void *userdata) {
        PathWatch *watch = userdata;

        /* Either handler may free us. */
        if (watch->armed) {
                _cleanup_free_ char *error = TAKE_PTR(watch->error);

                watch->armed = false;
                if (watch->changed)
                        tell(watch);
                watch->handlers->on_armed(watch->userdata, error);
        } else if (watch->changed) {
                bool overflow = watch->overflow;

                watch->changed = watch->overflow = false;
                watch->handlers->on_changed(watch->userdata, overflow);
        }
        return 0;
}

/* One line, of all that is not watched; NULL: all is, or there is no memory. */
static char *describe_error(const PathWatch *watch) {
        const WatchTree *tree = watch->tree;
        size_t n = 0, n_missing = watch->n_invalid, n_hung = 0;
        uint32_t hung = NODE_NONE;
        char path[PATH_MAX], *text = NULL;
        size_t size = 0;
        FILE *f;

        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint32_t flags = tree->nodes[i].flags;

                if (!(flags & NODE_LISTED))
                        continue;
                n++;
                if (!(flags & (NODE_LEFT_OUT | NODE_UNWATCHED)))
                        continue;
                n_missing++;
                if (!(flags & NODE_LEFT_OUT))
                        continue;
                n_hung++;
                hung = hung ?: i;
        }
        if (n_missing == 0)
                return NULL;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;
        fprintf(f, "%zu of %zu paths %s not watched", n_missing, n + watch->n_invalid,
                n_missing == 1 ? "is" : "are");
        if (watch->no_space)
                fprintf(f, "; the host has no inotify watches left, raise fs.inotify.max_user_watches");
        if (watch->limited)
                fprintf(f, "; the limit of %zu watches is reached", watch->max);
        if (n_hung > 0) {
                fprintf(f, "; '%s'", watch_tree_path(tree, hung, path));
                if (n_hung > 1)
                        fprintf(f, " and %zu more", n_hung - 1);
                fprintf(f, " did not answer");
        }
        if (watch->other_error != 0) {
                fputs("; ", f);
                if (watch->other_node != NODE_NONE)
                        fprintf(f, "'%s': ", watch_tree_path(tree, watch->other_node, path));
                fputs(strerror(watch->other_error), f);
        }
        if (watch->n_invalid > 0)
                fprintf(f, "; %zu %s not absolute and without '..'", watch->n_invalid,
                        watch->n_invalid == 1 ? "is" : "are");
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

/* After each arming; what the list's owner was told already is not told again. */
static void set_armed(PathWatch *watch) {
        char *error = describe_error(watch);

        if (!watch->announce && streq_ptr(error, watch->told_error)) {
                free(error);
                return;
        }
        watch->announce = false;
        free(watch->told_error);
        watch->told_error = error ? strdup(error) : NULL;
        free(watch->error);
        watch->error = error;
        watch->armed = true;
        tell(watch);
}

/* ---- What is dirty --------------------------------------------------------------------------------------------- */

static void make_dirty(PathWatch *watch, uint32_t node) {
        uint16_t *flags = &watch->tree->nodes[node].flags;

        if ((*flags & NODE_LISTED) && !(*flags & NODE_LEFT_OUT))
                *flags |= NODE_DIRTY;
}

/* All paths that lead through a node are to be walked again. */
static void spread_dirt(PathWatch *watch, uint32_t top) {
        WatchTree *tree = watch->tree;

        if (tree->nodes[top].flags & NODE_SPREAD)
                return;
        for (uint32_t node = top; node != NODE_NONE; node = watch_tree_next(tree, top, node)) {
                tree->nodes[node].flags |= NODE_SPREAD;
                make_dirty(watch, node);
                for (uint32_t link = 0; (link = watch_tree_next_link(tree, node, link)) != 0;)
                        make_dirty(watch, tree->links[link].from);
        }
        schedule(watch);
}

/* Children that were killed since they hung, and do not end. */
static size_t count_stuck(const PathWatch *watch) {
        size_t n = 0;

        for (const WatchChild *child = watch->killed; child; child = child->next)
                n += child->hung;
        return n;
}

/* What hung may answer now; but while somebody hangs there, nobody else is sent. */
static void try_hung_again(PathWatch *watch) {
        WatchTree *tree = watch->tree;

        if (count_stuck(watch) > 0)
                return;
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint16_t *flags = &tree->nodes[i].flags;

                if (*flags & NODE_LEFT_OUT)
                        *flags |= NODE_DIRTY;
                *flags &= (uint16_t) ~(NODE_DEAD | NODE_LEFT_OUT);
        }
        schedule(watch);
}

static void add_orphan(PathWatch *watch, int32_t wd) {
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

        while ((node = watch_tree_first_with(watch->tree, wd)) != NODE_NONE)
                (void) watch_tree_set_wd(watch->tree, node, -1);
}

/*
 * Return: how many nodes it concerns.
 * @done: so many were told of it before, so that nothing happens if they are all
 */
static uint32_t handle_event(PathWatch *watch, int32_t wd, uint32_t mask, const char *name, uint32_t done) {
        WatchTree *tree = watch->tree;
        size_t length = strlen(name);
        uint32_t n = 0;

        for (int round = 0; round < 2; round++) {
                /* First they are counted. */
                if (round == 1 && n <= done)
                        return n;
                for (uint32_t node = watch_tree_first_with(tree, wd); node != NODE_NONE;
                        node = watch_tree_next_with(tree, node)) {
                        uint16_t flags = tree->nodes[node].flags;
                        uint32_t child;

                        if (length == 0) {
                                if (!(mask & SELF_EVENTS) && !(flags & (NODE_WHOLE | NODE_END)))
                                        continue;
                                if (round == 0) {
                                        n++;
                                        continue;
                                }
                                if (mask & SELF_EVENTS)
                                        spread_dirt(watch, node);
                                set_changed(watch, false);
                                continue;
                        }

                        child = watch_tree_child(tree, node, name, length);
                        if (child != NODE_NONE && !(mask & STRUCTURE_EVENTS) &&
                                !(tree->nodes[child].flags & NODE_END))
                                child = NODE_NONE;
                        if (child == NODE_NONE && !(flags & NODE_WHOLE))
                                continue;
                        if (round == 0) {
                                n++;
                                continue;
                        }
                        if (child != NODE_NONE && (mask & STRUCTURE_EVENTS))
                                spread_dirt(watch, child);
                        set_changed(watch, false);
                }
        }
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
                        set_changed(watch, true);
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
static void replay_events(PathWatch *watch) {
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

static void drop_events(PathWatch *watch) {
        free(watch->held);
        watch->held = NULL;
        watch->held_size = watch->held_allocated = 0;
}

static void take_event(PathWatch *watch, const struct inotify_event *event) {
        char name[NAME_MAX + 1] = "";
        uint32_t n;

        if (event->mask & IN_Q_OVERFLOW) {
                spread_dirt(watch, NODE_ROOT);
                set_changed(watch, true);
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

static int on_inotify(
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

/* Nothing of inotify tells that something was mounted over a directory. */
static int on_mounts(
        _unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata) {
        PathWatch *watch = userdata;

        try_hung_again(watch);
        watch->tree->nodes[NODE_ROOT].flags &= (uint16_t) ~NODE_SPREAD;
        spread_dirt(watch, NODE_ROOT);
        return 0;
}

/* ---- What the child says --------------------------------------------------------------------------------------- */

static int handle_place(PathWatch *watch, const ArmRecord *record, const char *text) {
        WatchTree *tree = watch->tree;
        uint32_t place;
        int r;

        if (text[0] != '/' || strlen(text) != record->extra)
                return -EBADMSG;
        r = watch_tree_get(tree, text, &place);
        if (r < 0)
                return r;
        if (place != (uint32_t) record->value)
                return -EBADMSG;
        /* What was spread over all below did not reach this. */
        for (uint32_t node = place; node != NODE_NONE; node = tree->nodes[node].parent)
                tree->nodes[node].flags &= (uint16_t) ~NODE_SPREAD;
        r = watch_tree_link(tree, record->node, place, record->flags & ARM_WHOLE);
        if (r > 0 && (tree->nodes[record->node].flags & NODE_ARMED))
                set_changed(watch, false);
        return r < 0 ? r : 0;
}

static void handle_watch(PathWatch *watch, const ArmRecord *record) {
        WatchTree *tree = watch->tree;
        uint32_t top = record->node;

        if (tree->nodes[top].flags & NODE_KNOWN)
                set_changed(watch, false);
        if (record->flags & ARM_GONE)
                for (uint32_t node = top; node != NODE_NONE; node = watch_tree_next(tree, top, node))
                        add_orphan(watch, watch_tree_set_wd(tree, node, -1));
        else
                add_orphan(watch, watch_tree_set_wd(tree, top, MAX(record->value, -1)));
}

/* Being other than it was is a change from now on, for all that is on the way to here. */
static void make_known(WatchTree *tree, uint32_t node) {
        for (; node != NODE_NONE && !(tree->nodes[node].flags & NODE_KNOWN); node = tree->nodes[node].parent)
                tree->nodes[node].flags |= NODE_KNOWN;
}

static void handle_done(PathWatch *watch, const ArmRecord *record) {
        WatchTree *tree = watch->tree;
        WatchNode *node = &tree->nodes[record->node];
        uint16_t was = node->flags;

        node->flags &= (uint16_t) ~(NODE_WORKING | NODE_UNWATCHED | NODE_MOUNT | NODE_IDENTITY);
        if (record->flags & ARM_MOUNT)
                node->flags |= NODE_MOUNT;
        if (record->flags & ARM_DEAD)
                node->flags |= NODE_LEFT_OUT;
        if (record->flags & (ARM_NO_SPACE | ARM_LIMITED | ARM_FAILED)) {
                node->flags |= NODE_UNWATCHED;
                watch->no_space |= record->flags & ARM_NO_SPACE;
                watch->limited |= record->flags & ARM_LIMITED;
                if ((record->flags & ARM_FAILED) && watch->other_error == 0 && record->extra > 0 &&
                        record->extra < 4096) {
                        watch->other_error = (int) record->extra;
                        watch->other_node = record->node;
                }
        }

        /* What was watched and is not any more: from now on nobody knows. */
        if ((was & NODE_ARMED) && !(was & (NODE_UNWATCHED | NODE_LEFT_OUT)) &&
                (node->flags & (NODE_UNWATCHED | NODE_LEFT_OUT)))
                set_changed(watch, true);
        if ((record->flags & ARM_DIFFERS) || ((was & NODE_ARMED) && ((was ^ node->flags) & NODE_MOUNT)))
                set_changed(watch, false);
        node->flags |= NODE_ARMED;

        watch_tree_settle_links(tree, record->node);
        make_known(tree, record->node);
        for (uint32_t link = 0; (link = watch_tree_next_link(tree, record->node, link)) != 0;)
                if (tree->links[link].from == record->node)
                        make_known(tree, tree->links[link].to);
}

static int handle_datagram(PathWatch *watch, WatchChild *child, const uint8_t *data, size_t size) {
        size_t at = 0;
        int r = 0;

        while (at < size) {
                char text[PATH_MAX];
                ArmRecord record;
                bool listed;

                if (size - at < sizeof(record))
                        return -EBADMSG;
                memcpy(&record, data + at, sizeof(record));
                at += sizeof(record);
                if (record.kind == ARM_END) {
                        child->finished = true;
                        continue;
                }
                if (record.node < NODE_ROOT || record.node >= watch->tree->n_nodes)
                        return -EBADMSG;
                listed = watch->tree->nodes[record.node].flags & NODE_LISTED;

                switch (record.kind) {
                case ARM_PLACE:
                        if (!listed || record.extra >= sizeof(text) ||
                                size - at < ((record.extra + 3) & ~3u))
                                return -EBADMSG;
                        memcpy(text, data + at, record.extra);
                        text[record.extra] = '\0';
                        at += (record.extra + 3) & ~3u;
                        r = handle_place(watch, &record, text);
                        break;
                case ARM_WATCH: handle_watch(watch, &record); break;
                case ARM_DONE:
                        if (!listed)
                                return -EBADMSG;
                        handle_done(watch, &record);
                        break;
                default: return -EBADMSG;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Return: 1 something was read; 0 nothing more for now, or ever; -errno. */
static int child_read(PathWatch *watch, WatchChild *child) {
        static uint8_t buffer[ARM_DATAGRAM_MAX] __attribute__((aligned(8)));
        ssize_t n;
        int r;

        n = recv(child->fd, buffer, sizeof(buffer), 0);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR || errno == ECONNRESET ? 0 : -errno;
        if (n == 0)
                return 0;
        r = handle_datagram(watch, child, buffer, (size_t) n);
        watch->heard += (size_t) n;
        if (watch->heard >= watch->held_size)
                replay_events(watch);
        return r < 0 ? r : 1;
}

/* ---- The child ------------------------------------------------------------------------------------------------- */

static WatchChild *child_free(WatchChild *child) {
        if (!child)
                return NULL;
        sd_event_source_disable_unref(child->io);
        sd_event_source_disable_unref(child->exit);
        sd_event_source_disable_unref(child->timer);
        safe_close(child->fd);
        if (child->progress)
                (void) munmap(child->progress, sizeof(ArmProgress));
        free(child);
        return NULL;
}
DEFINE_CLEANUP(WatchChild *, child_free)

/* It is no longer the one that arms; its end is waited for by the event loop. */
static void give_up_child(PathWatch *watch) {
        WatchChild *child = TAKE_PTR(watch->child);

        if (!child)
                return;
        (void) kill(child->pid, SIGKILL);
        child->killed_usec = now_usec(CLOCK_MONOTONIC);
        child->io = sd_event_source_disable_unref(child->io);
        child->timer = sd_event_source_disable_unref(child->timer);
        child->fd = safe_close(child->fd);
        child->next = watch->killed;
        watch->killed = child;
        watch->sweep = true;
}

static void leave_out(PathWatch *watch, uint32_t node) {
        uint16_t *flags = &watch->tree->nodes[node].flags;

        if ((*flags & NODE_ARMED) && !(*flags & NODE_LEFT_OUT))
                set_changed(watch, true);
        *flags = (uint16_t) ((*flags & ~(NODE_WORKING | NODE_DIRTY | NODE_IDENTITY)) | NODE_LEFT_OUT);
}

/* The path hangs; usually its mount does, and all that lies on it would as well. */
static void leave_out_hung(PathWatch *watch, const WatchChild *child) {
        uint32_t node = child->progress->node, dead;
        _cleanup_free_ char *mount = NULL;
        char place[PATH_MAX], path[PATH_MAX];

        (void) snprintf(place, sizeof(place), "%.*s", (int) sizeof(place) - 1, child->progress->place);
        if (node < NODE_ROOT || node >= watch->tree->n_nodes ||
                !(watch->tree->nodes[node].flags & NODE_WORKING))
                return;
        leave_out(watch, node);
        if (mount_point_of(
                    NULL, place[0] == '/' ? place : watch_tree_path(watch->tree, node, path), &mount) < 0 ||
                streq(mount, "/"))
                return;
        if (watch_tree_get(watch->tree, mount, &dead) >= 0)
                watch->tree->nodes[dead].flags |= NODE_DEAD;
}

/* It died before its work was done. By chance the first time; the second time at the same path because of it. */
static void leave_out_died(PathWatch *watch, const WatchChild *child) {
        uint32_t node = child->progress->node;

        if (node >= watch->tree->n_nodes || !(watch->tree->nodes[node].flags & NODE_WORKING))
                node = NODE_NONE;
        watch->n_deaths = node == watch->died_at ? watch->n_deaths + 1 : 1;
        watch->died_at = node;
        if (node != NODE_NONE) {
                if (watch->n_deaths > 1)
                        leave_out(watch, node);
        } else if (watch->n_deaths >= DEATHS_MAX)
                for (uint32_t i = NODE_ROOT; i < watch->tree->n_nodes; i++)
                        if (watch->tree->nodes[i].flags & NODE_WORKING)
                                leave_out(watch, i);
}

/* Watches that a tree has and the new one has not. Return: whether there were any. */
static bool remove_unused(PathWatch *watch, const WatchTree *old) {
        bool any = false;

        for (uint32_t i = NODE_ROOT; i < old->n_nodes; i++) {
                int32_t wd = old->nodes[i].wd;

                if (wd < 0 || watch_tree_first_with(watch->tree, wd) != NODE_NONE)
                        continue;
                (void) inotify_rm_watch(watch->fd, wd);
                any = true;
        }
        return any;
}

/* Where links lead to other places than before, those are not needed any more. */
static bool collect(PathWatch *watch) {
        _cleanup_(watch_tree_freep) WatchTree *tree = NULL;
        WatchTree *old = watch->tree;
        char path[PATH_MAX];
        uint32_t node;

        if (old->n_links_dead == 0 || watch_tree_new(&tree) < 0)
                return false;
        for (uint32_t i = NODE_ROOT; i < old->n_nodes; i++)
                if (old->nodes[i].flags & NODE_LISTED) {
                        if (watch_tree_get(tree, watch_tree_path(old, i, path), &node) < 0)
                                return false;
                        watch_tree_list(tree, node, old->nodes[i].flags & NODE_ENTRIES);
                }
        if (watch_tree_adopt(tree, old) < 0)
                return false;
        if (watch_tree_get(tree, watch_tree_path(old, MAX(watch->other_node, NODE_ROOT), path), &node) < 0)
                return false;
        watch_tree_trim(tree);

        watch->other_node = watch->other_node == NODE_NONE ? NODE_NONE : node;
        watch->tree = TAKE_PTR(tree);
        tree = old;
        return remove_unused(watch, old);
}

/* No child runs, and there is nothing to do but for what has become dirty meanwhile. */
static void finish(PathWatch *watch) {
        bool unwatched = false, dirty = false, removed = false;

        replay_events(watch);
        drop_events(watch);
        for (size_t i = 0; i < watch->n_orphans; i++)
                if (watch_tree_first_with(watch->tree, watch->orphans[i]) == NODE_NONE) {
                        (void) inotify_rm_watch(watch->fd, watch->orphans[i]);
                        removed = true;
                }
        free(watch->orphans);
        watch->orphans = NULL;
        watch->n_orphans = watch->n_orphans_allocated = 0;
        free(watch->identities);
        watch->identities = NULL;
        watch->n_deaths = 0;
        watch->died_at = NODE_NONE;
        removed |= collect(watch);

        for (uint32_t i = NODE_ROOT; i < watch->tree->n_nodes; i++) {
                uint16_t *flags = &watch->tree->nodes[i].flags;

                /* There is room again. */
                if ((*flags & NODE_UNWATCHED) && removed && (watch->no_space || watch->limited))
                        *flags |= NODE_DIRTY;
                *flags &= (uint16_t) ~NODE_IDENTITY;
                unwatched |= (*flags & NODE_UNWATCHED) != 0;
                dirty |= (*flags & NODE_DIRTY) != 0;
        }
        if (!unwatched) {
                watch->no_space = watch->limited = false;
                watch->other_error = 0;
                watch->other_node = NODE_NONE;
        }
        set_armed(watch);
        if (dirty)
                schedule(watch);
}

static int start_child(PathWatch *watch);

/* Once more, without what it hung at or died of. */
static void start_again(PathWatch *watch) {
        WatchTree *tree = watch->tree;
        bool exhausted = count_stuck(watch) >= STUCK_MAX;
        int r;

        replay_events(watch);
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint16_t *flags = &tree->nodes[i].flags;

                if (*flags & NODE_WORKING)
                        *flags = (uint16_t) ((*flags & ~NODE_WORKING) | NODE_DIRTY);
                if ((*flags & NODE_DIRTY) && exhausted)
                        leave_out(watch, i);
        }
        r = start_child(watch);
        if (r == 0)
                finish(watch);
        else if (r < 0)
                schedule(watch);
}

static int drain(PathWatch *watch, WatchChild *child) {
        int r;

        while ((r = child_read(watch, child)) > 0)
                ;
        return r;
}

static void fail_badly(PathWatch *watch, int r) {
        WatchChild *child = watch->child;

        log_error_errno(r, "Failed to understand who arms watches, killing it: %m");
        leave_out_died(watch, child);
        give_up_child(watch);
        start_again(watch);
}

static int on_child_io(_unused_ sd_event_source *source, _unused_ int fd, uint32_t revents, void *userdata) {
        WatchChild *child = userdata;
        int r;

        r = child_read(child->watch, child);
        if (r < 0)
                fail_badly(child->watch, r);
        else if (r == 0 && (revents & (EPOLLHUP | EPOLLERR)))
                (void) sd_event_source_set_enabled(child->io, SD_EVENT_OFF);
        return 0;
}

static int on_child_timer(_unused_ sd_event_source *source, uint64_t usec, void *userdata) {
        WatchChild *child = userdata;
        PathWatch *watch = child->watch;
        usec_t since = child->progress->since_usec;
        int r;

        if (now_usec(CLOCK_MONOTONIC) < since + path_watch_arm_usec) {
                (void) sd_event_source_set_time(child->timer, since + path_watch_arm_usec);
                (void) sd_event_source_set_enabled(child->timer, SD_EVENT_ONESHOT);
                return 0;
        }

        (void) kill(child->pid, SIGKILL);
        child->hung = true;
        r = drain(watch, child);
        if (r < 0)
                log_debug_errno(r, "Failed to understand who arms watches: %m");
        leave_out_hung(watch, child);
        give_up_child(watch);
        start_again(watch);
        return 0;
}

static int on_child_exit(_unused_ sd_event_source *source, _unused_ const siginfo_t *si, void *userdata) {
        _cleanup_(child_freep) WatchChild *child = userdata;
        PathWatch *watch = child->watch;
        int r;

        if (child != watch->child) {
                bool stuck = child->hung && now_usec(CLOCK_MONOTONIC) > child->killed_usec + STUCK_USEC;

                for (WatchChild **c = &watch->killed; *c; c = &(*c)->next)
                        if (*c == child) {
                                *c = child->next;
                                break;
                        }
                if (stuck)
                        try_hung_again(watch);
                return 0;
        }

        r = drain(watch, child);
        if (r < 0)
                log_error_errno(r, "Failed to understand who arms watches: %m");
        watch->child = NULL;
        if (r >= 0 && child->finished) {
                watch->took_usec = now_usec(CLOCK_MONOTONIC) - child->started_usec;
                if (child->sweeps)
                        watch->sweep = false;
                finish(watch);
        } else {
                watch->sweep = true;
                leave_out_died(watch, child);
                start_again(watch);
        }
        return 0;
}

/* The list of the child: what is dirty. */
static bool take_work(WatchTree *tree) {
        bool any = false;

        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint16_t *flags = &tree->nodes[i].flags;

                *flags &= (uint16_t) ~NODE_SPREAD;
                if (*flags & NODE_DIRTY) {
                        *flags = (uint16_t) ((*flags & ~NODE_DIRTY) | NODE_WORKING);
                        any = true;
                }
        }
        return any;
}

static void give_back_work(WatchTree *tree) {
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++)
                if (tree->nodes[i].flags & NODE_WORKING)
                        tree->nodes[i].flags =
                                (uint16_t) ((tree->nodes[i].flags & ~NODE_WORKING) | NODE_DIRTY);
}

/* The child waits to be let go. */
static int fork_child(PathWatch *watch, WatchChild **ret) {
        _cleanup_(child_freep) WatchChild *child = NULL;
        _cleanup_close_ int child_fd = -EBADF;
        usec_t now = now_usec(CLOCK_MONOTONIC);
        pid_t engine = getpid();
        int pair[2], r;
        void *p;

        child = malloc(sizeof(*child));
        if (!child)
                return -ENOMEM;
        *child = (WatchChild){ .watch = watch, .fd = -EBADF, .started_usec = now, .sweeps = watch->sweep };

        p = mmap(NULL, sizeof(ArmProgress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                return -errno;
        child->progress = p;
        child->progress->since_usec = now;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        child->fd = pair[0];
        child_fd = pair[1];
        if (fcntl(child->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;

        child->pid = fork();
        if (child->pid < 0)
                return -errno;
        if (child->pid == 0)
                path_watch_arm_main(&(ArmSetup){
                        .tree = watch->tree,
                        .identities = watch->identities,
                        .max = watch->max,
                        .inotify_fd = watch->fd,
                        .socket_fd = child_fd,
                        .sweep = watch->sweep,
                        .progress = child->progress,
                        .engine = engine,
                });

        r = sd_event_add_io(watch->event, &child->io, child->fd, EPOLLIN, on_child_io, child);
        if (r >= 0)
                r = sd_event_add_child(
                        watch->event, &child->exit, child->pid, WEXITED, on_child_exit, child);
        if (r >= 0)
                r = sd_event_add_time(watch->event, &child->timer, CLOCK_MONOTONIC,
                        now + path_watch_arm_usec, USEC_PER_MSEC, on_child_timer, child);
        if (r < 0) {
                (void) kill(child->pid, SIGKILL);
                child->exit = sd_event_source_disable_unref(child->exit);
                /* It waits for us, and for nothing else. */
                (void) waitpid(child->pid, NULL, 0);
                return r;
        }
        /* What it said before its end. */
        (void) sd_event_source_set_priority(child->exit, SD_EVENT_PRIORITY_NORMAL + 1);

        *ret = TAKE_PTR(child);
        return 0;
}

static void let_go(WatchChild *child) {
        /* If it is dead, its end tells. */
        (void) send(child->fd, &(uint8_t){ 1 }, 1, MSG_NOSIGNAL);
}

/* Return: 1; 0 there is nothing to do; -errno, then what was dirty is. */
static int start_child(PathWatch *watch) {
        int r;

        if (!take_work(watch->tree))
                return 0;
        r = fork_child(watch, &watch->child);
        if (r < 0) {
                give_back_work(watch->tree);
                return r;
        }
        watch->started_usec = watch->child->started_usec;
        let_go(watch->child);
        return 1;
}

static int on_rearm(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        PathWatch *watch = userdata;
        int r;

        if (watch->child)
                return 0;
        r = start_child(watch);
        if (r < 0) {
                log_warning_errno(r, "Failed to start who arms watches, trying again: %m");
                (void) sd_event_source_set_time(watch->rearm, now_usec(CLOCK_MONOTONIC) + RETRY_USEC);
                (void) sd_event_source_set_enabled(watch->rearm, SD_EVENT_ONESHOT);
        } else if (r == 0)
                finish(watch);
        return 0;
}

/* The next child, once the present one is done. */
static void schedule(PathWatch *watch) {
        usec_t took = watch->took_usec * REARM_SHARE, interval = MIN(took, (usec_t) REARM_USEC_MAX);
        int enabled;

        if (watch->child)
                return;
        if (sd_event_source_get_enabled(watch->rearm, &enabled) >= 0 && enabled != SD_EVENT_OFF)
                return;
        (void) sd_event_source_set_time(
                watch->rearm, watch->started_usec + MAX(interval, (usec_t) REARM_USEC));
        (void) sd_event_source_set_enabled(watch->rearm, SD_EVENT_ONESHOT);
}

/* ---- The watch ------------------------------------------------------------------------------------------------- */

/* Return: 0; -ENOMEM; -E2BIG. Paths that cannot be are counted. */
static int make_tree(const PathToWatch *paths, size_t n, WatchTree **ret, PathIdentity **ret_identities,
        size_t *ret_n_invalid) {
        _cleanup_(watch_tree_freep) WatchTree *tree = NULL;
        _cleanup_free_ PathIdentity *identities = NULL;
        _cleanup_free_ uint32_t *nodes = NULL;
        size_t n_invalid = 0;
        int r;

        nodes = calloc(n + 1, sizeof(*nodes));
        if (!nodes)
                return -ENOMEM;
        r = watch_tree_new(&tree);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                r = path_normalise(paths[i].path, &path);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        n_invalid++;
                        continue;
                }
                r = watch_tree_get(tree, path, &nodes[i]);
                if (r < 0)
                        return r;
                watch_tree_list(tree, nodes[i], paths[i].entries);
        }

        identities = calloc(tree->n_nodes, sizeof(*identities));
        if (!identities)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (nodes[i] != NODE_NONE && paths[i].identity) {
                        identities[nodes[i]] = *paths[i].identity;
                        tree->nodes[nodes[i]].flags |= NODE_IDENTITY;
                }

        *ret = TAKE_PTR(tree);
        *ret_identities = TAKE_PTR(identities);
        *ret_n_invalid = n_invalid;
        return 0;
}

/* What of a new list is to be walked: what was not before, or failed; and what is to be compared. */
static void choose_work(PathWatch *watch, WatchTree *tree) {
        bool stuck = count_stuck(watch) > 0;

        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint16_t *flags = &tree->nodes[i].flags;

                if (!(*flags & NODE_LISTED))
                        ;
                else if ((*flags & NODE_LEFT_OUT) && stuck)
                        *flags &= (uint16_t) ~NODE_IDENTITY;
                else if (!(*flags & NODE_ARMED) ||
                         (*flags & (NODE_LEFT_OUT | NODE_UNWATCHED | NODE_IDENTITY)))
                        *flags |= NODE_DIRTY;
                if (!stuck)
                        *flags &= (uint16_t) ~(NODE_DEAD | NODE_LEFT_OUT);
        }
}

int path_watch_set(PathWatch *watch, const PathToWatch *paths, size_t n, size_t max) {
        _cleanup_(watch_tree_freep) WatchTree *tree = NULL;
        _cleanup_free_ PathIdentity *identities = NULL;
        WatchChild *child = NULL;
        size_t n_invalid, old_max = watch->max;
        bool work;
        int r;

        /* What the child has found so far is kept. */
        if (watch->child)
                (void) drain(watch, watch->child);
        replay_events(watch);

        r = make_tree(paths, n, &tree, &identities, &n_invalid);
        if (r < 0)
                return r;
        r = watch_tree_adopt(tree, watch->tree);
        if (r < 0)
                return r;
        watch_tree_trim(tree);
        choose_work(watch, tree);

#define SWAP(a, b)                      \
        do {                            \
                __typeof__(a) _c = (a); \
                (a) = (b);              \
                (b) = _c;               \
        } while (false)
        SWAP(watch->tree, tree);
        SWAP(watch->identities, identities);
        watch->max = max;
        work = take_work(watch->tree);
        watch->sweep |= watch->child != NULL;
        r = work ? fork_child(watch, &child) : 0;
        if (r < 0) {
                SWAP(watch->tree, tree);
                SWAP(watch->identities, identities);
                watch->max = old_max;
                return r;
        }

        give_up_child(watch);
        drop_events(watch);
        watch->n_invalid = n_invalid;
        watch->no_space = watch->limited = false;
        watch->other_error = 0;
        watch->other_node = watch->died_at = NODE_NONE;
        watch->n_deaths = 0;
        watch->announce = true;
        watch->armed = false;
        (void) remove_unused(watch, tree);
        (void) sd_event_source_set_enabled(watch->rearm, SD_EVENT_OFF);
        if (!work) {
                finish(watch);
                return 0;
        }
        watch->child = child;
        watch->started_usec = child->started_usec;
        let_go(child);
        return 0;
}

int path_watch_new(sd_event *event, const PathWatchHandlers *handlers, void *userdata, PathWatch **ret) {
        _cleanup_(path_watch_freep) PathWatch *watch = NULL;
        int r;

        watch = malloc(sizeof(*watch));
        if (!watch)
                return -ENOMEM;
        *watch = (PathWatch){
                .event = sd_event_ref(event),
                .handlers = handlers,
                .userdata = userdata,
                .fd = -EBADF,
                .mounts_fd = -EBADF,
        };
        r = watch_tree_new(&watch->tree);
        if (r < 0)
                return r;

        watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (watch->fd < 0)
                return -errno;
        r = sd_event_add_io(event, &watch->io, watch->fd, EPOLLIN, on_inotify, watch);
        if (r < 0)
                return r;

        watch->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        if (watch->mounts_fd < 0 && errno != ENOENT)
                return -errno;
        if (watch->mounts_fd >= 0) {
                r = sd_event_add_io(event, &watch->mounts, watch->mounts_fd, EPOLLPRI, on_mounts, watch);
                if (r < 0)
                        return r;
        }

        r = sd_event_add_time(event, &watch->rearm, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_rearm, watch);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(watch->rearm, SD_EVENT_OFF);
        r = sd_event_add_defer(event, &watch->tell, on_tell, watch);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(watch->tell, SD_EVENT_OFF);

        *ret = TAKE_PTR(watch);
        return 0;
}

PathWatch *path_watch_free(PathWatch *watch) {
        WatchChild *next;
        usec_t deadline;

        if (!watch)
                return NULL;

        give_up_child(watch);
        deadline = now_usec(CLOCK_MONOTONIC) + FREE_USEC;
        for (WatchChild *child = watch->killed; child; child = next) {
                pid_t pid = child->pid;

                next = child->next;
                child_free(child);
                while (waitpid(pid, NULL, WNOHANG) == 0 && now_usec(CLOCK_MONOTONIC) < deadline)
                        (void) usleep(100);
        }
        sd_event_source_disable_unref(watch->io);
        sd_event_source_disable_unref(watch->mounts);
        sd_event_source_disable_unref(watch->rearm);
        sd_event_source_disable_unref(watch->tell);
        sd_event_unref(watch->event);
        safe_close(watch->fd);
        safe_close(watch->mounts_fd);
        watch_tree_free(watch->tree);
        free(watch->identities);
        free(watch->held);
        free(watch->orphans);
        free(watch->error);
        free(watch->told_error);
        free(watch);
        return NULL;
}

size_t path_watch_count(const PathWatch *watch) {
        return watch->tree->n_watches;
}

pid_t path_watch_child_pid(const PathWatch *watch) {
        return watch->child ? watch->child->pid : 0;
}

bool path_watch_is_idle(const PathWatch *watch) {
        int rearm = SD_EVENT_OFF, tells = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(watch->rearm, &rearm);
        (void) sd_event_source_get_enabled(watch->tell, &tells);
        return !watch->child && !watch->killed && rearm == SD_EVENT_OFF && tells == SD_EVENT_OFF;
}

size_t path_watch_size(const PathWatch *watch) {
        return watch_tree_size(watch->tree);
}
