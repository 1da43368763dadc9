/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-interval.h"
#include "log.h"
#include "schedule.h"

/* What is scheduled are the extras of the image in force, most of which have no interval. */
struct Intervals {
        Engine *engine; /* not a reference */
        Schedule *schedule;
        bool usable; /* it is of the image in force */
};

static const ImageExtra *extras(const Image *image) {
        return image_array(image, extras, ImageExtra);
}

static void put_off(Intervals *intervals, uint32_t extra) {
        schedule_set(intervals->schedule, extra,
                usec_add(now_usec(CLOCK_BOOTTIME), extras(intervals->engine->image)[extra].interval_usec));
}

static void on_due(void *userdata, uint32_t extra) {
        Intervals *intervals = userdata;
        Engine *engine = intervals->engine;

        if (!intervals->usable)
                return;
        /* Its result will put it off again; but if it never gets one, as the host is disabled, it is asked again all the same. */
        put_off(intervals, extra);
        if (!engine->stopping && !engine->disabled)
                heal_look_at(engine->heal, extras(engine->image)[extra].state, HEAL_INTERVAL);
}

void intervals_looked_at(Intervals *intervals, uint32_t state) {
        const ImageExtra *extra = image_extra(intervals->engine->image, state);

        if (extra && extra->interval_usec > 0 && intervals->usable)
                put_off(intervals, (uint32_t) (extra - extras(intervals->engine->image)));
}

void intervals_image_changed(Intervals *intervals, const Image *old) {
        Engine *engine = intervals->engine;
        const Image *image = engine->image;
        uint32_t n_old = old && intervals->usable ? old->header->extras.n : 0;
        _cleanup_free_ usec_t *looked_at = calloc(MAX(n_old, 1U), sizeof(*looked_at));
        int r;

        for (uint32_t k = 0; looked_at && k < n_old; k++)
                if (extras(old)[k].interval_usec > 0)
                        looked_at[k] = schedule_get(intervals->schedule, k) - extras(old)[k].interval_usec;
        r = looked_at ? schedule_resize(intervals->schedule, image->header->extras.n) : -ENOMEM;
        intervals->usable = r >= 0;
        if (r < 0) {
                log_warning_errno(r, "Failed to keep the intervals of states; runs see to them: %m");
                return;
        }
        for (uint32_t i = 0; i < image->header->extras.n; i++)
                if (extras(image)[i].interval_usec > 0)
                        put_off(intervals, i);
        for (uint32_t k = 0; k < n_old; k++) {
                uint32_t now;
                const ImageExtra *extra;

                if (extras(old)[k].interval_usec == 0)
                        continue;
                now = status_find(engine->status, image_state_id(old, extras(old)[k].state));
                extra = now != UINT32_MAX ? image_extra(image, now) : NULL;
                if (extra && extra->interval_usec > 0)
                        schedule_set(intervals->schedule, (uint32_t) (extra - extras(image)),
                                usec_add(looked_at[k], extra->interval_usec));
        }
}

int intervals_new(Engine *engine, Intervals **ret) {
        _cleanup_(intervals_freep) Intervals *intervals = calloc(1, sizeof(*intervals));
        int r;

        if (!intervals)
                return -ENOMEM;
        intervals->engine = engine;
        r = schedule_new(engine->event, on_due, intervals, &intervals->schedule);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(intervals);
        return 0;
}

Intervals *intervals_free(Intervals *intervals) {
        if (!intervals)
                return NULL;
        schedule_free(intervals->schedule);
        free(intervals);
        return NULL;
}
