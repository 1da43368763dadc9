/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a worker says, as a run takes it. The first byte is the mode of the run: 1 plan, 2 with diffs. Then steps, each
 * of three bytes: what it is (low four bits) and for which batch (high four); a size, low byte first, of what follows.
 */

#include "../../agentd/test-image.h"
#include "fake-pool.h"
#include "identity.h"

/* Each record by itself, with fields of all kinds in whatever order. */
static void read_fields(const uint8_t *data, size_t size) {
        static const char orders[][8] = { "uuUs", "usvvj", "vvvv", "tttt", "jjUu", "svsv", "UUUU" };

        FOREACH_ELEMENT(order, orders) {
                MessageReader reader = { .data = data, .size = size };
                MessageKind kind;

                while (message_next(&reader, &kind) > 0) {
                        fuzz_check(kind > 0 && kind < _MESSAGE_KIND_MAX);
                        for (const char *f = *order; *f; f++) {
                                bool was_bad = reader.bad;
                                _cleanup_free_ char *string = NULL;
                                json_t *json = NULL;
                                size_t n = 0;

                                switch (*f) {
                                case 'u': (void) message_get_u32(&reader); break;
                                case 'U': (void) message_get_u64(&reader); break;
                                case 't': {
                                        const char *text = message_get_text(&reader, &n);

                                        fuzz_check(!text == reader.bad);
                                        fuzz_check(n <= size);
                                        break;
                                }
                                case 's':
                                        string = message_get_string(&reader);
                                        fuzz_check(!string == reader.bad);
                                        fuzz_check(!string || utf8_is_valid(string, strlen(string)));
                                        fuzz_check(!string || !strpbrk(string, "\r\n\t"));
                                        break;
                                case 'j':
                                        json = message_get_text_json(&reader);
                                        fuzz_check(!json == reader.bad);
                                        break;
                                default:
                                        json = message_get_value(&reader);
                                        fuzz_check(!json == reader.bad);
                                        break;
                                }
                                if (json) {
                                        _cleanup_free_ char *dump =
                                                json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

                                        fuzz_check(dump);
                                }
                                json_decref(json);
                                fuzz_check(!was_bad || reader.bad);
                                fuzz_check(reader.position <= reader.end && reader.end <= size);
                        }
                }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static Arena arena;
        static Image image;
        RunOptions options = { .id = 1, .cause = "fuzz", .max_changes = UINT64_MAX };
        sd_event *event = NULL;
        FakeRun fake = {};

        if (!arena.base) {
                log_set_max_level(LOG_EMERG);
                fuzz_check(arena_map(&arena, MIB(1), NULL) == 0);
                (void) arena_new(&arena, ImageHeader);
                test_image_build(&arena);
                fuzz_check(!image_validate(arena.base, arena.used));
                image = (Image){ .n_ref = 1, .base = arena.base, .header = (ImageHeader *) arena.base };
                fuzz_check(identity_table_new(image_n_states(&image), NULL, &image.identities) == 0);
        }
        if (size == 0)
                return 0;

        options.mode = data[0] & 1 ? RUN_PLAN : RUN_APPLY;
        options.diff = data[0] & 2;
        fuzz_check(sd_event_new(&event) >= 0);
        fuzz_check(run_new(event, &image, &fake_pool, &options, &fake_run_handlers, &fake, &fake.run) == 0);
        fuzz_check(run_start(fake.run) == 0);
        fake_spin(event);

        for (size_t at = 1; at + 3 <= size;) {
                size_t i = (data[at] >> 4) % FAKE_BATCHES;
                size_t n = MIN((size_t) data[at + 1] | (size_t) data[at + 2] << 8, size - at - 3);
                /* Exactly as large as it is, so that a sanitizer sees reads beyond it. */
                _cleanup_free_ uint8_t *copy = malloc(MAX(n, (size_t) 1));

                memcpy(copy, data + at + 3, n);
                switch (data[at] & 15) {
                case 0: read_fields(copy, n); break;
                case 1:
                        fake_lose(i, n > 0 ? copy[0] % (WORKER_LOSS_NOT_STARTED + 1) : WORKER_LOSS_DIED);
                        break;
                case 2:
                        if (fake_pool.batches[i])
                                fake_pool.batches[i]->handlers->on_slow(
                                        fake_pool.batches[i]->userdata, fake_pool.batches[i]);
                        break;
                case 4: run_stop(fake.run); break;
                default:
                        if (fake_datagram(i, copy, n) < 0)
                                fake_lose(i, WORKER_LOSS_DIED);
                        break;
                }
                at += 3 + n;
                fake_spin(event);
                if (run_is_interrupted(fake.run))
                        break;
        }

        /* Where it was stopped, states may be without result; else all have one in the end. */
        if (!run_is_interrupted(fake.run)) {
                bool stopped = false;

                for (size_t at = 1; at + 3 <= size;
                        at += 3 + ((size_t) data[at + 1] | (size_t) data[at + 2] << 8))
                        stopped = stopped || (data[at] & 15) == 4;
                if (!stopped)
                        fake_finish(event, &fake, &image);
        }
        for (size_t i = 0; i < FAKE_BATCHES; i++)
                fake_pool.batches[i] = NULL; /* the run frees what is under way */
        fake.run = run_free(fake.run);
        fuzz_check(image.n_ref == 1);
        sd_event_unref(event);
        return 0;
}
