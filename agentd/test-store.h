/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A store in a directory of its own, and what it says: for the tests of the store and of what sits on top of it. */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "store-internal.h"
#include "test.h"

#define TEST_DEADLINE_USEC (30 * USEC_PER_SEC)

typedef struct Fixture {
        char directory[64];
        sd_event *event;
        Store *store;
        unsigned n_told[3]; /* by StoreTrouble */
        char detail[512];   /* of the last one */
        int64_t events;     /* up to this they may be told */
        unsigned n_events;  /* how often that was said */
        void (*on_events)(void *userdata, int64_t id);
        void *userdata;
} Fixture;

static inline void fixture_on_trouble(void *userdata, StoreTrouble trouble, const char *detail) {
        Fixture *f = userdata;

        f->n_told[trouble]++;
        (void) snprintf(f->detail, sizeof(f->detail), "%s", detail);
        ASSERT_NULL(strchr(detail, '\n'));
}

static inline void fixture_on_events(void *userdata, int64_t id) {
        Fixture *f = userdata;

        ASSERT_TRUE(id > f->events);
        f->events = id;
        f->n_events++;
        if (f->on_events)
                f->on_events(f->userdata, id);
}

static const StoreHandlers fixture_handlers = {
        .on_trouble = fixture_on_trouble,
        .on_events = fixture_on_events,
};

static inline void fixture_open_with(Fixture *f, const char *housekeeper) {
        const StoreOptions options = { .directory = f->directory, .housekeeper = housekeeper };

        ASSERT_NULL(f->store);
        f->events = 0;
        memset(f->n_told, 0, sizeof(f->n_told));
        ASSERT_OK(store_new(f->event, &options, &fixture_handlers, f, &f->store));
}

static inline void fixture_open(Fixture *f) {
        fixture_open_with(f, NULL);
}

static inline void fixture_close(Fixture *f) {
        f->store = store_free(f->store);
}

/* As if it were killed: nothing is written down. */
static inline void fixture_crash(Fixture *f) {
        store_close(f->store, false);
        f->store->marked = true;
        while (f->store->first) {
                Row *row = f->store->first;

                f->store->first = row->next;
                free(row);
        }
        f->store = store_free(f->store);
}

static inline void fixture_init(Fixture *f) {
        sigset_t mask;

        *f = (Fixture){};
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);
        (void) snprintf(f->directory, sizeof(f->directory), "/tmp/test-store.XXXXXX");
        ASSERT_NOT_NULL(mkdtemp(f->directory));
        ASSERT_OK(sd_event_new(&f->event) < 0);
}

static inline void fixture_remove_all(const char *path) {
        DIR *d = opendir(path);
        struct dirent *entry;

        while (d && (entry = readdir(d)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        if (unlinkat(dirfd(d), entry->d_name, 0) < 0)
                                (void) unlinkat(dirfd(d), entry->d_name, AT_REMOVEDIR);
        if (d)
                (void) closedir(d);
        (void) rmdir(path);
}

static inline void fixture_done(Fixture *f) {
        fixture_close(f);
        sd_event_unref(f->event);
        fixture_remove_all(f->directory);
}

static inline const char *fixture_path(const Fixture *f, const char *name) {
        static char path[2][256];
        static unsigned i;

        i = !i;
        (void) snprintf(path[i], sizeof(path[i]), "%s/%s", f->directory, name);
        return path[i];
}

/* One round of the event loop; false if there was nothing to do. */
static inline bool fixture_turn(Fixture *f) {
        int r = sd_event_run(f->event, 0);

        ASSERT_TRUE(r >= 0);
        return r > 0;
}

/* Until there is nothing to do now. */
static inline void fixture_settle(Fixture *f) {
        while (fixture_turn(f))
                ;
}

/* Runs the event loop until the condition holds. */
#define FIXTURE_UNTIL(f, condition)                                                      \
        do {                                                                             \
                usec_t _deadline = now_usec(CLOCK_MONOTONIC) + TEST_DEADLINE_USEC;       \
                                                                                         \
                while (!(condition)) {                                                   \
                        ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) < _deadline);              \
                        ASSERT_TRUE(sd_event_run((f)->event, 100 * USEC_PER_MSEC) >= 0); \
                }                                                                        \
        } while (0)

/* It is tried again now, as if the time for it had come. */
static inline void fixture_retry(Fixture *f) {
        f->store->hold_usec = 0;
        store_schedule(f->store);
        fixture_settle(f);
}

/* How many files in the directory begin so, those of SQLite beside it left out. */
static inline unsigned fixture_n_files(const Fixture *f, const char *prefix) {
        DIR *d = opendir(f->directory);
        struct dirent *entry;
        unsigned n = 0;

        ASSERT_NOT_NULL(d);
        while ((entry = readdir(d)))
                n += startswith(entry->d_name, prefix) && !endswith(entry->d_name, "-wal") &&
                     !endswith(entry->d_name, "-shm");
        (void) closedir(d);
        return n;
}

static inline int64_t fixture_put_event(Fixture *f, const char *message) {
        const StoreEvent event = {
                .time_usec = now_usec(CLOCK_REALTIME), .kind = "started", .message = message
        };

        return store_put_event(f->store, &event);
}

/* All of them, in as many readings as it takes. */
static inline json_t *events_after(Store *store, int64_t after, const EventFilter *filter, unsigned limit) {
        json_t *events = json_array();
        bool more = true;

        while (more && json_array_size(events) < limit) {
                json_t *page = store_events(
                        store, &after, filter, limit - (unsigned) json_array_size(events), &more);

                if (!page)
                        break;
                ASSERT_OK(json_array_extend(events, page));
                json_decref(page);
        }
        return events;
}

static inline size_t fixture_n_events(Fixture *f) {
        json_t *events = events_after(f->store, 0, NULL, UINT32_MAX);
        size_t n = json_array_size(events);

        json_decref(events);
        return n;
}
