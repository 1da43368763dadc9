# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directory trees of the state type file: laid down from a source, given attributes, purged."""

import os

import pytest
from daemon import apply, plan, start, wait_event, wait_idle
from exchange import exchanging
from once import changes, differences, errors, results, snapshot
from test_incremental import Opens, remembered

TOP = "/srv/www"
SOURCE = "/etc/agentd/conf.d/www"


def tree(options="", top=TOP, source=True, more=""):
    return (f'[file."{top}"]\nensure = "directory"\n' + ('source = "www/"\n' if source else "") + options + "\n" + more)


def sow(box):
    """A source with something of everything."""
    box.write(f"{SOURCE}/index.html", "<p>hello\n")
    box.write(f"{SOURCE}/a/b/deep", "deep\n")
    box.write(f"{SOURCE}/bin/run", "#!/bin/sh\n", mode=0o755)
    box.run(["ln", "-s", "../index.html", f"{SOURCE}/a/link"])
    box.run(["mkdir", f"{SOURCE}/empty"])


def names(box, top=TOP):
    """{relative path: kind and octal mode}"""
    listing = box.run(["find", top, "-mindepth", "1", "-printf", r"%P\t%y%m\0"]).stdout
    return dict(entry.split("\t") for entry in listing.split("\0") if entry)


def begin(box, role, **files):
    sow(box)
    for path, text in files.items():
        box.write(path, text)
    box.role("tree", role)


# ---- Laying down ---------------------------------------------------------------------------------------------------


def test_a_source_is_laid_down_and_then_left_alone(box):
    begin(box, tree())
    planned = box.agentd_once("--plan")
    assert planned.summary["drifted"] == 1 and not box.exists(TOP)
    once = box.agentd_once()
    assert once.returncode == 0 and once.summary["changed"] == 1
    assert differences(planned, f"file:{TOP}") == differences(once, f"file:{TOP}")
    assert set(differences(once, f"file:{TOP}")) == {
        "ensure", "ensure of index.html", "ensure of a", "ensure of a/b", "ensure of a/b/deep", "ensure of a/link",
        "target of a/link", "ensure of bin", "ensure of bin/run", "ensure of empty"}
    assert names(box) == {
        "index.html": "f644", "a": "d755", "a/b": "d755", "a/b/deep": "f644", "a/link": "l777", "bin": "d755",
        "bin/run": "f755", "empty": "d755"}
    assert box.read(f"{TOP}/a/b/deep") == "deep\n"
    assert box.run(["readlink", f"{TOP}/a/link"]).stdout == "../index.html\n"
    before = snapshot(box, TOP)
    again = box.agentd_once()
    assert again.summary["ok"] == 1 and not changes(before, snapshot(box, TOP))


def test_what_differs_is_told_by_its_path_and_repaired(box):
    begin(box, tree('file_mode = "0640"\ndirectory_mode = "0750"\nowner = "daemon"\ngroup = "adm"\n'))
    assert box.agentd_once().returncode == 0
    box.write(f"{TOP}/a/b/deep", "shallow\n")
    box.run(["chmod", "0600", f"{TOP}/index.html"])
    box.run(["chown", "root:root", f"{TOP}/a", f"{TOP}/bin/run"])
    box.run(["ln", "-sfn", "elsewhere", f"{TOP}/a/link"])
    box.write(f"{TOP}/mine", "not declared, and not purged\n")
    planned = box.agentd_once("--plan", "--diff")
    found = differences(planned, f"file:{TOP}")
    deep, = [d["diff"] for r in planned.results for d in r["differences"] if d["attribute"] == "content of a/b/deep"]
    assert deep.startswith(f"--- {TOP}/a/b/deep\n+++ {TOP}/a/b/deep\n@@ "), deep
    assert found["mode of index.html"] == ("0600", "0640")
    assert found["owner of a"] == ("root", "daemon") and found["group of bin/run"] == ("root", "adm")
    assert found["target of a/link"] == ("elsewhere", "../index.html")
    assert set(found) - {"content of a/b/deep", "group of a/link", "owner of a/link"} == {
        "mode of index.html", "owner of a", "group of a", "owner of bin/run", "group of bin/run", "target of a/link"}
    assert box.agentd_once().summary["changed"] == 1
    assert box.read(f"{TOP}/a/b/deep") == "deep\n" and box.exists(f"{TOP}/mine")
    st = box.stat(f"{TOP}/bin/run")
    assert (st.st_uid, st.st_gid, st.st_mode & 0o7777) == (1, 4, 0o640)
    assert box.agentd_once().summary["ok"] == 1


