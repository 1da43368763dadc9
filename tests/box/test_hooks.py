# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hooks: commands of a role that run before, after and because of what is done to a state."""

import pytest

import daemon
from box import PATIENCE, wait_until
from hooks import LOG, NAMES, file, hooks, one, said
from once import errors, results

WAIT = PATIENCE
OTHERS = NAMES[1:]  # before_check cannot write


# ---- A single run ------------------------------------------------------------------------------------------------


def test_the_order_of_a_change_and_of_a_check(box):
    box.role("role", file(more=hooks(*NAMES) + "check_as_root = true\n"))
    assert one(box.agentd_once())["result"] == "changed"
    assert said(box) == ["before_check", "before_change", "after_change changed", "on_success changed",
                         "after_check changed"]
    assert one(box.agentd_once())["result"] == "ok"
    assert said(box) == ["before_check", "after_check ok"]


def test_a_program_with_arguments_gets_them_as_they_are(box):
    box.role("role", file(more='on_success = ["/usr/bin/touch", "/srv/a b;c"]\n'))
    assert one(box.agentd_once())["result"] == "changed"
    assert box.exists("/srv/a b;c")


def test_what_hooks_are_told(box):
    box.role("role", file(more='before_change = "env > /srv/env"\n'))
    assert one(box.agentd_once())["result"] == "changed"
    environment = dict(line.split("=", 1) for line in box.read("/srv/env").splitlines())
    assert environment["AGENTD_STATE"] == "file:/srv/f" and environment["AGENTD_HOOK"] == "before_change"
    assert int(environment["AGENTD_RUN"]) > 0
    assert "AGENTD_RESULT" not in environment


def test_before_check_is_told_too(box):
    box.role("role", file(more='before_check = "echo $AGENTD_STATE $AGENTD_HOOK ${AGENTD_RUN:+run} >&2; false"\n'))
    assert one(box.agentd_once())["error"] == ("its before_check: it exited with status 1: file:/srv/f before_check "
                                               "run")


@pytest.mark.parametrize("command,error", [
    ("echo no room >&2; exit 3", "it exited with status 3: no room"),
    ("kill -9 $$", "it was killed by SIGKILL"),
    ("sleep 1000", "it did not end within "),
    (["/nonexistent/program"], "'/nonexistent/program' could not be executed: "),
], ids=["status", "signal", "timeout", "missing"])
@pytest.mark.parametrize("hook", ["before_check", "before_change", "after_change"])
def test_hooks_that_decide(box, hook, command, error):
    # Those that are beside one that hangs have no more time than it has.
    box.role("role", file(more=hooks(*OTHERS, **{hook: command}) + ('timeout = "6s"\n' if "sleep" in command else "")))
    result = one(box.agentd_once())
    assert result["error"].startswith(f"its {hook}: {error}")
    assert result["result"] == ("blocked" if hook == "before_check" else "failed")
    assert box.exists("/srv/f") == (hook == "after_change")
    assert said(box) == {
        "before_check": [],
        "before_change": ["on_failure failed", "after_check failed"],
        "after_change": ["before_change", "on_failure failed", "after_check failed"],
    }[hook]


@pytest.mark.parametrize("hook,good", [("on_success", True), ("on_failure", False), ("after_check", True)])
def test_hooks_that_decide_nothing(box, hook, good):
    box.role("role", file(path="/srv/f" if good else "/proc/agentd/f", more=hooks(**{hook: "echo dead >&2; exit 7"})))
    done = box.agentd_once()
    assert one(done)["result"] == ("changed" if good else "failed")
    assert f"The hook {hook} of {one(done)['state']} went wrong: it exited with status 7: dead" in done.stderr
    [entry] = box.journal("AGENTD_EVENT=hook-failed")
    assert entry["AGENTD_STATE"] == one(done)["state"] and entry["AGENTD_ROLE"] == "role"


def test_after_a_change_that_failed(box):
    box.role("role", '[exec.it]\nshell = "false"\ncreates = "/srv/x"\n' + hooks(*OTHERS))
    assert one(box.agentd_once())["result"] == "failed"
    assert said(box) == ["before_change", "after_change failed", "on_failure failed", "after_check failed"]


