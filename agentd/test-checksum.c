/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/mman.h>

#include "checksum.h"
#include "test.h"

/* Of "abc". Source: FIPS 180-2, appendices B.1 and C.1; RFC 7693, appendix A; BLAKE2b-256 by b2sum -l 256. */
#define SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA512                                                             \
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" \
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
#define BLAKE2B                                                            \
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1" \
        "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
#define BLAKE2B_256 "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"

static int file_of(const char *content, size_t size) {
        int fd = memfd_create("test", MFD_CLOEXEC);

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(write_full(fd, content, size));
        return fd;
}

TEST(checksums_of_a_file) {
        static const struct {
                const char *text;
                int r;
        } cases[] = {
                { "sha256:" SHA256, 1 },
                { SHA256, 1 },
                { "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", 1 },
                { "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015AD", 1 },
                { "sha512:" SHA512, 1 },
                { "blake2b:" BLAKE2B, 1 },
                { "blake2b:" BLAKE2B_256, 1 },
                { "sha256:" BLAKE2B_256, 0 },
                { "blake2b:" SHA256, 0 },
                { "blake2b:" SHA512, 0 },
        };
        int fd = file_of("abc", 3);

        FOREACH_ELEMENT(c, cases) {
                Checksum checksum;

                ASSERT_OK(checksum_parse(c->text, &checksum));
                ASSERT_EQ(checksum_matches(&checksum, fd), c->r);
                ASSERT_EQ(lseek(fd, 0, SEEK_CUR), 3); /* it stays where it is */
        }
        safe_close(fd);
}

TEST(a_checksum_is_told_as_it_is_written) {
        static const char *const cases[] = { "sha256:" SHA256, "sha512:" SHA512, "blake2b:" BLAKE2B,
                "blake2b:" BLAKE2B_256 };
        int fd = file_of("abc", 3);

        FOREACH_ELEMENT(c, cases) {
                char text[CHECKSUM_TEXT_MAX];
                Checksum should, is;

                ASSERT_OK(checksum_parse(*c, &should));
                ASSERT_OK(checksum_of_file(fd, &should, &is));
                ASSERT_TRUE(checksum_equal(&is, &should));
                ASSERT_STREQ(checksum_format(text, &is), *c);
                is.bytes[31] ^= 1;
                ASSERT_FALSE(checksum_equal(&is, &should));
        }
        safe_close(fd);
}

TEST(checksums_that_are_none) {
        static const char *const cases[] = {
                "",
                "sha256:",
                "sha256",
                "abc",
                ":" SHA256,
                " " SHA256,
                SHA256 " ",
                SHA256 "0",
                "sha256: " SHA256,
                "SHA256:" SHA256,
                "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
                "md5:900150983cd24fb0d6963f7d28e17f72",
                "sha256:" SHA512,
                "sha512:" SHA256,
                SHA512,
                "blake2b:" SHA256 "00",
                "blake2b:",
                "sha256:za7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
                "sha256:ba:7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        };

        FOREACH_ELEMENT(c, cases) {
                Checksum checksum = { .size = 42 };

                ASSERT_EQ(checksum_parse(*c, &checksum), -EINVAL);
                ASSERT_EQ(checksum.size, 42);
        }
}

TEST(a_checksum_of_much_and_of_nothing) {
        static char big[300000];
        uint8_t hash[32];
        Checksum checksum = { .size = 32 };
        int fd, pipe_fds[2];

        memset(big, 'x', sizeof(big));
        (void) crypto_hash_sha256(hash, (uint8_t *) big, sizeof(big));
        memcpy(checksum.bytes, hash, sizeof(hash));
        fd = file_of(big, sizeof(big));
        ASSERT_EQ(checksum_matches(&checksum, fd), 1);
        ASSERT_EQ(ftruncate(fd, sizeof(big) - 1), 0);
        ASSERT_EQ(checksum_matches(&checksum, fd), 0);
        safe_close(fd);

        ASSERT_OK(checksum_parse(
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", &checksum));
        fd = file_of("", 0);
        ASSERT_EQ(checksum_matches(&checksum, fd), 1);
        safe_close(fd);

        ASSERT_EQ(pipe(pipe_fds), 0);
        ASSERT_EQ(checksum_matches(&checksum, pipe_fds[0]), -ESPIPE);
        safe_close(pipe_fds[0]);
        safe_close(pipe_fds[1]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN(checksums_of_a_file),
                RUN(a_checksum_is_told_as_it_is_written),
                RUN(checksums_that_are_none),
                RUN(a_checksum_of_much_and_of_nothing),
        };

        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
