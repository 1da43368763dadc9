# SPDX-License-Identifier: LGPL-2.1-or-later
"""What has drifted is repaired when it happens, not at the next run."""

import datetime

import daemon
import pytest
from box import PATIENCE
from daemon import apply, events, last_event, start, state, states, status, wait_event, wait_idle
from hostile import states as role_of

MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\nmode = "0644"\nowner = "root"\n'


@pytest.fixture
def host(box):
    """With a role, at rest; nothing runs by itself for hours."""
    box.role("motd", MOTD)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    return box


def heals(box, deed, state="file:/etc/motd", idle=True, **options):
    """Does something, and returns the event of the repair."""
    if idle:
        wait_idle(box)  # what was done before is over and told
    n = last_event(box)
    box.run(deed)
    return wait_event(box, "state-changed", after=n, state=state, **options)


@pytest.mark.parametrize("deed", [
    "echo drifted >/etc/motd",
    "echo more >>/etc/motd",
    "rm /etc/motd",
    "chmod 0600 /etc/motd",
    "chown 65534 /etc/motd",
    "mv /etc/motd /etc/motd.away",
    "cp /etc/hostname /etc/new; mv /etc/new /etc/motd",
    "truncate -s 0 /etc/motd",
])
def test_a_file_is_repaired_whatever_is_done_to_it(host, deed):
    event = heals(host, deed)
    assert host.read("/etc/motd") == "hello\n" and host.stat("/etc/motd", follow=False).st_mode == 0o100644
    assert daemon.get(host, f"/v1/runs/{event['run']}")["cause"] == "drift"


def test_it_is_repaired_again_and_again(host):
    for i in range(4):
        heals(host, f"echo {i} >/etc/motd")
        assert host.read("/etc/motd") == "hello\n"


def test_what_is_as_declared_leads_to_nothing(host):
    runs = daemon.items(host, "/v1/runs")
    n = last_event(host)
    host.run("touch /etc/motd; cat /etc/motd; chmod 0644 /etc/motd")
    # What follows is seen after it.
    heals(host, "rm /etc/motd")
    wait_event(host, "run-finished", after=n)
    wait_idle(host)
    assert [e["kind"] for e in events(host, after=n)] == ["state-changed", "run-finished"]
    assert len(daemon.items(host, "/v1/runs")) == len(runs) + 1


def test_what_cannot_be_repaired_is_told_once_and_again_when_it_can(host):
    n = last_event(host)
    host.run("ln -s /etc/hostname /etc/link; mv -T /etc/link /etc/motd")
    wait_event(host, "state-failed", after=n, state="file:/etc/motd")
    # It goes on changing, and stays wrong.
    host.run("for i in 1 2 3 4 5; do chown -h $i /etc/motd; sleep 0.05; done")
    # It is tried less often by now, but nobody changes it again each time it is repaired.
    assert daemon.get(host, "/v1/states/file:%2Fetc%2Fmotd/explain")["status"]["fight"] is False
    host.run("rm /etc/motd")
    wait_event(host, "state-changed", after=n, state="file:/etc/motd")
    assert len(events(host, after=n, kind="state-failed")) == 1
    assert host.read("/etc/motd") == "hello\n"


