/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of unit-watch share: unit-watch.c (the list, signals, the connection), unit-watch-ask.c (what PID 1 answers),
 * unit-watch-table.c (what is known of units), unit-watch-tell.c (what is told, and when). */

#include <systemd/sd-bus.h>

#include "system-bus.h"
#include "unit-watch.h"

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

/* A rule of a module. */
typedef struct Match {
        UnitWatch *watch;
        char *rule;
        uint32_t index; /* in the list, without the units */
        bool pending;   /* the bus has not said yet whether it takes it */
        int error;      /* why it is not watched */
        sd_bus_slot *slot;
} Match;

struct UnitWatch {
        sd_event *event;
        const UnitWatchHandlers *handlers;
        void *userdata;
        SystemBus *system;

        UnitTable table;
        uint32_t *index;   /* of a unit, in the list; ascending */
        uint32_t n_listed; /* units in the list, also those that are none */
        char *bad_name;    /* the first of these */
        Match **matches;
        uint32_t n_matches;
        uint32_t n_matches_left; /* beyond all limits */

        uint8_t *is_changed; /* by index in the list */
        uint32_t *changed, n_changed;
        bool changed_all;
        usec_t first_usec, due_usec,
                told_usec;              /* CLOCK_MONOTONIC: of the first that waits; of the last list */
        usec_t set_out_usec, news_usec; /* when one last set out; and when one did, or came to rest */
        uint32_t n_under_way;
        sd_event_source *tell_timer;

        bool has_rules;   /* the bus was asked for the signals of units … */
        unsigned n_rules; /* … and has not answered so often yet */
        int rules_error;  /* … or has refused that */
        bool unlisted;    /* PID 1 is to say how all are */
        bool armed;       /* on_armed() has said so, or what is wrong */
        bool list_again;  /* once the list that is under way has come */
        sd_bus_slot *list, *states;
        bool reloading;
        unsigned n_refused; /* lists in a row */
        int error;          /* … by now */
        char *told;         /* the last error, if any */
        sd_event_source *ask_timer;
};

/* unit-watch-tell.c */

/* Is to be told after `due`, or sooner. index: in the list. */
void unit_watch_mark(UnitWatch *watch, uint32_t index, usec_t due);
void unit_watch_mark_all(UnitWatch *watch);
/* Says that it is armed, for the first time, or if something else is wrong now. */
void unit_watch_tell_armed(UnitWatch *watch);
int unit_watch_on_tell_timer(sd_event_source *source, uint64_t usec, void *userdata);

/* unit-watch-ask.c */

/* news: NULL: it is no longer loaded. */
void unit_watch_update(UnitWatch *watch, uint32_t i, const UnitNews *news);

/* How all are. */
void unit_watch_ask_list(UnitWatch *watch);
/* After a while, as it was not answered. */
void unit_watch_ask_again(UnitWatch *watch);
int unit_watch_on_ask_timer(sd_event_source *source, uint64_t usec, void *userdata);

/*
 * How units are that were loaded just now: the first signal about them tells nothing of it, and they may be at rest already. They
 * are asked for in the one way that does not load those that are gone again, since that would lead to the next such signal.
 */
void unit_watch_ask_states(UnitWatch *watch);
