/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <time.h>

#include "schedule.h"

/* What is due so close together comes up at once. */
#define ACCURACY_USEC (100 * USEC_PER_MSEC)

#define NO_PLACE UINT32_MAX

struct Schedule {
        ScheduleHandler on_due;
        void *userdata;
        sd_event_source *timer;
        usec_t armed_usec; /* USEC_INFINITY: it is off */
        usec_t *when;      /* by index */
        uint32_t *place;   /* in the heap, by index; NO_PLACE */
        uint32_t *heap;    /* indices; none comes before the one at half its place */
        uint32_t *due;     /* room for those of one turn */
        uint32_t n, n_heap;
};

static void put(Schedule *s, uint32_t place, uint32_t index) {
        s->heap[place] = index;
        s->place[index] = place;
}

/* The thing finds its place, upwards, then downwards. */
static void settle_at(Schedule *s, uint32_t place, uint32_t index) {
        while (place > 0 && s->when[s->heap[(place - 1) / 2]] > s->when[index]) {
                put(s, place, s->heap[(place - 1) / 2]);
                place = (place - 1) / 2;
        }
        for (;;) {
                uint32_t child = 2 * place + 1;

                if (child >= s->n_heap)
                        break;
                if (child + 1 < s->n_heap && s->when[s->heap[child + 1]] < s->when[s->heap[child]])
                        child++;
                if (s->when[s->heap[child]] >= s->when[index])
                        break;
                put(s, place, s->heap[child]);
                place = child;
        }
        put(s, place, index);
}

static void take_out(Schedule *s, uint32_t index) {
        uint32_t place = s->place[index], last;

        if (place == NO_PLACE)
                return;
        s->place[index] = NO_PLACE;
        last = s->heap[--s->n_heap];
        if (last != index)
                settle_at(s, place, last);
}

static void arm(Schedule *s) {
        usec_t next = s->n_heap > 0 ? s->when[s->heap[0]] : USEC_INFINITY;

        if (next == s->armed_usec)
                return;
        s->armed_usec = next;
        if (next == USEC_INFINITY) {
                (void) sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time(s->timer, next);
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Schedule *s = userdata;
        usec_t now = now_usec(CLOCK_BOOTTIME);
        uint32_t n = 0;

        s->armed_usec = USEC_INFINITY;
        /* All of them first: one that is given a time in the past comes up again in the next turn, after the others. */
        while (s->n_heap > 0 && s->when[s->heap[0]] <= now) {
                uint32_t index = s->heap[0];

                take_out(s, index);
                s->when[index] = USEC_INFINITY;
                s->due[n++] = index;
        }
        for (uint32_t i = 0; i < n; i++)
                s->on_due(s->userdata, s->due[i]);
        arm(s);
        return 0;
}

void schedule_set(Schedule *s, uint32_t index, usec_t when_usec) {
        assert(index < s->n);

        s->when[index] = when_usec;
        if (when_usec == USEC_INFINITY)
                take_out(s, index);
        else
                settle_at(s, s->place[index] != NO_PLACE ? s->place[index] : s->n_heap++, index);
        arm(s);
}

usec_t schedule_get(const Schedule *s, uint32_t index) {
        assert(index < s->n);

        return s->when[index];
}

int schedule_resize(Schedule *s, uint32_t n) {
        usec_t *when = malloc(MAX(n, 1U) * sizeof(*when));
        uint32_t *place = malloc(MAX(n, 1U) * sizeof(*place)), *heap = malloc(MAX(n, 1U) * sizeof(*heap)),
                 *due = malloc(MAX(n, 1U) * sizeof(*due));

        if (!when || !place || !heap || !due) {
                free(when);
                free(place);
                free(heap);
                free(due);
                return -ENOMEM;
        }
        for (uint32_t i = 0; i < n; i++) {
                when[i] = USEC_INFINITY;
                place[i] = NO_PLACE;
        }
        free(s->when);
        free(s->place);
        free(s->heap);
        free(s->due);
        s->when = when;
        s->place = place;
        s->heap = heap;
        s->due = due;
        s->n = n;
        s->n_heap = 0;
        arm(s);
        return 0;
}

int schedule_new(sd_event *event, ScheduleHandler on_due, void *userdata, Schedule **ret) {
        _cleanup_(schedule_freep) Schedule *s = NULL;
        int r;

        assert(on_due);
        assert(ret);

        s = malloc(sizeof(*s));
        if (!s)
                return -ENOMEM;
        *s = (Schedule){ .on_due = on_due, .userdata = userdata, .armed_usec = USEC_INFINITY };
        r = sd_event_add_time(event, &s->timer, CLOCK_BOOTTIME, 0, ACCURACY_USEC, on_timer, s);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

Schedule *schedule_free(Schedule *s) {
        if (!s)
                return NULL;
        sd_event_source_disable_unref(s->timer);
        free(s->when);
        free(s->place);
        free(s->heap);
        free(s->due);
        free(s);
        return NULL;
}
