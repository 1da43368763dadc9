/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fnmatch.h>
#include <time.h>

#include "store-internal.h"
#include "value-json.h"

#define _cleanup_json_ _cleanup_(json_decrefp)

/* ---- Queries --------------------------------------------------------------------------------------------------- */

/* What stands for ?1, ?2, … in a query. */
typedef struct Parameter {
        const char *text; /* NULL: it is an integer */
        int64_t integer;
} Parameter;

/* NULL if the store cannot be read. */
static sqlite3_stmt *query(Store *s, const char *sql, const Parameter *parameters, size_t n) {
        sqlite3_stmt *statement;
        int rc;

        /* What cannot be written now is not shown yet. */
        (void) store_flush(s);
        if (!s->db)
                return NULL;

        rc = sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL);
        if (rc != SQLITE_OK) {
                (void) store_handle_error(s, rc);
                store_schedule(s);
                return NULL;
        }
        for (size_t i = 0; i < n; i++)
                if (parameters[i].text)
                        (void) sqlite3_bind_text(
                                statement, (int) i + 1, parameters[i].text, -1, SQLITE_TRANSIENT);
                else
                        (void) sqlite3_bind_int64(statement, (int) i + 1, parameters[i].integer);
        return statement;
}

/* rc: what the last step gave. Return: 0; -errno if that was an error. */
static int query_end(Store *s, sqlite3_stmt *statement, int rc) {
        int r;

        (void) sqlite3_finalize(statement);
        if (rc == SQLITE_ROW || rc == SQLITE_DONE)
                return 0;
        r = store_handle_error(s, rc);
        store_schedule(s);
        return r;
}

/* Bytes of text in a row. */
static size_t row_bytes(sqlite3_stmt *statement) {
        size_t bytes = 0;

        for (int i = 0; i < sqlite3_column_count(statement); i++)
                if (sqlite3_column_type(statement, i) == SQLITE_TEXT)
                        bytes += (size_t) sqlite3_column_bytes(statement, i);
        return bytes;
}

typedef json_t *(*MakeItem)(sqlite3_stmt *statement);

/* The rows as a list, which ends where it has so many bytes. */
static json_t *list(Store *s, const char *sql, const Parameter *parameters, size_t n, MakeItem make_item,
        size_t max_bytes) {
        _cleanup_json_ json_t *items = json_array();
        sqlite3_stmt *statement;
        size_t bytes = 0;
        bool oom = !items;
        int rc = SQLITE_DONE;

        statement = query(s, sql, parameters, n);
        if (!statement)
                return NULL;
        while (bytes < max_bytes && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
                if (oom || json_array_append_new(items, make_item(statement)) < 0) {
                        oom = true;
                        break;
                }
                bytes += row_bytes(statement);
        }
        if (query_end(s, statement, rc) < 0 || oom)
                return NULL;
        return TAKE_PTR(items);
}

/* ---- Columns --------------------------------------------------------------------------------------------------- */

static const char *text(sqlite3_stmt *statement, int column) {
        return (const char *) sqlite3_column_text(statement, column);
}

static usec_t usec(sqlite3_stmt *statement, int column) {
        int64_t time = sqlite3_column_int64(statement, column);

        return time > 0 ? (usec_t) time : 0;
}

static json_t *text_to_json(const char *string) {
        return string ? json_from_text(string, strlen(string)) : json_null();
}

static json_t *text_column(sqlite3_stmt *statement, int column) {
        return text_to_json(text(statement, column));
}

static json_t *time_column(sqlite3_stmt *statement, int column) {
        return json_from_time(usec(statement, column));
}

static json_t *integer_column(sqlite3_stmt *statement, int column) {
        return json_integer(sqlite3_column_int64(statement, column));
}

