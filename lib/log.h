/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/*
 * Log messages: to the journal, with fields, when standard error is connected to it or when asked; otherwise as plain
 * lines on standard error, "NAME: warning: MESSAGE" (the level's word only for warnings and errors, in colour on a
 * terminal unless NO_COLOR is set).
 *
 * Levels are those of syslog(3): error: someone must act; warning: degraded but running; notice: state the operator
 * wants; info: a change made to the host; debug: for developers.
 *
 * One message is one line of UTF-8: control characters and bytes that are not UTF-8 become '?', and what exceeds
 * LOG_MESSAGE_MAX bytes is cut. Every call leaves errno as it was. A message that cannot be delivered is dropped.
 *
 * Blocking: standard error that takes no data is waited for for LOG_STDERR_WAIT_MSEC, and not waited for again until
 * it took a line; so is a journald that does not read (log-journal.h). A journald that is gone fails at once. What the
 * journal does not take goes to standard error.
 *
 * After fork() everything here goes on working. A child that closes descriptors which are not its own must call
 * log_open_journal(false) first: the connection to the journal may be among them.
 */

#define LOG_MESSAGE_MAX      2048 /* bytes, with the terminating NUL */
#define LOG_FIELDS_MAX       16
#define LOG_STDERR_WAIT_MSEC 1000

/* A field of a journal entry. Source for valid names: systemd.journal-fields(7); upper case, digits and '_', not
 * beginning with '_'. A NULL value leaves the field out. The value may hold anything but NUL. */
typedef struct LogField {
        const char *name;
        const char *value;
} LogField;

/* Messages above this level (LOG_ERR … LOG_DEBUG) are dropped; LOG_INFO if never called. */
void log_set_max_level(int level);
int log_get_max_level(void);

/* What stands before each line and in SYSLOG_IDENTIFIER; not copied. The program's name if never called. */
void log_set_identifier(const char *identifier);

/* True: to the journal, whatever standard error is. False: to standard error. If never called, the first message finds
 * out: to the journal if $JOURNAL_STREAM (systemd.exec(5)) names the device and inode of standard error. */
void log_open_journal(bool journal);

/* "error", "warning", "notice", "info", "debug" (and "err"). Return: 0; -EINVAL. */
int log_level_from_string(const char *name, int *ret);
const char *log_level_to_string(int level);

/*
 * log_fields() - logs with fields for the journal; on standard error only the message shows
 * @level:    LOG_ERR … LOG_DEBUG
 * @fields:   what goes with the message, e.g. { { "MESSAGE_ID", "…" }, { "AGENTD_RUN", run } }
 * @n_fields: 0 … LOG_FIELDS_MAX, what is beyond is left out
 */
#define log_fields(level, fields, n_fields, ...) \
        ((void) log_internal((level), 0, __FILE__, __LINE__, __func__, (fields), (n_fields), __VA_ARGS__))

/*
 * log_event() - the same for a record of what happened: it goes to the journal whatever standard error is and whatever
 * level was set, and nowhere else
 *
 * Return: 0; -errno if there is no journal, or it does not take the entry.
 */
#define log_event(level, fields, n_fields, ...) \
        log_event_internal((level), __FILE__, __LINE__, __func__, (fields), (n_fields), __VA_ARGS__)

/* Logs with errno set to the error, positive or negative, so that %m works. Yields -|error|. */
#define log_full_errno(level, error, ...)                                                              \
        (log_get_max_level() >= (level) ? log_internal((level), (error), __FILE__, __LINE__, __func__, \
                                                  NULL, 0, __VA_ARGS__)                                \
                                        : log_negative(error))

#define log_full(level, ...) ((void) log_full_errno((level), 0, __VA_ARGS__))

#define log_error(...)   log_full(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_full(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_full(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_full(LOG_DEBUG, __VA_ARGS__)

#define log_error_errno(error, ...)   log_full_errno(LOG_ERR, (error), __VA_ARGS__)
#define log_warning_errno(error, ...) log_full_errno(LOG_WARNING, (error), __VA_ARGS__)
#define log_notice_errno(error, ...)  log_full_errno(LOG_NOTICE, (error), __VA_ARGS__)
#define log_info_errno(error, ...)    log_full_errno(LOG_INFO, (error), __VA_ARGS__)
#define log_debug_errno(error, ...)   log_full_errno(LOG_DEBUG, (error), __VA_ARGS__)

/* There is nothing to say but this. */
#define log_oom() log_error_errno(-ENOMEM, "Out of memory")

static inline int log_negative(int error) {
        return error > 0 ? -error : error;
}

/* For the macros. */
int log_internal(int level, int error, const char *file, int line, const char *function,
        const LogField *fields, size_t n_fields, const char *format, ...)
        __attribute__((format(printf, 8, 9)));
int log_event_internal(int level, const char *file, int line, const char *function, const LogField *fields,
        size_t n_fields, const char *format, ...) __attribute__((format(printf, 7, 8)));
