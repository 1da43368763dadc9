# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state type cron: jobs in crontabs and in /etc/cron.d."""

import pytest

from once import refused, results


def once(box, text):
    box.role("role", text)
    return box.agentd_once()


@pytest.mark.parametrize("user", ["root", "ada"])
def test_a_crontab(box, user):
    if user != "root":
        box.run("useradd -m ada")
    box.run("groupadd -f crontab; mkdir -p /var/spool/cron/crontabs; chgrp crontab /var/spool/cron/crontabs;"
            " chmod 1730 /var/spool/cron/crontabs")
    path = f"/var/spool/cron/crontabs/{user}"
    text = f"[cron.a]\nuser = \"{user}\"\nminute = \"*/5\"\ncommand = \"x\"\n[cron.b]\nuser = \"{user}\"\nspecial = \"daily\"\ncommand = \"y\"\n"
    assert once(box, text).summary["changed"] == 2
    assert box.read(path) == "# agentd cron: a\n*/5 * * * * x\n# agentd end: a\n# agentd cron: b\n@daily y\n# agentd end: b\n"
    assert box.run(f"stat -c '%U %G %a' {path}").stdout == f"{user} crontab 600\n"
    assert once(box, text).summary["ok"] == 2
    box.write(path, "# mine\n1 1 1 1 1 z\n" + box.read(path))
    assert once(box, f"[cron.a]\nuser = \"{user}\"\nensure = \"absent\"\n").summary["changed"] == 1
    assert box.read(path).startswith("# mine\n1 1 1 1 1 z\n# agentd cron: b\n")
    refused(box, "[cron.a]\nminute = 60\ncommand = \"x\"\n",
            "'minute' must be a number from 0 to 59, or a string as crontab(5) has it, like \"*/5\" or \"1-5\"")


@pytest.mark.parametrize("text, left", [
    ("1 1 1 1 1 mine", "1 1 1 1 1 mine\n"),            # no line end
    ("# mine\n\n\n", "# mine\n\n\n"),
    ("A=\"b\"\n* * * * * x # agentd cron: a\n", "A=\"b\"\n* * * * * x # agentd cron: a\n"),
    ("# agentd cron: ab\n1 1 1 1 1 ab\n# agentd end: ab\n", "# agentd cron: ab\n1 1 1 1 1 ab\n# agentd end: ab\n"),
])
def test_what_others_wrote_stays(box, text, left):
    path = "/etc/cron.d/app"
    box.write(path, text)
    role = f"[cron.a]\nfile = \"{path}\"\nspecial = \"hourly\"\ncommand = \"x\"\n"
    assert results(once(box, role)) == {"cron:a": "changed"}
    assert box.read(path) == left + "# agentd cron: a\n@hourly root x\n# agentd end: a\n"
    assert results(once(box, role)) == {"cron:a": "ok"}
    assert results(once(box, f"[cron.a]\nfile = \"{path}\"\nensure = \"absent\"\n")) == {"cron:a": "changed"}
    assert box.read(path) == left


def test_the_last_job_goes(box):
    text = "[cron.a]\nfile = \"/etc/cron.d/app\"\n"
    assert results(once(box, text + "special = \"daily\"\ncommand = \"x\"\n")) == {"cron:a": "changed"}
    for expected in "changed", "ok":
        assert results(once(box, text + "ensure = \"absent\"\n")) == {"cron:a": expected}
    assert box.read("/etc/cron.d/app") == ""


def test_a_job_that_has_moved(box):
    """Somebody has edited it, or put it elsewhere."""
    role = "[cron.a]\nfile = \"/etc/cron.d/app\"\nhour = 1\ncommand = \"x\"\nenvironment = { A = \"b c\", Q = 'say \"x\"' }\n"
    assert results(once(box, role)) == {"cron:a": "changed"}
    block = box.read("/etc/cron.d/app")
    assert block == "# agentd cron: a\nA=\"b c\"\nQ='say \"x\"'\n* 1 * * * root x\n# agentd end: a\n"
    box.write("/etc/cron.d/app", block.replace(" x\n", " y\n") + "* * * * * root mine\n")
    assert results(once(box, role)) == {"cron:a": "changed"}
    assert box.read("/etc/cron.d/app") == block + "* * * * * root mine\n"


def test_a_user_of_the_same_role(box):
    box.run("groupadd -f crontab; mkdir -p /var/spool/cron/crontabs; chgrp crontab /var/spool/cron/crontabs;"
            " chmod 1730 /var/spool/cron/crontabs")
    role = "[cron.a]\nuser = \"ada\"\nspecial = \"daily\"\ncommand = \"x\"\n"
    done = once(box, role)
    assert done.results[0]["error"].endswith("there is no user 'ada'"), done.results
    assert not box.exists("/var/spool/cron/crontabs/ada")


@pytest.mark.parametrize("line, message", [
    ("file = \"/etc/cron.d/app.conf\"", "cron does not read '/etc/cron.d/app.conf'; it reads files of /etc/cron.d whose names are "
                                        "letters, digits, '-' and '_', and /etc/crontab"),
    ("file = \"/etc/cron.d/a/b\"", "cron does not read '/etc/cron.d/a/b'"),
    ("file = \"/srv/app\"", "cron does not read '/srv/app'"),
    ("hour = \"5-1\"", "'hour' must be a number from 0 to 23"),
    ("hour = \"*/0\"", "'hour' must be a number from 0 to 23"),
    ("hour = \"1,\"", "'hour' must be a number from 0 to 23"),
    ("day = 0", "'day' must be a number from 1 to 31"),
    ("month = \"foo\"", "'month' must be a number from 1 to 12"),
    ("weekday = 1.5", "'weekday' must be a number from 0 to 7"),
    ("user = \"a b\"", "'a b' cannot be the name of a user"),
    ("special = \"daily\"\nminute = 1", "'special' takes the place of minute, hour, day, month and weekday"),
    ("environment = { A = \"a\\nb\" }", "the variable 'A' must be a string without line ends"),
    ("environment = { A = \"'\\\"\" }", "the variable 'A' has both kinds of quotes in it, which cron cannot read"),
    ("environment = { A = \"a\\u0000b\" }", "the variable 'A' must be a string without line ends"),
])
def test_what_cron_would_not_read(box, line, message):
    refused(box, f"[cron.a]\n{'' if 'special' in line else 'hour = 1' if 'hour' not in line else ''}\ncommand = \"x\"\n{line}\n", message)


@pytest.mark.parametrize("command", ["", "a\\nb", "a\\rb", "a\\u0000b"])
def test_commands_that_are_no_line(box, command):
    refused(box, f"[cron.a]\nhour = 1\ncommand = \"{command}\"\n", "'command' must be one line, and not empty")


def test_a_job_that_says_too_little(box):
    refused(box, "[cron.a]\ncommand = \"x\"\n",
            "it does not say when: give 'special', or some of minute, hour, day, month and weekday")
    refused(box, "[cron.a]\nhour = 1\n", "it needs 'command'")
