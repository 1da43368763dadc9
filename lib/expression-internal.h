/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "expression.h"
#include "util.h"

/* What the files of the expression language share: the tree, and how evaluation pays for work. */

typedef enum ExpressionKind {
        EXPRESSION_CONSTANT,
        EXPRESSION_NAME,   /* text */
        EXPRESSION_MEMBER, /* child 0, text */
        EXPRESSION_INDEX,  /* child 0, child 1 */
        EXPRESSION_CALL,   /* text, children: arguments */
        EXPRESSION_LIST,   /* children: items */
        EXPRESSION_NOT,    /* child 0 */
        EXPRESSION_AND,    /* children: one or more operands */
        EXPRESSION_OR,
        EXPRESSION_EQUAL, /* the comparisons: children 0 and 1 */
        EXPRESSION_NOT_EQUAL,
        EXPRESSION_LESS,
        EXPRESSION_LESS_EQUAL,
        EXPRESSION_GREATER,
        EXPRESSION_GREATER_EQUAL,
        EXPRESSION_IN,
        EXPRESSION_NOT_IN,
} ExpressionKind;

struct Expression {
        ExpressionKind kind;
        uint16_t depth;        /* of the tree that begins here; bounds all recursion */
        uint32_t line, column; /* where it begins; the file is that of place */
        Place place; /* of what errors are about: the operator, the member, the name of the helper */
        uint32_t n_children;
        Expression **children;
        union {
                Value value;
                struct {
                        const char *text;
                        size_t size;
                };
        };
};

struct Evaluation {
        const ExpressionContext *context;
        bool keep_host; /* leave calls of helpers that look at the host */
        bool no_host;   /* such a call is an error */
        uint64_t units; /* of work that are left */
        uint32_t steps_max;
        const Expression *current; /* where errors are that have no better place */
        Diagnostic *reterr;
        struct {
                const char *from, *to;
        } files[4]; /* names that were copied into the target already */
};

/* A step is worth so many units; a unit is a byte or an element in bulk work. */
#define UNITS_PER_STEP 64

int evaluation_charge(Evaluation *evaluation, size_t units) __attribute__((warn_unused_result));

static inline Place begin_of(const Expression *e) {
        return (Place){ .file = e->place.file, .line = e->line, .column = e->column };
}

/* Fills the diagnostic; yields -EINVAL. */
#define evaluation_error(ev, where, ...) \
        (diagnostic_set((ev)->reterr, (ev)->context->scratch, (where), __VA_ARGS__), -EINVAL)

/* Sets *ret if the value, or anything in it, is tainted. */
int evaluation_find_taint(Evaluation *evaluation, const Value *value, bool *ret)
        __attribute__((warn_unused_result));

/* A deep copy in which all that lies in something tainted is tainted, too. With `files`, the names of files in places
 * are copied as well. */
int evaluation_copy(Evaluation *evaluation, Arena *target, bool files, const Value *value, Value *ret)
        __attribute__((warn_unused_result));

/* The name of a file, copied into the target unless that was done just now. */
const char *evaluation_copy_file(Evaluation *evaluation, Arena *target, const char *file);

/* Deep equality, with numbers by their exact value and tables regardless of order; each comparison of two values
 * costs `cost` units, and texts what their bytes cost. */
int evaluation_equal(Evaluation *evaluation, const Value *a, const Value *b, size_t cost, bool *ret)
        __attribute__((warn_unused_result));

/* Membership: item in array, substring in string, key in table. Return: 0; 1 if these types do not go together. */
int evaluation_contains(Evaluation *evaluation, const Value *haystack, const Value *needle, bool *ret)
        __attribute__((warn_unused_result));

/* Order: negative, zero, positive, or VALUES_UNORDERED for NaN. Return: 0; 1 if values of these types have none. */
int evaluation_order(Evaluation *evaluation, const Value *a, const Value *b, int *ret)
        __attribute__((warn_unused_result));
#define VALUES_UNORDERED INT32_MIN

/* ---- Helpers: expression-helpers.c has the table of them, and those of strings, numbers and versions -------------- */

#define HELPER_FUNCTION(helper) \
        int helper_##helper(HelperCall *call, const Value *args, size_t n, Value *ret)

/* expression-lists.c */
HELPER_FUNCTION(len);
HELPER_FUNCTION(keys);
HELPER_FUNCTION(values);
HELPER_FUNCTION(has);
HELPER_FUNCTION(first);
HELPER_FUNCTION(last);
HELPER_FUNCTION(min);
HELPER_FUNCTION(max);
HELPER_FUNCTION(unique);
HELPER_FUNCTION(sorted);
HELPER_FUNCTION(all);
HELPER_FUNCTION(any);
HELPER_FUNCTION(concat);
HELPER_FUNCTION(nested);
HELPER_FUNCTION(pluck);
HELPER_FUNCTION(where);

/* expression-host.c */
int helper_check_path(HelperCall *call, const Value *args, size_t n);
int helper_check_unit(HelperCall *call, const Value *args, size_t n);
int helper_check_command(HelperCall *call, const Value *args, size_t n);
int helper_check_variable(HelperCall *call, const Value *args, size_t n);
HELPER_FUNCTION(exists);
HELPER_FUNCTION(is_file);
HELPER_FUNCTION(is_dir);
HELPER_FUNCTION(is_symlink);
HELPER_FUNCTION(has_unit);
HELPER_FUNCTION(has_command);
HELPER_FUNCTION(env);
