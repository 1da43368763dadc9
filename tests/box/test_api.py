# SPDX-License-Identifier: LGPL-2.1-or-later
"""The local interface of the running daemon: answers are as docs/openapi.json says, and nobody gets in who may not."""

import collections
import datetime
import json
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from box import PATIENCE, kill_session, lines_until, wait_until

jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is missing")

SOCKET = "/run/agentd/agentd.sock"
OPENAPI = json.loads((Path(__file__).resolve().parents[2] / "docs/openapi.json").read_text())

Answer = collections.namedtuple("Answer", "status headers body text")

# Nobody repairs anything but the runs that the tests ask for.
ROLE = """
[file."/etc/motd"]
watch = false
content = "hello\\n"

[file."/srv/a"]
watch = false
ensure = "directory"

[file."/srv/a/b"]
watch = false
content = "b\\n"

[file."/srv/broken/x"]
watch = false
content = "its directory is not there\\n"

[file."/srv/after"]
watch = false
content = "never\\n"
requires = ["file:/srv/broken/x"]
"""
STATES = ["file:/etc/motd", "file:/srv/a", "file:/srv/a/b", "file:/srv/after", "file:/srv/broken/x"]

# ---- What openapi.json says ----


def validate(schema, body):
    jsonschema.Draft202012Validator({**schema, "components": OPENAPI["components"]}).validate(body)


def named(name):
    return {"$ref": f"#/components/schemas/{name}"}


def resolve(node):
    while "$ref" in node:
        target = OPENAPI
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def described(method, path):
    """The operation that a path without its query belongs to; literal ones win."""
    for template in sorted(OPENAPI["paths"], key=lambda t: (t.count("{"), -len(t))):
        # A variable part at the end may have slashes.
        pattern = re.sub(r"\{\w+\}$", ".+", template)
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return OPENAPI["paths"][template].get(method.lower())
    return None


def check(method, target, answer):
    """The answer is one that openapi.json describes."""
    operation = described(method, target.partition("?")[0])
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if operation is None:
        assert answer.status in (403, 404, 405), (method, target, answer)
        validate(named("Problem"), answer.body)
        return
    assert str(answer.status) in operation["responses"], (method, target, answer)
    content = resolve(operation["responses"][str(answer.status)]).get("content")
    if content is None:
        assert answer.text == "", (method, target, answer)
    else:
        assert kind in content, (method, target, answer)
        validate(content[kind]["schema"], answer.text if kind == "text/plain" else answer.body)


# ---- Asking ----


def curl(method, target, body, headers):
    argv = ["curl", "--silent", "--show-error", "--include", "--no-buffer", "--path-as-is", "--max-time", str(PATIENCE),
            "--unix-socket", SOCKET, "--request", method, f"http://localhost{target}"]
    for header in headers:
        argv += ["--header", header]
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body)
        argv += ["--header", "Content-Type: application/json", "--data-binary", text]
    return argv


def as_user(user):
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []


def parse(output):
    head, _, text = output.partition("\n\n")
    first, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    is_json = "json" in headers.get("content-type", "") and "ndjson" not in headers["content-type"]
    return Answer(int(first.split()[1]), headers, json.loads(text) if is_json and text else None, text)


def ask(box, method, target, body=None, user=None, headers=(), timeout=PATIENCE):
    """Asks with curl in the box; the answer is checked against openapi.json."""
    answer = parse(box.run([*as_user(user), *curl(method, target, body, headers)], timeout=timeout).stdout)
    check(method, target, answer)
    return answer


def get(box, target, **query):
    answer = ask(box, "GET", target + ("?" + urlencode(query) if query else ""))
    assert answer.status == 200, answer
    return answer.body


def problem(answer, status, type_, detail=""):
    assert answer.status == status and answer.body["status"] == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["type"] == f"urn:agentd:{type_}", answer
    assert detail in answer.body["detail"], answer


def pages(box, target, **query):
    """All items, asked for one by one."""
    items, after = [], {}
    while True:
        page = get(box, target, limit=1, **query, **after)
        assert len(page["items"]) <= 1
        items += page["items"]
        if page["next"] is None:
            return items
        after = {"after": page["next"]}
        assert len(items) < 1000


