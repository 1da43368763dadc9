/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <time.h>

#include "hash.h"
#include "status.h"

#define NO_STATE UINT32_MAX

/* ---- The index ------------------------------------------------------------------------------------------------- */

static uint32_t slot_of(const StatusTable *t, const char *id, size_t size) {
        uint32_t slot = (uint32_t) hash_fnv1a(id, size) & t->slots_mask;

        while (t->slots[slot] != NO_STATE && !streq(image_state_id(t->image, t->slots[slot]), id))
                slot = (slot + 1) & t->slots_mask;
        return slot;
}

static int make_index(StatusTable *t) {
        uint32_t n = image_n_states(t->image), n_slots = 8;

        /* One slot in four stays free at least. */
        while (n_slots / 4 * 3 < n)
                n_slots *= 2;
        t->slots = malloc(n_slots * sizeof(*t->slots));
        if (!t->slots)
                return -ENOMEM;
        memset(t->slots, 0xff, n_slots * sizeof(*t->slots));
        t->slots_mask = n_slots - 1;

        for (uint32_t i = 0; i < n; i++) {
                uint32_t slot = slot_of(t, image_state_id(t->image, i), image_state(t->image, i)->id.n);

                if (t->slots[slot] == NO_STATE)
                        t->slots[slot] = i;
        }
        return 0;
}

uint32_t status_find(const StatusTable *t, const char *id) {
        assert(t);
        assert(id);

        return t->slots[slot_of(t, id, strlen(id))];
}

/* ---- What the store is told ----------------------------------------------------------------------------------- */

static void put(Store *store, const StatusTable *t, uint32_t i) {
        const StateStatus *s = &t->states[i];
        const StoreStatus status = {
                .state = image_state_id(t->image, i),
                .result = result_to_string(s->result),
                .since_usec = s->since_usec,
                .changed_usec = s->changed_usec,
                .error = s->error,
        };

        store_put_status(store, &status);
}

static void set_result(StatusTable *t, uint32_t i, Result result) {
        t->counts[t->states[i].result]--;
        t->counts[result]++;
        t->states[i].result = result;
}

/* ---- What is owed ----------------------------------------------------------------------------------------------- */

/* What each state listens for, one byte each; NULL: out of memory. */
static uint8_t *listens_for(const Image *image) {
        const ImageListener *listeners = image_array(image, listeners, ImageListener);
        uint8_t *what = calloc(MAX(image_n_states(image), 1U), 1);

        for (uint32_t i = 0; what && i < image->header->listeners.n; i++)
                what[listeners[i].state] |= (uint8_t) listeners[i].what;
        /* What it listened to may be gone, and has changed by that. */
        for (uint32_t i = 0; what && i < image_n_states(image); i++)
                what[i] |= (uint8_t) image_state(image, i)->listens;
        return what;
}

static void set_because(StatusTable *t, uint32_t i, const char *because) {
        char *copy;

        if (!t->because)
                t->because = calloc(image_n_states(t->image), sizeof(*t->because));
        if (!t->because || !because || streq_ptr(t->because[i], because))
                return;
        copy = strdup(because);
        if (!copy)
                return;
        free(t->because[i]);
        t->because[i] = copy;
}

static void put_owed(Store *store, const StatusTable *t, uint32_t i) {
        const StateStatus *s = &t->states[i];
        const StoreOwed owed = {
                .state = image_state_id(t->image, i),
                .what = s->owed | s->maybe_owed,
                .because = (t->because ? t->because[i] : NULL) ?: "",
        };

        if (owed.what != 0)
                store_put_owed(store, &owed);
        else
                store_remove_owed(store, owed.state);
}

