#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentctl, verb by verb: what it asks, what it shows, what it exits with. Called as fake_agentd.py says."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time

from fake_agentd import (AGENTCTL, DAY, DEADLINE, DIAGNOSTIC, DIAGNOSTIC_TEXT, HOUR, MODE, Handler, Terminal, at, broken_status, ctl,
                         environment, event, follow, pages, result, run, run_tests, serve, state, status, summary)


# ---- Tests: looking ----------------------------------------------------------------------------------------------

def test_status_shows_what_agentd_is_doing():
    with serve({"GET /v1/status": status()}) as server:
        done = ctl(server, "status")
    assert done.status == 0 and done.err == "", done
    assert done.out.startswith("● agentd 1 on web1\n"), done
    for line in ("       State: idle (started 4 days ago, pid 612)",
                 "       Roles: 3 roles, 41 states, loaded 5 days ago", "      States: 41 ok",
                 "    Next run: in 20h", "       Store: /var/lib/agentd/store.db (80.0K)"):
        assert line in done.out.splitlines(), (line, done)
    assert "Disabled" not in done.out and "Watches" not in done.out


def test_status_shows_trouble():
    failed = [state("file:/a", "failed", "no such user"), state("file:/b", "blocked", "file:/a failed")]
    trouble = broken_status(
        states={"none": 2, **summary(ok=36, failed=1, blocked=1)},
        disabled={"reason": "holi\x1bdays", "by": "root", "since": at(4.5 * DAY), "until": None},
        runs=[{**run(8), "finished": None, "progress": {"done": 12, "total": 41, "running": ["file:/a"]}}],
        last_run={**run(7, failed=1), "error": "it was stopped"},
        watches={"paths": 1, "units": 1, "signals": 0, "errors": ["the bus\x1b is gone", "no watches"]},
        store={"path": "/var/lib/agentd/store.db", "error": "disk full", "size_bytes": 1})
    with serve({"GET /v1/status": trouble, "GET /v1/states": pages(failed)}) as server:
        done = ctl(server, "status")
        terminal = Terminal(server, "status").finish()
    assert done.status == 0, done
    for text in ("holi?days (by root, 4 days ago, until it is enabled)", "the last load failed with 1 error", "36 ok, 1 failed",
                 "2 not looked at yet", "8 (apply, request)", "12 of 41 states", "it was stopped", "disk full",
                 "     Watches: the bus? is gone\n     Watches: no watches\n",
                 DIAGNOSTIC_TEXT, "failed   file:/a\n    no such user\n", "blocked  file:/b\n"):
        assert text in done.out, (text, done)
    assert "\x1b[33mholi?days" in terminal.out and "\x1b[31mfailed  \x1b[0m file:/a" in terminal.out, terminal


def test_status_as_json_is_the_object():
    with serve({"GET /v1/status": status()}) as server:
        for arguments in (("--json", "status"), ("status", "--json")):
            done = ctl(server, *arguments)
            assert done.status == 0 and done.lines() == [status()], done
            assert list(done.lines()[0]) == list(status()), "the order of keys"
        done = ctl(server, "-q", "status")
        assert (done.status, done.out) == (0, ""), done


def test_status_of_what_has_nulls_everywhere():
    with serve({"GET /v1/status": {key: None for key in status()}}) as server:
        done = ctl(server, "status")
    assert done.status == 0 and "none are loaded" in done.out, done


def test_states_is_a_table():
    items = [state("file:/etc/motd"), state("file:/srv/日本", "failed", "no"), state("user:ada", None)]
    with serve({"GET /v1/states": pages(items)}) as server:
        done = ctl(server, "states")
        assert done.status == 0 and done.out == (
            "RESULT  SINCE       CHECKED  ROLE  STATE           ERROR\n"
            "ok      4 days ago  20h ago  web   file:/etc/motd  -\n"
            "failed  4 days ago  20h ago  web   file:/srv/日本  no\n"
            "-       -           20h ago  web   user:ada        -\n"), done
        done = ctl(server, "states", "-q")
        assert done.out.startswith("ok "), done


def test_states_follows_all_pages():
    items = [state(f"file:/{n}") for n in range(250)]
    with serve({"GET /v1/states": pages(items, 100)}) as server:
        done = ctl(server, "states", "--json")
        assert done.lines() == items, done
        assert len(server.requests) == 3
        assert len(ctl(server, "states").out.splitlines()) == 251


def test_states_asks_for_what_is_wanted():
    with serve({"GET /v1/states": pages([state("file:/a", "failed"), state("file:/b", "blocked")])}) as server:
        for arguments, queries in (
                ((), [{}]),
                (("--result", "failed"), [{"result": "failed"}]),
                (("--result=ok", "--type", "file", "--role=we b&"), [{"result": "ok", "type": "file", "role": "we b&"}]),
                (("--failed",), [{"result": "failed"}, {"result": "blocked"}]),
                (("--tag", "web", "a*"), [{"tag": "web", "match": "a*"}]),
                (("file:/etc/*", "user:ä?"), [{"match": "file:/etc/*"}, {"match": "user:ä?"}])):
            server.requests.clear()
            done = ctl(server, "states", *arguments)
            assert done.status == 0, done
            asked = [{key: value for key, value in request[2].items() if key != "limit"} for request in server.requests]
            assert asked == queries, asked
        done = ctl(server, "states", "--json", "a", "b")
        assert len(done.lines()) == 2, "each state once"


