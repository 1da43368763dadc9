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
        uint64_t store_content_bytes;      /* old contents, all of them; 0: none are kept */
        uint64_t store_content_file_bytes; /* the largest one that is kept */
        uint64_t facts_deadline_usec;      /* of each local program */
        uint64_t watches_max;              /* how many inotify watches agentd takes at most */
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

/* ---- The table of keys ----------------------------------------------------------------------------------------- */

typedef enum SettingKind {
        SETTING_SPAN,   /* a time span, in microseconds */
        SETTING_NUMBER, /* an integer */
        SETTING_BYTES,  /* "64M" */
        SETTING_WORD,   /* one of a few words */
} SettingKind;

typedef struct Setting {
        const char *name; /* "interval"; "store.size" is `size` in the table [store] */
        SettingKind kind;
        bool infinity; /* "infinity" is allowed: UINT64_MAX */
        size_t offset; /* in Settings */
        uint64_t min, max;
        const char *const *words; /* of SETTING_WORD: those of min … max */
        const char *summary;      /* one line */
        const char *text;         /* a paragraph */
        const char *since;        /* the version that brought it */
} Setting;

extern const Setting settings_table[];
extern const size_t settings_table_n;

static inline uint64_t *setting_value(const Setting *setting, Settings *settings) {
        return (uint64_t *) ((char *) settings + setting->offset);
}

/* A value as one writes it, without quotes: "30min", "64M", "apply". Returns buffer, or a constant. */
const char *setting_format(const Setting *setting, uint64_t value, char buffer[static 32]);

/* "a time span from 1s to 365d, or \"infinity\"": what it must be, for messages. Returns buffer. */
char *setting_wants(const Setting *setting, char *buffer, size_t size);
