# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why a state is as it is: agentctl explain, and the same without a daemon."""

import json
import re

import daemon
import pytest
from daemon import last_event, start, state, wait_event, wait_idle

SITE = """\
import = [{ role = "app", vars = { port = 8081 } }]
[vars]
secret = "hunter2"
[override."file:/srv/app.conf"]
mode = "0600"
"""
APP = """\
[vars]
port = 80
[file."/srv/app.conf"]
content = "port {{vars.port}} {{vars.who}}\\n"
mode = "0644"
[file."/srv/skipped"]
content = "x"
when = "vars.port == 80"
[file."/srv/looks"]
content = "x"
when = "vars.port > 80 and exists('/no/such')"
[file."/srv/hidden"]
content = "{{vars.secret}}"
sensitive = true
[file."/proc/self/no"]
content = "x"
[file."/srv/middle"]
content = "x"
requires = ["file:/proc/self/no"]
[file."/srv/blocked"]
content = "x"
requires = ["file:/srv/middle"]
[file."/srv/gone-{{item}}"]
for_each = ["a", "b"]
content = "x"
"""


@pytest.fixture
def host(box):
    """With the daemon, at rest; nothing runs by itself for hours."""
    box.write("/etc/agentd/conf.d/site.toml", SITE)
    box.write("/etc/agentd/roles/app.toml", APP)
    box.write("/etc/agentd/vars.d/host.toml", 'who = "me"\n')
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished")
    wait_idle(box)
    return box


def explain(box, name):
    done = box.agentctl("explain", "--json", name)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def setting(answer, name):
    return next(entry for entry in answer["explanation"]["settings"] if entry["name"] == name)


def test_where_all_that_is_said_of_a_state_comes_from(host):
    answer = explain(host, "file:/srv/app.conf")
    # It was repaired, and may have been looked at since.
    assert answer["status"]["result"] in ("changed", "ok") and answer["status"]["changed"] and answer["status"]["blocked_by"] == [], answer
    assert answer["explanation"]["role"]["imported"][0][0]["role"] == "site", answer
    content = setting(answer, "content")
    assert content["value"] == "port 8081 me\n"
    assert [(name["name"], name["by"], name["place"]["file"], name["place"]["line"]) for name in content["names"]] == [
        ("vars.port", "import", "/etc/agentd/conf.d/site.toml", 1), ("vars.who", "vars.d", "/etc/agentd/vars.d/host.toml", 1)]
    mode = setting(answer, "mode")
    assert (mode["value"], mode["by"], mode["role"], mode["place"]["line"]) == ("0600", "override", "site", 5)

    done = host.agentctl("explain", "file:/srv/app.conf")
    for line in ("● file:/srv/app.conf", "    Declared: /etc/agentd/roles/app.toml:3:7",
                 " Imported by: site at /etc/agentd/conf.d/site.toml:1:20"):
        assert line in done.stdout.splitlines(), done
    assert re.search(r"^      Result: (changed|ok), since ", done.stdout, re.MULTILINE), done


def test_why_a_state_is_skipped(host):
    answer = explain(host, "file:/srv/skipped")
    assert answer["status"]["result"] == "skipped" and answer["explanation"]["when"]["value"] is False, answer
    answer = explain(host, "file:/srv/looks")
    assert answer["status"]["result"] == "skipped", answer
    assert (answer["explanation"]["when"]["value"], answer["explanation"]["when"]["becomes"]) == (None, "exists('/no/such')")


def test_what_a_state_is_blocked_by(host):
    assert state(host, "file:/srv/blocked")["result"] == "blocked"
    answer = explain(host, "file:/srv/blocked")
    chain = answer["status"]["blocked_by"]
    assert [(entry["state"], entry["result"]) for entry in chain] == [
        ("file:/srv/middle", "blocked"), ("file:/proc/self/no", "failed")], answer
    assert chain[-1]["error"], answer
    assert answer["explanation"]["requires"][0]["state"] == "file:/srv/middle", answer


def test_nothing_is_told_of_a_sensitive_state(host):
    for words in ["--json", "file:/srv/hidden"], ["file:/srv/hidden"]:
        done = host.agentctl("explain", *words)
        assert done.returncode == 0 and "hunter2" not in done.stdout and "<sensitive>" in done.stdout, done


def test_why_there_is_no_such_state(host):
    done = host.agentctl("explain", "file:/srv/gone-c")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(
        "agentctl: error: there is no state 'file:/srv/gone-c': the loop at /etc/agentd/roles/app.toml:23:7 has no item that "
        "makes it; did you mean 'file:/srv/gone-"), done
    done = host.agentctl("explain", "file:/srv/app.con")
    assert done.stderr == "agentctl: error: there is no state 'file:/srv/app.con'; did you mean 'file:/srv/app.conf'?\n", done


def test_several_at_a_time(host):
    done = host.agentctl("explain", "file:/srv/middle", "file:/srv/gone-*")
    assert done.returncode == 0 and [line for line in done.stdout.splitlines() if line.startswith("●")] == [
        "● file:/srv/middle", "● file:/srv/gone-a", "● file:/srv/gone-b"], done


def test_roles_that_do_not_load_explain_nothing(host):
    n = last_event(host)
    host.write("/etc/agentd/roles/app.toml", APP + "contnet = 1\n")
    wait_event(host, "roles-refused", after=n)
    done = host.agentctl("explain", "file:/srv/app.conf")
    assert done.returncode == 2 and "/etc/agentd/roles/app.toml:26:1: error: unknown key 'contnet'" in done.stderr, done
    answer = host.api("GET", "/v1/states/file:%2Fsrv%2Fapp.conf/explain")
    assert answer.status == 422 and answer.body["diagnostics"][0]["line"] == 26, answer


def test_a_disabled_host_says_so(host):
    host.agentctl("disable", "holidays")
    assert explain(host, "file:/srv/middle")["status"]["disabled"]["reason"] == "holidays"


def test_without_a_daemon(box):
    box.write("/srv/roles/site.toml", SITE)
    box.write("/srv/roles/roles/app.toml", APP)
    done = box.run(["agentd", "--explain", "file:/srv/app.conf", "--conf-dir", "/srv/roles", "--var", "who=you"], check=False)
    assert done.returncode == 0 and '  content = "port 8081 you\\n"' in done.stdout, done
    assert "      vars.who = \"you\"                        --var" in done.stdout.splitlines(), done
    # A group that may look may ask, anybody may do so without the daemon.
    done = box.run(["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "agentd", "--explain", "file:/srv/skipped",
                    "--conf-dir", "/srv/roles", "--var", "who=you"], check=False)
    assert done.returncode == 0 and "is false: the state is skipped" in done.stdout, done
