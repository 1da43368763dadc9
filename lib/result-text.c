/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <inttypes.h>
#include <time.h>

#include "result-text.h"
#include "terminal.h"

/* What a line shows of one value. */
#define VALUE_SHOWN_MAX 60
/* What follows it in a value, at its end, are the digits of a hash, of which that many are enough. */
#define HASH_PREFIX "sha256:"
#define HASH_DIGITS 64
#define HASH_SHOWN  12

static const char *const summary_order[] = {
        "ok",
        "changed",
        "drifted",
        "unknown",
        "failed",
        "skipped",
        "blocked",
};

static const char *paint(const OutputStyle *style, const char *colour) {
        return style->colour ? colour : "";
}

const char *result_text_colour(const char *result) {
        static const struct {
                const char *result, *colour;
        } colours[] = {
                { "changed", COLOUR_GREEN },
                { "drifted", COLOUR_YELLOW },
                { "unknown", COLOUR_BLUE },
                { "failed", COLOUR_RED },
                { "blocked", COLOUR_RED },
        };

        FOREACH_ELEMENT(c, colours)
                if (streq(c->result, result))
                        return c->colour;
        return COLOUR_GREY;
}

/* A value on one line, cut, with what a terminal might obey made harmless. */
/* People compare the first digits of a hash, and take what looks like "?" for one: so a line break is "\n". */
static void print_shortened(FILE *f, const char *text, size_t n) {
        const char *hash = memmem(text, n, HASH_PREFIX, strlen(HASH_PREFIX));
        size_t digits = hash ? (size_t) (hash - text) + strlen(HASH_PREFIX) : n;
        bool cut = hash && digits + HASH_SHOWN < n &&
                   strspn(text + digits, "0123456789abcdef") == HASH_DIGITS && !text[digits + HASH_DIGITS];

        if (cut)
                n = digits + HASH_SHOWN;
        for (const char *end = text + n, *next; text < end; text = next) {
                next = memchr(text, '\n', (size_t) (end - text)) ?: end;
                output_clean(f, text, (size_t) (next - text));
                if (next < end) {
                        (void) fputs("\\n", f);
                        next++;
                }
        }
}

static void print_value(FILE *f, const json_t *value) {
        _cleanup_free_ char *dump = NULL;
        const char *text;
        size_t n = 0, end = 0;

        if (!value || json_is_null(value)) {
                (void) fputs("nothing", f);
                return;
        }
        text = json_string_value(value);
        /* With a NUL in it as JSON has it, so that no end is missing. */
        if (!text || strlen(text) != json_string_length(value))
                text = dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        text = !text ? "?" : *text ? text : "\"\"";
        while (text[end] && (((unsigned char) text[end] & 0xc0) == 0x80 || ++n <= VALUE_SHOWN_MAX))
                end++;
        print_shortened(f, text, end);
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

static void print_text(FILE *f, const char *text) {
        output_clean(f, text, strlen(text));
}

static const char *get_text(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

void result_text_print_differences(FILE *f, const json_t *differences, const OutputStyle *style) {
        json_t *difference;
        size_t i;

        json_array_foreach(differences, i, difference) {
                const char *diff = get_text(difference, "diff");

                (void) fputs("    ", f);
                print_text(f, get_text(difference, "attribute") ?: "?");
                (void) fputs(": ", f);
                print_value(f, json_object_get(difference, "is"));
                (void) fputs(" → ", f);
                print_value(f, json_object_get(difference, "should"));
                (void) fputc('\n', f);
                if (style->diff && diff)
                        print_diff(f, diff, style);
        }
}

void result_text_print(FILE *f, const json_t *result, const char *place, const OutputStyle *style) {
        const char *what = get_text(result, "result") ?: "?", *error = get_text(result, "error");

        if (!style->verbose && (streq(what, "ok") || streq(what, "skipped")))
                return;

        (void) fputs(paint(style, result_text_colour(what)), f);
        print_text(f, what);
        (void) fprintf(
                f, "%*s%s ", (int) (strlen(what) < 8 ? 8 - strlen(what) : 0), "", paint(style, COLOUR_OFF));
        print_text(f, get_text(result, "state") ?: "?");
        if (json_is_true(json_object_get(result, "removal")))
                (void) fprintf(f, " (%s: no longer in any role)",
                        streq(what, "changed") || streq(what, "ok") ? "removed" : "to be removed");
        (void) fputc('\n', f);
        if (place && streq(what, "failed")) {
                (void) fprintf(f, "    %s", paint(style, COLOUR_GREY));
                print_text(f, place);
                (void) fprintf(f, "%s\n", paint(style, COLOUR_OFF));
        }
        if (error) {
                (void) fprintf(f, "    %s", paint(style, COLOUR_RED));
                print_text(f, error);
                (void) fprintf(f, "%s\n", paint(style, COLOUR_OFF));
        }
        result_text_print_differences(f, json_object_get(result, "differences"), style);
}

static json_int_t sum_of(const json_t *summary) {
        json_int_t n = 0;

        FOREACH_ELEMENT(result, summary_order)
                n += json_integer_value(json_object_get(summary, *result));
        return n;
}

void result_text_print_counts(FILE *f, const json_t *summary, const OutputStyle *style) {
        json_int_t n = sum_of(summary);
        bool first = true;

        FOREACH_ELEMENT(result, summary_order) {
                json_int_t count = json_integer_value(json_object_get(summary, *result));
                bool ok = streq(*result, "ok");

                if (count == 0 && !(ok && n == 0))
                        continue;
                (void) fprintf(f, "%s%s%" JSON_INTEGER_FORMAT " %s%s", first ? "" : ", ",
                        ok ? "" : paint(style, result_text_colour(*result)), count, *result,
                        ok ? "" : paint(style, COLOUR_OFF));
                first = false;
        }
}

void result_text_print_summary(FILE *f, const json_t *run, const char *note, const OutputStyle *style) {
        const json_t *summary = json_object_get(run, "summary");
        json_int_t n = sum_of(summary);
        usec_t started, finished;

        (void) fprintf(f, "%s%" JSON_INTEGER_FORMAT " state%s%s: ", paint(style, COLOUR_BOLD), n,
                n == 1 ? "" : "s", paint(style, COLOUR_OFF));
        result_text_print_counts(f, summary, style);
        if (result_text_parse_time(get_text(run, "started"), &started) >= 0) {
                if (result_text_parse_time(get_text(run, "finished"), &finished) < 0)
                        finished = now_usec(CLOCK_REALTIME);
                /* The clock may have been set meanwhile. */
                (void) fprintf(f, " (%s)", FORMAT_TIMESPAN(finished > started ? finished - started : 0));
        }
        (void) fprintf(f, "%s%s\n", note ? ", " : "", note ?: "");
}

int result_text_parse_time(const char *text, usec_t *ret) {
        struct tm tm = {};
        usec_t fraction = 0, unit = USEC_PER_SEC / 10;
        const char *p;
        time_t seconds;

        if (!text)
                return -EINVAL;
        p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
        if (!p)
                return -EINVAL;
        if (*p == '.')
                for (p++; isdigit((unsigned char) *p); p++, unit /= 10)
                        fraction += (usec_t) (*p - '0') * unit;
        if (!streq(p, "Z"))
                return -EINVAL;
        seconds = timegm(&tm);
        if (seconds < 0)
                return -EINVAL;
        *ret = (usec_t) seconds * USEC_PER_SEC + fraction;
        return 0;
}
