# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs of the daemon beside each other, beside loads, and at its ends."""

import contextlib
import re
import time

import daemon
import pytest
from box import PATIENCE
from daemon import apply, last_event, plan, start, states, status, wait_event, wait_idle, wait_status
from hostile import states as role_of

MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\n'


def slow(name, seconds, timeout="50s", **settings):
    """A state of which the check takes its time."""
    return role_of("trouble", {name: {"do": "slow", "index": int(seconds * 1000), "timeout": timeout} | settings})


WAITS = role_of("trouble", {"slow": {"do": "wait", "path": "/run/go", "timeout": "10min"}})


def let_go(box):
    """The check of WAITS takes until then."""
    box.write("/run/go", "")


def is_at(state):
    return lambda s: s["runs"] and state in s["runs"][0]["progress"]["running"]


# ---- Loads and runs ----------------------------------------------------------------------------------------------


def test_the_interval_begins_also_when_the_first_load_failed(box):
    box.role("bad", "[file.\n")
    start(box)
    assert status(box)["roles"]["errors"] and status(box)["next_run"]
    n = last_event(box)
    box.role("bad", MOTD)
    wait_event(box, "state-changed", after=n)
    assert status(box)["next_run"]


def test_a_run_over_old_roles_does_not_undo_what_new_ones_did(box):
    box.role("a", '[file."/srv/a"]\ncontent = "old"\nrequires = ["trouble:slow"]\n' + WAITS)
    start(box, module_dir=True)
    wait_status(box, is_at("trouble:slow"))
    n = last_event(box)
    box.role("a", '[file."/srv/a"]\ncontent = "new"\n' + WAITS)
    wait_event(box, "state-changed", after=n, state="file:/srv/a")
    let_go(box)
    wait_idle(box)
    assert box.read("/srv/a") == "new"
    interrupted = daemon.events(box, after=n, kind="run-interrupted")
    assert len(interrupted) == 1 and "other roles" in interrupted[0]["message"]


def test_a_run_over_old_roles_goes_on_if_what_is_left_of_it_stayed_the_same(box):
    box.role("a", '[file."/srv/a"]\ncontent = "old"\nrequires = ["trouble:slow"]\n' + WAITS)
    start(box, module_dir=True)
    first = wait_status(box, is_at("trouble:slow"))["runs"][0]["run"]
    n = last_event(box)
    box.role("b", '[file."/srv/b"]\ncontent = "b"\n')
    wait_event(box, "state-changed", after=n, state="file:/srv/b")
    let_go(box)
    wait_event(box, "run-finished", after=n, where=lambda e: e["run"] == first)
    wait_idle(box)
    assert {k: v in ("ok", "changed") for k, v in states(box).items()} == {
        "file:/srv/a": True, "file:/srv/b": True, "trouble:slow": True}
    assert daemon.events(box, kind="run-interrupted") == []


def test_workers_of_roles_that_are_gone_make_no_room_for_many(box):
    daemon.settings(box, "workers = 1\n")
    box.role("many", slow("0", 0))
    start(box, module_dir=True)
    wait_idle(box)
    n = last_event(box)
    # States of different timeouts are batches of their own.
    box.role("many", "".join(slow(str(i), 1, timeout=f"{50 + i}s") for i in range(9)))
    wait_event(box, "roles-loaded", after=n)
    most = 0
    while wait := status(box)["runs"]:
        most = max(most, int(box.run("pgrep -c -x agentd-check", check=False).stdout))
    assert wait == [] and 1 <= most <= 2


@pytest.mark.parametrize("when", ["", "when = \"not exists('/srv/off')\"\n"], ids=["plain", "condition"])
def test_a_file_that_is_touched_all_the_time_does_not_load_all_the_time(box, when):
    box.role("motd", MOTD + when)
    start(box)
    wait_idle(box)
    # The first few times at once, and then when it has been quiet for 10 s, or has not been for a minute.
    for _ in range(10):
        before = loads(box)
        box.run("touch /etc/agentd/conf.d/motd.toml")
        daemon.wait_until(lambda: loads(box) > before, PATIENCE, "it is loaded")
    before, begin = loads(box), time.monotonic()
    box.run("for i in $(seq 25); do touch /etc/agentd/conf.d/motd.toml; sleep 0.3; done")
    assert loads(box) - before <= 2 + (time.monotonic() - begin) // 10


