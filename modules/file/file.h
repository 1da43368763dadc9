/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The rooms of the module `file`, which keeps what is at a path as declared:
 *
 *      file.c     parameters, and the callbacks: prepare, watch, check, apply
 *      look.c     what is there now
 *      compare.c  what of it differs, and says so
 *      make.c     what undoes the change, and the change
 *      force.c    puts one kind of thing in the place of another
 *      attribute.c, acl.c, capability.c, mode.c
 *                 attributes: reading what is declared, comparing, setting
 *      tree*.c    the same for what lies below a directory; see tree.h
 *      download.c content from a server
 *
 * check and apply both look and compare, since the host may have changed in between; apply then makes.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <agentd/module.h>

typedef enum Kind {
        KIND_FILE,
        KIND_DIRECTORY,
        KIND_SYMLINK,
        KIND_HARDLINK, /* of what is declared only: what is there is a file */
        KIND_ABSENT,
        KIND_OTHER, /* of what is there only */
} Kind;

extern const char *const kind_names[];

#define KEEP (-1)

/* An entry of an access control list, as it is declared. */
typedef struct AclWish {
        bool is_default;
        uint16_t tag, permissions; /* as the kernel has them */
        const char *name;          /* of the user or group; NULL: not about one */
} AclWish;

typedef struct Capabilities {
        uint64_t permitted, inheritable;
        bool effective;
        uint32_t root_id; /* of the user namespace that they are for; never declared */
} Capabilities;

/* What few files have, so that the many others need no room for it. */
typedef struct Extras {
        const char *symbolic;        /* NULL: the mode is as the file has it, or … said like this */
        const char *const *validate; /* ended by NULL; NULL: none */

        /* Attributes that not every file system has. */
        bool has_extended; /* any of these four is declared */
        bool has_acl, has_capabilities;
        const AclWish *acl;
        size_t n_acl;
        const AgentdMember *xattrs;
        size_t n_xattrs;
        const char *selinux;
        Capabilities capabilities;
        int immutable, append_only;     /* 0, 1, KEEP */
        const struct Tree *tree;        /* what lies below; NULL: not managed. See tree.h */
        const AgentdDownload *download; /* has the content; NULL: none */
} Extras;

typedef struct File {
        Kind kind;
        int32_t mode;        /* KEEP: not managed, or symbolic */
        const char *content; /* NULL: not managed, or in source */
        size_t content_size;
        const char *source; /* absolute path, NULL: none */
        const char *target;
        const char *owner, *group;
        mode_t parents_mode;
        bool make_parents;
        bool only_if_missing; /* about the content */
        bool force;
        const Extras *extras; /* NULL: it has none */
} File;

static inline const Extras *extras_of(const File *file) {
        static const Extras none = { .immutable = KEEP, .append_only = KEEP };

        return file->extras ? file->extras : &none;
}

/* What is at the path, and what should be, once names are ids. */
typedef struct Look {
        const char *path;
        Kind kind;
        struct statx st; /* unless it is absent */
        int dir_fd;      /* -1: the directory is missing */
        const char *name;
        uid_t uid; /* KEEP: not managed */
        gid_t gid;
        bool owner_to_come, group_to_come; /* does not exist yet, a state before this one makes it */
        bool pending;                      /* states before this one will have changed things */
        bool has_remains;                  /* of a replacement that a crash has interrupted */
        mode_t seen_mode;                  /* without the mask that an access control list makes of it */
        int64_t mode;                      /* that it should have, likewise; KEEP */
        bool content_differs, mode_differs, owner_differs, group_differs, target_differs;
        bool acl_differs, default_acl_differs, xattrs_differ, selinux_differs, capabilities_differ;
        bool immutable_differs, append_only_differs;
        bool sync_later; /* the caller syncs the file system */
} Look;

/* What a state of this kind looks like to stat(2). */
static inline Kind kind_on_disk(Kind kind) {
        return kind == KIND_HARDLINK ? KIND_FILE : kind;
}

static inline void close_fd(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}

