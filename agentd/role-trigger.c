/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [trigger.NAME]: what makes states be looked at, besides what they watch themselves. */

#include "paths.h"
#include "role.h"
#include "schema.h"

#define TRIGGERS_MAX   10000
#define EVERY_MIN_USEC USEC_PER_SEC
#define NAME_LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* ---- Keys ------------------------------------------------------------------------------------------------------ */

static void refuse(Names *names, Trigger *trigger, Place place, const char *text) {
        diagnostics_add(&names->loader->diagnostics, place, "%s", text);
        trigger->broken = true;
}

static const char *get_text(Names *names, Trigger *trigger, const char *name, const Value *value) {
        Value text;

        if (!loader_wants(names->loader, value, VALUE_STRING, name, "a string") ||
                names_render(names, value, &text) < 0) {
                trigger->broken = true;
                return NULL;
        }
        if (text.size > 0 && !memchr(text.text, 0, text.size))
                return text.text;
        refuse(names, trigger, value->place,
                arena_printf(&names->loader->scratch,
                        text.size == 0 ? "'%s' is empty" : "'%s' has a NUL in it", name));
        return NULL;
}

static void set_path(Names *names, Trigger *trigger, const char *name, const Value *value) {
        const char *text = get_text(names, trigger, name, value);
        _cleanup_free_ char *path = NULL;
        int r;

        if (!text)
                return;
        r = path_normalise(text, &path);
        if (*text != '/')
                refuse(names, trigger, value->place,
                        arena_printf(&names->loader->scratch, "'%s' is no absolute path", text));
        else if (r < 0)
                refuse(names, trigger, value->place,
                        arena_printf(&names->loader->scratch, "'%.200s' %s", text,
                                r == -ENAMETOOLONG ? "is longer than a path can be"
                                                   : "has a '..' in it; write the path that it leads to"));
        else
                trigger->path = arena_strdup(&names->loader->scratch, path);
}

static void set_recursive(Names *names, Trigger *trigger, const char *name, const Value *value) {
        if (loader_wants(names->loader, value, VALUE_BOOLEAN, name, "true or false"))
                trigger->recursive = value->boolean;
        else
                trigger->broken = true;
}

/* A line each, as agentd_watch_tree() has it. */
static void set_exclude(Names *names, Trigger *trigger, const char *name, const Value *value) {
        Loader *loader = names->loader;
        const char **texts;
        size_t size = 1;
        char *all;

        if (!loader_wants(
                    loader, value, VALUE_ARRAY, name, "an array of patterns like [\"cache\", \"*.tmp\"]")) {
                trigger->broken = true;
                return;
        }
        texts = arena_new_array(&loader->scratch, const char *, value->n_items);
        VALUE_FOREACH_ITEM(item, value) {
                const char *text = get_text(names, trigger, name, item);

                if (text && strchr(text, '\n'))
                        refuse(names, trigger, item->place, "a pattern of 'exclude' has more than one line");
                else if (text) {
                        texts[item - value->items] = text;
                        size += strlen(text) + 1;
                }
        }
        trigger->exclude = all = arena_alloc(&loader->scratch, size);
        for (uint32_t i = 0; i < value->n_items; i++) {
                size_t n = texts[i] ? strlen(texts[i]) : 0;

                if (n > 1 && texts[i][n - 1] == '/')
                        n--;
                if (n > 0)
                        all += sprintf(all, "%.*s\n", (int) n, texts[i]);
        }
        trigger->exclude_place = value->place;
}

static void set_every(Names *names, Trigger *trigger, const char *name, const Value *value) {
        usec_t span = 0;
        const char *text;

        if (value->type == VALUE_INTEGER && value->integer > 0 && value->integer < INT32_MAX)
                span = (usec_t) value->integer * USEC_PER_SEC;
        else if (value->type == VALUE_STRING) {
                text = get_text(names, trigger, name, value);
                if (!text)
                        return;
                if (parse_timespan(text, &span) < 0)
                        span = 0;
        }
        if (span < EVERY_MIN_USEC || span == USEC_INFINITY)
                refuse(names, trigger, value->place,
                        "'every' must be a time span like \"15min\", one second at least");
        else
                trigger->every_usec = span;
}