def test_attributes_below_without_a_source(box):
    box.run(f"mkdir -p {TOP}/a/b && touch {TOP}/a/b/c && ln -s /etc/passwd {TOP}/a/link && mkfifo {TOP}/pipe")
    box.role("tree", tree('mode = "0711"\nrecurse = true\nfile_mode = "0600"\ndirectory_mode = "0700"\nowner = "daemon"\n',
                          source=False))
    before = snapshot(box, "/etc/passwd")
    assert box.agentd_once().summary["changed"] == 1
    assert names(box) == {"a": "d700", "a/b": "d700", "a/b/c": "f600", "a/link": "l777", "pipe": "p644"}
    assert box.stat(f"{TOP}").st_mode & 0o7777 == 0o711 and box.stat(f"{TOP}/a/link", follow=False).st_uid == 1
    assert not changes(before, snapshot(box, "/etc/passwd"))
    assert box.agentd_once().summary["ok"] == 1
    # A depth, and what is left out.
    box.run(f"chmod 0644 {TOP}/a/b/c && chmod 0755 {TOP}/a")
    box.role("tree", tree('recurse = 2\nfile_mode = "0600"\ndirectory_mode = "0700"\nexclude = ["b/"]\n', source=False))
    assert set(differences(box.agentd_once(), f"file:{TOP}")) == {"mode of a"}


def test_symbolic_modes_go_by_what_is_there(box):
    begin(box, tree('file_mode = "u=rwX,g=rX,o="\ndirectory_mode = "g+ws,o-rx"\n'))
    assert box.agentd_once().returncode == 0
    modes = names(box)
    assert (modes["index.html"], modes["bin/run"], modes["a"]) == ("f640", "f750", "d2770")
    box.run(f"chmod 0777 {TOP}/index.html && chmod 0700 {TOP}/a")
    found = differences(box.agentd_once(), f"file:{TOP}")
    assert found == {"mode of index.html": ("0777", "0750"), "mode of a": ("2700", "2720")}
    assert box.agentd_once().summary["ok"] == 1


@pytest.mark.parametrize("option, stays", [
    ("", None), ("force = true\n", []), ("purge = true\n", []),
    ('force = true\nexclude = ["*.bak"]\n', ["index.html/x.bak"])])
def test_another_kind_is_replaced_only_if_that_is_said(box, option, stays):
    begin(box, tree(option))
    box.run(f"mkdir -p {TOP}/index.html && touch {TOP}/index.html/x.bak {TOP}/a")
    before = snapshot(box, TOP)
    once = box.agentd_once()
    if stays == []:
        assert once.returncode == 0 and box.read(f"{TOP}/index.html") == "<p>hello\n"
        assert box.read(f"{TOP}/a/b/deep") == "deep\n"
        assert box.agentd_once().summary["ok"] == 1
        return
    assert once.returncode == 1
    error = errors(once)[f"file:{TOP}"]
    if stays is None:
        assert f"'{TOP}/a': it is a file and should be a directory" in error and "force = true" in error
        assert not changes(before, snapshot(box, TOP))
    else:
        assert f"'{TOP}/index.html': it has something in it that has to stay" in error
        assert all(box.exists(f"{TOP}/{name}") for name in stays)


# ---- Purging -------------------------------------------------------------------------------------------------------


