/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What agentd does when it is not a daemon: one run, a look at the roles, or an answer about one state. */

#include <stdbool.h>
#include <stddef.h>

/* Exit status, of agentd --once and of agentctl. Source: DESIGN section 9. */
enum {
        EXIT_FINE = 0,
        EXIT_STATE_FAILED = 1,
        EXIT_INVALID = 2, /* usage, or a role */
        EXIT_UNREACHABLE = 3,
        EXIT_PENDING = 4, /* plan --check, and changes are pending */
};

typedef struct OnceOptions {
        const char *root;              /* "/" */
        const char *conf_dir;          /* NULL: the usual ones */
        const char *module_dir;        /* NULL: none besides the usual ones */
        const char *const *role_files; /* for validate: just these; NULL: all */
        const char *const *vars;       /* NAME=VALUE, ended by NULL; or NULL */
        const char *const *tags;       /* n of them: only states that have one, and what they require */
        size_t n_tags;
        const char *explain; /* the state, or a glob, for once_explain(); NULL */
        bool plan;
        bool check; /* plan: EXIT_PENDING if anything would change */
        bool diff;
        bool json;
        bool verbose;
        bool keep_log_level; /* whatever agentd.toml says */
} OnceOptions;

/* All print, and return an exit status. */
int once_run(const OnceOptions *options);
int once_validate(const OnceOptions *options);
int once_explain(const OnceOptions *options);
