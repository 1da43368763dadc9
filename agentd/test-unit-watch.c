/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* With a bus of our own, which is a socket and this process at its other end: it answers as dbus-daemon and PID 1 do. */

#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>
#include <time.h>

#include "system-bus.h"
#include "test.h"
#include "unit-watch-internal.h"
#include "unit-watch.h"

#define DEADLINE_USEC (20 * USEC_PER_SEC)
#define INDICES_MAX   256

#define PID1     ":1.0"
#define STRANGER ":1.66"

static sd_event *event;
static UnitWatch *watch;

/* The other end. */
static char directory[] = "/tmp/test-unit-watch-XXXXXX", address[128], socket_path[96];
static sd_event_source *accept_source;
static int listen_fd = -EBADF;
static sd_bus *server;
static unsigned n_connections, n_matches, n_lists, n_states, n_subscribed;
static bool refuse_lists, refuse_matches;
static char ids[INDICES_MAX][64]; /* what a name is an alias of */
static const char *active = "inactive", *loaded = "";

/* What was told. */
static unsigned n_told, n_armed, n_all;
static uint32_t indices[INDICES_MAX];
static size_t n_indices;
static char error_text[256];

/* ---- The other end -------------------------------------------------------------------------------------------------- */

static void send_message(sd_bus_message *m, const char *sender) {
        ASSERT_TRUE(sd_bus_message_set_sender(m, sender) >= 0);
        ASSERT_TRUE(sd_bus_send(server, m, NULL) >= 0);
        sd_bus_message_unref(m);
}

static void append_unit(sd_bus_message *m, const char *id) {
        ASSERT_TRUE(sd_bus_message_append(m, "(ssssssouso)", id, "", "loaded", active,
                            streq(active, "active") ? "running" : "dead", "", "/x", 0, "", "/") >= 0);
}

static void answer_list(sd_bus_message *m, sd_bus_message *reply, bool patterns) {
        const char *name;

        if (patterns)
                ASSERT_TRUE(sd_bus_message_skip(m, "as") >= 0);
        ASSERT_TRUE(sd_bus_message_enter_container(m, 'a', "s") >= 0);
        ASSERT_TRUE(sd_bus_message_open_container(reply, 'a', "(ssssssouso)") >= 0);
        for (unsigned i = 0; sd_bus_message_read(m, "s", &name) > 0; i++)
                if (!patterns)
                        append_unit(reply, ids[i][0] ? ids[i] : name);
                else if (streq(name, loaded))
                        append_unit(reply, name);
        ASSERT_TRUE(sd_bus_message_close_container(reply) >= 0);
}

static int on_call(sd_bus_message *m, _unused_ void *userdata, _unused_ sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(m), *sender = PID1;
        sd_bus_message *reply = NULL;
        uint8_t type;

        ASSERT_TRUE(sd_bus_message_get_type(m, &type) >= 0);
        if (type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        if ((streq(member, "ListUnitsByNames") && refuse_lists) ||
                (streq(member, "AddMatch") && refuse_matches)) {
                ASSERT_TRUE(sd_bus_message_new_method_errorf(
                                    m, &reply, "org.freedesktop.DBus.Error.LimitsExceeded", "no") >= 0);
                send_message(reply, sender);
                return 1;
        }
        ASSERT_TRUE(sd_bus_message_new_method_return(m, &reply) >= 0);
        if (streq(member, "Hello"))
                ASSERT_TRUE(sd_bus_message_append(reply, "s", ":1.7") >= 0);
        else if (streq(member, "GetNameOwner"))
                ASSERT_TRUE(sd_bus_message_append(reply, "s", PID1) >= 0);
        else if (streq(member, "AddMatch"))
                n_matches++;
        else if (streq(member, "RemoveMatch"))
                n_matches--;
        else if (streq(member, "Subscribe"))
                n_subscribed++;
        else if (streq(member, "ListUnitsByNames")) {
                n_lists++;
                answer_list(m, reply, false);
        } else if (streq(member, "ListUnitsByPatterns")) {
                n_states++;
                answer_list(m, reply, true);
        }
        if (streq(member, "Hello") || streq(member, "GetNameOwner") || endswith(member, "Match"))
                sender = "org.freedesktop.DBus";
        send_message(reply, sender);
        return 1;
}

static int on_accept(
        _unused_ sd_event_source *source, int fd, _unused_ uint32_t events, _unused_ void *userdata) {
        sd_id128_t id = SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 0);
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        ASSERT_TRUE(client >= 0);
        n_connections++;
        n_matches = 0;
        server = sd_bus_close_unref(server);
        ASSERT_TRUE(sd_bus_new(&server) >= 0);
        ASSERT_TRUE(sd_bus_set_fd(server, client, client) >= 0);
        ASSERT_TRUE(sd_bus_set_server(server, true, id) >= 0);
        ASSERT_TRUE(sd_bus_negotiate_fds(server, true) >= 0);
        ASSERT_TRUE(sd_bus_add_filter(server, NULL, on_call, NULL) >= 0);
        ASSERT_TRUE(sd_bus_start(server) >= 0);
        ASSERT_TRUE(sd_bus_attach_event(server, event, SD_EVENT_PRIORITY_NORMAL) >= 0);
        return 0;
}

