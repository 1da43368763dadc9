/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "arena.h"
#include "util.h"

int arena_map(Arena *arena, size_t limit, void (*full)(Arena *arena, size_t wanted)) {
        void *base;

        assert(arena);

        limit = (limit + 4095) & ~(size_t) 4095;
        base = mmap(NULL, limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
                return -ENOMEM;

        *arena = (Arena){ .base = base, .limit = limit, .full = full };
        return 0;
}

void arena_unmap(Arena *arena) {
        if (arena->base)
                (void) munmap(arena->base, arena->limit);
        *arena = (Arena){};
}

/* A large arena asks the kernel for many pages at once: one fault each would cost a quarter of a load. */
#define READY_FROM KIB(256)
#define READY_MAX  KIB(512)

static size_t to_page(size_t size) {
        return (size + 4095) & ~(size_t) 4095;
}

static void make_ready(Arena *arena) {
        size_t begin = to_page(arena->used), more = MIN(to_page(arena->used / 8), (size_t) READY_MAX);

        begin = MAX(begin, arena->ready);
        more = MIN(more, arena->limit - begin);
        /* Kernels before 5.14 do not know it, and without memory it is better to find out where it is wanted. */
        if (more > 0 && madvise(arena->base + begin, more, MADV_POPULATE_WRITE) == 0)
                arena->ready = begin + more;
        else
                arena->ready = arena->limit;
}

void arena_trim(Arena *arena) {
        size_t begin = to_page(arena->used);

        if (arena->ready > begin && arena->ready < arena->limit)
                (void) madvise(arena->base + begin, arena->ready - begin, MADV_REMOVE);
        arena->ready = 0;
}

static void *arena_take(Arena *arena, size_t size, size_t alignment) {
        size_t start = (arena->used + alignment - 1) & ~(alignment - 1);

        if (start > arena->limit || size > arena->limit - start) {
                if (arena->full)
                        arena->full(arena, size);
                abort();
        }

        arena->used = start + size;
        if (arena->used > arena->ready && arena->used > READY_FROM)
                make_ready(arena);
        return arena->base + start;
}

void *arena_alloc(Arena *arena, size_t size) {
        return arena_take(arena, size, alignof(max_align_t));
}

char *arena_alloc_text(Arena *arena, size_t size) {
        return arena_take(arena, size, 1);
}

char *arena_strndup(Arena *arena, const char *text, size_t size) {
        char *copy = arena_take(arena, size + 1, 1);

        memcpy(copy, text, size);
        copy[size] = 0;
        return copy;
}

char *arena_strdup(Arena *arena, const char *text) {
        return arena_strndup(arena, text, strlen(text));
}

void *arena_memdup(Arena *arena, const void *data, size_t size) {
        void *copy = arena_alloc(arena, size);

        if (size > 0)
                memcpy(copy, data, size);
        return copy;
}

char *arena_printf(Arena *arena, const char *format, ...) {
        va_list args;
        char *text;
        int n;

        va_start(args, format);
        n = vsnprintf(NULL, 0, format, args);
        va_end(args);
        assert(n >= 0);

        text = arena_take(arena, (size_t) n + 1, 1);
        va_start(args, format);
        (void) vsnprintf(text, (size_t) n + 1, format, args);
        va_end(args);
        return text;
}

void *arena_grow(Arena *arena, void *array, size_t n, uint32_t *allocated, size_t element_size) {
        size_t wanted;
        void *grown;

        if (n < *allocated)
                return array;

        wanted = MAX((size_t) *allocated * 2, (size_t) 4);
        grown = arena_alloc(arena, wanted * element_size);
        if (n > 0)
                memcpy(grown, array, n * element_size);
        *allocated = (uint32_t) wanted;
        return grown;
}
