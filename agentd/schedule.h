/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Many things that come up at times of their own, with one timer: a heap, the next one at its top. While nothing is due at any time
 * there is no timer. */

#include <systemd/sd-event.h>

#include "util.h"

typedef struct Schedule Schedule;

/* One of the things is due. It has no time any more: give it the next one. The number of things stays
 * as it is meanwhile. */
typedef void (*ScheduleHandler)(void *userdata, uint32_t index);

/* Return: 0; -errno. */
int schedule_new(sd_event *event, ScheduleHandler on_due, void *userdata, Schedule **ret);
Schedule *schedule_free(Schedule *schedule);
DEFINE_CLEANUP(Schedule *, schedule_free)

/* From now on there are n things, from 0, none of which has a time. Return: 0; -ENOMEM: nothing has changed. */
int schedule_resize(Schedule *schedule, uint32_t n);

/* When one is due: CLOCK_BOOTTIME; USEC_INFINITY: never. */
void schedule_set(Schedule *schedule, uint32_t index, usec_t when_usec);
usec_t schedule_get(const Schedule *schedule, uint32_t index);
