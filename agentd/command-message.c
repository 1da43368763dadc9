/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "command-message.h"

#define FD_FIRST  1u /* input; output */
#define FD_SECOND 2u /* output; errors */

/* ---- A command ---------------------------------------------------------------------------------------------------- */

static void put_list(MessageWriter *writer, const char *const *list) {
        uint32_t n = 0;

        while (list && list[n])
                n++;
        message_put_u32(writer, n);
        for (uint32_t i = 0; i < n; i++)
                message_put_text(writer, list[i], strlen(list[i]), MESSAGE_MAX);
}

static void put_text(MessageWriter *writer, const char *text) {
        message_put_text(writer, text ?: "", text ? strlen(text) : 0, MESSAGE_MAX);
}

int command_message_send(
        MessageWriter *writer, uint32_t state, const CommandSpec *spec, const AgentdValue *unit) {
        int fds[2], r;
        size_t n = 0;
        uint32_t which = 0;

        if (spec->input_fd >= 0) {
                which |= FD_FIRST;
                fds[n++] = spec->input_fd;
        }
        if (spec->output_fd >= 0) {
                which |= FD_SECOND;
                fds[n++] = spec->output_fd;
        }

        /* What was said before goes before. */
        r = message_flush(writer);
        if (r < 0)
                return r;
        message_begin(writer, MESSAGE_COMMAND);
        message_put_u32(writer, state);
        message_put_u32(writer, spec->flags);
        message_put_u32(writer, (uint32_t) spec->umask);
        message_put_u64(writer, spec->timeout_usec);
        message_put_u64(writer, spec->output_max);
        message_put_u32(writer, which);
        put_list(writer, spec->argv);
        put_list(writer, spec->environment);
        put_text(writer, spec->user);
        put_text(writer, spec->group);
        put_text(writer, spec->directory);
        message_put_value(writer, unit);
        r = message_end(writer);
        if (r == -EMSGSIZE)
                return -E2BIG;
        return r < 0 ? r : message_flush_with(writer, fds, n);
}

/* As it is, but without a NUL in it. */
static char *get_text(MessageReader *reader) {
        size_t size;
        const char *text = message_get_text(reader, &size);

        if (!text || memchr(text, 0, size)) {
                reader->bad = true;
                return NULL;
        }
        return strndup(text, size);
}

/* "" is NULL. */
static int get_optional(MessageReader *reader, char **ret) {
        char *text = get_text(reader);

        if (!text)
                return reader->bad ? -EBADMSG : -ENOMEM;
        if (*text)
                *ret = text;
        else
                free(text);
        return 0;
}

static int get_list(MessageReader *reader, char ***ret) {
        uint32_t n = message_get_u32(reader);
        char **list;

        if (reader->bad || n > COMMAND_ARGUMENTS_MAX || !message_has(reader, n * sizeof(uint32_t)))
                return -EBADMSG;
        list = *ret = calloc(n + 1, sizeof(char *));
        if (!list)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                list[i] = get_text(reader);
                if (!list[i])
                        return reader->bad ? -EBADMSG : -ENOMEM;
        }
        return 0;
}

static void list_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
}

ReceivedCommand *received_command_free(ReceivedCommand *received) {
        if (!received)
                return NULL;
        list_free(received->argv);
        list_free(received->environment);
        free(received->user);
        free(received->group);
        free(received->directory);
        json_decref(received->unit);
        free(received);
        return NULL;
}

int command_message_read(MessageReader *reader, const int *fds, size_t n_fds, ReceivedCommand **ret) {
        _cleanup_(received_command_freep) ReceivedCommand *received = calloc(1, sizeof(*received));
        CommandSpec *spec;
        uint64_t output_max;
        uint32_t which;
        size_t n = 0;
        int r;

        if (!received)
                return -ENOMEM;
        spec = &received->spec;
        received->state = message_get_u32(reader);
        spec->flags = message_get_u32(reader);
        spec->umask = message_get_u32(reader);
        spec->timeout_usec = message_get_u64(reader);
        output_max = message_get_u64(reader);
        which = message_get_u32(reader);
        if (reader->bad || output_max > SIZE_MAX || which & ~(FD_FIRST | FD_SECOND))
                return -EBADMSG;
        spec->output_max = output_max;
        spec->input_fd = which & FD_FIRST && n < n_fds ? fds[n++] : -EBADF;
        spec->output_fd = which & FD_SECOND && n < n_fds ? fds[n++] : -EBADF;
        if (n != n_fds || (which & FD_FIRST && spec->input_fd < 0) ||
                (which & FD_SECOND && spec->output_fd < 0))
                return -EBADMSG;

        r = get_list(reader, &received->argv);
        if (r >= 0)
                r = get_list(reader, &received->environment);
        if (r >= 0)
                r = get_optional(reader, &received->user);
        if (r >= 0)
                r = get_optional(reader, &received->group);
        if (r >= 0)
                r = get_optional(reader, &received->directory);
        if (r < 0)
                return r;
        received->unit = message_get_value(reader);
        if (!received->unit)
                return -EBADMSG;
        if (!json_is_object(received->unit) && !json_is_null(received->unit))
                return -EBADMSG;
        spec->argv = (const char *const *) received->argv;
        spec->environment = (const char *const *) received->environment;
        spec->user = received->user;
        spec->group = received->group;
        spec->directory = received->directory;
        spec->unit = json_is_object(received->unit) ? received->unit : NULL;
        *ret = TAKE_PTR(received);
        return 0;
}

