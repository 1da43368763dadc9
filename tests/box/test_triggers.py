# SPDX-License-Identifier: LGPL-2.1-or-later
"""Triggers, whose firing makes states be looked at."""

import pytest

import daemon
from box import wait_until
from daemon import events, items, last_event, start, wait_event, wait_idle

# What nobody tells agentd of: only the trigger makes it look.
STATE = '[file."/srv/file"]\ncontent = "hello\\n"\nwatch = false\ntriggers = ["trigger:it"]\n'
PATH = '[trigger.it]\npath = "/srv/tree"\n'


@pytest.fixture
def host(box):
    daemon.settings(box, 'interval = "infinity"\n')
    return box


def begin(box, role):
    box.role("role", role)
    start(box, module_dir=True)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)


def trigger(box, name="it"):
    return next(t for t in items(box, "/v1/triggers") if t["trigger"] == name)


def repaired_by(box, deed, drift="rm /srv/file"):
    """The state drifts, which nobody sees, then the deed fires the trigger."""
    n = last_event(box)
    box.run(drift)
    # A path that has changed twice fires once more a second later: that may be what repairs it.
    fired = trigger(box)["n_fired"]
    box.run(deed)
    wait_until(lambda: trigger(box)["n_fired"] > fired, 30, f"{deed} fires it")
    event = wait_event(box, "state-changed", after=n, state="file:/srv/file", timeout=30)
    assert daemon.get(box, f"/v1/runs/{event['run']}")["cause"] == "trigger"
    wait_idle(box)


def test_a_path_fires_when_it_comes_changes_and_goes(host):
    begin(host, PATH + STATE)
    for deed in "echo 1 >/srv/tree", "echo 2 >/srv/tree", "rm /srv/tree", "mkdir /srv/tree", "touch /srv/tree/entry":
        repaired_by(host, deed)
    found = trigger(host)
    assert found["n_fired"] >= 5 and found["fired"] and found["states"] == ["file:/srv/file"]
    assert (found["type"], found["path"], found["every_usec"]) == ("path", "/srv/tree", None)


def test_another_trigger_alone_is_news(host):
    begin(host, PATH + STATE)
    n = last_event(host)
    host.role("role", PATH.replace("tree", "other") + STATE)
    wait_event(host, "roles-loaded", after=n, timeout=30)
    wait_idle(host)
    repaired_by(host, "touch /srv/other")


def test_a_tree_fires_and_what_is_excluded_does_not(host):
    host.run("mkdir -p /srv/tree/a/b /srv/tree/cache")
    begin(host, PATH + 'recursive = true\nexclude = ["cache"]\n' + STATE +
          '[trigger.other]\npath = "/srv/tree/cache"\n[file."/srv/other"]\ncontent = "x"\nwatch = false\n'
          'triggers = ["trigger:other"]\n')
    repaired_by(host, "touch /srv/tree/a/b/deep")
    repaired_by(host, "mkdir -p /srv/tree/new/dir && touch /srv/tree/new/dir/file")
    # Seen by the other one, and so after what this one would have seen; but what was made above may still fire it once more.
    fired = []
    for i in range(4):
        fired.append(trigger(host)["n_fired"])
        host.run(f"rm /srv/other; touch /srv/tree/cache/{i}")
        wait_until(lambda: host.exists("/srv/other"), 30, "the other one fires")
        if trigger(host)["n_fired"] == fired[-1]:
            return
    pytest.fail(f"it fires each time: {fired}")


def test_every_fires_again_and_again(host):
    begin(host, '[trigger.it]\nevery = "1s"\n' + STATE)
    for _ in range(2):
        host.run("rm /srv/file")
        wait_until(lambda: host.exists("/srv/file"), 30, "it is repaired")
    assert trigger(host)["n_fired"] >= 2 and trigger(host)["every_usec"] == 1000000


