/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "validate.h"

int validate_prepare(
        AgentdPrepare *prepare, int parameter, const AgentdValue *list, const char *const **ret_argv) {
        const char **argv;
        unsigned places = 0;

        if (list->type == AGENTD_NONE) {
                *ret_argv = NULL;
                return 0;
        }
        if (list->n == 0 || list->n > VALIDATE_ARGUMENTS_MAX || list->items[0].string[0] != '/') {
                agentd_prepare_error(prepare, parameter,
                        "'validate' must be the absolute path of a program, and at most %d arguments",
                        VALIDATE_ARGUMENTS_MAX - 1);
                return -EINVAL;
        }
        argv = agentd_alloc(prepare, (list->n + 1) * sizeof(argv[0]));
        for (uint32_t k = 0; k < list->n; k++) {
                argv[k] = list->items[k].string;
                if (strlen(argv[k]) != list->items[k].size) {
                        agentd_prepare_error(prepare, parameter, "'validate' has a NUL in it");
                        return -EINVAL;
                }
                for (const char *place = argv[k]; (place = strstr(place, "%s")); place += 2)
                        places++;
        }
        if (places != 1 || strstr(argv[0], "%s")) {
                agentd_prepare_error(prepare, parameter,
                        "'validate' needs %%s, for the path of the new file, in exactly one argument");
                return -EINVAL;
        }
        *ret_argv = argv;
        return 0;
}

/* The end of what a command has said, as one line. */
static void last_lines(const char *text, size_t size, char *line, size_t line_size) {
        size_t from = size > line_size - 1 ? size - (line_size - 1) : 0, n = 0;
        unsigned lines = 0;

        while (size > from && (text[size - 1] == '\n' || text[size - 1] == ' '))
                size--;
        for (size_t k = size; k > from; k--)
                if (text[k - 1] == '\n' && ++lines == 3) {
                        from = k;
                        break;
                }
        for (size_t k = from; k < size; k++)
                line[n++] = (unsigned char) text[k] < ' ' ? ' ' : text[k];
        line[n] = 0;
}

int validate_run(AgentdContext *context, size_t i, const char *const *validate, const char *path,
        char error[static VALIDATE_ERROR_MAX]) {
        AgentdCommandResult result = { .size = sizeof(result) };
        const char *argv[VALIDATE_ARGUMENTS_MAX + 1] = {};
        char argument[2 * PATH_MAX], line[800];
        int r = 0;

        for (size_t k = 0; validate[k] && r == 0; k++) {
                const char *place = strstr(validate[k], "%s");

                argv[k] = validate[k];
                if (!place)
                        continue;
                if ((size_t) snprintf(argument, sizeof(argument), "%.*s%s%s", (int) (place - argv[k]),
                            argv[k], path, place + 2) >= sizeof(argument))
                        r = -ENAMETOOLONG;
                argv[k] = argument;
        }
        if (r == 0)
                r = agentd_run_command(context, i,
                        &(AgentdCommand){ .size = sizeof(AgentdCommand), .argv = argv }, &result);
        if (r < 0) {
                (void) snprintf(error, VALIDATE_ERROR_MAX, "Failed to run '%s', which validates it: %s",
                        validate[0], strerror(-r));
                return r;
        }
        if (result.end == AGENTD_COMMAND_EXITED && result.code == 0)
                return 0;
        /* Some say what is wrong on standard output. */
        if (result.errors_size > 0)
                last_lines(result.errors, result.errors_size, line, sizeof(line));
        else
                last_lines(result.output, result.output_size, line, sizeof(line));
        /* What explains the status has the last line of them alone. */
        if (result.end == AGENTD_COMMAND_EXITED && line[0])
                (void) snprintf(error, VALIDATE_ERROR_MAX,
                        "'%s' refuses the new content: it exited with status %d: %s", validate[0],
                        result.code, line);
        else
                (void) snprintf(error, VALIDATE_ERROR_MAX, "'%s' refuses the new content: %s", validate[0],
                        result.explanation ? result.explanation : "it failed");
        return -EBADMSG;
}
