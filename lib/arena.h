/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A bump allocator over one contiguous range of addresses. Nothing is freed alone; the whole arena goes at once. The
 * loader keeps what it parses in one, and the image that it builds is another, over the shared memory of the image.
 *
 * Memory is handed out zeroed. An arena that is full is not an error to be handled at each call: arena_alloc() calls
 * the arena's `full` function, which must not return (the loader prints one line and exits).
 */
typedef struct Arena {
        uint8_t *base;
        size_t used;  /* bytes */
        size_t limit; /* bytes */
        size_t ready; /* bytes of which the kernel has made pages in advance */
        void (*full)(struct Arena *arena, size_t wanted);
} Arena;

/*
 * arena_map() - makes an arena of its own over fresh anonymous memory; pages cost nothing until they are touched
 * @limit: bytes that may be handed out, rounded up to whole pages
 * @full:  called when it is used up; NULL aborts
 *
 * Return: 0; -ENOMEM.
 */
int arena_map(Arena *arena, size_t limit, void (*full)(Arena *arena, size_t wanted));

/* Releases what arena_map() made; takes a zeroed arena. */
void arena_unmap(Arena *arena);

/* Gives back the memory behind what is used, as far as it was got in advance: for shared memory that others will have. */
void arena_trim(Arena *arena);

/* size bytes, zeroed, aligned for any type; never NULL. A size of 0 gives a valid, unique-enough pointer. */
void *arena_alloc(Arena *arena, size_t size);

/* The same without alignment, for text. */
char *arena_alloc_text(Arena *arena, size_t size);

/* Copies; the result is NUL-terminated. */
char *arena_strdup(Arena *arena, const char *text);
char *arena_strndup(Arena *arena, const char *text, size_t size);
void *arena_memdup(Arena *arena, const void *data, size_t size);
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define arena_new(arena, type)          ((type *) arena_alloc((arena), sizeof(type)))
#define arena_new_array(arena, type, n) ((type *) arena_alloc((arena), sizeof(type) * (n)))

/*
 * Grows an array that lives in the arena so that it holds n + 1 elements: by copying into one of twice the size, the
 * old one being wasted. Returns the array, old or new. allocated is brought up to date.
 */
void *arena_grow(Arena *arena, void *array, size_t n, uint32_t *allocated, size_t element_size);

#ifdef __cplusplus
}
#endif
