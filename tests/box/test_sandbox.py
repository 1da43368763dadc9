# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a check cannot do, however its module was made: each line of agentd/sandbox.c is missed by some test here.

The attempts are those of tests/modules/hostile.c. All of them run once in a sandbox and once as root without, to show
that it was the sandbox that refused; each test looks at one outcome.
"""

import collections
import fcntl
import json
import os
import re
import struct
import subprocess
import termios

import pytest

from box import Box, kill_session
from hostile import MODULES, by_name, once, outcome, states

SPARE_UID = 65533  # the first one that agentd tries where there is no user for checks

Attempt = collections.namedtuple("Attempt", "attempt target refused control")


def attempt(name, target=None, refused="EPERM", control="done"):
    """control: what comes of it as root; None where it would do harm, or the kernel or the lab refuses it to root."""
    return Attempt(name, target, refused, control)


# Without a target: a file of the checks' own user, mode 0666 in a directory of mode 0777.
ATTEMPTS = [
    *(attempt("create", path, "EROFS") for path in (
        "/etc", "/root", "/home", "/tmp", "/var/tmp", "/dev/shm", "/run", "/usr", "/srv/disk", "/srv/open")),
    attempt("tmpfile", "/srv/disk/open", "EROFS"),
    attempt("write", refused="EROFS"),
    attempt("write", "/etc/passwd", "EROFS EACCES", None),
    attempt("truncate", refused="EROFS"),
    attempt("chmod", refused="EROFS"),
    attempt("fchmod", refused="EROFS"),
    attempt("chown", refused="EROFS"),
    attempt("utimensat", refused="EROFS"),
    attempt("unlink", refused="EROFS"),
    attempt("rename", refused="EROFS"),
    attempt("mkdir", refused="EROFS"),
    attempt("symlink", refused="EROFS"),
    attempt("link", refused="EROFS"),
    attempt("mknod", refused="EROFS"),
    attempt("setxattr", refused="EROFS"),
    attempt("touch-null", None, "EROFS"),
    attempt("handle-read"),
    attempt("handle-write"),
    attempt("handle-by-exe"),
    attempt("chroot", "/srv/open"),

    attempt("remount", "/srv/disk"),
    attempt("mount-setattr", "/srv/disk"),
    attempt("fsmount", "/srv/disk/mount"),
    attempt("mount-tmpfs", "/srv/disk/mount"),
    attempt("open-tree", "/srv/disk/open"),
    attempt("umount", "/srv/mounted"),
    attempt("unshare-mounts"),
    attempt("unshare-user"),
    attempt("clone-user"),
    attempt("clone3-user", refused="ENOSYS"),
    attempt("user-remount", "/srv/disk"),
    attempt("user-setattr", "/srv/disk", control=None),
    attempt("user-open-tree", "/srv/disk/open"),
    attempt("user-umount", "/srv/mounted", control=None),
    attempt("setns", refused="EACCES"),
    attempt("setsid"),
    attempt("setpgid"),
    attempt("setns-engine"),
    attempt("root-of-init", "/srv/open", "EACCES"),
    attempt("root-of-engine", "/srv/open", "EACCES"),
    attempt("cwd-of-engine", "/srv/open", "EACCES"),

    attempt("open-write", "/dev/test-block", "EACCES"),
    attempt("open-read", "/dev/test-block", "EACCES"),
    attempt("open-read", "/dev/loop-control", "EACCES"),
    attempt("open-read", "/dev/mem", "EACCES", None),
    attempt("open-write", "/dev/kmsg", "EACCES"),
    attempt("open-read", "/dev/tty", "EACCES", None),
    attempt("open-read", "/dev/ptmx", "EACCES"),
    attempt("open-read", "/srv/disk/device", "EACCES"),
    attempt("loop-add", refused="EACCES"),
    attempt("mknod-device", refused="EROFS"),

    attempt("kill-init"),
    attempt("kill-engine"),
    attempt("ptrace"),
    attempt("process-vm"),
    attempt("proc-mem", refused="EACCES"),
    attempt("pidfd-getfd"),
    attempt("many-processes", refused="EAGAIN"),

    attempt("private-socket", "test.service", "EACCES"),

    attempt("inet", refused="EACCES"),
    attempt("inet6", refused="EACCES"),
    attempt("packet", refused="EACCES"),
    attempt("io-uring", refused="EACCES"),
    attempt("interface-down"),
    attempt("x32", refused="SIGSYS", control=None),
    attempt("i386", refused="SIGSYS", control=None),

    attempt("setuid"),
    attempt("setgid"),
    attempt("setgroups"),
    attempt("capset"),

    attempt("bpf"),
    attempt("perf"),
    attempt("add-key"),
    attempt("keyctl"),
    attempt("userfaultfd"),
    attempt("init-module", refused="EPERM ENOSYS", control=None),
    attempt("finit-module", refused="EPERM ENOSYS", control=None),
    attempt("kexec", refused="EPERM ENOSYS", control=None),
    attempt("reboot", control=None),
    attempt("sethostname"),
    attempt("settimeofday", control=None),
    attempt("swapon", control=None),
    attempt("quotactl", "/dev/test-block", "EPERM ENOTBLK EACCES ESRCH ENOSYS", None),
    attempt("acct", control=None),
    attempt("fanotify"),
    attempt("syslog", control=None),
    attempt("realtime"),
    attempt("nice", refused="EACCES"),
    attempt("write", "/proc/sys/kernel/core_pattern", "EROFS EACCES", None),
    attempt("write", "/proc/sys/kernel/hostname", "EROFS EACCES", None),
    attempt("write", "/sys/fs/cgroup/cgroup.procs", "EROFS EACCES", None),
    attempt("mkdir", "/sys/fs/cgroup/hostile", "EROFS EACCES", None),
    attempt("shm"),
    attempt("sem"),
    attempt("msg"),
    attempt("mq"),

    attempt("image-file", control=None),
    attempt("allocate", refused="ENOMEM", control="ENOMEM"),  # root has a limit as well
    attempt("memfd", refused="EFBIG"),
    attempt("mlock", refused="ENOMEM EPERM EAGAIN"),
    attempt("raise-limit", control=None),
    attempt("core", control=None),

    # What a check may do, lest it be refused too much.
    attempt("read", "/etc/shadow", None, None),
    attempt("open-write", "/dev/null", None),
    attempt("open-read", "/dev/zero", None),
    attempt("open-read", "/dev/urandom", None),
    attempt("inotify", "/srv/open", None),
    attempt("netlink", None, None),
    attempt("connect", "/run/systemd/journal/socket", None),
    attempt("image-here", None, None),
]
REPORTS = [attempt("descriptors"), attempt("whoami"), attempt("mounts"), attempt("exec", "/srv/set-uid"),
           attempt("exec", "/srv/capable")]


def name_of(a):
    return f"{a.attempt}-{a.target}" if a.target else a.attempt


def role(attempts, **extra):
    return states("hostile", {
        name_of(a): {"attempt": a.attempt, "target": a.target or f"/srv/disk/{a.attempt}/file", **extra}
        for a in attempts})


def own_uid(box):
    """Who checks here is nobody else on this machine: the kernel counts processes by uid, and one attempt makes as many as it can,
    which is felt by the checks of boxes beside this one."""
    uid = 100000 + int(os.environ["AGENTD_LAB"].partition("-")[0]) % 400000
    box.run(f"sed -i -E 's/^(agentd-check:[^:]*):[0-9]+:[0-9]+:/\\1:{uid}:{uid}:/' /etc/passwd && "
            f"sed -i -E 's/^(agentd-check:[^:]*):[0-9]+:/\\1:{uid}:/' /etc/group")
    assert box.run("id -u agentd-check; id -g agentd-check").stdout.split() == [str(uid)] * 2


def prepare(box):
    own_uid(box)
    disk = box.loop_ext4("/srv/disk")
    own = sorted({a.attempt for a in ATTEMPTS if not a.target})
    box.run(f"""cd /srv/disk
        mkdir open mount /srv/open /srv/mounted {' '.join(own)}
        for d in {' '.join(own)}; do echo text >$d/file; chown agentd-check $d/file; chmod 666 $d/file; done
        chmod 777 . * /srv/open
        mount -t tmpfs tmpfs /srv/mounted
        mknod device c 1 3; chmod 666 device
        mknod -m 666 /dev/test-block b $(stat -c '0x%t 0x%T' {disk.device})
        mknod -m 666 /dev/loop-control c 10 237; mknod -m 666 /dev/mem c 1 1; [ -e /dev/kmsg ] || mknod /dev/kmsg c 1 11
        cp /usr/bin/cat /srv/set-uid; chmod 4755 /srv/set-uid
        cp /usr/bin/cat /srv/capable; chmod 755 /srv/capable
        cp /usr/sbin/agentd /srv/disk/agentd; chmod 755 /srv/disk/agentd
        printf '[Service]\\nType=oneshot\\nExecStart=/bin/true\\n' >/run/systemd/system/test.service
        systemctl daemon-reload""")
    # cap_dac_override, cap_chown=ep: linux/capability.h, VFS_CAP_REVISION_2
    capabilities = struct.pack("<5I", 0x02000001, 3, 0, 0, 0)
    os.setxattr(f"/proc/{box.leader}/root/srv/capable", "security.capability", capabilities)
    return disk


def run_all(name, **extra):
    box = Box(name)
    try:
        prepare(box)
        # From the disk, since overlayfs knows no handles of files; with what must not be handed on.
        box.write("/usr/sbin/agentd", "#!/bin/sh\nexec 8>>/srv/leak 9</etc/shadow setpriv --groups=4,27 "
                  "--inh-caps=+chown,+kill --ambient-caps=+chown /srv/disk/agentd \"$@\"\n", mode=0o755)
        done = once(box, role(ATTEMPTS + REPORTS, **extra), *([] if extra else ["--plan"]))
        assert len(done.results) == len(ATTEMPTS + REPORTS), done.stderr
        outcomes = {key: outcome(result) if result["differences"] else result for key, result in by_name(done.results).items()}
        return {"uid": box.run("id -u agentd-check").stdout.strip(), **outcomes}
    finally:
        box.destroy()


@pytest.fixture(scope="module")
def sandboxed():
    return run_all("sandboxed")


@pytest.fixture(scope="module")
def as_root():
    return run_all("as-root", check_as_root=True, audit=True)


def ids(attempts):
    return [name_of(a).replace("/", ":") for a in attempts]


REFUSED = [a for a in ATTEMPTS if a.refused]
ALLOWED = [a for a in ATTEMPTS if not a.refused]
CONTROLS = [a for a in REFUSED if a.control]


@pytest.mark.parametrize("a", REFUSED, ids=ids(REFUSED))
def test_refused(sandboxed, a):
    assert sandboxed[name_of(a)] in a.refused.split()


@pytest.mark.parametrize("a", ALLOWED, ids=ids(ALLOWED))
def test_allowed(sandboxed, a):
    assert not re.fullmatch("E[A-Z0-9]+|SIG[A-Z0-9]+", sandboxed[name_of(a)])


@pytest.mark.parametrize("a", CONTROLS, ids=ids(CONTROLS))
def test_root_outside_of_the_sandbox_is_not_refused(as_root, a):
    assert as_root[name_of(a)] == a.control


def test_no_descriptor_of_the_engine_is_left(sandboxed):
    lines = sandboxed["descriptors"].splitlines()
    assert lines[:3] == ["0 /dev/null", "1 /dev/null", "2 /dev/null"]
    assert lines[3].startswith("3 socket:")
    # Its own view of the managed root, opened within the sandbox.
    assert lines[4:] == ["4 /"]


def status_of(text):
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_a_check_has_a_user_of_its_own_and_one_capability(sandboxed):
    me = status_of(sandboxed["whoami"])
    assert me["Uid"].split() == me["Gid"].split() == [sandboxed["uid"]] * 4
    assert me["Groups"].split() == []
    dac_read_search = f"{1 << 2:016x}"
    assert (me["CapPrm"], me["CapEff"], me["CapBnd"]) == (dac_read_search,) * 3
    assert int(me["CapInh"], 16) == int(me["CapAmb"], 16) == 0
    assert me["NoNewPrivs"] == "1"
    assert me["Seccomp"] == "2"
    assert me["KeepCaps"] == "0"
    assert me["Dumpable"] == "0", "nobody of the same user may trace it"
    assert me["Sid"] == "own"


def test_set_uid_programs_and_file_capabilities_give_nothing(sandboxed):
    for program in "/srv/set-uid", "/srv/capable":
        me = status_of(sandboxed[f"exec-{program}"])
        assert me["Uid"].split() == [sandboxed["uid"]] * 4
        assert int(me["CapPrm"], 16) == int(me["CapEff"], 16) == 0


def test_every_mount_is_read_only_and_hears_of_no_other(sandboxed, as_root):
    assert sandboxed["mounts"] == "done", "lists those that are not so"
    assert "/srv/disk" in as_root["mounts"]


def remove_check_user(box):
    box.run("sed -i '/^agentd-check:/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow")


def test_missing_user_of_checks_is_told_once(box):
    remove_check_user(box)
    done = once(box, role([attempt("whoami"), attempt("mounts"), attempt("inet")]), "--plan")
    assert done.stderr.count("agentd-check") == 1
    assert f"unused uid {SPARE_UID}" in done.stderr
    assert status_of(outcome(by_name(done.results)["whoami"]))["Uid"].split() == [str(SPARE_UID)] * 4


def test_made_up_user_is_one_that_nobody_has(box):
    remove_check_user(box)
    box.run(["systemd-sysusers", "-"], input=f"u taken {SPARE_UID}\ng taken-too {SPARE_UID - 1}\n")
    done = once(box, role([attempt("whoami")]), "--plan")
    assert status_of(outcome(done.results[0]))["Uid"].split() == [str(SPARE_UID - 2)] * 4


BUS = [attempt("kill-unit", "systemd-journald.service"), *(
    attempt(name, "test.service") for name in ("start-unit", "stop-unit", "transient-unit", "list-units"))]


def test_systemd_answers_a_check_but_obeys_only_root(box):
    prepare(box)
    done = by_name(once(box, role(BUS), "--plan").results)
    for a in BUS:
        wanted = "done" if a.attempt == "list-units" else \
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired org.freedesktop.DBus.Error.AccessDenied"
        assert outcome(done[name_of(a)]) in wanted.split(), a
    assert box.run("systemctl show -P InactiveEnterTimestampMonotonic test.service").stdout == "0\n", "it never ran"
    done = by_name(once(box, role(BUS, check_as_root=True, audit=True)).results)
    for a in BUS:
        assert outcome(done[name_of(a)]) == "done", a


def snapshot(box):
    """Metadata of all files that neither the kernel nor systemd keep writing, and what lives without a file."""
    find = """for top in / /run /tmp /dev/shm /srv/disk; do
        find $top -xdev ! -path '/run/systemd/*' ! -path '/run/udev/*' ! -path '/run/log/*' ! -path '/var/log/*' \\
             ! -path '/etc/agentd-tests*' -printf '%p %y %m %U %G %s %T@ %C@\\n'; done"""
    return box.run(find).stdout.splitlines(), box.run("ipcs | grep -v '^$'; findmnt -n -o TARGET,OPTIONS").stdout


def test_plan_of_a_module_that_writes_changes_nothing(box):
    prepare(box)
    box.write("/etc/agentd-tests/test.toml", "")
    box.run("systemctl stop console-getty.service; touch /run/agetty.reload")  # it writes when it likes
    before = snapshot(box)
    done = once(box, role(ATTEMPTS), "--plan")
    assert len(done.results) == len(ATTEMPTS)
    after = snapshot(box)
    assert sorted(set(after[0]) ^ set(before[0])) == []
    assert after[1] == before[1]


def test_root_only_files_are_read(sandboxed):
    assert sandboxed["read-/etc/shadow"].splitlines()[0].count(":") == 8


def test_image_that_was_written_is_whole_for_the_next_worker(box):
    # A worker may spoil what it sees itself: it dies of it here, and the others are asked again by a new one.
    text = states("hostile", {"a": {"attempt": "scribble"}}) + "".join(
        states("hostile", {f"b{i}": {"attempt": "netlink"}}) for i in range(64))
    done = once(box, text, "--plan")
    results = by_name(done.results)
    assert len(results) == 65
    for i in range(64):
        result = results[f"b{i}"]
        if result["result"] == "drifted":
            assert outcome(result) in ("done", "no such attempt"), result
    again = once(box, states("hostile", {"b": {"attempt": "netlink"}}), "--plan")
    assert outcome(again.results[0]) == "done"


def test_a_check_cannot_type_into_the_terminal_of_root(box):
    box.write("/etc/agentd-tests/test.toml", role([attempt("type"), attempt("open-write", "/dev/tty")]))
    leader, terminal = os.openpty()

    def take():
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [*box.nsenter(box.leader), "/usr/sbin/agentd", "--once", "--plan", "--json", "--conf-dir", "/etc/agentd-tests",
         "--module-dir", MODULES],
        stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=box.ENVIRONMENT, preexec_fn=take)
    try:
        out, _ = process.communicate(timeout=20)
        results = [json.loads(line) for line in out.splitlines() if b'"state"' in line]
        assert [outcome(result) for result in results] == ["EACCES"] * 2
        os.set_blocking(leader, False)
        with pytest.raises(BlockingIOError):
            os.read(leader, 10)
    finally:
        kill_session(process)
        os.close(leader)
        os.close(terminal)


def without(missing, *arguments):
    return ["setpriv", f"--bounding-set=-{missing}", f"--inh-caps=-{missing}", "/usr/sbin/agentd", "--once", "--json",
            "--conf-dir", "/etc/agentd-tests", "--module-dir", MODULES, *arguments]


@pytest.mark.parametrize("missing", ["sys_admin", "setuid", "setpcap", "dac_read_search"])
def test_plan_is_refused_where_no_sandbox_can_be_built(box, missing):
    box.write("/etc/agentd-tests/test.toml", states("trouble", {"s": {"tell": True}}))
    done = box.run(without(missing, "--plan"), check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "lets root build no sandbox" in done.stderr


def test_run_goes_on_without_a_sandbox_in_a_container_that_allows_none(box):
    box.write("/etc/agentd-tests/test.toml", role([attempt("whoami")], audit=True))
    done = box.run(without("sys_admin"), check=False)
    assert done.stderr.count("checks run as root, in the open") == 1
    result = [json.loads(line) for line in done.stdout.splitlines()][0]
    assert status_of(outcome(result))["Uid"].split() == ["0"] * 4
