/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Buffers and lines. */

#include <stdarg.h>

#include "edit.h"

/* An edit may make a file larger, but not without end. */
#define BUFFER_MAX (2 * EDIT_SIZE_MAX)

void buffer_add(Buffer *buffer, const char *data, size_t size) {
        if (buffer->failed || size == 0)
                return;
        if (size > BUFFER_MAX - buffer->size) {
                buffer->failed = true;
                return;
        }
        if (size > buffer->allocated - buffer->size) {
                size_t wanted = MAX(buffer->allocated * 2, (size_t) 256);
                char *grown;

                wanted = MAX(wanted, buffer->size + size);
                grown = realloc(buffer->data, wanted);

                if (!grown) {
                        buffer->failed = true;
                        return;
                }
                buffer->data = grown;
                buffer->allocated = wanted;
        }
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
}

void buffer_puts(Buffer *buffer, const char *text) {
        buffer_add(buffer, text, strlen(text));
}

void buffer_printf(Buffer *buffer, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;
        int n;

        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        if (n < 0) {
                text = NULL;
                buffer->failed = true;
        } else
                buffer_add(buffer, text, (size_t) n);
}

void buffer_done(Buffer *buffer) {
        free(buffer->data);
        *buffer = (Buffer){};
}

int edit_error(char **reterr, int r, const char *format, ...) {
        va_list args;

        free(*reterr);
        va_start(args, format);
        if (vasprintf(reterr, format, args) < 0)
                *reterr = NULL;
        va_end(args);
        return r;
}

int lines_split(const char *text, size_t size, Lines *ret) {
        Lines lines = { .end = "\n", .utf = utf8_is_valid(text, size) };
        size_t n = 0, n_crlf = 0, n_lf = 0;

        for (size_t i = 0; i < size; i++)
                n += text[i] == '\n';
        lines.lines = calloc(n + 1, sizeof(Line));
        if (!lines.lines)
                return -ENOMEM;
        for (size_t i = 0; i < size;) {
                const char *newline = memchr(text + i, '\n', size - i);
                Line *line = &lines.lines[lines.n++];

                *line = (Line){ .text = text + i };
                line->full = line->size = newline ? (size_t) (newline + 1 - line->text) : size - i;
                if (newline) {
                        line->size--;
                        n_lf++;
                        if (line->size > 0 && line->text[line->size - 1] == '\r') {
                                line->size--;
                                n_crlf++;
                        }
                }
                i += line->full;
        }
        if (n_crlf > n_lf / 2)
                lines.end = "\r\n";
        *ret = lines;
        return 0;
}

void lines_done(Lines *lines) {
        free(lines->lines);
        *lines = (Lines){};
}

void buffer_line(Buffer *buffer, const Line *line) {
        buffer_add(buffer, line->text, line->full);
}

void buffer_new_line(Buffer *buffer, const Lines *lines, const char *text, size_t size) {
        if (buffer->size > 0 && buffer->data[buffer->size - 1] != '\n')
                buffer_puts(buffer, lines->end);
        buffer_add(buffer, text, size);
        buffer_puts(buffer, lines->end);
}

void buffer_new_lines(Buffer *buffer, const Lines *lines, const char *text, size_t size) {
        while (size > 0) {
                const char *newline = memchr(text, '\n', size);
                size_t n = newline ? (size_t) (newline - text) : size, full = n + (newline ? 1 : 0);

                buffer_new_line(buffer, lines, text, n > 0 && text[n - 1] == '\r' ? n - 1 : n);
                text += full;
                size -= full;
        }
}

bool line_is(const Line *line, const char *text) {
        return strlen(text) == line->size && memcmp(text, line->text, line->size) == 0;
}