def test_states_that_are_not_there_are_said():
    with serve({"GET /v1/states": pages([])}) as server:
        done = ctl(server, "states", "x")
        assert (done.status, done.out, done.err) == (0, "", "agentctl: There are no such states\n"), done
        assert ctl(server, "states").err == "agentctl: There are no states: no role declares one\n"
        assert ctl(server, "states", "--failed").err == "agentctl: No such state has failed, or is blocked\n"
        assert ctl(server, "states", "--json", "x").err == ""


def test_states_on_a_narrow_terminal_are_cut():
    items = [state("file:/" + "x" * 300, "failed", "y" * 300), state("file:/日本日本日本日本日本日本日本日本日本日本", "ok")]
    with serve({"GET /v1/states": pages(items)}) as server:
        done = Terminal(server, "states", columns=60).finish()
    lines = re.sub(r"\x1b\[\d*m", "", done.out).splitlines()
    assert len(lines) == 3 and all("…" in line for line in lines[1:2]), done
    width = lambda text: sum(2 if ord(c) > 0x2e80 else 1 for c in text)
    assert max(map(width, lines)) <= 60, lines
    assert "\x1b[1mRESULT\x1b[0m" in done.out and "\x1b[31mfailed\x1b[0m" in done.out, done


def test_no_colour_if_that_is_wanted():
    with serve({"GET /v1/states": pages([state("file:/a", "failed")])}) as server:
        for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            assert "\x1b" not in Terminal(server, "states", **more).finish().out


DETAILS = {**state("file:/etc/motd", "failed", "no space"), "file": "/etc/agentd/conf.d/motd.toml", "line": 5, "column": 1,
           "audit": True, "sensitive": False, "check_as_root": False, "timeout_usec": 120000000,
           "tags": ["web", "tls"], "requires": ["user:www", "group:www"], "required_by": ["service:x"],
           "watches": [{"kind": "path", "what": "/etc/motd"}],
           "history": [{"run": 7, "time": "2026-11-21T13:32:00.123456Z", "result": "changed", "differences": [MODE],
                        "error": None},
                       {"run": 6, "time": "2026-11-21T13:31:00.123456Z", "result": "failed", "differences": [],
                        "error": "no\x1b space"}]}


def test_show_has_all_that_is_known():
    with serve({"GET /v1/states/file:/etc/motd": DETAILS}) as server:
        done = ctl(server, "show", "file:/etc/motd")
        assert done.status == 0 and done.err == "", done
        for line in ("● file:/etc/motd", "        Role: web (/etc/agentd/conf.d/motd.toml:5:1)", "       Error: no space",
                     "     Checked: 20h ago", "     Changed: never", "     Timeout: 2min", "    Settings: audit",
                     "        Tags: web, tls", "    Requires: user:www", "              group:www",
                     " Required by: service:x", "       About: path /etc/motd", "    mode: 0600 → 0644",
                     "TIME                 RUN  RESULT   WHAT", "2026-11-21 13:32:00    7  changed  mode",
                     "2026-11-21 13:31:00    6  failed   no? space"):
            assert line in done.out.splitlines(), (line, done)
        assert ctl(server, "show", "file:/etc/motd", "--json").lines() == [DETAILS]


def test_show_has_what_was_set_and_no_defaults():
    hooks = [{"hook": "before_check", "command": ["/bin/sh", "-c", "echo \x1b \"a\""]}, {"hook": "on_failure", "command": None}]
    name = "file:/etc/motd"
    with serve({f"GET /v1/states/{name}": {
            **DETAILS, "interval_usec": 300000000, "retries": 3, "retry_delay_usec": 10000000, "hooks": hooks, "watch": False,
            "check_on": ["user:a", "user:b"], "reload_on": ["file:/r"], "restart_on": ["file:/s"]}}) as server:
        done = ctl(server, "show", name)
    assert done.status == 0 and (
        "     Timeout: 2min\n    Interval: 5min\n     Retries: 3, each after 10s\n    Settings: audit, watch = false\n") in done.out, done
    assert ("    Check on: user:a\n              user:b\n   Reload on: file:/r\n  Restart on: file:/s\n"
            '       Hooks: before_check ["/bin/sh", "-c", "echo \\u001B \\"a\\""]\n              on_failure <sensitive>\n'
            "       About: ") in done.out, done
    defaults = {"interval_usec": None, "retries": 0, "retry_delay_usec": None, "hooks": [], "watch": True, "check_on": [],
                "reload_on": [], "restart_on": []}
    with serve({f"GET /v1/states/{name}": {**DETAILS, **defaults}}) as server:
        done = ctl(server, "show", name)
    for word in ("Interval", "Retries", "watch", "Check on", "Reload on", "Restart on", "Hooks"):
        assert word not in done.out, (word, done)


def test_show_of_an_id_with_anything_in_it():
    name = "file:/a b/ä%2f?x=1&y#z;[1]/../.."
    with serve({f"GET /v1/states/{name}": state(name)}) as server:
        done = ctl(server, "show", name, "--json")
    assert done.status == 0 and done.lines()[0]["state"] == name, done


def test_show_of_what_is_not_there_exits_with_2():
    with serve({"GET /v1/states/file:/x": (404, "not-found", "there is no state 'file:/x'; did you mean 'file:/y'?")}) as server:
        done = ctl(server, "show", "file:/x")
    assert (done.status, done.out) == (2, ""), done
    assert done.err == "agentctl: error: there is no state 'file:/x'; did you mean 'file:/y'?\n", done


def place(line):
    return {"file": "/etc/agentd/conf.d/web.toml", "line": line, "column": 1}


