/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * For test-api.c: the real HTTP server, store, events and status, an engine that does as it is told, and a client in the same
 * event loop. Each answer is also written to the file $API_ANSWERS, if that is set, for tests/test-openapi.py to compare with
 * what docs/openapi.json says.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "api-internal.h"
#include "engine-run.h"
#include "engine-trigger.h"
#include "log.h"
#include "test-image.h"
#include "test.h"

#define DEADLINE_USEC (20 * USEC_PER_SEC)

static sd_event *event;
static Api *api;
static char directory[64];
static int listener = -EBADF;
static FILE *answers;

/* ---- An engine that does as it is told -------------------------------------------------------------------------- */

struct EngineRun {
        int64_t id;
        RunMode mode;
        bool over, plan_kept;
        json_t *results;
        char *pattern;
};

typedef struct Request {
        void *userdata;
        EngineLoaded on_loaded;
        EngineImage on_image;
        EngineFacts on_facts;
        EngineExplained on_explained;
} Request;

struct Engine {
        Image *image;
        StatusTable *status;
        Store *store;
        EventLog *events;
        EngineState state;
        Settings settings;
        EngineCounts counts;
        json_t *errors, *disabled;
        bool failed, fighting;
        int r;       /* what requests return */
        bool is_due; /* roles have to be loaded first */
        EngineRun runs[4];
        unsigned n_runs;
        RunFollower follower;
        Request waiting[4];
        unsigned n_waiting;
        unsigned n_forgotten, n_unfollowed;
        usec_t for_usec;
        char by[64];
        RunRequest request; /* the last one, without its patterns */
        size_t n_patterns;
        char pattern[64]; /* the first of them */
        char vars[64];    /* the first two of the last load */
        unsigned n_fired;
};

static Engine engine;

const char *engine_state_to_string(EngineState state) {
        static const char *const names[] = { "starting", "idle", "loading", "running", "stopping" };

        return names[state];
}

EngineState engine_state(const Engine *e) {
        return e->state;
}

const Settings *engine_settings(const Engine *e) {
        return &e->settings;
}

Image *engine_image(const Engine *e) {
        return e->image;
}

Store *engine_store(const Engine *e) {
        return e->store;
}

StatusTable *engine_status(const Engine *e) {
        return e->status;
}

EventLog *engine_events(const Engine *e) {
        return e->events;
}

/* Two of them: "deploy", "often". */
static const char *const trigger_names[] = { "deploy", "often" };

Triggers *engine_triggers(const Engine *e) {
        return (Triggers *) e;
}

uint32_t triggers_count(_unused_ const Triggers *triggers) {
        return ELEMENTSOF(trigger_names);
}

uint32_t triggers_find(_unused_ const Triggers *triggers, const char *name) {
        for (uint32_t i = 0; i < ELEMENTSOF(trigger_names); i++)
                if (streq(trigger_names[i], name))
                        return i;
        return UINT32_MAX;
}

int triggers_fire(_unused_ Triggers *triggers, _unused_ uint32_t trigger) {
        if (engine.r < 0)
                return engine.r;
        engine.n_fired++;
        return 0;
}

json_t *triggers_to_json(_unused_ const Triggers *triggers, uint32_t i) {
        return json_pack("{s:s, s:s, s:o, s:o, s:b, s:s, s:s, s:i, s:i, s:n, s:i, s:[s]}", "trigger",
                trigger_names[i], "type", i == 0 ? "path" : "every", "path",
                i == 0 ? json_string("/srv/app") : json_null(), "every_usec",
                i == 0 ? json_null() : json_integer(60000000), "recursive", 0, "role", "app", "file",
                "/app.toml", "line", 3, "column", 1, "fired", "n_fired", (int) engine.n_fired, "states",
                "file:/etc/motd");
}

usec_t engine_started(const Engine *e) {
        return UINT64_C(1795267920123456);
}

