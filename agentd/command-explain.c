/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a command ended, in one line: the same words wherever it was run. */

#include <signal.h>

#include "command.h"

static const char *signal_name(int number) {
        const char *name = number > 0 ? sigabbrev_np(number) : NULL;

        return name ?: "?";
}

static char *explain(const CommandEnding *e, const char *last) {
        const char *colon = *last ? ": " : "";
        char *text = NULL;
        int r = -1;

        switch (e->end) {
        case AGENTD_COMMAND_EXITED:
                if (e->code == 0)
                        r = asprintf(&text, "it succeeded");
                else
                        r = asprintf(&text, "it exited with status %d%s%s", e->code, colon, last);
                break;
        case AGENTD_COMMAND_KILLED:
                if (e->cancelled)
                        r = asprintf(&text, "it was stopped");
                else if (e->detail)
                        r = asprintf(&text, "%s", e->detail);
                else
                        r = asprintf(&text, "it was killed by SIG%s%s%s", signal_name(e->code), colon, last);
                break;
        case AGENTD_COMMAND_TIMED_OUT:
                r = asprintf(&text, "it did not end within %s and was killed%s%s",
                        FORMAT_TIMESPAN(e->timeout_usec), colon, last);
                break;
        case AGENTD_COMMAND_NOT_RUN:
                r = asprintf(
                        &text, "'%s' could not be executed: %s", e->program, e->detail ?: strerror(e->code));
                break;
        }
        return r < 0 ? NULL : text;
}

/* What a program wrote, for a line among others. */
static char *clean_line(const char *text) {
        size_t size;
        char *clean = utf8_make_valid(text, strlen(text), &size);

        for (size_t i = 0; clean && i < size; i++)
                if ((unsigned char) clean[i] < ' ' || clean[i] == 0x7f)
                        clean[i] = ' ';
        return clean;
}

char *command_explain(const CommandEnding *ending) {
        _cleanup_free_ char *text = explain(ending, ending->last ?: "");

        return text ? clean_line(text) : NULL;
}
