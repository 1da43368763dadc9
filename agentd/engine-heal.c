/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-select.h"
#include "engine-trigger.h"
#include "log.h"
#include "unit-watch.h"
#include "watch-list.h"

#define NO_STATE UINT32_MAX

static const char *const cause_names[_HEAL_CAUSE_MAX] = {
        [HEAL_DRIFT] = "drift",
        [HEAL_INTERVAL] = "state-interval",
        [HEAL_TRIGGER] = "trigger",
};

/* A state that was healed lately. */
typedef struct Fight {
        uint32_t state;
        unsigned n;          /* healings in a row, or attempts that have failed */
        unsigned n_repaired; /* … of these */
        usec_t first_usec;   /* … since when; CLOCK_BOOTTIME, as all here */
        usec_t last_usec;
        usec_t pause_usec; /* before the next; 0: no fight yet */
        bool waiting;      /* it is to be looked at when the pause is over */
        bool told;
} Fight;

/* What is watched by the kernel's help, and by that of PID 1. */
typedef struct Watching {
        WatchList list; /* of the image in force; for units: these, then match rules */
        char *error;
        bool armed;
} Watching;

struct Heal {
        Engine *engine; /* not a reference */
        PathWatch *path_watch;
        UnitWatch *unit_watch;
        Watching paths, units, matches;

        uint8_t *is_pending; /* by state: 1 + HealCause; 0: it is not */
        uint32_t *pending, n_pending;

        Fight *fights;
        uint32_t n_fights, n_fights_allocated;
        uint32_t
                *fight_of; /* by state: 1 + its place among these; 0: none. NULL as long as there are none */

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

/* Whose that is. Triggers are numbered after the states. */
static void add_watched(Heal *heal, const Watching *watching, uint32_t index) {
        const WatchList *list = &watching->list;
        uint32_t n = image_n_states(heal->engine->image);

        if (index >= list->n)
                return;
        for (uint32_t k = list->first[index]; k < list->first[index + 1]; k++)
                if (list->states[k] < n)
                        add_pending(heal, list->states[k], HEAL_DRIFT);
                else
                        triggers_path_changed(heal->engine->triggers, list->states[k] - n);
}

static void add_all(Heal *heal, const Watching *watching) {
        for (uint32_t i = 0; i < watching->list.n; i++)
                add_watched(heal, watching, i);
}

static void drop_pending(Heal *heal) {
        for (uint32_t i = 0; i < heal->n_pending; i++)
                heal->is_pending[heal->pending[i]] = 0;
        heal->n_pending = 0;
}

/* ---- Fights --------------------------------------------------------------------------------------------------------- */

/* A whole tree may be repaired, or fail to be, in one run. */
static Fight *find_fight(const Heal *heal, uint32_t state) {
        uint32_t place = heal->fight_of ? heal->fight_of[state] : 0;

        return place > 0 ? &heal->fights[place - 1] : NULL;
}

/* NULL: there is no memory. */
static Fight *add_fight(Heal *heal, uint32_t state) {
        if (!heal->fight_of)
                heal->fight_of =
                        calloc(MAX(image_n_states(heal->engine->image), 1U), sizeof(*heal->fight_of));
        if (!heal->fight_of)
                return NULL;
        if (heal->n_fights == heal->n_fights_allocated) {
                uint32_t n = MAX(heal->n_fights_allocated * 2, 8U);
                Fight *fights = realloc(heal->fights, n * sizeof(*fights));

                if (!fights)
                        return NULL;
                heal->fights = fights;
                heal->n_fights_allocated = n;
        }
        heal->fights[heal->n_fights++] = (Fight){ .state = state, .first_usec = now_usec(CLOCK_BOOTTIME) };
        heal->fight_of[state] = heal->n_fights;
        return &heal->fights[heal->n_fights - 1];
}

/* The last one takes its place. */
static void remove_fight(Heal *heal, uint32_t place) {
        heal->fight_of[heal->fights[place].state] = 0;
        heal->fights[place] = heal->fights[--heal->n_fights];
        if (place < heal->n_fights)
                heal->fight_of[heal->fights[place].state] = place + 1;
        if (heal->n_fights > 0)
                return;
        free(TAKE_PTR(heal->fight_of));
        free(TAKE_PTR(heal->fights));
        heal->n_fights_allocated = 0;
}

/* When nothing more is to be said of it. */
static usec_t end_of(const Fight *fight) {
        if (fight->pause_usec == 0)
                return fight->first_usec + FIGHT_WINDOW_USEC;
        return fight->last_usec + fight->pause_usec + FIGHT_PEACE_USEC;
}

static usec_t due_of(const Fight *fight) {
        return fight->waiting ? fight->last_usec + fight->pause_usec : end_of(fight);
}

/* It may come up too early for others, and is set anew then. */
static void arm_fight_timer_for(Heal *heal, const Fight *fight) {
        uint64_t before;
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(heal->fight_timer, &enabled);
        if (enabled != SD_EVENT_OFF && sd_event_source_get_time(heal->fight_timer, &before) >= 0 &&
                before <= due_of(fight))
                return;
        (void) sd_event_source_set_time(heal->fight_timer, due_of(fight));
        (void) sd_event_source_set_enabled(heal->fight_timer, SD_EVENT_ONESHOT);
}

static void arm_fight_timer(Heal *heal) {
        usec_t next = USEC_INFINITY;

        for (uint32_t i = 0; i < heal->n_fights; i++)
                next = MIN(next, due_of(&heal->fights[i]));
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
        json_t *data = json_pack("{s:I, s:I}", "repaired", (json_int_t) fight->n_repaired, "pause_usec",
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
                        id, fight->n_repaired, FORMAT_TIMESPAN(fight->last_usec - fight->first_usec));
        else
                event_emit(
                        engine->events, EVENT_FIGHT_OVER, &details, "%s is left alone by others again", id);
        json_decref(data);
}

static int on_fight_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Heal *heal = userdata;
        usec_t now = now_usec(CLOCK_BOOTTIME);

