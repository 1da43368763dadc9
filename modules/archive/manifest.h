/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What came out of an archive: agentd-extract writes it, the module reads it, completes it and keeps it for its checks.
 *
 * It is text, a line for each path, in the order in which a tree is made: a directory, what lies in it, its next sibling.
 *
 *      agentd-manifest 1
 *      destination /opt/app            these three in what is kept only
 *      archive sha256:…
 *      parameters …
 *      KIND MODE SIZE OWNER GROUP HASH INODE CTIME PATH TARGET
 *      end NUMBER-OF-PATHS
 *
 * KIND is f, d or l, MODE octal, HASH that of the content, CTIME in nanoseconds; "-" stands for what there is not. White space,
 * control characters, a backslash, and all that is not ASCII is written as \ and two hexadecimal digits.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define MANIFEST_HASH_SIZE 32 /* BLAKE2b of 256 bits */

/* Deeper than anybody's tree, and few enough for a descriptor each. */
#define MANIFEST_DEPTH_MAX 256

/* A name has at most this many bytes in a kernel call, with the terminator. */
#define MANIFEST_PATH_MAX 4096

typedef enum EntryKind {
        ENTRY_FILE,
        ENTRY_DIRECTORY,
        ENTRY_SYMLINK,
} EntryKind;

typedef struct ManifestEntry {
        const char *path;
        const char *target;        /* of a symlink */
        const char *owner, *group; /* names in the archive; NULL: none */
        uint64_t size;
        uint64_t inode; /* these two as they were when it was put in its place; 0: not known */
        int64_t ctime_nsec;
        uint16_t mode;
        uint8_t kind; /* EntryKind */
        bool seen;    /* for who compares */
        uint8_t hash[MANIFEST_HASH_SIZE];
} ManifestEntry;

typedef struct Manifest {
        char *text; /* that all strings point into */
        ManifestEntry *entries;
        size_t n_entries;
        const char *destination, *archive, *parameters; /* NULL: not given */
} Manifest;

/*
 * manifest_parse() - believes nothing: each path is relative, clean, after the one before, and in a directory that is listed
 * @text: size bytes, to be freed with free(); the manifest's if this returns 0. Is written to
 * @reterr_why: a constant
 *
 * Return: 0; -EBADMSG: it is no manifest; -E2BIG: more than entries_max; -ENOMEM.
 */
int manifest_parse(char *text, size_t size, size_t entries_max, Manifest *ret, const char **reterr_why);
void manifest_done(Manifest *manifest);

/* The entry of a path, or NULL. */
ManifestEntry *manifest_find(const Manifest *manifest, const char *path);

/* The order of paths: that of bytes, where the '/' comes first. */
int manifest_compare(const char *a, const char *b);

/* True for a relative path without empty parts, "." and "..", without control characters, and neither long nor deep. */
bool manifest_path_is_clean(const char *path);

/* Writing; errors are found by ferror(). The first three of the head may be NULL. */
void manifest_write_head(FILE *file, const char *destination, const char *archive, const char *parameters);
void manifest_write_entry(FILE *file, const ManifestEntry *entry);
void manifest_write_end(FILE *file, size_t n_entries);