def test_a_check_that_fails_has_hooks_too(box):
    box.role("role", '[exec.it]\nshell = "true"\nunless = ["/nonexistent"]\n' + hooks(*OTHERS))
    assert one(box.agentd_once())["result"] == "failed"
    assert said(box) == ["on_failure failed", "after_check failed"]


def test_what_is_skipped_has_none(box):
    box.role("role", file(more=hooks(*OTHERS, before_check="false") + 'when = "1 == 2"\n'))
    assert box.agentd_once().summary["skipped"] == 1
    assert said(box) == []


def test_what_is_audited_is_not_changed_by_hooks_either(box):
    box.role("role", file(more=hooks(*OTHERS, before_check="true") + "audit = true\n") +
             file("/srv/g", more="audit = true\nbefore_check = \"false\"\n"))
    done = box.agentd_once()
    assert results(done) == {"file:/srv/f": "drifted", "file:/srv/g": "blocked"}
    assert said(box) == ["after_check drifted"]


def test_a_plan_runs_only_before_check_and_that_cannot_write(box):
    box.role("role", file(more=hooks(*OTHERS, before_check="touch /srv/by-hook; test ! -e /srv/by-hook")) +
             file("/srv/g", more='before_check = "false"\n'))
    done = box.agentd_once("--plan")
    assert results(done) == {"file:/srv/f": "drifted", "file:/srv/g": "blocked"}
    assert said(box) == [] and not box.exists("/srv/by-hook")


def test_before_check_cannot_write_in_an_apply_either(box):
    box.role("role", file(more='before_check = "touch /srv/by-hook; test ! -e /srv/by-hook"\n'))
    assert one(box.agentd_once())["result"] == "changed"
    assert not box.exists("/srv/by-hook")


def test_in_a_plan_what_a_change_before_may_mend_is_unknown(box):
    box.role("role", file("/srv/first") + file(more='before_check = "test -e /srv/first"\nrequires = ["file:/srv/first"]\n'))
    assert results(box.agentd_once("--plan")) == {"file:/srv/first": "drifted", "file:/srv/f": "unknown"}
    assert results(box.agentd_once()) == {"file:/srv/first": "changed", "file:/srv/f": "changed"}


def test_a_run_that_would_change_too_much_runs_no_hook(box):
    box.write("/etc/agentd/agentd.toml", "max_changes = 1\n")
    box.role("role", file(more=hooks(*OTHERS)) + file("/srv/g", more=hooks(*OTHERS)))
    assert results(box.agentd_once()) == {"file:/srv/f": "drifted", "file:/srv/g": "drifted"}
    assert said(box) == []
    box.write("/etc/agentd/agentd.toml", "max_changes = 2\n")
    assert set(results(box.agentd_once()).values()) == {"changed"}
    assert len(said(box)) == 8


def test_who_depends_on_it_waits_for_its_hooks(box):
    box.role("role", file(more=hooks(after_check=f"sleep 0.5; echo hook >> {LOG}")) +
             f'[exec.next]\nshell = "echo next >> {LOG}; touch /srv/next"\ncreates = "/srv/next"\nrequires = ["file:/srv/f"]\n')
    assert set(results(box.agentd_once()).values()) == {"changed"}
    assert said(box) == ["hook", "next"]


def test_who_depends_on_what_a_hook_has_failed_is_blocked(box):
    box.role("role", "".join(
        file(f"/srv/{hook}", more=hooks(**{hook: "false"})) +
        file(f"/srv/{hook}-next", more=f'requires = ["file:/srv/{hook}"]\n')
        for hook in ("before_check", "before_change", "after_change")))
    done = box.agentd_once()
    assert errors(done)["file:/srv/before_check-next"] == "required file:/srv/before_check blocked"
    assert errors(done)["file:/srv/before_change-next"] == "required file:/srv/before_change failed"
    assert errors(done)["file:/srv/after_change-next"] == "required file:/srv/after_change failed"
    assert done.summary["blocked"] == 4


