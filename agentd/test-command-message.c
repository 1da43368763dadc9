/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A command on its way to the engine and back, and what a module may ask for, with structs of today and of before. */

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "command-message.h"
#include "context.h"
#include "test-image.h"
#include "test.h"

static int fds[2] = { -EBADF, -EBADF };
static MessageWriter writer, answers;
static uint8_t datagram[MESSAGE_MAX];

static int setup(_unused_ void **state) {
        ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
        for (size_t i = 0; i < 2; i++)
                (void) setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &(int){ 4 * MESSAGE_MAX }, sizeof(int));
        ASSERT_OK(message_writer_init(&writer, fds[0]));
        ASSERT_OK(message_writer_init(&answers, fds[1]));
        return 0;
}

static int teardown(_unused_ void **state) {
        message_writer_done(&writer);
        message_writer_done(&answers);
        for (size_t i = 0; i < 2; i++)
                fds[i] = safe_close(fds[i]);
        return 0;
}

typedef struct Received {
        MessageReader reader;
        int fds[MESSAGE_FDS_MAX];
        size_t n_fds;
} Received;

static Received receive(int fd, MessageKind expected) {
        Received received = {};
        MessageKind kind;
        ssize_t n = message_receive(fd, datagram, sizeof(datagram), received.fds, &received.n_fds);

        ASSERT_TRUE(n > 0);
        received.reader = (MessageReader){ .data = datagram, .size = (size_t) n };
        ASSERT_EQ(message_next(&received.reader, &kind), 1);
        ASSERT_EQ(kind, expected);
        return received;
}

static void close_all(Received *received) {
        while (received->n_fds > 0)
                safe_close(received->fds[--received->n_fds]);
}

static const char *const argv[] = { "/bin/sh", "-c", "echo\n$x", "", NULL };

static const CommandSpec spec_simple = {
        .argv = argv,
        .input_fd = -EBADF,
        .output_fd = -EBADF,
        .timeout_usec = 7,
        .output_max = 123456,
        .umask = 0077,
        .flags = COMMAND_UMASK | COMMAND_QUIET,
};

TEST(a_command_arrives_as_it_was_sent) {
        static const AgentdMember members[] = {
                { .key = "PrivateTmp", .value = { .type = AGENTD_BOOLEAN, .boolean = true } },
        };
        const AgentdValue unit = { .type = AGENTD_TABLE, .n = 1, .members = members };
        _cleanup_(received_command_freep) ReceivedCommand *command = NULL;
        _cleanup_close_ int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CommandSpec spec = spec_simple;
        Received received;

        spec.input_fd = spec.output_fd = input;
        spec.environment = (const char *const[]){ "A=1", "B=", NULL };
        spec.user = "daemon";
        spec.directory = "/tmp";
        ASSERT_OK(command_message_send(&writer, 3, &spec, &unit));
        received = receive(fds[1], MESSAGE_COMMAND);
        ASSERT_EQ(received.n_fds, 2);
        ASSERT_TRUE(fcntl(received.fds[0], F_GETFD) & FD_CLOEXEC);
        ASSERT_OK(command_message_read(&received.reader, received.fds, received.n_fds, &command));
        ASSERT_EQ(command->state, 3);
        ASSERT_EQ(command->spec.timeout_usec, 7);
        ASSERT_EQ(command->spec.output_max, 123456);
        ASSERT_EQ(command->spec.umask, 0077);
        ASSERT_EQ(command->spec.flags, COMMAND_UMASK | COMMAND_QUIET);
        ASSERT_EQ(command->spec.input_fd, received.fds[0]);
        ASSERT_EQ(command->spec.output_fd, received.fds[1]);
        for (size_t i = 0; i < ELEMENTSOF(argv) - 1; i++)
                ASSERT_STREQ(command->spec.argv[i], argv[i]);
        ASSERT_NULL(command->spec.argv[4]);
        ASSERT_STREQ(command->spec.environment[1], "B=");
        ASSERT_NULL(command->spec.environment[2]);
        ASSERT_STREQ(command->spec.user, "daemon");
        ASSERT_NULL(command->spec.group);
        ASSERT_STREQ(command->spec.directory, "/tmp");
        ASSERT_TRUE(json_is_true(json_object_get(command->spec.unit, "PrivateTmp")));
        ASSERT_OK(command_spec_check(&command->spec));
        close_all(&received);
}

