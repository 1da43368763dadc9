/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Calls a module's prepare and watch: the loader's side of <agentd/module.h>. */

#include "role.h"

void *agentd_alloc(AgentdPrepare *prepare, size_t size) {
        return arena_alloc(&prepare->loader->image, size);
}

char *agentd_strdup(AgentdPrepare *prepare, const char *text) {
        return arena_strdup(&prepare->loader->image, text);
}

void agentd_prepare_error(AgentdPrepare *prepare, int parameter, const char *format, ...) {
        State *state = prepare->state;
        const Place *given = parameter >= 0 ? state_given(state, (uint32_t) parameter) : NULL;
        Place place = given ? *given : state->place;
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        if (state->flags & IMAGE_STATE_SENSITIVE)
                diagnostics_add(&prepare->loader->diagnostics, place,
                        "module '%s' refuses it; why is not shown, as the state is sensitive",
                        state->type->module->info.name);
        else
                diagnostics_add(&prepare->loader->diagnostics, place, "%s", text ?: "out of memory");
        prepare->failed = true;
}

void agentd_prepare_after(AgentdPrepare *prepare, const char *id) {
        state_refer(prepare->loader, prepare->state,
                (Reference){
                        .pattern = arena_strdup(&prepare->loader->scratch, id),
                        .place = prepare->state->place,
                        .weak = true,
                });
}

void agentd_prepare_path_kind(AgentdPrepare *prepare, AgentdPathKind kind) {
        prepare->state->path_kind = kind;
}

void agentd_prepare_timeout(AgentdPrepare *prepare, uint64_t timeout_usec) {
        if (!prepare->state->timeout_given && timeout_usec > 0)
                prepare->state->timeout_usec = timeout_usec;
}

void agentd_prepare_removal(AgentdPrepare *prepare, unsigned parameter, const AgentdValue *value) {
        Loader *loader = prepare->loader;
        State *state = prepare->state;

        if (!state_leaves(state) || parameter >= state->type->n_parameters)
                return;
        if (!state->removal)
                state->removal =
                        arena_new_array(&loader->scratch, const AgentdValue *, state->type->n_parameters);
        state->removal[parameter] = arena_memdup(&loader->scratch, value, sizeof(*value));
}

bool agentd_prepare_listens(AgentdPrepare *prepare) {
        return prepare->state->listens != 0;
}

void agentd_prepare_edits(AgentdPrepare *prepare, const char *path) {
        prepare->state->edits = arena_strdup(&prepare->loader->scratch, path);
}

void agentd_prepare_claim(AgentdPrepare *prepare, const char *thing) {
        Loader *loader = prepare->loader;
        State *state = prepare->state;
        Map *map = *thing == '/' ? &loader->paths : &loader->claims;
        uint32_t owner = map_get(map, thing);
        const State *other = owner == MAP_NOT_FOUND ? NULL : loader->states[owner];

        if (other == state)
                return;
        /* What is to be removed takes nothing from anybody. */
        if (other && state->flags & IMAGE_STATE_REMOVAL) {
                state->taken_by = state->taken_by ?: other;
                return;
        }
        if (other) {
                const char *colon = strchr(thing, ':');

                diagnostics_add(&loader->diagnostics, state->place, "%s and %s (%s:%u:%u) are both about %s",
                        state->id, other->id, other->place.file, other->place.line, other->place.column,
                        *thing != '/' && colon ? colon + 1 : thing);
                prepare->failed = true;
                return;
        }
        thing = arena_strdup(&loader->scratch, thing);
        if (!(state->flags & IMAGE_STATE_REMOVAL))
                map_put(map, &loader->scratch, thing, state->index);
        if (*thing != '/')
                return;
        state->claims = arena_grow(&loader->scratch, state->claims, state->n_claims,
                &state->n_claims_allocated, sizeof(char *));
        state->claims[state->n_claims++] = thing;
        if (!(state->type->type->flags & AGENTD_NAME_IS_PATH))
                state->path_kind = AGENTD_PATH_LEAF;
}

void agentd_prepare_check_as_root(AgentdPrepare *prepare) {
        prepare->state->flags |= IMAGE_STATE_CHECK_AS_ROOT;
}

void agentd_prepare_after_below(AgentdPrepare *prepare, const char *path) {
        Loader *loader = prepare->loader;

        loader->belows = arena_grow(&loader->scratch, loader->belows, loader->n_belows,
                &loader->n_belows_allocated, sizeof(Below));
        loader->belows[loader->n_belows++] =
                (Below){ .path = arena_strdup(&loader->scratch, path), .state = prepare->state->index };
}

void agentd_prepare_owned(AgentdPrepare *prepare) {
        prepare->loader->wants_paths = true;
        prepare->state->flags |= IMAGE_STATE_LOOKS_AT_PATHS;
}

static ImageWatch *add_watch(Loader *loader, State *state, ImageWatchKind kind, const char *what) {
        ImageWatch *watch;

        state->watches = arena_grow(&loader->scratch, state->watches, state->n_watches,
                &state->n_watches_allocated, sizeof(ImageWatch));
        watch = &state->watches[state->n_watches++];
        *watch = (ImageWatch){ .kind = kind };
        watch->what.n = (uint32_t) strlen(what);
        watch->what.offset =
                (uint32_t) ((uint8_t *) arena_strdup(&loader->image, what) - loader->image.base);
        return watch;
}

