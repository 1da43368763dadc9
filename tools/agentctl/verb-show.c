/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "agentctl.h"
#include "format.h"
#include "json.h"
#include "log.h"
#include "table.h"
#include "terminal.h"

static const TableColumn history_columns[] = {
        { .heading = "TIME", .whole = true },
        { .heading = "RUN", .right = true, .whole = true },
        { .heading = "RESULT", .whole = true },
        { .heading = "WHAT" },
        {},
};

static void print_text(const char *text) {
        output_clean(stdout, text, strlen(text));
}

/* "": what goes on is of the key above. */
static void print_key(const char *key) {
        (void) printf("%12s%c ", key, *key ? ':' : ' ');
}

static void print_list(const char *key, const json_t *list) {
        json_t *item;
        size_t i;

        json_array_foreach(list, i, item) {
                print_key(i == 0 ? key : "");
                print_text(json_string_value(item) ?: "?");
                (void) fputc('\n', stdout);
        }
}

static void print_watches(const json_t *watches) {
        json_t *watch;
        size_t i;

        json_array_foreach(watches, i, watch) {
                print_key(i == 0 ? "About" : "");
                print_text(get_text(watch, "kind") ?: "?");
                (void) fputc(' ', stdout);
                print_text(get_text(watch, "what") ?: "?");
                (void) fputc('\n', stdout);
        }
}

static void print_flags(const json_t *state) {
        static const char *const flags[] = { "audit", "sensitive", "check_as_root", "removal" };
        bool any = false;

        FOREACH_ELEMENT(flag, flags) {
                if (!json_is_true(json_object_get(state, *flag)))
                        continue;
                if (!any)
                        print_key("Settings");
                (void) printf("%s%s", any ? ", " : "", *flag);
                any = true;
        }
        if (json_is_false(json_object_get(state, "watch"))) {
                if (!any)
                        print_key("Settings");
                (void) printf("%swatch = false", any ? ", " : "");
                any = true;
        }
        if (any)
                (void) fputc('\n', stdout);
}

/* When it is looked at, and tried again, beyond what all states are. */
static void print_times(const json_t *state) {
        json_int_t timeout = get_integer(state, "timeout_usec"),
                   interval = get_integer(state, "interval_usec"), retries = get_integer(state, "retries");

        if (timeout > 0) {
                print_key("Timeout");
                (void) printf("%s\n", FORMAT_SPAN((usec_t) timeout));
        }
        if (interval > 0) {
                print_key("Interval");
                (void) printf("%s\n", FORMAT_SPAN((usec_t) interval));
        }
        if (retries > 0) {
                print_key("Retries");
                (void) printf("%" JSON_INTEGER_FORMAT ", each after %s\n", retries,
                        FORMAT_SPAN((usec_t) MAX(get_integer(state, "retry_delay_usec"), 0)));
        }
}

/* A command as it stands in a role; of a sensitive state there is none. */
static void print_hooks(const json_t *hooks) {
        json_t *hook;
        size_t i;

        json_array_foreach(hooks, i, hook) {
                json_t *command = json_object_get(hook, "command");
                _cleanup_free_ char *text = json_is_array(command) ? json_dumps(command, 0) : NULL;

                print_key(i == 0 ? "Hooks" : "");
                print_text(get_text(hook, "hook") ?: "?");
                (void) fputc(' ', stdout);
                print_text(text ?: "<sensitive>");
                (void) fputc('\n', stdout);
        }
}

static void print_tags(const json_t *tags) {
        json_t *tag;
        size_t i;

        if (json_array_size(tags) == 0)
                return;
        print_key("Tags");
        json_array_foreach(tags, i, tag) {
                (void) fputs(i > 0 ? ", " : "", stdout);
                print_text(json_string_value(tag) ?: "?");
        }
        (void) fputc('\n', stdout);
}

/* What it has still to do, and since what has changed. */
static void print_owed(const json_t *state) {
        const json_t *owed = json_object_get(state, "owed");
        const char *because = get_text(state, "owed_because");
        json_t *item;
        size_t i;

        if (json_array_size(owed) == 0)
                return;
        print_key("Due");
        json_array_foreach(owed, i, item) {
                (void) fputs(i > 0 ? ", " : "", stdout);
                print_text(json_string_value(item) ?: "?");
        }
        if (because) {
                (void) fputs(", since ", stdout);
                print_text(because);
                (void) fputs(" has changed", stdout);
        }
        (void) fputc('\n', stdout);
}

/* "mode, owner", or the error. */
static char *describe(const json_t *entry) {
        const char *error = get_text(entry, "error");
        json_t *difference;
        char *text = NULL;
        size_t size, i;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        json_array_foreach(json_object_get(entry, "differences"), i, difference)(void)
                fprintf(f, "%s%s", i == 0 ? "" : ", ", get_text(difference, "attribute") ?: "?");
        if (error)
                (void) fprintf(f, "%s%s", i > 0 ? ": " : "", error);
        if (fclose(f) != 0)
                return NULL;
        return text;
}

