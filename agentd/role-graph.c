/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who comes after whom: what roles say, what is implied; and that nobody waits for himself. */

#include <fnmatch.h>
#include <limits.h>

#include "role.h"

/* A glob that matches no more than so many states gets an edge to each; for more a group is made. */
#define GROUP_MIN 8

/* Who listens to whom is written down for each pair: a thousand that listen to a thousand. */
#define LISTENERS_MAX 1000000

void graph_add_edge(Loader *loader, uint32_t from, uint32_t to) {
        if (from == to)
                return;
        loader->edges = arena_grow(
                &loader->scratch, loader->edges, loader->n_edges, &loader->n_edges_allocated, sizeof(Edge));
        loader->edges[loader->n_edges++] = (Edge){ .from = from, .to = to };
}

bool graph_add_listener(Loader *loader, uint32_t to, uint32_t state, uint32_t what) {
        if (loader->n_listeners == LISTENERS_MAX)
                return false;
        loader->listeners = arena_grow(&loader->scratch, loader->listeners, loader->n_listeners,
                &loader->n_listeners_allocated, sizeof(ImageListener));
        loader->listeners[loader->n_listeners++] = (ImageListener){ .to = to, .state = state, .what = what };
        return true;
}

static void add_listener(Loader *loader, uint32_t to, const State *state, const Reference *reference) {
        if (reference->listens == 0 || to == state->index || loader->too_many_listen)
                return;
        if (!graph_add_listener(loader, to, state->index, reference->listens)) {
                diagnostics_add(&loader->diagnostics, reference->place,
                        "more than %d pairs of states listen to each other; let one state stand for many, "
                        "and others listen to that one",
                        LISTENERS_MAX);
                loader->too_many_listen = true;
        }
}

static bool owns_path(const State *state) {
        return state->type->type->flags & AGENTD_NAME_IS_PATH;
}

static bool is_glob(const char *pattern) {
        return strpbrk(pattern, "*?[") != NULL;
}

/*
 * States of a glob. The matches of each pattern are found once: a thousand states that require "user:*" cost one walk.
 * They are kept as a group, whose edges are made when it is first used in a direction.
 */
typedef struct Group {
        uint32_t *members;
        uint32_t n, n_allocated;
        uint32_t node_after;       /* a node that is done when all members are; 0: not made */
        uint32_t node_before;      /* a node that all members wait for */
        const char *member_refers; /* the member that requires the group that it is of */
        Place told;                /* where another does so: a loop does it for each of its items */
} Group;

typedef struct Graph {
        Loader *loader;
        Group *groups;
        uint32_t n_groups_allocated;
} Graph;

static uint32_t add_group_node(Loader *loader, const char *pattern) {
        loader->groups = arena_grow(&loader->scratch, loader->groups, loader->n_groups,
                &loader->n_groups_allocated, sizeof(char *));
        loader->groups[loader->n_groups] = pattern;
        return loader->n_states + loader->n_groups++;
}

bool graph_is_meant(const Reference *reference, const State *state) {
        return reference->loop ? state->declaration == reference->loop
                               : fnmatch(reference->pattern, state->id, 0) == 0;
}

static Group *find_group(Graph *graph, const Reference *reference) {
        Loader *loader = graph->loader;
        /* Loops of two roles may be written alike; a line end is in no name. */
        const char *key = reference->loop ? arena_printf(&loader->scratch, "%p\n%s",
                                                    (const void *) reference->loop, reference->pattern)
                                          : reference->pattern;
        uint32_t i = map_get(&loader->group_map, key);
        Group *group;

        if (i != MAP_NOT_FOUND)
                return &graph->groups[i];

        i = loader->group_map.n;
        graph->groups =
                arena_grow(&loader->scratch, graph->groups, i, &graph->n_groups_allocated, sizeof(Group));
        map_put(&loader->group_map, &loader->scratch, key, i);
        group = &graph->groups[i];
        *group = (Group){};
        for (uint32_t s = 0; s < loader->n_declared; s++)
                if (graph_is_meant(reference, loader->states[s])) {
                        group->members = arena_grow(&loader->scratch, group->members, group->n,
                                &group->n_allocated, sizeof(uint32_t));
                        group->members[group->n++] = s;
                }
        return group;
}

static bool same_place(const Place *a, const Place *b) {
        return a->file == b->file && a->line == b->line && a->column == b->column;
}

