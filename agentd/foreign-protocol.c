/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What foreign modules say: declarations and answers, in both encodings. Nothing here trusts a byte of it. */

#include <jansson.h>
#include <math.h>
#include <stdarg.h>

#include "foreign-protocol.h"
#include "log.h"
#include "message.h"

/* Levels of JSON that the declarations of parameters may have; fields nest less deeply, see module-load.c. */
#define FIELD_DEPTH_MAX 8

/* Bytes of a line that an error shows. */
#define EXCERPT_MAX 100

static int wrong(char **reterr, const char *format, ...) _printf_(2, 3);

/* One line of UTF-8, whatever went in: words of jansson's quote what it could not read, and ours cut what is long. */
static int wrong(char **reterr, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;
        size_t size;

        free(*reterr);
        *reterr = NULL;
        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        if (text)
                *reterr = utf8_make_valid(text, strlen(text), &size);
        for (char *p = *reterr; p && *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = '?';
        return -EBADMSG;
}

/* The beginning of a line, cut between characters. */
static const char *excerpt(char buffer[static EXCERPT_MAX + 8], const char *line, size_t size) {
        size_t n = MIN(size, (size_t) EXCERPT_MAX);

        while (n < size && n > EXCERPT_MAX - 4 && ((unsigned char) line[n] & 0xc0) == 0x80)
                n--;
        for (size_t i = 0; i < n; i++)
                buffer[i] = line[i] ?: '?';
        (void) strcpy(buffer + n, n < size ? "…" : "");
        return buffer;
}

/* A member that is a string without NUL; NULL if it is something else. */
static const char *get_string(const json_t *object, const char *key) {
        const json_t *value = json_object_get(object, key);
        const char *text = json_string_value(value);

        return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static json_t *parse_line(const char *line, size_t size, bool quiet, char **reterr) {
        char buffer[EXCERPT_MAX + 8];
        json_error_t error;
        json_t *json;

        json = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (json && json_is_object(json))
                return json;
        if (json) {
                json_decref(json);
                (void) wrong(reterr, "answered with JSON that is no object; an answer begins with '{'");
        } else if (quiet)
                (void) wrong(reterr,
                        "answered with a line that is not JSON; what it is is not shown, as a state is "
                        "sensitive");
        else
                (void) wrong(reterr, "answered with a line that is not JSON (%s): '%s'", error.text,
                        excerpt(buffer, line, size));
        return NULL;
}

/* ---- Declarations ---------------------------------------------------------------------------------------------- */

static const struct {
        const char *word;
        AgentdType type;
} types[] = {
        { "boolean", AGENTD_BOOLEAN },
        { "integer", AGENTD_INTEGER },
        { "float", AGENTD_FLOAT },
        { "string", AGENTD_STRING },
        { "list", AGENTD_LIST },
        { "table", AGENTD_TABLE },
        { "record", AGENTD_RECORD },
        { "mode", AGENTD_MODE },
        { "timespan", AGENTD_TIMESPAN },
        { "bytes", AGENTD_BYTES },
        { "any", AGENTD_ANY },
};

static const struct {
        const char *word;
        uint32_t flag;
} parameter_flags[] = {
        { "required", AGENTD_REQUIRED },
        { "secret", AGENTD_SECRET },
        { "path", AGENTD_PATH },
        { "template", AGENTD_TEMPLATE },
        { "source", AGENTD_SOURCE },
        { "user", AGENTD_USER },
        { "group", AGENTD_GROUP },
        { "literal", AGENTD_LITERAL },
};

/* An object of the declarations that is being read, and what to call it. */
typedef struct Declaration {
        Arena *arena;
        const json_t *json;
        const char *owner; /* "type 'x'", for messages */
        char **reterr;
} Declaration;

/* A string, or NULL if there is none. Return: 0; -EBADMSG. */
static int take_string(const Declaration *d, const char *key, const char **ret) {
        const json_t *value = json_object_get(d->json, key);

        if (!value || json_is_null(value)) {
                *ret = NULL;
                return 0;
        }
        if (!get_string(d->json, key))
                return wrong(d->reterr, "declares %s with '%s' that is not a string", d->owner, key);
        *ret = arena_strdup(d->arena, json_string_value(value));
        return 0;
}

static int take_boolean(const Declaration *d, const char *key, bool *ret) {
        const json_t *value = json_object_get(d->json, key);

        if (value && !json_is_boolean(value))
                return wrong(d->reterr, "declares %s with '%s' that is not true or false", d->owner, key);
        *ret = json_is_true(value);
        return 0;
}

/* The text of a default, which is checked when a role needs it. */
static int take_default(const Declaration *d, const char **ret) {
        const json_t *value = json_object_get(d->json, "default");

        switch (value ? json_typeof(value) : JSON_NULL) {
        case JSON_NULL: *ret = NULL; return 0;
        case JSON_STRING: return take_string(d, "default", ret);
        case JSON_TRUE: *ret = "true"; return 0;
        case JSON_FALSE: *ret = "false"; return 0;
        case JSON_INTEGER:
                *ret = arena_printf(d->arena, "%lld", (long long) json_integer_value(value));
                return 0;
        case JSON_REAL: *ret = arena_printf(d->arena, "%.17g", json_real_value(value)); return 0;
        default:
                return wrong(d->reterr,
                        "declares %s with a 'default' that is an array or an object; it must be a "
                        "string, a number, true or false",
                        d->owner);
        }
}

static int take_choices(const Declaration *d, const char *const **ret) {
        const json_t *list = json_object_get(d->json, "choices");
        const char **words;

        *ret = NULL;
        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list) || json_array_size(list) == 0)
                return wrong(
                        d->reterr, "declares %s with 'choices' that are not an array of strings", d->owner);
        words = arena_new_array(d->arena, const char *, json_array_size(list) + 1);
        for (size_t i = 0; i < json_array_size(list); i++) {
                const json_t *item = json_array_get(list, i);

                if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
                        return wrong(d->reterr,
                                "declares %s with 'choices' that are not an array of strings", d->owner);
                words[i] = arena_strdup(d->arena, json_string_value(item));
        }
        *ret = words;
        return 0;
}