TEST(a_command_that_is_too_large_is_not_sent) {
        static char text[MESSAGE_MAX];
        CommandSpec spec = spec_simple;

        memset(text, 'x', sizeof(text) - 1);
        spec.argv = (const char *const[]){ "/bin/true", text, NULL };
        ASSERT_EQ(command_message_send(&writer, 0, &spec, NULL), -E2BIG);
        /* The next is not harmed. */
        ASSERT_OK(command_message_send(&writer, 0, &spec_simple, NULL));
}

/* A record whose parts are as they are asked for. */
typedef struct Bad {
        uint32_t which, n_argv;
        const char *text;
        size_t text_size;
        size_t n_fds;
        bool list;
} Bad;

TEST(commands_that_are_not_well_formed) {
        static const Bad bad[] = {
                { .which = 1, .n_argv = 1, .text = "/x", .text_size = 2 },             /* no descriptor */
                { .which = 0, .n_argv = 1, .text = "/x", .text_size = 2, .n_fds = 1 }, /* one too many */
                { .which = 3, .n_argv = 1, .text = "/x", .text_size = 2, .n_fds = 1 },
                { .which = 1, .n_argv = 1, .text = "/x", .text_size = 2, .n_fds = 2 },
                { .which = 4, .n_argv = 1, .text = "/x", .text_size = 2 },
                { .n_argv = 1, .text = "/\0x", .text_size = 3 },
                { .n_argv = UINT32_MAX, .text = "/x", .text_size = 2 },
                { .n_argv = COMMAND_ARGUMENTS_MAX + 1, .text = "/x", .text_size = 2 },
                { .n_argv = 100, .text = "/x", .text_size = 2 },
                { .n_argv = 1, .text = "/x", .text_size = 2, .list = true },
        };
        static const AgentdValue list = { .type = AGENTD_LIST };

        FOREACH_ELEMENT(b, bad) {
                ReceivedCommand *command = NULL;
                _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
                const int send[] = { null, null };
                Received received;

                message_begin(&writer, MESSAGE_COMMAND);
                for (size_t i = 0; i < 3; i++)
                        message_put_u32(&writer, 0);
                message_put_u64(&writer, 1);
                message_put_u64(&writer, 0);
                message_put_u32(&writer, b->which);
                message_put_u32(&writer, b->n_argv);
                message_put_text(&writer, b->text, b->text_size, MESSAGE_MAX);
                message_put_u32(&writer, 0);
                for (size_t i = 0; i < 3; i++)
                        message_put_string(&writer, "");
                message_put_value(&writer, b->list ? &list : NULL);
                ASSERT_OK(message_end(&writer));
                ASSERT_OK(message_flush_with(&writer, send, b->n_fds));
                received = receive(fds[1], MESSAGE_COMMAND);
                ASSERT_EQ(command_message_read(&received.reader, received.fds, received.n_fds, &command),
                        -EBADMSG);
                ASSERT_NULL(command);
                close_all(&received);
        }
}

TEST(results_of_all_sizes_arrive) {
        static const size_t sizes[] = { 0, 1, COMMAND_INLINE_MAX, COMMAND_INLINE_MAX + 1, MIB(3) };

        FOREACH_ELEMENT(output, sizes)
                FOREACH_ELEMENT(errors, sizes) {
                        _cleanup_(received_result_freep) ReceivedResult *result = NULL;
                        _cleanup_free_ char *a = malloc(*output + 1), *b = malloc(*errors + 1);
                        CommandResult sent = {
                                .end = AGENTD_COMMAND_KILLED,
                                .code = 11,
                                .status = 0x8b,
                                .output = a,
                                .output_size = *output,
                                .errors = b,
                                .errors_size = *errors,
                                .truncated = true,
                                .duration_usec = 5,
                                .cpu_usec = UINT64_MAX,
                                .memory_max_bytes = 6,
                                .explanation = "it was killed",
                        };
                        Received received;

                        memset(a, 0xff, *output);
                        memset(b, 0, *errors);
                        ASSERT_OK(command_result_send(&answers, 0, &sent));
                        received = receive(fds[0], MESSAGE_COMMAND_DONE);
                        ASSERT_OK(command_result_read(
                                &received.reader, received.fds, received.n_fds, &result));
                        ASSERT_EQ(result->error, 0);
                        ASSERT_EQ(result->result.end, AGENTD_COMMAND_KILLED);
                        ASSERT_EQ(result->result.code, 11);
                        ASSERT_EQ(result->result.status, 0x8b);
                        ASSERT_TRUE(result->result.truncated);
                        ASSERT_EQ(result->result.output_size, *output);
                        ASSERT_EQ(result->result.errors_size, *errors);
                        ASSERT_EQ(memcmp(result->result.output, a, *output), 0);
                        ASSERT_EQ(memcmp(result->result.errors, b, *errors), 0);
                        ASSERT_EQ(result->result.output[*output], 0);
                        ASSERT_STREQ(result->result.explanation, "it was killed");
                }
}

