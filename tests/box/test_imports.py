# SPDX-License-Identifier: LGPL-2.1-or-later
"""What roles import, override and are given."""

import daemon
import pytest
from box import wait_until
from daemon import last_event, start, states, wait_event, wait_idle
from once import agentd, results

ROLES = "/etc/agentd/roles"
WEB = ('import = ["base", { role = "site", vars = { name = "alpha" } }]\n'
       '[vars]\nowner = "ada"\n'
       '[override."file:/srv/motd"]\ncontent = "of web\\n"\n'
       '[file."/srv/web"]\ncontent = "web\\n"\n')
BASE = ('[vars]\nowner = "nobody"\n'
        '[file."/srv"]\nensure = "directory"\n'
        '[file."/srv/motd"]\ncontent = "of base\\n"\n'
        '[file."/srv/owner"]\ncontent = "{{vars.owner}}\\n"\n')
SITE = '[file."/srv/{{vars.name}}.html"]\ntemplate = "page.mustache"\n'


def write_site(box, top=""):
    box.write(f"{top}/etc/agentd/conf.d/web.toml", WEB)
    box.write(f"{top}{ROLES}/base.toml", BASE)
    box.write(f"{top}/usr/lib/agentd/roles/site/main.toml", SITE)
    box.write(f"{top}/usr/lib/agentd/roles/site/page.mustache", "<p>{{vars.name}} of {{vars.owner}}\n")


@pytest.fixture
def host(box):
    """With the daemon, at rest; nothing runs by itself for hours."""
    write_site(box)
    daemon.settings(box, 'interval = "infinity"\n')
    start(box)
    wait_event(box, "run-finished", timeout=30)
    wait_idle(box, timeout=30)
    return box


def takes_effect(box, deed, condition, what):
    """Does something to a file of roles, and waits for what follows by itself."""
    n = last_event(box)
    deed()
    wait_event(box, "roles-loaded", after=n, timeout=30)
    wait_until(condition, 30, what)


def reads(box, path, text):
    def is_so():
        try:
            return box.read(path) == text
        except FileNotFoundError:
            return False
    return is_so


def test_nobody_waits_for_what_a_role_that_is_off_would_make(box):
    """Its names are made of items and variables; they are there on the hosts that it is for, and looked for on all."""
    box.write("/etc/agentd/conf.d/web.toml",
              'import = ["people"]\n[vars]\nhome = "/srv/home"\n'
              '[file."/srv/{{item}}"]\nfor_each = ["{{vars.people.0}}", "x"]\nrequires = ["file:/srv/home/ada"]\n'
              '[override."file:/srv/home/bob"]\nmode = "0600"\n')
    people = ('{}[vars]\npeople = ["ada", "bob"]\n'
              '[file."{{{{vars.home}}}}/{{{{item}}}}"]\nfor_each = "vars.people"\nparents = {{ create = true }}\n')
    box.write("/etc/agentd/vars.d/people.toml", 'people = ["ada", "bob"]\n')
    box.write(f"{ROLES}/people.toml", people.format('hosts = ["elsewhere.example.org"]\n'))
    assert results(box.agentd_once()) == {"file:/srv/ada": "changed", "file:/srv/x": "changed"}
    box.write(f"{ROLES}/people.toml", people.format(""))
    assert results(box.agentd_once()) == {"file:/srv/home/ada": "changed", "file:/srv/home/bob": "changed", "file:/srv/ada": "ok",
                                          "file:/srv/x": "ok"}
    assert box.stat("/srv/home/bob").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("top", ["", "/var/tree"])
def test_a_role_with_all_that_it_imports(box, top):
    write_site(box, top)
    done = box.agentd_once(*(["--root", top] if top else []))
    assert results(done) == {"file:/srv": "changed" if top else "ok", "file:/srv/motd": "changed",
                             "file:/srv/owner": "changed", "file:/srv/alpha.html": "changed", "file:/srv/web": "changed"}
    assert box.read(f"{top}/srv/motd") == "of web\n"
    assert box.read(f"{top}/srv/owner") == "ada\n"
    assert box.read(f"{top}/srv/alpha.html") == "<p>alpha of ada\n"


