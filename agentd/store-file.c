/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <time.h>

#include "log.h"
#include "store-internal.h"

/* The database, and what SQLite keeps beside it. */
static const char *const suffixes[] = { "", "-wal", "-shm" };

static FileIdentity file_identity(const char *path, const char *suffix) {
        _cleanup_free_ char *whole = NULL;
        struct stat st;

        if (asprintf(&whole, "%s%s", path, suffix) < 0) {
                whole = NULL;
                return (FileIdentity){};
        }
        if (stat(whole, &st) < 0)
                return (FileIdentity){};
        return (FileIdentity){ .device = st.st_dev, .inode = st.st_ino };
}

int store_check_files(Store *s) {
        static const char *const what[] = { "", "its write-ahead log", "its index of the write-ahead log" };

        assert(s->db);

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                FileIdentity now = file_identity(s->path, suffixes[i]);
                bool database = i == 0;

                if (s->files[i].inode == 0 ||
                        (now.inode == s->files[i].inode && now.device == s->files[i].device))
                        continue;

                /* What is in a log that somebody has deleted can be saved, as long as nobody has begun a new one. */
                if (!database && now.inode == 0 && file_identity(s->path, "-wal").inode == 0)
                        (void) sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
                store_stop_housekeeper(s);
                store_close(s, false);
                s->marked = false;
                if (database)
                        (void) store_fail(s, ESTALE, "it was %s", now.inode == 0 ? "deleted" : "replaced");
                else
                        (void) store_fail(
                                s, ESTALE, "%s was %s", what[i], now.inode == 0 ? "deleted" : "replaced");
                s->hold_usec = 0;
                return -ESTALE;
        }
        return 0;
}

/* ---- Setting aside --------------------------------------------------------------------------------------------- */

/* The oldest of those set aside go: names sort by time. */
static bool prune(const char *directory, const char *word, bool remove) {
        char prefix[64];
        bool any = false;

        (void) snprintf(prefix, sizeof(prefix), STORE_FILE ".%s-", word);
        for (;;) {
                char oldest[NAME_MAX + 1] = "";
                struct dirent *entry;
                unsigned n = 0;
                DIR *d = opendir(directory);

                if (!d)
                        return any;
                while ((entry = readdir(d))) {
                        if (!startswith(entry->d_name, prefix) || endswith(entry->d_name, "-wal") ||
                                endswith(entry->d_name, "-shm"))
                                continue;
                        n++;
                        if (!*oldest || strcmp(entry->d_name, oldest) < 0)
                                (void) snprintf(oldest, sizeof(oldest), "%s", entry->d_name);
                }
                any = n > 0;
                if (remove && n > STORE_ASIDE_MAX) {
                        bool gone = false;

                        FOREACH_ELEMENT(suffix, suffixes) {
                                char name[NAME_MAX + 8];

                                (void) snprintf(name, sizeof(name), "%s%s", oldest, *suffix);
                                if (unlinkat(dirfd(d), name, 0) >= 0 ||
                                        unlinkat(dirfd(d), name, AT_REMOVEDIR) >= 0)
                                        gone = true;
                        }
                        remove = gone;
                } else
                        remove = false;
                (void) closedir(d);
                if (!remove)
                        return any;
        }
}

int store_set_aside(Store *s, const char *word, const char *why) {
        _cleanup_free_ char *aside = NULL, *detail = NULL;
        usec_t now = now_usec(CLOCK_REALTIME), monotonic = now_usec(CLOCK_MONOTONIC);
        time_t seconds = (time_t) (now / USEC_PER_SEC);
        char date[64];
        struct tm tm;

        store_stop_housekeeper(s);
        store_close(s, false);
        s->marked = false;

        /* Whatever spoils one after another is not to fill the disk with them. */
        if (s->reset_usec > 0 && monotonic - s->reset_usec < STORE_RETRY_USEC)
                return store_fail(s, EUCLEAN, "%s, again", why);
        s->reset_usec = monotonic;

        if (!gmtime_r(&seconds, &tm) || strftime(date, sizeof(date), "%Y%m%dT%H%M%S", &tm) == 0)
                (void) snprintf(date, sizeof(date), "0");
        if (asprintf(&aside, "%s.%s-%s.%06uZ", s->path, word, date, (unsigned) (now % USEC_PER_SEC)) < 0) {
                aside = NULL;
                return store_fail(s, ENOMEM, "out of memory");
        }

        /* The database first: SQLite throws the log of an empty one away, but reads a database without its log. */
        FOREACH_ELEMENT(suffix, suffixes) {
                _cleanup_free_ char *from = NULL, *to = NULL;

                if (asprintf(&from, "%s%s", s->path, *suffix) < 0 ||
                        asprintf(&to, "%s%s", aside, *suffix) < 0)
                        return store_fail(s, ENOMEM, "out of memory");
                if (rename(from, to) < 0 && errno != ENOENT)
                        return store_fail(
                                s, errno, "%s, and it cannot be renamed: %s", why, strerror(errno));
        }
        (void) prune(s->directory, word, true);

        if (asprintf(&detail, "%s: it is kept as %s", why, aside) < 0)
                detail = NULL;
        store_tell(s, STORE_RESET, detail ?: why);
        return 0;
}

