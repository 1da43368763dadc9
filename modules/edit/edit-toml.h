/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where in a TOML file the keys and values are. What they mean is for the parser to say. */

#include "edit.h"

#define SEPARATOR '\x1f' /* between the parts of a path */

typedef enum EntryKind {
        ENTRY_KEY,
        ENTRY_INLINE, /* a member of an inline table */
        ENTRY_TABLE,  /* [header] */
        ENTRY_ARRAY,  /* [[header]] */
} EntryKind;

typedef struct Entry {
        EntryKind kind;
        char *path;        /* whole, parts with SEPARATOR */
        size_t start, end; /* of its lines */
        size_t value, value_end;
        size_t header; /* index of the entry that it stands under; SIZE_MAX: none */
        bool in_array; /* below [[header]]: its path is not the only one */
} Entry;

typedef struct Scan {
        const char *text;
        size_t size, i;
        Entry *entries;
        size_t n, n_arrays;
        size_t header;
        bool failed;
} Scan;

/*
 * edit_toml_scan() - finds the entries of what is known to be TOML
 *
 * Return: 0; -EINVAL: there is something that it does not know; -ENOMEM is that, too. edit_toml_scan_done() in any case.
 */
int edit_toml_scan(const char *text, size_t size, Scan *ret);
void edit_toml_scan_done(Scan *scan);
