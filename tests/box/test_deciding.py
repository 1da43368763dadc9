# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands that decide: what `agentd_run_command()` gives a check, and what such a command cannot do.

The module is tests/modules/decide.c, which reports how its command ended.
"""

import collections
import re

import daemon
from box import PATIENCE, wait_until
from hostile import by_name, once, states

Told = collections.namedtuple("Told", "end code output errors explanation truncated")
EXITED, KILLED, TIMED_OUT, NOT_RUN = range(4)


def no_sleep_is_left(box):
    """Who was killed may be seen until somebody has looked at how he ended."""
    wait_until(lambda: not box.run(["pgrep", "-x", "sleep"], check=False).stdout, PATIENCE, "end of sleep")


def told(result):
    """What a state of the type `decide` reported."""
    assert result["error"] is None, result
    is_ = {d["attribute"]: (d["is"], d["should"]) for d in result["differences"]}
    return Told(*is_["end"], *is_["output"], is_["explanation"][0], is_["explanation"][1] == "truncated")


def decide(box, scripts, *arguments, type_="decide", **extra):
    """{name: what came of it} of shell scripts by name, in a plan."""
    done = once(box, states(type_, {name: {"shell": script, **extra} for name, script in scripts.items()}), "--plan",
                *arguments)
    results = by_name(done.results)
    assert set(results) == set(scripts), done.stderr
    return {name: told(result) for name, result in results.items()}


def test_it_reads_what_only_root_can_and_is_nobody_else(box):
    box.write("/root/secret", "text\n", mode=0o600)
    box.run("mkdir -m 700 /srv/closed; echo deep >/srv/closed/file; chmod 600 /srv/closed/file")
    done = decide(box, {
        "read": "cat /root/secret /srv/closed/file",
        "child": "sh -c 'sh -c \"cat /root/secret\"'",
        "who": "id -un; id -G; umask; pwd",
        "status": "cat /proc/self/status",
    })
    assert done["read"][:4] == (EXITED, 0, "text\ndeep\n", "")
    assert done["child"].output == "text\n"
    gid = box.run("id -g agentd-check").stdout.strip()
    assert done["who"].output == f"agentd-check\n{gid}\n0022\n/\n"
    me = dict(line.split(":\t", 1) for line in done["status"].output.splitlines() if ":\t" in line)
    only = f"{1 << 2:016x}"
    assert [me[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [only] * 5
    assert (me["NoNewPrivs"], me["Seccomp"]) == ("1", "2")


def test_it_can_write_nothing_but_its_own_tmp(box):
    box.run("mkdir -m 777 /srv/open; touch /tmp/of-the-host /srv/open/file; chmod 666 /srv/open/file")
    places = ["/etc", "/root", "/run", "/var/tmp", "/dev/shm", "/usr", "/srv/open", "/proc/sys/kernel/hostname"]
    scripts = {f"write {place}": f"echo x >{place}{'' if 'proc' in place else '/new'}" for place in places}
    done = decide(box, {
        **scripts,
        "append": "echo x >>/srv/open/file",
        "chmod": "chmod 600 /srv/open/file",
        "remove": "rm /srv/open/file",
        "remount": "mount -o remount,rw /",
        "mount": "mount -t tmpfs tmpfs /srv/open",
        "set-uid": "cp /bin/true /tmp/t && chmod 4755 /tmp/t && mount | grep ' /tmp ' | tail -n 1 | grep -c 'nosuid,nodev'",
        "device": "mknod /tmp/null c 1 3",
    })
    for name in (*scripts, "append", "chmod", "remove", "remount", "mount", "device"):
        assert done[name].end == EXITED and done[name].code != 0, (name, done[name])
        assert re.search("Read-only file system|Permission denied|Operation not permitted|must be superuser|permission denied",
                         done[name].errors), (name, done[name])
    assert done["set-uid"][:3] == (EXITED, 0, "1\n")
    assert box.run("ls -A /srv/open /tmp/of-the-host; stat -c %s:%a /srv/open/file").stdout.split() == \
        ["/tmp/of-the-host", "/srv/open:", "file", "0:666"]


def test_tmp_is_empty_for_each_command_and_never_that_of_the_host(box):
    box.run("touch /tmp/of-the-host")
    fill = "set -e; ls -A /tmp; mkdir -p /tmp/a/b/c; echo x >/tmp/a/b/c/f; mkfifo /tmp/p; ln -s /etc /tmp/link; " \
           "chmod 0 /tmp/a/b; head -c 1000000 /dev/zero >/tmp/zeros; d=/tmp; " \
           "for i in $(seq 80); do d=$d/deep; mkdir $d; done; chmod 0 /tmp/deep; mktemp >/dev/null"
    done = decide(box, {f"n{i}": fill for i in range(6)})
    for told_ in done.values():
        assert told_[:4] == (EXITED, 0, "", "")
    assert "deep" not in box.run("ls -A /tmp").stdout
    assert box.exists("/etc/passwd"), "a link was not followed"


def test_tmp_and_its_files_have_a_size(box):
    done = decide(box, {
        "file": "head -c 100M /dev/zero >/tmp/x; stat -c %s /tmp/x",
        "files": "for i in 1 2 3; do head -c 30M /dev/zero >/tmp/x$i || exit 7; done",
        "next": "head -c 30M /dev/zero >/tmp/x",
    })
    assert int(done["file"].output) <= 64 << 20
    assert done["files"].code == 7 and "No space left" in done["files"].errors
    assert done["next"].code == 0


def test_it_signals_nobody(box):
    box.run("systemd-run --unit=target -p User=agentd-check /bin/sleep 1000")
    pid = box.run("systemctl show -P MainPID target.service").stdout.strip()
    done = decide(box, {
        "init": "kill -9 1", "target": f"kill -9 {pid}", "group": "kill -KILL 0", "all": "kill -9 -1",
        "after": "echo alive",
    })
    assert done["target"].code != 0
    # Its own group is all that it reaches, not the worker.
    assert done["group"][:2] == (KILLED, 9)
    assert done["after"].output == "alive\n"
    assert box.run("systemctl show -P MainPID target.service").stdout.strip() == pid


def test_it_reaches_no_network(box):
    box.write("/srv/inet", """#!/usr/bin/python3
