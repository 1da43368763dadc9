/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From parameters to what a tree is to be. */

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "tree.h"

/* Where others put what is theirs. tidy may look there; nobody owns all of it. */
static bool is_shared(const char *name) {
        static const char *const list[] = { "/tmp", "/var/cache", "/var/log", "/var/mail", "/var/spool",
                "/var/tmp" };

        for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
                if (strcmp(name, list[i]) == 0)
                        return true;
        return false;
}

static int read_mode(AgentdPrepare *prepare, int parameter, const char *name, const AgentdValue *value,
        int64_t *ret, const char **ret_symbolic) {
        if (value->type == AGENTD_INTEGER)
                *ret = value->integer;
        if (value->type != AGENTD_STRING)
                return 0;
        switch (strlen(value->string) == value->size ? mode_parse(value->string) : -EINVAL) {
        case 0: *ret_symbolic = value->string; return 0;
        case -EDOM:
                agentd_prepare_error(prepare, parameter,
                        "'%s' is '%s', which gives something else each time it is applied", name,
                        value->string);
                return -EINVAL;
        default:
                agentd_prepare_error(prepare, parameter,
                        "'%s' is '%s'; it must be octal digits like \"0644\", or symbolic like "
                        "\"u=rwX,go=rX\"",
                        name, value->string);
                return -EINVAL;
        }
}

int tree_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const struct TreeParameters *at, const Tree **ret) {
        bool has_source = p[at->source].type != AGENTD_NONE,
             has_depth = p[at->max_depth].type != AGENTD_NONE;
        uint32_t levels = 0;
        Tree *tree;
        int r = 0;

        if (p[at->recurse].type != AGENTD_NONE &&
                depth_prepare(prepare, at->recurse, "recurse", &p[at->recurse], &levels) < 0)
                return -EINVAL;
        *ret = NULL;
        tree = agentd_alloc(prepare, sizeof(*tree));
        tree->source = has_source ? p[at->source].string : NULL;
        tree->recurse = levels > 0;
        tree->purge = p[at->purge].type == AGENTD_BOOLEAN && p[at->purge].boolean;
        tree->force = p[at->force].type == AGENTD_BOOLEAN && p[at->force].boolean;
        tree->file_mode = tree->directory_mode = KEEP;
        if (read_mode(prepare, at->file_mode, "file_mode", &p[at->file_mode], &tree->file_mode,
                    &tree->file_symbolic) < 0 ||
                read_mode(prepare, at->directory_mode, "directory_mode", &p[at->directory_mode],
                        &tree->directory_mode, &tree->directory_symbolic) < 0)
                r = -EINVAL;
        tree->depth = levels > 0 ? levels : WALK_DEPTH_MAX;
        tree->max_files = 10000;

        if (!has_source && !tree->recurse && !tree->purge) {
                static const struct {
                        size_t at;
                        const char *name;
                } below[] = {
                        { offsetof(struct TreeParameters, file_mode), "file_mode" },
                        { offsetof(struct TreeParameters, directory_mode), "directory_mode" },
                        { offsetof(struct TreeParameters, max_depth), "max_depth" },
                        { offsetof(struct TreeParameters, max_files), "max_files" },
                        { offsetof(struct TreeParameters, include), "include" },
                        { offsetof(struct TreeParameters, exclude), "exclude" },
                };

                for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
                        int parameter = *(const int *) ((const char *) at + below[i].at);

                        if (p[parameter].type == AGENTD_NONE)
                                continue;
                        agentd_prepare_error(prepare, parameter,
                                "'%s' is about what lies below, and needs 'source', recurse = true or purge "
                                "= true",
                                below[i].name);
                        r = -EINVAL;
                }
                return r;
        }

        if (has_depth && p[at->recurse].type == AGENTD_INTEGER) {
                agentd_prepare_error(
                        prepare, at->max_depth, "'max_depth' is given, and 'recurse' is a depth as well");
                r = -EINVAL;
        } else if (has_depth && number_prepare(prepare, at->max_depth, "max_depth", &p[at->max_depth], 1,
                                        WALK_DEPTH_MAX, &tree->depth) < 0)
                r = -EINVAL;
        if (p[at->max_files].type != AGENTD_NONE &&
                number_prepare(prepare, at->max_files, "max_files", &p[at->max_files], 1, 100000000,
                        &tree->max_files) < 0)
                r = -EINVAL;
        if (patterns_prepare(prepare, at->include, "include", &p[at->include], &tree->include) < 0 ||
                patterns_prepare(prepare, at->exclude, "exclude", &p[at->exclude], &tree->exclude) < 0)
                r = -EINVAL;
        if (tree->purge && !tree->force && (is_system_directory(name) || is_shared(name))) {
                agentd_prepare_error(prepare, at->purge,
                        "'purge' would clear '%s', which is a directory of the system; if that is meant, "
                        "force = true",
                        name);
                r = -EINVAL;
        }
        if (has_source) {
                const char *source = tree->source;
                size_t n = strlen(name), m = strlen(source);
                bool inside =
                        strncmp(source, name, n) == 0 && (source[n] == '/' || source[n] == 0 || n == 1);

                if (inside || (strncmp(source, name, m) == 0 && (name[m] == '/' || m == 1))) {
                        agentd_prepare_error(
                                prepare, at->source, "'source' and what is made of it lie in each other");
                        r = -EINVAL;
                }
        }
        agentd_prepare_owned(prepare);
        *ret = tree;
        return r;
}

int64_t tree_mode(const Tree *tree, Kind kind, mode_t mode) {
        const char *symbolic = kind == KIND_FILE        ? tree->file_symbolic
                               : kind == KIND_DIRECTORY ? tree->directory_symbolic
                                                        : NULL;
        mode_t result;

        if (symbolic)
                return mode_apply(symbolic, kind == KIND_DIRECTORY, mode & 07777, &result) < 0
                               ? KEEP
                               : (int64_t) result;
        return kind == KIND_FILE ? tree->file_mode : kind == KIND_DIRECTORY ? tree->directory_mode : KEEP;
}

void tree_watch(AgentdWatch *watch, const char *name, const Tree *tree) {
        unsigned depth = tree->depth == WALK_DEPTH_MAX ? 0 : tree->depth;

        agentd_watch_tree(watch, name, depth, tree->exclude);
        if (tree->source)
                agentd_watch_tree(watch, tree->source, depth, tree->exclude);
}
