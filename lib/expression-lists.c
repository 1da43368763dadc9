/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Helpers over arrays and tables. */

#include "expression-internal.h"

#define HELPER(helper) HELPER_FUNCTION(helper)

HELPER(len) {
        const Value *v = &args[0];
        size_t length = 0;
        int r;

        switch (v->type) {
        case VALUE_STRING:
                r = helper_charge(call, v->size);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < v->size; i++)
                        length += ((unsigned char) v->text[i] & 0xc0) != 0x80;
                break;
        case VALUE_ARRAY: length = v->n_items; break;
        case VALUE_TABLE: length = v->n_members; break;
        default: return helper_error(call, 0, "wants a string, an array or a table, not %s", value_kind(v));
        }
        *ret = value_integer((int64_t) length);
        return 0;
}

HELPER(keys) {
        int r;

        *ret = value_array();
        VALUE_FOREACH_MEMBER(member, &args[0]) {
                Value key = value_string(call->arena, member->key, member->key_size);

                r = helper_charge(call, 1 + member->key_size);
                if (r < 0)
                        return r;
                (void) value_append(call->arena, ret, &key);
        }
        return 0;
}

HELPER(values) {
        int r;

        r = helper_charge(call, args[0].n_members);
        if (r < 0)
                return r;
        *ret = value_array();
        VALUE_FOREACH_MEMBER(member, &args[0])
                (void) value_append(call->arena, ret, &member->value);
        return 0;
}

HELPER(has) {
        int r;

        r = helper_charge(call, args[0].n_members);
        if (r < 0)
                return r;
        *ret = value_boolean(value_find(&args[0], args[1].text, args[1].size));
        return 0;
}

HELPER(first) {
        if (args[0].n_items > 0)
                *ret = args[0].items[0];
        return 0;
}

HELPER(last) {
        if (args[0].n_items > 0)
                *ret = args[0].items[args[0].n_items - 1];
        return 0;
}

static int order_items(HelperCall *call, const Value *a, const Value *b, int *ret) {
        int r;

        r = evaluation_order(call->evaluation, a, b, ret);
        if (r == 1)
                return helper_error(call, SIZE_MAX,
                        "wants only numbers or only strings; there are %s and %s", value_kind(a),
                        value_kind(b));
        return r;
}

/* The smallest or greatest of the arguments, or of the items of the only one. */
static int extreme(HelperCall *call, const Value *args, size_t n, int sign, Value *ret) {
        const Value *best = NULL;
        int order, r;

        if (n == 1) {
                if (args[0].type != VALUE_ARRAY)
                        return helper_error(
                                call, 0, "a single argument must be an array, not %s", value_kind(&args[0]));
                n = args[0].n_items;
                args = args[0].items;
        }
        for (size_t i = 0; i < n; i++) {
                /* The first is compared with itself, for its type. */
                r = order_items(call, &args[i], best ?: &args[i], &order);
                if (r < 0)
                        return r;
                if (!best || (order != VALUES_UNORDERED && (sign < 0 ? order < 0 : order > 0)))
                        best = &args[i];
        }
        if (best)
                *ret = *best;
        return 0;
}

HELPER(min) {
        return extreme(call, args, n, -1, ret);
}

HELPER(max) {
        return extreme(call, args, n, 1, ret);
}

HELPER(unique) {
        int r;

        *ret = value_array();
        VALUE_FOREACH_ITEM(item, &args[0]) {
                bool known = false;

                VALUE_FOREACH_ITEM(other, ret) {
                        r = evaluation_equal(call->evaluation, item, other, 1, &known);
                        if (r < 0)
                                return r;
                        if (known)
                                break;
                }
                r = helper_charge(call, 1);
                if (r < 0)
                        return r;
                if (!known)
                        (void) value_append(call->arena, ret, item);
        }
        return 0;
}

static int merge_sort(HelperCall *call, Value *items, Value *scratch, size_t n) {
        size_t half = n / 2, i = 0, j = half, k = 0;
        int order, r;

        /* A single item is compared with itself, for its type. */
        if (n < 2)
                return n == 0 ? 0 : order_items(call, &items[0], &items[0], &order);
        r = merge_sort(call, items, scratch, half);
        if (r < 0)
                return r;
        r = merge_sort(call, items + half, scratch, n - half);
        if (r < 0)
                return r;

        while (i < half && j < n) {
                r = order_items(call, &items[i], &items[j], &order);
                if (r < 0)
                        return r;
                scratch[k++] = order <= 0 ? items[i++] : items[j++];
        }
        while (i < half)
                scratch[k++] = items[i++];
        while (j < n)
                scratch[k++] = items[j++];
        memcpy(items, scratch, n * sizeof(Value));
        return 0;
}

HELPER(sorted) {
        Value array = args[0];
        int r;

        r = helper_charge(call, array.n_items);
        if (r < 0)
                return r;
        array.items = arena_memdup(call->arena, args[0].items, args[0].n_items * sizeof(Value));
        array.n_items_allocated = array.n_items;
        r = merge_sort(call, array.items, arena_new_array(call->arena, Value, array.n_items), array.n_items);
        if (r < 0)
                return r;
        *ret = array;
        return 0;
}

