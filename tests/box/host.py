# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boots one box and runs a command beside it: the inner half of ./host."""

import os
import subprocess
import sys
from pathlib import Path

from box import Box

BOX = """#!/bin/sh
exec {nsenter} env -i PATH={path} HOME=/root LANG=C.UTF-8 TERM="${{TERM-dumb}}" "$@"
"""


def main():
    box = Box("host")
    box.start()
    command = Path("/run/tbx/bin/box")
    command.parent.mkdir()
    command.write_text(BOX.format(nsenter=" ".join(Box.nsenter(f'"$(cat {box.dir}/leader)"')), path=Box.PATH))
    command.chmod(0o755)
    environment = os.environ | {
        "BOX_ROOT": str(box.root),
        "PATH": f"{command.parent}:{os.environ['PATH']}",
    }
    try:
        status = subprocess.run(sys.argv[1:], env=environment).returncode
    except OSError as e:
        print(f"tests/box/host: {sys.argv[1]}: {e.strerror}", file=sys.stderr)
        status = 127
    box.stop()
    return status if status >= 0 else 128 - status


sys.exit(main())
