# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type service: units of a real systemd."""

import threading

import daemon
from box import wait_until
from once import agentd, differences, errors, refused, results

SLEEPS = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def unit(box, name, text=SLEEPS):
    box.write(f"/etc/systemd/system/{name}", text)


def reload(box):
    box.run("systemctl daemon-reload")


def once(box, text, *arguments, timeout=60):
    box.role("role", text)
    return box.agentd_once(*arguments, timeout=timeout)


def one(box, text, *arguments):
    done = once(box, text, *arguments)
    assert len(done.results) == 1, done.stderr
    return done.results[0]


def active(box, name):
    return box.run(["systemctl", "is-active", name], check=False).stdout.strip()


def enabled(box, name):
    return box.run(["systemctl", "is-enabled", name], check=False).stdout.strip()


def agentd_answers(box):
    return box.run("curl -s --unix-socket /run/agentd/agentd.sock http://localhost/v1/status", check=False).returncode == 0


def pid(box, name):
    return int(box.run(["systemctl", "show", "-P", "MainPID", name]).stdout)


# ---- What it is for ---------------------------------------------------------------------------------------------


def test_running_and_enabled(box):
    unit(box, "app.service")
    reload(box)
    text = "[service.app]\nrunning = true\nenabled = true\n"
    done = once(box, text, "--plan")
    assert results(done) == {"service:app": "drifted"}
    assert differences(done, "service:app") == {"running": ("inactive", "active"), "enabled": (False, True)}
    assert active(box, "app") == "inactive" and enabled(box, "app") == "disabled"

    assert one(box, text)["result"] == "changed"
    assert active(box, "app") == "active" and enabled(box, "app") == "enabled"
    assert one(box, text)["result"] == "ok"
    assert one(box, text, "--plan")["result"] == "ok"

    text = "[service.app]\nrunning = false\nenabled = false\n"
    assert one(box, text)["result"] == "changed"
    assert active(box, "app") == "inactive" and enabled(box, "app") == "disabled"
    assert one(box, text)["result"] == "ok"


def test_what_is_not_said_is_left_alone(box):
    unit(box, "app.service")
    reload(box)
    box.run("systemctl enable --now app")
    assert one(box, "[service.app]\n")["result"] == "ok"
    assert one(box, "[service.app]\nrunning = true\n")["result"] == "ok"
    assert one(box, "[service.app]\nenabled = false\n")["result"] == "changed"
    assert active(box, "app") == "active" and enabled(box, "app") == "disabled"


def test_masked(box):
    unit(box, "app.service")
    box.run("mkdir -p /usr/local/lib/systemd/system; mv /etc/systemd/system/app.service /usr/local/lib/systemd/system")
    reload(box)
    assert one(box, "[service.app]\nmasked = true\nrunning = false\n")["result"] == "changed"
    assert enabled(box, "app") == "masked"
    assert one(box, "[service.app]\nmasked = true\n")["result"] == "ok"

    result = one(box, "[service.app]\nrunning = true\n")
    assert result["result"] == "failed"
    assert result["error"] == ("'app.service' is masked, and so cannot be started; with masked = false it will be unmasked")
    result = one(box, "[service.app]\nenabled = true\n")
    assert result["error"] == ("'app.service' is masked, and so cannot be enabled; with masked = false it will be unmasked")
    assert enabled(box, "app") == "masked"

    box.run("rm /etc/systemd/system/app.service && systemctl daemon-reload && systemctl mask --runtime app")
    assert one(box, "[service.app]\nmasked = false\nrunning = true\nenabled = true\n")["result"] == "changed"
    assert active(box, "app") == "active" and enabled(box, "app") == "enabled"