usec_t engine_loaded(const Engine *e) {
        return e->image ? UINT64_C(1795267921000001) : 0;
}

usec_t engine_next_run(const Engine *e) {
        return 0;
}

const json_t *engine_load_errors(const Engine *e) {
        return e->errors;
}

bool engine_load_failed(const Engine *e) {
        return e->failed;
}

const EngineCounts *engine_counts(const Engine *e) {
        return &e->counts;
}

static int wait_for(Engine *e, Request request) {
        if (e->r == 0)
                e->waiting[e->n_waiting++] = request;
        return e->r;
}

int engine_reload(Engine *e, EngineLoaded on_loaded, void *userdata) {
        return wait_for(e, (Request){ .userdata = userdata, .on_loaded = on_loaded });
}

int engine_catch_up(Engine *e, EngineLoaded on_loaded, void *userdata) {
        if (!e->is_due)
                return 0;
        return wait_for(e, (Request){ .userdata = userdata, .on_loaded = on_loaded }) ?: 1;
}

int engine_validate(Engine *e, EngineLoaded on_loaded, void *userdata) {
        return wait_for(e, (Request){ .userdata = userdata, .on_loaded = on_loaded });
}

int engine_load_vars(Engine *e, const char *const *vars, EngineImage on_image, void *userdata) {
        (void) snprintf(e->vars, sizeof(e->vars), "%s|%s", vars[0], vars[1] ?: "");
        return wait_for(e, (Request){ .userdata = userdata, .on_image = on_image });
}

int engine_explain(Engine *e, const char *id, EngineExplained on_explained, void *userdata) {
        (void) snprintf(e->pattern, sizeof(e->pattern), "%s", id);
        return wait_for(e, (Request){ .userdata = userdata, .on_explained = on_explained });
}

bool engine_is_fighting(const Engine *e, uint32_t state) {
        return e->fighting && state == 0;
}

int engine_facts(Engine *e, EngineFacts on_facts, void *userdata) {
        return wait_for(e, (Request){ .userdata = userdata, .on_facts = on_facts });
}

void engine_forget(Engine *e, void *userdata) {
        for (unsigned i = 0; i < e->n_waiting; i++)
                if (e->waiting[i].userdata == userdata) {
                        e->waiting[i] = e->waiting[--e->n_waiting];
                        e->n_forgotten++;
                        return;
                }
        fail_msg("nobody waits who could be forgotten");
}

json_t *engine_watches(_unused_ const Engine *e) {
        return json_pack("{s:i, s:i, s:i, s:[s]}", "paths", 3, "units", 2, "signals", 1, "errors",
                "the system bus cannot be reached: Connection refused");
}

json_t *engine_disabled(const Engine *e) {
        return e->disabled ? json_incref(e->disabled) : json_null();
}

bool engine_is_disabled(const Engine *e) {
        return e->disabled;
}

int engine_disable(Engine *e, const char *reason, const char *by, usec_t for_usec) {
        if (e->r < 0)
                return e->r;
        json_decref(e->disabled);
        e->disabled = json_pack("{s:s, s:s, s:s, s:n}", "reason", reason, "by", by, "since",
                "2026-11-21T13:32:00.123456Z", "until");
        e->for_usec = for_usec;
        return 0;
}

int engine_enable(Engine *e, const char *by) {
        json_decref(e->disabled);
        e->disabled = NULL;
        (void) snprintf(e->by, sizeof(e->by), "%s", by);
        return e->r;
}

int engine_run_request(Engine *e, const RunRequest *request, EngineRun **ret, size_t *reterr_pattern) {
        if (e->r < 0) {
                *reterr_pattern = 0;
                return e->r;
        }
        e->request = *request;
        e->n_patterns = request->n_patterns;
        if (request->n_patterns > 0)
                (void) snprintf(e->pattern, sizeof(e->pattern), "%s", request->patterns[0]);
        e->runs[e->n_runs] = (EngineRun){ .id = store_next_run(e->store), .mode = request->mode };
        if (request->follower)
                e->follower = *request->follower;
        if (ret)
                *ret = &e->runs[e->n_runs];
        e->n_runs++;
        return 0;
}