static void listen_there(void) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };

        (void) unlink(socket_path);
        (void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
        listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(listen_fd >= 0);
        ASSERT_OK(bind(listen_fd, (struct sockaddr *) &sa, sizeof(sa)));
        ASSERT_OK(listen(listen_fd, 8));
        ASSERT_TRUE(sd_event_add_io(event, &accept_source, listen_fd, EPOLLIN, on_accept, NULL) >= 0);
}

static void listen_no_more(void) {
        accept_source = sd_event_source_disable_unref(accept_source);
        listen_fd = safe_close(listen_fd);
        (void) unlink(socket_path);
}

static sd_bus_message *signal_of(const char *path, const char *interface, const char *member) {
        sd_bus_message *m = NULL;

        ASSERT_TRUE(sd_bus_message_new_signal(server, &m, path, interface, member) >= 0);
        return m;
}

/* As PID 1 says it. */
static void send_properties(
        const char *sender, const char *name, const char *state, const char *sub_state, uint32_t job) {
        _cleanup_free_ char *path = NULL;
        sd_bus_message *m;

        ASSERT_TRUE(sd_bus_path_encode(SYSTEMD_UNITS_PATH, name, &path) >= 0);
        m = signal_of(path, DBUS_PROPERTIES, "PropertiesChanged");
        ASSERT_TRUE(sd_bus_message_append(m, "sa{sv}as", SYSTEMD_UNIT, 6, "ActiveState", "s", state,
                            "FreezerState", "s", "running", "SubState", "s", sub_state,
                            "StateChangeTimestamp", "t", UINT64_C(1234567890), "Conditions", "a(sbbsi)", 1,
                            "ConditionPathExists", 0, 0, "/x", 1, "Job", "(uo)", job, "/", 0) >= 0);
        send_message(m, sender);
}

static void send_change(const char *name, const char *state) {
        send_properties(PID1, name, state, streq(state, "active") ? "running" : "dead", 0);
}

static void send_unit(const char *member, const char *name) {
        _cleanup_free_ char *path = NULL;
        sd_bus_message *m = signal_of(SYSTEMD_PATH, SYSTEMD_MANAGER, member);

        ASSERT_TRUE(sd_bus_path_encode(SYSTEMD_UNITS_PATH, name, &path) >= 0);
        ASSERT_TRUE(sd_bus_message_append(m, "so", name, path) >= 0);
        send_message(m, PID1);
}

static void send_reloading(bool begins) {
        sd_bus_message *m = signal_of(SYSTEMD_PATH, SYSTEMD_MANAGER, "Reloading");

        ASSERT_TRUE(sd_bus_message_append(m, "b", begins) >= 0);
        send_message(m, PID1);
}

/* ---- Our end -------------------------------------------------------------------------------------------------------- */

static void on_changed(_unused_ void *userdata, const uint32_t *list, size_t n, bool all) {
        n_told++;
        n_all += all;
        for (size_t i = 0; i < n && n_indices < INDICES_MAX; i++)
                indices[n_indices++] = list[i];
}

