/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "edit.h"

/* Callbacks of the state type, whose private data is an Edit. */
int edit_check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags);
int edit_apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags);

extern const AgentdStateType cron_type; /* cron.c */
