# SPDX-License-Identifier: LGPL-2.1-or-later
"""retries and retry_delay: a state that has failed is tried again in the same run."""

import daemon
from box import wait_until
from hooks import LOG, file, hooks, one, said, third_time_lucky
from once import errors, results

WAIT = 30
TWICE = "retries = 2\nretry_delay = 1\n"


def tries(box, name="it"):
    return box.read(f"/srv/tries-{name}").count("x")


def test_the_third_attempt_goes_well(box):
    box.role("role", third_time_lucky(more=TWICE) + file(more='requires = ["exec:it"]\n'))
    done = box.agentd_once(timeout=60)
    assert results(done) == {"exec:it": "changed", "file:/srv/f": "changed"}, done
    assert errors(done)["exec:it"] is None and tries(box) == 3
    first, second = box.journal("AGENTD_EVENT=state-retried")
    assert first["MESSAGE"].startswith("exec:it failed (attempt 1 of 3), again in 1s: ")
    assert second["MESSAGE"].startswith("exec:it failed (attempt 2 of 3), again in 1s: ")
    assert first["AGENTD_STATE"] == "exec:it" and first["AGENTD_RESULT"] == "failed"
    assert "exec:it failed (attempt 1 of 3), again in 1s" in done.stderr


def test_all_attempts_fail(box):
    box.role("role", third_time_lucky(more="retries = 1\nretry_delay = 1\n" + hooks("on_failure", "before_change", "after_change")) +
             file(more='requires = ["exec:it"]\n'))
    done = box.agentd_once(timeout=60)
    assert results(done) == {"exec:it": "failed", "file:/srv/f": "blocked"}
    assert errors(done)["exec:it"].endswith(" (2 attempts)") and tries(box) == 2
    assert said(box) == ["before_change", "after_change failed"] * 2 + ["on_failure failed"]


def test_without_retries_there_is_one_attempt(box):
    box.role("role", third_time_lucky(more="retries = 0\n"))
    assert "attempt" not in one(box.agentd_once())["error"]
    assert tries(box) == 1


def test_a_plan_does_not_try_again(box):
    box.role("role", '[exec.it]\nshell = "true"\nunless = ["/nonexistent"]\n' + TWICE)
    done = box.agentd_once("--plan")
    assert one(done)["result"] == "failed" and "attempt" not in one(done)["error"]


def test_a_check_that_fails_is_tried_again(box):
    box.role("role", '[exec.it]\nshell = "true"\nunless = ["/nonexistent"]\nretries = 1\nretry_delay = 1\n')
    assert one(box.agentd_once(timeout=60))["error"].endswith("No such file or directory (2 attempts)")


def test_what_a_hook_has_failed_is_tried_again(box):
    count = "echo x >> /srv/n; test $(wc -l < /srv/n) -ge 2"
    box.role("role", file(more=TWICE + hooks("after_change", before_change=count)))
    assert one(box.agentd_once(timeout=60))["result"] == "changed"
    assert said(box) == ["after_change changed"]


def test_a_change_of_an_earlier_attempt_is_a_change(box):
    """The second attempt finds it as declared: after_change is what is left to do."""
    box.role("role", file(more=TWICE + hooks("before_change", "on_success", after_change=(
        f"echo again >> {LOG}; echo x >> /srv/n; test $(wc -l < /srv/n) -ge 2"))))
    result = one(box.agentd_once(timeout=60))
    assert result["result"] == "changed" and result["error"] is None
    assert {d["attribute"] for d in result["differences"]} >= {"content"}
    assert said(box) == ["before_change", "again", "again", "on_success changed"]


def test_what_is_blocked_is_not_tried_again(box):
    box.role("role", file(more=TWICE + hooks(before_check="false")))
    assert one(box.agentd_once())["error"] == "its before_check: it exited with status 1"


def test_others_do_not_wait(box):
    """The one that fails needs what another makes, which does not wait for it."""
    box.role("role", '[exec.a]\nshell = "test -e /srv/g && touch /srv/a"\ncreates = "/srv/a"\nretries = 20\nretry_delay = 1\n' +
             file("/srv/f", more='requires = ["exec:b"]\n') +
             '[exec.b]\nshell = "touch /srv/b /srv/g"\ncreates = "/srv/b"\nrequires = ["file:/srv/first"]\n' + file("/srv/first"))
    done = box.agentd_once(timeout=60)
    assert set(results(done).values()) == {"changed"}, done


