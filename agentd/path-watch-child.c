/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "log.h"
#include "mount-table.h"
#include "path-watch-internal.h"

/* Whoever was told of the change goes first: a fork in his way would cost him more. */
#define REARM_SETTLE_USEC (10 * USEC_PER_MSEC)

#define REARM_USEC     (50 * USEC_PER_MSEC) /* between the starts of two children */
#define REARM_USEC_MAX USEC_PER_SEC         /* … if each works for long */
#define REARM_SHARE    4                    /* of the time, they work one part in so many */
#define RETRY_USEC     USEC_PER_SEC         /* if one could not be started */
#define STUCK_MAX      4                    /* children that do not end; then what hangs is left alone */
#define STUCK_USEC     USEC_PER_SEC         /* who takes that long to die was stuck */
#define DEAD_MIN       64                   /* directories that are gone are not worth it before */
#define DEATHS_MAX     3                    /* of children, before they have begun */

usec_t path_watch_arm_usec = PATH_WATCH_ARM_USEC;

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
                path_watch_note(watch, record->node);
        return r < 0 ? r : 0;
}

static int handle_below(PathWatch *watch, const ArmRecord *record, const char *text) {
        WatchTree *tree = watch->tree;
        uint32_t node;
        int r;

        if (!tree->nodes[record->node].tree && !tree->nodes[record->node].below)
                return -EBADMSG;
        r = watch_tree_get_below(tree, record->node, text, record->extra, &node);
        if (r < 0)
                return r;
        return node == (uint32_t) record->value ? 0 : -EBADMSG;
}

/* Whether a tree that a directory lies in was walked to its end once: then what comes to be watched in it was not there, or
 * something was there before it was watched. */
static bool is_in_armed_tree(const WatchTree *tree, uint32_t node) {
        while (tree->nodes[node].below) {
                node = tree->nodes[node].parent;
                if (!tree->nodes[node].tree)
                        continue;
                if (tree->nodes[node].flags & NODE_ARMED)
                        return true;
                for (uint32_t link = 0; (link = watch_tree_next_link(tree, node, link)) != 0;)
                        if (tree->nodes[tree->links[link].from].flags & NODE_ARMED)
                                return true;
        }
        return false;
}

static void handle_watch(PathWatch *watch, const ArmRecord *record) {
        WatchTree *tree = watch->tree;
        uint32_t top = record->node;

        if ((tree->nodes[top].flags & NODE_KNOWN) || is_in_armed_tree(tree, top))
                path_watch_note_below(watch, top);
        if (record->flags & ARM_GONE)
                for (uint32_t node = top; node != NODE_NONE; node = watch_tree_next(tree, top, node))
                        path_watch_add_orphan(watch, watch_tree_set_wd(tree, node, -1));
        else
                path_watch_add_orphan(watch, watch_tree_set_wd(tree, top, MAX(record->value, -1)));
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
                path_watch_note_overflow(watch);
        if ((record->flags & ARM_DIFFERS) || ((was & NODE_ARMED) && ((was ^ node->flags) & NODE_MOUNT)))
                path_watch_note(watch, record->node);
        node->flags |= NODE_ARMED;

        watch_tree_settle_links(tree, record->node);
        make_known(tree, record->node);
        for (uint32_t link = 0; (link = watch_tree_next_link(tree, record->node, link)) != 0;)
                if (tree->links[link].from == record->node)
                        make_known(tree, tree->links[link].to);
}

/* A directory in a tree that was walked by itself. That it cannot be watched is said of the tree, which is walked for that. */
static void handle_done_below(PathWatch *watch, const ArmRecord *record) {
        watch->tree->nodes[record->node].flags &= (uint16_t) ~NODE_WORKING;
        if (record->flags & (ARM_NO_SPACE | ARM_LIMITED | ARM_FAILED))
                path_watch_dirty_trees(watch, record->node);
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
                case ARM_BELOW:
                case ARM_PLACE:
                        if ((record.kind == ARM_PLACE && !listed) || record.extra >= sizeof(text) ||
                                size - at < ((record.extra + 3) & ~3u))
                                return -EBADMSG;
                        memcpy(text, data + at, record.extra);
                        text[record.extra] = '\0';
                        at += (record.extra + 3) & ~3u;
                        r = record.kind == ARM_PLACE ? handle_place(watch, &record, text)
                                                     : handle_below(watch, &record, text);
                        break;
                case ARM_WATCH: handle_watch(watch, &record); break;
                case ARM_DONE:
                        if (listed)
                                handle_done(watch, &record);
                        else if (watch->tree->nodes[record.node].below)
                                handle_done_below(watch, &record);
                        else
                                return -EBADMSG;
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
                path_watch_replay(watch);
        return r < 0 ? r : 1;
}

