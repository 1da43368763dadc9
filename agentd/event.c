/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <syslog.h>
#include <time.h>

#include "event.h"
#include "log.h"

const EventKindInfo event_kinds[_EVENT_KIND_MAX] = {
        [EVENT_STARTED] = { "started", "02bb906d5877422983a61a719da824ab", LOG_INFO },
        [EVENT_STOPPED] = { "stopped", "7963eaac46824884a6f988741567865f", LOG_INFO },
        [EVENT_ROLES_LOADED] = { "roles-loaded", "668084ac7c854ef19214239c61793f12", LOG_INFO },
        [EVENT_ROLES_REFUSED] = { "roles-refused", "6a34cb47b4fd4cfcaab46a2809cbe711", LOG_ERR },
        [EVENT_RUN_FINISHED] = { "run-finished", "1508fc91a8814ff8b706f0f0399d7a1f", LOG_INFO },
        [EVENT_RUN_INTERRUPTED] = { "run-interrupted", "66ba69f32dda42cb8d0b51861449293c", LOG_WARNING },
        [EVENT_RUN_REFUSED] = { "run-refused", "dffcd195abee42df995a3c3636a329d7", LOG_ERR },
        [EVENT_STATE_CHANGED] = { "state-changed", "5dfc11089b144f75addb3881028a0f47", LOG_INFO },
        [EVENT_STATE_DRIFTED] = { "state-drifted", "12f32ac22a6c4c318bb95a1894b8dc7c", LOG_NOTICE },
        [EVENT_STATE_FAILED] = { "state-failed", "0c5b54fa6a644b51851f09a15f570cd5", LOG_ERR },
        [EVENT_STATE_BLOCKED] = { "state-blocked", "0700d6e60a7a4c288f483b361114071e", LOG_WARNING },
        [EVENT_STATE_RECOVERED] = { "state-recovered", "ecce5ee58f0f436ca5cceddad9b7a227", LOG_INFO },
        [EVENT_STATE_RETRIED] = { "state-retried", "eb46fdc79dae4d98b80061a4f3bfb444", LOG_WARNING },
        [EVENT_HOOK_FAILED] = { "hook-failed", "c935248107194248a6a3f26444edd6ea", LOG_WARNING },
        [EVENT_FIGHT_BEGUN] = { "fight-begun", "1df129d159854aac82522982b929f57d", LOG_WARNING },
        [EVENT_FIGHT_OVER] = { "fight-over", "672a8defcbe74e0eb654189d50d2dfeb", LOG_NOTICE },
        [EVENT_TRIGGER_FIRED] = { "trigger-fired", "40cb0b92684844a3a6f9a83408bb0bc3", LOG_INFO },
        [EVENT_COMMAND_FINISHED] = { "command-finished", "41771ae70b864e98b5c6eda319059d55", LOG_INFO },
        [EVENT_DISABLED] = { "disabled", "ec08f2431b7a4d188e1f9cffe3ddc5f6", LOG_NOTICE },
        [EVENT_ENABLED] = { "enabled", "582f251374db4a828230aaee2bb04aa0", LOG_NOTICE },
        [EVENT_STORE_RESET] = { "store-reset", "46fd0905f70b467fabe61bcb549f9e9e", LOG_ERR },
        [EVENT_STORE_FAILED] = { "store-failed", "02458e00eb08468893ff6f60a04224ba", LOG_ERR },
        [EVENT_STORE_RECOVERED] = { "store-recovered", "401496981e124e5292e2a3a4ee8943bb", LOG_NOTICE },
};

EventKind event_kind_from_string(const char *name) {
        EventKind kind = 0;

        assert(name);

        while (kind < _EVENT_KIND_MAX && !streq(name, event_kinds[kind].name))
                kind++;
        return kind;
}

/* ---- Listeners ------------------------------------------------------------------------------------------------- */

/* An event that the store does not have yet. */
typedef struct Pending {
        struct Pending *next;
        int64_t id;
        json_t *json;
} Pending;

typedef struct Listener {
        struct Listener *next;
        EventListener listener; /* its strings are ours */
        int64_t after;          /* up to this id it was written before */
        bool gone;
} Listener;

struct EventLog {
        Store *store; /* not ours */
        Pending *first, **last;
        Listener *listeners;
        unsigned n_telling; /* listeners are being called: none may be freed */
};

int event_log_new(Store *store, EventLog **ret) {
        EventLog *log;

        assert(store);
        assert(ret);

        log = malloc(sizeof(*log));
        if (!log)
                return -ENOMEM;
        *log = (EventLog){ .store = store };
        log->last = &log->first;
        *ret = log;
        return 0;
}

static Listener *listener_free(Listener *l) {
        if (!l)
                return NULL;
        free((char *) l->listener.filter.kind);
        free((char *) l->listener.filter.state);
        free(l);
        return NULL;
}
DEFINE_CLEANUP(Listener *, listener_free)

