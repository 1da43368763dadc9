/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the journal has of a unit: its own last words, and what systemd says of it. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-journal.h>
#include <systemd/sd-messages.h>
#include <time.h>
#include <unistd.h>

#include "explain.h"

#define ENTRIES 5000
/* Of a unit's own entries, from the last one on: some have nothing to say. */
#define OWN_ENTRIES 50

/* Later than anything that is told here. */
#define FUTURE_USEC (UINT64_C(1000000) * 86400 * 365)

/* Its last words may be on their way to the journal. Where many units fail, those of the first ones are waited for. */
#define WAIT_USEC  UINT64_C(300000)
#define WAITS_USEC (4 * WAIT_USEC)
/* So long journald may take to write what it has, for all of them together. */
#define SYNCS_USEC UINT64_C(6000000)
/* Of what is surely on its way. */
#define LONG_WAIT_USEC  UINT64_C(3000000)
#define LONG_WAITS_USEC (2 * LONG_WAIT_USEC)

typedef struct Reading {
        sd_journal *journal;
        uint64_t wait_usec; /* so long may still be waited for more … */
        uint64_t *patience; /* … which is taken from this */
        unsigned n;         /* entries that were read */
} Reading;

static uint64_t patience_usec = WAITS_USEC, long_patience_usec = LONG_WAITS_USEC;
static uint64_t until_usec = UINT64_MAX;

static uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static uint64_t least(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

void journal_wait_until(uint64_t usec) {
        until_usec = usec;
}

/* What of it there still is. */
static uint64_t at_most(uint64_t usec) {
        uint64_t now = now_usec();

        return until_usec > now ? least(usec, until_usec - now) : 0;
}

/* ---- What is still on its way ---------------------------------------------------------------------------------- */

/* Asks journald to write all that it was told, and waits for its answer. Return: whether it has. */
static bool ask_to_sync(int fd, uint64_t usec) {
        static const char request[] = "{\"method\":\"io.systemd.Journal.Synchronize\"}";
        const struct sockaddr_un address = { .sun_family = AF_UNIX,
                .sun_path = "/run/systemd/journal/io.systemd.journal" };
        uint64_t until = now_usec() + usec, now;
        char answer[4096];

        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
                send(fd, request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
                return false;
        while ((now = now_usec()) < until) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                ssize_t n;

                if (poll(&p, 1, (int) ((until - now) / 1000) + 1) < 0 && errno != EINTR)
                        return false;
                n = recv(fd, answer, sizeof(answer) - 1, 0);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        continue;
                if (n <= 0)
                        return false;
                answer[n] = '\0';
                return !strstr(answer, "\"error\"");
        }
        return false;
}

bool journal_sync(uint64_t max_usec) {
        /* It writes to the disk for that: not for each of many. */
        static uint64_t left_usec = SYNCS_USEC;
        uint64_t begun = now_usec(), took;
        bool done;
        int fd;

        max_usec = at_most(least(left_usec, max_usec));
        if (max_usec == 0)
                return false;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return false;
        done = ask_to_sync(fd, max_usec);
        (void) close(fd);
        took = now_usec() - begun;
        left_usec -= least(took, left_usec);
        return done;
}

/* ---- Reading --------------------------------------------------------------------------------------------------- */

static int begin_reading(
        Reading *reading, const char *unit, const uid_t *user, bool of_systemd, uint64_t since_usec) {
        char match[sizeof("_SYSTEMD_USER_UNIT=") + 256], by[32] = "_PID=1";
        int r;

        *reading = (Reading){ .patience = &patience_usec,
                .wait_usec = at_most(least(patience_usec, WAIT_USEC)) };
        if (user)
                (void) snprintf(by, sizeof(by), "_UID=%u", (unsigned) *user);
        (void) snprintf(match, sizeof(match), "%s=%.256s",
                of_systemd ? (user ? "USER_UNIT" : "UNIT") : (user ? "_SYSTEMD_USER_UNIT" : "_SYSTEMD_UNIT"),
                unit);
        r = sd_journal_open(&reading->journal, SD_JOURNAL_LOCAL_ONLY | (user ? 0 : SD_JOURNAL_SYSTEM));
        if (r < 0)
                return r;
        r = sd_journal_add_match(reading->journal, match, 0);
        if (r >= 0 && (of_systemd || user))
                r = sd_journal_add_match(reading->journal, by, 0);
        if (r >= 0)
                r = sd_journal_seek_realtime_usec(reading->journal, since_usec);
        if (r < 0)
                sd_journal_close(reading->journal);
        return r;
}

/* The next entry, which may be waited for. */
static bool read_next(Reading *reading, bool wait) {
        while (reading->n < ENTRIES) {
                uint64_t begun;
                int r = sd_journal_next(reading->journal);

                if (r > 0) {
                        reading->n++;
                        return true;
                }
                if (r < 0 || !wait || reading->wait_usec == 0)
                        return false;
                /* What others write ends a wait as well. */
                begun = now_usec();
                r = sd_journal_wait(reading->journal, reading->wait_usec);
                begun = now_usec() - begun;
                reading->wait_usec -= least(begun, reading->wait_usec);
                *reading->patience -= least(begun, *reading->patience);
                if (r < 0)
                        return false;
        }
        return false;
}

static bool get_field(sd_journal *journal, const char *field, char *ret, size_t size) {
        const void *data;
        size_t length, skip = strlen(field) + 1;

        if (sd_journal_get_data(journal, field, &data, &length) < 0 || length < skip)
                return false;
        length -= skip;
        if (length >= size) {
                length = size - 1;
                /* Not in the middle of a character. */
                while (length > 0 && (((const unsigned char *) data)[skip + length] & 0xc0) == 0x80)
                        length--;
        }
        memcpy(ret, (const char *) data + skip, length);
        ret[length] = '\0';
        for (char *p = ret; *p; p++)
                if ((unsigned char) *p < ' ')
                        *p = ' ';
        return true;
}

static void add_line(Lines *lines, const char *text) {
        (void) snprintf(lines->text[lines->n++ % EXPLAIN_LINES], EXPLAIN_LINE_BYTES + 1, "%s", text);
}

void journal_read_own(const char *unit, const uid_t *user, uint64_t since_usec, bool wait, Lines *lines) {
        char text[EXPLAIN_LINES][EXPLAIN_LINE_BYTES + 1];
        uint64_t usec;
        Reading reading;
        size_t n = 0;

        if (begin_reading(&reading, unit, user, false, since_usec) < 0)
                return;
        /* Then from the end on, however much there is. By time: the tail of the journal is no place to begin at with matches (252). */
        if (read_next(&reading, wait) &&
                sd_journal_seek_realtime_usec(reading.journal, since_usec + FUTURE_USEC) >= 0)
                for (unsigned i = 0; i < OWN_ENTRIES && n < EXPLAIN_LINES; i++) {
                        if (sd_journal_previous(reading.journal) <= 0 ||
                                sd_journal_get_realtime_usec(reading.journal, &usec) < 0 ||
                                usec < since_usec)
                                break;
                        if (get_field(reading.journal, "MESSAGE", text[n], sizeof(text[n])) && *text[n])
                                n++;
                }
        while (n > 0)
                add_line(lines, text[--n]);
        sd_journal_close(reading.journal);
}

static void note_end(sd_journal *journal, UnitSaid *said) {
        char code[16], status[16];

        /* What failed first is the reason for the others. */
        if (said->has_exit || !get_field(journal, "EXIT_CODE", code, sizeof(code)) ||
                !get_field(journal, "EXIT_STATUS", status, sizeof(status)))
                return;
        said->has_exit = true;
        said->by_signal = strcmp(code, "exited") != 0;
        said->status = (int) strtol(status, NULL, 10);
        (void) get_field(journal, "COMMAND", said->command, sizeof(said->command));
}

/* What it says on the way, of any unit that fails. Return: it is nothing but that. */
static bool note_event(sd_journal *journal, UnitSaid *said) {
        static const char *const usual[] = { SD_MESSAGE_UNIT_FAILURE_RESULT_STR,
                SD_MESSAGE_UNIT_RESTART_SCHEDULED_STR, SD_MESSAGE_UNIT_RESOURCES_STR };
        char id[SD_ID128_STRING_MAX], result[32];

        if (!get_field(journal, "MESSAGE_ID", id, sizeof(id)))
                return false;
        if (strcmp(id, SD_MESSAGE_UNIT_PROCESS_EXIT_STR) == 0) {
                note_end(journal, said);
                return true;
        }
        if (strcmp(id, SD_MESSAGE_UNIT_SUCCESS_STR) == 0)
                return said->has_ended = true;
        if (strcmp(id, SD_MESSAGE_UNIT_SKIPPED_STR) == 0)
                return said->is_skipped = get_field(journal, "UNIT_RESULT", result, sizeof(result)) &&
                                          strcmp(result, "exec-condition") == 0;
        for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
                if (strcmp(id, usual[i]) == 0)
                        return true;
        return false;
}

void journal_read_systemd(
        const char *unit, const uid_t *user, uint64_t since_usec, unsigned flags, UnitSaid *said) {
        char text[EXPLAIN_LINE_BYTES + 1], prefix[256 + 3];
        Reading reading;
        size_t length;

        if (begin_reading(&reading, unit, user, true, since_usec) < 0)
                return;
        length = (size_t) snprintf(prefix, sizeof(prefix), "%.256s: ", unit);
        if (flags & JOURNAL_PATIENT) {
                reading.patience = &long_patience_usec;
                reading.wait_usec = at_most(least(long_patience_usec, LONG_WAIT_USEC));
        }
        while (read_next(&reading, flags & JOURNAL_WAIT && !said->has_exit && !said->has_ended &&
                                           !said->is_skipped && !*said->reason)) {
                if (note_event(reading.journal, said) ||
                        !get_field(reading.journal, "MESSAGE", text, sizeof(text)))
                        continue;
                /* The first thing that it says of the unit is the reason; what follows is what comes of it. */
                if (*said->reason)
                        continue;
                if (strstr(text, " was skipped because "))
                        (void) snprintf(said->reason, sizeof(said->reason), "%s", text);
                else if (strncmp(text, prefix, length) == 0)
                        (void) snprintf(said->reason, sizeof(said->reason), "%s", text + length);
        }
        sd_journal_close(reading.journal);
}

static bool has_line(const Lines *lines, const char *text) {
        for (size_t i = 0; i < lines->n && i < EXPLAIN_LINES; i++)
                if (strcmp(lines->text[i], text) == 0)
                        return true;
        return false;
}

void journal_read_complaints(
        const char *unit, const uid_t *user, uint64_t since_usec, bool wait, Lines *lines) {
        char text[EXPLAIN_LINE_BYTES + 1], id[SD_ID128_STRING_MAX], prefix[256 + 3];
        Reading reading;
        size_t length;

        if (begin_reading(&reading, unit, user, true, since_usec) < 0)
                return;
        if (wait) {
                reading.patience = &long_patience_usec;
                reading.wait_usec = at_most(least(long_patience_usec, LONG_WAIT_USEC));
        }
        length = (size_t) snprintf(prefix, sizeof(prefix), "%.256s: ", unit);
        /* What it says again each time that it reads the file is said once. */
        while (read_next(&reading, wait && lines->n == 0)) {
                const char *line = text;

                if (get_field(reading.journal, "MESSAGE_ID", id, sizeof(id)) ||
                        !get_field(reading.journal, "MESSAGE", text, sizeof(text)))
                        continue;
                if (strncmp(line, prefix, length) == 0)
                        line += length;
                if (!has_line(lines, line))
                        add_line(lines, line);
        }
        sd_journal_close(reading.journal);
}
