/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The floor of asking about states: their numbers go to a child over a SOCK_SEQPACKET pair in batches, an answer of the
 * size of a result comes back for each, and is looked at. Prints microseconds of wall time, and of CPU of who asks.
 *
 *      floor-pipe N BATCH
 */

#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "floor.h"

/* As much as a RESULT takes in agentd's messages: kind and size, state, verdict, duration, an empty text. */
typedef struct Answer {
        uint32_t kind, size, state, verdict;
        uint64_t duration_usec;
        uint32_t text, padding;
} Answer;

static void answer(int fd, uint32_t *states, Answer *answers, size_t batch) {
        ssize_t n;

        while ((n = recv(fd, states, batch * sizeof(*states), 0)) > 0) {
                size_t n_states = (size_t) n / sizeof(*states);

                for (size_t i = 0; i < n_states; i++)
                        answers[i] = (Answer){
                                .kind = 2, .size = sizeof(Answer), .state = states[i], .verdict = 1
                        };
                if (send(fd, answers, n_states * sizeof(*answers), 0) < 0)
                        _exit(1);
        }
        _exit(0);
}

int main(int argc, char **argv) {
        size_t n, batch, asked = 0, answered = 0;
        double wall, cpu;
        uint32_t *states;
        Answer *answers;
        uint8_t *results;
        int pair[2];
        pid_t pid;

        if (argc != 3)
                errx(2, "usage: floor-pipe N BATCH");
        n = (size_t) atol(argv[1]);
        batch = (size_t) atol(argv[2]);
        states = calloc(batch, sizeof(*states));
        answers = calloc(batch, sizeof(*answers));
        results = calloc(n, 1);
        if (!states || !answers || !results ||
                socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                err(1, "Failed to begin");
        pid = fork();
        if (pid < 0)
                err(1, "Failed to fork");
        if (pid == 0) {
                (void) close(pair[0]);
                answer(pair[1], states, answers, batch);
        }
        (void) close(pair[1]);

        wall = wall_usec();
        cpu = cpu_usec();
        while (answered < n) {
                size_t n_states = 0;
                ssize_t size;

                while (n_states < batch && asked < n)
                        states[n_states++] = (uint32_t) asked++;
                if (send(pair[0], states, n_states * sizeof(*states), 0) < 0)
                        err(1, "Failed to ask");
                size = recv(pair[0], answers, batch * sizeof(*answers), 0);
                if (size <= 0)
                        err(1, "Failed to hear");
                for (size_t i = 0; i < (size_t) size / sizeof(*answers); i++)
                        results[answers[i].state] = (uint8_t) answers[i].verdict;
                answered += (size_t) size / sizeof(*answers);
        }
        (void) printf("%.1f %.1f\n", wall_usec() - wall, cpu_usec() - cpu);
        (void) close(pair[0]);
        if (waitpid(pid, NULL, 0) != pid || results[n - 1] != 1)
                errx(1, "Not all has been answered");
        free(states);
        free(answers);
        free(results);
        return 0;
}
