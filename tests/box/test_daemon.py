# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentd as a service: what it does by itself, and when it is told to."""

import re
import time

import daemon
import pytest
from box import PATIENCE
from daemon import apply, events, last_event, plan, start, state, states, status, wait_event, wait_idle, wait_status
from hostile import states as role_of

# Nothing here is about healing, which would come before the run that is: test_heal.py has that.
MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\nwatch = false\n'
TROUBLE = {"timeout": "20s"}


def role(name="motd", path="/etc/motd", content="hello", extra=""):
    return f'{extra}[file."{path}"]\ncontent = "{content}\\n"\nwatch = false\n'


def slow(name="slow", do="wait", **settings):
    """A role with a state that is not done before it is let go."""
    return role_of("trouble", {name: {"do": do, "path": "/run/go", "timeout": "10min"} | settings})


def let_go(box):
    box.write("/run/go", "")


def is_under_way(s):
    return s["runs"] and s["runs"][0]["progress"]["running"]


def changing_roles(box, script):
    """Python that calls step() between the files it writes in conf.d; returns how many loads that may be: one for each time
    that it has paused for long, or gone on for long, or agentd has."""
    told = box.run(["python3", "-c", f"""
import os, time
os.chdir("/etc/agentd/conf.d")
begin = last = time.monotonic()
pauses = 0
def step():
    global last, pauses
    now = time.monotonic()
    pauses += now - last > 0.1
    last = now
{script}
step()
print(pauses + int((last - begin) / 4))"""]).stdout
    return int(told) + 5


def loads(box):
    return int(re.search(r"^agentd_loads_total(?:\{.*\})? (\d+)", box.run(
        ["curl", "-sS", "--unix-socket", daemon.SOCKET, "http://localhost/metrics"]).stdout, re.M)[1])


# ---- Start -------------------------------------------------------------------------------------------------------


def test_ready_is_said_after_the_load_and_before_the_run(box):
    box.role("slow", slow())
    start(box, module_dir=True)
    assert wait_status(box, lambda s: s["state"] == "running")["runs"][0]["cause"] == "boot"


def test_boot_makes_the_host_as_declared(box):
    box.role("motd", MOTD)
    start(box)
    wait_event(box, "run-finished")
    assert box.read("/etc/motd") == "hello\n"
    s = wait_idle(box)
    assert s["last_run"]["cause"] == "boot" and s["last_run"]["summary"]["changed"] == 1
    assert s["roles"] == {"loaded": s["roles"]["loaded"], "n_roles": 1, "n_states": 1, "errors": []}


def test_it_starts_without_any_role_and_says_so(box):
    start(box)
    s = wait_idle(box)
    assert s["roles"]["n_states"] == 0 and s["roles"]["errors"] == []
    daemon.wait_prop(box, "StatusText", "0 states")


def test_it_starts_with_a_bad_role_and_reports_it_everywhere(box):
    box.role("bad", '[file."/etc/motd"]\ncontnet = "hello"\n')
    start(box)
    errors = status(box)["roles"]["errors"]
    assert [(e["file"], e["line"], e["column"]) for e in errors] == [("/etc/agentd/conf.d/bad.toml", 2, 1)]
    assert "did you mean 'content'" in errors[0]["message"]
    assert events(box, kind="roles-refused")[0]["data"]["diagnostics"] == errors
    assert box.journal("AGENTD_EVENT=roles-refused")
    assert any("bad.toml:2:1: error: " in e["MESSAGE"] for e in box.journal("-u", "agentd"))
    daemon.wait_prop(box, "StatusText", "the roles on disk have errors")
    assert box.api("GET", "/healthz").status == 503
    assert box.api("POST", "/v1/runs").status == 503


def test_a_second_agentd_is_refused_and_so_is_a_single_run(box):
    start(box)
    for argv in (["/usr/sbin/agentd"], ["/usr/sbin/agentd", "--once"]):
        done = box.run(argv, check=False)
        assert done.returncode == 1 and "agentd is running already" in done.stderr
    assert box.run(["/usr/sbin/agentd", "--once", "--plan"], check=False).returncode == 0
    wait_idle(box)


# ---- Roles come and go -------------------------------------------------------------------------------------------


