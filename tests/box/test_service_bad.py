# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type service: what goes wrong, and what is in between."""

import pytest

import daemon
from box import wait_until
from once import agentd, errors, refused, results
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


def test_other_kinds_of_units_that_cannot_be_started(box):
    unit(box, "no.target", "[Unit]\nRefuseManualStart=yes\n")
    unit(box, "picky.service", "[Unit]\nAssertPathExists=/nowhere\n" + SLEEPS)
    reload(box)
    done = once(box, "".join(f"[service.\"{name}\"]\nrunning = true\n" for name in ("no.target", "picky", "sys-no.device")))
    assert errors(done)["service:no.target"].startswith("systemd refuses to start it: Operation refused, unit no.target")
    assert errors(done)["service:picky"].startswith("it did not start, since what it asserts (Assert…=) does not hold")
    assert errors(done)["service:sys-no.device"] == "it did not start, since systemd does not have units of this kind here"


def test_other_kinds_of_units(box):
    unit(box, "app.service")
    unit(box, "app.socket", "[Socket]\nListenStream=/run/app.sock\n[Install]\nWantedBy=sockets.target\n")
    unit(box, "srv-data.mount", "[Mount]\nWhat=tmpfs\nWhere=/srv/data\nType=tmpfs\n[Install]\nWantedBy=multi-user.target\n")
    unit(box, "p.path", "[Path]\nPathExists=/nowhere\nUnit=app.service\n[Install]\nWantedBy=paths.target\n")
    reload(box)
    names = ("app.socket", "srv-data.mount", "p.path")
    text = "".join(f"[service.\"{name}\"]\nrunning = true\nenabled = true\n" for name in names)
    assert once(box, text).summary["changed"] == 3
    assert [active(box, name) for name in names] == ["active"] * 3
    assert once(box, text).summary["ok"] == 3
    text = text.replace("true", "false")
    assert once(box, text).summary["changed"] == 3
    assert once(box, text).summary["ok"] == 3


# ---- Many -------------------------------------------------------------------------------------------------------


def test_each_is_told_when_it_is_over(box):
    """Together they take longer than the timeout of one, which begins anew whenever one is finished."""
    for i in range(5):
        unit(box, f"s{i}.service", f"[Unit]\nAfter=s{i - 1}.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
                                   "ExecStart=/bin/sleep 3\n")
    reload(box)
    done = once(box, "".join(f"[service.s{i}]\nrunning = true\ntimeout = \"10s\"\n" for i in range(5)))
    assert results(done) == {f"service:s{i}": "changed" for i in range(5)}, errors(done)


def test_those_that_hang_do_not_keep_others_from_beginning(box):
    unit(box, "hangs@.service", "[Service]\nType=notify\nExecStart=/bin/sleep infinity\n")
    unit(box, "app.service")
    reload(box)
    text = "".join(f"[service.\"hangs@{i}\"]\nrunning = true\ntimeout = \"8s\"\n" for i in range(70))
    done = once(box, text + "[service.app]\nrunning = true\ntimeout = \"8s\"\n")
    assert results(done)["service:app"] == "changed", errors(done)["service:app"]
    assert sum(result == "failed" for result in results(done).values()) == 70


