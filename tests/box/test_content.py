# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a change takes away is kept, and can be had back."""

import json
import re

import daemon
import pytest
from box import PATIENCE, CommandFailed, wait_until
from daemon import items, last_event, start, state, wait_event, wait_idle

MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\nmode = "0644"\nowner = "root"\n'
CONTENT = "/var/lib/agentd/content"
HASH = re.compile(r"^[0-9a-f]{64}$")


@pytest.fixture
def host(box):
    """With a role, at rest; nothing runs by itself for hours."""
    box.role("motd", MOTD)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    return box


def heals(box, deed, of="file:/etc/motd"):
    """Does something, and returns what the repair has noted as undo data: {what: old}."""
    n = last_event(box)
    box.run(deed)
    event = wait_event(box, "state-changed", after=n, state=of)
    wait_idle(box)
    result, = [r for r in items(box, f"/v1/runs/{event['run']}/results") if r["state"] == of]
    assert event["data"]["undo"] == result["undo"]
    assert state(box, of)["history"][0]["undo"] == result["undo"]
    return {u["what"]: u["old"] for u in result["undo"]}


def content(box, reference):
    assert HASH.match(reference["stored"]), reference
    done = box.agentctl("content", reference["stored"])
    assert done.returncode == 0, done
    assert len(done.stdout.encode()) == reference["size"]
    return done.stdout


def files(box):
    return {name for name in box.run(f"find {CONTENT} -type f -printf '%f\\n' 2>/dev/null || :").stdout.split()}


def age(box, name, hours=2):
    box.run(f"touch -d '{hours} hours ago' {CONTENT}/{name[:2]}/{name}")


def housekeeping(box):
    """What the daemon starts each day."""
    box.run("/usr/sbin/agentd --housekeeper /var/lib/agentd 67108864 7776000000000 268435456")


def test_an_old_file_comes_back(host):
    undo = heals(host, "echo 'somebody wrote this' >/etc/new; chown 65534:65533 /etc/new; chmod 0640 /etc/new;"
                 " mv /etc/new /etc/motd")
    assert {what: old for what, old in undo.items() if what != "content"} == {
        "ensure": "file", "mode": 0o640, "uid": 65534, "gid": 65533}
    assert content(host, undo["content"]) == "somebody wrote this\n"
    shown = host.agentctl("show", "file:/etc/motd")
    assert f"agentctl content {undo['content']['stored']}" in shown.stdout, shown
    run = state(host, "file:/etc/motd")["history"][0]["run"]
    results = host.agentctl("run", str(run), json=True).objects
    assert any(u["old"] == undo["content"] for r in results for u in r.get("undo", ()) if u["what"] == "content")
    stat = host.stat(CONTENT)
    assert stat.st_mode & 0o7777 == 0o700 and stat.st_uid == 0
    path = f"{CONTENT}/{undo['content']['stored'][:2]}/{undo['content']['stored']}"
    assert host.stat(path).st_mode & 0o7777 == 0o600
    # It needs no daemon, and it outlives it.
    daemon.stop(host)
    host.run("systemctl stop agentd.socket")
    assert content(host, undo["content"]) == "somebody wrote this\n"


def test_all_that_makes_a_file_is_noted(box):
    """Before it is removed, or becomes something else."""
    box.write("/srv/file", "old\n", 0o604)
    box.run("chown 12:34 /srv/file; ln -s /srv/file /srv/link; mkdir -m 0711 /srv/directory")
    box.role("gone", "".join(f'[file."/srv/{name}"]\nensure = "absent"\n' for name in ("file", "link", "directory")))
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    undo = {}
    for name in ("file", "link", "directory"):
        entry = state(box, f"file:/srv/{name}")["history"][0]
        assert entry["result"] == "changed"
        undo[name] = {u["what"]: u["old"] for u in entry["undo"]}
    assert content(box, undo["file"].pop("content")) == "old\n"
    assert undo["file"] == {"ensure": "file", "mode": 0o604, "uid": 12, "gid": 34}
    assert undo["link"] == {"ensure": "symlink", "mode": 0o777, "uid": 0, "gid": 0, "target": "/srv/file"}
    assert undo["directory"] == {"ensure": "directory", "mode": 0o711, "uid": 0, "gid": 0}


def test_the_same_content_is_kept_once(host):
    first = heals(host, "echo same >/etc/new; chmod 0644 /etc/new; mv /etc/new /etc/motd")["content"]
    n = files(host)
    second = heals(host, "echo same >/etc/new; chmod 0644 /etc/new; mv /etc/new /etc/motd")["content"]
    assert first == second and files(host) == n


def test_nothing_of_a_sensitive_state_is_shown(box):
    box.role("secret", '[file."/srv/password"]\ncontent = "hunter2\\n"\nmode = "0600"\nsensitive = true\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    undo = heals(box, "echo 'the old swordfish' >/srv/new; chmod 0604 /srv/new; mv /srv/new /srv/password",
                 of="file:/srv/password")
    assert {"ensure", "mode", "uid", "gid", "content"} == set(undo)
    for what, old in undo.items():
        assert old["sealed"] is True and HASH.match(old["stored"]), (what, old)
        assert set(old) <= {"stored", "size", "sealed", "json"}, (what, old)
    assert content(box, undo["content"]) == "the old swordfish\n"
    assert undo["mode"]["json"] is True and json.loads(content(box, undo["mode"])) == 0o604
    assert content(box, undo["ensure"]) == "file"
    key = box.stat("/var/lib/agentd/content.key")
    assert key.st_size == 32 and key.st_mode & 0o7777 == 0o600
    # Neither in a file, nor in the store, nor in the journal; and with nobody but root.
    box.run("sync")
    for word in ("swordfish", "hunter2"):
        done = box.run(f"grep -rl {word} /var/lib/agentd", check=False)
        assert done.returncode == 1, done
        assert word not in box.run("journalctl -b --no-pager -o json").stdout
    with pytest.raises(CommandFailed):
        box.run(f"setpriv --reuid 65534 --clear-groups agentd --content {undo['content']['stored']}")
    # Without the key it is nothing.
    box.run("mv /var/lib/agentd/content.key /root/")
    done = box.agentctl("content", undo["content"]["stored"])
    assert done.returncode == 1 and "key" in done.stderr and not done.stdout, done


