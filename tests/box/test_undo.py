# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a change of files records is enough to have the old state again, of every kind of change."""

import contextlib
import io
import os
import pwd
import stat
import struct
import tarfile

import daemon

TOP = "/srv/disk"
TAGS = {"user": (1, 2), "group": (4, 8), "mask": (16, 16), "other": (32, 32)}
NO_ID = 2**32 - 1

SETUP = f"""
systemd-sysusers
cd {TOP}
mkdir -p forced/a/b gone/d tree/d0/sub tree/was-dir tree/more/deep shared/bin src/d0 dir
echo old >content; chmod 6751 content; chown daemon:games content
echo old >attributes; chmod 0604 attributes
echo old >list; chmod 0640 list
echo other >hard; chmod 0600 hard; echo one >target
ln -s somewhere link
echo kept >immutable; chattr +i immutable
echo x >forced/a/b/f; chmod 0440 forced/a/b/f; chown daemon forced/a/b/f; ln -s nowhere forced/l; chmod 0711 forced/a; mkfifo forced/p
echo y >gone/d/f; chmod 2750 gone
echo mine >tree/d0/file; chmod 0600 tree/d0/file; echo extra >tree/d0/sub/extra; echo p >tree/more/deep/purged
chmod 0700 tree/more/deep; ln -s /etc tree/link; echo x >tree/was-dir/x; ln -s there tree/d0/link; chown -R games tree/more
echo source >src/d0/file; echo file >src/was-dir; echo new >src/new; ln -s elsewhere src/d0/link
echo before >shared/bin/run; chmod 0700 shared/bin/run; ln -s x shared/bin/link; chmod 0711 dir
"""

ROLE = f"""
[file."{TOP}/content"]
content = "new"
owner = "root"
[file."{TOP}/attributes"]
mode = "0755"
owner = "daemon"
xattrs = {{ "user.x" = "new", "user.y" = "new" }}
[file."{TOP}/list"]
acl = ["user:daemon:rwx"]
capabilities = "cap_chown=p"
[file."{TOP}/hard"]
ensure = "hardlink"
target = "{TOP}/target"
[file."{TOP}/link"]
ensure = "symlink"
target = "changed"
owner = "daemon"
[file."{TOP}/immutable"]
content = "new"
immutable = false
[file."{TOP}/dir"]
ensure = "directory"
mode = "0700"
acl = ["default:user:daemon:rwx"]
[file."{TOP}/forced"]
content = "new"
force = true
[file."{TOP}/gone"]
ensure = "absent"
force = true
[file."{TOP}/made"]
content = "new"
[file."{TOP}/tree"]
ensure = "directory"
source = "{TOP}/src"
purge = true
owner = "root"
file_mode = "0644"
directory_mode = "0755"
[archive."{TOP}/shared"]
source = "/srv/app.tar"
purge = false
"""


def inside(box, path):
    return f"/proc/{box.leader}/root{path}"


def xattrs(path):
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


def picture(box):
    """All below the top but for times; flags of files."""
    top, found = inside(box, TOP), {}
    for base, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(base, name)
            st = os.lstat(path)
            what = os.readlink(path) if stat.S_ISLNK(st.st_mode) else ""
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    what = file.read()
            found[os.path.relpath(path, top)] = (oct(st.st_mode), st.st_uid, st.st_gid, what, xattrs(path))
    found["flags"] = "i" in box.run(f"lsattr {TOP}/immutable").stdout.split()[0]
    return found


def name_id(box, kind, name):
    database = "passwd" if kind == "user" else "group"
    return int(box.run(["getent", database, name]).stdout.split(":")[2])


def acl_bytes(box, text, mode):
    """From the text of a record. What it does not say is in the mode."""
    entries = {}
    for entry in text.split(","):
        kind, name, bits = entry.removeprefix("default:").split(":")
        who = name_id(box, kind, name) if name else NO_ID
        entries[(TAGS[kind][bool(name)], who)] = sum(bit for bit, letter in ((4, "r"), (2, "w"), (1, "x")) if letter in bits)
    if "default:" not in text:
        entries[(1, NO_ID)], entries[(32, NO_ID)] = mode >> 6 & 7, mode & 7
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who) for (tag, who), bits in sorted(entries.items()))


def capability_bytes(text):
    assert text == "cap_net_raw=ep", text
    return struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def entries_of(undo):
    """{path below the state's: {what: old}}, of the ways in which records are called."""
    found = {}
    for what, old in undo.items():
        if what.startswith("tree/"):
            found.setdefault(what[5:], {}).update(old)
        elif what.startswith("content/"):
            found.setdefault(what[8:], {})["content"] = old
        elif " of " in what:
            what, _, path = what.partition(" of ")
            if what == "attributes":
                kind, mode, uid, gid = old.rsplit(" ", 3)
                found.setdefault(path, {}).update(ensure=kind, mode=int(mode, 8), uid=int(uid), gid=int(gid))
            else:
                # The first is what was there; it may have gone before something else was made.
                found.setdefault(path, {}).setdefault(what, old)
        else:
            found.setdefault("", {})[what] = old
    return found


