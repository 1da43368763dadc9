/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a worker asks the engine to run, and what the engine answers. The first byte says how many descriptors come with it (low
 * two bits); the rest is a datagram.
 */

#include <fcntl.h>

#include "command-message.h"
#include "fuzz.h"

static size_t open_some(int fds[static MESSAGE_FDS_MAX], size_t n) {
        for (size_t i = 0; i < n; i++) {
                fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                fuzz_check(fds[i] >= 0);
        }
        return n;
}

static void close_some(const int *fds, size_t n) {
        for (size_t i = 0; i < n; i++)
                safe_close(fds[i]);
}

/* All of it is there, as often as it says. */
static void walk(const ReceivedCommand *received, const int *fds, size_t n_fds) {
        const CommandSpec *spec = &received->spec;
        size_t n = 0;

        while (spec->argv[n])
                fuzz_check(strlen(spec->argv[n++]) < MESSAGE_MAX);
        fuzz_check(n <= COMMAND_ARGUMENTS_MAX);
        for (n = 0; spec->environment[n]; n++)
                fuzz_check(strlen(spec->environment[n]) < MESSAGE_MAX);
        fuzz_check(!spec->user || *spec->user);
        fuzz_check(!spec->unit || json_is_object(spec->unit));
        n = (spec->input_fd >= 0) + (spec->output_fd >= 0);
        fuzz_check(n == n_fds);
        fuzz_check(n_fds == 0 || spec->input_fd == fds[0] || spec->output_fd == fds[0]);
        if (command_spec_check(spec) == 0)
                fuzz_check(
                        spec->argv[0] && spec->argv[0][0] == '/' && spec->output_max <= COMMAND_OUTPUT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        MessageReader reader;
        MessageKind kind;
        size_t n_fds;

        if (size < 1)
                return 0;
        n_fds = data[0] & 3;
        reader = (MessageReader){ .data = data + 1, .size = size - 1 };
        while (message_next(&reader, &kind) > 0) {
                _cleanup_(received_command_freep) ReceivedCommand *command = NULL;
                _cleanup_(received_result_freep) ReceivedResult *result = NULL;
                MessageReader again = reader;
                int fds[MESSAGE_FDS_MAX];
                int r;

                (void) open_some(fds, n_fds);
                r = command_message_read(&reader, fds, n_fds, &command);
                fuzz_check((r == 0) == !!command);
                if (command)
                        walk(command, fds, n_fds);
                close_some(fds, n_fds);

                (void) open_some(fds, n_fds);
                r = command_result_read(&again, fds, n_fds, &result); /* takes them */
                fuzz_check((r == 0) == !!result);
                if (result)
                        fuzz_check(result->result.output[result->result.output_size] == 0 &&
                                   result->result.errors[result->result.errors_size] == 0);
        }
        return 0;
}
