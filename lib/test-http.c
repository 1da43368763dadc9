/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-http.h"

#include <grp.h>

/* ---- Routes ---------------------------------------------------------------------------------------------------- */

static HttpRequest *deferred[4096];
static size_t n_deferred;
static uid_t last_uid;

static void handle_status(void *userdata, HttpRequest *request) {
        ASSERT_TRUE(userdata == deferred);
        last_uid = http_request_peer(request)->uid;
        http_answer_json(
                request, 200, json_pack("{s:b, s:s}", "fine", 1, "part", http_request_part(request)));
}

static void handle_echo(void *userdata, HttpRequest *request) {
        const json_t *body = http_request_body(request);

        http_answer_json(request, 200, body ? json_deep_copy(body) : json_null());
}

static void handle_part(void *userdata, HttpRequest *request) {
        http_answer_json(request, 200, json_pack("{s:s}", "id", http_request_part(request)));
}

static void handle_results(void *userdata, HttpRequest *request) {
        http_answer_json(request, 200, json_pack("{s:s}", "results", http_request_part(request)));
}

static void handle_query(void *userdata, HttpRequest *request) {
        bool follow = false;
        uint64_t limit = 100;

        if (http_request_query_bool(request, "follow", &follow) < 0)
                return;
        if (http_request_query_u64(request, "limit", 1, 1000, &limit) < 0)
                return;
        http_answer_json(request, 200,
                json_pack("{s:b, s:I, s:s?}", "follow", follow, "limit", (json_int_t) limit, "match",
                        http_request_query(request, "match")));
}

static void handle_defer(void *userdata, HttpRequest *request) {
        ASSERT_TRUE(n_deferred < ELEMENTSOF(deferred));
        deferred[n_deferred++] = request;
}

static void handle_text(void *userdata, HttpRequest *request) {
        http_answer_text(request, 200, "text/plain; version=0.0.4", "up 1\n", 5);
}

static void handle_created(void *userdata, HttpRequest *request) {
        http_answer_created(request, 202, "/v1/runs/7", json_pack("{s:i}", "run", 7));
}

static void handle_problem(void *userdata, HttpRequest *request) {
        http_answer_problem_with(
                request, 422, "invalid-roles", "diagnostics", json_array(), "bad \xff bytes: %s", "x");
}

static void handle_null(void *userdata, HttpRequest *request) {
        http_answer_json(request, 200, NULL);
}

static void handle_big(void *userdata, HttpRequest *request) {
        char *text = malloc(MIB(1) + 1);

        ASSERT_NOT_NULL(text);
        memset(text, 'x', MIB(1));
        text[MIB(1)] = '\0';
        http_answer_json(request, 200, json_pack("{s:s}", "big", text));
        free(text);
}

static const char *const query_parameters[] = { "follow", "limit", "match", NULL };

static const HttpRoute routes[] = {
        { .method = "GET", .path = "/v1/status", .handle = handle_status },
        { .method = "POST", .path = "/v1/echo", .write = true, .handle = handle_echo },
        { .method = "GET", .path = "/v1/states", .handle = handle_query, .parameters = query_parameters },
        { .method = "GET", .path = "/v1/states/{id}", .handle = handle_part },
        { .method = "GET", .path = "/v1/states/special", .handle = handle_text },
        { .method = "GET", .path = "/v1/runs/{run}", .handle = handle_part },
        { .method = "DELETE", .path = "/v1/runs/{run}", .write = true, .handle = handle_part },
        { .method = "GET", .path = "/v1/runs/{run}/results", .handle = handle_results },
        { .method = "POST", .path = "/v1/runs", .write = true, .handle = handle_created },
        { .method = "POST", .path = "/v1/reload", .write = true, .handle = handle_defer },
        { .method = "GET", .path = "/v1/slow", .handle = handle_defer },
        { .method = "GET", .path = "/metrics", .handle = handle_text },
        { .method = "GET", .path = "/v1/problem", .handle = handle_problem },
        { .method = "GET", .path = "/v1/null", .handle = handle_null },
        { .method = "GET", .path = "/v1/big", .handle = handle_big },
};

static HttpServerOptions options = {
        .routes = routes,
        .n_routes = ELEMENTSOF(routes),
        .reader_gid = 4242,
        .writer_gid = 4343,
        .userdata = deferred,
};

static int setup(_unused_ void **state) {
        n_deferred = 0;
        server_start(&options);
        return 0;
}

static int setup_impatient(void **state) {
        HttpServerOptions impatient = options;

        impatient.idle_sec = 1;
        n_deferred = 0;
        server_start(&impatient);
        return 0;
}

static int teardown(_unused_ void **state) {
        server_stop();
        return 0;
}

/* ---- Tests ----------------------------------------------------------------------------------------------------- */

