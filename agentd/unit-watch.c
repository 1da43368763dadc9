/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <time.h>

#include "log.h"
#include "system-bus.h"
#include "unit-watch-internal.h"
#include "unit-watch.h"

#define NONE UINT32_MAX

#define DAEMON      "org.freedesktop.DBus"
#define DAEMON_PATH "/org/freedesktop/DBus"

/* How often it is tried to connect before anybody is told: a bus that is restarted is back before. */
#define FAILURES_QUIET 5
#define REFUSED_QUIET  2

/* When PID 1 did not answer, it is asked again; later each time. */
#define ASK_AGAIN_USEC         USEC_PER_SEC
#define ASK_AGAIN_LONGEST_USEC (USEC_PER_MINUTE)

/* Units whose state is asked for by name, in one call. PID 1 compares each of its units with each of them. */
#define ASK_MAX 64

static const char *const signal_rules[] = {
        "type='signal',sender='" SYSTEMD "',path_namespace='" SYSTEMD_UNITS_PATH
        "',interface='" DBUS_PROPERTIES "',member='PropertiesChanged',arg0='" SYSTEMD_UNIT "'",
        "type='signal',sender='" SYSTEMD "',path='" SYSTEMD_PATH "',interface='" SYSTEMD_MANAGER
        "',member='UnitNew'",
        "type='signal',sender='" SYSTEMD "',path='" SYSTEMD_PATH "',interface='" SYSTEMD_MANAGER
        "',member='UnitRemoved'",
        "type='signal',sender='" SYSTEMD "',path='" SYSTEMD_PATH "',interface='" SYSTEMD_MANAGER
        "',member='UnitFilesChanged'",
};

/* A rule of a module. */
typedef struct Match {
        UnitWatch *watch;
        char *rule;
        uint32_t index; /* in the list, without the units */
        bool pending;   /* the bus has not said yet whether it takes it */
        int error;      /* why it is not watched */
        sd_bus_slot *slot;
} Match;

struct UnitWatch {
        sd_event *event;
        const UnitWatchHandlers *handlers;
        void *userdata;
        SystemBus *system;

        UnitTable table;
        uint32_t *index;   /* of a unit, in the list; ascending */
        uint32_t n_listed; /* units in the list, also those that are none */
        char *bad_name;    /* the first of these */
        Match **matches;
        uint32_t n_matches;
        uint32_t n_matches_left; /* beyond all limits */

        uint8_t *is_changed; /* by index in the list */
        uint32_t *changed, n_changed;
        bool changed_all;
        usec_t first_usec, due_usec,
                told_usec;              /* CLOCK_MONOTONIC: of the first that waits; of the last list */
        usec_t set_out_usec, news_usec; /* when one last set out; and when one did, or came to rest */
        uint32_t n_under_way;
        sd_event_source *tell_timer;

        bool has_rules;   /* the bus was asked for the signals of units … */
        unsigned n_rules; /* … and has not answered so often yet */
        int rules_error;  /* … or has refused that */
        bool unlisted;    /* PID 1 is to say how all are */
        bool armed;       /* on_armed() has said so, or what is wrong */
        bool list_again;  /* once the list that is under way has come */
        sd_bus_slot *list, *states;
        bool reloading;
        unsigned n_refused; /* lists in a row */
        int error;          /* … by now */
        char *told;         /* the last error, if any */
        sd_event_source *ask_timer;
};

static void ask_list(UnitWatch *watch);

/* ---- What is told --------------------------------------------------------------------------------------------------- */

static void arm_tell(UnitWatch *watch, usec_t due) {
        bool pending = watch->n_changed > 0 || watch->changed_all;
        usec_t now = now_usec(CLOCK_MONOTONIC);

        if (!pending) {
                watch->first_usec = now;
                watch->due_usec = USEC_INFINITY;
        }
        if (now + due >= watch->due_usec)
                return;
        watch->due_usec = now + due;
        (void) sd_event_source_set_time(watch->tell_timer, watch->due_usec);
        (void) sd_event_source_set_enabled(watch->tell_timer, SD_EVENT_ONESHOT);
}