def loads(box):
    return int(re.search(r"^agentd_loads_total(?:\{.*\})? (\d+)", box.run(
        ["curl", "-sS", "--unix-socket", daemon.SOCKET, "http://localhost/metrics"]).stdout, re.M)[1])


@contextlib.contextmanager
def slow_to_watch(box, msec):
    """Each watch takes so long, of what was not watched before."""
    pid = daemon.main_pid(box)
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=inotify_add_watch", "-e",
            f"inject=inotify_add_watch:delay_enter={msec * 1000}", "-p", str(pid)]
    with daemon.background(box, argv):
        daemon.wait_until(lambda: "TracerPid:\t0\n" not in box.read(f"/proc/{pid}/status"), PATIENCE, "it is slow")
        yield


def test_a_run_takes_along_what_was_written_before_roles_are_watched(box):
    """Where a load has been for the first time is watched a moment later."""
    start(box)
    wait_idle(box)
    with slow_to_watch(box, 150):
        for name in "ab":
            box.write(f"/srv/{name}/text", "old\n")
            box.role("more", f'[file."/srv/it"]\ntemplate = "/srv/{name}/text"\nwatch = false\n')
            daemon.reload(box)
            box.write(f"/srv/{name}/text", f"{name}\n")
            assert apply(box).results.keys() == {"file:/srv/it"}
            assert box.read("/srv/it") == f"{name}\n"
            assert plan(box).summary["ok"] == 1


def test_what_drifts_before_it_is_watched_is_seen_also_if_roles_are_loaded_meanwhile(box):
    daemon.settings(box, 'interval = "infinity"\n')
    box.run("mkdir -p /opt")
    start(box)
    wait_idle(box)
    with slow_to_watch(box, 700):
        n = last_event(box)
        box.role("opt", '[file."/opt/a"]\ncontent = "a"\n')
        wait_event(box, "state-changed", after=n, state="file:/opt/a")
        n = last_event(box)
        box.run("echo drifted >/opt/a")
        daemon.reload(box)
        wait_event(box, "state-changed", after=n, state="file:/opt/a")
    assert box.read("/opt/a") == "a"


