#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""test-fetch.py AGENTD_FETCH: agentd-fetch against servers that mean no good. Prints TAP."""

import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hostile_server
from hostile_server import CHANGED, CONTENT, SMALL

FETCH = sys.argv[1]
TMP = tempfile.mkdtemp()
tests = []


def test(function):
    tests.append(function)
    return function


class Fetched:
    """What came of a request: the fields of the result, and the file's content."""

    def __init__(self, status, result, content):
        self.status, self.content = status, content
        self.__dict__.update(result)


def fetch(*urls, part=None, timeout=60, variables=None, **request):
    path = Path(TMP, "file")
    path.write_bytes(part or b"")
    request = {"urls": list(urls), "max_bytes": 1 << 20, "deadline_msec": 30000, "backoff_msec": 1, "environment": {}} | request
    with open(path, "r+b") as file:
        done = subprocess.run([FETCH], input=json.dumps(request).encode(), stdout=file, stderr=subprocess.PIPE,
                              timeout=timeout, env=variables or {"PATH": "/usr/bin:/bin"})
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, f"expected one line: {done.stderr}"
    result = json.loads(lines[0])
    assert (done.returncode == 0) == (result["error"] == "none"), lines
    content = path.read_bytes()
    assert result["bytes"] == len(content), lines
    return Fetched(done.returncode, result, content)


def expect(got, error, words="", content=None):
    assert got.error == error, f"{got.error}, not {error}: {got.text}"
    assert words in (got.text or ""), f"'{words}' is not in '{got.text}'"
    if content is not None:
        assert got.content == content, f"{len(got.content)} bytes are not those expected"


def serve(**options):
    return hostile_server.Server(**options).start()


DEAD = []


def dead_port():
    """Where nobody listens, and nobody else can."""
    DEAD.append(socket.socket())
    DEAD[-1].bind(("127.0.0.1", 0))
    return DEAD[-1].getsockname()[1]


# ---- What goes well ----


@test
def a_file_is_fetched_with_what_is_known_of_it():
    s = serve()
    got = fetch(f"{s.url}/ok?token=secret#x")
    expect(got, "none", content=CONTENT)
    assert got.etag == '"1"' and got.shown == f"{s.url}/ok" and not got.resumed and got.attempts == 1 and got.text is None
    headers = s.requests[0]["headers"]
    assert "Accept-Encoding" not in headers and "Range" not in headers and headers["User-Agent"].startswith("agentd/")


@test
def what_was_in_the_file_goes():
    s = serve()
    expect(fetch(f"{s.url}/small", part=b"x" * 1000), "none", content=SMALL)
    expect(fetch(f"{s.url}/empty", part=b"x" * 1000), "none", content=b"")
    expect(fetch(f"{s.url}/close", part=b"x" * 1000), "none", content=SMALL)


@test
def files_of_the_host_are_fetched_as_well():
    path = Path(TMP, "source")
    path.write_bytes(CONTENT)
    expect(fetch(f"file://{path}"), "none", content=CONTENT)
    expect(fetch(f"file://{path}.missing"), "not-found")
    expect(fetch(f"file://{path}", max_bytes=1000), "too-large")
    expect(fetch("file:///dev/zero", max_bytes=100000), "too-large")


class FtpServer(threading.Thread):
    """As much of an FTP server as a download needs; commands that it was given are in `said`."""

    def __init__(self, content, user=None):
        super().__init__(daemon=True)
        self.content, self.user, self.said = content, user, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ftp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            try:
                self.serve(self.listener.accept()[0])
            except OSError:
                pass

    def serve(self, control):
        with control, control.makefile("rw", newline="\r\n") as lines, socket.create_server(("127.0.0.1", 0)) as data:
            def say(text):
                lines.write(text + "\n")
                lines.flush()
            say("220 hello")
            for line in lines:
                line = line.strip()
                self.said.append(line)
                word, _, rest = line.partition(" ")
                if word == "USER":
                    say("331 password?")
                elif word == "PASS":
                    say("230 in" if not self.user or self.said[-2:] == [f"USER {self.user[0]}", f"PASS {self.user[1]}"]
                        else "530 no")
                elif word == "PWD":
                    say('257 "/"')
                elif word == "EPSV":
                    say(f"229 here (|||{data.getsockname()[1]}|)")
                elif word == "SIZE":
                    say(f"213 {len(self.content)}" if rest == "file" else "550 no such file")
                elif word == "RETR" and rest == "file":
                    say("150 it comes")
                    with data.accept()[0] as connection:
                        connection.sendall(self.content)
                    say("226 done")
                elif word == "RETR":
                    say("550 no such file")
                elif word in ("TYPE", "CWD"):
                    say("200 fine")
                elif word == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("502 what?")


