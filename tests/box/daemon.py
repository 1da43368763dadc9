# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of the daemon share.

The life of it, all with a deadline:

    start(box, *options)        systemctl start agentd; returns at READY=1. Makes the accounts first. options: of agentd's
                                command line, as "--log-level=debug", "--module-dir=…" (module_dir=True: tests/modules)
    stop(box), restart(box)     systemctl stop, restart
    kill(box)                   SIGKILL, to the engine alone; returns when systemd has noticed
    main_pid(box)               of the engine; 0: it does not run
    settings(box, text)         writes /etc/agentd/agentd.toml; reload(box) then, or before start()
    reload(box)                 POST /v1/reload; its outcome (raises unless it is 200)
    set_unit(box, **settings)   a drop-in for agentd.service: set_unit(box, Restart="no"); daemon-reload if needed

Talking to it; both are methods of Box:

    box.api(method, path, body=None, user=None, timeout=…, headers=())
                                Answer(status, headers, body): body is parsed if it is JSON, a list if it is NDJSON
    box.agentctl(*words, json=False, user=None, timeout=…)
                                Ctl(returncode, stdout, stderr, objects): objects with json=True, a list, one a line

    get(box, path)              the body; raises unless it is 200
    status(box)                 GET /v1/status
    state(box, id)              GET /v1/states/{id}
    states(box)                 {id: result}
    apply(box, *states), plan(box, *states)
                                a run, waited for: Run(run, summary, results, error, returned); results {id: result object}
    items(box, path)            all items of a list, over its pages

Waiting, for the event and never for a while:

    last_event(box)             the number of the newest event: what is waited for comes after it
    wait_event(box, kind, after=N, state=, run=, where=, timeout=…)
                                the first event after N (0: ever) of that kind ("state-changed"; None: any)
    events(box, after=0, **filter)
                                those that are there
    wait_idle(box)              until nothing runs, loads or waits (looks every 10 ms)
    wait_prop(box, name, value) until a property of agentd.service has that in it
    wait_status(box, condition) until condition(status) is true; returns the status
    following(box, path)        a stream in the background: with following(box, "/v1/events?follow=true") as s: s.next()
    watching(box, *words)       likewise, of `agentctl watch --json`