void agentd_watch_path(AgentdWatch *watch, const char *path) {
        (void) add_watch(watch->loader, watch->state, IMAGE_WATCH_PATH, path);
}

void agentd_watch_tree(AgentdWatch *watch, const char *path, unsigned depth, const char *const *exclude) {
        Loader *loader = watch->loader;
        ImageWatch *tree = add_watch(loader, watch->state, IMAGE_WATCH_TREE, path);
        size_t size = 0;
        char *text;

        for (size_t i = 0; exclude && exclude[i]; i++)
                size += strlen(exclude[i]) + 1;
        text = arena_alloc(&loader->image, size + 1);
        tree->depth = depth;
        tree->exclude.offset = (uint32_t) ((uint8_t *) text - loader->image.base);
        for (size_t i = 0; exclude && exclude[i]; i++) {
                size_t n = strlen(exclude[i]);

                /* One with a newline in it would be two. Without it more is watched, which does no harm. */
                if (strchr(exclude[i], '\n'))
                        continue;
                /* All that is left out is directories. */
                if (n > 1 && exclude[i][n - 1] == '/')
                        n--;
                text = mempcpy(text, exclude[i], n);
                *text++ = '\n';
        }
        *text = '\0';
        tree->exclude.n = (uint32_t) (text - (char *) loader->image.base) - tree->exclude.offset;
}

void agentd_watch_unit(AgentdWatch *watch, const char *unit) {
        (void) add_watch(watch->loader, watch->state, IMAGE_WATCH_UNIT, unit);
}

void agentd_watch_bus(AgentdWatch *watch, const char *match) {
        (void) add_watch(watch->loader, watch->state, IMAGE_WATCH_BUS, match);
}

static void add_to_hash(void *userdata, const void *data, size_t size) {
        (void) crypto_generichash_update(userdata, data, size);
}

static void hash_state(State *state) {
        crypto_generichash_state hash;
        /* Whether it is only audited says what follows from a check, not what is checked. */
        uint32_t flags = state->flags & ~(IMAGE_STATE_AUDIT | IMAGE_STATE_UNWATCHED);

        (void) crypto_generichash_init(&hash, NULL, 0, IMAGE_HASH_SIZE);
        (void) crypto_generichash_update(&hash, (const uint8_t *) state->id, strlen(state->id) + 1);
        (void) crypto_generichash_update(&hash, (const uint8_t *) &flags, sizeof(flags));
        /* What the state depends on is no part of it: nothing is checked otherwise after something else. */
        if (state->when)
                expression_feed(state->when, add_to_hash, &hash);
        /* Modules can ask whether it listens to anything. */
        if (state->listens)
                (void) crypto_generichash_update(&hash, (const uint8_t *) "listens", sizeof("listens"));
        /* Most of them are not there. */
        for (uint32_t i = 0; i < state->type->n_parameters; i++)
                if (state->parameters[i].type != AGENTD_NONE) {
                        (void) crypto_generichash_update(&hash, (const uint8_t *) &i, sizeof(i));
                        hash_value(&hash, &state->parameters[i]);
                }
        (void) crypto_generichash_final(&hash, state->hash, sizeof(state->hash));
}

void state_prepare(Loader *loader, State *state) {
        const AgentdStateType *type = state->type->type;
        AgentdPrepare prepare = { .loader = loader, .state = state };
        AgentdWatch watch = { .loader = loader, .state = state };
        const char *name;
        int r;

        hash_state(state);
        if (state->type->module->foreign) {
                foreign_state_prepare(loader, state);
                return;
        }
        name = arena_strdup(&loader->image, state->name);
        state->data = state->parameters;
        if (type->prepare) {
                state->data = NULL;
                r = type->prepare(&prepare, name, state->parameters, &state->data,
                        state_leaves(state) ? AGENTD_ON_REMOVAL : 0);
                if (r < 0) {
                        if (!prepare.failed)
                                diagnostics_add(&loader->diagnostics, state->place,
                                        "module '%s' refuses %s without a word (%s)",
                                        state->type->module->path, state->id, strerror(-r));
                        return;
                }
                if (prepare.failed)
                        return;
                if (state->data &&
                        ((const uint8_t *) state->data < loader->image.base ||
                                (const uint8_t *) state->data >= loader->image.base + loader->image.used)) {
                        diagnostics_add(&loader->diagnostics, state->place,
                                "module '%s' gives private data for %s that was not made with "
                                "agentd_alloc()",
                                state->type->module->path, state->id);
                        return;
                }
        }

        for (uint32_t i = 0; i < state->n_sources; i++)
                agentd_watch_path(&watch, state->sources[i]);
        if (type->watch) {
                const AgentdState call = { .name = name, .id = state->id, .data = state->data };

                r = type->watch(&watch, &call, 0);
                if (r < 0)
                        diagnostics_add(&loader->diagnostics, state->place,
                                "module '%s' cannot say what %s watches: %s", state->type->module->path,
                                state->id, strerror(-r));
        }
}
