/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Commands where there is no systemd. Between us and the program is a process of ours, the keeper, which ends all that the
 * program has started with it.
 */

#include <assert.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "child.h"
#include "command-internal.h"
#include "log.h"
#include "sandbox.h"

/* What comes by the pipe. Only the first one counts: of a program that could not be executed, or of its end. */
typedef struct Report {
        bool ended;
        int error;
        char step[60]; /* "change to the directory" */
        int status;
        uint64_t cpu_usec, memory_max_bytes;
} Report;

/* ---- Between fork and exec --------------------------------------------------------------------------------------- */

_noreturn_ static void fail(int fd, int error, const char *step) {
        Report report = { .error = error };

        (void) snprintf(report.step, sizeof(report.step), "%s", step);
        (void) write_full(fd, &report, sizeof(report));
        _exit(EXIT_FAILURE);
}

static bool parse_number(const char *text, uint32_t *ret) {
        char *end;
        unsigned long value;

        if (*text < '0' || *text > '9')
                return false;
        errno = 0;
        value = strtoul(text, &end, 10);
        if (*end || errno != 0 || value >= UINT32_MAX)
                return false;
        *ret = (uint32_t) value;
        return true;
}

static int change_user(const Command *command) {
        const struct passwd *user = NULL;
        const struct group *group;
        uint32_t uid = 0, gid = 0;

        if (!command->user && !command->group)
                return 0;
        if (command->user && !parse_number(command->user, &uid)) {
                errno = 0;
                user = getpwnam(command->user);
                if (!user)
                        return errno > 0 && errno != ENOENT ? -errno : -ESRCH;
                uid = user->pw_uid;
                gid = user->pw_gid;
        } else if (command->user)
                gid = uid;
        if (command->group && !parse_number(command->group, &gid)) {
                errno = 0;
                group = getgrnam(command->group);
                if (!group)
                        return errno > 0 && errno != ENOENT ? -errno : -ESRCH;
                gid = group->gr_gid;
        }
        if (user ? initgroups(user->pw_name, gid) < 0 : setgroups(1, &(gid_t){ gid }) < 0)
                return -errno;
        if (setresgid(gid, gid, gid) < 0 || (command->user && setresuid(uid, uid, uid) < 0))
                return -errno;
        return 0;
}

static int place(int fd, int target) {
        return (fd == target ? fcntl(fd, F_SETFD, 0) : dup2(fd, target)) < 0 ? -errno : 0;
}

static const char **make_environment(char **own) {
        size_t n = 0, used = 0;
        const char **environment;

        while (own[n])
                n++;
        environment = calloc(n + 3, sizeof(char *));
        if (!environment)
                return NULL;
        environment[used++] = COMMAND_PATH;
        environment[used++] = COMMAND_LANG;
        for (size_t i = 0; i < n; i++) {
                size_t length = (size_t) (strchr(own[i], '=') - own[i]) + 1, k = 0;

                while (k < used && strncmp(environment[k], own[i], length) != 0)
                        k++;
                environment[k] = own[i];
                used = MAX(used, k + 1);
        }
        return environment;
}

_noreturn_ static void run_child(const Command *command, int error_fd) {
        const char *root = command->commands->options.root;
        const char **environment;
        int fds[3], r;

        child_reset_signals();
        (void) signal(SIGPIPE, SIG_DFL);
        if (setsid() < 0)
                fail(error_fd, errno, "leave the session");

        /* All beyond the standard ones first, so that none of these is overwritten before it is in its place. */
        fds[0] = command->input_fd >= 0 ? command->input_fd : open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fds[0] < 0)
                fds[0] = open("/",
                        O_PATH | O_CLOEXEC); /* in a chroot without devices: nothing that could be read */
        fds[1] = command->output_fd >= 0 ? command->output_fd : command->write_ends[0];
        fds[2] = command->write_ends[1];
        error_fd = fcntl(error_fd, F_DUPFD_CLOEXEC, 10);
        for (int i = 0; i < 3; i++)
                fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
        for (int i = 0; i < 3; i++) {
                r = place(fds[i], i);
                if (r < 0)
                        fail(error_fd, -r, "arrange descriptors");
        }
        log_open_journal(false);
        close_descriptors(3, &error_fd, 1);

        (void) umask(command->umask);
        if (!streq(root, "/") && (chroot(root) < 0 || chdir("/") < 0))
                fail(error_fd, errno, "change the root");
        r = change_user(command);
        if (r < 0)
                fail(error_fd, -r, "change the user");
        if (chdir(command->directory ?: "/") < 0)
                fail(error_fd, errno, "change the directory");
        environment = make_environment(command->environment);
        if (!environment)
                fail(error_fd, ENOMEM, "get memory");
        (void) execve(command->argv[0], command->argv, (char **) environment);
        fail(error_fd, errno, "");
}