/* ---- The child ------------------------------------------------------------------------------------------------- */

WatchChild *watch_child_free(WatchChild *child) {
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

/* Children that were killed since they hung, and do not end. */
size_t watch_child_count_stuck(const PathWatch *watch) {
        size_t n = 0;

        for (const WatchChild *child = watch->killed; child; child = child->next)
                n += child->hung;
        return n;
}

/* It is no longer the one that arms; its end is waited for by the event loop. */
void watch_child_give_up(PathWatch *watch) {
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

        watch->left_out_usec = now_usec(CLOCK_MONOTONIC);
        if ((*flags & NODE_ARMED) && !(*flags & NODE_LEFT_OUT))
                path_watch_note_overflow(watch);
        *flags = (uint16_t) ((*flags & ~(NODE_WORKING | NODE_DIRTY | NODE_IDENTITY)) | NODE_LEFT_OUT);
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

/* The path hangs; usually its mount does, and all that lies on it would as well. */
static void leave_out_hung(PathWatch *watch, const WatchChild *child) {
        uint32_t node = child->progress->node, dead;
        _cleanup_free_ char *mount = NULL;
        char place[PATH_MAX], path[PATH_MAX];

        (void) snprintf(place, sizeof(place), "%.*s", (int) sizeof(place) - 1, child->progress->place);
        if (node < NODE_ROOT || node >= watch->tree->n_nodes ||
                !(watch->tree->nodes[node].flags & NODE_WORKING)) {
                leave_out_died(watch, child);
                return;
        }
        leave_out(watch, node);
        if (mount_point_of(
                    NULL, place[0] == '/' ? place : watch_tree_path(watch->tree, node, path), &mount) < 0 ||
                streq(mount, "/"))
                return;
        if (watch_tree_get(watch->tree, mount, &dead) >= 0)
                watch->tree->nodes[dead].flags |= NODE_DEAD;
}

/* Watches that a tree has and the new one has not. Return: whether there were any. */
bool path_watch_remove_unused(PathWatch *watch, const WatchTree *old) {
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

/* Names of directories that have come and gone pile up. */
static bool has_dead_below(const WatchTree *tree) {
        uint32_t n = 0;

        if (tree->n_below < DEAD_MIN)
                return false;
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++)
                n += tree->nodes[i].below && tree->nodes[i].wd < 0;
        return n >= DEAD_MIN && n > tree->n_nodes / 4;
}

/* Where links lead to other places than before, those are not needed any more. */
static bool collect(PathWatch *watch) {
        _cleanup_(watch_tree_freep) WatchTree *tree = NULL;
        WatchTree *old = watch->tree;
        char path[PATH_MAX];
        uint32_t node;

        if ((old->n_links_dead == 0 && !has_dead_below(old)) || watch_tree_new(&tree) < 0)
                return false;
        for (uint32_t i = NODE_ROOT; i < old->n_nodes; i++)
                if (old->nodes[i].flags & NODE_LISTED) {
                        if (watch_tree_get(tree, watch_tree_path(old, i, path), &node) < 0)
                                return false;
                        watch_tree_list(tree, node, old->nodes[i].flags & NODE_ENTRIES, old->nodes[i].tree);
                }
        if (watch_tree_adopt(tree, old) < 0)
                return false;
        if (watch_tree_get(tree, watch_tree_path(old, MAX(watch->other_node, NODE_ROOT), path), &node) < 0)
                return false;
        watch_tree_trim(tree);

        watch->other_node = watch->other_node == NODE_NONE ? NODE_NONE : node;
        watch->tree = TAKE_PTR(tree);
        tree = old;
        return path_watch_remove_unused(watch, old);
}

/* No child runs, and there is nothing to do but for what has become dirty meanwhile. */
void path_watch_finish(PathWatch *watch) {
        bool unwatched = false, dirty = false, removed = false;

        path_watch_replay(watch);
        path_watch_drop_events(watch);
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
        removed |= collect(watch) || watch->room;
        watch->room = false;

        for (uint32_t i = NODE_ROOT; i < watch->tree->n_nodes; i++) {
                uint16_t *flags = &watch->tree->nodes[i].flags;

                /* There is room again. */
                if ((*flags & NODE_UNWATCHED) && removed && (watch->no_space || watch->limited))
                        *flags |= NODE_DIRTY;
                /* Written only if need be: the pages are shared with children. */
                if (*flags & NODE_IDENTITY)
                        *flags &= (uint16_t) ~NODE_IDENTITY;
                /* Reached on the way, by who walked the tree. */
                if ((*flags & NODE_WORKING) && watch->tree->nodes[i].below && !(*flags & NODE_LISTED))
                        *flags &= (uint16_t) ~NODE_WORKING;
                unwatched |= (*flags & NODE_UNWATCHED) != 0;
                dirty |= (*flags & NODE_DIRTY) != 0;
        }
        if (!unwatched) {
                watch->no_space = watch->limited = false;
                watch->other_error = 0;
                watch->other_node = NODE_NONE;
        }
        path_watch_set_armed(watch);
        if (dirty)
                path_watch_schedule(watch);
}

static int start_child(PathWatch *watch);

/* Once more, without what it hung at or died of. */
static void start_again(PathWatch *watch) {
        WatchTree *tree = watch->tree;
        bool exhausted = watch_child_count_stuck(watch) >= STUCK_MAX;
        int r;

        path_watch_replay(watch);
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint16_t *flags = &tree->nodes[i].flags;

                if (*flags & NODE_WORKING)
                        *flags = (uint16_t) ((*flags & ~NODE_WORKING) | NODE_DIRTY);
                if ((*flags & NODE_DIRTY) && exhausted)
                        leave_out(watch, i);
        }
        r = start_child(watch);
        if (r == 0)
                path_watch_finish(watch);
        else if (r < 0)
                path_watch_schedule(watch);
}

int watch_child_drain(PathWatch *watch, WatchChild *child) {
        int r;

        while ((r = child_read(watch, child)) > 0)
                ;
        return r;
}

static void fail_badly(PathWatch *watch, int r) {
        WatchChild *child = watch->child;

        log_error_errno(r, "Failed to understand who arms watches, killing it: %m");
        leave_out_died(watch, child);
        watch_child_give_up(watch);
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
        r = watch_child_drain(watch, child);
        if (r < 0)
                log_debug_errno(r, "Failed to understand who arms watches: %m");
        leave_out_hung(watch, child);
        watch_child_give_up(watch);
        start_again(watch);
        return 0;
}

static int on_child_exit(_unused_ sd_event_source *source, _unused_ const siginfo_t *si, void *userdata) {
        _cleanup_(watch_child_freep) WatchChild *child = userdata;
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
                        path_watch_try_again(watch);
                return 0;
        }

        r = watch_child_drain(watch, child);
        if (r < 0)
                log_error_errno(r, "Failed to understand who arms watches: %m");
        watch->child = NULL;
        if (r >= 0 && child->finished) {
                watch->took_usec = now_usec(CLOCK_MONOTONIC) - child->started_usec;
                if (child->sweeps)
                        watch->sweep = false;
                path_watch_finish(watch);
        } else {
                watch->sweep = true;
                leave_out_died(watch, child);
                start_again(watch);
        }
        return 0;
}

