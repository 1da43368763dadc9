/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"
#include "install-section.h"
#include "preset.h"
#include "util.h"

/*
 * Unit files: the first line is the name of the unit, the rest is read twice, as the file and as a drop-in. The same
 * bytes are presets, a word with specifiers, and something to escape.
 */

static void check_list(const Names *names) {
        for (size_t i = 0; i < names->n; i++)
                fuzz_check(names->list[i]);
}

static void check_section(const InstallUnit *unit, const InstallSection *s) {
        char word[UNIT_NAME_SIZE];

        check_list(&s->wanted_by);
        check_list(&s->required_by);
        for (size_t i = 0; i < s->also.n; i++)
                fuzz_check(unit_name_kind(s->also.list[i]) != UNIT_NAME_INVALID);
        fuzz_check(s->aliases.n == 0 || unit_type_may_alias(unit_name_type(unit->name)));
        fuzz_check(!s->default_instance || (unit_name_kind(unit->name) == UNIT_NAME_TEMPLATE &&
                                                   unit_instance_is_valid(s->default_instance)));
        fuzz_check(s->wanted_by.n + s->required_by.n + s->aliases.n + s->also.n <= INSTALL_NAMES_MAX);
        for (size_t i = 0; i < s->wanted_by.n && i < 16; i++)
                if (install_specifiers(unit, s->default_instance, s->wanted_by.list[i], word) == 0)
                        fuzz_check(strlen(word) < UNIT_NAME_SIZE);
}

static void check_names(const char *text) {
        char a[UNIT_NAME_SIZE], b[UNIT_NAME_SIZE], c[UNIT_NAME_SIZE];
        UnitNameKind kind = unit_name_kind(text);

        fuzz_check(kind == UNIT_NAME_INVALID || unit_name_type(text) != UNIT_TYPE_INVALID);
        if (unit_name_complete(text, a) == 0)
                fuzz_check(unit_name_kind(a) != UNIT_NAME_INVALID);
        fuzz_check(
                (unit_name_template(text, a) == 0) == !!(kind & (UNIT_NAME_TEMPLATE | UNIT_NAME_INSTANCE)));
        fuzz_check((unit_name_prefix(text, b) == 0) == (kind != UNIT_NAME_INVALID));
        if (kind == UNIT_NAME_INSTANCE) {
                fuzz_check(unit_name_kind(a) == UNIT_NAME_TEMPLATE);
                fuzz_check(unit_name_instance(text, b) == 0 && unit_instance_is_valid(b));
                fuzz_check(unit_name_with_instance(a, b, c) == 0 && streq(c, text));
                fuzz_check(unit_name_alias_check(text, a) != -ELOOP);
        }
}

static void check_escapes(const char *text) {
        size_t size = 4 * strlen(text) + 2;
        _cleanup_free_ char *escaped = malloc(size), *back = malloc(size), *again = malloc(size);

        fuzz_check(escaped && back && again);
        fuzz_check(unit_escape(text, false, escaped, size) == 0);
        fuzz_check(!*escaped || unit_instance_is_valid(escaped));
        fuzz_check(unit_unescape(escaped, false, back, size) == 0 && streq(back, text));
        if (unit_escape(text, true, escaped, size) == 0) {
                fuzz_check(unit_unescape(escaped, true, back, size) == 0);
                fuzz_check(unit_escape(back, true, again, size) == 0 && streq(escaped, again));
        }
        if (unit_unescape(text, true, back, size) == 0)
                fuzz_check(back[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        const char *line = memchr(data, '\n', size), *file = line ? line + 1 : (const char *) data;
        const UnitOwner owner = { .scope = UNIT_SCOPE_SYSTEM };
        size_t file_size = size - (size_t) (file - (const char *) data);
        InstallSection section = {};
        char name[UNIT_NAME_SIZE] = "a@.service", word[UNIT_NAME_SIZE];
        InstallUnit unit = { .name = name, .root_fd = -1, .owner = &owner };
        Presets *presets = NULL;
        Pool pool = {};
        int r;

        fuzz_check(text);
        check_names(text);
        check_escapes(text);
        if (line && (size_t) (line - (const char *) data) < sizeof(name)) {
                char first[UNIT_NAME_SIZE];

                memcpy(first, data, (size_t) (line - (const char *) data));
                first[line - (const char *) data] = '\0';
                check_names(first);
                if (unit_name_kind(first) != UNIT_NAME_INVALID)
                        memcpy(name, first, strlen(first) + 1);
        }
        if (install_specifiers(&unit, "x", text, word) == 0)
                fuzz_check(strlen(word) < UNIT_NAME_SIZE);

        for (unsigned i = 0; i < 2; i++) {
                r = install_section_parse(&pool, &unit, file, file_size, &section);
                fuzz_check(r <= 0 && r != -ENOMEM);
                check_section(&unit, &section);
        }

        fuzz_check(presets_new_empty(&presets) == 0);
        r = presets_parse(presets, (const char *) data, size);
        fuzz_check(r == 0 || r == -E2BIG);
        if (r == 0) {
                PresetAction action;
                Names instances = {};

                r = presets_query(presets, name, &pool, &instances, &action);
                fuzz_check(r == 0 || r == -EINVAL);
                for (size_t i = 0; r == 0 && i < instances.n; i++)
                        fuzz_check(unit_name_kind(instances.list[i]) == UNIT_NAME_INSTANCE);
        }
        (void) presets_free(presets);
        pool_done(&pool);
        return 0;
}
