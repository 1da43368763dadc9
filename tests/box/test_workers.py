# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules that go wrong harm their own states only, and workers end when they should. See tests/modules/trouble.c."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from box import kill_session, lines_until, wait_until
from hostile import MODULES, by_name, once, states

GOOD = 64
PATIENCE = 50  # seconds for what has to come, be the machine as slow as it likes
WAIT = "/srv/wait"  # states that stay do so as long as it is there
HANGS = ("hang-in-check", "hang-in-apply", "block-signals", "talk")


class Run:
    """agentd --once that is watched while it runs."""

    def __init__(self, box, role, *arguments, module_dir=MODULES):
        box.write("/etc/agentd-tests/test.toml", role)
        self.box = box
        self.results = {}
        self.summary = None
        self.rest = bytearray()
        self.stderr = open(box.dir / "stderr", "w+b")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*box.nsenter(box.leader), "/usr/sbin/agentd", "--once", "--json", "--conf-dir", "/etc/agentd-tests",
             "--module-dir", module_dir, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr, env=box.ENVIRONMENT, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kill_session(self.process)
        self.stderr.close()

    def wait_for(self, name=None, timeout=PATIENCE):
        """Reads results until that of a state, or the end. Returns the exit status at the end."""
        if name in self.results:
            return None
        for line in lines_until(self.process.stdout, time.monotonic() + timeout, self.rest):
            line = json.loads(line)
            if "summary" in line:
                self.summary = line["summary"]
                continue
            self.results[line["name"]] = line
            if line["name"] == name:
                return None
        assert name is None, f"no result of {name}: {self.told()}"
        return self.process.wait(max(0.1, self.started + timeout - time.monotonic()))

    def told(self):
        return (self.box.dir / "stderr").read_text()

    def wait_told(self, text):
        wait_until(lambda: text in self.told(), PATIENCE, text)


def timeout_of(*deeds):
    """That of all states of a batch: long, unless one of them has to wait for it."""
    return "2s" if set(deeds) & set(HANGS) else "20s"


def good(n=GOOD, timeout="20s"):
    return {f"good{i:05}": {"do": "good", "timeout": timeout} for i in range(n)}


def with_guilty(do, n=GOOD, at=0.6, **extra):
    """Role text: good states with a bad one among them."""
    everybody = list(good(n, timeout_of(do)).items())
    everybody.insert(int(n * at), ("guilty", {"do": do, "timeout": timeout_of(do), **extra}))
    return states("trouble", dict(everybody))


def processes(box, pattern="agentd"):
    """(pid, state, command) of what is called so, zombies as well. The worker's names are agentd-check and -apply."""
    out = box.run(["ps", "-eo", "pid=,stat=,comm="]).stdout
    return [tuple(line.split(None, 2)) for line in out.splitlines() if pattern in line]


def is_pending(box, pid, number):
    pending = re.search(r"^ShdPnd:\s*(\w+)", box.read(f"/proc/{pid}/status"), re.MULTILINE)[1]
    return int(pending, 16) & 1 << number - 1


def wait_for_their_end(box):
    wait_until(lambda: not processes(box), PATIENCE, "all processes end")


def assert_only_guilty_failed(results, error, n=GOOD):
    results = by_name(results)
    assert len(results) == n + 1
    assert [name for name, result in results.items() if result["result"] != "ok" and name != "guilty"] == []
    assert results["guilty"]["result"] == "failed"
    assert re.search(error, results["guilty"]["error"]), results["guilty"]["error"]


# ---- Checks that go wrong ----

TROUBLE = {
    "crash-in-check": r"^the worker died of signal 11 \(Segmentation fault\) while checking it$",
    "abort": r"^the worker died of signal 6 \(Aborted\) while checking it$",
    "exit": r"^the worker exited with status 7 while checking it$",
    "exit-as-setup": r"^the worker exited with status 3 while checking it$",
    "eat-memory": r"^the worker died of signal 6 \(Aborted\) while checking it$",
    "eat-stack": r"^the worker died of signal 11 \(Segmentation fault\) while checking it$",
    "garbage": r"^the worker sent a message that is not well-formed while checking it$",
    "close-socket": r"^the worker exited with status 1 while checking it$",
    "hang-in-check": r"^no answer within the timeout; the worker was killed while checking it$",
    "block-signals": r"^no answer within the timeout; the worker was killed while checking it$",
    "talk": r"^no answer within the timeout; the worker was killed while checking it$",
    "silent": r"^the module said nothing about this state$",
    "failed": r"^it is broken$",
}


