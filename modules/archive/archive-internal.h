/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the parts of the module share: the declaration and its callbacks (archive.c), what is there (look.c, compare.c), and
 * making it (unpack.c, place.c, remove.c).
 */

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <agentd/module.h>

#include "manifest.h"

#define _cleanup_(function) __attribute__((cleanup(function)))

static inline void closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}
static inline void freep(void *pointer) {
        free(*(void **) pointer);
}
static inline void closedirp(DIR **dir) {
        if (*dir)
                (void) closedir(*dir);
}
#define _cleanup_close_    _cleanup_(closep)
#define _cleanup_free_     _cleanup_(freep)
#define _cleanup_closedir_ _cleanup_(closedirp)

#define ARCHIVES_DIR "/var/lib/agentd/archives"

/* The largest manifest that is read. */
#define MANIFEST_SIZE_MAX (256 * 1024 * 1024)

/* What a state declares. */
typedef struct Archive {
        const char *source; /* absolute path; NULL: url */
        const char *url;
        const char *checksum; /* NULL: that of the source as it is */
        int64_t strip;
        const AgentdValue *include, *exclude; /* lists; NULL */
        const char *owner, *group;            /* NULL: root */
        bool names;                           /* owners are those of the archive, where there are such */
        mode_t file_mode, directory_mode;
        const char *creates;
        bool purge;
        int64_t max_size, max_files;
        const char *parameters; /* those that decide what comes out of the archive, as one text */
} Archive;

/* Ids of names that were looked up. */
typedef struct Owners {
        struct {
                const char *name; /* the manifest's */
                uint32_t id;
                bool group;
        } known[64];
        size_t n_known;
        uid_t uid; /* whatever has no name here is theirs */
        gid_t gid;
        bool to_come; /* one of them does not exist yet: a state before this one makes it */
} Owners;

/* What there is. */
typedef struct Look {
        const char *path;
        int dir_fd; /* the directory that it lies in; -1: missing */
        const char *name;
        int fd; /* the directory itself; -1: missing */
        struct stat st;
        Owners owners;
        Manifest manifest; /* of the last time; .text is NULL if there is none */
        char *archive;     /* which one it should be, as its checksum; NULL: not looked at */
        int source_fd, manifest_fd;
        bool differs;
} Look;

void look_init(Look *look, const char *path);
void look_done(Look *look);

/* What is wrong, for people. */
const char *explain(int r);

/* All of the following that return -1 have finished the state, as failed. */

/* Reports what differs. Return: 0; 1: the state is finished; -1. */
int archive_look(AgentdContext *c, size_t i, const AgentdState *state, Look *look);

/* The path of the kept manifest; ret: PATH_MAX bytes. */
void kept_path(const char *destination, char *ret);

/* "blake2b:…" of an open file, to be freed. Return: 0; -errno. */
int hash_archive(int fd, char **ret);

/*
 * tree_compare() - compares a directory with a manifest
 * @report: is told each difference; NULL: nobody is
 * @content: files are read where they are not known to be what they were
 *
 * Return: differences; -errno.
 */
typedef void (*CompareReport)(
        AgentdContext *c, size_t i, const char *attribute, const char *is, const char *should);
int64_t tree_compare(AgentdContext *c, size_t i, const Archive *archive, Manifest *manifest, int fd,
        Owners *owners, CompareReport report, bool content);

/* The modes and owners that the state wants of an entry. */
mode_t entry_mode(const Archive *archive, const ManifestEntry *entry);
uid_t entry_uid(AgentdContext *c, const Archive *archive, Owners *owners, const ManifestEntry *entry);
gid_t entry_gid(AgentdContext *c, const Archive *archive, Owners *owners, const ManifestEntry *entry);

/* openat2() that cannot leave the directory, follows no symlink and crosses no mount. Return: a descriptor; -errno. */
int open_strict(int fd, const char *path, uint64_t flags);

/* Makes the directory what the archive says. Return: 0; -1. */
int archive_unpack(AgentdContext *c, size_t i, const AgentdState *state, Look *look);

/*
 * Makes of the tree in `work`, which was unpacked without rights, that of the state: owners and modes; then puts it where it
 * belongs, and notes in the manifest what is there then. Return: 0; -1.
 */
int place_own(AgentdContext *c, size_t i, const Archive *archive, Look *look, Manifest *manifest,
        int tree_fd, uid_t unpacked_by);
int place_swap(AgentdContext *c, size_t i, const Archive *archive, Look *look, int work_fd);
int place_merge(
        AgentdContext *c, size_t i, const Archive *archive, Look *look, Manifest *manifest, int tree_fd);

/* Removes a directory with all that is in it, and nothing of other file systems. Return: 0, also if it is not there; -errno. */
int remove_tree(int dir_fd, const char *name);
/* … all those whose name begins so. */
int remove_left_over(int dir_fd, const char *prefix);