def test_the_end_of_a_run_that_waits_is_the_failure(box):
    daemon.start(box)
    seen = daemon.last_event(box)
    box.role("role", third_time_lucky(more='retries = 3\nretry_delay = "1h"\n' + hooks("on_failure")))
    event = daemon.wait_event(box, "state-retried", after=seen, timeout=WAIT)
    assert event["state"] == "exec:it" and event["result"] == "failed"
    assert {k: event["data"][k] for k in ("attempt", "attempts", "delay_usec")} == {
        "attempt": 1, "attempts": 4, "delay_usec": 3600 * 1000000}
    run = daemon.wait_status(box, lambda s: any("exec:it" in r["progress"]["running"] for r in s["runs"]
                                                if r["progress"]), WAIT)["runs"][0]
    answer = box.api("DELETE", f"/v1/runs/{run['run']}")
    assert answer.status in (200, 202, 204), answer
    daemon.wait_idle(box, WAIT)
    assert daemon.states(box) == {"exec:it": "failed"} and tries(box) == 1
    assert said(box) == ["on_failure failed"]


def test_another_run_may_have_a_state_that_waits(box):
    daemon.start(box)
    seen = daemon.last_event(box)
    box.role("role", third_time_lucky(more='retries = 3\nretry_delay = "1h"\n'))
    daemon.wait_event(box, "state-retried", after=seen, timeout=WAIT)
    box.write("/srv/tries-it", "x\nx\n")
    with daemon.following(box, f"/v1/events?after={seen}&follow=true&kind=state-changed") as stream:
        box.api("POST", "/v1/runs", {"mode": "apply", "states": ["exec:it"]})
        assert stream.next(WAIT)["state"] == "exec:it"
    assert box.exists("/srv/made-it")


def test_a_stop_of_agentd_does_not_wait_for_the_next_attempt(box):
    daemon.start(box)
    seen = daemon.last_event(box)
    box.role("role", third_time_lucky(more='retries = 3\nretry_delay = "1h"\n'))
    daemon.wait_event(box, "state-retried", after=seen, timeout=WAIT)
    daemon.stop(box)
    assert daemon.prop(box, "Result") == "success" and tries(box) == 1


LATER = 'retries = 3\nretry_delay = "1h"\n'


def test_the_next_run_over_everything_does_not_wait_for_an_attempt(box):
    """It tries the state itself, and ends the run that waits."""
    box.role("role", third_time_lucky(more=LATER + hooks("on_failure")))
    daemon.settings(box, 'interval = "1s"\njitter = "0s"\n')
    daemon.start(box)
    daemon.wait_event(box, "state-changed", state="exec:it", timeout=WAIT)
    assert tries(box) == 3
    ended = lambda: [e for e in daemon.events(box, kind="run-finished") if e["data"]["summary"]["failed"]]
    wait_until(lambda: len(ended()) == 2, WAIT, "both runs that waited are over")
    assert said(box) == ["on_failure failed"] * 2 and daemon.events(box, kind="run-interrupted") == []


def test_what_was_made_right_meanwhile_has_not_failed(box):
    box.role("role", third_time_lucky(more=LATER + hooks("on_failure")))
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    first = daemon.wait_event(box, "state-retried", timeout=WAIT)["run"]
    box.write("/srv/made-it", "")
    daemon.apply(box, "exec:it", timeout=WAIT)
    assert daemon.states(box) == {"exec:it": "ok"}
    daemon.settings(box, 'interval = "1s"\njitter = "0s"\n')
    daemon.reload(box)
    wait_until(lambda: daemon.status(box)["last_run"]["cause"] == "interval", WAIT, "a run over everything")
    assert daemon.states(box) == {"exec:it": "ok"} and said(box) == []
    assert [r["run"] for r in daemon.status(box)["runs"] if r["run"] == first] == [first]


def test_what_waits_for_an_attempt_is_healed(box):
    box.write("/srv/ok", "")
    box.role("role", '[exec.it]\nshell = "test -e /srv/ok"\nunless = ["/usr/bin/test", "-e", "/srv/ok"]\n' + LATER +
             file(more='requires = ["exec:it"]\n'))
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    wait_until(lambda: box.exists("/srv/f"), WAIT, "it is made")
    daemon.wait_idle(box)
    box.run("rm /srv/ok")
    box.api("POST", "/v1/runs", {"mode": "apply"})
    daemon.wait_event(box, "state-retried", timeout=WAIT)
    box.run("rm /srv/f")
    wait_until(lambda: box.exists("/srv/f"), WAIT, "it is there again")


def test_an_upgrade_does_not_wait_for_an_attempt(box):
    box.role("role", third_time_lucky(more=LATER + hooks("on_failure")))
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    daemon.wait_event(box, "state-retried", timeout=WAIT)
    before, pid = daemon.status(box)["started"], daemon.main_pid(box)
    box.run("cp /usr/sbin/agentd /usr/sbin/agentd.new && mv /usr/sbin/agentd.new /usr/sbin/agentd")
    daemon.wait_status(box, lambda s: s["started"] != before, timeout=WAIT)
    assert daemon.main_pid(box) == pid
    # The new one tries again, and so on.
    wait_until(lambda: tries(box) == 2, WAIT, "the next attempt")
    assert said(box) == ["on_failure failed"]
    assert daemon.events(box, kind="run-interrupted") == []


