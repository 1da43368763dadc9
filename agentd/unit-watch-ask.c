/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What PID 1 says of the units that are watched, when it is asked. */

#include <time.h>

#include "log.h"
#include "unit-watch-internal.h"

/* So often in a row it may refuse before anybody is told: it may be executing itself anew. */
#define REFUSED_QUIET 2

/* When PID 1 did not answer, it is asked again; later each time. */
#define ASK_AGAIN_USEC         USEC_PER_SEC
#define ASK_AGAIN_LONGEST_USEC (USEC_PER_MINUTE)

/* Units whose state is asked for by name, in one call. PID 1 compares each of its units with each of them. */
#define ASK_MAX 64

void unit_watch_update(UnitWatch *watch, uint32_t i, const UnitNews *news) {
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
                unit_watch_mark(watch, watch->index[i], UNIT_WATCH_QUIET_USEC);
}

void unit_watch_ask_again(UnitWatch *watch) {
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
                unit_watch_update(watch, i, &news);
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
                if (watch->n_refused >= REFUSED_QUIET)
                        watch->error = r;
                unit_watch_tell_armed(watch);
                unit_watch_ask_again(watch);
                return 0;
        }
        watch->error = 0;
        watch->n_refused = 0;
        watch->unlisted = false;
        if (watch->list_again) {
                watch->list_again = false;
                unit_watch_ask_list(watch);
        }
        unit_watch_tell_armed(watch);
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

void unit_watch_ask_list(UnitWatch *watch) {
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
                unit_watch_ask_again(watch);
        }
}

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
                unit_watch_ask_again(watch);
                return 0;
        }
        while (read_unit(m, &id, &news) > 0)
                for (uint32_t i = 0; i < table->n; i++) {
                        WatchedUnit *unit = &table->units[i];

                        if (unit->asking && streq(unit->id ?: unit->name, id)) {
                                unit->asking = false;
                                unit_watch_update(watch, i, &news);
                        }
                }
        for (uint32_t i = 0; i < table->n; i++)
                if (table->units[i].asking) {
                        table->units[i].asking = false;
                        unit_watch_update(watch, i, NULL);
                }
        unit_watch_ask_states(watch);
        return 0;
}

void unit_watch_ask_states(UnitWatch *watch) {
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
                unit_watch_ask_again(watch);
        sd_bus_message_unref(m);
}

int unit_watch_on_ask_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        unit_watch_ask_list(userdata);
        return 0;
}
