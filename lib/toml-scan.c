/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "toml-scan.h"
#include "toml.h"
#include "util.h"

/* A positive return of the functions below: here is a syntax error, which is the parser's to report. */
enum { SCAN_STOP = 1 };

typedef struct Scanner {
        Arena *arena;
        const char *file;
        const char *text;
        size_t size;
        size_t at;

        size_t located; /* the offset that line and column below are of */
        uint32_t line;
        uint32_t column;

        size_t n_links;
        TomlScan *scan;
        Diagnostic *reterr;
} Scanner;

/* Offsets must not decrease, so that all calls together are linear. */
static Place locate(Scanner *s, size_t offset) {
        assert(offset >= s->located);

        for (const char *end; (end = memchr(s->text + s->located, '\n', offset - s->located));
                s->located = (size_t) (end - s->text) + 1) {
                s->line++;
                s->column = 1;
        }
        for (; s->located < offset; s->located++)
                s->column += (s->text[s->located] & 0xc0) != 0x80;
        return (Place){ .file = s->file, .line = s->line, .column = s->column };
}

static bool looking_at(const Scanner *s, size_t at, char c) {
        return at < s->size && s->text[at] == c;
}

/* A line end right behind the quotes is no part of the text, nor is one after a backslash. */
static bool begins_inline(const Scanner *s, size_t at) {
        if (looking_at(s, at, '\\') && s->text[at - 1] == '"')
                at++;
        if (looking_at(s, at, '\r'))
                at++;
        return !looking_at(s, at, '\n');
}

static int note_multiline(Scanner *s, size_t offset) {
        TomlScan *scan = s->scan;
        Place place = locate(s, offset);

        if (scan->n_multiline == scan->n_multiline_allocated) {
                size_t n = MAX(scan->n_multiline_allocated * 2, (size_t) 64);
                uint64_t *grown = reallocarray(scan->multiline, n, sizeof(*grown));

                if (!grown) {
                        diagnostic_set(s->reterr, s->arena, place, "out of memory");
                        return -ENOMEM;
                }
                scan->multiline = grown;
                scan->n_multiline_allocated = n;
        }

        scan->multiline[scan->n_multiline++] = TOML_POSITION(place.line, place.column) |
                                               (begins_inline(s, offset + 3) ? TOML_POSITION_INLINE : 0);
        return 0;
}

static void skip_blanks(Scanner *s) {
        while (s->at < s->size && (s->text[s->at] == ' ' || s->text[s->at] == '\t'))
                s->at++;
}

static void skip_comment(Scanner *s) {
        const char *end = memchr(s->text + s->at, '\n', s->size - s->at);

        s->at = end ? (size_t) (end - s->text) : s->size;
}

/* From the opening quote to behind the closing one. */
static int skip_string(Scanner *s) {
        char quote = s->text[s->at];

        if (looking_at(s, s->at + 1, quote) && looking_at(s, s->at + 2, quote)) {
                int r = note_multiline(s, s->at);

                if (r < 0)
                        return r;
                for (s->at += 3; s->at < s->size; s->at++) {
                        char c = s->text[s->at];

                        if (c == '\\' && quote == '"')
                                s->at++;
                        else if (c == quote && looking_at(s, s->at + 1, quote) &&
                                 looking_at(s, s->at + 2, quote)) {
                                s->at += 3;
                                /* Up to two more belong to the text: """"quoted"""" is legal. */
                                for (int i = 0; i < 2 && looking_at(s, s->at, quote); i++)
                                        s->at++;
                                return 0;
                        }
                }
                return SCAN_STOP;
        }

        for (s->at++; s->at < s->size; s->at++) {
                char c = s->text[s->at];

                if (c == quote) {
                        s->at++;
                        return 0;
                }
                if (c == '\n')
                        return SCAN_STOP;
                if (c == '\\' && quote == '"')
                        s->at++;
        }
        return SCAN_STOP;
}

static bool ends_bare_key(char c) {
        switch (c) {
        case ' ':
        case '\t':
        case '\r':
        case '\n':
        case '.':
        case '=':
        case ',':
        case '#':
        case '"':
        case '\'':
        case '[':
        case ']':
        case '{':
        case '}': return true;
        default: return false;
        }
}

static int count_links(Scanner *s, size_t offset, unsigned n) {
        s->n_links += n;
        if (s->n_links <= TOML_LINKS_MAX)
                return 0;
        diagnostic_set(s->reterr, s->arena, locate(s, offset),
                "too many dotted keys and tables: one file may have %zu", TOML_LINKS_MAX);
        return -EINVAL;
}

static int check_depth(Scanner *s, size_t offset, unsigned depth) {
        if (depth <= TOML_DEPTH_MAX)
                return 0;
        diagnostic_set(s->reterr, s->arena, locate(s, offset),
                "nested too deeply: at most %d levels are possible", TOML_DEPTH_MAX);
        return -EINVAL;
}

/* A dotted key up to what follows it and its blanks; the caller knows what should. */
static int scan_key(Scanner *s, unsigned *ret_parts) {
        unsigned parts = 0;

        for (;;) {
                size_t start;

                skip_blanks(s);
                start = s->at;
                if (looking_at(s, start, '"') || looking_at(s, start, '\'')) {
                        int r = skip_string(s);

                        if (r != 0)
                                return r;
                } else
                        while (s->at < s->size && !ends_bare_key(s->text[s->at]))
                                s->at++;

                if (s->at == start)
                        return SCAN_STOP;
                if (s->at - start > TOML_KEY_SIZE_MAX) {
                        diagnostic_set(s->reterr, s->arena, locate(s, start),
                                "key is too long: it may have %zu bytes", TOML_KEY_SIZE_MAX);
                        return -EINVAL;
                }
                if (++parts > TOML_KEY_PARTS_MAX) {
                        diagnostic_set(s->reterr, s->arena, locate(s, start),
                                "dotted key has too many parts: it may have %d", TOML_KEY_PARTS_MAX);
                        return -EINVAL;
                }

                skip_blanks(s);
                if (!looking_at(s, s->at, '.'))
                        break;
                s->at++;
        }

        *ret_parts = parts;
        return 0;
}