/* renamed: under another id, of which the store has a row of its own. */
static void carry_owed(StatusTable *t, uint32_t i, const StatusTable *old, uint32_t k, uint8_t listens,
        bool renamed, Store *store) {
        const StateStatus *from = &old->states[k];
        StateStatus *to = &t->states[i];

        if ((from->owed | from->maybe_owed) == 0)
                return;
        to->owed = from->owed & listens;
        to->maybe_owed = from->maybe_owed & listens;
        if (renamed) {
                /* Who changes something for it knows it by the other id, and will not say what came of that. */
                to->owed |= to->maybe_owed;
                to->maybe_owed = 0;
        }
        to->n_maybe = to->maybe_owed != 0 ? from->n_maybe : 0;
        if ((to->owed | to->maybe_owed) != 0)
                set_because(t, i, old->because ? old->because[k] : NULL);
        if ((renamed && to->owed != 0) || to->owed != from->owed || to->maybe_owed != from->maybe_owed)
                put_owed(store, t, i);
}

/* ---- Former ids ------------------------------------------------------------------------------------------------ */

static bool is_known(const StateStatus *s) {
        return s->result != RESULT_NONE || s->changed_usec > 0;
}

static bool says_the_same(const Image *a, const ImageExtra *x, const Image *b, const ImageExtra *y) {
        if (!y || x->was.n != y->was.n)
                return false;
        for (uint32_t k = 0; k < x->was.n; k++)
                if (!streq(image_list_text(a, x->was, k), image_list_text(b, y->was, k)))
                        return false;
        return true;
}

/* What the store says is owed under a former id; its row is renamed. */
static void take_over_owed(
        StatusTable *t, uint32_t i, const char *was, uint8_t listens, json_t *former_owed, Store *store) {
        const json_t *owed = json_object_get(former_owed, was);
        uint32_t what;

        if (!owed)
                return;
        what = (uint32_t) json_integer_value(json_array_get(owed, 0));
        t->states[i].owed |= (uint8_t) what & listens;
        if (t->states[i].owed != 0)
                set_because(t, i, json_string_value(json_array_get(owed, 1)));
        if (t->states[i].owed != what)
                put_owed(store, t, i);
        (void) json_object_del(former_owed, was);
}

/*
 * What was found under a former id is part of the history of the state that says so, if it has none of its own. It has not been
 * looked at, since it is declared otherwise: of the status, too, only the time of the last change stays.
 *
 * from: the older table; NULL: `former` and `former_owed` have what the store knows, by id. What is taken of the latter is removed.
 */
static void take_over(StatusTable *t, const StatusTable *from, const uint8_t *listens, const json_t *former,
        json_t *former_owed, Store *store) {
        const ImageExtra *extras = image_array(t->image, extras, ImageExtra);

        for (uint32_t i = 0; i < t->image->header->extras.n; i++) {
                const ImageExtra *extra = &extras[i];
                const char *id = image_state_id(t->image, extra->state);
                StateStatus *s = &t->states[extra->state];
                uint32_t before = from && extra->was.n > 0 ? status_find(from, id) : NO_STATE;
                bool found = false;

                if (extra->was.n == 0 || is_known(s))
                        continue;
                /* It was done. */
                if (before != NO_STATE &&
                        says_the_same(t->image, extra, from->image, image_extra(from->image, before)))
                        continue;
                for (uint32_t k = 0; k < extra->was.n; k++) {
                        const char *was = image_list_text(t->image, extra->was, k);
                        uint32_t old = from ? status_find(from, was) : NO_STATE;
                        const json_t *changed = json_object_get(former, was);

                        store_rename_state(store, was, id);
                        found = found || changed || old != NO_STATE;
                        if (changed)
                                s->changed_usec = MAX(s->changed_usec, (usec_t) json_integer_value(changed));
                        take_over_owed(t, extra->state, was, listens[extra->state], former_owed, store);
                        if (old == NO_STATE)
                                continue;
                        s->changed_usec = MAX(s->changed_usec, from->states[old].changed_usec);
                        carry_owed(t, extra->state, from, old, listens[extra->state], true, store);
                }
                if (found && s->changed_usec > 0)
                        put(store, t, extra->state);
        }
}