/* Where the last old content is. */
static void print_contents(const json_t *history) {
        json_t *entry, *undo;
        size_t i, k;

        json_array_foreach(history, i, entry) {
                bool any = false;

                json_array_foreach(json_object_get(entry, "undo"), k, undo) {
                        const json_t *old = json_object_get(undo, "old");
                        const char *stored = get_text(old, "stored"), *what = get_text(undo, "what");

                        if (!stored)
                                continue;
                        if (!any)
                                (void) printf("\nBefore run %" JSON_INTEGER_FORMAT ":\n",
                                        get_integer(entry, "run"));
                        any = true;
                        (void) fputs("  ", stdout);
                        print_text(what ?: "?");
                        (void) fputs(": agentctl content ", stdout);
                        print_text(stored);
                        (void) fputc('\n', stdout);
                }
                if (any)
                        return;
        }
}

static int print_history(const Invocation *invocation, const json_t *history) {
        _cleanup_(table_freep) Table *table = NULL;
        json_t *entry;
        size_t i;

        if (json_array_size(history) == 0)
                return 0;
        if (table_new(history_columns, &table) < 0)
                return -ENOMEM;
        json_array_foreach(history, i, entry) {
                const char *result = get_text(entry, "result");
                _cleanup_free_ char *what = describe(entry);

                table_add(table, NULL, FORMAT_TIME(get_time(entry, "time")));
                table_addf(table, NULL, "%" JSON_INTEGER_FORMAT, get_integer(entry, "run"));
                table_add(table, result_text_colour(result ?: ""), result);
                table_add(table, NULL, what);
        }
        (void) fputc('\n', stdout);
        return table_print(
                table, stdout, !invocation->quiet, invocation->style.colour, terminal_width(stdout));
}

static int print_state(const Invocation *invocation, const json_t *state) {
        const char *result = get_text(state, "result"), *error = get_text(state, "error");
        const json_t *history = json_object_get(state, "history");
        const OutputStyle style = { .colour = invocation->style.colour, .diff = true };
        const char *on = style.colour ? result_text_colour(result ?: "") : "",
                   *off = style.colour ? COLOUR_OFF : "";
        usec_t now = now_usec(CLOCK_REALTIME), since = get_time(state, "since");
        const json_t *last = json_array_get(history, 0);

        (void) printf("%s●%s %s", on, off, style.colour ? COLOUR_BOLD : "");
        print_text(get_text(state, "state") ?: "?");
        (void) printf("%s\n", off);
        print_key("Role");
        print_text(get_text(state, "role") ?: "?");
        if (get_text(state, "file")) {
                (void) fputs(" (", stdout);
                print_text(get_text(state, "file"));
                (void) printf(":%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT ")",
                        get_integer(state, "line"), get_integer(state, "column"));
        }
        (void) fputc('\n', stdout);
        print_key("Result");
        if (result) {
                (void) fputs(on, stdout);
                print_text(result);
                (void) printf("%s since %s; %s\n", off, FORMAT_TIME(since), FORMAT_RELATIVE(since, now));
        } else
                (void) printf("not looked at yet\n");
        if (error) {
                print_key("Error");
                (void) fputs(style.colour ? COLOUR_RED : "", stdout);
                print_text(error);
                (void) printf("%s\n", off);
        }
        print_owed(state);
        print_key("Checked");
        (void) printf("%s\n", FORMAT_RELATIVE(get_time(state, "checked"), now));
        print_key("Changed");
        (void) printf("%s\n", FORMAT_RELATIVE(get_time(state, "changed"), now));
        print_times(state);
        print_flags(state);
        print_tags(json_object_get(state, "tags"));
        print_list("Requires", json_object_get(state, "requires"));
        print_list("Required by", json_object_get(state, "required_by"));
        print_list("Check on", json_object_get(state, "check_on"));
        print_list("Reload on", json_object_get(state, "reload_on"));
        print_list("Restart on", json_object_get(state, "restart_on"));
        print_hooks(json_object_get(state, "hooks"));
        print_watches(json_object_get(state, "watches"));
        if (json_array_size(json_object_get(last, "differences")) > 0) {
                (void) printf("\nLast differences (run %" JSON_INTEGER_FORMAT ", %s):\n",
                        get_integer(last, "run"), FORMAT_RELATIVE(get_time(last, "time"), now));
                result_text_print_differences(stdout, json_object_get(last, "differences"), &style);
        }
        print_contents(history);
        return print_history(invocation, history);
}

int verb_show(Invocation *invocation) {
        _cleanup_free_ char *path = path_with("/v1/states/", invocation->words[0]);
        json_t *state = NULL;
        int r;

        if (!path) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        r = client_get(&invocation->client, path, &state);
        if (r != 0)
                return r;
        if (invocation->json)
                print_json(state);
        else if (print_state(invocation, state) < 0) {
                (void) log_oom();
                r = EXIT_STATE_FAILED;
        }
        json_decref(state);
        return r;
}