TEST(an_error_arrives_as_such) {
        _cleanup_(received_result_freep) ReceivedResult *result = NULL;
        Received received;

        ASSERT_OK(command_result_send(&answers, -EBUSY, NULL));
        received = receive(fds[0], MESSAGE_COMMAND_DONE);
        ASSERT_OK(command_result_read(&received.reader, received.fds, received.n_fds, &result));
        ASSERT_EQ(result->error, -EBUSY);
}

TEST(more_descriptors_than_there_may_be_are_closed) {
        _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE((MESSAGE_FDS_MAX + 3) * sizeof(int))];
        } control = {};
        struct msghdr message = {
                .msg_iov = &(struct iovec){ .iov_base = (char[8]){}, .iov_len = 8 },
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        int many[MESSAGE_FDS_MAX + 3], got[MESSAGE_FDS_MAX], lowest = dup(null);
        size_t n_got;

        safe_close(lowest);
        for (size_t i = 0; i < ELEMENTSOF(many); i++)
                many[i] = null;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(many));
        memcpy(CMSG_DATA(&control.header), many, sizeof(many));
        ASSERT_EQ(sendmsg(fds[0], &message, 0), 8);
        ASSERT_EQ(message_receive(fds[1], datagram, sizeof(datagram), got, &n_got), -EBADMSG);
        ASSERT_EQ(n_got, 0);
        got[0] = dup(null);
        ASSERT_EQ(got[0], lowest);
        safe_close(got[0]);
}

/* ---- agentd_run_command() ------------------------------------------------------------------------------------------ */

/* As the first header had them. */
typedef struct OldCommand {
        size_t size;
        const char *const *argv;
        const char *const *environment;
        const void *input;
        size_t input_size;
        uint64_t timeout_usec;
} OldCommand;

typedef struct OldResult {
        size_t size;
        int status;
        const char *output;
        size_t output_size;
        const char *errors;
        size_t errors_size;
} OldResult;

static void init_context(AgentdContext *context, Image *image, Arena *arena) {
        static const uint32_t states[] = { 1 };
        static bool finished[1];

        ASSERT_OK(arena_map(arena, KIB(256), NULL));
        (void) arena_alloc(arena, sizeof(ImageHeader));
        test_image_build(arena);
        *image = (Image){
                .n_ref = 1, .memfd = -EBADF, .base = arena->base, .header = (ImageHeader *) arena->base
        };
        *context = (AgentdContext){
                .image = image,
                .root_is_host = true,
                .phase = PHASE_APPLY,
                .n = 1,
                .states = states,
                .finished = finished,
        };
        ASSERT_OK(message_writer_init(&context->writer, fds[0]));
}

static void done_context(AgentdContext *context, Arena *arena) {
        context_free_command(context);
        message_writer_done(&context->writer);
        arena_unmap(arena);
}

TEST(a_module_of_the_first_header_is_understood) {
        static const char *const true_argv[] = { "/bin/true", NULL };
        const OldCommand command = {
                .size = sizeof(command), .argv = true_argv, .input = "in", .input_size = 2
        };
        struct {
                OldResult result;
                uint64_t canary;
        } old = { .result.size = sizeof(OldResult), .canary = 42 };
        _cleanup_(received_command_freep) ReceivedCommand *asked = NULL;
        AgentdContext context;
        Received received;
        char buffer[8];
        Arena arena;
        Image image;

        init_context(&context, &image, &arena);
        ASSERT_OK(command_result_send(&answers, 0,
                &(CommandResult){ .code = 3,
                        .status = 3 << 8,
                        .output = "out",
                        .output_size = 3,
                        .errors = "",
                        .explanation = "x" }));
        ASSERT_OK(agentd_run_command(
                &context, 0, (const AgentdCommand *) &command, (AgentdCommandResult *) &old.result));
        ASSERT_EQ(old.result.size, sizeof(OldResult));
        ASSERT_EQ(old.result.status, 3 << 8);
        ASSERT_STREQ(old.result.output, "out");
        ASSERT_STREQ(old.result.errors, "");
        ASSERT_EQ(old.canary, 42);

        received = receive(fds[1], MESSAGE_COMMAND);
        ASSERT_EQ(received.n_fds, 1);
        ASSERT_OK(command_message_read(&received.reader, received.fds, received.n_fds, &asked));
        ASSERT_EQ(asked->state, 1);
        ASSERT_EQ(asked->spec.timeout_usec, 0);
        ASSERT_EQ(asked->spec.flags, 0);
        ASSERT_EQ(read(received.fds[0], buffer, sizeof(buffer)), 2);
        close_all(&received);
        done_context(&context, &arena);
}

