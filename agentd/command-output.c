/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What commands say: kept for whoever wanted them, and line by line in the journal. */

#include <assert.h>
#include <inttypes.h>
#include <syslog.h>
#include <time.h>

#include "command-internal.h"
#include "log-journal.h"

/* Of one pipe, before others get their turn. */
#define READ_BURST 8

/* ---- The journal ------------------------------------------------------------------------------------------------ */

typedef struct Entry {
        struct iovec fields[10];
        char texts[10][512];
        size_t n;
} Entry;

static void put(Entry *entry, const char *name, const char *value) {
        char *text = entry->texts[entry->n];
        int n;

        if (!value)
                return;
        n = snprintf(text, sizeof(entry->texts[0]), "%s=%s", name, value);
        if (n < 0 || (size_t) n >= sizeof(entry->texts[0]))
                return; /* a state's id may be that long; cut it would lead astray */
        entry->fields[entry->n++] = (struct iovec){ .iov_base = text, .iov_len = (size_t) n };
}

static void send_line(const Command *command, int level, const char *line, size_t size) {
        _cleanup_free_ char *clean = utf8_make_valid(line, size, &size), *message = NULL;
        char run[32], priority[] = { (char) ('0' + level), 0 };
        Entry entry = {};
        int n;

        if (!clean)
                return;
        for (size_t i = 0; i < size; i++)
                if (((unsigned char) clean[i] < ' ' && clean[i] != '\t') || clean[i] == 0x7f)
                        clean[i] = '?';
        n = asprintf(&message, "MESSAGE=%.*s", (int) size, clean);
        if (n < 0)
                return;
        (void) snprintf(run, sizeof(run), "%" PRId64, command->run);
        put(&entry, "PRIORITY", priority);
        put(&entry, "SYSLOG_IDENTIFIER", command->program);
        put(&entry, "AGENTD_RUN", command->run > 0 ? run : NULL);
        put(&entry, "AGENTD_STATE", command->state);
        put(&entry, "AGENTD_ROLE", command->role);
        put(&entry, "AGENTD_COMMAND", command->id);
        /* So that `journalctl -u` shows it. Source: systemd.journal-fields(7). */
        put(&entry, "OBJECT_SYSTEMD_UNIT", command->unit_name);
        entry.fields[entry.n++] = (struct iovec){ .iov_base = message, .iov_len = (size_t) n };
        (void) journal_send(entry.fields, entry.n);
}

static bool may_log(Command *command) {
        usec_t now;

        if (command->flags & (COMMAND_QUIET | COMMAND_SECRET))
                return false;
        if (command->log_left == 0) {
                now = now_usec(CLOCK_MONOTONIC);
                command->log_left =
                        (unsigned) MIN((now - command->log_usec) * COMMAND_LOG_PER_SEC / USEC_PER_SEC,
                                (usec_t) COMMAND_LOG_BURST);
                if (command->log_left > 0)
                        command->log_usec = now;
        }
        if (command->log_left == 0) {
                command->n_unlogged++;
                return false;
        }
        command->log_left--;
        return true;
}

