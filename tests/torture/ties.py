# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host whose states are tied to each other: who listens, what goes, what is renamed, hooks, retries and triggers.

What a listener did it writes down in a log, and the log has to be younger than what it listens to: so nothing that was owed
was lost, whatever happened, and however often it happened. When all is well another run adds no line to any.
"""

import collections
import contextlib
import json
import os

import daemon
from box import wait_until
from host import content, generation_of

LOGS = "/srv/log"
UNITS = "/etc/systemd/system"
FOREIGN = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment=G=none\n" \
          f"ExecStart=/bin/sh -c 'echo $G >>{LOGS}/t-dropin; exec sleep infinity'\n[Install]\nWantedBy=multi-user.target\n"
TIME = 30  # in which what is owed has to be done


class Ties:
    SEEN = ["t-own", "t-dropin"]  # units are older than their files: nobody has to remember
    FIXED = ["append", "flaky", "renamed", "t-conf", "t-reload"]

    def __init__(self, box, top):
        self.box = box
        self.top = top
        self.forgotten = False  # what is owed may be, after a power cut
        box.run(["mkdir", "-p", LOGS, "/srv/alien"])
        box.write(f"{UNITS}/t-dropin.service", FOREIGN)
        for path in "alien", "item-alien", "dir-alien/f":
            box.run(["mkdir", "-p", os.path.dirname(f"{top}/{path}")])
            box.write(f"{top}/{path}", "alien\n")
        box.write(f"{top}/lines", "first\nitem-alien\n")
        box.run("systemctl daemon-reload")

    @staticmethod
    def items(g):
        """Two of five stay from one generation to the next, one goes, one comes."""
        return [f"i{(g + k) % 5}" for k in range(3)]

    @staticmethod
    def here(g):
        return g % 2 == 0

    def unit(self, log, **settings):
        settings["ExecStart"] = f"/bin/sh -c 'head -n1 {self.top}/conf >>{LOGS}/{log}; exec sleep infinity'"
        service = ", ".join(f"{k} = {json.dumps(v)}" for k, v in settings.items())
        return f"unit.Unit.StartLimitIntervalSec = 0\nunit.Service = {{ {service} }}\n"

    def role(self, g):
        top = self.top
        conf = f'["file:{top}/conf"]'
        head = f"head -n1 {top}/conf"
        item = "{{item}}"
        flaky = f"g=$({head} | cut -d' ' -f2); [ -e {LOGS}/.tried-$g ] || {{ touch {LOGS}/.tried-$g; exit 1; }}; " \
                f"{head} >>{LOGS}/flaky"
        hooked = "".join(f'{hook} = "echo {hook} {g} $AGENTD_RUN >>{LOGS}/.hooks"\n'
                         for hook in ("before_change", "after_change"))
        return f"""
[vars]
items = {json.dumps(self.items(g))}

[trigger.poke]
path = "{top}/poke"

[file."{top}/conf"]
content = {json.dumps(content("conf", g))}

[file."{top}/hooked"]
content = {json.dumps(content("hooked", g))}
{hooked}
[file."{top}/by-trigger"]
content = "as declared\\n"
watch = false
triggers = ["trigger:poke"]

[file."{top}/item-{item}"]
for_each = "vars.items"
content = {json.dumps(content("item", g))}
on_removal = "absent"

[file."{top}/dir-{item}"]
for_each = "vars.items"
ensure = "directory"
on_removal = "absent"

[file."{top}/dir-{item}/f"]
for_each = "vars.items"
content = "f\\n"
on_removal = "absent"

[edit."line {item}"]
for_each = "vars.items"
path = "{top}/lines"
line = "item-{item}"
on_removal = "absent"

[file."{top}/name-{g}"]
content = "named\\n"
was = "file:{top}/name-{g - 1}"
on_removal = "absent"

[exec.append]
shell = "{head} >>{LOGS}/append"
check_on = {conf}

[exec.chain]
shell = "{head} >>{LOGS}/chain"
check_on = ["exec:append"]

[exec.flaky]
shell = {json.dumps(flaky)}
check_on = {conf}
retries = 2
retry_delay = "50ms"