/* Without `set` they are of later versions, and come last. */
static const struct {
        const char *name;
        void (*set)(Names *names, Trigger *trigger, const char *name, const Value *value);
        bool says_when;    /* exactly one of these is given */
        const char *needs; /* another that goes with it */
        const char *documentation, *schema;
} keys[] = {
        { "path", set_path, true, NULL, "It fires when this changes, comes or goes",
                "{'type':'string','pattern':'^/|" SCHEMA_TEMPLATE "'}" },
        { "every", set_every, true, NULL, "It fires so often",
                "{'type':['integer','string'],'minimum':1,'maximum':2147483646,'pattern':'" SCHEMA_SPAN
                "|" SCHEMA_TEMPLATE "','examples':['15min']}" },
        { "recursive", set_recursive, false, NULL, "With `path`: also for all that lies below it",
                "{'type':'boolean'}" },
        { "exclude", set_exclude, false, "recursive", "Patterns of names below it that do not count",
                "{'type':'array','items':{'type':'string','minLength':1}}" },
        { "calendar" },
        { "connect" },
        { "cron" },
        { "disconnect" },
        { "journal" },
        { "metric" },
        { "rate" },
        { "start" },
        { "state" },
        { "stop" },
        { "unit" },
        { "webhook" },
};

static void unknown_key(Names *names, Trigger *trigger, const Member *member) {
        const char *candidates[ELEMENTSOF(keys)], *meant;
        size_t n = 0;

        FOREACH_ELEMENT(key, keys)
                if (key->set)
                        candidates[n++] = key->name;
        meant = suggest_word(member->key, candidates, n);
        refuse(names, trigger, member->place,
                arena_printf(&names->loader->scratch, "unknown key '%s' in trigger '%s'%s%s%s", member->key,
                        trigger->name, meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : ""));
}

static void set_key(Names *names, Trigger *trigger, const Member *member, const char **says_when) {
        Loader *loader = names->loader;

        FOREACH_ELEMENT(key, keys) {
                if (!streq(key->name, member->key))
                        continue;
                if (!key->set) {
                        refuse(names, trigger, member->place,
                                arena_printf(&loader->scratch,
                                        "the key '%s' of triggers is not supported by this version of "
                                        "agentd",
                                        key->name));
                        /* That there is nothing else is no further error. */
                        *says_when = *says_when ?: key->name;
                        return;
                }
                if (key->says_when && *says_when && !trigger->broken)
                        refuse(names, trigger, member->place,
                                arena_printf(&loader->scratch,
                                        "both '%s' and '%s' are given; a trigger has one of them",
                                        *says_when, key->name));
                if (key->says_when)
                        *says_when = key->name;
                key->set(names, trigger, key->name, &member->value);
                return;
        }
        unknown_key(names, trigger, member);
}

/* ---- Triggers -------------------------------------------------------------------------------------------------- */

static bool name_is_fine(const Member *member) {
        return member->key_size > 0 && strlen(member->key) == member->key_size &&
               member->key[strspn(member->key, NAME_LETTERS)] == 0;
}

