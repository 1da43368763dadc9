/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Healing: what a state watches has changed, so the state is looked at now, with what depends on it, and repaired if it has
 * drifted. A word too many costs a check; the interval's runs see what nobody told.
 *
 * A state that has to be healed again and again is a fight with somebody: after a burst there is a pause before each further
 * healing, twice as long each time. It is told once, and once that it is over. One that cannot be healed has such pauses as
 * well, since the attempt may be what is noticed next.
 */

#include "engine.h"

/* A run over everything waits for so long until all is watched, so that nothing can change unseen behind it. If that takes
 * longer, what it has looked at is looked at again. */
#define HEAL_ARM_USEC (250 * USEC_PER_MSEC)

/* Runs that heal at a time; one that hangs does not keep the others. */
#define HEAL_RUNS_MAX 4

/* So many healings of one state in such a time are a fight. */
#define FIGHT_BURST       5
#define FIGHT_WINDOW_USEC (10 * USEC_PER_SEC)
/* The pause before the next one, which doubles; and how long nothing must have been healed for the fight to be over: so long
 * and the last pause. */
#define FIGHT_PAUSE_USEC     USEC_PER_SEC
#define FIGHT_PAUSE_MAX_USEC (5 * USEC_PER_MINUTE)
#define FIGHT_PEACE_USEC     USEC_PER_MINUTE

/* Why a state is looked at by itself. Each has runs of its own. */
typedef enum HealCause {
        HEAL_DRIFT, /* what it watches, or listens to, has changed */
        HEAL_INTERVAL,
        HEAL_TRIGGER,
        _HEAL_CAUSE_MAX,
} HealCause;

typedef struct Heal Heal;

/* Return: 0, also if nothing can be watched, which is logged; -errno. */
int heal_new(Engine *engine, Heal **ret);
Heal *heal_free(Heal *heal);
DEFINE_CLEANUP(Heal *, heal_free)

/* The engine has adopted an image in place of `old` (NULL: none). */
void heal_image_changed(Heal *heal, const Image *old);

/* True while a run over everything had better wait. The engine's run_event is triggered when it is over. */
bool heal_is_arming(const Heal *heal);

/* What has drifted may have waited for a run that is over now. */
void heal_retry(Heal *heal);

/* A run of agentd's own has begun: over all states of the image in force (NULL), or one byte for each. */
void heal_run_begun(Heal *heal, const uint8_t *selected);

/*
 * Some states, one byte for each, have just been made otherwise than the image in force declares, and on purpose: they are
 * let alone until a run over everything begins, or another image is adopted.
 */
void heal_pass_over(Heal *heal, const uint8_t *states);

/* A run that heals has repaired a state, or failed to; is over. */
void heal_state_tried(Heal *heal, uint32_t state, bool repaired);
void heal_run_over(Heal *heal);

/* The state is to be looked at, for another reason than what it watches. */
void heal_look_at(Heal *heal, uint32_t state, HealCause cause);

/* What waits is forgotten: the host was disabled, or agentd ends. */
void heal_stop(Heal *heal);

/* What is watched, and what is wrong with that: as docs/api.md says under "watches"; a new reference. */
json_t *heal_to_json(const Heal *heal);