/* The list of the child: what is dirty. */
bool watch_tree_take_work(WatchTree *tree) {
        bool any = false;

        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                uint16_t *flags = &tree->nodes[i].flags;

                if (*flags & NODE_SPREAD)
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
int watch_child_fork(PathWatch *watch, WatchChild **ret) {
        _cleanup_(watch_child_freep) WatchChild *child = NULL;
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
                        .scopes = watch->scopes,
                        .n_scopes = watch->n_scopes,
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

void watch_child_let_go(WatchChild *child) {
        /* If it is dead, its end tells. */
        (void) send(child->fd, &(uint8_t){ 1 }, 1, MSG_NOSIGNAL);
}

/* Return: 1; 0 there is nothing to do; -errno, then what was dirty is. */
static int start_child(PathWatch *watch) {
        int r;

        if (!watch_tree_take_work(watch->tree))
                return 0;
        r = watch_child_fork(watch, &watch->child);
        if (r < 0) {
                give_back_work(watch->tree);
                return r;
        }
        watch->started_usec = watch->child->started_usec;
        watch_child_let_go(watch->child);
        return 1;
}

int path_watch_on_rearm(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
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
                path_watch_finish(watch);
        return 0;
}

/* The next child, once the present one is done. */
void path_watch_schedule(PathWatch *watch) {
        usec_t interval = watch->took_usec * REARM_SHARE,
               settled = now_usec(CLOCK_MONOTONIC) + REARM_SETTLE_USEC;
        int enabled;

        if (watch->child)
                return;
        if (sd_event_source_get_enabled(watch->rearm, &enabled) >= 0 && enabled != SD_EVENT_OFF)
                return;
        interval = MIN(interval, (usec_t) REARM_USEC_MAX);
        interval = MAX(interval, (usec_t) REARM_USEC);
        (void) sd_event_source_set_time(watch->rearm, MAX(settled, watch->started_usec + interval));
        (void) sd_event_source_set_enabled(watch->rearm, SD_EVENT_ONESHOT);
}
