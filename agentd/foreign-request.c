/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What foreign modules are told: JSON, or assignments that a shell evaluates. */

#include <inttypes.h>
#include <math.h>

#include "foreign-protocol.h"

static const char *const request_names[_FOREIGN_REQUEST_MAX] = {
        [FOREIGN_PREPARE] = "prepare",
        [FOREIGN_CHECK] = "check",
        [FOREIGN_APPLY] = "apply",
};

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static void put_json(FILE *f, const char *text, size_t size) {
        (void) fputc('"', f);
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char) text[i];

                if (c == '"' || c == '\\')
                        (void) fprintf(f, "\\%c", c);
                else if (c == '\n')
                        (void) fputs("\\n", f);
                else if (c < ' ' || c == 0x7f)
                        (void) fprintf(f, "\\u%04x", c);
                else
                        (void) fputc(c, f);
        }
        (void) fputc('"', f);
}

static void put_json_string(FILE *f, const char *text) {
        put_json(f, text, strlen(text));
}

/* parameter: its declaration; NULL within a table. */
static const char *put_json_value(FILE *f, const AgentdParameter *parameter, const AgentdValue *value) {
        const char *why;

        switch (value->type) {
        case AGENTD_NONE: (void) fputs("null", f); return NULL;
        case AGENTD_BOOLEAN: (void) fputs(value->boolean ? "true" : "false", f); return NULL;
        case AGENTD_INTEGER:
                (void) fprintf(f,
                        parameter && (uint32_t) parameter->type == AGENTD_MODE ? "\"%04" PRIo64 "\""
                                                                               : "%" PRIi64,
                        value->integer);
                return NULL;
        case AGENTD_FLOAT:
                if (!isfinite(value->real))
                        return "is not a finite number, which JSON does not have";
                (void) fprintf(f, "%.17g", value->real);
                return NULL;
        case AGENTD_STRING:
                if (!utf8_is_valid(value->string, value->size))
                        return "is not UTF-8, which a program cannot be given";
                put_json(f, value->string, value->size);
                return NULL;
        case AGENTD_LIST:
                (void) fputc('[', f);
                for (uint32_t i = 0; i < value->n; i++) {
                        if (i > 0)
                                (void) fputc(',', f);
                        why = put_json_value(f, NULL, &value->items[i]);
                        if (why)
                                return why;
                }
                (void) fputc(']', f);
                return NULL;
        case AGENTD_RECORD:
                if (!parameter || !parameter->fields)
                        return "cannot be given to a program";
                (void) fputc('{', f);
                for (uint32_t i = 0; i < value->n && parameter->fields[i].name; i++) {
                        if (i > 0)
                                (void) fputc(',', f);
                        put_json_string(f, parameter->fields[i].name);
                        (void) fputc(':', f);
                        why = put_json_value(f, &parameter->fields[i], &value->items[i]);
                        if (why)
                                return why;
                }
                (void) fputc('}', f);
                return NULL;
        case AGENTD_TABLE:
                (void) fputc('{', f);
                for (uint32_t i = 0; i < value->n; i++) {
                        const AgentdMember *member = &value->members[i];

                        if (!utf8_is_valid(member->key, strlen(member->key)))
                                return "has a key that is not UTF-8, which a program cannot be given";
                        if (i > 0)
                                (void) fputc(',', f);
                        put_json_string(f, member->key);
                        (void) fputc(':', f);
                        why = put_json_value(f, NULL, &member->value);
                        if (why)
                                return why;
                }
                (void) fputc('}', f);
                return NULL;
        default: return "cannot be given to a program";
        }
}

/* ---- Shell ----------------------------------------------------------------------------------------------------- */

/* One word that is the text again after the shell has read it. It has no line breaks, so that read(1p) takes all. */
static void put_word(FILE *f, const char *text, size_t size) {
        (void) fputc('\'', f);
        for (size_t i = 0; i < size; i++)
                if (text[i] == '\'')
                        (void) fputs("'\\''", f);
                else if (text[i] == '\n')
                        (void) fputs("'\"$NL\"'", f);
                else
                        (void) fputc(text[i], f);
        (void) fputc('\'', f);
}

static void put_assignment(FILE *f, const char *name, const char *text) {
        (void) fprintf(f, "%s=", name);
        put_word(f, text, strlen(text));
        (void) fputc(' ', f);
}

static const char *check_shell_string(const AgentdValue *value) {
        if (!utf8_is_valid(value->string, value->size))
                return "is not UTF-8, which a program cannot be given";
        if (memchr(value->string, 0, value->size))
                return "has a NUL in it, which a shell cannot be given";
        return NULL;
}

