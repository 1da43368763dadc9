/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "worker-command.h"

static bool has_state(const Batch *batch, uint32_t state) {
        for (uint32_t i = 0; i < batch->n; i++)
                if (batch->states[i] == state)
                        return true;
        return false;
}

int worker_command_start(Commands *commands, const Image *image, const Batch *batch, MessageReader *reader,
        const int *fds, size_t n_fds, usec_t left_usec, const CommandHandlers *handlers, void *userdata,
        Command **ret, usec_t *ret_timeout) {
        _cleanup_(received_command_freep) ReceivedCommand *received = NULL;
        CommandSpec *spec;
        int r;

        r = command_message_read(reader, fds, n_fds, &received);
        if (r < 0)
                return r;
        if (batch->kind != WORKER_APPLY || !has_state(batch, received->state))
                return -EBADMSG;
        if (!commands)
                return -EOPNOTSUPP;

        spec = &received->spec;
        spec->flags &= ~(unsigned) COMMAND_LATE; /* that is for the engine to say */
        spec->state = image_state_id(image, received->state);
        spec->role = image_state_role(image, received->state);
        spec->run = batch->handlers->run_id ? batch->handlers->run_id(batch->userdata) : 0;
        /* The deadline of its state holds whatever it says itself. */
        left_usec = MAX(left_usec, USEC_PER_MSEC);
        spec->timeout_usec = spec->timeout_usec == 0 ? left_usec : MIN(spec->timeout_usec, left_usec);
        *ret_timeout = spec->timeout_usec;
        r = command_start(commands, spec, handlers, userdata, ret);
        return r == -EBADMSG ? -EIO : r;
}

int worker_command_answer(int fd, int error, const CommandResult *result) {
        MessageWriter writer;
        int r;

        r = message_writer_init(&writer, fd);
        if (r < 0)
                return r;
        r = command_result_send(&writer, error, result);
        message_writer_done(&writer);
        return r;
}