/* What is no JSON any more is null. */
static json_t *json_column(sqlite3_stmt *statement, int column) {
        const char *string = text(statement, column);
        json_t *json = string ? json_loads(string, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;

        return json ?: json_null();
}

/* An array, if need be an empty one. */
static json_t *array_column(sqlite3_stmt *statement, int column) {
        json_t *json = json_column(statement, column);

        if (json_is_array(json))
                return json;
        json_decref(json);
        return json_array();
}

/* ---- Status ---------------------------------------------------------------------------------------------------- */

int store_each_status(
        Store *s, int (*on_status)(void *userdata, const StoreStatus *status), void *userdata) {
        sqlite3_stmt *statement;
        int rc, r = 0, r_end;

        assert(s);
        assert(on_status);

        statement = query(s, "SELECT state, result, since, changed, error FROM status", NULL, 0);
        if (!statement)
                return -EIO;
        s->n_reading++;
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
                const StoreStatus status = {
                        .state = text(statement, 0) ?: "",
                        .result = text(statement, 1) ?: "",
                        .since_usec = usec(statement, 2),
                        .changed_usec = usec(statement, 3),
                        .error = text(statement, 4),
                };

                r = on_status(userdata, &status);
                if (r < 0)
                        break;
        }
        s->n_reading--;
        r_end = query_end(s, statement, rc);
        return r < 0 ? r : r_end;
}

int store_each_removal(
        Store *s, int (*on_removal)(void *userdata, const char *state, const char *recipe), void *userdata) {
        sqlite3_stmt *statement;
        int rc, r = 0, r_end;

        assert(s);
        assert(on_removal);

        statement = query(s, "SELECT state, recipe FROM removals", NULL, 0);
        if (!statement)
                return -EIO;
        s->n_reading++;
        while (r >= 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW)
                r = on_removal(userdata, text(statement, 0) ?: "", text(statement, 1) ?: "");
        s->n_reading--;
        r_end = query_end(s, statement, rc);
        return r < 0 ? r : r_end;
}

int store_each_owed(Store *s, int (*on_owed)(void *userdata, const StoreOwed *owed), void *userdata) {
        sqlite3_stmt *statement;
        int rc, r = 0, r_end;

        assert(s);
        assert(on_owed);

        statement = query(s, "SELECT state, what, because FROM owed", NULL, 0);
        if (!statement)
                return -EIO;
        s->n_reading++;
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
                const StoreOwed owed = {
                        .state = text(statement, 0) ?: "",
                        .what = (uint32_t) sqlite3_column_int64(statement, 1),
                        .because = text(statement, 2) ?: "",
                };

                r = on_owed(userdata, &owed);
                if (r < 0)
                        break;
        }
        s->n_reading--;
        r_end = query_end(s, statement, rc);
        return r < 0 ? r : r_end;
}

/* ---- Runs ------------------------------------------------------------------------------------------------------ */

#define RUN_COLUMNS "id, mode, cause, started, finished, summary, error, vars"

static json_t *make_run(sqlite3_stmt *statement) {
        json_t *vars = json_column(statement, 7);

        if (!json_is_array(vars)) {
                json_decref(vars);
                vars = json_array();
        }
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "run", integer_column(statement, 0),
                "mode", text_column(statement, 1), "cause", text_column(statement, 2), "started",
                time_column(statement, 3), "finished", time_column(statement, 4), "summary",
                json_column(statement, 5), "error", text_column(statement, 6), "vars", vars);
}

json_t *store_runs(Store *s, int64_t before, const char *mode, unsigned limit) {
        const Parameter parameters[] = {
                { .integer = before > 0 ? before : INT64_MAX },
                { .integer = limit },
                { .text = mode },
        };

        assert(s);

        return list(s,
                mode ? "SELECT " RUN_COLUMNS
                       " FROM runs WHERE id < ?1 AND mode = ?3 ORDER BY id DESC LIMIT ?2"
                     : "SELECT " RUN_COLUMNS " FROM runs WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
                parameters, mode ? 3 : 2, make_run, SIZE_MAX);
}

json_t *store_run(Store *s, int64_t id) {
        _cleanup_json_ json_t *runs = NULL;

        assert(s);

        runs = list(s, "SELECT " RUN_COLUMNS " FROM runs WHERE id = ?1", &(Parameter){ .integer = id }, 1,
                make_run, SIZE_MAX);
        return json_incref(json_array_get(runs, 0));
}

