# SPDX-License-Identifier: LGPL-2.1-or-later
"""SIGKILL between any two steps of the engine or of one of its children."""

import subprocess
import time

import daemon
from box import kill_session
from host import STEP, STEP_PLAN, STEP_REPORT, Base, parse_report

# How many steps each has, about, when a new generation is loaded and applied. What is beyond does nothing. Loader and
# check workers change nothing outside of themselves: of them every system call counts.
STEPS = {"engine": 105, "apply": 110, "check*": 210, "load*": 75, "watch": 5}
START_STEPS = {"engine": 210, "apply": 110, "load*": 75, "housekeeper": 180}


class Campaign(Base):
    steps = STEPS
    start_steps = START_STEPS
    ways = {"step": 6, "start": 3, "heard": 2, "time": 1}
    disturbing = ("heard",)  # ways after which not all files may be there

    def start(self):
        self.first_generation("/srv/torture")

    def round(self, rng, seed):
        box = self.box
        self.g = seed
        way = rng.choices(list(self.ways), list(self.ways.values()))[0]
        self.count(f"by {way}")
        if rng.random() < 0.2:
            self.note.append("files are gone")
            self.files.wipe()
            fresh = True
        else:
            fresh = False
        self.allowed = [self.g - 1, self.g]
        self.listener.after = daemon.last_event(box)
        self.listener.open()
        getattr(self, f"by_{way}")(rng, fresh)
        fresh = fresh or way in self.disturbing
        self.files.check(self.allowed, fresh)
        if self.dead():
            self.start_again()
            self.files.check(self.allowed, fresh)
        self.listener.poll(0.0)
        self.converge()
        self.listener.poll(0.01)
        self.listener.close()
        self.check_store()
        self.check_contents()
        self.check_events()

    # ---- ways of killing ----

    def by_step(self, rng, fresh):
        """One that runs, when it is told to load and apply the next generation."""
        kind = rng.choices(list(self.steps), [4, 4, 2, 2, 1])[0]
        n = rng.randint(1, self.steps[kind])
        self.note.append(f"step {n} of {kind}")
        with daemon.background(self.box, [STEP, "-", kind, str(n), "kill",
                                         str(daemon.main_pid(self.box))]) as step:
            assert step.next(30)["ready"]
            self.files.write_role(self.g)
            with self.asking():
                self.wait(step, fresh)

    def by_start(self, rng, fresh):
        """While it starts, after a kill of the one before."""
        kind = rng.choices(list(self.start_steps), [4, 3, 2, 4])[0]
        n = rng.randint(1, self.start_steps[kind])
        self.note.append(f"step {n} of {kind} at start")
        self.box.run(["rm", "-f", STEP_REPORT])
        self.box.write(STEP_PLAN, f"{STEP_REPORT} {kind} {n} kill\n")
        self.kill_engine()
        self.files.write_role(self.g)
        self.box.run(["systemctl", "start", daemon.SERVICE], timeout=60, check=False)
        self.listener.open()
        deadline = time.monotonic() + 1.0
        while not (done := parse_report(self.box)) and time.monotonic() < deadline and not self.dead():
            got = self.listener.poll(0.02)
            if any(e["kind"] in ("run-finished", "run-interrupted", "roles-refused") for e in got):
                deadline = min(deadline, time.monotonic() + 0.1)
            self.files.check(self.allowed, fresh)
        self.box.run("pkill -KILL -x step", check=False)  # it goes on counting
        self.killed(done)

    def by_heard(self, rng, fresh):
        """The engine, as soon as the client has heard of the N-th event."""
        n = rng.randint(1, 40)
        self.note.append(f"engine when event {n} was heard")
        killer = subprocess.Popen(self.box._nsenter(["sh", "-c", f"read _; kill -KILL {daemon.main_pid(self.box)}"]),
                                  stdin=subprocess.PIPE, start_new_session=True)
        try:
            self.listener.poll(0.02)
            heard = len(self.listener.heard)
            self.files.write_role(self.g)
            more = "/v1/reload"
            deadline = time.monotonic() + 2
            while more and time.monotonic() < deadline:
                with self.asking(more):
                    more = None
                    while not more and time.monotonic() < deadline:
                        got = self.listener.poll(0.001)
                        if len(self.listener.heard) - heard >= n:
                            killer.communicate(b"\n")
                            self.count("kills after an event")
                            return
                        if any(e["kind"] == "run-finished" for e in got):
                            # Another run, while the store still waits for more.
                            self.files.disturb()
                            more = "/v1/runs"
        finally:
            kill_session(killer)

    def by_time(self, rng, fresh):
        """At any moment, whatever it is at."""
        kind = rng.choice(["agentd", "agentd-apply", "agentd-check", "agentd-load"])
        delay = rng.uniform(0, 0.15)
        self.note.append(f"{kind} after {delay:.4f} s")
        self.files.write_role(self.g)
        with self.asking():
            time.sleep(delay)
            self.box.run(f"pkill -KILL -x {kind}", check=False)
            self.wait(None, fresh)

    def wait(self, step, fresh):
        """Until the deed is done, or the run over; looks at the files all the while."""
        deadline = time.monotonic() + (5.0 if step else 0.5)
        done = None
        while time.monotonic() < deadline:
            if step and not done:
                done = step._line(time.monotonic() + 0.002)
                if done and done["kind"] == "engine":
                    step.process.wait(30)
                    break
            got = self.listener.poll(0.005)
            if any(e["kind"] in ("run-finished", "run-interrupted", "roles-refused") for e in got):
                deadline = min(deadline, time.monotonic() + 0.05)
            self.files.check(self.allowed, fresh)
        self.killed(done)

    def killed(self, done):
        if done:
            self.count(f"kills of {done['kind']}")
            self.note.append(f"killed before {done['call']} {done['path']}".rstrip())
        else:
            self.note.append("nothing killed by step")
