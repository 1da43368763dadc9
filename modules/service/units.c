/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "units-internal.h"

#define RELOAD_USEC (600 * USEC_PER_SEC)
/* How long a job that we have cancelled may take to be over. */
#define CANCEL_USEC USEC_PER_SEC
/* How often the owner of jobs is told that some are over. */
#define PAUSE_USEC (50 * UINT64_C(1000))

static uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

/* What is left until then, at most so much, and at least something: 0 would be the default. */
static uint64_t left_until(uint64_t deadline, uint64_t max) {
        uint64_t now = now_usec(), left = deadline > now ? deadline - now : 1;

        return left < max ? left : max;
}

/* ---- The connection -------------------------------------------------------------------------------------------- */

void units_done(Units *units) {
        units->removed = sd_bus_slot_unref(units->removed);
        units->bus = sd_bus_unref(units->bus);
}

static bool is_lost(int r) {
        return r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE || r == -ECONNREFUSED || r == -ESHUTDOWN;
}

int units_connect(Units *units) {
        sd_bus *bus;
        int r;

        if (units->bus && sd_bus_is_open(units->bus) > 0)
                return 0;
        units_done(units);
        r = units->connect(units->userdata, &bus);
        if (r >= 0)
                units->bus = sd_bus_ref(bus);
        return r;
}

int units_call(Units *units, sd_bus_message *message, uint64_t usec, sd_bus_message **ret) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        units->error[0] = '\0';
        r = sd_bus_call(units->bus, message, usec, &error, ret);
        if (r < 0)
                copy_text(units->error, sizeof(units->error),
                        error.message && *error.message ? error.message : strerror(-r));
        sd_bus_error_free(&error);
        sd_bus_message_unref(message);
        return r;
}

int units_new_call(Units *units, const char *method, sd_bus_message **ret) {
        int r;

        r = units_connect(units);
        if (r < 0) {
                (void) snprintf(units->error, sizeof(units->error), "there is no connection to systemd (%s)",
                        strerror(-r));
                return r;
        }
        return sd_bus_message_new_method_call(units->bus, ret, SYSTEMD, MANAGER, INTERFACE, method);
}

static int append_names(sd_bus_message *message, const char *const *names, size_t n) {
        int r;

        r = sd_bus_message_open_container(message, 'a', "s");
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = sd_bus_message_append_basic(message, 's', names[i]);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

/* ---- Looking --------------------------------------------------------------------------------------------------- */

static const char *const active_words[] = {
        [UNIT_INACTIVE] = "inactive",
        [UNIT_ACTIVE] = "active",
        [UNIT_RELOADING] = "reloading",
        [UNIT_FAILED] = "failed",
        [UNIT_ACTIVATING] = "activating",
        [UNIT_DEACTIVATING] = "deactivating",
        [UNIT_MAINTENANCE] = "maintenance",
        [UNIT_ACTIVE_OTHER] = "in a state that is not known",
};

const char *unit_active_to_string(UnitActive active) {
        return active_words[active];
}

static UnitActive parse_active(const char *word) {
        for (UnitActive i = 0; i < UNIT_ACTIVE_OTHER; i++)
                if (strcmp(word, active_words[i]) == 0)
                        return i;
        return UNIT_ACTIVE_OTHER;
}

static int list_once(Units *units, const char *const *names, size_t n, UnitStatus *ret) {
        sd_bus_message *message = NULL, *reply = NULL;
        size_t i = 0;
        int r;

        r = units_new_call(units, "ListUnitsByNames", &message);
        if (r < 0)
                return r;
        r = append_names(message, names, n);
        if (r < 0) {
                sd_bus_message_unref(message);
                return r;
        }
        r = units_call(units, message, CALL_USEC, &reply);
        if (r < 0)
                return r;

        r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
        while (r >= 0) {
                const char *id, *description, *load, *active, *sub, *following, *path, *job_type, *job_path;
                uint32_t job;

                r = sd_bus_message_read(reply, "(ssssssouso)", &id, &description, &load, &active, &sub,
                        &following, &path, &job, &job_type, &job_path);
                if (r <= 0)
                        break;
                if (i == n) {
                        r = -EBADMSG;
                        break;
                }
                ret[i] = (UnitStatus){ .active = parse_active(active) };
                copy_text(ret[i].job, sizeof(ret[i].job), job != 0 ? job_type : "");
                copy_text(ret[i].id, sizeof(ret[i].id), id);
                copy_text(ret[i].load, sizeof(ret[i].load), load);
                copy_text(ret[i].sub, sizeof(ret[i].sub), sub);
                i++;
        }
        sd_bus_message_unref(reply);
        if (r < 0 || i != n) {
                copy_text(units->error, sizeof(units->error),
                        "systemd's list of units is not what it should be");
                return r < 0 ? r : -EBADMSG;
        }
        return 0;
}

int units_list(Units *units, const char *const *names, size_t n, UnitStatus *ret) {
        int r;

        if (n == 0)
                return 0;
        r = list_once(units, names, n, ret);
        return is_lost(r) ? list_once(units, names, n, ret) : r;
}

int units_get_reload_time(Units *units, uint64_t *ret_usec) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = units_connect(units);
        if (r < 0)
                return r;
        r = sd_bus_get_property_trivial(
                units->bus, SYSTEMD, MANAGER, INTERFACE, "UnitsLoadTimestamp", &error, 't', ret_usec);
        copy_text(units->error, sizeof(units->error),
                r < 0 ? (error.message ? error.message : strerror(-r)) : "");
        sd_bus_error_free(&error);
        return r < 0 ? r : 0;
}

