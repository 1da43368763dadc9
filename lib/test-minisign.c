/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <sodium.h>
#include <sys/mman.h>

#include "minisign.h"

/* Made by minisign 0.11, of "hello\n". */
#define KEY_LINE "RWS4JSHgUZGkgxuIhS5j4WPARY22PvEcz+2a6bGD5cosrhW5AwhXSXoU"
#define KEY_FILE "untrusted comment: minisign public key 83A49151E02125B8\n" KEY_LINE "\n"
#define OTHER_ID "RWS5JSHgUZGkgxuIhS5j4WPARY22PvEcz+2a6bGD5cosrhW5AwhXSXoU"
#define SAME_ID  "RWS4JSHgUZGkgwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

#define COMMENT "untrusted comment: signature from minisign secret key\n"
#define HASHED                                                                                             \
        "RUS4JSHgUZGkgw474dG+TsGnWB8KIONuxH+dryZfGLgtvfu2bb6lIflw1IA2L04o+Qi4vIQM3BDNXD5kIR/cKyFx0cYF4FJM" \
        "+Aw=\n"
#define HASHED_COMMENT "trusted comment: a trusted comment\n"
#define HASHED_GLOBAL \
        "7x884CnttaMk9BYIydDVit92HOcsY8pPe3L2wQc30C9aa/Cq64HWBugGfUTKCYrvrmZOFRSPWRBtEjNUgXXsCQ==\n"
#define HASHED_FILE COMMENT HASHED HASHED_COMMENT HASHED_GLOBAL
#define LEGACY_FILE                                                                                        \
        COMMENT                                                                                            \
        "RWS4JSHgUZGkg7Nu6R8wE+pE7ejOsnVBb8IaC3Gd0by/xWiXwbBNjVlvr0yrzyXJEybLq4TPfebljoM45hhP/OTbORZf31dZ" \
        "lQg=\n"                                                                                           \
        "trusted comment: old kind\n"                                                                      \
        "PqWtYn6spk00D0qZKVVSTnwGZxKeX7bgJn/4lnluJqgkcnRxJI9wSEXTQ6RMHbJyCUe1eVYeTC2zd5EWwSEUDA==\n"

static int file_of(const char *content, size_t size) {
        int fd = memfd_create("content", MFD_CLOEXEC);

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(write_full(fd, content, size));
        return fd;
}

TEST(reads_keys) {
        static const struct {
                const char *text;
                int r;
        } cases[] = {
                { KEY_LINE, 0 },
                { KEY_LINE "\n", 0 },
                { KEY_FILE, 0 },
                { "untrusted comment: \r\n" KEY_LINE "\r\n\r\n", 0 },
                { "", -EINVAL },
                { "\n", -EINVAL },
                { "untrusted comment: nothing else", -EINVAL },
                { "untrusted comment: nothing else\n", -EINVAL },
                { "a comment\n" KEY_LINE, -EINVAL },
                { " " KEY_LINE, -EINVAL },
                { KEY_LINE " ", -EINVAL },
                { KEY_LINE "\n" KEY_LINE, -EINVAL },
                { "RWS4JSHgUZGkgxuIhS5j4WPARY22PvEcz+2a6bGD5cosrhW5AwhXSXo", -EINVAL },
                { "RWS4JSHgUZGkgxuIhS5j4WPARY22PvEcz+2a6bGD5cosrhW5AwhXSXoUAAAA", -EINVAL },
                { "RWS4JSHgUZGkgxuIhS5j4WPARY22PvEcz-2a6bGD5cosrhW5AwhXSXoU", -EINVAL },
                { "RUS4JSHgUZGkgxuIhS5j4WPARY22PvEcz+2a6bGD5cosrhW5AwhXSXoU", -EINVAL }, /* algorithm "ED" */
                { "AAC4JSHgUZGkgxuIhS5j4WPARY22PvEcz+2a6bGD5cosrhW5AwhXSXoU", -EINVAL },
        };

        FOREACH_ELEMENT(c, cases) {
                char id[2 * MINISIGN_ID_SIZE + 1];
                MinisignKey key = { .id = { 42 } };

                ASSERT_EQ(minisign_parse_key(c->text, &key), c->r);
                if (c->r == 0)
                        ASSERT_STREQ(minisign_format_id(id, key.id), "83A49151E02125B8");
                else
                        ASSERT_EQ(key.id[0], 42);
        }
}

