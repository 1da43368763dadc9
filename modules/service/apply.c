/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Brings units in order, all of a batch together: first files (masks, links), then systemd reads its units anew if it has to,
 * then what is to stop is stopped and what is to run is started or restarted, then it is waited for health.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apply.h"

#define USEC_PER_SEC UINT64_C(1000000)

/* What is left of a state's time to say why it was too little. */
#define MARGIN_USEC (2 * USEC_PER_SEC)

/* Each time the connection breaks in the middle, what is then not as it should be is begun once more. */
#define ATTEMPTS 3

/* systemd starts it again by itself (Restart=): how often we look whether it has succeeded. */
#define LOOK_USEC (200 * UINT64_C(1000))

/* How long it may take until there is a connection again. */
#define RECONNECT_USEC (10 * USEC_PER_SEC)

static uint64_t clock_usec(clockid_t clock) {
        struct timespec t;

        (void) clock_gettime(clock, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

static void sleep_until(uint64_t usec) {
        struct timespec t = { .tv_sec = (time_t) (usec / USEC_PER_SEC),
                .tv_nsec = (long) (usec % USEC_PER_SEC * 1000) };

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
                ;
}

void apply_done(Apply *a, Item *item) {
        if (!item->over)
                agentd_done(a->context, (size_t) (item - a->items));
        item->over = true;
}

static void set_deadline(Apply *a) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC), end = UINT64_MAX;

        /* Those of a batch have the same timeout, which begins anew when one of them is finished. */
        for (Item *item = a->items; item < a->items + a->n && end == UINT64_MAX; item++)
                if (!item->over)
                        end = agentd_deadline(a->context, (size_t) (item - a->items));
        a->deadline_usec = end == UINT64_MAX             ? UINT64_MAX
                           : end > now + 2 * MARGIN_USEC ? end - MARGIN_USEC
                                                         : now + (end > now ? (end - now) / 2 : 0);
}

static void fail_all(Apply *a, const char *what, int r) {
        for (Item *item = a->items; item < a->items + a->n; item++)
                apply_fail(a, item, "%s: %s", what, *a->units->error ? a->units->error : strerror(-r));
}

/* ---- Jobs ------------------------------------------------------------------------------------------------------ */

static bool is_up(const UnitStatus *status) {
        return status->active == UNIT_ACTIVE || status->active == UNIT_RELOADING;
}

/* In between two starts by systemd itself. */
static bool is_restarting(const UnitStatus *status) {
        return status->active == UNIT_ACTIVATING && strcmp(status->sub, "auto-restart") == 0;
}

/* Which job brings it there. Return: false: none. */
static bool decide_job(const Item *item, UnitMethod *ret) {
        bool restart = item->state->flags & AGENTD_STATE_RESTART ||
                       (item->outdated && item->service->on_change == ON_CHANGE_RESTART),
             reload = item->state->flags & AGENTD_STATE_RELOAD ||
                      (item->outdated && item->service->on_change == ON_CHANGE_RELOAD);
        bool up = is_up(&item->status);

        if (item->restarted)
                restart = reload = false;
        switch (item->service->running) {
        case YES:
                if (is_restarting(&item->status)) {
                        /* It is left to systemd, unless what it fails by may be repaired: to be started at once it has to be restarted. */
                        *ret = UNIT_RESTART;
                        return restart || reload;
                }
                *ret = up && restart ? UNIT_RESTART : up && reload ? UNIT_RELOAD_OR_RESTART : UNIT_START;
                return !up || restart || reload;
        case NO:
                *ret = UNIT_STOP;
                return item->status.active != UNIT_INACTIVE && item->status.active != UNIT_FAILED;
        default: *ret = restart ? UNIT_TRY_RESTART : UNIT_RELOAD_OR_TRY_RESTART; return restart || reload;
        }
}

static int look(Apply *a) {
        const char **names = calloc(a->n, sizeof(*names));
        UnitStatus *status = calloc(a->n, sizeof(*status));
        size_t n = 0, k = 0;
        int r = -ENOMEM;

        if (names && status) {
                for (Item *item = a->items; item < a->items + a->n; item++)
                        if (!item->over && !item->service->is_template)
                                names[n++] = item->service->unit;
                r = units_list(a->units, names, n, status);
                for (Item *item = a->items; r >= 0 && item < a->items + a->n; item++)
                        if (!item->over && !item->service->is_template)
                                item->status = status[k++];
        }
        free(names);
        free(status);
        return r;
}