def test_purge_removes_what_nobody_declares_and_keeps_what_others_own(box):
    begin(box, tree("purge = true\n", more=f"""
[file."{TOP}/conf/site.conf"]
content = "x"
parents = {{}}
[file."{TOP}/shared"]
ensure = "directory"
[file."{TOP}/gone"]
ensure = "absent"
"""))
    assert box.agentd_once().returncode == 0
    for path in ("conf/other", "junk/x/y", "shared/theirs", "a/extra", "gone"):
        box.write(f"{TOP}/{path}", "")
    box.run(f"ln -s /etc {TOP}/outside && mkfifo {TOP}/pipe && mkdir {TOP}/junk/.hidden")
    planned = differences(box.agentd_once("--plan"), f"file:{TOP}")
    assert planned == {f"purge {path}": (kind, None) for path, kind in {
        "a/extra": "file", "conf/other": "file", "junk/.hidden": "directory", "junk/x/y": "file", "junk/x": "directory",
        "junk": "directory", "outside": "symlink", "pipe": "special file"}.items()}
    before = snapshot(box, "/etc/passwd", "/etc/fstab")
    assert box.agentd_once().summary["changed"] == 2
    assert set(names(box)) == {"index.html", "a", "a/b", "a/b/deep", "a/link", "bin", "bin/run", "empty", "conf",
                               "conf/site.conf", "shared", "shared/theirs"}
    assert not changes(before, snapshot(box, "/etc/passwd", "/etc/fstab"))
    assert box.agentd_once().summary["ok"] == 4


def test_purge_without_a_source_leaves_what_states_declare(box):
    box.role("tree", tree('purge = true\nexclude = ["*.bak", "cache/"]\n', source=False,
                          more=f'[file."{TOP}/one"]\ncontent = "1"\n[file."{TOP}/sub/two"]\ncontent = "2"\nparents = {{}}\n'))
    for path in ("x", "sub/x", "keep.bak", "cache/a/b", "old/keep.bak", "old/x"):
        box.write(f"{TOP}/{path}", "")
    assert box.agentd_once().returncode == 0
    assert {path for path, kind in names(box).items() if kind[0] == "f"} == {
        "one", "sub/two", "keep.bak", "cache/a/b", "old/keep.bak"}
    assert box.agentd_once().summary["ok"] == 3


def test_include_and_depth_limit_what_is_looked_at(box):
    for path in ("a.conf", "b.txt", "d/c.conf", "d/d.txt", "d/e/f.conf"):
        box.write(f"{SOURCE}/{path}", path)
    for path in ("old.conf", "old.txt", "d/old.conf", "d/e/old.conf"):
        box.write(f"{TOP}/{path}", path)
    box.role("tree", tree('purge = true\ninclude = ["*.conf"]\nmax_depth = 2\n'))
    assert box.agentd_once().returncode == 0
    assert {path for path, kind in names(box).items() if kind[0] == "f"} == {
        "a.conf", "old.txt", "d/c.conf", "d/e/old.conf"}
    assert box.agentd_once().summary["ok"] == 1


def test_what_is_too_deep_is_an_error_and_nothing_is_touched(box):
    deep = "/".join(["d"] * 129)
    box.run(["mkdir", "-p", f"{TOP}/{deep}"])
    box.role("tree", tree("purge = true\n", source=False))
    before = snapshot(box, TOP)
    # Of an empty directory at the last level nothing is missed.
    box.run(["mkdir", f"{TOP}/{deep}/d"])
    once = box.agentd_once()
    assert once.returncode == 1 and "it is too many levels below the top" in errors(once)[f"file:{TOP}"]
    box.run(["rmdir", f"{TOP}/{deep}/d"])
    assert names(box) and before.keys() == snapshot(box, TOP).keys()
    box.role("tree", tree("purge = true\nmax_depth = 2\n", source=False))
    assert box.agentd_once().summary["ok"] == 1 and before.keys() == snapshot(box, TOP).keys()
    box.run(["rm", "-r", f"{TOP}/d/d/d"])
    assert set(differences(box.agentd_once(), f"file:{TOP}")) == {"purge d/d", "purge d"} and not names(box)