def explanation(name, **more):
    return {"state": name, "status": None, "explanation": {
        "state": name, "type": "file", "name": name.split(":", 1)[1], "place": place(5), "names": [], "module": "/m/file.so",
        "role": {"name": "web", "path": "/etc/agentd/conf.d/web.toml", "applied": True, "imported": []}, "sensitive": False,
        "audit": None, "for_each": None, "when": None, "settings": [], "requires": [], "n_requires": 0, "required_by": [],
        "n_required_by": 0, **more}}


EXPLANATION = {**explanation(
    "file:/etc/motd",
    when={"text": "vars.a and exists('/x\x1b')", "becomes": "exists('/x\x1b')", "by": "override", "role": "site", "value": None,
          "place": place(9), "names": []},
    audit={"by": "role", "role": "web", "place": place(1)},
    settings=[{"name": "content", "value": "a\n\x1b[31m", "by": "state", "role": None, "place": place(6), "names": [
        {"name": "vars.a", "value": None, "kind": "an array of 3", "by": "vars.d", "role": None, "place": place(2)}]}],
    requires=[{"state": "user:www", "why": "setting", "setting": "requires", "text": "user:*", "place": place(7)}],
    n_requires=5), "status": {
        "result": "blocked", "error": "user:www failed", "since": "2026-11-21T13:32:00.123456Z", "checked": None, "changed": None,
        "blocked_by": [{"state": "user:www", "result": "failed", "error": "no\x1b room"}], "fight": True,
        "disabled": {"reason": "holidays", "by": "root", "since": "2026-11-21T13:32:00.123456Z", "until": None}}}


def test_explain_says_why():
    with serve({"GET /v1/states/file:/etc/motd/explain": EXPLANATION}) as server:
        done = ctl(server, "explain", "file:/etc/motd")
        assert done.status == 0 and done.err == "", done
        for line in ("● file:/etc/motd", "    Declared: /etc/agentd/conf.d/web.toml:5:1",
                     "        When: vars.a and exists('/x?') (overridden by role 'site', /etc/agentd/conf.d/web.toml:9:1)",
                     "              is told at each check: exists('/x?')",
                     "     Audited: only checked, never repaired: mode of role 'web', /etc/agentd/conf.d/web.toml:1:1",
                     "  Blocked by: user:www, failed: no? room",
                     "       Fight: it has to be repaired again and again, so it is repaired less often",
                     "    Disabled: nothing is changed on this host: holidays (root)",
                     '  content = "a\\n\\u001B[31m"                   /etc/agentd/conf.d/web.toml:6:1',
                     "      vars.a: an array of 3                   variable of this host, /etc/agentd/conf.d/web.toml:2:1",
                     '  user:www                                    requires "user:*", /etc/agentd/conf.d/web.toml:7:1',
                     "  … and 4 more"):
            assert line in done.out.splitlines(), (line, done)
        assert re.search(r"^      Result: blocked, since .* ago: user:www failed$", done.out, re.MULTILINE), done
        assert ctl(server, "explain", "file:/etc/motd", "--json").lines() == [EXPLANATION]


def test_explain_of_several_and_of_globs():
    routes = {f"GET /v1/states/{name}/explain": explanation(name) for name in ("file:/a", "file:/b", "user:x")}
    with serve({**routes, "GET /v1/states": pages([state("file:/a"), state("file:/b")])}) as server:
        done = ctl(server, "explain", "user:x", "file:/*")
        assert done.status == 0 and [line for line in done.out.splitlines() if line.startswith("●")] == [
            "● user:x", "● file:/a", "● file:/b"], done
        assert "\n\n● file:/a\n" in done.out and "not in force: no run has looked at these roles yet" in done.out, done


def test_explain_of_what_is_not_there_exits_with_2():
    routes = {"GET /v1/states": pages([]),
              "GET /v1/states/file:/x/explain": (404, "not-found", "there is no state 'file:/x'; did you mean 'file:/y'?"),
              "GET /v1/states/file:/z*/explain": (404, "not-found", "there is no state 'file:/z*'"),
              "GET /v1/states/file:/y/explain": explanation("file:/y")}
    with serve(routes) as server:
        done = ctl(server, "explain", "file:/x", "file:/y")
        assert done.status == 2 and done.out.startswith("● file:/y\n"), done
        assert done.err == "agentctl: error: there is no state 'file:/x'; did you mean 'file:/y'?\n", done
        done = ctl(server, "explain", "file:/z*")
        assert (done.status, done.out, done.err) == (2, "", "agentctl: error: there is no state 'file:/z*'\n"), done


def test_runs_is_a_table():
    items = [{**run(9), "started": None, "finished": None, "progress": None},
             {**run(8), "finished": None, "progress": {"done": 1, "total": 2, "running": []}},
             {**run(7, ok=40, changed=1), "progress": None}, {**run(6, "plan", "it was stopped", failed=1), "progress": None}]
    with serve({"GET /v1/runs": pages(items, 3)}) as server:
        done = ctl(server, "runs")
        assert done.status == 0 and done.out == (
            "RUN  MODE   CAUSE    STARTED              TOOK  RESULT\n"
            "  9  apply  request  -                       -  waits\n"
            "  8  apply  request  2026-11-21 13:32:00     -  1 of 2 states\n"
            "  7  apply  request  2026-11-21 13:32:00  34ms  40 ok, 1 changed\n"
            "  6  plan   request  2026-11-21 13:32:00  34ms  1 failed; it was stopped\n"), done
        assert ctl(server, "runs", "--json").lines() == items


