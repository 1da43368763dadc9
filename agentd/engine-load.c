/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's loads: when roles are loaded, and what follows from it. */

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-interval.h"
#include "engine-select.h"
#include "engine-trigger.h"
#include "identity.h"
#include "log.h"
#include "notify.h"

/* Diagnostics that an event carries; the log has all of them. */
#define EVENT_DIAGNOSTICS_MAX 20

/* ---- What is watched ------------------------------------------------------------------------------------------------ */

typedef struct FileList {
        PathToWatch *paths;
        PathIdentity *identities;
        size_t n, n_allocated;
} FileList;

static void file_list_done(FileList *list) {
        free(list->paths);
        free(list->identities);
}

static int file_list_add(FileList *list, const char *path, const PathIdentity *identity, bool entries) {
        if (list->n == list->n_allocated) {
                size_t wanted = MAX(list->n_allocated * 2, (size_t) 64);
                PathToWatch *paths = realloc(list->paths, wanted * sizeof(PathToWatch));
                PathIdentity *identities;

                if (!paths)
                        return -ENOMEM;
                list->paths = paths;
                identities = realloc(list->identities, wanted * sizeof(PathIdentity));
                if (!identities)
                        return -ENOMEM;
                list->identities = identities;
                list->n_allocated = wanted;
        }
        list->identities[list->n] = identity ? *identity : (PathIdentity){};
        /* Pointers are set when the array does not move any more; until then this says whether there is one. */
        list->paths[list->n++] = (PathToWatch){
                .path = path,
                .identity = identity ? list->identities : NULL,
                .entries = entries,
        };
        return 0;
}

static PathIdentity identity_of(const ImageFile *file) {
        return (PathIdentity){
                .device = file->device,
                .inode = file->inode,
                .size = file->size,
                .mtime_nsec = file->mtime_nsec,
                .ctime_nsec = file->ctime_nsec,
        };
}

/* What the load has read or looked for, and the program itself. */
static int collect_watches(Engine *engine, const Image *image, const Load *load, FileList *list) {
        const LoadFile *files = NULL;
        size_t n_files = image ? 0 : load_files(load, &files);
        int r = 0;

        for (uint32_t i = 0; image && i < image->header->files.n && r >= 0; i++) {
                const ImageFile *file = image_array(image, files, ImageFile) + i;
                PathIdentity identity = identity_of(file);

                r = file_list_add(list, image_text(image, file->path), &identity, file->is_directory);
        }
        for (size_t i = 0; i < n_files && r >= 0; i++)
                r = file_list_add(list, files[i].path, &files[i].identity, files[i].is_directory);
        if (r >= 0 && engine->options->executable)
                r = file_list_add(list, engine->options->executable, NULL, false);
        for (size_t i = 0; i < list->n; i++)
                if (list->paths[i].identity)
                        list->paths[i].identity = &list->identities[i];
        return r;
}

static void watch(Engine *engine, const Image *image, const Load *load) {
        FileList list = {};
        int r;

        if (!engine->watch)
                return;
        r = collect_watches(engine, image, load, &list);
        if (r >= 0)
                r = path_watch_set(engine->watch, list.paths, list.n, engine->settings.watches_max);
        if (r < 0)
                log_warning_errno(
                        r, "Failed to watch the roles, so that changes are seen at the next run: %m");
        file_list_done(&list);
}

static void on_watch_changed(
        void *userdata, _unused_ const uint32_t *indices, _unused_ size_t n, _unused_ bool overflow) {
        Engine *engine = userdata;

        settle_poke(engine->n_idle_loads < ENGINE_IDLE_LOADS ? engine->settle : engine->settle_slow);
}

/* Now it is known whether what they are about has changed. */
static void answer_watch_waiters(Engine *engine) {
        for (LoadWaiter *waiter = TAKE_PTR(engine->waiters_watch), *next; waiter; waiter = next) {
                next = waiter->next;
                if (waiter->on_loaded && engine_catch_up(engine, waiter->on_loaded, waiter->userdata) <= 0)
                        waiter->on_loaded(waiter->userdata, NULL, engine->load_errors);
                free(waiter);
        }
        engine_touch(engine);
}

