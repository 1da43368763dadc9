/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the service manager is told; nothing if there is none. Source: sd_notify(3). */

#include "util.h"

/* Up and able to answer; also the end of what notify_reloading() began. */
void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

/* STATUS=: one line, which `systemctl status` shows. Not told again if it is the same. */
void notify_status(const char *format, ...) _printf_(1, 2);

/* Keeps a copy of the descriptor for us, which is given back at the next start; or no longer. The name is without ':'. */
void notify_store_descriptor(const char *name, int fd);
void notify_drop_descriptor(const char *name);
