/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <time.h>

#include "path-watch-internal.h"
#include "paths.h"

#define FREE_USEC USEC_PER_SEC /* how long children are waited for in the end */

/* ---- Telling --------------------------------------------------------------------------------------------------- */

static void tell(PathWatch *watch) {
        (void) sd_event_source_set_enabled(watch->tell, SD_EVENT_ONESHOT);
}

void path_watch_note_overflow(PathWatch *watch) {
        watch->overflow = true;
        tell(watch);
}

static void note_listed(PathWatch *watch, uint32_t node) {
        WatchNode *listed = &watch->tree->nodes[node];

        if (!(listed->flags & NODE_LISTED) || listed->changed)
                return;
        if (watch->n_changed == watch->n_changed_allocated) {
                uint32_t n = MAX(watch->n_changed_allocated * 2, 16U);
                uint32_t *nodes = realloc(watch->changed_nodes, n * sizeof(*nodes));

                if (!nodes) {
                        path_watch_note_overflow(watch);
                        return;
                }
                watch->changed_nodes = nodes;
                watch->n_changed_allocated = n;
        }
        listed->changed = true;
        watch->changed_nodes[watch->n_changed++] = node;
        tell(watch);
}

static void note_place(PathWatch *watch, uint32_t node) {
        note_listed(watch, node);
        for (uint32_t link = 0; (link = watch_tree_next_link(watch->tree, node, link)) != 0;)
                note_listed(watch, watch->tree->links[link].from);
}

/* In a tree, all trees that it lies in. */
void path_watch_note(PathWatch *watch, uint32_t node) {
        const WatchNode *nodes = watch->tree->nodes;

        note_place(watch, node);
        while (nodes[node].below) {
                node = nodes[node].parent;
                if (nodes[node].tree)
                        note_place(watch, node);
        }
}

void path_watch_note_below(PathWatch *watch, uint32_t top) {
        for (uint32_t node = top; node != NODE_NONE; node = watch_tree_next(watch->tree, top, node))
                /* One note for a tree is as good as one for each of its directories. */
                if (node == top || !watch->tree->nodes[node].below ||
                        (watch->tree->nodes[node].flags & (NODE_LISTED | NODE_END)))
                        path_watch_note(watch, node);
}

static void dirty_listed(PathWatch *watch, uint32_t node) {
        uint16_t *flags = &watch->tree->nodes[node].flags;

        if ((*flags & NODE_LISTED) && !(*flags & (NODE_LEFT_OUT | NODE_UNWATCHED)))
                *flags |= NODE_DIRTY;
}

void path_watch_dirty_trees(PathWatch *watch, uint32_t node) {
        const WatchNode *nodes = watch->tree->nodes;

        while (nodes[node].below) {
                node = nodes[node].parent;
                if (!nodes[node].tree)
                        continue;
                dirty_listed(watch, node);
                for (uint32_t link = 0; (link = watch_tree_next_link(watch->tree, node, link)) != 0;)
                        dirty_listed(watch, watch->tree->links[link].from);
        }
}

/* The list was replaced: what was to be told still is, as far as it is in the new one. */
static void carry_changed(PathWatch *watch, const WatchTree *old) {
        uint32_t n = watch->n_changed;
        char path[PATH_MAX];

        watch->n_changed = 0;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t node;

                if (watch_tree_get(watch->tree, watch_tree_path(old, watch->changed_nodes[i], path), &node) <
                        0)
                        path_watch_note_overflow(watch);
                else
                        note_listed(watch, node);
        }
}

static void tell_changed(PathWatch *watch) {
        _cleanup_free_ uint32_t *indices = NULL;
        bool overflow = watch->overflow;
        uint32_t n = watch->n_changed;

        if (n > 0)
                indices = malloc(n * sizeof(*indices));
        if (n > 0 && !indices)
                overflow = true;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t node = watch->changed_nodes[i];

                watch->tree->nodes[node].changed = false;
                if (indices)
                        indices[i] = watch->indices[node];
        }
        watch->n_changed = 0;
        watch->overflow = false;
        /* A burst is not held on to. */
        if (watch->n_changed_allocated > 1024) {
                free(TAKE_PTR(watch->changed_nodes));
                watch->n_changed_allocated = 0;
        }
        watch->handlers->on_changed(watch->userdata, indices, indices ? n : 0, overflow);
}