static void on_watch_armed(void *userdata, const char *error) {
        if (error)
                log_warning("Not every change of roles will be seen at once: %s", error);
        answer_watch_waiters(userdata);
}

static const PathWatchHandlers watch_handlers = {
        .on_changed = on_watch_changed,
        .on_armed = on_watch_armed,
};

static void on_settled(void *userdata) {
        (void) engine_load(userdata, LOAD_ROLES);
}

/* ---- Adopting ------------------------------------------------------------------------------------------------------- */

static bool states_differ(const Image *a, const Image *b, uint32_t i) {
        const ImageState *x = image_state(a, i), *y = image_state(b, i);

        return x->flags != y->flags || x->listens != y->listens || x->timeout_usec != y->timeout_usec ||
               memcmp(x->hash, y->hash, IMAGE_HASH_SIZE) != 0 ||
               !streq(image_state_id(a, i), image_state_id(b, i)) ||
               !streq(image_state_role(a, i), image_state_role(b, i)) || !image_extra_is_same(a, i, b, i);
}

static bool nodes_differ(const Image *a, const Image *b, uint32_t i) {
        const ImageNode *x = image_node(a, i), *y = image_node(b, i);

        return x->dependents.n != y->dependents.n || memcmp(image_dependents(a, x), image_dependents(b, y),
                                                             x->dependents.n * sizeof(uint32_t)) != 0;
}

static bool roles_differ(const Image *a, const Image *b, uint32_t i) {
        const ImageRole *x = image_array(a, roles, ImageRole) + i, *y = image_array(b, roles, ImageRole) + i;

        return !image_lists_are_same(a, x->tags, b, y->tags);
}

static bool listeners_differ(const Image *a, const Image *b) {
        uint32_t n = a->header->listeners.n;

        return n != b->header->listeners.n ||
               memcmp(image_array(a, listeners, ImageListener), image_array(b, listeners, ImageListener),
                       n * sizeof(ImageListener)) != 0;
}

static bool triggers_differ(const Image *a, const Image *b) {
        uint32_t n = image_n_triggers(a), n_triggered = a->header->triggered.n;

        if (n != image_n_triggers(b) || n_triggered != b->header->triggered.n ||
                memcmp(image_array(a, triggered, uint32_t), image_array(b, triggered, uint32_t),
                        n_triggered * sizeof(uint32_t)) != 0)
                return true;
        for (uint32_t i = 0; i < n; i++) {
                const ImageTrigger *x = image_trigger(a, i), *y = image_trigger(b, i);

                if (x->kind != y->kind || x->every_usec != y->every_usec || x->recursive != y->recursive ||
                        x->states.n != y->states.n ||
                        !streq(image_text(a, x->name), image_text(b, y->name)) ||
                        (x->kind == IMAGE_TRIGGER_PATH &&
                                (!streq(image_text(a, x->path), image_text(b, y->path)) ||
                                        (x->recursive && !streq(image_text(a, x->exclude),
                                                                 image_text(b, y->exclude))))))
                        return true;
        }
        return false;
}

static bool modules_differ(const Image *a, const Image *b, uint32_t i) {
        const ImageModule *x = image_array(a, modules, ImageModule) + i,
                          *y = image_array(b, modules, ImageModule) + i;

        return x->build_id_size != y->build_id_size ||
               memcmp(x->build_id, y->build_id, x->build_id_size) != 0 ||
               !streq(image_text(a, x->path), image_text(b, y->path));
}

