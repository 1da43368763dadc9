/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <math.h>
#include <sys/socket.h>

#include "message.h"
#include "value-json.h"

/* Every record begins with its size, header and padding included, and its kind. */
typedef struct RecordHeader {
        uint32_t size;
        uint32_t kind;
} RecordHeader;

/* ---- Writing --------------------------------------------------------------------------------------------------- */

int message_writer_init(MessageWriter *writer, int fd) {
        *writer = (MessageWriter){ .fd = fd, .buffer = malloc(MESSAGE_MAX) };
        return writer->buffer ? 0 : -ENOMEM;
}

void message_writer_done(MessageWriter *writer) {
        free(writer->buffer);
        *writer = (MessageWriter){ .fd = -EBADF };
}

/*
 * A record is written behind those that wait. If the buffer's end is reached, the waiting ones are sent and the record
 * moves to the front; only one that is larger than a whole datagram is dropped.
 */
static bool make_room(MessageWriter *writer, size_t size) {
        if (writer->overflow)
                return false;
        if (writer->position + size <= MESSAGE_MAX)
                return true;

        if (writer->used > 0) {
                size_t part = writer->position - writer->used, used = writer->used;

                (void) message_flush(writer);
                memmove(writer->buffer, writer->buffer + used, part);
                writer->position = part;
                if (writer->position + size <= MESSAGE_MAX)
                        return true;
        }

        writer->overflow = true;
        return false;
}

static void put(MessageWriter *writer, const void *data, size_t size) {
        if (!make_room(writer, size))
                return;
        if (size > 0)
                memcpy(writer->buffer + writer->position, data, size);
        writer->position += size;
}

void message_begin(MessageWriter *writer, MessageKind kind) {
        RecordHeader header = { .kind = kind };

        writer->position = writer->used;
        writer->overflow = false;
        put(writer, &header, sizeof(header));
}

void message_put_u32(MessageWriter *writer, uint32_t value) {
        put(writer, &value, sizeof(value));
}

void message_put_u64(MessageWriter *writer, uint64_t value) {
        put(writer, &value, sizeof(value));
}

void message_put_bytes(MessageWriter *writer, const void *data, size_t size) {
        put(writer, data, size);
}

void message_put_text(MessageWriter *writer, const char *text, size_t size, size_t limit) {
        static const char ellipsis[] = "…";

        if (size <= limit) {
                message_put_u32(writer, (uint32_t) size);
                put(writer, text, size);
                return;
        }

        /* Cut at a character. */
        size = limit - strlen(ellipsis);
        while (size > 0 && ((unsigned char) text[size] & 0xc0) == 0x80)
                size--;
        message_put_u32(writer, (uint32_t) (size + strlen(ellipsis)));
        put(writer, text, size);
        put(writer, ellipsis, strlen(ellipsis));
}

void message_put_string(MessageWriter *writer, const char *text) {
        message_put_text(writer, text ?: "", text ? strlen(text) : 0, MESSAGE_TEXT_MAX);
}

/* How many of n items may still be written. */
static uint32_t take_items(MessageWriter *writer, uint32_t n) {
        n = (uint32_t) MIN((size_t) n, MESSAGE_VALUE_ITEMS_MAX - writer->n_items);
        writer->n_items += n;
        return n;
}

static void put_value(MessageWriter *writer, const AgentdValue *value, unsigned depth) {
        static const AgentdValue none = { .type = AGENTD_NONE };
        uint32_t n;

        /* What the reader would not follow, or what is no value at all, is a module's mistake: null, rather than a
         * record for which the engine kills the worker. */
        if (!value || depth >= MESSAGE_VALUE_DEPTH_MAX || value->type > AGENTD_RECORD)
                value = &none;

        message_put_u32(writer, value->type);
        switch (value->type) {
        case AGENTD_BOOLEAN: message_put_u32(writer, value->boolean); break;
        case AGENTD_INTEGER: message_put_u64(writer, (uint64_t) value->integer); break;
        case AGENTD_FLOAT: put(writer, &value->real, sizeof(value->real)); break;
        case AGENTD_STRING: message_put_text(writer, value->string, value->size, MESSAGE_TEXT_MAX); break;
        case AGENTD_LIST:
        case AGENTD_RECORD:
                n = take_items(writer, value->n);
                message_put_u32(writer, n);
                for (uint32_t i = 0; i < n; i++)
                        put_value(writer, &value->items[i], depth + 1);
                break;
        case AGENTD_TABLE:
                n = take_items(writer, value->n);
                message_put_u32(writer, n);
                for (uint32_t i = 0; i < n; i++) {
                        message_put_string(writer, value->members[i].key);
                        put_value(writer, &value->members[i].value, depth + 1);
                }
                break;
        default: break;
        }
}

