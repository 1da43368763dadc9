/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From tables of a role to the text of unit files: in prepare. */

#include <agentd/module.h>

/* Lines longer than that systemd does not read (LINE_MAX of systemd 252 is 1 MiB). */
#define UNIT_LINE_MAX ((size_t) 1 << 20)

/*
 * render_unit() - { Service = { ExecStart = ["", "/usr/bin/x"] } } → text, with a first line that says who made it
 * @parameter: index, for errors
 * @name:      of the state, for the first line
 *
 * Return: the text, in the image; NULL after agentd_prepare_error().
 */
const char *render_unit(AgentdPrepare *prepare, int parameter, const char *name, const AgentdValue *table);

/* A line KEY=VALUE is added to a section, which is written if it is not there yet: pieces of a table that is made by hand. */
typedef struct Rendering {
        AgentdPrepare *prepare;
        char *text;
        size_t size, allocated;
} Rendering;

void rendering_add(Rendering *rendering, const char *format, ...) AGENTD_PRINTF(2, 3);

/* Whether a line that ends in this text would go on in the next one. */
bool render_continues(const char *text);

/* The keys of a section. Return: 0; -EINVAL after agentd_prepare_error(). */
int render_section(Rendering *rendering, int parameter, const char *section, const AgentdValue *table);
/* Its text, in the image. */
const char *rendering_end(Rendering *rendering);
