/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What happened, as pages or as a stream without end. A stream begins with what the store has after the event that is named, in
 * pages as its reader takes them, and then goes over to what is told as it happens. What is told while it still reads from the store it will find there;
 * nothing comes twice, since the numbers of events grow.
 */

#include "api-internal.h"

/* Events read in one turn of the loop, for a filter that the store does not know. */
#define SCAN_MAX 1000

/* Events pushed before waiting for the reader: a page of large ones must not look like a reader that is slow. */
#define FEED_PAGE 20

/* Events kept for a stream that still reads from the store; more matter only if that cannot be written. */
#define HELD_MAX 1000

typedef struct Query {
        uint32_t kinds; /* bits; 0: any, or the one in the filter */
        EventFilter filter;
} Query;

static int64_t id_of(const json_t *event) {
        return json_integer_value(json_object_get(event, "event"));
}

static bool kind_passes(const Query *query, const json_t *event) {
        const char *name = json_string_value(json_object_get(event, "kind"));
        EventKind kind;

        if (query->kinds == 0)
                return true;
        kind = name ? event_kind_from_string(name) : _EVENT_KIND_MAX;
        return kind != _EVENT_KIND_MAX && (query->kinds & (1u << kind));
}

/*
 * fetch() - reads events from the store
 * @after:    those with a higher id; then the id of the last one that was looked at
 * @limit:    of these at most
 * @ret_more: there are more, or may be
 *
 * It reads once, which the store keeps short: whoever looks for what is rare comes again.
 *
 * Return: a new array, which may be empty though there are more; NULL if the store cannot be read.
 */
static json_t *fetch(Store *store, const Query *query, int64_t *after, unsigned limit, bool *ret_more) {
        json_t *items, *page, *event;
        int64_t last = *after;
        bool more = false;
        size_t i;

        if (query->kinds == 0)
                return store_events(store, after, &query->filter, limit, ret_more);

        page = store_events(store, &last, &query->filter, SCAN_MAX, &more);
        if (!page)
                return NULL;
        items = json_array();
        json_array_foreach(page, i, event) {
                if (!kind_passes(query, event))
                        continue;
                if (json_array_size(items) == limit) {
                        more = true;
                        break;
                }
                (void) json_array_append(items, event);
                *after = id_of(event);
        }
        /* All of them were looked at. */
        if (i == json_array_size(page))
                *after = last;
        json_decref(page);
        *ret_more = more;
        return items;
}

/* ---- The stream ------------------------------------------------------------------------------------------------- */

typedef struct Watch {
        ApiClient client;
        HttpStream *stream;
        Query query;
        char *kind, *state;    /* of the filter */
        int64_t last;          /* the id of the last event that was sent, or passed over */
        bool live;             /* all that the store had was sent */
        json_t *held;          /* events told before that */
        sd_event_source *feed; /* goes on in the next turn of the loop */
} Watch;

static void watch_free(Watch *watch) {
        sd_event_source_disable_unref(watch->feed);
        json_decref(watch->held);
        free(watch->kind);
        free(watch->state);
        free(watch);
}

static void watch_stop(ApiClient *client) {
        Watch *watch = (Watch *) client;

        event_unlisten(engine_events(client->api->engine), watch);
        api_client_remove(client);
        watch_free(watch);
}

static void tell(Watch *watch, const json_t *event) {
        int64_t id = id_of(event);

        if (id <= watch->last)
                return;
        watch->last = id;
        http_stream_push(watch->stream, event);
}

static void on_event(void *userdata, const json_t *event) {
        Watch *watch = userdata;

        if (!kind_passes(&watch->query, event))
                return;
        if (watch->live)
                tell(watch, event);
        else if (json_array_size(watch->held) < HELD_MAX)
                (void) json_array_append(watch->held, (json_t *) event);
}

static int on_feed(sd_event_source *source, void *userdata);

/* Sends the next page of what the store has; the one after that when the reader has taken it. */
static void feed(Watch *watch) {
        Api *api = watch->client.api;
        bool more = false;
        json_t *items = fetch(engine_store(api->engine), &watch->query, &watch->last, FEED_PAGE, &more),
               *event;
        size_t i;

        json_array_foreach(items, i, event) http_stream_push(watch->stream, event);
        if (more) {
                /* Nothing was pushed, so nothing will drain. */
                if (json_array_size(items) == 0 &&
                        (watch->feed ? sd_event_source_set_enabled(watch->feed, SD_EVENT_ONESHOT)
                                     : sd_event_add_defer(api->event, &watch->feed, on_feed, watch)) < 0)
                        more = false;
        }
        json_decref(items);
        if (more)
                return;

        watch->live = true;
        json_array_foreach(watch->held, i, event) tell(watch, event);
        json_array_clear(watch->held);
}

