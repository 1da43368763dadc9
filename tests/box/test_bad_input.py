# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad roles, bad hosts, bad moments: one clear error, and nothing is lost or half done."""

import random
import os
import re
import struct
import signal
import subprocess
import tempfile

import pytest

from box import PATIENCE, wait_until
from once import AGENTD, agentd, changes, errors, need_plain_build, results, said, snapshot, temporaries

GOOD = '[file."/srv/good"]\ncontent = "x"\n'
ROLE = "/etc/agentd/conf.d/role.toml"


def expect_refused(box, error, n=1, prefix=ROLE):
    """All modes say the same in n lines, with status 2, and the host is as it was: not even a good role is applied."""
    box.role("good", GOOD)
    box.start() if not box.running else None
    before = snapshot(box, "/srv", "/etc", "/usr/lib/agentd")
    done = agentd(box, "--once")
    assert (done.returncode, done.stdout) == (2, ""), done
    lines = said(done)
    assert len(lines) == n, done.stderr[:2000]
    assert lines[0].startswith(prefix) and len(done.stderr) < 4000, done.stderr[:4000]
    assert re.search(error, done.stderr), done.stderr
    assert said(agentd(box, "--validate")) == said(agentd(box, "--once", "--plan")) == lines
    assert changes(before, snapshot(box, "/srv", "/etc", "/usr/lib/agentd")) == []


# ---- Text of roles ----