static void mark(UnitWatch *watch, uint32_t index, usec_t due) {
        arm_tell(watch, due);
        if (watch->is_changed[index])
                return;
        watch->is_changed[index] = 1;
        watch->changed[watch->n_changed++] = index;
}

static void mark_all(UnitWatch *watch) {
        arm_tell(watch, UNIT_WATCH_SLOW_USEC);
        watch->changed_all = true;
}

static bool is_worth_waiting(const UnitWatch *watch, usec_t now) {
        /* PID 1 would answer nobody, and says when it is ready. */
        if (watch->reloading)
                return now < watch->first_usec + UNIT_WATCH_RELOAD_USEC;
        /* Many at a time: some were told of just now, or others have just set out. */
        if (now >= watch->told_usec + UNIT_WATCH_LONGEST_USEC &&
                (watch->n_under_way == 0 || now >= watch->set_out_usec + UNIT_WATCH_SET_OUT_USEC))
                return false;
        return now < watch->news_usec + UNIT_WATCH_NEWS_USEC &&
               now < watch->first_usec + UNIT_WATCH_LONGEST_USEC;
}

static int compare_index(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return (x > y) - (x < y);
}

static bool is_under_way(const UnitWatch *watch, uint32_t index) {
        const uint32_t *found;

        if (watch->n_under_way == 0)
                return false;
        found = bsearch(&index, watch->index, watch->table.n, sizeof(*watch->index), compare_index);
        return found && watch->table.units[found - watch->index].under_way;
}

static int on_tell_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        UnitWatch *watch = userdata;
        usec_t now = now_usec(CLOCK_MONOTONIC);
        bool all = watch->changed_all;
        uint32_t all_n = watch->n_changed, n = 0;

        if (is_worth_waiting(watch, now)) {
                watch->due_usec = now + (watch->reloading ? UNIT_WATCH_SLOW_USEC : UNIT_WATCH_QUIET_USEC);
                (void) sd_event_source_set_time(watch->tell_timer, watch->due_usec);
                (void) sd_event_source_set_enabled(watch->tell_timer, SD_EVENT_ONESHOT);
                return 0;
        }
        watch->told_usec = now;
        watch->changed_all = false;
        watch->n_changed = 0;
        for (uint32_t i = 0; i < all_n; i++) {
                uint32_t index = watch->changed[i];

                watch->is_changed[index] = 0;
                /* One that has set out meanwhile is told of when it comes to rest: systemd restarts it, say. */
                if (!is_under_way(watch, index))
                        watch->changed[n++] = index;
        }
        if (all || n > 0)
                watch->handlers->on_changed(watch->userdata, watch->changed, n, all);
        return 0;
}

static bool is_armed(const UnitWatch *watch) {
        if (watch->table.n == 0 && watch->n_matches == 0)
                return true;
        for (uint32_t i = 0; i < watch->n_matches; i++)
                if (watch->matches[i]->pending)
                        return false;
        return system_bus_get(watch->system) && watch->n_rules == 0 && !watch->unlisted;
}

static char *describe(const UnitWatch *watch, bool armed) {
        const Match *refused = NULL;
        char *text = NULL;
        int error, r;

        for (uint32_t i = 0; i < watch->n_matches && !refused; i++)
                if (watch->matches[i]->error < 0)
                        refused = watch->matches[i];
        if (!system_bus_get(watch->system) && system_bus_failures(watch->system, &error) >= FAILURES_QUIET)
                r = asprintf(&text, "the system bus cannot be reached: %s", strerror(-error));
        else if (watch->error < 0 || watch->rules_error < 0)
                r = asprintf(&text, "systemd does not say how its units are: %s",
                        strerror(-(watch->error < 0 ? watch->error : watch->rules_error)));
        else if (!armed)
                return NULL;
        else if (watch->bad_name)
                r = asprintf(&text, "'%s' is no name of a unit", watch->bad_name);
        else if (refused)
                r = asprintf(&text, "the match rule \"%s\" was refused: %s", refused->rule,
                        strerror(-refused->error));
        else if (watch->n_matches_left > 0)
                r = asprintf(&text, "%" PRIu32 " signals on the bus are not watched, as %d are the most",
                        watch->n_matches_left, UNIT_WATCH_MATCHES_MAX);
        else
                return NULL;
        return r < 0 ? NULL : text;
}

