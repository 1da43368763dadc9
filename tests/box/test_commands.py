# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that modules run in apply: as transient units, and as children where no systemd runs."""

import collections

import daemon
import hostile
import pytest
from box import PATIENCE, wait_until
from daemon import apply, last_event, start, wait_event, wait_idle

Outcome = collections.namedtuple("Outcome", "end code output errors fields")


def role(settings):
    return hostile.states("runner", settings)


def outcome(box, path="/tmp/x"):
    """What a state of the type `runner` wrote down."""
    data = box.run(["base64", "-w0", path]).stdout
    import base64
    head, _, rest = base64.b64decode(data).partition(b"\n\n")
    fields = dict(line.split("=", 1) for line in head.decode().splitlines())
    output, _, errors = rest.partition(b"\n--\n")
    return Outcome(fields.get("end"), int(fields.get("code", 0)), output, errors, fields)


def once(box, *arguments, **settings):
    """agentd --once with one state; its outcome."""
    box.run("rm -f /tmp/x")
    result = hostile.once(box, role({"/tmp/x": settings}), *arguments)
    assert result.returncode == 0, result.stderr + str(result.results)
    return outcome(box)


def shell(text, *arguments):
    return ["/bin/sh", "-c", text, *arguments]


def units(box):
    return [line.split()[0] for line in box.run(
        "systemctl list-units --all --plain --no-legend 'agentd-command-*'").stdout.splitlines()]


def wait_no_units(box):
    wait_until(lambda: not units(box), PATIENCE, "no command is left")


def with_daemon(box, settings):
    """The daemon with the modules; its role is applied at once."""
    box.write("/etc/agentd/conf.d/test.toml", role(settings))
    start(box, module_dir=True)


# ---- What comes of it ----------------------------------------------------------------------------------------------


def test_output_errors_and_status_are_what_the_program_gave(box):
    done = once(box, argv=shell("echo out; echo err >&2; exit 3"))
    assert (done.end, done.code, done.output, done.errors) == ("exited", 3, b"out\n", b"err\n")
    assert done.fields["explanation"] == "it exited with status 3: err"
    assert int(done.fields["status"]) == 3 << 8
    assert int(done.fields["cpu"]) < 60_000_000 and int(done.fields["memory"]) > 0
    wait_no_units(box)


def test_arguments_are_passed_on_as_they_are(box):
    arguments = ["$HOME", "${HOME}", "$", "$$", "a$b$", "%h", "\\n", "a b", "", ";", "*"]
    done = once(box, argv=["/usr/bin/printf", "%s\n", *arguments])
    assert done.output.decode() == "".join(f"{argument}\n" for argument in arguments), done


@pytest.mark.parametrize("status", [0, 1, 77, 200, 203, 243, 255])
def test_every_status_is_told(box, status):
    # Something is written, and time passes: what systemd itself says with 203 is told apart.
    done = once(box, argv=shell(f"echo; sleep 0.1; exit {status}"))
    assert (done.end, done.code) == ("exited", status)


@pytest.mark.parametrize("status", [200, 203, 204, 217, 243])
def test_a_status_of_systemd_that_a_short_program_has_is_its_own(box, status):
    # Without a word, and at once: often it has ended before systemd counts it as started.
    box.write("/tmp/short.c", f"int main(void) {{ return {status}; }}\n")
    program = ["/tmp/short"]
    if box.run(["sh", "-c", "command -v cc"], check=False).returncode != 0 or \
            box.run(["cc", "-o", "/tmp/short", "/tmp/short.c"], check=False).returncode != 0:
        program = shell(f"exit {status}")
    for _ in range(8):
        done = once(box, argv=program, directory="/srv", user="root")
        assert (done.end, done.code, int(done.fields["status"])) == ("exited", status, status << 8), done


def test_a_signal_is_told(box):
    done = once(box, argv=shell("kill -SEGV $$"))
    assert (done.end, done.code, done.fields["explanation"]) == ("killed", 11, "it was killed by SIGSEGV")


