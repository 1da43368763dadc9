/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the tables of a role to its states: which keys there are, loops, settings that every state has. */

#include <assert.h>
#include <fnmatch.h>

#include "paths.h"
#include "role.h"
#include "schema.h"
#include "template.h"

#define ROLE_NAME "{'type':'string','pattern':'^[^./][^/]*$','not':{'pattern':'[.]toml$'}}"

/* Keys of a role that are no state types. Those of later versions are known, so that the message is right; they come last. */
typedef enum RoleKey {
        ROLE_DESCRIPTION,
        ROLE_WHEN,
        ROLE_VARS,
        ROLE_MODE,
        ROLE_IMPORT,
        ROLE_HOSTS,
        ROLE_OVERRIDE,
        ROLE_TAGS,
        ROLE_TRIGGER,
        ROLE_LATER,
} RoleKey;

static const struct {
        const char *name;
        RoleKey key;
        const char *documentation;
        const char *schema; /* for --schema; NULL: it is made there */
} role_keys[] = {
        { "description", ROLE_DESCRIPTION, "What the role is for: for people", "{'type':'string'}" },
        { "when", ROLE_WHEN, "An expression; the role is off where it is false",
                "{'type':'string','minLength':1}" },
        { "vars", ROLE_VARS, "Variables, and what they are if nobody else gives them", "{'type':'object'}" },
        { "mode", ROLE_MODE, "`audit`: only check the states, and change nothing",
                "{'enum':['apply','audit']}" },
        { "import", ROLE_IMPORT, "Roles of `roles/` that this one builds on, with variables for them",
                "{'type':'array','items':{'anyOf':[" ROLE_NAME
                ",{'type':'object','properties':{'role':" ROLE_NAME
                ",'vars':{'type':'object'}},'required':['role'],'additionalProperties':false}]}}" },
        { "hosts", ROLE_HOSTS,
                "Patterns for names of hosts, those with `!` excluded; the role is off elsewhere",
                "{'type':'array','minItems':1,'items':{'type':'string','pattern':'^[^!]|^!.'}}" },
        { "override", ROLE_OVERRIDE, "What is otherwise in states that an import brings", NULL },
        { "tags", ROLE_TAGS, "Names by which `--tag` selects all states of the role", SCHEMA_TAGS },
        { "trigger", ROLE_TRIGGER, "What makes states be looked at, besides what they watch themselves",
                NULL },
        { "job", ROLE_LATER },
        { "test", ROLE_LATER },
        { "secrets", ROLE_LATER },
        { "alarm", ROLE_LATER },
        { "notifier", ROLE_LATER },
        { "sink", ROLE_LATER },
};

#define NAMES_MAX 512 /* keys that a suggestion is looked for among */

const char *role_key(size_t i, const char **ret_schema, const char **ret_documentation) {
        if (i >= ELEMENTSOF(role_keys) || role_keys[i].key == ROLE_LATER)
                return NULL;
        *ret_schema = role_keys[i].schema;
        *ret_documentation = role_keys[i].documentation;
        return role_keys[i].name;
}

State *loader_state(const Loader *loader, const char *id) {
        uint32_t i = map_get(&loader->ids, id);

        return i == MAP_NOT_FOUND ? NULL : loader->states[i];
}

void state_refer(Loader *loader, State *state, Reference reference) {
        state->references = arena_grow(&loader->scratch, state->references, state->n_references,
                &state->n_references_allocated, sizeof(Reference));
        state->references[state->n_references++] = reference;
}

bool loader_wants(Loader *loader, const Value *value, ValueType type, const char *name, const char *what) {
        if (value->type == type)
                return true;
        diagnostics_add(&loader->diagnostics, value->place, "'%s' is %s; it must be %s", name,
                value_kind(value), what);
        return false;
}

/* ---- Settings -------------------------------------------------------------------------------------------------- */