/* Whether the new roles say something else. */
static bool differ(const Image *a, const Image *b) {
        if (!a || image_n_states(a) != image_n_states(b) || a->header->nodes.n != b->header->nodes.n ||
                a->header->dependents.n != b->header->dependents.n ||
                a->header->modules.n != b->header->modules.n || a->header->roles.n != b->header->roles.n ||
                listeners_differ(a, b) || triggers_differ(a, b))
                return true;
        for (uint32_t i = 0; i < a->header->roles.n; i++)
                if (roles_differ(a, b, i))
                        return true;
        for (uint32_t i = 0; i < image_n_states(a); i++)
                if (states_differ(a, b, i))
                        return true;
        for (uint32_t i = 0; i < a->header->nodes.n; i++)
                if (nodes_differ(a, b, i))
                        return true;
        for (uint32_t i = 0; i < a->header->modules.n; i++)
                if (modules_differ(a, b, i))
                        return true;
        return false;
}

/* left: as of engine_run_image_changed(). */
static int adopt(Engine *engine, Image *image, bool different, uint8_t *left) {
        StatusTable *status;
        Image *old;
        int r;

        r = status_table_new(image, engine->status, engine->store, &status);
        if (r < 0)
                return r;
        status_table_free(engine->status);
        engine->status = status;
        old = engine->image;
        identity_adopt(image, status, old);
        engine->image = image_ref(image);
        engine_removal_adopted(engine, engine->load);
        engine->loaded_usec = now_usec(CLOCK_REALTIME);
        engine_apply_settings(engine, &image->header->settings);
        engine_run_image_changed(engine, different, left);
        triggers_image_changed(engine->triggers, old);
        heal_image_changed(engine->heal, old);
        intervals_image_changed(engine->intervals, old);
        image_unref(old);
        return 0;
}

static void log_diagnostics(const json_t *diagnostics, int level) {
        json_t *diagnostic;
        size_t i;

        json_array_foreach(diagnostics, i, diagnostic) {
                _cleanup_free_ char *text = load_diagnostic_to_string(diagnostic);

                if (text)
                        log_full(level, "%s", text);
        }
}

static void tell_refused(Engine *engine, const json_t *diagnostics) {
        size_t n = json_array_size(diagnostics);
        json_t *first = json_array(), *data, *diagnostic;
        const char *force =
                engine->image ? "what was loaded before stays in force" : "no roles are in force";
        size_t i;

        json_array_foreach(diagnostics, i, diagnostic) if (i < EVENT_DIAGNOSTICS_MAX)(void)
                json_array_append(first, diagnostic);
        data = json_pack("{s:o}", "diagnostics", first);
        log_diagnostics(diagnostics, LOG_ERR);
        if (n == 0)
                event_emit(engine->events, EVENT_ROLES_REFUSED, &(EventDetails){ .data = data },
                        "The roles could not be loaded; %s", force);
        else
                event_emit(engine->events, EVENT_ROLES_REFUSED, &(EventDetails){ .data = data },
                        "The roles have %zu error%s; %s", n, n == 1 ? "" : "s", force);
        json_decref(data);
}

static void tell_loaded(Engine *engine) {
        uint32_t n_roles = image_n_roles(engine->image), n_states = image_n_states(engine->image);
        json_t *data =
                json_pack("{s:I, s:I}", "n_roles", (json_int_t) n_roles, "n_states", (json_int_t) n_states);

        event_emit(engine->events, EVENT_ROLES_LOADED, &(EventDetails){ .data = data },
                "Loaded %u state%s of %u role%s", n_states, n_states == 1 ? "" : "s", n_roles,
                n_roles == 1 ? "" : "s");
        json_decref(data);
}

/* ---- A load --------------------------------------------------------------------------------------------------------- */

static void answer_waiters(Engine *engine, const json_t *outcome, const json_t *diagnostics) {
        for (LoadWaiter *waiter = TAKE_PTR(engine->waiters), *next; waiter; waiter = next) {
                next = waiter->next;
                if (waiter->on_loaded)
                        waiter->on_loaded(waiter->userdata, outcome, diagnostics);
                free(waiter);
        }
}