def test_a_hundred_thousand_files_are_purged_and_counted(box):
    for d in range(20):
        box.run(f"mkdir -p {TOP}/d{d} && cd {TOP}/d{d} && seq 1 5000 | xargs touch", timeout=60)
    box.role("tree", tree("purge = true\n", source=False))
    before = snapshot(box, TOP)
    once = box.agentd_once()
    assert once.returncode == 1
    assert errors(once)[f"file:{TOP}"] == ("there are more than 10000 files and directories below; nothing was changed; "
                                           "'max_files' is their limit")
    assert not changes(before, snapshot(box, TOP))
    box.role("tree", tree("purge = true\nmax_files = 200000\ntimeout = '3min'\n", source=False))
    planned = differences(box.agentd_once("--plan", timeout=100), f"file:{TOP}")
    listed = [name for name in planned if name.startswith("purge ")]
    assert 500 < len(listed) < 1000 and planned["further differences"] == (100020 - len(listed), 0)
    assert box.agentd_once(timeout=180).summary["changed"] == 1
    assert not names(box) and box.agentd_once().summary["ok"] == 1


@pytest.mark.parametrize("top", ["/", "/usr", "/etc", "/home", "/var/lib", "/tmp"])
def test_purging_the_system_is_an_error_of_the_role(box, top):
    box.role("tree", tree("purge = true\n", top=top, source=False))
    once = box.agentd_once()
    assert once.returncode == 2 and not once.results
    assert f"tree.toml:3:9: error: 'purge' would clear '{top}', which is a directory of the system" in once.stderr


def test_mounts_are_neither_purged_nor_entered(box):
    box.role("tree", tree("purge = true\n", source=False))
    box.run(f"mkdir -p {TOP}/mounted {TOP}/deep/mounted && touch {TOP}/file {TOP}/x")
    box.run(f"mount -t tmpfs tmpfs {TOP}/mounted && mount -t tmpfs tmpfs {TOP}/deep/mounted && mount --bind /etc/fstab {TOP}/file")
    box.run(f"touch {TOP}/mounted/a {TOP}/deep/mounted/b")
    assert differences(box.agentd_once(), f"file:{TOP}") == {"purge x": ("file", None)}
    assert set(names(box)) == {"mounted", "mounted/a", "deep", "deep/mounted", "deep/mounted/b", "file"}
    # The top itself is a mount: only if that is meant.
    box.run(f"mount -t tmpfs tmpfs {TOP} && touch {TOP}/new")
    once = box.agentd_once()
    assert once.returncode == 1 and "is where something is mounted" in errors(once)[f"file:{TOP}"]
    assert box.exists(f"{TOP}/new")
    box.role("tree", tree("purge = true\nforce = true\n", source=False))
    assert box.agentd_once().summary["changed"] == 1 and not names(box)


# ---- Bad hosts -----------------------------------------------------------------------------------------------------


def test_names_that_are_no_text_are_shown_safely(box):
    box.role("tree", tree("purge = true\n", source=False))
    box.run(["mkdir", "-p", TOP])
    for name in (b"new\nline", b"\xff\xfe", b"esc\x1b[31m", b"back\\slash", "ünï".encode(), b"rtl\xe2\x80\xae", b"-rf", b"*"):
        os.close(os.open(f"{os.fsdecode(os.fsencode(f'/proc/{box.leader}/root{TOP}/'))}".encode() + name,
                         os.O_CREAT | os.O_WRONLY, 0o644))
    once = box.agentd_once()
    assert set(differences(once, f"file:{TOP}")) == {
        r"purge new\nline", r"purge \xff\xfe", r"purge esc\x1b[31m", r"purge back\\slash", "purge ünï",
        r"purge rtl\xe2\x80\xae", "purge -rf", "purge *"}
    assert not names(box)


