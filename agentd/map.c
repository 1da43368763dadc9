/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "hash.h"
#include "role.h"

static uint64_t hash_string(const char *text) {
        uint64_t hash = hash_fnv1a(text, strlen(text));

        return hash ^ hash >> 32;
}

static uint32_t find_slot(const Map *map, const char *key) {
        uint32_t i = (uint32_t) hash_string(key) & (map->n_slots - 1);

        while (map->slots[i].key && !streq(map->slots[i].key, key))
                i = (i + 1) & (map->n_slots - 1);
        return i;
}

uint32_t map_get(const Map *map, const char *key) {
        uint32_t i;

        if (map->n == 0)
                return MAP_NOT_FOUND;
        i = find_slot(map, key);
        return map->slots[i].key ? map->slots[i].value : MAP_NOT_FOUND;
}

void map_put(Map *map, Arena *arena, const char *key, uint32_t value) {
        uint32_t i;

        if (map->n_slots == 0 || map->n * 2 >= map->n_slots) {
                Map bigger = { .n = map->n, .n_slots = MAX(map->n_slots * 2, 64U) };

                bigger.slots = arena_alloc(arena, bigger.n_slots * sizeof(bigger.slots[0]));
                for (uint32_t k = 0; k < map->n_slots; k++)
                        if (map->slots[k].key)
                                bigger.slots[find_slot(&bigger, map->slots[k].key)] =
                                        (__typeof__(bigger.slots[0])){ map->slots[k].key,
                                                map->slots[k].value };
                *map = bigger;
        }

        i = find_slot(map, key);
        if (!map->slots[i].key) {
                map->slots[i].key = key;
                map->n++;
        }
        map->slots[i].value = value;
}