static int take_parameters(
        const Declaration *outer, const char *key, unsigned depth, const AgentdParameter **ret);

static int take_parameter(
        const Declaration *outer, const json_t *json, unsigned depth, AgentdParameter *ret) {
        Declaration d = *outer;
        const char *word;
        int r;

        d.json = json;
        if (!json_is_object(json))
                return wrong(d.reterr, "declares %s with a parameter that is no object", outer->owner);
        r = take_string(&d, "name", &ret->name);
        if (r < 0)
                return r;
        /* NULL would end the list. */
        if (!ret->name)
                return wrong(d.reterr, "declares %s with a parameter that has no 'name'", outer->owner);
        d.owner = arena_printf(d.arena, "parameter '%.64s' of %s", ret->name, outer->owner);

        r = take_string(&d, "type", &word);
        if (r < 0)
                return r;
        ret->type = word ? AGENTD_NONE : AGENTD_STRING;
        FOREACH_ELEMENT(type, types)
                if (streq_ptr(type->word, word))
                        ret->type = type->type;
        if (ret->type == AGENTD_NONE)
                return wrong(d.reterr,
                        "declares %s with the type '%.64s', which is none of boolean, integer, float, "
                        "string, list, table, record, mode, timespan, bytes, any",
                        d.owner, word);
        FOREACH_ELEMENT(flag, parameter_flags) {
                bool set;

                r = take_boolean(&d, flag->word, &set);
                if (r < 0)
                        return r;
                ret->flags |= set ? flag->flag : 0;
        }
        r = take_default(&d, &ret->default_value);
        if (r < 0)
                return r;
        r = take_string(&d, "documentation", &ret->documentation);
        if (r < 0)
                return r;
        r = take_string(&d, "exclusive", &ret->exclusive);
        if (r < 0)
                return r;
        r = take_choices(&d, &ret->choices);
        if (r < 0)
                return r;
        if (ret->type != AGENTD_RECORD)
                return 0;
        return take_parameters(&d, "fields", depth + 1, &ret->fields);
}

static int take_parameters(
        const Declaration *outer, const char *key, unsigned depth, const AgentdParameter **ret) {
        const json_t *list = json_object_get(outer->json, key);
        AgentdParameter *parameters;
        int r;

        *ret = NULL;
        if (!list)
                return 0;
        if (!json_is_array(list))
                return wrong(
                        outer->reterr, "declares %s with '%s' that are not an array", outer->owner, key);
        if (depth > FIELD_DEPTH_MAX)
                return wrong(
                        outer->reterr, "declares %s with fields that are nested too deeply", outer->owner);
        parameters = arena_new_array(outer->arena, AgentdParameter, json_array_size(list) + 1);
        for (size_t i = 0; i < json_array_size(list); i++) {
                r = take_parameter(outer, json_array_get(list, i), depth, &parameters[i]);
                if (r < 0)
                        return r;
        }
        *ret = parameters;
        return 0;
}

