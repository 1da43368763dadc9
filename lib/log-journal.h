/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Entries for the journal, by its native protocol. sd_journal_sendv() waits without end for a journald that does not read;
 * this does not. Source: systemd's "Native Journal Protocol" (systemd.io/JOURNAL_NATIVE_PROTOCOL).
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define JOURNAL_SOCKET    "/run/systemd/journal/socket"
#define JOURNAL_WAIT_MSEC 500
#define JOURNAL_ENTRY_MAX 65536 /* bytes; the kernel takes 212992 by default */

/*
 * journal_send() - sends an entry of n fields, each "NAME=value"
 *
 * A journald that does not keep up is waited for, JOURNAL_WAIT_MSEC at most, and not again until it took an entry; the first
 * one after that is followed by another which says how many were lost.
 *
 * Return: 0; -ENOENT, -ECONNREFUSED: there is no journald; -EAGAIN: it does not read; -EMSGSIZE: the entry is too large;
 *         -ENOMEM; other -errno.
 */
int journal_send(const struct iovec *fields, size_t n);

/* True if the last entry was lost since journald does not read. */
bool journal_is_stuck(void);

/* For tests: another socket; NULL: the usual one. */
void journal_set_socket(const char *path);
