# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens to a unit, or is said on the bus, is seen when it happens."""

import time

import daemon
import pytest
from box import wait_until
from daemon import events, last_event, start, state, status, wait_event, wait_idle
from hostile import states as role_of

SLEEPS = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
UNITS = "/etc/systemd/system"


def prepare(box, states, units=("a",), text=SLEEPS, idle=True, options=()):
    """A host with units, and states that watch."""
    for unit in units:
        box.write(f"{UNITS}/{unit if '.' in unit else unit + '.service'}", text)
    box.run("systemctl daemon-reload")
    box.role("test", role_of("watched", states))
    daemon.settings(box, 'interval = "infinity"\n')
    start(box, *options, module_dir=True)
    if idle:
        rest(box)
    return box


def rest(box):
    """Everything is watched, nothing goes on, and what systemd has to say of it was heard."""
    daemon.wait_status(box, lambda s: s["watches"]["errors"] == [], 30)
    wait_idle(box, 30)
    said = -1
    while said != (said := len(lines(box))):
        # Its answers come after whatever it had to say before, and a second one after what agentd has asked it then.
        for _ in range(2):
            box.run("busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.DBus.Peer Ping")
            daemon.get(box, "/v1/facts")  # takes a while
        wait_idle(box, 30)


def lines(box, name=None):
    """What the module has said of a state, or all, oldest first."""
    said = [e["MESSAGE"] for e in box.journal("-u", "agentd.service")]
    return [s.partition("looks at ")[2] for s in said if "looks at " + (f"{name}: " if name else "") in s]


def looks(box, deed, name="a", says=None, timeout=30):
    """Does something; returns what was seen of the state after that, once it was."""
    n = len(lines(box, name))
    box.run(deed, timeout=30)
    wait_until(lambda: any(says is None or s.endswith(says) for s in lines(box, name)[n:]), timeout, f"{deed}: {name} {says}")
    return lines(box, name)[n:]


def connections(box):
    """Names of the engine on the bus, one for each connection."""
    pid = str(daemon.main_pid(box))
    words = [line.split() for line in box.run("busctl list --no-legend --unique").stdout.splitlines()]
    return [w[0] for w in words if w[1] == pid]


@pytest.fixture
def host(box):
    return prepare(box, {"a": {"units": ["a.service"]}})


# ---- Units -------------------------------------------------------------------------------------------------------


def test_what_is_watched_is_told(host):
    watches = status(host)["watches"]
    assert (watches["units"], watches["signals"], watches["errors"]) == (1, 0, [])
    assert state(host, "watched:a")["watches"] == [{"kind": "unit", "what": "a.service"}]
    assert len(connections(host)) == 1


def test_a_unit_that_starts_stops_or_fails_is_looked_at(host):
    assert looks(host, "systemctl start a", says=": active")
    assert looks(host, "systemctl stop a", says="inactive")
    assert looks(host, "systemctl start a", says=": active")
    assert looks(host, "systemctl kill -s KILL a", says="failed")
    assert looks(host, "systemctl reset-failed a", says="inactive")
    assert looks(host, "systemctl start a; systemctl freeze a", says=": active")


def test_a_stopped_service_is_started_again(box):
    prepare(box, {"a": {"units": ["a.service"], "running": True}})
    for deed in "systemctl stop a", "systemctl kill -s KILL a", "systemctl kill a":
        n = last_event(box)
        box.run(deed)
        event = wait_event(box, "state-changed", after=n, state="watched:a", timeout=30)
        assert daemon.get(box, f"/v1/runs/{event['run']}")["cause"] == "drift"
        assert daemon.prop(box, "ActiveState", "a.service") == "active"


def test_a_look_leads_to_no_other(host):
    """The check loads the unit, and PID 1 drops it again, and says both."""
    n = len(lines(host))
    host.run("for i in $(seq 20); do systemctl show a.service >/dev/null; done")
    looks(host, "systemctl start a", says=": active")
    rest(host)
    assert len(lines(host)) - n <= 3, lines(host)[n:]


def test_what_systemd_restarts_itself_is_left_to_it(box):
    prepare(box, {"a": {"units": ["a.service"], "running": True}},
            text="[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=1s\n")
    looks(box, "systemctl kill -s KILL a", says=": active")
    wait_until(lambda: daemon.prop(box, "NRestarts", "a.service") == "1", 30, "systemd restarts it")
    wait_until(lambda: daemon.prop(box, "ActiveState", "a.service") == "active", 30, "and it is up")
    rest(box)
    assert daemon.prop(box, "NRestarts", "a.service") == "1"
    assert len(events(box, kind="state-changed")) == 1


