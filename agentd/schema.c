/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A role's schema: state types, overrides, and the keys that are none of them. */

#include "log.h"
#include "once.h"
#include "output.h"
#include "role.h"
#include "schema.h"

#define SETTINGS_NAME "agentd.toml"
#define SCRATCH_BYTES GIB(1)
#define DRAFT         "http://json-schema.org/draft-07/schema#"
/* A name and no address: each host has its own, by its modules. It is a URL, as some tools can join no others. */
#define ID "https://agentd.invalid/schema/"

json_t *schema_parse(const char *text) {
        _cleanup_free_ char *json = strdup(text);
        json_error_t error;
        json_t *schema;

        for (char *p = json; p && *p; p++)
                if (*p == '\'')
                        *p = '"';
        schema = json ? json_loads(json, 0, &error) : NULL;
        if (json && !schema)
                log_error(
                        "There is a bad schema in a table, at %d: %s: %s", error.position, error.text, text);
        return schema ?: json_object();
}

json_t *schema_describe(json_t *schema, const char *text) {
        json_t *branch = json_array_get(json_object_get(schema, "anyOf"), 0);

        if (!text || !*text)
                return schema;
        (void) json_object_set_new(schema, "description", json_string(text));
        if (branch) {
                (void) json_object_set_new(branch, "description", json_string(text));
                /* So that it is not shown twice. */
                (void) json_object_set_new(schema, "x-taplo", json_pack("{s:{s:s}}", "docs", "main", ""));
        }
        return schema;
}

static json_t *new_reference(const char *format, ...) _printf_(1, 2);

static json_t *new_reference(const char *format, ...) {
        char path[512] = "#/definitions/";
        size_t n = strlen(path);
        va_list args;

        va_start(args, format);
        (void) vsnprintf(path + n, sizeof(path) - n, format, args);
        va_end(args);
        return json_pack("{s:s}", "$ref", path);
}

static json_t *new_table(json_t *properties) {
        return json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties,
                "additionalProperties", false);
}

static void set_definition(json_t *definitions, const char *prefix, const char *name, json_t *schema) {
        char key[256];

        (void) snprintf(key, sizeof(key), "%s.%s", prefix, name);
        (void) json_object_set_new(definitions, key, schema);
}

/* ---- States ---------------------------------------------------------------------------------------------------- */

static void add_settings(json_t *definitions) {
        const char *name, *value, *documentation;

        for (size_t i = 0; (name = state_setting(i, &value, &documentation)); i++)
                set_definition(definitions, "setting", name,
                        schema_describe(schema_parse(state_setting_schema(i)), documentation));
}

static json_t *new_state(const TypeEntry *entry, const json_t *definitions) {
        const AgentdStateType *type = entry->type;
        json_t *properties = json_object(), *schema = new_table(properties), *list;
        const char *name, *value, *documentation;

        for (const AgentdParameter *p = type->parameters; p && p->name; p++)
                (void) json_object_set_new(properties, p->name, schema_parameter(p, type->parameters));
        for (size_t i = 0; (name = state_setting(i, &value, &documentation)); i++) {
                if (!state_setting_is_for(name, type) || json_object_get(properties, name))
                        continue;
                if (streq(name, "on_removal") && !type_can_be_absent(type)) {
                        json_t *own = json_deep_copy(json_object_get(definitions, "setting.on_removal"));

                        (void) json_object_set_new(own, "not", json_pack("{s:s}", "const", "absent"));
                        (void) json_object_set_new(properties, name, own);
                } else
                        (void) json_object_set_new(properties, name, new_reference("setting.%s", name));
        }
        list = schema_required(type->parameters);
        if (list)
                (void) json_object_set_new(schema, "required", list);
        list = schema_exclusive(type->parameters);
        if (list)
                (void) json_object_set_new(schema, "not", list);
        return schema_describe(schema, type->documentation);
}

/* The same settings, of which none is required. */
static json_t *new_override(const TypeEntry *entry, const json_t *state) {
        json_t *properties = json_object(), *schema = new_table(properties), *exclusive, *setting;
        const char *name;

        json_object_foreach(json_object_get(state, "properties"), name,
                setting) if (!streq(name, "for_each"))(void) json_object_set_new(properties, name,
                new_reference("state.%s/properties/%s", entry->name, name));
        (void) json_object_set_new(properties, "remove",
                schema_describe(
                        schema_parse("{'type':['boolean','array'],'items':{'type':'string','minLength':1,"
                                     "'not':{'const':'for_each'}}}"),
                        "Take the state out, or these settings of it"));
        exclusive = json_object_get(state, "not");
        if (exclusive)
                (void) json_object_set(schema, "not", exclusive);
        return schema_describe(schema, "What is otherwise in a state that an import brings");
}

/* A table with others by their names. Not by `propertyNames`, of which what editors say names the pattern and not the key. */
static json_t *new_named(const char *pattern, json_t *schema) {
        return json_pack("{s:s, s:{s:o}, s:b}", "type", "object", "patternProperties", pattern, schema,
                "additionalProperties", false);
}

