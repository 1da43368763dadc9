# SPDX-License-Identifier: LGPL-2.1-or-later
"""archive: a directory as it comes out of an archive, and nothing worse than that."""

import io
import tarfile

import daemon
import pytest
from once import differences, snapshot

APP = "/etc/agentd/conf.d/app.tar.gz"
KEPT = "/var/lib/agentd/archives"


@pytest.fixture(autouse=True)
def accounts(box):
    box.run("systemd-sysusers; mkdir -p /opt")


def member(name, content=b"", mode=0o644, **fields):
    info = tarfile.TarInfo(name)
    info.mode, info.size = mode, len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def put(box, *members, path=APP):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as t:
        for info, content in members:
            t.addfile(info, io.BytesIO(content))
    box.write(path, file.getvalue())


def version(n):
    return [member("app/", type=tarfile.DIRTYPE, mode=0o755), member("app/bin/run", b"run %d\n" % n, mode=0o775),
            member(f"app/only-{n}", b"x"), member("app/cur", type=tarfile.SYMTYPE, linkname="bin/run")]


def once(box, text=None, code=0, **summary):
    if text is not None:
        box.role("app", text)
    done = box.agentd_once(timeout=60)
    assert done.returncode == code, (done.results, done.stderr)
    for key, value in summary.items():
        assert done.summary[key] == value, done.results
    # Twice is as good as once.
    if code == 0 and summary.get("changed"):
        assert box.agentd_once(timeout=60).summary["changed"] == 0
    return done


def error(done):
    return done.results[0]["error"]


def find(box, top):
    return sorted(box.run(f"cd {top} && find . -mindepth 1").stdout.split())


def no_staging(box):
    return box.run("find / -xdev -name '.agentd-archive-*'").stdout == ""


ROLE = '[archive."/opt/app"]\nsource = "app.tar.gz"\nstrip = 1\n'


def test_it_is_unpacked_and_a_new_archive_replaces_it(box):
    put(box, *version(1))
    box.role("app", ROLE)
    plan = box.agentd_once("--plan")
    assert plan.summary["drifted"] == 1 and not box.exists("/opt/app")
    once(box, ROLE, changed=1)
    assert find(box, "/opt/app") == ["./bin", "./bin/run", "./cur", "./only-1"]
    assert box.read("/opt/app/cur") == "run 1\n"
    assert box.stat("/opt/app/bin/run").st_mode == 0o100755 and box.stat("/opt/app").st_mode == 0o40755
    assert box.run("find /opt/app ! -user root -o ! -group root").stdout == ""

    put(box, *version(2))
    assert "archive" in differences(once(box, changed=1), "archive:/opt/app")
    assert find(box, "/opt/app") == ["./bin", "./bin/run", "./cur", "./only-2"]
    assert no_staging(box)


@pytest.mark.parametrize("deed, attribute", [
    ("echo evil >/opt/app/bin/run", "bin/run: content"),
    ("printf 'run 7\\n' >/opt/app/bin/run", "bin/run: content"),
    ("chmod 0777 /opt/app/bin", "bin: mode"),
    ("chmod u+s /opt/app/bin/run", "bin/run: mode"),
    ("chown 1 /opt/app/cur -h", "cur: owner"),
    ("rm /opt/app/only-1", "only-1"),
    ("ln -sfn / /opt/app/cur", "cur: target"),
    ("rm -r /opt/app/bin; ln -s /etc /opt/app/bin", "bin"),
    ("mkfifo /opt/app/fifo", "fifo"),
    ("mkdir -p /opt/app/new/sub", "new"),
    ("chmod 0700 /opt/app", "mode"),
])
def test_what_differs_is_told_and_put_right(box, deed, attribute):
    put(box, *version(1))
    once(box, ROLE, changed=1)
    before = snapshot(box, "/etc")
    box.run(deed)
    assert attribute in differences(once(box, changed=1), "archive:/opt/app")
    assert find(box, "/opt/app") == ["./bin", "./bin/run", "./cur", "./only-1"]
    assert box.read("/opt/app/bin/run") == "run 1\n"
    assert before == snapshot(box, "/etc")


def test_a_change_that_keeps_size_and_mtime_is_seen(box):
    put(box, *version(1))
    once(box, ROLE, changed=1)
    box.run("touch -r /opt/app/bin/run /tmp/ref; printf 'run 7\\n' >/opt/app/bin/run; touch -r /tmp/ref /opt/app/bin/run")
    once(box, changed=1)
    box.run("touch /opt/app/bin/run")
    once(box, ok=1)


