/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small image with something of everything, and a walk over all that the engine reads: for tests and fuzzers. */

#include "image.h"

static inline ImageText test_image_text(Arena *arena, const char *text) {
        return (ImageText){
                .offset = (uint32_t) ((uint8_t *) arena_strdup(arena, text) - arena->base),
                .n = (uint32_t) strlen(text),
        };
}

static inline void *test_image_array(Arena *arena, ImageArray *array, uint32_t n, size_t element_size) {
        void *p = arena_alloc(arena, n * element_size);

        *array = (ImageArray){ .offset = (uint32_t) ((uint8_t *) p - arena->base), .n = n };
        return p;
}

/* Into an arena whose first allocation was the header. */
static inline void test_image_build(Arena *arena) {
        ImageHeader *h = (ImageHeader *) arena->base;
        ImageModule *modules = test_image_array(arena, &h->modules, 2, sizeof(ImageModule));
        ImageType *types = test_image_array(arena, &h->types, 2, sizeof(ImageType));
        ImageRole *roles = test_image_array(arena, &h->roles, 1, sizeof(ImageRole));
        ImageState *states = test_image_array(arena, &h->states, 3, sizeof(ImageState));
        ImageNode *nodes = test_image_array(arena, &h->nodes, 4, sizeof(ImageNode));
        uint32_t *dependents = test_image_array(arena, &h->dependents, 3, sizeof(uint32_t));
        ImageWatch *watches = test_image_array(arena, &h->watches, 3, sizeof(ImageWatch));
        ImageFile *files = test_image_array(arena, &h->files, 1, sizeof(ImageFile));
        ImageFact *facts = test_image_array(arena, &h->facts, 1, sizeof(ImageFact));
        ImagePath *paths = test_image_array(arena, &h->paths, 2, sizeof(ImagePath));
        ImageExtra *extras = test_image_array(arena, &h->extras, 1, sizeof(ImageExtra));
        ImageListener *listeners = test_image_array(arena, &h->listeners, 1, sizeof(ImageListener));
        ImageText *texts = test_image_array(arena, &h->texts, 3, sizeof(ImageText));
        ImageTrigger *triggers = test_image_array(arena, &h->triggers, 2, sizeof(ImageTrigger));
        uint32_t *triggered = test_image_array(arena, &h->triggered, 2, sizeof(uint32_t));
        static const char *const ids[] = { "file:/a", "file:/a/b", "service:c" };

        modules[0] = (ImageModule){ .path = test_image_text(arena, "/m/file.so"), .build_id_size = 20 };
        modules[1] = (ImageModule){ .path = test_image_text(arena, "/m/service.so"),
                .build_id_size = IMAGE_BUILD_ID_SIZE };
        types[0] = (ImageType){ .name = test_image_text(arena, "file"), .flags = 1, .batch_max = 256 };
        types[1] = (ImageType){ .name = test_image_text(arena, "service"), .module = 1 };
        roles[0] = (ImageRole){ .name = test_image_text(arena, "web"),
                .path = test_image_text(arena, "/etc/agentd/conf.d/web.toml") };
        for (uint32_t i = 0; i < 3; i++)
                states[i] = (ImageState){
                        .id = test_image_text(arena, ids[i]),
                        .type = i == 2,
                        .line = i + 1,
                        .column = 1,
                        .timeout_usec = USEC_PER_SEC,
                        .watches = { .offset = i, .n = 1 },
                };

        /* /a ─▶ /a/b ─▶ a group ─▶ c */
        for (uint32_t i = 0; i < 3; i++) {
                static const uint32_t from[] = { 0, 1, 3 }, to[] = { 1, 3, 2 };

                nodes[from[i]].dependents = (ImageArray){ .offset = i, .n = 1 };
                nodes[to[i]].n_dependencies = 1;
                dependents[i] = to[i];
        }
        nodes[2].dependents.offset = 3;
        watches[0] = (ImageWatch){ .kind = IMAGE_WATCH_PATH, .what = test_image_text(arena, "/a") };
        watches[1] = (ImageWatch){ .kind = IMAGE_WATCH_BUS, .what = test_image_text(arena, "") };
        watches[2] = (ImageWatch){
                .kind = IMAGE_WATCH_TREE,
                .depth = 3,
                .what = test_image_text(arena, "/c"),
                .exclude = test_image_text(arena, "*.log\n"),
        };
        files[0] = (ImageFile){ .path = test_image_text(arena, "/etc/agentd/conf.d"), .device = 1 };
        for (uint32_t i = 0; i < 2; i++)
                paths[i] = (ImagePath){
                        .path = { .offset = states[i].id.offset + 5, .n = states[i].id.n - 5 },
                        .state = i,
                };
        facts[0] = (ImageFact){ .name = test_image_text(arena, "facts.os.id") };
        extras[0] = (ImageExtra){
                .state = 1,
                .retry_delay_usec = USEC_PER_SEC,
                .interval_usec = USEC_PER_MINUTE,
                .tags = { .n = 1 },
                .was = { .offset = 1, .n = 1 },
                .hooks = { [HOOK_ON_SUCCESS] = { .offset = 2, .n = 1 } },
                .removal = test_image_text(arena, "{}"),
        };
        states[1].extra = 1;
        texts[0] = test_image_text(arena, "tag");
        texts[1] = test_image_text(arena, "file:/old");
        texts[2] = test_image_text(arena, "/nonexistent/hook");
        listeners[0] = (ImageListener){ .to = 0, .state = 1, .what = IMAGE_LISTEN_CHECK };
        triggers[0] = (ImageTrigger){
                .name = test_image_text(arena, "deploy"),
                .kind = IMAGE_TRIGGER_PATH,
                .recursive = 1,
                .path = test_image_text(arena, "/srv"),
                .exclude = test_image_text(arena, "cache\n"),
                .states = { .n = 2 },
        };
        triggers[1] = (ImageTrigger){
                .name = test_image_text(arena, "often"),
                .kind = IMAGE_TRIGGER_EVERY,
                .states = { .offset = 1, .n = 1 },
                .every_usec = USEC_PER_MINUTE,
        };
        triggered[0] = 1;
        triggered[1] = 2;

        h->settings = settings_default;
        h->magic = IMAGE_MAGIC;
        h->version = IMAGE_VERSION;
        h->base = (uint64_t) (uintptr_t) arena->base;
        /* Whole words, so that a test can put it right before the end of a page. */
        arena->used = (arena->used + 7) & ~(size_t) 7;
        h->used = arena->used;
}

