# SPDX-License-Identifier: LGPL-2.1-or-later
"""What drifts anywhere in a tree that a state is about is repaired when it happens."""

import io
import tarfile

import daemon
import pytest
from daemon import events, last_event, start, wait_event, wait_idle

ROLE = '[archive."/srv/app"]\nsource = "app.tar"\n'


def put(box):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as t:
        for name in ("a/b/c/file", "a/other", "top"):
            info = tarfile.TarInfo(name)
            info.size = 5
            t.addfile(info, io.BytesIO(b"text\n"))
    box.write("/etc/agentd/conf.d/app.tar", file.getvalue())


@pytest.fixture
def host(box):
    """With a tree, at rest; nothing runs by itself for hours."""
    box.run("mkdir -p /srv")
    put(box)
    box.role("app", ROLE)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    return box


def files(box):
    return box.run("cd /srv/app && find . | sort").stdout.split()


WHOLE = [".", "./a", "./a/b", "./a/b/c", "./a/b/c/file", "./a/other", "./top"]


@pytest.mark.parametrize("deed", [
    "echo drifted >/srv/app/a/b/c/file",
    "rm /srv/app/a/b/c/file",
    "chmod 0700 /srv/app/a/b",
    "chown 1 /srv/app/a/b/c/file",
    "touch /srv/app/a/b/c/extra",
    "mkdir -p /srv/app/a/new/sub; touch /srv/app/a/new/sub/file",
    "mv /srv/app/a/b /srv/app/moved",
    "rm -r /srv/app/a",
    "mv /srv/app /srv/away",
])
def test_drift_anywhere_in_a_tree_is_repaired(host, deed):
    n = last_event(host)
    host.run(deed)
    wait_event(host, "state-changed", after=n, state="archive:/srv/app", timeout=30)
    wait_idle(host)
    assert files(host) == WHOLE and host.read("/srv/app/a/b/c/file") == "text\n"


def test_it_goes_on_being_watched_when_it_was_replaced(host):
    for i in range(4):
        n = last_event(host)
        host.run(f"echo {i} >/srv/app/a/b/c/file")
        wait_event(host, "state-changed", after=n, state="archive:/srv/app", timeout=30)
        wait_idle(host)
    assert files(host) == WHOLE


def test_the_interface_tells_that_it_is_a_tree(host):
    assert {"kind": "tree", "what": "/srv/app"} in daemon.state(host, "archive:/srv/app")["watches"]


def test_a_burst_of_changes_does_not_lead_to_a_burst_of_runs(host):
    n = last_event(host)
    # What is as declared at the end is looked at a few times, and that is all.
    host.run("python3 -c 'import os\n"
             "for i in range(100000): os.utime(\"/srv/app/a/b/c/file\")'", timeout=60)
    wait_idle(host)
    assert [e for e in events(host, after=n) if e["kind"] == "state-changed"] == []
    n = last_event(host)
    host.run("echo drifted >/srv/app/a/b/c/file")
    wait_event(host, "state-changed", after=n, state="archive:/srv/app", timeout=30)


def test_directories_beyond_the_budget_are_told_and_left_to_runs(host):
    daemon.settings(host, 'interval = "infinity"\nwatches_max = 16\n')
    host.role("many", "".join(f'[file."/srv/d{i}"]\nensure = "directory"\n[file."/srv/d{i}/f"]\n' for i in range(20)))
    daemon.reload(host)
    host.wait_journal("_SYSTEMD_UNIT=agentd.service", where=lambda e: "limit of 16 watches" in e["MESSAGE"], timeout=30)
    wait_idle(host)
    # The next run sees what nobody has told.
    host.run("echo drifted >/srv/app/a/b/c/file")
    daemon.apply(host)
    assert host.read("/srv/app/a/b/c/file") == "text\n"