def test_symlinks_lead_nowhere(box):
    begin(box, tree('purge = true\nfile_mode = "0600"\nowner = "daemon"\n'))
    box.write("/victim/a/b/deep", "victim\n")
    box.write("/victim/x", "victim\n")
    box.run(f"mkdir -p {TOP} && ln -s /victim/a {TOP}/a && ln -s /victim {TOP}/bin && ln -s /victim/x {TOP}/index.html && "
            f"ln -s /victim {TOP}/more")
    before = snapshot(box, "/victim")
    assert box.agentd_once().returncode == 0
    assert not changes(before, snapshot(box, "/victim"))
    assert names(box)["a"] == "d755" and names(box)["index.html"] == "f600" and "more" not in names(box)
    # The top itself is one.
    box.run(f"rm -r {TOP} && ln -s /victim {TOP}")
    once = box.agentd_once()
    assert once.returncode == 1 and "is a symlink and should be a directory" in errors(once)[f"file:{TOP}"]
    assert not changes(before, snapshot(box, "/victim"))


def test_somebody_elses_hard_links_are_left_alone(box):
    box.run(f"mkdir -p {TOP}/up && chown nobody {TOP}/up && touch /etc/victim && chmod 0600 /etc/victim && "
            f"ln /etc/victim {TOP}/up/link")
    box.role("tree", tree('recurse = true\nowner = "nobody"\nfile_mode = "0666"\n', source=False))
    once = box.agentd_once()
    assert once.returncode == 1
    assert errors(once)[f"file:{TOP}"] == (
        f"Failed to change '{TOP}/up/link': it has other hard links, in a directory that others can write")
    assert box.stat("/etc/victim").st_mode & 0o7777 == 0o600 and box.stat("/etc/victim").st_uid == 0


@pytest.mark.parametrize("option", ["purge = true\n", "recurse = true\n", 'source = "www/"\nforce = true\n',
                                    'source = "www/"\npurge = true\n'])
def test_who_owns_the_tree_cannot_lead_a_change_outside(box, option):
    """Directories become symlinks, and come back, while the tree is walked again and again."""
    for i in range(20):
        box.write(f"{SOURCE}/up/d{i}/f", "from the source\n")
    box.run(f"mkdir -p /victim/d {TOP}/up && touch /victim/f /victim/d/f && chown nobody {TOP}/up")
    box.role("tree", tree(option + 'owner = "nobody"\nfile_mode = "0666"\ndirectory_mode = "0777"\n', source=False))
    before = snapshot(box, "/victim")
    with exchanging(box, f"{TOP}/up", "/victim"):
        for _ in range(15):
            box.agentd_once()
        # With time to exchange it between the look at a directory and its opening, as much as it takes.
        for _ in range(5):
            box.run("strace -f -qq -o /dev/null -e trace=openat2 -e inject=openat2:delay_enter=2000 agentd --once",
                    timeout=60, check=False)
    assert not changes(before, snapshot(box, "/victim"))
    assert box.agentd_once().returncode == 0 and box.agentd_once().summary["ok"] == 1


def test_a_source_that_cannot_be_is_one_clear_error(box):
    box.role("tree", tree())
    assert errors(box.agentd_once())[f"file:{TOP}"] == f"Failed to open source '{SOURCE}': No such file or directory"
    box.write(SOURCE, "a file\n")
    assert errors(box.agentd_once())[f"file:{TOP}"] == f"Failed to open source '{SOURCE}': it is not a directory"
    box.role("tree", tree('source = "/srv/www/below"\n', source=False))
    assert "'source' and what is made of it lie in each other" in box.agentd_once().stderr


def test_a_full_disk_and_a_read_only_one_name_the_path(box, full_disk):
    begin(box, tree())
    box.run(["mkdir", "-p", TOP])
    full_disk(TOP)
    once = box.agentd_once()
    assert once.returncode == 1
    assert f"'{TOP}/" in errors(once)[f"file:{TOP}"] and "No space left on device" in errors(once)[f"file:{TOP}"]
    assert not box.run(f"find {TOP} -name '.agentd-*'").stdout
    box.run(f"umount {TOP} && mount -t tmpfs -o ro tmpfs {TOP}")
    once = box.agentd_once()
    assert once.returncode == 1 and "Read-only file system" in errors(once)[f"file:{TOP}"]


