/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Programs that modules run while they apply: the engine runs them, and the worker waits. */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "command-message.h"
#include "context.h"

void context_free_command(AgentdContext *context) {
        context->command_result = received_result_free(context->command_result);
}

/* ---- What can be seen from here ------------------------------------------------------------------------------------ */

/* The result of a command that was not even tried. */
_printf_(3, 4) static int not_run(AgentdContext *context, int error, const char *format, ...) {
        ReceivedResult *received = calloc(1, sizeof(*received));
        va_list args;

        if (!received)
                return -ENOMEM;
        va_start(args, format);
        if (vasprintf(&received->explanation, format, args) < 0)
                received->explanation = NULL;
        va_end(args);
        received->result = (CommandResult){
                .end = AGENTD_COMMAND_NOT_RUN,
                .code = error,
                .cpu_usec = UINT64_MAX,
                .memory_max_bytes = UINT64_MAX,
                .output = "",
                .errors = "",
                .explanation = received->explanation ?: "out of memory",
        };
        context->command_result = received;
        return 1;
}

/*
 * systemd says of a program that it cannot execute only that. What can be told is told here, where looking may take as long as it
 * likes. Return: 1 and a result; 0: nothing is wrong; -errno.
 */
static int look_first(AgentdContext *context, const AgentdCommand *command) {
        const char *program = command->argv[0];
        struct stat st;
        uid_t uid;
        gid_t gid;

        /* Properties may give it other paths and users than there are here; in another root the child looks itself. */
        if (!context->root_is_host || (command->unit && command->unit->n > 0))
                return 0;
        if (stat(program, &st) < 0)
                return not_run(context, errno, "'%s' could not be executed: %s", program, strerror(errno));
        if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
                return not_run(context, EACCES, "'%s' could not be executed: it is %s", program,
                        S_ISDIR(st.st_mode) ? "a directory" : "not a program");
        if (command->directory && stat(command->directory, &st) < 0)
                return not_run(context, errno, "'%s' could not be executed: directory '%s': %s", program,
                        command->directory, strerror(errno));
        if (command->directory && !S_ISDIR(st.st_mode))
                return not_run(context, ENOTDIR, "'%s' could not be executed: '%s' is not a directory",
                        program, command->directory);
        if (command->user && agentd_user_id(context, command->user, &uid) == -ESRCH)
                return not_run(context, ESRCH, "'%s' could not be executed: there is no user '%s'", program,
                        command->user);
        if (command->group && agentd_group_id(context, command->group, &gid) == -ESRCH)
                return not_run(context, ESRCH, "'%s' could not be executed: there is no group '%s'", program,
                        command->group);
        return 0;
}

