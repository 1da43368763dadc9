/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What stands in the first line of a request: the path, its variable part, and the query. These functions read bytes of
 * strangers, look at nothing else, and are fuzzed.
 */

#include "util.h"

#define HTTP_PARAMETERS_MAX 32

typedef struct HttpParameter {
        const char *name, *value; /* decoded */
} HttpParameter;

/*
 * http_decode() - undoes percent-encoding, in place
 * @plus: '+' is a space, as in forms and in what most programs make of parameters
 *
 * Return: 0, the text is UTF-8 without control characters; -EINVAL: a '%' without two hexadecimal digits; -EILSEQ: something
 *         else came out. Then the text is in no particular state.
 */
int http_decode(char *text, bool plus);

/*
 * http_target_split() - parts path and query
 * @target: is written to; of the form "http://HOST/PATH" all before the path is passed over
 *
 * Return: 0, *ret_query is "" if there is none; -EINVAL: not a path.
 */
int http_target_split(char *target, char **ret_path, char **ret_query);

/*
 * http_path_match() - compares a path with the pattern of a route
 * @path:      not decoded
 * @ret_part:  the variable part, not decoded, in path; NULL if the pattern has none. Set only if it matches
 *
 * Return: how many segments are literal, plus 1: of several routes that with the highest number is meant; 0: no match.
 */
unsigned http_path_match(
        const char *pattern, const char *path, const char **ret_part, size_t *ret_part_size);

/*
 * http_query_parse() - decodes a query, in place
 *
 * Return: 0; -EINVAL, -EILSEQ as http_decode(); -E2BIG: more than HTTP_PARAMETERS_MAX.
 */
int http_query_parse(char *query, HttpParameter parameters[static HTTP_PARAMETERS_MAX], size_t *ret_n);

/* Whether the header If-None-Match names this tag, which has quotes. Source: RFC 9110, 13.1.2: weak comparison. */
bool http_etag_matches(const char *header, const char *etag);
