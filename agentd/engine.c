/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's life: its beginning and end, what it does by itself, what it tells the service manager. */

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <sodium.h>
#include <sys/stat.h>
#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-interval.h"
#include "engine-trigger.h"
#include "log.h"
#include "notify.h"

/* How often it is looked whether those who are told something have got it. */
#define LEAVE_EVERY_USEC (5 * USEC_PER_MSEC)

const char *engine_state_to_string(EngineState state) {
        static const char *const names[_ENGINE_STATE_MAX] = {
                [ENGINE_STARTING] = "starting",
                [ENGINE_IDLE] = "idle",
                [ENGINE_LOADING] = "loading",
                [ENGINE_RUNNING] = "running",
                [ENGINE_STOPPING] = "stopping",
        };

        assert(state < _ENGINE_STATE_MAX);
        return names[state];
}

EngineState engine_state(const Engine *engine) {
        if (engine->stopping)
                return ENGINE_STOPPING;
        if (!engine->ready)
                return ENGINE_STARTING;
        if (engine->runs)
                return ENGINE_RUNNING;
        return engine->load ? ENGINE_LOADING : ENGINE_IDLE;
}

/* ---- The program was replaced ---------------------------------------------------------------------------------------- */

/* The package was upgraded while we ran: the file is another one than that which runs. */
static bool was_replaced(const Engine *engine) {
        struct stat running, installed;

        if (!engine->options->executable || stat("/proc/self/exe", &running) < 0 ||
                stat(engine->options->executable, &installed) < 0 || !S_ISREG(installed.st_mode) ||
                !(installed.st_mode & S_IXUSR))
                return false;
        return running.st_dev != installed.st_dev || running.st_ino != installed.st_ino;
}

/* ---- What goes on ---------------------------------------------------------------------------------------------------- */

static void tell_status(const Engine *engine) {
        const StatusTable *status = engine->status;
        uint32_t n = status ? image_n_states(status->image) : 0;
        char bad[64] = "";
        const char *errors = engine->load_failed ? "; the roles on disk have errors" : "";

        if (status && status->counts[RESULT_FAILED] + status->counts[RESULT_BLOCKED] > 0)
                (void) snprintf(bad, sizeof(bad), ", %u failed",
                        status->counts[RESULT_FAILED] + status->counts[RESULT_BLOCKED]);
        switch (engine_state(engine)) {
        case ENGINE_STARTING: notify_status("Loading roles"); break;
        case ENGINE_STOPPING: notify_status("Stopping"); break;
        case ENGINE_RUNNING: {
                json_t *json = engine_run_to_json(engine->runs, true),
                       *progress = json_object_get(json, "progress");

                notify_status("Run %" PRId64 ": %" PRId64 " of %" PRId64 " states%s",
                        engine_run_id(engine->runs),
                        (int64_t) json_integer_value(json_object_get(progress, "done")),
                        (int64_t) json_integer_value(json_object_get(progress, "total")), errors);
                json_decref(json);
                break;
        }
        default:
                if (engine->disabled)
                        notify_status("Disabled: %s", engine->disabled->reason);
                else if (!status)
                        notify_status("No roles are in force%s", errors);
                else
                        notify_status("%u state%s%s%s", n, n == 1 ? "" : "s", bad, errors);
        }
}

/* A client that has followed the last run is to see its end; and PID 1 wants to know who lets go of a unit. */
static bool is_needed(const Engine *engine, usec_t now) {
        if (now < engine->leave_usec && engine->options->is_telling &&
                engine->options->is_telling(engine->options->userdata))
                return true;
        return now < engine->leave_usec - ENGINE_TELL_USEC + COMMANDS_LET_GO_USEC &&
               commands_is_letting_go(engine->commands);
}

/* Nothing goes on any more. */
static int leave(Engine *engine) {
        usec_t now = now_usec(CLOCK_MONOTONIC);
        bool first = engine->leave_usec == 0;

        if (first) {
                engine->leave_usec = now + ENGINE_TELL_USEC;
                if (engine->options->on_leave)
                        engine->options->on_leave(engine->options->userdata);
        }
        (void) store_flush(engine->store);
        /* At least one turn more: what was written just now is told from the event loop. */
        if (!first && !is_needed(engine, now))
                return sd_event_exit(engine->event, engine->exit_code);
        (void) sd_event_source_set_time(engine->leave_timer, now + LEAVE_EVERY_USEC);
        return sd_event_source_set_enabled(engine->leave_timer, SD_EVENT_ONESHOT);
}

