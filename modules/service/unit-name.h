/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Names of units: which are valid, their parts, and escaping. Pure functions; nothing here looks at the host.
 *
 * Sources: systemd.unit(5), "Description" (names, templates and instances, aliases) and "String Escaping for Inclusion
 * in Unit Names"; systemd-escape(1). The limit is that of D-Bus for names, which systemd takes over.
 */

#include <stdbool.h>
#include <stddef.h>

/* With the NUL: a name is 255 bytes long at most. */
#define UNIT_NAME_SIZE 256

typedef enum UnitNameKind {
        UNIT_NAME_INVALID = 0,
        UNIT_NAME_PLAIN = 1 << 0,    /* foo.service */
        UNIT_NAME_TEMPLATE = 1 << 1, /* foo@.service */
        UNIT_NAME_INSTANCE = 1 << 2, /* foo@bar.service */
        UNIT_NAME_ANY = UNIT_NAME_PLAIN | UNIT_NAME_TEMPLATE | UNIT_NAME_INSTANCE,
} UnitNameKind;

typedef enum UnitType {
        UNIT_TYPE_SERVICE,
        UNIT_TYPE_SOCKET,
        UNIT_TYPE_TARGET,
        UNIT_TYPE_DEVICE,
        UNIT_TYPE_MOUNT,
        UNIT_TYPE_AUTOMOUNT,
        UNIT_TYPE_SWAP,
        UNIT_TYPE_TIMER,
        UNIT_TYPE_PATH,
        UNIT_TYPE_SLICE,
        UNIT_TYPE_SCOPE,
        UNIT_TYPE_INVALID = -1,
} UnitType;

/* UNIT_NAME_INVALID: not the name of a unit. */
UnitNameKind unit_name_kind(const char *name);

/* By what comes after the last dot. The rest of the name is not looked at. */
UnitType unit_name_type(const char *name);

/* Types of which units can have other names; and of which there are templates. */
bool unit_type_may_alias(UnitType type);
bool unit_type_may_template(UnitType type);

/*
 * unit_name_complete() - the full name of what a person wrote
 *
 * What is a name stays as it is; otherwise ".service" is added. Nothing is escaped: a path is refused.
 *
 * Return: 0; -EINVAL: it is no name, with or without.
 */
int unit_name_complete(const char *text, char ret[static UNIT_NAME_SIZE]);

/* The template of an instance ("foo@bar.service": "foo@.service") or a template. Return: 0; -EINVAL for others. */
int unit_name_template(const char *name, char ret[static UNIT_NAME_SIZE]);

/* What is between "@" and the last dot; "" for plain names and templates. Return: 0; -EINVAL if it is no name. */
int unit_name_instance(const char *name, char ret[static UNIT_NAME_SIZE]);

/* What is before "@", or before the last dot. Return: 0; -EINVAL if it is no name. */
int unit_name_prefix(const char *name, char ret[static UNIT_NAME_SIZE]);

/* Whether it can be an instance: of the characters that are allowed, and not empty. */
bool unit_instance_is_valid(const char *instance);

/*
 * A template or an instance with another instance. Return: 0; -EINVAL if the name is neither, the instance cannot be
 * one, or the result would be too long.
 */
int unit_name_with_instance(const char *name, const char *instance, char ret[static UNIT_NAME_SIZE]);

/*
 * unit_name_alias_check() - can one name be an alias of another?
 *
 * The same type, one that has aliases; both plain, both templates, both the same instance, or an instance that leads to
 * a template.
 *
 * Return: 0; -ELOOP: they are the same; -EINVAL: alias is no name, or of a type without aliases or templates; -EXDEV:
 * the target does not fit.
 */
int unit_name_alias_check(const char *alias, const char *target);

/*
 * unit_escape() - as systemd-escape does, without a suffix
 * @path: as with --path; the text has to be an absolute path without ".."
 * @size: of ret
 *
 * Return: 0; -EINVAL; -ENAMETOOLONG if ret is too small.
 */
int unit_escape(const char *text, bool path, char *ret, size_t size);

/*
 * And back, as systemd-escape --unescape: characters that would have been escaped stay as they are. \x00 is refused.
 * Return: as above; -EINVAL: it is not escaped.
 */
int unit_unescape(const char *text, bool path, char *ret, size_t size);
