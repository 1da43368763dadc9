/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a foreign module says of states, in JSON. */

#include "foreign-internal.h"
#include "log.h"
#include "message.h"

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

/* Tells differences and undo data. Return: how many differences; -EBADMSG. */
static int take_differences(ForeignAnswer *answer, size_t i, const json_t *list, char **reterr) {
        _cleanup_free_ Pool *pool = NULL;

        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list))
                return foreign_wrong(reterr, "'differences' must be an array");
        pool = malloc(sizeof(Pool));
        if (!pool)
                return foreign_wrong(reterr, "out of memory");

        for (size_t k = 0; k < json_array_size(list); k++) {
                const json_t *item = json_array_get(list, k), *is = json_object_get(item, "is"),
                             *should = json_object_get(item, "should");
                const char *attribute = foreign_get_string(item, "attribute");
                bool text = json_is_true(json_object_get(item, "text"));
                AgentdValue a, b;

                if (!attribute)
                        return foreign_wrong(reterr,
                                "a difference must be an object with an 'attribute' that is a string");
                if (text && ((is && !json_is_string(is) && !json_is_null(is)) ||
                                    (should && !json_is_string(should) && !json_is_null(should))))
                        return foreign_wrong(reterr, "'is' and 'should' of a text must be strings or null");
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
                return foreign_wrong(reterr, "'undo' must be an array");
        pool = malloc(sizeof(Pool));
        if (!pool)
                return foreign_wrong(reterr, "out of memory");
        for (size_t k = 0; k < json_array_size(list); k++) {
                const json_t *item = json_array_get(list, k);
                const char *what = foreign_get_string(item, "what");
                AgentdValue old;

                if (!what)
                        return foreign_wrong(reterr,
                                "an item of 'undo' must be an object with a 'what' that is a string");
                pool->n_items = pool->n_members = 0;
                answer->sink->undo(
                        answer->userdata, i, what, value_or_note(pool, json_object_get(item, "old"), &old));
        }
        return 0;
}

/* What is said of one state by check and apply. */
static int take_result(ForeignAnswer *answer, size_t i, const json_t *json, char **reterr) {
        const char *result = foreign_get_string(json, "result"), *error = foreign_get_string(json, "error");
        int n, r;

        if (!result)
                return foreign_wrong(
                        reterr, "a result must have a 'result': ok, drifted, failed or unknown");
        if (streq(result, "failed") || streq(result, "unknown")) {
                if (!error || !*error)
                        return foreign_wrong(reterr, "'%s' must say why, as 'error'", result);
                r = take_undo(answer, i, json_object_get(json, "undo"), reterr);
                if (r < 0)
                        return r;
                foreign_end_state(answer, i, *result == 'f' ? FOREIGN_FAILED : FOREIGN_UNKNOWN, error);
                return 0;
        }
        if (!streq(result, "ok") && !streq(result, "drifted"))
                return foreign_wrong(
                        reterr, "'result' is '%.64s'; it must be ok, drifted, failed or unknown", result);

        if (answer->request == FOREIGN_APPLY) {
                if (*result == 'd')
                        return foreign_wrong(reterr,
                                "'drifted' is no result of apply; what cannot be made so is 'failed'");
                r = take_undo(answer, i, json_object_get(json, "undo"), reterr);
                if (r < 0)
                        return r;
        } else {
                n = take_differences(answer, i, json_object_get(json, "differences"), reterr);
                if (n < 0)
                        return n;
                if (*result == 'd' && n == 0)
                        return foreign_wrong(reterr, "'drifted' must say what differs, as 'differences'");
                if (*result == 'o' && n > 0)
                        return foreign_wrong(reterr, "'ok' cannot have differences; it must be 'drifted'");
        }
        foreign_end_state(answer, i, FOREIGN_DONE, NULL);
        return 0;
}

static int tell_strings(ForeignAnswer *answer, size_t i, const json_t *list, const char *name,
        const char *kind, char **reterr) {
        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list))
                return foreign_wrong(reterr, "'%s' must be an array of strings", name);
        for (size_t k = 0; k < json_array_size(list); k++) {
                const json_t *item = json_array_get(list, k);
                const char *text = json_string_value(item);

                if (!text || !*text || strlen(text) != json_string_length(item))
                        return foreign_wrong(reterr, "'%s' must be an array of strings", name);
                if (kind)
                        answer->sink->watch(answer->userdata, i, kind, text);
                else
                        answer->sink->after(answer->userdata, i, text);
        }
        return 0;
}