def test_a_program_that_fails_does_not_make_the_host_degraded(box):
    once(box, argv=shell("exit 3"))
    assert "agentd-command" not in box.run("systemctl --failed --plain --no-legend").stdout


@pytest.mark.parametrize("argv, explanation", [
    (["/usr/bin/nope"], "'/usr/bin/nope' could not be executed: No such file or directory"),
    (["/etc"], "'/etc' could not be executed: it is a directory"),
    (["/etc/passwd"], "'/etc/passwd' could not be executed: it is not a program"),
    (["/usr/local/script"], "'/usr/local/script' could not be executed: its interpreter '/usr/bin/nope': "
                            "No such file or directory"),
])
def test_what_cannot_be_executed_is_told_with_its_reason(box, argv, explanation):
    box.write("/usr/local/script", "#! /usr/bin/nope -x\n", mode=0o755)
    done = once(box, argv=argv)
    assert (done.end, done.fields["explanation"]) == ("not-run", explanation)
    wait_no_units(box)


def test_a_user_who_does_not_exist_is_told(box):
    done = once(box, argv=["/usr/bin/id"], user="nobody-knows")
    assert (done.end, done.fields["explanation"]) == (
        "not-run", "'/usr/bin/id' could not be executed: there is no user 'nobody-knows'")


def test_user_group_directory_umask_environment_and_input_are_as_asked_for(box):
    done = once(box, argv=shell("id -un; id -gn; pwd; umask; echo $A $B; cat"), user="daemon", group="mail",
                directory="/tmp", umask="0077", environment=["A=one", "B=$HOME two"], input="words\n")
    assert done.output.decode().splitlines() == ["daemon", "mail", "/tmp", "0077", "one $HOME two", "words"]


def test_the_environment_is_small(box):
    done = once(box, argv=["/usr/bin/env"])
    names = {line.split("=")[0] for line in done.output.decode().splitlines()}
    assert {"PATH", "LANG"} <= names
    assert not names & {"NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"}


def test_only_the_standard_descriptors_are_open(box):
    done = once(box, argv=["/bin/ls", "/proc/self/fd"])
    assert done.output.split() == [b"0", b"1", b"2", b"3"]  # 3 is the directory


def test_arguments_mean_nothing_to_systemd(box):
    arguments = ["$HOME", "${PATH}", "%n %%", "a;b", "line\nline", "'\"\\", "", "ä€"]
    done = once(box, argv=["/usr/bin/printf", "[%s]", *arguments])
    assert done.output.decode() == "".join(f"[{a}]" for a in arguments)


def test_binary_output_is_kept_as_it_is(box):
    done = once(box, argv=shell(r"printf '\000\377\001x\n'; printf '\200\000' >&2"))
    assert done.output == b"\0\xff\x01x\n" and done.errors == b"\x80\0"


def test_no_output_is_no_trouble(box):
    done = once(box, argv=["/bin/true"])
    assert (done.end, done.code, done.output, done.errors) == ("exited", 0, b"", b"")


def test_of_very_much_output_the_start_is_kept_and_nothing_waits(box):
    done = once(box, argv=shell("head -c 100000000 /dev/zero | tr '\\0' 'x'; echo end >&2"), output_max=100000)
    assert (done.end, done.code) == ("exited", 0)
    assert done.fields["output_size"] == "100000" and done.fields["truncated"] == "1"
    assert done.errors == b"end\n"


def test_output_of_more_than_a_message_is_whole(box):
    done = once(box, argv=shell("seq 1 100000; seq 1 20000 >&2"))
    assert done.fields["output_size"] == "588895" and done.fields["errors_size"] == "108894"
    assert done.fields["truncated"] == "0"


def test_output_can_go_to_a_file(box):
    done = once(box, argv=["/bin/echo", "hello"], to_file="/tmp/y")
    assert done.output == b"" and box.read("/tmp/y") == "hello\n"


