/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The first line says the edit: a letter of what is done, and letters of what else; the second a line, key or pattern; the third a
 * value or a second pattern; the rest is the text.
 *
 *      l line  m line with match  r replace  b block  k key = value  s the same in section "s"  i ini  u unset  j JSON  t TOML
 *      A absent  E every  X exact  U uncomment  C case  F at the beginning
 */

#include <ctype.h>
#include <jansson.h>

#include "edit.h"
#include "fuzz.h"
#include "toml.h"

#define TEXT_MAX KIB(16) /* what a fuzzer makes larger only takes longer */

static bool has_line(const Lines *lines, const Line *wanted, size_t *from) {
        for (; *from < lines->n; (*from)++)
                if (lines->lines[*from].size == wanted->size &&
                        memcmp(lines->lines[*from].text, wanted->text, wanted->size) == 0) {
                        (*from)++;
                        return true;
                }
        return false;
}

/* Whether an edit may do away with the line. */
static bool is_named(const Edit *edit, const Line *line, const char *key) {
        size_t n = strlen(key);

        switch (edit->operation) {
        case EDIT_LINE: return edit->match || (edit->absent && line_is(line, edit->line));
        case EDIT_KEYS:
        case EDIT_INI:
                if (edit->exact || edit->absent)
                        return true;
                for (size_t i = 0; i + n <= line->size; i++)
                        if (strncasecmp(line->text + i, key, n) == 0)
                                return true;
                return false;
        default: return true;
        }
}

/* All other lines are there, in their order. */
static void check_kept(const Edit *edit, const char *key, const Lines *before, const Lines *after) {
        size_t from = 0;

        for (size_t i = 0; i < before->n; i++)
                if (!is_named(edit, &before->lines[i], key))
                        fuzz_check(has_line(after, &before->lines[i], &from));
}

/* Where all lines end alike, they still do, but for the last one. */
static void check_ends(const Lines *before, const Lines *after) {
        size_t end = strlen(before->end);

        for (size_t i = 0; i < before->n; i++)
                if (before->lines[i].full - before->lines[i].size !=
                        (i + 1 < before->n || before->lines[i].full > before->lines[i].size ? end : 0))
                        return;
        for (size_t i = 0; i + 1 < after->n; i++)
                fuzz_check(after->lines[i].full - after->lines[i].size == end);
}

/* ---- What the result says, to parsers that have not made it ---- */

static void merge_json(json_t *object, const AgentdValue *table) {
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];
                json_t *is = json_object_get(object, member->key);

                if (member->value.type != AGENTD_TABLE)
                        json_object_set_new(
                                object, member->key, json_stringn(member->value.string, member->value.size));
                else {
                        if (!json_is_object(is)) {
                                is = json_object();
                                json_object_set_new(object, member->key, is);
                        }
                        merge_json(is, &member->value);
                }
        }
}

static void check_json(
        const Edit *edit, const char *text, size_t size, const char *result, size_t result_size) {
        json_t *is = json_loadb(result, result_size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        json_t *should =
                edit->exact ? NULL : json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

        /* An empty text is an empty object. */
        should = should ?: json_object();
        merge_json(should, edit->table);
        fuzz_check(is && json_equal(is, should));
        json_decref(is);
        json_decref(should);
}

/* Unlike value_equal() a NaN is the same as itself. */
static bool same_toml(const Value *a, const Value *b) {
        if (a->type != b->type)
                return false;
        switch (a->type) {
        case VALUE_NULL: return true;
        case VALUE_BOOLEAN: return a->boolean == b->boolean;
        case VALUE_INTEGER: return a->integer == b->integer;
        case VALUE_FLOAT: return memcmp(&a->real, &b->real, sizeof(a->real)) == 0;
        case VALUE_ARRAY:
                for (uint32_t i = 0; i < a->n_items && a->n_items == b->n_items; i++)
                        if (!same_toml(&a->items[i], &b->items[i]))
                                return false;
                return a->n_items == b->n_items;
        case VALUE_TABLE:
                for (uint32_t i = 0; i < a->n_members; i++) {
                        const Member *member = value_find(b, a->members[i].key, a->members[i].key_size);

                        if (!member || !same_toml(&a->members[i].value, &member->value))
                                return false;
                }
                return a->n_members == b->n_members;
        default: return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
        }
}

/* before: NULL if there was no table. */
static void check_merged(const Value *before, const Value *after, const AgentdValue *table) {
        uint32_t n_new = 0;

        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];
                const Value *old = before ? value_get(before, member->key) : NULL;
                const Value *new = value_get(after, member->key);

                fuzz_check(new != NULL);
                n_new += !old;
                if (member->value.type == AGENTD_TABLE) {
                        fuzz_check(new->type == VALUE_TABLE);
                        check_merged(old && old->type == VALUE_TABLE ? old : NULL, new, &member->value);
                } else
                        /* A date that says the same is left. */
                        fuzz_check(new->type >= VALUE_STRING &&new->type <= VALUE_LOCAL_TIME &&new->size ==
                                   member->value.size &&memcmp(new->text, member->value.string, new->size) ==
                                   0);
        }
        fuzz_check(after->n_members == (before ? before->n_members : 0) + n_new);
        for (uint32_t i = 0; before && i < before->n_members; i++) {
                const Member *old = &before->members[i], *new = value_find(after, old->key, old->key_size);
                bool named = false;

                for (uint32_t k = 0; k < table->n; k++)
                        named = named || (strlen(table->members[k].key) == old->key_size &&
                                                 streq(table->members[k].key, old->key));
                fuzz_check(new && (named || same_toml(&old->value, &new->value)));
        }
}