static void on_armed(_unused_ void *userdata, const char *error) {
        n_armed++;
        (void) snprintf(error_text, sizeof(error_text), "%s", error ?: "");
}

static const UnitWatchHandlers handlers = { .on_changed = on_changed, .on_armed = on_armed };

static void run_until(const unsigned *counter, unsigned n) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        while (*counter < n) {
                ASSERT_TRUE(now_usec(CLOCK_MONOTONIC) < deadline);
                ASSERT_TRUE(sd_event_run(event, USEC_PER_SEC) >= 0);
        }
}

static int setup(_unused_ void **state) {
        n_connections = n_matches = n_lists = n_states = n_subscribed = 0;
        n_told = n_armed = n_all = 0;
        n_indices = 0;
        error_text[0] = 0;
        refuse_lists = refuse_matches = false;
        memset(ids, 0, sizeof(ids));
        active = "inactive";
        loaded = "";
        ASSERT_OK(sd_event_new(&event));
        listen_there();
        ASSERT_OK(unit_watch_new(event, &handlers, NULL, &watch));
        return 0;
}

static int teardown(_unused_ void **state) {
        watch = unit_watch_free(watch);
        server = sd_bus_close_unref(server);
        listen_no_more();
        event = sd_event_unref(event);
        return 0;
}

/* What is sent first was heard when this is told: messages keep their order. The last unit is "end.service". */
static void hear_all(unsigned n_units) {
        unsigned before = n_told;

        send_change("end.service", "active");
        run_until(&n_told, before + 1);
        while (n_indices == 0 || indices[n_indices - 1] != n_units - 1) {
                run_until(&n_told, n_told + 1);
        }
        send_change("end.service", "inactive");
        n_indices--;
        run_until(&n_told, n_told + 1);
        n_indices--;
}

static void arm(const char *const *units, size_t n) {
        unsigned before = n_armed;

        ASSERT_OK(unit_watch_set(watch, units, n, NULL, 0));
        run_until(&n_armed, before + 1);
        ASSERT_STREQ(error_text, "");
}

static const char *const two[] = { "a.service", "end.service" };

TEST(names) {
        static const struct {
                const char *name;
                bool valid, template;
        } cases[] = {
                { "a.service", true, false },
                { "a@b.service", true, false },
                { "a@.service", true, true },
                { "a.b@.timer", true, true },
                { "dev-sda\\x2d1.device", true, false },
                { "a@b@c.service", true, false },
                { "a@b.c@.service", true, false },
                { "-.slice", true, false },
                { "", false, false },
                { "a", false, false },
                { ".service", false, false },
                { "@.service", false, true },
                { "@b.service", false, false },
                { "a.services", false, false },
                { "a.conf", false, false },
                { "a b.service", false, false },
                { "a/b.service", false, false },
                { "*.service", false, false },
                { "a%i.service", false, false },
                { "\xc3\xa4.service", false, false },
                { "a.service\n", false, false },
        };
        char name[300];

        FOREACH_ELEMENT(c, cases) {
                ASSERT_EQ(unit_name_is_valid(c->name), c->valid);
                ASSERT_EQ(unit_name_is_template(c->name), c->template);
        }
        memset(name, 'a', sizeof(name));
        strcpy(name + 247, ".service");
        ASSERT_TRUE(unit_name_is_valid(name));
        strcpy(name + 248, ".service");
        ASSERT_FALSE(unit_name_is_valid(name));
}

