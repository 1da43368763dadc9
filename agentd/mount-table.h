/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * mount_point_of() - the mount point below which a path lies, by text alone: the path is not looked at, since that is
 *                    what hangs when its file system does
 * @table: text of the kernel's mountinfo; NULL reads /proc/self/mountinfo
 * @path:  absolute, normalised; symlinks in it are not followed
 * @ret:   allocated
 *
 * Source: proc(5), "/proc/[pid]/mountinfo".
 * Return: 0; -ENOENT if there is none; other -errno.
 */
int mount_point_of(const char *table, const char *path, char **ret);

/* True if the path is the directory or lies below it; both absolute and normalised. */
#include <stdbool.h>
bool path_is_below(const char *path, const char *directory);
