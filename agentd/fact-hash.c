/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sodium.h>

#include "fact.h"
#include "value-json.h"

static const Value *fact_value(const Value *facts, const char *dotted) {
        const Value *value = facts;
        const char *p = strchr(dotted, '.');

        while (p && value && value->type != VALUE_ARRAY) {
                size_t n = strcspn(++p, ".");
                const Member *member = value_find(value, p, n);

                value = member ? &member->value : NULL;
                p = p[n] ? p + n : NULL;
        }
        return value;
}

void fact_hash(const Value *facts, const char *dotted, uint8_t ret[static FACT_HASH_SIZE]) {
        const Value *value = fact_value(facts, dotted);
        json_t *json = value ? value_to_json(value) : NULL;
        _cleanup_free_ char *dump =
                json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;

        (void) crypto_generichash(
                ret, FACT_HASH_SIZE, (const uint8_t *) (dump ?: ""), dump ? strlen(dump) : 0, NULL, 0);
        json_decref(json);
}
