/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * States that are declared no more. While one is declared with on_removal = "absent", the image says how it would be removed: a
 * recipe, with those of its parameters that say what it is about. The engine writes that down once the state is as declared,
 * and gives it to the loads to come. When no role declares it any more, a state with ensure = "absent" is made of it, which is
 * checked and applied like every other one.
 *
 *      {"type":"file","name":"/etc/motd","role":"base","parameters":{"ensure":"absent"}}
 *
 * A state that is about something else than before, under the same id, has left something behind as well. Then there are two: what
 * is declared, and after it what was, under an id of its own (load_former_id()).
 *
 * No load fails because of a removal. What cannot be made of a recipe now stays written down, and is told; what has another
 * owner by now is forgotten.
 */

#include <fnmatch.h>
#include <inttypes.h>
#include <syslog.h>

#include "role.h"
#include "value-json.h"

/* What identifies a state: a line of a file, a path. */
#define RECIPE_MAX KIB(64)

#define ENSURE "ensure"
#define ABSENT "absent"

/* ---- What is written down -------------------------------------------------------------------------------------- */

static uint32_t find_parameter(const TypeEntry *type, const char *name) {
        for (uint32_t i = 0; i < type->n_parameters; i++)
                if (streq(type->type->parameters[i].name, name))
                        return i;
        return UINT32_MAX;
}

bool type_can_be_absent(const AgentdStateType *type) {
        for (const AgentdParameter *p = type->parameters; p && p->name; p++)
                for (size_t i = 0; streq(p->name, ENSURE) && p->choices && p->choices[i]; i++)
                        if (streq(p->choices[i], ABSENT))
                                return true;
        return false;
}

static bool is_absent(const State *state) {
        uint32_t i = find_parameter(state->type, ENSURE);
        const AgentdValue *ensure = i == UINT32_MAX ? NULL : &state->parameters[i];

        return ensure && ensure->type == AGENTD_STRING && streq(ensure->string, ABSENT);
}

bool state_leaves(const State *state) {
        return state->extra && state->extra->removal_place.file && !is_absent(state);
}

static json_t *any_to_json(const AgentdValue *value) {
        json_t *json;

        switch (value->type) {
        case AGENTD_BOOLEAN: return json_boolean(value->boolean);
        case AGENTD_INTEGER: return json_integer(value->integer);
        case AGENTD_FLOAT: return json_real(value->real);
        case AGENTD_STRING: return json_stringn(value->string, value->size);
        case AGENTD_LIST:
                json = json_array();
                for (uint32_t i = 0; i < value->n; i++)
                        (void) json_array_append_new(json, any_to_json(&value->items[i]));
                return json;
        case AGENTD_TABLE:
                json = json_object();
                for (uint32_t i = 0; i < value->n; i++)
                        (void) json_object_set_new(
                                json, value->members[i].key, any_to_json(&value->members[i].value));
                return json;
        default: return json_null();
        }
}

/* As a role would say it. NULL: it is no UTF-8, or there is no memory. */
static json_t *to_json(const AgentdParameter *parameter, const AgentdValue *value) {
        json_t *json;

        if (value->type == AGENTD_INTEGER)
                switch ((uint32_t) parameter->type) {
                case AGENTD_MODE: return json_sprintf("%04o", (unsigned) value->integer);
                case AGENTD_TIMESPAN:
                        return value->integer == INT64_MAX ? json_string("infinity")
                                                           : json_sprintf("%" PRId64 "us", value->integer);
                case AGENTD_BYTES: return json_sprintf("%" PRId64, value->integer);
                default: break;
                }
        if (value->type != AGENTD_RECORD)
                return any_to_json(value);
        json = json_object();
        for (uint32_t i = 0; i < value->n; i++)
                if (value->items[i].type != AGENTD_NONE)
                        (void) json_object_set_new(json, parameter->fields[i].name,
                                to_json(&parameter->fields[i], &value->items[i]));
        return json;
}

static bool values_are_same(const AgentdParameter *parameter, const AgentdValue *a, const AgentdValue *b) {
        json_t *x = to_json(parameter, a), *y = to_json(parameter, b);
        bool same = x && y && json_equal(x, y);

        json_decref(x);
        json_decref(y);
        return same;
}