@pytest.mark.parametrize("text, place, error", [
    # what TOML refuses
    (b'[file."/srv/a"]\ncontent = "\xff"\n', "2:12", "UTF-8"),
    (b'\xff\xfe[\x00f\x00', "1:1", "UTF-8"),
    (b'[file."/srv/a"]\ncontent = "a\x00b"\n', "2:13", ""),
    (b'[file."/srv/a"]\ncontent = "open\n', "2:", ""),
    (b'[file."/srv/a"\n', "1:15", ""),
    (b'x', "1:", ""),
    (b'[file."/srv/a"]\nmode = "0644"\nmode = "0600"\n', "3:8", "'mode'"),
    (b'[file."/srv/a"]\n[file."/srv/a"]\n', "2:", "/srv/a"),
    (b"vars.x = " + b"[" * 10000, "1:", "nest|deep|level"),
    (b"vars.x = " + b"{a=" * 10000, "1:", "nest|deep|level"),
    (b".".join([b"a"] * 50000) + b" = 1\n", "1:", "key"),
    (b"[" + b".".join([b"a"] * 50000) + b"]\n", "1:", "key"),
    (b"a" * 100000 + b" = 1\n", "1:", "key"),
    # what roles refuse
    ('[flie."/srv/a"]\n', "1:2", "'flie'.*did you mean 'file'"),
    ('file = 1\n', "1:1", "wants a name"),
    ('[file]\ncontent = "x"\n', "2:1", "a state has a name"),
    ('[file."/srv/a"]\ncontnet = "x"\n', "2:1", "unknown key 'contnet'.*did you mean 'content'"),
    ('[file."/srv/a"]\ncontent = 5\n', "2:11", "'content' is an integer; it must be a string"),
    ('[file."/srv/a"]\nwhen = "true"\naudit = "yes"\n', "3:9", "'audit' is a string"),
    ('[file."/srv/a"]\nensure = "dir"\n', "2:10", "'ensure' is 'dir'.*one of file, directory"),
    ('[file."/srv/a"]\nensure = "symlink"\n', "1:", "needs 'target'"),
    ('[file."/srv/a"]\ntarget = "/x"\n', "2:10", "did you mean ensure = \"symlink\""),
    ('[file."/srv/a"]\nensure = "directory"\ncontent = "x"\n', "3:11", "'content' makes no sense"),
    ('[file."/srv/a"]\ncontent = "x"\nsource = "y"\n', "3:10", "both 'content' and 'source'"),
    ('[file."/srv/a"]\nparents = { creat = true }\n', "2:13", "'creat'.*did you mean 'create'"),
    ('[file."/srv/a"]\nparents = true\n', "2:11", "must be a table"),
    ('[file."/srv/a"]\nowner = "a:b"\n', "2:9", "no name of a user"),
    ('[file."/srv/a"]\n[job.x]\n', "2:2", "not supported by this version"),
    ('import = ["x"]\n', "1:11", "there is no role 'x' .looked for x.toml and x/main.toml in /etc/agentd/roles"),
    # modes
    ('[file."/srv/a"]\nmode = 644\n', "2:8", "is an integer.*\"0644\""),
    ('[file."/srv/a"]\nmode = 0o644\n', "2:8", "is an integer.*\"0644\""),
    ('[file."/srv/a"]\nmode = "0689"\n', "2:8", "'0689'.*octal digits"),
    ('[file."/srv/a"]\nmode = "77777"\n', "2:8", "octal digits"),
    ('[file."/srv/a"]\nmode = "u+q"\n', "2:8", "octal digits like .*symbolic"),
    ('[file."/srv/a"]\nmode = ""\n', "2:8", "octal digits"),
    # paths
    ('[file."srv/a"]\n', "1:7", "'srv/a' is a relative path"),
    ('[file.""]\n', "1:7", "empty"),
    ('[file."/srv/a\\u0000b"]\n', "1:7", "NUL"),
    ('[file."/srv/../etc/passwd"]\n', "1:7", "'..' in it"),
    (f'[file."/{"a" * 300}"]\n', "1:7", "longer than a path can be"),
    (f'[file."{"/a" * 3000}"]\n', "1:7", "too long"),
    (f'vars.a = "{"/a" * 3000}"\n[file."{{{{vars.a}}}}"]\n', "2:7", "longer than a path can be"),
    ('[file."/"]\n', "1:", "'/' is a directory"),
    ('[file."/srv/a"]\nensure = "symlink"\ntarget = "a\\u0000b"\n', "3:10", "without NUL"),
    ('[file."/srv/a"]\nsource = "a\\u0000b"\n', "2:10", "NUL"),
    # order
    ('[file."/srv/a"]\n[file."/srv//a/"]\n', "2:7", f"file:/srv/a is declared twice; first at {ROLE}:1:7"),
    ('[file."/srv/a"]\nrequires = ["file:/srv/b"]\n[file."/srv/b"]\nrequires = ["file:/srv/a"]\n', "1:7",
     "cycle: file:/srv/a requires file:/srv/b requires file:/srv/a$"),
    ('[file."/srv/a"]\nrequires = ["file:/srv/a"]\n', "2:13", "refers to itself"),
    ('[file."/srv/a"]\nbefore = ["file:/srv"]\n[file."/srv"]\nensure = "directory"\n', "1:7", "cycle"),
    ('[file."/srv/a"]\nrequires = ["file:/srv/goood"]\n', "2:13",
     "no state 'file:/srv/goood'; did you mean 'file:/srv/good'"),
    ('[file."/srv/a"]\nrequires = ["nosuch:*"]\n', "2:13", "no type 'nosuch'"),
    ('[file."/srv/a"]\nrequires = ["nginx"]\n', "2:13", "TYPE:NAME"),
    ('[file."/srv/a"]\nrequires = "file:/srv/good"\n', "2:12", "must be an array"),
    # expressions
    ('[file."/srv/a"]\nwhen = "facts.os.idd == \'x\'"\n', "2:18", "idd"),
    ('[file."/srv/a"]\nwhen = "1 +"\n', "2:11", ""),
    ('[file."/srv/a"]\nwhen = "facts.os.id"\n', "2:", "boolean|true or false|condition"),
    ('[file."/srv/a"]\nwhen = "exists()"\n', "2:", "exists"),
    ('[file."/srv/a"]\nwhen = "' + "(" * 100 + '"\n', "2:", "nest|deep"),
    ("vars.l = [" + "1," * 6000 + ']\n[file."/srv/a"]\nwhen = "vars.l == vars.l and vars.l == vars.l"\n', "3:", "step"),
    ('[file."/srv/{{item}}"]\nfor_each = "vars.nosuch"\n', "2:18", "nosuch"),
    ('[file."/srv/{{item}}"]\nfor_each = "exists(\'/x\')"\n', "2:13", "exists"),
    ('[file."/srv/{{item}}"]\nfor_each = 5\n', "2:12", ""),
    ('[file."/srv/a"]\nfor_each = [1, 2]\n', "1:7", "items 0 and 1 of the loop both make file:/srv/a"),
    ('[file."/srv/a"]\ncontent = "{{facts.uptime}}"\n', "2:", "uptime"),
    # timeouts
    ('[file."/srv/a"]\ntimeout = 0\n', "2:11", "time span"),
    ('[file."/srv/a"]\ntimeout = -1\n', "2:11", "time span"),
    ('[file."/srv/a"]\ntimeout = "soon"\n', "2:11", "time span"),
    # templates in strings
    ('[file."/srv/a"]\ncontent = "{{vars.nosuch}}"\n', "2:12", "vars.nosuch"),
    ('[file."/srv/a"]\ncontent = "{{#vars.x}}"\nvars.x = 1\n', "", "vars"),
    ('[file."/srv/a"]\ncontent = "{{open"\n', "2:12", ""),
    ('[file."/srv/{{vars.nosuch}}"]\n', "1:", "nosuch"),
], ids=lambda value: (value if isinstance(value, str) else repr(value))[:40])
def test_role_is_refused_with_the_place_of_the_error(box, text, place, error):
    box.write(ROLE, text)
    n = 2 if error == "vars" else 1
    expect_refused(box, error, n, prefix=f"{ROLE}:{place}" + (": error: " if ":" in place and place[-1] != ":" else ""))


