/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * edit: parts of files. Here are the parameters, and what a role can say wrong; edit-file.c has the file, and the editors are in
 * files of their own, see edit.h.
 */

#include "../common/validate.h"
#include "edit-file.h"

enum {
        P_PATH,
        P_ENSURE,
        P_LINE,
        P_MATCH,
        P_EVERY,
        P_BLOCK,
        P_MARKER,
        P_REPLACE,
        P_SET,
        P_UNSET,
        P_SECTION,
        P_INI,
        P_TOML,
        P_JSON,
        P_EXACT,
        P_AFTER,
        P_BEFORE,
        P_SEPARATOR,
        P_COMMENT,
        P_UNCOMMENT,
        P_IGNORE_CASE,
        P_CREATE,
        P_MODE,
        P_VALIDATE,
        _P_MAX,
};

enum { REPLACE_MATCH, REPLACE_WITH, REPLACE_FROM, REPLACE_TO, REPLACE_COUNT };

static const char *const ensure_words[] = { "present", "absent", NULL };

static const AgentdParameter replace_fields[] = {
        [REPLACE_MATCH] = { "match", AGENTD_STRING, AGENTD_REQUIRED, NULL,
                "regular expression of what is replaced; ^ and $ are the ends of lines" },
        [REPLACE_WITH] = { "with", AGENTD_STRING, AGENTD_REQUIRED, NULL,
                "what it is replaced by; $1 or ${name} is what a group has matched, $$ a dollar sign" },
        [REPLACE_FROM] = { "from", AGENTD_STRING, 0, NULL,
                "regular expression: only behind its first match" },
        [REPLACE_TO] = { "to", AGENTD_STRING, 0, NULL,
                "regular expression: only before its first match, or that behind `from`" },
        [REPLACE_COUNT] = { "count", AGENTD_INTEGER, 0, "0", "how often at most; 0: wherever it matches" },
        {},
};

