/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* plan and apply: a run that is followed until it is over. */

#include <signal.h>
#include <sys/signalfd.h>

#include "agentctl.h"
#include "json.h"
#include "log.h"

/* Of so many failed states the place in the role is looked up, and for so long. */
#define PLACES_MAX          50
#define PLACES_TIMEOUT_USEC (2 * USEC_PER_SEC)

typedef struct Follow {
        Invocation *invocation;
        OutputStyle style;
        Client control; /* for what is asked while the stream is open */
        int signal_fd;
        json_int_t run;    /* 0: not known yet */
        json_t *end;       /* the run, when it is over */
        json_t *differing; /* ids of states that would be changed, if they are not only audited */
        unsigned n_places, n_signals;
        bool stop_sent;
        bool asked, load_errors; /* whether the roles on disk have errors */
} Follow;

/* ---- Ctrl-C ---------------------------------------------------------------------------------------------------- */

/* The run is to stop, and we know its number. */
static void send_stop(Follow *follow) {
        _cleanup_free_ char *path = NULL;

        if (follow->n_signals == 0 || follow->stop_sent || follow->run == 0)
                return;
        follow->stop_sent = true;
        if (asprintf(&path, "/v1/runs/%" JSON_INTEGER_FORMAT, follow->run) < 0) {
                path = NULL;
                (void) log_oom();
                return;
        }
        (void) client_call(&follow->control, "DELETE", path, NULL, NULL);
}

static int on_signal(void *userdata) {
        Follow *follow = userdata;
        struct signalfd_siginfo info;
        sigset_t mask;

        if (read(follow->signal_fd, &info, sizeof(info)) < 0)
                return 0;
        progress_hide(&follow->invocation->progress);
        if (follow->n_signals++ == 0) {
                log_notice(
                        "Stopping the run, which goes on until what is under way has finished; once more to "
                        "leave");
                send_stop(follow);
                return 0;
        }

        /* As if nothing had been set up. */
        (void) fflush(stdout);
        (void) signal(SIGINT, SIG_DFL);
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) raise(SIGINT);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
        return 128 + SIGINT;
}

static int take_signals(Follow *follow) {
        sigset_t mask;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        follow->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        return follow->signal_fd < 0 ? -errno : 0;
}

/* Nothing more is to be stopped: Ctrl-C ends agentctl again. */
static void leave_signals(Follow *follow) {
        sigset_t mask;

        follow->signal_fd = safe_close(follow->signal_fd);
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
}

/* ---- What comes ------------------------------------------------------------------------------------------------ */

/* "FILE:LINE:COLUMN" of a state; NULL if it cannot be had. A result does not say it. */
static char *find_place(Follow *follow, const char *id) {
        _cleanup_free_ char *path = path_with("/v1/states/", id);
        const char *file;
        json_t *state = NULL;
        char *place = NULL;

        if (!path || follow->n_places >= PLACES_MAX)
                return NULL;
        follow->n_places++;
        follow->control.silent = true;
        /* What is to be removed is in no role any more. */
        if (client_get(&follow->control, path, &state) == 0 && (file = get_text(state, "file")) && *file &&
                asprintf(&place, "%s:%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT, file,
                        get_integer(state, "line"), get_integer(state, "column")) < 0)
                place = NULL;
        /* One that hangs is enough. */
        if (!state)
                follow->n_places = PLACES_MAX;
        follow->control.silent = false;
        json_decref(state);
        return place;
}

static int on_result(Follow *follow, json_t *object) {
        const Invocation *invocation = follow->invocation;
        const char *result = get_text(object, "result"), *id = get_text(object, "state");
        _cleanup_free_ char *place = NULL;
        bool failed;

        if (!result || !id)
                return client_nonsense(&follow->invocation->client, "a result without a state");
        if (streq(result, "drifted") || streq(result, "unknown"))
                (void) json_array_append_new(follow->differing, json_string(id));
        progress_hide(&follow->invocation->progress);
        if (invocation->json) {
                /* As agentd --once has it; `run ID --json` tells it. */
                (void) json_object_del(object, "undo");
                print_json(object);
                return 0;
        }
        failed = streq(result, "failed");
        if (invocation->quiet && !failed && !streq(result, "blocked"))
                return 0;
        if (failed)
                place = find_place(follow, id);
        result_text_print(stdout, object, place, &follow->style);
        return 0;
}