static const char *cause_of_run(LoadCause cause) {
        static const char *const causes[] = {
                [LOAD_BOOT] = "boot",
                [LOAD_INTERVAL] = "interval",
                [LOAD_ROLES] = "roles",
                [LOAD_RELOAD] = "reload",
        };

        return causes[cause];
}

/* The first load is over, whatever came of it: others may be started that wait for us. */
static void become_ready(Engine *engine) {
        if (engine->ready)
                return;
        engine->ready = true;
        /* After a load that failed no settings did this. */
        if (engine->next_run_usec == 0)
                engine_schedule(engine);
        notify_ready();
}

static void on_load_failed(Engine *engine, const json_t *diagnostics) {
        /* The same errors again, as when a file is saved twice, are no news. */
        bool again = engine->load_failed && json_equal(engine->load_errors, diagnostics) &&
                     engine->load_cause != LOAD_RELOAD && !engine->waiters;

        engine->counts.n_loads_failed++;
        engine->load_failed = true;
        json_decref(engine->load_errors);
        engine->load_errors = json_deep_copy(diagnostics);
        engine->n_idle_loads = again ? engine->n_idle_loads + 1 : 0;
        watch(engine, NULL, engine->load);
        if (!again)
                tell_refused(engine, diagnostics);
        become_ready(engine);
        /* Facts have changed so that the roles are no longer valid; the old ones are. */
        if (engine->load_cause == LOAD_INTERVAL && engine->image)
                (void) engine_run_all(engine, "interval");
        answer_waiters(engine, NULL, diagnostics);
}

/* The run that a load leads to. left: what has to be looked at in any case. Return: its number; 0: none. */
static int64_t run_after_load(Engine *engine, const Image *old, bool full, uint8_t *left, uint32_t *ret_n) {
        const char *cause = cause_of_run(engine->load_cause);
        uint32_t n = 0;
        int64_t run;

        if (!full && select_changed(engine->status, old, left, &n) >= 0)
                return engine_run_some(engine, cause, left, ret_n);
        free(left);
        run = engine_run_all(engine, cause);
        *ret_n = run > 0 ? image_n_states(engine->image) : 0;
        return run;
}

static void on_load_good(Engine *engine, Image *image, const json_t *diagnostics) {
        const Settings *settings = &image->header->settings;
        LoadCause cause = engine->load_cause;
        bool different = differ(engine->image, image),
             /* What was refused may be let through now. */
                more = settings->max_changes > engine->settings.max_changes && engine->refused,
             changed = different || settings->max_changes != engine->settings.max_changes,
             full = !engine->image || cause == LOAD_BOOT || cause == LOAD_INTERVAL || more,
             was_failed = engine->load_failed;
        uint8_t *left = calloc(MAX(image_n_states(image), 1U), 1);
        Image *old = engine->image ? image_ref(engine->image) : NULL;
        uint32_t n = 0;
        int64_t run = 0;
        json_t *outcome;
        int r;

        r = left ? adopt(engine, image, different, left) : -ENOMEM;
        if (r < 0) {
                log_error_errno(r, "Failed to take over the roles: %m");
                free(left);
                image_unref(old);
                engine->load_failed = true;
                become_ready(engine);
                answer_waiters(engine, NULL, diagnostics);
                return;
        }
        engine->load_failed = false;
        json_decref(engine->load_errors);
        engine->load_errors = json_array();
        engine->n_idle_loads = different || was_failed || cause != LOAD_ROLES ? 0 : engine->n_idle_loads + 1;
        watch(engine, image, NULL);
        if (changed || was_failed || !engine->ready)
                tell_loaded(engine);
        become_ready(engine);
        /* A file that was only touched is no reason to try again what failed. */
        if (changed || cause != LOAD_ROLES)
                run = run_after_load(engine, old, full, TAKE_PTR(left), &n);
        free(left);
        image_unref(old);

        outcome = json_pack("{s:I, s:I, s:b, s:o, s:I, s:[], s:O}", "n_roles",
                (json_int_t) image_n_roles(image), "n_states", (json_int_t) image_n_states(image), "changed",
                changed, "run", run > 0 ? json_integer(run) : json_null(), "n_run_states", (json_int_t) n,
                "diagnostics", "warnings", load_warnings(engine->load));
        answer_waiters(engine, outcome, diagnostics);
        json_decref(outcome);
}

