# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the campaigns share: a host whose files exist in generations, and a client that writes down what it is told."""

import contextlib
import hashlib
import json
import os
import random
import stat
import time

import daemon
from box import wait_until
from torture import Skip

TESTS = "/usr/lib/agentd-tests"
STEP = f"{TESTS}/step"
STEP_PLAN = "/run/torture-step"
STEP_REPORT = "/run/torture-report"
OWNERS = {"root": 0, "daemon": 1}


def content(name, generation):
    """Text that says what it is, how long, and whether it is whole."""
    roll = random.Random(f"{name} {generation}")
    size = roll.choice([0, 1, 100, 4000, 4096, 5000, 20000]) if not name.startswith("source") else roll.choice(
        [1, 70000, 300000])
    body = "".join(roll.choices("abcdefghijklmnopqrstuvwxyz \n", k=min(size, 1000)))
    body = (body * (size // max(len(body), 1) + 1))[:size]
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f"{name} {generation} {size} {digest}\n{body}"


def generation_of(name, text):
    """The generation of a content that is whole; raises otherwise."""
    head, _, body = text.partition("\n")
    words = head.split(" ")
    assert len(words) == 4 and words[0] == name, f"{name}: not one of ours: {text[:80]!r}"
    assert len(body) == int(words[2]), f"{name}: {len(body)} bytes of {words[2]}, generation {words[1]}"
    assert hashlib.sha256(body.encode()).hexdigest() == words[3], f"{name}: wrong content, generation {words[1]}"
    return int(words[1])


class Files:
    """Files below a directory, as one generation or the next has them."""

    CONTENT = [f"content{i}" for i in range(8)]
    SOURCE = [f"source{i}" for i in range(2)]

    def __init__(self, box, top):
        self.box = box
        self.top = top

    @staticmethod
    def mode(name, g):
        return (0o640, 0o604, 0o4755, 0o600)[(g + len(name)) % 4]

    @staticmethod
    def owner(name, g):
        return ("root", "daemon")[(g + sum(name.encode())) // 2 % 2]

    @staticmethod
    def here(g):
        """Whether "flip" is there."""
        return g % 2 == 0

    def role(self, g):
        text = []
        for name in self.CONTENT:
            text.append(f'[file."{self.top}/{name}"]\ncontent = {json.dumps(content(name, g))}\n'
                        f'mode = "0{self.mode(name, g):o}"\nowner = "{self.owner(name, g)}"\n')
        for name in self.SOURCE:
            text.append(f'[file."{self.top}/{name}"]\nsource = "/srv/sources/{name}.{g}"\n'
                        f'mode = "0{self.mode(name, g):o}"\nowner = "{self.owner(name, g)}"\n')
        text.append(f'[file."{self.top}/link"]\nensure = "symlink"\ntarget = "generation-{g}"\n')
        text.append(f'[file."{self.top}/directory-{g}"]\nensure = "directory"\nmode = "0711"\nowner = "daemon"\n')
        text.append(f'[file."{self.top}/deep-{g}/down/file"]\ncontent = {json.dumps(content("deep", g))}\n'
                    'parents = { create = true, mode = "0751" }\n')
        text.append(f'[file."{self.top}/attributes"]\nmode = "0{0o640 + g % 2 * 4:o}"\n'
                    f'owner = "{self.owner("attributes", g)}"\n')
        if self.here(g):
            text.append(f'[file."{self.top}/flip"]\ncontent = {json.dumps(content("flip", g))}\n')
        else:
            text.append(f'[file."{self.top}/flip"]\nensure = "absent"\n')
        return "".join(text)

    def write_role(self, g):
        for name in self.SOURCE:
            self.box.write(f"/srv/sources/{name}.{g}", content(name, g))
        # As an editor does it: no load sees a half of it.
        self.box.write("/etc/agentd/next.toml", self.role(g))
        self.box.run("mkdir -p /etc/agentd/conf.d && mv /etc/agentd/next.toml /etc/agentd/conf.d/torture.toml")
        old = f"/srv/sources/*.{g - 2} {self.top}/deep-{g - 2} {self.top}/directory-{g - 2}"
        self.box.run(f"rm -rf {old}", check=False)  # it may be read-only by now

    def wipe(self):
        self.box.run(f"rm -rf {self.top}/*")

    def disturb(self):
        """So much that a run has something to do."""
        self.box.run(f"rm -f {self.top}/content*")

    def read(self, name):
        """Content, mode and owner of one file at one moment; None: it is not there."""
        try:
            fd = self.box._open(f"{self.top}/{name}", os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with open(fd) as file:
            st = os.fstat(fd)
            assert stat.S_ISREG(st.st_mode), name
            return file.read(), stat.S_IMODE(st.st_mode), st.st_uid

    def check(self, allowed, fresh=False):
        """Each file is of one of these generations in whole. @fresh: there may be none yet. Returns {name: generation}."""
        found = {}
        for name in self.CONTENT + self.SOURCE:
            seen = self.read(name)
            if seen is None:
                assert fresh, f"{name} is gone"
                continue
            g = generation_of(name, seen[0])
            assert g in allowed, f"{name} is of generation {g}, not {allowed}"
            wanted = self.mode(name, g), OWNERS[self.owner(name, g)]
            assert seen[1:] == wanted, f"{name}: mode and owner 0{seen[1]:o} {seen[2]}, of generation {g} are {wanted}"
            found[name] = g
        for name, of in ("flip", "flip"), *((f"deep-{g}/down/file", "deep") for g in allowed):
            seen = self.read(name)
            if seen is not None:
                g = generation_of(of, seen[0])
                assert g in allowed and (of == "deep" or self.here(g)), (name, g, allowed)
                assert seen[1:] == (0o644, 0), (name, seen[1:])
                found[name] = g
        try:
            fd = self.box._open(f"{self.top}/link", os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            assert fresh, "link is gone"
        else:
            target = os.readlink("", dir_fd=fd)
            os.close(fd)
            assert target in [f"generation-{g}" for g in allowed], target
            found["link"] = int(target.rpartition("-")[2])
        return found

    def check_new(self, g):
        """All is as the role of that generation says, and nothing else was left behind."""
        found = self.check([g])
        assert len(found) == len(self.CONTENT) + len(self.SOURCE) + 2 + self.here(g), found
        assert self.here(g) == self.box.exists(f"{self.top}/flip")
        for path, wanted in ((f"directory-{g}", (0o711, 1)), (f"deep-{g}", (0o751, 0)), (f"deep-{g}/down", (0o751, 0)),
                             ("attributes", (0o640 + g % 2 * 4, OWNERS[self.owner("attributes", g)]))):
            st = self.box.stat(f"{self.top}/{path}", follow=False)
            assert (stat.S_IMODE(st.st_mode), st.st_uid) == wanted, \
                f"{path}: 0{stat.S_IMODE(st.st_mode):o} {st.st_uid}, not 0{wanted[0]:o} {wanted[1]}"
        where = [self.top, "/srv", "/etc", "/var/lib/agentd", "/run/agentd"]
        left = self.box.run(["find", *where, "-name", ".agentd-*"]).stdout
        assert not left, f"left behind: {left}"


class Listener:
    """A client that follows the events; what it got in whole has been acknowledged to it."""

    def __init__(self, box):
        self.box = box
        self.heard = {}
        self.after = 0
        self._context = self._stream = None
        self.words = dict  # what of an event has to stay as it was

    def open(self):
        self.close()
        self._context = daemon.background(self.box, ["curl", "-s", "-N", "--unix-socket", daemon.SOCKET,
                                                     f"http://localhost/v1/events?follow=true&after={self.after}"])
        self._stream = self._context.__enter__()

    def poll(self, seconds=0.0):
        """What has come, and comes within that time."""
        got = []
        deadline = time.monotonic() + seconds
        while self._stream and (line := self._stream._line(max(deadline, time.monotonic() + 0.001))) is not None:
            if "event" in line:
                got.append(line)
                self.heard[line["event"]] = line
                self.after = max(self.after, line["event"])
            if got and time.monotonic() > deadline:
                break
        return got

    def close(self):
        if self._context:
            with contextlib.suppress(Exception):
                self.poll()
            self._context.__exit__(None, None, None)
        self._context = self._stream = None

    def missing(self):
        """Those events that the store does not have as they were told."""
        if not self.heard:
            return []
        kept = {e["event"]: self.words(e) for e in daemon.events(self.box, after=min(self.heard) - 1)}
        return [e for i, e in self.heard.items() if kept.get(i) != self.words(e)]

    def forget(self):
        self.heard = {}


class Base:
    """A campaign: start() once in each box, round() again and again, finish() says what was counted."""

    batch = 1  # how many rounds of the whole count one call of round() is

    def __init__(self, box, rounds, seed):
        self.box = box
        self.rounds = rounds
        self.g = seed - 1  # each round's generation has its seed as number
        self.listener = Listener(box)
        self.n = {}
        self.note = []

    def count(self, what, n=1):
        self.n[what] = self.n.get(what, 0) + n

    def finish(self):
        self.listener.close()
        return ", ".join(f"{n} {what}" for what, n in sorted(self.n.items()))

    def first_generation(self, top, files=Files):
        self.box.run(["mkdir", "-p", top])
        self.files = files(self.box, top)
        self.box.write("/etc/agentd/agentd.toml", 'interval = "infinity"\n')
        daemon.write_drop_in(self.box, f"ExecStart=\nExecStart={STEP} --from {STEP_PLAN} {daemon.AGENTD}\nRestart=no\n")
        self.files.write_role(self.g)
        daemon.start(self.box)
        with daemon.background(self.box, [STEP, "-", "engine", "0", "kill", str(daemon.main_pid(self.box))]) as step:
            if step._line(time.monotonic() + 30) is None:
                raise Skip("processes cannot be traced here")
        self.converge()

    def dead(self):
        return daemon.main_pid(self.box) == 0

    def wait_dead(self):
        """With all of its children, which may have files open for longer."""
        wait_until(self.dead, 30, "agentd is dead")
        wait_until(lambda: self.box.run(["systemctl", "is-active", daemon.SERVICE], check=False).stdout.strip() in
                   ("failed", "inactive"), 30, "all of agentd is dead")

    def start_again(self):
        """Also if a client's connection has started it already."""
        self.box.run(["systemctl", "start", daemon.SERVICE], timeout=40)

    def kill_engine(self):
        """It may be there again at once: who has just connected starts it."""
        pid = daemon.main_pid(self.box)
        self.box.run(["kill", "-KILL", str(pid)])
        wait_until(lambda: daemon.main_pid(self.box) != pid, 30, "agentd is dead")

    def asking(self, path="/v1/reload"):
        """Somebody asks for the next generation to be loaded, or for a run."""
        return daemon.background(self.box, ["curl", "-s", "-o", "/dev/null", "--unix-socket", daemon.SOCKET,
                                            "--json", '{"mode": "apply"}' if path == "/v1/runs" else "",
                                            f"http://localhost{path}"])

    def converge(self):
        """The next run: it makes all of it new."""
        daemon.reload(self.box)
        run = daemon.apply(self.box, timeout=40)
        wrong = {k: v for k, v in run.summary.items() if v and k not in ("ok", "changed")}
        failed = [(r["state"], r["error"]) for r in run.results.values() if r["result"] not in ("ok", "changed")]
        assert run.error is None and not wrong, (run.error, wrong, failed)
        self.files.check_new(self.g)
        return run

    def check_store(self):
        status = daemon.status(self.box)
        assert status["store"]["error"] is None, status["store"]
        aside = self.box.run("ls /var/lib/agentd").stdout.split()
        assert not [name for name in aside if ".corrupt-" in name or ".newer-" in name], aside

    def check_contents(self):
        """What has a name in the content store is whole; and what a writer left behind goes when it is old."""
        directory = "/var/lib/agentd/content"
        # Those that came since this was asked last.
        looked = "/run/looked-at-contents"
        broken = self.box.run(
            f"[ -e {looked} ] || touch -d @0 {looked}; touch {looked}.now; "
            f"find {directory}/?? -type f -newer {looked} -printf '%f\\n' 2>/dev/null | "
            f"while read -r name; do agentd --content $name 2>&1 >/dev/null; done; mv {looked}.now {looked}", check=False).stdout
        assert not broken, f"contents after a kill: {broken}"
        left = self.box.run(f"find {directory} -maxdepth 1 -name '.new-*'", check=False).stdout.split()
        self.count("writers of old contents were killed", len(left))
        if left:
            self.box.run(["touch", "-d", "2 hours ago", *left])
            self.box.run("/usr/sbin/agentd --housekeeper /var/lib/agentd 67108864 7776000000000 268435456", timeout=60)
        left = self.box.run(f"find {directory} /var/lib/agentd -maxdepth 1 -name '.*-*'", check=False).stdout.split()
        assert not left, f"left behind: {left}"

    def check_events(self):
        missing = self.listener.missing()
        assert not missing, f"acknowledged and lost: {missing[:3]}"
        self.count("events kept", len(self.listener.heard))
        self.listener.forget()


def parse_report(box):
    """What step has written there; None: nothing yet."""
    try:
        return json.loads(box.read(STEP_REPORT))
    except (FileNotFoundError, ValueError):
        return None