@pytest.mark.parametrize("do", TROUBLE)
def test_only_the_guilty_state_fails(box, do):
    done = once(box, with_guilty(do), timeout=PATIENCE)
    assert_only_guilty_failed(done.results, TROUBLE[do])
    assert done.returncode == 1
    # With all, with a half of them, and then alone: a state that hangs costs its timeout three times.
    assert done.stderr.count("A worker was lost") <= 2, done.stderr
    wait_for_their_end(box)


def test_error_of_a_batch_fails_those_that_were_not_spoken_of(box):
    done = once(box, with_guilty("error"))
    results = by_name(done.results)
    order = [*good()]
    at = int(GOOD * 0.6)
    assert {results[name]["result"] for name in order[:at]} == {"ok"}
    assert {results[name]["error"] for name in [*order[at:], "guilty"]} == {"the module failed: Input/output error"}


@pytest.mark.parametrize("do", ["close-standard", "print", "leave-a-child", "out-of-range"])
def test_odd_but_harmless(box, do):
    done = once(box, with_guilty(do))
    assert (done.returncode, done.summary["ok"]) == (0, GOOD + 1), done.stderr
    assert "not for you" not in done.stderr and "nor this" not in done.stderr


def test_unknown_outside_of_a_plan_is_failed(box):
    assert_only_guilty_failed(once(box, with_guilty("unknown")).results, "^who knows$")
    done = by_name(once(box, with_guilty("unknown"), "--plan").results)
    assert done["guilty"]["result"] == "unknown"


@pytest.mark.parametrize("index", [0, 1, 1 << 20, (1 << 31) + 1, -1])
def test_lies_about_states_of_others_are_not_believed(box, index):
    # The states lied about are those of the other type, and none at all.
    text = '[hosts-entry."example.org"]\naddress = "192.0.2.1"\naudit = true\n' \
           '[hosts-entry."example.com"]\naddress = "192.0.2.1"\naudit = true\n'
    done = once(box, text + with_guilty("lie", index=index))
    results = by_name(done.results)
    assert results["example.org"]["result"] == results["example.com"]["result"] == "drifted"
    assert_only_guilty_failed([r for r in done.results if r["type"] == "trouble"],
                              "^the worker sent a message that is not well-formed while checking it$")


@pytest.mark.parametrize("pair", [("crash-in-check", "exit"), ("abort", "garbage"), ("hang-in-check", "crash-in-check")])
def test_two_guilty_ones_in_a_batch(box, pair):
    settings = good(timeout=timeout_of(*pair))
    for name, do in zip(("good00013", "good00050"), pair):
        settings[name]["do"] = do
    done = once(box, states("trouble", settings))
    failed = [r for r in done.results if r["result"] != "ok"]
    assert sorted(r["name"] for r in failed) == ["good00013", "good00050"]
    for result, do in zip(sorted(failed, key=lambda r: r["name"]), pair):
        assert re.search(TROUBLE[do], result["error"])


def test_big_differences_are_cut(box):
    done = once(box, with_guilty("big-difference"), "--plan")
    result = by_name(done.results)["guilty"]
    assert result["result"] == "drifted"
    text = result["differences"][0]["is"]
    assert len(text) < 20000 and text.startswith("xxx") and text.endswith("…")
    assert done.summary["ok"] == GOOD


def test_many_differences_arrive(box):
    result = by_name(once(box, with_guilty("many-differences"), "--plan").results)["guilty"]
    assert [d["is"] for d in result["differences"]] == list(range(1000))


def test_results_that_were_sent_are_kept(box):
    # Each takes so long that its result is sent before the next one begins.
    settings = {f"s{i}": {"do": "slow", "index": 60, "tell": True, "timeout": "20s"} for i in range(10)}
    settings["s8"] = {"do": "crash-in-check", "timeout": "20s", "tell": True}
    done = once(box, states("trouble", settings))
    assert [r["name"] for r in done.results if r["result"] != "ok"] == ["s8"]
    count = {name: done.stderr.count(f"checked {name}\n") for name in settings}
    assert all(count[f"s{i}"] == 1 for i in range(7)), count
    assert count["s8"] <= 4


def test_ten_thousand_states(box):
    assert once(box, states("trouble", good(10000)), timeout=PATIENCE).summary["ok"] == 10000


