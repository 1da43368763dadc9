/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <time.h>

#include "log.h"
#include "mount-table.h"
#include "run-internal.h"

const char *result_to_string(Result result) {
        static const char *const names[_RESULT_MAX] = {
                [RESULT_NONE] = "none",
                [RESULT_OK] = "ok",
                [RESULT_CHANGED] = "changed",
                [RESULT_DRIFTED] = "drifted",
                [RESULT_UNKNOWN] = "unknown",
                [RESULT_FAILED] = "failed",
                [RESULT_SKIPPED] = "skipped",
                [RESULT_BLOCKED] = "blocked",
        };

        assert(result < _RESULT_MAX);
        return names[result];
}

const char *run_mode_to_string(RunMode mode) {
        return mode == RUN_PLAN ? "plan" : "apply";
}

/* ---- Results -------------------------------------------------------------------------------------------------------- */

static const char *node_name(const Run *run, uint32_t i) {
        return i < run->n_states ? image_state_id(run->image, i) : "a group";
}

void run_schedule(Run *run) {
        (void) sd_event_source_set_enabled(run->dispatch_event, SD_EVENT_ONESHOT);
}

static void set_result(Run *run, uint32_t i, Result result) {
        Node *node = &run->nodes[i];

        assert(node->step != STEP_DONE);
        node->step = STEP_DONE;
        node->result = result;
        run->n_done++;
        if (i >= run->n_states)
                return;

        run_key_end(run, i);
        run->counts[result]++;
        if (result == RESULT_BLOCKED && node->cause != NO_NODE)
                run_set_error(run, i, "required %s %s", node_name(run, node->cause),
                        result_to_string(run->nodes[node->cause].result));
        if (result == RESULT_SKIPPED)
                run_drop_detail(node);
        node->held = false;
        run_tell_listeners(run, i, result);
        if (!run->probing)
                run->handlers->on_result(run->userdata, run, i);
        run_drop_detail(node);
}

/* True if, in a plan, the node or something before it would change when it is applied. */
static bool may_change(const Run *run, uint32_t i) {
        const Node *node = &run->nodes[i];

        if (node->pending)
                return true;
        if (i >= run->n_states || run_audits(run, i))
                return false;
        return node->result == RESULT_DRIFTED || node->result == RESULT_UNKNOWN;
}

/* Sets a result and everything that follows from it alone: what is blocked, what has become ready, groups. Without
 * recursion, as chains may be long. */
void run_finish_state(Run *run, uint32_t state, Result result) {
        uint32_t n = 0;

        set_result(run, state, result);
        run->stack[n++] = state;

        while (n > 0) {
                uint32_t i = run->stack[--n];
                const Node *node = &run->nodes[i];
                const ImageNode *image_node_ = image_node(run->image, i);
                const uint32_t *dependents = image_dependents(run->image, image_node_);
                bool bad = node->result == RESULT_FAILED || node->result == RESULT_BLOCKED;
                bool pending = may_change(run, i);

                for (uint32_t k = 0; k < image_node_->dependents.n; k++) {
                        uint32_t d = dependents[k];
                        Node *dependent = &run->nodes[d];

                        if (dependent->step != STEP_WAITING || dependent->n_waiting == 0)
                                continue;
                        if (bad && dependent->cause == NO_NODE)
                                dependent->cause =
                                        i >= run->n_states && node->cause != NO_NODE ? node->cause : i;
                        if (pending && run_plans(run))
                                dependent->pending = true;
                        if (--dependent->n_waiting > 0)
                                continue;

                        if (dependent->cause != NO_NODE) {
                                set_result(run, d, RESULT_BLOCKED);
                                run->stack[n++] = d;
                        } else if (d >= run->n_states) {
                                set_result(run, d, RESULT_OK);
                                run->stack[n++] = d;
                        } else
                                run_enqueue(run, d);
                }
        }
}

/* ---- Of the pool ---------------------------------------------------------------------------------------------------- */

static void on_free(void *userdata) {
        run_schedule(userdata);
}

static int64_t run_id(void *userdata) {
        Run *run = userdata;

        return run->handlers->number ? run->handlers->number(run->userdata, run) : run->options.id;
}

static const WorkerHandlers batch_handlers = {
        .run_id = run_id,
        .flags_of = run_flags_of,
        .on_record = run_on_record,
        .on_end = run_on_end,
        .on_lost = run_on_lost,
        .on_slow = run_on_slow,
};

