/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-select.h"
#include "engine-trigger.h"
#include "log.h"

#define NO_STATE UINT32_MAX

static const char *const cause_names[_HEAL_CAUSE_MAX] = {
        [HEAL_DRIFT] = "drift",
        [HEAL_INTERVAL] = "state-interval",
        [HEAL_TRIGGER] = "trigger",
};

/* A state that was healed lately. */
typedef struct Fight {
        uint32_t state;
        unsigned n;        /* healings in a row */
        usec_t first_usec; /* … since when; CLOCK_BOOTTIME, as all here */
        usec_t last_usec;
        usec_t pause_usec; /* before the next; 0: no fight yet */
        bool waiting;      /* it is to be looked at when the pause is over */
} Fight;

struct Heal {
        Engine *engine; /* not a reference */
        PathWatch *watch;
        char *error;

        /* Of the image in force: path i is watched for the states from first[i] up to first[i + 1]; triggers are numbered after
         * the states. */
        uint32_t *first, *states;
        uint32_t n_paths;

        uint8_t *is_pending; /* by state: 1 + HealCause; 0: it is not */
        uint32_t *pending, n_pending;
        unsigned n_runs;

        Fight *fights;
        size_t n_fights, n_fights_allocated;

        bool armed;
        uint8_t *passed_over; /* by state: not healed for now; NULL: all are */
        uint8_t *begun;       /* by state: a run has looked at it before all was armed; NULL: none has */
        sd_event_source *arm_timer;   /* a run waits no longer */
        sd_event_source *fight_timer; /* a pause, or a fight, is over */
        sd_event_source *look_event;  /* deferred: what others want to be looked at */
};

static void start(Heal *heal);

/* ---- What is pending ------------------------------------------------------------------------------------------------ */

static void add_pending(Heal *heal, uint32_t state, HealCause cause) {
        if (heal->is_pending[state])
                return;
        heal->is_pending[state] = (uint8_t) (1 + cause);
        heal->pending[heal->n_pending++] = state;
}

/* Whose path that is. */
static void path_changed(Heal *heal, uint32_t path) {
        uint32_t n = image_n_states(heal->engine->image);

        for (uint32_t k = heal->first[path]; k < heal->first[path + 1]; k++)
                if (heal->states[k] < n)
                        add_pending(heal, heal->states[k], HEAL_DRIFT);
                else
                        triggers_path_changed(heal->engine->triggers, heal->states[k] - n);
}

static void add_all(Heal *heal) {
        for (uint32_t i = 0; i < heal->n_paths; i++)
                path_changed(heal, i);
}

static void drop_pending(Heal *heal) {
        for (uint32_t i = 0; i < heal->n_pending; i++)
                heal->is_pending[heal->pending[i]] = 0;
        heal->n_pending = 0;
}

/* ---- Fights --------------------------------------------------------------------------------------------------------- */

static Fight *find_fight(const Heal *heal, uint32_t state) {
        for (size_t i = 0; i < heal->n_fights; i++)
                if (heal->fights[i].state == state)
                        return &heal->fights[i];
        return NULL;
}

/* When nothing more is to be said of it. */
static usec_t end_of(const Fight *fight) {
        if (fight->pause_usec == 0)
                return fight->first_usec + FIGHT_WINDOW_USEC;
        return fight->last_usec + fight->pause_usec + FIGHT_PEACE_USEC;
}