TEST(what_is_worth_a_look) {
        static const struct {
                const char *name, *active, *sub, *freezer;
                bool job, changed;
        } cases[] = {
                { "a.service", "inactive", "dead", NULL, false, false }, /* for the first time */
                { "a.service", "inactive", "dead", "running", false, false },
                { "a.service", "inactive", "dead", "running", true, false },
                { "a.service", "activating", "start-pre", "running", true, false },
                { "a.service", "activating", "start", "running", true, false },
                { "a.service", "active", "running", "running", false, true },
                { "a.service", "active", "running", "running", false, false },
                { "a.service", "reloading", "reload", "running", true, false },
                { "a.service", "active", "running", "running", false, true },
                { "a.service", "active", "running", "freezing", false, false },
                { "a.service", "active", "running", "frozen", false, true },
                { "a.service", "active", "running", "thawing", false, false },
                { "a.service", "active", "running", "running", false, true },
                { "a.service", "active", "exited", "running", false, true },
                { "a.service", "deactivating", "stop", "running", false, false },
                { "a.service", "failed", "failed", "running", false, true },
                { "a.service", "activating", "auto-restart", "running", false, false },
                { "a.service", "maintenance", "cleaning", "running", false, false },
                { "a.service", "failed", "failed", "running", false, true },
                { "a.service", "inactive", "dead", "running", false, true },
                { "b.timer", "active", "waiting", NULL, false, false },
                { "b.timer", "active", "running", "running", false, false },
                { "b.timer", "active", "waiting", "running", false, false },
                { "b.timer", "active", "elapsed", "running", false, true },
                { "b.timer", "inactive", "dead", "running", false, true },
                { "a@.service", "inactive", "dead", NULL, false, true },
        };
        static const char *const names_[] = { "a.service", "b.timer", "a@.service" };
        UnitTable table;

        ASSERT_OK(unit_table_init(&table, names_, ELEMENTSOF(names_)));
        FOREACH_ELEMENT(c, cases)
                for (uint32_t i = 0; i < table.n; i++)
                        if (streq(table.units[i].name, c->name)) {
                                const UnitNews news = {
                                        .active_state = c->active,
                                        .sub_state = c->sub,
                                        .freezer_state = c->freezer,
                                        .job = c->job,
                                };

                                if (watched_unit_update(&table.units[i], &news) != c->changed)
                                        fail_msg("%s %s %s", c->name, c->active, c->sub);
                        }
        unit_table_done(&table);
}

TEST(nothing_watched_is_no_connection) {
        ASSERT_OK(unit_watch_set(watch, NULL, 0, NULL, 0));
        ASSERT_EQ(sd_event_run(event, 0), 0);
        ASSERT_EQ(n_connections, 0);
        arm(two, 2);
        ASSERT_EQ(n_connections, 1);
        ASSERT_EQ(n_subscribed, 1);
        ASSERT_EQ(n_lists, 1);
        ASSERT_OK(unit_watch_set(watch, NULL, 0, NULL, 0));
        /* The other end notices. */
        while (sd_bus_is_open(server) > 0)
                ASSERT_TRUE(sd_event_run(event, USEC_PER_SEC) >= 0);
        ASSERT_EQ(n_told, 0);
        arm(two, 2);
        ASSERT_EQ(n_connections, 2);
}

TEST(only_what_comes_to_rest_is_told) {
        arm(two, 2);
        send_change("a.service", "inactive");
        send_properties(PID1, "a.service", "activating", "start", 7);
        send_change("b.service", "active");
        send_change("a.socket", "active");
        hear_all(2);
        ASSERT_EQ(n_indices, 0);
        send_change("a.service", "active");
        hear_all(2);
        ASSERT_EQ(n_indices, 1);
        ASSERT_EQ(indices[0], 0);
        ASSERT_EQ(n_all, 0);
}

TEST(a_burst_is_told_once) {
        char names_[100][32];
        const char *units[100];
        bool seen[100] = {};

        for (size_t i = 0; i < 100; i++) {
                (void) snprintf(names_[i], sizeof(names_[i]), "u%zu.service", i);
                units[i] = names_[i];
        }
        arm(units, 100);
        for (size_t i = 0; i < 50; i++)
                send_properties(PID1, units[i], "activating", "start", 1);
        for (size_t i = 0; i < 50; i++) {
                send_change(units[i], "active");
                send_change(units[i], "active");
        }
        run_until(&n_told, 1);
        ASSERT_EQ(n_indices, 50);
        for (size_t i = 0; i < 50; i++) {
                ASSERT_TRUE(indices[i] < 50 && !seen[indices[i]]);
                seen[indices[i]] = true;
        }
}

