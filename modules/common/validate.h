/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parameter `validate` does for file and edit: a program has to agree with the new file before it takes its place. */

#include <agentd/module.h>

/* The program, and its arguments. */
#define VALIDATE_ARGUMENTS_MAX 64

/* Of a message. */
#define VALIDATE_ERROR_MAX 1200

/*
 * validate_prepare() - reads the parameter
 * @list:     a list of strings, or not given
 * @ret_argv: ended by NULL; NULL: not given
 *
 * Return: 0; -EINVAL after agentd_prepare_error().
 */
int validate_prepare(
        AgentdPrepare *prepare, int parameter, const AgentdValue *list, const char *const **ret_argv);

/*
 * validate_run() - runs the program on a file
 * @argv:  of validate_prepare()
 * @path:  in the place of %s; as `finish` of a replacement is told
 * @error: set on failure: one line for people
 *
 * Return: 0; -EBADMSG: it does not agree; other -errno: it could not be run.
 */
int validate_run(AgentdContext *context, size_t i, const char *const *argv, const char *path,
        char error[static VALIDATE_ERROR_MAX]);
