/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How units are looked at, for check and apply alike: check.c. */

#include "enablement.h"
#include "manager.h"
#include "preset.h"
#include "service.h"

/* Whether a unit is enabled or masked, and whether it should be enabled, also by presets. Return: 0; -errno. */
int look_at_enablement(UnitFiles *files, const Service *service, UnitFileState *ret, Wish *ret_wish);

/* When its unit file, or its drop-ins were last changed, CLOCK_REALTIME in microseconds; 0: there is none; UINT64_MAX: that cannot be
 * told. */
uint64_t look_at_age(UnitFiles *files, const char *name);
uint64_t look_at_age_of_dropins(UnitFiles *files, const char *name);

/*
 * Whether a unit that is not there may be made by a generator of systemd, from what has changed since systemd has last read its units
 * (read_usec, CLOCK_REALTIME): a mount of /etc/fstab, a quadlet.
 */
bool look_is_to_be_made(UnitFiles *files, const char *name, uint64_t read_usec);

bool is_masked(UnitFileState state);
bool is_enabled(UnitFileState state);
bool wants_files(const Service *service);
bool wants_activity(const Service *service);
