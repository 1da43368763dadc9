/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The floor of checking files: of each file what a check cannot do without, in one process without a word about it.
 * Prints microseconds of wall time and of CPU, for all of them; a line for each round.
 *
 *      floor-files DIR N ROUNDS
 */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "floor.h"

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

int main(int argc, char **argv) {
        char *contents;
        long n, rounds;

        if (argc != 4)
                errx(2, "usage: floor-files DIR N ROUNDS");
        n = atol(argv[2]);
        rounds = atol(argv[3]);
        contents = file_contents(n);

        for (long r = 0; r < rounds; r++) {
                double wall = wall_usec(), cpu = cpu_usec();

                for (long i = 0; i < n; i++)
                        check(argv[1], i, contents + i * FILE_SIZE);
                (void) printf("%.1f %.1f\n", wall_usec() - wall, cpu_usec() - cpu);
        }
        free(contents);
        return 0;
}