TEST(requests_and_their_answers) {
        static const struct {
                const char *request;
                int status;
                const char *body; /* a part of it */
        } cases[] = {
                { GET("/v1/status"), 200, "{\"fine\":true,\"part\":\"\"}\n" },
                { GET("/v1/stat%75s"), 200, "\"fine\"" },
                { GET("http://localhost/v1/status"), 200, "\"fine\"" },
                { "GET /v1/status HTTP/1.0\r\n\r\n", 200, "\"fine\"" },
                { GET("/v1/states/file:%2Fetc%2Fmotd"), 200, "\"file:/etc/motd\"" },
                { GET("/v1/states/file:/etc/motd"), 200, "\"file:/etc/motd\"" },
                { GET("/v1/states/package:g++"), 200, "\"package:g++\"" },
                { GET("/v1/states/m%C3%B6tley"), 200, "\"m\xc3\xb6tley\"" },
                { GET("/v1/states/special"), 200, "up 1\n" },
                { GET("/v1/runs/7"), 200, "\"id\":\"7\"" },
                { GET("/v1/runs/7/results"), 200, "\"results\":\"7\"" },
                { GET("/v1/states"), 200, "\"limit\":100" },
                { GET("/v1/states?"), 200, "\"limit\":100" },
                { GET("/v1/states?limit=5&follow&match=a+b%2B%26"), 200,
                        "{\"follow\":true,\"limit\":5,\"match\":\"a b+&\"}" },
                { GET("/v1/states?limit=5&limit=6&follow=0"), 200, "{\"follow\":false,\"limit\":6" },
                { GET("/metrics"), 200, "up 1\n" },
                { DELETE("/v1/runs/8"), 200, "\"8\"" },
                { "POST /v1/runs" HOST "Content-Length: 0\r\n\r\n", 202, "{\"run\":7}\n" },
                { "POST /v1/runs" HOST "\r\n", 202, "{\"run\":7}\n" },
                { "POST /v1/echo" HOST "Content-Length: 7\r\n\r\n{\"a\":1}", 200, "{\"a\":1}\n" },
                { "POST /v1/echo" HOST "Content-Length: 9\r\n\r\n {\"a\":1}\n", 200, "{\"a\":1}\n" },
                { "POST /v1/echo" HOST "Content-Length: 0\r\n\r\n", 200, "null\n" },
                { "POST /v1/echo" HOST
                  "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
                        200, "{\"a\":1}\n" },

                { GET("/"), 404, "urn:agentd:not-found" },
                { GET("/v1/statu"), 404, "did you mean '/v1/status'?" },
                { GET("/v1/status/"), 404, "not-found" },
                { GET("//v1/status"), 404, "not-found" },
                { GET("/v1/runs/"), 404, "not-found" },
                { GET("/v1/runs/7%2F8/results"), 200, "\"results\":\"7/8\"" },
                { GET("/v1/../etc/passwd"), 404, "not-found" },
                { "POST /v1/status" HOST "\r\n", 405, "method-not-allowed" },
                { "OPTIONS /v1/status" HOST "\r\n", 405, "allowed are GET, HEAD" },
                { "BREW /v1/runs/7" HOST "\r\n", 405, "allowed are GET, HEAD, DELETE" },
                { "POST /v1/states/special" HOST "\r\n", 405, "method-not-allowed" },
                { "get /v1/status" HOST "\r\n", 405, "method-not-allowed" },
                { "OPTIONS *" HOST "\r\n", 400, "must be a path" },
                { GET("v1/status"), 400, "must be a path" },
                { GET("/v1/states/%"), 400, "two hexadecimal digits" },
                { GET("/v1/states/%zz"), 400, "two hexadecimal digits" },
                { GET("/v1/states/%00"), 400, "control characters" },
                { GET("/v1/states/%0a"), 400, "control characters" },
                { GET("/v1/states/%ff"), 400, "UTF-8" },
                { GET("/v1/states/\xff"), 400, "UTF-8" },
                { GET("/v1/states?limt=5"), 400, "did you mean 'limit'?" },
                { GET("/v1/states?xyzzyx"), 400, "unknown parameter 'xyzzyx'\"" },
                { GET("/v1/status?limit=5"), 400, "unknown parameter 'limit'" },
                { GET("/v1/states?match=%"), 400, "two hexadecimal digits" },
                { GET("/v1/states?match=%00"), 400, "control characters" },
                { GET("/v1/states?a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a"), 400,
                        "more than 32" },
                { GET("/v1/states?follow=maybe"), 400, "must be true or false, not 'maybe'" },
                { GET("/v1/states?limit=0"), 400, "from 1 to 1000, not '0'" },
                { GET("/v1/states?limit=1001"), 400, "from 1 to 1000" },
                { GET("/v1/states?limit="), 400, "from 1 to 1000" },
                { GET("/v1/states?limit=-1"), 400, "from 1 to 1000" },
                { GET("/v1/states?limit=%205"), 400, "from 1 to 1000" },
                { GET("/v1/states?limit=5x"), 400, "from 1 to 1000" },
                { GET("/v1/states?limit=18446744073709551617"), 400, "from 1 to 1000" },
                { "POST /v1/echo" HOST "Content-Length: 1\r\n\r\n{", 400, "must be a JSON object; line 1" },
                { "POST /v1/echo" HOST "Content-Length: 2\r\n\r\n[]", 400, "must be a JSON object" },
                { "POST /v1/echo" HOST "Content-Length: 4\r\n\r\ntrue", 400, "must be a JSON object" },
                { "POST /v1/echo" HOST "Content-Length: 1\r\n\r\n ", 400, "must be a JSON object" },
                { "POST /v1/echo" HOST "Content-Length: 13\r\n\r\n{\"a\":1,\"a\":2}", 400, "duplicate" },
                { "POST /v1/echo" HOST "Content-Length: 10\r\n\r\n{\"a\":\"\xff\xfe\"}", 400,
                        "must be a JSON object" },
                { "POST /v1/echo" HOST "Content-Length: 14\r\n\r\n{\"a\":\"\\u0000\"}", 400,
                        "must be a JSON" },
                { "POST /v1/echo" HOST "Content-Length: 8\r\n\r\n{\"a\":1}x", 400, "must be a JSON object" },
                { "POST /v1/echo" HOST "Content-Length: 3\r\n\r\n{}\0", 400, "must be a JSON object" },
                { GET("/v1/problem"), 422, "bad \xef\xbf\xbd bytes: x" },
                { GET("/v1/null"), 500, "out of memory" },
        };

        FOREACH_ELEMENT(c, cases) {
                size_t size = strlen(c->request);
                _client_ client = client_new();
                _answer_ a = {};

                /* The one with a NUL at its end. */
                if (endswith(c->request, "\r\n\r\n{}"))
                        size++;
                client_send(&client, c->request, size);
                a = read_answer(&client);
                if (a.status != c->status || !strstr(a.body, c->body))
                        fail_msg("'%s' is answered with %i %s", c->request, a.status, a.body);
                ASSERT_EQ(a.body[a.size - 1], '\n');
                if (a.status >= 400) {
                        json_t *problem = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);

                        ASSERT_STREQ(HEADER(&a, "Content-Type"), "application/problem+json");
                        ASSERT_NOT_NULL(problem);
                        ASSERT_EQ(json_integer_value(json_object_get(problem, "status")), a.status);
                        ASSERT_NOT_NULL(json_string_value(json_object_get(problem, "title")));
                        ASSERT_NOT_NULL(json_string_value(json_object_get(problem, "detail")));
                        ASSERT_NOT_NULL(startswith(
                                json_string_value(json_object_get(problem, "type")), "urn:agentd:"));
                        json_decref(problem);
                }
        }
        ASSERT_EQ(http_server_requests(server), ELEMENTSOF(cases));
        ASSERT_EQ(last_uid, getuid());
}

