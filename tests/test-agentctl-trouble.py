#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentctl where something is wrong, its command line, its manual and what shells complete. Called as fake_agentd.py says."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from fake_agentd import (AGENTCTL, COMPLETIONS, DEADLINE, Skip, Terminal, ctl, environment, follow, pages, result, run, run_tests,
                         serve, serve_bytes, state, status)

TOP = Path(__file__).resolve().parent.parent


# ---- Tests: what goes wrong --------------------------------------------------------------------------------------

def test_agentd_that_cannot_be_reached():
    with tempfile.TemporaryDirectory(prefix="agentctl-") as directory:
        refused = f"{directory}/refused.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(refused)
        listener.close()
        for path, text in ((f"{directory}/missing.sock", "there is no socket"), (refused, "nobody listens"),
                           (f"{directory}/{'x' * 200}", "too long")):
            for verb in (("status",), ("states",), ("show", "a:b"), ("apply",), ("plan",), ("runs",), ("run", "1"), ("watch",),
                         ("facts",), ("reload",), ("disable", "x"), ("enable",), ("log-level",), ("run", "--stop", "1")):
                done = ctl(path, *verb)
                assert (done.status, done.out) == (3, ""), (verb, done)
                assert done.err.startswith("agentctl: error: ") and done.err.count("\n") == 1 and text in done.err, done
            done = ctl(None, "--socket", path, "status", "--json")
            assert done.status == 3 and text in done.err and done.out == "", done


def test_a_socket_that_is_not_for_us():
    if os.geteuid() != 0:
        raise Skip("needs root, to be somebody else")
    with serve({"GET /v1/status": status()}) as server:
        os.chmod(os.path.dirname(server.path), 0o711)
        os.chmod(server.path, 0o600)
        copy = f"{os.path.dirname(server.path)}/agentctl"
        shutil.copy(AGENTCTL, copy)
        done = subprocess.run(["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", copy, "status"],
                              env=environment(server.path), capture_output=True, timeout=DEADLINE)
    assert done.returncode == 3 and b"Permission denied" in done.stderr and done.stderr.count(b"\n") == 1, done


def answer(body, status_line=b"HTTP/1.1 200 OK", headers=b""):
    return status_line + b"\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


VERBS = (("status",), ("states",), ("show", "a:b"), ("runs",), ("run", "1"), ("facts",), ("reload",), ("log-level",), ("apply",),
         ("plan",), ("watch",), ("watch", "--after", "1"))


def test_nonsense_is_one_clear_line():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for data in (b"", b"\0" * 100, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200", answer(b"hello"),
                 answer(b"[]"), answer(b"null"), answer(b"7"), answer(b'"x"'), answer(b'{"a"'), answer(b"\xff\xfe{}"),
                 answer(b'{"a": "\xff"}'), answer(b"[" * 100000), b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
                 b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", chunked + b"zz\r\n", chunked + b"5\r\n{}",
                 answer(b"<html>", b"HTTP/1.1 502 Bad\x1b Gateway"), answer(b'{"detail": 7}', b"HTTP/1.1 500 Oops"),
                 answer(b"", b"HTTP/1.1 301 Moved", b"Location: http://localhost/\r\n"), answer(b"{}", b"HTTP/9.9 200 OK"), answer(b"x")):
        with serve_bytes(data) as path:
            for verb in VERBS:
                done = ctl(path, *verb, AGENTD_TIMEOUT="300ms")
                assert done.status in (1, 3) and done.out == "", (data, verb, done)
                # Half a line is an agentd that went away, which watch waits for.
                errors = done.err.removeprefix("agentctl: agentd went away, waiting…\n" if verb[0] == "watch" else "")
                assert errors.startswith("agentctl: error: ") and errors.count("\n") == 1, (data, verb, done)
                assert "\x1b" not in done.err