/* ---- Queues and batches --------------------------------------------------------------------------------------------- */

void run_enqueue(Run *run, uint32_t state) {
        const ImageState *image = image_state(run->image, state);
        uint32_t n_types = run->image->header->types.n;
        Queue *queue = &run->queues[image->type + (image->flags & IMAGE_STATE_CHECK_AS_ROOT ? n_types : 0)];

        run->nodes[state].step = STEP_READY;
        if (queue->n == queue->allocated) {
                uint32_t wanted = MAX(queue->allocated * 2, 64U);
                uint32_t *states = realloc(queue->states, wanted * sizeof(uint32_t));

                if (!states) {
                        /* Cannot happen without the kernel's OOM killer near. The state has no result. */
                        log_oom();
                        run_stop(run);
                        return;
                }
                queue->states = states;
                queue->allocated = wanted;
        }
        queue->states[queue->n++] = state;
        if (image->batch_key != 0)
                queue->keyed = queue->unsorted = true;
        /* It may be of a type that the dispatch which goes on has passed already. */
        run_schedule(run);
}

Batch *run_batch_new(
        Run *run, Phase phase, uint32_t type, const uint32_t *states, uint32_t n, bool as_root) {
        Batch *batch = malloc(sizeof(Batch) + n * sizeof(uint32_t));
        unsigned flags = 0;

        if (!batch) {
                log_oom();
                run_stop(run);
                return NULL;
        }
        if (run_plans(run))
                flags |= AGENTD_PLAN;
        if (run->options.diff && phase == PHASE_CHECK && !run->probing)
                flags |= AGENTD_DIFF;

        if (++run->last_batch_id == 0) /* 0 is "in no batch" */
                run->last_batch_id++;
        *batch = (Batch){
                .handlers = &batch_handlers,
                .userdata = run,
                .id = run->last_batch_id,
                .phase = phase,
                .kind = phase == PHASE_APPLY || as_root ? WORKER_APPLY : WORKER_CHECK,
                .type = type,
                .call_flags = flags,
                .n = n,
        };
        memcpy(batch->states, states, n * sizeof(uint32_t));
        for (uint32_t i = 0; i < n; i++) {
                batch->timeout_usec =
                        MAX(batch->timeout_usec, image_state(run->image, states[i])->timeout_usec);
                run->nodes[states[i]].step = STEP_READY;
        }
        return batch;
}

static void push_batch(Run *run, Batch *batch) {
        if (!batch)
                return;
        *run->last_batch = batch;
        run->last_batch = &batch->next;
}

void run_push_states(
        Run *run, Phase phase, const Batch *from, const uint32_t *states, uint32_t n, bool retry) {
        Batch *batch;

        if (n == 0)
                return;
        batch = run_batch_new(run, phase, from->type, states, n,
                image_state(run->image, states[0])->flags & IMAGE_STATE_CHECK_AS_ROOT);
        if (!batch)
                return;
        batch->retry = retry;
        /* What was lost in the middle may still differ. */
        if (phase == PHASE_RECHECK && !retry)
                batch->call_flags |= AGENTD_RECHECK;
        batch->careful = from->careful;
        batch->recalls = from->recalls;
        batch->begun = from->begun;
        push_batch(run, batch);
}

void run_push_begun(Run *run, const uint32_t *states, uint32_t n) {
        Batch *batch =
                run_batch_new(run, PHASE_APPLY, image_state(run->image, states[0])->type, states, n, false);

        if (!batch)
                return;
        batch->begun = true;
        push_batch(run, batch);
}

/* Collects the batch's states that stand at a step. Returns how many; they are put at the front of `ret`. */
uint32_t run_collect(const Run *run, const Batch *batch, Step step, uint32_t *ret) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < batch->n; i++)
                if (run->nodes[batch->states[i]].step == step &&
                        run->nodes[batch->states[i]].batch == batch->id)
                        ret[n++] = batch->states[i];
        return n;
}

/* What differs goes on to be applied, what was applied to be checked again. */
void run_hand_on(Run *run, const Batch *batch) {
        uint32_t *states = malloc(batch->n * sizeof(uint32_t));

        if (!states) {
                log_oom();
                run_stop(run);
                return;
        }
        run_push_states(
                run, PHASE_APPLY, batch, states, run_collect(run, batch, STEP_TO_APPLY, states), false);
        run_push_states(
                run, PHASE_RECHECK, batch, states, run_collect(run, batch, STEP_TO_RECHECK, states), false);
        free(states);
}

