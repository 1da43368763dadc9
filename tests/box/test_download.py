# SPDX-License-Identifier: LGPL-2.1-or-later
"""Content that is fetched: it is what was promised, or nothing is changed; and who fetches it may do nothing else."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from box import PATIENCE, wait_until
from daemon import apply, kill, last_event, main_pid, plan, start, state, wait_event, wait_idle

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hostile_server import CHANGED, CONTENT, SMALL

PORT = 8080
URL = f"http://127.0.0.1:{PORT}"
TARGET = "/srv/fetched"
DOWNLOADS = "/var/lib/agentd/downloads"
SERVER = Path(__file__).resolve().parent.parent / "hostile_server.py"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def serve(box, port=PORT):
    box.write("/srv/server.py", SERVER.read_text())
    box.run(["systemd-run", "--quiet", f"--unit=server-{port}", "--property=Type=notify", "--property=NotifyAccess=all",
             "python3", "/srv/server.py", str(port)])
    box.run("systemd-sysusers agentd.conf")


def log(box, port=PORT):
    return json.loads(box.run(["curl", "-sS", f"http://127.0.0.1:{port}/log"]).stdout)


def file_role(url, content=CONTENT, more=""):
    return f'[file."{TARGET}"]\nurl = {json.dumps(url)}\nsha256 = "{sha256(content)}"\n{more}'


def once(box, role, *arguments, timeout=60):
    box.role("download", role)
    return box.agentd_once(*arguments, timeout=timeout)


def result(done):
    assert len(done.results) == 1, done
    return done.results[0]


def differences(done):
    return {d["attribute"]: (d["is"], d["should"]) for d in result(done)["differences"]}


def read_bytes(box, path=TARGET):
    with open(box._open(path, os.O_RDONLY), "rb") as file:
        return file.read()


def parts(box):
    return box.run(f"ls {DOWNLOADS}").stdout.split()


# ---- With a checksum ----


def test_a_file_is_fetched_and_then_left_alone(box):
    serve(box)
    done = once(box, file_role(f"{URL}/ok", more='mode = "0750"\n'))
    assert result(done)["result"] == "changed", done
    assert read_bytes(box) == CONTENT and box.stat(TARGET).st_mode & 0o7777 == 0o750
    assert result(box.agentd_once())["result"] == "ok"
    assert len(log(box)) == 1 and parts(box) == []
    assert box.stat(DOWNLOADS).st_mode & 0o777 == 0o700


def test_a_plan_fetches_nothing(box):
    serve(box)
    wanted = f"sha256:{sha256(CONTENT)}"
    done = once(box, file_role(f"{URL}/ok"), "--plan", "--diff")
    assert differences(done)["content"] == (None, wanted)
    box.write(TARGET, SMALL)
    done = box.agentd_once("--plan", "--diff")
    assert differences(done) == {"content": (f"sha256:{sha256(SMALL)}", wanted)}
    assert log(box) == [] and not box.exists(DOWNLOADS)


def test_what_is_not_what_was_promised_changes_nothing(box):
    serve(box)
    box.write(TARGET, "old")
    done = once(box, file_role(f"{URL}/ok", content=SMALL))
    assert result(done)["result"] == "failed" and done.returncode == 1
    assert f"its checksum is sha256:{sha256(CONTENT)}, and should be sha256:{sha256(SMALL)}" in result(done)["error"]
    assert box.read(TARGET) == "old" and parts(box) == []
    assert box.run("ls -A /srv").stdout.split() == ["fetched", "server.py"], "nothing is left beside it"


def test_checksums_of_other_kinds_are_compared_as_well(box):
    serve(box)
    for name, text in (("sha512", hashlib.sha512(SMALL).hexdigest()), ("blake2b", hashlib.blake2b(SMALL).hexdigest())):
        done = once(box, f'[file."/srv/{name}"]\nurl = "{URL}/small"\nchecksum = "{name}:{text}"\n')
        assert result(done)["result"] == "changed", done
        assert box.read(f"/srv/{name}") == SMALL.decode()
        assert result(box.agentd_once())["result"] == "ok"


def test_a_file_that_somebody_has_changed_is_fetched_again(box):
    serve(box)
    box.role("download", file_role(f"{URL}/ok"))
    start(box)
    wait_event(box, "state-changed", state=f"file:{TARGET}")
    wait_idle(box)
    after = last_event(box)
    box.write(TARGET, "spoilt")
    wait_event(box, "state-changed", after=after, state=f"file:{TARGET}")
    assert read_bytes(box) == CONTENT and len(log(box)) == 2


# ---- Servers that fail ----


def test_mirrors_are_tried_and_one_with_another_content_is_passed_over(box):
    serve(box)
    done = once(box, file_role([f"http://127.0.0.1:9/x", f"{URL}/status/404", f"{URL}/small", f"{URL}/ok"]))
    assert result(done)["result"] == "changed", done
    assert read_bytes(box) == CONTENT
    assert [r["path"] for r in log(box)] == ["/status/404", "/small", "/ok"]


def test_what_has_changed_between_two_attempts_is_fetched_anew(box):
    serve(box)
    done = once(box, file_role(f"{URL}/changes/1000", content=CHANGED))
    assert result(done)["result"] == "changed", done
    assert read_bytes(box) == CHANGED


def test_parts_of_two_versions_are_never_used(box):
    """The server says that it is the same version, and it is not."""
    serve(box)
    done = once(box, file_role(f"{URL}/mixed/1000"))
    assert result(done)["result"] == "changed", done
    assert read_bytes(box) == CONTENT
    assert [("Range" in r["headers"]) for r in log(box)] == [False, True, False]


def test_the_next_run_goes_on_where_one_has_failed(box):
    serve(box)
    role = file_role(f"{URL}/drop/1000", more="download = { retries = 0 }\n")
    done = once(box, role)
    assert result(done)["result"] == "failed" and len(parts(box)) == 2, parts(box)
    assert result(box.agentd_once())["result"] == "changed"
    assert read_bytes(box) == CONTENT and parts(box) == []
    assert log(box)[1]["headers"]["Range"] == "bytes=1000-" and log(box)[1]["headers"]["If-Range"] == '"1"'


def test_what_stalls_ends_with_the_state(box):
    serve(box)
    done = once(box, file_role(f"{URL}/stall/1000", more='timeout = "4s"\n'))
    assert result(done)["result"] == "failed"
    assert "timed out" in result(done)["error"] or "Timeout" in result(done)["error"] or "time" in result(done)["error"]
    assert not box.exists(TARGET)


def test_a_redirect_for_ever_a_dead_proxy_and_a_missing_file_are_told(box):
    serve(box)
    for url, more, words in ((f"{URL}/loop/0", "", "redirects more than 10 times"),
                             (f"{URL}/status/404", "", "status 404"),
                             (f"{URL}/ok", 'download = { proxy = "http://127.0.0.1:9", retries = 0 }\n', "port 9"),
                             (f"{URL}/ok", 'download = { max_size = "1K" }\n', "larger than 1024 bytes"),
                             ("file:///etc/shadow", "", "shadow")):
        done = once(box, file_role(url, more=more))
        assert result(done)["result"] == "failed" and words in result(done)["error"], done
    assert not box.exists(TARGET) and parts(box) == []


def test_the_proxy_of_the_environment_is_asked(box):
    serve(box)
    serve(box, PORT + 1)
    box.role("download", file_role("http://nobody.invalid/ok"))
    box.write("/etc/systemd/system/agentd.service.d/proxy.conf",
              f'[Service]\nEnvironment="http_proxy=http://127.0.0.1:{PORT + 1}"\n')
    box.run("systemctl daemon-reload")
    start(box)
    wait_event(box, "state-changed", state=f"file:{TARGET}")
    assert log(box, PORT + 1)[0]["target"] == "http://nobody.invalid/ok"


def test_a_disk_that_is_full_fails_the_state_and_keeps_no_part(box, full_disk):
    serve(box)
    box.run(f"mkdir -p -m 0700 {DOWNLOADS}")
    full_disk(DOWNLOADS)
    box.write(TARGET, "old")
    done = once(box, file_role(f"{URL}/ok"))
    assert result(done)["result"] == "failed" and "No space left" in result(done)["error"], done
    assert box.read(TARGET) == "old" and parts(box) == ["filler"]
    box.run(f"umount {DOWNLOADS}")
    assert result(box.agentd_once())["result"] == "changed"


# ---- Credentials ----


def test_credentials_are_read_from_a_file_of_roots(box):
    serve(box)
    box.write("/etc/agentd/netrc", "machine 127.0.0.1 login u password p\n", mode=0o600)
    role = file_role(f"{URL}/auth", content=SMALL, more='download = { credentials = "/etc/agentd/netrc" }\n')
    done = once(box, role)
    assert result(done)["result"] == "changed", done


@pytest.mark.parametrize("command, words", [
    ("chmod 0640 /etc/agentd/netrc", "can be read by others"),
    ("chown nobody /etc/agentd/netrc", "can be read by others"),
    ("rm /etc/agentd/netrc", "No such file"),
    ("ln -sf /etc/shadow /etc/agentd/netrc", "cannot be read"),
])
def test_credentials_that_others_can_read_are_refused(box, command, words):
    serve(box)
    box.write("/etc/agentd/netrc", "machine 127.0.0.1 login u password p\n", mode=0o600)
    box.run(command)
    role = file_role(f"{URL}/auth", content=SMALL, more='download = { credentials = "/etc/agentd/netrc" }\n')
    done = once(box, role)
    assert result(done)["result"] == "failed" and words in result(done)["error"], done
    assert log(box) == []


# ---- Who does it ----


def fetcher(box):
    """/proc of the agentd-fetch that runs, as the box sees it."""
    pids = box.run("pgrep -x agentd-fetch", check=False).stdout.split()
    return pids[0] if pids else None


def test_who_fetches_has_no_rights(box):
    serve(box)
    box.write("/etc/agentd/netrc", "machine 127.0.0.1 login u password hunter2\n", mode=0o600)
    box.role("download", file_role(f"{URL}/once/1000?token=hunter2",
                                   more='download = { credentials = "/etc/agentd/netrc", headers = ["X: hunter2"] }\n'))
    start(box)
    wait_until(lambda: fetcher(box), PATIENCE, "agentd-fetch runs")
    pid = fetcher(box)
    status = dict(line.split(":\t", 1) for line in box.run(f"cat /proc/{pid}/status").stdout.splitlines() if ":\t" in line)
    uid, gid = (box.run(["id", flag, "agentd-fetch"]).stdout.strip() for flag in ("-u", "-g"))
    assert status["Uid"].split() == [uid] * 4 and status["Gid"].split() == [gid] * 4
    assert status["Groups"].split() in ([], [gid])
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, (kind, status[kind])
    assert status["NoNewPrivs"] == "1"
    assert uid != box.run("id -u agentd-check").stdout.strip()
    assert box.run(f"tr '\\0' ' ' </proc/{pid}/cmdline").stdout.strip() == "/usr/lib/agentd/agentd-fetch"
    assert "hunter2" not in box.run(f"cat /proc/{pid}/environ").stdout
    assert "hunter2" not in box.run("journalctl -b --no-pager").stdout
    assert box.run(f"readlink /proc/{pid}/fd/1").stdout.startswith(DOWNLOADS)
    # A unit of its own, with a view of its own: nothing can be written.
    cgroup = box.run(f"cat /proc/{pid}/cgroup").stdout.strip()
    assert "/agentd.slice/agentd-command-" in cgroup
    names = ("User", "RestrictAddressFamilies", "ProtectSystem", "ReadWritePaths", "CapabilityBoundingSet", "PrivateTmp",
             "PrivateDevices", "MemoryDenyWriteExecute", "RestrictSUIDSGID", "SystemCallArchitectures")
    shown = box.run(["systemctl", "show", cgroup.rsplit("/", 1)[1], *(f"--property={name}" for name in names)]).stdout
    properties = dict(line.split("=", 1) for line in shown.splitlines())
    assert set(properties.pop("RestrictAddressFamilies").split()) == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}
    assert properties == {"User": "agentd-fetch", "ProtectSystem": "strict", "ReadWritePaths": "", "CapabilityBoundingSet": "",
                          "PrivateTmp": "yes", "PrivateDevices": "yes", "MemoryDenyWriteExecute": "yes",
                          "RestrictSUIDSGID": "yes", "SystemCallArchitectures": "native"}
    assert "hunter2" not in box.run(["systemctl", "show", cgroup.rsplit("/", 1)[1]]).stdout
    assert box.run(["nsenter", f"--target={pid}", "--mount", "--", "touch", "/srv/x"], check=False).returncode != 0
    assert box.stat("/srv").st_uid == 0 and not box.exists("/srv/x")


def test_a_killed_agentd_goes_on_with_what_there_is(box):
    serve(box)
    box.role("download", file_role(f"{URL}/once/1000"))
    start(box)

    def stalled():
        size = box.run(f"cat {DOWNLOADS}/*.part 2>/dev/null | wc -c", check=False).stdout.strip()
        return size == "1000"

    wait_until(stalled, PATIENCE, "the part is there")
    pid = fetcher(box)
    kill(box)
    box.run(f"kill {pid}", check=False)
    wait_event(box, "state-changed", state=f"file:{TARGET}")
    assert read_bytes(box) == CONTENT
    assert log(box)[1]["headers"]["Range"] == "bytes=1000-"
    assert parts(box) == []


def test_a_tree_is_filled_by_a_child(box):
    """For --root there are no units; who fetches has no rights all the same."""
    serve(box)
    box.run("mkdir -p /tree/srv")
    box.write("/conf/download.toml", file_role(f"{URL}/once/1000", more='timeout = "1min"\ndownload = { timeout = "8s" }\n'))
    command = ["systemd-run", "--quiet", "--unit=fill", "--property=Type=oneshot", "--no-block", "--remain-after-exit",
               "agentd", "--once", "--root", "/tree", "--conf-dir", "/conf"]
    box.run(command)
    status = ""

    def is_there():
        nonlocal status
        status = box.run("cat /proc/$(pgrep -xo agentd-fetch)/status", check=False).stdout
        return "NoNewPrivs:" in status

    wait_until(is_there, PATIENCE, "agentd-fetch runs")
    uid = box.run("id -u agentd-fetch").stdout.strip()
    for line in (f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status, (line, status)
    wait_until(lambda: box.run("systemctl is-active fill", check=False).stdout == "active\n", PATIENCE, "it was fetched")
    assert read_bytes(box, f"/tree{TARGET}") == CONTENT
    assert not box.exists(DOWNLOADS) and box.run(f"ls /tree{DOWNLOADS}").stdout == ""


def test_old_parts_go(box):
    serve(box)
    box.run(f"mkdir -p -m 0700 {DOWNLOADS}")
    old, new, other = f"{DOWNLOADS}/{'0' * 32}.part", f"{DOWNLOADS}/{'1' * 32}.part", f"{DOWNLOADS}/notes"
    for path in (old, new, other):
        box.write(path, "x")
    box.run(["touch", "-d", "8 days ago", old, other])
    assert result(once(box, file_role(f"{URL}/ok")))["result"] == "changed"
    assert not box.exists(old) and box.exists(new) and box.exists(other)


def test_nothing_is_written_where_somebody_else_has_put_something(box):
    """A directory that is not root's is not used; a link in the place of a part is not followed."""
    serve(box)
    box.run(f"mkdir -p -m 0700 {DOWNLOADS}")
    box.run(f"chown nobody {DOWNLOADS}")
    done = once(box, file_role(f"{URL}/ok"))
    assert result(done)["result"] == "failed" and "not permitted" in result(done)["error"], done