def test_wrong_types_are_no_crash():
    for body in (b"{}", b'{"items": {}, "next": null}', b'{"items": [1], "next": null}', b'{"items": [[]], "next": null}',
                 b'{"items": [{}], "next": 7}', b'{"items": []}', b'{"items": [], "next": "x"}',
                 b'{"state": [], "roles": 7, "states": "x", "runs": {}, "last_run": [], "store": null, "history": [1, {}], '
                 b'"requires": [1], "watches": [7, {"kind": 1}], "diagnostics": 5, "level": 1, "timeout_usec": -1, '
                 b'"started": "2026", "summary": 7, "event": "x"}'):
        with serve_bytes(answer(body)) as path:
            for verb in VERBS + (("status", "--json"), ("enable",), ("disable", "x"), ("run", "--stop", "7")):
                if verb[0] == "watch":
                    continue  # would wait for it to come back
                done = ctl(path, *verb)
                assert done.status in (0, 1, 2, 3), (body, verb, done)
                assert verb[0] in ("facts", "status", "show") or done.status in (0, 3), (body, verb, done)
    for item in (b"[1]", b"7", b"nonsense", b"{}", b'{"result": 7}', b'{"state": "a:b"}', b'{"progress": 7}',
                 b'{"state": 1, "result": "ok"}'):
        with serve(follow(item + b"\n", run())) as server:
            done = ctl(server, "apply")
            assert done.status == 3 and done.err.count("\n") == 1 and "no agentd" in done.err, (item, done)
    for item in (b"[1]", b"nonsense", b"{}", b'{"event": 0, "kind": "x"}', b'{"event": "1", "kind": "x"}', b'{"event": 1}'):
        with serve({"GET /v1/events": lambda handler, item=item: handler.stream(item + b"\n")}) as server:
            done = ctl(server, "watch")
            assert done.status == 3 and done.err.count("\n") == 1, (item, done)
    with serve(follow(run(), result("file:/a"))) as server:
        assert ctl(server, "apply").status == 3


def test_pages_may_be_empty():
    def states(handler):
        after = int(handler.query.get("after", ["0"])[0])
        handler.answer(200, {"items": [state("file:/a")] if after == 3 else [], "next": str(after + 1) if after < 5 else None})

    with serve({"GET /v1/states": states}) as server:
        done = ctl(server, "states")
    assert done.status == 0 and "file:/a" in done.out, done


def test_a_nul_in_a_value_is_no_trouble():
    differs = result("file:/a", "drifted", differences=[{"attribute": "text", "is": "a\0b", "should": None}])
    with serve(follow(differs, run(mode="plan", drifted=1))) as server:
        done = ctl(server, "plan")
        assert done.status == 0 and "a\\u0000b" in done.out, done
        done = ctl(server, "plan", "--json")
        assert done.status == 0 and "a\\u0000b" in done.out, done


def test_a_list_without_end_is_noticed():
    with serve({"GET /v1/states": {"items": [state("file:/a")], "next": "x"}}) as server:
        done = ctl(server, "states")
    assert done.status == 3 and "no end" in done.err, done


def test_what_is_huge_is_refused():
    def endless():
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
        for _ in range(100):
            yield b" " * (1 << 20)

    with serve_bytes(endless) as path:
        for verb in ("status", "watch", "apply"):
            done = ctl(path, verb)
            assert done.status == 3 and "too much" in done.err, done


def test_what_hangs_is_given_up():
    for data in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 200 OK\r\nConte"):
        with serve_bytes(data, keep_open=True) as path:
            for verb in ("status", "reload", "facts", "apply", "states"):
                done = ctl(path, verb, AGENTD_TIMEOUT="200ms")
                assert done.status == 3 and "does not answer" in done.err and "200ms" in done.err, (verb, done)
    assert ctl(None, "status", AGENTD_TIMEOUT="soon").status == 2


def test_waiting_is_shown_on_a_terminal():
    with serve_bytes(b"", keep_open=True) as path:
        terminal = Terminal(path, "status", AGENTD_TIMEOUT="5s")
        terminal.read_until(r"Waiting for agentd \(\ds\)")
        done = terminal.finish()
        assert done.status == 3 and "\r\x1b[K" in done.out, done


def test_control_characters_stay_out_of_json_as_well():
    bad = status(hostname="a\x1b\x7f\x9b\x85ä")
    with serve({"GET /v1/status": bad}) as server:
        done = ctl(server, "status", "--json")
    assert done.lines() == [bad], done
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out) and "ä" in done.out, done


