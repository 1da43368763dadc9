/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Properties of a transient service as `systemd-run -p NAME=VALUE` takes them, from a table of a role:
 *
 *      unit = { MemoryMax = "256M", CPUQuota = "50%", PrivateNetwork = true, ReadWritePaths = ["/srv"] }
 *
 * Names are those of unit files: systemd.exec(5), systemd.resource-control(5), systemd.kill(5), systemd.service(5) of version
 * 252. What goes over the bus often has another name and a type of its own. Both calls follow one table.
 */

#include <jansson.h>
#include <stddef.h>

struct sd_bus_message;

/*
 * unit_property_check() - is there such a property, and can it have this value?
 * @value:  a string, integer, boolean, or an array of strings and integers
 * @reterr: one line for people that says what would be right, to be freed; no full stop
 *
 * Return: 0; -EINVAL; -ENOENT: there is no such property; -ENOMEM.
 */
int unit_property_check(const char *name, const json_t *value, char **reterr);

/*
 * unit_property_append() - appends it to the a(sv) of StartTransientUnit, as one entry or several
 *
 * Source: bus_append_unit_property() of systemd's src/shared/bus-unit-util.c, for names and types.
 * Return: 0; -EINVAL: unit_property_check() would say why, and nothing was appended; other -errno of sd-bus.
 */
int unit_property_append(struct sd_bus_message *m, const char *name, const json_t *value);

/* For tests and documentation: the i-th name that can be set, NULL if there is none any more. */
const char *unit_property_name(size_t i);
