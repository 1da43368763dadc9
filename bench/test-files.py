#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""bench/files works, prints all of its lines, and leaves nothing. usage: test-files.py BUILD"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

LINES = (
    "first apply, a file",
    "full no-op run, a file",
    "… beside one process",
    "… its wall time",
    "repeated no-op run, a file",
    "… of that engine and pipe, a state",
    "one-shot no-op, agentd --once",
    "one-shot no-op of one state",
    "load",
    "load, 10 bytes a file",
    "systemctl start until READY",
    "check worker, fork until ready",
    "engine memory",
    "wake-ups in 3 s, idle",
    "drift healed, warm, p50",
    "drift healed, warm, p99",
    "drift healed, first after idle, p50",
    "for comparison: rsync -c, no-op",
    "for comparison: cf-agent, no-op",
    "for comparison: puppet, no-op",
)


def main():
    with tempfile.TemporaryDirectory(prefix="agentd-test-", dir="/var/tmp") as directory:
        done = subprocess.run(
            [Path(__file__).with_name("files"), "50", "--quick", "--strict", "--markdown", "--no-build",
             f"--build={sys.argv[1]}", f"--dir={directory}"],
            stdout=subprocess.PIPE, text=True, timeout=170)
        if done.returncode == 77:
            return 77
        print(done.stdout)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]]
                for line in done.stdout.splitlines() if line.startswith("|")][2:]
        found = tuple(row[0] for row in rows)
        assert found == LINES, f"lines are missing, new, or elsewhere: {set(LINES) ^ set(found)}"
        for row in rows:
            # A verdict where there is a budget and a figure; a figure, or the reason why there is none.
            assert row[1] and (not row[4] or row[5].split()[0] in ("PASS", "over", "n/a")), row
        assert done.returncode == any(row[5].startswith("over") for row in rows), done.returncode
        assert not os.listdir(directory), os.listdir(directory)
    return 0


sys.exit(main())
