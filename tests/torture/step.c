/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Does something to agentd right before its N-th step: a system call that changes something or tells somebody. What it
 * counts are the steps of one kind of its processes.
 *
 *      step REPORT KIND N ACTION PID              of the engine that runs, and of the children that it has and gets
 *      step --from FILE COMMAND ARGUMENT...       becomes COMMAND, traced by a grandchild as the line in FILE says:
 *                                                 "REPORT KIND N ACTION"; the file is removed. Without it: untraced
 *
 * REPORT   a file for lines of JSON; "-": standard output
 * KIND     engine, load, check, apply, watch, facts, housekeeper; with "*" behind it all system calls are steps
 * ACTION   kill; a directory: the power of its file system is cut
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXT4_IOC_SHUTDOWN _IOR('X', 125, unsigned)
#define NO_LOG_FLUSH      2u

#define OPTIONS                                                                                   \
        (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | \
                PTRACE_O_TRACEEXEC)

typedef struct Call {
        long number;
        const char *name;
        int path; /* the argument that is one, -1: none */
} Call;

static const Call calls[] = {
#define CALL(name, path) \
        { SYS_##name, #name, path }
        CALL(clone, -1),
        CALL(clone3, -1),
        CALL(copy_file_range, -1),
        CALL(execve, 0),
        CALL(exit_group, -1),
        CALL(fallocate, -1),
        CALL(fchmod, -1),
        CALL(fchmodat, 1),
        CALL(fchown, -1),
        CALL(fchownat, 1),
        CALL(fcntl, -1),
        CALL(fdatasync, -1),
        CALL(fsync, -1),
        CALL(ftruncate, -1),
        CALL(linkat, 3),
        CALL(memfd_create, -1),
        CALL(mkdirat, 1),
        CALL(mount_setattr, -1),
        CALL(openat, 1),
        CALL(pwrite64, -1),
        CALL(renameat2, 3),
        CALL(sendfile, -1),
        CALL(sendmmsg, -1),
        CALL(sendmsg, -1),
        CALL(sendto, -1),
        CALL(setresuid, -1),
        CALL(symlinkat, 2),
        CALL(unlinkat, 1),
        CALL(unshare, -1),
        CALL(write, -1),
        CALL(writev, -1),
#ifdef SYS_renameat
        CALL(renameat, 3),
#endif
#ifdef SYS_rename /* not where there are the newer ones only */
        CALL(fork, -1),
        CALL(mkdir, 0),
        CALL(rename, 1),
        CALL(symlink, 1),
        CALL(unlink, 0),
        CALL(vfork, -1),
#endif
};

typedef struct Plan {
        char report[256], kind[32], action[256];
        unsigned long n;
        int all;
} Plan;

static pid_t engine;
static int power_fd = -1;
static int report_fd = STDOUT_FILENO;

static void fail(const char *what) {
        perror(what);
        _exit(1);
}

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...) {
        va_list args;

        va_start(args, format);
        (void) vdprintf(report_fd, format, args);
        va_end(args);
}

static size_t read_proc(pid_t pid, const char *name, char *buffer, size_t size) {
        char path[64];
        ssize_t n = -1;
        int fd;

        (void) snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                n = read(fd, buffer, size - 1);
                (void) close(fd);
        }
        buffer[n < 0 ? 0 : n] = '\0';
        return n < 0 ? 0 : (size_t) n;
}

static int is_kind(pid_t pid, const char *kind) {
        char text[256];
        size_t n;

        if (strcmp(kind, "engine") == 0 || pid == engine)
                return strcmp(kind, "engine") == 0 && pid == engine;
        if (strcmp(kind, "housekeeper") == 0) {
                n = read_proc(pid, "cmdline", text, sizeof(text));
                return strlen(text) < n && strcmp(text + strlen(text) + 1, "--housekeeper") == 0;
        }
        (void) read_proc(pid, "comm", text, sizeof(text));
        text[strcspn(text, "\n")] = '\0';
        return strncmp(text, "agentd-", 7) == 0 && strcmp(text + 7, kind) == 0;
}

/* The call that this is the step of; NULL: it is none. */
static const Call *step_of(const Plan *plan, const struct __ptrace_syscall_info *info) {
        static Call other = { .name = "another call", .path = -1 };

        for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
                if ((long) info->entry.nr != calls[i].number)
                        continue;
                if (calls[i].number == SYS_openat && !(info->entry.args[2] & (O_CREAT | O_TRUNC)))
                        break;
                if (calls[i].number == SYS_fcntl && info->entry.args[1] != F_SETLK &&
                        info->entry.args[1] != F_OFD_SETLK && info->entry.args[1] != F_ADD_SEALS)
                        break;
                return &calls[i];
        }
        return plan->all ? &other : NULL;
}

static void read_path(pid_t pid, unsigned long address, char *buffer, size_t size) {
        struct iovec ours = { buffer, size - 1 }, theirs = { (void *) address, size - 1 };
        ssize_t n = process_vm_readv(pid, &ours, 1, &theirs, 1, 0);

        buffer[n < 0 ? 0 : n] = '\0';
        for (char *p = buffer; *p; p++)
                if (*p == '"' || *p == '\\' || (unsigned char) *p < ' ' || (unsigned char) *p > '~')
                        *p = '?';
}

