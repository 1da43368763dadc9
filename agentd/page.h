/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reference pages: what the program says about itself, as text for a terminal, Markdown, or the source of a man page. Texts
 * are those of the declarations: a line without full stop, with `words` in backticks.
 */

#include "settings.h"

typedef struct Page {
        FILE *f;
        ReferenceStyle style;
        unsigned width; /* columns, of text */
        bool bold;
} Page;

/* As wide as the terminal, 80 columns if it is none, and never more than can be read with ease. */
void page_init(Page *page, FILE *f, ReferenceStyle style);

void page_title(Page *page, const char *name, const char *summary);
void page_heading(Page *page, const char *text);
void page_paragraph(Page *page, const char *text);

/* A word, what it may be, and what it means: in one line, and (unless NULL) in a paragraph. Not for Markdown. */
void page_item(Page *page, const char *name, const char *value, const char *summary, const char *text);

/* "text", "markdown", "roff", "toml". Return: 0; -EINVAL. */
int reference_style_from_string(const char *name, ReferenceStyle *ret);
