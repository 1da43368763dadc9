/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What each state of the image in force was last found to be: a small array beside the image. When another image is adopted,
 * states that are still there keep theirs. What becomes different is queued for the store.
 */

#include "image.h"
#include "run.h"
#include "store.h"

typedef struct StateStatus {
        usec_t since_usec;   /* CLOCK_REALTIME: since when it is this */
        usec_t checked_usec; /* when it was last looked at; 0: never since agentd began */
        usec_t changed_usec; /* when it was last repaired; 0: never */
        char *error;         /* NULL */
        Result result;       /* RESULT_NONE: never looked at */
        uint8_t owed; /* IMAGE_LISTEN_…: what it has still to do, as it listens to what has changed */
        uint8_t maybe_owed; /* likewise, of what is being changed right now: the store knows of it already */
        uint16_t n_maybe;   /* so many states that it listens to are being changed */
} StateStatus;

typedef struct StatusTable {
        Image *image;
        StateStatus *states; /* image_n_states() of them */
        uint32_t counts[_RESULT_MAX];
        uint32_t
                *slots; /* of the index by id: each a state, or UINT32_MAX; their number is a power of two */
        uint32_t slots_mask;
        bool owed_unread; /* the store has not said yet what was owed before the start */
        char **because; /* by state: id of the one by which it is owed something; NULL before there was any */
} StatusTable;

/*
 * Takes a reference of the image. Status is taken from an older table (may be NULL), or else from the store. States that are
 * gone are removed from the store. A state that was declared otherwise before, or whose module is another one, has not been
 * looked at: of it only changed_usec stays, and what it is owed as far as it still listens. So it is with one that says (`was`)
 * under which id it was known before; its results and events in the store are renamed. (What comes from the store is taken as it
 * is: the store does not know how a
 * state was declared.)
 *
 * Return: 0; -ENOMEM.
 */
int status_table_new(Image *image, const StatusTable *old, Store *store, StatusTable **ret);
StatusTable *status_table_free(StatusTable *table);
DEFINE_CLEANUP(StatusTable *, status_table_free)

/* The index of the state with that id; UINT32_MAX: there is none. */
uint32_t status_find(const StatusTable *table, const char *id);

typedef enum StatusChange {
        STATUS_SAME,
        STATUS_WORSE,     /* it became failed, blocked, drifted (or is so for another reason) */
        STATUS_RECOVERED, /* it was failed, blocked or drifted, and is no longer */
        STATUS_OTHER,
} StatusChange;

/* What it is now is not known any more. */
void status_forget(StatusTable *table, Store *store, uint32_t state);

/* A run that was no plan has found this. Return: what it means. */
StatusChange status_set(StatusTable *table, Store *store, uint32_t state, Result result, const char *error);

/*
 * status_owe() - a state has to do something since another has changed
 * @what:    IMAGE_LISTEN_…, added to what is owed already
 * @because: id of the other
 */
void status_owe(StatusTable *table, Store *store, uint32_t state, uint32_t what, const char *because);

/*
 * status_may_owe() - likewise, since another is about to be changed
 *
 * That is written down, and counts after a restart only: so nothing is lost if agentd is killed before it knows whether the other has
 * changed. When it does, status_is_known() is called, after status_owe() if that is so.
 * Return: true if there is something new for the store.
 */
bool status_may_owe(StatusTable *table, Store *store, uint32_t state, uint32_t what, const char *because);
void status_is_known(StatusTable *table, Store *store, uint32_t state);

/* The store has begun anew, without what is owed. */
void status_store_reset(const StatusTable *table, Store *store);

/* It has done so. */
void status_pay(StatusTable *table, Store *store, uint32_t state, uint32_t what);

/*
 * What the store knew and could not be read when the table was made, as it could not be opened then. Does nothing otherwise.
 *
 * @on_owed: told of each state that is owed more than before
 */
void status_read_late(
        StatusTable *table, Store *store, void (*on_owed)(void *userdata, uint32_t state), void *userdata);

/* Id of the state that has changed; NULL if it is owed nothing, or memory was short. */
const char *status_owed_because(const StatusTable *table, uint32_t state);
