# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems and system calls that fail while a new generation is applied."""

import time

import daemon
from host import Base
from torture import Skip

FILES, STORE = "/mnt/files", "/var/lib/agentd"
CALLS = ["copy_file_range", "fchmod", "fchown", "fdatasync", "fsync", "ftruncate", "mkdirat", "openat", "pwrite64",
         "renameat", "sendfile", "symlinkat", "unlinkat", "write"]
ERRORS = ["EIO", "EIO", "ENOSPC", "EROFS", "EDQUOT"]


class Campaign(Base):
    def start(self):
        box = self.box
        try:
            self.disks = {path: box.loop_ext4(path, mib=16) for path in (FILES, STORE)}
        except OSError as e:
            raise Skip(f"no loop devices here: {e}") from None
        self.first_generation(f"{FILES}/torture")

    def round(self, rng, seed):
        box = self.box
        self.g = seed
        self.allowed = [self.g - 1, self.g]
        self.listener.after = daemon.last_event(box)
        self.listener.open()
        pid = daemon.main_pid(box)
        fault = rng.choices(["calls", "blocks", "inodes", "read_only", "store_blocks", "store_inodes"],
                            [6, 3, 2, 3, 2, 1])[0]
        self.count(fault.replace("_", " "))
        self.note.append(fault)
        restarted = getattr(self, fault)(rng)

        self.files.check(self.allowed)
        if restarted:
            daemon.restart(box)
        assert (daemon.main_pid(box) == pid) == (not restarted), "agentd has ended"
        self.converge()
        # What waited is written when it is tried again.
        daemon.wait_until(lambda: daemon.status(box)["store"]["error"] is None, 30, "the store works again")
        self.check_store()
        self.listener.poll(0.01)
        self.listener.close()
        for kind in ("state-failed", "state-changed"):
            self.count(f"events {kind}", sum(e["kind"] == kind for e in self.listener.heard.values()))
        if not fault.startswith("store"):
            self.check_events()
        self.listener.forget()

    # ---- faults ----

    def calls(self, rng):
        """The N-th of some call in every process, or all from there on, fails."""
        call, error, n = rng.choice(CALLS), rng.choice(ERRORS), rng.randint(1, 12)
        when = f"{n}{rng.choice(['', '+'])}"
        self.note.append(f"{call}: {error}, when={when}")
        pid = daemon.main_pid(self.box)
        argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={call}",
                "-e", f"inject={call}:error={error}:when={when}"]
        with daemon.background(self.box, argv):
            daemon.wait_until(lambda: "TracerPid:\t0\n" not in self.box.read(f"/proc/{pid}/status"), 30, "strace is there")
            self.ask()
        # The store, too, may have met it; it tries again after 10 s.
        return daemon.status(self.box)["store"]["error"] is not None and rng.random() < 0.8

    def blocks(self, rng):
        self.full(FILES, rng)

    def inodes(self, rng):
        self.full(FILES, rng, inodes=True)

    def full(self, where, rng, inodes=False):
        filler = f"{where}/filler"
        spare = rng.choice([0, 0, 1, 2, 10])
        self.note.append(f"{spare} left")
        if inodes:
            self.box.run(["python3", "-c", FILL_INODES, filler, str(spare)], timeout=30)
        else:
            self.box.run(f"cat /dev/zero >{filler}; truncate -s -{spare * 4096} {filler}", check=False)
        try:
            self.ask()
        finally:
            self.box.run(["rm", "-rf", filler])

    def read_only(self, rng):
        """In the middle of it, when no file is open for writing."""
        delay = rng.uniform(0, 0.1)
        self.note.append(f"after {delay:.4f} s")
        turn = f"sleep {delay:.4f}; for i in $(seq 1000); do mount -o remount,ro {FILES} 2>/dev/null && exit; done; exit 1"
        try:
            with daemon.background(self.box, ["sh", "-c", turn]) as turning:
                self.ask()
                assert turning.process.wait(60) == 0, "it could not be made read-only"
            self.files.check(self.allowed)
            run = daemon.apply(self.box)
            assert run.error is None, run
        finally:
            self.box.run(f"mount -o remount,rw {FILES}")

    def store_blocks(self, rng):
        self.full(STORE, rng)
        self.count("store failed", daemon.status(self.box)["store"]["error"] is not None)
        return rng.random() < 0.7

    def store_inodes(self, rng):
        self.full(STORE, rng, inodes=True)
        return rng.random() < 0.5

    def ask(self):
        """Loads and applies the next generation, which may fail in whatever way, but has to end."""
        self.files.write_role(self.g)
        loaded = self.box.api("POST", "/v1/reload", timeout=30)
        assert loaded.status in (200, 422, 500), loaded
        for _ in range(2):
            answer = self.box.api("POST", "/v1/runs?follow=true", {"mode": "apply"}, timeout=40)
            assert answer.status in (200, 429, 500, 503), answer
            for line in answer.body if answer.status == 200 else []:
                if "state" in line:
                    assert (line["result"] == "failed") == (line["error"] is not None) or line["result"] == "blocked", line
            self.files.check(self.allowed)
        deadline = time.monotonic() + 60
        while daemon.status(self.box)["state"] != "idle":
            assert time.monotonic() < deadline, "it does not become idle"


FILL_INODES = """
import os, sys
os.mkdir(sys.argv[1])
n = 0
try:
    while True:
        os.close(os.open(f"{sys.argv[1]}/{n}", os.O_CREAT | os.O_WRONLY))
        n += 1
except OSError:
    pass
for i in range(int(sys.argv[2])):
    os.unlink(f"{sys.argv[1]}/{i}")
"""