void run_take_from_flight(Run *run, Batch *batch) {
        for (Batch **b = &run->in_flight; *b; b = &(*b)->next)
                if (*b == batch) {
                        *b = batch->next;
                        break;
                }
        batch->next = NULL;
        run->n_in_flight--;
        run_keys_release(run, batch);
}

/* ---- Dispatch ------------------------------------------------------------------------------------------------------- */
bool run_finish_without_asking(Run *run, uint32_t state) {
        const ImageState *image = image_state(run->image, state);

        if (run_fail_if_hung(run, state))
                return true;
        if (!run_plans(run))
                return false;

        if (image->flags & IMAGE_STATE_CHECK_AS_ROOT)
                run_set_error(run, state, "it is checked as root, so a plan does not look at it");
        else if (image_type(run->image, image->type)->flags & AGENTD_NO_PLAN)
                run_set_error(run, state, "this type cannot tell without changing anything");
        else if (run->nodes[state].pending && image->flags & IMAGE_STATE_WHEN_LOOKS)
                run_set_error(run, state, "its 'when' depends on what would be changed before");
        else
                return false;
        run_finish_state(run, state, RESULT_UNKNOWN);
        return true;
}

bool run_may_begin(Run *run, uint32_t state) {
        if (run_plans(run) || !run->handlers->may_begin ||
                run->handlers->may_begin(run->userdata, run, state))
                return true;
        if (run->n_parked == run->n_parked_allocated) {
                uint32_t wanted = MAX(run->n_parked_allocated * 2, 64U);
                uint32_t *parked = realloc(run->parked, wanted * sizeof(uint32_t));

                if (!parked) {
                        log_oom();
                        run_stop(run);
                        return false;
                }
                run->parked = parked;
                run->n_parked_allocated = wanted;
        }
        run->parked[run->n_parked++] = state;
        return false;
}

void run_retry(Run *run) {
        uint32_t n = run->n_parked;

        run->n_parked = 0;
        for (uint32_t i = 0; i < n; i++)
                run_enqueue(run, run->parked[i]);
}

static void send_batch(Run *run, Batch *batch) {
        int r;

        for (uint32_t i = 0; i < batch->n; i++) {
                Node *node = &run->nodes[batch->states[i]];

                node->step = STEP_ASKED;
                node->batch = batch->id;
                node->looked = false;
                node->applied = node->applied || batch->phase == PHASE_APPLY;
                if (batch->phase == PHASE_CHECK)
                        run_begin_detail(node);
                if (node->detail && node->detail->left) {
                        json_decref(node->detail->left);
                        node->detail->left = NULL;
                }
        }

        if (batch->phase == PHASE_APPLY)
                run_tell_apply(run, batch);
        batch->next = run->in_flight;
        run->in_flight = batch;
        run->n_in_flight++;
        run_keys_take(run, batch);
        r = worker_pool_dispatch(run->pool, run->image, batch);
        if (r < 0) {
                char detail[128];

                (void) snprintf(detail, sizeof(detail), "no worker could be started (%s)", strerror(-r));
                run_on_lost(run, batch, WORKER_LOSS_NOT_STARTED, detail, 0);
        } else if (run->options.urgent && batch->phase == PHASE_CHECK && !run_plans(run))
                /* While the check looks. */
                worker_pool_warm(run->pool, run->image, WORKER_APPLY, batch->type);
}

static void give_up(Run *run) {
        /* Nothing runs and nothing is ready: what is left waits for itself. The loader refuses cycles, so this is an
         * image gone wrong. */
        for (uint32_t k = 0; k < run->n_selected; k++) {
                uint32_t i = run->selected[k];

                if (run->nodes[i].step == STEP_WAITING) {
                        run->nodes[i].n_waiting = 0;
                        run_set_error(run, i, "it waits for itself");
                        set_result(run, i, RESULT_FAILED);
                }
        }
        for (uint32_t i = run->n_states; i < run->n_nodes; i++)
                if (run->nodes[i].step == STEP_WAITING)
                        set_result(run, i, RESULT_FAILED);
}

/* A run that is told to stop begins nothing new. But what was changed is looked at, or nobody would learn of it; and what
 * before_change has made ready for a change is not left like that. */
