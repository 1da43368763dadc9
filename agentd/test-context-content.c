/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a module says of old values, and what the engine hears of it. */

#include <ftw.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "context.h"
#include "test-image.h"
#include "test.h"

/* In the image: file:/a shows all, file:/a/b is sensitive. */
#define SHOWN     0
#define SENSITIVE 1

typedef struct Fixture {
        char directory[64];
        int fds[2];
        Arena arena;
        Image image;
        WorkerPoolOptions options;
        AgentdContext context;
        bool finished[2];
        uint32_t differences[2];
        size_t bytes[2];
        char log[1024];
} Fixture;

static const uint32_t states[] = { SHOWN, SENSITIVE };

static void begin(Fixture *f, Phase phase) {
        memset(f->finished, 0, sizeof(f->finished));
        memset(f->differences, 0, sizeof(f->differences));
        context_begin(&f->context, phase, 0, states, 2, f->finished, f->differences, f->bytes);
}

static void fixture_init(Fixture *f, WorkerKind kind, bool keeps) {
        WorkerSetup setup = { .kind = kind, .image = &f->image, .options = &f->options };
        ImageHeader *header;

        *f = (Fixture){ .options.root = "/" };
        (void) snprintf(f->directory, sizeof(f->directory), "/tmp/test-context-XXXXXX");
        ASSERT_NOT_NULL(mkdtemp(f->directory));
        ASSERT_OK(arena_map(&f->arena, MIB(1), NULL));
        header = arena_new(&f->arena, ImageHeader);
        test_image_build(&f->arena);
        ((ImageState *) (f->arena.base + header->states.offset))[SENSITIVE].flags |= IMAGE_STATE_SENSITIVE;
        header->settings.store_content_file_bytes = KIB(100);
        f->image = (Image){ .n_ref = 1, .base = f->arena.base, .header = header };
        ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, f->fds));
        setup.fd = f->fds[0];
        f->options.content_directory = keeps ? f->directory : NULL;
        ASSERT_OK(context_init(&f->context, &setup, -EBADF));
        begin(f, PHASE_APPLY);
}

