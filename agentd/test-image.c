/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "test-image.h"
#include "test.h"

/* ---- Validation ------------------------------------------------------------------------------------------------ */

/* An image whose last byte is the last of a page; the next page cannot be read. */
typedef struct Guarded {
        uint8_t *map, *base, *original;
        size_t mapped, size;
} Guarded;

static void guarded_init(Guarded *g) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        Arena arena;

        ASSERT_OK(arena_map(&arena, MIB(1), NULL));
        (void) arena_new(&arena, ImageHeader);
        test_image_build(&arena);

        g->size = arena.used;
        g->mapped = ((g->size + page - 1) & ~(page - 1)) + page;
        g->map = mmap(NULL, g->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(g->map != MAP_FAILED);
        ASSERT_OK(mprotect(g->map + g->mapped - page, page, PROT_NONE));
        g->base = g->map + g->mapped - page - g->size;
        g->original = malloc(g->size);
        ((ImageHeader *) arena.base)->base = (uint64_t) (uintptr_t) g->base;
        memcpy(g->original, arena.base, g->size);
        memcpy(g->base, arena.base, g->size);
        arena_unmap(&arena);
}

static void guarded_done(Guarded *g) {
        (void) munmap(g->map, g->mapped);
        free(g->original);
}

static bool walk(const Guarded *g) {
        const Image image = { .base = g->base, .header = (const ImageHeader *) g->base };

        return test_image_walk(&image);
}

TEST(a_good_image_is_valid) {
        Guarded g;

        guarded_init(&g);
        ASSERT_NULL(image_validate(g.base, g.size));
        ASSERT_TRUE(walk(&g));
        for (size_t size = 0; size < g.size; size++)
                if (!image_validate(g.base, size))
                        fail_msg("the first %zu of %zu bytes are accepted", size, g.size);
        guarded_done(&g);
}

TEST(an_empty_image_is_valid) {
        ImageHeader header = { .magic = IMAGE_MAGIC, .version = IMAGE_VERSION, .used = sizeof(header) };

        header.settings = settings_default;
        header.base = (uint64_t) (uintptr_t) &header;
        ASSERT_NULL(image_validate((const uint8_t *) &header, sizeof(header)));
}

/* Any word may be anything: what is accepted can be walked, and nothing is read outside. */
TEST(each_word_may_lie) {
        Guarded g;
        size_t n_accepted = 0, n_refused = 0;

        guarded_init(&g);
        for (size_t at = 0; at + 4 <= g.size; at += 4) {
                uint32_t size = (uint32_t) g.size, was;

                memcpy(&was, g.original + at, 4);
                {
                        const uint32_t lies[] = { 0, 1, 2, 3, 4, 5, 7, 8, UINT32_MAX, UINT32_MAX - 1,
                                UINT32_MAX - 3, UINT32_MAX - 7, UINT32_C(1) << 31, (UINT32_C(1) << 31) - 1,
                                UINT32_C(1) << 30, size, size - 1, size - 2, size - 4, size - 8, size - 16,
                                size + 1, size + 8, size / 2, size / 4, size / 8, was + 1, was - 1, was + 2,
                                was + 4, was - 4, was + 8, was - 8, ~was };

                        FOREACH_ELEMENT(lie, lies) {
                                memcpy(g.base + at, lie, 4);
                                if (image_validate(g.base, g.size))
                                        n_refused++;
                                else {
                                        n_accepted++;
                                        if (!walk(&g))
                                                fail_msg("word %zu as %#x is accepted", at / 4, *lie);
                                }
                        }
                }
                memcpy(g.base + at, &was, 4);
        }
        ASSERT_NULL(image_validate(g.base, g.size));
        assert_true(n_accepted > 100);
        assert_true(n_refused > 1000);
        guarded_done(&g);
}