def test_a_reader_that_goes_away_is_no_reason_to_talk():
    items = [state(f"file:/{n}") for n in range(5000)]
    with serve({"GET /v1/states": pages(items)}) as server:
        for before in ("", "trap '' PIPE; "):
            done = subprocess.run(["bash", "-c", f"{before}'{AGENTCTL}' states --json | head -n 1"],
                                  env=environment(server.path), capture_output=True, timeout=DEADLINE)
            assert done.stderr == b"" and done.stdout.count(b"\n") == 1, done


def test_output_that_cannot_be_written_is_an_error():
    with serve({"GET /v1/status": status()}) as server:
        for redirection in (">/dev/full", ">&-"):
            done = subprocess.run(["bash", "-c", f"'{AGENTCTL}' status {redirection}"], env=environment(server.path),
                                  capture_output=True, timeout=DEADLINE)
            assert done.returncode == 1 and b"output" in done.stderr, done


def test_proxies_of_the_environment_are_not_used():
    with serve({"GET /v1/status": status()}) as server:
        done = ctl(server, "status", http_proxy="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1")
    assert done.status == 0, done


# ---- Tests: the command line -------------------------------------------------------------------------------------

def test_usage_errors_exit_with_2_and_say_one_line():
    for arguments, text in (
            ((), "agentctl status"), (("stats",), "did you mean 'status'?"), (("x" * 200,), "no verb"), (("__x",), "no verb"),
            (("--jsn", "status"), "did you mean '--json'?"), (("states", "--faild"), "did you mean '--failed'?"),
            (("--failed", "states"), "before the verb"), (("status", "-x"), "'-x'"), (("status", "-qx"), "'-x'"),
            (("status", "--json=1"), "no value"), (("states", "--result"), "needs a RESULT"), (("status", "x"), "one word too many"),
            (("show",), "needs a STATE"), (("show", "a", "b"), "one word too many"), (("disable",), "needs a REASON"),
            (("states", "--failed", "--result", "ok"), "exclude"), (("completion", "csh"), "csh"), (("help", "x"), "'x'"),
            (("status", "--"), None), (("status", "--", "--json"), "one word too many"), (("plan", "--only-failed"), "no option"),
            (("--socket",), "needs a PATH"), (("__complete", "x"), "nothing to complete"), (("--",), "Say what"),
            (("status", "--="), "no option")):
        done = ctl("/nonexistent", *arguments)
        if text is None:
            assert done.status == 3, done
            continue
        assert (done.status, done.out) == (2, ""), (arguments, done)
        assert done.err.count("\n") == 1 and text in done.err, (arguments, done)


def verbs():
    """{verb: (usage, {option: argument})} and the options that all have, as --help says."""
    def options(text):
        found = {}
        for line in text.partition("\nOptions:\n")[2].partition("\n\n")[0].splitlines():
            match = re.match(r"  (?:-(\w) |   )--([\w-]+)(?: ([A-Z=]+))?(?: |$)", line)
            if match:
                found["--" + match[2]] = (match[1], match[3])
        return found

    text = ctl(None, "--help").out
    names = re.findall(r"^  ([a-z-]+)", text.partition("\nVerbs:\n")[2].partition("\n\n")[0], re.MULTILINE)
    found = {}
    for name in names:
        own = ctl(None, name, "--help").out
        found[name] = (own.splitlines()[0].removeprefix("agentctl "), options(own))
    return found, options(text)


def test_help_is_within_80_columns_and_names_everything():
    found, common = verbs()
    assert {"--json", "--quiet", "--socket", "--help", "--version", "--no-pager"} == set(common), common
    assert len(found) >= 16, found
    for name in ("", *found):
        done = ctl(None, *filter(None, (name, "--help")))
        assert done.status == 0 and done.err == "", done
        for line in done.out.splitlines():
            assert len(line) <= 80 or name in ("plan", "apply"), line
        assert done.out == ctl(None, "help", *filter(None, (name,))).out
    assert ctl(None, "--version").out.startswith("agentctl ")
    assert ctl(None, "-qh", "states").out == ctl(None, "states", "--help").out


