# SPDX-License-Identifier: LGPL-2.1-or-later
"""Foreign modules: programs beside the shared objects. The examples, and one that goes wrong: tests/modules/wrong."""

import json
import re

import pytest

import daemon
from box import PATIENCE, wait_until
from hostile import MODULES, by_name, once, quote, states
from once import differences
from test_workers import processes

PROGRAM = f"{MODULES}/wrong"
GOOD = 20


def wrong(box, do, *arguments, n=GOOD, extra=None, **options):
    """agentd with good states, and in their midst one that is told to go wrong."""
    timeout = "4s" if do == "hang" else "1min"
    everybody = {f"good{i:03}": {"timeout": timeout} for i in range(n)}  # of one timeout, so that they are one batch
    everybody = dict([*everybody.items()][:n // 2] + [("guilty", {"do": do, "timeout": timeout} | (extra or {}))] +
                     [*everybody.items()][n // 2:])
    return once(box, states("wrong", everybody), *arguments, **options)


def install(box, name, text, mode="0755", directory="/etc/agentd/modules"):
    box.write(f"{directory}/{name}", text)
    box.run(["chmod", mode, f"{directory}/{name}"])
    return f"{directory}/{name}"


def hello(name="prog", **keys):
    return json.dumps({"name": name, "version": "1", "protocol": 1,
                       "types": [{"name": name, "parameters": []}]} | keys)


def shell_program(answer, rest=""):
    return f"#!/bin/sh\nread -r line\ncat <<'EOF'\n{answer}\nEOF\n{rest}\n"


# ---- The examples ----

INI = """
[ini-value."journal size"]
file = "/etc/app.ini"
section = "Journal"
key = "SystemMaxUse"
value = "200M"

[ini-value.gone]
file = "/etc/app.ini"
key = "old"
"""


def test_ini_value_is_planned_applied_and_healed(box):
    box.write("/etc/app.ini", "# mine\f\x85x\nold = 1\n\n[Journal]\nStorage = auto\n\n[Other]\nSystemMaxUse = 1\n")
    box.run("chmod 0640 /etc/app.ini; chown daemon:adm /etc/app.ini")
    before = box.stat("/etc/app.ini")
    plan = once(box, INI, "--plan")
    assert plan.summary["drifted"] == 2, plan
    assert differences(plan, "ini-value:journal size") == {"value": (None, "200M")}
    assert differences(plan, "ini-value:gone") == {"value": ("1", None)}
    assert box.read("/etc/app.ini").startswith("# mine\f\x85x\nold = 1\n")
    assert once(box, INI).summary["changed"] == 2
    text = "# mine\f\x85x\n\n[Journal]\nStorage = auto\nSystemMaxUse = 200M\n\n[Other]\nSystemMaxUse = 1\n"
    assert box.read("/etc/app.ini") == text
    after = box.stat("/etc/app.ini")
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert once(box, INI).summary["ok"] == 2
    box.write("/etc/app.ini", text.replace("200M", "1"))
    done = once(box, INI)
    assert (done.summary["changed"], done.summary["ok"]) == (1, 1)
    assert differences(done, "ini-value:journal size") == {"value": ("1", "200M")}
    assert box.read("/etc/app.ini") == text


def test_ini_value_respects_root(box):
    box.run("mkdir -p /srv/tree/etc && ln -s /etc/passwd /srv/tree/etc/link.ini")
    done = once(box, INI, "--root", "/srv/tree")
    assert (done.summary["changed"], done.summary["ok"]) == (1, 1), done
    assert box.read("/srv/tree/etc/app.ini") == "[Journal]\nSystemMaxUse = 200M\n"
    assert not box.exists("/etc/app.ini")
    done = once(box, '[ini-value.x]\nfile = "/etc/link.ini"\nkey = "a"\nvalue = "b"\n', "--root", "/srv/tree")
    assert done.results[0]["error"] == "'/etc/link.ini' leads out of '/srv/tree'"


def test_what_a_program_says_about_a_role_is_shown_at_its_place(box):
    done = once(box, '[ini-value.x]\nfile = "/etc/x"\nkey = "a=b"\nvalue = """\n1\n2"""\n')
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "/etc/agentd-tests/test.toml:3:7: error: 'key' is 'a=b'; a key has no '=' and is not empty",
        "/etc/agentd-tests/test.toml:4:9: error: 'value' has a line break in it"]


def test_alternative_is_planned_applied_and_healed(box):
    box.run("ln -s /bin/true '/srv/it is'\"'\"'s é'; for p in /bin/false \"/srv/it is's é\"; do"
            " update-alternatives --quiet --install /usr/bin/choice choice \"$p\" 10; done;"
            " update-alternatives --quiet --set choice /bin/false")
    role = '[alternative.choice]\npath = "/srv/it is\'s é"\n'
    plan = once(box, role, "--plan")
    assert differences(plan, "alternative:choice") == {"path": ("/bin/false", "/srv/it is's é")}, plan
    assert once(box, role).summary["changed"] == 1
    assert box.run("readlink /etc/alternatives/choice").stdout == "/srv/it is's é\n"
    assert once(box, role).summary["ok"] == 1
    done = once(box, '[alternative.choice]\npath = "/usr/bin/env"\n')
    assert done.results[0]["error"] == \
        "update-alternatives: error: alternative /usr/bin/env for choice not registered; not setting"
    assert once(box, '[alternative."a/b"]\npath = "/x"\n').stderr == \
        "/etc/agentd-tests/test.toml:1:14: error: 'a/b' is no name of an alternative\n"


def test_a_type_that_does_not_respect_root_is_not_asked_there(box):
    box.run("mkdir /srv/tree")
    done = once(box, '[alternative.pager]\npath = "/bin/more"\n', "--root", "/srv/tree")
    assert done.results[0]["error"] == \
        "type 'alternative' does not say \"root\": true, that it respects --root, so it is not asked"


def test_shell_sees_every_text_as_it_is(box):
    texts = ["", " ", "a", "it's", "a\nb\n\nc\n", "$(touch /run/evaluated)", "`touch /run/evaluated`", "'; touch /run/evaluated; '",
             "\\n\\\\", "*", "é Ё 漢 \U0001f600", "\t\r\x01", "\"$NL\"", "-n", "a b  c"]
    install(box, "echoes", shell_program(hello(
        "echoes", encoding="shell",
        types=[{"name": "echoes", "plan": True, "parameters": [
            {"name": "text", "type": "string"}, {"name": "list", "type": "list"}, {"name": "yes", "type": "boolean"},
            {"name": "mode", "type": "mode"}, {"name": "n", "type": "integer"}, {"name": "none", "type": "string"}]}]),
        """
while read -r line; do
        eval "$line"
        case $request in
        check)
                echo "differs text"
                printf '%s\\n' "$p_text" | sed 's/^/is /'
                printf '%s\\n' "$name" | sed 's/^/should /'
                eval "set -- $p_list"
                for item; do
                        echo "differs item"
                        printf '%s\\n' "$item" | sed 's/^/is /'
                done
                echo "differs others"
                if $p_yes && ! $plan; then
                        printf 'is %s\\n' "$p_mode $p_n <$p_none> $id $type $index $pending $diff $root"
                fi
                echo done ;;
        end) echo end ;;
        esac
done
"""))
    names = {f"{i}{text}".replace("\n", "<"): text for i, text in enumerate(texts)}
    box.role("r", "".join(
        f"[echoes.{quote(name)}]\naudit = true\ntext = {quote(text)}\nlist = {quote(texts)}\nyes = true\nmode = \"644\"\nn = -7\n"
        for name, text in names.items()))
    done = box.agentd_once()
    assert len(done.results) == len(texts)
    assert not box.exists("/run/evaluated")
    indices = set()
    for result in done.results:
        first, *items, last = result["differences"]
        # What the test's own printf adds is the line break at the end.
        assert (first["is"], first["should"]) == (names[result["name"]], result["name"])
        assert [item["is"] for item in items] == texts
        told = re.fullmatch(r"0644 -7 <> echoes:(.*) echoes (\d+) false false /", last["is"])
        assert told[1] == result["name"]
        indices.add(told[2])
    assert len(indices) == len(texts)


# ---- How it is run ----

def test_parameters_arrive_with_their_types(box):
    done = once(box, '[wrong.x]\ndo = "parameters"\naudit = true\nmode = "4755"\nwords = ["a", "b"]\n'
                     'pair = { y = true }\nanything = { a = [1, 2.5, "{{x}}"], b = {} }\n')
    told = done.results[0]["differences"][0]["is"]
    assert told == {"do": "parameters", "in": "check", "path": "/nowhere", "secret": None, "mode": "4755", "count": 3,
                    "words": ["a", "b"], "pair": {"x": None, "y": True}, "anything": {"a": [1, 2.5, "{{x}}"], "b": {}},
                    "of_tomorrow": None}


@pytest.mark.parametrize("value", ["nan", "inf", "[1, -inf]", "{ a = nan }"])
def test_numbers_that_json_lacks_are_refused_at_their_place(box, value):
    done = once(box, f"[wrong.x]\nanything = {value}\n")
    assert done.stderr == "/etc/agentd-tests/test.toml:2:12: error: 'anything' is not a finite number, which JSON does not have\n"


def test_a_check_cannot_change_the_host(box):
    """Each attempt in the sandbox, and as root, which shows that it would have worked."""
    box.start()
    box.run("install -m 0666 /dev/null /srv/open; install -m 0600 /dev/null /srv/shut; echo secret >/srv/shut;"
            " install -d -m 0700 /srv/dir; cp /srv/shut /srv/dir/shut")
    attempts = {
        "write /srv/open": ("Read-only file system", "done"),
        "write /tmp/new": ("Read-only file system", "done"),
        "write /dev/shm/new": ("Read-only file system", "done"),
        "write /run/new": ("Read-only file system", "done"),
        "chmod /srv/open": ("Read-only file system", "done"),
        "memfd": ("File too large", "done"),
        "connect": ("Permission denied", "done"),
        "setsid": ("Operation not permitted", None),
        "kill": ("Operation not permitted", "done"),
        "mount": ("refused", None),
        "read /srv/shut": ("secret\n", "secret\n"),
        "read /srv/dir/shut": ("secret\n", "secret\n"),
        "run /srv/dir/shut": ("secret\n", "secret\n"),
        "environment": ("LANG PATH", "LANG PATH"),
        "arguments": (PROGRAM, PROGRAM),
        "directory": ("/", "/"),
        "descriptors": ("0 1 2", "0 1 2"),
        "cores": ("0", "0"),
        "capabilities": ("0000000000000004", None),
    }
    everybody = {f"{i} {where}": {"do": name.split()[0], "path": name.split()[-1], "audit": True, "check_as_root": where == "out"}
                 for i, name in enumerate(attempts) for where in ("in", "out")
                 if attempts[name][1] is not None or where == "in"}
    got = {n: r["differences"][0]["is"] for n, r in by_name(once(box, states("wrong", everybody)).results).items()}
    wanted = {f"{i} {where}": told[k] for i, told in enumerate(attempts.values()) for k, where in enumerate(("in", "out"))
              if told[k] is not None}
    assert got == wanted
    wait_until(lambda: processes(box) == [], PATIENCE, "all have ended")


def test_programs_end_with_their_workers(box):
    box.start()
    for do in ("good", "hang", "leave-a-child", "close"):
        wrong(box, do)
        # Who was killed may wait for a moment until somebody looks at how he ended.
        wait_until(lambda: processes(box, "wrong") == processes(box, "sleep") == [], PATIENCE, f"all have ended after '{do}'")


def test_a_load_runs_programs_in_the_sandbox(box):
    install(box, "prog", shell_program(hello(), "id -u >&2; touch /run/loaded"))
    box.role("r", "[prog.x]\n")
    done = box.agentd_once("--plan")
    assert done.summary["unknown"] == 1
    assert not box.exists("/run/loaded")


def test_a_program_that_was_replaced_is_not_taken_for_the_old_one(box):
    install(box, "prog", shell_program(hello(types=[{"name": "prog", "plan": True}])))
    box.write("/etc/agentd/conf.d/r.toml", '[file."/etc/agentd/modules/prog"]\nmode = "0755"\ncontent = "#!/bin/sh\\n"\n'
                                           '[prog.x]\nrequires = ["file:/etc/agentd/modules/prog"]\n')
    done = by_name(box.agentd_once().results)
    assert done["x"]["error"] == "module '/etc/agentd/modules/prog' cannot be used: the module was replaced since the roles " \
                                 "were loaded; load them again"


def test_programs_run_only_if_a_role_needs_them(box):
    told = "logger -t ran \"$0\"\n"
    install(box, "aaa", "#!/bin/sh\n" + told)
    install(box, "prog", "#!/bin/sh\n" + told + shell_program(hello(types=[{"name": "other"}, {"name": "prog"}]))[10:])
    install(box, "notes", "I am no program", mode="0644")
    install(box, "prog.dpkg-old", "#!/bin/sh\n" + told)
    box.role("r", '[file."/etc/x"]\ncontent = "x"\n')
    assert box.agentd_once().returncode == 0
    box.role("r", "[prog.x]\n[other.y]\n")
    assert box.agentd_once("--plan").summary["unknown"] == 2


def test_a_program_shadows_a_shared_object_of_a_later_directory(box):
    install(box, "file", shell_program(hello("file", types=[{"name": "file", "name_is_path": True}])))
    box.role("r", '[file."/etc//x/"]\n')
    done = box.agentd_once("--plan")
    assert done.results[0]["state"] == "file:/etc/x" and done.results[0]["result"] == "unknown"


# ---- Programs that are refused ----

REFUSED = {
    "mode": (None, "0644", "it is not executable for everybody; chmod 0755 makes it so"),
    "writable": (None, "0775", "others than root can write it; it must belong to root, mode 0644 or 0755"),
    "status": ("#!/bin/sh\necho oh no >&2\nexit 3", "0755",
               "it exited with status 3 instead of answering; it has to read requests until its standard input ends: oh no"),
    "interpreter": ("#!/no/such/thing\n", "0755", "it did not run: it cannot be executed: No such file or directory (is the "
                                                  "interpreter in its first line installed?)"),
    "script": ("hello\n", "0755", "it did not run: it cannot be executed: Exec format error (a script must begin with '#!' and "
                                  "its interpreter)"),
    "garbage": ("#!/bin/sh\necho Hello, world\n", "0755",
                "it answered with a line that is not JSON ('[' or '{' expected near 'Hello'): 'Hello, world'"),
    "array": ("#!/bin/sh\necho '[]'\n", "0755", "it answered with JSON that is no object; an answer begins with '{'"),
    "protocol": (hello(protocol=2), "0755", "it speaks protocol 2, this agentd speaks 1"),
    "none": ("{}", "0755", "it did not say \"protocol\": 1 when it was asked what it is"),
    "name": (hello("other"), "0755", "it calls itself 'other', so its file must be 'other'"),
    "version": (hello(version=""), "0755", "it has no version"),
    "types": (hello(types=[]), "0755", "it provides nothing"),
    "encoding": (hello(encoding="xml"), "0755", "it wants the encoding 'xml'; there are 'json' and 'shell'"),
    "shell": (hello(encoding="shell", types=[{"name": "prog", "parameters": [{"name": "t", "type": "table"}]}]), "0755",
              "it declares parameter 't' of a type that the encoding 'shell' cannot carry; tables, records and any need 'json'"),
    "parameter": (hello(types=[{"name": "prog", "parameters": [{"name": "t", "type": "text"}]}]), "0755",
                  "it declares parameter 't' of type 'prog' with the type 'text', which is none of boolean, integer, float, "
                  "string, list, table, record, mode, timespan, bytes, any"),
    "parameter-name": (hello(types=[{"name": "prog", "parameters": [{"name": "T"}]}]), "0755",
                       "prog: 'T' is no name for a parameter (a-z, 0-9, _)"),
    "silence": ("#!/bin/sh\nsleep 1000\n", "0755", "it did not answer within 5s"),
    "endless": ("#!/bin/sh\nexec cat /dev/zero\n", "0755",
                "it answered with a line of more than 8 MiB; a line must be shorter, \"more\": true lets others follow"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_program_is_refused(box, case):
    text, mode, error = REFUSED[case]
    text = text or hello()
    path = install(box, "prog", shell_program(text) if text.startswith("{") else text, mode)
    box.role("r", "[prog.x]\n")
    done = box.agentd_once("--plan")
    assert done.returncode == 2
    assert f"{path}: error: the module cannot be used: {error}" in done.stderr.splitlines(), done.stderr
    assert processes(box, "sleep") == processes(box, "cat") == []


# ---- Programs that go wrong ----

SAID = f"program '{PROGRAM}' "
# Only the guilty state fails.
ONE = {
    "crash": SAID + r"died of signal 11 \(Segmentation fault\)$",
    "exit": SAID + "exited with status 1 instead of answering; .*: it was not my day$",
    "leave-a-child": SAID + "exited with status 0 instead of answering; ",
    "hang": "no answer within the timeout; the worker was killed while checking it$",
    "silent": SAID + "said nothing about this state; each one that it is asked about must have a result$",
    "eat-memory": SAID + "exited with status 1 instead of answering; .*MemoryError",
    "word": "the module's answer is wrong: 'result' is 'splendid'; it must be ok, drifted, failed or unknown$",
    "no-word": "the module's answer is wrong: a result must have a 'result': ok, drifted, failed or unknown$",
    "no-error": "the module's answer is wrong: 'failed' must say why, as 'error'$",
    "failed": "it is broken$",
    "unknown": "who knows$",
    "drifted-without": "the module's answer is wrong: 'drifted' must say what differs, as 'differences'$",
    "ok-with": "the module's answer is wrong: 'ok' cannot have differences; it must be 'drifted'$",
    "no-attribute": "the module's answer is wrong: a difference must be an object with an 'attribute' that is a string$",
    "differences": "the module's answer is wrong: 'differences' must be an array$",
    "text-of-number": "the module's answer is wrong: 'is' and 'should' of a text must be strings or null$",
}
# What cannot be understood at all is no answer for anybody in the batch.
ALL = {
    "garbage": r"answered with a line that is not JSON \(.*\): 'Traceback \(most recent call last\):'$",
    "number": r"answered with a line that is not JSON",
    "gigabyte": "answered with a line of more than 8 MiB; a line must be shorter, \"more\": true lets others follow$",
    "nan": r"answered with a line that is not JSON \(invalid token near 'NaN'\): '\{\"results\"",
    "not-utf8": r"answered with a line that is not JSON \(unable to decode byte 0xff.*\): '\{\"results\": \[\], \"x\": \"\ufffd\"\}'$",
    "unasked": f"answered for state 12345; it was asked about 0 to {GOOD}$",
    "negative": f"answered for state -1; it was asked about 0 to {GOOD}$",
    "no-results": "answered with an object that has neither an array 'results' nor an 'error'$",
    "log-badly": "answered with a log line that is not ",
    "close": "closed its standard output, on which it has to answer$",
}


@pytest.mark.parametrize("do", ONE)
def test_only_the_guilty_state_fails(box, do):
    done = wrong(box, do)
    results = by_name(done.results)
    assert {r["result"] for name, r in results.items() if name != "guilty"} == {"ok"}, results
    assert results["guilty"]["result"] == "failed"
    assert re.match(ONE[do], results["guilty"]["error"]), results["guilty"]["error"]
    assert (done.returncode, len(results)) == (1, GOOD + 1)
    wait_until(lambda: processes(box) == [], PATIENCE, "all have ended")


@pytest.mark.parametrize("do", ALL)
def test_an_answer_that_cannot_be_read_fails_the_batch(box, do):
    box.start()
    done = once(box, '[hosts-entry."a.example"]\naddress = "192.0.2.1"\naudit = true\n' +
                states("wrong", {f"good{i}": {} for i in range(GOOD)} | {"guilty": {"do": do}}))
    results = by_name(done.results)
    assert results.pop("a.example")["result"] == "drifted"
    if do == "close":  # ended, as far as anybody can tell
        assert {r["result"] for name, r in results.items() if name != "guilty"} == {"ok"}
    else:
        assert {r["result"] for r in results.values()} == {"failed"}
    assert re.match(SAID + ALL[do], results["guilty"]["error"]), results["guilty"]["error"]
    wait_until(lambda: processes(box) == [], PATIENCE, "all have ended")


def test_a_second_answer_is_not_taken_for_that_of_the_next_request(box):
    # Checked, applied, checked again: the second check may come to the worker of the first.
    role = states("wrong", {"x": {"do": "say-more", "in": "apply"}})
    result = once(box, role).results[0]
    assert result["result"] == "changed" or "said more than the one answer that each request has" in result["error"]


def test_a_program_that_ended_is_started_again(box):
    role = states("wrong", {"a": {"do": "garbage"}}) + '[wrong.b]\nrequires = ["wrong:c"]\n[wrong.c]\ntimeout = "30s"\n'
    results = by_name(once(box, role).results)
    assert {results["b"]["result"]} == {"ok"}


def test_an_apply_that_ends_in_the_middle_is_looked_at_again(box):
    everybody = {f"new{i}": {"do": "make", "in": "apply"} for i in range(8)} | {"guilty": {"do": "crash", "in": "apply"}}
    done = once(box, states("wrong", everybody))
    results = by_name(done.results)
    assert results.pop("guilty")["error"].startswith(SAID + "died of signal 11")
    assert {r["result"] for r in results.values()} == {"changed"}
    assert done.returncode == 1


def test_plan_of_a_type_without_plan_is_unknown_and_apply_works(box):
    role = states("wrong-no-plan", {"x": {"do": "make", "in": "apply"}})
    plan = once(box, role, "--plan")
    assert (plan.summary["unknown"], plan.results[0]["error"]) == (1, "this type cannot tell without changing anything")
    assert once(box, role).summary["changed"] == 1
    assert once(box, role).summary["ok"] == 1


def test_large_differences_are_told_in_part(box):
    done = by_name(once(box, states("wrong", {do: {"do": do, "audit": True} for do in ("wide", "deep", "many", "text")}), "--diff").results)
    assert {r["result"] for r in done.values()} == {"drifted"}
    assert done["deep"]["differences"][0]["is"] == "(too much to show)"
    assert done["wide"]["differences"][0] == {
        "attribute": "a", "is": "(too much to show)", "should": {"b": [None, 1.5]}, "diff": None}
    assert 1 < len(done["many"]["differences"]) <= 1001
    assert "-1\n+2\n" in done["text"]["differences"][0]["diff"]


# ---- What it says besides ----

def test_standard_error_and_log_lines_are_logged(box):
    done = wrong(box, "mumble", n=0)
    assert done.results[0]["result"] == "ok"
    lines = [line for line in done.stderr.splitlines() if "wrong: " in line]
    assert lines[0] == "agentd: warning: wrong: line 0"
    assert len(lines) == 101
    assert lines[-1] == "agentd: warning: wrong: 900 further lines on standard error are not shown"
    assert "agentd: wrong: I am here" in wrong(box, "log", n=0).stderr


@pytest.mark.parametrize("do", ["betray", "betray-by-error"])
def test_what_may_hold_a_secret_is_not_shown(box, do):
    done = wrong(box, do, extra={"secret": "pssst"})
    told = json.dumps(done.results) + done.stderr + str(box.journal())
    assert "pssst" not in told
    assert "not shown, as a state is sensitive" in told


def test_secrets_are_neither_arguments_nor_environment(box):
    done = wrong(box, "run", n=0, extra={"secret": "pssst", "path": "/proc/self/environ", "audit": True})
    assert done.returncode == 0
    result = once(box, states("wrong", {"x": {"do": "arguments", "audit": True}})).results[0]
    assert result["differences"][0]["is"] == PROGRAM


def test_prepare_refuses_and_watches(box):
    done = once(box, '[wrong.x]\ndo = "refuse"\nin = "prepare"\n[wrong.y]\ndo = "watch-badly"\n')
    assert done.stderr.splitlines() == [
        "/etc/agentd-tests/test.toml:1:8: error: no",
        "/etc/agentd-tests/test.toml:2:6: error: 'do' is 'refuse'",
        "/etc/agentd-tests/test.toml:4:8: error: its module wants the path 'relative' watched, which is relative"]
    for do, error in (("exit", "exited with status 1 instead of answering"), ("garbage", "answered with a line that is not JSON"),
                      ("silent", "said nothing about this state")):
        assert error in once(box, states("wrong", {"x": {"do": do, "in": "prepare"}})).stderr


def test_many_states_are_one_request(box):
    n = 2000
    done = once(box, states("wrong", {f"s{i}": {"do": "parameters" if i == 0 else "good", "audit": True} for i in range(n)}))
    assert (done.summary["ok"], done.summary["drifted"]) == (n - 1, 1)


# ---- In the daemon ----

@pytest.fixture
def running(box):
    """The daemon, with the example in place."""
    box.run(f"install -D -m 0755 {MODULES}/ini-value /etc/agentd/modules/ini-value")
    box.role("r", '[ini-value.x]\nfile = "/etc/app.ini"\nkey = "a"\nvalue = "1"\n')
    daemon.start(box)
    daemon.wait_idle(box)
    assert box.read("/etc/app.ini") == "a = 1\n"
    return box


def test_a_program_that_was_changed_is_loaded_again(running):
    box = running
    after = daemon.last_event(box)
    text = box.read("/etc/agentd/modules/ini-value")
    box.write("/etc/agentd/modules/ini-value.new", text.replace("{p['key']} = {p['value']}", "{p['key']}={p['value']}"))
    box.run("cd /etc/agentd/modules && chmod 0755 ini-value.new && mv ini-value.new ini-value")
    daemon.wait_event(box, "roles-loaded", after=after)
    box.run("rm /etc/app.ini")
    daemon.wait_event(box, "state-changed", after=after, state="ini-value:x")
    assert box.read("/etc/app.ini") == "a=1\n"


def test_a_program_that_became_bad_leaves_the_roles_in_force(running):
    box = running
    after = daemon.last_event(box)
    box.write("/etc/agentd/modules/ini-value", "#!/bin/sh\nexit 1\n")
    daemon.wait_event(box, "roles-refused", after=after)
    assert daemon.states(box).keys() == {"ini-value:x"}


def test_no_program_is_left_when_nothing_runs(running):
    box = running
    wait_until(lambda: not processes(box, "ini-value") and not processes(box, "python"), PATIENCE, "programs end with their workers")
