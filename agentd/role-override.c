/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * [override."TYPE:NAME"]: what a role says of a state that one of its imports brings. Of several that say the same thing
 * the one whose role is the fewest imports away from the state's counts.
 */

#include "role.h"

/* Takes the state out, or settings of it. No parameter is called so. */
#define REMOVE "remove"

#define NAMES_MAX 512 /* settings that a suggestion is looked for among */

/* ---- What there is --------------------------------------------------------------------------------------------- */

/* Return: 0; -EINVAL. */
static int check_key(Loader *loader, const Member *member) {
        const Member *loop;

        if (!strchr(member->key, ':') || strpbrk(member->key, "\n")) {
                diagnostics_add(&loader->diagnostics, member->place,
                        "'%.200s' is no state; write [override.\"TYPE:NAME\"], like "
                        "[override.\"file:/etc/motd\"]",
                        member->key);
                return -EINVAL;
        }
        if (!loader_wants(loader, &member->value, VALUE_TABLE, member->key, "a table of settings"))
                return -EINVAL;
        loop = value_find(&member->value, "for_each", strlen("for_each"));
        if (loop) {
                diagnostics_add(&loader->diagnostics, loop->place,
                        "'for_each' cannot be overridden: the states are there already; a variable could "
                        "be");
                return -EINVAL;
        }
        return 0;
}

/* What is to be taken out: true or false, or settings. */
static int check_remove(Loader *loader, const Value *remove) {
        if (!remove || remove->type == VALUE_BOOLEAN)
                return 0;
        if (!loader_wants(loader, remove, VALUE_ARRAY, REMOVE,
                    "true, for the whole state, or an array of settings like [\"content\"]"))
                return -EINVAL;
        VALUE_FOREACH_ITEM(item, remove) {
                if (!loader_wants(loader, item, VALUE_STRING, REMOVE, "an array of strings"))
                        return -EINVAL;
                if (strlen(item->text) != item->size || streq(item->text, "for_each")) {
                        diagnostics_add(
                                &loader->diagnostics, item->place, "'%s' cannot be taken out", item->text);
                        return -EINVAL;
                }
        }
        return 0;
}

static void collect(Loader *loader, const Role *role, const Member *member) {
        Value key = {
                .type = VALUE_STRING, .place = member->place, .text = member->key, .size = member->key_size
        };
        Override *override;
        const char *id;
        Names names;
        Value text;

        names_init(&names, loader, role, NULL);
        if (check_key(loader, member) < 0 || check_remove(loader, value_get(&member->value, REMOVE)) < 0 ||
                names_render(&names, &key, &text) < 0)
                return;
        id = normalise_reference(loader, text.text);
        override = arena_new(&loader->scratch, Override);
        *override = (Override){
                .role = role,
                .member = member,
                .id = id,
                .next = map_get(&loader->override_map, id),
        };
        loader->overrides = arena_grow(&loader->scratch, loader->overrides, loader->n_overrides,
                &loader->n_overrides_allocated, sizeof(Override *));
        loader->overrides[loader->n_overrides] = override;
        map_put(&loader->override_map, &loader->scratch, id, loader->n_overrides++);
}

void overrides_collect(Loader *loader) {
        for (uint32_t i = 0; i < loader->n_roles; i++) {
                const Role *role = loader->list[i];
                const Value *table = value_get(&role->table, "override");

                if (!table || role->off ||
                        !loader_wants(loader, table, VALUE_TABLE, "override",
                                "a table of states: [override.\"file:/etc/motd\"]"))
                        continue;
                VALUE_FOREACH_MEMBER(member, table)
                        collect(loader, role, member);
        }
}

/* ---- What a state becomes -------------------------------------------------------------------------------------- */

/* What has been decided about a setting. */
typedef struct Decision {
        const char *key;
        const Role *role;
        uint32_t distance;
        const Member *member; /* NULL: it is taken out */
        const Value *place;   /* what says so */
        bool lapsed;          /* a nearer one says something that excludes it */
        bool outdone;         /* of what is taken out: somebody farther away had set it */
} Decision;

typedef struct Decisions {
        Loader *loader;
        const char *id;
        const TypeEntry *type;
        Decision *list; /* the nearest first */
        uint32_t n, n_allocated;
        Map map; /* keys to indices */
        bool bad;
} Decisions;

static Decision *find_decision(const Decisions *all, const char *key) {
        uint32_t i = map_get(&all->map, key);

        return i == MAP_NOT_FOUND ? NULL : &all->list[i];
}

