/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Triggers, and firing one by hand. */

#include "api-internal.h"
#include "diagnostic.h"
#include "engine-trigger.h"

/* Return: the image in force; NULL: there are no roles, and the request has been answered. */
static const Image *image_in_force(Api *api, HttpRequest *request) {
        const Image *image = engine_image(api->engine);

        if (!image)
                api_answer_not_ready(api, request);
        return image;
}

void api_list_triggers(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        const char *after = http_request_query(request, "after");
        const Image *image = image_in_force(api, request);
        Triggers *triggers = engine_triggers(api->engine);
        json_t *items, *next = NULL;
        uint32_t i = 0, n;
        unsigned limit;
        size_t bytes = 0;

        if (!image || api_limit(request, &limit) < 0)
                return;
        if (after) {
                i = triggers_find(triggers, after);
                if (i == UINT32_MAX) {
                        http_answer_problem(request, 400, "bad-request",
                                "after '%.200s' is no cursor; take what \"next\" of the page before said",
                                after);
                        return;
                }
                i++;
        }
        items = json_array();
        n = triggers_count(triggers);
        for (; i < n && json_array_size(items) < limit && bytes < API_PAGE_BYTES; i++) {
                json_t *item = triggers_to_json(triggers, i);

                bytes += 300 + 60 * json_array_size(json_object_get(item, "states"));
                (void) json_array_append_new(items, item);
                if (i + 1 < n)
                        next = json_object_get(item, "trigger");
        }
        api_answer_page(request, items, i < n && next ? json_incref(next) : json_null());
}

static void answer_unknown(const Image *image, HttpRequest *request, const char *name) {
        uint32_t n = MIN(image_n_triggers(image), (uint32_t) API_SUGGEST_MAX);
        _cleanup_free_ const char **names = calloc(MAX(n, 1U), sizeof(*names));
        const char *meant = NULL;

        for (uint32_t i = 0; names && i < n; i++)
                names[i] = image_text(image, image_trigger(image, i)->name);
        if (names && strlen(name) <= API_SUGGEST_BYTES)
                meant = suggest(name, names, n);
        http_answer_problem(request, 404, "not-found", "there is no trigger '%.200s'%s%s%s", name,
                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
}

void api_fire_trigger(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        const char *name = http_request_part(request);
        const Image *image = image_in_force(api, request);
        Triggers *triggers = engine_triggers(api->engine);
        uint32_t trigger;
        int r;

        if (!image || api_body_keys(request, NULL, 0) < 0)
                return;
        trigger = triggers_find(triggers, name);
        if (trigger == UINT32_MAX) {
                answer_unknown(image, request, name);
                return;
        }
        r = triggers_fire(triggers, trigger);
        if (r == -EPERM)
                api_answer_disabled(api, request);
        else if (r < 0)
                api_answer_not_ready(api, request);
        else
                http_answer_json(request, 200, triggers_to_json(triggers, trigger));
}
