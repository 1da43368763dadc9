/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <time.h>

#include "engine-heal.h"
#include "engine-internal.h"
#include "engine-trigger.h"
#include "log.h"
#include "schedule.h"
#include "value-json.h"

/* What is known of one, beside the image. Times are CLOCK_BOOTTIME, if it is not said. */
typedef struct TriggerStatus {
        usec_t fired_usec; /* 0: never since agentd began */
        usec_t fired_realtime_usec;
        uint64_t n_fired;
        uint64_t n_told; /* of these */
        usec_t told_usec;
} TriggerStatus;

struct Triggers {
        Engine *engine; /* not a reference */
        TriggerStatus *status;
        uint32_t n; /* those of the image in force; 0: memory was short */
        Schedule *schedule;
};

static const char *name_of(const Image *image, uint32_t i) {
        return image_text(image, image_trigger(image, i)->name);
}

static bool may_fire(const Triggers *triggers) {
        return !triggers->engine->stopping && !triggers->engine->disabled;
}

static void tell(Triggers *triggers, uint32_t i, usec_t now) {
        Engine *engine = triggers->engine;
        TriggerStatus *status = &triggers->status[i];
        const ImageTrigger *trigger = image_trigger(engine->image, i);
        uint64_t n = status->n_fired - status->n_told;
        const char *name = name_of(engine->image, i);
        EventDetails details = {
                .trigger = name,
                .role = image_text(
                        engine->image, image_array(engine->image, roles, ImageRole)[trigger->role].name),
        };
        json_t *data;

        if (status->told_usec > 0 && now < usec_add(status->told_usec, TRIGGER_TELL_USEC))
                return;
        data = json_pack("{s:s, s:I, s:I}", "trigger", name, "fired", (json_int_t) n, "states",
                (json_int_t) trigger->states.n);
        details.data = data;
        if (n == 1)
                event_emit(engine->events, EVENT_TRIGGER_FIRED, &details, "Trigger %s fired", name);
        else
                event_emit(engine->events, EVENT_TRIGGER_FIRED, &details,
                        "Trigger %s fired %" PRIu64 " times", name, n);
        json_decref(data);
        status->n_told = status->n_fired;
        status->told_usec = now;
}

/* Whatever goes on with its states: who has been looked at just now may have been looked at too early, and is again. */
static void fire(Triggers *triggers, uint32_t i) {
        Engine *engine = triggers->engine;
        const ImageTrigger *trigger = image_trigger(engine->image, i);
        const uint32_t *states = image_array(engine->image, triggered, uint32_t) + trigger->states.offset;
        TriggerStatus *status = &triggers->status[i];
        usec_t now = now_usec(CLOCK_BOOTTIME);

        status->fired_usec = now;
        status->fired_realtime_usec = now_usec(CLOCK_REALTIME);
        status->n_fired++;
        tell(triggers, i, now);
        for (uint32_t k = 0; k < trigger->states.n; k++)
                heal_look_at(engine->heal, states[k], HEAL_TRIGGER);
}

static void on_due(void *userdata, uint32_t i) {
        Triggers *triggers = userdata;
        const ImageTrigger *trigger;

        if (i >= triggers->n)
                return;
        trigger = image_trigger(triggers->engine->image, i);
        if (trigger->kind == IMAGE_TRIGGER_EVERY)
                schedule_set(triggers->schedule, i, usec_add(now_usec(CLOCK_BOOTTIME), trigger->every_usec));
        if (may_fire(triggers))
                fire(triggers, i);
}

void triggers_path_changed(Triggers *triggers, uint32_t i) {
        usec_t now = now_usec(CLOCK_BOOTTIME), next;

        if (i >= triggers->n || !may_fire(triggers) || schedule_get(triggers->schedule, i) != USEC_INFINITY)
                return;
        next = usec_add(triggers->status[i].fired_usec, TRIGGER_PAUSE_USEC);
        if (triggers->status[i].fired_usec > 0 && now < next)
                schedule_set(triggers->schedule, i, next);
        else
                fire(triggers, i);
}

int triggers_fire(Triggers *triggers, uint32_t i) {
        if (triggers->engine->stopping)
                return -ESHUTDOWN;
        if (triggers->engine->disabled)
                return -EPERM;
        fire(triggers, i);
        return 0;
}

uint32_t triggers_count(const Triggers *triggers) {
        return triggers->n;
}

uint32_t triggers_find(const Triggers *triggers, const char *name) {
        for (uint32_t i = 0; i < triggers->n; i++)
                if (streq(name_of(triggers->engine->image, i), name))
                        return i;
        return UINT32_MAX;
}