static int on_leave_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        return leave(userdata);
}

static int on_idle(_unused_ sd_event_source *source, void *userdata) {
        Engine *engine = userdata;

        tell_status(engine);
        if (engine->runs && engine->replaced && !engine->stopping) {
                /* The next one tries again, with all the others. A run may come to wait for that without a word. */
                engine_run_stop_waiting(engine);
                engine_run_look_again(engine);
        }
        if (engine->runs || engine->load)
                return 0;
        if (engine->stopping)
                return leave(engine);
        /* What a run needed is given back: an idle agent is to be small. Not after each file that was healed, as the next one
         * would have to ask the kernel for all of it again. */
        if (engine->is_fat) {
                engine->is_fat = false;
                (void) malloc_trim(0);
        }
        if (engine->replaced && !engine_is_asked(engine)) {
                log_notice("The program was replaced; starting the new one");
                engine_stop(engine, ENGINE_EXIT_REPLACED);
        }
        return 0;
}

void engine_touch(Engine *engine) {
        if (!engine->stopping && engine->settle && !engine->replaced && was_replaced(engine))
                engine->replaced = true;
        (void) sd_event_source_set_enabled(engine->idle_event, SD_EVENT_ONESHOT);
}

/* ---- By itself --------------------------------------------------------------------------------------------------------- */

static usec_t random_below(usec_t limit) {
        uint64_t value;

        if (limit == 0)
                return 0;
        randombytes_buf(&value, sizeof(value));
        return value % limit;
}

void engine_schedule(Engine *engine) {
        const Settings *settings = &engine->settings;
        usec_t span;

        engine->next_run_usec = 0;
        (void) sd_event_source_set_enabled(engine->interval_timer, SD_EVENT_OFF);
        if (settings->interval_usec == USEC_INFINITY)
                return;
        span = settings->interval_usec + random_below(settings->jitter_usec);
        engine->next_run_usec = now_usec(CLOCK_BOOTTIME) + span;
        (void) sd_event_source_set_time(engine->interval_timer, engine->next_run_usec);
        (void) sd_event_source_set_enabled(engine->interval_timer, SD_EVENT_ONESHOT);
}

static void on_facts_before(
        void *userdata, _unused_ const char *json, _unused_ size_t size, bool changed, const char *error) {
        Engine *engine = userdata;

        engine->facts_before = fact_task_free(engine->facts_before);
        if (error)
                log_warning("Failed to gather facts before a run, which goes on without: %s", error);
        if (changed)
                (void) engine_load(engine, LOAD_INTERVAL);
        else
                (void) engine_run_all(engine, "interval");
}

static const FactTaskHandlers facts_handlers = { .on_facts = on_facts_before };

static int on_interval(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Engine *engine = userdata;
        int r;

        engine_schedule(engine);
        if (engine->stopping || engine->disabled || engine->facts_before)
                return 0;
        /* What is being loaded may be nothing new, and then nothing would run. */
        if (engine->load) {
                if (engine->load_cause == LOAD_ROLES || engine->load_cause == LOAD_RELOAD)
                        (void) engine_load(engine, LOAD_INTERVAL);
                return 0;
        }
        /* Without roles, or with errors in those on disk: perhaps what was missing is there by now. */
        if (!engine->image || engine->load_failed) {
                (void) engine_load(engine, LOAD_INTERVAL);
                return 0;
        }
        if (engine->image->header->facts.n == 0) {
                (void) engine_run_all(engine, "interval");
                return 0;
        }
        r = fact_task_start(engine->event,
                &(FactTaskOptions){
                        .root = "/",
                        .deadline_usec = engine->settings.facts_deadline_usec,
                        .image = engine->image,
                },
                &facts_handlers, engine, &engine->facts_before);
        if (r < 0) {
                log_warning_errno(r, "Failed to gather facts before a run, which goes on without: %m");
                (void) engine_run_all(engine, "interval");
        }
        return 0;
}

void engine_apply_settings(Engine *engine, const Settings *settings) {
        bool rescheduled = !engine->ready || settings->interval_usec != engine->settings.interval_usec ||
                           settings->jitter_usec != engine->settings.jitter_usec;
        bool level = !engine->ready || settings->log_level != engine->settings.log_level;

        engine->settings = *settings;
        /* A level that was set by hand holds until the file says another one. */
        if (level && engine->options->log_level < 0)
                log_set_max_level((int) settings->log_level);
        worker_pool_set_limit(engine->pool, (unsigned) settings->workers);
        store_set_limits(engine->store, &(StoreLimits){
                                                .size_bytes = settings->store_size_bytes,
                                                .age_usec = settings->store_age_usec,
                                                .content_bytes = settings->store_content_bytes,
                                        });
        if (rescheduled)
                engine_schedule(engine);
}