TEST(what_is_refused) {
        static const struct {
                size_t at; /* in the header */
                uint32_t value;
                const char *error;
        } header[] = {
                { offsetof(ImageHeader, magic), 0, "it does not begin as an image does" },
                { offsetof(ImageHeader, version), IMAGE_VERSION + 1, "it is of another version" },
                { offsetof(ImageHeader, base), 8, "it was built for another address or size" },
                { offsetof(ImageHeader, used), 8, "it was built for another address or size" },
                { offsetof(ImageHeader, modules.offset), UINT32_MAX - 7, "an array lies outside" },
                { offsetof(ImageHeader, types.n), UINT32_MAX, "an array lies outside" },
                { offsetof(ImageHeader, states.n), UINT32_C(1) << 28, "an array lies outside" },
                { offsetof(ImageHeader, states.offset), 12, "an array lies outside" },
                { offsetof(ImageHeader, nodes.n), 2, "a state has no node" },
                { offsetof(ImageHeader, dependents.n), 2, "a node is not well-formed" },
                { offsetof(ImageHeader, modules.n), 1, "a state type is not well-formed" },
                { offsetof(ImageHeader, types.n), 1, "a state is not well-formed" },
                { offsetof(ImageHeader, roles.n), 0, "a state is not well-formed" },
                { offsetof(ImageHeader, watches.n), 1, "a state is not well-formed" },
                { offsetof(ImageHeader, paths.n), UINT32_MAX, "an array lies outside" },
                { offsetof(ImageHeader, settings.audit), 2, "a setting is out of range" },
                { offsetof(ImageHeader, settings.workers), 65, "a setting is out of range" },
                { offsetof(ImageHeader, settings.facts_deadline_usec), 0, "a setting is out of range" },
                { offsetof(ImageHeader, settings.log_level), 0, "a setting is out of range" },
        };
        Guarded g;
        const ImageHeader *h;

        guarded_init(&g);
        FOREACH_ELEMENT(c, header) {
                memcpy(g.base + c->at, &c->value, 4);
                ASSERT_STREQ(image_validate(g.base, g.size), c->error);
                memcpy(g.base, g.original, g.size);
        }

        h = (const ImageHeader *) g.base;
        {
                ImageModule *modules = (ImageModule *) (g.base + h->modules.offset);
                ImageType *types = (ImageType *) (g.base + h->types.offset);
                ImageRole *roles = (ImageRole *) (g.base + h->roles.offset);
                ImageState *states = (ImageState *) (g.base + h->states.offset);
                ImageNode *nodes = (ImageNode *) (g.base + h->nodes.offset);
                uint32_t *dependents = (uint32_t *) (g.base + h->dependents.offset);
                ImageWatch *watches = (ImageWatch *) (g.base + h->watches.offset);
                ImageFile *files = (ImageFile *) (g.base + h->files.offset);
                ImageFact *facts = (ImageFact *) (g.base + h->facts.offset);
                ImagePath *paths = (ImagePath *) (g.base + h->paths.offset);
                ImageExtra *extras = (ImageExtra *) (g.base + h->extras.offset);
                ImageListener *listeners = (ImageListener *) (g.base + h->listeners.offset);
                ImageTrigger *triggers = (ImageTrigger *) (g.base + h->triggers.offset);
                uint32_t *triggered = (uint32_t *) (g.base + h->triggered.offset);
                const struct {
                        uint32_t *at;
                        uint32_t value;
                        const char *error;
                } inside[] = {
                        { &modules[0].path.n, modules[0].path.n - 1, "a module is not well-formed" },
                        { &modules[0].path.n, modules[0].path.n + 1, "a module is not well-formed" },
                        { &modules[1].build_id_size, IMAGE_BUILD_ID_SIZE + 1,
                                "a module is not well-formed" },
                        { &types[0].name.offset, (uint32_t) g.size, "a state type is not well-formed" },
                        { &types[1].module, 2, "a state type is not well-formed" },
                        { &roles[0].path.offset, UINT32_MAX, "a role is not well-formed" },
                        { &states[0].type, 2, "a state is not well-formed" },
                        { &states[0].type, 1, "a state's id does not begin with its type" },
                        { &states[2].role, 1, "a state is not well-formed" },
                        { &states[2].id.n, 0, "a state is not well-formed" },
                        { &states[0].when, (uint32_t) g.size, "a state is not well-formed" },
                        { &states[0].data, (uint32_t) g.size, "a state is not well-formed" },
                        { &states[1].watches.n, 3, "a state is not well-formed" },
                        { &states[1].watches.offset, UINT32_MAX, "a state is not well-formed" },
                        { (uint32_t *) &states[1].timeout_usec, 0, "a state is not well-formed" },
                        { &nodes[3].dependents.n, UINT32_MAX, "a node is not well-formed" },
                        { &nodes[3].dependents.offset, 4, "a node is not well-formed" },
                        { &dependents[1], 4, "an edge leads nowhere" },
                        { &watches[0].kind, _IMAGE_WATCH_MAX, "a watch is not well-formed" },
                        { &watches[0].what.n, 1, "a watch is not well-formed" },
                        { &watches[2].exclude.n, 1, "a watch is not well-formed" },
                        { &watches[2].exclude.offset, UINT32_MAX, "a watch is not well-formed" },
                        { &files[0].path.n, 0, "a file is not well-formed" },
                        { (uint32_t *) &files[0].is_directory, 2, "a file is not well-formed" },
                        { &facts[0].name.offset, UINT32_MAX, "a fact is not well-formed" },
                        { &paths[0].path.n, 1, "a path is not well-formed" },
                        { &paths[1].path.offset, UINT32_MAX, "a path is not well-formed" },
                        { &paths[1].state, 3, "a path is not well-formed" },
                        { &extras[0].state, 3, "a state's extras are not well-formed" },
                        { &extras[0].state, 0, "a state's extras are not well-formed" },
                        { &extras[0].tags.n, 4, "a state's extras are not well-formed" },
                        { &extras[0].was.offset, 3, "a state's extras are not well-formed" },
                        { &extras[0].hooks[HOOK_ON_SUCCESS].n, 2, "a state's extras are not well-formed" },
                        { &extras[0].removal.n, 1, "a state's extras are not well-formed" },
                        { &extras[0].name.n, 1, "a state's extras are not well-formed" },
                        { &listeners[0].to, 3, "a listener is not well-formed" },
                        { &listeners[0].state, 3, "a listener is not well-formed" },
                        { &listeners[0].what, 0, "a listener is not well-formed" },
                        { &listeners[0].what, 8, "a listener is not well-formed" },
                        { &triggers[0].name.n, 1, "a trigger is not well-formed" },
                        { &triggers[0].kind, _IMAGE_TRIGGER_MAX, "a trigger is not well-formed" },
                        { &triggers[0].role, 1, "a trigger is not well-formed" },
                        { &triggers[0].recursive, 2, "a trigger is not well-formed" },
                        { &triggers[0].path.offset, UINT32_MAX, "a trigger is not well-formed" },
                        { &triggers[0].exclude.n, 1, "a trigger is not well-formed" },
                        { &triggers[0].states.n, 3, "a trigger is not well-formed" },
                        { &triggers[1].kind, IMAGE_TRIGGER_PATH, "a trigger is not well-formed" },
                        { (uint32_t *) &triggers[1].every_usec, 0, "a trigger is not well-formed" },
                        { &triggered[1], 3, "a trigger is for no state" },
                };

                g.base[states[0].id.offset + states[0].id.n - 1] = 0xff; /* not UTF-8 */
                ASSERT_STREQ(image_validate(g.base, g.size), "a state is not well-formed");
                memcpy(g.base, g.original, g.size);

                FOREACH_ELEMENT(c, inside) {
                        *c->at = c->value;
                        ASSERT_STREQ(image_validate(g.base, g.size), c->error);
                        memcpy(g.base, g.original, g.size);
                }
        }
        guarded_done(&g);
}

