/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What unit files say of how they want to be enabled: [Install]. Pure functions over text, but for specifiers about the
 * host.
 *
 * Sources: systemd.syntax(7) for the syntax; systemd.unit(5), "[Install] Section Options" and "Specifiers", of systemd
 * 252. Where these say nothing, it is as `systemctl` of 252 behaves; test-install-section.c has a row for each such
 * thing.
 */

#include <stddef.h>

#include "pool.h"
#include "unit-name.h"
#include "unit-paths.h"

/* Of a unit file, and of a drop-in; systemd's own limit is that of a line, 1 MiB. */
#define UNIT_FILE_SIZE_MAX ((size_t) 1 << 20)

/* Names in all lists of one unit. */
#define INSTALL_NAMES_MAX 4096

typedef struct InstallSection {
        Names aliases, wanted_by, required_by; /* as written: specifiers are resolved when links are made */
        Names also;                            /* valid names, resolved */
        const char *default_instance;          /* resolved; NULL: none */
} InstallSection;

/* What specifiers are about. */
typedef struct InstallUnit {
        const char *name;       /* valid */
        int root_fd;            /* whose os-release and machine-id; negative: these cannot be resolved */
        const UnitOwner *owner; /* NULL: root */
} InstallUnit;

/*
 * install_section_parse() - adds what one file says to what others have said
 * @pool:    what the section points to lies there; not in text
 * @unit:    the name under which it is read; it may be an instance of the template that the file is
 * @section: filled up; a drop-in is read after its unit
 *
 * Return: 0; -EINVAL, -EBADMSG: systemd would not read the file either; -E2BIG: beyond a limit; -EUNATCH, -EBADSLT: a
 * specifier of Also= or DefaultInstance= cannot be resolved; -ENAMETOOLONG; -ENOMEM. On failure section may have some
 * of it.
 */
int install_section_parse(
        Pool *pool, const InstallUnit *unit, const char *text, size_t size, InstallSection *section);

/*
 * install_specifiers() - resolves the specifiers of one word
 * @default_instance: NULL: none
 *
 * Known are %i %j %n %N %p, and of the host %a %A %b %B %g %G %H %l %m %M %o %q %u %U %v %w %W. A % before what is
 * neither letter nor digit stays as it is, and one at the end as well.
 *
 * Return: 0; -EBADSLT: there is no such specifier; -ENAMETOOLONG: it would be too long for a name; -EUNATCH: the host
 * does not know.
 */
int install_specifiers(const InstallUnit *unit, const char *default_instance, const char *word,
        char ret[static UNIT_NAME_SIZE]);