/* [file], which has states by their names. */
static json_t *new_states(const TypeEntry *entry) {
        return schema_describe(
                new_named(entry->type->flags & AGENTD_NAME_IS_PATH ? "^/|" SCHEMA_TEMPLATE : "^.",
                        new_reference("state.%s", entry->name)),
                entry->type->documentation);
}

static json_t *new_overrides(const Loader *loader, const char *description) {
        json_t *patterns = json_object(), *schema;

        for (uint32_t i = 0; i < loader->n_types; i++) {
                char pattern[256];

                (void) snprintf(pattern, sizeof(pattern), "^%s:", loader->types[i]->name);
                (void) json_object_set_new(
                        patterns, pattern, new_reference("override.%s", loader->types[i]->name));
        }
        (void) json_object_set_new(patterns, SCHEMA_TEMPLATE, schema_parse("{'type':'object'}"));
        schema = json_pack("{s:s, s:o, s:b}", "type", "object", "patternProperties", patterns,
                "additionalProperties", false);
        return schema_describe(schema, description);
}

/* ---- Triggers -------------------------------------------------------------------------------------------------- */

static json_t *new_triggers(const char *description) {
        json_t *properties = json_object(), *needed = json_object(), *one_of = json_array(), *trigger;
        const char *name, *schema, *documentation, *needs;
        bool says_when;

        for (size_t i = 0; (name = trigger_key(i, &schema, &documentation, &says_when, &needs)); i++) {
                (void) json_object_set_new(
                        properties, name, schema_describe(schema_parse(schema), documentation));
                if (says_when)
                        (void) json_array_append_new(one_of, json_pack("{s:[s]}", "required", name));
                if (needs)
                        (void) json_object_set_new(needed, name, json_pack("[s]", needs));
        }
        trigger = new_table(properties);
        (void) json_object_set_new(trigger, "oneOf", one_of);
        (void) json_object_set_new(trigger, "dependencies", needed);
        return schema_describe(new_named("^[A-Za-z0-9_.-]+$", trigger), description);
}

/* ---- Roles ----------------------------------------------------------------------------------------------------- */

static json_t *new_role(const Loader *loader) {
        json_t *properties = json_object(), *definitions = json_object(), *root;
        const char *name, *schema, *documentation;

        add_settings(definitions);
        for (uint32_t i = 0; i < loader->n_types; i++) {
                const TypeEntry *entry = loader->types[i];
                json_t *state = new_state(entry, definitions);

                set_definition(definitions, "state", entry->name, state);
                set_definition(definitions, "override", entry->name, new_override(entry, state));
        }

        for (size_t i = 0; (name = role_key(i, &schema, &documentation)); i++) {
                json_t *key = schema ? schema_describe(schema_parse(schema), documentation)
                              : streq(name, "override") ? new_overrides(loader, documentation)
                                                        : new_triggers(documentation);

                (void) json_object_set_new(properties, name, key);
        }
        for (uint32_t i = 0; i < loader->n_types; i++)
                if (!json_object_get(properties, loader->types[i]->name))
                        (void) json_object_set_new(
                                properties, loader->types[i]->name, new_states(loader->types[i]));
        root = new_table(properties);
        (void) json_object_set_new(root, "definitions", definitions);
        return root;
}

static int compare_types(const void *a, const void *b) {
        const TypeEntry *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

/* ---- Around ---------------------------------------------------------------------------------------------------- */

/* Return: an exit status. */
static int print(const char *file, const char *title, const char *description, json_t *schema) {
        json_t *root = json_pack("{s:s, s:o, s:s, s:s}", "$schema", DRAFT, "$id",
                json_sprintf(ID "%s", file), "title", title, "description", description);
        int r;

        r = !root || !schema ? -1 : json_object_update(root, schema);
        if (r >= 0)
                r = json_dumpf(root, stdout, JSON_INDENT(2));
        json_decref(schema);
        json_decref(root);
        if (r < 0 && !ferror(stdout)) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        (void) fputc('\n', stdout);
        return output_flush(stdout) < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
}

int schema_run(const SchemaOptions *options) {
        const LoadOptions load = { .root = "/", .module_dir = options->module_dir };
        Loader loader = { .options = &load, .root_fd = -EBADF };

        if (options->name && !streq(options->name, SETTINGS_NAME)) {
                log_error("There is no schema of '%s'; there is that of roles, without a name, and that of "
                          "'" SETTINGS_NAME "'",
                        options->name);
                return EXIT_INVALID;
        }
        if (options->name)
                return print("settings.json", SETTINGS_NAME, "Settings of agentd itself, not of the host",
                        schema_settings());

        if (arena_map(&loader.scratch, SCRATCH_BYTES, NULL) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        loader.diagnostics.arena = &loader.scratch;
        modules_open_all(&loader);
        for (uint32_t i = 0; i < loader.diagnostics.n; i++)
                log_warning(
                        "%s: %s", loader.diagnostics.list[i].place.file, loader.diagnostics.list[i].message);
        if (loader.n_types > 0)
                qsort(loader.types, loader.n_types, sizeof(TypeEntry *), compare_types);
        return print("role.json", "A role of agentd",
                "What a host is to be like. Each state type that a module provides is a key; 'agentctl doc' "
                "is "
                "about them",
                new_role(&loader));
}
