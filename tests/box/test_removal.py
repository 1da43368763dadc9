# SPDX-License-Identifier: LGPL-2.1-or-later
"""What becomes of what a state made, when no role declares it any more: on_removal, was."""

import json

import daemon
import pytest
from box import wait_until
from daemon import events, last_event, start, states, wait_event, wait_idle


def file(path, more=""):
    return f'[file."{path}"]\ncontent = "x\\n"\non_removal = "absent"\n{more}'


def begin(box, **roles):
    """With these roles, at rest; nothing runs by itself for hours."""
    for name, text in roles.items():
        box.role(name, text)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box)


def gone(box, *ids):
    """Until no state has these ids."""
    wait_until(lambda: not set(ids) & set(states(box)), 30, f"{ids} are gone")
    wait_idle(box)


def test_what_was_taken_out_of_its_role_is_removed(box):
    begin(box, a=file("/etc/gone") + file("/etc/stays"))
    assert box.exists("/etc/gone") and set(states(box)) == {"file:/etc/gone", "file:/etc/stays"}
    n = last_event(box)
    box.role("a", file("/etc/stays"))
    event = wait_event(box, "state-changed", after=n, state="file:/etc/gone", timeout=30)
    assert event["role"] == "a"
    gone(box, "file:/etc/gone")
    assert not box.exists("/etc/gone") and box.exists("/etc/stays")
    # That it is gone is no reason to look at all the others.
    assert daemon.status(box)["last_run"]["run"] == event["run"]
    # It is over: a file of that name is somebody else's.
    box.write("/etc/gone", "mine\n")
    daemon.reload(box)
    wait_idle(box)
    assert box.read("/etc/gone") == "mine\n"


def test_without_it_and_with_keep_it_is_left(box):
    plain = '[file."/etc/a"]\ncontent = "x"\n[file."/etc/b"]\ncontent = "x"\non_removal = "keep"\n'
    begin(box, a=plain + file("/etc/c"))
    # What was written down is forgotten when it is to be kept.
    box.role("a", plain + '[file."/etc/c"]\ncontent = "x"\n')
    daemon.reload(box)
    wait_idle(box)
    box.role("a", "")
    daemon.reload(box)
    wait_idle(box)
    assert states(box) == {}
    assert all(box.exists(f"/etc/{name}") for name in "abc")


def test_what_was_never_as_declared_is_not_removed(box):
    box.run("mkdir /etc/other; echo mine >/etc/other/file")
    begin(box, a=file("/etc/other"))
    assert states(box) == {"file:/etc/other": "failed"}
    box.role("a", "")
    daemon.reload(box)
    wait_idle(box)
    assert states(box) == {} and box.read("/etc/other/file") == "mine\n"


def test_directories_go_after_what_lies_in_them(box):
    directory = '[file."/srv/{0}"]\nensure = "directory"\non_removal = "absent"\n'
    begin(box, a=directory.format("d") + directory.format("d/e") + file("/srv/d/e/f") + file("/srv/d/g"))
    assert box.exists("/srv/d/e/f")
    box.role("a", "")
    daemon.reload(box)
    gone(box, "file:/srv/d", "file:/srv/d/e", "file:/srv/d/e/f", "file:/srv/d/g")
    assert not box.exists("/srv/d") and not events(box, kind="state-failed")


def test_a_directory_that_still_holds_something_declared_stays_until_then(box):
    directory = '[file."/srv/d"]\nensure = "directory"\non_removal = "absent"\n'
    begin(box, a=directory, b=file("/srv/d/f"))
    box.role("a", "")
    outcome = daemon.reload(box)
    assert outcome["warnings"] == ["file:/srv/d is declared no more, and is removed once nothing is declared in it: "
                                   "file:/srv/d/f is"]
    wait_idle(box)
    assert box.exists("/srv/d/f") and "file:/srv/d" not in states(box)
    box.role("b", "")
    daemon.reload(box)
    gone(box, "file:/srv/d", "file:/srv/d/f")
    assert not box.exists("/srv/d")