def test_role_of_ten_megabytes_is_refused(box):
    box.write(ROLE, b"# text\n" * (10 << 20 >> 3) + b"#" * (2 << 20))
    expect_refused(box, "MiB.*limit")


def test_errors_without_number_are_cut_off(box):
    box.role("role", "".join(f'[file."{n}"]\n' for n in range(5000)))
    done = agentd(box, "--once")
    assert done.returncode == 2 and done.stdout == ""
    lines = said(done)
    assert 100 <= len(lines) <= 1001 and lines[0].startswith(f"{ROLE}:1:7: error: ")
    assert "more" in lines[-1] or len(lines) < 5000


def test_two_roles_with_one_state_are_refused_with_both_places(box):
    box.role("a", '[file."/srv/a"]\n')
    box.role("b", '\n[file."/srv//a"]\n')
    expect_refused(box, "file:/srv/a is declared twice; first at /etc/agentd/conf.d/a.toml:1:7",
                   prefix="/etc/agentd/conf.d/b.toml:2:7: error: ")


def test_one_name_as_file_and_as_directory_is_refused(box):
    box.write("/etc/agentd/conf.d/role/main.toml", GOOD.replace("good", "a"))
    box.role("role", GOOD.replace("good", "b"))
    expect_refused(box, "role 'role' is also", prefix="/etc/agentd/conf.d/role")


# ---- Files of roles ----

@pytest.mark.parametrize("make, error", [
    ("mkdir {}", "is a directory"),
    ("mkfifo {}", "a FIFO"),
    ("ln -s /dev/zero {}", "a device"),
    ("ln -s /nowhere {}", "No such file|does not exist"),
    ("ln -s role.toml {}", "symbolic links"),
    ("ln -s /run/systemd/journal/socket {}", "No such device|socket"),
])
def test_role_that_is_no_file_is_refused(box, make, error):
    box.run("mkdir -p /etc/agentd/conf.d; " + make.format(ROLE))
    expect_refused(box, error)


def test_directory_without_main_toml_is_no_role(box):
    box.write("/etc/agentd/conf.d/files/text", "x")
    box.role("role", GOOD)
    assert agentd(box, "--once").returncode == 0


def test_conf_d_that_is_a_file_is_refused(box):
    box.run("rm -rf /etc/agentd/conf.d; mkdir -p /etc/agentd; echo >/etc/agentd/conf.d")
    done = agentd(box, "--once")
    assert done.returncode == 2 and len(said(done)) == 1 and "/etc/agentd/conf.d" in done.stderr


@pytest.mark.parametrize("spoil, prefix, error", [
    ("chmod 666 {}/role.toml", "/etc/agentd/conf.d/role.toml: error: ", "others than root can write it"),
    ("chown 1 {}/role.toml", "/etc/agentd/conf.d/role.toml: error: ", "others than root can write it"),
    ("chmod 777 {}", "/etc/agentd/conf.d: error: ", "anybody can put roles into it"),
])
def test_role_that_others_can_write_is_refused(box, spoil, prefix, error):
    box.role("role", GOOD)
    box.run(spoil.format("/etc/agentd/conf.d"))
    expect_refused(box, error, prefix=prefix)


# ---- Files of templates ----

