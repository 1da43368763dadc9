/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * States that are tried again in a run after they have failed. Until then they keep nobody off but those that depend on them:
 * another run may have them, after which they are asked for as at first.
 */

#include <time.h>

#include "log.h"
#include "run-internal.h"

/* So that states which failed together are tried again together. */
#define ACCURACY_USEC (50 * USEC_PER_MSEC)

/* ---- The timer ------------------------------------------------------------------------------------------------------ */

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        run_schedule(userdata);
        return 0;
}

static void wake_at(Run *run, usec_t when) {
        uint64_t before;
        int enabled = SD_EVENT_OFF, r = 0;

        if (!run->timer)
                r = sd_event_add_time(
                        run->event, &run->timer, CLOCK_MONOTONIC, when, ACCURACY_USEC, on_timer, run);
        else if (sd_event_source_get_enabled(run->timer, &enabled) > 0 &&
                 sd_event_source_get_time(run->timer, &before) >= 0 && before <= when)
                return;
        else
                r = sd_event_source_set_time(run->timer, when);
        if (r >= 0)
                r = sd_event_source_set_enabled(run->timer, SD_EVENT_ONESHOT);
        if (r < 0) {
                log_error_errno(r, "Failed to set a timer: %m");
                run_stop(run);
        }
}

void run_wake_in(Run *run, usec_t delay) {
        wake_at(run, now_usec(CLOCK_MONOTONIC) + delay);
}

/* ---- Waiting -------------------------------------------------------------------------------------------------------- */

bool run_try_later(Run *run, uint32_t state) {
        const ImageExtra *extra = image_extra(run->image, state);
        Node *node = &run->nodes[state];
        usec_t when;

        if (!extra || extra->retries == 0)
                return false;
        if (node->attempts < UINT8_MAX)
                node->attempts++;
        if (node->attempts > extra->retries || node->attempts == UINT8_MAX || run->stopped)
                return false;
        if (run->n_paused == run->n_paused_allocated) {
                uint32_t wanted = MAX(run->n_paused_allocated * 2, 16U);
                Paused *paused = realloc(run->paused, wanted * sizeof(Paused));

                if (!paused) {
                        log_oom();
                        return false;
                }
                run->paused = paused;
                run->n_paused_allocated = wanted;
        }
        when = now_usec(CLOCK_MONOTONIC) + MIN(extra->retry_delay_usec, (usec_t) INT64_MAX / 2);
        run->next_attempt_usec = run->n_paused == 0 ? when : MIN(run->next_attempt_usec, when);
        run->paused[run->n_paused++] = (Paused){ .state = state, .when_usec = when };

        if (node->applied) {
                node->touched = true;
                node->applied = false;
                run_keep_detail(node);
        }
        node->step = STEP_PAUSED;
        node->batch = 0;
        node->held = false;
        run_key_end(run, state);
        wake_at(run, when);
        if (run->handlers->on_attempt_failed)
                run->handlers->on_attempt_failed(run->userdata, run, state,
                        &(RunAttempt){
                                .n = node->attempts,
                                .max = (unsigned) MIN(extra->retries + 1, (uint32_t) UINT8_MAX),
                                .delay_usec = extra->retry_delay_usec,
                        });
        return true;
}

void run_dispatch_attempts(Run *run) {
        usec_t now, next = USEC_INFINITY;
        uint32_t left = 0, n = run->n_paused;

        if (n == 0)
                return;
        now = now_usec(CLOCK_MONOTONIC);
        /* Thousands may wait while others come and go. */
        if (!run->stopped && now < run->next_attempt_usec) {
                wake_at(run, run->next_attempt_usec);
                return;
        }
        /* None comes in the meantime but when the run goes on: not when it was stopped, and not from a queue. */
        for (uint32_t i = 0; i < n; i++) {
                Paused paused = run->paused[i];

                if (!run->stopped && paused.when_usec > now) {
                        run->paused[left++] = paused;
                        next = MIN(next, paused.when_usec);
                } else if (run->stopped)
                        run_end_attempts(run, paused.state, RESULT_FAILED);
                else
                        run_enqueue(run, paused.state);
        }
        run->n_paused = left;
        run->next_attempt_usec = next;
        if (next != USEC_INFINITY)
                wake_at(run, next);
}

/* They were about to be tried again, waited for another run, or were found to differ when the run was stopped. */
bool run_end_all_attempts(Run *run) {
        bool any = false;

        for (uint32_t k = 0; k < run->n_selected; k++) {
                uint32_t state = run->selected[k];
                const Node *node = &run->nodes[state];

                if (node->attempts == 0 || node->step == STEP_DONE || node->step == STEP_HOOK)
                        continue;
                any = true;
                if (!node->detail || !node->detail->error)
                        run_set_error(run, state, "it was not tried again, as the run was stopped");
                run_end_attempts(run, state, RESULT_FAILED);
        }
        return any;
}

uint32_t run_paused(const Run *run, uint32_t *ret, uint32_t max) {
        uint32_t n = MIN(run->n_paused, max);

        for (uint32_t i = 0; i < n; i++)
                ret[i] = run->paused[i].state;
        return n;
}
