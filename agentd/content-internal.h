/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the content store share: content.c (opening, writing), content-read.c, content-collect.c. */

#include <sodium.h>
#include <zstd.h>

#include "content.h"

/*
 * A file, numbers with the low byte first:
 *
 *      header
 *      sealed: 24 bytes, the header of libsodium's secretstream
 *      blocks, each: u32 size of what follows, with CONTENT_PACKED; so many bytes
 *      sealed: an empty block, the final one, with the header as additional data
 *
 * Each block holds CONTENT_BLOCK bytes of content, the last one what is left. CONTENT_PACKED: they are one zstd frame. If
 * sealed what is there of a block is encrypted, with its u32 as additional data.
 */
typedef struct ContentHeader {
        uint8_t magic[8];
        uint8_t version;
        uint8_t flags; /* CONTENT_SEALED */
        uint8_t reserved[6];
        uint8_t size[8];   /* of the content */
        uint8_t stored[8]; /* of all of the file */
} ContentHeader;

#define CONTENT_MAGIC   "agentdco"
#define CONTENT_VERSION 1
#define CONTENT_SEALED  (1u << 0)
#define CONTENT_PACKED  (UINT32_C(1) << 31)
#define CONTENT_BLOCK   KIB(128)

#define CONTENT_SEAL_HEADER crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define CONTENT_SEAL_EXTRA  crypto_secretstream_xchacha20poly1305_ABYTES

/* A file that is being written, or removed. */
#define CONTENT_TEMPORARY ".new-"

typedef struct ContentKeys {
        uint8_t address[crypto_generichash_KEYBYTES];
        uint8_t file[crypto_secretstream_xchacha20poly1305_KEYBYTES];
} ContentKeys;

struct ContentStore {
        int state_fd; /* the directory */
        int fd;       /* content/ in it */
        bool make;
        bool has_keys;
        ContentKeys keys;

        /* For writing; NULL before the first. */
        uint8_t *plain; /* CONTENT_BLOCK */
        uint8_t *packed;
        uint8_t *out;
        ZSTD_CCtx *packer;
        ZSTD_DCtx *unpacker;
};

/* "a1/a1b2…" */
void content_path(char path[static CONTENT_NAME_SIZE + 3], const char *name);

/* Reads the keys into the store. make: makes them if there are none. Return: 0; -ENOENT; -EBADMSG, -EPERM; other -errno. */
int content_load_keys(ContentStore *store, bool make);

void content_hash_begin(
        crypto_generichash_state *state, const ContentKeys *keys); /* keys NULL: of what is not sealed */
void content_hash_end(crypto_generichash_state *state, char name[static CONTENT_NAME_SIZE]);

/*
 * content_decode() - reads a file of the store, from its start
 * @keys: of what is sealed; NULL: there are none
 * @name: that it should have
 *
 * Return: as content_get().
 */
int content_decode(int fd, const ContentKeys *keys, ZSTD_DCtx *unpacker, const char *name, ContentSink sink,
        void *userdata, ContentKept *ret, const char **reterr);

/* Reads and judges the header alone. Return: 0; -EBADMSG; -EPROTONOSUPPORT; other -errno. */
int content_read_header(
        int fd, ContentHeader *ret_header, uint64_t *ret_size, bool *ret_sealed, const char **reterr);

static inline void content_put_number(uint8_t *p, uint64_t number, size_t n) {
        for (size_t i = 0; i < n; i++)
                p[i] = (uint8_t) (number >> (8 * i));
}

static inline uint64_t content_get_number(const uint8_t *p, size_t n) {
        uint64_t number = 0;

        for (size_t i = 0; i < n; i++)
                number |= (uint64_t) p[i] << (8 * i);
        return number;
}
