/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Workers that do not come back: the guilty state of a batch is found by asking again in smaller ones; file systems that
 * hang are remembered, so that no other worker is lost to them.
 */

#include <assert.h>

#include "log.h"
#include "mount-table.h"
#include "run-internal.h"

static const char *phase_verb(Phase phase) {
        return phase == PHASE_APPLY ? "applying" : "checking";
}

static const char *managed_path(const Run *run, uint32_t state) {
        const ImageType *type = image_type(run->image, image_state(run->image, state)->type);

        return type->flags & AGENTD_NAME_IS_PATH ? image_state_name(run->image, state) : NULL;
}

/* If all these states lie on one mount other than the root's, that is what hangs. */
static void note_hung_mount(Run *run, pid_t pid, const uint32_t *states, uint32_t n) {
        _cleanup_free_ char *mount = NULL;

        if (!streq(worker_pool_options(run->pool)->root, "/"))
                return;
        for (uint32_t i = 0; i < n; i++) {
                const char *path = managed_path(run, states[i]);

                if (!path)
                        return;
                if (!mount) {
                        if (mount_point_of(NULL, path, &mount) < 0 || streq(mount, "/"))
                                return;
                } else if (!path_is_below(path, mount))
                        return;
        }
        if (mount)
                worker_pool_add_hung(run->pool, pid, TAKE_PTR(mount));
}

static const HungMount *hung_mount_of(const Run *run, uint32_t state) {
        const char *path = worker_pool_has_hung(run->pool) ? managed_path(run, state) : NULL;

        return path ? worker_pool_find_hung(run->pool, path) : NULL;
}

bool run_fail_if_hung(Run *run, uint32_t state) {
        const HungMount *hung = hung_mount_of(run, state);

        if (!hung)
                return false;
        run_set_error(run, state, "file system '%s' hangs (process %d)", hung->path, (int) hung->pid);
        run_settle(run, state, RESULT_FAILED);
        return true;
}

/* Fails those that lie on a file system that hangs; returns how many are left, at the front. */
uint32_t run_drop_hung(Run *run, uint32_t *states, uint32_t n) {
        uint32_t left = 0;

        for (uint32_t i = 0; i < n; i++)
                if (!run_fail_if_hung(run, states[i]))
                        states[left++] = states[i];
        return left;
}

/* The mount point of what a state manages; NULL if it manages no path. */
static char *mount_of(const Run *run, uint32_t state) {
        const char *path = managed_path(run, state);
        char *mount = NULL;

        return path && mount_point_of(NULL, path, &mount) >= 0 ? mount : NULL;
}

/* Puts those that lie on the mount of the first one at the front, and returns how many they are. */
static uint32_t gather_mount(const Run *run, uint32_t *states, uint32_t n) {
        _cleanup_free_ char *first = mount_of(run, states[0]);
        uint32_t front = 1;

        for (uint32_t i = 1; i < n; i++) {
                _cleanup_free_ char *mount = mount_of(run, states[i]);
                uint32_t same;

                if (!streq(mount ?: "", first ?: ""))
                        continue;
                same = states[i];
                states[i] = states[front];
                states[front++] = same;
        }
        return front;
}

/* What an apply has left is looked at before it is tried again. */
static void try_again(Run *run, const Batch *batch, const uint32_t *states, uint32_t n) {
        bool apply = batch->phase == PHASE_APPLY;

        run_push_states(run, apply ? PHASE_RECHECK : batch->phase, batch, states, n, apply || batch->retry);
}

/*
 * Somebody among these is guilty. First two halves, each result of which is sent at once. If such a batch is lost, it is
 * most likely the first one without a result, since modules go through their batch in order: that one is tried alone.
 * Halves again if there was no result at all, as the module may do its work in one go.
 */
static void try_in_parts(Run *run, Batch *batch, const uint32_t *states, uint32_t n) {
        bool first_alone = batch->careful, progress = n < batch->n;
        uint32_t from = first_alone ? 1 : 0;
        uint32_t half = first_alone && progress ? n : from + (n - from + 1) / 2;

        batch->careful = true;
        try_again(run, batch, states, from);
        try_again(run, batch, states + from, half - from);
        try_again(run, batch, states + half, n - half);
}

/* Likewise, where each try may cost a process that cannot be killed: look for the file system that hangs first, all at
 * once. */
static void try_by_mount(Run *run, Batch *batch, uint32_t *states, uint32_t n) {
        uint32_t front = gather_mount(run, states, n);

        batch->careful = true;
        if (front == n) {
                try_again(run, batch, states, (n + 1) / 2);
                try_again(run, batch, states + (n + 1) / 2, n / 2);
                return;
        }
        for (; n > 0; states += front, n -= front) {
                front = gather_mount(run, states, n);
                try_again(run, batch, states, front);
        }
}

void run_on_lost(void *userdata, Batch *batch, WorkerLoss loss, const char *detail, pid_t stuck_pid) {
        Run *run = userdata;
        _cleanup_free_ uint32_t *states = malloc(batch->n * sizeof(uint32_t));
        uint32_t n;

        run_take_from_flight(run, batch);
        if (!states) {
                log_oom();
                run_stop(run);
                free(batch);
                return;
        }

        n = run_collect(run, batch, STEP_ASKED, states);
        if (loss == WORKER_LOSS_STUCK) {
                note_hung_mount(run, stuck_pid, states, n);
                n = run_drop_hung(run, states, n);
        }

        if (loss == WORKER_LOSS_RECALLED) {
                batch->recalls = n < batch->n ? 0 : batch->recalls + 1;
                run_push_states(run, batch->phase, batch, states, n, batch->retry);
        } else if (n > 0 && (batch->n == 1 || loss == WORKER_LOSS_NOT_STARTED)) {
                for (uint32_t i = 0; i < n; i++) {
                        run_set_error(run, states[i], "%s while %s it", detail, phase_verb(batch->phase));
                        run_settle(run, states[i], RESULT_FAILED);
                }
        } else if (n > 0) {
                log_warning("A worker was lost while %s %u states (%s); trying again in smaller batches",
                        phase_verb(batch->phase), batch->n, detail);
                if (loss == WORKER_LOSS_STUCK)
                        try_by_mount(run, batch, states, n);
                else
                        try_in_parts(run, batch, states, n);
        }

        run_hand_on(run, batch);
        free(batch);
        run_schedule(run);
}

void run_on_slow(void *userdata, Batch *batch) {
        Run *run = userdata;
        const char *first = NULL;
        uint32_t n = 0;

        for (uint32_t i = 0; i < batch->n; i++)
                if (run->nodes[batch->states[i]].batch == batch->id &&
                        run->nodes[batch->states[i]].step == STEP_ASKED) {
                        first = first ?: image_state_id(run->image, batch->states[i]);
                        n++;
                }
        log_warning("No word for %s while %s %s%s; waiting %s more",
                FORMAT_TIMESPAN(batch->timeout_usec / 3), phase_verb(batch->phase), first ?: "a batch",
                n > 1 ? " and others" : "", FORMAT_TIMESPAN(batch->timeout_usec - batch->timeout_usec / 3));

        /* Those that are known to differ need not wait for the one that hangs. */
        run_hand_on(run, batch);
        run_schedule(run);
}