static void connect_group(Graph *graph, const State *state, const Reference *reference) {
        Loader *loader = graph->loader;
        Group *group = find_group(graph, reference);
        bool itself = graph_is_meant(reference, state);

        if (itself && group->n >= GROUP_MIN) {
                /* Harmless in one member of the group, and otherwise a cycle: found here before it is a million edges. */
                if (group->member_refers && !same_place(&group->told, &reference->place))
                        diagnostics_add(&loader->diagnostics, reference->place,
                                "'%s' matches %s itself, and so it does for %s: they would wait for each "
                                "other",
                                reference->pattern, state->id, group->member_refers);
                if (group->member_refers) {
                        group->told = reference->place;
                        return;
                }
                group->member_refers = state->id;
        }
        for (uint32_t i = 0; reference->listens != 0 && i < group->n; i++)
                add_listener(loader, group->members[i], state, reference);
        if (group->n < GROUP_MIN || itself) {
                for (uint32_t i = 0; i < group->n; i++) {
                        if (reference->before)
                                graph_add_edge(loader, state->index, group->members[i]);
                        else
                                graph_add_edge(loader, group->members[i], state->index);
                }
                return;
        }

        if (reference->before) {
                if (group->node_before == 0) {
                        group->node_before = add_group_node(loader, reference->pattern);
                        for (uint32_t i = 0; i < group->n; i++)
                                graph_add_edge(loader, group->node_before, group->members[i]);
                }
                graph_add_edge(loader, state->index, group->node_before);
        } else {
                if (group->node_after == 0) {
                        group->node_after = add_group_node(loader, reference->pattern);
                        for (uint32_t i = 0; i < group->n; i++)
                                graph_add_edge(loader, group->members[i], group->node_after);
                }
                graph_add_edge(loader, group->node_after, state->index);
        }
}

static void unknown_reference(Loader *loader, const Reference *reference) {
        const char *colon = strchr(reference->pattern, ':'), *meant = NULL;
        const char **ids;

        /* Few enough to compare with each. */
        if (loader->diagnostics.n < 100 && loader->n_declared <= 20000) {
                ids = arena_new_array(&loader->scratch, const char *, loader->n_declared);
                for (uint32_t i = 0; i < loader->n_declared; i++)
                        ids[i] = loader->states[i]->id;
                meant = suggest(reference->pattern, ids, loader->n_declared);
        }
        if (meant)
                diagnostics_add(&loader->diagnostics, reference->place,
                        "there is no state '%s'; did you mean '%s'?", reference->pattern, meant);
        else if (colon && is_glob(reference->pattern))
                diagnostics_add(&loader->diagnostics, reference->place,
                        "'%s' matches no state, and there is no type '%.*s'", reference->pattern,
                        (int) (colon - reference->pattern), reference->pattern);
        else
                diagnostics_add(&loader->diagnostics, reference->place, "there is no state '%s'",
                        reference->pattern);
}

/* A glob may match nothing, e.g. since a loop has no items; but its type must be one. */
static bool glob_type_exists(Loader *loader, const char *pattern) {
        const char *colon = strchr(pattern, ':');
        const char *type = arena_strndup(&loader->scratch, pattern, (size_t) (colon - pattern));

        return is_glob(type) || type_find(loader, type);
}

static void connect(Graph *graph, const State *state, const Reference *reference) {
        Loader *loader = graph->loader;
        const State *other;

        if (reference->loop) {
                connect_group(graph, state, reference);
                return;
        }
        other = loader_state(loader, reference->pattern);
        if (other) {
                if (other == state && !reference->weak)
                        diagnostics_add(
                                &loader->diagnostics, reference->place, "%s refers to itself", state->id);
                else if (reference->before)
                        graph_add_edge(loader, state->index, other->index);
                else
                        graph_add_edge(loader, other->index, state->index);
                add_listener(loader, other->index, state, reference);
                return;
        }
        if (reference->weak || map_get(&loader->off_ids, reference->pattern) != MAP_NOT_FOUND)
                return;
        if (is_glob(reference->pattern)) {
                connect_group(graph, state, reference);
                if (find_group(graph, reference)->n > 0 || glob_type_exists(loader, reference->pattern))
                        return;
        } else if (loader_is_off(loader, reference->pattern))
                return;
        unknown_reference(loader, reference);
}

