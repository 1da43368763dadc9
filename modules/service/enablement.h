/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether units are enabled, for many of them at once, without asking systemd: each directory of the search path is
 * read once, also its *.wants/ and *.requires/, and what is in them is looked up by name. Of unit files only those are
 * read that are asked for.
 *
 * Ownership: all that is handed out belongs to the UnitFiles and is good until the next unit_files_refresh() that
 * returns 1, or unit_files_free().
 *
 * Errors of one unit are told of that unit (UNIT_FILE_BAD, UnitFile.error); those of calls are about all of them.
 *
 * Sources: systemctl(1), "is-enabled", with its table of states; systemd.unit(5), "Description" and "Unit File Load
 * Path". Where they say nothing, it is as systemctl of 252 behaves, which tests/test-unit-files.py compares with over
 * trees made up at random.
 *
 * Otherwise than systemctl, on purpose:
 *   - a drop-in that cannot be opened makes the unit bad; systemctl says that there is no such unit
 *   - symlinks of what is below /etc/systemd/system itself (or any other directory of the search path) are followed,
 *     and a unit in there is not "linked"
 *   - where /lib is a link to /usr/lib, paths are told by /usr/lib, whatever systemd was built with
 *   - a link to a unit that is masked by a link is masked, as systemctl says on a host that runs; with --root it does not
 *     look that far
 *   - scripts in /etc/init.d are no units
 *   - limits: see below
 */

#include <stdbool.h>

#include "install-section.h"
#include "unit-paths.h"

/* Beyond these a host is not as anybody would have it: -E2BIG. */
#define UNIT_FILES_ENTRIES_MAX 100000 /* of all directories that are read */
#define UNIT_DROPINS_MAX       256    /* of one unit */

typedef enum UnitFileState {
        UNIT_FILE_NOT_FOUND,
        UNIT_FILE_BAD,
        UNIT_FILE_ENABLED,
        UNIT_FILE_ENABLED_RUNTIME,
        UNIT_FILE_LINKED,
        UNIT_FILE_LINKED_RUNTIME,
        UNIT_FILE_ALIAS,
        UNIT_FILE_MASKED,
        UNIT_FILE_MASKED_RUNTIME,
        UNIT_FILE_STATIC,
        UNIT_FILE_INDIRECT,
        UNIT_FILE_DISABLED,
        UNIT_FILE_GENERATED,
        UNIT_FILE_TRANSIENT,
} UnitFileState;

/* "enabled", "enabled-runtime", … */
const char *unit_file_state_name(UnitFileState state);

/* What a unit file is. */
typedef enum UnitFileMode {
        UNIT_FILE_MODE_NONE,    /* there is none, or it cannot be read */
        UNIT_FILE_MODE_REGULAR, /* a file that was read */
        UNIT_FILE_MODE_MASKED,  /* empty, or a link to what is empty or /dev/null */
        UNIT_FILE_MODE_ALIAS,   /* a link to a unit of another name, which is `real` */
} UnitFileMode;

typedef struct UnitFile {
        const char *name; /* as it was asked for */
        UnitFileMode mode;
        int error; /* why there is none; 0 */
        const char
                *path; /* the file, with links followed; of a masked unit that which masks it; NULL: none */
        const char *found; /* where the search path has it; of an instance, maybe its template; NULL: none */
        bool in_config;    /* found is a link in a directory of UNIT_PATH_CONFIG */
        InstallSection install; /* with all drop-ins */
        struct UnitFile *real;  /* itself, or what an alias leads to; NULL: not found */

        struct UnitFile *
                leads_to; /* of an alias: the next one on the way to `real`, or to where it goes wrong; else NULL */

        /* Of the code that makes it. */
        const char *target; /* of a link that is not followed yet */
        bool is_linked, is_loading;
} UnitFile;

typedef struct UnitFiles UnitFiles;

/*
 * unit_files_new() - reads the directories of the search path
 * @root_fd: below which all is; stays the caller's, is used by later calls
 * @owner:   only read in the call, but for user and group, which are used by later ones
 *
 * Return: 0; as unit_paths_init(); -E2BIG; -EACCES and other -errno if a directory that is there cannot be read.
 */
int unit_files_new(int root_fd, const UnitOwner *owner, UnitFiles **ret);

/* Takes NULL; returns NULL. */
UnitFiles *unit_files_free(UnitFiles *files);

/*
 * unit_files_refresh() - is all still as it was read? If not it is read again
 *
 * Looks at each directory and file once, without opening it. What was changed shortly before it was read counts as
 * changed.
 *
 * Return: 0: nothing has changed; 1: it was read again, what was handed out is gone; as unit_files_new(): there is
 * nothing to ask until it is refreshed again.
 */
int unit_files_refresh(UnitFiles *files);

/*
 * unit_files_states() - the states of n units
 * @names: full names; what is no name is UNIT_FILE_BAD
 *
 * Return: 0; -ENOMEM; -E2BIG; -ESTALE: the last refresh has failed.
 */
int unit_files_states(UnitFiles *files, const char *const *names, size_t n, UnitFileState *ret);

/*
 * unit_files_find() - what is known of one unit
 * @ret: never NULL; of an alias, that of the alias
 *
 * Return: 0, also if there is none; -EINVAL: it is no name; as unit_files_states().
 */
int unit_files_find(UnitFiles *files, const char *name, const UnitFile **ret);

/*
 * unit_files_find_at() - the same, for a unit file that lies outside of the search path
 * @path: absolute, below the root; the last part is the name of the unit
 *
 * It has no drop-ins then. What lies directly in a directory of the search path is found by its name instead.
 */
int unit_files_find_at(UnitFiles *files, const char *path, const UnitFile **ret);

/* Whether a unit says how to be enabled: it has WantedBy=, RequiredBy= or Alias=. */
bool unit_file_has_rules(const UnitFile *unit);

const UnitPaths *unit_files_paths(const UnitFiles *files);
int unit_files_root(const UnitFiles *files);
const UnitOwner *unit_files_owner(const UnitFiles *files);

/* All names of units in the search path, in no order. */
int unit_files_list(UnitFiles *files, Pool *pool, Names *ret);
