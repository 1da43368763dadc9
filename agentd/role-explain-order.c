/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which states come before one, which after it, and who says so: the edges of role-graph.c with their reasons. */

#include <fnmatch.h>

#include "role-explain.h"
#include "value-json.h"

typedef struct Order {
        Explain *explain;
        json_t *lists[2]; /* requires, required_by */
        uint32_t counts[2];
        const State *last[2]; /* that was added without a setting */
        bool failed;
} Order;

/* ---- Reasons ---------------------------------------------------------------------------------------------------- */

static bool has_place(const Value *value, const Place *place) {
        if (value->place.line == place->line && value->place.column == place->column &&
                streq_ptr(value->place.file, place->file))
                return true;
        if (value->type == VALUE_ARRAY)
                VALUE_FOREACH_ITEM(item, value)
                        if (has_place(item, place))
                                return true;
        if (value->type == VALUE_TABLE)
                VALUE_FOREACH_MEMBER(member, value)
                        if (has_place(&member->value, place))
                                return true;
        return false;
}

/* The setting of a state in which that is written; NULL: none, it is the module that says it. */
static const char *setting_at(Loader *loader, const State *state, const Place *place) {
        const Role *const *roles;
        const Value *settings;

        explain_settings_of(loader, state, &settings, &roles);
        VALUE_FOREACH_MEMBER(member, settings)
                if (has_place(&member->value, place))
                        return member->key;
        return NULL;
}

/* after: the explained state waits for the other. by: whose setting it is; NULL: nobody's. */
static void add(Order *order, bool after, const State *other, const char *why, const State *by,
        const Reference *reference) {
        const char *setting = by ? setting_at(order->explain->loader, by, &reference->place) : NULL;
        json_t *entry;

        /* One that owns several paths comes once. */
        if (!by && order->last[!after] == other)
                return;
        order->last[!after] = by ? NULL : other;
        if (other == order->explain->state || order->counts[!after]++ >= EXPLAIN_ORDER_MAX)
                return;
        entry = json_pack("{s:o, s:s, s:s?, s:o, s:o}", "state",
                json_from_text(other->id, strlen(other->id)), "why", by && !setting ? "module" : why,
                "setting", setting, "text",
                setting ? json_from_text(reference->pattern, strlen(reference->pattern)) : json_null(),
                "place", setting ? explain_place(&reference->place) : json_null());
        if (json_array_append_new(order->lists[!after], entry) < 0)
                order->failed = true;
}

/* ---- Edges ------------------------------------------------------------------------------------------------------ */

/* What `state` says of `other`, which it means; one of them is explained. */
static void add_reference(Order *order, const State *state, const State *other, const Reference *reference) {
        bool own = state == order->explain->state;

        add(order, own != reference->before, own ? other : state, "setting", state, reference);
}

static void add_references(Order *order, const State *state) {
        Loader *loader = order->explain->loader;
        const State *explained = order->explain->state;

        for (uint32_t i = 0; i < state->n_references; i++) {
                const Reference *reference = &state->references[i];
                const State *one = reference->loop ? NULL : loader_state(loader, reference->pattern);

                if (one) {
                        if (state == explained || one == explained)
                                add_reference(order, state, one, reference);
                        continue;
                }
                if (!reference->loop && (reference->weak || !strpbrk(reference->pattern, "*?[")))
                        continue;
                if (state != explained) {
                        if (graph_is_meant(reference, explained))
                                add_reference(order, state, explained, reference);
                        continue;
                }
                for (uint32_t k = 0; k < loader->n_declared; k++)
                        if (graph_is_meant(reference, loader->states[k]))
                                add_reference(order, state, loader->states[k], reference);
        }
        for (uint32_t i = 0; state == explained && i < state->n_references; i++)
                for (uint32_t k = loader->n_declared; k < loader->n_states; k++)
                        if (removal_is_meant(loader, &state->references[i], loader->states[k]))
                                add_reference(order, state, loader->states[k], &state->references[i]);
}