@pytest.mark.parametrize("template, place, error", [
    ("line\n{{#vars.x}} never closed\n", "t:2:", "vars.x"),
    ("{{/vars.x}}\n", "t:1:", "vars.x"),
    ("line\n a {{vars.nosuch}}\n", "t:2:", "nosuch"),
    ("{{facts.os.idd}}", "t:1:", "did you mean"),
    ("{{vars.x", "t:1:", ""),
    ("{{>nosuch}}", "t:1:", "nosuch"),
    ("{{>t}}", "t:1:", ""),
    (b"\xff{{vars.x}}\xff", None, ""),
])
def test_template_is_refused_with_the_place_in_the_template(box, template, place, error):
    box.write("/etc/agentd/conf.d/t", template)
    box.role("role", 'vars.x = "1"\n[file."/srv/a"]\ntemplate = "t"\n')
    if place is None:  # bytes are bytes
        assert agentd(box, "--once").returncode == 0
    else:
        expect_refused(box, error, prefix=f"/etc/agentd/conf.d/{place}")


@pytest.mark.parametrize("make", ["true", "mkdir {}", "mkfifo {}", "ln -s /nowhere {}",
                                  "truncate -s 20M {}"])
def test_template_that_cannot_be_read_is_refused_with_the_place_in_the_role(box, make):
    box.run("mkdir -p /etc/agentd/conf.d; " + make.format("/etc/agentd/conf.d/t"))
    box.role("role", '[file."/srv/a"]\ntemplate = "t"\n')
    expect_refused(box, "template '/etc/agentd/conf.d/t' cannot be used", prefix=f"{ROLE}:2:12: error: ")


# ---- Hosts that do not take a change ----

def expect_failed_and_old(box, top, error):
    before = snapshot(box, top)
    once = box.agentd_once()
    assert once.returncode == 1 and said(once) == []
    assert set(results(once).values()) == {"failed"}, once.results
    for message in errors(once).values():
        assert re.search(error, message) and "\n" not in message
    assert [path for path in changes(before, snapshot(box, top)) if path != top] == []
    assert temporaries(box, top) == []


def test_full_file_system_keeps_the_old_content(box, full_disk):
    top = full_disk("/srv/full")
    box.run(f"rm {top}/filler; echo old >{top}/a; cat /dev/zero >{top}/filler", check=False)
    box.write("/etc/agentd/conf.d/data", "new" * 5000)
    box.role("role", f'[file."{top}/a"]\ncontent = "new"\n[file."{top}/b"]\nsource = "data"\n')
    expect_failed_and_old(box, top, "No space left on device")
    assert box.read(f"{top}/a") == "old\n"
    box.run(f"rm {top}/filler")
    assert box.agentd_once().summary["changed"] == 2


def test_file_system_without_inodes_keeps_the_old_content(box, full_disk):
    top = full_disk("/srv/full")
    box.run(f"cd {top}; rm filler; echo old >a; mkdir d; i=0; while : >x$i; do i=$((i+1)); done", check=False)
    box.role("role", f'[file."{top}/a"]\ncontent = "new"\n[file."{top}/l"]\nensure = "symlink"\ntarget = "a"\n'
                     f'[file."{top}/n"]\nensure = "directory"\n[file."{top}/p/q"]\nparents = {{}}\n')
    expect_failed_and_old(box, top, "No space left on device")


def test_mode_of_a_file_can_be_set_on_a_full_file_system(box, full_disk):
    top = full_disk("/srv/full")
    box.role("role", f'[file."{top}/filler"]\nmode = "0600"\n')
    assert box.agentd_once().summary["changed"] == 1


def test_repair_goes_on_though_somebody_occupies_the_name_of_the_temporary(box):
    box.run("mkdir /srv/w; echo old >/srv/w/b; mkdir -p /srv/w/.agentd-af63df4c8601f1a5/x; chown -R 1000 /srv/w")
    box.role("role", '[file."/srv/w/b"]\ncontent = "new"\n')
    assert box.agentd_once().summary["changed"] == 1 and box.read("/srv/w/b") == "new"


def test_source_that_somebody_else_made_a_link_is_refused(box):
    box.run("mkdir /srv/w; echo secret >/root/secret; chmod 600 /root/secret; ln -s /root/secret /srv/w/src; "
            "chown -hR 1000 /srv/w; ln -s /root/secret /root/link")
    box.role("role", '[file."/srv/a"]\nsource = "/srv/w/src"\n[file."/srv/b"]\nsource = "/root/link"\n')
    done = box.agentd_once("--diff")
    assert results(done) == {"file:/srv/a": "failed", "file:/srv/b": "changed"}
    assert "symlink on the way" in errors(done)["file:/srv/a"]