/* ---- A result ----------------------------------------------------------------------------------------------------- */

static int make_file(const char *name, const char *data, size_t size) {
        _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = write_full(fd, data, size);
        return r < 0 ? r : TAKE_FD(fd);
}

int command_result_send(MessageWriter *writer, int error, const CommandResult *result) {
        static const CommandResult nothing = { .output = "", .errors = "", .explanation = "" };
        _cleanup_close_ int output = -EBADF, errors = -EBADF;
        uint32_t which = 0;
        int fds[2], r;
        size_t n = 0;

        result = result ?: &nothing;
        if (result->output_size > COMMAND_INLINE_MAX) {
                output = make_file("command-output", result->output, result->output_size);
                if (output < 0)
                        return output;
                which |= FD_FIRST;
                fds[n++] = output;
        }
        if (result->errors_size > COMMAND_INLINE_MAX) {
                errors = make_file("command-errors", result->errors, result->errors_size);
                if (errors < 0)
                        return errors;
                which |= FD_SECOND;
                fds[n++] = errors;
        }

        message_begin(writer, MESSAGE_COMMAND_DONE);
        message_put_u32(writer, (uint32_t) -error);
        message_put_u32(writer, result->end);
        message_put_u32(writer, (uint32_t) result->code);
        message_put_u32(writer, (uint32_t) result->status);
        message_put_u32(writer, result->truncated);
        message_put_u64(writer, result->duration_usec);
        message_put_u64(writer, result->cpu_usec);
        message_put_u64(writer, result->memory_max_bytes);
        message_put_string(writer, result->explanation);
        message_put_u32(writer, which);
        message_put_text(
                writer, result->output, which & FD_FIRST ? 0 : result->output_size, COMMAND_INLINE_MAX);
        message_put_text(
                writer, result->errors, which & FD_SECOND ? 0 : result->errors_size, COMMAND_INLINE_MAX);
        r = message_end(writer);
        return r < 0 ? r : message_flush_with(writer, fds, n);
}

ReceivedResult *received_result_free(ReceivedResult *received) {
        if (!received)
                return NULL;
        free(received->output);
        free(received->errors);
        free(received->explanation);
        free(received);
        return NULL;
}

/* The text, or the content of the file; with a NUL behind it. */
static int get_data(MessageReader *reader, int fd, char **ret, size_t *ret_size) {
        size_t size;
        const char *text = message_get_text(reader, &size);
        struct stat st;
        char *data;

        if (!text)
                return -EBADMSG;
        if (fd >= 0) {
                if (fstat(fd, &st) < 0)
                        return -errno;
                if (!S_ISREG(st.st_mode) || st.st_size < 0 || (size_t) st.st_size > COMMAND_OUTPUT_MAX)
                        return -EBADMSG;
                size = (size_t) st.st_size;
        }
        data = *ret = malloc(size + 1);
        if (!data)
                return -ENOMEM;
        if (fd < 0)
                memcpy(data, text, size);
        for (size_t done = 0; fd >= 0 && done < size;) {
                ssize_t n = pread(fd, data + done, size - done, (off_t) done);

                if (n <= 0)
                        return n < 0 ? -errno : -EBADMSG;
                done += (size_t) n;
        }
        data[size] = 0;
        *ret_size = size;
        return 0;
}

int command_result_read(MessageReader *reader, int *fds, size_t n_fds, ReceivedResult **ret) {
        _cleanup_(received_result_freep) ReceivedResult *received = calloc(1, sizeof(*received));
        _cleanup_close_ int output = -EBADF, errors = -EBADF;
        CommandResult *result;
        uint32_t error, end, which;
        size_t n = 0;
        int r;

        if (!received) {
                while (n_fds > 0)
                        safe_close(fds[--n_fds]);
                return -ENOMEM;
        }
        result = &received->result;
        error = message_get_u32(reader);
        end = message_get_u32(reader);
        result->code = (int) message_get_u32(reader);
        result->status = (int) message_get_u32(reader);
        result->truncated = message_get_u32(reader);
        result->duration_usec = message_get_u64(reader);
        result->cpu_usec = message_get_u64(reader);
        result->memory_max_bytes = message_get_u64(reader);
        received->explanation = message_get_string(reader);
        which = message_get_u32(reader);
        if (which & FD_FIRST && n < n_fds)
                output = fds[n++];
        if (which & FD_SECOND && n < n_fds)
                errors = fds[n++];
        if (reader->bad || n < n_fds || error > 4095 || end > AGENTD_COMMAND_NOT_RUN) {
                while (n < n_fds)
                        safe_close(fds[n++]);
                return -EBADMSG;
        }
        r = get_data(reader, output, &received->output, &result->output_size);
        if (r >= 0)
                r = get_data(reader, errors, &received->errors, &result->errors_size);
        if (r < 0)
                return r;
        received->error = -(int) error;
        result->end = (AgentdCommandEnd) end;
        result->output = received->output;
        result->errors = received->errors;
        result->explanation = received->explanation ?: "";
        *ret = TAKE_PTR(received);
        return 0;
}
