/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Enabling, disabling, masking, unmasking and presetting units by their links alone: what `systemctl --root` does, for
 * images that no systemd runs in. On a host that runs, systemd is asked to do it, by D-Bus.
 *
 * It is done in two steps. unit_changes_plan() says which links there are to be and which not, and which of these are
 * so already; it changes nothing, so a check can call it. unit_changes_apply() makes it so. All or nothing: a plan that
 * cannot be made changes nothing, where systemctl stops in the middle.
 *
 * Sources: systemctl(1), "Unit File Commands"; systemd.unit(5), "[Install] Section Options"; systemd.preset(5). Where
 * they say nothing, it is as systemctl of 252 behaves, which tests/test-unit-files.py compares with.
 *
 * Otherwise than systemctl, on purpose, besides all or nothing and what enablement.h says:
 *   - disabling a unit of which there is no file is no error: links of its name are removed
 *   - what is planned goes by the links that were there before; systemctl, in the middle, sees those of the same call
 *   - of several names that are preset each goes by its own policy, even if another one names it in Also=
 *   - whatever cannot be makes the whole fail; systemctl forgets some such errors
 *   - a link that leads round in circles is passed over when links are removed
 */

#include "enablement.h"
#include "preset.h"

/* Of messages. */
#define UNIT_CHANGE_ERROR_MAX 1024

/* Links that are looked at, and depth of directories below that of the links, when links are removed. */
#define UNIT_CHANGE_LINKS_MAX 100000
#define UNIT_CHANGE_DEPTH_MAX 8

typedef enum UnitVerb {
        UNIT_VERB_ENABLE, /* names, or absolute paths of files outside of the search path, which are linked too */
        UNIT_VERB_DISABLE, /* names */
        UNIT_VERB_MASK,
        UNIT_VERB_UNMASK,
        UNIT_VERB_PRESET, /* enable or disable, as the policy says */
        UNIT_VERB_LINK,   /* absolute paths */
} UnitVerb;

enum {
        UNIT_CHANGE_RUNTIME = 1 << 0, /* below /run: until the next boot */
        UNIT_CHANGE_FORCE = 1 << 1,   /* links in the way that lead elsewhere are replaced */
};

typedef enum UnitChangeKind {
        UNIT_CHANGE_LINK,   /* path is to be a link to target */
        UNIT_CHANGE_UNLINK, /* path is not to be */
} UnitChangeKind;

typedef struct UnitChange {
        UnitChangeKind kind;
        bool done;          /* it is so already; only of UNIT_CHANGE_LINK */
        const char *path;   /* below the root */
        const char *target; /* of UNIT_CHANGE_LINK: absolute, what the link is to say */
        const char *
                was; /* what the link that is there says; NULL: there is none, or it is an empty file that masks */
} UnitChange;

typedef struct UnitChanges {
        Pool pool;
        UnitChange *list;
        size_t n, allocated;
        const char *directory; /* where all of them are */
        size_t n_open;         /* how many are not done yet: 0 means that all is as it should be */
        bool has_rules;        /* something says how to be enabled (enable, preset) */
} UnitChanges;

/*
 * unit_changes_plan() - what is to be done
 * @files:    stays the caller's; what is planned is for what it was read from: unit_files_refresh() it before
 * @presets:  for UNIT_VERB_PRESET; else NULL
 * @reterr:   one line for people, without a full stop: "Unit 'a.service' is masked"
 *
 * The error is that of the unit that is to blame. Return: 0; -EINVAL: no name, or no path; -ENOENT: there is no such
 * unit; -ERFKILL: it is masked; -EADDRNOTAVAIL: it is transient or generated; -ELOOP: it is an alias that enabling has
 * made, or a linked file; -EEXIST: something else is in the way; -EXDEV: it cannot have this alias; -EIDRM: a template
 * without an instance is to be wanted by what is no template; -EUCLEAN: [Install] names what is no unit; -ENXIO: there
 * is no such directory for this owner; other -errno.
 */
int unit_changes_plan(UnitFiles *files, const Presets *presets, UnitVerb verb, const char *const *names,
        size_t n, unsigned flags, UnitChanges **ret, char reterr[static UNIT_CHANGE_ERROR_MAX]);

/* Takes NULL; returns NULL. */
UnitChanges *unit_changes_free(UnitChanges *changes);

/*
 * unit_changes_apply() - makes it so
 *
 * A link is replaced in one step. Directories are made as they are needed, mode 0755, and *.wants/ and the like that
 * have become empty are removed. All is on disk when this returns 0. What is there is changed only if it is still as it
 * was planned.
 *
 * Return: 0, also if all was done before; -ESTALE: something has changed since it was planned; -EROFS, -ENOSPC and
 * other -errno. The changes before that in the list are made.
 */
int unit_changes_apply(
        UnitFiles *files, const UnitChanges *changes, char reterr[static UNIT_CHANGE_ERROR_MAX]);