void message_put_value(MessageWriter *writer, const AgentdValue *value) {
        writer->n_items = 0;
        put_value(writer, value, 0);
}

int message_end(MessageWriter *writer) {
        static const uint8_t padding[8] = {};
        size_t size;

        put(writer, padding, -writer->position & 7);
        if (writer->overflow) {
                writer->overflow = false;
                writer->position = writer->used;
                return -EMSGSIZE;
        }

        size = writer->position - writer->used;
        memcpy(writer->buffer + writer->used, &(uint32_t){ (uint32_t) size }, sizeof(uint32_t));
        writer->used = writer->position;
        return writer->error;
}

int message_flush_with(MessageWriter *writer, const int *fds, size_t n_fds) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))];
        } control = {};
        struct iovec vector = { .iov_base = writer->buffer, .iov_len = writer->used };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
        ssize_t n;

        assert(n_fds <= MESSAGE_FDS_MAX);

        if (writer->used == 0)
                return writer->error;
        if (n_fds > 0) {
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        }

        do
                n = sendmsg(writer->fd, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                writer->error = -errno;

        writer->used = 0;
        writer->position = 0;
        return writer->error;
}

int message_flush(MessageWriter *writer) {
        return message_flush_with(writer, NULL, 0);
}

ssize_t message_receive(int fd, void *buffer, size_t size, int *ret_fds, size_t *ret_n_fds) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))];
        } control;
        struct iovec vector = { .iov_base = buffer, .iov_len = size };
        struct msghdr message = {
                .msg_iov = &vector,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        bool bad = false;
        ssize_t size_all;

        *ret_n_fds = 0;
        size_all = recvmsg(fd, &message, MSG_TRUNC | MSG_CMSG_CLOEXEC);
        if (size_all < 0)
                return -errno;
        /* The kernel has closed those for which there was no room. */
        if (message.msg_flags & MSG_CTRUNC)
                bad = true;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
                size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                int fds[MESSAGE_FDS_MAX + 1];

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
                        bad = true;
                        continue;
                }
                n = MIN(n, ELEMENTSOF(fds));
                memcpy(fds, CMSG_DATA(c), n * sizeof(int));
                for (size_t i = 0; i < n; i++) {
                        if (*ret_n_fds < MESSAGE_FDS_MAX)
                                ret_fds[(*ret_n_fds)++] = fds[i];
                        else {
                                safe_close(fds[i]);
                                bad = true;
                        }
                }
        }
        if (!bad)
                return size_all;
        while (*ret_n_fds > 0)
                safe_close(ret_fds[--*ret_n_fds]);
        return -EBADMSG;
}

/* ---- Reading --------------------------------------------------------------------------------------------------- */

int message_next(MessageReader *reader, MessageKind *ret) {
        RecordHeader header;
        size_t start = reader->end;

        if (start == reader->size)
                return 0;
        if (reader->size - start < sizeof(header))
                return -EBADMSG;

        memcpy(&header, reader->data + start, sizeof(header));
        if (header.size < sizeof(header) || header.size % 8 != 0 || header.size > reader->size - start)
                return -EBADMSG;
        if (header.kind == 0 || header.kind >= _MESSAGE_KIND_MAX)
                return -EBADMSG;

        reader->position = start + sizeof(header);
        reader->end = start + header.size;
        reader->bad = false;
        *ret = (MessageKind) header.kind;
        return 1;
}

static bool get(MessageReader *reader, void *ret, size_t size) {
        if (reader->bad || size > reader->end - reader->position) {
                reader->bad = true;
                return false;
        }

        memcpy(ret, reader->data + reader->position, size);
        reader->position += size;
        return true;
}

uint32_t message_get_u32(MessageReader *reader) {
        uint32_t value = 0;

        (void) get(reader, &value, sizeof(value));
        return value;
}

