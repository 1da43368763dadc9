/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "diagnostic.h"
#include "json.h"
#include "result-text.h"
#include "terminal.h"

const char *get_text(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

json_int_t get_integer(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

usec_t get_time(const json_t *object, const char *key) {
        usec_t usec = 0;

        (void) result_text_parse_time(get_text(object, key), &usec);
        return usec;
}

/* Source: RFC 3986, section 2.3. */
static char *percent_encode(const char *text) {
        static const char unreserved[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        char *encoded = malloc(strlen(text) * 3 + 1), *out = encoded;

        if (!encoded)
                return NULL;
        for (; *text; text++)
                if (strchr(unreserved, *text))
                        *out++ = *text;
                else
                        out += sprintf(out, "%%%02X", (unsigned char) *text);
        *out = 0;
        return encoded;
}

int query_add(char **path, const char *name, const char *value) {
        _cleanup_free_ char *encoded = NULL;
        char *longer;

        if (!value)
                return 0;
        encoded = percent_encode(value);
        if (!encoded ||
                asprintf(&longer, "%s%c%s=%s", *path, strchr(*path, '?') ? '&' : '?', name, encoded) < 0)
                return -ENOMEM;
        free(*path);
        *path = longer;
        return 0;
}

char *path_with(const char *path, const char *part) {
        _cleanup_free_ char *encoded = percent_encode(part);
        char *longer;

        return encoded && asprintf(&longer, "%s%s", path, encoded) >= 0 ? longer : NULL;
}

void print_json(const json_t *json) {
        _cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

        /* JSON lets DEL and the control characters of C1 pass, terminals obey them. They can only be in strings. */
        for (const char *p = text ?: ""; *p; p++) {
                unsigned char c = (unsigned char) p[0], next = (unsigned char) p[1];

                if (c == 0x7f)
                        (void) fputs("\\u007f", stdout);
                else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
                        (void) fprintf(stdout, "\\u%04x", next);
                        p++;
                } else
                        (void) fputc(c, stdout);
        }
        (void) fputc('\n', stdout);
}

static uint32_t get_position(const json_t *object, const char *key) {
        json_int_t n = get_integer(object, key);

        return n > 0 && n <= UINT32_MAX ? (uint32_t) n : 0;
}

void print_diagnostics(FILE *f, const json_t *diagnostics) {
        json_t *diagnostic;
        size_t i;

        json_array_foreach(diagnostics, i, diagnostic) {
                const Diagnostic d = {
                        .place = {
                                .file = get_text(diagnostic, "file"),
                                .line = get_position(diagnostic, "line"),
                                .column = get_position(diagnostic, "column"),
                        },
                        .message = get_text(diagnostic, "message") ?: "?",
                };
                _cleanup_free_ char *text = diagnostic_format(&d);

                output_clean(f, text ?: "out of memory", strlen(text ?: "out of memory"));
                (void) fputc('\n', f);
        }
}

void print_warnings(FILE *f, const json_t *warnings) {
        const json_t *warning;
        size_t i;

        json_array_foreach((json_t *) warnings, i, warning) {
                const char *text = json_string_value(warning) ?: "";

                (void) fputs("warning: ", f);
                output_clean(f, text, strlen(text));
                (void) fputc('\n', f);
        }
}
