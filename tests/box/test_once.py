# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentd --once: the states of a host become what its roles declare."""

import stat

import pytest

from box import wait_until
from daemon import background
from once import agentd, changes, differences, errors, need_plain_build, results, said, snapshot, temporaries

GAMES = 60  # group games of Debian
DAEMON = 1  # user and group daemon


def mode(box, path):
    return stat.S_IMODE(box.stat(path, follow=False).st_mode)


def ids(box, path):
    status = box.stat(path, follow=False)
    return status.st_uid, status.st_gid


def apply(box, text, **others):
    """Applies one role; it must change everything that it declares, or what is said by ok=3."""
    box.role("role", text)
    once = box.agentd_once()
    assert said(once) == [] and once.returncode == 0, once
    expected = {"changed": len(once.results) - sum(others.values()), **others}
    assert {key: n for key, n in once.summary.items() if n} == {k: n for k, n in expected.items() if n}, once.results
    return once


# ---- What a file state makes ----

def test_file_is_made_with_its_content_and_belongs_to_root(box):
    apply(box, '[file."/srv/a"]\ncontent = "ä\\n"\n')
    assert box.read("/srv/a") == "ä\n"
    assert mode(box, "/srv/a") == 0o644
    assert ids(box, "/srv/a") == (0, 0)
    assert temporaries(box, "/srv") == []


def test_file_without_content_is_made_empty_and_keeps_what_it_has(box):
    apply(box, '[file."/srv/new"]\n[file."/etc/hostname"]\n', ok=1)
    assert box.read("/srv/new") == ""
    assert box.read("/etc/hostname") == "box\n"


def test_content_may_be_empty_and_may_hold_nul(box):
    box.write("/srv/empty", "old")
    apply(box, '[file."/srv/empty"]\ncontent = ""\n[file."/srv/nul"]\ncontent = "a\\u0000b"\n')
    assert box.read("/srv/empty") == ""
    assert box.read("/srv/nul") == "a\0b"


def test_directory_is_made(box):
    apply(box, '[file."/srv/d"]\nensure = "directory"\n[file."/srv/d/e"]\nensure = "directory"\nmode = "2750"\n'
               'group = "games"\n')
    assert stat.S_ISDIR(box.stat("/srv/d").st_mode) and mode(box, "/srv/d") == 0o755
    assert mode(box, "/srv/d/e") == 0o2750 and ids(box, "/srv/d/e") == (0, GAMES)


def test_symlink_is_made_and_pointed_elsewhere(box):
    text = '[file."/srv/link"]\nensure = "symlink"\ntarget = "%s"\nowner = "daemon"\n'
    apply(box, text % "/nowhere/yet")
    assert box.run("readlink /srv/link").stdout == "/nowhere/yet\n"
    assert ids(box, "/srv/link") == (DAEMON, 0)
    once = apply(box, text % "../etc/hostname")
    assert differences(once, "file:/srv/link") == {"target": ("/nowhere/yet", "../etc/hostname")}
    assert box.read("/srv/link") == "box\n"
    assert ids(box, "/srv/link") == (DAEMON, 0)


@pytest.mark.parametrize("there", ["echo >/srv/x", "mkdir /srv/x", "ln -s /etc/hostname /srv/x", "mkfifo /srv/x"])
def test_absent_removes_what_is_there_and_nothing_behind_it(box, there):
    box.run(f"mkdir -p /srv; {there}")
    apply(box, '[file."/srv/x"]\nensure = "absent"\n')
    assert not box.exists("/srv/x")
    assert box.read("/etc/hostname") == "box\n"


def test_absent_is_fine_where_even_the_directory_is_missing(box):
    box.write("/srv/file", "")
    apply(box, '[file."/srv/no/such"]\nensure = "absent"\n[file."/srv/file/below"]\nensure = "absent"\n', ok=2)


def test_absent_fails_for_a_directory_that_is_not_empty(box):
    box.write("/srv/x/kept", "kept")
    box.role("role", '[file."/srv/x"]\nensure = "absent"\n')
    once = box.agentd_once()
    assert once.returncode == 1 and once.summary["failed"] == 1
    assert "not empty" in once.results[0]["error"]
    assert box.read("/srv/x/kept") == "kept"