def test_one_crash_among_ten_thousand(box):
    done = once(box, with_guilty("crash-in-check", 10000), timeout=PATIENCE)
    assert_only_guilty_failed(done.results, TROUBLE["crash-in-check"], 10000)


# ---- Time ----

def test_hang_delays_no_state_of_another_type(box):
    box.write(WAIT, "")
    text = '[hosts-entry."example.org"]\naddress = "192.0.2.1"\n' + \
        states("trouble", {"hangs": {"do": "stay", "path": WAIT, "timeout": "2min"}})
    with Run(box, text) as run:
        run.wait_for("example.org")
        assert "hangs" not in run.results
        box.run(["rm", WAIT])
        assert run.wait_for() == 0


def test_hangs_do_not_use_up_the_workers(box):
    box.write(WAIT, "")
    settings = {"hangs": {"do": "stay", "path": WAIT, "timeout": "2min"}}
    settings |= {f"after{i}": {"do": "good", "requires": ["hosts-entry:example.org"]} for i in range(5)}
    text = '[hosts-entry."example.org"]\naddress = "192.0.2.1"\n' + states("trouble", settings)
    with Run(box, text) as run:
        for i in range(5):
            run.wait_for(f"after{i}")
        assert "hangs" not in run.results
        box.run(["rm", WAIT])
        assert run.wait_for() == 0


def test_slow_states_are_warned_of_and_finish(box):
    box.write(WAIT, "")
    with Run(box, states("trouble", {"slow": {"do": "stay", "path": WAIT, "timeout": "12s"}})) as run:
        run.wait_told("No word for 4s while checking trouble:slow; waiting 8s more")
        box.run(["rm", WAIT])
        assert run.wait_for() == 0
    assert run.results["slow"]["result"] == "ok" and run.results["slow"]["duration_usec"] > 3e6


def test_many_slow_states_in_one_batch_are_not_killed(box):
    # Each is within its timeout, all together are not.
    settings = {f"s{i}": {"do": "slow", "index": 600, "timeout": "5s"} for i in range(10)}
    done = once(box, states("trouble", settings), timeout=PATIENCE)
    assert done.summary["ok"] == 10, done.stderr


# ---- Applies that go wrong ----

APPLY_TROUBLE = {
    "crash-in-apply": r"^the worker died of signal 11 \(Segmentation fault\) while applying it$",
    "exit-in-apply": r"^the worker exited with status 7 while applying it$",
    "hang-in-apply": r"^no answer within the timeout; the worker was killed while applying it$",
}


@pytest.mark.parametrize("do", APPLY_TROUBLE)
def test_apply_that_goes_wrong_fails_alone(box, do):
    everybody = {name: {"do": "apply", "timeout": timeout_of(do)} for name in good(32)}
    everybody["good00020"]["do"] = do
    done = once(box, states("trouble", everybody))
    results = by_name(done.results)
    assert [name for name in results if results[name]["result"] != "changed"] == ["good00020"]
    assert re.search(APPLY_TROUBLE[do], results["good00020"]["error"]), results["good00020"]["error"]
    applied = box.read("/run/trouble/applied").split()
    # What was applied, though the worker had not said so, is looked at before it is applied again.
    assert all(applied.count(name) == 1 for name in everybody if name != "good00020"), applied
    assert set(applied) == set(everybody)


def test_apply_that_does_not_help_fails(box):
    done = once(box, with_guilty("still-differs"))
    assert_only_guilty_failed(done.results, "^still differs after it was applied: answer$")
    assert by_name(done.results)["guilty"]["differences"] == [{"attribute": "answer", "is": 41, "should": 42}]


def test_apply_is_not_called_in_a_plan(box):
    done = once(box, states("trouble", {"a": {"do": "apply"}, "b": {"do": "crash-in-apply"}}), "--plan")
    assert done.summary["drifted"] == 2
    assert not box.exists("/run/trouble")


# ---- Their end ----

@pytest.mark.parametrize("do", ["hang-in-check", "hang-in-apply"])
def test_workers_end_with_the_engine(box, do):
    with Run(box, states("trouble", {"a": {"do": do}})) as run:
        kind = "agentd-check" if do == "hang-in-check" else "agentd-apply"
        wait_until(lambda: processes(box, kind), PATIENCE, "worker begins")
        engine = [pid for pid, _, name in processes(box) if name == "agentd"]
        box.run(["kill", "-KILL", *engine])
        wait_for_their_end(box)
        assert run.wait_for() != 0