/* A key and its '='. depth is that of the table, and becomes that of the value. */
static int scan_key_of_value(Scanner *s, unsigned *depth) {
        size_t start = s->at;
        unsigned parts;
        int r;

        r = scan_key(s, &parts);
        if (r != 0)
                return r;
        if (!looking_at(s, s->at, '='))
                return SCAN_STOP;

        *depth += parts;
        r = check_depth(s, start, *depth);
        if (r != 0)
                return r;
        r = count_links(s, start, parts - 1);
        if (r != 0)
                return r;

        s->at++;
        return 0;
}

/* What a '{' or a ',' within one is followed by. */
static int scan_inline_key(Scanner *s, unsigned *depth) {
        skip_blanks(s);
        if (looking_at(s, s->at, '}'))
                return 0;
        return scan_key_of_value(s, depth);
}

/* All to the end of the value's last line, without the line break. */
static int scan_value(Scanner *s, unsigned depth) {
        struct {
                unsigned depth;
                bool is_inline_table;
        } levels[TOML_DEPTH_MAX];
        unsigned n = 0;
        int r;

        while (s->at < s->size) {
                char c = s->text[s->at];

                switch (c) {
                case '"':
                case '\'':
                        r = skip_string(s);
                        if (r != 0)
                                return r;
                        continue;
                case '[':
                case '{':
                        r = check_depth(s, s->at, ++depth);
                        if (r != 0)
                                return r;
                        levels[n].depth = depth;
                        levels[n++].is_inline_table = c == '{';
                        s->at++;
                        if (c == '{') {
                                r = scan_inline_key(s, &depth);
                                if (r != 0)
                                        return r;
                        }
                        continue;
                case ']':
                case '}':
                        if (n == 0)
                                return SCAN_STOP;
                        n--;
                        if (n > 0)
                                depth = levels[n - 1].depth;
                        break;
                case ',':
                        if (n == 0)
                                return SCAN_STOP;
                        s->at++;
                        depth = levels[n - 1].depth;
                        if (levels[n - 1].is_inline_table) {
                                r = scan_inline_key(s, &depth);
                                if (r != 0)
                                        return r;
                        }
                        continue;
                case '#': skip_comment(s); continue;
                case '\n':
                        if (n == 0)
                                return 0;
                        break;
                default: break;
                }
                s->at++;
        }
        return 0;
}

/* [a.b] or [[a.b]]. */
static int scan_header(Scanner *s, unsigned *ret_parts) {
        size_t start = s->at++;
        bool array = looking_at(s, s->at, '[');
        int r;

        if (array)
                s->at++;
        r = scan_key(s, ret_parts);
        if (r != 0)
                return r;
        if (!looking_at(s, s->at, ']') || (array && !looking_at(s, s->at + 1, ']')))
                return SCAN_STOP;
        s->at += array ? 2 : 1;
        return count_links(s, start, array ? *ret_parts : *ret_parts - 1);
}

static int scan_document(Scanner *s) {
        unsigned header_parts = 0;
        int r;

        while (s->at < s->size) {
                switch (s->text[s->at]) {
                case ' ':
                case '\t':
                case '\r':
                case '\n': s->at++; continue;
                case '#': skip_comment(s); continue;
                case '[': r = scan_header(s, &header_parts); break;
                default: {
                        unsigned depth = header_parts;

                        r = scan_key_of_value(s, &depth);
                        if (r == 0)
                                r = scan_value(s, depth);
                }
                }
                if (r != 0)
                        return r;
        }
        return 0;
}

int toml_scan(
        Arena *arena, const char *file, const char *text, size_t size, TomlScan *ret, Diagnostic *reterr) {
        /* The parser passes over a byte order mark without counting a column for it. */
        size_t start = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        Scanner s = {
                .arena = arena,
                .file = file,
                .text = text,
                .size = size,
                .at = start,
                .located = start,
                .line = 1,
                .column = 1,
                .scan = ret,
                .reterr = reterr,
        };
        size_t valid;
        int r;

        *ret = (TomlScan){};

        if (size > TOML_SIZE_MAX) {
                diagnostic_set(reterr, arena, (Place){ .file = file },
                        "file is too large: it may have %zu MiB", TOML_SIZE_MAX >> 20);
                return -EINVAL;
        }

        valid = utf8_valid_prefix(text, size);
        if (valid < size) {
                diagnostic_set(reterr, arena, locate(&s, valid), "not UTF-8: unexpected byte 0x%02x",
                        (unsigned char) text[valid]);
                return -EINVAL;
        }

        r = scan_document(&s);
        return r == SCAN_STOP ? 0 : r;
}

void toml_scan_done(TomlScan *scan) {
        free(scan->multiline);
        *scan = (TomlScan){};
}

int toml_error(Arena *arena, Place place, const char *message, size_t size, Diagnostic *reterr) {
        diagnostic_set(reterr, arena, place, "%.*s", (int) utf8_valid_prefix(message, size), message);
        return -EINVAL;
}
