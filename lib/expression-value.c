/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "expression-internal.h"

/* What evaluation does to whole values. All of it is recursive, pays for its work, and ends in values that are too
 * deep. */

/* Deeper values are refused, since walks over values are recursive, too. Far above what the parsers let in. */
#define VALUE_DEPTH_MAX 512

int evaluation_charge(Evaluation *ev, size_t units) {
        if (units > ev->units) {
                ev->units = 0;
                (void) evaluation_error(
                        ev, begin_of(ev->current), "the expression takes more than %u steps", ev->steps_max);
                return -E2BIG;
        }
        ev->units -= units;
        return 0;
}

static int too_deep(Evaluation *ev) {
        (void) evaluation_error(
                ev, begin_of(ev->current), "a value nests deeper than %d levels", VALUE_DEPTH_MAX);
        return -E2BIG;
}

static bool value_is_text(const Value *v) {
        return v->type >= VALUE_STRING && v->type <= VALUE_LOCAL_TIME;
}

/*
 * Taint and copies
 */

static int find_taint(Evaluation *ev, const Value *v, unsigned depth, bool *ret) {
        int r;

        if (*ret || v->tainted) {
                *ret = true;
                return 0;
        }
        if (v->type != VALUE_ARRAY && v->type != VALUE_TABLE)
                return 0;
        if (depth > VALUE_DEPTH_MAX)
                return too_deep(ev);

        r = evaluation_charge(ev, 1 + (v->type == VALUE_ARRAY ? v->n_items : v->n_members));
        if (r < 0)
                return r;
        if (v->type == VALUE_ARRAY) {
                VALUE_FOREACH_ITEM(item, v) {
                        r = find_taint(ev, item, depth + 1, ret);
                        if (r < 0)
                                return r;
                }
        } else
                VALUE_FOREACH_MEMBER(member, v) {
                        r = find_taint(ev, &member->value, depth + 1, ret);
                        if (r < 0)
                                return r;
                }
        return 0;
}

int evaluation_find_taint(Evaluation *ev, const Value *value, bool *ret) {
        return find_taint(ev, value, 0, ret);
}

/* The name of a file, copied into the target unless that was done just now. */
const char *evaluation_copy_file(Evaluation *ev, Arena *target, const char *file) {
        const char *copy;

        if (!file)
                return NULL;
        FOREACH_ELEMENT(f, ev->files)
                if (f->from == file)
                        return f->to;

        copy = arena_strdup(target, file);
        memmove(&ev->files[1], &ev->files[0], sizeof(ev->files) - sizeof(ev->files[0]));
        ev->files[0].from = file;
        ev->files[0].to = copy;
        return copy;
}

/* Bytes of copy to a unit, which is about the size of a Value: a step copies 4 KiB. Cheaper than other work, since
 * for_each may take a table of many hosts; dear enough that no short text makes hundreds of megabytes of it. */
#define COPY_UNIT 64

/* A deep copy in which all is tainted that lies in something tainted. */
static int copy_value(Evaluation *ev, Arena *target, bool files, const Value *v, bool tainted,
        unsigned depth, Value *ret) {
        Value copy = *v;
        int r;

        if (depth > VALUE_DEPTH_MAX)
                return too_deep(ev);
        copy.tainted |= tainted;
        if (files)
                copy.place.file = evaluation_copy_file(ev, target, v->place.file);

        if (value_is_text(v)) {
                r = evaluation_charge(ev, v->size / COPY_UNIT);
                if (r < 0)
                        return r;
                copy.text = arena_strndup(target, v->text, v->size);
        } else if (v->type == VALUE_ARRAY) {
                r = evaluation_charge(ev, v->n_items);
                if (r < 0)
                        return r;
                copy.items = arena_new_array(target, Value, v->n_items);
                copy.n_items_allocated = v->n_items;
                for (uint32_t i = 0; i < v->n_items; i++) {
                        r = copy_value(
                                ev, target, files, &v->items[i], copy.tainted, depth + 1, &copy.items[i]);
                        if (r < 0)
                                return r;
                }
        } else if (v->type == VALUE_TABLE) {
                r = evaluation_charge(ev, (size_t) v->n_members * 2);
                if (r < 0)
                        return r;
                copy.members = arena_new_array(target, Member, v->n_members);
                copy.n_members_allocated = v->n_members;
                for (uint32_t i = 0; i < v->n_members; i++) {
                        const Member *from = &v->members[i];
                        Member *to = &copy.members[i];

                        *to = *from;
                        r = evaluation_charge(ev, from->key_size / COPY_UNIT);
                        if (r < 0)
                                return r;
                        to->key = arena_strndup(target, from->key, from->key_size);
                        if (files)
                                to->place.file = evaluation_copy_file(ev, target, from->place.file);
                        r = copy_value(ev, target, files, &from->value, copy.tainted, depth + 1, &to->value);
                        if (r < 0)
                                return r;
                }
        }

        *ret = copy;
        return 0;
}

int evaluation_copy(Evaluation *ev, Arena *target, bool files, const Value *value, Value *ret) {
        return copy_value(ev, target, files, value, false, 0, ret);
}

/*
 * Comparing
 */