static const uid_t *uid_of(const Apply *a) {
        return a->manager->user ? &a->manager->uid : NULL;
}

static const char *id_of(const Item *item) {
        return *item->status.id ? item->status.id : item->service->unit;
}

static char *explain(Apply *a, const Item *item, const char *begin, uint64_t since_usec, unsigned flags) {
        service_explain_in_time(a->context, (size_t) (item - a->items));
        return service_explain(a->units, id_of(item), uid_of(a), begin, since_usec, flags);
}

static char *explain_job(Apply *a, const Item *item, const char *begin) {
        const UnitJob *job = item->job;

        service_explain_in_time(a->context, (size_t) (item - a->items));
        switch (job->result) {
        case JOB_REFUSED:
                return service_explain_refusal(id_of(item), uid_of(a), begin, item->begun_usec, true);
        case JOB_DEPENDENCY:
                return service_explain_dependency(a->units, id_of(item), uid_of(a), begin, item->begun_usec);
        default:
                return explain(a, item, begin, item->begun_usec,
                        (job->method == UNIT_STOP ? EXPLAIN_STOP : 0) |
                                (job->result == JOB_LATE ? EXPLAIN_LATE : 0));
        }
}

/* There is more about it in the journal than in the error. */
static bool is_bad_unit(const UnitJob *job) {
        static const char *const names[] = { "TransactionOrderIsCyclic", "BadUnitSetting", "LoadFailed" };
        const char *dot = strrchr(job->error_name, '.');

        for (size_t i = 0; dot && i < sizeof(names) / sizeof(names[0]); i++)
                if (strcmp(dot + 1, names[i]) == 0)
                        return true;
        return false;
}

static void fail_job(Apply *a, Item *item) {
        static const char *const begins[] = {
                [UNIT_START] = "it did not start",
                [UNIT_STOP] = "it did not stop",
                [UNIT_RESTART] = "it did not restart",
                [UNIT_TRY_RESTART] = "it did not restart",
                [UNIT_RELOAD_OR_RESTART] = "it did not reload",
                [UNIT_RELOAD_OR_TRY_RESTART] = "it did not reload",
        };
        const UnitJob *job = item->job;
        char begin[400];
        char *text;

        switch (job->result) {
        case JOB_REFUSED:
                (void) snprintf(begin, sizeof(begin), "systemd refuses to %s it: %s",
                        job->method == UNIT_STOP                                         ? "stop"
                        : job->method == UNIT_START                                      ? "start"
                        : job->method == UNIT_RESTART || job->method == UNIT_TRY_RESTART ? "restart"
                                                                                         : "reload",
                        job->error);
                if (is_bad_unit(job))
                        break;
                apply_fail(a, item, "%s", begin);
                return;
        case JOB_DEPENDENCY: (void) snprintf(begin, sizeof(begin), "%s", begins[job->method]); break;
        case JOB_CANCELED:
                (void) snprintf(begin, sizeof(begin),
                        "%s, since systemd was then asked for something else, by somebody or by a unit that "
                        "it conflicts with (Conflicts=)",
                        begins[job->method]);
                break;
        case JOB_TIMEOUT:
        case JOB_LATE:
                (void) snprintf(begin, sizeof(begin), "%s in time%s%s%s%s", begins[job->method],
                        job->result == JOB_LATE ? ", so the job was cancelled" : "",
                        *job->waited_for ? ": it has to wait for '" : "", job->waited_for,
                        *job->waited_for ? "', which is not over" : "");
                break;
        case JOB_LOST:
                (void) snprintf(begin, sizeof(begin),
                        "%s, as far as can be told: the connection to systemd broke again and again",
                        begins[job->method]);
                break;
        default:
                (void) snprintf(begin, sizeof(begin), "%s%s", begins[job->method],
                        strcmp(job->word, "assert") == 0 ? ", since what it asserts (Assert…=) does not hold"
                        : strcmp(job->word, "unsupported") == 0
                                ? ", since systemd does not have units of this kind here"
                                : "");
                break;
        }
        text = explain_job(a, item, begin);
        apply_fail(a, item, "%s", text ? text : begin);
        free(text);
}

static void on_over(void *userdata, UnitJob *job) {
        Item *item = job->userdata;

        (void) userdata;
        if (job->result == JOB_DONE && item->service->healthy_usec > 0)
                item->healthy_at_usec = clock_usec(CLOCK_MONOTONIC) + item->service->healthy_usec;
}

