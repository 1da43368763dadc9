/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What happened, told to the journal in entries with fields, so that `journalctl AGENTD_STATE=file:/etc/motd` finds
 * it. Each kind has a message id. */

#include "run.h"

/* Source: made with systemd-id128 new. */
#define EVENT_STATE_CHANGED_ID "5dfc11089b144f75addb3881028a0f47"
#define EVENT_STATE_FAILED_ID  "0c5b54fa6a644b51851f09a15f570cd5"
#define EVENT_STATE_DRIFTED_ID "12f32ac22a6c4c318bb95a1894b8dc7c"
#define EVENT_RUN_FINISHED_ID  "1508fc91a8814ff8b706f0f0399d7a1f"

/* A state has a result: an entry, if it is worth one (changed, failed, blocked; drifted outside of a plan). */
void event_state_result(const Run *run, uint32_t state);

/* A run is over: an entry if anything happened in it. */
void event_run_finished(const Run *run);
