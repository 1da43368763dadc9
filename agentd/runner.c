/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The worker's side of the runner: forks it, asks it, and passes on what commands read and write. */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runner-internal.h"

/* Of arguments, environment and directory together; what execve(2) takes is of this order. */
#define STRINGS_MAX MIB(2)

/* What is kept of a stream unless the caller says otherwise. */
#define OUTPUT_MAX MIB(1)

struct Runner {
        pid_t pid;
        bool own_ids; /* what dies with it: all that it has started */
        int fd;
        char step[RUNNER_STEP_MAX]; /* that failed */
};

int runner_new(const SandboxOptions *sandbox, const char *root, Runner **ret) {
        _cleanup_(runner_freep) Runner *runner = NULL;
        _cleanup_close_ int theirs = -EBADF;
        long flags = SIGCHLD | (sandbox ? CLONE_NEWPID : 0);
        int fds[2];
        long pid;

        runner = malloc(sizeof(*runner));
        if (!runner)
                return -ENOMEM;
        *runner = (Runner){ .fd = -EBADF };
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        runner->fd = fds[0];
        theirs = fds[1];

        /* fork() with a flag: not unshare(2), after which all further children of the worker had such ids. */
        pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
        if (pid < 0 && sandbox && (errno == EINVAL || errno == EPERM || errno == ENOSPC)) {
                flags &= ~CLONE_NEWPID;
                pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
        }
        if (pid < 0)
                return -errno;
        if (pid == 0)
                runner_main(theirs, sandbox, root, flags & CLONE_NEWPID);
        runner->pid = (pid_t) pid;
        runner->own_ids = flags & CLONE_NEWPID;

        *ret = TAKE_PTR(runner);
        return 0;
}

