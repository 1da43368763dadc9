/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Results and runs, in the form that docs/api.md says, as lines for people: the same from `agentd --once` as from agentctl. What is
 * missing or of a wrong type is shown as nothing, or "?".
 */

#include <jansson.h>

#include "util.h"

typedef struct OutputStyle {
        bool colour;
        bool diff;
        bool verbose; /* also states that are ok or skipped */
} OutputStyle;

/* The colour of a result, as of "failed"; grey for those that need no attention. */
const char *result_text_colour(const char *result);

/* One result; nothing if there is nothing to tell. place: "FILE:LINE:COLUMN" of the state, shown if it failed; or NULL. */
void result_text_print(FILE *f, const json_t *result, const char *place, const OutputStyle *style);

/* "    mode: 0600 → 0644", a line each, with their diffs if the style says so. */
void result_text_print_differences(FILE *f, const json_t *differences, const OutputStyle *style);

/* "40 ok, 1 changed" of a run's summary: results that nobody has are left out, "0 ok" if there are none. */
void result_text_print_counts(FILE *f, const json_t *summary, const OutputStyle *style);

/* "12 states: 10 ok, 2 changed (34ms), NOTE"; note: NULL if there is nothing to add. The run's error is not shown. */
void result_text_print_summary(FILE *f, const json_t *run, const char *note, const OutputStyle *style);

/* A time of docs/api.md ("2026-11-21T13:32:00.123456Z"; the fraction may be missing) in microseconds since 1970. Return: 0; -EINVAL. */
int result_text_parse_time(const char *text, usec_t *ret);
