/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "http-internal.h"

/* libmicrohttpd makes a chunk of it at most this large where it cannot use the connection's own memory. */
#define BLOCK_BYTES KIB(4)

/* Lines are kept in blocks of this size, or in one of their own. A line never goes over two. */
#define STORE_BYTES (KIB(16) - 64)

/* Of a line that the reader of a stream has half of, so much is kept for it when the stream is cut. Of a longer one nothing
 * is: then the connection just ends, in the middle of a chunk. */
#define HALF_LINE_MAX KIB(64)

typedef struct Block Block;

struct Block {
        Block *next;
        size_t start, end, allocated;
        char text[];
};

struct HttpStream {
        HttpServer *server;
        HttpStream *previous, *next;
        HttpStream *next_pending;
        Connection *connection; /* while libmicrohttpd sends it; else NULL */
        HttpStreamHandlers handlers;
        void *userdata;
        bool root;
        Block *first, *last;
        size_t waiting;    /* bytes, in all blocks */
        bool has_user;     /* http_stream_end() and on_gone() take it away */
        bool has_response; /* libmicrohttpd still knows it */
        bool ended;        /* no more comes, what is there goes out */
        bool broken;       /* its end would not look like one */
        bool cut;          /* the user has to be told that it is over */
        bool pushed;       /* something, since the user was last told that all is out */
        bool drained;      /* the user has to be told that all is out */
        bool is_pending;   /* to be told */
        bool in_line;      /* the reader has half of a line; the other half begins the first block */
        bool busy;         /* its user is being told */
};

static void drop_block(HttpStream *stream) {
        Block *block = stream->first;

        stream->first = block->next;
        if (!stream->first)
                stream->last = NULL;
        stream->waiting -= block->end - block->start;
        stream->server->streams_bytes -= block->end - block->start;
        free(block);
}

static void drop_all(HttpStream *stream) {
        while (stream->first)
                drop_block(stream);
}

static size_t take(HttpStream *stream, char *buffer, size_t max) {
        size_t taken = 0;

        while (stream->first && taken < max) {
                Block *block = stream->first;
                size_t n = MIN(block->end - block->start, max - taken);

                memcpy(buffer + taken, block->text + block->start, n);
                taken += n;
                block->start += n;
                stream->waiting -= n;
                stream->server->streams_bytes -= n;
                if (block->start == block->end)
                        drop_block(stream);
        }
        return taken;
}

static int add(HttpStream *stream, const char *line, size_t size) {
        Block *block = stream->last;

        if (!block || size > block->allocated - block->end) {
                size_t wanted = MAX(size, STORE_BYTES);

                block = malloc(sizeof(*block) + wanted);
                if (!block)
                        return -ENOMEM;
                *block = (Block){ .allocated = wanted };
                if (stream->last)
                        stream->last->next = block;
                else
                        stream->first = block;
                stream->last = block;
        }
        memcpy(block->text + block->end, line, size);
        block->end += size;
        stream->waiting += size;
        stream->server->streams_bytes += size;
        return 0;
}

static void stream_free(HttpStream *stream) {
        HttpServer *server = stream->server;

        if (stream->previous)
                stream->previous->next = stream->next;
        else
                server->streams = stream->next;
        if (stream->next)
                stream->next->previous = stream->previous;
        drop_all(stream);
        free(stream);
}

/* Frees it if nobody has it any more. */
static void stream_put(HttpStream *stream) {
        if (!stream->has_user && !stream->has_response && !stream->is_pending && !stream->busy)
                stream_free(stream);
}

static void stream_set_pending(HttpStream *stream) {
        if (stream->is_pending)
                return;

        stream->is_pending = true;
        stream->next_pending = stream->server->pending;
        stream->server->pending = stream;
        server_run_soon(stream->server);
}

void streams_dispatch(HttpServer *server) {
        HttpStream *stream;

        while ((stream = server->pending)) {
                server->pending = stream->next_pending;
                stream->is_pending = false;

                /* What its user does now with this stream or others may make it pending again, but frees none. */
                stream->busy = true;
                if (stream->has_user && stream->cut) {
                        stream->has_user = false;
                        stream->handlers.on_gone(stream->userdata, stream);
                } else if (stream->has_user && stream->drained) {
                        stream->drained = false;
                        if (stream->waiting == 0 && stream->handlers.on_drained)
                                stream->handlers.on_drained(stream->userdata, stream);
                }
                stream->busy = false;
                stream_put(stream);
        }
}

void streams_free(HttpServer *server) {
        while (server->streams)
                stream_free(server->streams);
}

/* ---- What libmicrohttpd asks for ------------------------------------------------------------------------------- */

static ssize_t on_read(void *userdata, uint64_t position, char *buffer, size_t max) {
        HttpStream *stream = userdata;

        if (!stream->connection || stream->connection->gone || stream->server->ending)
                return MHD_CONTENT_READER_END_WITH_ERROR;

        if (stream->waiting > 0) {
                size_t n = take(stream, buffer, max);

                stream->in_line = buffer[n - 1] != '\n';
                return (ssize_t) n;
        }
        if (stream->ended)
                return stream->broken ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;

        if (stream->pushed) {
                stream->pushed = false;
                stream->drained = true;
                stream_set_pending(stream);
        }
        connection_suspend(stream->connection);
        return 0;
}

/* It was sent, or the connection has ended, or it never came to sending. */
static void on_response_free(void *userdata) {
        HttpStream *stream = userdata;

        stream->has_response = false;
        stream->connection = NULL;
        drop_all(stream);
        if (stream->has_user) {
                stream->cut = true;
                stream_set_pending(stream);
        }
        stream_put(stream);
}

