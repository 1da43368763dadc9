/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of unit-watch share: unit-watch.c (the connection, what is told and when), unit-watch-table.c (what is known of
 * units). */

#include <systemd/sd-bus.h>

#include "util.h"

typedef struct WatchedUnit {
        char *name;
        char *label;         /* in object paths */
        char *id, *id_label; /* what PID 1 calls it, if it has another name as well; else NULL */
        bool template;
        bool ask;    /* it was loaded: how it is is to be asked for */
        bool asking; /* … and is */
        bool under_way;
        bool frozen;
        uint64_t rest; /* how it was when it was last at rest; 0: not known */
} WatchedUnit;

/* By label; a unit is there twice if it has an id of its own, and an id more than once if several names of it are watched. */
typedef struct UnitTable {
        WatchedUnit *units;
        uint32_t n;
        uint32_t n_templates;
        uint32_t *slots, n_slots; /* indices + 1; 0: free */
} UnitTable;

/* What a signal or a list says of a unit. */
typedef struct UnitNews {
        const char *active_state, *sub_state, *freezer_state; /* the last may be NULL: not known */
        bool job;
} UnitNews;

/* As systemd has it; names with a specifier or glob are none. */
bool unit_name_is_valid(const char *name) _pure_;
bool unit_name_is_template(const char *name) _pure_;

void unit_table_done(UnitTable *table);
/* names must be valid. Return: 0; -ENOMEM. */
int unit_table_init(UnitTable *table, const char *const *names, size_t n);
/* What is known of units that are in both. */
void unit_table_inherit(UnitTable *table, const UnitTable *old);
/* The id is another one now. Return: true if that is new. */
bool unit_table_set_id(WatchedUnit *unit, const char *id);
/* After ids have changed. Return: 0; -ENOMEM: then it stays. */
int unit_table_rehash(UnitTable *table);

/*
 * unit_table_find() - goes through the units of a label, the last component of an object path, or through the template of
 *                     one
 * @cursor: UINT32_MAX at first
 *
 * Return: the index; UINT32_MAX: no more.
 */
uint32_t unit_table_find(const UnitTable *table, const char *label, uint32_t *cursor);
/* The label of its template. False: it is no instance, or no template is watched. */
bool unit_table_template(const UnitTable *table, const char *label, char *buffer, size_t size);

/* Return: true if that is worth a look. */
bool watched_unit_update(WatchedUnit *unit, const UnitNews *news);
/* It is no longer loaded. */
bool watched_unit_unload(WatchedUnit *unit);

/* A PropertiesChanged of SYSTEMD_UNIT. Texts point into the message. Return: 0; -errno. */
int unit_news_read(sd_bus_message *m, UnitNews *ret);
