/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "child.h"
#include "log.h"
#include "path-watch-arm.h"
#include "sandbox.h"

/* Who comes and goes: enough for a directory that is only on the way. A busy one should not wake the engine for each
 * write. */
#define MASK_WAY                                                                                            \
        (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | \
                IN_MASK_ADD)
#define MASK_FULL (MASK_WAY | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_EXCL_UNLINK)

#define LINKS_MAX  40 /* source: MAXSYMLINKS of the kernel, include/linux/namei.h */
#define FLUSH_USEC (5 * USEC_PER_MSEC)

void (*path_watch_arm_hook)(const char *path) = NULL;

/* ---- What it says ---------------------------------------------------------------------------------------------- */

static void flush(Arm *arm) {
        /* The engine is gone, or does not want us any more. */
        if (arm->used > 0 && send(arm->setup->socket_fd, arm->buffer, arm->used, MSG_NOSIGNAL) < 0)
                _exit(EXIT_FAILURE);
        arm->used = 0;
}

void arm_say(Arm *arm, const ArmRecord *record, const char *text) {
        size_t size = sizeof(*record) + (text ? (record->extra + 3) & ~3u : 0);

        if (arm->used + size > sizeof(arm->buffer))
                flush(arm);
        memcpy(arm->buffer + arm->used, record, sizeof(*record));
        if (text) {
                memset(arm->buffer + arm->used + sizeof(*record), 0, size - sizeof(*record));
                memcpy(arm->buffer + arm->used + sizeof(*record), text, record->extra);
        }
        arm->used += size;
}

static void set_wd(Arm *arm, uint32_t node, int wd) {
        if (arm->tree->nodes[node].wd == wd)
                return;
        (void) watch_tree_set_wd(arm->tree, node, wd);
        arm_say(arm, &(ArmRecord){ .kind = ARM_WATCH, .node = node, .value = wd }, NULL);
}

/* There is no directory. What was below has gone with it; said only if anything was. */
void arm_set_gone(Arm *arm, uint32_t top) {
        bool any = false;

        if (arm->tree->nodes[top].first_child == NODE_NONE && arm->tree->nodes[top].wd < 0)
                return;
        for (uint32_t node = top; node != NODE_NONE; node = watch_tree_next(arm->tree, top, node)) {
                if (arm->tree->nodes[node].wd < 0)
                        continue;
                (void) watch_tree_set_wd(arm->tree, node, -1);
                any = true;
        }
        if (any)
                arm_say(arm, &(ArmRecord){ .kind = ARM_WATCH, .node = top, .value = -1, .flags = ARM_GONE },
                        NULL);
}

/* ---- Walking --------------------------------------------------------------------------------------------------- */

static void name_of(const Arm *arm, uint32_t node, char name[static NAME_MAX + 1]) {
        const WatchNode *n = &arm->tree->nodes[node];

        memcpy(name, arm->tree->names + n->name, n->name_length);
        name[n->name_length] = '\0';
}

/* Before a node is looked at. Return: 0; -EHOSTDOWN if nobody should. */
static int approach(Arm *arm, uint32_t node) {
        if (arm->tree->nodes[node].flags & NODE_DEAD) {
                arm->problems |= ARM_DEAD;
                return -EHOSTDOWN;
        }
        if (path_watch_arm_hook) {
                char path[PATH_MAX];

                path_watch_arm_hook(watch_tree_path(arm->tree, node, path));
        }
        return 0;
}

void arm_fail(Arm *arm, int error) {
        arm->problems |= ARM_FAILED;
        if (arm->error == 0)
                arm->error = error;
}

/* Whoever may write in a tree can make any number of directories: what is listed by itself is watched all the same. */
static size_t limit_of(const Arm *arm) {
        return arm->in_tree ? arm->setup->max - arm->setup->max / 4 : arm->setup->max;
}

