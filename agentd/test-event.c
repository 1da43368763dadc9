/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/uio.h>
#include <systemd/sd-id128.h>

#include "event.h"
#include "log.h"
#include "log-journal.h"
#include "test-store.h"

/* ---- The journal ----------------------------------------------------------------------------------------------- */

static char entry[2048]; /* the last one, its fields separated by line feeds */

/* Instead of lib/log-journal.c. */
int journal_send(const struct iovec *iov, size_t n) {
        size_t used = 0;

        for (size_t i = 0; i < n; i++) {
                if (used + iov[i].iov_len + 2 > sizeof(entry))
                        break;
                memcpy(entry + used, iov[i].iov_base, iov[i].iov_len);
                used += iov[i].iov_len;
                entry[used++] = '\n';
        }
        entry[used] = 0;
        return 0;
}

static void assert_field(const char *field) {
        char whole[256];

        (void) snprintf(whole, sizeof(whole), "\n%s\n", field);
        if (!strstr(entry, whole) && !(startswith(entry, whole + 1)))
                fail_msg("no field '%s' in:\n%s", field, entry);
}

TEST(kinds_have_names_and_ids_of_their_own) {
        for (EventKind i = 0; i < _EVENT_KIND_MAX; i++) {
                sd_id128_t id;

                ASSERT_EQ(event_kind_from_string(event_kinds[i].name), i);
                ASSERT_EQ(strlen(event_kinds[i].message_id), 32);
                ASSERT_OK(sd_id128_from_string(event_kinds[i].message_id, &id));
                ASSERT_TRUE(event_kinds[i].level >= LOG_ERR && event_kinds[i].level <= LOG_INFO);
                for (EventKind k = 0; k < i; k++) {
                        ASSERT_FALSE(streq(event_kinds[i].name, event_kinds[k].name));
                        ASSERT_FALSE(streq(event_kinds[i].message_id, event_kinds[k].message_id));
                }
        }
        ASSERT_EQ(event_kind_from_string(""), _EVENT_KIND_MAX);
        ASSERT_EQ(event_kind_from_string("state-change"), _EVENT_KIND_MAX);
}

TEST(an_entry_has_fields) {
        const EventDetails details = { .run = 7, .state = "file:/a", .role = "web", .result = "failed" };

        event_emit(NULL, EVENT_STATE_FAILED, &details, "%s: %s", "file:/a", "no space");
        assert_field("MESSAGE=file:/a: no space");
        assert_field("MESSAGE_ID=0c5b54fa6a644b51851f09a15f570cd5");
        assert_field("PRIORITY=3");
        assert_field("AGENTD_EVENT=state-failed");
        assert_field("AGENTD_RUN=7");
        assert_field("AGENTD_STATE=file:/a");
        assert_field("AGENTD_ROLE=web");
        assert_field("AGENTD_RESULT=failed");

        event_emit(NULL, EVENT_STARTED, NULL, "agentd 1");
        assert_field("AGENTD_EVENT=started");
        ASSERT_NULL(strstr(entry, "AGENTD_RUN"));
        ASSERT_NULL(strstr(entry, "AGENTD_STATE"));
}

TEST(attributes_are_listed_as_far_as_they_fit) {
        json_t *differences = json_pack("[{s:s}, {s:s}, {s:i}, {s:s}]", "attribute", "mode", "attribute",
                "owner", "attribute", 1, "attribute", "group");
        static const struct {
                size_t size;
                const char *expected;
        } cases[] = { { 64, "mode, owner, group" }, { 18, "mode, owner" }, { 12, "mode, owner" },
                { 11, "mode" }, { 5, "mode" }, { 4, "" }, { 1, "" } };
        char buffer[64];

        FOREACH_ELEMENT(c, cases)
                ASSERT_STREQ(event_attributes(differences, buffer, c->size), c->expected);
        ASSERT_STREQ(event_attributes(NULL, buffer, sizeof(buffer)), "");
        json_decref(differences);
        differences = json_array();
        ASSERT_STREQ(event_attributes(differences, buffer, sizeof(buffer)), "");
        json_decref(differences);
}

/* ---- Listeners ------------------------------------------------------------------------------------------------- */

typedef struct Ear {
        EventLog *log;
        unsigned n;
        int64_t last;
        bool once;   /* it does not want more */
        void *other; /* nor shall this one have more */
} Ear;

static void on_event(void *userdata, const json_t *event) {
        Ear *ear = userdata;
        int64_t id = json_integer_value(json_object_get(event, "event"));

        ASSERT_TRUE(id > ear->last);
        ASSERT_TRUE(json_is_string(json_object_get(event, "message")));
        ear->last = id;
        ear->n++;
        if (ear->once)
                event_unlisten(ear->log, ear);
        if (ear->other)
                event_unlisten(ear->log, ear->other);
}

static void log_written(void *userdata, int64_t id) {
        event_log_written(userdata, id);
}

