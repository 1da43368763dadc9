/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a foreign module says of itself: the answer to the handshake → declarations. */

#include "foreign-internal.h"

/* Levels of JSON that the declarations of parameters may have; fields nest less deeply, see module-load.c. */
#define FIELD_DEPTH_MAX 8

static const struct {
        const char *word;
        AgentdType type;
} types[] = {
        { "boolean", AGENTD_BOOLEAN },
        { "integer", AGENTD_INTEGER },
        { "float", AGENTD_FLOAT },
        { "string", AGENTD_STRING },
        { "list", AGENTD_LIST },
        { "table", AGENTD_TABLE },
        { "record", AGENTD_RECORD },
        { "mode", AGENTD_MODE },
        { "timespan", AGENTD_TIMESPAN },
        { "bytes", AGENTD_BYTES },
        { "any", AGENTD_ANY },
};

static const struct {
        const char *word;
        uint32_t flag;
} parameter_flags[] = {
        { "required", AGENTD_REQUIRED },
        { "secret", AGENTD_SECRET },
        { "path", AGENTD_PATH },
        { "template", AGENTD_TEMPLATE },
        { "source", AGENTD_SOURCE },
        { "user", AGENTD_USER },
        { "group", AGENTD_GROUP },
        { "literal", AGENTD_LITERAL },
        { "identifies", AGENTD_IDENTIFIES },
};

/* An object of the declarations that is being read, and what to call it. */
typedef struct Declaration {
        Arena *arena;
        const json_t *json;
        const char *owner; /* "type 'x'", for messages */
        char **reterr;
} Declaration;

/* A string, or NULL if there is none. Return: 0; -EBADMSG. */
static int take_string(const Declaration *d, const char *key, const char **ret) {
        const json_t *value = json_object_get(d->json, key);

        if (!value || json_is_null(value)) {
                *ret = NULL;
                return 0;
        }
        if (!foreign_get_string(d->json, key))
                return foreign_wrong(d->reterr, "declares %s with '%s' that is not a string", d->owner, key);
        *ret = arena_strdup(d->arena, json_string_value(value));
        return 0;
}

static int take_boolean(const Declaration *d, const char *key, bool *ret) {
        const json_t *value = json_object_get(d->json, key);

        if (value && !json_is_boolean(value))
                return foreign_wrong(
                        d->reterr, "declares %s with '%s' that is not true or false", d->owner, key);
        *ret = json_is_true(value);
        return 0;
}

/* The text of a default, which is checked when a role needs it. */
static int take_default(const Declaration *d, const char **ret) {
        const json_t *value = json_object_get(d->json, "default");

        switch (value ? json_typeof(value) : JSON_NULL) {
        case JSON_NULL: *ret = NULL; return 0;
        case JSON_STRING: return take_string(d, "default", ret);
        case JSON_TRUE: *ret = "true"; return 0;
        case JSON_FALSE: *ret = "false"; return 0;
        case JSON_INTEGER:
                *ret = arena_printf(d->arena, "%lld", (long long) json_integer_value(value));
                return 0;
        case JSON_REAL: *ret = arena_printf(d->arena, "%.17g", json_real_value(value)); return 0;
        default:
                return foreign_wrong(d->reterr,
                        "declares %s with a 'default' that is an array or an object; it must be a "
                        "string, a number, true or false",
                        d->owner);
        }
}

static int take_choices(const Declaration *d, const char *const **ret) {
        const json_t *list = json_object_get(d->json, "choices");
        const char **words;

        *ret = NULL;
        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list) || json_array_size(list) == 0)
                return foreign_wrong(
                        d->reterr, "declares %s with 'choices' that are not an array of strings", d->owner);
        words = arena_new_array(d->arena, const char *, json_array_size(list) + 1);
        for (size_t i = 0; i < json_array_size(list); i++) {
                const json_t *item = json_array_get(list, i);

                if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
                        return foreign_wrong(d->reterr,
                                "declares %s with 'choices' that are not an array of strings", d->owner);
                words[i] = arena_strdup(d->arena, json_string_value(item));
        }
        *ret = words;
        return 0;
}

static int take_parameters(
        const Declaration *outer, const char *key, unsigned depth, const AgentdParameter **ret);