/* ---- Opening --------------------------------------------------------------------------------------------------- */

static int configure(sqlite3 *db) {
        static const char *const pragmas[] = {
                "PRAGMA auto_vacuum = INCREMENTAL", /* of a new file; before WAL */
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = NORMAL",
                "PRAGMA foreign_keys = ON",
                "PRAGMA cache_size = -256", /* KiB */
                "PRAGMA mmap_size = 0",
                "PRAGMA temp_store = MEMORY",
                "PRAGMA journal_size_limit = 4194304",
        };

        FOREACH_ELEMENT(pragma, pragmas) {
                int rc = sqlite3_exec(db, *pragma, NULL, NULL, NULL);

                if (rc != SQLITE_OK)
                        return rc;
        }
        return SQLITE_OK;
}

static int64_t plausible(int64_t number) {
        /* Beyond that no JavaScript can count: something else was written there. */
        return number > 0 && number < INT64_C(1) << 53 ? number : 1;
}

/* column: up to where numbers may have been given; column_max: the highest one written. */
static int64_t first_number(sqlite3_stmt *statement, int column, int column_max, const Numbers *ours) {
        int64_t stored = plausible(sqlite3_column_int64(statement, column)),
                written = plausible(sqlite3_column_int64(statement, column_max) + 1);

        /* It was us who reserved them: we know better how many were given. */
        if (stored == ours->reserved)
                stored = ours->next;
        stored = MAX(stored, written);
        return MAX(stored, ours->next);
}

/* Learns which numbers were given, and reserves the next ones. */
static int mark(Store *s) {
        _cleanup_free_ char *update = NULL;
        sqlite3_stmt *statement;
        int64_t runs, events;
        bool closed;
        int rc;

        rc = sqlite3_prepare_v2(s->db,
                "SELECT closed, check_wanted, next_run, next_event, kept, (SELECT max(id) FROM runs),"
                " (SELECT max(id) FROM events) FROM meta",
                -1, &statement, NULL);
        if (rc != SQLITE_OK)
                return rc;
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW) {
                (void) sqlite3_finalize(statement);
                /* The row is always there. */
                return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
        }
        closed = sqlite3_column_int(statement, 0);
        s->housekeeper_wanted = !closed || sqlite3_column_int(statement, 1);
        runs = first_number(statement, 2, 5, &s->runs);
        events = first_number(statement, 3, 6, &s->events);
        s->kept_usec = (usec_t) sqlite3_column_int64(statement, 4) ?: now_usec(CLOCK_REALTIME);
        s->last_event = MAX(s->last_event, plausible(sqlite3_column_int64(statement, 6) + 1) - 1);
        (void) sqlite3_finalize(statement);

        if (asprintf(&update,
                    "UPDATE meta SET closed = 0, check_wanted = %d, next_run = %lld, next_event = %lld,"
                    " kept = %lld",
                    s->housekeeper_wanted, (long long) (runs + STORE_RUNS_BLOCK),
                    (long long) (events + STORE_EVENTS_BLOCK), (long long) s->kept_usec) < 0) {
                update = NULL;
                return SQLITE_NOMEM;
        }
        rc = sqlite3_exec(s->db, update, NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                return rc;
        s->runs = (Numbers){ .next = runs, .reserved = runs + STORE_RUNS_BLOCK };
        s->events = (Numbers){ .next = events, .reserved = events + STORE_EVENTS_BLOCK };
        s->marked = true;
        return SQLITE_OK;
}