static const AgentdParameter parameters[] = {
        [P_PATH] = { .name = "path",
                .type = AGENTD_STRING,
                .flags = AGENTD_REQUIRED | AGENTD_PATH,
                .documentation = "the file" },
        [P_ENSURE] = { .name = "ensure",
                .type = AGENTD_STRING,
                .default_value = "present",
                .choices = ensure_words,
                .documentation = "whether the line, block or section is to be there" },
        [P_LINE] = { .name = "line",
                .type = AGENTD_STRING,
                .flags = AGENTD_IDENTIFIES,
                .exclusive = "operation",
                .documentation =
                        "a line, as a whole; with `match`, $1 or ${name} is what a group has matched" },
        [P_MATCH] = { .name = "match",
                .type = AGENTD_STRING,
                .documentation =
                        "regular expression: the first line that matches is replaced by `line`; to be "
                        "absent, all that match" },
        [P_EVERY] = { .name = "every",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "replace every line that matches" },
        [P_BLOCK] = { .name = "block",
                .type = AGENTD_STRING,
                .exclusive = "operation",
                .documentation = "lines, kept between two lines that mark them" },
        [P_MARKER] = { .name = "marker",
                .type = AGENTD_STRING,
                .flags = AGENTD_IDENTIFIES,
                .documentation =
                        "these two, with {mark} for BEGIN and END; without it, a comment with the name "
                        "of the state" },
        [P_REPLACE] = { .name = "replace",
                .type = AGENTD_RECORD,
                .fields = replace_fields,
                .exclusive = "operation",
                .documentation = "a regular expression over the whole text, and what replaces each match" },
        [P_SET] = { .name = "set",
                .type = AGENTD_TABLE,
                .exclusive = "operation",
                .documentation =
                        "keys and values of a file of assignments; a list: the key as often as that" },
        [P_UNSET] = { .name = "unset",
                .type = AGENTD_LIST,
                .documentation =
                        "keys that are not to be there; with `ini`, `toml` or `json`, like \"a.b\" or "
                        "\"/a/b\"" },
        [P_SECTION] = { .name = "section",
                .type = AGENTD_STRING,
                .documentation = "the section of an INI file that `set` and `unset` are about; \"\" is what "
                                 "stands before the first" },
        [P_INI] = { .name = "ini",
                .type = AGENTD_TABLE,
                .exclusive = "operation",
                .documentation = "sections of an INI file, each a table of keys and values" },
        [P_TOML] = { .name = "toml",
                .type = AGENTD_TABLE,
                .exclusive = "operation",
                .documentation = "what a TOML file is to have; tables are merged, lists replaced" },
        [P_JSON] = { .name = "json",
                .type = AGENTD_TABLE,
                .exclusive = "operation",
                .documentation = "what a JSON file is to have; objects are merged, lists replaced" },
        [P_EXACT] = { .name = "exact",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "with `ini`, `toml` or `json`: and nothing else" },
        [P_AFTER] = { .name = "after_line",
                .type = AGENTD_STRING,
                .exclusive = "position",
                .documentation =
                        "regular expression: what is new comes after the last line that matches, or "
                        "\"EOF\"" },
        [P_BEFORE] = { .name = "before_line",
                .type = AGENTD_STRING,
                .exclusive = "position",
                .documentation =
                        "regular expression: what is new comes before the first line that matches, or "
                        "\"BOF\"" },
        [P_SEPARATOR] = { .name = "separator",
                .type = AGENTD_STRING,
                .documentation =
                        "what stands between key and value, like \" = \"; without it, as in the file" },
        [P_COMMENT] = { .name = "comment",
                .type = AGENTD_STRING,
                .documentation =
                        "what begins a comment, like \"//\" or \"<!--\"; without it, \"#\", and \";\" in "
                        "INI files" },
        [P_UNCOMMENT] = { .name = "uncomment",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "a key that is only there in a comment is taken into use in its place" },
        [P_IGNORE_CASE] = { .name = "ignore_case",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "keys and sections differ not only in case" },
        [P_CREATE] = { .name = "create",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "make the file if there is none" },
        [P_MODE] = { .name = "mode",
                .type = AGENTD_MODE,
                .default_value = "0644",
                .documentation = "permissions of a file that is made so" },
        [P_VALIDATE] = { .name = "validate",
                .type = AGENTD_LIST,
                .documentation = "a program and its arguments, which has to agree with the new file, whose "
                                 "path is in "
                                 "the place of %s, before that takes its place" },
        {},
};

/* ---- Prepare --------------------------------------------------------------------------------------------------- */

#define OP(name) (1u << EDIT_##name)

/* Which parameters make sense for which operations. */
static const struct {
        int parameter;
        unsigned operations;
} sense[] = {
        { P_MATCH, OP(LINE) },
        { P_EVERY, OP(LINE) },
        { P_MARKER, OP(BLOCK) },
        { P_UNSET, OP(KEYS) | OP(INI) | OP(TOML) | OP(JSON) },
        { P_SECTION, OP(KEYS) },
        { P_EXACT, OP(INI) | OP(TOML) | OP(JSON) },
        { P_AFTER, OP(LINE) | OP(BLOCK) | OP(KEYS) },
        { P_BEFORE, OP(LINE) | OP(BLOCK) | OP(KEYS) },
        { P_SEPARATOR, OP(KEYS) | OP(INI) },
        { P_COMMENT, OP(BLOCK) | OP(KEYS) | OP(INI) },
        { P_UNCOMMENT, OP(KEYS) | OP(INI) },
        { P_IGNORE_CASE, OP(KEYS) | OP(INI) },
};

static bool given(const AgentdValue *p) {
        return p->type != AGENTD_NONE && !(p->type == AGENTD_BOOLEAN && !p->boolean);
}

