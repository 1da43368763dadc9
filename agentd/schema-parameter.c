/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a parameter takes, as parameter.c converts it. */

#include <stdlib.h>

#include "schema.h"
#include "util.h"

#define PATTERN_MODE     "^(0?[0-7]{4}|[0-7]{3})$"
#define PATTERN_SYMBOLIC "^[^0-9]"
#define PATTERN_NAME     "^[^:/\\n]+$"
#define PATTERN_CHECKSUM                                      \
        "^((sha256:)?[0-9A-Fa-f]{64}|sha512:[0-9A-Fa-f]{128}" \
        "|blake2b:([0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}))$"

static bool takes_template(const AgentdParameter *parameter) {
        return !(parameter->flags & AGENTD_LITERAL);
}

/* A template gives a value of any type. */
static json_t *new_typed(const AgentdParameter *parameter, const char *type) {
        return takes_template(parameter)
                       ? json_pack("{s:[s,s], s:s}", "type", type, "string", "pattern", SCHEMA_TEMPLATE)
                       : json_pack("{s:s}", "type", type);
}

/* other: "integer", for what may be one as well; or NULL. */
static json_t *new_written(
        const AgentdParameter *parameter, const char *other, const char *pattern, const char *or_pattern) {
        json_t *schema = other ? json_pack("{s:[s,s]}", "type", other, "string")
                               : json_pack("{s:s}", "type", "string");
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "%s%s%s%s%s", pattern, or_pattern ? "|" : "", or_pattern ?: "",
                    takes_template(parameter) ? "|" : "",
                    takes_template(parameter) ? SCHEMA_TEMPLATE : "") < 0)
                text = NULL;
        if (text)
                (void) json_object_set_new(schema, "pattern", json_string(text));
        return schema;
}

/* The words stand in a branch of their own, so that they are offered, and a template is none of them. */
static json_t *new_choice(const AgentdParameter *parameter) {
        json_t *words = json_array(), *schema = json_pack("{s:s}", "type", "string");

        for (const char *const *word = parameter->choices; *word; word++)
                (void) json_array_append_new(words, json_string(*word));
        if (takes_template(parameter))
                (void) json_object_set_new(schema, "anyOf",
                        json_pack("[{s:o}, {s:s, s:s}]", "enum", words, "type", "string", "pattern",
                                SCHEMA_TEMPLATE));
        else
                (void) json_object_set_new(schema, "enum", words);
        return schema;
}

/* In the order of convert_string(). */
static json_t *new_string(const AgentdParameter *parameter) {
        json_t *schema;

        if (parameter->flags & AGENTD_TEMPLATE)
                return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
        if (parameter->flags & AGENTD_SOURCE)
                return json_pack("{s:s, s:i, s:{s:s}}", "type", "string", "minLength", 1, "not", "pattern",
                        "^[a-z]*://");
        if (parameter->flags & AGENTD_PATH) {
                schema = new_written(parameter, NULL, "^/", NULL);
                (void) json_object_set_new(schema, "not", json_pack("{s:s}", "pattern", "(^|/)[.][.](/|$)"));
                return schema;
        }
        if (parameter->choices)
                return new_choice(parameter);
        if (parameter->flags & AGENTD_CHECKSUM)
                return new_written(parameter, NULL, PATTERN_CHECKSUM, NULL);
        if (parameter->flags & (AGENTD_USER | AGENTD_GROUP))
                return new_written(parameter, NULL, PATTERN_NAME, NULL);
        return json_pack("{s:s}", "type", "string");
}

static json_t *new_list(const AgentdParameter *parameter) {
        json_t *schema = new_typed(parameter, "array");

        (void) json_object_set_new(schema, "items", new_string(parameter));
        return schema;
}

static json_t *new_record(const AgentdParameter *parameter) {
        json_t *schema = new_typed(parameter, "object"), *properties = json_object(), *required;

        for (const AgentdParameter *field = parameter->fields; field && field->name; field++)
                (void) json_object_set_new(properties, field->name, schema_parameter(field, NULL));
        (void) json_object_set_new(schema, "properties", properties);
        required = schema_required(parameter->fields);
        if (required)
                (void) json_object_set_new(schema, "required", required);
        (void) json_object_set_new(schema, "additionalProperties", json_false());
        return schema;
}

