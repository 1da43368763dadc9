/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How long a check worker takes from the fork until it says that it is ready, and beside it a child that says so at once.
 * Prints microseconds of wall time: the floor's, then the worker's; a line for each round.
 *
 *      worker-start STATES ROUNDS
 *
 * The engine looks after so many states: its heap is as large as the budget says, since a fork copies its page tables.
 */

#include <sys/socket.h>
#include <sys/wait.h>

#include "floor.h"
#include "worker.h"

static void be_ready(int fd) {
        _exit(send(fd, "ready", 5, 0) == 5 ? 0 : 1);
}

static double start(const WorkerSetup *setup) {
        double begun = wall_usec(), usec;
        char buffer[4096];
        WorkerSetup mine;
        int pair[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                err(1, "Failed to make a pair of sockets");
        pid = fork();
        if (pid < 0)
                err(1, "Failed to fork");
        if (pid == 0) {
                if (!setup)
                        be_ready(pair[1]);
                mine = *setup;
                mine.fd = pair[1];
                worker_main(&mine);
        }
        (void) close(pair[1]);
        if (recv(pair[0], buffer, sizeof(buffer), 0) <= 0)
                errx(1, "It is never ready");
        usec = wall_usec() - begun;
        (void) close(pair[0]); /* its sign to go */
        (void) waitpid(pid, NULL, 0);
        return usec;
}

int main(int argc, char **argv) {
        ImageHeader header = {};
        Image image = { .n_ref = 1, .memfd = -EBADF, .header = &header };
        WorkerPoolOptions options = { .root = "/", .sandbox.memory_bytes = WORKER_MEMORY_BYTES };
        const WorkerSetup setup = {
                .kind = WORKER_CHECK,
                .image = &image,
                .options = &options,
                .engine = getpid(),
                .type = WORKER_NO_TYPE,
        };
        size_t size;
        char *heap;

        if (argc != 3)
                errx(2, "usage: worker-start STATES ROUNDS");
        if (sandbox_find_user(&options.sandbox.uid, &options.sandbox.gid) < 0)
                errx(1, "Failed to find the user for checks");
        size = 900000 + 330 * (size_t) atol(argv[1]);
        heap = malloc(size);
        if (!heap)
                err(1, "Failed to get memory");
        memset(heap, 1, size);

        for (long r = 0; r < atol(argv[2]); r++) {
                double floor = start(NULL);

                (void) printf("%.1f %.1f\n", floor, start(&setup));
        }
        free(heap);
        return 0;
}
