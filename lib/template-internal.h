/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <string.h>

#include "template.h"
#include "util.h"

/*
 * What the template-*.c files share: a template's text as a flat list of nodes, where what is inside of a node follows
 * it. Offsets are bytes in the text.
 */

typedef enum NodeType {
        NODE_TEXT,
        NODE_VARIABLE,
        NODE_SECTION,
        NODE_INVERTED,
        NODE_PARTIAL,
        NODE_PARENT,
        NODE_BLOCK,
} NodeType;

typedef struct Node {
        uint8_t type;
        bool raw;           /* variable: never escaped */
        bool dynamic;       /* partial, parent: the name is one to look up */
        bool first_on_line; /* block: only blanks before it on its line; they are no text node but `indent` */
        bool whole_lines;   /* block: the tag has its line for itself; partial, parent: `indent` counts */
        bool own_line;      /* block: what is inside begins at the start of a line */
        uint32_t offset;    /* of the tag, or of the text */
        uint32_t name, name_size;     /* text: name_size is its size */
        uint32_t end;                 /* index of the first node after all that is inside */
        uint32_t indent, indent_size; /* what goes before each line of what is put here */
        uint32_t strip;               /* block: bytes of indentation of what is inside */
} Node;

typedef struct Template Template;

struct Template {
        Template *next;   /* in the list of partials that were read */
        const char *name; /* of the partial; NULL for the first */
        bool missing;     /* there is no such partial */
        TemplateSource source;
        Node *nodes;
        uint32_t n_nodes;
        uint32_t n_nodes_allocated;
};

/* What is left of the limits. */
typedef struct TemplateBudget {
        uint32_t size_max, steps_max, nesting_max, partial_depth_max;
        uint32_t steps_left;
} TemplateBudget;

/* Takes n steps off; false if there are not enough left. */
static inline bool template_budget_take(TemplateBudget *budget, uint32_t n) {
        if (n > budget->steps_left)
                return false;
        budget->steps_left -= n;
        return true;
}

/* Fills template->nodes from template->source. Return: 0; -EINVAL; -E2BIG. */
int template_parse(Arena *arena, Template *template, TemplateBudget *budget, Diagnostic *reterr);

/* The place of an offset in the text. */
Place template_place(const TemplateSource *source, size_t offset);

/* A piece of the template's text, fit to be shown in a message. */
const char *template_show(Arena *arena, const TemplateSource *source, const char *text, size_t size);

/* ---- Rendering ------------------------------------------------------------------------------------------------- */

/* The values of the open sections, innermost first. */
typedef struct Context Context;

struct Context {
        const Context *outer;
        const Value *value;
};

/* A part of the output. */
typedef struct Chunk Chunk;

struct Chunk {
        Chunk *next;
        size_t used, size;
        char *data;
};

/* A template while it is rendered. */
typedef struct Renderer {
        Arena *arena;
        const TemplateOptions *options;
        const Scope *scope;
        TemplateBudget budget;
        Template *partials;
        const Context *context;
        uint32_t nesting, partial_depth;

        Chunk *chunks, *last_chunk;
        size_t size_bytes;
        bool tainted;

        /* For messages: what is being rendered. */
        const TemplateSource *source;
        const Node *node;
        Diagnostic *reterr;
} Renderer;

#define RENDER_SHOW(r, text, size) template_show((r)->arena, (r)->source, (text), (size))

#define RENDER_FAIL(r, ...)                                                                             \
        (diagnostic_set(                                                                                \
                 (r)->reterr, (r)->arena, template_place((r)->source, (r)->node->offset), __VA_ARGS__), \
                -EINVAL)

#define RENDER_FAIL_LIMIT(r, ...) ((void) RENDER_FAIL((r), __VA_ARGS__), -E2BIG)

/* Return: 0; -E2BIG, which was said. */
static inline int template_take_steps(Renderer *r, size_t n) {
        if (template_budget_take(&r->budget, (uint32_t) MIN(n, (size_t) UINT32_MAX)))
                return 0;
        return RENDER_FAIL_LIMIT(r, "the template takes more than %u steps", r->budget.steps_max);
}

/* A part of a dotted name that begins at *position; moves on to the next. */
static inline const char *template_next_part(
        const char *name, size_t size, size_t *position, size_t *ret_size) {
        const char *part = name + *position, *dot = memchr(part, '.', size - *position);

        *ret_size = dot ? (size_t) (dot - part) : size - *position;
        *position += *ret_size + 1;
        return part;
}

/*
 * What was probably meant by a name that is undefined: with each wrong part exchanged for what is like it; or for a
 * name without dots, one of that name, or of one like it, in a table. NULL if nothing is like the first wrong part.
 * Tainted tables' keys are not looked at.
 */
const char *template_suggest(
        Arena *arena, const Scope *scope, const Context *context, const char *name, size_t size);

/* ---- template-names.c ------------------------------------------------------------------------------------------ */

typedef struct Resolved {
        const Value *value; /* NULL: undefined */
        const Value *last;  /* the value of the longest part that is defined, or NULL */
        size_t last_size;   /* and the length of that part */
        bool optional;      /* if undefined: what it is missing from is there */
} Resolved;

/* Return: 0, also if it is undefined; -E2BIG. */
int template_resolve(Renderer *r, const char *name, size_t size, Resolved *ret);

/* Says what is undefined, and what was probably meant. */
int template_fail_undefined(Renderer *r, const char *name, size_t size, const Resolved *resolved);

/* {{name}}, {{{name}}} or {{&name}} and nothing else. Return: where the name begins; NULL: it is something else. */
const char *template_whole_name(const char *text, size_t size, size_t *ret_size);
