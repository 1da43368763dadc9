# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a load of roles leads to: a run over what has changed, and nothing else."""

import daemon
import pytest
from daemon import events, last_event, start, state, status, wait_event, wait_idle, wait_status
from hostile import states as role_of


def a_file(path, content="hello", **settings):
    # Not watched, so that nothing but a run looks at it.
    extra = "".join(f"{key} = {value}\n" for key, value in ({"watch": "false"} | settings).items())
    return f'[file."{path}"]\ncontent = "{content}\\n"\n{extra}'


def three(box):
    """Three roles; the last one requires something of the first."""
    box.run("mkdir -p /srv/a /srv/b /srv/c")
    box.role("a", a_file("/srv/a/1") + a_file("/srv/a/2"))
    box.role("b", a_file("/srv/b/1") + a_file("/srv/b/2"))
    box.role("c", a_file("/srv/c/1", requires='["file:/srv/a/1"]') + a_file("/srv/c/2"))


def checked(box):
    """When each state was looked at."""
    return {s["state"]: state(box, s["state"])["checked"] for s in daemon.items(box, "/v1/states?limit=1000")}


def looked_at(box, before):
    return {name for name, time in checked(box).items() if before.get(name) != time}


def settled(box):
    """All is as declared, and agentd has nothing more to do."""
    wait_idle(box)
    return checked(box)


def finished(box, run):
    """A run with that number, when it is over."""
    wait_status(box, lambda s: not any(r["run"] == run for r in s["runs"]), timeout=30)
    wait_idle(box)
    return daemon.get(box, f"/v1/runs/{run}")


def total(run):
    return sum(run["summary"].values())


def test_a_role_that_changed_is_looked_at_with_what_requires_it_and_nothing_else(box):
    three(box)
    start(box)
    before = settled(box)
    n = last_event(box)
    box.role("a", a_file("/srv/a/1", "other") + a_file("/srv/a/2"))
    wait_event(box, "state-changed", after=n, state="file:/srv/a/1", timeout=30)
    wait_idle(box)
    assert looked_at(box, before) == {"file:/srv/a/1", "file:/srv/c/1"}
    runs = [r for r in daemon.items(box, "/v1/runs") if r["cause"] == "roles"]
    assert [total(run) for run in runs] == [2]
    assert runs[0]["summary"]["changed"] == 1 and runs[0]["summary"]["ok"] == 1


def test_a_role_that_is_new_is_looked_at_alone_and_one_that_goes_leads_to_nothing(box):
    three(box)
    start(box)
    before = settled(box)
    n = last_event(box)
    box.role("d", a_file("/srv/d"))
    wait_event(box, "state-changed", after=n, state="file:/srv/d", timeout=30)
    wait_idle(box)
    assert looked_at(box, before) == {"file:/srv/d"}
    before, n = settled(box), last_event(box)
    box.run("rm /etc/agentd/conf.d/b.toml")
    wait_event(box, "roles-loaded", after=n, timeout=30)
    wait_idle(box)
    assert looked_at(box, before) == set()


def test_reload_says_how_much_is_looked_at(box):
    three(box)
    start(box)
    before = settled(box)
    outcome = daemon.reload(box)
    assert (outcome["changed"], outcome["run"], outcome["n_run_states"]) == (False, None, 0)
    assert box.agentctl("reload").stdout == "6 states in 3 roles, nothing is different\n"
    assert looked_at(box, before) == set()
    # It is not loaded by itself: the directory is another one, which is not watched.
    box.role("b", a_file("/srv/b/1", "other") + a_file("/srv/b/2", "other"))
    outcome = daemon.reload(box)
    # Unless the change was faster by itself.
    if outcome["changed"]:
        assert outcome["n_run_states"] == 2
        assert total(finished(box, outcome["run"])) == 2
    wait_idle(box)
    assert looked_at(box, before) == {"file:/srv/b/1", "file:/srv/b/2"}


def test_a_reload_tries_again_what_failed_with_what_it_blocks(box):
    box.role("a", a_file("/srv/no/1") + a_file("/srv/after", requires='["file:/srv/no/1"]') + a_file("/srv/fine"))
    start(box)
    before = settled(box)
    box.run("mkdir /srv/no")
    outcome = daemon.reload(box)
    assert not outcome["changed"] and outcome["n_run_states"] == 2
    run = finished(box, outcome["run"])
    assert run["cause"] == "reload" and run["summary"]["changed"] == 2 and total(run) == 2
    assert looked_at(box, before) == {"file:/srv/no/1", "file:/srv/after"}


@pytest.mark.parametrize("what", ["when", "audit", "watch"])
def test_what_is_said_about_a_state_counts(box, what):
    settings = {"when": ("\"exists('/srv/a')\"", "\"not exists('/nowhere')\""), "audit": ("false", "true"),
                "watch": ("false", "true")}[what]
    box.run("mkdir /srv/a")
    box.role("a", a_file("/srv/1", **{what: settings[0]}) + a_file("/srv/2"))
    start(box)
    before, n = settled(box), last_event(box)
    box.role("a", a_file("/srv/1", **{what: settings[1]}) + a_file("/srv/2"))
    wait_event(box, "roles-loaded", after=n, timeout=30)
    wait_status(box, lambda s: looked_at(box, before), timeout=30)
    wait_idle(box)
    assert looked_at(box, before) == {"file:/srv/1"}


def test_a_condition_that_is_no_longer_true_leaves_the_state_alone(box):
    box.role("a", a_file("/srv/1", when="\"not exists('/srv/stop')\""))
    start(box)
    settled(box)
    n = last_event(box)
    box.role("a", a_file("/srv/1", "other", when="\"exists('/srv/stop')\""))
    wait_event(box, "roles-loaded", after=n, timeout=30)
    wait_status(box, lambda s: state(box, "file:/srv/1")["result"] == "skipped", timeout=30)
    assert box.read("/srv/1") == "hello\n"


