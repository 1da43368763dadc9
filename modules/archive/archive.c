/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * archive: a directory as it comes out of an archive.
 *
 * Whatever reads the archive is a program of its own without rights, agentd-extract. What it has unpacked is given its owners and
 * modes here, and takes the place of the old directory in one step. What came out is remembered, for checks to compare with.
 */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "../common/walk.h"
#include "archive-internal.h"

enum {
        P_SOURCE,
        P_URL,
        P_CHECKSUM,
        P_STRIP,
        P_INCLUDE,
        P_EXCLUDE,
        P_OWNER,
        P_GROUP,
        P_OWNERS,
        P_FILE_MODE,
        P_DIRECTORY_MODE,
        P_CREATES,
        P_PURGE,
        P_MAX_SIZE,
        P_MAX_FILES,
};

#define STRIP_MAX    100
#define PATTERNS_MAX 1000

static const char *const owners_words[] = { "declared", "archive", NULL };

static const AgentdParameter parameters[] = {
        [P_SOURCE] = { .name = "source",
                .type = AGENTD_STRING,
                .flags = AGENTD_SOURCE,
                .exclusive = "source",
                .documentation = "the archive: a file beside the role, or an absolute path" },
        [P_URL] = { .name = "url",
                .type = AGENTD_STRING,
                .exclusive = "source",
                .documentation = "the archive: where it is fetched from; needs `checksum`" },
        [P_CHECKSUM] = { .name = "checksum",
                .type = AGENTD_STRING,
                .flags = AGENTD_CHECKSUM,
                .documentation = "what the archive must be: `sha256:`, `sha512:` or `blake2b:` and "
                                 "hexadecimal digits" },
        [P_STRIP] = { .name = "strip",
                .type = AGENTD_INTEGER,
                .default_value = "0",
                .documentation = "parts of each path in the archive that are left out at its beginning" },
        [P_INCLUDE] = { .name = "include",
                .type = AGENTD_LIST,
                .documentation = "patterns of paths that are unpacked, after `strip`; without it, all" },
        [P_EXCLUDE] = { .name = "exclude",
                .type = AGENTD_LIST,
                .documentation = "patterns of paths that are not" },
        [P_OWNER] = { .name = "owner",
                .type = AGENTD_STRING,
                .flags = AGENTD_USER,
                .documentation = "owning user of everything, by name or number; without it, root" },
        [P_GROUP] = { .name = "group",
                .type = AGENTD_STRING,
                .flags = AGENTD_GROUP,
                .documentation = "owning group, likewise" },
        [P_OWNERS] = { .name = "owners",
                .type = AGENTD_STRING,
                .default_value = "declared",
                .choices = owners_words,
                .documentation =
                        "`archive`: the users and groups that the archive names, where there are such; else "
                        "`owner` and `group`" },
        [P_FILE_MODE] = { .name = "file_mode",
                .type = AGENTD_MODE,
                .default_value = "0755",
                .documentation = "the permissions that files keep of those in the archive" },
        [P_DIRECTORY_MODE] = { .name = "directory_mode",
                .type = AGENTD_MODE,
                .default_value = "0755",
                .documentation = "… that directories keep" },
        [P_CREATES] = { .name = "creates",
                .type = AGENTD_STRING,
                .documentation = "a path below the name: the archive is unpacked only if that is missing, "
                                 "and nothing is "
                                 "compared" },
        [P_PURGE] = { .name = "purge",
                .type = AGENTD_BOOLEAN,
                .default_value = "true",
                .documentation = "the directory holds what the archive does and nothing else; `false`: "
                                 "others' files are "
                                 "left alone" },
        [P_MAX_SIZE] = { .name = "max_size",
                .type = AGENTD_BYTES,
                .default_value = "1G",
                .documentation = "the archive is refused if it is larger, or all its files together" },
        [P_MAX_FILES] = { .name = "max_files",
                .type = AGENTD_INTEGER,
                .default_value = "100000",
                .documentation = "… if it has more entries" },
        {},
};

