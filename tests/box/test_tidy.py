# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type tidy: what is old, large, or of certain names, is removed from a directory."""

import os

import pytest
from exchange import exchanging
from once import changes, differences, errors, results, snapshot

TOP = "/var/spool/app"
ID = f"tidy:{TOP}"


def tidy(lines, top=TOP, more=""):
    return f'[tidy."{top}"]\n{lines}\n{more}'


def sow(box, *paths, days=0, size=0, top=TOP):
    for path in paths:
        box.run(f"mkdir -p $(dirname {top}/{path}) && truncate -s {size} {top}/{path} && touch -d '{days} days ago' {top}/{path}")


def files(box, top=TOP):
    return set(box.run(f"cd {top} && find . -mindepth 1 -printf '%P\\n'").stdout.splitlines())


def test_what_is_old_goes_and_what_is_new_stays(box):
    sow(box, "old", "a/old", "a/b/old", days=8)
    sow(box, "new", "a/new", days=6)
    box.role("tidy", tidy('age = "7d"'))
    planned = box.agentd_once("--plan")
    assert results(planned) == {ID: "drifted"}
    found = differences(planned, ID)
    assert set(found) == {"old", "a/old", "a/b/old"}
    is_, should = found["a/old"]
    assert is_.startswith("0 bytes, 20") and is_.endswith("Z") and should is None
    assert len(files(box)) == 7
    once = box.agentd_once()
    assert once.summary["changed"] == 1 and differences(once, ID) == found
    assert files(box) == {"new", "a", "a/new", "a/b"}
    assert box.agentd_once().summary["ok"] == 1


def test_conditions_are_anded(box):
    sow(box, "old-large.log.1", "old-large.txt", days=8, size=2048)
    sow(box, "old-small.log.1", days=8, size=1024)
    sow(box, "new-large.log.1", size=2048)
    box.role("tidy", tidy('age = "1week"\nlarger = "1K"\npatterns = ["*.log.*"]'))
    assert box.agentd_once().summary["changed"] == 1
    assert files(box) == {"old-large.txt", "old-small.log.1", "new-large.log.1"}


def test_the_newest_of_the_times_counts(box):
    box.run(f"mkdir -p {TOP} && touch -m -d '9 days ago' {TOP}/modified && touch -a -d '9 days ago' {TOP}/read && "
            f"touch -d '9 days ago' {TOP}/both && touch -d '2200-01-01' {TOP}/future && touch -d '1902-01-01' {TOP}/ancient")
    role = 'age = "7d"\ntime = [{}]'
    for times, gone in (('"mtime", "atime", "ctime"', set()), ('"mtime", "atime"', {"both", "ancient"}),
                        ('"atime"', {"read"}), ('"mtime"', {"modified"})):
        box.role("tidy", tidy(role.format(times)))
        before = files(box)
        assert box.agentd_once().returncode == 0
        assert before - files(box) == gone, times
    assert files(box) == {"future"}


def test_depth_and_what_is_excluded(box):
    sow(box, "x", "a/x", "a/b/x", "keep/x", "x.keep", days=8)
    box.role("tidy", tidy('age = "7d"\nrecurse = 2\nexclude = ["keep/", "*.keep"]'))
    assert box.agentd_once().returncode == 0
    assert files(box) == {"a", "a/b", "a/b/x", "keep", "keep/x", "x.keep"}
    box.role("tidy", tidy('patterns = ["x", "x.keep"]\nrecurse = false'))
    assert box.agentd_once().returncode == 0
    assert files(box) == {"a", "a/b", "a/b/x", "keep", "keep/x"}


