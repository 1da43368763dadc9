/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where parts of downloads lie, and signatures of what was fetched. */

#include "util.h"

/* Parts that nobody came back for. */
#define DOWNLOAD_AGE_MAX (7 * 24 * 60 * USEC_PER_MINUTE)

/* What parts may take together, but for those that are being written. */
#define DOWNLOAD_PARTS_MAX (UINT64_C(4) << 30)

/* Signatures of states that are gone. */
#define DOWNLOAD_SIGNATURE_AGE_MAX (366 * 24 * 60 * USEC_PER_MINUTE)

/* Below the managed root. make: if it is not there; it is root's, mode 0700. Return: 0; -EPERM if it is somebody else's; -errno. */
int download_directory_open(int root_fd, bool make, int *ret);

/*
 * download_directory_clean() - removes what is old, and the oldest parts if there is too much of them
 * @max_bytes: DOWNLOAD_PARTS_MAX
 * @keep:      a name that stays: that of the caller's signature …
 * @keep_part: … and of its part
 *
 * What is locked is being written, and stays.
 */
void download_directory_clean(int dir_fd, uint64_t max_bytes, const char *keep, const char *keep_part);
