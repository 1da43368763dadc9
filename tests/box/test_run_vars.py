# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs with variables of their own: over roles that were never in force."""

import daemon
import pytest
from daemon import last_event, start, state, states, status, wait_event, wait_idle, wait_status
from hostile import states as role_of

SITE = """[vars]
port = "80"
name = "one"

[file."/srv/port"]
content = "{{vars.port}}\\n"

[file."/srv/same"]
content = "always\\n"

[file."/srv/{{vars.name}}"]
content = "named\\n"
"""


def site(box, text=SITE, **options):
    box.role("site", text)
    start(box, **options)
    wait_idle(box)


def settled(box):
    """Nothing is on its way: whatever was to be healed has been, and this change came after it."""
    n = last_event(box)
    box.write("/srv/same", "drifted\n")
    wait_event(box, "state-changed", after=n, state="file:/srv/same", timeout=30)
    wait_idle(box)


def with_vars(box, *variables, verb="apply", **options):
    return daemon.run_states(box, verb, (), 30, vars=list(variables), **options)


def test_a_plan_with_a_variable_changes_nothing(box):
    site(box)
    done = box.agentctl("plan", "--var", "port=81", "--var", "name=two", "-v", "--diff")
    assert done.returncode == 0 and "+81" in done.stdout and "file:/srv/two" in done.stdout
    assert box.read("/srv/port") == "80\n" and not box.exists("/srv/two")
    run = with_vars(box, "port=81", verb="plan")
    assert {name: result["result"] for name, result in run.results.items()} == {
        "file:/srv/port": "drifted", "file:/srv/same": "ok", "file:/srv/one": "ok"}
    assert run.returned["vars"] == ["port"] and run.returned["cause"] == "request"
    # What is in force is what it was.
    assert states(box).keys() == {"file:/srv/port", "file:/srv/same", "file:/srv/one"}
    assert daemon.get(box, f"/v1/runs/{run.run}")["vars"] == ["port"]


def test_an_apply_with_a_variable_holds_until_the_next_full_run(box):
    site(box)
    run = with_vars(box, "port=81", "name=two")
    assert run.summary["changed"] == 2 and run.error is None
    settled(box)
    assert box.read("/srv/port") == "81\n" and box.read("/srv/two") == "named\n"
    # It is healed no more, whoever changes it. What is declared in the same way is.
    box.write("/srv/port", "by hand\n")
    settled(box)
    assert box.read("/srv/port") == "by hand\n"
    assert state(box, "file:/srv/port")["result"] is None
    assert state(box, "file:/srv/same")["result"] in ("changed", "ok")

    assert daemon.apply(box).summary["changed"] == 1
    assert box.read("/srv/port") == "80\n"
    n = last_event(box)
    box.write("/srv/port", "drifted\n")
    wait_event(box, "state-changed", after=n, state="file:/srv/port", timeout=30)
    assert box.read("/srv/port") == "80\n"


def test_a_load_puts_it_back(box):
    site(box)
    with_vars(box, "port=81")
    settled(box)
    assert box.read("/srv/port") == "81\n"
    outcome = daemon.reload(box)
    assert not outcome["changed"] and outcome["n_run_states"] == 1
    wait_status(box, lambda s: box.read("/srv/port") == "80\n", timeout=30)


def test_only_some_states_are_applied_and_only_they_are_let_alone(box):
    site(box, SITE + '[file."/srv/other"]\ncontent = "{{vars.port}}\\n"\n')
    run = daemon.apply(box, "file:/srv/port", vars=["port=81"])
    assert set(run.results) == {"file:/srv/port"}
    n = last_event(box)
    box.write("/srv/other", "drifted\n")
    wait_event(box, "state-changed", after=n, state="file:/srv/other", timeout=30)
    assert box.read("/srv/other") == "80\n" and box.read("/srv/port") == "81\n"
    answer = box.api("POST", "/v1/runs", {"states": ["file:/srv/one"], "vars": ["name=two"]})
    assert answer.status == 404 and "there is no state 'file:/srv/one'" in answer.body["detail"]


def test_a_directory_that_is_purged_keeps_what_a_variable_adds(box):
    site(box, SITE.replace("/srv/{{vars.name}}", "/srv/tree/{{vars.name}}") +
         '[file."/srv/tree"]\nensure = "directory"\npurge = true\n')
    run = daemon.apply(box, "file:/srv/tree/two", vars=["name=two"])
    assert run.summary["changed"] >= 1
    settled(box)
    assert box.read("/srv/tree/two") == "named\n"
    daemon.apply(box)
    assert not box.exists("/srv/tree/two") and box.read("/srv/tree/one") == "named\n"


