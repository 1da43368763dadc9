/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A file of the content store, as a power cut or anybody may have left it. */

#include <sys/mman.h>

#include "content-internal.h"
#include "fuzz.h"

static int take(void *userdata, const void *data, size_t size) {
        uint64_t *taken = userdata;

        fuzz_check(size > 0 && size <= CONTENT_BLOCK);
        /* Each byte can be read. */
        for (size_t i = 0; i < size; i++)
                *taken += ((const volatile uint8_t *) data)[i] * 0u + 1u;
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const ContentKeys keys = { .address = { 1 }, .file = { 2 } };
        static char name[CONTENT_NAME_SIZE];
        static ZSTD_DCtx *unpacker;
        ContentKept kept = { .size = 42 };
        const char *why = NULL;
        uint64_t taken = 0;
        int fd, r;

        if (!unpacker) {
                fuzz_check(sodium_init() >= 0);
                unpacker = ZSTD_createDCtx();
                memset(name, 'a', CONTENT_NAME_SIZE - 1);
        }
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        fuzz_check(fd >= 0);
        fuzz_check(write_full(fd, data, size) == 0);

        /* With the key and without. */
        for (unsigned i = 0; i < 2; i++) {
                fuzz_check(lseek(fd, 0, SEEK_SET) == 0);
                taken = 0;
                r = content_decode(fd, i == 0 ? &keys : NULL, unpacker, name, take, &taken, &kept, &why);
                /* No content has this name. */
                fuzz_check(r == -EBADMSG || r == -EPROTONOSUPPORT || (r == -ENOKEY && i == 1));
                fuzz_check(why && *why && kept.size == 42);
                fuzz_check(taken <= (uint64_t) size * CONTENT_BLOCK);
        }

        safe_close(fd);
        return 0;
}