static void on_loaded(void *userdata, Image *image, json_t *diagnostics) {
        Engine *engine = userdata;

        engine->load_over = true;
        engine->counts.n_loads++;
        engine->counts.load_usec = now_usec(CLOCK_MONOTONIC) - engine->load_begin_usec;
        if (image)
                on_load_good(engine, image, diagnostics);
        else
                on_load_failed(engine, diagnostics);

        /* It cannot be freed from within. */
        (void) sd_event_source_set_enabled(engine->load_event, SD_EVENT_ONESHOT);
}

static const LoadHandlers load_handlers = { .on_loaded = on_loaded };

static int start_load(Engine *engine, LoadCause cause) {
        int r;

        engine->load_cause = cause;
        engine->noted = false;
        engine->load_over = false;
        engine->load_begin_usec = now_usec(CLOCK_MONOTONIC);
        settle_cancel(engine->settle);
        settle_cancel(engine->settle_slow);
        /* It sees all that they have to know of. */
        for (LoadWaiter *waiter; (waiter = engine->waiters_watch);) {
                engine->waiters_watch = waiter->next;
                waiter->next = engine->waiters;
                engine->waiters = waiter;
        }
        r = load_start(engine->event, &engine->load_options, &load_handlers, engine, &engine->load);
        if (r < 0) {
                json_t *none = json_array();

                log_error_errno(r, "Failed to start the loader: %m");
                engine->load_failed = true;
                become_ready(engine);
                answer_waiters(engine, NULL, none);
                json_decref(none);
        }
        engine_touch(engine);
        return r;
}

static int on_load_event(_unused_ sd_event_source *source, void *userdata) {
        Engine *engine = userdata;

        engine->load = load_free(engine->load);
        /* What the loader has left in our page tables and heap. */
        (void) malloc_trim(0);
        if (engine->load_again && !engine->stopping) {
                engine->load_again = false;
                engine->waiters = TAKE_PTR(engine->waiters_again);
                (void) start_load(engine, engine->load_again_cause);
        }
        engine_touch(engine);
        return 0;
}

int engine_load(Engine *engine, LoadCause cause) {
        if (engine->stopping)
                return -ESHUTDOWN;
        if (!engine->load)
                return start_load(engine, cause);
        /* What it has read may be older than the reason for this one. The stronger reason counts. */
        if (!engine->load_again || cause > engine->load_again_cause)
                engine->load_again_cause = cause;
        engine->load_again = true;
        return 0;
}

static int add_waiter(LoadWaiter **list, EngineLoaded on_loaded_, void *userdata) {
        LoadWaiter *waiter = malloc(sizeof(*waiter));

        if (!waiter)
                return -ENOMEM;
        *waiter = (LoadWaiter){ .next = *list, .on_loaded = on_loaded_, .userdata = userdata };
        *list = waiter;
        return 0;
}

int engine_reload(Engine *engine, EngineLoaded on_loaded_, void *userdata) {
        int r;

        if (engine->stopping)
                return -ESHUTDOWN;
        r = add_waiter(engine->load ? &engine->waiters_again : &engine->waiters, on_loaded_, userdata);
        if (r < 0)
                return r;
        /* A failure to start has been told to the waiter. */
        (void) engine_load(engine, LOAD_RELOAD);
        return 0;
}