def test_by_hand(host):
    begin(host, PATH + STATE + '[file."/srv/after"]\ncontent = "x"\nwatch = false\nrequires = ["file:/srv/file"]\n'
          '[trigger.idle]\nevery = "1h"\n')
    assert trigger(host)["fired"] is None
    repaired_by(host, ["agentctl", "trigger", "fire", "it"], drift="rm /srv/file /srv/after")
    assert host.exists("/srv/after")
    assert "Fired; 1 state is looked at" in host.agentctl("trigger", "fire", "it").stdout
    assert "Fired; 0 states are looked at" in host.agentctl("trigger", "fire", "idle").stdout
    listed = host.agentctl("triggers").stdout
    assert "file:/srv/file" in listed and "/srv/tree" in listed and "1h" in listed and "never" not in listed
    assert [t["trigger"] for t in host.agentctl("triggers", json=True).objects] == ["it", "idle"]
    done = host.agentctl("trigger", "fire", "ti")
    assert done.returncode != 0 and "there is no trigger 'ti'; did you mean 'it'?" in done.stderr
    done = host.agentctl("trigger", "show", "it")
    assert done.returncode == 2 and "'fire', and not 'show'" in done.stderr


def test_a_host_that_is_disabled_fires_nothing(host):
    begin(host, PATH + STATE)
    host.agentctl("disable", "testing")
    host.run("rm /srv/file; touch /srv/tree")
    done = host.agentctl("trigger", "fire", "it")
    assert done.returncode != 0 and "the host is disabled by root: testing" in done.stderr
    assert not host.exists("/srv/file") and trigger(host)["n_fired"] == 0
    host.agentctl("enable")
    wait_until(lambda: host.exists("/srv/file"), 30, "the run that follows repairs it")
    wait_idle(host)
    repaired_by(host, "echo x >/srv/tree")


def test_events_do_not_flood(host):
    begin(host, PATH + STATE)
    n, after = last_event(host), host.cursor()
    for _ in range(5):
        host.agentctl("trigger", "fire", "it")
    entry = host.wait_journal("AGENTD_TRIGGER=it", after=after)
    assert entry["MESSAGE"] == "Trigger it fired"
    wait_idle(host)
    found = events(host, after=n, kind="trigger-fired")
    assert len(found) == 1 and found[0]["data"] == {"trigger": "it", "fired": 1, "states": 1}
    assert trigger(host)["n_fired"] == 5


def test_firing_while_the_state_is_looked_at_is_not_lost(host):
    """It is held by its apply; what has changed since its check is seen afterwards."""
    host.run("touch /srv/bad")
    begin(host, PATH + '[listener.app]\nabsent = "/srv/bad"\nwatch = false\ntriggers = ["trigger:it"]\n')
    host.write("/run/listener.wait", "")
    host.run("touch /srv/bad /srv/tree")
    wait_until(lambda: host.exists("/run/listener.waits"), 30, "its apply has begun")
    assert host.agentctl("trigger", "fire", "it").returncode == 0
    after = host.cursor()
    host.run("rm /run/listener.wait")
    # The check after the apply, and then one more, of another run.
    wait_until(lambda: host.run(["journalctl", "-q", "--no-pager", "-o", "cat", f"--after-cursor={after}"]).stdout.count(
        "checked app: nothing") >= 2, 30, "it is looked at again")


def test_reloads_keep_what_is_known(host):
    begin(host, PATH + STATE)
    host.agentctl("trigger", "fire", "it")
    fired = trigger(host)["fired"]
    n = last_event(host)
    host.role("role", '[trigger.a]\nevery = "1h"\n' + PATH + STATE + '[file."/srv/new"]\ncontent = "x"\n')
    wait_event(host, "roles-loaded", after=n, timeout=30)
    wait_idle(host)
    assert trigger(host)["fired"] == fired and trigger(host)["n_fired"] == 1
    repaired_by(host, "echo x >/srv/tree")


def test_names_are_those_of_all_roles(box):
    """Declared in one role, used in another; twice is an error that names both places; of a role that is off there are none."""
    box.role("a", PATH)
    box.role("b", STATE)
    assert box.agentd_once("--plan").returncode == 0
    box.role("c", "\n" + PATH)
    done = box.agentd_once()
    assert done.returncode == 2
    assert "/etc/agentd/conf.d/c.toml:2:10: error: trigger 'it' is declared twice; first at " \
           "/etc/agentd/conf.d/a.toml:1:10" in done.stderr
    box.role("c", 'when = "false"\n[trigger.off]\nevery = "5s"\n')
    box.role("d", '[file."/srv/d"]\ncontent = "x"\ntriggers = ["trigger:off"]\n')
    assert box.agentd_once().returncode == 0
