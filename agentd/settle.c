/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <time.h>

#include "settle.h"

struct Settle {
        usec_t quiet_usec, longest_usec;
        SettleHandler on_settled;
        void *userdata;
        usec_t first_usec, last_usec; /* of the pokes */
        bool pending;
        sd_event_source *timer;
};

static usec_t due_usec(const Settle *settle) {
        return MIN(usec_add(settle->last_usec, settle->quiet_usec),
                usec_add(settle->first_usec, settle->longest_usec));
}

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Settle *settle = userdata;
        usec_t due = due_usec(settle);

        /* Pokes do not move the timer, so that thousands of them cost next to nothing. */
        if (now_usec(CLOCK_MONOTONIC) < due) {
                (void) sd_event_source_set_time(settle->timer, due);
                (void) sd_event_source_set_enabled(settle->timer, SD_EVENT_ONESHOT);
                return 0;
        }
        settle->pending = false;
        settle->on_settled(settle->userdata);
        return 0;
}

int settle_new(sd_event *event, usec_t quiet_usec, usec_t longest_usec, SettleHandler on_settled,
        void *userdata, Settle **ret) {
        _cleanup_(settle_freep) Settle *settle = NULL;
        int r;

        assert(on_settled);
        assert(ret);

        if (longest_usec < quiet_usec || quiet_usec == USEC_INFINITY)
                return -EINVAL;
        settle = malloc(sizeof(*settle));
        if (!settle)
                return -ENOMEM;
        *settle = (Settle){
                .quiet_usec = quiet_usec,
                .longest_usec = longest_usec,
                .on_settled = on_settled,
                .userdata = userdata,
        };
        r = sd_event_add_time(event, &settle->timer, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_timer, settle);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(settle->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(settle);
        return 0;
}

Settle *settle_free(Settle *settle) {
        if (!settle)
                return NULL;
        sd_event_source_disable_unref(settle->timer);
        free(settle);
        return NULL;
}

void settle_poke(Settle *settle) {
        settle->last_usec = now_usec(CLOCK_MONOTONIC);
        if (settle->pending)
                return;
        settle->pending = true;
        settle->first_usec = settle->last_usec;
        (void) sd_event_source_set_time(settle->timer, due_usec(settle));
        (void) sd_event_source_set_enabled(settle->timer, SD_EVENT_ONESHOT);
}

void settle_cancel(Settle *settle) {
        settle->pending = false;
        (void) sd_event_source_set_enabled(settle->timer, SD_EVENT_OFF);
}

bool settle_is_pending(const Settle *settle) {
        return settle->pending;
}