/* Words that the type knows, paths, modes: no secret is among them. */
static bool may_be_secret(const AgentdParameter *parameter) {
        switch ((uint32_t) parameter->type) {
        case AGENTD_BOOLEAN:
        case AGENTD_MODE: return false;
        case AGENTD_STRING:
        case AGENTD_LIST: return !(parameter->flags & AGENTD_PATH) && !parameter->choices;
        default: return true;
        }
}

static void refuse(Loader *loader, State *state, const char *format, ...) _printf_(3, 4);

static void refuse(Loader *loader, State *state, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        diagnostics_add(&loader->diagnostics, state->extra->removal_place, "%s", text ?: "out of memory");
        state->broken = true;
}

/* What goes with ensure = "absent"; NULL: it cannot be, which was told. */
static json_t *write_parameters(Loader *loader, State *state) {
        const AgentdParameter *parameters = state->type->type->parameters;
        json_t *json = json_object();

        (void) json_object_set_new(json, ENSURE, json_string(ABSENT));
        for (uint32_t i = 0; i < state->type->n_parameters; i++) {
                const AgentdParameter *parameter = &parameters[i];
                const AgentdValue *said = state->removal ? state->removal[i] : NULL;

                if (said ? said->type == AGENTD_NONE
                         : !(parameter->flags & (AGENTD_IDENTIFIES | AGENTD_REQUIRED)) ||
                                        !state_given(state, i) || streq(parameter->name, ENSURE))
                        continue;
                if ((parameter->flags & AGENTD_SECRET) ||
                        (!said && (state->flags & IMAGE_STATE_SENSITIVE) && may_be_secret(parameter))) {
                        refuse(loader, state, "'on_removal' would have to write '%s' down in clear, and %s",
                                parameter->name,
                                parameter->flags & AGENTD_SECRET ? "it is a secret"
                                                                 : "the state is sensitive");
                        json_decref(json);
                        return NULL;
                }
                if (json_object_set_new(
                            json, parameter->name, to_json(parameter, said ?: &state->parameters[i])) < 0) {
                        refuse(loader, state, "'on_removal' cannot write '%s' down: it is not UTF-8",
                                parameter->name);
                        json_decref(json);
                        return NULL;
                }
        }
        if (state->flags & IMAGE_STATE_SENSITIVE)
                (void) json_object_set_new(json, "sensitive", json_true());
        if (state->flags & IMAGE_STATE_CHECK_AS_ROOT)
                (void) json_object_set_new(json, "check_as_root", json_true());
        return json;
}

static void write_recipe(Loader *loader, State *state) {
        json_t *parameters = write_parameters(loader, state), *recipe;
        _cleanup_free_ char *text = NULL;

        if (!parameters)
                return;
        recipe = json_pack("{s:s, s:s, s:s, s:o}", "type", state->type->name, "name", state->name, "role",
                state->role->name, "parameters", parameters);
        text = recipe ? json_dumps(recipe, JSON_COMPACT) : NULL;
        json_decref(recipe);
        if (!text)
                refuse(loader, state, "'on_removal' cannot write the state down: its name is not UTF-8");
        else if (strlen(text) > RECIPE_MAX)
                refuse(loader, state, "'on_removal' would have to write down more than %d KiB",
                        (int) (RECIPE_MAX / KIB(1)));
        else
                state->extra->removal = arena_strdup(&loader->scratch, text);
}

void removals_write(Loader *loader) {
        for (uint32_t i = 0; i < loader->n_states; i++)
                if (!loader->states[i]->broken && state_leaves(loader->states[i]))
                        write_recipe(loader, loader->states[i]);
}

/* ---- Former ids ------------------------------------------------------------------------------------------------ */

