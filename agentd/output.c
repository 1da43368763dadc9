/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <time.h>

#include "log.h"
#include "output.h"
#include "value-json.h"

/* What a line shows of one value. */
#define VALUE_SHOWN_MAX 60

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

json_t *output_result(const Run *run, uint32_t state, bool with_diff) {
        const Image *image = run_image(run);
        const RunDetail *detail = run_detail(run, state);

        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I}", "state", image_state_id(image, state),
                "type", image_state_type(image, state), "name", image_state_name(image, state), "role",
                image_state_role(image, state), "result", result_to_string(run_result(run, state)),
                "differences", differences_to_json(detail, with_diff), "error",
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

#define COLOUR_RED    "\033[31m"
#define COLOUR_GREEN  "\033[32m"
#define COLOUR_YELLOW "\033[33m"
#define COLOUR_BLUE   "\033[34m"
#define COLOUR_GREY   "\033[90m"
#define COLOUR_BOLD   "\033[1m"
#define COLOUR_OFF    "\033[0m"

bool output_wants_colour(FILE *f) {
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return !(no && *no) && isatty(fileno(f)) && !(term && streq(term, "dumb"));
}

static const char *result_colour(Result result) {
        switch (result) {
        case RESULT_CHANGED: return COLOUR_GREEN;
        case RESULT_DRIFTED: return COLOUR_YELLOW;
        case RESULT_UNKNOWN: return COLOUR_BLUE;
        case RESULT_FAILED: return COLOUR_RED;
        case RESULT_BLOCKED: return COLOUR_RED;
        default: return COLOUR_GREY;
        }
}

void output_clean(FILE *f, const char *text, size_t n) {
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char) text[i],
                              next = i + 1 < n ? (unsigned char) text[i + 1] : 0;

                if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
                        (void) fputc('?', f);
                        i++;
                } else
                        (void) fputc((c < ' ' && c != '\t') || c == 0x7f ? '?' : c, f);
        }
}

static const char *paint(const OutputStyle *style, const char *colour) {
        return style->colour ? colour : "";
}

/* A value on one line, cut, with what a terminal might obey made harmless. */
static void print_value(FILE *f, const json_t *value) {
        _cleanup_free_ char *dump = NULL;
        const char *text;
        size_t n = 0, end = 0;

        if (json_is_null(value)) {
                (void) fputs("nothing", f);
                return;
        }
        text = json_is_string(value) ? json_string_value(value)
                                     : (dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY));
        text = text ?: "?";
        while (text[end] && (((unsigned char) text[end] & 0xc0) == 0x80 || ++n <= VALUE_SHOWN_MAX))
                end++;
        output_clean(f, text, end);
        if (text[end])
                (void) fputs("…", f);
}

/* A unified diff, line by line. */
static void print_diff(FILE *f, const char *diff, const OutputStyle *style) {
        for (const char *line = diff, *next; *line; line = next) {
                const char *colour = "";
                size_t n = strcspn(line, "\n");

                next = line + n + (line[n] == '\n');
                if (startswith(line, "+++") || startswith(line, "---"))
                        colour = COLOUR_BOLD;
                else if (*line == '+')
                        colour = COLOUR_GREEN;
                else if (*line == '-')
                        colour = COLOUR_RED;
                else if (*line == '@')
                        colour = COLOUR_BLUE;
                (void) fprintf(f, "    %s", *colour ? paint(style, colour) : "");
                output_clean(f, line, n);
                (void) fprintf(f, "%s\n", *colour ? paint(style, COLOUR_OFF) : "");
        }
}

void output_result_for_people(FILE *f, const Run *run, uint32_t state, const OutputStyle *style) {
        const RunDetail *detail = run_detail(run, state);
        const char *id = image_state_id(run_image(run), state);
        Result result = run_result(run, state);
        json_t *difference;
        size_t i;

        if (!style->verbose && (result == RESULT_OK || result == RESULT_SKIPPED))
                return;

        (void) fprintf(f, "%s%-8s%s ", paint(style, result_colour(result)), result_to_string(result),
                paint(style, COLOUR_OFF));
        output_clean(f, id, strlen(id));
        (void) fputc('\n', f);
        if (!detail)
                return;
        if (result == RESULT_FAILED) {
                const ImageState *declared = image_state(run_image(run), state);

                (void) fprintf(f, "    %s%s:%u:%u%s\n", paint(style, COLOUR_GREY),
                        image_text(run_image(run),
                                image_array(run_image(run), roles, ImageRole)[declared->role].path),
                        declared->line, declared->column, paint(style, COLOUR_OFF));
        }
        if (detail->error) {
                (void) fprintf(f, "    %s", paint(style, COLOUR_RED));
                output_clean(f, detail->error, strlen(detail->error));
                (void) fprintf(f, "%s\n", paint(style, COLOUR_OFF));
        }
        json_array_foreach(detail->differences, i, difference) {
                const char *diff = json_string_value(json_object_get(difference, "diff"));

                (void) fprintf(f, "    %s: ", json_string_value(json_object_get(difference, "attribute")));
                print_value(f, json_object_get(difference, "is"));
                (void) fputs(" → ", f);
                print_value(f, json_object_get(difference, "should"));
                (void) fputc('\n', f);
                if (style->diff && diff)
                        print_diff(f, diff, style);
        }
}

void output_summary_for_people(FILE *f, const Run *run, const OutputStyle *style) {
        uint32_t n = 0;
        bool first = true;

        FOREACH_ELEMENT(result, summary_order)
                n += run_count(run, *result);
        (void) fprintf(f, "%s%u state%s%s:", paint(style, COLOUR_BOLD), n, n == 1 ? "" : "s",
                paint(style, COLOUR_OFF));
        FOREACH_ELEMENT(result, summary_order) {
                uint32_t count = run_count(run, *result);

                if (count == 0 && !(*result == RESULT_OK && n == 0))
                        continue;
                (void) fprintf(f, "%s %s%u %s%s", first ? "" : ",",
                        paint(style, *result == RESULT_OK ? "" : result_colour(*result)), count,
                        result_to_string(*result), *result == RESULT_OK ? "" : paint(style, COLOUR_OFF));
                first = false;
        }
        (void) fprintf(f, " (%s)%s\n",
                FORMAT_TIMESPAN((run_finished(run) ?: now_usec(CLOCK_REALTIME)) - run_started(run)),
                run_is_interrupted(run) ? ", interrupted" : "");
        if (run_is_refused(run))
                (void) fprintf(f, "%sNothing was changed: %s%s\n", paint(style, COLOUR_RED), run_error(run),
                        paint(style, COLOUR_OFF));
}