/* What is wrong with the roles on disk, which the run does not know. Asked when it has begun: what was dropped just now is
 * loaded first. Return: 0; or the exit status. */
static int tell_load_errors(Follow *follow) {
        Invocation *invocation = follow->invocation;
        json_t *status = NULL, *errors;
        usec_t timeout = follow->control.timeout_usec;
        int r;

        if (follow->asked)
                return 0;
        follow->asked = true;
        follow->control.timeout_usec = invocation->client.timeout_usec;
        r = client_get(&follow->control, "/v1/status", &status);
        follow->control.timeout_usec = timeout;
        if (r != 0)
                return r;
        errors = json_object_get(json_object_get(status, "roles"), "errors");
        follow->load_errors = json_array_size(errors) > 0;
        if (follow->load_errors) {
                progress_hide(&invocation->progress);
                print_diagnostics(stderr, errors);
                if (get_text(json_object_get(status, "roles"), "loaded") && !invocation->quiet)
                        log_warning(
                                "The roles have errors; those that were loaded before are still in force");
        }
        json_decref(status);
        return 0;
}

static int on_object(void *userdata, json_t *object) {
        Follow *follow = userdata;
        const json_t *progress = json_object_get(object, "progress");
        int r;

        r = tell_load_errors(follow);
        if (r != 0)
                return r;
        if (follow->end)
                return client_nonsense(&follow->invocation->client, "it goes on after the end of the run");
        if (json_is_array(json_object_get(object, "warnings"))) {
                progress_hide(&follow->invocation->progress);
                if (!follow->invocation->quiet)
                        print_warnings(stderr, json_object_get(object, "warnings"));
                return 0;
        }
        if (json_is_object(progress) && !json_object_get(object, "run")) {
                follow->run = get_integer(progress, "run");
                progress_update(&follow->invocation->progress, progress);
                send_stop(follow);
                return 0;
        }
        if (json_is_object(json_object_get(object, "summary"))) {
                follow->end = json_incref(object);
                return 0;
        }
        return on_result(follow, object);
}

/* ---- The run --------------------------------------------------------------------------------------------------- */

/* What was given for an option that may be there more than once; NULL: nothing was. */
static json_t *list_of(const Invocation *invocation, const char *option) {
        json_t *list = option_value(invocation, option) ? json_array() : NULL;
        const char *value;
        size_t position = 0;

        while ((value = option_next(invocation, option, &position)))
                (void) json_array_append_new(list, json_string(value));
        return list;
}

static json_t *request_of(const Invocation *invocation, bool plan) {
        json_t *states = invocation->n_words > 0 ? json_array() : NULL; /* none given: all */

        for (size_t i = 0; i < invocation->n_words; i++)
                (void) json_array_append_new(states, json_string(invocation->words[i]));
        /* Progress also where it is not shown: it says which run this is, and Ctrl-C needs that. */
        return json_pack("{s:s, s:o*, s:o*, s:b, s:b, s:b, s:o*}", "mode", plan ? "plan" : "apply", "states",
                states, "tags", list_of(invocation, "tag"), "only_failed",
                option_value(invocation, "only-failed") != NULL, "diff",
                option_value(invocation, "diff") != NULL, "progress", 1, "vars", list_of(invocation, "var"));
}

/* Whether any of the states that differ would be changed, and is not only audited. */
static int is_pending(Follow *follow, bool *ret) {
        json_t *id;
        size_t i;

        *ret = false;
        json_array_foreach(follow->differing, i, id) {
                _cleanup_free_ char *path = path_with("/v1/states/", json_string_value(id));
                json_t *state = NULL;
                unsigned status = 0;
                int r;

                if (!path) {
                        (void) log_oom();
                        return EXIT_STATE_FAILED;
                }
                r = client_request(&follow->control, "GET", path, NULL, &status, &state);
                if (r != 0)
                        return r;
                /* The roles may have changed meanwhile; the plan has said that it differs. */
                *ret = status != 200 || !json_is_true(json_object_get(state, "audit"));
                json_decref(state);
                if (*ret)
                        return 0;
        }
        return 0;
}