void former_check(Loader *loader) {
        for (uint32_t i = 0; i < loader->n_states; i++) {
                const State *state = loader->states[i];

                for (uint32_t k = 0; state->extra && k < state->extra->was.n; k++) {
                        const char *id = state->extra->was.texts[k];
                        const State *other = loader_state(loader, id);
                        uint32_t claimed = map_get(&loader->former, id);

                        if (other == state)
                                diagnostics_add(&loader->diagnostics, state->extra->was_place,
                                        "'%s' is the name that it has now", id);
                        else if (other)
                                diagnostics_add(&loader->diagnostics, state->extra->was_place,
                                        "'%s' is still declared at %s:%u:%u", id, other->place.file,
                                        other->place.line, other->place.column);
                        else if (claimed == MAP_NOT_FOUND)
                                map_put(&loader->former, &loader->scratch, id, i);
                        else if (claimed != i) {
                                other = loader->states[claimed];
                                diagnostics_add(&loader->diagnostics, state->extra->was_place,
                                        "both %s and %s say that they were '%s'; the other one does at "
                                        "%s:%u:%u",
                                        other->id, state->id, id, other->extra->was_place.file,
                                        other->extra->was_place.line, other->extra->was_place.column);
                        }
                }
        }
}

/* ---- States to remove ------------------------------------------------------------------------------------------ */

typedef struct Removals {
        Loader *loader;
        Map above; /* what something declared is in: directories above it, the file that it edits → state */
        bool above_is_known;
        Map edited; /* file → the last declared state that edits it */
        uint32_t *
                next; /* by state: the next one that edits the same file; NULL: nothing of that is known yet */
        Map ids;      /* of those that were made */
} Removals;

static void say(Removals *removals, int level, const char *id, const char *why) {
        loader_log(removals->loader, level, arena_printf(&removals->loader->scratch, "%s %s", id, why));
}

/* key: under which it was written down. */
static void forget(Removals *removals, const char *key, const State *state, const State *owner) {
        say(removals, LOG_INFO, state->id,
                arena_printf(&removals->loader->scratch,
                        "is declared no more, and not removed, as it is now what %s is about", owner->id));
        loader_tell_forget(removals->loader, key);
}

static void note_above(Removals *removals, const char *of, uint32_t state) {
        Loader *loader = removals->loader;
        char *slash, *path = arena_strdup(&loader->scratch, of);

        while ((slash = strrchr(path, '/')) && slash != path) {
                *slash = 0;
                if (map_get(&removals->above, path) != MAP_NOT_FOUND)
                        return;
                map_put(&removals->above, &loader->scratch, arena_strdup(&loader->scratch, path), state);
        }
}

/* A declared state that is about what is in the path; NULL. */
static const State *find_in(Removals *removals, const char *path) {
        Loader *loader = removals->loader;
        uint32_t i;

        for (i = 0; !removals->above_is_known && i < loader->n_declared; i++) {
                const State *state = loader->states[i];

                if ((state->type->type->flags & AGENTD_NAME_IS_PATH) &&
                        state->path_kind != AGENTD_PATH_ABSENT)
                        note_above(removals, state->name, i);
                for (uint32_t k = 0; k < state->n_claims && !is_absent(state); k++)
                        note_above(removals, state->claims[k], i);
                /* Nor does a file go that others edit. */
                if (state->edits && !is_absent(state)) {
                        map_put(&removals->above, &loader->scratch, state->edits, i);
                        note_above(removals, state->edits, i);
                }
        }
        removals->above_is_known = true;
        i = map_get(&removals->above, path);
        return i == MAP_NOT_FOUND ? NULL : loader->states[i];
}

/* A role of that name, or one that there was. */
static const Role *find_role(Removals *removals, const char *name) {
        Loader *loader = removals->loader;
        Role *role;

        for (uint32_t i = 0; i < loader->n_roles; i++)
                if (streq(loader->list[i]->name, name))
                        return loader->list[i];
        role = arena_new(&loader->scratch, Role);
        *role = (Role){
                .name = arena_strdup(&loader->scratch, name),
                .path = "",
                .real = "",
                .directory = "/",
                .table = value_table(),
                .vars = value_table(),
                .index = loader->n_roles,
        };
        loader->list = arena_grow(
                &loader->scratch, loader->list, loader->n_roles, &loader->n_roles_allocated, sizeof(Role *));
        loader->list[loader->n_roles++] = role;
        return role;
}

