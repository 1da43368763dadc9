# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files in the place of something else: by force, as hard links, only if missing, and only if a command agrees."""

import os
import stat

import pytest

from box import PATIENCE, wait_until
from daemon import background, events, start, wait_event, wait_idle
from exchange import exchanging
from once import agentd, changes, differences, errors, refused, results, settled, snapshot, temporaries


def kind(box, path):
    return stat.S_IFMT(box.stat(path, follow=False).st_mode)


# ---- Hard links ----

def test_hard_link_is_made_and_follows_its_target(box):
    role = '[file."/srv/link"]\nensure = "hardlink"\ntarget = "/srv/a"\n[file."/srv/a"]\ncontent = "{}"\n'
    settled(box, role.format("1"))  # the file first, though it is declared after
    assert os.path.samestat(box.stat("/srv/link"), box.stat("/srv/a")) and box.stat("/srv/a").st_nlink == 2

    # The file is replaced; in the same run the link is to the new one, or in the next.
    box.role("role", role.format("2"))
    box.agentd_once()
    box.agentd_once()
    assert os.path.samestat(box.stat("/srv/link"), box.stat("/srv/a")) and box.read("/srv/link") == "2"


def test_hard_link_replaces_another_file(box):
    box.run("cd /srv; echo a >a; echo b >link; mkdir d; ln -s x s")
    once = settled(box, '[file."/srv/link"]\nensure = "hardlink"\ntarget = "/srv/a"\n')
    assert differences(once, "file:/srv/link") == {"target": ("another file", "/srv/a")}
    box.role("role", '[file."/srv/d"]\nensure = "hardlink"\ntarget = "/srv/a"\n'
                     '[file."/srv/s"]\nensure = "hardlink"\ntarget = "/srv/a"\n')
    once = box.agentd_once()
    assert set(results(once).values()) == {"failed"} and "force = true" in errors(once)["file:/srv/d"]
    settled(box, '[file."/srv/d"]\nensure = "hardlink"\ntarget = "/srv/a"\nforce = true\n'
                 '[file."/srv/s"]\nensure = "hardlink"\ntarget = "/srv/a"\nforce = true\n')
    assert box.stat("/srv/a").st_nlink == 4


