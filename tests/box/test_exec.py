# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type exec: commands that run where a guard says that there is something to do."""

import json

import pytest

import daemon
from box import PATIENCE, wait_until


def toml(name="it", **keys):
    return f"[exec.{json.dumps(name)}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


def role(box, *states):
    box.role("role", "\n".join(states))


def once(box, *arguments):
    return box.agentd_once(*arguments)


def one(box, *arguments):
    done = once(box, *arguments)
    assert len(done.results) == 1, done.stderr
    return done.results[0]


def differences(result):
    return {d["attribute"]: (d["is"], d["should"]) for d in result["differences"]}


def test_plan_shows_the_command_and_the_guard_and_runs_nothing(box):
    role(box, toml(command='["/usr/bin/touch", "/srv/a b"]', creates='"/srv/a b"'))
    result = one(box, "--plan")
    assert result["result"] == "drifted"
    assert differences(result) == {"creates": (None, "/srv/a b"), "run": (None, "/usr/bin/touch '/srv/a b'")}
    assert not box.exists("/srv/a b")


def test_it_runs_once_where_something_is_to_be_made(box):
    role(box, toml(command='["/usr/bin/touch", "/srv/made"]', creates='"/srv/made"'))
    assert one(box)["result"] == "changed"
    assert box.exists("/srv/made")
    assert one(box)["result"] == "ok"
    box.run("rm /srv/made")
    assert one(box)["result"] == "changed"


@pytest.mark.parametrize("guard,make,command", [
    ({"removes": '"/srv/x"'}, "touch /srv/x", "rm /srv/x"),
    ({"unless": '["/usr/bin/test", "-e", "/srv/x"]'}, "rm -f /srv/x", "touch /srv/x"),
    ({"unless": '"test -e /srv/x && echo yes"'}, "rm -f /srv/x", "touch /srv/x"),
    ({"only_if": '"test -e /srv/x"'}, "touch /srv/x", "rm /srv/x"),
    ({"creates": '"/srv/link"'}, "rm -f /srv/link", "ln -s /nonexistent /srv/link"),
    ({"creates": '"/srv/y/z"', "only_if": '"test -e /srv/x"'}, "touch /srv/x; rm -rf /srv/y", "mkdir /srv/y; touch /srv/y/z"),
], ids=["removes", "unless", "unless-shell", "only_if", "link", "both"])
def test_each_guard(box, guard, make, command):
    role(box, toml(shell=json.dumps(command), **guard))
    box.run(make)
    planned = one(box, "--plan")
    assert planned["result"] == "drifted"
    assert set(differences(planned)) == {*guard, "run"}
    assert one(box)["result"] == "changed"
    assert one(box)["result"] == "ok"
    assert one(box, "--plan")["result"] == "ok"


def test_all_guards_must_want_it(box):
    role(box, toml("a", shell='"touch /srv/ran"', creates='"/srv/ran"', only_if='"false"'),
         toml("b", shell='"touch /srv/ran"', removes='"/srv/none"', unless='"false"'),
         toml("c", shell='"touch /srv/ran"', creates='"/srv/ran"', unless='"true"'))
    assert once(box).summary["ok"] == 3
    assert not box.exists("/srv/ran")


def test_guards_read_what_only_root_can_and_change_nothing(box):
    box.write("/root/secret", "value\n", mode=0o600)
    role(box, toml("reads", command='["/bin/true"]', unless='"grep -q value /root/secret"'),
         toml("writes", command='["/bin/true"]', unless='"touch /srv/by-guard; test -e /srv/by-guard"'))
    results = {r["name"]: r for r in once(box, "--plan").results}
    assert results["reads"]["result"] == "ok"
    assert results["writes"]["result"] == "drifted"
    assert not box.exists("/srv/by-guard")


def test_a_guard_that_cannot_tell_fails(box):
    role(box, toml("missing", command='["/bin/true"]', unless='["/nonexistent/program"]'),
         toml("killed", command='["/bin/true"]', only_if='"kill -9 $$"'),
         toml("slow", command='["/bin/true"]', unless='["/bin/sleep", "1000"]', timeout='"1s"'))
    results = {r["name"]: r for r in once(box, "--plan").results}
    assert {r["result"] for r in results.values()} == {"failed"}
    begin = "' did not tell whether there is something to do: "
    assert results["missing"]["error"] == f"'unless{begin}'/nonexistent/program' could not be executed: No such file or directory"
    assert results["killed"]["error"].startswith(f"'only_if{begin}it was killed by SIGKILL")
    assert results["slow"]["error"].startswith(f"'unless{begin}it did not end within ")


