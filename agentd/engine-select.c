/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fnmatch.h>

#include "diagnostic.h"
#include "engine-internal.h"
#include "engine-select.h"

#define NO_STATE UINT32_MAX

int select_required(const Image *image, uint8_t *selected) {
        uint32_t n_nodes = image->header->nodes.n, n_states = image_n_states(image), n = 0;
        _cleanup_free_ uint32_t *first = calloc((size_t) n_nodes + 1, sizeof(uint32_t));
        _cleanup_free_ uint32_t *required = NULL, *stack = NULL;
        _cleanup_free_ uint8_t *seen = NULL;

        /* The image says who waits for a node; here the other direction is wanted: first[i] … first[i + 1] are the places in
         * `required` of what node i waits for. */
        if (!first)
                return -ENOMEM;
        for (uint32_t i = 0; i < n_nodes; i++) {
                const ImageNode *node = image_node(image, i);
                const uint32_t *dependents = image_dependents(image, node);

                for (uint32_t k = 0; k < node->dependents.n; k++)
                        first[dependents[k] + 1]++;
        }
        for (uint32_t i = 0; i < n_nodes; i++)
                first[i + 1] += first[i];
        required = malloc(MAX(first[n_nodes], 1U) * sizeof(uint32_t));
        stack = malloc(MAX(n_nodes, 1U) * sizeof(uint32_t));
        seen = calloc(MAX(n_nodes, 1U), 1);
        if (!required || !stack || !seen)
                return -ENOMEM;
        for (uint32_t i = 0; i < n_nodes; i++) {
                const ImageNode *node = image_node(image, i);
                const uint32_t *dependents = image_dependents(image, node);

                for (uint32_t k = 0; k < node->dependents.n; k++)
                        required[first[dependents[k]]++] = i;
        }

        /* Each first[i] stands now where that of i + 1 began. */
        for (uint32_t i = 0; i < n_states; i++)
                if (selected[i]) {
                        seen[i] = 1;
                        stack[n++] = i;
                }
        while (n > 0) {
                uint32_t i = stack[--n];

                if (i < n_states)
                        selected[i] = 1;
                for (uint32_t k = i > 0 ? first[i - 1] : 0; k < first[i]; k++)
                        if (!seen[required[k]]) {
                                seen[required[k]] = 1;
                                stack[n++] = required[k];
                        }
        }
        return 0;
}

/* ---- Tags --------------------------------------------------------------------------------------------------------------- */

int select_tagged(
        const Image *image, const char *const *tags, size_t n_tags, uint8_t *selected, size_t *reterr_tag) {
        _cleanup_free_ uint8_t *tagged = calloc(MAX(image_n_states(image), 1U), 1);

        if (!tagged)
                return -ENOMEM;
        for (size_t t = 0; t < n_tags; t++) {
                bool found = false;

                for (uint32_t i = 0; i < image_n_states(image); i++)
                        if (image_state_has_tag(image, i, tags[t])) {
                                tagged[i] = 1;
                                found = true;
                        }
                if (!found) {
                        *reterr_tag = t;
                        return -ENXIO;
                }
        }
        for (uint32_t i = 0; i < image_n_states(image); i++)
                selected[i] &= tagged[i];
        return 0;
}

/* Those of one list, if names has room for them. Return: how many. */
static size_t take_texts(const Image *image, ImageArray list, const char **names) {
        for (uint32_t i = 0; names && i < list.n; i++)
                names[i] = image_list_text(image, list, i);
        return list.n;
}

static size_t take_tags(const Image *image, const char **names) {
        size_t n = 0;

        for (uint32_t i = 0; i < image->header->roles.n; i++)
                n += take_texts(
                        image, image_array(image, roles, ImageRole)[i].tags, names ? names + n : NULL);
        for (uint32_t i = 0; i < image->header->extras.n; i++)
                n += take_texts(
                        image, image_array(image, extras, ImageExtra)[i].tags, names ? names + n : NULL);
        return n;
}

const char *select_suggest_tag(const Image *image, const char *tag) {
        size_t n = take_tags(image, NULL);
        _cleanup_free_ const char **names = calloc(MAX(n, (size_t) 1), sizeof(*names));

        if (!names)
                return NULL;
        (void) take_tags(image, names);
        return suggest(tag, names, n);
}

