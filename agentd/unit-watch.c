/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <limits.h>
#include <time.h>

#include "unit-watch-internal.h"

#define NONE UINT32_MAX

#define DAEMON      "org.freedesktop.DBus"
#define DAEMON_PATH "/org/freedesktop/DBus"

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

/* ---- Signals -------------------------------------------------------------------------------------------------------- */

/* This is called for each signal of each unit on the host. */
static void on_properties(UnitWatch *watch, sd_bus_message *m, const char *label) {
        char template[NAME_MAX * 3 + 1];
        const char *labels[] = {
                label,
                unit_table_template(&watch->table, label, template, sizeof(template)) ? template : NULL,
        };
        UnitNews news = {};

        FOREACH_ELEMENT(l, labels)
                for (uint32_t cursor = NONE, i;
                        *l && (i = unit_table_find(&watch->table, *l, &cursor)) != NONE;) {
                        if (!news.active_state && unit_news_read(m, &news) < 0)
                                return;
                        unit_watch_update(watch, i, &news);
                }
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
                                unit_watch_update(watch, i, NULL);
                        watch->table.units[i].ask = new;
                        ask = ask || new;
                }
        if (ask)
                unit_watch_ask_states(watch);
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
                        on_properties(watch, m, label);
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
                unit_watch_mark_all(watch);
        return 0;
}

/* ---- Match rules of modules ----------------------------------------------------------------------------------------- */

static int on_match(_unused_ sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Match *match = userdata;

        unit_watch_mark(match->watch, match->watch->n_listed + match->index, UNIT_WATCH_SLOW_USEC);
        return 0;
}

static int on_match_added(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *error) {
        Match *match = userdata;

        match->error = sd_bus_message_is_method_error(m, NULL) ? -sd_bus_message_get_errno(m) : 0;
        match->pending = false;
        unit_watch_tell_armed(match->watch);
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
        unit_watch_tell_armed(watch);
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
        unit_watch_ask_list(watch);
        /* Whatever has happened before was not seen. The first time, somebody looks anyway. */
        if (watch->armed)
                unit_watch_mark_all(watch);
        unit_watch_tell_armed(watch);
}

static void on_news(void *userdata, SystemBusNews news) {
        UnitWatch *watch = userdata;

        switch (news) {
        case SYSTEM_BUS_CONNECTED: on_connected(watch); break;
        case SYSTEM_BUS_LOST:
                forget_connection(watch);
                unit_watch_tell_armed(watch);
                break;
        case SYSTEMD_GONE: watch->reloading = false; break;
        case SYSTEMD_RELOADING: watch->reloading = true; break;
        case SYSTEMD_APPEARED:
        case SYSTEMD_RELOADED:
                watch->reloading = false;
                unit_watch_ask_list(watch);
                if (watch->table.n > 0)
                        unit_watch_mark_all(watch);
                break;
        case SYSTEMD_UNREACHABLE: unit_watch_ask_again(watch); break;
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
                unit_watch_ask_list(watch);
        unit_watch_ask_states(watch);
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
                unit_watch_tell_armed(watch);
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
                r = sd_event_add_time(event, &watch->tell_timer, CLOCK_MONOTONIC, USEC_INFINITY, 1,
                        unit_watch_on_tell_timer, watch);
        if (r >= 0)
                r = sd_event_add_time(event, &watch->ask_timer, CLOCK_MONOTONIC, USEC_INFINITY,
                        USEC_PER_MSEC, unit_watch_on_ask_timer, watch);
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
