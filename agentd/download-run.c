/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * agentd-fetch from outside: who it runs as, and what it is left with. It speaks with strangers, so it has no right at all, and
 * not even the user of the checks, who may read everything.
 *
 * With systemd it is a unit like other commands, in as tight a sandbox as there is. Without systemd, or for a tree that may have
 * neither the program nor its libraries, it is a child of ours.
 */

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "child.h"
#include "download-run.h"

/* What it may say. */
#define ANSWER_MAX KIB(64)

#define EXIT_NOT_STARTED 127

/* ---- As a unit ------------------------------------------------------------------------------------------------------- */

#define TEXT(key_, text_)                                                                   \
        {                                                                                   \
                (key_), {                                                                   \
                        .type = AGENTD_STRING, .string = (text_), .size = sizeof(text_) - 1 \
                }                                                                           \
        }
#define YES(key_)                                               \
        {                                                       \
                (key_), {                                       \
                        .type = AGENTD_BOOLEAN, .boolean = true \
                }                                               \
        }

/* It may reach servers and what names need (sockets of systemd-resolved and nscd), and read what everybody may read. */
static const AgentdMember unit_members[] = {
        YES("NoNewPrivileges"),
        { "CapabilityBoundingSet", { .type = AGENTD_LIST } },
        TEXT("ProtectSystem", "strict"),
        TEXT("ProtectHome", "read-only"),
        TEXT("ProtectProc", "invisible"),
        YES("PrivateTmp"),
        YES("PrivateDevices"),
        YES("ProtectClock"),
        YES("ProtectControlGroups"),
        YES("ProtectHostname"),
        YES("ProtectKernelLogs"),
        YES("ProtectKernelModules"),
        YES("ProtectKernelTunables"),
        YES("LockPersonality"),
        YES("MemoryDenyWriteExecute"),
        YES("RestrictNamespaces"),
        YES("RestrictRealtime"),
        YES("RestrictSUIDSGID"),
        TEXT("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        TEXT("SystemCallArchitectures", "native"),
        TEXT("MemoryMax", "256M"),
        TEXT("TasksMax", "16"),
        TEXT("LimitCORE", "0"),
};

/* Return: 1: it has run; 0: units are not to be had here; -errno. */
static int run_as_unit(AgentdContext *context, size_t i, const char *request, int fd, usec_t timeout_usec,
        DownloadAnswer *ret, bool *ret_gone, char **reterr) {
        static const char *const argv[] = { FETCH_PROGRAM, NULL };
        const AgentdValue unit = {
                .type = AGENTD_TABLE,
                .n = ELEMENTSOF(unit_members),
                .members = unit_members,
        };
        const AgentdCommand command = {
                .size = sizeof(command),
                .argv = argv,
                .input = request,
                .input_size = strlen(request),
                .timeout_usec = timeout_usec,
                .flags = AGENTD_COMMAND_SECRET | AGENTD_COMMAND_QUIET | AGENTD_COMMAND_OUTPUT_FD,
                .user = SANDBOX_FETCH_USER,
                .unit = &unit,
                .output_fd = fd,
                .output_max = ANSWER_MAX,
        };
        AgentdCommandResult result = { .size = sizeof(result) };
        int r;

        r = agentd_run_command(context, i, &command, &result);
        if (r < 0)
                return r == -EOPNOTSUPP ? 0 : r;
        *ret_gone = true;
        switch (result.end) {
        case AGENTD_COMMAND_EXITED:
                r = download_answer_parse(result.errors, result.errors_size, ret);
                if (r < 0)
                        *reterr = strdup(result.explanation);
                return r < 0 ? -EPROTO : 1;
        case AGENTD_COMMAND_TIMED_OUT: return -ETIMEDOUT;
        case AGENTD_COMMAND_NOT_RUN:
                if (result.code == EOPNOTSUPP) {
                        *ret_gone = false;
                        return 0;
                }
                *reterr = strdup(result.explanation);
                return -EINVAL;
        default: *reterr = strdup(result.explanation); return -EPROTO;
        }
}

/* ---- As a child ------------------------------------------------------------------------------------------------------ */

static _noreturn_ void run_child(int input, int output, int errors, uid_t uid, gid_t gid, pid_t parent) {
        static const char *const environment[] = { "PATH=/usr/bin:/bin", "LANG=C.UTF-8", NULL };
        static const char *const argv[] = { FETCH_PROGRAM, NULL };

        child_reset_signals();
        if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
                dup2(errors, STDERR_FILENO) < 0)
                _exit(EXIT_NOT_STARTED);
        close_descriptors(STDERR_FILENO + 1, NULL, 0);
        for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++)
                (void) prctl(PR_CAPBSET_DROP, i);
        if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
                _exit(EXIT_NOT_STARTED);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setsid() < 0 || chdir("/") < 0)
                _exit(EXIT_NOT_STARTED);
        /* After the change of user, which clears it. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(EXIT_NOT_STARTED);
        (void) execve(argv[0], (char *const *) argv, (char *const *) environment);
        _exit(EXIT_NOT_STARTED);
}

/* Until the program closes it. Return: the size; -ETIMEDOUT; -EMSGSIZE; -errno. */
static ssize_t read_answer(int fd, char *buffer, size_t size, usec_t timeout_usec) {
        usec_t end = now_usec(CLOCK_MONOTONIC) + timeout_usec;
        size_t done = 0;

        for (;;) {
                struct pollfd pollfd = { .fd = fd, .events = POLLIN };
                usec_t now = now_usec(CLOCK_MONOTONIC);
                ssize_t n;
                int r;

                if (now >= end)
                        return -ETIMEDOUT;
                r = poll(&pollfd, 1, (int) MIN((end - now) / USEC_PER_MSEC + 1, (usec_t) INT_MAX));
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r <= 0)
                        continue;
                n = read(fd, buffer + done, size - done);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return (ssize_t) done;
                done += (size_t) n;
                if (done == size)
                        return -EMSGSIZE;
        }
}