        for (uint32_t i = 0; i < heal->n_fights;) {
                Fight *fight = &heal->fights[i];

                if (fight->waiting && now >= fight->last_usec + fight->pause_usec) {
                        fight->waiting = false;
                        add_pending(heal, fight->state, HEAL_DRIFT);
                } else if (!fight->waiting && now >= end_of(fight)) {
                        if (fight->told)
                                tell_fight(heal, fight, false);
                        remove_fight(heal, i);
                        continue;
                }
                i++;
        }
        start(heal);
        arm_fight_timer(heal);
        return 0;
}

void heal_state_tried(Heal *heal, uint32_t state, bool repaired) {
        usec_t now = now_usec(CLOCK_BOOTTIME);
        Fight *fight = find_fight(heal, state) ?: add_fight(heal, state);

        /* Then it is not slowed down. */
        if (!fight)
                return;
        fight->n++;
        fight->n_repaired += repaired;
        fight->last_usec = now;
        if (fight->pause_usec > 0)
                fight->pause_usec = MIN(fight->pause_usec * 2, FIGHT_PAUSE_MAX_USEC);
        else if (fight->n >= FIGHT_BURST)
                fight->pause_usec = FIGHT_PAUSE_USEC;
        if (fight->n_repaired >= FIGHT_BURST && !fight->told) {
                fight->told = true;
                tell_fight(heal, fight, true);
        }
        arm_fight_timer_for(heal, fight);
}

bool engine_is_fighting(const Engine *engine, uint32_t state) {
        const Fight *fight = find_fight(engine->heal, state);

        return fight && fight->told;
}