/* The ids that states say they had; NULL: none does. */
static json_t *collect_former(const Image *image) {
        const ImageExtra *extras = image_array(image, extras, ImageExtra);
        json_t *former = NULL;

        for (uint32_t i = 0; i < image->header->extras.n; i++)
                for (uint32_t k = 0; k < extras[i].was.n; k++) {
                        if (!former)
                                former = json_object();
                        (void) json_object_set_new(
                                former, image_list_text(image, extras[i].was, k), json_null());
                }
        return former;
}

/* ---- Where status comes from ------------------------------------------------------------------------------------- */

static void carry_over(StatusTable *t, const StatusTable *old, const uint8_t *listens, Store *store) {
        for (uint32_t k = 0; k < image_n_states(old->image); k++) {
                const char *id = image_state_id(old->image, k);
                const StateStatus *from = &old->states[k];
                uint32_t i = status_find(t, id);
                bool in_store = from->result != RESULT_NONE || from->changed_usec > 0;

                if (i == NO_STATE) {
                        if (in_store)
                                store_remove_status(store, id);
                        if ((from->owed | from->maybe_owed) != 0)
                                store_remove_owed(store, id);
                        continue;
                }
                carry_owed(t, i, old, k, listens[i], false, store);
                t->states[i].changed_usec = from->changed_usec;
                if (!image_state_is_same(t->image, i, old->image, k)) {
                        if (from->result != RESULT_NONE)
                                put(store, t, i);
                        continue;
                }
                t->states[i].since_usec = from->since_usec;
                t->states[i].checked_usec = from->checked_usec;
                t->states[i].error = from->error ? strdup(from->error) : NULL;
                set_result(t, i, from->result);
        }
}

typedef struct Loading {
        StatusTable *table;
        const uint8_t *listens;
        Store *store;
        json_t *former;      /* ids of before → when they were changed */
        json_t *former_owed; /* … → what is owed, and because of which state */
} Loading;

static int on_status(void *userdata, const StoreStatus *status) {
        const Loading *loading = userdata;
        StatusTable *t = loading->table;
        uint32_t i = status_find(t, status->state);
        Result result;

        if (i == NO_STATE) {
                if (json_object_get(loading->former, status->state))
                        (void) json_object_set_new(loading->former, status->state,
                                json_integer((json_int_t) MIN(status->changed_usec, (usec_t) INT64_MAX)));
                store_remove_status(loading->store, status->state);
                return 0;
        }
        for (result = 0; result < _RESULT_MAX; result++)
                if (streq(status->result, result_to_string(result)))
                        break;
        /* A result that this version does not know is none. */
        if (result == _RESULT_MAX)
                result = RESULT_NONE;

        t->states[i].since_usec = result == RESULT_NONE ? 0 : status->since_usec;
        t->states[i].changed_usec = status->changed_usec;
        free(t->states[i].error);
        t->states[i].error = NULL;
        if (status->error && result != RESULT_NONE)
                t->states[i].error = utf8_make_valid(status->error, strlen(status->error), &(size_t){ 0 });
        set_result(t, i, result);
        return 0;
}

static int on_owed(void *userdata, const StoreOwed *owed) {
        const Loading *loading = userdata;
        StatusTable *t = loading->table;
        uint32_t i = status_find(t, owed->state);

        if (i == NO_STATE) {
                /* What is known under another name now is given to that, and its row renamed. */
                if (!json_object_get(loading->former, owed->state) ||
                        json_object_set_new(loading->former_owed, owed->state,
                                json_pack("[i, s]", (int) owed->what, owed->because)) < 0)
                        store_remove_owed(loading->store, owed->state);
                return 0;
        }
        t->states[i].owed = (uint8_t) owed->what & loading->listens[i];
        if (t->states[i].owed != 0)
                set_because(t, i, *owed->because ? owed->because : NULL);
        if (t->states[i].owed != owed->what)
                put_owed(loading->store, t, i);
        return 0;
}

