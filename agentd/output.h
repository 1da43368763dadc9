/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How runs are shown: as NDJSON for programs, as lines for people. */

#include "result-text.h"
#include "run.h"
#include "terminal.h"

/* One result as DESIGN section 9 says; a new reference, NULL if out of memory. with_diff: each difference has "diff". */
json_t *output_result(const Run *run, uint32_t state, bool with_diff);

/* The run, with its summary. */
json_t *output_run(const Run *run);

/* Writes one JSON object as a line. */
void output_json_line(FILE *f, json_t *json);

/* One result for people; nothing if there is nothing to tell. */
void output_result_for_people(FILE *f, const Run *run, uint32_t state, const OutputStyle *style);

/* "12 states: 10 ok, 2 changed (34ms)" */
void output_summary_for_people(FILE *f, const Run *run, const OutputStyle *style);

/* Writes out what is buffered. Return: 0; -errno if anything could not be written, which is logged. */
int output_flush(FILE *f);