def test_the_manual_page_has_what_help_says():
    page = (TOP / "docs/man/agentctl.1").read_text()
    plain = re.sub(r"\\f.|\\&", "", page).replace("\\-", "-")
    found, common = verbs()
    sections = dict(re.findall(r'^\.SS "?([^"\n]+)"?\n(.*?)(?=^\.S[SH] |\Z)', plain, re.MULTILINE | re.DOTALL))

    def options(text):
        return {match[2]: (match[1], match[3]) for match in
                re.finditer(r"^\.TP\n(?:-(\w), )?(--[\w-]+)(?: ([A-Z=]+))?$", text, re.MULTILINE)}

    usages = {usage.replace("…", "...") for usage, _ in found.values()}
    assert {name for name in sections} == usages, set(sections) ^ usages
    for name, (usage_line, wanted) in found.items():
        assert options(sections[usage_line.replace("…", "...")]) == wanted, name
    general = re.search(r"^\.SH OPTIONS\n(.*?)^\.SH ", plain, re.MULTILINE | re.DOTALL)[1]
    assert options(general) == common, options(general)
    assert plain.index(".SH EXAMPLE") < plain.index(".SH VERBS")
    for program in (["man", "-l", "--warnings=w", "-Tutf8"], ["groff", "-man", "-Tutf8", "-ww", "-z"]):
        if shutil.which(program[0]):
            done = subprocess.run([*program, TOP / "docs/man/agentctl.1"], capture_output=True, text=True, timeout=DEADLINE,
                                  env={**os.environ, "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
            assert done.returncode == 0 and done.stderr == "", done.stderr


# ---- Tests: agentd itself ----------------------------------------------------------------------------------------

@contextlib.contextmanager
def fake_agentd(script):
    with tempfile.TemporaryDirectory(prefix="agentctl-") as directory:
        path = Path(directory) / "agentd"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        yield str(path)


def test_validate_runs_agentd():
    with fake_agentd('echo "$@"; echo oops >&2; exit 2\n') as path:
        done = ctl(None, "validate", "a.toml", "--", "--b", AGENTD_EXECUTABLE=path)
        assert (done.status, done.out, done.err) == (2, "--validate -- a.toml --b\n", "oops\n"), done
    assert ctl(None, "validate", AGENTD_EXECUTABLE="/nonexistent/agentd").status == 3


def test_eval_runs_agentd():
    with fake_agentd('printf "%s|" "$@"; echo oops >&2; exit 1\n') as path:
        for words, arguments in ((["1 < 2"], ["--eval=1 < 2"]), (["--check", "1 < 2"], ["--eval=1 < 2", "--check"]),
                                 (["a", "--json"], ["--eval=a", "--json"]),
                                 (["--check", "--json", "a"], ["--eval=a", "--check", "--json"]), (["--", "-1"], ["--eval=-1"]),
                                 (["--role", "web", "a", "--item={ b = 1 }"], ["--eval=a", "--role=web", "--item={ b = 1 }"]),
                                 (["a", "--var=x=1", "--var", "y=-2", "--conf-dir", "d"],
                                  ["--eval=a", "--conf-dir=d", "--var=x=1", "--var=y=-2"])):
            done = ctl(None, "eval", *words, AGENTD_EXECUTABLE=path)
            assert (done.status, done.out, done.err) == (1, "|".join([*arguments, ""]), "oops\n"), done
        assert ctl(None, "eval", AGENTD_EXECUTABLE=path).status == 2
        assert ctl(None, "eval", "1", "2", AGENTD_EXECUTABLE=path).status == 2
    assert ctl(None, "eval", "1", AGENTD_EXECUTABLE="/nonexistent/agentd").status == 3


def test_schema_runs_agentd():
    with fake_agentd('printf "%s|" "$@"; echo oops >&2; exit 1\n') as path:
        for words, arguments in (([], ["--schema", "--"]), (["agentd.toml"], ["--schema", "--", "agentd.toml"]),
                                 (["--", "-x"], ["--schema", "--", "-x"])):
            done = ctl(None, "schema", *words, AGENTD_EXECUTABLE=path)
            assert (done.status, done.out, done.err) == (1, "|".join([*arguments, ""]), "oops\n"), done
        assert ctl(None, "schema", "a", "b", AGENTD_EXECUTABLE=path).status == 2
    assert ctl(None, "schema", AGENTD_EXECUTABLE="/nonexistent/agentd").status == 3


def test_validate_as_json():
    with fake_agentd('echo "4 states in 1 role, no errors"\n') as path:
        done = ctl(None, "validate", "--json", AGENTD_EXECUTABLE=path)
        assert done.status == 0 and done.lines() == [{"valid": True, "n_roles": 1, "n_states": 4, "diagnostics": [], "warnings": []}], done
    with fake_agentd('echo "1 state in 2 roles, no errors"\n') as path:
        assert ctl(None, "validate", "--json", AGENTD_EXECUTABLE=path).lines()[0]["n_states"] == 1
    with fake_agentd('printf "%s\\n" "a:b.toml:12:3: error: error: x" "a.toml:4: error: y" "a.toml: error: z" "error: w" '
                     '"agentd: warning: v" >&2; exit 2\n') as path:
        done = ctl(None, "validate", "--json", AGENTD_EXECUTABLE=path)
        assert (done.status, done.err) == (2, ""), done
        expect = lambda file, line, column, message: {"file": file, "line": line, "column": column, "message": message}
        assert done.lines() == [{"valid": False, "n_roles": None, "n_states": None, "diagnostics": [
            expect("a:b.toml", 12, 3, "error: x"), expect("a.toml", 4, None, "y"), expect("a.toml", None, None, "z"),
            expect(None, None, None, "w")], "warnings": ["v"]}], done


def test_doc_is_paged_on_a_terminal_only():
    with fake_agentd('[ "$1" = --doc ] && echo "doc of ${2-all}"; exit 5\n') as path:
        done = ctl(None, "doc", "file", AGENTD_EXECUTABLE=path, PAGER="echo PAGED; cat")
        assert (done.status, done.out) == (5, "doc of file\n"), done
        done = Terminal(None, "doc", AGENTD_EXECUTABLE=path, PAGER="echo PAGED; cat").finish()
        assert done.status == 5 and "PAGED" in done.out and "doc of all" in done.out, done
        for more in ({"PAGER": ""}, {"PAGER": "x", "SYSTEMD_PAGER": "cat"}, {"TERM": "dumb", "PAGER": "echo PAGED"}):
            done = Terminal(None, "doc", AGENTD_EXECUTABLE=path, **more).finish()
            assert done.status == 5 and done.out == "doc of all\n", done
        assert "PAGED" not in Terminal(None, "--no-pager", "doc", AGENTD_EXECUTABLE=path, PAGER="echo PAGED").finish().out
    with fake_agentd('echo "doc of ${2-all}"; exit 5\n') as path, tempfile.TemporaryDirectory() as directory:
        for program in ("sh", "cat"):
            os.symlink(shutil.which(program), f"{directory}/{program}")
        done = Terminal(None, "doc", AGENTD_EXECUTABLE=path, PATH=directory).finish()
        assert (done.status, done.out) == (5, "doc of all\n"), "a host without less"
    with fake_agentd("yes | head -c 1000000\n") as path:
        assert Terminal(None, "doc", AGENTD_EXECUTABLE=path, PAGER="head -n 1").finish().status == 0, "the pager ended first"


# ---- Tests: completion -------------------------------------------------------------------------------------------

STATES = [state("file:/etc/motd"), state("file:/etc/my file", "failed"), state("user:ada", role="base", tags=("web", "db")),
          state("file:/evil\x1b[2J")]


def completion_routes():
    def states(handler):
        pattern = handler.query.get("match", "*")
        assert pattern.endswith("*")
        items = [item for item in STATES if item["state"].startswith(pattern[:-1])]
        handler.answer(200, {"items": items, "next": None})
    return {"GET /v1/states": states, "GET /v1/runs": pages([run(7), run(12)]), "GET /v1/facts": {"os": {"id": 1}, "up": 2}}


def test_words_are_completed():
    with serve(completion_routes()) as server:
        for kind, prefix, expected in (
                ("states", "file:/e", ["file:/etc/motd\tok", "file:/etc/my file\tfailed"]),
                ("states", "--", []), ("states", "[", []),
                ("states", "", ["file:/etc/motd\tok", "file:/etc/my file\tfailed", "user:ada\tok"]),
                ("runs", "1", ["12\t2026-11-21T13:32:00.000000Z"]), ("roles", "", ["web", "base"]), ("types", "f", ["file"]),
                ("tags", "", ["web", "db"]), ("tags", "d", ["db"]),
                ("facts", "o", ["os", "os.id"])):
            done = ctl(server, "__complete", kind, prefix)
            assert (done.status, done.out.splitlines(), done.err) == (0, expected, ""), (kind, prefix, done)
    with fake_agentd('[ "$*" = --doc ] && printf "%s\\n" "" "file         files and more" "hosts-entry  a line" "" "not  this"\n'
                     'echo oops >&2; yes x  y\n') as path:
        done = ctl("/nonexistent", "__complete", "docs", "f", AGENTD_EXECUTABLE=path)
        assert (done.out, done.err) == ("file\tfiles and more\n", ""), done
        assert ctl(None, "__complete", "docs", "", AGENTD_EXECUTABLE=path).out.splitlines() == [
            "file\tfiles and more", "hosts-entry\ta line", "agentd.toml\tsettings of agentd itself"]
    assert ctl(None, "__complete", "docs", "", AGENTD_EXECUTABLE="/nonexistent").err == ""
    done = ctl("/nonexistent", "__complete", "states", "f")
    assert (done.out, done.err) == ("", ""), "quiet if agentd is down"
    with serve_bytes(b"", keep_open=True) as path:
        begun = time.monotonic()
        assert ctl(path, "__complete", "states", "f").err == "" and time.monotonic() - begun < DEADLINE / 2


def complete_in_bash(server, line, breaks=None):
    with tempfile.TemporaryDirectory(prefix="agentctl-") as directory:
        os.symlink(AGENTCTL, f"{directory}/agentctl")
        script = (f"source '{COMPLETIONS}/agentctl'\n"
                  + (f"COMP_WORDBREAKS={breaks}\n" if breaks else "COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'\n")
                  + "COMP_LINE=$1 COMP_POINT=${#1}; _agentctl; printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", line], capture_output=True, text=True, timeout=DEADLINE,
                              cwd=directory,
                              env=environment(server.path, PATH=f"{directory}:{os.environ['PATH']}"))
        assert done.stderr == "", done
        return done.stdout.split("\n")[:-1] if done.stdout != "\n" else []


def test_bash_completes():
    with serve(completion_routes()) as server:
        for line, expected in (
                ("agentctl sta", ["status", "states"]), ("agentctl --json sta", ["status", "states"]),
                ("agentctl --socket x sta", ["status", "states"]), ("agentctl states --f", ["--failed"]),
                ("agentctl states --result f", ["failed"]), ("agentctl states --result=f", ["failed"]),
                ("agentctl states --role ", ["web", "base"]), ("agentctl log-level d", ["debug"]),
                ("agentctl show us", ["user:ada"]), ("agentctl show user:", ["ada"]), ("agentctl show user:a", ["ada"]),
                ("agentctl show file:/etc/m", ["/etc/motd", "/etc/my\\ file"]), ("agentctl apply user:ada file:/etc/mo", ["/etc/motd"]),
                ("agentctl run ", ["7", "12"]), ("agentctl help wa", ["watch"]), ("agentctl validate agent", ["agentctl"]),
                ("agentctl facts os.", ["os.id"]), ("agentctl --j", ["--json"]), ("agentctl enable ", []),
                ("agentctl disable --for ", []), ("agentctl nosuch ", []), ("agentctl show nothing", [])):
            assert complete_in_bash(server, line) == expected, (line, complete_in_bash(server, line))
        assert complete_in_bash(server, "agentctl show user:a", "' '") == ["user:ada"], "where colons do not break words"


def test_completion_is_valid():
    found, common = verbs()
    for shell, name in ("bash", "agentctl"), ("zsh", "_agentctl"), ("fish", "agentctl.fish"):
        text = (Path(COMPLETIONS) / name).read_text()
        assert text == ctl(None, "completion", shell).out
        for verb in found:
            assert verb in text
        if shutil.which(shell):
            done = subprocess.run([shell, "-n", f"{COMPLETIONS}/{name}"], capture_output=True, text=True)
            assert done.returncode == 0 and done.stderr == "", done.stderr
        else:
            print(f"# there is no {shell} here to read its file")


run_tests(globals())
