/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From what a role says to what a module sees: types, templates, paths, words; and a hash of it all. */

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <math.h>

#include "checksum.h"
#include "paths.h"
#include "role.h"
#include "template.h"
#include "unit-property.h"

const char *parameter_wants(AgentdType type) {
        switch (type) {
        case AGENTD_BOOLEAN: return "true or false";
        case AGENTD_INTEGER: return "an integer";
        case AGENTD_FLOAT: return "a number";
        case AGENTD_STRING: return "a string";
        case AGENTD_LIST: return "an array of strings";
        case AGENTD_TABLE:
        case AGENTD_RECORD: return "a table";
        case AGENTD_MODE: return "a string of octal digits like \"0644\"";
        case AGENTD_TIMESPAN: return "a time span like \"2min 30s\"";
        case AGENTD_BYTES: return "a size like \"64M\"";
        default: return "a value";
        }
}

/* ---- Words ----------------------------------------------------------------------------------------------------- */

static int parse_mode(const char *text, int64_t *ret) {
        int64_t mode = 0;

        if (strlen(text) < 3 || strlen(text) > 5)
                return -EINVAL;
        for (const char *p = text; *p; p++) {
                if (*p < '0' || *p > '7')
                        return -EINVAL;
                mode = mode * 8 + (*p - '0');
        }
        if (mode > 07777)
                return -EINVAL;
        *ret = mode;
        return 0;
}

int parse_bytes(const char *text, int64_t *ret) {
        static const char suffixes[] = "KMGTPE";
        uint64_t factor = 1, number;
        char *end;

        if (!isdigit((unsigned char) *text))
                return -EINVAL;
        errno = 0;
        number = strtoull(text, &end, 10);
        if (errno != 0)
                return -ERANGE;
        if (*end && *end != 'B') {
                const char *suffix = strchr(suffixes, *end);

                if (!suffix)
                        return -EINVAL;
                factor = UINT64_C(1) << (10 * (suffix - suffixes + 1));
                end++;
                if (*end == 'i')
                        end++;
        }
        if (*end == 'B')
                end++;
        if (*end)
                return -EINVAL;
        if (number > INT64_MAX / factor)
                return -ERANGE;
        *ret = (int64_t) (number * factor);
        return 0;
}

/* Text that means a value of another type: a default, or what a template gave. */
static int parse_text(const AgentdParameter *parameter, const char *text, AgentdValue *ret) {
        char *end;
        usec_t span;

        switch ((uint32_t) parameter->type) {
        case AGENTD_BOOLEAN:
                if (!streq(text, "true") && !streq(text, "false"))
                        return -EINVAL;
                *ret = (AgentdValue){ .type = AGENTD_BOOLEAN, .boolean = *text == 't' };
                return 0;
        case AGENTD_INTEGER:
                errno = 0;
                *ret = (AgentdValue){ .type = AGENTD_INTEGER, .integer = strtoll(text, &end, 10) };
                return *text && !*end && errno == 0 ? 0 : -EINVAL;
        case AGENTD_FLOAT:
                errno = 0;
                *ret = (AgentdValue){ .type = AGENTD_FLOAT, .real = strtod(text, &end) };
                return *text && !*end && errno == 0 ? 0 : -EINVAL;
        case AGENTD_MODE:
                *ret = (AgentdValue){ .type = AGENTD_INTEGER };
                return parse_mode(text, &ret->integer);
        case AGENTD_BYTES:
                *ret = (AgentdValue){ .type = AGENTD_INTEGER };
                return parse_bytes(text, &ret->integer);
        case AGENTD_TIMESPAN: {
                int r = parse_timespan(text, &span);

                if (r < 0)
                        return r;
                *ret = (AgentdValue){ .type = AGENTD_INTEGER,
                        .integer = (int64_t) MIN(span, (usec_t) INT64_MAX) };
                return 0;
        }
        default: return -EINVAL;
        }
}

