/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "util.h"
#include "value.h"

const char *value_type_name(ValueType type) {
        static const char *const names[_VALUE_TYPE_MAX] = {
                [VALUE_NULL] = "null",
                [VALUE_BOOLEAN] = "a boolean",
                [VALUE_INTEGER] = "an integer",
                [VALUE_FLOAT] = "a float",
                [VALUE_STRING] = "a string",
                [VALUE_OFFSET_DATETIME] = "a date-time",
                [VALUE_LOCAL_DATETIME] = "a local date-time",
                [VALUE_LOCAL_DATE] = "a date",
                [VALUE_LOCAL_TIME] = "a time",
                [VALUE_ARRAY] = "an array",
                [VALUE_TABLE] = "a table",
        };

        assert(type < _VALUE_TYPE_MAX);
        return names[type];
}

Value value_boolean(bool boolean) {
        return (Value){ .type = VALUE_BOOLEAN, .boolean = boolean };
}

Value value_integer(int64_t integer) {
        return (Value){ .type = VALUE_INTEGER, .integer = integer };
}

Value value_float(double real) {
        return (Value){ .type = VALUE_FLOAT, .real = real };
}

Value value_string(Arena *arena, const char *text, size_t size) {
        return (Value){ .type = VALUE_STRING, .text = arena_strndup(arena, text, size), .size = size };
}

Value value_array(void) {
        return (Value){ .type = VALUE_ARRAY };
}

Value value_table(void) {
        return (Value){ .type = VALUE_TABLE };
}

Value *value_append(Arena *arena, Value *array, const Value *item) {
        assert(array->type == VALUE_ARRAY);

        array->items =
                arena_grow(arena, array->items, array->n_items, &array->n_items_allocated, sizeof(Value));
        array->items[array->n_items] = *item;
        return &array->items[array->n_items++];
}

Member *value_add(Arena *arena, Value *table, const char *key, size_t key_size, const Value *value) {
        assert(table->type == VALUE_TABLE);

        table->members = arena_grow(
                arena, table->members, table->n_members, &table->n_members_allocated, sizeof(Member));
        table->members[table->n_members] = (Member){
                .key = arena_strndup(arena, key, key_size),
                .key_size = key_size,
                .value = *value,
        };
        return &table->members[table->n_members++];
}

Member *value_find(const Value *table, const char *key, size_t key_size) {
        if (table->type != VALUE_TABLE)
                return NULL;

        VALUE_FOREACH_MEMBER(member, table)
                if (member->key_size == key_size && memcmp(member->key, key, key_size) == 0)
                        return member;
        return NULL;
}

const Value *value_get(const Value *table, const char *key) {
        Member *member = value_find(table, key, strlen(key));

        return member ? &member->value : NULL;
}

Member *value_set(Arena *arena, Value *table, const char *key, const Value *value) {
        Member *member = value_find(table, key, strlen(key));

        if (!member)
                return value_add(arena, table, key, strlen(key), value);
        member->value = *value;
        return member;
}

Value value_copy(Arena *arena, const Value *value) {
        Value copy = *value;

        switch (value->type) {
        case VALUE_STRING:
        case VALUE_OFFSET_DATETIME:
        case VALUE_LOCAL_DATETIME:
        case VALUE_LOCAL_DATE:
        case VALUE_LOCAL_TIME: copy.text = arena_strndup(arena, value->text, value->size); break;
        case VALUE_ARRAY:
                copy.items = arena_new_array(arena, Value, value->n_items);
                copy.n_items_allocated = value->n_items;
                for (uint32_t i = 0; i < value->n_items; i++)
                        copy.items[i] = value_copy(arena, &value->items[i]);
                break;
        case VALUE_TABLE:
                copy.members = arena_new_array(arena, Member, value->n_members);
                copy.n_members_allocated = value->n_members;
                for (uint32_t i = 0; i < value->n_members; i++) {
                        const Member *member = &value->members[i];

                        copy.members[i] = *member;
                        copy.members[i].key = arena_strndup(arena, member->key, member->key_size);
                        copy.members[i].value = value_copy(arena, &member->value);
                }
                break;
        default: break;
        }

        return copy;
}

bool value_equal(const Value *a, const Value *b) {
        if (a->type != b->type)
                return false;

        switch (a->type) {
        case VALUE_NULL: return true;
        case VALUE_BOOLEAN: return a->boolean == b->boolean;
        case VALUE_INTEGER: return a->integer == b->integer;
        case VALUE_FLOAT: return memcmp(&a->real, &b->real, sizeof(a->real)) == 0;
        case VALUE_ARRAY:
                if (a->n_items != b->n_items)
                        return false;
                for (uint32_t i = 0; i < a->n_items; i++)
                        if (!value_equal(&a->items[i], &b->items[i]))
                                return false;
                return true;
        case VALUE_TABLE:
                if (a->n_members != b->n_members)
                        return false;
                VALUE_FOREACH_MEMBER(member, a) {
                        const Member *other = value_find(b, member->key, member->key_size);

                        if (!other || !value_equal(&member->value, &other->value))
                                return false;
                }
                return true;
        default: return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
        }
}

bool value_is_tainted(const Value *value) {
        if (value->tainted)
                return true;
        if (value->type == VALUE_ARRAY) {
                VALUE_FOREACH_ITEM(item, value)
                        if (value_is_tainted(item))
                                return true;
        } else if (value->type == VALUE_TABLE) {
                VALUE_FOREACH_MEMBER(member, value)
                        if (value_is_tainted(&member->value))
                                return true;
        }
        return false;
}
