# SPDX-License-Identifier: LGPL-2.1-or-later
"""States that listen to others: check_on, reload_on, restart_on."""

import pytest

import daemon
from box import wait_until
from daemon import apply, events, last_event, plan, start, state, states, wait_event, wait_idle
from hostile import once, states as role_of

CONF = '[file."/etc/app.conf"]\ncontent = "{}\\n"\n'
APP = role_of("listener", {"app": {"restart_on": ["file:/etc/app.conf"]}})


def told(box):
    """What states of `listener` were told to do."""
    return box.read("/run/listener").splitlines() if box.exists("/run/listener") else []


def role(box, text, content="one"):
    box.role("app", CONF.format(content) + text)


@pytest.fixture
def host(box):
    """At rest; nothing runs by itself for hours."""
    role(box, APP)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box, module_dir=True)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    assert told(box) == ["app restart"] and state(box, "listener:app")["owed"] == []
    return box


def change(box, text=APP, content="two"):
    """Another content, by a new role; waits for the run."""
    n = last_event(box)
    role(box, text, content)
    wait_event(box, "run-finished", after=n, timeout=30)
    wait_idle(box)


# ---- A single run ------------------------------------------------------------------------------------------------


def test_who_listens_is_told_in_the_same_run_and_not_in_the_next(box):
    text = CONF.format("one") + role_of("listener", {
        "restarts": {"restart_on": ["file:/etc/app.conf"]},
        "reloads": {"reload_on": ["file:/etc/app.conf"]},
        "looks": {"check_on": ["file:/etc/app.conf"]},
        "both": {"restart_on": ["file:/etc/app.conf"], "reload_on": ["file:/etc/*"]},
        "deaf": {"requires": ["file:/etc/app.conf"]},
    })
    done = once(box, text)
    results = {r["name"]: r for r in done.results}
    assert {name: r["result"] for name, r in results.items()} == {
        "/etc/app.conf": "changed", "restarts": "changed", "reloads": "changed", "looks": "ok", "both": "changed",
        "deaf": "ok"}
    due = {"is": None, "should": "due"}
    assert results["restarts"]["differences"] == [{"attribute": "restart"} | due]
    assert results["both"]["differences"] == [{"attribute": "restart"} | due]
    assert results["reloads"]["differences"] == [{"attribute": "reload"} | due]
    # Which of them comes first, nobody says.
    assert sorted(told(box)) == ["both restart", "reloads reload", "restarts restart"]
    assert once(box, text).summary["ok"] == 6
    assert len(told(box)) == 3


def test_a_plan_says_who_would_be_told_and_tells_nobody(box):
    text = CONF.format("one") + APP + role_of("listener", {"next": {"reload_on": ["listener:app"]}})
    done = once(box, text, "--plan")
    assert [(r["name"], r["result"], [d["attribute"] for d in r["differences"]]) for r in done.results] == [
        ("/etc/app.conf", "drifted", ["ensure", "content"]), ("app", "drifted", ["restart"]), ("next", "drifted", ["reload"])]
    assert told(box) == []
    # What is only audited does not change anything.
    done = once(box, CONF.format("one") + "audit = true\n" + APP, "--plan")
    assert {r["name"]: r["result"] for r in done.results} == {"/etc/app.conf": "drifted", "app": "ok"}


@pytest.mark.parametrize("text, error", [
    ('[file."/srv/a"]\nrestart_on = ["file:/etc/app.conf"]\n',
     "'restart_on' is for types that can be restarted, and file cannot; 'check_on' looks at a state again"),
    ('[listener.a]\nsubscribe = []\n', "unknown key 'subscribe' in listener state; did you mean 'restart_on'?"),
    ('[file."/srv/a"]\nsubscribe = []\n', "unknown key 'subscribe' in file state; did you mean 'check_on'?"),
    ('[exec.a]\nrefreshonly = true\n', "unknown key 'refreshonly' in exec state; did you mean 'check_on'?"),
    ('[file."/srv/a"]\nnotify = ["listener:a"]\n',
     "unknown key 'notify' in file state; who is told says so: write 'restart_on', 'reload_on' or 'check_on' with this "
     "state there"),
    ('[listener.a]\nrestart_on = ["listener:a"]\n', "listener:a refers to itself"),
])
def test_what_cannot_be(box, text, error):
    done = once(box, CONF.format("one") + text)
    assert done.returncode == 2 and error in done.stderr


# ---- exec --------------------------------------------------------------------------------------------------------

ALIASES = """[exec.newaliases]
shell = "echo ran >>/srv/ran"
check_on = ["file:/etc/app.conf"]
"""


