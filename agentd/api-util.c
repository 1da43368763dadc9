/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the routes share: pages, times, words, and what is said about them if they are wrong. */

#include <fcntl.h>

#include <time.h>

#include "api-internal.h"
#include "diagnostic.h"
#include "value-json.h"

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

json_t *api_text(const char *text) {
        return text ? json_from_text(text, strlen(text)) : json_null();
}

json_t *api_time(usec_t usec) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char text[64], date[32];
        struct tm tm;

        if (usec == 0 || usec == USEC_INFINITY || !gmtime_r(&seconds, &tm) ||
                strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
                return json_null();
        (void) snprintf(text, sizeof(text), "%s.%06uZ", date, (unsigned) (usec % USEC_PER_SEC));
        return json_string(text);
}

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

void api_answer_page(HttpRequest *request, json_t *items, json_t *next) {
        http_answer_json(request, 200, json_pack("{s:o, s:o}", "items", items, "next", next));
}

/* ---- What requests say ----------------------------------------------------------------------------------------- */

int api_limit(HttpRequest *request, unsigned *ret) {
        uint64_t limit = API_LIMIT_DEFAULT;

        if (http_request_query_u64(request, "limit", 1, API_LIMIT_MAX, &limit) < 0)
                return -EINVAL;
        *ret = (unsigned) limit;
        return 0;
}

/* "a, b, c" */
static char *enumerate(const char *const *words, size_t n) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        for (size_t i = 0; i < n; i++)
                (void) fprintf(f, "%s%s", i > 0 ? ", " : "", words[i]);
        if (fclose(f) == 0)
                return text;
        free(text);
        return NULL;
}

int api_word(HttpRequest *request, const char *what, const char *word, const char *const *words, size_t n) {
        _cleanup_free_ char *all = NULL;
        const char *meant;

        for (size_t i = 0; i < n; i++)
                if (streq(words[i], word))
                        return (int) i;
        all = enumerate(words, n);
        meant = suggest(word, words, n);
        http_answer_problem(request, 400, "bad-request", "%s '%s' is not one of %s%s%s%s", what, word,
                all ?: "…", meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
        return -EINVAL;
}

int api_body_keys(HttpRequest *request, const char *const *keys, size_t n) {
        const json_t *body = http_request_body(request);
        const char *key;
        json_t *value;

        /* It is only read; jansson's iteration does not say so. */
        json_object_foreach((json_t *) body, key, value) {
                bool known = false;

                for (size_t i = 0; i < n && !known; i++)
                        known = streq(keys[i], key);
                if (known)
                        continue;
                if (n == 0)
                        http_answer_problem(request, 400, "bad-request",
                                "unknown key '%s'; the body has none here", key);
                else
                        (void) api_word(request, "the body's key", key, keys, n);
                return -EINVAL;
        }
        return 0;
}

int api_body_bool(HttpRequest *request, const char *key, bool *ret) {
        const json_t *value = json_object_get(http_request_body(request), key);

        if (!value)
                return 0;
        if (!json_is_boolean(value)) {
                http_answer_problem(request, 400, "bad-request", "'%s' is neither true nor false", key);
                return -EINVAL;
        }
        *ret = json_is_true(value);
        return 0;
}

int api_body_string(HttpRequest *request, const char *key, const char **ret) {
        const json_t *value = json_object_get(http_request_body(request), key);

        if (!value)
                return 0;
        if (!json_is_string(value)) {
                http_answer_problem(request, 400, "bad-request", "'%s' is not a string", key);
                return -EINVAL;
        }
        *ret = json_string_value(value);
        return 0;
}

/* The number of the image's type of that name, n bytes; UINT32_MAX: none. */
static uint32_t find_type(const Image *image, const char *name, size_t n) {
        for (uint32_t i = 0; i < image->header->types.n; i++) {
                const ImageType *type = image_type(image, i);

                if (type->name.n == n && memcmp(image_text(image, type->name), name, n) == 0)
                        return i;
        }
        return UINT32_MAX;
}

const char *api_suggest_state(const Image *image, const char *id, char *buffer, size_t size) {
        _cleanup_free_ const char **candidates = NULL;
        size_t length = strlen(id), n = 0;
        const char *colon = strchr(id, ':'), *meant;
        uint32_t type = find_type(image, id, colon ? (size_t) (colon - id) : length);

        buffer[0] = 0;
        candidates = calloc(MIN(image_n_states(image), (uint32_t) API_SUGGEST_MAX), sizeof(*candidates));
        if (!candidates)
                return buffer;
        for (uint32_t i = 0; i < image_n_states(image) && n < API_SUGGEST_MAX; i++) {
                const ImageState *state = image_state(image, i);
                size_t longer = MAX(length, (size_t) state->id.n),
                       shorter = MIN(length, (size_t) state->id.n);

                /* A type that nobody has may be what is misspelt. Lengths too far apart are never near. */
                if ((type == UINT32_MAX || state->type == type) &&
                        longer - shorter <= MAX(longer / 3, (size_t) 1))
                        candidates[n++] = image_text(image, state->id);
        }
        meant = suggest(id, candidates, n);
        if (meant)
                (void) snprintf(buffer, size, "; did you mean '%s'?", meant);
        return buffer;
}

void api_answer_not_ready(Api *api, HttpRequest *request) {
        http_answer_problem(request, 503, "not-ready", "%s",
                engine_state(api->engine) == ENGINE_STOPPING ? "agentd is stopping"
                                                             : "no roles have been loaded yet");
}

/* ---- Pure ------------------------------------------------------------------------------------------------------ */

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

const char *api_illness(const Engine *engine, char *buffer, size_t size) {
        const json_t *first = json_array_get(engine_load_errors(engine), 0);
        const char *file = json_string_value(json_object_get(first, "file")),
                   *message = json_string_value(json_object_get(first, "message"));

        if (engine_load_failed(engine)) {
                if (message)
                        (void) snprintf(buffer, size, "the last load failed: %s%s%s", file ?: "",
                                file ? ": " : "", message);
                else
                        (void) snprintf(buffer, size, "the last load failed");
        } else if (!engine_image(engine))
                (void) snprintf(buffer, size, "no roles have been loaded yet");
        else
                return NULL;
        return buffer;
}

uint64_t api_memory(void) {
        _cleanup_close_ int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        unsigned long long size, resident;
        char text[128];
        ssize_t n;

        n = fd < 0 ? -1 : read_full(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return 0;
        text[n] = 0;
        return sscanf(text, "%llu %llu", &size, &resident) == 2
                       ? (uint64_t) resident * (uint64_t) sysconf(_SC_PAGESIZE)
                       : 0;
}
