/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "value.h"

/*
 * The names that an expression or a template can see. Only the first part of a dotted name is looked up here; the
 * rest is a walk through tables.
 */
typedef struct Scope {
        /* The value of a first name ("vars", "facts", "item"), or NULL if there is none of that name. May compute it
         * on first use. The value must stay until the scope is gone. */
        const Value *(*lookup)(void *userdata, const char *name, size_t size);

        /* Told each complete dotted name that was read ("facts.os.id"), once for each read. May be NULL. */
        void (*noted)(void *userdata, const char *name, size_t size);

        /* The n-th first name, for "did you mean", or NULL after the last. May be NULL. */
        const char *(*nth)(void *userdata, size_t n);

        void *userdata;
} Scope;

/* A scope whose first names are the keys of a table. The table is not owned. */
static inline const Value *scope_table_lookup(void *userdata, const char *name, size_t size) {
        Member *member = value_find(userdata, name, size);

        return member ? &member->value : NULL;
}

static inline const char *scope_table_nth(void *userdata, size_t n) {
        const Value *table = userdata;

        return n < table->n_members ? table->members[n].key : NULL;
}

static inline Scope scope_from_table(Value *table) {
        return (Scope){ .lookup = scope_table_lookup, .nth = scope_table_nth, .userdata = table };
}