static bool may_send(const Run *run, const Batch *batch) {
        return !run->stopped || batch->phase == PHASE_RECHECK || batch->begun;
}

static void fail_batch(Run *run, Batch *batch, const char *error) {
        for (uint32_t i = 0; i < batch->n; i++) {
                run_set_error(run, batch->states[i], "%s", error);
                run_settle(run, batch->states[i], RESULT_FAILED);
        }
        free(batch);
}

/* Fails what waits for a worker of a kind of which none can be had any more. */
static void fail_without_workers(Run *run, WorkerKind kind) {
        const char *error = "no worker can be started, as too many of them hang in the kernel";
        Batch *waiting, *next;

        if (!worker_pool_is_exhausted(run->pool, kind))
                return;
        waiting = TAKE_PTR(run->batches);
        run->last_batch = &run->batches;
        for (; waiting; waiting = next) {
                next = waiting->next;
                waiting->next = NULL;
                if (waiting->kind == kind)
                        fail_batch(run, waiting, error);
                else
                        push_batch(run, waiting);
        }
        for (uint32_t q = 0; q < run->n_queues; q++) {
                Batch *batch;

                if ((q >= run->n_queues / 2 ? WORKER_APPLY : WORKER_CHECK) != kind)
                        continue;
                while ((batch = run_cut_batch(run, q)))
                        fail_batch(run, batch, error);
        }
        run_schedule(run);
}

/* Something could be sent if there were room. */
static bool is_waiting(const Run *run) {
        for (const Batch *batch = run->batches; batch; batch = batch->next)
                if (may_send(run, batch))
                        return true;
        for (uint32_t q = 0; q < run->n_queues && !run->stopped; q++)
                if (run->queues[q].first < run->queues[q].n)
                        return true;
        return false;
}

static void count_dependents(Run *run, uint32_t i) {
        const ImageNode *node = image_node(run->image, i);
        const uint32_t *dependents = image_dependents(run->image, node);

        for (uint32_t k = 0; k < node->dependents.n; k++)
                if (run->nodes[dependents[k]].inside)
                        run->nodes[dependents[k]].n_waiting++;
}

/* From the beginning: what is selected waits for what is selected. Groups are always part of it. */
static void begin(Run *run) {
        for (uint32_t k = 0; k < run->n_selected; k++)
                run->nodes[run->selected[k]] = (Node){ .cause = NO_NODE, .inside = true };
        for (uint32_t i = run->n_states; i < run->n_nodes; i++)
                run->nodes[i] = (Node){ .cause = NO_NODE, .inside = true };
        run->n_done = run->n_states - run->n_selected;
        memset(run->counts, 0, sizeof(run->counts));
        for (uint32_t k = 0; k < run->n_selected; k++)
                count_dependents(run, run->selected[k]);
        for (uint32_t i = run->n_states; i < run->n_nodes; i++)
                count_dependents(run, i);

        /* Groups that wait for nothing first: run_finish_state() follows where they lead. */
        for (uint32_t i = run->n_states; i < run->n_nodes; i++)
                if (run->nodes[i].step == STEP_WAITING && run->nodes[i].n_waiting == 0)
                        run_finish_state(run, i, RESULT_OK);
        for (uint32_t k = 0; k < run->n_selected; k++) {
                const Node *node = &run->nodes[run->selected[k]];

                if (node->step == STEP_WAITING && node->n_waiting == 0)
                        run_enqueue(run, run->selected[k]);
        }
        run_schedule(run);
}

/* All is known that would be changed: if that is not too much, it is done now, and else only told. */
static void end_probing(Run *run) {
        uint64_t n = 0;

        for (uint32_t k = 0; k < run->n_selected; k++)
                if (run->nodes[run->selected[k]].result == RESULT_DRIFTED &&
                        !run_audits(run, run->selected[k]))
                        n++;
        run->probing = false;
        run->refused = n > run->options.max_changes;
        if (run->refused)
                (void) snprintf(run->error, sizeof(run->error),
                        "it would change %" PRIu64 " state%s, and max_changes is %" PRIu64, n,
                        n == 1 ? "" : "s", run->options.max_changes);
        begin(run);
}

