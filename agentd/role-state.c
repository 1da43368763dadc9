/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the tables of a role to its states: which keys there are, loops, settings that every state has. */

#include <assert.h>

#include "paths.h"
#include "role.h"
#include "template.h"

/* Keys of a role that are no state types. Those of later versions are known, so that the message is right. */
typedef enum RoleKey {
        ROLE_DESCRIPTION,
        ROLE_WHEN,
        ROLE_VARS,
        ROLE_MODE,
        ROLE_IMPORT,
        ROLE_HOSTS,
        ROLE_OVERRIDE,
        ROLE_LATER,
} RoleKey;

static const struct {
        const char *name;
        RoleKey key;
} role_keys[] = {
        { "description", ROLE_DESCRIPTION },
        { "when", ROLE_WHEN },
        { "vars", ROLE_VARS },
        { "mode", ROLE_MODE },
        { "import", ROLE_IMPORT },
        { "hosts", ROLE_HOSTS },
        { "override", ROLE_OVERRIDE },
        { "trigger", ROLE_LATER },
        { "job", ROLE_LATER },
        { "test", ROLE_LATER },
        { "secrets", ROLE_LATER },
        { "alarm", ROLE_LATER },
        { "notifier", ROLE_LATER },
        { "sink", ROLE_LATER },
};

/* Settings that every state has. */
typedef enum CommonSetting {
        SETTING_REQUIRES,
        SETTING_BEFORE,
        SETTING_WHEN,
        SETTING_FOR_EACH,
        SETTING_TIMEOUT,
        SETTING_AUDIT,
        SETTING_SENSITIVE,
        SETTING_CHECK_AS_ROOT,
        SETTING_WATCH,
        SETTING_LATER,
} CommonSetting;

/* Those of later versions come last, and are not in the reference. */
static const struct {
        const char *name;
        CommonSetting setting;
        const char *value, *documentation;
} common_settings[] = {
        { "requires", SETTING_REQUIRES, "array of states",
                "this state comes after those; it is `blocked` if one of them failed or is blocked" },
        { "before", SETTING_BEFORE, "array of states", "those come after this one, likewise" },
        { "when", SETTING_WHEN, "expression", "the state is `skipped` if it is false" },
        { "for_each", SETTING_FOR_EACH, "expression, array or table", "one state for each item" },
        { "timeout", SETTING_TIMEOUT, "`\"2min 30s\"`, seconds, or `\"infinity\"`",
                "how long check, and then apply, may be silent; the type says what it is otherwise (a "
                "minute, "
                "if it does not)" },
        { "audit", SETTING_AUDIT, "boolean",
                "only check: a difference is reported as `drifted`, and never repaired" },
        { "sensitive", SETTING_SENSITIVE, "boolean",
                "show nothing of its values: not in output, diffs, journal or errors" },
        { "check_as_root", SETTING_CHECK_AS_ROOT, "boolean", "check it as root, without the sandbox" },
        { "watch", SETTING_WATCH, "boolean",
                "false: only runs look at it, not also whatever changes what it is about" },
        { "triggers", SETTING_LATER },
        { "interval", SETTING_LATER },
        { "retries", SETTING_LATER },
        { "retry_delay", SETTING_LATER },
        { "tags", SETTING_LATER },
        { "before_check", SETTING_LATER },
        { "after_check", SETTING_LATER },
        { "before_change", SETTING_LATER },
        { "after_change", SETTING_LATER },
        { "on_success", SETTING_LATER },
        { "on_failure", SETTING_LATER },
};

const char *state_setting(size_t i, const char **ret_value, const char **ret_documentation) {
        if (i >= ELEMENTSOF(common_settings) || common_settings[i].setting == SETTING_LATER)
                return NULL;
        *ret_value = common_settings[i].value;
        *ret_documentation = common_settings[i].documentation;
        return common_settings[i].name;
}