static json_t *with_example(json_t *schema, const char *example) {
        (void) json_object_set_new(schema, "examples", json_pack("[s]", example));
        return schema;
}

static json_t *new_schema(const AgentdParameter *parameter) {
        switch ((uint32_t) parameter->type) {
        case AGENTD_BOOLEAN: return new_typed(parameter, "boolean");
        case AGENTD_INTEGER: return new_typed(parameter, "integer");
        case AGENTD_FLOAT: return new_typed(parameter, "number");
        case AGENTD_STRING: return new_string(parameter);
        case AGENTD_LIST: return new_list(parameter);
        case AGENTD_TABLE: return new_typed(parameter, "object");
        case AGENTD_RECORD: return new_record(parameter);
        case AGENTD_MODE:
                return with_example(new_written(parameter, NULL, PATTERN_MODE,
                                            parameter->flags & AGENTD_SYMBOLIC ? PATTERN_SYMBOLIC : NULL),
                        "0644");
        case AGENTD_TIMESPAN: {
                json_t *schema = new_written(parameter, "integer", SCHEMA_SPAN, SCHEMA_INFINITY);

                (void) json_object_set_new(schema, "minimum", json_integer(0));
                return with_example(schema, "2min 30s");
        }
        case AGENTD_BYTES: return with_example(new_written(parameter, "integer", SCHEMA_BYTES, NULL), "64M");
        default: return json_object();
        }
}

/* As it is written in a role. */
static json_t *default_of(const AgentdParameter *parameter) {
        switch ((uint32_t) parameter->type) {
        case AGENTD_BOOLEAN: return json_boolean(streq(parameter->default_value, "true"));
        case AGENTD_INTEGER: return json_integer(strtoll(parameter->default_value, NULL, 10));
        case AGENTD_FLOAT: return json_real(strtod(parameter->default_value, NULL));
        default: return json_string(parameter->default_value);
        }
}

/* "what it is (not with `template`, `source`)" */
static char *description_of(const AgentdParameter *parameter, const AgentdParameter *all) {
        char *text = NULL;
        bool first = true;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        (void) fputs(parameter->documentation ?: "", f);
        for (const AgentdParameter *other = all; parameter->exclusive && other && other->name; other++)
                if (other != parameter && streq_ptr(other->exclusive, parameter->exclusive)) {
                        (void) fprintf(f, "%s`%s`", first ? " (not with " : ", ", other->name);
                        first = false;
                }
        if (!first)
                (void) fputc(')', f);
        (void) fclose(f);
        return text;
}

json_t *schema_parameter(const AgentdParameter *parameter, const AgentdParameter *all) {
        _cleanup_free_ char *description = description_of(parameter, all);
        json_t *schema = schema_describe(new_schema(parameter), description);

        if (parameter->default_value)
                (void) json_object_set_new(schema, "default", default_of(parameter));
        if (parameter->flags & AGENTD_SECRET)
                (void) json_object_set_new(schema, "writeOnly", json_true());
        return schema;
}

json_t *schema_required(const AgentdParameter *parameters) {
        json_t *names = NULL;

        for (const AgentdParameter *p = parameters; p && p->name; p++)
                if (p->flags & AGENTD_REQUIRED) {
                        names = names ?: json_array();
                        (void) json_array_append_new(names, json_string(p->name));
                }
        return names;
}

json_t *schema_exclusive(const AgentdParameter *parameters) {
        json_t *pairs = NULL;

        for (const AgentdParameter *a = parameters; a && a->name; a++)
                for (const AgentdParameter *b = a + 1; a->exclusive && b->name; b++)
                        if (streq_ptr(a->exclusive, b->exclusive)) {
                                pairs = pairs ?: json_array();
                                (void) json_array_append_new(
                                        pairs, json_pack("{s:[s,s]}", "required", a->name, b->name));
                        }
        return pairs ? json_pack("{s:o}", "anyOf", pairs) : NULL;
}