/* ---- Converting ------------------------------------------------------------------------------------------------ */

typedef struct Conversion {
        Names *names;
        State *state;
        bool tainted;
        bool evaluated; /* the value is one that a template gave: {{…}} in it is text */
        bool words;     /* it is in a list that may be the words of a command: {{…}} gives text */
} Conversion;

static int fail(Conversion *c, const Value *value, const AgentdParameter *parameter, const char *format, ...)
        _printf_(4, 5);

static int fail(
        Conversion *c, const Value *value, const AgentdParameter *parameter, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        diagnostics_add(&c->names->loader->diagnostics, value->place, "'%s' %s", parameter->name,
                text ?: "is wrong");
        return -EINVAL;
}

/* What a message may show of a value. */
static const char *shown(const Conversion *c, const AgentdParameter *parameter, const Value *value) {
        /* What is in a secret is one. */
        if (value->tainted || c->tainted || (parameter->flags & AGENTD_SECRET) ||
                (c->state->flags & IMAGE_STATE_SENSITIVE))
                return "<sensitive>";
        return value->size > 200 ? arena_printf(&c->names->loader->scratch, "%.200s…", value->text)
                                 : value->text;
}

/* What other tools say by 'ensure' or 'state', where the type has a switch for it. */
static const char *has_switch(const Conversion *c, const AgentdParameter *parameter, const char *text) {
        if (!streq(parameter->name, "ensure") || !(streq(text, "running") || streq(text, "started") ||
                                                         streq(text, "stopped") || streq(text, "dead")))
                return NULL;
        for (const AgentdParameter *p = c->state->type->type->parameters; p && p->name; p++)
                if (streq(p->name, "running"))
                        return "whether it runs is said by running = true, or false";
        return NULL;
}

static int convert(Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret);

static AgentdValue string_in_image(const Conversion *c, const char *text, size_t size) {
        return (AgentdValue){
                .type = AGENTD_STRING,
                .string = arena_strndup(&c->names->loader->image, text, size),
                .size = size,
        };
}

static int convert_path(
        Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (memchr(value->text, 0, value->size))
                return fail(c, value, parameter, "has a NUL in it, which no path can have");
        if (value->text[0] != '/')
                return fail(c, value, parameter, "is '%s', which is relative; a path begins with '/'",
                        shown(c, parameter, value));
        r = path_normalise(value->text, &path);
        if (r == -ENAMETOOLONG)
                return fail(c, value, parameter, "is longer than a path can be");
        if (r < 0)
                return fail(c, value, parameter,
                        "is '%s', which has a '..' in it; write the path that it leads to",
                        shown(c, parameter, value));
        *ret = string_in_image(c, path, strlen(path));
        return 0;
}

/* Follows links as the tree of --root means them. Return: the path on the host; NULL if there is nothing. */
static char *resolve_in_root(const Loader *loader, const char *path) {
        const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
        _cleanup_close_ int fd = -EBADF;
        char link[64];

        fd = path_openat2(loader->root_fd, path, &how);
        if (fd < 0)
                return NULL;
        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        return realpath(link, NULL);
}

