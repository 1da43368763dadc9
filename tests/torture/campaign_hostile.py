# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody owns the directory in which agentd keeps files, and changes names in it as fast as he can."""

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile

import daemon
from box import kill_session
from host import TESTS, Base

TOP = "/srv/attack"
OUTSIDE = "/srv/outside"
NOBODY = "65534"
MARK = "kept by torture"
RUNS = 25  # for each call of the attacker

ROLE = f"""
[file."{TOP}/file0"]
content = "{MARK} 0\\n"
mode = "0644"
owner = "root"

[file."{TOP}/file1"]
content = "{MARK} 1\\n"
mode = "4751"
owner = "daemon"
group = "daemon"

[file."{TOP}/file2"]
mode = "0640"
owner = "daemon"

[file."{TOP}/file3"]
source = "/srv/sources/large"

[file."{TOP}/link"]
ensure = "symlink"
target = "target"
owner = "daemon"

[file."{TOP}/dir"]
ensure = "directory"
mode = "0777"
owner = "daemon"

[file."{TOP}/gone"]
ensure = "absent"

[file."{TOP}/a/deep"]
content = "{MARK} deep\\n"
parents = {{ create = true, mode = "0777" }}

[file."{TOP}/a/b/deeper"]
content = "{MARK} deeper\\n"
parents = {{ create = true, mode = "0777" }}

[file."{TOP}/forced"]
content = "{MARK} forced\\n"
force = true

[file."{TOP}/forced-dir"]
ensure = "directory"
force = true
mode = "0777"

[file."{TOP}/forced-gone"]
ensure = "absent"
force = true

[file."{TOP}/laid"]
ensure = "directory"
source = "/srv/sources/laid"
purge = true
mode = "0777"
owner = "{NOBODY}"
file_mode = "0666"
directory_mode = "0777"

[file."{TOP}/recursed"]
ensure = "directory"
recurse = true
mode = "0777"
owner = "{NOBODY}"
file_mode = "0666"
directory_mode = "0777"

[tidy."{TOP}/tidied"]
patterns = ["*"]
rmdirs = true

[archive."{TOP}/unpacked"]
source = "/srv/sources/app.tar"
owner = "{NOBODY}"

[archive."{TOP}/shared"]
source = "/srv/sources/app.tar"
owner = "{NOBODY}"
purge = false
"""


def packed():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as t:
        for i in range(4):
            for name in "inside", "open":
                info = tarfile.TarInfo(f"d{i}/{name}")
                info.size = len(MARK)
                t.addfile(info, io.BytesIO(MARK.encode()))
    return file.getvalue()