def test_many_of_a_batch_are_not_taken_for_a_worker_that_hangs(box):
    """Together they take longer than the timeout of any of them."""
    box.role("role", "".join(file(f"/srv/{i}", more='before_check = "sleep 0.6"\ntimeout = "6s"\n') for i in range(12)) +
             "".join(file(f"/srv/n{i}", more='timeout = "6s"\n') for i in range(12)))
    done = box.agentd_once(timeout=90)
    assert done.summary["changed"] == 24, done
    assert "worker" not in done.stderr, done.stderr


def test_one_that_hangs_in_before_check_is_alone_in_that(box):
    box.role("role", "".join(file(f"/srv/{i}", more='timeout = "6s"\nbefore_check = "' +
                                  ("sleep 1000" if i == 2 else "true") + '"\n') for i in range(5)))
    done = box.agentd_once(timeout=60)
    assert done.summary["changed"] == 4 and done.summary["blocked"] == 1, done


def test_edits_of_one_file_with_hooks_between_them(box):
    box.write("/srv/conf", "")
    box.role("role", "".join(
        f'[edit.e{i}]\npath = "/srv/conf"\nline = "line {i}"\n' + hooks(**({"before_change": "sleep 0.2",
                                                                           "after_change": "sleep 0.1"} if i % 2 else {}))
        for i in range(6)))
    done = box.agentd_once(timeout=60)
    assert done.summary["changed"] == 6, done
    assert sorted(box.read("/srv/conf").split("\n")) == sorted([f"line {i}" for i in range(6)] + [""])
    assert box.agentd_once().summary["ok"] == 6


def test_many_hooks_at_a_time(box):
    box.role("role", "".join(file(f"/srv/{i}", more=hooks("before_change", "on_success")) for i in range(100)))
    done = box.agentd_once(timeout=120)
    assert done.summary["changed"] == 100, done
    assert sorted(said(box)) == ["before_change"] * 100 + ["on_success changed"] * 100


def test_hooks_of_a_sensitive_state_show_nothing(box):
    box.role("role", file(more="sensitive = true\n" + hooks(
        after_change="echo s3cret; echo s3cret >&2; false # s3cret-argument")))
    done = box.agentd_once()
    assert one(done)["error"] == "its after_change: it exited with status 1"
    assert "s3cret" not in done.stderr + str(done.results)
    assert not any("s3cret" in entry.get("MESSAGE", "") for entry in box.journal())


def test_output_of_hooks_is_in_the_journal_under_the_state(box):
    box.role("role", file(more=hooks(on_success="echo it said so")))
    assert one(box.agentd_once())["result"] == "changed"
    box.wait_journal("AGENTD_STATE=file:/srv/f", where=lambda e: e["MESSAGE"] == "it said so", timeout=WAIT)


def test_in_a_tree_hooks_are_confined_to_it(box):
    box.run("mkdir /srv/tree && cd /srv/tree && mkdir -p usr/bin usr/lib usr/lib64 etc/agentd/conf.d dev proc tmp && "
            "ln -s usr/bin usr/lib usr/lib64 . && cp /usr/bin/dash usr/bin/sh && "
            "ldd /usr/bin/dash | grep -o '/lib[^ ]*' | xargs cp -L --parents -t .")
    box.write("/srv/tree/etc/agentd/conf.d/role.toml", file("/f", more=hooks(
        before_check="test ! -e /srv/tree", after_change="echo here > /by-hook")))
    done = box.agentd_once("--root", "/srv/tree")
    assert one(done)["result"] == "changed", done
    assert box.read("/srv/tree/by-hook") == "here\n" and not box.exists("/by-hook")


# ---- The daemon --------------------------------------------------------------------------------------------------


def test_the_daemon_runs_them_in_units_of_their_own(box):
    daemon.start(box)
    seen = daemon.last_event(box)
    box.role("role", file(more=hooks(*OTHERS, after_change=f"echo ${{INVOCATION_ID:+unit}} >> {LOG}")))
    event = daemon.wait_event(box, "state-changed", after=seen, state="file:/srv/f", timeout=WAIT)
    daemon.wait_idle(box, WAIT)
    lines = said(box)
    assert lines[:2] == ["before_change", "unit"], lines
    assert lines[2:4] == ["on_success changed", "after_check changed"]
    assert event["data"]["error"] is None