def test_an_exec_without_a_guard_runs_when_what_it_listens_to_has_changed(box):
    assert [r["result"] for r in once(box, CONF.format("one") + ALIASES, "--plan").results] == ["drifted", "drifted"]
    for content, ran in ("one", 1), ("one", 1), ("two", 2):
        done = once(box, CONF.format(content) + ALIASES)
        assert done.returncode == 0, done.stderr
        assert box.read("/srv/ran") == "ran\n" * ran


def test_with_a_guard_both_have_to_say_so(box):
    guarded = ALIASES + 'only_if = "test -e /srv/wanted"\n'
    assert [r["result"] for r in once(box, CONF.format("one") + guarded).results] == ["changed", "ok"]
    box.write("/srv/wanted", "")
    assert [r["result"] for r in once(box, CONF.format("one") + guarded).results] == ["ok", "ok"]
    assert not box.exists("/srv/ran")
    # The guard still says so afterwards, and that is fine: what has changed has been dealt with.
    assert [r["result"] for r in once(box, CONF.format("two") + guarded).results] == ["changed", "changed"]
    assert box.read("/srv/ran") == "ran\n"


# ---- The daemon --------------------------------------------------------------------------------------------------


def test_what_drifts_and_is_repaired_restarts_who_listens(host):
    n = last_event(host)
    host.run("echo drift >/etc/app.conf")
    wait_event(host, "state-changed", after=n, state="listener:app", timeout=30)
    wait_idle(host)
    assert told(host) == ["app restart"] * 2


def test_who_is_not_part_of_the_run_is_told_after_it(host):
    change(host, "watch = false\n" + APP)
    assert told(host) == ["app restart"] * 2
    host.run("echo drift >/etc/app.conf")
    n = last_event(host)
    run = apply(host, "file:/etc/app.conf")
    assert {state: r["result"] for state, r in run.results.items()} == {"file:/etc/app.conf": "changed"}
    event = wait_event(host, "state-changed", after=n, state="listener:app", timeout=30)
    assert event["run"] != run.run
    wait_idle(host)
    assert told(host) == ["app restart"] * 3 and state(host, "listener:app")["owed"] == []


def test_show_says_who_is_listened_to_and_what_else_was_set(host):
    change(host, role_of("listener", {"app": {
        "restart_on": ["file:/etc/*"], "check_on": ["listener:b"], "interval": "5min", "retries": 3, "on_success": "echo 'a b'"},
        "b": {"sensitive": True, "on_failure": ["/bin/false", "hunter2"]}}) + '[file."/etc/b"]\ncontent = ""\n')
    shown = host.agentctl("show", "listener:app").stdout
    for line in ("    Interval: 5min", "     Retries: 3, each after 5s", "    Check on: listener:b", "  Restart on: file:/etc/app.conf",
                 "              file:/etc/b", '       Hooks: on_success ["/bin/sh", "-c", "echo \'a b\'"]'):
        assert line in shown.splitlines(), (line, shown)
    found = state(host, "listener:app")
    assert (found["interval_usec"], found["retries"], found["retry_delay_usec"]) == (300000000, 3, 5000000)
    assert found["restart_on"] == ["file:/etc/app.conf", "file:/etc/b"] and found["reload_on"] == []
    shown = host.agentctl("show", "listener:b").stdout
    assert "       Hooks: on_failure <sensitive>\n" in shown and "hunter2" not in shown
    for key in ("Interval", "Retries", "Check on", "Restart on"):
        assert key not in shown


def test_who_fails_is_owed_until_it_succeeds(host):
    host.write("/run/listener.fail", "")
    change(host)
    found = state(host, "listener:app")
    assert (found["result"], found["owed"], found["owed_because"]) == ("failed", ["restart"], "file:/etc/app.conf")
    shown = host.agentctl("show", "listener:app").stdout
    assert "Due: restart, since file:/etc/app.conf has changed" in shown
    host.run("rm /run/listener.fail")
    daemon.restart(host)
    wait_until(lambda: told(host) == ["app restart"] * 2, 30, "the boot run brings it up")
    wait_idle(host)
    assert state(host, "listener:app")["owed"] == []
    apply(host)
    assert told(host) == ["app restart"] * 2


