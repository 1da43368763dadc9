/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How units are looked at, for check and apply alike: check.c. */

#include "enablement.h"
#include "manager.h"
#include "preset.h"
#include "service.h"

/* Whether a unit is enabled or masked, and whether it should be enabled, also by presets. Return: 0; -errno. */
int look_at_enablement(UnitFiles *files, const Service *service, UnitFileState *ret, Wish *ret_wish);

/* When its unit file or a drop-in was last changed, CLOCK_REALTIME in microseconds; UINT64_MAX: that cannot be told. */
uint64_t look_at_age(UnitFiles *files, const char *name);

bool is_masked(UnitFileState state);
bool is_enabled(UnitFileState state);
bool wants_files(const Service *service);
bool wants_activity(const Service *service);
