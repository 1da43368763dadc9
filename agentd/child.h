/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What every child of the engine does first, whatever it is for. */

/* Signals as a new process has them, none blocked, but that a peer which is gone is an error and no end. */
void child_reset_signals(void);

/*
 * Makes descriptors 0 … n - 1 lead to /dev/null; where there is none that can be opened, as in many a chroot, to
 * nothing that could be read or written. Return: 0; -errno.
 */
int child_open_null(int n);
