/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "arena.h"
#include "diagnostic.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of one document; what is larger is refused. Parsing takes up to 70 bytes of memory for each. */
#define TOML_SIZE_MAX ((size_t) 8 << 20)

/* Levels of nesting: the parts of the header, those of the key, and each bracket of an array or inline table. */
#define TOML_DEPTH_MAX 64

/* Parts of one key or header: `a.b.c` has three. */
#define TOML_KEY_PARTS_MAX 32

/* Bytes of one part of a key, as written. */
#define TOML_KEY_SIZE_MAX ((size_t) 4096)

/*
 * Tables and arrays that dotted keys, dotted headers and [[headers]] of one document may go through, all together:
 * `a.b = 1`, `[a.b]` and `[[b]]` count one each. The library searches the list of them for each one, which is
 * quadratic; at the limit that takes a second at worst.
 */
#define TOML_LINKS_MAX ((size_t) 64 << 10)

/**
 * toml_parse() - reads a TOML 1.0.0 document
 * @arena:  all of the result lives there, also the message of an error. What people write takes two to ten times
 *          its size, the worst (an array of digits) some 20 times. If the arena gets full, its `full` function must
 *          end the process, not jump out: the parser's own memory would be lost
 * @file:   goes into every Place as it is, not copied; may be NULL
 * @text:   the document; need not end in NUL; a byte order mark is passed over. Nothing of it is kept
 * @size_bytes: up to TOML_SIZE_MAX
 * @ret:    a table
 * @reterr: the first error, at its place (a document above TOML_SIZE_MAX has only the file)
 *
 * Every value and every key has the place where it was written, the column being counted in code points. A table that
 * has a header is placed at the header's bracket; one that exists only because longer headers name it, at the first
 * such header; one made by a dotted key, at its part of the key. An array of tables is placed at its first header.
 *
 * Members are in the order of their keys' places, that is as in the source; a table counts from where it is named
 * first, so `[a.b]`, `[c]`, `[a]` gives a, c.
 *
 * Date-times become RFC 3339 text with an upper case T, Z for a zero offset, always with seconds, and as many digits of
 * a fraction (9 at most) as are not trailing zeros. Strings written in triple quotes have `multiline` set. NUL may
 * be within strings and keys. Inf and nan are floats.
 *
 * The limits above bound time, which is near-linear in the size, and the depth of recursion here and in whoever walks
 * the values: they are at most 2 * TOML_DEPTH_MAX deep (each part of a header may be an array of tables).
 *
 * Source: https://toml.io/en/v1.0.0; toml++ does the parsing.
 * Return: 0; -EINVAL if it is no such document or exceeds a limit; -ENOMEM. *reterr is filled in whenever it is not 0.
 */
int toml_parse(
        Arena *arena, const char *file, const char *text, size_t size_bytes, Value *ret, Diagnostic *reterr);

#ifdef __cplusplus
}
#endif