def test_a_program_that_takes_too_long_is_killed_however_it_resists(box):
    done = once(box, argv=shell("trap '' TERM; echo begun; while :; do sleep 1; done"), deadline="5s")
    assert (done.end, done.output) == ("timed-out", b"begun\n")
    assert done.fields["explanation"] == "it did not end within 5s and was killed"
    wait_no_units(box)


def test_what_a_program_leaves_behind_is_killed_with_it(box):
    done = once(box, argv=shell("setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & echo $!"))
    assert (done.end, done.code) == ("exited", 0)
    assert not box.exists(f"/proc/{int(done.output)}")


def test_in_a_slice_of_its_own_a_program_is_seen_and_ended_as_well(box):
    done = once(box, argv=shell("setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & echo $!"),
                unit={"Slice": "agentd-back-up.slice", "KillMode": "none"})
    assert (done.end, done.code) == ("exited", 0)
    assert not box.exists(f"/proc/{int(done.output)}")
    assert int(done.fields["memory"]) > 0


def test_unit_properties_hold(box):
    box.write("/tmp/outside", "")
    done = once(box, argv=["/bin/ls", "/tmp"], unit={"PrivateTmp": True})
    assert (done.end, done.code, done.output) == ("exited", 0, b"")


def test_a_property_that_systemd_refuses_is_told(box):
    done = once(box, argv=["/bin/true"], unit={"NoSuchProperty": "x"})
    assert done.end == "not-run" and "NoSuchProperty" in done.fields["explanation"]


def test_fifty_at_once_are_no_trouble(box):
    names = [f"/tmp/x{i}" for i in range(50)]
    box.write("/etc/agentd/agentd.toml", "workers = 50\n")
    result = hostile.once(box, role({name: {"argv": shell(f"sleep 1; echo {name}")} for name in names}), timeout=90)
    assert result.returncode == 0, result.stderr
    assert [outcome(box, name).output.decode().strip() for name in names] == names
    wait_no_units(box)


# ---- The journal -------------------------------------------------------------------------------------------------------


def test_output_is_in_the_journal_under_its_state(box):
    after = box.cursor()
    once(box, argv=["/bin/sh", "-c", "echo to the journal; echo complaint >&2"])
    entry = box.wait_journal("AGENTD_STATE=runner:/tmp/x", "PRIORITY=6", where=lambda e: e["MESSAGE"] == "to the journal",
                             after=after)
    assert entry["SYSLOG_IDENTIFIER"] == "sh" and int(entry["AGENTD_RUN"]) > 0 and entry["AGENTD_ROLE"] == "test"
    assert entry["OBJECT_SYSTEMD_UNIT"].startswith("agentd-command-")
    box.wait_journal("AGENTD_STATE=runner:/tmp/x", "PRIORITY=5", where=lambda e: e["MESSAGE"] == "complaint", after=after)
    shown = box.run(["journalctl", "-q", "-o", "cat", "-u", entry["OBJECT_SYSTEMD_UNIT"]]).stdout
    assert "to the journal" in shown


@pytest.mark.parametrize("flag", ["quiet", "secret"])
def test_output_that_is_not_for_the_journal_is_not_there(box, flag):
    after = box.cursor()
    done = once(box, argv=["/bin/sh", "-c", "echo not for you; exit 1"], **{flag: True})
    assert done.output == b"not for you\n"
    once(box, argv=["/bin/echo", "for all"])
    box.wait_journal("AGENTD_STATE=runner:/tmp/x", where=lambda e: e["MESSAGE"] == "for all", after=after)
    assert not [e for e in box.journal("SYSLOG_IDENTIFIER=sh") if "not for you" in e["MESSAGE"]]


# ---- Without systemd ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(box):
    """The box, as if no systemd ran it: what sd_booted() looks for is hidden from agentd."""
    box.write("/usr/local/bin/bare", "#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs none /run/systemd && exec \"$@\"' "
                                     "sh \"$@\"\n", mode=0o755)
    return box