# ---- Signatures ----


class Signer:
    """Makes keys and signatures in minisign's format, by openssl."""

    def __init__(self, directory):
        self.key = Path(directory, "key.pem")
        self.run("genpkey", "-algorithm", "ed25519", "-out", self.key)
        self.id = b"12345678"
        raw = self.run("pkey", "-in", self.key, "-pubout", "-outform", "DER")[-32:]
        self.public = self.base64(b"Ed" + self.id + raw)

    @staticmethod
    def run(*arguments):
        return subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout

    @staticmethod
    def base64(data):
        import base64
        return base64.b64encode(data).decode()

    def raw(self, data):
        message = self.key.with_name("message")
        message.write_bytes(data)
        return self.run("pkeyutl", "-sign", "-inkey", self.key, "-rawin", "-in", message)

    def sign(self, content, legacy=False):
        signature = self.raw(content if legacy else hashlib.blake2b(content).digest())
        comment = b"of the test"
        return (f"untrusted comment: x\n{self.base64((b'Ed' if legacy else b'ED') + self.id + signature)}\n"
                f"trusted comment: {comment.decode()}\n{self.base64(self.raw(signature + comment))}\n")


@pytest.fixture
def signer(tmp_path):
    return Signer(tmp_path)


def signed_role(signer, signature, more="", path="small"):
    return (f'[file."{TARGET}"]\nurl = "{URL}/{path}"\nsignature = "{URL}/file?{signature.encode().hex()}"\n'
            f'public_keys = ["{signer.public}"]\n{more}')