static void connect_to_owner(Loader *loader, const State *owner, const State *state) {
        if (owner->path_kind == AGENTD_PATH_DIRECTORY || owner->path_kind == AGENTD_PATH_TREE)
                graph_add_edge(loader, owner->index, state->index);
        else if (state->path_kind != AGENTD_PATH_ABSENT)
                diagnostics_add(&loader->diagnostics, state->place,
                        "%s lies below %s (%s:%u:%u), which is to be %s", state->id, owner->id,
                        owner->place.file, owner->place.line, owner->place.column,
                        owner->path_kind == AGENTD_PATH_ABSENT ? "absent" : "no directory");
        else if (owner->path_kind == AGENTD_PATH_ABSENT)
                /* A directory goes when it is empty. */
                graph_add_edge(loader, state->index, owner->index);
}

/* A part of a file comes after the state that owns the file, which must leave the content to others. */
static void connect_to_edited(Loader *loader, const State *state) {
        uint32_t i = map_get(&loader->paths, state->edits);
        const State *owner;

        if (i == MAP_NOT_FOUND)
                return;
        owner = loader->states[i];
        if (owner->path_kind == AGENTD_PATH_EDITABLE)
                graph_add_edge(loader, owner->index, state->index);
        else
                diagnostics_add(&loader->diagnostics, state->place, "%s edits '%s', which %s (%s:%u:%u) %s",
                        state->id, state->edits, owner->id, owner->place.file, owner->place.line,
                        owner->place.column,
                        owner->path_kind == AGENTD_PATH_ABSENT      ? "wants to be absent"
                        : owner->path_kind == AGENTD_PATH_DIRECTORY ? "makes a directory"
                                                                    : "says the whole content of");
}

const State *graph_owner(const Loader *loader, const char *of) {
        char path[PATH_MAX], *slash;

        if (strlen(of) >= sizeof(path))
                return NULL;
        (void) strcpy(path, of);
        while ((slash = strrchr(path, '/'))) {
                uint32_t owner;

                if (slash == path) {
                        if (path[1] == 0)
                                return NULL;
                        path[1] = 0;
                } else
                        *slash = 0;
                owner = map_get(&loader->paths, path);
                if (owner != MAP_NOT_FOUND)
                        return loader->states[owner];
        }
        return NULL;
}

/* A path comes after the nearest directory above it that a state owns. */
static void connect_parent(Loader *loader, const State *state, const char *of) {
        const State *owner = graph_owner(loader, of);

        if (owner)
                connect_to_owner(loader, owner, state);
}

typedef struct Owned {
        const char *path;
        uint32_t state;
} Owned;

static int compare_owned(const void *a, const void *b) {
        const Owned *x = a, *y = b;

        return path_compare(x->path, y->path);
}

/* States that come after whatever lies below a directory. */
static void connect_belows(Loader *loader) {
        uint32_t n = 0;
        Owned *list;

        if (loader->n_belows == 0)
                return;
        for (uint32_t i = 0; i < loader->n_states; i++)
                n += owns_path(loader->states[i]) + loader->states[i]->n_claims;
        list = arena_new_array(&loader->scratch, Owned, n);
        n = 0;
        for (uint32_t i = 0; i < loader->n_states; i++) {
                const State *state = loader->states[i];

                if (owns_path(state))
                        list[n++] = (Owned){ .path = state->name, .state = i };
                for (uint32_t k = 0; k < state->n_claims; k++)
                        list[n++] = (Owned){ .path = state->claims[k], .state = i };
        }
        qsort(list, n, sizeof(*list), compare_owned);
        for (uint32_t b = 0; b < loader->n_belows; b++) {
                const Below *below = &loader->belows[b];
                size_t length = strlen(below->path);
                uint32_t first = 0, end = n;

                while (first < end) {
                        uint32_t middle = first + (end - first) / 2;

                        if (path_compare(list[middle].path, below->path) <= 0)
                                first = middle + 1;
                        else
                                end = middle;
                }
                for (; first < n && strncmp(list[first].path, below->path, length) == 0 &&
                        list[first].path[length] == '/';
                        first++)
                        if (list[first].state != below->state)
                                graph_add_edge(loader, list[first].state, below->state);
        }
}

/* ---- Cycles ---------------------------------------------------------------------------------------------------- */

static const char *node_name(const Loader *loader, uint32_t node) {
        return node < loader->n_states ? loader->states[node]->id : loader->groups[node - loader->n_states];
}

