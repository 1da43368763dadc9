# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentd --once --root DIR: a tree is managed, and the host around it is left alone; and runs in poor surroundings."""

import pytest

from once import AGENTD, agentd, changes, differences, errors, need_plain_build, results, said, snapshot

TREE = "/srv/tree"


def make_tree(box, role="", where="/etc/agentd/conf.d/role.toml"):
    """A tree with a passwd and facts of its own, which differ from the host's."""
    box.write(f"{TREE}/etc/passwd",
              "root:x:0:0::/root:/bin/sh\nada:x:4711:4712::/:/bin/sh\ndaemon:x:99:99::/:/bin/sh\n")
    box.write(f"{TREE}/etc/group", "root:x:0:\nstaff:x:4713:\ndaemon:x:98:\n")
    box.write(f"{TREE}/etc/hostname", "inside\n")
    box.write(f"{TREE}/etc/os-release", 'ID=insideos\nVERSION_ID="7"\n')
    if role:
        box.write(TREE + where, role)


def once_in_tree(box, *arguments):
    return box.agentd_once("--root", TREE, *arguments)


def test_tree_is_managed_and_the_host_is_untouched(box):
    make_tree(box, """
[file."/etc/motd"]
content = "tree\\n"
[file."/srv/d"]
ensure = "directory"
parents = {}
[file."/srv/link"]
ensure = "symlink"
target = "/etc/motd"
[file."/etc/hostname"]
ensure = "absent"
""")
    box.run(f"mkdir -p {TREE}/srv")
    before = snapshot(box)
    once = once_in_tree(box)
    assert once.returncode == 0 and once.summary["changed"] == 4 and said(once) == []
    assert box.read(f"{TREE}/etc/motd") == "tree\n" and not box.exists(f"{TREE}/etc/hostname")
    assert [path for path in changes(before, snapshot(box)) if not path.startswith(TREE)] == []
    assert once_in_tree(box).summary["ok"] == 4


def test_names_are_those_of_the_tree(box):
    make_tree(box, '[file."/a"]\nowner = "ada"\ngroup = "staff"\n[file."/b"]\nowner = "daemon"\ngroup = "daemon"\n'
                   '[file."/c"]\nowner = "games"\n[file."/d"]\ngroup = "games"\n[file."/e"]\nowner = "daemon"\n')
    box.write(f"{TREE}/e", "")
    box.run(f"chown 4711 {TREE}/e")
    once = once_in_tree(box)
    assert errors(once)["file:/c"] == "there is no user 'games'"
    assert errors(once)["file:/d"] == "there is no group 'games'"
    assert differences(once, "file:/e") == {"owner": ("ada", "daemon")}
    assert box.run(f"stat -c %u:%g {TREE}/a {TREE}/b {TREE}/e").stdout == "4711:4713\n99:98\n99:0\n"


@pytest.mark.parametrize("link, target", [
    ("etc/way", "/etc"),
    ("etc/way", "../../../../../../etc"),
    ("way", "/srv/../etc"),
])
def test_symlinks_are_resolved_within_the_tree(box, link, target):
    make_tree(box, f'[file."/{link}/agentd-made"]\ncontent = "x"\n')
    box.run(f"mkdir -p {TREE}/srv; ln -s {target} {TREE}/{link}")
    once = once_in_tree(box)
    assert once.returncode == 0, once
    assert box.read(f"{TREE}/etc/agentd-made") == "x"
    assert not box.exists("/etc/agentd-made")


def test_directories_above_are_made_within_the_tree_behind_a_link(box):
    make_tree(box, '[file."/way/x/y"]\ncontent = "x"\nparents = {}\n')
    box.run(f"ln -s /made {TREE}/way")
    assert once_in_tree(box).returncode == 0
    assert box.read(f"{TREE}/made/x/y") == "x" and not box.exists("/made")


def test_roles_come_from_the_tree_and_not_from_the_host(box):
    box.role("host", '[file."/host"]\n')
    for directory in "etc", "usr/lib":
        make_tree(box, f'[file."/{directory[:3]}"]\n', f"/{directory}/agentd/conf.d/{directory[:3]}.toml")
    assert results(once_in_tree(box)) == {"file:/etc": "failed", "file:/usr": "failed"}
    box.run(f"rm -r {TREE}/etc/agentd {TREE}/usr/lib/agentd")
    assert once_in_tree(box).results == []


def test_role_that_is_a_link_is_the_one_in_the_tree(box):
    make_tree(box, '[file."/inside"]\n', "/usr/lib/agentd/roles/base.toml")
    box.write("/usr/lib/agentd/roles/base.toml", '[file."/outside"]\n')
    box.run(f"mkdir -p {TREE}/etc/agentd/conf.d; ln -s /usr/lib/agentd/roles/base.toml {TREE}/etc/agentd/conf.d/")
    assert results(once_in_tree(box)) == {"file:/inside": "changed"}


def test_source_and_template_of_a_role_in_the_tree_are_files_of_the_tree(box):
    for top, text in (TREE, "inside"), ("", "outside"):
        box.write(f"{top}/usr/share/text", text)
        box.write(f"{top}/etc/agentd/conf.d/beside", text)
        box.write(f"{top}/etc/agentd/conf.d/part.mustache", text)
        box.write(f"{top}/etc/agentd/conf.d/t", "{{>part}}")
    make_tree(box, '[file."/a"]\nsource = "beside"\n[file."/b"]\nsource = "/usr/share/text"\n[file."/c"]\n'
                   'template = "t"\n[file."/d"]\nsource = "/usr/way"\n[file."/e"]\nsource = "../conf.d/beside"\n')
    box.run(f"ln -s /usr/share/text {TREE}/usr/way")
    once = once_in_tree(box)
    assert once.summary["changed"] == 5, once
    assert [box.read(f"{TREE}/{name}") for name in "abcde"] == ["inside"] * 5


