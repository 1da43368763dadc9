# SPDX-License-Identifier: LGPL-2.1-or-later
"""Units of users who mean harm: a program of theirs answers in the place of their systemd."""

import threading

import pytest
from box import wait_until
from once import errors, results
from test_service import once

# Says what it should not, and in the end that it refuses. Notes when nobody listens any more; "waits" waits for that of another.
MANAGER = r"""
import os, socket, struct, sys, time

behaviour, user = sys.argv[1:]
directory = f"/run/user/{os.getuid()}/systemd"
os.makedirs(directory, exist_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{directory}/private")
listener.listen(16)

MANAGER = [(1, "o", "/org/freedesktop/systemd1"), (2, "s", "org.freedesktop.systemd1.Manager")]


def align(data, n):
    return data + bytes(-len(data) % n)


def text(s):
    return struct.pack("<I", len(s)) + s.encode() + b"\0"


def message(kind, fields, body=b""):
    array = b""
    for code, signature, value in fields:
        array = align(array, 8) + bytes([code, 1]) + signature.encode() + b"\0"
        if signature == "g":
            array += bytes([len(value)]) + value.encode() + b"\0"
        else:
            array = align(array, 4) + (struct.pack("<I", value) if signature == "u" else text(value))
    return align(struct.pack("<BBBBIII", ord("l"), kind, 1, 1, len(body), 1, len(array)) + array, 8) + body


def talk(peer):
    data = b""
    while b"BEGIN\r\n" not in data:
        data += peer.recv(4096) or sys.exit(1)
    peer.sendall(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n")
    call = data.partition(b"BEGIN\r\n")[2]
    while len(call) < 16:
        call += peer.recv(4096) or sys.exit(1)
    if behaviour == "descriptors":
        fds = [os.open("/dev/null", os.O_RDONLY)] * 200
        for _ in range(100):
            socket.send_fds(peer, [message(4, MANAGER + [(3, "s", "UnitNew"), (9, "u", len(fds))])], fds)
    if behaviour == "floods":
        for _ in range(20):
            peer.sendall(message(4, MANAGER + [(3, "s", "UnitNew"), (8, "g", "s")], text("x" * (1 << 20))))
    if behaviour == "waits":
        open("/tmp/bob-is-asked", "w").close()
        end = time.monotonic() + 20
        while not os.path.exists("/tmp/ada-is-alone") and time.monotonic() < end:
            time.sleep(0.01)
    reply_to, = struct.unpack("<I", call[8:12])
    said = "no" if behaviour != "waits" or os.path.exists("/tmp/ada-is-alone") else "ada is still talked to"
    peer.sendall(message(3, [(4, "s", "org.example.No"), (5, "u", reply_to), (8, "g", "s")], text(said)))
    while peer.recv(4096):
        pass


print("listening", flush=True)
while True:
    peer, _ = listener.accept()
    try:
        talk(peer)
    except OSError:
        pass
    open(f"/tmp/{user}-is-alone", "w").close()
    peer.close()
"""


def manager(box, user, behaviour):
    box.run(f"useradd {user}")
    uid = int(box.run(f"id -u {user}").stdout)
    box.write("/srv/manager.py", MANAGER)
    box.run(f"mkdir -p /run/user/{uid} && chown {user} /run/user/{uid}")
    box.run(["systemd-run", f"--unit={user}", f"--uid={user}", "python3", "/srv/manager.py", behaviour, user])
    wait_until(lambda: box.run(["journalctl", "-o", "cat", f"_SYSTEMD_UNIT={user}.service"]).stdout, 30, f"{user} listens")


@pytest.mark.parametrize("behaviour", ["floods", "descriptors"])
def test_what_one_user_has_said_is_let_go_before_another_is_asked(box, behaviour):
    """It takes memory, of which a worker has so much and no more; what it did next went wrong then, whatever it was."""
    manager(box, "ada", behaviour)
    manager(box, "bob", "waits")
    done = once(box, "".join(f"[service.{user}]\nuser = \"{user}\"\nrunning = true\n" for user in ("ada", "bob")))
    assert errors(done)["service:ada"].startswith("systemd cannot be asked about 'ada.service': "), errors(done)
    assert errors(done)["service:bob"] == "systemd cannot be asked about 'bob.service': no"


def test_what_is_known_of_the_units_of_one_user_is_let_go_before_another_is_asked(box):
    """It may be 256 MiB, of which a worker cannot have many."""
    box.run("useradd -m ada")
    box.write("/home/ada/.config/systemd/user/app.service", "[Install]\nWantedBy=default.target\n")
    manager(box, "bob", "waits")
    box.role("role", '[service.app]\nuser = "ada"\nenabled = false\n[service.bob]\nuser = "bob"\nrunning = true\n')
    done = []
    thread = threading.Thread(target=lambda: done.append(box.agentd_once(timeout=60)))
    thread.start()
    wait_until(lambda: box.exists("/tmp/bob-is-asked"), 30, "bob is asked")
    held = box.run("find /proc/[0-9]*/fd -lname '/home/ada/*' 2>/dev/null", check=False).stdout
    box.write("/tmp/ada-is-alone", "")
    thread.join()
    assert held == ""
    assert results(done[0]) == {"service:app": "ok", "service:bob": "failed"}, done[0]