static bool is_as_wished(const Item *item) {
        switch (item->service->running) {
        case YES: return is_up(&item->status);
        case NO: return item->status.active == UNIT_INACTIVE || item->status.active == UNIT_FAILED;
        default: return true;
        }
}

/* Whether the job that is over has come to a good end, or does not matter: a start or a stop is for what it leads to. */
static bool is_job_fine(const Item *item) {
        switch (item->job->result) {
        case JOB_DONE: return !item->service->wait || is_as_wished(item);
        case JOB_SKIPPED: return is_as_wished(item);
        case JOB_REFUSED: return false;
        default:
                return (item->job->method == UNIT_START || item->job->method == UNIT_STOP) &&
                       is_as_wished(item);
        }
}

/* What is over while others are not is told at once: the time of those that are left begins anew, and if something goes wrong it is not
 * done again. What needs more patience, or more to be done, is left for later. */
static uint64_t tell(void *userdata) {
        Apply *a = userdata;
        bool any = false;

        if (look(a) < 0)
                return a->deadline_usec;
        for (Item *item = a->items; item < a->items + a->n; item++) {
                if (item->over || !item->job || item->job->result == JOB_OPEN ||
                        item->job->result == JOB_LOST || item->service->absent || item->healthy_at_usec > 0)
                        continue;
                if (is_job_fine(item))
                        apply_done(a, item);
                else if (item->job->result != JOB_DONE)
                        fail_job(a, item);
                any = any || item->over;
        }
        if (any) {
                agentd_will_change(a->context); /* sends it off */
                set_deadline(a);
        }
        return a->deadline_usec;
}

/* systemd would stop the socket, and then not start it while its service runs: that is told before. Return: the state has failed. */
static bool is_blocked_socket(Apply *a, Item *item, UnitMethod method) {
        const char *suffix = strrchr(item->service->unit, '.');
        UnitStatus user;

        if (strcmp(suffix, ".socket") != 0 || method == UNIT_START || method == UNIT_STOP ||
                !is_up(&item->status) || units_find_socket_user(a->units, id_of(item), &user) <= 0)
                return false;
        for (Item *other = a->items; other < a->items + a->n; other++) {
                UnitMethod also;

                /* It is restarted together with it. */
                if (!other->over && strcmp(id_of(other), user.id) == 0 && decide_job(other, &also) &&
                        also != UNIT_START)
                        return false;
        }
        apply_fail(a, item,
                "it cannot be restarted while '%s' runs, as systemd does not start a socket then: stop that "
                "first, or have it restarted with the socket, by Requires=%s in its unit file",
                user.id, id_of(item));
        return true;
}

static void run_jobs(Apply *a, bool stops) {
        const UnitJobsOwner owner = { .on_over = on_over, .on_pause = tell, .userdata = a };
        size_t n = 0;
        int r;

        for (Item *item = a->items; item < a->items + a->n; item++) {
                UnitMethod method;

                if (item->over || item->job || !decide_job(item, &method) ||
                        (method == UNIT_STOP) != stops || is_blocked_socket(a, item, method))
                        continue;
                agentd_undo(a->context, (size_t) (item - a->items), "running",
                        &(AgentdValue){ .type = AGENTD_STRING,
                                .string = unit_active_to_string(item->status.active),
                                .size = strlen(unit_active_to_string(item->status.active)) });
                /* What it failed by may be repaired: how often it has does not count. */
                if (item->status.active == UNIT_FAILED && method != UNIT_STOP &&
                        (item->outdated ||
                                item->state->flags & (AGENTD_STATE_RESTART | AGENTD_STATE_RELOAD)))
                        (void) units_reset_failed(a->units, item->service->unit);
                item->job = &a->jobs[a->n_jobs + n++];
                item->begun_usec = clock_usec(CLOCK_REALTIME);
                *item->job = (UnitJob){
                        .name = item->service->unit,
                        .method = method,
                        .no_wait = !item->service->wait,
                        .userdata = item,
                };
        }
        if (n == 0)
                return;
        agentd_will_change(a->context);
        set_deadline(a);
        r = units_run_jobs(a->units, a->jobs + a->n_jobs, n, a->deadline_usec, &owner);
        if (r < 0)
                for (size_t i = 0; i < n; i++) {
                        Item *item = a->jobs[a->n_jobs + i].userdata;

                        if (item->job->result == JOB_LOST)
                                apply_fail(a, item, "systemd cannot be asked to start or stop it: %s",
                                        a->units->error);
                }
        a->n_jobs += n;
}