def test_source_of_a_role_in_a_conf_dir_is_a_file_of_the_host(box):
    make_tree(box)
    box.write("/srv/conf/role.toml", '[file."/a"]\nsource = "text"\n[file."/b"]\ntemplate = "text"\n')
    box.write("/srv/conf/text", "outside")
    once = once_in_tree(box, "--conf-dir", "/srv/conf")
    assert once.summary["changed"] == 2, once
    assert box.read(f"{TREE}/a") == box.read(f"{TREE}/b") == "outside"


def test_facts_and_conditions_are_those_of_the_tree(box):
    make_tree(box, """
[file."/facts"]
content = "{{facts.os.id}} {{facts.os.version_id}} {{facts.hostname}}"
[file."/yes"]
when = "exists('/etc/passwd') and not exists('/usr/sbin/agentd')"
[file."/no"]
when = "exists('/way/hostname')"
""")
    box.run(f"ln -s /nosuch {TREE}/way")
    once = once_in_tree(box)
    assert once.returncode == 0, once
    assert box.read(f"{TREE}/facts") == "insideos 7 inside"
    assert results(once) == {"file:/facts": "changed", "file:/yes": "changed", "file:/no": "skipped"}


def test_run_in_a_tree_leaves_nothing_in_the_journal_of_the_host(box):
    make_tree(box, '[file."/a"]\n')
    after = box.cursor()
    assert once_in_tree(box).summary["changed"] == 1
    assert [e for e in box.journal(f"--after-cursor={after}") if "AGENTD_RUN" in e] == []


def test_plan_in_a_tree_changes_nothing(box):
    make_tree(box, '[file."/a"]\n[file."/d/e"]\nparents = {}\n')
    before = snapshot(box)
    plan = once_in_tree(box, "--plan", "--check")
    assert plan.returncode == 4 and changes(before, snapshot(box)) == []


def test_tree_may_be_named_by_a_relative_path_or_a_link(box):
    make_tree(box, '[file."/a"]\n')
    box.run("ln -s tree /srv/link")
    assert box.run(f"cd /srv && {AGENTD} --once --root tree").returncode == 0
    assert agentd(box, "--once", "--root", "/srv/link").stdout.startswith("1 state: 1 ok")


def test_root_slash_is_the_host(box):
    box.role("role", '[file."/srv/a"]\n')
    after = box.cursor()
    assert agentd(box, "--once", "--root", "/").returncode == 0
    assert [e["AGENTD_RESULT"] for e in box.journal(f"--after-cursor={after}", ) if "AGENTD_STATE" in e] == ["changed"]
    assert box.exists("/run/agentd/lock")


def test_validate_of_a_tree_looks_at_its_roles(box):
    box.role("host", "[nonsense]\n")
    make_tree(box, '[file."/a"]\n')
    assert agentd(box, "--validate", "--root", TREE).returncode == 0
    make_tree(box, '[flie."/a"]\n')
    done = agentd(box, "--validate", "--root", TREE)
    assert done.returncode == 2 and "conf.d/role.toml:1:2: error: " in done.stderr


# ---- Poor surroundings: image builds, containers, first boot ----

ROLE = """
[file."/srv/d"]
ensure = "directory"
owner = "daemon"
[file."/srv/d/a"]
content = "{{facts.os.id}}"
when = "not exists('/nosuch')"
"""


def expect_works(done, box, top=""):
    assert done.returncode == 0 and said(done) == [], done
    assert "2 states: 2 changed" in done.stdout
    assert box.run(["stat", "-c", "%U", f"{top}/srv/d"]).stdout == "daemon\n"
    assert box.read(f"{top}/srv/d/a") == "debian"


def test_works_without_bus_and_journal(box):
    box.role("role", ROLE)
    expect_works(box.run(["unshare", "--mount", "sh", "-c",
                          f"mount -t tmpfs tmpfs /run; exec {AGENTD} --once"], check=False), box)


def test_works_with_an_empty_environment(box):
    box.role("role", ROLE)
    expect_works(box.run(["env", "-i", AGENTD, "--once"], check=False), box)


@pytest.mark.parametrize("proc, null", [("proc", True), ("no-proc", True), ("proc", False)],
                         ids=["proc", "no-proc", "no-null"])
def test_works_in_a_chroot_that_is_no_mount_point(box, proc, null):
    if proc == "no-proc":
        need_plain_build(box, "they need /proc")
    # The tree has no /run/systemd, and its root is an ordinary directory, as in an image build.
    box.role("role", ROLE)
    box.run("mkdir /srv/tree && cd / && cp -a --parents usr/sbin/agentd usr/lib/agentd etc /srv/tree && "
            "cd /srv/tree && "
            "ln -s usr/bin usr/sbin usr/lib usr/lib64 . && mkdir -p usr/bin usr/lib64 run proc dev srv tmp && "
            "ldd /usr/sbin/agentd /usr/lib/agentd/modules/file.so | grep -o '/[^ :]*' | sort -u | grep -v agentd | "
            "xargs cp -L --parents -t . && cp /usr/bin/true usr/bin && cp /usr/lib/os-release usr/lib && "
            + ("mknod -m 666 dev/null c 1 3" if null else "true"))
    if proc == "proc":
        box.run("mount -t proc proc /srv/tree/proc")
    expect_works(box.run(["chroot", "/srv/tree", "/usr/sbin/agentd", "--once"], check=False), box, "/srv/tree")
    plan = box.run(["chroot", "/srv/tree", "/usr/sbin/agentd", "--once", "--plan"], check=False)
    assert plan.returncode == 0 and plan.stdout.startswith("2 states: 2 ok")