def test_a_run_begins_however_often_roles_are_loaded(box):
    """Until units are watched, of which a bus that hangs says nothing, it waits for 250 ms, and not again after each load."""
    box.role("unit", '[service."systemd-logind"]\nrunning = true\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_idle(box)
    n, pid = last_event(box), daemon.main_pid(box)
    box.run("pkill -STOP -x dbus-daemon")
    try:
        with daemon.background(box, ["sh", "-c", f"while kill -HUP {pid}; do sleep 0.02; done"]):
            box.role("motd", MOTD + '[service."systemd-journald"]\nrunning = true\n')
            wait_event(box, "state-changed", after=n, state="file:/etc/motd")
    finally:
        box.run("pkill -CONT -x dbus-daemon")


# ---- Two passes --------------------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_in_its_first_pass_says_so(box):
    daemon.settings(box, "max_changes = 0\n")
    box.role("slow", WAITS)
    start(box, module_dir=True)
    run = wait_status(box, is_at("trouble:slow"))["runs"][0]["run"]
    assert box.api("DELETE", f"/v1/runs/{run}").status == 202
    let_go(box)
    wait_event(box, "run-interrupted")
    run = daemon.get(box, f"/v1/runs/{run}")
    assert "stopped" in run["error"] and sum(run["summary"].values()) == 0
    assert states(box) == {"trouble:slow": None}


# ---- Its ends ----------------------------------------------------------------------------------------------------


def test_an_upgrade_survives_signals_at_every_moment(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    pid = daemon.main_pid(box)
    for _ in range(4):
        before = status(box)["started"]
        # Less and less often: it leaves when no load is under way, however long these take.
        flood = ["python3", "-c", f"import os, time\npause = 0.025\nwhile True:\n    os.kill({pid}, 1)\n"
                                  "    time.sleep(pause)\n    pause *= 1.05"]
        with daemon.background(box, flood):
            box.run("cp /usr/sbin/agentd /usr/sbin/agentd.new && mv /usr/sbin/agentd.new /usr/sbin/agentd")
            wait_status(box, lambda s: s["started"] != before)
        assert daemon.main_pid(box) == pid and daemon.prop(box, "NRestarts") == "0"
    wait_idle(box)


def test_without_descriptors_it_ends_with_an_error(box):
    for n in range(4, 40):
        done = box.run(["timeout", "-k", "30", "3", "prlimit", f"--nofile={n}", "/usr/sbin/agentd"], check=False)
        # 124: it has found enough, and runs.
        assert done.returncode in (1, 124, 127), (n, done)
        if done.returncode == 124:
            return


def test_a_loader_that_hangs_in_the_kernel_does_not_keep_agentd_from_stopping(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/etc/agentd/conf.d/odd.toml", '[odd-write."/srv/disk/new"]\n')
    daemon.write_drop_in(box, f"ExecStart=\nExecStart={daemon.AGENTD} --module-dir=/usr/lib/agentd-tests/odd\n")
    box.run("fsfreeze --freeze /srv/disk")
    try:
        box.run("systemctl start --no-block agentd")
        daemon.wait_until(lambda: "D" in box.run("ps -C agentd-load -o stat=", check=False).stdout, PATIENCE, "it hangs")
        pid = daemon.main_pid(box)
        box.run("systemctl stop --no-block agentd")
        daemon.wait_until(lambda: not box.exists(f"/proc/{pid}"), PATIENCE, "agentd ends")
    finally:
        box.run("fsfreeze --unfreeze /srv/disk")
    assert daemon.prop(box, "ExecMainStatus") == "0"


def clients(box):
    """How many agentd has taken the connection of."""
    pid = daemon.main_pid(box)
    return box.run(f"ss -xpH state connected | grep 'agentd.sock.*pid={pid},'", check=False).stdout.count("\n")


@pytest.mark.parametrize("what", ["POST /v1/validate", "POST /v1/reload", "GET /v1/facts"])
def test_who_waits_for_an_answer_gets_one_when_agentd_stops(box, what):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    daemon.settings(box, 'facts_deadline = "30s"\n')
    daemon.reload(box)
    box.write("/etc/agentd/facts.d/slow", "#!/bin/sh\nexec sleep 1000\n", mode=0o755)
    box.write("/etc/agentd/conf.d.new", '[file."/srv/slow"]\ncontent = "{{facts.hostname}}"\n')
    box.run("mv /etc/agentd/conf.d.new /etc/agentd/conf.d/slow.toml")
    method, path = what.split()
    with daemon.background(box, ["curl", "-sS", "-X", method, "--unix-socket", daemon.SOCKET,
                                 "http://localhost" + path]) as client:
        # Roles are loaded by themselves as well: it is the client who has to be there.
        daemon.wait_until(lambda: clients(box) and box.run(["pgrep", "-x", "sleep"], check=False).stdout, PATIENCE,
                          "somebody waits for facts")
        daemon.stop(box)
        assert client.process.wait(PATIENCE) == 0
        assert b'"urn:agentd:not-ready"' in client.process.stdout.read()


def test_who_follows_a_run_that_hangs_is_told_the_end_when_agentd_stops(box):
    start(box, module_dir=True)
    box.api("POST", "/v1/disable", {"reason": "no run but ours"})
    n = last_event(box)
    box.role("hangs", role_of("trouble", {"hangs": {"do": "hang-in-check", "timeout": "10min"}}))
    wait_event(box, "roles-loaded", after=n)
    with daemon.background(box, ["curl", "-sS", "-N", "-X", "POST", "--unix-socket", daemon.SOCKET, "-d",
                                 '{"mode": "plan"}', "-H", "Content-Type: application/json",
                                 "http://localhost/v1/runs?follow=true"]) as follower:
        wait_status(box, is_at("trouble:hangs"))
        daemon.stop(box)
        assert "had finished" in follower.wait(lambda line: "summary" in line)["error"]