/* Says it if it is armed for the first time, or if something else is wrong now. */
static void tell_armed(UnitWatch *watch) {
        bool armed = is_armed(watch);
        _cleanup_free_ char *error = describe(watch, armed);

        if (!error && !armed)
                return;
        if (watch->armed && streq_ptr(error, watch->told))
                return;
        watch->armed = true;
        free(watch->told);
        watch->told = error ? strdup(error) : NULL;
        watch->handlers->on_armed(watch->userdata, error);
}

/* ---- What PID 1 says ------------------------------------------------------------------------------------------------ */

static void update(UnitWatch *watch, uint32_t i, const UnitNews *news) {
        WatchedUnit *unit = &watch->table.units[i];
        bool was_under_way = unit->under_way, changed;

        changed = news ? watched_unit_update(unit, news) : watched_unit_unload(unit);
        if (changed || was_under_way != unit->under_way)
                watch->news_usec = now_usec(CLOCK_MONOTONIC);
        if (!was_under_way && unit->under_way)
                watch->set_out_usec = watch->news_usec;
        watch->n_under_way += unit->under_way;
        watch->n_under_way -= was_under_way;
        if (changed)
                mark(watch, watch->index[i], UNIT_WATCH_QUIET_USEC);
}

static void ask_again(UnitWatch *watch) {
        usec_t usec = ASK_AGAIN_USEC << MIN(watch->n_refused, 6U);

        watch->n_refused++;
        (void) sd_event_source_set_time_relative(watch->ask_timer, MIN(usec, ASK_AGAIN_LONGEST_USEC));
        (void) sd_event_source_set_enabled(watch->ask_timer, SD_EVENT_ONESHOT);
}

/* One of ListUnits…(). Return: 1; 0: at the end; -errno. */
static int read_unit(sd_bus_message *m, const char **ret_id, UnitNews *ret) {
        const char *id, *active_state, *sub_state;
        uint32_t job;
        int r;

        r = sd_bus_message_read(
                m, "(ssssssouso)", &id, NULL, NULL, &active_state, &sub_state, NULL, NULL, &job, NULL, NULL);
        if (r <= 0)
                return r;
        *ret_id = id;
        *ret = (UnitNews){ .active_state = active_state, .sub_state = sub_state, .job = job != 0 };
        return 1;
}

static int read_list(UnitWatch *watch, sd_bus_message *m) {
        UnitTable *table = &watch->table;
        bool rehash = false;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(ssssssouso)");
        for (uint32_t i = 0; r >= 0 && i < table->n; i++) {
                UnitNews news;
                const char *id;

                if (table->units[i].template)
                        continue;
                r = read_unit(m, &id, &news);
                if (r == 0)
                        return -EBADMSG;
                if (r < 0)
                        return r;
                rehash = unit_table_set_id(&table->units[i], id) || rehash;
                update(watch, i, &news);
        }
        return r < 0 ? r : rehash ? unit_table_rehash(table) : 0;
}

static int on_list(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        UnitWatch *watch = userdata;
        int r;

        watch->list = sd_bus_slot_unref(watch->list);
        r = sd_bus_message_is_method_error(m, NULL) ? -sd_bus_message_get_errno(m) : read_list(watch, m);
        if (r < 0) {
                log_debug_errno(r, "Failed to list the units that are watched, trying again: %m");
                /* That of a moment is none: it is just executing itself anew. */
                if (watch->n_refused >= REFUSED_QUIET)
                        watch->error = r;
                tell_armed(watch);
                ask_again(watch);
                return 0;
        }
        watch->error = 0;
        watch->n_refused = 0;
        watch->unlisted = false;
        if (watch->list_again) {
                watch->list_again = false;
                ask_list(watch);
        }
        tell_armed(watch);
        return 0;
}

/* One call for all, which also says what their names are aliases of. */
static int call_list(UnitWatch *watch, sd_bus *bus) {
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                bus, &m, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "ListUnitsByNames");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (uint32_t i = 0; r >= 0 && i < watch->table.n; i++)
                if (!watch->table.units[i].template)
                        r = sd_bus_message_append(m, "s", watch->table.units[i].name);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_call_async(bus, &watch->list, m, on_list, watch, 0);
        sd_bus_message_unref(m);
        return r;
}

