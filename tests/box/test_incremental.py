# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a check has read and found right is not read again, and yet nothing that changes is missed."""

import collections
import concurrent.futures
import ctypes
import mmap
import os
import random
import struct
import time

import pytest
from daemon import apply, last_event, plan, start, wait_event, wait_idle

DIR = "/srv/incremental"
IN_OPEN, IN_CLOSE_NOWRITE = 0x20, 0x10

libc = ctypes.CDLL(None, use_errno=True)


class Opens:
    """Counts which entries of a directory are opened, by whomever, in whatever mount namespace."""

    def __init__(self, box, path=DIR, mask=IN_OPEN):
        self.fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        assert libc.inotify_add_watch(self.fd, os.fsencode(inside(box, path)), mask) >= 0, ctypes.get_errno()

    def take(self):
        """{name: how often} since the last time."""
        names = collections.Counter()
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return names
            while data:
                size = struct.unpack_from("iIII", data)[3]
                names[data[16:16 + size].rstrip(b"\0").decode()] += 1
                data = data[16 + size:]


def inside(box, path):
    return f"/proc/{box.leader}/root{path}"


def text(i):
    return f"this is file {i:06}"


def role(n, directory=DIR):
    """Not watched: what is changed waits for the next run."""
    return "".join(f'[file."{directory}/f{i}"]\ncontent = "{text(i)}\\n"\nmode = "0644"\nwatch = false\n' for i in range(n))


def begin(box, roles, directory=DIR):
    box.run(["mkdir", "-p", directory])
    box.role("files", roles)
    start(box)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)
    return Opens(box, directory)


def checked(box, opens):
    """What a plan opens."""
    opens.take()
    done = plan(box)
    return done, opens.take()


def remembered(box, opens, names=None, timeout=30):
    """Plans until none of these is opened any more: what was changed lately is read again, for two seconds."""
    deadline = time.monotonic() + timeout
    while True:
        done, opened = checked(box, opens)
        assert not done.summary["failed"], done
        if not (set(opened) if names is None else set(opened) & set(names)):
            return done
        assert time.monotonic() < deadline, opened


def told(results):
    return {r["state"]: (r["result"], r.get("error"), r.get("differences")) for r in results}


def agree(box):
    """The plan of the daemon is that of a single run, which reads everything. Returns {state: result}."""
    ours, theirs = plan(box), box.agentd_once("--plan")
    assert told(ours.results.values()) == told(r for r in theirs.results if "state" in r)
    return {state: r["result"] for state, r in ours.results.items()}


# ---- What is not read ----------------------------------------------------------------------------------------------


def test_what_was_read_and_is_as_it_was_is_not_opened_again(box):
    box.write("/etc/agentd/conf.d/text.mustache", "from a template {{facts.os.id}}\n")
    box.write("/srv/source/a", "from a source\n")
    opens = begin(box, role(40) + f"""
[file."{DIR}/template"]
template = "text.mustache"
[file."{DIR}/source"]
source = "/srv/source/a"
watch = false
[file."{DIR}/secret"]
content = "secret\\n"
sensitive = true
[file."{DIR}/empty"]
content = ""
""")
    sources = Opens(box, "/srv/source")
    done = remembered(box, opens)
    assert done.summary["ok"] == 44
    sources.take()
    assert apply(box).summary["ok"] == 44
    assert not opens.take() and not sources.take()
    agree(box)
    # That one reads.
    assert len(opens.take()) == 44 and sources.take() == {"a": 1}


def test_only_what_has_changed_is_opened(box):
    opens = begin(box, role(40))
    remembered(box, opens)
    box.write(f"{DIR}/f7", text(7) + "\n")  # what it was
    box.run(["touch", f"{DIR}/f8"])
    box.run(["chmod", "0600", f"{DIR}/f9"])
    done, opened = checked(box, opens)
    assert set(opened) == {"f7", "f8", "f9"}
    assert [s for s, r in done.results.items() if r["result"] != "ok"] == [f"file:{DIR}/f9"]
    box.run(["chmod", "0644", f"{DIR}/f9"])
    remembered(box, opens)