def test_preset(box):
    unit(box, "app.service")
    unit(box, "other.service")
    box.write("/etc/systemd/system-preset/10-site.preset", "disable other.service\nenable app.service\n")
    reload(box)
    box.run("systemctl enable other")
    done = once(box, "[service.app]\npreset = true\n[service.other]\npreset = true\n")
    assert done.summary["changed"] == 2
    assert enabled(box, "app") == "enabled" and enabled(box, "other") == "disabled"


def test_other_kinds_of_units(box):
    unit(box, "a@.service", "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\nDefaultInstance=x\n")
    unit(box, "t.timer", "[Timer]\nOnBootSec=1d\nUnit=a@t.service\n[Install]\nWantedBy=timers.target\n")
    unit(box, "g.target", "[Unit]\nDescription=G\n")
    reload(box)
    text = ('[service."a@one"]\nrunning = true\nenabled = true\n[service."t.timer"]\nrunning = true\nenabled = true\n'
            '[service."g.target"]\nrunning = true\n')
    assert once(box, text).summary["changed"] == 3
    assert once(box, text).summary["ok"] == 3
    assert [active(box, name) for name in ("a@one", "t.timer", "g.target")] == ["active"] * 3
    refused(box, '[service."a@"]\nrunning = true\n',
            "'a@.service' is a template, which cannot run; name an instance like 'a@NAME.service'")


def test_an_alias_is_the_unit_that_it_leads_to(box):
    unit(box, "app.service", SLEEPS + "Alias=also.service\n")
    reload(box)
    assert one(box, "[service.app]\nrunning = true\nenabled = true\n")["result"] == "changed"
    assert one(box, "[service.also]\nrunning = true\nenabled = true\n")["result"] == "ok"


# ---- Unit files -------------------------------------------------------------------------------------------------

APP = ("[service.app]\nrunning = true\n"
       "unit = { Unit = { Description = \"App\" }, Service = { ExecStart = \"/bin/sleep infinity\", Nice = %d,"
       " Environment = [\"A=1\", \"B=2\"] } }\n")


def test_a_unit_of_a_role(box):
    done = once(box, APP % 1)
    assert results(done) == {"service:app": "changed"}, done.results
    assert box.read("/etc/systemd/system/app.service") == (
        "# Made by agentd for service:app; changes are undone.\n\n[Unit]\nDescription=App\n\n"
        "[Service]\nExecStart=/bin/sleep infinity\nNice=1\nEnvironment=A=1\nEnvironment=B=2\n")
    assert active(box, "app") == "active"
    first = pid(box, "app")
    assert one(box, APP % 1)["result"] == "ok"

    done = once(box, APP % 2, "--plan")
    assert "restart" in differences(done, "service:app")
    assert one(box, APP % 2)["result"] == "changed"
    assert pid(box, "app") != first
    assert box.run("systemctl show -P Nice app").stdout.strip() == "2"

    assert one(box, "[service.app]\nensure = \"absent\"\n")["result"] == "changed"
    assert not box.exists("/etc/systemd/system/app.service")
    assert active(box, "app") == "inactive"
    assert one(box, "[service.app]\nensure = \"absent\"\n")["result"] == "ok"


def test_a_restart_that_was_missed_is_made_up_for(box):
    assert one(box, APP % 1)["result"] == "changed"
    first = pid(box, "app")
    # As after a SIGKILL between the file and the restart.
    box.write("/etc/systemd/system/app.service", box.read("/etc/systemd/system/app.service").replace("Nice=1", "Nice=3"))
    done = once(box, APP % 3, "--plan")
    assert differences(done, "service:app") == {"restart": (None, "due")}
    assert one(box, APP % 3)["result"] == "changed"
    assert pid(box, "app") != first
    assert box.run("systemctl show -P Nice app").stdout.strip() == "3"


