/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Times, spans and sizes for people. All return buffer. */

#include "util.h"

#define FORMAT_MAX 64

/* "2026-11-21 14:32:00" in the local time zone; "-" for 0. */
char *format_time(char *buffer, size_t size, usec_t usec);

/* How far a time is from now: "3min ago", "1h 5min ago", "in 27min", "now". One unit, or two next to each other where the first
 * alone would say little. "never" for 0. */
char *format_relative(char *buffer, size_t size, usec_t usec, usec_t now);

/* "412us", "2.5s", "27min", "1h 5min", "3 days". */
char *format_span(char *buffer, size_t size, usec_t span);

/* "812B", "80.0K", "1.5G". */
char *format_size(char *buffer, size_t size, uint64_t bytes);

#define FORMAT_TIME(usec)          format_time((char[FORMAT_MAX]){}, FORMAT_MAX, (usec))
#define FORMAT_RELATIVE(usec, now) format_relative((char[FORMAT_MAX]){}, FORMAT_MAX, (usec), (now))
#define FORMAT_SPAN(span)          format_span((char[FORMAT_MAX]){}, FORMAT_MAX, (span))
#define FORMAT_SIZE(bytes)         format_size((char[FORMAT_MAX]){}, FORMAT_MAX, (bytes))
