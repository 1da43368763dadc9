# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of agentctl share: a server that says what the test wants, agentctl on pipes and on a terminal, and a runner that
writes TAP.

A test is a function in a test-agentctl*.py, which is called with AGENTCTL (the program), COMPLETIONS (the directory in which
the files for shells were made) and, if only some tests are to be run, words of which their names have one.
"""

import contextlib
import fcntl
import http.server
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
from urllib.parse import parse_qs, unquote, urlsplit

AGENTCTL, COMPLETIONS = (os.path.abspath(argument) for argument in sys.argv[1:3])
DEADLINE = 30  # seconds; of everything that is waited for

# ---- The server --------------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "unix"

    def answer(self, status, body, content_type="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def problem(self, status, kind, detail, **more):
        self.answer(status, {"type": f"urn:agentd:{kind}", "title": "Title", "status": status, "detail": detail, **more},
                    "application/problem+json")

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def push(self, data):
        if not isinstance(data, bytes):
            data = json.dumps(data, ensure_ascii=False).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def end_stream(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def stream(self, *objects):
        self.begin_stream()
        for item in objects:
            self.push(item)
        self.end_stream()

    def break_off(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle_any(self):
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        self.body = json.loads(data) if data else None
        path = unquote(url.path)
        with self.server.lock:
            self.server.requests.append((self.command, path, self.query, self.body))
        route = self.server.routes.get(f"{self.command} {path}")
        if route is None:
            self.problem(404, "not-found", f"there is nothing at {path}")
        elif callable(route):
            route(self)
        elif isinstance(route, tuple):
            self.problem(*route)
        else:
            self.answer(200, route)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_UNIX
    daemon_threads = True
    block_on_close = False

    def __init__(self, path, routes):
        self.routes, self.requests, self.lock = routes, [], threading.Lock()
        self.ended = threading.Event()
        super().__init__(path, Handler)

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0

    def handle_error(self, request, client_address):
        pass  # clients go away


@contextlib.contextmanager
def serve(routes, path=None):
    with tempfile.TemporaryDirectory(prefix="agentctl-") as directory:
        server = Server(path or f"{directory}/agentd.sock", routes)
        server.path = server.server_address
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def serve_bytes(data, keep_open=False):
    """A server that answers whatever it is asked with these bytes."""
    with tempfile.TemporaryDirectory(prefix="agentctl-") as directory:
        path = f"{directory}/agentd.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        connections = []

        def answer():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                with contextlib.suppress(OSError):
                    connection.recv(65536)
                    for chunk in [data] if isinstance(data, bytes) else data():
                        connection.sendall(chunk)
                    if not keep_open:
                        connection.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=answer, daemon=True).start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for connection in connections:
                connection.close()


# ---- The program -------------------------------------------------------------------------------------------------

def environment(path, **more):
    keep = {key: value for key, value in os.environ.items()
            if not key.startswith(("AGENTD_", "LESS", "PAGER", "SYSTEMD", "NO_COLOR", "COLUMNS", "JOURNAL_STREAM"))}
    keep.update(LC_ALL="C.UTF-8", TZ="UTC", TERM="xterm")
    if path:
        keep["AGENTD_SOCKET"] = path
    keep.update(more)
    return keep


class Done:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return f"status {self.status}\nstdout:\n{self.out}\nstderr:\n{self.err}"


def ctl(where, *arguments, **more):
    """Runs agentctl against a Server, a path, or nothing."""
    path = where.path if isinstance(where, Server) else where
    done = subprocess.run([AGENTCTL, *arguments], env=environment(path, **more), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=DEADLINE)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


class Terminal:
    """agentctl on a terminal; `both` is what stdout and stderr got."""

    def __init__(self, where, *arguments, columns=100, stdout=None, **more):
        path = where.path if isinstance(where, Server) else where
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([AGENTCTL, *arguments], env=environment(path, **more), stdin=slave,
                                        stdout=stdout or slave, stderr=slave, preexec_fn=take_terminal)
        os.close(slave)
        self.both = b""

    def read_until(self, pattern):
        deadline = time.monotonic() + DEADLINE
        while not re.search(pattern.encode(), self.both):
            assert time.monotonic() < deadline, f"no {pattern} in:\n{self.both.decode(errors='replace')}"
            if select.select([self.master], [], [], 0.1)[0] and not self.read():
                assert re.search(pattern.encode(), self.both), self.both.decode(errors="replace")

    def read(self):
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.both += data
        return data

    def interrupt(self):
        os.write(self.master, b"\x03")

    def finish(self):
        deadline = time.monotonic() + DEADLINE
        while self.read():
            assert time.monotonic() < deadline
        status = self.process.wait(DEADLINE)
        os.close(self.master)
        return Done(status, self.both.decode().replace("\r\n", "\n"), "")


# ---- What the server has -----------------------------------------------------------------------------------------

NOW, DAY, HOUR = time.time(), 86400, 3600


def at(seconds_ago=0):
    usec = int((NOW - seconds_ago) * 1000000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(usec // 1000000)) + f".{usec % 1000000:06}Z"


def summary(**counts):
    return {key: counts.get(key, 0) for key in ("ok", "changed", "drifted", "unknown", "failed", "skipped", "blocked")}


def run(number=7, mode="apply", error=None, vars=(), **counts):
    return {"run": number, "mode": mode, "cause": "request", "started": "2026-11-21T13:32:00.000000Z",
            "finished": "2026-11-21T13:32:00.034000Z", "summary": summary(**counts), "error": error, "vars": list(vars)}


def result(state, what="ok", error=None, differences=()):
    kind, _, name = state.partition(":")
    return {"state": state, "type": kind, "name": name, "role": "web", "result": what,
            "differences": list(differences), "undo": [], "error": error, "duration_usec": 412}


MODE = {"attribute": "mode", "is": "0600", "should": "0644"}


def state(name, what="ok", error=None, role="web", tags=()):
    kind, _, rest = name.partition(":")
    return {"state": name, "type": kind, "name": rest, "role": role, "tags": list(tags), "result": what, "error": error,
            "since": at(4.5 * DAY), "checked": at(20.5 * HOUR), "changed": None}


def status(**more):
    return {"version": "1", "hostname": "web1", "pid": 612, "started": at(4.5 * DAY), "state": "idle", "mode": "apply",
            "roles": {"loaded": at(5.5 * DAY), "n_roles": 3, "n_states": 41, "errors": []},
            "states": {"none": 0, **summary(ok=41)}, "last_run": {**run(ok=41), "progress": None},
            "next_run": at(-20.5 * HOUR), "runs": [], "disabled": None,
            "watches": {"paths": 57, "units": 15, "signals": 0, "errors": []},
            "store": {"path": "/var/lib/agentd/store.db", "error": None, "size_bytes": 81920}, **more}


DIAGNOSTIC = {"file": "/etc/agentd/conf.d/web.toml", "line": 12, "column": 3, "message": "unknown key 'contnet'"}
DIAGNOSTIC_TEXT = "/etc/agentd/conf.d/web.toml:12:3: error: unknown key 'contnet'\n"


def broken_status(**more):
    return status(roles={"loaded": at(5.5 * DAY), "n_roles": 3, "n_states": 41, "errors": [DIAGNOSTIC]}, **more)


def pages(items, size=1000):
    """A route for a list, whose cursors are the numbers of items."""
    def route(handler):
        chosen = [item for item in items if handler.query.get("result") in (None, item.get("result"))]
        begin = int(handler.query.get("after", "0") or 0)
        count = min(size, int(handler.query.get("limit", 100)))
        more = begin + count < len(chosen)
        handler.answer(200, {"items": chosen[begin:begin + count], "next": str(begin + count) if more else None})
    return route


def event(number, kind, message="Something", **more):
    return {"event": number, "time": "2026-11-21T13:32:00.123456Z", "kind": kind, "message": message, "run": 7,
            "state": None, "role": None, "result": None, "data": None, **more}


def follow(*objects, **more):
    """Routes for a run that is followed."""
    return {"GET /v1/status": status(), "POST /v1/runs": lambda handler: handler.stream(*objects), **more}


# ---- Around ------------------------------------------------------------------------------------------------------

class Skip(Exception):
    pass


def run_tests(functions):
    tests = [(name, test) for name, test in functions.items() if name.startswith("test_")]
    words = sys.argv[3:]
    tests = [(name, test) for name, test in tests if not words or any(word in name for word in words)]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for n, (name, test) in enumerate(tests, 1):
        title = name.removeprefix("test_").replace("_", " ")
        try:
            test()
            print(f"ok {n} {title}", flush=True)
        except Skip as e:
            print(f"ok {n} {title} # SKIP {e}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {n} {title}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    sys.exit(1 if failed else 0)
