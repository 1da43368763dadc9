/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <time.h>

#include "format.h"
#include "json.h"
#include "progress.h"
#include "table.h"
#include "terminal.h"

void progress_done(Progress *progress) {
        progress_hide(progress);
        for (size_t i = 0; i < progress->n_running; i++)
                free(progress->running[i].id);
        progress->n_running = 0;
        progress->total = progress->done = 0;
}

void progress_begin(Progress *progress, const char *what) {
        progress_done(progress);
        progress->what = what;
        progress->begun_usec = now_usec(CLOCK_MONOTONIC);
}

static usec_t running_since(const Progress *progress, const char *id, usec_t now) {
        for (size_t i = 0; i < progress->n_running; i++)
                if (streq(progress->running[i].id, id))
                        return progress->running[i].since_usec;
        return now;
}

void progress_update(Progress *progress, const json_t *object) {
        usec_t now = now_usec(CLOCK_MONOTONIC);
        ProgressState fresh[PROGRESS_SHOWN_MAX];
        size_t n = 0, i;
        json_t *state;

        progress->done = get_integer(object, "done");
        progress->total = get_integer(object, "total");

        json_array_foreach(json_object_get(object, "running"), i, state) {
                const char *id = json_string_value(state);
                char *copy;

                if (!id || n == ELEMENTSOF(fresh))
                        continue;
                copy = strdup(id);
                if (copy)
                        fresh[n++] = (ProgressState){ .id = copy,
                                .since_usec = running_since(progress, id, now) };
        }
        for (i = 0; i < progress->n_running; i++)
                free(progress->running[i].id);
        memcpy(progress->running, fresh, n * sizeof(*fresh));
        progress->n_running = n;
}

char *progress_text(const Progress *progress, usec_t now, size_t width) {
        _cleanup_free_ char *line = NULL;
        char *text = NULL;
        size_t size, fit;
        FILE *f = open_memstream(&line, &size);

        if (!f)
                return NULL;
        if (progress->total > 0)
                (void) fprintf(f, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " states",
                        progress->done, progress->total);
        else
                (void) fprintf(f, "%s (%" PRIu64 "s)", progress->what ?: "",
                        (now > progress->begun_usec ? now - progress->begun_usec : 0) / USEC_PER_SEC);
        for (size_t i = 0; i < progress->n_running; i++) {
                usec_t since = progress->running[i].since_usec, span = now > since ? now - since : 0;

                (void) fputs(i == 0 ? " · " : ", ", f);
                output_clean(f, progress->running[i].id, strlen(progress->running[i].id));
                if (span >= USEC_PER_SEC)
                        (void) fprintf(f, " (%s)", FORMAT_SPAN(span / USEC_PER_SEC * USEC_PER_SEC));
        }
        if (fclose(f) != 0)
                return NULL;

        if (text_width(line) <= width)
                return TAKE_PTR(line);
        fit = text_fit(line, width - 1);
        if (asprintf(&text, "%.*s…", (int) fit, line) < 0)
                return NULL;
        return text;
}

void progress_tick(Progress *progress) {
        _cleanup_free_ char *text = NULL;
        usec_t now;

        if (!progress->wanted)
                return;
        now = now_usec(CLOCK_MONOTONIC);
        if (now < progress->begun_usec + PROGRESS_AFTER_USEC ||
                now < progress->drawn_usec + PROGRESS_EVERY_USEC)
                return;
        /* A full line would make the terminal go on to the next. */
        text = progress_text(progress, now, terminal_width(stderr) - 1);
        if (!text)
                return;
        (void) fprintf(stderr, "\r\033[K%s", text);
        progress->shown = true;
        progress->drawn_usec = now;
}

void progress_hide(Progress *progress) {
        if (!progress->shown)
                return;
        (void) fputs("\r\033[K", stderr);
        progress->shown = false;
        progress->drawn_usec = 0;
}
