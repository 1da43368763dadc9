# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type edit: parts of files. What each operation does to a text, modules/edit/test-edit.c knows better."""

import re

import pytest
from box import wait_until
from daemon import apply as daemon_apply
from daemon import last_event, start, wait_event, wait_idle
from once import errors, results, said, temporaries
from test_incremental import Opens, begin, checked, remembered

FILE = "/srv/etc/file"
IN_MOVED_TO = 0x80


def edits(*operations, path=FILE):
    """One state for each, named a, b, c …"""
    return "".join(f'[edit.{name}]\npath = "{path}"\n{operation}\n' for name, operation in zip("abcdefghij", operations))


def raw(box, path=FILE):
    """The bytes, as they are."""
    return bytes.fromhex(box.run(["od", "-An", "-v", "-tx1", path]).stdout)


def apply(box, role, before=None, path=FILE):
    if before is not None:
        box.write(path, before)
    box.role("edits", role)
    return box.agentd_once("--diff")


# ---- One file, many states ----

def test_edits_of_one_file_are_one_write_in_the_order_of_their_declaration(box):
    once = apply(box, edits('line = "1"', 'line = "2"', 'line = "3"') + '[edit.other]\npath = "/srv/etc/other"\n'
                 'line = "x"\n' + edits('line = "4"').replace("edit.a", "edit.z"), "0\n")
    assert once.returncode == 1 and results(once)["edit:other"] == "failed"
    assert raw(box) == b"0\n1\n2\n3\n4\n"
    assert [r["state"] for r in once.results if r["result"] == "changed"] == ["edit:a", "edit:b", "edit:c", "edit:z"]
    # Each shows its own part.
    diffs = {r["state"]: r["differences"][0]["diff"] for r in once.results if r["differences"]}
    for name, added in zip("abcz", "1234"):
        assert [line for line in diffs[f"edit:{name}"].splitlines()[2:] if line[0] in "+-"] == [f"+{added}"]


def test_a_diff_names_the_file(box):
    box.write(FILE, "0\n")
    box.role("edits", edits('line = "1"'))
    assert f"--- {FILE}\n" in box.run("agentd --once --plan --diff").stdout


def test_many_edits_of_one_file_write_it_once_however_they_are_mixed(box):
    box.run("mkdir -p /srv/etc; touch /srv/etc/0 /srv/etc/1")
    opens = Opens(box, "/srv/etc", IN_MOVED_TO)
    once = apply(box, "".join(f'[edit.n{i}]\npath = "/srv/etc/{i % 2}"\nline = "{i}"\ntimeout = "{i // 10 + 10}s"\n'
                              for i in range(40)))
    assert once.summary["changed"] == 40
    for k in range(2):
        assert raw(box, f"/srv/etc/{k}") == b"".join(b"%d\n" % i for i in range(k, 40, 2))
    assert opens.take() == {"0": 1, "1": 1}
    assert box.agentd_once().summary["ok"] == 40


def test_what_is_as_declared_is_not_read_again(box):
    role = "".join(f'[edit.{name}-{i}]\npath = "/srv/etc/{i}"\nline = "{name}"\nwatch = false\n'
                   for i in range(20) for name in "ab")
    for i in range(20):
        box.write(f"/srv/etc/{i}", "a\n")
    opens = begin(box, role, "/srv/etc")
    assert remembered(box, opens).summary["ok"] == 40
    box.run("echo a >/srv/etc/3")
    done, opened = checked(box, opens)
    assert set(opened) == {"3"} and done.summary["ok"] == 39
    assert done.results["edit:b-3"]["result"] == "drifted"


def test_what_fails_does_not_keep_others_from_being_written(box):
    once = apply(box, edits('line = "1"', "line = 'x'\nmatch = '^(x+)+$'", 'line = "2"'), "x" * 60 + "!\n")
    assert results(once) == {"edit:a": "changed", "edit:b": "failed", "edit:c": "changed"}
    assert "tries too much" in errors(once)["edit:b"]
    assert raw(box) == b"x" * 60 + b"!\n1\n2\n"


