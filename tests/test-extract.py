#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentd-extract, by itself: good archives, and those that somebody made to do harm. Prints TAP.

usage: test-extract.py AGENTD-EXTRACT
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

extract = os.path.abspath(sys.argv[1])
tests = []

# What it gives up, a search for leaks would need.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"


def test(function):
    tests.append(function)
    return function


# ---- Making archives -----------------------------------------------------------------------------------------------


def member(name, content=None, **fields):
    info = tarfile.TarInfo(name)
    info.uname = info.gname = "root"
    info.mode = 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    if content is not None:
        info.size = len(content)
    return info, content


def directory(name, **fields):
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755} | fields)


def symlink(name, target):
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name, target):
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def tar(*members, format=tarfile.GNU_FORMAT, **options):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format, **options) as t:
        for info, content in members:
            t.addfile(info, io.BytesIO(content) if content is not None else None)
    return file.getvalue()


def zip_of(*members, compression=zipfile.ZIP_DEFLATED):
    """(name, content, mode) each."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as z:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = compression
            z.writestr(info, content)
    return file.getvalue()


def cpio(*members):
    """(name, mode, content) each, in the "newc" format."""
    out = b""
    for inode, (name, mode, content) in enumerate([*members, ("TRAILER!!!", 0, b"")], 1):
        name = name.encode() + b"\0"
        out += b"070701" + b"".join(b"%08x" % n for n in (
            inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)) + name
        out += b"\0" * (-len(out) % 4) + content
        out += b"\0" * (-len(out) % 4)
    return out


# ---- Unpacking ------------------------------------------------------------------------------------------------------


class Result:
    def __init__(self, status, error, work):
        self.status, self.error, self.work = status, error, Path(work)
        self.tree = self.work / "tree"

    def paths(self):
        return sorted(os.path.relpath(os.path.join(top, name), os.fsencode(self.tree)).decode(errors="backslashreplace")
                      for top, names, files in os.walk(os.fsencode(self.tree)) for name in names + files)

    def manifest(self):
        lines = (self.work / "manifest").read_bytes().decode("ascii").splitlines()
        assert lines[0] == "agentd-manifest 1" and lines[-1] == f"end {len(lines) - 2}", lines
        return {line.split(" ")[8]: line.split(" ") for line in lines[1:-1]}


class Place:
    """A directory beside which there is something that must not be touched."""

    def __enter__(self):
        self.top = Path(tempfile.mkdtemp(prefix="agentd-extract-"))
        self.n = 0
        (self.top / "secret").write_text("secret")
        return self

    def __exit__(self, *_):
        assert (self.top / "secret").read_text() == "secret" and (self.top / "secret").stat().st_nlink == 1
        extra = {p.name for p in self.top.iterdir()} - {"secret", "archive"} - {f"work-{i}" for i in range(1, self.n + 1)}
        shutil.rmtree(self.top)
        assert not extra, extra

    def extract(self, archive, *options):
        self.n += 1
        work = self.top / f"work-{self.n}"
        work.mkdir()
        (self.top / "archive").write_bytes(archive)
        fd = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with open(self.top / "archive", "rb") as f:
                done = subprocess.run([extract, *options], stdin=f, stdout=fd, stderr=subprocess.PIPE, timeout=120)
        finally:
            os.close(fd)
        error = done.stderr.decode("ascii")
        assert done.returncode in (0, 1, 2), (done.returncode, error)
        if done.returncode == 0:
            assert error == "", error
        else:
            assert error.count("\n") == 1 and error.endswith("\n"), error
            assert not (work / "manifest").exists()
        for top, names, files in os.walk(os.fsencode(work)):
            for name in names + files:
                mode = os.lstat(os.path.join(top, name)).st_mode
                assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
                assert not mode & 0o7000
        return Result(done.returncode, error.strip(), work)


def unpack(archive, *options):
    with Place() as place:
        result = place.extract(archive, *options)
        assert result.status == 0, result.error
        return result.paths(), result.manifest()


def refuses(archive, *words, options=()):
    with Place() as place:
        result = place.extract(archive, *options)
        assert result.status == 1, f"it is not refused: {result.paths()}"
        for word in words:
            assert word in result.error, result.error


def b2(content):
    return hashlib.blake2b(content, digest_size=32).hexdigest()


APP = [directory("app/"), directory("app/bin/"), member("app/bin/run", b"#!/bin/sh\n", mode=0o755),
       member("app/read me", b"hello\n", uname="ada", gname="staff"), symlink("app/current", "bin/run")]
APP_PATHS = ["app", "app/bin", "app/bin/run", "app/current", "app/read me"]


# ---- Good ones ------------------------------------------------------------------------------------------------------


@test
def a_tar_is_unpacked_and_listed():
    with Place() as place:
        result = place.extract(tar(*APP))
        assert result.status == 0, result.error
        assert result.paths() == APP_PATHS
        assert (result.tree / "app/bin/run").read_bytes() == b"#!/bin/sh\n"
        assert os.readlink(result.tree / "app/current") == "bin/run"
        m = result.manifest()
        assert list(m) == ["app", "app/bin", "app/bin/run", "app/current", "app/read\\20me"]
        assert m["app"][:6] == ["d", "0755", "0", "root", "root", "-"]
        assert m["app/bin/run"][:6] == ["f", "0755", "10", "root", "root", b2(b"#!/bin/sh\n")]
        assert m["app/current"] == ["l", "0777", "0", "root", "root", "-", "0", "0", "app/current", "bin/run"]
        assert m["app/read\\20me"][3:5] == ["ada", "staff"]


@test
def every_way_to_compress():
    plain = tar(*APP)
    ways = [gzip.compress, bz2.compress, lzma.compress, lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE)]
    for tool in ("zstd", "lz4"):
        if shutil.which(tool):
            ways.append(lambda data, tool=tool: subprocess.run([tool, "-c"], input=data, capture_output=True,
                                                               check=True).stdout)
    for way in ways:
        assert unpack(way(plain))[0] == APP_PATHS


@test
def every_format():
    for f in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert unpack(tar(*APP, format=f))[0] == APP_PATHS
    paths, m = unpack(zip_of(("app/bin/run", "#!", 0o100755), ("app/x", "x", 0o100640), ("app/l", "x", 0o120777)))
    assert paths == ["app", "app/bin", "app/bin/run", "app/l", "app/x"]
    assert m["app/bin/run"][1] == "0755" and m["app/x"][1] == "0640" and m["app/l"][9] == "x"
    assert unpack(zip_of(("a", "a" * 5000, 0o100644), compression=zipfile.ZIP_STORED))[0] == ["a"]
    assert unpack(cpio(("d", 0o40755, b""), ("d/f", 0o100644, b"x")))[0] == ["d", "d/f"]


@test
def parts_are_stripped():
    assert unpack(tar(*APP), "--strip=1")[0] == ["bin", "bin/run", "current", "read me"]
    assert unpack(tar(*APP), "--strip=2")[0] == ["run"]
    assert unpack(tar(member("./app//x", b"")), "--strip=1")[0] == ["x"]
    refuses(tar(*APP), "nothing of it is left", options=["--strip=5"])


@test
def include_and_exclude():
    archive = tar(*APP, member("app/doc/a.txt", b""), member("app/doc/b.txt", b""), member("app/doc/sub/c.txt", b""))

    def paths(*options):
        return [p for p in unpack(archive, *options)[0] if p.endswith("txt")]

    assert paths("--exclude=doc") == []
    assert paths("--exclude=app/doc/*.txt") == ["app/doc/sub/c.txt"]
    assert paths("--exclude=a.txt") == ["app/doc/b.txt", "app/doc/sub/c.txt"]
    assert paths("--exclude=/doc/sub", "--strip=1") == ["doc/a.txt", "doc/b.txt"]
    assert unpack(archive, "--include=bin", "--strip=1")[0] == ["bin", "bin/run"]
    refuses(archive, "nothing of it is left", "see strip, include and exclude", options=["--include=none"])


@test
def what_is_excluded_need_not_be_good():
    archive = tar(member("a", b"a"), member("dev/null", type=tarfile.CHRTYPE), member("../x", b"x"))
    assert unpack(archive, "--exclude=dev", "--exclude=../x")[0] == ["a"]


@test
def directories_that_are_not_listed_are_made():
    paths, m = unpack(tar(member("a/b/c/d", b"x"), directory("a/b", mode=0o700)))
    assert paths == ["a", "a/b", "a/b/c", "a/b/c/d"]
    assert m["a"][1] == "0755" and m["a/b"][1] == "0700"


@test
def hard_links_are_copies():
    with Place() as place:
        result = place.extract(tar(member("a", b"text"), hardlink("b/c", "a"), hardlink("d", "./b/c")))
        assert result.status == 0, result.error
        for name in ("a", "b/c", "d"):
            assert (result.tree / name).read_bytes() == b"text" and (result.tree / name).stat().st_nlink == 1
            assert result.manifest()[name][5] == b2(b"text")


@test
def special_bits_are_dropped():
    _, m = unpack(tar(member("su", b"", mode=0o6755), directory("d", mode=0o1777)))
    assert m["su"][1] == "0755" and m["d"][1] == "0777"


@test
def a_file_that_comes_twice_is_the_later_one():
    with Place() as place:
        result = place.extract(tar(member("a", b"one, and longer"), member("a", b"two")))
        assert (result.tree / "a").read_bytes() == b"two" and result.manifest()["a"][2] == "3"


@test
def sparse_files():
    data = b"x" * 512
    info = tarfile.TarInfo("sparse")
    body = b"1\n1048576\n512\n".ljust(512, b"\0") + data
    info.size = len(body)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse",
                        "GNU.sparse.realsize": str(2 << 20)}
    archive = tar((info, body), format=tarfile.PAX_FORMAT)
    with Place() as place:
        result = place.extract(archive)
        assert result.status == 0, result.error
        content = (result.tree / "sparse").read_bytes()
        assert content == bytes(1 << 20) + data + bytes((1 << 20) - 512)
        assert result.manifest()["sparse"][5] == b2(content)
    refuses(archive, "max_size", options=["--max-bytes=1000000"])


@test
def names_of_all_kinds():
    names = ["ä", "日本", "a\\b", "-", "a b", "%s%n", "~", "$(x)", "...", "..a", "a..", "*"]
    for f in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        paths, _ = unpack(tar(*(member(n, b"") for n in names), format=f))
        assert paths == sorted(names)


@test
def names_that_are_no_utf8_stay_as_they_are():
    with Place() as place:
        result = place.extract(tar(member("gr\udcfcn", b"x"), encoding="utf-8", errors="surrogateescape"))
        assert result.status == 0, result.error
        assert os.listdir(os.fsencode(result.tree)) == [b"gr\xfcn"]
        assert "gr\\fcn" in result.manifest()


@test
def one_of_many_thousand_files():
    paths, m = unpack(tar(*(member(f"d{i % 100}/f{i}", b"%d" % i) for i in range(5000))))
    assert len(paths) == 5100 and len(m) == 5100


# ---- Bad ones -------------------------------------------------------------------------------------------------------


@test
def names_that_lead_out():
    for name, why in [("/etc/passwd", "absolute"), ("//x", "absolute"), ("../secret", "'..'"), ("a/../../secret", "'..'"),
                      ("a/..", "'..'"), ("..", "'..'"), ("a/../b", "'..'")]:
        refuses(tar(member(name, b"evil")), "refused", why)
        refuses(cpio((name, 0o100644, b"evil")), why)
    # The parts that are stripped are not let in either.
    refuses(tar(member("../../secret", b"evil")), "'..'", options=["--strip=2"])
    refuses(zip_of(("../secret", "evil", 0o100644)), "'..'")


@test
def a_symlink_and_then_a_file_through_it():
    for target in ("..", "/tmp", "../..", "a/../.."):
        refuses(tar(symlink("x", target), member("x/secret", b"evil")), "leads out")
    # One that stays, though nothing is written through it.
    refuses(tar(directory("d"), symlink("x", "d"), member("x/f", b"evil")), "no directory")
    refuses(tar(directory("d"), symlink("x", "d"), directory("x/e")), "no directory")
    refuses(tar(directory("d"), symlink("x", "d"), directory("x")), "twice")
    refuses(tar(member("d/f", b"x"), symlink("x", "d/f"), member("x", b"evil")), "twice")
    refuses(tar(directory("d"), symlink("d", "/")), "leads out")


@test
def symlinks_that_lead_out_by_way_of_others():
    refuses(tar(directory("d/e"), symlink("d/e/up", "../.."), symlink("y", "d/e/up/..")), "leads out")
    refuses(tar(directory("d/e"), symlink("y", "d/e/up/../secret"), symlink("d/e/up", "../..")), "leads out")
    refuses(tar(symlink("a", "b/../../x"), directory("b")), "leads out")
    # Nowhere, and in circles.
    assert unpack(tar(symlink("a", "b"), symlink("b", "a"), symlink("c", "none"), symlink("d", ".")))[0] == list("abcd")


@test
def hard_links_that_lead_out():
    for target in ("/etc/passwd", "../secret", "a/../../secret"):
        refuses(tar(hardlink("x", target)), "leads out")
    refuses(tar(hardlink("x", "none")), "no file that was unpacked before")
    refuses(tar(symlink("l", "d"), hardlink("x", "l")), "no file that was unpacked before")
    refuses(tar(directory("d"), hardlink("x", "d")), "no file that was unpacked before")
    assert unpack(tar(member("x", b"1"), hardlink("x", "x")))[0] == ["x"]


@test
def devices_and_the_like():
    for type, word in [(tarfile.CHRTYPE, "device"), (tarfile.BLKTYPE, "device"), (tarfile.FIFOTYPE, "fifo")]:
        refuses(tar(member("x", type=type, devmajor=1, devminor=3)), "'x' is", word)
    refuses(cpio(("s", 0o140644, b"")), "socket")


@test
def one_kind_in_place_of_another():
    refuses(tar(member("a", b"x"), directory("a")), "twice")
    refuses(tar(directory("a"), member("a", b"x")), "twice")
    refuses(tar(member("a", b"x"), member("a/b", b"x")), "no directory")
    refuses(tar(member("a/b", b"x"), symlink("a", "c")), "twice")


@test
def control_characters():
    for name in ("a\nb", "a\rb", "\x1b[31m", "a\x7f", "d\n/f", "\t"):
        refuses(tar(member(name, b"")), "control character")


@test
def what_is_too_deep_or_too_long():
    refuses(tar(member("/".join(["d"] * 1000), b"")), "too deep")
    refuses(tar(member("/".join(["d" * 200] * 30), b"")), "too long")
    refuses(tar(member("n" * 300, b"")), "too long")
    assert len(unpack(tar(member("/".join(["d"] * 250), b"")))[0]) == 250


@test
def bombs():
    zeros = tar(member("zeros", bytes(20 << 20)))
    for archive in (zeros, gzip.compress(zeros), lzma.compress(zeros), zip_of(("zeros", bytes(20 << 20), 0o100644))):
        refuses(archive, "larger than 10000000 bytes", "max_size", options=["--max-bytes=10000000"])
    many = tar(*(member(f"f{i}", b"") for i in range(1001)))
    refuses(many, "more than 1000 entries", "max_files", options=["--max-files=1000"])
    # The same name again and again, and what is left out, count too.
    refuses(tar(*(member("f", b"") for _ in range(1001))), "max_files", options=["--max-files=1000"])
    refuses(many, "max_files", options=["--max-files=1000", "--exclude=f*"])
    # Directories that nobody lists.
    refuses(tar(*(member(f"{i}/" + "d/" * 200 + "f", b"") for i in range(10))), "max_files", options=["--max-files=1000"])
    # Copies.
    refuses(tar(member("a", bytes(1 << 20)), *(hardlink(f"l{i}", "a") for i in range(20))), "max_size",
            options=["--max-bytes=10000000"])
    nested = tar(member("x", b"x"))
    for _ in range(3):
        nested = gzip.compress(nested)
    refuses(nested, "more than once")


@test
def sizes_that_lie():
    info, _ = member("x", b"")
    info.size = 1 << 40
    refuses(info.tobuf() + bytes(1024), "max_size")
    info.size = 1 << 20
    refuses(info.tobuf() + bytes(1024), "'x'")


@test
def archives_that_end_too_early():
    plain = tar(*APP, member("big", random.Random(1).randbytes(100000)))
    for packed in (gzip.compress(plain), bz2.compress(plain), lzma.compress(plain), zip_of(("a", os.urandom(9999), 0o100644))):
        for part in (3, 2, 1.2):
            refuses(packed[:int(len(packed) / part)])
    refuses(plain[:-30000])
    refuses(b"")
    refuses(b"\0" * 10)
    refuses(b"hello\n" * 100)
    refuses(gzip.compress(b"hello\n" * 100))


@test
def archives_with_bits_flipped():
    rng = random.Random(7)
    for good in (tar(*APP), gzip.compress(tar(*APP)), zip_of(("a/b", "x" * 1000, 0o100644), ("c", "y", 0o120777))):
        with Place() as place:
            for _ in range(60):
                bad = bytearray(good)
                for _ in range(rng.randint(1, 8)):
                    bad[rng.randrange(len(bad))] = rng.randrange(256)
                place.extract(bytes(bad), "--max-bytes=10000000")


@test
def passwords():
    # The traditional encryption of zip: a flag, and 12 bytes before the content.
    name, content = b"x", os.urandom(40)
    head = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 0x21, 0, len(content), len(content) - 12, len(name), 0)
    body = b"PK\3\4" + head + name + content
    central = b"PK\1\2" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, 0) + name
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(body), 0)
    refuses(body + central + end, "'x' is protected by a password")


@test
def what_is_no_archive_of_files():
    refuses(b"#mtree\n./etc/passwd type=file content=/etc/passwd\n", "Unrecognized")
    refuses(b"!<arch>\nx/              0           0     0     644     4         `\nevil")


@test
def wrong_usage():
    with Place() as place:
        for options in (["--strip=-1"], ["--strip=x"], ["--max-bytes="], ["--max-files=99999999999"], ["what"], ["--none"]):
            result = place.extract(tar(*APP), *options)
            assert result.status == 2, options
    done = subprocess.run([extract], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"usage" in done.stderr


@test
def attributes_in_headers_are_not_kept():
    info, content = member("a", b"x")
    info.pax_headers = {"SCHILY.xattr.user.x": "evil", "SCHILY.acl.access": "user::rwx,user:1:rwx,group::r--,mask::rwx,other::r--",
                        "LIBARCHIVE.xattr.user.y": "ZXZpbA"}
    with Place() as place:
        result = place.extract(tar((info, content), format=tarfile.PAX_FORMAT))
        assert result.status == 0, result.error
        assert [n for n in os.listxattr(result.tree / "a") if n.startswith(("user.", "system."))] == []


@test
def hard_links_to_what_comes_later():
    refuses(tar(hardlink("a", "b"), member("b", b"x")), "no file that was unpacked before")


@test
def names_that_differ_in_case_are_two():
    assert unpack(tar(member("A", b"1"), member("a", b"2"), directory("Dir"), directory("dir")))[0] == ["A", "Dir", "a", "dir"]


@test
def what_comes_after_the_end_is_nothing():
    assert unpack(tar(*APP) + tar(member("../evil", b"x"), member("more", b"x")))[0] == APP_PATHS


@test
def names_of_another_system_do_not_lead_out():
    for name in "..\\evil", "a\\..\\..\\..\\evil", "C:\\evil", "/evil", "./../evil", "a/../../evil", "a//../evil":
        with Place() as place:
            result = place.extract(zip_of((name, "evil", 0o100644)))
            assert result.status == (1 if "/" in name or result.error else 0), (name, result.paths())


@test
def nobody_else_can_get_at_what_it_has_open():
    """By /proc, of which what belongs to root is closed to who has its user."""
    if os.geteuid() != 0:
        return
    with tempfile.TemporaryDirectory() as top:
        program, work = shutil.copy(extract, top), f"{top}/work"
        os.chmod(top, 0o755)
        os.mkdir(work)
        os.chown(work, 65534, 65534)
        fd = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=fd, stderr=subprocess.DEVNULL,
                                 user=65534, group=65534, extra_groups=[])
        os.close(fd)
        try:
            child.stdin.write(tar(member("a", bytes(100000)))[:20000])
            child.stdin.flush()
            while not os.path.exists(f"{work}/tree/a"):
                assert child.poll() is None
            assert os.stat(f"/proc/{child.pid}/fd").st_uid == 0
        finally:
            child.stdin.close()
            child.wait()


failed = 0
for number, function in enumerate(tests, 1):
    try:
        function()
        print(f"ok {number} - {function.__name__}")
    except Exception as e:  # noqa: BLE001 -- a test that fails says why, and the others go on
        import traceback
        failed += 1
        print(f"not ok {number} - {function.__name__}")
        for line in traceback.format_exc().splitlines():
            print(f"# {line}".encode("ascii", "backslashreplace").decode())
print(f"1..{len(tests)}")
sys.exit(1 if failed else 0)
