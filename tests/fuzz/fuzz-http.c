/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The input is what a client asks for: it is split, matched with routes, and decoded, as for a request. What comes out must be
 * clean text, however it was encoded.
 */

#include "fuzz.h"
#include "http-target.h"

static void check_text(const char *text) {
        size_t size = strlen(text);

        fuzz_check(utf8_is_valid(text, size));
        for (size_t i = 0; i < size; i++)
                fuzz_check((unsigned char) text[i] >= 0x20 && text[i] != 0x7f);
}

static void check_encoded_again(const char *text) {
        _cleanup_free_ char *encoded = malloc(3 * strlen(text) + 1);
        char *p = encoded;

        fuzz_check(encoded);
        for (const char *c = text; *c; c++)
                p += sprintf(p, "%%%02x", (unsigned) (unsigned char) *c);
        *p = '\0';
        fuzz_check(http_decode(encoded, true) == 0);
        fuzz_check(streq(encoded, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const patterns[] = { "/", "/v1/", "/v1/status", "/v1/states", "/v1/states/{id}",
                "/v1/runs/{run}", "/v1/runs/{run}/results", "/{a}", "/{a}/b" };
        _cleanup_free_ char *target = strndup((const char *) data, size);
        HttpParameter parameters[HTTP_PARAMETERS_MAX];
        char *path, *query;
        size_t n = 0;

        fuzz_check(target);
        (void) http_etag_matches(target, "\"00\"");
        if (http_target_split(target, &path, &query) < 0)
                return 0;

        FOREACH_ELEMENT(pattern, patterns) {
                const char *part;
                size_t part_size;
                _cleanup_free_ char *copy = NULL;

                if (http_path_match(*pattern, path, &part, &part_size) == 0)
                        continue;
                fuzz_check(!part == !strchr(*pattern, '{'));
                if (!part)
                        continue;
                fuzz_check(part > path && part_size > 0 && part + part_size <= path + strlen(path));
                copy = strndup(part, part_size);
                fuzz_check(copy);
                if (http_decode(copy, false) < 0)
                        continue;
                check_text(copy);
                check_encoded_again(copy);
        }

        if (http_query_parse(query, parameters, &n) < 0)
                return 0;
        fuzz_check(n <= HTTP_PARAMETERS_MAX);
        for (size_t i = 0; i < n; i++) {
                check_text(parameters[i].name);
                check_text(parameters[i].value);
                check_encoded_again(parameters[i].value);
        }
        return 0;
}