static const AgentdParameter *find_parameter(const TypeEntry *type, const char *name) {
        for (uint32_t i = 0; i < type->n_parameters; i++)
                if (streq(type->type->parameters[i].name, name))
                        return &type->type->parameters[i];
        return NULL;
}

/* Whether what was decided gives another parameter that excludes this one, as content does a template. distance: of those that
 * count, the farthest. */
static bool is_excluded(const Decisions *all, const char *key, uint32_t distance) {
        const AgentdParameter *parameter = find_parameter(all->type, key);

        for (uint32_t i = 0; parameter && parameter->exclusive && i < all->type->n_parameters; i++) {
                const AgentdParameter *other = &all->type->type->parameters[i];
                const Decision *decision;

                if (other == parameter || !streq_ptr(other->exclusive, parameter->exclusive))
                        continue;
                decision = find_decision(all, other->name);
                if (decision && decision->member && !decision->lapsed && decision->distance <= distance)
                        return true;
        }
        return false;
}

static void decide(Decisions *all, Decision decision) {
        Decision *other = find_decision(all, decision.key);
        const Member *member = decision.member;

        if (!other) {
                decision.lapsed = member && decision.distance > 0 &&
                                  is_excluded(all, decision.key, decision.distance - 1);
                all->list = arena_grow(
                        &all->loader->scratch, all->list, all->n, &all->n_allocated, sizeof(Decision));
                map_put(&all->map, &all->loader->scratch, decision.key, all->n);
                all->list[all->n++] = decision;
                return;
        }
        if (member && !other->member && other->distance < decision.distance)
                other->outdone = true;
        if (other->distance < decision.distance || (!member && !other->member) ||
                (member && other->member && value_equal(&member->value, &other->member->value)))
                return;
        if (other->role == decision.role && member && other->member)
                diagnostics_add(&all->loader->diagnostics, decision.place->place,
                        "'%s' of %s is overridden twice in this role; first at %s:%u:%u", decision.key,
                        all->id, other->place->place.file, other->place->place.line,
                        other->place->place.column);
        else if (other->role == decision.role)
                diagnostics_add(&all->loader->diagnostics, decision.place->place,
                        "'%s' of %s is both taken out and set", decision.key, all->id);
        else
                diagnostics_add(&all->loader->diagnostics, decision.place->place,
                        "'%s' of %s is overridden at %s:%u:%u as well, by a role that is as near",
                        decision.key, all->id, other->place->place.file, other->place->place.line,
                        other->place->place.column);
        all->bad = true;
}

static void decide_by(Decisions *all, const Override *override, uint32_t distance) {
        VALUE_FOREACH_MEMBER(member, &override->member->value) {
                if (streq(member->key, REMOVE) && member->value.type == VALUE_ARRAY) {
                        VALUE_FOREACH_ITEM(item, &member->value)
                                decide(all, (Decision){
                                                    .key = item->text,
                                                    .role = override->role,
                                                    .distance = distance,
                                                    .place = item,
                                            });
                        continue;
                }
                decide(all, (Decision){
                                    .key = member->key,
                                    .role = override->role,
                                    .distance = distance,
                                    .member = member,
                                    .place = &member->value,
                            });
        }
}

