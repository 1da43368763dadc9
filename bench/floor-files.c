/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The floor of checking files: of each file what a check cannot do without, and no word about it. By so many processes at once,
 * each with its share. Prints microseconds of wall time and of CPU, for all of them; a line for each round.
 *
 *      floor-files DIR N ROUNDS [PROCESSES]
 */

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "floor.h"

#define PROCESSES_MAX 1024

static void check(const char *dir, long i, const char *expected) {
        static char buffer[65536];
        char path[4096];
        struct stat st;
        int fd;

        file_path(path, sizeof(path), dir, i);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                err(1, "Failed to open '%s'", path);
        if (read(fd, buffer, sizeof(buffer)) != FILE_SIZE || st.st_size != FILE_SIZE ||
                memcmp(buffer, expected, FILE_SIZE) != 0)
                errx(1, "'%s' is not as it should be", path);
        (void) close(fd);
}

/* A byte says that a round begins; the answer is what it took of CPU. */
static void work(int fd, const char *dir, long first, long end, const char *contents) {
        char begin;

        while (read(fd, &begin, 1) == 1) {
                double cpu = cpu_usec();

                for (long i = first; i < end; i++)
                        check(dir, i, contents + i * FILE_SIZE);
                cpu = cpu_usec() - cpu;
                if (write(fd, &cpu, sizeof(cpu)) != sizeof(cpu))
                        err(1, "Failed to answer");
        }
        _exit(0);
}

static void run_round(const int *fds, long n) {
        double wall = wall_usec(), cpu = 0, part;

        for (long p = 0; p < n; p++)
                if (write(fds[p], "", 1) != 1)
                        err(1, "Failed to ask");
        for (long p = 0; p < n; p++) {
                if (read(fds[p], &part, sizeof(part)) != sizeof(part))
                        errx(1, "A process has failed");
                cpu += part;
        }
        (void) printf("%.1f %.1f\n", wall_usec() - wall, cpu);
}

int main(int argc, char **argv) {
        long n, rounds, n_processes;
        int fds[PROCESSES_MAX];
        char *contents;

        if (argc != 4 && argc != 5)
                errx(2, "usage: floor-files DIR N ROUNDS [PROCESSES]");
        n = atol(argv[2]);
        rounds = atol(argv[3]);
        n_processes = argc == 5 ? atol(argv[4]) : 1;
        if (n_processes < 1 || n_processes > PROCESSES_MAX)
                errx(2, "so many processes cannot be");
        contents = file_contents(n);

        for (long p = 0; p < n_processes; p++) {
                int pair[2];
                pid_t pid;

                if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                        err(1, "Failed to make a socket pair");
                pid = fork();
                if (pid < 0)
                        err(1, "Failed to fork");
                if (pid == 0) {
                        for (long k = 0; k < p; k++)
                                (void) close(fds[k]);
                        (void) close(pair[0]);
                        work(pair[1], argv[1], n * p / n_processes, n * (p + 1) / n_processes, contents);
                }
                (void) close(pair[1]);
                fds[p] = pair[0];
        }
        for (long r = 0; r < rounds; r++)
                run_round(fds, n_processes);
        free(contents);
        return 0;
}
