/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What agentd has answered, looked at without trust in its types; and printed. */

#include <jansson.h>

#include "util.h"

/* The string; NULL if it is missing, null, or something else. */
const char *get_text(const json_t *object, const char *key);
json_int_t get_integer(const json_t *object, const char *key); /* likewise 0 */
usec_t get_time(const json_t *object, const char *key);        /* likewise 0 */

/* Adds "NAME=VALUE" to a path, after "?" or "&", percent-encoded; value NULL: nothing. Return: 0; -ENOMEM. */
int query_add(char **path, const char *name, const char *value);

/* The path with a part added, percent-encoded, slashes as well; to be freed. NULL if out of memory. */
char *path_with(const char *path, const char *part);

/* One line of compact JSON on standard output. Where JSON has control characters as they are, they are escaped. */
void print_json(const json_t *json);

/* "FILE:LINE:COLUMN: error: MESSAGE" for each. */
void print_diagnostics(FILE *f, const json_t *diagnostics);

/* "warning: TEXT" for each: what is not as it should be, but no error, as a key that nobody knows or a local fact that is broken. */
void print_warnings(FILE *f, const json_t *warnings);