def bare_once(box, **settings):
    box.write("/etc/agentd-tests/test.toml", role({"/tmp/x": settings}))
    box.run("rm -f /tmp/x")
    result = box.run(["/usr/local/bin/bare", "/usr/sbin/agentd", "--once", "--conf-dir", "/etc/agentd-tests", "--module-dir",
                      hostile.MODULES], check=False)
    assert result.returncode == 0, result.stderr
    assert not units(box)
    return outcome(box)


def test_without_systemd_a_command_is_a_child(bare):
    done = bare_once(bare, argv=shell("id -un; pwd; umask; echo $A; cat; echo err >&2; exit 3"), user="daemon",
                     directory="/tmp", umask="0077", environment=["A=one"], input="words\n")
    assert (done.end, done.code, done.errors) == ("exited", 3, b"err\n")
    assert done.output.decode().splitlines() == ["daemon", "/tmp", "0077", "one", "words"]


def test_without_systemd_a_program_that_takes_too_long_is_killed_however_it_resists(bare):
    done = bare_once(bare, argv=shell("trap '' TERM; sleep 1000 & echo $!; while :; do sleep 0.1; done"), deadline="5s")
    assert done.end == "timed-out" and done.code == 9
    assert not bare.exists(f"/proc/{int(done.output)}")


def test_without_systemd_what_a_program_leaves_behind_is_killed_with_it(bare):
    done = once(bare, argv=shell("p=$(setsid sh -c 'echo $$; exec sleep 4321 >&-' &); echo $p"))
    assert (done.end, done.code) == ("exited", 0)
    assert not bare.exists(f"/proc/{int(done.output)}")


def test_without_systemd_what_cannot_be_run_is_told(bare):
    done = bare_once(bare, argv=["/usr/bin/nope"])
    assert (done.end, done.fields["explanation"]) == (
        "not-run", "'/usr/bin/nope' could not be executed: No such file or directory")


def test_without_systemd_unit_properties_are_refused(bare):
    done = bare_once(bare, argv=["/bin/true"], unit={"PrivateTmp": True})
    assert done.fields["error"] == "EOPNOTSUPP"


def test_in_another_root_a_command_runs_there(box):
    box.run("mkdir -p /srv/root && mount --bind / /srv/root && mount -t tmpfs none /srv/root/mnt && "
            "echo here > /srv/root/mnt/file")
    done = once(box, "--root", "/srv/root", argv=shell("cat /mnt/file; id -un; pwd"), user="daemon", directory="/mnt")
    assert (done.end, done.output) == ("exited", b"here\ndaemon\n/mnt\n")
    assert not units(box)


# ---- agentd, the bus and systemd come and go ---------------------------------------------------------------------------

# Says that it has begun, then a line each 20 ms until /tmp/go is there, then that it has ended.
SLOW = shell("echo begun >> /tmp/log; i=0; while [ ! -e /tmp/go ]; do i=$((i+1)); echo line $i; sleep 0.02; done; "
             "echo last; echo ended >> /tmp/log")


def begin_slow(box, **more):
    with_daemon(box, {"/tmp/x": {"argv": SLOW, "timeout": "2min", **more}})
    wait_until(lambda: box.exists("/tmp/log"), PATIENCE, "the command has begun")


def let_go(box):
    box.write("/tmp/go", "")


def ended_once(box):
    wait_until(lambda: box.exists("/tmp/x"), PATIENCE, "its outcome")
    assert box.read("/tmp/log") == "begun\nended\n"
    wait_no_units(box)


@pytest.mark.parametrize("what", ["systemctl restart dbus", "systemctl daemon-reload", "systemctl daemon-reexec"])
def test_a_command_is_not_lost_when_the_other_side_begins_anew(box, what):
    begin_slow(box)
    box.run(what)
    let_go(box)
    ended_once(box)
    done = outcome(box)
    assert (done.end, done.code) == ("exited", 0)
    assert done.output.endswith(b"last\n")


