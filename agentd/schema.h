/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * agentd --schema: the JSON Schema of roles and of agentd.toml, so that editors complete and check them. It is made from what the
 * loader itself goes by: declarations of state types, and its tables of settings and keys.
 *
 * Draft 7. The language server that editors have for TOML, taplo, is built with drafts 4, 6 and 7 alone (its jsonschema crate without
 * the features for 2019-09 and 2020-12), and it shapes more: it shows no keys of a schema that has `allOf`, ignores what
 * stands beside `$ref`, and loses the description beside `anyOf`. Hence unions are `type` arrays with a `pattern`, which says
 * something of strings only.
 *
 * The schema refuses nothing that the loader takes, but in a role that is off. The other way round it does what a schema can.
 */

#include <jansson.h>

#include "module.h"

typedef struct SchemaOptions {
        const char *name;       /* "agentd.toml"; NULL: of roles */
        const char *module_dir; /* searched first; NULL: none besides the usual ones */
} SchemaOptions;

/* Prints, and returns an exit status. Runs code of modules. */
int schema_run(const SchemaOptions *options);

/* ---- Patterns --------------------------------------------------------------------------------------------------- */

/* Of regular expressions as JavaScript, Python and Rust have them all; no apostrophes, see schema_parse(). */

#define SCHEMA_TEMPLATE "[{][{]"

/* As parse_timespan() has it, without "infinity". It must not be ambiguous: then it takes forever for some strings. */
#define SCHEMA_SPAN                                                                    \
        "^([0-9. \\t]+(us(ec)?|µs|ms(ec)?|s(ec(onds?)?)?|m(in(utes?)?)?|h(r|ours?)?|" \
        "d(ays?)?|w(eeks?)?|M|months?|y(ears?)?))*[0-9. \\t]*$"
#define SCHEMA_INFINITY "^[ \\t]*infinity$"
#define SCHEMA_BYTES    "^[0-9]+([KMGTPE]i?)?B?$"

#define SCHEMA_TAGS                                               \
        "{'type':'array','items':{'type':'string','minLength':1," \
        "'pattern':'^[A-Za-z0-9_.-]*$|" SCHEMA_TEMPLATE "'}}"

/* ---- Of parts --------------------------------------------------------------------------------------------------- */

/* A schema that is written in a table: JSON with ' in the place of ". */
json_t *schema_parse(const char *text);
/* Gives it a description, if there is one, and returns it. Of several branches the first has it as well: an editor may look at the
 * one or at both. */
json_t *schema_describe(json_t *schema, const char *text);

/* schema-parameter.c: what one parameter takes; all: those it is one of. */
json_t *schema_parameter(const AgentdParameter *parameter, const AgentdParameter *all);
/* `not`, of those of which only one may be given; NULL: there are none. */
json_t *schema_exclusive(const AgentdParameter *parameters);
/* The names of those that are required; NULL: none is. */
json_t *schema_required(const AgentdParameter *parameters);

/* schema-settings.c: that of agentd.toml. */
json_t *schema_settings(void);