static void ask_list(UnitWatch *watch) {
        sd_bus *bus = system_bus_get(watch->system);
        int r;

        if (!bus || watch->table.n == watch->table.n_templates)
                return;
        if (watch->list) {
                watch->list_again = true;
                return;
        }
        r = call_list(watch, bus);
        if (r < 0) {
                watch->error = r;
                ask_again(watch);
        }
}

static void ask_states(UnitWatch *watch);

/* Those that are not in the answer are not loaded any more. */
static int on_states(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        UnitWatch *watch = userdata;
        UnitTable *table = &watch->table;
        const char *id;
        UnitNews news;

        watch->states = sd_bus_slot_unref(watch->states);
        if (sd_bus_message_is_method_error(m, NULL) ||
                sd_bus_message_enter_container(m, 'a', "(ssssssouso)") < 0) {
                for (uint32_t i = 0; i < table->n; i++)
                        table->units[i].asking = false;
                ask_again(watch);
                return 0;
        }
        while (read_unit(m, &id, &news) > 0)
                for (uint32_t i = 0; i < table->n; i++) {
                        WatchedUnit *unit = &table->units[i];

                        if (unit->asking && streq(unit->id ?: unit->name, id)) {
                                unit->asking = false;
                                update(watch, i, &news);
                        }
                }
        for (uint32_t i = 0; i < table->n; i++)
                if (table->units[i].asking) {
                        table->units[i].asking = false;
                        update(watch, i, NULL);
                }
        ask_states(watch);
        return 0;
}

/*
 * How units are that were loaded just now: the first signal about them tells nothing of it, and they may be at rest already. They
 * are asked for in the one way that does not load those that are gone again, since that would lead to the next such signal.
 */
static void ask_states(UnitWatch *watch) {
        UnitTable *table = &watch->table;
        sd_bus *bus = system_bus_get(watch->system);
        sd_bus_message *m = NULL;
        unsigned n = 0;
        int r;

        for (uint32_t i = 0; i < table->n; i++)
                n += table->units[i].ask;
        if (!bus || watch->states || n == 0)
                return;
        n = 0;
        r = sd_bus_message_new_method_call(
                bus, &m, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "ListUnitsByPatterns");
        if (r >= 0)
                r = sd_bus_message_append(m, "as", 0);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (uint32_t i = 0; r >= 0 && i < table->n && n < ASK_MAX; i++) {
                WatchedUnit *unit = &table->units[i];

                if (!unit->ask)
                        continue;
                unit->ask = false;
                unit->asking = true;
                n++;
                r = sd_bus_message_append(m, "s", unit->id ?: unit->name);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_call_async(bus, &watch->states, m, on_states, watch, 0);
        if (r < 0)
                ask_again(watch);
        sd_bus_message_unref(m);
}

static int on_ask_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        ask_list(userdata);
        return 0;
}

/* ---- Signals -------------------------------------------------------------------------------------------------------- */

/* This is called for each signal of each unit on the host. */
static int on_properties(UnitWatch *watch, sd_bus_message *m, const char *label) {
        uint32_t cursor = NONE, i = unit_table_find(&watch->table, label, &cursor);
        char template[NAME_MAX * 3 + 1];
        UnitNews news;
        int r;

        if (i == NONE) {
                if (!unit_table_template(&watch->table, label, template, sizeof(template)))
                        return 0;
                label = template;
                i = unit_table_find(&watch->table, label, &cursor);
                if (i == NONE)
                        return 0;
        }
        r = unit_news_read(m, &news);
        if (r < 0)
                return 0;
        for (; i != NONE; i = unit_table_find(&watch->table, label, &cursor))
                update(watch, i, &news);
        return 0;
}

static void on_new_or_removed(UnitWatch *watch, sd_bus_message *m, bool new) {
        const char *id, *path, *label;
        bool ask = false;

        if (sd_bus_message_read(m, "so", &id, &path) < 0)
                return;
        label = startswith(path, SYSTEMD_UNITS_PATH "/");
        if (!label)
                return;
        /* That is about all units then; and whatever was said before a list is in it. */
        if (watch->reloading || watch->list)
                return;
        for (uint32_t cursor = NONE, i; (i = unit_table_find(&watch->table, label, &cursor)) != NONE;)
                if (!watch->table.units[i].template) {
                        if (!new)
                                update(watch, i, NULL);
                        watch->table.units[i].ask = new;
                        ask = ask || new;
                }
        if (ask)
                ask_states(watch);
}

