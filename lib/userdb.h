/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "util.h"

/*
 * Names of users and groups, and their ids, as ROOT/etc/passwd and ROOT/etc/group say. Each file is read once, at the
 * first question that needs it, and answers come from hash tables after that. A file that does not exist is an empty
 * one. Of two lines with the same name or id the first counts, as for getpwnam(3).
 *
 * If root_fd is the host's own root, what the files do not have is asked of NSS (LDAP, systemd-userdbd, DynamicUser=);
 * its answers, also that there is no such name, are kept like the files. That may block, so agentd asks in workers only.
 */
typedef struct UserDb UserDb;

enum {
        USERDB_NO_NSS = 1u << 0, /* the files only, also on the host */
};

/**
 * userdb_new() - makes one; reads nothing yet
 * @root_fd: see path_open_root(); duplicated
 * @flags:   USERDB_NO_NSS
 * @ret:     free with userdb_free()
 *
 * Return: 0; -ENOMEM; other -errno if root_fd is none.
 */
int userdb_new(int root_fd, unsigned flags, UserDb **ret);
UserDb *userdb_free(UserDb *db);
DEFINE_CLEANUP(UserDb *, userdb_free)

/**
 * userdb_refresh() - makes later questions see the files as they are now
 *
 * Forgets a file whose device, inode, size, mtime or ctime changed, or that was changed less than a clock tick before it
 * was read; and all that NSS said. Names that were returned become invalid. Costs two fstatat(2).
 *
 * Return: 1 if a file is going to be read again, 0 if not; -errno, with everything forgotten.
 */
int userdb_refresh(UserDb *db);

/**
 * userdb_user_id() - the id of a user
 * @name: a name, or a decimal id without leading zeros, which is returned as it is whether or not somebody has it
 *
 * Return: 0; -ESRCH if there is no such user; -ERANGE for a number that cannot be an id (4294967295 and above); other
 *         -errno if the files cannot be read or NSS fails.
 */
int userdb_user_id(UserDb *db, const char *name, uid_t *ret);

/* The same for a group. */
int userdb_group_id(UserDb *db, const char *name, gid_t *ret);

/* The name of an id, or NULL if it has none or that cannot be told. Owned by db until the next userdb_refresh(). */
const char *userdb_user_name(UserDb *db, uid_t uid);
const char *userdb_group_name(UserDb *db, gid_t gid);