/* Whether the state that is declared under that id is about the same as before, and only says otherwise what that is like, or how
 * it is removed. */
static bool is_still(const State *state, const State *removal) {
        const AgentdParameter *parameters = state->type->type->parameters;
        bool same = streq_ptr(state->edits, removal->edits);

        if (state->type->type->flags & AGENTD_NAME_IS_PATH || removal->taken_by == state)
                return true;
        for (uint32_t i = 0; same && i < state->type->n_parameters; i++) {
                const AgentdValue *said = state->removal ? state->removal[i] : NULL;

                /* Which file it is about is known. */
                if (!(parameters[i].flags & AGENTD_IDENTIFIES) ||
                        (state->edits && parameters[i].flags & (AGENTD_PATH | AGENTD_USER)))
                        continue;
                same = values_are_same(
                        &parameters[i], said ?: &state->parameters[i], &removal->parameters[i]);
        }
        return same;
}

/* Whether another state says the same line, block or section of a file, under another name. */
static bool is_about_the_same(const State *state, const State *removal) {
        const AgentdParameter *parameters = state->type->type->parameters;
        bool same = true, told = false;

        if (state->type != removal->type || !streq_ptr(state->edits, removal->edits) || is_absent(state))
                return false;
        for (uint32_t i = 0; same && i < state->type->n_parameters; i++) {
                if (!(parameters[i].flags & (AGENTD_IDENTIFIES | AGENTD_REQUIRED)) ||
                        !state_given(removal, i))
                        continue;
                same = values_are_same(&parameters[i], &state->parameters[i], &removal->parameters[i]);
                told = told || !(parameters[i].flags & (AGENTD_PATH | AGENTD_USER));
        }
        /* Where nothing says what in the file is meant, the name does. */
        return same && told;
}

/* The last declared state that edits the file, as in `next`; MAP_NOT_FOUND: none does. */
static uint32_t find_editor(Removals *removals, const char *path) {
        Loader *loader = removals->loader;

        if (!removals->next) {
                removals->next = arena_new_array(&loader->scratch, uint32_t, loader->n_declared);
                for (uint32_t i = 0; i < loader->n_declared; i++) {
                        const char *edits = loader->states[i]->edits;

                        if (!edits)
                                continue;
                        removals->next[i] = map_get(&removals->edited, edits);
                        map_put(&removals->edited, &loader->scratch, edits, i);
                }
        }
        return map_get(&removals->edited, path);
}

/* Who has it now, so that it is no longer ours to remove; NULL. */
static const State *find_owner(Removals *removals, const State *removal) {
        const Loader *loader = removals->loader;
        const State *owner = removal->taken_by;
        uint32_t i;

        if (owner)
                return owner;
        if (removal->type->type->flags & AGENTD_NAME_IS_PATH) {
                i = map_get(&loader->paths, removal->name);
                owner = i == MAP_NOT_FOUND ? NULL : loader->states[i];
        } else if (removal->edits) {
                i = map_get(&loader->paths, removal->edits);
                if (i != MAP_NOT_FOUND && loader->states[i]->path_kind != AGENTD_PATH_EDITABLE)
                        owner = loader->states[i];
                for (i = find_editor(removals, removal->edits); !owner && i != MAP_NOT_FOUND;
                        i = removals->next[i])
                        if (is_about_the_same(loader->states[i], removal))
                                owner = loader->states[i];
        }
        return owner;
}

/* "cron:x (before 1a2b3c4d)" */
static const char *former_id(Loader *loader, const char *id, const char *recipe) {
        _cleanup_free_ char *former = load_former_id(id, recipe);

        return arena_strdup(&loader->scratch, former ?: id);
}

/* Under which id it is removed: its own, unless that is declared, or was when the recipe was written down. */
static void give_id(Loader *loader, State *state, const char *key, const char *text) {
        const State *declared = loader_state(loader, state->id);
        const char *former = former_id(loader, state->id, text);

        state->of = state->id;
        if (!declared && !streq(key, former))
                return;
        state->id = former;
        state_extra(loader, state)->name = state->name;
        state->instead = declared;
        if (!declared)
                return;
        /* What is skipped, or only looked at, leaves all as it is. */
        state->when = declared->when;
        state->flags |= declared->flags & (IMAGE_STATE_WHEN_LOOKS | IMAGE_STATE_AUDIT);
}

