/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* file: files, directories and symlinks, with content, mode and owner. What is where: file.h. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "../common/validate.h"
#include "tree.h"

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
        P_REPLACE,
        P_VALIDATE,
        P_FORCE,
        P_SELINUX,
        P_XATTRS,
        P_ACL,
        P_CAPABILITIES,
        P_IMMUTABLE,
        P_APPEND_ONLY,
        P_RECURSE,
        P_PURGE,
        P_FILE_MODE,
        P_DIRECTORY_MODE,
        P_INCLUDE,
        P_EXCLUDE,
        P_MAX_DEPTH,
        P_MAX_FILES,
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

static const char *const ensure_words[] = { "file", "directory", "symlink", "hardlink", "absent", NULL };

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
                .documentation = "what the symlink points to; the file that the hard link is to" },
        [P_MODE] = { .name = "mode",
                .type = AGENTD_MODE,
                .flags = AGENTD_SYMBOLIC,
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
        [P_REPLACE] = { .name = "replace",
                .type = AGENTD_BOOLEAN,
                .documentation =
                        "if false, the content is written only if there is no file; without it, always" },
        [P_VALIDATE] = { .name = "validate",
                .type = AGENTD_LIST,
                .documentation = "a program and its arguments, which has to agree with the new file, whose "
                                 "path is in "
                                 "the place of %s, before that takes its place" },
        [P_FORCE] = { .name = "force",
                .type = AGENTD_BOOLEAN,
                .flags = AGENTD_IDENTIFIES,
                .documentation =
                        "replace what is of another kind, also below, and remove directories that are not "
                        "empty; of `purge`: also in a directory of the system, or a mount" },
        [P_SELINUX] = { .name = "selinux",
                .type = AGENTD_STRING,
                .documentation = "the label, where SELinux is enabled; without it, kept" },
        [P_XATTRS] = { .name = "xattrs",
                .type = AGENTD_TABLE,
                .documentation = "extended attributes, by their names in quotes; others are kept" },
        [P_ACL] = { .name = "acl",
                .type = AGENTD_LIST,
                .documentation = "all entries of the access control list but those of the mode, like "
                                 "user:NAME:rw-; without it, kept" },
        [P_CAPABILITIES] = { .name = "capabilities",
                .type = AGENTD_STRING,
                .documentation = "capabilities of a program, as setcap(8) takes them; without it, kept" },
        [P_IMMUTABLE] = { .name = "immutable",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether nobody can change it; without it, one that is immutable is not "
                                 "changed by agentd either" },
        [P_APPEND_ONLY] = { .name = "append_only",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether it can only be appended to; without it, likewise" },
        [P_RECURSE] = { .name = "recurse",
                .type = AGENTD_ANY,
                .documentation = "of a directory: what lies below has owner, group, `file_mode` and "
                                 "`directory_mode`; or so many levels of it" },
        [P_PURGE] = { .name = "purge",
                .type = AGENTD_BOOLEAN,
                .documentation =
                        "of a directory: what lies below is removed, if it is not in `source` and no "
                        "other state owns it" },
        [P_FILE_MODE] = { .name = "file_mode",
                .type = AGENTD_MODE,
                .flags = AGENTD_SYMBOLIC,
                .documentation =
                        "permissions of files below a directory; without it, kept, and new ones have "
                        "0644, or 0755 if `source` can be executed" },
        [P_DIRECTORY_MODE] = { .name = "directory_mode",
                .type = AGENTD_MODE,
                .flags = AGENTD_SYMBOLIC,
                .documentation =
                        "permissions of directories below; without it, kept, and new ones have 0755" },
        [P_INCLUDE] = { .name = "include",
                .type = AGENTD_LIST,
                .documentation =
                        "patterns: of what lies below, but directories, nothing else is looked at" },
        [P_EXCLUDE] = { .name = "exclude",
                .type = AGENTD_LIST,
                .documentation = "patterns: what lies below and is not looked at" },
        [P_MAX_DEPTH] = { .name = "max_depth",
                .type = AGENTD_INTEGER,
                .documentation =
                        "levels below that are looked at; without it, all, and more than 128 are an "
                        "error" },
        [P_MAX_FILES] = { .name = "max_files",
                .type = AGENTD_INTEGER,
                .documentation =
                        "files and directories below, more of which are an error; without it, 10000" },
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
#define FILES      (1u << KIND_FILE)
#define ATTRIBUTES (1u << KIND_FILE | 1u << KIND_DIRECTORY)
#define OWNED      (1u << KIND_FILE | 1u << KIND_DIRECTORY | 1u << KIND_SYMLINK)
#define LINKS      (1u << KIND_SYMLINK | 1u << KIND_HARDLINK)

static const struct {
        int parameter;
        unsigned kinds;
} sense[] = {
        { P_CONTENT, FILES },
        { P_SOURCE, ATTRIBUTES },
        { P_TEMPLATE, FILES },
        { P_TARGET, LINKS },
        { P_MODE, ATTRIBUTES },
        { P_OWNER, OWNED },
        { P_GROUP, OWNED },
        { P_PARENTS, OWNED | LINKS },
        { P_REPLACE, FILES },
        { P_VALIDATE, FILES },
        { P_SELINUX, ATTRIBUTES },
        { P_XATTRS, ATTRIBUTES },
        { P_ACL, ATTRIBUTES },
        { P_CAPABILITIES, FILES },
        { P_IMMUTABLE, ATTRIBUTES | 1u << KIND_ABSENT },
        { P_APPEND_ONLY, ATTRIBUTES | 1u << KIND_ABSENT },
        { P_RECURSE, 1u << KIND_DIRECTORY },
        { P_PURGE, 1u << KIND_DIRECTORY },
        { P_FILE_MODE, 1u << KIND_DIRECTORY },
        { P_DIRECTORY_MODE, 1u << KIND_DIRECTORY },
        { P_INCLUDE, 1u << KIND_DIRECTORY },
        { P_EXCLUDE, 1u << KIND_DIRECTORY },
        { P_MAX_DEPTH, 1u << KIND_DIRECTORY },
        { P_MAX_FILES, 1u << KIND_DIRECTORY },
        { P_URL, FILES },
};

static bool is_given(const AgentdValue *p, int parameter) {
        return p[parameter].type != AGENTD_NONE;
}

/* Whether the state says what is in the file. */
static bool has_content(const AgentdValue *p) {
        return is_given(p, P_CONTENT) || is_given(p, P_SOURCE) || is_given(p, P_TEMPLATE) ||
               is_given(p, P_URL);
}

static int check_sense(AgentdPrepare *prepare, const AgentdValue *p, Kind kind) {
        int r = 0;

        for (size_t i = 0; i < sizeof(sense) / sizeof(sense[0]); i++)
                if (is_given(p, sense[i].parameter) && !(sense[i].kinds & 1u << kind)) {
                        agentd_prepare_error(prepare, sense[i].parameter,
                                "'%s' makes no sense with ensure = \"%s\"%s",
                                file_parameters[sense[i].parameter].name, ensure_words[kind],
                                sense[i].parameter == P_TARGET ? "; did you mean ensure = \"symlink\"?"
                                                               : "");
                        r = -EINVAL;
                }
        for (int k = P_REPLACE; k <= P_VALIDATE; k++)
                if (is_given(p, k) && kind == KIND_FILE && !has_content(p)) {
                        agentd_prepare_error(
                                prepare, k, "'%s' makes no sense without content", file_parameters[k].name);
                        r = -EINVAL;
                }
        if (kind == KIND_ABSENT)
                for (int k = P_IMMUTABLE; k <= P_APPEND_ONLY; k++)
                        if (is_given(p, k) && p[k].boolean) {
                                agentd_prepare_error(prepare, k, "what is to be absent cannot be '%s'",
                                        file_parameters[k].name);
                                r = -EINVAL;
                        }
        return r;
}

/* Whether it is absolute, and the one spelling of what it is. */
static bool is_plain_path(const char *path) {
        size_t n = strlen(path);

        if (path[0] != '/' || n < 2 || path[n - 1] == '/' || strstr(path, "//"))
                return false;
        for (const char *p = strstr(path, "/."); p; p = strstr(p + 1, "/."))
                if (p[2] == '/' || p[2] == 0 || (p[2] == '.' && (p[3] == '/' || p[3] == 0)))
                        return false;
        return true;
}

static int read_target(AgentdPrepare *prepare, const char *name, const AgentdValue *p, File *file) {
        const AgentdValue *target = &p[P_TARGET];
        char id[PATH_MAX + 8];

        if (target->type == AGENTD_NONE) {
                if (file->kind != KIND_SYMLINK && file->kind != KIND_HARDLINK)
                        return 0;
                agentd_prepare_error(prepare, -1, "a %s needs 'target'", kind_names[file->kind]);
                return -EINVAL;
        }
        if (target->size == 0 || strlen(target->string) != target->size || target->size >= PATH_MAX) {
                agentd_prepare_error(prepare, P_TARGET,
                        "'target' must be a path: not empty, without NUL, not longer than %d bytes",
                        PATH_MAX - 1);
                return -EINVAL;
        }
        file->target = target->string;
        if (file->kind != KIND_HARDLINK)
                return 0;
        if (!is_plain_path(file->target)) {
                agentd_prepare_error(prepare, P_TARGET,
                        "'target' of a hard link must be an absolute path, without '.', '..' and '//' in "
                        "it");
                return -EINVAL;
        }
        if (strcmp(file->target, name) == 0) {
                agentd_prepare_error(prepare, P_TARGET, "a hard link cannot be to itself");
                return -EINVAL;
        }
        (void) snprintf(id, sizeof(id), "file:%s", file->target);
        agentd_prepare_after(prepare, id);
        return 0;
}

static int read_mode(AgentdPrepare *prepare, const AgentdValue *mode, File *file, Extras *extras) {
        file->mode = KEEP;
        if (mode->type == AGENTD_INTEGER)
                file->mode = (int32_t) mode->integer;
        if (mode->type != AGENTD_STRING)
                return 0;
        extras->symbolic = mode->string;
        switch (strlen(mode->string) == mode->size ? mode_parse(mode->string) : -EINVAL) {
        case 0: return 0;
        case -EDOM:
                agentd_prepare_error(prepare, P_MODE,
                        "'mode' is '%s', which gives something else each time it is applied",
                        extras->symbolic);
                return -EINVAL;
        default:
                agentd_prepare_error(prepare, P_MODE,
                        "'mode' is '%s'; it must be octal digits like \"0644\", or symbolic like "
                        "\"u=rw,go=r\"",
                        extras->symbolic);
                return -EINVAL;
        }
}

/* Why an attribute of this name is none to be set; NULL if it is. */
static const char *refuse_xattr(const AgentdMember *member) {
        const char *name = member->key;

        if (member->value.type == AGENTD_TABLE)
                return "must be in quotes, as \"user.name\"";
        if (member->value.type != AGENTD_STRING)
                return "must be a string";
        if (strcmp(name, "security.selinux") == 0)
                return "is set by 'selinux'";
        if (strcmp(name, "security.capability") == 0)
                return "is set by 'capabilities'";
        if (strncmp(name, "system.posix_acl_", 17) == 0)
                return "is set by 'acl'";
        if (strcmp(name, "security.evm") == 0 || strcmp(name, "security.ima") == 0)
                return "is made by the kernel";
        if (!((strncmp(name, "user.", 5) == 0 && name[5]) ||
                    (strncmp(name, "security.", 9) == 0 && name[9])))
                return "must begin with user. or security.";
        if (strlen(name) > 255)
                return "is too long a name";
        return member->value.size > 65536 ? "is larger than 64 KiB" : NULL;
}

static int read_xattrs(AgentdPrepare *prepare, const AgentdValue *table, Extras *extras) {
        if (table->type == AGENTD_NONE)
                return 0;
        for (uint32_t k = 0; k < table->n; k++) {
                const char *why = refuse_xattr(&table->members[k]);

                if (why) {
                        agentd_prepare_error(
                                prepare, P_XATTRS, "'%s' in 'xattrs' %s", table->members[k].key, why);
                        return -EINVAL;
                }
        }
        extras->xattrs = table->members;
        extras->n_xattrs = table->n;
        return 0;
}

static int read_acl(AgentdPrepare *prepare, const AgentdValue *list, Kind kind, Extras *extras) {
        AclWish *wishes;

        if (list->type == AGENTD_NONE)
                return 0;
        if (list->n > ACL_DECLARED_MAX) {
                agentd_prepare_error(prepare, P_ACL, "'acl' has more than %d entries", ACL_DECLARED_MAX);
                return -EINVAL;
        }
        wishes = agentd_alloc(prepare, (list->n + 1) * sizeof(wishes[0]));
        for (uint32_t k = 0; k < list->n; k++) {
                const AgentdValue *item = &list->items[k];
                const char *why = strlen(item->string) == item->size
                                          ? acl_parse(prepare, item->string, &wishes[k])
                                          : "it has a NUL in it";

                if (!why && wishes[k].is_default && kind != KIND_DIRECTORY)
                        why = "only a directory has defaults";
                for (uint32_t j = 0; !why && j < k; j++)
                        if (acl_is_same_entry(&wishes[j], &wishes[k]))
                                why = "there is another entry for it";
                if (why) {
                        agentd_prepare_error(prepare, P_ACL, "'%s' in 'acl': %s", item->string, why);
                        return -EINVAL;
                }
        }
        extras->has_acl = true;
        extras->acl = wishes;
        extras->n_acl = list->n;
        return 0;
}

static int read_attributes(AgentdPrepare *prepare, const AgentdValue *p, File *file, Extras *extras) {
        int r = 0;

        if (read_mode(prepare, &p[P_MODE], file, extras) < 0)
                r = -EINVAL;
        if (read_xattrs(prepare, &p[P_XATTRS], extras) < 0)
                r = -EINVAL;
        if (read_acl(prepare, &p[P_ACL], file->kind, extras) < 0)
                r = -EINVAL;
        if (is_given(p, P_SELINUX)) {
                const AgentdValue *label = &p[P_SELINUX];

                extras->selinux = label->string;
                if (strlen(label->string) != label->size || label->size > 4000 ||
                        !strchr(label->string, ':')) {
                        agentd_prepare_error(prepare, P_SELINUX,
                                "'selinux' must be a label like \"system_u:object_r:etc_t:s0\"");
                        r = -EINVAL;
                }
        }
        if (is_given(p, P_CAPABILITIES)) {
                extras->has_capabilities = true;
                if (strlen(p[P_CAPABILITIES].string) != p[P_CAPABILITIES].size ||
                        capabilities_parse(p[P_CAPABILITIES].string, &extras->capabilities) < 0) {
                        agentd_prepare_error(prepare, P_CAPABILITIES,
                                "'capabilities' is '%s'; it must be like "
                                "\"cap_net_bind_service,cap_net_raw=ep\", "
                                "or empty",
                                p[P_CAPABILITIES].string);
                        r = -EINVAL;
                }
        }
        extras->immutable = is_given(p, P_IMMUTABLE) ? p[P_IMMUTABLE].boolean : KEEP;
        extras->append_only = is_given(p, P_APPEND_ONLY) ? p[P_APPEND_ONLY].boolean : KEEP;
        extras->has_extended =
                extras->has_acl || extras->has_capabilities || extras->n_xattrs > 0 || extras->selinux;
        return r;
}

static const struct TreeParameters tree_parameters = {
        .recurse = P_RECURSE,
        .purge = P_PURGE,
        .force = P_FORCE,
        .file_mode = P_FILE_MODE,
        .directory_mode = P_DIRECTORY_MODE,
        .max_depth = P_MAX_DEPTH,
        .max_files = P_MAX_FILES,
        .include = P_INCLUDE,
        .exclude = P_EXCLUDE,
        .source = P_SOURCE,
};

static AgentdPathKind path_kind(const AgentdValue *p, Kind kind) {
        switch (kind) {
        case KIND_FILE:
                return has_content(p) && !(is_given(p, P_REPLACE) && !p[P_REPLACE].boolean)
                               ? AGENTD_PATH_LEAF
                               : AGENTD_PATH_EDITABLE;
        case KIND_HARDLINK: return AGENTD_PATH_LEAF;
        case KIND_ABSENT: return AGENTD_PATH_ABSENT;
        default: return AGENTD_PATH_DIRECTORY;
        }
}

static bool has_any(const Extras *extras) {
        return extras->symbolic || extras->validate || extras->has_extended || extras->immutable != KEEP ||
               extras->append_only != KEEP || extras->tree || extras->download;
}

/* How it is removed when it is declared no more. */
static void prepare_removal(AgentdPrepare *prepare, const AgentdValue *p) {
        static const AgentdValue yes = { .type = AGENTD_BOOLEAN, .boolean = true },
                                 no = { .type = AGENTD_BOOLEAN, .boolean = false };

        /* What lies below is the state's as well. */
        if (is_given(p, P_PURGE) && p[P_PURGE].boolean)
                agentd_prepare_removal(prepare, P_FORCE, &yes);
        for (int k = P_IMMUTABLE; k <= P_APPEND_ONLY; k++)
                if (is_given(p, k) && p[k].boolean)
                        agentd_prepare_removal(prepare, (unsigned) k, &no);
}

static int file_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const void **ret_data, unsigned flags) {
        File *file = agentd_alloc(prepare, sizeof(File));
        Extras extras = *extras_of(file), *kept;
        int r;

        while (strcmp(ensure_words[file->kind], p[P_ENSURE].string) != 0)
                file->kind++;

        r = check_sense(prepare, p, file->kind);
        if (read_target(prepare, name, p, file) < 0 || read_attributes(prepare, p, file, &extras) < 0 ||
                validate_prepare(prepare, P_VALIDATE, &p[P_VALIDATE], &extras.validate) < 0)
                r = -EINVAL;
        if (name[1] == 0 && file->kind != KIND_DIRECTORY) {
                agentd_prepare_error(prepare, -1, "'/' is a directory, and cannot be anything else");
                r = -EINVAL;
        }
        if (file->kind == KIND_DIRECTORY &&
                tree_prepare(prepare, name, p, &tree_parameters, &extras.tree) < 0)
                r = -EINVAL;
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
                        .public_keys_index = P_PUBLIC_KEYS,
                        .fields_index = P_DOWNLOAD,
                },
                &extras.download);
        if (r < 0)
                return r;
        if (has_any(&extras)) {
                kept = agentd_alloc(prepare, sizeof(Extras));
                *kept = extras;
                file->extras = kept;
        }

        for (int k = P_CONTENT; k <= P_TEMPLATE; k += P_TEMPLATE - P_CONTENT)
                if (is_given(p, k)) {
                        file->content = p[k].string;
                        file->content_size = p[k].size;
                }
        file->source = is_given(p, P_SOURCE) && !extras.tree ? p[P_SOURCE].string : NULL;
        file->owner = is_given(p, P_OWNER) ? p[P_OWNER].string : NULL;
        file->group = is_given(p, P_GROUP) ? p[P_GROUP].string : NULL;
        file->only_if_missing = is_given(p, P_REPLACE) && !p[P_REPLACE].boolean;
        file->force = is_given(p, P_FORCE) && p[P_FORCE].boolean;
        if (is_given(p, P_PARENTS)) {
                file->make_parents = p[P_PARENTS].items[PARENTS_CREATE].boolean;
                file->parents_mode = (mode_t) p[P_PARENTS].items[PARENTS_MODE].integer;
        }
        if (flags & AGENTD_ON_REMOVAL)
                prepare_removal(prepare, p);
        agentd_prepare_path_kind(prepare, extras.tree ? AGENTD_PATH_TREE : path_kind(p, file->kind));
        *ret_data = file;
        return 0;
}

static int file_watch(AgentdWatch *watch, const AgentdState *state, unsigned flags) {
        const File *file = state->data;

        if (extras_of(file)->tree)
                tree_watch(watch, state->name, extras_of(file)->tree);
        else
                agentd_watch_path(watch, state->name);
        if (file->kind == KIND_HARDLINK)
                agentd_watch_path(watch, file->target);
        return 0;
}

static int file_check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                Look look;

                if (file_look(c, i, &states[i], &look) < 0)
                        continue;
                if (file_compare(c, i, states[i].data, &look) < 0)
                        continue;
                if (extras_of(states[i].data)->tree)
                        tree_check(c, i, &states[i], &look);
                else
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
                if (extras_of(file)->tree) {
                        tree_apply(c, i, &states[i], &look);
                        continue;
                }
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
        .documentation = "Keeps a file, directory or link as declared, or absent",
        .parameters = file_parameters,
        .flags = AGENTD_NAME_IS_PATH | AGENTD_COPIES_VALUES,
        .batch_max = 512,
        .timeout_usec = 30 * 1000000ull,
        .prepare = file_prepare,
        .watch = file_watch,
        .check = file_check,
        .apply = file_apply,
};

AGENTD_MODULE("file", "1", &file_type);
