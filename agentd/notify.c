/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdarg.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "notify.h"

void notify_ready(void) {
        (void) sd_notify(0, "READY=1");
}

void notify_reloading(void) {
        (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec(CLOCK_MONOTONIC));
}

void notify_stopping(void) {
        (void) sd_notify(0, "STOPPING=1");
}

void notify_status(const char *format, ...) {
        static char last[256];
        char text[256];
        va_list args;

        va_start(args, format);
        (void) vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        /* What was cut in the middle of a character would not be taken. */
        while (!utf8_is_valid(text, strlen(text)))
                text[strlen(text) - 1] = 0;
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < ' ')
                        *p = ' ';
        if (streq(text, last))
                return;
        memcpy(last, text, sizeof(last));
        (void) sd_notifyf(0, "STATUS=%s", text);
}

void notify_store_descriptor(const char *name, int fd) {
        char text[128];

        /* Also when there is nothing more to come: what it holds may not have been read. */
        (void) snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
        (void) sd_pid_notify_with_fds(0, 0, text, &fd, 1);
}

void notify_drop_descriptor(const char *name) {
        (void) sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}