/* ---- The keeper -------------------------------------------------------------------------------------------------- */

/* Tells the keeper to end all. */
#define SIGNAL_END SIGUSR1

static void kill_group(pid_t program, int number) {
        if (kill(-program, number) < 0)
                (void) kill(program, number); /* it has no group yet */
}

/* Where there is no /proc nothing but the group is found. */
static void kill_children(int list_fd) {
        char text[KIB(4)];
        ssize_t n = list_fd < 0 ? 0 : pread(list_fd, text, sizeof(text) - 1, 0);

        if (n <= 0)
                return;
        text[n] = 0;
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
_noreturn_ static void end_all(int list_fd) {
        do
                kill_children(list_fd);
        while (list_fd >= 0 && (waitpid(-1, NULL, 0) > 0 || errno == EINTR));
        _exit(EXIT_SUCCESS);
}

static uint64_t usec_of(const struct timeval *time) {
        return (uint64_t) time->tv_sec * USEC_PER_SEC + (uint64_t) time->tv_usec;
}

/* The number of a program that has ended, and of its group, stays its own until it is reaped. */
static void reap_program(pid_t program, int error_fd) {
        struct rusage usage;
        Report report = {};

        (void) kill(-program, SIGKILL);
        if (wait4(program, &report.status, 0, &usage) != program)
                return;
        report.ended = true;
        report.cpu_usec = usec_of(&usage.ru_utime) + usec_of(&usage.ru_stime);
        report.memory_max_bytes = (uint64_t) usage.ru_maxrss * 1024;
        (void) write_full(error_fd, &report, sizeof(report));
}

/*
 * Between us and the program: it adopts what the program leaves behind, however far that has gone, and ends it; with us it ends
 * all. The program has a session and group of its own.
 */
_noreturn_ static void run_keeper(const Command *command, int error_fd, pid_t agentd) {
        int list_fd;
        sigset_t mask;
        pid_t program;

        /* The number of its list is its own, and does not change with the root of the program. */
        list_fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigaddset(&mask, SIGNAL_END);
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);
        if (setsid() < 0)
                fail(error_fd, errno, "leave the session");
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGNAL_END) < 0)
                fail(error_fd, errno, "keep its processes together");
        if (getppid() != agentd)
                _exit(EXIT_FAILURE);
        program = fork();
        if (program < 0)
                fail(error_fd, errno, "fork");
        if (program == 0)
                run_child(command, error_fd);
        (void) prctl(PR_SET_NAME, "agentd-keeper");
        log_open_journal(false);
        close_descriptors(3, (int[]){ MIN(error_fd, list_fd), MAX(error_fd, list_fd) }, 2);

        for (;;) {
                siginfo_t ended = {};

                switch (sigwaitinfo(&mask, NULL)) {
                case SIGTERM: kill_group(program, SIGTERM); break;
                case SIGNAL_END: kill_group(program, SIGKILL); break;
                }
                while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid > 0) {
                        if (ended.si_pid == program) {
                                reap_program(program, error_fd);
                                end_all(list_fd);
                        }
                        (void) waitpid(ended.si_pid, NULL, 0);
                        ended.si_pid = 0;
                }
        }
}

/* ---- Afterwards -------------------------------------------------------------------------------------------------- */

static void tell_keeper(const Command *command, int number) {
        if (command->pid > 0)
                (void) kill(command->pid, number);
}

