/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the store share: store.c (queue, flush, trouble, numbers), store-file.c (opening, closing,
 * setting aside), store-schema.c, store-read.c, store-vfs.c, store-housekeeper.c (the engine's side of housekeeper.c). */

#include <sqlite3.h>
#include <sys/stat.h>

#include "store.h"

/* Numbers reserved in advance, so that none is given twice after a crash. When half of them are used the next ones
 * are reserved with whatever is written then. */
#define STORE_RUNS_BLOCK   INT64_C(100)
#define STORE_EVENTS_BLOCK INT64_C(10000)

/* A burst is written as a whole: so long lies between two transactions at least, unless somebody reads. */
#define STORE_GROUP_USEC (10 * USEC_PER_MSEC)

/* What is written in one transaction, so that the event loop is not held up; and what is queued before a turn is over. */
#define STORE_CHUNK_BYTES  KIB(512)
#define STORE_INLINE_BYTES MIB(1)

/* How long opening at start, and closing in order, wait for another process. In between nothing waits. */
#define STORE_LOCK_MSEC 200

/* Files of one kind that are kept aside. */
#define STORE_ASIDE_MAX 3

/* When the housekeeper fails, or cannot be started. And without one the engine makes a checkpoint itself, late: a
 * stall is better than a full disk. */
#define STORE_HOUSEKEEPER_RETRY_USEC USEC_PER_MINUTE
#define STORE_HOUSEKEEPER_USEC       (24 * 60 * USEC_PER_MINUTE)
/* Old contents that make a housekeeper worth while, whatever the limit is. */
#define STORE_CONTENT_BYTES   MIB(1)
#define STORE_WAL_PAGES_ALONE (16 * STORE_WAL_PAGES)

/* Exit status of the housekeeper that says: the store is corrupt. */
#define HOUSEKEEPER_CORRUPT 3

typedef enum RowKind {
        ROW_RUN,
        ROW_RESULT,
        ROW_CONTENT,
        ROW_STATUS,
        ROW_STATUS_REMOVE,
        ROW_OWED,
        ROW_OWED_REMOVE,
        ROW_EVENT,
        ROW_REMOVAL,
        ROW_REMOVAL_FORGET,
        ROW_RENAME,
        ROW_RENAME_OWED,
        _ROW_KIND_MAX,
} RowKind;

/* A row that waits to be written: its columns, one behind the other. */
typedef struct Row {
        struct Row *next;
        int64_t event; /* its id; 0: it is none */
        uint32_t size; /* bytes of all of it */
        uint8_t kind, n_columns;
        uint8_t data[];
} Row;

/* What the handlers are yet to be told. */
typedef struct Notice {
        struct Notice *next;
        StoreTrouble trouble;
        char detail[];
} Notice;

typedef struct Numbers {
        int64_t next,
                reserved; /* from next on, up to but without reserved, none was given by a process that is gone */
} Numbers;

/* Which file lies at a path. */
typedef struct FileIdentity {
        dev_t device;
        ino_t inode; /* 0: none */
} FileIdentity;

struct Store {
        sd_event *event;
        char *directory, *path, *housekeeper;
        const StoreHandlers *handlers;
        void *userdata;
        StoreLimits limits;

        sqlite3 *db; /* NULL: it could not be opened */
        sqlite3_stmt *statements[_ROW_KIND_MAX];
        FileIdentity files[3]; /* store.db, -wal, -shm */
        Numbers runs, events;
        int64_t last_event; /* the newest */
        bool marked;        /* as being in use, by us */
        bool reopen;        /* close it before it is tried again */
        unsigned n_reading; /* a caller is being shown rows */

        Row *first, **last;
        size_t queue_bytes;
        uint64_t n_lost;

        sd_event_source *turn, *timer;
        bool scheduled;
        usec_t hold_usec;       /* CLOCK_MONOTONIC, as those that follow: nothing is written before */
        usec_t busy_since_usec; /* 0: it is not */
        usec_t reset_usec;      /* when one was last set aside; 0 */

        bool failed;
        int error_code;
        char *error;
        Notice *notices, **last_notice;
        int64_t settled_event, told_event; /* up to that id they may be told; they were */

        /* The housekeeper. */
        pid_t pid;
        sd_event_source *child;
        bool housekeeper_wanted;
        uint64_t content_bytes; /* that results referred to since it was started */
        usec_t housekeeper_hold_usec;
        usec_t kept_usec; /* CLOCK_REALTIME: when it last was done */
        int wal_pages, wal_pages_then;
};

/* ---- store.c --------------------------------------------------------------------------------------------------- */

/* Notes that the store does not work. Told once. Return: -code. */
int store_fail(Store *store, int code, const char *format, ...) _printf_(3, 4);
void store_tell(Store *store, StoreTrouble trouble, const char *detail);

/* What an error of SQLite means, but SQLITE_OK: try again soon, begin afresh, or trouble. No statement may be under way.
 * Return: -EBUSY; -EUCLEAN: there is a fresh store; -errno. */
int store_handle_error(Store *store, int rc);

/* Sees to it that what is due is done by the event loop. */
void store_schedule(Store *store);

/* ---- store-vfs.c ----------------------------------------------------------------------------------------------- */

/* The name of SQLite's access to files that says SQLITE_FULL where SQLite's own would die of SIGBUS; NULL: use that. */
const char *store_vfs(void);

/* ---- store-file.c ---------------------------------------------------------------------------------------------- */

/* Opens it if it is not; what is corrupt or newer is set aside. Return: 0; -errno, told. */
int store_open(Store *store);

/* orderly: writes down that it was. */
void store_close(Store *store, bool orderly);

/* Closes it, and gives it another name. word: "corrupt", "newer". Return: 0; -errno, told. */
int store_set_aside(Store *store, const char *word, const char *why);

/* Looks whether the files are still those that were opened. Return: 0; -ESTALE, told: they were closed. */
int store_check_files(Store *store);

/* ---- store-schema.c -------------------------------------------------------------------------------------------- */

extern const char *const store_schema_steps[];
extern const int store_schema_version;

/*
 * store_schema_migrate() - brings the database to version n
 * @steps:     what to do for version 1, 2, … n
 * @ret_error: set if a step fails: what, in one line; to be freed
 *
 * Each step is a transaction. Return: SQLITE_OK; an error of SQLite.
 */
int store_schema_migrate(sqlite3 *db, const char *const *steps, int n, char **ret_error);

/* The version; or a negative error of SQLite. */
int store_schema_read_version(sqlite3 *db);

/* ---- store-housekeeper.c --------------------------------------------------------------------------------------- */

/* Starts one if it is time. */
void store_keep_house(Store *store);
void store_stop_housekeeper(Store *store);

/* For sqlite3_wal_hook(). */
int store_on_commit(void *userdata, sqlite3 *db, const char *name, int n_pages);
