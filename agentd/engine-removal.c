/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is to be made of states when they are declared no more. The recipe for that comes with the image (role-removal.c). It is
 * written down once the state is as declared, since what never was so is not ours to remove; each load gets all recipes, and
 * makes states of those that nobody declares. When one of these is as it should be, its recipe is forgotten, and the next load is
 * without it.
 */

#include "engine-internal.h"
#include "engine-run-internal.h"
#include "log.h"

static void put(Engine *engine, const char *id, const char *recipe) {
        (void) json_object_set_new(engine->removals, id, json_string(recipe));
        store_put_removal(engine->store, id, recipe);
}

/* The state is about something else now than this recipe. Return: whether it was noted. */
static bool put_former(Engine *engine, const char *id, const char *recipe) {
        _cleanup_free_ char *former = load_former_id(id, recipe);

        if (!former) {
                log_oom();
                return false;
        }
        put(engine, former, recipe);
        return true;
}

static int on_removal(void *userdata, const char *state, const char *recipe) {
        Engine *engine = userdata;
        const char *known = json_string_value(json_object_get(engine->removals, state));

        /* One that is no text is nobody's; and what is known by now is newer. */
        if (!known)
                (void) json_object_set_new(engine->removals, state, json_string(recipe));
        else if (!streq(known, recipe))
                (void) put_former(engine, state, recipe);
        return 0;
}

int engine_removal_init(Engine *engine) {
        int r;

        engine->removals = json_object();
        if (!engine->removals)
                return -ENOMEM;
        r = store_each_removal(engine->store, on_removal, engine);
        if (r < 0) {
                engine->removals_unread = true;
                log_warning_errno(
                        r, "Failed to read what is to be removed once it is declared no more; it stays: %m");
        }
        return 0;
}

void engine_removal_read_late(Engine *engine) {
        if (!engine->removals_unread || store_each_removal(engine->store, on_removal, engine) < 0)
                return;
        engine->removals_unread = false;
        /* The next load makes states of them, or forgets them. */
        if (json_object_size(engine->removals) > 0)
                settle_poke(engine->settle);
}

void engine_removal_done(Engine *engine) {
        json_decref(engine->removals);
}

static void forget(Engine *engine, const char *id) {
        if (json_object_del(engine->removals, id) == 0)
                store_forget_removal(engine->store, id);
}

static json_t *to_set(const json_t *ids) {
        json_t *set = json_object(), *id;
        size_t i;

        json_array_foreach(ids, i, id)(void) json_object_set_new(set, json_string_value(id), json_null());
        return set;
}

/*
 * The recipes of states that have another one now: what they were about before is removed under an id of its own. Until that is done
 * the recipe is there, whatever becomes of the state; and it is moved before the state can be made as it is declared now.
 */
static void set_apart(Engine *engine, const json_t *ids, const json_t *forgotten, bool noted) {
        json_t *same, *entry;
        size_t i;

        if (json_array_size(ids) == 0)
                return;
        same = to_set(forgotten);
        json_array_foreach(ids, i, entry) {
                const char *id = json_string_value(entry),
                           *recipe = json_string_value(json_object_get(engine->removals, id));
                _cleanup_free_ char *former = recipe ? load_former_id(id, recipe) : NULL;

                /* It is about the same, and comes to be as it is declared now. */
                if (!former || json_object_get(same, former))
                        continue;
                put(engine, former, recipe);
                forget(engine, id);
                /* The load may have begun before this was written down. */
                if (noted && status_find(engine->status, former) == NO_STATE)
                        settle_poke(engine->settle);
        }
        json_decref(same);
}

void engine_removal_adopted(Engine *engine, const Load *load) {
        const ImageExtra *extras = image_array(engine->image, extras, ImageExtra);
        const json_t *forgotten = load_forgotten(load);
        const char *id;
        bool noted = engine->noted;
        json_t *value, *others;
        void *next;

        engine->noted = false;
        if (json_object_size(engine->removals) == 0)
                return;
        for (size_t i = 0; i < json_array_size(forgotten); i++)
                forget(engine, json_string_value(json_array_get(forgotten, i)));
        /* What has another name now is not removed under the old one. */
        for (uint32_t i = 0; i < engine->image->header->extras.n; i++)
                for (uint32_t k = 0; k < extras[i].was.n; k++)
                        forget(engine, image_list_text(engine->image, extras[i].was, k));
        others = json_array();
        /* What is to be kept now. */
        json_object_foreach_safe(engine->removals, next, id, value) {
                uint32_t i = status_find(engine->status, id);
                const ImageExtra *extra = i == NO_STATE ? NULL : image_extra(engine->image, i);

                if (i != NO_STATE && !(image_state(engine->image, i)->flags & IMAGE_STATE_REMOVAL) &&
                        (!extra || extra->removal.n == 0))
                        forget(engine, id);
                else if (i == NO_STATE && noted)
                        /* The load may have begun before this was written down. */
                        settle_poke(engine->settle);
                else if (i != NO_STATE && extra && extra->removal.n > 0 &&
                         !streq(json_string_value(value), image_text(engine->image, extra->removal)))
                        (void) json_array_append_new(others, json_string(id));
        }
        set_apart(engine, others, forgotten, noted);
        json_decref(others);
}

void engine_removal_store_reset(Engine *engine) {
        const char *id;
        json_t *recipe;

        json_object_foreach(engine->removals, id, recipe)
                store_put_removal(engine->store, id, json_string_value(recipe));
}

/* As roles say that are no longer in force: what was made then is left behind, if it is about something else. */
static void result_of_before(const EngineRun *run, uint32_t state) {
        Engine *engine = run->engine;
        const Image *image = engine->image;
        uint32_t now = engine_run_id_now(run, state);
        const ImageExtra *extra = image_extra(run->image, state), *other = image_extra(image, now);
        const char *recipe;

        if (!extra || extra->removal.n == 0 || image_state(run->image, state)->flags & IMAGE_STATE_AUDIT ||
                !other || other->removal.n == 0)
                return;
        recipe = image_text(run->image, extra->removal);
        if (!streq(recipe, image_text(image, other->removal)) &&
                put_former(engine, image_state_id(image, now), recipe))
                engine->removed = true;
}

void engine_removal_result(EngineRun *run, uint32_t state, Result result) {
        Engine *engine = run->engine;
        const char *id = image_state_id(run->image, state), *recipe, *known;
        const ImageExtra *extra = image_extra(run->image, state);
        uint32_t flags = image_state(run->image, state)->flags;
        bool declared = engine_run_id_now(run, state) != NO_STATE;

        if (result != RESULT_OK && result != RESULT_CHANGED)
                return;
        /* By other roles than those that the run is over, it is another state. */
        if (declared && engine_run_state_now(run, state) == NO_STATE) {
                result_of_before(run, state);
                return;
        }
        if (flags & IMAGE_STATE_REMOVAL) {
                forget(engine, id);
                engine->removed = true;
                return;
        }
        /* What is only looked at is not ours. */
        if (!extra || extra->removal.n == 0 || (flags & IMAGE_STATE_AUDIT))
                return;
        recipe = image_text(run->image, extra->removal);
        known = json_string_value(json_object_get(engine->removals, id));
        if (known && streq(known, recipe))
                return;
        put(engine, id, recipe);
        engine->noted = true;
        /* It was made while the roles were loaded that do not have it. */
        engine->removed = engine->removed || !declared;
}

void engine_removal_run_over(Engine *engine) {
        if (!engine->removed)
                return;
        engine->removed = false;
        settle_poke(engine->settle);
}
