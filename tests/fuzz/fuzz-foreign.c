/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a foreign module says. The first byte is what it answers to (low two bits: 0 the handshake, 1 prepare, 2 check,
 * 3 apply), the encoding (bit 2), whether a state is sensitive (bit 3), and how many states it was asked about (high
 * four). Then the lines.
 */

#include "foreign-protocol.h"
#include "fuzz.h"
#include "log.h"
#include "value.h"

typedef struct Told {
        const ForeignAnswer *answer;
        bool ended[16];
} Told;

static void check_state(const Told *told, size_t i) {
        fuzz_check(i < told->answer->n);
        fuzz_check(!told->ended[i]);
}

static void check_text(const char *text) {
        fuzz_check(text && utf8_is_valid(text, strlen(text)));
}

static void check_value(const AgentdValue *value, unsigned depth) {
        fuzz_check(value && depth < 32);
        switch (value->type) {
        case AGENTD_NONE:
        case AGENTD_BOOLEAN:
        case AGENTD_INTEGER: break;
        case AGENTD_FLOAT: fuzz_check(value->real - value->real == 0); break; /* finite */
        case AGENTD_STRING:
                fuzz_check(utf8_is_valid(value->string, value->size));
                fuzz_check(value->string[value->size] == 0);
                break;
        case AGENTD_LIST:
                for (uint32_t i = 0; i < value->n; i++)
                        check_value(&value->items[i], depth + 1);
                break;
        case AGENTD_TABLE:
                for (uint32_t i = 0; i < value->n; i++) {
                        check_text(value->members[i].key);
                        check_value(&value->members[i].value, depth + 1);
                }
                break;
        default: fuzz_check(false);
        }
}

static void on_log(void *userdata, int level, const char *text) {
        fuzz_check(level >= 0 && level <= 7);
        check_text(text);
}

static void on_finish(void *userdata, size_t i, ForeignVerdict verdict, const char *error) {
        Told *told = userdata;

        check_state(told, i);
        told->ended[i] = true;
        fuzz_check((verdict == FOREIGN_DONE) == !error);
        if (error)
                check_text(error);
        fuzz_check(verdict != FOREIGN_UNKNOWN || told->answer->request != FOREIGN_PREPARE);
}

static void on_difference(void *userdata, size_t i, const char *attribute, const AgentdValue *is,
        const AgentdValue *should, bool text) {
        const Told *told = userdata;

        check_state(told, i);
        fuzz_check(told->answer->request == FOREIGN_CHECK);
        check_text(attribute);
        check_value(is, 0);
        check_value(should, 0);
        fuzz_check(!text || ((is->type == AGENTD_NONE || is->type == AGENTD_STRING) &&
                                    (should->type == AGENTD_NONE || should->type == AGENTD_STRING)));
}

static void on_undo(void *userdata, size_t i, const char *what, const AgentdValue *old) {
        const Told *told = userdata;

        check_state(told, i);
        check_text(what);
        check_value(old, 0);
}

static void on_error(void *userdata, size_t i, const char *parameter, const char *text) {
        const Told *told = userdata;

        check_state(told, i);
        fuzz_check(told->answer->request == FOREIGN_PREPARE);
        if (parameter)
                check_text(parameter);
        check_text(text);
}

static void on_watch(void *userdata, size_t i, const char *kind, const char *what) {
        on_error(userdata, i, kind, what);
        fuzz_check(*what);
}

static void on_after(void *userdata, size_t i, const char *id) {
        on_error(userdata, i, NULL, id);
}

static void on_path_kind(void *userdata, size_t i, AgentdPathKind kind) {
        check_state(userdata, i);
        fuzz_check(kind <= AGENTD_PATH_ABSENT);
}

static const ForeignSink sink = {
        .log = on_log,
        .finish = on_finish,
        .difference = on_difference,
        .undo = on_undo,
        .error = on_error,
        .watch = on_watch,
        .after = on_after,
        .path_kind = on_path_kind,
};

static void check_error(char *error, bool quiet) {
        fuzz_check(error && *error);
        fuzz_check(utf8_is_valid(error, strlen(error)));
        fuzz_check(!strchr(error, '\n'));
}

static void check_parameters(const AgentdParameter *parameters) {
        for (const AgentdParameter *p = parameters; p && p->name; p++) {
                check_text(p->name);
                fuzz_check(p->type != AGENTD_NONE);
                if (p->documentation)
                        check_text(p->documentation);
                if (p->default_value)
                        check_text(p->default_value);
                for (const char *const *word = p->choices; word && *word; word++)
                        check_text(*word);
                fuzz_check(!p->fields || p->type == AGENTD_RECORD);
                check_parameters(p->fields);
        }
}

static void shake_hands(const char *line, size_t size) {
        static Arena arena;
        ForeignHello hello;
        char *error = NULL;

        if (!arena.base)
                fuzz_check(arena_map(&arena, 64 * FOREIGN_HELLO_MAX, NULL) == 0);
        /* What is handed out is zeroed only once. */
        memset(arena.base, 0, arena.used);
        arena.used = 0;
        if (foreign_read_hello(&arena, line, size, &hello, &error) < 0) {
                check_error(error, false);
                free(error);
                return;
        }
        fuzz_check(hello.encoding < _FOREIGN_ENCODING_MAX);
        for (size_t i = 0; hello.info.state_types[i]; i++) {
                const AgentdStateType *type = hello.info.state_types[i];

                if (type->name)
                        check_text(type->name);
                check_parameters(type->parameters);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *copy = NULL;
        Told told = {};
        ForeignAnswer answer;
        int r = 0;

        if (size == 0)
                return 0;
        if ((data[0] & 3) == 0) {
                copy = malloc(size);
                fuzz_check(copy);
                memcpy(copy, data + 1, size - 1);
                copy[size - 1] = 0;
                shake_hands(copy, size - 1);
                return 0;
        }

        fuzz_check(foreign_answer_init(&answer, (ForeignRequest) ((data[0] & 3) - 1),
                           data[0] & 4 ? FOREIGN_SHELL : FOREIGN_JSON, (size_t) data[0] >> 4, &sink,
                           &told) == 0);
        answer.quiet = data[0] & 8;
        told.answer = &answer;
        for (size_t at = 1; at < size && r == 0;) {
                const uint8_t *end = memchr(data + at, '\n', size - at);
                size_t n = end ? (size_t) (end - data) - at : size - at;
                /* Exactly as large as it is, so that a sanitizer sees reads beyond it. */
                char *line = malloc(n + 1), *error = NULL;

                fuzz_check(line);
                memcpy(line, data + at, n);
                line[n] = 0;
                r = foreign_answer_line(&answer, line, n, &error);
                fuzz_check(r <= 1 && (r >= 0 || r == -EBADMSG));
                if (r < 0)
                        check_error(error, answer.quiet);
                free(error);
                free(line);
                at += n + 1;
        }
        fuzz_check(answer.n_ended <= answer.n);
        for (size_t i = 0; i < answer.n; i++)
                fuzz_check(answer.ended[i] == told.ended[i]);
        foreign_answer_done(&answer);
        return 0;
}