[exec."renamed {g}"]
shell = "{head} >>{LOGS}/renamed"
check_on = {conf}
was = "exec:renamed {g - 1}"

[exec."each {item}"]
for_each = "vars.items"
shell = "echo {g} >>{LOGS}/each-{item}"
check_on = ["file:{top}/item-{item}"]

[exec.any]
shell = "echo {g} >>{LOGS}/any"
check_on = ["file:{top}/item-*"]

[service.t-conf]
{self.unit("t-conf")}running = true
restart_on = {conf}

[service.t-reload]
{self.unit("t-reload", ExecReload=f"/bin/sh -c '{head} >>{LOGS}/t-reload'")}running = true
reload_on = {conf}

[service.t-own]
{self.unit("t-own", Environment=f"G={g}")}running = true

[service.t-dropin]
dropin = {{ Service = {{ Environment = "G={g}" }} }}
running = true
enabled = {json.dumps(self.here(g))}

[service.t-flip]
{self.unit("t-flip") + "running = true" if self.here(g) else 'ensure = "absent"'}
"""

    def write_role(self, g):
        self.g = g
        # As an editor does it: no load sees a half of it.
        self.box.write("/etc/agentd/next.toml", self.role(g))
        self.box.run("mkdir -p /etc/agentd/conf.d && mv /etc/agentd/next.toml /etc/agentd/conf.d/torture.toml")
        self.box.run(f"rm -f {self.top}/name-{g - 2} {LOGS}/.tried-{g - 2}", check=False)

    def disturb(self):
        """What somebody does who is not agentd, and has to be undone, and told to who listens."""
        self.box.run(f"echo drift >{self.top}/conf; rm -f {self.top}/item-i*")

    wipe = disturb

    def read(self, name):
        try:
            return self.box.read(f"{self.top}/{name}")
        except FileNotFoundError:
            return None

    def check(self, allowed, fresh=False):
        """Files are of one of these generations in whole, and what is none of agentd's is there."""
        for name in "conf", "hooked", *(f"item-{i}" for g in allowed for i in self.items(g)):
            text = self.read(name)
            of = name.partition("-")[0]
            if text is None or text == "drift\n":
                there = of != "item" or all(name[5:] in self.items(g) for g in allowed)
                assert fresh or not there, f"{name} is {text}"
                continue
            assert generation_of(of, text) in allowed, (name, text[:40], allowed)
        for path in "alien", "item-alien", "dir-alien/f":
            assert self.read(path) == "alien\n", f"{path} was removed"
        lines = self.read("lines").splitlines()
        assert lines[:2] == ["first", "item-alien"], lines
        return {}

    # ---- when all is over ----

    def young(self):
        """What has not been done after the last change; empty: nothing is lost."""
        def log(name):
            try:
                return self.box.stat(f"{LOGS}/{name}").st_mtime_ns
            except FileNotFoundError:
                return 0

        def changed(path):
            return self.box.stat(path).st_ctime_ns

        conf = changed(f"{self.top}/conf")
        items = {i: changed(f"{self.top}/item-{i}") for i in self.items(self.g)}
        since = {name: conf for name in self.FIXED}
        since |= {f"each-{i}": t for i, t in items.items()}
        since["any"] = max(items.values())
        since["chain"] = log("append")
        since["t-own"] = changed(f"{UNITS}/t-own.service")
        since["t-dropin"] = changed(f"{UNITS}/t-dropin.service.d/agentd.conf")
        if self.forgotten:
            since = {name: since[name] for name in self.SEEN}
        return {name: (log(name), t) for name, t in since.items() if log(name) < t}

    def lines(self):
        found = {}
        for name in self.box.run(["ls", LOGS]).stdout.split():
            found[name] = self.box.read(f"{LOGS}/{name}").splitlines()
        return found

    def check_new(self, g):
        box = self.box
        with contextlib.suppress(TimeoutError):  # who was no part of the run comes after it
            wait_until(lambda: not self.young(), TIME, "what was owed")
        assert not self.young(), f"owed and not done: {self.young()}"
        daemon.wait_idle(box, TIME)
        self.check([g])
        there = sorted(box.run(["ls", self.top]).stdout.split())
        wanted = ["alien", "item-alien", "dir-alien", "lines", "conf", "hooked", "by-trigger", f"name-{g}"]
        wanted += [f"{kind}-{i}" for i in self.items(g) for kind in ("item", "dir")]
        there = [name for name in there if name not in ("poke", f"name-{g - 1}")]
        assert there == sorted(wanted), (there, sorted(wanted))
        lines = self.read("lines").splitlines()
        assert sorted(lines[2:]) == sorted(f"item-{i}" for i in self.items(g)), lines
        self.check_units(g)
        self.check_hooks()
        self.check_history(g)
        self.check_quiet()
        left = box.run(["find", self.top, "/srv", "/etc", "/var/lib/agentd", "/run/agentd", "-name", ".agentd-*"]).stdout
        assert not left, f"left behind: {left}"

    def check_units(self, g):
        last = {name: lines[-1] for name, lines in self.lines().items() if lines}
        assert last["t-dropin"] == str(g), last
        show = self.box.run("systemctl show -p ActiveState,NeedDaemonReload,UnitFileState,Environment "
                            "t-conf t-reload t-own t-dropin t-flip").stdout.split("\n\n")
        conf, reload, own, dropin, flip = (dict(line.partition("=")[::2] for line in text.splitlines()) for text in show)
        for unit in conf, reload, own, dropin:
            assert unit["ActiveState"] == "active" and unit["NeedDaemonReload"] == "no", show
        assert f"G={g}" in own["Environment"] and f"G={g}" in dropin["Environment"], show
        assert dropin["UnitFileState"] == ("enabled" if self.here(g) else "disabled"), show
        assert flip["ActiveState"] == ("active" if self.here(g) else "inactive"), show
        assert self.box.exists(f"{UNITS}/t-flip.service") == self.here(g)

    def check_hooks(self):
        """No before_change twice in a run, and no after_change of a run that has not begun one."""
        text = self.box.read(f"{LOGS}/.hooks") if self.box.exists(f"{LOGS}/.hooks") else ""
        for line, n in collections.Counter(text.splitlines()).items():
            assert n == 1, f"hook ran {n} times: {line}"
            hook, rest = line.split(" ", 1)
            assert hook == "before_change" or f"before_change {rest}" in text, f"never begun: {line}"

    def check_history(self, g):
        # What was removed is there until the next load, which is about to come.
        wait_until(lambda: not any(state["removal"] for state in daemon.items(self.box, "/v1/states?limit=1000")), TIME,
                   "what was removed is known no more")
        daemon.wait_idle(self.box, TIME)
        for state in daemon.items(self.box, "/v1/states?limit=1000"):
            assert state["result"] in ("ok", "changed", "skipped") and not state["owed"], state
        for id_ in "exec:append", f"file:{self.top}/name-{g}", "service:t-own":
            shown = self.box.agentctl("show", id_)
            assert shown.returncode == 0 and id_ in shown.stdout, shown
        daemon.items(self.box, "/v1/runs?limit=1000")

    def check_quiet(self):
        """Nothing is told twice: another run over all finds all in order. And who waits for a trigger hears it."""
        before = self.lines()
        run = daemon.apply(self.box, timeout=40)
        assert run.error is None and run.summary["ok"] == len(run.results), (run.summary, run.error, {
            k: r for k, r in run.results.items() if r["result"] != "ok"})
        self.box.run(f"echo no >{self.top}/by-trigger; echo >>{self.top}/poke")
        wait_until(lambda: self.read("by-trigger") == "as declared\n", TIME, "who waits for a trigger")
        daemon.wait_idle(self.box, TIME)
        after = self.lines()
        assert before == after, {k: (before.get(k), v) for k, v in after.items() if before.get(k) != v}

    def repeated(self, g):
        """How often what is done once in a quiet round was done, at most; for the figures."""
        return max(sum(line.startswith(f"conf {g} ") for line in lines) for lines in self.lines().values())