static int on_dispatch(_unused_ sd_event_source *source, void *userdata) {
        Run *run = userdata;

        if (run->finished)
                return 0;

        run_dispatch_attempts(run);
        run_dispatch_hooks(run);
        for (Batch **b = &run->batches; *b;) {
                Batch *batch = *b;

                if (!may_send(run, batch) || !worker_pool_has_room(run->pool, run->image, batch->kind) ||
                        !run_keys_are_free(run, batch)) {
                        b = &batch->next;
                        continue;
                }
                *b = batch->next;
                if (!*b)
                        run->last_batch = b;
                batch->next = NULL;
                batch->n = run_drop_hung(run, batch->states, batch->n);
                if (batch->n > 0)
                        send_batch(run, batch);
                else
                        free(batch);
                /* It may have been pushed to in the meantime: start over rather than trust the pointer. */
                b = &run->batches;
        }

        for (uint32_t q = 0; q < run->n_queues && !run->stopped; q++) {
                WorkerKind kind = q >= run->n_queues / 2 ? WORKER_APPLY : WORKER_CHECK;

                while (run->queues[q].first < run->queues[q].n &&
                        worker_pool_has_room(run->pool, run->image, kind) && !run->stopped) {
                        uint32_t before = run->queues[q].n - run->queues[q].first;
                        Batch *batch = run_cut_batch(run, q);

                        if (batch)
                                send_batch(run, batch);
                        else if (run->queues[q].n - run->queues[q].first == before)
                                break; /* they wait for others that are under way */
                }
        }

        if (run->n_in_flight > 0)
                return 0;
        if (is_waiting(run)) {
                /* For room; on_free() follows, unless nobody is left who could become free. */
                fail_without_workers(run, WORKER_CHECK);
                fail_without_workers(run, WORKER_APPLY);
                return 0;
        }
        if (run->hooks || run->n_paused > 0)
                return 0; /* their ends, or the timer, follow */
        if (run->stopped && run_end_all_attempts(run)) {
                run_schedule(run);
                return 0;
        }
        if (run->n_parked > 0 && !run->stopped)
                return 0; /* for another run; run_retry() follows */
        if (!run->stopped && run->n_done < run->n_nodes)
                give_up(run);
        if (run->probing && !run->stopped) {
                end_probing(run);
                return 0;
        }

        /* Nothing of the first pass was told, nor is it now. */
        if (run->probing)
                memset(run->counts, 0, sizeof(run->counts));
        run->finished = true;
        run->finished_usec = now_usec(CLOCK_REALTIME);
        run->handlers->on_finished(run->userdata, run);
        return 0;
}

/* ---- The object ----------------------------------------------------------------------------------------------------- */

static int select_states(Run *run, const uint8_t *selected) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < run->n_states; i++)
                n += !selected || selected[i];
        run->selected = malloc(MAX(n, 1U) * sizeof(uint32_t));
        if (!run->selected)
                return -ENOMEM;
        for (uint32_t i = 0; i < run->n_states; i++)
                if (!selected || selected[i])
                        run->selected[run->n_selected++] = i;
        return 0;
}

int run_new(sd_event *event, Image *image, WorkerPool *pool, const RunOptions *options,
        const RunHandlers *handlers, void *userdata, Run **ret) {
        _cleanup_(run_freep) Run *run = NULL;
        int r;

        run = calloc(1, sizeof(*run));
        if (!run)
                return -ENOMEM;
        run->event = sd_event_ref(event);
        run->image = image_ref(image);
        run->options = *options;
        run->options.selected = NULL;
        run->handlers = handlers;
        run->userdata = userdata;
        run->last_batch = &run->batches;
        run->last_hook = &run->hooks;
        run->n_states = image_n_states(image);
        run->n_nodes = image->header->nodes.n;
        run->n_queues = 2 * image->header->types.n;
        run->nodes = pages_new(run->n_nodes * sizeof(Node));
        run->stack = malloc(MAX(run->n_nodes, 1U) * sizeof(uint32_t));
        run->queues = calloc(MAX(run->n_queues, 1U), sizeof(Queue));
        /* Zeroed pages: only those of keys that come up are touched. */
        if (image->header->n_batch_keys > 0)
                run->keys = calloc((size_t) image->header->n_batch_keys + 1, sizeof(Key));
        if (!run->nodes || !run->stack || !run->queues || (image->header->n_batch_keys > 0 && !run->keys))
                return -ENOMEM;
        r = select_states(run, options->selected);
        if (r < 0)
                return r;

        r = sd_event_add_defer(event, &run->dispatch_event, on_dispatch, run);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(run->dispatch_event, SD_EVENT_OFF);

        run->pool = pool;
        run->listener = (WorkerListener){ .on_free = on_free, .userdata = run };
        worker_pool_listen(pool, &run->listener);
        *ret = TAKE_PTR(run);
        return 0;
}

