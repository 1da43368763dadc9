/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

#define CHUNK_SIZE ((size_t) 32 << 10)

typedef struct PoolChunk {
        struct PoolChunk *next;
        size_t size, used;
        _Alignas(max_align_t) unsigned char data[];
} PoolChunk;

void *pool_alloc(Pool *pool, size_t size) {
        size_t rounded = (size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1), wanted;
        PoolChunk *chunk = pool->chunks;
        void *data;

        if (size > POOL_MAX || rounded > POOL_MAX - pool->total)
                return NULL;
        if (!chunk || chunk->size - chunk->used < rounded) {
                wanted = rounded > CHUNK_SIZE ? rounded : CHUNK_SIZE;
                chunk = malloc(sizeof(PoolChunk) + wanted);
                if (!chunk)
                        return NULL;
                *chunk = (PoolChunk){ .next = pool->chunks, .size = wanted };
                pool->chunks = chunk;
        }
        data = chunk->data + chunk->used;
        chunk->used += rounded;
        pool->total += rounded;
        return memset(data, 0, size);
}

char *pool_copy(Pool *pool, const char *text, size_t size) {
        char *copy = size < SIZE_MAX ? pool_alloc(pool, size + 1) : NULL;

        if (copy && size > 0)
                memcpy(copy, text, size);
        return copy;
}

char *pool_dup(Pool *pool, const char *text) {
        return pool_copy(pool, text, strlen(text));
}

char *pool_format(Pool *pool, const char *format, ...) {
        char *text;
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(NULL, 0, format, args);
        va_end(args);
        if (n < 0)
                return NULL;
        text = pool_alloc(pool, (size_t) n + 1);
        if (!text)
                return NULL;
        va_start(args, format);
        (void) vsnprintf(text, (size_t) n + 1, format, args);
        va_end(args);
        return text;
}

void pool_done(Pool *pool) {
        PoolChunk *next;

        for (PoolChunk *chunk = pool->chunks; chunk; chunk = next) {
                next = chunk->next;
                free(chunk);
        }
        *pool = (Pool){};
}

int names_add(Pool *pool, Names *names, const char *name) {
        if (names->n == names->allocated) {
                size_t n = names->allocated > 0 ? 2 * names->allocated : 4;
                const char **list = pool_alloc(pool, n * sizeof(char *));

                if (!list)
                        return -ENOMEM;
                if (names->n > 0)
                        memcpy(list, names->list, names->n * sizeof(char *));
                names->list = list;
                names->allocated = n;
        }
        names->list[names->n++] = name;
        return 0;
}
