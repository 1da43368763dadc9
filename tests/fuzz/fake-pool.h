/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A worker pool without workers, in the place of agentd/worker.c: it keeps the batches that a run dispatches, and the
 * fuzz target gives the answers.
 */

#include "fuzz.h"
#include "log.h"
#include "run.h"

#define FAKE_BATCHES 3

struct WorkerPool {
        WorkerListener *listener;
        Batch *batches[FAKE_BATCHES];
};

static WorkerPool fake_pool;

const WorkerPoolOptions *worker_pool_options(_unused_ const WorkerPool *pool) {
        static const WorkerPoolOptions options = { .root = "/", .n_workers = 2 };

        return &options;
}

void worker_pool_listen(WorkerPool *pool, WorkerListener *listener) {
        *pool = (WorkerPool){ .listener = listener };
}

void worker_pool_unlisten(WorkerPool *pool, _unused_ WorkerListener *listener) {
        pool->listener = NULL;
}

void worker_pool_abandon(WorkerPool *pool, _unused_ void *userdata) {
        memset(pool->batches, 0, sizeof(pool->batches));
}

void worker_pool_add_hung(_unused_ WorkerPool *pool, _unused_ pid_t pid, char *path) {
        free(path);
}

const HungMount *worker_pool_find_hung(_unused_ const WorkerPool *pool, _unused_ const char *path) {
        return NULL;
}

bool worker_pool_has_hung(_unused_ const WorkerPool *pool) {
        return false;
}

bool worker_pool_is_exhausted(const WorkerPool *pool, WorkerKind kind) {
        return false;
}

bool worker_pool_has_room(const WorkerPool *pool, _unused_ const Image *image, _unused_ WorkerKind kind) {
        for (size_t i = 0; i < FAKE_BATCHES; i++)
                if (!pool->batches[i])
                        return true;
        return false;
}

void worker_pool_warm(
        _unused_ WorkerPool *pool, _unused_ Image *image, _unused_ WorkerKind kind, _unused_ uint32_t type) {
}

int worker_pool_dispatch(WorkerPool *pool, Image *image, Batch *batch) {
        fuzz_check(batch->n > 0 && batch->timeout_usec > 0 && batch->next != batch);
        for (uint32_t i = 0; i < batch->n; i++) {
                fuzz_check(batch->states[i] < image_n_states(image));
                fuzz_check(image_state(image, batch->states[i])->type == batch->type);
                fuzz_check((batch->handlers->flags_of(batch->userdata, batch, batch->states[i]) &
                                   MESSAGE_STATE_INDEX) == 0);
        }
        for (size_t i = 0; i < FAKE_BATCHES; i++)
                if (!pool->batches[i]) {
                        pool->batches[i] = batch;
                        return 0;
                }
        return -EBUSY;
}

/* A datagram as if the worker of that batch had sent it: what worker.c does with it. */
_unused_ static int fake_datagram(size_t i, const uint8_t *data, size_t size) {
        MessageReader reader = { .data = data, .size = size };
        MessageKind kind;
        int r;

        while ((r = message_next(&reader, &kind)) > 0) {
                Batch *batch = fake_pool.batches[i];

                switch (kind) {
                case MESSAGE_LOG: {
                        uint32_t level = message_get_u32(&reader);
                        _cleanup_free_ char *text = message_get_string(&reader);

                        r = !text || level > LOG_DEBUG ? -EBADMSG : 0;
                        break;
                }
                case MESSAGE_RESULT:
                case MESSAGE_DIFFERENCE:
                case MESSAGE_UNDO:
                        r = batch ? batch->handlers->on_record(batch->userdata, batch, kind, &reader)
                                  : -EBADMSG;
                        break;
                case MESSAGE_END: {
                        uint32_t id = message_get_u32(&reader);

                        if (reader.bad || !batch || batch->id != id)
                                return -EBADMSG;
                        fake_pool.batches[i] = NULL;
                        batch->handlers->on_end(batch->userdata, batch);
                        r = 0;
                        break;
                }
                default: return -EBADMSG;
                }
                if (r < 0)
                        return r;
        }
        return r;
}

static void fake_lose(size_t i, WorkerLoss loss) {
        Batch *batch = TAKE_PTR(fake_pool.batches[i]);

        if (batch)
                batch->handlers->on_lost(batch->userdata, batch, loss, "the fuzzer took it", 1);
}

typedef struct FakeRun {
        Run *run;
        uint32_t n_results;
        bool finished;
} FakeRun;

static void fake_on_result(void *userdata, Run *run, uint32_t state) {
        FakeRun *fake = userdata;
        const RunDetail *detail = run_detail(run, state);

        fuzz_check(!fake->finished);
        fuzz_check(run_result(run, state) > RESULT_NONE && run_result(run, state) < _RESULT_MAX);
        fuzz_check(result_to_string(run_result(run, state)));
        if (detail) {
                /* As the output does. */
                json_t *const parts[] = { detail->differences, detail->left, detail->undo };

                for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                        _cleanup_free_ char *dump = parts[i] ? json_dumps(parts[i], JSON_COMPACT) : NULL;

                        fuzz_check(!parts[i] || dump);
                        fuzz_check(json_array_size(parts[i]) <= MESSAGE_DIFFERENCES_MAX + 1);
                }
                fuzz_check(!detail->error || utf8_is_valid(detail->error, strlen(detail->error)));
        }
        fake->n_results++;
}

static void fake_on_finished(void *userdata, _unused_ Run *run) {
        FakeRun *fake = userdata;

        fuzz_check(!fake->finished);
        fake->finished = true;
}

static const RunHandlers fake_run_handlers = { .on_result = fake_on_result,
        .on_finished = fake_on_finished };

static void fake_spin(sd_event *event) {
        for (unsigned i = 0; i < 4 && sd_event_run(event, 0) > 0; i++)
                ;
}

/* Takes the batches away until the run has a result for every state. Who waits to be tried again does not for long. */
static void fake_finish(sd_event *event, const FakeRun *fake, const Image *image) {
        for (unsigned i = 0; !fake->finished; i++) {
                uint32_t n = 0;

                fuzz_check(i < 1000);
                if (i == 100)
                        run_stop(fake->run);
                for (size_t k = 0; k < FAKE_BATCHES; k++)
                        fake_lose(k, WORKER_LOSS_DIED);
                fake_pool.listener->on_free(fake_pool.listener->userdata);
                fake_spin(event);
                for (Result r = RESULT_OK; r < _RESULT_MAX; r++)
                        n += run_count(fake->run, r);
                fuzz_check(n == fake->n_results && n <= image_n_states(image));
        }
        for (uint32_t i = 0; i < image_n_states(image); i++)
                fuzz_check(run_is_interrupted(fake->run) || run_result(fake->run, i) != RESULT_NONE);
}
