# SPDX-License-Identifier: LGPL-2.1-or-later
"""What drifts anywhere in a tree that a state is about is repaired when it happens."""

import io
import tarfile

import daemon
import pytest
from box import wait_until
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
    """Whatever is there at the moment."""
    return box.run("cd /srv/app && find . | sort", check=False).stdout.split()


# Of what the deeds below change.
ATTRIBUTES = "cd /srv/app/a/b && stat --printf '%a ' . && stat --printf '%u ' c/file && cat c/file"
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
    # Of more than one step a later one may fail, since agentd has been faster, and what it leaves takes one more run.
    host.run(deed, check=False)
    wait_event(host, "state-changed", after=n, state="archive:/srv/app", timeout=30)
    wait_until(lambda: files(host) == WHOLE and host.run(ATTRIBUTES, check=False).stdout == "755 0 text\n", 30,
               "all is right again")


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


# ---- Trees of the type file -----------------------------------------------------------------------------------------

TOP, SOURCE = "/srv/www", "/etc/agentd/conf.d/www"
TREE = f"""[file."{TOP}"]
ensure = "directory"
source = "www/"
purge = true
exclude = ["cache/", "*.log"]
file_mode = "0644"
"""


@pytest.fixture
def tree(box):
    for i in range(4):
        box.write(f"{SOURCE}/a{i}/b/c/file", "text\n")
    box.role("tree", TREE)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    box.run(f"mkdir -p {TOP}/a0/cache/deep")
    wait_idle(box)
    return box


def healed(box, deed, is_right):
    """Does something, of which a part may fail since agentd has been faster; waits until all is as it should be, which may take
    more than one run."""
    n = last_event(box)
    box.run(deed, check=False)
    wait_event(box, "state-changed", after=n, state=f"file:{TOP}", timeout=30)
    wait_until(is_right, 30, "all is right again")
    wait_idle(box)


def content(box, top=TOP):
    return box.run(f"cd {top} && find . -name cache -prune -o -type f -exec grep -H '' {{}} + 2>/dev/null | sort").stdout


@pytest.mark.parametrize("deed", [
    "echo drifted >a1/b/c/file", "rm a1/b/c/file", "rm -r a1", "touch a1/b/c/extra", "mkdir -p a1/new/sub; echo x >a1/new/sub/f",
    "chmod 0600 a3/b/c/file", "mv a2/b a2/moved", "ln -sf /etc/passwd a2/b/c/file", "echo more >>a0/b/c/file"])
def test_drift_in_a_tree_of_files_is_repaired(tree, deed):
    before = content(tree, SOURCE)
    healed(tree, f"cd {TOP} && {deed}", lambda: content(tree) == before)
    # What was made anew is watched.
    healed(tree, f"echo again >{TOP}/a1/b/c/file; touch {TOP}/a2/b/extra",
           lambda: content(tree) == before and not tree.exists(f"{TOP}/a2/b/extra"))
    assert tree.exists(f"{TOP}/a0/cache/deep")


@pytest.mark.parametrize("deed", [
    "echo other >a1/b/c/file", "rm a1/b/c/file", "mkdir -p a9/b; echo new >a9/b/f", "mv a2 a7"])
def test_what_changes_in_the_source_is_applied(tree, deed):
    healed(tree, f"cd {SOURCE} && {deed}", lambda: content(tree) == content(tree, SOURCE))


def watched(box):
    return int(box.run(f"cat /proc/{daemon.main_pid(box)}/fdinfo/* 2>/dev/null | grep -c '^inotify wd'").stdout)


def test_nothing_below_an_excluded_directory_is_watched(tree):
    is_right = lambda: tree.read(f"{TOP}/a3/b/c/file") == "text\n" and not tree.exists(f"{TOP}/extra")
    healed(tree, f"echo drifted >{TOP}/a3/b/c/file", is_right)
    n = watched(tree)  # or a few less, if those of what was made just now are still to come
    tree.run(f"cd {TOP}/a0/cache/deep && for i in $(seq 100); do mkdir -p d$i/more && echo $i >d$i/more/f; done")
    # What comes after it is seen, so it would have been as well.
    healed(tree, f"mkdir {TOP}/extra; echo drifted >{TOP}/a3/b/c/file", is_right)
    wait_until(lambda: watched(tree) < n + 50, 30, f"{n} watches, and not those of 200 directories more")
    assert tree.exists(f"{TOP}/a0/cache/deep/d9/more/f")


def test_what_is_mounted_in_a_tree_is_not_looked_at(tree):
    tree.run(f"mkdir {TOP}/a0/cache/x; mount -t tmpfs none {TOP}/a1/b && mkdir -p {TOP}/a1/b/own/deep && touch {TOP}/a1/b/own/deep/f")
    healed(tree, f"echo drifted >{TOP}/a3/b/c/file", lambda: tree.read(f"{TOP}/a3/b/c/file") == "text\n")
    tree.run(f"echo more >{TOP}/a1/b/own/deep/f")
    healed(tree, f"touch {TOP}/a2/extra", lambda: not tree.exists(f"{TOP}/a2/extra"))
    assert tree.read(f"{TOP}/a1/b/own/deep/f") == "more\n"
    tree.run(f"umount --lazy {TOP}/a1/b")  # who looks at it may have it open
    healed(tree, f"echo drifted >{TOP}/a1/b/c/file", lambda: tree.read(f"{TOP}/a1/b/c/file") == "text\n")


def test_a_tree_of_ten_thousand_files_is_healed(tree):
    tree.role("tree", TREE + "max_files = 20000\n")
    tree.run(f"for d in $(seq 100); do mkdir -p {SOURCE}/many/d$d && (cd {SOURCE}/many/d$d && seq 100 | xargs touch); done", timeout=60)
    n = last_event(tree)
    daemon.reload(tree)
    wait_event(tree, "state-changed", after=n, state=f"file:{TOP}", timeout=90)
    wait_idle(tree)
    assert tree.run(f"find {TOP}/many -type f | wc -l").stdout == "10000\n"
    healed(tree, f"echo drifted >{TOP}/many/d77/7; rm {TOP}/many/d3/9; touch {TOP}/many/d50/extra",
           lambda: tree.exists(f"{TOP}/many/d3/9") and tree.read(f"{TOP}/many/d77/7") == ""
           and not tree.exists(f"{TOP}/many/d50/extra"))
    assert tree.run(f"find {TOP}/many -type f | wc -l").stdout == "10000\n"
