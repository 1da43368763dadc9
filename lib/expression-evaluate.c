/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "expression-internal.h"

/*
 * Folding and evaluating are one walk: reduce() gives for each node either its value or, if a call that looks at the
 * host was to be kept, the tree that is left.
 */
typedef struct Result {
        Value value;
        Expression *rest; /* NULL: the value is known */
} Result;

static int copy_tree(Evaluation *ev, Arena *target, const Expression *e, Expression **ret) {
        Expression *copy = arena_memdup(target, e, sizeof(*e));
        int r;

        ev->current = e;
        copy->place.file = evaluation_copy_file(ev, target, e->place.file);
        if (e->kind == EXPRESSION_CONSTANT) {
                r = evaluation_copy(ev, target, true, &e->value, &copy->value);
                if (r < 0)
                        return r;
        } else if (e->text)
                copy->text = arena_strndup(target, e->text, e->size);

        copy->children = e->n_children > 0 ? arena_new_array(target, Expression *, e->n_children) : NULL;
        for (uint32_t i = 0; i < e->n_children; i++) {
                r = copy_tree(ev, target, e->children[i], &copy->children[i]);
                if (r < 0)
                        return r;
        }

        *ret = copy;
        return 0;
}

/*
 * Names
 */

#define CANDIDATES_MAX ((size_t) 256)

static int undefined_first_name(Evaluation *ev, const Expression *e) {
        static const char *const words[] = { "true", "false", "null", "and", "or", "not", "in" };
        const Scope *scope = ev->context->scope;
        const char *candidates[CANDIDATES_MAX + ELEMENTSOF(words)], *meant;
        size_t n = 0;

        if (scope && scope->nth)
                while (n < CANDIDATES_MAX) {
                        candidates[n] = scope->nth(scope->userdata, n);
                        if (!candidates[n])
                                break;
                        n++;
                }
        FOREACH_ELEMENT(word, words)
                candidates[n++] = *word;

        meant = suggest(e->text, candidates, n);
        return evaluation_error(ev, e->place, "undefined name '%s'%s%s%s", e->text,
                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
}

static int lookup(Evaluation *ev, const Expression *e, const Value **ret) {
        const Scope *scope = ev->context->scope;

        *ret = scope ? scope->lookup(scope->userdata, e->text, e->size) : NULL;
        return *ret ? 0 : undefined_first_name(ev, e);
}

/* A name as it is read part by part. */
typedef struct Path {
        const char *text; /* "facts.os"; NULL if it does not begin with a name */
        size_t size;
        bool whole; /* nothing was left out at the end */
} Path;

static bool key_is_bare(const char *key, size_t size) {
        for (size_t i = 0; i < size; i++) {
                char c = key[i];

                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                            c == '_' || c == '-'))
                        return false;
        }
        return size > 0;
}

static void path_extend(Evaluation *ev, Path *path, const Value *key) {
        char *text;

        if (!path->text || !path->whole)
                return;
        if (!key || key->type != VALUE_STRING || key->tainted || !key_is_bare(key->text, key->size)) {
                path->whole = false;
                return;
        }

        text = arena_alloc_text(ev->context->scratch, path->size + 1 + key->size + 1);
        memcpy(text, path->text, path->size);
        text[path->size] = '.';
        memcpy(text + path->size + 1, key->text, key->size);
        path->size += 1 + key->size;
        text[path->size] = 0;
        path->text = text;
}