static Operation operation_of(const AgentdValue *p) {
        if (p[P_LINE].type != AGENTD_NONE)
                return EDIT_LINE;
        if (p[P_BLOCK].type != AGENTD_NONE || p[P_MARKER].type != AGENTD_NONE)
                return EDIT_BLOCK;
        if (p[P_REPLACE].type != AGENTD_NONE)
                return EDIT_REPLACE;
        if (p[P_INI].type != AGENTD_NONE)
                return EDIT_INI;
        if (p[P_TOML].type != AGENTD_NONE)
                return EDIT_TOML;
        if (p[P_JSON].type != AGENTD_NONE)
                return EDIT_JSON;
        if (p[P_SET].type != AGENTD_NONE || p[P_UNSET].type != AGENTD_NONE ||
                p[P_SECTION].type != AGENTD_NONE)
                return EDIT_KEYS;
        return p[P_MATCH].type != AGENTD_NONE && streq(p[P_ENSURE].string, "absent") ? EDIT_LINE
                                                                                     : _OPERATION_MAX;
}

/* A string that is one line and has no NUL; NULL if it is not given or was refused. */
static const char *one_line(
        AgentdPrepare *prepare, int parameter, const char *name, const AgentdValue *value) {
        if (value->type == AGENTD_NONE)
                return NULL;
        if (strlen(value->string) == value->size && !strpbrk(value->string, "\r\n"))
                return value->string;
        agentd_prepare_error(prepare, parameter, "'%s' must be one line, without NUL", name);
        return NULL;
}

/* A regular expression that compiles. */
static const char *regex(AgentdPrepare *prepare, int parameter, const char *name, const AgentdValue *value,
        unsigned flags, Regex *ret) {
        _cleanup_free_ char *error = NULL;
        Regex compiled = {};

        if (value->type == AGENTD_NONE)
                return NULL;
        if (strlen(value->string) != value->size)
                agentd_prepare_error(prepare, parameter, "'%s' must be without NUL", name);
        else if (regex_new(value->string, flags | REGEX_UTF, &compiled, &error) < 0)
                agentd_prepare_error(prepare, parameter, "'%s': %s", name, error ?: "out of memory");
        else {
                if (ret)
                        *ret = compiled;
                else
                        regex_done(&compiled);
                return value->string;
        }
        return NULL;
}

static void check_references(
        AgentdPrepare *prepare, int parameter, const char *name, const Regex *compiled, const char *with) {
        const char *bad;

        if (!compiled->code || !with)
                return;
        (void) regex_has_references(compiled, with, &bad);
        if (bad)
                agentd_prepare_error(prepare, parameter,
                        "'%s' says '%.16s', but 'match' has %u group%s; a dollar sign is $$", name, bad,
                        compiled->n_groups, compiled->n_groups == 1 ? "" : "s");
        /* What other tools call a group would be written as it is, and what was there would be lost. */
        for (const char *c = with; compiled->n_groups > 0 && (c = strchr(c, '\\')); c++)
                if (c[1] >= '1' && c[1] <= '9' && (unsigned) (c[1] - '0') <= compiled->n_groups) {
                        agentd_prepare_error(prepare, parameter,
                                "'%s' says '%.2s', which is text; what a group has matched is $%c or ${%c}",
                                name, c, c[1], c[1]);
                        return;
                }
}

static void prepare_line(AgentdPrepare *prepare, const AgentdValue *p, Edit *edit) {
        _cleanup_(regex_done) Regex compiled = {};

        edit->line = one_line(prepare, P_LINE, "line", &p[P_LINE]);
        edit->match = regex(prepare, P_MATCH, "match", &p[P_MATCH], 0, &compiled);
        edit->every = p[P_EVERY].boolean;
        if (!edit->absent && compiled.n_groups > 0)
                check_references(prepare, P_LINE, "line", &compiled, edit->line);
        if (edit->absent && edit->line && edit->match)
                agentd_prepare_error(prepare, P_MATCH,
                        "what is to be absent is said by 'line' or by 'match', not by both");
}

