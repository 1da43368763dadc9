/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* watch: events as they come, over restarts of agentd. */

#include <ctype.h>
#include <inttypes.h>
#include <time.h>

#include "agentctl.h"
#include "json.h"
#include "log.h"
#include "terminal.h"

/* How long an agentd that went away is waited for, unless AGENTD_TIMEOUT says something else. */
#define RETRY_EVERY_USEC (200 * USEC_PER_MSEC)
#define RETRY_USEC       (10 * USEC_PER_SEC)

typedef struct Kind {
        const char *name, *colour;
        bool failed, changed;
} Kind;

/* Kinds that are not here are shown without colour: agentd may be newer. */
static const Kind kinds[] = {
        { .name = "roles-refused", .colour = COLOUR_RED, .failed = true },
        { .name = "run-interrupted", .colour = COLOUR_RED, .failed = true },
        { .name = "run-refused", .colour = COLOUR_RED, .failed = true },
        { .name = "state-changed", .colour = COLOUR_GREEN, .changed = true },
        { .name = "state-recovered", .colour = COLOUR_GREEN },
        { .name = "state-drifted", .colour = COLOUR_YELLOW },
        { .name = "state-failed", .colour = COLOUR_RED, .failed = true },
        { .name = "state-blocked", .colour = COLOUR_RED, .failed = true },
        { .name = "state-retried", .colour = COLOUR_YELLOW },
        { .name = "hook-failed", .colour = COLOUR_YELLOW, .failed = true },
        { .name = "fight-begun", .colour = COLOUR_YELLOW, .failed = true },
        { .name = "fight-over", .colour = COLOUR_GREEN },
        { .name = "disabled", .colour = COLOUR_YELLOW },
        { .name = "store-reset", .colour = COLOUR_RED, .failed = true },
        { .name = "store-failed", .colour = COLOUR_RED, .failed = true },
};

typedef struct Watch {
        Invocation *invocation;
        bool failed, changed; /* only these */
        bool known;           /* `last` is: where to go on */
        bool heard;           /* an event, since the last connection */
        json_int_t last;
        usec_t since_usec; /* what is older is not shown; 0 */
} Watch;

static void print_event(const Watch *watch, const json_t *event, const Kind *kind) {
        const Invocation *invocation = watch->invocation;
        const char *name = get_text(event, "kind") ?: "?", *message = get_text(event, "message") ?: "?";
        const OutputStyle style = { .colour = invocation->style.colour, .diff = true };
        usec_t usec = get_time(event, "time");
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char text[64] = "-";
        struct tm tm;

        if (usec != 0 && localtime_r(&seconds, &tm))
                (void) strftime(text, sizeof(text), "%b %d %H:%M:%S", &tm);
        (void) printf("%s  %s", text, style.colour && kind ? kind->colour : "");
        output_clean(stdout, name, strlen(name));
        (void) printf("%*s  ", (int) (strlen(name) < 15 ? 15 - strlen(name) : 0), "");
        output_clean(stdout, message, strlen(message));
        (void) printf("%s\n", style.colour && kind ? COLOUR_OFF : "");
        if (kind && kind->changed)
                result_text_print_differences(
                        stdout, json_object_get(json_object_get(event, "data"), "differences"), &style);
}

static int on_event(void *userdata, json_t *event) {
        Watch *watch = userdata;
        const char *name = get_text(event, "kind");
        const Kind *kind = NULL;
        json_int_t id = get_integer(event, "event");

        if (!name || id <= 0)
                return client_nonsense(&watch->invocation->client, "an event without a kind or number");
        watch->heard = true;
        /* Where the list of what was and the stream of what comes overlap. */
        if (watch->known && id <= watch->last && !streq(name, "store-reset"))
                return 0;
        watch->last = id;
        watch->known = true;
        if (get_time(event, "time") < watch->since_usec)
                return 0;

        FOREACH_ELEMENT(k, kinds)
                if (streq(k->name, name))
                        kind = k;
        if ((watch->failed || watch->changed) &&
                !(kind && ((watch->failed && kind->failed) || (watch->changed && kind->changed))))
                return 0;
        progress_hide(&watch->invocation->progress);
        if (watch->invocation->json)
                print_json(event);
        else
                print_event(watch, event, kind);
        return 0;
}

/* First what was, in pages, then what comes. */
static int follow(Watch *watch) {
        static const StreamHandlers handlers = { .on_object = on_event, .signal_fd = -EBADF };
        Client *client = &watch->invocation->client;
        _cleanup_free_ char *path = strdup("/v1/events?follow=true");
        char after[32];
        int r;

        if (watch->known) {
                (void) snprintf(after, sizeof(after), "%" JSON_INTEGER_FORMAT, watch->last);
                r = client_pages(client, "/v1/events", after, on_event, watch);
                if (r != 0)
                        return r;
                (void) fflush(stdout);
                (void) snprintf(after, sizeof(after), "%" JSON_INTEGER_FORMAT, watch->last);
        }
        if (!path || query_add(&path, "after", watch->known ? after : NULL) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        return client_stream(client, "GET", path, NULL, &handlers, watch);
}

int verb_watch(Invocation *invocation) {
        Watch watch = {
                .invocation = invocation,
                .failed = option_value(invocation, "failed") != NULL,
                .changed = option_value(invocation, "changed") != NULL,
        };
        const char *after = option_value(invocation, "after");
        usec_t limit = getenv("AGENTD_TIMEOUT") ? invocation->client.timeout_usec : RETRY_USEC;
        usec_t started = now_usec(CLOCK_REALTIME);
        bool waiting = false, first = true;
        usec_t since = 0;

        if (after) {
                char *end;

                errno = 0;
                watch.last = strtoll(after, &end, 10);
                if (!isdigit((unsigned char) *after) || *end || errno != 0)
                        return usage(invocation->verb, "--after '%s' is no number of an event", after);
                watch.known = true;
        }
        /* Nothing may come for hours: that is no reason to show that we wait. */
        invocation->progress.wanted = false;

        for (;;) {
                usec_t begun = now_usec(CLOCK_MONOTONIC), now;
                int r;

                watch.heard = false;
                invocation->client.silent = !first;
                r = follow(&watch);
                (void) fflush(stdout);
                if (ferror(stdout))
                        return EXIT_STATE_FAILED;
                invocation->client.silent = false;
                if (!invocation->client.lost) {
                        if (!first && r == EXIT_UNREACHABLE)
                                log_error("agentd does not answer as it should any more");
                        return r;
                }
                if (first && !invocation->client.was_stream)
                        return r;
                first = false;
                client_done(&invocation->client);
                /* Nothing came that would say where to go on: what happens meanwhile is found by its time. */
                if (!watch.known) {
                        watch.known = true;
                        watch.since_usec = started;
                }

                /* It was there meanwhile, and not only for a moment. */
                now = now_usec(CLOCK_MONOTONIC);
                if (watch.heard || (invocation->client.was_stream && now - begun >= USEC_PER_SEC))
                        waiting = false;
                if (!waiting) {
                        if (!invocation->quiet)
                                log_notice("agentd went away, waiting…");
                        since = now;
                        waiting = true;
                } else if (now - since >= limit) {
                        log_error("agentd has not come back at '%s' for %s", invocation->client.socket,
                                FORMAT_TIMESPAN(limit));
                        return EXIT_UNREACHABLE;
                }
                (void) usleep(RETRY_EVERY_USEC);
        }
}
