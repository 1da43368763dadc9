/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-tree.h"
#include "unit-change.h"

/* Each allocation fails once: all says so, and nothing is lost or half done. Linked with --wrap, so that it is ours which fail. */

static size_t n_left = SIZE_MAX;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool may_allocate(void) {
        if (n_left == SIZE_MAX)
                return true;
        if (n_left == 0)
                return false;
        n_left--;
        return true;
}

void *__wrap_malloc(size_t size) {
        return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size) {
        return may_allocate() ? __real_calloc(n, size) : NULL;
}

/* All that a module does: read, ask, plan. */
static int do_all(const Tree *tree, const char *const *names, size_t n_names) {
        const UnitOwner owner = { .scope = UNIT_SCOPE_SYSTEM };
        char error[UNIT_CHANGE_ERROR_MAX];
        UnitFileState states[2];
        UnitChanges *changes = NULL;
        Presets *presets = NULL;
        UnitFiles *files = NULL;
        int r;

        r = unit_files_new(tree->fd, &owner, &files);
        if (r == 0)
                r = unit_files_states(files, names, n_names, states);
        if (r == 0)
                r = presets_new(tree->fd, UNIT_SCOPE_SYSTEM, &presets);
        for (UnitVerb verb = UNIT_VERB_ENABLE; r == 0 && verb <= UNIT_VERB_PRESET; verb++) {
                r = unit_changes_plan(files, presets, verb, names, n_names, 0, &changes, error);
                if (r == 0)
                        changes = unit_changes_free(changes);
                else
                        ASSERT_TRUE(*error);
        }
        if (r == 0) {
                ASSERT_EQ(states[0], UNIT_FILE_DISABLED);
                ASSERT_EQ(states[1], UNIT_FILE_ENABLED);
        }
        presets_free(presets);
        unit_files_free(files);
        return r;
}

TEST(each_allocation) {
        Tree tree = tree_make((const TreeFile[]){
                { LIB "a.service", "[Install]\nWantedBy=x.target\nAlias=c.service\nAlso=b.service\n" },
                { LIB "b.service", WANTED },
                { ETC "multi-user.target.wants/b.service", "-> " LIB "b.service" },
                { "/etc/systemd/system-preset/1.preset", "disable b*\n" },
                {},
        });
        const char *names[] = { "a.service", "b.service" };
        char big[20000];
        size_t n = 0;
        int r;

        /* More than is read into a buffer that is there anyway. */
        memset(big, '\n', sizeof(big) - 1);
        memcpy(big, "# big", 5);
        big[sizeof(big) - 1] = '\0';
        tree_put(&tree, LIB "a.service.d/1.conf", big);
        do {
                n_left = n++;
                r = do_all(&tree, names, ELEMENTSOF(names));
                n_left = SIZE_MAX;
                ASSERT_TRUE(r == 0 || r == -ENOMEM);
        } while (r < 0);
        ASSERT_TRUE(n > 5);
        tree_done(&tree);
}

RUN_TESTS(RUN(each_allocation))