def test_run_shows_results_and_then_the_run():
    results = [result("file:/a", "changed", differences=[MODE]), result("file:/b", "failed", "no")]
    what = {**run(7, ok=1, changed=1, failed=1), "progress": None}
    with serve({"GET /v1/runs/7": what, "GET /v1/runs/7/results": pages(results, 1)}) as server:
        done = ctl(server, "run", "7")
        assert done.status == 0 and done.out.startswith("Run 7 (apply, request), started 2026-11-21 13:32:00 ("), done
        assert done.out.endswith("\nchanged  file:/a\n    mode: 0600 → 0644\nfailed   file:/b\n    no\n"
                                 "3 states: 1 ok, 1 changed, 1 failed (34ms)\n"), done
        assert ctl(server, "run", "--json", "7").lines() == [*results, what]
        for word in ("x", "-1", "", "7/results", "7x"):
            done = ctl(server, "run", "--", word)
            assert done.status == 2 and done.out == "", done


def test_run_can_be_stopped():
    with serve({"DELETE /v1/runs/7": run(7)}) as server:
        done = ctl(server, "run", "--stop", "7")
        assert done.status == 0 and "7 stops" in done.out, done
        assert server.requests[-1][:2] == ("DELETE", "/v1/runs/7")
        assert ctl(server, "run", "--stop", "7", "--json").lines() == [run(7)]
        assert ctl(server, "run", "--stop", "8").status == 2
    with serve({"DELETE /v1/runs/7": lambda handler: handler.answer(204, b"")}) as server:
        assert ctl(server, "run", "--stop", "7", "--json").status == 0


FACTS = {"os": {"id": "debian", "version": 12}, "hostname": "web1", "net": {"eth0.7": {"up": True}, "list": [{"a": 1}, 2]},
         "empty": {}, "bad": "a\x1b]0;x\x07\nb", "words": ["a", "b"], "null": None}


def test_facts_are_found_by_name():
    with serve({"GET /v1/facts": FACTS}) as server:
        done = ctl(server, "facts")
        assert done.status == 0 and done.out == (
            "os.id = debian\nos.version = 12\nhostname = web1\nnet.eth0.7.up = true\nnet.list.0.a = 1\nnet.list.1 = 2\n"
            "empty = {}\nbad = a?]0;x??b\nwords = [\"a\",\"b\"]\nnull = null\n"), done
        assert ctl(server, "facts", "--json").lines() == [FACTS]
        for name, text, value in (
                ("os.id", "debian\n", "debian"), ("facts.os.id", "debian\n", "debian"),
                ("os", "os.id = debian\nos.version = 12\n", FACTS["os"]), ("net.eth0.7.up", "true\n", True),
                ("net.list.0.a", "1\n", 1), ("words.1", "b\n", "b"), ("null", "null\n", None)):
            done = ctl(server, "facts", name)
            assert (done.status, done.out) == (0, text), (name, done)
            assert ctl(server, "facts", name, "--json").lines() == [value]
        for name in ("o", "os.", ".os", "os.id.x", "net.list.9", "net.list.x", "net.list.18446744073709551616"):
            done = ctl(server, "facts", name)
            assert done.status == 2 and done.out == "" and f"'{name}'" in done.err, (name, done)
        assert "did you mean 'hostname'?" in ctl(server, "facts", "hostnam").err


# ---- Tests: runs -------------------------------------------------------------------------------------------------

def printed(objects):
    """What a run prints of them."""
    return [{key: value for key, value in thing.items() if key != "undo"} for thing in objects]


def test_apply_shows_results_as_they_come():
    objects = [result("file:/a"), result("file:/b", "changed", differences=[{**MODE, "diff": "@@\n-a\n+b\n"}]),
               {"progress": {"run": 7, "done": 1, "total": 3, "running": ["file:/c"]}}, result("file:/c", "skipped"),
               run(7, ok=1, changed=1, skipped=1)]
    with serve(follow(*objects)) as server:
        done = ctl(server, "apply")
        assert (done.status, done.err) == (0, ""), done
        assert done.out == "changed  file:/b\n    mode: 0600 → 0644\n3 states: 1 ok, 1 changed, 1 skipped (34ms)\n", done
        done = ctl(server, "apply", "--diff", "-v")
        assert done.out == ("ok       file:/a\nchanged  file:/b\n    mode: 0600 → 0644\n    @@\n    -a\n    +b\n"
                            "skipped  file:/c\n3 states: 1 ok, 1 changed, 1 skipped (34ms)\n"), done
        assert ctl(server, "apply", "--json").lines() == printed(objects[n] for n in (0, 1, 3, 4)), "no progress"
        done = ctl(server, "apply", "-q")
        assert (done.status, done.out, done.err) == (0, "", ""), done


def test_plan_and_apply_ask_for_what_is_wanted():
    with serve(follow(run())) as server:
        for arguments, wanted in (
                (("apply",), {"mode": "apply"}),
                (("plan",), {"mode": "plan"}),
                (("plan", "--diff", "file:/a", "user:*"), {"mode": "plan", "diff": True, "states": ["file:/a", "user:*"]}),
                (("apply", "--only-failed"), {"mode": "apply", "only_failed": True}),
                (("plan", "--tag", "web", "--diff", "a:b", "--tag=db"),
                 {"mode": "plan", "diff": True, "states": ["a:b"], "tags": ["web", "db"]}),
                (("plan", "--var", "a=b", "--var=c=d=e"), {"mode": "plan", "vars": ["a=b", "c=d=e"]}),
                (("apply", "--", "--diff"), {"mode": "apply", "states": ["--diff"]})):
            assert ctl(server, *arguments).status == 0
            # Before: whether agentd answers at all. After: what is wrong with the roles.
            assert [request[0] for request in server.requests[-3:]] == ["GET", "POST", "GET"]
            method, path, query, body = server.requests[-2]
            assert (method, path, query) == ("POST", "/v1/runs", {"follow": "true"})
            expected = {"only_failed": False, "diff": False, "progress": True, **wanted}
            assert body == expected, body