def clear(path):
    if os.path.isdir(path) and not os.path.islink(path):
        os.rmdir(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def stored(box, reference):
    return box.run(["agentctl", "content", reference["stored"]]).stdout.encode()


def attribute(path, name, value):
    """None or nothing: there is none."""
    if value:
        os.setxattr(path, name, value)
        return
    with contextlib.suppress(OSError):
        os.removexattr(path, name)


def restore(box, top, undo):
    entries = entries_of(undo)
    if "archive" in entries.get("", {}):
        del entries[""]  # which one it was, and nothing of the directory itself
    for path in sorted(entries, reverse=True):
        full = os.path.join(inside(box, top), path).rstrip("/")
        old = entries[path]
        there = os.lstat(full).st_mode if os.path.lexists(full) else 0
        is_directory = stat.S_ISDIR(there)
        if old.get("ensure") == "absent" or (there and is_directory != (old["ensure"] == "directory")):
            clear(full)
    for path in sorted(entries):
        full = os.path.join(inside(box, top), path).rstrip("/")
        old = entries[path]
        if old.get("ensure") == "absent":
            continue
        kept = {}
        if old["ensure"] == "directory":
            if not os.path.isdir(full):
                os.mkdir(full)
        elif old["ensure"] == "symlink":
            if "target" in old:
                clear(full)
                os.symlink(old["target"], full)
        elif old["ensure"] == "special file":
            clear(full)
            os.mkfifo(full)
        elif "content" in old:
            # A file that only had another content has the attributes that it had.
            kept = xattrs(full) if os.path.isfile(full) and not os.path.islink(full) else {}
            clear(full)
            with open(full, "wb") as file:
                file.write(stored(box, old["content"]))
        os.chown(full, old["uid"], old["gid"], follow_symlinks=False)
        if old["ensure"] == "symlink":
            continue
        for name, value in kept.items():
            os.setxattr(full, name, value)
        os.chmod(full, old["mode"])
        for what, value in old.items():
            name = what.removeprefix("xattrs.")
            if what == "acl":
                attribute(full, "system.posix_acl_access", value and acl_bytes(box, value, old["mode"]))
                os.chmod(full, old["mode"])
            elif what == "capabilities":
                attribute(full, "security.capability", value and capability_bytes(value))
            elif name != what:
                attribute(full, name, value if value is None else value.encode())
        if old.get("immutable"):
            box.run(["chattr", "+i", f"{top}/{path}".rstrip("/")])
    # When all is there that would inherit it.
    for path, old in entries.items():
        if "default_acl" in old:
            attribute(os.path.join(inside(box, top), path).rstrip("/"), "system.posix_acl_default",
                      old["default_acl"] and acl_bytes(box, old["default_acl"], 0))


def test_what_every_kind_of_change_records_makes_the_old_state_again(box, loop_ext4):
    loop_ext4(TOP)
    box.run(SETUP)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as t:
        for name in ("bin/run", "bin/link", "bin/new", "share/doc/x"):
            info = tarfile.TarInfo(name)
            info.size = 3
            t.addfile(info, io.BytesIO(b"new"))
    box.write("/srv/app.tar", file.getvalue())
    games = name_id(box, "user", "games")
    daemon_id = pwd.getpwnam("daemon").pw_uid
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
        (1, 6, NO_ID), (2, 6, games), (4, 1, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID)))
    for path in "content", "list", "hard", "forced/a/b/f", "forced/a", "gone/d", "tree/more/deep/purged", "tree/d0/file":
        os.setxattr(inside(box, f"{TOP}/{path}"), "system.posix_acl_access", access)
        os.setxattr(inside(box, f"{TOP}/{path}"), "user.mine", b"of old")
    for path in "content", "hard", "forced/a/b/f", "tree/d0/file":
        os.setxattr(inside(box, f"{TOP}/{path}"), "security.capability", capability_bytes("cap_net_raw=ep"))
    os.setxattr(inside(box, f"{TOP}/attributes"), "user.x", b"old")
    os.setxattr(inside(box, f"{TOP}/tree/more"), "system.posix_acl_default", access)
    os.chown(inside(box, f"{TOP}/tree/d0/sub"), daemon_id, 0)
    before = picture(box)

    daemon.settings(box, 'interval = "infinity"\n')
    box.role("undo", ROLE)
    daemon.start(box)
    event = daemon.wait_event(box, "run-finished", timeout=40)
    daemon.wait_idle(box)
    run = event["run"]
    results = {r["state"]: r for r in daemon.items(box, f"/v1/runs/{run}/results")}
    assert all(r["result"] == "changed" for r in results.values()), results
    assert picture(box) != before
    box.run("systemctl stop agentd.socket agentd")
    box.run(f"chattr -i {TOP}/immutable")
    box.role("undo", "")
    daemon.start(box)
    for state, result in results.items():
        restore(box, state.partition(":")[2], {u["what"]: u["old"] for u in result["undo"]})
    after = picture(box)
    try:
        assert after.keys() == before.keys()
        assert {p: (before[p], after[p]) for p in before if before[p] != after[p]} == {}
    finally:
        box.run(f"chattr -i {TOP}/immutable")
