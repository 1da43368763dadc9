/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* agentd.toml, as settings-read.c reads it. Of a key that nobody knows agentd warns only, and so is any taken here. */

#include <string.h>

#include "schema.h"
#include "settings.h"

static json_t *new_setting(const Setting *setting) {
        json_t *schema = NULL, *words;

        switch (setting->kind) {
        case SETTING_SPAN:
                return json_pack("{s:[s,s], s:I, s:I, s:s}", "type", "integer", "string", "minimum",
                        (json_int_t) ((setting->min + USEC_PER_SEC - 1) / USEC_PER_SEC), "maximum",
                        (json_int_t) MIN(setting->max / USEC_PER_SEC, (uint64_t) INT32_MAX - 1), "pattern",
                        setting->infinity ? SCHEMA_SPAN "|^infinity$" : SCHEMA_SPAN);
        case SETTING_NUMBER:
                schema = json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum",
                        (json_int_t) setting->min, "maximum", (json_int_t) setting->max);
                if (setting->infinity) {
                        (void) json_object_set_new(schema, "type", json_pack("[s,s]", "integer", "string"));
                        (void) json_object_set_new(schema, "pattern", json_string("^infinity$"));
                }
                return schema;
        case SETTING_BYTES:
                return json_pack("{s:s, s:s}", "type", "string", "pattern",
                        setting->infinity ? SCHEMA_BYTES "|^infinity$" : SCHEMA_BYTES);
        case SETTING_WORD:
                words = json_array();
                for (uint64_t i = 0; i <= setting->max - setting->min; i++)
                        (void) json_array_append_new(words, json_string(setting->words[i]));
                return json_pack("{s:o}", "enum", words);
        }
        return schema;
}

static json_t *describe(const Setting *setting) {
        _cleanup_free_ char *text = NULL;
        char wants[256];

        if (asprintf(&text, "%s: %s\n\n%s", setting->summary, setting_wants(setting, wants, sizeof(wants)),
                    setting->text) < 0)
                return NULL;
        return json_string(text);
}

static json_t *default_of(const Setting *setting) {
        uint64_t value = *(const uint64_t *) ((const char *) &settings_default + setting->offset);
        char text[32];

        if (setting->kind == SETTING_NUMBER && value <= INT64_MAX)
                return json_integer((json_int_t) value);
        return json_string(setting_format(setting, value, text));
}

json_t *schema_settings(void) {
        json_t *root = json_pack("{s:s, s:{}}", "type", "object", "properties");

        for (size_t i = 0; i < settings_table_n; i++) {
                const Setting *setting = &settings_table[i];
                const char *dot = strchr(setting->name, '.');
                json_t *schema = new_setting(setting), *properties = json_object_get(root, "properties");

                (void) json_object_set_new(schema, "description", describe(setting));
                (void) json_object_set_new(schema, "default", default_of(setting));
                if (dot) {
                        char name[64];
                        json_t *table;

                        (void) snprintf(
                                name, sizeof(name), "%.*s", (int) (dot - setting->name), setting->name);
                        table = json_object_get(properties, name);
                        if (!table) {
                                table = json_pack("{s:s, s:{}}", "type", "object", "properties");
                                (void) json_object_set_new(properties, name, table);
                        }
                        properties = json_object_get(table, "properties");
                }
                (void) json_object_set_new(properties, dot ? dot + 1 : setting->name, schema);
        }
        return root;
}