def test_variables_that_are_wrong_are_shown_with_their_place(box):
    site(box)
    box.role("mode", '[vars]\nmode = "0644"\n[file."/srv/mode"]\ncontent = ""\nmode = "{{vars.mode}}"\n')
    done = box.agentctl("apply", "--var", "mode=wide")
    assert done.returncode == 2 and "mode.toml:5:8: error: " in done.stderr, done
    answer = box.api("POST", "/v1/runs", {"vars": ["mode=wide"]})
    assert answer.status == 422 and answer.body["diagnostics"][0]["line"] == 5
    assert "with these variables the roles have 1 error" in answer.body["detail"]
    assert status(box)["roles"]["errors"] == []
    done = box.agentctl("plan", "--var", "mode")
    assert done.returncode == 2 and "--var 'mode' is not NAME=VALUE" in done.stderr


def test_a_variable_that_nobody_reads_is_said_to_who_asked(box):
    site(box)
    text = "--var prot: no role reads it; did you mean 'port'?"
    for verb in ("plan", "apply"):
        done = box.agentctl(verb, "--var", "prot=81")
        assert done.returncode == 0 and done.stderr == f"warning: {text}\n", done
    assert box.agentctl("plan", "--var", "port=81").stderr == ""
    answer = box.api("POST", "/v1/runs", {"mode": "plan", "vars": ["prot=81"]})
    assert answer.status == 202 and answer.body["warnings"] == [text]
    assert box.api("POST", "/v1/runs", {"mode": "plan"}).body["warnings"] == []


def test_names_are_shown_and_values_never(box):
    site(box, SITE.replace('port = "80"', 'port = "80"\npassword = "none"') +
         '[file."/srv/secret"]\ncontent = "{{vars.password}}"\nsensitive = true\n')
    done = box.agentctl("apply", "--diff", "--var", "password=hunter2")
    assert done.returncode == 0 and box.read("/srv/secret") == "hunter2"
    listed = box.agentctl("runs").stdout
    assert "request with password" in listed
    daemon.restart(box)
    wait_idle(box)
    assert "request with password" in box.agentctl("runs").stdout
    everything = str(daemon.items(box, "/v1/runs")) + str(daemon.items(box, "/v1/events")) + done.stdout + listed
    assert "hunter2" not in everything
    assert not any("hunter2" in entry.get("MESSAGE", "") for entry in box.journal("-u", "agentd"))


# It waits as long as there is /srv/wait.
SLOW = SITE + role_of("trouble", {"slow": {"do": "stay", "path": "/srv/wait", "timeout": "2min"}}) + \
    '[file."/srv/after"]\ncontent = "{{vars.port}}\\n"\nrequires = ["trouble:slow"]\n'


@pytest.mark.parametrize("verb", ["apply", "plan"])
def test_other_roles_in_the_middle_stop_an_apply_and_let_a_plan_go_on(box, verb):
    site(box, SLOW, module_dir=True)
    box.write("/srv/wait", "")
    answer = box.api("POST", "/v1/runs", {"mode": verb, "vars": ["port=81"]})
    run = answer.body["run"]
    wait_status(box, lambda s: any(r["run"] == run and r["progress"]["running"] for r in s["runs"]), timeout=30)
    box.role("more", '[file."/srv/more"]\ncontent = "x"\n')
    daemon.reload(box)
    box.run("rm /srv/wait")
    wait_status(box, lambda s: not any(r["run"] == run for r in s["runs"]), timeout=30)
    error = daemon.get(box, f"/v1/runs/{run}")["error"]
    if verb == "apply":
        assert error == "other roles are in force now than those it was asked for"
        assert box.read("/srv/after") == "80\n"
    else:
        assert error is None
    wait_status(box, lambda s: s["state"] == "idle" and box.exists("/srv/more"), timeout=30)


def test_such_a_run_can_be_stopped_and_their_number_is_limited(box):
    site(box, SLOW, module_dir=True)
    box.write("/srv/wait", "")
    runs = [box.api("POST", "/v1/runs", {"vars": [f"port={i}"]}) for i in range(5)]
    assert [answer.status for answer in runs] == [202, 202, 202, 202, 429]
    assert "4 runs with variables of their own" in runs[4].body["detail"]
    for answer in runs[:4]:
        assert box.api("DELETE", f"/v1/runs/{answer.body['run']}").status in (200, 202)
    box.run("rm /srv/wait")
    wait_idle(box, timeout=40)
    assert box.read("/srv/after") == "80\n"
    assert box.api("POST", "/v1/runs", {"mode": "plan", "vars": ["port=9"]}).status == 202
