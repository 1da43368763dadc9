/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* States, and what each was last found to be. */

#include <fnmatch.h>
#include <inttypes.h>

#include "api-internal.h"
#include "value-json.h"

/* The table, or NULL: then there are no roles, and the request has been answered. */
static const StatusTable *states_in_force(Api *api, HttpRequest *request) {
        const StatusTable *table = engine_status(api->engine);

        if (!table)
                api_answer_not_ready(api, request);
        return table;
}

static void add_tags(const Image *image, ImageArray list, json_t *json) {
        for (uint32_t i = 0; i < list.n; i++)
                (void) json_array_append_new(json, api_text(image_list_text(image, list, i)));
}

/* Those of its role, then its own. */
static json_t *tags_to_json(const Image *image, uint32_t i) {
        const ImageExtra *extra = image_extra(image, i);
        json_t *tags = json_array();

        add_tags(image, image_array(image, roles, ImageRole)[image_state(image, i)->role].tags, tags);
        if (extra)
                add_tags(image, extra->tags, tags);
        return tags;
}

/* What it is owed, as the settings of roles are named. */
static json_t *owed_to_json(uint32_t owed) {
        static const struct {
                uint32_t what;
                const char *name;
        } names[] = {
                { IMAGE_LISTEN_CHECK, "check" },
                { IMAGE_LISTEN_RELOAD, "reload" },
                { IMAGE_LISTEN_RESTART, "restart" },
        };
        json_t *list = json_array();

        FOREACH_ELEMENT(name, names)
                if (owed & name->what)
                        (void) json_array_append_new(list, json_string(name->name));
        return list;
}

static json_t *state_to_json(const StatusTable *table, uint32_t i) {
        const Image *image = table->image;
        const StateStatus *status = table->states + i;

        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "state",
                api_text(image_state_id(image, i)), "type", api_text(image_state_type(image, i)), "name",
                api_text(image_state_name(image, i)), "role", api_text(image_state_role(image, i)), "tags",
                tags_to_json(image, i), "result",
                status->result == RESULT_NONE ? json_null() : json_string(result_to_string(status->result)),
                "error", api_text(status->error), "since", json_from_time(status->since_usec), "checked",
                json_from_time(status->checked_usec), "changed", json_from_time(status->changed_usec),
                "owed", owed_to_json(status->owed), "owed_because",
                api_text(status->owed != 0 ? status_owed_because(table, i) : NULL), "removal",
                !!(image_state(image, i)->flags & IMAGE_STATE_REMOVAL));
}

/* About the bytes of that. */
static size_t state_bytes(const StatusTable *table, uint32_t i) {
        const char *error = table->states[i].error;

        return 200 + 2 * (size_t) image_state(table->image, i)->id.n + (error ? strlen(error) : 0);
}

/* ---- The list --------------------------------------------------------------------------------------------------- */

typedef struct Filter {
        int result;              /* -1: any */
        const char *type, *role; /* NULL: any */
        uint32_t type_index, role_index;
        const char *match; /* NULL: any */
        const char *tag;   /* likewise */
} Filter;

/* The index of what has that name among n things of the image. Return: -EINVAL: there is none, and it has been answered. */
static int find_name(HttpRequest *request, const char *what, const char *name, const Image *image,
        uint32_t n, const char *(*name_of)(const Image *image, uint32_t i), uint32_t *ret) {
        _cleanup_free_ const char **names = calloc(MAX(n, 1U), sizeof(*names));
        int r;

        if (!names) {
                http_answer_problem(request, 500, "internal", "out of memory");
                return -EINVAL;
        }
        for (uint32_t i = 0; i < n; i++)
                names[i] = name_of(image, i);
        r = api_word(request, what, name, names, n);
        if (r < 0)
                return r;
        *ret = (uint32_t) r;
        return 0;
}

static const char *type_name(const Image *image, uint32_t i) {
        return image_text(image, image_type(image, i)->name);
}

static const char *role_name(const Image *image, uint32_t i) {
        return image_text(image, image_array(image, roles, ImageRole)[i].name);
}

static bool is_tag(const Image *image, const char *tag) {
        for (uint32_t i = 0; i < image_n_states(image); i++)
                if (image_state_has_tag(image, i, tag))
                        return true;
        return false;
}

