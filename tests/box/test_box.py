# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests of the test box itself: what every other box test builds upon."""

import subprocess
import time

import pytest

from box import MACHINE_NOISE, PATIENCE, CommandFailed, wait_until


def test_boots_to_running_without_failed_units(box):
    assert box.run("systemctl is-system-running --wait").stdout == "running\n"
    assert box.run("systemctl list-units --failed --plain --no-legend").stdout == ""


def test_journal_of_a_boot_is_clean(box):
    box.start()
    entries = box.journal("--boot", "--priority=warning", "_TRANSPORT=journal", "+", "_TRANSPORT=stdout")
    assert [e["MESSAGE"] for e in entries if not e["MESSAGE"].startswith(MACHINE_NOISE)] == []


def test_what_is_written_before_boot_is_there_at_boot(box):
    box.write("/etc/systemd/system/hello.service",
              "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo >/var/hello'\nRemainAfterExit=yes\n")
    box.write("/etc/systemd/system/multi-user.target.d/hello.conf", "[Unit]\nWants=hello.service\nAfter=hello.service\n")
    assert box.run("systemctl is-active hello").stdout == "active\n"
    assert box.exists("/var/hello")


def test_install_tree_lies_over_the_base(new_box, tmp_path):
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/hello").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "usr/bin/hello").chmod(0o755)
    assert new_box("good", destdir=tmp_path).run("hello").stdout == "hello\n"
    (tmp_path / "lib").mkdir()
    with pytest.raises(AssertionError, match="must not hold /lib"):
        new_box("bad", destdir=tmp_path)


def test_two_boxes_at_once_do_not_know_each_other(new_box):
    one, two = new_box("one"), new_box("two")
    for box in (one, two):
        assert box.run("hostname").stdout.strip() == box.name
        box.run(f"systemd-run --quiet --unit=listen-{box.name} nc -lk 127.0.0.1 4711")
    assert one.read("/etc/machine-id") != two.read("/etc/machine-id")
    one.stop()
    assert two.run("systemctl is-active listen-two").stdout == "active\n"
    assert "listen-one" not in two.run("systemctl list-units --all").stdout


def test_reboot_keeps_var_and_empties_run(box):
    first = box.run("journalctl --list-boots").stdout.splitlines()
    box.write("/var/kept", "kept")
    box.write("/run/lost", "lost")
    box.reboot()
    assert box.read("/var/kept") == "kept"
    assert not box.exists("/run/lost")
    assert len(box.run("journalctl --list-boots").stdout.splitlines()) == len(first) + 1
    assert box.run("systemctl is-system-running --wait").stdout == "running\n"


def test_stopped_box_starts_again(box):
    box.write("/var/kept", "kept")
    box.start()
    box.stop()
    assert not box.running
    assert box.run("cat /var/kept").stdout == "kept"
    box.poweroff()
    assert not box.running


@pytest.mark.parametrize("via", ["nsenter", "systemd-run"])
def test_command_has_input_output_and_status(box, via):
    done = box.run("cat; echo out; echo err >&2; exit 7", check=False, input="in\n", via=via)
    assert done == (7, "in\nout\n", "err\n")
    assert box.run(["cat"], via=via).stdout == "", "stdin is empty unless given"
    assert box.run(["printf", "%s|", "a b", "$HOME", "a$$b%n${c}"], via=via).stdout == "a b|$HOME|a$$b%n${c}|"
    assert box.run("x=set; echo $x${x}", via=via).stdout == "setset\n"
    with pytest.raises(CommandFailed, match="oops"):
        box.run("echo oops; false", via=via)


@pytest.mark.parametrize("via", ["nsenter", "systemd-run"])
def test_command_that_hangs_is_killed(box, via):
    box.start()
    before = time.monotonic()
    # systemd has the same time limit, and may be the first to see it.
    with pytest.raises((subprocess.TimeoutExpired, CommandFailed)):
        box.run("sleep 1234", timeout=0.5, via=via)
    assert time.monotonic() - before < PATIENCE
    box.run("while pgrep -fx 'sleep 1234'; do sleep 0.01; done")


def test_command_by_systemd_run_is_a_unit_of_the_box(box):
    assert ".service" in box.run("cat /proc/self/cgroup", via="systemd-run").stdout


def test_clock_of_the_machine_is_out_of_reach(box):
    assert box.run("date -s '+1 hour'", check=False).returncode != 0