/* A file that workers will read. In the image it is a path of the host; the role may lie in the tree of --root. */
static int convert_source(
        Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret) {
        const Role *role = c->names->role;
        Loader *loader = c->names->loader;
        const char *root = role->in_root && !streq(loader->options->root, "/") ? loader->options->root : "";
        const char *path = value->text;
        _cleanup_free_ char *normal = NULL;

        if (memchr(value->text, 0, value->size) || value->size == 0)
                return fail(
                        c, value, parameter, "is empty or has a NUL in it; the name of a file is wanted");
        if (strstr(path, "://") && path[strspn(path, "abcdefghijklmnopqrstuvwxyz")] == ':')
                return fail(c, value, parameter,
                        "is '%s', a URL; the name of a file is wanted, and 'url' is for such", value->text);
        if (*path != '/')
                path = arena_printf(&loader->scratch, "%s/%s", role->directory, path);
        if (*path == '/') {
                if (*root) {
                        normal = resolve_in_root(loader, path);
                        if (!normal)
                                return fail(c, value, parameter,
                                        "is '%s', which is not there below '%s': %s", value->text, root,
                                        strerror(errno));
                }
                path = arena_printf(&loader->scratch, "%s%s", root, path);
        } else {
                _cleanup_free_ char *cwd = get_current_dir_name();

                path = arena_printf(&loader->scratch, "%s/%s", cwd ?: "", path);
        }

        /* A source may well be ../files/x: the role's author knows where it is. */
        if (!normal && path_normalise(path, &normal) < 0) {
                normal = *root ? NULL : realpath(path, NULL);
                if (!normal)
                        return fail(c, value, parameter, "is '%s': %s", value->text, strerror(errno));
        }
        *ret = string_in_image(c, normal, strlen(normal));
        c->state->sources = arena_grow(&loader->scratch, c->state->sources, c->state->n_sources,
                &c->state->n_sources_allocated, sizeof(char *));
        c->state->sources[c->state->n_sources++] = ret->string;
        return 0;
}

static int convert_string(
        Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret) {
        Loader *loader = c->names->loader;

        if (parameter->flags & AGENTD_TEMPLATE) {
                Value text;

                if (names_render_file(c->names, value, &text) < 0)
                        return -EINVAL;
                c->tainted = c->tainted || value_is_tainted(&text);
                *ret = string_in_image(c, text.text, text.size);
                return 0;
        }

        if (parameter->flags & AGENTD_SOURCE)
                return convert_source(c, parameter, value, ret);
        if (parameter->flags & AGENTD_PATH)
                return convert_path(c, parameter, value, ret);

        if (parameter->choices) {
                size_t n = 0;
                bool has_nul = memchr(value->text, 0, value->size);
                const char *meant;
                char words[256] = "";

                for (; parameter->choices[n]; n++) {
                        if (!has_nul && streq(parameter->choices[n], value->text)) {
                                *ret = string_in_image(c, value->text, value->size);
                                return 0;
                        }
                        if (strlen(words) + strlen(parameter->choices[n]) + 3 < sizeof(words)) {
                                (void) strcat(words, n > 0 ? ", " : "");
                                (void) strcat(words, parameter->choices[n]);
                        }
                }
                if (has_nul)
                        return fail(c, value, parameter, "has a NUL in it; it must be one of %s", words);
                meant = has_switch(c, parameter, value->text);
                if (meant)
                        return fail(c, value, parameter, "is '%s'; it must be one of %s; %s",
                                shown(c, parameter, value), words, meant);
                meant = suggest(value->text, parameter->choices, n);
                if (meant)
                        return fail(c, value, parameter, "is '%s'; did you mean '%s'? (one of %s)",
                                shown(c, parameter, value), meant, words);
                return fail(c, value, parameter, "is '%s'; it must be one of %s", shown(c, parameter, value),
                        words);
        }

        if (parameter->flags & AGENTD_CHECKSUM) {
                Checksum checksum;

                if (memchr(value->text, 0, value->size) || checksum_parse(value->text, &checksum) < 0)
                        return fail(c, value, parameter,
                                "is '%s', which is no checksum; it must be " CHECKSUM_FORMS,
                                shown(c, parameter, value));
        }
        if (parameter->flags & (AGENTD_USER | AGENTD_GROUP)) {
                if (value->size == 0 || memchr(value->text, 0, value->size) || strpbrk(value->text, ":/\n"))
                        return fail(c, value, parameter, "is '%s', which is no name of a %s",
                                shown(c, parameter, value),
                                parameter->flags & AGENTD_USER ? "user" : "group");
                state_refer(loader, c->state,
                        (Reference){
                                .pattern = arena_printf(&loader->scratch, "%s:%s",
                                        parameter->flags & AGENTD_USER ? "user" : "group", value->text),
                                .place = value->place,
                                .weak = true,
                        });
        }
        *ret = string_in_image(c, value->text, value->size);
        return 0;
}