static void arm_fight_timer(Heal *heal) {
        usec_t next = USEC_INFINITY;

        for (size_t i = 0; i < heal->n_fights; i++) {
                const Fight *fight = &heal->fights[i];

                next = MIN(next, fight->waiting ? fight->last_usec + fight->pause_usec : end_of(fight));
        }
        if (next == USEC_INFINITY) {
                (void) sd_event_source_set_enabled(heal->fight_timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time(heal->fight_timer, next);
        (void) sd_event_source_set_enabled(heal->fight_timer, SD_EVENT_ONESHOT);
}

static void tell_fight(Heal *heal, const Fight *fight, bool begun) {
        Engine *engine = heal->engine;
        const char *id = image_state_id(engine->image, fight->state);
        json_t *data = json_pack("{s:I, s:I}", "repaired", (json_int_t) fight->n, "pause_usec",
                (json_int_t) (begun ? fight->pause_usec : 0));
        const EventDetails details = {
                .state = id,
                .role = image_state_role(engine->image, fight->state),
                .data = data,
        };

        if (begun)
                event_emit(engine->events, EVENT_FIGHT_BEGUN, &details,
                        "%s was repaired %u times within %s, and somebody changes it again each time; it is "
                        "repaired less often from now on",
                        id, fight->n, FORMAT_TIMESPAN(fight->last_usec - fight->first_usec));
        else
                event_emit(
                        engine->events, EVENT_FIGHT_OVER, &details, "%s is left alone by others again", id);
        json_decref(data);
}

static int on_fight_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Heal *heal = userdata;
        usec_t now = now_usec(CLOCK_BOOTTIME);

        for (size_t i = 0; i < heal->n_fights;) {
                Fight *fight = &heal->fights[i];

                if (fight->waiting && now >= fight->last_usec + fight->pause_usec) {
                        fight->waiting = false;
                        add_pending(heal, fight->state, HEAL_DRIFT);
                } else if (!fight->waiting && now >= end_of(fight)) {
                        if (fight->pause_usec > 0)
                                tell_fight(heal, fight, false);
                        *fight = heal->fights[--heal->n_fights];
                        continue;
                }
                i++;
        }
        start(heal);
        arm_fight_timer(heal);
        return 0;
}

void heal_state_changed(Heal *heal, uint32_t state) {
        usec_t now = now_usec(CLOCK_BOOTTIME);
        Fight *fight = find_fight(heal, state);

        if (!fight) {
                if (heal->n_fights == heal->n_fights_allocated) {
                        size_t n = MAX(heal->n_fights_allocated * 2, (size_t) 8);
                        Fight *fights = realloc(heal->fights, n * sizeof(*fights));

                        /* Then it is not slowed down. */
                        if (!fights)
                                return;
                        heal->fights = fights;
                        heal->n_fights_allocated = n;
                }
                fight = &heal->fights[heal->n_fights++];
                *fight = (Fight){ .state = state, .first_usec = now };
        }
        fight->n++;
        fight->last_usec = now;
        if (fight->pause_usec > 0)
                fight->pause_usec = MIN(fight->pause_usec * 2, FIGHT_PAUSE_MAX_USEC);
        else if (fight->n >= FIGHT_BURST) {
                fight->pause_usec = FIGHT_PAUSE_USEC;
                tell_fight(heal, fight, true);
        }
        arm_fight_timer(heal);
}

bool heal_is_fighting(const Heal *heal, uint32_t state) {
        const Fight *fight = find_fight(heal, state);

        return fight && fight->pause_usec > 0;
}

bool engine_is_fighting(const Engine *engine, uint32_t state) {
        return heal_is_fighting(engine->heal, state);
}

/* True if the state has to wait; it will be looked at then. */
static bool must_wait(Heal *heal, uint32_t state) {
        Fight *fight = find_fight(heal, state);

        if (!fight || fight->pause_usec == 0 ||
                now_usec(CLOCK_BOOTTIME) >= fight->last_usec + fight->pause_usec)
                return false;
        fight->waiting = true;
        arm_fight_timer(heal);
        return true;
}

/* ---- Runs ----------------------------------------------------------------------------------------------------------- */

static bool is_passed_over(const Heal *heal, uint32_t state) {
        return heal->passed_over && heal->passed_over[state];
}

void heal_pass_over(Heal *heal, const uint8_t *states) {
        uint32_t n = image_n_states(heal->engine->image);

        if (!heal->passed_over)
                heal->passed_over = calloc(MAX(n, 1U), 1);
        if (!heal->passed_over) {
                log_oom();
                return;
        }
        for (uint32_t i = 0; i < n; i++)
                heal->passed_over[i] |= states[i];
}

/* Begins a run over what is pending for one cause. */
static void start_cause(Heal *heal, HealCause cause) {
        Engine *engine = heal->engine;
        const Image *image = engine->image;
        _cleanup_free_ uint8_t *selected = NULL;
        uint32_t n = 0, left = 0;
        int r;

        selected = calloc(MAX(image_n_states(image), 1U), 1);
        if (!selected)
                return;
        for (uint32_t i = 0; i < heal->n_pending; i++) {
                uint32_t state = heal->pending[i];

                if (heal->is_pending[state] != 1 + cause) {
                        heal->pending[left++] = state;
                        continue;
                }
                heal->is_pending[state] = 0;
                if (!is_passed_over(heal, state) && !must_wait(heal, state)) {
                        selected[state] = 1;
                        n++;
                }
        }
        heal->n_pending = left;
        if (n == 0)
                return;
        r = select_dependents(image, selected);
        for (uint32_t i = 0; i < image_n_states(image); i++)
                selected[i] &= !is_passed_over(heal, i);
        if (r >= 0)
                r = engine_run_heal(engine, TAKE_PTR(selected), cause_names[cause]);
        if (r < 0)
                log_warning_errno(r, "Failed to look at what has changed; the next run will: %m");
        else
                heal->n_runs++;
}

/* Begins runs over what is pending, unless enough go on already. */
static void start(Heal *heal) {
        Engine *engine = heal->engine;

        if (heal->n_pending == 0 || !engine->image)
                return;
        if (engine->stopping || engine->disabled) {
                drop_pending(heal);
                return;
        }
        for (HealCause cause = 0; cause < _HEAL_CAUSE_MAX; cause++)
                if (heal->n_pending > 0 && heal->n_runs < HEAL_RUNS_MAX)
                        start_cause(heal, cause);
}

void heal_run_over(Heal *heal) {
        assert(heal->n_runs > 0);
        heal->n_runs--;
        start(heal);
}

static int on_look_event(_unused_ sd_event_source *source, void *userdata) {
        start(userdata);
        return 0;
}

void heal_look_at(Heal *heal, uint32_t state, HealCause cause) {
        add_pending(heal, state, cause);
        /* Who asks may be in the middle of a run, and has more of them. */
        (void) sd_event_source_set_enabled(heal->look_event, SD_EVENT_ONESHOT);
}

void heal_stop(Heal *heal) {
        drop_pending(heal);
        for (size_t i = 0; i < heal->n_fights; i++)
                heal->fights[i].waiting = false;
}

/* ---- What is watched ------------------------------------------------------------------------------------------------ */

static void on_changed(void *userdata, const uint32_t *indices, size_t n, bool overflow) {
        Heal *heal = userdata;

        if (overflow) {
                log_notice("So much has changed at once that nobody knows what; all that is watched is "
                           "looked at");
                add_all(heal);
        }
        for (size_t i = 0; i < n; i++)
                if (indices[i] < heal->n_paths)
                        path_changed(heal, indices[i]);
        start(heal);
}

static void stop_waiting(Heal *heal) {
        (void) sd_event_source_set_enabled(heal->arm_timer, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(heal->engine->run_event, SD_EVENT_ONESHOT);
}

static int on_arm_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        stop_waiting(userdata);
        return 0;
}

static void on_armed(void *userdata, const char *error) {
        Heal *heal = userdata;

        if (error && !streq_ptr(error, heal->error))
                log_warning("Some drift is seen only by the next run: %s", error);
        free(heal->error);
        heal->error = error ? strdup(error) : NULL;
        if (heal->armed)
                return;
        heal->armed = true;
        /* What was looked at before it was watched may have changed in between. */
        for (uint32_t i = 0; heal->begun && i < heal->n_paths; i++)
                for (uint32_t k = heal->first[i]; k < heal->first[i + 1]; k++)
                        if (heal->begun[heal->states[k]])
                                add_pending(heal, heal->states[k], HEAL_DRIFT);
        free(TAKE_PTR(heal->begun));
        stop_waiting(heal);
        start(heal);
}

static const PathWatchHandlers watch_handlers = { .on_changed = on_changed, .on_armed = on_armed };

typedef struct WatchedPath {
        const char *path;
        uint32_t state;
        bool entries;   /* of a directory as well */
        bool tree;      /* … and all that lies below */
        uint32_t depth; /* of a tree, as in ImageWatch */
        const char *exclude;
} WatchedPath;

/* A path that is one of a list already: a tree of one state is looked into as far as any other wants that. */
static void add_tree(PathToWatch *path, const WatchedPath *tree) {
        if (!path->tree) {
                path->tree = true;
                path->depth = tree->depth;
                path->exclude = tree->exclude;
                return;
        }
        path->depth = path->depth == 0 || tree->depth == 0 ? 0 : MAX(path->depth, tree->depth);
        if (!streq_ptr(path->exclude, tree->exclude))
                path->exclude = NULL;
}

static int compare_paths(const void *a, const void *b) {
        const WatchedPath *x = a, *y = b;
        int r = strcmp(x->path, y->path);

        return r != 0 ? r : (x->state > y->state) - (x->state < y->state);
}

static int collect(const Image *image, WatchedPath **ret, uint32_t *ret_n) {
        const ImageWatch *watches = image_array(image, watches, ImageWatch);
        WatchedPath *list =
                malloc(((size_t) image->header->watches.n + image_n_triggers(image) + 1) * sizeof(*list));
        uint32_t n = 0;

        if (!list)
                return -ENOMEM;
        for (uint32_t i = 0; i < image_n_states(image); i++) {
                const ImageState *state = image_state(image, i);

                if (state->flags & IMAGE_STATE_UNWATCHED)
                        continue;
                for (uint32_t k = 0; k < state->watches.n; k++) {
                        const ImageWatch *watch = &watches[state->watches.offset + k];

                        if (watch->kind == IMAGE_WATCH_PATH || watch->kind == IMAGE_WATCH_TREE)
                                list[n++] = (WatchedPath){
                                        .path = image_text(image, watch->what),
                                        .state = i,
                                        .tree = watch->kind == IMAGE_WATCH_TREE,
                                        .depth = watch->depth,
                                        .exclude = watch->kind == IMAGE_WATCH_TREE
                                                           ? image_text(image, watch->exclude)
                                                           : NULL,
                                };
                }
        }
        for (uint32_t i = 0; i < image_n_triggers(image); i++) {
                const ImageTrigger *trigger = image_trigger(image, i);

                if (trigger->kind == IMAGE_TRIGGER_PATH)
                        list[n++] = (WatchedPath){
                                .path = image_text(image, trigger->path),
                                .state = image_n_states(image) + i,
                                .entries = true,
                                .tree = trigger->recursive,
                                .exclude = trigger->recursive ? image_text(image, trigger->exclude) : NULL,
                        };
        }
        qsort(list, n, sizeof(*list), compare_paths);
        *ret = list;
        *ret_n = n;
        return 0;
}

static int set_paths(Heal *heal, const Image *image) {
        _cleanup_free_ WatchedPath *list = NULL;
        _cleanup_free_ PathToWatch *paths = NULL;
        _cleanup_free_ uint32_t *first = NULL, *states = NULL;
        uint32_t n, n_paths = 0;
        int r;

        r = collect(image, &list, &n);
        if (r < 0)
                return r;
        paths = malloc(MAX(n, 1U) * sizeof(*paths));
        first = malloc(((size_t) n + 1) * sizeof(*first));
        states = malloc(MAX(n, 1U) * sizeof(*states));
        if (!paths || !first || !states)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                if (i == 0 || !streq(list[i].path, list[i - 1].path)) {
                        paths[n_paths] = (PathToWatch){ .path = list[i].path };
                        first[n_paths++] = i;
                }
                if (list[i].tree)
                        add_tree(&paths[n_paths - 1], &list[i]);
                paths[n_paths - 1].entries = paths[n_paths - 1].entries || list[i].entries;
                states[i] = list[i].state;
        }
        first[n_paths] = n;

        r = path_watch_set(heal->watch, paths, n_paths, heal->engine->settings.watches_max);
        if (r < 0)
                return r;
        free(heal->first);
        free(heal->states);
        heal->first = TAKE_PTR(first);
        heal->states = TAKE_PTR(states);
        heal->n_paths = n_paths;
        return 0;
}