def test_no_zombie_while_it_runs(box):
    settings = {f"bad{i}": {"do": "crash-in-check", "timeout": "20s"} for i in range(10)}
    settings["slow"] = {"do": "stay", "path": WAIT, "requires": ["hosts-entry:example.org"], "timeout": "2min"}
    text = '[hosts-entry."example.org"]\naddress = "192.0.2.1"\n' + states("trouble", settings)
    box.write(WAIT, "")
    with Run(box, text) as run:
        for i in range(10):
            run.wait_for(f"bad{i}")
        # The result of the last one is told right before it is reaped.
        wait_until(lambda: not [p for p in processes(box) if p[1].startswith("Z")], PATIENCE, "all are reaped")
        box.run(["rm", WAIT])
        assert run.wait_for() == 1
    wait_for_their_end(box)


@pytest.mark.parametrize("do", ["leave-a-child", "leave-a-daemon"])
def test_child_of_a_check_does_not_outlive_its_worker(box, do):
    done = once(box, states("trouble", {"a": {"do": do}}))
    assert done.summary["ok"] == 1
    wait_until(lambda: not processes(box), 20, "child ends")  # by itself it does after 30 s


def test_interrupt_lets_an_apply_finish(box):
    box.write(WAIT, "")
    text = states("trouble", {"a": {"do": "stay-in-apply", "path": WAIT}, "b": {"requires": ["trouble:a"]}})
    with Run(box, text) as run:
        wait_until(lambda: box.exists("/run/trouble/applied"), PATIENCE, "apply begins")
        engine, = [pid for pid, _, name in processes(box) if name == "agentd"]
        os.killpg(run.process.pid, signal.SIGINT)  # to the whole group, as a terminal does
        wait_until(lambda: not is_pending(box, engine, signal.SIGINT), PATIENCE, "the signal is read")
        box.run(["rm", WAIT])
        assert run.wait_for() == 1
    assert box.exists("/run/trouble/a")
    wait_for_their_end(box)


def test_module_that_was_replaced_is_not_used(box):
    box.run(f"cp -r {MODULES} /srv/modules")
    other = bytearray(open(f"/proc/{box.leader}/root/srv/modules/hostile.so", "rb").read())
    note = other.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0")  # name 4 bytes, value 20, NT_GNU_BUILD_ID
    other[note + 16] ^= 0xFF
    box.write(WAIT, "")
    text = states("trouble", {"slow": {"do": "stay", "path": WAIT}}) + \
        '[hostile.late]\nattempt = "netlink"\nrequires = ["trouble:slow"]\n'
    with Run(box, text, module_dir="/srv/modules") as run:
        wait_until(lambda: processes(box, "agentd-check"), PATIENCE, "worker begins")
        box.write("/srv/modules/new", bytes(other))
        box.run(f"mv /srv/modules/new /srv/modules/hostile.so; rm {WAIT}")
        assert run.wait_for() == 1
    assert "the module was replaced since the roles were loaded" in run.results["late"]["error"]


# ---- File systems ----


@pytest.mark.parametrize("do", ["stay", "hang-in-check"])
def test_umount_frees_the_device_at_once(box, loop_ext4, do):
    disk = loop_ext4("/srv/disk")
    # One that stays does so until the directory is gone.
    settings = good(10) | {"held": {"do": do, "path": "/srv/disk", "timeout": "40s"}}
    with Run(box, states("trouble", settings)) as run:
        held = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -- '-> /srv/disk'"
        wait_until(lambda: box.run(held, check=False).returncode == 0, PATIENCE, "worker holds it open")
        disk.umount()  # succeeds: what the worker has open lies on its own mount, which keeps the device busy
        wait_until(lambda: not disk.attached, 30, "device is free")
        assert "A worker was lost" not in run.told(), "that its time is over is not what frees it"
        if do != "stay":
            return
        box.run(["rmdir", "/srv/disk"])
        assert run.wait_for() == 0
    assert {result["result"] for result in run.results.values()} == {"ok"} and len(run.results) == 11


def test_umount_of_what_an_idle_worker_saw(box, loop_ext4):
    disk = loop_ext4("/srv/disk")
    box.write(WAIT, "")
    text = states("trouble", {"held": {"path": "/srv/disk"}, "slow": {"do": "stay", "path": WAIT, "requires": ["trouble:held"],
                                                                     "timeout": "2min"}})
    with Run(box, text) as run:
        run.wait_for("held")
        disk.umount()
        wait_until(lambda: not disk.attached, PATIENCE, "device is free")
        box.run(["rm", WAIT])
        assert run.wait_for() == 0


