/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The inside of the runner: sets itself up, then runs one command after the other until the worker is gone. */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "child.h"
#include "runner-internal.h"

#define SOCKET_FD 3

/* Programs map far more than they use. */
#define MEMORY_BYTES GIB(4)

/* Of directories within each other in the /tmp of a command; what is deeper is moved up first. */
#define DEPTH_MAX 32

typedef struct State {
        int signal_fd;
        int children_fd; /* lists the children, where there are no ids of our own */
        bool own_ids;
        bool has_tmp;
        int error; /* why it could not be set up */
        const char *step;
} State;

/* ---- /tmp ------------------------------------------------------------------------------------------------------ */

static int empty_directory(int fd, int top_fd, unsigned depth, unsigned *serial);

static int remove_entry(int dir_fd, const char *name, int top_fd, unsigned depth, unsigned *serial) {
        _cleanup_close_ int fd = -EBADF;
        char moved[32];
        int r;

        if (unlinkat(dir_fd, name, 0) == 0)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        /* Whoever made it may have left himself no right to it. */
        (void) fchmodat(dir_fd, name, 0700, 0);
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
                return 0;
        if (errno != ENOTEMPTY)
                return -errno;
        if (depth >= DEPTH_MAX) {
                (void) snprintf(moved, sizeof(moved), ".deep-%u", (*serial)++);
                return renameat2(dir_fd, name, top_fd, moved, RENAME_NOREPLACE) < 0 && errno != EEXIST
                               ? -errno
                               : 0;
        }
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = empty_directory(fd, top_fd, depth + 1, serial);
        if (r < 0)
                return r;
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
                return -errno;
        return 0;
}

static int empty_directory(int fd, int top_fd, unsigned depth, unsigned *serial) {
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir;
        int r = 0;

        if (copy < 0)
                return -errno;
        dir = fdopendir(copy);
        if (!dir) {
                r = -errno;
                safe_close(copy);
                return r;
        }
        for (struct dirent *entry; r >= 0 && (entry = readdir(dir));)
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        r = remove_entry(fd, entry->d_name, top_fd, depth, serial);
        (void) closedir(dir);
        return r;
}

static bool is_empty(int fd) {
        struct stat st;

        /* On tmpfs the size says it, and costs less than to look. */
        return fstat(fd, &st) == 0 && st.st_size == 0;
}

/* Nothing of a command is there for the next one. There is nobody else who could add to it. */
static int empty_tmp(void) {
        _cleanup_close_ int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        unsigned serial = 0;
        int r;

        if (fd < 0)
                return -errno;
        /* What was moved up is met in a later round. */
        for (unsigned round = 0; round < 16384 && !is_empty(fd); round++) {
                unsigned before = serial;

                r = empty_directory(fd, fd, 0, &serial);
                if (r < 0)
                        return r;
                if (serial == before)
                        break;
        }
        return 0;
}

static bool tmp_is_ours(void) {
        struct stat tmp, root;

        return stat("/tmp", &tmp) == 0 && stat("/", &root) == 0 && tmp.st_dev != root.st_dev &&
               access("/tmp", W_OK) == 0;
}

/* ---- Setting up ------------------------------------------------------------------------------------------------ */

/* A capability of a process that is not root is lost when it executes something, unless it is an ambient one. */
static int keep_capability(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};
        const uint32_t keep = 1U << CAP_DAC_READ_SEARCH;

        if (geteuid() == 0)
                return 0;
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        if (!(data[0].permitted & keep))
                return 0;
        data[0].inheritable |= keep;
        if (syscall(SYS_capset, &header, data) < 0)
                return -errno;
        return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) < 0 ? -errno : 0;
}

