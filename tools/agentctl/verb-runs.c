/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* runs and run: those that were. */

#include <ctype.h>
#include <time.h>

#include "agentctl.h"
#include "format.h"
#include "json.h"
#include "log.h"
#include "table.h"
#include "terminal.h"

static const TableColumn columns[] = {
        { .heading = "RUN", .right = true, .whole = true },
        { .heading = "MODE", .whole = true },
        { .heading = "CAUSE", .whole = true },
        { .heading = "STARTED", .whole = true },
        { .heading = "TOOK", .right = true, .whole = true },
        { .heading = "RESULT" },
        {},
};

typedef struct List {
        const Invocation *invocation;
        Table *table;
} List;

/* "40 ok, 1 changed" and what else there is to say; to be freed. */
static char *describe(const json_t *run) {
        const json_t *progress = json_object_get(run, "progress");
        const char *error = get_text(run, "error");
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        if (!get_text(run, "started"))
                (void) fputs("waits", f);
        else if (!get_text(run, "finished"))
                (void) fprintf(f, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " states",
                        get_integer(progress, "done"), get_integer(progress, "total"));
        else
                result_text_print_counts(f, json_object_get(run, "summary"), &(OutputStyle){});
        if (error)
                (void) fprintf(f, "; %s", error);
        if (fclose(f) != 0)
                return NULL;
        return text;
}

/* "request", and which variables were given for it; to be freed. */
static char *describe_cause(const json_t *run) {
        const json_t *vars = json_object_get(run, "vars"), *name;
        char *text = NULL;
        size_t size, i;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        (void) fputs(get_text(run, "cause") ?: "", f);
        json_array_foreach((json_t *) vars, i, name) {
                (void) fprintf(f, "%s%s", i == 0 ? " with " : ", ", json_string_value(name) ?: "?");
        }
        if (fclose(f) != 0)
                return NULL;
        return text;
}

/* What stands out in it. */
static const char *colour_of(const json_t *run) {
        const json_t *summary = json_object_get(run, "summary");

        if (get_text(run, "error") || get_integer(summary, "failed") + get_integer(summary, "blocked") > 0)
                return COLOUR_RED;
        if (get_integer(summary, "drifted") > 0)
                return COLOUR_YELLOW;
        if (get_integer(summary, "changed") > 0)
                return COLOUR_GREEN;
        return NULL;
}

static int on_run(void *userdata, json_t *run) {
        List *list = userdata;
        usec_t started = get_time(run, "started"), finished = get_time(run, "finished");
        _cleanup_free_ char *what = NULL, *cause = NULL;

        if (list->invocation->json) {
                print_json(run);
                return 0;
        }
        what = describe(run);
        table_addf(list->table, NULL, "%" JSON_INTEGER_FORMAT, get_integer(run, "run"));
        table_add(list->table, NULL, get_text(run, "mode"));
        cause = describe_cause(run);
        table_add(list->table, NULL, cause);
        table_add(list->table, NULL, FORMAT_TIME(started));
        table_add(list->table, NULL,
                started != 0 && finished != 0 ? FORMAT_SPAN(finished > started ? finished - started : 0)
                                              : NULL);
        table_add(list->table, colour_of(run), what);
        return 0;
}

int verb_runs(Invocation *invocation) {
        List list = { .invocation = invocation };
        int r;

        if (table_new(columns, &list.table) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        r = client_pages(&invocation->client, "/v1/runs", NULL, on_run, &list);
        if (r == 0 && !invocation->json) {
                if (table_n_rows(list.table) > 0) {
                        if (table_print(list.table, stdout, !invocation->quiet, invocation->style.colour,
                                    terminal_width(stdout)) < 0) {
                                (void) log_oom();
                                r = EXIT_STATE_FAILED;
                        }
                } else if (!invocation->quiet)
                        log_notice("There were no runs yet");
        }
        table_free(list.table);
        return r;
}

void print_run_summary(const json_t *run, const OutputStyle *style) {
        const char *error = get_text(run, "error");

        result_text_print_summary(stdout, run, NULL, style);
        if (!error)
                return;
        (void) printf("%sThe run did not go through: ", style->colour ? COLOUR_RED : "");
        output_clean(stdout, error, strlen(error));
        (void) printf("%s\n", style->colour ? COLOUR_OFF : "");
}

static int on_result(void *userdata, json_t *result) {
        const Invocation *invocation = userdata;
        const OutputStyle style = {
                .colour = invocation->style.colour,
                .diff = option_value(invocation, "diff") != NULL,
        };

        if (invocation->json)
                print_json(result);
        else
                result_text_print(stdout, result, NULL, &style);
        return 0;
}

static void print_run(const Invocation *invocation, const json_t *run) {
        const char *started = get_text(run, "started"), *finished = get_text(run, "finished");
        _cleanup_free_ char *what = NULL;

        if (started && finished) {
                print_run_summary(run, &invocation->style);
                return;
        }
        what = describe(run);
        output_clean(stdout, what ?: "?", strlen(what ?: "?"));
        (void) fputc('\n', stdout);
}

static void print_heading(const Invocation *invocation, const json_t *run) {
        _cleanup_free_ char *described = describe_cause(run);
        const char *mode = get_text(run, "mode") ?: "?", *cause = described ?: "?";
        usec_t started = get_time(run, "started");

        (void) printf("%sRun %" JSON_INTEGER_FORMAT " (", invocation->style.colour ? COLOUR_BOLD : "",
                get_integer(run, "run"));
        output_clean(stdout, mode, strlen(mode));
        (void) fputs(", ", stdout);
        output_clean(stdout, cause, strlen(cause));
        (void) printf(")%s", invocation->style.colour ? COLOUR_OFF : "");
        if (started != 0)
                (void) printf(", started %s (%s)", FORMAT_TIME(started),
                        FORMAT_RELATIVE(started, now_usec(CLOCK_REALTIME)));
        (void) fputc('\n', stdout);
}

int verb_run(Invocation *invocation) {
        _cleanup_free_ char *path = NULL, *results = NULL;
        const char *id = invocation->words[0];
        json_t *run = NULL;
        int r;

        for (const char *p = id; *p || p == id; p++)
                if (!isdigit((unsigned char) *p))
                        return usage(invocation->verb, "'%s' is no number of a run, see agentctl runs", id);
        if (asprintf(&path, "/v1/runs/%s", id) < 0 || asprintf(&results, "%s/results", path) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }

        if (option_value(invocation, "stop")) {
                r = client_call(&invocation->client, "DELETE", path, NULL, &run);
                if (r == 0 && invocation->json && run)
                        print_json(run);
                else if (r == 0 && !invocation->quiet)
                        (void) printf("Run %s stops when what is under way has finished.\n", id);
                json_decref(run);
                return r;
        }

        r = client_get(&invocation->client, path, &run);
        if (r != 0)
                return r;
        if (!invocation->json && !invocation->quiet)
                print_heading(invocation, run);
        r = client_pages(&invocation->client, results, NULL, on_result, invocation);
        if (r == 0 && invocation->json)
                print_json(run);
        else if (r == 0)
                print_run(invocation, run);
        json_decref(run);
        return r;
}
