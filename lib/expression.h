/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "diagnostic.h"
#include "scope.h"
#include "util.h"

/*
 * The expression language of `when`, `for_each` and fleet selectors: small and total. docs/expressions.md is its
 * reference.
 *
 *     text --expression_parse()--> tree with names --expression_fold()--> tree without names --evaluate--> value
 *
 * A tree is plain data in one arena: it holds no pointers to code, constants or other memory (helpers are stored by
 * name), so one that was folded into a shared image can be evaluated by any process that maps it at the same address.
 *
 * All functions return 0, and on failure fill *reterr (the message lives in the arena that was given for work):
 *   -EINVAL  something is wrong with the expression or with what it was applied to
 *   -E2BIG   a limit was hit
 *   -errno   a helper failed to look at the host
 */

#define EXPRESSION_TEXT_MAX  KIB(16) /* bytes of text */
#define EXPRESSION_DEPTH_MAX 64      /* levels of nesting; a chain like a.b.c has one for each part */
#define EXPRESSION_STEPS_MAX 10000   /* unless the context says otherwise */

typedef struct Expression Expression;
typedef struct Helper Helper;
typedef struct Evaluation Evaluation;

/* What a helper is given. */
typedef struct HelperCall {
        Arena *arena;         /* for what it returns */
        int root_fd;          /* of the HelperSet */
        bool tainted;         /* an argument is a secret: keep values out of messages */
        const Helper *helper; /* itself */
        Evaluation *evaluation;
        const Expression *expression;
} HelperCall;

typedef enum HelperFlags {
        HELPER_HOST = 1 << 0,    /* looks at the host: only at the time of a check */
        HELPER_SPECIAL = 1 << 1, /* a form that the evaluator knows by itself; has no call() */
} HelperFlags;

struct Helper {
        const char *name;
        uint32_t min_args, max_args; /* HELPER_ANY_NUMBER: no upper bound */
        unsigned flags;
        const char *
                types; /* a letter for each argument, checked before the call: s(tring) a(rray) t(able) b(oolean) i(nteger) f(loat) *; those
                            * beyond its end may be anything */

        /* Looks at arguments without looking at the host, so that a mistake shows at load. May be NULL. */
        int (*check)(HelperCall *call, const Value *args, size_t n);

        /* args and *ret may share memory. *ret comes zeroed (null); its place and taint are set by the caller. */
        int (*call)(HelperCall *call, const Value *args, size_t n, Value *ret);

        const char *arguments; /* "text, prefix" */
        const char *documentation;
};

#define HELPER_ANY_NUMBER UINT32_MAX

/* The error of a helper. The place is that of the argument of that index, or the call itself if there is none. Returns
 * -EINVAL. */
int helper_error(HelperCall *call, size_t argument, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Pays for work on that many bytes or elements: 64 of them are a step. Return: 0; -E2BIG if there are no steps left. */
int helper_charge(HelperCall *call, size_t units) __attribute__((warn_unused_result));

typedef struct HelperSet {
        const Helper *helpers; /* sorted by name */
        size_t n;
        int root_fd; /* paths are resolved below it, with all symlinks; -1: the root of this process. Not owned. */

        /* Asked for one that is not among them. May be NULL. What it returns stays as long as the set. */
        const Helper *(*find)(void *userdata, const char *name);

        /* The name of the n-th of those, for "did you mean" where none of its own is near; NULL after the last. May be NULL. */
        const char *(*nth)(void *userdata, size_t n);
        void *userdata;
} HelperSet;

/* The helpers that come with the language. */
HelperSet helper_set(int root_fd);

const Helper *helper_set_find(const HelperSet *set, const char *name);

typedef struct ExpressionContext {
        Arena *scratch;           /* for intermediate values and messages */
        const Scope *scope;       /* NULL: there are no names */
        const HelperSet *helpers; /* NULL: there are none */
        uint32_t steps_max;       /* 0: EXPRESSION_STEPS_MAX */
} ExpressionContext;

typedef enum ExpressionFlags {
        EXPRESSION_NO_HOST =
                1 << 0, /* a helper that looks at the host is an error; the result is then a constant */
        EXPRESSION_CONDITION = 1 << 1, /* a constant result must be a boolean */
} ExpressionFlags;

/*
 * expression_parse() - reads an expression
 * @arena: for the tree, which keeps nothing of the text, and for the message
 * @place: of the opening quote of the one-line string that holds the text: errors are at the column of the token,
 *         counted as place.column + 1 + code points before it (escapes in the TOML string are not undone). If
 *         place.line is 0, line and column count from the start of the text.
 */
int expression_parse(
        Arena *arena, Place place, const char *text, size_t size, Expression **ret, Diagnostic *reterr);

/*
 * The same for a string value; others are an error. In a string of triple quotes that holds a newline the text is taken
 * to begin on the line after the quotes, as TOML drops a newline there; without one, right after them.
 */
int expression_parse_value(Arena *arena, const Value *text, Expression **ret, Diagnostic *reterr);

/*
 * expression_fold() - evaluates what can be told now
 * @target: for the result, a deep copy, including the values of names and the names of files in places
 * @flags:  ExpressionFlags
 *
 * Names are replaced by their values and helpers called, except those that look at the host; 'and' and 'or' stop as
 * soon as an operand decides, in whichever order they come. The result has no names. Operands that are passed over are
 * still checked for first names and helpers that do not exist.
 *
 * Scope.noted is told each name that was read, as far as it can be written with dots and bare keys:
 * `facts["os"].id` is facts.os.id, and `vars.admins[0].name` is vars.admins. It is also told names that were not
 * found by defined() and default().
 */
int expression_fold(const ExpressionContext *context, const Expression *expression, unsigned flags,
        Arena *target, Expression **ret, Diagnostic *reterr);

/* True if nothing is left to evaluate. The value belongs to the expression. ret may be NULL. */
bool expression_is_constant(const Expression *expression, const Value **ret);

/* Gives `add` bytes that are the same for expressions that say the same, wherever they were written, and different for
 * others: for a hash. Those of another process of the same program are the same, too. */
void expression_feed(const Expression *expression,
        void (*add)(void *userdata, const void *data, size_t size), void *userdata);

/* The expression as text, with the values that have taken the place of names; long constants are cut, secrets not shown. */
const char *expression_format(Arena *arena, const Expression *expression);

/* Where the expression begins. */
Place expression_place(const Expression *expression);

/* Evaluates all of it. The value is a deep copy in scratch (the names of files in places are not copied). */
int expression_evaluate(
        const ExpressionContext *context, const Expression *expression, Value *ret, Diagnostic *reterr);

/* The same for a condition, which must be a boolean; nothing else is true or false. */
int expression_truth(
        const ExpressionContext *context, const Expression *expression, bool *ret, Diagnostic *reterr);
