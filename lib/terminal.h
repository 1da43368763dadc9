/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What people are shown on a terminal: colours, and nothing that the terminal would obey. */

#include "util.h"

#define COLOUR_RED    "\033[31m"
#define COLOUR_GREEN  "\033[32m"
#define COLOUR_YELLOW "\033[33m"
#define COLOUR_BLUE   "\033[34m"
#define COLOUR_GREY   "\033[90m"
#define COLOUR_BOLD   "\033[1m"
#define COLOUR_OFF    "\033[0m"

/* Colour: if the file is a terminal and NO_COLOR is not set. Source: https://no-color.org */
bool output_wants_colour(FILE *f);

/* n bytes of text, with "?" for what a terminal would obey: control characters, those of C1 included. */
void output_clean(FILE *f, const char *text, size_t n);