def test_directories_and_what_lies_in_them(box):
    box.role("tree", '[file."/srv/a"]\nensure = "directory"\nmode = "0755"\n'
                     '[file."/srv/a/b"]\nensure = "directory"\n[file."/srv/a/b/c"]\ncontent = "c\\n"\n'
                     '[file."/srv/link"]\nensure = "symlink"\ntarget = "a"\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    heals(box, "chmod 0700 /srv/a", state="file:/srv/a")
    # It may begin to come back before all of it is gone.
    heals(box, "rm -r /srv/a || true", state="file:/srv/a/b/c")
    daemon.wait_until(lambda: box.exists("/srv/a/b/c") and not status(box)["runs"], PATIENCE, "all is back")
    assert box.read("/srv/a/b/c") == "c\n"
    heals(box, "mv /srv/a /srv/away", state="file:/srv/a/b/c")
    assert box.read("/srv/a/b/c") == "c\n"
    heals(box, "ln -s nowhere /srv/l; mv -T /srv/l /srv/link", state="file:/srv/link")
    assert box.run("readlink /srv/link").stdout == "a\n"
    heals(box, "echo x >/srv/a/b/c", state="file:/srv/a/b/c")


def test_what_is_mounted_over_is_repaired_there_and_below(host):
    heals(host, "mkdir /srv/etc; cp -a /etc/. /srv/etc; echo other >/srv/etc/motd; mount --bind /srv/etc /etc")
    assert host.read("/etc/motd") == "hello\n"
    host.run("echo other >/etc/motd; umount --lazy /etc")  # the worker that repairs has it open
    heals(host, "echo drifted >/etc/motd")


def test_many_at_once_are_all_repaired(box):
    box.role("many", "".join(f'[file."/srv/{i}"]\ncontent = "{i}\\n"\n' for i in range(2000)))
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_idle(box)
    box.run("rm /srv/*; for i in $(seq 0 99); do echo x >/srv/$i; done")
    daemon.wait_until(lambda: len(box.run("ls /srv").stdout.split()) == 2000 and
                      box.run("cat /srv/5 /srv/1999", check=False).stdout == "5\n1999\n", PATIENCE, "all are back")
    wait_idle(box)
    assert set(states(box).values()) <= {"ok", "changed"}


def test_what_depends_on_it_is_looked_at_as_well(box):
    box.role("two", '[file."/srv/a"]\ncontent = "a"\n'
                    '[file."/srv/b"]\nrequires = ["file:/srv/a"]\nwhen = "exists(\'/srv/flag\')"\ncontent = "b"\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_idle(box)
    assert states(box)["file:/srv/b"] == "skipped"
    box.run("touch /srv/flag")
    heals(box, "rm /srv/a", state="file:/srv/b")
    assert box.read("/srv/b") == "b"


def test_what_drifts_before_a_run_comes_to_it_waits_for_what_it_requires(box):
    box.role("two", role_of("trouble", {"waits": {"do": "wait", "path": "/run/go", "timeout": "10min"}}) +
             '[file."/srv/first"]\ncontent = "first"\n'
             '[file."/srv/a"]\ncontent = "a"\nrequires = ["trouble:waits"]\n'
             '[file."/srv/b"]\ncontent = "b"\nrequires = ["file:/srv/first", "file:/srv/a"]\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box, module_dir=True)
    wait_event(box, "state-changed", state="file:/srv/first")
    box.run("touch /srv/a /srv/b")
    # What is seen after that is repaired, and what depends on it is not, which waits for more.
    heals(box, "echo drifted >/srv/first", state="file:/srv/first", idle=False)
    assert (box.read("/srv/a"), box.read("/srv/b")) == ("", "")
    assert states(box)["file:/srv/a"] is None and states(box)["file:/srv/b"] is None
    box.write("/run/go", "")
    wait_event(box, "run-finished", where=lambda e: e["data"]["cause"] == "boot")
    wait_idle(box)
    assert (box.read("/srv/a"), box.read("/srv/b")) == ("a", "b")
    changed = [e["state"] for e in events(box, kind="state-changed") if e["state"] != "file:/srv/first"]
    assert changed == ["file:/srv/a", "file:/srv/b"]


def test_what_is_blocked_is_not_repaired_before_what_blocks_it(box):
    box.run("mkdir /srv/no")
    box.role("two", '[file."/srv/no/dir/b"]\ncontent = "b"\n[file."/srv/a"]\ncontent = "a"\nrequires = ["file:/srv/no/dir/b"]\n'
                    '[file."/srv/c"]\ncontent = "c"\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    box.run("touch /srv/a")
    heals(box, "echo drifted >/srv/c", state="file:/srv/c")  # what is seen after that
    assert box.read("/srv/a") == "" and states(box)["file:/srv/a"] == "blocked"
    heals(box, "mkdir /srv/no/dir", state="file:/srv/a")
    assert (box.read("/srv/no/dir/b"), box.read("/srv/a")) == ("b", "a")


def test_the_source_of_a_file_is_watched(host):
    host.write("/etc/agentd/conf.d/page.txt", "one\n")
    host.role("page", '[file."/srv/page"]\nsource = "page.txt"\n')
    wait_event(host, "state-changed", state="file:/srv/page")
    heals(host, "echo two >/etc/agentd/conf.d/page.txt", state="file:/srv/page")
    # It may have been seen while there was nothing in it yet.
    daemon.wait_until(lambda: host.read("/srv/page") == "two\n", PATIENCE, "the page")


def test_audited_drift_is_told_when_it_happens(host):
    n = last_event(host)
    daemon.settings(host, 'interval = "infinity"\nmode = "audit"\n')
    wait_event(host, "roles-loaded", after=n)
    wait_idle(host)
    host.run("echo drifted >/etc/motd")
    assert wait_event(host, "state-drifted", after=n)["state"] == "file:/etc/motd"
    n = last_event(host)
    host.run("printf 'hello\\n' >/etc/motd")
    wait_event(host, "state-recovered", after=n)


def test_what_is_not_to_be_watched_is_left_to_the_runs(host):
    host.role("other", '[file."/srv/other"]\ncontent = "other\\n"\nwatch = false\n')
    wait_event(host, "state-changed", state="file:/srv/other")
    host.run("rm /srv/other")
    heals(host, "rm /etc/motd")
    assert not host.exists("/srv/other") and state(host, "file:/srv/other")["watch"] is False
    assert apply(host).summary["changed"] == 1


def test_a_disabled_host_is_not_healed(host):
    host.api("POST", "/v1/disable", {"reason": "by hand"})
    n = last_event(host)
    host.run("echo drifted >/etc/motd")
    host.api("POST", "/v1/validate")
    assert host.read("/etc/motd") == "drifted\n" and events(host, after=n, kind="state-changed") == []
    host.api("POST", "/v1/enable")
    wait_event(host, "state-changed", after=n)
    assert host.read("/etc/motd") == "hello\n"
    heals(host, "echo drifted >/etc/motd")


def test_a_hung_state_does_not_keep_others_from_being_healed(box):
    box.role("motd", MOTD)
    box.role("hangs", role_of("trouble", {"hangs": {"do": "hang-in-check", "timeout": "10min"}}))
    start(box, module_dir=True)
    wait_event(box, "state-changed", state="file:/etc/motd")
    assert status(box)["state"] == "running"
    heals(box, "echo drifted >/etc/motd", idle=False)
    assert status(box)["state"] == "running"


def test_a_fight_is_told_once_and_slows_down(host):
    n = last_event(host)
    # Somebody who undoes each repair; a machine on which five of these take more than 10 s sees no fight yet.
    while not events(host, after=n, kind="fight-begun"):
        heals(host, "echo mine >/etc/motd", idle=False)
    for _ in range(3):
        heals(host, "echo mine >/etc/motd", idle=False)
    fights = events(host, after=n, kind="fight-begun")
    assert len(fights) == 1 and fights[0]["state"] == "file:/etc/motd"
    assert "somebody changes it again" in fights[0]["message"]
    changed = [datetime.datetime.fromisoformat(e["time"]) for e in events(host, after=n, kind="state-changed")]
    assert len(changed) >= 8
    # The pauses double, from 1 s. What changes in the middle of a repair is looked at after that.
    assert max((b - a).total_seconds() for a, b in zip(changed[4:], changed[5:])) > 1.8
    # It is not given up.
    daemon.wait_until(lambda: host.read("/etc/motd") == "hello\n", PATIENCE, "the last repair")


def test_what_drifts_while_agentd_is_away_is_found_at_its_start(host):
    daemon.stop(host)
    host.run("echo drifted >/etc/motd")
    start(host)
    wait_idle(host)
    assert host.read("/etc/motd") == "hello\n"
    heals(host, "echo drifted >/etc/motd")


def test_what_a_reload_has_brought_is_watched_and_what_it_took_is_not(host):
    n = last_event(host)
    host.role("other", '[file."/srv/other"]\ncontent = "other\\n"\n')
    wait_event(host, "state-changed", after=n, state="file:/srv/other")
    heals(host, "rm /srv/other", state="file:/srv/other")
    heals(host, "rm /etc/motd")
    n = last_event(host)
    host.run("rm /etc/agentd/conf.d/motd.toml")
    wait_event(host, "roles-loaded", after=n)
    host.run("rm /etc/motd")
    heals(host, "rm /srv/other", state="file:/srv/other")
    assert not host.exists("/etc/motd")


def test_nothing_is_done_for_what_agentd_itself_changes(box):
    """Its own changes are events as well: they are looked at, and lead to nothing that would be told."""
    box.role("many", "".join(f'[file."/srv/{i}"]\ncontent = "{i}\\n"\n' for i in range(500)))
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    n = last_event(box)
    box.run("rm /srv/7")
    wait_event(box, "run-finished", after=n)
    wait_idle(box)
    assert [e["kind"] for e in events(box, after=n)] == ["state-changed", "run-finished"]
    assert len(daemon.items(box, "/v1/runs")) == 2