static void act(const Plan *plan, pid_t pid, const Call *call, const struct __ptrace_syscall_info *info) {
        char path[128] = "";
        int status;

        if (call->path >= 0)
                read_path(pid, (unsigned long) info->entry.args[call->path], path, sizeof(path));
        report("{\"did\": \"%s\", \"kind\": \"%s\", \"pid\": %d, \"step\": %lu, \"call\": \"%s\", \"path\": "
               "\"%s\"}\n",
                power_fd >= 0 ? "power" : "kill", plan->kind, pid, plan->n, call->name, path);
        if (power_fd >= 0) {
                unsigned how = NO_LOG_FLUSH;

                if (ioctl(power_fd, EXT4_IOC_SHUTDOWN, &how) < 0)
                        fail("EXT4_IOC_SHUTDOWN");
        } else {
                (void) kill(pid, SIGKILL);
                while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
                        ;
        }
        _exit(0); /* and all the others are let go */
}

static void on_call(const Plan *plan, pid_t pid) {
        struct __ptrace_syscall_info info;
        static unsigned long done;
        const Call *call;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
                info.op != PTRACE_SYSCALL_INFO_ENTRY)
                return;
        call = step_of(plan, &info);
        if (!call || !is_kind(pid, plan->kind))
                return;
        if (++done == plan->n)
                act(plan, pid, call, &info);
}

static void trace(const Plan *plan) {
        for (;;) {
                int status, signal;
                pid_t pid = waitpid(-1, &status, __WALL);

                if (pid < 0 && errno == EINTR)
                        continue;
                if (pid < 0)
                        _exit(0);
                if (!WIFSTOPPED(status)) {
                        if (pid == engine)
                                _exit(0);
                        continue;
                }

                signal = WSTOPSIG(status);
                if (status >> 16 == PTRACE_EVENT_STOP && signal != SIGTRAP) {
                        (void) ptrace(PTRACE_LISTEN, pid, 0, 0);
                        continue;
                }
                if (signal == (SIGTRAP | 0x80))
                        on_call(plan, pid);
                if (signal == (SIGTRAP | 0x80) || status >> 16 != 0)
                        signal = 0;
                (void) ptrace(PTRACE_SYSCALL, pid, 0, (long) signal);
        }
}

static int seize(pid_t pid) {
        if (ptrace(PTRACE_SEIZE, pid, 0, OPTIONS) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
                return -errno;
        return 0;
}

/* Children that are forked meanwhile belong to us already, since their parent does. */
static void seize_children(pid_t parent) {
        char name[32], list[4096], *p = list;

        (void) snprintf(name, sizeof(name), "task/%d/children", parent);
        (void) read_proc(parent, name, list, sizeof(list));
        for (char *word; (word = strsep(&p, " ")) && *word;) {
                pid_t pid = (pid_t) strtol(word, NULL, 10);

                if (seize(pid) == 0)
                        seize_children(pid);
        }
}

static void prepare(Plan *plan) {
        size_t length = strlen(plan->kind);

        plan->all = length > 0 && plan->kind[length - 1] == '*';
        if (plan->all)
                plan->kind[length - 1] = '\0';
        if (strcmp(plan->report, "-") != 0)
                report_fd = open(plan->report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (report_fd < 0)
                fail(plan->report);
        if (strcmp(plan->action, "kill") == 0)
                return;
        power_fd = open(plan->action, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (power_fd < 0)
                fail(plan->action);
}

/* Returns in the process that is to be traced. */
static void fork_tracer(Plan *plan) {
        int ready[2];
        pid_t child;
        char byte;

        if (pipe2(ready, O_CLOEXEC) < 0)
                fail("pipe");
        engine = getpid();
        child = fork();
        if (child < 0)
                fail("fork");
        if (child == 0) {
                if (fork() != 0)
                        _exit(0);
                prepare(plan);
                if (seize(engine) < 0)
                        fail("PTRACE_SEIZE");
                (void) close(ready[0]);
                (void) close(ready[1]);
                trace(plan);
        }
        (void) waitpid(child, NULL, 0);
        (void) close(ready[1]);
        while (read(ready[0], &byte, 1) < 0 && errno == EINTR)
                ;
        (void) close(ready[0]);
}

static int start(const char *from, char **argv) {
        FILE *file = fopen(from, "re");
        Plan plan = {};

        if (file) {
                if (fscanf(file, "%255s %31s %lu %255s", plan.report, plan.kind, &plan.n, plan.action) != 4)
                        fail(from);
                (void) fclose(file);
                (void) unlink(from);
                fork_tracer(&plan);
        }
        (void) execv(argv[0], argv);
        fail(argv[0]);
        return 1;
}

int main(int argc, char **argv) {
        Plan plan = {};

        if (argc >= 4 && strcmp(argv[1], "--from") == 0)
                return start(argv[2], argv + 3);
        if (argc != 6) {
                (void) fprintf(
                        stderr, "usage: step REPORT KIND N ACTION PID | step --from FILE COMMAND...\n");
                return 2;
        }

        (void) snprintf(plan.report, sizeof(plan.report), "%s", argv[1]);
        (void) snprintf(plan.kind, sizeof(plan.kind), "%s", argv[2]);
        (void) snprintf(plan.action, sizeof(plan.action), "%s", argv[4]);
        plan.n = strtoul(argv[3], NULL, 10);
        engine = (pid_t) strtol(argv[5], NULL, 10);
        prepare(&plan);
        if (seize(engine) < 0)
                fail("PTRACE_SEIZE");
        seize_children(engine);
        report("{\"ready\": true}\n");
        trace(&plan);
}
