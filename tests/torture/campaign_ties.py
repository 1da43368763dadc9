# SPDX-License-Identifier: LGPL-2.1-or-later
"""As kill, on a host whose states listen to each other, go, and are renamed; and systemd and the bus begin anew as well."""

import time

import daemon
import campaign_kill
from box import wait_until
from ties import Ties

STEPS = {"engine": 450, "apply": 190, "check*": 400, "load*": 200, "watch": 8}
START_STEPS = {"engine": 550, "apply": 190, "load*": 200, "housekeeper": 180}

UNITS = "systemctl list-units --plain --no-legend --all 'agentd-*.service' | cut -d' ' -f1"
BLOWS = {
    "agentd": "pkill -KILL -x agentd",
    "agentd-apply": "pkill -KILL -x agentd-apply",
    "agentd-check": "pkill -KILL -x agentd-check",
    "agentd-load": "pkill -KILL -x agentd-load",
    "commands": f"for u in $({UNITS}); do systemctl kill --signal=KILL $u; done",
    "units": "systemctl kill --signal=KILL t-conf t-reload t-own t-dropin",
    "restart": "systemctl reset-failed agentd dbus; systemctl restart agentd",
    "reexec": "systemctl daemon-reexec",
    "dbus": "systemctl reset-failed agentd dbus; systemctl restart dbus",
}
STORE = "/var/lib/agentd"
WRITES = "pwrite64,fdatasync"
ENDINGS = ("run-finished", "run-interrupted", "roles-refused")