@pytest.mark.parametrize("there, state", [
    ("mkdir /srv/x", 'content = "text"'),
    ("mkfifo /srv/x", 'content = "text"'),
    ("ln -s /etc/hostname /srv/x", 'content = "text"'),
    ("echo >/srv/x", 'ensure = "directory"'),
    ("ln -s /etc /srv/x", 'ensure = "directory"'),
    ("mkdir /srv/x", 'ensure = "symlink"\ntarget = "/etc"'),
    ("echo >/srv/x", 'ensure = "symlink"\ntarget = "/etc"'),
])
def test_something_else_at_the_path_is_not_replaced(box, there, state):
    box.run(f"mkdir -p /srv; {there}")
    box.role("role", f'[file."/srv/x"]\n{state}\n')
    before = snapshot(box, "/srv", "/etc")
    once = box.agentd_once()
    assert once.returncode == 1 and results(once) == {"file:/srv/x": "failed"}
    assert "is not replaced without force = true" in once.results[0]["error"]
    assert changes(before, snapshot(box, "/srv", "/etc")) == []


# ---- Where content comes from ----

def test_source_relative_to_the_role_and_absolute(box):
    box.write("/etc/agentd/conf.d/files/beside", b"beside\0\xff")
    box.write("/usr/share/source", "absolute")
    apply(box, '[file."/srv/a"]\nsource = "files/beside"\n[file."/srv/b"]\nsource = "/usr/share/source"\n'
               '[file."/srv/c"]\nsource = "../conf.d/files/beside"\n')
    assert box.run("od -An -c /srv/a").stdout.split() == ["b", "e", "s", "i", "d", "e", "\\0", "377"]
    assert box.read("/srv/b") == "absolute"
    box.run("cmp /srv/a /srv/c")


def test_source_beside_a_role_that_is_a_directory_or_a_link(box):
    box.write("/etc/agentd/conf.d/tree/main.toml", '[file."/srv/a"]\nsource = "text"\n')
    box.write("/etc/agentd/conf.d/tree/text", "tree")
    box.write("/usr/lib/agentd/roles/linked.toml", '[file."/srv/b"]\nsource = "linked.txt"\n')
    box.write("/usr/lib/agentd/roles/linked.txt", "linked")
    box.run("ln -s /usr/lib/agentd/roles/linked.toml /etc/agentd/conf.d/")
    assert box.agentd_once().summary["changed"] == 2
    assert box.read("/srv/a") == "tree" and box.read("/srv/b") == "linked"


def test_change_of_a_source_is_seen(box):
    box.write("/etc/agentd/conf.d/text", "one")
    apply(box, '[file."/srv/a"]\nsource = "text"\nmode = "0600"\n')
    box.write("/etc/agentd/conf.d/text", "two")
    apply(box, '[file."/srv/a"]\nsource = "text"\nmode = "0600"\n')
    assert box.read("/srv/a") == "two" and mode(box, "/srv/a") == 0o600


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 5 << 20])
def test_large_source_is_copied_whole_and_compared_whole(box, size):
    box.run(f"mkdir -p /srv /etc/agentd/conf.d; head -c {size} /dev/urandom >/etc/agentd/conf.d/data")
    apply(box, '[file."/srv/a"]\nsource = "data"\n')
    box.run("cmp /etc/agentd/conf.d/data /srv/a")
    assert box.agentd_once().summary["ok"] == 1
    box.run("printf x >>/srv/a")
    assert box.agentd_once().summary["changed"] == 1
    box.run("cmp /etc/agentd/conf.d/data /srv/a")


