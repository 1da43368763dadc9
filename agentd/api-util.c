/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the routes share: pages, times, words, and what is said about them if they are wrong. */

#include <fcntl.h>

#include "api-internal.h"
#include "engine-select.h"
#include "diagnostic.h"
#include "value-json.h"

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

json_t *api_text(const char *text) {
        return text ? json_from_text(text, strlen(text)) : json_null();
}

json_t *api_with_progress(json_t *run) {
        if (json_is_object(run) && !json_object_get(run, "progress"))
                (void) json_object_set_new(run, "progress", json_null());
        return run;
}

void api_answer_page(HttpRequest *request, json_t *items, json_t *next) {
        http_answer_json(request, 200, json_pack("{s:o, s:o}", "items", items, "next", next));
}

/* ---- What requests say ------------------------------------------------------------------------------------------ */

int api_limit(HttpRequest *request, unsigned *ret) {
        uint64_t limit = API_LIMIT_DEFAULT;

        if (http_request_query_u64(request, "limit", 1, API_LIMIT_MAX, &limit) < 0)
                return -EINVAL;
        *ret = (unsigned) limit;
        return 0;
}

int api_check_glob(HttpRequest *request, const char *what, const char *glob) {
        size_t size = glob ? strlen(glob) : 0;

        if (size <= API_BRACKET_MAX || (size <= API_GLOB_MAX && !strchr(glob, '[')))
                return 0;
        http_answer_problem(request, 400, "bad-request",
                "'%s' is too long for a glob: it has %zu bytes, of at most %d, or %d if there is a '[' in "
                "it",
                what, size, API_GLOB_MAX, API_BRACKET_MAX);
        return -EINVAL;
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

/* Bytes that both begin and end with alike; 0: their lengths are too far apart to be near. */
static unsigned likeness(const char *a, size_t n, const char *b, size_t m) {
        size_t longer = MAX(n, m), shorter = MIN(n, m), same = 0, rest = 0;

        if (longer > API_SUGGEST_BYTES || longer - shorter > MAX(longer / 3, (size_t) 1))
                return 0;
        while (same < shorter && a[same] == b[same])
                same++;
        while (rest < shorter - same && a[n - 1 - rest] == b[m - 1 - rest])
                rest++;
        return (unsigned) (same + rest) + 1;
}

const char *api_suggest_state(const Image *image, const char *id, char *buffer, size_t size) {
        _cleanup_free_ const char **candidates = NULL;
        unsigned n_like[API_SUGGEST_BYTES + 2] = {}, least = API_SUGGEST_BYTES + 1, total = 0;
        size_t length = strlen(id), n = 0;
        const char *colon = strchr(id, ':'), *meant;
        uint32_t type = find_type(image, id, colon ? (size_t) (colon - id) : length);

        buffer[0] = 0;
        candidates = calloc(API_SUGGEST_MAX, sizeof(*candidates));
        if (!candidates || length > API_SUGGEST_BYTES)
                return buffer;
        /* To find the nearest takes microseconds for each: only those are looked at that are most alike at first sight. A type that
         * nobody has may be what is misspelt. */
        for (int turn = 0; turn < 2; turn++) {
                for (uint32_t i = 0; i < image_n_states(image); i++) {
                        const ImageState *state = image_state(image, i);
                        const char *other = image_text(image, state->id);
                        unsigned like = type == UINT32_MAX || state->type == type
                                                ? likeness(id, length, other, state->id.n)
                                                : 0;

                        if (turn == 0)
                                n_like[like]++;
                        else if (like > least || (like == least && total++ < API_SUGGEST_MAX))
                                candidates[n++] = other;
                }
                while (turn == 0 && least > 1 && total + n_like[least] <= API_SUGGEST_MAX)
                        total += n_like[least--];
                /* All that are more alike than the least; of those as many as there is room for. */
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

void api_answer_no_tag(HttpRequest *request, unsigned status, const Image *image, const char *tag) {
        const char *meant = image ? select_suggest_tag(image, tag) : NULL;

        http_answer_problem(request, status, status == 404 ? "not-found" : "bad-request",
                "no state has the tag '%s'%s%s%s", tag, meant ? "; did you mean '" : "", meant ?: "",
                meant ? "'?" : "");
}

void api_answer_loader_failed(Api *api, HttpRequest *request) {
        if (engine_state(api->engine) == ENGINE_STOPPING)
                api_answer_not_ready(api, request);
        else
                http_answer_problem(request, 500, "internal",
                        "the loader failed; `journalctl -u agentd` says why. What was in force still is");
}

/* ---- The engine as a whole -------------------------------------------------------------------------------------- */

const char *api_illness(const Engine *engine, char *buffer, size_t size) {
        const json_t *first = json_array_get(engine_load_errors(engine), 0);
        const char *file = json_string_value(json_object_get(first, "file")),
                   *message = json_string_value(json_object_get(first, "message"));
        json_int_t line = json_integer_value(json_object_get(first, "line")),
                   column = json_integer_value(json_object_get(first, "column"));
        char place[64] = "";

        if (engine_load_failed(engine)) {
                /* What is not known is 0 or null. */
                if (line > 0)
                        (void) snprintf(place, sizeof(place), ":%" JSON_INTEGER_FORMAT, line);
                if (line > 0 && column > 0)
                        (void) snprintf(place + strlen(place), sizeof(place) - strlen(place),
                                ":%" JSON_INTEGER_FORMAT, column);
                if (message)
                        (void) snprintf(buffer, size, "the last load failed: %s%s%s%s", file ?: "",
                                file ? place : "", file ? ": " : "", message);
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

void api_answer_disabled(Api *api, HttpRequest *request) {
        json_t *disabled = engine_disabled(api->engine);

        http_answer_problem(request, 409, "conflict", "the host is disabled by %s: %s",
                json_string_value(json_object_get(disabled, "by")) ?: "somebody",
                json_string_value(json_object_get(disabled, "reason")) ?: "no reason given");
        json_decref(disabled);
}