/* ---- Jobs ------------------------------------------------------------------------------------------------------ */

static const char *const job_results[] = {
        [JOB_OPEN] = "open",
        [JOB_DONE] = "done",
        [JOB_SKIPPED] = "skipped",
        [JOB_REFUSED] = "refused",
        [JOB_FAILED] = "failed",
        [JOB_DEPENDENCY] = "dependency",
        [JOB_TIMEOUT] = "timeout",
        [JOB_CANCELED] = "canceled",
        [JOB_LATE] = "late",
        [JOB_LOST] = "lost",
};

static const char *const methods[] = {
        [UNIT_START] = "StartUnit",
        [UNIT_STOP] = "StopUnit",
        [UNIT_RESTART] = "RestartUnit",
        [UNIT_TRY_RESTART] = "TryRestartUnit",
        [UNIT_RELOAD_OR_RESTART] = "ReloadOrRestartUnit",
        [UNIT_RELOAD_OR_TRY_RESTART] = "ReloadOrTryRestartUnit",
};

const char *unit_job_result_to_string(UnitJobResult result) {
        return job_results[result];
}

/* As JobRemoved says it. */
static UnitJobResult parse_result(const char *word) {
        static const UnitJobResult words[] = { JOB_DONE, JOB_SKIPPED, JOB_FAILED, JOB_DEPENDENCY,
                JOB_TIMEOUT, JOB_CANCELED };

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
                if (strcmp(word, job_results[words[i]]) == 0)
                        return words[i];
        /* "assert", "unsupported", "invalid", "collected", "once" */
        return JOB_FAILED;
}

/* Jobs that were over before we knew their path. */
#define EARLY_MAX (2 * UNITS_WINDOW)

typedef struct Early {
        uint32_t id;
        char word[24];
        UnitJobResult result;
} Early;

typedef struct Jobs {
        Units *units;
        sd_bus *bus; /* that they were asked for on */
        UnitJobsOwner owner;
        uint64_t deadline_usec;
        bool any_over;       /* since the owner was told … */
        uint64_t pause_usec; /* … which is not to be again before, CLOCK_MONOTONIC */
        Early early[EARLY_MAX];
        size_t n_early; /* ever; the last EARLY_MAX of them are kept */
} Jobs;

static void job_over(Jobs *jobs, UnitJob *job, UnitJobResult result) {
        if (job->result != JOB_OPEN)
                return;
        job->result = result;
        job->call = sd_bus_slot_unref(job->call);
        jobs->units->n_open--;
        jobs->any_over = true;
        if (jobs->owner.on_over)
                jobs->owner.on_over(jobs->owner.userdata, job);
}

