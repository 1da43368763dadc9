#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares units/agentd.catalog with the kinds of events in agentd/event.c. Prints TAP.

Each kind has one entry, under its message id and with its name in a comment before it; there are no others, and
journalctl, where it is there, reads them as they are meant. The kinds in docs/api.md are the same.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
# Which fields entries of a kind have, and texts may show. Source: EventDetails in agentd/event.h.
FIELDS = {"run": {"AGENTD_RUN"}, "command": {"AGENTD_RUN", "AGENTD_STATE", "AGENTD_ROLE"}, "fight": {"AGENTD_STATE", "AGENTD_ROLE"},
          "hook": {"AGENTD_RUN", "AGENTD_STATE", "AGENTD_ROLE"},
          "trigger": {"AGENTD_TRIGGER", "AGENTD_ROLE"},
          "state": {"AGENTD_RUN", "AGENTD_STATE", "AGENTD_ROLE", "AGENTD_RESULT"}}
WIDTH = 80  # a journal is looked at in a terminal; fields grow

results = []


def result(name, problem=None):
    results.append(not problem)
    print(f"{'not ok' if problem else 'ok'} {len(results)} - {name}")
    for line in (problem or "").splitlines():
        print(f"# {line}")


def differ(what, expected, found):
    lines = [f"missing: {x}" for x in sorted(expected - found)] + [f"too many: {x}" for x in sorted(found - expected)]
    result(what, "\n".join(lines))


def read_table():
    """{name: message id} of event_kinds[]."""
    source = (TOP / "agentd/event.c").read_text()
    table = re.search(r"event_kinds\[_EVENT_KIND_MAX\] = \{\n(.*?)^\};", source, re.DOTALL | re.MULTILINE)
    assert table, "event_kinds[] was not found in agentd/event.c"
    rows = re.findall(r'\[EVENT_(\w+)\]\s*=\s*\{\s*"([^"]*)",\s*"([^"]*)"', table[1])
    assert rows and len(rows) == table[1].count("[EVENT_"), "event_kinds[] is written in another way than expected"
    for constant, name, _ in rows:
        assert constant.lower().replace("_", "-") == name, f"EVENT_{constant} is called '{name}'"
    enum = re.search(r"typedef enum EventKind \{\n(.*?)_EVENT_KIND_MAX", (TOP / "agentd/event.h").read_text(), re.DOTALL)
    differ("each constant has a row", set(re.findall(r"^\s*EVENT_(\w+)", enum[1], re.MULTILINE)), {row[0] for row in rows})
    return [(name, id_) for _, name, id_ in rows]


def read_catalog(text):
    """[(name, message id, headers, text)]"""
    entries = []
    for block in re.split(r"^(?=# [a-z-]+\n-- )", text, flags=re.MULTILINE)[1:]:
        match = re.fullmatch(r"# ([a-z-]+)\n-- ([0-9a-f]{32})\n((?:[A-Z][A-Za-z-]*: [^\n]*\n)+)\n(.*)", block, re.DOTALL)
        assert match, f"cannot be read: {block[:200]}"
        entries.append((match[1], match[2], dict(re.findall(r"^([A-Z][A-Za-z-]*): (.*)$", match[3], re.MULTILINE)), match[4]))
    assert len(entries) == len(re.findall(r"^-- ", text, re.MULTILINE)), "an entry has no name in a comment before it"
    return entries


def check_entry(name, headers, text):
    problems = []
    if list(headers)[:2] != ["Subject", "Defined-By"] or headers["Defined-By"] != "agentd":
        problems.append("must begin with Subject: and Defined-By: agentd")
    if not text.strip() or not re.search(r'"(agentctl|journalctl|systemctl|df) |nothing need be done', text):
        problems.append("says neither what to do nor where to look")
    allowed = FIELDS.get(name.split("-")[0], set())
    used = set(re.findall(r"@(\w+)@", headers["Subject"] + text))
    if not used <= allowed:
        problems.append(f"shows {', '.join(sorted(used - allowed))}, which such an entry does not have")
    problems += [f"too long: {line}" for line in text.splitlines() if len(re.sub(r"@\w+@", "", line)) > WIDTH]
    problems += [f"begins with '#' or '--': {line}" for line in text.splitlines() if re.match(r"#|--", line)]
    result(f"the entry of {name} is of use", "\n".join(problems))


def check_journalctl(entries, catalog):
    journalctl = shutil.which("journalctl")
    if not journalctl:
        print(f"ok {len(results) + 1} - journalctl reads the catalogue # SKIP there is no journalctl")
        results.append(True)
        return
    with tempfile.TemporaryDirectory(prefix="agentd-catalog-") as root:
        for directory in "usr/lib/systemd/catalog", "var/lib/systemd/catalog":
            (Path(root) / directory).mkdir(parents=True)
        shutil.copy(catalog, f"{root}/usr/lib/systemd/catalog/agentd.catalog")
        made = subprocess.run([journalctl, f"--root={root}", "--update-catalog"], capture_output=True, text=True)
        shown = subprocess.run([journalctl, f"--root={root}", "--no-pager", "--dump-catalog"], capture_output=True, text=True)
    complaint = made.stderr + shown.stderr
    result("journalctl reads the catalogue without a word", complaint or (None if made.returncode == 0 else "failed"))
    blocks = dict(re.findall(r"^-- ([0-9a-f]{32})\n(.*?)(?=^-- |\Z)", shown.stdout, re.DOTALL | re.MULTILINE))
    wrong = [name for name, id_, _, text in entries if text.strip() not in blocks.get(id_, "")]
    result("and shows each entry as it was written", "\n".join(wrong))


def main():
    table = read_table()
    catalog = TOP / "units/agentd.catalog"
    entries = read_catalog(catalog.read_text())
    result("no message id is there twice", None if len({id_ for _, id_ in table}) == len(table) else "it is")
    differ("message ids are 32 hexadecimal digits", set(), {id_ for _, id_ in table if not re.fullmatch("[0-9a-f]{32}", id_)})
    differ("the catalogue has what the table has", set(table), {(name, id_) for name, id_, _, _ in entries})
    result("in the same order, each once", None if table == [entry[:2] for entry in entries] else "it is not")
    section = (TOP / "docs/api.md").read_text().split("### Event\n")[1].split("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall("`([a-z-]+)`", row)}
    differ("docs/api.md has the same kinds", {name for name, _ in table}, named)
    for name, _, headers, text in entries:
        check_entry(name, headers, text)
    check_journalctl(entries, catalog)
    print(f"1..{len(results)}")


try:
    main()
except AssertionError as e:
    print(f"Bail out! {e}")
    sys.exit(1)