@pytest.mark.parametrize("make", ["true", "mkdir {}", "mkfifo {}", "ln -s /nowhere {}"])
def test_source_that_is_no_file_fails_the_state_by_name(box, make):
    box.run("mkdir -p /srv /etc/agentd/conf.d; echo old >/srv/a; " + make.format("/etc/agentd/conf.d/text"))
    box.role("role", '[file."/srv/a"]\nsource = "text"\n')
    once = box.agentd_once()
    assert once.returncode == 1
    assert "source '/etc/agentd/conf.d/text'" in once.results[0]["error"]
    assert box.read("/srv/a") == "old\n"


def test_template_is_rendered_with_vars_facts_and_partials(box):
    box.write("/etc/agentd/conf.d/page.mustache",
              "{{>head}}{{#vars.users}}{{name}}={{id}} {{/vars.users}}{{^vars.none}}none{{/vars.none}}\n")
    box.write("/etc/agentd/conf.d/head.mustache", "{{facts.hostname}} {{vars.title}} {{facts.os.id}}\n")
    apply(box, """
[vars]
title = "a & b"
users = [{ name = "ada", id = 1 }, { name = "bob", id = 2 }]
none = []
[file."/srv/page"]
template = "page.mustache"
""")
    assert box.read("/srv/page") == "box a & b debian\nada=1 bob=2 none\n"


def test_braces_in_a_source_are_left_alone_and_in_content_are_rendered(box):
    box.write("/etc/agentd/conf.d/text", "{{vars.x}}")
    apply(box, 'vars.x = "y"\n[file."/srv/a"]\nsource = "text"\n[file."/srv/b"]\ncontent = "{{vars.x}}"\n')
    assert box.read("/srv/a") == "{{vars.x}}"
    assert box.read("/srv/b") == "y"


# ---- Mode and owner ----

def test_mode_owner_and_group_are_set(box):
    box.write("/srv/a", "text", mode=0o777)
    once = apply(box, '[file."/srv/a"]\nmode = "0640"\nowner = "daemon"\ngroup = "games"\n')
    assert differences(once, "file:/srv/a") == {
        "mode": ("0777", "0640"), "owner": ("root", "daemon"), "group": ("root", "games")}
    assert mode(box, "/srv/a") == 0o640 and ids(box, "/srv/a") == (DAEMON, GAMES)
    assert box.read("/srv/a") == "text"


def test_owner_by_number_needs_no_user_of_that_number(box):
    apply(box, '[file."/srv/a"]\nowner = "4711"\ngroup = "4712"\n')
    assert ids(box, "/srv/a") == (4711, 4712)


def test_mode_owner_and_group_are_kept_when_content_changes(box):
    box.write("/srv/a", "old")
    box.run("chown 4711:4712 /srv/a; chmod 4751 /srv/a")
    apply(box, '[file."/srv/a"]\ncontent = "new"\n')
    assert box.read("/srv/a") == "new"
    assert mode(box, "/srv/a") == 0o4751 and ids(box, "/srv/a") == (4711, 4712)


def test_set_uid_survives_a_change_of_owner_only_where_it_is_declared(box):
    box.write("/srv/declared", "", mode=0o755)
    box.write("/srv/taken", "evil", mode=0o6755)
    box.write("/srv/replaced", "evil", mode=0o6755)
    box.write("/srv/kept", "old", mode=0o4755)
    box.run("chown 1000:1000 /srv/taken /srv/replaced")
    apply(box, '[file."/srv/declared"]\nmode = "4755"\nowner = "daemon"\n[file."/srv/taken"]\nowner = "root"\n'
               '[file."/srv/replaced"]\nowner = "root"\ncontent = "x"\n[file."/srv/kept"]\ncontent = "x"\n'
               '[file."/srv/made"]\ncontent = "x"\nmode = "4755"\nowner = "daemon"\n')
    assert mode(box, "/srv/declared") == 0o4755 and ids(box, "/srv/declared") == (DAEMON, 0)
    assert mode(box, "/srv/taken") == mode(box, "/srv/replaced") == 0o755, "nobody becomes root by a role"
    assert ids(box, "/srv/taken") == ids(box, "/srv/replaced") == (0, 1000)
    assert mode(box, "/srv/kept") == 0o4755
    assert mode(box, "/srv/made") == 0o4755 and ids(box, "/srv/made") == (DAEMON, 0)


