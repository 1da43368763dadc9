/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "content-internal.h"

/* The level of zstd: the fastest that is of use. */
#define PACK_LEVEL 1

/* Less than that has nothing to gain. */
#define PACK_MIN 64

/* What is there already and not larger is read again, to see that it is in order; of larger ones the header has to do. */
#define VERIFY_MAX KIB(64)

/* Of what is larger the file system must have as much again: nothing that is to be kept may fill it. */
#define SPACE_MIN MIB(1)

/* ---- Opening ------------------------------------------------------------------------------------------------------ */

int content_store_open(const char *directory, bool make, ContentStore **ret) {
        _cleanup_(content_store_freep) ContentStore *store = NULL;

        assert(directory);
        assert(ret);

        store = malloc(sizeof(*store));
        if (!store)
                return -ENOMEM;
        *store = (ContentStore){ .state_fd = -EBADF, .fd = -EBADF, .make = make };

        store->state_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (store->state_fd < 0)
                return -errno;
        if (make && mkdirat(store->state_fd, CONTENT_DIRECTORY, 0700) < 0 && errno != EEXIST)
                return -errno;
        store->fd =
                openat(store->state_fd, CONTENT_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (store->fd < 0)
                return -errno;
        *ret = TAKE_PTR(store);
        return 0;
}

ContentStore *content_store_free(ContentStore *store) {
        if (!store)
                return NULL;
        safe_close(store->state_fd);
        safe_close(store->fd);
        sodium_memzero(&store->keys, sizeof(store->keys));
        if (store->plain)
                sodium_memzero(store->plain, CONTENT_BLOCK); /* it may have been sealed */
        if (store->packed)
                sodium_memzero(store->packed, CONTENT_BLOCK);
        free(store->plain);
        free(store->packed);
        free(store->out);
        (void) ZSTD_freeCCtx(store->packer);
        (void) ZSTD_freeDCtx(store->unpacker);
        free(store);
        return NULL;
}

void content_path(char path[static CONTENT_NAME_SIZE + 3], const char *name) {
        (void) snprintf(path, CONTENT_NAME_SIZE + 3, "%.2s/%.64s", name, name);
}

/* A name for a file that is being written. */
static void temporary_name(char name[static 32], const char *prefix) {
        uint64_t random;

        randombytes_buf(&random, sizeof(random));
        (void) snprintf(name, 32, "%s%016llx", prefix, (unsigned long long) random);
}

/* ---- Keys --------------------------------------------------------------------------------------------------------- */

/* Return: 0; -ENOENT; -EPERM; -EBADMSG; other -errno. */
static int read_key(ContentStore *store, uint8_t key[static crypto_kdf_KEYBYTES]) {
        uint8_t buffer[crypto_kdf_KEYBYTES + 1];
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        ssize_t n;

        fd = openat(store->state_fd, CONTENT_KEY, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
                return -EPERM;
        n = read_full(fd, buffer, sizeof(buffer));
        if (n < 0)
                return (int) n;
        if (n != crypto_kdf_KEYBYTES || sodium_is_zero(buffer, crypto_kdf_KEYBYTES))
                return -EBADMSG;
        memcpy(key, buffer, crypto_kdf_KEYBYTES);
        sodium_memzero(buffer, sizeof(buffer));
        return 0;
}

/*
 * Under another name first, synced, and then linked: whoever finds the key finds all of it, the first of several wins, and what
 * was sealed can be read after a power cut.
 */
static int make_key(ContentStore *store) {
        uint8_t key[crypto_kdf_KEYBYTES];
        _cleanup_close_ int fd = -EBADF;
        char name[32];
        int r;

        temporary_name(name, "." CONTENT_KEY "-");
        fd = openat(store->state_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        crypto_kdf_keygen(key);
        r = write_full(fd, key, sizeof(key));
        sodium_memzero(key, sizeof(key));
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        if (r == 0 && linkat(store->state_fd, name, store->state_fd, CONTENT_KEY, 0) < 0 && errno != EEXIST)
                r = -errno;
        (void) unlinkat(store->state_fd, name, 0);
        if (r == 0 && fsync(store->state_fd) < 0)
                r = -errno;
        return r;
}

int content_load_keys(ContentStore *store, bool make) {
        uint8_t key[crypto_kdf_KEYBYTES];
        int r;

        if (store->has_keys)
                return 0;
        r = read_key(store, key);
        if (r == -ENOENT && make) {
                r = make_key(store);
                if (r == 0)
                        r = read_key(store, key);
        }
        if (r < 0)
                return r;
        (void) crypto_kdf_derive_from_key(
                store->keys.address, sizeof(store->keys.address), 1, CONTENT_MAGIC, key);
        (void) crypto_kdf_derive_from_key(store->keys.file, sizeof(store->keys.file), 2, CONTENT_MAGIC, key);
        sodium_memzero(key, sizeof(key));
        store->has_keys = true;
        return 0;
}

/* ---- Addresses ---------------------------------------------------------------------------------------------------- */

void content_hash_begin(crypto_generichash_state *state, const ContentKeys *keys) {
        (void) crypto_generichash_init(
                state, keys ? keys->address : NULL, keys ? sizeof(keys->address) : 0, CONTENT_HASH_SIZE);
}

void content_hash_end(crypto_generichash_state *state, char name[static CONTENT_NAME_SIZE]) {
        uint8_t hash[CONTENT_HASH_SIZE];

        (void) crypto_generichash_final(state, hash, sizeof(hash));
        (void) sodium_bin2hex(name, CONTENT_NAME_SIZE, hash, sizeof(hash));
}

/* ---- What is kept ------------------------------------------------------------------------------------------------- */

/* In memory, or of a file. */
typedef struct Source {
        const uint8_t *data;
        size_t size;
        int fd; /* -EBADF: in memory */
        uint64_t position, max;
} Source;

/* The next piece: less than a block only at the end. Return: bytes; -EFBIG; other -errno. */
static ssize_t source_read(Source *source, uint8_t *block, const uint8_t **ret) {
        size_t n = 0;

        if (source->fd < 0) {
                n = MIN(source->size - (size_t) source->position, CONTENT_BLOCK);
                *ret = source->data + source->position;
                source->position += n;
                return (ssize_t) n;
        }
        while (n < CONTENT_BLOCK) {
                ssize_t k = pread(source->fd, block + n, CONTENT_BLOCK - n, (off_t) (source->position + n));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        source->position += n;
        if (source->position > source->max)
                return -EFBIG;
        *ret = block;
        return (ssize_t) n;
}

/* ---- Is it there? ------------------------------------------------------------------------------------------------- */

/* If it is there and in order: keeps it for longer. */
static bool is_there(ContentStore *store, const char *name, uint64_t size, bool sealed) {
        char path[CONTENT_NAME_SIZE + 3];
        _cleanup_close_ int fd = -EBADF;
        struct stat opened, now;
        ContentHeader header;
        const char *why;
        ContentKept kept;
        int r;

        content_path(path, name);
        fd = openat(store->fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return false;
        if (size <= VERIFY_MAX) {
                if (!store->unpacker)
                        store->unpacker = ZSTD_createDCtx();
                if (!store->unpacker)
                        return false;
                r = content_decode(fd, store->has_keys ? &store->keys : NULL, store->unpacker, name, NULL,
                        NULL, &kept, &why);
        } else
                r = content_read_header(fd, &header, &kept.size, &kept.sealed, &why);
        if (r < 0 || kept.size != size || kept.sealed != sealed)
                return false;

        /* Who collects takes the name away first and then looks at the time once more (content-collect.c): either it sees
         * the new time, or we see that the name is gone. */
        return futimens(fd, NULL) == 0 && fstat(fd, &opened) == 0 &&
               fstatat(store->fd, path, &now, AT_SYMLINK_NOFOLLOW) == 0 && opened.st_dev == now.st_dev &&
               opened.st_ino == now.st_ino;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

/* What is collected before it is written: the header and a block, so that what is small takes one call. */
#define OUT_SIZE (sizeof(ContentHeader) + CONTENT_SEAL_HEADER + CONTENT_BLOCK + 2 * (4 + CONTENT_SEAL_EXTRA))

typedef struct Writer {
        ContentStore *store;
        int fd;
        bool sealed;
        crypto_secretstream_xchacha20poly1305_state seal;
        size_t used;      /* of store->out */
        uint64_t written; /* to the file so far */
} Writer;

static int flush(Writer *writer) {
        int r = write_full(writer->fd, writer->store->out, writer->used);

        writer->written += writer->used;
        writer->used = 0;
        return r;
}

/* Adds a block. header: it is the final one. */
static int put_block(
        Writer *writer, const uint8_t *data, size_t size, bool packed, const ContentHeader *header) {
        size_t extra = writer->sealed ? CONTENT_SEAL_EXTRA : 0;
        uint8_t *p;

        if (writer->used + 4 + size + extra > OUT_SIZE) {
                int r = flush(writer);

                if (r < 0)
                        return r;
        }
        p = writer->store->out + writer->used;
        content_put_number(p, (size + extra) | (packed ? CONTENT_PACKED : 0), 4);
        if (writer->sealed)
                (void) crypto_secretstream_xchacha20poly1305_push(&writer->seal, p + 4, NULL, data, size,
                        header ? (const uint8_t *) header : p, header ? sizeof(*header) : 4,
                        header ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                               : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
        else if (size > 0)
                memcpy(p + 4, data, size);
        writer->used += 4 + size + extra;
        return 0;
}

static int put_content(Writer *writer, const uint8_t *data, size_t size) {
        ContentStore *store = writer->store;
        size_t n;

        if (size < PACK_MIN)
                return put_block(writer, data, size, false, NULL);
        n = ZSTD_compressCCtx(store->packer, store->packed, size - 1, data, size, PACK_LEVEL);
        if (ZSTD_isError(n))
                return put_block(writer, data, size, false, NULL); /* it does not fit: not smaller */
        return put_block(writer, store->packed, n, true, NULL);
}

/* Writes all of it. n, data: its first piece. */
static int write_content(Writer *writer, Source *source, ssize_t n, const uint8_t *data, ContentKept *ret) {
        ContentStore *store = writer->store;
        ContentHeader header = {
                .version = CONTENT_VERSION,
                .flags = writer->sealed ? CONTENT_SEALED : 0,
        };
        crypto_generichash_state hash;
        uint64_t size = 0, stored;
        bool whole;
        int r;

        memset(store->out, 0, sizeof(header));
        writer->used = sizeof(header);
        if (writer->sealed) {
                (void) crypto_secretstream_xchacha20poly1305_init_push(
                        &writer->seal, store->out + writer->used, store->keys.file);
                writer->used += CONTENT_SEAL_HEADER;
        }

        content_hash_begin(&hash, writer->sealed ? &store->keys : NULL);
        while (n > 0) {
                (void) crypto_generichash_update(&hash, data, (size_t) n);
                size += (size_t) n;
                r = put_content(writer, data, (size_t) n);
                if (r < 0)
                        return r;
                if ((size_t) n < CONTENT_BLOCK)
                        break;
                n = source_read(source, store->plain, &data);
        }
        if (n < 0)
                return (int) n;

        /* The magic comes last: what has it was written to its end. */
        memcpy(header.magic, CONTENT_MAGIC, sizeof(header.magic));
        stored = writer->written + writer->used + (writer->sealed ? 4 + CONTENT_SEAL_EXTRA : 0);
        content_put_number(header.size, size, sizeof(header.size));
        content_put_number(header.stored, stored, sizeof(header.stored));
        if (writer->sealed) {
                r = put_block(writer, NULL, 0, false, &header);
                if (r < 0)
                        return r;
        }
        whole = writer->written == 0;
        if (whole)
                memcpy(store->out, &header, sizeof(header));
        r = flush(writer);
        if (r < 0)
                return r;
        if (!whole) {
                ssize_t k = pwrite(writer->fd, &header, sizeof(header), 0);

                if (k < 0)
                        return -errno;
                if ((size_t) k < sizeof(header))
                        return -EIO;
        }

        content_hash_end(&hash, ret->name);
        ret->size = size;
        ret->sealed = writer->sealed;
        return 0;
}

/* Gives it its name, in place of whatever is there. */
static int give_name(ContentStore *store, const char *temporary, const char *name) {
        char path[CONTENT_NAME_SIZE + 3], directory[3];

        content_path(path, name);
        if (renameat(store->fd, temporary, store->fd, path) == 0)
                return 0;
        if (errno != ENOENT)
                return -errno;
        (void) snprintf(directory, sizeof(directory), "%.2s", name);
        if (mkdirat(store->fd, directory, 0700) < 0 && errno != EEXIST)
                return -errno;
        return renameat(store->fd, temporary, store->fd, path) < 0 ? -errno : 0;
}

static int write_file(
        ContentStore *store, Source *source, ssize_t n, const uint8_t *data, bool sealed, ContentKept *ret) {
        Writer writer = { .store = store, .sealed = sealed };
        char temporary[32];
        int r;

        temporary_name(temporary, CONTENT_TEMPORARY);
        writer.fd = openat(store->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (writer.fd < 0)
                return -errno;
        r = write_content(&writer, source, n, data, ret);
        sodium_memzero(&writer.seal, sizeof(writer.seal));
        /* Some file systems say only now that there is no space. */
        if (close(writer.fd) < 0 && r == 0)
                r = -errno;
        if (r == 0)
                r = give_name(store, temporary, ret->name);
        if (r < 0)
                (void) unlinkat(store->fd, temporary, 0);
        return r;
}

static int get_memory(ContentStore *store) {
        if (!store->plain)
                store->plain = malloc(CONTENT_BLOCK);
        if (!store->packed)
                store->packed = malloc(CONTENT_BLOCK);
        if (!store->out)
                store->out = malloc(OUT_SIZE);
        if (!store->packer)
                store->packer = ZSTD_createCCtx();
        return store->plain && store->packed && store->out && store->packer ? 0 : -ENOMEM;
}

static int check_space(ContentStore *store, uint64_t size) {
        struct statfs fs;

        if (size < SPACE_MIN)
                return 0;
        if (fstatfs(store->fd, &fs) < 0)
                return -errno;
        return (uint64_t) fs.f_bavail * (uint64_t) fs.f_bsize >= 2 * size ? 0 : -ENOSPC;
}

static int put(ContentStore *store, Source *source, bool sealed, ContentKept *ret) {
        ContentKept kept = { .sealed = sealed };
        crypto_generichash_state hash;
        const uint8_t *data;
        ssize_t n;
        int r;

        if (sealed) {
                r = content_load_keys(store, store->make);
                if (r < 0)
                        return r;
        }
        r = get_memory(store);
        if (r < 0)
                return r;

        /* Its address first: mostly it is there, as when the same drift comes again. */
        content_hash_begin(&hash, sealed ? &store->keys : NULL);
        for (;;) {
                n = source_read(source, store->plain, &data);
                if (n < 0)
                        return (int) n;
                (void) crypto_generichash_update(&hash, data, (size_t) n);
                kept.size += (size_t) n;
                if ((size_t) n < CONTENT_BLOCK)
                        break;
        }
        content_hash_end(&hash, kept.name);
        if (!is_there(store, kept.name, kept.size, sealed)) {
                r = check_space(store, kept.size);
                if (r < 0)
                        return r;
                /* From the start again, unless the one piece is still here. The name that counts is that of what is written. */
                if (kept.size >= CONTENT_BLOCK) {
                        source->position = 0;
                        n = source_read(source, store->plain, &data);
                        if (n < 0)
                                return (int) n;
                }
                r = write_file(store, source, n, data, sealed, &kept);
                if (r < 0)
                        return r;
        }
        *ret = kept;
        return 0;
}

int content_put(ContentStore *store, const void *data, size_t size, bool sealed, ContentKept *ret) {
        assert(store);
        assert(data || size == 0);
        assert(ret);

        return put(store, &(Source){ .data = data ?: "", .size = size, .fd = -EBADF }, sealed, ret);
}

int content_put_file(ContentStore *store, int fd, bool sealed, uint64_t max, ContentKept *ret) {
        struct stat st;

        assert(store);
        assert(fd >= 0);
        assert(ret);

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
        if ((uint64_t) st.st_size > max)
                return -EFBIG;
        return put(store, &(Source){ .fd = fd, .max = max }, sealed, ret);
}