/* Of an int that is initialised: closed at the end of its block, unless it is negative. */
#define CLOSED __attribute__((cleanup(close_fd)))

/* ---- look.c ---------------------------------------------------------------------------------------------------- */

Kind kind_of(mode_t mode);

/* What is wrong with getting at a path, for people. r: -errno. */
const char *explain(int r);

/* Finds ids and what is there. Return: 0; -1 if the state is finished, as it cannot be. */
int file_look(AgentdContext *c, size_t i, const AgentdState *state, Look *look);

/* For reading; a link is not followed. Return: a descriptor; -errno. */
int open_regular(int dir_fd, const char *name);

/* Likewise a file or directory, whatever of the two it is to be; for its attributes. */
int open_for_attributes(int dir_fd, const char *name, Kind kind);

/* The mode that a file has been given, once what is there is known. kind: on disk; mode: as it is. */
int64_t file_mode(const File *file, Kind kind, mode_t mode);

int open_source(AgentdContext *c, const File *file);

/* ---- compare.c ------------------------------------------------------------------------------------------------- */

/* Reports what differs. Return: 0; -1 if the state is finished. */
int file_compare(AgentdContext *c, size_t i, const File *file, Look *look);

/* Reads what will be shown, malloc'ed; NULL if it is too large. */
char *read_shown(int fd, size_t *ret_size);

/* ---- mode.c ---------------------------------------------------------------------------------------------------- */

/* A symbolic mode applied to a mode. Return: 0; -EINVAL if it is none. */
int mode_apply(const char *text, bool directory, mode_t mode, mode_t *ret);

/* Return: 0; -EINVAL: it is no mode; -EDOM: applied again it would mean something else, so it is nothing to keep. */
int mode_parse(const char *text);

/* ---- acl.c ----------------------------------------------------------------------------------------------------- */

#define ACL_ENTRIES_MAX  256
#define ACL_DECLARED_MAX 240

typedef struct AclEntry {
        uint16_t tag, permissions;
        uint32_t id;
} AclEntry;

/* Sorted. Empty: no list, the mode says all. */
typedef struct Acl {
        size_t n;
        AclEntry entries[ACL_ENTRIES_MAX];
} Acl;

/* Return: NULL; what is wrong with it. */
bool acl_is_same_entry(const AclWish *a, const AclWish *b);
const char *acl_parse(AgentdPrepare *prepare, const char *text, AclWish *ret);

/* Return: 0; -EOPNOTSUPP: the file system has none; -ERANGE: it has more entries than we know what to do with; -errno. */
int acl_read(int fd, bool of_default, Acl *ret);
int acl_write(int fd, bool of_default, const Acl *acl);

/* The list that is declared, for a file of this mode. Return: 0; -ESRCH and the name that nobody has; -errno. */
int acl_wanted(AgentdContext *c, const File *file, bool of_default, mode_t mode, Acl *ret,
        const char **reterr_name);

/* The mode that chmod(2) was given once, and that stat(2) shows, which has the mask in the place of the group. */
mode_t acl_mode(const Acl *access, mode_t mode);
mode_t acl_shown_mode(const Acl *access, mode_t mode);

/* Of access lists without what the mode says. */
bool acl_equal(const Acl *a, const Acl *b, bool of_default);
void acl_print(AgentdContext *c, const Acl *acl, bool of_default, char *text, size_t size);

/* ---- capability.c ---------------------------------------------------------------------------------------------- */

#define CAPABILITIES_TEXT_SIZE 2048

/* Return: 0; -EINVAL. */
int capabilities_parse(const char *text, Capabilities *ret);
int capabilities_read(int fd, Capabilities *ret);
int capabilities_write(int fd, const Capabilities *capabilities);
bool capabilities_equal(const Capabilities *a, const Capabilities *b);
void capabilities_print(const Capabilities *capabilities, char *text, size_t size);

/* ---- attribute.c ----------------------------------------------------------------------------------------------- */

#define XATTR_NAMES_SIZE 65536 /* XATTR_LIST_MAX of the kernel */