TEST(what_a_module_may_not_ask_for) {
        static const char *const true_argv[] = { "/bin/true", NULL }, *const relative[] = { "true", NULL };
        static const AgentdValue list = { .type = AGENTD_LIST };
        const AgentdCommand good = { .size = sizeof(good), .argv = true_argv };
        AgentdCommand bad[] = { good, good, good, good, good, good, good, good, good };
        struct {
                AgentdCommand command;
                uint64_t more;
        } newer = { .command = good, .more = 1 };
        AgentdCommandResult result = { .size = sizeof(result) };
        AgentdContext context;
        Arena arena;
        Image image;

        init_context(&context, &image, &arena);
        bad[0].size = 8;
        bad[1].argv = NULL;
        bad[2].argv = relative;
        bad[3].flags = 1u << 31;
        bad[4].input_size = 1;
        bad[5].flags = AGENTD_COMMAND_INPUT_FD;
        bad[5].input_fd = -1;
        bad[6].flags = AGENTD_COMMAND_OUTPUT_FD;
        bad[6].output_fd = -1;
        bad[7].unit = &list;
        bad[8].flags = AGENTD_COMMAND_UMASK;
        bad[8].umask = 07777;
        FOREACH_ELEMENT(command, bad)
                ASSERT_EQ(agentd_run_command(&context, 0, command, &result), -EINVAL);
        newer.command.size = sizeof(newer);
        ASSERT_EQ(agentd_run_command(&context, 0, &newer.command, &result), -EINVAL);
        ASSERT_EQ(agentd_run_command(&context, 1, &good, &result), -EINVAL);
        ASSERT_EQ(agentd_run_command(&context, 0, &good, NULL), -EINVAL);
        ASSERT_EQ(agentd_run_command(&context, 0, &good, &(AgentdCommandResult){ .size = 8 }), -EINVAL);

        /* What is behind the struct of today is fine if nothing is asked for there. */
        newer.more = 0;
        ASSERT_OK(command_result_send(&answers, -EBUSY, NULL));
        ASSERT_EQ(agentd_run_command(&context, 0, &newer.command, &result), -EBUSY);
        done_context(&context, &arena);
}

TEST(what_is_not_there_is_told_without_asking) {
        static const char *const nope[] = { "/nonexistent/program", NULL };
        const AgentdCommand command = { .size = sizeof(command), .argv = nope };
        AgentdCommandResult result = { .size = sizeof(result) };
        AgentdContext context;
        Arena arena;
        Image image;

        init_context(&context, &image, &arena);
        ASSERT_OK(agentd_run_command(&context, 0, &command, &result));
        ASSERT_EQ(result.end, AGENTD_COMMAND_NOT_RUN);
        ASSERT_EQ(result.code, ENOENT);
        ASSERT_STREQ(result.explanation,
                "'/nonexistent/program' could not be executed: No such file or directory");
        ASSERT_STREQ(result.output, "");
        done_context(&context, &arena);
}

#define RUN_IT(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_IT(a_command_arrives_as_it_was_sent), RUN_IT(a_command_that_is_too_large_is_not_sent),
        RUN_IT(commands_that_are_not_well_formed), RUN_IT(results_of_all_sizes_arrive),
        RUN_IT(an_error_arrives_as_such), RUN_IT(more_descriptors_than_there_may_be_are_closed),
        RUN_IT(a_module_of_the_first_header_is_understood), RUN_IT(what_a_module_may_not_ask_for),
        RUN_IT(what_is_not_there_is_told_without_asking))
