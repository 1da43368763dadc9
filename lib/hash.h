/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * FNV-1a, 64 bits: for names that are the operator's, and for what must be the same in each process. Whoever chooses the
 * input can make collisions.
 *
 * Source: RFC 9923, section 5.
 */
static inline uint64_t hash_fnv1a(const void *data, size_t size_bytes) {
        const uint8_t *p = data;
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < size_bytes; i++)
                hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
        return hash;
}
