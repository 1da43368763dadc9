/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "unit-property.h"
#include "util.h"

/* A word and what it stands for. */
typedef struct UnitWord {
        const char *word;
        int64_t value;
} UnitWord;

typedef struct UnitProperty UnitProperty;

/*
 * A form of values. m is NULL if the value is only looked at. Return: 0; -EINVAL if it is not of that form; other -errno.
 */
typedef int (*UnitForm)(const UnitProperty *property, const json_t *value, sd_bus_message *m);

struct UnitProperty {
        const char *name;
        UnitForm form;
        const char *bus_name;  /* NULL: the same */
        const UnitWord *words; /* ended by one without word */
        int64_t min, max;      /* of numbers; both 0: no limits */
        const char *wants;     /* "true or false": what it must be */
};

/* unit-property-form.c: the simple ones … */
int unit_boolean(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_string(
        const UnitProperty *property, const json_t *value, sd_bus_message *m); /* words, if there are any */
int unit_path(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_optional_string(
        const UnitProperty *property, const json_t *value, sd_bus_message *m); /* "-…": (bs) */
int unit_int32(
        const UnitProperty *property, const json_t *value, sd_bus_message *m); /* words, or min to max */
int unit_uint32(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_mode(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_limit(
        const UnitProperty *property, const json_t *value, sd_bus_message *m); /* bytes, a part, infinity */
int unit_number(const UnitProperty *property, const json_t *value,
        sd_bus_message *m); /* a count, a part, infinity */
int unit_weight(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_timespan(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_slack(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_quota(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_part(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_rlimit_bytes(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_rlimit_number(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_rlimit_seconds(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_rlimit_usec(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_rlimit_nice(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_signal(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_errno(const UnitProperty *property, const json_t *value, sd_bus_message *m);

/* unit-property-list.c: … and those with several words */
int unit_words(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_paths(const UnitProperty *property, const json_t *value, sd_bus_message *m); /* with prefixes */
int unit_plain_paths(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_directories(const UnitProperty *property, const json_t *value, sd_bus_message *m); /* relative */
int unit_units(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_variables(const UnitProperty *property, const json_t *value, sd_bus_message *m); /* NAME=value */
int unit_variable_names(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_files(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_binds(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_tmpfs(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_credentials(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_set_credentials(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_restriction(
        const UnitProperty *property, const json_t *value, sd_bus_message *m); /* "~…" turns it round */
int unit_mask(
        const UnitProperty *property, const json_t *value, sd_bus_message *m); /* of words, as 64 bits */
int unit_mask32(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_namespaces(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_cpus(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_delegate(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_devices(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_device_bytes(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_device_weight(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_device_timespan(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_addresses(const UnitProperty *property, const json_t *value, sd_bus_message *m);
int unit_ports(const UnitProperty *property, const json_t *value, sd_bus_message *m);

/* What they share. */
const char *unit_bus_name(const UnitProperty *property);
int unit_find_word(const UnitWord *words, const char *word, int64_t *ret);
int unit_parse_signal(const char *text, int *ret);
int unit_parse_count(const char *text, uint64_t *ret);               /* digits only */
int unit_parse_size(const char *text, uint64_t base, uint64_t *ret); /* "10M" */
bool unit_path_is_good(const char *path);                            /* absolute, no "..", no NUL */