/* A whole number from 0 on. */
static int take_count(const Declaration *d, const char *key, uint32_t *ret) {
        const json_t *value = json_object_get(d->json, key);

        if (value && (!json_is_integer(value) || json_integer_value(value) < 0 ||
                             json_integer_value(value) > UINT32_MAX))
                return wrong(
                        d->reterr, "declares %s with '%s' that is not a number from 0 on", d->owner, key);
        *ret = (uint32_t) json_integer_value(value);
        return 0;
}

static int take_type(Declaration d, size_t i, AgentdStateType *type, ForeignType *extra) {
        const char *timeout;
        bool plan, name_is_path;
        int r;

        d.owner = arena_printf(d.arena, "type %zu", i + 1);
        if (!json_is_object(d.json))
                return wrong(d.reterr, "declares %s with something that is no object", d.owner);
        r = take_string(&d, "name", &type->name);
        if (r < 0)
                return r;
        if (type->name)
                d.owner = arena_printf(d.arena, "type '%.64s'", type->name);

        r = take_string(&d, "documentation", &type->documentation);
        if (r < 0)
                return r;
        r = take_boolean(&d, "plan", &plan);
        if (r < 0)
                return r;
        r = take_boolean(&d, "name_is_path", &name_is_path);
        if (r < 0)
                return r;
        r = take_boolean(&d, "prepare", &extra->prepare);
        if (r < 0)
                return r;
        r = take_boolean(&d, "root", &extra->root);
        if (r < 0)
                return r;
        r = take_count(&d, "batch_max", &type->batch_max);
        if (r < 0)
                return r;
        r = take_string(&d, "timeout", &timeout);
        if (r < 0)
                return r;
        if (timeout && parse_timespan(timeout, &type->timeout_usec) < 0)
                return wrong(d.reterr,
                        "declares %s with the timeout '%.64s', which is not a time span like \"2min\"",
                        d.owner, timeout);
        /* Who does not say that its check can be relied on is not relied on. */
        type->flags = (plan ? 0 : AGENTD_NO_PLAN) | (name_is_path ? AGENTD_NAME_IS_PATH : 0);
        return take_parameters(&d, "parameters", 0, &type->parameters);
}

static int take_hello(Arena *arena, const json_t *json, ForeignHello *ret, char **reterr) {
        Declaration d = { .arena = arena, .json = json, .owner = "itself", .reterr = reterr };
        const json_t *protocol = json_object_get(json, "protocol"), *list = json_object_get(json, "types");
        const AgentdStateType **pointers;
        AgentdStateType *all;
        const char *encoding;
        int r;

        if (!json_is_integer(protocol))
                return wrong(reterr, "did not say \"protocol\": %d when it was asked what it is",
                        FOREIGN_PROTOCOL);
        if (json_integer_value(protocol) != FOREIGN_PROTOCOL)
                return wrong(reterr, "speaks protocol %lld, this agentd speaks %d",
                        (long long) json_integer_value(protocol), FOREIGN_PROTOCOL);

        ret->info = (AgentdModule){
                .abi = AGENTD_ABI,
                .size = sizeof(AgentdModule),
                .state_type_size = sizeof(AgentdStateType),
                .parameter_size = sizeof(AgentdParameter),
        };
        r = take_string(&d, "name", &ret->info.name);
        if (r < 0)
                return r;
        r = take_string(&d, "version", &ret->info.version);
        if (r < 0)
                return r;
        r = take_string(&d, "encoding", &encoding);
        if (r < 0)
                return r;
        if (encoding && !streq(encoding, "json") && !streq(encoding, "shell"))
                return wrong(reterr, "wants the encoding '%.64s'; there are 'json' and 'shell'", encoding);
        ret->encoding = streq_ptr(encoding, "shell") ? FOREIGN_SHELL : FOREIGN_JSON;

        if (!json_is_array(list))
                return wrong(reterr, "did not declare its types as an array \"types\"");
        all = arena_new_array(arena, AgentdStateType, json_array_size(list));
        pointers = arena_new_array(arena, const AgentdStateType *, json_array_size(list) + 1);
        ret->types = arena_new_array(arena, ForeignType, json_array_size(list));
        for (size_t i = 0; i < json_array_size(list); i++) {
                d.json = json_array_get(list, i);
                r = take_type(d, i, &all[i], &ret->types[i]);
                if (r < 0)
                        return r;
                if (foreign_cannot_carry(ret->encoding, all[i].parameters, reterr))
                        return -EBADMSG;
                pointers[i] = &all[i];
        }
        ret->info.state_types = pointers;
        return 0;
}

bool foreign_cannot_carry(ForeignEncoding encoding, const AgentdParameter *parameters, char **reterr) {
        for (const AgentdParameter *p = parameters; encoding == FOREIGN_SHELL && p && p->name; p++)
                if (p->type == AGENTD_TABLE || p->type == AGENTD_RECORD ||
                        (uint32_t) p->type == AGENTD_ANY) {
                        (void) wrong(reterr,
                                "declares parameter '%.64s' of a type that the encoding 'shell' cannot "
                                "carry; tables, records and any need 'json'",
                                p->name);
                        return true;
                }
        return false;
}

