/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A command on its way from an apply worker to the engine, and its result on the way back.
 *
 *      COMMAND       u32 state, u32 CommandFlags, u32 umask, u64 timeout_usec (0: what is left), u64 output_max,
 *                    u32 descriptors: 1 input, 2 output; u32 n, n × text argument; u32 n, n × text variable;
 *                    text user, text group, text directory ("": none), value unit
 *      COMMAND_DONE  u32 errno (not 0: it was not tried, and nothing else counts), u32 end, u32 code, u32 status,
 *                    u32 truncated, u64 duration_usec, u64 cpu_usec, u64 memory_max_bytes, text explanation,
 *                    u32 descriptors: 1 output, 2 errors; text output, text errors ("" if there is a descriptor)
 *
 * Descriptors go with the datagram in this order.
 */

#include "command.h"
#include "message.h"

/* What goes in the record itself; more goes as a file without a name. */
#define COMMAND_INLINE_MAX KIB(32)

/* Writes the record, and sends it. unit: instead of the spec's. Return: 0; -E2BIG: it is too large; other -errno. */
int command_message_send(
        MessageWriter *writer, uint32_t state, const CommandSpec *spec, const AgentdValue *unit);

/* What the engine has read. */
typedef struct ReceivedCommand {
        uint32_t state;
        CommandSpec spec; /* to what follows */
        char **argv, **environment;
        char *user, *group, *directory;
        json_t *unit;
} ReceivedCommand;

/* Descriptors are not taken. Return: 0; -EBADMSG: it is not well-formed; -ENOMEM. What is well-formed may still not pass
 * command_spec_check(). */
int command_message_read(MessageReader *reader, const int *fds, size_t n_fds, ReceivedCommand **ret);
ReceivedCommand *received_command_free(ReceivedCommand *received);
DEFINE_CLEANUP(ReceivedCommand *, received_command_free)

/* error: -errno; then result may be NULL. Return: 0; -errno. */
int command_result_send(MessageWriter *writer, int error, const CommandResult *result);

/* What the worker has read; strings and memory are its own. */
typedef struct ReceivedResult {
        int error; /* -errno */
        CommandResult result;
        char *output, *errors, *explanation;
} ReceivedResult;

/* Takes the descriptors. Return: 0; -EBADMSG; other -errno. */
int command_result_read(MessageReader *reader, int *fds, size_t n_fds, ReceivedResult **ret);
ReceivedResult *received_result_free(ReceivedResult *received);
DEFINE_CLEANUP(ReceivedResult *, received_result_free)