void engine_run_unfollow(Engine *e, void *userdata) {
        if (e->follower.userdata != userdata)
                fail_msg("somebody unfollows who does not follow");
        e->follower = (RunFollower){};
        e->n_unfollowed++;
}

EngineRun *engine_run_find(Engine *e, int64_t id) {
        for (unsigned i = 0; i < e->n_runs; i++)
                if (e->runs[i].id == id)
                        return &e->runs[i];
        return NULL;
}

void engine_run_stop(_unused_ Engine *e, EngineRun *run) {
        run->over = run->mode == RUN_PLAN;
}

int64_t engine_run_id(const EngineRun *run) {
        return run->id;
}

bool engine_run_is_over(const EngineRun *run) {
        return run->over;
}

static json_t *summary_to_json(void) {
        return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "ok", 2, "changed", 1, "drifted", 0,
                "unknown", 0, "failed", 0, "skipped", 0, "blocked", 0);
}

json_t *engine_run_to_json(EngineRun *run, bool progress) {
        json_t *json = json_pack("{s:I, s:s, s:s, s:s, s:s?, s:o, s:n, s:[]}", "run", (json_int_t) run->id,
                "mode", run_mode_to_string(run->mode), "cause", "request", "started",
                "2026-11-21T13:32:00.123456Z", "finished", run->over ? "2026-11-21T13:32:01.000000Z" : NULL,
                "summary", summary_to_json(), "error", "vars");

        if (progress && !run->over)
                (void) json_object_set_new(json, "progress",
                        json_pack("{s:i, s:i, s:[s]}", "done", 1, "total", 3, "running", "file:/a"));
        else if (progress)
                (void) json_object_set_new(json, "progress", json_null());
        return json;
}

json_t *engine_runs_active(const Engine *e) {
        json_t *list = json_array();

        for (unsigned i = 0; i < e->n_runs; i++)
                if (!e->runs[i].over)
                        (void) json_array_append_new(
                                list, engine_run_to_json((EngineRun *) &e->runs[i], true));
        return list;
}

json_t *engine_runs_remembered(const Engine *e, int64_t before, const char *mode) {
        json_t *list = json_array();

        for (unsigned i = e->n_runs; i > 0; i--) {
                EngineRun *run = (EngineRun *) &e->runs[i - 1];

                if (run->over && (before == 0 || run->id < before) &&
                        (!mode || streq(mode, run_mode_to_string(run->mode))))
                        (void) json_array_append_new(list, engine_run_to_json(run, true));
        }
        return list;
}

json_t *engine_runs_last(const Engine *e) {
        for (unsigned i = e->n_runs; i > 0; i--)
                if (e->runs[i - 1].over)
                        return engine_run_to_json((EngineRun *) &e->runs[i - 1], false);
        return json_null();
}

const json_t *engine_run_results(const EngineRun *run) {
        return run->results;
}

/* ---- A client, in the same loop --------------------------------------------------------------------------------- */

typedef struct Client {
        int fd;
        char *data; /* all that came, with a NUL */
        size_t size;
        bool closed;
        size_t line; /* of a stream: lines that were read */
} Client;

static void client_init(Client *client) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", directory);
        *client = (Client){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                .data = strdup("") };
        assert_true(client->fd >= 0);
        ASSERT_OK(connect(client->fd, (struct sockaddr *) &address, sizeof(address)));
}

static void client_done(Client *client) {
        client->fd = safe_close(client->fd);
        free(TAKE_PTR(client->data));
}

/* A turn of the loop, and what came of it. */
static void turn(Client *client) {
        ssize_t n;

        assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
        if (!client || client->closed)
                return;
        for (;;) {
                client->data = realloc(client->data, client->size + KIB(64) + 1);
                n = recv(client->fd, client->data + client->size, KIB(64), 0);
                if (n <= 0)
                        break;
                client->size += (size_t) n;
        }
        client->data[client->size] = 0;
        if (n == 0 || errno != EAGAIN)
                client->closed = true;
}

