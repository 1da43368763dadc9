/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "store-internal.h"

/*
 * Versions of the schema, in PRAGMA user_version:
 *
 *      1   runs, results, status, events, meta
 *      2   contents: which old contents the results of a run refer to
 *      3   owed: what listeners have still to do; removals: what is to be made of states that are declared no more
 *      4   runs.vars: which variables were given for a run alone
 *      5   renames: states whose results and events, up to these, are still to be given to another
 *      6   results.removal: the state was to be removed
 *
 * A version that was released never changes: what is to be different is a further step. Times are microseconds since 1970;
 * summary, differences, undo and data are JSON.
 *
 * There are no foreign keys: a result whose run was given up, since the store was in trouble for long, is worth keeping.
 */
const char *const store_schema_steps[] = {
        "CREATE TABLE meta ("
        "        id INTEGER PRIMARY KEY CHECK (id = 1),"
        "        closed INTEGER NOT NULL,"       /* in order */
        "        check_wanted INTEGER NOT NULL," /* since it was not */
        "        next_run INTEGER NOT NULL," /* not given by any process before; exact if it was closed in order */
        "        next_event INTEGER NOT NULL,"
        "        kept INTEGER NOT NULL" /* when the housekeeper was last done */
        ") STRICT;"
        "INSERT INTO meta VALUES (1, 1, 0, 1, 1, 0);"

        "CREATE TABLE runs ("
        "        id INTEGER PRIMARY KEY,"
        "        mode TEXT NOT NULL,"
        "        cause TEXT NOT NULL,"
        "        started INTEGER NOT NULL,"
        "        finished INTEGER," /* NULL: it goes on */
        "        summary TEXT,"
        "        error TEXT"
        ") STRICT;"

        "CREATE TABLE results ("
        "        position INTEGER PRIMARY KEY,"
        "        run INTEGER NOT NULL,"
        "        time INTEGER NOT NULL,"
        "        state TEXT NOT NULL,"
        "        type TEXT NOT NULL,"
        "        role TEXT,"
        "        result TEXT NOT NULL,"
        "        differences TEXT,"
        "        undo TEXT,"
        "        error TEXT,"
        "        duration INTEGER NOT NULL"
        ") STRICT;"
        "CREATE INDEX results_run ON results (run);"
        "CREATE INDEX results_state ON results (state);"

        "CREATE TABLE status ("
        "        state TEXT PRIMARY KEY,"
        "        result TEXT NOT NULL,"
        "        since INTEGER NOT NULL,"
        "        changed INTEGER NOT NULL," /* 0: never */
        "        error TEXT"
        ") STRICT, WITHOUT ROWID;"

        "CREATE TABLE events ("
        "        id INTEGER PRIMARY KEY,"
        "        time INTEGER NOT NULL,"
        "        kind TEXT NOT NULL,"
        "        message TEXT NOT NULL,"
        "        run INTEGER," /* NULL: none, as in what follows */
        "        state TEXT,"
        "        role TEXT,"
        "        result TEXT,"
        "        data TEXT"
        ") STRICT;"
        "CREATE INDEX events_kind ON events (kind);"
        "CREATE INDEX events_run ON events (run) WHERE run IS NOT NULL;"
        "CREATE INDEX events_state ON events (state) WHERE state IS NOT NULL;",

        "CREATE TABLE contents ("
        "        hash TEXT NOT NULL,"
        "        run INTEGER NOT NULL,"
        "        PRIMARY KEY (hash, run)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX contents_run ON contents (run);",

        "CREATE TABLE owed ("
        "        state TEXT PRIMARY KEY,"
        "        what INTEGER NOT NULL," /* IMAGE_LISTEN_… of image.h */
        "        because TEXT NOT NULL"  /* id of the state that has changed last */
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE removals ("
        "        state TEXT PRIMARY KEY,"
        "        recipe TEXT NOT NULL" /* JSON: see ImageExtra.removal */
        ") STRICT, WITHOUT ROWID;",

        "ALTER TABLE runs ADD COLUMN vars TEXT;", /* NULL: none */

        "CREATE TABLE renames ("
        "        position INTEGER PRIMARY KEY,"
        "        was TEXT NOT NULL,"
        "        state TEXT NOT NULL,"
        "        last_result INTEGER NOT NULL," /* 0: there was none */
        "        last_event INTEGER NOT NULL"
        ") STRICT;",

        "ALTER TABLE results ADD COLUMN removal INTEGER;", /* NULL: no */
};

const int store_schema_version = ELEMENTSOF(store_schema_steps);

int store_schema_read_version(sqlite3 *db) {
        sqlite3_stmt *statement;
        int rc, version;

        rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL);
        if (rc != SQLITE_OK)
                return -rc;
        rc = sqlite3_step(statement);
        version = sqlite3_column_int(statement, 0);
        (void) sqlite3_finalize(statement);
        /* A negative one is nobody's, and certainly not ours. */
        return rc == SQLITE_ROW ? (version < 0 ? INT32_MAX : version) : -rc;
}

/* Return: SQLITE_OK, also if another process was faster. */
static int migrate_to(sqlite3 *db, const char *step, int version) {
        char set_version[64];
        int rc, current;

        rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                return rc;
        current = store_schema_read_version(db);
        if (current < 0)
                return -current;
        if (current < version) {
                rc = sqlite3_exec(db, step, NULL, NULL, NULL);
                if (rc != SQLITE_OK)
                        return rc;
                (void) snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", version);
                rc = sqlite3_exec(db, set_version, NULL, NULL, NULL);
                if (rc != SQLITE_OK)
                        return rc;
        }
        return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
}

int store_schema_migrate(sqlite3 *db, const char *const *steps, int n, char **ret_error) {
        int version, rc;

        assert(db);
        assert(ret_error);

        version = store_schema_read_version(db);
        if (version < 0)
                return -version;

        for (; version < n; version++) {
                rc = migrate_to(db, steps[version], version + 1);
                if (rc == SQLITE_OK)
                        continue;
                if (asprintf(ret_error, "it cannot be brought from version %d to %d: %s", version,
                            version + 1, sqlite3_errmsg(db)) < 0)
                        *ret_error = NULL;
                (void) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
                return rc;
        }
        return SQLITE_OK;
}
