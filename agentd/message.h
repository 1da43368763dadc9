/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the engine and its children say to each other over a SOCK_SEQPACKET pair. A datagram is a row of records; a
 * record is a header and fields, all little pieces of plain memory in the byte order of the machine, for both ends
 * are forks of one program. The engine trusts nothing in them: a child may have been taken over by a broken module.
 *
 *      engine → worker    BATCH, COMMAND_DONE
 *      worker → engine    READY, PROGRESS, RESULT, DIFFERENCE, UNDO, LOG, COMMAND, END
 *      loader → engine    DIAGNOSTIC, LOG, FILE, FORGET, EXPLANATION, LOADED
 */

#include <jansson.h>

#include "module.h"
#include "util.h"

/* A datagram's size at most. The kernel takes one of up to net.core.wmem_default (212992), less its overhead. */
#define MESSAGE_MAX KIB(128)

/* What a field may hold at most; the writer cuts longer text and says so in it. */
#define MESSAGE_TEXT_MAX KIB(16)
#define MESSAGE_DIFF_MAX KIB(64)

#define MESSAGE_VALUE_DEPTH_MAX 16

/* Items that one value may have, all levels together: as JSON each takes many times what it takes on the way. */
#define MESSAGE_VALUE_ITEMS_MAX 1000

/* Differences, or undo records, of one state that are told; one more says that there are more. */
#define MESSAGE_DIFFERENCES_MAX 1000

/* Bytes of records about one state, beyond which only attributes are named; and what the engine bears, of a state and of
 * a batch, before it takes the worker for mad. */
#define MESSAGE_STATE_BYTES     KIB(256)
#define MESSAGE_STATE_BYTES_MAX KIB(512)
#define MESSAGE_BATCH_BYTES_MAX MIB(16)

/* In the index of a state: see AGENTD_STATE_PENDING, …_RESTART, …_RELOAD, …_NOTICED. There are never so many states. */
#define MESSAGE_STATE_PENDING (UINT32_C(1) << 31)
#define MESSAGE_STATE_RESTART (UINT32_C(1) << 30)
#define MESSAGE_STATE_RELOAD  (UINT32_C(1) << 29)
#define MESSAGE_STATE_NOTICED (UINT32_C(1) << 28)
#define MESSAGE_STATE_INDEX   (MESSAGE_STATE_NOTICED - 1)

/* In the flags of a BATCH: every result is to be sent at once. */
#define MESSAGE_BATCH_CAREFUL (UINT32_C(1) << 31)

typedef enum MessageKind {
        MESSAGE_BATCH = 1,  /* u32 batch, u32 phase, u32 flags, u32 n, u64 run, n × u32 state, with
                             * MESSAGE_STATE_… */
        MESSAGE_RESULT,     /* u32 state, u32 result, u64 duration_usec, text error; then, if something
                             * is to be remembered, the 16 bytes of an Identity, u32 good_for_sec */
        MESSAGE_DIFFERENCE, /* u32 state, text attribute, value is, value should, text diff */
        MESSAGE_UNDO,       /* u32 state, text what, value old */
        MESSAGE_LOG,        /* u32 level, text */
        MESSAGE_END,        /* u32 batch */
        MESSAGE_DIAGNOSTIC, /* text file, u32 line, u32 column, text message */
        MESSAGE_READY,      /* nothing: the worker has set itself up */
        MESSAGE_LOADED,     /* u64 bytes used */
        MESSAGE_FILE,       /* text path, u32 is directory, u64 device, inode, size, mtime, ctime */
        MESSAGE_COMMAND,    /* see command-message.h; a datagram of its own, since descriptors go with it */
        MESSAGE_COMMAND_DONE, /* likewise */
        MESSAGE_FORGET,       /* text id */
        MESSAGE_PROGRESS,     /* u32 state, u64 duration_usec: its before_check is over, and it goes on to be
                               * checked */
        MESSAGE_EXPLANATION,  /* u32 found, text: a piece of it */
        _MESSAGE_KIND_MAX,
} MessageKind;

