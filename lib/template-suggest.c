/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "template-internal.h"
#include "util.h"

#define CANDIDATES_MAX 512U

/* What else could have been meant: a name, and the table that it is in, if that needs to be said. */
typedef struct Candidates {
        const char *names[CANDIDATES_MAX];
        const char *tables[CANDIDATES_MAX];
        size_t n;
} Candidates;

static void add_candidate(Candidates *candidates, const char *name, const char *table) {
        if (candidates->n >= CANDIDATES_MAX)
                return;
        candidates->names[candidates->n] = name;
        candidates->tables[candidates->n++] = table;
}

static void add_members(Candidates *candidates, const Value *table, const char *name) {
        if (table && table->type == VALUE_TABLE && !table->tainted)
                VALUE_FOREACH_MEMBER(member, table)
                        add_candidate(candidates, member->key, name);
}

/* Corrects the first part, which is undefined; NULL if nothing is like it. ret_value may become NULL. */
static const char *correct_first(Arena *arena, const Scope *scope, const Context *context, const char *part,
        bool alone, const Value **ret_value) {
        Candidates candidates = {};
        const char *found, *name;

        /* In a table under its very name: more likely than any misspelling. */
        for (size_t i = 0; alone && scope->nth && (name = scope->nth(scope->userdata, i)); i++) {
                const Value *table = scope->lookup(scope->userdata, name, strlen(name));

                if (table && !table->tainted && value_find(table, part, strlen(part)))
                        return arena_printf(arena, "%s.%s", name, part);
        }

        for (const Context *c = context; c; c = c->outer)
                add_members(&candidates, c->value, NULL);
        for (size_t i = 0; scope->nth && (name = scope->nth(scope->userdata, i)); i++)
                add_candidate(&candidates, name, NULL);
        found = suggest(part, candidates.names, candidates.n);
        if (found) {
                *ret_value = NULL;
                for (const Context *c = context; c && !*ret_value; c = c->outer)
                        *ret_value = value_get(c->value, found);
                if (!*ret_value)
                        *ret_value = scope->lookup(scope->userdata, found, strlen(found));
                return found;
        }
        if (!alone)
                return NULL;

        candidates.n = 0;
        for (size_t i = 0; scope->nth && (name = scope->nth(scope->userdata, i)); i++)
                add_members(&candidates, scope->lookup(scope->userdata, name, strlen(name)), name);
        found = suggest(part, candidates.names, candidates.n);
        for (size_t i = 0; found && i < candidates.n; i++)
                if (candidates.names[i] == found)
                        return arena_printf(arena, "%s.%s", candidates.tables[i], found);
        return NULL;
}

const char *template_suggest(
        Arena *arena, const Scope *scope, const Context *context, const char *name, size_t size) {
        const Value *value = NULL;
        size_t position = 0, part_size;
        const char *part = template_next_part(name, size, &position, &part_size), *corrected;
        bool changed = false;

        corrected = arena_strndup(arena, part, part_size);
        for (const Context *c = context; c && !value; c = c->outer)
                value = value_get(c->value, corrected);
        if (!value)
                value = scope->lookup(scope->userdata, part, part_size);
        if (!value) {
                corrected = correct_first(arena, scope, context, corrected, position > size, &value);
                if (!corrected)
                        return NULL;
                changed = true;
        }

        while (position <= size) {
                const Value *next = NULL;
                const char *written, *better;

                part = template_next_part(name, size, &position, &part_size);
                better = written = arena_strndup(arena, part, part_size);
                if (value && value->type == VALUE_TABLE)
                        next = value_get(value, written);
                if (value && value->type == VALUE_TABLE && !next) {
                        Candidates candidates = {};

                        add_members(&candidates, value, NULL);
                        better = suggest(written, candidates.names, candidates.n);
                        if (!better && !changed)
                                return NULL;
                        if (better) {
                                changed = true;
                                next = value_get(value, better);
                        } else
                                better = written;
                }
                corrected = arena_printf(arena, "%s.%s", corrected, better);
                value = next;
        }
        return changed ? corrected : NULL;
}