/* ---- A request ---------------------------------------------------------------------------------------------------------- */

uint32_t select_find(const Engine *engine, const Image *image, const char *id) {
        /* There is an index of the image in force alone. */
        if (image == engine->image)
                return status_find(engine->status, id);
        for (uint32_t i = 0; i < image_n_states(image); i++)
                if (streq(image_state_id(image, i), id))
                        return i;
        return NO_STATE;
}

/* What a state of the image was last found to be. */
static Result last_result(const Engine *engine, const Image *image, uint32_t i) {
        uint32_t k = image == engine->image ? i : status_find(engine->status, image_state_id(image, i));

        return k == NO_STATE ? RESULT_NONE : engine->status->states[k].result;
}

int select_states(Engine *engine, const RunRequest *request, uint8_t **ret, size_t *reterr_pattern) {
        const Image *image = request->image ?: engine->image;
        uint32_t n = image_n_states(image);
        _cleanup_free_ uint8_t *selected = NULL;
        int r;

        if (request->n_patterns == 0 && request->n_tags == 0 && !request->only_failed)
                return 0;
        selected = calloc(MAX(n, 1U), 1);
        if (!selected)
                return -ENOMEM;
        for (size_t p = 0; p < request->n_patterns; p++) {
                const char *pattern = request->patterns[p];
                uint32_t exact = select_find(engine, image, pattern);
                bool found = exact != NO_STATE;

                if (found)
                        selected[exact] = 1;
                if (!found && strpbrk(pattern, "*?["))
                        for (uint32_t i = 0; i < n; i++)
                                if (fnmatch(pattern, image_state_id(image, i), 0) == 0) {
                                        selected[i] = 1;
                                        found = true;
                                }
                if (!found) {
                        *reterr_pattern = p;
                        return -ENOENT;
                }
        }
        if (request->n_patterns == 0)
                memset(selected, 1, n);
        if (request->n_tags > 0) {
                r = select_tagged(image, request->tags, request->n_tags, selected, reterr_pattern);
                if (r < 0)
                        return r;
        }
        if (request->only_failed)
                for (uint32_t i = 0; i < n; i++) {
                        Result result = last_result(engine, image, i);

                        selected[i] &= result == RESULT_FAILED || result == RESULT_BLOCKED;
                }
        r = select_required(image, selected);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(selected);
        return 0;
}

int select_dependents(const Image *image, uint8_t *selected) {
        uint32_t n_states = image_n_states(image), n_nodes = image->header->nodes.n, n = 0;
        _cleanup_free_ uint32_t *stack = malloc(MAX(n_nodes, 1U) * sizeof(uint32_t));
        _cleanup_free_ uint8_t *seen = calloc(MAX(n_nodes, 1U), 1);

        if (!stack || !seen)
                return -ENOMEM;
        for (uint32_t i = 0; i < n_states; i++)
                if (selected[i]) {
                        seen[i] = 1;
                        stack[n++] = i;
                }
        while (n > 0) {
                uint32_t i = stack[--n];
                const ImageNode *node = image_node(image, i);
                const uint32_t *dependents = image_dependents(image, node);

                if (i < n_states)
                        selected[i] = 1;
                for (uint32_t k = 0; k < node->dependents.n; k++)
                        if (!seen[dependents[k]]) {
                                seen[dependents[k]] = 1;
                                stack[n++] = dependents[k];
                        }
        }
        return 0;
}

int select_blocked(const Image *image, const StatusTable *status, const uint8_t *selected, uint8_t **ret) {
        uint32_t n_states = image_n_states(image), n_nodes = image->header->nodes.n, n = 0;
        _cleanup_free_ uint32_t *stack = malloc(MAX(n_states + n_nodes, 1U) * sizeof(uint32_t));
        _cleanup_free_ uint8_t *seen = calloc(MAX(n_nodes, 1U), 1);

        if (!stack || !seen)
                return -ENOMEM;
        for (uint32_t i = 0; i < n_states; i++)
                if (!selected[i] && (status->states[i].result == RESULT_FAILED ||
                                            status->states[i].result == RESULT_BLOCKED))
                        stack[n++] = i;
        while (n > 0) {
                const ImageNode *node = image_node(image, stack[--n]);
                const uint32_t *dependents = image_dependents(image, node);

                for (uint32_t k = 0; k < node->dependents.n; k++)
                        if (!seen[dependents[k]]) {
                                seen[dependents[k]] = 1;
                                stack[n++] = dependents[k];
                        }
        }
        *ret = TAKE_PTR(seen);
        return 0;
}