import socket, sys
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_PACKET):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
        print("made")
    except PermissionError:
        print("refused")
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect("/run/systemd/private") if len(sys.argv) > 1 else None
""", mode=0o755)
    done = decide(box, {"inet": "/srv/inet", "private": "/srv/inet x"})
    assert done["inet"].output == "refused\n" * 3
    assert done["private"].code != 0 and "Permission" in done["private"].errors


def test_it_gets_at_none_of_the_processes_around_it(box):
    # The engine, workers and runners, whose numbers it sees in the /proc of the host.
    around = 'n=0; for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in agentd*) n=$((n+1)); '
    end = ';; esac; done; echo $n'
    done = decide(box, {
        "environment": around + 'cat $p/environ && echo got' + end,
        "memory": around + 'head -c 1 $p/mem && echo got; (: 4<>$p/mem) && echo got' + end,
        "maps": around + 'cat $p/maps | grep . && echo got' + end,
        "descriptors": around + 'for f in $p/fd/*; do readlink $f && echo got; (: <$f) && echo got; (: >$f) && echo got; done' + end,
        "root": around + 'ls $p/root/ | grep . && echo got' + end,
        "namespaces": around + 'nsenter --mount=$p/ns/mnt true && echo got; nsenter --pid=$p/ns/pid true && echo got' + end,
        "trace": "command -v strace >/dev/null || exit 77; strace -p 1 && echo got",
        "first": "kill -KILL 1; kill -TERM 1; kill -STOP 1; echo sent",
        "next": "echo next",
    })
    for name in ("environment", "memory", "maps", "descriptors", "root", "namespaces"):
        words = done[name].output.split()
        assert len(words) == 1 and int(words[0]) >= 2, (name, done[name])
    assert "got" not in done["trace"].output
    # It is the first process there, and hears nothing of those that it started.
    assert (done["first"].output, done["next"].output) == ("sent\n", "next\n")


def test_nothing_that_it_starts_survives(box):
    away = "sleep 4321 & (sleep 4321 & sleep 4321 &) & setsid sleep 4321 & nohup setsid sh -c 'sleep 4321' 2>/dev/null & "
    done = decide(box, {
        "left": away + "echo gone",
        "forks": "sh -c 'while :; do sh -c \"sleep 4321 &\"; done' & echo begun",
        "next": "echo next",
    })
    assert done["left"].output == "gone\n"
    assert done["next"].output == "next\n"
    no_sleep_is_left(box)


def test_one_that_takes_too_long_is_killed_with_all_that_it_started(box):
    done = decide(box, {"slow": "trap '' TERM; sleep 4321 & echo begun; echo why >&2; sleep 4321"}, limit="5s")
    assert done["slow"][:4] == (TIMED_OUT, 9, "begun\n", "why\n")
    assert done["slow"].explanation.startswith("it did not end within 5s") and done["slow"].explanation.endswith(": why")
    no_sleep_is_left(box)


def test_a_command_has_no_more_time_than_its_state(box):
    done = decide(box, {"slow": "sleep 4321", "next": "echo next"}, timeout="6s")
    assert done["slow"][:2] == (TIMED_OUT, 9)
    assert done["next"].output == "next\n"


def test_how_it_ended_is_told(box):
    text = states("decide", {
        "status": {"shell": "echo out; echo first >&2; echo 'last: bad\t' >&2; echo >&2; exit 3"},
        "signal": {"shell": "kill -SEGV $$"},
        "input": {"command": ["/usr/bin/tr", "a-z", "A-Z"], "input": "text"},
        "much": {"shell": "yes | head -c 100000", "output_max": 10},
        "missing": {"command": ["/nonexistent/program"]},
        "directory": {"command": ["/bin/pwd"], "directory": "/usr"},
        "user": {"command": ["/usr/bin/id"], "as": "root"},
    })
    results = by_name(once(box, text, "--plan").results)
    assert results.pop("user")["error"] == "agentd_run_command() says EOPNOTSUPP"
    done = {name: told(result) for name, result in results.items()}
    assert done["status"] == Told(EXITED, 3, "out\n", "first\nlast: bad\t\n\n", "it exited with status 3: last: bad", False)
    assert done["signal"][:2] == (KILLED, 11) and done["signal"].explanation == "it was killed by SIGSEGV"
    assert done["input"].output == "TEXT"
    assert done["much"][:3] == (EXITED, 0, "y\n" * 5) and done["much"].truncated
    assert done["missing"][:2] == (NOT_RUN, 2)
    assert done["missing"].explanation == "'/nonexistent/program' could not be executed: No such file or directory"
    assert done["directory"].output == "/usr\n"


def test_a_module_that_did_not_say_so_runs_commands_that_write_nothing(box):
    done = decide(box, {"write": "echo x >/tmp/x", "read": "cat /etc/hostname", "left": "sleep 4321 & echo gone"},
                  type_="decide-quietly")
    assert done["write"].code != 0
    assert done["read"].code == 0
    assert done["left"].output == "gone\n"
    no_sleep_is_left(box)


def test_in_the_open_it_runs_as_root(box):
    done = once(box, states("decide", {"a": {"shell": "id -u; sleep 4321 & setsid sleep 4321 &", "check_as_root": True,
                                             "audit": True}}))
    assert told(done.results[0]).output == "0\n"
    no_sleep_is_left(box)


def test_with_root_it_runs_in_there(box):
    box.run("""mkdir -p /srv/root/bin /srv/root/tmp /srv/root/etc
        for f in sh cat ls; do
            cp /bin/$f /srv/root/bin/
            ldd /bin/$f | grep -o '/[^ ]*' | while read l; do mkdir -p /srv/root/$(dirname $l); cp $l /srv/root/$l; done
        done
        echo inner >/srv/root/etc/name; touch /tmp/of-the-host""")
    done = decide(box, {"a": "cat /etc/name; ls /tmp; echo x >/tmp/x; ls /tmp", "b": "ls /tmp; echo x >/etc/x"},
                  "--root", "/srv/root")
    assert done["a"][:3] == (EXITED, 0, "inner\nx\n"), done["a"]
    assert done["b"].output == "" and done["b"].code != 0
    results = once(box, states("decide-quietly", {"a": {"shell": "true"}}), "--plan", "--root", "/srv/root").results
    assert results[0]["error"] == "agentd_run_command() says EOPNOTSUPP"




def begin_slow_check(box):
    """A daemon, a worker of which waits for a command; returns when that has begun."""
    box.role("slow", states("decide", {"slow": {"shell": "(sleep 4321 &) & sleep 4321", "timeout": "10min"}}))
    daemon.start(box, module_dir=True)
    wait_until(lambda: box.run(["pgrep", "-xc", "sleep"], check=False).stdout == "2\n", PATIENCE, "two of sleep")


def test_commands_end_with_the_daemon(box):
    begin_slow_check(box)
    daemon.set_unit(box, Restart="no")
    daemon.kill(box)
    no_sleep_is_left(box)


def test_commands_end_with_the_worker(box):
    begin_slow_check(box)
    before = set(box.run(["pgrep", "-x", "sleep"]).stdout.split())
    box.run("kill -KILL $(pgrep -x agentd-check)")
    # The state is asked again, by another worker, which has commands of its own.
    wait_until(lambda: not before & set(box.run(["pgrep", "-x", "sleep"], check=False).stdout.split()), PATIENCE, "end of sleep")