static int on_child_exit(_unused_ sd_event_source *source, const siginfo_t *si, void *userdata) {
        Command *command = userdata;
        CommandResult *result = &command->result;
        Report report;

        result->duration_usec = now_usec(CLOCK_MONOTONIC) - command->asked_usec;
        (void) waitpid(command->pid, NULL, WNOHANG);
        command->pid = 0;

        if (read_full(command->error_fd, &report, sizeof(report)) != (ssize_t) sizeof(report)) {
                /* Somebody has killed the keeper. */
                (void) snprintf(command->detail, sizeof(command->detail),
                        "the process that watched it was killed, and how it ended is not known");
                result->status = si->si_code == CLD_EXITED ? SIGKILL : si->si_status;
                command_finish(command,
                        command->timed_out ? AGENTD_COMMAND_TIMED_OUT : AGENTD_COMMAND_KILLED,
                        result->status);
                return 0;
        }
        if (!report.ended) {
                report.step[sizeof(report.step) - 1] = 0;
                if (report.step[0])
                        (void) snprintf(command->detail, sizeof(command->detail), "could not %s: %s",
                                report.step,
                                report.error == ESRCH ? "there is no such user or group"
                                                      : strerror(report.error));
                command_finish(command, AGENTD_COMMAND_NOT_RUN, report.error);
                return 0;
        }
        result->status = report.status;
        result->cpu_usec = report.cpu_usec;
        result->memory_max_bytes = report.memory_max_bytes;
        if (command->timed_out)
                command_finish(command, AGENTD_COMMAND_TIMED_OUT,
                        WIFSIGNALED(result->status) ? WTERMSIG(result->status) : SIGTERM);
        else if (WIFSIGNALED(result->status))
                command_finish(command, AGENTD_COMMAND_KILLED, WTERMSIG(result->status));
        else
                command_finish(command, AGENTD_COMMAND_EXITED, WEXITSTATUS(result->status));
        return 0;
}

static void terminate(Command *command) {
        if (command->terminated) {
                tell_keeper(command, SIGNAL_END);
                return;
        }
        command->terminated = true;
        tell_keeper(command, SIGTERM);
        (void) sd_event_source_set_time_relative(command->timer, COMMAND_STOP_USEC);
        (void) sd_event_source_set_enabled(command->timer, SD_EVENT_ONESHOT);
}

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Command *command = userdata;

        if (!command->terminated)
                command->timed_out = true;
        terminate(command);
        return 0;
}

void child_cancel(Command *command) {
        terminate(command);
}

void child_kill(Command *command) {
        if (command->pid <= 0)
                return;
        tell_keeper(command, SIGNAL_END);
        command->child = sd_event_source_disable_unref(command->child);
        (void) waitpid(command->pid, NULL, 0);
        command->pid = 0;
}

int child_start(Command *command) {
        sd_event *event = command->commands->event;
        usec_t deadline = USEC_INFINITY;
        pid_t us = getpid();
        int error[2], r;

        if (pipe2(error, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        command->error_fd = error[0];
        if (command->timeout_usec < USEC_INFINITY - command->asked_usec)
                deadline = command->asked_usec + command->timeout_usec;
        r = sd_event_add_time(event, &command->timer, CLOCK_MONOTONIC, deadline, 0, on_timer, command);
        if (r < 0) {
                safe_close(error[1]);
                return r;
        }

        command->pid = fork();
        if (command->pid < 0) {
                r = -errno;
                safe_close(error[1]);
                return r;
        }
        if (command->pid == 0)
                run_keeper(command, error[1], us);
        safe_close(error[1]);
        for (size_t i = 0; i < ELEMENTSOF(command->write_ends); i++)
                command->write_ends[i] = safe_close(command->write_ends[i]);
        command->input_fd = safe_close(command->input_fd);
        command->output_fd = safe_close(command->output_fd);

        r = sd_event_add_child(event, &command->child, command->pid, WEXITED, on_child_exit, command);
        if (r < 0) {
                child_kill(command);
                return r;
        }
        return 0;
}