def test_a_reload_keeps_what_is_known_of_states_that_stay_as_they_are(box):
    opens = begin(box, role(20))
    remembered(box, opens)
    opens.take()
    n = last_event(box)
    box.role("other", f'[file."/srv/other"]\ncontent = "x"\n')
    wait_event(box, "run-finished", after=n, timeout=30)
    wait_idle(box)
    assert not opens.take()
    # Declared otherwise, as this is, it says nothing about what was read.
    n = last_event(box)
    box.role("files", role(20).replace(text(3), "other" + text(3)[5:]))
    wait_event(box, "run-finished", after=n, timeout=30)
    wait_idle(box)
    opened = opens.take().keys()
    assert "f3" in opened and box.read(f"{DIR}/f3") == "other" + text(3)[5:] + "\n"
    assert not opened & {"f1", "f2"}


def test_on_tmpfs_all_is_read_each_time(box):
    box.run(["mkdir", "-p", "/srv/tmpfs"])
    box.run(["mount", "-t", "tmpfs", "tmpfs", "/srv/tmpfs"])
    box.run(["mkdir", DIR])
    opens = begin(box, role(3, "/srv/tmpfs") + role(3), "/srv/tmpfs")
    others = Opens(box)
    remembered(box, others)
    for _ in range(2):
        done, opened = checked(box, opens)
        assert len(opened) == 3 and not others.take() and done.summary["ok"] == 6


# ---- What is seen all the same -------------------------------------------------------------------------------------


def same_size(path):
    size = os.stat(path).st_size
    with open(path, "r+b") as f:
        f.write(b"X" * (size - 1))


def same_size_same_mtime(path):
    st = os.stat(path)
    same_size(path)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def rename_over_same_mtime(path):
    st = os.stat(path)
    with open(f"{path}.new", "wb") as f:
        f.write(b"Y" * st.st_size)
    os.chmod(f"{path}.new", st.st_mode & 0o7777)
    os.utime(f"{path}.new", ns=(st.st_atime_ns, st.st_mtime_ns))
    os.rename(f"{path}.new", path)


def through_a_hard_link(path):
    st = os.stat(path)
    os.link(path, f"{path}.link")
    same_size(f"{path}.link")
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    os.unlink(f"{path}.link")


def store_through_a_mapping(path):
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[0] = ord("Z")
        m.flush()


def cut_and_written_again(path):
    st = os.stat(path)
    os.truncate(path, 0)
    with open(path, "r+b") as f:
        f.write(b"Z" * st.st_size)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def appended(path):
    with open(path, "ab") as f:
        f.write(b"more\n")


def exchanged_with_a_neighbour(path):
    other = f"{os.path.dirname(path)}/f0"
    os.rename(path, f"{path}.t")
    os.rename(other, path)
    os.rename(f"{path}.t", other)


def removed(path):
    os.unlink(path)


def mode(path):
    os.chmod(path, 0o640)


def symlink_to_a_copy(path):
    with open(path, "rb") as f, open(f"{path}.copy", "wb") as g:
        g.write(f.read())
    os.unlink(path)
    os.symlink(f"{os.path.basename(path)}.copy", path)


def directory(path):
    os.unlink(path)
    os.mkdir(path)


CONTENT = [same_size, same_size_same_mtime, rename_over_same_mtime, through_a_hard_link, store_through_a_mapping,
           cut_and_written_again, appended, exchanged_with_a_neighbour, removed]
OTHER = [mode, symlink_to_a_copy, directory]


def test_each_way_to_change_a_file_is_seen(box):
    opens = begin(box, role(40))
    remembered(box, opens)
    for i, change in enumerate(CONTENT + OTHER, 1):
        change(inside(box, f"{DIR}/f{i}"))
        changed = agree(box)
        assert changed[f"file:{DIR}/f{i}"] != "ok", change.__name__
    n = sum(r != "ok" for r in agree(box).values())
    assert n == len(CONTENT + OTHER) + 1  # and the neighbour


def test_another_file_mounted_over_it_is_seen_and_so_is_its_end(box):
    opens = begin(box, role(3))
    remembered(box, opens)
    box.write("/srv/over", text(1)[::-1] + "\n", 0o644)
    box.run(["mount", "--bind", "/srv/over", f"{DIR}/f1"])
    assert agree(box)[f"file:{DIR}/f1"] == "drifted"
    box.run(["umount", f"{DIR}/f1"])
    assert agree(box)[f"file:{DIR}/f1"] == "ok"