/* Makes and prepares it. Return: NULL: it cannot be, and the diagnostics say why, or nothing does. */
static State *make(Removals *removals, const char *key, const char *text, const Role *role, TypeEntry *type,
        const json_t *recipe) {
        Loader *loader = removals->loader;
        const char *name = json_string_value(json_object_get(recipe, "name"));
        Value *settings = arena_new(&loader->scratch, Value);
        State *state;

        if (loader->n_states == STATES_MAX)
                return NULL;
        *settings = value_from_json(&loader->scratch, json_object_get(recipe, "parameters"));
        state = state_make_again(loader, role, type, arena_strdup(&loader->scratch, name), settings);
        if (!state)
                return NULL;
        give_id(loader, state, key, text);
        state_prepare(loader, state);
        if (loader->diagnostics.n == 0)
                return state;
        loader->n_states--;
        return NULL;
}

static bool is_recipe(const json_t *json) {
        return json_is_string(json_object_get(json, "type")) &&
               json_is_string(json_object_get(json, "name")) &&
               json_is_string(json_object_get(json, "role")) &&
               json_is_object(json_object_get(json, "parameters"));
}

/* What a declared state makes is to be removed one day. */
static bool leaves_something(const State *state) {
        return state->extra && state->extra->removal;
}

static void cannot_be_removed(Removals *removals, const char *id, const char *why) {
        say(removals, LOG_WARNING, id,
                arena_printf(
                        &removals->loader->scratch, "is declared no more, and cannot be removed: %s", why));
}

/* key: under which the recipe, `text`, was written down. */
static void remove_state(Removals *removals, const char *key, const char *text, const json_t *recipe) {
        Loader *loader = removals->loader;
        const char *id = loader_state(loader, key) ? former_id(loader, key, text) : key;
        const char *type_name = json_string_value(json_object_get(recipe, "type"));
        uint32_t n_states = loader->n_states, n_belows = loader->n_belows;
        const State *other;
        TypeEntry *type;
        State *state;

        type = type_find(loader, arena_strdup(&loader->scratch, type_name));
        if (!type || !type_can_be_absent(type->type)) {
                cannot_be_removed(removals, id,
                        arena_printf(&loader->scratch, "there is no state type '%s' that can be absent",
                                type_name));
                return;
        }
        state = make(removals, key, text,
                find_role(removals, json_string_value(json_object_get(recipe, "role"))), type, recipe);
        other = state ? find_owner(removals, state) : NULL;
        if (!state) {
                cannot_be_removed(removals, id,
                        loader->diagnostics.n > 0 ? loader->diagnostics.list[0].message
                                                  : "there are too many states");
        } else if (!streq(state->id, key) && !streq(state->of, key))
                loader_tell_forget(loader, key);
        else if (state->instead && !leaves_something(state->instead))
                loader_tell_forget(loader, key);
        else if (state->instead && is_still(state->instead, state)) {
                /* Nothing is left behind, which the engine has to know: see load_forgotten(). But if it is about that again, and
                 * was not found as declared yet, this is all that is known. */
                if (!streq(state->id, key) || json_object_get(loader->options->removals, state->of))
                        loader_tell_forget(loader, state->id);
        } else if (other)
                forget(removals, key, state, other);
        else if (map_get(&removals->ids, state->id) != MAP_NOT_FOUND)
                ; /* it was written down twice */
        else if (type->type->flags & AGENTD_NAME_IS_PATH && (other = find_in(removals, state->name)))
                say(removals, LOG_WARNING, id,
                        arena_printf(&loader->scratch,
                                "is declared no more, and is removed once nothing is declared in it: %s is",
                                other->id));
        else {
                map_put(&removals->ids, &loader->scratch, state->id, 0);
                return;
        }
        /* Nothing of it stays behind. */
        loader->n_states = n_states;
        loader->n_belows = n_belows;
}

