/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads the input as a public key and as a signature, and verifies with what comes of it. */

#include "fuzz.h"
#include "minisign.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        MinisignSignature signature;
        MinisignKey keys[2] = {};
        size_t n = 1;
        int r;

        if (!text)
                return 0;
        if (minisign_parse_key(text, &keys[1]) == 0)
                n = 2;
        if (minisign_parse_signature((const char *) data, size, &signature) < 0)
                return 0;
        fuzz_check(size <= MINISIGN_TEXT_MAX);
        fuzz_check(signature.trusted_comment >= (const char *) data &&
                   signature.trusted_comment + signature.trusted_comment_size <= (const char *) data + size);
        memcpy(keys[0].id, signature.id, sizeof(signature.id));
        r = minisign_verify(&signature, keys, n, data, size);
        fuzz_check(r == -EBADMSG || r == -ENOKEY);
        return 0;
}