/* What a worker says of a state. The values go over the wire. */
typedef enum Verdict {
        VERDICT_OK = 1, /* check: as declared; apply: done */
        VERDICT_DRIFTED,
        VERDICT_FAILED,
        VERDICT_UNKNOWN,
        VERDICT_SKIPPED, /* its `when` is false */
        VERDICT_BLOCKED, /* its before_check said no */
        _VERDICT_MAX,
} Verdict;

/* ---- Writing --------------------------------------------------------------------------------------------------- */

typedef struct MessageWriter {
        int fd;          /* blocking; not owned */
        size_t used;     /* bytes of finished records */
        size_t position; /* end of the record that is being written */
        bool overflow;   /* the record does not fit into one datagram: dropped at message_end() */
        int error;       /* of the last send */
        size_t n_items;  /* of the value that is being written */
        uint8_t *buffer; /* MESSAGE_MAX bytes */
} MessageWriter;

int message_writer_init(MessageWriter *writer, int fd);
void message_writer_done(MessageWriter *writer);

void message_begin(MessageWriter *writer, MessageKind kind);
void message_put_u32(MessageWriter *writer, uint32_t value);
void message_put_u64(MessageWriter *writer, uint64_t value);
void message_put_bytes(MessageWriter *writer, const void *data, size_t size);
void message_put_text(MessageWriter *writer, const char *text, size_t size, size_t limit);
void message_put_string(MessageWriter *writer, const char *text);        /* NULL is "" */
void message_put_value(MessageWriter *writer, const AgentdValue *value); /* NULL is null */

/* Ends the record. Sends what is collected first if this one does not fit beside it.
 * Return: 0; -EMSGSIZE: the record was dropped; other -errno of the send. */
int message_end(MessageWriter *writer);

/* Sends what is collected. Return: 0; -errno: the other side is gone. */
int message_flush(MessageWriter *writer);

/* Likewise, with n descriptors, MESSAGE_FDS_MAX at most. What is collected should be that one record. */
#define MESSAGE_FDS_MAX 4
int message_flush_with(MessageWriter *writer, const int *fds, size_t n_fds);

/*
 * message_receive() - reads a datagram
 * @ret_fds: room for MESSAGE_FDS_MAX descriptors that came with it, *ret_n_fds of them, the caller's
 *
 * Return: its size, more than `size` if it was cut; 0: the other side is gone; -EBADMSG: it had more descriptors than that, or
 *         what is no descriptor; other -errno.
 */
ssize_t message_receive(int fd, void *buffer, size_t size, int *ret_fds, size_t *ret_n_fds);

/* ---- Reading --------------------------------------------------------------------------------------------------- */

typedef struct MessageReader {
        const uint8_t *data;
        size_t size;
        size_t position; /* within the record */
        size_t end;      /* of the record */
        size_t n_items;  /* of the value that is being read */
        bool bad;        /* a field was not there or not well-formed: what was read since is worth nothing */
} MessageReader;

/* Steps to the next record. Return: 1 and its kind; 0 at the end; -EBADMSG. */
int message_next(MessageReader *reader, MessageKind *ret);

uint32_t message_get_u32(MessageReader *reader);
uint64_t message_get_u64(MessageReader *reader);

/* Plain memory, of a size that both sides know. False if bad. */
bool message_get_bytes(MessageReader *reader, void *ret, size_t size);

/* True if so many bytes are left; the padding of a record has fewer than 8. */
bool message_has(const MessageReader *reader, size_t size);

/* The text, not NUL-terminated, in the datagram; NULL if bad. */
const char *message_get_text(MessageReader *reader, size_t *ret_size);

/* A new string, NUL-terminated, made valid UTF-8 on one line; NULL if bad or out of memory. */
char *message_get_string(MessageReader *reader);

/* Likewise, and NULL if it is empty, as the errors of most results are. Return: 0; -EBADMSG if bad or out of memory. */
int message_get_optional_string(MessageReader *reader, char **ret);

/* A value as JSON, a new reference: strings made valid UTF-8; NULL if bad. */
json_t *message_get_value(MessageReader *reader);

/* The text as a JSON string; null if it is empty. */
json_t *message_get_text_json(MessageReader *reader);