static void check_toml(
        const Edit *edit, const char *text, size_t size, const char *result, size_t result_size) {
        Diagnostic diagnostic = {};
        Arena arena = {};
        Value before, after;

        if (arena_map(&arena, MIB(16), NULL) < 0)
                return;
        if (toml_parse(&arena, NULL, text, size, &before, &diagnostic) == 0) {
                fuzz_check(toml_parse(&arena, NULL, result, result_size, &after, &diagnostic) == 0);
                check_merged(edit->exact ? NULL : &before, &after, edit->table);
        }
        arena_unmap(&arena);
}

static char *take_line(const char **p, const char *end) {
        const char *newline = *p < end ? memchr(*p, '\n', (size_t) (end - *p)) : NULL;
        char *line = newline ? strndup(*p, (size_t) (newline - *p)) : strdup("");

        *p = newline ? newline + 1 : end;
        return line;
}

static void run(const Edit *edit, const char *key, const char *text, size_t size) {
        _cleanup_(lines_done) Lines before = {}, after = {};
        Part part = { .edit = edit, .id = "edit:x" }, again = part;
        size_t mark = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        Buffer result = {}, twice = {};

        if (edit_compose(&part, 1, text, size, &result) < 0)
                return;
        fuzz_check(
                part.changes == (result.size != size || (size > 0 && memcmp(result.data, text, size) != 0)));
        if (part.error)
                fuzz_check(!part.changes);
        else {
                fuzz_check(edit_compose(&again, 1, result.data ?: "", result.size, &twice) == 0);
                fuzz_check(!again.error && !again.changes);
                if (edit->operation == EDIT_JSON)
                        check_json(edit, text + mark, size - mark, result.data + mark, result.size - mark);
                if (edit->operation == EDIT_TOML && result.size > mark)
                        check_toml(edit, text + mark, size - mark, result.data + mark, result.size - mark);
                if (lines_split(text, size, &before) == 0 &&
                        lines_split(result.data ?: "", result.size, &after) == 0 && mark == 0) {
                        check_kept(edit, key, &before, &after);
                        if (edit->operation != EDIT_REPLACE && edit->operation != EDIT_JSON &&
                                edit->operation != EDIT_TOML && edit->operation != EDIT_BLOCK)
                                check_ends(&before, &after);
                }
        }
        edit_parts_done(&part, 1);
        edit_parts_done(&again, 1);
        buffer_done(&result);
        buffer_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *p = (const char *) data, *end = p + size;
        _cleanup_free_ char *letters = take_line(&p, end), *key = take_line(&p, end),
                            *value = take_line(&p, end);
        _cleanup_free_ char *text = NULL;
        AgentdValue string, table, outer, unset;
        AgentdMember member, section;
        Edit edit = {};

        if (!letters || !key || !value || (size_t) (end - p) > TEXT_MAX || strpbrk(key, "\r") ||
                strpbrk(value, "\r"))
                return 0;
        /* The end of half a line end is anybody's guess. */
        if (end > p && end[-1] == '\r')
                return 0;
        text = malloc((size_t) (end - p));
        if (!text && end > p)
                return 0;
        if (end > p)
                memcpy(text, p, (size_t) (end - p));

        string = (AgentdValue){ .type = AGENTD_STRING, .string = value, .size = strlen(value) };
        member = (AgentdMember){ .key = key, .value = string };
        table = (AgentdValue){ .type = AGENTD_TABLE, .members = &member, .n = 1 };
        section = (AgentdMember){ .key = "s", .value = table };
        outer = (AgentdValue){ .type = AGENTD_TABLE, .members = &section, .n = 1 };
        unset = (AgentdValue){ .type = AGENTD_LIST, .items = &string, .n = 1 };
        if (strchr(letters, 'A'))
                edit.absent = true;
        edit.every = strchr(letters, 'E') != NULL;
        edit.exact = strchr(letters, 'X') != NULL;
        edit.uncomment = strchr(letters, 'U') != NULL;
        edit.ignore_case = strchr(letters, 'C') != NULL;
        edit.before = strchr(letters, 'F') ? "BOF" : NULL;
        switch (letters[0]) {
        case 'l':
        case 'm':
                edit.operation = EDIT_LINE;
                edit.line = key;
                edit.match = letters[0] == 'm' ? value : NULL;
                break;
        case 'r':
                edit.operation = EDIT_REPLACE;
                edit.match = key;
                edit.with = value;
                break;
        case 'b':
                edit.operation = EDIT_BLOCK;
                edit.block = value;
                edit.begin = "# BEGIN";
                edit.end = "# END";
                if (strstr(value, "# BEGIN") || strstr(value, "# END"))
                        return 0;
                break;
        case 'k':
        case 's':
        case 'u':
                edit.operation = EDIT_KEYS;
                edit.section = letters[0] == 's' ? "s" : NULL;
                edit.table = letters[0] == 'u' ? NULL : &table;
                edit.unset = letters[0] == 'u' ? &unset : NULL;
                edit.absent = edit.absent && edit.section;
                break;
        case 'i':
                edit.operation = EDIT_INI;
                edit.table = strchr(letters, 'T') ? &outer : &table;
                break;
        case 'j':
        case 't':
                edit.operation = letters[0] == 'j' ? EDIT_JSON : EDIT_TOML;
                edit.table = strchr(letters, 'T') ? &outer : &table;
                if (!utf8_is_valid(key, strlen(key)) || !utf8_is_valid(value, strlen(value)))
                        return 0;
                break;
        default: return 0;
        }
        /* What prepare refuses. */
        if (edit.operation == EDIT_KEYS || edit.operation == EDIT_INI)
                if (!*key || strpbrk(key, "=]") || (edit.unset && !*value))
                        return 0;
        run(&edit, edit.unset ? value : key, text, (size_t) (end - p));
        return 0;
}