/* ---- Disabled ---------------------------------------------------------------------------------------------------------- */

json_t *engine_watches(const Engine *engine) {
        return heal_to_json(engine->heal);
}

bool engine_is_disabled(const Engine *engine) {
        return engine->disabled;
}

json_t *engine_disabled(const Engine *engine) {
        return disabled_to_json(engine->disabled);
}

static void arm_disabled(Engine *engine) {
        usec_t left = engine->disabled ? disabled_left(engine->disabled) : USEC_INFINITY;

        if (left == USEC_INFINITY) {
                (void) sd_event_source_set_enabled(engine->disabled_timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time_relative(engine->disabled_timer, left);
        (void) sd_event_source_set_enabled(engine->disabled_timer, SD_EVENT_ONESHOT);
}

static void become_enabled(Engine *engine, const char *by) {
        json_t *data = engine_disabled(engine);

        engine->disabled = disabled_free(engine->disabled);
        arm_disabled(engine);
        event_emit(engine->events, EVENT_ENABLED, &(EventDetails){ .data = data }, "Enabled by %s", by);
        json_decref(data);
        /* What has drifted meanwhile is put right now, not at the next interval. */
        (void) engine_run_all(engine, "enable");
        engine_touch(engine);
}

static int on_disabled_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Engine *engine = userdata;

        if (!engine->disabled)
                return 0;
        if (disabled_left(engine->disabled) > 0) {
                arm_disabled(engine);
                return 0;
        }
        /* If it stays, it says itself that its time is over. */
        (void) disabled_write(engine->options->state_directory, NULL);
        become_enabled(engine, "agentd, as the time is over");
        return 0;
}

int engine_disable(Engine *engine, const char *reason, const char *by, usec_t for_usec) {
        _cleanup_(disabled_freep) Disabled *disabled = NULL;
        char until[64] = "";
        json_t *data;
        int r;

        r = disabled_new(reason, by, for_usec, &disabled);
        if (r < 0)
                return r;
        r = disabled_write(engine->options->state_directory, disabled);
        if (r < 0)
                return r;
        disabled_free(engine->disabled);
        engine->disabled = TAKE_PTR(disabled);
        arm_disabled(engine);
        data = engine_disabled(engine);
        if (engine->disabled->until_usec != USEC_INFINITY) {
                time_t seconds = (time_t) (engine->disabled->until_usec / USEC_PER_SEC);
                struct tm tm;

                if (localtime_r(&seconds, &tm))
                        (void) strftime(until, sizeof(until), " until %Y-%m-%d %H:%M:%S", &tm);
        }
        event_emit(engine->events, EVENT_DISABLED, &(EventDetails){ .data = data }, "Disabled by %s%s: %s",
                by, until, reason);
        json_decref(data);
        heal_stop(engine->heal);
        engine_run_stop_applies(engine);
        engine_touch(engine);
        return 0;
}

int engine_enable(Engine *engine, const char *by) {
        int r;

        if (!engine->disabled)
                return 0;
        r = disabled_write(engine->options->state_directory, NULL);
        if (r < 0)
                return r;
        become_enabled(engine, by);
        return 0;
}

/* ---- The store ----------------------------------------------------------------------------------------------------------- */

static void on_owed_late(void *userdata, uint32_t state) {
        const Engine *engine = userdata;

        heal_look_at(engine->heal, state, HEAL_DRIFT);
}

static void on_trouble(void *userdata, StoreTrouble trouble, const char *detail) {
        static const EventKind kinds[] = {
                [STORE_RESET] = EVENT_STORE_RESET,
                [STORE_FAILED] = EVENT_STORE_FAILED,
                [STORE_RECOVERED] = EVENT_STORE_RECOVERED,
        };
        static const char *const texts[] = {
                [STORE_RESET] = "The store was set aside, and a fresh one begun",
                [STORE_FAILED] = "The store cannot be written; work goes on without",
                [STORE_RECOVERED] = "The store can be written again",
        };
        Engine *engine = userdata;
        json_t *data = json_pack("{s:o, s:s}", "path",
                json_sprintf("%s/%s", engine->options->state_directory, STORE_FILE), "detail", detail);

        event_emit(engine->events, kinds[trouble], &(EventDetails){ .data = data }, "%s: %s", texts[trouble],
                detail);
        json_decref(data);
        if (trouble == STORE_RESET) {
                engine_removal_store_reset(engine);
                if (engine->status)
                        status_store_reset(engine->status, engine->store);
        }
        if (trouble == STORE_RECOVERED && !engine->stopping) {
                /* Where it could not be opened at the start. */
                engine_removal_read_late(engine);
                if (engine->status)
                        status_read_late(engine->status, engine->store, on_owed_late, engine);
        }
}

static void on_store_events(void *userdata, int64_t id) {
        Engine *engine = userdata;

        event_log_written(engine->events, id);
}

static const StoreHandlers store_handlers = { .on_trouble = on_trouble, .on_events = on_store_events };

/* What agentd was at when it was killed. Its states are looked at by the run at boot. */
static void tell_unfinished(Engine *engine) {
        json_t *runs = store_end_unfinished(engine->store, "agentd was killed while it was at it"), *run;
        size_t i;

        json_array_foreach(runs, i, run) {
                int64_t id = json_integer_value(json_object_get(run, "run"));

                event_emit(engine->events, EVENT_RUN_INTERRUPTED, &(EventDetails){ .run = id, .data = run },
                        "Run %" PRId64 " was cut off when agentd was killed", id);
        }
        json_decref(runs);
}

/* ---- The object ---------------------------------------------------------------------------------------------------------- */

static int make_pool(Engine *engine) {
        WorkerPoolOptions options = {
                .root = "/",
                .sandbox.memory_bytes = WORKER_MEMORY_BYTES,
                .commands = engine->commands,
                .content_directory = engine->options->state_directory,
        };
        int r;

        if (!sandbox_is_possible()) {
                log_warning(
                        "This container lets root build no sandbox (CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH "
                        "are missing); checks run as root, in the open, and plans are refused");
                options.unsandboxed = true;
                return worker_pool_new(engine->event, &options, &engine->pool);
        }
        r = sandbox_find_user(&options.sandbox.uid, &options.sandbox.gid);
        if (r < 0)
                return log_error_errno(r, "Failed to find a user for checks to run as: %m");
        if (r == 0)
                log_notice("User 'agentd-check' does not exist; checks run as the unused uid %u",
                        (unsigned) options.sandbox.uid);
        return worker_pool_new(engine->event, &options, &engine->pool);
}

static int add_timer(
        Engine *engine, int clock, usec_t accuracy, sd_event_time_handler_t handler, sd_event_source **ret) {
        int r;

        r = sd_event_add_time(engine->event, ret, clock, 0, accuracy, handler, engine);
        return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int engine_init(Engine *engine) {
        const StoreOptions store = {
                .directory = engine->options->state_directory,
                .housekeeper = engine->options->executable,
        };
        int r;

        r = sd_event_add_defer(engine->event, &engine->idle_event, on_idle, engine);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(engine->idle_event, SD_EVENT_OFF);
        (void) sd_event_source_set_priority(engine->idle_event, SD_EVENT_PRIORITY_IDLE);
        /* Time asleep counts; being late by a second does not. */
        r = add_timer(engine, CLOCK_BOOTTIME, USEC_PER_SEC, on_interval, &engine->interval_timer);
        if (r < 0)
                return r;
        r = add_timer(engine, CLOCK_BOOTTIME, USEC_PER_SEC, on_disabled_timer, &engine->disabled_timer);
        if (r < 0)
                return r;
        r = add_timer(engine, CLOCK_MONOTONIC, 0, on_leave_timer, &engine->leave_timer);
        if (r < 0)
                return r;
        r = store_new(engine->event, &store, &store_handlers, engine, &engine->store);
        if (r < 0)
                return r;
        r = event_log_new(engine->store, &engine->events);
        if (r < 0)
                return r;
        r = engine_command_init(engine);
        if (r < 0)
                return r;
        r = make_pool(engine);
        if (r < 0)
                return r;
        r = heal_new(engine, &engine->heal);
        if (r < 0)
                return r;
        r = intervals_new(engine, &engine->intervals);
        if (r < 0)
                return r;
        r = triggers_new(engine, &engine->triggers);
        if (r < 0)
                return r;
        r = engine_run_init(engine);
        if (r < 0)
                return r;
        return engine_load_init(engine);
}

int engine_new(sd_event *event, const EngineOptions *options, Engine **ret) {
        _cleanup_(engine_freep) Engine *engine = NULL;
        int r;

        engine = calloc(1, sizeof(*engine));
        if (!engine)
                return log_oom();
        engine->event = sd_event_ref(event);
        engine->options = options;
        engine->settings = settings_default;
        engine->started_usec = now_usec(CLOCK_REALTIME);

        r = engine_init(engine);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the engine: %m");
        *ret = TAKE_PTR(engine);
        return 0;
}

Engine *engine_free(Engine *engine) {
        if (!engine)
                return NULL;

        engine->stopping = true;
        engine_run_done(engine);
        heal_free(engine->heal);
        intervals_free(engine->intervals);
        triggers_free(engine->triggers);
        fact_task_free(engine->facts_before);
        engine_load_done(engine);
        commands_free(engine->commands);
        event_log_free(engine->events);
        store_free(engine->store);
        disabled_free(engine->disabled);
        sd_event_source_disable_unref(engine->interval_timer);
        sd_event_source_disable_unref(engine->disabled_timer);
        sd_event_source_disable_unref(engine->stop_timer);
        sd_event_source_disable_unref(engine->leave_timer);
        sd_event_source_disable_unref(engine->idle_event);
        sd_event_unref(engine->event);
        free(engine);
        return NULL;
}

int engine_start(Engine *engine) {
        json_t *data = json_pack("{s:s}", "version", AGENTD_VERSION);
        int r;

        event_emit(engine->events, EVENT_STARTED, &(EventDetails){ .data = data }, "agentd %s started",
                AGENTD_VERSION);
        json_decref(data);
        tell_unfinished(engine);
        r = disabled_read(engine->options->state_directory, &engine->disabled);
        if (r < 0)
                return r;
        if (engine->disabled) {
                log_notice("Disabled by %s, nothing will be changed: %s", engine->disabled->by,
                        engine->disabled->reason);
                arm_disabled(engine);
        }
        (void) engine_load(engine, LOAD_BOOT);
        return 0;
}

static int on_stop_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Engine *engine = userdata;

        if (engine->runs)
                log_warning("What is under way has not finished within %s; stopping without it",
                        FORMAT_TIMESPAN(ENGINE_STOP_USEC));
        engine_run_give_up(engine);
        return leave(engine);
}

void engine_stop(Engine *engine, int code) {
        json_t *data;

        if (engine->stopping) {
                /* Told to stop for good while about to start anew. */
                if (code == 0)
                        engine->exit_code = 0;
                return;
        }
        engine->stopping = true;
        engine->exit_code = code;
        if (code != ENGINE_EXIT_REPLACED)
                notify_stopping();
        data = json_pack("{s:s}", "version", AGENTD_VERSION);
        event_emit(engine->events, EVENT_STOPPED, &(EventDetails){ .data = data }, "agentd %s %s",
                AGENTD_VERSION, code == ENGINE_EXIT_REPLACED ? "makes room for another one" : "stops");
        json_decref(data);
        heal_stop(engine->heal);
        commands_stop(engine->commands);
        engine_run_stop_all(engine);
        engine->facts_before = fact_task_free(engine->facts_before);
        engine_load_stop(engine);
        if (sd_event_add_time_relative(engine->event, &engine->stop_timer, CLOCK_MONOTONIC, ENGINE_STOP_USEC,
                    0, on_stop_timer, engine) < 0)
                (void) sd_event_exit(engine->event, code);
        engine_touch(engine);
}

/* ---- Looking --------------------------------------------------------------------------------------------------------------- */

const Settings *engine_settings(const Engine *engine) {
        return &engine->settings;
}

Image *engine_image(const Engine *engine) {
        return engine->image;
}

Store *engine_store(const Engine *engine) {
        return engine->store;
}

StatusTable *engine_status(const Engine *engine) {
        return engine->status;
}

EventLog *engine_events(const Engine *engine) {
        return engine->events;
}

Triggers *engine_triggers(const Engine *engine) {
        return engine->triggers;
}

usec_t engine_started(const Engine *engine) {
        return engine->started_usec;
}

usec_t engine_loaded(const Engine *engine) {
        return engine->loaded_usec;
}

usec_t engine_next_run(const Engine *engine) {
        usec_t now = now_usec(CLOCK_BOOTTIME);

        if (engine->next_run_usec == 0 || engine->disabled || engine->stopping)
                return 0;
        return now_usec(CLOCK_REALTIME) + (engine->next_run_usec > now ? engine->next_run_usec - now : 0);
}

const json_t *engine_load_errors(const Engine *engine) {
        return engine->load_errors;
}

bool engine_load_failed(const Engine *engine) {
        return engine->load_failed;
}

const EngineCounts *engine_counts(const Engine *engine) {
        return &engine->counts;
}