static int compare_text(const Value *a, const Value *b) {
        int r = memcmp(a->text, b->text, MIN(a->size, b->size));

        return r != 0 ? r : a->size < b->size ? -1 : a->size > b->size;
}

/* Exactly: converting the integer would make neighbours of 2^53 equal. */
static int compare_integer_float(int64_t i, double f) {
        int64_t whole;

        if (f != f)
                return VALUES_UNORDERED;
        if (f >= 0x1p63)
                return -1;
        if (f < -0x1p63)
                return 1;
        whole = (int64_t) f;
        if (i != whole)
                return i < whole ? -1 : 1;
        return (double) whole < f ? -1 : (double) whole > f;
}

static bool compare_numbers(const Value *a, const Value *b, int *ret) {
        int r;

        if (a->type == VALUE_INTEGER && b->type == VALUE_INTEGER)
                *ret = a->integer < b->integer ? -1 : a->integer > b->integer;
        else if (a->type == VALUE_FLOAT && b->type == VALUE_FLOAT)
                *ret = a->real < b->real    ? -1
                       : a->real > b->real  ? 1
                       : a->real == b->real ? 0
                                            : VALUES_UNORDERED;
        else if (a->type == VALUE_INTEGER && b->type == VALUE_FLOAT)
                *ret = compare_integer_float(a->integer, b->real);
        else if (a->type == VALUE_FLOAT && b->type == VALUE_INTEGER) {
                r = compare_integer_float(b->integer, a->real);
                *ret = r == VALUES_UNORDERED ? r : -r;
        } else
                return false;
        return true;
}

static int values_equal(
        Evaluation *ev, const Value *a, const Value *b, size_t cost, unsigned depth, bool *ret) {
        int order, r;

        r = evaluation_charge(ev, cost);
        if (r < 0)
                return r;
        if (depth > VALUE_DEPTH_MAX)
                return too_deep(ev);

        if (compare_numbers(a, b, &order)) {
                *ret = order == 0;
                return 0;
        }
        if (a->type != b->type) {
                *ret = false;
                return 0;
        }

        switch (a->type) {
        case VALUE_NULL: *ret = true; return 0;
        case VALUE_BOOLEAN: *ret = a->boolean == b->boolean; return 0;

        case VALUE_ARRAY:
                *ret = a->n_items == b->n_items;
                for (uint32_t i = 0; *ret && i < a->n_items; i++) {
                        r = values_equal(ev, &a->items[i], &b->items[i], cost, depth + 1, ret);
                        if (r < 0)
                                return r;
                }
                return 0;

        case VALUE_TABLE:
                *ret = a->n_members == b->n_members;
                for (uint32_t i = 0; *ret && i < a->n_members; i++) {
                        const Member *member = &a->members[i], *other;

                        r = evaluation_charge(ev, b->n_members);
                        if (r < 0)
                                return r;
                        other = value_find(b, member->key, member->key_size);
                        *ret = other;
                        if (!other)
                                return 0;
                        r = values_equal(ev, &member->value, &other->value, cost, depth + 1, ret);
                        if (r < 0)
                                return r;
                }
                return 0;

        default:
                *ret = a->size == b->size;
                if (!*ret)
                        return 0;
                r = evaluation_charge(ev, a->size);
                if (r < 0)
                        return r;
                *ret = memcmp(a->text, b->text, a->size) == 0;
                return 0;
        }
}

int evaluation_equal(Evaluation *ev, const Value *a, const Value *b, size_t cost, bool *ret) {
        return values_equal(ev, a, b, cost, 0, ret);
}

int evaluation_order(Evaluation *ev, const Value *a, const Value *b, int *ret) {
        int r;

        r = evaluation_charge(ev, UNITS_PER_STEP);
        if (r < 0)
                return r;
        if (compare_numbers(a, b, ret))
                return 0;

        /* Times with an offset are not ordered as their text is. */
        if (a->type != b->type || !value_is_text(a) || a->type == VALUE_OFFSET_DATETIME)
                return 1;
        r = evaluation_charge(ev, MIN(a->size, b->size));
        if (r < 0)
                return r;
        *ret = compare_text(a, b);
        return 0;
}

int evaluation_contains(Evaluation *ev, const Value *haystack, const Value *needle, bool *ret) {
        int r;

        if (haystack->type == VALUE_ARRAY) {
                *ret = false;
                VALUE_FOREACH_ITEM(item, haystack) {
                        r = values_equal(ev, item, needle, UNITS_PER_STEP, 0, ret);
                        if (r < 0 || *ret)
                                return r;
                }
                return 0;
        }
        if (needle->type != VALUE_STRING)
                return 1;

        if (haystack->type == VALUE_TABLE) {
                r = evaluation_charge(ev, haystack->n_members);
                if (r < 0)
                        return r;
                *ret = value_find(haystack, needle->text, needle->size);
                return 0;
        }
        if (haystack->type == VALUE_STRING) {
                r = evaluation_charge(ev, haystack->size + needle->size);
                if (r < 0)
                        return r;
                *ret = needle->size == 0 ||
                       memmem(haystack->text, haystack->size, needle->text, needle->size);
                return 0;
        }
        return 1;
}