static int setup(State *state, int fd, const SandboxOptions *sandbox, const char *root) {
        const int keep = SOCKET_FD;
        sigset_t mask;
        int r;

        /* With ids of our own the kernel ends all that has one, once we are gone. Without we have to do it ourselves, so that it
         * is the end of the socket that tells us. */
        state->step = "end with the worker";
        if (state->own_ids && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;
        state->step = "arrange descriptors";
        if (fd != SOCKET_FD && dup3(fd, SOCKET_FD, O_CLOEXEC) < 0)
                return -errno;
        close_descriptors(SOCKET_FD, &keep, 1);

        /* A signal to the own group, which timeout(1) likes to send, is not for the worker; and one to that of the worker is not
         * for us, who are to clear up. In the sandbox of a worker this is refused, to all alike: there the group is all there is. */
        state->step = "leave the group of processes";
        if (setpgid(0, 0) < 0 && state->own_ids)
                return -errno;
        if (!state->own_ids) {
                state->children_fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
                state->step = "adopt processes";
                if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                        return -errno;
        }

        if (sandbox) {
                SandboxOptions options = *sandbox;

                options.for_commands = true;
                options.root = root;
                options.memory_bytes = MEMORY_BYTES;
                r = sandbox_enter(&options, &state->step);
                if (r < 0)
                        return r;
                state->step = "end with the worker";
                if (state->own_ids && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                        return -errno;
                state->step = "look at /tmp";
                state->has_tmp = tmp_is_ours();
        } else if (!streq(root, "/")) {
                state->step = "change to the root directory";
                if (chroot(root) < 0 || chdir("/") < 0)
                        return -errno;
        }

        state->step = "receive signals";
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        state->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        if (state->signal_fd < 0)
                return -errno;
        (void) prctl(PR_SET_NAME, "agentd-command");
        return 0;
}

/* ---- In a command ---------------------------------------------------------------------------------------------- */

static int become_command(const RunnerRequest *request, const char *directory, const int fds[static 3],
        const char **ret_step) {
        struct rlimit limit;
        int r;

        *ret_step = "arrange descriptors";
        for (int fd = 0; fd < 3; fd++)
                if (dup2(fds[fd], fd) < 0) /* they are above 2 */
                        return -errno;
        *ret_step = "set limits";
        if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
                return -errno;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
                return -errno;
        *ret_step = "keep a capability";
        r = keep_capability();
        if (r < 0)
                return r;
        child_reset_signals();
        (void) signal(SIGPIPE, SIG_DFL);
        if (limit.rlim_max == 0)
                (void) signal(SIGXFSZ, SIG_IGN); /* to be told so is better than to be killed */
        (void) umask(request->umask & 0777);
        *ret_step = "change to its directory";
        if (chdir(directory) < 0)
                return -errno;
        return 0;
}

/* What goes wrong before the program takes over. */
typedef struct Failure {
        int error;
        char step[RUNNER_STEP_MAX];
} Failure;

_noreturn_ static void run_program(const RunnerRequest *request, char *const argv[],
        char *const environment[], const char *directory, const int fds[static 3], int failure_fd) {
        Failure failure = {};
        const char *step;
        int r;

        r = become_command(request, directory, fds, &step);
        if (r == 0) {
                step = RUNNER_STEP_EXECUTE;
                (void) execve(argv[0], argv, environment);
                r = -errno;
        }
        failure.error = -r;
        (void) snprintf(failure.step, sizeof(failure.step), "%s", step);
        (void) write_full(failure_fd, &failure, sizeof(failure));
        _exit(EXIT_FAILURE);
}

/* ---- Running one ----------------------------------------------------------------------------------------------- */

static void kill_children(const State *state) {
        char text[KIB(4)];
        ssize_t n;

        if (state->own_ids) {
                (void) kill(-1, SIGKILL); /* all that have such an id, but not us */
                return;
        }
        n = state->children_fd < 0 ? 0 : pread(state->children_fd, text, sizeof(text) - 1, 0);
        if (n <= 0)
                return;
        text[n] = '\0';
        for (char *p = text, *end; *p; p = end) {
                long pid = strtol(p, &end, 10);

                if (end == p)
                        return;
                /* Cut off in the middle, the last is no number of a child. */
                if (pid > 1 && *end == ' ')
                        (void) kill((pid_t) pid, SIGKILL);
        }
}

/* Those that a killed one leaves behind become ours, and are met in the next round. */
static void end_all(const State *state, pid_t pid) {
        for (;;) {
                if (pid > 0)
                        (void) kill(pid, SIGKILL);
                kill_children(state);
                if (waitpid(-1, NULL, 0) < 0 && errno != EINTR)
                        return;
                pid = 0;
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
        }
}

static usec_t usec_of(const struct timeval *time) {
        return (usec_t) time->tv_sec * USEC_PER_SEC + (usec_t) time->tv_usec;
}

/* True when the command has ended, by itself; others that it has left behind are reaped as they go. */
static bool has_ended(pid_t pid, int *ret_status, struct rusage *ret_usage) {
        struct rusage usage;
        bool ended = false;
        int status;
        pid_t p;

        while ((p = wait4(-1, &status, WNOHANG, &usage)) > 0)
                if (p == pid) {
                        ended = true;
                        *ret_status = status;
                        *ret_usage = usage;
                }
        return ended;
}

/* Return: true if it has ended, false if its time was over. */
static bool wait_for(
        const State *state, pid_t pid, usec_t deadline, int *ret_status, struct rusage *ret_usage) {
        for (;;) {
                struct pollfd polled[] = {
                        { .fd = state->signal_fd, .events = POLLIN },
                        { .fd = SOCKET_FD, .events = POLLIN },
                };
                struct signalfd_siginfo info;
                usec_t now;

                if (has_ended(pid, ret_status, ret_usage))
                        return true;
                now = now_usec(CLOCK_MONOTONIC);
                if (now >= deadline)
                        return false;
                if (poll(polled, ELEMENTSOF(polled),
                            (int) MIN((deadline - now) / 1000 + 1, (usec_t) 3600 * 1000)) < 0 &&
                        errno != EINTR)
                        return false;
                while (read(state->signal_fd, &info, sizeof(info)) > 0)
                        ;
                /* The worker says nothing while it waits: it is gone. */
                if (polled[1].revents) {
                        end_all(state, pid);
                        _exit(EXIT_SUCCESS);
                }
        }
}

static int run_command(const State *state, const RunnerRequest *request, char **strings,
        const int fds[static 3], RunnerReply *reply) {
        _cleanup_close_ int failure_fd = -EBADF, their_failure_fd = -EBADF;
        usec_t began = now_usec(CLOCK_MONOTONIC);
        usec_t deadline = request->timeout_usec < USEC_INFINITY - began ? began + request->timeout_usec
                                                                        : USEC_INFINITY;
        char **environment = strings + request->n_arguments + 1;
        const char *directory = environment[request->n_variables + 1];
        struct rusage usage = {};
        Failure failure;
        int pipe_fds[2], status = 0;
        pid_t pid;

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        failure_fd = pipe_fds[0];
        their_failure_fd = pipe_fds[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_program(request, strings, environment, directory, fds, their_failure_fd);

        their_failure_fd = safe_close(their_failure_fd);
        if (read_full(failure_fd, &failure, sizeof(failure)) == sizeof(failure)) {
                end_all(state, pid);
                reply->end = AGENTD_COMMAND_NOT_RUN;
                reply->code = failure.error;
                memcpy(reply->step, failure.step, sizeof(reply->step));
                return 0;
        }

        if (wait_for(state, pid, deadline, &status, &usage)) {
                reply->end = WIFEXITED(status) ? AGENTD_COMMAND_EXITED : AGENTD_COMMAND_KILLED;
                reply->code = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
                reply->cpu_usec = usec_of(&usage.ru_utime) + usec_of(&usage.ru_stime);
                pid = 0;
        } else {
                reply->end = AGENTD_COMMAND_TIMED_OUT;
                reply->code = status = SIGKILL;
                reply->cpu_usec = UINT64_MAX;
        }
        reply->status = status;
        reply->duration_usec = now_usec(CLOCK_MONOTONIC) - began;
        end_all(state, pid);
        return 0;
}

/* ---- Requests -------------------------------------------------------------------------------------------------- */

/* Return: 1; 0: the worker is gone; -errno. */
static int receive(RunnerRequest *ret, char **ret_text, int ret_fds[static 3]) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(3 * sizeof(int))];
        } control;
        struct iovec part = { .iov_base = ret, .iov_len = sizeof(*ret) };
        struct msghdr message = {
                .msg_iov = &part,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *c;
        ssize_t n;

        do
                n = recvmsg(SOCKET_FD, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return n < 0 ? -errno : 0;
        c = CMSG_FIRSTHDR(&message);
        if (n != sizeof(*ret) || !c || c->cmsg_type != SCM_RIGHTS ||
                c->cmsg_len != CMSG_LEN(3 * sizeof(int)))
                return -EBADMSG;
        memcpy(ret_fds, CMSG_DATA(c), 3 * sizeof(int));
        *ret_text = malloc(ret->strings_size + 1);
        if (!*ret_text)
                return -ENOMEM;
        n = read_full(SOCKET_FD, *ret_text, ret->strings_size);
        if (n != (ssize_t) ret->strings_size)
                return n < 0 ? (int) n : 0;
        (*ret_text)[n] = '\0';
        return 1;
}

/* Arguments, NULL, variables, NULL, directory; to be freed. */
static char **split(const RunnerRequest *request, char *text) {
        size_t n = (size_t) request->n_arguments + request->n_variables + 1, k = 0;
        char **strings = calloc(n + 3, sizeof(char *));
        const char *end = text + request->strings_size;

        if (!strings)
                return NULL;
        for (size_t i = 0; i < n && text <= end; i++) {
                if (i == request->n_arguments || i == (size_t) request->n_arguments + request->n_variables)
                        k++;
                strings[k++] = text;
                text += strlen(text) + 1;
        }
        return strings;
}

/* Return: 1; 0: the worker is gone; -errno. */
static int answer(State *state) {
        _cleanup_free_ char *text = NULL;
        _cleanup_free_ char **strings = NULL;
        RunnerReply reply = {};
        RunnerRequest request;
        int fds[3] = { -EBADF, -EBADF, -EBADF };
        int r;

        r = receive(&request, &text, fds);
        if (r <= 0)
                return r;
        strings = split(&request, text);
        r = strings ? state->error : -ENOMEM;
        if (r == 0)
                r = run_command(state, &request, strings, fds, &reply);
        for (size_t i = 0; i < 3; i++)
                safe_close(fds[i]);
        if (r < 0) {
                reply.error = -r;
                (void) snprintf(
                        reply.step, sizeof(reply.step), "%s", state->error < 0 ? state->step : "start it");
        } else if (state->has_tmp) {
                /* Before the answer, so that nothing is in the way of the next. */
                state->error = empty_tmp();
                state->step = "empty /tmp";
        }
        r = write_full(SOCKET_FD, &reply, sizeof(reply));
        return r < 0 ? r : 1;
}

void runner_main(int fd, const SandboxOptions *sandbox, const char *root, bool own_ids) {
        State state = {
                .signal_fd = -EBADF,
                .children_fd = -EBADF,
                .own_ids = own_ids,
        };

        state.error = setup(&state, fd, sandbox, root);
        while (answer(&state) > 0)
                ;
        _exit(EXIT_SUCCESS);
}
