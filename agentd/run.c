/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <time.h>

#include "log.h"
#include "mount-table.h"
#include "run.h"

/* A batch of a type without a limit of its own ends here, so that it fits into a message. */
#define BATCH_MAX 16384

#define NO_NODE UINT32_MAX

typedef enum Step {
        STEP_WAITING,    /* for its dependencies */
        STEP_READY,      /* in a queue */
        STEP_ASKED,      /* a worker has it */
        STEP_TO_APPLY,   /* found to differ; its batch is not back yet */
        STEP_TO_RECHECK, /* applied; its batch is not back yet */
        STEP_DONE,
} Step;

typedef struct Node {
        uint32_t n_waiting; /* dependencies that are not done */
        uint32_t batch;     /* id of the batch that it was sent with */
        uint32_t cause;     /* the node that blocks it, or NO_NODE */
        uint32_t duration_usec;
        uint8_t step;
        uint8_t result;
        bool pending; /* in a plan: something that it depends on would change first */
        RunDetail *detail;
} Node;

typedef struct Queue {
        uint32_t *states;
        uint32_t first, n, allocated;
} Queue;

/* A mount on which a worker hangs so that it cannot be killed. */
typedef struct HungMount {
        struct HungMount *next;
        pid_t pid;
        char *path;
} HungMount;

struct Run {
        sd_event *event;
        Image *image;
        RunOptions options;
        const RunHandlers *handlers;
        void *userdata;
        WorkerPool *pool;
        sd_event_source *dispatch_event;
        Node *nodes;
        uint32_t n_nodes, n_states, n_done;
        Queue *queues; /* ready states by type; then those that are checked as root, by type */
        uint32_t n_queues;
        Batch *batches, **last_batch; /* made already: applies, checks after, halves */
        uint32_t n_in_flight, last_batch_id;
        Batch *in_flight;
        uint32_t *stack; /* for finish(): nodes that are done but not announced */
        HungMount *hung;
        uint32_t counts[_RESULT_MAX];
        usec_t started_usec, finished_usec;
        bool stopped, finished;
};

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

/* ---- Details --------------------------------------------------------------------------------------------------- */

static RunDetail *run_detail_free(RunDetail *detail) {
        if (!detail)
                return NULL;
        json_decref(detail->differences);
        json_decref(detail->left);
        json_decref(detail->undo);
        free(detail->error);
        free(detail);
        return NULL;
}

static RunDetail *detail_of(Run *run, uint32_t state) {
        Node *node = &run->nodes[state];

        if (!node->detail)
                node->detail = calloc(1, sizeof(RunDetail));
        return node->detail;
}

static void set_error(Run *run, uint32_t state, const char *format, ...) _printf_(3, 4);

static void set_error(Run *run, uint32_t state, const char *format, ...) {
        RunDetail *detail = detail_of(run, state);
        va_list args;

        if (!detail)
                return;
        free(detail->error);
        va_start(args, format);
        if (vasprintf(&detail->error, format, args) < 0)
                detail->error = NULL;
        va_end(args);
}

static int append(json_t **array, json_t *item) {
        if (json_array_size(*array) >= RUN_DIFFERENCES_MAX)
                return -EBADMSG;
        if (!*array)
                *array = json_array();
        if (*array)
                (void) json_array_append(*array, item);
        return 0;
}

/* ---- Results --------------------------------------------------------------------------------------------------- */

static const char *node_name(const Run *run, uint32_t i) {
        return i < run->n_states ? image_state_id(run->image, i) : "a group";
}

static void enqueue(Run *run, uint32_t state);

static void set_result(Run *run, uint32_t i, Result result) {
        Node *node = &run->nodes[i];

        assert(node->step != STEP_DONE);
        node->step = STEP_DONE;
        node->result = result;
        run->n_done++;
        if (i >= run->n_states)
                return;

        run->counts[result]++;
        if (result == RESULT_BLOCKED)
                set_error(run, i, "required %s %s", node_name(run, node->cause),
                        result_to_string(run->nodes[node->cause].result));
        if (node->detail && result == RESULT_SKIPPED)
                node->detail = run_detail_free(node->detail);
        run->handlers->on_result(run->userdata, run, i);
}