def test_who_is_audited_shows_that_it_is_due(host):
    audited = APP + "audit = true\n"
    change(host, audited)
    assert told(host) == ["app restart"]
    found = state(host, "listener:app")
    assert (found["result"], found["owed"]) == ("drifted", ["restart"])
    assert [d["attribute"] for d in plan(host).results["listener:app"]["differences"]] == ["restart"]
    n = last_event(host)
    role(host, APP, "two")
    wait_event(host, "run-finished", after=n, timeout=30)
    wait_idle(host)
    assert told(host) == ["app restart"] * 2


FILES = """
[vars]
files = [{}]
[file."/etc/app/{{{{item}}}}"]
for_each = "vars.files"
content = "x"
parents = {{ create = true }}
on_removal = "absent"
"""


@pytest.mark.parametrize("listens", ["file:/etc/app/*", "file:/etc/app/{{item}}"])
def test_who_listens_is_told_of_what_is_removed(box, listens):
    text = role_of("listener", {"app": {"restart_on": [listens]}})
    box.role("app", FILES.format('"a", "b"') + text)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box, module_dir=True)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    assert told(box) == ["app restart"]
    for i, files in enumerate(('"a"', ""), 2):
        box.agentctl("disable", "a test")
        box.role("app", FILES.format(files) + text)
        daemon.reload(box)
        # A plan shows both: what would be removed, and who would be told.
        planned = {id_: r["result"] for id_, r in plan(box).results.items() if r["result"] != "ok"}
        assert planned == {f"file:/etc/app/{'.ba'[i - 1]}": "drifted", "listener:app": "drifted"}
        box.agentctl("enable")
        wait_until(lambda: told(box) == ["app restart"] * i, 30, "it is told")
        wait_until(lambda: f"file:/etc/app/{'.ba'[i - 1]}" not in states(box), 30, "the file is forgotten")
        wait_idle(box)
    # There is nothing left to listen to. Once is enough.
    assert set(states(box)) == {"listener:app"} and state(box, "listener:app")["owed"] == []
    daemon.reload(box)
    apply(box)
    assert told(box) == ["app restart"] * 3


def test_what_was_removed_is_owed_though_nothing_is_left_to_listen_to(box):
    text = role_of("listener", {"app": {"restart_on": ["file:/etc/app/*"]}})
    box.role("app", FILES.format('"a"') + text)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box, module_dir=True)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    box.write("/run/listener.wait", "")
    box.role("app", FILES.format("") + text)
    wait_until(lambda: box.exists("/run/listener.waits"), 30, "its apply has begun")
    assert not box.exists("/etc/app/a")
    daemon.kill(box)
    box.run("rm /run/listener.wait")
    start(box)
    wait_until(lambda: told(box) == ["app restart"] * 2, 30, "the next one tells it")
    wait_until(lambda: set(states(box)) == {"listener:app"}, 30, "the file is forgotten")