/* A path is worked on after the directory that it is in; when both go, before it. */
static void add_path(Order *order, const State *state, const char *path) {
        const State *owner = graph_owner(order->explain->loader, path), *explained = order->explain->state;
        bool gone;

        if (!owner || (owner != explained && state != explained))
                return;
        gone = owner->path_kind == AGENTD_PATH_ABSENT;
        if (!gone && owner->path_kind != AGENTD_PATH_DIRECTORY && owner->path_kind != AGENTD_PATH_TREE)
                return;
        add(order, (state == explained) != gone, state == explained ? owner : state,
                gone ? "content" : "parent", NULL, NULL);
}

static void add_edited(Order *order, const State *state) {
        const Loader *loader = order->explain->loader;
        const State *explained = order->explain->state, *owner;
        uint32_t i = map_get(&loader->paths, state->edits);

        owner = i == MAP_NOT_FOUND ? NULL : loader->states[i];
        if (owner && (owner == explained || state == explained))
                add(order, state == explained, state == explained ? owner : state, "edited", NULL, NULL);
}

static bool is_below(const char *path, const char *directory) {
        const char *rest = startswith(path, directory);

        return rest && *rest == '/';
}

static bool owns_below(const State *state, const char *directory) {
        if ((state->type->type->flags & AGENTD_NAME_IS_PATH) && is_below(state->name, directory))
                return true;
        for (uint32_t i = 0; i < state->n_claims; i++)
                if (is_below(state->claims[i], directory))
                        return true;
        return false;
}

/* Whose module has said that it comes after all that is in a directory. */
static void add_belows(Order *order) {
        const Loader *loader = order->explain->loader;
        const State *explained = order->explain->state;

        for (uint32_t i = 0; i < loader->n_belows; i++) {
                const Below *below = &loader->belows[i];

                if (below->state >= loader->n_declared)
                        continue;
                if (below->state != explained->index) {
                        if (owns_below(explained, below->path))
                                add(order, false, loader->states[below->state], "module", NULL, NULL);
                        continue;
                }
                for (uint32_t k = 0; k < loader->n_declared; k++)
                        if (owns_below(loader->states[k], below->path))
                                add(order, true, loader->states[k], "module", NULL, NULL);
        }
}

/* Because of a setting of the state that is explained, which was told. */
static bool is_listened_to(const Order *order, const State *removal) {
        const State *explained = order->explain->state;

        for (uint32_t i = 0; i < explained->n_references; i++)
                if (removal_is_meant(order->explain->loader, &explained->references[i], removal))
                        return true;
        return false;
}

/* What is to be removed: below the state, before it goes or after it is right; what the state was about before, after it. */
static void add_removals(Order *order) {
        const Loader *loader = order->explain->loader;
        uint32_t explained = order->explain->state->index;

        if (loader->n_declared == loader->n_states)
                return;
        for (uint32_t i = 0; i < loader->n_edges; i++) {
                const Edge *edge = &loader->edges[i];
                bool after = edge->to == explained;
                uint32_t other = after ? edge->from : edge->to;

                if ((!after && edge->from != explained) || other < loader->n_declared ||
                        other >= loader->n_states || (after && is_listened_to(order, loader->states[other])))
                        continue;
                add(order, after, loader->states[other],
                        loader->states[other]->instead == order->explain->state ? "former"
                        : after                                                 ? "content"
                                                                                : "parent",
                        NULL, NULL);
        }
}

int explain_order(Explain *explain, json_t *object) {
        Order order = { .explain = explain, .lists = { json_array(), json_array() } };
        const Loader *loader = explain->loader;
        int r;

        for (uint32_t i = 0; i < loader->n_declared; i++) {
                const State *state = loader->states[i];

                add_references(&order, state);
                if (state->type->type->flags & AGENTD_NAME_IS_PATH)
                        add_path(&order, state, state->name);
                for (uint32_t k = 0; k < state->n_claims; k++)
                        add_path(&order, state, state->claims[k]);
                if (state->edits) {
                        add_edited(&order, state);
                        add_path(&order, state, state->edits);
                }
        }
        add_belows(&order);
        add_removals(&order);
        r = json_object_set_new(object, "requires", order.lists[0]);
        if (json_object_set_new(object, "n_requires", json_integer(order.counts[0])) < 0)
                r = -1;
        if (json_object_set_new(object, "required_by", order.lists[1]) < 0 ||
                json_object_set_new(object, "n_required_by", json_integer(order.counts[1])) < 0)
                r = -1;
        return r < 0 || order.failed ? -ENOMEM : 0;
}