static int remove_one(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static void fixture_done(Fixture *f) {
        context_done(&f->context);
        safe_close(f->fds[0]);
        safe_close(f->fds[1]);
        arena_unmap(&f->arena);
        ASSERT_OK(nftw(f->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS));
}

/* The undo data that were sent, as an array; what was logged is in f->log. */
static json_t *heard(Fixture *f) {
        static uint8_t buffer[MESSAGE_MAX];
        json_t *list = json_array();

        *f->log = 0;
        ASSERT_OK(message_flush(&f->context.writer));
        for (;;) {
                ssize_t n = recv(f->fds[1], buffer, sizeof(buffer), MSG_DONTWAIT);
                MessageReader reader = { .data = buffer, .size = n > 0 ? (size_t) n : 0 };
                MessageKind kind;

                if (n <= 0)
                        return list;
                while (message_next(&reader, &kind) > 0) {
                        _cleanup_free_ char *text = NULL;
                        uint32_t first = message_get_u32(&reader);

                        text = message_get_string(&reader);
                        ASSERT_NOT_NULL(text);
                        if (kind == MESSAGE_UNDO)
                                (void) json_array_append_new(list, json_pack("[i, s, o]", (int) first, text,
                                                                           message_get_value(&reader)));
                        else if (kind == MESSAGE_LOG)
                                (void) snprintf(f->log, sizeof(f->log), "%s", text);
                        ASSERT_FALSE(reader.bad);
                }
        }
}

static void expect(Fixture *f, const char *expected) {
        json_t *list = heard(f);
        _cleanup_free_ char *text = json_dumps(list, JSON_COMPACT);

        ASSERT_STREQ(text, expected);
        json_decref(list);
}

static int gather(void *userdata, const void *data, size_t size) {
        char *text = userdata;

        ASSERT_TRUE(strlen(text) + size < KIB(4));
        (void) strncat(text, data, size);
        return 0;
}

/* The only record that was sent: checks what it says, and what it leads to. */
static void expect_stored(Fixture *f, uint32_t state, size_t size, const char *content, bool json) {
        json_t *list = heard(f), *item = json_array_get(list, 0), *old = json_array_get(item, 2);
        const char *stored = json_string_value(json_object_get(old, "stored")), *why = NULL;
        char text[KIB(4)] = "";

        ASSERT_EQ(json_array_size(list), 1);
        ASSERT_EQ(json_integer_value(json_array_get(item, 0)), state);
        ASSERT_NOT_NULL(stored);
        ASSERT_EQ(json_integer_value(json_object_get(old, "size")), size);
        ASSERT_EQ(json_is_true(json_object_get(old, "sealed")), state == SENSITIVE);
        ASSERT_EQ(json_is_true(json_object_get(old, "json")), json);
        ASSERT_EQ(json_object_size(old), 2u + (state == SENSITIVE) + json);
        ASSERT_OK(content_get(f->context.content, stored, gather, text, NULL, &why));
        ASSERT_STREQ(text, content);
        json_decref(list);
}

static AgentdValue text_value(const char *text) {
        return (AgentdValue){ .type = AGENTD_STRING, .string = text, .size = strlen(text) };
}

TEST(small_values_are_part_of_the_result) {
        AgentdValue text = text_value("old"), number = { .type = AGENTD_INTEGER, .integer = 420 };
        Fixture f;

        fixture_init(&f, WORKER_APPLY, true);
        agentd_undo(&f.context, 0, "target", &text);
        agentd_undo(&f.context, 0, "mode", &number);
        agentd_undo(&f.context, 0, "none", NULL);
        expect(&f, "[[0,\"target\",\"old\"],[0,\"mode\",420],[0,\"none\",null]]");
        ASSERT_NULL(f.context.content); /* nothing was touched for that */
        fixture_done(&f);
}

TEST(large_texts_lie_apart) {
        char big[1026];
        AgentdValue text;
        Fixture f;

        fixture_init(&f, WORKER_APPLY, true);
        memset(big, 'b', sizeof(big));
        big[1025] = 0;
        text = text_value(big);
        agentd_undo(&f.context, 0, "content", &text);
        expect_stored(&f, SHOWN, 1025, big, false);
        agentd_keep(&f.context, 0, "content", "small", 5);
        expect_stored(&f, SHOWN, 5, "small", false);
        agentd_keep(&f.context, 0, "content", NULL, 0);
        expect_stored(&f, SHOWN, 0, "", false);
        fixture_done(&f);
}

TEST(all_of_a_sensitive_state_is_sealed) {
        const AgentdValue items[] = { { .type = AGENTD_BOOLEAN, .boolean = true }, text_value("a") };
        const AgentdMember members[] = { { "key", { .type = AGENTD_FLOAT, .real = 0.5 } } };
        static const AgentdValue none = {};
        const struct {
                AgentdValue value;
                const char *content;
                bool json;
        } cases[] = {
                { text_value("swordfish"), "swordfish", false },
                { { .type = AGENTD_INTEGER, .integer = 384 }, "384", true },
                { { .type = AGENTD_BOOLEAN, .boolean = false }, "false", true },
                { { .type = AGENTD_LIST, .n = 2, .items = items }, "[true,\"a\"]", true },
                { { .type = AGENTD_TABLE, .n = 1, .members = members }, "{\"key\":0.5}", true },
        };
        Fixture f;

        fixture_init(&f, WORKER_APPLY, true);
        FOREACH_ELEMENT(c, cases) {
                agentd_undo(&f.context, 1, "what", &c->value);
                expect_stored(&f, SENSITIVE, strlen(c->content), c->content, c->json);
        }
        agentd_keep(&f.context, 1, "content", "hunter2", 7);
        expect_stored(&f, SENSITIVE, 7, "hunter2", false);
        agentd_undo(&f.context, 1, "what", NULL);
        agentd_undo(&f.context, 1, "what", &none);
        expect(&f, "[[1,\"what\",null],[1,\"what\",null]]");
        fixture_done(&f);
}

TEST(what_cannot_be_kept_is_noted) {
        AgentdValue secret = text_value("swordfish");
        char path[128];
        Fixture f;
        int fd;

        fixture_init(&f, WORKER_APPLY, true);
        fd = memfd_create("large", MFD_CLOEXEC);
        ASSERT_OK(ftruncate(fd, 200000));
        agentd_keep_file(&f.context, 0, "content", fd);
        expect(&f, "[[0,\"content\",{\"kept\":false,\"size\":200000}]]");
        ASSERT_STREQ(f.log, "The old content of file:/a is not kept: it is larger than 102400 bytes, see "
                            "store.content_file in agentd.toml(5)");

        /* Something else is where the key should be. */
        (void) snprintf(path, sizeof(path), "%s/content.key", f.directory);
        ASSERT_OK(mkdir(path, 0700));
        agentd_undo(&f.context, 1, "password", &secret);
        expect(&f, "[[1,\"password\",{\"kept\":false,\"size\":9}]]");
        ASSERT_NOT_NULL(strstr(f.log, "content.key' is damaged"));
        ASSERT_NULL(strstr(f.log, "swordfish"));
        ASSERT_OK(rmdir(path));

        /* Somebody removes the directory, while it is open. */
        (void) snprintf(path, sizeof(path), "%s/content", f.directory);
        ASSERT_OK(rmdir(path));
        agentd_keep(&f.context, 0, "content", "x", 1);
        expect_stored(&f, SHOWN, 1, "x", false);

        agentd_keep_file(&f.context, 0, "content", -EBADF);
        expect(&f, "[]");
        safe_close(fd);
        fixture_done(&f);
}

TEST(nothing_is_kept_where_it_should_not) {
        AgentdValue secret = text_value("swordfish");
        Fixture f;

        /* In a single run. */
        fixture_init(&f, WORKER_APPLY, false);
        agentd_keep(&f.context, 0, "content", "x", 1);
        agentd_undo(&f.context, 1, "password", &secret);
        expect(&f, "[[0,\"content\",{\"kept\":false,\"size\":1}],[1,\"password\",{\"kept\":false,\"size\":9}"
                   "]]");
        ASSERT_STREQ(f.log, "");
        fixture_done(&f);

        /* The host says so. */
        fixture_init(&f, WORKER_APPLY, true);
        ((ImageHeader *) f.arena.base)->settings.store_content_bytes = 0;
        agentd_keep(&f.context, 0, "content", "x", 1);
        expect(&f, "[[0,\"content\",{\"kept\":false,\"size\":1}]]");
        ASSERT_NULL(f.context.content);

        /* Not while it applies; finished already; of no state. */
        agentd_keep(&f.context, 2, "content", "x", 1);
        agentd_done(&f.context, 0);
        agentd_keep(&f.context, 0, "content", "x", 1);
        agentd_undo(&f.context, 0, "content", NULL);
        begin(&f, PHASE_CHECK);
        agentd_keep(&f.context, 0, "content", "x", 1);
        agentd_undo(&f.context, 1, "password", &secret);
        expect(&f, "[]");
        fixture_done(&f);

        fixture_init(&f, WORKER_CHECK, true);
        agentd_keep(&f.context, 0, "content", "x", 1);
        expect(&f, "[[0,\"content\",{\"kept\":false,\"size\":1}]]");
        fixture_done(&f);
}

TEST(checksums_of_modules) {
        Fixture f;
        int fd = memfd_create("abc", MFD_CLOEXEC);

        fixture_init(&f, WORKER_CHECK, false);
        ASSERT_OK(write_full(fd, "abc", 3));
        ASSERT_EQ(agentd_has_checksum(&f.context, fd,
                          "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
                1);
        ASSERT_EQ(agentd_has_checksum(&f.context, fd,
                          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae"),
                0);
        ASSERT_EQ(agentd_has_checksum(&f.context, fd, "md5:1"), -EINVAL);
        ASSERT_EQ(agentd_has_checksum(&f.context, fd, NULL), -EINVAL);
        ASSERT_EQ(agentd_has_checksum(&f.context, -EBADF,
                          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae"),
                -EBADF);
        safe_close(fd);
        fixture_done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN(small_values_are_part_of_the_result),
                RUN(large_texts_lie_apart),
                RUN(all_of_a_sensitive_state_is_sealed),
                RUN(what_cannot_be_kept_is_noted),
                RUN(nothing_is_kept_where_it_should_not),
                RUN(checksums_of_modules),
        };

        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
