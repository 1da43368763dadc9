# SPDX-License-Identifier: LGPL-2.1-or-later
"""States that are looked at in an interval of their own."""

import re

import pytest

import daemon
from box import wait_until
from daemon import apply, last_event, start, state, wait_event, wait_idle

TICKS = '[file."/srv/ticks"]\ncontent = "hello\\n"\nwatch = false\ninterval = "1s"\n'
STILL = '[file."/srv/still"]\ncontent = "hello\\n"\nwatch = false\n'


@pytest.fixture
def host(box):
    """At rest; runs over everything come in hours."""
    daemon.settings(box, 'interval = "infinity"\n')
    return box


def begin(box, role):
    box.role("role", role)
    start(box, module_dir=True)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)


def test_it_is_repaired_though_nobody_tells(host):
    begin(host, TICKS + STILL + '[file."/srv/after"]\ncontent = "x"\nwatch = false\nrequires = ["file:/srv/ticks"]\n')
    n = last_event(host)
    host.run("rm /srv/still /srv/after; echo drift >/srv/ticks")
    event = wait_event(host, "state-changed", after=n, state="file:/srv/ticks", timeout=30)
    assert daemon.get(host, f"/v1/runs/{event['run']}")["cause"] == "state-interval"
    # With what depends on it, and nothing else.
    wait_event(host, "state-changed", after=n, state="file:/srv/after", timeout=30)
    assert not host.exists("/srv/still")
    # And again.
    n = last_event(host)
    host.run("rm /srv/ticks")
    wait_event(host, "state-changed", after=n, state="file:/srv/ticks", timeout=30)


def test_a_look_that_finds_nothing_is_no_run_that_is_remembered(host):
    begin(host, TICKS)
    runs, checked = len(daemon.items(host, "/v1/runs")), state(host, "file:/srv/ticks")["checked"]
    for _ in range(2):
        wait_until(lambda: state(host, "file:/srv/ticks")["checked"] != checked, 30, "it is looked at")
        checked = state(host, "file:/srv/ticks")["checked"]
    assert len(daemon.items(host, "/v1/runs")) == runs


def test_not_while_the_host_is_disabled(host):
    begin(host, TICKS)
    host.agentctl("disable", "test")
    wait_idle(host)
    checked = state(host, "file:/srv/ticks")["checked"]
    n = last_event(host)
    host.run("rm /srv/ticks")
    daemon.restart(host)
    daemon.stop(host)
    start(host)
    assert not host.exists("/srv/ticks") and state(host, "file:/srv/ticks")["checked"] in (None, checked)
    host.agentctl("enable")
    event = wait_event(host, "state-changed", after=n, state="file:/srv/ticks", timeout=30)
    # The run over everything waits for the watches, and meanwhile its time may have come.
    assert daemon.get(host, f"/v1/runs/{event['run']}")["cause"] in ("enable", "state-interval")
    wait_idle(host)
    # And then it goes on.
    n = last_event(host)
    host.run("rm /srv/ticks")
    event = wait_event(host, "state-changed", after=n, state="file:/srv/ticks", timeout=30)
    assert daemon.get(host, f"/v1/runs/{event['run']}")["cause"] == "state-interval"


def test_an_interval_that_comes_and_goes(host):
    begin(host, STILL)
    host.run("rm /srv/still")
    n = last_event(host)
    # A setting that changes nothing else.
    host.role("role", STILL + 'interval = "1s"\n')
    wait_event(host, "state-changed", after=n, state="file:/srv/still", timeout=30)
    host.role("role", STILL + 'interval = "1h"\n' + STILL.replace("still", "new"))
    wait_until(lambda: host.exists("/srv/new"), 30, "the roles are others")
    wait_idle(host)
    host.run("rm /srv/still")
    assert apply(host).results["file:/srv/still"]["result"] == "changed"