TEST(headers) {
        _client_ c = client_new();
        _answer_ a = {}, b = {}, head = {}, changed = {};
        char text[256];

        SAY(&c, GET("/v1/status"));
        a = read_answer(&c);
        ASSERT_STREQ(HEADER(&a, "Content-Type"), "application/json");
        ASSERT_STREQ(HEADER(&a, "Cache-Control"), "no-cache");
        ASSERT_NOT_NULL(HEADER(&a, "ETag"));

        (void) snprintf(
                text, sizeof(text), "GET /v1/status" HOST "If-None-Match: %s\r\n\r\n", HEADER(&a, "ETag"));
        SAY(&c, text);
        b = read_answer(&c);
        ASSERT_EQ(b.status, 304);
        ASSERT_STREQ(HEADER(&b, "ETag"), HEADER(&a, "ETag"));

        SAY(&c, "GET /v1/status" HOST "If-None-Match: \"0123\"\r\n\r\n");
        changed = read_answer(&c);
        ASSERT_EQ(changed.status, 200);

        SAY(&c, "HEAD /v1/status" HOST "\r\n");
        WAIT_FOR(poll_answer(&c, true, &head));
        ASSERT_EQ(head.status, 200);
        ASSERT_STREQ(HEADER(&head, "ETag"), HEADER(&a, "ETag"));
        ASSERT_STREQ(HEADER(&head, "Content-Length"), HEADER(&a, "Content-Length"));

        answer_done(&b);
        SAY(&c, "PUT /v1/runs/7" HOST "\r\n");
        b = read_answer(&c);
        ASSERT_EQ(b.status, 405);
        ASSERT_STREQ(HEADER(&b, "Allow"), "GET, HEAD, DELETE");

        answer_done(&b);
        SAY(&c, "POST /v1/runs" HOST "\r\n");
        b = read_answer(&c);
        ASSERT_STREQ(HEADER(&b, "Location"), "/v1/runs/7");
        ASSERT_STREQ(HEADER(&b, "Cache-Control"), "no-store");
        ASSERT_NULL(HEADER(&b, "ETag"));
        ASSERT_EQ(c.size, 0);
        ASSERT_EQ(http_server_connections(server), 1);
}

