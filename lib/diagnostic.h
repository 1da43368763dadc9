/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdarg.h>

#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What is wrong with a role, and where. A parser reports one; the loader collects them all, sorts them by place and
 * prints them as compilers do: `web.toml:12:3: error: unknown key 'contnet' …`.
 */

typedef struct Diagnostic {
        Place place;
        const char *message; /* one line, no full stop, UTF-8 */
        /* Of which items of a loop: see `item` below. 0: of none. */
        uint32_t first_item, last_item, n_items;
        bool item_is_new; /* as it is below */
} Diagnostic;

typedef struct Diagnostics {
        Arena *arena; /* not owned: messages and the list live here */
        Diagnostic *list;
        uint32_t n;
        uint32_t n_allocated;
        uint32_t *slots;  /* a table by hash: indices in the list + 1; NULL while it is empty */
        uint32_t item;    /* the item of a loop that is being looked at, from 1; 0: none is */
        bool item_is_new; /* nobody knows yet what it makes */
} Diagnostics;

/* Messages collected at most; one more line then says that there are more. Enough for any honest mistake, and a bound
 * for a hostile one. */
#define DIAGNOSTICS_MAX 1000

/* What was said of a place already is not said again: a loop of thousands that is wrong in one thing has one error, and
 * leaves room for others. */
void diagnostics_add(Diagnostics *diagnostics, Place place, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Forgets all of them. */
void diagnostics_clear(Diagnostics *diagnostics);

/* Sorts by file, line, column; stable. */
void diagnostics_sort(Diagnostics *diagnostics);

/* Fills one diagnostic; for parsers that report a single error. */
void diagnostic_set(Diagnostic *diagnostic, Arena *arena, Place place, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* "FILE:LINE:COLUMN: error: MESSAGE" (parts that are unknown are left out) into an allocated string; NULL if out of
 * memory. */
char *diagnostic_format(const Diagnostic *diagnostic);

/*
 * suggest() - finds what somebody probably meant
 * @word:       what was written
 * @candidates: n strings; NULL ones are passed over
 *
 * Return: the nearest candidate within an edit distance (insertion, deletion, substitution, transposition; case costs
 * nothing) of a third of the longer word, at least 1; or NULL.
 */
const char *suggest(const char *word, const char *const *candidates, size_t n);

#ifdef __cplusplus
}
#endif