static bool is_any_lost(const Apply *a) {
        for (const Item *item = a->items; item < a->items + a->n; item++)
                if (!item->over && item->job && item->job->result == JOB_LOST)
                        return true;
        return false;
}

/* A connection that broke: what has become of the units is asked for, and what has not is begun once more. Return: 0; -errno. */
static int begin_again(Apply *a) {
        uint64_t until = clock_usec(CLOCK_MONOTONIC) + RECONNECT_USEC;
        int r;

        /* What broke it may take a moment to be there again. */
        while ((r = look(a)) < 0 && clock_usec(CLOCK_MONOTONIC) < until &&
                clock_usec(CLOCK_MONOTONIC) < a->deadline_usec)
                sleep_until(clock_usec(CLOCK_MONOTONIC) + LOOK_USEC / 2);
        if (r < 0)
                return r;
        for (Item *item = a->items; item < a->items + a->n; item++) {
                UnitDetails details;

                if (item->over || !item->job || item->job->result != JOB_LOST)
                        continue;
                item->restarted = units_get_details(a->units, item->service->unit, &details) >= 0 &&
                                  details.started_usec >= item->begun_usec;
                item->job = NULL;
        }
        return 0;
}

/* ---- Health ---------------------------------------------------------------------------------------------------- */

static uint32_t count_restarts(Apply *a, const Item *item) {
        UnitDetails details;

        return units_get_details(a->units, item->service->unit, &details) < 0 ? 0 : details.restarts;
}

/* Return: when one of them is to be looked at next, CLOCK_MONOTONIC; 0: none is left. */
static uint64_t look_at_health(Apply *a) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC), next = 0;

        if (look(a) < 0)
                return 0;
        for (Item *item = a->items; item < a->items + a->n; item++) {
                uint64_t at = now + LOOK_USEC;

                if (item->over || item->service->running != YES ||
                        (item->healthy_at_usec == 0 && !is_restarting(&item->status)))
                        continue;
                if (item->healthy_at_usec > 0 &&
                        (!is_up(&item->status) || count_restarts(a, item) > item->restarts)) {
                        char *text =
                                explain(a, item, "it started, but did not stay active", item->begun_usec, 0);

                        apply_fail(a, item, "%s", text ? text : "it did not stay active");
                        free(text);
                        continue;
                }
                if (item->healthy_at_usec > 0 && now >= item->healthy_at_usec) {
                        apply_done(a, item);
                        continue;
                }
                if (item->healthy_at_usec > 0 && item->healthy_at_usec < at)
                        at = item->healthy_at_usec;
                if (next == 0 || at < next)
                        next = at;
        }
        return next;
}

static void wait_for_health(Apply *a) {
        for (Item *item = a->items; item < a->items + a->n; item++)
                if (item->healthy_at_usec > 0)
                        item->restarts = count_restarts(a, item);
        for (;;) {
                uint64_t next = look_at_health(a);

                if (next == 0)
                        return;
                if (next > a->deadline_usec)
                        return;
                sleep_until(next);
        }
}