class Campaign(Base):
    batch = 250

    def start(self):
        box = self.box
        box.run("systemd-sysusers")
        box.write("/srv/sources/large", f"{MARK} large\n" + "x" * 300000)
        box.write("/srv/sources/app.tar", packed())
        for i in range(4):
            box.write(f"/srv/sources/laid/d{i}/inside", f"{MARK} laid\n")
            box.write(f"/srv/sources/laid/d{i}/deep/f", f"{MARK} laid\n")
        for path in (OUTSIDE, "/etc/canary"):
            box.write(f"{path}/secret", "secret\n", mode=0o600)
            box.write(f"{path}/open", "open\n", mode=0o666)
            box.write(f"{path}/tree/inside", "inside\n", mode=0o644)
            box.write(f"{path}/tree/deep", "deep\n", mode=0o644)
            box.write(f"{path}/tree/b/deeper", "deeper\n", mode=0o644)
            box.run(["chmod", "-R", "go-w", f"{path}/tree"])
        box.write("/etc/agentd/agentd.toml", 'interval = "infinity"\n')
        box.role("torture", ROLE)
        self.renew()
        daemon.start(box)
        daemon.wait_idle(box)
        self.before = self.look()

    def renew(self):
        """What the directory is like before an attack. agentd may be making its own there at the same time."""
        self.box.run(f"mkdir -m 0755 {TOP}.new && touch {TOP}.new/file2 && chown -R {NOBODY}:{NOBODY} {TOP}.new")
        self.box.run(f"for i in $(seq 100); do [ ! -e {TOP} ] || mv -T {TOP} {TOP}.old.$i; "
                     f"mv -T {TOP}.new {TOP} 2>/dev/null && break; done; [ ! -e {TOP}.new ] || exit 1; "
                     f"for i in $(seq 100); do rm -rf {TOP}.old.* 2>/dev/null && exit; done; exit 1")

    def look(self):
        """All that is outside: what it is and when it was changed last."""
        found = {}
        for top in (OUTSIDE, "/etc", "/srv"):
            base = f"/proc/{self.box.leader}/root{top}"
            for path, directories, files in os.walk(base):
                if path == f"/proc/{self.box.leader}/root/srv":
                    directories[:] = [d for d in directories if d != os.path.basename(TOP)]
                for name in ["."] + files:
                    full = os.path.join(path, name)
                    st = os.lstat(full)
                    # /srv itself: the directory of the attacker is made anew in it. open: he may make links to it.
                    ours = full[len(base) - len(top):]
                    times = () if ours in ("/srv/.",) else (st.st_mtime_ns,)
                    if os.path.basename(full) != "open" and times:
                        times += (st.st_ctime_ns, st.st_nlink)
                    text = b""
                    if stat.S_ISREG(st.st_mode):
                        with open(full, "rb") as file:
                            text = hashlib.sha256(file.read()).digest()
                    found[ours] = (oct(st.st_mode), st.st_uid, st.st_gid, st.st_size if text else 0, text, *times)
        return found

    def round(self, rng, seed):
        box = self.box
        self.renew()
        outside = rng.choice([OUTSIDE, "/etc/canary"])
        argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", f"{TESTS}/attacker", str(seed),
                str(self.batch), "60", TOP, outside]
        attacker = subprocess.Popen(box._nsenter(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    env=box.ENVIRONMENT, start_new_session=True)
        try:
            # One shell for all of them: it is to go as fast as it can.
            url = "http://localhost/v1/runs?follow=true"
            curl = (f"curl -sS -X POST --unix-socket {daemon.SOCKET} -H Content-Type:application/json "
                    f"-d '{{\"mode\": \"apply\"}}' '{url}'")
            said = box.run(f"for i in $(seq {RUNS}); do {curl} || exit 1; done", timeout=50).stdout
            attacker.stdin.close()
            did = json.loads(attacker.stdout.read())
            assert attacker.wait(20) == 0
            attacker.stdin = None
        finally:
            kill_session(attacker)
        self.count("changes by the attacker", did["changed"])
        self.count("temporaries attacked", did["temporaries"])
        self.count("directories exchanged from within", did["within"])
        for line in map(json.loads, said.splitlines()):
            if "state" in line:
                self.count(f"states {line['result']}")
            elif "summary" in line:
                self.count("runs")
                assert line["error"] is None, line
        self.note.append(f"{did['changed']} changes")
        self.unharmed()

        # When he is gone, all is as it should be again with the next run.
        self.renew()
        run = daemon.apply(box)
        wrong = [(r["state"], r["error"]) for r in run.results.values() if r["result"] not in ("ok", "changed")]
        assert not wrong, wrong
        left = box.run(["find", TOP, "-name", ".agentd-*"]).stdout
        assert not left, f"left behind: {left}"
        assert daemon.prop(box, "NRestarts") == "0" and daemon.prop(box, "ActiveState") == "active"

    def unharmed(self):
        after = self.look()
        gone = self.before.keys() - after.keys()
        new = after.keys() - self.before.keys()
        other = [(p, self.before[p], after[p]) for p in after.keys() & self.before.keys() if after[p] != self.before[p]]
        assert not gone and not new and not other, f"outside: gone {gone}, new {new}, changed {other}"

    def finish(self):
        if self.box.running:
            elsewhere = self.box.run(f"grep -rlsI '{MARK}' /boot /home /media /mnt /opt /root /usr/local /var /tmp "
                                     "--exclude-dir=agentd --exclude-dir=journal; true").stdout
            assert not elsewhere, f"content of ours is elsewhere: {elsewhere}"
        return super().finish()
