/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <limits.h>

#include "hash.h"
#include "path-watch-internal.h"

#define BUCKETS_MIN 64u

WatchTree *watch_tree_free(WatchTree *tree) {
        if (!tree)
                return NULL;
        free(tree->nodes);
        free(tree->names);
        free(tree->buckets);
        free(tree->wd_buckets);
        free(tree->links);
        free(tree);
        return NULL;
}

/* Makes room for one more (or `more`) elements. */
static int grow(void *array, uint32_t n, uint32_t more, uint32_t *allocated, size_t size) {
        void **a = array, *p;
        uint64_t want = (uint64_t) n + more;

        if (want <= *allocated)
                return 0;
        want = MAX(want + want / 2, UINT64_C(16));
        if (want > UINT32_MAX / 2)
                return -E2BIG;
        p = realloc(*a, want * size);
        if (!p)
                return -ENOMEM;
        *a = p;
        *allocated = (uint32_t) want;
        return 0;
}

static void shrink(void *array, uint32_t n, uint32_t *allocated, size_t size) {
        void **a = array, *p;

        if (n == 0 || n == *allocated)
                return;
        p = realloc(*a, n * size);
        if (!p)
                return;
        *a = p;
        *allocated = n;
}

void watch_tree_trim(WatchTree *tree) {
        shrink(&tree->nodes, tree->n_nodes, &tree->n_nodes_allocated, sizeof(WatchNode));
        shrink(&tree->names, tree->n_names, &tree->n_names_allocated, 1);
        shrink(&tree->links, tree->n_links, &tree->n_links_allocated, sizeof(WatchLink));
}

size_t watch_tree_size(const WatchTree *tree) {
        return sizeof(*tree) + tree->n_nodes_allocated * sizeof(WatchNode) + tree->n_names_allocated +
               tree->n_links_allocated * sizeof(WatchLink) +
               ((size_t) tree->n_buckets + tree->n_wd_buckets) * sizeof(uint32_t);
}

/* ---- Names ----------------------------------------------------------------------------------------------------- */

static uint32_t *bucket_of(const WatchTree *tree, uint32_t parent, const char *name, size_t length) {
        uint64_t hash = hash_fnv1a(name, length) ^ (parent * UINT64_C(0x9e3779b97f4a7c15));

        return &tree->buckets[(hash ^ hash >> 32) & (tree->n_buckets - 1)];
}

uint32_t watch_tree_child(const WatchTree *tree, uint32_t parent, const char *name, size_t length) {
        uint32_t i;

        for (i = *bucket_of(tree, parent, name, length); i != NODE_NONE; i = tree->nodes[i].hash_next) {
                const WatchNode *node = &tree->nodes[i];

                if (node->parent == parent && node->name_length == length &&
                        memcmp(tree->names + node->name, name, length) == 0)
                        break;
        }
        return i;
}

/* All hash tables grow by being made anew. */
static int more_buckets(WatchTree *tree) {
        uint32_t n = MAX(tree->n_buckets * 2, BUCKETS_MIN), *buckets;

        buckets = calloc(n, sizeof(*buckets));
        if (!buckets)
                return -ENOMEM;
        free(tree->buckets);
        tree->buckets = buckets;
        tree->n_buckets = n;
        for (uint32_t i = NODE_ROOT + 1; i < tree->n_nodes; i++) {
                WatchNode *node = &tree->nodes[i];
                uint32_t *bucket =
                        bucket_of(tree, node->parent, tree->names + node->name, node->name_length);

                node->hash_next = *bucket;
                *bucket = i;
        }
        return 0;
}

static int add_child(WatchTree *tree, uint32_t parent, const char *name, size_t length, uint32_t *ret) {
        uint32_t index = tree->n_nodes, *bucket;
        int r;

        if (length > UINT8_MAX)
                return -ENAMETOOLONG;
        r = grow(&tree->nodes, tree->n_nodes, 1, &tree->n_nodes_allocated, sizeof(WatchNode));
        if (r < 0)
                return r;
        r = grow(&tree->names, tree->n_names, (uint32_t) length, &tree->n_names_allocated, 1);
        if (r < 0)
                return r;
        if (tree->n_nodes >= tree->n_buckets) {
                r = more_buckets(tree);
                if (r < 0)
                        return r;
        }

        memcpy(tree->names + tree->n_names, name, length);
        bucket = bucket_of(tree, parent, name, length);
        tree->nodes[index] = (WatchNode){
                .parent = parent,
                .next_sibling = tree->nodes[parent].first_child,
                .name = tree->n_names,
                .name_length = (uint8_t) length,
                .hash_next = *bucket,
                .wd = -1,
        };
        *bucket = index;
        tree->nodes[parent].first_child = index;
        tree->n_names += (uint32_t) length;
        tree->n_nodes++;
        *ret = index;
        return 0;
}