def test_bad_variables_start_no_run():
    with serve(follow(run())) as server:
        for bad in ("port", "=81"):
            done = ctl(server, "plan", "--var", bad)
            assert done.status == 2 and done.err == f"agentctl: error: --var '{bad}' is not NAME=VALUE; see agentctl plan --help\n", done
        assert ctl(server, "plan", "--var", b"a=\xff").status == 2 and server.requests == []
        assert ctl(server, "plan", "--tag", "").err == "agentctl: error: --tag is empty; see agentctl plan --help\n"
        assert ctl(server, "plan", "--tag", b"\xff").status == 2 and server.requests == []


def test_roles_that_are_wrong_with_variables_are_shown():
    problem = lambda handler: handler.problem(
        422, "invalid-roles", "with these variables the roles have 1 error; nothing was done",
        diagnostics=[DIAGNOSTIC])
    with serve({"GET /v1/status": status(), "POST /v1/runs": problem}) as server:
        done = ctl(server, "apply", "--var", "port=x")
        assert (done.status, done.err) == (2, DIAGNOSTIC_TEXT), done


def test_variables_that_nobody_reads_are_warned_of():
    warnings = {"warnings": ["--var prot: no role reads it; did you mean 'port'?", "b\x1bd"]}
    with serve(follow(warnings, result("file:/a"), run(ok=1))) as server:
        for verb in ("plan", "apply"):
            done = ctl(server, verb, "--var", "prot=1")
            assert (done.status, done.out) == (0, "1 state: 1 ok (34ms)\n"), done
            assert done.err == "warning: --var prot: no role reads it; did you mean 'port'?\nwarning: b?d\n", done
        done = ctl(server, "plan", "--var", "prot=1", "--json")
        assert [list(line)[0] for line in done.lines()] == ["state", "run"] and done.err.startswith("warning: --var prot"), done
        done = ctl(server, "plan", "--var", "prot=1", "-q")
        assert (done.status, done.out, done.err) == (0, "", ""), done
    with serve(follow({"warnings": "x"}, run(ok=1))) as server:
        assert ctl(server, "plan").status == 3


def test_runs_show_the_names_of_variables():
    with serve({"GET /v1/runs": {"items": [run(vars=("port", "name"), ok=3)], "next": None},
                "GET /v1/runs/7": run(vars=("port",), ok=3), "GET /v1/runs/7/results": {"items": [], "next": None}}) as server:
        assert "request with port, name" in ctl(server, "runs").out
        assert "Run 7 (apply, request with port)" in ctl(server, "run", "7").out


def test_a_state_that_is_not_utf_8_starts_no_run():
    with serve(follow(run())) as server:
        for verb in ("plan", "apply"):
            done = ctl(server, verb, b"file:/\xff", "file:/a")
            assert done.status == 2 and "UTF-8" in done.err and server.requests == [], done


def test_exit_status_of_runs():
    drifted = result("file:/a", "drifted", differences=[MODE])
    audit = {"GET /v1/states/file:/a": {**DETAILS, "audit": True}}
    plain = {"GET /v1/states/file:/a": {**DETAILS, "audit": False}}
    load_failed = {"GET /v1/status": broken_status()}
    stopped = run(error="it was stopped", ok=1)
    for verb, arguments, objects, more, expected in (
            ("apply", (), [run(ok=1)], {}, 0),
            ("apply", (), [result("file:/a", "failed", "no"), run(failed=1)], {}, 1),
            ("apply", (), [run(blocked=1)], {}, 1),
            ("apply", (), [stopped], {}, 1),
            ("apply", (), [run(ok=1)], load_failed, 2),
            ("apply", (), [run(failed=1)], load_failed, 1),
            ("plan", (), [drifted, run(drifted=1)], plain, 0),
            ("plan", ("--check",), [drifted, run(drifted=1)], plain, 4),
            ("plan", ("--check",), [drifted, run(drifted=1)], audit, 0),
            ("plan", ("--check",), [drifted, run(drifted=1)], {}, 4),
            ("plan", ("--check",), [result("file:/a", "unknown"), run(unknown=1)], plain, 4),
            ("plan", ("--check",), [drifted, run(drifted=1, failed=1)], plain, 1),
            ("plan", ("--check",), [drifted, run(drifted=1)], {**load_failed, **plain}, 2),
            ("plan", ("--check",), [run(ok=3)], {}, 0)):
        for form in ((), ("--json",), ("-q",)):
            with serve({**follow(*objects), **more}) as server:
                done = ctl(server, verb, *arguments, *form)
            assert done.status == expected, (verb, arguments, objects, expected, done)
            assert (DIAGNOSTIC_TEXT in done.err) == ("GET /v1/status" in more), done
            if form == ("--json",):
                assert done.lines() == printed(objects), done
            if form == ():
                assert ("(34ms)\nThe run did not go through: it was stopped\n" in done.out) == (objects == [stopped]), done