TEST(garbage) {
        static const struct {
                const char *text;
                size_t size;
        } cases[] = {
#define BYTES(text) { text, sizeof(text) - 1 }
                BYTES("\r\n\r\n\r\n"),
                BYTES("\0\0\0\0\0\0\r\n\r\n"),
                BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
                BYTES("GET\r\n\r\n"),
                BYTES("GET \r\n\r\n"),
                BYTES("GET /v1/status\r\n\r\n"),
                BYTES("GET /v1/status HTTP/9.9\r\n\r\n"),
                BYTES("GET /v1/st\0tus HTTP/1.1\r\nHost: x\r\n\r\n"),
                BYTES("GET /v1/status HTTP/1.1\r\n\r\n"),
                BYTES("GET /v1/status HTTP/1.1\r\nHost\r\n\r\n"),
                BYTES("GET /v1/status HTTP/1.1\r\n: x\r\nHost: x\r\n\r\n"),
                BYTES("GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
                BYTES("GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"),
                BYTES("GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"),
                BYTES("POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"),
                BYTES("POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "ffffffffffffffffff\r\n\r\n"),
                BYTES("POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n{}"),
#undef BYTES
        };

        /* Whatever it is taken for, it leaves the server as it was. */
        FOREACH_ELEMENT(c, cases) {
                _client_ client = client_new();

                client_send(&client, c->text, c->size);
                ASSERT_OK(shutdown(client.fd, SHUT_WR));
                settle(); /* and does not go round in circles */
                client_done(&client);
                WAIT_FOR(http_server_connections(server) == 0);
        }

        for (unsigned i = 0; i < 256; i++) {
                _client_ client = client_new();
                char bytes[512];

                for (size_t k = 0; k < sizeof(bytes); k++)
                        bytes[k] = (char) (random() & 0xff);
                client_send(&client, bytes, sizeof(bytes));
        }
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(huge_headers) {
        _cleanup_free_ char *text = NULL;
        _client_ c = client_new();
        size_t size = MIB(1);

        text = malloc(size);
        ASSERT_NOT_NULL(text);
        memset(text, 'a', size);
        memcpy(text, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ", 38);
        client_send(&c, text, size);
        WAIT_FOR((client_receive(&c), c.eof));
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(pipelined_requests_are_answered_in_order) {
        enum { N = 500 };
        _client_ c = client_new();
        char text[128], expected[64];

        for (int i = 0; i < N; i++) {
                (void) snprintf(text, sizeof(text), "GET /v1/states/%i" HOST "\r\n", i);
                SAY(&c, text);
        }
        for (int i = 0; i < N; i++) {
                _answer_ a = read_answer(&c);

                (void) snprintf(expected, sizeof(expected), "{\"id\":\"%i\"}\n", i);
                ASSERT_STREQ(a.body, expected);
        }
        ASSERT_EQ(http_server_connections(server), 1);
}

TEST(half_a_request_then_the_rest) {
        _client_ c = client_new();
        _answer_ a = {};
        const char *text = "POST /v1/echo" HOST "Content-Length: 7\r\n\r\n{\"a\":1}";

        for (; *text; text++) {
                client_send(&c, text, 1);
                settle();
        }
        a = read_answer(&c);
        ASSERT_STREQ(a.body, "{\"a\":1}\n");
}

static void send_body(Client *c, bool chunked, size_t size) {
        _cleanup_free_ char *body = malloc(size + 64);
        char head[256];

        ASSERT_NOT_NULL(body);
        memset(body, ' ', size);
        memcpy(body, "{\"a\":1}", 7);
        if (!chunked) {
                (void) snprintf(
                        head, sizeof(head), "POST /v1/echo" HOST "Content-Length: %zu\r\n\r\n", size);
                SAY(c, head);
                client_send(c, body, size);
                return;
        }
        SAY(c, "POST /v1/echo" HOST "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t at = 0; at < size; at += 4000) {
                (void) snprintf(head, sizeof(head), "%zx\r\n", MIN((size_t) 4000, size - at));
                SAY(c, head);
                client_send(c, body + at, MIN((size_t) 4000, size - at));
                SAY(c, "\r\n");
        }
        SAY(c, "0\r\n\r\n");
}

TEST(bodies_have_a_limit) {
        static const struct {
                bool chunked;
                size_t size;
                int status;
        } cases[] = {
                { false, HTTP_BODY_MAX, 200 },
                { true, HTTP_BODY_MAX, 200 },
                { false, HTTP_BODY_MAX + 1, 413 },
                { true, HTTP_BODY_MAX + 1, 413 },
                { false, MIB(4), 413 },
                { true, MIB(4), 413 },
        };

        FOREACH_ELEMENT(c, cases) {
                _client_ client = client_new();
                _answer_ a = {};

                send_body(&client, c->chunked, c->size);
                a = read_answer(&client);
                ASSERT_EQ(a.status, c->status);
                if (c->status == 413)
                        ASSERT_NOT_NULL(strstr(a.body, "urn:agentd:too-large"));
        }
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(who_asks_whether_to_send_a_body_is_told) {
        _client_ c = client_new();
        _answer_ a = {}, b = {};

        SAY(&c, "POST /v1/echo" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        a = read_answer(&c);
        ASSERT_EQ(a.status, 100);
        SAY(&c, "{}");
        b = read_answer(&c);
        ASSERT_STREQ(b.body, "{}\n");
}

TEST(answers_may_come_later) {
        _client_ c = client_new(), d = client_new();
        _answer_ a = {}, b = {}, other = {};

        SAY(&c, "POST /v1/reload" HOST "Content-Length: 7\r\n\r\n{\"a\":1}" GET("/v1/status"));
        SAY(&d, GET("/v1/slow"));
        WAIT_FOR(n_deferred == 2);
        other = request(GET("/v1/status"));
        ASSERT_EQ(other.status, 200);

        ASSERT_EQ(json_integer_value(json_object_get(http_request_body(deferred[0]), "a")), 1);
        http_answer_problem(deferred[1], 503, "not-ready", "no roles have been loaded yet");
        http_answer_json(deferred[0], 200, json_pack("{s:i}", "n_roles", 3));
        a = read_answer(&c);
        ASSERT_STREQ(a.body, "{\"n_roles\":3}\n");
        b = read_answer(&c);
        ASSERT_EQ(b.status, 200);
        answer_done(&b);
        b = read_answer(&d);
        ASSERT_EQ(b.status, 503);
}

TEST(clients_may_go_before_they_are_answered) {
        {
                _client_ c = client_new(), d = client_new(), e = client_new();

                SAY(&c, "POST /v1/reload" HOST "Content-Length: 7\r\n\r\n{\"a\":1}");
                WAIT_FOR(n_deferred == 1);
                SAY(&d, GET("/v1/slow"));
                WAIT_FOR(n_deferred == 2);
                SAY(&e, GET("/v1/slow") GET("/v1/slow"));
                WAIT_FOR(n_deferred == 3);
                ASSERT_EQ(http_server_connections(server), 3);
        }
        /* This one is answered before anybody notices. */
        http_answer_json(deferred[1], 200, json_object());
        WAIT_FOR(http_server_connections(server) == 0);

        ASSERT_EQ(json_integer_value(json_object_get(http_request_body(deferred[0]), "a")), 1);
        ASSERT_EQ(http_request_peer(deferred[0])->uid, getuid());
        http_answer_json(deferred[0], 200, json_object());
        http_answer_problem(deferred[2], 500, "internal", "nobody hears it");
}

TEST(who_has_shut_one_direction_still_gets_the_answer) {
        _client_ c = client_new();
        _answer_ a = {};

        SAY(&c, GET("/v1/slow"));
        ASSERT_OK(shutdown(c.fd, SHUT_WR));
        WAIT_FOR(n_deferred == 1);
        settle();
        ASSERT_EQ(http_server_connections(server), 1);
        http_answer_json(deferred[0], 200, json_object());
        a = read_answer(&c);
        ASSERT_STREQ(a.body, "{}\n");
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(large_answers) {
        _client_ c = client_new();
        _answer_ a = {};

        SAY(&c, GET("/v1/big"));
        a = read_answer(&c);
        ASSERT_EQ(a.size, MIB(1) + strlen("{\"big\":\"\"}\n"));
}

TEST(idle_connections_end_but_not_those_that_wait_for_an_answer) {
        _client_ idle = client_new(), half = client_new(), kept = client_new(), waiting = client_new(),
                 stuck = client_new();
        _answer_ a = {}, b = {};

        SAY(&waiting, GET("/v1/slow"));
        SAY(&half, "GET /v1/status HTTP/1.1\r\nHo");
        SAY(&kept, GET("/v1/status"));
        SAY(&stuck, GET("/v1/big")); /* and does not read it */
        a = read_answer(&kept);
        ASSERT_EQ(http_server_connections(server), 5);

        WAIT_FOR(http_server_connections(server) == 1);
        WAIT_FOR((client_receive(&idle), idle.eof));
        WAIT_FOR((client_receive(&half), half.eof));
        WAIT_FOR((client_receive(&kept), kept.eof));

        http_answer_json(deferred[0], 200, json_object());
        b = read_answer(&waiting);
        ASSERT_EQ(b.status, 200);
}

TEST(nothing_wakes_an_idle_server) {
        usec_t until;
        sd_event_source *source = NULL;
        unsigned n = 0;

        {
                _client_ c = client_new(), d = client_new();
                _answer_ a = {};

                SAY(&c, GET("/v1/slow"));
                SAY(&d, GET("/v1/status"));
                a = read_answer(&d);
                WAIT_FOR(n_deferred == 1);
        }
        WAIT_FOR(http_server_connections(server) == 0);
        http_answer_json(deferred[0], 200, json_object());
        settle();

        /* Longer than the timeout of connections: no timer may be left. */
        ASSERT_TRUE(sd_event_add_time_relative(
                            event, &source, CLOCK_MONOTONIC, 2500 * USEC_PER_MSEC, 1, NULL, NULL) >= 0);
        ASSERT_TRUE(sd_event_source_set_enabled(source, SD_EVENT_OFF) >= 0);
        sd_event_source_unref(source);
        until = now_usec(CLOCK_MONOTONIC) + 2500 * USEC_PER_MSEC;
        while (now_usec(CLOCK_MONOTONIC) < until)
                if (sd_event_run(event, until - MIN(until, now_usec(CLOCK_MONOTONIC))) > 0)
                        n++;
        ASSERT_EQ(n, 0);
}

/* ---- Rights ---------------------------------------------------------------------------------------------------- */

TEST(rights) {
        static const gid_t reader[] = { 7, 4242 }, writer[] = { 4343, 7 }, both[] = { 4242, 4343 },
                           none[] = { 7, (gid_t) -1 };
        static const struct {
                uid_t uid;
                gid_t gid;
                const gid_t *groups;
                size_t n;
                HttpRight right;
        } cases[] = {
                { 0, 0, NULL, 0, HTTP_WRITE },
                { 0, 7, none, 2, HTTP_WRITE },
                { 7, 4242, NULL, 0, HTTP_READ },
                { 7, 7, reader, 2, HTTP_READ },
                { 7, 4343, NULL, 0, HTTP_WRITE },
                { 7, 7, writer, 2, HTTP_WRITE },
                { 7, 7, both, 2, HTTP_WRITE },
                { 7, 4242, writer, 2, HTTP_WRITE },
                { 7, 7, NULL, 0, HTTP_NOTHING },
                { 7, 0, NULL, 0, HTTP_NOTHING },
                { 7, 7, none, 2, HTTP_NOTHING },
                { 7, 7, reader, 1, HTTP_NOTHING }, /* one of them only */
                { 4242, 7, NULL, 0, HTTP_NOTHING },
        };
        static const HttpServerOptions no_groups = { .reader_gid = (gid_t) -1, .writer_gid = (gid_t) -1 };

        FOREACH_ELEMENT(c, cases) {
                ASSERT_EQ(http_right_of(&options, c->uid, c->gid, c->groups, c->n), c->right);
                ASSERT_EQ(http_right_of(&no_groups, c->uid, c->gid, c->groups, c->n),
                        c->uid == 0 ? HTTP_WRITE : HTTP_NOTHING);
        }
        ASSERT_EQ(http_right_of(&no_groups, 7, (gid_t) -1, NULL, 0), HTTP_NOTHING);
}

/* A child of other ids opens n connections, says something on each, and hands on what it hears on the last. */
static Answer request_as(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups, unsigned n,
        const char *text, size_t size) {
        int fds[2], status;
        Client c = {};
        Answer a;
        pid_t pid;

        ASSERT_OK(pipe2(fds, O_CLOEXEC));
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                int fd = -EBADF;
                char buffer[4096];
                ssize_t got;

                if (setgroups(n_groups, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
                        setresuid(uid, uid, uid) < 0)
                        _exit(1);
                for (unsigned i = 0; i < n; i++) {
                        fd = socket(AF_UNIX, SOCK_STREAM, 0);
                        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                                _exit(2);
                }
                (void) send(fd, text, size, MSG_NOSIGNAL);
                while ((got = read(fd, buffer, sizeof(buffer))) > 0)
                        if (write_full(fds[1], buffer, (size_t) got) < 0)
                                _exit(3);
                _exit(got < 0 ? 4 : 0);
        }
        close(fds[1]);
        ASSERT_OK(fcntl(fds[0], F_SETFL, O_NONBLOCK));

        c.in = calloc(1, KIB(64));
        ASSERT_NOT_NULL(c.in);
        for (;;) {
                ssize_t got = read(fds[0], c.in + c.size, KIB(64) - c.size - 1);

                if (got == 0)
                        break;
                if (got > 0)
                        c.size += (size_t) got;
                turn();
        }
        close(fds[0]);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        ASSERT_TRUE(take_answer(&c, false, &a));
        ASSERT_EQ(c.size, 0);
        free(c.in);
        return a;
}

#define CLOSING(method, target) method " " target HOST "Connection: close\r\n\r\n"

TEST(peers_are_looked_at) {
        static const gid_t reader[] = { 7, 4242 }, none[] = { 7 };
        gid_t many[300];
        static const struct {
                uid_t uid;
                gid_t gid;
                const gid_t *groups;
                size_t n;
                const char *text;
                int status;
        } cases[] = {
                { 65534, 65534, NULL, 0, CLOSING("GET", "/v1/status"), 403 },
                { 65534, 65534, none, 1, CLOSING("GET", "/v1/status"), 403 },
                { 65534, 65534, none, 1, "rubbish", 403 },
                { 65534, 0, NULL, 0, CLOSING("GET", "/v1/status"), 403 },
                { 65534, 65534, reader, 2, CLOSING("GET", "/v1/status"), 200 },
                { 65534, 65534, reader, 2, CLOSING("POST", "/v1/runs"), 403 },
                { 65534, 65534, reader, 2, CLOSING("POST", "/v1/states"), 405 },
                { 65534, 4242, NULL, 0, CLOSING("GET", "/v1/status"), 200 },
                { 65534, 4242, NULL, 0, CLOSING("DELETE", "/v1/runs/7"), 403 },
                { 65534, 4343, NULL, 0, CLOSING("POST", "/v1/runs"), 202 },
                { 0, 0, NULL, 0, CLOSING("POST", "/v1/runs"), 202 },
        };

        if (getuid() != 0)
                skip();
        FOREACH_ELEMENT(c, cases) {
                _answer_ a = request_as(c->uid, c->gid, c->groups, c->n, 1, c->text, strlen(c->text));

                if (a.status != c->status)
                        fail_msg("%u %u: '%s' is answered with %i", c->uid, c->gid, c->text, a.status);
                if (a.status == 403)
                        ASSERT_NOT_NULL(strstr(a.body, "urn:agentd:forbidden"));
        }

        /* More groups than have room at first. */
        for (size_t i = 0; i < ELEMENTSOF(many); i++)
                many[i] = 10000 + (gid_t) i;
        many[299] = 4242;
        {
                _answer_ a = request_as(65534, 65534, many, 300, 1, CLOSING("GET", "/v1/status"),
                        strlen(CLOSING("GET", "/v1/status")));
                ASSERT_EQ(a.status, 200);
        }

        /* It sends more than anybody reads, and gets its answer all the same. */
        {
                _cleanup_free_ char *much = calloc(1, MIB(1));
                _answer_ a = {};

                ASSERT_NOT_NULL(much);
                a = request_as(65534, 65534, NULL, 0, 1, much, KIB(32));
                ASSERT_EQ(a.status, 403);
        }
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(one_user_cannot_take_all_connections) {
        static const gid_t reader[] = { 4242 };

        if (getuid() != 0)
                skip();
        {
                _answer_ a = request_as(65534, 65534, reader, 1, HTTP_CONNECTIONS_USER,
                        CLOSING("GET", "/v1/status"), strlen(CLOSING("GET", "/v1/status")));
                ASSERT_EQ(a.status, 200);
        }
        WAIT_FOR(http_server_connections(server) == 0);
        {
                _answer_ a = request_as(65534, 65534, reader, 1, HTTP_CONNECTIONS_USER + 1,
                        CLOSING("GET", "/v1/status"), strlen(CLOSING("GET", "/v1/status")));
                ASSERT_EQ(a.status, 429);
                ASSERT_NOT_NULL(strstr(a.body, "urn:agentd:too-many"));
        }
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(all_users_together_leave_room_for_root) {
        pid_t pids[8];
        _answer_ a = {};

        if (getuid() != 0)
                skip();
        FOREACH_ELEMENT(pid, pids) {
                *pid = fork();
                ASSERT_TRUE(*pid >= 0);
                if (*pid == 0) {
                        uid_t uid = 60000 + (uid_t) (pid - pids);

                        if (setgroups(0, NULL) < 0 || setresgid(4242, 4242, 4242) < 0 ||
                                setresuid(uid, uid, uid) < 0)
                                _exit(1);
                        for (unsigned i = 0; i < HTTP_CONNECTIONS_USER; i++) {
                                int fd = socket(AF_UNIX, SOCK_STREAM, 0);

                                if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                                        _exit(2);
                        }
                        for (;;)
                                pause();
                }
        }
        WAIT_FOR(http_server_connections(server) == HTTP_CONNECTIONS_MAX - HTTP_CONNECTIONS_ROOT);
        a = request(GET("/v1/status"));
        ASSERT_EQ(a.status, 200);
        FOREACH_ELEMENT(pid, pids) {
                ASSERT_OK(kill(*pid, SIGKILL));
                ASSERT_EQ(waitpid(*pid, NULL, 0), *pid);
        }
        WAIT_FOR(http_server_connections(server) == 0);
}

/* ---- Many ------------------------------------------------------------------------------------------------------ */

TEST(thousands_of_connections_at_once) {
        enum { N = 2000 };
        _cleanup_free_ Client *clients = calloc(N, sizeof(*clients));
        unsigned most = 0;

        ASSERT_NOT_NULL(clients);
        for (size_t i = 0; i < N; i++) {
                clients[i] = client_new();
                ASSERT_EQ(send(clients[i].fd, CLOSING("GET", "/v1/status"),
                                  strlen(CLOSING("GET", "/v1/status")), MSG_NOSIGNAL),
                        strlen(CLOSING("GET", "/v1/status")));
        }
        for (size_t i = 0; i < N; i++) {
                _answer_ a = {};

                WAIT_FOR((most = MAX(most, http_server_connections(server)),
                        poll_answer(&clients[i], false, &a)));
                ASSERT_EQ(a.status, 200);
                client_done(&clients[i]);
        }
        ASSERT_TRUE(most <= HTTP_CONNECTIONS_MAX);
        WAIT_FOR(http_server_connections(server) == 0);
        ASSERT_EQ(http_server_requests(server), N);
}

TEST(those_beyond_the_limit_wait_for_their_turn) {
        enum { N = HTTP_CONNECTIONS_MAX + 1 };
        _cleanup_free_ Client *clients = calloc(N, sizeof(*clients));
        _answer_ a = {};

        ASSERT_NOT_NULL(clients);
        for (size_t i = 0; i < N; i++)
                clients[i] = client_new();
        SAY(&clients[N - 1], GET("/v1/status"));
        WAIT_FOR(http_server_connections(server) == HTTP_CONNECTIONS_MAX);
        settle();
        ASSERT_FALSE(poll_answer(&clients[N - 1], false, &a));
        client_done(&clients[0]);
        a = read_answer(&clients[N - 1]);
        ASSERT_EQ(a.status, 200);
        for (size_t i = 1; i < N; i++)
                client_done(&clients[i]);
}

TEST(many_requests_wait_at_once) {
        enum { N = 500 };
        _cleanup_free_ Client *clients = calloc(N, sizeof(*clients));

        ASSERT_NOT_NULL(clients);
        for (size_t i = 0; i < N; i++) {
                clients[i] = client_new();
                SAY(&clients[i], GET("/v1/slow"));
        }
        WAIT_FOR(n_deferred == N);
        for (size_t i = 0; i < N; i++)
                http_answer_json(deferred[i], 200, json_object());
        for (size_t i = 0; i < N; i++) {
                _answer_ a = read_answer(&clients[i]);

                ASSERT_EQ(a.status, 200);
                client_done(&clients[i]);
        }
}

TEST(the_server_is_freed_in_the_middle) {
        Client clients[8];

        FOREACH_ELEMENT(c, clients)
                *c = client_new();
        SAY(&clients[0], GET("/v1/slow") GET("/v1/slow"));
        SAY(&clients[1], "POST /v1/reload" HOST "Content-Length: 7\r\n\r\n{\"a\":1}");
        SAY(&clients[2], "POST /v1/echo" HOST "Content-Length: 7\r\n\r\n{\"a\"");
        SAY(&clients[3], "GET /v1/sta");
        SAY(&clients[4], GET("/v1/big"));
        SAY(&clients[5], GET("/v1/slow"));
        send_body(&clients[6], false, HTTP_BODY_MAX + 1);
        SAY(&clients[7], GET("/v1/slow"));
        WAIT_FOR(n_deferred == 4);
        client_done(&clients[5]);
        settle();
        client_done(&clients[7]);
        http_answer_json(deferred[0], 200, json_object());

        server = http_server_free(server);
        FOREACH_ELEMENT(c, clients)
                if (c->fd >= 0) {
                        usec_t until = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

                        while (!c->eof && now_usec(CLOCK_MONOTONIC) < until)
                                (void) client_receive(c);
                        ASSERT_TRUE(c->eof);
                        client_done(c);
                }
}

#define RUN_SERVED(name)    cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define RUN_IMPATIENT(name) cmocka_unit_test_setup_teardown(test_##name, setup_impatient, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN_SERVED(requests_and_their_answers),
                RUN_SERVED(headers),
                RUN_SERVED(garbage),
                RUN_SERVED(huge_headers),
                RUN_SERVED(pipelined_requests_are_answered_in_order),
                RUN_SERVED(half_a_request_then_the_rest),
                RUN_SERVED(bodies_have_a_limit),
                RUN_SERVED(who_asks_whether_to_send_a_body_is_told),
                RUN_SERVED(answers_may_come_later),
                RUN_SERVED(clients_may_go_before_they_are_answered),
                RUN_SERVED(who_has_shut_one_direction_still_gets_the_answer),
                RUN_SERVED(large_answers),
                RUN_IMPATIENT(idle_connections_end_but_not_those_that_wait_for_an_answer),
                RUN_IMPATIENT(nothing_wakes_an_idle_server),
                RUN(rights),
                RUN_SERVED(peers_are_looked_at),
                RUN_SERVED(one_user_cannot_take_all_connections),
                RUN_SERVED(all_users_together_leave_room_for_root),
                RUN_SERVED(thousands_of_connections_at_once),
                RUN_SERVED(those_beyond_the_limit_wait_for_their_turn),
                RUN_SERVED(many_requests_wait_at_once),
                RUN_SERVED(the_server_is_freed_in_the_middle),
        };

        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
