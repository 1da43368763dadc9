/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What unit-change*.c share. */

#include "unit-change.h"

typedef struct Planner {
        UnitFiles *files;
        const UnitPaths *paths;
        UnitChanges *changes;
        unsigned flags;
        bool is_preset;
        char *error; /* of UNIT_CHANGE_ERROR_MAX */

        Names gone; /* paths that are to be removed, for is_gone() */
} Planner;

/* Says why, and returns the error. */
int plan_error(Planner *p, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A change, with whatever is there in its place. Return: 0; -EEXIST. */
int plan_link(Planner *p, const char *path, const char *target, bool force);
int plan_unlink(Planner *p, const char *path, const char *was);

/* What a link below the root says, in the pool of the changes. Return: 0; -ENOENT; -EINVAL: it is no link; other -errno. */
int plan_read_link(Planner *p, const char *path, const char **ret);

/*
 * Plans to remove all links that have one of the marked names, are instances of one, or lead to one, and those that
 * lead to these. marks: names, and absolute paths.
 */
int plan_remove_marked(Planner *p, Names *marks);

int plan_enable(Planner *p, const char *const *names, size_t n);