static void settle(void) {
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, USEC_PER_MSEC) >= 0);
}

static void client_send(
        Client *client, const char *method, const char *target, const char *headers, const char *body) {
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        int size;

        size = asprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method,
                target, headers ?: "");
        assert_true(size > 0);
        if (body) {
                _cleanup_free_ char *head = TAKE_PTR(text);

                size = asprintf(&text, "%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        head, strlen(body), body);
        } else {
                _cleanup_free_ char *head = TAKE_PTR(text);

                size = asprintf(&text, "%s\r\n", head);
        }
        while (n < (size_t) size) {
                ssize_t k = send(client->fd, text + n, (size_t) size - n, MSG_NOSIGNAL);

                if (k > 0)
                        n += (size_t) k;
                else
                        assert_true(sd_event_run(event, USEC_PER_MSEC) >= 0);
        }
}

typedef struct Answer {
        unsigned status;
        char *head; /* headers */
        char *text; /* of the body */
        json_t *json;
} Answer;

static void answer_done(Answer *answer) {
        free(answer->head);
        free(answer->text);
        json_decref(answer->json);
        *answer = (Answer){};
}

#define _cleanup_answer_ _cleanup_(answer_done)

static void record(const char *method, const char *target, const Answer *answer) {
        json_t *line;

        if (!answers || !answer->json)
                return;
        line = json_pack("{s:s, s:s, s:i, s:O}", "method", method, "target", target, "status",
                (int) answer->status, "body", answer->json);
        (void) json_dumpf(line, answers, JSON_COMPACT);
        (void) fputc('\n', answers);
        (void) fflush(answers);
        json_decref(line);
}

/* The answer is complete when the server closes. */
static Answer finish(Client *client, const char *method, const char *target) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;
        Answer answer = {};
        char *body;

        while (!client->closed) {
                turn(client);
                if (now_usec(CLOCK_MONOTONIC) > deadline)
                        fail_msg("%s %s is not answered", method, target);
        }
        body = strstr(client->data, "\r\n\r\n");
        if (!body || sscanf(client->data, "HTTP/1.1 %u ", &answer.status) != 1)
                fail_msg("%s %s: no answer but '%s'", method, target, client->data);
        answer.head = strndup(client->data, (size_t) (body - client->data) + 2);
        answer.text = strdup(body + 4);
        if (strstr(answer.head, "json")) {
                answer.json = json_loads(answer.text, JSON_REJECT_DUPLICATES, NULL);
                if (!answer.json && answer.status != 304 && !streq(method, "HEAD"))
                        fail_msg("%s %s: no JSON: %s", method, target, answer.text);
        }
        record(method, target, &answer);
        return answer;
}

static Answer ask_with(const char *method, const char *target, const char *headers, const char *body) {
        Client client;
        Answer answer;

        client_init(&client);
        client_send(&client, method, target, headers, body);
        answer = finish(&client, method, target);
        client_done(&client);
        return answer;
}

static Answer get(const char *target) {
        return ask_with("GET", target, NULL, NULL);
}

/* Asks, and what is asked for must be there. */
static json_t *get_json(const char *target) {
        Answer answer = get(target);
        json_t *json = TAKE_PTR(answer.json);

        if (answer.status != 200)
                fail_msg("GET %s: %u %s", target, answer.status, answer.text);
        answer_done(&answer);
        return json;
}

