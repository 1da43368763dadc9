/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "diagnostic.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What is done to a TOML document before the parser sees it. The parser recurses and searches lists, so that a small
 * hostile document could overflow its stack or keep it busy for minutes: here it is refused in one cheap pass.
 */

typedef struct TomlScan {
        uint64_t *multiline; /* where strings in triple quotes begin (TOML_POSITION), ascending; allocated */
        size_t n_multiline;
        size_t n_multiline_allocated;
} TomlScan;

/* A line and a column as one number that sorts as they do; its lowest bit says that the text of the string begins on the line of
 * its quotes. */
#define TOML_POSITION(line, column) ((uint64_t) (line) << 32 | (uint64_t) (column) << 1)
#define TOML_POSITION_INLINE        UINT64_C(1)

/**
 * toml_scan() - checks the limits of toml.h and that the text is UTF-8
 * @arena:  for the message of an error
 * @ret:    released by toml_scan_done(), after an error as well
 * @reterr: the first error
 *
 * Knows only as much of TOML as it needs to find keys and brackets, and says nothing of syntax errors: it ends at what
 * surely is one, since the parser ends there too. What it takes to be right is a superset of TOML.
 *
 * Return: 0; -EINVAL; -ENOMEM. *reterr is filled in whenever it is not 0.
 */
int toml_scan(
        Arena *arena, const char *file, const char *text, size_t size, TomlScan *ret, Diagnostic *reterr);
void toml_scan_done(TomlScan *scan);

/* Fills *reterr with a message that may have been cut in the middle of a character; returns -EINVAL. */
int toml_error(Arena *arena, Place place, const char *message, size_t size, Diagnostic *reterr);

#ifdef __cplusplus
}
#endif