TEST(strangers_are_not_believed) {
        sd_bus_message *m;

        arm(two, 2);
        send_properties(STRANGER, "a.service", "active", "running", 0);
        m = signal_of(SYSTEMD_PATH, SYSTEMD_MANAGER, "UnitFilesChanged");
        send_message(m, STRANGER);
        m = signal_of("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged");
        ASSERT_TRUE(sd_bus_message_append(m, "sss", SYSTEMD, PID1, STRANGER) >= 0);
        send_message(m, STRANGER);
        send_properties(STRANGER, "a.service", "active", "running", 0);
        hear_all(2);
        ASSERT_EQ(n_indices, 0);
        ASSERT_EQ(n_all, 0);
}

TEST(bad_signals_are_passed_over) {
        sd_bus_message *m;

        arm(two, 2);
        m = signal_of(SYSTEMD_UNITS_PATH "/a_2eservice", DBUS_PROPERTIES, "PropertiesChanged");
        ASSERT_TRUE(sd_bus_message_append(m, "s", "nonsense") >= 0);
        send_message(m, PID1);
        m = signal_of(SYSTEMD_UNITS_PATH "/a_2eservice", DBUS_PROPERTIES, "PropertiesChanged");
        ASSERT_TRUE(sd_bus_message_append(m, "u", 7) >= 0);
        send_message(m, PID1);
        m = signal_of(SYSTEMD_UNITS_PATH "/a_2eservice", DBUS_PROPERTIES, "PropertiesChanged");
        ASSERT_TRUE(sd_bus_message_append(m, "sa{sv}as", SYSTEMD_UNIT, 1, "ActiveState", "u", 7, 0) >= 0);
        send_message(m, PID1);
        m = signal_of(SYSTEMD_UNITS_PATH "/a_2eservice", DBUS_PROPERTIES, "PropertiesChanged");
        ASSERT_TRUE(sd_bus_message_append(m, "sa{sv}as", SYSTEMD_UNIT, 0, 0) >= 0);
        send_message(m, PID1);
        m = signal_of(SYSTEMD_PATH, SYSTEMD_MANAGER, "UnitNew");
        ASSERT_TRUE(sd_bus_message_append(m, "s", "a.service") >= 0);
        send_message(m, PID1);
        hear_all(2);
        ASSERT_EQ(n_indices, 0);
}

TEST(aliases_and_templates) {
        static const char *const units[] = { "alias.service", "i@.service", "i@x.service", "real.service",
                "end.service" };

        /* Templates are not asked for. */
        strcpy(ids[0], "real.service");
        arm(units, 5);
        send_change("real.service", "active");
        hear_all(5);
        ASSERT_EQ(n_indices, 2);
        ASSERT_EQ(indices[0] + indices[1], 3);
        n_indices = 0;
        send_change("i@y-\\x2d.service", "active");
        hear_all(5);
        ASSERT_EQ(n_indices, 1);
        ASSERT_EQ(indices[0], 1);
        n_indices = 0;
        /* Of the one that is watched by itself both hear. */
        send_properties(PID1, "i@z.service", "activating", "start", 1);
        send_change("i@x.service", "active");
        hear_all(5);
        ASSERT_EQ(n_indices, 2);
        ASSERT_EQ(indices[0] + indices[1], 3);
        n_indices = 0;
        send_change("j@y.service", "active");
        send_change("i@y.timer", "active");
        hear_all(5);
        ASSERT_EQ(n_indices, 0);
}

TEST(a_unit_that_is_loaded_is_asked_for_once) {
        arm(two, 2);
        /* Gone again, as a look at it leaves it. */
        send_unit("UnitNew", "a.service");
        send_unit("UnitRemoved", "a.service");
        send_unit("UnitNew", "other.service");
        hear_all(2);
        ASSERT_EQ(n_states, 1);
        ASSERT_EQ(n_lists, 1);
        ASSERT_EQ(n_indices, 0);
        /* At rest before a word is said of it. */
        loaded = "a.service";
        active = "active";
        send_unit("UnitNew", "a.service");
        run_until(&n_told, n_told + 1);
        ASSERT_EQ(n_indices, 1);
        ASSERT_EQ(indices[0], 0);
        n_indices = 0;
        send_unit("UnitRemoved", "a.service");
        run_until(&n_told, n_told + 1);
        ASSERT_EQ(n_indices, 1);
}

