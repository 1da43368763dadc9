# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentd --once --plan, and what runs print: differences, JSON, colour."""

import json
import os
import pty
import re
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from once import AGENTD, agentd, changes, differences, errors, need_plain_build, results, said, snapshot

MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\nmode = "0644"\nowner = "root"\n'
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
RESULTS = ["ok", "changed", "drifted", "unknown", "failed", "skipped", "blocked"]


# ---- Plan ----

def test_plan_tells_all_and_changes_nothing_on_the_whole_host(box):
    box.write("/srv/old", "old", mode=0o600)
    box.write("/srv/gone", "")
    box.role("role", MOTD + """
[file."/srv/old"]
content = "new"
mode = "0644"
owner = "daemon"
[file."/srv/gone"]
ensure = "absent"
[file."/srv/deep/er/file"]
parents = {}
[file."/srv/link"]
ensure = "symlink"
target = "old"
[file."/srv/directory"]
ensure = "directory"
[file."/srv/root"]
check_as_root = true
[file."/srv/bad"]
owner = "nosuch"
[hosts-entry."web.example.org"]
address = "10.0.0.1"
""")
    box.start()
    before = snapshot(box)
    plan = box.agentd_once("--plan")
    assert changes(before, snapshot(box)) == []
    assert plan.returncode == 1 and said(plan) == []
    assert results(plan).pop("file:/srv/root") == "unknown"
    assert results(plan).pop("file:/srv/bad") == "failed"
    assert plan.summary["drifted"] == 7 and plan.summary["changed"] == 0
    assert set(differences(plan, "file:/srv/old")) == {"content", "mode", "owner"}


def test_plan_takes_no_lock(box):
    box.role("role", MOTD)
    box.run("rm -r /run/agentd")  # which systemd-tmpfiles makes
    assert box.agentd_once("--plan").returncode == 0
    assert not box.exists("/run/agentd/lock")


def test_what_a_plan_says_is_what_the_run_then_does(box):
    box.write("/srv/a", "x", mode=0o600)
    box.role("role", MOTD + '[file."/srv/a"]\nmode = "0644"\n[file."/srv/b"]\nwhen = "not exists(\'/srv/a\')"\n'
                            '[file."/srv/d"]\nensure = "directory"\n[file."/srv/d/e"]\ncontent = "x"\n')
    plan, run = box.agentd_once("--plan", "--diff"), box.agentd_once("--diff")
    assert [(r["state"], r["result"].replace("drifted", "changed"), r["differences"]) for r in plan.results] == \
        [(r["state"], r["result"], r["differences"]) for r in run.results]


@pytest.mark.parametrize("role, status", [
    (MOTD, 4),
    ('[file."/etc/hostname"]\n', 0),
    ("", 0),
    ('[file."/srv/a"]\ncheck_as_root = true\n', 4),
    (MOTD + '[file."/srv/bad"]\nowner = "nosuch"\n', 1),
    ('[file."/srv/bad"]\nowner = "nosuch"\n', 1),
    (MOTD + "[nonsense]\n", 2),
])
def test_plan_check_exits_with_4_if_changes_are_pending_and_1_wins(box, role, status):
    box.role("role", role)
    assert agentd(box, "--once", "--plan", "--check").returncode == status
    assert agentd(box, "--once", "--plan").returncode == (0 if status == 4 else status)


def test_plan_check_is_0_once_the_run_was_made(box):
    box.role("role", MOTD)
    assert agentd(box, "--once", "--plan", "--check").returncode == 4
    assert agentd(box, "--once").returncode == 0
    assert agentd(box, "--once", "--plan", "--check").returncode == 0


