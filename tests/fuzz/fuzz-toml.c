/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"
#include "toml.h"
#include "util.h"

static const char *source;
static size_t source_size;

static void full(Arena *arena, size_t wanted) {
        fuzz_check(!"the arena is large enough");
        abort();
}

static void check_place(Place place, const char *file) {
        fuzz_check(place.file == file);
        fuzz_check(place.line > 0 && place.column > 0);
}

static bool is_before(Place a, Place b) {
        return a.line < b.line || (a.line == b.line && a.column < b.column);
}

/* What is written at a place. */
static const char *source_at(Place place) {
        const char *p = source, *end = source + source_size;

        if (source_size >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
                p += 3;
        for (uint32_t line = 1; line < place.line; line++) {
                p = memchr(p, '\n', (size_t) (end - p));
                fuzz_check(p);
                p++;
        }
        for (uint32_t column = 1; column < place.column; column++)
                do
                        fuzz_check(p++ < end);
                while (p < end && (*p & 0xc0) == 0x80);
        return p;
}

static void check_string(const Value *value) {
        const char *p = source_at(value->place), *end = source + source_size;

        fuzz_check(p < end && (*p == '"' || *p == '\''));
        fuzz_check(value->multiline == (end - p >= 6 && p[1] == p[0] && p[2] == p[0]));
}

static void check_value(const Value *value, const char *file, unsigned depth) {
        fuzz_check(depth <= 2 * TOML_DEPTH_MAX);
        check_place(value->place, file);

        switch (value->type) {
        case VALUE_ARRAY:
                VALUE_FOREACH_ITEM(item, value)
                        check_value(item, file, depth + 1);
                break;
        case VALUE_TABLE:
                for (uint32_t i = 0; i < value->n_members; i++) {
                        const Member *member = &value->members[i];

                        check_place(member->place, file);
                        fuzz_check(i == 0 || is_before(member[-1].place, member->place));
                        fuzz_check(utf8_is_valid(member->key, member->key_size));
                        fuzz_check(member->key[member->key_size] == 0);
                        check_value(&member->value, file, depth + 1);
                }
                break;
        case VALUE_STRING: check_string(value); __attribute__((fallthrough));
        case VALUE_OFFSET_DATETIME:
        case VALUE_LOCAL_DATETIME:
        case VALUE_LOCAL_DATE:
        case VALUE_LOCAL_TIME:
                fuzz_check(utf8_is_valid(value->text, value->size));
                fuzz_check(value->text[value->size] == 0);
                break;
        case VALUE_BOOLEAN:
        case VALUE_INTEGER:
        case VALUE_FLOAT: break;
        default: fuzz_check(!"a type that TOML has");
        }
        fuzz_check(!value->multiline || value->type == VALUE_STRING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char file[] = "fuzz.toml";
        Diagnostic error = {};
        Arena arena = {};
        Value value;
        int r;

        source = (const char *) data;
        source_size = size;
        fuzz_check(arena_map(&arena, GIB(1), full) == 0);

        r = toml_parse(&arena, file, (const char *) data, size, &value, &error);
        if (r == 0) {
                fuzz_check(value.type == VALUE_TABLE);
                fuzz_check(!error.message);
                check_value(&value, file, 1);
        } else {
                fuzz_check(r == -EINVAL);
                fuzz_check(error.message && *error.message);
                fuzz_check(utf8_is_valid(error.message, strlen(error.message)));
                fuzz_check(!strpbrk(error.message, "\r\n"));
                if (size <= TOML_SIZE_MAX)
                        check_place(error.place, file);
        }

        arena_unmap(&arena);
        return 0;
}
