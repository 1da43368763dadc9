/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Checksums as roles write them: "sha256:HEX", "sha512:HEX", "blake2b:HEX" (256 or 512 bits), or a plain HEX of SHA-256. */

#include <sodium.h>

#include "util.h"

#define CHECKSUM_SIZE_MAX 64

#define CHECKSUM_FORMS                                                            \
        "sha256: and 64 hex digits, sha512: and 128, or blake2b: and 64 or 128; " \
        "or 64 hex digits of SHA-256 alone"

typedef enum ChecksumKind {
        CHECKSUM_SHA256,
        CHECKSUM_SHA512,
        CHECKSUM_BLAKE2B,
        _CHECKSUM_KIND_MAX,
} ChecksumKind;

typedef struct Checksum {
        ChecksumKind kind;
        size_t size; /* bytes */
        uint8_t bytes[CHECKSUM_SIZE_MAX];
} Checksum;

/* Hex digits may be of either case. Return: 0; -EINVAL. */
int checksum_parse(const char *text, Checksum *ret);

/*
 * Is it that of the file, from its start to its end? The offset stays where it is. Return: 1; 0; -errno of reading.
 */
int checksum_matches(const Checksum *checksum, int fd);

/* That of a file, of the kind and size of another. Return: 0; -errno of reading. */
int checksum_of_file(int fd, const Checksum *like, Checksum *ret);

bool checksum_equal(const Checksum *a, const Checksum *b);

/* "sha512:", digits, NUL. */
#define CHECKSUM_TEXT_MAX (sizeof("blake2b:") + 2 * CHECKSUM_SIZE_MAX)

/* "sha256:HEX", in small letters. Returns buffer. */
char *checksum_format(char buffer[static CHECKSUM_TEXT_MAX], const Checksum *checksum);
