/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tables for people, their columns as wide as what is in them. Widths are in cells of the terminal: a Chinese character has two, an
 * accent none. What does not fit on the terminal is cut, with an ellipsis, beginning with the widest column.
 */

#include "util.h"

typedef struct TableColumn {
        const char *heading; /* NULL ends a list */
        bool right;          /* numbers */
        bool whole;          /* never cut */
} TableColumn;

typedef struct Table Table;

/* The columns must stay. Return: 0; -ENOMEM. */
int table_new(const TableColumn *columns, Table **ret);
Table *table_free(Table *table);
DEFINE_CLEANUP(Table *, table_free)

/* The next cell, from left to right, row by row; the text is copied, without what a terminal would obey. NULL or "": "-".
 * colour: an escape sequence, must stay; NULL: none. Memory that is missing is told by table_print(). */
void table_add(Table *table, const char *colour, const char *text);
void table_addf(Table *table, const char *colour, const char *format, ...) _printf_(3, 4);

size_t table_n_rows(const Table *table);

/* width: cells of the terminal, SIZE_MAX if it does not matter. Return: 0; -ENOMEM. */
int table_print(Table *table, FILE *f, bool headings, bool colour, size_t width);

/* Cells of the terminal; SIZE_MAX if the file is none. $COLUMNS wins. */
size_t terminal_width(FILE *f);

/* Cells that UTF-8 takes; a byte that is none takes one. */
size_t text_width(const char *text);

/* How many bytes of the text fit into so many cells. */
size_t text_fit(const char *text, size_t width);
