/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "template.h"
#include "util.h"
#include "value-json.h"

/*
 * The first line is the data, if it is JSON; the rest, or else all of it, is the template. Partials are the strings of
 * the data's table "partials"; "self" is the template. Secrets are what is in the table "secrets".
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct World {
        Value root;
        TemplateSource self;
} World;

static int find_partial(void *userdata, const char *name, TemplateSource *ret_source) {
        World *world = userdata;
        const Value *partials = value_get(&world->root, "partials"), *text;

        if (streq(name, "self")) {
                *ret_source = world->self;
                return 0;
        }
        text = partials ? value_get(partials, name) : NULL;
        if (!text || text->type != VALUE_STRING)
                return -ENOENT;
        *ret_source = template_source_file("partial", text->text, text->size);
        return 0;
}

static void taint(Value *value) {
        value->tainted = true;
        if (value->type == VALUE_TABLE)
                VALUE_FOREACH_MEMBER(member, value)
                        taint(&member->value);
}

static void render(Arena *arena, World *world, const TemplateOptions *options, bool one_line) {
        Scope scope = scope_from_table(&world->root);
        Value text = {}, string, value = {};
        Diagnostic e = {};
        int r, k;

        world->self.one_line = one_line;
        r = template_render(arena, options, &world->self, &scope, &text, &e);
        assert(r == 0 || r == -EINVAL || r == -E2BIG);
        if (r == 0) {
                assert(text.type == VALUE_STRING);
                assert(text.size <= options->size_max);
                assert(text.text[text.size] == 0);
        } else {
                assert(e.place.line >= 1 && e.place.column >= 1);
                assert(utf8_is_valid(e.message, strlen(e.message)));
        }

        string = value_string(arena, world->self.text, world->self.size);
        string.place = world->self.place;
        string.multiline = !one_line;
        string.tainted = world->self.tainted;
        k = template_evaluate_value(arena, options, &string, &scope, &value, &e);
        /* Where it is text for both, it is the same. */
        if (r == 0 && k == 0 && value.type == VALUE_STRING)
                assert(value_equal(&text, &value) && text.tainted == value.tainted);
        /* One that takes a value does not render it. */
        assert(k == r || (k == 0 && value.type != VALUE_STRING) || (k == -EINVAL && !options->strict));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data, *newline = size > 0 ? memchr(text, '\n', size) : NULL;
        World world = { .root = value_table() };
        Arena arena = {};
        Member *secrets;

        if (arena_map(&arena, MIB(256), NULL) < 0)
                return 0;

        if (newline) {
                json_auto_t *json = json_loadb(text, (size_t) (newline - text), JSON_ALLOW_NUL, NULL);

                if (json) {
                        world.root = value_from_json(&arena, json);
                        size -= (size_t) (newline + 1 - text);
                        text = newline + 1;
                }
        }
        if (world.root.type != VALUE_TABLE)
                world.root = value_table();
        secrets = value_find(&world.root, "secrets", strlen("secrets"));
        if (secrets)
                taint(&secrets->value);

        /* A copy of just that size, for the sanitizer to see what is read beyond it. */
        _cleanup_free_ char *copy = malloc(size);
        if (copy || size == 0) {
                if (size > 0)
                        memcpy(copy, text, size);
                world.self = template_source_file("template", copy, size);
                for (unsigned i = 0; i < 4; i++)
                        render(&arena, &world,
                                &(TemplateOptions){
                                        .strict = i & 1,
                                        .escape_html = i & 2,
                                        .partial = find_partial,
                                        .userdata = &world,
                                        .size_max = KIB(64),
                                        .steps_max = 20000,
                                },
                                i & 2);
        }

        arena_unmap(&arena);
        return 0;
}