/* Watches the directory that is open: by descriptor, so that what was walked to is what is watched. */
static void watch_directory(Arm *arm, Level *level) {
        WatchNode *node = &arm->tree->nodes[level->node];
        bool full = node->flags & (NODE_HOLDS_END | NODE_WHOLE);
        int wd;

        /* Not by /proc/self/fd, which need not be there. */
        if (node->wd < 0 && arm->tree->n_watches >= limit_of(arm)) {
                level->problems |= ARM_LIMITED;
                return;
        }
        if (fchdir(level->fd) < 0)
                wd = -1;
        else
                wd = inotify_add_watch(arm->setup->inotify_fd, ".", full ? MASK_FULL : MASK_WAY);
        if (wd < 0) {
                if (errno == ENOSPC)
                        level->problems |= ARM_NO_SPACE;
                else {
                        level->problems |= ARM_FAILED;
                        arm_fail(arm, errno);
                }
                set_wd(arm, level->node, -1);
                return;
        }
        set_wd(arm, level->node, wd);
        if (full)
                arm->tree->nodes[level->node].flags |= NODE_FULL;
}

/*
 * Looks what a name in the directory on top of the stack is, if it is no directory (any more).
 * Return: 0; -errno, which is not about there being none.
 */
static int look_for_link(int fd, const char *name, uint32_t node, Found *found) {
        ssize_t n;

        n = readlinkat(fd, name, found->target, sizeof(found->target) - 1);
        if (n < 0) {
                found->kind = FOUND_NOTHING;
                return errno == EINVAL || errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        }
        found->target[n] = '\0';
        found->kind = FOUND_LINK;
        found->node = node;
        return 0;
}

/*
 * Goes into a directory and watches it. The one above it is watched already, so whoever exchanges it from now on is
 * noticed.
 *
 * Return: 1; 0 it is no directory (see found); -errno.
 */