static int on_removed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Jobs *jobs = userdata;
        const char *path, *unit, *result;
        Early *early;
        uint32_t id;

        (void) error;
        if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0)
                return 0;
        for (size_t i = 0; i < jobs->units->n_jobs; i++) {
                UnitJob *job = &jobs->units->jobs[i];

                if (job->id == id && job->result == JOB_OPEN) {
                        copy_text(job->word, sizeof(job->word), result);
                        job_over(jobs, job, parse_result(result));
                        return 0;
                }
        }
        early = &jobs->early[jobs->n_early++ % EARLY_MAX];
        early->id = id;
        copy_text(early->word, sizeof(early->word), result);
        early->result = parse_result(result);
        return 0;
}

static int on_reply(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        UnitJob *job = userdata;
        Jobs *jobs = job->units->userdata_jobs;
        const sd_bus_error *error = sd_bus_message_get_error(message);
        const char *path, *slash;

        (void) ret_error;
        job->units->n_calls--;
        if (error) {
                bool late = sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) ||
                            sd_bus_error_has_name(error, SD_BUS_ERROR_DISCONNECTED) ||
                            sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT);

                copy_text(job->error, sizeof(job->error), error->message);
                copy_text(job->error_name, sizeof(job->error_name), error->name);
                job_over(jobs, job, late ? JOB_LOST : JOB_REFUSED);
                return 0;
        }
        if (sd_bus_message_read_basic(message, 'o', &path) < 0) {
                job_over(jobs, job, JOB_LOST);
                return 0;
        }
        /* "/org/freedesktop/systemd1/job/4711" */
        slash = strrchr(path, '/');
        job->id = slash ? (uint32_t) strtoul(slash + 1, NULL, 10) : 0;
        if (job->no_wait) {
                job_over(jobs, job, JOB_DONE);
                return 0;
        }
        for (size_t i = 0; i < jobs->n_early && i < EARLY_MAX; i++)
                if (jobs->early[i].id == job->id) {
                        copy_text(job->word, sizeof(job->word), jobs->early[i].word);
                        job_over(jobs, job, jobs->early[i].result);
                        break;
                }
        return 0;
}

static int begin(Units *units, UnitJob *job, uint64_t deadline) {
        sd_bus_message *message = NULL;
        uint64_t usec = left_until(deadline, CALL_USEC);
        int r;

        r = sd_bus_message_new_method_call(
                units->bus, &message, SYSTEMD, MANAGER, INTERFACE, methods[job->method]);
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", job->name, "replace");
        if (r >= 0)
                r = sd_bus_call_async(units->bus, &job->call, message, on_reply, job, usec);
        sd_bus_message_unref(message);
        return r;
}

static void cancel(Units *units, UnitJob *job) {
        char path[64];

        job->cancelled = true;
        if (job->id == 0)
                return;
        (void) snprintf(path, sizeof(path), MANAGER "/job/%u", (unsigned) job->id);
        (void) sd_bus_call_method_async(
                units->bus, NULL, SYSTEMD, path, "org.freedesktop.systemd1.Job", "Cancel", NULL, NULL, NULL);
}

/* Processes what has come, or waits for it. Return: 0; -ETIME; -errno. */
static int pump(sd_bus *bus, uint64_t until) {
        uint64_t now;
        int r;

        r = sd_bus_process(bus, NULL);
        if (r != 0)
                return r < 0 ? r : 0;
        now = now_usec();
        if (now >= until)
                return -ETIME;
        r = sd_bus_wait(bus, until == UINT64_MAX ? UINT64_MAX : until - now);
        return r < 0 && r != -EINTR ? r : 0;
}

/* Likewise, and tells the owner of what is over. */
static int pump_jobs(Jobs *jobs) {
        bool tells = jobs->any_over && jobs->owner.on_pause;
        int r;

        r = pump(jobs->bus,
                tells && jobs->pause_usec < jobs->deadline_usec ? jobs->pause_usec : jobs->deadline_usec);
        if (r != -ETIME || !tells)
                return r;
        jobs->any_over = false;
        jobs->deadline_usec = jobs->owner.on_pause(jobs->owner.userdata);
        jobs->pause_usec = now_usec() + PAUSE_USEC;
        /* It may have found it broken, and made a new one, on which nobody tells of these jobs. */
        return jobs->units->bus == jobs->bus ? 0 : -ENOTCONN;
}

