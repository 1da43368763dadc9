/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The child's walk through all that lies below a directory, as far as somebody wants it watched. */

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include "path-watch-arm.h"

/* ---- What is looked into --------------------------------------------------------------------------------------- */

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

/* ---- Walking --------------------------------------------------------------------------------------------------- */

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
                arm_fail(arm, ENOMEM);
                return NODE_NONE;
        }
        if (!known)
                arm_say(arm,
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
void arm_walk_tree(Arm *arm, Stack *stack) {
        static Found found;
        size_t n = stack->n, size = 0;
        uint32_t top = stack->levels[n - 1].node;
        _cleanup_free_ char *names = NULL;
        bool was_in_tree = arm->in_tree;
        int r;

        arm->problems |= stack->levels[n - 1].problems;
        /* There is no room: below there is none either. */
        if (stack->levels[n - 1].problems & (ARM_NO_SPACE | ARM_LIMITED))
                return;
        arm->setup->progress->since_usec = now_usec(CLOCK_MONOTONIC);
        r = list_directories(stack->levels[n - 1].fd, &names, &size);
        if (r < 0) {
                if (r != -ENOENT)
                        arm_fail(arm, -r);
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
                arm->in_tree = true;
                r = arm_enter(arm, stack, node, &found);
                if (r > 0)
                        arm_walk_tree(arm, stack);
                else if (r < 0)
                        arm_fail(arm, -r);
                arm->in_tree = was_in_tree;
                pop_to(stack, n);
        }
        /* What was there, or was looked into, and is not any more. What others want of it they walk to by themselves. */
        for (uint32_t i = arm->tree->nodes[top].first_child; i != NODE_NONE;
                i = arm->tree->nodes[i].next_sibling)
                if (arm->tree->nodes[i].unseen && !(arm->tree->nodes[i].flags & (NODE_END | NODE_KNOWN)))
                        arm_set_gone(arm, i);
}
