/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How long a managed file stays wrong. In each round a byte of one is overwritten, by turns of a file that the running
 * agentd looks after, in DIR, and of one that this program puts right itself, in FLOOR: the wrong content is saved
 * unsynced, the right one written to a temporary file, synced, renamed, and read again. Prints microseconds of wall
 * time from the overwriting until the content is right: the floor's, then agentd's; a line for each round.
 * If agentd lets two seconds pass, it prints "n/a" and ends.
 *
 *      heal DIR N FLOOR ROUNDS PAUSE
 *
 * PAUSE is in milliseconds, before each round.
 */

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "floor.h"

#define DEADLINE_USEC 2e6

static void spoil(const char *path) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || pwrite(fd, "!", 1, 100) != 1)
                err(1, "Failed to write '%s'", path);
        (void) close(fd);
}

static bool is_right(const char *path, const char *expected) {
        char buffer[FILE_SIZE + 1];
        ssize_t n;
        int fd;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, buffer, sizeof(buffer));
        (void) close(fd);
        return n == FILE_SIZE && memcmp(buffer, expected, FILE_SIZE) == 0;
}

static void write_file(const char *path, int flags, const char *content, bool sync) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

        if (fd < 0 || write(fd, content, FILE_SIZE) != FILE_SIZE || fchmod(fd, 0644) < 0 ||
                (sync && fsync(fd) < 0))
                err(1, "Failed to write '%s'", path);
        (void) close(fd);
}

static double heal(const char *path, const char *expected) {
        char saved[4200], temporary[4200], buffer[FILE_SIZE];
        double begun = wall_usec();
        int fd;

        spoil(path);
        (void) snprintf(saved, sizeof(saved), "%s.saved", path);
        (void) snprintf(temporary, sizeof(temporary), "%s.new", path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, buffer, FILE_SIZE) != FILE_SIZE || memcmp(buffer, expected, FILE_SIZE) == 0)
                errx(1, "'%s' was not spoilt", path);
        (void) close(fd);
        write_file(saved, O_TRUNC, buffer, false);
        write_file(temporary, O_EXCL, expected, true);
        if (rename(temporary, path) < 0 || !is_right(path, expected))
                err(1, "Failed to heal '%s'", path);
        return wall_usec() - begun;
}

/* Return: how long it took, or less than 0: too long. */
static double wait_healed(const char *dir, long i) {
        char path[4096], parent[4096], expected[FILE_SIZE], events[4096];
        struct pollfd poll_fd = { .events = POLLIN };
        double begun, now;

        file_content(expected, i);
        file_path(path, sizeof(path), dir, i);
        (void) snprintf(parent, sizeof(parent), "%s/d%ld", dir, i / 100);
        poll_fd.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (poll_fd.fd < 0 || inotify_add_watch(poll_fd.fd, parent, IN_MOVED_TO | IN_MODIFY) < 0)
                err(1, "Failed to watch '%s'", parent);

        begun = wall_usec();
        spoil(path);
        do {
                if (poll(&poll_fd, 1, 100) > 0)
                        while (read(poll_fd.fd, events, sizeof(events)) > 0)
                                ;
                now = wall_usec();
        } while (!is_right(path, expected) && now - begun < DEADLINE_USEC);
        (void) close(poll_fd.fd);
        return now - begun < DEADLINE_USEC ? now - begun : -1;
}

int main(int argc, char **argv) {
        char path[4096], expected[FILE_SIZE];
        long n, rounds, pause;

        if (argc != 6)
                errx(2, "usage: heal DIR N FLOOR ROUNDS PAUSE");
        n = atol(argv[2]);
        rounds = atol(argv[4]);
        pause = atol(argv[5]);
        (void) snprintf(path, sizeof(path), "%s/heal", argv[3]);
        file_content(expected, 0);
        write_file(path, O_TRUNC, expected, false);

        for (long r = 0; r < rounds; r++) {
                double healed, floor;

                (void) usleep((useconds_t) pause * 1000);
                healed = wait_healed(argv[1], r % n);
                if (healed < 0) {
                        (void) printf("n/a\n");
                        return 0;
                }
                floor = heal(path, expected);
                (void) printf("%.1f %.1f\n", floor, healed);
        }
        return 0;
}