@pytest.mark.parametrize("legacy", [False, True])
def test_signed_content_is_fetched_and_then_left_alone(box, signer, legacy):
    serve(box)
    done = once(box, signed_role(signer, signer.sign(SMALL, legacy)))
    assert result(done)["result"] == "changed", done
    assert box.read(TARGET) == SMALL.decode()
    assert result(box.agentd_once())["result"] == "ok"
    n = len(log(box))
    # What is there is compared with the signature that came with it.
    box.write(TARGET, "changed")
    done = box.agentd_once("--plan")
    assert differences(done) == {"content": (f"sha256:{sha256(b'changed')}", "what is signed")}
    assert len(log(box)) == n
    assert result(box.agentd_once())["result"] == "changed" and box.read(TARGET) == SMALL.decode()


def test_what_is_not_signed_so_changes_nothing(box, signer, tmp_path):
    serve(box)
    box.write(TARGET, "old")
    other = Signer(tmp_path)
    other.id = b"87654321"
    for signature, words in ((signer.sign(b"something else"), "signature is not right"),
                             (other.sign(SMALL), "key 3132333435363738, which is not among those given"),
                             ("<html></html>", "not a signature")):
        done = once(box, signed_role(signer, signature))
        assert result(done)["result"] == "failed" and words in result(done)["error"], done
    done = once(box, f'[file."{TARGET}"]\nurl = "{URL}/small"\npublic_keys = ["{signer.public}"]\n')
    assert "small.minisig" in result(done)["error"], done
    assert box.read(TARGET) == "old"