def test_mode_is_exact_whatever_the_umask_and_the_directory_say(box):
    box.run("mkdir -p /srv/d; chgrp games /srv/d; chmod 2777 /srv/d")
    box.role("role", '[file."/srv/d/a"]\ncontent = "x"\nmode = "0666"\n[file."/srv/d/e"]\nensure = "directory"\n'
                     'mode = "0777"\n')
    assert box.run("umask 077; /usr/sbin/agentd --once", check=False).returncode == 0
    assert mode(box, "/srv/d/a") == 0o666 and ids(box, "/srv/d/a") == (0, 0)
    assert mode(box, "/srv/d/e") == 0o777 and ids(box, "/srv/d/e") == (0, 0)


def test_unknown_owner_and_group_fail_with_the_name(box):
    box.role("role", '[file."/srv/a"]\nowner = "nosuch"\n[file."/srv/b"]\ngroup = "nogrp"\n[file."/srv/c"]\n')
    once = box.agentd_once()
    assert once.returncode == 1
    assert errors(once)["file:/srv/a"] == "there is no user 'nosuch'"
    assert errors(once)["file:/srv/b"] == "there is no group 'nogrp'"
    assert not box.exists("/srv/a") and not box.exists("/srv/b") and box.exists("/srv/c")


def test_other_names_of_a_file_keep_the_old_content(box):
    box.run("mkdir -p /srv; echo old >/srv/a; ln /srv/a /srv/b")
    apply(box, '[file."/srv/a"]\ncontent = "new\\n"\n')
    assert box.read("/srv/a") == "new\n" and box.read("/srv/b") == "old\n"


# ---- Directories above ----

def test_parents_are_made_with_their_mode(box):
    apply(box, '[file."/srv/a/b/c"]\ncontent = "x"\nparents = { create = true, mode = "0750" }\n'
               '[file."/srv/d/e/f"]\nensure = "directory"\nparents = {}\n')
    assert mode(box, "/srv/a") == mode(box, "/srv/a/b") == 0o750
    assert mode(box, "/srv/a/b/c") == 0o644
    assert mode(box, "/srv/d") == mode(box, "/srv/d/e") == 0o755
    assert ids(box, "/srv/a/b") == (0, 0)


def test_parents_that_are_there_keep_their_mode(box):
    box.run("mkdir -m 0711 -p /srv/a")
    apply(box, '[file."/srv/a/b/c"]\nparents = { mode = "0750" }\n')
    assert mode(box, "/srv/a") == 0o711 and mode(box, "/srv/a/b") == 0o750


@pytest.mark.parametrize("parents", ["", "parents = { create = false }"])
def test_missing_directory_is_an_error_that_names_parents(box, parents):
    box.role("role", f'[file."/srv/no/such"]\n{parents}\n')
    once = box.agentd_once()
    assert once.returncode == 1
    assert "directory of '/srv/no/such' does not exist; parents =" in once.results[0]["error"]
    assert not box.exists("/srv/no")


def test_symlink_of_a_user_on_the_way_is_not_followed(box):
    box.run("mkdir -p /srv/u; chown daemon /srv/u; ln -s /etc /srv/u/way; chown -h daemon /srv/u/way")
    box.role("role", '[file."/srv/u/way/hostname"]\ncontent = "bad"\n')
    once = box.agentd_once()
    assert once.returncode == 1 and "symlink" in once.results[0]["error"]
    assert box.read("/etc/hostname") == "box\n"


