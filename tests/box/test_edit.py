# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type edit: parts of files. What each operation does to a text, modules/edit/test-edit.c knows better."""

import re

import pytest
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
    wait_event(box, "state-changed", after=after, state="edit:a", timeout=30)
    wait_event(box, "state-changed", after=after, state="edit:b", timeout=30)
    assert raw(box) == b"a = 1\nb = 2\nc = 5\n"
