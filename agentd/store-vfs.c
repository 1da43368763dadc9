/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * SQLite's index of the log is a file in memory that all who have the database open share (store.db-shm). SQLite makes it long
 * enough by a byte in each of its pages; where the blocks of a file system are smaller, or are given out anew at each write, as
 * with btrfs, a disk that is full then shows at the first access: by SIGBUS. So all of it is asked for when it is mapped, where there
 * is an error to be had instead.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "store-internal.h"
#include "util.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; before, nobody can tell */
#endif

static sqlite3_vfs *unix_vfs;
static const sqlite3_io_methods *unix_methods;
static sqlite3_vfs vfs;
static sqlite3_io_methods methods;

static int map(sqlite3_file *file, int region, int size, int extend, void volatile **ret) {
        int rc = unix_methods->xShmMap(file, region, size, extend, ret);

        if (rc != SQLITE_OK || !*ret)
                return rc;
        if (madvise((void *) (uintptr_t) *ret, (size_t) size, MADV_POPULATE_WRITE) >= 0 || errno != EFAULT)
                return SQLITE_OK;
        *ret = NULL; /* or it would be used the next time */
        return SQLITE_FULL;
}

static int open_file(
        _unused_ sqlite3_vfs *v, const char *path, sqlite3_file *file, int flags, int *ret_flags) {
        int rc = unix_vfs->xOpen(unix_vfs, path, file, flags, ret_flags);

        if (rc != SQLITE_OK || !(flags & SQLITE_OPEN_MAIN_DB) || !file->pMethods ||
                file->pMethods->iVersion < 2 || !file->pMethods->xShmMap)
                return rc;
        if (!unix_methods) {
                unix_methods = file->pMethods;
                methods = *unix_methods;
                methods.xShmMap = map;
        }
        if (file->pMethods == unix_methods)
                file->pMethods = &methods;
        return rc;
}

const char *store_vfs(void) {
        static const char name[] = "agentd";

        if (unix_vfs)
                return name;
        unix_vfs = sqlite3_vfs_find("unix");
        if (!unix_vfs)
                return NULL;
        vfs = *unix_vfs;
        vfs.pNext = NULL;
        vfs.zName = name;
        vfs.xOpen = open_file;
        if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK) {
                unix_vfs = NULL;
                return NULL;
        }
        return name;
}