int watch_tree_get(WatchTree *tree, const char *path, uint32_t *ret) {
        uint32_t node = NODE_ROOT, next;
        int r;

        assert(path[0] == '/');

        while (*(path += strspn(path, "/"))) {
                size_t length = strcspn(path, "/");

                next = watch_tree_child(tree, node, path, length);
                if (next == NODE_NONE) {
                        r = add_child(tree, node, path, length, &next);
                        if (r < 0)
                                return r;
                }
                node = next;
                path += length;
        }

        *ret = node;
        return 0;
}

const char *watch_tree_path(const WatchTree *tree, uint32_t node, char *buffer) {
        char *p = buffer + PATH_MAX;

        *--p = '\0';
        if (node == NODE_ROOT)
                *--p = '/';
        for (; node != NODE_ROOT; node = tree->nodes[node].parent) {
                const WatchNode *n = &tree->nodes[node];

                assert(p - buffer > n->name_length);
                p -= n->name_length;
                memcpy(p, tree->names + n->name, n->name_length);
                *--p = '/';
        }
        return memmove(buffer, p, (size_t) (buffer + PATH_MAX - p));
}

uint32_t watch_tree_next(const WatchTree *tree, uint32_t top, uint32_t node) {
        const WatchNode *nodes = tree->nodes;

        if (nodes[node].first_child != NODE_NONE)
                return nodes[node].first_child;
        for (; node != top; node = nodes[node].parent)
                if (nodes[node].next_sibling != NODE_NONE)
                        return nodes[node].next_sibling;
        return NODE_NONE;
}

static void make_end(WatchTree *tree, uint32_t node, bool whole) {
        tree->nodes[node].flags |= NODE_END | (whole ? NODE_WHOLE : 0);
        tree->nodes[tree->nodes[node].parent].flags |= NODE_HOLDS_END;
}

void watch_tree_list(WatchTree *tree, uint32_t node, bool entries, bool all) {
        entries |= all;
        tree->nodes[node].flags |= NODE_LISTED | (entries ? NODE_ENTRIES : 0);
        tree->nodes[node].tree |= all;
        make_end(tree, node, entries);
}

int watch_tree_get_below(WatchTree *tree, uint32_t parent, const char *name, size_t length, uint32_t *ret) {
        uint32_t node;
        int r;

        if (length == 0 || memchr(name, '/', length) || (length <= 2 && memcmp(name, "..", length) == 0))
                return -EINVAL;
        node = watch_tree_child(tree, parent, name, length);
        if (node == NODE_NONE) {
                r = add_child(tree, parent, name, length, &node);
                if (r < 0)
                        return r;
        }
        if (!tree->nodes[node].below) {
                tree->nodes[node].below = true;
                tree->n_below++;
        }
        tree->nodes[node].flags |= NODE_WHOLE;
        *ret = node;
        return 0;
}

/* ---- Links ----------------------------------------------------------------------------------------------------- */

/*
 * One list for a node, of links from it and links to it. Which of a link's two next ones belongs to the list is told by
 * whether the node is its `to`; so a dead link keeps that, and no link leads from a node to itself.
 */
static uint32_t raw_next_link(const WatchTree *tree, uint32_t node, uint32_t link) {
        if (link == 0)
                return tree->nodes[node].links;
        return tree->links[link].to == node ? tree->links[link].next_to : tree->links[link].next_from;
}

uint32_t watch_tree_next_link(const WatchTree *tree, uint32_t node, uint32_t link) {
        do
                link = raw_next_link(tree, node, link);
        while (link != 0 && tree->links[link].from == NODE_NONE);
        return link;
}