static void drop_first_pending(EventLog *log) {
        Pending *p = log->first;

        log->first = p->next;
        if (!log->first)
                log->last = &log->first;
        json_decref(p->json);
        free(p);
}

/* Those that do not listen any more, when nobody is in the middle of them. */
static void sweep(EventLog *log) {
        if (log->n_telling > 0)
                return;
        for (Listener **l = &log->listeners; *l;)
                if ((*l)->gone) {
                        Listener *gone = *l;

                        *l = gone->next;
                        listener_free(gone);
                } else
                        l = &(*l)->next;
}

EventLog *event_log_free(EventLog *log) {
        if (!log)
                return NULL;
        assert(log->n_telling == 0);
        while (log->first)
                drop_first_pending(log);
        for (Listener *l = log->listeners; l; l = l->next)
                l->gone = true;
        sweep(log);
        free(log);
        return NULL;
}

int event_listen(EventLog *log, const EventListener *listener) {
        _cleanup_(listener_freep) Listener *l = NULL;
        const EventFilter *filter = &listener->filter;

        assert(log);
        assert(listener->on_event);

        l = malloc(sizeof(*l));
        if (!l)
                return -ENOMEM;
        *l = (Listener){
                .next = log->listeners,
                .listener = *listener,
                .after = store_settled_event(log->store),
        };
        l->listener.filter.kind = filter->kind ? strdup(filter->kind) : NULL;
        l->listener.filter.state = filter->state ? strdup(filter->state) : NULL;
        if (!l->listener.filter.kind != !filter->kind || !l->listener.filter.state != !filter->state)
                return -ENOMEM;
        log->listeners = TAKE_PTR(l);
        return 0;
}

void event_unlisten(EventLog *log, const void *userdata) {
        assert(log);

        for (Listener *l = log->listeners; l; l = l->next)
                if (l->listener.userdata == userdata)
                        l->gone = true;
        sweep(log);
}

void event_log_written(EventLog *log, int64_t id) {
        assert(log);

        while (log->first && log->first->id <= id) {
                Pending *p = log->first;
                _cleanup_(json_decrefp) json_t *json = json_incref(p->json);
                int64_t told = p->id;

                drop_first_pending(log);
                log->n_telling++;
                for (Listener *l = log->listeners; l; l = l->next)
                        if (!l->gone && told > l->after && event_filter_matches(&l->listener.filter, json))
                                l->listener.on_event(l->listener.userdata, json);
                log->n_telling--;
        }
        sweep(log);
}

/* ---- What happens ---------------------------------------------------------------------------------------------- */

static void keep_pending(EventLog *log, int64_t id, const StoreEvent *event) {
        Pending *p = malloc(sizeof(*p));

        if (!p)
                return;
        *p = (Pending){ .id = id, .json = store_event_to_json(id, event) };
        if (!p->json) {
                free(p);
                return;
        }
        *log->last = p;
        log->last = &p->next;
}

void event_emit(EventLog *log, EventKind kind, const EventDetails *details, const char *format, ...) {
        static const EventDetails none = {};
        const EventKindInfo *info = &event_kinds[kind];
        _cleanup_free_ char *message = NULL;
        StoreEvent event;
        char run[32];
        va_list args;

        assert(kind < _EVENT_KIND_MAX);
        assert(format);

        details = details ?: &none;
        va_start(args, format);
        if (vasprintf(&message, format, args) < 0)
                message = NULL;
        va_end(args);

        (void) snprintf(run, sizeof(run), "%" PRId64, details->run);
        {
                const LogField fields[] = {
                        { "MESSAGE_ID", info->message_id },
                        { "AGENTD_EVENT", info->name },
                        { "AGENTD_RUN", details->run > 0 ? run : NULL },
                        { "AGENTD_STATE", details->state },
                        { "AGENTD_ROLE", details->role },
                        { "AGENTD_RESULT", details->result },
                        { "AGENTD_TRIGGER", details->trigger },
                };

                (void) log_event(info->level, fields, ELEMENTSOF(fields), "%s", message ?: info->name);
        }
        if (!log)
                return;

        event = (StoreEvent){
                .time_usec = now_usec(CLOCK_REALTIME),
                .kind = info->name,
                .message = message ?: info->name,
                .run = details->run,
                .state = details->state,
                .role = details->role,
                .result = details->result,
                .data = details->data,
        };
        keep_pending(log, store_put_event(log->store, &event), &event);
}

const char *event_attributes(const json_t *differences, char *buffer, size_t size) {
        size_t used = 0, i;
        json_t *difference;

        assert(buffer && size > 0);

        buffer[0] = 0;
        json_array_foreach(differences, i, difference) {
                const char *attribute = json_string_value(json_object_get(difference, "attribute"));
                size_t n;

                if (!attribute)
                        continue;
                n = strlen(attribute) + (used > 0 ? 2 : 0);
                if (n >= size - used)
                        break;
                (void) snprintf(buffer + used, size - used, "%s%s", used > 0 ? ", " : "", attribute);
                used += n;
        }
        return buffer;
}