static int subscribe(Units *units, Jobs *jobs) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = units_connect(units);
        if (r < 0)
                return r;
        r = sd_bus_match_signal(
                units->bus, &units->removed, SYSTEMD, MANAGER, INTERFACE, "JobRemoved", on_removed, jobs);
        if (r < 0)
                return r;
        /* Only who has subscribed is told. A second time on one connection is an error, which is none. */
        (void) sd_bus_call_method(units->bus, SYSTEMD, MANAGER, INTERFACE, "Subscribe", &error, NULL, NULL);
        sd_bus_error_free(&error);
        return 0;
}

/* What a job that is about to be cancelled has waited for. Return: 0; -errno: systemd has not told in time. */
static int ask_waited_for(Units *units, UnitJob *job) {
        sd_bus_message *message = NULL, *reply = NULL;
        const char *unit;
        int r;

        r = sd_bus_message_new_method_call(
                units->bus, &message, SYSTEMD, MANAGER, INTERFACE, "GetJobBefore");
        if (r >= 0)
                r = sd_bus_message_append(message, "u", job->id);
        if (r >= 0)
                r = sd_bus_call(units->bus, message, CANCEL_USEC / 2, NULL, &reply);
        sd_bus_message_unref(message);
        if (r < 0)
                return r;
        if (sd_bus_message_enter_container(reply, 'a', "(usssoo)") > 0 &&
                sd_bus_message_enter_container(reply, 'r', "usssoo") > 0 &&
                sd_bus_message_skip(reply, "u") >= 0 && sd_bus_message_read_basic(reply, 's', &unit) > 0)
                copy_text(job->waited_for, sizeof(job->waited_for), unit);
        sd_bus_message_unref(reply);
        return 0;
}

/* At the deadline: what is under way is cancelled, and let be over. */
static int end_late(Units *units, Jobs *jobs, size_t begun) {
        uint64_t until = now_usec() + CANCEL_USEC;
        int r = 0;

        /* All are asked about first: what was waited for may be one of them. */
        for (size_t i = 0; i < begun; i++)
                if (units->jobs[i].result == JOB_OPEN && units->jobs[i].id != 0 &&
                        ask_waited_for(units, &units->jobs[i]) == -ETIMEDOUT)
                        break;
        for (size_t i = 0; i < begun; i++)
                if (units->jobs[i].result == JOB_OPEN)
                        cancel(units, &units->jobs[i]);
        while (r >= 0 && units->n_open > 0)
                r = pump(jobs->bus, until);
        for (size_t i = 0; i < begun; i++)
                if (units->jobs[i].result == JOB_OPEN)
                        job_over(jobs, &units->jobs[i], JOB_LATE);
                else if (units->jobs[i].result == JOB_CANCELED && units->jobs[i].cancelled)
                        units->jobs[i].result = JOB_LATE;
        return r == -ETIME ? 0 : r;
}