/* ---- For its user ---------------------------------------------------------------------------------------------- */

HttpStream *http_answer_stream(HttpRequest *request, const HttpStreamHandlers *handlers, void *userdata) {
        HttpServer *server = request->server;
        struct MHD_Response *response = NULL;
        HttpStream *stream;

        assert(handlers && handlers->on_gone);

        stream = malloc(sizeof(*stream));
        if (stream && request->head)
                response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        else if (stream)
                response = MHD_create_response_from_callback(
                        MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream, on_response_free);
        if (!response) {
                free(stream);
                http_answer_problem(request, 500, "internal", "out of memory");
                return NULL;
        }
        *stream = (HttpStream){
                .server = server,
                .next = server->streams,
                .connection = request->connection,
                .handlers = *handlers,
                .userdata = userdata,
                .root = request->peer.uid == 0,
                .has_user = true,
                .has_response = !request->head,
        };
        if (stream->next)
                stream->next->previous = stream;
        server->streams = stream;

        /* libmicrohttpd would send a last chunk all the same (0.9.75), which is taken for the next answer. */
        if (request->head) {
                stream->connection = NULL;
                stream->cut = true;
                stream_set_pending(stream);
        }

        /* Whatever fails from here on, its user learns by on_gone(). */
        if (!response_add(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson") ||
                !response_add(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") ||
                !response_add(response, MHD_HTTP_HEADER_CONNECTION, "close")) {
                MHD_destroy_response(response);
                response = NULL;
        }
        /* A reader may stop for as long as it likes, as long as there is room. */
        if (stream->connection)
                (void) MHD_set_connection_option(
                        request->connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
        request_answer(request, 200, response);
        return stream;
}

/* Nothing more comes: its reader has no longer than others to read what is left. */
static void stream_hurry(HttpStream *stream) {
        if (!stream->connection)
                return;

        (void) MHD_set_connection_option(stream->connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT,
                stream->server->options.idle_sec ?: HTTP_IDLE_SEC);
        connection_resume(stream->connection);
}

/* What waits is thrown away but for the rest of a line. Return: false if that is too long as well. */
static bool drop_lines(HttpStream *stream) {
        Block *first = stream->first;
        const char *newline;
        size_t surplus;

        newline = stream->in_line ? memchr(first->text + first->start, '\n',
                                            MIN(first->end - first->start, HALF_LINE_MAX))
                                  : NULL;
        if (!newline) {
                drop_all(stream);
                return !stream->in_line;
        }

        surplus = first->end - (size_t) (newline + 1 - first->text);
        first->end -= surplus;
        stream->waiting -= surplus;
        stream->server->streams_bytes -= surplus;

        for (Block *rest = TAKE_PTR(first->next), *next; rest; rest = next) {
                next = rest->next;
                stream->waiting -= rest->end - rest->start;
                stream->server->streams_bytes -= rest->end - rest->start;
                free(rest);
        }
        stream->last = first;
        return true;
}

/* It ends, with a problem as its last line. */
static void stream_cut(HttpStream *stream, unsigned status, const char *type, const char *detail) {
        _cleanup_free_ char *problem = NULL;

        if (drop_lines(stream))
                problem = problem_format(status, type, detail, NULL, NULL);
        if (!problem || add(stream, problem, strlen(problem)) < 0)
                stream->broken = true;
        stream->ended = true;
        stream->cut = true;
        stream_set_pending(stream);
        stream_hurry(stream);
}

static void stream_cut_slow(HttpStream *stream) {
        stream_cut(stream, 503, "too-slow", "the reader was too slow: too much waited for it");
}

/* Room for what is pushed into a stream, when all of them together are full: those go who hold most, others before root. */
static void make_room(HttpServer *server, size_t size) {
        while (server->streams_bytes + size > HTTP_STREAMS_MAX) {
                HttpStream *victim = NULL;

                for (HttpStream *s = server->streams; s; s = s->next)
                        if (!s->ended && s->waiting > 0 &&
                                (!victim || s->root < victim->root ||
                                        (s->root == victim->root && s->waiting > victim->waiting)))
                                victim = s;
                if (!victim)
                        return;
                stream_cut_slow(victim);
        }
}

void http_stream_push(HttpStream *stream, const json_t *line) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        assert(stream->has_user);

        if (stream->cut)
                return;

        text = line ? json_dumps(line, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        if (!text) {
                stream_cut(stream, 500, "internal", "out of memory");
                return;
        }
        size = strlen(text);
        text[size++] = '\n'; /* in place of the NUL */

        if (size > HTTP_STREAM_MAX - stream->waiting) {
                stream_cut_slow(stream);
                return;
        }
        make_room(stream->server, size);
        if (stream->cut)
                return;
        if (add(stream, text, size) < 0) {
                stream_cut(stream, 500, "internal", "out of memory");
                return;
        }
        stream->pushed = true;
        if (stream->connection)
                connection_resume(stream->connection);
}

void http_stream_end(HttpStream *stream) {
        stream->has_user = false;
        stream->ended = true;
        stream_hurry(stream);
        stream_put(stream);
}

const HttpStream *stream_of(const Connection *connection) {
        for (const HttpStream *stream = connection->server->streams; stream; stream = stream->next)
                if (stream->connection == connection)
                        return stream;
        return NULL;
}

bool stream_is_sending(const HttpStream *stream) {
        return stream->waiting > 0 || stream->ended;
}
