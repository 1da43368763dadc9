/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Triggers: when one fires its states are looked at, in a run of their own, as what has drifted is. Paths are watched together with
 * those of states, by engine-heal.c; times are kept here.
 */

#include "engine.h"

/* A path fires this often at most: what changes all the time is seen, and costs a look a second. What comes sooner fires later. */
#define TRIGGER_PAUSE_USEC USEC_PER_SEC

/* An event tells of the first firing, and then this often how many there were. */
#define TRIGGER_TELL_USEC USEC_PER_MINUTE

typedef struct Triggers Triggers;

/* Return: 0; -errno. */
int triggers_new(Engine *engine, Triggers **ret);
Triggers *triggers_free(Triggers *triggers);
DEFINE_CLEANUP(Triggers *, triggers_free)

/* The engine has adopted an image in place of `old` (NULL: none). Triggers of the same name keep what is known of them, and their
 * time if that is the same. */
void triggers_image_changed(Triggers *triggers, const Image *old);

/* The path of a trigger has changed. */
void triggers_path_changed(Triggers *triggers, uint32_t trigger);

/* Those there are, by index. */
uint32_t triggers_count(const Triggers *triggers);

/* UINT32_MAX: there is none of that name. */
uint32_t triggers_find(const Triggers *triggers, const char *name);

/* By hand. Return: 0; -EPERM: the host is disabled; -ESHUTDOWN. */
int triggers_fire(Triggers *triggers, uint32_t trigger);

/* As docs/api.md says; a new reference. Of its states the first TRIGGER_STATES_MAX. */
#define TRIGGER_STATES_MAX 1000
json_t *triggers_to_json(const Triggers *triggers, uint32_t trigger);
