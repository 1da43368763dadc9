/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Programs that modules run while they apply: what a worker asks for is checked, run by the engine, and answered. */

#include "command-message.h"
#include "worker.h"

/*
 * worker_command_start() - does what a COMMAND says
 * @left_usec:   of the time of its state
 * @ret_timeout: of the command
 *
 * Return: 0; -EBADMSG: the worker is mad; other -errno: to be answered, as that is what the module gets.
 */
int worker_command_start(Commands *commands, const Image *image, const Batch *batch, MessageReader *reader,
        const int *fds, size_t n_fds, usec_t left_usec, const CommandHandlers *handlers, void *userdata,
        Command **ret, usec_t *ret_timeout);

/* Answers; error: -errno, result may be NULL then. Return: 0; -errno: the worker cannot be reached. */
int worker_command_answer(int fd, int error, const CommandResult *result);