/* Reports which of the attributes that not every file system has differ. Return: 0; -1 if the state is finished. */
int compare_extended(AgentdContext *c, size_t i, const File *file, Look *look);

/* Of what is there, what is about to change; all of it if `lost`. */
void record_extended_undo(AgentdContext *c, size_t i, const File *file, const Look *look, bool lost);

/* Likewise all that an open file or directory has which is about to go. of: its path, if it lies below. Return: how many. */
size_t record_lost(AgentdContext *c, size_t i, int fd, const char *of);

/* Gives them to an open file; its mode has to be set after. Return: 0; -errno, and for people why. */
int set_extended(AgentdContext *c, const File *file, const Look *look, int fd, const char **ret_error);

/* Gives a new file what the old one has and the state says nothing of. */
int keep_extended(const File *file, const Look *look, int old_fd, int fd, const char **ret_error);

/* The mode for chmod(2), of a file that is to have this mode. */
int mode_with_acl(AgentdContext *c, const File *file, mode_t mode, mode_t *ret, const char **ret_error);

/* Whether it cannot be changed without taking away flags that the state does not speak of: why, or NULL. */
const char *is_protected(const File *file, const Look *look);

/* Flags that keep a file from being changed: off for the change, and as they are to be after it. */
bool has_flags(const Look *look);
int clear_flags(int fd);
int set_flags(const File *file, const Look *look, int fd);

/* ---- force.c --------------------------------------------------------------------------------------------------- */

/* The name beside the path that what is put there by force is made under, and what was there is removed under. */
void aside_name(const char *name, char ret[static 32]);

/* Likewise of a hard link, until it takes the place of another file. */
void link_name(const char *name, char ret[static 32]);

/* Whether a replacement was cut short. */
bool force_has_remains(const Look *look);

/* At a directory that is to go. Return: 0; -1 if the state is finished, as what is in there cannot be removed. */
int force_look(AgentdContext *c, size_t i, const Look *look);

/* Removes what a crash has left. Return: 0; -errno. */
int force_clean(AgentdContext *c, const Look *look);

/* Replaces, or removes, whatever is there. `make` makes the new thing at a path. Return: 0; -errno. */
int force_make(AgentdContext *c, size_t i, const File *file, const Look *look,
        int (*make)(const char *path, void *userdata), void *userdata, const char **ret_error);
/* Return: 1 equal; 0 not; -errno of reading. size: of fd, as far as it is known. */
int compare_with_file(int fd, off_t size, int source);

/* ---- make.c ---------------------------------------------------------------------------------------------------- */

void record_undo(AgentdContext *c, size_t i, const File *file, const Look *look);

#define STAGED   1
#define FINISHED 2

/*
 * @ret_error: for people, where the errno does not say it
 *
 * Return: 0; STAGED if agentd finishes the state; FINISHED if something was said about it; -errno.
 */
int file_make(AgentdContext *c, size_t i, const AgentdState *state, Look *look, const char **ret_error);

/* Of what is there: sets what differs. */
int set_attributes(AgentdContext *c, const File *file, const Look *look, const char **ret_error);

/* The mode that what is there keeps. */
mode_t kept_mode(const Look *look, mode_t mode);
/* ---- download.c -------------------------------------------------------------------------------------------------- */

extern const AgentdParameter download_fields[];

/* The parameters, and their indices, for errors. */
typedef struct DownloadValues {
        const AgentdValue *url, *checksum, *sha256, *signature, *public_keys, *fields;
        int url_index, signature_index, public_keys_index, fields_index;
} DownloadValues;

/* Return: 0, with NULL in *ret if nothing is to be fetched; -EINVAL: the error was told. */
int download_prepare(AgentdPrepare *prepare, const DownloadValues *values, const AgentdDownload **ret);

/* Compares the content with what is promised of the URL's, and reports it. Return: 0; -1 if the state is finished. */
int compare_download(AgentdContext *c, size_t i, const File *file, Look *look);

/* Fetches it. @ret_error: valid until the next download. Return: a descriptor; -errno. */
int fetch_download(AgentdContext *c, size_t i, const File *file, const char **ret_error);