/* The reason why a script that is there and may be executed could not be: 1 if it was found. */
static int look_for_interpreter(AgentdContext *context, const AgentdCommand *command) {
        _cleanup_close_ int fd = open(command->argv[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        char line[256], *interpreter;
        ssize_t n;

        if (fd < 0)
                return 0;
        n = read(fd, line, sizeof(line) - 1);
        if (n < 3 || line[0] != '#' || line[1] != '!')
                return 0;
        line[n] = 0;
        interpreter = line + 2 + strspn(line + 2, " \t");
        interpreter[strcspn(interpreter, " \t\r\n")] = 0;
        if (*interpreter == 0 || access(interpreter, X_OK) >= 0)
                return 0;
        n = errno;
        context_free_command(context);
        return not_run(context, (int) n, "'%s' could not be executed: its interpreter '%s': %s",
                command->argv[0], interpreter, strerror((int) n));
}

/* ---- What the engine is asked -------------------------------------------------------------------------------------- */

static int make_input(const AgentdCommand *command, int *ret) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (command->input_size == 0)
                return 0;
        fd = memfd_create("command-input", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = write_full(fd, command->input, command->input_size);
        if (r < 0)
                return r;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

/* Names as the managed root has them: who runs the program cannot look there. */
static int resolve(AgentdContext *context, const AgentdCommand *command, CommandSpec *spec, char *user,
        char *group, size_t size) {
        uid_t uid;
        gid_t gid;
        int r;

        if (context->root_is_host)
                return 0;
        if (command->user) {
                r = agentd_user_id(context, command->user, &uid);
                if (r < 0)
                        return r == -ESRCH ? not_run(context, ESRCH,
                                                     "'%s' could not be executed: there is no user '%s'",
                                                     command->argv[0], command->user)
                                           : r;
                (void) snprintf(user, size, "%u", (unsigned) uid);
                spec->user = user;
        }
        if (command->group) {
                r = agentd_group_id(context, command->group, &gid);
                if (r < 0)
                        return r == -ESRCH ? not_run(context, ESRCH,
                                                     "'%s' could not be executed: there is no group '%s'",
                                                     command->argv[0], command->group)
                                           : r;
                (void) snprintf(group, size, "%u", (unsigned) gid);
                spec->group = group;
        }
        return 0;
}

/* Waits for the answer: nothing else comes before the batch has ended. */
static int receive(AgentdContext *context) {
        _cleanup_free_ uint8_t *buffer = malloc(MESSAGE_MAX);
        MessageReader reader;
        MessageKind kind;
        int fds[MESSAGE_FDS_MAX], r;
        size_t n_fds;
        ssize_t n;

        if (!buffer)
                return -ENOMEM;
        do
                n = message_receive(context->writer.fd, buffer, MESSAGE_MAX, fds, &n_fds);
        while (n == -EINTR);
        if (n <= 0) /* the engine is gone, or this worker is to go */
                _exit(EXIT_FAILURE);
        reader = (MessageReader){ .data = buffer, .size = (size_t) n };
        r = message_next(&reader, &kind);
        if (r <= 0 || kind != MESSAGE_COMMAND_DONE)
                _exit(EXIT_FAILURE);
        return command_result_read(&reader, fds, n_fds, &context->command_result);
}

/* It was run all the same, and the status is its own. */
static int take_for_run(AgentdContext *context) {
        ReceivedResult *received = context->command_result;
        CommandResult *result = &received->result;

        free(received->explanation);
        if (asprintf(&received->explanation, "it exited with status %d", WEXITSTATUS(result->status)) < 0)
                received->explanation = NULL;
        result->end = AGENTD_COMMAND_EXITED;
        result->code = WEXITSTATUS(result->status);
        result->explanation = received->explanation ?: "out of memory";
        return 0;
}

/* systemd says that it could not start it: the reason, where we can find it. */
static int look_again(AgentdContext *context, const AgentdCommand *command) {
        int r;

        if (context->command_result->result.code == ENOEXEC) {
                r = look_for_interpreter(context, command);
                if (r != 0)
                        return r;
        }
        /* Properties may give it other users, paths and limits than a child of ours has. */
        if (context->command_result->result.status != 0 && (!command->unit || command->unit->n == 0) &&
                context_can_execute(context, command))
                return take_for_run(context);
        return 0;
}

static int ask_engine(AgentdContext *context, size_t i, const AgentdCommand *command) {
        _cleanup_close_ int input = -EBADF;
        char user[16], group[16];
        CommandSpec spec = {
                .argv = command->argv,
                .environment = command->environment,
                .input_fd = command->input_fd,
                .output_fd = command->output_fd,
                .output_max = command->output_max,
                .timeout_usec = command->timeout_usec,
                .user = command->user,
                .group = command->group,
                .umask = command->umask,
                .directory = command->directory,
                .flags = (command->flags & AGENTD_COMMAND_SECRET ? COMMAND_SECRET : 0) |
                         (command->flags & AGENTD_COMMAND_QUIET ? COMMAND_QUIET : 0) |
                         (command->flags & AGENTD_COMMAND_UMASK ? COMMAND_UMASK : 0),
        };
        int r;

        if (image_state(context->image, context->states[i])->flags & IMAGE_STATE_SENSITIVE)
                spec.flags |= COMMAND_SECRET;
        r = look_first(context, command);
        if (r == 0)
                r = resolve(context, command, &spec, user, group, sizeof(user));
        if (r != 0)
                return r;
        if (!(command->flags & AGENTD_COMMAND_INPUT_FD)) {
                r = make_input(command, &input);
                if (r < 0)
                        return r;
                spec.input_fd = input;
        }
        r = command_message_send(&context->writer, context->states[i], &spec, command->unit);
        if (r < 0)
                return r;
        r = receive(context);
        if (r < 0)
                return r;
        if (context->command_result->error < 0)
                return context->command_result->error;
        if (context->root_is_host && context->command_result->result.end == AGENTD_COMMAND_NOT_RUN)
                return look_again(context, command);
        return 0;
}

int context_run_in_unit(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret) {
        const CommandResult *result;
        int r;

        context_free_command(context);
        r = ask_engine(context, i, command);
        if (r < 0)
                return r;
        result = &context->command_result->result;
        *ret = (AgentdCommandResult){
                .size = sizeof(*ret),
                .status = result->end == AGENTD_COMMAND_NOT_RUN ? 0 : result->status,
                .output = result->output,
                .output_size = result->output_size,
                .errors = result->errors,
                .errors_size = result->errors_size,
                .end = result->end,
                .code = result->code,
                .truncated = result->truncated,
                .duration_usec = result->duration_usec,
                .cpu_usec = result->cpu_usec,
                .memory_max_bytes = result->memory_max_bytes,
                .explanation = result->explanation,
        };
        return 0;
}
