/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#define DIFF_CONTEXT 3 /* lines around a change; source: the default of diff -u */

/**
 * diff_unified() - what changed between two texts, as "diff -u" writes it and patch(1) reads it
 * @old_label, @new_label: what stands behind "---" and "+++"; with control characters, quotes or backslashes in it, it
 *                         is quoted like a C string, so that a path cannot forge a line
 * @old, @new:             contents, need not end in NUL; NULL for a file that does not exist (its label is then
 *                         /dev/null)
 * @limit_bytes:           the output ends before the line that would exceed it, with a last line
 *                         "… diff cut at N bytes" that is not counted; SIZE_MAX for no limit
 * @ret:                   malloc'ed, with a NUL after it, the caller frees; empty if there is no difference
 * @ret_size_bytes:        without that NUL; may be NULL
 *
 * Where either is not text (a NUL in its first 8 KiB, or not UTF-8), the output is the one line
 * "binary content differs: 12 → 4096 bytes". Control characters other than NUL are passed through: who prints to a
 * terminal escapes them.
 *
 * The difference is a shortest one. Where finding that would take too long (more than 1000 inserted and deleted lines
 * that the other text has too, in other places; or a text above 16 MiB) all common lines between the first and the last
 * change are shown as replaced too. With more than 1000000 lines in a text the output is one line, "content differs:
 * 12 → 4096 bytes, too many lines to compare". So time is bounded by 0.2 s or so beyond reading the texts, and memory
 * by about 100 bytes a line.
 *
 * Return: 0; -ENOMEM.
 */
int diff_unified(const char *old_label, const char *new_label, const char *old, size_t old_size_bytes,
        const char *new, size_t new_size_bytes, size_t limit_bytes, char **ret, size_t *ret_size_bytes);