def test_a_failed_state_has_its_place():
    objects = [result("file:/etc/motd", "failed", "no \x1b[2Jspace"), run(failed=1)]
    with serve({**follow(*objects), "GET /v1/states/file:/etc/motd": DETAILS}) as server:
        done = ctl(server, "apply")
    assert done.status == 1 and done.out == (
        "failed   file:/etc/motd\n    /etc/agentd/conf.d/motd.toml:5:1\n    no ?[2Jspace\n1 state: 1 failed (34ms)\n"), done


def test_a_failed_removal_is_written_nowhere():
    objects = [result("file:/etc/motd", "failed", "no space"), run(failed=1)]
    gone = {**DETAILS, "file": "", "line": 0, "column": 0, "removal": True}
    with serve({**follow(*objects), "GET /v1/states/file:/etc/motd": gone}) as server:
        done = ctl(server, "apply")
    assert done.status == 1 and done.out == "failed   file:/etc/motd\n    no space\n1 state: 1 failed (34ms)\n", done


def test_refusals_of_runs():
    for status_code, kind, expected in ((409, "conflict", 1), (429, "too-many", 1), (503, "not-ready", 3), (400, "bad-request", 2),
                                        (404, "not-found", 2), (403, "forbidden", 3), (500, "internal", 1)):
        with serve({**follow(), "POST /v1/runs": (status_code, kind, "it is\x9b disabled\nreally")}) as server:
            done = ctl(server, "apply")
        assert (done.status, done.out) == (expected, ""), done
        assert done.err == "agentctl: error: it is?? disabled?really\n", done
    with serve({"GET /v1/status": broken_status(), "POST /v1/runs": (403, "forbidden", "this needs root")}) as server:
        done = ctl(server, "apply")
        assert done.status == 3 and "this needs root" in done.err, done
    with serve({"GET /v1/status": broken_status(), "POST /v1/runs": (503, "not-ready", "no roles have been loaded yet")}) as server:
        assert ctl(server, "apply").status == 2


def test_a_run_that_breaks_off():
    def breaks_off(*objects, how):
        def route(handler):
            handler.begin_stream()
            for item in objects:
                handler.push(item)
            how(handler)
        return route

    for how in (Handler.break_off, Handler.end_stream):
        for objects in ([result("file:/a", "changed")], [b'{"state": "file:/a", "res'],
                        [{"progress": {"run": 7, "done": 1, "total": 2, "running": []}}]):
            with serve({**follow(), "POST /v1/runs": breaks_off(*objects, how=how)}) as server:
                for form in ((), ("--json",)):
                    done = ctl(server, "apply", *form)
                    assert done.status == 3 and done.err.count("\n") == 1 and "broke off" in done.err, done
    # The end was said, which is enough.
    with serve({**follow(), "POST /v1/runs": breaks_off(run(ok=1), how=Handler.break_off)}) as server:
        assert ctl(server, "apply").status == 0


def test_a_problem_ends_a_stream():
    problem = {"type": "urn:agentd:too-many", "title": "Too slow", "status": 429, "detail": "you read too slowly"}
    with serve(follow(result("file:/a", "changed"), problem)) as server:
        done = ctl(server, "apply")
    assert done.status == 1 and "you read too slowly" in done.err and done.out.startswith("changed"), done


def test_results_are_seen_at_once_and_progress_after_a_second():
    seen = threading.Event()

    def route(handler):
        handler.begin_stream()
        handler.push(result("file:/a", "changed"))
        for n in range(100):
            handler.push({"progress": {"run": 7, "done": 12, "total": 41, "running": ["file:/s\x1brv/a", "file:/b"]}})
            if seen.wait(0.1):
                break
        handler.push(run(ok=40, changed=1))
        handler.end_stream()

    with serve({**follow(), "POST /v1/runs": route}) as server:
        terminal = Terminal(server, "apply", columns=80)
        terminal.read_until("changed .* file:/a")
        assert b"12 of" not in terminal.both
        terminal.read_until(r"12 of 41 states · file:/s\?rv/a \(1s\), file:/b")
        seen.set()
        done = terminal.finish()
        assert done.status == 0 and "\r\x1b[K\x1b[1m41 states" in done.out, done
        seen.clear()
        terminal = Terminal(server, "apply", columns=20)
        terminal.read_until("12 of 41 states ·")
        seen.set()
        terminal.finish()
        assert b"\r\x1b[K12 of 41 states \xc2\xb7\xe2\x80\xa6" in terminal.both or "…".encode() in terminal.both, terminal.both


def test_ctrl_c_stops_the_run_and_twice_leaves():
    stopped, go_on = threading.Event(), threading.Event()

    def route(handler):
        handler.begin_stream()
        if go_on.wait(0.3):
            return
        handler.push({"progress": {"run": 7, "done": 1, "total": 2, "running": []}})
        assert stopped.wait(DEADLINE)
        go_on.wait(DEADLINE)
        handler.push(run(error="it was stopped", ok=1))
        handler.end_stream()

    def stop(handler):
        stopped.set()
        handler.answer(200, run())

    with serve({**follow(), "POST /v1/runs": route, "DELETE /v1/runs/7": stop}) as server:
        terminal = Terminal(server, "apply")
        while not any(request[0] == "POST" for request in server.requests):
            time.sleep(0.01)
        terminal.interrupt()  # the number is not known yet
        terminal.read_until("goes on until what is under way has finished")
        assert stopped.wait(DEADLINE)
        go_on.set()
        done = terminal.finish()
        assert done.status == 1 and "through: it was stopped" in done.out, done

        stopped.clear()
        go_on.clear()
        terminal = Terminal(server, "apply")
        terminal.read_until("1 of 2 states")
        terminal.interrupt()
        assert stopped.wait(DEADLINE)
        terminal.interrupt()
        assert terminal.finish().status == -signal.SIGINT
        go_on.set()

    # There is no run yet that could be stopped.
    go_on.clear()
    with serve({"GET /v1/status": lambda handler: go_on.wait(DEADLINE)}) as server:
        terminal = Terminal(server, "apply")
        while not server.requests:
            time.sleep(0.01)
        begun = time.monotonic()
        terminal.interrupt()
        assert terminal.finish().status == -signal.SIGINT and time.monotonic() - begun < DEADLINE / 2
        go_on.set()


