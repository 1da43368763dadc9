/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Old contents, each in a file of its own below DIRECTORY/content, by its hash: what a change has taken away.
 *
 *      content/a1/a1b2…     0600, named by BLAKE2b-256 of the content, in hex
 *      content/.new-…       being written; what was left there is collected
 *      content.key          32 bytes, made once: of what is sealed the hash is keyed, and the file encrypted
 *
 * A file is a header (see content-internal.h) and the content in blocks of 128 KiB, each compressed if that makes it smaller,
 * then encrypted if it is sealed. Nothing is synced: after a power cut a file may be cut short, which who reads it is told.
 * Apply workers write, the housekeeper collects, everybody at any time.
 */

#include "util.h"

#define CONTENT_DIRECTORY "content"
#define CONTENT_KEY       "content.key"

#define CONTENT_HASH_SIZE 32
#define CONTENT_NAME_SIZE (2 * CONTENT_HASH_SIZE + 1)

/* What nobody refers to is collected when it is so old: until then its result may be on the way to the store. */
#define CONTENT_GRACE_USEC (60 * USEC_PER_MINUTE)

typedef struct ContentStore ContentStore;

typedef struct ContentKept {
        char name[CONTENT_NAME_SIZE]; /* the hash */
        uint64_t size;                /* of the content, bytes */
        bool sealed;
} ContentKept;

/*
 * content_store_open() - opens the store below a directory
 * @make: make what is missing; else it must be there
 *
 * The key is read, or made, when the first sealed content comes up. Return: 0; -ENOENT; other -errno.
 */
int content_store_open(const char *directory, bool make, ContentStore **ret);
ContentStore *content_store_free(ContentStore *store);
DEFINE_CLEANUP(ContentStore *, content_store_free)

/*
 * content_put(), content_put_file() - keeps a content
 * @fd:  whose content it is, from its start to its end; the offset stays where it is
 * @max: bytes; what is larger is not kept
 *
 * What is there already and in order is kept for longer, and not written again. The name is that of what was stored, also
 * if the file changes meanwhile. Memory does not depend on the size.
 *
 * Return: 0; -EFBIG: it is larger than max; -EBADMSG, -EPERM: content.key is damaged, or others can read it; -ENOSPC and
 * other -errno: nothing is left behind.
 */
int content_put(ContentStore *store, const void *data, size_t size, bool sealed, ContentKept *ret);
int content_put_file(ContentStore *store, int fd, bool sealed, uint64_t max, ContentKept *ret);

/* Takes a piece of a content, in order. A negative return ends the reading. */
typedef int (*ContentSink)(void *userdata, const void *data, size_t size);

/*
 * content_get() - reads a content
 * @name:   64 lower case hex digits
 * @sink:   is given it piece by piece; that all of it was as it should be is known only when this returns 0. NULL: it is
 *          only looked whether it is
 * @reterr: what is wrong, in one line; not to be freed. Set on failure
 *
 * Return: 0; -ENOENT: there is none; -EINVAL: this is no name; -EBADMSG: it is damaged; -EPROTONOSUPPORT: it was written by a
 * later version; -ENOKEY: it is sealed, and content.key is not there; other -errno, also of the sink.
 */
int content_get(ContentStore *store, const char *name, ContentSink sink, void *userdata, ContentKept *ret,
        const char **reterr);

bool content_name_is_valid(const char *name) _pure_;

/* True: a result refers to it; negative: cannot be told, and collecting ends. */
typedef int (*ContentIsWanted)(void *userdata, const char *name);

/*
 * content_collect() - removes what is not to be kept
 * @directory:  as above; that there is no store is fine
 * @max_bytes:  of all files; the oldest go, wanted or not
 * @now_usec:   CLOCK_REALTIME
 *
 * Also what is older than CONTENT_GRACE_USEC and not wanted, or left over from a writer that was killed. Return: 0; -errno.
 */
int content_collect(
        const char *directory, uint64_t max_bytes, usec_t now, ContentIsWanted is_wanted, void *userdata);

/* Writes a content to standard output, for agentd --content. Return: an exit status. */
int content_print(const char *directory, const char *name, bool force);
