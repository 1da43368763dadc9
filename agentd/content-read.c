/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading a file of the content store. What is in it may be anything: a power cut comes when it likes. */

#include <assert.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "content-internal.h"

static int damaged(const char **reterr, const char *why) {
        *reterr = why;
        return -EBADMSG;
}

/* Return: 0; -EBADMSG if the file ends before; other -errno. */
static int read_exactly(int fd, void *buffer, size_t size, const char **reterr) {
        ssize_t n = read_full(fd, buffer, size);

        if (n < 0) {
                *reterr = "it cannot be read";
                return (int) n;
        }
        return (size_t) n == size ? 0 : damaged(reterr, "it is cut short, as by a power cut");
}

int content_read_header(
        int fd, ContentHeader *ret_header, uint64_t *ret_size, bool *ret_sealed, const char **reterr) {
        ContentHeader header;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0) {
                *reterr = "it cannot be looked at";
                return -errno;
        }
        if (!S_ISREG(st.st_mode))
                return damaged(reterr, "it is no file");
        r = read_exactly(fd, &header, sizeof(header), reterr);
        if (r < 0)
                return r;
        if (sodium_is_zero((const uint8_t *) &header, sizeof(header)))
                return damaged(reterr, "it is empty, as after a power cut");
        if (memcmp(header.magic, CONTENT_MAGIC, sizeof(header.magic)) != 0)
                return damaged(reterr, "it is no content that agentd has stored");
        if (header.version != CONTENT_VERSION) {
                *reterr = "it was stored by another version of agentd";
                return -EPROTONOSUPPORT;
        }
        if ((header.flags & ~CONTENT_SEALED) != 0 ||
                !sodium_is_zero(header.reserved, sizeof(header.reserved)))
                return damaged(reterr, "its header is damaged");
        if (content_get_number(header.stored, 8) > (uint64_t) st.st_size)
                return damaged(reterr, "it is cut short, as by a power cut");
        if (content_get_number(header.stored, 8) < (uint64_t) st.st_size)
                return damaged(reterr, "it is longer than it should be");

        *ret_header = header;
        *ret_size = content_get_number(header.size, 8);
        *ret_sealed = header.flags & CONTENT_SEALED;
        return 0;
}

typedef struct Reader {
        int fd;
        bool sealed;
        crypto_secretstream_xchacha20poly1305_state seal;
        ZSTD_DCtx *unpacker;
        size_t block;            /* the largest there can be */
        uint8_t *in, *out, *raw; /* as read; the content; unsealed, packed */
} Reader;

static void reader_done(Reader *reader) {
        if (reader->sealed && reader->out)
                sodium_memzero(reader->out, MAX(reader->block, (size_t) 1));
        if (reader->sealed && reader->raw)
                sodium_memzero(reader->raw, MAX(reader->block, (size_t) 1));
        free(reader->in);
        free(reader->out);
        free(reader->raw);
        sodium_memzero(&reader->seal, sizeof(reader->seal));
}

/* One block, of `wanted` bytes of content. */
static int read_block(Reader *reader, size_t wanted, const uint8_t **ret, const char **reterr) {
        size_t extra = reader->sealed ? CONTENT_SEAL_EXTRA : 0, size, n;
        const uint8_t *data = reader->in;
        uint8_t word[4], tag;
        bool packed;
        int r;

        r = read_exactly(reader->fd, word, sizeof(word), reterr);
        if (r < 0)
                return r;
        size = content_get_number(word, 4) & ~CONTENT_PACKED;
        packed = content_get_number(word, 4) & CONTENT_PACKED;
        /* What is packed is smaller, else it would not be. */
        if (size < extra || (packed ? size - extra >= wanted : size - extra != wanted))
                return damaged(reterr, "a block of it is damaged");
        r = read_exactly(reader->fd, reader->in, size, reterr);
        if (r < 0)
                return r;
        size -= extra;
        if (reader->sealed) {
                if (crypto_secretstream_xchacha20poly1305_pull(&reader->seal, reader->raw, NULL, &tag,
                            reader->in, size + extra, word, sizeof(word)) != 0)
                        return damaged(
                                reterr, "a block of it is damaged, or was sealed with another content.key");
                if (tag != crypto_secretstream_xchacha20poly1305_TAG_MESSAGE)
                        return damaged(reterr, "it ends too early");
                data = reader->raw;
        }
        if (packed) {
                n = ZSTD_decompressDCtx(reader->unpacker, reader->out, wanted, data, size);
                if (ZSTD_isError(n) || n != wanted)
                        return damaged(reterr, "a block of it is damaged");
                data = reader->out;
        }
        *ret = data;
        return 0;
}

