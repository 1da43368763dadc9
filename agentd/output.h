/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How runs are shown: as NDJSON for programs, as lines for people. */

#include "run.h"

/* One result as DESIGN section 9 says; a new reference, NULL if out of memory. with_diff: each difference has "diff". */
json_t *output_result(const Run *run, uint32_t state, bool with_diff);

/* The run, with its summary. */
json_t *output_run(const Run *run);

/* Writes one JSON object as a line. */
void output_json_line(FILE *f, json_t *json);

typedef struct OutputStyle {
        bool colour;
        bool diff;
        bool verbose; /* also states that are ok or skipped */
} OutputStyle;

/* Colour: if the file is a terminal and NO_COLOR is not set. Source: https://no-color.org */
bool output_wants_colour(FILE *f);

/* n bytes of text, with "?" for what a terminal would obey: control characters, those of C1 included. */
void output_clean(FILE *f, const char *text, size_t n);

/* One result for people; nothing if there is nothing to tell. */
void output_result_for_people(FILE *f, const Run *run, uint32_t state, const OutputStyle *style);

/* "12 states: 10 ok, 2 changed (34ms)" */
void output_summary_for_people(FILE *f, const Run *run, const OutputStyle *style);

/* Writes out what is buffered. Return: 0; -errno if anything could not be written, which is logged. */
int output_flush(FILE *f);
