/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* agentd --eval: tries an expression, with what a role or this host has as variables. */

#include <stdbool.h>

typedef struct EvalOptions {
        const char *expression;
        const char *root;        /* "/" or that of --root */
        const char *conf_dir;    /* NULL: the usual ones */
        const char *module_dir;  /* NULL: the usual ones only */
        const char *const *vars; /* NAME=VALUE, ended by NULL; or NULL */
        const char *role;        /* whose variables there are; NULL: those of the host */
        const char *item;        /* as of a loop: JSON, or a value of TOML; NULL: none */
        bool json;               /* a string is printed as JSON, too */
        bool check;              /* print nothing; the exit status says whether it is true */
} EvalOptions;

/*
 * As a state's `when`: what can be told without looking at the host by this process, the rest by a child in the sandbox of
 * checks, where that is possible.
 *
 * Return: an exit status: EXIT_FINE; EXIT_INVALID if there is no value; with check, EXIT_STATE_FAILED for false.
 */
int eval_run(const EvalOptions *options);
