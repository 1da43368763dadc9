/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is loaded, or gathered, for somebody who asked, and becomes nothing of the engine's own. */

#include "engine-internal.h"

/* ---- Loads ---------------------------------------------------------------------------------------------------------- */

static Validation *validation_free(Validation *validation) {
        if (!validation)
                return NULL;
        load_free(validation->load);
        for (char **var = validation->vars; var && *var; var++)
                free(*var);
        free(validation->vars);
        free(validation->explain);
        free(validation);
        return NULL;
}
DEFINE_CLEANUP(Validation *, validation_free)

static void answer_validation(Validation *validation, Image *image, const json_t *diagnostics) {
        EngineLoaded on_loaded = TAKE_PTR(validation->on_loaded);
        EngineImage on_image = TAKE_PTR(validation->on_image);
        EngineExplained on_explained = TAKE_PTR(validation->on_explained);
        json_t *outcome = NULL;
        const char *text = NULL;
        bool found = false;
        size_t size = 0;

        if (on_image)
                on_image(validation->userdata, image, diagnostics,
                        image ? load_warnings(validation->load) : NULL);
        if (on_explained) {
                if (image)
                        text = load_explanation(validation->load, &size, &found);
                on_explained(validation->userdata, text, size, found, diagnostics);
        }
        if (!on_loaded)
                return;
        if (image)
                outcome = json_pack("{s:I, s:I, s:O}", "n_roles", (json_int_t) image_n_roles(image),
                        "n_states", (json_int_t) image_n_states(image), "warnings",
                        load_warnings(validation->load));
        on_loaded(validation->userdata, outcome, diagnostics);
        json_decref(outcome);
}

