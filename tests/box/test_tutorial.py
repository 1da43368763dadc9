# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/tutorial.md, block by block on one host: each is put where the page says, and does what the text around it says."""

import re
from pathlib import Path

import daemon
from box import wait_until

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/tutorial.md"
FENCE = re.compile(r"^```(\S*)[ ]*(.*?)[ ]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
# What the page takes for granted.
SERVER = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/sh -c 'echo reload >>/run/%N'\n[Install]\nWantedBy=multi-user.target\n"
MOTD = "Welcome. This host is kept by agentd.\n"


def where(kind, name, text):
    """The file that the page means."""
    if name == "fragment":
        return re.match(r"# (/etc/agentd/vars\.d/\S+\.toml)\n", text)[1]
    return f"/etc/agentd/{name}" if name.startswith("roles/") else f"/etc/agentd/conf.d/{name}"


def result(box, state):
    return daemon.state(box, state)["result"]


def motd_comes_back(box):
    wait_until(lambda: box.read("/etc/motd") == MOTD, 30, "the file is made")
    box.run("rm /etc/motd")
    wait_until(lambda: box.exists("/etc/motd") and box.read("/etc/motd") == MOTD, 30, "it is repaired")


def app(box):
    assert box.read("/srv/app/app.conf") == f"listen = 8080\nhost = {box.run('hostname').stdout}"


def vhosts(box):
    assert box.read("/srv/www/alpha.html") == "<title>Alpha</title>\n"
    assert box.read("/srv/www/beta.html") == '<title>Beta</title>\n<meta name="robots" content="noindex">\n'
    assert box.read("/srv/www/index.txt") == "alpha\nbeta\n"


def cron(box):
    pid = box.run("systemctl show -P MainPID cron").stdout
    box.write("/etc/agentd/conf.d/cron.toml", box.read("/etc/agentd/conf.d/cron.toml").replace("-l", "-L 1"))
    assert box.agentctl("apply").returncode == 0
    restarted = box.run("systemctl show -P MainPID cron").stdout
    assert restarted not in (pid, "0\n")
    box.run("systemctl stop cron")
    wait_until(lambda: box.run("systemctl show -P MainPID cron").stdout not in (restarted, "0\n"), 30, "it is started again")
    assert box.run("systemctl is-enabled cron").stdout == "enabled\n"


def aliases(box):
    assert box.read("/run/newaliases") == "run\n"
    assert box.agentctl("apply").returncode == 0
    assert box.read("/run/newaliases") == "run\n", "at no other time"


def sshd(box):
    assert box.read("/etc/ssh/sshd_config") == "Port 22\nPermitRootLogin no\n"
    assert box.read("/run/sshd-was-asked") == "yes\n" and box.read("/run/ssh") == "reload\n"


def site(box):
    assert box.read("/etc/issue") == "For trouble: shop@example.org\n"
    assert box.stat("/etc/site").st_mode & 0o7777 == 0o700


def release(box):
    n = daemon.last_event(box)
    box.write("/srv/app/RELEASE", "2\n")
    daemon.wait_event(box, "trigger-fired", after=n, timeout=30)
    assert box.exists("/srv/app/list")


def database(box):
    assert box.read("/etc/db.conf") == "cache = 1G\n"
    box.wait_journal("AGENTD_STATE=file:/etc/db.conf", where=lambda e: "db.conf was changed" in e["MESSAGE"], timeout=30)


def first_look(box):
    assert result(box, "edit:private homes") == "drifted"
    assert "#HOME_MODE" in box.read("/etc/login.defs")


def goes(box):
    assert box.exists("/etc/cron.d/report")
    box.run("rm /etc/agentd/conf.d/goes.toml")
    wait_until(lambda: not box.exists("/etc/cron.d/report"), 30, "it goes with its role")


SAYS = {
    "greeting.toml": motd_comes_back,
    "app.toml": app,
    "vhosts.toml": vhosts,
    "cron.toml": cron,
    "aliases.toml": aliases,
    "sshd.toml": sshd,
    "debian.toml": lambda box: box.read("/etc/apt/apt.conf.d/90site"),
    "roles/site-base.toml": lambda box: result_is_missing(box, "file:/etc/site"),
    "shop-host.toml": site,
    "web-only.toml": lambda box: result_is_missing(box, "file:/etc/web-host"),
    "release.toml": release,
    "night.toml": lambda box: box.run("systemctl is-active disk-report.timer"),
    "database.toml": database,
    "first-look.toml": first_look,
    "goes.toml": goes,
    "gone.toml": lambda box: None,
    "vhost.mustache": lambda box: None,
    "fragment": lambda box: None,
}


def result_is_missing(box, state):
    assert box.agentctl("show", state).returncode == 2


def plant(box):
    for name in "cron", "ssh":
        box.write(f"/usr/lib/systemd/system/{name}.service", SERVER)
    box.write("/usr/sbin/sshd", "#!/bin/sh\necho yes >/run/sshd-was-asked\n", mode=0o755)
    box.write("/usr/bin/newaliases", "#!/bin/sh\necho run >>/run/newaliases\n", mode=0o755)
    box.write("/etc/ssh/sshd_config", "Port 22\n#PermitRootLogin prohibit-password\n")
    box.run("mkdir -p /etc/agentd/vars.d/hosts && systemctl daemon-reload && systemctl start ssh")


def test_each_step_does_what_the_page_says(box):
    plant(box)
    daemon.start(box)
    seen = set()
    for kind, name, text in (match.groups() for match in FENCE.finditer(PAGE.read_text())):
        if kind == "sh":
            for line in text.splitlines():
                done = box.run(f"cd /etc/agentd/conf.d && {line}", check=False)
                assert done.returncode == 0, (line, done)
                assert not line.startswith(("agentctl plan --diff --var", "agentctl plan --tag")) or " drifted" in done.stdout, done
            continue
        seen.add(name)
        box.write(where(kind, name, text), text)
        if name == "greeting.toml":
            SAYS[name](box) # by itself
        done = box.agentctl("apply")
        assert done.returncode == 0 and "failed" not in done.stdout, (name, done)
        SAYS[name](box)
    assert seen == set(SAYS)
    plan = box.agentctl("plan", "--check")
    assert plan.returncode == 0 and "1 drifted" in plan.stdout, "nothing is left to do; what is audited differs"


def test_a_host_by_its_name(box):
    plant(box)
    box.run("echo web-1.example.org >/etc/hostname && hostname web-1.example.org")
    blocks = {name: text for kind, name, text in (match.groups() for match in FENCE.finditer(PAGE.read_text()))}
    for name in "roles/site-base.toml", "shop-host.toml", "web-only.toml", "fragment":
        box.write(where("toml", name, blocks[name]), blocks[name])
    assert box.agentd_once().returncode == 0
    assert box.read("/etc/web-host") == "yes\n" and box.read("/etc/issue") == "For trouble: web@example.org\n"