def test_two_edits_that_undo_each_other_fail_and_name_each_other(box):
    once = apply(box, edits('line = "a"', "line = 'b'\nmatch = '^a$'", 'line = "c"'), "0\n")
    assert results(once) == {"edit:a": "failed", "edit:b": "failed", "edit:c": "changed"}
    assert "contradicts edit:b" in errors(once)["edit:a"] and "contradicts edit:a" in errors(once)["edit:b"]
    assert raw(box) == b"0\nc\n"


def test_an_edit_that_is_never_satisfied_changes_nothing(box):
    once = apply(box, edits('replace = { match = "a", with = "aa" }'), "a\n")
    assert results(once) == {"edit:a": "failed"} and "once more" in errors(once)["edit:a"]
    assert raw(box) == b"a\n"


def test_edits_that_wait_for_something_come_later(box):
    role = edits('line = "1"', 'line = "2"\nrequires = ["file:/srv/first"]', 'line = "3"\nrequires = ["edit:b"]')
    once = apply(box, role + '[file."/srv/first"]\ncontent = "x"\n', "0\n")
    assert once.summary["changed"] == 4 and raw(box) == b"0\n1\n2\n3\n"
    assert box.agentd_once().summary["ok"] == 4


def test_edits_come_after_the_state_that_makes_the_file(box):
    once = apply(box, edits('line = "1"') + f'[file."{FILE}"]\nmode = "0600"\n'
                 '[file."/srv/etc"]\nensure = "directory"\n')
    assert once.summary["changed"] == 3 and raw(box) == b"1\n"
    assert box.stat(FILE).st_mode & 0o7777 == 0o600
    assert box.agentd_once().summary["ok"] == 3


def test_a_plan_says_that_it_cannot_tell_what_a_file_to_come_will_be(box):
    box.role("edits", edits('line = "1"') + f'[file."{FILE}"]\n[file."/srv/etc"]\nensure = "directory"\n')
    plan = box.agentd_once("--plan")
    assert results(plan)["edit:a"] == "unknown"
    assert not box.exists("/srv/etc")


@pytest.mark.parametrize("settings, words", [
    ('content = "x"', "says the whole content of"),
    ('ensure = "absent"', "wants to be absent"),
    ('ensure = "directory"', "makes a directory"),
])
def test_a_file_that_another_state_has_the_content_of_is_an_error_of_the_role(box, settings, words):
    once = apply(box, f'[file."{FILE}"]\n{settings}\n' + edits('line = "1"'))
    assert once.returncode == 2
    assert said(once) == [f"/etc/agentd/conf.d/edits.toml:3:7: error: edit:a edits '{FILE}', which file:{FILE} "
                          f"(/etc/agentd/conf.d/edits.toml:1:7) {words}"]


# ---- What stays ----

def test_owner_mode_and_attributes_stay(box):
    box.write(FILE, "a\n", mode=0o4750)
    box.run(["chown", "1:2", FILE])
    box.run(["chmod", "4750", FILE])
    python = f"import os; os.setxattr('{FILE}', 'user.x', b'y')"
    has_xattrs = box.run(["python3", "-c", python], check=False).returncode == 0
    once = apply(box, edits('line = "b"'))
    assert once.summary["changed"] == 1
    st = box.stat(FILE)
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o4750, 1, 2)
    if has_xattrs:
        assert box.run(["python3", "-c", f"import os; print(os.getxattr('{FILE}', 'user.x'))"]).stdout == "b'y'\n"


def test_an_access_control_list_stays(box):
    disk = box.loop_ext4("/srv/disk")
    try:
        box.write("/srv/disk/file", "a\n", mode=0o640)
        acl = bytes.fromhex("02000000" "01000600ffffffff" "0200060003000000" "04000400ffffffff" "10000600ffffffff"
                            "20000000ffffffff")
        box.run(["python3", "-c", f"import os; os.setxattr('/srv/disk/file', 'system.posix_acl_access', {acl!r})"])
        once = apply(box, edits('line = "b"', path="/srv/disk/file"))
        assert once.summary["changed"] == 1, once.stdout
        now = box.run(["python3", "-c", "import os; print(os.getxattr('/srv/disk/file', 'system.posix_acl_access').hex())"])
        assert bytes.fromhex(now.stdout) == acl
    finally:
        disk.umount()