def test_files_are_seen_as_the_box_sees_them(box):
    box.start()
    box.write("/var/run/deep/er/file", "text", mode=0o640)
    assert box.run("cat /run/deep/er/file").stdout == "text", "/var/run is an absolute symlink"
    assert box.read("/run/deep/er/file") == "text"
    assert box.stat("/run/deep/er/file").st_mode & 0o7777 == 0o640
    box.run("ln -s /nowhere /tmp/link")
    assert box.exists("/tmp/link") and not box.exists("/nowhere") and not box.exists("/tmp/link/below")
    with pytest.raises(FileNotFoundError):
        box.read("/tmp/link")


def test_journal_entries_come_with_their_fields(box):
    box.run("logger --journald", input="MESSAGE=one\nAGENTD_STATE=file:/etc/motd\n")
    assert [e["MESSAGE"] for e in box.journal("AGENTD_STATE=file:/etc/motd")] == ["one"]


def test_wait_journal_sees_only_what_comes_after_its_cursor(box):
    box.run("echo same | systemd-cat -t deed")
    assert box.wait_journal("SYSLOG_IDENTIFIER=deed")["MESSAGE"] == "same"
    after = box.cursor()
    with pytest.raises(TimeoutError):
        box.wait_journal("SYSLOG_IDENTIFIER=deed", after=after, timeout=0.3)
    box.run("(sleep 0.2; echo other; echo same) | systemd-cat -t deed")
    entry = box.wait_journal("SYSLOG_IDENTIFIER=deed", after=after, where=lambda e: e["MESSAGE"] == "same")
    assert entry["__CURSOR"] != after


def test_agentd_once_returns_results_and_summary(box):
    box.start()
    box.write("/usr/sbin/agentd", """#!/bin/sh
echo "$*" >&2
echo '{"state": "file:/a", "result": "changed"}'
echo '{"state": "file:/b", "result": "failed"}'
echo '{"run": 1, "summary": {"changed": 1, "failed": 1}}'
exit 1
""", mode=0o755)
    once = box.agentd_once("--plan")
    assert (once.returncode, once.stderr) == (1, "--once --json --plan\n")
    assert [r["state"] for r in once.results] == ["file:/a", "file:/b"]
    assert once.summary == {"changed": 1, "failed": 1}
    box.write("/usr/sbin/agentd", "#!/bin/sh\necho no such option >&2; exit 2\n")
    assert box.agentd_once() == (2, [], {}, "no such option\n")
    box.role("motd", "text")
    assert box.read("/etc/agentd/conf.d/motd.toml") == "text"


def test_failed_test_saves_what_its_box_had_to_tell(box, tmp_path):
    box.run("echo told >/artifacts/file; logger -t teller told")
    for directory in (tmp_path / "running", tmp_path / "stopped"):
        box.save(directory)
        assert "teller" in (directory / "journal.txt").read_text()
        assert "SYSLOG_IDENTIFIER=teller" in (directory / "journal.export").read_text()
        assert (directory / "artifacts/file").read_text() == "told\n"
        assert (directory / "console.log").exists()
        box.stop()


def test_full_disk_is_full(box, full_disk):
    path = full_disk("/srv/full")
    done = box.run(f"echo text | tee {path}/file", check=False)
    assert done.returncode != 0 and "No space left" in done.stderr
    assert box.exists(f"{path}/file"), "there was an inode left"


def test_loop_ext4_umount_frees_the_device(box, loop_ext4):
    disk = loop_ext4("/srv/disk")
    assert "ext4" in box.run("findmnt -n -o FSTYPE /srv/disk").stdout
    assert disk.attached
    disk.umount()
    # The machine's udev may be looking at the device.
    wait_until(lambda: not disk.attached, PATIENCE, "the device to be free")


def test_loop_ext4_keeps_what_was_synced_when_power_is_cut(box, loop_ext4):
    disk = loop_ext4("/srv/disk")
    box.run("echo kept >/srv/disk/kept; sync -f /srv/disk; echo lost >/srv/disk/lost")
    disk.cut_power()
    assert "Input/output error" in box.run("echo >/srv/disk/new", check=False).stderr
    disk.umount()
    disk.mount()
    assert box.read("/srv/disk/kept") == "kept\n"
    assert not box.exists("/srv/disk/lost")


def test_loop_ext4_can_be_mounted_read_only(box, loop_ext4):
    disk = loop_ext4("/srv/disk")
    box.run("mount -o remount,ro /srv/disk")
    assert "Read-only" in box.run("echo >/srv/disk/new", check=False).stderr
    disk.umount()
