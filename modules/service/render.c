/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render.h"

/* In the image all stays; what grows is copied to twice its size, so that at most half is lost. */
static void reserve(Rendering *r, size_t more) {
        size_t wanted = r->allocated ? r->allocated : 512;
        char *text;

        if (r->size + more + 1 <= r->allocated)
                return;
        while (wanted < r->size + more + 1)
                wanted *= 2;
        text = agentd_alloc(r->prepare, wanted);
        if (r->text)
                memcpy(text, r->text, r->size);
        r->text = text;
        r->allocated = wanted;
}

static void add_bytes(Rendering *r, const char *bytes, size_t size) {
        reserve(r, size);
        memcpy(r->text + r->size, bytes, size);
        r->size += size;
        r->text[r->size] = '\0';
}

void rendering_add(Rendering *r, const char *format, ...) {
        va_list args, again;
        int n;

        va_start(args, format);
        va_copy(again, args);
        n = vsnprintf(NULL, 0, format, args);
        va_end(args);
        if (n > 0) {
                reserve(r, (size_t) n);
                (void) vsnprintf(r->text + r->size, (size_t) n + 1, format, again);
                r->size += (size_t) n;
        }
        va_end(again);
}

const char *rendering_end(Rendering *r) {
        reserve(r, 0);
        return r->text;
}

bool render_continues(const char *text) {
        size_t n = strlen(text), backslashes = 0;

        while (backslashes < n && text[n - 1 - backslashes] == '\\')
                backslashes++;
        return backslashes % 2 == 1;
}

/* As few digits as it takes, and no exponent, which systemd does not know. */
static void add_float(Rendering *r, const char *key, double number) {
        char text[512];

        for (int digits = 0; digits <= 20; digits++) {
                (void) snprintf(text, sizeof(text), "%.*f", digits, number);
                if (strtod(text, NULL) == number)
                        break;
        }
        rendering_add(r, "%s=%s\n", key, text);
}

static int add_line(
        Rendering *r, int parameter, const char *section, const char *key, const AgentdValue *value) {
        switch (value->type) {
        case AGENTD_BOOLEAN: rendering_add(r, "%s=%s\n", key, value->boolean ? "yes" : "no"); return 0;
        case AGENTD_INTEGER: rendering_add(r, "%s=%lld\n", key, (long long) value->integer); return 0;
        case AGENTD_FLOAT:
                if (!isfinite(value->real))
                        break;
                add_float(r, key, value->real);
                return 0;
        case AGENTD_STRING:
                /* All three end a line for systemd. */
                if (memchr(value->string, '\n', value->size) || memchr(value->string, '\r', value->size) ||
                        memchr(value->string, '\0', value->size)) {
                        agentd_prepare_error(r->prepare, parameter,
                                "%s= in [%s] has a line end or NUL in it; several lines are an array of "
                                "strings",
                                key, section);
                        return -EINVAL;
                }
                if (value->size > UNIT_LINE_MAX - 256) {
                        agentd_prepare_error(r->prepare, parameter,
                                "%s= in [%s] is longer than systemd reads", key, section);
                        return -EINVAL;
                }
                if (render_continues(value->string)) {
                        agentd_prepare_error(r->prepare, parameter,
                                "%s= in [%s] ends in a backslash, which would swallow the next line", key,
                                section);
                        return -EINVAL;
                }
                rendering_add(r, "%s=", key);
                add_bytes(r, value->string, value->size);
                add_bytes(r, "\n", 1);
                return 0;
        default: break;
        }
        agentd_prepare_error(r->prepare, parameter,
                "%s= in [%s] must be a string, number, true or false, or an array of these, which makes a "
                "line each",
                key, section);
        return -EINVAL;
}

static bool is_word(const char *text) {
        return *text &&
               text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] ==
                       '\0';
}

int render_section(Rendering *r, int parameter, const char *section, const AgentdValue *table) {
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];
                const AgentdValue *value = &member->value;
                int q = 0;

                if (!is_word(member->key)) {
                        agentd_prepare_error(r->prepare, parameter,
                                "'%s' in [%s] cannot be the name of a setting", member->key, section);
                        return -EINVAL;
                }
                if (value->type == AGENTD_LIST)
                        for (uint32_t k = 0; k < value->n && q >= 0; k++)
                                q = add_line(r, parameter, section, member->key, &value->items[k]);
                else
                        q = add_line(r, parameter, section, member->key, value);
                if (q < 0)
                        return q;
        }
        return 0;
}

const char *render_unit(AgentdPrepare *prepare, int parameter, const char *name, const AgentdValue *table) {
        Rendering r = { .prepare = prepare };

        rendering_add(&r, "# Made by agentd for %s; changes are undone.\n", name);
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *section = &table->members[i];

                if (section->value.type != AGENTD_TABLE) {
                        agentd_prepare_error(prepare, parameter,
                                "'%s' must be a section, a table like { Service = { ExecStart = \"…\" } }",
                                section->key);
                        return NULL;
                }
                if (!is_word(section->key)) {
                        agentd_prepare_error(
                                prepare, parameter, "'%s' cannot be the name of a section", section->key);
                        return NULL;
                }
                rendering_add(&r, "\n[%s]\n", section->key);
                if (render_section(&r, parameter, section->key, &section->value) < 0)
                        return NULL;
        }
        return rendering_end(&r);
}
