/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sodium.h>
#include <sys/stat.h>

#include "minisign.h"
#include "util.h"

#define COMMENT_PREFIX         "untrusted comment:"
#define TRUSTED_COMMENT_PREFIX "trusted comment: "

/* What the lines of base64 hold, after two letters for the algorithm. */
#define KEY_BYTES       (2 + MINISIGN_ID_SIZE + crypto_sign_PUBLICKEYBYTES)
#define SIGNATURE_BYTES (2 + MINISIGN_ID_SIZE + crypto_sign_BYTES)

#define BLOCK_SIZE KIB(64)

static_assert(sizeof((MinisignKey){}.key) == crypto_sign_PUBLICKEYBYTES, "Ed25519");
static_assert(sizeof((MinisignSignature){}.signature) == crypto_sign_BYTES, "Ed25519");

/* ---- Parsing --------------------------------------------------------------------------------------------------------- */

typedef struct Line {
        const char *text;
        size_t size;
} Line;

/* Takes a line off the text, without its end, which may be that of Windows. False: there is none. */
static bool next_line(const char **text, size_t *size, Line *ret) {
        const char *end;

        if (*size == 0)
                return false;
        end = memchr(*text, '\n', *size);
        *ret = (Line){ .text = *text, .size = end ? (size_t) (end - *text) : *size };
        *size -= ret->size + (end ? 1 : 0);
        *text += ret->size + (end ? 1 : 0);
        if (ret->size > 0 && ret->text[ret->size - 1] == '\r')
                ret->size--;
        return true;
}

static bool begins_with(const Line *line, const char *prefix) {
        size_t n = strlen(prefix);

        return line->size >= n && memcmp(line->text, prefix, n) == 0;
}

static bool decode(const Line *line, uint8_t *ret, size_t size) {
        const char *end = NULL;
        size_t n = 0;

        return sodium_base642bin(ret, size, line->text, line->size, NULL, &n, &end,
                       sodium_base64_VARIANT_ORIGINAL) == 0 &&
               n == size && end == line->text + line->size;
}

/* Nothing but ends of lines. */
static bool is_blank(const char *text, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (text[i] != '\n' && text[i] != '\r')
                        return false;
        return true;
}

int minisign_parse_key(const char *text, MinisignKey *ret) {
        size_t size = strlen(text);
        uint8_t bytes[KEY_BYTES];
        Line line;

        if (!next_line(&text, &size, &line))
                return -EINVAL;
        if (begins_with(&line, COMMENT_PREFIX) && !next_line(&text, &size, &line))
                return -EINVAL;
        if (!decode(&line, bytes, sizeof(bytes)) || !is_blank(text, size))
                return -EINVAL;
        if (memcmp(bytes, "Ed", 2) != 0)
                return -EINVAL;
        memcpy(ret->id, bytes + 2, sizeof(ret->id));
        memcpy(ret->key, bytes + 2 + MINISIGN_ID_SIZE, sizeof(ret->key));
        return 0;
}

int minisign_parse_signature(const char *text, size_t size, MinisignSignature *ret) {
        uint8_t bytes[SIGNATURE_BYTES];
        Line comment, signature, trusted, global;
        MinisignSignature parsed = {};

        if (size > MINISIGN_TEXT_MAX)
                return -EINVAL;
        if (!next_line(&text, &size, &comment) || !next_line(&text, &size, &signature) ||
                !next_line(&text, &size, &trusted) || !next_line(&text, &size, &global) ||
                !is_blank(text, size))
                return -EINVAL;
        if (!begins_with(&comment, COMMENT_PREFIX) || !begins_with(&trusted, TRUSTED_COMMENT_PREFIX))
                return -EINVAL;
        if (!decode(&signature, bytes, sizeof(bytes)) ||
                !decode(&global, parsed.global, sizeof(parsed.global)))
                return -EINVAL;
        if (memcmp(bytes, "ED", 2) == 0)
                parsed.prehashed = true;
        else if (memcmp(bytes, "Ed", 2) != 0)
                return -EINVAL;
        memcpy(parsed.id, bytes + 2, sizeof(parsed.id));
        memcpy(parsed.signature, bytes + 2 + MINISIGN_ID_SIZE, sizeof(parsed.signature));
        parsed.trusted_comment = trusted.text + strlen(TRUSTED_COMMENT_PREFIX);
        parsed.trusted_comment_size = trusted.size - strlen(TRUSTED_COMMENT_PREFIX);
        *ret = parsed;
        return 0;
}