def test_a_file_that_others_edit_stays_until_then(box):
    own = '[file."/etc/some.conf"]\nmode = "0600"\non_removal = "absent"\n'
    edit = '[edit.line]\npath = "/etc/some.conf"\nline = "a line"\n'
    begin(box, a=own, b=edit)
    box.role("a", "")
    daemon.reload(box)
    wait_idle(box)
    assert box.read("/etc/some.conf") == "a line\n" and set(states(box)) == {"edit:line"}
    box.role("b", "")
    daemon.reload(box)
    gone(box, "file:/etc/some.conf")
    assert not box.exists("/etc/some.conf")


def test_a_tree_goes_as_a_whole_and_what_was_immutable_as_well(box, loop_ext4):
    loop_ext4("/srv/disk")
    box.write("/etc/agentd/files/one", "1\n")
    begin(box, a='[file."/srv/tree"]\nensure = "directory"\nsource = "/etc/agentd/files"\npurge = true\n'
                 'on_removal = "absent"\n' + file("/srv/disk/hard", "immutable = true\n"))
    assert box.read("/srv/tree/one") == "1\n"
    box.role("a", "")
    daemon.reload(box)
    gone(box, "file:/srv/tree", "file:/srv/disk/hard")
    assert not box.exists("/srv/tree") and not box.exists("/srv/disk/hard")


def test_lines_and_blocks_are_taken_out_of_files(box):
    box.write("/etc/some.conf", "first\n")
    begin(box, a='[edit.line]\npath = "/etc/some.conf"\nline = "a line"\non_removal = "absent"\n'
                 '[edit.block]\npath = "/etc/some.conf"\nblock = "1\\n2\\n"\ncomment = ";"\non_removal = "absent"\n')
    assert box.read("/etc/some.conf") == ("first\na line\n; BEGIN agentd: block\n1\n2\n; END agentd: block\n")
    box.role("a", "")
    daemon.reload(box)
    gone(box, "edit:line", "edit:block")
    assert box.read("/etc/some.conf") == "first\n"


def test_a_line_that_another_state_has_now_stays(box):
    line = '[edit."{}"]\npath = "/etc/some.conf"\ncreate = true\nline = "a line"\non_removal = "absent"\n'
    begin(box, a=line.format("one"))
    box.role("a", line.format("two"))
    daemon.reload(box)
    wait_idle(box)
    assert set(states(box)) == {"edit:two"} and box.read("/etc/some.conf") == "a line\n"
    # And is the other one's: it is forgotten that it was somebody else's.
    box.role("a", line.format("two").replace('"absent"', '"keep"'))
    daemon.reload(box)
    wait_idle(box)
    box.role("a", "")
    daemon.reload(box)
    wait_idle(box)
    assert box.read("/etc/some.conf") == "a line\n"


def former(box, id_):
    """What a state was about before, and is to be removed: the id of that."""
    wait_until(lambda: [i for i in states(box) if i.startswith(f"{id_} (before ")], 30, f"{id_} is about something else")
    return [i for i in states(box) if i.startswith(f"{id_} (before ")][0]


def never_again(box, id_):
    wait_until(lambda: not [i for i in states(box) if i.startswith(f"{id_} (before ")], 30, "nothing of before is left")
    wait_idle(box)


CRON = '[cron.job]\nuser = "{}"\nspecial = "daily"\ncommand = "x"\non_removal = "absent"\n'


def test_a_job_that_is_another_users_now_is_taken_from_the_one_before(box):
    box.run("useradd -m ada; groupadd -f crontab; mkdir -p /var/spool/cron/crontabs; "
            "chgrp crontab /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs")
    begin(box, a=CRON.format("root"))
    assert "agentd cron: job" in box.read("/var/spool/cron/crontabs/root")
    box.agentctl("disable", "a test")
    box.role("a", CRON.format("ada"))
    daemon.reload(box)
    before = former(box, "cron:job")
    plan = daemon.plan(box)
    assert {id_: r["result"] for id_, r in plan.results.items()} == {"cron:job": "drifted", before: "drifted"}
    assert f"{before} (to be removed)" in box.agentctl("states").stdout
    n = last_event(box)
    box.agentctl("enable")
    wait_event(box, "state-changed", after=n, state=before, timeout=30)
    never_again(box, "cron:job")
    assert "agentd cron" not in box.read("/var/spool/cron/crontabs/root")
    assert "agentd cron: job" in box.read("/var/spool/cron/crontabs/ada")
    # Root may have one of that name now.
    job = "# agentd cron: job\n@daily mine\n# agentd end: job\n"
    box.write("/var/spool/cron/crontabs/root", job)
    daemon.reload(box)
    wait_idle(box)
    assert box.read("/var/spool/cron/crontabs/root") == job
    box.role("a", "")
    daemon.reload(box)
    gone(box, "cron:job")
    assert "agentd cron" not in box.read("/var/spool/cron/crontabs/ada")
    assert box.read("/var/spool/cron/crontabs/root") == job