/* The state in the image that is in force now. */
static uint32_t state_now(const Heal *heal, const Image *old, uint32_t state) {
        return status_find(heal->engine->status, image_state_id(old, state));
}

void heal_image_changed(Heal *heal, const Image *old) {
        const Image *image = heal->engine->image;
        uint32_t n = MAX(image_n_states(image), 1U), n_pending = 0;
        uint8_t *is_pending = calloc(n, 1);
        uint32_t *pending = malloc(n * sizeof(*pending));
        int r;

        if (!is_pending || !pending) {
                log_oom();
                free(is_pending);
                free(pending);
                return;
        }
        for (uint32_t i = 0; i < heal->n_pending; i++) {
                uint32_t now = state_now(heal, old, heal->pending[i]);

                if (now != NO_STATE && !is_pending[now]) {
                        is_pending[now] = heal->is_pending[heal->pending[i]];
                        pending[n_pending++] = now;
                }
        }
        for (size_t i = 0; i < heal->n_fights;) {
                uint32_t now = state_now(heal, old, heal->fights[i].state);

                if (now == NO_STATE)
                        heal->fights[i] = heal->fights[--heal->n_fights];
                else
                        heal->fights[i++].state = now;
        }
        free(heal->is_pending);
        free(heal->pending);
        heal->is_pending = is_pending;
        heal->pending = pending;
        heal->n_pending = n_pending;

        heal->armed = false;
        free(TAKE_PTR(heal->begun));
        free(TAKE_PTR(heal->passed_over));
        (void) sd_event_source_set_time_relative(heal->arm_timer, HEAL_ARM_USEC);
        (void) sd_event_source_set_enabled(heal->arm_timer, SD_EVENT_ONESHOT);
        r = heal->watch ? set_paths(heal, image) : 0;
        if (!heal->watch) {
                heal->armed = true;
                stop_waiting(heal);
        } else if (r < 0) {
                log_warning_errno(
                        r, "Failed to watch what the roles declare; drift is seen by runs only: %m");
                /* What the old list would tell is not of this image. */
                heal->n_paths = 0;
                heal->armed = true;
                stop_waiting(heal);
        }
}

