/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <ctype.h>

#include "diagnostic.h"
#include "hash.h"
#include "util.h"

/* Allocated; NULL if there is no memory. */
static char *format_message(const char *format, va_list args) {
        char *text;

        if (vasprintf(&text, format, args) < 0)
                return NULL;

        /* One message is one line, whatever a role put into it. */
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = '?';
        return text;
}

#define NO_MEMORY "out of memory"

void diagnostic_set(Diagnostic *diagnostic, Arena *arena, Place place, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        text = format_message(format, args);
        va_end(args);
        *diagnostic = (Diagnostic){ .place = place, .message = arena_strdup(arena, text ?: NO_MEMORY) };
}

static int compare(const Diagnostic *a, const Diagnostic *b) {
        int r;

        /* Those without a file come last. */
        if (!a->place.file || !b->place.file)
                return (b->place.file != NULL) - (a->place.file != NULL);
        r = strcmp(a->place.file, b->place.file);
        if (r != 0)
                return r;
        if (a->place.line != b->place.line)
                return a->place.line < b->place.line ? -1 : 1;
        if (a->place.column != b->place.column)
                return a->place.column < b->place.column ? -1 : 1;
        return 0;
}

#define SLOTS 4096U /* a power of two, and far more than there are errors */

/* Return: the same one that is there already; NULL: it is new. */
static Diagnostic *remember(Diagnostics *diagnostics, const Diagnostic *diagnostic) {
        const Place *place = &diagnostic->place;
        uint64_t hash = hash_fnv1a(diagnostic->message, strlen(diagnostic->message));
        uint32_t i;

        if (!diagnostics->slots)
                diagnostics->slots = arena_new_array(diagnostics->arena, uint32_t, SLOTS);
        hash = (hash ^ place->line) * 31 + place->column;
        for (i = (uint32_t) (hash ^ hash >> 32) & (SLOTS - 1); diagnostics->slots[i] != 0;
                i = (i + 1) & (SLOTS - 1)) {
                Diagnostic *other = &diagnostics->list[diagnostics->slots[i] - 1];

                if (compare(other, diagnostic) == 0 && streq(other->message, diagnostic->message))
                        return other;
        }
        diagnostics->slots[i] = diagnostics->n + 1;
        return NULL;
}

void diagnostics_add(Diagnostics *diagnostics, Place place, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        Diagnostic diagnostic, *same;
        va_list args;

        if (diagnostics->n > DIAGNOSTICS_MAX)
                return;

        va_start(args, format);
        text = format_message(format, args);
        va_end(args);
        diagnostic = (Diagnostic){
                .place = place,
                .message = text ?: NO_MEMORY,
                .first_item = diagnostics->item,
                .last_item = diagnostics->item,
                .n_items = diagnostics->item > 0,
                .item_is_new = diagnostics->item_is_new,
        };
        same = remember(diagnostics, &diagnostic);
        if (same) {
                same->n_items += diagnostics->item > 0 && same->last_item != diagnostics->item;
                same->last_item = diagnostics->item;
                return;
        }
        if (diagnostics->n == DIAGNOSTICS_MAX)
                diagnostic = (Diagnostic){ .message = "too many errors; the rest are not shown" };
        else
                diagnostic.message = arena_strdup(diagnostics->arena, diagnostic.message);
        diagnostics->list = arena_grow(diagnostics->arena, diagnostics->list, diagnostics->n,
                &diagnostics->n_allocated, sizeof(Diagnostic));
        diagnostics->list[diagnostics->n++] = diagnostic;
}

static void merge_sort(Diagnostic *list, Diagnostic *scratch, size_t n) {
        size_t half = n / 2, i = 0, j = half, k = 0;

        if (n < 2)
                return;
        merge_sort(list, scratch, half);
        merge_sort(list + half, scratch, n - half);
        while (i < half && j < n)
                scratch[k++] = compare(&list[i], &list[j]) <= 0 ? list[i++] : list[j++];
        while (i < half)
                scratch[k++] = list[i++];
        while (j < n)
                scratch[k++] = list[j++];
        memcpy(list, scratch, n * sizeof(Diagnostic));
}

void diagnostics_clear(Diagnostics *diagnostics) {
        diagnostics->n = 0;
        if (diagnostics->slots)
                memset(diagnostics->slots, 0, SLOTS * sizeof(*diagnostics->slots));
}

void diagnostics_sort(Diagnostics *diagnostics) {
        if (diagnostics->n < 2)
                return;
        merge_sort(diagnostics->list, arena_new_array(diagnostics->arena, Diagnostic, diagnostics->n),
                diagnostics->n);
        diagnostics->slots = NULL; /* indices are others now */
}

char *diagnostic_format(const Diagnostic *diagnostic) {
        const Place *place = &diagnostic->place;
        char *text;
        int n;

        if (!place->file)
                n = asprintf(&text, "error: %s", diagnostic->message);
        else if (place->line == 0)
                n = asprintf(&text, "%s: error: %s", place->file, diagnostic->message);
        else if (place->column == 0)
                n = asprintf(&text, "%s:%u: error: %s", place->file, place->line, diagnostic->message);
        else
                n = asprintf(&text, "%s:%u:%u: error: %s", place->file, place->line, place->column,
                        diagnostic->message);
        return n < 0 ? NULL : text;
}

#define SUGGEST_MAX 64

/* Optimal string alignment distance, on words short enough to be names. */
static size_t distance(const char *a, const char *b) {
        size_t rows[3][SUGGEST_MAX + 1];
        size_t n = strlen(a), m = strlen(b);

        for (size_t j = 0; j <= m; j++)
                rows[0][j] = j;
        for (size_t i = 1; i <= n; i++) {
                size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];

                row[0] = i;
                for (size_t j = 1; j <= m; j++) {
                        int x = tolower((unsigned char) a[i - 1]), y = tolower((unsigned char) b[j - 1]);
                        size_t best = above[j - 1] + (x != y);

                        best = MIN(best, above[j] + 1);
                        best = MIN(best, row[j - 1] + 1);

                        if (i > 1 && j > 1 && x == tolower((unsigned char) b[j - 2]) &&
                                tolower((unsigned char) a[i - 2]) == y)
                                best = MIN(best, two_above[j - 2] + 1);
                        row[j] = best;
                }
        }

        return rows[n % 3][m];
}

const char *suggest(const char *word, const char *const *candidates, size_t n) {
        size_t length = strlen(word), best = SIZE_MAX;
        const char *found = NULL;

        if (length == 0 || length > SUGGEST_MAX)
                return NULL;

        for (size_t i = 0; i < n; i++) {
                size_t other, longer, d;

                if (!candidates[i])
                        continue;
                other = strlen(candidates[i]);
                if (other > SUGGEST_MAX)
                        continue;
                longer = MAX(length, other);
                d = distance(word, candidates[i]);
                if (d <= MAX(longer / 3, (size_t) 1) && d < longer && d < best) {
                        best = d;
                        found = candidates[i];
                }
        }

        return found;
}