@pytest.mark.parametrize("lines, message", [
    ('max_files = 5\n', "'max_files' is about what lies below, and needs 'source', recurse = true or purge = true"),
    ('recurse = "yes"\n', "'recurse' must be true, false, or a number of levels from 1 to 128"),
    ('recurse = 0\n', "'recurse' must be true, false, or a number of levels from 1 to 128"),
    ('recurse = 2\nmax_depth = 3\n', "'max_depth' is given, and 'recurse' is a depth as well"),
    ('recurse = true\nfile_mode = "rw-r--r--"\n', "'file_mode' is 'rw-r--r--'; it must be octal digits like \"0644\""),
    ('recurse = true\ndirectory_mode = "u=g,g=o"\n', "'directory_mode' is 'u=g,g=o', which gives something else each time"),
    ('purge = true\nmax_depth = 129\n', "'max_depth' must be a number from 1 to 128"),
    ('purge = true\nmax_files = 0\n', "'max_files' must be a number from 1 to 100000000"),
    ('purge = true\nexclude = ["a\\nb"]\n',
     "'exclude' has a pattern that is empty, too long, or has a NUL or a newline in it"),
    ('purge = true\nexclude = [""]\n', "'exclude' has a pattern that is empty, too long, or has a NUL or a newline in it"),
    ('purge = true\ninclude = ["a\\u0000b"]\n', "'include' has a pattern that is empty, too long, or has a NUL or a newline in it"),
])
def test_what_makes_no_sense_is_an_error_of_the_role(box, lines, message):
    box.role("tree", tree(lines, source=False))
    once = box.agentd_once()
    assert once.returncode == 2 and message in once.stderr
    box.role("tree", f'[file."{TOP}"]\npurge = true\n')
    assert "'purge' makes no sense with ensure = \"file\"" in box.agentd_once().stderr


def test_root_is_respected(box):
    box.write("/image/etc/agentd/conf.d/tree.toml", tree("purge = true\n"))
    box.write("/image/etc/agentd/conf.d/www/x", "x")
    box.write(f"/image{TOP}/junk", "")
    box.write(f"{TOP}/junk", "")
    assert box.agentd_once("--root", "/image").returncode == 0
    assert set(names(box, f"/image{TOP}")) == {"x"} and set(names(box)) == {"junk"}


def test_audit_tells_and_changes_nothing(box):
    begin(box, tree("purge = true\naudit = true\n"))
    box.write(f"{TOP}/junk", "")
    once = box.agentd_once()
    assert results(once) == {f"file:{TOP}": "drifted"} and set(names(box)) == {"junk"}


# ---- The daemon ----------------------------------------------------------------------------------------------------


def test_an_unchanged_tree_is_not_read_again(box):
    """Contents are read only if a file of the tree or of the source may have changed."""
    begin(box, tree("watch = false\n"))
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    opens, source = Opens(box, TOP), Opens(box, SOURCE)
    done = remembered(box, opens, {"index.html"}, timeout=30)
    assert done.summary["ok"] == 1
    source.take()
    assert apply(box).summary["ok"] == 1 and "index.html" not in opens.take() and "index.html" not in source.take()
    # A change of the source is seen, and one of the tree.
    box.write(f"{SOURCE}/a/b/deep", "deeper\n")
    assert apply(box).summary["changed"] == 1 and box.read(f"{TOP}/a/b/deep") == "deeper\n"
    remembered(box, opens, {"index.html"}, timeout=30)
    box.write(f"{TOP}/a/b/deep", "other!\n")
    found = plan(box).results[f"file:{TOP}"]["differences"]
    assert [d["attribute"] for d in found] == ["content of a/b/deep"]
