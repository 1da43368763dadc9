/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "fact-internal.h"

#define STDERR_KEPT 1024 /* bytes, for the message */

/* How often to look for the end of a program where the kernel has no pidfd. */
#define POLL_WITHOUT_PIDFD_MSEC 10

typedef struct Running {
        FactProgram *program; /* NULL: free */
        pid_t pid;
        int out, err, pidfd; /* -EBADF once at their end */
        char *output;
        size_t size, allocated;
        char errors[STDERR_KEPT];
        size_t errors_size;
        usec_t deadline; /* CLOCK_MONOTONIC */
        const char *problem;
} Running;

/* Process groups of what runs, 0: none. For a signal handler, hence not in any list. */
static volatile pid_t groups[FACTS_PROGRAMS_RUNNING];

static void replace_group(pid_t old, pid_t new) {
        for (size_t i = 0; i < ELEMENTSOF(groups); i++)
                if (groups[i] == old) {
                        groups[i] = new;
                        return;
                }
}

void fact_programs_kill(void) {
        for (size_t i = 0; i < ELEMENTSOF(groups); i++)
                if (groups[i] > 0)
                        (void) kill(-groups[i], SIGKILL);
}

/* Takes a new session, so that all that it starts can be killed as one group, and nothing of ours but these. */
static int spawn(const char *path, int out, int err, pid_t *ret_pid) {
        static char *const environment[] = {
                (char *) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                (char *) "LANG=C.UTF-8",
                NULL,
        };
        char *const argv[] = { (char *) path, NULL };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, all;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        if (posix_spawnattr_init(&attributes) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return -ENOMEM;
        }

        (void) sigemptyset(&none);
        (void) sigfillset(&all);
        (void) posix_spawnattr_setsigmask(&attributes, &none);
        (void) posix_spawnattr_setsigdefault(&attributes, &all);
        (void) posix_spawnattr_setflags(
                &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

        r = posix_spawn_file_actions_addchdir_np(&actions, "/");
        if (r == 0)
                r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
#if __GLIBC_PREREQ(2, 34)
        /* All of ours close by themselves; these are what whoever started us forgot to. */
        if (r == 0)
                r = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
#endif
        if (r == 0)
                r = posix_spawn(ret_pid, path, &actions, &attributes, argv, environment);

        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

/* Both ends above the standard descriptors: what the child dup2()s must not lie in the way. */
static int pipe_above(int ret[static 2]) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        for (int i = 0; i < 2; i++) {
                ret[i] = fds[i] > STDERR_FILENO ? fds[i] : fcntl(fds[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
                if (ret[i] != fds[i])
                        safe_close(fds[i]);
        }
        if (ret[0] < 0 || ret[1] < 0) {
                safe_close(ret[0]);
                safe_close(ret[1]);
                return -EMFILE;
        }
        return fcntl(ret[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int start(Running *running, FactProgram *program, usec_t deadline_usec) {
        _cleanup_close_ int out_read = -EBADF, out_write = -EBADF, err_read = -EBADF, err_write = -EBADF;
        usec_t now = now_usec(CLOCK_MONOTONIC);
        sigset_t term, before;
        int fds[2], r;
        pid_t pid;

        r = pipe_above(fds);
        if (r < 0)
                return r;
        out_read = fds[0];
        out_write = fds[1];
        r = pipe_above(fds);
        if (r < 0)
                return r;
        err_read = fds[0];
        err_write = fds[1];

        /* Whoever is told to end in between would leave it behind. */
        (void) sigemptyset(&term);
        (void) sigaddset(&term, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &term, &before);
        r = spawn(program->path, out_write, err_write, &pid);
        if (r >= 0)
                replace_group(0, pid);
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        if (r < 0)
                return r;

        *running = (Running){
                .program = program,
                .pid = pid,
                .out = TAKE_FD(out_read),
                .err = TAKE_FD(err_read),
                .pidfd = (int) syscall(SYS_pidfd_open, pid, 0),
                .deadline = deadline_usec < USEC_INFINITY - now ? now + deadline_usec : USEC_INFINITY,
        };
        return 0;
}

/* What the program says about its failure: its first line on standard error, if any. */
static const char *first_error(Running *running, Arena *arena) {
        char *line;

        running->errors[MIN(running->errors_size, sizeof(running->errors) - 1)] = 0;
        line = first_line(running->errors);
        if (!*line)
                return "";
        return arena_printf(arena, ": %s", text_value(arena, line, strnlen(line, 200)).text);
}

static void read_output(Running *running, Arena *arena) {
        for (;;) {
                ssize_t n;

                if (running->size + 1 >= running->allocated) {
                        /* One byte more than is allowed tells that it is too much; another ends the text. */
                        size_t size = MAX(2 * running->allocated, KIB(4));
                        char *larger;

                        size = MIN(size, (size_t) FACTS_OUTPUT_MAX + 2);
                        larger = realloc(running->output, size);
                        if (!larger) {
                                running->problem = "not enough memory for its output";
                                return;
                        }
                        running->output = larger;
                        running->allocated = size;
                }

                n = read(running->out, running->output + running->size,
                        running->allocated - running->size - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n <= 0) {
                        running->out = safe_close(running->out);
                        running->output[running->size] = 0;
                        return;
                }

                running->size += (size_t) n;
                if (running->size > FACTS_OUTPUT_MAX) {
                        running->problem = arena_printf(arena,
                                "prints more than %zu KiB; a local fact must be at most that long, as JSON",
                                (size_t) FACTS_OUTPUT_MAX / 1024);
                        return;
                }
        }
}

static void read_errors(Running *running) {
        char buffer[1024];

        for (;;) {
                ssize_t n = read(running->err, buffer, sizeof(buffer));
                size_t kept;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n <= 0) {
                        running->err = safe_close(running->err);
                        return;
                }
                kept = MIN((size_t) n, sizeof(running->errors) - running->errors_size);
                memcpy(running->errors + running->errors_size, buffer, kept);
                running->errors_size += kept;
        }
}

/* True if the program has ended; it stays a zombie, so that its process group cannot be anybody else's. */
static bool has_ended(pid_t pid, siginfo_t *ret) {
        *ret = (siginfo_t){};
        for (;;) {
                if (waitid(P_PID, (id_t) pid, ret, WEXITED | WNOHANG | WNOWAIT) >= 0)
                        return ret->si_pid == pid;
                if (errno != EINTR)
                        return true; /* somebody else took it: si_pid is 0 */
        }
}

static void finish(Running *running, Arena *arena, const siginfo_t *info) {
        FactProgram *program = running->program;

        /* Also what it left running, unless that moved to a session of its own. */
        (void) kill(-running->pid, SIGKILL);
        replace_group(running->pid, 0);
        while (waitid(P_PID, (id_t) running->pid, &(siginfo_t){}, WEXITED) < 0 && errno == EINTR)
                ;

        program->problem = running->problem;
        if (!program->problem) {
                if (running->err >= 0)
                        read_errors(running);
                if (info->si_pid != running->pid)
                        program->problem = "its exit status is lost";
                else if (info->si_code != CLD_EXITED)
                        program->problem = arena_printf(arena, "was killed by signal %d (%s)%s",
                                info->si_status, strsignal(info->si_status), first_error(running, arena));
                else if (info->si_status != 0)
                        program->problem = arena_printf(arena,
                                "exited with status %d instead of printing its fact as JSON and exiting "
                                "with 0%s",
                                info->si_status, first_error(running, arena));
        }

        if (!program->problem) {
                program->output = TAKE_PTR(running->output);
                program->output_size = running->size;
        }
        free(running->output);
        safe_close(running->out);
        safe_close(running->err);
        safe_close(running->pidfd);
        *running = (Running){};
}

/* Looks after one program. True once it is over. */
static bool attend(Running *running, Arena *arena, usec_t deadline_usec) {
        siginfo_t info;
        bool ended;

        if (running->out >= 0)
                read_output(running, arena);
        if (running->err >= 0)
                read_errors(running);
        ended = has_ended(running->pid, &info);

        if (!running->problem && !(ended && running->out < 0)) {
                if (now_usec(CLOCK_MONOTONIC) < running->deadline)
                        return false;
                if (ended)
                        running->problem = "ended, but left a process behind that holds its standard "
                                           "output; redirect that "
                                           "process's output to /dev/null";
                else
                        running->problem = arena_printf(arena,
                                "did not finish within %s and was killed; local facts must be found quickly",
                                FORMAT_TIMESPAN(deadline_usec));
        }

        finish(running, arena, &info);
        return true;
}

static int wait_for_news(const Running *running, size_t n) {
        struct pollfd polls[3 * FACTS_PROGRAMS_RUNNING];
        usec_t now = now_usec(CLOCK_MONOTONIC), until = USEC_INFINITY;
        nfds_t n_polls = 0;
        int timeout = -1;

        assert(n <= FACTS_PROGRAMS_RUNNING);

        for (const Running *r = running; r < running + n; r++) {
                if (!r->program)
                        continue;
                if (r->out >= 0)
                        polls[n_polls++] = (struct pollfd){ .fd = r->out, .events = POLLIN };
                if (r->err >= 0)
                        polls[n_polls++] = (struct pollfd){ .fd = r->err, .events = POLLIN };
                /* Once it has ended its descriptor stays readable; then only its output is waited for. */
                if (r->pidfd >= 0 && r->out < 0)
                        polls[n_polls++] = (struct pollfd){ .fd = r->pidfd, .events = POLLIN };
                else if (r->pidfd < 0 && r->out < 0)
                        until = MIN(until, now + POLL_WITHOUT_PIDFD_MSEC * USEC_PER_MSEC);
                until = MIN(until, r->deadline);
        }

        if (until != USEC_INFINITY)
                timeout = (int) MIN((until > now ? until - now : 0) / USEC_PER_MSEC + 1, (usec_t) 60000);
        return poll(polls, n_polls, timeout);
}

void fact_programs_run(Arena *arena, FactProgram *programs, size_t n, usec_t deadline_usec,
        void (*done)(FactProgram *program, void *userdata), void *userdata) {
        Running running[FACTS_PROGRAMS_RUNNING] = {};
        size_t next = 0, n_running = 0;

        while (next < n || n_running > 0) {
                FOREACH_ELEMENT(r, running)
                        while (!r->program && next < n) {
                                FactProgram *program = &programs[next++];
                                int error = start(r, program, deadline_usec);

                                if (error >= 0) {
                                        n_running++;
                                        continue;
                                }
                                *r = (Running){};
                                program->problem = arena_printf(arena, "cannot be run: %s%s",
                                        strerror(-error),
                                        error == -ENOENT
                                                ? " (is the interpreter in its first line installed?)"
                                        : error == -ENOEXEC
                                                ? " (a script must begin with '#!' and its interpreter)"
                                                : "");
                                done(program, userdata);
                        }

                if (n_running == 0)
                        continue;
                (void) wait_for_news(running, ELEMENTSOF(running));

                FOREACH_ELEMENT(r, running) {
                        FactProgram *program = r->program;

                        if (!program || !attend(r, arena, deadline_usec))
                                continue;
                        n_running--;
                        done(program, userdata);
                }
        }
}
