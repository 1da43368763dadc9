/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* agentd --doc: what there is to be known of state types, helpers of expressions and settings, from their declarations. */

#include "module.h"
#include "settings.h"

typedef struct DocOptions {
        const char
                *name; /* of a state type, a setting of states or a helper, or "agentd.toml"; NULL: a list */
        const char *module_dir; /* searched first; NULL: none besides the usual ones */
        ReferenceStyle style;
} DocOptions;

/* Prints, and returns an exit status. Runs code of modules. */
int doc_run(const DocOptions *options);

/* The rows of a table of parameters, in Markdown; the names have the prefix. */
void doc_print_parameters(FILE *f, const char *prefix, const AgentdParameter *parameters);