def test_who_names_what_is_removed_since_its_role_is_off_is_told(box):
    box.role("app", role_of("listener", {"app": {"restart_on": ["file:/etc/app.conf"]}}))
    box.role("conf", CONF.format("one") + 'on_removal = "absent"\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box, module_dir=True)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    box.role("conf", 'hosts = ["other"]\n' + CONF.format("one") + 'on_removal = "absent"\n')
    wait_until(lambda: told(box) == ["app restart"] * 2, 30, "it is told")
    assert not box.exists("/etc/app.conf")


def test_who_listens_no_more_is_owed_nothing(host):
    host.write("/run/listener.fail", "")
    change(host)
    assert state(host, "listener:app")["owed"] == ["restart"]
    n = last_event(host)
    role(host, "[listener.app]\n", "two")
    wait_event(host, "roles-loaded", after=n, timeout=30)
    wait_idle(host)
    assert state(host, "listener:app")["owed"] == []


def test_a_kill_before_it_was_told_loses_nothing(host):
    host.write("/run/listener.wait", "")
    role(host, APP, "two")
    wait_until(lambda: host.exists("/run/listener.waits"), 30, "its apply has begun")
    daemon.kill(host)
    host.run("rm /run/listener.wait")
    start(host)
    wait_until(lambda: told(host) == ["app restart"] * 2, 30, "the next one tells it")


def test_a_kill_between_the_change_and_its_result_loses_nothing(box):
    """The command outlives agentd, and when the next one looks all is done."""
    daemon.settings(box, 'interval = "infinity"\n')
    box.write("/srv/wait", "")
    box.role("app", '[exec.make]\nshell = "touch /srv/made; while test -e /srv/wait; do sleep 0.02; done"\n'
                    'creates = "/srv/made"\n[listener.app]\nreload_on = ["exec:make"]\n')
    start(box, module_dir=True)
    wait_until(lambda: box.exists("/srv/made"), 30, "the command has changed something")
    daemon.kill(box)
    box.run("rm /srv/wait")
    start(box)
    wait_until(lambda: told(box) == ["app reload"], 30, "who listens is told")
    wait_idle(box)
    assert states(box)["exec:make"] == "ok"


def test_one_that_is_fine_says_nothing_of_another_that_is_being_changed(box):
    daemon.settings(box, 'interval = "infinity"\n')
    box.write("/srv/wait", "")
    box.role("app", '[exec.make]\nshell = "touch /srv/made; while test -e /srv/wait; do sleep 0.02; done"\n'
                    'creates = "/srv/made"\n[exec.fine]\nshell = "true"\nremoves = "/srv/nothing"\n'
                    '[trouble.slow]\ndo = "slow"\nindex = 300\n'
                    '[listener.app]\nreload_on = ["exec:*", "trouble:slow"]\n')
    start(box, module_dir=True)
    wait_until(lambda: box.exists("/srv/made") and state(box, "trouble:slow")["result"] == "ok", 30,
               "one is being changed, the other is fine")
    daemon.kill(box)
    box.run("rm /srv/wait")
    start(box)
    wait_until(lambda: told(box) == ["app reload"], 30, "who listens is told")


def test_what_changes_while_it_is_being_told_is_told_again(host):
    host.write("/run/listener.wait", "")
    role(host, APP, "two")
    wait_until(lambda: host.exists("/run/listener.waits"), 30, "its apply has begun")
    # In a run of its own, which does not wait for the other.
    n = last_event(host)
    host.run("echo drift >/etc/app.conf")
    wait_event(host, "state-changed", after=n, state="file:/etc/app.conf", timeout=30)
    host.run("rm /run/listener.wait")
    wait_until(lambda: len(told(host)) == 3, 30, "it is told again")
    wait_idle(host)
    assert state(host, "listener:app")["owed"] == []


def test_what_was_changed_was_changed_also_if_its_after_change_fails(host):
    n = last_event(host)
    role(host, 'after_change = "false"\n' + APP, "two")
    wait_event(host, "state-failed", after=n, state="file:/etc/app.conf", timeout=30)
    wait_event(host, "state-blocked", after=n, state="listener:app", timeout=30)
    # The file is as declared by now: the next look at it tells nobody anything.
    wait_until(lambda: told(host) == ["app restart"] * 2, 30, "it is told once the file is fine")
    wait_idle(host)
    assert states(host)["file:/etc/app.conf"] == "ok"
    assert told(host) == ["app restart"] * 2 and state(host, "listener:app")["owed"] == []


def test_a_listener_of_which_only_the_run_knows(host):
    wanted = '[listener.other]\nfor_each = "vars.others"\nrestart_on = ["file:/etc/app.conf"]\n'.replace("other]", '"{{item}}"]')
    role(host, "watch = false\n" + wanted + "[vars]\nothers = []\n")
    wait_until(lambda: "listener:app" not in states(host), 30, "the role is in force")
    wait_idle(host)
    host.run("echo drift >/etc/app.conf")
    done = host.agentctl("apply", "--var", 'others=["b"]')
    assert done.returncode == 0, done.stdout + done.stderr
    assert told(host) == ["app restart", "b restart"]


def test_what_cannot_be_read_at_start_is_done_once_it_can(box):
    """On a full disk agentd cannot open its store: what was due, and what is to be removed, is known when there is space again."""
    box.run("mkdir -p /var/lib/agentd && mount -t tmpfs -o size=2m,mode=0700 none /var/lib/agentd")
    gone = '[file."/srv/gone"]\ncontent = "x"\non_removal = "absent"\n'
    role(box, APP + gone)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box, module_dir=True)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    box.write("/run/listener.fail", "")
    change(box, APP + gone)
    assert state(box, "listener:app")["owed"] == ["restart"]
    daemon.stop(box)
    box.run("dd if=/dev/zero of=/var/lib/agentd/ballast bs=4k; rm /run/listener.fail", check=False)
    role(box, APP, "two")
    start(box)
    wait_idle(box)
    assert daemon.status(box)["store"]["error"] and told(box) == ["app restart"] and box.exists("/srv/gone")
    box.run("rm /var/lib/agentd/ballast")
    wait_until(lambda: told(box) == ["app restart"] * 2 and not box.exists("/srv/gone"), 45, "it is known again")
    wait_idle(box)
    assert state(box, "listener:app")["owed"] == []
    daemon.restart(box)
    wait_idle(box)
    assert told(box) == ["app restart"] * 2