@test
def files_come_by_ftp_too():
    s = FtpServer(CONTENT)
    expect(fetch(f"{s.url}/file"), "none", content=CONTENT)
    expect(fetch(f"{s.url}/missing"), "not-found")
    expect(fetch(f"{s.url}/file", max_bytes=1000), "too-large")
    # There is no telling of which version a part is: all of it is fetched.
    expect(fetch(f"{s.url}/file", part=CONTENT[:100], resume={"url": f"{s.url}/file"}), "none", content=CONTENT)
    s = FtpServer(SMALL, ("ada", "enigma"))
    expect(fetch(f"{s.url}/file"), "denied")
    expect(fetch(f"{s.url}/file", credentials="machine 127.0.0.1 login ada password enigma"), "none", content=SMALL)


@test
def headers_are_sent():
    s = serve()
    expect(fetch(f"{s.url}/small", headers=["X-Token: a b", "X-Empty:", "Accept: text/x"]), "none")
    headers = s.requests[0]["headers"]
    assert headers["X-Token"] == "a b" and headers["X-Empty"] == "" and headers["Accept"] == "text/x", headers


@test
def what_is_encoded_stays_so():
    s = serve()
    got = fetch(f"{s.url}/bomb", max_bytes=65536)
    expect(got, "none", content=gzip.compress(bytes(1 << 20), mtime=0))


# ---- Redirects and who is told what ----


@test
def redirects_are_followed_ten_times():
    s = serve()
    expect(fetch(f"{s.url}/to?/small"), "none", content=SMALL)
    got = fetch(f"{s.url}/loop/0", retries=5)
    expect(got, "protocol", "redirects more than 10 times", b"")
    assert len(s.requests) == 2 + 11 and got.attempts == 1


@test
def a_redirect_leads_to_no_file_and_no_other_scheme():
    s = serve()
    secret = Path(TMP, "secret")
    secret.write_text("secret")
    for target in (f"file://{secret}", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "dict://127.0.0.1/", "ldap://127.0.0.1",
                   f"http://u:p@127.0.0.1:{s.port}/small"):
        got = fetch(f"{s.url}/to?{target}")
        expect(got, "protocol", "redirect", b"")


@test
def a_redirect_without_an_aim_is_an_error():
    s = serve()
    expect(fetch(f"{s.url}/status/302"), "protocol", "status 302", b"")


@test
def credentials_and_headers_stay_with_their_host():
    first, second = serve(), serve()
    secrets = {"credentials": "machine 127.0.0.1 login u password p\n", "headers": ["X-Token: secret"]}
    expect(fetch(f"{first.url}/to?{first.url}/auth", **secrets), "none", content=SMALL)
    assert [r["headers"].get("X-Token") for r in first.requests] == ["secret", "secret"]
    # Another port is another server.
    expect(fetch(f"{first.url}/to?{second.url}/auth", **secrets), "denied", "401")
    expect(fetch(f"{first.url}/to?http://localhost:{second.port}/small", **secrets), "none")
    for request in second.requests:
        assert "Authorization" not in request["headers"] and "X-Token" not in request["headers"], request


@test
def credentials_of_others_are_not_sent():
    s = serve()
    expect(fetch(f"{s.url}/small", credentials="machine example.org login u password p\n"), "none")
    assert "Authorization" not in s.requests[0]["headers"]
    expect(fetch(f"{s.url}/auth", credentials="default login u password p\n"), "none", content=SMALL)
    expect(fetch(f"{s.url}/auth"), "denied", "401")
    expect(fetch(f"{s.url}/auth", credentials="machine 127.0.0.1 password"), "request", "netrc")


