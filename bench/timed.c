/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs commands by turns, their standard output thrown away, and prints microseconds of wall time and of CPU for each
 * of them, those of the children that they waited for included; a line for each round. All have to succeed.
 *
 *      timed ROUNDS COMMAND... [-- COMMAND...]...
 */

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "floor.h"

extern char **environ;

static void run(char **command, const posix_spawn_file_actions_t *actions) {
        struct rusage usage;
        double begun = wall_usec();
        int status;
        pid_t pid;

        errno = posix_spawnp(&pid, command[0], actions, NULL, command, environ);
        if (errno != 0)
                err(1, "Failed to run '%s'", command[0]);
        if (wait4(pid, &status, 0, &usage) < 0)
                err(1, "Failed to wait for '%s'", command[0]);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                errx(1, "'%s' failed", command[0]);
        (void) printf("%.1f %.1f ", wall_usec() - begun, usage_usec(&usage));
}

int main(int argc, char **argv) {
        posix_spawn_file_actions_t actions;

        if (argc < 3)
                errx(2, "usage: timed ROUNDS COMMAND... [-- COMMAND...]...");
        if (posix_spawn_file_actions_init(&actions) != 0 ||
                posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0) != 0)
                err(1, "Failed to begin");
        for (int i = 2; i < argc; i++)
                if (strcmp(argv[i], "--") == 0)
                        argv[i] = NULL;

        for (long r = 0; r < atol(argv[1]); r++) {
                for (int i = 2; i < argc; i++)
                        if (argv[i] && (i == 2 || !argv[i - 1]))
                                run(argv + i, &actions);
                (void) printf("\n");
        }
        (void) posix_spawn_file_actions_destroy(&actions);
        return 0;
}
