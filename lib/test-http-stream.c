/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-http.h"

/* ---- Routes ---------------------------------------------------------------------------------------------------- */

typedef struct Told {
        HttpStream *stream;
        unsigned n_gone, n_drained;
        bool inside; /* of a call into the server: nothing may be told then */
        unsigned to_push;
        unsigned pushed;
        bool end_when_drained;
} Told;

static Told told[64];
static size_t n_told;
static HttpRequest *deferred;

static void on_gone(void *userdata, HttpStream *stream) {
        Told *t = userdata;

        ASSERT_FALSE(t->inside);
        ASSERT_TRUE(t->stream == stream);
        ASSERT_EQ(t->n_gone++, 0);
        t->stream = NULL;
}

static void push(Told *t, json_t *line) {
        t->inside = true;
        http_stream_push(t->stream, line);
        t->inside = false;
        json_decref(line);
}

static void push_number(Told *t, unsigned number) {
        push(t, json_pack("{s:i}", "n", (int) number));
}

static void on_drained(void *userdata, HttpStream *stream) {
        Told *t = userdata;

        ASSERT_FALSE(t->inside);
        ASSERT_TRUE(t->stream == stream);
        t->n_drained++;
        for (unsigned i = 0; i < 100 && t->pushed < t->to_push; i++)
                push_number(t, t->pushed++);
        if (t->end_when_drained && t->pushed == t->to_push)
                http_stream_end(TAKE_PTR(t->stream));
}

static const HttpStreamHandlers handlers = { .on_gone = on_gone, .on_drained = on_drained };
static const HttpStreamHandlers gone_only = { .on_gone = on_gone };

static void answer(HttpRequest *request, const HttpStreamHandlers *how) {
        Told *t = &told[n_told++];

        *t = (Told){ .inside = true };
        t->stream = http_answer_stream(request, how, t);
        t->inside = false;
        ASSERT_NOT_NULL(t->stream);
}

static void handle_events(void *userdata, HttpRequest *request) {
        answer(request, &handlers);
}

static void handle_quiet(void *userdata, HttpRequest *request) {
        answer(request, &gone_only);
}

static void handle_short(void *userdata, HttpRequest *request) {
        answer(request, &handlers);
        push_number(&told[n_told - 1], 1);
        http_stream_end(TAKE_PTR(told[n_told - 1].stream));
}

static void handle_later(void *userdata, HttpRequest *request) {
        deferred = request;
}

static const HttpRoute routes[] = {
        { .method = "GET", .path = "/v1/events", .handle = handle_events },
        { .method = "GET", .path = "/v1/quiet", .handle = handle_quiet },
        { .method = "GET", .path = "/v1/short", .handle = handle_short },
        { .method = "GET", .path = "/v1/later", .handle = handle_later },
};

static const HttpServerOptions options = {
        .routes = routes,
        .n_routes = ELEMENTSOF(routes),
        .reader_gid = 4242,
        .writer_gid = 4343,
        .idle_sec = 1,
};

static int setup(_unused_ void **state) {
        n_told = 0;
        deferred = NULL;
        server_start(&options);
        return 0;
}

static int teardown(_unused_ void **state) {
        server_stop();
        return 0;
}

/* A client with a stream that has begun. */
static Client follow(const char *request) {
        size_t n = n_told + 1;
        Client c = client_new();

        SAY(&c, request);
        WAIT_FOR(n_told == n);
        WAIT_FOR((client_receive(&c), c.in && strstr(c.in, "\r\n\r\n")));
        ASSERT_NOT_NULL(strstr(c.in, "application/x-ndjson"));
        return c;
}

/* A line as long as the socket's buffer is not, so that something waits. */
static json_t *long_line(size_t size) {
        _cleanup_free_ char *text = malloc(size + 1);

        ASSERT_NOT_NULL(text);
        memset(text, 'x', size);
        text[size] = '\0';
        return json_pack("{s:s}", "long", text);
}

/* ---- Tests ----------------------------------------------------------------------------------------------------- */