static void log_open(Fixture *f, EventLog **ret) {
        fixture_init(f);
        fixture_open(f);
        ASSERT_OK(event_log_new(f->store, ret));
        f->on_events = log_written;
        f->userdata = *ret;
}

static void log_done(Fixture *f, EventLog *log) {
        event_log_free(log);
        f->on_events = NULL;
        fixture_done(f);
}

TEST(listeners_hear_what_is_written) {
        char kind[] = "state-failed", glob[] = "file:*";
        const EventDetails a = { .state = "file:/a", .run = 7 }, b = { .state = "user:b", .run = 8 };
        Ear all = {}, failed = {}, files = {}, run = {}, late = {};
        EventLog *log;
        Fixture f;

        log_open(&f, &log);
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &all }));
        ASSERT_OK(event_listen(
                log, &(EventListener){ .on_event = on_event, .userdata = &failed, .filter.kind = kind }));
        ASSERT_OK(event_listen(
                log, &(EventListener){ .on_event = on_event, .userdata = &files, .filter.state = glob }));
        ASSERT_OK(event_listen(
                log, &(EventListener){ .on_event = on_event, .userdata = &run, .filter.run = 8 }));
        memset(kind, 'x', sizeof(kind) - 1); /* they were copied */
        memset(glob, 'x', sizeof(glob) - 1);

        event_emit(log, EVENT_STARTED, NULL, "started");
        event_emit(log, EVENT_STATE_FAILED, &a, "failed");
        event_emit(log, EVENT_STATE_CHANGED, &a, "changed");
        event_emit(log, EVENT_STATE_FAILED, &b, "failed");
        ASSERT_EQ(all.n, 0);
        FIXTURE_UNTIL(&f, all.n == 4);
        ASSERT_EQ(failed.n, 2);
        ASSERT_EQ(files.n, 2);
        ASSERT_EQ(run.n, 1);

        /* From now on: what is in the store already the late one reads there. */
        event_emit(log, EVENT_STARTED, NULL, "before");
        ASSERT_OK(store_flush(f.store));
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &late }));
        event_emit(log, EVENT_STOPPED, NULL, "after");
        FIXTURE_UNTIL(&f, all.n == 6);
        ASSERT_EQ(late.n, 1);
        ASSERT_EQ(late.last, 6);

        /* And what is not, it hears. */
        event_unlisten(log, &late);
        late = (Ear){};
        event_emit(log, EVENT_STARTED, NULL, "not written yet");
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &late }));
        FIXTURE_UNTIL(&f, late.n == 1);
        log_done(&f, log);
}

TEST(listeners_may_go_while_they_are_told) {
        Ear once = { .once = true }, first = {}, second = {}, killer = {};
        EventLog *log;
        Fixture f;

        log_open(&f, &log);
        once.log = killer.log = log;
        killer.other = &first;
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &first }));
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &once }));
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &killer }));
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &second }));
        for (unsigned i = 0; i < 3; i++)
                event_emit(log, EVENT_STARTED, NULL, "%u", i);
        FIXTURE_UNTIL(&f, second.n == 3);
        ASSERT_EQ(once.n, 1);
        ASSERT_EQ(killer.n, 3);
        ASSERT_EQ(first.n, 0); /* the last to come is told first */
        event_unlisten(log, &second);
        event_unlisten(log, &second);
        event_emit(log, EVENT_STARTED, NULL, "more");
        FIXTURE_UNTIL(&f, killer.n == 4);
        ASSERT_EQ(second.n, 3);
        log_done(&f, log);
}

TEST(listeners_do_not_wait_for_a_store_in_trouble) {
        json_t *data = json_pack("{s:i}", "n", 1);
        const EventDetails details = { .data = data };
        Ear ear = {};
        EventLog *log;
        Fixture f;

        log_open(&f, &log);
        ASSERT_OK(event_listen(log, &(EventListener){ .on_event = on_event, .userdata = &ear }));
        (void) store_fail(f.store, ENOSPC, "full");
        event_emit(log, EVENT_STORE_FAILED, &details, "full");
        (void) json_object_set_new(data, "n", json_integer(2)); /* a copy was made */
        FIXTURE_UNTIL(&f, ear.n == 1);
        ASSERT_NOT_NULL(f.store->first);
        event_emit(log, EVENT_STARTED, NULL, "still");
        FIXTURE_UNTIL(&f, ear.n == 2);
        fixture_retry(&f);
        ASSERT_EQ(ear.n, 2); /* not once more when it is written */
        ASSERT_EQ(fixture_n_events(&f), 2);
        json_decref(data);
        log_done(&f, log);
}

RUN_TESTS(RUN(kinds_have_names_and_ids_of_their_own), RUN(an_entry_has_fields),
        RUN(attributes_are_listed_as_far_as_they_fit), RUN(listeners_hear_what_is_written),
        RUN(listeners_may_go_while_they_are_told), RUN(listeners_do_not_wait_for_a_store_in_trouble))