static int undefined_member(
        Evaluation *ev, const Expression *e, const Path *path, const Value *table, const Value *key) {
        Arena *scratch = ev->context->scratch;
        const char *candidates[CANDIDATES_MAX], *meant = NULL;
        size_t n = 0;

        if (key->tainted)
                return evaluation_error(ev, e->place, "the table has no such key");

        if (!table->tainted) {
                for (; n < MIN(table->n_members, CANDIDATES_MAX); n++)
                        candidates[n] = table->members[n].key;
                meant = suggest(key->text, candidates, n);
        }
        if (path->text && path->whole) {
                /* The name as written, and the same with another end. */
                size_t prefix = path->size - key->size;

                if (meant)
                        meant = arena_printf(scratch, "%.*s%s", (int) prefix, path->text, meant);
                return evaluation_error(ev, e->place, "undefined name '%s'%s%s%s", path->text,
                        meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
        }
        return evaluation_error(ev, e->place, "the table has no key '%s'%s%s%s", key->text,
                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
}

/* Looks up a key in a table or array. Return: 0; 1 if it is missing and may be; or an error. */
static int take_part(Evaluation *ev, const Expression *e, const Path *path, const Value *base,
        const Value *key, bool may_miss, Value *ret) {
        int r;

        ev->current = e;
        r = evaluation_charge(ev, base->type == VALUE_TABLE ? base->n_members : 0);
        if (r < 0)
                return r;

        if (base->type == VALUE_NULL && may_miss)
                return 1;

        if (base->type == VALUE_TABLE) {
                const Member *member;

                if (key->type != VALUE_STRING)
                        return evaluation_error(
                                ev, e->place, "a table is indexed by a string; this is %s", value_kind(key));
                member = value_find(base, key->text, key->size);
                if (!member)
                        return may_miss ? 1 : undefined_member(ev, e, path, base, key);
                *ret = member->value;
                return 0;
        }

        if (base->type == VALUE_ARRAY && e->kind == EXPRESSION_INDEX) {
                int64_t i = key->integer;

                if (key->type != VALUE_INTEGER)
                        return evaluation_error(ev, e->place,
                                "an array is indexed by an integer; this is %s", value_kind(key));
                if (i < 0)
                        i += base->n_items;
                if (i < 0 || i >= base->n_items)
                        return may_miss ? 1
                                        : evaluation_error(ev, e->place,
                                                  "the index is out of range; the array has %u item%s",
                                                  base->n_items, base->n_items == 1 ? "" : "s");
                *ret = base->items[i];
                return 0;
        }

        if (e->kind == EXPRESSION_MEMBER)
                return evaluation_error(ev, e->place, "only tables have members; '.%s' is taken of %s",
                        e->text, value_kind(base));
        return evaluation_error(
                ev, e->place, "only tables and arrays can be indexed; this is %s", value_kind(base));
}

static int reduce(Evaluation *ev, const Expression *e, Result *ret);
static void result_rest(Evaluation *ev, const Expression *e, const Result *children, Result *ret);

/* Names and what is taken of them. Return: 0; 1 if a part is missing and may be; or an error. */
static int reduce_path(Evaluation *ev, const Expression *e, bool may_miss, Path *path, Result *ret) {
        Result parts[2] = {};
        const Value *value;
        Value *key = &parts[1].value;
        bool tainted = false;
        int missing, r;

        ev->current = e;
        r = evaluation_charge(ev, UNITS_PER_STEP);
        if (r < 0)
                return r;

        if (e->kind == EXPRESSION_NAME) {
                r = lookup(ev, e, &value);
                if (r < 0)
                        return r;
                *path = (Path){ .text = e->text, .size = e->size, .whole = true };
                *ret = (Result){ .value = *value };
                return 0;
        }
        if (e->kind != EXPRESSION_MEMBER && e->kind != EXPRESSION_INDEX) {
                *path = (Path){};
                return reduce(ev, e, ret);
        }

        missing = reduce_path(ev, e->children[0], may_miss, path, &parts[0]);
        if (missing < 0)
                return missing;

        if (e->kind == EXPRESSION_INDEX) {
                r = reduce(ev, e->children[1], &parts[1]);
                if (r < 0)
                        return r;
                if (!parts[1].rest) {
                        r = evaluation_find_taint(ev, key, &tainted);
                        if (r < 0)
                                return r;
                        key->tainted = tainted;
                }
        } else
                *key = (Value){ .type = VALUE_STRING, .text = e->text, .size = e->size };
        path_extend(ev, path, parts[1].rest ? NULL : key);

        if (!missing && (parts[0].rest || parts[1].rest)) {
                result_rest(ev, e, parts, ret);
                return 0;
        }
        tainted |= parts[0].value.tainted;
        *ret = (Result){};
        r = missing ?: take_part(ev, e, path, &parts[0].value, key, may_miss, &ret->value);
        ret->value.tainted |= tainted;
        return r;
}

static void note(Evaluation *ev, const Path *path) {
        const Scope *scope = ev->context->scope;

        if (path->text && scope && scope->noted)
                scope->noted(scope->userdata, path->text, path->size);
}

static bool is_path(const Expression *e) {
        return e->kind == EXPRESSION_NAME || e->kind == EXPRESSION_MEMBER || e->kind == EXPRESSION_INDEX;
}

/*
 * Nodes
 */

static Expression *new_constant(Evaluation *ev, const Expression *e, const Value *value) {
        Expression *constant = arena_new(ev->context->scratch, Expression);

        *constant = (Expression){
                .kind = EXPRESSION_CONSTANT,
                .depth = 1,
                .line = e->line,
                .column = e->column,
                .place = begin_of(e),
                .value = *value,
        };
        return constant;
}

static Expression *result_tree(Evaluation *ev, const Expression *e, const Result *result) {
        return result->rest ?: new_constant(ev, e, &result->value);
}

/* What is left of a node of which not all children are known. It is no deeper than the node was. */
static void result_rest(Evaluation *ev, const Expression *e, const Result *children, Result *ret) {
        Expression *rest = arena_memdup(ev->context->scratch, e, sizeof(*e));

        rest->children = arena_new_array(ev->context->scratch, Expression *, e->n_children);
        for (uint32_t i = 0; i < e->n_children; i++)
                rest->children[i] = result_tree(ev, e->children[i], &children[i]);
        *ret = (Result){ .rest = rest };
}

static void result_value(const Expression *e, Value value, bool tainted, Result *ret) {
        value.place = begin_of(e);
        value.tainted |= tainted;
        *ret = (Result){ .value = value };
}

static int reduce_row(Evaluation *ev, const Expression *e, Result *ret) {
        bool decisive = e->kind == EXPRESSION_OR, tainted = false;
        Expression **left = arena_new_array(ev->context->scratch, Expression *, e->n_children + 1), *rest;
        uint32_t n = 0;
        int r;

        for (uint32_t i = 0; i < e->n_children; i++) {
                Result operand;

                r = reduce(ev, e->children[i], &operand);
                if (r < 0)
                        return r;
                if (operand.rest) {
                        left[n++] = operand.rest;
                        continue;
                }
                if (operand.value.type != VALUE_BOOLEAN)
                        return evaluation_error(ev, begin_of(e->children[i]),
                                "'%s' wants booleans; the %s side is %s", decisive ? "or" : "and",
                                i == 0 ? "left" : "right", value_kind(&operand.value));
                tainted |= operand.value.tainted;
                if (operand.value.boolean == decisive) {
                        result_value(e, value_boolean(decisive), tainted, ret);
                        return 0;
                }
        }
        if (n == 0) {
                result_value(e, value_boolean(!decisive), tainted, ret);
                return 0;
        }

        /* The others do not matter any more, but that one of them was a secret does. */
        if (tainted) {
                Value neutral = value_boolean(!decisive);

                neutral.tainted = true;
                left[n++] = new_constant(ev, e, &neutral);
        }
        rest = arena_memdup(ev->context->scratch, e, sizeof(*e));
        rest->children = left;
        rest->n_children = n;
        *ret = (Result){ .rest = rest };
        return 0;
}

static int order_is_wanted(ExpressionKind kind, int order) {
        if (order == VALUES_UNORDERED)
                return false;
        switch (kind) {
        case EXPRESSION_LESS: return order < 0;
        case EXPRESSION_LESS_EQUAL: return order <= 0;
        case EXPRESSION_GREATER: return order > 0;
        default: return order >= 0;
        }
}

static int compare(Evaluation *ev, const Expression *e, const Value *a, const Value *b, bool *ret) {
        static const char *const symbols[] = {
                [EXPRESSION_LESS] = "<",
                [EXPRESSION_LESS_EQUAL] = "<=",
                [EXPRESSION_GREATER] = ">",
                [EXPRESSION_GREATER_EQUAL] = ">=",
        };
        int order, r;

        switch (e->kind) {
        case EXPRESSION_EQUAL:
        case EXPRESSION_NOT_EQUAL:
                r = evaluation_equal(ev, a, b, UNITS_PER_STEP, ret);
                if (r < 0)
                        return r;
                *ret ^= e->kind == EXPRESSION_NOT_EQUAL;
                return 0;

        case EXPRESSION_IN:
        case EXPRESSION_NOT_IN:
                r = evaluation_contains(ev, b, a, ret);
                if (r < 0)
                        return r;
                if (r == 1 && (b->type == VALUE_STRING || b->type == VALUE_TABLE))
                        return evaluation_error(ev, e->place, "'in' looks for a string in %s, not for %s",
                                value_kind(b), value_kind(a));
                if (r == 1)
                        return evaluation_error(ev, e->place,
                                "'in' wants an array, a string or a table on the right; this is %s",
                                value_kind(b));
                *ret ^= e->kind == EXPRESSION_NOT_IN;
                return 0;

        default:
                r = evaluation_order(ev, a, b, &order);
                if (r < 0)
                        return r;
                if (r == 1)
                        return evaluation_error(ev, e->place,
                                "'%s' wants two numbers or two strings; these are %s and %s",
                                symbols[e->kind], value_kind(a), value_kind(b));
                *ret = order_is_wanted(e->kind, order);
                return 0;
        }
}

/*
 * Calls
 */

static int find_helper(Evaluation *ev, const Expression *e, const Helper **ret) {
        const HelperSet *set = ev->context->helpers;
        const char *candidates[CANDIDATES_MAX] = {}, *meant;
        size_t n = 0;

        *ret = set ? helper_set_find(set, e->text) : NULL;
        if (*ret)
                return 0;

        for (; set && n < MIN(set->n, CANDIDATES_MAX); n++)
                candidates[n] = set->helpers[n].name;
        meant = suggest(e->text, candidates, n);
        if (!meant && set && set->nth) {
                for (n = 0; n < CANDIDATES_MAX && (candidates[n] = set->nth(set->userdata, n)); n++)
                        ;
                meant = suggest(e->text, candidates, n);
        }
        return evaluation_error(ev, e->place, "there is no helper '%s'%s%s%s", e->text,
                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
}

/* What can be said about a call without its arguments. */
static int check_call(Evaluation *ev, const Expression *e, const Helper **ret) {
        const Helper *helper;
        uint32_t n = e->n_children;
        int r;

        r = find_helper(ev, e, &helper);
        if (r < 0)
                return r;
        if (n < helper->min_args || n > helper->max_args) {
                bool any = helper->max_args == HELPER_ANY_NUMBER;
                uint32_t bound = n < helper->min_args ? helper->min_args : helper->max_args;

                return evaluation_error(ev, e->place, "%s() takes %s%u argument%s (%s), not %u", e->text,
                        any                                    ? "at least "
                        : helper->min_args == helper->max_args ? ""
                        : n < helper->min_args                 ? "at least "
                                                               : "at most ",
                        bound, bound == 1 ? "" : "s", helper->arguments, n);
        }
        if (ev->no_host && helper->flags & HELPER_HOST)
                return evaluation_error(ev, e->place,
                        "%s() looks at the host; it can be used only in a state's 'when'", e->text);

        *ret = helper;
        return 0;
}

int helper_error(HelperCall *call, size_t argument, const char *format, ...) {
        const Expression *e = call->expression;
        _cleanup_free_ char *message = NULL;
        va_list args;
        int n;

        va_start(args, format);
        n = vasprintf(&message, format, args);
        va_end(args);
        if (n < 0)
                message = NULL;

        return evaluation_error(call->evaluation,
                argument < e->n_children ? begin_of(e->children[argument]) : e->place, "%s(): %s",
                call->helper->name, message ?: "out of memory");
}

int helper_charge(HelperCall *call, size_t units) {
        return evaluation_charge(call->evaluation, units);
}

static int check_argument(HelperCall *call, size_t i, const Value *arg) {
        static const struct {
                char letter;
                ValueType type;
        } types[] = {
                { 's', VALUE_STRING },
                { 'a', VALUE_ARRAY },
                { 't', VALUE_TABLE },
                { 'b', VALUE_BOOLEAN },
                { 'i', VALUE_INTEGER },
                { 'f', VALUE_FLOAT },
        };
        const char *wanted = call->helper->types;

        if (!wanted || i >= strlen(wanted))
                return 0;
        FOREACH_ELEMENT(t, types)
                if (t->letter == wanted[i] && t->type != arg->type)
                        return helper_error(
                                call, i, "wants %s here, not %s", value_type_name(t->type), value_kind(arg));
        return 0;
}

/* default(x, y) and defined(x), which take names that are not there. */
static int reduce_special(Evaluation *ev, const Expression *e, Result *ret) {
        bool is_default = streq(e->text, "default"), tainted = false;
        const Expression *operand = e->children[0];
        Result parts[2] = {};
        Path path = {};
        int missing, r;

        if (!is_default && !is_path(operand))
                return evaluation_error(ev, begin_of(operand), "defined() wants a name");

        missing = reduce_path(ev, operand, true, &path, &parts[0]);
        if (missing < 0)
                return missing;
        note(ev, &path);

        if (!missing && parts[0].rest) {
                if (is_default) {
                        r = reduce(ev, e->children[1], &parts[1]);
                        if (r < 0)
                                return r;
                }
                result_rest(ev, e, parts, ret);
                return 0;
        }

        /* JSON's way to say that there is nothing. */
        missing |= parts[0].value.type == VALUE_NULL;
        if (!is_default) {
                r = evaluation_find_taint(ev, &parts[0].value, &tainted);
                if (r < 0)
                        return r;
                result_value(e, value_boolean(!missing), tainted, ret);
                return 0;
        }
        if (!missing) {
                *ret = parts[0];
                return 0;
        }
        tainted = parts[0].value.tainted;
        r = reduce(ev, e->children[1], ret);
        if (r < 0)
                return r;
        ret->value.tainted |= !ret->rest && tainted;
        return 0;
}

static int reduce_call(Evaluation *ev, const Expression *e, Result *ret) {
        Arena *scratch = ev->context->scratch;
        Result *children = arena_new_array(scratch, Result, e->n_children);
        Value *args = arena_new_array(scratch, Value, e->n_children), value = {};
        bool known = true;
        HelperCall call = {
                .arena = scratch,
                .evaluation = ev,
                .expression = e,
        };
        int r;

        r = check_call(ev, e, &call.helper);
        if (r < 0)
                return r;
        if (call.helper->flags & HELPER_SPECIAL)
                return reduce_special(ev, e, ret);
        call.root_fd = ev->context->helpers->root_fd;

        for (uint32_t i = 0; i < e->n_children; i++) {
                r = reduce(ev, e->children[i], &children[i]);
                if (r < 0)
                        return r;
                known &= !children[i].rest;
                args[i] = children[i].value;
                if (!children[i].rest) {
                        r = evaluation_find_taint(ev, &args[i], &call.tainted);
                        if (r < 0)
                                return r;
                        r = check_argument(&call, i, &args[i]);
                        if (r < 0)
                                return r;
                }
        }
        ev->current = e;

        if (known && call.helper->check) {
                r = call.helper->check(&call, args, e->n_children);
                if (r < 0)
                        return r;
        }
        if (!known || (ev->keep_host && call.helper->flags & HELPER_HOST)) {
                result_rest(ev, e, children, ret);
                return 0;
        }

        r = call.helper->call(&call, args, e->n_children, &value);
        if (r < 0)
                return r;
        result_value(e, value, call.tainted, ret);
        return 0;
}

static int reduce_list(Evaluation *ev, const Expression *e, Result *ret) {
        Arena *scratch = ev->context->scratch;
        Result *children = arena_new_array(scratch, Result, e->n_children);
        Value value = value_array();
        bool known = true;
        int r;

        for (uint32_t i = 0; i < e->n_children; i++) {
                r = reduce(ev, e->children[i], &children[i]);
                if (r < 0)
                        return r;
                known &= !children[i].rest;
        }
        if (!known) {
                result_rest(ev, e, children, ret);
                return 0;
        }

        value.items = arena_new_array(scratch, Value, e->n_children);
        value.n_items = value.n_items_allocated = e->n_children;
        for (uint32_t i = 0; i < e->n_children; i++)
                value.items[i] = children[i].value;
        result_value(e, value, false, ret);
        return 0;
}

static int reduce_operator(Evaluation *ev, const Expression *e, Result *ret) {
        Result children[2] = {};
        bool value, known = true, tainted = false;
        int r;

        for (uint32_t i = 0; i < e->n_children; i++) {
                r = reduce(ev, e->children[i], &children[i]);
                if (r < 0)
                        return r;
                known &= !children[i].rest;
        }
        ev->current = e;
        if (!known) {
                result_rest(ev, e, children, ret);
                return 0;
        }

        if (e->kind == EXPRESSION_NOT) {
                if (children[0].value.type != VALUE_BOOLEAN)
                        return evaluation_error(ev, begin_of(e->children[0]),
                                "'not' wants a boolean; this is %s", value_kind(&children[0].value));
                value = !children[0].value.boolean;
        } else {
                r = compare(ev, e, &children[0].value, &children[1].value, &value);
                if (r < 0)
                        return r;
        }

        for (uint32_t i = 0; i < e->n_children; i++) {
                r = evaluation_find_taint(ev, &children[i].value, &tainted);
                if (r < 0)
                        return r;
        }
        result_value(e, value_boolean(value), tainted, ret);
        return 0;
}

static int reduce(Evaluation *ev, const Expression *e, Result *ret) {
        Path path = {};
        int r;

        if (is_path(e)) {
                r = reduce_path(ev, e, false, &path, ret);
                note(ev, &path);
                return r;
        }

        ev->current = e;
        r = evaluation_charge(ev, UNITS_PER_STEP);
        if (r < 0)
                return r;

        switch (e->kind) {
        case EXPRESSION_CONSTANT: *ret = (Result){ .value = e->value }; return 0;
        case EXPRESSION_AND:
        case EXPRESSION_OR: return reduce_row(ev, e, ret);
        case EXPRESSION_CALL: return reduce_call(ev, e, ret);
        case EXPRESSION_LIST: return reduce_list(ev, e, ret);
        default: return reduce_operator(ev, e, ret);
        }
}

/*
 * Entry points
 */

/* Finds names and helpers that do not exist also where evaluation would not come by. */
static int check_tree(Evaluation *ev, const Expression *e) {
        const Scope *scope = ev->context->scope;
        const Helper *helper;
        const Value *value;
        int r = 0;

        ev->current = e;
        if (e->kind == EXPRESSION_CALL)
                r = check_call(ev, e, &helper);
        else if (e->kind == EXPRESSION_NAME) {
                const char *name = NULL;

                /* Finding the value may cost more than finding the name. */
                for (size_t i = 0; scope && scope->nth; i++) {
                        name = scope->nth(scope->userdata, i);
                        if (!name || streq(name, e->text))
                                break;
                }
                if (!name)
                        r = lookup(ev, e, &value);
        }
        for (uint32_t i = 0; r >= 0 && i < e->n_children; i++)
                r = check_tree(ev, e->children[i]);
        return r;
}

static int begin(Evaluation *ev, const ExpressionContext *context, const Expression *e, Diagnostic *reterr) {
        assert(context);
        assert(context->scratch);
        assert(e);
        assert(reterr);

        *ev = (Evaluation){
                .context = context,
                .steps_max = context->steps_max ?: EXPRESSION_STEPS_MAX,
                .current = e,
                .reterr = reterr,
        };
        ev->units = (uint64_t) ev->steps_max * UNITS_PER_STEP;

        /* The parser makes none; this is for trees out of an image. */
        if (e->depth > EXPRESSION_DEPTH_MAX) {
                (void) evaluation_error(
                        ev, begin_of(e), "the expression nests deeper than %u levels", EXPRESSION_DEPTH_MAX);
                return -E2BIG;
        }
        return 0;
}

static int check_condition(Evaluation *ev, const Expression *e, const Value *value) {
        if (value->type == VALUE_BOOLEAN)
                return 0;
        return evaluation_error(
                ev, begin_of(e), "a condition must be a boolean; this is %s", value_kind(value));
}

int expression_fold(const ExpressionContext *context, const Expression *expression, unsigned flags,
        Arena *target, Expression **ret, Diagnostic *reterr) {
        Expression *copy;
        Result result;
        Evaluation ev;
        int r;

        assert(target);
        assert(ret);

        r = begin(&ev, context, expression, reterr);
        if (r < 0)
                return r;
        ev.keep_host = true;
        ev.no_host = flags & EXPRESSION_NO_HOST;
        r = check_tree(&ev, expression);
        if (r < 0)
                return r;
        r = reduce(&ev, expression, &result);
        if (r < 0)
                return r;

        if (flags & EXPRESSION_CONDITION) {
                static const Value list = { .type = VALUE_ARRAY };
                const Value *value = !result.rest                           ? &result.value
                                     : result.rest->kind == EXPRESSION_LIST ? &list
                                                                            : NULL;

                r = value ? check_condition(&ev, expression, value) : 0;
                if (r < 0)
                        return r;
        }

        r = copy_tree(&ev, target, result_tree(&ev, expression, &result), &copy);
        if (r < 0)
                return r;
        *ret = copy;
        return 0;
}

bool expression_is_constant(const Expression *expression, const Value **ret) {
        if (expression->kind != EXPRESSION_CONSTANT)
                return false;
        if (ret)
                *ret = &expression->value;
        return true;
}

Place expression_place(const Expression *expression) {
        return begin_of(expression);
}

static int evaluate(const ExpressionContext *context, const Expression *e, bool condition, Value *ret,
        Diagnostic *reterr) {
        Result result;
        Evaluation ev;
        int r;

        r = begin(&ev, context, e, reterr);
        if (r < 0)
                return r;
        r = check_tree(&ev, e);
        if (r < 0)
                return r;
        r = reduce(&ev, e, &result);
        if (r < 0)
                return r;
        assert(!result.rest);
        if (condition) {
                r = check_condition(&ev, e, &result.value);
                if (r < 0)
                        return r;
        }

        ev.current = e;
        return evaluation_copy(&ev, context->scratch, false, &result.value, ret);
}

int expression_evaluate(
        const ExpressionContext *context, const Expression *expression, Value *ret, Diagnostic *reterr) {
        assert(ret);

        return evaluate(context, expression, false, ret, reterr);
}

int expression_truth(
        const ExpressionContext *context, const Expression *expression, bool *ret, Diagnostic *reterr) {
        Value value;
        int r;

        assert(ret);

        r = evaluate(context, expression, true, &value, reterr);
        if (r < 0)
                return r;
        *ret = value.boolean;
        return 0;
}