@pytest.fixture
def frozen(box, loop_ext4):
    """A file system on which every write hangs so that no signal helps."""
    disk = loop_ext4("/srv/disk")
    box.run("fsfreeze --freeze /srv/disk")
    yield disk
    box.run("fsfreeze --unfreeze /srv/disk", check=False)


def content(paths, timeout="3s", **extra):
    return states("file", {path: {"content": "x", "timeout": timeout, **extra} for path in paths})


def later(**extra):
    return states("trouble", {"later": {"do": "stay", "path": WAIT, "timeout": "2min", **extra}})


def is_stuck(box):
    """A process or two are left, which cannot be killed."""
    return len(left := processes(box)) in (1, 2) and {state[0] for _, state, _ in left} == {"D"}


def test_apply_that_hangs_in_the_kernel(box, frozen):
    on_it = [f"/srv/disk/f{i}" for i in range(8)]
    elsewhere = [f"/srv/free{i}" for i in range(8)]
    text = content(p for pair in zip(on_it, elsewhere) for p in pair) + content(["/srv/after"], requires=["file:/srv/free0"])
    with Run(box, text) as run:
        status = run.wait_for()
    told = run.told()
    assert status == 1
    assert {run.results[path]["result"] for path in [*elsewhere, "/srv/after"]} == {"changed"}
    for path in on_it:
        assert re.fullmatch(r"file system '/srv/disk' hangs \(process \d+\)", run.results[path]["error"])
    # Once to learn that a worker hangs, once more to learn where, and never again.
    assert told.count("File system '/srv/disk' hangs: process") == 1, told
    wait_until(lambda: is_stuck(box), PATIENCE, "one or two of them are stuck, all others have ended")

    # The engine did not wait for them; they end by themselves.
    box.run("fsfreeze --unfreeze /srv/disk")
    wait_for_their_end(box)
    assert once(box, text).summary["ok"] >= len(elsewhere)
    frozen.umount()
    wait_until(lambda: not frozen.attached, PATIENCE, "the device is free")


def test_states_of_a_mount_that_hangs_fail_at_once(box, frozen):
    # The later ones are ready when it is known already.
    box.write(WAIT, "")
    text = content(["/srv/disk/first"]) + content([f"/srv/disk/f{i}" for i in range(8)], requires=["trouble:later"]) + later()
    with Run(box, text) as run:
        run.wait_for("/srv/disk/first")
        error = run.results["/srv/disk/first"]["error"]
        assert "hangs" in error
        box.run(["rm", WAIT])
        assert run.wait_for() == 1
        # Nobody was asked about them.
        assert {run.results[f"/srv/disk/f{i}"]["error"] for i in range(8)} == {error}
    wait_until(lambda: len(processes(box)) == 1, PATIENCE, "there is no other one")


def test_file_system_that_works_again_is_used_again(box, frozen):
    box.write(WAIT, "")
    text = content(["/srv/disk/first"]) + content(["/srv/disk/second"], requires=["trouble:later"], timeout="20s") + later()
    with Run(box, text) as run:
        run.wait_for("/srv/disk/first")
        box.run("fsfreeze --unfreeze /srv/disk")
        run.wait_told("File system '/srv/disk' works again")
        box.run(["rm", WAIT])
        assert run.wait_for() == 1
        assert run.results["/srv/disk/second"]["result"] == "changed"
    wait_for_their_end(box)


def test_run_ends_though_all_workers_hang(box, loop_ext4):
    """More file systems that hang than workers are given up before the rest is."""
    disks = [loop_ext4(f"/srv/disk{i}", mib=4) for i in range(12)]
    try:
        for disk in disks:
            box.run(["fsfreeze", "--freeze", disk.path])
        text = "".join(content([f"{disk.path}/file"], timeout="1s") for disk in disks)
        with Run(box, text) as run:
            assert run.wait_for(timeout=200) == 1
        assert len(run.results) == 12
        errors = [result["error"] for result in run.results.values()]
        assert all("hang" in error for error in errors), errors
        assert any("too many of them hang" in error for error in errors), errors
    finally:
        for disk in disks:
            box.run(["fsfreeze", "--unfreeze", disk.path], check=False)
    wait_for_their_end(box)