Run *run_free(Run *run) {
        if (!run)
                return NULL;

        if (run->pool) {
                worker_pool_unlisten(run->pool, &run->listener);
                worker_pool_abandon(run->pool, run);
        }
        sd_event_source_disable_unref(run->dispatch_event);
        sd_event_source_disable_unref(run->timer);
        run_free_hooks(run);
        free(run->paused);
        for (uint32_t k = 0; run->nodes && k < run->n_selected; k++)
                run_drop_detail(&run->nodes[run->selected[k]]);
        for (uint32_t q = 0; run->queues && q < run->n_queues; q++)
                free(run->queues[q].states);
        for (Batch *batch = run->batches, *next; batch; batch = next) {
                next = batch->next;
                free(batch);
        }
        for (Batch *batch = run->in_flight, *next; batch; batch = next) {
                next = batch->next;
                free(batch);
        }
        free(run->keys);
        free(run->parked);
        free(run->queues);
        pages_free(run->nodes, run->n_nodes * sizeof(Node));
        free(run->selected);
        free(run->stack);
        image_unref(run->image);
        sd_event_unref(run->event);
        free(run);
        return NULL;
}

int run_start(Run *run) {
        run->started_usec = now_usec(CLOCK_REALTIME);
        /* So few states cannot be too many changes. */
        run->probing = run->options.mode == RUN_APPLY && run->n_selected > run->options.max_changes;
        begin(run);
        return 0;
}

void run_stop(Run *run) {
        run->stopped = true;
        /* Whoever is after a state that waits has it when this is over, or this would be the last word on it. */
        for (uint32_t i = 0; i < run->n_paused; i++)
                run->nodes[run->paused[i].state].held = true;
        run_schedule(run);
}

Image *run_image(const Run *run) {
        return run->image;
}

const RunOptions *run_options(const Run *run) {
        return &run->options;
}

bool run_is_interrupted(const Run *run) {
        return run->stopped && (run->probing || run->n_done < run->n_nodes);
}

bool run_is_refused(const Run *run) {
        return run->refused;
}

const char *run_error(const Run *run) {
        if (run->error[0])
                return run->error;
        return run_is_interrupted(run) ? "it was stopped before all was done" : NULL;
}

bool run_only_waits(const Run *run) {
        return run->n_paused > 0 && !run->stopped && !run->finished && run->n_in_flight == 0 &&
               !run->hooks && run->n_parked == 0 && !is_waiting(run);
}

bool run_holds(const Run *run, uint32_t state) {
        return run->nodes[state].held;
}

bool run_waits(const Run *run, uint32_t state) {
        return run->nodes[state].inside && run->nodes[state].step == STEP_WAITING;
}

bool run_is_open(const Run *run, uint32_t state) {
        const Node *node = &run->nodes[state];

        return node->inside && (run->probing || node->step != STEP_DONE);
}

uint32_t run_under_way(const Run *run, uint32_t *ret, uint32_t max) {
        uint32_t n = 0;

        for (const Batch *batch = run->in_flight; batch && n < max; batch = batch->next)
                for (uint32_t i = 0; i < batch->n && n < max; i++)
                        if (run->nodes[batch->states[i]].step == STEP_ASKED &&
                                run->nodes[batch->states[i]].batch == batch->id)
                                ret[n++] = batch->states[i];
        n += run_hooks_under_way(run, ret + n, max - n);
        n += run_paused(run, ret + n, max - n);
        return n;
}

uint32_t run_n_selected(const Run *run) {
        return run->n_selected;
}

uint32_t run_n_done(const Run *run) {
        uint32_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(run->counts); i++)
                n += run->counts[i];
        return n;
}

usec_t run_started(const Run *run) {
        return run->started_usec;
}

usec_t run_finished(const Run *run) {
        return run->finished_usec;
}

Result run_result(const Run *run, uint32_t state) {
        return (Result) run->nodes[state].result;
}

usec_t run_duration(const Run *run, uint32_t state) {
        return run->nodes[state].duration_usec;
}

const RunDetail *run_detail(const Run *run, uint32_t state) {
        return run->nodes[state].detail;
}

uint32_t run_count(const Run *run, Result result) {
        return run->counts[result];
}
