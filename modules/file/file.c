/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* file: files, directories and symlinks, with content, mode and owner. What is where: file.h. */

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "file.h"

enum {
        P_ENSURE,
        P_CONTENT,
        P_SOURCE,
        P_TEMPLATE,
        P_TARGET,
        P_MODE,
        P_OWNER,
        P_GROUP,
        P_PARENTS,
        P_URL,
        P_CHECKSUM,
        P_SHA256,
        P_SIGNATURE,
        P_PUBLIC_KEYS,
        P_DOWNLOAD,
};

enum {
        PARENTS_CREATE,
        PARENTS_MODE,
};

static const char *const ensure_words[] = { "file", "directory", "symlink", "absent", NULL };

static const AgentdParameter parents_fields[] = {
        [PARENTS_CREATE] = { "create", AGENTD_BOOLEAN, 0, "true",
                "make the directories above that are missing" },
        [PARENTS_MODE] = { "mode", AGENTD_MODE, 0, "0755", "their mode" },
        {},
};

static const AgentdParameter file_parameters[] = {
        [P_ENSURE] = { .name = "ensure",
                .type = AGENTD_STRING,
                .default_value = "file",
                .choices = ensure_words,
                .documentation = "what there is to be at the path" },
        [P_CONTENT] = { .name = "content",
                .type = AGENTD_STRING,
                .exclusive = "content",
                .documentation = "the content of the file, as text" },
        [P_SOURCE] = { .name = "source",
                .type = AGENTD_STRING,
                .flags = AGENTD_SOURCE,
                .exclusive = "content",
                .documentation = "a file beside the role, or an absolute path, that has the content" },
        [P_TEMPLATE] = { .name = "template",
                .type = AGENTD_STRING,
                .flags = AGENTD_TEMPLATE,
                .exclusive = "content",
                .documentation =
                        "a Mustache template beside the role, or an absolute path, that makes the content" },
        [P_TARGET] = { .name = "target",
                .type = AGENTD_STRING,
                .documentation = "what the symlink points to" },
        [P_MODE] = { .name = "mode",
                .type = AGENTD_MODE,
                .documentation = "permissions; without it, those of what is there are kept, and what is new "
                                 "has 0644, "
                                 "or 0755 as a directory" },
        [P_OWNER] = { .name = "owner",
                .type = AGENTD_STRING,
                .flags = AGENTD_USER,
                .documentation = "owning user, by name or number; without it, kept, or root" },
        [P_GROUP] = { .name = "group",
                .type = AGENTD_STRING,
                .flags = AGENTD_GROUP,
                .documentation = "owning group, by name or number; without it, kept, or root" },
        [P_PARENTS] = { .name = "parents",
                .type = AGENTD_RECORD,
                .fields = parents_fields,
                .documentation =
                        "what to do about missing directories above; without it, they are an error" },
        [P_URL] = { .name = "url",
                .type = AGENTD_ANY,
                .exclusive = "content",
                .documentation = "a URL that has the content, or a list of such, tried in this order; needs "
                                 "`sha256`, "
                                 "`checksum` or `public_keys`" },
        [P_CHECKSUM] = { .name = "checksum",
                .type = AGENTD_STRING,
                .flags = AGENTD_CHECKSUM,
                .exclusive = "checksum",
                .documentation = "of what `url` has: \"sha256:…\", \"sha512:…\" or \"blake2b:…\"" },
        [P_SHA256] = { .name = "sha256",
                .type = AGENTD_STRING,
                .flags = AGENTD_CHECKSUM,
                .exclusive = "checksum",
                .documentation = "likewise, in hexadecimal digits alone" },
        [P_SIGNATURE] = { .name = "signature",
                .type = AGENTD_STRING,
                .documentation = "URL of a signature by minisign; without it, `url` and \".minisig\"" },
        [P_PUBLIC_KEYS] = { .name = "public_keys",
                .type = AGENTD_LIST,
                .documentation = "keys of minisign, one of which must have signed what `url` has" },
        [P_DOWNLOAD] = { .name = "download",
                .type = AGENTD_RECORD,
                .fields = download_fields,
                .documentation = "how to fetch it" },
        {},
};

/* Which parameters make sense for which kind: bits of the kinds. */
static const struct {
        int parameter;
        unsigned kinds;
} sense[] = {
        { P_CONTENT, 1u << KIND_FILE },
        { P_SOURCE, 1u << KIND_FILE },
        { P_TEMPLATE, 1u << KIND_FILE },
        { P_TARGET, 1u << KIND_SYMLINK },
        { P_MODE, 1u << KIND_FILE | 1u << KIND_DIRECTORY },
        { P_OWNER, 1u << KIND_FILE | 1u << KIND_DIRECTORY | 1u << KIND_SYMLINK },
        { P_GROUP, 1u << KIND_FILE | 1u << KIND_DIRECTORY | 1u << KIND_SYMLINK },
        { P_PARENTS, 1u << KIND_FILE | 1u << KIND_DIRECTORY | 1u << KIND_SYMLINK },
        { P_URL, 1u << KIND_FILE },
};