int units_run_jobs(
        Units *units, UnitJob *jobs_, size_t n, uint64_t deadline_usec, const UnitJobsOwner *owner) {
        Jobs *jobs = calloc(1, sizeof(*jobs));
        size_t begun = 0;
        int r;

        if (!jobs)
                return -ENOMEM;
        *jobs = (Jobs){ .units = units, .deadline_usec = deadline_usec };
        if (owner)
                jobs->owner = *owner;
        units->userdata_jobs = jobs;
        units->jobs = jobs_;
        units->n_jobs = n;
        units->n_open = units->n_calls = 0;
        for (size_t i = 0; i < n; i++) {
                jobs_[i].result = JOB_OPEN;
                jobs_[i].id = 0;
                jobs_[i].cancelled = false;
                jobs_[i].word[0] = jobs_[i].error[0] = jobs_[i].error_name[0] = jobs_[i].waited_for[0] =
                        '\0';
                jobs_[i].units = units;
        }

        r = subscribe(units, jobs);
        if (r >= 0)
                jobs->bus = sd_bus_ref(units->bus);
        while (r >= 0 && (begun < n || units->n_open > 0)) {
                while (r >= 0 && begun < n && units->n_calls < UNITS_WINDOW) {
                        r = begin(units, &jobs_[begun], jobs->deadline_usec);
                        if (r >= 0) {
                                units->n_calls++;
                                units->n_open++;
                                begun++;
                        }
                }
                if (r >= 0)
                        r = pump_jobs(jobs);
                if (r == -ETIME) {
                        r = end_late(units, jobs, begun);
                        break;
                }
        }
        for (size_t i = 0; i < n; i++) {
                if (jobs_[i].result != JOB_OPEN)
                        continue;
                if (i >= begun)
                        units->n_open++;
                job_over(jobs, &jobs_[i], i < begun || r < 0 ? JOB_LOST : JOB_LATE);
        }
        if (r < 0)
                (void) snprintf(units->error, sizeof(units->error), "the connection to systemd broke (%s)",
                        strerror(-r));
        units->removed = sd_bus_slot_unref(units->removed);
        units->jobs = NULL;
        units->n_jobs = 0;
        sd_bus_unref(jobs->bus);
        free(jobs);
        return r < 0 && !is_lost(r) ? r : 0;
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

int units_reload(Units *units, uint64_t deadline_usec) {
        sd_bus_message *message = NULL, *reply = NULL;
        int r;

        r = units_new_call(units, "Reload", &message);
        if (r < 0)
                return r;
        r = units_call(units, message, left_until(deadline_usec, RELOAD_USEC), &reply);
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}

const char *units_files_method_to_string(UnitFilesMethod method) {
        static const char *const words[] = {
                [UNIT_FILES_ENABLE] = "enable",
                [UNIT_FILES_DISABLE] = "disable",
                [UNIT_FILES_MASK] = "mask",
                [UNIT_FILES_UNMASK] = "unmask",
                [UNIT_FILES_PRESET] = "preset",
        };

        return words[method];
}

int units_change_files(Units *units, UnitFilesMethod method, bool runtime, const char *const *names,
        size_t n, void (*on_change)(void *userdata, const UnitLink *change), void *userdata) {
        static const struct {
                const char *method;
                int n_flags;   /* booleans: runtime, force */
                bool has_info; /* the answer begins with "carries install info" */
        } calls[] = {
                [UNIT_FILES_ENABLE] = { "EnableUnitFiles", 2, true },
                [UNIT_FILES_DISABLE] = { "DisableUnitFiles", 1, false },
                [UNIT_FILES_MASK] = { "MaskUnitFiles", 2, false },
                [UNIT_FILES_UNMASK] = { "UnmaskUnitFiles", 1, false },
                [UNIT_FILES_PRESET] = { "PresetUnitFiles", 2, true },
        };
        sd_bus_message *message = NULL, *reply = NULL;
        int r, unused;

        r = units_new_call(units, calls[method].method, &message);
        if (r < 0)
                return r;
        r = append_names(message, names, n);
        for (int i = 0; r >= 0 && i < calls[method].n_flags; i++)
                r = sd_bus_message_append(message, "b", i == 0 && runtime);
        if (r < 0) {
                sd_bus_message_unref(message);
                return r;
        }
        r = units_call(units, message, CALL_USEC, &reply);
        if (r < 0)
                return r;
        if (calls[method].has_info)
                r = sd_bus_message_read_basic(reply, 'b', &unused);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(sss)");
        while (r >= 0) {
                const char *type, *path, *target;
                UnitLink change;

                r = sd_bus_message_read(reply, "(sss)", &type, &path, &target);
                if (r <= 0)
                        break;
                copy_text(change.type, sizeof(change.type), type);
                copy_text(change.path, sizeof(change.path), path);
                copy_text(change.target, sizeof(change.target), target);
                if (on_change)
                        on_change(userdata, &change);
        }
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}

int units_call_by_name(Units *units, const char *method, const char *name, sd_bus_message **ret) {
        sd_bus_message *message = NULL;
        int r;

        r = units_new_call(units, method, &message);
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(message, 's', name);
        if (r < 0) {
                sd_bus_message_unref(message);
                return r;
        }
        return units_call(units, message, CALL_USEC, ret);
}

int units_reset_failed(Units *units, const char *name) {
        sd_bus_message *reply = NULL;
        int r;

        r = units_call_by_name(units, "ResetFailedUnit", name, &reply);
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}