static int convert_list(
        Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret) {
        AgentdParameter element = *parameter;
        AgentdValue *items = arena_new_array(&c->names->loader->image, AgentdValue, value->n_items);
        int r = 0;

        element.type = AGENTD_STRING;
        for (uint32_t i = 0; i < value->n_items; i++)
                if (convert(c, &element, &value->items[i], &items[i]) < 0)
                        r = -EINVAL;
        *ret = (AgentdValue){ .type = AGENTD_LIST, .n = value->n_items, .items = items };
        return r;
}

static bool is_literal(const Conversion *c, const AgentdParameter *parameter) {
        return c->evaluated || (parameter->flags & AGENTD_LITERAL);
}

static int convert_any(
        Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret) {
        Loader *loader = c->names->loader;
        int r = 0;

        switch (value->type) {
        case VALUE_NULL: *ret = (AgentdValue){}; return 0;
        case VALUE_BOOLEAN:
                *ret = (AgentdValue){ .type = AGENTD_BOOLEAN, .boolean = value->boolean };
                return 0;
        case VALUE_INTEGER:
                *ret = (AgentdValue){ .type = AGENTD_INTEGER, .integer = value->integer };
                return 0;
        case VALUE_FLOAT: *ret = (AgentdValue){ .type = AGENTD_FLOAT, .real = value->real }; return 0;
        case VALUE_ARRAY: {
                AgentdValue *items = arena_new_array(&loader->image, AgentdValue, value->n_items);
                bool words = c->words;

                c->words = words || (uint32_t) parameter->type == AGENTD_ANY;
                for (uint32_t i = 0; i < value->n_items; i++)
                        if (convert_any(c, parameter, &value->items[i], &items[i]) < 0)
                                r = -EINVAL;
                c->words = words;
                *ret = (AgentdValue){ .type = AGENTD_LIST, .n = value->n_items, .items = items };
                return r;
        }
        case VALUE_TABLE: {
                AgentdMember *members = arena_new_array(&loader->image, AgentdMember, value->n_members);

                for (uint32_t i = 0; i < value->n_members; i++) {
                        const Member *member = &value->members[i];

                        members[i].key = arena_strndup(&loader->image, member->key, member->key_size);
                        if (convert_any(c, parameter, &member->value, &members[i].value) < 0)
                                r = -EINVAL;
                }
                *ret = (AgentdValue){ .type = AGENTD_TABLE, .n = value->n_members, .members = members };
                return r;
        }
        default: {
                Value text = *value;

                if (value->type == VALUE_STRING && !is_literal(c, parameter)) {
                        r = c->words ? names_render(c->names, value, &text)
                                     : names_evaluate(c->names, value, &text);
                        if (r < 0)
                                return -EINVAL;
                }
                c->tainted = c->tainted || text.tainted;
                if (text.type != value->type) {
                        c->evaluated = true;
                        r = convert_any(c, parameter, &text, ret);
                        c->evaluated = false;
                        return r;
                }
                *ret = string_in_image(c, text.text, text.size);
                ret->n = value->type == VALUE_STRING ? 0 : AGENTD_DATE;
                return 0;
        }
        }
}

