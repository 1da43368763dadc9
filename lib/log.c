/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "log-journal.h"
#include "log.h"
#include "util.h"

static int log_max_level = LOG_INFO;
static const char *log_identifier = NULL;
static enum { TARGET_UNKNOWN, TARGET_JOURNAL, TARGET_STDERR } log_target = TARGET_UNKNOWN;
static bool stderr_stuck = false;

void log_set_max_level(int level) {
        log_max_level = level;
}

int log_get_max_level(void) {
        return log_max_level;
}

void log_set_identifier(const char *identifier) {
        log_identifier = identifier;
}

void log_open_journal(bool journal) {
        log_target = journal ? TARGET_JOURNAL : TARGET_STDERR;
}

static const struct {
        const char *name;
        int level;
} levels[] = {
        { "error", LOG_ERR },
        { "warning", LOG_WARNING },
        { "notice", LOG_NOTICE },
        { "info", LOG_INFO },
        { "debug", LOG_DEBUG },
        { "err", LOG_ERR },
};

int log_level_from_string(const char *name, int *ret) {
        assert(name);
        assert(ret);

        FOREACH_ELEMENT(l, levels)
                if (streq(l->name, name)) {
                        *ret = l->level;
                        return 0;
                }
        return -EINVAL;
}

const char *log_level_to_string(int level) {
        FOREACH_ELEMENT(l, levels)
                if (l->level == level)
                        return l->name;
        return level < LOG_ERR ? "error" : "debug";
}

static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        uint64_t device, inode;
        struct stat st;
        char end;

        if (!stream || sscanf(stream, "%" SCNu64 ":%" SCNu64 "%c", &device, &inode, &end) != 2)
                return false;
        return fstat(STDERR_FILENO, &st) >= 0 && (uint64_t) st.st_dev == device &&
               (uint64_t) st.st_ino == inode;
}

/* Makes one line of UTF-8 out of n bytes, in place. C1 control characters go as well: some terminals obey them. */
static void clean_message(char *text, size_t n) {
        for (size_t i = 0; i < n;) {
                size_t good = i + utf8_valid_prefix(text + i, n - i);

                for (; i < good; i++) {
                        unsigned char c = (unsigned char) text[i], next = (unsigned char) text[i + 1];

                        if ((c < ' ' && c != '\t') || c == 0x7f)
                                text[i] = '?';
                        else if (c == 0xc2 && next >= 0x80 && next < 0xa0)
                                text[i] = text[i + 1] = '?';
                }
                if (i < n)
                        text[i++] = '?';
        }
}

/* Formats into buffer; what does not fit is cut between characters and ends in "…". */
_printf_(3, 0) static void format_message(char *buffer, size_t size, const char *format, va_list args) {
        static const char cut[] = "…";
        int n = vsnprintf(buffer, size, format, args);

        if (n < 0) {
                (void) snprintf(buffer, size, "(message cannot be formatted)");
                return;
        }
        if ((size_t) n >= size) {
                size_t end = size - sizeof(cut);

                while (end > 0 && ((unsigned char) buffer[end] & 0xc0) == 0x80)
                        end--;
                memcpy(buffer + end, cut, sizeof(cut));
                n = (int) (end + sizeof(cut) - 1);
        }
        clean_message(buffer, (size_t) n);
}

static void write_stderr(const char *line, size_t size) {
        struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
        ssize_t n;

        /* A line is shorter than PIPE_BUF: once there is room, write() neither blocks nor splits it. */
        if (poll(&p, 1, stderr_stuck ? 0 : LOG_STDERR_WAIT_MSEC) == 0) {
                stderr_stuck = true;
                return;
        }
        stderr_stuck = false;

        /* A socket whose other end is gone must not kill us by SIGPIPE. */
        n = send(STDERR_FILENO, line, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == ENOTSOCK)
                n = write(STDERR_FILENO, line, size);
        (void) n;
}