def test_empty_directories_go_if_that_is_said(box):
    sow(box, "old/deep/x", "mixed/x", days=8)
    sow(box, "mixed/new")
    box.run(f"mkdir {TOP}/young {TOP}/empty && touch -d '8 days ago' {TOP}/old/deep {TOP}/old {TOP}/mixed {TOP}/empty")
    box.role("tidy", tidy('age = "7d"'))
    assert set(differences(box.agentd_once("--plan"), ID)) == {"old/deep/x", "mixed/x"}
    box.role("tidy", tidy('age = "7d"\nrmdirs = true'))
    assert set(differences(box.agentd_once("--plan"), ID)) == {"old/deep/x", "old/deep", "old", "mixed/x", "empty"}
    assert box.agentd_once().summary["changed"] == 1
    assert files(box) == {"mixed", "mixed/new", "young"} and box.exists(TOP)
    assert box.agentd_once().summary["ok"] == 1


def test_what_other_states_own_stays(box):
    sow(box, "declared", "dir/x", "tree/x", "sub/deep/declared", days=8)
    box.run(f"touch -d '8 days ago' {TOP}/dir {TOP}/sub/deep {TOP}/sub")
    box.role("tidy", tidy('age = "7d"\nrmdirs = true', more="".join(
        f'[file."{TOP}/{path}"]\n{lines}\n' for path, lines in {
            "declared": "", "sub/deep/declared": "", "dir": 'ensure = "directory"',
            "tree": 'ensure = "directory"\nrecurse = true'}.items())))
    # All of a tree is its state's; of a directory only itself.
    assert box.agentd_once().returncode == 0
    assert files(box) == {"declared", "dir", "tree", "tree/x", "sub", "sub/deep", "sub/deep/declared"}


def test_it_comes_after_the_directory_and_may_name_it_apart(box):
    box.role("tidy", f'[tidy.logs]\npath = "{TOP}/"\npatterns = ["*"]\n[file."{TOP}"]\nensure = "directory"\nparents = {{}}\n')
    assert results(box.agentd_once()) == {f"file:{TOP}": "changed", "tidy:logs": "ok"}
    sow(box, "x")
    assert box.agentd_once().summary["changed"] == 1 and not files(box)


def test_mounts_symlinks_and_special_files_stay(box):
    box.run(f"mkdir -p {TOP}/mounted /victim && mount -t tmpfs tmpfs {TOP}/mounted && touch {TOP}/mounted/x /victim/x && "
            f"ln -s /victim {TOP}/link && mkfifo {TOP}/pipe && touch {TOP}/x")
    before = snapshot(box, "/victim")
    box.role("tidy", tidy('patterns = ["*"]\nrmdirs = true'))
    found = differences(box.agentd_once(), ID)
    assert set(found) == {"x", "link"} and found["link"][0].startswith("symlink, 7 bytes")
    assert files(box) == {"mounted", "mounted/x", "pipe"} and not changes(before, snapshot(box, "/victim"))
    box.run(f"umount {TOP}/mounted && rm -r {TOP} && ln -s /victim {TOP}")
    once = box.agentd_once()
    assert once.returncode == 1 and f"Failed to open directory '{TOP}'" in errors(once)[ID]
    assert not changes(before, snapshot(box, "/victim"))


def test_who_owns_the_directory_cannot_lead_it_outside(box):
    box.run(f"mkdir -p {TOP} /victim/d && touch -d '9 days ago' /victim/f /victim/d/f /victim/d /victim && chown nobody {TOP}")
    box.role("tidy", tidy('age = "7d"\nrmdirs = true'))
    before = snapshot(box, "/victim")
    with exchanging(box, TOP, "/victim"):
        for _ in range(30):
            box.agentd_once()
    assert not changes(before, snapshot(box, "/victim"))
    assert box.agentd_once().returncode == 0


