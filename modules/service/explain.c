/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Why a unit is not as it should be, in one line for people: what systemd says, and what the unit itself has said last. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-journal.h>

#include "service.h"

/* Of what it has written: lines that are told, bytes of each, and entries that are looked at for them. */
#define LINES      3
#define LINE_BYTES 200
#define ENTRIES    5000
/* Its last words may be on their way to the journal. Where many units fail, those of the first ones are waited for. */
#define WAIT_USEC UINT64_C(300000)
#define WAITS     4

typedef struct Lines {
        char text[LINES][LINE_BYTES + 1];
        size_t n; /* ever */
} Lines;

static bool read_message(sd_journal *journal, Lines *lines) {
        char *line = lines->text[lines->n % LINES];
        const void *data;
        size_t size, skip = strlen("MESSAGE=");

        if (sd_journal_get_data(journal, "MESSAGE", &data, &size) < 0 || size <= skip)
                return false;
        size -= skip;
        if (size > LINE_BYTES)
                size = LINE_BYTES;
        memcpy(line, (const char *) data + skip, size);
        line[size] = '\0';
        for (char *p = line; *p; p++)
                if ((unsigned char) *p < ' ')
                        *p = ' ';
        lines->n++;
        return true;
}

/* What the unit's own processes wrote; or, of_systemd, what PID 1 has to say of it, which begins with its name. */
static void read_lines(
        const char *unit, const uid_t *user, bool of_systemd, uint64_t since_usec, Lines *lines) {
        static unsigned waits = WAITS;
        char match[sizeof("_SYSTEMD_USER_UNIT=") + 256], prefix[256 + 3], by[32] = "_PID=1";
        sd_journal *journal = NULL;

        if (user)
                (void) snprintf(by, sizeof(by), "_UID=%u", (unsigned) *user);
        (void) snprintf(match, sizeof(match), "%s=%s",
                of_systemd ? (user ? "USER_UNIT" : "UNIT") : (user ? "_SYSTEMD_USER_UNIT" : "_SYSTEMD_UNIT"),
                unit);
        (void) snprintf(prefix, sizeof(prefix), "%s: ", unit);
        if (sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | (user ? 0 : SD_JOURNAL_SYSTEM)) < 0)
                return;
        if (sd_journal_add_match(journal, match, 0) >= 0 &&
                ((!of_systemd && !user) || sd_journal_add_match(journal, by, 0) >= 0) &&
                sd_journal_seek_realtime_usec(journal, since_usec) >= 0)
                for (unsigned i = 0; i < ENTRIES; i++) {
                        int r = sd_journal_next(journal);
                        const char *line;

                        if (r == 0 && lines->n == 0 && waits > 0) {
                                waits--;
                                if (sd_journal_wait(journal, WAIT_USEC) < 0)
                                        break;
                                continue;
                        }
                        if (r <= 0)
                                break;
                        if (!read_message(journal, lines) || !of_systemd)
                                continue;
                        /* The first thing that it says of the unit is the reason; what follows is what comes of it. */
                        line = lines->text[0];
                        if (strstr(line, " was skipped because "))
                                break;
                        if (strncmp(line, prefix, strlen(prefix)) == 0 &&
                                !strstr(line, "Failed with result") &&
                                !strstr(line, "Main process exited")) {
                                memmove(lines->text[0], line + strlen(prefix),
                                        strlen(line + strlen(prefix)) + 1);
                                break;
                        }
                        lines->n = 0;
                }
        sd_journal_close(journal);
}

static void describe(FILE *f, const UnitDetails *details) {
        if (*details->load_error)
                (void) fprintf(f, ": %s", details->load_error);
        else if (details->conditions_fail)
                (void) fputs(": its conditions do not hold; 'systemctl status' says which", f);
        else if (details->exit_code == CLD_EXITED && details->exit_status == 0 &&
                 strcmp(details->result, "success") == 0)
                (void) fputs(
                        ": it has run to its end; what is to stay active after that has RemainAfterExit=yes",
                        f);
        else if (details->exit_code == CLD_EXITED && details->exit_status != 0)
                (void) fprintf(f, ": its process exited with status %d", details->exit_status);
        else if (details->exit_code == CLD_KILLED || details->exit_code == CLD_DUMPED)
                (void) fprintf(
                        f, ": its process was killed by SIG%s", sigabbrev_np(details->exit_status) ?: "?");
        if (*details->result && strcmp(details->result, "success") != 0 &&
                strcmp(details->result, "exit-code") != 0 && strcmp(details->result, "signal") != 0)
                (void) fprintf(f, " (%s)", details->result);
        if (details->restarts > 0)
                (void) fprintf(f, ", and systemd has restarted it %u times", details->restarts);
}

static char *end(FILE *f, char **text) {
        if (fclose(f) == 0)
                return *text;
        free(*text);
        return NULL;
}

char *service_explain(
        Units *units, const char *unit, const uid_t *user, const char *begin, uint64_t since_usec) {
        UnitDetails details;
        const char *by = "it said";
        Lines lines = {};
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        (void) fputs(begin, f);
        if (units_get_details(units, unit, &details) >= 0) {
                describe(f, &details);
                if (details.conditions_fail)
                        return end(f, &text);
        }
        read_lines(unit, user, false, since_usec, &lines);
        if (lines.n == 0) {
                read_lines(unit, user, true, since_usec, &lines);
                by = "systemd says";
        }
        for (size_t first = lines.n > LINES ? lines.n - LINES : 0, i = first; i < lines.n; i++) {
                if (i == first)
                        (void) fprintf(f, "; %s: ", by);
                (void) fprintf(f, "%s%s", i > first ? " | " : "", lines.text[i % LINES]);
        }
        return end(f, &text);
}
