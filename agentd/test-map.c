/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "role.h"
#include "test.h"

TEST(an_empty_map_has_nothing) {
        const Map map = {};

        ASSERT_EQ(map_get(&map, ""), MAP_NOT_FOUND);
        ASSERT_EQ(map_get(&map, "x"), MAP_NOT_FOUND);
}

TEST(put_adds_and_replaces) {
        Arena arena;
        Map map = {};

        ASSERT_OK(arena_map(&arena, MIB(1), NULL));
        map_put(&map, &arena, "", 1);
        map_put(&map, &arena, "x", 2);
        map_put(&map, &arena, "xx", 0);
        ASSERT_EQ(map.n, 3);
        ASSERT_EQ(map_get(&map, ""), 1);
        ASSERT_EQ(map_get(&map, "x"), 2);
        ASSERT_EQ(map_get(&map, "xx"), 0);
        ASSERT_EQ(map_get(&map, "xxx"), MAP_NOT_FOUND);
        map_put(&map, &arena, "x", 3);
        ASSERT_EQ(map.n, 3);
        ASSERT_EQ(map_get(&map, "x"), 3);
        arena_unmap(&arena);
}

TEST(many_keys) {
        enum { N = 100000 };
        Arena arena;
        Map map = {};

        ASSERT_OK(arena_map(&arena, MIB(64), NULL));
        for (uint32_t i = 0; i < N; i++) {
                map_put(&map, &arena, arena_printf(&arena, "file:/srv/%u", i), i);
                /* It stays at most half full, so that a search ends soon. */
                ASSERT_TRUE(map.n * 2 <= map.n_slots);
        }
        ASSERT_EQ(map.n, N);
        ASSERT_EQ(map.n_slots & (map.n_slots - 1), 0);
        for (uint32_t i = 0; i < N; i++) {
                char key[32];

                (void) snprintf(key, sizeof(key), "file:/srv/%u", i);
                ASSERT_EQ(map_get(&map, key), i);
                (void) snprintf(key, sizeof(key), "file:/srv/%u", N + i);
                ASSERT_EQ(map_get(&map, key), MAP_NOT_FOUND);
        }
        arena_unmap(&arena);
}

RUN_TESTS(RUN(an_empty_map_has_nothing), RUN(put_adds_and_replaces), RUN(many_keys))