static void assert_problem(const Answer *answer, unsigned status, const char *type, const char *detail) {
        _cleanup_free_ char *urn = NULL;
        const char *text = json_string_value(json_object_get(answer->json, "detail"));

        assert_true(asprintf(&urn, "urn:agentd:%s", type) > 0);
        if (answer->status != status || !text || !strstr(text, detail))
                fail_msg("expected %u '%s', got %u %s", status, detail, answer->status, answer->text);
        ASSERT_STREQ(json_string_value(json_object_get(answer->json, "type")), urn);
        ASSERT_EQ(json_integer_value(json_object_get(answer->json, "status")), status);
        ASSERT_NOT_NULL(strstr(answer->head, "application/problem+json"));
}

static void expect_problem(const char *method, const char *target, const char *body, unsigned status,
        const char *type, const char *detail) {
        _cleanup_answer_ Answer answer = ask_with(method, target, NULL, body);

        assert_problem(&answer, status, type, detail);
}

/* JSON without blanks; to be freed. */
static char *dump(const json_t *json) {
        return json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void assert_json(const json_t *json, const char *expected) {
        _cleanup_free_ char *text = dump(json);

        ASSERT_STREQ(text, expected);
}

/* A member of each item of a page, with blanks between: "file:/a service:c"; to be freed. */
static char *list(const json_t *page, const char *key) {
        char *text = NULL;
        size_t size, i;
        FILE *f = open_memstream(&text, &size);
        json_t *item;

        json_array_foreach(json_object_get(page, "items"), i, item) {
                json_t *value = json_object_get(item, key);

                if (json_is_string(value))
                        (void) fprintf(f, "%s%s", i > 0 ? " " : "", json_string_value(value));
                else
                        (void) fprintf(
                                f, "%s%" JSON_INTEGER_FORMAT, i > 0 ? " " : "", json_integer_value(value));
        }
        (void) fclose(f);
        return text;
}

static void expect_list(const char *target, const char *key, const char *expected) {
        json_t *page = get_json(target);
        _cleanup_free_ char *text = list(page, key);

        if (!streq(text, expected))
                fail_msg("GET %s: expected '%s', got '%s'", target, expected, text);
        json_decref(page);
}

/* All pages of one item each, by their cursors. */
static void expect_pages(const char *target, const char *key, const char *expected) {
        _cleanup_free_ char *all = NULL, *next = NULL;
        bool any = false;
        size_t size;
        FILE *f = open_memstream(&all, &size);

        for (int i = 0;; i++) {
                _cleanup_free_ char *page_target = NULL, *item = NULL;
                json_t *page;

                assert_true(asprintf(&page_target, "%s%climit=1%s%s", target,
                                    strchr(target, '?') ? '&' : '?', next ? "&after=" : "", next ?: "") > 0);
                page = get_json(page_target);
                assert_true(json_array_size(json_object_get(page, "items")) <= 1);
                item = list(page, key);
                (void) fprintf(f, "%s%s", any && *item ? " " : "", item);
                any = any || *item;
                free(TAKE_PTR(next));
                if (json_is_string(json_object_get(page, "next")))
                        next = strdup(json_string_value(json_object_get(page, "next")));
                json_decref(page);
                if (!next)
                        break;
                assert_true(i < 1000);
        }
        (void) fclose(f);
        ASSERT_STREQ(all, expected);
}

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

/* What came of a stream, without headers and sizes of chunks; to be freed. */
static char *stream_text(const Client *client) {
        const char *p = strstr(client->data, "\r\n\r\n");
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        for (p = p ? p + 4 : NULL; p && *p;) {
                char *end;
                size_t n = strtoul(p, &end, 16);

                if (n == 0 || !startswith(end, "\r\n") || end + 2 + n > client->data + client->size)
                        break;
                (void) fwrite(end + 2, 1, n, f);
                p = end + 2 + n;
                p += startswith(p, "\r\n") ? 2 : 0;
        }
        (void) fclose(f);
        return text;
}

/* The next line of a stream; NULL at its end. A new reference. */
static json_t *next_line(Client *client, const char *target) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        for (;;) {
                _cleanup_free_ char *text = stream_text(client);
                const char *p = text;
                size_t n = 0;

                for (const char *end; (end = strchr(p, '\n')); p = end + 1)
                        if (n++ == client->line) {
                                json_t *json = json_loadb(p, (size_t) (end - p), 0, NULL);

                                ASSERT_NOT_NULL(json);
                                client->line++;
                                if (answers) {
                                        Answer answer = { .status = 200, .json = json };

                                        record("STREAM", target, &answer);
                                }
                                return json;
                        }
                if (client->closed)
                        return NULL;
                if (now_usec(CLOCK_MONOTONIC) > deadline)
                        fail_msg("no line %zu within the deadline; so far: %s", client->line, client->data);
                turn(client);
        }
}