# ---- Tests: steering ---------------------------------------------------------------------------------------------

def test_reload():
    answer = {"n_roles": 1, "n_states": 4, "changed": True, "run": 8, "n_run_states": 3, "diagnostics": [], "warnings": ["a: unknown key 'b'"]}
    with serve({"POST /v1/reload": answer}) as server:
        done = ctl(server, "reload")
        assert (done.status, done.out) == (0, "4 states in 1 role, in force; run 8 looks at 3 of them\n"), done
        assert done.err == "warning: a: unknown key 'b'\n", done
        assert ctl(server, "reload", "--json").lines() == [answer]
        assert ctl(server, "-q", "reload").out == ""
    with serve({"POST /v1/reload": {**answer, "changed": False, "run": None, "n_run_states": 0}}) as server:
        assert ctl(server, "reload").out == "4 states in 1 role, nothing is different\n"


def test_reload_that_is_refused():
    refused = lambda handler: handler.problem(422, "invalid-roles", "the roles have errors",
                                              diagnostics=[DIAGNOSTIC, {**DIAGNOSTIC, "line": None, "column": None},
                                                           {"file": None, "line": None, "column": None, "message": "b\x1bd"}])
    with serve({"POST /v1/reload": refused}) as server:
        done = ctl(server, "reload")
        assert (done.status, done.out) == (2, ""), done
        assert done.err == (DIAGNOSTIC_TEXT + "/etc/agentd/conf.d/web.toml: error: unknown key 'contnet'\n"
                            "error: b?d\n"), done
        done = ctl(server, "reload", "--json")
        assert done.status == 2 and done.lines()[0]["diagnostics"][0] == DIAGNOSTIC, done
    with serve({"POST /v1/reload": (422, "invalid-roles", "the loader crashed")}) as server:
        done = ctl(server, "reload")
        assert done.status == 2 and "the loader crashed" in done.err, done


def test_disable_and_enable():
    def disable(handler):
        handler.answer(200, {"reason": handler.body["reason"], "by": "root", "since": at(),
                             "until": "2026-11-21T15:32:00.000000Z" if handler.body["for"] else None})

    with serve({"POST /v1/disable": disable, "POST /v1/enable": {"disabled": None}}) as server:
        done = ctl(server, "disable", "testing", "by\x1b hand", "--for", "2h")
        assert (done.status, done.out) == (0, "Disabled until 2026-11-21 15:32:00: testing by? hand\n"), done
        assert server.requests[-1][3] == {"reason": "testing by\x1b hand", "for": "2h"}
        done = ctl(server, "disable", "x")
        assert done.out == "Disabled until it is enabled: x\n" and server.requests[-1][3]["for"] is None, done
        assert ctl(server, "disable", "x", "--json").lines()[0]["reason"] == "x"
        n = len(server.requests)
        for arguments in ((), ("--for", "soon", "x"), ("--for=-1s", "x"), ("--for", "2h"), ("--for",)):
            done = ctl(server, "disable", *arguments)
            assert done.status == 2 and done.err.count("\n") == 1, done
        assert len(server.requests) == n, "nothing was sent"
        assert ctl(server, "enable").out == "Enabled\n"
        assert ctl(server, "enable", "--json").lines() == [{"disabled": None}]


def test_log_level():
    with serve({"GET /v1/log-level": {"level": "info"},
                "PUT /v1/log-level": lambda handler: handler.answer(200, handler.body)}) as server:
        assert ctl(server, "log-level").out == "info\n"
        assert ctl(server, "log-level", "debug").out == "debug\n"
        assert server.requests[-1][3] == {"level": "debug"}
        assert ctl(server, "log-level", "debug", "--json").lines() == [{"level": "debug"}]
        assert ctl(server, "log-level", "a", "b").status == 2


# ---- Tests: watch ------------------------------------------------------------------------------------------------

def watch_routes(events, coming, wait=None):
    def route(handler):
        after = int(handler.query.get("after", 0))
        if handler.query.get("follow") != "true":
            handler.answer(200, {"items": [item for item in events if item["event"] > after][:2],
                                 "next": str([item for item in events if item["event"] > after][1]["event"])
                                 if sum(item["event"] > after for item in events) > 2 else None})
        else:
            handler.begin_stream()
            for item in coming:
                if item["event"] > after:
                    handler.push(item)
            handler.server.ended.wait(DEADLINE)
    return {"GET /v1/events": route}


@contextlib.contextmanager
def watching(server, *arguments):
    process = subprocess.Popen([AGENTCTL, "watch", *arguments], env=environment(server.path), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)


def read_lines(stream, n):
    """n lines, or what came within the deadline."""
    lines = []
    deadline = time.monotonic() + DEADLINE
    buffer = b""
    while len(lines) < n and time.monotonic() < deadline:
        if select.select([stream], [], [], 0.1)[0]:
            data = os.read(stream.fileno(), 65536)
            buffer += data
            lines = buffer.decode().splitlines()
            if not data:
                break
    return lines


