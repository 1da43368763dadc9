#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks the manual pages in docs/man: against a linter, against each other, against agentd. Prints TAP.

usage: test-man.py AGENTD             checks
       test-man.py AGENTD --update    writes what is generated into the pages

- mandoc and groff, those of them that are here, have nothing to say.
- A page has an example before the description.
- The options in agentd(8) are those that `agentd --help` lists.
- What stands between `.\\" begin generated` and `.\\" end generated` in agentd.toml(5) is what agentd prints.
- Pages of agentd that a page refers to are there.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
MAN = TOP / "docs/man"
GENERATED = re.compile(r'(^\.\\" begin generated.*?\n)(.*?)(^\.\\" end generated)', re.MULTILINE | re.DOTALL)

agentd = sys.argv[1]
results = []


def result(name, problem=None, skip=None):
    results.append(not problem)
    print(f"{'not ok' if problem else 'ok'} {len(results)} - {name}" + (f" # SKIP {skip}" if skip else ""))
    for line in (problem or "").splitlines():
        print(f"# {line}")


def run(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def generated():
    """The keys of agentd.toml as roff."""
    done = run(agentd, "--doc", "agentd.toml", "--style=roff")
    return done.stdout if done.returncode == 0 else None


def update():
    page = MAN / "agentd.toml.5"
    text = generated()
    if text is None:
        sys.exit("agentd --doc agentd.toml --style=roff failed")
    page.write_text(GENERATED.sub(lambda match: match[1] + text + match[3], page.read_text()))


def lint(page):
    for argv in ["mandoc", "-T", "lint", "-W", "warning", page], ["groff", "-ww", "-z", "-man", "-Tutf8", page]:
        name = f"{page.name}: {argv[0]} has nothing to say"
        if not shutil.which(argv[0]):
            result(name, skip=f"there is no {argv[0]}")
            continue
        done = run(*argv)
        result(name, done.stdout + done.stderr)


def check_form(page, text):
    sections = [line[4:].strip('"') for line in text.splitlines() if line.startswith(".SH ")]
    problems = []
    if not text.startswith('.\\" SPDX-License-Identifier: LGPL-2.1-or-later\n'):
        problems.append("the licence is not on line one")
    examples = [name for name in sections if name.startswith("EXAMPLE")]
    if sections[:2] != ["NAME", "SYNOPSIS"] or not examples:
        problems.append("must begin with NAME and SYNOPSIS, and have an EXAMPLE")
    elif sections.index(examples[0]) > sections.index("DESCRIPTION"):
        problems.append("the example must come before the description")
    if sections[-1] != "SEE ALSO":
        problems.append("must end with SEE ALSO")
    title = re.search(r"^\.TH (\S+) (\d)", text, re.MULTILINE)
    if f"{title[1].lower()}.{title[2]}" != page.name:
        problems.append("the title is not that of the file")
    result(f"{page.name}: has the form of all pages", "\n".join(problems))


def check_references(page, text):
    named = {f"{name}.{section}" for name, section in re.findall(r"\b(agent[\w.-]+?) ?\((\d)\)", text.replace("\\-", "-"))}
    missing = {name for name in named if not (MAN / name).exists()}
    # Comes with the command itself.
    if not (TOP / "tools/agentctl").exists():
        missing.discard("agentctl.1")
    result(f"{page.name}: pages that it names are there", "\n".join(sorted(missing)))


def check_options():
    listed = set(re.findall(r"(?<![\w-])--[a-z-]+", run(agentd, "--help").stdout))
    section = (MAN / "agentd.8").read_text().replace("\\-", "-").split(".SH OPTIONS\n")[1].split(".SH ")[0]
    explained = set()
    for tag in re.findall(r"^\.TP\n(.*)$", section, re.MULTILINE):
        explained |= set(re.findall(r"(?<![\w-])--[a-z-]+", tag))
    if generated() is None:
        explained -= {"--doc", "--style"}
    problems = [f"not in the page: {name}" for name in sorted(listed - explained)]
    problems += [f"not in agentd --help: {name}" for name in sorted(explained - listed)]
    result("agentd.8: the options are those of agentd --help", "\n".join(problems))


def check_generated():
    found = GENERATED.search((MAN / "agentd.toml.5").read_text())
    name = "agentd.toml.5: the keys are those that agentd knows"
    text = generated()
    if text is None:
        result(name, skip="this agentd does not print them")
    else:
        result(name, None if found and found[2] == text
               else f"tests/test-man.py {agentd} --update writes them; expected:\n{text}")


def main():
    pages = sorted(MAN.glob("*.[0-9]"))
    for page in pages:
        text = page.read_text()
        lint(page)
        check_form(page, text)
        check_references(page, text)
    check_options()
    check_generated()
    print(f"1..{len(results)}")


update() if sys.argv[2:] == ["--update"] else main()