#define NAMES_MAX 512 /* keys that a suggestion is looked for among */

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

const char *normalise_reference(Loader *loader, const char *text) {
        _cleanup_free_ char *path = NULL;
        const char *colon = strchr(text, ':'), *type;
        TypeEntry *entry;

        if (!colon || colon[1] != '/')
                return text;
        type = arena_strndup(&loader->scratch, text, (size_t) (colon - text));
        entry = strpbrk(type, "*?[") ? NULL : type_find(loader, type);
        if (!entry || !(entry->type->flags & AGENTD_NAME_IS_PATH) || path_normalise(colon + 1, &path) < 0)
                return text;
        return arena_printf(&loader->scratch, "%s:%s", type, path);
}

/*
 * The name of a state with for_each, as it is written: "user:{{item.name}}" means all that the loop makes. In a loop it is that
 * of the same item, as everywhere else. NULL: it is no such name.
 */
static const Member *find_loop(Names *names, const Value *text) {
        const char *colon = memchr(text->text, ':', text->size);
        const Member *table, *declaration = NULL;

        if (names->item || !colon || !template_has_tags(text->text, text->size))
                return NULL;
        table = value_find(&names->role->table, text->text, (size_t) (colon - text->text));
        if (table && table->value.type == VALUE_TABLE)
                declaration =
                        value_find(&table->value, colon + 1, text->size - (size_t) (colon + 1 - text->text));
        return declaration && declaration->value.type == VALUE_TABLE &&
                               value_get(&declaration->value, "for_each")
                       ? declaration
                       : NULL;
}

static void set_references(Names *names, State *state, const char *name, const Value *value, bool before) {
        Loader *loader = names->loader;

        if (!loader_wants(loader, value, VALUE_ARRAY, name,
                    "an array of states like [\"file:/etc/motd\", \"user:*\"]")) {
                state->broken = true;
                return;
        }
        VALUE_FOREACH_ITEM(item, value) {
                const Member *loop;
                Value text;

                if (!loader_wants(loader, item, VALUE_STRING, name, "an array of strings")) {
                        state->broken = true;
                        continue;
                }
                loop = find_loop(names, item);
                if (loop) {
                        state_refer(loader, state,
                                (Reference){
                                        .pattern = item->text,
                                        .loop = loop,
                                        .place = item->place,
                                        .before = before,
                                });
                        continue;
                }
                if (names_render(names, item, &text) < 0) {
                        state->broken = true;
                        continue;
                }
                if (memchr(text.text, 0, text.size) || !strchr(text.text, ':')) {
                        diagnostics_add(&loader->diagnostics, item->place,
                                "'%s' is no state; write TYPE:NAME, like \"file:/etc/motd\"", text.text);
                        state->broken = true;
                        continue;
                }
                state_refer(loader, state,
                        (Reference){
                                .pattern = normalise_reference(loader, text.text),
                                .place = item->place,
                                .before = before,
                        });
        }
}

static void set_flag(Loader *loader, State *state, const char *name, const Value *value, uint32_t flag) {
        if (!loader_wants(loader, value, VALUE_BOOLEAN, name, "true or false")) {
                state->broken = true;
                return;
        }
        if (value->boolean)
                state->flags |= flag;
}

static void set_watch(Loader *loader, State *state, const Value *value) {
        if (!loader_wants(loader, value, VALUE_BOOLEAN, "watch", "true or false"))
                state->broken = true;
        else if (!value->boolean)
                state->flags |= IMAGE_STATE_UNWATCHED;
}

static void set_timeout(Loader *loader, State *state, const Value *value) {
        usec_t span = 0;
        int r = -EINVAL;

        if (value->type == VALUE_INTEGER && value->integer > 0 && value->integer < INT32_MAX) {
                span = (usec_t) value->integer * USEC_PER_SEC;
                r = 0;
        } else if (value->type == VALUE_STRING && strlen(value->text) == value->size)
                r = parse_timespan(value->text, &span);
        if (r < 0 || span == 0) {
                diagnostics_add(&loader->diagnostics, value->place,
                        "'timeout' must be a time span above 0 like \"2min 30s\", or \"infinity\"");
                state->broken = true;
                return;
        }
        state->timeout_usec = span;
        state->timeout_given = true;
}

