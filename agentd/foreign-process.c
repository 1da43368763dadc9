/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The program of a foreign module: starts it, writes requests, reads lines, says how it ended. */

#include <assert.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>

#include "child.h"
#include "foreign-process.h"

#define EXIT_NOT_EXECUTED 127

/* Of standard error at a time: more than a pipe holds. */
#define ERROR_READS_MAX 32

struct ForeignProcess {
        const ForeignHost *host;
        char *name; /* of the file, for the log */
        pid_t pid;
        int in, out, err; /* our ends */
        int pidfd;        /* tells that it has ended; -EBADF where the kernel has none */
        char *buffer;     /* what was read of it and not given on yet */
        size_t size, allocated;
        bool was_asked;
        char error[FOREIGN_ERROR_LINE_MAX + 1]; /* the line on standard error that is being read */
        size_t error_size;
        char last_error[200]; /* the last whole one, for messages */
        unsigned n_errors;    /* lines in this request */
        bool hide;
};

/* ---- In the child ---------------------------------------------------------------------------------------------- */

/* A capability of a process that is not root is lost when it executes something, unless it is an ambient one. */
static void keep_capability(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};
        const uint32_t keep = 1U << CAP_DAC_READ_SEARCH;

        if (geteuid() == 0 || syscall(SYS_capget, &header, data) < 0 || !(data[0].permitted & keep))
                return;
        data[0].inheritable |= keep;
        if (syscall(SYS_capset, &header, data) == 0)
                (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0);
}

static int set_limits(void) {
        struct rlimit limit;

        if (setrlimit(RLIMIT_CORE, &(struct rlimit){}) < 0)
                return -errno;
        if (getrlimit(RLIMIT_AS, &limit) < 0)
                return -errno;
        if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > FOREIGN_MEMORY_BYTES)
                limit.rlim_max = FOREIGN_MEMORY_BYTES;
        limit.rlim_cur = limit.rlim_max;
        return setrlimit(RLIMIT_AS, &limit) < 0 ? -errno : 0;
}