Runner *runner_free(Runner *runner) {
        if (!runner)
                return NULL;
        safe_close(runner->fd);
        if (runner->pid > 0) {
                /* Otherwise it ends its commands, and then itself, as the socket is closed. */
                if (runner->own_ids)
                        (void) kill(runner->pid, SIGKILL);
                while (waitpid(runner->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        free(runner);
        return NULL;
}

void runner_result_done(RunnerResult *result) {
        free(result->output);
        free(result->errors);
        *result = (RunnerResult){};
}

/* ---- Asking ---------------------------------------------------------------------------------------------------- */

typedef struct Strings {
        char *text;
        size_t size;
        uint32_t n;
} Strings;

static int add_string(Strings *strings, const char *string) {
        size_t size = strlen(string) + 1;

        if (size > STRINGS_MAX - strings->size)
                return -E2BIG;
        memcpy(strings->text + strings->size, string, size);
        strings->size += size;
        strings->n++;
        return 0;
}

static bool has_variable(const char *const *environment, const char *assignment) {
        size_t n = strcspn(assignment, "=") + 1;

        for (; environment && *environment; environment++)
                if (strncmp(*environment, assignment, n) == 0)
                        return true;
        return false;
}

static int add_strings(Strings *strings, const AgentdCommand *command, RunnerRequest *request) {
        static const char *const defaults[] = {
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
        };
        int r = 0;

        for (const char *const *a = command->argv; *a && r == 0; a++)
                r = add_string(strings, *a);
        request->n_arguments = strings->n;
        FOREACH_ELEMENT(d, defaults)
                if (r == 0 && !has_variable(command->environment, *d))
                        r = add_string(strings, *d);
        for (const char *const *e = command->environment; e && *e && r == 0; e++)
                r = add_string(strings, *e);
        request->n_variables = strings->n - request->n_arguments;
        if (r == 0)
                r = add_string(strings, command->directory ?: "/");
        request->strings_size = (uint32_t) strings->size;
        return r;
}

static int send_request(
        Runner *runner, const RunnerRequest *request, const Strings *strings, const int fds[static 3]) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(3 * sizeof(int))];
        } control = {};
        struct iovec part = { .iov_base = (void *) request, .iov_len = sizeof(*request) };
        struct msghdr message = {
                .msg_iov = &part,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        ssize_t n;

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(3 * sizeof(int));
        memcpy(CMSG_DATA(c), fds, 3 * sizeof(int));
        do
                n = sendmsg(runner->fd, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return n == sizeof(*request) ? write_full(runner->fd, strings->text, strings->size) : -EIO;
}

/* ---- What it reads and writes ---------------------------------------------------------------------------------- */

typedef struct Stream {
        int fd; /* -EBADF: ended */
        char *text;
        size_t size, allocated, max;
        bool truncated;
} Stream;

static int keep_bytes(Stream *stream, const char *bytes, size_t n) {
        if (n > stream->max - stream->size) {
                stream->truncated = true;
                n = stream->max - stream->size;
        }
        if (stream->size + n + 1 > stream->allocated) {
                size_t wanted = MAX(2 * stream->allocated, stream->size + n + 1);
                char *text;

                wanted = MIN(wanted, stream->max + 1);
                text = realloc(stream->text, wanted);
                if (!text)
                        return -ENOMEM;
                stream->text = text;
                stream->allocated = wanted;
        }
        memcpy(stream->text + stream->size, bytes, n);
        stream->size += n;
        stream->text[stream->size] = '\0';
        return 0;
}

/* Reads what is there. to_end: all of it; otherwise a part, so that others get their turn. Return: 0; -errno. */
static int read_stream(Stream *stream, bool to_end) {
        char buffer[KIB(16)];
        int r;

        while (stream->fd >= 0) {
                ssize_t n = read(stream->fd, buffer, sizeof(buffer));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return 0;
                if (n <= 0) {
                        stream->fd = safe_close(stream->fd);
                        return 0;
                }
                r = keep_bytes(stream, buffer, (size_t) n);
                if (r < 0)
                        return r;
                if (!to_end)
                        return 0;
        }
        return 0;
}

static void write_input(int *fd, const char **input, size_t *left) {
        ssize_t n = write(*fd, *input, *left);

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        /* One that does not read all of its input is no error. */
        if (n < 0)
                *left = 0;
        else {
                *input += n;
                *left -= (size_t) n;
        }
        if (*left == 0)
                *fd = safe_close(*fd);
}

/* Until the answer comes. Return: 0; -errno. */
static int pump(Runner *runner, int *input_fd, const AgentdCommand *command, Stream streams[static 2]) {
        const char *input = command->input;
        size_t left = command->input_size;
        int r;

        for (;;) {
                struct pollfd polled[] = {
                        { .fd = runner->fd, .events = POLLIN },
                        { .fd = *input_fd, .events = POLLOUT },
                        { .fd = streams[0].fd, .events = POLLIN },
                        { .fd = streams[1].fd, .events = POLLIN },
                };

                if (poll(polled, ELEMENTSOF(polled), -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (polled[1].revents)
                        write_input(input_fd, &input, &left);
                for (size_t i = 0; i < 2; i++)
                        if (polled[2 + i].revents) {
                                r = read_stream(&streams[i], false);
                                if (r < 0)
                                        return r;
                        }
                if (polled[0].revents)
                        break;
        }
        for (size_t i = 0; i < 2; i++) {
                r = read_stream(&streams[i], true);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* fds: by index 0 to 2 what the program has, theirs to close; ours: the other ends. */
static int make_pipe(int *ret_read, int *ret_write, bool we_read) {
        int fds[2], ours;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        *ret_read = fds[0];
        *ret_write = fds[1];
        ours = we_read ? fds[0] : fds[1];
        return fcntl(ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

typedef struct Ends {
        int theirs[3], input_fd;
        Stream streams[2]; /* output, errors */
} Ends;

static void ends_done(Ends *ends) {
        for (size_t i = 0; i < 3; i++)
                safe_close(ends->theirs[i]);
        safe_close(ends->input_fd);
        for (size_t i = 0; i < 2; i++) {
                safe_close(ends->streams[i].fd);
                free(ends->streams[i].text);
        }
}

static int make_ends(const AgentdCommand *command, Ends *ends) {
        int r;

        if (command->flags & AGENTD_COMMAND_INPUT_FD) {
                ends->theirs[0] = fcntl(command->input_fd, F_DUPFD_CLOEXEC, 0);
                r = ends->theirs[0] < 0 ? -errno : 0;
        } else if (command->input_size > 0)
                r = make_pipe(&ends->theirs[0], &ends->input_fd, false);
        else {
                ends->theirs[0] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0); /* a worker's is /dev/null */
                r = ends->theirs[0] < 0 ? -errno : 0;
        }
        if (r < 0)
                return r;
        for (size_t i = 0; i < 2; i++) {
                r = make_pipe(&ends->streams[i].fd, &ends->theirs[1 + i], true);
                if (r < 0)
                        return r;
                r = keep_bytes(&ends->streams[i], "", 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

int runner_run(Runner *runner, const AgentdCommand *command, usec_t timeout_usec, RunnerResult *ret,
        const char **ret_step) {
        size_t max = command->output_max > 0 ? MIN(command->output_max, (size_t) INT_MAX) : OUTPUT_MAX;
        _cleanup_(ends_done) Ends ends = {
                .theirs = { -EBADF, -EBADF, -EBADF },
                .input_fd = -EBADF,
                .streams = { { .fd = -EBADF, .max = max }, { .fd = -EBADF, .max = max } },
        };
        _cleanup_free_ char *text = malloc(STRINGS_MAX);
        Strings strings = { .text = text };
        RunnerRequest request = {
                .timeout_usec = timeout_usec,
                .umask = command->flags & AGENTD_COMMAND_UMASK ? command->umask : 0022,
        };
        RunnerReply reply;
        ssize_t n;
        int r;

        *ret_step = NULL;
        if (!text)
                return -ENOMEM;
        r = add_strings(&strings, command, &request);
        if (r < 0)
                return r;
        r = make_ends(command, &ends);
        if (r < 0)
                return r;
        r = send_request(runner, &request, &strings, ends.theirs);
        if (r == -EPIPE)
                return -ECONNRESET;
        if (r < 0)
                return r;
        for (size_t i = 0; i < 3; i++)
                ends.theirs[i] = safe_close(ends.theirs[i]);
        r = pump(runner, &ends.input_fd, command, ends.streams);
        if (r < 0)
                return r;

        n = read_full(runner->fd, &reply, sizeof(reply));
        if (n != sizeof(reply))
                return -ECONNRESET;
        reply.step[sizeof(reply.step) - 1] = '\0';
        memcpy(runner->step, reply.step, sizeof(runner->step));
        if (reply.error != 0) {
                *ret_step = runner->step;
                return -reply.error;
        }
        *ret = (RunnerResult){
                .end = (AgentdCommandEnd) reply.end,
                .code = reply.code,
                .status = reply.status,
                .output = TAKE_PTR(ends.streams[0].text),
                .output_size = ends.streams[0].size,
                .errors = TAKE_PTR(ends.streams[1].text),
                .errors_size = ends.streams[1].size,
                .truncated = ends.streams[0].truncated || ends.streams[1].truncated,
                .duration_usec = reply.duration_usec,
                .cpu_usec = reply.cpu_usec,
                .step = runner->step,
        };
        return 0;
}
