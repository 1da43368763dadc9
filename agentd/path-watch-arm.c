/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
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
#include "path-watch-internal.h"
#include "sandbox.h"

/* Who comes and goes: enough for a directory that is only on the way. A busy one should not wake the engine for each
 * write. */
#define MASK_WAY                                                                                            \
        (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | \
                IN_MASK_ADD)
#define MASK_FULL (MASK_WAY | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_EXCL_UNLINK)

#define LINKS_MAX  40 /* source: MAXSYMLINKS of the kernel, include/linux/namei.h */
#define STACKS     4
#define DEPTH_MAX  (PATH_MAX / 2 + 1)
#define FLUSH_USEC (5 * USEC_PER_MSEC)

void (*path_watch_arm_hook)(const char *path) = NULL;

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
        int error;         /* the first of ARM_FAILED */
        usec_t flushed_usec;
        size_t used;
        uint8_t buffer[ARM_DATAGRAM_MAX] __attribute__((aligned(8)));
        Stack stacks[STACKS];
} Arm;

/* ---- What it says ---------------------------------------------------------------------------------------------- */

static void flush(Arm *arm) {
        /* The engine is gone, or does not want us any more. */
        if (arm->used > 0 && send(arm->setup->socket_fd, arm->buffer, arm->used, MSG_NOSIGNAL) < 0)
                _exit(EXIT_FAILURE);
        arm->used = 0;
}

static void say(Arm *arm, const ArmRecord *record, const char *text) {
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
        say(arm, &(ArmRecord){ .kind = ARM_WATCH, .node = node, .value = wd }, NULL);
}

