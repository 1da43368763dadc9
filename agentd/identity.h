/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What checks have read and found as declared, so that it need not be read again: for each state of an image one record,
 * which stands for the identities (device, inode, size, mtime, ctime) of the files that its check has read. Workers make
 * identities and look records up; they come back with results, and the engine alone writes records (run-answer.c).
 *
 * A record says something of files and of a declaration, and not of a moment: while both are as they were, it is true. So
 * nothing breaks if one is lost, comes late, or is there twice. What makes it true is here, and in context-identity.c:
 *
 *   - Everything that changes a file's content also sets its ctime to the time of then, and nobody can set it otherwise.
 *     But clocks of file systems tick, up to IDENTITY_GRANULARITY_NSEC slowly: of what was changed shortly before its
 *     check, or since, nothing is remembered, as a further change might not be told from it. It is read again next time.
 *   - File systems that do not keep that promise, or of which nobody knows, have no records: those of other hosts, whose
 *     clock is not ours and whose attributes are cached; FUSE; FAT, whose ctime is another thing; tmpfs, where stores
 *     into a mapping leave no trace; /proc and its like.
 *   - What is written through a mapping is stamped when a clean page is written first. A store into a page that was dirty
 *     already when the file was read leaves no trace. Pages are cleaned within half a minute or so; so a record of a file
 *     that was young when it was read, IDENTITY_YOUNG_SEC at most, is good for as long only.
 *   - In case of all that nobody has thought of, no record is good for more than IDENTITY_AGE_MAX_SEC.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

struct statx;
typedef struct StatusTable StatusTable;

/* Files that one state may have. */
#define IDENTITY_FILES_MAX 8

/* Source: time stamps of FAT are even seconds; those of ext4 with small inodes are whole ones. */
#define IDENTITY_GRANULARITY_NSEC (INT64_C(2) * 1000 * 1000 * 1000)

#define IDENTITY_YOUNG_SEC (5 * 60)

#define IDENTITY_AGE_MAX_SEC (24 * 60 * 60)

/* A keyed hash; both 0: none. */
typedef struct Identity {
        uint64_t words[2];
} Identity;

/*
 * identity_table_new() - one empty record for each of n states
 * @like: the key is taken from this one, so that its records can be copied; NULL: a new key
 *
 * The engine's mapping is not there in children. Theirs is read-only, for good: no mprotect(2) changes that, no descriptor
 * is left, and what the engine writes is seen at once, also by those forked before.
 *
 * Return: 0; -errno of memfd_create(2), mmap(2) and their like.
 */
int identity_table_new(uint32_t n, const IdentityTable *like, IdentityTable **ret);
IdentityTable *identity_table_free(IdentityTable *table);
DEFINE_CLEANUP(IdentityTable *, identity_table_free)

/*
 * Gives the image a table, into which go the records of those states of the old image (NULL) that are still what they were:
 * same id, parameters and module. `status` is the new image's, for its index. Without memory there is none, so that all is
 * read at each check.
 */
void identity_adopt(Image *image, const StatusTable *status, const Image *old);

/* In the engine. A table that is NULL has nothing and takes nothing. until_sec: CLOCK_BOOTTIME. */
void identity_remember(IdentityTable *table, uint32_t state, const Identity *identity, uint32_t until_sec);
void identity_forget(IdentityTable *table, uint32_t state);

/* Until when a record is good that is said to be good for so long. Not quite so long, each another while, so that what was
 * read at once is not read again at once. */
uint32_t identity_until(const Identity *identity, uint32_t now_sec, uint32_t good_for_sec);

/* In a worker: what is remembered of the state is this, and still good. now_sec: CLOCK_BOOTTIME. */
bool identity_holds(const IdentityTable *table, uint32_t state, const Identity *identity, uint32_t now_sec);

/* Whether anything is. */
bool identity_is_known(const IdentityTable *table, uint32_t state, uint32_t now_sec);

/* Of files that were asked for with STATX_BASIC_STATS, in this order. Return: 0; -EINVAL: none, too many, or the file system
 * did not say all. */
int identity_make(const IdentityTable *table, const struct statx *files, size_t n, Identity *ret);

/* Of any number of files, one after the other: what there was so far, at first a zeroed one, and this one. Return: 0; -EINVAL. */
int identity_add(const IdentityTable *table, const struct statx *file, Identity *identity);

/* For how long it may be relied upon that any change from began_nsec (CLOCK_REALTIME_COARSE) on makes another identity; 0: not
 * at all. */
uint32_t identity_good_for(const struct statx *file, int64_t began_nsec);

/* type: f_type of statfs(2). */
bool identity_file_system_is_good(uint64_t type);
