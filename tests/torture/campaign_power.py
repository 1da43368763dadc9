# SPDX-License-Identifier: LGPL-2.1-or-later
"""The power of the file system with the files and the store is cut, before any step or at any moment."""

import errno
import time

import daemon
from host import STEP, Base
from torture import Skip

DISK = "/mnt/power"
STEPS = {"engine": 105, "apply": 110}


class Campaign(Base):
    def start(self):
        box = self.box
        try:
            self.disk = box.loop_ext4(DISK, mib=64)
        except OSError as e:
            raise Skip(f"no loop devices here: {e}") from None
        box.run(["mkdir", "-p", f"{DISK}/files", f"{DISK}/store", "/var/lib/agentd"])
        self.mount_store()
        self.first_generation(f"{DISK}/files")
        box.run("sync")

    def mount_store(self):
        self.box.run(["mount", "--bind", f"{DISK}/store", "/var/lib/agentd"])

    def round(self, rng, seed):
        box = self.box
        self.g = seed
        self.allowed = [self.g - 1, self.g]
        self.listener.after = daemon.last_event(box)
        self.listener.open()
        by_step = rng.random() < 0.7
        finished = {}
        if by_step:
            kind = rng.choice(list(STEPS))
            n = rng.randint(1, STEPS[kind])
            self.note.append(f"step {n} of {kind}")
            with daemon.background(box, [STEP, "-", kind, str(n), DISK, str(daemon.main_pid(box))]) as step:
                assert step.next(30)["ready"]
                self.apply(finished, 1.5, step)
        else:
            delay = rng.uniform(0, 0.4)
            self.note.append(f"after {delay:.4f} s")
            self.apply(finished, delay)
        try:
            self.disk.cut_power()
        except OSError as e:
            assert e.errno == errno.EIO, e  # it is cut already
        self.restart()

        found = self.files.check(self.allowed)
        lost = {path: g for path, g in finished.items() if path in found and found[path] != g}
        assert not lost, f"said to be changed, and after the power cut of another generation: {lost} {found}"
        self.count("results kept", len(finished))
        daemon.start(box)
        self.converge()
        self.check_store()
        self.check_integrity()
        # Documented: of what was told, a power cut may take what came after the last checkpoint.
        self.count("events told", len(self.listener.heard))
        missing = self.listener.missing()
        again = {e["event"] for e in daemon.events(box)}
        self.count("of these lost by the cut", len(missing))
        self.count("numbers given twice", sum(e["event"] in again for e in missing))
        self.listener.forget()

    def apply(self, finished, seconds, step=None):
        """Asks for the next generation, and notes which files were said to be changed before the cut."""
        self.files.write_role(self.g)
        deadline = time.monotonic() + seconds
        with self.asking():
            while time.monotonic() < deadline:
                done = step._line(time.monotonic() + 0.002) if step else None
                for event in self.listener.poll(0.002):
                    if event["kind"] == "state-changed":
                        finished[event["state"].removeprefix(f"file:{DISK}/files/")] = self.g
                    if event["kind"] == "run-finished":
                        deadline = min(deadline, time.monotonic() + 0.02)
                if done:
                    self.count(f"cuts by {done['kind']}")
                    self.note.append(f"cut before {done['call']} {done['path']}".rstrip())
                    break

    def restart(self):
        """All processes die with the power; then the file system is repaired from its journal."""
        box = self.box
        self.listener.close()
        box.run("systemctl stop agentd.socket; systemctl kill --signal=KILL agentd.service", check=False)
        self.wait_dead()
        box.run("umount /var/lib/agentd")
        self.disk.umount()
        daemon.wait_until(lambda: not self.disk.attached, 30, "the loop device is free")
        self.disk.mount()
        self.mount_store()
        box.run(["systemctl", "start", "agentd.socket"])

    def check_integrity(self):
        done = self.box.run(["python3", "-c", "import sqlite3; "
                             "print(sqlite3.connect('file:/var/lib/agentd/store.db?mode=ro', uri=True)"
                             ".execute('PRAGMA integrity_check').fetchone()[0])"], check=False)
        assert done.stdout == "ok\n", done