def test_a_role_dropped_changed_and_removed_takes_effect_by_itself(box):
    start(box)
    n = last_event(box)
    box.role("motd", MOTD)
    assert wait_event(box, "state-changed", after=n, state="file:/etc/motd")
    assert box.read("/etc/motd") == "hello\n"

    n = last_event(box)
    box.role("motd", role(content="hello again"))
    wait_event(box, "state-changed", after=n)
    assert box.read("/etc/motd") == "hello again\n"

    n = last_event(box)
    box.run("rm /etc/agentd/conf.d/motd.toml")
    assert wait_event(box, "roles-loaded", after=n)["data"]["n_states"] == 0
    assert states(box) == {}
    assert box.api("GET", "/v1/states/file:%2Fetc%2Fmotd").status == 404


def test_a_role_is_loaded_when_it_has_settled_not_while_it_is_written(box):
    start(box)
    n, before = last_event(box), loads(box)
    # Half a role, many times over, and at last the whole of it.
    most = changing_roles(box, """
with open("motd.toml", "w") as file:
    for _ in range(200):
        print('[file."/etc/motd"]\\ncontent = "half', end="", file=file, flush=True)
        time.sleep(0.005)
        step()
with open("motd.toml", "w") as file:
    file.write('[file."/etc/motd"]\\ncontent = "whole\\\\n"\\n')""")
    wait_event(box, "state-changed", after=n, state="file:/etc/motd")
    assert box.read("/etc/motd") == "whole\n"
    assert loads(box) - before <= most


def test_thousands_of_files_dropped_at_once_are_few_loads(box):
    start(box)
    n, before = last_event(box), loads(box)
    most = changing_roles(box, """
os.mkdir("/srv/many")
for i in range(3000):
    with open(f"many-{i}.toml", "w") as file:
        file.write(f'[file."/srv/many/{i}"]\\ncontent = "{i}\\\\n"\\n')
    step()""")
    wait_event(box, "roles-loaded", after=n, where=lambda e: e["data"]["n_states"] == 3000)
    assert loads(box) - before <= most
    wait_idle(box)
    assert len(box.run("ls /srv/many").stdout.split()) == 3000


