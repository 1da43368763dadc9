# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the box tests; box.py has the machinery."""

import os
import re
from pathlib import Path

import pytest

from box import Box

BOXES = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Saves what the boxes of a failed test have to tell, while they are still up."""
    report = (yield).get_result()
    if not report.failed or call.when == "teardown":
        return
    for box in item.stash.get(BOXES, []):
        name = re.sub(r"[^\w.-]+", "-", f"{item.path.stem}-{item.name}")
        directory = Path(os.environ["AGENTD_FAILURES"], name, box.name)
        try:
            box.save(directory)
            tail = box.run("journalctl -b -n 25 --no-pager", check=False).stdout if box.running else box.console()
        except Exception as e:
            tail = f"(not saved: {e})"
        report.sections.append((f"box {box.name}, all of it in {directory}", tail))


@pytest.fixture
def new_box(request):
    """new_box(NAME) makes a further host; all are destroyed after the test."""
    boxes = request.node.stash[BOXES] = []

    def new(name, **options):
        boxes.append(Box(name, **options))
        return boxes[-1]

    yield new
    found = [line for box in boxes for line in sanitizers(box)]
    for box in boxes:
        box.destroy()
    if found:
        pytest.fail("\n".join(found[:60]))


def sanitizers(box):
    """What they have found in the service, if it was built with them."""
    program = Path(os.environ.get("AGENTD_DESTDIR") or "/nonexistent", "usr/sbin/agentd")
    if not box.running or not program.exists() or b"libasan" not in program.read_bytes():
        return []
    lines = box.run("journalctl -q -b -o cat -u agentd.service", check=False).stdout.splitlines()
    return lines if any(re.search(r"Sanitizer|runtime error:", line) for line in lines) else []


@pytest.fixture
def box(new_box):
    """A fresh host for this test; boots when first used."""
    return new_box("box")


@pytest.fixture
def full_disk(box):
    """full_disk(PATH) mounts a file system there that is full."""
    return box.full_disk


@pytest.fixture
def loop_ext4(box):
    """loop_ext4(PATH, mib=16) mounts a small ext4 there, whose power can be cut."""
    return box.loop_ext4
