/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the floor programs share: clocks, and the files that all of them are about. */

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* File i of N is DIR/d(i / 100)/fi, and holds one line 64 times. ./files writes the same into its roles. */
#define FILE_SIZE      1024
#define FILE_LINE_SIZE 16

static inline void file_path(char *path, size_t size, const char *dir, long i) {
        (void) snprintf(path, size, "%s/d%ld/f%ld", dir, i / 100, i);
}

static inline void file_content(char content[static FILE_SIZE], long i) {
        char line[FILE_LINE_SIZE + 1];

        (void) snprintf(line, sizeof(line), "this is %07ld\n", i % 10000000);
        for (size_t at = 0; at < FILE_SIZE; at += FILE_LINE_SIZE)
                memcpy(content + at, line, FILE_LINE_SIZE);
}

/* Those of all files, one after the other: made before the clock starts. */
static inline char *file_contents(long n) {
        char *contents = malloc((size_t) n * FILE_SIZE);

        if (!contents)
                err(1, "Failed to get memory");
        for (long i = 0; i < n; i++)
                file_content(contents + i * FILE_SIZE, i);
        return contents;
}

static inline double wall_usec(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

static inline double cpu_usec(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

/* Of what wait4() has told. */
static inline double usage_usec(const struct rusage *usage) {
        return (double) (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e6 +
               (double) (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}