/* True if, in a plan, the node or something before it would change when it is applied. */
static bool may_change(const Run *run, uint32_t i) {
        const Node *node = &run->nodes[i];

        if (node->pending)
                return true;
        if (i >= run->n_states || image_state(run->image, i)->flags & IMAGE_STATE_AUDIT)
                return false;
        return node->result == RESULT_DRIFTED || node->result == RESULT_UNKNOWN;
}

/* Sets a result and everything that follows from it alone: what is blocked, what has become ready, groups. Without
 * recursion, as chains may be long. */
static void finish(Run *run, uint32_t state, Result result) {
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
                        if (pending && run->options.mode == RUN_PLAN)
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
                                enqueue(run, d);
                }
        }
}

/* ---- Queues and batches ---------------------------------------------------------------------------------------- */

static void enqueue(Run *run, uint32_t state) {
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
}

static Batch *batch_new(
        Run *run, Phase phase, uint32_t type, const uint32_t *states, uint32_t n, bool as_root) {
        Batch *batch = malloc(sizeof(Batch) + n * sizeof(uint32_t));
        unsigned flags = 0;

        if (!batch) {
                log_oom();
                run_stop(run);
                return NULL;
        }
        if (run->options.mode == RUN_PLAN)
                flags |= AGENTD_PLAN;
        if (run->options.diff && phase == PHASE_CHECK)
                flags |= AGENTD_DIFF;

        if (++run->last_batch_id == 0) /* 0 is "in no batch" */
                run->last_batch_id++;
        *batch = (Batch){
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

static void push_states(
        Run *run, Phase phase, const Batch *from, const uint32_t *states, uint32_t n, bool retry) {
        Batch *batch;

        if (n == 0)
                return;
        batch = batch_new(run, phase, from->type, states, n,
                image_state(run->image, states[0])->flags & IMAGE_STATE_CHECK_AS_ROOT);
        if (!batch)
                return;
        batch->retry = retry;
        batch->careful = from->careful;
        push_batch(run, batch);
}

/* Collects the batch's states that stand at a step. Returns how many; they are put at the front of `ret`. */
static uint32_t collect(const Run *run, const Batch *batch, Step step, uint32_t *ret) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < batch->n; i++)
                if (run->nodes[batch->states[i]].step == step &&
                        run->nodes[batch->states[i]].batch == batch->id)
                        ret[n++] = batch->states[i];
        return n;
}

/* What differs goes on to be applied, what was applied to be checked again. */
static void hand_on(Run *run, const Batch *batch) {
        uint32_t *states = malloc(batch->n * sizeof(uint32_t));

        if (!states) {
                log_oom();
                run_stop(run);
                return;
        }
        push_states(run, PHASE_APPLY, batch, states, collect(run, batch, STEP_TO_APPLY, states), false);
        push_states(run, PHASE_RECHECK, batch, states, collect(run, batch, STEP_TO_RECHECK, states), false);
        free(states);
}

static void take_from_flight(Run *run, Batch *batch) {
        for (Batch **b = &run->in_flight; *b; b = &(*b)->next)
                if (*b == batch) {
                        *b = batch->next;
                        break;
                }
        batch->next = NULL;
        run->n_in_flight--;
}

/* ---- Answers --------------------------------------------------------------------------------------------------- */