def test_file_with_an_access_control_list_is_not_opened_to_its_group(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/srv/disk/a", "old", mode=0o600)
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
        (1, 6, 2**32 - 1), (2, 4, 1000), (4, 0, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)))
    os.setxattr(f"/proc/{box.leader}/root/srv/disk/a", "system.posix_acl_access", acl)
    box.role("role", '[file."/srv/disk/a"]\ncontent = "new"\n')
    assert box.agentd_once().summary["changed"] == 1 and box.read("/srv/disk/a") == "new"
    assert os.getxattr(f"/proc/{box.leader}/root/srv/disk/a", "system.posix_acl_access") == acl


def test_read_only_file_system_keeps_what_it_has(box, loop_ext4):
    disk = loop_ext4("/srv/disk")
    box.run("cd /srv/disk; echo old >a; echo >gone; mkdir d; mount -o remount,ro /srv/disk")
    box.role("role", """
[file."/srv/disk/a"]
content = "new"
[file."/srv/disk/d"]
ensure = "directory"
mode = "0700"
[file."/srv/disk/gone"]
ensure = "absent"
[file."/srv/disk/link"]
ensure = "symlink"
target = "a"
[file."/srv/disk/new"]
ensure = "directory"
""")
    expect_failed_and_old(box, "/srv/disk", "Read-only file system")
    box.run("mount -o remount,rw /srv/disk")
    assert box.agentd_once().summary["changed"] == 5
    disk.umount()