def test_runs_that_wait_for_an_attempt_leave_room_for_others(box):
    box.role("role", third_time_lucky(more=LATER).replace("-ge 3", "-ge 99"))
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    daemon.wait_event(box, "state-retried", timeout=WAIT)
    for _ in range(9):
        run = daemon.reload(box)["run"]
        daemon.wait_event(box, "state-retried", run=run, timeout=WAIT)
    box.role("other", file())
    wait_until(lambda: box.exists("/srv/f"), WAIT, "what has nothing to do with it is made")


def test_a_single_run_is_told_to_stop(box):
    box.role("role", third_time_lucky(more='retries = 3\nretry_delay = "1h"\n'))
    box.run("systemd-run --unit=single --service-type=exec sh -c 'agentd --once --json > /srv/out'")
    wait_until(lambda: box.exists("/srv/tries-it") and box.journal("AGENTD_EVENT=state-retried"), WAIT, "the first attempt")
    box.run("systemctl kill --signal=TERM single")
    wait_until(lambda: daemon.prop(box, "ActiveState", "single") in ("inactive", "failed"), WAIT, "it ends")
    assert '"failed"' in box.read("/srv/out") and tries(box) == 1


def test_the_service_is_not_woken_by_what_no_longer_waits(box):
    """What has gone well in the end is as any other state."""
    daemon.start(box)
    seen = daemon.last_event(box)
    box.role("role", third_time_lucky(more=TWICE))
    daemon.wait_event(box, "state-changed", after=seen, state="exec:it", timeout=WAIT)
    daemon.wait_idle(box, WAIT)
    assert daemon.apply(box, timeout=WAIT).results["exec:it"]["result"] == "ok"


def test_repairs_that_wait_for_an_attempt_leave_room_for_others(box):
    dirs = [f"/srv/{i}" for i in range(5)]
    box.run(["mkdir"] + dirs)
    box.role("role", "".join(file(path + "/f", more=LATER) for path in dirs) + file())
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    wait_until(lambda: all(box.exists(path) for path in [d + "/f" for d in dirs] + ["/srv/f"]), WAIT, "all is made")
    daemon.wait_idle(box)
    for path in dirs:
        seen = daemon.last_event(box)
        box.run(["mv", path, path + "-away"])
        daemon.wait_event(box, "state-retried", after=seen, state=f"file:{path}/f", timeout=WAIT)
    box.run("rm /srv/f")
    wait_until(lambda: box.exists("/srv/f"), WAIT, "it is there again")


def test_what_is_touched_while_it_waits_is_tried_less_and_less_often(box):
    """Each attempt is a run that waits."""
    box.run("mkdir /srv/d")
    box.role("role", file("/srv/d/f", more=LATER))
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    wait_until(lambda: box.exists("/srv/d/f"), WAIT, "it is made")
    daemon.wait_idle(box)
    box.run("mv /srv/d /srv/away")
    tried = lambda: daemon.events(box, kind="state-retried")
    wait_until(tried, WAIT, "the first attempt")
    box.run("for i in $(seq 100); do ln -s nowhere /srv/d; sleep 0.01; rm /srv/d; done", timeout=300)
    assert len(tried()) < 50
    box.run("mv /srv/away /srv/d; rm -f /srv/d/f")
    wait_until(lambda: box.exists("/srv/d/f"), 4 * WAIT, "it is there again")


def test_what_drifts_in_the_middle_of_an_attempt_is_healed_when_the_run_only_waits(box):
    box.run("touch /srv/ok /srv/second; echo x >/srv/other")
    box.role("role", '[exec.it]\nshell = "test -e /srv/ok"\nunless = ["/usr/bin/test", "-e", "/srv/ok"]\n' + LATER +
             '[exec.second]\nshell = """\ntest -e /srv/begin || exit 1\ntouch /srv/begun\n'
             'while ! test -e /srv/go; do sleep 0.1; done\ntouch /srv/second\n"""\n'
             'creates = "/srv/second"\nwatch = false\nretries = 100\nretry_delay = "2s"\n' + file(more='requires = ["exec:it"]\n') +
             '[file."/srv/other"]\ncontent = "x\\n"\naudit = true\n')
    daemon.settings(box, 'interval = "infinity"\n')
    daemon.start(box)
    wait_until(lambda: box.exists("/srv/f"), WAIT, "it is made")
    daemon.wait_idle(box)
    box.run("rm /srv/ok /srv/second")
    box.api("POST", "/v1/runs", {"mode": "apply"})
    for state in ("exec:it", "exec:second"):
        daemon.wait_event(box, "state-retried", state=state, timeout=WAIT)
    box.write("/srv/begin", "")
    wait_until(lambda: box.exists("/srv/begun"), WAIT, "the attempt")
    seen = daemon.last_event(box)
    box.run("rm /srv/f /srv/other")
    daemon.wait_event(box, after=seen, state="file:/srv/other", timeout=WAIT)
    assert not box.exists("/srv/f")
    box.write("/srv/go", "")
    wait_until(lambda: box.exists("/srv/f"), WAIT, "it is there again")