def test_what_is_too_large_is_noted_and_told(host):
    daemon.settings(host, 'interval = "infinity"\n[store]\ncontent_file = "10K"\n')
    daemon.reload(host)
    wait_idle(host)
    cursor = host.cursor()
    undo = heals(host, "head -c 20000 /dev/zero >/etc/new; mv /etc/new /etc/motd")
    assert undo["content"] == {"kept": False, "size": 20000}
    entry = host.wait_journal(where=lambda e: "is not kept" in e.get("MESSAGE", ""), after=cursor)
    assert "file:/etc/motd" in entry["MESSAGE"] and "store.content_file" in entry["MESSAGE"], entry
    assert host.read("/etc/motd") == "hello\n"

    daemon.settings(host, 'interval = "infinity"\n[store]\ncontent = "0"\n')
    daemon.reload(host)
    wait_idle(host)
    undo = heals(host, "echo x >/etc/new; mv /etc/new /etc/motd")
    assert undo["content"] == {"kept": False, "size": 2}


def test_no_space_does_not_keep_a_repair_from_happening(host):
    # A worker that lives has the directory open.
    daemon.stop(host)
    host.run(f"mkdir -p {CONTENT}; rm -r {CONTENT}/*; mount -t tmpfs -o size=16k tmpfs {CONTENT}")
    try:
        start(host)
        wait_idle(host)
        host.run(f"head -c 100000 /dev/zero >{CONTENT}/full", check=False)
        cursor = host.cursor()
        undo = heals(host, "echo x >/etc/new; mv /etc/new /etc/motd")
        assert undo["content"] == {"kept": False, "size": 2}
        entry = host.wait_journal(where=lambda e: "is not kept" in e.get("MESSAGE", ""), after=cursor)
        assert "No space left" in entry["MESSAGE"]
        assert files(host) == {"full"}
    finally:
        host.run(f"umount --lazy {CONTENT}")  # the worker has it open


def test_what_nobody_refers_to_is_collected(host):
    kept = heals(host, "echo kept >/etc/new; mv /etc/new /etc/motd")["content"]
    lost = heals(host, "echo lost >/etc/new; mv /etc/new /etc/motd")["content"]
    daemon.stop(host)
    host.run(f"touch {CONTENT}/.new-1 {CONTENT}/.new-2; touch -d '2 hours ago' {CONTENT}/.new-1")
    for reference in (kept, lost):
        age(host, reference["stored"])
    housekeeping(host)
    assert {kept["stored"], lost["stored"], ".new-2"} <= files(host) and ".new-1" not in files(host)
    # As if the daemon had died before it wrote the result.
    host.run("python3 -c 'import sqlite3; db = sqlite3.connect(\"/var/lib/agentd/store.db\");"
             f" db.execute(\"DELETE FROM contents WHERE hash = ?\", (\"{lost['stored']}\",)); db.commit()'")
    housekeeping(host)
    assert kept["stored"] in files(host) and lost["stored"] not in files(host)
    done = host.agentctl("content", lost["stored"])
    assert done.returncode == 1 and "collected" in done.stderr, done
    assert content(host, kept) == "kept\n"
    # With the results of a run its references go.
    host.run("/usr/sbin/agentd --housekeeper /var/lib/agentd 67108864 0 268435456")
    assert kept["stored"] not in files(host)


def test_damage_is_told(host):
    reference = heals(host, "seq 10000 >/etc/new; mv /etc/new /etc/motd")["content"]
    path = f"{CONTENT}/{reference['stored'][:2]}/{reference['stored']}"
    host.run(f"truncate -s -1 {path}")
    done = host.agentctl("content", reference["stored"])
    assert done.returncode == 1 and "cut short" in done.stderr and not done.stdout, done
    # It comes up again, and is whole.
    assert heals(host, "seq 10000 >/etc/new; mv /etc/new /etc/motd")["content"] == reference
    assert content(host, reference).startswith("1\n2\n3\n")


@pytest.mark.parametrize("words, said", [
    (["x"], "64 digits"),
    (["A" * 64], "64 digits"),
    (["../../../../etc/shadow"], "64 digits"),
    (["f" * 64], "ever kept"),
])
def test_a_hash_that_is_none(box, words, said):
    done = box.agentctl("content", *words)
    assert done.returncode == (2 if "64" in said else 1) and said in done.stderr, done


def test_a_single_run_keeps_nothing(box):
    box.write("/etc/motd", "old\n")
    box.role("motd", MOTD)
    box.agentd_once()
    assert box.read("/etc/motd") == "hello\n"
    assert not box.exists(CONTENT)


def test_what_was_kept_is_there_after_a_kill(host):
    undo = heals(host, "echo before >/etc/new; mv /etc/new /etc/motd")
    daemon.kill(host)
    wait_until(lambda: daemon.main_pid(host) > 0, PATIENCE, "agentd to be back")
    assert content(host, undo["content"]) == "before\n"
