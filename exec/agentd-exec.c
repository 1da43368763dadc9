/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Executes a program whose arguments, or variables, have characters that systemd cannot write down: 252 does not read back what it writes
 * into the file of a transient unit for '$', ';' and line ends. If it reads its units anew before the start job has begun, another
 * program would be run than was meant.
 *
 *      agentd-exec [eNAME=VALUE]… aPROGRAM aARGUMENT…
 *
 * What comes after the first letter has "_" and two hexadecimal digits in the place of such a character, and of "_" itself.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As systemd gives what it cannot execute. */
#define EXIT_EXEC 203

static int digit(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. Return: 0; -EINVAL. */
static int decode(char *text) {
        char *to = text;

        for (const char *p = text; *p; p++) {
                int value;

                if (*p != '_') {
                        *to++ = *p;
                        continue;
                }
                if (digit(p[1]) < 0 || digit(p[2]) < 0)
                        return -EINVAL;
                value = 16 * digit(p[1]) + digit(p[2]);
                if (value == 0)
                        return -EINVAL;
                *to++ = (char) value;
                p += 2;
        }
        *to = '\0';
        return 0;
}

int main(int argc, char **argv) {
        int i = 1;

        for (int k = 1; k < argc; k++)
                if ((*argv[k] != 'e' && *argv[k] != 'a') || decode(argv[k]) < 0) {
                        (void) fprintf(stderr, "agentd-exec: argument %d is not encoded\n", k);
                        return EXIT_EXEC;
                }
        for (; i < argc && *argv[i] == 'e'; i++)
                if (putenv(argv[i] + 1) != 0)
                        return EXIT_EXEC;
        if (i == argc) {
                (void) fprintf(stderr, "agentd-exec: no program is given\n");
                return EXIT_EXEC;
        }
        for (int k = i; k < argc; k++)
                argv[k]++;
        (void) execv(argv[i], argv + i);
        (void) fprintf(stderr, "Failed to execute '%s': %s\n", argv[i], strerror(errno));
        return EXIT_EXEC;
}
