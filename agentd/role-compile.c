/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Writes down what the loader found out, in the form of image.h. */

#include "fact.h"
#include "role.h"

static uint32_t offset_of(const Loader *loader, const void *p) {
        return (uint32_t) ((const uint8_t *) p - loader->image.base);
}

static ImageText text(Loader *loader, const char *string) {
        size_t n = strlen(string);

        return (ImageText){ .offset = offset_of(loader, arena_strndup(&loader->image, string, n)),
                .n = (uint32_t) n };
}

/* Makes room for n elements, and says in *array where they are. */
static void *make_array(Loader *loader, ImageArray *array, uint32_t n, size_t element_size) {
        void *p = arena_alloc(&loader->image, n * element_size);

        *array = (ImageArray){ .offset = offset_of(loader, p), .n = n };
        return p;
}

#define MAKE_ARRAY(loader, array, n, type) ((type *) make_array((loader), (array), (n), sizeof(type)))

/* Its index; each is written once. */
static uint32_t write_module(
        Loader *loader, ImageHeader *header, ImageModule *modules, const Module *module) {
        uint32_t m = 0;

        while (m < header->modules.n &&
                !streq((const char *) loader->image.base + modules[m].path.offset, module->path))
                m++;
        if (m == header->modules.n) {
                modules[header->modules.n++] = (ImageModule){
                        .path = text(loader, module->path),
                        .build_id_size = module->build_id_size,
                };
                memcpy(modules[m].build_id, module->build_id, sizeof(modules[m].build_id));
        }
        return m;
}

static void write_types(Loader *loader, ImageHeader *header) {
        ImageModule *modules;
        ImageType *types;
        uint32_t n_types = 0;

        for (uint32_t i = 0; i < loader->n_types; i++)
                if (loader->types[i]->image_index != UINT32_MAX)
                        loader->types[i]->image_index = n_types++;
        types = MAKE_ARRAY(loader, &header->types, n_types, ImageType);
        modules = MAKE_ARRAY(loader, &header->modules, n_types + loader->n_helper_modules, ImageModule);
        header->modules.n = 0;

        for (uint32_t i = 0; i < loader->n_types; i++) {
                const TypeEntry *entry = loader->types[i];
                uint32_t m;

                if (entry->image_index == UINT32_MAX)
                        continue;
                m = write_module(loader, header, modules, entry->module);
                types[entry->image_index] = (ImageType){
                        .name = text(loader, entry->name),
                        .module = m,
                        .flags = entry->type->flags,
                        .batch_max = entry->type->batch_max,
                };
        }
        for (uint32_t i = 0; i < loader->n_helper_modules; i++)
                (void) write_module(loader, header, modules, loader->helper_modules[i]);
}

/* Numbers files that are edited, in the order in which they come up first: the states of each are worked on together. */
static uint32_t batch_key(Loader *loader, ImageHeader *header, Map *keys, const State *state) {
        uint32_t key;

        if (!state->edits)
                return 0;
        key = map_get(keys, state->edits);
        if (key == MAP_NOT_FOUND) {
                key = ++header->n_batch_keys;
                map_put(keys, &loader->scratch, state->edits, key);
        }
        return key;
}

/* Who is shown what changes in a file is shown what stands around it, too: what one state hides of a file, all hide that edit it. */
static void share_sensitivity(Loader *loader, ImageState *states, uint32_t n_keys) {
        bool *hidden = arena_new_array(&loader->scratch, bool, n_keys + 1);

        for (uint32_t i = 0; i < loader->n_states; i++)
                if (states[i].flags & IMAGE_STATE_SENSITIVE)
                        hidden[states[i].batch_key] = true;
        for (uint32_t i = 0; i < loader->n_states; i++)
                if (states[i].batch_key != 0 && hidden[states[i].batch_key])
                        states[i].flags |= IMAGE_STATE_SENSITIVE;
}

/* ---- What few states have -------------------------------------------------------------------------------------- */

static uint32_t count_texts(const Loader *loader) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < loader->n_roles; i++)
                n += loader->list[i]->tags.n;
        for (uint32_t i = 0; i < loader->n_states; i++) {
                const StateExtra *extra = loader->states[i]->extra;

                if (!extra)
                        continue;
                n += extra->tags.n + extra->was.n;
                for (Hook hook = 0; hook < _HOOK_MAX; hook++)
                        n += extra->hooks[hook].n;
        }
        return n;
}

static ImageArray write_list(Loader *loader, ImageHeader *header, ImageText *texts, const TextList *list) {
        ImageArray slice = { .offset = header->texts.n, .n = list->n };

        for (uint32_t i = 0; i < list->n; i++)
                texts[header->texts.n++] = text(loader, list->texts[i]);
        return slice;
}

static int compare_listeners(const void *a, const void *b) {
        const ImageListener *x = a, *y = b;

        return x->to != y->to ? (x->to > y->to) - (x->to < y->to)
                              : (x->state > y->state) - (x->state < y->state);
}