def test_units_that_come_later(box):
    prepare(box, {"late": {"units": ["late.service"]}, "t": {"units": ["t.target"]}, "tmp": {"units": ["tmp-x.service"]}}, units=())
    box.write(f"{UNITS}/late.service", SLEEPS)
    box.write(f"{UNITS}/t.target", "[Unit]\nDescription=t\n")
    # Without daemon-reload: systemd looks for what it does not know yet.
    assert looks(box, "systemctl start late", "late", ": active")
    # At rest before anything is said of it.
    assert looks(box, "systemctl start t.target", "t", ": active")
    assert looks(box, "systemd-run --unit tmp-x sleep infinity", "tmp", ": active")
    assert looks(box, "systemctl stop tmp-x", "tmp", "inactive")


def test_other_names_of_a_unit_and_templates(box):
    box.write(f"{UNITS}/i@.service", SLEEPS)
    box.run(f"mkdir -p {UNITS}; ln -s a.service {UNITS}/alias.service")
    prepare(box, {"alias": {"units": ["alias.service"]}, "a": {"units": ["a.service"]}, "all": {"units": ["i@.service"]},
                  "one": {"units": ["i@x-1.service"]}})
    assert looks(box, "systemctl start a", "alias", ": active")
    wait_until(lambda: lines(box, "a")[-1] == "a: active", 30, "so is the other name")
    n = len(lines(box, "one"))
    looks(box, "systemctl start i@x-2", "all")
    assert len(lines(box, "one")) == n
    looks(box, "systemctl start i@x-1", "one", ": active")


def test_unit_files_that_change_are_looked_at(host):
    looks(host, "systemctl enable a")
    rest(host)
    looks(host, "systemctl mask --runtime a")
    rest(host)
    looks(host, "systemctl daemon-reload")
    rest(host)
    looks(host, "systemctl start a", says=": active")


def test_a_restart_of_the_bus_is_survived(host):
    looks(host, "systemctl restart dbus")
    rest(host)
    looks(host, "systemctl start a", says=": active")
    # Away for longer, which is told.
    host.run("systemctl stop dbus.socket dbus.service", check=False)
    daemon.wait_status(host, lambda s: any("system bus cannot be reached" in e for e in s["watches"]["errors"]), 30)
    assert "the system bus cannot be reached" in host.agentctl("status").stdout
    n = len(lines(host, "a"))
    host.run("kill $(systemctl show --value -p MainPID a)")
    host.run("systemctl start dbus.socket dbus.service")
    wait_until(lambda: lines(host, "a")[n:] and lines(host, "a")[-1] in ("a: inactive", "a: failed"), 30, "looked at")
    rest(host)
    looks(host, "systemctl start a", says=": active")


def test_systemd_executes_itself_anew(host):
    looks(host, "systemctl daemon-reexec")
    rest(host)
    looks(host, "systemctl start a", says=": active")
    looks(host, "systemctl stop a", says="inactive")


def test_two_hundred_units_of_which_fifty_change(box):
    names = [f"u{i}" for i in range(200)]
    prepare(box, {name: {"units": [f"{name}.service"]} for name in names}, units=names)
    fifty = " ".join(names[50:100])
    n = len(lines(box))
    box.run(f"systemctl start {fifty}", timeout=60)
    wait_until(lambda: {s for s in lines(box)[n:] if s.endswith(": active")} == {f"{name}: active" for name in names[50:100]},
               60, "all are seen")
    rest(box)
    said = lines(box)[n:]
    assert {s.partition(":")[0] for s in said} == set(names[50:100])
    n = len(lines(box))
    box.run(f"systemctl kill -s KILL {fifty}", timeout=60)
    wait_until(lambda: len({s for s in lines(box)[n:] if s.endswith(": failed")}) == 50, 60, "all are seen")


def test_a_unit_that_dies_at_once_is_a_fight(box):
    prepare(box, {"a": {"units": ["a.service"], "running": True}}, idle=False,
            text="[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 0.3\n")
    fight = wait_event(box, "fight-begun", timeout=60, state="watched:a")
    n = len([e for e in events(box, kind="state-changed") if e["event"] < fight["event"]])
    assert fight["data"]["repaired"] == 5 and n <= 5
    assert fight["data"]["pause_usec"] == 1000000


def test_a_unit_that_cannot_be_started_is_not_tried_without_end(box):
    prepare(box, {"a": {"units": ["a.service"], "running": True}}, idle=False,
            text="[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/false\n")
    wait_event(box, "state-failed", timeout=30, state="watched:a")
    box.run("for i in $(seq 200); do systemctl start a; systemctl reset-failed a; done", check=False, timeout=200)
    assert len(lines(box, "a")) < 60
    assert events(box, kind="fight-begun") == []