json_t *triggers_to_json(const Triggers *triggers, uint32_t i) {
        const Image *image = triggers->engine->image;
        const ImageTrigger *trigger = image_trigger(image, i);
        const ImageRole *role = image_array(image, roles, ImageRole) + trigger->role;
        const uint32_t *states = image_array(image, triggered, uint32_t) + trigger->states.offset;
        const TriggerStatus *status = &triggers->status[i];
        bool path = trigger->kind == IMAGE_TRIGGER_PATH;
        json_t *list = json_array();

        for (uint32_t k = 0; k < MIN(trigger->states.n, (uint32_t) TRIGGER_STATES_MAX); k++)
                (void) json_array_append_new(list, json_string(image_state_id(image, states[k])));
        return json_pack("{s:s, s:s, s:o, s:o, s:b, s:s, s:o, s:I, s:I, s:o, s:I, s:o}", "trigger",
                name_of(image, i), "type", image_trigger_kind_to_string(trigger->kind), "path",
                path ? json_string(image_text(image, trigger->path)) : json_null(), "every_usec",
                path ? json_null() : json_integer((json_int_t) trigger->every_usec), "recursive",
                (int) trigger->recursive, "role", image_text(image, role->name), "file",
                /* A path need not be UTF-8. */
                json_string(image_text(image, role->path)) ?: json_null(), "line",
                (json_int_t) trigger->line, "column", (json_int_t) trigger->column, "fired",
                json_from_time(status->fired_realtime_usec), "n_fired", (json_int_t) status->n_fired,
                "states", list);
}

/* ---- The image ------------------------------------------------------------------------------------------------------ */

static bool is_same(const Image *a, uint32_t i, const Image *b, uint32_t k) {
        const ImageTrigger *x = image_trigger(a, i), *y = image_trigger(b, k);

        return x->kind == y->kind && x->every_usec == y->every_usec &&
               (x->kind != IMAGE_TRIGGER_PATH || streq(image_text(a, x->path), image_text(b, y->path)));
}

static int carry_over(Triggers *triggers, const Image *old, TriggerStatus *status, usec_t *when) {
        const Image *image = triggers->engine->image;
        uint32_t n = image_n_triggers(image);

        for (uint32_t i = 0; i < n; i++) {
                /* The loader writes them in order of roles, so mostly it is the same one. */
                uint32_t k = i < triggers->n && streq(name_of(old, i), name_of(image, i)) ? i : 0;

                for (; k < triggers->n && !streq(name_of(old, k), name_of(image, i)); k++)
                        ;
                if (k == triggers->n)
                        continue;
                status[i] = triggers->status[k];
                if (is_same(image, i, old, k))
                        when[i] = schedule_get(triggers->schedule, k);
        }
        return schedule_resize(triggers->schedule, n);
}

void triggers_image_changed(Triggers *triggers, const Image *old) {
        const Image *image = triggers->engine->image;
        uint32_t n = image_n_triggers(image);
        TriggerStatus *status = calloc(MAX(n, 1U), sizeof(*status));
        _cleanup_free_ usec_t *when = malloc(MAX(n, 1U) * sizeof(*when));
        usec_t now = now_usec(CLOCK_BOOTTIME);
        int r;

        for (uint32_t i = 0; when && i < n; i++)
                when[i] = image_trigger(image, i)->kind == IMAGE_TRIGGER_EVERY
                                  ? usec_add(now, image_trigger(image, i)->every_usec)
                                  : USEC_INFINITY;
        r = status && when ? carry_over(triggers, old, status, when) : -ENOMEM;
        if (r < 0) {
                log_warning_errno(r,
                        "Failed to keep triggers; none of them fires until the roles are loaded again: %m");
                free(status);
                triggers->n = 0;
                return;
        }
        free(triggers->status);
        triggers->status = status;
        triggers->n = n;
        for (uint32_t i = 0; i < n; i++)
                schedule_set(triggers->schedule, i, when[i]);
}

/* ---- The object ----------------------------------------------------------------------------------------------------- */

int triggers_new(Engine *engine, Triggers **ret) {
        _cleanup_(triggers_freep) Triggers *triggers = calloc(1, sizeof(*triggers));
        int r;

        if (!triggers)
                return -ENOMEM;
        triggers->engine = engine;
        r = schedule_new(engine->event, on_due, triggers, &triggers->schedule);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(triggers);
        return 0;
}

Triggers *triggers_free(Triggers *triggers) {
        if (!triggers)
                return NULL;
        schedule_free(triggers->schedule);
        free(triggers->status);
        free(triggers);
        return NULL;
}