static int on_tell(_unused_ sd_event_source *source, void *userdata) {
        PathWatch *watch = userdata;

        /* Either handler may free us. */
        if (watch->armed) {
                _cleanup_free_ char *error = TAKE_PTR(watch->error);

                watch->armed = false;
                if (watch->n_changed > 0 || watch->overflow)
                        tell(watch);
                watch->handlers->on_armed(watch->userdata, error);
        } else if (watch->n_changed > 0 || watch->overflow)
                tell_changed(watch);
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
void path_watch_set_armed(PathWatch *watch) {
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
/* ---- The watch ------------------------------------------------------------------------------------------------- */

static WatchScope *free_scopes(WatchScope *scopes, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(scopes[i].exclude);
        free(scopes);
        return NULL;
}

static int compare_scopes(const void *a, const void *b) {
        const WatchScope *x = a, *y = b;

        return (x->node > y->node) - (x->node < y->node);
}

/* If a path is there twice, both count. */
static int make_scopes(
        const PathToWatch *paths, const uint32_t *nodes, size_t n, WatchScope **ret, size_t *ret_n) {
        WatchScope *scopes;
        size_t n_scopes = 0;

        for (size_t i = 0; i < n; i++)
                n_scopes += nodes[i] != NODE_NONE && paths[i].tree;
        scopes = calloc(n_scopes + 1, sizeof(*scopes));
        if (!scopes)
                return -ENOMEM;
        n_scopes = 0;
        for (size_t i = 0; i < n; i++) {
                WatchScope *scope = &scopes[n_scopes];

                if (nodes[i] == NODE_NONE || !paths[i].tree)
                        continue;
                *scope = (WatchScope){ .node = nodes[i], .depth = paths[i].depth };
                n_scopes++;
                if (!paths[i].exclude || !paths[i].exclude[0])
                        continue;
                scope->exclude = strdup(paths[i].exclude);
                if (!scope->exclude) {
                        free_scopes(scopes, n_scopes);
                        return -ENOMEM;
                }
                scope->exclude_size = strlen(scope->exclude) + 1;
                for (char *end = scope->exclude; (end = strchr(end, '\n'));)
                        *end++ = '\0';
        }
        qsort(scopes, n_scopes, sizeof(*scopes), compare_scopes);
        *ret = scopes;
        *ret_n = n_scopes;
        return 0;
}

/* Trees of which something else is looked into than before are walked again. */
static void choose_scopes(PathWatch *watch, WatchTree *tree, const WatchScope *scopes, size_t n) {
        for (size_t i = 0; i < n; i++) {
                bool same = false;
                char path[PATH_MAX], was[PATH_MAX];

                (void) watch_tree_path(tree, scopes[i].node, path);
                for (size_t k = 0; k < watch->n_scopes && !same; k++)
                        same = watch->scopes[k].depth == scopes[i].depth &&
                               watch->scopes[k].exclude_size == scopes[i].exclude_size &&
                               (scopes[i].exclude_size == 0 ||
                                       memcmp(watch->scopes[k].exclude, scopes[i].exclude,
                                               scopes[i].exclude_size) == 0) &&
                               streq(watch_tree_path(watch->tree, watch->scopes[k].node, was), path);
                if (!same)
                        tree->nodes[scopes[i].node].flags |= NODE_DIRTY;
        }
}

/* Return: 0; -ENOMEM; -E2BIG. Paths that cannot be are counted. */
static int make_tree(const PathToWatch *paths, size_t n, WatchTree **ret, PathIdentity **ret_identities,
        uint32_t **ret_indices, WatchScope **ret_scopes, size_t *ret_n_scopes, size_t *ret_n_invalid) {
        _cleanup_(watch_tree_freep) WatchTree *tree = NULL;
        _cleanup_free_ PathIdentity *identities = NULL;
        _cleanup_free_ uint32_t *nodes = NULL, *indices = NULL;
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
                watch_tree_list(tree, nodes[i], paths[i].entries, paths[i].tree);
        }

        identities = calloc(tree->n_nodes, sizeof(*identities));
        indices = calloc(tree->n_nodes, sizeof(*indices));
        if (!identities || !indices)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (nodes[i] != NODE_NONE)
                        indices[nodes[i]] = (uint32_t) i;
        for (size_t i = 0; i < n; i++)
                if (nodes[i] != NODE_NONE && paths[i].identity) {
                        identities[nodes[i]] = *paths[i].identity;
                        tree->nodes[nodes[i]].flags |= NODE_IDENTITY;
                }

        r = make_scopes(paths, nodes, n, ret_scopes, ret_n_scopes);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(tree);
        *ret_identities = TAKE_PTR(identities);
        *ret_indices = TAKE_PTR(indices);
        *ret_n_invalid = n_invalid;
        return 0;
}

/* What of a new list is to be walked: what was not before, or failed; and what is to be compared. */
static void choose_work(PathWatch *watch, WatchTree *tree) {
        bool stuck = watch_child_count_stuck(watch) > 0;

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
        _cleanup_free_ uint32_t *indices = NULL;
        WatchChild *child = NULL;
        WatchScope *scopes = NULL;
        size_t n_invalid, n_scopes = 0, old_max = watch->max;
        bool work;
        int r;

        /* What the child has found so far is kept. */
        if (watch->child)
                (void) watch_child_drain(watch, watch->child);
        path_watch_replay(watch);

        r = make_tree(paths, n, &tree, &identities, &indices, &scopes, &n_scopes, &n_invalid);
        if (r < 0)
                return r;
        r = watch_tree_adopt(tree, watch->tree);
        if (r < 0) {
                free_scopes(scopes, n_scopes);
                return r;
        }
        watch_tree_trim(tree);
        choose_work(watch, tree);
        choose_scopes(watch, tree, scopes, n_scopes);

#define SWAP(a, b)                      \
        do {                            \
                __typeof__(a) _c = (a); \
                (a) = (b);              \
                (b) = _c;               \
        } while (false)
        SWAP(watch->tree, tree);
        SWAP(watch->identities, identities);
        SWAP(watch->scopes, scopes);
        SWAP(watch->n_scopes, n_scopes);
        watch->max = max;
        work = watch_tree_take_work(watch->tree);
        watch->sweep |= watch->child != NULL;
        r = work ? watch_child_fork(watch, &child) : 0;
        if (r < 0) {
                SWAP(watch->tree, tree);
                SWAP(watch->identities, identities);
                SWAP(watch->scopes, scopes);
                SWAP(watch->n_scopes, n_scopes);
                watch->max = old_max;
                free_scopes(scopes, n_scopes);
                return r;
        }
        free_scopes(scopes, n_scopes);

        SWAP(watch->indices, indices);
        carry_changed(watch, tree);
        watch_child_give_up(watch);
        path_watch_drop_events(watch);
        watch->n_invalid = n_invalid;
        watch->no_space = watch->limited = false;
        watch->other_error = 0;
        watch->other_node = watch->died_at = NODE_NONE;
        watch->n_deaths = 0;
        watch->announce = true;
        watch->armed = false;
        (void) path_watch_remove_unused(watch, tree);
        (void) sd_event_source_set_enabled(watch->rearm, SD_EVENT_OFF);
        if (!work) {
                path_watch_finish(watch);
                return 0;
        }
        watch->child = child;
        watch->started_usec = child->started_usec;
        watch_child_let_go(child);
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
        r = sd_event_add_io(event, &watch->io, watch->fd, EPOLLIN, path_watch_on_inotify, watch);
        if (r < 0)
                return r;

        watch->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        if (watch->mounts_fd < 0 && errno != ENOENT)
                return -errno;
        if (watch->mounts_fd >= 0) {
                r = sd_event_add_io(
                        event, &watch->mounts, watch->mounts_fd, EPOLLPRI, path_watch_on_mounts, watch);
                if (r < 0)
                        return r;
        }

        r = sd_event_add_time(
                event, &watch->rearm, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, path_watch_on_rearm, watch);
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

        watch_child_give_up(watch);
        deadline = now_usec(CLOCK_MONOTONIC) + FREE_USEC;
        for (WatchChild *child = watch->killed; child; child = next) {
                pid_t pid = child->pid;

                next = child->next;
                watch_child_free(child);
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
        free(watch->indices);
        free_scopes(watch->scopes, watch->n_scopes);
        free(watch->changed_nodes);
        free(watch->held);
        free(watch->orphans);
        free(watch->error);
        free(watch->told_error);
        free(watch);
        return NULL;
}

bool path_watch_is_arming(const PathWatch *watch) {
        return watch->announce;
}

void path_watch_look(PathWatch *watch) {
        (void) path_watch_on_inotify(NULL, watch->fd, EPOLLIN, watch);
        /* The handler may free us. */
        if (watch->n_changed > 0 || watch->overflow)
                tell_changed(watch);
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