TEST(a_reload_is_all_once) {
        arm(two, 2);
        send_message(signal_of(SYSTEMD_PATH, SYSTEMD_MANAGER, "UnitFilesChanged"), PID1);
        send_reloading(true);
        send_unit("UnitRemoved", "a.service");
        send_reloading(false);
        send_unit("UnitNew", "a.service");
        run_until(&n_told, 1);
        ASSERT_EQ(n_told, 1);
        ASSERT_EQ(n_all, 1);
        ASSERT_EQ(n_indices, 0);
        ASSERT_EQ(n_lists, 2);
        ASSERT_EQ(n_states, 0);
        ASSERT_EQ(n_subscribed, 2);
}

TEST(a_lost_connection_is_made_again_and_all_is_told) {
        arm(two, 2);
        server = sd_bus_close_unref(server);
        run_until(&n_told, 1);
        ASSERT_EQ(n_connections, 2);
        ASSERT_EQ(n_all, 1);
        ASSERT_EQ(n_armed, 1);
        hear_all(2);

        /* For longer. */
        listen_no_more();
        server = sd_bus_close_unref(server);
        run_until(&n_armed, 2);
        ASSERT_STREQ(error_text, "the system bus cannot be reached: No such file or directory");
        listen_there();
        run_until(&n_armed, 3);
        ASSERT_STREQ(error_text, "");
        run_until(&n_all, 2);
        hear_all(2);
}

TEST(a_list_that_is_refused_is_asked_for_again) {
        refuse_lists = true;
        ASSERT_OK(unit_watch_set(watch, two, 2, NULL, 0));
        run_until(&n_armed, 1);
        ASSERT_TRUE(startswith(error_text, "systemd does not say how its units are: "));
        refuse_lists = false;
        run_until(&n_armed, 2);
        ASSERT_STREQ(error_text, "");
}

TEST(another_list_keeps_what_is_known) {
        static const char *const others[] = { "a.service", "new.service", "end.service" };

        active = "active";
        arm(two, 2);
        active = "inactive";
        ASSERT_OK(unit_watch_set(watch, others, 3, NULL, 0));
        /* That a.service has stopped meanwhile nobody has said. */
        run_until(&n_told, 1);
        ASSERT_EQ(n_connections, 1);
        ASSERT_EQ(n_lists, 2);
        ASSERT_EQ(n_indices, 2);
        n_indices = 0;
        /* Nothing new: nothing is asked. */
        arm(two, 2);
        ASSERT_EQ(n_lists, 2);
        hear_all(2);
        ASSERT_EQ(n_indices, 0);
}

TEST(matches) {
        static const char *const rules[] = { "type='signal',path='/x'", "type='signal',path='/y'" };
        static const char *const bad[] = { "type='signal',path='/x'", "type='nonsense'" };

        ASSERT_OK(unit_watch_set(watch, two, 2, rules, 2));
        run_until(&n_armed, 1);
        ASSERT_STREQ(error_text, "");
        for (unsigned i = 0; i < 100; i++)
                send_message(signal_of("/y", "org.example.A", "B"), STRANGER);
        run_until(&n_told, 1);
        ASSERT_EQ(n_indices, 1);
        ASSERT_EQ(indices[0], 3);
        n_indices = 0;
        /* The rest goes on as before. */
        send_change("a.service", "active");
        hear_all(2);
        ASSERT_EQ(n_indices, 1);

        ASSERT_OK(unit_watch_set(watch, two, 2, bad, 2));
        run_until(&n_armed, 2);
        ASSERT_STREQ(error_text, "the match rule \"type='nonsense'\" was refused: Invalid argument");
        n_indices = 0;
        send_message(signal_of("/x", "org.example.A", "B"), STRANGER);
        run_until(&n_told, n_told + 1);
        ASSERT_EQ(indices[0], 2);
}