/* All together, since a program that hangs may take its time once, and not for each of them. */
static void ask_programs(Removals *removals) {
        Loader *loader = removals->loader;
        uint32_t first = loader->n_declared, n = first;
        const char **refusals = arena_new_array(&loader->scratch, const char *, loader->n_states - first);

        foreign_prepare_removals(loader, refusals);
        /* What a program refuses has nothing that comes after what is below. */
        for (uint32_t i = first, below = 0; i < loader->n_states; i++) {
                State *state = loader->states[i];

                if (refusals[i - first]) {
                        cannot_be_removed(removals, state->id, refusals[i - first]);
                        continue;
                }
                while (below < loader->n_belows && loader->belows[below].state < i)
                        below++;
                for (; below < loader->n_belows && loader->belows[below].state == i; below++)
                        loader->belows[below].state = n;
                state->index = n;
                loader->states[n++] = state;
        }
        loader->n_states = n;
}

void removals_make(Loader *loader) {
        Removals removals = { .loader = loader };
        const Diagnostics of_roles = loader->diagnostics;
        const char *id;
        json_t *value;

        loader->n_declared = loader->n_states;
        if (loader->diagnostics.n > 0)
                return;
        /* What is wrong with one is told in the log, and is no error of the roles. */
        loader->diagnostics = (Diagnostics){ .arena = &loader->scratch };
        json_object_foreach((json_t *) loader->options->removals, id, value) {
                const State *declared = loader_state(loader, id);
                const char *text = json_string_value(value) ?: "";
                json_t *recipe;

                if (map_get(&loader->former, id) != MAP_NOT_FOUND)
                        continue;
                /* Nearly all of them. */
                if (declared && (!leaves_something(declared) || streq(declared->extra->removal, text)))
                        continue;
                diagnostics_clear(&loader->diagnostics);
                recipe = json_loads(text, JSON_ALLOW_NUL, NULL);
                if (is_recipe(recipe))
                        remove_state(&removals, id, text, recipe);
                else
                        loader_tell_forget(loader, id);
                json_decref(recipe);
        }
        ask_programs(&removals);
        loader->diagnostics = of_roles;
}

/* ---- Their order ----------------------------------------------------------------------------------------------- */

/* What is removed with the path, or the nearest above it; else the nearest declared owner. False: look further up. */
static bool connect_path(Loader *loader, const Map *removed, const State *state, const char *path) {
        uint32_t i = map_get(removed, path);

        if (i != MAP_NOT_FOUND && i != state->index) {
                graph_add_edge(loader, state->index, i);
                return true;
        }
        i = map_get(&loader->paths, path);
        if (i == MAP_NOT_FOUND)
                return false;
        if (loader->states[i]->path_kind == AGENTD_PATH_ABSENT)
                graph_add_edge(loader, state->index, i);
        else
                graph_add_edge(loader, i, state->index);
        return true;
}

static void connect_above(Loader *loader, const Map *removed, const State *state, const char *of) {
        char *path = arena_strdup(&loader->scratch, of), *slash;

        while ((slash = strrchr(path, '/')) && slash != path) {
                *slash = 0;
                if (connect_path(loader, removed, state, path))
                        return;
        }
}

bool removal_is_meant(Loader *loader, const Reference *reference, const State *removal) {
        const char *pattern = reference->pattern;

        if (reference->listens == 0)
                return false;
        /* Its items are not known any more. */
        if (reference->loop)
                return removal->role == reference->role &&
                       fnmatch(loader_name_glob(loader, normalise_reference(loader, pattern)), removal->of,
                               0) == 0;
        return streq(pattern, removal->of) ||
               (strpbrk(pattern, "*?[") && fnmatch(pattern, removal->of, 0) == 0);
}

/* Of what is to be removed, that which a reference means. */
typedef struct Meant {
        uint32_t *states, n, n_allocated;
} Meant;

typedef struct MeantList {
        Map map;
        Meant *list;
        uint32_t n_allocated;
} MeantList;