/* What was taken out must have been there, and may not be needed. */
static void take_out(Decisions *all, const Decision *taken, const Value *settings, Value *merged) {
        const AgentdParameter *parameter = find_parameter(all->type, taken->key);
        const Member *was = value_find(settings, taken->key, strlen(taken->key));
        const char *names[NAMES_MAX], *meant;
        uint32_t n = 0;

        if (was ? !(parameter && parameter->flags & AGENTD_REQUIRED) : taken->outdone)
                return;
        all->bad = true;
        if (was) {
                diagnostics_add(&all->loader->diagnostics, taken->place->place,
                        "'%s' cannot be taken out: a %s state needs it", taken->key, all->type->name);
                value_add(&all->loader->scratch, merged, was->key, was->key_size, &was->value);
                return;
        }
        VALUE_FOREACH_MEMBER(member, settings)
                if (n < NAMES_MAX)
                        names[n++] = member->key;
        meant = suggest(taken->key, names, n);
        diagnostics_add(&all->loader->diagnostics, taken->place->place,
                "%s has no setting '%s' that could be taken out%s%s%s", all->id, taken->key,
                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
}

/* The overrides of a state, the nearest first. Returns how many. */
static uint32_t gather(Loader *loader, const Role *role, const char *id, Override ***ret) {
        uint32_t n = 0, n_allocated = 0;
        Override **list = NULL;

        for (uint32_t i = map_get(&loader->override_map, id); i != UINT32_MAX;
                i = loader->overrides[i]->next) {
                Override *override = loader->overrides[i];
                uint32_t distance = role_distance(loader, override->role, role), k = n;

                if (distance == 0 || distance == UINT32_MAX)
                        continue;
                override->used = true;
                list = arena_grow(&loader->scratch, list, n, &n_allocated, sizeof(Override *));
                for (; k > 0 && role_distance(loader, list[k - 1]->role, role) >= distance; k--)
                        list[k] = list[k - 1];
                list[k] = override;
                n++;
        }
        *ret = list;
        return n;
}

int override_settings(Loader *loader, const Role *role, const TypeEntry *type, const char *id,
        const Value *settings, const Value **ret, const Role *const **ret_roles) {
        Decisions all = { .loader = loader, .id = id, .type = type };
        const Decision *remove;
        Override **list = NULL;
        const Role **roles;
        Value *merged;
        uint32_t n = 0;

        *ret = settings;
        *ret_roles = NULL;
        if (loader->n_overrides > 0)
                n = gather(loader, role, id, &list);
        if (n == 0)
                return 0;

        for (uint32_t i = 0; i < n; i++)
                decide_by(&all, list[i], role_distance(loader, list[i]->role, role));
        remove = find_decision(&all, REMOVE);
        if (remove && remove->member && remove->member->value.boolean)
                return all.bad ? -EINVAL : 1;

        merged = arena_new(&loader->scratch, Value);
        *merged = value_table();
        merged->place = settings->place;
        roles = arena_new_array(&loader->scratch, const Role *, settings->n_members + all.n);
        VALUE_FOREACH_MEMBER(member, settings)
                if (!find_decision(&all, member->key) && !is_excluded(&all, member->key, UINT32_MAX))
                        value_add(&loader->scratch, merged, member->key, member->key_size, &member->value)
                                ->place = member->place;
        for (uint32_t i = 0; i < all.n; i++) {
                const Decision *decision = &all.list[i];

                if (!decision->member)
                        take_out(&all, decision, settings, merged);
                else if (!decision->lapsed && !streq(decision->key, REMOVE)) {
                        roles[merged->n_members] = decision->role;
                        value_add(&loader->scratch, merged, decision->key, strlen(decision->key),
                                &decision->member->value)
                                ->place = decision->member->place;
                }
        }
        *ret = merged;
        *ret_roles = roles;
        return all.bad ? -EINVAL : 0;
}

/* ---- What was about nothing ------------------------------------------------------------------------------------ */

static const char *find_meant(Loader *loader, const char *id) {
        const char **ids;

        if (loader->diagnostics.n >= 100 || loader->n_states > 20000)
                return NULL;
        ids = arena_new_array(&loader->scratch, const char *, loader->n_states);
        for (uint32_t i = 0; i < loader->n_states; i++)
                ids[i] = loader->states[i]->id;
        return suggest(id, ids, loader->n_states);
}

/* Whether the state may be in a file that could not be read, which was told. */
static bool may_be_missing(Loader *loader, const Role *role) {
        for (uint32_t i = 0; i < loader->n_roles; i++)
                if (loader->list[i]->is_incomplete &&
                        role_distance(loader, role, loader->list[i]) != UINT32_MAX)
                        return true;
        return false;
}

void overrides_check(Loader *loader) {
        for (uint32_t i = 0; i < loader->n_overrides; i++) {
                const Override *override = loader->overrides[i];
                const Place *place = &override->member->place;
                const State *state = loader_state(loader, override->id);
                const char *meant;

                if (override->used || map_get(&loader->off_ids, override->id) != MAP_NOT_FOUND ||
                        (!state && loader_is_off(loader, override->id)))
                        continue;
                if (state && state->role == override->role)
                        diagnostics_add(&loader->diagnostics, *place,
                                "%s is a state of this role; change it there: %s:%u:%u", override->id,
                                state->place.file, state->place.line, state->place.column);
                else if (state)
                        diagnostics_add(&loader->diagnostics, *place,
                                "%s is a state of role '%s' (%s:%u:%u), which this role does not import",
                                override->id, state->role->name, state->place.file, state->place.line,
                                state->place.column);
                else if (!may_be_missing(loader, override->role)) {
                        meant = find_meant(loader, override->id);
                        diagnostics_add(&loader->diagnostics, *place,
                                "there is no state '%s' to override%s%s%s", override->id,
                                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
                }
        }
}