# ---- Roles that are wrong ----


@pytest.mark.parametrize("text, words", [
    (f'url = "{URL}/x"', "'url' needs 'sha256'"),
    (f'url = "{URL}/x"\npublic_keys = ["RWabc"]', "'RWabc' in 'public_keys' is no key of minisign"),
    (f'url = "{URL}/x"\nsignature = "{URL}/y"', "'signature' needs 'public_keys'"),
    (f'url = "{URL}/x"\nsignature = "{URL}/y"\nsha256 = "{"0" * 64}"', "'signature' needs 'public_keys'"),
    (f'url = "gopher://x/"\nsha256 = "{"0" * 64}"', "must begin with https://"),
    (f'url = "/etc/motd"\nsha256 = "{"0" * 64}"', "must begin with https://"),
    (f'url = "https://u:p@x/"\nsha256 = "{"0" * 64}"', "must not have a user or password"),
    (f'url = "https://x/a b"\nsha256 = "{"0" * 64}"', "spaces or control characters"),
    (f'url = []\nsha256 = "{"0" * 64}"', "1 to 32 URLs"),
    (f'url = [1]\nsha256 = "{"0" * 64}"', "string"),
    (f'url = 1\nsha256 = "{"0" * 64}"', "string"),
    (f'sha256 = "{"0" * 64}"', "make sense with 'url' only"),
    ('download = { retries = 1 }', "make sense with 'url' only"),
    (f'url = "{URL}/x"\ncontent = "x"\nsha256 = "{"0" * 64}"', "content"),
    (f'url = "{URL}/x"\nsha256 = "{"0" * 64}"\nchecksum = "{"0" * 64}"', "checksum"),
    (f'url = "{URL}/x"\nensure = "directory"\nsha256 = "{"0" * 64}"', "makes no sense"),
    (f'url = "{URL}/x"\nsha256 = "{"0" * 64}"\ndownload = {{ retries = 101 }}', "0 to 100"),
])
def test_a_role_that_is_wrong_is_refused(box, text, words):
    box.role("download", f'[file."{TARGET}"]\n{text}\n')
    done = box.run("agentd --validate", check=False)
    assert done.returncode == 2 and words in done.stdout + done.stderr, done
