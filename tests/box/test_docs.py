# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's first example, and the example roles, on a real host."""

import re
import time
from pathlib import Path

import daemon
import pytest
from box import PATIENCE

README = Path(__file__).resolve().parent.parent.parent / "README.md"
EXAMPLES = "/usr/share/doc/agentd/examples/conf.d"


def without_times(text):
    return re.sub(r"\([^()]*s\)$", "(time)", text, flags=re.MULTILINE)


def test_the_first_example_of_the_readme_prints_what_it_says(box):
    text = README.read_text()
    role = re.search(r"^```toml hello\.toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    session = re.search(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    box.run("systemd-sysusers && hostname web1 && rm /etc/motd")
    box.role("hello", role)

    shown = ""
    for command in re.findall(r"^# (.*)$", session, re.MULTILINE):
        shown += f"# {command}\n{box.run(command).stdout}"
    assert without_times(shown) == without_times(session)


def without_numbers(text):
    """Also without how long ago something was, and whether that was now."""
    text = re.sub(r"\b((in )?\d+(\.\d+)?(us|ms|s|min|h)( \d+\w+)?( ago)?|now)\b", "T", text.replace("--now", "--NOW"))
    return re.sub(r"\d+(\.\d+)?", "N", text)


def test_the_daemon_shows_what_the_readme_says(box):
    text = README.read_text()
    role = re.search(r"^```toml hello\.toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    session = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    box.run("systemd-sysusers && hostname web1 && rm /etc/motd")
    box.role("hello", role)

    def run(command):
        # A busy machine may need longer.
        output = box.run(command.replace("sleep 1;", "until test -e /etc/motd; do sleep 0.1; done;")).stdout
        if command == "agentctl status":
            # What agentd has changed itself is looked at once more, at any moment, and then is ok.
            deadline = time.monotonic() + PATIENCE
            while re.search(r"State: running|States: .*changed", output) and time.monotonic() < deadline:
                time.sleep(0.05)
                output = box.run(command).stdout
        return output

    shown = ""
    for command in re.findall(r"^# (.*)$", session, re.MULTILINE):
        shown += f"# {command}\n{run(command)}"
        daemon.wait_idle(box)
        box.run("journalctl --sync")
    assert without_numbers(shown) == without_numbers(session)


# What the example roles are about, where a box has none of it: they skip it.
SERVER = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/sh -c 'echo again >>/run/reloads-%N'\n[Install]\nWantedBy=multi-user.target\n"
SKIPPED = {"file:/srv/www/maintenance.html"}
SKIPPED_WITHOUT_SERVERS = SKIPPED | {
    "service:ssh.service", "service:nginx", "file:/etc/sudoers.d/60-people", "file:/etc/nginx/sites-enabled",
    "file:/etc/nginx/sites-enabled/alpha.example.org.conf", "file:/etc/nginx/sites-enabled/beta.example.org.conf"}


@pytest.mark.parametrize("servers", [False, True], ids=["bare", "servers"])
def test_the_example_roles_are_applied_and_then_left_alone(box, servers):
    box.run(f"systemd-sysusers && cp {EXAMPLES}/* /etc/agentd/conf.d/")
    if servers:
        for name in "nginx", "visudo":
            box.write(f"/usr/sbin/{name}", "#!/bin/sh\n", mode=0o755)
        for name in "nginx", "ssh":
            box.write(f"/usr/lib/systemd/system/{name}.service", SERVER)
        box.run("mkdir -p /etc/nginx /etc/sudoers.d && systemctl daemon-reload && systemctl start ssh")
    plan = box.agentd_once("--plan")
    assert plan.returncode == 0 and plan.summary["drifted"] > 0 and plan.summary["failed"] == 0
    once = box.agentd_once()
    assert once.returncode == 0 and once.summary["changed"] > 0, once
    skipped = {result["state"] for result in once.results if result["result"] == "skipped"}
    assert skipped == (SKIPPED if servers else SKIPPED_WITHOUT_SERVERS)
    again = box.agentd_once()
    assert again.returncode == 0
    assert again.summary["changed"] == 0 and again.summary["ok"] == once.summary["changed"] + once.summary["ok"]
    assert not box.exists("/srv/www/maintenance.html")
    if servers:
        assert box.read("/run/reloads-ssh") == "again\n", "its settings have changed, and so it was told once"
        assert box.run("systemctl is-active nginx disk-report.timer").stdout == "active\nactive\n"


def test_the_daemon_keeps_the_example_roles_and_lets_go_of_who_leaves(box):
    box.run(f"systemd-sysusers && cp {EXAMPLES}/* /etc/agentd/conf.d/")
    daemon.start(box)
    assert box.agentctl("apply").returncode == 0
    assert box.agentctl("plan", "--check").returncode == 0
    # Grace leaves.
    text = box.read("/etc/agentd/conf.d/users.toml")
    box.write("/etc/agentd/conf.d/users.toml", re.sub(r'.*name = "grace".*\n', "", text))
    assert box.agentctl("apply").returncode == 0
    assert box.exists("/etc/ssh/authorized_keys.d/ada") and not box.exists("/etc/ssh/authorized_keys.d/grace")
    assert box.exists("/home/grace"), "her files stay"
    # And the role of all hosts goes.
    box.run("rm /etc/agentd/conf.d/base.toml")
    assert box.agentctl("apply").returncode == 0
    assert not box.exists("/usr/local/sbin/disk-report") and not box.exists("/etc/systemd/system/disk-report.timer")
    assert box.exists("/etc/issue")


def test_an_installed_agentd_brings_an_empty_conf_d_and_its_accounts(box):
    # roles is made by systemd-tmpfiles, as the box boots.
    assert sorted(box.run(["find", "/etc/agentd"]).stdout.split()) == [
        "/etc/agentd", "/etc/agentd/conf.d", "/etc/agentd/roles"]
    box.run("systemd-sysusers")
    uid, groups = box.run("id -u agentd-check; id -G agentd-check").stdout.splitlines()
    assert int(uid) > 0 and len(groups.split()) == 1
    box.run("getent group agentd agentd-admin")