def test_a_dropin(box):
    unit(box, "app.service")
    reload(box)
    box.run("systemctl start app")
    first = pid(box, "app")
    text = "[service.app]\ndropin = { Service = { ExecStart = [\"\", \"/bin/sleep 1000\"] } }\n"
    assert one(box, text)["result"] == "changed"
    assert box.read("/etc/systemd/system/app.service.d/agentd.conf").endswith("ExecStart=\nExecStart=/bin/sleep 1000\n")
    assert pid(box, "app") != first
    assert one(box, text)["result"] == "ok"
    assert one(box, text.replace("1000", "2000") + "on_change = \"nothing\"\n")["result"] == "changed"
    assert one(box, text.replace("1000", "2000") + "on_change = \"nothing\"\n")["result"] == "ok"


def test_a_diff_is_headed_by_the_path_that_is_written(box):
    text = "[service.app]\nunit = { Service = { ExecStart = \"/bin/sleep infinity\" } }\ndropin = { Service = { Nice = 5 } }\n"
    at = "/etc/systemd/system/app.service"
    made = {d["attribute"]: d["diff"] for d in one(box, text, "--plan", "--diff")["differences"]}
    assert made["unit"].startswith(f"--- /dev/null\n+++ {at}\n@@ "), made
    assert made["dropin"].startswith(f"--- /dev/null\n+++ {at}.d/agentd.conf\n@@ "), made
    assert one(box, text)["result"] == "changed"
    changed = {d["attribute"]: d["diff"] for d in one(box, text.replace("infinity", "1000"), "--plan", "--diff")["differences"]
               if "diff" in d}
    assert changed["unit"].startswith(f"--- {at}\n+++ {at}\n@@ ") and "+ExecStart=/bin/sleep 1000\n" in changed["unit"], changed


def test_what_systemd_does_not_accept_is_not_put_in_place(box):
    done = once(box, "[service.a]\nrunning = true\nunit = { Service = { ExecStart = \"/bin/sleep infinity\", Typo = 1 } }\n"
                     "[service.b]\nrunning = true\nunit = { Service = { ExecStart = \"/bin/nothing\" } }\n"
                     "[service.c]\nrunning = true\nunit = { Service = { ExecStart = \"/bin/sleep infinity\" } }\n")
    assert results(done) == {"service:a": "failed", "service:b": "failed", "service:c": "changed"}
    assert errors(done)["service:a"].startswith("systemd does not accept its files: a.service:5: Unknown key")
    assert "/bin/nothing is not executable" in errors(done)["service:b"]
    assert not box.exists("/etc/systemd/system/a.service") and not box.exists("/etc/systemd/system/b.service")
    assert box.run("ls /run | grep agentd-verify", check=False).stdout == ""


def test_what_a_killed_worker_has_left_is_removed(box):
    box.run("ln -s /etc /run/agentd-verify-4194303-d")
    # Of numbers that no process has; of one that there is; of one that is no directory, and of none.
    for name in ("4194303-a/a.service", "4194303-b/a.service.d/agentd.conf", "1-c/a.service", "x/a.service"):
        box.write(f"/run/agentd-verify-{name}", "[Service]\n")
    assert one(box, "[service.a]\nunit = { Service = { ExecStart = \"/bin/sleep infinity\" } }\n")["result"] == "changed"
    assert box.run("cd /run && echo agentd-verify-*").stdout.split() == ["agentd-verify-1-c", "agentd-verify-4194303-d", "agentd-verify-x"]
    assert box.exists("/etc/passwd")


def test_files_that_somebody_else_has_changed_are_read(box):
    unit(box, "app.service")
    reload(box)
    box.run("systemctl start app; systemctl stop app")
    unit(box, "app.service", "[Service]\nExecStart=/bin/sleep infinity\nNice=7\n")
    assert one(box, "[service.app]\nrunning = true\n")["result"] == "changed"
    assert box.run("systemctl show -P Nice app").stdout.strip() == "7"


def test_a_file_state_comes_first(box):
    done = once(box, "[service.app]\nrunning = true\n[file.\"/etc/systemd/system/app.service\"]\n"
                     "content = \"[Service]\\nExecStart=/bin/sleep infinity\\n\"\n")
    assert results(done) == {"service:app": "changed", "file:/etc/systemd/system/app.service": "changed"}, done.results


