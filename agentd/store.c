/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdarg.h>
#include <time.h>

#include "content.h"
#include "log.h"
#include "store-internal.h"

/* ---- Trouble --------------------------------------------------------------------------------------------------- */

void store_tell(Store *s, StoreTrouble trouble, const char *detail) {
        size_t size = strlen(detail) + 1;
        Notice *notice = malloc(sizeof(*notice) + size);

        if (!notice)
                return;
        notice->next = NULL;
        notice->trouble = trouble;
        memcpy(notice->detail, detail, size);
        *s->last_notice = notice;
        s->last_notice = &notice->next;
}

int store_fail(Store *s, int code, const char *format, ...) {
        char *error = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&error, format, args) < 0)
                error = NULL;
        va_end(args);

        if (!s->failed)
                store_tell(s, STORE_FAILED, error ?: "out of memory");
        s->failed = true;
        s->error_code = code;
        free(s->error);
        s->error = error;
        s->hold_usec = now_usec(CLOCK_MONOTONIC) + STORE_RETRY_USEC;
        return -code;
}

static void recovered(Store *s) {
        s->busy_since_usec = 0;
        s->reopen = false;
        if (!s->failed)
                return;
        s->failed = false;
        free(TAKE_PTR(s->error));
        store_tell(s, STORE_RECOVERED, "it can be written again");
}

int store_handle_error(Store *s, int rc) {
        const char *text =
                s->db && rc == sqlite3_extended_errcode(s->db) ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
        int error = s->db ? sqlite3_system_errno(s->db) : 0;
        usec_t now = now_usec(CLOCK_MONOTONIC);
        _cleanup_free_ char *why = NULL;

        switch (rc & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                /* Long ago it was another one. */
                if (s->busy_since_usec == 0 || now > s->hold_usec + USEC_PER_SEC)
                        s->busy_since_usec = now;
                if (now - s->busy_since_usec >= STORE_RETRY_USEC)
                        return store_fail(s, EBUSY, "another process does not let go of its lock");
                s->hold_usec = now + STORE_BUSY_USEC;
                return -EBUSY;

        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: {
                int r;

                why = strdup(text); /* which goes when it is closed */
                r = store_set_aside(s, "corrupt", why ?: "it was corrupt");
                return r < 0 ? r : -EUCLEAN;
        }

        case SQLITE_FULL: return store_fail(s, ENOSPC, "%s", text);
        case SQLITE_NOMEM: return store_fail(s, ENOMEM, "%s", text);
        case SQLITE_READONLY: s->reopen = true; return store_fail(s, EROFS, "%s", text);
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
                s->reopen = true;
                if (error > 0)
                        return store_fail(s, error, "%s: %s", text, strerror(error));
                return store_fail(s, EIO, "%s", text);
        default: s->reopen = true; return store_fail(s, EIO, "%s", text);
        }
}

const char *store_error(const Store *s) {
        assert(s);

        return s->failed ? s->error ?: "out of memory" : NULL;
}

uint64_t store_size(const Store *s) {
        static const char *const suffixes[] = { "", "-wal" };
        uint64_t size = 0;

        assert(s);

        FOREACH_ELEMENT(suffix, suffixes) {
                _cleanup_free_ char *path = NULL;
                struct stat st;

                if (asprintf(&path, "%s%s", s->path, *suffix) < 0)
                        path = NULL;
                else if (stat(path, &st) == 0)
                        size += (uint64_t) st.st_size;
        }
        return size;
}

uint64_t store_n_lost(const Store *s) {
        assert(s);

        return s->n_lost;
}

/* ---- The queue ------------------------------------------------------------------------------------------------- */

typedef enum ColumnType {
        COLUMN_NULL,
        COLUMN_INTEGER,
        COLUMN_TEXT,
} ColumnType;

typedef struct Column {
        const char *text;
        int64_t integer;
        size_t size;
        ColumnType type;
} Column;

static Column column_null(void) {
        return (Column){ .type = COLUMN_NULL };
}

static Column column_integer(int64_t integer) {
        return (Column){ .type = COLUMN_INTEGER, .integer = integer };
}