def test_a_directory_that_is_purged_is_looked_at_when_a_path_comes_or_goes(box):
    box.role("tree", '[file."/srv/tree"]\nensure = "directory"\npurge = true\nwatch = false\n')
    box.role("a", a_file("/srv/tree/a"))
    box.role("other", a_file("/srv/other"))
    start(box)
    before, n = settled(box), last_event(box)
    assert box.read("/srv/tree/a") == "hello\n"
    box.run("rm /etc/agentd/conf.d/a.toml")
    wait_event(box, "state-changed", after=n, state="file:/srv/tree", timeout=30)
    wait_idle(box)
    assert not box.exists("/srv/tree/a")
    assert "file:/srv/other" not in looked_at(box, before)


def test_edits_of_one_file_are_looked_at_together(box):
    box.write("/etc/some.conf", "")
    box.role("a", '[edit.one]\npath = "/etc/some.conf"\nset = { x = "1" }\nwatch = false\n')
    box.role("other", a_file("/srv/other"))
    start(box)
    before, n = settled(box), last_event(box)
    box.role("b", '[edit.two]\npath = "/etc/some.conf"\nset = { y = "2" }\nwatch = false\n')
    wait_event(box, "state-changed", after=n, state="edit:two", timeout=30)
    wait_idle(box)
    assert looked_at(box, before) == {"edit:one", "edit:two"}


def test_what_a_run_was_still_at_is_part_of_the_next_one(box):
    slow = role_of("trouble", {"slow": {"do": "stay", "path": "/srv/wait", "timeout": "2min"}})
    box.write("/srv/wait", "")
    box.role("slow", slow + a_file("/srv/after", requires='["trouble:slow"]') +
             a_file("/srv/later", requires='["file:/srv/after"]'))
    start(box, module_dir=True)
    wait_status(box, lambda s: s["runs"] and s["runs"][0]["progress"]["running"], timeout=30)
    n = last_event(box)
    # It is yet to come, and declared otherwise now: the run at boot is given up.
    box.role("slow", slow + a_file("/srv/after", "other", requires='["trouble:slow"]') +
             a_file("/srv/later", requires='["file:/srv/after"]'))
    wait_event(box, "roles-loaded", after=n, timeout=30)
    box.run("rm /srv/wait")
    interrupted = wait_event(box, "run-interrupted", after=n, timeout=30)
    assert "other roles are in force now" in interrupted["message"]
    wait_event(box, "state-changed", after=n, state="file:/srv/later", timeout=30)
    assert box.read("/srv/after") == "other\n"


def test_a_start_and_the_interval_look_at_everything(box):
    three(box)
    daemon.settings(box, 'interval = "1s"\njitter = "0s"\n')
    start(box)
    run = wait_event(box, "run-finished")["run"]
    assert total(daemon.get(box, f"/v1/runs/{run}")) == 6
    before = settled(box)
    wait_status(box, lambda s: looked_at(box, before) == set(before), timeout=30)
    assert events(box, kind="state-failed") == []
    assert status(box)["last_run"]["cause"] in ("interval", "boot")


# ---- A run that is asked for right after -------------------------------------------------------------------------


def test_a_plan_right_after_a_role_was_dropped_is_over_that_role(box):
    start(box)
    wait_idle(box)
    # Nobody but the plan looks at it.
    box.agentctl("disable", "testing")
    for i in range(10):
        box.role(f"r{i}", a_file(f"/srv/{i}"))
        done = box.agentctl("plan", f"file:/srv/{i}", json=True)
        assert done.returncode == 0, done
        assert [(o["state"], o["result"]) for o in done.objects if "state" in o] == [(f"file:/srv/{i}", "drifted")]
    box.run("rm /etc/agentd/conf.d/r3.toml")
    done = box.agentctl("plan", "file:/srv/3")
    assert done.returncode == 2 and "there is no state 'file:/srv/3'" in done.stderr


def test_an_apply_right_after_a_role_was_changed_applies_that(box):
    box.role("a", a_file("/srv/a"))
    start(box)
    wait_idle(box)
    for i in range(10):
        box.role("a", a_file("/srv/a", f"version {i}"))
        assert box.agentctl("apply").returncode == 0
        assert box.read("/srv/a") == f"version {i}\n"


def test_a_plan_right_after_a_bad_role_was_dropped_is_over_the_old_ones_and_shows_the_errors(box):
    box.role("a", a_file("/srv/a"))
    start(box)
    wait_idle(box)
    box.role("bad", '[file."/srv/bad"]\ncontnet = "x"\n')
    done = box.agentctl("plan", "-v")
    assert done.returncode == 2 and "file:/srv/a" in done.stdout
    assert "/etc/agentd/conf.d/bad.toml:2:1: error: " in done.stderr and "still in force" in done.stderr


def test_a_run_waits_for_a_load_that_takes_long(box):
    start(box, module_dir=True)
    wait_idle(box)
    box.agentctl("disable", "testing")
    # A fact that takes its time holds up the load.
    box.write("/etc/agentd/facts.d/slow", "#!/bin/sh\nsleep 2\necho '{\"name\": \"slow\"}'\n", mode=0o755)
    box.role("slow", a_file("/srv/slow", "{{facts.local.slow.name}}"))
    run = daemon.plan(box, "file:/srv/slow", timeout=50)
    assert run.results["file:/srv/slow"]["result"] == "drifted"
