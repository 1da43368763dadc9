# SPDX-License-Identifier: LGPL-2.1-or-later
"""What systemd reads of agentd: units, preset, accounts, directories, catalogue; and what meson install does beyond copying."""

import os
import stat
from pathlib import Path

import daemon
import pytest
from box import wait_until

TOP = Path(__file__).resolve().parent.parent.parent
UNITS = ("agentd.service", "agentd.socket", "agentd.slice")
ROLE = '[file."/etc/motd"]\ncontent = "hello\\n"\n'


def properties(box, unit, *names):
    shown = box.run(["systemctl", "show", unit, *(f"--property={name}" for name in names)]).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


def mode(box, path):
    st = box.stat(path)
    return f"{stat.S_IMODE(st.st_mode):04o} {st.st_uid}:{st.st_gid}"


def is_active(box, unit):
    return box.run(["systemctl", "is-active", unit], check=False).stdout.strip()


# ---- Files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_the_unit(box, unit):
    done = box.run(["systemd-analyze", "verify", "--man=no", unit], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_boot_with_agentd_enabled_orders_its_units_without_a_cycle(box):
    box.run("systemctl enable agentd")
    box.reboot()
    assert is_active(box, "agentd.socket") == "active"
    assert "ordering cycle" not in box.run("journalctl -q -b --no-pager").stdout
    done = box.run(["systemd-analyze", "verify", "--man=no", "default.target"], check=False)
    assert "agentd" not in done.stderr


def test_enable_takes_the_socket_along_and_disable_as_well(box):
    box.run("systemctl enable agentd")
    assert box.run("systemctl is-enabled agentd.service agentd.socket").stdout == "enabled\nenabled\n"
    assert box.exists("/etc/systemd/system/multi-user.target.wants/agentd.service")
    assert box.exists("/etc/systemd/system/sockets.target.wants/agentd.socket")
    box.run("systemctl disable agentd")
    assert not box.exists("/etc/systemd/system/multi-user.target.wants/agentd.service")
    assert not box.exists("/etc/systemd/system/sockets.target.wants/agentd.socket")


def test_a_preset_leaves_it_to_the_administrator_to_enable_agentd(box):
    box.run("systemctl preset agentd.service agentd.socket")
    shown = box.run("systemctl is-enabled agentd.service agentd.socket", check=False).stdout
    assert shown == "disabled\ndisabled\n"


def test_a_preset_of_an_image_comes_before_ours(box):
    box.write("/usr/lib/systemd/system-preset/50-agentd.preset", "enable agentd.service\nenable agentd.socket\n")
    box.run("systemctl preset agentd.service agentd.socket")
    assert box.run("systemctl is-enabled agentd.service agentd.socket").stdout == "enabled\nenabled\n"


def test_the_service_may_change_the_whole_host(box):
    """None of what would take that away: its own mount namespace, fewer capabilities, filters."""
    shown = box.run("systemctl show agentd.service").stdout.splitlines()
    shown = dict(line.split("=", 1) for line in shown if "=" in line)
    ordinary = box.run("systemctl show dbus-org.freedesktop.none.service").stdout.splitlines()  # a unit with nothing set
    ordinary = dict(line.split("=", 1) for line in ordinary if "=" in line)
    for name in ("CapabilityBoundingSet", "AmbientCapabilities", "NoNewPrivileges", "SystemCallFilter",
                 "SystemCallArchitectures", "RestrictNamespaces", "RestrictAddressFamilies", "RestrictRealtime",
                 "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute", "PrivateTmp", "PrivateDevices",
                 "PrivateNetwork", "PrivateUsers", "PrivateMounts", "PrivateIPC", "ProtectSystem", "ProtectHome",
                 "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups",
                 "ProtectHostname", "ProtectClock", "ProtectProc", "ProcSubset", "ReadOnlyPaths", "ReadWritePaths",
                 "InaccessiblePaths", "TemporaryFileSystem", "MountFlags", "RootDirectory", "DynamicUser", "User",
                 "DevicePolicy"):
        assert shown.get(name) == ordinary.get(name), name
    assert shown.get("User", "") == ""


def test_the_service_is_what_it_is_meant_to_be(box):
    assert properties(box, "agentd.service", "Type", "NotifyAccess", "OOMPolicy", "LimitCORE", "KillMode",
                      "Restart", "RuntimeDirectoryPreserve", "StateDirectoryMode", "TriggeredBy", "Slice") == {
        "Type": "notify", "NotifyAccess": "main", "OOMPolicy": "continue", "LimitCORE": "0",
        "KillMode": "mixed", "Restart": "on-failure", "RuntimeDirectoryPreserve": "yes", "StateDirectoryMode": "0700",
        "TriggeredBy": "agentd.socket", "Slice": "system.slice"}
    # The engine has 20 s to let end what is under way.
    assert properties(box, "agentd.service", "TimeoutStopUSec") == {"TimeoutStopUSec": "40s"}


# ---- Accounts, directories, catalogue ----------------------------------------------------------------------------


def test_accounts_own_nothing_and_nobody_can_log_in_as_them(box):
    box.run("systemd-sysusers agentd.conf")
    for user in "agentd-check", "agentd-fetch", "agentd-extract":
        entry = box.run(["getent", "passwd", user]).stdout.strip().split(":")
        assert entry[5:] == ["/", "/usr/sbin/nologin"]
        assert box.run(["id", "-Gn", user]).stdout.split() == [user]
        assert box.run(["getent", "shadow", user]).stdout.split(":")[1].startswith("!")
    for group in "agentd", "agentd-admin":
        assert box.run(["getent", "group", group]).stdout.strip().endswith(":")


def test_directories_have_their_modes_and_what_the_administrator_set_is_kept(box):
    box.run("rm -rf /etc/agentd /var/lib/agentd /run/agentd")
    box.run("systemd-tmpfiles --create agentd.conf")
    assert {path: mode(box, path) for path in ("/run/agentd", "/var/lib/agentd", "/etc/agentd", "/etc/agentd/conf.d",
                                               "/etc/agentd/roles")} == {
        "/run/agentd": "0755 0:0", "/var/lib/agentd": "0700 0:0", "/etc/agentd": "0755 0:0",
        "/etc/agentd/conf.d": "0755 0:0", "/etc/agentd/roles": "0755 0:0"}
    box.run("chmod 0750 /etc/agentd/conf.d; chmod 0777 /var/lib/agentd")
    box.run("systemd-tmpfiles --create agentd.conf")
    assert mode(box, "/etc/agentd/conf.d") == "0750 0:0"
    assert mode(box, "/var/lib/agentd") == "0700 0:0"


def test_directories_are_there_after_a_boot(box):
    box.run("rm -rf /var/lib/agentd /etc/agentd")
    box.reboot()
    assert [mode(box, path) for path in ("/run/agentd", "/var/lib/agentd", "/etc/agentd/conf.d")] == [
        "0755 0:0", "0700 0:0", "0755 0:0"]


def test_the_journal_explains_a_change(box):
    box.run("journalctl --update-catalog")
    box.role("motd", ROLE)
    assert box.agentd_once().returncode == 0
    box.run("journalctl --sync")
    shown = box.run("journalctl -q -x --no-pager AGENTD_STATE=file:/etc/motd").stdout
    assert "Changed file:/etc/motd" in shown
    assert "Subject: file:/etc/motd was not as declared, and has been repaired" in shown
    assert '"agentctl show file:/etc/motd"' in shown and "The role motd declares file:/etc/motd." in shown


# ---- meson install without DESTDIR -------------------------------------------------------------------------------


def post_install(box, **options):
    box.write("/root/post-install", (TOP / "units/post-install.sh").read_text(), mode=0o755)
    return box.run(["/root/post-install", "/usr"], check=False, **options)


def test_post_install_makes_what_a_package_would(box):
    box.run("userdel agentd-check; groupdel agentd-admin; rm -rf /var/lib/agentd /var/lib/systemd/catalog/database",
            check=False)
    loaded = box.run("systemctl show -P UnitsLoadTimestampMonotonic").stdout
    done = post_install(box)
    assert (done.returncode, [line for line in done.stderr.splitlines() if line.startswith("agentd:")]) == (0, [])
    box.run("getent passwd agentd-check agentd-fetch agentd-extract")
    box.run("getent group agentd agentd-admin")
    assert mode(box, "/var/lib/agentd") == "0700 0:0"
    assert "agentd has started" in box.run("journalctl --dump-catalog 02bb906d5877422983a61a719da824ab").stdout
    assert box.run("systemctl show -P UnitsLoadTimestampMonotonic").stdout != loaded
    assert is_active(box, "agentd.service") == "inactive"
    again = post_install(box)
    assert again.returncode == 0 and "agentd:" not in again.stderr


def test_post_install_does_what_it_can_where_things_are_missing(box):
    """As in a chroot that has no systemd of its own, and without root."""
    box.write("/root/bin/systemd-sysusers", "#!/bin/sh\nexit 1\n", mode=0o755)
    box.run("mv /usr/bin/systemd-tmpfiles /usr/bin/away; mv /usr/bin/systemd-sysusers /usr/bin/gone; "
            "mv /root/bin/systemd-sysusers /usr/bin/systemd-sysusers")
    done = post_install(box)
    assert done.returncode == 0
    assert "agentd: there is no systemd-tmpfiles; left out: systemd-tmpfiles --create" in done.stderr
    assert "agentd: failed: systemd-sysusers" in done.stderr
    box.run("chmod 0755 /root")
    other = box.run(["runuser", "-u", "nobody", "--", "/root/post-install", "/usr"])
    assert other.stderr == "agentd: not root, so there are no accounts, directories and catalogue yet\n"


# ---- The running service -----------------------------------------------------------------------------------------


def test_start_is_over_when_agentd_is_ready(box):
    daemon.start(box)
    assert properties(box, "agentd.service", "ActiveState", "SubState", "Result", "WatchdogUSec") == {
        "ActiveState": "active", "SubState": "running", "Result": "success", "WatchdogUSec": "3min"}
    assert daemon.prop(box, "StatusText") != ""
    assert is_active(box, "agentd.socket") == "active"
    assert daemon.status(box)["pid"] == daemon.main_pid(box)


def test_socket_and_directories_have_their_modes_while_it_runs(box):
    daemon.start(box)
    assert stat.S_ISSOCK(box.stat("/run/agentd/agentd.sock").st_mode)
    assert [mode(box, path) for path in ("/run/agentd/agentd.sock", "/run/agentd", "/var/lib/agentd")] == [
        "0666 0:0", "0755 0:0", "0700 0:0"]


def test_the_running_engine_is_in_the_namespaces_of_the_host_and_has_all_capabilities(box):
    daemon.start(box)
    pid = daemon.main_pid(box)
    for name in "mnt", "net", "user", "pid", "ipc", "uts", "cgroup":
        assert box.run(["readlink", f"/proc/{pid}/ns/{name}"]).stdout == box.run(["readlink", f"/proc/1/ns/{name}"]).stdout
    ours, theirs = (dict(line.split(":", 1) for line in box.read(f"/proc/{p}/status").splitlines()) for p in (pid, 1))
    assert {key: ours[key] for key in ("CapBnd", "CapEff", "Seccomp", "NoNewPrivs")} == {
        key: theirs[key] for key in ("CapBnd", "CapEff", "Seccomp", "NoNewPrivs")}
    assert "Max core file size        0                    0" in box.read(f"/proc/{pid}/limits")


def test_who_connects_starts_the_service(box):
    box.run("systemd-sysusers agentd.conf; systemctl start agentd.socket")
    assert is_active(box, "agentd.service") == "inactive"
    assert box.api("GET", "/v1/status").status == 200
    assert is_active(box, "agentd.service") == "active"


def test_stop_leaves_the_socket_so_that_who_connects_starts_it_again(box):
    daemon.start(box)
    daemon.stop(box)
    assert (is_active(box, "agentd.service"), is_active(box, "agentd.socket")) == ("inactive", "active")
    assert daemon.prop(box, "Result") == "success"
    assert box.agentctl("status").returncode == 0
    assert is_active(box, "agentd.service") == "active"


def test_stopping_the_socket_stops_both_for_good(box):
    daemon.start(box)
    box.run("systemctl stop agentd.socket", timeout=40)
    assert (is_active(box, "agentd.service"), is_active(box, "agentd.socket")) == ("inactive", "inactive")
    assert not box.exists("/run/agentd/agentd.sock")
    assert box.agentctl("status").returncode == 3
    assert is_active(box, "agentd.service") == "inactive"
    daemon.start(box)
    assert box.agentctl("status").returncode == 0


def test_a_restart_keeps_the_socket(box):
    daemon.start(box)
    socket, pid = box.stat("/run/agentd/agentd.sock").st_ino, daemon.main_pid(box)
    daemon.restart(box)
    assert box.stat("/run/agentd/agentd.sock").st_ino == socket
    assert daemon.main_pid(box) != pid
    assert daemon.status(box)["pid"] == daemon.main_pid(box)


def test_a_crash_keeps_the_socket_and_systemd_starts_it_again(box):
    daemon.set_unit(box, RestartSec="100ms")
    daemon.start(box)
    socket = box.stat("/run/agentd/agentd.sock").st_ino
    daemon.kill(box)
    assert daemon.status(box)["pid"] == daemon.main_pid(box)  # waits in the socket until it is back
    assert box.stat("/run/agentd/agentd.sock").st_ino == socket
    assert properties(box, "agentd.service", "NRestarts") == {"NRestarts": "1"}


def test_what_the_engine_leaves_behind_is_killed(box):
    daemon.start(box)
    procs = f"/sys/fs/cgroup{daemon.prop(box, 'ControlGroup')}/cgroup.procs"
    box.run(f"sh -c \"trap '' TERM; echo \\$\\$ >{procs}; exec sleep 1000\" >/dev/null 2>&1 </dev/null &")
    wait_until(lambda: box.run("pgrep -x sleep", check=False).stdout, 30, "it is there")
    daemon.stop(box)
    assert is_active(box, "agentd.service") == "inactive"
    assert box.run("pgrep -x sleep", check=False).stdout == ""


def test_a_wrong_command_line_is_not_tried_again_and_again(box):
    daemon.write_drop_in(box, "ExecStart=\nExecStart=/usr/sbin/agentd --no-such-option\nRestartSec=10ms\n")
    assert box.run("systemctl start agentd", check=False).returncode != 0
    assert properties(box, "agentd.service", "ActiveState", "ExecMainStatus", "NRestarts") == {
        "ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}


def test_systemctl_reload_waits_for_the_outcome(box):
    daemon.start(box)
    daemon.wait_idle(box)
    box.role("motd", ROLE)
    box.run("systemctl reload agentd")
    assert "file:/etc/motd" in daemon.states(box)
    box.role("motd", ROLE + "nonsense = true\n")
    assert box.run("systemctl reload agentd", check=False).returncode != 0
    assert is_active(box, "agentd.service") == "active"


def test_a_host_with_agentd_enabled_boots_to_running_and_is_as_declared(box):
    box.run("systemd-sysusers agentd.conf; systemctl enable agentd")
    box.role("motd", ROLE)
    box.reboot()
    daemon.wait_idle(box)
    assert box.run("systemctl is-system-running --wait").stdout == "running\n"
    assert box.read("/etc/motd") == "hello\n"
    assert daemon.states(box)["file:/etc/motd"] in ("changed", "ok")


def test_shutdown_ends_agentd_in_order(box):
    box.run("systemd-sysusers agentd.conf; systemctl enable agentd")
    box.reboot()
    first = box.journal("--boot", "-u", "agentd.service", "-n", "1")[0]["_BOOT_ID"]
    box.reboot()
    ended = box.journal(f"_BOOT_ID={first}", "-u", "agentd.service")
    assert any(e.get("JOB_TYPE") == "stop" and e.get("JOB_RESULT") == "done" for e in ended)
    assert not any(e.get("UNIT_RESULT") for e in ended), "it failed"


def test_units_name_pages_that_are_installed():
    """Documentation= of units and of the catalogue."""
    destdir = Path(os.environ["AGENTD_DESTDIR"])
    named = set()
    for file in [*(destdir / "usr/lib/systemd/system").glob("agentd*"), destdir / "usr/lib/systemd/catalog/agentd.catalog"]:
        for line in file.read_text().splitlines():
            if line.startswith(("Documentation=", "Documentation: ")):
                named |= set(line.replace("Documentation=", "").replace("Documentation: ", "").split())
    assert named
    for page in named:
        name, section = page.removeprefix("man:").rstrip(")").split("(")
        assert list((destdir / f"usr/share/man/man{section}").glob(f"{name}.{section}*")), page