int foreign_read_hello(Arena *arena, const char *line, size_t size, ForeignHello *ret, char **reterr) {
        _cleanup_(json_decrefp) json_t *json = NULL;
        ForeignHello hello = {};
        int r;

        *reterr = NULL;
        if (size > FOREIGN_HELLO_MAX)
                return wrong(reterr, "said what it is in more than %zu KiB", FOREIGN_HELLO_MAX >> 10);
        json = parse_line(line, size, false, reterr);
        if (!json)
                return -EBADMSG;
        r = take_hello(arena, json, &hello, reterr);
        if (r < 0)
                return r;
        *ret = hello;
        return 0;
}

/* ---- Answers in JSON ------------------------------------------------------------------------------------------- */

/* Items that are made of one value of JSON; what has more, or is too deep, is not told in full anyway. */
typedef struct Pool {
        size_t n_items;
        AgentdValue items[MESSAGE_VALUE_ITEMS_MAX];
        size_t n_members;
        AgentdMember members[MESSAGE_VALUE_ITEMS_MAX];
} Pool;

static bool to_value(Pool *pool, const json_t *json, unsigned depth, AgentdValue *ret) {
        *ret = (AgentdValue){};
        if (depth > MESSAGE_VALUE_DEPTH_MAX)
                return false;
        switch (json ? json_typeof(json) : JSON_NULL) {
        case JSON_NULL: return true;
        case JSON_TRUE:
        case JSON_FALSE:
                *ret = (AgentdValue){ .type = AGENTD_BOOLEAN, .boolean = json_is_true(json) };
                return true;
        case JSON_INTEGER:
                *ret = (AgentdValue){ .type = AGENTD_INTEGER, .integer = json_integer_value(json) };
                return true;
        case JSON_REAL:
                *ret = (AgentdValue){ .type = AGENTD_FLOAT, .real = json_real_value(json) };
                return true;
        case JSON_STRING:
                *ret = (AgentdValue){ .type = AGENTD_STRING,
                        .string = json_string_value(json),
                        .size = json_string_length(json) };
                return true;
        case JSON_ARRAY: {
                size_t n = json_array_size(json);
                AgentdValue *items = pool->items + pool->n_items;

                if (n > ELEMENTSOF(pool->items) - pool->n_items)
                        return false;
                pool->n_items += n;
                for (size_t i = 0; i < n; i++)
                        if (!to_value(pool, json_array_get(json, i), depth + 1, &items[i]))
                                return false;
                *ret = (AgentdValue){ .type = AGENTD_LIST, .n = (uint32_t) n, .items = items };
                return true;
        }
        default: {
                /* jansson's iterators take what they do not change as not const. */
                json_t *object = (json_t *) json, *item;
                size_t n = json_object_size(json), i = 0;
                AgentdMember *members = pool->members + pool->n_members;
                const char *key;

                if (n > ELEMENTSOF(pool->members) - pool->n_members)
                        return false;
                pool->n_members += n;
                json_object_foreach(object, key, item) {
                        members[i].key = key;
                        if (!to_value(pool, item, depth + 1, &members[i++].value))
                                return false;
                }
                *ret = (AgentdValue){ .type = AGENTD_TABLE, .n = (uint32_t) n, .members = members };
                return true;
        }
        }
}

static const AgentdValue *value_or_note(Pool *pool, const json_t *json, AgentdValue *value) {
        static const char note[] = "(too much to show)";

        if (!to_value(pool, json, 0, value))
                *value = (AgentdValue){ .type = AGENTD_STRING, .string = note, .size = sizeof(note) - 1 };
        return value;
}

static void end_state(ForeignAnswer *answer, size_t i, ForeignVerdict verdict, const char *error) {
        answer->ended[i] = true;
        answer->n_ended++;
        answer->sink->finish(answer->userdata, i, verdict, error);
}