static char *join_attributes(const json_t *differences) {
        char *text = NULL;
        size_t i, size;
        json_t *difference;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        json_array_foreach(differences, i, difference)(void) fprintf(
                f, "%s%s", i > 0 ? ", " : "", json_string_value(json_object_get(difference, "attribute")));
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

static void handle_verdict(Run *run, Batch *batch, uint32_t state, Verdict verdict) {
        Node *node = &run->nodes[state];
        bool plan = run->options.mode == RUN_PLAN;

        if (verdict == VERDICT_UNKNOWN && !plan)
                verdict = VERDICT_FAILED;

        if (batch->phase == PHASE_APPLY) {
                if (verdict == VERDICT_OK)
                        node->step = STEP_TO_RECHECK;
                else
                        finish(run, state, RESULT_FAILED);
                return;
        }

        switch (verdict) {
        case VERDICT_OK:
                finish(run, state, batch->phase == PHASE_RECHECK ? RESULT_CHANGED : RESULT_OK);
                break;
        case VERDICT_SKIPPED: finish(run, state, RESULT_SKIPPED); break;
        case VERDICT_UNKNOWN: finish(run, state, RESULT_UNKNOWN); break;
        case VERDICT_FAILED:
                finish(run, state, plan && node->pending ? RESULT_UNKNOWN : RESULT_FAILED);
                break;
        case VERDICT_DRIFTED:
                if (batch->phase == PHASE_RECHECK && !batch->retry) {
                        RunDetail *detail = detail_of(run, state);
                        _cleanup_free_ char *attributes = detail ? join_attributes(detail->left) : NULL;

                        set_error(run, state, "still differs after it was applied: %s",
                                attributes && *attributes ? attributes : "no attribute was named");
                        finish(run, state, RESULT_FAILED);
                } else if (plan || image_state(run->image, state)->flags & IMAGE_STATE_AUDIT)
                        finish(run, state, RESULT_DRIFTED);
                else
                        node->step = STEP_TO_APPLY;
                break;
        default: break;
        }
}

static int handle_result(Run *run, Batch *batch, uint32_t state, MessageReader *reader) {
        uint32_t verdict = message_get_u32(reader);
        uint64_t duration = message_get_u64(reader);
        _cleanup_free_ char *error = message_get_string(reader);
        Node *node = &run->nodes[state];

        if (!error || verdict == 0 || verdict >= _VERDICT_MAX)
                return -EBADMSG;

        duration += node->duration_usec;
        node->duration_usec = (uint32_t) MIN(duration, (uint64_t) UINT32_MAX);
        if (*error)
                set_error(run, state, "%s", error);
        handle_verdict(run, batch, state, (Verdict) verdict);
        return 0;
}

static int handle_difference(Run *run, Batch *batch, uint32_t state, MessageReader *reader) {
        _cleanup_free_ char *attribute = message_get_string(reader);
        json_t *is = message_get_value(reader), *should = message_get_value(reader);
        json_t *diff = message_get_text_json(reader), *item = NULL;
        RunDetail *detail = detail_of(run, state);
        int r;

        if (attribute && is && should && diff && detail)
                item = json_pack("{s:s, s:O, s:O, s:O}", "attribute", attribute, "is", is, "should", should,
                        "diff", diff);
        json_decref(is);
        json_decref(should);
        json_decref(diff);
        if (!item)
                return -EBADMSG;

        r = append(batch->phase == PHASE_RECHECK ? &detail->left : &detail->differences, item);
        json_decref(item);
        return r;
}

static int handle_undo(Run *run, uint32_t state, MessageReader *reader) {
        _cleanup_free_ char *what = message_get_string(reader);
        json_t *old = message_get_value(reader), *item = NULL;
        RunDetail *detail = detail_of(run, state);
        int r;

        if (what && old && detail)
                item = json_pack("{s:s, s:O}", "what", what, "old", old);
        json_decref(old);
        if (!item)
                return -EBADMSG;
        r = append(&detail->undo, item);
        json_decref(item);
        return r;
}

static int on_record(void *userdata, Batch *batch, MessageKind kind, MessageReader *reader) {
        Run *run = userdata;
        uint32_t state = message_get_u32(reader);

        if (reader->bad || state >= run->n_states)
                return -EBADMSG;
        if (run->nodes[state].step != STEP_ASKED || run->nodes[state].batch != batch->id)
                return -EBADMSG;

        switch (kind) {
        case MESSAGE_RESULT: return handle_result(run, batch, state, reader);
        case MESSAGE_DIFFERENCE: return handle_difference(run, batch, state, reader);
        default: return handle_undo(run, state, reader);
        }
}

static void schedule(Run *run) {
        (void) sd_event_source_set_enabled(run->dispatch_event, SD_EVENT_ONESHOT);
}

static void on_end(void *userdata, Batch *batch) {
        Run *run = userdata;

        take_from_flight(run, batch);
        for (uint32_t i = 0; i < batch->n; i++) {
                uint32_t state = batch->states[i];

                if (run->nodes[state].batch == batch->id && run->nodes[state].step == STEP_ASKED) {
                        set_error(run, state, "the module said nothing about this state");
                        finish(run, state, RESULT_FAILED);
                }
        }
        hand_on(run, batch);
        free(batch);
        schedule(run);
}

/* ---- Workers that do not come back ----------------------------------------------------------------------------- */

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
        HungMount *hung;

        if (!streq(run->options.workers.root, "/"))
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
        if (!mount)
                return;

        hung = malloc(sizeof(*hung));
        if (!hung)
                return;
        *hung = (HungMount){ .next = run->hung, .pid = pid, .path = TAKE_PTR(mount) };
        run->hung = hung;
        log_error("File system '%s' hangs: process %d can neither finish nor be killed. States on it fail "
                  "until it ends",
                hung->path, (int) pid);
}