class Stream:
    """A stream that is read as it comes. Each line is checked against the schema."""

    def __init__(self, box, method, target, schema, body=None):
        self.schema = schema
        self.process = subprocess.Popen(
            [*box.nsenter(box.leader), *[word for word in curl(method, target, body, ()) if word != "--include"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=box.ENVIRONMENT, start_new_session=True)
        self.deadline = time.monotonic() + PATIENCE
        self.lines = lines_until(self.process.stdout, self.deadline)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kill_session(self.process)

    def __iter__(self):
        return self

    def __next__(self):
        line = json.loads(next(self.lines))
        validate(named(self.schema), line)
        return line

    def until(self, condition):
        for line in self:
            if condition(line):
                return line
        raise AssertionError("the stream ended, or nothing came in time")


def idle(box, timeout=PATIENCE):
    """Waits until nothing is under way and the run at boot is over; returns the status."""
    status = {}

    def is_idle():
        nonlocal status
        answer = ask(box, "GET", "/v1/status")
        status = answer.body if answer.status == 200 else {}
        return status.get("state") == "idle" and status["last_run"] and not status["runs"]

    wait_until(is_idle, timeout, "agentd is idle")
    return status


def finished(box, run, timeout=PATIENCE):
    """Waits until a run is over; returns it."""
    body = {}

    def is_over():
        nonlocal body
        body = get(box, f"/v1/runs/{run}")
        return body["finished"] is not None

    wait_until(is_over, timeout, f"run {run} is over")
    return body


def apply(box, **request):
    answer = ask(box, "POST", "/v1/runs", request or None)
    assert answer.status == 202, answer
    assert answer.headers["location"] == f"/v1/runs/{answer.body['run']}"
    return finished(box, answer.body["run"])


def start(box, role=ROLE):
    if not box.running:
        box.start()
    # Groups before agentd, which looks them up once. Who is in one of them, and who is in none.
    box.run(["systemd-sysusers"])
    box.run(["systemd-sysusers", "-"], input="u reader -\nu writer -\nu nobodys -\nm reader agentd\nm writer agentd-admin\n")
    if role:
        box.role("test", role)
    box.run("systemctl start agentd")
    return box


@pytest.fixture
def host(box):
    """A host whose agentd has done its run at boot."""
    start(box)
    idle(box)
    return box


CLIENT = f"""
import socket, sys, time

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(100)
    s.connect({SOCKET!r})
    return s

def finish(s):
    data = b""
    while True:
        try:
            more = s.recv(1 << 16)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more
"""


def client(box, script, user=None, timeout=2 * PATIENCE):
    """Runs Python in the box, which has little more than sockets there: connect() makes one, finish() reads it to its end.
    Returns what it prints."""
    return box.run([*as_user(user), "python3", "-c", CLIENT + script], timeout=timeout).stdout


# ---- Looking ----


def test_each_endpoint_answers_as_described(host):
    listed = {(item["method"], item["path"]) for item in get(host, "/v1/")["items"]}
    assert listed == {(method.upper(), path) for path, item in OPENAPI["paths"].items() for method in item}
    run = get(host, "/v1/runs")["items"][0]["run"]
    for method, path in sorted(listed):
        if method == "GET":
            target = path.replace("{id}", quote(STATES[0], safe=":")).replace("{run}", str(run))
            assert ask(host, "GET", target).status == 200, target
    assert ask(host, "GET", "/v1/facts").body["os"]["id"] == "debian"
    head = host.run(["curl", "--silent", "--head", "--unix-socket", SOCKET, "http://localhost/v1/status"]).stdout
    assert head.startswith("HTTP/1.1 200")


def test_status_says_how_the_host_is(host):
    status = get(host, "/v1/status")
    assert status["roles"]["n_roles"] == 1 and status["roles"]["n_states"] == 5 and status["roles"]["errors"] == []
    assert status["states"] == {"none": 0, "ok": 0, "changed": 3, "drifted": 0, "unknown": 0, "failed": 1, "skipped": 0,
                                "blocked": 1}
    assert status["last_run"]["cause"] == "boot" and status["disabled"] is None and status["store"]["error"] is None
    assert str(status["pid"]) == host.run("systemctl show -P MainPID agentd").stdout.strip()


def test_health_follows_the_roles(host):
    assert ask(host, "GET", "/healthz").body == {"healthy": True, "reason": None}
    host.role("bad", "[file.x]\ncontnet = 1\n")
    problem(ask(host, "POST", "/v1/reload"), 422, "invalid-roles", "error")
    answer = ask(host, "GET", "/healthz")
    assert answer.status == 503 and "bad.toml" in answer.body["reason"]
    status = get(host, "/v1/status")
    assert status["roles"]["errors"] and status["roles"]["n_states"] == 5
    host.run("rm /etc/agentd/conf.d/bad.toml")
    answer = ask(host, "POST", "/v1/reload")
    assert answer.status == 200 and answer.body["changed"] is False
    assert ask(host, "GET", "/healthz").status == 200


def test_without_roles_that_load_nothing_is_ready(box):
    start(box, "[file.x]\ncontnet = 1\n")
    assert ask(box, "GET", "/healthz").status == 503
    problem(ask(box, "GET", "/v1/states"), 503, "not-ready", "no roles")
    problem(ask(box, "POST", "/v1/runs"), 503, "not-ready", "no roles")
    status = get(box, "/v1/status")
    assert status["roles"]["loaded"] is None and status["roles"]["errors"]


def test_metrics_are_numbers(host):
    text = ask(host, "GET", "/metrics").text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['agentd_states{result="failed"}'] == "1" and samples["agentd_healthy"] == "1"
    assert samples['agentd_results_total{result="changed"}'] == "3" and samples["agentd_store_ok"] == "1"
    assert all(re.fullmatch(r"\d+(\.\d+)?", value) for value in samples.values())
    assert 1 << 20 < int(samples["agentd_memory_bytes"]) < 1 << 27


def test_what_did_not_change_is_not_sent_again(host):
    for target in "/v1/states", "/v1/runs", "/v1/states/file:%2Fetc%2Fmotd", "/v1/events", "/v1/":
        tag = ask(host, "GET", target).headers["etag"]
        again = ask(host, "GET", target, headers=[f"If-None-Match: {tag}"])
        assert again.status == 304 and again.text == "" and again.headers["etag"] == tag
    tag = ask(host, "GET", "/v1/runs").headers["etag"]
    apply(host)
    assert ask(host, "GET", "/v1/runs", headers=[f"If-None-Match: {tag}"]).status == 200


def test_states_are_filtered_and_paged(host):
    assert sorted(s["state"] for s in get(host, "/v1/states")["items"]) == STATES
    assert sorted(s["state"] for s in pages(host, "/v1/states")) == STATES
    assert [s["state"] for s in get(host, "/v1/states", result="failed")["items"]] == ["file:/srv/broken/x"]
    assert [s["state"] for s in get(host, "/v1/states", result="blocked")["items"]] == ["file:/srv/after"]
    assert len(get(host, "/v1/states", type="file", role="test", match="*/srv/a*")["items"]) == 3
    assert len(pages(host, "/v1/states", match="file:/srv/a/*")) == 1
    assert get(host, "/v1/states", result="skipped")["items"] == []
    for query, hint in [("result=faild", "failed"), ("type=flie", "file"), ("role=tset", "test"), ("rslt=ok", "result"),
                        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("after=x", "cursor")]:
        problem(ask(host, "GET", f"/v1/states?{query}"), 400, "bad-request", hint)


def test_pages_go_on_when_the_roles_change(host):
    first = get(host, "/v1/states", limit=1)
    host.role("another", '[file."/srv/zzz"]\nensure = "absent"\n')
    host.role("aaa", '[file."/srv/000"]\nensure = "absent"\n')
    # Whether this load takes them over, or the one that follows from the change.
    assert ask(host, "POST", "/v1/reload").status == 200
    rest = get(host, "/v1/states", after=first["next"])["items"]
    got = [s["state"] for s in first["items"] + rest]
    assert set(STATES) <= set(got) and len(got) == len(set(got))


def test_a_state_tells_its_neighbours_and_its_history(host):
    state = get(host, "/v1/states/" + quote("file:/srv/after", safe=""))
    assert state["requires"] == ["file:/srv/broken/x"] and state["required_by"] == [] and state["result"] == "blocked"
    state = get(host, "/v1/states/file:/srv/broken/x")
    assert state["required_by"] == ["file:/srv/after"] and state["result"] == "failed" and state["error"]
    assert state["file"] == "/etc/agentd/conf.d/test.toml" and state["line"] > 1
    assert [entry["result"] for entry in state["history"]] == ["failed"]
    state = get(host, "/v1/states/file:%2Fsrv%2Fa%2Fb")
    assert "file:/srv/a" in state["requires"] and {"kind": "path", "what": "/srv/a/b"} in state["watches"]
    assert state["history"][0]["result"] == "changed" and state["changed"] is not None
    problem(ask(host, "GET", "/v1/states/file:%2Fetc%2Fmodt"), 404, "not-found", "did you mean 'file:/etc/motd'?")
    problem(ask(host, "GET", "/v1/states/%ff"), 400, "bad-request")


def test_secrets_of_a_sensitive_state_are_nowhere(host):
    host.role("secret", '[file."/srv/secret"]\ncontent = "hunter2-hunter2"\nsensitive = true\n')
    assert ask(host, "POST", "/v1/reload").status == 200
    wait_until(lambda: host.exists("/srv/secret"), PATIENCE, "the new state is applied")
    idle(host)
    apply(host, mode="plan", diff=True)
    for target in ("/v1/states/file:%2Fsrv%2Fsecret", "/v1/events", "/v1/runs", "/v1/status", "/metrics"):
        assert "hunter2" not in ask(host, "GET", target).text


def test_wrong_requests_are_problems(host):
    problem(ask(host, "GET", "/"), 404, "not-found")
    problem(ask(host, "GET", "/v1/sttus"), 404, "not-found", "/v1/status")
    problem(ask(host, "GET", "/v1/runs/0"), 404, "not-found")
    problem(ask(host, "GET", "/v1/runs/99999999/results"), 404, "not-found")
    problem(ask(host, "DELETE", "/v1/runs/99999999"), 404, "not-found")
    answer = ask(host, "DELETE", "/v1/status")
    problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]
    for body, hint in [("{", "JSON"), ("[]", "object"), ('{"mod": "plan"}', "mode"), ('{"mode": "pln"}', "plan"),
                       ('{"states": []}', "states"), ('{"states": "x"}', "states"), ('{"diff": 1}', "diff"),
                       ('{"a": 1, "a": 2}', "")]:
        problem(ask(host, "POST", "/v1/runs", body), 400, "bad-request", hint)
    problem(ask(host, "POST", "/v1/runs", {"states": ["file:/etc/modt"]}), 404, "not-found", "file:/etc/motd")
    for body in {}, {"reason": ""}, {"reason": "x", "for": "soon"}, {"reason": "a\nb"}:
        problem(ask(host, "POST", "/v1/disable", body), 400, "bad-request")
    # Larger than a command line may be.
    host.write("/run/large", json.dumps({"states": ["x" * 70000]}))
    problem(ask(host, "POST", "/v1/runs", "@/run/large"), 413, "too-large")
    assert get(host, "/v1/status")["runs"] == []


# ---- Runs ----


def test_a_run_is_started_and_looked_at(host):
    host.write("/etc/motd", "drifted\n")
    answer = ask(host, "POST", "/v1/runs", {"states": ["file:/etc/*"]})
    assert answer.status == 202 and answer.body["cause"] == "request" and answer.body["mode"] == "apply"
    run = finished(host, answer.body["run"])
    assert run["summary"]["changed"] == 1 and run["error"] is None
    assert host.read("/etc/motd") == "hello\n"
    everything = apply(host)
    assert everything["summary"]["failed"] == 1 and everything["summary"]["blocked"] == 1
    results = get(host, f"/v1/runs/{everything['run']}/results")["items"]
    assert {r["state"]: r["result"] for r in results} == {"file:/srv/broken/x": "failed", "file:/srv/after": "blocked"}
    assert [r["state"] for r in pages(host, f"/v1/runs/{everything['run']}/results")] == [r["state"] for r in results]


def test_a_plan_says_what_would_change(host):
    assert ask(host, "POST", "/v1/disable", {"reason": "a plan looks"}).status == 200
    host.write("/etc/motd", "drifted\n")
    run = apply(host, mode="plan", states=["file:/etc/motd"], diff=True)
    assert run["mode"] == "plan" and run["summary"]["drifted"] == 1
    result, = get(host, f"/v1/runs/{run['run']}/results")["items"]
    content, = [d for d in result["differences"] if d["attribute"] == "content"]
    assert "-drifted" in content["diff"] and "+hello" in content["diff"]
    assert host.read("/etc/motd") == "drifted\n"


def test_only_what_failed_is_tried_again(host):
    host.run("mkdir /srv/broken")
    run = apply(host, only_failed=True)
    assert run["summary"]["changed"] == 2 and run["summary"]["failed"] == 0
    assert sum(run["summary"].values()) == 2


def test_runs_are_listed_newest_first(host):
    for _ in range(3):
        apply(host, mode="plan")
        apply(host)
    runs = get(host, "/v1/runs", limit=1000)["items"]
    numbers = [r["run"] for r in runs]
    assert numbers == sorted(set(numbers), reverse=True) and len(numbers) >= 7
    assert [r["run"] for r in pages(host, "/v1/runs")] == numbers
    plans = [r["run"] for r in pages(host, "/v1/runs", mode="plan")]
    assert plans == [r["run"] for r in runs if r["mode"] == "plan"] and len(plans) == 3
    problem(ask(host, "GET", "/v1/runs?mode=pln"), 400, "bad-request", "plan")
    # Those that are in the store are there after a restart; plans are not.
    host.run("systemctl restart agentd")
    idle(host)
    kept = [r["run"] for r in pages(host, "/v1/runs")]
    assert kept[0] > numbers[0] and set(kept) - {kept[0]} <= set(numbers) and not set(plans) & set(kept)


def test_a_run_is_followed_to_its_end(host):
    with Stream(host, "POST", "/v1/runs?follow=true", "RunLine", {"progress": True}) as stream:
        lines = list(stream)
        assert stream.process.wait(PATIENCE) == 0
    results = [line for line in lines if "state" in line]
    assert sorted(r["state"] for r in results) == STATES
    assert "summary" in lines[-1] and lines[-1]["finished"] and lines[-1]["summary"]["failed"] == 1
    order = [r["state"] for r in results]
    assert order.index("file:/srv/a") < order.index("file:/srv/a/b")
    assert order.index("file:/srv/broken/x") < order.index("file:/srv/after")


def waiting_host(box, names="ab", chain=False):
    """With states whose checks wait until they are let go; chain: each requires the one before."""
    box.run("mkdir -p /usr/lib/agentd/modules && cp /usr/lib/agentd-tests/modules/trouble.so /usr/lib/agentd/modules/")
    role = ""
    for i, (before, name) in enumerate(zip([None, *names], names)):
        # Of different timeouts, so that each is a batch of its own.
        role += f'[trouble.{name}]\ndo = "wait"\npath = "/run/go/{name}"\ntimeout = "{10 + i}min"\n'
        role += f'requires = ["trouble:{before}"]\n' if chain and before else ""
    let_go(box, names)
    start(box, role)
    idle(box)
    box.run("rm -r /run/go")
    return box


def let_go(box, names):
    for name in names:
        box.write(f"/run/go/{name}", "")


def is_at(box, run, state):
    """Whether the check of that state has begun."""
    return state in (get(box, f"/v1/runs/{run}")["progress"] or {"running": []})["running"]


def test_two_applies_go_on_at_once(box):
    waiting_host(box)
    runs = [ask(box, "POST", "/v1/runs", {"states": [f"trouble:{name}"]}).body["run"] for name in "ab"]
    again = ask(box, "POST", "/v1/runs", {"states": ["trouble:a"]}).body["run"]
    wait_until(lambda: is_at(box, runs[0], "trouble:a") and is_at(box, runs[1], "trouble:b"), PATIENCE, "both go on")
    wait_until(lambda: get(box, f"/v1/runs/{again}")["started"], PATIENCE, "so does the third")
    assert all(get(box, f"/v1/runs/{run}")["finished"] is None for run in runs)
    assert {r["run"] for r in get(box, "/v1/status")["runs"]} == {*runs, again}
    # Whoever has the state has it for himself.
    assert not is_at(box, again, "trouble:a")
    let_go(box, "b")
    assert finished(box, runs[1])["summary"]["ok"] == 1
    assert not is_at(box, again, "trouble:a") and get(box, f"/v1/runs/{runs[0]}")["finished"] is None
    let_go(box, "a")
    assert all(finished(box, run)["summary"]["ok"] == 1 for run in (runs[0], again))


def test_a_run_is_stopped(box):
    waiting_host(box, names="abc", chain=True)
    run = ask(box, "POST", "/v1/runs").body["run"]
    wait_until(lambda: is_at(box, run, "trouble:a"), PATIENCE, "it goes on")
    waiting = ask(box, "POST", "/v1/runs").body["run"]
    assert ask(box, "DELETE", f"/v1/runs/{waiting}").status in (200, 202)
    assert ask(box, "DELETE", f"/v1/runs/{run}").status == 202
    let_go(box, "a")
    assert finished(box, run)["error"] and finished(box, waiting)["error"]
    assert ask(box, "DELETE", f"/v1/runs/{run}").status == 200


def test_who_goes_away_does_not_stop_the_run(box):
    waiting_host(box)
    with Stream(box, "POST", "/v1/runs?follow=true", "RunLine") as stream:
        wait_until(lambda: get(box, "/v1/status")["runs"], PATIENCE, "it goes on")
        run = get(box, "/v1/status")["runs"][0]["run"]
        assert stream.process.poll() is None
    let_go(box, "ab")
    assert finished(box, run)["summary"]["ok"] == 2


def test_sixteen_runs_wait_and_the_next_is_refused(box):
    waiting_host(box)
    answers = [ask(box, "POST", "/v1/runs") for _ in range(17)]
    assert [answer.status for answer in answers[:16]] == [202] * 16
    problem(answers[16], 429, "too-many")
    let_go(box, "ab")
    for answer in answers[:16]:
        ask(box, "DELETE", f"/v1/runs/{answer.body['run']}")


# ---- Events ----


def test_events_tell_what_happened(host):
    events = get(host, "/v1/events", limit=1000)["items"]
    numbers = [e["event"] for e in events]
    assert numbers == sorted(set(numbers))
    kinds = [e["kind"] for e in events]
    assert {"started", "roles-loaded", "state-changed", "state-failed", "state-blocked", "run-finished"} <= set(kinds)
    assert [e["event"] for e in pages(host, "/v1/events")] == numbers
    changed = get(host, "/v1/events", kind="state-changed,state-failed")["items"]
    assert {e["kind"] for e in changed} == {"state-changed", "state-failed"}
    assert len(changed) == kinds.count("state-changed") + kinds.count("state-failed")
    assert {e["state"] for e in get(host, "/v1/events", state="file:/srv/a*")["items"]} == {"file:/srv/a", "file:/srv/a/b",
                                                                                           "file:/srv/after"}
    run = get(host, "/v1/status")["last_run"]["run"]
    assert all(e["run"] == run for e in get(host, "/v1/events", run=run)["items"])
    problem(ask(host, "GET", "/v1/events?kind=state-chnged"), 400, "bad-request", "state-changed")


def test_a_follower_takes_up_where_he_stopped(host):
    before = get(host, "/v1/events", limit=1000)["items"][-1]["event"]
    with Stream(host, "GET", "/v1/events?follow=true&after=0", "EventLine") as stream:
        assert next(stream)["event"] == get(host, "/v1/events", limit=1)["items"][0]["event"]
        host.write("/etc/motd", "one\n")
        apply(host, states=["file:/etc/motd"])
        last = stream.until(lambda e: e["event"] > before and e["kind"] == "state-changed")
        assert last["state"] == "file:/etc/motd" and last["data"]["differences"]
        last = last["event"]
    # Nobody listens, and it happens again; also over a restart.
    ask(host, "POST", "/v1/disable", {"reason": "nobody listens"})
    host.run("systemctl restart agentd")
    ask(host, "POST", "/v1/enable")
    missed = [e["event"] for e in get(host, "/v1/events", after=last, limit=1000)["items"]]
    with Stream(host, "GET", f"/v1/events?follow=true&after={last}", "EventLine") as stream:
        assert [next(stream)["event"] for _ in missed] == missed
        ask(host, "POST", "/v1/disable", {"reason": "somebody listens"})
        event = stream.until(lambda e: e["kind"] == "disabled")
        assert event["event"] > missed[-1] and event["data"]["reason"] == "somebody listens"


# ---- Steering ----


def test_roles_are_validated_without_being_taken_over(host):
    answer = ask(host, "POST", "/v1/validate").body
    assert answer == {"valid": True, "n_roles": 1, "n_states": 5, "diagnostics": [], "warnings": []}
    host.write("/etc/agentd/agentd.toml", 'intervall = "1h"\n')
    warning, = ask(host, "POST", "/v1/validate").body["warnings"]
    assert "agentd.toml:1:1: unknown key 'intervall'" in warning
    assert ask(host, "POST", "/v1/reload").body["warnings"] == [warning]
    host.role("more", '[file."/srv/more"]\nensure = "absent"\n')
    assert ask(host, "POST", "/v1/validate").body["n_states"] == 6
    host.role("bad", '[file."/srv/x"]\ncontnet = 1\n')
    answer = ask(host, "POST", "/v1/validate").body
    assert answer["valid"] is False and answer["n_states"] is None
    diagnostic, = answer["diagnostics"]
    assert diagnostic["file"] == "/etc/agentd/conf.d/bad.toml" and diagnostic["line"] == 2
    assert "contnet" in diagnostic["message"]


def test_a_reload_answers_when_it_is_in_force(host):
    host.role("more", '[file."/srv/more"]\ncontent = "x"\n')
    answer = ask(host, "POST", "/v1/reload").body
    assert answer["n_roles"] == 2 and answer["n_states"] == 6
    assert get(host, "/v1/states/file:%2Fsrv%2Fmore")["role"] == "more"
    if answer["run"]:
        finished(host, answer["run"])
    wait_until(lambda: host.exists("/srv/more"), PATIENCE, "the new state is applied")


def test_a_disabled_host_is_left_alone(host):
    assert ask(host, "POST", "/v1/enable").body == {"disabled": None}
    answer = ask(host, "POST", "/v1/disable", {"reason": "testing by hand", "for": "2h"}).body
    assert answer["reason"] == "testing by hand" and answer["by"] == "root" and answer["until"] > answer["since"]
    problem(ask(host, "POST", "/v1/runs"), 409, "conflict", "testing by hand")
    event = get(host, "/v1/events", kind="disabled")["items"][-1]
    assert re.fullmatch(r"Disabled by root until \d{4}-\d\d-\d\d [\d:]{8}: testing by hand", event["message"])
    assert ask(host, "POST", "/v1/runs", {"mode": "plan"}).status == 202
    host.run("systemctl restart agentd")
    kept = get(host, "/v1/status")["disabled"]
    # How long is left is reckoned again.
    assert {**kept, "until": None} == {**answer, "until": None}
    until = [datetime.datetime.fromisoformat(time) for time in (kept["until"], answer["until"])]
    assert abs((until[0] - until[1]).total_seconds()) < 60
    assert ask(host, "POST", "/v1/reload").body["run"] is None
    answer = ask(host, "POST", "/v1/disable", {"reason": "for long", "for": None}, user="writer")
    assert answer.body["by"] == "writer"
    assert ask(host, "POST", "/v1/enable").body == {"disabled": None}
    assert ask(host, "POST", "/v1/runs").status == 202


def test_the_log_level_is_set_while_it_runs(host):
    assert ask(host, "GET", "/v1/log-level").body == {"level": "info"}
    assert ask(host, "PUT", "/v1/log-level", {"level": "debug"}).body == {"level": "debug"}
    assert ask(host, "GET", "/v1/log-level").body == {"level": "debug"}
    problem(ask(host, "PUT", "/v1/log-level", {"level": "debgu"}), 400, "bad-request", "debug")


# ---- Who may ----


def test_strangers_get_nothing(host):
    for method, target in ("GET", "/v1/status"), ("GET", "/healthz"), ("POST", "/v1/runs"), ("GET", "/nonsense"):
        problem(ask(host, method, target, user="nobodys"), 403, "forbidden", "the groups 'agentd' and 'agentd-admin'")
    # The same answer, whatever is sent.
    script = """
for junk in (b"", b"GET / HTTP/1.1\\r\\n\\r\\n", b"\\0\\1garbage\\n", b"x" * 20000):
    s = connect()
    try:
        s.sendall(junk)
    except OSError:
        pass  # who is slow finds that nobody listens any more, and the answer
    print(finish(s).split(b"\\r\\n")[0].decode())
"""
    assert re.fullmatch(r"(HTTP/1\.1 403 .*\n){4}", client(host, script, user="nobodys"))


def test_the_group_agentd_reads_and_does_not_write(host):
    assert ask(host, "GET", "/v1/status", user="reader").status == 200
    assert ask(host, "GET", "/v1/facts", user="reader").status == 200
    for method, target, body in [("POST", "/v1/runs", None), ("POST", "/v1/reload", None), ("POST", "/v1/validate", None),
                                 ("POST", "/v1/disable", {"reason": "x"}), ("POST", "/v1/enable", None),
                                 ("PUT", "/v1/log-level", {"level": "debug"}), ("DELETE", "/v1/runs/1", None)]:
        problem(ask(host, method, target, body, user="reader"), 403, "forbidden", "the group 'agentd-admin'")
    assert get(host, "/v1/status")["disabled"] is None


def test_the_group_agentd_admin_may_everything(host):
    assert ask(host, "GET", "/v1/status", user="writer").status == 200
    assert ask(host, "POST", "/v1/runs", user="writer").status == 202


# ---- Clients that behave badly ----


def test_garbage_is_refused(host):
    script = """
END = b"\\r\\n\\r\\n"
for junk in (b"\\1" * 100 + END, b"GET" + END, b"GET /v1/status HTTP/9.9" + END, b"\\xff\\xfe" * 5000 + END,
             b"POST /v1/runs HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: -5" + END,
             b"GET /" + b"a" * 100000 + b" HTTP/1.1\\r\\nHost: x" + END,
             b"GET / HTTP/1.1\\r\\n" + b"X: y\\r\\n" * 20000 + END,
             b"POST /v1/runs HTTP/1.1\\r\\nHost: x\\r\\nTransfer-Encoding: chunked" + END + b"zzzz" + END):
    s = connect()
    try:
        s.sendall(junk)
    except OSError:
        pass
    data = finish(s)
    print(data.split(b"\\r\\n")[0].decode(errors="replace") if data else "closed", flush=True)
"""
    lines = client(host, script).splitlines()
    assert len(lines) == 8
    assert all(line == "closed" or re.match(r"HTTP/1\.[01] (4|505)", line) for line in lines), lines
    assert get(host, "/v1/status")["runs"] == []


def test_half_a_request_is_not_waited_for_for_ever(host):
    script = """
s = connect()
s.sendall(b"GET /v1/status HTTP/1.1\\r\\nHos")
begin = time.monotonic()
finish(s)
print(time.monotonic() - begin)
"""
    assert float(client(host, script)) > 10


def test_ten_thousand_requests_at_once_are_answered(host):
    before = int(host.run("systemctl show -P MainPID agentd").stdout)
    script = """
REQUEST = b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
LAST = b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
sockets = []
for _ in range(500):
    s = connect()
    s.sendall(REQUEST * 19 + LAST)
    sockets.append(s)
print(sum(finish(s).count(b"HTTP/1.1 200 OK") for s in sockets))
"""
    assert client(host, script) == "10000\n"
    samples = ask(host, "GET", "/metrics").text
    assert int(re.search(r"^agentd_http_requests_total (\d+)$", samples, re.MULTILINE)[1]) >= 10000
    assert int(re.search(r"^agentd_memory_bytes (\d+)$", samples, re.MULTILINE)[1]) < 100 << 20
    assert int(host.run("systemctl show -P MainPID agentd").stdout) == before


def test_a_slow_reader_is_dropped_with_a_last_word(box):
    # 3000 results of 4 KB: more than waits for anybody.
    long = "/".join(["x" * 200] * 9)
    items = json.dumps([f"n{i}" for i in range(3000)])
    start(box, f'[vars]\nlong = "{long}"\nitems = {items}\n\n[file."/{{{{vars.long}}}}/{{{{item}}}}"]\n'
               'for_each = "vars.items"\nensure = "absent"\n')
    idle(box)
    script = """
s = connect()
s.sendall(b"POST /v1/runs?follow=true HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n")
print("sent", flush=True)
sys.stdin.readline()
data = finish(s)
lines = [line for line in data.split(b"\\n") if line.startswith(b"{")]
print(len(data), lines[-1].decode())
"""
    process = subprocess.Popen(
        [*box.nsenter(box.leader), "python3", "-c", CLIENT + script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=box.ENVIRONMENT, start_new_session=True)
    try:
        lines = lines_until(process.stdout, time.monotonic() + PATIENCE)
        assert next(lines) == b"sent"
        wait_until(lambda: get(box, "/v1/runs", limit=1)["items"][0]["cause"] == "request", PATIENCE, "the run is there")
        run = finished(box, get(box, "/v1/runs", limit=1)["items"][0]["run"])
        assert run["summary"]["ok"] == 3000 and run["error"] is None
        process.stdin.write(b"now\n")
        process.stdin.flush()
        size, _, last = next(lines).partition(b" ")
    finally:
        kill_session(process)
    assert int(size) < 8 << 20
    last = json.loads(last)
    validate(named("Problem"), last)
    assert "slow" in last["detail"]