ODD = ["$HOME", "${HOME}", "$$", "a;b", ";", "'q' \"d\"", "back\\slash", "two\nlines", "%h", "_", "\u00e4"]


@pytest.mark.parametrize("what", ["daemon-reload", "daemon-reexec"])
@pytest.mark.parametrize("arguments", [["plain", "a-b=c"], ODD], ids=["plain", "odd"])
def test_a_command_is_what_it_was_when_systemd_reads_its_units_before_it_begins(box, what, arguments):
    """Its job waits for another one, so that it has not begun by then."""
    box.write("/etc/systemd/system/slow.service",
              "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'until test -e /tmp/go; do sleep 0.05; done'\n")
    box.run("systemctl daemon-reload && systemctl start --no-block slow")
    with_daemon(box, {"/tmp/x": {"argv": ["/usr/bin/printf", "%s\n" if arguments is ODD else "%s:", *arguments],
                                 "environment": ["ODD=$x;y"] if arguments is ODD else [],
                                 "unit": {"After": ["slow.service"]}}})
    wait_until(lambda: units(box), PATIENCE, "the unit of the command")
    box.run(["systemctl", what])
    box.write("/tmp/go", "")
    wait_until(lambda: box.exists("/tmp/x"), PATIENCE, "its outcome")
    done = outcome(box)
    if arguments is ODD:
        assert (done.end, done.code) == ("exited", 0) and done.output.decode() == "".join(f"{a}\n" for a in ODD), done
    else:
        assert (done.end, done.code) == ("exited", 0), done
    wait_no_units(box)


def test_a_command_goes_on_when_agentd_is_killed_and_is_not_run_twice(box):
    begin_slow(box)
    n, after = last_event(box), box.cursor()
    daemon.kill(box)
    daemon.wait_status(box, lambda s: True)
    let_go(box)
    event = wait_event(box, "command-finished", after=n)
    assert event["state"] == "runner:/tmp/x" and event["data"]["end"] == "exited", event
    box.wait_journal("AGENTD_STATE=runner:/tmp/x", where=lambda e: e["MESSAGE"] == "last", after=after)
    wait_idle(box)
    lines = [int(e["MESSAGE"].split()[1]) for e in box.journal("AGENTD_STATE=runner:/tmp/x") if e["MESSAGE"].startswith("line ")]
    # The outcome is nobody's: the state is looked at anew, and run once more, when the first has ended.
    wait_until(lambda: box.exists("/tmp/x"), PATIENCE, "its outcome")
    assert box.read("/tmp/log") == "begun\nended\nbegun\nended\n"
    assert lines and lines == list(range(1, len(lines) + 1)), "nothing is missing, also of the time when no agentd was there"
    wait_no_units(box)


def test_the_state_of_a_command_that_goes_on_is_held_and_others_are_not(box):
    begin_slow(box)
    box.write("/etc/agentd/conf.d/other.toml", role({"/tmp/other": {"argv": ["/bin/true"]}}))
    daemon.kill(box)
    daemon.wait_status(box, lambda s: True)
    wait_until(lambda: box.exists("/tmp/other"), 60, "the other state is applied")
    assert box.read("/tmp/log") == "begun\n" and not box.exists("/tmp/x")
    wait_until(lambda: len(units(box)) == 1, PATIENCE, "the unit of the other one is gone")
    let_go(box)
    wait_until(lambda: box.exists("/tmp/x"), 60, "its outcome")
    assert box.read("/tmp/log") == "begun\nended\nbegun\nended\n"


