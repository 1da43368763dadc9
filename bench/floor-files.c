/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The floor of checking files: for each of DIR/d(N / 100)/fN what a check cannot do without, in one process without a word
 * about it. Prints microseconds of wall time and of CPU for each file, the median of the rounds.
 *
 *      floor-files DIR N ROUNDS
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double wall(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double) ts.tv_sec * 1e6 + (double) ts.tv_nsec / 1e3;
}

static double cpu(void) {
        struct rusage u;

        (void) getrusage(RUSAGE_SELF, &u);
        return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
               (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int compare(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

int main(int argc, char **argv) {
        static char buffer[65536], expected[65536];
        long n, rounds;
        double *walls, *cpus;

        if (argc != 4)
                return 2;
        n = atol(argv[2]);
        rounds = atol(argv[3]);
        walls = calloc((size_t) rounds, sizeof(double));
        cpus = calloc((size_t) rounds, sizeof(double));
        if (!walls || !cpus)
                return 1;

        for (long r = 0; r < rounds; r++) {
                double w = wall(), c = cpu();

                for (long i = 0; i < n; i++) {
                        char path[4096];
                        struct stat st;
                        ssize_t size;
                        int fd;

                        (void) snprintf(path, sizeof(path), "%s/d%ld/f%ld", argv[1], i / 100, i);
                        fd = open(path, O_RDONLY | O_CLOEXEC);
                        if (fd < 0 || fstat(fd, &st) < 0)
                                return 1;
                        size = read(fd, buffer, sizeof(buffer));
                        if (size != st.st_size || memcmp(buffer, expected, (size_t) size) == 0)
                                return 1;
                        (void) close(fd);
                }
                walls[r] = (wall() - w) / (double) n;
                cpus[r] = (cpu() - c) / (double) n;
        }

        qsort(walls, (size_t) rounds, sizeof(double), compare);
        qsort(cpus, (size_t) rounds, sizeof(double), compare);
        (void) printf("%.2f us wall, %.2f us CPU a file\n", walls[rounds / 2], cpus[rounds / 2]);
        return 0;
}
