/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>

#include "util.h"
#include "value.h"

/*
 * Values from and to JSON. Both directions keep the order of keys, and both go as deep as what they are given, which
 * its parser has bounded (jansson: 2048).
 */

/* A copy of all of it, without places. */
Value value_from_json(Arena *arena, const json_t *json);

/*
 * A new reference, or NULL if out of memory. What JSON or the reader must not have is replaced: a tainted value by the
 * string "<sensitive>" (all of it, if it is an array or a table), a float that is not finite by null, each byte that
 * is not UTF-8 by U+FFFD. Date-times become strings. Of keys that are the same after that, the last one's value stays.
 */
json_t *value_to_json(const Value *value);

/* A JSON string of the text, each byte that is not UTF-8 replaced by U+FFFD; NULL if out of memory. */
json_t *json_from_text(const char *text, size_t size);

/* A time in microseconds since 1970 as RFC 3339 in UTC, "2026-11-21T13:32:00.123456Z"; null for 0. NULL if out of memory. */
json_t *json_from_time(usec_t usec);
