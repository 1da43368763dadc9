/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sodium.h>
#include <stdarg.h>

#include "http-internal.h"

/* Answers may be kept if they are asked about each time, which an ETag makes cheap. */
#define CACHE_ASK  "no-cache"
#define CACHE_NONE "no-store"

#define ETAG_BYTES 16

/* "HEX", with its quotes. */
static void etag_make(const char *text, size_t size, char ret[static 2 * ETAG_BYTES + 3]) {
        unsigned char hash[ETAG_BYTES];

        (void) crypto_generichash(hash, sizeof(hash), (const unsigned char *) text, size, NULL, 0);
        ret[0] = '"';
        (void) sodium_bin2hex(ret + 1, 2 * ETAG_BYTES + 1, hash, sizeof(hash));
        ret[2 * ETAG_BYTES + 1] = '"';
        ret[2 * ETAG_BYTES + 2] = '\0';
}

/* JSON and a newline; to be freed. */
static char *json_to_line(const json_t *json, size_t *ret_size) {
        char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY), *line;
        size_t n;

        if (!text)
                return NULL;
        n = strlen(text);
        line = realloc(text, n + 2);
        if (!line) {
                free(text);
                return NULL;
        }
        line[n] = '\n';
        line[n + 1] = '\0';
        *ret_size = n + 1;
        return line;
}

bool response_add(struct MHD_Response *response, const char *header, const char *value) {
        return MHD_add_response_header(response, header, value) == MHD_YES;
}

struct MHD_Response *response_new(char *text, size_t size, const char *content_type, const char *cache) {
        struct MHD_Response *response;

        if (!text)
                return NULL;
        response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
        if (!response) {
                free(text);
                return NULL;
        }
        if ((content_type && !response_add(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type)) ||
                !response_add(response, MHD_HTTP_HEADER_CACHE_CONTROL, cache)) {
                MHD_destroy_response(response);
                return NULL;
        }
        return response;
}

/* Takes the response over. */
static void answer_with_header(HttpRequest *request, unsigned status, struct MHD_Response *response,
        const char *header, const char *value) {
        if (response && !response_add(response, header, value)) {
                MHD_destroy_response(response);
                response = NULL;
        }
        request_answer(request, status, response);
}

/* ---- JSON and text --------------------------------------------------------------------------------------------- */

/* Takes the text over. What was asked for with GET has an ETag, and is not sent again to who has it. */
static void answer_text(
        HttpRequest *request, unsigned status, const char *content_type, char *text, size_t size) {
        char etag[2 * ETAG_BYTES + 3];
        const char *known;

        if (!text || !request->get || status != 200 || !request->connection) {
                request_answer(request, status, response_new(text, size, content_type, CACHE_NONE));
                return;
        }

        etag_make(text, size, etag);
        known = MHD_lookup_connection_value(
                request->connection->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
        if (known && http_etag_matches(known, etag)) {
                free(text);
                answer_with_header(request, 304, response_new(strdup(""), 0, NULL, CACHE_ASK),
                        MHD_HTTP_HEADER_ETAG, etag);
                return;
        }
        answer_with_header(
                request, 200, response_new(text, size, content_type, CACHE_ASK), MHD_HTTP_HEADER_ETAG, etag);
}

void http_answer_json(HttpRequest *request, unsigned status, json_t *body) {
        char *text = NULL;
        size_t size = 0;

        if (body)
                text = json_to_line(body, &size);
        json_decref(body);
        if (!text) {
                http_answer_problem(request, 500, "internal", "out of memory");
                return;
        }
        answer_text(request, status, "application/json", text, size);
}

void http_answer_created(HttpRequest *request, unsigned status, const char *location, json_t *body) {
        char *text = NULL;
        size_t size = 0;

        if (body)
                text = json_to_line(body, &size);
        json_decref(body);
        if (!text) {
                http_answer_problem(request, 500, "internal", "out of memory");
                return;
        }
        answer_with_header(request, status, response_new(text, size, "application/json", CACHE_NONE),
                MHD_HTTP_HEADER_LOCATION, location);
}

void http_answer_text(
        HttpRequest *request, unsigned status, const char *content_type, const char *text, size_t size) {
        char *copy = malloc(size + 1);

        if (copy)
                memcpy(copy, text, size);
        answer_text(request, status, content_type, copy, size);
}

/* ---- Problems -------------------------------------------------------------------------------------------------- */

char *problem_format(unsigned status, const char *type, const char *detail, const char *key, json_t *value) {
        _cleanup_free_ char *valid = NULL;
        char *text = NULL;
        json_t *problem;
        size_t size;

        valid = utf8_make_valid(detail, strlen(detail), &size);
        problem = json_pack("{s:s+, s:s, s:i, s:s}", "type", "urn:agentd:", type, "title",
                MHD_get_reason_phrase_for(status), "status", (int) status, "detail", valid ?: "");
        if (valid && problem && (!key || json_object_set(problem, key, value) == 0))
                text = json_to_line(problem, &size);
        json_decref(problem);
        json_decref(value);
        return text;
}

static struct MHD_Response *problem_new(
        unsigned status, const char *type, const char *key, json_t *value, const char *format, va_list ap) {
        _cleanup_free_ char *detail = NULL;
        char *text;

        if (vasprintf(&detail, format, ap) < 0) {
                detail = NULL;
                json_decref(value);
                return NULL;
        }
        text = problem_format(status, type, detail, key, value);
        return text ? response_new(text, strlen(text), "application/problem+json", CACHE_NONE) : NULL;
}

void http_answer_problem(HttpRequest *request, unsigned status, const char *type, const char *format, ...) {
        struct MHD_Response *response;
        va_list ap;

        va_start(ap, format);
        response = problem_new(status, type, NULL, NULL, format, ap);
        va_end(ap);
        request_answer(request, status, response);
}

void http_answer_problem_with(HttpRequest *request, unsigned status, const char *type, const char *key,
        json_t *value, const char *format, ...) {
        struct MHD_Response *response;
        va_list ap;

        va_start(ap, format);
        response = problem_new(status, type, key, value, format, ap);
        va_end(ap);
        request_answer(request, status, response);
}

void answer_not_allowed(HttpRequest *request, const char *allow) {
        _cleanup_free_ char *detail = NULL;
        char *text = NULL;

        if (asprintf(&detail, "allowed are %s", allow) < 0)
                detail = NULL;
        if (detail)
                text = problem_format(405, "method-not-allowed", detail, NULL, NULL);
        answer_with_header(request, 405,
                response_new(text, text ? strlen(text) : 0, "application/problem+json", CACHE_NONE),
                MHD_HTTP_HEADER_ALLOW, allow);
}