def test_a_bad_role_leaves_the_old_ones_in_force(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    n = last_event(box)
    box.role("bad", "[file.\n")
    refused = wait_event(box, "roles-refused", after=n)
    assert refused["data"]["diagnostics"][0]["file"] == "/etc/agentd/conf.d/bad.toml"
    assert states(box) == {"file:/etc/motd": "changed"}
    box.write("/etc/motd", "drifted\n")
    run = apply(box)
    assert run.summary["changed"] == 1 and box.read("/etc/motd") == "hello\n"

    n = last_event(box)
    box.run("rm /etc/agentd/conf.d/bad.toml")
    wait_event(box, "roles-loaded", after=n)
    assert status(box)["roles"]["errors"] == []


def test_a_template_that_appears_mends_the_load(box):
    box.role("page", '[file."/srv/page"]\ntemplate = "page.mustache"\n')
    start(box)
    assert status(box)["roles"]["errors"]
    n = last_event(box)
    box.write("/etc/agentd/conf.d/page.mustache", "on {{facts.hostname}}\n")
    wait_event(box, "state-changed", after=n)
    # It may have been seen while there was nothing in it yet.
    daemon.wait_until(lambda: box.read("/srv/page") == "on box\n", PATIENCE, "the page")
    box.write("/etc/agentd/conf.d/page.mustache", "still on {{facts.hostname}}\n")
    daemon.wait_until(lambda: box.read("/srv/page") == "still on box\n", PATIENCE, "the page")


def test_conf_d_that_goes_and_comes_back_is_seen(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    n = last_event(box)
    box.run("mv /etc/agentd /etc/agentd.away")
    assert wait_event(box, "roles-loaded", after=n)["data"]["n_states"] == 0
    n = last_event(box)
    box.run("mv /etc/agentd.away /etc/agentd")
    assert wait_event(box, "roles-loaded", after=n)["data"]["n_states"] == 1
    # And it is watched still.
    n = last_event(box)
    box.role("motd", role(content="later"))
    wait_event(box, "state-changed", after=n)


@pytest.mark.parametrize("how", ["api", "hangup", "systemctl", "agentctl"])
def test_reload(box, how):
    start(box)
    n = last_event(box)
    box.write("/srv/roles/motd.toml", MOTD)
    # Where nobody looks: a link into a directory that is not there yet.
    box.write("/etc/agentd/conf.d/motd.toml", MOTD)
    if how == "api":
        outcome = daemon.reload(box)
        assert outcome["n_states"] == 1 and outcome["diagnostics"] == []
    elif how == "hangup":
        box.run(["kill", "-HUP", str(daemon.main_pid(box))])
    else:
        box.run(["systemctl", "reload", "agentd"] if how == "systemctl" else ["agentctl", "reload"])
        assert states(box).keys() == {"file:/etc/motd"}
    wait_event(box, "state-changed", after=n)


def test_reload_of_a_bad_role_is_refused_with_all_errors(box):
    start(box)
    box.role("bad", '[file."/etc/motd"]\ncontnet = "x"\nmode = 644\n')
    answer = box.api("POST", "/v1/reload")
    assert answer.status == 422 and len(answer.body["diagnostics"]) == 2
    ctl = box.agentctl("reload")
    assert ctl.returncode == 2 and "bad.toml:2:1: error: " in ctl.stderr and "bad.toml:3:8: error: " in ctl.stderr
    assert box.run(["systemctl", "reload", "agentd"], check=False).returncode != 0
    assert daemon.prop(box, "ActiveState") == "active"


def test_facts_are_looked_at_before_a_run_by_interval(box):
    box.write("/etc/agentd/facts.d/site.json", '{"name": "one"}')
    box.role("site", '[file."/srv/site"]\ncontent = "{{facts.local.site.name}}\\n"\n')
    daemon.settings(box, 'interval = "1s"\njitter = "0s"\n')
    start(box)
    wait_event(box, "state-changed", state="file:/srv/site")
    n = last_event(box)
    # Not one of the files that are watched: the directory of facts is not.
    box.write("/etc/agentd/facts.d/site.json", '{"name": "two"}')
    wait_event(box, "state-changed", after=n, state="file:/srv/site")
    assert box.read("/srv/site") == "two\n"


# ---- Runs --------------------------------------------------------------------------------------------------------


def test_drift_is_healed_at_the_interval(box):
    box.role("motd", MOTD)
    daemon.settings(box, 'interval = "1s"\njitter = "0s"\n')
    start(box)
    wait_event(box, "state-changed")
    n = last_event(box)
    box.write("/etc/motd", "drifted\n")
    event = wait_event(box, "state-changed", after=n)
    assert event["state"] == "file:/etc/motd" and box.read("/etc/motd") == "hello\n"
    assert daemon.get(box, f"/v1/runs/{event['run']}")["cause"] == "interval"


def test_a_run_of_some_states_takes_what_they_require(box):
    box.role("three", role(path="/srv/a") + role(path="/srv/b", extra="") + 'requires = ["file:/srv/a"]\n' +
             role(path="/srv/c"))
    start(box)
    wait_idle(box)
    box.run("rm /srv/a /srv/b /srv/c")
    run = apply(box, "file:/srv/b")
    assert {k: v["result"] for k, v in run.results.items()} == {"file:/srv/a": "changed", "file:/srv/b": "changed"}
    assert not box.exists("/srv/c")
    run = apply(box, "file:/srv/*")
    assert run.summary["changed"] == 1 and run.summary["ok"] == 2
    answer = box.api("POST", "/v1/runs", {"states": ["file:/srv/d"]})
    assert answer.status == 404 and "file:/srv/d" in answer.body["detail"]


def test_only_failed_repeats_what_failed_and_what_was_blocked(box):
    box.role("some", role(path="/srv/good") + role(path="/srv/no/file") + '[file."/srv/after"]\ncontent = "x"\n'
             'requires = ["file:/srv/no/file"]\n')
    start(box)
    wait_idle(box)
    assert states(box) == {"file:/srv/good": "changed", "file:/srv/no/file": "failed", "file:/srv/after": "blocked"}
    box.run("mkdir /srv/no")
    run = apply(box, only_failed=True)
    assert {k: v["result"] for k, v in run.results.items()} == {
        "file:/srv/no/file": "changed", "file:/srv/after": "changed"}
    run = apply(box, only_failed=True)
    assert run.results == {} and sum(run.summary.values()) == 0


def test_a_plan_tells_and_changes_nothing(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    box.write("/etc/motd", "drifted\n")
    run = plan(box, diff=True)
    assert run.summary["drifted"] == 1
    assert "-drifted" in run.results["file:/etc/motd"]["differences"][0]["diff"]
    assert box.read("/etc/motd") == "drifted\n"
    assert states(box) == {"file:/etc/motd": "changed"}


def test_two_applies_at_once_do_not_hold_one_state_at_the_same_time(box):
    box.role("slow", slow(do="wait-in-apply"))
    box.start()
    let_go(box)
    start(box, module_dir=True)
    wait_idle(box)
    box.run("rm -rf /run/trouble/slow /run/trouble/applied /run/go")
    # Two clients, in the background; both are told the end.
    path = "/v1/runs?follow=true"
    argv = ["curl", "-sS", "-N", "-X", "POST", "--unix-socket", daemon.SOCKET, f"http://localhost{path}"]
    with daemon.background(box, argv) as one, daemon.background(box, argv) as two:
        wait_status(box, lambda s: len(s["runs"]) == 2 and box.exists("/run/trouble/applied"))
        let_go(box)
        runs = [stream.wait(lambda line: "summary" in line) for stream in (one, two)]
    assert sorted(run["summary"]["changed"] for run in runs) == [0, 1]
    assert sorted(run["summary"]["ok"] for run in runs) == [0, 1]
    assert box.read("/run/trouble/applied") == "slow\n"


def test_a_hung_state_does_not_hold_up_the_run_of_another(box):
    box.role("hangs", role_of("trouble", {"hangs": {"do": "hang-in-check", "timeout": "10min"}}))
    box.role("motd", MOTD)
    start(box, module_dir=True)
    wait_status(box, lambda s: s["runs"] and s["runs"][0]["progress"]["done"] == 1)
    box.write("/etc/motd", "drifted\n")
    run = apply(box, "file:/etc/motd")
    assert run.summary["changed"] == 1
    assert status(box)["state"] == "running"


def test_a_run_can_be_stopped(box):
    box.role("slow", slow() + '[file."/srv/after"]\ncontent = "x"\nrequires = ["trouble:slow"]\n')
    start(box, module_dir=True)
    run = wait_status(box, is_under_way)["runs"][0]["run"]
    assert box.api("DELETE", f"/v1/runs/{run}").status == 202
    let_go(box)
    event = wait_event(box, "run-interrupted")
    assert event["run"] == run
    assert not box.exists("/srv/after")
    assert "stopped" in daemon.get(box, f"/v1/runs/{run}")["error"]


def test_max_changes_stops_a_run_before_its_first_change(box):
    box.role("many", "".join(role(path=f"/srv/{i}") for i in range(5)))
    daemon.settings(box, "max_changes = 3\n")
    start(box)
    event = wait_event(box, "run-refused")
    assert "it would change 5 states, and max_changes is 3" in event["message"]
    assert box.run("ls /srv").stdout == ""
    assert set(states(box).values()) <= {None}
    run = apply(box)
    assert run.error == "it would change 5 states, and max_changes is 3" and run.summary["drifted"] == 5
    # What it would have done can still be read.
    refused = daemon.get(box, f"/v1/runs/{run.run}/results")["items"]
    assert [result["result"] for result in refused] == ["drifted"] * 5
    ctl = box.agentctl("apply")
    assert ctl.returncode == 1 and "max_changes is 3" in ctl.stdout + ctl.stderr
    run = apply(box, "file:/srv/0", "file:/srv/1", "file:/srv/2")
    assert run.summary["changed"] == 3 and run.error is None
    run = apply(box)
    assert run.summary["changed"] == 2 and run.error is None


def test_what_max_changes_has_refused_is_done_when_it_is_raised(box):
    box.role("many", "".join(role(path=f"/srv/{i}") for i in range(5)))
    daemon.settings(box, "max_changes = 3\n")
    start(box)
    event = wait_event(box, "run-refused")
    daemon.settings(box, "max_changes = 5\n")
    wait_event(box, "run-finished", after=event["event"])
    assert len(box.run("ls /srv").stdout.split()) == 5


@pytest.mark.parametrize("where", ["host", "role"])
def test_audit_mode_only_looks(box, where):
    if where == "host":
        daemon.settings(box, 'mode = "audit"\n')
    box.role("motd", ('mode = "audit"\n' if where == "role" else "") + MOTD)
    start(box)
    event = wait_event(box, "state-drifted")
    assert event["state"] == "file:/etc/motd"
    assert not box.exists("/etc/motd") or box.read("/etc/motd") != "hello\n"
    assert status(box)["mode"] == ("audit" if where == "host" else "apply")
    assert apply(box).summary["drifted"] == 1
    # It is told once, not at every run.
    assert len(events(box, kind="state-drifted")) == 1
    if where == "host":
        n = last_event(box)
        daemon.settings(box, 'mode = "apply"\n')
        wait_event(box, "state-changed", after=n)
        assert status(box)["mode"] == "apply" and box.read("/etc/motd") == "hello\n"


# ---- Disable -----------------------------------------------------------------------------------------------------


def test_a_disabled_host_is_left_alone_until_it_is_enabled(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    box.agentctl("disable", "testing by hand")
    s = status(box)["disabled"]
    assert s["reason"] == "testing by hand" and s["until"] is None and s["by"] == "root"
    daemon.wait_prop(box, "StatusText", "Disabled: testing by hand")
    box.write("/etc/motd", "by hand\n")
    answer = box.api("POST", "/v1/runs")
    assert answer.status == 409 and "testing by hand" in answer.body["detail"]
    assert plan(box).summary["drifted"] == 1

    box.reboot()
    start(box)
    wait_idle(box)
    assert box.read("/etc/motd") == "by hand\n" and status(box)["disabled"]["reason"] == "testing by hand"
    done = box.run(["/usr/sbin/agentd", "--once", "--plan"], check=False)
    assert done.returncode == 0

    n = last_event(box)
    box.agentctl("enable")
    wait_event(box, "state-changed", after=n)
    assert box.read("/etc/motd") == "hello\n" and status(box)["disabled"] is None


def test_a_disabled_host_refuses_a_single_run_as_well(box):
    start(box)
    box.agentctl("disable", "holidays")
    daemon.stop(box)
    once = box.agentd_once()
    assert once.returncode == 1 and "holidays" in once.stderr and "agentctl enable" in once.stderr


def test_disabled_for_a_time_ends_by_itself(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    box.write("/etc/motd", "by hand\n")
    n = last_event(box)
    assert box.api("POST", "/v1/disable", {"reason": "a moment", "for": "1s"}).body["until"]
    wait_event(box, "enabled", after=n)
    wait_event(box, "state-changed", after=n)
    assert box.read("/etc/motd") == "hello\n"


# ---- Stop, crash, upgrade ----------------------------------------------------------------------------------------


def test_a_stop_lets_what_is_under_way_finish_and_begins_nothing_new(box):
    box.role("slow", slow(do="wait-in-apply") +
             '[file."/srv/after"]\ncontent = "x"\nrequires = ["trouble:slow"]\n')
    start(box, module_dir=True)
    daemon.wait_until(lambda: box.exists("/run/trouble/applied"), PATIENCE, "it is under way")
    box.run("systemctl stop --no-block agentd")
    wait_status(box, lambda s: s["state"] == "stopping")
    let_go(box)
    daemon.stop(box)
    assert daemon.prop(box, "Result") == "success"
    assert box.exists("/run/trouble/slow") and not box.exists("/srv/after")
    start(box, module_dir=True)
    interrupted = events(box, kind="run-interrupted")
    assert len(interrupted) == 1 and "stopped" in interrupted[0]["message"]
    wait_idle(box)
    assert box.exists("/srv/after")


def test_a_hung_state_does_not_keep_agentd_from_stopping(box):
    box.role("hangs", role_of("trouble", {"hangs": {"do": "hang-in-check", "timeout": "10min"}}))
    start(box, module_dir=True)
    wait_status(box, is_under_way)
    begin = time.monotonic()
    daemon.stop(box)
    assert time.monotonic() - begin > 19
    assert daemon.prop(box, "Result") == "success"
    assert box.run("pgrep -c agentd", check=False).stdout.strip() == "0"


def test_killed_in_the_middle_of_a_run_it_starts_again_and_finishes(box):
    box.role("slow", slow(do="wait-in-apply") + role(path="/srv/other"))
    start(box, module_dir=True)
    wait_event(box, "state-changed", state="file:/srv/other")
    daemon.wait_until(lambda: box.exists("/run/trouble/applied"), PATIENCE, "the other one is under way")
    daemon.kill(box)
    let_go(box)
    wait_status_again(box)
    event = wait_event(box, "run-interrupted")
    assert "killed" in daemon.get(box, f"/v1/runs/{event['run']}")["error"]
    wait_idle(box)
    assert states(box) == {"trouble:slow": "changed", "file:/srv/other": "ok"} or \
        set(states(box).values()) <= {"ok", "changed"}
    assert box.exists("/run/trouble/slow")


def wait_status_again(box):
    """Until the service that systemd has started again answers."""
    box.run("systemctl is-active --quiet agentd || systemctl start agentd")
    return status(box)


@pytest.mark.parametrize("at", ["load", "store"])
def test_killed_at_any_moment_it_comes_up_again(box, at):
    daemon.set_unit(box, RestartSec="0", StartLimitIntervalSec="0")
    box.role("many", "".join(role(path=f"/srv/{i}") for i in range(300)))
    start(box)
    for i in range(5):
        wait_status_again(box)
        if at == "load":
            box.role("more", role(path=f"/srv/more-{i}"))
            box.api("POST", "/v1/validate")
            pid = daemon.main_pid(box)
            box.run(["sh", "-c", f"curl -s -X POST --unix-socket {daemon.SOCKET} http://localhost/v1/reload & "
                                 f"sleep 0.0{i}; kill -KILL {pid}; wait"], check=False)
        else:
            box.run("rm -rf /srv/*")
            pid = daemon.main_pid(box)
            box.run(["sh", "-c", f"curl -s -X POST --unix-socket {daemon.SOCKET} http://localhost/v1/runs & "
                                 f"sleep 0.0{i}; kill -KILL {pid}; wait"], check=False)
        box.run(f"while [ -d /proc/{pid} ]; do sleep 0.01; done")
    s = wait_status_again(box)
    assert s["store"]["error"] is None and s["roles"]["errors"] == []
    apply(box)
    assert len(box.run("ls /srv").stdout.split()) >= 300
    assert daemon.states(box).keys() >= {f"file:/srv/{i}" for i in range(300)}
    assert box.run("find /srv -name '.agentd-*'").stdout == ""
    assert events(box, kind="store-reset") == []


def test_after_an_upgrade_it_becomes_the_new_program_without_losing_a_client(box):
    box.role("motd", MOTD)
    start(box)
    wait_idle(box)
    pid = daemon.main_pid(box)
    before = status(box)["started"]
    box.run("cp /usr/sbin/agentd /usr/sbin/agentd.new && mv /usr/sbin/agentd.new /usr/sbin/agentd")
    # The socket is there all the time: every request is answered by one or the other.
    wait_status(box, lambda s: s["started"] != before)
    # While the roles are loaded it is "reloading".
    daemon.wait_until(lambda: daemon.prop(box, "ActiveState") == "active", PATIENCE, "it is ready")
    assert daemon.main_pid(box) == pid
    assert daemon.prop(box, "NRestarts") == "0"
    wait_idle(box)
    box.write("/etc/motd", "drifted\n")
    assert apply(box).summary["changed"] == 1
    # It goes on watching, and being watched over.
    n = last_event(box)
    box.role("other", role(path="/srv/other"))
    wait_event(box, "state-changed", after=n, state="file:/srv/other")
    descriptors = box.run(f"ls -l /proc/{pid}/fd").stdout
    assert descriptors.count("agentd.sock") <= 1 and descriptors.count("/run/agentd/lock") == 1


def test_an_upgrade_waits_for_the_run_that_goes_on(box):
    box.role("slow", slow(do="wait-in-apply"))
    start(box, module_dir=True)
    wait_status(box, is_under_way)
    before = status(box)["started"]
    n = last_event(box)
    box.run("cp /usr/sbin/agentd /usr/sbin/agentd.new && mv /usr/sbin/agentd.new /usr/sbin/agentd")
    # A change of roles, so that there was a load after the program was replaced.
    box.role("other", role(path="/srv/other"))
    wait_event(box, "state-changed", after=n, state="file:/srv/other")
    assert status(box)["started"] == before
    let_go(box)
    wait_event(box, "run-finished", where=lambda e: e["data"]["cause"] == "boot")
    wait_status(box, lambda s: s["started"] != before)
    assert events(box, kind="run-interrupted") == []


def test_the_log_level_can_be_set_while_it_runs(box):
    start(box)
    box.run(f"systemctl kill --kill-whom=main --signal=RTMIN+22 agentd")
    box.wait_journal("_SYSTEMD_UNIT=agentd.service", where=lambda e: "'debug'" in e["MESSAGE"])
    assert daemon.get(box, "/v1/log-level") == {"level": "debug"}
    assert box.api("PUT", "/v1/log-level", {"level": "warning"}).body == {"level": "warning"}
    box.run(f"systemctl kill --kill-whom=main --signal=RTMIN+23 agentd")
    wait = lambda: daemon.get(box, "/v1/log-level") == {"level": "info"}
    daemon.wait_until(wait, PATIENCE, "the log level is back")
