/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "content.h"
#include "log.h"
#include "store-internal.h"

/*
 * The housekeeper: what would stall the engine, in a process of its own that may be killed at any instant. Several of them at
 * once do no harm.
 *
 *      look for corruption, if the store was not closed in order
 *      give results and events of states that were renamed their new names
 *      move the log into the database
 *      delete what is too old or too much, oldest first
 *      give the file's free pages back
 *      move the log into the database again, and empty it
 *      remove old contents that no result refers to, or that are too much
 *
 * While it writes the engine has to wait. So each transaction aims at STEP_USEC, and the lock is let go for longer
 * than it was held.
 */

#define STEP_USEC      (5 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (30 * USEC_PER_MSEC)
#define BUSY_MSEC      5000

typedef struct Keeper {
        sqlite3 *db;
        const char *directory;
        uint64_t size_bytes, content_bytes;
        int64_t oldest_usec;           /* what is older goes; 0: nothing is too old */
        int n_rows, n_pages;           /* to do at a time */
        int wal_pages, wal_pages_then; /* in the log now; when they were last moved */
} Keeper;

static int on_commit(void *userdata, sqlite3 *db, const char *name, int n_pages) {
        Keeper *k = userdata;

        if (n_pages < k->wal_pages)
                k->wal_pages_then = 0;
        k->wal_pages = n_pages;
        return SQLITE_OK;
}

/* The first column of the first row, with ?1 bound; `otherwise` if there is none. */
static int get(Keeper *k, const char *sql, int64_t parameter, int64_t otherwise, int64_t *ret) {
        sqlite3_stmt *statement;
        int rc;

        rc = sqlite3_prepare_v2(k->db, sql, -1, &statement, NULL);
        if (rc != SQLITE_OK)
                return rc;
        (void) sqlite3_bind_int64(statement, 1, parameter);
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
                otherwise = sqlite3_column_int64(statement, 0);
        (void) sqlite3_finalize(statement);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return rc;
        *ret = otherwise;
        return SQLITE_OK;
}

static void pause_usec(usec_t usec) {
        const struct timespec t = {
                .tv_sec = (time_t) (usec / USEC_PER_SEC),
                .tv_nsec = (long) (usec % USEC_PER_SEC * NSEC_PER_USEC),
        };

        (void) nanosleep(&t, NULL);
}

/* Looks how long a step held the lock, fits the size of the next one, and lets others have it. */
static void after_step(usec_t began, int *n) {
        usec_t took = now_usec(CLOCK_MONOTONIC) - began;

        if (took > STEP_USEC && *n > 1)
                *n = MAX(*n / 2, 1);
        else if (took < STEP_USEC / 3 && *n < 4096)
                *n *= 2;
        pause_usec(MIN(3 * took, PAUSE_MAX_USEC));
}

/* ---- The log --------------------------------------------------------------------------------------------------- */

/* The log begins anew when somebody writes after all of it was moved, and that one waits for the disk. It is not to be the
 * engine. */
static int begin_log(Keeper *k) {
        return sqlite3_exec(k->db, "UPDATE meta SET kept = kept", NULL, NULL, NULL);
}

