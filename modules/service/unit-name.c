/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "unit-name.h"

static const char *const type_names[] = {
        [UNIT_TYPE_SERVICE] = "service",
        [UNIT_TYPE_SOCKET] = "socket",
        [UNIT_TYPE_TARGET] = "target",
        [UNIT_TYPE_DEVICE] = "device",
        [UNIT_TYPE_MOUNT] = "mount",
        [UNIT_TYPE_AUTOMOUNT] = "automount",
        [UNIT_TYPE_SWAP] = "swap",
        [UNIT_TYPE_TIMER] = "timer",
        [UNIT_TYPE_PATH] = "path",
        [UNIT_TYPE_SLICE] = "slice",
        [UNIT_TYPE_SCOPE] = "scope",
};

/* Without the locale, which could think that more are letters. */
static bool is_letter_or_digit(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_name_character(char c) {
        return is_letter_or_digit(c) || (c != '\0' && strchr(":-_.\\", c));
}

UnitType unit_name_type(const char *name) {
        const char *dot = strrchr(name, '.');

        if (dot)
                for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
                        if (strcmp(dot + 1, type_names[i]) == 0)
                                return (UnitType) i;
        return UNIT_TYPE_INVALID;
}

bool unit_type_may_alias(UnitType type) {
        return type == UNIT_TYPE_SERVICE || type == UNIT_TYPE_SOCKET || type == UNIT_TYPE_TARGET ||
               type == UNIT_TYPE_DEVICE || type == UNIT_TYPE_TIMER || type == UNIT_TYPE_PATH;
}

bool unit_type_may_template(UnitType type) {
        return type == UNIT_TYPE_SERVICE || type == UNIT_TYPE_SOCKET || type == UNIT_TYPE_TARGET ||
               type == UNIT_TYPE_TIMER || type == UNIT_TYPE_PATH;
}

/* Where the name is divided. NULL: there is no "@". */
static const char *find_at(const char *name, const char *dot) {
        return memchr(name, '@', (size_t) (dot - name));
}

UnitNameKind unit_name_kind(const char *name) {
        const char *dot, *at;

        if (strnlen(name, UNIT_NAME_SIZE) >= UNIT_NAME_SIZE)
                return UNIT_NAME_INVALID;
        dot = strrchr(name, '.');
        if (!dot || dot == name || unit_name_type(name) == UNIT_TYPE_INVALID)
                return UNIT_NAME_INVALID;
        for (const char *p = name; p < dot; p++)
                if (*p != '@' && !is_name_character(*p))
                        return UNIT_NAME_INVALID;
        at = find_at(name, dot);
        if (!at)
                return UNIT_NAME_PLAIN;
        if (at == name)
                return UNIT_NAME_INVALID;
        return at + 1 == dot ? UNIT_NAME_TEMPLATE : UNIT_NAME_INSTANCE;
}

/* What is put together may be too long. */
static int put(const char *a, size_t a_size, const char *b, size_t b_size, const char *c,
        char ret[static UNIT_NAME_SIZE]) {
        char name[UNIT_NAME_SIZE];
        size_t c_size = strlen(c);

        if (a_size + b_size + c_size >= UNIT_NAME_SIZE)
                return -EINVAL;
        memcpy(name, a, a_size);
        memcpy(name + a_size, b, b_size);
        memcpy(name + a_size + b_size, c, c_size + 1);
        memcpy(ret, name, a_size + b_size + c_size + 1);
        return 0;
}

int unit_name_complete(const char *text, char ret[static UNIT_NAME_SIZE]) {
        static const char suffix[] = ".service";
        char name[UNIT_NAME_SIZE];
        size_t size = strnlen(text, UNIT_NAME_SIZE);
        int r;

        if (unit_name_kind(text) != UNIT_NAME_INVALID)
                return put(text, size, "", 0, "", ret);
        /* ".service" itself would become one. */
        if (size == UNIT_NAME_SIZE || unit_name_type(text) != UNIT_TYPE_INVALID)
                return -EINVAL;
        r = put(text, size, "", 0, suffix, name);
        if (r < 0 || unit_name_kind(name) == UNIT_NAME_INVALID)
                return -EINVAL;
        memcpy(ret, name, strlen(name) + 1);
        return 0;
}

int unit_name_template(const char *name, char ret[static UNIT_NAME_SIZE]) {
        const char *dot, *at;

        if (!(unit_name_kind(name) & (UNIT_NAME_TEMPLATE | UNIT_NAME_INSTANCE)))
                return -EINVAL;
        dot = strrchr(name, '.');
        at = find_at(name, dot);
        return put(name, (size_t) (at - name) + 1, "", 0, dot, ret);
}

int unit_name_instance(const char *name, char ret[static UNIT_NAME_SIZE]) {
        UnitNameKind kind = unit_name_kind(name);
        const char *dot, *at;

        if (kind == UNIT_NAME_INVALID)
                return -EINVAL;
        if (kind != UNIT_NAME_INSTANCE)
                return put("", 0, "", 0, "", ret);
        dot = strrchr(name, '.');
        at = find_at(name, dot);
        return put(at + 1, (size_t) (dot - at) - 1, "", 0, "", ret);
}

int unit_name_prefix(const char *name, char ret[static UNIT_NAME_SIZE]) {
        const char *dot, *at;

        if (unit_name_kind(name) == UNIT_NAME_INVALID)
                return -EINVAL;
        dot = strrchr(name, '.');
        at = find_at(name, dot);
        return put(name, (size_t) ((at ? at : dot) - name), "", 0, "", ret);
}

bool unit_instance_is_valid(const char *instance) {
        if (!*instance)
                return false;
        for (const char *p = instance; *p; p++)
                if (*p != '@' && !is_name_character(*p))
                        return false;
        return true;
}

int unit_name_with_instance(const char *name, const char *instance, char ret[static UNIT_NAME_SIZE]) {
        const char *dot, *at;

        if (!(unit_name_kind(name) & (UNIT_NAME_TEMPLATE | UNIT_NAME_INSTANCE)) ||
                !unit_instance_is_valid(instance))
                return -EINVAL;
        dot = strrchr(name, '.');
        at = find_at(name, dot);
        return put(name, (size_t) (at - name) + 1, instance, strlen(instance), dot, ret);
}

int unit_name_alias_check(const char *alias, const char *target) {
        UnitNameKind alias_kind = unit_name_kind(alias), target_kind = unit_name_kind(target);
        char alias_instance[UNIT_NAME_SIZE], target_instance[UNIT_NAME_SIZE];
        UnitType type = unit_name_type(alias);

        if (alias_kind == UNIT_NAME_INVALID || !unit_type_may_alias(type))
                return -EINVAL;
        if (alias_kind != UNIT_NAME_PLAIN && !unit_type_may_template(type))
                return -EINVAL;
        if (target_kind == UNIT_NAME_INVALID || unit_name_type(target) != type)
                return -EXDEV;
        if (strcmp(alias, target) == 0)
                return -ELOOP;
        if (target_kind != alias_kind &&
                !(alias_kind == UNIT_NAME_INSTANCE && target_kind == UNIT_NAME_TEMPLATE))
                return -EXDEV;
        if (target_kind == UNIT_NAME_INSTANCE) {
                (void) unit_name_instance(alias, alias_instance);
                (void) unit_name_instance(target, target_instance);
                if (strcmp(alias_instance, target_instance) != 0)
                        return -EXDEV;
        }
        return 0;
}

/* ---- Escaping -------------------------------------------------------------------------------------------------- */

typedef struct Output {
        char *text;
        size_t size, n;
} Output;

static int output(Output *o, char c) {
        if (o->n + 1 >= o->size)
                return -ENAMETOOLONG;
        o->text[o->n++] = c;
        o->text[o->n] = '\0';
        return 0;
}

static int output_escaped(Output *o, char c, bool first) {
        static const char digits[] = "0123456789abcdef";
        int r;

        if (c == '/')
                return output(o, '-');
        if (c != '-' && c != '\\' && is_name_character(c) && !(c == '.' && first))
                return output(o, c);
        r = output(o, '\\');
        if (r == 0)
                r = output(o, 'x');
        if (r == 0)
                r = output(o, digits[(unsigned char) c >> 4]);
        return r < 0 ? r : output(o, digits[(unsigned char) c & 15]);
}

/* The next part of a path, without those that mean nothing. */
static bool next_part(const char **path, const char **ret_part, size_t *ret_size) {
        const char *p = *path;
        size_t size;

        for (;; p += size) {
                p += strspn(p, "/");
                size = strcspn(p, "/");
                if (size == 1 && *p == '.')
                        continue;
                *path = p + size;
                *ret_part = p;
                *ret_size = size;
                return size > 0;
        }
}

int unit_escape(const char *text, bool path, char *ret, size_t size) {
        Output o = { .text = ret, .size = size };
        const char *part;
        size_t n;
        int r;

        if (size == 0)
                return -ENAMETOOLONG;
        *ret = '\0';
        if (!path) {
                for (const char *p = text; *p; p++) {
                        r = output_escaped(&o, *p, p == text);
                        if (r < 0)
                                return r;
                }
                return 0;
        }

        if (*text != '/')
                return -EINVAL;
        while (next_part(&text, &part, &n)) {
                if (n == 2 && part[0] == '.' && part[1] == '.')
                        return -EINVAL;
                r = o.n > 0 ? output(&o, '-') : 0;
                for (size_t i = 0; r == 0 && i < n; i++)
                        r = output_escaped(&o, part[i], o.n == 0);
                if (r < 0)
                        return r;
        }
        return o.n > 0 ? 0 : output(&o, '-');
}

static int hex(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

static int unescape(const char *text, Output *o) {
        for (const char *p = text; *p; p++) {
                char c = *p;
                int r;

                if (c == '-')
                        c = '/';
                else if (c == '\\') {
                        int high = p[1] == 'x' ? hex(p[2]) : -1, low = high < 0 ? -1 : hex(p[3]);

                        if (low < 0 || high + low == 0)
                                return -EINVAL;
                        c = (char) (high << 4 | low);
                        p += 3;
                }
                r = output(o, c);
                if (r < 0)
                        return r;
        }
        return 0;
}

int unit_unescape(const char *text, bool path, char *ret, size_t size) {
        Output o = { .text = ret, .size = size };
        const char *part, *rest;
        size_t n;
        int r;

        if (size == 0)
                return -ENAMETOOLONG;
        *ret = '\0';
        if (!path)
                return unescape(text, &o);

        if (!*text)
                return -EINVAL;
        r = output(&o, '/');
        if (r < 0 || strcmp(text, "-") == 0)
                return r;
        r = unescape(text, &o);
        if (r < 0)
                return r;
        /* As it came out, it has to be a path that would be escaped to this. */
        if (o.n < 2 || ret[1] == '/' || ret[o.n - 1] == '/' || strstr(ret, "//"))
                return -EINVAL;
        for (rest = ret; *rest;) {
                rest += strspn(rest, "/");
                part = rest;
                n = strcspn(rest, "/");
                rest += n;
                if ((n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
                        return -EINVAL;
        }
        return 0;
}