def test_the_daemon_tells_of_a_hook_that_went_wrong(box):
    daemon.start(box)
    seen = daemon.last_event(box)
    box.role("role", file(more=hooks(on_success="echo dead >&2; exit 7")))
    event = daemon.wait_event(box, "hook-failed", after=seen, timeout=WAIT)
    assert event["state"] == "file:/srv/f" and event["run"] > 0 and event["result"] is None
    assert event["data"] == {"hook": "on_success", "explanation": "it exited with status 7: dead"}
    daemon.wait_idle(box, WAIT)
    assert daemon.states(box)["file:/srv/f"] in ("changed", "ok")


def test_a_state_whose_hook_runs_is_shown_and_held(box):
    box.run("mkfifo /srv/go")
    daemon.start(box)
    box.role("role", file(more=hooks(on_success="read x < /srv/go")))
    status = daemon.wait_status(box, lambda s: any("file:/srv/f" in r["progress"]["running"] for r in s["runs"]
                                                   if r["progress"]), WAIT)
    assert status["runs"]
    box.run("echo x > /srv/go")
    daemon.wait_idle(box, WAIT)
    assert daemon.states(box)["file:/srv/f"] in ("changed", "ok")


def test_a_stop_waits_for_hooks_and_runs_those_that_belong_to_a_change(box):
    box.run("mkfifo /srv/go")
    daemon.start(box)
    box.role("role", file(more=hooks("after_change", "on_success", "after_check",
                                     before_change="touch /srv/begun; read x < /srv/go")))
    wait_until(lambda: box.exists("/srv/begun"), WAIT, "the hook is begun")
    box.run("systemctl stop --no-block agentd")
    wait_until(lambda: daemon.prop(box, "ActiveState") == "deactivating", WAIT, "agentd stops")
    box.run("echo x > /srv/go")
    wait_until(lambda: daemon.prop(box, "ActiveState") == "inactive", WAIT, "agentd has stopped")
    assert said(box) == ["after_change changed", "on_success changed", "after_check changed"]
    assert box.read("/srv/f") == "new\n"


def test_a_hook_goes_on_when_agentd_is_killed_and_the_state_waits_for_its_end(box):
    box.run("mkfifo /srv/go")
    daemon.start(box)
    box.role("role", file(more=hooks(before_change="touch /srv/begun; read x < /srv/go; echo done >> /srv/count")))
    wait_until(lambda: box.exists("/srv/begun"), WAIT, "the hook is begun")
    daemon.kill(box)
    wait_until(lambda: daemon.main_pid(box) != 0, WAIT, "agentd is there again")
    wait_until(lambda: box.run(["curl", "-sf", "--unix-socket", daemon.SOCKET, "http://localhost/v1/status"],
                               check=False).returncode == 0, WAIT, "it answers")
    seen = daemon.last_event(box)
    assert not box.exists("/srv/f")
    box.run("echo x > /srv/go")
    # Its own comes once the first is over.
    box.run("echo x > /srv/go", timeout=WAIT)
    daemon.wait_event(box, "state-changed", after=seen, state="file:/srv/f", timeout=WAIT)
    assert box.read("/srv/count") == "done\ndone\n"


def test_what_drifts_is_repaired_with_its_hooks(box):
    daemon.start(box)
    box.role("role", file(more=hooks(*OTHERS, before_check="true")))
    daemon.wait_event(box, "state-changed", state="file:/srv/f", timeout=WAIT)
    daemon.wait_idle(box, WAIT)
    said(box)
    seen = daemon.last_event(box)
    box.write("/srv/f", "other\n")
    daemon.wait_event(box, "state-changed", after=seen, state="file:/srv/f", timeout=WAIT)
    # It is looked at once more for what agentd itself has changed, before or after that.
    lines = [line for line in said(box) if line != "after_check ok"]
    assert lines[:4] == ["before_change", "after_change changed", "on_success changed", "after_check changed"], lines
