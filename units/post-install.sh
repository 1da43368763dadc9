#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: post-install.sh PREFIX     by meson install
#
# What a package's scripts do, for those who install without one: accounts, directories, catalogue, units. Starts and
# enables nothing. Each step may fail, and says so: what was installed is there, and the command can be repeated by hand.

set -u
prefix=$1
PATH=$PATH:/usr/sbin:/sbin
export PATH

if [ "$(id -u)" != 0 ]; then
        echo "agentd: not root, so there are no accounts, directories and catalogue yet" >&2
        exit 0
fi

step() {
        if ! command -v "$1" >/dev/null; then
                echo "agentd: there is no $1; left out: $*" >&2
        elif ! "$@"; then
                echo "agentd: failed: $*" >&2
        fi
}

step systemd-sysusers "$prefix/lib/sysusers.d/agentd.conf"
step systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/agentd.conf"
step journalctl --update-catalog
# Only where systemd runs: not in a chroot, nor where an image is built.
if [ -d /run/systemd/system ]; then
        step systemctl daemon-reload
fi
exit 0