def test_two_states_are_not_about_one_unit(box):
    refused(box, "[timer.job]\nevery = \"1h\"\nshell = \"true\"\n[service.\"job.timer\"]\nrunning = true\n",
            "are both about job.timer")
    refused(box, "[service.a]\n[service.\"a.service\"]\n", "are both about a.service")
    refused(box, "[service.a]\nunit = { Service = { ExecStart = \"/bin/true\" } }\n"
                 "[file.\"/etc/systemd/system/a.service\"]\n", "are both about /etc/systemd/system/a.service")


# ---- Of users ---------------------------------------------------------------------------------------------------


def test_units_of_a_user(box):
    box.run("useradd -m ada")
    box.write("/home/ada/.config/systemd/user/app.service", "[Service]\nExecStart=/bin/sleep infinity\n"
                                                           "[Install]\nWantedBy=default.target\n")
    box.run("chown -R ada /home/ada")
    result = one(box, "[service.app]\nuser = \"ada\"\nrunning = true\n")
    assert result["error"] == "'ada' is not logged in, and so nothing runs; with linger = true it does all the same"

    text = "[service.app]\nuser = \"ada\"\nlinger = true\nrunning = true\nenabled = true\n"
    done = once(box, text)
    assert results(done) == {"service:app": "changed"}, done.results
    assert box.exists("/var/lib/systemd/linger/ada")
    assert box.run("ps -u ada -o comm=").stdout.split().count("sleep") == 1
    assert box.run("readlink /home/ada/.config/systemd/user/default.target.wants/app.service").returncode == 0
    assert one(box, text)["result"] == "ok"
    assert one(box, text, "--plan")["result"] == "unknown"

    assert one(box, "[service.app]\nuser = \"ada\"\nrunning = false\nenabled = false\n")["result"] == "changed"
    assert box.run("ps -u ada -o comm=", check=False).stdout.split().count("sleep") == 0
    assert one(box, "[service.app]\nuser = \"ada\"\nlinger = false\n")["result"] == "changed"
    assert not box.exists("/var/lib/systemd/linger/ada")

    assert one(box, "[service.app]\nuser = \"nobody-there\"\nrunning = true\n")["error"] == "there is no user 'nobody-there'"
    refused(box, "[service.app]\nuser = \"ada\"\ndropin = { Service = { Nice = 1 } }\n",
            "'dropin' is for units of the host; those of a user are files of theirs")
    refused(box, "[service.app]\nlinger = true\n", "'linger' is for units of a user")


# ---- What goes wrong --------------------------------------------------------------------------------------------


def test_there_is_no_such_unit(box):
    done = once(box, "[service.gone]\nrunning = true\n[service.off]\nrunning = false\nenabled = false\n")
    assert results(done) == {"service:gone": "failed", "service:off": "ok"}
    assert errors(done)["service:gone"] == "there is no unit 'gone.service'"


