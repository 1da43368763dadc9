# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is done to the daemon, and must not bring it down."""

import daemon
import pytest
from box import PATIENCE
from daemon import apply, events, last_event, plan, start, states, status, wait_event, wait_idle, wait_status
from once import need_plain_build

MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\nwatch = false\n'


def heals(box):
    """It still does what it is there for."""
    wait_idle(box)  # a run that goes on would do it
    box.write("/etc/motd", "drifted\n")
    run = apply(box)
    assert run.summary["changed"] >= 1 and box.read("/etc/motd") == "hello\n"


@pytest.fixture
def host(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    return box


# ---- The store ---------------------------------------------------------------------------------------------------


def test_a_corrupt_store_is_kept_aside_and_a_fresh_one_begun(host):
    daemon.stop(host)
    host.run(["sh", "-c", "dd if=/dev/urandom of=/var/lib/agentd/store.db bs=4096 count=8 conv=notrunc"])
    start(host)
    event = wait_event(host, "store-reset")
    assert "store.db.corrupt-" in event["message"]
    assert host.run("ls /var/lib/agentd/store.db.corrupt-*").stdout
    assert status(host)["store"]["error"] is None
    heals(host)
    assert host.journal("AGENTD_EVENT=store-reset")


def test_a_store_that_becomes_corrupt_while_it_is_open_does_not_stop_the_work(host):
    host.run(["sh", "-c", "dd if=/dev/urandom of=/var/lib/agentd/store.db bs=4096 count=64 conv=notrunc; "
                          "dd if=/dev/urandom of=/var/lib/agentd/store.db-wal bs=4096 count=64 conv=notrunc"])
    for _ in range(3):
        heals(host)
    wait_idle(host)
    daemon.restart(host)
    wait_idle(host)
    heals(host)
    assert status(host)["store"]["error"] is None


def test_a_full_disk_of_the_store_does_not_stop_the_work(box):
    box.role("motd", MOTD)
    box.run("mkdir -p /var/lib/agentd && mount -t tmpfs -o size=2m,mode=0700 none /var/lib/agentd")
    start(box)
    wait_idle(box)
    box.run("dd if=/dev/zero of=/var/lib/agentd/ballast bs=4k", check=False)
    n = last_event(box)
    for _ in range(30):
        heals(box)
    s = status(box)
    assert s["store"]["error"], s["store"]
    assert box.journal("AGENTD_EVENT=store-failed")
    box.run("rm /var/lib/agentd/ballast")
    # By itself: whatever is done meanwhile would have to be written as well, and the disk is a small one.
    daemon.wait_status(box, lambda s: s["store"]["error"] is None, 60, "the store works again")
    assert events(box, after=n, kind="store-recovered")


def test_it_starts_on_a_full_disk_too(box):
    """Blocks that are smaller than pages: SQLite's shared memory has holes there, which cannot be filled any more."""
    try:
        box.loop_ext4("/var/lib/agentd", 16, "-b", "1024")
    except OSError as e:
        pytest.skip(f"no loop devices here: {e}")
    role = "".join(f'[file."/srv/{i}"]\ncontent = "%s"\n' for i in range(300))
    box.role("many", role.replace("%s", "one"))
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_idle(box)
    box.run("cat /dev/zero >/var/lib/agentd/ballast", check=False)
    box.role("many", role.replace("%s", "two"))
    daemon.reload(box)
    apply(box)
    # What is in the log has to be indexed anew.
    daemon.restart(box)
    wait_idle(box)
    assert box.read("/srv/299") == "two"
    box.run("rm /var/lib/agentd/ballast")
    daemon.wait_status(box, lambda s: s["store"]["error"] is None, 60, "the store works again")


def test_a_read_only_state_directory_does_not_stop_the_work(box):
    box.role("motd", MOTD)
    box.run("mkdir -p /var/lib/agentd && mount -t tmpfs -o ro none /var/lib/agentd")
    # Not StateDirectory=: systemd would fail to set it up, and say so.
    daemon.set_unit(box, StateDirectory="")
    start(box)
    wait_idle(box)
    heals(box)
    assert status(box)["store"]["error"]
    answer = box.api("POST", "/v1/disable", {"reason": "x"})
    assert answer.status >= 400 and status(box)["disabled"] is None


# ---- Those around it ---------------------------------------------------------------------------------------------


def test_dbus_and_journald_restarted(host):
    host.run("systemctl restart systemd-journald")
    heals(host)
    host.run("systemctl stop dbus.socket dbus.service; systemctl start dbus.service")
    heals(host)
    wait_idle(host)
    assert daemon.prop(host, "ActiveState") == "active" and daemon.prop(host, "NRestarts") == "0"
    n = last_event(host)
    host.write("/etc/motd", "drifted\n")
    apply(host)
    event = wait_event(host, "state-changed", after=n)
    host.wait_journal(f"AGENTD_RUN={event['run']}", "AGENTD_EVENT=state-changed")


@pytest.mark.parametrize("jump", ["-3600", "+31536000"])
def test_a_clock_that_jumps(box, jump):
    """The wall clock cannot be set in a box: a library shifts it, and only it, for agentd."""
    box.role("motd", MOTD)
    box.write("/run/clock-shift", "0")
    need_plain_build(box, "a preloaded library")
    daemon.set_unit(box, Environment=f"LD_PRELOAD=/usr/lib/agentd-tests/shift-clock.so")
    daemon.settings(box, 'interval = "1s"\njitter = "0s"\n')
    start(box)
    wait_event(box, "state-changed")
    box.api("POST", "/v1/disable", {"reason": "jump", "for": "1h"})
    box.write("/run/clock-shift", jump)
    assert status(box)["started"]
    # An hour is an hour, whatever the clock on the wall says.
    box.write("/etc/motd", "by hand\n")
    assert status(box)["disabled"]["reason"] == "jump"
    n = last_event(box)
    box.api("POST", "/v1/enable")
    wait_event(box, "state-changed", after=n)
    n = last_event(box)
    box.write("/etc/motd", "drifted\n")
    # The interval goes on as before.
    wait_event(box, "state-changed", after=n)
    ids = [e["event"] for e in events(box)]
    assert ids == sorted(set(ids))
    runs = [r["run"] for r in daemon.items(box, "/v1/runs")]
    assert runs == sorted(set(runs), reverse=True)


@pytest.mark.parametrize("program", [
    "sleep 1000",
    "echo '{\"half\": '",
    "head -c 1000000 /dev/urandom",
    "yes gigabyte | head -c 1000000000",
    "kill -9 $$",
    "exit 7",
])
def test_programs_of_facts_that_misbehave(box, program):
    box.write("/etc/agentd/facts.d/bad", f"#!/bin/sh\n{program}\n", mode=0o755)
    box.write("/etc/agentd/facts.d/good.json", '{"answer": 42}')
    box.role("fact", '[file."/srv/fact"]\ncontent = "{{facts.local.good.answer}}\\n"\n')
    daemon.settings(box, 'facts_deadline = "1s"\n')
    start(box)
    wait_idle(box)
    assert box.read("/srv/fact") == "42\n"
    facts = daemon.get(box, "/v1/facts")
    assert facts["local"] == {"good": {"answer": 42}}
    box.run(["systemctl", "reload", "agentd"])
    assert daemon.prop(box, "ActiveState") == "active"
    assert any("facts.d/bad" in e["MESSAGE"] for e in box.journal("-u", "agentd"))


def test_a_loader_that_is_killed_leaves_the_old_roles_in_force(host):
    daemon.settings(host, 'facts_deadline = "30s"\n')
    daemon.reload(host)
    host.write("/etc/agentd/facts.d/slow", "#!/bin/sh\nuntil test -e /run/go; do sleep 0.1; done\necho '{}'\n", mode=0o755)
    n = last_event(host)
    host.role("slow", '[file."/srv/slow"]\ncontent = "{{facts.hostname}}"\n')
    daemon.wait_until(lambda: host.run("pgrep -x agentd-load", check=False).stdout, PATIENCE, "a loader runs")
    host.run("kill -KILL $(pgrep -x agentd-load)")
    wait_event(host, "roles-refused", after=n)
    assert states(host).keys() == {"file:/etc/motd"}
    host.write("/run/go", "")
    heals(host)
    assert daemon.reload(host)["n_states"] == 2


def test_workers_that_are_killed_while_idle_and_at_work(host):
    for _ in range(5):
        host.run("pkill -KILL -x agentd-check; true")
        heals(host)


def test_an_unprivileged_user_is_refused_before_a_byte_is_read(host):
    host.run("useradd -m eve || adduser --disabled-password --gecos '' eve", check=False)
    for request in ("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", "garbage", ""):
        answer = host.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "nc", "-q", "30", "-w", "30",
                           "-U", daemon.SOCKET], input=request)
        assert answer.stdout.startswith("HTTP/1.1 403 "), (request, answer)
    ctl = host.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "agentctl", "status"], check=False)
    assert ctl.returncode in (2, 3) and len(ctl.stderr.splitlines()) == 1


def test_a_journald_that_hangs_does_not_hold_up_the_work(host):
    """The store is the record, the journal a copy: what it does not take in time is lost to it, and it is told so."""
    role = "".join(f'[file."/srv/{i}"]\ncontent = "x"\nwatch = false\n' for i in range(2000))
    host.role("many", role)
    wait_event(host, "roles-loaded", where=lambda e: e["data"]["n_states"] == 2001)
    wait_idle(host)
    host.run("rm /srv/*")
    n = last_event(host)
    pid = daemon.prop(host, "MainPID", "systemd-journald.service")
    host.run(["kill", "-STOP", pid])
    try:
        run = apply(host)
        assert run.summary["changed"] == 2000
        assert len(events(host, after=n, kind="state-changed")) == 2000
    finally:
        host.run(["kill", "-CONT", pid])
    heals(host)
    host.wait_journal("SYSLOG_IDENTIFIER=agentd", where=lambda e: "entries were lost" in e["MESSAGE"])
