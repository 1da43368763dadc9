#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Roles that are wrong, and what is said of them: each case of role-errors.md is run as a user would. Prints TAP.

usage: test-role-errors.py [--update] AGENTD MODULE...

--update writes what is said now into role-errors.md, for a look at the difference. That page says how cases are written.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "role-errors.md"
BLOCK = re.compile(r"^```(\S*)[ ]*(.*?)[ ]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
SHORTER = ("/etc/agentd/conf.d/", ""), ("/etc/agentd/vars.d/", "vars.d/"), ("/etc/agentd/roles/", "roles/")
FACTS = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "etc/hostname": "web-1\n",
    "etc/hosts": "127.0.1.1 web-1.example.org web-1\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
}

arguments = sys.argv[1:]
update = arguments[0] == "--update"
agentd, *modules = arguments[update:]


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(module_dir, files, lines):
    """What is said, with the paths below /etc/agentd as the page has them."""
    with tempfile.TemporaryDirectory(prefix="agentd-errors-") as root:
        os.chmod(root, 0o755)
        for path, text in FACTS.items():
            put(Path(root, path), text)
        conf = Path(root, "etc/agentd/conf.d")
        conf.mkdir(parents=True)
        for name, text in files:
            put(conf.parent / name if name.startswith(("roles/", "vars.d/")) else conf / name, text)
        command = [line for line in lines if line.startswith("agentd ")]
        words = command[0].split()[1:] if command else ["--validate"]
        subprocess.run(["sh", "-ec", "umask 022\n" + "\n".join(line for line in lines if line not in command)],
                       cwd=conf, check=True)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | {
            key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")}
        done = subprocess.run([agentd, *words, "--root", root, "--module-dir", module_dir], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env=environment)
        # A user without rights, and a container, are told about; that is not what is asked here.
        said = "".join(line for line in done.stderr.splitlines(True) if not line.startswith("agentd: warning: "))
        said = said.replace(f"{root}/", "/").replace(root, "ROOT").replace(module_dir, "MODULES")
        for long, short in SHORTER:
            said = re.sub(r"(^| |\()" + re.escape(long), r"\g<1>" + short, said, flags=re.MULTILINE)
        return done.returncode, said


def cases(text):
    """(title, files, lines, expected, span of it) of each."""
    start = text.index("\n## ")
    headings = [(m.start(), m[1]) for m in re.finditer(r"^#{2,3} (.*)$", text, re.MULTILINE)]
    files, lines = [], []
    for block in BLOCK.finditer(text, start):
        kind, name, content = block.groups()
        if kind == "text":
            title = [title for position, title in headings if position < block.start()][-1]
            yield title, files, lines, content, block.span(3)
            files, lines = [], []
        elif kind == "sh":
            lines = content.splitlines()
        else:
            files.append((name or "a.toml", content))
    assert not files and not lines, "the last case has no ```text"


text = PAGE.read_text()
found = list(cases(text))
good = []
changes = []
print(f"1..{len(found)}")
with tempfile.TemporaryDirectory(prefix="agentd-errors-") as module_dir:
    for module in modules:
        os.symlink(os.path.abspath(module), f"{module_dir}/{os.path.basename(module)}")
    for i, (title, files, lines, expected, span) in enumerate(found, 1):
        status, said = run(module_dir, files, lines)
        if update and status == 2:
            changes.append((span, said))
            expected = said
        good.append((status, said) == (2, expected))
        print(f"{'ok' if good[-1] else 'not ok'} {i} - {title}: {expected.splitlines()[0] if expected else 'nothing'}")
        if not good[-1]:
            print("".join(f"# {line}\n" for line in f"status {status}; expected:\n{expected}but got:\n{said}".splitlines()),
                  end="")
for (begin, end), said in reversed(changes):
    text = text[:begin] + said + text[end:]
if update:
    PAGE.write_text(text)
sys.exit(not all(good))