static void prepare_block(AgentdPrepare *prepare, const char *name, const AgentdValue *p, Edit *edit) {
        const char *marker = one_line(prepare, P_MARKER, "marker", &p[P_MARKER]), *mark;
        const char *comment = edit->comment ?: "#";
        const char *end = streq(comment, "<!--") ? " -->" : streq(comment, "/*") ? " */" : "";
        char *made;

        edit->block = p[P_BLOCK].type != AGENTD_NONE ? p[P_BLOCK].string : "";
        if (p[P_BLOCK].type != AGENTD_NONE && strlen(edit->block) != p[P_BLOCK].size)
                agentd_prepare_error(prepare, P_BLOCK, "'block' must be without NUL");
        if (p[P_BLOCK].type == AGENTD_NONE && !edit->absent)
                agentd_prepare_error(prepare, P_MARKER, "'marker' wants 'block'");
        if (!marker) {
                made = agentd_alloc(prepare, strlen(comment) + strlen(name) + strlen(end) + 20);
                (void) sprintf(made, "%s {mark} agentd: %s%s", comment, name, end);
                marker = made;
        }
        mark = strstr(marker, "{mark}");
        if (!mark || strpbrk(name, "\r\n")) {
                agentd_prepare_error(prepare, mark ? -1 : P_MARKER,
                        mark ? "the name must be one line" : "'marker' must have {mark} in it");
                return;
        }
        for (int i = 0; i < 2; i++) {
                made = agentd_alloc(prepare, strlen(marker) + 1);
                (void) sprintf(
                        made, "%.*s%s%s", (int) (mark - marker), marker, i == 0 ? "BEGIN" : "END", mark + 6);
                if (i == 0)
                        edit->begin = made;
                else
                        edit->end = made;
        }
        /* Else it would not be found again where it ends. */
        for (const char *p_ = edit->block; *p_; p_ += strcspn(p_, "\n"), p_ += *p_ == '\n') {
                Line line = { .text = p_, .size = strcspn(p_, "\n") };

                if (line_is(&line, edit->begin) || line_is(&line, edit->end)) {
                        agentd_prepare_error(
                                prepare, P_BLOCK, "'block' has a line in it that marks a block");
                        break;
                }
        }
}

static void prepare_replace(AgentdPrepare *prepare, const AgentdValue *p, Edit *edit) {
        const AgentdValue *items = p[P_REPLACE].items;
        _cleanup_(regex_done) Regex compiled = {};

        edit->match = regex(prepare, P_REPLACE, "match", &items[REPLACE_MATCH], REGEX_LINES, &compiled);
        edit->from = regex(prepare, P_REPLACE, "from", &items[REPLACE_FROM], REGEX_LINES, NULL);
        edit->to = regex(prepare, P_REPLACE, "to", &items[REPLACE_TO], REGEX_LINES, NULL);
        edit->with = items[REPLACE_WITH].string;
        edit->count = items[REPLACE_COUNT].integer;
        if (strlen(edit->with) != items[REPLACE_WITH].size)
                agentd_prepare_error(prepare, P_REPLACE, "'with' must be without NUL");
        if (edit->count < 0)
                agentd_prepare_error(prepare, P_REPLACE, "'count' must not be negative");
        check_references(prepare, P_REPLACE, "with", &compiled, edit->with);
}

static bool is_scalar(const AgentdValue *value) {
        return value->type == AGENTD_BOOLEAN || value->type == AGENTD_INTEGER ||
               value->type == AGENTD_FLOAT ||
               (value->type == AGENTD_STRING && strlen(value->string) == value->size &&
                       !strpbrk(value->string, "\r\n"));
}