static void expect_event(Client *client, int64_t id) {
        json_t *line = next_line(client, "/v1/events");

        ASSERT_EQ(json_integer_value(json_object_get(line, "event")), id);
        json_decref(line);
}

/* Nothing more comes, as far as can be told. */
static void expect_quiet(Client *client) {
        _cleanup_free_ char *text = NULL;
        size_t n = 0;

        settle();
        turn(client);
        text = stream_text(client);
        for (const char *p = text; (p = strchr(p, '\n')); p++)
                n++;
        ASSERT_EQ(n, client->line);
        ASSERT_FALSE(client->closed);
}

/* ---- The host --------------------------------------------------------------------------------------------------- */

static Arena arenas[2];
static Image images[2];

static Image *make_image(unsigned i, void (*build)(Arena *arena)) {
        if (!arenas[i].base) {
                ASSERT_OK(arena_map(&arenas[i], MIB(64), NULL));
                (void) arena_new(&arenas[i], ImageHeader);
                build(&arenas[i]);
                assert_null(image_validate(arenas[i].base, arenas[i].used));
                /* More references than are given back: it is no file that could be unmapped. */
                images[i] = (Image){ .n_ref = 1000,
                        .memfd = -EBADF,
                        .base = arenas[i].base,
                        .header = (const ImageHeader *) arenas[i].base };
        }
        return &images[i];
}

#define LARGE 12000

/* file:/s/00000 … that service:all requires, through a group; and service:x, which each of the first 2000 requires. */
static void build_large(Arena *arena) {
        ImageHeader *h = (ImageHeader *) arena->base;
        ImageModule *modules = test_image_array(arena, &h->modules, 1, sizeof(ImageModule));
        ImageType *types = test_image_array(arena, &h->types, 2, sizeof(ImageType));
        ImageRole *roles = test_image_array(arena, &h->roles, 1, sizeof(ImageRole));
        ImageState *states = test_image_array(arena, &h->states, LARGE + 2, sizeof(ImageState));
        ImageNode *nodes = test_image_array(arena, &h->nodes, LARGE + 3, sizeof(ImageNode));
        uint32_t *dependents = test_image_array(arena, &h->dependents, LARGE + 1 + 2000, sizeof(uint32_t));

        modules[0] = (ImageModule){ .path = test_image_text(arena, "/m/file.so") };
        types[0] = (ImageType){ .name = test_image_text(arena, "file") };
        types[1] = (ImageType){ .name = test_image_text(arena, "service") };
        roles[0] = (ImageRole){ .name = test_image_text(arena, "large"),
                .path = test_image_text(arena, "/large.toml") };
        for (uint32_t i = 0; i < LARGE + 2; i++) {
                char id[32];

                (void) snprintf(id, sizeof(id), "file:/s/%05u", LARGE - 1 - i);
                states[i] = (ImageState){
                        .id = test_image_text(arena, i < LARGE    ? id
                                                     : i == LARGE ? "service:all"
                                                                  : "service:x"),
                        .type = i >= LARGE,
                        .line = 1,
                        .column = 1,
                        .timeout_usec = USEC_PER_SEC,
                };
                if (i < LARGE) {
                        nodes[i].dependents = (ImageArray){ .offset = i, .n = 1 };
                        dependents[i] = LARGE + 2;
                        nodes[i].n_dependencies = i < 2000;
                }
        }
        nodes[LARGE + 2] = (ImageNode){ .dependents = { .offset = LARGE, .n = 1 }, .n_dependencies = LARGE };
        dependents[LARGE] = LARGE;
        nodes[LARGE].n_dependencies = 1;
        nodes[LARGE].dependents.offset = LARGE + 1;
        nodes[LARGE + 1].dependents = (ImageArray){ .offset = LARGE + 1, .n = 2000 };
        for (uint32_t i = 0; i < 2000; i++)
                dependents[LARGE + 1 + i] = i;

        h->settings = settings_default;
        h->magic = IMAGE_MAGIC;
        h->version = IMAGE_VERSION;
        h->base = (uint64_t) (uintptr_t) arena->base;
        arena->used = (arena->used + 7) & ~(size_t) 7;
        h->used = arena->used;
}

