# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of `agentd --once` share."""

import pytest

AGENTD = "/usr/sbin/agentd"

# Where a host that is up and idle writes by itself.
RESTLESS = ("/proc", "/sys", "/dev", "/var/log/journal", "/run/log", "/run/systemd", "/run/udev", "/run/dbus",
            "/artifacts", "/var/lib/systemd", "/run/agetty.reload")


def agentd(box, *arguments, timeout=20, **options):
    """Runs agentd; returns (returncode, stdout, stderr), whatever the status."""
    return box.run([AGENTD, *arguments], timeout=timeout, check=False, **options)


def need_plain_build(box, why):
    """Skips the test of a build with sanitizers."""
    if box.run(f"ldd {AGENTD} | grep -q libasan", check=False).returncode == 0:
        pytest.skip(f"built with sanitizers: {why}")


def results(once):
    """{state: result} of box.agentd_once()."""
    return {result["state"]: result["result"] for result in once.results}


def errors(once):
    return {result["state"]: result["error"] for result in once.results}


def differences(once, state):
    """{attribute: (is, should)} of one state."""
    for result in once.results:
        if result["state"] == state:
            return {d["attribute"]: (d["is"], d["should"]) for d in result["differences"]}
    raise KeyError(state)


def said(once_or_result):
    """The lines on standard error, but for the one that tells that checks run as a user without a name."""
    return [line for line in once_or_result.stderr.splitlines() if "'agentd-check' does not exist" not in line]


def snapshot(box, *tops):
    """{path: metadata} of whole trees, of the host if none is named: what a change of anything would change.
    Also what a file is, how many names it has, and where a link leads; not when it was last read."""
    if not tops:
        box.run("systemctl stop console-getty")  # it may still be about to write to /run
    prune = " -o ".join(f"-path {path}" for path in RESTLESS)
    listing = box.run(
        f"find {' '.join(tops or ['/'])} \\( {prune} \\) -prune -o "
        r"-printf '%p\t%y %i %m %U %G %n %s %T@ %C@ %l\0'").stdout
    return dict(entry.split("\t", 1) for entry in listing.split("\0") if entry)


def changes(before, after):
    """The paths in which two snapshots differ."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def temporaries(box, top="/"):
    """What agentd may leave beside a file that it was replacing when it was killed."""
    return box.run(f"find {top} -xdev -name '.agentd-*'").stdout.split()


def settled(box, text, changed=None):
    """Applies a role, all of whose states change or are so many; then nothing does."""
    box.role("role", text)
    once = box.agentd_once()
    assert once.returncode == 0 and said(once) == [], once
    assert once.summary["changed"] == (len(once.results) if changed is None else changed), once.results
    again = box.agentd_once()
    assert again.summary["ok"] == len(again.results), again.results
    assert temporaries(box, "/srv") == []
    return once


def refused(box, text, error):
    box.role("role", text)
    done = agentd(box, "--once")
    assert done.returncode == 2 and error in done.stderr and len(said(done)) == 1, done.stderr