/* Keys and values of assignments; or, with sections, tables of them. */
static void check_assignments(
        AgentdPrepare *prepare, int parameter, const char *name, const AgentdValue *table, bool sections) {
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];
                bool good = is_scalar(&member->value);

                if (!*member->key || strpbrk(member->key, sections ? "\r\n]" : "\r\n="))
                        agentd_prepare_error(prepare, parameter, "'%s': '%s' is no name for a %s", name,
                                member->key,
                                sections && member->value.type == AGENTD_TABLE ? "section" : "key");
                if (sections && member->value.type == AGENTD_TABLE) {
                        check_assignments(prepare, parameter, member->key, &member->value, false);
                        continue;
                }
                if (member->value.type == AGENTD_LIST) {
                        good = member->value.n > 0;
                        for (uint32_t k = 0; k < member->value.n; k++)
                                good = good && is_scalar(&member->value.items[k]);
                }
                if (!good)
                        agentd_prepare_error(prepare, parameter,
                                "'%s': '%s' must be a boolean, a number, a string of one line, or a list of "
                                "such%s",
                                name, member->key, member->value.type == AGENTD_LIST ? ", not empty" : "");
        }
}

/* Blanks, '=' or ':', blanks; something of it. */
static bool is_separator(const char *text) {
        const char *p = text + strspn(text, " \t");

        p += *p == '=' || *p == ':';
        p += strspn(p, " \t");
        return *p == 0 && p > text && p - text < 16;
}

static void prepare_keys(AgentdPrepare *prepare, const AgentdValue *p, Edit *edit) {
        int parameter = edit->operation == EDIT_INI    ? P_INI
                        : edit->operation == EDIT_KEYS ? P_SET
                        : edit->operation == EDIT_TOML ? P_TOML
                                                       : P_JSON;

        edit->section = one_line(prepare, P_SECTION, "section", &p[P_SECTION]);
        edit->separator = one_line(prepare, P_SEPARATOR, "separator", &p[P_SEPARATOR]);
        edit->uncomment = p[P_UNCOMMENT].boolean;
        edit->ignore_case = p[P_IGNORE_CASE].boolean;
        edit->exact = p[P_EXACT].boolean;
        edit->table = p[parameter].type != AGENTD_NONE ? &p[parameter] : NULL;
        edit->unset = p[P_UNSET].type != AGENTD_NONE ? &p[P_UNSET] : NULL;

        if (edit->separator && !is_separator(edit->separator))
                agentd_prepare_error(prepare, P_SEPARATOR,
                        "'separator' must be '=' or ':', blanks around it, or blanks alone");
        if (edit->section && strchr(edit->section, ']'))
                agentd_prepare_error(prepare, P_SECTION, "'section' must not have a ']' in it");
        if (edit->absent && (edit->operation != EDIT_KEYS || !edit->section || edit->table || edit->unset))
                agentd_prepare_error(prepare, P_ENSURE,
                        "ensure = \"absent\" is for 'line', 'match', 'block' and, alone, 'section'; keys "
                        "are removed by 'unset'");
        if (!edit->absent && edit->operation == EDIT_KEYS && !edit->table && !edit->unset)
                agentd_prepare_error(prepare, P_SECTION, "'section' wants 'set' or 'unset'");
        if (edit->exact && edit->unset)
                agentd_prepare_error(prepare, P_UNSET, "'exact' leaves nothing for 'unset' to do");
        if (edit->table && (edit->operation == EDIT_KEYS || edit->operation == EDIT_INI))
                check_assignments(prepare, parameter, parameters[parameter].name, edit->table,
                        edit->operation == EDIT_INI);
        for (uint32_t i = 0; edit->unset && i < edit->unset->n; i++)
                if (!edit->unset->items[i].string[0] || strpbrk(edit->unset->items[i].string, "\r\n"))
                        agentd_prepare_error(
                                prepare, P_UNSET, "'unset' has something in it that is no name for a key");
}

