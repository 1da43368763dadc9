/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>
#include <time.h>

#include "util.h"
#include "value-json.h"

Value value_from_json(Arena *arena, const json_t *json) {
        Value value;

        switch (json_typeof(json)) {
        case JSON_OBJECT: {
                /* jansson's iterators take what they do not change as not const. */
                json_t *object = (json_t *) json, *item;
                const char *key;
                size_t size;

                value = value_table();
                json_object_keylen_foreach(object, key, size, item) {
                        Value v = value_from_json(arena, item);

                        (void) value_add(arena, &value, key, size, &v);
                }
                return value;
        }
        case JSON_ARRAY:
                value = value_array();
                for (size_t i = 0; i < json_array_size(json); i++) {
                        Value v = value_from_json(arena, json_array_get(json, i));

                        (void) value_append(arena, &value, &v);
                }
                return value;
        case JSON_STRING: return value_string(arena, json_string_value(json), json_string_length(json));
        case JSON_INTEGER: return value_integer(json_integer_value(json));
        case JSON_REAL: return value_float(json_real_value(json));
        case JSON_TRUE: return value_boolean(true);
        case JSON_FALSE: return value_boolean(false);
        case JSON_NULL: break;
        }
        return (Value){ .type = VALUE_NULL };
}

json_t *json_from_text(const char *text, size_t size) {
        _cleanup_free_ char *copy = NULL;

        if (!utf8_is_valid(text, size)) {
                text = copy = utf8_make_valid(text, size, &size);
                if (!copy)
                        return NULL;
        }
        return json_stringn_nocheck(text, size);
}

json_t *value_to_json(const Value *value) {
        if (value->tainted)
                return json_string("<sensitive>");

        switch (value->type) {
        case VALUE_BOOLEAN: return json_boolean(value->boolean);
        case VALUE_INTEGER: return json_integer(value->integer);
        case VALUE_FLOAT: return isfinite(value->real) ? json_real(value->real) : json_null();
        case VALUE_STRING:
        case VALUE_OFFSET_DATETIME:
        case VALUE_LOCAL_DATETIME:
        case VALUE_LOCAL_DATE:
        case VALUE_LOCAL_TIME: return json_from_text(value->text, value->size);
        case VALUE_ARRAY: {
                _cleanup_(json_decrefp) json_t *array = json_array();

                if (!array)
                        return NULL;
                VALUE_FOREACH_ITEM(item, value)
                        if (json_array_append_new(array, value_to_json(item)) < 0)
                                return NULL;
                return TAKE_PTR(array);
        }
        case VALUE_TABLE: {
                _cleanup_(json_decrefp) json_t *object = json_object();

                if (!object)
                        return NULL;
                VALUE_FOREACH_MEMBER(member, value) {
                        size_t size;
                        _cleanup_free_ char *key = utf8_make_valid(member->key, member->key_size, &size);

                        /* A value of NULL makes this fail. */
                        if (!key ||
                                json_object_setn_new(object, key, size, value_to_json(&member->value)) < 0)
                                return NULL;
                }
                return TAKE_PTR(object);
        }
        case VALUE_NULL:
        default: return json_null();
        }
}

json_t *json_from_time(usec_t usec) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char text[64], date[32];
        struct tm tm;

        if (usec == 0 || !gmtime_r(&seconds, &tm))
                return json_null();
        (void) strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
        (void) snprintf(text, sizeof(text), "%s.%06uZ", date, (unsigned) (usec % USEC_PER_SEC));
        return json_string(text);
}