@pytest.mark.parametrize("before, after", [
    (b"a\r\nb\r\n", b"a\r\nb\r\nnew\r\n"),
    (b"a\nb", b"a\nb\nnew\n"),
    (b"a\r\nb", b"a\r\nb\r\nnew\r\n"),
    (b"", b"new\n"),
    (b"\xef\xbb\xbfa\n", b"\xef\xbb\xbfa\nnew\n"),
    (b"\xff\xc3(\n", b"\xff\xc3(\nnew\n"),
    (b"a\0b\n", b"a\0b\nnew\n"),
])
def test_bytes_that_nobody_named_stay(box, before, after):
    once = apply(box, edits('line = "new"'), before)
    assert once.summary["changed"] == 1
    assert raw(box) == after
    assert box.agentd_once().summary["ok"] == 1


def test_a_regular_expression_works_on_a_file_that_is_not_utf8(box):
    once = apply(box, edits("line = 'é = 2'\nmatch = '^. = 1'", "replace = { match = 'é (x)', with = '$1' }"),
                 "\xff = 1\né x\n".encode("latin-1") + "é x\n".encode())
    assert once.summary["changed"] == 2
    assert raw(box) == "é = 2\n".encode() + b"\xe9 x\nx\n"


# ---- What cannot be ----

@pytest.mark.parametrize("make, words", [
    ("true", "there is no file '/srv/etc/file'; create = true makes it"),
    ("mkdir /srv/etc/file", "it is a directory"),
    ("mkfifo /srv/etc/file", "it is not a regular file"),
    ("ln -s other /srv/etc/file; echo >/srv/etc/other", "it is a symlink; name the file that it leads to"),
    ("truncate -s 17M /srv/etc/file", "it is larger than 16 MiB"),
    (r"printf '\377\376a\0' >/srv/etc/file", "it is UTF-16, which cannot be edited"),
])
def test_what_cannot_be_edited_is_said_and_left_alone(box, make, words):
    box.run(f"mkdir -p /srv/etc; {make}")
    before = box.run("ls -lni --time-style=full-iso /srv/etc | tail -n +2").stdout
    once = apply(box, edits('line = "x"'))
    assert results(once) == {"edit:a": "failed"}
    assert words in errors(once)["edit:a"]
    assert box.run("ls -lni --time-style=full-iso /srv/etc | tail -n +2").stdout == before


@pytest.mark.parametrize("operation, text, words", [
    ('json = { a = 1 }', "{", "it is no JSON that can be edited: line 1, column 1"),
    ('json = { a = 1 }', "[]", "it is JSON, but no object"),
    ('toml = { a = 1 }', "a = ", "it is no TOML that can be edited: line 1"),
    ('toml = { a = [] }', "[[a]]\nb = 1 # dear\n", "written as an array of tables"),
    ('block = "x"', "# BEGIN agentd: a\n", "has no end"),
])
def test_a_file_that_is_not_what_it_should_be_stays_as_it_is(box, operation, text, words):
    once = apply(box, edits(operation), text)
    assert results(once) == {"edit:a": "failed"} and words in errors(once)["edit:a"]
    assert raw(box) == text.encode()


def test_without_space_the_old_file_stays_and_nothing_else(box):
    box.full_disk("/srv/full")
    box.run("truncate -s 4096 /srv/full/filler; head -c 3000 /dev/zero | tr '\\0' x >/srv/full/file; cat /dev/zero >/srv/full/filler",
            check=False)
    before = raw(box, "/srv/full/file")
    once = apply(box, edits('line = "x"', path="/srv/full/file"))
    assert results(once) == {"edit:a": "failed"}
    assert "No space left on device" in errors(once)["edit:a"]
    assert raw(box, "/srv/full/file") == before and temporaries(box, "/srv/full") == []