def test_a_command_is_not_run_twice_after_systemd_has_read_its_units_anew(box):
    # Which cuts what it knows of them at a space.
    path = "/tmp/a b%h \"x\\"
    with_daemon(box, {path: {"argv": SLOW, "timeout": "2min"}})
    wait_until(lambda: box.exists("/tmp/log"), PATIENCE, "the command has begun")
    box.run("systemctl daemon-reload")
    n = last_event(box)
    daemon.kill(box)
    daemon.wait_status(box, lambda s: True)
    box.write("/etc/agentd/conf.d/other.toml", '[file."/tmp/other"]\ncontent = "x"\n')
    daemon.reload(box)
    wait_until(lambda: box.exists("/tmp/other"), 60, "the other state is applied")
    assert box.read("/tmp/log") == "begun\n"
    let_go(box)
    assert wait_event(box, "command-finished", after=n)["state"] == f"runner:{path}"
    wait_until(lambda: box.exists(path), 60, "its outcome")
    assert box.read("/tmp/log") == "begun\nended\nbegun\nended\n"


def test_without_the_bus_the_state_of_a_command_that_goes_on_is_held(box):
    begin_slow(box)
    box.write("/etc/agentd/conf.d/other.toml", '[file."/tmp/other"]\ncontent = "x"\n')
    # It is not to be started again by who needs it.
    box.run("systemctl mask --runtime --now dbus.socket dbus.service")
    daemon.kill(box)
    # Others need not wait for what is known from a file, and so must not.
    wait_until(lambda: box.exists("/tmp/other"), PATIENCE, "the other state is applied")
    assert box.read("/tmp/log") == "begun\n" and not box.exists("/tmp/x")
    assert box.run("systemctl is-active dbus.service", check=False).stdout.strip() != "active"
    box.run("systemctl unmask --runtime dbus.socket dbus.service; systemctl start dbus.socket dbus.service")
    let_go(box)
    wait_until(lambda: box.exists("/tmp/x"), 60, "its outcome")
    assert box.read("/tmp/log") == "begun\nended\nbegun\nended\n"


def test_a_command_that_ended_while_no_agentd_was_there_is_told_of(box):
    daemon.set_unit(box, RestartSec="5s")
    begin_slow(box)
    n = last_event(box)
    daemon.kill(box)
    let_go(box)
    wait_until(lambda: box.read("/tmp/log") == "begun\nended\n", PATIENCE, "the command has ended")
    daemon.wait_status(box, lambda s: True)
    event = wait_event(box, "command-finished", after=n)
    assert (event["data"]["end"], event["data"]["code"], event["role"]) == ("exited", 0, "test")
    box.wait_journal("AGENTD_STATE=runner:/tmp/x", where=lambda e: e["MESSAGE"] == "last")


def test_a_command_goes_on_over_a_restart(box):
    begin_slow(box)
    n, after = last_event(box), box.cursor()
    daemon.restart(box)
    assert len(units(box)) == 1 and box.read("/tmp/log") == "begun\n"
    let_go(box)
    assert wait_event(box, "command-finished", after=n)["data"]["end"] == "exited"
    box.wait_journal("AGENTD_STATE=runner:/tmp/x", where=lambda e: e["MESSAGE"] == "last", after=after)


def test_a_command_that_was_found_goes_on_over_an_upgrade(box):
    begin_slow(box)
    # A run that waits for the command would keep the upgrade off.
    box.run("rm /etc/agentd/conf.d/test.toml")
    daemon.kill(box)
    daemon.wait_status(box, lambda s: True)
    wait_idle(box)
    n, after, pid = last_event(box), box.cursor(), daemon.main_pid(box)
    before = daemon.status(box)["started"]
    box.run("cp /usr/sbin/agentd /usr/sbin/agentd.new && mv /usr/sbin/agentd.new /usr/sbin/agentd")
    daemon.wait_status(box, lambda s: s["started"] != before)
    assert daemon.main_pid(box) == pid and len(units(box)) == 1
    let_go(box)
    assert wait_event(box, "command-finished", after=n)["data"]["end"] == "exited"
    box.wait_journal("AGENTD_STATE=runner:/tmp/x", where=lambda e: e["MESSAGE"] == "last", after=after)
    wait_no_units(box)