void command_log_unlogged(Command *command) {
        char text[128];
        int n;

        if (command->n_unlogged == 0)
                return;
        n = snprintf(text, sizeof(text), "%u more lines were not logged, as they came too fast",
                command->n_unlogged);
        command->n_unlogged = 0;
        send_line(command, LOG_WARNING, text, (size_t) n);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------ */

static bool is_blank(const char *text, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
                        return false;
        return true;
}

static void end_line(CommandStream *stream) {
        size_t size = stream->line_used;

        stream->line_used = 0;
        stream->line_cut = false;
        if (size > 0 && stream->line[size - 1] == '\r')
                size--;
        if (is_blank(stream->line, size))
                return;
        if (stream->errors) {
                size_t n = MIN(size, sizeof(stream->last) - 1);

                memcpy(stream->last, stream->line, n);
                stream->last[n] = 0;
        }
        if (may_log(stream->command))
                send_line(stream->command, stream->errors ? LOG_NOTICE : LOG_INFO, stream->line, size);
}

static void take_lines(CommandStream *stream, const char *data, size_t size) {
        while (size > 0) {
                const char *end = memchr(data, '\n', size);
                size_t n = end ? (size_t) (end - data) : size;
                size_t room = sizeof(stream->line) - stream->line_used, part = MIN(n, room);

                memcpy(stream->line + stream->line_used, data, part);
                stream->line_used += part;
                if (part < n && !stream->line_cut) {
                        static const char ellipsis[] = "…";

                        memcpy(stream->line + sizeof(stream->line) - strlen(ellipsis), ellipsis,
                                strlen(ellipsis));
                        stream->line_cut = true;
                }
                if (!end)
                        return;
                end_line(stream);
                data += n + 1;
                size -= n + 1;
        }
}

static void keep(CommandStream *stream, const char *data, size_t size) {
        size_t max = stream->command->output_max, n = MIN(size, max - stream->used);

        if (n < size)
                stream->truncated = true;
        if (n == 0)
                return;
        if (stream->used + n + 1 > stream->allocated) {
                size_t wanted = MAX(2 * stream->allocated, stream->used + n + 1);
                char *more;

                wanted = MIN(wanted, max + 1);
                more = realloc(stream->data, wanted);
                if (!more) {
                        stream->truncated = true;
                        return;
                }
                stream->data = more;
                stream->allocated = wanted;
        }
        memcpy(stream->data + stream->used, data, n);
        stream->used += n;
        stream->data[stream->used] = 0;
}

/* ---- The pipe --------------------------------------------------------------------------------------------------- */

static void close_stream(CommandStream *stream) {
        stream->io = sd_event_source_disable_unref(stream->io);
        stream->fd = safe_close(stream->fd);
}

/* Return: 1 something was read; 0 nothing for now, or ever. */
static int read_some(CommandStream *stream) {
        static char buffer[KIB(64)];
        ssize_t n;

        if (stream->fd < 0)
                return 0;
        n = read(stream->fd, buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR)
                return 1;
        if (n < 0 && errno == EAGAIN)
                return 0;
        if (n <= 0) {
                close_stream(stream);
                return 0;
        }
        keep(stream, buffer, (size_t) n);
        take_lines(stream, buffer, (size_t) n);
        return 1;
}

static int on_stream_io(
        _unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata) {
        CommandStream *stream = userdata;

        for (unsigned i = 0; i < READ_BURST; i++)
                if (read_some(stream) == 0)
                        break;
        return 0;
}

int command_stream_open(CommandStream *stream, Command *command, int fd, bool errors) {
        *stream = (CommandStream){ .command = command, .fd = fd, .errors = errors };
        return fd < 0 ? 0
                      : sd_event_add_io(
                                command->commands->event, &stream->io, fd, EPOLLIN, on_stream_io, stream);
}

int command_stream_open_paused(CommandStream *stream, Command *command, int fd, bool errors) {
        int r;

        r = command_stream_open(stream, command, fd, errors);
        return r < 0 || fd < 0 ? r : sd_event_source_set_enabled(stream->io, SD_EVENT_OFF);
}

void command_stream_resume(CommandStream *stream) {
        if (stream->io)
                (void) sd_event_source_set_enabled(stream->io, SD_EVENT_ON);
}

void command_stream_finish(CommandStream *stream) {
        /* A pipe holds no more than what was written before its end. Somebody may still write to it, who is not waited for. */
        for (unsigned i = 0; i < 64; i++)
                if (read_some(stream) == 0)
                        break;
        if (stream->line_used > 0)
                end_line(stream);
        if (stream->fd >= 0)
                close_stream(stream);
}

void command_stream_done(CommandStream *stream) {
        if (!stream->command)
                return;
        close_stream(stream);
        free(stream->data);
}