@pytest.mark.parametrize("setting, message", [
    ("", "it says nothing to do: give one of 'line', 'block', 'replace', 'set', 'unset', 'ini', 'toml', 'json'"),
    ("line = 'x'\nmatch = '('", "'match': the regular expression '(' is wrong at character 2: missing closing parenthesis"),
    ("line = '$2'\nmatch = '(x)'", "'line' says '$2', but 'match' has 1 group; a dollar sign is $$"),
    ("line = '\\1 y'\nmatch = '(x)'", "'line' says '\\1', which is text; what a group has matched is $1 or ${1}"),
    ("replace = { match = '(x)', with = 'y\\1' }", "'with' says '\\1', which is text"),
    ("replace = { match = 'x', with = '${a}' }", "'with' says '${a}', but 'match' has 0 groups; a dollar sign is $$"),
    ("line = \"x\\ny\"", "'line' must be one line, without NUL"),
    ("line = 'x'\nuncomment = true", "'uncomment' makes no sense here"),
    ("line = 'x'\nafter_line = '['", "missing terminating ]"),
    ("set = { a = { b = 1 } }", "'a' must be a boolean, a number, a string of one line, or a list of such"),
    ("set = { a = \"x\\ny\" }", "'a' must be a boolean, a number, a string of one line, or a list of such"),
    ("set = { a = 1 }\nseparator = '=>'", "'separator' must be '=' or ':', blanks around it, or blanks alone"),
    ("section = 'x'", "'section' wants 'set' or 'unset'"),
    ("block = 'x'\nmarker = '#'", "'marker' must have {mark} in it"),
    ("toml = { a = 1 }\nensure = 'absent'", "keys are removed by 'unset'"),
])
def test_a_role_that_is_wrong_is_refused_with_its_place(box, setting, message):
    once = apply(box, edits(setting), "a\n")
    assert once.returncode == 2
    assert len(said(once)) == 1 and message in said(once)[0]
    assert re.match(r"/etc/agentd/conf\.d/edits\.toml:\d+:\d+: error: ", said(once)[0])
    assert raw(box) == b"a\n"


# ---- The daemon ----

def test_a_change_of_the_file_is_repaired_at_once(box):
    box.write(FILE, "a = 1\nb = 2\n")
    box.role("edits", edits("set = { a = 1 }", "set = { b = 2 }"))
    start(box)
    wait_idle(box)
    after = last_event(box)
    box.write(FILE, "a = 5\nb = 5\nc = 5\n")
    wait_event(box, "state-changed", after=after, state="edit:a")
    wait_event(box, "state-changed", after=after, state="edit:b")
    assert raw(box) == b"a = 1\nb = 2\nc = 5\n"


# ---- Validating ----

CHECK = r"""#!/bin/sh
# check NAME WORD FILE: fails if the word is in the file
echo "$1 $(stat -c '%a %u' "$3")" >>/tmp/seen
! grep -q "$2" "$3" || { echo "$1: bad"; exit 3; }
"""


def validate(name, word, *more):
    return f'validate = ["/usr/local/bin/check", "{name}", "{word}", "%s"]\n'


@pytest.fixture
def check(box):
    box.write("/usr/local/bin/check", CHECK, mode=0o755)
    box.run("rm -f /tmp/seen")


def test_all_programs_that_validate_have_to_agree_with_the_one_file(box, check):
    box.write(FILE, "0\n", mode=0o640)
    box.run(["chown", "1:2", FILE])
    role = edits('line = "a"\n' + validate("first", "z"), 'line = "b"\n' + validate("first", "z"),
                 'line = "c"\n' + validate("second", "zz"), 'line = "d"')
    once = apply(box, role)
    assert once.summary["changed"] == 4 and raw(box) == b"0\na\nb\nc\nd\n"
    # Each once, on the file as it is going to be.
    assert box.read("/tmp/seen") == "first 640 1\nsecond 640 1\n"
    assert box.agentd_once().summary["ok"] == 4
    assert box.read("/tmp/seen").count("\n") == 2