@test
def a_netrc_of_the_home_directory_is_not_read():
    s = serve()
    Path(TMP, ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    expect(fetch(f"{s.url}/auth", variables={"HOME": TMP}), "denied")


# ---- Lies about length, stalls, cuts ----


@test
def fewer_and_more_bytes_than_promised_are_errors():
    s = serve()
    expect(fetch(f"{s.url}/short"), "protocol")
    expect(fetch(f"{s.url}/long"), "protocol", "more than it has announced")


@test
def what_is_too_large_is_not_fetched():
    s = serve()
    got = fetch(f"{s.url}/ok", max_bytes=1000)
    expect(got, "too-large", "larger than 1000 bytes", b"")
    got = fetch(f"{s.url}/endless", max_bytes=100000, retries=3)
    expect(got, "too-large", "larger than 100000 bytes")
    assert len(got.content) <= 100000 and got.attempts == 1
    expect(fetch(f"{s.url}/ok", max_bytes=len(CONTENT)), "none", content=CONTENT)
    expect(fetch(f"{s.url}/ok", max_bytes=len(CONTENT) - 1), "too-large")
    expect(fetch(f"{s.url}/close", max_bytes=len(SMALL)), "none", content=SMALL)
    expect(fetch(f"{s.url}/close", max_bytes=len(SMALL) - 1), "too-large")


@test
def an_empty_file_is_one():
    s = serve()
    expect(fetch(f"{s.url}/empty", max_bytes=1), "none", content=b"")


@test
def a_server_may_be_said_by_its_address():
    try:
        s = hostile_server.Server(host="::1").start()
    except OSError:
        return  # a host without IPv6
    expect(fetch(f"http://[::1]:{s.port}/ok"), "none", content=CONTENT)
    expect(fetch(f"http://[::1]:{s.port}/auth", credentials="machine ::1 login u password p"), "none", content=SMALL)


@test
def what_stalls_is_given_up():
    s = serve()
    expect(fetch(f"{s.url}/stall/1000", stall_msec=3000), "timeout", content=CONTENT[:1000])
    expect(fetch(f"{s.url}/silent", stall_msec=3000), "timeout")


@test
def what_stalls_is_given_up_at_the_deadline():
    s = serve()
    got = fetch(f"{s.url}/stall/1000", deadline_msec=3000, retries=100)
    expect(got, "timeout", content=CONTENT[:1000])
    got = fetch(f"{s.url}/stall/1000", f"{s.url}/ok", attempt_msec=3000)
    expect(got, "none", content=CONTENT)


@test
def pauses_end_with_the_deadline():
    s = serve()
    got = fetch(f"{s.url}/status/500", deadline_msec=3000, retries=100, backoff_msec=60000, timeout=30)
    expect(got, "protocol", "status 500")
    assert got.attempts == 1


@test
def no_http_is_an_error():
    s = serve()
    expect(fetch(f"{s.url}/garbage"), "protocol")


# ---- Going on ----


@test
def what_breaks_off_is_gone_on_with():
    s = serve()
    got = fetch(f"{s.url}/drop/1000", retries=1)
    expect(got, "none", content=CONTENT)
    assert got.resumed and got.attempts == 2
    headers = s.requests[1]["headers"]
    assert headers["Range"] == "bytes=1000-" and headers["If-Range"] == '"1"', headers


@test
def without_retries_the_part_is_kept_and_the_next_goes_on():
    s = serve()
    got = fetch(f"{s.url}/drop/1000")
    expect(got, "protocol", content=CONTENT[:1000])
    assert got.etag == '"1"' and got.url == f"{s.url}/drop/1000"
    got = fetch(f"{s.url}/drop/1000", part=got.content, resume={"url": got.url, "etag": got.etag})
    expect(got, "none", content=CONTENT)
    assert got.resumed and s.requests[1]["headers"]["Range"] == "bytes=1000-"


@test
def a_date_will_do_but_a_weak_etag_will_not():
    s = serve()
    got = fetch(f"{s.url}/dated", retries=1)
    expect(got, "none", content=CONTENT)
    assert got.resumed and s.requests[1]["headers"]["If-Range"].startswith("Sat, 21 Nov")
    for path in ("weak", "bare"):
        got = fetch(f"{s.url}/{path}", retries=1)
        expect(got, "none", content=CONTENT)
        assert not got.resumed and "Range" not in s.requests[-1]["headers"]


@test
def a_server_that_cannot_go_on_begins_again():
    s = serve()
    got = fetch(f"{s.url}/norange", retries=1)
    expect(got, "none", content=CONTENT)
    assert not got.resumed


@test
def what_has_changed_meanwhile_is_fetched_anew():
    s = serve()
    got = fetch(f"{s.url}/changes/1000", retries=1)
    expect(got, "none", content=CHANGED)
    assert not got.resumed and got.etag == '"2"'


@test
def another_part_than_asked_for_is_refused():
    s = serve()
    expect(fetch(f"{s.url}/wrongpart", retries=1), "protocol", "another part", CONTENT[:1000])


@test
def a_part_of_which_nothing_is_known_is_gone_on_with_blindly():
    s = serve()
    got = fetch(f"{s.url}/ok", part=CONTENT[:1000], resume={})
    expect(got, "none", content=CONTENT)
    assert got.resumed and "If-Range" not in s.requests[0]["headers"]


@test
def a_part_that_is_all_of_it_or_more_is_fetched_anew():
    s = serve()
    for part in (CONTENT, CONTENT + b"more"):
        expect(fetch(f"{s.url}/ok", part=part, resume={"url": f"{s.url}/ok", "etag": '"1"'}), "none", content=CONTENT)
    expect(fetch(f"{s.url}/small", part=CONTENT, resume={}, max_bytes=1000), "none", content=SMALL)


@test
def a_part_of_another_url_is_not_gone_on_with():
    s = serve()
    got = fetch(f"{s.url}/ok", part=CHANGED[:1000], resume={"url": f"{s.url}/other", "etag": '"1"'})
    expect(got, "none", content=CONTENT)
    assert "Range" not in s.requests[0]["headers"]


@test
def a_part_stays_while_no_server_has_anything_better():
    s = serve()
    got = fetch(f"{s.url}/drop/1000", f"http://127.0.0.1:{dead_port()}/x")
    expect(got, "protocol", content=CONTENT[:1000])
    assert got.url == f"{s.url}/drop/1000" and got.etag == '"1"'


# ---- Status, mirrors, repetitions ----


@test
def each_status_has_its_meaning():
    s = serve()
    for status, error, attempts in ((401, "denied", 1), (403, "denied", 1), (404, "not-found", 1), (410, "not-found", 1),
                                    (400, "protocol", 1), (418, "protocol", 1), (204, "protocol", 1), (500, "protocol", 3),
                                    (429, "protocol", 3)):
        got = fetch(f"{s.url}/status/{status}", retries=2)
        expect(got, error, str(status), b"")
        assert got.attempts == attempts and got.status == (status if error != "none" else 200), (status, got.attempts)


@test
def a_server_that_is_busy_is_asked_again():
    s = serve()
    for status in (500, 502, 503):
        got = fetch(f"{s.url}/twice/{status}", retries=3)
        expect(got, "none", content=SMALL)
        assert got.attempts == 2


@test
def mirrors_are_tried_in_turn():
    s = serve()
    dead = f"http://127.0.0.1:{dead_port()}/x"
    got = fetch(dead, f"{s.url}/status/404", f"{s.url}/ok", f"{s.url}/small")
    expect(got, "none", content=CONTENT)
    assert got.attempts == 3 and got.url == f"{s.url}/ok"
    got = fetch(dead, f"{s.url}/status/404?token=secret")
    expect(got, "not-found", "status 404")
    assert dead in got.text and "secret" not in got.text
    expect(fetch(dead, dead), "unreachable")
    got = fetch(f"{s.url}/twice/404", f"{s.url}/twice/500", retries=4)
    expect(got, "none", content=SMALL)
    assert got.attempts == 3, "what is not there is not asked for again"


@test
def a_server_that_nobody_knows_cannot_be_reached():
    expect(fetch("http://nobody.invalid/x"), "unreachable")


# ---- Proxies ----


@test
def a_dead_proxy_is_told():
    s = serve()
    dead = f"http://user:secret@127.0.0.1:{dead_port()}"
    for how in ({"proxy": dead}, {"environment": {"http_proxy": dead}}):
        got = fetch(f"{s.url}/ok", **how)
        expect(got, "unreachable")
        assert "secret" not in got.text and not s.requests


@test
def a_proxy_that_cannot_be_is_told_without_its_password():
    for proxy in ("http://user:swordfish@[::1", "nosuch://user:swordfish@proxy:1", "http://user:swordfish@host:port",
                  "user:swordfish@", "http://user:swordfish@127.0.0.1:99999", "://user:swordfish@x"):
        for request in ({"proxy": proxy}, {"environment": {"http_proxy": proxy}}):
            got = fetch("http://127.0.0.1:1/ok", retries=0, **request)
            assert got.error != "none" and "swordfish" not in json.dumps(got.__dict__, default=repr), got.text


@test
def a_proxy_is_asked():
    s, proxy = serve(), serve()
    expect(fetch(f"{s.url}/small", proxy=proxy.url), "none", content=SMALL)
    expect(fetch(f"{s.url}/small", environment={"http_proxy": proxy.url}), "none", content=SMALL)
    assert not s.requests and [r["target"] for r in proxy.requests] == [f"{s.url}/small"] * 2
    expect(fetch(f"{s.url}/small", environment={"http_proxy": proxy.url}, proxy=""), "none")
    expect(fetch(f"{s.url}/small", environment={"http_proxy": proxy.url, "no_proxy": "127.0.0.1"}), "none")
    expect(fetch(f"{s.url}/small", environment={}), "none")
    assert len(s.requests) == 3 and len(proxy.requests) == 2


# ---- TLS ----


def make_certificates():
    """A CA of our own, and a server's certificate for 127.0.0.1."""
    Path(TMP, "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -keyout ca.key -out ca.pem -days 2",
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server -keyout server.key -out server.csr",
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -out server.pem -days 2"):
        subprocess.run(["openssl", *command.split()], cwd=TMP, check=True, capture_output=True)


def serve_tls():
    if not Path(TMP, "server.pem").exists():
        make_certificates()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(TMP, "server.pem"), Path(TMP, "server.key"))
    return serve(context=context)


@test
def a_certificate_is_always_verified():
    s = serve_tls()
    ca = str(Path(TMP, "ca.pem"))
    got = fetch(f"{s.url}/ok", retries=5)
    expect(got, "protocol", "certificate", b"")
    assert got.attempts == 1 and not s.requests
    expect(fetch(f"{s.url}/ok", ca_file=ca), "none", content=CONTENT)
    expect(fetch(f"https://localhost:{s.port}/ok", ca_file=ca), "protocol", "", b"")
    expect(fetch(f"{s.url}/ok", ca_file=f"{ca}.missing"), "request")
    expect(fetch(f"{s.url}/ok", environment={}, ca_file=ca, proxy=""), "none")


@test
def from_https_no_redirect_leads_to_http():
    tls, plain = serve_tls(), serve()
    ca = str(Path(TMP, "ca.pem"))
    expect(fetch(f"{tls.url}/to?{plain.url}/small", ca_file=ca), "protocol", "not allowed", b"")
    assert not plain.requests
    expect(fetch(f"{plain.url}/to?{tls.url}/small", ca_file=ca), "none", content=SMALL)
    expect(fetch(f"{tls.url}/to?{tls.url}/small", ca_file=ca), "none", content=SMALL)


# ---- What it is told ----


@test
def a_wrong_request_is_refused():
    s = serve()
    for request, words in (({"unknown": 1}, "unknown"), ({"headers": ["X: y\r\nZ: a"]}, "headers"),
                           ({"max_bytes": 0}, "max_bytes")):
        expect(fetch(f"{s.url}/ok", **request), "request", words, b"")
    for url, words in (("gopher://127.0.0.1/", "none of https"), ("http://u:p@127.0.0.1/", "user or password"),
                       ("nonsense", "not well-formed"), ("scp://127.0.0.1/x", "none of https")):
        expect(fetch(url), "request", words, b"")
    assert not s.requests


@test
def the_file_must_be_one():
    request = json.dumps({"urls": ["file:///etc/hostname"], "max_bytes": 1000, "deadline_msec": 1000}).encode()
    done = subprocess.run([FETCH], input=request, capture_output=True, timeout=60)
    assert json.loads(done.stderr)["error"] == "local" and done.returncode == 1 and not done.stdout
    with open("/dev/full", "wb") as full:
        done = subprocess.run([FETCH], input=request, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert json.loads(done.stderr)["error"] == "local"


@test
def arguments_are_refused():
    assert subprocess.run([FETCH, "--help"], capture_output=True, stdin=subprocess.DEVNULL, timeout=60).returncode == 2


def main():
    failed = 0
    print(f"1..{len(tests)}")
    for i, function in enumerate(tests, 1):
        name = function.__name__.replace("_", " ")
        if "tls" in function.__code__.co_names or "serve_tls" in function.__code__.co_names:
            if not shutil.which("openssl"):
                print(f"ok {i} - {name} # SKIP needs openssl")
                continue
        try:
            function()
            print(f"ok {i} - {name}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {i} - {name}")
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    shutil.rmtree(TMP)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
