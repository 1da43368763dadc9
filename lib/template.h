/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "diagnostic.h"
#include "scope.h"

/*
 * Mustache: all of the specification's required modules (comments, delimiters, interpolation, inverted, partials,
 * sections) and its optional inheritance and dynamic names; no lambdas.
 *
 *   {{name}} {{{name}}} {{&name}}   the value; the latter two are never HTML-escaped
 *   {{#name}}…{{/name}}             once for each item of an array, once for anything else that is not falsy
 *   {{^name}}…{{/name}}             if falsy
 *   {{.}}                           the value of the innermost section
 *   {{>name}} {{>*name}}            a partial; a partial whose name is the value
 *   {{<name}}{{$block}}…{{/block}}{{/name}}   a partial with some of its {{$block}}…{{/block}} replaced
 *   {{!…}} {{=<% %>=}}              a comment; other delimiters
 *
 * Falsy are false, null and the empty array, and nothing else: "" and 0 and an empty table are not.
 *
 * The parts of a name below an array are numbers of its items, from 0.
 * A name of a table with .* behind it is an array of its entries, tables of `key` and `value`; of anything else, undefined.
 *
 * A dotted name's first part is looked for in the tables of the open sections, innermost first, then in the scope;
 * the rest is a walk through tables. Outside of any section "." is looked up in the scope like a name.
 *
 * Text of values: integers and booleans as in TOML; floats with the fewest digits that read back the same, as in TOML
 * (1.0, 1.21, 1e+22, inf, nan); strings and date-times as they are; null is nothing.
 *
 * Indentation before a standalone partial or block goes before each line of it that is not empty. A block's text
 * loses the indentation of its own first line and takes that of the place it is put.
 *
 * Source: https://github.com/mustache/spec, v1.4.2.
 */

/* The text of a template and where it stands. */
typedef struct TemplateSource {
        const char *text; /* not owned; need not be NUL-terminated nor UTF-8 */
        size_t size;      /* bytes */
        Place place;      /* of the first character of the text; line 0 if unknown */
        bool one_line;    /* all of it is on one line of the file: line ends were written as \n */
        bool tainted;     /* the text itself is a secret; messages then show no part of it */
} TemplateSource;

/* A file: its first character is at 1:1. */
static inline TemplateSource template_source_file(const char *file, const char *text, size_t size) {
        return (TemplateSource){ .text = text, .size = size, .place = { file, 1, 1 } };
}

/*
 * A string of a role. Places are exact if it has no escapes but \n.
 */
TemplateSource template_source_value(const Value *string);

#define TEMPLATE_SIZE_MAX          (16U << 20)
#define TEMPLATE_STEPS_MAX         1000000U
#define TEMPLATE_NESTING_MAX       128U
#define TEMPLATE_PARTIAL_DEPTH_MAX 32U

/* All zero is a good start: lenient, as the specification is, but without HTML escaping and partials. */
typedef struct TemplateOptions {
        /*
         * An undefined name, a missing partial, an array or a table where text is wanted, a partial's name that is no
         * string: errors. Otherwise they are nothing or falsy. Allowed even so is a section over a last part that is
         * absent: of an existing table ({{#vars.feature}} without vars.feature), or, as a name without dots, of a
         * table whose section is open.
         */
        bool strict;

        bool escape_html; /* {{name}} writes & < > " as entities */

        /*
         * Finds a partial. name is what the template says: it may be "../x" or come from data, and what is allowed is
         * for this function to say. *ret_source must stay valid until template_render() returns. Called once for each
         * name and render. Return: 0; -ENOENT if there is none; other -errno fails the render, and ret_source->text may say
         * why. NULL: there are none.
         */
        int (*partial)(void *userdata, const char *name, TemplateSource *ret_source);
        void *userdata;

        /* Limits; 0 is the default above. */
        uint32_t size_max;    /* bytes of one template's text, and of the output */
        uint32_t steps_max;   /* tags and texts read or rendered, items gone through, tables searched */
        uint32_t nesting_max; /* sections, blocks and parents open at once, partials' ones included */
        uint32_t partial_depth_max; /* partials and parents inside each other */
} TemplateOptions;

/* False if rendering the text would only copy it. */
bool template_has_tags(const char *text, size_t size);

/*
 * template_render() - renders a template
 * @arena:    for the result and for what is needed meanwhile, which also stays there
 * @options:  NULL for the defaults
 * @scope:    told (noted) each complete name that was read from it, whether or not its last parts exist
 * @ret_text: a string of its own; tainted if the text of a template, or any value on the way to a name that it used
 *            (also as a section or a partial's name), is
 * @reterr:   place is that of the tag, in the file of the template or partial that holds it
 *
 * Runs in bounded time, memory and stack whatever text and data are.
 *
 * Return: 0; -E2BIG if a limit was hit; -EINVAL for any other error.
 */
int template_render(Arena *arena, const TemplateOptions *options, const TemplateSource *source,
        const Scope *scope, Value *ret_text, Diagnostic *reterr);

/* The same for a string of a role: one without tags comes back as it is; the result keeps its place. */
int template_render_value(Arena *arena, const TemplateOptions *options, const Value *string,
        const Scope *scope, Value *ret_text, Diagnostic *reterr);

/*
 * What a string of a role stands for: where the whole of it is one {{name}} the value of that name itself, of whatever
 * type; an undefined name is an error. Otherwise as template_render_value(). The result has the place of the string.
 */
int template_evaluate_value(Arena *arena, const TemplateOptions *options, const Value *string,
        const Scope *scope, Value *ret, Diagnostic *reterr);