TEST(too_many_matches) {
        char texts[UNIT_WATCH_MATCHES_MAX + 3][64];
        const char *rules[UNIT_WATCH_MATCHES_MAX + 3];
        unsigned n;

        for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
                (void) snprintf(texts[i], sizeof(texts[i]), "type='signal',path='/n%zu'", i);
                rules[i] = texts[i];
        }
        ASSERT_OK(unit_watch_set(watch, NULL, 0, rules, ELEMENTSOF(rules)));
        run_until(&n_armed, 1);
        ASSERT_STREQ(error_text, "3 signals on the bus are not watched, as 64 are the most");
        n = n_matches;
        ASSERT_TRUE(n >= UNIT_WATCH_MATCHES_MAX && n <= UNIT_WATCH_MATCHES_MAX + 4);
        ASSERT_EQ(n_lists, 0);
        send_message(signal_of("/n63", "org.example.A", "B"), STRANGER);
        run_until(&n_told, 1);
        ASSERT_EQ(indices[0], 63);
}

TEST(names_that_are_none) {
        static const char *const units[] = { "nonsense", "a.service", "x y.service" };

        ASSERT_OK(unit_watch_set(watch, units, 3, NULL, 0));
        run_until(&n_armed, 1);
        ASSERT_STREQ(error_text, "'nonsense' is no name of a unit");
        send_change("a.service", "active");
        run_until(&n_told, 1);
        ASSERT_EQ(indices[0], 1);
        /* Only such: nobody is asked. */
        ASSERT_OK(unit_watch_set(watch, units, 1, NULL, 0));
        ASSERT_EQ(n_armed, 2);
}

TEST(a_bus_that_takes_no_rules) {
        refuse_matches = true;
        ASSERT_OK(unit_watch_set(watch, two, 2, NULL, 0));
        run_until(&n_armed, 1);
        ASSERT_TRUE(startswith(error_text, "systemd does not say how its units are: "));
}

static usec_t cpu_usec(void) {
        struct timespec ts;

        ASSERT_OK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts));
        return (usec_t) ts.tv_sec * USEC_PER_SEC + (usec_t) ts.tv_nsec / NSEC_PER_USEC;
}

/* That they are dropped, and not what they take, which depends on the machine; with FLOOD=10000 it prints that as well. */
TEST(a_flood_of_others) {
        unsigned n = getenv("FLOOD") ? (unsigned) atoi(getenv("FLOOD")) : 500;
        usec_t sent = 0, begun;

        arm(two, 2);
        begun = cpu_usec();
        for (unsigned i = 0; i < n; i++) {
                usec_t before = cpu_usec();

                send_change("other.timer", i % 2 ? "active" : "inactive");
                ASSERT_TRUE(sd_bus_flush(server) >= 0);
                sent += cpu_usec() - before;
                while (sd_event_run(event, 0) > 0)
                        ;
        }
        if (getenv("FLOOD"))
                print_message("%u signals of others: %" PRIu64 " us of CPU, besides %" PRIu64
                              " to send them\n",
                        n, cpu_usec() - begun - sent, sent);
        hear_all(2);
        ASSERT_EQ(n_indices, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN(names),
                RUN(what_is_worth_a_look),
                T(nothing_watched_is_no_connection),
                T(only_what_comes_to_rest_is_told),
                T(a_burst_is_told_once),
                T(strangers_are_not_believed),
                T(bad_signals_are_passed_over),
                T(aliases_and_templates),
                T(a_unit_that_is_loaded_is_asked_for_once),
                T(a_reload_is_all_once),
                T(a_lost_connection_is_made_again_and_all_is_told),
                T(a_list_that_is_refused_is_asked_for_again),
                T(another_list_keeps_what_is_known),
                T(matches),
                T(too_many_matches),
                T(names_that_are_none),
                T(a_bus_that_takes_no_rules),
                T(a_flood_of_others),
        };
        int r;

        if (!mkdtemp(directory))
                return 1;
        (void) snprintf(socket_path, sizeof(socket_path), "%s/bus", directory);
        (void) snprintf(address, sizeof(address), "unix:path=%s", socket_path);
        (void) setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void) rmdir(directory);
        return r;
}
