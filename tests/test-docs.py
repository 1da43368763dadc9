#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks what the documentation says against what agentd does. Prints TAP.

usage: test-docs.py AGENTD PRINT-TYPES MODULE...

In README.md, docs/*.md, modules/*/README.md and conf.d:

- a block ```toml is a role, and valid. "```toml NAME.toml" gives it a name.
- a block ```toml invalid NAME.toml is refused, with exactly the messages of the ```text block that follows, as if the
  role lay in /etc/agentd/conf.d.
- a block ```toml fragment is TOML, but no role: a local fact, a part of a role.
- a block ```toml agentd.toml holds settings instead.
- a block ```mustache NAME lies beside the roles of its page, and ```toml roles/NAME.toml is one that they can import.
- a block ```expressions has lines `EXPRESSION → VALUE`, which agentd --eval finds to be so, over a small tree (TREE below).
  In docs/expressions.md there is one for each helper.
- links to files of the tree lead somewhere, and to a heading that is there.

A page of a module has the headings of every such page, and its table of parameters is what the module declares.
docs/settings.md and conf.d/agentd.toml hold what `agentd --doc` prints, and docs/roles.md the settings of states.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
CONF_D = "/etc/agentd/conf.d"
HEADINGS = [
    "Introduction",
    "Configuration",
    "What it watches",
    "What it changes",
    "External access",
    "Failure and recovery",
    "Since",
]
FENCE = re.compile(r"^```(\S*)[ ]*(.*?)[ ]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)

agentd, print_types, *modules = sys.argv[1:]
results = []
# All of them in one directory, wherever they were built.
module_dir = tempfile.TemporaryDirectory(prefix="agentd-docs-")
for module in modules:
    os.symlink(os.path.abspath(module), f"{module_dir.name}/{os.path.basename(module)}")


