/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A good image with patches, each of six bytes: which word, and its new value, low byte first; a value with the top
 * bits 11 in the number of its word is added to what is there. What image_validate() accepts a run must get along with.
 */

#include <sys/mman.h>

#include "../../agentd/test-image.h"
#include "fake-pool.h"

static void run_over(Image *image, RunMode mode) {
        const RunOptions options = { .id = 1, .cause = "fuzz", .mode = mode, .max_changes = UINT64_MAX };
        sd_event *event = NULL;
        FakeRun fake = {};

        fuzz_check(sd_event_new(&event) >= 0);
        fuzz_check(run_new(event, image, &fake_pool, &options, &fake_run_handlers, &fake, &fake.run) == 0);
        fuzz_check(run_start(fake.run) == 0);
        fake_spin(event);
        fake_finish(event, &fake, image);
        run_free(fake.run);
        sd_event_unref(event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static uint8_t *base;
        static uint8_t *original;
        static size_t used;
        Image image;

        if (!base) {
                size_t page = (size_t) sysconf(_SC_PAGESIZE), mapped;
                uint8_t *map;
                Arena arena;

                log_set_max_level(LOG_EMERG);
                fuzz_check(arena_map(&arena, MIB(1), NULL) == 0);
                (void) arena_new(&arena, ImageHeader);
                test_image_build(&arena);
                used = arena.used;
                /* It ends where the last page that can be read ends. */
                mapped = ((used + page - 1) & ~(page - 1)) + page;
                map = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                fuzz_check(map != MAP_FAILED);
                fuzz_check(mprotect(map + mapped - page, page, PROT_NONE) == 0);
                base = map + mapped - page - used;
                original = malloc(used);
                fuzz_check(original);
                ((ImageHeader *) arena.base)->base = (uint64_t) (uintptr_t) base;
                memcpy(original, arena.base, used);
                arena_unmap(&arena);
        }

        memcpy(base, original, used);
        fuzz_check(!image_validate(base, used));
        for (size_t at = 0; at + 6 <= size; at += 6) {
                size_t word = (size_t) data[at] | (size_t) (data[at + 1] & 0x3f) << 8;
                uint32_t value, was;

                word %= used / 4;
                memcpy(&value, data + at + 2, 4);
                memcpy(&was, base + word * 4, 4);
                if (data[at + 1] >> 6 == 3)
                        value += was;
                memcpy(base + word * 4, &value, 4);
        }
        if (image_validate(base, used))
                return 0;

        image = (Image){ .n_ref = 1, .base = base, .header = (const ImageHeader *) base };
        fuzz_check(test_image_walk(&image));
        /* Arrays may overlap, so that few bytes say many nodes; that costs memory in proportion to the image, no more. */
        fuzz_check(image.header->nodes.n <= used / sizeof(ImageNode));
        run_over(&image, RUN_APPLY);
        run_over(&image, RUN_PLAN);
        fuzz_check(image.n_ref == 1);
        return 0;
}
