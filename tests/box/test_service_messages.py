# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type service: why a unit is not as it should be, in one line that tells which process, which status, and what is missing."""

import pytest

from once import errors
from test_service import SLEEPS, once, one, reload, unit

SAYS = "/bin/sh -c 'echo %s; exit %d'"


@pytest.mark.parametrize("command, status", [("ExecStartPre", 7), ("ExecStartPost", 8), ("ExecCondition", 255)])
def test_a_command_beside_the_service_that_fails_is_named(box, command, status):
    unit(box, "bad.service", f"[Service]\nExecStart=/bin/sleep infinity\n{command}={SAYS % ('no', status)}\n")
    reload(box)
    result = one(box, "[service.bad]\nrunning = true\n")
    assert result["error"] == f"it did not start: its {command}= exited with status {status}; it said: no"


def test_what_is_no_main_process_has_a_status_as_well(box):
    unit(box, "forks.service", f"[Service]\nType=forking\nExecStart={SAYS % ('no', 4)}\n")
    unit(box, "srv-no.mount", "[Mount]\nWhat=/dev/nowhere\nWhere=/srv/no\nType=ext4\n")
    unit(box, "app.service")
    unit(box, "app.socket", "[Socket]\nListenStream=/run/app.sock\nExecStartPre=/bin/sh -c 'kill -KILL $$$$'\n")
    reload(box)
    done = errors(once(box, "".join(f"[service.\"{name}\"]\nrunning = true\n" for name in ("forks", "srv-no.mount", "app.socket"))))
    assert done["service:forks"] == "it did not start: its process exited with status 4; it said: no"
    assert done["service:srv-no.mount"].startswith("it did not start: its process exited with status 32; it said: mount: "), done
    assert done["service:app.socket"].startswith("it did not start: its ExecStartPre= was killed by SIGKILL"), done


def test_a_reload_that_fails(box):
    unit(box, "app.service", f"[Service]\nExecStart=/bin/sleep infinity\nExecReload={SAYS % ('no', 9)}\n")
    reload(box)
    text = "[file.\"/etc/app.conf\"]\ncontent = \"%s\"\n[service.app]\nrunning = true\nreload_on = [\"file:/etc/app.conf\"]\n"
    assert once(box, text % "x").summary["failed"] == 0
    assert errors(once(box, text % "y"))["service:app"] == "it did not reload: its ExecReload= exited with status 9; it said: no"


def test_what_is_ready_in_no_time_is_told_what_it_lacks(box):
    begin = "it did not start: systemd's own time for it was over (TimeoutStartSec=)"
    hangs = "TimeoutStartSec=5s\nExecStart=/bin/sh -c 'echo here; sleep infinity'\n"
    unit(box, "says.service", f"[Service]\nType=notify\n{hangs}")
    unit(box, "takes.service", f"[Service]\nType=dbus\nBusName=org.example.Never\n{hangs}")
    unit(box, "forks.service", f"[Service]\nType=forking\n{hangs}")
    unit(box, "ends.service", "[Service]\nType=notify\nExecStart=/bin/echo here\n")
    reload(box)
    done = errors(once(box, "".join(f"[service.{name}]\nrunning = true\n" for name in ("says", "takes", "forks", "ends"))))
    assert done["service:says"] == f"{begin}; it has not said READY=1, as Type=notify has to (timeout); it said: here"
    assert done["service:takes"] == f"{begin}; it has not taken its BusName=, as Type=dbus has to (timeout); it said: here"
    assert done["service:forks"] == (f"{begin}; its ExecStart= has not ended, or its PIDFile= is not there, as Type=forking wants it"
                                     " (timeout); it said: here")
    assert done["service:ends"] == ("it did not start: it ended, and it has not said READY=1, as Type=notify has to (protocol);"
                                    " it said: here")

    unit(box, "says.service", "[Service]\nType=notify\nExecStart=/bin/sh -c 'echo here; sleep infinity'\n")
    reload(box)
    result = one(box, "[service.says]\nrunning = true\ntimeout = \"8s\"\n")
    assert result["error"] == ("it did not start in time, so the job was cancelled: it has not said READY=1, as Type=notify has to;"
                               " it said: here")


def test_a_job_that_waits_for_another_says_for_which(box):
    unit(box, "long.service", "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity\n")
    unit(box, "app.service", "[Unit]\nAfter=long.service\n" + SLEEPS)
    reload(box)
    box.run("systemctl start --no-block long")
    result = one(box, "[service.app]\nrunning = true\ntimeout = \"4s\"\n")
    assert result["error"] == "it did not start in time, so the job was cancelled: it has to wait for 'long.service', which is not over"
    # The job of the other is not ours.
    assert box.run("systemctl show -P ActiveState long").stdout == "activating\n"