uint64_t message_get_u64(MessageReader *reader) {
        uint64_t value = 0;

        (void) get(reader, &value, sizeof(value));
        return value;
}

bool message_get_bytes(MessageReader *reader, void *ret, size_t size) {
        return get(reader, ret, size);
}

bool message_has(const MessageReader *reader, size_t size) {
        return !reader->bad && size <= reader->end - reader->position;
}

const char *message_get_text(MessageReader *reader, size_t *ret_size) {
        size_t size = message_get_u32(reader);
        const char *text;

        if (reader->bad || size > reader->end - reader->position) {
                reader->bad = true;
                return NULL;
        }

        text = (const char *) reader->data + reader->position;
        reader->position += size;
        *ret_size = size;
        return text;
}

/* For people, on one line. */
static char *copy_text(const char *text, size_t size) {
        char *copy = utf8_make_valid(text, size, &size);

        if (!copy)
                return NULL;
        for (size_t i = 0; i < size; i++)
                if ((unsigned char) copy[i] < ' ' || copy[i] == 0x7f)
                        copy[i] = '?';
        return copy;
}

char *message_get_string(MessageReader *reader) {
        size_t size;
        const char *text = message_get_text(reader, &size);

        return text ? copy_text(text, size) : NULL;
}

int message_get_optional_string(MessageReader *reader, char **ret) {
        size_t size;
        const char *text = message_get_text(reader, &size);
        char *copy = NULL;

        if (text && size > 0)
                copy = copy_text(text, size);
        if (!text || (size > 0 && !copy))
                return -EBADMSG;
        *ret = copy;
        return 0;
}

json_t *message_get_text_json(MessageReader *reader) {
        size_t size;
        const char *text = message_get_text(reader, &size);

        if (!text)
                return NULL;
        return size == 0 ? json_null() : json_from_text(text, size);
}

static json_t *get_value(MessageReader *reader, unsigned depth) {
        uint32_t type = message_get_u32(reader), n;
        json_t *json;

        if (reader->bad || depth > MESSAGE_VALUE_DEPTH_MAX)
                goto bad;

        switch (type) {
        case AGENTD_NONE: return json_null();
        case AGENTD_BOOLEAN: {
                bool value = message_get_u32(reader);

                return reader->bad ? NULL : json_boolean(value);
        }
        case AGENTD_INTEGER: {
                int64_t value = (int64_t) message_get_u64(reader);

                return reader->bad ? NULL : json_integer(value);
        }
        case AGENTD_FLOAT: {
                double value;

                if (!get(reader, &value, sizeof(value)))
                        return NULL;
                return isfinite(value) ? json_real(value) : json_null();
        }
        case AGENTD_STRING: {
                size_t size;
                const char *text = message_get_text(reader, &size);

                return text ? json_from_text(text, size) : NULL;
        }
        case AGENTD_LIST:
        case AGENTD_RECORD:
        case AGENTD_TABLE:
                n = message_get_u32(reader);
                /* Each item takes four bytes at least: a count that cannot be true allocates nothing. */
                reader->n_items += n;
                if (reader->bad || n > (reader->end - reader->position) / 4 ||
                        reader->n_items > MESSAGE_VALUE_ITEMS_MAX)
                        goto bad;
                json = type == AGENTD_TABLE ? json_object() : json_array();
                if (!json)
                        goto bad;
                for (uint32_t i = 0; i < n; i++) {
                        _cleanup_free_ char *key = NULL;
                        json_t *item;
                        int r;

                        if (type == AGENTD_TABLE) {
                                key = message_get_string(reader);
                                if (!key) {
                                        json_decref(json);
                                        goto bad;
                                }
                        }
                        item = get_value(reader, depth + 1);
                        if (!item) {
                                json_decref(json);
                                goto bad;
                        }
                        r = key ? json_object_set_new_nocheck(json, key, item)
                                : json_array_append_new(json, item);
                        if (r < 0) {
                                json_decref(json);
                                goto bad;
                        }
                }
                return json;
        default: break;
        }

bad:
        reader->bad = true;
        return NULL;
}

json_t *message_get_value(MessageReader *reader) {
        reader->n_items = 0;
        return get_value(reader, 0);
}
