/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the parts of agentd-extract share: which paths are let in (extract-policy.c), the tree that is written
 * (extract-tree.c), and what the process gives up first (extract-sandbox.c).
 */

#include <sys/stat.h>

#include "manifest.h"
#include "util.h"

/* ---- Policy ---------------------------------------------------------------------------------------------------- */

/*
 * policy_clean() - the path that an entry of the archive gets
 * @name: as in the archive
 * @strip: parts that are left out at its beginning
 * @ret: MANIFEST_PATH_MAX bytes; empty if nothing is left of it
 * @reterr_why: a constant
 *
 * Return: 0; -EINVAL: it is refused.
 */
int policy_clean(const char *name, unsigned strip, char *ret, const char **reterr_why);

/*
 * policy_matches() - does one of the patterns match the path, or a directory above it?
 *
 * One with a '/' is about the whole path, one without about a name anywhere.
 */
bool policy_matches(char *const *patterns, size_t n, const char *path);

/* Whether a symlink at the path stays in the tree, as far as names tell: links on its way are not looked at. */
bool policy_target_stays(const char *path, const char *target);

/* For messages: what is no plain ASCII is escaped. Returns buffer. */
char *policy_show(const char *text, char *buffer, size_t size);
#define SHOW(text) policy_show((text), (char[512]){}, 512)

/* ---- Tree ------------------------------------------------------------------------------------------------------ */

typedef struct Tree {
        int fd;        /* of the directory that everything lies in */
        void *entries; /* of tsearch(3): TreeEntry */
        size_t n_entries, entries_max;
        uint64_t n_bytes, bytes_max;
        char parent[MANIFEST_PATH_MAX]; /* the directory that parent_fd is open for */
        int parent_fd;
} Tree;

/* Not to be said but for one reason: it has been said. */
#define E_SAID ENOTRECOVERABLE

/* All of these say what is wrong, with the path, and return -E_SAID then. */

int tree_init(Tree *tree, int directory_fd, size_t entries_max, uint64_t bytes_max);
void tree_done(Tree *tree);

int tree_add_directory(Tree *tree, const ManifestEntry *entry);
int tree_add_symlink(Tree *tree, const ManifestEntry *entry);

/* A new, empty file in place of one that is there; to be filled, then tree_finish_file(). */
int tree_add_file(Tree *tree, const ManifestEntry *entry, int *ret_fd);
/* Takes bytes from what may be written in all. */
int tree_charge(Tree *tree, const char *path, uint64_t size);
int tree_finish_file(
        Tree *tree, const char *path, uint64_t size, const uint8_t hash[static MANIFEST_HASH_SIZE]);

/* A copy of a file that is there already. */
int tree_add_copy(Tree *tree, const char *path, const char *original);

/* No symlink leads out of the tree, whichever way. */
int tree_check_links(Tree *tree);

/* Writes it all into the file `name` of a directory. */
int tree_write_manifest(Tree *tree, int directory_fd, const char *name);

/* ---- Process --------------------------------------------------------------------------------------------------- */

/* From here on the process can write below the directory, read its standard input, and nothing else. What the kernel does not
 * have is left out. Return: 0; -errno. */
int sandbox_enter_extract(int directory_fd, uint64_t bytes_max);

/* One line to standard error. Returns -E_SAID. */
int say(const char *format, ...) _printf_(1, 2);
