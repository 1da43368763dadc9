# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody who owns a directory, and exchanges what is in it thousands of times a second: directories with symlinks."""

import contextlib
import os
import subprocess
import sys

ATTACK = """
import ctypes, os, sys
top, target = int(sys.argv[1]), sys.argv[2]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
rename = ctypes.CDLL(None).renameat2
names = [(b"d%d" % i, b"l%d" % i) for i in range(20)]
print("ready", flush=True)
while True:
    for a, b in names:
        # An odd number: what it is stays for a while, and is the other thing the next time.
        for _ in range(51):
            if rename(top, a, top, b, 2) != 0:
                break
        else:
            continue
        for make in (lambda: os.mkdir(a, dir_fd=top), lambda: os.symlink(target, b, dir_fd=top),
                     lambda: os.close(os.open(a + b"/f", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=top)),
                     lambda: os.utime(a + b"/f", (0, 0), dir_fd=top), lambda: os.utime(a, (0, 0), dir_fd=top)):
            try:
                make()
            except OSError:
                pass
"""


@contextlib.contextmanager
def exchanging(box, path, target):
    """In the directory, which belongs to nobody, d0 … d19 are directories now, and symlinks to the target then."""
    fd = os.open(f"/proc/{box.leader}/root{path}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        process = subprocess.Popen([sys.executable, "-c", ATTACK, str(fd), target], pass_fds=[fd],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    finally:
        os.close(fd)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, "the attacker has ended by itself"
    finally:
        process.kill()
        process.wait()