static void set_when(Names *names, State *state, const Value *value) {
        Expression *when;
        const Value *constant;

        if (names_fold(names, value, EXPRESSION_CONDITION, &names->loader->image, &when) < 0) {
                state->broken = true;
                return;
        }
        if (!expression_is_constant(when, &constant))
                state->flags |= IMAGE_STATE_WHEN_LOOKS;
        else if (constant->boolean)
                return;
        state->when = when;
}

static void set_common(Names *names, State *state, const Member *member, CommonSetting setting) {
        Loader *loader = names->loader;
        const Value *value = &member->value;

        switch (setting) {
        case SETTING_REQUIRES: set_references(names, state, "requires", value, false); break;
        case SETTING_BEFORE: set_references(names, state, "before", value, true); break;
        case SETTING_WHEN: set_when(names, state, value); break;
        case SETTING_FOR_EACH: break; /* was done before there was a state */
        case SETTING_TIMEOUT: set_timeout(loader, state, value); break;
        case SETTING_AUDIT: set_flag(loader, state, "audit", value, IMAGE_STATE_AUDIT); break;
        case SETTING_SENSITIVE: set_flag(loader, state, "sensitive", value, IMAGE_STATE_SENSITIVE); break;
        case SETTING_CHECK_AS_ROOT:
                set_flag(loader, state, "check_as_root", value, IMAGE_STATE_CHECK_AS_ROOT);
                break;
        case SETTING_WATCH: set_watch(loader, state, value); break;
        case SETTING_LATER:
                diagnostics_add(&loader->diagnostics, member->place,
                        "the setting '%s' is not supported by this version of agentd", member->key);
                state->broken = true;
                break;
        }
}

static void unknown_key(Loader *loader, State *state, const Member *member) {
        const AgentdStateType *type = state->type->type;
        const char *names[NAMES_MAX], *meant;
        size_t n = 0;

        state->broken = true;
        if (member->value.type == VALUE_TABLE && !(type->flags & AGENTD_NAME_IS_PATH)) {
                /* [package.python3.11], [hosts-entry.db.example.org] */
                const char *name = arena_printf(&loader->scratch, "%s.%s", state->name, member->key);
                const Value *inner = &member->value;

                while (inner->n_members == 1 && inner->members[0].value.type == VALUE_TABLE) {
                        name = arena_printf(&loader->scratch, "%s.%s", name, inner->members[0].key);
                        inner = &inner->members[0].value;
                }
                diagnostics_add(&loader->diagnostics, member->place,
                        "unknown key '%s' in %s state '%s'; a name with dots wants quotes: [%s.\"%s\"]",
                        member->key, type->name, state->name, type->name, name);
                state->nested = true;
                return;
        }

        for (uint32_t i = 0; i < state->type->n_parameters && n < NAMES_MAX; i++)
                names[n++] = type->parameters[i].name;
        FOREACH_ELEMENT(common, common_settings)
                if (common->setting != SETTING_LATER && n < NAMES_MAX)
                        names[n++] = common->name;
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
                for (size_t i = 0; i < ELEMENTSOF(common_settings) && !found; i++)
                        if (streq(common_settings[i].name, member->key)) {
                                found = true;
                                set_common(names, state, member, common_settings[i].setting);
                        }
                if (!found)
                        unknown_key(loader, state, member);
        }

        for (uint32_t i = 0; i < n; i++)
                if ((type->parameters[i].flags & AGENTD_REQUIRED) && !state_given(state, i) &&
                        !state->nested) {
                        diagnostics_add(&loader->diagnostics, state->place, "%s state '%s' needs '%s'",
                                type->name, state->name, type->parameters[i].name);
                        state->broken = true;
                }
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