def test_variables_of_the_host_and_of_the_command_line(box):
    write_site(box)
    box.write("/etc/agentd/vars.d/site.toml", 'owner = "grace"\n')
    box.agentd_once()
    assert box.read("/srv/owner") == "grace\n"
    name = box.run("cat /proc/sys/kernel/hostname").stdout.strip()
    box.write(f"/etc/agentd/vars.d/hosts/{name}.toml", 'owner = "this host"\n')
    box.write("/etc/agentd/vars.d/hosts/another.toml", 'owner = "another"\n')
    box.agentd_once()
    assert box.read("/srv/owner") == "this host\n"
    box.agentd_once("--var", "owner=edsger", "--var=name=beta")
    assert box.read("/srv/owner") == "edsger\n" and box.read("/srv/beta.html") == "<p>beta of edsger\n"


@pytest.mark.parametrize("words, error", [
    (["--once", "--var", "x"], "--var 'x' is not NAME=VALUE"),
    (["--once", "--var", "=x"], "--var '=x' is not NAME=VALUE"),
    (["--var", "x=1"], "--var goes with --once and --validate"),
    (["--validate", "--var", "x=[1"], "--var x: error: '[1' is not a value of TOML"),
])
def test_words_that_are_no_variables(box, words, error):
    write_site(box)
    done = agentd(box, *words)
    assert done.returncode == 2 and error in done.stderr


def test_a_role_for_other_hosts_is_off(box):
    box.role("here", 'hosts = ["*"]\n[file."/srv/here"]\n')
    box.role("there", 'hosts = ["elsewhere-*.example.org"]\n[file."/srv/there"]\n')
    assert list(results(box.agentd_once())) == ["file:/srv/here"]


def test_what_a_role_for_other_hosts_would_make_may_be_named(box):
    box.role("there", 'hosts = ["elsewhere-*.example.org"]\n[file."/srv/{{item}}"]\nfor_each = ["a", "b"]\n')
    box.role("here", '[file."/etc/here"]\nrequires = ["file:/srv/a"]\ncheck_on = ["file:/srv/b"]\n')
    assert list(results(box.agentd_once())) == ["file:/etc/here"]
    box.role("here", '[file."/etc/here"]\nrequires = ["file:/opt/a"]\n')
    done = agentd(box, "--once")
    assert done.returncode == 2 and "there is no state 'file:/opt/a'" in done.stderr


def test_a_role_that_is_changed_takes_effect(host):
    takes_effect(host, lambda: host.write(f"{ROLES}/base.toml", BASE.replace("/srv/owner", "/srv/who")),
                 reads(host, "/srv/who", "ada\n"), "/srv/who is there")
    assert "file:/srv/owner" not in states(host)


def test_a_role_that_is_put_before_another_takes_effect(host):
    takes_effect(host, lambda: host.write(f"{ROLES}/site.toml", '[file."/srv/mine"]\ncontent = "x\\n"\n'),
                 reads(host, "/srv/mine", "x\n"), "/srv/mine is there")
    assert "file:/srv/alpha.html" not in states(host)
    takes_effect(host, lambda: host.run(f"ln -sf /dev/null {ROLES}/site.toml"),
                 lambda: "file:/srv/mine" not in states(host), "the role is masked")
    takes_effect(host, lambda: host.run(f"rm {ROLES}/site.toml"),
                 lambda: "file:/srv/alpha.html" in states(host), "the other is there again")


def test_a_template_of_an_imported_role_takes_effect(host):
    takes_effect(host, lambda: host.write("/usr/lib/agentd/roles/site/page.mustache", "new\n"),
                 reads(host, "/srv/alpha.html", "new\n"), "the page is new")


def test_variables_of_the_host_take_effect(host):
    takes_effect(host, lambda: host.write("/etc/agentd/vars.d/x.toml", 'owner = "grace"\n'),
                 reads(host, "/srv/owner", "grace\n"), "the owner is another")
    takes_effect(host, lambda: host.run("rm /etc/agentd/vars.d/x.toml"),
                 reads(host, "/srv/owner", "ada\n"), "the owner is as before")


def test_an_import_that_is_missing_is_told_and_taken_when_it_comes(host):
    n = last_event(host)
    host.role("web", WEB.replace('"base"', '"base", "late"'))
    wait_event(host, "roles-refused", after=n, timeout=30)
    assert "there is no role 'late' (looked for late.toml and late/main.toml in /etc/agentd/roles, " in \
        str(daemon.status(host)) + host.agentctl("status").stdout
    takes_effect(host, lambda: host.write("/run/agentd/roles/late.toml", '[file."/srv/late"]\ncontent = "x\\n"\n'),
                 reads(host, "/srv/late", "x\n"), "/srv/late is there")
