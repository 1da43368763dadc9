/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "identity.h"
#include "log.h"
#include "status.h"

/* Those that linux/magic.h lacks. Sources: fs/xfs/libxfs/xfs_format.h, fs/bcachefs/bcachefs_format.h of the kernel. */
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef BCACHEFS_STATFS_MAGIC
#define BCACHEFS_STATFS_MAGIC 0xca451a4e
#endif
#ifndef EROFS_SUPER_MAGIC_V1
#define EROFS_SUPER_MAGIC_V1 0xE0F5E1E2
#endif

/* Since glibc 2.32 only; the kernel has it since 5.1. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/*
 * The engine may write a record while a worker reads it. Half of an old hash and half of a new one are the hash of
 * nothing. The time is written last and read first: who sees it sees the hash that belongs to it.
 */
typedef struct Record {
        uint64_t words[2];
        uint32_t until_sec; /* CLOCK_BOOTTIME; 0: there is no record */
        uint32_t padding;
} Record;

typedef struct Shared {
        uint8_t key[crypto_shorthash_siphashx24_KEYBYTES];
        Record records[];
} Shared;

struct IdentityTable {
        uint32_t n;
        size_t size;
        Shared *written;    /* in the engine only */
        const Shared *read; /* the same memory, read-only */
};

static_assert(sizeof(Record) == 24, "memory of a state");
static_assert(sizeof(Identity) == crypto_shorthash_siphashx24_BYTES, "the hash is an identity");

/* ---- The table ------------------------------------------------------------------------------------------------- */