TEST(reads_signatures) {
        static const struct {
                const char *text;
                int r;
        } cases[] = {
                { HASHED_FILE, 0 },
                { HASHED_FILE "\r\n\n", 0 },
                { LEGACY_FILE, 0 },
                { "untrusted comment:\n" HASHED HASHED_COMMENT HASHED_GLOBAL, 0 },
                { "", -EINVAL },
                { "<html>404</html>", -EINVAL },
                { COMMENT, -EINVAL },
                { COMMENT HASHED, -EINVAL },
                { COMMENT HASHED HASHED_COMMENT, -EINVAL },
                { HASHED HASHED_COMMENT HASHED_GLOBAL, -EINVAL },
                { COMMENT HASHED HASHED_GLOBAL HASHED_COMMENT, -EINVAL },
                { COMMENT HASHED COMMENT HASHED_GLOBAL, -EINVAL },
                { COMMENT "\n" HASHED_COMMENT HASHED_GLOBAL, -EINVAL },
                { COMMENT HASHED_GLOBAL HASHED_COMMENT HASHED, -EINVAL },
                { COMMENT HASHED HASHED_COMMENT HASHED_GLOBAL "more\n", -EINVAL },
                { COMMENT KEY_LINE "\n" HASHED_COMMENT HASHED_GLOBAL, -EINVAL },
                { COMMENT "U" HASHED HASHED_COMMENT HASHED_GLOBAL, -EINVAL },
        };

        FOREACH_ELEMENT(c, cases) {
                MinisignSignature signature = { .id = { 42 } };

                ASSERT_EQ(minisign_parse_signature(c->text, strlen(c->text), &signature), c->r);
                if (c->r == 0)
                        ASSERT_EQ(signature.prehashed, c->text != (const char *) cases[2].text);
                else
                        ASSERT_EQ(signature.id[0], 42);
        }
}

TEST(an_endless_comment_is_refused) {
        size_t size = MINISIGN_TEXT_MAX + 1;
        _cleanup_free_ char *text = malloc(size);
        MinisignSignature signature;

        ASSERT_NOT_NULL(text);
        memset(text, 'x', size);
        memcpy(text, HASHED_FILE, sizeof(HASHED_FILE) - 1);
        ASSERT_EQ(minisign_parse_signature(text, size, &signature), -EINVAL);
}

TEST(verifies_what_minisign_has_signed) {
        static const struct {
                const char *signature, *key, *content;
                int r;
        } cases[] = {
                { HASHED_FILE, KEY_LINE, "hello\n", 0 },
                { LEGACY_FILE, KEY_LINE, "hello\n", 0 },
                { HASHED_FILE, KEY_LINE, "hello", -EBADMSG },
                { LEGACY_FILE, KEY_LINE, "hello", -EBADMSG },
                { HASHED_FILE, KEY_LINE, "", -EBADMSG },
                { LEGACY_FILE, KEY_LINE, "", -EBADMSG },
                { HASHED_FILE, OTHER_ID, "hello\n", -ENOKEY },
                { HASHED_FILE, SAME_ID, "hello\n", -EBADMSG },
                { LEGACY_FILE, SAME_ID, "hello\n", -EBADMSG },
                /* The comment is signed as well, and the signature belongs to it. */
                { COMMENT HASHED "trusted comment: a trusted commen!\n" HASHED_GLOBAL, KEY_LINE, "hello\n",
                        -EBADMSG },
                { COMMENT HASHED "trusted comment: \n" HASHED_GLOBAL, KEY_LINE, "hello\n", -EBADMSG },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_close_ int fd = file_of(c->content, strlen(c->content));
                MinisignSignature signature;
                MinisignKey keys[3] = {};

                ASSERT_OK(minisign_parse_signature(c->signature, strlen(c->signature), &signature));
                ASSERT_OK(minisign_parse_key(OTHER_ID, &keys[0]));
                ASSERT_OK(minisign_parse_key(c->key, &keys[1]));
                ASSERT_OK(minisign_parse_key(SAME_ID, &keys[2]));
                ASSERT_EQ(minisign_verify(&signature, &keys[1], 1, c->content, strlen(c->content)), c->r);
                ASSERT_EQ(minisign_verify_fd(&signature, &keys[1], 1, fd), c->r);
                if (c->r == 0) {
                        ASSERT_OK(minisign_verify_fd(&signature, keys, 3, fd));
                        ASSERT_EQ(minisign_verify_fd(&signature, keys, 1, fd), -ENOKEY);
                        ASSERT_EQ(minisign_verify_fd(&signature, keys, 0, fd), -ENOKEY);
                }
        }
}

