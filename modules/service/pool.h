/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Memory that is freed together, and lists of names in it: what was read of unit files lives and dies with the reading.
 * Nothing in a pool is freed before pool_done().
 */

#include <stddef.h>
#include <unistd.h>

/* Of all of one pool: far above what any host has, and a limit all the same. */
#define POOL_MAX ((size_t) 256 << 20)

typedef struct Pool {
        struct PoolChunk *chunks;
        size_t total;
} Pool;

/* Zeroed, aligned for any type. Return: NULL if out of memory, or above POOL_MAX. */
void *pool_alloc(Pool *pool, size_t size);

/* A copy of size bytes, with a NUL after them. NULL as above. */
char *pool_copy(Pool *pool, const char *text, size_t size);
char *pool_dup(Pool *pool, const char *text);

/* As asprintf(3). NULL as above. */
char *pool_format(Pool *pool, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Frees it all; the pool is as new. */
void pool_done(Pool *pool);

typedef struct Names {
        const char **list;
        size_t n, allocated;
} Names;

/* Adds a name, which is not copied. Return: 0; -ENOMEM. */
int names_add(Pool *pool, Names *names, const char *name);

/* ---- Descriptors ----------------------------------------------------------------------------------------------- */

static inline void close_cleanup(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}

/* Of an int that is initialised: closed at the end of its block, unless it is negative. */
#define CLOSED __attribute__((cleanup(close_cleanup)))