/* Without keeping anybody from writing. Who writes without a break keeps the log from beginning anew: it grows. */
static int checkpoint(Keeper *k) {
        int rc = sqlite3_wal_checkpoint_v2(k->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

        k->wal_pages_then = k->wal_pages;
        if (rc != SQLITE_OK && rc != SQLITE_BUSY && rc != SQLITE_LOCKED)
                return rc;
        return begin_log(k);
}

static int checkpoint_if_large(Keeper *k) {
        return k->wal_pages >= k->wal_pages_then + STORE_WAL_PAGES ? checkpoint(k) : SQLITE_OK;
}

static int empty_log(Keeper *k) {
        int n_log = 0, n_done = 0, rc;

        rc = sqlite3_wal_checkpoint_v2(k->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &n_log, &n_done);
        if (rc == SQLITE_OK && n_log == n_done)
                rc = sqlite3_wal_checkpoint_v2(k->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (rc != SQLITE_OK && rc != SQLITE_BUSY && rc != SQLITE_LOCKED)
                return rc;
        return begin_log(k);
}

static int note_time(Keeper *k) {
        char update[96];

        (void) snprintf(update, sizeof(update), "UPDATE meta SET kept = %" PRIu64, now_usec(CLOCK_REALTIME));
        return sqlite3_exec(k->db, update, NULL, NULL, NULL);
}

/* ---- Many rows ------------------------------------------------------------------------------------------------- */

/* In several transactions; sql has ?1 for what it is about, ?2 for how many rows at most. */
static int in_steps(Keeper *k, const char *sql, int64_t what) {
        int n, asked, rc;

        do {
                usec_t began = now_usec(CLOCK_MONOTONIC);
                sqlite3_stmt *statement;

                rc = sqlite3_prepare_v2(k->db, sql, -1, &statement, NULL);
                if (rc != SQLITE_OK)
                        return rc;
                asked = k->n_rows;
                (void) sqlite3_bind_int64(statement, 1, what);
                (void) sqlite3_bind_int(statement, 2, asked);
                rc = sqlite3_step(statement);
                (void) sqlite3_finalize(statement);
                if (rc != SQLITE_DONE)
                        return rc;
                n = sqlite3_changes(k->db);

                after_step(began, &k->n_rows);
                rc = checkpoint_if_large(k);
        } while (rc == SQLITE_OK && n == asked);
        return rc;
}

/* ---- Renaming -------------------------------------------------------------------------------------------------- */

/* In the order in which they were renamed: one may have been renamed twice. */
static int rename_states(Keeper *k) {
        for (;;) {
                int64_t position;
                int rc;

                rc = get(k, "SELECT min(position) FROM renames", 0, INT64_MIN, &position);
                if (rc != SQLITE_OK || position == INT64_MIN)
                        return rc;
                rc = in_steps(k,
                        "UPDATE results SET state = (SELECT state FROM renames WHERE position = ?1)"
                        " WHERE position IN (SELECT r.position FROM results AS r, renames AS n"
                        " WHERE n.position = ?1 AND r.state = n.was AND r.position <= n.last_result LIMIT "
                        "?2)",
                        position);
                if (rc == SQLITE_OK)
                        rc = in_steps(k,
                                "UPDATE events SET state = (SELECT state FROM renames WHERE position = ?1)"
                                " WHERE id IN (SELECT e.id FROM events AS e, renames AS n"
                                " WHERE n.position = ?1 AND e.state = n.was AND e.id <= n.last_event LIMIT "
                                "?2)",
                                position);
                if (rc == SQLITE_OK)
                        rc = in_steps(k,
                                "DELETE FROM renames WHERE position IN (SELECT position FROM renames"
                                " WHERE position = ?1 LIMIT ?2)",
                                position);
                if (rc != SQLITE_OK)
                        return rc;
        }
}

/* ---- Deletion -------------------------------------------------------------------------------------------------- */

/* Runs that are over, up to that one. Their results go first: if it is killed in between, the next housekeeper finds
 * the run and goes on. */
static int delete_runs(Keeper *k, int64_t last) {
        int rc;

        rc = in_steps(k,
                "DELETE FROM results WHERE position IN (SELECT position FROM results WHERE run <= ?1"
                " AND run NOT IN (SELECT id FROM runs WHERE finished IS NULL) LIMIT ?2)",
                last);
        if (rc == SQLITE_OK)
                rc = in_steps(k,
                        "DELETE FROM contents WHERE (hash, run) IN (SELECT hash, run FROM contents WHERE "
                        "run <= ?1"
                        " AND run NOT IN (SELECT id FROM runs WHERE finished IS NULL) LIMIT ?2)",
                        last);
        if (rc != SQLITE_OK)
                return rc;
        return in_steps(k,
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE id <= ?1"
                " AND finished IS NOT NULL LIMIT ?2)",
                last);
}

static int delete_events(Keeper *k, int64_t last) {
        return in_steps(
                k, "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= ?1 LIMIT ?2)", last);
}

static int used_bytes(Keeper *k, uint64_t *ret) {
        int64_t n, n_free, page;
        int rc;

        rc = get(k, "PRAGMA page_count", 0, 0, &n);
        if (rc == SQLITE_OK)
                rc = get(k, "PRAGMA freelist_count", 0, 0, &n_free);
        if (rc == SQLITE_OK)
                rc = get(k, "PRAGMA page_size", 0, 0, &page);
        if (rc == SQLITE_OK)
                *ret = (uint64_t) (MAX(n - n_free, INT64_C(0)) * page);
        return rc;
}

#define OLDEST_RUNS   "SELECT id, started FROM runs WHERE finished IS NOT NULL ORDER BY id LIMIT 32"
#define OLDEST_EVENTS "SELECT id, time FROM events ORDER BY id LIMIT 128"

/* Of the oldest ones the newest that began before ?1; NULL if there is none. */
#define LAST_RUN_BEFORE   "SELECT max(id) FROM (" OLDEST_RUNS ") WHERE started < ?1"
#define LAST_EVENT_BEFORE "SELECT max(id) FROM (" OLDEST_EVENTS ") WHERE time < ?1"

static int delete_what_is_too_much(Keeper *k) {
        /* Room for the log, which counts as well. */
        uint64_t limit = k->size_bytes - MIN(k->size_bytes / 4, (uint64_t) STORE_WAL_PAGES * 4096), used;
        bool over = false;

        for (;;) {
                int64_t runs_usec, events_usec, last;
                int rc;

                rc = used_bytes(k, &used);
                if (rc != SQLITE_OK)
                        return rc;
                /* Once begun a little more goes, so that it is not begun again at once. */
                if (used <= (over ? limit / 10 * 9 : limit))
                        return SQLITE_OK;
                over = true;

                /* Both kinds, up to the same time. */
                rc = get(k, "SELECT max(started) FROM (" OLDEST_RUNS ")", 0, INT64_MAX, &runs_usec);
                if (rc == SQLITE_OK)
                        rc = get(k, "SELECT max(time) FROM (" OLDEST_EVENTS ")", 0, INT64_MAX, &events_usec);
                if (rc != SQLITE_OK)
                        return rc;
                if (runs_usec == INT64_MAX && events_usec == INT64_MAX)
                        return SQLITE_OK; /* all that is left are statuses */

                rc = get(k, LAST_RUN_BEFORE, MIN(runs_usec, events_usec) + 1, INT64_MIN, &last);
                if (rc == SQLITE_OK && last != INT64_MIN)
                        rc = delete_runs(k, last);
                if (rc == SQLITE_OK)
                        rc = get(k, LAST_EVENT_BEFORE, MIN(runs_usec, events_usec) + 1, INT64_MIN, &last);
                if (rc == SQLITE_OK && last != INT64_MIN)
                        rc = delete_events(k, last);
                if (rc != SQLITE_OK)
                        return rc;
        }
}

/* Both tables are read from the oldest on, to where nothing is too old. */
static int delete_what_is_too_old(Keeper *k) {
        int64_t last;
        int rc;

        if (k->oldest_usec <= 0)
                return SQLITE_OK;
        for (;;) {
                rc = get(k, LAST_RUN_BEFORE, k->oldest_usec, INT64_MIN, &last);
                if (rc != SQLITE_OK)
                        return rc;
                if (last == INT64_MIN)
                        break;
                rc = delete_runs(k, last);
                if (rc != SQLITE_OK)
                        return rc;
        }
        for (;;) {
                rc = get(k, LAST_EVENT_BEFORE, k->oldest_usec, INT64_MIN, &last);
                if (rc != SQLITE_OK || last == INT64_MIN)
                        return rc;
                rc = delete_events(k, last);
                if (rc != SQLITE_OK)
                        return rc;
        }
}

static int give_pages_back(Keeper *k) {
        char sql[64];

        for (;;) {
                usec_t began;
                int64_t before, after;
                int rc;

                rc = get(k, "PRAGMA freelist_count", 0, 0, &before);
                if (rc != SQLITE_OK || before == 0)
                        return rc;
                began = now_usec(CLOCK_MONOTONIC);
                (void) snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", k->n_pages);
                rc = sqlite3_exec(k->db, sql, NULL, NULL, NULL);
                if (rc != SQLITE_OK)
                        return rc;
                after_step(began, &k->n_pages);
                rc = get(k, "PRAGMA freelist_count", 0, 0, &after);
                if (rc != SQLITE_OK || after >= before)
                        return rc;
                rc = checkpoint_if_large(k);
                if (rc != SQLITE_OK)
                        return rc;
        }
}

/* ---- Old contents ------------------------------------------------------------------------------------------------ */

typedef struct Wanted {
        sqlite3_stmt *statement;
        int rc;
} Wanted;

static int is_wanted(void *userdata, const char *name) {
        Wanted *wanted = userdata;
        int rc;

        (void) sqlite3_bind_text(wanted->statement, 1, name, -1, SQLITE_STATIC);
        rc = sqlite3_step(wanted->statement);
        (void) sqlite3_reset(wanted->statement);
        if (rc == SQLITE_ROW || rc == SQLITE_DONE)
                return rc == SQLITE_ROW;
        wanted->rc = rc;
        return -EIO;
}

static int collect_contents(Keeper *k) {
        Wanted wanted = { .rc = SQLITE_OK };
        int rc, r;

        rc = sqlite3_prepare_v2(
                k->db, "SELECT 1 FROM contents WHERE hash = ?1 LIMIT 1", -1, &wanted.statement, NULL);
        if (rc != SQLITE_OK)
                return rc;
        r = content_collect(k->directory, k->content_bytes, now_usec(CLOCK_REALTIME), is_wanted, &wanted);
        (void) sqlite3_finalize(wanted.statement);
        if (r < 0 && wanted.rc == SQLITE_OK)
                log_warning_errno(r, "Failed to collect old contents in '%s': %m", k->directory);
        return wanted.rc;
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static int check(Keeper *k) {
        sqlite3_stmt *statement;
        int64_t wanted;
        bool good;
        int rc;

        rc = get(k, "SELECT check_wanted FROM meta", 0, 0, &wanted);
        if (rc != SQLITE_OK || !wanted)
                return rc;
        rc = sqlite3_prepare_v2(k->db, "PRAGMA quick_check(1)", -1, &statement, NULL);
        if (rc != SQLITE_OK)
                return rc;
        rc = sqlite3_step(statement);
        good = rc == SQLITE_ROW && streq((const char *) sqlite3_column_text(statement, 0) ?: "", "ok");
        if (rc == SQLITE_ROW && !good)
                log_debug("%s", (const char *) sqlite3_column_text(statement, 0));
        (void) sqlite3_finalize(statement);
        if (rc != SQLITE_ROW)
                return rc;
        return good ? sqlite3_exec(k->db, "UPDATE meta SET check_wanted = 0", NULL, NULL, NULL)
                    : SQLITE_CORRUPT;
}

static int keep_house(Keeper *k) {
        int version, rc;

        (void) sqlite3_busy_timeout(k->db, BUSY_MSEC);
        (void) sqlite3_wal_hook(k->db, on_commit, k);
        rc = sqlite3_exec(
                k->db, "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = OFF;", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                return rc;
        version = store_schema_read_version(k->db);
        if (version < 0)
                return -version;
        /* Of another version: there is an engine that belongs to it. */
        if (version != store_schema_version)
                return SQLITE_OK;

        rc = check(k);
        if (rc == SQLITE_OK)
                rc = checkpoint(k);
        if (rc == SQLITE_OK)
                rc = rename_states(k);
        if (rc == SQLITE_OK)
                rc = delete_what_is_too_old(k);
        if (rc == SQLITE_OK)
                rc = delete_what_is_too_much(k);
        if (rc == SQLITE_OK)
                rc = give_pages_back(k);
        if (rc == SQLITE_OK)
                rc = note_time(k);
        if (rc == SQLITE_OK)
                rc = empty_log(k);
        if (rc == SQLITE_OK)
                rc = collect_contents(k);
        return rc;
}

static int parse_number(const char *text, uint64_t *ret) {
        char *end;

        errno = 0;
        if (*text < '0' || *text > '9')
                return -EINVAL;
        *ret = strtoull(text, &end, 10);
        return *end ? -EINVAL : -errno;
}

int housekeeper_main(
        const char *directory, const char *size_bytes, const char *age_usec, const char *content_bytes) {
        _cleanup_free_ char *path = NULL;
        usec_t age, now = now_usec(CLOCK_REALTIME);
        Keeper k = { .directory = directory, .n_rows = 64, .n_pages = 64 };
        int rc;

        if (parse_number(size_bytes, &k.size_bytes) < 0 || parse_number(age_usec, &age) < 0 ||
                parse_number(content_bytes, &k.content_bytes) < 0) {
                log_error("The housekeeper takes DIRECTORY BYTES AGE_USEC CONTENT_BYTES");
                return 2;
        }
        if (age < now)
                k.oldest_usec = (int64_t) (now - age);
        if (asprintf(&path, "%s/" STORE_FILE, directory) < 0) {
                path = NULL;
                (void) log_oom();
                return EXIT_FAILURE;
        }

        rc = sqlite3_open_v2(path, &k.db,
                SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, store_vfs());
        if (rc == SQLITE_OK)
                rc = keep_house(&k);
        switch (rc & 0xff) {
        case SQLITE_OK: break;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: log_debug("'%s': %s", path, sqlite3_errstr(rc)); break;
        default: log_warning("Failed to keep '%s' small: %s", path, sqlite3_errstr(rc));
        }
        (void) sqlite3_close(k.db);

        switch (rc & 0xff) {
        case SQLITE_OK: return EXIT_SUCCESS;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return HOUSEKEEPER_CORRUPT;
        default: return EXIT_FAILURE;
        }
}
