/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Parses the input as an expression, folds it over a few names, evaluates what is left and compares with what comes
 * out without folding.
 */

#include <assert.h>
#include <fcntl.h>

#include "expression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All memory is handed out zeroed. */
static void arena_reset(Arena *arena) {
        if (!arena->base && arena_map(arena, MIB(512), NULL) < 0)
                abort();
        memset(arena->base, 0, arena->used);
        arena->used = 0;
}

static void set(Arena *arena, Value *table, const char *key, Value value) {
        (void) value_set(arena, table, key, &value);
}

static Value make_names(Arena *arena) {
        Value names = value_table(), vars = value_table(), facts = value_table(), secrets = value_table();
        Value list = value_array(), secret = value_string(arena, "hunter2", 7);

        for (int i = 0; i < 20; i++) {
                Value item = value_table();

                set(arena, &item, "name", value_string(arena, "ada", 3));
                set(arena, &item, "uid", value_integer(i));
                (void) value_append(arena, &list, &item);
        }
        set(arena, &vars, "list", list);
        set(arena, &vars, "port", value_integer(8080));
        set(arena, &vars, "ratio", value_float(0.5));
        set(arena, &vars, "on", value_boolean(true));
        set(arena, &vars, "name",
                value_string(arena,
                        "w\xc3\xa4"
                        "b",
                        4));
        set(arena, &vars, "nothing", (Value){});
        set(arena, &facts, "id", value_string(arena, "debian", 6));
        set(arena, &facts, "my key", value_integer(INT64_MIN));
        secret.tainted = true;
        set(arena, &secrets, "db", secret);
        set(arena, &names, "vars", vars);
        set(arena, &names, "facts", facts);
        set(arena, &names, "secrets", secrets);
        return names;
}

static void check_error(int r, const Diagnostic *d) {
        _cleanup_free_ char *text = NULL;

        assert(r < 0);
        assert(d->message);
        assert(d->place.line > 0 && d->place.column > 0);
        assert(!strstr(d->message, "hunter2"));
        assert(utf8_is_valid(d->message, strlen(d->message)));
        text = diagnostic_format(d);
        assert(text);
}

static void on_noted(void *userdata, const char *name, size_t size) {
        assert(size > 0 && strlen(name) == size);
}

/* A helper as modules have them: it gives back what it is given, or fails. */
static int call_module(HelperCall *call, const Value *args, size_t n, Value *ret) {
        if (n == 0)
                return helper_error(call, SIZE_MAX, "there is nothing");
        *ret = args[n - 1];
        return helper_charge(call, n);
}

static const Helper *find_helper(void *userdata, const char *name) {
        static const Helper pure = {
                .name = "fuzz",
                .max_args = HELPER_ANY_NUMBER,
                .types = "*b",
                .call = call_module,
                .arguments = "…",
        };
        static const Helper host = {
                .name = "fuzz_host",
                .max_args = 2,
                .flags = HELPER_HOST,
                .types = "if",
                .call = call_module,
                .arguments = "…",
        };

        return streq(name, pure.name) ? &pure : streq(name, host.name) ? &host : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const unsigned flags[] = { 0, EXPRESSION_NO_HOST, EXPRESSION_CONDITION };
        static Arena scratch, image;
        static int no_directory = -EBADF;
        ExpressionContext context = { .scratch = &scratch, .steps_max = 2000 };
        Diagnostic d = {};
        HelperSet helpers;
        Expression *e;
        Value names, plain;
        Scope scope;
        int r, plain_r;

        /* There is nothing below it, so that helpers tell the same everywhere. */
        if (no_directory < 0)
                no_directory = open("/dev/null", O_PATH | O_CLOEXEC);
        assert(no_directory >= 0);

        arena_reset(&scratch);
        names = make_names(&scratch);
        scope = scope_from_table(&names);
        scope.noted = on_noted;
        helpers = helper_set(no_directory);
        helpers.find = find_helper;
        context.scope = &scope;
        context.helpers = &helpers;

        r = expression_parse(&scratch, (Place){ .file = "fuzz", .line = 1, .column = 1 },
                (const char *) data, size, &e, &d);
        if (r < 0) {
                /* A secret in the text is none. */
                if (!memmem(data, size, "hunter2", 7))
                        check_error(r, &d);
                return 0;
        }
        if (memmem(data, size, "hunter2", 7))
                return 0;

        plain_r = expression_evaluate(&context, e, &plain, &d);
        if (plain_r < 0)
                check_error(plain_r, &d);

        FOREACH_ELEMENT(f, flags) {
                ExpressionContext no_names = context;
                Expression *folded;
                const char *text;
                Value value;

                arena_reset(&image);
                r = expression_fold(&context, e, *f, &image, &folded, &d);
                if (r < 0) {
                        check_error(r, &d);
                        continue;
                }
                assert(*f != EXPRESSION_NO_HOST || expression_is_constant(folded, NULL));
                text = expression_format(&scratch, folded);
                assert(utf8_is_valid(text, strlen(text)) && !strstr(text, "hunter2"));

                no_names.scope = NULL;
                r = expression_evaluate(&no_names, folded, &value, &d);
                if (r < 0)
                        check_error(r, &d);
                else if (plain_r >= 0) {
                        assert(value_equal(&value, &plain));
                        assert(value_is_tainted(&value) == value_is_tainted(&plain) ||
                                value.type == VALUE_BOOLEAN);
                }
        }
        return 0;
}
