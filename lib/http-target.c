/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <strings.h>

#include "http-target.h"

static int digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* The next character of an encoded text, 0 … 255; -EINVAL. A NUL counts as the end and is never stepped over. */
static int next_decoded(const char **text) {
        const char *p = *text;
        int high, low;

        if (*p != '%') {
                (*text)++;
                return (unsigned char) *p;
        }
        high = digit(p[1]);
        low = high < 0 ? -1 : digit(p[2]);
        if (low < 0)
                return -EINVAL;
        *text += 3;
        return high << 4 | low;
}

/* C0, DEL, and C1 (which terminals obey as well). */
static bool has_control(const char *text, size_t size) {
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char) text[i];

                if (c < 0x20 || c == 0x7f)
                        return true;
                if (c == 0xc2 && i + 1 < size && (unsigned char) text[i + 1] < 0xa0)
                        return true;
        }
        return false;
}

int http_decode(char *text, bool plus) {
        const char *from = text;
        char *to = text;

        while (*from) {
                bool space = plus && *from == '+';
                int c = next_decoded(&from);

                if (c < 0)
                        return c;
                *to++ = space ? ' ' : (char) c;
        }
        *to = '\0';

        if (has_control(text, (size_t) (to - text)) || !utf8_is_valid(text, (size_t) (to - text)))
                return -EILSEQ;
        return 0;
}

int http_target_split(char *target, char **ret_path, char **ret_query) {
        char *query, *path = target;

        if (strncasecmp(path, "http://", strlen("http://")) == 0) {
                path = strchr(path + strlen("http://"), '/');
                if (!path)
                        return -EINVAL;
        }
        if (*path != '/')
                return -EINVAL;

        /* Nobody should send a fragment; who does means what stands before it. */
        path[strcspn(path, "#")] = '\0';

        query = strchr(path, '?');
        if (query)
                *query++ = '\0';
        *ret_path = path;
        *ret_query = query ?: path + strlen(path);
        return 0;
}

/* A segment of the path against a literal one; n and m without the '/'. */
static bool segment_matches(const char *literal, size_t n, const char *segment, size_t m) {
        const char *end = segment + m;

        for (size_t i = 0; i < n; i++)
                if (segment >= end || next_decoded(&segment) != (unsigned char) literal[i])
                        return false;
        return segment == end;
}

unsigned http_path_match(
        const char *pattern, const char *path, const char **ret_part, size_t *ret_part_size) {
        const char *part = NULL;
        size_t part_size = 0;
        unsigned n_literal = 0;

        while (*pattern == '/' && *path == '/') {
                size_t n = strcspn(++pattern, "/"), m = strcspn(++path, "/");

                if (*pattern == '{') {
                        if (!pattern[n])
                                m = strlen(path); /* slashes as well */
                        if (m == 0)
                                return 0;
                        part = path;
                        part_size = m;
                } else {
                        if (!segment_matches(pattern, n, path, m))
                                return 0;
                        n_literal++;
                }
                pattern += n;
                path += m;
        }
        if (*pattern || *path)
                return 0;

        *ret_part = part;
        *ret_part_size = part_size;
        return n_literal + 1;
}

int http_query_parse(char *query, HttpParameter parameters[static HTTP_PARAMETERS_MAX], size_t *ret_n) {
        size_t n = 0;

        while (*query) {
                char *name = query, *value;
                int r;

                query += strcspn(query, "&");
                if (*query)
                        *query++ = '\0';
                if (!*name)
                        continue;
                if (n == HTTP_PARAMETERS_MAX)
                        return -E2BIG;
                parameters[n] = (HttpParameter){ .name = name, .value = "" };

                value = strchr(name, '=');
                if (value) {
                        *value++ = '\0';
                        r = http_decode(value, true);
                        if (r < 0)
                                return r;
                        parameters[n].value = value;
                }
                r = http_decode(name, true);
                if (r < 0)
                        return r;
                n++;
        }

        *ret_n = n;
        return 0;
}

bool http_etag_matches(const char *header, const char *etag) {
        size_t size = strlen(etag);

        for (;;) {
                header += strspn(header, " \t,");
                if (!*header)
                        return false;
                if (*header == '*')
                        return true;
                if (startswith(header, "W/"))
                        header += 2;
                if (*header != '"')
                        return false; /* not a list of tags */
                if (strncmp(header, etag, size) == 0)
                        return true;
                header += 1 + strcspn(header + 1, "\"");
                if (*header == '"')
                        header++;
        }
}