static void unknown_key(Loader *loader, State *state, const Member *member) {
        const AgentdStateType *type = state->type->type;
        const char *names[NAMES_MAX], *meant, *name, *value, *documentation;
        size_t n = 0;

        state->broken = true;
        if (member->value.type == VALUE_TABLE && !(type->flags & AGENTD_NAME_IS_PATH)) {
                /* [package.python3.11], [hosts-entry.db.example.org] */
                const char *full = arena_printf(&loader->scratch, "%s.%s", state->name, member->key);
                const Value *inner = &member->value;

                while (inner->n_members == 1 && inner->members[0].value.type == VALUE_TABLE) {
                        full = arena_printf(&loader->scratch, "%s.%s", full, inner->members[0].key);
                        inner = &inner->members[0].value;
                }
                diagnostics_add(&loader->diagnostics, member->place,
                        "unknown key '%s' in %s state '%s'; a name with dots wants quotes: [%s.\"%s\"]",
                        member->key, type->name, state->name, type->name, full);
                state->nested = true;
                return;
        }

        if (word_is_for_listener(member->key)) {
                diagnostics_add(&loader->diagnostics, member->place,
                        "unknown key '%s' in %s state; who is told says so: write 'restart_on', 'reload_on' "
                        "or "
                        "'check_on' with this state there",
                        member->key, type->name);
                return;
        }

        FOREACH_ELEMENT(key, role_keys)
                if (key->schema && key->key != ROLE_VARS && streq(key->name, member->key)) {
                        diagnostics_add(&loader->diagnostics, member->place,
                                "unknown key '%s' in %s state; as a key of the role it has to stand above "
                                "the first [table]",
                                member->key, type->name);
                        return;
                }

        for (uint32_t i = 0; i < state->type->n_parameters && n < NAMES_MAX; i++)
                names[n++] = type->parameters[i].name;
        for (size_t i = 0; n < NAMES_MAX && (name = state_setting(i, &value, &documentation)); i++)
                if (state_setting_is_for(name, type))
                        names[n++] = name;
        meant = suggest_word(member->key, names, n);
        diagnostics_add(&loader->diagnostics, member->place, "unknown key '%s' in %s state%s%s%s",
                member->key, type->name, meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
}

const Place *state_given(const State *state, uint32_t parameter) {
        for (uint32_t i = 0; i < state->n_given; i++)
                if (state->given[i].parameter == parameter)
                        return &state->given[i].place;
        return NULL;
}

/* At most one of the parameters with the same word in `exclusive`. */
static void check_exclusive(Loader *loader, State *state) {
        const AgentdParameter *parameters = state->type->type->parameters;

        for (uint32_t a = 0; a < state->n_given; a++)
                for (uint32_t b = 0; b < state->n_given; b++) {
                        const AgentdParameter *first = &parameters[state->given[a].parameter],
                                              *second = &parameters[state->given[b].parameter];

                        if (first >= second || !first->exclusive ||
                                !streq_ptr(first->exclusive, second->exclusive))
                                continue;
                        diagnostics_add(&loader->diagnostics, state->given[b].place,
                                "both '%s' and '%s' are given; only one of them can be", first->name,
                                second->name);
                        state->broken = true;
                }
}

/* The values of a state to which nothing is given: the same for all of a type. */
static void copy_defaults(Loader *loader, State *state) {
        TypeEntry *entry = state->type;
        const AgentdStateType *type = entry->type;
        bool passes = type->prepare && type->flags & AGENTD_COPIES_VALUES;
        uint32_t n = entry->n_parameters;

        if (!entry->defaults) {
                AgentdValue *values = arena_new_array(&loader->image, AgentdValue, n);

                for (uint32_t i = 0; i < n; i++)
                        if (parameter_default(loader, &type->parameters[i], &values[i]) < 0)
                                entry->bad_default = true;
                entry->defaults = values;
        }
        state->broken = state->broken || entry->bad_default;
        state->parameters = arena_memdup(
                passes ? &loader->scratch : &loader->image, entry->defaults, n * sizeof(AgentdValue));
}

/* roles: by setting, the role that overrides it, or NULL; NULL: nothing is overridden. */
static void apply_settings(Names *own, State *state, const Value *settings, const Role *const *roles) {
        const AgentdStateType *type = state->type->type;
        Loader *loader = own->loader;
        uint32_t n = state->type->n_parameters;
        uint32_t item = loader->diagnostics.item;
        const Value *sensitive = value_get(settings, "sensitive");
        bool tainted = false;

        /* Before anything is said about the others. */
        if (sensitive && sensitive->type == VALUE_BOOLEAN && sensitive->boolean)
                state->flags |= IMAGE_STATE_SENSITIVE;

        copy_defaults(loader, state);
        state->given = arena_new_array(&loader->scratch, Given, settings->n_members);
        VALUE_FOREACH_MEMBER(member, settings) {
                const Role *role = roles ? roles[member - settings->members] : NULL;
                Names others, *names = own;
                bool found = false;

                loader->diagnostics.item = role ? 0 : item;
                if (role) {
                        names_init(&others, loader, role, state->item);
                        names = &others;
                }
                for (uint32_t i = 0; i < n && !found; i++)
                        if (streq(type->parameters[i].name, member->key)) {
                                found = true;
                                state->given[state->n_given++] = (Given){ i, member->value.place };
                                if (parameter_convert(names, state, &type->parameters[i], &member->value,
                                            &state->parameters[i], &tainted) < 0)
                                        state->broken = true;
                        }
                if (!found && !state_set_common(names, state, member))
                        unknown_key(loader, state, member);
        }

        /* These name the state. */
        loader->diagnostics.item = 0;
        for (uint32_t i = 0; i < n; i++)
                if ((type->parameters[i].flags & AGENTD_REQUIRED) && !state_given(state, i) &&
                        !state->nested) {
                        diagnostics_add(&loader->diagnostics, state->place, "%s state '%s' needs '%s'",
                                type->name, state->name, type->parameters[i].name);
                        state->broken = true;
                }
        loader->diagnostics.item = item;
        check_exclusive(loader, state);
        if (tainted)
                state->flags |= IMAGE_STATE_SENSITIVE;
}

/* ---- States ---------------------------------------------------------------------------------------------------- */

/* The name as it is in ids. Return: 0; -EINVAL. */
static int state_name(Names *names, const TypeEntry *type, const Member *member, const char **ret) {
        Loader *loader = names->loader;
        Value key = {
                .type = VALUE_STRING, .place = member->place, .text = member->key, .size = member->key_size
        };
        _cleanup_free_ char *path = NULL;
        Value name;
        int r;

        if (names_render(names, &key, &name) < 0)
                return -EINVAL;
        if (name.size == 0 || memchr(name.text, 0, name.size) || strpbrk(name.text, "\n")) {
                diagnostics_add(&loader->diagnostics, member->place,
                        name.size == 0 ? "a state's name is empty"
                                       : "a state's name has a NUL or a line end in it");
                return -EINVAL;
        }
        if (!(type->type->flags & AGENTD_NAME_IS_PATH)) {
                *ret = name.text;
                return 0;
        }

        if (*name.text != '/') {
                diagnostics_add(&loader->diagnostics, member->place,
                        "'%s' is a relative path; the name of %s %s state is an absolute one", name.text,
                        strchr("aeiou", *type->name) ? "an" : "a", type->name);
                return -EINVAL;
        }
        r = path_normalise(name.text, &path);
        if (r < 0) {
                diagnostics_add(&loader->diagnostics, member->place, "'%.200s' %s", name.text,
                        r == -ENAMETOOLONG ? "is longer than a path can be"
                                           : "has a '..' in it; write the path that it leads to");
                return -EINVAL;
        }
        *ret = arena_strdup(&loader->scratch, path);
        return 0;
}

/* Which item of its loop a state is of: 0, or 'key'. */
static const char *item_label(Loader *loader, const State *state) {
        const Value *key = state->item_keyed ? value_get(state->item, "key") : NULL;

        return key ? arena_printf(&loader->scratch, "'%s'", key->text)
                   : arena_printf(&loader->scratch, "%u", state->item_number);
}

static bool is_imported(Loader *loader, const Role *a, const Role *b) {
        return a != b && role_distance(loader, a, b) != UINT32_MAX;
}

static void twice(Loader *loader, const State *state, State *first, const char *what) {
        if (state->item && state->declaration == first->declaration) {
                loader->diagnostics.item = 0; /* it says itself which items */
                /* One pair tells it: a loop over thousands that forgot its item makes thousands. */
                if (!first->made_twice)
                        diagnostics_add(&loader->diagnostics, state->place,
                                "items %s and %s of the loop both make %s", item_label(loader, first),
                                item_label(loader, state), what);
                first->made_twice = true;
        } else if (streq(state->id, first->id) && (is_imported(loader, state->role, first->role) ||
                                                          is_imported(loader, first->role, state->role)))
                diagnostics_add(&loader->diagnostics, state->place,
                        "%s is declared twice; first at %s:%u:%u; what an import brings is changed by "
                        "[override.\"%s\"]",
                        what, first->place.file, first->place.line, first->place.column, state->id);
        else
                diagnostics_add(&loader->diagnostics, state->place,
                        "%s is declared twice; first at %s:%u:%u", what, first->place.file,
                        first->place.line, first->place.column);
}

static void append(Loader *loader, State *state) {
        state->index = loader->n_states;
        loader->states = arena_grow(&loader->scratch, loader->states, loader->n_states,
                &loader->n_states_allocated, sizeof(State *));
        loader->states[loader->n_states++] = state;
}

static void make_state(Loader *loader, const Role *role, TypeEntry *type, const Member *member,
        const Value *item, uint32_t item_number, bool item_keyed) {
        uint32_t number = loader->diagnostics.item;
        const Role *const *roles;
        const Value *settings;
        State *first;
        Names names;
        State *state;
        int r;

        names_init(&names, loader, role, item);
        state = arena_new(&loader->scratch, State);
        *state = (State){
                .role = role,
                .type = type,
                .place = member->place,
                .declaration = member,
                .item = item,
                .item_number = item_number,
                .item_keyed = item_keyed,
                .timeout_usec = type->type->timeout_usec ?: STATE_TIMEOUT_USEC,
        };
        if (role->audit || loader->settings.audit)
                state->flags |= IMAGE_STATE_AUDIT;
        loader->diagnostics.item_is_new = true;
        r = state_name(&names, type, member, &state->name);
        loader->diagnostics.item_is_new = false;
        if (r < 0)
                return;
        state->id = arena_printf(&loader->scratch, "%s:%s", type->name, state->name);
        loader->diagnostics.item = 0; /* an override names the state */
        r = override_settings(loader, role, type, state->id, &member->value, &settings, &roles);
        loader->diagnostics.item = number;
        if (r == 1) {
                map_put(&loader->off_ids, &loader->scratch, state->id, 0);
                return;
        }
        state->broken = r < 0;

        first = loader_state(loader, state->id);
        if (first) {
                twice(loader, state, first, state->id);
                return;
        }
        if (type->type->flags & AGENTD_NAME_IS_PATH) {
                uint32_t owner = map_get(&loader->paths, state->name);

                if (owner != MAP_NOT_FOUND) {
                        twice(loader, state, loader->states[owner],
                                arena_printf(&loader->scratch, "the path of %s", state->id));
                        return;
                }
                map_put(&loader->paths, &loader->scratch, state->name, loader->n_states);
        }
        if (loader->n_states == STATES_MAX) {
                diagnostics_add(
                        &loader->diagnostics, state->place, "there are more than %d states", STATES_MAX);
                return;
        }

        append(loader, state);
        map_put(&loader->ids, &loader->scratch, state->id, state->index);

        apply_settings(&names, state, settings, roles);
}

State *state_make_again(
        Loader *loader, const Role *role, TypeEntry *type, const char *name, const Value *settings) {
        const Member member = { .key = name, .key_size = strlen(name) };
        State *state = arena_new(&loader->scratch, State);
        Names names;

        names_init(&names, loader, role, NULL);
        names.literal = true;
        *state = (State){
                .role = role,
                .type = type,
                .place = { .file = role->path },
                .flags = IMAGE_STATE_REMOVAL,
                .timeout_usec = type->type->timeout_usec ?: USEC_PER_MINUTE,
        };
        if (role->audit || loader->settings.audit)
                state->flags |= IMAGE_STATE_AUDIT;
        if (state_name(&names, type, &member, &state->name) < 0)
                return NULL;
        state->id = arena_printf(&loader->scratch, "%s:%s", type->name, state->name);
        apply_settings(&names, state, settings, NULL);
        if (state->broken)
                return NULL;
        append(loader, state);
        return state;
}

/*
 * What some items of a loop have wrong, and others not, is told with the first of these. start: errors before are not the loop's;
 * n_made: items that made a state, so that its settings were looked at.
 */
static void tell_items(Loader *loader, const Value *items, uint32_t start, uint32_t n_made) {
        Diagnostics *diagnostics = &loader->diagnostics;
        bool keyed = items->type == VALUE_TABLE;
        uint32_t n = keyed ? items->n_members : items->n_items;

        for (uint32_t i = start; i < diagnostics->n; i++) {
                Diagnostic *diagnostic = &diagnostics->list[i], told;
                const Place *place;
                const char *which, *where = "";
                uint32_t item = diagnostic->first_item - 1;

                if (diagnostic->n_items == 0 ||
                        diagnostic->n_items == (diagnostic->item_is_new ? n : n_made))
                        continue;
                which = keyed ? arena_printf(&loader->scratch, "'%s'", items->members[item].key)
                              : arena_printf(&loader->scratch, "%u", item);
                place = keyed ? &items->members[item].place : &items->items[item].place;
                if (place->file && place->line > 0)
                        where = arena_printf(
                                &loader->scratch, ", %s:%u:%u", place->file, place->line, place->column);
                diagnostic_set(&told, diagnostics->arena, diagnostic->place, "%s (item %s of the loop%s)",
                        diagnostic->message, which, where);
                diagnostic->message = told.message;
        }
}

/* `for_each`: one state for each item. Over a table, item.key and item.value. */
static void make_states(
        Loader *loader, const Role *role, TypeEntry *type, const Member *member, const Value *loop) {
        uint32_t start = loader->diagnostics.n, first = loader->n_states;
        const Value *items;
        Expression *expression;
        Value written;
        Names names;

        names_init(&names, loader, role, NULL);
        if (loop->type == VALUE_ARRAY || loop->type == VALUE_TABLE) {
                if (names_evaluate_deep(&names, loop, &written) < 0)
                        return;
                items = arena_memdup(&loader->scratch, &written, sizeof(written));
        } else {
                if (names_fold(&names, loop, EXPRESSION_NO_HOST, &loader->scratch, &expression) < 0)
                        return;
                (void) expression_is_constant(expression, &items);
        }

        if (items->type == VALUE_ARRAY)
                VALUE_FOREACH_ITEM(item, items) {
                        uint32_t number = (uint32_t) (item - items->items);

                        loader->diagnostics.item = 1 + number;
                        make_state(loader, role, type, member, item, number, false);
                }
        else if (items->type == VALUE_TABLE)
                VALUE_FOREACH_MEMBER(entry, items) {
                        Value *item = arena_new(&loader->scratch, Value), key;

                        *item = value_table();
                        key = value_string(&loader->scratch, entry->key, entry->key_size);
                        (void) value_add(&loader->scratch, item, "key", 3, &key);
                        (void) value_add(&loader->scratch, item, "value", 5, &entry->value);
                        loader->diagnostics.item = 1 + (uint32_t) (entry - items->members);
                        make_state(loader, role, type, member, item, 0, true);
                }
        else
                diagnostics_add(&loader->diagnostics, loop->place,
                        "'for_each' is over %s; it must be over an array or a table", value_kind(items));
        loader->diagnostics.item = 0;
        tell_items(loader, items, start, loader->n_states - first);
}

/* ---- Roles that are off ----------------------------------------------------------------------------------------- */

const char *loader_name_glob(Loader *loader, const char *name) {
        char *glob = arena_alloc_text(&loader->scratch, 2 * strlen(name) + 2), *to = glob;
        const char *p = name;

        while (*p) {
                const char *end = startswith(p, "{{") ? strstr(p, "}}") : NULL;

                if (end) {
                        *to++ = '*';
                        /* What a section becomes, nobody knows. */
                        if (strchr("#^<$=", p[2]))
                                break;
                        p = end + (end[2] == '}' ? 3 : 2);
                        continue;
                }
                if (strchr("*?[\\", *p))
                        *to++ = '\\';
                *to++ = *p++;
        }
        *to = 0;
        return glob;
}

bool loader_is_off(const Loader *loader, const char *id) {
        if (map_get(&loader->off_ids, id) != MAP_NOT_FOUND)
                return true;
        for (uint32_t i = 0; i < loader->n_off_globs; i++)
                if (fnmatch(loader->off_globs[i], id, 0) == 0)
                        return true;
        return false;
}

/*
 * Of a role that is off only the ids are kept, so that others may refer to them: who is not there holds nobody up. What the names of
 * a loop would be is not known, since what it is over need make no sense on this host; so all that look like them are meant.
 */
static void note_off_states(Loader *loader, const Member *table) {
        if (table->value.type != VALUE_TABLE)
                return;
        VALUE_FOREACH_MEMBER(member, &table->value) {
                const char *id = normalise_reference(
                        loader, arena_printf(&loader->scratch, "%s:%s", table->key, member->key));

                map_put(&loader->off_ids, &loader->scratch, id, 0);
                if (!template_has_tags(member->key, member->key_size))
                        continue;
                loader->off_globs = arena_grow(&loader->scratch, loader->off_globs, loader->n_off_globs,
                        &loader->n_off_globs_allocated, sizeof(char *));
                loader->off_globs[loader->n_off_globs++] = loader_name_glob(loader, id);
        }
}

static size_t add_types(const Loader *loader, const char *names[NAMES_MAX], size_t n) {
        for (uint32_t i = 0; i < loader->n_types && n < NAMES_MAX; i++)
                names[n++] = loader->types[i]->name;
        return n;
}

static void unknown_type(Loader *loader, const Member *member) {
        const char *names[NAMES_MAX], *meant = NULL;
        size_t n = 0;

        modules_open_all(loader);
        if (member->value.type == VALUE_TABLE)
                n = add_types(loader, names, n);
        FOREACH_ELEMENT(key, role_keys)
                if (key->key != ROLE_LATER && n < NAMES_MAX)
                        names[n++] = key->name;
        meant = suggest_word(member->key, names, n);
        /* What is no table was hardly meant to be states. */
        if (!meant && member->value.type != VALUE_TABLE)
                meant = suggest_word(member->key, names, add_types(loader, names, n));
        diagnostics_add(&loader->diagnostics, member->place,
                "'%s' is neither a key of roles nor a state type%s%s%s", member->key,
                meant ? "; did you mean '" : " (no module provides it)", meant ?: "", meant ? "'?" : "");
}

/* A value where the table of a state should be: often of a state whose name was forgotten. */
static void no_state(Loader *loader, const TypeEntry *type, const Member *member) {
        const char *name, *value, *documentation;
        bool is_setting = (type->type->flags & AGENTD_NAME_IS_PATH) && *member->key != '/';

        for (uint32_t i = 0; i < type->n_parameters; i++)
                is_setting = is_setting || streq(type->type->parameters[i].name, member->key);
        for (size_t i = 0; (name = state_setting(i, &value, &documentation)); i++)
                is_setting = is_setting || streq(name, member->key);
        if (is_setting)
                diagnostics_add(&loader->diagnostics, member->place,
                        "'%s' is %s, where a state should be; a state has a name: [%s.\"…\"]", member->key,
                        value_kind(&member->value), type->name);
        else
                diagnostics_add(&loader->diagnostics, member->place,
                        "state '%s:%s' is %s; it must be a table: [%s.\"%s\"]", type->name, member->key,
                        value_kind(&member->value), type->name, member->key);
}

static void make_states_of_type(Loader *loader, const Role *role, const Member *table) {
        TypeEntry *type = table->key_size == strlen(table->key) ? type_find(loader, table->key) : NULL;

        if (!type) {
                unknown_type(loader, table);
                return;
        }
        if (table->value.type != VALUE_TABLE) {
                diagnostics_add(&loader->diagnostics, table->place,
                        "'%s' is a state type, and wants a name: [%s.\"…\"]", table->key, table->key);
                return;
        }

        VALUE_FOREACH_MEMBER(member, &table->value) {
                const Value *loop;

                if (member->value.type != VALUE_TABLE) {
                        no_state(loader, type, member);
                        continue;
                }
                loop = value_get(&member->value, "for_each");
                if (loop)
                        make_states(loader, role, type, member, loop);
                else
                        make_state(loader, role, type, member, NULL, 0, false);
        }
}

/* ---- Roles ----------------------------------------------------------------------------------------------------- */

void role_make_states(Loader *loader, Role *role) {
        VALUE_FOREACH_MEMBER(table, &role->table) {
                bool reserved = false;

                FOREACH_ELEMENT(key, role_keys) {
                        if (!streq(key->name, table->key))
                                continue;
                        reserved = true;
                        if (key->key == ROLE_TRIGGER)
                                role_read_triggers(loader, role, table);
                        else if (key->key == ROLE_LATER)
                                diagnostics_add(&loader->diagnostics, table->place,
                                        "'%s' is not supported by this version of agentd", table->key);
                }
                if (reserved)
                        continue;
                if (role->off)
                        note_off_states(loader, table);
                else
                        make_states_of_type(loader, role, table);
        }
}