def test_too_many_files_are_an_error_and_nothing_is_removed(box):
    box.run(f"mkdir -p {TOP}/d && cd {TOP}/d && seq 1 300 | xargs touch")
    box.role("tidy", tidy('patterns = ["*"]\nmax_files = 300'))
    once = box.agentd_once()
    assert errors(once)[ID] == (f"there are more than 300 files and directories below '{TOP}'; nothing was removed; "
                                "'max_files' is their limit")
    assert len(files(box)) == 301
    box.role("tidy", tidy('patterns = ["*"]\nmax_files = 301'))
    assert box.agentd_once().summary["changed"] == 1 and files(box) == {"d"}


def test_many_files_go_and_are_counted(box):
    box.run(f"mkdir -p {TOP} && cd {TOP} && seq 1 20000 | xargs touch", timeout=60)
    box.role("tidy", tidy('patterns = ["*"]'))
    found = differences(box.agentd_once(timeout=60), ID)
    assert 500 < len(found) - 1 < 1000 and found["further files"] == (20000 - (len(found) - 1), 0)
    assert not files(box) and box.agentd_once().summary["ok"] == 1


def test_names_that_are_no_text_are_shown_safely(box):
    box.run(["mkdir", "-p", TOP])
    for name in (b"new\nline", b"\xff", b"esc\x1b[31m"):
        os.close(os.open(f"/proc/{box.leader}/root{TOP}/".encode() + name, os.O_CREAT | os.O_WRONLY, 0o644))
    box.role("tidy", tidy('patterns = ["*"]'))
    assert set(differences(box.agentd_once(), ID)) == {r"new\nline", r"\xff", r"esc\x1b[31m"}
    assert not files(box)


def test_a_read_only_file_system_is_named_and_a_missing_directory_is_clean(box):
    box.role("tidy", tidy('patterns = ["*"]'))
    assert box.agentd_once().summary["ok"] == 1
    box.run(f"mkdir -p {TOP} && mount -t tmpfs tmpfs {TOP} && touch {TOP}/x && mount -o remount,ro {TOP}")
    once = box.agentd_once()
    assert once.returncode == 1 and errors(once)[ID] == f"Failed to remove '{TOP}/x': Read-only file system"


@pytest.mark.parametrize("top, lines, message", [
    (TOP, "rmdirs = true", "give at least one of 'age', 'larger' and 'patterns', or all would go"),
    (TOP, "patterns = []", "give at least one of 'age', 'larger' and 'patterns', or all would go"),
    (TOP, 'larger = "1M"\ntime = ["mtime"]', "'time' makes no sense without 'age'"),
    (TOP, 'age = "7d"\ntime = ["btime"]', "'time' has 'btime'; it can have \"mtime\", \"atime\" and \"ctime\""),
    (TOP, 'age = "soon"', "'age'"),
    (TOP, 'age = "7d"\nrecurse = -1', "'recurse' must be true, false, or a number of levels from 1 to 128"),
    (TOP, 'age = "7d"\nexclude = ["/"]', "'exclude' has a pattern that is empty, too long, or has a NUL or a newline in it"),
    ("/", 'age = "7d"', "'/' is a directory of the system; if it is meant, force = true"),
    ("/etc", 'age = "7d"', "'/etc' is a directory of the system; if it is meant, force = true"),
    ("logs", 'age = "7d"', "'logs' is no absolute path without '..', '.' and further slashes"),
    ("/var/../etc", 'age = "7d"', "'/var/../etc' is no absolute path"),
    ("/etc/", 'age = "7d"', "'/etc/' is no absolute path"),
])
def test_what_makes_no_sense_is_an_error_of_the_role(box, top, lines, message):
    box.role("tidy", tidy(lines, top=top))
    once = box.agentd_once()
    assert once.returncode == 2 and not once.results and message in once.stderr


def test_root_is_respected(box):
    box.write("/image/etc/agentd/conf.d/tidy.toml", tidy('patterns = ["*"]'))
    sow(box, "x")
    sow(box, "x", top=f"/image{TOP}")
    assert box.agentd_once("--root", "/image").summary["changed"] == 1
    assert files(box) == {"x"} and not files(box, f"/image{TOP}")
