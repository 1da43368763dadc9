/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <time.h>

#include "format.h"

#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY  (24 * USEC_PER_HOUR)

char *format_time(char *buffer, size_t size, usec_t usec) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        struct tm tm;

        if (usec == 0 || !localtime_r(&seconds, &tm) ||
                strftime(buffer, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
                (void) snprintf(buffer, size, "-");
        return buffer;
}

char *format_span(char *buffer, size_t size, usec_t span) {
        /* The second unit is shown as long as there are few of the first. */
        static const struct {
                usec_t unit, below, second;
                const char *one, *many, *second_name;
        } units[] = {
                { 365 * USEC_PER_DAY, 5, 30 * USEC_PER_DAY, " year", " years", " months" },
                { 30 * USEC_PER_DAY, 0, 0, " month", " months", NULL },
                { USEC_PER_DAY, 3, USEC_PER_HOUR, " day", " days", "h" },
                { USEC_PER_HOUR, 12, USEC_PER_MINUTE, "h", "h", "min" },
                { USEC_PER_MINUTE, 3, USEC_PER_SEC, "min", "min", "s" },
        };

        if (span == USEC_INFINITY)
                return format_timespan(buffer, size, span);
        FOREACH_ELEMENT(u, units) {
                uint64_t n = span / u->unit, rest = u->second ? span % u->unit / u->second : 0;

                if (n == 0)
                        continue;
                if (n < u->below && rest > 0 && rest < 2 && u->second == 30 * USEC_PER_DAY)
                        (void) snprintf(buffer, size, "%" PRIu64 "%s 1 month", n, n == 1 ? u->one : u->many);
                else if (n < u->below && rest > 0)
                        (void) snprintf(buffer, size, "%" PRIu64 "%s %" PRIu64 "%s", n,
                                n == 1 ? u->one : u->many, rest, u->second_name);
                else
                        (void) snprintf(buffer, size, "%" PRIu64 "%s", n, n == 1 ? u->one : u->many);
                return buffer;
        }
        return format_timespan(buffer, size, span);
}

char *format_relative(char *buffer, size_t size, usec_t usec, usec_t now) {
        usec_t span = usec > now ? usec - now : now - usec;
        char text[FORMAT_MAX];

        if (usec == 0)
                (void) snprintf(buffer, size, "never");
        else if (span < USEC_PER_SEC)
                (void) snprintf(buffer, size, "now");
        else {
                (void) format_span(text, sizeof(text), span / USEC_PER_SEC * USEC_PER_SEC);
                (void) snprintf(
                        buffer, size, "%s%s%s", usec > now ? "in " : "", text, usec > now ? "" : " ago");
        }
        return buffer;
}

char *format_size(char *buffer, size_t size, uint64_t bytes) {
        static const char units[] = "KMGTPE";
        double value = (double) bytes / 1024;
        size_t i = 0;

        if (bytes < 1024) {
                (void) snprintf(buffer, size, "%" PRIu64 "B", bytes);
                return buffer;
        }
        /* 1023.95 would be shown as 1024.0. */
        for (; value >= 1023.95 && units[i + 1]; i++)
                value /= 1024;
        (void) snprintf(buffer, size, "%.1f%c", value, units[i]);
        return buffer;
}