What has settled takes effect by itself: box.role() and then wait_event(box, "roles-loaded", after=…).
"""

import collections
import contextlib
import json as jsonlib
import os
import select
import subprocess
import time
from urllib.parse import quote, urlencode

from box import PATIENCE, CommandFailed, kill_session, wait_until
from hostile import MODULES

AGENTD = "/usr/sbin/agentd"
SERVICE = "agentd.service"
DROP_IN = "/etc/systemd/system/agentd.service.d/test.conf"
SOCKET = "/run/agentd/agentd.sock"
STORE = "/var/lib/agentd/store.db"

Run = collections.namedtuple("Run", "run summary results error returned")


# ---- Life --------------------------------------------------------------------------------------------------------


def set_unit(box, **settings):
    """A drop-in of the service, in place of the one that this wrote before."""
    write_drop_in(box, "".join(f"{key}={value}\n" for key, value in settings.items()))


def write_drop_in(box, text, path=DROP_IN):
    box.write(path, f"[Service]\n{text}")
    if box.running:
        box.run("systemctl daemon-reload")


def start(box, *options, module_dir=None, timeout=PATIENCE):
    """Returns when agentd has loaded the roles and says that it is ready."""
    if module_dir:
        options += (f"--module-dir={MODULES if module_dir is True else module_dir}",)
    if options:
        write_drop_in(box, f"ExecStart=\nExecStart={AGENTD} {' '.join(options)}\n",
                      DROP_IN.replace("test.conf", "options.conf"))
    box.run("systemd-sysusers agentd.conf")
    systemctl(box, "start", timeout)


def stop(box, timeout=PATIENCE):
    systemctl(box, "stop", timeout)


def restart(box, timeout=2 * PATIENCE):
    systemctl(box, "restart", timeout)


def systemctl(box, verb, timeout):
    try:
        box.run(["systemctl", verb, SERVICE], timeout=timeout)
    except CommandFailed as e:
        said = box.run(["journalctl", "-q", "-b", "-n", "30", "--no-pager", "-u", SERVICE], check=False).stdout
        raise AssertionError(f"{e}\n{said}") from None


def prop(box, name, unit=SERVICE):
    """A property of a unit, as text."""
    return box.run(["systemctl", "show", "--value", f"--property={name}", unit]).stdout.rstrip("\n")


def main_pid(box):
    return int(prop(box, "MainPID"))


def kill(box, signal="KILL"):
    """What a crash of the engine does; systemd then does what the unit says. Returns when it has seen the end."""
    pid = main_pid(box)
    assert pid > 0, "agentd does not run"
    box.run(["kill", f"-{signal}", str(pid)])
    wait_until(lambda: main_pid(box) != pid, PATIENCE, f"agentd ends of SIG{signal}")


def settings(box, text):
    box.write("/etc/agentd/agentd.toml", text)


def reload(box, timeout=PATIENCE):
    answer = box.api("POST", "/v1/reload", timeout=timeout)
    assert answer.status == 200, answer
    return answer.body


# ---- Asking ------------------------------------------------------------------------------------------------------


def get(box, path, **options):
    answer = box.api("GET", path, **options)
    assert answer.status == 200, (path, answer)
    return answer.body


def status(box):
    return get(box, "/v1/status")


def state(box, id_):
    return get(box, f"/v1/states/{quote(id_, safe='')}")


def items(box, path):
    """All of a list, page by page."""
    found, after = [], None
    while True:
        separator = "&" if "?" in path else "?"
        page = get(box, path if after is None else f"{path}{separator}after={quote(str(after), safe='')}")
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def states(box):
    return {s["state"]: s["result"] for s in items(box, "/v1/states?limit=1000")}


def run_states(box, mode, patterns, timeout, **options):
    body = {"mode": mode, "states": list(patterns)} | options
    if not patterns:
        del body["states"]
    answer = box.api("POST", "/v1/runs?follow=true", body, timeout=timeout)
    assert answer.status == 200, answer
    run = answer.body[-1]
    assert "run" in run and "summary" in run, answer.body
    results = {line["state"]: line for line in answer.body if "state" in line}
    return Run(run["run"], run["summary"], results, run["error"], run)


def apply(box, *patterns, timeout=PATIENCE, **options):
    return run_states(box, "apply", patterns, timeout, **options)


def plan(box, *patterns, timeout=PATIENCE, **options):
    return run_states(box, "plan", patterns, timeout, **options)


# ---- Waiting -----------------------------------------------------------------------------------------------------


def events(box, after=0, **wanted):
    """Events after that number, oldest first. wanted: kind=, state= (a glob), run=."""
    query = urlencode({"limit": 1000} | wanted)
    found = []
    while True:
        page = get(box, f"/v1/events?after={after}&{query}")
        found += page["items"]
        if page["next"] is None:
            return found
        after = page["next"]


def last_event(box):
    found = events(box)
    return found[-1]["event"] if found else 0


def wait_event(box, kind=None, after=0, where=None, timeout=PATIENCE, **wanted):
    """The first event after that number which is as wanted; where(event) may have a say as well."""
    if kind:
        wanted["kind"] = kind

    def is_wanted(event):
        assert "event" in event, event  # what was asked for is refused
        return not where or where(event)

    with following(box, f"/v1/events?{urlencode({'after': after, 'follow': 'true'} | wanted)}") as stream:
        return stream.wait(is_wanted, timeout, f"event {wanted}")


def wait_prop(box, name, value, unit=SERVICE):
    """Until a property of a unit is so: what agentd tells systemd is there a moment after it is so."""
    wait_until(lambda: value in prop(box, name, unit), PATIENCE, f"{name} of {unit} to be {value}")


def wait_status(box, condition, timeout=PATIENCE, what="status"):
    deadline = time.monotonic() + timeout
    while not condition(now := status(box)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s: {now}")
        time.sleep(0.01)
    return now


def wait_idle(box, timeout=PATIENCE):
    return wait_status(box, lambda s: s["state"] == "idle" and not s["runs"], timeout, "agentd is idle")


class Stream:
    """Lines of JSON that a process in the box prints as they come."""

    def __init__(self, process):
        self.process = process
        self.seen = []  # all that was read
        self._buffer = b""

    def _line(self, deadline):
        """The next one; None at the deadline or at the end."""
        pipe = self.process.stdout
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return None
            data = os.read(pipe.fileno(), 65536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        self.seen.append(jsonlib.loads(line))
        return self.seen[-1]

    def lines(self, timeout=PATIENCE):
        """Those that come until the end of the stream, or the time is over."""
        deadline = time.monotonic() + timeout
        while (line := self._line(deadline)) is not None:
            yield line

    def next(self, timeout=PATIENCE):
        """The next line."""
        return self.wait(None, timeout, "a line")

    def wait(self, where, timeout=PATIENCE, what="a line"):
        """The next line for which where(object) is true; those before it are in .seen."""
        begun = len(self.seen)
        for line in self.lines(timeout):
            if not where or where(line):
                return line
        ended = self.process.poll()
        raise TimeoutError(f"{what}: not within {timeout} s" + (f", ended with {ended}" if ended is not None else "") +
                           f"; instead: {self.seen[begun:]}")


@contextlib.contextmanager
def background(box, argv):
    process = subprocess.Popen(box._nsenter(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               env=box.ENVIRONMENT, start_new_session=True)
    try:
        yield Stream(process)
    finally:
        kill_session(process)


def following(box, path):
    return background(box, ["curl", "-sS", "-N", "--unix-socket", SOCKET, f"http://localhost{path}"])


def watching(box, *words):
    return background(box, ["agentctl", "watch", "--json", *words])