static const HungMount *hung_mount_of(const Run *run, uint32_t state) {
        const char *path = run->hung ? managed_path(run, state) : NULL;

        if (!path)
                return NULL;
        for (const HungMount *hung = run->hung; hung; hung = hung->next)
                if (path_is_below(path, hung->path))
                        return hung;
        return NULL;
}

static bool fail_if_hung(Run *run, uint32_t state) {
        const HungMount *hung = hung_mount_of(run, state);

        if (!hung)
                return false;
        set_error(run, state, "file system '%s' hangs (process %d)", hung->path, (int) hung->pid);
        finish(run, state, RESULT_FAILED);
        return true;
}

/* Fails those that lie on a file system that hangs; returns how many are left, at the front. */
static uint32_t drop_hung(Run *run, uint32_t *states, uint32_t n) {
        uint32_t left = 0;

        for (uint32_t i = 0; i < n; i++)
                if (!fail_if_hung(run, states[i]))
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

static void on_unstuck(void *userdata, pid_t pid) {
        Run *run = userdata;

        for (HungMount **h = &run->hung; *h;) {
                HungMount *hung = *h;

                if (hung->pid != pid) {
                        h = &hung->next;
                        continue;
                }
                log_notice("File system '%s' works again", hung->path);
                *h = hung->next;
                free(hung->path);
                free(hung);
        }
}

static void on_lost(void *userdata, Batch *batch, WorkerLoss loss, const char *detail, pid_t stuck_pid) {
        Run *run = userdata;
        _cleanup_free_ uint32_t *states = malloc(batch->n * sizeof(uint32_t));
        uint32_t n;

        take_from_flight(run, batch);
        if (!states) {
                log_oom();
                run_stop(run);
                free(batch);
                return;
        }

        n = collect(run, batch, STEP_ASKED, states);
        if (loss == WORKER_LOSS_STUCK) {
                note_hung_mount(run, stuck_pid, states, n);
                n = drop_hung(run, states, n);
        }

        if (loss == WORKER_LOSS_RECALLED)
                push_states(run, batch->phase, batch, states, n, batch->retry);
        else if (n > 0 && (batch->n == 1 || loss == WORKER_LOSS_NOT_STARTED)) {
                for (uint32_t i = 0; i < n; i++) {
                        set_error(run, states[i], "%s while %s it", detail, phase_verb(batch->phase));
                        finish(run, states[i], RESULT_FAILED);
                }
        } else if (n > 0) {
                /*
                 * Somebody in there is guilty. What an apply has left is looked at before it is tried again.
                 *
                 * First two halves, each result of which is sent at once. If such a batch is lost, it is most likely
                 * the first one without a result, since modules go through their batch in order: that one is tried
                 * alone. Halves again if there was no result at all, as the module may do its work in one go.
                 */
                Phase phase = batch->phase == PHASE_APPLY ? PHASE_RECHECK : batch->phase;
                bool retry = batch->phase == PHASE_APPLY || batch->retry;
                uint32_t from = 0, half;

                log_warning("A worker was lost while %s %u states (%s); trying again in smaller batches",
                        phase_verb(batch->phase), batch->n, detail);
                if (batch->careful && loss != WORKER_LOSS_STUCK) {
                        push_states(run, phase, batch, states, 1, retry);
                        from = 1;
                }
                half = batch->careful && loss != WORKER_LOSS_STUCK && n < batch->n
                               ? n
                               : from + (n - from + 1) / 2;
                batch->careful = true;
                if (loss == WORKER_LOSS_STUCK) {
                        /* Each try costs a process that cannot be killed: look for the file system first. */
                        uint32_t front = gather_mount(run, states, n);

                        half = front < n ? front : half;
                }
                push_states(run, phase, batch, states + from, half - from, retry);
                push_states(run, phase, batch, states + half, n - half, retry);
        }

        hand_on(run, batch);
        free(batch);
        schedule(run);
}

static void on_slow(void *userdata, Batch *batch) {
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
        hand_on(run, batch);
        schedule(run);
}

static void on_free(void *userdata) {
        schedule(userdata);
}

static bool is_pending(void *userdata, uint32_t state) {
        const Run *run = userdata;

        return run->nodes[state].pending;
}

static const WorkerHandlers worker_handlers = {
        .is_pending = is_pending,
        .on_record = on_record,
        .on_end = on_end,
        .on_lost = on_lost,
        .on_slow = on_slow,
        .on_unstuck = on_unstuck,
        .on_free = on_free,
};

/* ---- Dispatch -------------------------------------------------------------------------------------------------- */

/* Results that need no worker. True if the state has one now. */
static bool finish_without_asking(Run *run, uint32_t state) {
        const ImageState *image = image_state(run->image, state);

        if (fail_if_hung(run, state))
                return true;
        if (run->options.mode != RUN_PLAN)
                return false;

        if (image->flags & IMAGE_STATE_CHECK_AS_ROOT)
                set_error(run, state, "it is checked as root, so a plan does not look at it");
        else if (image_type(run->image, image->type)->flags & AGENTD_NO_PLAN)
                set_error(run, state, "this type cannot tell without changing anything");
        else if (run->nodes[state].pending && image->flags & IMAGE_STATE_WHEN_LOOKS)
                set_error(run, state, "its 'when' depends on what would be changed before");
        else
                return false;
        finish(run, state, RESULT_UNKNOWN);
        return true;
}

/* The front of a queue as a batch, or NULL. */
static Batch *cut_batch(Run *run, uint32_t q) {
        Queue *queue = &run->queues[q];
        uint32_t n_types = run->image->header->types.n, type = q % n_types;
        uint32_t max = image_type(run->image, type)->batch_max ?: BATCH_MAX;
        _cleanup_free_ uint32_t *states = NULL;
        uint32_t n = 0;

        max = MIN(max, (uint32_t) BATCH_MAX);
        max = MIN(max, queue->n - queue->first);
        if (max == 0)
                return NULL;
        states = malloc(max * sizeof(uint32_t));
        if (!states) {
                log_oom();
                run_stop(run);
                return NULL;
        }
        while (n < max && queue->first < queue->n) {
                uint32_t state = queue->states[queue->first];

                /* A batch has one timeout: that of a state shall not grow by the company that it is in. */
                if (n > 0 && image_state(run->image, state)->timeout_usec !=
                                     image_state(run->image, states[0])->timeout_usec)
                        break;
                queue->first++;
                if (!finish_without_asking(run, state))
                        states[n++] = state;
        }
        if (queue->first == queue->n)
                queue->first = queue->n = 0;
        return n > 0 ? batch_new(run, PHASE_CHECK, type, states, n, q >= n_types) : NULL;
}

static void send_batch(Run *run, Batch *batch) {
        int r;

        for (uint32_t i = 0; i < batch->n; i++) {
                Node *node = &run->nodes[batch->states[i]];

                node->step = STEP_ASKED;
                node->batch = batch->id;
                if (node->detail && batch->phase == PHASE_CHECK)
                        node->detail = run_detail_free(node->detail);
                if (node->detail && node->detail->left) {
                        json_decref(node->detail->left);
                        node->detail->left = NULL;
                }
        }

        batch->next = run->in_flight;
        run->in_flight = batch;
        run->n_in_flight++;
        r = worker_pool_dispatch(run->pool, run->image, batch);
        if (r < 0) {
                char detail[128];

                (void) snprintf(detail, sizeof(detail), "no worker could be started (%s)", strerror(-r));
                on_lost(run, batch, WORKER_LOSS_NOT_STARTED, detail, 0);
        }
}

static void give_up(Run *run) {
        /* Nothing runs and nothing is ready: what is left waits for itself. The loader refuses cycles, so this is an
         * image gone wrong. */
        for (uint32_t i = 0; i < run->n_states; i++)
                if (run->nodes[i].step == STEP_WAITING) {
                        run->nodes[i].n_waiting = 0;
                        set_error(run, i, "it waits for itself");
                        set_result(run, i, RESULT_FAILED);
                }
        for (uint32_t i = run->n_states; i < run->n_nodes; i++)
                if (run->nodes[i].step == STEP_WAITING)
                        set_result(run, i, RESULT_FAILED);
}

/* A run that is told to stop begins nothing new. But what was changed is looked at, or nobody would learn of it. */
static bool may_send(const Run *run, const Batch *batch) {
        return !run->stopped || batch->phase == PHASE_RECHECK;
}

static void fail_batch(Run *run, Batch *batch, const char *error) {
        for (uint32_t i = 0; i < batch->n; i++) {
                set_error(run, batch->states[i], "%s", error);
                finish(run, batch->states[i], RESULT_FAILED);
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
                while ((batch = cut_batch(run, q)))
                        fail_batch(run, batch, error);
        }
        schedule(run);
}

static int on_dispatch(_unused_ sd_event_source *source, void *userdata) {
        Run *run = userdata;

        if (run->finished)
                return 0;

        for (Batch **b = &run->batches; *b;) {
                Batch *batch = *b;

                if (!may_send(run, batch) || !worker_pool_has_room(run->pool, batch->kind)) {
                        b = &batch->next;
                        continue;
                }
                *b = batch->next;
                if (!*b)
                        run->last_batch = b;
                batch->next = NULL;
                batch->n = drop_hung(run, batch->states, batch->n);
                if (batch->n > 0)
                        send_batch(run, batch);
                else
                        free(batch);
                /* It may have been pushed to in the meantime: start over rather than trust the pointer. */
                b = &run->batches;
        }

        for (uint32_t q = 0; q < run->n_queues && !run->stopped; q++) {
                WorkerKind kind = q >= run->n_queues / 2 ? WORKER_APPLY : WORKER_CHECK;

                while (run->queues[q].first < run->queues[q].n && worker_pool_has_room(run->pool, kind) &&
                        !run->stopped) {
                        Batch *batch = cut_batch(run, q);

                        if (batch)
                                send_batch(run, batch);
                }
        }

        if (run->n_in_flight > 0)
                return 0;
        for (const Batch *batch = run->batches; batch; batch = batch->next)
                if (may_send(run, batch))
                        return 0; /* no room; on_free() follows */
        if (!run->stopped && run->n_done < run->n_nodes) {
                bool more = false;

                for (uint32_t q = 0; q < run->n_queues; q++)
                        more = more || run->queues[q].first < run->queues[q].n;
                if (more) {
                        /* No room; on_free() follows, unless nobody is left who could become free. */
                        fail_without_workers(run, WORKER_CHECK);
                        fail_without_workers(run, WORKER_APPLY);
                        return 0;
                }
                give_up(run);
        }

        run->finished = true;
        run->finished_usec = now_usec(CLOCK_REALTIME);
        run->handlers->on_finished(run->userdata, run);
        return 0;
}

/* ---- The object ------------------------------------------------------------------------------------------------ */

int run_new(sd_event *event, Image *image, const RunOptions *options, const RunHandlers *handlers,
        void *userdata, Run **ret) {
        _cleanup_(run_freep) Run *run = NULL;
        int r;

        run = calloc(1, sizeof(*run));
        if (!run)
                return -ENOMEM;
        run->event = sd_event_ref(event);
        run->image = image_ref(image);
        run->options = *options;
        run->handlers = handlers;
        run->userdata = userdata;
        run->last_batch = &run->batches;
        run->n_states = image_n_states(image);
        run->n_nodes = image->header->nodes.n;
        run->n_queues = 2 * image->header->types.n;
        run->nodes = calloc(MAX(run->n_nodes, 1U), sizeof(Node));
        run->stack = malloc(MAX(run->n_nodes, 1U) * sizeof(uint32_t));
        run->queues = calloc(MAX(run->n_queues, 1U), sizeof(Queue));
        if (!run->nodes || !run->stack || !run->queues)
                return -ENOMEM;
        for (uint32_t i = 0; i < run->n_nodes; i++) {
                run->nodes[i].n_waiting = image_node(image, i)->n_dependencies;
                run->nodes[i].cause = NO_NODE;
        }

        r = worker_pool_new(event, &options->workers, &worker_handlers, run, &run->pool);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &run->dispatch_event, on_dispatch, run);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(run->dispatch_event, SD_EVENT_OFF);

        *ret = TAKE_PTR(run);
        return 0;
}