def test_immutable_file_is_an_error(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.run("echo old >/srv/disk/a; chattr +i /srv/disk/a")
    box.role("role", '[file."/srv/disk/a"]\ncontent = "new"\n')
    expect_failed_and_old(box, "/srv/disk", "it is immutable")
    box.run("chattr -i /srv/disk/a")


def test_disk_that_fails_is_an_error_and_others_go_on(box, loop_ext4):
    disk = loop_ext4("/srv/disk")
    box.run("echo old >/srv/disk/a; sync -f /srv/disk")
    box.role("role", '[file."/srv/disk/a"]\ncontent = "new"\n[file."/srv/b"]\n')
    disk.cut_power()
    once = box.agentd_once()
    assert results(once) == {"file:/srv/disk/a": "failed", "file:/srv/b": "changed"}
    assert "Input/output error" in errors(once)["file:/srv/disk/a"] or "Read-only" in errors(once)["file:/srv/disk/a"]
    disk.umount()
    disk.mount()
    assert box.read("/srv/disk/a") == "old\n"


# ---- Ends in the middle ----

N = 6000
OLD, NEW = "old\n" * 100, "new\n" * 200


class Run:
    """agentd --once over N files of /srv/d that hold OLD and shall hold NEW, going on beside the test."""

    def __init__(self, box, *arguments):
        self.box = box
        box.run("rm -f /run/pid; mkdir -p /srv/d; rm -f /srv/d/.agentd-*")
        box.run(["python3", "-c", f"for i in range({N}): open(f'/srv/d/{{i}}', 'w').write(open('/run/old').read())"])
        # Not pipes, which would have to be read.
        self.output = [tempfile.TemporaryFile("w+", errors="replace") for _ in range(2)]
        self.process = subprocess.Popen(
            box.nsenter(box.leader) + ["sh", "-c", 'echo $$ >/run/pid.new; mv /run/pid.new /run/pid; exec setsid "$@"',
                                       "sh", AGENTD, "--once", *arguments],
            stdin=subprocess.DEVNULL, stdout=self.output[0], stderr=self.output[1], env=box.ENVIRONMENT,
            start_new_session=True)
        wait_until(lambda: box.exists("/run/pid"), PATIENCE, "the start of the run")

    @staticmethod
    def prepare(box):
        box.start()
        box.write("/run/old", OLD)
        box.write("/etc/agentd/conf.d/new", NEW)
        box.role("role", "".join(f'[file."/srv/d/{n}"]\nsource = "new"\n' for n in range(N)))

    def wait_file(self, n):
        """Until file n is new."""
        size = len(NEW)
        wait_until(lambda: self.box.stat(f"/srv/d/{n}").st_size == size or self.process.poll() is not None, PATIENCE,
                   f"file {n}")

    @classmethod
    def signalled(cls, box, n, number, group=False):
        """A run that was sent a signal after file n, and what end() says of it. On a busy machine it may be over by then:
        then it was another run."""
        for _ in range(20):
            run = cls(box)
            run.wait_file(n)
            run.kill(number, group)
            ended = run.end()
            if ended[0] != 0:
                return run, *ended
        pytest.fail("each run was over too soon")

    def kill(self, number, group=False):
        pid = int(self.box.read("/run/pid"))
        # A run may be over in the meantime: then what it left shows it.
        self.box.run(["python3", "-c", "import contextlib, os\nwith contextlib.suppress(ProcessLookupError):\n"
                      f"    os.kill({-pid if group else pid}, {int(number)})"])

    def end(self):
        status = self.process.wait(PATIENCE)
        self.box.run("while pgrep '^agentd'; do sleep 0.01; done")
        texts = []
        for file in self.output:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return status, *texts

    def new_files(self):
        """How many files are new; each other one is old, and whole."""
        sums = self.box.run(f"cd /srv/d; sha256sum /run/old /etc/agentd/conf.d/new $(seq 0 {N - 1}) | "
                            "cut -c -64").stdout.split()
        old, new, *files = sums
        assert set(files) <= {old, new}, "a file is neither old nor new"
        assert len(files) == N
        return files.count(new)


def test_sigkill_at_any_moment_leaves_whole_files_and_the_next_run_converges(box):
    Run.prepare(box)
    middles = 0
    for n in (0, 1, 255, 256, *(random.randrange(N) for _ in range(6)), N - 2):
        run = Run(box)
        run.wait_file(n)
        run.kill(signal.SIGKILL)
        run.end()
        middles += 0 < run.new_files() < N
        once = box.agentd_once()
        assert once.returncode == 0 and once.summary["changed"] + once.summary["ok"] == N
        assert run.new_files() == N
        assert temporaries(box, "/srv") == []
    # A busy machine hardly ever hits the middle.
    while middles < 3:
        middles += 0 < Run.signalled(box, 100, signal.SIGKILL)[0].new_files() < N


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("group", [False, True], ids=["agentd", "group"])
def test_signal_to_end_finishes_what_is_under_way_and_says_interrupted(box, number, group):
    # To the group of processes: what a terminal does at Ctrl-C, and a service manager at a stop.
    Run.prepare(box)
    run, status, stdout, stderr = Run.signalled(box, 10, number, group)
    *lines, summary = stdout.splitlines()
    changed = [line.split(":", 1)[1] for line in lines if line.startswith("changed ")]
    assert status == 1 and summary.endswith(", interrupted"), (summary, stderr)
    assert "failed" not in stdout and "worker" not in stderr, (summary, stderr)
    assert 10 <= len(changed) < N and run.new_files() == len(changed)
    assert temporaries(box, "/srv") == []
    assert box.agentd_once().summary == {"ok": len(changed), "changed": N - len(changed), "drifted": 0, "unknown": 0,
                                         "failed": 0, "skipped": 0, "blocked": 0}


def test_signal_twice_ends_at_once(box, loop_ext4):
    need_plain_build(box, "a worker that hangs holds standard error open")
    loop_ext4("/srv/disk")
    box.role("role", '[file."/srv/disk/a"]\ncontent = "x"\ntimeout = "1min"\n')
    box.run("fsfreeze --freeze /srv/disk")
    try:
        process = subprocess.Popen(box.nsenter(box.leader) + ["sh", "-c", f"echo $$ >/run/pid; exec {AGENTD} --once"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=box.ENVIRONMENT)
        box.run("until pgrep -x agentd-apply; do :; done")
        box.run("kill $(cat /run/pid)")
        while b"once more" not in process.stderr.readline():
            assert process.poll() is None
        box.run("kill $(cat /run/pid)")
        assert process.wait(PATIENCE) == 1
    finally:
        box.run("fsfreeze --unfreeze /srv/disk")
    process.communicate(timeout=20)


def test_lock_is_held_by_a_run_and_free_after_sigkill(box):
    Run.prepare(box)
    for _ in range(20):
        run = Run(box)
        run.wait_file(5)
        held = box.run("flock --shared --nonblock /run/agentd/lock true", check=False).returncode == 1
        # It may have been over by then.
        over = run.process.poll() is not None
        run.kill(signal.SIGKILL)
        run.end()
        if not over:
            break
    assert held
    assert agentd(box, "--once").returncode == 0