def test_one_that_does_not_agree_leaves_the_file_as_it_was_and_is_named(box, check):
    box.write(FILE, "0\n", mode=0o640)
    box.write("/srv/etc/other", "0\n")
    before = box.run(f"ls -lni --time-style=full-iso {FILE}").stdout
    once = apply(box, edits('line = "a"\n' + validate("first", "z"), 'line = "b"\n' + validate("second", "b"),
                            'line = "c"') + edits('line = "a"', path="/srv/etc/other").replace("edit.a", "edit.other"))
    assert results(once) == {"edit:a": "failed", "edit:b": "failed", "edit:c": "failed", "edit:other": "changed"}
    for error in (errors(once)[f"edit:{name}"] for name in "abc"):
        assert f"Failed to write '{FILE}': 'validate' of edit:b: '/usr/local/bin/check' refuses the new content" in error
        assert "second: bad" in error and "edit:a" not in error
    assert box.run(f"ls -lni --time-style=full-iso {FILE}").stdout == before
    assert temporaries(box, "/srv/etc") == []


def test_a_file_that_is_made_is_validated_and_a_plan_runs_nothing(box, check):
    box.run("mkdir -p /srv/etc")
    role = edits('line = "z"\ncreate = true\nmode = "0600"\n' + validate("first", "z"))
    box.role("edits", role)
    assert box.agentd_once("--plan").summary["drifted"] == 1 and not box.exists("/tmp/seen")
    assert results(box.agentd_once()) == {"edit:a": "failed"} and not box.exists(FILE)
    assert box.read("/tmp/seen") == "first 600 0\n"


def test_a_file_that_is_changed_while_it_is_validated_is_left_alone(box, check):
    box.write("/usr/local/bin/check", f"#!/bin/sh\necho theirs >>{FILE}\n", mode=0o755)
    once = apply(box, edits('line = "a"\n' + validate("first", "z")), "0\n")
    assert results(once) == {"edit:a": "failed"} and "by somebody else in the meantime" in errors(once)["edit:a"]
    assert raw(box) == b"0\ntheirs\n" and temporaries(box, "/srv/etc") == []


@pytest.mark.parametrize("text, error", [('["visudo", "%s"]', "absolute path"), ('["/bin/true"]', "exactly one"),
                                         ("[]", "absolute path")])
def test_validate_that_cannot_be_is_refused(box, text, error):
    once = apply(box, edits(f'line = "a"\nvalidate = {text}'), "0\n")
    assert once.returncode == 2 and error in said(once)[0]


# ---- Many files ----

def test_files_in_many_directories_are_written_with_the_locks_of_each(box):
    # More than there are locks, and more than are staged at a time.
    box.run("for d in $(seq 0 49); do mkdir -p /srv/etc/$d; for f in $(seq 0 4); do echo 0 >/srv/etc/$d/$f; done; done")
    role = "".join(f'[edit."{d}-{f}"]\npath = "/srv/etc/{d}/{f}"\nline = "x"\n' for f in range(5) for d in range(50))
    once = apply(box, role)
    assert once.summary["changed"] == 250
    assert box.run("cat /srv/etc/*/* | sort | uniq -c | tr -s ' '").stdout == " 250 0\n 250 x\n"
    assert box.agentd_once().summary["ok"] == 250


def test_whoever_holds_the_lock_of_a_directory_is_waited_for(box):
    box.write(FILE, "0\n")
    box.write("/srv/other/file", "0\n")
    box.run("mkdir -p /srv/etc; flock /srv/other sh -c 'touch /tmp/locked; sleep 1; echo theirs >>/srv/other/file' "
            ">/dev/null 2>&1 & while [ ! -e /tmp/locked ]; do :; done")
    once = apply(box, edits('line = "x"') + edits('line = "x"', path="/srv/other/file").replace("edit.a", "edit.b"))
    assert once.summary["changed"] == 2
    assert raw(box) == b"0\nx\n" and raw(box, "/srv/other/file") == b"0\ntheirs\nx\n"