static int make_input(const char *request, int *ret) {
        _cleanup_close_ int fd = memfd_create("agentd-fetch", MFD_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = write_full(fd, request, strlen(request));
        if (r < 0)
                return r;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static int run_as_child(
        const char *request, int fd, usec_t timeout_usec, DownloadAnswer *ret, char **reterr) {
        _cleanup_close_ int input = -EBADF, from = -EBADF, to = -EBADF;
        _cleanup_free_ char *buffer = malloc(ANSWER_MAX);
        pid_t parent = getpid(), pid;
        int pair[2], status = 0, r;
        ssize_t n;
        uid_t uid;
        gid_t gid;

        if (!buffer)
                return -ENOMEM;
        r = sandbox_find_fetch_user(&uid, &gid);
        if (r < 0)
                return r;
        r = make_input(request, &input);
        if (r < 0)
                return r;
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        from = pair[0];
        to = pair[1];

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_child(input, fd, to, uid, gid, parent);
        to = safe_close(to);
        n = read_answer(from, buffer, ANSWER_MAX, timeout_usec);
        if (n < 0)
                (void) kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (n < 0)
                return n == -EMSGSIZE ? -EPROTO : (int) n;
        if (n == 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_STARTED) {
                *reterr = strdup("'" FETCH_PROGRAM "' cannot be run as a user without rights");
                return -EINVAL;
        }
        r = download_answer_parse(buffer, (size_t) n, ret);
        return r < 0 ? -EPROTO : 0;
}

int fetch_run(AgentdContext *context, size_t i, const char *request, int fd, usec_t timeout_usec,
        DownloadAnswer *ret, bool *ret_gone, char **reterr) {
        uid_t uid;
        gid_t gid;
        int r;

        *ret_gone = false;
        /* A unit knows users by name only. */
        if (context->root_is_host && sandbox_find_fetch_user(&uid, &gid) > 0) {
                r = run_as_unit(context, i, request, fd, timeout_usec, ret, ret_gone, reterr);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        return run_as_child(request, fd, timeout_usec, ret, reterr);
}