@pytest.mark.parametrize("ensure, call, moment, deed", [
    ('"symlink"\ntarget = "target"', "fchownat", "enter", "mv other name"),
    # A hard link when it is opened, which then has but the name that it had before.
    ('"file"', "openat", "exit", "rm name"),
])
def test_the_owner_is_not_given_to_somebody_elses_file(box, ensure, call, moment, deed):
    """By who can write the directory, in the middle of it."""
    box.write("/srv/canary", "root's\n", mode=0o666)
    box.run("mkdir -m 0777 /srv/theirs && cd /srv/theirs && ln /srv/canary other")
    box.run("cd /srv/theirs && " + ("ln -s target name" if "symlink" in ensure else "mv other name"))
    box.role("role", f'[file."/srv/theirs/name"]\nensure = {ensure}\nowner = "daemon"\n')
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:delay_{moment}=5s"]
    if call == "openat":
        strace[1:1] = ["-P", "/srv/theirs"]
    # At the call, not only on the way there.
    waits = ("status=$(grep -ls '^agentd-apply$' /proc/[0-9]*/comm | sed 's/comm$/status/'); test -n \"$status\" || exit 1; "
             "for i in $(seq 20); do grep -qs '^State:.*tracing stop' $status || exit 1; sleep 0.01; done")

    with background(box, [*strace, "/usr/sbin/agentd", "--once"]) as once:
        wait_until(lambda: box.run(waits, check=False).returncode == 0, 30, "the call")
        box.run(f"cd /srv/theirs && {deed}")
        once.process.wait(50)
    assert box.stat("/srv/canary").st_uid == 0


def test_symlink_of_root_on_the_way_is_followed(box):
    box.run("mkdir -p /srv/real; ln -s real /srv/way")
    apply(box, '[file."/srv/way/a"]\ncontent = "x"\n')
    assert box.read("/srv/real/a") == "x"


# ---- Nothing to do ----

EVERYTHING = """
[vars]
list = ["one", "two"]
[file."/srv/d"]
ensure = "directory"
mode = "0750"
group = "games"
[file."/srv/d/a"]
content = "text"
owner = "daemon"
[file."/srv/d/b"]
source = "/etc/hostname"
[file."/srv/d/c"]
template = "t"
[file."/srv/d/deep/er/file"]
parents = { create = true }
[file."/srv/link"]
ensure = "symlink"
target = "d"
[file."/srv/gone"]
ensure = "absent"
[file."/srv/{{item}}"]
for_each = "vars.list"
sensitive = true
content = "{{item}}"
[file."/srv/root"]
check_as_root = true
[hosts-entry."web.example.org"]
address = "10.0.0.1"
"""


def test_second_run_changes_nothing_at_all(box):
    box.write("/etc/agentd/conf.d/t", "{{facts.hostname}}")
    box.write("/srv/gone", "")
    first = apply(box, EVERYTHING)
    before, cursor = snapshot(box), box.cursor()
    second = box.agentd_once()
    assert second.returncode == 0 and said(second) == []
    assert set(results(second).values()) == {"ok"} and len(second.results) == len(first.results)
    assert all(result["differences"] == [] and result["error"] is None for result in second.results)
    assert changes(before, snapshot(box)) == []
    entries = box.journal(f"--after-cursor={cursor}")
    assert [e["MESSAGE"] for e in entries if e.get("_COMM", "").startswith("agentd")] == []


def test_second_run_says_so_in_one_line(box):
    role = EVERYTHING.replace('template = "t"', 'content = "x"')
    apply(box, role.replace('[file."/srv/gone"]\nensure = "absent"\n', ""))
    done = agentd(box, "--once")
    assert done.returncode == 0 and said(done) == []
    assert done.stdout.startswith("10 states: 10 ok (") and done.stdout.count("\n") == 1


def test_empty_conf_d_is_fine(box):
    once = box.agentd_once()
    assert once.returncode == 0 and once.results == [] and set(once.summary.values()) == {0}
    assert agentd(box, "--once").stdout.startswith("0 states: 0 ok")


# ---- Order ----

def order(once):
    return [result["state"].rpartition("/")[2] for result in once.results]


def test_requires_before_and_directories_give_the_order(box):
    once = apply(box, """
[file."/srv/a"]
requires = ["file:/srv/b"]
[file."/srv/b"]
[file."/srv/c"]
before = ["file:/srv/b"]
[file."/srv/tree/z/x"]
before = ["file:/srv/c"]
[file."/srv/tree/z"]
ensure = "directory"
[file."/srv/tree"]
ensure = "directory"
""")
    assert order(once) == ["tree", "z", "x", "c", "b", "a"]


