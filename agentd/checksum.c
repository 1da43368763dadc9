/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "checksum.h"

#define READ_SIZE KIB(64)

int checksum_parse(const char *text, Checksum *ret) {
        static const struct {
                const char *prefix;
                ChecksumKind kind;
                size_t sizes[2];
        } forms[] = {
                { "sha256:", CHECKSUM_SHA256, { 32 } },
                { "sha512:", CHECKSUM_SHA512, { 64 } },
                { "blake2b:", CHECKSUM_BLAKE2B, { 32, 64 } },
                { "", CHECKSUM_SHA256, { 32 } },
        };

        assert(text);
        assert(ret);

        FOREACH_ELEMENT(form, forms) {
                const char *hex = startswith(text, form->prefix), *end;
                Checksum sum = { .kind = form->kind };
                size_t length;

                if (!hex)
                        continue;
                length = strlen(hex);
                if (length != 2 * form->sizes[0] && (form->sizes[1] == 0 || length != 2 * form->sizes[1]))
                        return -EINVAL;
                if (sodium_hex2bin(sum.bytes, sizeof(sum.bytes), hex, length, NULL, &sum.size, &end) != 0 ||
                        *end)
                        return -EINVAL;
                *ret = sum;
                return 0;
        }
        return -EINVAL;
}

typedef union Hash {
        crypto_hash_sha256_state sha256;
        crypto_hash_sha512_state sha512;
        crypto_generichash_state blake2b;
} Hash;

static void hash_begin(Hash *hash, const Checksum *checksum) {
        switch (checksum->kind) {
        case CHECKSUM_SHA256: (void) crypto_hash_sha256_init(&hash->sha256); break;
        case CHECKSUM_SHA512: (void) crypto_hash_sha512_init(&hash->sha512); break;
        default: (void) crypto_generichash_init(&hash->blake2b, NULL, 0, checksum->size);
        }
}

static void hash_add(Hash *hash, const Checksum *checksum, const uint8_t *data, size_t size) {
        switch (checksum->kind) {
        case CHECKSUM_SHA256: (void) crypto_hash_sha256_update(&hash->sha256, data, size); break;
        case CHECKSUM_SHA512: (void) crypto_hash_sha512_update(&hash->sha512, data, size); break;
        default: (void) crypto_generichash_update(&hash->blake2b, data, size);
        }
}

static void hash_end(Hash *hash, const Checksum *checksum, uint8_t sum[static CHECKSUM_SIZE_MAX]) {
        switch (checksum->kind) {
        case CHECKSUM_SHA256: (void) crypto_hash_sha256_final(&hash->sha256, sum); break;
        case CHECKSUM_SHA512: (void) crypto_hash_sha512_final(&hash->sha512, sum); break;
        default: (void) crypto_generichash_final(&hash->blake2b, sum, checksum->size);
        }
}

int checksum_of_file(int fd, const Checksum *like, Checksum *ret) {
        _cleanup_free_ uint8_t *buffer = malloc(READ_SIZE);
        Checksum sum;
        off_t position = 0;
        Hash hash;

        assert(like);
        assert(fd >= 0);
        assert(ret);

        if (!buffer)
                return -ENOMEM;
        sum = (Checksum){ .kind = like->kind, .size = like->size };
        hash_begin(&hash, like);
        for (;;) {
                ssize_t n = pread(fd, buffer, READ_SIZE, position);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                hash_add(&hash, like, buffer, (size_t) n);
                position += n;
        }
        hash_end(&hash, like, sum.bytes);
        *ret = sum;
        return 0;
}

bool checksum_equal(const Checksum *a, const Checksum *b) {
        return a->kind == b->kind && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

int checksum_matches(const Checksum *checksum, int fd) {
        Checksum sum;
        int r;

        r = checksum_of_file(fd, checksum, &sum);
        return r < 0 ? r : checksum_equal(&sum, checksum);
}

char *checksum_format(char buffer[static CHECKSUM_TEXT_MAX], const Checksum *checksum) {
        static const char *const prefixes[_CHECKSUM_KIND_MAX] = {
                [CHECKSUM_SHA256] = "sha256:",
                [CHECKSUM_SHA512] = "sha512:",
                [CHECKSUM_BLAKE2B] = "blake2b:",
        };
        size_t n = strlen(prefixes[checksum->kind]);

        memcpy(buffer, prefixes[checksum->kind], n);
        (void) sodium_bin2hex(buffer + n, CHECKSUM_TEXT_MAX - n, checksum->bytes, checksum->size);
        return buffer;
}
