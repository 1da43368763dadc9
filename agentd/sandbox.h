/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util.h"

/*
 * What keeps a check from changing the host. Each of these alone leaks; together they refuse write, chmod, remount,
 * setns, kill, block devices and StartUnit (tests/box/test_sandbox.py tries them all):
 *
 *      - a user of its own without groups, and of all capabilities only CAP_DAC_READ_SEARCH: may read everything
 *      - no_new_privs: no set-uid program helps
 *      - a mount namespace in which every mount is read-only, without devices but null, zero and urandom, and which
 *        passes no mounts on in either direction
 *      - no descriptor and no terminal of the engine's, and no address of the image that could be written
 *      - no network: sockets only of the families that look-ups need (AF_UNIX, AF_NETLINK)
 *      - no system call that makes what outlives the process without being a file, that leads around the mounts, or
 *        that leaves the process group, with which all that it started is killed
 *      - limits of memory and processes; files of no size
 *
 * Commands that decide are started by a process beside the worker (runner.h), which has the same walls around it and a few of
 * its own: process ids of which it is the first, so that whatever it started ends with it, and a /tmp in memory.
 *
 * What is left to it: it can kill other check workers, which costs a retry; lock files that it can read, while it lives;
 * read from pipes that have a name; and say to daemons what any local user may say to them. It can spoil the image as
 * far as it sees it itself, so a module that is broken may harm the checks of others in the same worker.
 */

typedef struct SandboxOptions {
        uid_t uid;
        gid_t gid;
        size_t memory_bytes; /* beyond what the process maps now; 0: no limit */

        /* For what starts commands that decide: a /tmp of its own, if there is a place for it, which can be written, files
         * of some size, and a root, as a command resolves its paths by itself. */
        bool for_commands;
        const char *root; /* with for_commands only; NULL: as it is */
} SandboxOptions;

/* What commands may write into their /tmp, and into one file. */
#define SANDBOX_TMP_BYTES  MIB(64)
#define SANDBOX_FILE_BYTES MIB(64)

/*
 * sandbox_find_user() - the user that checks run as
 * @ret_uid, @ret_gid: those of `agentd-check`; if the host has no such user, ids that nobody uses
 *
 * Return: 1 if the user exists; 0 if ids were made up; -errno.
 */
int sandbox_find_user(uid_t *ret_uid, gid_t *ret_gid);

#define SANDBOX_FETCH_USER "agentd-fetch"

/* Likewise the user that downloads run as; never that of the checks. */
int sandbox_find_fetch_user(uid_t *ret_uid, gid_t *ret_gid);

/*
 * sandbox_is_possible() - whether this process may build the sandbox at all; in many containers root may not
 *
 * Looks at the capabilities it takes: CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH, CAP_SETUID, CAP_SETGID, CAP_SETPCAP.
 */
bool sandbox_is_possible(void);

/*
 * sandbox_enter() - gives up, for ever, what would let this process change the host
 *
 * To be called in a fresh child that has one thread and has closed its descriptors.
 *
 * Return: 0; -errno, and *ret_step says in a few words what could not be done. The process must then exit.
 */
int sandbox_enter(const SandboxOptions *options, const char **ret_step);

/* Limits the address space to what is mapped now plus so many bytes; does nothing in a build with AddressSanitizer,
 * which reserves terabytes. Return: 0; -errno. */
int limit_memory(size_t more_bytes);

/* Closes all descriptors from `first` on, except those listed (sorted, ascending). */
void close_descriptors(int first, const int *except, size_t n);
