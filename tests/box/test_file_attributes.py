# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attributes of files beyond owner and group: symbolic modes, access lists, extended attributes, capabilities, flags."""

import os
import stat
import struct

import pytest

from once import differences, errors, refused, results, settled, temporaries

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
NO_ID = 2**32 - 1
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
BASE = {(USER_OBJ, NO_ID), (GROUP_OBJ, NO_ID), (OTHER, NO_ID)}


def inside(box, path):
    return f"/proc/{box.leader}/root{path}"


def xattr(box, path, name):
    """None if there is none."""
    try:
        return os.getxattr(inside(box, path), name)
    except OSError:
        return None


def acl(box, path, name=ACCESS):
    """{(tag, id): permissions}"""
    data = xattr(box, path, name)
    return {} if data is None else {(tag, who): bits for tag, bits, who in struct.iter_unpack("<HHI", data[4:])}


def set_acl(box, path, entries, name=ACCESS):
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who) for (tag, who), bits in entries.items())
    os.setxattr(inside(box, path), name, data)


def capable(permitted, effective=True, inheritable=0):
    return struct.pack("<IIIII", 0x02000000 | effective, permitted, inheritable, 0, 0)


def mode(box, path):
    return stat.S_IMODE(box.stat(path, follow=False).st_mode)


def flags(box, path):
    return box.run(f"lsattr -d {path}").stdout.split()[0]


# ---- Modes ----

@pytest.mark.parametrize("before, symbolic, after", [
    ("0644", "u=rw,g=r,o=", "0640"), ("0600", "a+x", "0711"), ("0666", "go-w", "0644"), ("0640", "g=u", "0660"),
    ("0644", "a+X", "0644"), ("0744", "a+X", "0755"), ("0755", "u+s,g+s,+t", "7755"), ("4755", "u=rwx", "0755"),
    ("0600", "+r", "0644"), ("0777", "o=,g-w+s", "2750"), ("7777", "=", "0000"), ("0421", "g+u,o=g", "0467"),
])
def test_symbolic_mode_is_applied_to_what_is_there(box, before, symbolic, after):
    box.write("/srv/a", "x", mode=int(before, 8))
    if symbolic == "g+u,o=g":  # o is what g has become, once and for all
        after = "0466"
    once = settled(box, f'[file."/srv/a"]\nmode = "{symbolic}"\n', changed=int(before != after))
    assert mode(box, "/srv/a") == int(after, 8)
    if before != after:
        assert differences(once, "file:/srv/a")["mode"] == (before, after)


def test_symbolic_mode_of_what_is_new_begins_with_the_default(box):
    settled(box, '[file."/srv/a"]\nmode = "g+w"\n[file."/srv/d"]\nensure = "directory"\nmode = "o=,g+s"\n')
    assert (mode(box, "/srv/a"), mode(box, "/srv/d")) == (0o664, 0o2750)


def test_directory_keeps_set_group_id_unless_it_is_named(box):
    box.run("mkdir -m 2775 /srv/d")
    settled(box, '[file."/srv/d"]\nensure = "directory"\nmode = "a=rx,u+w"\n')
    assert mode(box, "/srv/d") == 0o2755


@pytest.mark.parametrize("symbolic, error", [
    ("u+q", "symbolic like"), ("u", "symbolic like"), (",u+r", "symbolic like"), ("u+r,", "symbolic like"),
    ("x", "symbolic like"), ("u=gr", "symbolic like"), ("rw-r--r--", "symbolic like"), ("u+r\\u0000", "NUL"),
    ("u=g,g=o", "something else each time"), ("+", None), ("8", "octal digits"), (" 0644", "symbolic like"),
])
def test_mode_that_is_none_is_refused(box, symbolic, error):
    text = f'[file."/srv/a"]\nmode = "{symbolic}"\n'
    if error is None:  # chmod(1) takes it, and it does nothing
        settled(box, text)
    else:
        refused(box, text, error)


# ---- Access control lists ----