class Campaign(campaign_kill.Campaign):
    steps = STEPS
    start_steps = START_STEPS
    ways = {"step": 5, "start": 2, "heard": 2, "time": 6, "store": 2, "power": 2}
    disturbing = ("heard", "time", "store", "power")
    disk = None  # of the store
    lossy = False  # what of events and old contents was not synced may be gone, as documented
    slowest = 0.0  # to be at rest after a blow, in seconds

    def start(self):
        # Events of what has another name now are known under that.
        self.listener.words = lambda e: {k: e[k] for k in ("event", "time", "kind", "run", "result", "message")}
        try:
            self.disk = self.box.loop_ext4(STORE, mib=16)
        except OSError:
            self.count("no loop devices here")
        self.first_generation("/srv/torture", Ties)

    def round(self, rng, seed):
        self.files.forgotten = self.lossy = False
        super().round(rng, seed)
        again = self.files.repeated(self.g)
        self.count("listeners told more than once", again > 1)
        assert again <= 6, f"{again} times"

    def check_contents(self):
        if not self.lossy:
            super().check_contents()
        else:
            self.box.run(["find", f"{STORE}/content", "-type", "f", "-delete"])

    def check_events(self):
        if not self.lossy:
            super().check_events()
        self.listener.forget()

    def converge(self):
        # Whatever was killed may be told as failed by the run that goes on, but not by the next one.
        begun = time.monotonic()
        daemon.wait_idle(self.box, 30)
        self.slowest = max(self.slowest, time.monotonic() - begun)
        return super().converge()

    def finish(self):
        figures = super().finish()
        return f"{figures}, at rest after {self.slowest:.1f} s at most"

    def by_time(self, rng, fresh):
        """One to three blows, at any moment; and all the while somebody else may change things, or ask for a part."""
        blows = [(rng.uniform(0, 0.6), rng.choice(list(BLOWS))) for _ in range(rng.choice([1, 1, 2, 3]))]
        ask = rng.choice(["reload", "reload", "part", "drift"])
        self.note.append(f"{ask}; " + ", ".join(f"{blow} after {delay:.4f} s" for delay, blow in sorted(blows)))
        self.files.write_role(self.g)
        with self.asking():
            begun = time.monotonic()
            for delay, blow in sorted(blows):
                self.watch(begun + delay, fresh)
                self.count(f"blows to {blow}")
                self.box.run(BLOWS[blow], check=False, timeout=60)
                if ask == "drift":
                    self.files.disturb()
                    fresh = True
                elif ask == "part":
                    body = f'{{"mode": "apply", "states": ["file:{self.files.top}/conf"]}}'
                    self.box.run(["curl", "-s", "-o", "/dev/null", "--max-time", "5", "--unix-socket", daemon.SOCKET,
                                  "--json", body, "http://localhost/v1/runs"], check=False)
                ask = None
            self.watch(time.monotonic() + 0.5, fresh)

    # ---- The store ----

    def by_store(self, rng, fresh):
        """It cannot be written while something is due: that is done nevertheless, by the agentd that knows of it."""
        fault = rng.choice(["full", "read-only"] if self.disk else ["read-only"])
        drift = rng.random() < 0.5
        self.note.append(f"store {fault}, {'drift' if drift else 'reload'}")
        self.count(f"store {fault}")
        pid, after = daemon.main_pid(self.box), self.box.cursor()
        if fault == "full":
            self.box.run(f"cat /dev/zero >{STORE}/filler", check=False)
            self.told(pid, drift, after)
            if rng.random() < 0.5:  # nothing is due any more
                self.note.append("restarted")
                daemon.restart(self.box)
                self.lossy = True
            self.box.run(["rm", f"{STORE}/filler"])
        else:
            argv = ["strace", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={WRITES}",
                    "-e", f"inject={WRITES}:error=EROFS"]
            with daemon.background(self.box, argv):
                wait_until(lambda: "TracerPid:\t0\n" not in self.box.read(f"/proc/{pid}/status"), 30, "strace is there")
                self.told(pid, drift, after)
                error = daemon.status(self.box)["store"]["error"]
                assert error, "nobody says that the store cannot be written"
        daemon.wait_until(lambda: daemon.status(self.box)["store"]["error"] is None, 30, "the store works again")

    def told(self, pid, drift, after):
        """after: the journal's end before the fault; something may be written right after it."""
        box = self.box
        self.files.write_role(self.g)
        daemon.reload(box)
        run = daemon.apply(box, timeout=40)
        assert run.error is None and not run.summary["failed"], run
        if drift:
            self.files.disturb()
        wait_until(self.all_told, 30, "what is due")
        daemon.wait_idle(box, 30)
        assert daemon.main_pid(box) == pid, "agentd has ended"
        failed = daemon.status(box)["store"]["error"] is not None
        self.count("store failed", failed)
        if failed:
            box.wait_journal("AGENTD_EVENT=store-failed", after=after, timeout=30)

    def all_told(self):
        try:
            return not self.files.young() and "drift\n" not in self.files.read("conf")
        except FileNotFoundError:
            return False

    def by_power(self, rng, fresh):
        """The power of the store is cut after it was closed in order, and what others listen to is changed."""
        if not self.disk:
            return
        box = self.box
        daemon.restart(box)
        self.listener.open()
        self.files.forgotten = self.lossy = True
        delay = rng.uniform(0, 1.0)
        self.note.append(f"cut after {delay:.4f} s")
        self.files.write_role(self.g)
        with self.asking():
            self.watch(time.monotonic() + delay, fresh)
            box.run("systemctl stop agentd.socket", check=False)
            self.disk.cut_power()
            box.run("systemctl kill --signal=KILL agentd.service", check=False)
        self.wait_dead()
        self.listener.close()
        self.disk.umount()
        wait_until(lambda: not self.disk.attached, 30, "the loop device is free")
        self.disk.mount()
        box.run("systemctl reset-failed agentd.service; systemctl start agentd.socket")
        self.start_again()
        done = box.run(["python3", "-c", "import sqlite3; print(sqlite3.connect('file:/var/lib/agentd/store.db?mode=ro', "
                        "uri=True).execute('PRAGMA integrity_check').fetchone()[0])"], check=False)
        assert done.stdout == "ok\n", done

    def watch(self, deadline, fresh):
        while time.monotonic() < deadline:
            got = self.listener.poll(0.01)
            if any(e["kind"] in ENDINGS for e in got):
                deadline = min(deadline, time.monotonic() + 0.05)
            self.files.check(self.allowed, fresh)