/* What is ours is read here and goes no further, so that a signal is not compared with all there is. */
static int on_message(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        UnitWatch *watch = userdata;
        const char *path = sd_bus_message_get_path(m), *label, *member;
        int handled = watch->n_matches == 0; /* nobody else wants it */

        if (!path || !system_bus_from_systemd(watch->system, m))
                return 0;
        label = startswith(path, SYSTEMD_UNITS_PATH "/");
        if (label) {
                if (sd_bus_message_is_signal(m, DBUS_PROPERTIES, "PropertiesChanged")) {
                        (void) on_properties(watch, m, label);
                        (void) sd_bus_message_rewind(m, true);
                }
                return handled;
        }
        if (!sd_bus_message_is_signal(m, SYSTEMD_MANAGER, NULL))
                return 0;
        member = sd_bus_message_get_member(m);
        if (streq(member, "UnitNew") || streq(member, "UnitRemoved")) {
                on_new_or_removed(watch, m, streq(member, "UnitNew"));
                (void) sd_bus_message_rewind(m, true);
        } else if (streq(member, "UnitFilesChanged") && !watch->reloading)
                mark_all(watch);
        return 0;
}

/* ---- Match rules of modules ----------------------------------------------------------------------------------------- */

static int on_match(_unused_ sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Match *match = userdata;

        mark(match->watch, match->watch->n_listed + match->index, UNIT_WATCH_SLOW_USEC);
        return 0;
}

static int on_match_added(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Match *match = userdata;

        match->error = sd_bus_message_is_method_error(m, NULL) ? -sd_bus_message_get_errno(m) : 0;
        match->pending = false;
        tell_armed(match->watch);
        return 0;
}

static void add_match(Match *match, sd_bus *bus) {
        int r;

        if (match->slot)
                return;
        r = sd_bus_add_match_async(bus, &match->slot, match->rule, on_match, on_match_added, match);
        match->error = MIN(r, 0);
        match->pending = r >= 0;
}

static Match *match_free(Match *match) {
        if (!match)
                return NULL;
        sd_bus_slot_unref(match->slot);
        free(match->rule);
        free(match);
        return NULL;
}

/* ---- The connection ------------------------------------------------------------------------------------------------- */

static int on_open(void *userdata, sd_bus *bus) {
        return sd_bus_add_filter(bus, NULL, on_message, userdata);
}

static int on_rule_added(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        UnitWatch *watch = userdata;

        if (sd_bus_message_is_method_error(m, NULL) && !system_bus_is_lost(sd_bus_message_get_error(m)))
                watch->rules_error = -sd_bus_message_get_errno(m);
        if (watch->n_rules > 0)
                watch->n_rules--;
        tell_armed(watch);
        return 0;
}

/* Without a callback of sd-bus's own: the filter has it, and that does not compare. */
static void add_rules(UnitWatch *watch, sd_bus *bus) {
        if (watch->has_rules || watch->table.n == 0)
                return;
        watch->has_rules = true;
        FOREACH_ELEMENT(rule, signal_rules) {
                int r = sd_bus_call_method_async(bus, NULL, DAEMON, DAEMON_PATH, DAEMON, "AddMatch",
                        on_rule_added, watch, "s", *rule);

                if (r < 0)
                        watch->rules_error = r;
                else
                        watch->n_rules++;
        }
}

/* A list that is under way is of other units, or of a connection that is gone. */
static void forget_calls(UnitWatch *watch) {
        watch->list = sd_bus_slot_unref(watch->list);
        watch->states = sd_bus_slot_unref(watch->states);
        watch->list_again = false;
        watch->n_refused = 0;
        (void) sd_event_source_set_enabled(watch->ask_timer, SD_EVENT_OFF);
}