char *minisign_format_id(char buffer[static 2 * MINISIGN_ID_SIZE + 1], const uint8_t *id) {
        /* A number, of which the file has the low byte first. */
        for (size_t i = 0; i < MINISIGN_ID_SIZE; i++)
                (void) snprintf(buffer + 2 * i, 3, "%02X", id[MINISIGN_ID_SIZE - 1 - i]);
        return buffer;
}

/* ---- Verifying ------------------------------------------------------------------------------------------------------- */

/* The signed message is the content, or its hash. */
static int verify_message(const MinisignSignature *signature, const MinisignKey *keys, size_t n_keys,
        const uint8_t *message, size_t size) {
        uint8_t signed_comment[crypto_sign_BYTES + MINISIGN_TEXT_MAX];
        int r = -ENOKEY;

        if (signature->trusted_comment_size > MINISIGN_TEXT_MAX)
                return -EBADMSG;
        memcpy(signed_comment, signature->signature, crypto_sign_BYTES);
        memcpy(signed_comment + crypto_sign_BYTES, signature->trusted_comment,
                signature->trusted_comment_size);

        /* Ids are no secret and not unique: each key of that id is tried. */
        for (size_t i = 0; i < n_keys; i++) {
                if (memcmp(keys[i].id, signature->id, MINISIGN_ID_SIZE) != 0)
                        continue;
                r = -EBADMSG;
                if (crypto_sign_verify_detached(signature->signature, message, size, keys[i].key) == 0 &&
                        crypto_sign_verify_detached(signature->global, signed_comment,
                                crypto_sign_BYTES + signature->trusted_comment_size, keys[i].key) == 0)
                        return 0;
        }
        return r;
}

int minisign_verify(const MinisignSignature *signature, const MinisignKey *keys, size_t n_keys,
        const void *content, size_t size) {
        uint8_t hash[crypto_generichash_BYTES_MAX];

        if (!signature->prehashed)
                return verify_message(signature, keys, n_keys, content, size);
        (void) crypto_generichash(hash, sizeof(hash), content, size, NULL, 0);
        return verify_message(signature, keys, n_keys, hash, sizeof(hash));
}

static ssize_t read_at(int fd, void *buffer, size_t size, uint64_t offset) {
        for (;;) {
                ssize_t n = pread(fd, buffer, size, (off_t) offset);

                if (n >= 0)
                        return n;
                if (errno != EINTR)
                        return -errno;
        }
}

static int hash_file(int fd, uint8_t *ret, size_t size) {
        _cleanup_free_ uint8_t *block = malloc(BLOCK_SIZE);
        crypto_generichash_state state;
        uint64_t offset = 0;

        if (!block)
                return -ENOMEM;
        (void) crypto_generichash_init(&state, NULL, 0, size);
        for (;;) {
                ssize_t n = read_at(fd, block, BLOCK_SIZE, offset);

                if (n < 0)
                        return (int) n;
                if (n == 0)
                        break;
                (void) crypto_generichash_update(&state, block, (size_t) n);
                offset += (uint64_t) n;
        }
        (void) crypto_generichash_final(&state, ret, size);
        return 0;
}

/* Into memory and not mapped: the file may be truncated by somebody meanwhile. */
static int read_file(int fd, uint8_t **ret, size_t *ret_size) {
        _cleanup_free_ uint8_t *content = NULL;
        struct stat st;
        size_t size = 0;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size > (off_t) MINISIGN_LEGACY_MAX)
                return -EFBIG;
        content = malloc((size_t) st.st_size + 1);
        if (!content)
                return -ENOMEM;
        while (size < (size_t) st.st_size) {
                ssize_t n = read_at(fd, content + size, (size_t) st.st_size - size, size);

                if (n < 0)
                        return (int) n;
                if (n == 0)
                        break;
                size += (size_t) n;
        }
        *ret = TAKE_PTR(content);
        *ret_size = size;
        return 0;
}

int minisign_verify_fd(const MinisignSignature *signature, const MinisignKey *keys, size_t n_keys, int fd) {
        uint8_t hash[crypto_generichash_BYTES_MAX];
        _cleanup_free_ uint8_t *content = NULL;
        bool known = false;
        size_t size = 0;
        int r;

        /* Reading it all would be for nothing. */
        for (size_t i = 0; i < n_keys; i++)
                known = known || memcmp(keys[i].id, signature->id, MINISIGN_ID_SIZE) == 0;
        if (!known)
                return -ENOKEY;

        if (signature->prehashed) {
                r = hash_file(fd, hash, sizeof(hash));
                if (r < 0)
                        return r;
                return verify_message(signature, keys, n_keys, hash, sizeof(hash));
        }
        r = read_file(fd, &content, &size);
        if (r < 0)
                return r;
        return verify_message(signature, keys, n_keys, content, size);
}