int status_table_new(Image *image, const StatusTable *old, Store *store, StatusTable **ret) {
        _cleanup_(status_table_freep) StatusTable *t = NULL;
        _cleanup_free_ uint8_t *listens = NULL;
        uint32_t n;
        int r;

        assert(image);
        assert(store);
        assert(ret);

        t = malloc(sizeof(*t));
        if (!t)
                return -ENOMEM;
        *t = (StatusTable){ .image = image_ref(image), .owed_unread = old && old->owed_unread };

        n = image_n_states(image);
        t->states = pages_new(n * sizeof(*t->states));
        if (!t->states)
                return -ENOMEM;
        t->counts[RESULT_NONE] = n;
        r = make_index(t);
        if (r < 0)
                return r;

        listens = listens_for(image);
        if (!listens)
                return -ENOMEM;
        if (old) {
                carry_over(t, old, listens, store);
                take_over(t, old, listens, NULL, NULL, store);
        } else {
                Loading loading = {
                        .table = t,
                        .listens = listens,
                        .store = store,
                        .former = collect_former(image),
                        .former_owed = json_object(),
                };
                const char *id;
                json_t *left;

                /* What cannot be read is not known: the next run finds out. */
                t->owed_unread = store_each_owed(store, on_owed, &loading) < 0;
                (void) store_each_status(store, on_status, &loading);
                take_over(t, NULL, listens, loading.former, loading.former_owed, store);
                /* The state has a history of its own. */
                json_object_foreach(loading.former_owed, id, left) store_remove_owed(store, id);
                json_decref(loading.former);
                json_decref(loading.former_owed);
        }

        *ret = TAKE_PTR(t);
        return 0;
}

StatusTable *status_table_free(StatusTable *t) {
        if (!t)
                return NULL;
        if (t->states)
                for (uint32_t i = 0; i < image_n_states(t->image); i++)
                        free(t->states[i].error);
        if (t->because)
                for (uint32_t i = 0; i < image_n_states(t->image); i++)
                        free(t->because[i]);
        free(t->because);
        pages_free(t->states, image_n_states(t->image) * sizeof(*t->states));
        free(t->slots);
        image_unref(t->image);
        free(t);
        return NULL;
}

/* ---- What becomes of it ---------------------------------------------------------------------------------------- */

void status_forget(StatusTable *t, Store *store, uint32_t state) {
        StateStatus *s = &t->states[state];

        if (s->result == RESULT_NONE)
                return;
        set_result(t, state, RESULT_NONE);
        s->since_usec = s->checked_usec = 0;
        free(TAKE_PTR(s->error));
        put(store, t, state);
}

static bool is_bad(Result result) {
        return result == RESULT_FAILED || result == RESULT_BLOCKED || result == RESULT_DRIFTED;
}

StatusChange status_set(StatusTable *t, Store *store, uint32_t state, Result result, const char *error) {
        usec_t now = now_usec(CLOCK_REALTIME);
        bool is_other, is_other_error;
        StateStatus *s;
        Result before;

        assert(t);
        assert(store);
        assert(state < image_n_states(t->image));
        assert(result < _RESULT_MAX);

        /* The run has not come that far. */
        if (result == RESULT_NONE)
                return STATUS_SAME;

        s = &t->states[state];
        before = s->result;
        is_other = result != before;
        is_other_error = !streq_ptr(s->error, error);

        s->checked_usec = now;
        if (is_other) {
                s->since_usec = now;
                set_result(t, state, result);
        }
        if (is_other_error) {
                free(s->error);
                s->error = error ? strdup(error) : NULL;
        }
        if (result == RESULT_CHANGED)
                s->changed_usec = now;
        if (!is_other && !is_other_error && result != RESULT_CHANGED)
                return STATUS_SAME;
        put(store, t, state);

        if (is_bad(result))
                return STATUS_WORSE;
        return is_bad(before) ? STATUS_RECOVERED : STATUS_OTHER;
}

