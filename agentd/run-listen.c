/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What states are owed, since others that they listen to have changed. */

#include "run-internal.h"

/* Those that listen to it, and come later in the run, are given what they listen for. */
void run_tell_listeners(Run *run, uint32_t state, Result result) {
        const ImageListener *listeners;
        uint32_t n;

        if (!run_has_changed(run, state) &&
                !(result == RESULT_DRIFTED && run_plans(run) && !run_audits(run, state)))
                return;
        listeners = image_listeners(run->image, state, &n);
        for (uint32_t i = 0; i < n; i++) {
                Node *node = &run->nodes[listeners[i].state];

                if (node->inside && node->step == STEP_WAITING)
                        node->owed |= (uint8_t) listeners[i].what;
        }
}

void run_take_owed(Run *run, uint32_t state) {
        uint32_t owed;

        /* What came up late in an attempt before this one is in time now. */
        run->nodes[state].late = 0;
        if (!run->handlers->owed)
                return;
        owed = run->handlers->owed(run->userdata, run, state);
        /* What this run has told it as well is in there, unless another run has seen to it meanwhile. */
        run->nodes[state].owed = (uint8_t) (run_plans(run) ? run->nodes[state].owed | owed : owed);
}

void run_has_made(Run *run, uint32_t state) {
        Node *node = &run->nodes[state];

        node->made = true;
        if (node->owed == 0)
                return;
        if (run->handlers->has_paid)
                run->handlers->has_paid(run->userdata, run, state);
        else
                node->owed = 0;
}

/*
 * What came of the states before this one. What is owed is not told to the check after an apply, which has done it; but if the
 * apply was lost, nobody knows whether it has.
 */
uint32_t run_flags_of(void *userdata, const Batch *batch, uint32_t state) {
        const Run *run = userdata;
        const Node *node = &run->nodes[state];
        uint32_t flags = node->pending ? MESSAGE_STATE_PENDING : 0;

        if (node->owed == 0 || (batch->phase == PHASE_RECHECK && !batch->retry))
                return flags;
        flags |= MESSAGE_STATE_NOTICED;
        if (node->owed & IMAGE_LISTEN_RESTART)
                flags |= MESSAGE_STATE_RESTART;
        else if (node->owed & IMAGE_LISTEN_RELOAD)
                flags |= MESSAGE_STATE_RELOAD;
        return flags;
}

void run_tell_apply(Run *run, const Batch *batch) {
        uint32_t *states = malloc(batch->n * sizeof(uint32_t)), n = 0;

        for (uint32_t i = 0; i < batch->n; i++) {
                Node *node = &run->nodes[batch->states[i]];

                /* A batch that was lost comes in parts, and it is the same change. */
                if (!node->given && states)
                        states[n++] = batch->states[i];
                node->given = true;
        }
        if (n > 0 && run->handlers->will_apply)
                run->handlers->will_apply(run->userdata, run, states, n);
        free(states);
}

bool run_has_applied(const Run *run, uint32_t state) {
        return run->nodes[state].given;
}

bool run_has_changed(const Run *run, uint32_t state) {
        return run->nodes[state].made;
}

uint32_t run_owed(const Run *run, uint32_t state) {
        return run->nodes[state].owed & ~run->nodes[state].late;
}

void run_notice(Run *run, uint32_t state, uint32_t what) {
        Node *node = &run->nodes[state];

        if (node->held)
                node->late |= (uint8_t) what;
}