def test_one_that_has_run_to_its_end(box):
    """systemd has forgotten it by the time that it is looked at."""
    unit(box, "ends.service", "[Service]\nType=oneshot\nExecStart=/bin/echo done\n")
    unit(box, "waits.service", "[Service]\nExecCondition=/bin/sh -c 'echo not now; exit 1'\nExecStart=/bin/sleep infinity\n")
    reload(box)
    done = errors(once(box, "[service.ends]\nrunning = true\n[service.waits]\nrunning = true\n"))
    assert done["service:ends"] == ("it did not become active: it has run to its end; what is to stay active after that has"
                                    " RemainAfterExit=yes; it said: done")
    assert done["service:waits"] == "it did not become active: its ExecCondition= says that it is not to be started; it said: not now"


def test_one_that_systemd_has_started_again_after_it_died(box):
    box.write("/usr/local/bin/app", "#!/bin/sh\ntest -e /run/app.tried && exec sleep infinity\ntouch /run/app.tried\nexit 3\n", mode=0o755)
    unit(box, "app.service", "[Service]\nExecStart=/usr/local/bin/app\nRestart=on-failure\nRestartSec=50ms\n")
    reload(box)
    result = one(box, "[service.app]\nrunning = true\nhealthy_after = \"5s\"\n")
    assert result["error"].startswith("it started, but did not stay active: its process exited with status 3"), result


def test_one_that_dies_after_it_was_started_says_why(box):
    """By the time that it is looked at again it is gone."""
    unit(box, "dies.service", "[Service]\nExecStart=/bin/sh -c 'until test -e /run/die; do sleep 0.05; done; echo gone; exit 4'\n")
    unit(box, "kills.service", "[Unit]\nAfter=dies.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
                               "ExecStart=/bin/sh -c 'sleep 1; touch /run/die; while systemctl -q is-active dies; do sleep 0.05; done'\n")
    reload(box)
    done = errors(once(box, "[service.dies]\nrunning = true\n[service.kills]\nrunning = true\n"))
    why = ": its process exited with status 4"
    assert done["service:dies"].startswith(("it started, but did not stay active" + why, "it did not become active" + why)), done
    assert done["service:kills"] is None


def test_of_many_lines_the_last_are_told(box):
    unit(box, "says.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'seq 1000; echo; exit 3'\n")
    reload(box)
    result = one(box, "[service.says]\nrunning = true\n")
    assert result["error"] == "it did not start: its process exited with status 3; it said: 998 | 999 | 1000"


def test_what_requires_something_that_fails_says_what_and_why(box):
    """Also if that is not what it requires itself."""
    unit(box, "db.service", f"[Service]\nType=oneshot\nExecStart={SAYS % ('the disk is full', 6)}\n")
    unit(box, "cache.service", "[Unit]\nBindsTo=db.service\nAfter=db.service\n" + SLEEPS)
    unit(box, "app.service", "[Unit]\nRequires=cache.service\nAfter=cache.service\n" + SLEEPS)
    reload(box)
    done = errors(once(box, "[service.app]\nrunning = true\n[service.cache]\nrunning = true\n"))
    why = "it did not start, since 'db.service', which it requires, failed: its process exited with status 6; it said: the disk is full"
    assert done == {"service:app": why, "service:cache": why}


def test_what_systemd_has_against_a_unit_is_told(box):
    unit(box, "a.service", "[Unit]\nRequires=b.service\nAfter=b.service\n" + SLEEPS)
    unit(box, "b.service", "[Unit]\nRequires=a.service\nAfter=a.service\n" + SLEEPS)
    unit(box, "bad.timer", "[Timer]\n")
    reload(box)
    done = errors(once(box, "[service.a]\nrunning = true\n[service.\"bad.timer\"]\nrunning = true\n"))
    assert done["service:a"].startswith("systemd refuses to start it: Transaction order is cyclic."), done
    assert "Found ordering cycle on " in done["service:a"], done
    assert done["service:bad.timer"] == "systemd cannot load 'bad.timer': bad-setting; systemd says: Timer unit lacks value setting. Refusing."


def test_two_that_exclude_each_other(box):
    """The first is still starting when the other takes its place."""
    unit(box, "a.service", "[Unit]\nConflicts=b.service\n[Service]\nType=notify\nExecStart=/bin/sleep infinity\n")
    unit(box, "b.service")
    reload(box)
    done = errors(once(box, "[service.a]\nrunning = true\n[service.b]\nrunning = true\n"))
    assert done["service:a"].startswith("it did not start, since systemd was then asked for something else, by somebody or by a unit"
                                        " that it conflicts with (Conflicts=)"), done
    assert done["service:b"] is None
