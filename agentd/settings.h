/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * agentd.toml and its drop-ins: what is set for agentd itself, not for the host. The loader reads them with the roles; the
 * values lie in the image's header. Keys, what they mean and their defaults are in one table, settings.c, from which the
 * reference is printed as well.
 */

#include <stdio.h>

#include "util.h"

typedef struct Settings {
        uint64_t interval_usec; /* between runs; USEC_INFINITY: none by itself */
        uint64_t jitter_usec;   /* each interval is longer by up to so much */
        uint64_t audit;         /* 1: check only (mode = "audit") */
        uint64_t
                max_changes; /* a run that would change more states is stopped before the first; UINT64_MAX: no limit */
        uint64_t workers;   /* of each kind; 0: as many as processors, two at least */
        uint64_t log_level; /* LOG_ERR … LOG_DEBUG */
        uint64_t store_size_bytes;
        uint64_t store_age_usec;
        uint64_t facts_deadline_usec; /* of each local program */
        uint64_t watches_max;         /* how many inotify watches agentd takes at most */
} Settings;

/* The built-in values, which hold until the first load. */
extern const Settings settings_default;

/* NULL, or which value cannot be: for what comes out of an image. */
const char *settings_validate(const Settings *settings);

typedef enum ReferenceStyle {
        REFERENCE_TEXT, /* for a terminal */
        REFERENCE_MARKDOWN,
        REFERENCE_ROFF, /* the list in agentd.toml(5) */
        REFERENCE_TOML, /* a file with each key commented out */
} ReferenceStyle;

void settings_print_reference(FILE *f, ReferenceStyle style);