static int take_parameter(
        const Declaration *outer, const json_t *json, unsigned depth, AgentdParameter *ret) {
        Declaration d = *outer;
        const char *word;
        int r;

        d.json = json;
        if (!json_is_object(json))
                return foreign_wrong(
                        d.reterr, "declares %s with a parameter that is no object", outer->owner);
        r = take_string(&d, "name", &ret->name);
        if (r < 0)
                return r;
        /* NULL would end the list. */
        if (!ret->name)
                return foreign_wrong(
                        d.reterr, "declares %s with a parameter that has no 'name'", outer->owner);
        d.owner = arena_printf(d.arena, "parameter '%.64s' of %s", ret->name, outer->owner);

        r = take_string(&d, "type", &word);
        if (r < 0)
                return r;
        ret->type = word ? AGENTD_NONE : AGENTD_STRING;
        FOREACH_ELEMENT(type, types)
                if (streq_ptr(type->word, word))
                        ret->type = type->type;
        if (ret->type == AGENTD_NONE)
                return foreign_wrong(d.reterr,
                        "declares %s with the type '%.64s', which is none of boolean, integer, float, "
                        "string, list, table, record, mode, timespan, bytes, any",
                        d.owner, word);
        FOREACH_ELEMENT(flag, parameter_flags) {
                bool set;

                r = take_boolean(&d, flag->word, &set);
                if (r < 0)
                        return r;
                ret->flags |= set ? flag->flag : 0;
        }
        r = take_default(&d, &ret->default_value);
        if (r < 0)
                return r;
        r = take_string(&d, "documentation", &ret->documentation);
        if (r < 0)
                return r;
        r = take_string(&d, "exclusive", &ret->exclusive);
        if (r < 0)
                return r;
        r = take_choices(&d, &ret->choices);
        if (r < 0)
                return r;
        if (ret->type != AGENTD_RECORD)
                return 0;
        return take_parameters(&d, "fields", depth + 1, &ret->fields);
}

static int take_parameters(
        const Declaration *outer, const char *key, unsigned depth, const AgentdParameter **ret) {
        const json_t *list = json_object_get(outer->json, key);
        AgentdParameter *parameters;
        int r;

        *ret = NULL;
        if (!list)
                return 0;
        if (!json_is_array(list))
                return foreign_wrong(
                        outer->reterr, "declares %s with '%s' that are not an array", outer->owner, key);
        if (depth > FIELD_DEPTH_MAX)
                return foreign_wrong(
                        outer->reterr, "declares %s with fields that are nested too deeply", outer->owner);
        parameters = arena_new_array(outer->arena, AgentdParameter, json_array_size(list) + 1);
        for (size_t i = 0; i < json_array_size(list); i++) {
                r = take_parameter(outer, json_array_get(list, i), depth, &parameters[i]);
                if (r < 0)
                        return r;
        }
        *ret = parameters;
        return 0;
}

/* A whole number from 0 on. */
static int take_count(const Declaration *d, const char *key, uint32_t *ret) {
        const json_t *value = json_object_get(d->json, key);

        if (value && (!json_is_integer(value) || json_integer_value(value) < 0 ||
                             json_integer_value(value) > UINT32_MAX))
                return foreign_wrong(
                        d->reterr, "declares %s with '%s' that is not a number from 0 on", d->owner, key);
        *ret = (uint32_t) json_integer_value(value);
        return 0;
}

static int take_type(Declaration d, size_t i, AgentdStateType *type, ForeignType *extra) {
        const char *timeout;
        bool plan, name_is_path, reloads, restarts;
        int r;

        d.owner = arena_printf(d.arena, "type %zu", i + 1);
        if (!json_is_object(d.json))
                return foreign_wrong(d.reterr, "declares %s with something that is no object", d.owner);
        r = take_string(&d, "name", &type->name);
        if (r < 0)
                return r;
        if (type->name)
                d.owner = arena_printf(d.arena, "type '%.64s'", type->name);

        r = take_string(&d, "documentation", &type->documentation);
        if (r < 0)
                return r;
        r = take_boolean(&d, "plan", &plan);
        if (r < 0)
                return r;
        r = take_boolean(&d, "name_is_path", &name_is_path);
        if (r < 0)
                return r;
        r = take_boolean(&d, "reloads", &reloads);
        if (r < 0)
                return r;
        r = take_boolean(&d, "restarts", &restarts);
        if (r < 0)
                return r;
        r = take_boolean(&d, "prepare", &extra->prepare);
        if (r < 0)
                return r;
        r = take_boolean(&d, "root", &extra->root);
        if (r < 0)
                return r;
        r = take_count(&d, "batch_max", &type->batch_max);
        if (r < 0)
                return r;
        r = take_string(&d, "timeout", &timeout);
        if (r < 0)
                return r;
        if (timeout && parse_timespan(timeout, &type->timeout_usec) < 0)
                return foreign_wrong(d.reterr,
                        "declares %s with the timeout '%.64s', which is not a time span like \"2min\"",
                        d.owner, timeout);
        /* Who does not say that its check can be relied on is not relied on. */
        type->flags = (plan ? 0 : AGENTD_NO_PLAN) | (name_is_path ? AGENTD_NAME_IS_PATH : 0) |
                      (reloads ? AGENTD_RELOADS : 0) | (restarts ? AGENTD_RESTARTS : 0);
        return take_parameters(&d, "parameters", 0, &type->parameters);
}