def test_globs_and_unusual_spellings_are_understood_in_requires(box):
    once = apply(box, """
[file."/srv/last"]
requires = ["file:/srv/many/*", "file:/srv//first/"]
""" + "".join(f'[file."/srv/many/{n}"]\nparents = {{}}\nrequires = ["file:/srv/first"]\n' for n in range(20)) + """
[file."/srv/first"]
""")
    assert order(once)[0] == "first" and order(once)[-1] == "last"


def test_states_above_an_unmanaged_directory_come_first_as_well(box):
    once = apply(box, '[file."/srv/d/e/f"]\nparents = {}\n[file."/srv/d"]\nensure = "directory"\nmode = "0700"\n')
    assert order(once) == ["d", "f"]
    assert mode(box, "/srv/d") == 0o700


def test_what_requires_a_failed_state_is_blocked_and_says_by_which(box):
    box.role("role", """
[file."/srv/bad"]
owner = "nosuch"
[file."/srv/one"]
requires = ["file:/srv/bad"]
[file."/srv/two"]
requires = ["file:/srv/one"]
[file."/srv/three"]
requires = ["file:/srv/b*"]
[file."/srv/other"]
""")
    once = box.agentd_once()
    assert once.returncode == 1
    assert results(once) == {"file:/srv/bad": "failed", "file:/srv/one": "blocked", "file:/srv/two": "blocked",
                             "file:/srv/three": "blocked", "file:/srv/other": "changed"}
    assert errors(once)["file:/srv/one"] == "required file:/srv/bad failed"
    assert errors(once)["file:/srv/two"] == "required file:/srv/one blocked"
    assert errors(once)["file:/srv/three"] == "required file:/srv/bad failed"
    assert not box.exists("/srv/one") and not box.exists("/srv/two") and box.exists("/srv/other")


def test_failure_of_one_in_a_large_glob_blocks_and_is_named(box):
    box.role("role", '[file."/srv/last"]\nrequires = ["file:/srv/x*"]\n[file."/srv/x7"]\nowner = "nosuch"\n' +
             "".join(f'[file."/srv/x1{n:02}"]\n' for n in range(30)))
    once = box.agentd_once()
    assert errors(once)["file:/srv/last"] == "required file:/srv/x7 failed"
    assert once.summary["changed"] == 30


# ---- Settings of every state ----

def test_when_false_is_skipped_and_holds_nobody_up(box):
    once = apply(box, """
[file."/srv/now"]
when = "facts.os.id == 'nosuch'"
[file."/srv/later"]
when = "exists('/srv/no')"
[file."/srv/after"]
requires = ["file:/srv/now", "file:/srv/later"]
[file."/srv/yes"]
when = "facts.os.id in ['debian'] and not exists('/srv/no')"
""", skipped=2)
    assert results(once) == {"file:/srv/now": "skipped", "file:/srv/later": "skipped", "file:/srv/after": "changed",
                             "file:/srv/yes": "changed"}
    assert not box.exists("/srv/now") and not box.exists("/srv/later")


def test_when_is_asked_after_what_the_state_requires(box):
    once = apply(box, '[file."/srv/b"]\nrequires = ["file:/srv/a"]\nwhen = "exists(\'/srv/a\')"\n[file."/srv/a"]\n')
    assert order(once) == ["a", "b"]


def test_role_that_is_off_has_no_states_and_may_be_required(box):
    box.role("off", 'when = "facts.os.id == \'nosuch\'"\n[file."/srv/off"]\n')
    once = apply(box, '[file."/srv/on"]\nrequires = ["file:/srv/off"]\n')
    assert results(once) == {"file:/srv/on": "changed"}


def test_audit_tells_and_does_not_touch(box):
    box.write("/srv/a", "mine", mode=0o600)
    before = snapshot(box, "/srv")
    once = apply(box, '[file."/srv/a"]\ncontent = "x"\nmode = "0644"\naudit = true\n[file."/srv/b"]\naudit = true\n',
                 drifted=2)
    assert set(differences(once, "file:/srv/a")) == {"content", "mode"}
    assert differences(once, "file:/srv/b") == {"ensure": ("absent", "file")}
    assert changes(before, snapshot(box, "/srv")) == []
    assert once.returncode == 0