static int map(IdentityTable *table) {
        _cleanup_close_ int fd = -EBADF;
        void *p;

        fd = memfd_create("agentd-identity", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t) table->size) < 0)
                return -errno;

        p = mmap(NULL, table->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        table->written = p;
        if (madvise(p, table->size, MADV_DONTFORK) < 0)
                return -errno;

        /* From here on nobody can make a mapping that is written, or that can become such a one. */
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
                return -errno;
        p = mmap(NULL, table->size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        table->read = p;
        return 0;
}

int identity_table_new(uint32_t n, const IdentityTable *like, IdentityTable **ret) {
        _cleanup_(identity_table_freep) IdentityTable *table = NULL;
        int r;

        assert(ret);

        table = malloc(sizeof(*table));
        if (!table)
                return -ENOMEM;
        *table = (IdentityTable){ .n = n, .size = sizeof(Shared) + n * sizeof(Record) };
        r = map(table);
        if (r < 0)
                return r;
        if (like)
                memcpy(table->written->key, like->read->key, sizeof(table->written->key));
        else
                randombytes_buf(table->written->key, sizeof(table->written->key));

        *ret = TAKE_PTR(table);
        return 0;
}

IdentityTable *identity_table_free(IdentityTable *table) {
        if (!table)
                return NULL;
        if (table->written)
                (void) munmap(table->written, table->size);
        if (table->read)
                (void) munmap((void *) table->read, table->size);
        free(table);
        return NULL;
}

static void carry_over(
        IdentityTable *table, const Image *image, const StatusTable *status, const Image *old) {
        for (uint32_t k = 0; k < image_n_states(old); k++) {
                const Record *record = &old->identities->read->records[k];
                uint32_t i;

                if (record->until_sec == 0)
                        continue;
                i = status_find(status, image_state_id(old, k));
                if (i != UINT32_MAX && image_state_is_same(image, i, old, k))
                        table->written->records[i] = *record;
        }
}

void identity_adopt(Image *image, const StatusTable *status, const Image *old) {
        const IdentityTable *from = old ? old->identities : NULL;
        int r;

        assert(!image->identities);

        if (image_n_states(image) == 0)
                return;
        r = identity_table_new(image_n_states(image), from, &image->identities);
        if (r < 0)
                log_warning_errno(r,
                        "Failed to get memory for what checks have read; they will read it each time: %m");
        else if (from)
                carry_over(image->identities, image, status, old);
}

/* ---- Records --------------------------------------------------------------------------------------------------- */

void identity_remember(IdentityTable *table, uint32_t state, const Identity *identity, uint32_t until_sec) {
        Record *record;

        if (!table)
                return;
        assert(state < table->n);
        record = &table->written->records[state];
        __atomic_store_n(&record->words[0], identity->words[0], __ATOMIC_RELAXED);
        __atomic_store_n(&record->words[1], identity->words[1], __ATOMIC_RELAXED);
        __atomic_store_n(&record->until_sec, until_sec, __ATOMIC_RELEASE);
}

void identity_forget(IdentityTable *table, uint32_t state) {
        if (!table)
                return;
        assert(state < table->n);
        /* Most have nothing to be forgotten, and a page that was never written takes no memory. */
        if (table->read->records[state].until_sec != 0)
                __atomic_store_n(&table->written->records[state].until_sec, 0, __ATOMIC_RELEASE);
}

uint32_t identity_until(const Identity *identity, uint32_t now_sec, uint32_t good_for_sec) {
        return now_sec + good_for_sec - (uint32_t) (identity->words[0] % (good_for_sec / 4 + 1));
}

bool identity_holds(const IdentityTable *table, uint32_t state, const Identity *identity, uint32_t now_sec) {
        const Record *record;
        uint32_t until_sec;

        if (!table || state >= table->n)
                return false;
        record = &table->read->records[state];
        until_sec = __atomic_load_n(&record->until_sec, __ATOMIC_ACQUIRE);
        return now_sec < until_sec &&
               __atomic_load_n(&record->words[0], __ATOMIC_RELAXED) == identity->words[0] &&
               __atomic_load_n(&record->words[1], __ATOMIC_RELAXED) == identity->words[1];
}

bool identity_is_known(const IdentityTable *table, uint32_t state, uint32_t now_sec) {
        return table && state < table->n &&
               now_sec < __atomic_load_n(&table->read->records[state].until_sec, __ATOMIC_ACQUIRE);
}

/* ---- Identities ------------------------------------------------------------------------------------------------ */

static int64_t nsec_of(struct statx_timestamp stamp) {
        /* Wraps for years that no clock has. */
        return (int64_t) ((uint64_t) stamp.tv_sec * 1000 * 1000 * 1000 + stamp.tv_nsec);
}

#define FILE_WORDS 6

/* Return: 0; -EINVAL if the file system did not say all. */
static int words_of(const struct statx *file, uint64_t words[static FILE_WORDS]) {
        static const unsigned needed = STATX_TYPE | STATX_INO | STATX_SIZE | STATX_MTIME | STATX_CTIME;

        if ((file->stx_mask & needed) != needed)
                return -EINVAL;
        words[0] = (uint64_t) file->stx_dev_major << 32 | file->stx_dev_minor;
        words[1] = file->stx_ino;
        words[2] = file->stx_size;
        words[3] = (uint64_t) nsec_of(file->stx_mtime);
        words[4] = (uint64_t) nsec_of(file->stx_ctime);
        words[5] = file->stx_mode & S_IFMT;
        return 0;
}

int identity_make(const IdentityTable *table, const struct statx *files, size_t n, Identity *ret) {
        uint64_t words[IDENTITY_FILES_MAX][FILE_WORDS];

        if (n == 0 || n > IDENTITY_FILES_MAX)
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                if (words_of(&files[i], words[i]) < 0)
                        return -EINVAL;
        (void) crypto_shorthash_siphashx24(
                (uint8_t *) ret->words, (const uint8_t *) words, n * sizeof(words[0]), table->read->key);
        return 0;
}

int identity_add(const IdentityTable *table, const struct statx *file, Identity *identity) {
        uint64_t words[2 + FILE_WORDS] = { identity->words[0], identity->words[1] };

        if (words_of(file, words + 2) < 0)
                return -EINVAL;
        (void) crypto_shorthash_siphashx24(
                (uint8_t *) identity->words, (const uint8_t *) words, sizeof(words), table->read->key);
        return 0;
}

uint32_t identity_good_for(const struct statx *file, int64_t began_nsec) {
        int64_t ctime_nsec = nsec_of(file->stx_ctime);

        /* The mtime is what anybody says, also one to come; setting it sets the ctime. A ctime to come is that of a clock
         * which was set back: it may come again. */
        if (ctime_nsec >= began_nsec || began_nsec - ctime_nsec <= IDENTITY_GRANULARITY_NSEC)
                return 0;
        return began_nsec - ctime_nsec <= IDENTITY_YOUNG_SEC * INT64_C(1000000000) ? IDENTITY_YOUNG_SEC
                                                                                   : IDENTITY_AGE_MAX_SEC;
}

bool identity_file_system_is_good(uint64_t type) {
        static const uint32_t good[] = {
                EXT4_SUPER_MAGIC, /* ext2 and ext3, too */
                XFS_SUPER_MAGIC,
                BTRFS_SUPER_MAGIC,
                F2FS_SUPER_MAGIC,
                BCACHEFS_STATFS_MAGIC,
                OVERLAYFS_SUPER_MAGIC, /* which tells what is below */
                EROFS_SUPER_MAGIC_V1,  /* never written */
                SQUASHFS_MAGIC,
        };

        /* 32 bit: on some architectures it is signed. */
        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                if ((uint32_t) type == good[i])
                        return true;
        return false;
}