static int read_filter(HttpRequest *request, const Image *image, Filter *ret) {
        const char *words[_RESULT_MAX], *result = http_request_query(request, "result");
        Filter filter = {
                .result = -1,
                .type = http_request_query(request, "type"),
                .role = http_request_query(request, "role"),
                .match = http_request_query(request, "match"),
                .tag = http_request_query(request, "tag"),
        };

        for (Result r = 0; r < _RESULT_MAX; r++)
                words[r] = result_to_string(r);
        if (result) {
                filter.result = api_word(request, "result", result, words, ELEMENTSOF(words));
                if (filter.result < 0)
                        return filter.result;
        }
        if (filter.type && find_name(request, "type", filter.type, image, image->header->types.n, type_name,
                                   &filter.type_index) < 0)
                return -EINVAL;
        if (filter.role && find_name(request, "role", filter.role, image, image->header->roles.n, role_name,
                                   &filter.role_index) < 0)
                return -EINVAL;
        if (api_check_glob(request, "match", filter.match) < 0)
                return -EINVAL;
        if (filter.tag && !is_tag(image, filter.tag)) {
                api_answer_no_tag(request, 400, image, filter.tag);
                return -EINVAL;
        }
        *ret = filter;
        return 0;
}

static bool passes(const Filter *filter, const StatusTable *table, uint32_t i) {
        const ImageState *state = image_state(table->image, i);

        return (filter->result < 0 || (int) table->states[i].result == filter->result) &&
               (!filter->type || state->type == filter->type_index) &&
               (!filter->role || state->role == filter->role_index) &&
               (!filter->tag || image_state_has_tag(table->image, i, filter->tag)) &&
               (!filter->match || fnmatch(filter->match, image_text(table->image, state->id), 0) == 0);
}

/* What it takes to look at a state, about. */
static uint64_t steps_of(const Filter *filter, const StatusTable *table, uint32_t i) {
        size_t glob = filter->match ? strlen(filter->match) : 0, id = image_state(table->image, i)->id.n;

        return filter->match && strchr(filter->match, '[') ? (glob + 1) * (id + 1) : glob + id + 1;
}

/* Where a page begins. Return: 0; -EINVAL. */
static int read_cursor(HttpRequest *request, const StatusTable *table, uint32_t *ret) {
        const char *after = http_request_query(request, "after"), *id;
        uint32_t index, found;

        if (!after) {
                *ret = 0;
                return 0;
        }
        if (api_parse_state_cursor(after, &index, &id) < 0) {
                http_answer_problem(request, 400, "bad-request",
                        "after '%s' is no cursor; take what \"next\" of the page before said", after);
                return -EINVAL;
        }
        /* It stands elsewhere now, or is gone, if the roles have changed since. */
        found = status_find(table, id);
        *ret = found != UINT32_MAX ? found + 1 : index;
        return 0;
}

void api_list_states(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        const StatusTable *table = states_in_force(api, request);
        json_t *items, *next;
        uint32_t i;
        unsigned limit, n = 0;
        uint64_t steps = 0;
        size_t bytes = 0;
        Filter filter;

        if (!table || api_limit(request, &limit) < 0 || read_filter(request, table->image, &filter) < 0 ||
                read_cursor(request, table, &i) < 0)
                return;

        items = json_array();
        for (; i < image_n_states(table->image); i++) {
                if (steps >= API_MATCH_STEPS)
                        break;
                steps += steps_of(&filter, table, i);
                if (!passes(&filter, table, i))
                        continue;
                if (n == limit || bytes >= API_PAGE_BYTES)
                        break;
                bytes += state_bytes(table, i);
                if (json_array_append_new(items, state_to_json(table, i)) < 0) {
                        json_decref(items);
                        items = NULL;
                        break;
                }
                n++;
        }
        next = items && i < image_n_states(table->image)
                       ? json_sprintf("%" PRIu32 ":%s", i - 1, image_state_id(table->image, i - 1))
                       : json_null();
        api_answer_page(request, items, next);
}

/* ---- One of them ------------------------------------------------------------------------------------------------ */