static void read_trigger(Loader *loader, const Role *role, const Member *member) {
        Trigger *trigger = arena_new(&loader->scratch, Trigger);
        const char *says_when = NULL;
        uint32_t first;
        Names names;

        *trigger = (Trigger){ .name = member->key, .role = role, .place = member->place };
        if (!name_is_fine(member)) {
                diagnostics_add(&loader->diagnostics, member->place,
                        "'%s' is no name for a trigger: letters, digits, '_', '.' and '-' are what one is "
                        "made of",
                        member->key);
                return;
        }
        if (member->value.type != VALUE_TABLE) {
                diagnostics_add(&loader->diagnostics, member->place,
                        "trigger '%s' is %s; it must be a table: [trigger.%s]", member->key,
                        value_kind(&member->value), member->key);
                return;
        }
        first = map_get(&loader->trigger_map, trigger->name);
        if (first != MAP_NOT_FOUND) {
                const Trigger *other = loader->triggers[first];

                diagnostics_add(&loader->diagnostics, trigger->place,
                        "trigger '%s' is declared twice; first at %s:%u:%u", trigger->name,
                        other->place.file, other->place.line, other->place.column);
                return;
        }
        if (loader->n_triggers == TRIGGERS_MAX) {
                diagnostics_add(&loader->diagnostics, trigger->place, "there are more than %d triggers",
                        TRIGGERS_MAX);
                return;
        }
        map_put(&loader->trigger_map, &loader->scratch, trigger->name, loader->n_triggers);
        loader->triggers = arena_grow(&loader->scratch, loader->triggers, loader->n_triggers,
                &loader->n_triggers_allocated, sizeof(Trigger *));
        loader->triggers[loader->n_triggers++] = trigger;

        names_init(&names, loader, role, NULL);
        VALUE_FOREACH_MEMBER(key, &member->value)
                set_key(&names, trigger, key, &says_when);
        if (!says_when && !trigger->broken)
                refuse(&names, trigger, trigger->place,
                        arena_printf(&loader->scratch,
                                "trigger '%s' does not say when it fires; give it 'path' or 'every'",
                                trigger->name));
        if (trigger->broken)
                return;
        if (trigger->recursive && !trigger->path)
                refuse(&names, trigger, trigger->place, "'recursive' goes with 'path'");
        else if (trigger->exclude && !trigger->recursive)
                refuse(&names, trigger, trigger->exclude_place,
                        "'exclude' goes with 'recursive = true': else nothing is looked into");
}

void role_read_triggers(Loader *loader, const Role *role, const Member *table) {
        if (table->value.type != VALUE_TABLE) {
                if (!role->off)
                        diagnostics_add(&loader->diagnostics, table->place,
                                "'trigger' is %s; it must be a table: [trigger.NAME]",
                                value_kind(&table->value));
                return;
        }
        VALUE_FOREACH_MEMBER(member, &table->value)
                if (role->off)
                        /* Who refers to what is off waits for nothing. */
                        map_put(&loader->off_triggers, &loader->scratch, member->key, 0);
                else
                        read_trigger(loader, role, member);
}

const char *trigger_key(size_t i, const char **ret_schema, const char **ret_documentation,
        bool *ret_says_when, const char **ret_needs) {
        if (i >= ELEMENTSOF(keys) || !keys[i].set)
                return NULL;
        *ret_schema = keys[i].schema;
        *ret_documentation = keys[i].documentation;
        *ret_says_when = keys[i].says_when;
        *ret_needs = keys[i].needs;
        return keys[i].name;
}

/* ---- States ---------------------------------------------------------------------------------------------------- */

static void unknown_trigger(Loader *loader, const TriggerReference *reference) {
        const char **names, *meant = NULL;

        /* Of the first ones only: each is compared with all. */
        if (loader->diagnostics.n < 100) {
                names = arena_new_array(&loader->scratch, const char *, loader->n_triggers);
                for (uint32_t i = 0; i < loader->n_triggers; i++)
                        names[i] = loader->triggers[i]->name;
                meant = suggest(reference->name, names, loader->n_triggers);
        }
        diagnostics_add(&loader->diagnostics, reference->place, "there is no trigger '%s'%s%s%s",
                reference->name, meant ? "; did you mean 'trigger:" : "", meant ?: "", meant ? "'?" : "");
}

void triggers_connect(Loader *loader) {
        for (uint32_t i = 0; i < loader->n_states; i++) {
                const StateExtra *extra = loader->states[i]->extra;

                for (uint32_t k = 0; extra && k < extra->n_triggers; k++) {
                        const TriggerReference *reference = &extra->triggers[k];
                        uint32_t t = map_get(&loader->trigger_map, reference->name);
                        Trigger *trigger;

                        if (t == MAP_NOT_FOUND) {
                                if (map_get(&loader->off_triggers, reference->name) == MAP_NOT_FOUND)
                                        unknown_trigger(loader, reference);
                                continue;
                        }
                        trigger = loader->triggers[t];
                        /* Twice in one list is once. */
                        if (trigger->n_states > 0 && trigger->states[trigger->n_states - 1] == i)
                                continue;
                        trigger->states = arena_grow(&loader->scratch, trigger->states, trigger->n_states,
                                &trigger->n_states_allocated, sizeof(uint32_t));
                        trigger->states[trigger->n_states++] = i;
                }
        }
}