Run *run_free(Run *run) {
        if (!run)
                return NULL;

        worker_pool_free(run->pool);
        sd_event_source_disable_unref(run->dispatch_event);
        for (uint32_t i = 0; run->nodes && i < run->n_nodes; i++)
                run_detail_free(run->nodes[i].detail);
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
        for (HungMount *hung = run->hung, *next; hung; hung = next) {
                next = hung->next;
                free(hung->path);
                free(hung);
        }
        free(run->queues);
        free(run->nodes);
        free(run->stack);
        image_unref(run->image);
        sd_event_unref(run->event);
        free(run);
        return NULL;
}

int run_start(Run *run) {
        run->started_usec = now_usec(CLOCK_REALTIME);
        /* Groups that wait for nothing first: finish() follows where they lead. */
        for (uint32_t i = run->n_states; i < run->n_nodes; i++)
                if (run->nodes[i].step == STEP_WAITING && run->nodes[i].n_waiting == 0)
                        finish(run, i, RESULT_OK);
        for (uint32_t i = 0; i < run->n_states; i++)
                if (run->nodes[i].step == STEP_WAITING && run->nodes[i].n_waiting == 0)
                        enqueue(run, i);
        schedule(run);
        return 0;
}

void run_stop(Run *run) {
        run->stopped = true;
        schedule(run);
}

Image *run_image(const Run *run) {
        return run->image;
}

const RunOptions *run_options(const Run *run) {
        return &run->options;
}

bool run_is_interrupted(const Run *run) {
        return run->finished && run->n_done < run->n_nodes;
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