def test_what_depends_on_an_earlier_change_is_unknown(box):
    box.role("role", """
[file."/made/by/first"]
parents = {}
[file."/srv/asks"]
when = "exists('/made/by/first')"
requires = ["file:/made/by/first"]
[file."/srv/after"]
requires = ["file:/srv/asks"]
[file."/srv/far"]
requires = ["file:/etc/hostname"]
when = "exists('/made/by/first')"
[file."/etc/hostname"]
requires = ["file:/made/by/first"]
[file."/srv/independent"]
when = "exists('/made/by/first')"
""")
    plan = box.agentd_once("--plan")
    assert results(plan) == {
        "file:/made/by/first": "drifted", "file:/srv/asks": "unknown", "file:/srv/after": "drifted",
        "file:/etc/hostname": "ok", "file:/srv/far": "unknown", "file:/srv/independent": "skipped"}
    assert "depends on what would be changed before" in errors(plan)["file:/srv/asks"]
    assert plan.returncode == 0
    run = box.agentd_once()
    assert run.returncode == 0 and run.summary["changed"] >= 4


def test_what_lies_below_a_directory_that_is_still_to_be_made_is_drifted(box):
    box.role("role", '[file."/srv/d"]\nensure = "directory"\n[file."/srv/d/e"]\nensure = "directory"\n'
                     '[file."/srv/d/e/f"]\ncontent = "x"\n')
    plan = box.agentd_once("--plan")
    assert set(results(plan).values()) == {"drifted"} and len(plan.results) == 3
    assert differences(plan, "file:/srv/d/e/f")["ensure"] == ("absent", "file")


def test_unknown_owner_fails_in_a_plan_with_the_name(box):
    box.role("role", '[file."/srv/a"]\nowner = "nosuch"\n')
    plan = box.agentd_once("--plan")
    assert plan.returncode == 1 and errors(plan)["file:/srv/a"] == "there is no user 'nosuch'"


def test_owner_who_may_be_made_by_an_earlier_change_is_a_difference(box):
    box.write("/srv/a", "")
    box.role("role", '[file."/srv/a"]\nowner = "tocome"\ngroup = "tocome"\nrequires = ["file:/srv/first"]\n'
                     '[file."/srv/first"]\n')
    plan = box.agentd_once("--plan")
    assert results(plan)["file:/srv/a"] == "drifted"
    assert differences(plan, "file:/srv/a") == {"owner": ("root", "tocome"), "group": ("root", "tocome")}


def test_failure_blocks_in_a_plan_as_well(box):
    box.role("role", '[file."/srv/a"]\nowner = "nosuch"\n[file."/srv/b"]\nrequires = ["file:/srv/a"]\n')
    plan = box.agentd_once("--plan")
    assert results(plan) == {"file:/srv/a": "failed", "file:/srv/b": "blocked"}


# ---- Differences of text ----

UNIFIED = """\
--- /srv/a
+++ /srv/a
@@ -1,4 +1,4 @@
 one
-two
+2
 three
-four
+4
"""


def text_role(box):
    box.write("/srv/a", "one\ntwo\nthree\nfour\n")
    box.role("role", '[file."/srv/a"]\ncontent = "one\\n2\\nthree\\n4\\n"\nmode = "0600"\n')


@pytest.mark.parametrize("plan", [["--plan"], []])
def test_diff_shows_a_unified_diff_to_people_and_programs(box, plan):
    text_role(box)
    once = box.agentd_once("--plan", "--diff")
    by_attribute = {d["attribute"]: d for d in once.results[0]["differences"]}
    assert by_attribute["content"]["diff"] == UNIFIED
    assert set(by_attribute["mode"]) == {"attribute", "is", "should", "diff"} and by_attribute["mode"]["diff"] is None
    people = agentd(box, "--once", "--diff", *plan)
    assert "".join(f"    {line}\n" for line in UNIFIED.splitlines()) in people.stdout
    assert people.stderr == "" or said(people) == []