static const char *put_shell_value(FILE *f, const AgentdParameter *parameter, const AgentdValue *value) {
        const char *why;

        switch (value->type) {
        case AGENTD_NONE: return NULL;
        case AGENTD_BOOLEAN: (void) fputs(value->boolean ? "true" : "false", f); return NULL;
        case AGENTD_INTEGER:
                (void) fprintf(f, (uint32_t) parameter->type == AGENTD_MODE ? "%04" PRIo64 : "%" PRIi64,
                        value->integer);
                return NULL;
        case AGENTD_FLOAT: (void) fprintf(f, "%.17g", value->real); return NULL;
        case AGENTD_STRING:
                why = check_shell_string(value);
                if (!why)
                        put_word(f, value->string, value->size);
                return why;
        case AGENTD_LIST: {
                _cleanup_free_ char *words = NULL;
                size_t size = 0;
                FILE *list = open_memstream(&words, &size);

                if (!list)
                        return "is too large for the memory that is left";
                why = NULL;
                for (uint32_t i = 0; i < value->n && !why; i++) {
                        why = value->items[i].type == AGENTD_STRING ? check_shell_string(&value->items[i])
                                                                    : "cannot be given to a shell";
                        if (why)
                                break;
                        if (i > 0)
                                (void) fputc(' ', list);
                        put_word(list, value->items[i].string, value->items[i].size);
                }
                if (fclose(list) != 0 && !why)
                        why = "is too large for the memory that is left";
                if (!why)
                        put_word(f, words, size);
                return why;
        }
        default: return "cannot be given to a shell";
        }
}

/* ---- Both ------------------------------------------------------------------------------------------------------ */

int foreign_write_parameters(FILE *f, ForeignEncoding encoding, const AgentdParameter *parameters,
        const AgentdValue *values, uint32_t *ret_bad, const char **ret_why) {
        if (encoding == FOREIGN_JSON)
                (void) fputc('{', f);
        for (uint32_t i = 0; parameters && parameters[i].name; i++) {
                const char *why;

                if (encoding == FOREIGN_JSON) {
                        (void) fputs(i > 0 ? "," : "", f);
                        put_json_string(f, parameters[i].name);
                        (void) fputc(':', f);
                        why = put_json_value(f, &parameters[i], &values[i]);
                } else {
                        (void) fprintf(f, "p_%s=", parameters[i].name);
                        why = put_shell_value(f, &parameters[i], &values[i]);
                        (void) fputc(' ', f);
                }
                if (why) {
                        *ret_bad = i;
                        *ret_why = why;
                        return -EINVAL;
                }
        }
        if (encoding == FOREIGN_JSON)
                (void) fputc('}', f);
        return 0;
}

void foreign_write_hello(FILE *f, const char *root) {
        (void) fprintf(f,
                "{\"agentd\":\"%s\",\"protocol\":%d,\"request\":\"hello\",\"root\":", AGENTD_VERSION,
                FOREIGN_PROTOCOL);
        put_json_string(f, root);
        (void) fputs("}\n", f);
}

void foreign_write_begin(FILE *f) {
        /* A line break, in one line: what "$(…)" takes off its end is kept by the letter behind it. */
        (void) fputs("request='begin'; NL=$(printf '\\nx'); NL=${NL%x}\n", f);
}

void foreign_write_head(FILE *f, const ForeignCall *call) {
        if (call->encoding == FOREIGN_SHELL)
                return;
        (void) fprintf(f, "{\"request\":\"%s\",\"type\":\"%s\",\"plan\":%s,\"diff\":%s,\"root\":",
                request_names[call->request], call->type, call->flags & AGENTD_PLAN ? "true" : "false",
                call->flags & AGENTD_DIFF ? "true" : "false");
        put_json_string(f, call->root);
        (void) fputs(",\"states\":[", f);
}

void foreign_write_state(FILE *f, const ForeignCall *call, size_t i, const AgentdState *state,
        const char *parameters, size_t parameters_size) {
        static const struct {
                const char *name;
                uint32_t flag;
        } flags[] = {
                { "pending", AGENTD_STATE_PENDING },
                { "noticed", AGENTD_STATE_NOTICED },
                { "reload", AGENTD_STATE_RELOAD },
                { "restart", AGENTD_STATE_RESTART },
        };

        if (call->encoding == FOREIGN_SHELL) {
                (void) fprintf(f, "request='%s' type='%s' plan=%s diff=%s index=%zu ",
                        request_names[call->request], call->type,
                        call->flags & AGENTD_PLAN ? "true" : "false",
                        call->flags & AGENTD_DIFF ? "true" : "false", i);
                FOREACH_ELEMENT(flag, flags)
                        (void) fprintf(
                                f, "%s=%s ", flag->name, state->flags & flag->flag ? "true" : "false");
                put_assignment(f, "root", call->root);
                put_assignment(f, "id", state->id);
                put_assignment(f, "name", state->name);
                (void) fwrite(parameters, 1, parameters_size, f);
                (void) fputc('\n', f);
                return;
        }

        (void) fprintf(f, "%s{\"index\":%zu,\"id\":", i > 0 ? "," : "", i);
        put_json_string(f, state->id);
        (void) fputs(",\"name\":", f);
        put_json_string(f, state->name);
        FOREACH_ELEMENT(flag, flags)
                (void) fprintf(f, ",\"%s\":%s", flag->name, state->flags & flag->flag ? "true" : "false");
        (void) fputs(",\"parameters\":", f);
        (void) fwrite(parameters, 1, parameters_size, f);
        (void) fputc('}', f);
}

void foreign_write_tail(FILE *f, const ForeignCall *call) {
        (void) fputs(call->encoding == FOREIGN_SHELL ? "request='end'\n" : "]}\n", f);
}