/* ---- Steps of runs --------------------------------------------------------------------------------------------- */

void event_attempt_failed(
        EventLog *log, const Run *run, int64_t id, uint32_t state, const RunAttempt *attempt) {
        const char *name = image_state_id(run_image(run), state);
        const RunDetail *detail = run_detail(run, state);
        const char *error = detail && detail->error ? detail->error : "no reason was given";
        json_t *data = json_pack("{s:i, s:i, s:I, s:s}", "attempt", (int) attempt->n, "attempts",
                (int) attempt->max, "delay_usec", (json_int_t) attempt->delay_usec, "error", error);

        event_emit(log, EVENT_STATE_RETRIED,
                &(EventDetails){
                        .run = id,
                        .state = name,
                        .role = image_state_role(run_image(run), state),
                        .result = result_to_string(RESULT_FAILED),
                        .data = data,
                },
                "%s failed (attempt %u of %u), again in %s: %s", name, attempt->n, attempt->max,
                FORMAT_TIMESPAN(attempt->delay_usec), error);
        json_decref(data);
}

void event_hook_failed(
        EventLog *log, const Run *run, int64_t id, uint32_t state, Hook hook, const char *explanation) {
        const char *name = image_state_id(run_image(run), state);
        json_t *data = json_pack("{s:s, s:s}", "hook", hook_to_string(hook), "explanation", explanation);

        event_emit(log, EVENT_HOOK_FAILED,
                &(EventDetails){
                        .run = id,
                        .state = name,
                        .role = image_state_role(run_image(run), state),
                        .data = data,
                },
                "The hook %s of %s went wrong: %s", hook_to_string(hook), name, explanation);
        json_decref(data);
}

/* ---- Single runs ----------------------------------------------------------------------------------------------- */

void event_state_result(const Run *run, uint32_t state) {
        const Image *image = run_image(run);
        const RunDetail *detail = run_detail(run, state);
        Result result = run_result(run, state);
        char run_id[32], attributes[256];
        const char *id, *message_id;
        LogField fields[5];
        size_t n = 0;

        if (run_options(run)->mode == RUN_PLAN)
                return;
        id = image_state_id(image, state);
        switch (result) {
        case RESULT_CHANGED: message_id = event_kinds[EVENT_STATE_CHANGED].message_id; break;
        case RESULT_FAILED:
        case RESULT_BLOCKED: message_id = event_kinds[EVENT_STATE_FAILED].message_id; break;
        case RESULT_DRIFTED: message_id = event_kinds[EVENT_STATE_DRIFTED].message_id; break;
        default: return;
        }

        (void) snprintf(run_id, sizeof(run_id), "%" PRId64, run_options(run)->id);
        fields[n++] = (LogField){ "MESSAGE_ID", message_id };
        fields[n++] = (LogField){ "AGENTD_RUN", run_id };
        fields[n++] = (LogField){ "AGENTD_STATE", id };
        fields[n++] = (LogField){ "AGENTD_ROLE", image_state_role(image, state) };
        fields[n++] = (LogField){ "AGENTD_RESULT", result_to_string(result) };

        if (result == RESULT_CHANGED)
                (void) log_event(LOG_INFO, fields, n, "Changed %s: %s", id,
                        event_attributes(
                                detail ? detail->differences : NULL, attributes, sizeof(attributes)));
        else if (result == RESULT_DRIFTED)
                (void) log_event(LOG_NOTICE, fields, n, "%s differs and is only audited: %s", id,
                        event_attributes(
                                detail ? detail->differences : NULL, attributes, sizeof(attributes)));
        else
                (void) log_event(result == RESULT_FAILED ? LOG_ERR : LOG_WARNING, fields, n, "%s %s: %s", id,
                        result_to_string(result),
                        detail && detail->error ? detail->error : "no reason was given");
}

void event_run_finished(const Run *run) {
        char run_id[32];
        const LogField fields[] = {
                { "MESSAGE_ID", event_kinds[EVENT_RUN_FINISHED].message_id },
                { "AGENTD_RUN", run_id },
        };
        uint32_t changed = run_count(run, RESULT_CHANGED), failed = run_count(run, RESULT_FAILED),
                 blocked = run_count(run, RESULT_BLOCKED);

        if (run_options(run)->mode == RUN_PLAN || changed + failed + blocked == 0)
                return;
        (void) snprintf(run_id, sizeof(run_id), "%" PRId64, run_options(run)->id);
        (void) log_event(failed > 0 ? LOG_WARNING : LOG_INFO, fields, ELEMENTSOF(fields),
                "Run %s (%s) finished: %u changed, %u failed, %u blocked", run_id, run_options(run)->cause,
                changed, failed, blocked);
}
