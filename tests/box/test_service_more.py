# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type service: what goes wrong, and what is in between."""

import pytest

from box import wait_until
from once import agentd, differences, errors, refused, results
from test_service import SLEEPS, active, enabled, once, one, pid, reload, unit


def show(box, name, what):
    return box.run(["systemctl", "show", "-P", what, name]).stdout.strip()


# ---- Units that are in between ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["running = false\n", "ensure = \"absent\"\n"])
def test_what_systemd_restarts_again_and_again_is_stopped(box, text):
    unit(box, "loops.service", "[Unit]\nStartLimitIntervalSec=0\n"
                               "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1h\n")
    reload(box)
    box.run("systemctl start loops", check=False)
    wait_until(lambda: show(box, "loops", "SubState") == "auto-restart", 30, "it is about to be restarted")
    assert one(box, "[service.loops]\n" + text)["result"] == "changed"
    assert active(box, "loops") in ("inactive", "failed")
    assert one(box, "[service.loops]\n" + text)["result"] == "ok"


def test_a_repaired_unit_does_not_wait_for_systemd_to_restart_it(box):
    unit(box, "loops.service", "[Unit]\nStartLimitIntervalSec=0\n"
                               "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1h\n")
    reload(box)
    box.run("systemctl start loops", check=False)
    wait_until(lambda: show(box, "loops", "SubState") == "auto-restart", 30, "it is about to be restarted")
    result = one(box, "[service.loops]\nrunning = true\ndropin = { Service = { ExecStart = [\"\", \"/bin/sleep infinity\"] } }\n")
    assert result["result"] == "changed", result
    assert active(box, "loops") == "active"


def test_one_that_is_still_starting_when_nobody_waits(box):
    unit(box, "slow.service", "[Service]\nType=notify\nExecStart=/bin/sleep infinity\nTimeoutStartSec=1h\n")
    reload(box)
    text = "[service.slow]\nrunning = true\nwait = false\n"
    result = one(box, text)
    assert result["result"] == "changed", result
    assert active(box, "slow") == "activating"
    assert one(box, text)["result"] == "ok"