static int convert_record(
        Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret) {
        Loader *loader = c->names->loader;
        uint32_t n = parameters_count(parameter->fields);
        AgentdValue *items = arena_new_array(&loader->image, AgentdValue, n);
        const char *names[256];
        int r = 0;

        for (uint32_t k = 0; k < n; k++) {
                names[k] = parameter->fields[k].name;
                if (parameter_default(loader, &parameter->fields[k], &items[k]) < 0)
                        r = -EINVAL;
        }

        VALUE_FOREACH_MEMBER(member, value) {
                uint32_t k = 0;

                while (k < n && !streq(parameter->fields[k].name, member->key))
                        k++;
                if (k == n) {
                        const char *meant = suggest(member->key, names, n);

                        diagnostics_add(&loader->diagnostics, member->place,
                                "unknown key '%s' in '%s'%s%s%s", member->key, parameter->name,
                                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
                        r = -EINVAL;
                        continue;
                }
                if (convert(c, &parameter->fields[k], &member->value, &items[k]) < 0)
                        r = -EINVAL;
        }

        for (uint32_t k = 0; k < n; k++)
                if ((parameter->fields[k].flags & AGENTD_REQUIRED) && !value_get(value, names[k])) {
                        diagnostics_add(&loader->diagnostics, value->place, "'%s' needs '%s'",
                                parameter->name, names[k]);
                        r = -EINVAL;
                }
        *ret = (AgentdValue){ .type = AGENTD_RECORD, .n = n, .items = items };
        return r;
}

/* NULL: it is nothing that a property could be, or there is no memory. */
static json_t *property_json(const AgentdValue *value) {
        json_t *array, *item;

        switch (value->type) {
        case AGENTD_BOOLEAN: return json_boolean(value->boolean);
        case AGENTD_INTEGER: return json_integer(value->integer);
        case AGENTD_FLOAT: return json_real(value->real);
        case AGENTD_STRING: return json_stringn(value->string, value->size);
        case AGENTD_TABLE: return json_object();
        case AGENTD_LIST:
                array = json_array();
                for (uint32_t i = 0; array && i < value->n; i++) {
                        item = property_json(&value->items[i]);
                        if (!item || json_array_append_new(array, item) < 0) {
                                json_decref(array);
                                return NULL;
                        }
                }
                return array;
        default: return json_null();
        }
}

/* The properties of a unit, each with its own place. */
static int check_unit(
        Conversion *c, const AgentdParameter *parameter, const Value *value, const AgentdValue *table) {
        bool hidden = (parameter->flags & AGENTD_SECRET) || (c->state->flags & IMAGE_STATE_SENSITIVE);
        Diagnostics *diagnostics = &c->names->loader->diagnostics;
        int r = 0;

        for (uint32_t i = 0; i < table->n; i++) {
                const Member *member = &value->members[i];
                _cleanup_free_ char *reason = NULL;
                json_t *json = property_json(&table->members[i].value);
                int k = json ? unit_property_check(member->key, json, &reason) : -EINVAL;

                json_decref(json);
                if (k >= 0)
                        continue;
                r = -EINVAL;
                if (k != -ENOENT && (hidden || value_is_tainted(&member->value)))
                        diagnostics_add(diagnostics, member->value.place,
                                "in '%s': the value of '%s', which is not shown, is not right",
                                parameter->name, member->key);
                else
                        diagnostics_add(diagnostics, member->value.place, "in '%s': %s", parameter->name,
                                reason ?: "a value cannot be used");
        }
        return r;
}

/* 0644 in TOML is an error already, so it was 644 or 0o644: say how either is written, as far as it is a mode. */
static int fail_mode(Conversion *c, const Value *value, const AgentdParameter *parameter) {
        bool octal = value->integer >= 0 && value->integer <= 07777;
        char digits[32];
        AgentdValue mode;

        (void) snprintf(digits, sizeof(digits), "%04" PRId64, value->integer);
        if (!octal && parse_text(parameter, digits, &mode) < 0)
                return fail(c, value, parameter, "is an integer; it must be %s",
                        parameter_wants(parameter->type));
        if (!octal || value->integer < 8)
                return fail(c, value, parameter,
                        "is an integer; it must be a string of octal digits: \"%s\"?", digits);
        if (parse_text(parameter, digits, &mode) < 0)
                return fail(c, value, parameter,
                        "is an integer; it must be a string of octal digits: \"%04" PRIo64 "\"?",
                        (uint64_t) value->integer);
        return fail(c, value, parameter,
                "is an integer; it must be a string of octal digits: \"%04" PRIo64 "\" or \"%s\"?",
                (uint64_t) value->integer, digits);
}

static int convert(Conversion *c, const AgentdParameter *parameter, const Value *value, AgentdValue *ret) {
        Value rendered;
        int r;

        if (value->tainted || (parameter->flags & AGENTD_SECRET))
                c->tainted = true;

        switch ((uint32_t) parameter->type) {
        case AGENTD_ANY: return convert_any(c, parameter, value, ret);
        case AGENTD_TABLE:
                if (value->type == VALUE_TABLE) {
                        r = convert_any(c, parameter, value, ret);
                        return r >= 0 && (parameter->flags & AGENTD_UNIT)
                                       ? check_unit(c, parameter, value, ret)
                                       : r;
                }
                break;
        case AGENTD_RECORD:
                if (value->type == VALUE_TABLE)
                        return convert_record(c, parameter, value, ret);
                break;
        case AGENTD_LIST:
                if (value->type == VALUE_ARRAY)
                        return convert_list(c, parameter, value, ret);
                break;
        case AGENTD_BOOLEAN:
                if (value->type == VALUE_BOOLEAN) {
                        *ret = (AgentdValue){ .type = AGENTD_BOOLEAN, .boolean = value->boolean };
                        return 0;
                }
                break;
        case AGENTD_INTEGER:
        case AGENTD_BYTES:
                if (value->type == VALUE_INTEGER) {
                        *ret = (AgentdValue){ .type = AGENTD_INTEGER, .integer = value->integer };
                        return 0;
                }
                break;
        case AGENTD_FLOAT:
                if (value->type == VALUE_INTEGER || value->type == VALUE_FLOAT) {
                        *ret = (AgentdValue){
                                .type = AGENTD_FLOAT,
                                .real = value->type == VALUE_FLOAT ? value->real : (double) value->integer,
                        };
                        return 0;
                }
                break;
        case AGENTD_TIMESPAN:
                if (value->type == VALUE_INTEGER && value->integer >= 0 &&
                        value->integer < INT64_MAX / (int64_t) USEC_PER_SEC) {
                        *ret = (AgentdValue){
                                .type = AGENTD_INTEGER,
                                .integer = value->integer * (int64_t) USEC_PER_SEC,
                        };
                        return 0;
                }
                break;
        default: break;
        }

        if (value->type == VALUE_INTEGER && (uint32_t) parameter->type == AGENTD_MODE)
                return fail_mode(c, value, parameter);
        if (value->type == VALUE_INTEGER && (uint32_t) parameter->type == AGENTD_TIMESPAN)
                return fail(c, value, parameter, "is no number of seconds that can be; it must be %s",
                        parameter_wants(parameter->type));
        if ((uint32_t) parameter->type == AGENTD_RECORD && parameter->fields && parameter->fields[0].name &&
                !(value->type == VALUE_STRING && !is_literal(c, parameter) &&
                        template_has_tags(value->text, value->size)))
                return fail(c, value, parameter, "is %s; it must be a table like { %s = … }",
                        value_kind(value), parameter->fields[0].name);
        if (value->type != VALUE_STRING)
                return fail(c, value, parameter, "is %s; it must be %s", value_kind(value),
                        parameter_wants(parameter->type));

        rendered = *value;
        if (!is_literal(c, parameter)) {
                bool deep = (uint32_t) parameter->type == AGENTD_LIST ||
                            (uint32_t) parameter->type == AGENTD_TABLE ||
                            (uint32_t) parameter->type == AGENTD_RECORD;

                r = deep ? names_evaluate(c->names, value, &rendered)
                         : names_render(c->names, value, &rendered);
                if (r < 0)
                        return -EINVAL;
        }
        c->tainted = c->tainted || rendered.tainted;
        if (rendered.type != VALUE_STRING) {
                c->evaluated = true;
                r = convert(c, parameter, &rendered, ret);
                c->evaluated = false;
                return r;
        }
        if ((uint32_t) parameter->type == AGENTD_STRING)
                return convert_string(c, parameter, &rendered, ret);

        if (memchr(rendered.text, 0, rendered.size))
                return fail(c, value, parameter, "has a NUL in it; it must be %s",
                        parameter_wants(parameter->type));
        /* A number or truth value in quotes is a mistake, unless a template made it. */
        if ((uint32_t) parameter->type <= AGENTD_FLOAT && rendered.text == value->text && !c->evaluated)
                return fail(
                        c, value, parameter, "is a string; it must be %s", parameter_wants(parameter->type));
        if ((parameter->flags & AGENTD_SYMBOLIC) && rendered.size > 0 &&
                (rendered.text[0] < '0' || rendered.text[0] > '9'))
                return convert_string(c, parameter, &rendered, ret);
        r = parse_text(parameter, rendered.text, ret);
        if (r == -ERANGE)
                return fail(c, value, parameter, "is '%s', which is more than can be",
                        shown(c, parameter, &rendered));
        if (r < 0)
                return fail(c, value, parameter, "is '%s'; it must be %s", shown(c, parameter, &rendered),
                        parameter_wants(parameter->type));
        return 0;
}

int parameter_convert(Names *names, State *state, const AgentdParameter *parameter, const Value *value,
        AgentdValue *ret, bool *ret_tainted) {
        Conversion c = { .names = names, .state = state };
        int r;

        r = convert(&c, parameter, value, ret);
        if (c.tainted)
                *ret_tainted = true;
        return r;
}

int parameter_default(Loader *loader, const AgentdParameter *parameter, AgentdValue *ret) {
        const char *text = parameter->default_value;

        if (!text) {
                *ret = (AgentdValue){};
                return 0;
        }
        if ((uint32_t) parameter->type == AGENTD_STRING) {
                *ret = (AgentdValue){
                        .type = AGENTD_STRING,
                        .string = arena_strdup(&loader->image, text),
                        .size = strlen(text),
                };
                return 0;
        }
        if (parse_text(parameter, text, ret) < 0) {
                diagnostics_add(&loader->diagnostics, (Place){},
                        "the module declares a default for '%s', '%s', that is not %s", parameter->name,
                        text, parameter_wants(parameter->type));
                return -EINVAL;
        }
        return 0;
}

/* ---- Hashing --------------------------------------------------------------------------------------------------- */

static void hash_text(crypto_generichash_state *hash, const char *text, size_t size) {
        uint64_t n = size;

        (void) crypto_generichash_update(hash, (const uint8_t *) &n, sizeof(n));
        (void) crypto_generichash_update(hash, (const uint8_t *) text, size);
}

void hash_value(crypto_generichash_state *hash, const AgentdValue *value) {
        uint32_t head[] = { value->type, value->n };

        (void) crypto_generichash_update(hash, (const uint8_t *) head, sizeof(head));
        switch (value->type) {
        case AGENTD_NONE: break;
        case AGENTD_BOOLEAN: {
                uint8_t truth = value->boolean;

                (void) crypto_generichash_update(hash, &truth, 1);
                break;
        }
        case AGENTD_STRING: hash_text(hash, value->string, value->size); break;
        case AGENTD_LIST:
        case AGENTD_RECORD:
                for (uint32_t i = 0; i < value->n; i++)
                        hash_value(hash, &value->items[i]);
                break;
        case AGENTD_TABLE:
                for (uint32_t i = 0; i < value->n; i++) {
                        hash_text(hash, value->members[i].key, strlen(value->members[i].key));
                        hash_value(hash, &value->members[i].value);
                }
                break;
        default:
                (void) crypto_generichash_update(
                        hash, (const uint8_t *) &value->integer, sizeof(value->integer));
                break;
        }
}