def test_who_keeps_a_directory_locked_keeps_nobody_from_editing(box):
    """Whoever may read a directory may lock it."""
    box.run("useradd ada; mkdir -p /srv/etc /srv/other; echo 127.0.0.1 localhost >/etc/hosts")
    for i, directory in enumerate(("/srv/etc", "/srv/other", "/etc")):
        box.run(["systemd-run", f"--unit=lock{i}", "--uid=ada", "flock", directory, "sh", "-c", "echo locked; exec sleep infinity"])
        wait_until(lambda: box.run(f"journalctl -o cat _SYSTEMD_UNIT=lock{i}.service").stdout, 30, f"{directory} is locked")
    box.write("/srv/other/file", "0\n")
    box.write(FILE, "0\n")
    box.role("edits", edits('line = "x"') + edits('line = "x"', path="/srv/other/file").replace("edit.a", "edit.b")
             + '[hosts-entry.db]\naddress = "192.0.2.7"\n')
    once = box.agentd_once(timeout=90)
    assert once.summary["changed"] == 3, once.results
    assert raw(box) == b"0\nx\n" and raw(box, "/srv/other/file") == b"0\nx\n" and "192.0.2.7" in box.read("/etc/hosts")
    assert once.stderr.count("is kept locked by somebody; what is to be edited there is edited all the same") == 1


# ---- Ways of a state ----

def test_edits_come_from_a_list(box):
    once = apply(box, f'[vars.keys]\na = 1\nb = 2\n[edit."{{{{item.key}}}}"]\nfor_each = "vars.keys"\npath = "{FILE}"\n'
                 'line = "{{item.key}} = {{item.value}}"\n', "0\n")
    assert once.summary["changed"] == 2, once.stdout
    assert raw(box) == b"0\na = 1\nb = 2\n"


def test_audited_edits_tell_and_do_not_touch(box):
    once = apply(box, edits('line = "a"\naudit = true', 'line = "b"'), "0\n")
    assert results(once) == {"edit:a": "drifted", "edit:b": "changed"} and raw(box) == b"0\nb\n"


def test_edits_are_made_in_another_root(box):
    box.write("/srv/tree/etc/agentd/conf.d/e.toml", edits('line = "a"\n', path="/etc/file"))
    box.write("/srv/tree/etc/file", "0\n")
    box.run("ln -s file /srv/tree/etc/link; rm -f /etc/file")
    assert box.agentd_once("--root", "/srv/tree").summary["changed"] == 1
    assert raw(box, "/srv/tree/etc/file") == b"0\na\n" and not box.exists("/etc/file")


def test_edits_can_be_checked_as_root(box):
    once = apply(box, edits('line = "a"\ncheck_as_root = true', 'line = "b"'), "0\n")
    assert once.summary["changed"] == 2 and sorted(raw(box).split()) == [b"0", b"a", b"b"]
    assert box.agentd_once().summary["ok"] == 2


def test_a_file_state_that_says_the_mode_alone_and_edits_go_together(box):
    once = apply(box, f'[file."{FILE}"]\nmode = "0600"\n' + edits('line = "a"'), "0\n")
    assert once.summary["changed"] == 2 and raw(box) == b"0\na\n"
    assert box.stat(FILE).st_mode & 0o7777 == 0o600
    assert box.agentd_once().summary["ok"] == 2


@pytest.mark.parametrize("link, target", [("other", "/srv/etc/other"), ("/srv/x/y", "/srv/x/y"),
                                          ("../x/./y", "/srv/x/y")])
def test_the_file_that_a_symlink_leads_to_is_named(box, link, target):
    box.run(f"mkdir -p /srv/etc; ln -s {link} {FILE}")
    once = apply(box, edits('line = "x"'))
    assert errors(once)["edit:a"] == f"Failed to read '{FILE}': it is a symlink; name the file that it leads to: '{target}'"


def test_dates_of_a_role_are_dates_in_a_file(box):
    once = apply(box, edits("toml = { day = 2026-01-02, at = 07:32:00, when = [1979-05-27T07:32:00Z], text = '2026-01-02' }"),
                 "day = '2026-01-02' # c\n")
    assert once.summary["changed"] == 1
    assert raw(box) == (b"day = 2026-01-02 # c\nat = 07:32:00\nwhen = [1979-05-27T07:32:00Z]\n"
                        b'text = "2026-01-02"\n')
    assert box.agentd_once().summary["ok"] == 1


# ---- Secrets ----