/* One for each pair, whatever was said how often. */
static void write_listeners(Loader *loader, ImageHeader *header) {
        ImageListener *listeners =
                MAKE_ARRAY(loader, &header->listeners, loader->n_listeners, ImageListener);
        uint32_t n = 0;

        if (loader->n_listeners == 0)
                return;
        qsort(loader->listeners, loader->n_listeners, sizeof(ImageListener), compare_listeners);
        for (uint32_t i = 0; i < loader->n_listeners; i++)
                if (n > 0 && compare_listeners(&listeners[n - 1], &loader->listeners[i]) == 0)
                        listeners[n - 1].what |= loader->listeners[i].what;
                else
                        listeners[n++] = loader->listeners[i];
        header->listeners.n = n;
}

static void write_extras(Loader *loader, ImageHeader *header, ImageRole *roles) {
        ImageState *states = (ImageState *) (loader->image.base + header->states.offset);
        uint32_t n = 0;
        ImageExtra *extras;
        ImageText *texts;

        for (uint32_t i = 0; i < loader->n_states; i++)
                n += loader->states[i]->extra != NULL;
        extras = MAKE_ARRAY(loader, &header->extras, n, ImageExtra);
        texts = MAKE_ARRAY(loader, &header->texts, count_texts(loader), ImageText);
        header->texts.n = n = 0;
        for (uint32_t i = 0; i < loader->n_roles; i++)
                roles[i].tags = write_list(loader, header, texts, &loader->list[i]->tags);
        for (uint32_t i = 0; i < loader->n_states; i++) {
                const StateExtra *extra = loader->states[i]->extra;

                if (!extra)
                        continue;
                extras[n] = (ImageExtra){
                        .state = i,
                        .retries = extra->retries,
                        .retry_delay_usec = extra->retry_delay_usec,
                        .interval_usec = extra->interval_usec,
                        .tags = write_list(loader, header, texts, &extra->tags),
                        .was = write_list(loader, header, texts, &extra->was),
                        .removal = extra->removal ? text(loader, extra->removal) : (ImageText){},
                        .name = extra->name ? text(loader, extra->name) : (ImageText){},
                };
                for (Hook hook = 0; hook < _HOOK_MAX; hook++)
                        extras[n].hooks[hook] = write_list(loader, header, texts, &extra->hooks[hook]);
                states[i].extra = ++n;
        }
        write_listeners(loader, header);
}

/* ---- States ---------------------------------------------------------------------------------------------------- */

static void write_states(Loader *loader, ImageHeader *header) {
        ImageState *states = MAKE_ARRAY(loader, &header->states, loader->n_states, ImageState);
        ImageWatch *watches;
        uint32_t n_watches = 0;
        Map keys = {};

        for (uint32_t i = 0; i < loader->n_states; i++)
                n_watches += loader->states[i]->n_watches;
        watches = MAKE_ARRAY(loader, &header->watches, n_watches, ImageWatch);
        n_watches = 0;

        for (uint32_t i = 0; i < loader->n_states; i++) {
                const State *state = loader->states[i];

                states[i] = (ImageState){
                        .id = text(loader, state->id),
                        .type = state->type->image_index,
                        .role = state->role->index,
                        .line = state->place.line,
                        .column = state->place.column,
                        .flags = state->flags,
                        .when = state->when ? offset_of(loader, state->when) : 0,
                        .data = state->data ? offset_of(loader, state->data) : 0,
                        .watches = { .offset = n_watches, .n = state->n_watches },
                        .batch_key = batch_key(loader, header, &keys, state),
                        .timeout_usec = state->timeout_usec,
                        .listens = state->listens,
                };
                memcpy(states[i].hash, state->hash, sizeof(states[i].hash));
                for (uint32_t k = 0; k < state->n_watches; k++)
                        watches[n_watches++] = state->watches[k];
        }
        share_sensitivity(loader, states, header->n_batch_keys);
}

static void write_nodes(Loader *loader, ImageHeader *header) {
        uint32_t n = loader->n_states + loader->n_groups, position = 0;
        ImageNode *nodes = MAKE_ARRAY(loader, &header->nodes, n, ImageNode);
        uint32_t *dependents = MAKE_ARRAY(loader, &header->dependents, loader->n_edges, uint32_t);

        for (uint32_t i = 0; i < loader->n_edges; i++) {
                nodes[loader->edges[i].from].dependents.n++;
                nodes[loader->edges[i].to].n_dependencies++;
        }
        for (uint32_t i = 0; i < n; i++) {
                nodes[i].dependents.offset = position;
                position += nodes[i].dependents.n;
                nodes[i].dependents.n = 0;
        }
        for (uint32_t i = 0; i < loader->n_edges; i++) {
                ImageNode *node = &nodes[loader->edges[i].from];

                dependents[node->dependents.offset + node->dependents.n++] = loader->edges[i].to;
        }
}