static int compare_texts(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The ids of the marked states, sorted. All of them are looked at, so that those shown are the first. */
static json_t *marked_to_json(const Image *image, const bool *marked) {
        _cleanup_free_ const char **ids = NULL;
        uint32_t n = 0;
        json_t *list;

        for (uint32_t i = 0; i < image_n_states(image); i++)
                n += marked[i];
        ids = calloc(MAX(n, 1U), sizeof(*ids));
        if (!ids)
                return NULL;
        n = 0;
        for (uint32_t i = 0; i < image_n_states(image); i++)
                if (marked[i])
                        ids[n++] = image_state_id(image, i);
        qsort(ids, n, sizeof(*ids), compare_texts);
        list = json_array();
        for (uint32_t i = 0; i < MIN(n, (uint32_t) API_NEIGHBOURS_MAX); i++)
                (void) json_array_append_new(list, api_text(ids[i]));
        return list;
}

/*
 * Marks what a state requires: whoever has it, or a group that it waits for, among his dependents. The image has the edges the
 * other way round, so this is a pass over all nodes; one more if there were groups, whose members are what is meant. To be
 * freed; NULL: out of memory.
 */
static bool *mark_required(const Image *image, uint32_t state) {
        uint32_t n_states = image_n_states(image), n_nodes = image->header->nodes.n;
        _cleanup_free_ bool *wanted = calloc(n_nodes, sizeof(bool)), *marked = calloc(n_nodes, sizeof(bool));
        bool again = true;

        if (!wanted || !marked)
                return NULL;
        wanted[state] = true;
        while (again) {
                again = false;
                for (uint32_t i = 0; i < n_nodes; i++) {
                        const ImageNode *node = image_node(image, i);
                        const uint32_t *dependents = image_dependents(image, node);

                        for (uint32_t k = 0; k < node->dependents.n && !marked[i]; k++)
                                marked[i] = wanted[dependents[k]];
                        if (i >= n_states && marked[i] && !wanted[i])
                                wanted[i] = again = true;
                }
        }
        marked[state] = false;
        return TAKE_PTR(marked);
}

static json_t *requires_to_json(const Image *image, uint32_t state) {
        _cleanup_free_ bool *marked = mark_required(image, state);

        return marked ? marked_to_json(image, marked) : NULL;
}

static json_t *required_by_to_json(const Image *image, uint32_t state) {
        uint32_t n_states = image_n_states(image), n_nodes = image->header->nodes.n, n_queue = 0;
        _cleanup_free_ uint32_t *queue = calloc(n_nodes, sizeof(uint32_t));
        _cleanup_free_ bool *marked = calloc(n_nodes, sizeof(bool));

        if (!queue || !marked)
                return NULL;
        queue[n_queue++] = state;
        for (uint32_t q = 0; q < n_queue; q++) {
                const ImageNode *node = image_node(image, queue[q]);

                for (uint32_t k = 0; k < node->dependents.n; k++) {
                        uint32_t dependent = image_dependents(image, node)[k];

                        if (marked[dependent] || dependent == state)
                                continue;
                        marked[dependent] = true;
                        if (dependent >= n_states)
                                queue[n_queue++] = dependent;
                }
        }
        return marked_to_json(image, marked);
}

static json_t *watches_to_json(const Image *image, const ImageState *state) {
        static const char *const kinds[_IMAGE_WATCH_MAX] = {
                [IMAGE_WATCH_PATH] = "path",
                [IMAGE_WATCH_UNIT] = "unit",
                [IMAGE_WATCH_BUS] = "bus",
                [IMAGE_WATCH_TREE] = "tree",
        };
        json_t *list = json_array();

        for (uint32_t i = 0; i < state->watches.n; i++) {
                const ImageWatch *watch =
                        image_array(image, watches, ImageWatch) + state->watches.offset + i;

                (void) json_array_append_new(
                        list, json_pack("{s:s, s:o}", "kind", kinds[watch->kind], "what",
                                      api_text(image_text(image, watch->what))));
        }
        return list;
}

/* The states that it listens to, for something that they make it do. */
static json_t *listens_to_json(const Image *image, uint32_t state, uint32_t what) {
        const ImageListener *listeners = image_array(image, listeners, ImageListener);
        _cleanup_free_ bool *marked = NULL;

        if (image->header->listeners.n == 0)
                return json_array();
        marked = calloc(image_n_states(image), sizeof(bool));
        if (!marked)
                return NULL;
        for (uint32_t i = 0; i < image->header->listeners.n; i++)
                if (listeners[i].state == state && listeners[i].what & what)
                        marked[listeners[i].to] = true;
        return marked_to_json(image, marked);
}

/* What a state that is sensitive has for arguments may be a secret. */
static json_t *hooks_to_json(const Image *image, uint32_t state) {
        bool sensitive = image_state(image, state)->flags & IMAGE_STATE_SENSITIVE;
        json_t *hooks = json_array();

        for (Hook hook = 0; hook < _HOOK_MAX; hook++) {
                const ImageArray *list = image_hook(image, state, hook);
                json_t *command = NULL;

                if (!list)
                        continue;
                if (!sensitive) {
                        command = json_array();
                        for (uint32_t k = 0; k < list->n; k++)
                                (void) json_array_append_new(
                                        command, api_text(image_list_text(image, *list, k)));
                }
                (void) json_array_append_new(
                        hooks, json_pack("{s:s, s:o?}", "hook", hook_to_string(hook), "command", command));
        }
        return hooks;
}

/* What few states have. */
static json_t *extra_to_json(const Image *image, uint32_t state) {
        const ImageExtra *extra = image_extra(image, state);
        uint64_t interval = extra ? extra->interval_usec : 0;
        uint32_t retries = extra ? extra->retries : 0;

        return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "interval_usec",
                interval > 0 ? json_integer((json_int_t) interval) : json_null(), "retries",
                (json_int_t) retries, "retry_delay_usec",
                retries > 0 ? json_integer((json_int_t) extra->retry_delay_usec) : json_null(), "hooks",
                hooks_to_json(image, state), "check_on", listens_to_json(image, state, IMAGE_LISTEN_CHECK),
                "reload_on", listens_to_json(image, state, IMAGE_LISTEN_RELOAD), "restart_on",
                listens_to_json(image, state, IMAGE_LISTEN_RESTART));
}