def test_one_that_cannot_be_enabled(box):
    unit(box, "app.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    reload(box)
    result = one(box, "[service.app]\nenabled = true\n")
    assert result["error"] == "'app.service' cannot be enabled: it has no [Install], others start it"


def test_one_that_fails_says_why(box):
    unit(box, "bad.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo cannot open the thing >&2; exit 3'\n")
    reload(box)
    result = one(box, "[service.bad]\nrunning = true\n")
    assert result["result"] == "failed"
    assert result["error"] == "it did not start: its process exited with status 3; it said: cannot open the thing"


def test_one_that_never_becomes_active(box):
    unit(box, "never.service", "[Service]\nType=notify\nExecStart=/bin/sleep infinity\n")
    reload(box)
    result = one(box, "[service.never]\nrunning = true\ntimeout = \"4s\"\n")
    assert result["result"] == "failed"
    assert result["error"].startswith("it did not start in time, so the job was cancelled"), result["error"]


def test_one_that_dies_at_once(box):
    unit(box, "dies.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.2; echo I die; exit 4'\n")
    reload(box)
    result = one(box, "[service.dies]\nrunning = true\nhealthy_after = \"2s\"\n")
    assert result["error"] == "it started, but did not stay active: its process exited with status 4; it said: I die"


def test_what_systemd_restarts_itself_is_not_disturbed(box):
    unit(box, "loops.service", "[Unit]\nStartLimitIntervalSec=0\n"
                               "[Service]\nExecStart=/bin/sh -c 'exit 5'\nRestart=always\nRestartSec=100ms\n")
    reload(box)
    result = one(box, "[service.loops]\nrunning = true\nhealthy_after = \"1s\"\ntimeout = \"8s\"\n")
    assert result["result"] == "failed"
    assert "exited with status 5" in result["error"], result["error"]


def test_conditions_that_do_not_hold(box):
    unit(box, "app.service", "[Unit]\nConditionPathExists=/nowhere\n" + SLEEPS)
    reload(box)
    result = one(box, "[service.app]\nrunning = true\n")
    assert result["error"].startswith("it did not become active")
    assert "was skipped because of an unmet condition check (ConditionPathExists=/nowhere)." in result["error"]


def test_the_start_limit(box):
    unit(box, "dies.service", "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=1\n[Service]\nExecStart=/bin/false\n")
    reload(box)
    box.run("systemctl start dies", check=False)
    wait_until(lambda: active(box, "dies") == "failed", 30, "dies.service fails")
    result = one(box, "[service.dies]\nrunning = true\n")
    assert result["result"] == "failed" and "systemd says: Start request repeated too quickly." in result["error"], result["error"]


def test_a_dependency_that_fails(box):
    unit(box, "bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    unit(box, "app.service", "[Unit]\nRequires=bad.service\nAfter=bad.service\n" + SLEEPS)
    reload(box)
    result = one(box, "[service.app]\nrunning = true\n")
    assert result["error"] == "it did not start, since 'bad.service', which it requires, failed: its process exited with status 1"


def test_a_syntax_error_in_a_unit(box):
    unit(box, "app.service", "[Service]\nExecStart=\"/bin/sleep infinity\n")
    reload(box)
    result = one(box, "[service.app]\nrunning = true\n")
    assert result["error"].startswith("systemd cannot load 'app.service': "), result["error"]


def test_a_unit_file_removed_under_a_running_service(box):
    unit(box, "app.service")
    reload(box)
    box.run("systemctl start app && rm /etc/systemd/system/app.service && systemctl daemon-reload")
    assert one(box, "[service.app]\nrunning = true\n")["result"] == "ok"
    box.run("systemctl stop app")
    assert one(box, "[service.app]\nrunning = true\n")["error"] == "there is no unit 'app.service'"


def test_of_200_units_3_fail(box):
    names = [f"u{i}" for i in range(200)]
    bad = {"u17", "u80", "u199"}
    for name in names:
        unit(box, f"{name}.service", SLEEPS if name not in bad else "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\n"
                                                                    "WantedBy=multi-user.target\n")
    reload(box)
    text = "".join(f"[service.{name}]\nrunning = true\nenabled = true\n" for name in names)
    done = once(box, text)
    assert {state.partition(":")[2] for state, result in results(done).items() if result == "failed"} == bad
    assert done.summary["changed"] == 197
    done = once(box, text, "--plan")
    assert done.summary["ok"] == 197 and done.summary["drifted"] == 3


def test_impossible_wishes(box):
    refused(box, "[service.a]\nrunning = true\nmasked = true\n", "what is masked cannot be running")
    refused(box, "[service.a]\nenabled = true\npreset = true\n", "both 'enabled' and 'preset' are given")
    refused(box, "[service.a]\nhealthy_after = \"2s\"\n", "'healthy_after' is for what is to be running")
    refused(box, "[service.\"a/b\"]\n", "'a/b' is no name of a unit")
    refused(box, "[service.a]\nensure = \"absent\"\nrunning = true\n", "'running' makes no sense for what is to be absent")
    refused(box, "[service.a]\nunit = { Service = { ExecStart = \"a\\nb\" } }\n", "has a line end or NUL in it")
    refused(box, "[service.a]\nunit = { Service = 1 }\n", "'Service' must be a section")
    refused(box, "[service.a]\ndropin = { Service = { Nice = 1 } }\ndropin_name = \"x\"\n", "'x' is no name of a drop-in")


# ---- With the daemon --------------------------------------------------------------------------------------------


def test_the_bus_is_restarted_in_the_middle(box):
    unit(box, "slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo begun; sleep 3'\n")
    reload(box)
    box.role("role", "[service.slow]\nrunning = true\n")
    cursor = box.cursor()
    done = []
    thread = threading.Thread(target=lambda: done.append(box.agentd_once(timeout=60)))
    thread.start()
    box.wait_journal("_SYSTEMD_UNIT=slow.service", where=lambda e: e["MESSAGE"] == "begun", after=cursor)
    box.run("systemctl restart dbus")
    thread.join(60)
    assert results(done[0]) == {"service:slow": "changed"}, done[0].results


def test_pid_1_executes_itself_anew_in_the_middle(box):
    unit(box, "slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo begun; sleep 3'\n")
    reload(box)
    box.role("role", "[service.slow]\nrunning = true\n")
    cursor = box.cursor()
    done = []
    thread = threading.Thread(target=lambda: done.append(box.agentd_once(timeout=60)))
    thread.start()
    box.wait_journal("_SYSTEMD_UNIT=slow.service", where=lambda e: e["MESSAGE"] == "begun", after=cursor)
    box.run("systemctl daemon-reexec")
    thread.join(60)
    assert results(done[0]) == {"service:slow": "changed"}, done[0].results


def test_a_service_whose_start_restarts_agentd(box):
    unit(box, "mean.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/systemctl restart agentd\n")
    reload(box)
    box.role("role", "[service.mean]\nrunning = true\n[file.\"/etc/other\"]\ncontent = \"x\\n\"\n")
    daemon.start(box)
    wait_until(lambda: active(box, "mean") == "active", 60, "mean.service is active")
    wait_until(lambda: agentd_answers(box), 60, "agentd answers")
    daemon.wait_idle(box)
    wait_until(lambda: daemon.state(box, "service:mean")["result"] == "ok", 60, "service:mean is ok")
    assert daemon.state(box, "file:/etc/other")["result"] in ("ok", "changed")


# ---- Below --root -----------------------------------------------------------------------------------------------


def test_below_a_root_units_are_enabled_by_links(box):
    box.run("mkdir -p /srv/root/etc/systemd/system /srv/root/usr/lib/systemd/system")
    box.write("/srv/root/usr/lib/systemd/system/app.service", SLEEPS)
    box.write("/srv/root/usr/lib/systemd/system/old.service", SLEEPS)
    box.write("/srv/conf/role.toml", "[service.app]\nrunning = true\nenabled = true\n[service.old]\nmasked = true\n")
    for expected in "changed", "ok":
        done = agentd(box, "--once", "--root", "/srv/root", "--conf-dir", "/srv/conf", "--json")
        assert done.stdout.count(f'"result":"{expected}"') == 2, done.stdout + done.stderr
    assert box.run("readlink /srv/root/etc/systemd/system/multi-user.target.wants/app.service").stdout.endswith(
        "/usr/lib/systemd/system/app.service\n")
    assert box.run("readlink /srv/root/etc/systemd/system/old.service").stdout == "/dev/null\n"
    assert active(box, "app") == "inactive"