def test_access_list_is_set_and_kept_when_the_content_changes(box, loop_ext4):
    loop_ext4("/srv/disk")
    role = '[file."/srv/disk/a"]\ncontent = "{}"\nmode = "0640"\nacl = ["user:daemon:rw-", "group:games:r--"]\n'
    settled(box, role.format("old"))
    wanted = {(USER_OBJ, NO_ID): 6, (USER, 1): 6, (GROUP_OBJ, NO_ID): 4, (GROUP, 60): 4, (MASK, NO_ID): 6,
              (OTHER, NO_ID): 0}
    assert acl(box, "/srv/disk/a") == wanted and mode(box, "/srv/disk/a") == 0o660

    settled(box, role.format("new"))
    assert acl(box, "/srv/disk/a") == wanted and box.read("/srv/disk/a") == "new"

    once = settled(box, '[file."/srv/disk/a"]\nacl = ["user:daemon:r--", "mask::r-x"]\n')
    assert differences(once, "file:/srv/disk/a")["acl"] == (
        "user:daemon:rw-,group:games:r--,mask::rw-", "user:daemon:r--,mask::r-x")
    assert acl(box, "/srv/disk/a") == {(USER_OBJ, NO_ID): 6, (USER, 1): 4, (GROUP_OBJ, NO_ID): 4, (MASK, NO_ID): 5,
                                       (OTHER, NO_ID): 0}

    settled(box, '[file."/srv/disk/a"]\nacl = []\n')
    assert xattr(box, "/srv/disk/a", ACCESS) is None and mode(box, "/srv/disk/a") == 0o640