def result(name, problem):
    results.append(not problem)
    print(f"{'not ok' if problem else 'ok'} {len(results)} - {name}")
    for line in (problem or "").splitlines():
        print(f"# {line}")


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def run_agentd(*arguments):
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | {
        key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")}
    return subprocess.run([agentd, "--module-dir", module_dir.name, *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)


def validate(directory, name):
    done = run_agentd("--validate", f"{directory}/{name}")
    place = "/etc/agentd" if name == "agentd.toml" else CONF_D
    roles = f"{os.path.dirname(directory)}/roles"
    stderr = done.stderr.replace(f"{roles}, ", "").replace(roles, "/etc/agentd/roles")
    return done.returncode, stderr.replace(f"{directory}/", f"{place}/")


def check_roles(page, text):
    blocks = list(FENCE.finditer(text))
    with tempfile.TemporaryDirectory(prefix="agentd-docs-") as top:
        directory = f"{top}/conf.d"
        for name in ("conf.d", "roles"):
            os.mkdir(f"{top}/{name}")
        for block in blocks:
            if block[1] == "mustache":
                (Path(directory) / block[2]).write_text(block[3])
            elif block[2].startswith("roles/"):
                (Path(top) / block[2]).write_text(block[3])
        for i, block in enumerate(blocks):
            if block[1] != "toml":
                continue
            name = f"{page}:{line_of(text, block.start())}: "
            words = block[2].split()
            if block[2].startswith("roles/"):
                directory_of_block, words = f"{top}/roles", [os.path.basename(words[-1])]
            else:
                directory_of_block = directory
            file = words[-1] if words and words[-1].endswith(".toml") else "example.toml"
            if "fragment" in words:
                try:
                    tomllib.loads(block[3])
                    result(name + "a fragment is TOML", None)
                except tomllib.TOMLDecodeError as e:
                    result(name + "a fragment is TOML", str(e))
                continue
            (Path(directory_of_block) / file).write_text(block[3])
            status, stderr = validate(directory_of_block, file)
            if "invalid" in words:
                following = blocks[i + 1] if i + 1 < len(blocks) else None
                expected = following[3] if following and following[1] == "text" else "(a ```text block)"
                result(name + "a role is refused as the page says",
                       None if status == 2 and stderr == expected
                       else f"status {status}, expected:\n{expected}got:\n{stderr}")
            else:
                result(name + "a role is valid", None if status == 0 else f"status {status}\n{stderr}")


# What expressions see of a host.
TREE = {
    "etc/os-release": "ID=debian\nVERSION_ID=12\nPRETTY_NAME='Debian GNU/Linux 12 (bookworm)'\n",
    "etc/motd": "hello\n",
    "usr/lib/systemd/system/ssh.service": "[Service]\n",
    "usr/lib/systemd/system/getty@.service": "[Service]\n",
    "usr/bin/curl": "#!/bin/sh\n",
}


def make_tree(top):
    for name, text in TREE.items():
        path = Path(top) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if "bin/" in name else 0o644)
    os.symlink("usr/bin", f"{top}/bin")


def check_expressions(page, text):
    blocks = [block for block in FENCE.finditer(text) if block[1] == "expressions"]
    with tempfile.TemporaryDirectory(prefix="agentd-docs-") as tree:
        os.chmod(tree, 0o755)
        if blocks:
            make_tree(tree)
        for block in blocks:
            problems = []
            for line in filter(None, block[3].splitlines()):
                expression, arrow, value = line.partition(" → ")
                done = run_agentd("--root", tree, "--json", "--eval", expression.strip())
                if not arrow or done.returncode != 0 or json.loads(done.stdout) != json.loads(value):
                    problems.append(f"{line}\n  is: {done.stdout}{done.stderr}")
            result(f"{page}:{line_of(text, block.start())}: expressions are what the page says", "\n".join(problems))
    if page == "docs/expressions.md" and text:  # not in a tree of modules alone
        examples = "".join(block[3] for block in blocks)
        helpers = set(re.findall(r"^\| `(\w+)\(", text, re.MULTILINE))
        missing = [name for name in sorted(helpers) if not re.search(rf"\b{name}\(", examples)]
        result(f"{page}: each helper has an example",
               "there is none of " + ", ".join(missing) if missing or len(helpers) < 30 else None)


def anchors(text):
    text = FENCE.sub("", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    }


def check_links(page, text):
    problems = []
    for match in re.finditer(r"\]\(([^)\s]+)\)", FENCE.sub(lambda m: "\n" * m[0].count("\n"), text)):
        target, _, anchor = match[1].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (TOP / page).parent / target if target else TOP / page
        if not path.exists():
            problems.append(f"'{match[1]}' leads nowhere")
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
            problems.append(f"'{match[1]}': there is no such heading")
    result(f"{page}: links lead somewhere", "\n".join(problems))


def declared_types():
    """Tables by name of the type, as print-types writes them."""
    output = subprocess.run([print_types, *modules], check=True, capture_output=True, text=True).stdout
    tables = {}
    for line in output.splitlines():
        if line.startswith("# "):
            name = line[2:].partition(":")[0]
            tables[name] = []
        else:
            tables[name].append(line)
    return tables


def check_module_page(page, text, tables):
    headings = re.findall(r"^## +(.*?) *$", FENCE.sub("", text), re.MULTILINE)
    result(f"{page}: has the headings of every module",
           None if headings == HEADINGS else f"expected: {HEADINGS}\nfound:    {headings}")
    name = Path(page).parent.name
    start = text.find("| parameter |")
    table = text[start:].split("\n\n")[0].splitlines()[2:] if start >= 0 else []
    wanted = tables.get(name, [])
    result(f"{page}: the table of parameters is what the module declares",
           None if table == wanted else "expected:\n" + "\n".join(wanted) + "\nfound:\n" + "\n".join(table))


def check_doc():
    """What is committed, and what the program prints, are the same."""
    page, printed = (TOP / "docs/settings.md").read_text(), run_agentd("--doc", "--style=markdown", "agentd.toml").stdout
    result("docs/settings.md: holds what agentd --doc --style=markdown prints",
           None if printed and printed in page else "put this there:\n" + printed)
    printed = run_agentd("--doc", "--style=toml", "agentd.toml").stdout
    result("conf.d/agentd.toml is what agentd --doc --style=toml prints",
           None if printed and printed == (TOP / "conf.d/agentd.toml").read_text() else "it should be:\n" + printed)

    def table(text):
        start = text.find("| setting |")
        return re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text[start:].split("\n\n")[0] if start >= 0 else "").strip()

    printed = table(run_agentd("--doc", "--style=markdown", "file").stdout)
    result("docs/roles.md: the table of settings is what agentd --doc prints",
           None if printed and printed == table((TOP / "docs/roles.md").read_text()) else "expected:\n" + printed)


def main():
    tables = declared_types()
    pages = ["README.md", "NEWS.md", "tests/README.md"]
    pages += sorted(str(path.relative_to(TOP)) for path in TOP.glob("docs/*.md"))
    pages += sorted(str(path.relative_to(TOP)) for path in TOP.glob("modules/*/README.md"))
    for page in pages:
        text = (TOP / page).read_text()
        check_roles(page, text)
        check_expressions(page, text)
        check_links(page, text)
        if page.startswith("modules/"):
            check_module_page(page, text, tables)
    for name in tables:
        result(f"state type {name} has a page",
               None if f"modules/{name}/README.md" in pages else f"modules/{name}/README.md is missing")
    if (TOP / "conf.d/agentd.toml").exists():  # not in a tree of modules alone
        check_doc()
    for path in sorted(TOP.glob("conf.d/*.toml")):
        status, stderr = validate(path.parent, path.name)
        result(f"conf.d/{path.name} is valid", None if status == 0 else stderr)
    print(f"1..{len(results)}")


main()