static int take_hello(Arena *arena, const json_t *json, ForeignHello *ret, char **reterr) {
        Declaration d = { .arena = arena, .json = json, .owner = "itself", .reterr = reterr };
        const json_t *protocol = json_object_get(json, "protocol"), *list = json_object_get(json, "types");
        const AgentdStateType **pointers;
        AgentdStateType *all;
        const char *encoding;
        int r;

        if (!json_is_integer(protocol))
                return foreign_wrong(reterr, "did not say \"protocol\": %d when it was asked what it is",
                        FOREIGN_PROTOCOL);
        if (json_integer_value(protocol) != FOREIGN_PROTOCOL)
                return foreign_wrong(reterr, "speaks protocol %lld, this agentd speaks %d",
                        (long long) json_integer_value(protocol), FOREIGN_PROTOCOL);

        ret->info = (AgentdModule){
                .abi = AGENTD_ABI,
                .size = sizeof(AgentdModule),
                .state_type_size = sizeof(AgentdStateType),
                .parameter_size = sizeof(AgentdParameter),
        };
        r = take_string(&d, "name", &ret->info.name);
        if (r < 0)
                return r;
        r = take_string(&d, "version", &ret->info.version);
        if (r < 0)
                return r;
        r = take_string(&d, "encoding", &encoding);
        if (r < 0)
                return r;
        if (encoding && !streq(encoding, "json") && !streq(encoding, "shell"))
                return foreign_wrong(
                        reterr, "wants the encoding '%.64s'; there are 'json' and 'shell'", encoding);
        ret->encoding = streq_ptr(encoding, "shell") ? FOREIGN_SHELL : FOREIGN_JSON;

        if (!json_is_array(list))
                return foreign_wrong(reterr, "did not declare its types as an array \"types\"");
        all = arena_new_array(arena, AgentdStateType, json_array_size(list));
        pointers = arena_new_array(arena, const AgentdStateType *, json_array_size(list) + 1);
        ret->types = arena_new_array(arena, ForeignType, json_array_size(list));
        for (size_t i = 0; i < json_array_size(list); i++) {
                d.json = json_array_get(list, i);
                r = take_type(d, i, &all[i], &ret->types[i]);
                if (r < 0)
                        return r;
                if (foreign_cannot_carry(ret->encoding, all[i].parameters, reterr))
                        return -EBADMSG;
                pointers[i] = &all[i];
        }
        ret->info.state_types = pointers;
        return 0;
}

bool foreign_cannot_carry(ForeignEncoding encoding, const AgentdParameter *parameters, char **reterr) {
        for (const AgentdParameter *p = parameters; encoding == FOREIGN_SHELL && p && p->name; p++)
                if (p->type == AGENTD_TABLE || p->type == AGENTD_RECORD ||
                        (uint32_t) p->type == AGENTD_ANY) {
                        (void) foreign_wrong(reterr,
                                "declares parameter '%.64s' of a type that the encoding 'shell' cannot "
                                "carry; tables, records and any need 'json'",
                                p->name);
                        return true;
                }
        return false;
}

int foreign_read_hello(Arena *arena, const char *line, size_t size, ForeignHello *ret, char **reterr) {
        _cleanup_(json_decrefp) json_t *json = NULL;
        ForeignHello hello = {};
        int r;

        *reterr = NULL;
        if (size > FOREIGN_HELLO_MAX)
                return foreign_wrong(
                        reterr, "said what it is in more than %zu KiB", FOREIGN_HELLO_MAX >> 10);
        json = foreign_parse_line(line, size, false, reterr);
        if (!json)
                return -EBADMSG;
        r = take_hello(arena, json, &hello, reterr);
        if (r < 0)
                return r;
        *ret = hello;
        return 0;
}
