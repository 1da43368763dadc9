/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * agentd-fetch from outside: who it runs as, and what it is left with. It speaks with strangers, so it has no right at all, and
 * not even the user of the checks, who may read everything.
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

int fetch_run(AgentdContext *context, size_t i, const char *request, int fd, usec_t timeout_usec,
        DownloadAnswer *ret, char **reterr) {
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