def test_without_diff_none_is_shown(box):
    text_role(box)
    once = box.agentd_once("--plan")
    assert all(set(d) == {"attribute", "is", "should"} for d in once.results[0]["differences"])
    content = differences(once, "file:/srv/a")["content"]
    assert re.fullmatch(r"19 bytes, sha256:[0-9a-f]{64}", content[0])
    assert content[1].startswith("14 bytes, sha256:")
    assert "@@" not in agentd(box, "--once", "--plan").stdout


def test_diff_of_a_new_file_begins_at_nothing(box):
    box.role("role", '[file."/srv/a"]\ncontent = "one"\n')
    once = box.agentd_once("--plan", "--diff")
    content = next(d for d in once.results[0]["differences"] if d["attribute"] == "content")
    assert content["is"] is None
    assert content["diff"] == "--- /dev/null\n+++ /srv/a\n@@ -0,0 +1 @@\n+one\n\\ No newline at end of file\n"


def test_diff_of_binary_content_is_said_in_words(box):
    box.write("/srv/a", b"\0\1\2\xff")
    box.write("/etc/agentd/conf.d/data", b"\0\1\3\xff")
    box.role("role", '[file."/srv/a"]\nsource = "data"\n')
    plan = box.agentd_once("--plan", "--diff")
    diff = plan.results[0]["differences"][0]["diff"]
    assert "inary" in diff and "\0" not in diff and diff.count("\n") <= 3
    people = agentd(box, "--once", "--plan", "--diff").stdout
    assert "inary" in people and "\0" not in people and "\1" not in people


def test_content_that_is_not_utf8_counts_as_binary(box):
    box.write("/srv/a", b"caf\xe9\n")
    box.role("role", '[file."/srv/a"]\ncontent = "cafe\\n"\n')
    plan = box.agentd_once("--plan", "--diff")
    assert plan.results[0]["differences"][0]["diff"] == "binary content differs: 5 → 5 bytes\n"


def test_diff_of_very_large_text_is_cut(box):
    box.run("mkdir -p /srv /etc/agentd/conf.d; seq 100000 >/srv/a; seq 2 100001 | tac >/etc/agentd/conf.d/data")
    box.role("role", '[file."/srv/a"]\nsource = "data"\n')
    plan = box.agentd_once("--plan", "--diff")
    assert results(plan) == {"file:/srv/a": "drifted"}
    assert 0 < len(plan.results[0]["differences"][0]["diff"]) <= 64 << 10
    assert agentd(box, "--once", "--diff").returncode == 0
    box.run("cmp /srv/a /etc/agentd/conf.d/data")


def test_control_characters_do_not_reach_a_terminal(box):
    box.write("/srv/a", b"\x1b[2Jold\r\n")
    box.role("role", '[file."/srv/a"]\ncontent = "\\u001b]0;title\\u0007\\n"\n'
                     '[file."/srv/l"]\nensure = "symlink"\ntarget = "\\u001b[2J"\n'
                     '[file."/srv/\\u001b[2J"]\ncontent = "x"\n')
    done = agentd(box, "--once", "--plan", "--diff")
    assert done.returncode == 0
    assert not re.search(CONTROL, done.stdout), done.stdout
    box.role("role", '[file."/srv/\\u001b[2J"]\nowner = "\\u001b[2J\\u009b2J"\n')
    failed = agentd(box, "--once")
    assert failed.returncode == 1 and not re.search(CONTROL, failed.stdout + failed.stderr)
    box.role("role", '[file."/srv/a"]\n"\\u001b[2J" = 1\n')
    invalid = agentd(box, "--once")
    assert invalid.returncode == 2 and not re.search(CONTROL, invalid.stderr)


# ---- JSON ----

KEYS = {
    "state": str, "type": str, "name": str, "role": str, "removal": bool, "result": str, "differences": list,
    "error": (str, type(None)), "duration_usec": int,
}


def test_what_is_only_audited_is_not_pending(box):
    box.write("/srv/audit", "x")
    box.role("web", '[file."/srv/audit"]\ncontent = "y"\naudit = true\n')
    done = agentd(box, "--once", "--plan", "--check")
    assert done.returncode == 0 and "drifted  file:/srv/audit" in done.stdout