def test_all_that_is_wrong_with_it_is_told_at_its_place(box):
    box.role("role", """\
[exec.none]
command = ["/bin/true"]

[exec.nothing]
creates = "/srv/x"

[exec.both]
command = ["/bin/true"]
shell = "true"
creates = "/srv/x"

[exec.relative]
command = ["true"]
creates = "/srv/x"

[exec.odd]
command = ["/bin/true"]
unless = 5
only_if = []
returns = [0, 256]
log_output = "sometimes"
environment = { "A B" = "c" }

[exec.unit]
command = ["/bin/true"]
creates = "/srv/x"
unit = { MemryMax = "1M", MemoryMax = "1X", User = "root" }
""")
    done = once(box)
    assert done.returncode == 2
    for line in (
        "1:7: error: an exec needs 'creates', 'removes', 'unless' or 'only_if', by which one can tell",
        "4:7: error: an exec needs 'command' or 'shell', which says what is to be run",
        "13:11: error: 'command' begins with 'true'; a program is given by its absolute path, like \"/usr/bin/true\"",
        "18:10: error: 'unless' must be an array of a program and its arguments, or a string for the shell",
        "19:11: error: 'only_if' is empty; it must begin with a program",
        "20:11: error: 'returns' must be an exit status from 0 to 255",
        "21:14: error: 'log_output' must be true, false or \"on_failure\"",
        "22:15: error: 'A B' in 'environment' is no name of a variable",
        "27:21: error: in 'unit': there is no property 'MemryMax' that a command's unit could have; did you mean 'MemoryMax'?",
        "27:39: error: in 'unit': 'MemoryMax' is \"1X\"; it must be a size like \"256M\"",
        "27:52: error: in 'unit': 'User' cannot be given here: give it beside 'unit', not in it",
    ):
        assert f"/role.toml:{line}" in done.stderr, done.stderr
    assert "'shell'" in done.stderr and done.stderr.count("error:") == 12


def test_it_runs_as_declared(box):
    box.run("useradd -r app; mkdir -m 777 /srv/made")
    role(box, toml(shell='"(id -un; id -gn; pwd; umask; echo $A; cat) >/srv/made/out"', creates='"/srv/made/out"',
                   user='"app"', group='"adm"', directory='"/srv/made"', environment='{ A = "a b", N = 5 }',
                   umask='"0027"', input='"text\\n"'))
    result = one(box)
    assert result["result"] == "changed", result
    assert box.read("/srv/made/out") == "app\nadm\n/srv/made\n0027\na b\ntext\n"


def test_a_command_that_fails_says_why(box):
    role(box, toml("status", shell='"echo out; echo one >&2; echo two >&2; echo three >&2; echo four >&2; exit 3"',
                   creates='"/srv/x"'),
         toml("silent", shell='"echo only this; exit 4"', creates='"/srv/x"'),
         toml("secret", shell='"echo my password >&2; exit 3"', creates='"/srv/x"', secret="true"),
         toml("missing", command='["/nonexistent/program"]', creates='"/srv/x"'),
         toml("allowed", shell='"touch /srv/allowed; exit 3"', creates='"/srv/allowed"', returns="[0, 3]"))
    done = once(box)
    results = {r["name"]: r for r in done.results}
    assert results["allowed"]["result"] == "changed"
    assert results["status"]["error"] == "the command failed: it exited with status 3: two; three; four"
    assert results["silent"]["error"] == "the command failed: it exited with status 4: only this"
    assert results["secret"]["error"] == "the command failed: it exited with status 3"
    assert differences(results["secret"])["run"] == (None, "<sensitive>")
    assert "password" not in done.stderr + json.dumps(done.results)
    assert "password" not in box.journal()
    assert results["missing"]["result"] == "failed" and "No such file" in results["missing"]["error"]


def test_of_a_sensitive_state_nothing_is_logged(box):
    box.write("/srv/guard", "#!/bin/sh\necho hunter2 >&2\nkill -9 $$\n", mode=0o755)
    role(box, toml("logs", shell='"echo hunter2; echo hunter2 >&2; exit 3"', creates='"/srv/x"', log_output='"on_failure"',
                   sensitive="true"),
         toml("always", shell='"echo hunter2; echo hunter2 >&2; exit 3"', creates='"/srv/x"', sensitive="true"),
         toml("guard", shell='"true"', unless='["/srv/guard"]', sensitive="true"),
         toml("shown", shell='"echo shown-here; exit 3"', creates='"/srv/x"', log_output='"on_failure"'))
    done = once(box)
    assert [r["result"] for r in done.results] == ["failed"] * 4
    assert "shown-here" in done.stderr
    assert "hunter2" not in done.stderr + json.dumps(done.results) + str(box.journal())


