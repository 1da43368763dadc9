# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's first example, and the example roles, on a real host."""

import re
from pathlib import Path

import daemon

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
        # What agentd has changed itself is looked at once more, at any moment.
        output = box.run(command).stdout
        while command == "agentctl status" and "State: running" in output:
            daemon.wait_idle(box)
            output = box.run(command).stdout
        return output

    shown = ""
    for command in re.findall(r"^# (.*)$", session, re.MULTILINE):
        shown += f"# {command}\n{run(command)}"
        daemon.wait_idle(box)
        box.run("journalctl --sync")
    assert without_numbers(shown) == without_numbers(session)


def test_the_example_roles_are_applied_and_then_left_alone(box):
    box.run(f"systemd-sysusers && cp {EXAMPLES}/* /etc/agentd/conf.d/")
    plan = box.agentd_once("--plan")
    assert plan.returncode == 0 and plan.summary["drifted"] > 0 and plan.summary["failed"] == 0
    once = box.agentd_once()
    assert once.returncode == 0 and once.summary["changed"] > 0
    # No maintenance, and no web server, SSH server or sudo in a box.
    skipped = {result["state"] for result in once.results if result["result"] == "skipped"}
    assert skipped == {"file:/srv/www/maintenance.html", "file:/etc/sudoers.d/60-people", "service:ssh", "service:nginx",
                       "file:/etc/nginx/sites-enabled", "file:/etc/nginx/sites-enabled/alpha.example.org.conf",
                       "file:/etc/nginx/sites-enabled/beta.example.org.conf"}
    again = box.agentd_once()
    assert again.returncode == 0
    assert again.summary["changed"] == 0 and again.summary["ok"] == once.summary["changed"] + once.summary["ok"]
    assert not box.exists("/srv/www/maintenance.html")


def test_an_installed_agentd_brings_an_empty_conf_d_and_its_accounts(box):
    # roles is made by systemd-tmpfiles, as the box boots.
    assert sorted(box.run(["find", "/etc/agentd"]).stdout.split()) == [
        "/etc/agentd", "/etc/agentd/conf.d", "/etc/agentd/roles"]
    box.run("systemd-sysusers")
    uid, groups = box.run("id -u agentd-check; id -G agentd-check").stdout.splitlines()
    assert int(uid) > 0 and len(groups.split()) == 1
    box.run("getent group agentd agentd-admin")