/* True if the state has to wait; it will be looked at then. */
static bool must_wait(Heal *heal, uint32_t state) {
        Fight *fight = find_fight(heal, state);

        if (!fight || fight->pause_usec == 0 ||
                now_usec(CLOCK_BOOTTIME) >= fight->last_usec + fight->pause_usec)
                return false;
        fight->waiting = true;
        arm_fight_timer_for(heal, fight);
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

/* By a run that goes on; but without a word that may come to wait for something else to be tried again. */
static bool will_be_looked_at(Heal *heal, uint32_t state) {
        if (!engine_run_will_come_to(heal->engine, state))
                return false;
        engine_run_look_again(heal->engine);
        return true;
}

/* From what has drifted to what is looked at: with what depends on it, and without what cannot be repaired now. Return: how many;
 * -ENOMEM. */
static int choose(Heal *heal, uint8_t *selected, HealCause cause) {
        const Engine *engine = heal->engine;
        const StatusTable *status = engine->status;
        _cleanup_free_ uint8_t *blocked = NULL;
        int r, n = 0;

        r = select_dependents(engine->image, selected);
        /* If what it requires is not right, it is not to be there before that is. */
        if (r >= 0 && cause == HEAL_DRIFT &&
                status->counts[RESULT_FAILED] + status->counts[RESULT_BLOCKED] > 0)
                r = select_blocked(engine->image, status, selected, &blocked);
        if (r < 0)
                return r;
        for (uint32_t i = 0; i < image_n_states(engine->image); i++) {
                if (!selected[i])
                        continue;
                selected[i] = !is_passed_over(heal, i);
                if (selected[i] && ((blocked && blocked[i]) || will_be_looked_at(heal, i))) {
                        selected[i] = 0;
                        add_pending(heal, i, cause);
                }
                n += selected[i];
        }
        return n;
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

                /* A run that has what the state requires before it looks at it as well, and not too early. */
                if (heal->is_pending[state] != 1 + cause || will_be_looked_at(heal, state)) {
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
        r = choose(heal, selected, cause);
        if (r == 0)
                return;
        if (r > 0)
                r = engine_run_heal(engine, TAKE_PTR(selected), cause_names[cause]);
        if (r < 0)
                log_warning_errno(r, "Failed to look at what has changed; the next run will: %m");
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
        for (HealCause cause = 0; cause < _HEAL_CAUSE_MAX && heal->n_pending > 0; cause++) {
                if (engine_run_n_healing(engine) >= HEAL_RUNS_MAX) {
                        engine_run_look_again(engine);
                        return;
                }
                start_cause(heal, cause);
        }
}

void heal_run_over(Heal *heal) {
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

void heal_retry(Heal *heal) {
        if (heal->n_pending > 0)
                (void) sd_event_source_set_enabled(heal->look_event, SD_EVENT_ONESHOT);
}

void heal_stop(Heal *heal) {
        drop_pending(heal);
        for (uint32_t i = 0; i < heal->n_fights; i++)
                heal->fights[i].waiting = false;
}

/* ---- What is watched ------------------------------------------------------------------------------------------------ */

static void on_paths_changed(void *userdata, const uint32_t *indices, size_t n, bool overflow) {
        Heal *heal = userdata;

        if (overflow) {
                log_notice("So much has changed at once that nobody knows what; all that is watched is "
                           "looked at");
                add_all(heal, &heal->paths);
        }
        for (size_t i = 0; i < n; i++)
                add_watched(heal, &heal->paths, indices[i]);
        start(heal);
}

static void on_units_changed(void *userdata, const uint32_t *indices, size_t n, bool all) {
        Heal *heal = userdata;
        uint32_t n_units = heal->units.list.n;

        log_debug("%s%zu units and signals have changed", all ? "All, and " : "", n);
        if (all) {
                add_all(heal, &heal->units);
                add_all(heal, &heal->matches);
        }
        for (size_t i = 0; i < n; i++)
                if (indices[i] < n_units)
                        add_watched(heal, &heal->units, indices[i]);
                else
                        add_watched(heal, &heal->matches, indices[i] - n_units);
        start(heal);
}

static bool is_armed(const Heal *heal) {
        return heal->paths.armed && heal->units.armed;
}

static void stop_waiting(Heal *heal) {
        (void) sd_event_source_set_enabled(heal->arm_timer, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(heal->engine->run_event, SD_EVENT_ONESHOT);
}

static int on_arm_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        stop_waiting(userdata);
        return 0;
}

/* Return: true if it is for the first time. */
static bool become_armed(Heal *heal, Watching *watching, const char *error) {
        if (error && !streq_ptr(error, watching->error))
                log_warning("Some drift is seen only by the next run: %s", error);
        free(watching->error);
        watching->error = error ? strdup(error) : NULL;
        if (watching->armed)
                return false;
        watching->armed = true;
        if (is_armed(heal))
                stop_waiting(heal);
        return true;
}

/* What was looked at before it was watched may have changed in between. */
static void add_begun(Heal *heal, const Watching *watching) {
        const WatchList *list = &watching->list;
        uint32_t n = image_n_states(heal->engine->image);

        for (uint32_t i = 0; heal->begun && i < list->n; i++)
                for (uint32_t k = list->first[i]; k < list->first[i + 1]; k++)
                        if (list->states[k] < n && heal->begun[list->states[k]])
                                add_pending(heal, list->states[k], HEAL_DRIFT);
}

static void on_paths_armed(void *userdata, const char *error) {
        Heal *heal = userdata;

        if (!become_armed(heal, &heal->paths, error))
                return;
        add_begun(heal, &heal->paths);
        if (is_armed(heal))
                free(TAKE_PTR(heal->begun));
        start(heal);
}

static void on_units_armed(void *userdata, const char *error) {
        Heal *heal = userdata;

        if (!become_armed(heal, &heal->units, error))
                return;
        add_begun(heal, &heal->units);
        add_begun(heal, &heal->matches);
        if (is_armed(heal))
                free(TAKE_PTR(heal->begun));
        start(heal);
}

static const PathWatchHandlers path_handlers = { .on_changed = on_paths_changed,
        .on_armed = on_paths_armed };
static const UnitWatchHandlers unit_handlers = { .on_changed = on_units_changed,
        .on_armed = on_units_armed };

/* A path that is one of a list already: a tree of one state is looked into as far as any other wants that. */
static void add_tree(PathToWatch *path, uint32_t depth, const char *exclude) {
        if (!path->tree) {
                path->tree = true;
                path->depth = depth;
                path->exclude = exclude;
                return;
        }
        path->depth = path->depth == 0 || depth == 0 ? 0 : MAX(path->depth, depth);
        if (!streq_ptr(path->exclude, exclude))
                path->exclude = NULL;
}

/* watch: of a state; NULL: it is a trigger, which is about the entries of a directory as well. */
static void add_watch(const Image *image, PathToWatch *path, uint32_t state, const ImageWatch *watch) {
        const ImageTrigger *trigger;

        if (watch) {
                if (watch->kind == IMAGE_WATCH_TREE)
                        add_tree(path, watch->depth, image_text(image, watch->exclude));
                return;
        }
        trigger = image_trigger(image, state - image_n_states(image));
        path->entries = true;
        if (trigger->recursive)
                add_tree(path, 0, image_text(image, trigger->exclude));
}

static void take_list(Watching *watching, WatchList *list) {
        watch_list_done(&watching->list);
        watching->list = *list;
        *list = (WatchList){};
}

static int set_paths(Heal *heal, const Image *image) {
        _cleanup_(watch_list_done) WatchList list = {};
        _cleanup_free_ PathToWatch *paths = NULL;
        int r;

        r = watch_list_init(&list, image, 1U << IMAGE_WATCH_PATH | 1U << IMAGE_WATCH_TREE);
        if (r < 0)
                return r;
        paths = malloc(MAX(list.n, 1U) * sizeof(*paths));
        if (!paths)
                return -ENOMEM;
        for (uint32_t i = 0; i < list.n; i++) {
                paths[i] = (PathToWatch){ .path = list.what[i] };
                for (uint32_t k = list.first[i]; k < list.first[i + 1]; k++)
                        add_watch(image, &paths[i], list.states[k], list.watches[k]);
        }
        r = path_watch_set(heal->path_watch, paths, list.n, heal->engine->settings.watches_max);
        if (r >= 0)
                take_list(&heal->paths, &list);
        return r;
}

static int set_units(Heal *heal, const Image *image) {
        _cleanup_(watch_list_done) WatchList units = {}, matches = {};
        int r;

        r = watch_list_init(&units, image, 1U << IMAGE_WATCH_UNIT);
        if (r >= 0)
                r = watch_list_init(&matches, image, 1U << IMAGE_WATCH_BUS);
        if (r < 0)
                return r;
        /* It may be armed at once, and then tells so of the new lists. */
        heal->units.armed = units.n + matches.n == 0;
        if (heal->units.armed) {
                free(heal->units.error);
                heal->units.error = NULL;
        }
        take_list(&heal->units, &units);
        take_list(&heal->matches, &matches);
        return unit_watch_set(heal->unit_watch, heal->units.list.what, heal->units.list.n,
                heal->matches.list.what, heal->matches.list.n);
}

/* The state in the image that is in force now. */
static uint32_t state_now(const Heal *heal, const Image *old, uint32_t state) {
        return status_find(heal->engine->status, image_state_id(old, state));
}

/* What the old list would tell is not of this image. */
static void give_up(Heal *heal, Watching *watching, int error) {
        if (error < 0)
                log_warning_errno(
                        error, "Failed to watch what the roles declare; drift is seen by runs only: %m");
        watch_list_done(&watching->list);
        watching->armed = true;
        if (is_armed(heal))
                stop_waiting(heal);
}

static void carry_fights(Heal *heal, const Image *old) {
        Fight *fights = TAKE_PTR(heal->fights);
        uint32_t n = heal->n_fights;

        free(TAKE_PTR(heal->fight_of));
        heal->n_fights = heal->n_fights_allocated = 0;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t now = state_now(heal, old, fights[i].state);
                Fight *fight = now != NO_STATE ? add_fight(heal, now) : NULL;

                if (!fight)
                        continue;
                *fight = fights[i];
                fight->state = now;
        }
        free(fights);
}

/* What a run has looked at while it was not watched yet is still to be looked at when it is. */
static void carry_begun(Heal *heal, const Image *old) {
        _cleanup_free_ uint8_t *begun = TAKE_PTR(heal->begun);

        if (!begun)
                return;
        heal->begun = calloc(MAX(image_n_states(heal->engine->image), 1U), 1);
        if (!heal->begun) {
                log_oom();
                return;
        }
        for (uint32_t i = 0; i < image_n_states(old); i++) {
                uint32_t now = begun[i] ? state_now(heal, old, i) : NO_STATE;

                if (now != NO_STATE)
                        heal->begun[now] = 1;
        }
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
        carry_fights(heal, old);
        free(heal->is_pending);
        free(heal->pending);
        heal->is_pending = is_pending;
        heal->pending = pending;
        heal->n_pending = n_pending;

        carry_begun(heal, old);
        free(TAKE_PTR(heal->passed_over));
        /* A run that waits does not wait longer since roles were loaded once more. */
        if (!heal_is_arming(heal)) {
                (void) sd_event_source_set_time_relative(heal->arm_timer, HEAL_ARM_USEC);
                (void) sd_event_source_set_enabled(heal->arm_timer, SD_EVENT_ONESHOT);
        }
        heal->paths.armed = false;
        r = heal->path_watch ? set_paths(heal, image) : -EMFILE;
        if (r < 0)
                give_up(heal, &heal->paths, heal->path_watch ? r : 0);
        r = set_units(heal, image);
        if (r < 0) {
                give_up(heal, &heal->units, r);
                give_up(heal, &heal->matches, 0);
        }
        if (is_armed(heal))
                stop_waiting(heal);
}

bool heal_is_arming(const Heal *heal) {
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(heal->arm_timer, &enabled);
        return !is_armed(heal) && enabled != SD_EVENT_OFF;
}

void heal_run_begun(Heal *heal, const uint8_t *selected) {
        uint32_t n = image_n_states(heal->engine->image);

        if (!selected)
                free(TAKE_PTR(heal->passed_over));
        if (is_armed(heal))
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

json_t *heal_to_json(const Heal *heal) {
        json_t *errors = json_array();

        if (heal->paths.error)
                (void) json_array_append_new(errors, json_string(heal->paths.error));
        if (heal->units.error)
                (void) json_array_append_new(errors, json_string(heal->units.error));
        return json_pack("{s:I, s:I, s:I, s:o}", "paths", (json_int_t) heal->paths.list.n, "units",
                (json_int_t) heal->units.list.n, "signals", (json_int_t) heal->matches.list.n, "errors",
                errors);
}

int heal_new(Engine *engine, Heal **ret) {
        _cleanup_(heal_freep) Heal *heal = calloc(1, sizeof(*heal));
        int r;

        if (!heal)
                return -ENOMEM;
        heal->engine = engine;
        heal->paths.armed = heal->units.armed = true;
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
        r = unit_watch_new(engine->event, &unit_handlers, heal, &heal->unit_watch);
        if (r < 0)
                return r;
        r = path_watch_new(engine->event, &path_handlers, heal, &heal->path_watch);
        if (r < 0)
                log_warning_errno(r,
                        "Failed to set up watches (fs.inotify.max_user_instances may be used up); drift "
                        "is seen by runs only: %m");
        *ret = TAKE_PTR(heal);
        return 0;
}

static void done(Watching *watching) {
        watch_list_done(&watching->list);
        free(watching->error);
}

Heal *heal_free(Heal *heal) {
        if (!heal)
                return NULL;
        path_watch_free(heal->path_watch);
        unit_watch_free(heal->unit_watch);
        sd_event_source_disable_unref(heal->arm_timer);
        sd_event_source_disable_unref(heal->fight_timer);
        sd_event_source_disable_unref(heal->look_event);
        free(heal->begun);
        free(heal->passed_over);
        done(&heal->paths);
        done(&heal->units);
        done(&heal->matches);
        free(heal->is_pending);
        free(heal->pending);
        free(heal->fights);
        free(heal->fight_of);
        free(heal);
        return NULL;
}
