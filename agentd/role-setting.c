/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Settings that every state has: what they may be, and what they make of a state. */

#include <assert.h>

#include "paths.h"
#include "role.h"
#include "schema.h"
#include "template.h"

#define RETRIES_MAX         100
#define RETRY_DELAY_DEFAULT (5 * USEC_PER_SEC)
#define INTERVAL_MIN_USEC   USEC_PER_SEC
#define SHELL               "/bin/sh"

StateExtra *state_extra(Loader *loader, State *state) {
        if (!state->extra) {
                state->extra = arena_new(&loader->scratch, StateExtra);
                *state->extra = (StateExtra){ .retry_delay_usec = RETRY_DELAY_DEFAULT };
        }
        return state->extra;
}

static void refuse(Loader *loader, State *state, const Value *value, const char *text) {
        diagnostics_add(&loader->diagnostics, value->place, "%s", text);
        state->broken = true;
}

/* ---- Other states ---------------------------------------------------------------------------------------------- */

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

static void set_references(
        Names *names, State *state, const char *name, const Value *value, Reference kind) {
        Loader *loader = names->loader;

        if (!loader_wants(loader, value, VALUE_ARRAY, name,
                    "an array of states like [\"file:/etc/motd\", \"user:*\"]")) {
                state->broken = true;
                return;
        }
        VALUE_FOREACH_ITEM(item, value) {
                Reference reference = kind;
                Value text;

                if (!loader_wants(loader, item, VALUE_STRING, name, "an array of strings")) {
                        state->broken = true;
                        continue;
                }
                reference.place = item->place;
                state->listens |= reference.listens;
                reference.loop = find_loop(names, item);
                reference.role = names->role;
                if (reference.loop) {
                        reference.pattern = item->text;
                        state_refer(loader, state, reference);
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
                reference.pattern = normalise_reference(loader, text.text);
                state_refer(loader, state, reference);
        }
}

static void set_requires(Names *names, State *state, const char *name, const Value *value) {
        set_references(names, state, name, value, (Reference){});
}

static void set_before(Names *names, State *state, const char *name, const Value *value) {
        set_references(names, state, name, value, (Reference){ .before = true });
}

static void set_check_on(Names *names, State *state, const char *name, const Value *value) {
        set_references(names, state, name, value, (Reference){ .listens = IMAGE_LISTEN_CHECK });
}

/* Only types that know how. */
static void set_notice(
        Names *names, State *state, const char *name, const Value *value, uint32_t flag, uint32_t what) {
        const AgentdStateType *type = state->type->type;

        if (type->flags & flag) {
                set_references(names, state, name, value, (Reference){ .listens = what });
                return;
        }
        diagnostics_add(&names->loader->diagnostics, value->place,
                "'%s' is for types that can be %s, and %s cannot; 'check_on' looks at a state again", name,
                what == IMAGE_LISTEN_RELOAD ? "reloaded" : "restarted", type->name);
        state->broken = true;
}

static void set_reload_on(Names *names, State *state, const char *name, const Value *value) {
        set_notice(names, state, name, value, AGENTD_RELOADS, IMAGE_LISTEN_RELOAD);
}

static void set_restart_on(Names *names, State *state, const char *name, const Value *value) {
        set_notice(names, state, name, value, AGENTD_RESTARTS, IMAGE_LISTEN_RESTART);
}

/* ---- Lists of strings ------------------------------------------------------------------------------------------ */

/* A string without NUL, templates replaced. Return: NULL if it is none, which was told. */
static const char *get_text(Names *names, const Value *value, const char *name, const char *what) {
        Loader *loader = names->loader;
        Value text;

        if (!loader_wants(loader, value, VALUE_STRING, name, what) || names_render(names, value, &text) < 0)
                return NULL;
        if (text.size == 0 || memchr(text.text, 0, text.size)) {
                diagnostics_add(&loader->diagnostics, value->place,
                        text.size == 0 ? "'%s' has an empty string" : "'%s' has a NUL in it", name);
                return NULL;
        }
        return text.text;
}

/* One for each item, NULL for those that are none; so that others can still be looked at. */
static int get_list(Names *names, const Value *value, const char *name, const char *what, TextList *ret) {
        const char **texts;
        int r = 0;

        *ret = (TextList){};
        if (!loader_wants(names->loader, value, VALUE_ARRAY, name, what))
                return -EINVAL;
        texts = arena_new_array(&names->loader->scratch, const char *, value->n_items);
        *ret = (TextList){ .texts = texts, .n = value->n_items };
        VALUE_FOREACH_ITEM(item, value) {
                const char *text = get_text(names, item, name, "an array of strings");

                texts[item - value->items] = text;
                if (!text)
                        r = -EINVAL;
        }
        return r;
}

int tags_read(Names *names, const Value *value, TextList *ret) {
        Loader *loader = names->loader;
        int r;

        r = get_list(names, value, "tags", "an array of words like [\"web\", \"tls\"]", ret);
        for (uint32_t i = 0; i < ret->n; i++)
                if (ret->texts[i] &&
                        ret->texts[i][strspn(ret->texts[i],
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")]) {
                        diagnostics_add(&loader->diagnostics, value->items[i].place,
                                "'%s' is no tag: letters, digits, '_', '.' and '-' are what one is made of",
                                ret->texts[i]);
                        r = -EINVAL;
                }
        if (r < 0)
                *ret = (TextList){};
        return r;
}

static void set_tags(Names *names, State *state, _unused_ const char *name, const Value *value) {
        if (tags_read(names, value, &state_extra(names->loader, state)->tags) < 0)
                state->broken = true;
}

static void set_was(Names *names, State *state, const char *name, const Value *value) {
        Loader *loader = names->loader;
        StateExtra *extra = state_extra(loader, state);
        const Value one = {
                .type = VALUE_ARRAY, .place = value->place, .items = (Value *) value, .n_items = 1
        };

        if (get_list(names, value->type == VALUE_STRING ? &one : value, name,
                    "a state like \"file:/old\", or an array of them", &extra->was) < 0) {
                extra->was = (TextList){};
                state->broken = true;
                return;
        }
        extra->was_place = value->place;
        for (uint32_t i = 0; i < extra->was.n; i++) {
                const char *id = normalise_reference(loader, extra->was.texts[i]);

                extra->was.texts[i] = id;
                if (!strchr(id, ':') || strpbrk(id, "*?[")) {
                        diagnostics_add(&loader->diagnostics, value->place,
                                "'%s' is no state; write TYPE:NAME, like \"file:/etc/motd\"", id);
                        state->broken = true;
                }
        }
}

static void set_triggers(Names *names, State *state, const char *name, const Value *value) {
        Loader *loader = names->loader;
        StateExtra *extra = state_extra(loader, state);
        TextList list = {};

        if (get_list(names, value, name, "an array of triggers like [\"trigger:deploy\"]", &list) < 0)
                state->broken = true;
        extra->triggers = arena_new_array(&loader->scratch, TriggerReference, list.n);
        extra->n_triggers = 0;
        for (uint32_t i = 0; i < list.n; i++) {
                const char *trigger = list.texts[i] ? startswith(list.texts[i], "trigger:") : NULL;

                if (!list.texts[i])
                        continue;
                if (trigger && *trigger)
                        extra->triggers[extra->n_triggers++] =
                                (TriggerReference){ .name = trigger, .place = value->items[i].place };
                else {
                        diagnostics_add(&loader->diagnostics, value->items[i].place,
                                "'%s' is no trigger; write trigger:NAME", list.texts[i]);
                        state->broken = true;
                }
        }
}

/* ["/usr/bin/true", "x"], or a line for the shell. */
static void set_hook(Names *names, State *state, const char *name, const Value *value) {
        Loader *loader = names->loader;
        TextList *hook = NULL;

        for (Hook i = 0; i < _HOOK_MAX; i++)
                if (streq(hook_to_string(i), name))
                        hook = &state_extra(loader, state)->hooks[i];
        assert(hook);

        if (value->type == VALUE_STRING) {
                const char *text = get_text(names, value, name, "");
                const char **texts = arena_new_array(&loader->scratch, const char *, 3);

                texts[0] = SHELL;
                texts[1] = "-c";
                texts[2] = text;
                *hook = (TextList){ .texts = texts, .n = 3 };
                if (!text)
                        state->broken = true;
                return;
        }
        if (get_list(names, value, name,
                    "a program with its arguments like [\"/usr/bin/systemctl\", \"daemon-reload\"], or a "
                    "string for "
                    "the shell",
                    hook) < 0) {
                *hook = (TextList){};
                state->broken = true;
        } else if (hook->n == 0)
                refuse(loader, state, value, arena_printf(&loader->scratch, "'%s' names no program", name));
        else if (hook->texts[0][0] != '/')
                refuse(loader, state, value,
                        arena_printf(&loader->scratch,
                                "'%s' is no absolute path; write where the program is, or all as one string "
                                "for "
                                "the shell",
                                state->flags & IMAGE_STATE_SENSITIVE ? "<sensitive>" : hook->texts[0]));
}

/* ---- Numbers and times ----------------------------------------------------------------------------------------- */

/* Return: 0; -EINVAL. */
static int get_span(const Value *value, usec_t *ret) {
        usec_t span = 0;
        int r = -EINVAL;

        if (value->type == VALUE_INTEGER && value->integer > 0 && value->integer < INT32_MAX) {
                span = (usec_t) value->integer * USEC_PER_SEC;
                r = 0;
        } else if (value->type == VALUE_STRING && strlen(value->text) == value->size)
                r = parse_timespan(value->text, &span);
        if (r < 0 || span == 0)
                return -EINVAL;
        *ret = span;
        return 0;
}

static void set_timeout(Names *names, State *state, _unused_ const char *name, const Value *value) {
        if (get_span(value, &state->timeout_usec) < 0)
                refuse(names->loader, state, value,
                        "'timeout' must be a time span above 0 like \"2min 30s\", or \"infinity\"");
        else
                state->timeout_given = true;
}

static void set_interval(Names *names, State *state, _unused_ const char *name, const Value *value) {
        usec_t span;

        if (get_span(value, &span) < 0 || span < INTERVAL_MIN_USEC || span == USEC_INFINITY)
                refuse(names->loader, state, value,
                        "'interval' must be a time span like \"5min\", one second at least");
        else
                state_extra(names->loader, state)->interval_usec = span;
}

static void set_retries(Names *names, State *state, _unused_ const char *name, const Value *value) {
        if (value->type != VALUE_INTEGER || value->integer < 0 || value->integer > RETRIES_MAX)
                refuse(names->loader, state, value, "'retries' must be a number from 0 to 100");
        else
                state_extra(names->loader, state)->retries = (uint32_t) value->integer;
}

static void set_retry_delay(Names *names, State *state, _unused_ const char *name, const Value *value) {
        usec_t span;

        if (get_span(value, &span) < 0 || span == USEC_INFINITY)
                refuse(names->loader, state, value,
                        "'retry_delay' must be a time span above 0 like \"10s\"");
        else
                state_extra(names->loader, state)->retry_delay_usec = span;
}

/* ---- Switches -------------------------------------------------------------------------------------------------- */

static void set_flag(Names *names, State *state, const char *name, const Value *value) {
        static const struct {
                const char *name;
                uint32_t flag;
                bool inverse;
        } flags[] = {
                { "audit", IMAGE_STATE_AUDIT },
                { "sensitive", IMAGE_STATE_SENSITIVE },
                { "check_as_root", IMAGE_STATE_CHECK_AS_ROOT },
                { "watch", IMAGE_STATE_UNWATCHED, true },
        };

        if (!loader_wants(names->loader, value, VALUE_BOOLEAN, name, "true or false")) {
                state->broken = true;
                return;
        }
        FOREACH_ELEMENT(flag, flags)
                if (streq(flag->name, name) && value->boolean != flag->inverse)
                        state->flags |= flag->flag;
}

static void set_on_removal(Names *names, State *state, const char *name, const Value *value) {
        Loader *loader = names->loader;
        const char *what = get_text(names, value, name, "\"keep\" or \"absent\"");

        if (!what)
                state->broken = true;
        else if (streq(what, "absent") && !type_can_be_absent(state->type->type))
                refuse(loader, state, value,
                        arena_printf(&loader->scratch,
                                "'on_removal' is for types with ensure = \"absent\", and %s has none",
                                state->type->type->name));
        else if (streq(what, "absent"))
                state_extra(loader, state)->removal_place = value->place;
        else if (!streq(what, "keep"))
                refuse(loader, state, value,
                        arena_printf(&loader->scratch,
                                "'on_removal' is '%s'; it must be one of keep, absent", what));
}

static void set_when(Names *names, State *state, _unused_ const char *name, const Value *value) {
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

/* It was done before there was a state. */
static void set_for_each(_unused_ Names *names, _unused_ State *state, _unused_ const char *name,
        _unused_ const Value *value) {
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

/* What they may be, for --schema; see schema_parse(). */
#define STATES "{'type':'array','items':{'type':'string','pattern':':|" SCHEMA_TEMPLATE "'}}"
#define SPAN   "'type':['integer','string'],'minimum':1,'maximum':2147483646"
#define SWITCH "{'type':['boolean','string'],'pattern':'" SCHEMA_TEMPLATE "'}"
#define COMMAND                                                           \
        "{'type':['array','string'],'minLength':1,'minItems':1,"          \
        "'items':[{'type':'string','pattern':'^/|" SCHEMA_TEMPLATE "'}]," \
        "'additionalItems':{'type':'string','minLength':1}}"
#define FORMER "'pattern':'^[^*?\\\\[]*:[^*?\\\\[]*$|" SCHEMA_TEMPLATE "'"

/* Without `set` they are of later versions, come last, and are not in the reference. */
static const struct {
        const char *name;
        void (*set)(Names *names, State *state, const char *name, const Value *value);
        const char *value, *documentation, *schema;
} settings[] = {
        { "requires", set_requires, "array of states",
                "this state comes after those; it is `blocked` if one of them failed or is blocked",
                STATES },
        { "before", set_before, "array of states",
                "those states come after this one, and are `blocked` if it failed or is blocked", STATES },
        { "when", set_when, "expression", "the state is `skipped` if it is false",
                "{'type':'string','minLength':1}" },
        { "for_each", set_for_each, "expression, array or table", "one state for each item",
                "{'type':['string','array','object'],'minLength':1}" },
        { "check_on", set_check_on, "array of states",
                "this state requires those, and is looked at again when one of them has changed", STATES },
        { "reload_on", set_reload_on, "array of states",
                "this state requires those, and is reloaded when one of them has changed, if its type can "
                "be",
                STATES },
        { "restart_on", set_restart_on, "array of states",
                "this state requires those, and is restarted when one of them has changed, if its type can "
                "be",
                STATES },
        { "interval", set_interval, "`\"5min\"`, or seconds", "it is looked at so often, besides all runs",
                "{" SPAN ",'pattern':'" SCHEMA_SPAN "|" SCHEMA_TEMPLATE "','examples':['5min']}" },
        { "timeout", set_timeout, "`\"2min 30s\"`, seconds, or `\"infinity\"`",
                "how long check, and then apply, may be silent; the type says what it is otherwise (a "
                "minute, if it does not)",
                "{" SPAN ",'pattern':'" SCHEMA_SPAN "|" SCHEMA_INFINITY "|" SCHEMA_TEMPLATE
                "','examples':['2min 30s']}" },
        { "retries", set_retries, "integer", "how often it is tried again in a run when it has failed",
                "{'type':['integer','string'],'minimum':0,'maximum':100,'pattern':'" SCHEMA_TEMPLATE "'}" },
        { "retry_delay", set_retry_delay, "`\"10s\"`, or seconds",
                "the time before each of the `retries`; 5 s otherwise",
                "{" SPAN ",'pattern':'" SCHEMA_SPAN "|" SCHEMA_TEMPLATE "','examples':['10s']}" },
        { "audit", set_flag, "boolean",
                "only check: a difference is reported as `drifted`, and never repaired", SWITCH },
        { "sensitive", set_flag, "boolean",
                "show nothing of its values: not in output, diffs, journal or errors",
                "{'type':'boolean'}" },
        { "check_as_root", set_flag, "boolean", "check it as root, without the sandbox", SWITCH },
        { "watch", set_flag, "boolean",
                "false: only runs look at it, not also whatever changes what it is about", SWITCH },
        { "tags", set_tags, "array of words", "names by which `--tag` selects states", SCHEMA_TAGS },
        { "before_check", set_hook, "command",
                "before it is checked, in the sandbox of checks; the state is `blocked` if it fails",
                COMMAND },
        { "after_check", set_hook, "command", "after the check, and after the change if there was one",
                COMMAND },
        { "before_change", set_hook, "command", "before a change; the state fails, untouched, if it does",
                COMMAND },
        { "after_change", set_hook, "command", "after a change, or an attempt", COMMAND },
        { "on_success", set_hook, "command", "after a change that went well", COMMAND },
        { "on_failure", set_hook, "command", "when it has failed", COMMAND },
        { "was", set_was, "state, or array of them", "its id before; it keeps the history of that",
                "{'type':['string','array']," FORMER ",'items':{'type':'string'," FORMER "}}" },
        { "on_removal", set_on_removal, "`\"keep\"` or `\"absent\"`",
                "what becomes of it when no role declares it any more; it is kept otherwise",
                "{'type':'string','anyOf':[{'enum':['keep','absent']},{'type':'string','pattern':"
                "'" SCHEMA_TEMPLATE "'}]}" },
        { "triggers", set_triggers, "array of triggers",
                "whenever one of those fires the state is looked at: `[\"trigger:NAME\"]`",
                "{'type':'array','items':{'type':'string','pattern':'^trigger:.|" SCHEMA_TEMPLATE "'}}" },
};

/* Numbers, times and switches are computed like parameters. Not whether a state is sensitive: that is known before any other
 * setting is read. */
static bool takes_template(size_t i) {
        return settings[i].set == set_timeout || settings[i].set == set_interval ||
               settings[i].set == set_retries || settings[i].set == set_retry_delay ||
               (settings[i].set == set_flag && !streq(settings[i].name, "sensitive"));
}

bool state_set_common(Names *names, State *state, const Member *member) {
        FOREACH_ELEMENT(setting, settings) {
                Value value = member->value;

                if (!streq(setting->name, member->key))
                        continue;
                if (value.type == VALUE_STRING && takes_template((size_t) (setting - settings)) &&
                        names_evaluate(names, &member->value, &value) < 0)
                        state->broken = true;
                else if (setting->set)
                        setting->set(names, state, setting->name,
                                takes_template((size_t) (setting - settings)) ? &value : &member->value);
                else {
                        diagnostics_add(&names->loader->diagnostics, member->place,
                                "the setting '%s' is not supported by this version of agentd", member->key);
                        state->broken = true;
                }
                return true;
        }
        return false;
}

const char *state_setting(size_t i, const char **ret_value, const char **ret_documentation) {
        if (i >= ELEMENTSOF(settings) || !settings[i].set)
                return NULL;
        *ret_value = settings[i].value;
        *ret_documentation = settings[i].documentation;
        return settings[i].name;
}

const char *state_setting_schema(size_t i) {
        assert(i < ELEMENTSOF(settings));

        return settings[i].schema;
}

bool state_setting_is_for(const char *name, const AgentdStateType *type) {
        return (!streq(name, "reload_on") || type->flags & AGENTD_RELOADS) &&
               (!streq(name, "restart_on") || type->flags & AGENTD_RESTARTS);
}