def test_owners_and_modes(box):
    put(box, member("a", b"", uname="daemon", gname="games"), member("b", b"", uname="nobody-here", mode=0o6777))
    role = '[archive."/opt/app"]\nsource = "app.tar.gz"\nowner = "mail"\ngroup = "mail"\n'
    once(box, role, changed=1)
    assert box.run("stat -c %U:%G /opt/app /opt/app/a /opt/app/b").stdout.split() == ["mail:mail"] * 3
    once(box, role + 'owners = "archive"\nfile_mode = "0750"\n', changed=1)
    assert box.run("stat -c %U:%G:%a /opt/app/a /opt/app/b").stdout.split() == ["daemon:games:640", "mail:mail:750"]


@pytest.mark.parametrize("members, why", [
    ([member("../evil", b"x")], "'..'"),
    ([member("/etc/evil", b"x")], "absolute"),
    ([member("x", type=tarfile.SYMTYPE, linkname="/etc"), member("x/evil", b"x")], "leads out"),
    ([member("x", type=tarfile.LNKTYPE, linkname="/etc/shadow")], "leads out"),
    ([member("x", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "device"),
    ([member("big", bytes(3 << 20))], "max_size"),
    ([member(f"f{i}") for i in range(60)], "max_files"),
])
def test_an_archive_that_does_harm_is_refused_and_nothing_is_changed(box, members, why):
    put(box, *version(1))
    role = ROLE + 'max_size = "1M"\nmax_files = 50\n'
    once(box, role, changed=1)
    before = snapshot(box, "/opt", "/etc", KEPT)
    put(box, *members)
    before = snapshot(box, "/opt", "/etc", KEPT)
    assert why in error(once(box, role.replace("strip = 1\n", ""), code=1, failed=1))
    box.run("touch /etc/agentd/conf.d/app.toml")
    assert before.keys() == snapshot(box, "/opt", "/etc", KEPT).keys()
    assert box.read("/opt/app/bin/run") == "run 1\n" and no_staging(box)


def test_a_truncated_archive_is_refused(box):
    put(box, *version(1), member("app/big", bytes(range(256)) * 1000))
    box.run(f"truncate -s -20 {APP}")
    assert "Failed to unpack" in error(once(box, ROLE, code=1, failed=1))
    assert not box.exists("/opt/app") and no_staging(box)


def test_what_no_archive_has_brought_is_not_replaced(box):
    put(box, *version(1))
    box.write("/opt/app/mine", "mine")
    assert "purge = false" in error(once(box, ROLE, code=1, failed=1))
    assert find(box, "/opt/app") == ["./mine"]
    box.run("rm /opt/app/mine")
    once(box, changed=1)


def test_a_directory_of_the_system_is_not_exchanged(box):
    for more, status in (("", 2), ("purge = false\n", 1)):
        box.role("etc", f'[archive."/etc"]\nsource = "/srv/none.tar"\n{more}')
        done = box.agentd_once("--plan")
        assert done.returncode == status, done
        assert ("etc.toml:1:10: error: '/etc' is a directory of the system" in done.stderr) == (status == 2), done



def test_what_is_mounted_on_it_or_below_is_not_replaced(box):
    put(box, *version(1))
    once(box, ROLE, changed=1)
    box.run("mount -t tmpfs tmpfs /opt/app/bin && echo >/opt/app/bin/precious")
    put(box, *version(2))
    assert "mounted" in error(once(box, code=1, failed=1))
    assert box.exists("/opt/app/bin/precious")
    box.run("umount /opt/app/bin; mount -t tmpfs tmpfs /opt/app")
    assert "mounted" in error(once(box, code=1, failed=1))
    box.run("umount /opt/app")
    once(box, changed=1)


@pytest.mark.parametrize("make", ["echo >/opt/app", "ln -s /etc /opt/app"])
def test_something_else_at_the_path_is_not_replaced(box, make):
    put(box, *version(1))
    box.run(make)
    assert "is not replaced" in error(once(box, ROLE, code=1, failed=1))


def test_a_shared_directory_keeps_what_others_have(box):
    put(box, *version(1))
    role = ROLE + "purge = false\n"
    box.run("mkdir -p /opt/app/bin; echo mine >/opt/app/bin/mine; echo old >/opt/app/bin/run; chmod 0700 /opt/app/bin")
    once(box, role, changed=1)
    assert find(box, "/opt/app") == ["./bin", "./bin/mine", "./bin/run", "./cur", "./only-1"]
    assert box.read("/opt/app/bin/run") == "run 1\n" and box.stat("/opt/app/bin").st_mode == 0o40700
    box.run("rm /opt/app/cur")
    once(box, changed=1)
    put(box, *version(2))
    once(box, changed=1)
    assert find(box, "/opt/app") == ["./bin", "./bin/mine", "./bin/run", "./cur", "./only-1", "./only-2"]
    assert no_staging(box)
    # One kind in place of the other: nothing is followed, nothing is removed.
    box.run("rm -r /opt/app/bin; mkdir /srv/else; ln -s /srv/else /opt/app/bin")
    assert "another kind" in error(once(box, code=1, failed=1))
    assert box.run("ls /srv/else").stdout == ""


def test_creates_leaves_the_rest_alone(box):
    put(box, *version(1))
    role = ROLE + 'creates = "bin/run"\n'
    once(box, role, changed=1)
    box.run("rm /opt/app/cur; echo mine >/opt/app/mine")
    put(box, *version(2))
    once(box, ok=1)
    box.run("rm /opt/app/bin/run")
    once(box, changed=1)
    assert box.read("/opt/app/bin/run") == "run 2\n"


def test_a_checksum_must_be_right(box):
    put(box, *version(1))
    once(box, ROLE + f'checksum = "sha256:{"0" * 64}"\n', code=1, failed=1)
    assert not box.exists("/opt/app") and no_staging(box)


def sha256(box, path=APP):
    return "sha256:" + box.run(f"sha256sum {path}").stdout.split()[0]


def test_with_the_right_checksum_it_is_not_read_in_a_check(box):
    put(box, *version(1))
    role = ROLE + f'checksum = "{sha256(box)}"\n'
    once(box, role, changed=1)
    put(box, *version(2))
    once(box, ok=1)
    # It is not what was promised, so what is missing cannot be brought back.
    box.run("rm /opt/app/cur")
    assert "does not have the checksum" in error(once(box, code=1, failed=1))
    once(box, ROLE + f'checksum = "{sha256(box)}"\n', changed=1)
    assert box.read("/opt/app/cur") == "run 2\n"


def test_a_source_that_others_can_write_is_copied_first(box):
    put(box, *version(1))
    box.run(f"chown daemon {APP}")
    once(box, ROLE + f'checksum = "{sha256(box)}"\n', changed=1)
    assert box.read("/opt/app/cur") == "run 1\n" and no_staging(box)


def test_it_is_fetched_from_a_url(box):
    put(box, *version(1), path="/srv/app.tar.gz")
    role = (f'[archive."/opt/app"]\nurl = "file:///srv/app.tar.gz"\nchecksum = "{sha256(box, "/srv/app.tar.gz")}"\n'
            'strip = 1\n')
    once(box, role, changed=1)
    assert box.read("/opt/app/cur") == "run 1\n"
    put(box, *version(2), path="/srv/app.tar.gz")
    once(box, ok=1)
    box.run("rm -r /opt/app")
    assert "Failed to fetch" in error(once(box, code=1, failed=1))


def test_what_a_crash_has_left_is_removed(box):
    put(box, *version(1))
    once(box, ROLE, changed=1)
    put(box, *version(2))
    box.run("strace -f -e trace=mkdirat -o /tmp/trace agentd --once >/dev/null; grep -o '[.]agentd-archive-[0-9a-f-]*' "
            "/tmp/trace | head -1 >/tmp/name; test -s /tmp/name; mkdir -p /opt/$(cat /tmp/name)/work/tree/a/b; "
            "touch /opt/$(cat /tmp/name)/work/tree/a/b/c")
    put(box, *version(3))
    once(box, changed=1)
    assert no_staging(box) and box.read("/opt/app/cur") == "run 3\n"


@pytest.mark.parametrize("call", ["mkdirat", "fchownat", "fchmod", "syncfs", "renameat2", "fsync", "unlinkat", "openat2:when=9",
                                  "unlinkat:when=3", "renameat"])
def test_whoever_is_killed_leaves_the_old_or_the_new(box, call):
    put(box, *version(1))
    once(box, ROLE, changed=1)
    put(box, *version(2))
    name, _, when = call.partition(":")
    box.run(f"strace -f -qq -o /dev/null -e trace={name} -e inject={name}:signal=KILL:{when or 'when=1'} agentd --once",
            timeout=60, check=False)
    n = box.read("/opt/app/bin/run").split()[1]
    assert find(box, "/opt/app") == ["./bin", "./bin/run", "./cur", f"./only-{n}"]
    assert box.agentd_once(timeout=60).returncode == 0
    assert find(box, "/opt/app") == ["./bin", "./bin/run", "./cur", "./only-2"] and no_staging(box)


def test_the_daemon_does_it_and_repairs_it(box):
    put(box, *version(1))
    box.role("app", ROLE)
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    daemon.wait_event(box, "run-finished")
    daemon.wait_idle(box)
    assert box.read("/opt/app/bin/run") == "run 1\n"
    n = daemon.last_event(box)
    box.run("echo evil >/opt/app/bin/run")
    daemon.wait_event(box, "state-changed", after=n, state="archive:/opt/app")
    assert box.read("/opt/app/bin/run") == "run 1\n"