void api_get_state(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        const char *id = http_request_part(request);
        const StatusTable *table = states_in_force(api, request);
        const ImageState *state;
        const Image *image;
        json_t *json, *extra, *more, *history;
        char buffer[1024];
        uint32_t i;

        if (!table)
                return;
        image = table->image;
        i = status_find(table, id);
        if (i == UINT32_MAX) {
                http_answer_problem(request, 404, "not-found", "there is no state '%s'%s", id,
                        api_suggest_state(image, id, buffer, sizeof(buffer)));
                return;
        }

        state = image_state(image, i);
        history = store_history(engine_store(api->engine), id, API_HISTORY_MAX);
        json = state_to_json(table, i);
        extra = extra_to_json(image, i);
        more = json_pack("{s:o, s:I, s:I, s:b, s:b, s:b, s:b, s:I, s:o, s:o, s:o, s:o}", "file",
                api_text(image_text(image, image_array(image, roles, ImageRole)[state->role].path)), "line",
                (json_int_t) state->line, "column", (json_int_t) state->column, "audit",
                !!(state->flags & IMAGE_STATE_AUDIT), "sensitive", !!(state->flags & IMAGE_STATE_SENSITIVE),
                "check_as_root", !!(state->flags & IMAGE_STATE_CHECK_AS_ROOT), "watch",
                !(state->flags & IMAGE_STATE_UNWATCHED), "timeout_usec",
                (json_int_t) MIN(state->timeout_usec, (uint64_t) INT64_MAX), "requires",
                requires_to_json(image, i), "required_by", required_by_to_json(image, i), "watches",
                watches_to_json(image, state), "history", history ?: json_array());
        /* What was done about it stands last. */
        if (json_object_update(json, extra) < 0 || json_object_update(json, more) < 0) {
                json_decref(json);
                json = NULL;
        }
        json_decref(extra);
        json_decref(more);
        http_answer_json(request, 200, json);
}

/* ---- For who wants to know why ---------------------------------------------------------------------------------- */

/* From one that is blocked to the one that failed: each requires the next. */
static json_t *blocked_by_to_json(const StatusTable *table, uint32_t state) {
        uint32_t n_states = image_n_states(table->image);
        json_t *list = json_array();

        for (unsigned n = 0; list && n < API_BLOCKED_MAX && table->states[state].result == RESULT_BLOCKED;
                n++) {
                _cleanup_free_ bool *marked = mark_required(table->image, state);
                uint32_t next = UINT32_MAX;
                const StateStatus *status;

                /* Nobody waits for himself, so this comes to an end. */
                for (uint32_t i = 0; marked && i < n_states; i++) {
                        Result result = table->states[i].result;

                        if (!marked[i] || (result != RESULT_FAILED && result != RESULT_BLOCKED))
                                continue;
                        if (next == UINT32_MAX || result == RESULT_FAILED)
                                next = i;
                        if (result == RESULT_FAILED)
                                break;
                }
                if (next == UINT32_MAX)
                        break;
                status = &table->states[next];
                (void) json_array_append_new(
                        list, json_pack("{s:o, s:s, s:o}", "state",
                                      api_text(image_state_id(table->image, next)), "result",
                                      result_to_string(status->result), "error", api_text(status->error)));
                state = next;
        }
        return list;
}

json_t *api_state_status(Api *api, const char *id) {
        const StatusTable *table = engine_status(api->engine);
        uint32_t i = table ? status_find(table, id) : UINT32_MAX;
        const StateStatus *status;

        if (i == UINT32_MAX)
                return json_null();
        status = &table->states[i];
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "result",
                status->result == RESULT_NONE ? json_null() : json_string(result_to_string(status->result)),
                "error", api_text(status->error), "since", json_from_time(status->since_usec), "checked",
                json_from_time(status->checked_usec), "changed", json_from_time(status->changed_usec),
                "blocked_by", blocked_by_to_json(table, i), "fight", engine_is_fighting(api->engine, i),
                "disabled", engine_disabled(api->engine));
}