/* What is sealed has a last block that says so. */
static int read_final(Reader *reader, const ContentHeader *header, const char **reterr) {
        uint8_t word[4], block[CONTENT_SEAL_EXTRA], tag;
        int r;

        r = read_exactly(reader->fd, word, sizeof(word), reterr);
        if (r < 0)
                return r;
        if (content_get_number(word, 4) != CONTENT_SEAL_EXTRA)
                return damaged(reterr, "its end is damaged");
        r = read_exactly(reader->fd, block, sizeof(block), reterr);
        if (r < 0)
                return r;
        if (crypto_secretstream_xchacha20poly1305_pull(&reader->seal, NULL, NULL, &tag, block, sizeof(block),
                    (const uint8_t *) header, sizeof(*header)) != 0)
                return damaged(reterr,
                        "its header or its end is damaged, or it was sealed with another content.key");
        return tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL
                       ? 0
                       : damaged(reterr, "its end is damaged");
}

int content_decode(int fd, const ContentKeys *keys, ZSTD_DCtx *unpacker, const char *name, ContentSink sink,
        void *userdata, ContentKept *ret, const char **reterr) {
        _cleanup_(reader_done) Reader reader = { .fd = fd, .unpacker = unpacker };
        crypto_generichash_state hash;
        ContentKept kept = {};
        ContentHeader header;
        char rest;
        int r;

        assert(fd >= 0);
        assert(name);
        assert(reterr);

        r = content_read_header(fd, &header, &kept.size, &kept.sealed, reterr);
        if (r < 0)
                return r;
        reader.sealed = kept.sealed;
        if (kept.sealed) {
                uint8_t seal[CONTENT_SEAL_HEADER];

                if (!keys) {
                        *reterr = "it is sealed, and the key is not there";
                        return -ENOKEY;
                }
                r = read_exactly(fd, seal, sizeof(seal), reterr);
                if (r < 0)
                        return r;
                if (crypto_secretstream_xchacha20poly1305_init_pull(&reader.seal, seal, keys->file) != 0)
                        return damaged(reterr, "its header is damaged");
        }

        reader.block = (size_t) MIN(kept.size, (uint64_t) CONTENT_BLOCK);
        reader.in = malloc(reader.block + CONTENT_SEAL_EXTRA);
        reader.out = malloc(MAX(reader.block, (size_t) 1));
        reader.raw = malloc(MAX(reader.block, (size_t) 1));
        if (!reader.in || !reader.out || !reader.raw) {
                *reterr = "out of memory";
                return -ENOMEM;
        }

        content_hash_begin(&hash, kept.sealed ? keys : NULL);
        for (uint64_t left = kept.size; left > 0;) {
                size_t n = (size_t) MIN(left, (uint64_t) CONTENT_BLOCK);
                const uint8_t *data;

                r = read_block(&reader, n, &data, reterr);
                if (r < 0)
                        return r;
                (void) crypto_generichash_update(&hash, data, n);
                r = sink ? sink(userdata, data, n) : 0;
                if (r < 0) {
                        *reterr = "it cannot be written where it is to go";
                        return r;
                }
                left -= n;
        }
        if (kept.sealed) {
                r = read_final(&reader, &header, reterr);
                if (r < 0)
                        return r;
        }
        if (read_full(fd, &rest, 1) != 0)
                return damaged(reterr, "it is longer than it should be");

        content_hash_end(&hash, kept.name);
        if (!streq(kept.name, name))
                return damaged(reterr,
                        kept.sealed ? "its content is not what was stored, or content.key is another one"
                                    : "its content is not what was stored");
        if (ret)
                *ret = kept;
        return 0;
}

bool content_name_is_valid(const char *name) {
        return strlen(name) == CONTENT_NAME_SIZE - 1 && name[strspn(name, "0123456789abcdef")] == 0;
}

int content_get(ContentStore *store, const char *name, ContentSink sink, void *userdata, ContentKept *ret,
        const char **reterr) {
        char path[CONTENT_NAME_SIZE + 3];
        _cleanup_close_ int fd = -EBADF;
        int r;

        assert(store);
        assert(name);
        assert(reterr);

        if (!content_name_is_valid(name)) {
                *reterr = "a name has 64 digits, 0-9 and a-f";
                return -EINVAL;
        }
        content_path(path, name);
        fd = openat(store->fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0) {
                *reterr = errno == ENOENT ? "there is none: it was never kept, or has been collected"
                                          : "it cannot be opened";
                return -errno;
        }
        /* Whether it is needed the header says; without it the reader tells what is missing. */
        r = store->has_keys ? 0 : content_load_keys(store, false);
        if (r == -EBADMSG || r == -EPERM) {
                ContentHeader header;
                uint64_t size;
                bool sealed;
                const char *ignored;

                if (content_read_header(fd, &header, &size, &sealed, &ignored) >= 0 && sealed) {
                        *reterr = r == -EPERM ? "it is sealed, and content.key is not root's alone"
                                              : "it is sealed, and content.key is damaged";
                        return r;
                }
                if (lseek(fd, 0, SEEK_SET) < 0)
                        return -errno;
        }
        if (!store->unpacker)
                store->unpacker = ZSTD_createDCtx();
        if (!store->unpacker) {
                *reterr = "out of memory";
                return -ENOMEM;
        }
        return content_decode(fd, store->has_keys ? &store->keys : NULL, store->unpacker, name, sink,
                userdata, ret, reterr);
}