/* Tells differences and undo data. Return: how many differences; -EBADMSG. */
static int take_differences(ForeignAnswer *answer, size_t i, const json_t *list, char **reterr) {
        _cleanup_free_ Pool *pool = NULL;

        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list))
                return wrong(reterr, "'differences' must be an array");
        pool = malloc(sizeof(Pool));
        if (!pool)
                return wrong(reterr, "out of memory");

        for (size_t k = 0; k < json_array_size(list); k++) {
                const json_t *item = json_array_get(list, k), *is = json_object_get(item, "is"),
                             *should = json_object_get(item, "should");
                const char *attribute = get_string(item, "attribute");
                bool text = json_is_true(json_object_get(item, "text"));
                AgentdValue a, b;

                if (!attribute)
                        return wrong(reterr,
                                "a difference must be an object with an 'attribute' that is a string");
                if (text && ((is && !json_is_string(is) && !json_is_null(is)) ||
                                    (should && !json_is_string(should) && !json_is_null(should))))
                        return wrong(reterr, "'is' and 'should' of a text must be strings or null");
                pool->n_items = pool->n_members = 0;
                answer->sink->difference(answer->userdata, i, attribute, value_or_note(pool, is, &a),
                        value_or_note(pool, should, &b), text);
        }
        return (int) MIN(json_array_size(list), (size_t) INT32_MAX);
}

static int take_undo(ForeignAnswer *answer, size_t i, const json_t *list, char **reterr) {
        _cleanup_free_ Pool *pool = NULL;

        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list))
                return wrong(reterr, "'undo' must be an array");
        pool = malloc(sizeof(Pool));
        if (!pool)
                return wrong(reterr, "out of memory");
        for (size_t k = 0; k < json_array_size(list); k++) {
                const json_t *item = json_array_get(list, k);
                const char *what = get_string(item, "what");
                AgentdValue old;

                if (!what)
                        return wrong(reterr,
                                "an item of 'undo' must be an object with a 'what' that is a string");
                pool->n_items = pool->n_members = 0;
                answer->sink->undo(
                        answer->userdata, i, what, value_or_note(pool, json_object_get(item, "old"), &old));
        }
        return 0;
}

/* What is said of one state by check and apply. */
static int take_result(ForeignAnswer *answer, size_t i, const json_t *json, char **reterr) {
        const char *result = get_string(json, "result"), *error = get_string(json, "error");
        int n, r;

        if (!result)
                return wrong(reterr, "a result must have a 'result': ok, drifted, failed or unknown");
        if (streq(result, "failed") || streq(result, "unknown")) {
                if (!error || !*error)
                        return wrong(reterr, "'%s' must say why, as 'error'", result);
                r = take_undo(answer, i, json_object_get(json, "undo"), reterr);
                if (r < 0)
                        return r;
                end_state(answer, i, *result == 'f' ? FOREIGN_FAILED : FOREIGN_UNKNOWN, error);
                return 0;
        }
        if (!streq(result, "ok") && !streq(result, "drifted"))
                return wrong(
                        reterr, "'result' is '%.64s'; it must be ok, drifted, failed or unknown", result);

        if (answer->request == FOREIGN_APPLY) {
                if (*result == 'd')
                        return wrong(reterr,
                                "'drifted' is no result of apply; what cannot be made so is 'failed'");
                r = take_undo(answer, i, json_object_get(json, "undo"), reterr);
                if (r < 0)
                        return r;
        } else {
                n = take_differences(answer, i, json_object_get(json, "differences"), reterr);
                if (n < 0)
                        return n;
                if (*result == 'd' && n == 0)
                        return wrong(reterr, "'drifted' must say what differs, as 'differences'");
                if (*result == 'o' && n > 0)
                        return wrong(reterr, "'ok' cannot have differences; it must be 'drifted'");
        }
        end_state(answer, i, FOREIGN_DONE, NULL);
        return 0;
}

static int tell_strings(ForeignAnswer *answer, size_t i, const json_t *list, const char *name,
        const char *kind, char **reterr) {
        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list))
                return wrong(reterr, "'%s' must be an array of strings", name);
        for (size_t k = 0; k < json_array_size(list); k++) {
                const json_t *item = json_array_get(list, k);
                const char *text = json_string_value(item);

                if (!text || !*text || strlen(text) != json_string_length(item))
                        return wrong(reterr, "'%s' must be an array of strings", name);
                if (kind)
                        answer->sink->watch(answer->userdata, i, kind, text);
                else
                        answer->sink->after(answer->userdata, i, text);
        }
        return 0;
}

static int take_path_kind(ForeignAnswer *answer, size_t i, const char *word, char **reterr) {
        static const char *const words[] = {
                [AGENTD_PATH_DIRECTORY] = "directory",
                [AGENTD_PATH_LEAF] = "leaf",
                [AGENTD_PATH_ABSENT] = "absent",
        };

        for (size_t k = 0; k < ELEMENTSOF(words); k++)
                if (streq(word, words[k])) {
                        answer->sink->path_kind(answer->userdata, i, (AgentdPathKind) k);
                        return 0;
                }
        return wrong(reterr, "'path_kind' is '%.64s'; it must be directory, leaf or absent", word);
}

