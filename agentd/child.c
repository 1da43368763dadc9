/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>

#include "child.h"
#include "util.h"

void child_reset_signals(void) {
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                if (i != SIGKILL && i != SIGSTOP)
                        (void) signal(i, SIG_DFL);
        (void) signal(SIGPIPE, SIG_IGN);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

int child_open_null(int n) {
        _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        if (null < 0)
                null = open("/", O_PATH | O_CLOEXEC);
        if (null < 0)
                return -errno;
        for (int fd = 0; fd < n; fd++)
                if (dup2(null, fd) < 0)
                        return -errno;
        if (null < n)
                null = -EBADF;
        return 0;
}