json_t *store_end_unfinished(Store *s, const char *error) {
        static const char sql[] =
                "SELECT " RUN_COLUMNS ", started FROM runs WHERE finished IS NULL ORDER BY id";
        usec_t now = now_usec(CLOCK_REALTIME);
        _cleanup_json_ json_t *runs = json_array();
        sqlite3_stmt *statement;
        bool oom = !runs;
        int rc;

        assert(s);
        assert(error);

        statement = query(s, sql, NULL, 0);
        if (!statement)
                return NULL;
        s->n_reading++;
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
                _cleanup_json_ json_t *summary = json_column(statement, 5),
                                      *vars = json_column(statement, 7);
                json_t *run = make_run(statement);
                const StoreRun row = {
                        .id = sqlite3_column_int64(statement, 0),
                        .mode = text(statement, 1),
                        .cause = text(statement, 2),
                        .started_usec = usec(statement, 3),
                        .finished_usec = now,
                        .summary = json_is_null(summary) ? NULL : summary,
                        .error = error,
                        .vars = vars,
                };

                if (!run || json_object_set_new(run, "finished", json_from_time(now)) < 0 ||
                        json_object_set_new(run, "error", text_to_json(error)) < 0) {
                        json_decref(run);
                        oom = true;
                } else if (json_array_append_new(runs, run) < 0)
                        oom = true;
                store_put_run(s, &row);
        }
        s->n_reading--;
        if (query_end(s, statement, rc) < 0 || oom)
                return NULL;
        return TAKE_PTR(runs);
}

/* ---- Results --------------------------------------------------------------------------------------------------- */

static json_t *make_result(sqlite3_stmt *statement) {
        const char *state = text(statement, 1) ?: "", *type = text(statement, 2) ?: "",
                   *name = startswith(state, type);

        return json_pack("{s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "state", text_to_json(state),
                "type", text_to_json(type), "name", text_to_json(name && *name == ':' ? name + 1 : state),
                "role", text_column(statement, 3), "removal", sqlite3_column_int(statement, 9), "result",
                text_column(statement, 4), "differences", array_column(statement, 5), "undo",
                array_column(statement, 6), "error", text_column(statement, 7), "duration_usec",
                integer_column(statement, 8));
}

json_t *store_results(Store *s, int64_t run, int64_t after, unsigned limit, int64_t *ret_last) {
        const Parameter parameters[] = { { .integer = run }, { .integer = after }, { .integer = limit } };
        _cleanup_json_ json_t *items = json_array();
        sqlite3_stmt *statement;
        int64_t last = after;
        size_t bytes = 0;
        bool oom = !items;
        int rc = SQLITE_DONE;

        assert(s);

        statement = query(s,
                "SELECT position, state, type, role, result, differences, undo, error, duration, removal"
                " FROM results WHERE run = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
                parameters, ELEMENTSOF(parameters));
        if (!statement)
                return NULL;
        while (bytes < STORE_READ_BYTES && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
                if (oom || json_array_append_new(items, make_result(statement)) < 0) {
                        oom = true;
                        break;
                }
                bytes += row_bytes(statement);
                last = sqlite3_column_int64(statement, 0);
        }
        if (query_end(s, statement, rc) < 0 || oom)
                return NULL;
        if (ret_last)
                *ret_last = last;
        return TAKE_PTR(items);
}

static json_t *make_history(sqlite3_stmt *statement) {
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "run", integer_column(statement, 0), "time",
                time_column(statement, 1), "result", text_column(statement, 2), "differences",
                array_column(statement, 3), "undo", array_column(statement, 4), "error",
                text_column(statement, 5));
}

json_t *store_history(Store *s, const char *state, unsigned limit) {
        const Parameter parameters[] = { { .text = state }, { .integer = limit } };

        assert(s);
        assert(state);

        return list(s,
                "SELECT run, time, result, differences, undo, error FROM results"
                " WHERE state = ?1 AND result NOT IN ('ok', 'skipped') ORDER BY position DESC LIMIT ?2",
                parameters, ELEMENTSOF(parameters), make_history, STORE_READ_BYTES);
}

/* ---- Events ---------------------------------------------------------------------------------------------------- */

