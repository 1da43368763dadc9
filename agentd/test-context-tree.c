/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdalign.h>

#include "context.h"
#include "test.h"

/* ---- Owners ---------------------------------------------------------------------------------------------------------- */

static alignas(16) uint8_t memory[65536];

static int compare(const void *a, const void *b) {
        return path_compare((const char *) memory + ((const ImagePath *) a)->path.offset,
                (const char *) memory + ((const ImagePath *) b)->path.offset);
}

TEST(paths_below_come_right_after) {
        static const char *const sorted[] = { "/", "/a", "/a/", "/a/!", "/a/b", "/a/b/c", "/a/b!", "/a\x01",
                "/a!", "/a-b", "/a-b/c", "/ab", "/b", "/\xff" };

        for (size_t i = 0; i < ELEMENTSOF(sorted); i++)
                for (size_t k = 0; k < ELEMENTSOF(sorted); k++) {
                        int order = path_compare(sorted[i], sorted[k]);

                        if ((order < 0) != (i < k) || (order == 0) != (i == k))
                                fail_msg("'%s' and '%s': %d", sorted[i], sorted[k], order);
                }
}

TEST(what_others_own) {
        static const struct {
                const char *path;
                AgentdPathKind kind;
        } owned[] = {
                { "/srv/www", AGENTD_PATH_TREE }, /* who asks */
                { "/srv/www/file", AGENTD_PATH_LEAF },
                { "/srv/www/edited", AGENTD_PATH_EDITABLE },
                { "/srv/www/edited", AGENTD_PATH_EDITABLE },
                { "/srv/www/gone", AGENTD_PATH_ABSENT },
                { "/srv/www/dir", AGENTD_PATH_DIRECTORY },
                { "/srv/www/dir/in/it", AGENTD_PATH_LEAF },
                { "/srv/www/tree", AGENTD_PATH_TREE },
                { "/srv/www/tree/x", AGENTD_PATH_LEAF },
                { "/srv/www/deep/er/x", AGENTD_PATH_LEAF },
                { "/srv/www-old/x", AGENTD_PATH_LEAF },
                { "/srv/empty", AGENTD_PATH_DIRECTORY },
                { "/etc", AGENTD_PATH_DIRECTORY },
        };
        static const struct {
                const char *path;
                AgentdOwned owned;
        } cases[] = {
                { "/srv/www", AGENTD_OWNED_BELOW },
                { "/srv/www/file", AGENTD_OWNED_WHOLE },
                { "/srv/www/file/x", AGENTD_OWNED_NOT },
                { "/srv/www/fil", AGENTD_OWNED_NOT },
                { "/srv/www/file2", AGENTD_OWNED_NOT },
                { "/srv/www/edited", AGENTD_OWNED_WHOLE },
                { "/srv/www/gone", AGENTD_OWNED_WHOLE },
                { "/srv/www/dir", AGENTD_OWNED_PATH },
                { "/srv/www/dir/in", AGENTD_OWNED_BELOW },
                { "/srv/www/dir/in/it", AGENTD_OWNED_WHOLE },
                { "/srv/www/dir/i", AGENTD_OWNED_NOT },
                { "/srv/www/tree", AGENTD_OWNED_WHOLE },
                { "/srv/www/deep", AGENTD_OWNED_BELOW },
                { "/srv/www/deep/er", AGENTD_OWNED_BELOW },
                { "/srv/www/deepe", AGENTD_OWNED_NOT },
                { "/srv/www-old", AGENTD_OWNED_BELOW },
                { "/srv/www-", AGENTD_OWNED_NOT },
                { "/srv/empty", AGENTD_OWNED_PATH },
                { "/srv", AGENTD_OWNED_BELOW },
                { "/", AGENTD_OWNED_BELOW },
                { "/etc", AGENTD_OWNED_PATH },
                { "/etc/x", AGENTD_OWNED_NOT },
                { "/zzz", AGENTD_OWNED_NOT },
                { "/a", AGENTD_OWNED_NOT },
        };
        static const uint32_t states[] = { 0 };
        Arena arena = { .base = memory, .limit = sizeof(memory) };
        ImageHeader *header = arena_new(&arena, ImageHeader);
        ImagePath *paths = arena_new_array(&arena, ImagePath, ELEMENTSOF(owned));
        Image image = { .base = memory, .header = header };
        AgentdContext context = { .image = &image, .states = states, .n = 1 };

        /* Nobody has asked for it. */
        ASSERT_EQ(agentd_owned(&context, 0, "/etc"), AGENTD_OWNED_NOT);

        header->paths =
                (ImageArray){ .offset = (uint32_t) ((uint8_t *) paths - memory), .n = ELEMENTSOF(owned) };
        for (uint32_t i = 0; i < ELEMENTSOF(owned); i++)
                paths[i] = (ImagePath){
                        .path = { .offset = (uint32_t) ((uint8_t *) arena_strdup(&arena, owned[i].path) -
                                                        memory),
                                .n = (uint32_t) strlen(owned[i].path) },
                        .state = i,
                        .kind = owned[i].kind,
                };
        qsort(paths, ELEMENTSOF(owned), sizeof(*paths), compare);
        FOREACH_ELEMENT(c, cases)
                if (agentd_owned(&context, 0, c->path) != c->owned)
                        fail_msg("'%s': %d", c->path, (int) agentd_owned(&context, 0, c->path));
}

RUN_TESTS(RUN(paths_below_come_right_after), RUN(what_others_own))
