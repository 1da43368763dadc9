/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "hash.h"
#include "role.h"

static uint32_t hash_string(const char *text) {
        uint64_t hash = hash_fnv1a(text, strlen(text));

        return (uint32_t) (hash ^ hash >> 32);
}

/* Keys lie all over the memory: they are read only if the hash is right, and never to make room. */
static uint32_t find_slot(const Map *map, const char *key, uint32_t hash) {
        uint32_t i = hash & (map->n_slots - 1);

        while (map->slots[i].key && !(map->slots[i].hash == hash && streq(map->slots[i].key, key)))
                i = (i + 1) & (map->n_slots - 1);
        return i;
}

uint32_t map_get(const Map *map, const char *key) {
        uint32_t i;

        if (map->n == 0)
                return MAP_NOT_FOUND;
        i = find_slot(map, key, hash_string(key));
        return map->slots[i].key ? map->slots[i].value : MAP_NOT_FOUND;
}

static void make_room(Map *map, Arena *arena) {
        Map bigger = { .n = map->n, .n_slots = MAX(map->n_slots * 2, 64U) };

        bigger.slots = arena_alloc(arena, bigger.n_slots * sizeof(bigger.slots[0]));
        for (uint32_t k = 0; k < map->n_slots; k++) {
                uint32_t i = map->slots[k].hash & (bigger.n_slots - 1);

                if (!map->slots[k].key)
                        continue;
                while (bigger.slots[i].key)
                        i = (i + 1) & (bigger.n_slots - 1);
                bigger.slots[i] = map->slots[k];
        }
        *map = bigger;
}

void map_put(Map *map, Arena *arena, const char *key, uint32_t value) {
        uint32_t hash = hash_string(key), i;

        if (map->n_slots == 0 || map->n * 2 >= map->n_slots)
                make_room(map, arena);

        i = find_slot(map, key, hash);
        if (!map->slots[i].key) {
                map->slots[i].key = key;
                map->slots[i].hash = hash;
                map->n++;
        }
        map->slots[i].value = value;
}