def test_json_has_every_key_with_its_type_and_the_summary_last(box):
    box.write("/srv/ok", "")
    box.write("/srv/audit", "x")
    box.role("web", """
[file."/srv/ok"]
[file."/srv/changed"]
content = "x"
mode = "0600"
[file."/srv/audit"]
content = "y"
audit = true
[file."/srv/failed"]
owner = "nosuch"
[file."/srv/blocked"]
requires = ["file:/srv/failed"]
[file."/srv/skipped"]
when = "exists('/nosuch')"
""")
    began = datetime.now(timezone.utc)
    done = agentd(box, "--once", "--json")
    ended = datetime.now(timezone.utc)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stdout.endswith("}\n") and said(done) == [] and done.returncode == 1
    *states, run = lines
    assert len(states) == 6
    for state in states:
        assert list(state) == list(KEYS)
        for key, kind in KEYS.items():
            assert isinstance(state[key], kind), (key, state)
        assert state["result"] in RESULTS
        assert state["state"] == f"{state['type']}:{state['name']}" and state["role"] == "web"
        assert 0 <= state["duration_usec"] < 10_000_000
        assert (state["error"] is not None) == (state["result"] in ("failed", "blocked"))
        for difference in state["differences"]:
            assert list(difference) == ["attribute", "is", "should"]
            assert isinstance(difference["attribute"], str)
    by_name = {state["name"]: state for state in states}
    assert by_name["/srv/changed"]["differences"][0] == {"attribute": "ensure", "is": "absent", "should": "file"}
    assert by_name["/srv/changed"]["duration_usec"] > 0

    assert list(run) == ["run", "mode", "cause", "started", "finished", "summary", "error"]
    assert type(run["run"]) is int and run["run"] > 0 and run["mode"] == "apply" and run["cause"] == "once"
    assert run["summary"] == {"ok": 1, "changed": 1, "drifted": 1, "unknown": 0, "failed": 1, "skipped": 1,
                              "blocked": 1}
    assert list(run["summary"]) == RESULTS
    times = []
    for key in "started", "finished":
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", run[key])
        times.append(datetime.fromisoformat(run[key].replace("Z", "+00:00")))
    assert began - timedelta(seconds=1) <= times[0] <= times[1] <= ended + timedelta(seconds=1)


def test_json_of_a_plan_says_plan_and_holds_no_changed(box):
    box.role("role", MOTD)
    done = agentd(box, "--once", "--plan", "--json")
    run = json.loads(done.stdout.splitlines()[-1])
    assert run["mode"] == "plan" and run["summary"]["drifted"] == 1 and run["summary"]["changed"] == 0


def test_json_of_an_empty_host_is_the_summary_alone(box):
    lines = agentd(box, "--once", "--json").stdout.splitlines()
    assert len(lines) == 1 and json.loads(lines[0])["summary"] == dict.fromkeys(RESULTS, 0)


def test_json_of_an_invalid_role_is_empty_and_the_error_is_on_standard_error(box):
    box.role("role", "[nonsense]\n")
    done = agentd(box, "--once", "--json")
    assert done.returncode == 2 and done.stdout == "" and len(said(done)) == 1