static bool stderr_has_colour(void) {
        const char *no_color, *term;

        /* Asked each time: standard error may have been replaced since. */
        if (!isatty(STDERR_FILENO))
                return false;
        no_color = getenv("NO_COLOR");
        term = getenv("TERM");
        return (!no_color || !*no_color) && term && !streq(term, "dumb");
}

static void log_to_stderr(int level, const char *identifier, const char *message) {
        char line[PIPE_BUF];
        const char *word = "", *on = "", *off = "";
        int n;

        if (level <= LOG_ERR)
                word = "error: ";
        else if (level == LOG_WARNING)
                word = "warning: ";

        if (level != LOG_INFO && level != LOG_NOTICE && stderr_has_colour()) {
                on = level <= LOG_ERR ? "\033[1;31m" : level == LOG_WARNING ? "\033[1;33m" : "\033[90m";
                off = "\033[0m";
        }

        /* Colour is on the word, or on the whole message where there is none. */
        n = snprintf(line, sizeof(line), "%.255s: %s%s%s%s%s\n", identifier, on, word, *word ? off : "",
                message, *word ? "" : off);
        if (n > 0)
                write_stderr(line, MIN((size_t) n, sizeof(line) - 1));
}

static int log_to_journal(int level, const char *identifier, const char *file, int line,
        const char *function, int error, const LogField *fields, size_t n_fields, const char *message) {
        struct iovec iov[LOG_FIELDS_MAX + 7];
        char *texts[ELEMENTSOF(iov)];
        size_t n = 0; /* short on memory, the entry goes out with fewer fields */
        int r;

#define ADD(...)                                                              \
        do {                                                                  \
                int length = asprintf(&texts[n], __VA_ARGS__);                \
                if (length >= 0) {                                            \
                        iov[n] = (struct iovec){ texts[n], (size_t) length }; \
                        n++;                                                  \
                }                                                             \
        } while (false)

        ADD("MESSAGE=%s", message);
        ADD("PRIORITY=%d", level);
        ADD("SYSLOG_IDENTIFIER=%s", identifier);
        ADD("CODE_FILE=%s", file);
        ADD("CODE_LINE=%d", line);
        ADD("CODE_FUNC=%s", function);
        if (error != 0)
                ADD("ERRNO=%d", abs(error));
        for (size_t i = 0; i < MIN(n_fields, (size_t) LOG_FIELDS_MAX); i++)
                if (fields[i].value)
                        ADD("%s=%s", fields[i].name, fields[i].value);
#undef ADD

        r = n > 0 ? journal_send(iov, n) : -ENOMEM;
        while (n > 0)
                free(texts[--n]);
        return r;
}

int log_event_internal(int level, const char *file, int line, const char *function, const LogField *fields,
        size_t n_fields, const char *format, ...) {
        const char *identifier = log_identifier ?: program_invocation_short_name;
        char message[LOG_MESSAGE_MAX];
        va_list args;

        assert(format);
        assert(fields || n_fields == 0);

        va_start(args, format);
        format_message(message, sizeof(message), format, args);
        va_end(args);
        return log_to_journal(level, identifier, file, line, function, 0, fields, n_fields, message);
}

int log_internal(int level, int error, const char *file, int line, const char *function,
        const LogField *fields, size_t n_fields, const char *format, ...) {
        const char *identifier = log_identifier ?: program_invocation_short_name;
        char message[LOG_MESSAGE_MAX];
        int saved = errno;
        va_list args;

        assert(format);
        assert(fields || n_fields == 0);

        if (level > log_max_level)
                return log_negative(error);

        errno = error != 0 ? abs(error) : saved;
        va_start(args, format);
        format_message(message, sizeof(message), format, args);
        va_end(args);

        if (log_target == TARGET_UNKNOWN)
                log_target = stderr_is_journal() ? TARGET_JOURNAL : TARGET_STDERR;
        if (log_target != TARGET_JOURNAL || log_to_journal(level, identifier, file, line, function, error,
                                                    fields, n_fields, message) < 0)
                log_to_stderr(level, identifier, message);

        errno = saved;
        return log_negative(error);
}
