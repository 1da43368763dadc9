/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The vocabulary every file uses: cleanup attributes, ownership transfer, string comparison, sizes and times.
 * Names follow systemd's, so that its readers feel at home.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __cplusplus
#error "util.h is for C; the one C++ file talks to the rest through toml.h"
#endif

#define _cleanup_(function)     __attribute__((cleanup(function)))
#define _printf_(string, first) __attribute__((format(printf, string, first)))
#define _unused_                __attribute__((unused))
#define _noreturn_              __attribute__((noreturn))
#define _pure_                  __attribute__((pure))
#define _warn_unused_result_    __attribute__((warn_unused_result))

/* Defines FUNCTION##p() for _cleanup_(): calls FUNCTION on the variable if it is set. */
#define DEFINE_CLEANUP(type, function)                 \
        static inline void function##p(type *object) { \
                if (*object)                           \
                        function(*object);             \
        }

/* Hands ownership over: yields the value and leaves NULL or -EBADF behind, so that cleanup does nothing. */
#define TAKE_PTR(pointer)                               \
        ({                                              \
                __typeof__(pointer) _taken = (pointer); \
                (pointer) = NULL;                       \
                _taken;                                 \
        })
#define TAKE_FD(fd)                \
        ({                         \
                int _taken = (fd); \
                (fd) = -EBADF;     \
                _taken;            \
        })

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define FOREACH_ELEMENT(element, array) \
        for (__typeof__((array)[0]) *element = (array); element < (array) + ELEMENTSOF(array); element++)

#define MIN(a, b)                       \
        ({                              \
                __typeof__(a) _a = (a); \
                __typeof__(b) _b = (b); \
                _a < _b ? _a : _b;      \
        })
#define MAX(a, b)                       \
        ({                              \
                __typeof__(a) _a = (a); \
                __typeof__(b) _b = (b); \
                _a > _b ? _a : _b;      \
        })

#define KIB(n) ((size_t) (n) << 10)
#define MIB(n) ((size_t) (n) << 20)
#define GIB(n) ((size_t) (n) << 30)

typedef uint64_t usec_t; /* microseconds */
#define USEC_PER_MSEC   ((usec_t) 1000)
#define USEC_PER_SEC    ((usec_t) 1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define NSEC_PER_USEC   ((usec_t) 1000)
#define USEC_INFINITY   UINT64_MAX

/* What would be later than ever is USEC_INFINITY. */
static inline usec_t usec_add(usec_t a, usec_t b) {
        return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

/* Now in microseconds on a clock of clock_gettime(2). */
usec_t now_usec(int clock);

/*
 * Parses a time span as systemd.time(7) does ("5s", "2min 30s", "1h", "500ms", "infinity"; a bare number is in
 * seconds). Return: 0; -EINVAL if it is not a time span; -ERANGE if negative or too large; ret is then untouched.
 */
int parse_timespan(const char *text, usec_t *ret);

/* Formats a span for people, e.g. "1.250s", "12ms", "340us". Returns buffer. */
char *format_timespan(char *buffer, size_t size, usec_t span);
#define FORMAT_TIMESPAN(span) format_timespan((char[32]){}, 32, (span))

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* True also if both are NULL. */
static inline bool streq_ptr(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}

/* The rest of the string after the prefix, or NULL. */
static inline const char *startswith(const char *string, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(string, prefix, n) == 0 ? string + n : NULL;
}

bool endswith(const char *string, const char *suffix) _pure_;

/* True if the bytes are well-formed UTF-8 (no surrogates, no over-long forms); NUL is allowed. */
bool utf8_is_valid(const char *text, size_t size) _pure_;

/* The offset of the first byte that is not well-formed UTF-8, or size. */
size_t utf8_valid_prefix(const char *text, size_t size) _pure_;

/* A copy with each byte that is not well-formed UTF-8 replaced by U+FFFD, NUL-terminated; to be freed. NULL if out of
 * memory. */
char *utf8_make_valid(const char *text, size_t size, size_t *ret_size);

/*
 * Zeroed pages for tables that only this process has a use for: children do not get them, so that neither a fork nor what is
 * written after it copies anything. Those that are never touched take no memory. NULL if out of memory.
 */
void *pages_new(size_t size);
void pages_free(void *pages, size_t size); /* takes NULL */

/* close() that keeps errno and takes negative descriptors; returns -EBADF. */
int safe_close(int fd);

/*
 * Reads or writes all of it, over short counts and EINTR. read_full returns the bytes read, fewer than size only at
 * end of file; write_full returns 0. Both: -errno on failure.
 */
ssize_t read_full(int fd, void *buffer, size_t size);
int write_full(int fd, const void *buffer, size_t size);

static inline void freep(void *pointer) {
        free(*(void **) pointer);
}

static inline void closep(int *fd) {
        if (*fd >= 0)
                safe_close(*fd);
}

static inline void fclosep(FILE **file) {
        if (*file)
                fclose(*file);
}

#define _cleanup_free_   _cleanup_(freep)
#define _cleanup_close_  _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