static int become_program(const ForeignHost *host, const int fds[static 3], pid_t parent) {
        const char *step;
        int r;

        child_reset_signals();
        (void) signal(SIGPIPE, SIG_DFL);
        for (int fd = 0; fd < 3; fd++)
                if (dup2(fds[fd], fd) < 0)
                        return -errno;
        close_descriptors(STDERR_FILENO + 1, NULL, 0);
        if (chdir("/") < 0)
                return -errno;
        if (host->sandbox) {
                r = sandbox_enter(host->sandbox, &step);
                if (r < 0)
                        return r;
        }
        r = set_limits();
        if (r < 0)
                return r;
        /* In the sandbox no file may have any size; to be told so is better than to be killed. */
        (void) signal(SIGXFSZ, SIG_IGN);
        keep_capability();
        /* A change of user clears it. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                return -ESRCH;
        return 0;
}

_noreturn_ static void run_program(
        const char *path, const char *file, const ForeignHost *host, const int fds[static 3], pid_t parent) {
        static char *const environment[] = {
                (char *) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                (char *) "LANG=C.UTF-8",
                NULL,
        };
        char *const argv[] = { (char *) path, NULL };
        int r;

        r = become_program(host, fds, parent);
        if (r == 0) {
                (void) execve(file, argv, environment);
                r = -errno;
        }
        (void) dprintf(STDERR_FILENO, "it cannot be executed: %s%s\n", strerror(-r),
                r == -ENOENT    ? " (is the interpreter in its first line installed?)"
                : r == -ENOEXEC ? " (a script must begin with '#!' and its interpreter)"
                                : "");
        _exit(EXIT_NOT_EXECUTED);
}

/* ---- Its life -------------------------------------------------------------------------------------------------- */

ForeignProcess *foreign_process_free(ForeignProcess *process) {
        if (!process)
                return NULL;
        safe_close(process->in);
        safe_close(process->out);
        safe_close(process->err);
        safe_close(process->pidfd);
        if (process->pid > 0) {
                (void) kill(process->pid, SIGKILL);
                while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        free(process->name);
        free(process->buffer);
        free(process);
        return NULL;
}

static int make_pipe(int *ret_read, int *ret_write, bool block_read) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        *ret_read = fds[0];
        *ret_write = fds[1];
        /* Only our end: the program shares the other one with nobody who expects that. */
        return fcntl(fds[block_read ? 1 : 0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int foreign_process_start(const char *path, const ForeignHost *host, ForeignProcess **ret) {
        _cleanup_(foreign_process_freep) ForeignProcess *process = NULL;
        _cleanup_close_ int in = -EBADF, out = -EBADF, err = -EBADF;
        _cleanup_free_ char *file = NULL;
        pid_t parent = getpid();
        const char *base;
        int r;

        assert(path);
        assert(host);
        assert(ret);

        file = realpath(path, NULL);
        if (!file)
                return -errno;
        process = malloc(sizeof(*process));
        if (!process)
                return -ENOMEM;
        *process = (ForeignProcess){
                .host = host, .in = -EBADF, .out = -EBADF, .err = -EBADF, .pidfd = -EBADF
        };
        base = strrchr(path, '/');
        process->name = strdup(base ? base + 1 : path);
        if (!process->name)
                return -ENOMEM;

        r = make_pipe(&in, &process->in, true);
        if (r < 0)
                return r;
        r = make_pipe(&process->out, &out, false);
        if (r < 0)
                return r;
        r = make_pipe(&process->err, &err, false);
        if (r < 0)
                return r;

        process->pid = fork();
        if (process->pid < 0)
                return -errno;
        if (process->pid == 0)
                run_program(path, file, host, (const int[]){ in, out, err }, parent);

        /* Closed when something is executed, as all that this call makes. */
        process->pidfd = (int) syscall(SYS_pidfd_open, process->pid, 0);
        *ret = TAKE_PTR(process);
        return 0;
}

/* ---- Standard error -------------------------------------------------------------------------------------------- */

void foreign_process_hide_errors(ForeignProcess *process, bool hide) {
        process->hide = hide;
}

static void say(const ForeignProcess *process, const char *text) {
        if (process->host->log)
                process->host->log(process->host->userdata, LOG_WARNING, text);
}

static void end_error_line(ForeignProcess *process) {
        char text[FOREIGN_ERROR_LINE_MAX + 128];

        process->error[process->error_size] = 0;
        process->error_size = 0;
        if (process->error[strspn(process->error, " \t\r")] == 0)
                return;
        process->n_errors++;
        if (process->hide) {
                (void) snprintf(process->last_error, sizeof(process->last_error),
                        "what it said is not shown, as a state is sensitive");
                return;
        }
        (void) snprintf(process->last_error, sizeof(process->last_error), "%.190s", process->error);
        if (process->n_errors > FOREIGN_ERROR_LINES_MAX)
                return;
        (void) snprintf(text, sizeof(text), "%s: %s", process->name, process->error);
        say(process, text);
}

static void read_errors(ForeignProcess *process) {
        char buffer[4096];
        ssize_t n = 1;

        if (process->err < 0)
                return;
        /* Not for ever, of one that says more all the time: there is a deadline to look at. */
        for (unsigned turn = 0;
                turn < ERROR_READS_MAX && (n = read(process->err, buffer, sizeof(buffer))) > 0; turn++)
                for (ssize_t i = 0; i < n; i++)
                        if (buffer[i] == '\n')
                                end_error_line(process);
                        else if (process->error_size < FOREIGN_ERROR_LINE_MAX)
                                process->error[process->error_size++] = buffer[i] ?: '?';
        if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
                return;
        process->err = safe_close(process->err);
        if (process->error_size > 0)
                end_error_line(process);
}

/* What was not shown of it, at the end of a request. */
static void count_errors(ForeignProcess *process) {
        char text[256];

        if (process->hide && process->n_errors > 0)
                (void) snprintf(text, sizeof(text),
                        "%.100s: its %u lines on standard error are not shown, as a state is sensitive",
                        process->name, process->n_errors);
        else if (process->n_errors > FOREIGN_ERROR_LINES_MAX)
                (void) snprintf(text, sizeof(text),
                        "%.100s: %u further lines on standard error are not shown", process->name,
                        process->n_errors - FOREIGN_ERROR_LINES_MAX);
        else
                *text = 0;
        if (*text)
                say(process, text);
        process->n_errors = 0;
}

/* ---- Talking to it --------------------------------------------------------------------------------------------- */

/* How it ended, once its output is at its end. What it left behind may hold the pipe while it lives on itself. */
static int describe_end(ForeignProcess *process, char **reterr) {
        const char *said = NULL;
        siginfo_t info = {};
        int r;

        /* It closed its output: if it does not end by itself soon, it never will. */
        for (unsigned i = 0; i < 200; i++) {
                if (waitid(P_PID, (id_t) process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
                        info.si_pid > 0)
                        break;
                (void) poll(NULL, 0, 5);
        }
        read_errors(process);
        if (process->error_size > 0)
                end_error_line(process);
        if (*process->last_error)
                said = process->last_error;

        if (info.si_pid == 0)
                r = asprintf(reterr, "closed its standard output, on which it has to answer");
        else if (info.si_code == CLD_EXITED && info.si_status == EXIT_NOT_EXECUTED && said)
                r = asprintf(reterr, "did not run: %s", said);
        else if (info.si_code == CLD_EXITED)
                r = asprintf(reterr,
                        "exited with status %d instead of answering; it has to read requests until its "
                        "standard "
                        "input ends%s%s",
                        info.si_status, said ? ": " : "", said ?: "");
        else
                r = asprintf(reterr, "died of signal %d (%s)%s%s", info.si_status, strsignal(info.si_status),
                        said ? ": " : "", said ?: "");
        if (r < 0)
                *reterr = NULL;
        return -EPIPE;
}

static int too_long(char **reterr) {
        if (asprintf(reterr,
                    "answered with a line of more than %zu MiB; a line must be shorter, \"more\": true lets "
                    "others follow",
                    FOREIGN_LINE_MAX >> 20) < 0)
                *reterr = NULL;
        return -EMSGSIZE;
}

/* Return: 1 something was read; 0 nothing for now; -EPIPE the end; other -errno. */
static int read_some(ForeignProcess *process) {
        ssize_t n;

        if (process->allocated - process->size < KIB(4)) {
                size_t allocated = MAX(2 * process->allocated, KIB(16));
                char *larger = realloc(process->buffer, allocated);

                if (!larger)
                        return -ENOMEM;
                process->buffer = larger;
                process->allocated = allocated;
        }
        n = read(process->out, process->buffer + process->size, process->allocated - process->size);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -EPIPE;
        process->size += (size_t) n;
        return 1;
}

/* Gives on the lines that are whole. Return: as on_line. */
static int give_lines(ForeignProcess *process, size_t *scanned,
        int (*on_line)(void *userdata, const char *line, size_t size), void *userdata) {
        size_t start = 0;
        int r = 0;

        while (r == 0) {
                size_t from = MAX(start, *scanned);
                char *end = process->size > from ? memchr(process->buffer + from, '\n', process->size - from)
                                                 : NULL;

                if (!end) {
                        *scanned = process->size;
                        break;
                }
                *end = 0;
                r = on_line(userdata, process->buffer + start, (size_t) (end - process->buffer) - start);
                start = (size_t) (end - process->buffer) + 1;
        }
        if (start > 0) {
                memmove(process->buffer, process->buffer + start, process->size - start);
                process->size -= start;
                *scanned = *scanned > start ? *scanned - start : 0;
        }
        return r;
}

/* Until there is something to do or the time is over. Return: 1 the program has ended; 0; -ETIMEDOUT; other -errno. */
static int wait_for_news(const ForeignProcess *process, bool writes, usec_t until) {
        struct pollfd polls[] = {
                { .fd = process->out, .events = POLLIN },
                { .fd = process->err, .events = POLLIN }, /* poll(2) passes over negative ones */
                { .fd = writes ? process->in : -1, .events = POLLOUT },
                { .fd = process->pidfd, .events = POLLIN },
        };
        int timeout = -1;

        if (until != USEC_INFINITY) {
                usec_t now = now_usec(CLOCK_MONOTONIC);

                if (now >= until)
                        return -ETIMEDOUT;
                timeout = (int) MIN((until - now) / USEC_PER_MSEC + 1, (usec_t) 60000);
        }
        if (poll(polls, ELEMENTSOF(polls), timeout) < 0)
                return errno == EINTR ? 0 : -errno;
        return polls[3].revents != 0;
}

static usec_t until_usec(usec_t deadline_usec) {
        return deadline_usec == USEC_INFINITY ? USEC_INFINITY : now_usec(CLOCK_MONOTONIC) + deadline_usec;
}

static int exchange(ForeignProcess *process, const char *request, size_t size,
        int (*on_line)(void *userdata, const char *line, size_t size), void *userdata, usec_t deadline_usec,
        char **reterr) {
        usec_t until = until_usec(deadline_usec);
        size_t written = 0, scanned = 0;
        int r;

        /* An answer that is one too many would be taken for that of the next request. Before the first there is none: what a
         * program says by itself is looked at as its answer. */
        if (process->was_asked) {
                r = read_some(process);
                if (process->size > 0) {
                        *reterr = strdup("said more than the one answer that each request has");
                        return -EBADMSG;
                }
                if (r == -EPIPE)
                        return describe_end(process, reterr);
                if (r < 0)
                        return r;
        }
        process->was_asked = true;

        for (;;) {
                bool got_line, ended;

                r = wait_for_news(process, written < size, until);
                if (r == -ETIMEDOUT) {
                        if (asprintf(reterr, "did not answer within %s", FORMAT_TIMESPAN(deadline_usec)) < 0)
                                *reterr = NULL;
                        return r;
                }
                if (r < 0)
                        return r;
                ended = r > 0;

                if (written < size) {
                        ssize_t n = write(process->in, request + written, size - written);

                        if (n > 0)
                                written += (size_t) n;
                        else if (n < 0 && errno == EPIPE)
                                written =
                                        size; /* it does not want to read: whether it answers will be seen */
                        else if (n < 0 && errno != EAGAIN && errno != EINTR)
                                return -errno;
                }
                read_errors(process);

                r = read_some(process);
                /* What it has left behind may hold its output for ever. */
                if (r == -EPIPE || (r == 0 && ended))
                        return describe_end(process, reterr);
                if (r < 0)
                        return r;
                got_line = process->size > scanned &&
                           memchr(process->buffer + scanned, '\n', process->size - scanned);
                r = give_lines(process, &scanned, on_line, userdata);
                if (r < 0)
                        return r;
                if (r > 0 && written < size) {
                        *reterr = strdup("answered before it had read the request");
                        return -EBADMSG;
                }
                if (r > 0)
                        return 0;
                if (process->size > FOREIGN_LINE_MAX)
                        return too_long(reterr);
                if (got_line)
                        until = until_usec(deadline_usec);
        }
}

int foreign_process_exchange(ForeignProcess *process, const char *request, size_t size,
        int (*on_line)(void *userdata, const char *line, size_t size), void *userdata, usec_t deadline_usec,
        char **reterr) {
        const struct sigaction ignore = { .sa_handler = SIG_IGN };
        struct sigaction before;
        int r;

        assert(process);
        assert(reterr);

        *reterr = NULL;
        *process->last_error = 0;
        /* Workers ignore it anyway; who prints to a terminal may want to end by it, but not for a program. */
        (void) sigaction(SIGPIPE, &ignore, &before);
        r = exchange(process, request, size, on_line, userdata, deadline_usec, reterr);
        (void) sigaction(SIGPIPE, &before, NULL);
        read_errors(process);
        count_errors(process);
        return r;
}