static void forget_connection(UnitWatch *watch) {
        forget_calls(watch);
        for (uint32_t i = 0; i < watch->n_matches; i++) {
                watch->matches[i]->slot = sd_bus_slot_unref(watch->matches[i]->slot);
                watch->matches[i]->pending = false;
        }
        for (uint32_t i = 0; i < watch->table.n; i++)
                watch->table.units[i].ask = watch->table.units[i].asking = false;
        watch->has_rules = false;
        watch->n_rules = 0;
        watch->rules_error = 0;
        watch->reloading = false;
        watch->error = 0;
}

static void on_connected(UnitWatch *watch) {
        sd_bus *bus = system_bus_get(watch->system);

        add_rules(watch, bus);
        for (uint32_t i = 0; i < watch->n_matches; i++)
                add_match(watch->matches[i], bus);
        watch->unlisted = watch->table.n > watch->table.n_templates;
        ask_list(watch);
        /* Whatever has happened before was not seen. The first time, somebody looks anyway. */
        if (watch->armed)
                mark_all(watch);
        tell_armed(watch);
}

static void on_news(void *userdata, SystemBusNews news) {
        UnitWatch *watch = userdata;

        switch (news) {
        case SYSTEM_BUS_CONNECTED: on_connected(watch); break;
        case SYSTEM_BUS_LOST:
                forget_connection(watch);
                tell_armed(watch);
                break;
        case SYSTEMD_GONE: watch->reloading = false; break;
        case SYSTEMD_RELOADING: watch->reloading = true; break;
        case SYSTEMD_APPEARED:
        case SYSTEMD_RELOADED:
                watch->reloading = false;
                ask_list(watch);
                if (watch->table.n > 0)
                        mark_all(watch);
                break;
        case SYSTEMD_UNREACHABLE: ask_again(watch); break;
        }
}

static const SystemBusHandlers system_handlers = { .on_open = on_open, .on_news = on_news };

/* ---- The list ------------------------------------------------------------------------------------------------------- */

static void done_matches(Match **matches, uint32_t n) {
        for (uint32_t i = 0; i < n; i++)
                match_free(matches[i]);
        free(matches);
}

/* Those that were there before keep their slot. */
static int make_matches(UnitWatch *watch, const char *const *rules, uint32_t n, Match ***ret) {
        Match **matches = calloc(MAX(n, 1U), sizeof(*matches));

        if (!matches)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                matches[i] = calloc(1, sizeof(Match));
                if (matches[i])
                        *matches[i] = (Match){ .watch = watch, .rule = strdup(rules[i]), .index = i };
                if (!matches[i] || !matches[i]->rule) {
                        done_matches(matches, n);
                        return -ENOMEM;
                }
        }
        *ret = matches;
        return 0;
}

static void inherit_matches(UnitWatch *watch, Match **matches, uint32_t n) {
        for (uint32_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < watch->n_matches; k++) {
                        Match *old = watch->matches[k];

                        if (!old || !old->slot || !streq(old->rule, matches[i]->rule))
                                continue;
                        old->index = i;
                        match_free(matches[i]);
                        matches[i] = old;
                        watch->matches[k] = NULL;
                        break;
                }
        done_matches(watch->matches, watch->n_matches);
        watch->matches = matches;
        watch->n_matches = n;
}

static void begin(UnitWatch *watch) {
        sd_bus *bus = system_bus_get(watch->system);

        watch->unlisted = false;
        watch->n_under_way = 0;
        for (uint32_t i = 0; i < watch->table.n; i++) {
                const WatchedUnit *unit = &watch->table.units[i];

                watch->n_under_way += unit->under_way;
                watch->unlisted = watch->unlisted || (unit->rest == 0 && !unit->template);
        }
        if (watch->table.n == 0 && watch->n_matches == 0) {
                forget_connection(watch);
                watch->changed_all = false;
                (void) sd_event_source_set_enabled(watch->tell_timer, SD_EVENT_OFF);
                system_bus_close(watch->system);
                return;
        }
        if (!bus) {
                system_bus_open(watch->system);
                return;
        }
        add_rules(watch, bus);
        for (uint32_t i = 0; i < watch->n_matches; i++)
                add_match(watch->matches[i], bus);
        if (watch->unlisted)
                ask_list(watch);
        ask_states(watch);
}