/* What is said of one state by prepare. */
static int take_prepared(ForeignAnswer *answer, size_t i, const json_t *json, char **reterr) {
        const json_t *errors = json_object_get(json, "errors"), *watch = json_object_get(json, "watch");
        const json_t *kind = json_object_get(json, "path_kind");
        int r;

        if (errors && !json_is_null(errors) && !json_is_array(errors))
                return wrong(reterr, "'errors' must be an array");
        for (size_t k = 0; k < json_array_size(errors); k++) {
                const json_t *item = json_array_get(errors, k);
                const char *message = get_string(item, "message");

                if (!message || !*message)
                        return wrong(reterr, "an error must be an object with a 'message' that is a string");
                answer->sink->error(answer->userdata, i, get_string(item, "parameter"), message);
        }
        if (watch && !json_is_null(watch) && !json_is_object(watch))
                return wrong(reterr, "'watch' must be an object");
        r = tell_strings(answer, i, json_object_get(watch, "paths"), "paths", "path", reterr);
        if (r < 0)
                return r;
        r = tell_strings(answer, i, json_object_get(watch, "units"), "units", "unit", reterr);
        if (r < 0)
                return r;
        r = tell_strings(answer, i, json_object_get(watch, "bus"), "bus", "bus", reterr);
        if (r < 0)
                return r;
        r = tell_strings(answer, i, json_object_get(json, "after"), "after", NULL, reterr);
        if (r < 0)
                return r;
        if (kind && !json_is_null(kind)) {
                r = take_path_kind(answer, i, get_string(json, "path_kind") ?: "", reterr);
                if (r < 0)
                        return r;
        }
        end_state(answer, i, FOREIGN_DONE, NULL);
        return 0;
}

static int take_log(ForeignAnswer *answer, const json_t *json, char **reterr) {
        const char *level = get_string(json, "log"), *message = get_string(json, "message");
        int n;

        if (!level || !message || log_level_from_string(level, &n) < 0)
                return wrong(reterr, "answered with a log line that is not {\"log\": \"error\" … \"debug\", "
                                     "\"message\": \"…\"}");
        answer->sink->log(answer->userdata, n, message);
        return 0;
}

/* Ends all that have not ended. */
static void end_all(ForeignAnswer *answer, const char *error) {
        for (size_t i = 0; i < answer->n; i++)
                if (!answer->ended[i])
                        end_state(answer, i, FOREIGN_FAILED, error);
}

static int take_json_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr) {
        _cleanup_(json_decrefp) json_t *json = parse_line(line, size, answer->quiet, reterr);
        const json_t *results;
        const char *error;

        if (!json)
                return -EBADMSG;
        if (json_object_get(json, "log"))
                return take_log(answer, json, reterr);

        error = get_string(json, "error");
        if (error && *error) {
                end_all(answer, error);
                answer->closed = true;
                return 1;
        }
        results = json_object_get(json, "results");
        if (!json_is_array(results))
                return wrong(reterr,
                        "answered with an object that has neither an array 'results' nor an 'error'");

        for (size_t k = 0; k < json_array_size(results); k++) {
                const json_t *item = json_array_get(results, k), *index = json_object_get(item, "index");
                json_int_t i = json_integer_value(index);
                _cleanup_free_ char *why = NULL;

                if (!json_is_integer(index))
                        return wrong(reterr,
                                "answered with a result that has no 'index', which says the state that it "
                                "is for");
                if (i < 0 || (size_t) i >= answer->n)
                        return wrong(reterr, "answered for state %lld; it was asked about 0 to %zu",
                                (long long) i, answer->n - 1);
                if (answer->ended[i])
                        return wrong(reterr, "answered twice for state %lld", (long long) i);
                if ((answer->request == FOREIGN_PREPARE ? take_prepared : take_result)(
                            answer, (size_t) i, item, &why) < 0) {
                        _cleanup_free_ char *text = NULL;

                        if (asprintf(&text, "the module's answer is wrong: %s", why ?: "out of memory") < 0)
                                text = NULL;
                        end_state(answer, (size_t) i, FOREIGN_FAILED, text ?: "out of memory");
                }
        }
        answer->closed = !json_is_true(json_object_get(json, "more"));
        return answer->closed;
}

/* ---- Answers of shells ----------------------------------------------------------------------------------------- */

/* Another line of a text of several. */
static int append_line(char **text, size_t *size, const char *more, size_t more_size) {
        char *larger;

        larger = realloc(*text, *size + more_size + 2);
        if (!larger)
                return -ENOMEM;
        if (*text)
                larger[(*size)++] = '\n';
        memcpy(larger + *size, more, more_size + 1);
        *size += more_size;
        *text = larger;
        return 0;
}