/* There is no directory. What was below has gone with it; said only if anything was. */
static void set_gone(Arm *arm, uint32_t top) {
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
                say(arm, &(ArmRecord){ .kind = ARM_WATCH, .node = top, .value = -1, .flags = ARM_GONE },
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

static void fail(Arm *arm, int error) {
        arm->problems |= ARM_FAILED;
        if (arm->error == 0)
                arm->error = error;
}

/* Watches the directory that is open: by descriptor, so that what was walked to is what is watched. */
static void watch_directory(Arm *arm, Level *level) {
        WatchNode *node = &arm->tree->nodes[level->node];
        bool full = node->flags & (NODE_HOLDS_END | NODE_WHOLE);
        int wd;

        /* Not by /proc/self/fd, which need not be there. */
        if (node->wd < 0 && arm->tree->n_watches >= arm->setup->max) {
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
                        fail(arm, errno);
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
static int enter(Arm *arm, Stack *stack, uint32_t node, Found *found) {
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
                set_gone(arm, node);
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

/* ---- Trees ----------------------------------------------------------------------------------------------------- */

/* Whether a path relative to a tree's top is looked into. */
static bool scope_admits(const WatchScope *scope, char *path, unsigned levels) {
        if (scope->depth > 0 && levels >= scope->depth)
                return false;
        if (scope->exclude_size == 0)
                return true;
        for (char *end = path;; end++) {
                const char *name;
                bool last;

                end += strcspn(end, "/");
                last = !*end;
                *end = '\0';
                name = strrchr(path, '/');
                name = name ? name + 1 : path;
                for (const char *pattern = scope->exclude; pattern < scope->exclude + scope->exclude_size;
                        pattern += strlen(pattern) + 1) {
                        bool whole = strchr(pattern, '/');

                        /* Behind the last one is nothing. */
                        if (*pattern && fnmatch(pattern + (*pattern == '/'), whole ? path : name,
                                                whole ? FNM_PATHNAME : 0) == 0) {
                                if (!last)
                                        *end = '/';
                                return false;
                        }
                }
                if (last)
                        return true;
                *end = '/';
        }
}

/* Any of the scopes of a listed node. */
static bool node_admits(
        const WatchScope *scopes, size_t n_scopes, uint32_t node, char *path, unsigned levels) {
        size_t low = 0, high = n_scopes;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (scopes[middle].node < node)
                        low = middle + 1;
                else
                        high = middle;
        }
        for (; low < n_scopes && scopes[low].node == node; low++)
                if (scope_admits(&scopes[low], path, levels))
                        return true;
        return false;
}

bool watch_scopes_admit(const WatchTree *tree, const WatchScope *scopes, size_t n_scopes, uint32_t node) {
        char buffer[PATH_MAX], *path = buffer + sizeof(buffer) - 1;
        unsigned levels = 0;

        *path = '\0';
        while (tree->nodes[node].below) {
                const WatchNode *n = &tree->nodes[node];

                if (path - buffer < n->name_length + 1)
                        return false;
                if (levels++ > 0)
                        *--path = '/';
                path -= n->name_length;
                memcpy(path, tree->names + n->name, n->name_length);
                node = n->parent;
                if (!tree->nodes[node].tree)
                        continue;
                if (node_admits(scopes, n_scopes, node, path, levels))
                        return true;
                for (uint32_t link = 0; (link = watch_tree_next_link(tree, node, link)) != 0;)
                        if (tree->links[link].to == node &&
                                node_admits(scopes, n_scopes, tree->links[link].from, path, levels))
                                return true;
        }
        return false;
}

/* Names of the directories in one, each ended by a NUL. Return: 0; -errno. */
static int list_directories(int parent_fd, char **ret, size_t *ret_size) {
        char *names = NULL;
        size_t size = 0, allocated = 0;
        struct dirent *d;
        DIR *dir;
        int fd;

        fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                safe_close(fd);
                return -errno;
        }
        while ((d = readdir(dir))) {
                size_t n = strlen(d->d_name) + 1;

                if ((d->d_type != DT_DIR && d->d_type != DT_UNKNOWN) || streq(d->d_name, ".") ||
                        streq(d->d_name, ".."))
                        continue;
                if (size + n > allocated) {
                        char *p;

                        allocated = MAX(allocated * 2, (size_t) 4096);
                        p = realloc(names, allocated);
                        if (!p) {
                                free(names);
                                (void) closedir(dir);
                                return -ENOMEM;
                        }
                        names = p;
                }
                memcpy(names + size, d->d_name, n);
                size += n;
        }
        (void) closedir(dir);
        *ret = names;
        *ret_size = size;
        return 0;
}

/* A directory in the one on top of the stack. Return: its node; NODE_NONE: it is not for us. */
static uint32_t add_below(Arm *arm, const Level *level, const char *name) {
        uint32_t node = watch_tree_child(arm->tree, level->node, name, strlen(name));
        bool known = node != NODE_NONE && arm->tree->nodes[node].below;
        struct statx st;

        /* Neither what is mounted there nor what would be. Of a mount that hangs this asks nothing. */
        if (statx(level->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE,
                    &st) < 0 ||
                !S_ISDIR(st.stx_mode) || (st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
                return NODE_NONE;
        if (watch_tree_get_below(arm->tree, level->node, name, strlen(name), &node) < 0) {
                fail(arm, ENOMEM);
                return NODE_NONE;
        }
        if (!known)
                say(arm,
                        &(ArmRecord){
                                .kind = ARM_BELOW,
                                .node = level->node,
                                .value = (int32_t) node,
                                .extra = (uint32_t) strlen(name),
                        },
                        name);
        if (!watch_scopes_admit(arm->tree, arm->setup->scopes, arm->setup->n_scopes, node) ||
                (arm->tree->nodes[node].flags & NODE_DEAD))
                return NODE_NONE;
        return node;
}

static void pop_to(Stack *stack, size_t n) {
        while (stack->n > n)
                (void) close(stack->levels[--stack->n].fd);
}

/* All directories below the one on top of the stack. It is watched already: what comes while it is read is told. */
static void walk_tree(Arm *arm, Stack *stack) {
        static Found found;
        size_t n = stack->n, size = 0;
        uint32_t top = stack->levels[n - 1].node;
        _cleanup_free_ char *names = NULL;
        int r;

        arm->problems |= stack->levels[n - 1].problems;
        /* There is no room: below there is none either. */
        if (stack->levels[n - 1].problems & (ARM_NO_SPACE | ARM_LIMITED))
                return;
        arm->setup->progress->since_usec = now_usec(CLOCK_MONOTONIC);
        r = list_directories(stack->levels[n - 1].fd, &names, &size);
        if (r < 0) {
                if (r != -ENOENT)
                        fail(arm, -r);
                return;
        }
        for (uint32_t i = arm->tree->nodes[top].first_child; i != NODE_NONE;
                i = arm->tree->nodes[i].next_sibling)
                arm->tree->nodes[i].unseen = arm->tree->nodes[i].below;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                uint32_t node = add_below(arm, &stack->levels[n - 1], name);

                if (node == NODE_NONE)
                        continue;
                arm->tree->nodes[node].unseen = false;
                arm->tree->nodes[node].flags &= (uint16_t) ~NODE_WORKING;
                r = enter(arm, stack, node, &found);
                if (r > 0)
                        walk_tree(arm, stack);
                else if (r < 0)
                        fail(arm, -r);
                pop_to(stack, n);
        }
        /* What was there, or was looked into, and is not any more. What others want of it they walk to by themselves. */
        for (uint32_t i = arm->tree->nodes[top].first_child; i != NODE_NONE;
                i = arm->tree->nodes[i].next_sibling)
                if (arm->tree->nodes[i].unseen && !(arm->tree->nodes[i].flags & (NODE_END | NODE_KNOWN)))
                        set_gone(arm, i);
}

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
                r = enter(arm, stack, way[i], found);
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
                set_gone(arm, place);
                return 0;
        }
        found->kind = FOUND_SOMETHING;
        found->at_end = true;
        if (S_ISLNK(found->st.stx_mode)) {
                set_gone(arm, place);
                return look_for_link(parent->fd, name, place, found);
        }
        if (!S_ISDIR(found->st.stx_mode))
                set_gone(arm, place);
        else if (arm->tree->nodes[place].below && !(flags & NODE_END) &&
                 ((found->st.stx_attributes & STATX_ATTR_MOUNT_ROOT) ||
                         !watch_scopes_admit(arm->tree, arm->setup->scopes, arm->setup->n_scopes, place)))
                set_gone(arm, place);
        else if (flags & NODE_WHOLE) {
                r = enter(arm, stack, place, found);
                if (r <= 0)
                        return r;
                if (arm->tree->nodes[place].tree || arm->tree->nodes[place].below)
                        walk_tree(arm, stack);
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
        say(arm,
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
                        fail(arm, -r);
                same = true; /* as nobody can tell */
        }
        if (r == 0 && found.at_end && (found.st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
                arm->problems |= ARM_MOUNT;
        if ((arm->tree->nodes[node].flags & NODE_IDENTITY) && !same)
                arm->problems |= ARM_DIFFERS;
        say(arm,
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
        r = walk_place(arm, &arm->stacks[0], node, &found);
        if (r < 0 && !(arm->problems & ARM_DEAD))
                fail(arm, -r);
        say(arm,
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
        say(&arm, &(ArmRecord){ .kind = ARM_END }, NULL);
        flush(&arm);
        _exit(EXIT_SUCCESS);
}