def test_run_numbers_increase(box):
    numbers = [json.loads(agentd(box, "--once", "--json").stdout)["run"] for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_names_of_all_bytes_are_in_json_as_they_are_in_the_role(box):
    box.role("role", '[file."/srv/ä \\"q\\" \\\\ \\t"]\ncontent = "x"\n')
    once = box.agentd_once()
    assert once.results[0]["name"] == '/srv/ä "q" \\ \t'
    assert box.exists('/srv/ä "q" \\ \t')


# ---- For people ----

def test_people_see_what_happened_and_why_but_not_what_is_fine(box):
    box.write("/srv/ok", "")
    box.write("/srv/old", "old", mode=0o600)
    box.role("role", '[file."/srv/ok"]\n[file."/srv/old"]\nmode = "0644"\n[file."/srv/bad"]\nowner = "nosuch"\n'
                     '[file."/srv/blocked"]\nrequires = ["file:/srv/bad"]\n')
    done = agentd(box, "--once")
    *lines, summary = done.stdout.splitlines()
    assert sorted(lines) == sorted([
        "changed  file:/srv/old", "    mode: 0600 → 0644",
        "failed   file:/srv/bad", "    /etc/agentd/conf.d/role.toml:4:7", "    there is no user 'nosuch'",
        "blocked  file:/srv/blocked", "    required file:/srv/bad failed"])
    assert re.fullmatch(r"4 states: 1 ok, 1 changed, 1 failed, 1 blocked \(.+\)", summary)
    assert said(done) == []


def test_verbose_shows_what_is_fine_as_well(box):
    box.role("role", '[file."/etc/hostname"]\n[file."/srv/a"]\nwhen = "exists(\'/no\')"\n')
    done = agentd(box, "--once", "-v")
    assert "ok       file:/etc/hostname\n" in done.stdout and "skipped  file:/srv/a\n" in done.stdout
    assert agentd(box, "--once").stdout.count("\n") == 1


def on_terminal(box, command, **environment):
    """(status, what it wrote to a terminal) of a command of the box."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(box.nsenter(box.leader) + ["sh", "-c", command], stdin=subprocess.DEVNULL,
                                   stdout=theirs, stderr=theirs, start_new_session=True,
                                   env=box.ENVIRONMENT | {"TERM": "xterm"} | environment)
        os.close(theirs)
        output = b""
        try:
            while data := terminal.read(65536):
                output += data
        except OSError:  # EIO: nobody has the other end any more
            pass
        return process.wait(20), output.decode()


def test_colour_is_on_terminals_only_and_not_with_no_color(box):
    box.role("role", MOTD)
    box.start()
    plan = f"{AGENTD} --once --plan --diff"
    assert on_terminal(box, plan)[0] == 0
    assert "\033[" in on_terminal(box, plan)[1]
    assert "\033[33mdrifted" in on_terminal(box, plan, NO_COLOR="")[1]
    assert "\033[" not in on_terminal(box, plan, NO_COLOR="1")[1]
    assert "\033[" not in on_terminal(box, plan, TERM="dumb")[1]
    assert "\033[" not in on_terminal(box, plan + " | cat")[1]
    assert "\033[" not in on_terminal(box, plan + " --json")[1]
    assert "\033[" not in agentd(box, "--once", "--plan", "--diff").stdout
    assert "\033[" in on_terminal(box, f"{AGENTD} --once")[1]


def test_progress_of_a_long_run_is_shown_on_a_terminal_and_wiped(box, loop_ext4):
    need_plain_build(box, "a worker that hangs holds standard error open")
    loop_ext4("/srv/disk")
    box.role("role", '[file."/srv/disk/a"]\ncontent = "x"\ntimeout = "2s"\n[file."/srv/b"]\n')
    box.run("fsfreeze --freeze /srv/disk")
    try:
        status, shown = on_terminal(box, f"{AGENTD} --once >/dev/null")
    finally:
        box.run("fsfreeze --unfreeze /srv/disk")
    assert status == 1
    assert re.search(r"\r\033\[K\d of 2 states", shown)
    assert shown.endswith("\r\033[K")


def test_what_requires_a_state_that_no_worker_is_asked_about_is_told(box):
    text = ('[file."/srv/a"]\ncontent = "x"\ncheck_as_root = true\n'
            '[file."/srv/b"]\ncontent = "x"\nrequires = ["file:/srv/a"]\n')
    box.role("chain", text)
    once = box.agentd_once("--plan", timeout=20)
    assert results(once) == {"file:/srv/a": "unknown", "file:/srv/b": "drifted"}
