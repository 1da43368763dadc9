/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The floor of making files durably: all temporaries are written and not synced, then the file system is synced once,
 * then each gets its name. The directories are there. Prints microseconds of wall time and of CPU, for all of them.
 *
 *      floor-apply DIR N
 */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "floor.h"

static void temporary_path(char *path, size_t size, const char *dir, long i) {
        (void) snprintf(path, size, "%s/d%ld/.f%ld.new", dir, i / 100, i);
}

int main(int argc, char **argv) {
        char from[4096], to[4096], *contents;
        double wall, cpu;
        int dir_fd, fd;
        long n;

        if (argc != 3)
                errx(2, "usage: floor-apply DIR N");
        n = atol(argv[2]);
        contents = file_contents(n);
        dir_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                err(1, "Failed to open '%s'", argv[1]);

        wall = wall_usec();
        cpu = cpu_usec();
        for (long i = 0; i < n; i++) {
                temporary_path(from, sizeof(from), argv[1], i);
                fd = open(from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                if (fd < 0 || write(fd, contents + i * FILE_SIZE, FILE_SIZE) != FILE_SIZE ||
                        fchmod(fd, 0644) < 0)
                        err(1, "Failed to write '%s'", from);
                (void) close(fd);
        }
        if (syncfs(dir_fd) < 0)
                err(1, "Failed to sync '%s'", argv[1]);
        for (long i = 0; i < n; i++) {
                temporary_path(from, sizeof(from), argv[1], i);
                file_path(to, sizeof(to), argv[1], i);
                if (rename(from, to) < 0)
                        err(1, "Failed to rename '%s'", from);
        }
        (void) printf("%.1f %.1f\n", wall_usec() - wall, cpu_usec() - cpu);
        free(contents);
        return 0;
}