static int file_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const void **ret_data, unsigned flags) {
        File *file = agentd_alloc(prepare, sizeof(File));
        int r = 0;

        while (strcmp(ensure_words[file->kind], p[P_ENSURE].string) != 0)
                file->kind++;

        for (size_t i = 0; i < sizeof(sense) / sizeof(sense[0]); i++)
                if (p[sense[i].parameter].type != AGENTD_NONE && !(sense[i].kinds & 1u << file->kind)) {
                        agentd_prepare_error(prepare, sense[i].parameter,
                                "'%s' makes no sense with ensure = \"%s\"%s",
                                file_parameters[sense[i].parameter].name, ensure_words[file->kind],
                                sense[i].parameter == P_TARGET ? "; did you mean ensure = \"symlink\"?"
                                                               : "");
                        r = -EINVAL;
                }
        if (file->kind == KIND_SYMLINK && p[P_TARGET].type == AGENTD_NONE) {
                agentd_prepare_error(prepare, -1, "a symlink needs 'target'");
                r = -EINVAL;
        }
        if (p[P_TARGET].type != AGENTD_NONE &&
                (p[P_TARGET].size == 0 || strlen(p[P_TARGET].string) != p[P_TARGET].size ||
                        p[P_TARGET].size >= PATH_MAX)) {
                agentd_prepare_error(prepare, P_TARGET,
                        "'target' must be a path: not empty, without NUL, not longer than %d bytes",
                        PATH_MAX - 1);
                r = -EINVAL;
        }
        if (name[1] == 0 && file->kind != KIND_DIRECTORY) {
                agentd_prepare_error(prepare, -1, "'/' is a directory, and cannot be anything else");
                r = -EINVAL;
        }
        if (r < 0)
                return r;

        r = download_prepare(prepare,
                &(DownloadValues){
                        .url = &p[P_URL],
                        .checksum = &p[P_CHECKSUM],
                        .sha256 = &p[P_SHA256],
                        .signature = &p[P_SIGNATURE],
                        .public_keys = &p[P_PUBLIC_KEYS],
                        .fields = &p[P_DOWNLOAD],
                        .url_index = P_URL,
                        .signature_index = P_SIGNATURE,
                        .fields_index = P_DOWNLOAD,
                },
                &file->download);
        if (r < 0)
                return r;

        for (int k = P_CONTENT; k <= P_TEMPLATE; k += P_TEMPLATE - P_CONTENT)
                if (p[k].type != AGENTD_NONE) {
                        file->content = p[k].string;
                        file->content_size = p[k].size;
                }
        file->source = p[P_SOURCE].type != AGENTD_NONE ? p[P_SOURCE].string : NULL;
        file->target = p[P_TARGET].type != AGENTD_NONE ? p[P_TARGET].string : NULL;
        file->mode = p[P_MODE].type != AGENTD_NONE ? p[P_MODE].integer : KEEP;
        file->owner = p[P_OWNER].type != AGENTD_NONE ? p[P_OWNER].string : NULL;
        file->group = p[P_GROUP].type != AGENTD_NONE ? p[P_GROUP].string : NULL;
        if (p[P_PARENTS].type != AGENTD_NONE) {
                file->make_parents = p[P_PARENTS].items[PARENTS_CREATE].boolean;
                file->parents_mode = (mode_t) p[P_PARENTS].items[PARENTS_MODE].integer;
        }
        if (file->kind == KIND_FILE)
                agentd_prepare_path_kind(prepare, AGENTD_PATH_LEAF);
        else if (file->kind == KIND_ABSENT)
                agentd_prepare_path_kind(prepare, AGENTD_PATH_ABSENT);
        *ret_data = file;
        return 0;
}

static int file_watch(AgentdWatch *watch, const AgentdState *state, unsigned flags) {
        agentd_watch_path(watch, state->name);
        return 0;
}

static int file_check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                Look look;

                if (file_look(c, i, &states[i], &look) < 0)
                        continue;
                if (file_compare(c, i, states[i].data, &look) < 0)
                        continue;
                agentd_done(c, i);
        }
        return 0;
}

static int file_apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                const File *file = states[i].data;
                const char *error = NULL;
                Look look;
                int r;

                if (file_look(c, i, &states[i], &look) < 0)
                        continue;
                if (file_compare(c, i, file, &look) < 0)
                        continue;
                record_undo(c, i, file, &look);
                r = file_make(c, i, &states[i], &look, &error);
                if (r < 0)
                        agentd_failed(c, i, "Failed to %s %s '%s': %s",
                                file->kind == KIND_ABSENT ? "remove" : "make",
                                kind_names[file->kind == KIND_ABSENT ? look.kind : file->kind],
                                states[i].name, error ? error : explain(r));
                else if (r != STAGED)
                        agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType file_type = {
        .name = "file",
        .documentation = "Keeps a file, directory or symlink as declared, or absent",
        .parameters = file_parameters,
        .flags = AGENTD_NAME_IS_PATH,
        .batch_max = 256,
        .timeout_usec = 30 * 1000000ull,
        .prepare = file_prepare,
        .watch = file_watch,
        .check = file_check,
        .apply = file_apply,
};

AGENTD_MODULE("file", "1", &file_type);
