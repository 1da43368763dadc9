/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <time.h>

#include "content.h"
#include "log.h"
#include "output.h"
#include "value-json.h"

int output_flush(FILE *f) {
        if (fflush(f) == 0 && !ferror(f))
                return 0;
        return log_error_errno(errno, "Failed to write the output: %m");
}

/* ---- For programs ---------------------------------------------------------------------------------------------- */

static json_t *differences_to_json(const RunDetail *detail, bool with_diff) {
        json_t *copy = json_array(), *difference;
        size_t i;

        if (!detail || !detail->differences)
                return copy;
        json_array_foreach(detail->differences, i, difference) {
                json_t *item = json_copy(difference);

                if (!with_diff)
                        (void) json_object_del(item, "diff");
                (void) json_array_append_new(copy, item);
        }
        return copy;
}

/* Of a sensitive state only where to find it: whatever a worker says, no value of it is to be stored or shown. */
static json_t *sealed_reference(const json_t *old) {
        const char *stored = json_string_value(json_object_get(old, "stored"));
        json_t *reference = NULL;

        if (json_is_null(old))
                return json_null();
        if (json_is_false(json_object_get(old, "kept")))
                reference = json_pack("{s:b}", "kept", false);
        else if (stored && content_name_is_valid(stored) && json_is_true(json_object_get(old, "sealed")))
                reference = json_pack("{s:s, s:b}", "stored", stored, "sealed", true);
        if (!reference)
                return NULL;
        (void) json_object_set_new(
                reference, "size", json_integer(json_integer_value(json_object_get(old, "size"))));
        if (json_is_true(json_object_get(old, "json")))
                (void) json_object_set_new(reference, "json", json_true());
        return reference;
}

static json_t *undo_to_json(const RunDetail *detail, bool sensitive) {
        json_t *copy, *item;
        size_t i;

        if (!detail || !detail->undo)
                return json_array();
        if (!sensitive)
                return json_incref(detail->undo);
        copy = json_array();
        json_array_foreach(detail->undo, i, item) {
                json_t *reference = sealed_reference(json_object_get(item, "old"));

                if (reference)
                        (void) json_array_append_new(
                                copy, json_pack("{s:O, s:o}", "what", json_object_get(item, "what"), "old",
                                              reference));
        }
        return copy;
}

json_t *output_result(const Run *run, uint32_t state, bool with_diff) {
        const Image *image = run_image(run);
        const RunDetail *detail = run_detail(run, state);

        uint32_t flags = image_state(image, state)->flags;
        bool sensitive = flags & IMAGE_STATE_SENSITIVE;

        return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:I}", "state",
                image_state_id(image, state), "type", image_state_type(image, state), "name",
                image_state_name(image, state), "role", image_state_role(image, state), "removal",
                !!(flags & IMAGE_STATE_REMOVAL), "result", result_to_string(run_result(run, state)),
                "differences", differences_to_json(detail, with_diff), "undo",
                undo_to_json(detail, sensitive), "error",
                detail && detail->error ? json_string(detail->error) : json_null(), "duration_usec",
                (json_int_t) run_duration(run, state));
}

static const Result summary_order[] = {
        RESULT_OK,
        RESULT_CHANGED,
        RESULT_DRIFTED,
        RESULT_UNKNOWN,
        RESULT_FAILED,
        RESULT_SKIPPED,
        RESULT_BLOCKED,
};

json_t *output_run(const Run *run) {
        json_t *summary = json_object();

        FOREACH_ELEMENT(result, summary_order)
                (void) json_object_set_new(
                        summary, result_to_string(*result), json_integer(run_count(run, *result)));
        return json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:s?}", "run", (json_int_t) run_options(run)->id,
                "mode", run_mode_to_string(run_options(run)->mode), "cause", run_options(run)->cause,
                "started", json_from_time(run_started(run)), "finished", json_from_time(run_finished(run)),
                "summary", summary, "error", run_error(run));
}

void output_json_line(FILE *f, json_t *json) {
        if (!json)
                return;
        (void) json_dumpf(json, f, JSON_COMPACT);
        (void) fputc('\n', f);
}

/* ---- For people ------------------------------------------------------------------------------------------------ */

/* "FILE:LINE:COLUMN" of a state, allocated; NULL if out of memory. */
static char *place_of(const Run *run, uint32_t state) {
        const Image *image = run_image(run);
        const ImageState *declared = image_state(image, state);
        char *place;

        if (asprintf(&place, "%s:%u:%u",
                    image_text(image, image_array(image, roles, ImageRole)[declared->role].path),
                    declared->line, declared->column) < 0)
                return NULL;
        return place;
}

void output_result_for_people(FILE *f, const Run *run, uint32_t state, const OutputStyle *style) {
        _cleanup_free_ char *place = NULL;
        Result result = run_result(run, state);
        json_t *json;

        /* Most are, so it is worth not to make JSON of them. */
        if (!style->verbose && (result == RESULT_OK || result == RESULT_SKIPPED))
                return;
        if (result == RESULT_FAILED)
                place = place_of(run, state);
        json = output_result(run, state, style->diff);
        result_text_print(f, json, place, style);
        json_decref(json);
}

void output_summary_for_people(FILE *f, const Run *run, const OutputStyle *style) {
        json_t *json = output_run(run);

        result_text_print_summary(f, json, run_is_interrupted(run) ? "interrupted" : NULL, style);
        json_decref(json);
        if (run_is_refused(run))
                (void) fprintf(f, "%sNothing was changed: %s%s\n", style->colour ? COLOUR_RED : "",
                        run_error(run), style->colour ? COLOUR_OFF : "");
}
