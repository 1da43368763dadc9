/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What enablement*.c share. */

#include <stdint.h>

#include "enablement.h"

/* A symlink directly in a directory of the search path. */
typedef struct TopLink {
        struct TopLink *next_own, *next_to; /* of the same name; to the same name */
        struct Entry *own, *to;             /* to: the last part of what it says */
        unsigned directory;
} TopLink;

/* All that directories say of one name. Each word has a bit for each directory of the search path. */
typedef struct Entry {
        struct Entry *next; /* of the same hash */
        uint32_t hash;
        uint32_t present;   /* has an entry of this name */
        uint32_t wanted;    /* has a link of this name in one of its *.wants/, *.requires/ */
        uint32_t instances; /* has a link to an instance of this template, or to it, in one of these */
        TopLink *own, *to;  /* links of this name; to this name */
        UnitFile *unit;     /* once it was asked for */
        char name[];
} Entry;

typedef struct Identity {
        uint64_t device, inode, size;
        struct timespec mtime, ctime;
} Identity;

/* What was looked at. */
typedef struct Seen {
        struct Seen *next;
        const char *path;
        int directory; /* of the search path, in which path is a name, not followed; -1: path is below the root, followed */
        bool is_there;
        Identity identity;
} Seen;

struct UnitFiles {
        int root_fd;
        UnitOwner owner;
        UnitPaths paths;
        int fds[UNIT_PATHS_MAX]; /* of directories; -EBADF: is not there */

        Pool pool;
        uint32_t seed; /* of hashes */
        Entry **table;
        size_t n_buckets, n_entries;
        Seen *seen;
        struct timespec began; /* of the reading */
        bool is_young;         /* something was changed just before it was read, or while it was */
        bool is_read;          /* all of it */
};

/* The entry of a name; it is made if make. NULL: there is none, or no memory. */
Entry *entry_get(UnitFiles *files, const char *name, bool make);

/* Reads all directories. Return: 0; -errno. */
int index_read(UnitFiles *files);
void index_clear(UnitFiles *files);

/* Remembers that a file was looked at. st: NULL: it was not there. Return: 0; -ENOMEM. */
int index_saw(UnitFiles *files, int directory, const char *path, const struct stat *st);

/* Whether all is as it was. */
bool index_is_fresh(const UnitFiles *files);

/* Return: 0; -ENOMEM, -E2BIG. What is wrong with the unit itself is in its error. */
int unit_load(UnitFiles *files, const char *name, UnitFile **ret);

/* The same, of a file outside of the search path; it is not remembered under its name. */
int unit_load_at(UnitFiles *files, const char *path, UnitFile **ret);