/* The run is over. */
static int conclude(Follow *follow) {
        Invocation *invocation = follow->invocation;
        const json_t *summary = json_object_get(follow->end, "summary");
        bool pending;
        int r;

        if (invocation->json)
                print_json(follow->end);
        else if (!invocation->quiet)
                print_run_summary(follow->end, &follow->style);
        else if (get_text(follow->end, "error"))
                log_error("%s", get_text(follow->end, "error"));
        (void) fflush(stdout);

        if (get_integer(summary, "failed") + get_integer(summary, "blocked") > 0 ||
                !json_is_null(json_object_get(follow->end, "error")))
                return EXIT_STATE_FAILED;
        if (follow->load_errors)
                return EXIT_INVALID;
        if (option_value(invocation, "check")) {
                r = is_pending(follow, &pending);
                if (r != 0)
                        return r;
                return pending ? EXIT_PENDING : EXIT_FINE;
        }
        return EXIT_FINE;
}

static int follow_run(Follow *follow, bool plan) {
        Invocation *invocation = follow->invocation;
        StreamHandlers handlers = { .on_object = on_object, .on_signal = on_signal };
        json_t *body, *status = NULL;
        int r;

        /* An agentd that hangs is told now, and left by Ctrl-C. */
        r = client_get(&invocation->client, "/v1/status", &status);
        json_decref(status);
        if (r != 0)
                return r;
        r = take_signals(follow);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to wait for signals: %m");
                return EXIT_STATE_FAILED;
        }
        handlers.signal_fd = follow->signal_fd;
        /* Roles that were dropped just now are loaded before it begins. */
        if (!getenv("AGENTD_TIMEOUT"))
                invocation->client.timeout_usec = CLIENT_LOAD_TIMEOUT_USEC;
        body = request_of(invocation, plan);
        progress_begin(&invocation->progress, "Waiting for the run");
        r = client_stream(&invocation->client, "POST", "/v1/runs?follow=true", body, &handlers, follow);
        json_decref(body);
        progress_done(&invocation->progress);
        leave_signals(follow);

        /* How it ends does not matter once the end was said. */
        if (follow->end && (r == 0 || r == CLIENT_BROKEN))
                return conclude(follow);
        if (r == 0 || r == CLIENT_BROKEN) {
                (void) fflush(stdout);
                log_error(
                        "agentd broke off before the run was over; see agentctl runs for what became of it");
                return EXIT_UNREACHABLE;
        }
        /* Nothing may be loaded since there are errors. */
        if (invocation->client.problem != 503 || tell_load_errors(follow) != 0)
                return r;
        return follow->load_errors ? EXIT_INVALID : r;
}

static int run(Invocation *invocation, bool plan) {
        Follow follow = {
                .invocation = invocation,
                .style = {
                        .colour = invocation->style.colour,
                        .diff = option_value(invocation, "diff") != NULL,
                        .verbose = option_value(invocation, "verbose") != NULL,
                },
                .control = {
                        .socket = invocation->client.socket,
                        .timeout_usec = MIN(invocation->client.timeout_usec, PLACES_TIMEOUT_USEC),
                },
                .signal_fd = -EBADF,
        };
        size_t position = 0;
        int r;

        for (size_t i = 0; i < invocation->n_words; i++)
                if (!utf8_is_valid(invocation->words[i], strlen(invocation->words[i])))
                        return usage(invocation->verb, "The name of a state is not UTF-8");
        for (const char *var; (var = option_next(invocation, "var", &position));) {
                if (!strchr(var, '=') || var[0] == '=')
                        return usage(invocation->verb, "--var '%s' is not NAME=VALUE", var);
                if (!utf8_is_valid(var, strlen(var)))
                        return usage(invocation->verb, "--var: it is not UTF-8");
        }
        position = 0;
        for (const char *tag; (tag = option_next(invocation, "tag", &position));)
                if (!*tag || !utf8_is_valid(tag, strlen(tag)))
                        return usage(invocation->verb, *tag ? "--tag: it is not UTF-8" : "--tag is empty");
        follow.differing = json_array();
        r = follow_run(&follow, plan);

        client_done(&follow.control);
        json_decref(follow.end);
        json_decref(follow.differing);
        return r;
}

int verb_plan(Invocation *invocation) {
        return run(invocation, true);
}

int verb_apply(Invocation *invocation) {
        return run(invocation, false);
}
