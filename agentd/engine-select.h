/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which states a run is over: an array with a byte for each, not 0 if it is among them. */

#include "engine-run.h"

/*
 * select_states() - what a request names, with all that this requires
 * @ret:            a new array; left alone if all states are meant
 * @reterr_pattern: with -ENOENT, the index of the pattern that no state matches; with -ENXIO, that of the tag that none has
 *
 * Return: 0; -ENOENT; -ENXIO; -ENOMEM.
 */
int select_states(Engine *engine, const RunRequest *request, uint8_t **ret, size_t *reterr_pattern);

/* Takes away what has none of the tags. Return: 0; -ENXIO: reterr_tag, the index of one that no state has; -ENOMEM. */
int select_tagged(
        const Image *image, const char *const *tags, size_t n_tags, uint8_t *selected, size_t *reterr_tag);

/* The tag that was meant, which the image has; NULL. */
const char *select_suggest_tag(const Image *image, const char *tag);

/* Adds what the selected states require, and what that requires. Return: 0; -ENOMEM. */
int select_required(const Image *image, uint8_t *selected);

/* Adds what depends on the selected states, and what depends on that. Return: 0; -ENOMEM. */
int select_dependents(const Image *image, uint8_t *selected);

/* Marks in an array of nodes what requires a state that has failed or is blocked and is not selected, directly or not. Return:
 * 0; -ENOMEM. */
int select_blocked(const Image *image, const StatusTable *status, const uint8_t *selected, uint8_t **ret);

/* True if the states of one own, or edit, other paths than those of the other; false if nobody asks. */
bool select_paths_differ(const Image *a, const Image *b);

/* The state of that id in an image, of whichever roles; UINT32_MAX. */
uint32_t select_find(const Engine *engine, const Image *image, const char *id);

uint32_t select_count(const Image *image, const uint8_t *selected);

/*
 * select_changed() - adds what is to be looked at once these roles have taken the place of others
 * @table: of the roles that are in force now, with what is still true from before
 * @old:   those of before
 * @ret_n: how many are selected now
 *
 * That is: states that are not known to be as declared now, since they are new, declared otherwise or were not right; those
 * that have still to do something since others have changed; those that are only audited, watched or hidden as they were not; those that ask what others own, if that is not the same; those
 * that edit a file together with them; and all that depends on these.
 *
 * Return: 0; -ENOMEM.
 */
int select_changed(const StatusTable *table, const Image *old, uint8_t *selected, uint32_t *ret_n);