static void adopt(Image *image) {
        StatusTable *table = NULL;

        if (image)
                ASSERT_OK(status_table_new(image, NULL, engine.store, &table));
        status_table_free(engine.status);
        engine.status = table;
        engine.image = image;
}

static bool trouble_expected;

static void on_trouble(_unused_ void *userdata, _unused_ StoreTrouble trouble, const char *detail) {
        if (!trouble_expected)
                fail_msg("trouble with the store: %s", detail);
}

static void on_events(_unused_ void *userdata, int64_t id) {
        event_log_written(engine.events, id);
}

static int setup(_unused_ void **state) {
        static const StoreHandlers handlers = { .on_trouble = on_trouble, .on_events = on_events };
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void) snprintf(directory, sizeof(directory), "/tmp/test-api-XXXXXX");
        assert_non_null(mkdtemp(directory));
        ASSERT_OK(sd_event_new(&event));
        trouble_expected = false;
        engine = (Engine){ .state = ENGINE_IDLE, .errors = json_array(), .settings.interval_usec = 1 };
        ASSERT_OK(
                store_new(event, &(StoreOptions){ .directory = directory }, &handlers, NULL, &engine.store));
        ASSERT_OK(event_log_new(engine.store, &engine.events));
        adopt(make_image(0, test_image_build));

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", directory);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(listener >= 0);
        ASSERT_OK(bind(listener, (struct sockaddr *) &address, sizeof(address)));
        ASSERT_OK(listen(listener, 64));
        /* Whoever runs the test may write; root may always, and its group is not meant by 0. */
        ASSERT_OK(api_new(event, &engine,
                &(ApiOptions){ .state_directory = directory,
                        .reader_gid = (gid_t) -1,
                        .writer_gid = getgid() ?: (gid_t) -1 },
                &api));
        ASSERT_OK(api_listen(api, listener));
        return 0;
}

static int teardown(_unused_ void **state) {
        char command[128];

        api = api_free(api);
        ASSERT_EQ(engine.n_waiting, 0);
        listener = safe_close(listener);
        event_log_free(engine.events);
        status_table_free(engine.status);
        store_free(engine.store);
        for (unsigned i = 0; i < engine.n_runs; i++)
                json_decref(engine.runs[i].results);
        json_decref(engine.errors);
        json_decref(engine.disabled);
        event = sd_event_unref(event);
        (void) snprintf(command, sizeof(command), "rm -rf '%s'", directory);
        return system(command);
}

static void emit(EventKind kind, int64_t run, const char *state) {
        event_emit(engine.events, kind, &(EventDetails){ .run = run, .state = state }, "event about %s",
                state ?: "nothing");
}

static json_t *result_of(const char *id, const char *result) {
        return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:[{s:s, s:s, s:s}], s:[], s:n, s:i}", "state", id,
                "type", "file", "name", strchr(id, ':') + 1, "role", "web", "removal", false, "result",
                result, "differences", "attribute", "mode", "is", "0600", "should", "0644", "undo", "error",
                "duration_usec", 5);
}
