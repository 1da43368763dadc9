/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Why a unit is not as it should be, in one line for people: what systemd says, and what the unit itself has said last. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "explain.h"
#include "service.h"

/* What requires what fails may be a chain. */
#define CULPRITS 8

/* How long journald may take to write what it has; and when there is no time any more. */
#define SYNC_USEC      UINT64_C(3000000)
#define SYNC_LATE_USEC UINT64_C(300000)

/* That is left of the time of a state for everything else. */
#define LATE_USEC UINT64_C(2000000)

static bool is(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* The command is named where it is not that of the unit itself. */
static void describe_exit(FILE *f, const char *command, bool by_signal, int status) {
        bool own = !*command || is(command, "n/a") || is(command, "ExecStart") || is(command, "ExecMount") ||
                   is(command, "ExecUnmount") || is(command, "ExecRemount") || is(command, "ExecActivate") ||
                   is(command, "ExecDeactivate");

        (void) fprintf(f, ": its %s%s", own ? "process" : command, own ? "" : "=");
        if (by_signal)
                (void) fprintf(f, " was killed by SIG%s", sigabbrev_np(status) ?: "?");
        else
                (void) fprintf(f, " exited with status %d", status);
}

/* What it is that a unit of its type had to do, and did not in time. */
static const char *unready(const UnitDetails *details) {
        return is(details->type, "notify")    ? "it has not said READY=1, as Type=notify has to"
               : is(details->type, "dbus")    ? "it has not taken its BusName=, as Type=dbus has to"
               : is(details->type, "forking") ? "its ExecStart= has not ended, or its PIDFile= is not "
                                                "there, as Type=forking wants it"
                                              : NULL;
}

static bool describe_result(FILE *f, const UnitDetails *details, bool stops) {
        const char *why = unready(details);

        if (is(details->result, "timeout")) {
                (void) fprintf(f, ": systemd's own time for it was over (%s=)",
                        stops ? "TimeoutStopSec" : "TimeoutStartSec");
                if (why && !stops)
                        (void) fprintf(f, "; %s", why);
                return true;
        }
        if (is(details->result, "protocol") && why) {
                (void) fprintf(f, ": it ended, and %s", why);
                return true;
        }
        return false;
}

static bool knows_exit(const UnitDetails *details) {
        return details->failed_usec > 0 || details->exit_code != 0;
}

static void describe(FILE *f, const char *unit, const UnitDetails *details, const UnitSaid *said,
        uint64_t since_usec, unsigned flags) {
        bool is_service = is(strrchr(unit, '.') ?: "", ".service");
        bool stops = flags & EXPLAIN_STOP;
        bool failed = *details->result && !is(details->result, "success");

        if (*details->load_error) {
                (void) fprintf(f, ": %s", details->load_error);
                return;
        }
        if (is(details->result, "exec-condition") || said->is_skipped) {
                (void) fputs(": its ExecCondition= says that it is not to be started", f);
                return;
        }
        if (describe_result(f, details, stops))
                ;
        /* What has failed before is not of interest; a reload that fails leaves the unit as it is. */
        else if (details->failed_usec >= since_usec && details->failed_usec > 0 &&
                 (failed || is(details->failed, "ExecReload")))
                describe_exit(
                        f, details->failed, details->failed_code != CLD_EXITED, details->failed_status);
        else if (details->exit_code == CLD_EXITED && details->exit_status != 0)
                describe_exit(f, "", false, details->exit_status);
        else if (details->exit_code == CLD_KILLED || details->exit_code == CLD_DUMPED)
                describe_exit(f, "", true, details->exit_status);
        else if (said->has_exit)
                /* systemd has forgotten it, as it has started it again, or does without the unit now. */
                describe_exit(f, said->command, said->by_signal, said->status);
        else if (!failed && !stops && is_service &&
                 (said->has_ended || (details->exit_code == CLD_EXITED && details->exit_status == 0)))
                (void) fputs(
                        ": it has run to its end; what is to stay active after that has RemainAfterExit=yes",
                        f);
        else if ((flags & EXPLAIN_LATE) && !stops && unready(details))
                (void) fprintf(f, ": %s", unready(details));
        if (failed && !is(details->result, "exit-code") && !is(details->result, "signal"))
                (void) fprintf(f, " (%s)", details->result);
        if (details->restarts > 0)
                (void) fprintf(f, ", and systemd has restarted it %u time%s", details->restarts,
                        details->restarts > 1 ? "s" : "");
}

static void tell_lines(FILE *f, const char *by, const Lines *lines) {
        for (size_t first = lines->n > EXPLAIN_LINES ? lines->n - EXPLAIN_LINES : 0, i = first; i < lines->n;
                i++) {
                if (i == first)
                        (void) fprintf(f, "; %s: ", by);
                (void) fprintf(f, "%s%s", i > first ? " | " : "", lines->text[i % EXPLAIN_LINES]);
        }
}

static char *end(FILE *f, char **text) {
        if (fclose(f) == 0)
                return *text;
        free(*text);
        return NULL;
}

void service_explain_in_time(AgentdContext *context, size_t i) {
        uint64_t end = agentd_deadline(context, i), now, left;
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        now = (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
        left = end > now ? end - now : 0;
        journal_wait_until(end == UINT64_MAX      ? end
                           : left > 2 * LATE_USEC ? end - LATE_USEC
                                                  : now + left / 2);
}

char *service_explain(Units *units, const char *unit, const uid_t *user, const char *begin,
        uint64_t since_usec, unsigned flags) {
        UnitDetails details = {};
        UnitSaid said = {};
        Lines lines = {};
        bool forgotten, synced;
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        (void) fputs(begin, f);
        /* Of what has run to its end systemd may know nothing any more; by the time that the journal tells of that, it has all of it. */
        synced = journal_sync(flags & EXPLAIN_LATE ? SYNC_LATE_USEC : SYNC_USEC);
        forgotten = units_get_details(units, unit, &details) < 0 && !(flags & EXPLAIN_LATE);
        if (forgotten)
                journal_read_systemd(
                        unit, user, since_usec, synced ? 0 : JOURNAL_WAIT | JOURNAL_PATIENT, &said);
        else if (details.conditions_fail) {
                (void) fputs(": its conditions do not hold; 'systemctl status' says which", f);
                return end(f, &text);
        }
        journal_read_own(unit, user, since_usec, !synced, &lines);
        if (!forgotten && (lines.n == 0 || !knows_exit(&details)))
                journal_read_systemd(unit, user, since_usec, synced ? 0 : JOURNAL_WAIT, &said);
        describe(f, unit, &details, &said, since_usec, flags);
        if (lines.n > 0)
                tell_lines(f, "it said", &lines);
        else if (*said.reason)
                (void) fprintf(f, "; systemd says: %s", said.reason);
        return end(f, &text);
}

char *service_explain_dependency(
        Units *units, const char *unit, const uid_t *user, const char *begin, uint64_t since_usec) {
        UnitStatus culprit = {}, next;
        char text[700];

        /* What it requires may itself have to wait for something that failed. */
        for (unsigned i = 0;
                i < CULPRITS && units_find_culprit(units, i == 0 ? unit : culprit.id, &next) > 0; i++) {
                culprit = next;
                if (culprit.active == UNIT_FAILED)
                        break;
        }
        if (!*culprit.id) {
                (void) snprintf(text, sizeof(text), "%s, since something that it requires failed", begin);
                return service_explain(units, unit, user, text, since_usec, 0);
        }
        (void) snprintf(text, sizeof(text), "%s, since '%s', which it requires, %s", begin, culprit.id,
                culprit.active == UNIT_FAILED ? "failed" : "is not active");
        return service_explain(units, culprit.id, user, text, since_usec, 0);
}

char *service_explain_refusal(
        const char *unit, const uid_t *user, const char *begin, uint64_t since_usec, bool wait) {
        Lines lines = {};
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        (void) fputs(begin, f);
        journal_read_complaints(unit, user, since_usec, wait && !journal_sync(SYNC_USEC), &lines);
        tell_lines(f, "systemd says", &lines);
        return end(f, &text);
}
