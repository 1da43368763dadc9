/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is read out of the text of requests: by itself, so that it can be fuzzed. */

#include <time.h>

#include "api-internal.h"

usec_t api_time_parse(const char *text) {
        struct tm tm = {};
        unsigned usec;
        int n = 0;
        time_t seconds;

        if (!text ||
                sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%6uZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                        &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &usec, &n) != 7 ||
                n != (int) strlen("2026-11-21T13:32:00.123456Z") || text[n])
                return 0;
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        seconds = timegm(&tm);
        return seconds > 0 ? (usec_t) seconds * USEC_PER_SEC + usec : 0;
}

/* Digits from text on, without a sign or leading zeros. */
static int parse_number(const char *text, uint64_t max, uint64_t *ret, const char **ret_end) {
        uint64_t n = 0;
        const char *p = text;

        if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
                return -EINVAL;
        for (; *p >= '0' && *p <= '9'; p++) {
                uint64_t digit = (uint64_t) (*p - '0');

                if (n > (max - digit) / 10)
                        return -EINVAL;
                n = n * 10 + digit;
        }
        *ret = n;
        *ret_end = p;
        return 0;
}

int api_parse_id(const char *text, int64_t *ret) {
        const char *end;
        uint64_t n;

        if (parse_number(text, INT64_MAX, &n, &end) < 0 || *end || n == 0)
                return -EINVAL;
        *ret = (int64_t) n;
        return 0;
}

int api_parse_state_cursor(const char *text, uint32_t *ret_index, const char **ret_id) {
        const char *end;
        uint64_t n;

        if (parse_number(text, UINT32_MAX - 1, &n, &end) < 0 || *end != ':' || !end[1])
                return -EINVAL;
        *ret_index = (uint32_t) n;
        *ret_id = end + 1;
        return 0;
}

int api_parse_kinds(const char *text, uint32_t *ret, const char **reterr_bad, size_t *reterr_size) {
        uint32_t kinds = 0;

        _Static_assert(_EVENT_KIND_MAX < 32, "a bit for each kind");
        for (const char *p = text;; p++) {
                size_t n = strcspn(p, ",");
                EventKind kind;

                for (kind = 0; kind < _EVENT_KIND_MAX; kind++)
                        if (strlen(event_kinds[kind].name) == n && memcmp(event_kinds[kind].name, p, n) == 0)
                                break;
                if (kind == _EVENT_KIND_MAX) {
                        *reterr_bad = p;
                        *reterr_size = n;
                        return -EINVAL;
                }
                kinds |= 1u << kind;
                p += n;
                if (!*p)
                        break;
        }
        *ret = kinds;
        return 0;
}