LINE = '[edit.x]\npath = "{}"\ncreate = true\nline = "a line"\non_removal = "absent"\n'


def test_whatever_comes_in_between_all_that_it_was_about_is_removed(box, loop_ext4):
    loop_ext4("/srv/disk")
    paths = [f"/srv/disk/{name}" for name in "abc"]
    begin(box, a=LINE.format(paths[0]))
    box.run(f"chattr +i {paths[0]}")
    box.role("a", LINE.format(paths[1]))
    daemon.reload(box)
    before = former(box, "edit:x")
    wait_until(lambda: states(box).get(before) == "failed" and box.exists(paths[1]), 30, "it has moved")
    wait_idle(box)
    box.run(f"chattr +i {paths[1]}")
    daemon.kill(box)
    box.role("a", LINE.format(paths[2]))
    wait_until(lambda: daemon.main_pid(box) > 0 and box.api("GET", "/v1/status").status == 200, 30, "it is up")
    daemon.reload(box)
    wait_until(lambda: list(states(box).values()).count("failed") == 2 and box.exists(paths[2]), 30,
               "neither can be removed, and the third is made")
    assert all(box.read(path) == "a line\n" for path in paths)
    # The first one is what it is about again.
    box.role("a", LINE.format(paths[0]))
    box.run(f"chattr -i {' '.join(paths)}", check=False)
    daemon.reload(box)
    daemon.apply(box)
    never_again(box, "edit:x")
    assert [box.read(path) for path in paths] == ["a line\n", "", ""]
    assert set(states(box)) == {"edit:x"}
    box.role("a", "")
    daemon.reload(box)
    gone(box, "edit:x")
    assert box.read(paths[0]) == ""


def test_what_is_made_as_the_roles_before_say_is_removed_as_well(box):
    """A change that goes on when the roles change is finished."""
    begin(box, a=LINE.format("/etc/one"))
    box.role("a", LINE.format("/etc/two")
             + 'before_change = "touch /run/begun; while ! test -e /run/go; do sleep 0.1; done"\n')
    wait_until(lambda: box.exists("/run/begun"), 30, "the change has begun")
    box.role("a", LINE.format("/etc/three"))
    daemon.reload(box)
    box.write("/run/go", "")
    wait_until(lambda: box.exists("/etc/two"), 30, "it is done")
    wait_until(lambda: box.exists("/etc/three"), 30, "and so is the next one")
    never_again(box, "edit:x")
    wait_until(lambda: [box.read(f"/etc/{name}") for name in ("one", "two", "three")] == ["", "", "a line\n"], 30,
               "the last one counts")


def test_a_line_that_is_another_one_now_takes_its_place(box):
    line = '[edit.x]\npath = "/etc/some.conf"\nline = "a = {}"\nmatch = "^a = "\non_removal = "absent"\n'
    box.write("/etc/some.conf", "first\na = 0\nlast\n")
    begin(box, a=line.format(1))
    box.role("a", line.format(2))
    daemon.reload(box)
    never_again(box, "edit:x")
    assert box.read("/etc/some.conf") == "first\na = 2\nlast\n"
    assert not events(box, kind="state-failed")


def test_what_is_only_declared_otherwise_is_not_removed(box):
    directory = '[file."/srv/d"]\nensure = "directory"\non_removal = "absent"\n'
    begin(box, a=directory)
    box.role("a", directory + "force = true\n")
    daemon.reload(box)
    wait_idle(box)
    assert set(states(box)) == {"file:/srv/d"} and box.exists("/srv/d")
    box.write("/srv/d/mine", "")
    box.role("a", "")
    daemon.reload(box)
    gone(box, "file:/srv/d")
    assert not box.exists("/srv/d")