static int on_feed(_unused_ sd_event_source *source, void *userdata) {
        feed(userdata);
        return 0;
}

static void on_drained(void *userdata, _unused_ HttpStream *stream) {
        Watch *watch = userdata;

        if (!watch->live)
                feed(watch);
}

static void on_gone(void *userdata, _unused_ HttpStream *stream) {
        watch_stop(userdata);
}

static void follow(Api *api, HttpRequest *request, const Query *query, int64_t after) {
        static const HttpStreamHandlers handlers = { .on_gone = on_gone, .on_drained = on_drained };
        Watch *watch = malloc(sizeof(*watch));
        EventListener listener = { .on_event = on_event, .userdata = watch };

        if (!watch) {
                http_answer_problem(request, 500, "internal", "out of memory");
                return;
        }
        *watch = (Watch){ .query = *query, .last = after, .held = json_array() };
        watch->kind = query->filter.kind ? strdup(query->filter.kind) : NULL;
        watch->state = query->filter.state ? strdup(query->filter.state) : NULL;
        watch->query.filter.kind = watch->kind;
        watch->query.filter.state = watch->state;
        listener.filter = watch->query.filter;
        if (!watch->held || !watch->kind != !query->filter.kind || !watch->state != !query->filter.state ||
                event_listen(engine_events(api->engine), &listener) < 0) {
                watch_free(watch);
                http_answer_problem(request, 500, "internal", "out of memory");
                return;
        }
        api_client_add(api, &watch->client, watch_stop);
        watch->stream = http_answer_stream(request, &handlers, watch);
        if (!watch->stream) {
                watch_stop(&watch->client);
                return;
        }
        feed(watch);
}

/* ---- The request ------------------------------------------------------------------------------------------------ */

static int read_kinds(HttpRequest *request, Query *query) {
        const char *text = http_request_query(request, "kind"), *bad, *names[_EVENT_KIND_MAX];
        _cleanup_free_ char *word = NULL;
        uint32_t kinds;
        size_t size;

        if (!text)
                return 0;
        if (api_parse_kinds(text, &kinds, &bad, &size) < 0) {
                for (EventKind kind = 0; kind < _EVENT_KIND_MAX; kind++)
                        names[kind] = event_kinds[kind].name;
                word = strndup(bad, size);
                return api_word(request, "kind", word ?: bad, names, ELEMENTSOF(names));
        }
        if ((kinds & (kinds - 1)) == 0)
                query->filter.kind = text;
        else
                query->kinds = kinds;
        return 0;
}

void api_list_events(void *userdata, HttpRequest *request) {
        Api *api = userdata;
        Query query = { .filter.state = http_request_query(request, "state") };
        json_t *items, *next = json_null();
        uint64_t after = 0, run = 0;
        bool is_stream = false, more = false;
        unsigned limit;
        int64_t last;

        if (api_limit(request, &limit) < 0 ||
                http_request_query_u64(request, "after", 0, INT64_MAX, &after) < 0 ||
                http_request_query_u64(request, "run", 1, INT64_MAX, &run) < 0 ||
                http_request_query_bool(request, "follow", &is_stream) < 0 ||
                api_check_glob(request, "state", query.filter.state) < 0 || read_kinds(request, &query) < 0)
                return;
        query.filter.run = (int64_t) run;
        if (is_stream) {
                /* Without a place to begin at: from now on. */
                follow(api, request, &query,
                        http_request_query(request, "after") ? (int64_t) after
                                                             : store_last_event(engine_store(api->engine)));
                return;
        }

        last = (int64_t) after;
        items = fetch(engine_store(api->engine), &query, &last, limit, &more);
        if (!items) {
                http_answer_problem(request, 500, "internal", "the store cannot be read: %s",
                        store_error(engine_store(api->engine)) ?: "out of memory");
                return;
        }
        if (more)
                next = json_sprintf("%" JSON_INTEGER_FORMAT, (json_int_t) last);
        api_answer_page(request, items, next);
}
