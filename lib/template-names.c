/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What names mean: a walk from the open sections, or the scope, through tables and arrays. */

#include "template-internal.h"

static int find(Renderer *r, const Value *table, const char *key, size_t size, const Value **ret) {
        Member *member;
        int ret_steps;

        *ret = NULL;
        if (table->type != VALUE_TABLE)
                return template_take_steps(r, 1);
        ret_steps = template_take_steps(r, 1 + table->n_members / 16);
        if (ret_steps < 0)
                return ret_steps;
        member = value_find(table, key, size);
        if (member)
                *ret = &member->value;
        return 0;
}

/* What a loop over the table goes through: tables of `key` and `value`. */
static int list_entries(Renderer *r, const Value *table, const Value **ret) {
        Value *list = arena_new(r->arena, Value);
        int k;

        k = template_take_steps(r, table->n_members);
        if (k < 0)
                return k;
        *list = value_array();
        list->place = table->place;
        VALUE_FOREACH_MEMBER(member, table) {
                Value entry = value_table(), key = value_string(r->arena, member->key, member->key_size);

                key.tainted = entry.tainted = table->tainted;
                (void) value_add(r->arena, &entry, "key", 3, &key);
                (void) value_add(r->arena, &entry, "value", 5, &member->value);
                (void) value_append(r->arena, list, &entry);
        }
        *ret = list;
        return 0;
}

/* "0" is the first. NULL: there is no such item. */
static const Value *find_item(const Value *array, const char *number, size_t size) {
        uint64_t i = 0;

        if (array->type != VALUE_ARRAY || size > 9 || (*number == '0' && size > 1))
                return NULL;
        for (size_t k = 0; k < size; k++) {
                if (number[k] < '0' || number[k] > '9')
                        return NULL;
                i = i * 10 + (uint64_t) (number[k] - '0');
        }
        return i < array->n_items ? &array->items[i] : NULL;
}

int template_resolve(Renderer *r, const char *name, size_t size, Resolved *ret) {
        bool in_table = false, in_scope = false;
        bool entries = size > 2 && memcmp(name + size - 2, ".*", 2) == 0;
        size_t position = 0, part_size, noted_size = 0;
        const Value *value = NULL;
        const char *part;
        int k;

        *ret = (Resolved){};

        if (size == 1 && name[0] == '.') {
                value = r->context ? r->context->value : r->scope->lookup(r->scope->userdata, ".", 1);
                if (value)
                        r->tainted |= value->tainted;
                ret->value = value;
                return 0;
        }

        if (entries)
                size -= 2;
        part = template_next_part(name, size, &position, &part_size);
        for (const Context *c = r->context; c && !value; c = c->outer) {
                in_table |= c->value->type == VALUE_TABLE;
                k = find(r, c->value, part, part_size, &value);
                if (k < 0)
                        return k;
        }
        if (!value) {
                value = r->scope->lookup(r->scope->userdata, part, part_size);
                in_scope = value != NULL;
        }
        if (!value) {
                ret->optional = in_table && position > size;
                return 0;
        }

        for (;;) {
                const Value *next;

                r->tainted |= value->tainted;
                ret->last = value;
                ret->last_size = position - 1;
                if (position > size) {
                        if (!entries)
                                ret->value = value;
                        else if (value->type == VALUE_TABLE) {
                                k = list_entries(r, value, &ret->value);
                                if (k < 0)
                                        return k;
                        }
                        break;
                }

                part = template_next_part(name, size, &position, &part_size);
                k = find(r, value, part, part_size, &next);
                if (k < 0)
                        return k;
                if (!next) {
                        next = find_item(value, part, part_size);
                        /* Who reads an item reads the array. */
                        if (next && noted_size == 0)
                                noted_size = ret->last_size;
                }
                if (!next) {
                        ret->optional = position > size && value->type == VALUE_TABLE;
                        break;
                }
                value = next;
        }

        if (in_scope && r->scope->noted)
                r->scope->noted(r->scope->userdata, name, noted_size > 0 ? noted_size : size);
        return 0;
}

int template_fail_undefined(Renderer *r, const char *name, size_t size, const Resolved *resolved) {
        const char *meant;

        if (size == 1 && name[0] == '.')
                return RENDER_FAIL(r, "'.' is undefined outside of sections");
        if (resolved->last && resolved->last->type == VALUE_ARRAY)
                return RENDER_FAIL(r, "undefined name '%s': '%s' is an array of %u item%s",
                        RENDER_SHOW(r, name, size), RENDER_SHOW(r, name, resolved->last_size),
                        resolved->last->n_items, resolved->last->n_items == 1 ? "" : "s");
        if (resolved->last && resolved->last->type != VALUE_TABLE)
                return RENDER_FAIL(r, "undefined name '%s': '%s' is %s", RENDER_SHOW(r, name, size),
                        RENDER_SHOW(r, name, resolved->last_size), value_kind(resolved->last));

        /* A long name is nobody's typing mistake; and correcting one costs its square. */
        meant = size > 256 || r->source->tainted
                        ? NULL
                        : template_suggest(r->arena, r->scope, r->context, name, size);
        if (!meant && r->context && r->context->value->type == VALUE_TABLE &&
                ((size == 3 && memcmp(name, "key", 3) == 0) || (size == 5 && memcmp(name, "value", 5) == 0)))
                return RENDER_FAIL(r,
                        "undefined name '%s'; a section goes through a table if '.*' follows its name",
                        RENDER_SHOW(r, name, size));
        if (!meant)
                return RENDER_FAIL(r, "undefined name '%s'", RENDER_SHOW(r, name, size));
        return RENDER_FAIL(r, "undefined name '%s'; did you mean '%s'?", RENDER_SHOW(r, name, size),
                RENDER_SHOW(r, meant, strlen(meant)));
}

const char *template_whole_name(const char *text, size_t size, size_t *ret_size) {
        const char *end = text + size;
        bool braces;

        if (size < 5 || memcmp(text, "{{", 2) != 0 || memcmp(end - 2, "}}", 2) != 0)
                return NULL;
        text += 2;
        end -= 2;
        braces = *text == '{' && end[-1] == '}';
        if (braces) {
                text++;
                end--;
        }
        if (!braces && text < end && *text == '&')
                text++;
        while (text < end && *text == ' ')
                text++;
        while (end > text && end[-1] == ' ')
                end--;
        /* Signs of other tags, delimiters, further tags; names that are none. */
        if (text == end || strchr("#^/>!=<$&*", *text) || end[-1] == '.')
                return NULL;
        for (const char *p = text; p < end; p++)
                if (strchr(" \t\r\n\v\f{}", *p) || (*p == '.' && (p == text || p[-1] == '.'))) /* also NUL */
                        return NULL;
        *ret_size = (size_t) (end - text);
        return text;
}