def test_a_worker_that_dies_takes_its_command_with_it_before_the_state_is_tried_again(box):
    begin_slow(box, dies="/tmp/die")
    box.write("/tmp/die", "")
    wait_until(lambda: box.read("/tmp/log").count("begun") >= 1 and not box.exists("/tmp/die"), PATIENCE, "the worker has died")
    wait_until(lambda: box.exists("/tmp/x") or daemon.state(box, "runner:/tmp/x")["result"] == "failed", 60, "the result")
    wait_no_units(box)
    assert "ended" not in box.read("/tmp/log")


def test_a_user_who_says_that_a_command_has_ended_is_not_believed(box):
    """Signals that are sent to one connection come from anybody."""
    with_daemon(box, {"/tmp/x": {"argv": shell("touch /tmp/begun; until [ -e /tmp/go ]; do sleep 0.05; done; echo done")}})
    wait_until(lambda: box.exists("/tmp/begun"), PATIENCE, "it runs")
    unit = units(box)[0].replace("-", "_2d").replace(".", "_2e")
    pid = str(daemon.main_pid(box))
    names = [line.split()[0] for line in box.run("busctl list --no-legend --unique").stdout.splitlines() if line.split()[1] == pid]
    assert names
    for name in names:
        for interface, properties in (("Service", ["2", "ExecMainCode", "i", "1", "ExecMainStatus", "i", "7"]),
                                      ("Unit", ["2", "ActiveState", "s", "failed", "SubState", "s", "failed"])):
            box.run(["runuser", "-u", "nobody", "--", "busctl", "emit", f"--destination={name}",
                     f"/org/freedesktop/systemd1/unit/{unit}", "org.freedesktop.DBus.Properties", "PropertiesChanged",
                     "sa{sv}as", f"org.freedesktop.systemd1.{interface}", *properties, "0"])
    box.write("/tmp/go", "")
    wait_idle(box)
    done = outcome(box)
    assert (done.end, done.code, done.output) == ("exited", 0, b"done\n")


def test_an_administrator_can_stop_a_command(box):
    begin_slow(box)
    box.run(["systemctl", "stop", units(box)[0]])
    wait_until(lambda: box.exists("/tmp/x"), PATIENCE, "its outcome")
    assert outcome(box).end == "killed"
    wait_no_units(box)


def test_when_nothing_runs_there_is_no_connection_to_the_bus(box):
    with_daemon(box, {"/tmp/x": {"argv": ["/bin/true"]}})
    wait_until(lambda: box.exists("/tmp/x"), PATIENCE, "its outcome")
    pid = daemon.main_pid(box)
    wait_until(lambda: "bus" not in box.run(["sh", "-c", f"ss -xpH | grep 'pid={pid},' || true"]).stdout, 60, "no connection")


def test_a_thousand_commands_leave_nothing_open(box):
    def descriptors():
        return sorted(box.run(["sh", "-c", f"ls -l /proc/{daemon.main_pid(box)}/fd | sed -n 's/.* -> //p' | sed 's/[0-9][0-9]*//g'"])
                      .stdout.split())

    names = [f"/tmp/t/{i}" for i in range(125)]
    box.run("mkdir /tmp/t")
    with_daemon(box, {name: {"argv": shell("echo out; echo err >&2")} for name in names})
    count = "ls /tmp/t | wc -l"
    wait_until(lambda: box.run(count).stdout.strip() == "125", 60, "the first round")
    wait_idle(box)
    wait_no_units(box)
    before = None
    for _ in range(7):
        box.run("rm -f /tmp/t/*")
        apply(box)
        wait_until(lambda: box.run(count).stdout.strip() == "125", 60, "another round")
        wait_idle(box)
        wait_no_units(box)
        before = before or descriptors()
    wait_until(lambda: len(descriptors()) <= len(before), 60, "as many descriptors as after the first round")
    wait_until(lambda: daemon.prop(box, "NFileDescriptorStore") == "0", PATIENCE, "the service manager keeps none either")