int unit_watch_set(UnitWatch *watch, const char *const *units, size_t n_units, const char *const *matches,
        size_t n_matches) {
        _cleanup_free_ const char **names = malloc(MAX(n_units, (size_t) 1) * sizeof(*names));
        _cleanup_free_ uint32_t *index = malloc(MAX(n_units, (size_t) 1) * sizeof(*index));
        _cleanup_free_ uint32_t *changed = malloc(MAX(n_units + n_matches, (size_t) 1) * sizeof(*changed));
        _cleanup_free_ uint8_t *is_changed = calloc(MAX(n_units + n_matches, (size_t) 1), 1);
        _cleanup_free_ char *bad_name = NULL;
        uint32_t n_watched = (uint32_t) MIN(n_matches, (size_t) UNIT_WATCH_MATCHES_MAX);
        UnitTable table = {};
        Match **list = NULL;
        bool pending;
        size_t n = 0;

        if (!names || !index || !changed || !is_changed)
                return -ENOMEM;
        for (size_t i = 0; i < n_units; i++)
                if (unit_name_is_valid(units[i])) {
                        index[n] = (uint32_t) i;
                        names[n++] = units[i];
                } else if (!bad_name)
                        bad_name = strdup(units[i]);
        if (unit_table_init(&table, names, n) < 0 || make_matches(watch, matches, n_watched, &list) < 0) {
                unit_table_done(&table);
                return -ENOMEM;
        }

        pending = watch->n_changed > 0 || watch->changed_all;
        unit_table_inherit(&table, &watch->table);
        forget_calls(watch);
        unit_table_done(&watch->table);
        watch->table = table;
        inherit_matches(watch, list, n_watched);
        free(watch->index);
        watch->index = TAKE_PTR(index);
        free(watch->changed);
        watch->changed = TAKE_PTR(changed);
        free(watch->is_changed);
        watch->is_changed = TAKE_PTR(is_changed);
        free(watch->bad_name);
        watch->bad_name = TAKE_PTR(bad_name);
        watch->n_listed = (uint32_t) n_units;
        watch->n_matches_left = (uint32_t) (n_matches - n_watched);
        watch->n_changed = 0;
        /* Which they are in the new list would have to be found: a check of all costs less. */
        watch->changed_all = pending;
        watch->armed = false;
        free(watch->told);
        watch->told = NULL;
        begin(watch);
        if (n_units + n_matches > 0)
                tell_armed(watch);
        return 0;
}

/* ---- The object ----------------------------------------------------------------------------------------------------- */

int unit_watch_new(sd_event *event, const UnitWatchHandlers *handlers, void *userdata, UnitWatch **ret) {
        _cleanup_(unit_watch_freep) UnitWatch *watch = NULL;
        int r;

        assert(handlers->on_changed);
        assert(handlers->on_armed);

        watch = malloc(sizeof(*watch));
        if (!watch)
                return -ENOMEM;
        *watch = (UnitWatch){ .event = event, .handlers = handlers, .userdata = userdata };
        r = system_bus_new(event, "units", &system_handlers, watch, &watch->system);
        if (r >= 0)
                r = sd_event_add_time(
                        event, &watch->tell_timer, CLOCK_MONOTONIC, USEC_INFINITY, 1, on_tell_timer, watch);
        if (r >= 0)
                r = sd_event_add_time(event, &watch->ask_timer, CLOCK_MONOTONIC, USEC_INFINITY,
                        USEC_PER_MSEC, on_ask_timer, watch);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(watch->tell_timer, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(watch->ask_timer, SD_EVENT_OFF);
        *ret = TAKE_PTR(watch);
        return 0;
}

UnitWatch *unit_watch_free(UnitWatch *watch) {
        if (!watch)
                return NULL;
        forget_calls(watch);
        done_matches(watch->matches, watch->n_matches);
        system_bus_free(watch->system);
        sd_event_source_disable_unref(watch->tell_timer);
        sd_event_source_disable_unref(watch->ask_timer);
        unit_table_done(&watch->table);
        free(watch->index);
        free(watch->changed);
        free(watch->is_changed);
        free(watch->bad_name);
        free(watch->told);
        free(watch);
        return NULL;
}
