/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * agentd as a service: the event loop around the engine and the local interface, signals, the sockets that systemd hands
 * over, the lock, and the change to another program after an upgrade.
 */

typedef struct DaemonOptions {
        const char *conf_dir;   /* replaces all conf.d directories; NULL: the usual ones */
        const char *module_dir; /* searched first; NULL */
        int log_level;          /* counts more than agentd.toml; -1: that counts */
        char **argv;            /* to exec a newer program with */
} DaemonOptions;

/* Runs until it is told to stop. Return: the exit status. */
int daemon_run(const DaemonOptions *options);