/* ---- prepare --------------------------------------------------------------------------------------------------- */

/* What decides over what comes out, as a text: when it becomes different, the archive is unpacked anew. */
static const char *describe(AgentdPrepare *prepare, const AgentdValue *p) {
        size_t size = 64;
        char *text, *end;

        for (int k = P_INCLUDE; k <= P_EXCLUDE; k++)
                for (uint32_t n = 0; n < p[k].n && p[k].type == AGENTD_LIST; n++)
                        size += p[k].items[n].size + 16;
        end = text = agentd_alloc(prepare, size);
        end += sprintf(end, "strip=%d", (int) p[P_STRIP].integer);
        for (int k = P_INCLUDE; k <= P_EXCLUDE; k++)
                for (uint32_t n = 0; n < p[k].n && p[k].type == AGENTD_LIST; n++)
                        end += sprintf(end, " %s=%s", parameters[k].name, p[k].items[n].string);
        return text;
}

static int check_patterns(AgentdPrepare *prepare, const AgentdValue *p, int parameter) {
        const AgentdValue *list = &p[parameter];

        if (list->type != AGENTD_LIST)
                return 0;
        for (uint32_t n = 0; n < list->n; n++)
                if (list->items[n].size == 0 || list->items[n].size > 1000 ||
                        strlen(list->items[n].string) != list->items[n].size || n >= PATTERNS_MAX) {
                        agentd_prepare_error(prepare, parameter,
                                "'%s' must be a list of at most %d patterns like \"doc\" or \"share/*.txt\"",
                                parameters[parameter].name, PATTERNS_MAX);
                        return -EINVAL;
                }
        if (list->n == 0 && parameter == P_INCLUDE) {
                agentd_prepare_error(prepare, parameter, "'include' is empty, so nothing would be unpacked");
                return -EINVAL;
        }
        return 0;
}

static int check_parameters(AgentdPrepare *prepare, const char *name, const AgentdValue *p) {
        const AgentdValue *creates = &p[P_CREATES];
        int r = 0;

        if (name[1] == 0) {
                agentd_prepare_error(prepare, -1, "'/' cannot come out of an archive");
                r = -EINVAL;
        } else if (p[P_PURGE].boolean && p[P_CREATES].type == AGENTD_NONE && is_system_directory(name)) {
                agentd_prepare_error(prepare, -1,
                        "'%s' is a directory of the system, which is not exchanged as a whole; purge = "
                        "false "
                        "unpacks into it",
                        name);
                r = -EINVAL;
        }
        if (p[P_SOURCE].type == AGENTD_NONE && p[P_URL].type == AGENTD_NONE) {
                agentd_prepare_error(prepare, -1, "an archive needs 'source' or 'url'");
                r = -EINVAL;
        }
        if (p[P_URL].type != AGENTD_NONE && p[P_CHECKSUM].type == AGENTD_NONE) {
                agentd_prepare_error(
                        prepare, P_URL, "'url' needs 'checksum', which says what is to come from there");
                r = -EINVAL;
        }
        if (p[P_STRIP].integer < 0 || p[P_STRIP].integer > STRIP_MAX) {
                agentd_prepare_error(prepare, P_STRIP, "'strip' must be between 0 and %d", STRIP_MAX);
                r = -EINVAL;
        }
        if (p[P_MAX_FILES].integer < 1 || p[P_MAX_FILES].integer > 10000000) {
                agentd_prepare_error(prepare, P_MAX_FILES, "'max_files' must be between 1 and 10000000");
                r = -EINVAL;
        }
        if (p[P_MAX_SIZE].integer < 1) {
                agentd_prepare_error(prepare, P_MAX_SIZE, "'max_size' must be more than nothing");
                r = -EINVAL;
        }
        for (int k = P_FILE_MODE; k <= P_DIRECTORY_MODE; k++)
                if (p[k].integer & 07000) {
                        agentd_prepare_error(prepare, k,
                                "'%s' must be three octal digits: set-uid, set-gid and sticky bits are "
                                "never kept",
                                parameters[k].name);
                        r = -EINVAL;
                }
        if (creates->type != AGENTD_NONE &&
                (strlen(creates->string) != creates->size || !manifest_path_is_clean(creates->string))) {
                agentd_prepare_error(prepare, P_CREATES,
                        "'creates' must be a path below the name, like \"bin/app\", without '..'");
                r = -EINVAL;
        }
        if (check_patterns(prepare, p, P_INCLUDE) < 0 || check_patterns(prepare, p, P_EXCLUDE) < 0)
                r = -EINVAL;
        return r;
}