def test_audited_state_holds_nobody_up(box):
    once = apply(box, '[file."/srv/a"]\naudit = true\n[file."/srv/b"]\nrequires = ["file:/srv/a"]\n', drifted=1)
    assert results(once)["file:/srv/b"] == "changed"


def test_sensitive_is_hidden_everywhere(box):
    box.write("/srv/old", "OLDSECRET\n", mode=0o644)
    box.role("role", """
[file."/srv/old"]
content = "NEWSECRET\\n"
mode = "0600"
sensitive = true
[file."/srv/new"]
content = "NEWSECRET\\n"
sensitive = true
[file."/srv/link"]
ensure = "symlink"
target = "/NEWSECRET"
sensitive = true
[file."/srv/bad"]
content = "NEWSECRET"
owner = "NEWSECRET"
sensitive = true
""")
    plan = box.run("/usr/sbin/agentd --once --plan --diff", check=False)
    plan_json = box.run("/usr/sbin/agentd --once --plan --diff --json", check=False)
    cursor = box.cursor()
    once = box.agentd_once("--diff")
    assert once.summary["changed"] == 3 and once.summary["failed"] == 1
    assert box.read("/srv/old") == box.read("/srv/new") == "NEWSECRET\n"
    assert differences(once, "file:/srv/old") == {
        "content": ("<sensitive>", "<sensitive>"), "mode": ("<sensitive>", "<sensitive>")}
    assert differences(once, "file:/srv/new")["content"] == (None, "<sensitive>")
    entries = box.journal(f"--after-cursor={cursor}")
    assert any(entry.get("AGENTD_STATE") == "file:/srv/old" for entry in entries)
    for text in plan.stdout, plan.stderr, plan_json.stdout, plan_json.stderr, str(once), str(entries):
        assert "SECRET" not in text


def test_check_as_root_sees_what_the_sandbox_may_not(box):
    box.role("role", '[file."/srv/a"]\ncontent = "x"\ncheck_as_root = true\n')
    plan = box.agentd_once("--plan")
    assert results(plan) == {"file:/srv/a": "unknown"}
    assert "checked as root" in plan.results[0]["error"]
    assert not box.exists("/srv/a")
    assert results(box.agentd_once()) == {"file:/srv/a": "changed"}
    assert results(box.agentd_once()) == {"file:/srv/a": "ok"}


def test_check_reads_files_that_only_root_can(box):
    box.write("/srv/a", "x", mode=0)
    box.run("chmod 0700 /srv")
    apply(box, '[file."/srv/a"]\ncontent = "x"\nmode = "0000"\n', ok=1)


@pytest.mark.parametrize("timeout", ["5", '"2min 30s"', '"infinity"', '"500ms"'])
def test_timeout_takes_time_spans(box, timeout):
    apply(box, f'[file."/srv/a"]\ntimeout = {timeout}\n')


def test_timeout_ends_a_state_that_hangs_and_others_go_on(box):
    # A frozen file system: who writes to it hangs and cannot be killed.
    need_plain_build(box, "a worker that hangs holds standard error open")
    box.loop_ext4("/srv/disk")
    box.write("/srv/disk/a", "old")
    box.role("role", '[file."/srv/disk/a"]\ncontent = "new"\ntimeout = "1s"\n[file."/srv/b"]\ncontent = "x"\n')
    box.run("sync; fsfreeze --freeze /srv/disk")
    try:
        once = box.agentd_once(timeout=60)
    finally:
        box.run("fsfreeze --unfreeze /srv/disk")
    assert once.returncode == 1
    assert results(once) == {"file:/srv/disk/a": "failed", "file:/srv/b": "changed"}
    assert "timeout" in errors(once)["file:/srv/disk/a"] or "hangs" in errors(once)["file:/srv/disk/a"]