static Column column_time(usec_t usec) {
        return column_integer((int64_t) MIN(usec, (usec_t) INT64_MAX));
}

static Column column_text(const char *text) {
        return text ? (Column){ .type = COLUMN_TEXT, .text = text, .size = strlen(text) } : column_null();
}

static Row *row_new(RowKind kind, const Column *columns, unsigned n) {
        size_t size = sizeof(Row);
        uint8_t *p;
        Row *row;

        for (unsigned i = 0; i < n; i++)
                size += 1 + (columns[i].type == COLUMN_INTEGER       ? sizeof(int64_t)
                                    : columns[i].type == COLUMN_TEXT ? sizeof(uint32_t) + columns[i].size
                                                                     : 0);
        /* More than fits into the queue can never be written. */
        if (size > STORE_QUEUE_BYTES)
                return NULL;
        row = malloc(size);
        if (!row)
                return NULL;

        *row = (Row){ .size = (uint32_t) size, .kind = (uint8_t) kind, .n_columns = (uint8_t) n };
        p = row->data;
        for (unsigned i = 0; i < n; i++) {
                uint32_t text_size = (uint32_t) columns[i].size;

                *p++ = (uint8_t) columns[i].type;
                if (columns[i].type == COLUMN_INTEGER) {
                        memcpy(p, &columns[i].integer, sizeof(int64_t));
                        p += sizeof(int64_t);
                } else if (columns[i].type == COLUMN_TEXT) {
                        memcpy(p, &text_size, sizeof(text_size));
                        p += sizeof(text_size);
                        memcpy(p, columns[i].text, text_size);
                        p += text_size;
                }
        }
        return row;
}

/* The text stays the row's. */
static int row_bind(const Row *row, sqlite3_stmt *statement) {
        const uint8_t *p = row->data;

        for (int i = 1; i <= row->n_columns; i++) {
                ColumnType type = (ColumnType) *p++;
                int64_t integer;
                uint32_t size;
                int rc;

                if (type == COLUMN_INTEGER) {
                        memcpy(&integer, p, sizeof(integer));
                        p += sizeof(integer);
                        rc = sqlite3_bind_int64(statement, i, integer);
                } else if (type == COLUMN_TEXT) {
                        memcpy(&size, p, sizeof(size));
                        p += sizeof(size);
                        rc = sqlite3_bind_text(statement, i, (const char *) p, (int) size, SQLITE_STATIC);
                        p += size;
                } else
                        rc = sqlite3_bind_null(statement, i);
                if (rc != SQLITE_OK)
                        return rc;
        }
        return SQLITE_OK;
}

/* The first one goes, written or given up. */
static void drop_first(Store *s) {
        Row *row = s->first;

        s->first = row->next;
        if (!s->first)
                s->last = &s->first;
        s->queue_bytes -= row->size;
        s->settled_event = MAX(s->settled_event, row->event);
        free(row);
}

/* ---- Writing the queue ----------------------------------------------------------------------------------------- */