/* When it is declared no more: the line that is there, or the block between its marks. */
static void prepare_removal(AgentdPrepare *prepare, const AgentdValue *p, const Edit *edit) {
        const AgentdValue nothing = { .type = AGENTD_STRING, .string = "" };

        if (edit->operation == EDIT_BLOCK && edit->begin) {
                /* Without `comment`, which the marks may have been made of. */
                char *marker = agentd_alloc(prepare, strlen(edit->begin) + 8);
                const char *mark = strstr(edit->begin, "BEGIN");
                const AgentdValue *said = &p[P_MARKER];

                if (said->type == AGENTD_NONE)
                        (void) sprintf(marker, "%.*s{mark}%s", (int) (mark - edit->begin), edit->begin,
                                mark + strlen("BEGIN"));
                agentd_prepare_removal(prepare, P_BLOCK, &nothing);
                if (said->type == AGENTD_NONE)
                        agentd_prepare_removal(prepare, P_MARKER,
                                &(AgentdValue){
                                        .type = AGENTD_STRING, .string = marker, .size = strlen(marker) });
        } else if (edit->operation != EDIT_LINE || (edit->match && strchr(edit->line ?: "", '$')))
                agentd_prepare_error(prepare, -1,
                        "on_removal = \"absent\" is for 'block' and for a 'line' as it is; nobody knows "
                        "what "
                        "was there before");
        if (p[P_VALIDATE].type != AGENTD_NONE)
                agentd_prepare_removal(prepare, P_VALIDATE, &p[P_VALIDATE]);
}

static int prepare(AgentdPrepare *prepare_, const char *name, const AgentdValue *p, const void **ret_data,
        unsigned flags) {
        Edit *edit = agentd_alloc(prepare_, sizeof(Edit));

        *edit = (Edit){
                .operation = operation_of(p),
                .path = p[P_PATH].string,
                .absent = streq(p[P_ENSURE].string, "absent"),
                .create = p[P_CREATE].boolean,
                .mode = (mode_t) p[P_MODE].integer,
        };
        if (edit->operation == _OPERATION_MAX) {
                agentd_prepare_error(prepare_, -1,
                        "it says nothing to do: give one of 'line', 'block', 'replace', 'set', 'unset', "
                        "'ini', 'toml', 'json'");
                return -EINVAL;
        }
        for (size_t i = 0; i < ELEMENTSOF(sense); i++)
                if (given(&p[sense[i].parameter]) && !(sense[i].operations & 1u << edit->operation))
                        agentd_prepare_error(prepare_, sense[i].parameter, "'%s' makes no sense here",
                                parameters[sense[i].parameter].name);
        if (edit->absent && edit->operation == EDIT_REPLACE)
                agentd_prepare_error(prepare_, P_ENSURE,
                        "what 'replace' is to remove it replaces by nothing: with = \"\"");

        edit->after = regex(prepare_, P_AFTER, "after_line", &p[P_AFTER], 0, NULL);
        edit->before = regex(prepare_, P_BEFORE, "before_line", &p[P_BEFORE], 0, NULL);
        edit->comment = one_line(prepare_, P_COMMENT, "comment", &p[P_COMMENT]);
        switch (edit->operation) {
        case EDIT_LINE: prepare_line(prepare_, p, edit); break;
        case EDIT_BLOCK: prepare_block(prepare_, name, p, edit); break;
        case EDIT_REPLACE: prepare_replace(prepare_, p, edit); break;
        default: prepare_keys(prepare_, p, edit); break;
        }
        (void) validate_prepare(prepare_, P_VALIDATE, &p[P_VALIDATE], &edit->validate);
        if (flags & AGENTD_ON_REMOVAL)
                prepare_removal(prepare_, p, edit);
        agentd_prepare_edits(prepare_, edit->path);
        *ret_data = edit;
        return 0;
}

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        agentd_watch_path(w, ((const Edit *) state->data)->path);
        return 0;
}

static const AgentdStateType edit_type = {
        .name = "edit",
        .documentation = "Keeps a part of a file as declared: lines, blocks, settings",
        .parameters = parameters,
        .batch_max = 1024,
        .timeout_usec = 30 * 1000000ull,
        .prepare = prepare,
        .watch = watch,
        .check = edit_check,
        .apply = edit_apply,
};

AGENTD_MODULE("edit", "1", &edit_type, &cron_type);
