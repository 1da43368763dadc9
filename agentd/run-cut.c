/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Batches out of what is ready. States with a batch key are about one file: those of a key that are ready come in one batch, in
 * the order of their declaration, and the next batch of that key waits until all of these are done.
 */

#include <assert.h>

#include "log.h"
#include "run-internal.h"

/* A batch of a type without a limit of its own ends here, so that it fits into a message. */
#define BATCH_MAX 16384

/* As long as there are more than these for each worker, batches are as large as the type allows: what a batch costs by itself is
 * shared by many. Of fewer, all workers shall have some. */
#define BATCH_SHARE_MIN UINT32_C(256)

static uint32_t key_of(const Run *run, uint32_t state) {
        return run->keys ? image_state(run->image, state)->batch_key : 0;
}

void run_key_begin(Run *run, uint32_t state) {
        uint32_t key = key_of(run, state);

        if (key == 0 || run->nodes[state].keyed)
                return;
        run->nodes[state].keyed = true;
        run->keys[key].n_begun++;
}

void run_key_end(Run *run, uint32_t state) {
        uint32_t key = key_of(run, state);

        if (key == 0 || !run->nodes[state].keyed)
                return;
        run->nodes[state].keyed = false;
        assert(run->keys[key].n_begun > 0);
        if (--run->keys[key].n_begun == 0)
                run_schedule(run);
}

bool run_keys_are_free(const Run *run, const Batch *batch) {
        if (!run->keys)
                return true;
        for (uint32_t i = 0; i < batch->n; i++) {
                uint32_t key = key_of(run, batch->states[i]);

                if (key != 0 && run->keys[key].in_flight != 0)
                        return false;
        }
        return true;
}

void run_keys_take(Run *run, const Batch *batch) {
        for (uint32_t i = 0; run->keys && i < batch->n; i++)
                run->keys[key_of(run, batch->states[i])].in_flight = batch->id;
}

void run_keys_release(Run *run, const Batch *batch) {
        for (uint32_t i = 0; run->keys && i < batch->n; i++) {
                Key *key = &run->keys[key_of(run, batch->states[i])];

                if (key->in_flight == batch->id)
                        key->in_flight = 0;
        }
}

/* Results at once, or may it go into a batch? */
static bool may_go(Run *run, uint32_t state) {
        if (!run_may_begin(run, state) || run_finish_without_asking(run, state))
                return false;
        /* Who only looks keeps nobody off. */
        run->nodes[state].held = !run_plans(run);
        run_take_owed(run, state);
        run_key_begin(run, state);
        return true;
}

static uint32_t cut_plain(Run *run, Queue *queue, uint32_t *states, uint32_t max) {
        uint32_t n = 0;

        while (n < max && queue->first < queue->n) {
                uint32_t state = queue->states[queue->first];

                /* A batch has one timeout: that of a state shall not grow by the company that it is in. */
                if (n > 0 && image_state(run->image, state)->timeout_usec !=
                                     image_state(run->image, states[0])->timeout_usec)
                        break;
                queue->first++;
                if (may_go(run, state))
                        states[n++] = state;
        }
        return n;
}

/* ---- With keys ------------------------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b, void *userdata) {
        const Run *run = userdata;
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
        uint32_t i = key_of(run, x), k = key_of(run, y);

        if (i != k)
                return i < k ? -1 : 1;
        return x < y ? -1 : x > y;
}

/* The end of the group that begins at i: those of one key; without a key each is one. */
static uint32_t end_of_group(const Run *run, const Queue *queue, uint32_t i) {
        uint32_t key = key_of(run, queue->states[i]), end = i + 1;

        while (key != 0 && end < queue->n && key_of(run, queue->states[end]) == key)
                end++;
        return end;
}

/* That of the most patient: they share what they do. */
static usec_t timeout_of_group(const Run *run, const Queue *queue, uint32_t from, uint32_t end) {
        usec_t timeout = 0;

        for (; from < end; from++)
                timeout = MAX(timeout, image_state(run->image, queue->states[from])->timeout_usec);
        return timeout;
}

static uint32_t cut_groups(Run *run, Queue *queue, uint32_t *states, uint32_t max) {
        uint32_t n = 0, left = queue->first, i = queue->first, end;
        usec_t timeout = 0;

        if (queue->unsorted)
                qsort_r(queue->states + queue->first, queue->n - queue->first, sizeof(uint32_t), compare,
                        run);
        queue->unsorted = false;
        for (; i < queue->n && n < max; i = end) {
                uint32_t key = key_of(run, queue->states[i]);
                usec_t group_timeout;

                end = end_of_group(run, queue, i);
                group_timeout = timeout_of_group(run, queue, i, end);
                if (key != 0 && run->keys[key].n_begun > 0) {
                        /* They stay, before those that were not come to. */
                        for (uint32_t k = i; k < end; k++)
                                queue->states[left++] = queue->states[k];
                        continue;
                }
                if (n > 0 && (end - i > max - n || group_timeout != timeout))
                        break;
                /* More of one key than a batch may have: the rest comes when these are done. */
                end = MIN(end, i + max);
                timeout = group_timeout;
                for (uint32_t k = i; k < end; k++)
                        if (may_go(run, queue->states[k]))
                                states[n++] = queue->states[k];
        }
        /* may_go() may have led to further ones: those are behind. */
        memmove(queue->states + left, queue->states + i, (queue->n - i) * sizeof(uint32_t));
        queue->n -= i - left;
        return n;
}

Batch *run_cut_batch(Run *run, uint32_t q) {
        Queue *queue = &run->queues[q];
        uint32_t n_types = run->image->header->types.n, type = q % n_types;
        uint32_t batch_max = image_type(run->image, type)->batch_max, n_ready = queue->n - queue->first;
        uint32_t max = MIN(batch_max ?: BATCH_MAX, (uint32_t) BATCH_MAX), share;
        _cleanup_free_ uint32_t *states = NULL;
        uint32_t n;

        /* A type without a limit wants all of them together; so do those of one file. */
        if (batch_max > 0 && !queue->keyed) {
                share = MAX(n_ready / worker_pool_options(run->pool)->n_workers, BATCH_SHARE_MIN);
                max = MIN(max, share);
        }
        max = MIN(max, n_ready);
        if (max == 0)
                return NULL;
        states = malloc(max * sizeof(uint32_t));
        if (!states) {
                log_oom();
                run_stop(run);
                return NULL;
        }
        n = queue->keyed ? cut_groups(run, queue, states, max) : cut_plain(run, queue, states, max);
        if (queue->first == queue->n)
                queue->first = queue->n = 0;
        return n > 0 ? run_batch_new(run, PHASE_CHECK, type, states, n, q >= n_types) : NULL;
}