# ---- When other states have changed ------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["restart_on", "reload_on"])
def test_what_a_unit_listens_to_has_changed(box, word):
    unit(box, "app.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    unit(box, "off.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    reload(box)
    text = (f"[file.\"/etc/app.conf\"]\ncontent = \"%s\"\n[service.app]\nrunning = true\n{word} = [\"file:/etc/app.conf\"]\n"
            f"[service.off]\n{word} = [\"file:/etc/app.conf\"]\n")
    assert once(box, text % "x").summary["failed"] == 0
    first = pid(box, "app")
    assert once(box, text % "x").summary["ok"] == 3
    assert pid(box, "app") == first
    # What cannot be reloaded is restarted; what does not run, and is not to, is left alone.
    done = once(box, text % "y")
    assert results(done)["service:app"] == "changed" and done.summary["failed"] == 0, errors(done)
    second = pid(box, "app")
    assert second != first and active(box, "off") == "inactive"
    assert once(box, text % "y").summary["ok"] == 3
    assert pid(box, "app") == second


@pytest.mark.parametrize("by_listening", [False, True])
def test_a_repaired_unit_is_started_over_its_start_limit(box, by_listening):
    """Its file, or its configuration, has changed: what it failed by may be gone."""
    box.write("/usr/local/bin/app", "#!/bin/sh\ntest -e /etc/app.conf && exec sleep infinity\n", mode=0o755)
    unit(box, "app.service", "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n"
                             "[Service]\nExecStart=/usr/local/bin/app\nRestart=always\nRestartSec=10ms\n")
    reload(box)
    box.run("systemctl start app", check=False)
    wait_until(lambda: active(box, "app") == "failed", 30, "app.service fails")
    if by_listening:
        text = ("[service.app]\nrunning = true\nrestart_on = [\"file:/etc/app.conf\"]\n"
                "[file.\"/etc/app.conf\"]\ncontent = \"\"\n")
    else:
        text = "[service.app]\nrunning = true\ndropin = { Service = { ExecStart = [\"\", \"/bin/sleep infinity\"] } }\n"
    done = once(box, text)
    assert results(done)["service:app"] == "changed", errors(done)
    assert active(box, "app") == "active"


def test_a_listener_is_restarted_with_the_files_that_others_wrote_for_it(box):
    """Of a drop-in that is a state of its own systemd does not know yet."""
    unit(box, "app.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    box.run("systemctl daemon-reload; systemctl start app")
    path = "/etc/systemd/system/app.service.d/site.conf"
    text = (f"[file.\"{path}\"]\ncontent = \"[Service]\\nEnvironment=A=1\\n\"\nparents = {{ create = true }}\n"
            f"[service.app]\nrestart_on = [\"file:{path}\"]\n")
    first = pid(box, "app")
    assert once(box, text).summary["changed"] == 2
    assert pid(box, "app") != first and show(box, "app", "Environment") == "A=1"
    assert show(box, "app", "NeedDaemonReload") == "no"


def test_a_mount_that_was_added_to_fstab_is_known(box):
    """systemd does not say of it that it has to be read."""
    text = ("[file.\"/etc/fstab\"]\ncontent = \"tmpfs /srv/new tmpfs size=1m 0 0\\n\"\n"
            "[service.\"srv-new.mount\"]\nrunning = true\nrequires = [\"file:/etc/fstab\"]\n")
    done = once(box, text)
    assert done.summary["changed"] == 2, errors(done)
    assert active(box, "srv-new.mount") == "active"
    assert once(box, text).summary["ok"] == 2
    # What has nothing to do with that is not there, as before.
    assert one(box, "[service.\"srv-other.mount\"]\nrunning = true\n")["error"] == "there is no unit 'srv-other.mount'"


def test_a_socket_whose_service_runs_is_left_as_it_is(box):
    text = ("[service.\"app.socket\"]\nrunning = true\nunit = { Socket = { ListenStream = \"/run/app.%d\" } }\n"
            "[service.app]\nrunning = true\nunit = { %sService = { ExecStart = \"/bin/sleep infinity\" } }\n")
    assert once(box, text % (1, "")).summary["changed"] == 2
    first = pid(box, "app")
    done = once(box, text % (2, ""))
    assert errors(done)["service:app.socket"] == (
        "it cannot be restarted while 'app.service' runs, as systemd does not start a socket then: stop that first, or have it"
        " restarted with the socket, by Requires=app.socket in its unit file")
    assert active(box, "app.socket") == "active" and pid(box, "app") == first
    done = once(box, text % (3, "Unit = { Requires = \"app.socket\" }, "))
    assert done.summary["changed"] == 2, errors(done)
    assert pid(box, "app") != first and "/run/app.3" in show(box, "app.socket", "Listen")
    assert once(box, text % (4, "Unit = { Requires = \"app.socket\" }, ")).summary["failed"] == 0
    assert "/run/app.4" in show(box, "app.socket", "Listen") and active(box, "app") == "active"


# ---- The end of the host ----------------------------------------------------------------------------------------


def test_nothing_is_started_while_the_host_goes_down(box):
    """What had to come after what was just being started is left to the next boot."""
    unit(box, "slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo begun; sleep infinity'\n")
    unit(box, "later.service")
    unit(box, "app.service")
    reload(box)
    box.role("role", "[service.app]\nrunning = true\n[service.slow]\nrunning = true\n"
                     "[service.later]\nrunning = true\nrequires = [\"file:/etc/later.conf\"]\n"
                     "[file.\"/etc/later.conf\"]\ncontent = \"\"\nrequires = [\"service:slow\"]\n")
    daemon.start(box)
    box.wait_journal("_SYSTEMD_UNIT=slow.service", where=lambda e: e["MESSAGE"] == "begun", timeout=30)
    box.poweroff(timeout=60)
    unit(box, "slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")
    box.start()
    said = box.run("journalctl -b -1 -o cat UNIT=later.service + UNIT=app.service").stdout
    assert "later.service" not in said and said.count("Started app.service") == 1, said
    assert not box.exists("/etc/later.conf")

    daemon.start(box)
    daemon.wait_idle(box, timeout=60)
    assert set(daemon.states(box).values()) <= {"ok", "changed"}, daemon.states(box)
    assert active(box, "later") == "active"


# ---- Enablement -------------------------------------------------------------------------------------------------


def test_a_masked_unit_follows_its_preset(box):
    unit(box, "app.service")
    box.run("mkdir -p /usr/local/lib/systemd/system; mv /etc/systemd/system/app.service /usr/local/lib/systemd/system")
    box.write("/etc/systemd/system-preset/10-site.preset", "enable app.service\n")
    reload(box)
    box.run("systemctl mask app")
    result = one(box, "[service.app]\nmasked = false\npreset = true\n")
    assert result["result"] == "changed", result
    assert enabled(box, "app") == "enabled"


@pytest.mark.parametrize("below", [False, True])
def test_a_preset_that_names_instances_of_a_template(box, below):
    top = "/srv/root" if below else ""
    box.write(f"{top}/usr/lib/systemd/system/app@.service", SLEEPS)
    box.write(f"{top}/etc/systemd/system-preset/10-site.preset", "enable app@.service one two\n")
    text = "[service.\"app@\"]\npreset = true\n"
    box.write("/srv/conf/role.toml", text)
    for result in "changed", "ok":
        if below:
            done = agentd(box, "--once", "--root", top, "--conf-dir", "/srv/conf", "--json")
            assert f'"result":"{result}"' in done.stdout, done
        else:
            assert one(box, text)["result"] == result
    for name in "one", "two":
        assert box.exists(f"{top}/etc/systemd/system/multi-user.target.wants/app@{name}.service")


def test_what_a_generator_has_made_cannot_be_enabled(box):
    box.write("/etc/systemd/system-generators/gen", "#!/bin/sh\nprintf '[Service]\\nExecStart=/bin/sleep infinity\\n' >$1/app.service\n",
              mode=0o755)
    reload(box)
    result = one(box, "[service.app]\nenabled = true\n")
    assert result["error"] == "'app.service' cannot be enabled: a generator of systemd has made it, which decides that"
    assert one(box, "[service.app]\nrunning = true\n")["result"] == "changed"


def test_one_that_only_enables_others(box):
    unit(box, "app.service", "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nAlso=other.service\n")
    unit(box, "other.service")
    reload(box)
    result = one(box, "[service.app]\nenabled = true\n")
    assert result["error"] == "'app.service' cannot be enabled: its [Install] names only other units (Also=); say these"


def test_what_another_names_in_also_stays_enabled(box):
    unit(box, "app.service", SLEEPS + "Also=app.socket\n")
    unit(box, "app.socket", "[Socket]\nListenStream=/run/app.sock\n[Install]\nWantedBy=sockets.target\n")
    box.run("systemctl daemon-reload; systemctl enable app")
    text = "[service.app]\nenabled = false\n[service.\"app.socket\"]\nenabled = true\nrunning = true\n"
    done = once(box, text)
    assert done.summary["changed"] == 2, errors(done)
    assert enabled(box, "app") == "disabled" and enabled(box, "app.socket") == "enabled"
    assert once(box, text).summary["ok"] == 2


# ---- Files ------------------------------------------------------------------------------------------------------


def test_bad_values_of_settings(box):
    def bad(value, message):
        refused(box, f"[service.a]\nunit = {{ Service = {{ ExecStart = {value} }} }}\n", message)

    bad('"a\\rb"', "ExecStart= in [Service] has a line end or NUL in it")
    bad('"a\\u0000b"', "ExecStart= in [Service] has a line end or NUL in it")
    bad('"a\\\\"', "ExecStart= in [Service] ends in a backslash, which would swallow the next line")
    refused(box, '[timer.a]\nevery = "1h"\nshell = "true"\ndescription = "a\\\\"\n', "'description' ends in a backslash")
    refused(box, '[timer.a]\nevery = "1h"\nshell = "a\\u0000b"\n', "'shell' has a NUL in it")
    refused(box, '[timer.a]\nevery = "1h"\nexec = ["/bin/a\\u0000b"]\n', "'exec' has a NUL in it")
    refused(box, '[timer.a]\nevery = "1h"\nshell = "true"\nenvironment = { A = "a\\u0000b" }\n', "the variable 'A' has a NUL in it")
    refused(box, '[timer.a]\nevery = 0\nshell = "true"\n', "'every' must be more than 0")
    refused(box, '[timer.a]\ncalendar = []\nshell = "true"\n', "timer:a needs 'calendar', 'every' or 'on_boot'")
    refused(box, '[quadlet."a.container"]\nensure = "absent"\nrunning = true\n', "'running' makes no sense for what is to be absent")


@pytest.mark.parametrize("template", ["app@", "app@.service"])
def test_an_instance_of_a_template_of_the_role(box, template):
    done = once(box, f"[service.\"app@1\"]\nrunning = true\n[service.\"{template}\"]\nunit = {{ Service = {{ ExecStart = \"/bin/sleep infinity\" }} }}\n")
    assert done.summary["changed"] == 2, errors(done)
    assert active(box, "app@1") == "active"


def test_a_user_unit_comes_after_its_file(box):
    box.run("useradd -m ada; loginctl enable-linger ada")
    done = once(box, "[service.app]\nuser = \"ada\"\nlinger = true\nenabled = true\n[file.\"/etc/systemd/user/app.service\"]\n"
                     "content = \"[Install]\\nWantedBy=default.target\\n[Service]\\nExecStart=/bin/true\\n\"\n")
    assert done.summary["changed"] == 2, errors(done)


def test_a_file_that_two_states_are_about(box):
    parts = ["[file.\"/etc/systemd/system/a.timer\"]\ncontent = \"\"\n", "[timer.a]\nevery = \"1h\"\nshell = \"true\"\n"]
    for order in parts, reversed(parts):
        refused(box, "".join(order), "are both about /etc/systemd/system/a.timer")
    refused(box, "[quadlet.\"a.container\"]\nunit = { Container = { Image = \"x\" } }\n[service.a]\n", "are both about a.service")
    refused(box, "[file.\"/etc/systemd/system/a.timer/x\"]\ncontent = \"\"\n" + parts[1], "a.timer")


def test_numbers_in_settings(box):
    text = ("[service.app]\nunit = { Service = { ExecStart = \"/bin/sleep infinity\", TimeoutStopSec = 12345678.5, CPUWeight = 100,"
            " RestartSec = 0.125, SyslogIdentifier = \"a\\\\\\\\\" } }\n")
    assert one(box, text)["result"] == "changed"
    assert box.read("/etc/systemd/system/app.service").splitlines()[3:] == [
        "ExecStart=/bin/sleep infinity", "TimeoutStopSec=12345678.5", "CPUWeight=100", "RestartSec=0.125", "SyslogIdentifier=a\\\\"]


def test_a_slice_with_a_dropin_is_not_restarted(box):
    unit(box, "apps.slice", "[Slice]\n")
    unit(box, "app.service", "[Service]\nSlice=apps.slice\nExecStart=/bin/sleep infinity\n")
    reload(box)
    box.run("systemctl start app")
    first = pid(box, "app")
    text = "[service.\"apps.slice\"]\ndropin = { Slice = { TasksMax = 123 } }\n"
    assert one(box, text)["result"] == "changed"
    assert pid(box, "app") == first and show(box, "apps.slice", "TasksMax") == "123"
    assert one(box, text)["result"] == "ok"


def test_a_file_from_the_future_is_no_reason_to_restart_for_ever(box):
    text = "[service.app]\nrunning = true\nunit = { Service = { ExecStart = \"/bin/sleep infinity\" } }\n"
    assert one(box, text)["result"] == "changed"
    box.run("touch -d '+1 year' /etc/systemd/system/app.service && systemctl daemon-reload")
    assert one(box, text)["result"] == "ok"


def test_of_many_new_units_those_that_are_bad_are_told(box):
    bad = {"u3", "u30"}
    text = "".join(f"[service.{name}]\nunit = {{ Service = {{ ExecStart = \"/bin/sleep 1\"{', Typo = 1' if name in bad else ''} }} }}\n"
                   for name in (f"u{i}" for i in range(40)))
    done = once(box, text)
    assert {state.partition(":")[2] for state, result in results(done).items() if result == "failed"} == bad
    assert errors(done)["service:u3"].startswith("systemd does not accept its files: u3.service:5: Unknown key")


def test_a_sensitive_unit(box):
    text = "[service.app]\nsensitive = true\nunit = { Service = { ExecStart = \"/bin/sleep infinity\", Environment = \"A=hush%s\"%s } }\n"
    assert one(box, text % ("", ""))["result"] == "changed"
    cursor = box.cursor()
    done = once(box, text % ("hush", ", hush = 1"), "--diff")
    assert results(done) == {"service:app": "failed"}
    assert "hush" not in str(done.results) + done.stderr
    assert "hush" not in box.run(["journalctl", f"--after-cursor={cursor}"]).stdout


def test_absent_leaves_a_mask_and_forgets_a_failure(box):
    unit(box, "app.service", "[Service]\nExecStart=/bin/false\n")
    box.run("mkdir -p /usr/local/lib/systemd/system; mv /etc/systemd/system/app.service /usr/local/lib/systemd/system")
    box.run("systemctl daemon-reload; systemctl mask app")
    assert one(box, "[service.app]\nensure = \"absent\"\n")["result"] == "ok"
    assert enabled(box, "app") == "masked"

    unit(box, "bad.service", "[Service]\nExecStart=/bin/false\n")
    reload(box)
    box.run("systemctl start bad", check=False)
    wait_until(lambda: active(box, "bad") == "failed", 30, "bad.service fails")
    assert one(box, "[service.bad]\nensure = \"absent\"\n")["result"] == "changed"
    assert active(box, "bad") == "inactive"
    assert one(box, "[service.bad]\nensure = \"absent\"\n")["result"] == "ok"


def test_without_a_bus_nothing_is_written_half(box):
    box.run("systemctl stop dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket")
    result = one(box, "[service.app]\nrunning = true\nunit = { Service = { ExecStart = \"/bin/sleep infinity\" } }\n")
    assert result["error"] == ("systemd cannot be asked about 'app.service': there is no connection to systemd"
                               " (No such file or directory)")
    assert not box.exists("/etc/systemd/system/app.service")


# ---- Of users ---------------------------------------------------------------------------------------------------


def test_what_a_unit_of_a_user_has_said(box):
    unit(box, "app.service", "[Service]\nExecStart=/bin/echo of the host\n")
    reload(box)
    box.run("useradd -m ada")
    box.write("/etc/systemd/user/app.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo of ada; sleep 1; exit 3'\n")
    box.run("systemctl start app")
    result = one(box, "[service.app]\nuser = \"ada\"\nlinger = true\nrunning = true\n")
    # Of a process that is gone by the time that the journal looks, it does not know the unit.
    begin = "it did not start: its process exited with status 3"
    assert result["error"] in (begin + "; it said: of ada", begin)


def test_a_user_who_is_not_logged_in(box):
    box.run("useradd -m ada")
    uid = int(box.run("id -u ada").stdout)
    box.write("/etc/systemd/user/app.service", SLEEPS)
    result = one(box, "[service.app]\nuser = \"ada\"\nenabled = true\n")
    assert result["error"] == ("'ada' is not logged in, and so nothing can be enabled; with linger = true it can all the same")
    assert one(box, "[service.app]\nuser = \"ada\"\nenabled = true\nlinger = true\n")["result"] == "changed"
    assert one(box, "[service.app]\nuser = \"ada\"\nlinger = false\n")["result"] == "changed"
    # With all that is hers: her directory goes last.
    wait_until(lambda: not box.exists(f"/run/user/{uid}") and active(box, f"user-runtime-dir@{uid}") == "inactive", 30,
               "ada's systemd is gone")
    # A socket of somebody else in the user's directory is not the systemd of the user.
    box.run(f"mkdir -p /run/user/{uid}/systemd; ln -s /run/systemd/private /run/user/{uid}/systemd/private; chown -hR ada /run/user/{uid}")
    unit(box, "app.service")
    box.run("systemctl daemon-reload; systemctl start app")
    result = one(box, "[service.app]\nuser = \"ada\"\nrunning = false\n")
    assert result["error"].endswith("there is no connection to systemd (Operation not permitted)"), result
    assert active(box, "app") == "active"


def test_below_a_root_there_is_no_systemd_of_users(box):
    box.run("useradd -m ada; mkdir -p /srv/root/etc /srv/conf")
    box.write("/srv/conf/role.toml", "[service.app]\nuser = \"ada\"\nlinger = true\n")
    done = agentd(box, "--once", "--root", "/srv/root", "--conf-dir", "/srv/conf", "--json")
    assert "'user' is for the host itself: below --root nobody is logged in" in done.stdout, done.stdout + done.stderr