static void write_files(Loader *loader, ImageHeader *header) {
        ImageFile *files = MAKE_ARRAY(loader, &header->files, loader->n_files, ImageFile);

        for (uint32_t i = 0; i < loader->n_files; i++) {
                const LoadFile *file = &loader->files[i];

                files[i] = (ImageFile){
                        .path = text(loader, file->path),
                        .is_directory = file->is_directory,
                        .device = file->identity.device,
                        .inode = file->identity.inode,
                        .size = file->identity.size,
                        .mtime_nsec = file->identity.mtime_nsec,
                        .ctime_nsec = file->identity.ctime_nsec,
                };
        }
}

static void write_triggers(Loader *loader, ImageHeader *header) {
        ImageTrigger *triggers = MAKE_ARRAY(loader, &header->triggers, loader->n_triggers, ImageTrigger);
        uint32_t *triggered, n = 0;

        for (uint32_t i = 0; i < loader->n_triggers; i++)
                n += loader->triggers[i]->n_states;
        triggered = MAKE_ARRAY(loader, &header->triggered, n, uint32_t);
        n = 0;
        for (uint32_t i = 0; i < loader->n_triggers; i++) {
                const Trigger *trigger = loader->triggers[i];

                triggers[i] = (ImageTrigger){
                        .name = text(loader, trigger->name),
                        .kind = trigger->path ? IMAGE_TRIGGER_PATH : IMAGE_TRIGGER_EVERY,
                        .role = trigger->role->index,
                        .line = trigger->place.line,
                        .column = trigger->place.column,
                        .recursive = trigger->recursive,
                        .path = trigger->path ? text(loader, trigger->path) : (ImageText){},
                        .exclude = trigger->recursive ? text(loader, trigger->exclude ?: "") : (ImageText){},
                        .states = { .offset = n, .n = trigger->n_states },
                        .every_usec = trigger->every_usec,
                };
                for (uint32_t k = 0; k < trigger->n_states; k++)
                        triggered[n++] = trigger->states[k];
        }
}

static void write_facts(Loader *loader, ImageHeader *header) {
        ImageFact *facts = MAKE_ARRAY(loader, &header->facts, loader->n_noted, ImageFact);

        for (uint32_t i = 0; i < loader->n_noted; i++) {
                facts[i].name = text(loader, loader->noted_list[i]);
                fact_hash(&loader->facts, loader->noted_list[i], facts[i].hash);
        }
}

static int compare_paths(const void *a, const void *b, void *base) {
        const ImagePath *x = a, *y = b;

        return path_compare((const char *) base + x->path.offset, (const char *) base + y->path.offset);
}

static bool owns_path(const State *state) {
        return state->type->type->flags & AGENTD_NAME_IS_PATH;
}

/* The texts of what is owned are those of the ids. */
static void write_paths(Loader *loader, ImageHeader *header) {
        const ImageState *states;
        ImagePath *paths;
        uint32_t n = 0;

        if (!loader->wants_paths)
                return;
        for (uint32_t i = 0; i < loader->n_states; i++)
                n += owns_path(loader->states[i]) + (loader->states[i]->edits != NULL) +
                     loader->states[i]->n_claims;
        paths = MAKE_ARRAY(loader, &header->paths, n, ImagePath);
        states = (const ImageState *) (loader->image.base + header->states.offset);
        n = 0;
        for (uint32_t i = 0; i < loader->n_states; i++) {
                const State *state = loader->states[i];
                uint32_t before = (uint32_t) strlen(state->type->name) + 1;

                if (owns_path(state))
                        paths[n++] = (ImagePath){
                                .path = { .offset = states[i].id.offset + before,
                                        .n = states[i].id.n - before },
                                .state = i,
                                .kind = state->path_kind,
                        };
                for (uint32_t k = 0; k < state->n_claims; k++)
                        paths[n++] = (ImagePath){
                                .path = text(loader, state->claims[k]),
                                .state = i,
                                .kind = AGENTD_PATH_LEAF,
                        };
                if (state->edits)
                        paths[n++] = (ImagePath){
                                .path = text(loader, state->edits),
                                .state = i,
                                .kind = AGENTD_PATH_EDITABLE,
                        };
        }
        qsort_r(paths, n, sizeof(*paths), compare_paths, loader->image.base);
}

void image_compile(Loader *loader) {
        ImageHeader *header = (ImageHeader *) loader->image.base;
        ImageRole *roles;

        for (uint32_t i = 0; i < loader->n_states; i++)
                loader->states[i]->type->image_index = 0;

        roles = MAKE_ARRAY(loader, &header->roles, loader->n_roles, ImageRole);
        for (uint32_t i = 0; i < loader->n_roles; i++)
                roles[i] = (ImageRole){
                        .name = text(loader, loader->list[i]->name),
                        .path = text(loader, loader->list[i]->path),
                };
        write_types(loader, header);
        write_states(loader, header);
        write_extras(loader, header, roles);
        write_paths(loader, header);
        write_nodes(loader, header);
        write_files(loader, header);
        write_facts(loader, header);
        write_triggers(loader, header);

        header->settings = loader->settings;
        header->magic = IMAGE_MAGIC;
        header->version = IMAGE_VERSION;
        header->base = (uint64_t) (uintptr_t) loader->image.base;
        arena_trim(&loader->image);
        header->used = loader->image.used;
}