/* What is neither done nor failed by now. */
static void finish(Apply *a) {
        if (look(a) < 0) {
                fail_all(a, "systemd cannot be asked", -ENOTCONN);
                return;
        }
        for (Item *item = a->items; item < a->items + a->n; item++) {
                if (item->over)
                        continue;
                if (item->healthy_at_usec > clock_usec(CLOCK_MONOTONIC)) {
                        apply_fail(a, item,
                                "its time was over before it had been active for as long as 'healthy_after' "
                                "says; give it a longer 'timeout'");
                        continue;
                }
                if (item->job && item->job->result != JOB_DONE) {
                        if (is_job_fine(item))
                                apply_done(a, item);
                        else
                                fail_job(a, item);
                        continue;
                }
                if (item->service->running == YES && !is_up(&item->status) &&
                        !(item->job && !item->service->wait)) {
                        char *text = explain(a, item,
                                is_restarting(&item->status) ? "systemd restarts it again and again"
                                                             : "it did not become active",
                                item->begun_usec ? item->begun_usec
                                                 : clock_usec(CLOCK_REALTIME) - 60 * USEC_PER_SEC,
                                0);

                        apply_fail(a, item, "%s", text ? text : "it did not become active");
                        free(text);
                        continue;
                }
                apply_done(a, item);
        }
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

/* A user's systemd, which may have to be started first. Return: 0; -errno, and all are over. */
static int bring_manager(Apply *a) {
        Wish linger = OPEN;
        bool wanted = false;
        int r = 0;

        if (!a->manager->user)
                return 0;
        for (Item *item = a->items; item < a->items + a->n; item++) {
                if (item->over)
                        continue;
                if (item->service->linger != OPEN)
                        linger = (Wish) item->service->linger;
                wanted = wanted || item->service->running == YES ||
                         (item->service->linger == YES && wants_files(item->service));
        }
        if (linger != OPEN && manager_lingers(a->manager) != (linger == YES)) {
                r = manager_set_linger(a->manager, linger == YES);
                if (r < 0) {
                        fail_all(a,
                                linger == YES ? "Failed to let the user linger"
                                              : "Failed to end the lingering of the user",
                                r);
                        return r;
                }
        }
        if (wanted && !manager_is_there(a->manager)) {
                r = manager_start(a->manager, a->deadline_usec);
                if (r < 0)
                        fail_all(a, "Failed to start the systemd of the user", r);
        }
        /* Who said nothing else needs no systemd, which may be about to end. */
        for (Item *item = a->items; r >= 0 && item < a->items + a->n; item++)
                if (!wants_activity(item->service) && !wants_files(item->service) &&
                        !(item->state->flags & (AGENTD_STATE_RESTART | AGENTD_STATE_RELOAD)))
                        apply_done(a, item);
        return r;
}

static bool is_over(const Apply *a) {
        for (const Item *item = a->items; item < a->items + a->n; item++)
                if (!item->over)
                        return false;
        return true;
}

static void bring_in_order(Apply *a) {
        sd_bus *bus;
        int r;

        a->offline = agentd_bus(a->context, &bus) == -EHOSTDOWN;
        if (!a->offline && (bring_manager(a) < 0 || is_over(a)))
                return;
        if (!a->offline)
                apply_verify(a);
        apply_files(a);
        if (a->offline || !manager_is_there(a->manager)) {
                apply_remove_files(a);
                for (Item *item = a->items; item < a->items + a->n; item++)
                        apply_done(a, item);
                return;
        }
        if (a->reload || apply_needs_reload(a)) {
                set_deadline(a);
                r = units_reload(a->units, a->deadline_usec);
                if (r < 0) {
                        fail_all(a, "systemd does not read its units", r);
                        return;
                }
        }
        for (unsigned attempt = 0; attempt == 0 || (attempt < ATTEMPTS && is_any_lost(a)); attempt++) {
                r = attempt == 0 ? look(a) : begin_again(a);
                if (r < 0) {
                        fail_all(a, "systemd cannot be asked", r);
                        return;
                }
                for (Item *item = a->items; item < a->items + a->n; item++)
                        item->outdated = !item->over &&
                                         (is_up(&item->status) || is_restarting(&item->status) ||
                                                 item->status.active == UNIT_FAILED) &&
                                         service_is_outdated(a->context, a->units, item->service);
                run_jobs(a, true);
                run_jobs(a, false);
        }
        apply_remove_files(a);
        wait_for_health(a);
        finish(a);
}

/* Those of one manager; those of others are over for it. */
static int apply_some(
        AgentdContext *context, const AgentdState *states, size_t n, const char *user, unsigned flags) {
        Apply a = {
                .context = context,
                .items = calloc(n, sizeof(Item)),
                .jobs = calloc(n, ATTEMPTS * sizeof(UnitJob)),
                .n = n,
        };
        int r;

        (void) flags;
        if (!a.items || !a.jobs) {
                free(a.items);
                free(a.jobs);
                return -ENOMEM;
        }
        for (size_t i = 0; i < n; i++)
                a.items[i] = (Item){
                        .state = &states[i],
                        .service = service_of(&states[i]),
                        .over = !service_is_of(&states[i], user),
                };
        set_deadline(&a);
        r = manager_get(context, user, &a.manager);
        if (r >= 0) {
                a.units = &a.manager->units;
                bring_in_order(&a);
                manager_let_go(a.manager);
        } else
                for (Item *item = a.items; item < a.items + n; item++)
                        apply_fail(&a, item,
                                r == -ESRCH ? "there is no user '%s'" : "Failed to look up user '%s'", user);
        free(a.items);
        free(a.jobs);
        return 0;
}

int service_apply(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags) {
        return service_each_user(context, states, n, flags, apply_some);
}