TEST(a_signature_has_one_spelling) {
        /* The order of the group, low byte first. Source: RFC 8032, 5.1. */
        static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10 };
        MinisignSignature signature;
        MinisignKey key;

        ASSERT_OK(minisign_parse_key(KEY_LINE, &key));
        for (int which = 0; which < 2; which++) {
                uint8_t *s;
                unsigned carry = 0;

                ASSERT_OK(minisign_parse_signature(HASHED_FILE, strlen(HASHED_FILE), &signature));
                ASSERT_OK(minisign_verify(&signature, &key, 1, "hello\n", 6));
                s = (which == 0 ? signature.signature : signature.global) + 32;
                for (size_t i = 0; i < sizeof(order); i++) {
                        carry += s[i] + order[i];
                        s[i] = (uint8_t) carry;
                        carry >>= 8;
                }
                ASSERT_EQ(minisign_verify(&signature, &key, 1, "hello\n", 6), -EBADMSG);
        }
}

TEST(lines_may_end_as_on_windows) {
        char text[2 * sizeof(HASHED_FILE)], *to = text;
        MinisignSignature signature;
        MinisignKey key;

        for (const char *p = HASHED_FILE; *p; p++) {
                if (*p == '\n')
                        *to++ = '\r';
                *to++ = *p;
        }
        ASSERT_OK(minisign_parse_key(KEY_LINE, &key));
        ASSERT_OK(minisign_parse_signature(text, (size_t) (to - text), &signature));
        ASSERT_OK(minisign_verify(&signature, &key, 1, "hello\n", 6));
}

TEST(files_larger_than_a_block_are_hashed_whole) {
        size_t size = 3 * KIB(64) + 17;
        _cleanup_free_ char *content = malloc(size);
        _cleanup_close_ int fd = -EBADF;
        MinisignSignature signature = {
                .prehashed = true, .trusted_comment = "c", .trusted_comment_size = 1
        };
        uint8_t secret[crypto_sign_SECRETKEYBYTES], hash[64], comment[65];
        MinisignKey key = {};

        ASSERT_NOT_NULL(content);
        memset(content, 'y', size);
        ASSERT_OK(crypto_sign_keypair(key.key, secret));
        (void) crypto_generichash(hash, sizeof(hash), (const uint8_t *) content, size, NULL, 0);
        (void) crypto_sign_detached(signature.signature, NULL, hash, sizeof(hash), secret);
        memcpy(comment, signature.signature, 64);
        comment[64] = 'c';
        (void) crypto_sign_detached(signature.global, NULL, comment, sizeof(comment), secret);

        fd = file_of(content, size);
        ASSERT_OK(minisign_verify_fd(&signature, &key, 1, fd));
        ASSERT_EQ(lseek(fd, 0, SEEK_CUR), (off_t) size);
        ASSERT_EQ(pwrite(fd, "z", 1, (off_t) size - 1), 1);
        ASSERT_EQ(minisign_verify_fd(&signature, &key, 1, fd), -EBADMSG);
}

TEST(the_old_kind_is_not_read_into_memory_without_end) {
        _cleanup_close_ int fd = memfd_create("content", MFD_CLOEXEC);
        MinisignSignature signature;
        MinisignKey key;

        ASSERT_OK(ftruncate(fd, (off_t) MINISIGN_LEGACY_MAX + 1));
        ASSERT_OK(minisign_parse_key(KEY_LINE, &key));
        ASSERT_OK(minisign_parse_signature(LEGACY_FILE, sizeof(LEGACY_FILE) - 1, &signature));
        ASSERT_EQ(minisign_verify_fd(&signature, &key, 1, fd), -EFBIG);
        ASSERT_EQ(minisign_verify_fd(&signature, &key, 1, -EBADF), -EBADF);
}

RUN_TESTS(RUN(reads_keys), RUN(reads_signatures), RUN(an_endless_comment_is_refused),
        RUN(verifies_what_minisign_has_signed), RUN(a_signature_has_one_spelling),
        RUN(lines_may_end_as_on_windows), RUN(files_larger_than_a_block_are_hashed_whole),
        RUN(the_old_kind_is_not_read_into_memory_without_end))