TEST(each_line_goes_out_at_once) {
        _client_ c = follow(GET("/v1/events"));
        _answer_ a = {};

        push_number(&told[0], 1);
        WAIT_FOR((client_receive(&c), strstr(c.in, "{\"n\":1}\n")));
        push_number(&told[0], 2);
        WAIT_FOR((client_receive(&c), strstr(c.in, "{\"n\":2}\n")));
        http_stream_end(TAKE_PTR(told[0].stream));
        a = read_answer(&c);
        ASSERT_EQ(a.status, 200);
        ASSERT_STREQ(a.body, "{\"n\":1}\n{\"n\":2}\n");
        WAIT_FOR((client_receive(&c), c.eof));
        WAIT_FOR(http_server_connections(server) == 0);
        ASSERT_EQ(told[0].n_gone, 0);
}

TEST(short_streams) {
        _client_ c = client_new(), d = client_new(), old = client_new();
        _answer_ a = {}, b = {};

        SAY(&c, GET("/v1/short"));
        a = read_answer(&c);
        ASSERT_STREQ(a.body, "{\"n\":1}\n");

        SAY(&d, "HEAD /v1/short" HOST "\r\n");
        WAIT_FOR(poll_answer(&d, true, &b));
        WAIT_FOR((client_receive(&d), d.eof));
        ASSERT_EQ(d.size, 0);

        SAY(&old, "GET /v1/short HTTP/1.0\r\n\r\n");
        WAIT_FOR((client_receive(&old), old.eof));
        ASSERT_NOT_NULL(strstr(old.in, "\r\n\r\n{\"n\":1}\n"));
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(head_of_an_endless_stream) {
        _client_ c = client_new();
        _answer_ a = {};

        SAY(&c, "HEAD /v1/events" HOST "\r\n");
        WAIT_FOR(poll_answer(&c, true, &a));
        WAIT_FOR(told[0].n_gone == 1);
}

TEST(streams_may_begin_later) {
        _client_ c = client_new();
        _answer_ a = {};

        SAY(&c, GET("/v1/later"));
        WAIT_FOR(deferred);
        answer(deferred, &handlers);
        push_number(&told[0], 1);
        http_stream_end(TAKE_PTR(told[0].stream));
        a = read_answer(&c);
        ASSERT_STREQ(a.body, "{\"n\":1}\n");
}

TEST(streams_for_clients_that_have_gone) {
        for (int i = 0; i < 3; i++) {
                deferred = NULL;
                {
                        _client_ c = client_new();

                        SAY(&c, GET("/v1/later"));
                        WAIT_FOR(deferred);
                }
                if (i > 0)
                        WAIT_FOR(http_server_connections(server) == 0);
                answer(deferred, &handlers);
                push_number(&told[i], 1);
                if (i == 2)
                        http_stream_end(TAKE_PTR(told[i].stream));
                else
                        WAIT_FOR(told[i].n_gone == 1);
                WAIT_FOR(http_server_connections(server) == 0);
        }
        settle();
        ASSERT_EQ(told[2].n_gone, 0);
}

TEST(many_lines_go_out_in_order_and_not_all_are_held_at_once) {
        enum { N = 100000 };
        _client_ c = follow(GET("/v1/events"));
        _answer_ a = {};
        const char *p;

        told[0].to_push = N;
        told[0].end_when_drained = true;
        push_number(&told[0], told[0].pushed++);
        a = read_answer(&c);
        p = a.body;
        for (unsigned i = 0; i < N; i++) {
                char line[32];

                (void) snprintf(line, sizeof(line), "{\"n\":%u}\n", i);
                p = startswith(p, line);
                ASSERT_NOT_NULL(p);
        }
        ASSERT_EQ(*p, '\0');
        ASSERT_TRUE(told[0].n_drained > N / 101);
        ASSERT_EQ(told[0].n_gone, 0);
}

TEST(drained_is_told_once_and_only_after_something_was_pushed) {
        _client_ c = follow(GET("/v1/events"));

        settle();
        ASSERT_EQ(told[0].n_drained, 0);
        push_number(&told[0], 1);
        push_number(&told[0], 2);
        WAIT_FOR(told[0].n_drained == 1);
        settle();
        ASSERT_EQ(told[0].n_drained, 1);

        /* With room for as much as the socket takes, but not for this. */
        push(&told[0], long_line(MIB(2)));
        settle();
        ASSERT_EQ(told[0].n_drained, 1);
        WAIT_FOR((client_receive(&c), told[0].n_drained == 2));
}

TEST(a_gone_reader_is_noticed_while_nothing_is_sent) {
        Client c = follow(GET("/v1/quiet"));

        push_number(&told[0], 1);
        settle();
        client_done(&c);
        WAIT_FOR(told[0].n_gone == 1);
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(a_gone_reader_is_noticed_while_something_waits) {
        Client c = follow(GET("/v1/events"));

        push(&told[0], long_line(MIB(2)));
        settle();
        client_done(&c);
        push_number(&told[0], 1);
        WAIT_FOR(told[0].n_gone == 1);
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(a_stream_that_ends_as_its_reader_goes) {
        Client c = follow(GET("/v1/events")), d = follow(GET("/v1/events"));

        client_done(&c);
        client_done(&d);
        http_stream_end(TAKE_PTR(told[0].stream));
        push(&told[1], long_line(MIB(2)));
        http_stream_end(TAKE_PTR(told[1].stream));
        WAIT_FOR(http_server_connections(server) == 0);
        settle();
        ASSERT_EQ(told[0].n_gone + told[1].n_gone, 0);
}

TEST(idle_and_stopped_readers_may_stay) {
        _client_ idle = follow(GET("/v1/quiet")), stopped = follow(GET("/v1/quiet")), other = client_new();

        push(&told[1], long_line(MIB(2)));
        /* As long as it takes for a connection that does nothing to end. */
        WAIT_FOR((client_receive(&other), other.eof));
        other.fd = safe_close(other.fd);
        client_done(&other);
        other = client_new();
        WAIT_FOR((client_receive(&other), other.eof));
        WAIT_FOR(http_server_connections(server) == 2);
        ASSERT_EQ(told[0].n_gone + told[1].n_gone, 0);
        push_number(&told[0], 7);
        WAIT_FOR((client_receive(&idle), strstr(idle.in, "{\"n\":7}")));
        WAIT_FOR((client_receive(&stopped), stopped.size > MIB(2)));
}

static void check_last_word(Client *c) {
        _answer_ a = {};
        json_t *problem;
        char *last;

        a = read_answer(c);
        ASSERT_TRUE(a.size > 0 && a.body[a.size - 1] == '\n');
        a.body[--a.size] = '\0';
        last = strrchr(a.body, '\n');
        last = last ? last + 1 : a.body;
        problem = json_loads(last, 0, NULL);
        ASSERT_NOT_NULL(problem);
        ASSERT_STREQ(json_string_value(json_object_get(problem, "type")), "urn:agentd:too-slow");
        json_decref(problem);

        /* The lines before it are whole. */
        for (char *line = a.body, *next; line < last; line = next + 1) {
                json_t *json;

                next = strchr(line, '\n');
                json = json_loadb(line, (size_t) (next - line), 0, NULL);
                ASSERT_NOT_NULL(json);
                json_decref(json);
        }
        WAIT_FOR((client_receive(c), c->eof));
}

TEST(slow_readers_get_a_last_word) {
        static const size_t sizes[] = { 100, 9000, KIB(60) };

        FOREACH_ELEMENT(size, sizes) {
                _client_ c = follow(GET("/v1/events"));
                Told *t = &told[n_told - 1];
                size_t pushed = 0, n = 0;

                while (t->n_gone == 0) {
                        push(t, long_line(*size));
                        pushed += *size + strlen("{'long':''}\n");
                        n++;
                        /* Not each time: to be found out while pushing as well. */
                        if (n % 64 == 0)
                                settle();
                        ASSERT_TRUE(pushed < 4 * HTTP_STREAM_MAX);
                        if (pushed > 3 * HTTP_STREAM_MAX)
                                turn();
                }
                ASSERT_TRUE(pushed > HTTP_STREAM_MAX);
                check_last_word(&c);
                WAIT_FOR(http_server_connections(server) == 0);
        }
}

TEST(slow_readers_of_huge_lines_are_cut_off) {
        Client c = follow(GET("/v1/events"));

        push(&told[0], long_line(MIB(4)));
        settle();
        push(&told[0], long_line(MIB(5)));
        WAIT_FOR((client_receive(&c), c.eof));
        ASSERT_EQ(told[0].n_gone, 1);
        /* Not with what looks like the proper end. */
        ASSERT_FALSE(endswith(c.in, "0\r\n\r\n"));
        client_done(&c);
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(a_line_larger_than_all_that_may_wait) {
        _client_ c = follow(GET("/v1/events"));

        push_number(&told[0], 1);
        push(&told[0], long_line(HTTP_STREAM_MAX));
        push_number(&told[0], 2);
        WAIT_FOR(told[0].n_gone == 1);
        client_receive(&c);
        ASSERT_NOT_NULL(strstr(c.in, "too-slow"));
}

TEST(who_never_reads_again_is_let_go_after_the_last_word) {
        _client_ c = follow(GET("/v1/events"));

        for (int i = 0; i < 200; i++)
                push(&told[0], long_line(KIB(60)));
        WAIT_FOR(told[0].n_gone == 1);
        ASSERT_EQ(http_server_connections(server), 1);
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(all_streams_together_have_a_limit) {
        enum { N = HTTP_STREAMS_MAX / MIB(4) + 2 };
        Client clients[N];
        unsigned n_gone = 0;

        for (size_t i = 0; i < N; i++)
                clients[i] = follow(GET("/v1/quiet"));
        for (size_t i = 0; i < N; i++) {
                for (int k = 0; k < (i == 3 ? 96 : 64); k++)
                        push(&told[i], long_line(KIB(63)));
                settle();
        }
        for (size_t i = 0; i < N; i++)
                n_gone += told[i].n_gone;
        /* Who holds most goes first; who pushes when it is full need not. */
        ASSERT_TRUE(n_gone >= 1 && n_gone <= 3);
        ASSERT_EQ(told[3].n_gone, 1);
        ASSERT_EQ(told[N - 1].n_gone, 0);
        for (size_t i = 0; i < N; i++)
                client_done(&clients[i]);
        WAIT_FOR(http_server_connections(server) == 0);
}

TEST(the_server_is_freed_under_its_streams) {
        Client idle = follow(GET("/v1/quiet")), busy = follow(GET("/v1/events")),
               ended = follow(GET("/v1/quiet")), cut = follow(GET("/v1/quiet")),
               gone = follow(GET("/v1/quiet"));

        push(&told[1], long_line(MIB(2)));
        push(&told[2], long_line(MIB(2)));
        http_stream_end(told[2].stream);
        push(&told[3], long_line(MIB(2)));
        settle();
        push(&told[3], long_line(HTTP_STREAM_MAX));
        push(&told[0], long_line(10));
        client_done(&gone);
        server = http_server_free(server);
        ASSERT_EQ(told[0].n_gone + told[1].n_gone + told[3].n_gone + told[4].n_gone, 0);
        client_done(&idle);
        client_done(&busy);
        client_done(&ended);
        client_done(&cut);
}

#define RUN_SERVED(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN_SERVED(each_line_goes_out_at_once),
                RUN_SERVED(short_streams),
                RUN_SERVED(head_of_an_endless_stream),
                RUN_SERVED(streams_may_begin_later),
                RUN_SERVED(streams_for_clients_that_have_gone),
                RUN_SERVED(many_lines_go_out_in_order_and_not_all_are_held_at_once),
                RUN_SERVED(drained_is_told_once_and_only_after_something_was_pushed),
                RUN_SERVED(a_gone_reader_is_noticed_while_nothing_is_sent),
                RUN_SERVED(a_gone_reader_is_noticed_while_something_waits),
                RUN_SERVED(a_stream_that_ends_as_its_reader_goes),
                RUN_SERVED(idle_and_stopped_readers_may_stay),
                RUN_SERVED(slow_readers_get_a_last_word),
                RUN_SERVED(slow_readers_of_huge_lines_are_cut_off),
                RUN_SERVED(a_line_larger_than_all_that_may_wait),
                RUN_SERVED(who_never_reads_again_is_let_go_after_the_last_word),
                RUN_SERVED(all_streams_together_have_a_limit),
                RUN_SERVED(the_server_is_freed_under_its_streams),
        };

        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