/* ---- What is owed ---------------------------------------------------------------------------------------------- */

void status_owe(StatusTable *t, Store *store, uint32_t state, uint32_t what, const char *because) {
        StateStatus *s = &t->states[state];
        uint8_t before = s->owed | s->maybe_owed;
        bool same = streq_ptr(status_owed_because(t, state), because);

        assert(what != 0 && (what & ~_IMAGE_LISTEN_ALL) == 0);

        s->owed |= (uint8_t) what;
        if (same && (s->owed | s->maybe_owed) == before)
                return;
        set_because(t, state, because);
        put_owed(store, t, state);
}

bool status_may_owe(StatusTable *t, Store *store, uint32_t state, uint32_t what, const char *because) {
        StateStatus *s = &t->states[state];
        uint8_t before = s->owed | s->maybe_owed;

        assert((what & ~_IMAGE_LISTEN_ALL) == 0);

        s->maybe_owed |= (uint8_t) what;
        if (s->n_maybe < UINT16_MAX)
                s->n_maybe++;
        if ((s->owed | s->maybe_owed) == before)
                return false;
        if (before == 0)
                set_because(t, state, because);
        put_owed(store, t, state);
        return true;
}

void status_is_known(StatusTable *t, Store *store, uint32_t state) {
        StateStatus *s = &t->states[state];
        uint8_t before = s->owed | s->maybe_owed;

        if (s->n_maybe == 0 || --s->n_maybe > 0)
                return;
        s->maybe_owed = 0;
        if (s->owed != before)
                put_owed(store, t, state);
}

void status_pay(StatusTable *t, Store *store, uint32_t state, uint32_t what) {
        StateStatus *s = &t->states[state];

        if ((s->owed & what) == 0)
                return;
        s->owed &= (uint8_t) ~what;
        put_owed(store, t, state);
}

void status_store_reset(const StatusTable *t, Store *store) {
        for (uint32_t i = 0; i < image_n_states(t->image); i++)
                if ((t->states[i].owed | t->states[i].maybe_owed) != 0)
                        put_owed(store, t, i);
}

const char *status_owed_because(const StatusTable *t, uint32_t state) {
        const StateStatus *s = &t->states[state];

        return t->because && (s->owed | s->maybe_owed) != 0 ? t->because[state] : NULL;
}

typedef struct Late {
        StatusTable *table;
        const uint8_t *listens;
        Store *store;
        void (*on_owed)(void *userdata, uint32_t state);
        void *userdata;
} Late;

static int on_late_owed(void *userdata, const StoreOwed *owed) {
        const Late *late = userdata;
        uint32_t i = status_find(late->table, owed->state);
        StateStatus *s;
        uint8_t what;

        if (i == NO_STATE) {
                store_remove_owed(late->store, owed->state);
                return 0;
        }
        s = &late->table->states[i];
        /* What is there of us is known. */
        what = (uint8_t) owed->what & late->listens[i] & (uint8_t) ~(s->owed | s->maybe_owed);
        if (what == 0)
                return 0;
        if ((s->owed | s->maybe_owed) == 0)
                set_because(late->table, i, *owed->because ? owed->because : NULL);
        s->owed |= what;
        late->on_owed(late->userdata, i);
        return 0;
}

void status_read_late(
        StatusTable *t, Store *store, void (*on_owed_more)(void *userdata, uint32_t state), void *userdata) {
        _cleanup_free_ uint8_t *listens = t->owed_unread ? listens_for(t->image) : NULL;
        Late late = {
                .table = t, .listens = listens, .store = store, .on_owed = on_owed_more, .userdata = userdata
        };

        if (listens && store_each_owed(store, on_late_owed, &late) >= 0)
                t->owed_unread = false;
}