def test_a_change_of_the_source_is_seen_whatever_its_mtime_says(box):
    box.write("/srv/source/a", "one\n")
    box.run("mkdir -p /srv/source/b; ln -s ../a /srv/source/b/link")
    opens = begin(box, f"""
[file."{DIR}/a"]
source = "/srv/source/a"
watch = false
[file."{DIR}/link"]
source = "/srv/source/b/link"
watch = false
""")
    remembered(box, opens, ["a"])
    same_size_same_mtime(inside(box, "/srv/source/a"))
    assert set(agree(box).values()) == {"drifted"}
    assert apply(box).summary["changed"] == 2
    remembered(box, opens, ["a"])
    box.write("/srv/source/other", "two\n")
    box.run("ln -sf ../other /srv/source/b/link; mv /srv/source/a /srv/source/away")
    assert agree(box) == {f"file:{DIR}/a": "failed", f"file:{DIR}/link": "drifted"}


def test_a_change_within_the_same_tick_is_seen(box):
    """The file is written with what it has, again and again; right after the check has read it, with something else of the
    same size. Small inodes have whole seconds, so that no stamp tells the two apart most of the time."""
    box.loop_ext4("/srv/ext4", 16, "-I", "128")
    opens = begin(box, role(3, "/srv/ext4"), "/srv/ext4")
    remembered(box, opens)
    right, wrong = text(1).encode(), text(2).encode()
    closes = Opens(box, "/srv/ext4", IN_CLOSE_NOWRITE)
    same = 0
    for _ in range(6):
        closes.take()
        with open(inside(box, "/srv/ext4/f1"), "r+b", buffering=0) as f, \
                concurrent.futures.ThreadPoolExecutor() as pool:
            os.pwrite(f.fileno(), right, 0)  # so that it is read, however soon that is
            under_way = pool.submit(plan, box)
            deadline = time.monotonic() + 20
            while not closes.take()["f1"]:
                os.pwrite(f.fileno(), right, 0)
                assert time.monotonic() < deadline
            before = os.fstat(f.fileno()).st_ctime_ns
            os.pwrite(f.fileno(), wrong, 0)
            same += os.fstat(f.fileno()).st_ctime_ns == before
            under_way.result()
        assert plan(box).results["file:/srv/ext4/f1"]["result"] == "drifted"
    assert same > 0


@pytest.mark.parametrize("seed", range(2))
def test_plans_with_and_without_memory_agree_after_whatever_happens(box, seed):
    choice = random.Random(seed)
    opens = begin(box, role(150))
    for _ in range(3):
        remembered(box, opens)
        for i in choice.sample(range(1, 150), 40):
            choice.choice(CONTENT + OTHER[:1])(inside(box, f"{DIR}/f{i}"))
            if choice.random() < 0.1:
                agree(box)
        agree(box)
        done = apply(box)
        assert not done.summary["failed"] and done.summary["changed"] > 10, done.summary
        assert set(agree(box).values()) == {"ok"}


# ---- What a mapping leaves behind ------------------------------------------------------------------------------------


def test_a_store_into_a_clean_page_is_seen_at_once(box):
    """On a file system of a disk the first store into a page that is clean stamps the file. One into a page that is dirty
    since before the check does not: it is found a few minutes later, when a file that was young then is read again."""
    box.loop_ext4("/srv/ext4")
    opens = begin(box, role(3, "/srv/ext4"), "/srv/ext4")
    remembered(box, opens)
    path = inside(box, "/srv/ext4/f1")
    state = "file:/srv/ext4/f1"
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        right = m[0]
        m[0] = ord("X")  # clean until now
        assert agree(box)[state] == "drifted"
        m[0] = right  # dirty still: no stamp
        remembered(box, opens)
        before = os.fstat(f.fileno()).st_ctime_ns
        m[0] = ord("X")
        # Unless it was written to the disk meanwhile: anybody may sync.
        was_dirty = os.fstat(f.fileno()).st_ctime_ns == before
        with_memory = plan(box).results[state]["result"]
        m.flush()
        m[0] = ord("Y")  # clean again until now
        assert agree(box)[state] == "drifted"
    # What no stamp tells.
    assert with_memory == ("ok" if was_dirty else "drifted")