/* Return: SQLITE_OK; an error of SQLite, with the database closed or to be closed. SQLITE_FORMAT: it is newer. */
static int open_database(Store *s, char **ret_error) {
        int rc, version;

        rc = sqlite3_open_v2(s->path, &s->db,
                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                        SQLITE_OPEN_PRIVATECACHE,
                store_vfs());
        if (rc != SQLITE_OK)
                return rc;
        /* When the last one that has it open goes, SQLite would stop to move the log into the database. */
        (void) sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        if (!s->marked)
                (void) sqlite3_busy_timeout(s->db, STORE_LOCK_MSEC);

        version = store_schema_read_version(s->db);
        if (version < 0)
                return -version;
        if (version > store_schema_version)
                return SQLITE_FORMAT;
        if (sqlite3_db_readonly(s->db, "main"))
                return SQLITE_READONLY;
        rc = configure(s->db);
        if (rc != SQLITE_OK)
                return rc;

        rc = store_schema_migrate(s->db, store_schema_steps, store_schema_version, ret_error);
        if (rc != SQLITE_OK)
                return rc;

        /* One that was set aside had numbers that nobody knows now. */
        if (version == 0 && (prune(s->directory, "corrupt", false) || prune(s->directory, "newer", false))) {
                int64_t late = (int64_t) (now_usec(CLOCK_REALTIME) / USEC_PER_MSEC);

                s->runs.next = s->runs.next ?: late;
                s->events.next = s->events.next ?: late;
        }
        if (!s->marked) {
                rc = mark(s);
                if (rc != SQLITE_OK)
                        return rc;
        }
        (void) sqlite3_busy_timeout(s->db, 0);

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                s->files[i] = file_identity(s->path, suffixes[i]);
        s->wal_pages = s->wal_pages_then = 0;
        (void) sqlite3_wal_hook(s->db, store_on_commit, s);
        return SQLITE_OK;
}

/* So that nobody else can read it; SQLite gives what it makes beside it the same mode. */
static int make_file(const Store *s) {
        _cleanup_close_ int fd = -EBADF;

        fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        return fd < 0 ? -errno : 0;
}

int store_open(Store *s) {
        struct stat st;
        int rc, r;

        if (s->db)
                return 0;

        if (mkdir(s->directory, 0700) < 0 && errno != EEXIST)
                return store_fail(
                        s, errno, "the directory '%s' cannot be created: %s", s->directory, strerror(errno));

        for (unsigned attempt = 0;; attempt++) {
                _cleanup_free_ char *error = NULL;

                if (stat(s->path, &st) < 0) {
                        r = errno == ENOENT ? make_file(s) : -errno;
                        if (r < 0)
                                return store_fail(s, -r, "it cannot be opened: %s", strerror(-r));
                } else if (!S_ISREG(st.st_mode)) {
                        r = store_set_aside(s, "corrupt", "it was no regular file");
                        if (r < 0)
                                return r;
                        continue;
                }

                rc = open_database(s, &error);
                if (rc == SQLITE_OK)
                        return 0;
                if (rc == SQLITE_FORMAT) {
                        r = store_set_aside(s, "newer", "it was written by a newer version of agentd");
                        if (r < 0)
                                return r;
                        continue;
                }
                if ((rc & 0xff) == SQLITE_ERROR && error) {
                        store_close(s, false);
                        return store_fail(s, EPROTO, "%s", error);
                }
                r = store_handle_error(s, rc);
                if (r == -EUCLEAN && attempt == 0)
                        continue;
                store_close(s, false);
                return r;
        }
}

void store_close(Store *s, bool orderly) {
        if (!s->db)
                return;

        FOREACH_ELEMENT(statement, s->statements) {
                (void) sqlite3_finalize(*statement);
                *statement = NULL;
        }
        if (orderly) {
                char update[160];

                (void) sqlite3_busy_timeout(s->db, STORE_LOCK_MSEC);
                (void) snprintf(update, sizeof(update),
                        "UPDATE meta SET closed = 1, next_run = %lld, next_event = %lld",
                        (long long) s->runs.next, (long long) s->events.next);
                if (sqlite3_exec(s->db, update, NULL, NULL, NULL) == SQLITE_OK)
                        (void) sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        }
        (void) sqlite3_close(s->db);
        s->db = NULL;
        s->reopen = false;
}
