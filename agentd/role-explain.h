/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files role-explain*.c share. All of it runs after the image is whole, and reads the roles once more: loads that nobody
 * asks about pay nothing. */

#include <jansson.h>

#include "role.h"

#define EXPLAIN_TEXT_MAX   KIB(4)   /* of one value; what is beyond is cut */
#define EXPLAIN_BYTES_MAX  KIB(256) /* of all values of a state; what comes then is cut to nothing */
#define EXPLAIN_ITEMS_MAX  100      /* of an array or table */
#define EXPLAIN_NAMES_MAX  50       /* that one setting reads */
#define EXPLAIN_MADE_MAX   200      /* of a state, names that variables are made of */
#define EXPLAIN_DEPTH_MAX  4        /* variables of variables */
#define EXPLAIN_ORDER_MAX  100      /* states before it, and as many after it */
#define EXPLAIN_CHAINS_MAX 10       /* ways that lead to a role */

typedef struct Explain {
        Loader *loader;
        const State *state;
        const Value *settings;    /* with what is overridden */
        const Role *const *roles; /* by setting: who overrides it; NULL: nobody does, any of them */
        bool hidden;              /* nothing of its values is shown */
        size_t left;              /* bytes of text that may still be told */
        unsigned depth,
                made_left; /* of variables of variables, how deep this is; how many may still be told */
} Explain;

/* The settings of a state, as they were when it was made. */
void explain_settings_of(
        Loader *loader, const State *state, const Value **ret, const Role *const **ret_roles);

/* { "file", "line", "column" }; null if it is nowhere. */
json_t *explain_place(const Place *place);

/* Values; of arrays and tables EXPLAIN_ITEMS_MAX. As the module sees them; as they are written. */
json_t *explain_text(Explain *explain, const char *text, size_t size);
json_t *explain_written(Explain *explain, const Value *value);

/* ---- role-explain-names.c: which names are read ----------------------------------------------------------------- */

typedef struct Tracer {
        Names names; /* first: what is told is told of these */
        const char *list[EXPLAIN_NAMES_MAX];
        uint32_t n;
} Tracer;

void tracer_init(Tracer *tracer, Explain *explain, const Role *role, const Value *item);

/* Reads the strings of a value, and the file of a template, as they were read for the state. What is wrong with them there, as
 * "{{item.name}}" outside of a loop is, is no error now. Returns the value with its templates filled in; what was wrong is as it is
 * written. */
Value tracer_read(Tracer *tracer, const Value *value, bool is_template);

/* [{ "name", "value", "kind", "by", "role", "place", "names" }]; of a variable that is made of others, `names` are these. */
json_t *tracer_names(Explain *explain, const Tracer *tracer);

/* ---- role-explain-order.c --------------------------------------------------------------------------------------- */

/* Adds "requires", "n_requires", "required_by" and "n_required_by". Return: 0; -ENOMEM. */
int explain_order(Explain *explain, json_t *object);