LOOP = """
[vars]
sites = [{}]
[file."/etc/sites/{{{{item}}}}.conf"]
for_each = "vars.sites"
content = "{{{{item}}}}\\n"
parents = {{ create = true }}
on_removal = "absent"
"""


def test_an_item_that_is_taken_out_of_a_list_takes_its_file_with_it(box):
    begin(box, a=LOOP.format('"one", "two", "three"'))
    assert box.run("ls /etc/sites").stdout.split() == ["one.conf", "three.conf", "two.conf"]
    box.role("a", LOOP.format('"one", "three"'))
    daemon.reload(box)
    gone(box, "file:/etc/sites/two.conf")
    assert box.run("ls /etc/sites").stdout.split() == ["one.conf", "three.conf"]


@pytest.mark.parametrize("deed", [
    "rm /etc/agentd/conf.d/a.toml",
    "sed -i '1i when = \"1 == 2\"' /etc/agentd/conf.d/a.toml",
    "sed -i '1i hosts = [\"other\"]' /etc/agentd/conf.d/a.toml",
    "ln -sf /dev/null /etc/agentd/conf.d/a.toml",
])
def test_so_it_is_when_the_role_goes_or_is_off(box, deed):
    begin(box, a=file("/etc/a"), b=file("/etc/b"))
    box.run(deed)
    daemon.reload(box)
    gone(box, "file:/etc/a")
    assert not box.exists("/etc/a") and box.exists("/etc/b")
    assert daemon.status(box)["roles"]["n_roles"] in (1, 2)


def test_so_it_is_when_an_override_takes_it_out(box):
    box.write("/etc/agentd/roles/base.toml", file("/etc/a"))
    begin(box, site='import = ["base"]\n')
    assert box.exists("/etc/a")
    box.role("site", 'import = ["base"]\n[override."file:/etc/a"]\nremove = true\n')
    daemon.reload(box)
    gone(box, "file:/etc/a")
    assert not box.exists("/etc/a")


def test_a_condition_that_is_false_removes_nothing(box):
    begin(box, a=file("/etc/a"))
    box.role("a", file("/etc/a", "when = \"exists('/nowhere')\"\n"))
    daemon.reload(box)
    wait_idle(box)
    assert box.exists("/etc/a") and states(box) == {"file:/etc/a": "skipped"}


def test_roles_with_errors_remove_nothing(box):
    begin(box, a=file("/etc/a"))
    box.role("a", "nonsense = [\n")
    assert box.api("POST", "/v1/reload").status == 422
    assert box.exists("/etc/a")


def test_a_removal_that_fails_is_tried_again(box, loop_ext4):
    loop_ext4("/srv/disk")
    begin(box, a=file("/srv/disk/a"))
    box.run("chattr +i /srv/disk/a")
    n = last_event(box)
    box.role("a", "")
    daemon.reload(box)
    wait_event(box, "state-failed", after=n, state="file:/srv/disk/a", timeout=30)
    wait_idle(box)
    state = daemon.state(box, "file:/srv/disk/a")
    assert state["removal"] is True and state["result"] == "failed" and state["role"] == "a"
    ctl = box.agentctl("states")
    assert "file:/srv/disk/a (to be removed)" in ctl.stdout
    # Also by a later process.
    daemon.restart(box)
    wait_idle(box)
    assert states(box) == {"file:/srv/disk/a": "failed"}
    box.run("chattr -i /srv/disk/a")
    daemon.apply(box)
    gone(box, "file:/srv/disk/a")
    assert not box.exists("/srv/disk/a")


def test_what_was_taken_out_while_no_agentd_ran_is_removed_when_one_does(box):
    begin(box, a=file("/etc/a"), b=file("/etc/b"))
    daemon.stop(box)
    box.role("a", "")
    box.run("rm /etc/agentd/conf.d/b.toml")
    start(box)
    gone(box, "file:/etc/a", "file:/etc/b")
    assert not box.exists("/etc/a") and not box.exists("/etc/b")


