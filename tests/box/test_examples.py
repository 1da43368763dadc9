# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples in the pages of modules and in docs/comparison.md, run.

There, a block ```toml run is a role; blocks ```conf before PATH above it are files that it finds, and
blocks ```conf after PATH below it what these are then. It changes all of its states, and then none.
"""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```(\S*)[ ]*(.*?)[ ]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)


def examples():
    for page in [*sorted(TOP.glob("modules/*/README.md")), TOP / "docs/comparison.md"]:
        text, before, current = page.read_text(), {}, None
        for block in FENCE.finditer(text):
            words = block[2].split()
            if block[1] == "toml" and "run" in words:
                line = text.count("\n", 0, block.start()) + 1
                current = pytest.param(dict(before), block[3], {}, id=f"{page.parent.name if page.stem == 'README' else page.stem}:{line}")
                before = {}
                yield current
            elif words[:1] == ["before"]:
                before[words[1]] = block[3]
            elif words[:1] == ["after"]:
                current.values[2][words[1]] = block[3]


@pytest.mark.parametrize("before, role, after", list(examples()))
def test_an_example_changes_what_the_page_says_and_then_nothing(box, before, role, after):
    assert after, "the page does not say what comes of it"
    for path, content in before.items():
        box.run(f"mkdir -p {Path(path).parent}")
        box.write(path, content)
    box.role("example", role)
    once = box.agentd_once()
    assert once.returncode == 0, once.stderr
    assert once.summary["changed"] == len(once.results)
    assert {path: box.read(path) for path in after} == after
    again = box.agentd_once()
    assert again.returncode == 0 and again.summary["ok"] == len(again.results)
    assert {path: box.read(path) for path in after} == after