/* Called from the load itself: it is freed at the next turn. */
static int on_validation_over(sd_event_source *source, void *userdata) {
        Validation *validation = userdata;

        for (size_t i = 0; i < ENGINE_VALIDATIONS_MAX; i++)
                if (validation->engine->validations[i] == validation)
                        validation->engine->validations[i] = NULL;
        engine_touch(validation->engine);
        validation_free(validation);
        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static void on_validated(void *userdata, Image *image, json_t *diagnostics) {
        Validation *validation = userdata;
        sd_event_source *source;

        answer_validation(validation, image, diagnostics);
        /* If this fails, it is freed with the engine. */
        if (sd_event_add_defer(validation->engine->event, &source, on_validation_over, validation) >= 0) {
                (void) sd_event_source_set_floating(source, true);
                sd_event_source_unref(source);
        }
}

static const LoadHandlers validate_handlers = { .on_loaded = on_validated };

static int copy_vars(const char *const *vars, char ***ret) {
        size_t n = 0;
        char **copy;

        while (vars[n])
                n++;
        copy = *ret = calloc(n + 1, sizeof(*copy));
        for (size_t i = 0; copy && i < n; i++) {
                copy[i] = strdup(vars[i]);
                if (!copy[i])
                        return -ENOMEM;
        }
        return copy ? 0 : -ENOMEM;
}

/* how: who is told, and whom. */
static int start(Engine *engine, const char *const *vars, const char *explain, const Validation *how) {
        _cleanup_(validation_freep) Validation *validation = NULL;
        Validation **slot = NULL;
        int r;

        if (engine->stopping)
                return -ESHUTDOWN;
        for (size_t i = 0; i < ENGINE_VALIDATIONS_MAX && !slot; i++)
                if (!engine->validations[i])
                        slot = &engine->validations[i];
        if (!slot)
                return -EBUSY;
        validation = malloc(sizeof(*validation));
        if (!validation)
                return -ENOMEM;
        *validation = *how;
        validation->engine = engine;
        validation->options = engine->load_options;
        /* What is left to remove says nothing about the roles, and a run with variables of its own is not what removes. */
        if (!explain)
                validation->options.removals = NULL;
        if (vars) {
                r = copy_vars(vars, &validation->vars);
                if (r < 0)
                        return r;
                validation->options.vars = (const char *const *) validation->vars;
        }
        if (explain) {
                validation->explain = strdup(explain);
                if (!validation->explain)
                        return -ENOMEM;
                validation->options.explain = validation->explain;
        }
        r = load_start(
                engine->event, &validation->options, &validate_handlers, validation, &validation->load);
        if (r < 0)
                return r;
        *slot = TAKE_PTR(validation);
        return 0;
}

int engine_validate(Engine *engine, EngineLoaded on_loaded, void *userdata) {
        return start(
                engine, NULL, NULL, &(const Validation){ .on_loaded = on_loaded, .userdata = userdata });
}

int engine_load_vars(Engine *engine, const char *const *vars, EngineImage on_image, void *userdata) {
        return start(engine, vars, NULL, &(const Validation){ .on_image = on_image, .userdata = userdata });
}

int engine_explain(Engine *engine, const char *id, EngineExplained on_explained, void *userdata) {
        return start(
                engine, NULL, id, &(const Validation){ .on_explained = on_explained, .userdata = userdata });
}

/* ---- Facts ---------------------------------------------------------------------------------------------------------- */

static FactsRequest *facts_request_free(FactsRequest *request) {
        if (!request)
                return NULL;
        fact_task_free(request->task);
        free(request);
        return NULL;
}

static void answer_facts(FactsRequest *request, const char *json, size_t size, const char *error) {
        EngineFacts on_facts_ = TAKE_PTR(request->on_facts);

        if (on_facts_)
                on_facts_(request->userdata, json, size, error);
}

static void on_facts(
        void *userdata, const char *json, size_t size, _unused_ bool changed, const char *error) {
        FactsRequest *request = userdata;
        Engine *engine = request->engine;

        answer_facts(request, json, size, error);
        for (size_t i = 0; i < ENGINE_FACTS_MAX; i++)
                if (engine->facts[i] == request)
                        engine->facts[i] = NULL;
        engine_touch(engine);
        facts_request_free(request);
}

static const FactTaskHandlers facts_handlers = { .on_facts = on_facts };

int engine_facts(Engine *engine, EngineFacts on_facts_, void *userdata) {
        const FactTaskOptions options = {
                .root = "/",
                .deadline_usec = engine->settings.facts_deadline_usec,
                .want_json = true,
        };
        FactsRequest **slot = NULL, *request;
        int r;

        if (engine->stopping)
                return -ESHUTDOWN;
        for (size_t i = 0; i < ENGINE_FACTS_MAX && !slot; i++)
                if (!engine->facts[i])
                        slot = &engine->facts[i];
        if (!slot)
                return -EBUSY;
        request = malloc(sizeof(*request));
        if (!request)
                return -ENOMEM;
        *request = (FactsRequest){ .engine = engine, .on_facts = on_facts_, .userdata = userdata };
        r = fact_task_start(engine->event, &options, &facts_handlers, request, &request->task);
        if (r < 0) {
                free(request);
                return r;
        }
        *slot = request;
        return 0;
}

/* ---- Those who ask -------------------------------------------------------------------------------------------------- */

void engine_ask_forget(Engine *engine, const void *userdata) {
        for (size_t i = 0; i < ENGINE_VALIDATIONS_MAX; i++) {
                Validation *validation = engine->validations[i];

                if (validation && validation->userdata == userdata) {
                        validation->on_loaded = NULL;
                        validation->on_image = NULL;
                        validation->on_explained = NULL;
                }
        }
        for (size_t i = 0; i < ENGINE_FACTS_MAX; i++)
                if (engine->facts[i] && engine->facts[i]->userdata == userdata)
                        engine->facts[i]->on_facts = NULL;
}

void engine_ask_stop(Engine *engine) {
        json_t *none = json_array();

        for (size_t i = 0; i < ENGINE_VALIDATIONS_MAX; i++)
                if (engine->validations[i])
                        answer_validation(engine->validations[i], NULL, none);
        for (size_t i = 0; i < ENGINE_FACTS_MAX; i++)
                if (engine->facts[i])
                        answer_facts(engine->facts[i], NULL, 0, "agentd stops");
        json_decref(none);
}

bool engine_is_asked(const Engine *engine) {
        if (engine->waiters_watch)
                return true;
        for (size_t i = 0; i < ENGINE_VALIDATIONS_MAX; i++)
                if (engine->validations[i] &&
                        (engine->validations[i]->on_loaded || engine->validations[i]->on_image ||
                                engine->validations[i]->on_explained))
                        return true;
        for (size_t i = 0; i < ENGINE_FACTS_MAX; i++)
                if (engine->facts[i] && engine->facts[i]->on_facts)
                        return true;
        return false;
}

void engine_ask_done(Engine *engine) {
        for (size_t i = 0; i < ENGINE_VALIDATIONS_MAX; i++)
                validation_free(engine->validations[i]);
        for (size_t i = 0; i < ENGINE_FACTS_MAX; i++)
                facts_request_free(engine->facts[i]);
}