int engine_catch_up(Engine *engine, EngineLoaded on_loaded_, void *userdata) {
        bool due, again, loading, arming;
        int r;

        if (engine->stopping)
                return -ESHUTDOWN;
        if (engine->watch)
                path_watch_look(engine->watch);
        due = settle_is_pending(engine->settle) || settle_is_pending(engine->settle_slow);
        loading = engine->load && !engine->load_over;
        arming = engine->watch && path_watch_is_arming(engine->watch);
        if (!due && !engine->load_again && !loading) {
                r = arming ? add_waiter(&engine->waiters_watch, on_loaded_, userdata) : 0;
                return r < 0 ? r : arming;
        }

        /* What has changed before it was watched, and since the load that goes on has read it. */
        due = due || (loading && arming && !engine->load_again);
        /* One that goes on has not seen what was changed since it began. */
        again = engine->load && (due || engine->load_again || engine->load_over);
        r = add_waiter(again ? &engine->waiters_again : &engine->waiters, on_loaded_, userdata);
        if (r < 0)
                return r;
        if (due) {
                settle_cancel(engine->settle);
                settle_cancel(engine->settle_slow);
                /* A failure to start has been told to the waiter. */
                (void) engine_load(engine, LOAD_ROLES);
        }
        return 1;
}

static void forget_waiters(LoadWaiter *list, const void *userdata) {
        for (LoadWaiter *waiter = list; waiter; waiter = waiter->next)
                if (waiter->userdata == userdata)
                        waiter->on_loaded = NULL;
}

void engine_forget(Engine *engine, void *userdata) {
        forget_waiters(engine->waiters, userdata);
        forget_waiters(engine->waiters_again, userdata);
        forget_waiters(engine->waiters_watch, userdata);
        engine_ask_forget(engine, userdata);
}

/* ---- The object ----------------------------------------------------------------------------------------------------- */

int engine_load_init(Engine *engine) {
        int r;

        engine->load_options = (LoadOptions){
                .root = "/",
                .conf_dir = engine->options->conf_dir,
                .module_dir = engine->options->module_dir,
        };
        engine->load_errors = json_array();
        if (!engine->load_errors)
                return -ENOMEM;
        r = engine_removal_init(engine);
        if (r < 0)
                return r;
        engine->load_options.removals = engine->removals;
        r = sd_event_add_defer(engine->event, &engine->load_event, on_load_event, engine);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(engine->load_event, SD_EVENT_OFF);
        r = settle_new(engine->event, ENGINE_SETTLE_USEC, ENGINE_SETTLE_LONGEST_USEC, on_settled, engine,
                &engine->settle);
        if (r < 0)
                return r;
        r = settle_new(engine->event, ENGINE_SETTLE_SLOW_USEC, ENGINE_SETTLE_SLOW_LONGEST_USEC, on_settled,
                engine, &engine->settle_slow);
        if (r < 0)
                return r;
        r = path_watch_new(engine->event, &watch_handlers, engine, &engine->watch);
        if (r < 0)
                log_warning_errno(r,
                        "Failed to set up watches (fs.inotify.max_user_instances may be used up); "
                        "changes of roles are seen at the next reload only: %m");
        return 0;
}

void engine_load_stop(Engine *engine) {
        json_t *none = json_array();

        engine->load = load_free(engine->load);
        /* Half-built there are none. */
        if (engine->settle)
                settle_cancel(engine->settle);
        if (engine->settle_slow)
                settle_cancel(engine->settle_slow);
        answer_waiters(engine, NULL, none);
        engine->waiters = TAKE_PTR(engine->waiters_again);
        answer_waiters(engine, NULL, none);
        engine->waiters = TAKE_PTR(engine->waiters_watch);
        answer_waiters(engine, NULL, none);
        json_decref(none);
        engine_ask_stop(engine);
}

void engine_load_done(Engine *engine) {
        engine_load_stop(engine);
        engine_ask_done(engine);
        path_watch_free(engine->watch);
        settle_free(engine->settle);
        settle_free(engine->settle_slow);
        sd_event_source_disable_unref(engine->load_event);
        status_table_free(engine->status);
        image_unref(engine->image);
        json_decref(engine->load_errors);
        engine_removal_done(engine);
}