static const char *const statements[_ROW_KIND_MAX] = {
        [ROW_RUN] = "INSERT OR REPLACE INTO runs (id, mode, cause, started, finished, summary, error,"
                    " vars) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [ROW_RESULT] = "INSERT INTO results (run, time, state, type, role, result, differences, undo, error,"
                       " duration, removal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [ROW_CONTENT] = "INSERT OR IGNORE INTO contents (hash, run) VALUES (?, ?)",
        [ROW_STATUS] = "INSERT OR REPLACE INTO status (state, result, since, changed, error)"
                       " VALUES (?, ?, ?, ?, ?)",
        [ROW_STATUS_REMOVE] = "DELETE FROM status WHERE state = ?",
        [ROW_OWED] = "INSERT OR REPLACE INTO owed (state, what, because) VALUES (?, ?, ?)",
        [ROW_OWED_REMOVE] = "DELETE FROM owed WHERE state = ?",
        [ROW_EVENT] =
                "INSERT OR REPLACE INTO events (id, time, kind, message, run, state, role, result, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [ROW_REMOVAL] = "INSERT OR REPLACE INTO removals (state, recipe) VALUES (?, ?)",
        [ROW_REMOVAL_FORGET] = "DELETE FROM removals WHERE state = ?",
        /* Only if there is anything of it. */
        [ROW_RENAME] =
                "INSERT INTO renames (was, state, last_result, last_event) SELECT ?1, ?2,"
                " ifnull((SELECT max(position) FROM results), 0), ifnull((SELECT max(id) FROM events), 0)"
                " WHERE EXISTS (SELECT 1 FROM results WHERE state = ?1)"
                " OR EXISTS (SELECT 1 FROM events WHERE state = ?1)",
        [ROW_RENAME_OWED] = "UPDATE OR REPLACE owed SET state = ?2 WHERE state = ?1",
};

static int write_row(Store *s, const Row *row) {
        sqlite3_stmt **statement = &s->statements[row->kind];
        int rc;

        if (!*statement) {
                rc = sqlite3_prepare_v3(
                        s->db, statements[row->kind], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
                if (rc != SQLITE_OK)
                        return rc;
        }
        rc = row_bind(row, *statement);
        if (rc == SQLITE_OK)
                rc = sqlite3_step(*statement);
        (void) sqlite3_reset(*statement);
        if (rc == SQLITE_DONE && row->kind == ROW_RENAME && sqlite3_changes(s->db) > 0)
                s->housekeeper_wanted = true;
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* True if the row is to blame, not the store: it would never go in, and none behind it either. */
static bool is_fault_of_row(int rc) {
        switch (rc & 0xff) {
        case SQLITE_CONSTRAINT:
        case SQLITE_MISMATCH:
        case SQLITE_TOOBIG:
        case SQLITE_RANGE: return true;
        default: return false;
        }
}

static int reserve(Store *s, Numbers *ret_runs, Numbers *ret_events) {
        char update[128];

        if (s->runs.reserved - s->runs.next >= STORE_RUNS_BLOCK / 2 &&
                s->events.reserved - s->events.next >= STORE_EVENTS_BLOCK / 2)
                return SQLITE_OK;
        ret_runs->reserved = s->runs.next + STORE_RUNS_BLOCK;
        ret_events->reserved = s->events.next + STORE_EVENTS_BLOCK;
        (void) snprintf(update, sizeof(update), "UPDATE meta SET next_run = %lld, next_event = %lld",
                (long long) ret_runs->reserved, (long long) ret_events->reserved);
        return sqlite3_exec(s->db, update, NULL, NULL, NULL);
}

/* One transaction. */
static int write_chunk(Store *s, uint64_t *ret_n, uint64_t *ret_n_bad) {
        Numbers runs = s->runs, events = s->events;
        uint64_t n = 0, n_bad = 0;
        size_t bytes = 0;
        int rc;

        rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                return rc;
        for (const Row *row = s->first; row && bytes < STORE_CHUNK_BYTES; row = row->next) {
                rc = write_row(s, row);
                if (is_fault_of_row(rc))
                        n_bad++;
                else if (rc != SQLITE_OK)
                        return rc;
                bytes += row->size;
                n++;
        }
        rc = reserve(s, &runs, &events);
        if (rc != SQLITE_OK)
                return rc;
        rc = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                return rc;

        s->runs.reserved = runs.reserved;
        s->events.reserved = events.reserved;
        *ret_n = n;
        *ret_n_bad = n_bad;
        return SQLITE_OK;
}

/* Writes some of what is queued. Return: 0; -EBUSY; other -errno, told. */
static int write_some(Store *s) {
        uint64_t n = 0, n_bad = 0;
        int rc, r;

        /* Another one's statement is under way, and its connection may not be closed. */
        if (s->n_reading > 0)
                return -EBUSY;

        for (unsigned attempt = 0;; attempt++) {
                if (s->db && s->reopen)
                        store_close(s, false);
                if (s->db) {
                        r = store_check_files(s);
                        if (r < 0 && attempt > 0)
                                return r;
                }
                r = store_open(s);
                if (r < 0)
                        return r;

                rc = write_chunk(s, &n, &n_bad);
                if (rc == SQLITE_OK)
                        break;
                r = store_handle_error(s, rc);
                if (s->db && !sqlite3_get_autocommit(s->db))
                        (void) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
                if (r != -EUCLEAN || attempt > 0)
                        return r;
        }

        while (n-- > 0)
                drop_first(s);
        if (n_bad > 0) {
                s->n_lost += n_bad;
                log_debug("%llu rows do not fit into '%s', left out", (unsigned long long) n_bad, s->path);
        }
        recovered(s);
        s->hold_usec = now_usec(CLOCK_MONOTONIC) + STORE_GROUP_USEC;
        store_keep_house(s);
        return 0;
}

/* True if it makes no sense to try. */
static bool is_held(const Store *s) {
        return (s->failed || s->busy_since_usec > 0) && now_usec(CLOCK_MONOTONIC) < s->hold_usec;
}

int64_t store_settled_event(const Store *s) {
        assert(s);

        return s->settled_event;
}

int store_flush(Store *s) {
        int r = 0;

        assert(s);

        if (is_held(s))
                return s->failed ? -s->error_code : -EBUSY;
        if (!s->db && !s->first)
                r = store_open(s);
        while (r >= 0 && s->first)
                r = write_some(s);
        store_schedule(s);
        return r;
}

static void enqueue(Store *s, Row *row, int64_t event) {
        if (!row) {
                s->n_lost++;
                s->settled_event = MAX(s->settled_event, event);
                store_schedule(s);
                return;
        }
        row->event = event;
        *s->last = row;
        s->last = &row->next;
        s->queue_bytes += row->size;

        if (s->queue_bytes > STORE_INLINE_BYTES && s->n_reading == 0 && !is_held(s)) {
                (void) write_some(s);
                s->scheduled = false;
        }
        while (s->queue_bytes > STORE_QUEUE_BYTES) {
                drop_first(s);
                s->n_lost++;
        }
        /* What is scheduled stays so, but that events of a store in trouble are told without waiting for it. */
        if (!s->scheduled || (event > 0 && s->failed))
                store_schedule(s);
}

/* ---- The event loop -------------------------------------------------------------------------------------------- */

void store_schedule(Store *s) {
        usec_t now;

        /* It cannot be said when what is queued will be in the store: who listens is not to wait for that. */
        if (s->failed)
                s->settled_event = s->last_event;

        s->scheduled = s->first || s->notices || s->settled_event > s->told_event;
        if (!s->scheduled) {
                (void) sd_event_source_set_enabled(s->turn, SD_EVENT_OFF);
                (void) sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
                return;
        }
        now = now_usec(CLOCK_MONOTONIC);
        if (s->notices || s->settled_event > s->told_event || s->hold_usec <= now) {
                (void) sd_event_source_set_enabled(s->turn, SD_EVENT_ONESHOT);
                (void) sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_enabled(s->turn, SD_EVENT_OFF);
        (void) sd_event_source_set_time(s->timer, s->hold_usec);
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static void tell(Store *s) {
        while (s->notices) {
                Notice *notice = s->notices;

                s->notices = notice->next;
                if (!s->notices)
                        s->last_notice = &s->notices;
                s->handlers->on_trouble(s->userdata, notice->trouble, notice->detail);
                free(notice);
        }
        if (s->settled_event > s->told_event) {
                s->told_event = s->settled_event;
                s->handlers->on_events(s->userdata, s->told_event);
        }
}

static int on_turn(sd_event_source *source, void *userdata) {
        Store *s = userdata;

        if (s->first && now_usec(CLOCK_MONOTONIC) >= s->hold_usec)
                (void) write_some(s);
        else if (!s->db && !s->failed && !is_held(s))
                (void) store_open(s);
        tell(s);
        /* A burst is under way only if a single transaction did not do. */
        if (s->first && !s->failed && s->busy_since_usec == 0 && s->queue_bytes > STORE_CHUNK_BYTES)
                s->hold_usec = 0;
        store_schedule(s);
        return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        return on_turn(source, userdata);
}

/* ---- Beginning and end ----------------------------------------------------------------------------------------- */

int store_new(sd_event *event, const StoreOptions *options, const StoreHandlers *handlers, void *userdata,
        Store **ret) {
        _cleanup_(store_freep) Store *s = NULL;
        int r;

        assert(event);
        assert(options && options->directory);
        assert(handlers && handlers->on_trouble && handlers->on_events);
        assert(ret);

        s = malloc(sizeof(*s));
        if (!s)
                return -ENOMEM;
        *s = (Store){
                .event = sd_event_ref(event),
                .handlers = handlers,
                .userdata = userdata,
                .limits = { .size_bytes = UINT64_MAX,
                        .age_usec = USEC_INFINITY,
                        .content_bytes = UINT64_MAX },
        };
        s->last = &s->first;
        s->last_notice = &s->notices;

        s->directory = strdup(options->directory);
        if (!s->directory)
                return -ENOMEM;
        if (asprintf(&s->path, "%s/" STORE_FILE, options->directory) < 0) {
                s->path = NULL;
                return -ENOMEM;
        }
        if (options->housekeeper) {
                s->housekeeper = strdup(options->housekeeper);
                if (!s->housekeeper)
                        return -ENOMEM;
        }

        r = sd_event_add_defer(event, &s->turn, on_turn, s);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(s->turn, SD_EVENT_OFF);
        r = sd_event_add_time(event, &s->timer, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_time, s);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);

        (void) store_open(s);
        s->settled_event = s->told_event = s->last_event;
        store_keep_house(s);
        store_schedule(s);

        *ret = TAKE_PTR(s);
        return 0;
}

Store *store_free(Store *s) {
        int r = 0;

        if (!s)
                return NULL;

        store_stop_housekeeper(s);
        s->housekeeper_hold_usec = USEC_INFINITY;
        if (s->db)
                (void) sqlite3_busy_timeout(s->db, STORE_LOCK_MSEC);
        if (s->turn && s->timer) {
                while (s->first && r >= 0) {
                        s->hold_usec = 0;
                        r = write_some(s);
                }
                if (r < 0)
                        log_warning_errno(
                                r, "Failed to write what was left to '%s', it is lost: %m", s->path);
        }
        store_close(s, r >= 0);

        while (s->first)
                drop_first(s);
        while (s->notices) {
                Notice *notice = s->notices;

                s->notices = notice->next;
                free(notice);
        }
        sd_event_source_disable_unref(s->turn);
        sd_event_source_disable_unref(s->timer);
        sd_event_unref(s->event);
        free(s->directory);
        free(s->path);
        free(s->housekeeper);
        free(s->error);
        free(s);
        return NULL;
}

/* ---- Numbers --------------------------------------------------------------------------------------------------- */

static int64_t take_number(Store *s, Numbers *numbers) {
        if (numbers->next >= numbers->reserved) {
                if (!is_held(s))
                        (void) write_some(s);
                store_schedule(s);
        }
        if (numbers->next >= numbers->reserved) {
                int64_t late = (int64_t) (now_usec(CLOCK_REALTIME) / USEC_PER_MSEC);

                /* So far no process that is gone can have come, unless it gave more than one each millisecond. */
                numbers->next = MAX(numbers->next, late);
                numbers->next = MAX(numbers->next, INT64_C(1));
        }
        return numbers->next++;
}

int64_t store_next_run(Store *s) {
        assert(s);

        return take_number(s, &s->runs);
}

/* ---- What is put ----------------------------------------------------------------------------------------------- */

static char *json_to_text(const json_t *json) {
        return json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
}

void store_put_run(Store *s, const StoreRun *run) {
        _cleanup_free_ char *summary = json_to_text(run->summary),
                            *vars = json_array_size(run->vars) > 0 ? json_to_text(run->vars) : NULL;
        const Column columns[] = {
                column_integer(run->id),
                column_text(run->mode),
                column_text(run->cause),
                column_time(run->started_usec),
                run->finished_usec > 0 ? column_time(run->finished_usec) : column_null(),
                column_text(summary),
                column_text(run->error),
                column_text(vars),
        };

        assert(s);

        enqueue(s, row_new(ROW_RUN, columns, ELEMENTSOF(columns)), 0);
}

/* What the result refers to. Before it: a reference too many does no harm, one too few loses the content. */
static void put_contents(Store *s, int64_t run, const json_t *undo) {
        const json_t *item;
        size_t i;

        json_array_foreach(undo, i, item) {
                const json_t *old = json_object_get(item, "old");
                const char *hash = json_string_value(json_object_get(old, "stored"));
                const Column columns[] = { column_text(hash), column_integer(run) };

                if (!hash || !content_name_is_valid(hash))
                        continue;
                enqueue(s, row_new(ROW_CONTENT, columns, ELEMENTSOF(columns)), 0);
                s->content_bytes +=
                        (uint64_t) MAX(json_integer_value(json_object_get(old, "size")), (json_int_t) 0);
        }
        /* Collected before it is much more than there may be. */
        if (s->content_bytes > 0 &&
                s->content_bytes >= MAX(s->limits.content_bytes / 4, (uint64_t) STORE_CONTENT_BYTES))
                s->housekeeper_wanted = true;
}

void store_put_result(Store *s, const StoreResult *result) {
        _cleanup_free_ char *differences = json_to_text(result->differences),
                            *undo = json_to_text(result->undo);
        const Column columns[] = {
                column_integer(result->run),
                column_time(result->time_usec),
                column_text(result->state),
                column_text(result->type),
                column_text(result->role),
                column_text(result->result),
                column_text(differences),
                column_text(undo),
                column_text(result->error),
                column_time(result->duration_usec),
                result->removal ? column_integer(1) : column_null(),
        };

        assert(s);

        put_contents(s, result->run, result->undo);
        enqueue(s, row_new(ROW_RESULT, columns, ELEMENTSOF(columns)), 0);
}

void store_put_status(Store *s, const StoreStatus *status) {
        const Column columns[] = {
                column_text(status->state),
                column_text(status->result),
                column_time(status->since_usec),
                column_time(status->changed_usec),
                column_text(status->error),
        };

        assert(s);

        enqueue(s, row_new(ROW_STATUS, columns, ELEMENTSOF(columns)), 0);
}

void store_remove_status(Store *s, const char *state) {
        const Column columns[] = { column_text(state) };

        assert(s);

        enqueue(s, row_new(ROW_STATUS_REMOVE, columns, ELEMENTSOF(columns)), 0);
}

void store_put_removal(Store *s, const char *state, const char *recipe) {
        const Column columns[] = { column_text(state), column_text(recipe) };

        assert(s);

        enqueue(s, row_new(ROW_REMOVAL, columns, ELEMENTSOF(columns)), 0);
}

void store_forget_removal(Store *s, const char *state) {
        const Column columns[] = { column_text(state) };

        assert(s);

        enqueue(s, row_new(ROW_REMOVAL_FORGET, columns, ELEMENTSOF(columns)), 0);
}

void store_rename_state(Store *s, const char *from, const char *to) {
        const Column columns[] = { column_text(from), column_text(to) };

        assert(s);

        enqueue(s, row_new(ROW_RENAME, columns, ELEMENTSOF(columns)), 0);
        enqueue(s, row_new(ROW_RENAME_OWED, columns, ELEMENTSOF(columns)), 0);
}

void store_put_owed(Store *s, const StoreOwed *owed) {
        const Column columns[] = {
                column_text(owed->state),
                column_integer(owed->what),
                column_text(owed->because),
        };

        assert(s);

        enqueue(s, row_new(ROW_OWED, columns, ELEMENTSOF(columns)), 0);
}

void store_remove_owed(Store *s, const char *state) {
        const Column columns[] = { column_text(state) };

        assert(s);

        enqueue(s, row_new(ROW_OWED_REMOVE, columns, ELEMENTSOF(columns)), 0);
}

int64_t store_put_event(Store *s, const StoreEvent *event) {
        _cleanup_free_ char *data = json_to_text(event->data);
        int64_t id;

        assert(s);

        id = take_number(s, &s->events);
        s->last_event = id;
        {
                const Column columns[] = {
                        column_integer(id),
                        column_time(event->time_usec),
                        column_text(event->kind),
                        column_text(event->message),
                        event->run > 0 ? column_integer(event->run) : column_null(),
                        column_text(event->state),
                        column_text(event->role),
                        column_text(event->result),
                        column_text(data),
                };

                enqueue(s, row_new(ROW_EVENT, columns, ELEMENTSOF(columns)), id);
        }
        return id;
}