int foreign_take_path_kind(ForeignAnswer *answer, size_t i, const char *word, char **reterr) {
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
        return foreign_wrong(reterr, "'path_kind' is '%.64s'; it must be directory, leaf or absent", word);
}

/* What is said of one state by prepare. */
static int take_prepared(ForeignAnswer *answer, size_t i, const json_t *json, char **reterr) {
        const json_t *errors = json_object_get(json, "errors"), *watch = json_object_get(json, "watch");
        const json_t *kind = json_object_get(json, "path_kind");
        int r;

        if (errors && !json_is_null(errors) && !json_is_array(errors))
                return foreign_wrong(reterr, "'errors' must be an array");
        for (size_t k = 0; k < json_array_size(errors); k++) {
                const json_t *item = json_array_get(errors, k);
                const char *message = foreign_get_string(item, "message");

                if (!message || !*message)
                        return foreign_wrong(
                                reterr, "an error must be an object with a 'message' that is a string");
                answer->sink->error(answer->userdata, i, foreign_get_string(item, "parameter"), message);
        }
        if (watch && !json_is_null(watch) && !json_is_object(watch))
                return foreign_wrong(reterr, "'watch' must be an object");
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
                r = foreign_take_path_kind(answer, i, foreign_get_string(json, "path_kind") ?: "", reterr);
                if (r < 0)
                        return r;
        }
        foreign_end_state(answer, i, FOREIGN_DONE, NULL);
        return 0;
}

static int take_log(ForeignAnswer *answer, const json_t *json, char **reterr) {
        const char *level = foreign_get_string(json, "log"), *message = foreign_get_string(json, "message");
        int n;

        if (!level || !message || log_level_from_string(level, &n) < 0)
                return foreign_wrong(reterr,
                        "answered with a log line that is not {\"log\": \"error\" … \"debug\", "
                        "\"message\": \"…\"}");
        answer->sink->log(answer->userdata, n, message);
        return 0;
}

/* Ends all that have not ended. */
static void end_all(ForeignAnswer *answer, const char *error) {
        for (size_t i = 0; i < answer->n; i++)
                if (!answer->ended[i])
                        foreign_end_state(answer, i, FOREIGN_FAILED, error);
}

int foreign_take_json_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr) {
        _cleanup_(json_decrefp) json_t *json = foreign_parse_line(line, size, answer->quiet, reterr);
        const json_t *results;
        const char *error;

        if (!json)
                return -EBADMSG;
        if (json_object_get(json, "log"))
                return take_log(answer, json, reterr);

        error = foreign_get_string(json, "error");
        if (error && *error) {
                end_all(answer, error);
                answer->closed = true;
                return 1;
        }
        results = json_object_get(json, "results");
        if (!json_is_array(results))
                return foreign_wrong(reterr,
                        "answered with an object that has neither an array 'results' nor an 'error'");

        for (size_t k = 0; k < json_array_size(results); k++) {
                const json_t *item = json_array_get(results, k), *index = json_object_get(item, "index");
                json_int_t i = json_integer_value(index);
                _cleanup_free_ char *why = NULL;

                if (!json_is_integer(index))
                        return foreign_wrong(reterr,
                                "answered with a result that has no 'index', which says the state that it "
                                "is for");
                if (i < 0 || (size_t) i >= answer->n)
                        return foreign_wrong(reterr, "answered for state %lld; it was asked about 0 to %zu",
                                (long long) i, answer->n - 1);
                if (answer->ended[i])
                        return foreign_wrong(reterr, "answered twice for state %lld", (long long) i);
                if ((answer->request == FOREIGN_PREPARE ? take_prepared : take_result)(
                            answer, (size_t) i, item, &why) < 0) {
                        _cleanup_free_ char *text = NULL;

                        if (asprintf(&text, "the module's answer is wrong: %s", why ?: "out of memory") < 0)
                                text = NULL;
                        foreign_end_state(answer, (size_t) i, FOREIGN_FAILED, text ?: "out of memory");
                }
        }
        answer->closed = !json_is_true(json_object_get(json, "more"));
        return answer->closed;
}
