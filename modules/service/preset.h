/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the host's policy says of units: should they be enabled?
 *
 * Source: systemd.preset(5) of systemd 252; "ignore" is of 256. Files are those of /etc, /run, /usr/local/lib and
 * /usr/lib (and /lib where it is a directory of its own), the first of a name counts, all in the order of their names;
 * the first rule that matches counts; without one, a unit is to be enabled. Lines that are none are passed over, as
 * systemctl does.
 */

#include "pool.h"
#include "unit-paths.h"

/* Of one file, and of rules of all files. */
#define PRESET_FILE_SIZE_MAX ((size_t) 1 << 20)
#define PRESET_FILES_MAX     1024
#define PRESET_RULES_MAX     10000

typedef enum PresetAction {
        PRESET_ENABLE,
        PRESET_DISABLE,
        PRESET_IGNORE, /* neither; leave it as it is */
} PresetAction;

typedef struct Presets Presets;

/*
 * presets_new() - reads the preset files
 * @root_fd: below which they are; only used in the call
 *
 * Return: 0; -E2BIG beyond a limit; -ENOMEM; -EACCES and other -errno.
 */
int presets_new(int root_fd, UnitScope scope, Presets **ret);

/* Takes NULL; returns NULL. */
Presets *presets_free(Presets *presets);

/* Adds the rules of one file. For the above, and for tests. Return: 0; -E2BIG; -ENOMEM. */
int presets_parse(Presets *presets, const char *text, size_t size);
int presets_new_empty(Presets **ret);

/*
 * presets_query() - what is to become of a unit
 * @name:          a full name; not an alias: presets are about the name of the file
 * @ret_instances: of a template, the full names of the instances that are to be enabled, in pool; none: the template
 *                 itself. NULL: it does not matter
 *
 * Return: 0; -EINVAL: it is no name, or a rule names an instance that cannot be; -ENOMEM.
 */
int presets_query(
        const Presets *presets, const char *name, Pool *pool, Names *ret_instances, PresetAction *ret);