# ---- The bus -----------------------------------------------------------------------------------------------------


def test_signals_on_the_bus_are_looked_at(box):
    rule = "type='signal',interface='org.example.Agentd',member='Changed',path='/x'"
    prepare(box, {"s": {"signals": [rule]}, "other": {"signals": [rule.replace("/x", "/y")]}}, units=())
    assert status(box)["watches"]["signals"] == 2 and len(connections(box)) == 1
    n = len(lines(box, "other"))
    looks(box, "dbus-send --system --type=signal /x org.example.Agentd.Changed", "s")
    looks(box, "for i in $(seq 100); do dbus-send --system --type=signal /x org.example.Agentd.Changed; done", "s")
    assert len(lines(box, "other")) == n
    looks(box, "systemctl restart dbus", "other")
    rest(box)
    looks(box, "dbus-send --system --type=signal /y org.example.Agentd.Changed", "other")


def test_what_cannot_be_watched_is_told(box):
    prepare(box, {"a": {"units": ["a.service", "no name"]}}, idle=False)
    daemon.wait_status(box, lambda s: s["watches"]["errors"] == ["'no name' is no name of a unit"], 30)
    looks(box, "systemctl start a", says=": active")
    n = last_event(box)
    box.role("test", role_of("watched", {"a": {"units": ["a.service"], "signals": ["type='nonsense'"]}}))
    wait_event(box, "roles-loaded", after=n, timeout=30)
    daemon.wait_status(box, lambda s: "the match rule \"type='nonsense'\" was refused" in "".join(s["watches"]["errors"]), 30)
    looks(box, "systemctl stop a", says="inactive")
    n = last_event(box)
    many = [f"type='signal',interface='org.example.I{i}'" for i in range(66)]
    box.role("test", role_of("watched", {"a": {"units": ["a.service"], "signals": many}}))
    wait_event(box, "roles-loaded", after=n, timeout=30)
    daemon.wait_status(box, lambda s: s["watches"]["errors"] == ["2 signals on the bus are not watched, as 64 are the most"], 30)
    looks(box, "systemctl start a", says=": active")


def test_nobody_but_systemd_is_believed(host):
    """A signal to us alone comes without a rule, from anybody."""
    looks(host, "systemctl start a", says=": active")
    rest(host)
    ours = connections(host)
    n = len(lines(host))
    for name in ours:
        host.run(["runuser", "-u", "nobody", "--", "dbus-send", "--system", "--type=signal", f"--dest={name}",
                  "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.UnitRemoved", "string:a.service",
                  "objpath:/org/freedesktop/systemd1/unit/a_2eservice"])
    assert len(ours) == 1
    daemon.get(host, "/v1/facts")
    assert len(lines(host)) == n
    looks(host, "systemctl stop a", says="inactive")


# ---- Nothing -----------------------------------------------------------------------------------------------------


def test_without_units_there_is_no_connection(host):
    assert len(connections(host)) == 1
    n = last_event(host)
    host.role("test", '[file."/etc/motd"]\ncontent = "hello\\n"\n')
    wait_event(host, "roles-loaded", after=n, timeout=30)
    wait_until(lambda: connections(host) == [], 30, "it is closed")
    n = last_event(host)
    host.role("test", role_of("watched", {"a": {"units": ["a.service"]}}))
    wait_event(host, "roles-loaded", after=n, timeout=30)
    rest(host)
    assert len(connections(host)) == 1
    looks(host, "systemctl start a", says=": active")


def test_a_reload_of_the_roles_loses_nothing(host):
    looks(host, "systemctl start a", says=": active")
    n = last_event(host)
    host.write(f"{UNITS}/b.service", SLEEPS)
    host.role("test", role_of("watched", {"b": {"units": ["b.service"]}, "a": {"units": ["a.service"]}}))
    wait_event(host, "roles-loaded", after=n, timeout=30)
    looks(host, "systemctl stop a", says="inactive")
    looks(host, "systemctl start b", "b", ": active")
    assert status(host)["watches"]["units"] == 2


def test_at_rest_nothing_wakes_the_engine(host):
    """Others may have something to say at any time, so it is enough that five seconds go by once."""
    seen, since = None, time.monotonic()

    def is_quiet():
        nonlocal seen, since
        text = host.run(f"grep ctxt /proc/{daemon.main_pid(host)}/status").stdout
        if text != seen:
            seen, since = text, time.monotonic()
        return time.monotonic() > since + 5

    wait_until(is_quiet, 100, "nothing goes on")