bool heal_is_arming(const Heal *heal) {
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(heal->arm_timer, &enabled);
        return !heal->armed && enabled != SD_EVENT_OFF;
}

void heal_run_begun(Heal *heal, const uint8_t *selected) {
        uint32_t n = image_n_states(heal->engine->image);

        if (!selected)
                free(TAKE_PTR(heal->passed_over));
        if (heal->armed)
                return;
        if (!heal->begun)
                heal->begun = calloc(MAX(n, 1U), 1);
        /* The next full run sees it. */
        if (!heal->begun)
                return;
        for (uint32_t i = 0; i < n; i++)
                heal->begun[i] |= !selected || selected[i];
}

/* ---- The object ----------------------------------------------------------------------------------------------------- */

size_t heal_n_paths(const Heal *heal) {
        return heal->n_paths;
}

size_t heal_n_watches(const Heal *heal) {
        return heal->watch ? path_watch_count(heal->watch) : 0;
}

const char *heal_error(const Heal *heal) {
        return heal->error;
}

int heal_new(Engine *engine, Heal **ret) {
        _cleanup_(heal_freep) Heal *heal = calloc(1, sizeof(*heal));
        int r;

        if (!heal)
                return -ENOMEM;
        heal->engine = engine;
        heal->armed = true;
        r = sd_event_add_time(
                engine->event, &heal->arm_timer, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_arm_timer, heal);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(heal->arm_timer, SD_EVENT_OFF);
        r = sd_event_add_time(engine->event, &heal->fight_timer, CLOCK_BOOTTIME, 0, 100 * USEC_PER_MSEC,
                on_fight_timer, heal);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(heal->fight_timer, SD_EVENT_OFF);
        r = sd_event_add_defer(engine->event, &heal->look_event, on_look_event, heal);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(heal->look_event, SD_EVENT_OFF);
        r = path_watch_new(engine->event, &watch_handlers, heal, &heal->watch);
        if (r < 0)
                log_warning_errno(r,
                        "Failed to set up watches (fs.inotify.max_user_instances may be used up); drift "
                        "is seen by runs only: %m");
        *ret = TAKE_PTR(heal);
        return 0;
}

Heal *heal_free(Heal *heal) {
        if (!heal)
                return NULL;
        path_watch_free(heal->watch);
        sd_event_source_disable_unref(heal->arm_timer);
        sd_event_source_disable_unref(heal->fight_timer);
        sd_event_source_disable_unref(heal->look_event);
        free(heal->error);
        free(heal->first);
        free(heal->states);
        free(heal->begun);
        free(heal->passed_over);
        free(heal->is_pending);
        free(heal->pending);
        free(heal->fights);
        free(heal);
        return NULL;
}