/* True if a text is what the engine takes it for: a string of that length. */
static inline bool test_image_text_is_good(const Image *image, ImageText text) {
        return strlen(image_text(image, text)) == text.n;
}

static inline bool test_image_list_is_good(const Image *image, ImageArray list) {
        for (uint32_t k = 0; k < list.n; k++)
                if (!image_list_text(image, list, k) || strlen(image_list_text(image, list, k)) == SIZE_MAX)
                        return false;
        return true;
}

/* Reads all that the engine reads of an image. True if all of it makes sense. */
static inline bool test_image_walk(const Image *image) {
        const ImageHeader *h = image->header;
        bool good = true;

        for (uint32_t i = 0; i < h->modules.n; i++) {
                const ImageModule *module = image_array(image, modules, ImageModule) + i;

                good = good && test_image_text_is_good(image, module->path) &&
                       module->build_id_size <= sizeof(module->build_id);
        }
        for (uint32_t i = 0; i < h->types.n; i++)
                good = good && test_image_text_is_good(image, image_type(image, i)->name) &&
                       image_type(image, i)->module < h->modules.n;
        for (uint32_t i = 0; i < h->roles.n; i++) {
                const ImageRole *role = image_array(image, roles, ImageRole) + i;

                good = good && test_image_text_is_good(image, role->name) &&
                       test_image_text_is_good(image, role->path);
        }
        for (uint32_t i = 0; i < image_n_states(image); i++) {
                const ImageState *state = image_state(image, i);
                const char *id = image_state_id(image, i), *name = image_state_name(image, i);

                const ImageExtra *extra = image_extra(image, i);
                uint32_t n_listeners;
                const ImageListener *listeners = image_listeners(image, i, &n_listeners);

                for (uint32_t k = 0; k < n_listeners; k++)
                        good = good && listeners[k].state < h->states.n;
                good = good && (!extra || extra->retry_delay_usec > 0) &&
                       image_extra_is_same(image, i, image, i);
                if (extra && extra->name.n > 0)
                        good = good && test_image_text_is_good(image, extra->name);
                else
                        good = good && name[-1] == ':' && name <= id + strlen(id);
                good = good && startswith(id, image_state_type(image, i)) && image_state_role(image, i) &&
                       state->timeout_usec > 0;
                for (uint32_t k = 0; k < state->watches.n; k++) {
                        const ImageWatch *watch =
                                image_array(image, watches, ImageWatch) + state->watches.offset + k;

                        good = good && watch->kind < _IMAGE_WATCH_MAX &&
                               test_image_text_is_good(image, watch->what) &&
                               (watch->kind != IMAGE_WATCH_TREE ||
                                       test_image_text_is_good(image, watch->exclude));
                }
        }
        good = good && h->nodes.n >= h->states.n;
        for (uint32_t i = 0; i < h->nodes.n; i++) {
                const ImageNode *node = image_node(image, i);

                for (uint32_t k = 0; k < node->dependents.n; k++)
                        good = good && image_dependents(image, node)[k] < h->nodes.n;
        }
        for (uint32_t i = 0; i < h->files.n; i++)
                good = good && test_image_text_is_good(image, image_array(image, files, ImageFile)[i].path);
        for (uint32_t i = 0; i < h->facts.n; i++)
                good = good && test_image_text_is_good(image, image_array(image, facts, ImageFact)[i].name);
        for (uint32_t i = 0; i < h->paths.n; i++) {
                const ImagePath *path = image_array(image, paths, ImagePath) + i;

                good = good && test_image_text_is_good(image, path->path) && path->state < h->states.n;
        }
        for (uint32_t i = 0; i < h->texts.n; i++)
                good = good && test_image_text_is_good(image, image_array(image, texts, ImageText)[i]);
        for (uint32_t i = 0; i < h->extras.n; i++) {
                const ImageExtra *extra = image_array(image, extras, ImageExtra) + i;

                good = good && extra->state < h->states.n && test_image_list_is_good(image, extra->tags) &&
                       test_image_list_is_good(image, extra->was) &&
                       (extra->removal.n == 0 || test_image_text_is_good(image, extra->removal));
                (void) image_state_has_tag(image, extra->state, "no tag");
                for (Hook hook = 0; hook < _HOOK_MAX; hook++)
                        good = good && test_image_list_is_good(image, extra->hooks[hook]);
        }
        for (uint32_t i = 0; i < h->listeners.n; i++) {
                const ImageListener *listener = image_array(image, listeners, ImageListener) + i;

                good = good && listener->to < h->states.n && listener->state < h->states.n;
        }
        for (uint32_t i = 0; i < image_n_triggers(image); i++) {
                const ImageTrigger *trigger = image_trigger(image, i);
                const uint32_t *states = image_array(image, triggered, uint32_t) + trigger->states.offset;

                good = good && test_image_text_is_good(image, trigger->name) && trigger->role < h->roles.n &&
                       image_trigger_kind_to_string(trigger->kind);
                if (trigger->kind == IMAGE_TRIGGER_PATH)
                        good = good && test_image_text_is_good(image, trigger->path) &&
                               (!trigger->recursive || test_image_text_is_good(image, trigger->exclude));
                for (uint32_t k = 0; k < trigger->states.n; k++)
                        good = good && states[k] < h->states.n;
        }
        return good && !settings_validate(&h->settings);
}
