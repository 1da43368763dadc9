/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Intervals of states: each is looked at so long after it was last looked at, in whichever run. */

#include "engine.h"

typedef struct Intervals Intervals;

/* Return: 0; -errno. */
int intervals_new(Engine *engine, Intervals **ret);
Intervals *intervals_free(Intervals *intervals);
DEFINE_CLEANUP(Intervals *, intervals_free)

/* The engine has adopted an image in place of `old` (NULL: none). States that were there keep their time. */
void intervals_image_changed(Intervals *intervals, const Image *old);

/* A run has a result of a state of the image in force. */
void intervals_looked_at(Intervals *intervals, uint32_t state);