def test_agentd_may_be_killed_at_any_instant(box):
    daemon.set_unit(box, RestartSec="0")
    names = [f"/srv/many/{i}" for i in range(200)]
    begin(box, a='[file."/srv/many"]\nensure = "directory"\non_removal = "absent"\n' + "".join(map(file, names)))
    assert len(box.run("ls /srv/many").stdout.split()) == 200
    box.role("a", "")
    wait_until(lambda: not box.exists(names[0]) or not box.exists(names[-1]), 30, "it has begun")
    daemon.kill(box)
    wait_until(lambda: not box.exists("/srv/many"), 40, "all is removed")
    wait_until(lambda: daemon.main_pid(box) > 0 and box.api("GET", "/v1/status").status == 200, 30, "it is up")
    wait_until(lambda: states(box) == {}, 30, "nothing is left to remove")


def test_a_plan_shows_what_would_be_removed(box):
    begin(box, a=file("/etc/a") + file("/etc/b"))
    box.agentctl("disable", "a test")
    box.role("a", file("/etc/b"))
    daemon.reload(box)
    plan = daemon.plan(box)
    assert {id_: r["result"] for id_, r in plan.results.items() if r["result"] != "ok"} == {"file:/etc/a": "drifted"}
    assert {id_: r["removal"] for id_, r in plan.results.items()} == {"file:/etc/a": True, "file:/etc/b": False}
    said = box.agentctl("plan").stdout
    assert said.startswith("drifted  file:/etc/a (to be removed: no longer in any role)\n"), said
    assert box.exists("/etc/a")  # the host is disabled
    n = last_event(box)
    box.agentctl("enable")
    event = wait_event(box, "state-changed", after=n, state="file:/etc/a", timeout=30)
    gone(box, "file:/etc/a")
    assert not box.exists("/etc/a") and event["data"]["removal"] is True
    daemon.restart(box)  # from the store
    said = box.agentctl("run", str(event["run"])).stdout
    assert "changed  file:/etc/a (removed: no longer in any role)\n" in said, said


def test_a_run_with_variables_of_its_own_removes_nothing(box):
    begin(box, a=LOOP.format('"one", "two"'))
    assert box.agentctl("apply", "--var", 'sites=["one"]').returncode == 0
    wait_idle(box)
    assert box.exists("/etc/sites/two.conf")
    assert box.agentctl("apply", "--var", 'sites=["one", "two", "three"]').returncode == 0
    daemon.reload(box)
    wait_idle(box)
    assert box.run("ls /etc/sites").stdout.split() == ["one.conf", "three.conf", "two.conf"]


def test_what_is_only_audited_is_not_removed(box):
    begin(box, a=file("/etc/a"))
    daemon.settings(box, 'interval = "infinity"\nmode = "audit"\n')
    box.role("a", "")
    daemon.reload(box)
    wait_idle(box)
    assert states(box) == {"file:/etc/a": "drifted"} and box.exists("/etc/a")
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.reload(box)
    gone(box, "file:/etc/a")
    assert not box.exists("/etc/a")


def test_max_changes_stops_a_mass_of_removals(box):
    names = [f"/etc/many-{i}" for i in range(5)]
    begin(box, a="".join(map(file, names)))
    daemon.settings(box, 'interval = "infinity"\nmax_changes = 3\n')
    n = last_event(box)
    # An accident: nothing is left in conf.d.
    box.run("rm /etc/agentd/conf.d/a.toml")
    daemon.reload(box)
    event = wait_event(box, "run-refused", after=n, timeout=30)
    assert "it would change 5 states, and max_changes is 3" in event["message"]
    assert all(map(box.exists, names))
    box.role("a", "".join(map(file, names)))
    daemon.reload(box)
    wait_idle(box)
    assert all(map(box.exists, names)) and set(states(box)) == {f"file:{name}" for name in names}


