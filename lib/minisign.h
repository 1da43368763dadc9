/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Signatures and public keys in minisign's format: Ed25519 over a file, or over its BLAKE2b hash, and a comment that is
 * signed as well. Nothing here logs; all functions return 0 or -errno, and leave ret_ parameters untouched when they fail.
 *
 * Source: https://jedisct1.github.io/minisign/, "Signature format" and "Public key format".
 */

#define MINISIGN_ID_SIZE 8

/* A signature of the old kind is over the whole content, which has to be in memory for it. */
#define MINISIGN_LEGACY_MAX ((size_t) 64 << 20)

/* A signature file is never larger: comments of 1 and 8 KiB. Source: COMMENTMAXBYTES, TRUSTEDCOMMENTMAXBYTES of minisign. */
#define MINISIGN_TEXT_MAX ((size_t) 16 << 10)

typedef struct MinisignKey {
        uint8_t id[MINISIGN_ID_SIZE];
        uint8_t key[32];
} MinisignKey;

typedef struct MinisignSignature {
        uint8_t id[MINISIGN_ID_SIZE]; /* of the key that is said to have made it */
        bool prehashed;               /* of the BLAKE2b-512 hash of the content; otherwise of the content */
        uint8_t signature[64];
        uint8_t global[64];          /* of the signature and the trusted comment */
        const char *trusted_comment; /* points into the text, without its prefix; not NUL-terminated */
        size_t trusted_comment_size;
} MinisignSignature;

/**
 * minisign_parse_key() - reads a public key
 * @text: the line of base64 alone, "RWQ…", or a whole file of two lines, ended by NUL
 *
 * Return: 0; -EINVAL.
 */
int minisign_parse_key(const char *text, MinisignKey *ret);

/**
 * minisign_parse_signature() - reads a signature file
 * @text: must stay for as long as *ret is used
 *
 * Return: 0; -EINVAL.
 */
int minisign_parse_signature(const char *text, size_t size, MinisignSignature *ret);

/**
 * minisign_verify() - did one of these keys sign this content, and the comment?
 *
 * Return: 0; -ENOKEY: it is said to be made by none of these keys; -EBADMSG: it is not right; minisign_verify_fd(), of the open
 *         file from its start, whose offset does not move: also -EFBIG if it is larger than MINISIGN_LEGACY_MAX and the
 *         signature of the old kind, -ENOMEM and -errno of reading.
 */
int minisign_verify(const MinisignSignature *signature, const MinisignKey *keys, size_t n_keys,
        const void *content, size_t size);
int minisign_verify_fd(const MinisignSignature *signature, const MinisignKey *keys, size_t n_keys, int fd);

/* The id as minisign prints it: 16 hexadecimal digits. Returns buffer. */
char *minisign_format_id(char buffer[static 2 * MINISIGN_ID_SIZE + 1], const uint8_t *id);
