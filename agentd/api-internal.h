/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files api-*.c share. */

#include "api.h"
#include "http.h"

#define API_LIMIT_DEFAULT  100
#define API_LIMIT_MAX      1000
#define API_PAGE_BYTES     KIB(512) /* of a page; what goes beyond is on the next one */
#define API_VARS_MAX       64       /* of one request for a run, as what follows */
#define API_TAGS_MAX       64
#define API_PATTERNS_MAX   256  /* of one request for a run: each is compared with each state */
#define API_NEIGHBOURS_MAX 1000 /* shown of what a state requires, and of what requires it */
#define API_BLOCKED_MAX    50   /* states shown of those that a state is blocked by */
#define API_HISTORY_MAX    20   /* results shown of one state */
#define API_SUGGEST_BYTES  64   /* of an id for which one that may have been meant is sought */
#define API_SUGGEST_MAX    500  /* ids looked at for one that may have been meant */
#define API_REASON_MAX     500  /* bytes */
#define API_GLOB_MAX       8192 /* bytes: longer than any path */
#define API_BRACKET_MAX \
        256 /* bytes of a glob with a '[': fnmatch() looks for its end at each byte of the text */
#define API_MATCH_STEPS UINT64_C(4000000) /* of fnmatch() for one page of states: some milliseconds */

/* Who waits for an answer, or follows. First member of what is kept for him, and freed by stop(), which also sees to it that
 * nothing calls him any more. */
typedef struct ApiClient ApiClient;

struct ApiClient {
        Api *api; /* not a reference */
        void (*stop)(ApiClient *client);
        ApiClient *next, *previous;
};

struct Api {
        sd_event *event;
        Engine *engine; /* not a reference */
        ApiOptions options;
        HttpServer *server;
        HttpRoute *routes;
        ApiClient *clients;
};

void api_client_add(Api *api, ApiClient *client, void (*stop)(ApiClient *client));
void api_client_remove(ApiClient *client);

/* ---- api-control.c: answers that take time ---------------------------------------------------------------------- */

/* Whoever waits for the engine: the `userdata` of what is asked of it. */
typedef struct ApiWait {
        ApiClient client;
        HttpRequest *request;
} ApiWait;

/* NULL: out of memory, and it has been answered. */
ApiWait *api_wait_new(Api *api, HttpRequest *request);

/* Ends the waiting; the request is to be answered. */
HttpRequest *api_wait_over(ApiWait *wait);

/* The engine did not take it up: -ESHUTDOWN, -EBUSY and others. It is answered. */
void api_wait_refused(Api *api, ApiWait *wait, int r);

void api_answer_loader_failed(Api *api, HttpRequest *request);

/* ---- api-states.c ------------------------------------------------------------------------------------------------ */

/* What a state was last found to be, as docs/api.md says under "explain"; null if there is none of that id. */
json_t *api_state_status(Api *api, const char *id);

/* ---- api-util.c: JSON ------------------------------------------------------------------------------------------- */

/* A new reference; null for NULL. */
json_t *api_text(const char *text);

/* The run itself, with the member that says that it does not go on, if it has none; NULL and null as they are. */
json_t *api_with_progress(json_t *run);

/* Answers with a page. Both references are taken; a NULL among them is answered as out of memory. */
void api_answer_page(HttpRequest *request, json_t *items, json_t *next);

/* ---- api-util.c: what requests say ------------------------------------------------------------------------------ */

/* Where they are wrong, they have been answered when these return -EINVAL. */

/* ?limit=. Return: 0; -EINVAL. */
int api_limit(HttpRequest *request, unsigned *ret);

/* A glob, if there is one, is not made to take long: it is compared with each state, or event. Return: 0; -EINVAL. */
int api_check_glob(HttpRequest *request, const char *what, const char *glob);

/* A parameter, or a member of the body, that is one of n words. Return: its index; -EINVAL. */
int api_word(HttpRequest *request, const char *what, const char *word, const char *const *words, size_t n);

/* The body has no other keys than these, n of them. Return: 0; -EINVAL. */
int api_body_keys(HttpRequest *request, const char *const *keys, size_t n);

/* Members of the body; *ret is left alone if there is none. Return: 0; -EINVAL. */
int api_body_bool(HttpRequest *request, const char *key, bool *ret);
int api_body_string(HttpRequest *request, const char *key, const char **ret);

/* "file:/etc/modt" → "; did you mean 'file:/etc/motd'?" in buffer; "" if nothing is near. */
const char *api_suggest_state(const Image *image, const char *id, char *buffer, size_t size);

/* No state has that tag: 404, "not-found" where a run is to be over it; 400, "bad-request" in a query. */
void api_answer_no_tag(HttpRequest *request, unsigned status, const Image *image, const char *tag);

/* 503. */
void api_answer_not_ready(Api *api, HttpRequest *request);

/* 409, of a host that is disabled. */
void api_answer_disabled(Api *api, HttpRequest *request);

/* ---- api-parse.c ------------------------------------------------------------------------------------------------ */

/* What json_from_time() has made; 0 if it is something else. */
usec_t api_time_parse(const char *text);

/* A decimal number > 0 without sign and leading zeros. Return: 0; -EINVAL. */
int api_parse_id(const char *text, int64_t *ret);

/* Where a page of states ended: "INDEX:ID" of its last one. The id counts; the index is for when it is gone.
 * Return: 0; -EINVAL. */
int api_parse_state_cursor(const char *text, uint32_t *ret_index, const char **ret_id);

/* "state-changed,state-failed" → bits (1 << EventKind). ret_bad: the part that is no kind, and its length.
 * Return: 0; -EINVAL. */
int api_parse_kinds(const char *text, uint32_t *ret, const char **reterr_bad, size_t *reterr_size);

/* ---- api-util.c: the engine as a whole -------------------------------------------------------------------------- */

/* What is wrong with the host as far as we care for it, in buffer; NULL if nothing is. */
const char *api_illness(const Engine *engine, char *buffer, size_t size);

/* Bytes of this process in memory; 0 if that cannot be told. */
uint64_t api_memory(void);

/* ---- Handlers --------------------------------------------------------------------------------------------------- */

void api_list_routes(void *userdata, HttpRequest *request);
void api_get_health(void *userdata, HttpRequest *request);
void api_get_metrics(void *userdata, HttpRequest *request);
void api_get_status(void *userdata, HttpRequest *request);
void api_list_states(void *userdata, HttpRequest *request);
void api_get_state(void *userdata, HttpRequest *request);
void api_explain(void *userdata, HttpRequest *request);
void api_list_runs(void *userdata, HttpRequest *request);
void api_start_run(void *userdata, HttpRequest *request);
void api_get_run(void *userdata, HttpRequest *request);
void api_stop_run(void *userdata, HttpRequest *request);
void api_list_results(void *userdata, HttpRequest *request);
void api_get_facts(void *userdata, HttpRequest *request);
void api_list_events(void *userdata, HttpRequest *request);
void api_validate(void *userdata, HttpRequest *request);
void api_reload(void *userdata, HttpRequest *request);
void api_disable(void *userdata, HttpRequest *request);
void api_enable(void *userdata, HttpRequest *request);
void api_list_triggers(void *userdata, HttpRequest *request);
void api_fire_trigger(void *userdata, HttpRequest *request);
void api_get_log_level(void *userdata, HttpRequest *request);
void api_put_log_level(void *userdata, HttpRequest *request);