/* ---- Adopting -------------------------------------------------------------------------------------------------- */

/* Builds an image in a child, as the loader does. keep: the child stays until it is killed, with its mapping. */
static pid_t build_in_child(Image *image, bool keep, uint64_t *ret_used) {
        int fds[2];
        pid_t pid;

        ASSERT_OK(pipe2(fds, O_CLOEXEC));
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                Arena arena;
                uint64_t used;

                /* It does not outlive a test that fails. */
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (image_open_arena(image, &arena) < 0)
                        _exit(1);
                test_image_build(&arena);
                used = arena.used;
                if (write(fds[1], &used, sizeof(used)) != sizeof(used))
                        _exit(1);
                while (keep)
                        (void) pause();
                _exit(0);
        }
        assert_int_equal(read(fds[0], ret_used, sizeof(*ret_used)), sizeof(*ret_used));
        (void) close(fds[0]);
        (void) close(fds[1]);
        if (!keep)
                assert_int_equal(waitpid(pid, NULL, 0), pid);
        return pid;
}

TEST(adopt_seals_and_maps) {
        Image *image;
        const char *error = NULL;
        uint64_t used;
        int fd, status;
        pid_t pid;

        ASSERT_OK(image_new(&image));
        ASSERT_EQ(fcntl(image->memfd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
        ASSERT_NULL(image->header);
        (void) build_in_child(image, false, &used);
        fd = fcntl(image->memfd, F_DUPFD_CLOEXEC, 3);
        ASSERT_OK(image_adopt(image, used, &error));

        ASSERT_NULL(error);
        assert_true(image->memfd < 0);
        ASSERT_TRUE(image->mapped >= used && image->mapped < used + MIB(1));
        ASSERT_EQ(image_n_states(image), 3);
        ASSERT_STREQ(image_state_id(image, 1), "file:/a/b");
        ASSERT_STREQ(image_state_type(image, 1), "file");
        ASSERT_STREQ(image_state_name(image, 1), "/a/b");
        ASSERT_STREQ(image_state_role(image, 1), "web");
        ASSERT_TRUE(test_image_walk(image));

        /* Nobody can write to it, by whatever way. */
        ASSERT_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
        assert_true(pwrite(fd, "x", 1, 0) < 0);
        ASSERT_EQ(errno, EPERM);
        assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
        ASSERT_EQ(errno, EPERM);
        assert_true(ftruncate(fd, 4096) < 0);
        ASSERT_EQ(errno, EPERM);
        (void) close(fd);
        pid = fork();
        if (pid == 0) {
                (void) signal(SIGSEGV, SIG_DFL);
                *(volatile uint8_t *) image->base = 1;
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);

        ASSERT_TRUE(image_ref(image) == image);
        ASSERT_EQ(image->n_ref, 2);
        ASSERT_NULL(image_unref(image));
        ASSERT_STREQ(image_state_id(image, 0), "file:/a");
        ASSERT_NULL(image_unref(image));
        ASSERT_NULL(image_unref(NULL));
}

TEST(adopt_refuses_what_can_still_be_written) {
        Image *image;
        const char *error = NULL;
        uint64_t used;
        pid_t pid;

        ASSERT_OK(image_new(&image));
        pid = build_in_child(image, true, &used);
        ASSERT_EQ(image_adopt(image, used, &error), -EBUSY);
        ASSERT_STREQ(error, "a process that a module left behind still has it mapped for writing");
        ASSERT_NULL(image->header);

        ASSERT_OK(kill(pid, SIGKILL));
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        ASSERT_OK(image_adopt(image, used, &error));
        ASSERT_EQ(image_n_states(image), 3);
        image_unref(image);
}

TEST(adopt_refuses_wrong_sizes) {
        static const struct {
                uint64_t used;
                int64_t add; /* to what is right, if used is 0 */
                const char *error;
        } cases[] = {
                { 1, 0, "its size is out of range" },
                { sizeof(ImageHeader) - 1, 0, "its size is out of range" },
                { (uint64_t) IMAGE_SIZE_MAX + 1, 0, "its size is out of range" },
                { UINT64_MAX, 0, "its size is out of range" },
                { sizeof(ImageHeader), 0, "it was built for another address or size" },
                { IMAGE_SIZE_MAX, 0, "it was built for another address or size" },
                { 0, 8, "it was built for another address or size" },
                { 0, -8, "it was built for another address or size" },
        };

        FOREACH_ELEMENT(c, cases) {
                const char *error = NULL;
                uint64_t used;
                Image *image;

                ASSERT_OK(image_new(&image));
                (void) build_in_child(image, false, &used);
                ASSERT_EQ(image_adopt(image, c->used ?: used + (uint64_t) c->add, &error), -EBADMSG);
                ASSERT_STREQ(error, c->error);
                ASSERT_NULL(image->header);
                image_unref(image);
        }
}

/* Nothing was written at all: the loader lies. */
TEST(adopt_refuses_nothing) {
        const char *error = NULL;
        Image *image;

        ASSERT_OK(image_new(&image));
        ASSERT_EQ(image_adopt(image, 4096, &error), -EBADMSG);
        ASSERT_STREQ(error, "it does not begin as an image does");
        image_unref(image);
}

RUN_TESTS(RUN(a_good_image_is_valid), RUN(an_empty_image_is_valid), RUN(each_word_may_lie),
        RUN(what_is_refused), RUN(adopt_seals_and_maps), RUN(adopt_refuses_what_can_still_be_written),
        RUN(adopt_refuses_wrong_sizes), RUN(adopt_refuses_nothing))