/* ---- After a load ------------------------------------------------------------------------------------------------------- */

static bool is_as_declared(Result result) {
        return result == RESULT_OK || result == RESULT_CHANGED || result == RESULT_SKIPPED;
}

bool select_paths_differ(const Image *a, const Image *b) {
        const ImagePath *x = image_array(a, paths, ImagePath), *y = image_array(b, paths, ImagePath);

        if (a->header->paths.n != b->header->paths.n)
                return true;
        for (uint32_t i = 0; i < a->header->paths.n; i++)
                if (x[i].kind != y[i].kind || !streq(image_text(a, x[i].path), image_text(b, y[i].path)))
                        return true;
        return false;
}

static bool has_module(const Image *image, const Image *of, const ImageModule *module) {
        for (uint32_t i = 0; i < image->header->modules.n; i++) {
                const ImageModule *m = image_array(image, modules, ImageModule) + i;

                if (m->build_id_size == module->build_id_size &&
                        memcmp(m->build_id, module->build_id, m->build_id_size) == 0 &&
                        streq(image_text(image, m->path), image_text(of, module->path)))
                        return true;
        }
        return false;
}

/* One that may have helpers, for conditions; what it does for state types is part of image_state_is_same(). */
static bool modules_are_new(const Image *image, const Image *old) {
        for (uint32_t i = 0; i < image->header->modules.n; i++)
                if (!has_module(old, image, image_array(image, modules, ImageModule) + i))
                        return true;
        return false;
}

/* Those that edit one file contradict each other, or do not, only together. */
static int add_batches(const Image *image, uint8_t *selected) {
        _cleanup_free_ uint8_t *keys = calloc((size_t) image->header->n_batch_keys + 1, 1);

        if (!keys)
                return -ENOMEM;
        for (uint32_t i = 0; i < image_n_states(image); i++)
                if (selected[i])
                        keys[image_state(image, i)->batch_key] = 1;
        keys[0] = 0;
        for (uint32_t i = 0; i < image_n_states(image); i++)
                selected[i] |= keys[image_state(image, i)->batch_key];
        return 0;
}

uint32_t select_count(const Image *image, const uint8_t *selected) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < image_n_states(image); i++)
                n += selected[i] != 0;
        return n;
}

int select_changed(const StatusTable *table, const Image *old, uint8_t *selected, uint32_t *ret_n) {
        const Image *image = table->image;
        bool paths = select_paths_differ(image, old), conditions = modules_are_new(image, old);
        uint32_t n, before;
        int r;

        for (uint32_t i = 0; i < image_n_states(image); i++) {
                const ImageState *state = image_state(image, i);

                if (!is_as_declared(table->states[i].result) || table->states[i].owed != 0 ||
                        (paths && (state->flags & IMAGE_STATE_LOOKS_AT_PATHS)) ||
                        (conditions && state->when != 0))
                        selected[i] = 1;
        }
        for (uint32_t k = 0; k < image_n_states(old); k++) {
                uint32_t i = status_find(table, image_state_id(old, k));

                if (i != NO_STATE && (image_state(image, i)->flags != image_state(old, k)->flags ||
                                             !image_hooks_are_same(image, i, old, k)))
                        selected[i] = 1;
        }

        /* Either may add what the other one adds something to. */
        n = select_count(image, selected);
        do {
                before = n;
                r = add_batches(image, selected);
                if (r >= 0)
                        r = select_dependents(image, selected);
                if (r < 0)
                        return r;
                n = select_count(image, selected);
        } while (n != before);
        *ret_n = n;
        return 0;
}