json_t *store_event_to_json(int64_t id, const StoreEvent *event) {
        assert(event);

        return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event", (json_int_t) id, "time",
                json_from_time(event->time_usec), "kind", text_to_json(event->kind), "message",
                text_to_json(event->message), "run", event->run > 0 ? json_integer(event->run) : json_null(),
                "state", text_to_json(event->state), "role", text_to_json(event->role), "result",
                text_to_json(event->result), "data",
                event->data ? json_deep_copy(event->data) : json_null());
}

static json_t *make_event(sqlite3_stmt *statement) {
        _cleanup_json_ json_t *data = json_column(statement, 8);
        const StoreEvent event = {
                .time_usec = usec(statement, 1),
                .kind = text(statement, 2),
                .message = text(statement, 3),
                .run = sqlite3_column_int64(statement, 4),
                .state = text(statement, 5),
                .role = text(statement, 6),
                .result = text(statement, 7),
                .data = data,
        };

        return store_event_to_json(sqlite3_column_int64(statement, 0), &event);
}

static bool state_matches(const char *glob, const char *state) {
        return state && fnmatch(glob, state, 0) == 0;
}

bool event_filter_matches(const EventFilter *filter, const json_t *event) {
        const char *kind = json_string_value(json_object_get(event, "kind"));

        assert(filter);

        return (!filter->kind || (kind && streq(filter->kind, kind))) &&
               (filter->run == 0 || json_integer_value(json_object_get(event, "run")) == filter->run) &&
               (!filter->state ||
                       state_matches(filter->state, json_string_value(json_object_get(event, "state"))));
}

/* As event_filter_matches() does. */
static bool row_matches(const EventFilter *filter, sqlite3_stmt *statement) {
        return (!filter->kind || streq_ptr(filter->kind, text(statement, 2))) &&
               (filter->run == 0 || sqlite3_column_int64(statement, 4) == filter->run) &&
               (!filter->state || state_matches(filter->state, text(statement, 5)));
}

json_t *store_events(Store *s, int64_t *after, const EventFilter *filter, unsigned limit, bool *ret_more) {
        static const EventFilter everything = {};
        _cleanup_json_ json_t *items = json_array();
        const Parameter parameters[] = {
                { .integer = *after },
                { .integer = filter ? filter->run : 0 },
                { .text = filter ? filter->kind : NULL },
                { .text = filter ? filter->state : NULL },
        };
        bool oom = !items, exact;
        unsigned n_looked_at = 0;
        sqlite3_stmt *statement;
        int64_t last = *after;
        size_t bytes = 0;
        char sql[320];
        int rc = SQLITE_ROW;

        assert(s);

        filter = filter ?: &everything;
        /* One condition is left to an index, which finds what it is about at once. All others are looked at here, where they are
         * counted: SQLite would go on to the end of the table for what nothing matches. */
        exact = filter->state && !strpbrk(filter->state, "*?[\\");
        (void) snprintf(sql, sizeof(sql),
                "SELECT id, time, kind, message, run, state, role, result, data FROM events WHERE id > ?1%s"
                " ORDER BY id",
                filter->run > 0 ? " AND run = ?2"
                : exact         ? " AND state = ?4"
                : filter->kind  ? " AND kind = ?3"
                                : "");

        statement = query(s, sql, parameters, ELEMENTSOF(parameters));
        if (!statement)
                return NULL;
        while (json_array_size(items) < limit && n_looked_at < STORE_READ_ROWS && bytes < STORE_READ_BYTES &&
                (rc = sqlite3_step(statement)) == SQLITE_ROW) {
                n_looked_at++;
                if (row_matches(filter, statement)) {
                        if (oom || json_array_append_new(items, make_event(statement)) < 0) {
                                oom = true;
                                break;
                        }
                        bytes += row_bytes(statement);
                }
                last = sqlite3_column_int64(statement, 0);
        }
        /* The page is full: so that nobody comes for an empty one. */
        if (rc == SQLITE_ROW && !oom)
                rc = sqlite3_step(statement);
        if (query_end(s, statement, rc) < 0 || oom)
                return NULL;
        *after = last;
        if (ret_more)
                *ret_more = rc != SQLITE_DONE;
        return TAKE_PTR(items);
}

int64_t store_last_event(Store *s) {
        assert(s);

        return s->last_event;
}
