/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A value of the role language: what TOML and JSON are read into and what expressions and templates work on. All
 * memory belongs to the arena it was made in; values are never freed alone and, once built, only read.
 *
 * Each value knows where it was written, and tables keep the order in which their keys were written.
 */

typedef enum ValueType {
        VALUE_NULL, /* JSON's null; TOML has none */
        VALUE_BOOLEAN,
        VALUE_INTEGER,
        VALUE_FLOAT,
        VALUE_STRING,
        VALUE_OFFSET_DATETIME, /* the four kinds of TOML, as normalised RFC 3339 text in `text` */
        VALUE_LOCAL_DATETIME,
        VALUE_LOCAL_DATE,
        VALUE_LOCAL_TIME,
        VALUE_ARRAY,
        VALUE_TABLE,
        _VALUE_TYPE_MAX,
} ValueType;

/* A place in a source file. */
typedef struct Place {
        const char *file; /* not owned; NULL if the value comes from no file */
        uint32_t line;    /* from 1; 0 if unknown */
        uint32_t column;  /* from 1, in code points; 0 if unknown */
} Place;

typedef struct Value Value;
typedef struct Member Member;

struct Value {
        ValueType type;
        bool tainted;   /* holds, or was made from, a secret: never shown */
        bool multiline; /* a string written in triple quotes: `place` is that of the opening quotes */
        bool inline_;   /* … and the text begins right behind them, not on the line below */
        Place place;
        union {
                bool boolean;
                int64_t integer;
                double real;
                struct {
                        const char *text; /* strings and date-times: NUL-terminated, and may hold NUL */
                        size_t size;      /* bytes, without the terminator */
                };
                struct {
                        Value *items;
                        uint32_t n_items;
                        uint32_t n_items_allocated;
                };
                struct {
                        Member *members;
                        uint32_t n_members;
                        uint32_t n_members_allocated;
                };
        };
};

struct Member {
        const char *key; /* NUL-terminated, and may hold NUL */
        size_t key_size;
        Place place; /* of the key */
        Value value;
};

#define VALUE_FOREACH_ITEM(item, array) \
        for (Value *item = (array)->items; item && item < (array)->items + (array)->n_items; item++)
#define VALUE_FOREACH_MEMBER(member, table)                                                               \
        for (Member *member = (table)->members; member && member < (table)->members + (table)->n_members; \
                member++)

/* "a string", "an integer", "a table" …: for messages. */
const char *value_type_name(ValueType type);

/* The same for a value, e.g. "an integer". */
static inline const char *value_kind(const Value *value) {
        return value_type_name(value->type);
}

Value value_boolean(bool boolean);
Value value_integer(int64_t integer);
Value value_float(double real);
Value value_string(Arena *arena, const char *text, size_t size); /* copies */
Value value_array(void);
Value value_table(void);

/* Appends a copy of *item (a shallow one: what it points to is shared). Returns the place it now has, which the next
 * append may move. */
Value *value_append(Arena *arena, Value *array, const Value *item);

/* Adds a member at the end without looking whether the key is there. The key is copied. As value_append(). */
Member *value_add(Arena *arena, Value *table, const char *key, size_t key_size, const Value *value);

/* The member of that name, or NULL; also NULL if `table` is no table. */
Member *value_find(const Value *table, const char *key, size_t key_size);

/* The value of that name, or NULL. */
const Value *value_get(const Value *table, const char *key);

/* Adds or replaces. */
Member *value_set(Arena *arena, Value *table, const char *key, const Value *value);

/* A deep copy into another arena. */
Value value_copy(Arena *arena, const Value *value);

/* Whether both say the same: 1 and 1.0 do not, which are two texts, nan and nan do. Deep; the order of tables, places and taint do
 * not count. */
bool value_equal(const Value *a, const Value *b);

/* True if the value or anything in it is tainted. */
bool value_is_tainted(const Value *value);

#ifdef __cplusplus
}
#endif
