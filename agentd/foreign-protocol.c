/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What reading the words of foreign modules has in common. Nothing of it trusts a byte of them. */

#include <stdarg.h>

#include "foreign-internal.h"

int foreign_wrong(char **reterr, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;
        size_t size;

        free(*reterr);
        *reterr = NULL;
        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        if (text)
                *reterr = utf8_make_valid(text, strlen(text), &size);
        for (char *p = *reterr; p && *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = '?';
        return -EBADMSG;
}

const char *foreign_excerpt(char buffer[static FOREIGN_EXCERPT_MAX + 8], const char *line, size_t size) {
        size_t n = MIN(size, (size_t) FOREIGN_EXCERPT_MAX);

        while (n < size && n > FOREIGN_EXCERPT_MAX - 4 && ((unsigned char) line[n] & 0xc0) == 0x80)
                n--;
        for (size_t i = 0; i < n; i++)
                buffer[i] = line[i] ?: '?';
        (void) strcpy(buffer + n, n < size ? "…" : "");
        return buffer;
}

const char *foreign_get_string(const json_t *object, const char *key) {
        const json_t *value = json_object_get(object, key);
        const char *text = json_string_value(value);

        return text && strlen(text) == json_string_length(value) ? text : NULL;
}

json_t *foreign_parse_line(const char *line, size_t size, bool quiet, char **reterr) {
        char buffer[FOREIGN_EXCERPT_MAX + 8];
        json_error_t error;
        json_t *json;

        json = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (json && json_is_object(json))
                return json;
        if (json) {
                json_decref(json);
                (void) foreign_wrong(
                        reterr, "answered with JSON that is no object; an answer begins with '{'");
        } else if (quiet)
                (void) foreign_wrong(reterr,
                        "answered with a line that is not JSON; what it is is not shown, as a state is "
                        "sensitive");
        else
                (void) foreign_wrong(reterr, "answered with a line that is not JSON (%s): '%s'", error.text,
                        foreign_excerpt(buffer, line, size));
        return NULL;
}

void foreign_end_state(ForeignAnswer *answer, size_t i, ForeignVerdict verdict, const char *error) {
        answer->ended[i] = true;
        answer->n_ended++;
        answer->sink->finish(answer->userdata, i, verdict, error);
}

int foreign_answer_init(ForeignAnswer *answer, ForeignRequest request, ForeignEncoding encoding, size_t n,
        const ForeignSink *sink, void *userdata) {
        *answer = (ForeignAnswer){
                .request = request,
                .encoding = encoding,
                .sink = sink,
                .userdata = userdata,
                .n = n,
                .ended = calloc(MAX(n, (size_t) 1), sizeof(bool)),
        };
        return answer->ended ? 0 : -ENOMEM;
}

void foreign_answer_done(ForeignAnswer *answer) {
        foreign_shell_clear(answer);
        free(answer->ended);
        *answer = (ForeignAnswer){};
}

int foreign_answer_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr) {
        if (answer->closed)
                return foreign_wrong(reterr, "said more than the one answer that each request has");
        return answer->encoding == FOREIGN_SHELL ? foreign_take_shell_line(answer, line, size, reterr)
                                                 : foreign_take_json_line(answer, line, size, reterr);
}