static void shell_clear(ForeignAnswer *answer) {
        free(answer->shell.name);
        free(answer->shell.is);
        free(answer->shell.should);
        answer->shell.name = answer->shell.is = answer->shell.should = NULL;
        answer->shell.is_size = answer->shell.should_size = 0;
        answer->shell.kind = 0;
}

/* Tells the difference that the lines so far have described. */
static void shell_flush(ForeignAnswer *answer) {
        const AgentdValue none = {};
        AgentdValue is = {
                .type = AGENTD_STRING, .string = answer->shell.is, .size = answer->shell.is_size
        };
        AgentdValue should = {
                .type = AGENTD_STRING, .string = answer->shell.should, .size = answer->shell.should_size
        };

        if (answer->shell.kind == 'u')
                answer->sink->undo(
                        answer->userdata, answer->n_ended, answer->shell.name, is.string ? &is : &none);
        else if (answer->shell.kind && answer->request == FOREIGN_CHECK)
                answer->sink->difference(answer->userdata, answer->n_ended, answer->shell.name,
                        is.string ? &is : &none, should.string ? &should : &none, answer->shell.kind == 't');
        shell_clear(answer);
}

static int shell_begin(ForeignAnswer *answer, char kind, const char *name) {
        shell_flush(answer);
        answer->shell.name = strdup(name);
        if (!answer->shell.name)
                return -ENOMEM;
        answer->shell.kind = kind;
        return 0;
}

typedef enum ShellWord {
        WORD_LOG,
        WORD_DIFFERS,
        WORD_DIFFERS_TEXT,
        WORD_UNDO,
        WORD_IS,
        WORD_SHOULD,
        WORD_DONE,
        WORD_FAILED,
        WORD_UNKNOWN,
        WORD_ERROR,
        WORD_WATCH,
        WORD_AFTER,
        WORD_PATH_KIND,
        WORD_END,
} ShellWord;

#define IN_PREPARE (1u << FOREIGN_PREPARE)
#define IN_CHECK   (1u << FOREIGN_CHECK)
#define IN_APPLY   (1u << FOREIGN_APPLY)
#define IN_ALL     (IN_PREPARE | IN_CHECK | IN_APPLY)

static const struct {
        const char *word;
        ShellWord number;
        unsigned in;   /* requests that it can be said in */
        bool of_state; /* it is said of a state, so there must be one left */
        bool rest;     /* something must follow it */
} shell_words[] = {
        { "log", WORD_LOG, IN_ALL, false, true },
        /* An apply looks again; what differs was told by the check. */
        { "differs", WORD_DIFFERS, IN_CHECK | IN_APPLY, true, true },
        { "differs-text", WORD_DIFFERS_TEXT, IN_CHECK | IN_APPLY, true, true },
        { "undo", WORD_UNDO, IN_APPLY, true, true },
        { "is", WORD_IS, IN_CHECK | IN_APPLY, true, false },
        { "should", WORD_SHOULD, IN_CHECK | IN_APPLY, true, false },
        { "done", WORD_DONE, IN_ALL, true, false },
        { "failed", WORD_FAILED, IN_ALL, true, true },
        { "unknown", WORD_UNKNOWN, IN_CHECK, true, true },
        { "error", WORD_ERROR, IN_PREPARE, true, true },
        { "watch", WORD_WATCH, IN_PREPARE, true, true },
        { "after", WORD_AFTER, IN_PREPARE, true, true },
        { "path-kind", WORD_PATH_KIND, IN_PREPARE, true, true },
        { "end", WORD_END, IN_ALL, false, false },
};

/* Cuts a word off: "path /etc/x" → "path" into the buffer, and "/etc/x". NULL if there is nothing behind it. */
static const char *cut_word(const char *text, char *word, size_t word_size) {
        size_t n = strcspn(text, " ");

        if (n == 0 || n >= word_size || !text[n] || !text[n + 1])
                return NULL;
        memcpy(word, text, n);
        word[n] = 0;
        return text + n + 1;
}

