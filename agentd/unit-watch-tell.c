/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is told of units and signals, and when. */

#include <inttypes.h>
#include <time.h>

#include "unit-watch-internal.h"

/* How often it is tried to connect before anybody is told: a bus that is restarted is back before. */
#define FAILURES_QUIET 5

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

void unit_watch_mark(UnitWatch *watch, uint32_t index, usec_t due) {
        arm_tell(watch, due);
        if (watch->is_changed[index])
                return;
        watch->is_changed[index] = 1;
        watch->changed[watch->n_changed++] = index;
}

void unit_watch_mark_all(UnitWatch *watch) {
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

int unit_watch_on_tell_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
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

void unit_watch_tell_armed(UnitWatch *watch) {
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