int watch_tree_link(WatchTree *tree, uint32_t from, uint32_t to, bool whole) {
        WatchLink *link;
        int r;

        make_end(tree, to, whole);
        tree->nodes[to].tree |= whole && tree->nodes[from].tree;
        if (from == to)
                return 0;

        /* A path has few links from it, though many may lead to it; those from it were made last. */
        for (uint32_t l = 0; (l = watch_tree_next_link(tree, from, l)) != 0;)
                if (tree->links[l].from == from && tree->links[l].to == to) {
                        tree->links[l].confirmed = true;
                        return 0;
                }

        r = grow(&tree->links, tree->n_links, 2, &tree->n_links_allocated, sizeof(WatchLink));
        if (r < 0)
                return r;
        tree->n_links = MAX(tree->n_links, 1U);
        link = &tree->links[tree->n_links];
        *link = (WatchLink){
                .from = from,
                .to = to,
                .next_from = tree->nodes[from].links,
                .next_to = tree->nodes[to].links,
                .confirmed = true,
        };
        tree->nodes[from].links = tree->nodes[to].links = tree->n_links++;
        return 1;
}

void watch_tree_settle_links(WatchTree *tree, uint32_t from) {
        for (uint32_t l = 0; (l = watch_tree_next_link(tree, from, l)) != 0;) {
                WatchLink *link = &tree->links[l];

                if (link->from != from)
                        continue;
                if (!link->confirmed) {
                        link->from = NODE_NONE;
                        tree->n_links_dead++;
                }
                link->confirmed = false;
        }
}

/* ---- Watches --------------------------------------------------------------------------------------------------- */

static uint32_t *wd_bucket_of(const WatchTree *tree, int32_t wd) {
        /* The kernel counts them up. */
        return &tree->wd_buckets[(uint32_t) wd & (tree->n_wd_buckets - 1)];
}

static uint32_t find_wd(const WatchTree *tree, uint32_t node, int32_t wd) {
        while (node != NODE_NONE && tree->nodes[node].wd != wd)
                node = tree->nodes[node].wd_next;
        return node;
}

uint32_t watch_tree_first_with(const WatchTree *tree, int32_t wd) {
        return wd < 0 ? NODE_NONE : find_wd(tree, *wd_bucket_of(tree, wd), wd);
}

uint32_t watch_tree_next_with(const WatchTree *tree, uint32_t node) {
        return find_wd(tree, tree->nodes[node].wd_next, tree->nodes[node].wd);
}

/* Without memory the chains become longer, and that is all. */
static void more_wd_buckets(WatchTree *tree) {
        uint32_t n = tree->n_wd_buckets * 2, *buckets;

        buckets = calloc(n, sizeof(*buckets));
        if (!buckets)
                return;
        free(tree->wd_buckets);
        tree->wd_buckets = buckets;
        tree->n_wd_buckets = n;
        for (uint32_t i = NODE_ROOT; i < tree->n_nodes; i++) {
                WatchNode *node = &tree->nodes[i];

                if (node->wd >= 0) {
                        node->wd_next = *wd_bucket_of(tree, node->wd);
                        *wd_bucket_of(tree, node->wd) = i;
                }
        }
}

int32_t watch_tree_set_wd(WatchTree *tree, uint32_t node, int32_t wd) {
        WatchNode *n = &tree->nodes[node];
        int32_t old = n->wd;

        if (old == wd)
                return -1;
        if (old >= 0) {
                uint32_t *p = wd_bucket_of(tree, old);

                while (*p != node)
                        p = &tree->nodes[*p].wd_next;
                *p = n->wd_next;
                tree->n_mapped--;
                if (watch_tree_first_with(tree, old) == NODE_NONE)
                        tree->n_watches--;
                else
                        old = -1;
        }
        n->wd = -1;
        if (wd >= 0) {
                if (tree->n_mapped >= tree->n_wd_buckets)
                        more_wd_buckets(tree);
                if (watch_tree_first_with(tree, wd) == NODE_NONE)
                        tree->n_watches++;
                n->wd = wd;
                n->wd_next = *wd_bucket_of(tree, wd);
                *wd_bucket_of(tree, wd) = node;
                tree->n_mapped++;
        }
        return old;
}

/* ---- The tree -------------------------------------------------------------------------------------------------- */

int watch_tree_new(WatchTree **ret) {
        _cleanup_(watch_tree_freep) WatchTree *tree = NULL;
        int r;

        tree = malloc(sizeof(*tree));
        if (!tree)
                return -ENOMEM;
        *tree = (WatchTree){ .n_nodes = NODE_ROOT + 1 };
        tree->wd_buckets = calloc(BUCKETS_MIN, sizeof(uint32_t));
        if (!tree->wd_buckets)
                return -ENOMEM;
        tree->n_wd_buckets = BUCKETS_MIN;
        r = grow(&tree->nodes, 0, tree->n_nodes, &tree->n_nodes_allocated, sizeof(WatchNode));
        if (r < 0)
                return r;
        tree->nodes[NODE_NONE] = (WatchNode){ .wd = -1 };
        tree->nodes[NODE_ROOT] = (WatchNode){ .wd = -1 };
        r = more_buckets(tree);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(tree);
        return 0;
}

