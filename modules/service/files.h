/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The files that a state owns: units, drop-ins, quadlets. */

#include "service.h"

/* Of a unit file that is read. */
#define UNIT_FILE_MAX ((size_t) 4 << 20)

/* Reports what differs. Return: 0; -errno after agentd_failed(). */
int files_compare(AgentdContext *context, size_t i, const Service *service);

/* When the newest of them was changed, CLOCK_REALTIME; 0: none is there. */
uint64_t files_changed_usec(AgentdContext *context, const Service *service);

/* Puts those that differ in place. *ret_changed: any was. Return: 0; -errno after agentd_failed(). */
int files_put(AgentdContext *context, size_t i, const Service *service, bool *ret_changed);

/* Removes them. Return: likewise. */
int files_remove(AgentdContext *context, size_t i, const Service *service, bool *ret_changed);

/* True if one of them is not what it should be. */
bool files_differ(AgentdContext *context, const Service *service);

/*
 * The text of a file as it should be, to be freed; *ret_size without the NUL. Return: 0; -errno.
 */
int file_text(AgentdContext *context, const ServiceFile *file, char **ret, size_t *ret_size);

/*
 * verify.c: lets systemd look at files before they are put in place
 * @items: of the states that have files
 * @errors: for each, set to what is wrong with it, to be freed; or NULL
 *
 * One program for all of them, and again for each half if that finds something. Where there is no systemd-analyze nothing is found.
 */
void files_verify(AgentdContext *context, const Service *const *services, const size_t *indices, size_t n,
        char **errors);

/*
 * verify.c: whether systemd understands the calendars of timers whose files differ, for a plan: it is read-only, and knows no more
 *
 * Fails those of which it says so. Where nobody can tell, nothing is told.
 */
void calendars_verify(AgentdContext *context, const AgentdState *states, size_t n);
