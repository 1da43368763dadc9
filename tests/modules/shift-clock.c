/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * No module, but a library for LD_PRELOAD: the wall clock as if somebody had set it. /run/clock-shift holds the seconds that
 * are added to CLOCK_REALTIME; other clocks, and timers, go as they do. (libfaketime shifts CLOCK_BOOTTIME as well, which
 * nobody can set.)
 */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
        int fd = open("/run/clock-shift", O_RDONLY | O_CLOEXEC);
        char text[32] = "";

        if (fd < 0)
                return 0;
        if (read(fd, text, sizeof(text) - 1) < 0)
                text[0] = 0;
        (void) close(fd);
        return atol(text);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *ret) {
        long r = syscall(SYS_clock_gettime, clock, ret);

        if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                ret->tv_sec += shift();
        return (int) r;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
        struct timespec now;

        (void) zone;
        if (clock_gettime(CLOCK_REALTIME, &now) < 0)
                return -1;
        *ret = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
        return 0;
}

__attribute__((visibility("default"))) time_t time(time_t *ret) {
        struct timespec now;

        if (clock_gettime(CLOCK_REALTIME, &now) < 0)
                return -1;
        if (ret)
                *ret = now.tv_sec;
        return now.tv_sec;
}