int arm_enter(Arm *arm, Stack *stack, uint32_t node, Found *found) {
        Level *level = &stack->levels[stack->n];
        char name[NAME_MAX + 1];
        int fd, r;

        r = approach(arm, node);
        if (r < 0)
                return r;
        if (stack->n >= DEPTH_MAX)
                return -ENAMETOOLONG;

        if (node == NODE_ROOT)
                fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        else {
                name_of(arm, node, name);
                fd = openat(level[-1].fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (fd < 0) {
                found->kind = FOUND_NOTHING;
                if (errno == ENOENT)
                        r = 0;
                else if (errno == ENOTDIR || errno == ELOOP)
                        r = look_for_link(level[-1].fd, name, node, found);
                else
                        return -errno;
                arm_set_gone(arm, node);
                return r;
        }

        *level = (Level){
                .node = node,
                .fd = fd,
                .problems = stack->n > 0 ? level[-1].problems : 0,
        };
        stack->n++;
        arm->tree->nodes[node].flags &= (uint16_t) ~NODE_FULL;
        watch_directory(arm, level);
        return 1;
}

/* ---- Places ------------------------------------------------------------------------------------------------------ */

/* Walks to a place, through directories only. Return: 0; -errno. */
static int walk_place(Arm *arm, Stack *stack, uint32_t place, Found *found) {
        static uint32_t way[DEPTH_MAX + 1];
        uint32_t flags = arm->tree->nodes[place].flags;
        char name[NAME_MAX + 1];
        size_t n = 0, keep = 0;
        Level *parent;
        int r;

        found->at_end = false;

        /* From the root to the directory that holds it; the root is held by nothing. */
        for (uint32_t node = place; node != NODE_NONE; node = arm->tree->nodes[node].parent) {
                if (n >= ELEMENTSOF(way))
                        return -ENAMETOOLONG;
                way[n++] = node;
        }
        for (size_t i = 0; i < n / 2; i++) {
                uint32_t node = way[i];

                way[i] = way[n - 1 - i];
                way[n - 1 - i] = node;
        }
        if (n > 1)
                n--;

        while (keep < n && keep < stack->n && stack->levels[keep].node == way[keep])
                keep++;
        while (stack->n > keep)
                (void) close(stack->levels[--stack->n].fd);
        for (size_t i = keep; i < n; i++) {
                r = arm_enter(arm, stack, way[i], found);
                if (r <= 0)
                        return r;
        }
        parent = &stack->levels[stack->n - 1];

        if (place == NODE_ROOT) {
                if (statx(parent->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &found->st) < 0)
                        return -errno;
                found->kind = FOUND_SOMETHING;
                found->at_end = true;
                return 0;
        }

        /* It was on the way to some other place when it was opened. */
        if (!(arm->tree->nodes[parent->node].flags & NODE_FULL) && parent->problems == 0)
                watch_directory(arm, parent);

        r = approach(arm, place);
        if (r < 0)
                return r;
        name_of(arm, place, name);
        if (statx(parent->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &found->st) <
                0) {
                if (errno != ENOENT && errno != ENOTDIR)
                        return -errno;
                found->kind = FOUND_NOTHING;
                arm_set_gone(arm, place);
                return 0;
        }
        found->kind = FOUND_SOMETHING;
        found->at_end = true;
        if (S_ISLNK(found->st.stx_mode)) {
                arm_set_gone(arm, place);
                return look_for_link(parent->fd, name, place, found);
        }
        if (!S_ISDIR(found->st.stx_mode))
                arm_set_gone(arm, place);
        else if (arm->tree->nodes[place].below && !(flags & NODE_END) &&
                 ((found->st.stx_attributes & STATX_ATTR_MOUNT_ROOT) ||
                         !watch_scopes_admit(arm->tree, arm->setup->scopes, arm->setup->n_scopes, place)))
                arm_set_gone(arm, place);
        else if (flags & NODE_WHOLE) {
                r = arm_enter(arm, stack, place, found);
                if (r <= 0)
                        return r;
                if (arm->tree->nodes[place].tree || arm->tree->nodes[place].below)
                        arm_walk_tree(arm, stack);
        }
        return 0;
}

/* ---- Links ----------------------------------------------------------------------------------------------------- */

static size_t part_length(const char **text) {
        *text += strspn(*text, "/");
        return strcspn(*text, "/");
}

static bool part_is(const char *part, size_t length, const char *name) {
        return strlen(name) == length && memcmp(part, name, length) == 0;
}

/* Puts a part behind a normalised path; "" is the root. Return: false if there is no room. */
static bool append_part(char path[static PATH_MAX], const char *part, size_t length) {
        size_t n = strlen(path);

        if (length > NAME_MAX || n + 1 + length >= PATH_MAX)
                return false;
        path[n] = '/';
        memcpy(path + n + 1, part, length);
        path[n + 1 + length] = '\0';
        return true;
}

static void drop_part(char *path) {
        char *slash = strrchr(path, '/');

        if (slash)
                *slash = '\0';
}

/*
 * The next place to walk to, of a directory and what is to be followed from there. A ".." can be taken only where what
 * is before it is known to be a directory, and no link: up to there is a place of its own.
 *
 * @base: a directory without links on the way, normalised, "" for the root; becomes the place
 * @rest: moved to what follows the place; NULL if nothing does
 *
 * Return: false if it is too long for any path.
 */
static bool next_place(char base[static PATH_MAX], const char **rest) {
        bool any = false;
        size_t length;

        while ((length = part_length(rest)) > 0) {
                if (part_is(*rest, length, "..")) {
                        if (any)
                                return true;
                        drop_part(base);
                } else if (!part_is(*rest, length, ".")) {
                        if (!append_part(base, *rest, length))
                                return false;
                        any = true;
                }
                *rest += length;
        }
        *rest = NULL;
        return true;
}

static bool is_same(const PathIdentity *identity, const Found *found) {
        static const PathIdentity nothing = {};
        const struct statx *st = &found->st;

        if (!found->at_end)
                return memcmp(identity, &nothing, sizeof(nothing)) == 0;
        return identity->device == makedev(st->stx_dev_major, st->stx_dev_minor) &&
               identity->inode == st->stx_ino && identity->size == st->stx_size &&
               identity->mtime_nsec == st->stx_mtime.tv_sec * 1000000000 + st->stx_mtime.tv_nsec &&
               identity->ctime_nsec == st->stx_ctime.tv_sec * 1000000000 + st->stx_ctime.tv_nsec;
}

/* Notes that the path leads through another place. Return: 0; -errno. */
static int add_place(Arm *arm, const char *path, bool whole, uint32_t *ret) {
        int r;

        r = watch_tree_get(arm->tree, path, ret);
        if (r < 0)
                return r;
        r = watch_tree_link(arm->tree, arm->listed, *ret, whole);
        if (r < 0)
                return r;
        arm_say(arm,
                &(ArmRecord){
                        .kind = ARM_PLACE,
                        .node = arm->listed,
                        .value = (int32_t) *ret,
                        .flags = whole ? ARM_WHOLE : 0,
                        .extra = (uint32_t) strlen(path),
                },
                path);
        return 0;
}

/* Walks a listed path through all links. Return: 0; -errno. */
static int walk_links(Arm *arm, Found *found, bool *ret_same) {
        static char base[PATH_MAX], link[PATH_MAX], text[2 * PATH_MAX], joined[2 * PATH_MAX];
        bool entries = arm->tree->nodes[arm->listed].flags & NODE_ENTRIES;
        const PathIdentity *identity = arm->tree->nodes[arm->listed].flags & NODE_IDENTITY
                                               ? &arm->setup->identities[arm->listed]
                                               : NULL;
        uint32_t place = arm->listed;
        const char *rest = NULL;
        unsigned n_links = 0;
        int r;

        (void) watch_tree_path(arm->tree, place, base);
        for (unsigned n = 0;; n++) {
                Stack *stack = &arm->stacks[MIN(n, STACKS - 1U)];

                r = walk_place(arm, stack, place, found);
                if (stack->n > 0)
                        arm->problems |= stack->levels[stack->n - 1].problems;
                if (r < 0)
                        return r;
                /* Who looked may have looked at the link itself. */
                if (n == 0 && identity && found->at_end)
                        *ret_same = is_same(identity, found);

                if (found->kind == FOUND_LINK) {
                        const char *behind = base + strlen(watch_tree_path(arm->tree, found->node, link));

                        found->at_end = false;
                        /* A circle, or what is too long: there is nothing at its end. */
                        if (++n_links > LINKS_MAX ||
                                snprintf(joined, sizeof(joined), "%s%s/%s", found->target, behind,
                                        rest ?: "") >= (int) sizeof(joined))
                                break;
                        rest = memcpy(text, joined, strlen(joined) + 1);
                        (void) strcpy(base, found->target[0] == '/' ? "" : link);
                        drop_part(base);
                } else if (!rest)
                        break;
                else if (found->kind == FOUND_NOTHING || !S_ISDIR(found->st.stx_mode)) {
                        found->at_end = false; /* ".." of nothing */
                        break;
                }

                found->at_end = false;
                if (!next_place(base, &rest))
                        break;
                r = add_place(arm, base[0] ? base : "/", entries && !rest, &place);
                if (r < 0)
                        return r;
                /* So that it is known where we are, should it hang. */
                (void) strcpy(arm->setup->progress->place, base);
        }

        if (identity && !*ret_same)
                *ret_same = is_same(identity, found);
        return 0;
}

static void walk_listed(Arm *arm, uint32_t node) {
        static Found found;
        ArmProgress *progress = arm->setup->progress;
        usec_t now = now_usec(CLOCK_MONOTONIC);
        bool same = false;
        int r;

        progress->place[0] = '\0';
        progress->node = node;
        progress->since_usec = now;
        if (now - arm->flushed_usec > FLUSH_USEC) {
                flush(arm);
                arm->flushed_usec = now;
        }
        arm->listed = node;
        arm->problems = 0;
        arm->error = 0;
        r = walk_links(arm, &found, &same);
        if (r < 0) {
                if (!(arm->problems & ARM_DEAD))
                        arm_fail(arm, -r);
                same = true; /* as nobody can tell */
        }
        if (r == 0 && found.at_end && (found.st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
                arm->problems |= ARM_MOUNT;
        if ((arm->tree->nodes[node].flags & NODE_IDENTITY) && !same)
                arm->problems |= ARM_DIFFERS;
        arm_say(arm,
                &(ArmRecord){
                        .kind = ARM_DONE,
                        .node = node,
                        .flags = arm->problems,
                        .extra = (uint32_t) arm->error,
                },
                NULL);
}

/* A directory in a tree, which is new or has moved. */
static void walk_below(Arm *arm, uint32_t node) {
        static Found found;
        ArmProgress *progress = arm->setup->progress;
        int r;

        progress->place[0] = '\0';
        progress->node = node;
        progress->since_usec = now_usec(CLOCK_MONOTONIC);
        arm->problems = 0;
        arm->error = 0;
        arm->in_tree = true;
        r = walk_place(arm, &arm->stacks[0], node, &found);
        arm->in_tree = false;
        if (r < 0 && !(arm->problems & ARM_DEAD))
                arm_fail(arm, -r);
        arm_say(arm,
                &(ArmRecord){
                        .kind = ARM_DONE,
                        .node = node,
                        .flags = arm->problems,
                        .extra = (uint32_t) arm->error,
                },
                NULL);
}

/* ---- The process ----------------------------------------------------------------------------------------------- */

/* A child that was killed may have left watches that it had no time to tell. */
static void sweep(const Arm *arm) {
        _cleanup_fclose_ FILE *file = NULL;
        char path[64], line[512];
        int wd;

        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", arm->setup->inotify_fd);
        file = fopen(path, "re");
        if (!file)
                return;
        while (fgets(line, sizeof(line), file))
                if (sscanf(line, "inotify wd:%x", (unsigned *) &wd) == 1 &&
                        watch_tree_first_with(arm->tree, wd) == NODE_NONE)
                        (void) inotify_rm_watch(arm->setup->inotify_fd, wd);
}

static int set_up(const ArmSetup *setup) {
        const int keep[] = { MIN(setup->inotify_fd, setup->socket_fd),
                MAX(setup->inotify_fd, setup->socket_fd) };
        struct rlimit limit;

        log_open_journal(false);
        child_reset_signals();
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;
        if (getppid() != setup->engine)
                return -ESRCH;
        if (setsid() < 0)
                return -errno;
        (void) prctl(PR_SET_NAME, "agentd-watch");
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit){});
        /* One for each part of a path, at times. */
        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
        if (keep[0] > STDERR_FILENO)
                (void) child_open_null(3);
        close_descriptors(3, keep, ELEMENTSOF(keep));
        return 0;
}

void path_watch_arm_main(const ArmSetup *setup) {
        static Arm arm;
        uint8_t go;

        if (set_up(setup) < 0)
                _exit(EXIT_FAILURE);
        /* What is not needed any more is removed first, so that there is room. */
        if (recv(setup->socket_fd, &go, sizeof(go), 0) != sizeof(go))
                _exit(EXIT_FAILURE);

        arm.setup = setup;
        arm.tree = setup->tree;
        arm.flushed_usec = now_usec(CLOCK_MONOTONIC);
        for (uint32_t node = NODE_ROOT; node != NODE_NONE; node = watch_tree_next(arm.tree, NODE_ROOT, node))
                if (!(arm.tree->nodes[node].flags & NODE_WORKING))
                        continue;
                else if (arm.tree->nodes[node].flags & NODE_LISTED)
                        walk_listed(&arm, node);
                else
                        walk_below(&arm, node);
        setup->progress->node = NODE_NONE;
        if (setup->sweep)
                sweep(&arm);
        arm_say(&arm, &(ArmRecord){ .kind = ARM_END }, NULL);
        flush(&arm);
        _exit(EXIT_SUCCESS);
}
