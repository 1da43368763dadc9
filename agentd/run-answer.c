/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What workers say of states, and what it means for the run. */

#include <assert.h>
#include <time.h>

#include "identity.h"
#include "run-internal.h"

static int append(json_t **array, json_t *item) {
        if (json_array_size(*array) > MESSAGE_DIFFERENCES_MAX)
                return -EBADMSG;
        if (!*array)
                *array = json_array();
        if (*array)
                (void) json_array_append(*array, item);
        return 0;
}

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
        bool plan = run_plans(run);

        if (verdict == VERDICT_UNKNOWN && !plan)
                verdict = VERDICT_FAILED;

        if (batch->phase == PHASE_APPLY) {
                if (verdict == VERDICT_OK)
                        node->step = STEP_TO_RECHECK;
                else
                        run_settle(run, state, RESULT_FAILED);
                return;
        }

        switch (verdict) {
        case VERDICT_OK:
                if (batch->phase == PHASE_RECHECK)
                        run_has_made(run, state);
                run_settle(run, state, batch->phase == PHASE_RECHECK ? RESULT_CHANGED : RESULT_OK);
                break;
        case VERDICT_SKIPPED: run_settle(run, state, RESULT_SKIPPED); break;
        case VERDICT_UNKNOWN: run_settle(run, state, RESULT_UNKNOWN); break;
        case VERDICT_BLOCKED:
                run_settle(run, state, plan && node->pending ? RESULT_UNKNOWN : RESULT_BLOCKED);
                break;
        case VERDICT_FAILED:
                run_settle(run, state, plan && node->pending ? RESULT_UNKNOWN : RESULT_FAILED);
                break;
        case VERDICT_DRIFTED:
                /* No other apply is sent once the run was stopped. */
                if (batch->phase == PHASE_RECHECK && (!batch->retry || (run->stopped && !batch->begun))) {
                        RunDetail *detail = run_detail_of(run, state);
                        _cleanup_free_ char *attributes = detail ? join_attributes(detail->left) : NULL;

                        run_set_error(run, state, "still differs after it was applied: %s",
                                attributes && *attributes ? attributes : "no attribute was named");
                        run_settle(run, state, RESULT_FAILED);
                } else if (plan || run_audits(run, state))
                        run_settle(run, state, RESULT_DRIFTED);
                else if (!run_before_change(run, state))
                        node->step = STEP_TO_APPLY;
                break;
        default: break;
        }
}

/* What was read and found right need not be read again; what differs, cannot be read or is changed is forgotten. A state
 * that is as declared and brings no identity keeps what it has: it may be that which has just held. */
static int handle_identity(
        Run *run, const Batch *batch, uint32_t state, Verdict verdict, MessageReader *reader) {
        IdentityTable *table = run->image->identities;
        uint32_t good_for_sec = 0;
        usec_t loop_usec = 0;
        Identity identity;

        if (message_has(reader, sizeof(identity) + sizeof(good_for_sec))) {
                (void) message_get_bytes(reader, &identity, sizeof(identity));
                good_for_sec = message_get_u32(reader);
                if (good_for_sec > IDENTITY_AGE_MAX_SEC)
                        return -EBADMSG;
        }

        if (batch->phase == PHASE_APPLY || verdict == VERDICT_DRIFTED || verdict == VERDICT_FAILED)
                identity_forget(table, state);
        else if (verdict == VERDICT_OK && good_for_sec > 0) {
                /* The same for all results that have come together; rather too early than too late. */
                (void) sd_event_now(run->event, CLOCK_BOOTTIME, &loop_usec);
                identity_remember(table, state, &identity,
                        identity_until(&identity, (uint32_t) (loop_usec / USEC_PER_SEC), good_for_sec));
        }
        return 0;
}

static void add_duration(Node *node, uint64_t duration) {
        duration = MIN(duration, (uint64_t) UINT32_MAX) + node->duration_usec;
        node->duration_usec = (uint32_t) MIN(duration, (uint64_t) UINT32_MAX);
}

static int handle_result(Run *run, Batch *batch, uint32_t state, MessageReader *reader) {
        uint32_t verdict = message_get_u32(reader);
        uint64_t duration = message_get_u64(reader);
        _cleanup_free_ char *error = NULL;
        Node *node = &run->nodes[state];

        if (message_get_optional_string(reader, &error) < 0 || verdict == 0 || verdict >= _VERDICT_MAX)
                return -EBADMSG;
        if (verdict == VERDICT_BLOCKED &&
                (batch->phase != PHASE_CHECK || !image_hook(run->image, state, HOOK_BEFORE_CHECK)))
                return -EBADMSG;
        if (handle_identity(run, batch, state, (Verdict) verdict, reader) < 0)
                return -EBADMSG;

        add_duration(node, duration);
        if (error)
                run_set_error(run, state, "%s", error);
        handle_verdict(run, batch, state, (Verdict) verdict);
        return 0;
}

static int handle_difference(Run *run, Batch *batch, uint32_t state, MessageReader *reader) {
        _cleanup_free_ char *attribute = message_get_string(reader);
        json_t *is = message_get_value(reader), *should = message_get_value(reader);
        json_t *diff = message_get_text_json(reader), *item = NULL;
        RunDetail *detail = run_detail_of(run, state);
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
        RunDetail *detail = run_detail_of(run, state);
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

/* It is told once, or a worker could live for ever on it. */
static int handle_progress(Run *run, const Batch *batch, uint32_t state, MessageReader *reader) {
        Node *node = &run->nodes[state];
        uint64_t duration = message_get_u64(reader);

        if (reader->bad || batch->phase != PHASE_CHECK || node->looked ||
                !image_hook(run->image, state, HOOK_BEFORE_CHECK))
                return -EBADMSG;
        node->looked = true;
        add_duration(node, duration);
        return 0;
}

int run_on_record(void *userdata, Batch *batch, MessageKind kind, MessageReader *reader) {
        Run *run = userdata;
        uint32_t state = message_get_u32(reader);

        if (reader->bad || state >= run->n_states)
                return -EBADMSG;
        if (run->nodes[state].step != STEP_ASKED || run->nodes[state].batch != batch->id)
                return -EBADMSG;

        if (kind == MESSAGE_PROGRESS)
                return handle_progress(run, batch, state, reader);
        if (kind != MESSAGE_RESULT) {
                RunDetail *detail = run_detail_of(run, state);

                if (!detail)
                        return -ENOMEM;
                detail->bytes += reader->end - reader->position;
                batch->bytes += reader->end - reader->position;
                if (detail->bytes > MESSAGE_STATE_BYTES_MAX || batch->bytes > MESSAGE_BATCH_BYTES_MAX)
                        return -EBADMSG;
        }

        switch (kind) {
        case MESSAGE_RESULT: return handle_result(run, batch, state, reader);
        case MESSAGE_DIFFERENCE: return handle_difference(run, batch, state, reader);
        default: return handle_undo(run, state, reader);
        }
}

void run_on_end(void *userdata, Batch *batch) {
        Run *run = userdata;

        run_take_from_flight(run, batch);
        for (uint32_t i = 0; i < batch->n; i++) {
                uint32_t state = batch->states[i];

                if (run->nodes[state].batch == batch->id && run->nodes[state].step == STEP_ASKED) {
                        run_set_error(run, state, "the module said nothing about this state");
                        run_settle(run, state, RESULT_FAILED);
                }
        }
        run_hand_on(run, batch);
        free(batch);
        run_schedule(run);
}