def test_for_each_over_a_list_a_table_and_literals(box):
    box.role("role", """
[vars]
users = [{ name = "ada", mode = "0600" }, { name = "bob", mode = "0640" }]
ports = { http = 80, https = 443 }
[file."/srv/{{item.name}}"]
for_each = "vars.users"
mode = "{{item.mode}}"
content = "{{item.name}}"
[file."/srv/{{item.key}}"]
for_each = "vars.ports"
content = "{{item.value}}"
requires = ["file:/srv/ada"]
[file."/srv/l-{{item}}"]
for_each = ["x", "y"]
when = "'x' in item"
[file."/srv/none-{{item}}"]
for_each = []
""")
    once = box.agentd_once()
    assert once.summary["changed"] == 5 and once.summary["skipped"] == 1, once
    assert box.read("/srv/http") == "80" and box.read("/srv/https") == "443"
    assert mode(box, "/srv/bob") == 0o640 and box.read("/srv/ada") == "ada"
    assert box.exists("/srv/l-x") and not box.exists("/srv/l-y")


def test_states_of_all_roles_form_one_run_in_which_names_of_roles_are_told(box):
    box.role("b", '[file."/srv/b"]\n')
    box.role("a", '[file."/srv/a"]\nrequires = ["file:/srv/b"]\n')
    once = box.agentd_once()
    assert [(r["state"], r["role"]) for r in once.results] == [("file:/srv/b", "b"), ("file:/srv/a", "a")]


def test_etc_comes_before_run_before_usr_and_dev_null_masks(box):
    for directory, roles in ("/usr/lib", "abcd"), ("/run", "bc"), ("/etc", "c"):
        for role in roles:
            box.start() if not box.running else None
            box.write(f"{directory}/agentd/conf.d/{role}.toml", f'[file."/srv/{role}"]\ncontent = "{directory}"\n')
    box.run("ln -s /dev/null /etc/agentd/conf.d/d.toml")
    assert box.agentd_once().summary["changed"] == 3
    assert [box.read(f"/srv/{role}") for role in "abc"] == ["/usr/lib", "/run", "/etc"]
    assert not box.exists("/srv/d")


def test_hidden_files_and_others_than_toml_are_no_roles(box):
    for name in ".hidden.toml", "back.toml~", "text.txt", "a.toml.rpmnew", "#a.toml#":
        box.write(f"/etc/agentd/conf.d/{name}", "not a role [")
    assert box.agentd_once().returncode == 0


def test_ten_thousand_files(box):
    box.role("role", '[file."/srv/d"]\nensure = "directory"\n' +
             "".join(f'[file."/srv/d/{n}"]\ncontent = "{n}\\n"\n' for n in range(10000)))
    assert box.agentd_once(timeout=90).summary["changed"] == 10001
    assert box.agentd_once(timeout=30).summary["ok"] == 10001


def test_absent_tree_goes_from_the_inside_out(box):
    box.run("mkdir -p /opt/old/bin; touch /opt/old/bin/a")
    box.role("role", "".join(f'[file."{path}"]\nensure = "absent"\n' for path in ("/opt/old", "/opt/old/bin", "/opt/old/bin/a")))
    done = box.agentd_once()
    assert [result["name"] for result in done.results] == ["/opt/old/bin/a", "/opt/old/bin", "/opt/old"]
    assert done.summary["changed"] == 3 and not box.exists("/opt/old")


def test_root_directory_is_a_directory_like_others(box):
    box.role("role", '[file."/"]\nensure = "directory"\nmode = "0755"\n[file."/srv/a"]\n')
    assert box.agentd_once().returncode == 0
    box.run("chmod 700 /")
    assert box.agentd_once().summary["changed"] == 1
    assert box.agentd_once().summary["ok"] == 2


def test_failure_names_the_place_in_the_role(box):
    box.role("role", '[file."/srv/a"]\nowner = "nosuch"\n')
    done = box.run(["/usr/sbin/agentd", "--once"], check=False)
    assert "    /etc/agentd/conf.d/role.toml:1:7\n    there is no user 'nosuch'\n" in done.stdout