static const Meant *find_meant(Loader *loader, MeantList *all, const Reference *reference) {
        /* A line end is in no name, nor in that of a role. */
        const char *key = reference->loop ? arena_printf(&loader->scratch, "%s\n%s", reference->role->name,
                                                    reference->pattern)
                                          : reference->pattern;
        uint32_t n = map_get(&all->map, key);
        Meant *meant;

        if (n != MAP_NOT_FOUND)
                return &all->list[n];
        n = all->map.n;
        all->list = arena_grow(&loader->scratch, all->list, n, &all->n_allocated, sizeof(Meant));
        map_put(&all->map, &loader->scratch, key, n);
        meant = &all->list[n];
        *meant = (Meant){};
        for (uint32_t i = loader->n_declared; i < loader->n_states; i++)
                if (removal_is_meant(loader, reference, loader->states[i])) {
                        meant->states = arena_grow(&loader->scratch, meant->states, meant->n,
                                &meant->n_allocated, sizeof(uint32_t));
                        meant->states[meant->n++] = i;
                }
        return meant;
}

/* Who listens to what matches a pattern is told also when that goes, and so comes after it. */
static void connect_listeners(Loader *loader) {
        MeantList all = {};

        for (uint32_t i = 0; i < loader->n_declared; i++) {
                const State *state = loader->states[i];

                for (uint32_t k = 0; state->listens != 0 && k < state->n_references; k++) {
                        const Reference *reference = &state->references[k];
                        const Meant *meant =
                                reference->listens != 0 ? find_meant(loader, &all, reference) : NULL;

                        for (uint32_t m = 0; meant && m < meant->n; m++) {
                                if (loader->states[meant->states[m]]->instead == state)
                                        continue;
                                if (!graph_add_listener(loader, meant->states[m], i, reference->listens)) {
                                        loader_log(loader, LOG_WARNING,
                                                "So many states listen to others that not all of them are "
                                                "told of "
                                                "what is removed");
                                        return;
                                }
                                graph_add_edge(loader, meant->states[m], i);
                        }
                }
        }
}

void removals_connect(Loader *loader) {
        Map removed = {};

        if (loader->n_declared < loader->n_states)
                connect_listeners(loader);

        for (uint32_t i = loader->n_declared; i < loader->n_states; i++)
                if (loader->states[i]->type->type->flags & AGENTD_NAME_IS_PATH)
                        map_put(&removed, &loader->scratch, loader->states[i]->name, i);
        for (uint32_t i = loader->n_declared; i < loader->n_states; i++) {
                const State *state = loader->states[i];

                /* A line takes the place of another before that is looked for. */
                if (state->instead)
                        graph_add_edge(loader, state->instead->index, i);
                if (state->type->type->flags & AGENTD_NAME_IS_PATH)
                        connect_above(loader, &removed, state, state->name);
                for (uint32_t k = 0; k < state->n_claims; k++)
                        connect_above(loader, &removed, state, state->claims[k]);
                if (state->edits && !connect_path(loader, &removed, state, state->edits))
                        connect_above(loader, &removed, state, state->edits);
        }
}

static bool is_removal(const Loader *loader, uint32_t node) {
        return node >= loader->n_declared && node < loader->n_states;
}

bool removals_disconnect(Loader *loader, const uint32_t *waiting) {
        uint32_t n = 0, n_before = loader->n_edges;

        for (uint32_t i = 0; i < n_before; i++) {
                const Edge edge = loader->edges[i];

                if (!(is_removal(loader, edge.from) || is_removal(loader, edge.to)) ||
                        waiting[edge.from] == 0 || waiting[edge.to] == 0)
                        loader->edges[n++] = edge;
        }
        loader->n_edges = n;
        /* Nor is anybody told of one after which it does not come. */
        n = 0;
        for (uint32_t i = 0; i < loader->n_listeners; i++)
                if (!is_removal(loader, loader->listeners[i].to) || waiting[loader->listeners[i].to] == 0 ||
                        waiting[loader->listeners[i].state] == 0)
                        loader->listeners[n++] = loader->listeners[i];
        loader->n_listeners = n;
        return loader->n_edges < n_before;
}