def test_nothing_of_a_secret_in_a_file_is_shown_by_any_edit_of_it(box):
    box.write(FILE, "[a]\nuser = x\npassword = swordfish\nport = 1\n", mode=0o600)
    box.role("edits", f'[edit.a]\npath = "{FILE}"\nsection = "a"\nset = {{ password = "hunter2" }}\nsensitive = true\n'
             f'[edit.b]\npath = "{FILE}"\nsection = "a"\nset = {{ port = 2 }}\n')
    start(box)
    wait_idle(box)
    assert raw(box) == b"[a]\nuser = x\npassword = hunter2\nport = 2\n"
    after = last_event(box)
    box.write(FILE, "[a]\nuser = x\npassword = swordfish\nport = 5\n", mode=0o600)
    wait_event(box, "state-changed", after=after, state="edit:b")
    wait_idle(box)
    assert raw(box) == b"[a]\nuser = x\npassword = hunter2\nport = 2\n"
    box.run("sync")
    for word in ("swordfish", "hunter2"):
        assert box.run(f"grep -rl {word} /var/lib/agentd --exclude=image*", check=False).stdout == ""
        assert word not in box.run("journalctl -b --no-pager -o json").stdout


# ---- The daemon, more of it ----

def test_one_line_of_twenty_edits_is_repaired_with_one_write(box):
    box.write(FILE, "".join(f"k{i} = {i}\n" for i in range(20)))
    box.role("edits", "".join(f'[edit.e{i}]\npath = "{FILE}"\nset = {{ k{i} = {i} }}\n' for i in range(20)))
    start(box)
    wait_idle(box)
    opens = Opens(box, "/srv/etc", IN_MOVED_TO)
    after = last_event(box)
    box.run(f"sed 's/^k7 = 7/k7 = 0/' {FILE} >/srv/new; cat /srv/new >{FILE}")  # which truncates it before
    wait_event(box, "state-changed", after=after, state="edit:e7")
    wait_idle(box)
    assert raw(box) == b"".join(b"k%d = %d\n" % (i, i) for i in range(20))
    assert opens.take() == {"file": 1}


def test_who_is_in_the_middle_of_writing_is_waited_for(box):
    box.write(FILE, "a = 1\nb = 2\n")
    box.role("edits", edits("set = { a = 1 }"))
    start(box)
    wait_idle(box)
    after = last_event(box)
    box.run(f"exec 3>{FILE}; sleep 1; printf 'theirs = 1\\na = 5\\n' >&3")
    wait_event(box, "state-changed", after=after, state="edit:a")
    wait_idle(box)
    assert raw(box) == b"theirs = 1\na = 1\n"


def test_who_keeps_a_file_open_is_not_waited_for_without_end(box):
    box.write(FILE, "a = 1\n")
    box.run(f"sh -c 'exec 3>>{FILE}; touch /tmp/open; exec sleep 100' >/dev/null 2>&1 & while [ ! -e /tmp/open ]; do :; done")
    once = apply(box, edits("set = { a = 2 }"))
    assert once.summary["changed"] == 1 and raw(box) == b"a = 2\n"


def test_a_run_over_one_edit_changes_its_own_part_alone(box):
    box.write(FILE, "a = 1\nb = 2\n")
    box.role("edits", edits("set = { a = 1 }\nwatch = false", "set = { b = 2 }\nwatch = false"))
    start(box)
    wait_idle(box)
    box.write(FILE, "a = 5\nb = 5\n")
    run = daemon_apply(box, "edit:b")
    assert raw(box) == b"a = 5\nb = 2\n", run


def test_a_fight_of_edits_that_never_meet_is_told_and_slows_down(box):
    # They are never ready together, so that nobody sees that they contradict each other.
    box.write(FILE, "x = 0\n")
    box.role("edits", edits("line = 'x = 1'\nmatch = '^x'", "line = 'x = 2'\nmatch = '^x'\nrequires = ['edit:a']"))
    start(box)
    event = wait_event(box, "fight-begun", timeout=90)
    assert event["state"] in ("edit:a", "edit:b") and "somebody changes it again" in event["message"]