static void report_cycle(Loader *loader, const uint32_t *needs, uint32_t start) {
        Place place = {};
        const char *text = NULL;
        uint32_t node = start, first = start, length = 0;

        /* Begin where a reader begins: at the state that is declared first. */
        do {
                if (node < first)
                        first = node;
                node = needs[node];
        } while (node != start);

        node = first;
        do {
                text = text ? arena_printf(&loader->scratch, "%s requires %s", text, node_name(loader, node))
                            : node_name(loader, node);
                if (node < loader->n_states && !place.file)
                        place = loader->states[node]->place;
                node = needs[node];
                if (++length == 50) {
                        text = arena_printf(&loader->scratch, "%s requires …", text);
                        break;
                }
        } while (node != first);
        diagnostics_add(&loader->diagnostics, place,
                "the states wait for each other in a cycle: %s requires %s", text, node_name(loader, first));
}

/* By node, for how many others it still waits when all has been done that can be; NULL: nobody waits. */
static const uint32_t *find_waiting(Loader *loader) {
        uint32_t n = loader->n_states + loader->n_groups, n_done = 0, top = 0;
        uint32_t *waiting = arena_new_array(&loader->scratch, uint32_t, n);
        uint32_t *first = arena_new_array(&loader->scratch, uint32_t, n + 1);
        uint32_t *next = arena_new_array(&loader->scratch, uint32_t, loader->n_edges);
        uint32_t *stack = arena_new_array(&loader->scratch, uint32_t, n);

        for (uint32_t i = 0; i < loader->n_edges; i++) {
                waiting[loader->edges[i].to]++;
                first[loader->edges[i].from + 1]++;
        }
        for (uint32_t i = 0; i < n; i++)
                first[i + 1] += first[i];
        {
                uint32_t *position = arena_new_array(&loader->scratch, uint32_t, n);

                for (uint32_t i = 0; i < loader->n_edges; i++) {
                        uint32_t from = loader->edges[i].from;

                        next[first[from] + position[from]++] = loader->edges[i].to;
                }
        }

        for (uint32_t i = 0; i < n; i++)
                if (waiting[i] == 0)
                        stack[top++] = i;
        while (top > 0) {
                uint32_t node = stack[--top];

                n_done++;
                for (uint32_t k = first[node]; k < first[node + 1]; k++)
                        if (--waiting[next[k]] == 0)
                                stack[top++] = next[k];
        }
        return n_done == n ? NULL : waiting;
}

/* Of those that wait each needs another that does: follow until a circle closes. */
static void report_cycles(Loader *loader, const uint32_t *waiting) {
        uint32_t n = loader->n_states + loader->n_groups;
        uint32_t *needs = arena_new_array(&loader->scratch, uint32_t, n);
        uint32_t *seen = arena_new_array(&loader->scratch, uint32_t, n);

        for (uint32_t i = 0; i < n; i++)
                needs[i] = UINT32_MAX;
        for (uint32_t i = 0; i < loader->n_edges; i++)
                if (waiting[loader->edges[i].from] > 0 && waiting[loader->edges[i].to] > 0)
                        needs[loader->edges[i].to] = loader->edges[i].from;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t node = i;

                while (needs[node] != UINT32_MAX && seen[node] == 0) {
                        seen[node] = i + 1;
                        node = needs[node];
                }
                if (needs[node] != UINT32_MAX && seen[node] == i + 1)
                        report_cycle(loader, needs, node);
        }
}

void graph_build(Loader *loader) {
        Graph graph = { .loader = loader };
        const uint32_t *waiting;

        for (uint32_t i = 0; i < loader->n_declared; i++) {
                const State *state = loader->states[i];

                for (uint32_t k = 0; k < state->n_references; k++)
                        connect(&graph, state, &state->references[k]);
                if (owns_path(state))
                        connect_parent(loader, state, state->name);
                for (uint32_t k = 0; k < state->n_claims; k++)
                        connect_parent(loader, state, state->claims[k]);
                if (state->edits) {
                        connect_to_edited(loader, state);
                        connect_parent(loader, state, state->edits);
                }
        }
        connect_belows(loader);
        removals_connect(loader);
        waiting = find_waiting(loader);
        if (waiting && removals_disconnect(loader, waiting))
                waiting = find_waiting(loader);
        if (waiting)
                report_cycles(loader, waiting);
}