def test_access_list_that_is_not_declared_is_kept(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/srv/disk/a", "old", mode=0o600)
    entries = {(USER_OBJ, NO_ID): 6, (USER, 1000): 4, (GROUP_OBJ, NO_ID): 0, (MASK, NO_ID): 4, (OTHER, NO_ID): 0}
    set_acl(box, "/srv/disk/a", entries)
    settled(box, '[file."/srv/disk/a"]\ncontent = "new"\n')
    assert acl(box, "/srv/disk/a") == entries
    settled(box, '[file."/srv/disk/a"]\ncontent = "newer"\nmode = "0600"\n')
    assert acl(box, "/srv/disk/a") == {**entries, (MASK, NO_ID): 0}  # as chmod has it


def test_new_owner_does_not_get_the_list_of_the_old_one(box, loop_ext4):
    """Whoever made the file would be let in to what comes next."""
    loop_ext4("/srv/disk")
    box.write("/srv/disk/a", "old", mode=0o640)
    box.run("chown nobody /srv/disk/a")
    set_acl(box, "/srv/disk/a", {(USER_OBJ, NO_ID): 6, (USER, 65534): 4, (GROUP_OBJ, NO_ID): 4, (MASK, NO_ID): 4,
                                 (OTHER, NO_ID): 0})
    settled(box, '[file."/srv/disk/a"]\ncontent = "secret"\nowner = "root"\nmode = "0640"\n')
    assert acl(box, "/srv/disk/a") == {} and mode(box, "/srv/disk/a") == 0o640


def test_new_content_does_not_get_the_list_of_the_directory(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/srv/disk/d/a", "old", mode=0o640)
    set_acl(box, "/srv/disk/d", {(USER_OBJ, NO_ID): 7, (USER, 1): 7, (GROUP_OBJ, NO_ID): 7, (MASK, NO_ID): 7,
                                 (OTHER, NO_ID): 5}, DEFAULT)
    settled(box, '[file."/srv/disk/d/a"]\ncontent = "new"\n')
    assert xattr(box, "/srv/disk/d/a", ACCESS) is None and mode(box, "/srv/disk/d/a") == 0o640


def test_directory_has_a_list_for_what_is_made_in_it(box, loop_ext4):
    loop_ext4("/srv/disk")
    settled(box, '[file."/srv/disk/d"]\nensure = "directory"\nmode = "0750"\n'
                 'acl = ["user:daemon:r-x", "default:user:daemon:rw-", "default:other::---"]\n')
    assert acl(box, "/srv/disk/d") == {(USER_OBJ, NO_ID): 7, (USER, 1): 5, (GROUP_OBJ, NO_ID): 5, (MASK, NO_ID): 5,
                                       (OTHER, NO_ID): 0}
    assert acl(box, "/srv/disk/d", DEFAULT) == {(USER_OBJ, NO_ID): 7, (USER, 1): 6, (GROUP_OBJ, NO_ID): 5,
                                                (MASK, NO_ID): 7, (OTHER, NO_ID): 0}
    settled(box, '[file."/srv/disk/d"]\nensure = "directory"\nacl = []\n')
    assert acl(box, "/srv/disk/d", DEFAULT) == {} and mode(box, "/srv/disk/d") == 0o750


def test_access_list_of_nobody_fails_and_names_him(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.role("role", '[file."/srv/disk/a"]\nacl = ["user:nosuch:r--"]\n[file."/srv/disk/b"]\n')
    once = box.agentd_once()
    assert results(once) == {"file:/srv/disk/a": "failed", "file:/srv/disk/b": "changed"}
    box.write("/srv/disk/a", "")
    assert "'nosuch'" in errors(box.agentd_once())["file:/srv/disk/a"]


@pytest.mark.parametrize("entry, error", [
    ("user::rw-", "'mode'"), ("other::r--", "'mode'"), ("group::r--", "'mode'"), ("user:daemon", "user:NAME:rwx"),
    ("user:daemon:rq", "user:NAME:rwx"), ("user:daemon:", "user:NAME:rwx"), ("daemon:r", "begin with"), ("", "begin with"),
    ("mask:daemon:r--", "no name"), ("default:user:daemon:r--", "only a directory"), ("user:dae\\u0000mon:r", "NUL"),
])
def test_access_list_entry_that_is_none_is_refused(box, entry, error):
    refused(box, f'[file."/srv/a"]\nacl = ["user:games:r", "{entry}"]\n', error)


def test_access_list_with_an_entry_twice_is_refused(box):
    refused(box, '[file."/srv/a"]\nacl = ["user:games:r", "u:games:rw"]\n', "another entry")


# ---- Extended attributes ----

def test_declared_attributes_are_set_and_others_are_kept(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/srv/disk/a", "old")
    os.setxattr(inside(box, "/srv/disk/a"), "user.other", b"\xff\0x")
    os.setxattr(inside(box, "/srv/disk/a"), "trusted.t", b"t")
    once = settled(box, '[file."/srv/disk/a"]\ncontent = "new"\nxattrs = { "user.x" = "1", "user.empty" = "" }\n')
    assert differences(once, "file:/srv/disk/a")["xattrs.user.x"] == (None, "1")
    assert [xattr(box, "/srv/disk/a", name) for name in ("user.x", "user.empty", "user.other", "trusted.t")] == [
        b"1", b"", b"\xff\0x", b"t"]
    settled(box, '[file."/srv/disk/a"]\nxattrs = { "user.x" = "2" }\n')
    assert xattr(box, "/srv/disk/a", "user.x") == b"2" and xattr(box, "/srv/disk/a", "user.empty") == b""


def test_drift_of_attributes_is_seen_and_healed(box, loop_ext4):
    loop_ext4("/srv/disk")
    role = '[file."/srv/disk/a"]\ncontent = "x"\nxattrs = { "user.x" = "1" }\nacl = ["user:daemon:r--"]\n'
    settled(box, role)
    os.removexattr(inside(box, "/srv/disk/a"), "user.x")
    os.removexattr(inside(box, "/srv/disk/a"), ACCESS)
    once = settled(box, role)
    assert set(differences(once, "file:/srv/disk/a")) == {"xattrs.user.x", "acl"}


@pytest.mark.parametrize("table, error", [
    ('{ user.x = "1" }', "in quotes"), ('{ "user.x" = 1 }', "string"), ('{ "user." = "1" }', "user. or security."),
    ('{ "x" = "1" }', "user. or security."), ('{ "trusted.x" = "1" }', "user. or security."),
    ('{ "security.selinux" = "1" }', "'selinux'"), ('{ "security.capability" = "1" }', "'capabilities'"),
    ('{ "system.posix_acl_access" = "1" }', "'acl'"), ('{ "security.ima" = "1" }', "by the kernel"),
    ('{ "user.' + "x" * 300 + '" = "1" }', "too long"), ('"user.x=1"', "table"),
])
def test_attributes_that_cannot_be_are_refused(box, table, error):
    refused(box, f'[file."/srv/a"]\nxattrs = {table}\n', error)


def test_attribute_that_the_file_system_has_no_room_for_fails_once(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/srv/disk/a", "old")
    box.role("role", '[file."/srv/disk/a"]\ncontent = "new"\nxattrs = { "user.x" = "' + "x" * 60000 + '" }\n')
    once = box.agentd_once()
    assert results(once) == {"file:/srv/disk/a": "failed"}
    assert "extended attributes" in errors(once)["file:/srv/disk/a"]
    assert box.read("/srv/disk/a") == "old" and temporaries(box, "/srv") == []


# ---- Capabilities and labels ----

def test_capabilities_are_set_kept_and_taken_away(box, loop_ext4):
    loop_ext4("/srv/disk")
    role = '[file."/srv/disk/a"]\ncontent = "{}"\nmode = "0755"\n{}'
    settled(box, role.format("1", 'capabilities = "cap_net_bind_service=ep"\n'))
    assert xattr(box, "/srv/disk/a", "security.capability") == capable(1 << 10)
    settled(box, role.format("2", ""))
    assert xattr(box, "/srv/disk/a", "security.capability") == capable(1 << 10)
    once = settled(box, role.format("2", 'capabilities = "cap_net_raw+p cap_chown+pi"\n'))
    assert differences(once, "file:/srv/disk/a")["capabilities"] == (
        "cap_net_bind_service=ep", "cap_chown=ip cap_net_raw=p")
    assert xattr(box, "/srv/disk/a", "security.capability") == capable(1 << 13 | 1, False, 1)
    settled(box, role.format("3", 'capabilities = ""\n'))
    assert xattr(box, "/srv/disk/a", "security.capability") is None


def test_new_owner_does_not_get_the_capabilities(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/srv/disk/a", "old", mode=0o755)
    os.setxattr(inside(box, "/srv/disk/a"), "security.capability", capable(1 << 10))
    settled(box, '[file."/srv/disk/a"]\ncontent = "new"\nowner = "daemon"\n')
    assert xattr(box, "/srv/disk/a", "security.capability") is None


@pytest.mark.parametrize("text", ["cap_nosuch=ep", "net_raw=ep", "cap_net_raw", "cap_net_raw=", "cap_net_raw=x", "=ep",
                                  "cap_net_raw=e", "cap_net_raw=ep cap_chown=p", "cap_net_raw,=p", "cap_net_raw-p"])
def test_capabilities_that_are_none_are_refused(box, text):
    refused(box, f'[file."/srv/a"]\ncapabilities = "{text}"\n', "'capabilities' is")


def test_label_is_ignored_with_a_word_where_selinux_is_not_enabled(box):
    box.role("role", '[file."/srv/a"]\nselinux = "system_u:object_r:etc_t:s0"\n'
                     '[file."/srv/b"]\nselinux = "system_u:object_r:etc_t:s0"\n')
    assert box.agentd_once().summary["changed"] == 2
    again = box.agentd_once()
    assert again.summary["ok"] == 2
    assert again.stderr.count("SELinux is not enabled") <= 1
    refused(box, '[file."/srv/a"]\nselinux = "etc_t"\n', "must be a label")


def test_who_is_missing_for_a_new_list_is_named(box):
    box.role("role", '[file."/srv/d"]\nensure = "directory"\nacl = ["user:nobodyhere:r-x"]\n')
    assert "no user or group 'nobodyhere', of whom 'acl' speaks" in errors(box.agentd_once())["file:/srv/d"]


# ---- Flags ----

def test_immutable_file_is_changed_only_if_the_state_speaks_of_it(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.run("cd /srv/disk; echo -n old >a; echo -n old >b; chmod 644 a b; chattr +i a; chattr +a b")
    box.role("role", '[file."/srv/disk/a"]\ncontent = "new"\n[file."/srv/disk/b"]\nmode = "0600"\n')
    once = box.agentd_once()
    assert results(once) == {"file:/srv/disk/a": "failed", "file:/srv/disk/b": "failed"}
    assert "'immutable' says" in errors(once)["file:/srv/disk/a"]
    assert "'append_only' says" in errors(once)["file:/srv/disk/b"]
    assert box.read("/srv/disk/a") == "old" and "i" in flags(box, "/srv/disk/a")

    settled(box, '[file."/srv/disk/a"]\ncontent = "new"\nimmutable = true\n'
                 '[file."/srv/disk/b"]\nmode = "0600"\nappend_only = true\n')
    assert box.read("/srv/disk/a") == "new" and "i" in flags(box, "/srv/disk/a")
    assert mode(box, "/srv/disk/b") == 0o600 and "a" in flags(box, "/srv/disk/b")

    settled(box, '[file."/srv/disk/a"]\nimmutable = false\n[file."/srv/disk/b"]\ncontent = "x"\nappend_only = false\n')
    assert "i" not in flags(box, "/srv/disk/a") and "a" not in flags(box, "/srv/disk/b")


def test_new_file_and_directory_are_made_immutable(box, loop_ext4):
    loop_ext4("/srv/disk")
    settled(box, '[file."/srv/disk/a"]\ncontent = "x"\nimmutable = true\nmode = "0600"\n'
                 '[file."/srv/disk/d"]\nensure = "directory"\nimmutable = true\n')
    assert "i" in flags(box, "/srv/disk/a") and "i" in flags(box, "/srv/disk/d")
    box.role("role", '[file."/srv/disk/a"]\nensure = "absent"\n[file."/srv/disk/d/x"]\n')
    once = box.agentd_once()
    assert results(once) == {"file:/srv/disk/a": "failed", "file:/srv/disk/d/x": "failed"}
    assert "immutable" in errors(once)["file:/srv/disk/d/x"]
    settled(box, '[file."/srv/disk/a"]\nensure = "absent"\nimmutable = false\n')
    assert not box.exists("/srv/disk/a")
    box.run("chattr -i /srv/disk/d")


def test_file_that_was_left_without_its_flag_gets_it_again(box, loop_ext4):
    """As a crash between the change and the flag would leave it."""
    loop_ext4("/srv/disk")
    role = '[file."/srv/disk/a"]\ncontent = "x"\nimmutable = true\n'
    settled(box, role)
    box.run("chattr -i /srv/disk/a; echo y >/srv/disk/a")
    settled(box, role)
    assert box.read("/srv/disk/a") == "x" and "i" in flags(box, "/srv/disk/a")
    box.run("chattr -i /srv/disk/a")


@pytest.mark.parametrize("lines", ['content = "new"\nimmutable = true', 'mode = "0600"\nimmutable = false',
                                   'ensure = "absent"\nimmutable = false',
                                   'ensure = "directory"\nforce = true\nimmutable = false'])
def test_flags_of_somebody_elses_file_stay(box, loop_ext4, lines):
    """Linked into a directory that others own, before it became immutable."""
    loop_ext4("/srv/disk")
    box.run("cd /srv/disk; mkdir up; chown nobody up; echo -n victim >victim; ln victim up/a; chattr +i victim")
    try:
        box.role("role", f'[file."/srv/disk/up/a"]\n{lines}\n')
        once = box.agentd_once()
        assert results(once) == {"file:/srv/disk/up/a": "failed"}
        assert "it has other hard links, in a directory that others can write" in errors(once)["file:/srv/disk/up/a"]
        assert "i" in flags(box, "/srv/disk/victim") and mode(box, "/srv/disk/victim") == 0o644
        assert temporaries(box, "/srv") == []
    finally:
        box.run("chattr -i /srv/disk/victim")


def test_file_system_without_attributes_is_an_error_only_of_what_wants_them(box):
    box.run("mkdir /srv/ram; mount -t ramfs none /srv/ram; echo -n old >/srv/ram/none; cp /srv/ram/none /srv/ram/there")
    none = 'content = "new"\nacl = []\ncapabilities = ""\nimmutable = false\nappend_only = false\n'
    settled(box, f'[file."/srv/ram/none"]\n{none}[file."/srv/ram/new"]\n{none}')
    for wanted, error in [('acl = ["user:daemon:r"]', "has no access control list"),
                          ('xattrs = { "user.x" = "1" }', "has no extended attributes"),
                          ('capabilities = "cap_chown=p"', "has no capabilities"), ("immutable = true", "has no flag 'immutable'"),
                          ("append_only = true", "has no flag 'append_only'")]:
        box.role("role", f'[file."/srv/ram/there"]\ncontent = "new"\n{wanted}\n')
        once = box.agentd_once()
        assert results(once) == {"file:/srv/ram/there": "failed"}, wanted
        assert error in errors(once)["file:/srv/ram/there"]
        assert box.read("/srv/ram/there") == "old" and temporaries(box, "/srv") == []


def test_what_is_to_be_absent_cannot_be_immutable(box):
    refused(box, '[file."/srv/a"]\nensure = "absent"\nimmutable = true\n', "cannot be 'immutable'")


@pytest.mark.parametrize("parameter", ['selinux = "a:b"', 'xattrs = { "user.x" = "1" }', "acl = []", 'capabilities = ""',
                                       "immutable = true", "append_only = false"])
def test_link_has_no_such_attributes(box, parameter):
    refused(box, f'[file."/srv/a"]\nensure = "symlink"\ntarget = "x"\n{parameter}\n', "makes no sense")
