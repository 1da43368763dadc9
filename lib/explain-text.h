/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An explanation of a state, in the form of docs/api.md, as lines for people: the same from `agentd --explain` as from agentctl.
 * What is missing or of a wrong type is shown as nothing, or "?".
 */

#include <jansson.h>

#include "result-text.h"

/* A key of the lines on top, "    Declared: ", of 12 characters at most; "" goes on with the one above. */
void explain_text_print_key(FILE *f, const char *key);

/* What it is: id, role, loop, condition. result: what it was last found to be, for the colour; NULL. */
void explain_text_print_head(
        FILE *f, const json_t *explanation, const char *result, const OutputStyle *style);

/* Its settings, and the order it stands in. */
void explain_text_print_settings(FILE *f, const json_t *explanation, const OutputStyle *style);