/* Finds each node of the old tree in the new one. Parents come before their children in both. */
static void map_nodes(const WatchTree *tree, const WatchTree *old, uint32_t *map) {
        map[NODE_NONE] = NODE_NONE;
        map[NODE_ROOT] = NODE_ROOT;
        for (uint32_t i = NODE_ROOT + 1; i < old->n_nodes; i++) {
                const WatchNode *node = &old->nodes[i];

                map[i] = map[node->parent] == NODE_NONE
                                 ? NODE_NONE
                                 : watch_tree_child(tree, map[node->parent], old->names + node->name,
                                           node->name_length);
        }
}

/* Directories in trees that are trees still; not those that are there no more. Parents come before their children. */
static int adopt_below(WatchTree *tree, const WatchTree *old, uint32_t *map) {
        map_nodes(tree, old, map);
        for (uint32_t i = NODE_ROOT + 1; i < old->n_nodes; i++) {
                const WatchNode *was = &old->nodes[i];
                uint32_t parent = map[was->parent];
                int r;

                if (!was->below || parent == NODE_NONE ||
                        !(tree->nodes[parent].tree || tree->nodes[parent].below) ||
                        (was->wd < 0 && !(was->flags & (NODE_DIRTY | NODE_WORKING))))
                        continue;
                r = watch_tree_get_below(tree, parent, old->names + was->name, was->name_length, &map[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int watch_tree_adopt(WatchTree *tree, const WatchTree *old) {
        _cleanup_free_ uint32_t *map = NULL;
        char path[PATH_MAX];
        int r;

        map = calloc(old->n_nodes, sizeof(*map));
        if (!map)
                return -ENOMEM;

        map_nodes(tree, old, map);
        for (uint32_t i = 1; i < old->n_links; i++) {
                const WatchLink *link = &old->links[i];
                uint32_t from = map[link->from], to;

                if (from == NODE_NONE || !(tree->nodes[from].flags & NODE_LISTED))
                        continue;
                r = watch_tree_get(tree, watch_tree_path(old, link->to, path), &to);
                if (r < 0)
                        return r;
                r = watch_tree_link(tree, from, to, tree->nodes[from].flags & NODE_ENTRIES);
                if (r < 0)
                        return r;
                if (r > 0)
                        tree->links[tree->n_links - 1].confirmed = false;
        }

        for (uint32_t i = NODE_ROOT; i < old->n_nodes; i++)
                if (old->nodes[i].flags & NODE_DEAD) {
                        uint32_t node;

                        r = watch_tree_get(tree, watch_tree_path(old, i, path), &node);
                        if (r < 0)
                                return r;
                }

        r = adopt_below(tree, old, map);
        if (r < 0)
                return r;

        map_nodes(tree, old, map);
        for (uint32_t i = NODE_ROOT; i < old->n_nodes; i++) {
                const WatchNode *was = &old->nodes[i];
                WatchNode *node = &tree->nodes[map[i]];

                if (map[i] == NODE_NONE)
                        continue;
                /* What was a directory on the way may be a mere file of the list now. */
                if (node->first_child != NODE_NONE || (node->flags & NODE_WHOLE))
                        (void) watch_tree_set_wd(tree, map[i], was->wd);
                node->flags |= was->flags & (NODE_KNOWN | NODE_DEAD);
                if (node->below && was->below && (was->flags & (NODE_DIRTY | NODE_WORKING)))
                        node->flags |= NODE_DIRTY;
                if (!(node->flags & NODE_LISTED) || !(was->flags & NODE_LISTED))
                        continue;
                node->flags |= was->flags & (NODE_ARMED | NODE_MOUNT | NODE_LEFT_OUT | NODE_UNWATCHED);
                if ((was->flags & (NODE_DIRTY | NODE_WORKING)) ||
                        ((node->flags & NODE_ENTRIES) && !(was->flags & NODE_ENTRIES)))
                        node->flags |= NODE_DIRTY;
        }
        return 0;
}