def test_watch_shows_events_as_they_come():
    coming = [event(1, "state-changed", "Changed \x1bfile:/a: mode", data=result("file:/a", "changed", differences=[MODE])),
              event(2, "state-failed", "Failed"), event(3, "surprise", "New")]
    with serve(watch_routes([], coming)) as server, watching(server) as process:
        assert read_lines(process.stdout, 4) == [
            "Nov 21 13:32:00  state-changed    Changed ?file:/a: mode", "    mode: 0600 → 0644",
            "Nov 21 13:32:00  state-failed     Failed", "Nov 21 13:32:00  surprise         New"]
        assert server.requests[0][2] == {"follow": "true"}
    for arguments, expected in (("--failed",), [2]), (("--changed",), [1]), (("--failed", "--changed"), [1, 2]), ((), [1, 2, 3]):
        with serve(watch_routes([], coming)) as server, watching(server, "--json", *arguments) as process:
            lines = [json.loads(line) for line in read_lines(process.stdout, len(expected))]
            assert lines == [coming[n - 1] for n in expected], lines


def test_watch_catches_up_by_pages():
    events = [event(n, "started") for n in range(1, 8)]
    with serve(watch_routes(events, events + [event(8, "stopped")])) as server, watching(server, "--json", "--after", "2") as process:
        lines = [json.loads(line)["event"] for line in read_lines(process.stdout, 6)]
        assert lines == [3, 4, 5, 6, 7, 8], lines
        assert [request[2].get("after") for request in server.requests] == ["2", "4", "6", "7"], server.requests
        assert server.requests[-1][2]["follow"] == "true"
    # A stream that begins before what the pages had.
    def overlap(handler):
        if "follow" in handler.query:
            handler.stream(*events, event(8, "stopped"), event(8, "stopped"))
        else:
            handler.answer(200, {"items": events[2:] if int(handler.query["after"]) < 3 else [], "next": None})

    with serve({"GET /v1/events": overlap}) as server, watching(server, "--json", "--after", "2") as process:
        lines = [json.loads(line)["event"] for line in read_lines(process.stdout, 6)]
        assert lines == [3, 4, 5, 6, 7, 8], lines
    with serve({}) as server:
        for word in ("x", "-1", "1x", "", "99999999999999999999"):
            assert ctl(server, "watch", "--after", word).status == 2


def test_watch_comes_back_when_agentd_does():
    events = [event(1, "started"), event(2, "stopped"), event(3, "started"), event(4, "started")]
    with tempfile.TemporaryDirectory(prefix="agentctl-") as directory:
        path = f"{directory}/agentd.sock"

        def first(handler):
            handler.begin_stream()
            handler.push(events[0])
            handler.push(b'{"event": 2, "ki')
            handler.break_off()

        with serve({"GET /v1/events": first}, path) as server:
            process = subprocess.Popen([AGENTCTL, "watch", "--json"], env=environment(path), stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            assert [json.loads(line)["event"] for line in read_lines(process.stdout, 1)] == [1]
            server.routes.clear()
            server.routes["GET /v1/events"] = (503, "not-ready", "agentd is stopping")
            assert read_lines(process.stderr, 1) == ["agentctl: agentd went away, waiting…"]
        os.unlink(path)
        with serve(watch_routes(events[:3], events), path) as server:
            assert [json.loads(line)["event"] for line in read_lines(process.stdout, 3)] == [2, 3, 4]
            assert server.requests[0][2]["after"] == "1", server.requests
            assert process.poll() is None
            process.kill()
            _, err = process.communicate()
            assert err == b"", err


def test_watch_of_a_quiet_host_comes_back_as_well():
    with tempfile.TemporaryDirectory(prefix="agentctl-") as directory:
        path = f"{directory}/agentd.sock"
        begun = threading.Event()

        def first(handler):
            handler.begin_stream()
            handler.wfile.flush()
            begun.set()
            handler.server.ended.wait(DEADLINE)
            handler.end_stream()
            handler.close_connection = True

        with serve({"GET /v1/events": first}, path) as server:
            process = subprocess.Popen([AGENTCTL, "watch", "--json"], env=environment(path), stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            assert begun.wait(DEADLINE)
        os.unlink(path)
        assert read_lines(process.stderr, 1) == ["agentctl: agentd went away, waiting…"]
        new = {"time": at(-HOUR)}
        events = [event(3, "started"), {**event(4, "stopped"), **new}, {**event(5, "started"), **new}]
        with serve(watch_routes(events, events), path) as server:
            assert [json.loads(line)["event"] for line in read_lines(process.stdout, 2)] == [4, 5], "nothing is missed"
        process.kill()
        process.communicate()


def test_watch_ends_where_there_was_no_agentd():
    done = ctl("/nonexistent/agentd.sock", "watch")
    assert done.status == 3 and done.err.count("\n") == 1, done
    with serve({"GET /v1/events": (403, "forbidden", "you are in neither group")}) as server:
        assert ctl(server, "watch").status == 3


def test_watch_gives_up_after_a_while():
    def first(handler):
        handler.stream(event(1, "started"))

    with serve({"GET /v1/events": first}) as server:
        process = subprocess.Popen([AGENTCTL, "watch"], env=environment(server.path, AGENTD_TIMEOUT="3s"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        read_lines(process.stdout, 1)
        server.routes["GET /v1/events"] = (503, "not-ready", "agentd is stopping")
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3 and b"has not come back" in err and b"3s" in err, err


run_tests(globals())