static void make_state(Loader *loader, const Role *role, TypeEntry *type, const Member *member,
        const Value *item, uint32_t item_number, bool item_keyed) {
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
        if (state_name(&names, type, member, &state->name) < 0)
                return;
        state->id = arena_printf(&loader->scratch, "%s:%s", type->name, state->name);
        r = override_settings(loader, role, type, state->id, &member->value, &settings, &roles);
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

        state->index = loader->n_states;
        loader->states = arena_grow(&loader->scratch, loader->states, loader->n_states,
                &loader->n_states_allocated, sizeof(State *));
        loader->states[loader->n_states] = state;
        map_put(&loader->ids, &loader->scratch, state->id, loader->n_states++);

        apply_settings(&names, state, settings, roles);
}

/* `for_each`: one state for each item. Over a table, item.key and item.value. */
static void make_states(
        Loader *loader, const Role *role, TypeEntry *type, const Member *member, const Value *loop) {
        const Value *items;
        Expression *expression;
        Names names;

        names_init(&names, loader, role, NULL);
        if (loop->type == VALUE_ARRAY || loop->type == VALUE_TABLE)
                items = loop;
        else {
                if (names_fold(&names, loop, EXPRESSION_NO_HOST, &loader->scratch, &expression) < 0)
                        return;
                (void) expression_is_constant(expression, &items);
        }

        if (items->type == VALUE_ARRAY)
                VALUE_FOREACH_ITEM(item, items)
                        make_state(
                                loader, role, type, member, item, (uint32_t) (item - items->items), false);
        else if (items->type == VALUE_TABLE)
                VALUE_FOREACH_MEMBER(entry, items) {
                        Value *item = arena_new(&loader->scratch, Value), key;

                        *item = value_table();
                        key = value_string(&loader->scratch, entry->key, entry->key_size);
                        (void) value_add(&loader->scratch, item, "key", 3, &key);
                        (void) value_add(&loader->scratch, item, "value", 5, &entry->value);
                        make_state(loader, role, type, member, item, 0, true);
                }
        else
                diagnostics_add(&loader->diagnostics, loop->place,
                        "'for_each' is over %s; it must be over an array or a table", value_kind(items));
}

/* Of a role that is off only the ids are kept, so that others may refer to them: who is not there holds nobody up. */
static void note_off_states(Loader *loader, const Member *table) {
        if (table->value.type != VALUE_TABLE)
                return;
        VALUE_FOREACH_MEMBER(member, &table->value)
                map_put(&loader->off_ids, &loader->scratch,
                        normalise_reference(
                                loader, arena_printf(&loader->scratch, "%s:%s", table->key, member->key)),
                        0);
}

static void unknown_type(Loader *loader, const Member *member) {
        const char *names[NAMES_MAX], *meant;
        size_t n = 0;

        modules_open_all(loader);
        for (uint32_t i = 0; i < loader->n_types && n < NAMES_MAX; i++)
                names[n++] = loader->types[i]->name;
        FOREACH_ELEMENT(key, role_keys)
                if (key->key != ROLE_LATER && n < NAMES_MAX)
                        names[n++] = key->name;
        meant = suggest_word(member->key, names, n);
        diagnostics_add(&loader->diagnostics, member->place,
                "'%s' is neither a key of roles nor a state type%s%s%s", member->key,
                meant ? "; did you mean '" : " (no module provides it)", meant ?: "", meant ? "'?" : "");
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
                        diagnostics_add(&loader->diagnostics, member->place,
                                "state '%s:%s' is %s; it must be a table: [%s.\"%s\"]", table->key,
                                member->key, value_kind(&member->value), table->key, member->key);
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
                        if (key->key == ROLE_LATER)
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