static int shell_say(ForeignAnswer *answer, ShellWord number, const char *rest, size_t size, char **reterr) {
        size_t i = answer->n_ended;
        const char *text;
        char word[80];
        int level, r;

        switch (number) {
        case WORD_LOG:
                text = cut_word(rest, word, sizeof(word));
                if (!text || log_level_from_string(word, &level) < 0)
                        return wrong(reterr,
                                "answered with a log line that is not 'log LEVEL TEXT', LEVEL being one "
                                "of error, warning, notice, info, debug");
                answer->sink->log(answer->userdata, level, text);
                return 0;
        case WORD_DIFFERS:
        case WORD_DIFFERS_TEXT:
                r = shell_begin(answer, number == WORD_DIFFERS ? 'd' : 't', rest);
                answer->shell.differs = true;
                return r;
        case WORD_UNDO: return shell_begin(answer, 'u', rest);
        case WORD_IS:
        case WORD_SHOULD:
                if (!answer->shell.kind)
                        return wrong(reterr,
                                "answered with '%s' before it said what, with 'differs' or 'undo'",
                                number == WORD_IS ? "is" : "should");
                return number == WORD_IS
                               ? append_line(&answer->shell.is, &answer->shell.is_size, rest, size)
                               : append_line(&answer->shell.should, &answer->shell.should_size, rest, size);
        case WORD_DONE:
        case WORD_FAILED:
        case WORD_UNKNOWN:
                shell_flush(answer);
                answer->shell.differs = false;
                end_state(answer, i,
                        number == WORD_DONE     ? FOREIGN_DONE
                        : number == WORD_FAILED ? FOREIGN_FAILED
                                                : FOREIGN_UNKNOWN,
                        number == WORD_DONE ? NULL : rest);
                return 0;
        case WORD_ERROR:
                text = cut_word(rest, word, sizeof(word));
                if (!text)
                        return wrong(reterr,
                                "answered with an error that is not 'error PARAMETER TEXT', or 'error - "
                                "TEXT' for the state as such");
                answer->sink->error(answer->userdata, i, streq(word, "-") ? NULL : word, text);
                return 0;
        case WORD_WATCH:
                text = cut_word(rest, word, sizeof(word));
                if (!text || (!streq(word, "path") && !streq(word, "unit") && !streq(word, "bus")))
                        return wrong(reterr,
                                "answered with a watch that is not 'watch path PATH', 'watch unit UNIT' "
                                "or 'watch bus MATCH'");
                answer->sink->watch(answer->userdata, i, word, text);
                return 0;
        case WORD_AFTER: answer->sink->after(answer->userdata, i, rest); return 0;
        case WORD_PATH_KIND: {
                _cleanup_free_ char *why = NULL;

                if (take_path_kind(answer, i, rest, &why) < 0)
                        return wrong(
                                reterr, "answered with a line that is wrong: %s", why ?: "out of memory");
                return 0;
        }
        case WORD_END: break;
        }
        if (answer->shell.kind || answer->shell.differs)
                return wrong(reterr, "answered 'end' in the middle of a state; 'done' ends that");
        answer->closed = true;
        return 1;
}

static int take_shell_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr) {
        size_t n = strcspn(line, " ");
        char buffer[EXCERPT_MAX + 8];

        if (strlen(line) != size || !utf8_is_valid(line, size))
                return wrong(reterr, "answered with a line that is not UTF-8, or has a NUL in it");
        FOREACH_ELEMENT(word, shell_words) {
                const char *rest = line + n + (line[n] ? 1 : 0);

                if (strlen(word->word) != n || memcmp(word->word, line, n) != 0 ||
                        !(word->in & 1u << answer->request))
                        continue;
                if (word->rest && !*rest)
                        return wrong(reterr, "answered '%s' with nothing behind it", word->word);
                if (word->of_state && answer->n_ended == answer->n)
                        return wrong(reterr,
                                "answered '%s' for one state more than the %zu it was asked about",
                                word->word, answer->n);
                return shell_say(answer, word->number, rest, strlen(rest), reterr);
        }
        if (answer->quiet)
                return wrong(reterr,
                        "answered with a line that is none of the protocol; what it is is not shown, as a "
                        "state is sensitive");
        return wrong(reterr,
                "answered '%s', which is none of the protocol; what programs that it runs print must not "
                "go to its standard output",
                excerpt(buffer, line, size));
}

/* ---- Both ------------------------------------------------------------------------------------------------------ */

int foreign_answer_init(ForeignAnswer *answer, ForeignRequest request, ForeignEncoding encoding, size_t n,
        const ForeignSink *sink, void *userdata) {
        *answer = (ForeignAnswer){
                .request = request,
                .encoding = encoding,
                .sink = sink,
                .userdata = userdata,
                .n = n,
                .ended = calloc(MAX(n, (size_t) 1), sizeof(bool)),
        };
        return answer->ended ? 0 : -ENOMEM;
}

void foreign_answer_done(ForeignAnswer *answer) {
        shell_clear(answer);
        free(answer->ended);
        *answer = (ForeignAnswer){};
}

int foreign_answer_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr) {
        if (answer->closed)
                return wrong(reterr, "said more than the one answer that each request has");
        return answer->encoding == FOREIGN_SHELL ? take_shell_line(answer, line, size, reterr)
                                                 : take_json_line(answer, line, size, reterr);
}