def test_one_that_takes_too_long_is_killed(box):
    role(box, toml(command='["/bin/sleep", "4321"]', creates='"/srv/x"', timeout='"1s"'))
    result = one(box)
    assert result["result"] == "failed" and "did not end within" in result["error"], result
    wait_until(lambda: box.run(["pgrep", "-x", "sleep"], check=False).returncode == 1, PATIENCE, "end of sleep")


def test_one_that_succeeds_and_does_not_do_it_fails_and_names_the_guard(box):
    box.run("touch /srv/stays")
    role(box, toml("creates", command='["/bin/true"]', creates='"/srv/x"'),
         toml("removes", command='["/bin/true"]', removes='"/srv/stays"'),
         toml("unless", command='["/bin/true"]', unless='"false"'),
         toml("only_if", command='["/bin/true"]', only_if='"true"'))
    results = {r["name"]: r for r in once(box).results}
    assert results["creates"]["error"] == "the command succeeded, but '/srv/x' ('creates') still does not exist"
    assert results["removes"]["error"] == "the command succeeded, but '/srv/stays' ('removes') still exists"
    for guard in "unless", "only_if":
        assert results[guard]["error"].startswith("still differs after it was applied: ")
        assert guard in results[guard]["error"]


def test_its_unit_has_the_properties(box):
    box.run("mkdir -m 777 /srv/made")
    role(box, toml(shell='"cat /proc/self/cgroup >/srv/made/cgroup; ulimit -n >/srv/made/files; touch /run/x 2>/srv/made/e;'
                         ' touch /srv/made/done"', creates='"/srv/made/done"',
                   unit='{ LimitNOFILE = "77:99", ProtectSystem = "strict", ReadWritePaths = ["/srv/made"], '
                        'Slice = "agentd-test.slice", MemoryMax = "256M" }'))
    daemon.start(box)
    daemon.wait_idle(box)
    assert box.exists("/srv/made/done"), daemon.states(box)
    assert "/agentd-test.slice/" in box.read("/srv/made/cgroup")
    assert box.read("/srv/made/files") == "77\n"
    assert "Read-only file system" in box.read("/srv/made/e")


def test_of_a_sensitive_state_no_core_dump_is_kept(box):
    """Of what the host lets others do."""
    box.write("/etc/systemd/system.conf.d/core.conf", "[Manager]\nDefaultLimitCORE=infinity\n")
    box.run("systemctl daemon-reexec")
    script = '"ulimit -Sc >/srv/%s; ulimit -Hc >>/srv/%s"'
    role(box, toml("open", shell=script % ("open", "open"), creates='"/srv/open"'),
         toml("hush", shell=script % ("hush", "hush"), creates='"/srv/hush"', sensitive="true"),
         toml("own", shell=script % ("own", "own"), creates='"/srv/own"', sensitive="true", unit='{ LimitCORE = "infinity" }'))
    done = once(box)
    assert done.summary["changed"] == 3, done.results
    assert [box.read(f"/srv/{name}").split() for name in ("open", "hush", "own")] == [["unlimited"] * 2, ["0", "0"], ["unlimited"] * 2]


def test_what_goes_missing_is_made_again(box):
    role(box, toml(command='["/usr/bin/touch", "/srv/made"]', creates='"/srv/made"'))
    daemon.start(box)
    daemon.wait_idle(box)
    after = daemon.last_event(box)
    box.run("rm /srv/made")
    event = daemon.wait_event(box, "state-changed", after=after)
    assert event["state"] == "exec:it"
    assert box.exists("/srv/made")


def test_it_comes_after_the_files_it_is_made_of(box):
    role(box, toml("a", command='["/srv/bin/make", "x"]', unless='["/srv/bin/look"]', directory='"/srv/made"'),
         '[file."/srv/made"]\nensure = "directory"\n[file."/srv/bin"]\nensure = "directory"\n',
         '[file."/srv/bin/look"]\ncontent = "#!/bin/sh\\ntest -e /srv/made/x\\n"\nmode = "0755"\n',
         '[file."/srv/bin/make"]\ncontent = "#!/bin/sh\\ntouch $1\\n"\nmode = "0755"\n')
    planned = {r["state"]: r["result"] for r in once(box, "--plan").results}
    assert planned["exec:a"] == "unknown", "the guard is not there yet"
    assert once(box).summary["changed"] == 5
    assert box.exists("/srv/made/x")
    assert once(box).summary["ok"] == 5