static const char *text_or_null(const AgentdValue *value) {
        return value->type == AGENTD_STRING ? value->string : NULL;
}

static int archive_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const void **ret_data, unsigned flags) {
        Archive *archive = agentd_alloc(prepare, sizeof(Archive));
        int r = check_parameters(prepare, name, p);

        if (r < 0)
                return r;
        *archive = (Archive){
                .source = text_or_null(&p[P_SOURCE]),
                .url = text_or_null(&p[P_URL]),
                .checksum = text_or_null(&p[P_CHECKSUM]),
                .strip = p[P_STRIP].integer,
                .include = p[P_INCLUDE].type == AGENTD_LIST ? &p[P_INCLUDE] : NULL,
                .exclude = p[P_EXCLUDE].type == AGENTD_LIST ? &p[P_EXCLUDE] : NULL,
                .owner = text_or_null(&p[P_OWNER]),
                .group = text_or_null(&p[P_GROUP]),
                .names = strcmp(p[P_OWNERS].string, "archive") == 0,
                .file_mode = (mode_t) p[P_FILE_MODE].integer,
                .directory_mode = (mode_t) p[P_DIRECTORY_MODE].integer,
                .creates = text_or_null(&p[P_CREATES]),
                .purge = p[P_PURGE].boolean,
                .max_size = p[P_MAX_SIZE].integer,
                .max_files = p[P_MAX_FILES].integer,
                .parameters = describe(prepare, p),
        };
        /* In a directory that is the archive's alone no other state can have anything: it would be in the way, or go with the
         * next archive. */
        if (archive->purge && !archive->creates)
                agentd_prepare_path_kind(prepare, AGENTD_PATH_LEAF);
        *ret_data = archive;
        return 0;
}

/* ---- The other callbacks --------------------------------------------------------------------------------------- */

static int archive_watch(AgentdWatch *watch, const AgentdState *state, unsigned flags) {
        const Archive *archive = state->data;

        if (archive->creates) {
                char path[PATH_MAX];

                agentd_watch_path(watch, state->name);
                if ((size_t) snprintf(path, sizeof(path), "%s/%s", state->name, archive->creates) <
                        sizeof(path))
                        agentd_watch_path(watch, path);
        } else if (archive->purge)
                agentd_watch_tree(watch, state->name, 0, NULL);
        else
                agentd_watch_path(watch, state->name);
        return 0;
}

static int archive_check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                Look look;

                look_init(&look, states[i].name);
                if (archive_look(c, i, &states[i], &look) == 0)
                        agentd_done(c, i);
                look_done(&look);
        }
        return 0;
}

static int archive_apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                Look look;
                int r;

                look_init(&look, states[i].name);
                r = archive_look(c, i, &states[i], &look);
                if (r == 0 && look.differs)
                        r = archive_unpack(c, i, &states[i], &look);
                if (r == 0)
                        agentd_done(c, i);
                look_done(&look);
        }
        return 0;
}

static const AgentdStateType archive_type = {
        .name = "archive",
        .documentation = "Keeps a directory as it comes out of an archive",
        .parameters = parameters,
        .flags = AGENTD_NAME_IS_PATH,
        .batch_max = 8,
        .timeout_usec = 10 * 60 * 1000000ull,
        .prepare = archive_prepare,
        .watch = archive_watch,
        .check = archive_check,
        .apply = archive_apply,
};

AGENTD_MODULE("archive", "1", &archive_type);
