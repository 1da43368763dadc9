# SPDX-License-Identifier: LGPL-2.1-or-later
"""The state types timer and quadlet: units that are made of something shorter."""

import base64

from once import agentd, differences, errors, refused, results
from test_service import active, enabled, one


def test_a_timer(box):
    text = ("[timer.job]\ncalendar = \"daily\"\npersistent = false\nexec = [\"/bin/echo\", \"a $x 100%\", \"b \\\"c\\\"\"]\n"
            "environment = { A = \"x y\" }\n")
    assert one(box, text)["result"] == "changed"
    assert one(box, text)["result"] == "ok"
    assert active(box, "job.timer") == "active" and enabled(box, "job.timer") == "enabled"
    cursor = box.cursor()
    box.run("systemctl start job.service")
    box.wait_journal("_SYSTEMD_UNIT=job.service", where=lambda e: e["MESSAGE"] == 'a $x 100% b "c"', after=cursor)

    result = one(box, "[timer.job]\ncalendar = \"dayly\"\nexec = [\"/bin/true\"]\n")
    assert result["result"] == "failed" and "calendar" in result["error"], result["error"]
    assert "OnCalendar=daily" in box.read("/etc/systemd/system/job.timer")

    assert one(box, "[timer.job]\nensure = \"absent\"\n")["result"] == "changed"
    assert not box.exists("/etc/systemd/system/job.timer") and not box.exists("/etc/systemd/system/job.service")
    refused(box, "[timer.job]\nexec = [\"/bin/true\"]\n", "timer:job needs 'calendar', 'every' or 'on_boot'")
    refused(box, "[timer.job]\nevery = \"1h\"\n", "timer:job needs 'exec' or 'shell'")


def timer(name, calendar):
    return f'[timer.{name}]\ncalendar = {calendar}\nexec = ["/bin/true"]\n'


def test_a_plan_says_that_systemd_does_not_understand_a_calendar(box):
    text = timer("bad", '["daily", "dayly", "Mon 25:00"]') + timer("dash", '"-daily"') + "".join(
        timer(f"good{i}", '["daily", "Mon..Fri 08:00"]' if i else '"*-*-* 03:00"') for i in range(5))
    box.role("role", text)
    plan = box.agentd_once("--plan", timeout=60)
    assert plan.returncode == 1
    found = results(plan)
    assert {name for name, result in found.items() if result == "failed"} == {"timer:bad", "timer:dash"}, found
    assert sum(result == "drifted" for result in found.values()) == 5, found
    error = errors(plan)["timer:bad"]
    assert error.startswith("systemd does not accept 'calendar': ") and "'dayly'" in error and "'Mon 25:00'" in error, error
    # What it would be is shown all the same.
    assert set(differences(plan, "timer:bad")) == {"timer", "service"}
    # The run says so as well, and the others go on.
    done = box.agentd_once(timeout=120)
    assert {name for name, result in results(done).items() if result == "failed"} == {"timer:bad", "timer:dash"}
    # What is as it should be is not asked about again; nor is it below --root, where that program does not belong.
    box.write("/usr/bin/systemd-analyze", "#!/bin/sh\necho nonsense >&2\nexit 1\n", mode=0o755)
    box.role("role", timer("good0", '"*-*-* 03:00"'))
    assert results(box.agentd_once("--plan", timeout=60)) == {"timer:good0": "ok"}
    box.role("role", timer("good0", '"*-*-* 04:00"'))
    assert errors(box.agentd_once("--plan", timeout=60)) == {"timer:good0": "systemd does not accept 'calendar': nonsense"}
    box.run("mkdir -p /srv/tree/etc/systemd/system")
    done = agentd(box, "--once", "--plan", "--json", "--root", "/srv/tree", "--conf-dir", "/etc/agentd/conf.d",
                  timeout=60)
    assert done.returncode == 0 and '"result":"drifted"' in done.stdout and "without having said so" not in done.stderr, done


def test_a_quadlet(box):
    box.write("/etc/systemd/system-generators/podman-system-generator",
              "#!/bin/sh\nfor f in /etc/containers/systemd/*.container; do n=$(basename $f .container)\n"
              "printf '[Service]\\nExecStart=/bin/sleep infinity\\n' >$1/$n.service; done\n", mode=0o755)
    text = "[quadlet.\"web.container\"]\nrunning = true\nunit = { Container = { Image = \"x\" } }\n"
    assert one(box, text)["result"] == "changed"
    assert box.read("/etc/containers/systemd/web.container").endswith("[Container]\nImage=x\n")
    assert active(box, "web.service") == "active"
    assert one(box, text)["result"] == "ok"
    refused(box, "[quadlet.web]\n", "'web' is no name of a quadlet")


def test_a_command_of_a_timer_is_what_was_said(box):
    """All bytes that TOML can say, through systemd's own quoting."""
    odd = "".join(chr(c) for c in range(1, 128)) + "ä %h $x ${x} ; \\"
    text = "".join(f"\\u{ord(c):04x}" for c in odd)
    box.run("mkdir -p /srv; printf '#!/bin/sh\\nprintf \"%%s|\" \"$@\" \"$E\" >/srv/out\\n' >/srv/show; chmod +x /srv/show")
    role = (f'[timer.job]\nevery = "1d"\nexec = ["/srv/show", "", ";", "{text}", "-x"]\nenvironment = {{ E = "{text[6 * 31:]}" }}\n')
    assert one(box, role)["result"] == "changed"
    box.run("systemctl start job.service")
    assert base64.b64decode(box.run("base64 /srv/out").stdout) == f"|;|{odd}|-x|{odd[31:]}|".encode()