def test_a_renamed_state_keeps_its_history_and_nothing_is_removed(box):
    begin(box, a=file("/etc/old"))
    box.write("/etc/old", "drifted\n")
    wait_until(lambda: len(daemon.state(box, "file:/etc/old")["history"]) == 2, 30, "it is healed")
    wait_idle(box)
    before = daemon.state(box, "file:/etc/old")
    box.role("a", file("/etc/new", 'was = "file:/etc/old"\n'))
    daemon.reload(box)
    wait_until(lambda: len(daemon.state(box, "file:/etc/new")["history"]) == 3, 30, "its history is there")
    wait_idle(box)
    assert set(states(box)) == {"file:/etc/new"} and box.exists("/etc/old")
    assert {e["run"] for e in daemon.state(box, "file:/etc/new")["history"]} > {e["run"] for e in before["history"]}
    # Events come after the results, in a step of their own.
    wait_until(lambda: not events(box, state="file:/etc/old") and len(events(box, state="file:/etc/new")) == 3, 30,
               "its events are there")
    # Once: what follows under the old name is another's.
    daemon.restart(box)
    wait_idle(box)
    assert len(daemon.state(box, "file:/etc/new")["history"]) == 3


def test_a_former_name_that_is_still_there_is_an_error(box):
    begin(box, a=file("/etc/old"))
    box.role("a", file("/etc/old") + file("/etc/new", 'was = "file:/etc/old"\n'))
    answer = box.api("POST", "/v1/reload")
    assert answer.status == 422
    assert "'file:/etc/old' is still declared at /etc/agentd/conf.d/a.toml:1:7" in json.dumps(answer.body)


def test_a_type_that_is_gone_is_told_and_waited_for(box):
    begin(box, a=file("/etc/a"))
    module = box.run("find / -xdev -name file.so -path '*agentd*'").stdout.split()[0]
    box.run(f"mv {module} {module}.away")
    box.role("a", "")
    outcome = daemon.reload(box)
    assert outcome["warnings"] == ["file:/etc/a is declared no more, and cannot be removed: there is no state type "
                                   "'file' that can be absent"]
    box.run(f"mv {module}.away {module}")
    daemon.reload(box)
    gone(box, "file:/etc/a")
    assert not box.exists("/etc/a")


PROGRAM = """#!/usr/bin/python3
import json, os, sys
P = [{"name": "ensure", "choices": ["present", "absent"], "default": "present"},
     {"name": "file", "path": True, "identifies": True}, {"name": "text", "default": "x"}]
for line in sys.stdin:
    ask = json.loads(line)
    if ask["request"] == "hello":
        types = [{"name": "note", "plan": True, "prepare": True, "parameters": P}]
        answer = {"name": "note", "version": "1", "protocol": 1, "types": types}
    else:
        answer = {"results": []}
        for state in ask["states"]:
            p, result = state["parameters"], {"index": state["index"]}
            if ask["request"] == "prepare":
                result |= {"errors": [{"message": "no file"}] if not p["file"] else [], "watch": {"paths": [p["file"]]}}
            else:
                is_, should = os.path.exists(p["file"]), p["ensure"] == "present"
                if ask["request"] == "apply" and is_ != should:
                    open(p["file"], "w").write(p["text"]) if should else os.unlink(p["file"])
                    is_ = should
                result["result"] = "ok" if is_ == should else "drifted"
                if is_ != should:
                    result["differences"] = [{"attribute": "ensure", "is": is_, "should": should}]
            answer["results"].append(result)
    print(json.dumps(answer), flush=True)
"""


def test_programs_as_modules_take_it_as_well(box):
    box.write("/etc/agentd/modules/note", PROGRAM, mode=0o755)
    begin(box, a="".join(f'[note.{n}]\nfile = "/etc/note-{n}"\ntext = "{n}"\non_removal = "absent"\n' for n in "abc"))
    assert box.read("/etc/note-b") == "b"
    box.role("a", '[note.a]\nfile = "/etc/note-a"\n')
    daemon.reload(box)
    gone(box, "note:b", "note:c")
    assert box.run("ls /etc/note-*").stdout.split() == ["/etc/note-a"]


def test_a_single_run_removes_nothing(box):
    box.role("a", file("/etc/a"))
    assert box.agentd_once().summary["changed"] == 1
    box.role("a", "")
    assert box.agentd_once().returncode == 0
    assert box.exists("/etc/a")