def test_hard_link_to_what_it_cannot_be_to_fails(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.run("cd /srv; echo a >a; mkdir d; ln -s a s; mkfifo f")
    box.role("role", "".join(f'[file."/srv/disk/{name}"]\nensure = "hardlink"\ntarget = "/srv/{name}"\n'
                             for name in ("a", "d", "s", "f", "nosuch")))
    once = box.agentd_once()
    said_of = {state[-1]: error for state, error in errors(once).items()}
    assert set(results(once).values()) == {"failed"}
    assert "another file system" in said_of["a"] and "is a directory" in said_of["d"]
    assert "is a symlink" in said_of["s"] and "special file" in said_of["f"] and "No such file" in said_of["h"]
    assert temporaries(box, "/srv") == []


@pytest.mark.parametrize("text, error", [
    ('ensure = "hardlink"', "needs 'target'"), ('ensure = "hardlink"\ntarget = "b"', "absolute path"),
    ('ensure = "hardlink"\ntarget = "/srv/../b"', "absolute path"), ('ensure = "hardlink"\ntarget = "/srv//b"', "absolute path"),
    ('ensure = "hardlink"\ntarget = "/srv/b/"', "absolute path"), ('ensure = "hardlink"\ntarget = "/"', "absolute path"),
    ('ensure = "hardlink"\ntarget = "/srv/a"', "to itself"), ('ensure = "hardlink"\ntarget = "/b"\nmode = "0644"', "no sense"),
    ('ensure = "hardlink"\ntarget = "/b"\ncontent = "x"', "no sense"),
])
def test_hard_link_that_cannot_be_is_refused(box, text, error):
    refused(box, f'[file."/srv/a"]\n{text}\n', error)


# ---- Only if missing ----

def test_content_is_written_only_if_there_is_no_file(box):
    role = '[file."/srv/a"]\ncontent = "default"\nreplace = false\nmode = "0600"\n'
    settled(box, role)
    assert box.read("/srv/a") == "default"
    box.run("echo -n mine >/srv/a; chmod 644 /srv/a")
    once = settled(box, role)
    assert set(differences(once, "file:/srv/a")) == {"mode"} and box.read("/srv/a") == "mine"
    refused(box, '[file."/srv/a"]\nreplace = false\n', "without content")


# ---- Force ----

DIRECTORY = ("mkdir -p /srv/a/b/c /srv/a/empty; echo x >/srv/a/b/f; ln -s / /srv/a/b/link; mkfifo /srv/a/b/c/fifo; "
             "chmod 000 /srv/a/b/c; mkdir -p $(printf '/srv/a/deep%s' \"$(printf '/d%.0s' $(seq 50))\")")


@pytest.mark.parametrize("before", ["file", "directory", "symlink", "dangling", "fifo"])
@pytest.mark.parametrize("after", ["file", "directory", "symlink", "absent"])
def test_wrong_kind_is_replaced_with_force_alone(box, before, after):
    box.run({"file": "echo x >/srv/a", "directory": DIRECTORY, "symlink": "ln -s /etc /srv/a",
             "dangling": "ln -s nosuch /srv/a", "fifo": "mkfifo /srv/a"}[before])
    role = f'[file."/srv/a"]\nensure = "{after}"\n' + {
        "file": 'content = "new"\n', "symlink": 'target = "t"\n'}.get(after, "")
    if before != after and (before, after) != ("dangling", "symlink") and (after != "absent" or before == "directory"):
        was = snapshot(box, "/srv")
        box.role("role", role)
        once = box.agentd_once()
        assert results(once) == {"file:/srv/a": "failed"}
        assert after == "absent" or "force = true" in errors(once)["file:/srv/a"]
        assert changes(was, snapshot(box, "/srv")) == []
    settled(box, role + "force = true\n", changed=None if before != after else int(before != "directory"))
    if after == "absent":
        assert not box.exists("/srv/a")
    else:
        assert kind(box, "/srv/a") == {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}[after]
    assert box.exists("/etc/passwd")


def test_force_changes_nothing_where_there_is_a_mount_point(box, loop_ext4):
    box.run("mkdir -p /srv/a/b/m /srv/c; echo x >/srv/a/b/f")
    loop_ext4("/srv/a/b/m")
    box.run("mkdir /opt/c; echo x >/opt/c/f; mount --bind /opt/c /srv/c")
    was = snapshot(box, "/srv")
    box.role("role", '[file."/srv/a"]\nforce = true\n[file."/srv/c"]\nensure = "absent"\nforce = true\n')
    once = box.agentd_once()
    assert set(results(once).values()) == {"failed"}
    assert "/srv/a/b/m'" in errors(once)["file:/srv/a"] and "mount point" in errors(once)["file:/srv/a"]
    assert "mount point" in errors(once)["file:/srv/c"]
    assert changes(was, snapshot(box, "/srv")) == [] and box.exists("/opt/c/f")


def test_force_changes_nothing_where_something_is_immutable(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.run("mkdir -p /srv/disk/a/b; echo x >/srv/disk/a/b/f; chattr +i /srv/disk/a/b/f")
    box.role("role", '[file."/srv/disk/a"]\nforce = true\n')
    once = box.agentd_once()
    assert "immutable" in errors(once)["file:/srv/disk/a"] and box.exists("/srv/disk/a/b/f")
    box.run("chattr -i /srv/disk/a/b/f")


def test_removal_that_was_cut_short_is_gone_on_with(box):
    """As a crash would leave it, after the file has taken the place of the directory."""
    settled(box, '[file."/srv/a"]\ncontent = "new"\nforce = true\n')
    box.run("mkdir -p /srv/.agentd-af63dc4c8601ec8c.old/b/c")
    once = settled(box, '[file."/srv/a"]\ncontent = "new"\nforce = true\n')
    assert differences(once, "file:/srv/a") == {"remains": (".agentd-af63dc4c8601ec8c.old", None)}


def test_nobody_else_has_things_removed_by_their_name(box):
    box.run("mkdir -p /srv/w/.agentd-af63dc4c8601ec8c.old/theirs; chown -R 1000 /srv/w; mkdir /srv/w/a")
    box.role("role", '[file."/srv/w/a"]\ncontent = "new"\nforce = true\n')
    assert box.agentd_once().summary["changed"] == 1
    assert box.agentd_once().summary["ok"] == 1
    assert box.exists("/srv/w/.agentd-af63dc4c8601ec8c.old/theirs") and box.read("/srv/w/a") == "new"


@pytest.mark.parametrize("wanted", ['ensure = "absent"', 'content = "new"'])
def test_who_owns_a_directory_cannot_lead_its_removal_outside(box, wanted):
    """Directories in it become symlinks, and come back, with time between the look at one and its opening."""
    box.run("mkdir -p /victim/d /srv/up && touch /victim/f /victim/d/f && chown nobody /srv/up")
    box.role("role", f'[file."/srv/up/a"]\n{wanted}\nforce = true\n')
    before = snapshot(box, "/victim")
    for _ in range(15):
        box.run("rm -rf /srv/up/* /srv/up/.agentd-* && mkdir /srv/up/a && chown nobody /srv/up/a")
        with exchanging(box, "/srv/up/a", "/victim"):
            wait_until(lambda: box.exists("/srv/up/a/d19/f"), PATIENCE, "directories to remove")
            box.run("strace -f -qq -o /dev/null -e trace=openat -e inject=openat:delay_enter=300 agentd --once",
                    timeout=60, check=False)
    assert not changes(before, snapshot(box, "/victim"))
    box.run("rm -rf /srv/up/*")
    assert box.agentd_once().returncode == 0


def test_name_as_long_as_can_be_is_replaced(box):
    name = "x" * 255
    box.run(f"mkdir -p /srv/{name}/d")
    settled(box, f'[file."/srv/{name}"]\ncontent = "new"\nforce = true\n')


def test_directory_deeper_than_can_be_looked_at_stays(box):
    box.run(f"mkdir -p /srv/a{'/d' * 200}")
    box.role("role", '[file."/srv/a"]\nforce = true\n')
    assert "deeper" in errors(box.agentd_once())["file:/srv/a"]
    assert box.exists(f"/srv/a{'/d' * 200}")


def test_undo_of_force_says_what_was_there(box):
    box.run("mkdir -p /srv/a/b; echo x >/srv/a/b/f; ln -s t /srv/a/l")
    once = settled(box, '[file."/srv/a"]\ncontent = "new"\nforce = true\n')
    undo = {entry["what"]: entry["old"] for entry in once.results[0]["undo"]} if "undo" in once.results[0] else None
    if undo is not None:
        assert undo["ensure"] == "directory" and undo["tree/b"]["ensure"] == "directory"
        assert undo["tree/l"]["target"] == "t" and "content/b/f" in undo


# ---- Content ----

def test_large_files_are_compared_and_copied_in_blocks(box):
    box.run("truncate -s 2G /srv/source")
    box.role("role", '[file."/srv/a"]\nsource = "/srv/source"\ntimeout = "5min"\n')
    once = box.agentd_once(timeout=100)
    assert once.returncode == 0 and once.summary["changed"] == 1
    assert box.stat("/srv/a").st_size == 2 << 30
    assert differences(once, "file:/srv/a")["content"] == (None, f"{2 << 30} bytes")


def test_file_that_keeps_becoming_something_else_is_an_error_at_worst(box):
    box.write("/srv/source", "x" * 100000)
    turn = ("exec >/dev/null 2>&1; while :; do rm -rf /srv/a; mkdir -p /srv/a/d; rm -r /srv/a; ln -s /etc /srv/a; rm /srv/a; "
            "head -c 100000 /dev/zero >/srv/a; chown daemon /srv/a; head -c 1000 /dev/zero >>/srv/source; "
            "truncate -s 100000 /srv/source; mkfifo /srv/b; rm /srv/b; done")
    role = '[file."/srv/a"]\nsource = "/srv/source"\nforce = true\nacl = []\n[file."/srv/b"]\ncontent = "b"\n'
    box.role("role", role)
    with background(box, ["sh", "-c", turn]):
        for _ in range(15):
            once = box.agentd_once()
            assert once.returncode in (0, 1) and len(once.results) == 2
            assert all(error is None or "\n" not in error for error in errors(once).values())
    box.run("rm -rf /srv/a /srv/b")
    box.agentd_once()
    assert box.agentd_once().summary["ok"] == 2
    assert box.exists("/etc/passwd") and len(temporaries(box, "/srv")) == 0


def test_binary_content_is_not_shown_as_text(box):
    box.write("/srv/a", b"a\x00\xff" * 10)
    box.role("role", '[file."/srv/a"]\ncontent = "text"\n')
    done = agentd(box, "--once", "--plan", "--diff")
    assert "binary content differs: 30 → 4 bytes" in done.stdout
    assert "\x00" not in done.stdout


@pytest.mark.parametrize("text, error", [
    ('["visudo", "%s"]', "absolute path"), ("[]", "absolute path"), ('["/bin/true"]', "exactly one"),
    ('["/bin/true", "%s", "%s"]', "exactly one"), ('["/bin/true", "%s%s"]', "exactly one"), ('["/bin/%s"]', "exactly one"),
    ('["/bin/true", "a\\u0000%s"]', "NUL"), ('"/bin/true %s"', "array"), ('["/bin/true", 5]', "string"),
])
def test_validate_that_cannot_be_is_refused(box, text, error):
    refused(box, f'[file."/srv/a"]\ncontent = "x"\nvalidate = {text}\n', error)


def test_validate_without_content_is_refused(box):
    refused(box, '[file."/srv/a"]\nvalidate = ["/bin/true", "%s"]\n', "without content")


# ---- Validating ----

CHECK = r"""#!/bin/sh
stat -c '%a %U' "$2" >/tmp/seen
case $1 in --hang) exec sleep 1000;; esac
grep -q good "$2" && exit 0
for n in 1 2 3 4 5; do echo "line $n: bad" >&2; done
exit 3
"""


def role_with(content, *words):
    words = ", ".join(f'"{word}"' for word in ("/usr/local/bin/check", *words))
    return f'[file."/srv/a"]\ncontent = "{content}"\nmode = "0640"\nowner = "daemon"\nvalidate = [{words}]\n'


@pytest.fixture
def check(box):
    box.write("/usr/local/bin/check", CHECK, mode=0o755)
    box.role("role", role_with("good", "-f", "%s"))
    if "not supported" in (errors(box.agentd_once())["file:/srv/a"] or ""):
        pytest.skip("commands cannot be run yet")
    box.run("rm -f /srv/a /tmp/seen")


def test_file_takes_its_place_only_if_the_command_agrees(box, check):
    settled(box, role_with("good", "-f", "%s"))
    assert box.read("/srv/a") == "good" and box.read("/tmp/seen") == "640 daemon\n"

    box.role("role", role_with("evil", "-f", "%s"))
    once = box.agentd_once()
    assert results(once) == {"file:/srv/a": "failed"}
    error = errors(once)["file:/srv/a"]
    assert "'/usr/local/bin/check' refuses" in error and "line 3: bad line 4: bad line 5: bad" in error
    assert error.count("line 5: bad") == 1
    assert "line 2" not in error.split("refuses")[1] or "line 1" not in error
    assert box.read("/srv/a") == "good" and temporaries(box, "/srv") == []


def test_command_that_hangs_ends_at_the_deadline(box, check):
    box.write("/srv/a", "old")
    box.role("role", role_with("good", "--hang", "%s") + 'timeout = "2s"\n')
    once = box.agentd_once(timeout=40)
    assert results(once) == {"file:/srv/a": "failed"} and box.read("/srv/a") == "old"
    wait_until(lambda: box.run("pgrep -x sleep", check=False).returncode != 0, PATIENCE, "the end of the command")
    box.role("role", "")
    assert temporaries(box, "/srv") == [] or box.run("rm /srv/.agentd-*")


def test_command_that_is_not_there_fails(box, check):
    box.role("role", role_with("good", "%s").replace("/usr/local/bin/check", "/usr/bin/nosuch"))
    once = box.agentd_once()
    assert results(once) == {"file:/srv/a": "failed"} and "nosuch" in errors(once)["file:/srv/a"]
    assert not box.exists("/srv/a") and temporaries(box, "/srv") == []


def test_in_another_root_the_command_runs_there(box, check):
    box.run("mkdir -p /srv/root && mount --bind / /srv/root && mount --make-private /srv/root && mount -t tmpfs none /srv/root/mnt")
    for content in "good", "evil":
        box.role("role", role_with(content, "-f", "%s").replace("/srv/a", "/mnt/a"))
        once = box.agentd_once("--root", "/srv/root")
        assert results(once) == {"file:/mnt/a": "changed" if content == "good" else "failed"}, errors(once)
    assert box.read("/srv/root/mnt/a") == "good" and "line 3: bad" in errors(once)["file:/mnt/a"]
    assert not box.exists("/mnt/a") and temporaries(box, "/srv/root/mnt") == []


def test_what_the_command_says_of_a_secret_is_not_shown(box):
    box.write("/usr/local/bin/check", "#!/bin/sh\ncat $1; cat $1 >&2; exit 1\n", mode=0o755)
    box.role("role", '[file."/srv/a"]\ncontent = "hunter2"\nsensitive = true\nvalidate = ["/usr/local/bin/check", "%s"]\n')
    once = box.agentd_once()
    assert results(once) == {"file:/srv/a": "failed"} and errors(once)["file:/srv/a"]
    assert "hunter2" not in once.stderr + str(once.results)
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    assert "hunter2" not in box.run("journalctl -o json --no-pager").stdout + str(events(box))
    assert temporaries(box, "/srv") == [] and not box.exists("/srv/a")


def test_plan_does_not_run_the_command(box, check):
    box.role("role", role_with("evil", "-f", "%s"))
    assert box.agentd_once("--plan").summary["drifted"] == 1
    assert not box.exists("/tmp/seen")