/* Return: 1 if one of the items is what is looked for; 0 if none is; or an error. */
static int find_truth(HelperCall *call, const Value *array, bool wanted) {
        bool found = false;

        VALUE_FOREACH_ITEM(item, array) {
                int r;

                r = helper_charge(call, 1);
                if (r < 0)
                        return r;
                if (item->type != VALUE_BOOLEAN)
                        return helper_error(
                                call, 0, "wants an array of booleans; there is %s in it", value_kind(item));
                found |= item->boolean == wanted;
        }
        return found;
}

HELPER(all) {
        int r;

        r = find_truth(call, &args[0], false);
        if (r < 0)
                return r;
        *ret = value_boolean(r == 0);
        return 0;
}

HELPER(any) {
        int r;

        r = find_truth(call, &args[0], true);
        if (r < 0)
                return r;
        *ret = value_boolean(r == 1);
        return 0;
}

HELPER(concat) {
        *ret = value_array();
        for (size_t i = 0; i < n; i++) {
                int r;

                if (args[i].type != VALUE_ARRAY)
                        return helper_error(call, i, "wants an array here, not %s", value_kind(&args[i]));
                r = helper_charge(call, args[i].n_items);
                if (r < 0)
                        return r;
                VALUE_FOREACH_ITEM(item, &args[i])
                        (void) value_append(call->arena, ret, item);
        }
        return 0;
}

/* Looks up a key in an item. *ret is NULL if it has none. */
static int find_in_item(HelperCall *call, const Value *item, const Value *key, const Member **ret) {
        int r;

        if (item->type != VALUE_TABLE)
                return helper_error(
                        call, 0, "wants an array of tables; there is %s in it", value_kind(item));
        r = helper_charge(call, 1 + item->n_members);
        if (r < 0)
                return r;
        *ret = value_find(item, key->text, key->size);
        return 0;
}

HELPER(pluck) {
        *ret = value_array();
        VALUE_FOREACH_ITEM(item, &args[0]) {
                const Member *member;
                int r;

                r = find_in_item(call, item, &args[1], &member);
                if (r < 0)
                        return r;
                if (!member)
                        return helper_error(call, 0, "item %u has no key '%s'",
                                (unsigned) (item - args[0].items),
                                call->tainted ? "(secret)" : args[1].text);
                (void) value_append(call->arena, ret, &member->value);
        }
        return 0;
}

HELPER(where) {
        *ret = value_array();
        VALUE_FOREACH_ITEM(item, &args[0]) {
                bool equal = false;
                const Member *member;
                int r;

                r = find_in_item(call, item, &args[1], &member);
                if (r >= 0 && member)
                        r = evaluation_equal(call->evaluation, &member->value, &args[2], 1, &equal);
                if (r < 0)
                        return r;
                if (equal)
                        (void) value_append(call->arena, ret, item);
        }
        return 0;
}

/* The i-th item of a loop over a value: that of an array, or { key, value } of a table. */
static Value loop_item(HelperCall *call, const Value *over, uint32_t i) {
        Value item, key;

        if (over->type == VALUE_ARRAY)
                return over->items[i];
        item = value_table();
        key = value_string(call->arena, over->members[i].key, over->members[i].key_size);
        (void) value_add(call->arena, &item, "key", 3, &key);
        (void) value_add(call->arena, &item, "value", 5, &over->members[i].value);
        return item;
}

HELPER(nested) {
        uint32_t n_outer = args[0].type == VALUE_ARRAY ? args[0].n_items : args[0].n_members;

        if (args[0].type != VALUE_ARRAY && args[0].type != VALUE_TABLE)
                return helper_error(call, 0, "wants an array or a table here, not %s", value_kind(&args[0]));
        *ret = value_array();
        for (uint32_t i = 0; i < n_outer; i++) {
                const Value *item =
                        args[0].type == VALUE_ARRAY ? &args[0].items[i] : &args[0].members[i].value;
                const Value *over;
                uint32_t n_inner;
                Value outer;
                int r;

                if (item->type != VALUE_TABLE)
                        return helper_error(call, 0, "wants tables in it; there is %s", value_kind(item));
                r = helper_charge(call, 1 + item->n_members);
                if (r < 0)
                        return r;
                over = value_get(item, args[1].text);
                if (!over)
                        continue; /* who has none has no items */
                if (over->type != VALUE_ARRAY && over->type != VALUE_TABLE)
                        return helper_error(
                                call, 1, "wants the key of arrays or tables; there is %s", value_kind(over));
                n_inner = over->type == VALUE_ARRAY ? over->n_items : over->n_members;
                r = helper_charge(call, (size_t) n_inner * 8);
                if (r < 0)
                        return r;
                outer = loop_item(call, &args[0], i);
                for (uint32_t k = 0; k < n_inner; k++) {
                        Value pair = value_table(), inner = loop_item(call, over, k);

                        (void) value_add(call->arena, &pair, "outer", 5, &outer);
                        (void) value_add(call->arena, &pair, "inner", 5, &inner);
                        (void) value_append(call->arena, ret, &pair);
                }
        }
        return 0;
}
